/* tests/image/test_read.c — one decode, several results: what flows is what the held picture gives,
 * also when it is damaged, and takes no more than rows. */
#include "tests/image/help.h"
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((size_t)1 << 20)
#define MOST_PIXELS (96u * 96u * 3u)

/* Square, upright, stretched, and larger than small pictures are: padded. */
static const im_preprocess frames[] = {{16, 16, 16, IM_RESAMPLE_BICUBIC},
                                       {24, 20, 12, IM_RESAMPLE_LANCZOS},
                                       {0, 31, 17, IM_RESAMPLE_BILINEAR},
                                       {20, 96, 64, IM_RESAMPLE_BICUBIC}};

static unsigned bits_apart(uint64_t a, uint64_t b)
{
    return (unsigned)__builtin_popcountll(a ^ b);
}

/* The same code and reason; when it is IM_OK the same pixels and info, and a hash that may differ
 * in pixels that are nearly equal when the picture is turned. */
static im_code assert_same_as_held(const bytes *file, const im_image_options *options,
                                   const im_preprocess *how)
{
    uint8_t held[MOST_PIXELS];
    uint8_t flowed[MOST_PIXELS];
    size_t size = (size_t)how->crop_w * how->crop_h * 3;
    im_image image = {0};
    im_image_info info;
    im_image_info flowed_info;
    uint64_t hash = 0;
    im_error err = IM_ERROR_INIT;
    im_error flowed_err = IM_ERROR_INIT;
    im_image_wish wish = {.prepare = how, .pixels = flowed, .hash = true};
    im_code rc = im_image_decode(file->data, file->size, "a", options, &image, &info, &err);
    memset(flowed, 3, sizeof flowed);
    assert_int_equal(
        im_image_read(file->data, file->size, "a", options, &wish, &flowed_info, &flowed_err), rc);
    if (rc != IM_OK) {
        assert_string_equal(flowed_err.reason, err.reason);
        assert_string_equal(flowed_err.message, err.message);
        return rc;
    }
    memset(held, 3, sizeof held);
    assert_int_equal(im_image_prepare(&image, how, held, &err), IM_OK);
    assert_int_equal(im_image_phash(&image, &hash, &err), IM_OK);
    assert_memory_equal(flowed, held, size);
    assert_int_equal(flowed_info.partial, info.partial);
    assert_int_equal(flowed_info.sound_rows, info.sound_rows);
    assert_int_equal(flowed_info.orientation, info.orientation);
    assert_string_equal(flowed_info.warning, info.warning);
    assert_true(bits_apart(hash, wish.phash) <= (info.orientation >= 5 ? 3 : 0));
    im_image_clear(&image);
    return rc;
}

static void every_golden_picture_flows_as_it_is_held(void **state)
{
    (void)state;
    DIR *folder = opendir(IMAGO_SOURCE_DIR "/tests/golden/image/pictures");
    size_t n = 0;
    assert_non_null(folder);
    for (const struct dirent *e = readdir(folder); e != NULL; e = readdir(folder)) {
        if (e->d_name[0] == '.') {
            continue;
        }
        bytes file = golden_picture(e->d_name);
        for (size_t i = 0; i < IM_COUNT(frames); i++) {
            const im_image_options reduced = {.target_px = 8};
            assert_int_equal(assert_same_as_held(&file, NULL, &frames[i]), IM_OK);
            assert_int_equal(assert_same_as_held(&file, &reduced, &frames[i]), IM_OK);
        }
        bytes_free(&file);
        n++;
    }
    closedir(folder);
    assert_true(n >= 80);
    assert_int_equal(im_live_allocations(), 0);
}

static bytes turned(const bytes *plain, unsigned orientation)
{
    bytes file = bytes_copy(plain);
    bytes tiff = tiff_orientation(orientation);
    jpeg_add_exif(&file, &tiff);
    bytes_free(&tiff);
    return file;
}

