/* image/jpegfile_decode.c — JPEG to RGB through libjpeg-turbo, keeping account of which rows come
 * from sound data.
 *
 * libjpeg never gives up: where data are missing or make no sense it warns and goes on with grey or
 * with garbage. So each warning is placed:
 * - One scan (nearly every baseline file). The first warning about entropy-coded data, be it a bad
 *   code, a marker in the wrong place or the end of the bytes (libjpeg's memory source then makes
 * an end marker of its own), strikes while MCU row R is read: rows above R are sound, and decoding
 *   stops. The row just above R is given up too when chroma is interpolated over the edge.
 * - Several scans. The whole file is read first (buffered-image mode). A bad code in any scan makes
 *   the rows from there on unsound. The end of the bytes does so only in a scan that brings the
 *   first value of its coefficients (DC first, or a plain sequential scan): later scans refine what
 *   is there, so a file that ends in them has all rows, with less detail.
 * - A missing end marker alone warns about no entropy-coded data: the picture is whole. */
#include "image/image_internal.h"
#include <jerror.h>
#include <jpeglib.h>
#include <limits.h>
#include <setjmp.h>

#define STRIP_ROWS 16u

typedef struct jpeg_reader {
    struct jpeg_decompress_struct cinfo;
    struct jpeg_error_mgr errors;
    jmp_buf escape;
    const image_source *source;
    const image_header *header;
    image_canvas *canvas;
    uint8_t *strip;    /* STRIP_ROWS stored rows of RGB */
    uint8_t *cmyk;     /* the same of CMYK */
    bool scanning;     /* behind the header */
    bool ended;        /* libjpeg asked for bytes behind the last */
    bool struck;       /* entropy-coded data are not sound from MCU row `struck_row` on */
    bool contradicted; /* … by bad data, not merely by their end */
    bool detail_missing;
    uint32_t struck_row;
    uint8_t first_values; /* several scans: bit per component that has got its first values */
    char message[JMSG_LENGTH_MAX];
} jpeg_reader;

static void on_error(j_common_ptr cinfo)
{
    jpeg_reader *reader = cinfo->client_data;
    cinfo->err->format_message(cinfo, reader->message);
    longjmp(reader->escape, 1);
}

/* The current scan brings the first value of its coefficients. */
static bool scan_is_first(const struct jpeg_decompress_struct *cinfo)
{
    return !cinfo->progressive_mode || (cinfo->Ss == 0 && cinfo->Ah == 0);
}

static void strike(jpeg_reader *reader, bool contradicted)
{
    uint32_t row = reader->cinfo.input_iMCU_row;
    if (!contradicted && !scan_is_first(&reader->cinfo)) {
        reader->detail_missing = true;
        return;
    }
    if (!reader->struck || row < reader->struck_row) {
        reader->struck_row = row;
    }
    reader->struck = true;
    reader->contradicted = reader->contradicted || contradicted;
}

/* libjpeg reports warnings (level < 0) and traces; only the former concern us. */
static void on_message(j_common_ptr cinfo, int level)
{
    jpeg_reader *reader = cinfo->client_data;
    if (level >= 0) {
        return;
    }
    cinfo->err->num_warnings++;
    switch (cinfo->err->msg_code) {
    case JWRN_JPEG_EOF:
        reader->ended = true;
        break;
    case JWRN_HIT_MARKER:
    case JWRN_MUST_RESYNC: /* at the end of the bytes these two are its consequence */
        strike(reader, !reader->ended);
        break;
    case JWRN_HUFF_BAD_CODE:
        strike(reader, true);
        break;
    case JWRN_EXTRANEOUS_DATA: /* between scans it is padding, in the only scan a lost place */
        if (!reader->header->several_scans && reader->scanning) {
            strike(reader, true);
        }
        break;
    default:
        break;
    }
}

static void on_output(j_common_ptr cinfo)
{
    (void)cinfo; /* nothing is ever printed */
}

/* 1, 2, 4 or 8: the most that leaves the shorter side at least twice the target. Measured on a
 * noisy 4000x3000 picture prepared to 224 pixels: 1/4 takes half the time and moves the pixels by
 * 0.18 of 255 on average, by 2 at most. (3/8 is slower than 4/8 in libjpeg-turbo.) */
