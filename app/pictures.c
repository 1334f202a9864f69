/* app/pictures.c — a picture's way to the encoder: bytes, decode, box, the model's frame. */
#include "app/app_internal.h"
#include "base/file.h"

size_t picture_pixels_bytes(const im_encoder *encoder)
{
    const im_preprocess *how = &im_encoder_describe(encoder)->preprocess;
    return (size_t)how->crop_w * how->crop_h * 3;
}

im_code picture_read(const char *path, const im_image_limits *limits, im_bytes *out, im_error *err)
{
    uint64_t most =
        limits != NULL && limits->max_bytes != 0 ? limits->max_bytes : IM_LIMIT_PICTURE_BYTES;
    return im_file_read(path, most, out, err);
}

im_code picture_pixels(const im_encoder *encoder, im_view bytes, const char *name,
                       const im_image_options *options, const im_box *box, uint8_t *out_pixels,
                       im_error *err)
{
    im_image whole = {0};
    im_image part = {0};
    uint32_t xywh[4];
    im_image_options how = options != NULL ? *options : (im_image_options){0};
    const im_preprocess *preprocess = &im_encoder_describe(encoder)->preprocess;
    /* a box of a picture is cut from the full frame: its pixels count from there */
    how.exact_decode = how.exact_decode || box != NULL;
    how.target_px = preprocess->resize_shortest != 0
                        ? preprocess->resize_shortest
                        : IM_MAX(preprocess->crop_w, preprocess->crop_h);
    im_code rc =
        im_image_decode((const uint8_t *)bytes.data, bytes.size, name, &how, &whole, NULL, err);
    if (rc == IM_OK && box != NULL) {
        rc = im_box_resolve(box, whole.width, whole.height, xywh, err);
        if (rc == IM_OK) {
            rc = im_image_crop(&whole, xywh[0], xywh[1], xywh[2], xywh[3], &part, err);
        }
    }
    if (rc == IM_OK) {
        rc = im_encoder_prepare(encoder, box != NULL ? &part : &whole, out_pixels, err);
    }
    im_image_clear(&whole);
    im_image_clear(&part);
    return rc;
}
