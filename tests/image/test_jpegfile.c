/* tests/image/test_jpegfile.c — JPEG that is damaged or of a rare kind (T9, T10), and decoding at a
 * reduced scale. */
#include "tests/image/help.h"
#include <stdlib.h>
#include <string.h>

#define W 200u
#define H 144u

static const jpeg_kind kinds[] = {
    {0},
    {.full_chroma = true},
    {.restart_rows = 1},
    {.several_scans = true},
    {.progressive = true},
    {.progressive = true, .full_chroma = true},
    {.channels = 1},
};

static bytes file_of(const uint8_t *rgb, jpeg_kind kind)
{
    uint8_t grey[W * H];
    for (size_t i = 0; kind.channels == 1 && i < sizeof grey; i++) {
        grey[i] = rgb[i * 3];
    }
    return jpeg_of(kind.channels == 1 ? grey : rgb, W, H, kind);
}

/* A picture in which every row has detail, so that bytes are spread over the rows. */
static uint8_t *detailed(void)
{
    uint8_t *rgb = scene(W, H);
    uint64_t seed = 3;
    for (size_t i = 0; i < (size_t)W * H * 3; i++) {
        rgb[i] = (uint8_t)(rgb[i] * 3u / 4 + next_random(&seed) % 40);
    }
    return rgb;
}

static void only_the_end_marker_missing_is_a_whole_picture(void **state)
{
    (void)state;
    uint8_t *rgb = detailed();
    for (size_t i = 0; i < IM_COUNT(kinds); i++) {
        bytes file = file_of(rgb, kinds[i]);
        im_image whole = decode_ok(&file, NULL, NULL);
        file.size -= 2;
        im_image_info info;
        im_image image = decode_ok(&file, NULL, &info);
        assert_false(info.partial);
        assert_string_equal(info.warning, "");
        assert_int_equal(info.sound_rows, H);
        assert_memory_equal(image.rgb, whole.rgb, (size_t)W * H * 3);
        im_image_clear(&image);
        im_image_clear(&whole);
        bytes_free(&file);
    }
    free(rgb);
}

/* Rows given out equal those of the whole file, except that a progressive file may lack detail. */
static void a_cut_file_gives_only_rows_of_the_whole_one(void **state)
{
    (void)state;
    uint8_t *rgb = detailed();
    for (size_t i = 0; i < IM_COUNT(kinds); i++) {
        bytes file = file_of(rgb, kinds[i]);
        im_image whole = decode_ok(&file, NULL, NULL);
        size_t full = file.size;
        size_t start = jpeg_find(&file, 0xDA, 0);
        uint32_t before = 0;
        for (size_t percent = 3; percent < 100; percent++) {
            im_image image = {0};
            im_image_info info;
            im_error err = IM_ERROR_INIT;
            file.size = start + (full - start) * percent / 100;
            im_code rc = im_image_decode(file.data, file.size, "a", NULL, &image, &info, &err);
            if (rc != IM_OK) {
                assert_string_equal(err.reason, "picture_truncated");
                assert_true(percent < 65 || kinds[i].several_scans); /* a colour is missing */
                continue;
            }
            assert_true(info.partial || percent > 97);
            assert_true(image.height * 2 >= H && image.height <= H);
            assert_true(image.height >= before);
            before = image.height;
            if (!kinds[i].progressive) {
                assert_memory_equal(image.rgb, whole.rgb, (size_t)W * image.height * 3);
            } else { /* real content, if coarse: no grey */
                assert_true(mean_difference(image.rgb, whole.rgb, (size_t)W * image.height * 3) <
                            12.0);
            }
            im_image_clear(&image);
        }
        assert_true(before > (kinds[i].several_scans ? H / 2 : H * 8 / 10));
        im_image_clear(&whole);
        bytes_free(&file);
    }
    free(rgb);
}

static void a_progressive_file_cut_after_its_first_scan_has_all_rows(void **state)
{
    (void)state;
    uint8_t *rgb = scene(W, H);
    bytes file = jpeg_of(rgb, W, H, (jpeg_kind){.progressive = true});
    im_image_info info;
    im_image image;
    file.size = jpeg_find(&file, 0xDA, 0) + 40; /* in the midst of the first scan */
    decode_fails(&file, NULL, "picture_truncated");
    bytes_free(&file);
    file = jpeg_of(rgb, W, H, (jpeg_kind){.progressive = true});
    file.size = jpeg_find(&file, 0xDA, 1);
    image = decode_ok(&file, NULL, &info);
    assert_true(info.partial);
    assert_int_equal(info.sound_rows, H);
    assert_int_equal(image.height, H);
    assert_non_null(strstr(info.warning, "detail"));
    im_image_clear(&image);
    bytes_free(&file);
    free(rgb);
}

