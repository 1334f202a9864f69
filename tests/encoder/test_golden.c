/* tests/encoder/test_golden.c — token ids and vectors of three tiny checkpoints against what
 * transformers made of them (tests/reference/make_encoder_golden.py): each kernel, each dtype, both
 * conventions of pooling, single file and shards. */
#include "base/json.h"
#include "help.h"

#include <math.h>

static const char *const models[] = {"f32-quick-gelu", "f16-gelu-eos", "bf16-sharded"};

static im_encoder *open_as(const char *model, im_pool *pool, im_precision precision)
{
    char folder[1024];
    im_encoder *encoder = NULL;
    im_error err = IM_ERROR_INIT;
    im_encoder_options options = {.pool = pool, .precision = precision};
    golden_path(folder, sizeof(folder), model, "");
    folder[strlen(folder) - 1] = '\0';
    im_code rc = im_encoder_open(folder, &options, &encoder, &err);
    if (rc != IM_OK) {
        fail_msg("%s: %s", model, err.message);
    }
    return encoder;
}

static im_encoder *open_model(const char *model, im_pool *pool)
{
    return open_as(model, pool, IM_PRECISION_FP32);
}

static json_t *load_texts(const char *model)
{
    char path[1024];
    im_bytes bytes = {0};
    json_t *root = NULL;
    golden_path(path, sizeof(path), model, "texts.json");
    assert_int_equal(im_file_read(path, 16u << 20, &bytes, NULL), IM_OK);
    assert_int_equal(im_json_parse((const char *)bytes.data, bytes.size, path, &root, NULL), IM_OK);
    im_bytes_clear(&bytes);
    return root;
}

static im_view text_of(const json_t *row)
{
    const json_t *text = json_object_get(row, "text");
    return im_view_of(json_string_value(text), json_string_length(text));
}

static void load_floats(const char *model, const char *file, im_bytes *out)
{
    char path[1024];
    golden_path(path, sizeof(path), model, file);
    assert_int_equal(im_file_read(path, 16u << 20, out, NULL), IM_OK);
}

static void token_ids_are_those_of_the_reference(void **state)
{
    (void)state;
    for (size_t m = 0; m < IM_COUNT(models); m++) {
        im_encoder *encoder = open_model(models[m], NULL);
        json_t *texts = load_texts(models[m]);
        for (size_t i = 0; i < json_array_size(texts); i++) {
            json_t *row = json_array_get(texts, i);
            json_t *expected = json_object_get(row, "ids");
            uint32_t ids[64];
            size_t n = 0;
            assert_int_equal(im_encoder_tokenize(encoder, text_of(row), ids, &n, NULL, NULL),
                             IM_OK);
            bool equal = n == json_array_size(expected);
            for (size_t j = 0; equal && j < n; j++) {
                equal = ids[j] == (uint32_t)json_integer_value(json_array_get(expected, j));
            }
            if (!equal) {
                fail_msg("%s: ids of text %zu '%s' differ", models[m], i, text_of(row).data);
            }
        }
        json_decref(texts);
        im_encoder_close(encoder);
    }
}

static void compare(const char *what, const float *got, const double *expected, size_t dim)
{
    double dot = 0;
    double largest = 0;
    for (size_t d = 0; d < dim; d++) {
        dot += (double)got[d] * expected[d];
        largest = fmax(largest, fabs((double)got[d] - expected[d]));
    }
    if (dot < 0.99999 || largest > 1e-4) {
        fail_msg("%s: cosine %.9f, largest difference %.3g", what, dot, largest);
    }
}

static void encode_text(im_encoder *encoder, im_view text, float out[64])
{
    assert_int_equal(im_encoder_texts(encoder, &text, 1, out, NULL, NULL), IM_OK);
}

static void text_vectors_are_those_of_the_reference(void **state)
{
    (void)state;
    for (size_t m = 0; m < IM_COUNT(models); m++) {
        im_encoder *encoder = open_model(models[m], NULL);
        size_t dim = im_encoder_describe(encoder)->dim;
        json_t *texts = load_texts(models[m]);
        for (size_t i = 0; i < json_array_size(texts); i++) {
            json_t *row = json_array_get(texts, i);
            json_t *vector = json_object_get(row, "vector");
            float got[64];
            double expected[64];
            encode_text(encoder, text_of(row), got);
            for (size_t d = 0; d < dim; d++) {
                expected[d] = json_number_value(json_array_get(vector, d));
            }
            compare(text_of(row).data, got, expected, dim);
        }
        json_decref(texts);
        im_encoder_close(encoder);
    }
}

static void compare_pictures(const char *kernel_name)
{
    for (size_t m = 0; m < IM_COUNT(models); m++) {
        im_bytes pixels = {0};
        im_bytes vectors = {0};
        im_encoder *encoder = open_model(models[m], NULL);
        size_t dim = im_encoder_describe(encoder)->dim;
        load_floats(models[m], "pixels.f32", &pixels);
        load_floats(models[m], "pictures.f32", &vectors);
        size_t n = vectors.size / sizeof(float) / dim;
        float *got = im_alloc(n * dim, sizeof(float));
        assert_string_equal(im_encoder_describe(encoder)->kernel, kernel_name);
        assert_int_equal(
            im_encoder_pixel_values(encoder, (const float *)(void *)pixels.data, n, got, NULL),
            IM_OK);
        for (size_t i = 0; i < n; i++) {
            double expected[64];
            for (size_t d = 0; d < dim; d++) {
                expected[d] = (double)((const float *)(void *)vectors.data)[i * dim + d];
            }
            compare(models[m], got + i * dim, expected, dim);
        }
        im_free(got);
        im_bytes_clear(&pixels);
        im_bytes_clear(&vectors);
        im_encoder_close(encoder);
    }
}

