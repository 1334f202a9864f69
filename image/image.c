/* image/image.c — the door: sniff, header, limits, decode, and the verdict on a damaged picture. */
#include "image/image_internal.h"

static im_code fail_not_handled(const image_source *source, im_format format, im_error *err)
{
    im_code rc = IM_OK;
    if (source->size == 0) {
        rc = im_fail_as(err, IM_REASON_PICTURE_EMPTY, "picture '%s' is empty (0 bytes)",
                        source->name);
    } else if (format == IM_FORMAT_UNKNOWN) {
        rc = im_fail_as(err, IM_REASON_PICTURE_NOT_A_PICTURE,
                        "'%s' is no picture: its first bytes fit no known format", source->name);
    } else {
        rc = im_fail_as(err, IM_REASON_PICTURE_UNSUPPORTED,
                        "picture '%s' is %s, which this build does not decode", source->name,
                        sniff_title(format));
        im_hint(err, "convert it to JPEG or PNG");
    }
    return rc;
}

im_code image_read_header(const image_source *source, image_header *header, im_error *err)
{
    memset(header, 0, sizeof *header);
    header->format = im_image_sniff(source->bytes, source->size);
    if (header->format == IM_FORMAT_JPEG) {
        return jpegfile_read_header(source, header, err);
    }
    if (header->format == IM_FORMAT_PNG) {
        return pngfile_read_header(source, header, err);
    }
    return fail_not_handled(source, header->format, err);
}

static im_code info_from_header(const image_source *source, const image_header *header,
                                im_image_info *info, im_error *err)
{
    memset(info, 0, sizeof *info);
    info->format = header->format;
    info->orientation = 1;
    if (header->exif != NULL && !exif_read(header->exif, header->exif_size, info)) {
        return image_fail_memory(source, err);
    }
    bool turned = info->orientation >= 5;
    info->width = turned ? header->height : header->width;
    info->height = turned ? header->width : header->height;
    info->sound_rows = header->height;
    return IM_OK;
}

/* One sentence about a profile that will not be used. */
static im_code warn_profile(const image_source *source, const image_header *header,
                            im_image_info *info, im_error *err)
{
    im_bytes profile = {NULL, 0};
    const char *why = NULL;
    im_code rc = icc_gather(source, header, &profile, &why, err);
    if (rc == IM_OK && why != NULL && info->warning[0] == '\0') {
        snprintf(info->warning, sizeof info->warning, "its colour profile %s and is ignored", why);
    }
    im_bytes_clear(&profile);
    return rc;
}