static void a_thousand_flipped_bytes_never_crash_and_are_judged_alike_twice(void **state)
{
    (void)state;
    uint8_t *rgb = detailed();
    size_t n_partial = 0;
    size_t n_refused = 0;
    for (size_t i = 0; i < 1000; i++) {
        uint64_t seed = 1000 + i;
        bytes file = file_of(rgb, kinds[i % IM_COUNT(kinds)]);
        size_t start = jpeg_find(&file, 0xDA, 0) + 14;
        file.data[start + next_random(&seed) % (file.size - start)] ^=
            (uint8_t)(1 + next_random(&seed) % 255);
        im_code codes[2];
        im_image_info info[2];
        memset(info, 0, sizeof info);
        for (size_t k = 0; k < 2; k++) {
            im_image image = {0};
            im_error err = IM_ERROR_INIT;
            codes[k] = im_image_decode(file.data, file.size, "a", NULL, &image, &info[k], &err);
            assert_true(codes[k] == IM_OK || codes[k] == IM_ERR_FORMAT ||
                        codes[k] == IM_ERR_UNSUPPORTED);
            if (codes[k] == IM_OK) {
                assert_int_equal(image.width, W);
                assert_true(image.height * 2 >= H);
                assert_true(info[k].partial || image.height == H);
            }
            im_image_clear(&image);
        }
        assert_int_equal(codes[0], codes[1]);
        assert_memory_equal(&info[0], &info[1], sizeof info[0]);
        n_partial += codes[0] == IM_OK && info[0].partial;
        n_refused += codes[0] != IM_OK;
        bytes_free(&file);
    }
    assert_true(n_partial > 20); /* damage is seen, not passed over */
    assert_true(n_refused > 20);
    assert_int_equal(im_live_allocations(), 0);
    free(rgb);
}

/* A file whose entropy-coded data hold a marker that has no place there. */
static void damage_in_the_midst_of_a_scan_cuts_the_picture_there(void **state)
{
    (void)state;
    uint8_t *rgb = detailed();
    bytes file = file_of(rgb, (jpeg_kind){.full_chroma = true});
    im_image whole = decode_ok(&file, NULL, NULL);
    size_t start = jpeg_find(&file, 0xDA, 0) + 14;
    size_t at = start + (file.size - start) * 7 / 10;
    while (file.data[at - 1] == 0xFF || file.data[at] == 0xFF || file.data[at + 1] == 0) {
        at++;
    }
    file.data[at] = 0xFF;
    file.data[at + 1] = 0xC8;
    im_image_info info;
    im_image image = decode_ok(&file, NULL, &info);
    assert_true(info.partial);
    assert_true(image.height > H / 2 && image.height < H * 8 / 10);
    assert_memory_equal(image.rgb, whole.rgb, (size_t)W * image.height * 3);
    assert_non_null(strstr(info.warning, "damaged at row"));
    im_image_clear(&image);
    im_image_clear(&whole);
    bytes_free(&file);
    free(rgb);
}

static void wrong_restart_markers_are_damage(void **state)
{
    (void)state;
    uint8_t *rgb = detailed();
    bytes file = file_of(rgb, (jpeg_kind){.restart_rows = 1});
    size_t start = jpeg_find(&file, 0xDA, 0) + 14;
    for (size_t at = start; at + 1 < file.size; at++) {
        if (file.data[at] == 0xFF && (file.data[at + 1] & 0xF8) == 0xD0) {
            file.data[at + 1] = (uint8_t)(0xD0 | ((file.data[at + 1] + 5) & 7));
        }
    }
    decode_fails(&file, NULL, "picture_corrupt");
    bytes_free(&file);
    free(rgb);
}

static void kinds_that_are_not_handled_are_named(void **state)
{
    (void)state;
    const struct {
        unsigned sof, precision, width, height, n;
        const char *reason, *words;
    } cases[] = {
        {0xC3, 8, 16, 16, 3, "picture_unsupported", "lossless, SOF3"},
        {0xC9, 8, 16, 16, 3, "picture_unsupported", "arithmetic coding, SOF9"},
        {0xCA, 8, 16, 16, 3, "picture_unsupported", "arithmetic coding, SOF10"},
        {0xC5, 8, 16, 16, 3, "picture_unsupported", "differential sequential, SOF5"},
        {0xC1, 12, 16, 16, 3, "picture_unsupported", "12 bits"},
        {0xC0, 8, 16, 0, 3, "picture_unsupported", "DNL"},
        {0xC0, 8, 0, 16, 3, "picture_corrupt", "0x16"},
        {0xC0, 8, 16, 16, 2, "picture_unsupported", "2 colour components"},
        {0xC0, 8, 16, 16, 5, "picture_unsupported", "5 colour components"},
    };
    for (size_t i = 0; i < IM_COUNT(cases); i++) {
        bytes file = jpeg_begin(cases[i].sof, cases[i].precision, cases[i].width, cases[i].height,
                                cases[i].n, NULL);
        jpeg_scan(&file, 1, IM_MIN(cases[i].n, 4u), 0, 63, 0);
        bytes_fill(&file, 0, 100);
        bytes_add(&file, "\xff\xd9", 2);
        const char *message = decode_fails(&file, NULL, cases[i].reason);
        if (strstr(message, cases[i].words) == NULL) {
            fail_msg("'%s' lacks '%s'", message, cases[i].words);
        }
        bytes_free(&file);
    }
}

