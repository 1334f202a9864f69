/* tests/image/test_mutations.c — 10,000 one-place mutations of 20 seeds through the door (T16). Run
 * under the sanitizers this is the test; without them it still checks verdicts and time. */
#include "base/clock.h"
#include "tests/image/help.h"
#include <stdlib.h>
#include <string.h>

static const char *const seeds[] = {"jpeg_420.jpg",
                                    "jpeg_444.jpg",
                                    "jpeg_progressive_420.jpg",
                                    "jpeg_restart.jpg",
                                    "jpeg_grey.jpg",
                                    "jpeg_cmyk_adobe.jpg",
                                    "jpeg_ycck.jpg",
                                    "jpeg_rgb_adobe0.jpg",
                                    "jpeg_orientation_6.jpg",
                                    "jpeg_orientation_3.jpg",
                                    "png_0_01.png",
                                    "png_0_16_trns.png",
                                    "png_2_08_adam7.png",
                                    "png_2_16_trns.png",
                                    "png_3_02_trns.png",
                                    "png_3_08_trns_adam7.png",
                                    "png_4_08.png",
                                    "png_6_08.png",
                                    "png_6_16_adam7.png",
                                    "png_palette_beyond.png"};

static void mutate(bytes *b, uint64_t *seed)
{
    size_t at = next_random(seed) % b->size;
    size_t few = 1 + next_random(seed) % 8;
    switch (next_random(seed) % 6) {
    case 0:
        b->data[at] ^= (uint8_t)(1u << next_random(seed) % 8);
        break;
    case 1: { /* delete */
        size_t n = IM_MIN(few, b->size - at);
        memmove(b->data + at, b->data + at + n, b->size - at - n);
        b->size -= n;
        break;
    }
    case 2: { /* repeat */
        uint8_t copy[8];
        size_t n = IM_MIN(few, b->size - at);
        memcpy(copy, b->data + at, n);
        bytes_insert(b, at, copy, n);
        break;
    }
    default: {
        static const uint8_t values[] = {0x00, 0xFF, 0x7F};
        b->data[at] = values[next_random(seed) % 3];
        break;
    }
    }
}

/* PNG hides what lies behind a checksum: half of the mutations mend it. */
static void mend_if_png(bytes *b)
{
    if (b->size < 8 || b->data[0] != 0x89) {
        return;
    }
    for (size_t at = 8; at + 12 <= b->size;) {
        size_t size = (size_t)b->data[at] << 24 | (size_t)b->data[at + 1] << 16 |
                      (size_t)b->data[at + 2] << 8 | b->data[at + 3];
        if (size > b->size - at - 12) {
            break;
        }
        png_mend_crc(b, at);
        at += 12 + size;
    }
}

static void check(const bytes *b)
{
    uint8_t *exact = malloc(b->size > 0 ? b->size : 1); /* a read beyond the end is seen */
    memcpy(exact, b->data, b->size);
    im_image_options options = {.limits = {.max_pixels = 4000000}};
    im_image image = {0};
    im_image_info info;
    im_error err = IM_ERROR_INIT;
    uint64_t start = im_clock_ns();
    im_code rc = im_image_decode(exact, b->size, "m", &options, &image, &info, &err);
    assert_true(rc == IM_OK || rc == IM_ERR_FORMAT || rc == IM_ERR_LIMIT ||
                rc == IM_ERR_UNSUPPORTED);
    if (rc == IM_OK) {
        im_bytes thumbnail = {NULL, 0};
        assert_true((uint64_t)info.sound_rows * 2 >=
                    (info.orientation >= 5 ? info.width : info.height));
        im_code thumbnail_rc =
            im_image_thumbnail(exact, b->size, "m", &options, 16, &thumbnail, &err);
        assert_int_equal(thumbnail_rc, IM_OK);
        im_bytes_clear(&thumbnail);
    } else {
        assert_true(err.message[0] != '\0');
    }
    assert_true(im_clock_ms_since(start) < 5000);
    im_image_clear(&image);
    free(exact);
}

static void ten_thousand_mutations_are_survived(void **state)
{
    (void)state;
    for (size_t i = 0; i < 10000; i++) {
        uint64_t seed = 40000 + i;
        bytes b = golden_picture(seeds[i % IM_COUNT(seeds)]);
        mutate(&b, &seed);
        if (next_random(&seed) % 2 == 0) {
            mend_if_png(&b);
        }
        check(&b);
        bytes_free(&b);
    }
    assert_int_equal(im_live_allocations(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_thousand_mutations_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