static void picture_vectors_are_those_of_the_reference_in_every_kernel(void **state)
{
    (void)state;
    in_every_kernel(compare_pictures);
}

/* Bitwise: a row alone, in a batch, and with threads. */
static void check_rows_alone(im_precision precision)
{
    im_pool *pool = NULL;
    im_bytes pixels = {0};
    float alone[20 * 64];
    float together[20 * 64];
    assert_int_equal(im_pool_open(3, &pool, NULL), IM_OK);
    im_encoder *one = open_as(models[0], NULL, precision);
    im_encoder *many = open_as(models[0], pool, precision);
    size_t dim = im_encoder_describe(one)->dim;
    load_floats(models[0], "pixels.f32", &pixels);
    const float *values = (const float *)(void *)pixels.data;
    size_t each = pixels.size / sizeof(float) / 20;
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(im_encoder_pixel_values(one, values + i * each, 1, alone + i * dim, NULL),
                         IM_OK);
    }
    assert_int_equal(im_encoder_pixel_values(many, values, 20, together, NULL), IM_OK);
    assert_memory_equal(alone, together, 20 * dim * sizeof(float));
    im_bytes_clear(&pixels);
    im_encoder_close(one);
    im_encoder_close(many);
    im_pool_close(pool);
}

static void a_row_does_not_depend_on_its_batch_or_on_threads(void **state)
{
    (void)state;
    check_rows_alone(IM_PRECISION_FP32);
    check_rows_alone(IM_PRECISION_BF16);
    check_rows_alone(IM_PRECISION_INT8);
}

static void check_cosine(const char *what, size_t i, const float *a, const float *b, size_t dim,
                         double least)
{
    double dot = 0;
    for (size_t d = 0; d < dim; d++) {
        dot += (double)a[d] * (double)b[d];
    }
    if (!(dot >= least)) {
        fail_msg("%s %zu has cosine %.6f", what, i, dot);
    }
}

/* Another precision beside fp32 of the same kernel: the pictures and texts of a golden model. */
static void compare_precisions(const char *model, const char *kernel_name, im_precision precision,
                               double least)
{
    im_bytes pixels = {0};
    float wide[20 * 64];
    float narrow[20 * 64];
    char what[96];
    const char *name = im_precision_name(precision);
    im_encoder *fp32 = open_as(model, NULL, IM_PRECISION_FP32);
    im_encoder *other = open_as(model, NULL, precision);
    size_t dim = im_encoder_describe(fp32)->dim;
    assert_string_equal(im_encoder_describe(other)->precision, name);
    assert_string_equal(im_encoder_describe(other)->kernel, kernel_name);
    load_floats(model, "pixels.f32", &pixels);
    const float *values = (const float *)(void *)pixels.data;
    assert_int_equal(im_encoder_pixel_values(fp32, values, 20, wide, NULL), IM_OK);
    assert_int_equal(im_encoder_pixel_values(other, values, 20, narrow, NULL), IM_OK);
    assert_true(memcmp(wide, narrow, 20 * dim * sizeof(float)) != 0);
    (void)snprintf(what, sizeof(what), "%s, %s, %s: picture", model, name, kernel_name);
    for (size_t i = 0; i < 20; i++) {
        check_cosine(what, i, wide + i * dim, narrow + i * dim, dim, least);
    }
    json_t *texts = load_texts(model);
    (void)snprintf(what, sizeof(what), "%s, %s, %s: text", model, name, kernel_name);
    for (size_t i = 0; i < json_array_size(texts); i++) {
        im_view text = text_of(json_array_get(texts, i));
        encode_text(fp32, text, wide);
        encode_text(other, text, narrow);
        check_cosine(what, i, wide, narrow, dim, least);
    }
    json_decref(texts);
    im_bytes_clear(&pixels);
    im_encoder_close(fp32);
    im_encoder_close(other);
}

static void compare_precisions_of_all(const char *kernel_name)
{
    for (size_t m = 0; m < IM_COUNT(models); m++) {
        compare_precisions(models[m], kernel_name, IM_PRECISION_BF16, 0.9999);
        compare_precisions(models[m], kernel_name, IM_PRECISION_INT8, 0.999);
    }
}

static void bf16_and_int8_are_close_to_fp32_in_every_kernel(void **state)
{
    (void)state;
    in_every_kernel(compare_precisions_of_all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token_ids_are_those_of_the_reference),
        cmocka_unit_test(text_vectors_are_those_of_the_reference),
        cmocka_unit_test(picture_vectors_are_those_of_the_reference_in_every_kernel),
        cmocka_unit_test(a_row_does_not_depend_on_its_batch_or_on_threads),
        cmocka_unit_test(bf16_and_int8_are_close_to_fp32_in_every_kernel),
    };
    return cmocka_run_group_tests_name("encoder golden", tests, NULL, NULL);
}