static void each_orientation_flows_at_each_scale(void **state)
{
    (void)state;
    const uint32_t sides[][2] = {{803, 601}, {333, 1021}, {640, 1}, {3, 700}, {97, 89}};
    for (size_t i = 0; i < IM_COUNT(sides); i++) {
        uint8_t *rgb = scene(sides[i][0], sides[i][1]);
        for (int k = 0; k < 2; k++) {
            bytes plain = jpeg_of(rgb, sides[i][0], sides[i][1], (jpeg_kind){.progressive = k});
            for (unsigned orientation = 1; orientation <= 8; orientation++) {
                bytes file = turned(&plain, orientation);
                for (uint32_t target = 0; target <= 80; target += 40) {
                    const im_image_options options = {.target_px = target};
                    size_t frame = (orientation + target / 40) % IM_COUNT(frames);
                    assert_int_equal(assert_same_as_held(&file, &options, &frames[frame]), IM_OK);
                }
                bytes_free(&file);
            }
            bytes_free(&plain);
        }
        free(rgb);
    }
}

/* Where it ends decides how many rows there are: also the flow must take only those. */
static void damaged_pictures_flow_as_they_are_held(void **state)
{
    (void)state;
    uint8_t *rgb = scene(300, 200);
    bytes plain[] = {jpeg_of(rgb, 300, 200, (jpeg_kind){0}),
                     jpeg_of(rgb, 300, 200, (jpeg_kind){.progressive = true}),
                     jpeg_of(rgb, 300, 200, (jpeg_kind){.several_scans = true}),
                     png_of(rgb, 300, 200, 8192)};
    size_t n_partial = 0;
    size_t n_refused = 0;
    uint64_t seed = 77;
    for (size_t i = 0; i < IM_COUNT(plain); i++) {
        for (unsigned round = 0; round < 120; round++) {
            bool is_jpeg = i < 3;
            bytes file = is_jpeg ? turned(&plain[i], 1 + round % 8) : bytes_copy(&plain[i]);
            const im_image_options options = {.target_px = round % 3 == 0 ? 24 : 0};
            if (round % 2 == 0) {
                file.size = file.size / 3 + next_random(&seed) % (file.size * 2 / 3);
            } else {
                size_t at = file.size / 3 + next_random(&seed) % (file.size * 2 / 3);
                file.data[at] ^= (uint8_t)(1 + next_random(&seed) % 255);
            }
            im_image_info info;
            im_error err = IM_ERROR_INIT;
            im_image_wish none = {0};
            im_code rc = assert_same_as_held(&file, &options, &frames[round % IM_COUNT(frames)]);
            assert_int_equal(im_image_read(file.data, file.size, "a", &options, &none, &info, &err),
                             rc);
            n_partial += rc == IM_OK && info.partial;
            n_refused += rc != IM_OK;
            bytes_free(&file);
        }
        bytes_free(&plain[i]);
    }
    assert_true(n_partial > 50 && n_refused > 50);
    assert_int_equal(im_live_allocations(), 0);
    free(rgb);
}

static void memory_does_not_grow_with_the_picture(void **state)
{
    (void)state;
    const uint32_t w = 5000;
    const uint32_t h = 4000;
    uint8_t *rgb = scene(w, h);
    bytes jpeg = jpeg_of(rgb, w, h, (jpeg_kind){0});
    bytes sideways = turned(&jpeg, 6);
    bytes png = png_of(rgb, w, h, 1 << 20);
    static uint8_t pixels[224 * 224 * 3];
    const im_preprocess how = {224, 224, 224, IM_RESAMPLE_BICUBIC};
    const bytes *files[] = {&jpeg, &sideways, &png};
    const size_t most[] = {2 * MIB, 8 * MIB, 2 * MIB}; /* turned: stored rows wait for columns */
    for (size_t i = 0; i < IM_COUNT(files); i++) {
        im_image_options tight = {.limits = {.max_decoder_bytes = most[i]}};
        im_image_wish wish = {.prepare = &how, .pixels = pixels, .hash = true, .thumbnail_px = 160};
        cost c = cost_of_read(files[i], &tight, &wish);
        if (c.code != IM_OK) {
            fail_msg("%s", c.message);
        }
        assert_cheap(&c, 60000, most[i] + MIB); /* memory is the point */
        decode_fails(files[i], &tight, "picture_memory");
    }
    im_image_options none = {.limits = {.max_decoder_bytes = 100000}};
    im_image_wish wish = {.prepare = &how, .pixels = pixels};
    cost c = cost_of_read(&sideways, &none, &wish);
    assert_string_equal(c.reason, "picture_memory");
    bytes_free(&jpeg);
    bytes_free(&sideways);
    bytes_free(&png);
    free(rgb);
}