uint8_t jpegfile_reduction(const image_source *source, const image_header *header)
{
    uint32_t shorter = IM_MIN(header->width, header->height);
    uint8_t reduced = 1;
    while (source->target_px > 0 && reduced < 8 &&
           shorter / (reduced * 2u) / 2u >= source->target_px) {
        reduced = (uint8_t)(reduced * 2);
    }
    return reduced;
}

/* Strips, and what libjpeg holds for the coefficients of a file with several scans. */
uint64_t jpegfile_decoder_bytes(const image_header *header)
{
    uint64_t strips = (uint64_t)header->width * STRIP_ROWS * (header->n_components == 4 ? 7 : 3);
    uint32_t h_max = 1;
    uint32_t v_max = 1;
    uint64_t blocks = 0;
    for (uint8_t i = 0; i < header->n_components; i++) {
        h_max = IM_MAX(h_max, header->h_factor[i]);
        v_max = IM_MAX(v_max, header->v_factor[i]);
    }
    uint64_t mcus = (uint64_t)image_divide_up(header->width, 8 * h_max) *
                    image_divide_up(header->height, 8 * v_max);
    for (uint8_t i = 0; i < header->n_components; i++) {
        blocks += mcus * header->h_factor[i] * header->v_factor[i];
    }
    return strips + (header->several_scans ? blocks * sizeof(JBLOCK) : 0);
}

/* C, M, Y, K as Adobe stores them (255: no ink) to RGB: c * k / 255, the arithmetic of Pillow's
 * cmyk2rgb after its inversion. Pillow takes every 4-component JPEG for Adobe's, marker or not. */
static void cmyk_to_rgb(const uint8_t *in, uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++, in += 4, out += 3) {
        for (size_t c = 0; c < 3; c++) {
            unsigned ink = (255u - in[c]) * in[3] + 128;
            out[c] = (uint8_t)(in[3] - ((ink >> 8) + ink) / 256);
        }
    }
}

static void set_up(jpeg_reader *reader)
{
    struct jpeg_decompress_struct *cinfo = &reader->cinfo;
    cinfo->buffered_image = reader->header->several_scans;
    cinfo->out_color_space = reader->header->n_components == 4 ? JCS_CMYK : JCS_RGB;
    cinfo->scale_num = 1;
    cinfo->scale_denom = reader->canvas->reduced;
    cinfo->dct_method = JDCT_ISLOW; /* as Pillow; fancy upsampling is the default of both */
}

/* The header as libjpeg understood it must be the one that was checked. */
static bool same_header(const struct jpeg_decompress_struct *cinfo, const image_header *header)
{
    bool several = cinfo->progressive_mode || cinfo->comps_in_scan < cinfo->num_components;
    return cinfo->image_width == header->width && cinfo->image_height == header->height &&
           cinfo->num_components == header->n_components && several == header->several_scans &&
           cinfo->data_precision == 8 && !cinfo->arith_code;
}

static void note_first_values(jpeg_reader *reader)
{
    const struct jpeg_decompress_struct *cinfo = &reader->cinfo;
    for (int i = 0; i < cinfo->comps_in_scan && scan_is_first(cinfo); i++) {
        reader->first_values |= (uint8_t)(1u << cinfo->cur_comp_info[i]->component_index);
    }
}

static im_code fail_scans(const jpeg_reader *reader, im_error *err)
{
    im_code rc = im_fail_as(err, IM_REASON_PICTURE_TOO_MANY_SCANS,
                            "picture '%s': %d scans so far, the limit is %u", reader->source->name,
                            reader->cinfo.input_scan_number, reader->source->limits.max_scans);
    im_hint(err, "raise --max-scans if you trust the file");
    return rc;
}

/* Rows (full scale, stored) above the first damage. */
static uint32_t rows_before_damage(const jpeg_reader *reader)
{
    const struct jpeg_decompress_struct *cinfo = &reader->cinfo;
    if (!reader->struck) {
        return cinfo->image_height;
    }
    uint64_t rows = (uint64_t)reader->struck_row * (unsigned)cinfo->max_v_samp_factor * DCTSIZE;
    if (rows > 0 && cinfo->max_v_samp_factor > 1) {
        rows--;
    }
    return (uint32_t)IM_MIN(rows, cinfo->image_height);
}

