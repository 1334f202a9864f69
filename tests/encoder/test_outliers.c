/* tests/encoder/test_outliers.c — a checkpoint with planted outlier channels: the same function in
 * fp32, but bf16 and int8 lose what lies beside the outliers. Made here from a golden one: B is
 * added to channels of each layer norm's bias, and W B taken from the bias of the product behind
 * it. */
#include "tests/encoder/help.h"

#include <math.h>

#define OUTLIER 400.0F
#define N_CHANNELS 4u

static void take_back(const im_bytes *file, const char *prefix, size_t layer, const char *product)
{
    char name[160];
    size_t n_weights = 0;
    size_t n_out = 0;
    (void)snprintf(name, sizeof(name), "%s.encoder.layers.%zu.%s.weight", prefix, layer, product);
    const float *weight = find_values(file, name, &n_weights);
    (void)snprintf(name, sizeof(name), "%s.encoder.layers.%zu.%s.bias", prefix, layer, product);
    float *bias = find_values(file, name, &n_out);
    for (size_t o = 0; o < n_out; o++) {
        for (size_t c = 0; c < N_CHANNELS; c++) {
            bias[o] -= weight[o * (n_weights / n_out) + c] * OUTLIER;
        }
    }
}

static void plant(const im_bytes *file, const char *prefix, size_t layer)
{
    static const char *const behind[2][3] = {
        {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}, {"mlp.fc1", NULL, NULL}};
    for (size_t i = 0; i < 2; i++) {
        char name[160];
        size_t n = 0;
        (void)snprintf(name, sizeof(name), "%s.encoder.layers.%zu.layer_norm%zu.bias", prefix,
                       layer, i + 1);
        float *bias = find_values(file, name, &n);
        assert_true(n >= N_CHANNELS);
        for (size_t c = 0; c < N_CHANNELS; c++) {
            bias[c] += OUTLIER;
        }
        for (size_t l = 0; l < 3 && behind[i][l] != NULL; l++) {
            take_back(file, prefix, layer, behind[i][l]);
        }
    }
}

static void text_vector(const char *folder, im_precision precision, float *out, size_t *out_dim)
{
    im_encoder *encoder = NULL;
    im_encoder_options options = {.precision = precision, .towers = IM_TOWERS_TEXT};
    im_view text = im_view_from("a photo of a red car");
    assert_int_equal(im_encoder_open(folder, &options, &encoder, NULL), IM_OK);
    *out_dim = im_encoder_describe(encoder)->dim;
    assert_int_equal(im_encoder_texts(encoder, &text, 1, out, NULL, NULL), IM_OK);
    im_encoder_close(encoder);
}

static double cosine_of(const char *a, im_precision a_precision, const char *b,
                        im_precision b_precision)
{
    float x[64];
    float y[64];
    size_t dim = 0;
    double dot = 0;
    text_vector(a, a_precision, x, &dim);
    text_vector(b, b_precision, y, &dim);
    for (size_t i = 0; i < dim; i++) {
        dot += (double)x[i] * (double)y[i];
    }
    return dot;
}

static void outliers_show_in_reduced_precision_alone(void **state)
{
    char sound[HELP_FOLDER_BYTES];
    char planted[HELP_FOLDER_BYTES];
    (void)state;
    temporary_folder(sound);
    temporary_folder(planted);
    copy_model(sound, F32_MODEL);
    copy_model(planted, F32_MODEL);
    im_bytes file = read_file(planted, "model.safetensors");
    plant(&file, "text_model", 0);
    plant(&file, "text_model", 1);
    write_file(planted, "model.safetensors", file.data, file.size);
    im_bytes_clear(&file);
    assert_true(cosine_of(sound, IM_PRECISION_FP32, planted, IM_PRECISION_FP32) > 0.99999);
    assert_true(cosine_of(sound, IM_PRECISION_FP32, sound, IM_PRECISION_BF16) > 0.9999);
    assert_true(cosine_of(planted, IM_PRECISION_FP32, planted, IM_PRECISION_BF16) < 0.9995);
    assert_true(cosine_of(sound, IM_PRECISION_FP32, sound, IM_PRECISION_INT8) > 0.999);
    assert_true(cosine_of(planted, IM_PRECISION_FP32, planted, IM_PRECISION_INT8) < 0.99);
    remove_folder(sound);
    remove_folder(planted);
}

/* The greatest of half precision, and what is no number, as weights of a product. */
static void weights_beyond_reason(void **state)
{
    static const float values[] = {65504.0F, -65504.0F, NAN, INFINITY};
    static const im_precision precisions[] = {IM_PRECISION_FP32, IM_PRECISION_BF16,
                                              IM_PRECISION_INT8};
    (void)state;
    for (size_t i = 0; i < IM_COUNT(values) * IM_COUNT(precisions); i++) {
        char folder[HELP_FOLDER_BYTES];
        size_t n = 0;
        im_error err = IM_ERROR_INIT;
        im_encoder_options options = {.precision = precisions[i % IM_COUNT(precisions)]};
        float value = values[i / IM_COUNT(precisions)];
        temporary_folder(folder);
        copy_model(folder, F32_MODEL);
        im_bytes file = read_file(folder, "model.safetensors");
        find_values(&file, "text_model.encoder.layers.1.mlp.fc2.weight", &n)[n / 2] = value;
        find_values(&file, "vision_model.encoder.layers.0.mlp.fc1.weight", &n)[n / 2] = value;
        write_file(folder, "model.safetensors", file.data, file.size);
        im_bytes_clear(&file);
        im_code rc = try_open(folder, &options, &err);
        if (isfinite(value)) { /* it opens: what it loses is measured before it is used */
            assert_int_equal(rc, IM_OK);
        } else {
            assert_refused(rc, &err, IM_ERR_FORMAT, "model_bad_output", "not finite", NULL);
        }
        remove_folder(folder);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(outliers_show_in_reduced_precision_alone),
                                       cmocka_unit_test(weights_beyond_reason)};
    return cmocka_run_group_tests_name("encoder outliers", tests, NULL, NULL);
}
