/* image/resize.c — what callers ask of the resampler: a resize, a model's preprocessing, a hash. */
#include "image/resample_internal.h"

static im_code resize(const im_image *image, double x, double y, double w, double h, uint32_t out_w,
                      uint32_t out_h, uint8_t *out, const resample_kernels *kernels, im_error *err)
{
    resample_job job = {.x = x,
                        .y = y,
                        .width = w,
                        .height = h,
                        .out_width = out_w,
                        .out_height = out_h,
                        .n_x = out_w,
                        .n_y = out_h,
                        .filter = IM_RESAMPLE_BICUBIC,
                        .out = out,
                        .out_pitch = (size_t)out_w * 3};
    return resample_run(image, &job, kernels, err);
}

im_code im_image_resize(const im_image *image, double x, double y, double w, double h,
                        uint32_t out_w, uint32_t out_h, uint8_t *out, im_error *err)
{
    resample_kernels kernels = resample_fastest();
    return resize(image, x, y, w, h, out_w, out_h, out, &kernels, err);
}

im_code im_image_resize_plain(const im_image *image, double x, double y, double w, double h,
                              uint32_t out_w, uint32_t out_h, uint8_t *out, im_error *err)
{
    return resize(image, x, y, w, h, out_w, out_h, out, &resample_plain, err);
}

/* One axis of transformers' center_crop: which resized pixels stay and where they go. */
typedef struct crop_axis {
    uint32_t first; /* first resized pixel kept */
    uint32_t n;     /* pixels kept */
    uint32_t pad;   /* zeros before them */
} crop_axis;

static crop_axis center(uint32_t resized, uint32_t crop)
{
    if (resized >= crop) {
        return (crop_axis){(resized - crop) / 2, crop, 0};
    }
    return (crop_axis){0, resized, (crop - resized + 1) / 2};
}

/* int(size * long / short) of get_resize_output_image_size: truncated. Rounding it would shift the
 * crop, which costs a cosine of 0.993. */
static im_code resized_sides(uint32_t width, uint32_t height, const im_preprocess *how,
                             uint32_t *out_width, uint32_t *out_height, im_error *err)
{
    if (how->resize_shortest == 0) {
        *out_width = how->crop_w;
        *out_height = how->crop_h;
        return IM_OK;
    }
    uint32_t shorter = IM_MIN(width, height);
    uint32_t longer = IM_MAX(width, height);
    uint64_t scaled = (uint64_t)how->resize_shortest * longer / shorter;
    if (how->resize_shortest > 65535 || scaled > UINT32_MAX) {
        return im_fail(err, IM_ERR_INVALID, "cannot resize the shorter side to %u pixels",
                       how->resize_shortest);
    }
    *out_width = width <= height ? how->resize_shortest : (uint32_t)scaled;
    *out_height = width <= height ? (uint32_t)scaled : how->resize_shortest;
    return IM_OK;
}

resample_job resample_whole(const im_image *image, uint32_t *out_width, uint32_t *out_height)
{
    resample_job job = {.width = image->width, .height = image->height};
    *out_width = image->width;
    *out_height = image->height;
    if (image->whole_width > 0 && image->whole_height > 0) {
        *out_width = image->whole_width;
        *out_height = image->whole_height;
        job.x = image->frame_x;
        job.y = image->frame_y;
        job.width = image->frame_width;
        job.height = image->frame_height;
    }
    return job;
}

im_code resample_prepare(const im_image *image, const im_preprocess *how, uint8_t *out,
                         resample_job *out_job, im_error *err)
{
    uint32_t width = 0;
    uint32_t height = 0;
    resample_job job = resample_whole(image, &width, &height);
    im_code rc = resized_sides(width, height, how, &job.out_width, &job.out_height, err);
    if (rc != IM_OK) {
        return rc;
    }
    crop_axis x = center(job.out_width, how->crop_w);
    crop_axis y = center(job.out_height, how->crop_h);
    job.first_x = x.first;
    job.first_y = y.first;
    job.n_x = x.n;
    job.n_y = y.n;
    job.filter = how->resample;
    job.out_pitch = (size_t)how->crop_w * 3;
    job.out = out + y.pad * job.out_pitch + (size_t)x.pad * 3;
    rc = resample_check(image, &job, err);
    if (rc != IM_OK) {
        return rc;
    }
    if (x.n < how->crop_w || y.n < how->crop_h) {
        memset(out, 0, how->crop_h * job.out_pitch);
    }
    *out_job = job;
    return IM_OK;
}

im_code im_image_prepare(const im_image *image, const im_preprocess *how, uint8_t *out,
                         im_error *err)
{
    resample_job job;
    im_code rc = resample_prepare(image, how, out, &job, err);
    if (rc != IM_OK) {
        return rc;
    }
    resample_kernels kernels = resample_fastest();
    return resample_run(image, &job, &kernels, err);
}

uint64_t resample_hash(const uint8_t *rgb)
{
    uint64_t hash = 0;
    for (size_t y = 0; y < RESAMPLE_HASH_H; y++) {
        unsigned grey[RESAMPLE_HASH_W];
        for (size_t x = 0; x < RESAMPLE_HASH_W; x++, rgb += 3) {
            /* ITU-R BT.601 luma, in thousandths */
            grey[x] = 299u * rgb[0] + 587u * rgb[1] + 114u * rgb[2];
        }
        for (size_t x = 0; x + 1 < RESAMPLE_HASH_W; x++) {
            hash = hash << 1 | (grey[x] > grey[x + 1]);
        }
    }
    return hash;
}

im_code im_image_phash(const im_image *image, uint64_t *out_hash, im_error *err)
{
    uint8_t rgb[RESAMPLE_HASH_W * RESAMPLE_HASH_H * 3];
    im_code rc = im_image_resize(image, 0.0, 0.0, image->width, image->height, RESAMPLE_HASH_W,
                                 RESAMPLE_HASH_H, rgb, err);
    if (rc == IM_OK) {
        *out_hash = resample_hash(rgb);
    }
    return rc;
}