static uint32_t sound_rows(const jpeg_reader *reader)
{
    uint8_t all = (uint8_t)((1u << reader->cinfo.num_components) - 1);
    if (reader->header->several_scans && reader->first_values != all) {
        return 0;
    }
    return rows_before_damage(reader);
}

/* So much is damaged that the picture will be refused, whatever follows. */
static bool hopeless(const jpeg_reader *reader)
{
    return (uint64_t)rows_before_damage(reader) * 2 < reader->cinfo.image_height;
}

/* Several scans: reads all of them into libjpeg's coefficient arrays. */
static im_code read_scans(jpeg_reader *reader, im_error *err)
{
    struct jpeg_decompress_struct *cinfo = &reader->cinfo;
    note_first_values(reader);
    for (int status = JPEG_REACHED_SOS; status != JPEG_REACHED_EOI && !hopeless(reader);) {
        status = jpeg_consume_input(cinfo);
        if (status == JPEG_REACHED_SOS) {
            note_first_values(reader);
        }
        if (cinfo->input_scan_number > (int)IM_MIN(reader->source->limits.max_scans, 1u << 30)) {
            return fail_scans(reader, err);
        }
        if (image_out_of_time(reader->source)) {
            return image_fail_time(reader->source, err);
        }
    }
    for (int i = 0; reader->ended && cinfo->progressive_mode && i < cinfo->num_components; i++) {
        for (int k = 0; k < DCTSIZE2; k++) {
            reader->detail_missing = reader->detail_missing || cinfo->coef_bits[i][k] != 0;
        }
    }
    if (reader->struck) {
        cinfo->do_block_smoothing = FALSE; /* it would draw on neighbours that are not sound */
    }
    return IM_OK;
}

/* Where libjpeg shall write n rows from `first` on: the canvas itself when it can. */
static void aim_rows(const jpeg_reader *reader, uint32_t first, uint32_t n, uint8_t **rows)
{
    size_t width = reader->canvas->stored_width;
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *direct = canvas_row(reader->canvas, first + i);
        if (reader->cmyk != NULL) {
            rows[i] = reader->cmyk + i * width * 4;
        } else if (direct != NULL) {
            rows[i] = direct;
        } else {
            rows[i] = reader->strip + i * width * 3;
        }
    }
}

static im_code read_rows(jpeg_reader *reader, im_error *err)
{
    struct jpeg_decompress_struct *cinfo = &reader->cinfo;
    uint32_t height = reader->canvas->stored_height;
    uint32_t last = height;
    for (uint32_t first = 0; first < last; first += STRIP_ROWS) {
        uint8_t *rows[STRIP_ROWS];
        uint32_t n = IM_MIN(STRIP_ROWS, height - first);
        aim_rows(reader, first, n, rows);
        for (uint32_t got = 0; got < n;) {
            got += jpeg_read_scanlines(cinfo, rows + got, n - got);
        }
        if (reader->cmyk != NULL) {
            cmyk_to_rgb(reader->cmyk, reader->strip, (size_t)n * reader->canvas->stored_width);
        }
        if (reader->strip != NULL) {
            canvas_place(reader->canvas, reader->strip, first, n);
        }
        if (reader->struck) {
            last = image_divide_up(sound_rows(reader), reader->canvas->reduced);
        }
        if (image_out_of_time(reader->source)) {
            return image_fail_time(reader->source, err);
        }
    }
    return IM_OK;
}

static im_code make_room(jpeg_reader *reader, im_error *err)
{
    const image_canvas *canvas = reader->canvas;
    size_t width = canvas->stored_width;
    bool fits = true;
    if (reader->header->n_components == 4) {
        reader->cmyk = im_alloc(width * STRIP_ROWS, 4);
        fits = reader->cmyk != NULL;
    }
    if (reader->cmyk != NULL || canvas_row(canvas, 0) == NULL) {
        reader->strip = im_alloc(width * STRIP_ROWS, 3);
        fits = fits && reader->strip != NULL;
    }
    /* libjpeg checks this for its coefficient arrays and has no files to spill them to */
    uint64_t left = reader->source->limits.max_decoder_bytes - canvas->bytes;
    reader->cinfo.mem->max_memory_to_use = (long)IM_MIN(left, (uint64_t)LONG_MAX);
    return fits ? IM_OK : image_fail_memory(reader->source, err);
}

