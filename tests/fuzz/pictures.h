/* tests/fuzz/pictures.h — what holds for every picture that was read, whatever its bytes. */
#ifndef IM_TESTS_FUZZ_PICTURES_H
#define IM_TESTS_FUZZ_PICTURES_H

#include "image/image.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static inline void require(int condition)
{
    if (!condition) {
        abort();
    }
}

static inline void check_info(const im_image_info *info)
{
    require(info->width > 0 && info->height > 0);
    require(info->orientation >= 1 && info->orientation <= 8);
    require(!info->has_gps || (fabs(info->latitude) <= 90.0 && fabs(info->longitude) <= 180.0));
    require(!info->has_taken_offset || info->has_taken);
    require(memchr(info->camera, 0, sizeof info->camera) != NULL);
    require(memchr(info->warning, 0, sizeof info->warning) != NULL);
}

static inline void check_picture(const im_image *image, const im_image_info *info, uint32_t target)
{
    uint32_t stored_rows = info->orientation >= 5 ? info->width : info->height;
    uint8_t out[32 * 32 * 3];
    im_preprocess how = {32, 32, 32, IM_RESAMPLE_BICUBIC};
    im_error err = IM_ERROR_INIT;
    require(image->width > 0 && image->height > 0 && image->rgb != NULL);
    require((uint64_t)info->sound_rows * 2 >= stored_rows && info->sound_rows <= stored_rows);
    require(info->partial == (info->warning[0] != '\0') || !info->partial);
    require(target != 0 || info->partial ||
            (image->width == info->width && image->height == info->height));
    require(im_image_prepare(image, &how, out, &err) == IM_OK);
}

/* What flows is what is held: the same code, and the same pixels. */
static inline void check_read(const uint8_t *file, size_t size, const im_image_options *options,
                              const im_image *held, im_code code)
{
    uint8_t a[32 * 32 * 3];
    uint8_t b[32 * 32 * 3];
    im_preprocess how = {32, 32, 32, IM_RESAMPLE_BICUBIC};
    im_image_wish wish = {.prepare = &how, .pixels = a, .hash = true, .thumbnail_px = 24};
    im_error err = IM_ERROR_INIT;
    im_code rc = im_image_read(file, size, "fuzz", options, &wish, NULL, &err);
    require(rc == code || rc == IM_ERR_LIMIT || code == IM_ERR_LIMIT); /* memory and time differ */
    if (rc == IM_OK && code == IM_OK) {
        require(im_image_prepare(held, &how, b, &err) == IM_OK);
        require(memcmp(a, b, sizeof a) == 0 && wish.thumbnail.size > 0);
    }
    im_bytes_clear(&wish.thumbnail);
}

#endif
