/* tests/image/test_limits.c — what is too large is refused from the header, and what is inside the
 * limits stays inside its memory and time (T1, T2, T6, T7, T8, T15). */
#include "tests/image/help.h"
#include <stdlib.h>
#include <string.h>

#define MIB ((size_t)1 << 20)

static void assert_refused(const bytes *file, const im_image_options *options, const char *reason,
                           double max_ms, size_t max_bytes)
{
    cost c = cost_of(file, options);
    if (strcmp(c.reason, reason) != 0) {
        fail_msg("%s: %s, expected %s", c.reason, c.message, reason);
    }
    assert_cheap(&c, max_ms, max_bytes);
}

static void huge_png_header_is_refused_at_once(void **state)
{
    (void)state;
    bytes file = png_begin(30000, 30000, 8, 6, 0);
    uint8_t zeros[10] = {0};
    png_chunk(&file, "IDAT", zeros, sizeof zeros);
    cost c = cost_of(&file, NULL);
    assert_string_equal(c.reason, "picture_too_large");
    assert_int_equal(c.code, IM_ERR_LIMIT);
    assert_non_null(strstr(c.message, "30000x30000"));
    assert_non_null(strstr(c.message, "134.2 million"));
    assert_cheap(&c, 50, 16 * MIB);
    bytes_free(&file);

    file = png_begin(70000, 1, 8, 2, 0);
    im_image_options options = {.limits = {.max_side_px = 65535}};
    assert_refused(&file, &options, "picture_too_large", 50, 16 * MIB);
    bytes_free(&file);
}

static void swelling_png_inside_the_limit_is_decoded_by_rows(void **state)
{
    (void)state;
    bytes file = png_begin(65535, 2000, 16, 6, 0);
    png_zeros(&file, 2000ull * (65535 * 8 + 1));
    png_end(&file);
    cost c = cost_of(&file, NULL);
    if (c.code != IM_OK) {
        fail_msg("%s", c.message);
    }
    assert_int_equal(c.width, 65535);
    assert_cheap(&c, 15000, 512 * MIB);
    bytes_free(&file);

    file = png_begin(20000, 6000, 1, 0, 1);
    uint64_t raw = 0; /* Adam7: each pass has its own rows */
    const unsigned x0[] = {0, 4, 0, 2, 0, 1, 0}, dx[] = {8, 8, 4, 4, 2, 2, 1};
    const unsigned y0[] = {0, 0, 4, 0, 2, 0, 1}, dy[] = {8, 8, 8, 4, 4, 2, 2};
    for (size_t p = 0; p < 7; p++) {
        uint64_t columns = (20000 - x0[p] + dx[p] - 1) / dx[p];
        raw += (6000 - y0[p] + dy[p] - 1) / dy[p] * ((columns + 7) / 8 + 1);
    }
    png_zeros(&file, raw);
    png_end(&file);
    c = cost_of(&file, NULL);
    assert_int_equal(c.code, IM_OK);
    assert_false(c.info.partial);
    assert_cheap(&c, 15000, 512 * MIB);
    bytes_free(&file);

    file = png_begin(1000000, 300, 16, 0, 0);
    png_zeros(&file, 300ull * (1000000 * 2 + 1));
    assert_refused(&file, NULL, "picture_too_large", 50, 16 * MIB);
    bytes_free(&file);
}

static bytes progressive(unsigned side, unsigned n_ac_scans)
{
    bytes file = jpeg_begin(0xC2, 8, side, side, 1, NULL);
    size_t blocks = (size_t)((side + 7) / 8) * ((side + 7) / 8);
    jpeg_scan(&file, 1, 1, 0, 0, 0);
    bytes_fill(&file, 0, blocks / 8 + 1); /* a bit a block */
    for (unsigned i = 0; i < n_ac_scans; i++) {
        jpeg_scan(&file, 1, 1, 1, 63, 0);
        bytes_fill(&file, 0, 15 * (blocks / (1 << 14) + 1) / 8 + 1); /* runs of 2^14 blocks */
    }
    bytes_add(&file, "\xff\xd9", 2);
    return file;
}