/* The bytes of the thumbnail are those of one that was asked for alone when the scale is the same.
 */
static void a_thumbnail_from_the_same_decode(void **state)
{
    (void)state;
    uint8_t *rgb = scene(1600, 1200);
    bytes plain = jpeg_of(rgb, 1600, 1200, (jpeg_kind){0});
    const im_image_options options = {.target_px = 60};
    const im_preprocess how = {60, 60, 60, IM_RESAMPLE_BICUBIC};
    for (unsigned orientation = 1; orientation <= 8; orientation++) {
        bytes file = turned(&plain, orientation);
        uint8_t alone[60 * 60 * 3];
        im_error err = IM_ERROR_INIT;
        im_image_wish pixels = {.prepare = &how, .pixels = alone};
        assert_int_equal(im_image_read(file.data, file.size, "a", &options, &pixels, NULL, &err),
                         IM_OK);
        for (uint32_t px = 40; px <= 640; px *= 2) { /* 1/8 leaves 200 x 150 */
            uint8_t both[60 * 60 * 3];
            im_bytes apart = {NULL, 0};
            im_image_wish wish = {.prepare = &how, .pixels = both, .thumbnail_px = px};
            assert_int_equal(im_image_read(file.data, file.size, "a", &options, &wish, NULL, &err),
                             IM_OK);
            assert_int_equal(im_image_thumbnail(file.data, file.size, "a", NULL, px, &apart, &err),
                             IM_OK);
            assert_memory_equal(both, alone, sizeof both); /* it changes no embedding */
            bytes one = {wish.thumbnail.data, wish.thumbnail.size, 0};
            bytes other = {apart.data, apart.size, 0};
            im_image a = decode_ok(&one, NULL, NULL);
            im_image b = decode_ok(&other, NULL, NULL);
            assert_int_equal(a.width, b.width);
            assert_int_equal(a.height, b.height);
            assert_int_equal(IM_MAX(a.width, a.height), px);
            assert_true(mean_difference(a.rgb, b.rgb, (size_t)a.width * a.height * 3) < 3.0);
            im_image_clear(&a);
            im_image_clear(&b);
            im_bytes_clear(&wish.thumbnail);
            im_bytes_clear(&apart);
        }
        bytes_free(&file);
    }
    bytes_free(&plain);
    free(rgb);
}

static void wrong_wishes_are_refused(void **state)
{
    (void)state;
    bytes file = golden_picture("jpeg_420.jpg");
    uint8_t pixels[5 * 5 * 3];
    const im_preprocess nearest = {5, 5, 5, IM_RESAMPLE_NEAREST};
    im_image_wish wishes[] = {{.thumbnail_px = 65536}, {.prepare = &nearest, .pixels = pixels}};
    const im_code codes[] = {IM_ERR_INVALID, IM_ERR_UNSUPPORTED};
    for (size_t i = 0; i < IM_COUNT(wishes); i++) {
        im_error err = IM_ERROR_INIT;
        assert_int_equal(im_image_read(file.data, file.size, "a", NULL, &wishes[i], NULL, &err),
                         codes[i]);
        assert_true(err.message[0] != '\0');
    }
    bytes_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_golden_picture_flows_as_it_is_held),
        cmocka_unit_test(each_orientation_flows_at_each_scale),
        cmocka_unit_test(damaged_pictures_flow_as_they_are_held),
        cmocka_unit_test(memory_does_not_grow_with_the_picture),
        cmocka_unit_test(a_thumbnail_from_the_same_decode),
        cmocka_unit_test(wrong_wishes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