/* An error that libjpeg threw, as ours. */
static im_code fail_thrown(const jpeg_reader *reader, im_error *err)
{
    const char *name = reader->source->name;
    switch (reader->errors.msg_code) {
    case JERR_OUT_OF_MEMORY:
        return image_fail_memory(reader->source, err);
    case JERR_NO_BACKING_STORE:
        return image_check_memory(reader->source, reader->source->limits.max_decoder_bytes, 1, err);
    case JERR_FRACT_SAMPLE_NOTIMPL:
    case JERR_CCIR601_NOTIMPL:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_BAD_MCU_SIZE:
    case JERR_NOTIMPL:
    case JERR_NOT_COMPILED:
    case JERR_BAD_PRECISION:
    case JERR_COMPONENT_COUNT:
    case JERR_SOF_UNSUPPORTED:
        return im_fail_as(err, IM_REASON_PICTURE_UNSUPPORTED,
                          "picture '%s': JPEG of a kind that is not handled: %s", name,
                          reader->message);
    default:
        return im_fail_as(err,
                          reader->ended ? IM_REASON_PICTURE_TRUNCATED : IM_REASON_PICTURE_CORRUPT,
                          "picture '%s': JPEG data cannot be read: %s", name, reader->message);
    }
}

/* All calls into libjpeg that can throw: the only function that on_error jumps into. What must
 * survive the jump lives in *reader, which is not a local of this function. */
static im_code run(jpeg_reader *reader, im_error *err)
{
    struct jpeg_decompress_struct *cinfo = &reader->cinfo;
    if (setjmp(reader->escape) != 0) {
        return fail_thrown(reader, err);
    }
    jpeg_create_decompress(cinfo);
    im_code rc = make_room(reader, err);
    if (rc != IM_OK) {
        return rc;
    }
    jpeg_mem_src(cinfo, reader->source->bytes, reader->source->size);
    jpeg_read_header(cinfo, TRUE);
    if (!same_header(cinfo, reader->header)) {
        return im_fail_as(err, IM_REASON_PICTURE_CORRUPT,
                          "picture '%s': JPEG header contradicts itself", reader->source->name);
    }
    set_up(reader);
    jpeg_start_decompress(cinfo);
    reader->scanning = true;
    if (reader->header->several_scans) {
        rc = read_scans(reader, err);
        if (rc != IM_OK || hopeless(reader)) {
            return rc;
        }
        jpeg_start_output(cinfo, cinfo->input_scan_number);
    }
    if (cinfo->output_width != reader->canvas->stored_width ||
        cinfo->output_height != reader->canvas->stored_height) {
        return im_fail(err, IM_ERR_INTERNAL, "picture '%s': decoder gives %ux%u, expected %ux%u",
                       reader->source->name, cinfo->output_width, cinfo->output_height,
                       reader->canvas->stored_width, reader->canvas->stored_height);
    }
    return read_rows(reader, err);
}

im_code jpegfile_decode(const image_source *source, const image_header *header,
                        image_canvas *canvas, image_verdict *verdict, im_error *err)
{
    jpeg_reader *reader = im_alloc_zero(1, sizeof *reader);
    if (reader == NULL) {
        return image_fail_memory(source, err);
    }
    reader->source = source;
    reader->header = header;
    reader->canvas = canvas;
    reader->cinfo.err = jpeg_std_error(&reader->errors);
    reader->cinfo.client_data = reader;
    reader->errors.error_exit = on_error;
    reader->errors.emit_message = on_message;
    reader->errors.output_message = on_output;
    im_code rc = run(reader, err);
    if (rc == IM_OK) {
        verdict->sound_rows = sound_rows(reader);
        verdict->kept_rows = IM_MIN(verdict->sound_rows / canvas->reduced, canvas->stored_height);
        if (verdict->sound_rows == header->height) {
            verdict->kept_rows = canvas->stored_height;
        }
        verdict->damaged = reader->contradicted;
        verdict->cut_short = reader->struck && !reader->contradicted;
        verdict->detail_missing = reader->detail_missing;
    }
    jpeg_destroy_decompress(&reader->cinfo);
    im_free(reader->strip);
    im_free(reader->cmyk);
    im_free(reader);
    return rc;
}