static void too_many_scans_are_refused_and_counted(void **state)
{
    (void)state;
    bytes file = progressive(8000, 1000);
    cost c = cost_of(&file, NULL);
    assert_string_equal(c.reason, "picture_too_many_scans");
    assert_non_null(strstr(c.message, "1001 scans, the limit is 200"));
    assert_cheap(&c, 3000, 64 * MIB);
    bytes_free(&file);
    file = progressive(2000, 20000);
    assert_refused(&file, NULL, "picture_too_many_scans", 3000, 64 * MIB);
    bytes_free(&file);
    file = progressive(8000, 9);
    c = cost_of(&file, NULL);
    assert_int_equal(c.code, IM_OK);
    assert_int_equal(c.width, 8000);
    assert_false(c.info.partial);
    assert_cheap(&c, 10000, 512 * MIB);
    bytes_free(&file);
}

static void scans_hidden_from_the_walk_are_counted_while_decoding(void **state)
{
    (void)state;
    im_image_options options = {.limits = {.max_scans = 3}};
    bytes file = progressive(64, 2);
    im_image image = decode_ok(&file, &options, NULL);
    im_image_clear(&image);
    bytes_free(&file);
    file = progressive(64, 3);
    decode_fails(&file, &options, "picture_too_many_scans");
    bytes_free(&file);
}

static bytes hollow(unsigned sof, unsigned side, unsigned n, bool one_each)
{
    bytes file = jpeg_begin(sof, 8, side, side, n, NULL);
    if (one_each) {
        for (unsigned i = 1; i <= n; i++) {
            jpeg_scan(&file, i, 1, 0, 63, 0);
        }
    } else {
        jpeg_scan(&file, 1, n, 0, sof == 0xC2 ? 0 : 63, 0);
    }
    return file;
}

static void huge_jpeg_headers_are_refused_and_the_memory_cap_holds(void **state)
{
    (void)state;
    const struct {
        unsigned sof, side, n;
        bool one_each;
    } cases[] = {{0xC2, 20000, 3, false},
                 {0xC2, 65500, 1, false},
                 {0xC0, 20000, 3, true},
                 {0xC0, 65500, 3, false}};
    im_image_options raised = {.limits = {.max_pixels = 5000000000u}};
    for (size_t i = 0; i < IM_COUNT(cases); i++) {
        bytes file = hollow(cases[i].sof, cases[i].side, cases[i].n, cases[i].one_each);
        assert_refused(&file, NULL, "picture_too_large", 50, 16 * MIB);
        assert_refused(&file, &raised, "picture_memory", 1000, 600 * MIB);
        bytes_free(&file);
    }
}

static void jpegs_without_data_are_refused_before_grey_is_made_up(void **state)
{
    (void)state;
    im_image_options roomy = {
        .limits = {.max_pixels = 5000000000u, .max_decoder_bytes = 20000000000u}};
    bytes file = hollow(0xC0, 11000, 3, false);
    assert_refused(&file, NULL, "picture_truncated", 100, 64 * MIB);
    bytes_free(&file);
    file = hollow(0xC0, 65500, 3, false);
    if (!sanitized()) { /* reserves 12 GB of addresses, touches little */
        cost c = cost_of(&file, &roomy);
        assert_true(strcmp(c.reason, "picture_truncated") == 0 ||
                    strcmp(c.reason, "no_memory") == 0);
        assert_cheap(&c, 500, 64 * MIB);
    }
    bytes_free(&file);
    file = hollow(0xC2, 4000, 3, false);
    assert_refused(&file, NULL, "picture_truncated", 1000, 200 * MIB);
    bytes_free(&file);
    file = hollow(0xC0, 4000, 3, true); /* here the next scan's marker comes too early */
    assert_refused(&file, NULL, "picture_corrupt", 1000, 200 * MIB);
    bytes_free(&file);
}

static void decoder_memory_limit_names_need_and_limit(void **state)
{
    (void)state;
    im_image_options tight = {.limits = {.max_decoder_bytes = 5000}};
    const char *const names[] = {"jpeg_420.jpg", "jpeg_progressive_420.jpg", "noise_160x120.png"};
    for (size_t i = 0; i < IM_COUNT(names); i++) {
        bytes file = golden_picture(names[i]);
        const char *message = decode_fails(&file, &tight, "picture_memory");
        assert_non_null(strstr(message, "the limit is"));
        bytes_free(&file);
    }
}

