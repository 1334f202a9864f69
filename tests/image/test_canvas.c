/* tests/image/test_canvas.c — crops, and placing rows in strips of any size. */
#include "image/image_internal.h"
#include "tests/image/help.h"
#include <stdlib.h>
#include <string.h>

static void a_crop_holds_the_pixels_of_its_box(void **state)
{
    (void)state;
    uint8_t *rgb = scene(30, 20);
    im_image image = {.rgb = rgb, .width = 30, .height = 20};
    im_image part = {0};
    im_error err = IM_ERROR_INIT;
    assert_int_equal(im_image_crop(&image, 7, 3, 11, 17, &part, &err), IM_OK);
    assert_int_equal(part.width, 11);
    assert_int_equal(part.height, 17);
    for (uint32_t y = 0; y < 17; y++) {
        assert_memory_equal(part.rgb + (size_t)y * 33, rgb + ((size_t)(y + 3) * 30 + 7) * 3, 33);
    }
    im_image_clear(&part);
    free(rgb);
}

static void boxes_without_area_or_outside_are_refused(void **state)
{
    (void)state;
    uint8_t rgb[4 * 3 * 3] = {0};
    im_image image = {.rgb = rgb, .width = 4, .height = 3};
    im_image part = {0};
    im_error err = IM_ERROR_INIT;
    const uint32_t boxes[][4] = {{0, 0, 0, 1},          {0, 0, 1, 0},         {0, 0, 5, 1},
                                 {0, 0, 1, 4},          {4, 0, 1, 1},         {0, 3, 1, 1},
                                 {UINT32_MAX, 0, 2, 1}, {1, 1, UINT32_MAX, 1}};
    for (size_t i = 0; i < IM_COUNT(boxes); i++) {
        assert_int_equal(
            im_image_crop(&image, boxes[i][0], boxes[i][1], boxes[i][2], boxes[i][3], &part, &err),
            IM_ERR_INVALID);
        assert_string_equal(err.reason, "query_box");
        assert_null(part.rgb);
    }
}

static void strips_and_pixels_and_rows_place_alike(void **state)
{
    (void)state;
    const uint32_t w = 13;
    const uint32_t h = 11;
    uint8_t *rgb = scene(w, h);
    for (uint8_t orientation = 1; orientation <= 8; orientation++) {
        image_canvas strips = {0};
        image_canvas pixels = {0};
        canvas_shape(&strips, w, h, orientation, 1);
        canvas_shape(&pixels, w, h, orientation, 1);
        assert_true(canvas_open(&strips));
        assert_true(canvas_open(&pixels));
        for (uint32_t y = 0; y < h; y += 4) {
            canvas_place(&strips, rgb + (size_t)y * w * 3, y, IM_MIN(4u, h - y));
        }
        for (uint32_t y = 0; y < h; y++) {
            for (uint32_t x = 0; x < w; x++) {
                canvas_place_spread(&pixels, rgb + ((size_t)y * w + x) * 3, 1, x, 1, y);
            }
        }
        assert_int_equal(strips.width, orientation >= 5 ? h : w);
        assert_memory_equal(strips.rgb, pixels.rgb, (size_t)w * h * 3);
        canvas_clear(&strips);
        canvas_clear(&pixels);
    }
    free(rgb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crop_holds_the_pixels_of_its_box),
        cmocka_unit_test(boxes_without_area_or_outside_are_refused),
        cmocka_unit_test(strips_and_pixels_and_rows_place_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