im_code im_image_probe(const uint8_t *bytes, size_t size, const char *name,
                       const im_image_options *options, im_image_info *out_info, im_error *err)
{
    image_source source = image_source_of(bytes, size, name, options);
    image_header header;
    im_image_info info;
    im_code rc = image_read_header(&source, &header, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = info_from_header(&source, &header, &info, err);
    if (rc == IM_OK) {
        rc = warn_profile(&source, &header, &info, err);
    }
    if (rc == IM_OK) {
        *out_info = info;
    }
    return rc;
}

/* Refuses a picture of which fewer than half of the rows are sound; else says what is missing. */
static im_code judge(const image_source *source, const image_header *header,
                     const image_verdict *verdict, im_image_info *info, im_error *err)
{
    uint32_t sound = verdict->sound_rows;
    info->sound_rows = sound;
    info->partial = sound < header->height || verdict->detail_missing;
    if (verdict->kept_rows == 0 || (uint64_t)sound * 2 < header->height) {
        im_code rc = im_fail_as(
            err, verdict->damaged ? IM_REASON_PICTURE_CORRUPT : IM_REASON_PICTURE_TRUNCATED,
            "picture '%s' is %s: %u of %u rows are sound, at least half are needed", source->name,
            verdict->damaged ? "damaged" : "cut short", sound, header->height);
        im_hint(err, "fetch the file again from where it came");
        return rc;
    }
    if (sound < header->height) {
        snprintf(info->warning, sizeof info->warning,
                 "%s at row %u of %u; the rows from there on are left out",
                 verdict->damaged ? "damaged" : "cut short", sound, header->height);
    } else if (verdict->detail_missing) {
        snprintf(info->warning, sizeof info->warning,
                 "cut short: the scans that hold the fine detail are missing");
    }
    return IM_OK;
}

/* Says where the whole picture lies in a reduced one, whose last column or row may be covered only
 * in part (4001 / 4 = 1000.25 of 1001 columns) and which orientation may have made the first. */
static void describe_reduction(const image_header *header, const image_canvas *canvas,
                               const image_verdict *verdict, im_image *image)
{
    uint32_t reduced = canvas->reduced;
    bool cut = verdict->sound_rows < header->height;
    uint32_t stored_width = header->width;
    uint32_t stored_height = cut ? verdict->kept_rows * reduced : header->height;
    bool turned = canvas->orientation >= 5;
    image->whole_width = turned ? stored_height : stored_width;
    image->whole_height = turned ? stored_width : stored_height;
    image->frame_width = image->whole_width / (double)reduced;
    image->frame_height = image->whole_height / (double)reduced;
    /* orientations 2, 3, 6, 7 put the last stored column or row first in a row; 3, 4, 7, 8 on top
     */
    bool from_right = (0x66u >> (canvas->orientation - 1) & 1u) != 0;
    bool from_bottom = (0xCCu >> (canvas->orientation - 1) & 1u) != 0;
    image->frame_x = from_right ? canvas->width - image->frame_width : 0.0;
    image->frame_y = from_bottom ? canvas->height - image->frame_height : 0.0;
}

static im_code decode_pixels(const image_source *source, const image_header *header,
                             im_image_info *info, im_image *image, im_error *err)
{
    image_canvas canvas = {0};
    image_verdict verdict = {0};
    im_code rc = header->format == IM_FORMAT_JPEG
                     ? jpegfile_decode(source, header, info->orientation, &canvas, &verdict, err)
                     : pngfile_decode(source, header, info->orientation, &canvas, &verdict, err);
    if (rc == IM_OK) {
        rc = judge(source, header, &verdict, info, err);
    }
    if (rc == IM_OK) {
        if (verdict.kept_rows < canvas.stored_height) {
            canvas_cut(&canvas, verdict.kept_rows);
        }
        if (canvas.reduced > 1) {
            describe_reduction(header, &canvas, &verdict, image);
        }
        image->rgb = canvas.rgb;
        image->width = canvas.width;
        image->height = canvas.height;
        canvas.rgb = NULL;
    }
    canvas_clear(&canvas);
    return rc;
}

im_code im_image_decode(const uint8_t *bytes, size_t size, const char *name,
                        const im_image_options *options, im_image *out_image,
                        im_image_info *out_info, im_error *err)
{
    image_source source = image_source_of(bytes, size, name, options);
    image_header header;
    im_image_info info;
    im_image image = {0};
    im_code rc = image_read_header(&source, &header, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = info_from_header(&source, &header, &info, err);
    if (rc == IM_OK) {
        rc = decode_pixels(&source, &header, &info, &image, err);
    }
    if (rc == IM_OK && out_info != NULL) {
        rc = warn_profile(&source, &header, &info, err);
    }
    if (rc != IM_OK) {
        goto out;
    }
    if (out_info != NULL) {
        *out_info = info;
    }
    *out_image = image; /* the caller owns it from here */
    image.rgb = NULL;
out:
    im_image_clear(&image);
    return rc;
}

void im_image_clear(im_image *image)
{
    if (image != NULL) {
        im_free(image->rgb);
        memset(image, 0, sizeof *image);
    }
}

im_code im_image_crop(const im_image *image, uint32_t x, uint32_t y, uint32_t w, uint32_t h,
                      im_image *out, im_error *err)
{
    if (w == 0 || h == 0 || x > image->width || w > image->width - x || y > image->height ||
        h > image->height - y) {
        return im_fail_as(err, IM_REASON_QUERY_BOX,
                          "box %ux%u at (%u, %u) does not lie inside the picture of %ux%u", w, h, x,
                          y, image->width, image->height);
    }
    im_image part = {.width = w, .height = h};
    size_t row_bytes = (size_t)w * 3;
    part.rgb = im_alloc(h, row_bytes);
    if (part.rgb == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "could not get memory for a box of %ux%u", w, h);
    }
    for (uint32_t i = 0; i < h; i++) {
        memcpy(part.rgb + i * row_bytes, image->rgb + ((size_t)(y + i) * image->width + x) * 3,
               row_bytes);
    }
    *out = part;
    return IM_OK;
}
