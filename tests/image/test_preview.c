/* tests/image/test_preview.c — the preview in EXIF stands in for a thumbnail where it can, and for
 * nothing else. Pictures are blue; their previews are red on the left and green on the right. */
#include "tests/image/help.h"
#include <stdlib.h>
#include <string.h>

typedef enum colour { RED, GREEN, BLUE, MIXED } colour;

static uint8_t *filled(uint32_t w, uint32_t h, colour left, colour right)
{
    uint8_t *rgb = calloc((size_t)w * h, 3);
    for (size_t i = 0; i < (size_t)w * h; i++) {
        rgb[i * 3 + (i % w < w / 2 ? left : right)] = 220;
    }
    return rgb;
}

static bytes jpeg_filled(uint32_t w, uint32_t h, colour left, colour right)
{
    uint8_t *rgb = filled(w, h, left, right);
    bytes file = jpeg_of(rgb, w, h, (jpeg_kind){.quality = 95, .full_chroma = true});
    free(rgb);
    return file;
}

static colour colour_at(const im_image *image, uint32_t x, uint32_t y)
{
    const uint8_t *p = image->rgb + ((size_t)y * image->width + x) * 3;
    for (int c = 0; c < 3; c++) {
        if (p[c] > 180 && p[(c + 1) % 3] < 60 && p[(c + 2) % 3] < 60) {
            return (colour)c;
        }
    }
    return MIXED;
}

/* A little-endian TIFF block: IFD 0 with the orientation, IFD 1 with the preview. */
static bytes tiff_with(unsigned orientation, const bytes *preview, uint32_t said_size)
{
    bytes b = {0};
    const uint32_t at = 8 + 2 + 12 + 4 + 2 + 3 * 12 + 4;
    bytes_add(&b, "II*\0\x08\0\0\0", 8);
    bytes_add(&b, "\x01\0\x12\x01\x03\0\x01\0\0\0", 10);
    bytes_u8(&b, orientation);
    bytes_add(&b, "\0\0\0\x1a\0\0\0", 7); /* IFD 1 follows, at 26 */
    bytes_add(&b, "\x03\0\x03\x01\x03\0\x01\0\0\0\x06\0\0\0", 14);
    bytes_add(&b, "\x01\x02\x04\0\x01\0\0\0", 8);
    bytes_add(&b, (uint8_t[]){(uint8_t)at, 0, 0, 0}, 4);
    bytes_add(&b, "\x02\x02\x04\0\x01\0\0\0", 8);
    bytes_add(
        &b,
        (uint8_t[]){(uint8_t)said_size, (uint8_t)(said_size >> 8), (uint8_t)(said_size >> 16), 0},
        4);
    bytes_add(&b, "\0\0\0\0", 4);
    assert_int_equal(b.size, at);
    bytes_add(&b, preview->data, preview->size);
    return b;
}

/* A blue picture of w x h with this preview. */
static bytes picture(uint32_t w, uint32_t h, unsigned orientation, const bytes *preview)
{
    bytes file = jpeg_filled(w, h, BLUE, BLUE);
    bytes tiff = tiff_with(orientation, preview, (uint32_t)preview->size);
    jpeg_add_exif(&file, &tiff);
    bytes_free(&tiff);
    return file;
}

static im_image thumbnail_of(const bytes *file, uint32_t px)
{
    im_bytes out = {NULL, 0};
    im_error err = IM_ERROR_INIT;
    if (im_image_thumbnail(file->data, file->size, "t", NULL, px, &out, &err) != IM_OK) {
        fail_msg("%s", err.message);
    }
    bytes jpeg = {out.data, out.size, out.size};
    im_image image = decode_ok(&jpeg, NULL, NULL);
    im_bytes_clear(&out);
    return image;
}

/* Where the thumbnail of px comes from, and its sides. */
static void assert_thumbnail(const bytes *file, uint32_t px, colour left, uint32_t w, uint32_t h)
{
    im_image image = thumbnail_of(file, px);
    assert_int_equal(image.width, w);
    assert_int_equal(image.height, h);
    assert_int_equal(colour_at(&image, w / 8, h / 2), left);
    im_image_clear(&image);
}

