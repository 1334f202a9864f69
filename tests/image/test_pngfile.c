/* tests/image/test_pngfile.c — PNG that swells or is damaged (T3, T4). */
#include "tests/image/help.h"
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define MIB ((size_t)1 << 20)
#define SIDE_W 120u
#define SIDE_H 90u

static uint8_t *noisy_scene(void)
{
    uint8_t *rgb = scene(SIDE_W, SIDE_H);
    uint64_t seed = 7;
    for (size_t i = 0; i < (size_t)SIDE_W * SIDE_H * 3; i++) {
        rgb[i] = (uint8_t)(rgb[i] / 2u + next_random(&seed) % 100); /* so that rows weigh alike */
    }
    return rgb;
}

/* Rows that came out are the picture's own; returns how many there are. */
static uint32_t assert_sound_prefix(const bytes *file, const uint8_t *rgb, bool expect_partial)
{
    im_image_info info;
    im_image image = decode_ok(file, NULL, &info);
    assert_int_equal(image.width, SIDE_W);
    assert_int_equal(info.height, SIDE_H);
    assert_int_equal(info.partial, expect_partial);
    assert_int_equal(info.sound_rows, image.height);
    assert_true(image.height * 2 >= SIDE_H);
    assert_memory_equal(image.rgb, rgb, (size_t)image.width * image.height * 3);
    assert_int_equal(info.warning[0] != '\0', expect_partial);
    uint32_t rows = image.height;
    im_image_clear(&image);
    return rows;
}

static void text_pieces_cost_nothing(void **state)
{
    (void)state;
    /* 999 pieces that would swell to 7.9 MB each, before and after the pixels */
    bytes text = {0};
    bytes_fill(&text, 'x', 7900000);
    bytes packed = deflated(text.data, text.size);
    for (int kind = 0; kind < 3; kind++) {
        bytes chunk = {0};
        bytes_add(&chunk, kind == 1 ? "Comment\0\1\0en\0\0" : "Comment\0\0", kind == 1 ? 14 : 9);
        bytes_add(&chunk, packed.data, packed.size);
        uint8_t pixel[4] = {0, 10, 20, 30};
        bytes file = png_begin(1, 1, 8, 2, 0);
        if (kind == 2) {
            png_pixels(&file, pixel, 4, 100);
        }
        for (int i = 0; i < 999; i++) {
            png_chunk(&file, kind == 1 ? "iTXt" : "zTXt", chunk.data, chunk.size);
        }
        if (kind != 2) {
            png_pixels(&file, pixel, 4, 100);
        }
        png_end(&file);
        cost c = cost_of(&file, NULL);
        assert_int_equal(c.code, IM_OK);
        assert_false(c.info.partial);
        assert_cheap(&c, 3000, 32 * MIB);
        bytes_free(&file);
        bytes_free(&chunk);
    }
    bytes_free(&packed);
    bytes_free(&text);
}

static void a_cut_picture_keeps_its_sound_rows_or_is_refused(void **state)
{
    (void)state;
    uint8_t *rgb = noisy_scene();
    const size_t pieces[] = {1 << 20, 1000}; /* one IDAT chunk, many */
    for (size_t p = 0; p < 2; p++) {
        bytes file = png_of(rgb, SIDE_W, SIDE_H, pieces[p]);
        size_t whole = file.size;
        uint32_t before = 0;
        for (size_t percent = 5; percent < 99; percent += 2) {
            file.size = whole * percent / 100;
            if (percent < 48) {
                decode_fails(&file, NULL, "picture_truncated");
            } else if (percent > 55) {
                uint32_t rows = assert_sound_prefix(&file, rgb, true);
                assert_true(rows >= before);
                /* nearly all of the bytes that are there are used */
                assert_true((double)rows / SIDE_H > (double)percent / 100 - 0.06);
                before = rows;
            }
        }
        bytes_free(&file);
    }
    free(rgb);
}

