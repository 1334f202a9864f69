/* image/limits.c — the limits of one decode: defaults, and the sentences when one is passed. */
#include "base/clock.h"
#include "image/image_internal.h"

image_source image_source_of(const uint8_t *bytes, size_t size, const char *name,
                             const im_image_options *options)
{
    static const im_image_options defaults = {.exact_decode = true};
    const im_image_options *from = options != NULL ? options : &defaults;
    image_source source = {bytes, size, name != NULL ? name : "", from->limits, 0, im_clock_ns()};
    im_image_limits *limits = &source.limits;
    if (limits->max_bytes == 0) {
        limits->max_bytes = IM_LIMIT_PICTURE_BYTES;
    }
    if (limits->max_side_px == 0) {
        limits->max_side_px = IM_LIMIT_PICTURE_SIDE;
    }
    if (limits->max_pixels == 0) {
        limits->max_pixels = IM_LIMIT_PICTURE_PIXELS;
    }
    if (limits->max_decoder_bytes == 0) {
        limits->max_decoder_bytes = IM_LIMIT_DECODER_BYTES;
    }
    if (limits->max_scans == 0) {
        limits->max_scans = IM_LIMIT_JPEG_SCANS;
    }
    if (limits->max_decode_ms == 0) {
        limits->max_decode_ms = IM_LIMIT_DECODE_MS;
    }
    source.target_px = from->exact_decode ? 0 : from->target_px;
    return source;
}

im_code image_check_sides(const image_source *source, uint32_t width, uint32_t height,
                          im_error *err)
{
    const im_image_limits *limits = &source->limits;
    if (width == 0 || height == 0) {
        return im_fail_as(err, IM_REASON_PICTURE_CORRUPT,
                          "picture '%s': %ux%u pixels, expected at least 1x1", source->name, width,
                          height);
    }
    uint64_t pixels = (uint64_t)width * height;
    im_code rc = IM_OK;
    if (pixels > limits->max_pixels) {
        rc = im_fail_as(err, IM_REASON_PICTURE_TOO_LARGE,
                        "picture '%s': %ux%u pixels (%.1f million), the limit is %.1f million",
                        source->name, width, height, (double)pixels / 1e6,
                        (double)limits->max_pixels / 1e6);
        im_hint(err, "raise --max-pixels if you trust the file");
    } else if (width > limits->max_side_px || height > limits->max_side_px) {
        rc = im_fail_as(err, IM_REASON_PICTURE_TOO_LARGE,
                        "picture '%s': %ux%u pixels, the limit of a side is %u", source->name,
                        width, height, limits->max_side_px);
        im_hint(err, "raise --max-side if you trust the file");
    }
    return rc;
}

im_code image_check_memory(const image_source *source, uint64_t rgb_bytes, uint64_t more_bytes,
                           im_error *err)
{
    uint64_t limit = source->limits.max_decoder_bytes;
    uint64_t need = 0;
    if (im_u64_add(rgb_bytes, more_bytes, &need) && need <= limit) {
        return IM_OK;
    }
    char needed[16];
    char allowed[16];
    im_code rc = im_fail_as(err, IM_REASON_PICTURE_MEMORY,
                            "picture '%s': decoding it takes %s, the limit is %s", source->name,
                            im_text_bytes(need, needed), im_text_bytes(limit, allowed));
    im_hint(err, "raise --max-decoder-bytes if you trust the file");
    return rc;
}

bool image_out_of_time(const image_source *source)
{
    return im_clock_ms_since(source->started_ns) > source->limits.max_decode_ms;
}

im_code image_fail_time(const image_source *source, im_error *err)
{
    im_code rc = im_fail_as(err, IM_REASON_PICTURE_TIME,
                            "picture '%s': not decoded within the limit of %.1f s", source->name,
                            source->limits.max_decode_ms / 1000.0);
    im_hint(err, "raise --max-decode-seconds if you trust the file");
    return rc;
}

im_code image_fail_memory(const image_source *source, im_error *err)
{
    return im_fail(err, IM_ERR_NOMEM, "picture '%s': could not get memory to decode it",
                   source->name);
}
