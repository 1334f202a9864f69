/* image/jpegfile_header.c — a walk over the markers of a JPEG file, before libjpeg sees it: sides,
 * process, number of scans, and where EXIF and ICC lie. It allocates nothing and reads each byte at
 * most once, so that what must be refused is refused from the header (ITU-T T.81, annex B). */
#include "image/image_internal.h"

enum {
    MARKER_TEM = 0x01,
    MARKER_SOF0 = 0xC0,
    MARKER_SOF2 = 0xC2,
    MARKER_DHT = 0xC4,
    MARKER_JPG = 0xC8,
    MARKER_DAC = 0xCC,
    MARKER_SOF15 = 0xCF,
    MARKER_RST0 = 0xD0,
    MARKER_SOI = 0xD8,
    MARKER_EOI = 0xD9,
    MARKER_SOS = 0xDA,
    MARKER_APP1 = 0xE1,
    MARKER_APP2 = 0xE2
};

typedef struct marker_walk {
    const uint8_t *bytes;
    size_t size, at;
    uint8_t marker;
    const uint8_t *segment; /* parameters of the marker, NULL when it has none */
    size_t segment_size;
    bool ended; /* the bytes ended inside or before the marker */
} marker_walk;

/* Goes on to the next marker: whatever is not FF xx with xx neither 00 nor FF is passed over, as
 * libjpeg does, which also passes over the entropy-coded data of a scan. */
static bool next_marker(marker_walk *walk)
{
    while (walk->at < walk->size) {
        const uint8_t *ff = memchr(walk->bytes + walk->at, 0xFF, walk->size - walk->at);
        if (ff == NULL) {
            break;
        }
        size_t at = (size_t)(ff - walk->bytes) + 1;
        while (at < walk->size && walk->bytes[at] == 0xFF) {
            at++;
        }
        if (at >= walk->size) {
            break;
        }
        walk->at = at + 1;
        walk->marker = walk->bytes[at];
        if (walk->marker != 0) {
            return true;
        }
    }
    walk->at = walk->size;
    walk->ended = true;
    return false;
}

static bool has_parameters(uint8_t marker)
{
    return marker != MARKER_TEM && (marker < MARKER_RST0 || marker > MARKER_EOI);
}

/* Next marker with its parameters; false at the end of the bytes and at a length below 2. */
static bool next_segment(marker_walk *walk)
{
    walk->segment = NULL;
    walk->segment_size = 0;
    if (!next_marker(walk)) {
        return false;
    }
    if (!has_parameters(walk->marker)) {
        return true;
    }
    if (walk->size - walk->at < 2) {
        walk->ended = true;
        return false;
    }
    size_t length = (size_t)walk->bytes[walk->at] << 8 | walk->bytes[walk->at + 1];
    if (length < 2) {
        return false;
    }
    if (length > walk->size - walk->at) {
        walk->ended = true;
        return false;
    }
    walk->segment = walk->bytes + walk->at + 2;
    walk->segment_size = length - 2;
    walk->at += length;
    return true;
}

static bool is_frame(uint8_t marker)
{
    return marker >= MARKER_SOF0 && marker <= MARKER_SOF15 && marker != MARKER_DHT &&
           marker != MARKER_JPG && marker != MARKER_DAC;
}

/* Names of the processes that are not decoded. Arithmetic coding is among them although
 * libjpeg-turbo could: its decoder makes up rows without a word when the data end, so no row could
 * be vouched for. */
static const char *process_not_handled(uint8_t sof)
{
    static const char *const names[16] = {
        [3] = "lossless",
        [5] = "differential sequential",
        [6] = "differential progressive",
        [7] = "differential lossless",
        [9] = "arithmetic coding",
        [10] = "progressive arithmetic coding",
        [11] = "lossless arithmetic coding",
        [13] = "differential arithmetic coding",
        [14] = "differential progressive arithmetic coding",
        [15] = "differential lossless arithmetic coding",
    };
    return names[sof - MARKER_SOF0];
}

static im_code fail_unsupported(const image_source *source, uint8_t sof, const char *what,
                                im_error *err)
{
    im_code rc = im_fail_as(err, IM_REASON_PICTURE_UNSUPPORTED,
                            "picture '%s': JPEG process %s, SOF%d, is not handled", source->name,
                            what, sof - MARKER_SOF0);
    im_hint(err, "save it as a baseline or progressive JPEG of 8 bits, or as PNG");
    return rc;
}

static im_code fail_frame(const image_source *source, const char *what, im_error *err)
{
    return im_fail_as(err, IM_REASON_PICTURE_CORRUPT, "picture '%s': JPEG frame header %s",
                      source->name, what);
}

static im_code check_process(const image_source *source, const marker_walk *walk, im_error *err)
{
    const char *process = process_not_handled(walk->marker);
    if (process != NULL) {
        return fail_unsupported(source, walk->marker, process, err);
    }
    if (walk->segment_size < 6) {
        return fail_frame(source, "is shorter than 8 bytes", err);
    }
    if (walk->segment[0] != 8) {
        char bits[32];
        snprintf(bits, sizeof bits, "with %u bits a sample", walk->segment[0]);
        return fail_unsupported(source, walk->marker, bits, err);
    }
    return IM_OK;
}