static void a_chunk_that_fails_its_checksum_ends_the_sound_rows(void **state)
{
    (void)state;
    uint8_t *rgb = noisy_scene();
    bytes file = png_of(rgb, SIDE_W, SIDE_H, 1000);
    size_t last = 0;
    for (size_t at = 33; at + 12 < file.size; last++) {
        at += 12 + ((size_t)file.data[at + 2] << 8 | file.data[at + 3]);
    }
    size_t n_idat = last - 1; /* without IEND */
    for (size_t nth = 0; nth < n_idat; nth++) {
        bytes bad = bytes_copy(&file);
        bad.data[png_find(&bad, "IDAT", nth) + 8 + 3] ^= 0x10;
        if (nth < n_idat * 4 / 10) {
            decode_fails(&bad, NULL, "picture_corrupt");
        } else if (nth > n_idat * 6 / 10) {
            uint32_t rows = assert_sound_prefix(&bad, rgb, true);
            assert_true(rows <= SIDE_H * (nth + 1) / n_idat);
        }
        bytes_free(&bad);
    }
    bytes_free(&file);
    free(rgb);
}

static void data_that_contradict_their_checksums_are_refused(void **state)
{
    (void)state;
    uint8_t *rgb = noisy_scene();
    bytes file = png_of(rgb, SIDE_W, SIDE_H, 1 << 20);
    size_t idat = png_find(&file, "IDAT", 0);
    size_t size =
        (size_t)file.data[idat + 1] << 16 | (size_t)file.data[idat + 2] << 8 | file.data[idat + 3];
    uint64_t seed = 11;
    for (int i = 0; i < 200; i++) { /* a flipped bit, CRC mended */
        bytes bad = bytes_copy(&file);
        bad.data[idat + 8 + 2 + next_random(&seed) % (size - 2)] ^=
            (uint8_t)(1u << next_random(&seed) % 8);
        png_mend_crc(&bad, idat);
        im_image image = {0};
        im_error err = IM_ERROR_INIT;
        im_code rc = im_image_decode(bad.data, bad.size, "a", NULL, &image, NULL, &err);
        if (rc == IM_OK) { /* only when the stream ended early by itself, all before being right */
            assert_memory_equal(image.rgb, rgb, (size_t)image.width * image.height * 3);
            im_image_clear(&image);
        } else {
            assert_int_equal(rc, IM_ERR_FORMAT);
        }
        bytes_free(&bad);
    }
    bytes bad = bytes_copy(&file); /* Adler-32 wrong, all else right */
    bad.data[idat + 8 + size - 1] ^= 1;
    png_mend_crc(&bad, idat);
    decode_fails(&bad, NULL, "picture_corrupt");
    bytes_free(&bad);
    bytes_free(&file);
    free(rgb);
}

static void pixel_data_shorter_than_the_header_says_end_the_sound_rows(void **state)
{
    (void)state;
    uint8_t *rgb = noisy_scene();
    for (uint32_t rows = 40; rows <= 50; rows += 5) {
        bytes half = png_of(rgb, SIDE_W, rows, 1 << 20);
        bytes full = png_begin(SIDE_W, SIDE_H, 8, 2, 0);
        size_t idat = png_find(&half, "IDAT", 0);
        bytes_add(&full, half.data + idat, half.size - idat);
        if (rows * 2 < SIDE_H) {
            decode_fails(&full, NULL, "picture_truncated");
        } else {
            assert_int_equal(assert_sound_prefix(&full, rgb, true), rows);
        }
        bytes_free(&half);
        bytes_free(&full);
    }
    free(rgb);
}

static void missing_chunks_are_named_or_harmless(void **state)
{
    (void)state;
    uint8_t *rgb = noisy_scene();
    bytes file = png_begin(SIDE_W, SIDE_H, 8, 2, 0);
    png_end(&file);
    const char *message = decode_fails(&file, NULL, "picture_truncated");
    assert_non_null(strstr(message, "IDAT"));
    bytes_free(&file);

    uint8_t row[9] = {0};
    file = png_begin(8, 1, 8, 3, 0); /* palette picture without a palette */
    png_pixels(&file, row, sizeof row, 100);
    png_end(&file);
    message = decode_fails(&file, NULL, "picture_corrupt");
    assert_non_null(strstr(message, "PLTE"));
    bytes_free(&file);

    file = png_of(rgb, SIDE_W, SIDE_H, 4000);
    file.size -= 12; /* IEND */
    assert_int_equal(assert_sound_prefix(&file, rgb, false), SIDE_H);
    bytes_free(&file);
    free(rgb);
}

