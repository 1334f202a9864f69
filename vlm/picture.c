/* vlm/picture.c — pictures as they are sent: small, of a size that no server changes, and nothing
 * in them but pixels. */
#include "vlm/vlm_internal.h"

#define STEP 28u   /* merged patch of the Qwen2.5-VL family */
#define LEAST 112u /* a side of four steps: 16 tokens with a square, above every server's floor */
#define QUALITY 90
#define BLANK_PX 112u

/* The multiple of STEP nearest to side * scale; a narrow picture is stretched to the least. */
static uint32_t step_side(double side, double scale, uint32_t most)
{
    double steps = side * scale / STEP;
    uint32_t side_px = (uint32_t)(steps + 0.5) * STEP;
    return IM_MAX(LEAST / 2, IM_MIN(side_px, most / STEP * STEP));
}

static im_code stretch(const im_image *image, uint32_t max_px, im_image *out, im_error *err)
{
    bool reduced = image->whole_width > 0;
    double width = reduced ? image->whole_width : image->width;
    double height = reduced ? image->whole_height : image->height;
    double longer = IM_MAX(width, height);
    double shorter = IM_MIN(width, height);
    double scale = longer > max_px ? max_px / longer : 1;
    if (shorter * scale < LEAST && longer * scale < max_px) { /* enlarged, as servers would */
        scale = IM_MIN(LEAST / shorter, max_px / longer);
    }
    out->width = step_side(width, scale, max_px);
    out->height = step_side(height, scale, max_px);
    out->rgb = im_alloc((size_t)out->width * out->height, 3);
    if (out->rgb == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a picture to be sent");
    }
    return im_image_resize(image, reduced ? image->frame_x : 0.0, reduced ? image->frame_y : 0.0,
                           reduced ? image->frame_width : image->width,
                           reduced ? image->frame_height : image->height, out->width, out->height,
                           out->rgb, err);
}

im_code im_vlm_picture(const uint8_t *bytes, size_t size, const char *name,
                       const im_image_limits *limits, uint32_t max_px, im_bytes *out,
                       uint32_t *out_tokens, im_error *err)
{
    im_image_options options = {.target_px = max_px};
    im_image image = {0};
    im_image sent = {0};
    if (max_px < IM_VLM_LEAST_PX || max_px > IM_VLM_MOST_PX) {
        return im_fail(err, IM_ERR_INVALID, "pictures of at most %u px, expected %u to %u", max_px,
                       IM_VLM_LEAST_PX, IM_VLM_MOST_PX);
    }
    options.limits = limits != NULL ? *limits : options.limits;
    im_code rc = im_image_decode(bytes, size, name, &options, &image, NULL, err);
    if (rc == IM_OK) {
        rc = stretch(&image, max_px, &sent, err);
    }
    if (rc == IM_OK) {
        rc = im_image_jpeg(&sent, QUALITY, name, out, err);
    }
    if (rc == IM_OK && out_tokens != NULL) {
        *out_tokens = (sent.width / STEP) * (sent.height / STEP) + 2;
    }
    im_image_clear(&image);
    im_image_clear(&sent);
    return rc;
}

im_code im_vlm_blank(im_bytes *out, im_error *err)
{
    im_image blank = {.width = BLANK_PX, .height = BLANK_PX};
    blank.rgb = im_alloc((size_t)BLANK_PX * BLANK_PX, 3);
    if (blank.rgb == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a picture");
    }
    memset(blank.rgb, 128, (size_t)BLANK_PX * BLANK_PX * 3);
    im_code rc = im_image_jpeg(&blank, QUALITY, "blank", out, err);
    im_image_clear(&blank);
    return rc;
}
