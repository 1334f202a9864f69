/* image/read.c — one decode, several results: the rows of a picture flow through a resize for the
 * model's pixels, one for the hash and one for the thumbnail, and are forgotten. */
#include "image/image_internal.h"
#include "image/resample_internal.h"

#define MOST_STREAMS 3u

struct image_flow {
    const im_image_wish *wish;
    const uint32_t *sides; /* of the thumbnail, NULL: by the shape */
    resample_kernels kernels;
    resample_stream streams[MOST_STREAMS];
    size_t n;
    uint32_t n_rows; /* stored rows of the shape */
    uint8_t hash_rgb[RESAMPLE_HASH_W * RESAMPLE_HASH_H * 3];
    im_image small;       /* the thumbnail */
    bool thumbnail_apart; /* it wants more pixels than this decode has */
};

static void clear_streams(image_flow *flow)
{
    for (size_t i = 0; i < flow->n; i++) {
        resample_stream_clear(&flow->streams[i]);
    }
    flow->n = 0;
    im_image_clear(&flow->small);
}

static resample_job hash_job(image_flow *flow, const im_image *shape)
{
    return (resample_job){.width = shape->width,
                          .height = shape->height,
                          .out_width = RESAMPLE_HASH_W,
                          .out_height = RESAMPLE_HASH_H,
                          .n_x = RESAMPLE_HASH_W,
                          .n_y = RESAMPLE_HASH_H,
                          .filter = IM_RESAMPLE_BICUBIC,
                          .any_order = true,
                          .out = flow->hash_rgb,
                          .out_pitch = (size_t)RESAMPLE_HASH_W * 3};
}

/* False when the decode is too small for it. The thumbnail's own pixels are taken when memory was
 * checked. */
static bool thumbnail_job(image_flow *flow, const im_image *shape, resample_job *out)
{
    uint32_t whole[2];
    uint32_t sides[2];
    resample_job job = resample_whole(shape, &whole[0], &whole[1]);
    thumbnail_sides(whole[0], whole[1], flow->wish->thumbnail_px, sides);
    if (flow->sides != NULL) {
        memcpy(sides, flow->sides, sizeof sides);
    }
    if (sides[0] > shape->width || sides[1] > shape->height) {
        return false;
    }
    flow->small.width = job.out_width = job.n_x = sides[0];
    flow->small.height = job.out_height = job.n_y = sides[1];
    job.filter = IM_RESAMPLE_BICUBIC;
    job.out_pitch = (size_t)sides[0] * 3;
    *out = job;
    return true;
}