static void a_million_empty_pixel_chunks_are_harmless(void **state)
{
    (void)state;
    uint8_t *rgb = noisy_scene();
    bytes whole = png_of(rgb, SIDE_W, SIDE_H, 2000);
    bytes empty = {0};
    png_chunk(&empty, "IDAT", NULL, 0);
    bytes many = {0};
    for (int i = 0; i < 1000000; i++) {
        bytes_add(&many, empty.data, empty.size);
    }
    bytes file = bytes_copy(&whole);
    bytes_insert(&file, png_find(&file, "IDAT", 2), many.data, many.size);
    cost c = cost_of(&file, NULL);
    assert_int_equal(c.code, IM_OK);
    assert_false(c.info.partial);
    assert_cheap(&c, 3000, 32 * MIB);
    bytes_free(&file);
    bytes_free(&many);
    bytes_free(&empty);
    bytes_free(&whole);
    free(rgb);
}

static void an_interlaced_picture_counts_rows_by_their_last_pass(void **state)
{
    (void)state;
    bytes file = golden_picture("png_2_08_adam7.png");
    im_image whole = decode_ok(&file, NULL, NULL);
    size_t full = file.size;
    size_t partial = 0;
    for (size_t cut = 1; cut + 60 < full; cut++) {
        im_image image = {0};
        im_image_info info;
        im_error err = IM_ERROR_INIT;
        file.size = full - cut;
        if (im_image_decode(file.data, file.size, "a", NULL, &image, &info, &err) == IM_OK) {
            assert_true(image.height * 2 >= whole.height);
            assert_memory_equal(image.rgb, whole.rgb, (size_t)image.width * image.height * 3);
            partial += info.partial;
        } else {
            assert_string_equal(err.reason, "picture_truncated");
        }
        im_image_clear(&image);
    }
    assert_true(partial > 10);
    im_image_clear(&whole);
    bytes_free(&file);
}

static void a_cut_picture_is_cut_at_the_right_side_in_every_orientation(void **state)
{
    (void)state;
    uint8_t *rgb = noisy_scene();
    uint32_t kept = 0;
    uint8_t *upright = NULL;
    for (unsigned orientation = 1; orientation <= 8; orientation++) {
        bytes file = png_of(rgb, SIDE_W, SIDE_H, 1000);
        bytes tiff = tiff_orientation(orientation);
        bytes chunk = {0};
        png_chunk(&chunk, "eXIf", tiff.data, tiff.size);
        bytes_insert(&file, 33, chunk.data, chunk.size);
        file.size = chunk.size + (file.size - chunk.size) * 7 / 10;
        im_image_info info;
        im_image image = decode_ok(&file, NULL, &info);
        assert_int_equal(info.orientation, orientation);
        bool turned = orientation >= 5;
        assert_int_equal(info.width, turned ? SIDE_H : SIDE_W);
        uint32_t rows = turned ? image.width : image.height;
        if (orientation == 1) {
            kept = rows;
            upright = malloc((size_t)SIDE_W * rows * 3);
            memcpy(upright, image.rgb, (size_t)SIDE_W * rows * 3);
        }
        assert_int_equal(rows, kept);
        for (uint32_t y = 0; y < rows; y++) { /* the definition, pixel by pixel */
            for (uint32_t x = 0; x < SIDE_W; x++) {
                uint32_t fx = SIDE_W - 1 - x;
                uint32_t fy = rows - 1 - y;
                const uint32_t to[9][2] = {{0},    {x, y},  {fx, y},  {fx, fy}, {x, fy},
                                           {y, x}, {fy, x}, {fy, fx}, {y, fx}};
                const uint8_t *got =
                    image.rgb + ((size_t)to[orientation][1] * image.width + to[orientation][0]) * 3;
                assert_memory_equal(got, upright + ((size_t)y * SIDE_W + x) * 3, 3);
            }
        }
        im_image_clear(&image);
        bytes_free(&chunk);
        bytes_free(&tiff);
        bytes_free(&file);
    }
    free(upright);
    free(rgb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_pieces_cost_nothing),
        cmocka_unit_test(a_cut_picture_keeps_its_sound_rows_or_is_refused),
        cmocka_unit_test(a_chunk_that_fails_its_checksum_ends_the_sound_rows),
        cmocka_unit_test(data_that_contradict_their_checksums_are_refused),
        cmocka_unit_test(pixel_data_shorter_than_the_header_says_end_the_sound_rows),
        cmocka_unit_test(missing_chunks_are_named_or_harmless),
        cmocka_unit_test(a_million_empty_pixel_chunks_are_harmless),
        cmocka_unit_test(an_interlaced_picture_counts_rows_by_their_last_pass),
        cmocka_unit_test(a_cut_picture_is_cut_at_the_right_side_in_every_orientation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