static void a_preview_that_is_large_enough_serves(void **state)
{
    (void)state;
    bytes preview = jpeg_filled(160, 107, RED, GREEN);
    bytes file = picture(600, 400, 1, &preview);
    assert_thumbnail(&file, 160, RED, 160, 107);
    assert_thumbnail(&file, 100, RED, 100, 67);
    assert_thumbnail(&file, 161, BLUE, 161, 107);
    assert_thumbnail(&file, 320, BLUE, 320, 213);
    bytes_free(&file);
    bytes_free(&preview);
}

static void it_is_turned_with_its_picture(void **state)
{
    (void)state;
    /* where the stored left half is, seen from a point near the middle of the left edge … */
    const struct {
        colour left, top;
    } seen[9] = {
        [1] = {RED, MIXED}, [2] = {GREEN, MIXED}, [3] = {GREEN, MIXED}, [4] = {RED, MIXED},
        [5] = {MIXED, RED}, [6] = {MIXED, RED},   [7] = {MIXED, GREEN}, [8] = {MIXED, GREEN}};
    bytes preview = jpeg_filled(160, 120, RED, GREEN);
    bytes own = tiff_orientation(3); /* of the preview: not heeded */
    jpeg_add_exif(&preview, &own);
    for (unsigned orientation = 1; orientation <= 8; orientation++) {
        bytes file = picture(640, 480, orientation, &preview);
        im_image image = thumbnail_of(&file, 80);
        bool turned = orientation >= 5;
        assert_int_equal(image.width, turned ? 60 : 80);
        assert_int_equal(image.height, turned ? 80 : 60);
        if (turned) { /* … or of the upper one */
            assert_int_equal(colour_at(&image, 30, 10), seen[orientation].top);
        } else {
            assert_int_equal(colour_at(&image, 10, 30), seen[orientation].left);
        }
        im_image_clear(&image);
        bytes_free(&file);
    }
    bytes_free(&own);
    bytes_free(&preview);
}

static void another_shape_is_ignored(void **state)
{
    (void)state;
    bytes bars = jpeg_filled(160, 120, RED, GREEN); /* 4:3 for 3:2 */
    bytes file = picture(600, 400, 1, &bars);
    assert_thumbnail(&file, 90, BLUE, 90, 60);
    bytes_free(&file);
    file = picture(120, 90, 1, &bars); /* larger than its picture */
    assert_thumbnail(&file, 90, BLUE, 90, 68);
    bytes_free(&file);
    file = picture(160, 120, 2, &bars); /* just as large */
    assert_thumbnail(&file, 160, GREEN, 160, 120);
    bytes_free(&file);
    bytes_free(&bars);
}

/* Whatever is wrong with it, the thumbnail is that of the picture. */
static void a_damaged_preview_is_ignored(void **state)
{
    (void)state;
    bytes sound = jpeg_filled(160, 120, RED, GREEN);
    uint8_t *rgb = filled(160, 120, RED, GREEN);
    bytes other[] = {png_of(rgb, 160, 120, 4096),
                     bytes_copy(&sound),
                     bytes_copy(&sound),
                     bytes_copy(&sound),
                     {0}};
    other[1].size = 40;
    other[2].size = sound.size * 4 / 5; /* enough rows for a picture, not for this */
    memset(other[3].data + other[3].size / 2, 0xFF, 30);
    bytes_text(&other[4], "no picture");
    for (size_t i = 0; i < IM_COUNT(other); i++) {
        bytes file = picture(640, 480, 1, &other[i]);
        assert_thumbnail(&file, 100, BLUE, 100, 75);
        bytes_free(&file);
        bytes_free(&other[i]);
    }
    bytes file = jpeg_filled(640, 480, BLUE, BLUE);
    bytes tiff = tiff_with(1, &sound, 0x7FFFFF); /* longer than its block */
    jpeg_add_exif(&file, &tiff);
    assert_thumbnail(&file, 100, BLUE, 100, 75);
    bytes_free(&tiff);
    bytes_free(&file);
    free(rgb);
    bytes_free(&sound);
    assert_int_equal(im_live_allocations(), 0);
}