static void rare_sampling_is_decoded_or_named(void **state)
{
    (void)state;
    const uint8_t samplings[][3] = {{0x44, 0x44, 0x44}, {0x31, 0x11, 0x11}, {0x11, 0x22, 0x11},
                                    {0x32, 0x21, 0x11}, {0x41, 0x11, 0x11}, {0x14, 0x11, 0x12}};
    for (size_t i = 0; i < IM_COUNT(samplings); i++) {
        bytes file = jpeg_begin(0xC0, 8, 64, 64, 3, samplings[i]);
        jpeg_scan(&file, 1, 3, 0, 63, 0);
        bytes_fill(&file, 0, 2000);
        bytes_add(&file, "\xff\xd9", 2);
        im_image image = {0};
        im_error err = IM_ERROR_INIT;
        im_code rc = im_image_decode(file.data, file.size, "a", NULL, &image, NULL, &err);
        assert_true(rc == IM_OK || rc == IM_ERR_UNSUPPORTED);
        for (size_t k = 0; rc == IM_OK && k < (size_t)64 * 64 * 3; k++) {
            assert_int_equal(image.rgb[k], 128); /* all differences are 0 */
        }
        im_image_clear(&image);
        bytes_free(&file);
    }
}

/* Reduced scales: same sides in info, and the prepared crop is nearly the exact one. */
static void a_reduced_decode_prepares_nearly_the_same_pixels(void **state)
{
    (void)state;
    const uint32_t sides[][2] = {{801, 603}, {1003, 640}, {517, 1021}, {896, 896}};
    for (size_t i = 0; i < IM_COUNT(sides); i++) {
        uint32_t w = sides[i][0];
        uint32_t h = sides[i][1];
        uint8_t *rgb = scene(w, h);
        bytes plain = jpeg_of(rgb, w, h, (jpeg_kind){0});
        for (unsigned orientation = 1; orientation <= 8; orientation++) {
            bytes file = bytes_copy(&plain);
            bytes tiff = tiff_orientation(orientation);
            jpeg_add_exif(&file, &tiff);
            for (uint32_t target = 32; target <= 224; target *= 7) {
                im_image_options options = {.target_px = target};
                im_preprocess how = {target, target, target, IM_RESAMPLE_BICUBIC};
                size_t size = (size_t)target * target * 3;
                uint8_t *a = malloc(size);
                uint8_t *b = malloc(size);
                im_image_info info;
                im_error err = IM_ERROR_INIT;
                im_image exact = decode_ok(&file, NULL, NULL);
                im_image reduced = decode_ok(&file, &options, &info);
                assert_int_equal(info.width, exact.width);
                assert_int_equal(info.height, exact.height);
                assert_true(IM_MIN(reduced.width, reduced.height) >= 2 * target);
                assert_true(reduced.whole_width == exact.width ||
                            (reduced.whole_width == 0 && reduced.width == exact.width));
                if (target == 32) {
                    assert_true(reduced.width <= exact.width / 4);
                }
                assert_int_equal(im_image_prepare(&exact, &how, a, &err), IM_OK);
                assert_int_equal(im_image_prepare(&reduced, &how, b, &err), IM_OK);
                double mean = mean_difference(a, b, size);
                if (mean > 1.0) {
                    fail_msg("%ux%u orientation %u to %u: mean difference %.3f", w, h, orientation,
                             target, mean);
                }
                im_image_clear(&exact);
                im_image_clear(&reduced);
                free(a);
                free(b);
            }
            bytes_free(&tiff);
            bytes_free(&file);
        }
        bytes_free(&plain);
        free(rgb);
    }
}

static void exact_decode_overrules_the_target(void **state)
{
    (void)state;
    uint8_t *rgb = scene(800, 600);
    bytes file = jpeg_of(rgb, 800, 600, (jpeg_kind){0});
    im_image_options options = {.target_px = 32, .exact_decode = true};
    im_image image = decode_ok(&file, &options, NULL);
    assert_int_equal(image.width, 800);
    assert_int_equal(image.whole_width, 0);
    im_image_clear(&image);
    bytes_free(&file);
    free(rgb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_end_marker_missing_is_a_whole_picture),
        cmocka_unit_test(a_cut_file_gives_only_rows_of_the_whole_one),
        cmocka_unit_test(a_progressive_file_cut_after_its_first_scan_has_all_rows),
        cmocka_unit_test(a_thousand_flipped_bytes_never_crash_and_are_judged_alike_twice),
        cmocka_unit_test(damage_in_the_midst_of_a_scan_cuts_the_picture_there),
        cmocka_unit_test(wrong_restart_markers_are_damage),
        cmocka_unit_test(kinds_that_are_not_handled_are_named),
        cmocka_unit_test(rare_sampling_is_decoded_or_named),
        cmocka_unit_test(a_reduced_decode_prepares_nearly_the_same_pixels),
        cmocka_unit_test(exact_decode_overrules_the_target),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
