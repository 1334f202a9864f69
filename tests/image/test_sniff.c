/* tests/image/test_sniff.c — formats are judged by content (T14). */
#include "tests/image/help.h"
#include <stdlib.h>
#include <string.h>

typedef struct sample {
    im_format format;
    size_t size;
    const char *start;
} sample;

#define ISO(brand)          \
    "\0\0\0\x18"            \
    "ftyp" brand "\0\0\0\0" \
    "mif1"

static const sample samples[] = {
    {IM_FORMAT_JPEG, 4, "\xff\xd8\xff\xe0"},
    {IM_FORMAT_PNG, 8, "\x89PNG\r\n\x1a\n"},
    {IM_FORMAT_GIF, 6, "GIF89a"},
    {IM_FORMAT_WEBP, 12, "RIFF\1\2\3\4WEBP"},
    {IM_FORMAT_VIDEO, 12, "RIFF\1\2\3\4AVI "},
    {IM_FORMAT_HEIC, 20, ISO("heic")},
    {IM_FORMAT_HEIC, 20, ISO("mif1")},
    {IM_FORMAT_AVIF, 20, ISO("avif")},
    {IM_FORMAT_VIDEO, 16,
     "\0\0\0\x10"
     "ftypisom\0\0\0\0"},
    {IM_FORMAT_RAW, 16,
     "\0\0\0\x10"
     "ftypcrx \0\0\0\0"},
    {IM_FORMAT_TIFF, 4, "II*\0"},
    {IM_FORMAT_TIFF, 4, "MM\0*"},
    {IM_FORMAT_RAW, 10, "II*\0\x10\0\0\0CR"},
    {IM_FORMAT_BMP, 18, "BM\0\0\0\0\0\0\0\0\0\0\0\0\x28\0\0\0"},
    {IM_FORMAT_JXL, 2, "\xff\x0a"},
    {IM_FORMAT_JP2, 12, "\0\0\0\x0cjP  \r\n\x87\n"},
    {IM_FORMAT_SVG, 35, "<?xml version=\"1.0\"?>\n<svg xmlns=\"\">"},
    {IM_FORMAT_PDF, 8, "%PDF-1.7"},
    {IM_FORMAT_ZIP, 4, "PK\x03\x04"},
    {IM_FORMAT_HTML, 15, "<!DOCTYPE html>"},
    {IM_FORMAT_HTML, 8, "\n <html>"},
    {IM_FORMAT_ICO, 4, "\0\0\x01\0"},
    {IM_FORMAT_PSD, 4, "8BPS"},
    {IM_FORMAT_VIDEO, 4, "\x1a\x45\xdf\xa3"},
    {IM_FORMAT_UNKNOWN, 5, "hello"},
    {IM_FORMAT_UNKNOWN, 5, "BM is"},
    {IM_FORMAT_UNKNOWN, 12, "RIFF\1\2\3\4WAVE"},
    {IM_FORMAT_UNKNOWN, 1, "\xff"},
    {IM_FORMAT_UNKNOWN, 2, "\xff\xd8"},
    {IM_FORMAT_UNKNOWN, 0, ""},
};

static void sniff_knows_each_signature(void **state)
{
    (void)state;
    for (size_t i = 0; i < IM_COUNT(samples); i++) {
        size_t size = samples[i].size;
        uint8_t *exact = malloc(size + 1); /* own block: a read beyond it is seen */
        uint8_t *block = realloc(exact, size > 0 ? size : 1);
        memcpy(block, samples[i].start, size);
        assert_int_equal(im_image_sniff(block, size), samples[i].format);
        free(block);
    }
}

static void sniff_never_reads_beyond_a_cut_start(void **state)
{
    (void)state;
    for (size_t i = 0; i < IM_COUNT(samples); i++) {
        for (size_t size = 0; size <= samples[i].size; size++) {
            uint8_t *block = malloc(size > 0 ? size : 1);
            memcpy(block, samples[i].start, size);
            im_format format = im_image_sniff(block, size);
            assert_true(format < IM_FORMAT_COUNT);
            free(block);
        }
    }
}

static void formats_that_are_not_decoded_are_named(void **state)
{
    (void)state;
    bytes file = {0};
    bytes_add(&file, "RIFF\1\2\3\4WEBPVP8 ", 16);
    const char *message = decode_fails(&file, NULL, "picture_unsupported");
    assert_string_equal(message, "picture 'a.jpg' is WebP, which this build does not decode");
    bytes_free(&file);
    for (int format = IM_FORMAT_GIF; format < IM_FORMAT_COUNT; format++) {
        assert_false(im_format_decodes((im_format)format));
        assert_string_not_equal(im_format_name((im_format)format), "unknown");
    }
    assert_string_equal(im_format_name((im_format)999), "unknown");
}