static void a_profile_speaks_for_the_picture_alone(void **state)
{
    (void)state;
    bytes preview = jpeg_filled(160, 120, RED, GREEN);
    bytes file = picture(640, 480, 1, &preview);
    bytes piece = {0};
    bytes_add(&piece, "ICC_PROFILE\0\x01\x01no profile", 24);
    bytes segment = {0};
    jpeg_segment(&segment, 0xE2, piece.data, piece.size);
    bytes_insert(&file, 2, segment.data, segment.size);
    assert_thumbnail(&file, 100, BLUE, 100, 75);
    bytes_free(&segment);
    bytes_free(&piece);
    bytes_free(&file);
    bytes_free(&preview);
}

static void pixels_never_come_from_it(void **state)
{
    (void)state;
    bytes preview = jpeg_filled(160, 120, RED, GREEN);
    bytes file = picture(640, 480, 1, &preview);
    const im_preprocess how = {32, 32, 32, IM_RESAMPLE_BICUBIC};
    for (uint32_t px = 0; px <= 100; px += 50) {
        uint8_t pixels[32 * 32 * 3];
        const im_image_options options = {.target_px = 32};
        im_image_wish wish = {.prepare = &how, .pixels = pixels, .hash = true, .thumbnail_px = px};
        im_error err = IM_ERROR_INIT;
        assert_int_equal(im_image_read(file.data, file.size, "a", &options, &wish, NULL, &err),
                         IM_OK);
        const im_image seen = {.rgb = pixels, .width = 32, .height = 32};
        assert_int_equal(colour_at(&seen, 3, 16), BLUE);
        assert_int_equal(wish.phash, 0); /* of one colour */
        if (px > 0) {                    /* from the same decode */
            bytes jpeg = {wish.thumbnail.data, wish.thumbnail.size, 0};
            im_image thumbnail = decode_ok(&jpeg, NULL, NULL);
            assert_int_equal(colour_at(&thumbnail, 3, 16), BLUE);
            im_image_clear(&thumbnail);
        }
        im_bytes_clear(&wish.thumbnail);
    }
    im_image held = decode_ok(&file, NULL, NULL);
    assert_int_equal(colour_at(&held, 40, 240), BLUE);
    im_image_clear(&held);
    bytes_free(&file);
    bytes_free(&preview);
}

static void each_failed_allocation_ends_well(void **state)
{
    (void)state;
    bytes preview = jpeg_filled(160, 120, RED, GREEN);
    bytes file = picture(320, 240, 6, &preview);
    bool fired = true;
    size_t nth = 0;
    for (; fired; nth++) {
        im_bytes out = {NULL, 0};
        im_error err = IM_ERROR_INIT;
        im_fault_set(IM_FAULT_ALLOC, nth, 0);
        im_code rc = im_image_thumbnail(file.data, file.size, "t", NULL, 60, &out, &err);
        fired = im_fault_fired(IM_FAULT_ALLOC);
        im_fault_clear();
        assert_true(rc == IM_OK || (fired && rc == IM_ERR_NOMEM && out.data == NULL));
        im_bytes_clear(&out);
        assert_int_equal(im_live_allocations(), 0);
    }
    assert_true(nth > 30);
    bytes_free(&file);
    bytes_free(&preview);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_preview_that_is_large_enough_serves),
        cmocka_unit_test(it_is_turned_with_its_picture),
        cmocka_unit_test(another_shape_is_ignored),
        cmocka_unit_test(a_damaged_preview_is_ignored),
        cmocka_unit_test(a_profile_speaks_for_the_picture_alone),
        cmocka_unit_test(pixels_never_come_from_it),
        cmocka_unit_test(each_failed_allocation_ends_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
