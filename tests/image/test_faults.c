/* tests/image/test_faults.c — each allocation fails in turn: IM_ERR_NOMEM or a right result, and
 * nothing leaks. (libjpeg takes its memory by itself; it is not reached here.) */
#include "tests/image/help.h"
#include <stdlib.h>
#include <string.h>

typedef im_code (*operation)(const bytes *file, im_error *err);

static im_code decode(const bytes *file, im_error *err)
{
    im_image image = {0};
    im_image_info info;
    im_code rc = im_image_decode(file->data, file->size, "f", NULL, &image, &info, err);
    if (rc == IM_OK) { /* no fault may change what is given out */
        bytes turned = golden_picture("jpeg_orientation_6.jpg");
        bool same = turned.size == file->size && memcmp(turned.data, file->data, file->size) == 0;
        assert_true(!same || (info.orientation == 6 && image.width == 32));
        bytes_free(&turned);
    }
    im_image_clear(&image);
    return rc;
}

static im_code probe(const bytes *file, im_error *err)
{
    im_image_info info;
    return im_image_probe(file->data, file->size, "f", NULL, &info, err);
}

static im_code thumbnail(const bytes *file, im_error *err)
{
    im_bytes out = {NULL, 0};
    im_code rc = im_image_thumbnail(file->data, file->size, "f", NULL, 20, &out, err);
    im_bytes_clear(&out);
    return rc;
}

static im_code read_all(const bytes *file, im_error *err)
{
    static uint8_t pixels[16 * 16 * 3];
    const im_preprocess how = {16, 16, 16, IM_RESAMPLE_BICUBIC};
    im_image_wish wish = {.prepare = &how, .pixels = pixels, .hash = true, .thumbnail_px = 20};
    im_image_info info;
    im_code rc = im_image_read(file->data, file->size, "f", NULL, &wish, &info, err);
    assert_true(rc == IM_OK || wish.thumbnail.data == NULL);
    im_bytes_clear(&wish.thumbnail);
    return rc;
}

static im_code prepare(const bytes *file, im_error *err)
{
    static uint8_t rgb[60 * 40 * 3];
    uint8_t out[16 * 16 * 3];
    (void)file;
    im_image image = {.rgb = rgb, .width = 60, .height = 40};
    im_preprocess how = {16, 16, 16, IM_RESAMPLE_BICUBIC};
    return im_image_prepare(&image, &how, out, err);
}

static im_code crop(const bytes *file, im_error *err)
{
    static uint8_t rgb[60 * 40 * 3];
    (void)file;
    im_image image = {.rgb = rgb, .width = 60, .height = 40};
    im_image part = {0};
    im_code rc = im_image_crop(&image, 1, 1, 5, 5, &part, err);
    im_image_clear(&part);
    return rc;
}

static void walk(operation run, const bytes *file, size_t at_least)
{
    size_t nth = 0;
    bool fired = true;
    for (; fired; nth++) {
        im_error err = IM_ERROR_INIT;
        im_fault_set(IM_FAULT_ALLOC, nth, 0);
        im_code rc = run(file, &err);
        fired = im_fault_fired(IM_FAULT_ALLOC);
        im_fault_clear();
        /* lcms gives a profile up instead */
        assert_true(rc == IM_OK || (fired && rc == IM_ERR_NOMEM));
        assert_int_equal(im_live_allocations(), 0);
        assert_true(nth < 100000);
    }
    assert_true(nth > at_least); /* the hook was reached */
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    const char *const names[] = {"jpeg_orientation_6.jpg", "jpeg_cmyk_adobe.jpg",
                                 "jpeg_progressive_420.jpg", "png_3_08_trns_adam7.png",
                                 "png_6_16.png"};
    for (size_t i = 0; i < IM_COUNT(names); i++) {
        bytes file = golden_picture(names[i]);
        walk(decode, &file, 2);
        walk(thumbnail, &file, 5);
        walk(read_all, &file, 20);
        walk(probe, &file, 0);
        bytes_free(&file);
    }
    walk(prepare, NULL, 5);
    walk(crop, NULL, 0);
}

/* The failed allocation of pixels is reported as such, not taken for damage. */
static void a_failed_pixel_allocation_is_no_damage(void **state)
{
    (void)state;
    bytes file = golden_picture("png_6_16.png");
    size_t n_nomem = 0;
    for (size_t nth = 0; nth < 12; nth++) {
        im_error err = IM_ERROR_INIT;
        im_fault_set(IM_FAULT_ALLOC, nth, 0);
        im_code rc = decode(&file, &err);
        im_fault_clear();
        n_nomem += rc == IM_ERR_NOMEM;
        assert_true(rc == IM_OK || strcmp(err.reason, "no_memory") == 0);
    }
    assert_true(n_nomem >= 8);
    bytes_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(a_failed_pixel_allocation_is_no_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