static void decoding_stops_when_its_time_is_over(void **state)
{
    (void)state;
    im_image_options hasty = {.limits = {.max_decode_ms = 1}};
    uint8_t *rgb = scene(2500, 2000);
    bytes files[3] = {jpeg_of(rgb, 2500, 2000, (jpeg_kind){0}),
                      jpeg_of(rgb, 2500, 2000, (jpeg_kind){.progressive = true}),
                      png_of(rgb, 2500, 2000, 65536)};
    for (size_t i = 0; i < IM_COUNT(files); i++) {
        decode_fails(&files[i], &hasty, "picture_time");
        bytes_free(&files[i]);
    }
    free(rgb);
}

static void extreme_shapes_decode_prepare_and_hash(void **state)
{
    (void)state;
    const uint32_t shapes[][2] = {{1, 1}, {1, 65535}, {65535, 1}, {2, 2}, {300, 1}};
    for (size_t i = 0; i < IM_COUNT(shapes); i++) {
        uint32_t w = shapes[i][0];
        uint32_t h = shapes[i][1];
        uint8_t *rgb = scene(w, h);
        bytes file = png_of(rgb, w, h, 1 << 20);
        im_image image = decode_ok(&file, NULL, NULL);
        im_preprocess how = {224, 224, 224, IM_RESAMPLE_BICUBIC};
        uint8_t *out = malloc(224 * 224 * 3);
        uint64_t hash = 0;
        im_bytes thumbnail = {NULL, 0};
        im_error err = IM_ERROR_INIT;
        assert_int_equal(image.width, w);
        assert_int_equal(image.height, h);
        assert_int_equal(im_image_prepare(&image, &how, out, &err), IM_OK);
        assert_int_equal(im_image_phash(&image, &hash, &err), IM_OK);
        assert_int_equal(im_image_thumbnail(file.data, file.size, "x", NULL, 128, &thumbnail, &err),
                         IM_OK);
        im_image_info info;
        assert_int_equal(im_image_probe(thumbnail.data, thumbnail.size, "t", NULL, &info, &err),
                         IM_OK);
        assert_true(info.width >= 1 && info.height >= 1);
        assert_true(info.width <= 128 && info.height <= 128);
        im_bytes_clear(&thumbnail);
        im_image_clear(&image);
        bytes_free(&file);
        free(out);
        free(rgb);
    }
    assert_int_equal(im_live_allocations(), 0);
}

static void white_and_black_stay_white_and_black(void **state)
{
    (void)state;
    for (unsigned value = 0; value <= 255; value += 255) {
        uint8_t *rgb = malloc(100 * 80 * 3);
        memset(rgb, (int)value, 100 * 80 * 3);
        bytes files[2] = {png_of(rgb, 100, 80, 4096), jpeg_of(rgb, 100, 80, (jpeg_kind){0})};
        for (size_t i = 0; i < 2; i++) {
            im_image image = decode_ok(&files[i], NULL, NULL);
            im_preprocess how = {32, 32, 32, IM_RESAMPLE_BICUBIC};
            uint8_t out[32 * 32 * 3];
            im_error err = IM_ERROR_INIT;
            assert_int_equal(im_image_prepare(&image, &how, out, &err), IM_OK);
            for (size_t k = 0; k < sizeof out; k++) {
                assert_int_equal(out[k], value);
            }
            im_image_clear(&image);
            bytes_free(&files[i]);
        }
        free(rgb);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(huge_png_header_is_refused_at_once),
        cmocka_unit_test(swelling_png_inside_the_limit_is_decoded_by_rows),
        cmocka_unit_test(too_many_scans_are_refused_and_counted),
        cmocka_unit_test(scans_hidden_from_the_walk_are_counted_while_decoding),
        cmocka_unit_test(huge_jpeg_headers_are_refused_and_the_memory_cap_holds),
        cmocka_unit_test(jpegs_without_data_are_refused_before_grey_is_made_up),
        cmocka_unit_test(decoder_memory_limit_names_need_and_limit),
        cmocka_unit_test(decoding_stops_when_its_time_is_over),
        cmocka_unit_test(extreme_shapes_decode_prepare_and_hash),
        cmocka_unit_test(white_and_black_stay_white_and_black),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