/* SOFn: P(8) Y(16) X(16) Nf(8), then C(8) H(4)V(4) Tq(8) for each component. */
static im_code take_frame(const image_source *source, const marker_walk *walk, image_header *header,
                          im_error *err)
{
    im_code rc = check_process(source, walk, err);
    if (rc != IM_OK) {
        return rc;
    }
    const uint8_t *p = walk->segment;
    uint8_t n = p[5];
    header->sof = walk->marker;
    header->height = (uint32_t)p[1] << 8 | p[2];
    header->width = (uint32_t)p[3] << 8 | p[4];
    header->n_components = n;
    if (n == 0 || walk->segment_size < 6 + 3 * (size_t)n) {
        return fail_frame(source, "names fewer components than it counts", err);
    }
    if (header->height == 0 && header->width != 0) {
        return fail_unsupported(source, walk->marker, "with its height in a DNL marker", err);
    }
    if (n != 1 && n != 3 && n != 4) {
        char components[32];
        snprintf(components, sizeof components, "of %u colour components", n);
        return fail_unsupported(source, walk->marker, components, err);
    }
    for (uint8_t i = 0; i < n; i++) {
        header->h_factor[i] = p[7 + 3 * i] >> 4;
        header->v_factor[i] = p[7 + 3 * i] & 15;
        if (header->h_factor[i] < 1 || header->h_factor[i] > 4 || header->v_factor[i] < 1 ||
            header->v_factor[i] > 4) {
            return fail_frame(source, "has a sampling factor outside 1 to 4", err);
        }
    }
    return image_check_sides(source, header->width, header->height, err);
}

static void take_app1(const marker_walk *walk, image_header *header)
{
    if (header->exif == NULL && walk->segment_size > 6 && memcmp(walk->segment, "Exif\0", 5) == 0) {
        header->exif = walk->segment + 6; /* the sixth byte is 00, some write FF */
        header->exif_size = walk->segment_size - 6;
    }
}

static void take_app2(const marker_walk *walk, image_header *header)
{
    if (walk->segment_size <= 14 || memcmp(walk->segment, "ICC_PROFILE\0", 12) != 0) {
        return;
    }
    if (header->n_icc == IM_LIMIT_METADATA_PIECES) {
        header->icc_dropped = true;
        return;
    }
    header->icc[header->n_icc++] =
        (image_icc_piece){walk->segment + 14, (uint32_t)walk->segment_size - 14, walk->segment[12],
                          walk->segment[13]};
}

/* The scans of a file with several; a marker that cannot be read ends the count, as it ends
 * libjpeg's own reading. */
static void count_scans(marker_walk *walk, image_header *header)
{
    header->n_scans = 1;
    while (next_segment(walk) && walk->marker != MARKER_EOI) {
        header->n_scans += walk->marker == MARKER_SOS;
    }
}

static im_code take_first_scan(const image_source *source, marker_walk *walk, image_header *header,
                               im_error *err)
{
    header->several_scans = header->sof == MARKER_SOF2 ||
                            (walk->segment_size > 0 && walk->segment[0] != header->n_components);
    if (!header->several_scans) {
        header->n_scans = 1;
        return IM_OK;
    }
    count_scans(walk, header);
    if (header->n_scans > source->limits.max_scans) {
        im_code rc = im_fail_as(err, IM_REASON_PICTURE_TOO_MANY_SCANS,
                                "picture '%s': %u scans, the limit is %u", source->name,
                                header->n_scans, source->limits.max_scans);
        im_hint(err, "raise --max-scans if you trust the file");
        return rc;
    }
    return IM_OK;
}

im_code jpegfile_read_header(const image_source *source, image_header *header, im_error *err)
{
    marker_walk walk = {.bytes = source->bytes, .size = source->size, .at = 2};
    while (next_segment(&walk) && walk.marker != MARKER_EOI) {
        im_code rc = IM_OK;
        if (walk.marker == MARKER_SOS) {
            if (header->sof == 0) {
                return im_fail_as(err, IM_REASON_PICTURE_CORRUPT,
                                  "picture '%s': JPEG scan before any frame header", source->name);
            }
            return take_first_scan(source, &walk, header, err);
        }
        if (is_frame(walk.marker) && header->sof == 0) {
            rc = take_frame(source, &walk, header, err);
        } else if (walk.marker == MARKER_APP1) {
            take_app1(&walk, header);
        } else if (walk.marker == MARKER_APP2) {
            take_app2(&walk, header);
        }
        if (rc != IM_OK) {
            return rc;
        }
    }
    return im_fail_as(err, walk.ended ? IM_REASON_PICTURE_TRUNCATED : IM_REASON_PICTURE_CORRUPT,
                      "picture '%s': JPEG header %s before any pixel data (%zu bytes read)",
                      source->name, walk.ended ? "ends" : "breaks off", walk.at);
}
