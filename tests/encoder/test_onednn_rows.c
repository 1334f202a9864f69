/* tests/encoder/test_onednn_rows.c — attention and layer norms of every kernel set that this
 * machine runs against oneDNN. */
#include "tests/encoder/help_onednn.h"

/* ---- attention ---- */

typedef struct attention {
    size_t length, d, pitch;
    bool causal;
    float *qkv, *scores, *expected, *got, *scratch;
} attention;

static void soften(size_t rows, size_t width, float *values)
{
    dnnl_softmax_desc_t op;
    dnnl_memory_desc_t desc = plane(rows, width);
    ok(dnnl_softmax_forward_desc_init(&op, dnnl_forward_inference, &desc, 1), "softmax");
    run(&op, rows, width, values, 0, 0, NULL);
}

static void attention_expect(const attention *a)
{
    const float *q = a->qkv;
    float scale = 1 / sqrtf((float)a->d);
    multiply('T', a->length, a->length, a->d, q, a->pitch, q + a->d, a->pitch, a->scores,
             a->length);
    for (size_t i = 0; i < a->length; i++) {
        for (size_t j = 0; j < a->length; j++) {
            float *score = &a->scores[i * a->length + j];
            *score = a->causal && j > i ? -1e30F : *score * scale;
        }
    }
    soften(a->length, a->length, a->scores);
    multiply('N', a->length, a->d, a->length, a->scores, a->length, q + 2 * a->d, a->pitch,
             a->expected, a->d);
}

static double row_cosine(const float *a, const float *b, size_t n)
{
    double ab = 0;
    double aa = 0;
    double bb = 0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

/* fp32 value by value, bf16 by the cosine of each row. */
static void attention_compare(const attention *a, const kernel *set, bool bf16)
{
    head_work w = {.q = a->qkv,
                   .k = a->qkv + a->d,
                   .v = a->qkv + 2 * a->d,
                   .pitch = a->pitch,
                   .length = a->length,
                   .d = a->d,
                   .causal = a->causal,
                   .bf16 = bf16,
                   .only = SIZE_MAX,
                   .out = a->got,
                   .out_pitch = a->d,
                   .scratch = a->scratch};
    set->head(&w);
    for (size_t i = 0; bf16 && i < a->length; i++) {
        double cosine = row_cosine(a->got + i * a->d, a->expected + i * a->d, a->d);
        if (!(cosine >= 0.9999)) {
            fail_msg("%s, bf16, length %zu: row %zu has cosine %.6f to oneDNN's", set->name,
                     a->length, i, cosine);
        }
    }
    for (size_t i = 0; !bf16 && i < a->length * a->d; i++) {
        if (!(fabsf(a->got[i] - a->expected[i]) <= 2e-5F)) {
            fail_msg("%s, length %zu, d %zu, causal %d: value %zu is %.9g, oneDNN has %.9g",
                     set->name, a->length, a->d, a->causal, i, (double)a->got[i],
                     (double)a->expected[i]);
        }
    }
}

static void attention_equals_onednn(void **state)
{
    static const size_t sizes[][3] = {{50, 64, 0},  {197, 64, 0}, {257, 64, 0}, {77, 64, 1},
                                      {10, 64, 1},  {33, 80, 1},  {129, 17, 0}, {1, 64, 1},
                                      {256, 96, 1}, {65, 32, 0}};
    (void)state;
    srandom(10);
    for (size_t s = 0; s < IM_COUNT(sizes); s++) {
        attention a = {.length = sizes[s][0], .d = sizes[s][1], .causal = sizes[s][2] == 1};
        a.pitch = 3 * a.d;
        a.qkv = random_floats(a.length * a.pitch, 2);
        a.scores = random_floats(a.length * a.length, 0);
        a.expected = random_floats(a.length * a.d, 0);
        a.got = random_floats(a.length * a.d, 0);
        a.scratch = random_floats(kernel_head_floats(a.length, a.d), 1);
        attention_expect(&a);
        for (size_t e = 0; e < IM_COUNT(onednn_sets); e++) {
            if (kernel_runs(onednn_sets[e])) {
                attention_compare(&a, onednn_sets[e], false);
                attention_compare(&a, onednn_sets[e], kernel_has_bf16(onednn_sets[e]));
            }
        }
        im_free(a.qkv);
        im_free(a.scores);
        im_free(a.expected);
        im_free(a.got);
        im_free(a.scratch);
    }
}

/* ---- norms ---- */

static void norms_equal_onednn(void **state)
{
    static const size_t widths[] = {512, 768, 1024, 33, 192, 7};
    (void)state;
    srandom(11);
    for (size_t s = 0; s < IM_COUNT(widths); s++) {
        size_t width = widths[s];
        size_t rows = 5;
        dnnl_layer_normalization_desc_t op;
        dnnl_memory_desc_t desc = plane(rows, width);
        float *in = random_floats(rows * width, 3);
        float *expected = random_floats(rows * width, 0);
        float *got = random_floats(rows * width, 0);
        float *scale_shift = random_floats(2 * width, 1);
        memcpy(expected, in, rows * width * sizeof(float));
        ok(dnnl_layer_normalization_forward_desc_init(&op, dnnl_forward_inference, &desc, NULL,
                                                      1e-5F, dnnl_use_scaleshift),
           "norm");
        run(&op, rows, width, expected, DNNL_ARG_SCALE_SHIFT, 2, scale_shift);
        for (size_t e = 0; e < IM_COUNT(onednn_sets); e++) {
            if (!kernel_runs(onednn_sets[e])) {
                continue;
            }
            onednn_sets[e]->norm(in, width, rows, width, scale_shift, scale_shift + width, 1e-5F,
                                 got, width);
            for (size_t i = 0; i < rows * width; i++) {
                if (!(fabsf(got[i] - expected[i]) <= 1e-5F)) {
                    fail_msg("%s, width %zu: value %zu is %.9g, oneDNN has %.9g",
                             onednn_sets[e]->name, width, i, (double)got[i], (double)expected[i]);
                }
            }
        }
        im_free(in);
        im_free(expected);
        im_free(got);
        im_free(scale_shift);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(attention_equals_onednn),
                                       cmocka_unit_test(norms_equal_onednn)};
    setenv("OMP_NUM_THREADS", "1", 1);
    return cmocka_run_group_tests_name("attention and norms against oneDNN", tests, start_onednn,
                                       stop_onednn);
}