im_code flow_begin(image_flow *flow, const image_source *source, const im_image *shape,
                   uint8_t orientation, uint64_t more_bytes, uint64_t *out_bytes, im_error *err)
{
    const im_image_wish *wish = flow->wish;
    resample_job jobs[MOST_STREAMS];
    size_t n = 0;
    uint64_t bytes = 0;
    im_code rc = IM_OK;
    clear_streams(flow);
    flow->n_rows = orientation_turns(orientation) ? shape->width : shape->height;
    if (wish->prepare != NULL) {
        rc = resample_prepare(shape, wish->prepare, wish->pixels, &jobs[n++], err);
    }
    if (wish->hash) {
        jobs[n++] = hash_job(flow, shape);
    }
    flow->thumbnail_apart = wish->thumbnail_px > 0 && !thumbnail_job(flow, shape, &jobs[n]);
    if (wish->thumbnail_px > 0 && !flow->thumbnail_apart) {
        bytes += (uint64_t)jobs[n].out_pitch * jobs[n].n_y;
        n++;
    }
    for (size_t i = 0; i < n && rc == IM_OK; i++) {
        bytes += resample_stream_bytes(shape, orientation, &jobs[i]);
    }
    if (rc == IM_OK) {
        rc = image_check_memory(source, bytes, more_bytes, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    if (flow->small.width > 0) {
        flow->small.rgb = im_alloc(flow->small.height, jobs[n - 1].out_pitch);
        if (flow->small.rgb == NULL) {
            return image_fail_memory(source, err);
        }
        jobs[n - 1].out = flow->small.rgb;
    }
    for (; flow->n < n; flow->n++) {
        if (!resample_stream_init(&flow->streams[flow->n], shape, orientation, &jobs[flow->n],
                                  &flow->kernels)) {
            return image_fail_memory(source, err);
        }
    }
    *out_bytes = bytes;
    return IM_OK;
}

void flow_rows(image_flow *flow, const uint8_t *rows, size_t row_bytes, uint32_t first,
               uint32_t n_rows)
{
    const uint8_t *end = rows + row_bytes * n_rows;
    for (uint32_t i = 0; i < n_rows && first + i < flow->n_rows; i++) {
        for (size_t k = 0; k < flow->n; k++) {
            resample_stream_row(&flow->streams[k], rows + i * row_bytes, end, first + i);
        }
        if (first + i + 1 == flow->n_rows && flow->wish->at_last_row != NULL) {
            flow->wish->at_last_row(flow->wish->context);
        }
    }
}

static bool flow_is_done(const image_flow *flow)
{
    for (size_t i = 0; i < flow->n; i++) {
        if (!resample_stream_done(&flow->streams[i])) {
            return false;
        }
    }
    return true;
}

/* A thumbnail from a decode of its own. */
static im_code read_thumbnail(const image_source *source, const im_image_options *options,
                              im_image_wish *wish, im_error *err)
{
    im_image_wish alone = {.thumbnail_px = wish->thumbnail_px};
    im_code rc =
        im_image_read(source->bytes, source->size, source->name, options, &alone, NULL, err);
    wish->thumbnail = alone.thumbnail;
    return rc;
}

static im_code take_results(const image_source *source, const image_header *header,
                            const im_image_options *options, image_flow *flow, im_image_wish *wish,
                            im_error *err)
{
    if (!flow_is_done(flow)) {
        return im_fail(err, IM_ERR_INTERNAL, "picture '%s': rows are missing from a resize",
                       source->name);
    }
    if (wish->hash) {
        wish->phash = resample_hash(flow->hash_rgb);
    }
    if (flow->thumbnail_apart) {
        return read_thumbnail(source, options, wish, err);
    }
    return wish->thumbnail_px > 0
               ? thumbnail_finish(source, header, &flow->small, &wish->thumbnail, err)
               : IM_OK;
}

/* A thumbnail alone sets the scale of its decode. */
static uint32_t target_of(const image_source *source, const im_image_options *options,
                          const im_image_info *info, const im_image_wish *wish)
{
    bool exact = options != NULL && options->exact_decode;
    uint32_t sides[2];
    if (wish->thumbnail_px == 0 || wish->prepare != NULL || exact) {
        return source->target_px;
    }
    thumbnail_sides(info->width, info->height, wish->thumbnail_px, sides);
    return IM_MIN(sides[0], sides[1]);
}

im_code image_read_described(const image_source *source, const image_header *header,
                             const im_image_options *options, const uint32_t *sides,
                             im_image_wish *wish, im_image_info *info, im_error *err)
{
    image_flow flow = {.wish = wish, .sides = sides, .kernels = resample_fastest()};
    image_source aimed = *source;
    aimed.target_px = target_of(source, options, info, wish);
    im_code rc = image_decode_flow(&aimed, header, info, &flow, err);
    if (rc == IM_OK) {
        rc = take_results(source, header, options, &flow, wish, err);
    }
    clear_streams(&flow);
    return rc;
}

im_code im_image_read(const uint8_t *bytes, size_t size, const char *name,
                      const im_image_options *options, im_image_wish *wish, im_image_info *out_info,
                      im_error *err)
{
    image_source source = image_source_of(bytes, size, name, options);
    image_header header;
    im_image_info info;
    wish->thumbnail = (im_bytes){NULL, 0};
    if (wish->thumbnail_px > IM_LIMIT_PICTURE_SIDE) {
        return im_fail(err, IM_ERR_INVALID, "thumbnail side %u, expected 1 to %u",
                       wish->thumbnail_px, IM_LIMIT_PICTURE_SIDE);
    }
    im_code rc = image_read_header(&source, &header, err);
    if (rc == IM_OK) {
        rc = image_describe(&source, &header, &info, err);
    }
    if (rc == IM_OK) {
        rc = image_read_described(&source, &header, options, NULL, wish, &info, err);
    }
    if (rc == IM_OK && out_info != NULL) {
        rc = image_warn_profile(&source, &header, &info, err);
    }
    if (rc == IM_OK && out_info != NULL) {
        *out_info = info;
    }
    if (rc != IM_OK) {
        im_bytes_clear(&wish->thumbnail);
    }
    return rc;
}
