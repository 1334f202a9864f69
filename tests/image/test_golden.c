/* tests/image/test_golden.c — pixels equal those of Pillow and transformers; the tables come from
 * tests/reference/make_image_golden.py. */
#include "tests/image/help.h"
#include <stdlib.h>
#include <string.h>

#define MAX_FIELDS 8

/* Splits the next line at tabs; false at the end. */
static bool next_row(char **text, char *fields[MAX_FIELDS], size_t *out_n)
{
    char *line = strsep(text, "\n");
    *out_n = 0;
    if (line == NULL || *line == '\0') {
        return false;
    }
    for (char *field = strsep(&line, "\t"); field != NULL && *out_n < MAX_FIELDS;
         field = strsep(&line, "\t")) {
        fields[(*out_n)++] = field;
    }
    return true;
}

static uint32_t number(const char *text)
{
    return (uint32_t)strtoul(text, NULL, 10);
}

static bytes table(const char *name)
{
    bytes b = golden(name);
    bytes_u8(&b, 0);
    return b;
}

static im_image decode_golden(const char *name)
{
    bytes file = golden_picture(name);
    im_image image = decode_ok(&file, NULL, NULL);
    bytes_free(&file);
    return image;
}

static void every_picture_has_the_pixels_of_the_reference(void **state)
{
    (void)state;
    bytes rows = table("pictures.tsv");
    bytes pixels = golden("pictures.rgb");
    char *text = (char *)rows.data;
    char *f[MAX_FIELDS];
    size_t n = 0;
    size_t n_rows = 0;
    while (next_row(&text, f, &n)) {
        im_image image = decode_golden(f[0]);
        size_t size = (size_t)image.width * image.height * 3;
        assert_int_equal(image.width, number(f[1]));
        assert_int_equal(image.height, number(f[2]));
        assert_true(number(f[3]) + size <= pixels.size);
        int worst = max_difference(image.rgb, pixels.data + number(f[3]), size);
        if (worst > (int)number(f[4])) {
            fail_msg("%s differs by %d, at most %s expected", f[0], worst, f[4]);
        }
        im_image_clear(&image);
        n_rows++;
    }
    assert_true(n_rows > 80);
    bytes_free(&rows);
    bytes_free(&pixels);
}

static void resize_gives_the_bytes_of_pillow(void **state)
{
    (void)state;
    bytes rows = table("resize.tsv");
    bytes pixels = golden("resize.rgb");
    char *text = (char *)rows.data;
    char *f[MAX_FIELDS];
    size_t n = 0;
    size_t n_rows = 0;
    while (next_row(&text, f, &n)) {
        im_image image = decode_golden(f[0]);
        uint32_t w = number(f[5]);
        uint32_t h = number(f[6]);
        uint8_t *out = malloc((size_t)w * h * 3);
        uint8_t *plain = malloc((size_t)w * h * 3);
        im_error err = IM_ERROR_INIT;
        double box[4];
        for (size_t i = 0; i < 4; i++) {
            box[i] = strtod(f[1 + i], NULL);
        }
        assert_int_equal(im_image_resize(&image, box[0], box[1], box[2], box[3], w, h, out, &err),
                         IM_OK);
        assert_int_equal(
            im_image_resize_plain(&image, box[0], box[1], box[2], box[3], w, h, plain, &err),
            IM_OK);
        int worst = max_difference(out, pixels.data + number(f[7]), (size_t)w * h * 3);
        if (worst > 0) {
            fail_msg("%s to %ux%u differs by %d", f[0], w, h, worst);
        }
        assert_memory_equal(out, plain, (size_t)w * h * 3);
        free(out);
        free(plain);
        im_image_clear(&image);
        n_rows++;
    }
    assert_true(n_rows >= 16);
    bytes_free(&rows);
    bytes_free(&pixels);
}

static void prepare_gives_the_bytes_of_transformers(void **state)
{
    (void)state;
    bytes rows = table("prepare.tsv");
    bytes pixels = golden("prepare.rgb");
    char *text = (char *)rows.data;
    char *f[MAX_FIELDS];
    size_t n = 0;
    size_t n_rows = 0;
    while (next_row(&text, f, &n)) {
        im_image image = decode_golden(f[0]);
        im_preprocess how = {number(f[1]), number(f[2]), number(f[3]), (im_resample)number(f[4])};
        size_t size = (size_t)how.crop_w * how.crop_h * 3;
        uint8_t *out = malloc(size);
        im_error err = IM_ERROR_INIT;
        memset(out, 0xAA, size);
        assert_int_equal(im_image_prepare(&image, &how, out, &err), IM_OK);
        int worst = max_difference(out, pixels.data + number(f[5]), size);
        if (worst > 0) {
            fail_msg("%s, shorter side %s, crop %sx%s, filter %s differs by %d", f[0], f[1], f[2],
                     f[3], f[4], worst);
        }
        free(out);
        im_image_clear(&image);
        n_rows++;
    }
    assert_true(n_rows >= 16);
    bytes_free(&rows);
    bytes_free(&pixels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_picture_has_the_pixels_of_the_reference),
        cmocka_unit_test(resize_gives_the_bytes_of_pillow),
        cmocka_unit_test(prepare_gives_the_bytes_of_transformers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