static void empty_and_foreign_bytes_are_refused(void **state)
{
    (void)state;
    bytes file = {0};
    bytes_fill(&file, 0, 1);
    file.size = 0;
    decode_fails(&file, NULL, "picture_empty");
    bytes_text(&file, "hello world, this is text");
    decode_fails(&file, NULL, "not_a_picture");
    file.size = 0;
    bytes_u8(&file, 0xFF);
    decode_fails(&file, NULL, "not_a_picture");
    bytes_free(&file);
}

static void a_start_of_jpeg_with_50_mb_of_filling_is_refused_quickly(void **state)
{
    (void)state;
    const struct {
        uint8_t filling;
        const char *reason;
    } cases[] = {{0x00, "not_a_picture"}, {0xFF, "picture_truncated"}};
    for (size_t i = 0; i < 2; i++) {
        bytes file = {0};
        bytes_add(&file, "\xff\xd8", 2);
        bytes_fill(&file, cases[i].filling, 50u << 20);
        cost c = cost_of(&file, NULL);
        assert_string_equal(c.reason, cases[i].reason);
        assert_cheap(&c, 1000, 16u << 20);
        bytes_free(&file);
    }
}

static void content_decides_and_tails_change_nothing(void **state)
{
    (void)state;
    const char *const names[] = {"jpeg_420.jpg", "png_2_08.png", "jpeg_progressive_420.jpg"};
    const char *const tails[] = {"PK\x03\x04 a ZIP", "<html><script>x</script>", "\xff\xd8\xff\xe0",
                                 "\xff\xd9\xff\xd9"};
    for (size_t i = 0; i < IM_COUNT(names); i++) {
        bytes file = golden_picture(names[i]);
        im_image plain = decode_ok(&file, NULL, NULL);
        for (size_t k = 0; k < IM_COUNT(tails); k++) {
            bytes with_tail = bytes_copy(&file);
            bytes_text(&with_tail, tails[k]);
            bytes_fill(&with_tail, 0x41, 1000);
            im_image_info info;
            im_image image = decode_ok(&with_tail, NULL, &info);
            assert_false(info.partial);
            assert_memory_equal(image.rgb, plain.rgb, (size_t)plain.width * plain.height * 3);
            im_image_clear(&image);
            bytes_free(&with_tail);
        }
        im_image_clear(&plain);
        bytes_free(&file);
    }
}

static void animated_png_and_mpo_give_their_first_picture(void **state)
{
    (void)state;
    bytes file = golden_picture("png_2_08.png");
    im_image plain = decode_ok(&file, NULL, NULL);
    uint8_t control[8] = {0, 0, 0, 2, 0, 0, 0, 0};
    bytes chunk = {0};
    png_chunk(&chunk, "acTL", control, sizeof control);
    bytes_insert(&file, png_find(&file, "IDAT", 0), chunk.data, chunk.size);
    chunk.size = 0;
    png_chunk(&chunk, "fdAT", "\0\0\0\1garbage", 11);
    bytes_insert(&file, png_find(&file, "IEND", 0), chunk.data, chunk.size);
    im_image image = decode_ok(&file, NULL, NULL);
    assert_memory_equal(image.rgb, plain.rgb, (size_t)plain.width * plain.height * 3);
    im_image_clear(&image);
    im_image_clear(&plain);
    bytes_free(&chunk);
    bytes_free(&file);

    bytes first = golden_picture("jpeg_420.jpg");
    bytes second = golden_picture("jpeg_grey.jpg");
    plain = decode_ok(&first, NULL, NULL);
    bytes_add(&first, second.data, second.size);
    image = decode_ok(&first, NULL, NULL);
    assert_memory_equal(image.rgb, plain.rgb, (size_t)plain.width * plain.height * 3);
    im_image_clear(&image);
    im_image_clear(&plain);
    bytes_free(&first);
    bytes_free(&second);
}

static void names_of_pictures_are_known_by_their_ending(void **state)
{
    (void)state;
    assert_true(im_image_name_is_picture("a.JPG"));
    assert_true(im_image_name_is_picture("holiday.2024.heic"));
    assert_false(im_image_name_is_picture("jpg"));
    assert_false(im_image_name_is_picture("a.jpg.txt"));
    assert_false(im_image_name_is_picture(""));
    assert_false(im_image_name_is_picture("a."));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sniff_knows_each_signature),
        cmocka_unit_test(sniff_never_reads_beyond_a_cut_start),
        cmocka_unit_test(formats_that_are_not_decoded_are_named),
        cmocka_unit_test(empty_and_foreign_bytes_are_refused),
        cmocka_unit_test(a_start_of_jpeg_with_50_mb_of_filling_is_refused_quickly),
        cmocka_unit_test(content_decides_and_tails_change_nothing),
        cmocka_unit_test(animated_png_and_mpo_give_their_first_picture),
        cmocka_unit_test(names_of_pictures_are_known_by_their_ending),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
