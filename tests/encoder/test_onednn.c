/* tests/encoder/test_onednn.c — products of every kernel set that this machine runs against oneDNN,
 * an oracle that shares no line with the kernels or their plain twin: three precisions, all
 * epilogues, the shapes of CLIP's towers and odd ones. */
#include "tests/encoder/help_onednn.h"

/* rows, outputs, inputs: the bundled model, then ViT-B/32 and its text tower, then odd ones */
static const size_t shapes[][3] = {{65, 576, 192},  {65, 768, 192}, {1, 256, 192}, {50, 2304, 768},
                                   {10, 2048, 512}, {7, 512, 2048}, {3, 33, 129},  {17, 95, 5},
                                   {29, 64, 1},     {113, 31, 67}};

static void activate(size_t rows, size_t width, float *values, kernel_activation activation)
{
    static const dnnl_alg_kind_t kinds[] = {[ACTIVATION_GELU] = dnnl_eltwise_gelu_erf,
                                            [ACTIVATION_QUICK_GELU] = dnnl_eltwise_swish,
                                            [ACTIVATION_GELU_TANH] = dnnl_eltwise_gelu_tanh};
    dnnl_eltwise_desc_t op;
    dnnl_memory_desc_t desc = plane(rows, width);
    if (activation != ACTIVATION_NONE) {
        ok(dnnl_eltwise_forward_desc_init(&op, dnnl_forward_inference, kinds[activation], &desc,
                                          1.702F, 0),
           "activation");
        run(&op, rows, width, values, 0, 0, NULL);
    }
}

/* ---- products ---- */

/* Of the epilogues: four activations, each with and without bias and residual. */
#define N_EPILOGUES 16u

static kernel_activation activation_of(size_t which)
{
    return (kernel_activation)(which % 4);
}

static bool has_bias(size_t which)
{
    return which / 4 % 2 == 1;
}

static bool has_residual(size_t which)
{
    return which / 8 == 1;
}

typedef struct product {
    size_t rows, n, k, pitch;
    float *in, *weights, *bias, *residual; /* [rows, pitch], [n, k], [n], [rows, n] */
    float *sums;                           /* [rows, n]: oneDNN's, before any epilogue */
    float *expected, *got;                 /* [rows, n] */
    uint8_t *codes;                        /* int8: [rows, pitch] of `in` */
    float tolerance;
} product;

static void product_make(product *p, const size_t shape[3])
{
    *p = (product){.rows = shape[0], .n = shape[1], .k = shape[2]};
    p->pitch = (p->k + 15) / 16 * 16;
    p->in = random_floats(p->rows * p->pitch, 1);
    p->weights = random_floats(p->n * p->k, 0.1F);
    p->bias = random_floats(p->n, 1);
    p->residual = random_floats(p->rows * p->n, 1);
    p->sums = random_floats(p->rows * p->n, 0);
    p->expected = random_floats(p->rows * p->n, 0);
    p->got = random_floats(p->rows * p->n, 0);
    p->codes = im_alloc_zero(p->rows * p->pitch, 1);
    assert_non_null(p->codes);
    p->tolerance = 0.1F * (float)p->k * 6e-8F * 4 + 1e-6F; /* of the sum; of the activation */
}

static void product_clear(product *p)
{
    im_free(p->in);
    im_free(p->weights);
    im_free(p->bias);
    im_free(p->residual);
    im_free(p->sums);
    im_free(p->expected);
    im_free(p->got);
    im_free(p->codes);
}

/* Weights as a set wants them. */
static void *pack(const kernel *set, const product *p, im_precision precision)
{
    size_t n_panels = (p->n + PANEL - 1) / PANEL;
    size_t pairs = (p->k + 1) / 2;
    size_t bytes = precision == IM_PRECISION_INT8   ? kernel_panel8_bytes(set, p->k)
                   : precision == IM_PRECISION_BF16 ? pairs * PANEL * 4
                                                    : p->k * PANEL * 4;
    char *panels = im_alloc_aligned(n_panels, bytes);
    assert_non_null(panels);
    memset(panels, 0, n_panels * bytes);
    for (size_t o = 0; o < p->n; o++) {
        char *panel = panels + o / PANEL * bytes;
        size_t column = o % PANEL;
        if (precision == IM_PRECISION_INT8) {
            kernel_pack_row8(set, (int8_t *)panel, column, p->weights + o * p->k, p->k);
            continue;
        }
        for (size_t i = 0; i < p->k; i++) {
            float weight = p->weights[o * p->k + i];
            if (precision == IM_PRECISION_BF16) {
                ((uint16_t *)(void *)panel)[(i / 2 * PANEL + column) * 2 + i % 2] = bf16_of(weight);
            } else {
                ((float *)(void *)panel)[i * PANEL + column] = weight;
            }
        }
    }
    return panels;
}

/* What a set makes of weights and inputs, once for all epilogues. */
typedef struct packed_product {
    char *panels;
    float *laid;
    row_scale *scales;
} packed_product;

static packed_product packed_product_make(const kernel *set, const product *p,
                                          im_precision precision)
{
    packed_product packed = {.panels = pack(set, p, precision),
                             .laid = random_floats(p->rows * p->pitch, 0),
                             .scales = im_alloc(p->rows, sizeof(row_scale))};
    assert_non_null(packed.scales);
    lay_work w = {p->in, p->pitch, p->rows, p->k, packed.laid, packed.scales};
    (precision == IM_PRECISION_BF16   ? set->lay_bf16
     : precision == IM_PRECISION_INT8 ? set->lay_int8
                                      : set->lay)(&w);
    return packed;
}

static void set_product(const kernel *set, const product *p, const packed_product *packed,
                        im_precision precision, size_t which)
{
    for (size_t first = 0; first < p->n; first += PANEL) {
        panel_work w = {.in = packed->laid,
                        .rows = p->rows,
                        .scales = packed->scales,
                        .k = p->k,
                        .columns = IM_MIN(p->n - first, (size_t)PANEL),
                        .bias = has_bias(which) ? p->bias + first : NULL,
                        .activation = activation_of(which),
                        .residual = has_residual(which) ? p->residual + first : NULL,
                        .residual_pitch = p->n,
                        .out = p->got + first,
                        .out_pitch = p->n};
        if (precision == IM_PRECISION_INT8) {
            w.panel = (int8_t *)packed->panels + first / PANEL * kernel_panel8_bytes(set, p->k);
            set->panel_int8(&w);
        } else if (precision == IM_PRECISION_BF16) {
            w.panel = (uint16_t *)(void *)packed->panels + first * (p->k + p->k % 2);
            set->panel_bf16(&w);
        } else {
            w.panel = (float *)(void *)packed->panels + first * p->k;
            set->panel(&w);
        }
    }
}

static void expect(product *p, size_t which)
{
    for (size_t j = 0; j < p->rows * p->n; j++) {
        p->expected[j] = p->sums[j] + (has_bias(which) ? p->bias[j % p->n] : 0);
    }
    activate(p->rows, p->n, p->expected, activation_of(which));
    for (size_t j = 0; has_residual(which) && j < p->rows * p->n; j++) {
        p->expected[j] += p->residual[j];
    }
}

static void compare(const product *p, const kernel *set, im_precision precision, size_t which)
{
    for (size_t j = 0; j < p->rows * p->n; j++) {
        if (!(fabsf(p->got[j] - p->expected[j]) <= p->tolerance * (1 + fabsf(p->expected[j])))) {
            fail_msg("%s, %s, %zu x %zu x %zu, epilogue %zu: value %zu is %.9g, oneDNN has %.9g",
                     set->name, im_precision_name(precision), p->rows, p->n, p->k, which, j,
                     (double)p->got[j], (double)p->expected[j]);
        }
    }
}

/* Each set with each epilogue against the sums that oneDNN made; the plain twin, which is slow,
 * only where they are few. */
static void compare_epilogues(product *p, im_precision precision)
{
    packed_product packed[IM_COUNT(onednn_sets)] = {{0}};
    for (size_t e = 0; e < IM_COUNT(onednn_sets); e++) {
        const kernel *set = onednn_sets[e];
        if (kernel_runs(set) && (set != &kernel_plain || p->rows * p->n * p->k < (size_t)1 << 20)) {
            packed[e] = packed_product_make(set, p, precision);
        }
    }
    for (size_t which = 0; which < N_EPILOGUES; which++) {
        expect(p, which);
        for (size_t e = 0; e < IM_COUNT(onednn_sets); e++) {
            if (packed[e].panels != NULL) {
                set_product(onednn_sets[e], p, &packed[e], precision, which);
                compare(p, onednn_sets[e], precision, which);
            }
        }
    }
    for (size_t e = 0; e < IM_COUNT(onednn_sets); e++) {
        im_free(packed[e].scales);
        im_free(packed[e].laid);
        im_free(packed[e].panels);
    }
}

static void fp32_products_equal_onednn(void **state)
{
    (void)state;
    srandom(7);
    for (size_t s = 0; s < IM_COUNT(shapes); s++) {
        product p;
        product_make(&p, shapes[s]);
        multiply('T', p.rows, p.n, p.k, p.in, p.pitch, p.weights, p.k, p.sums, p.n);
        compare_epilogues(&p, IM_PRECISION_FP32);
        product_clear(&p);
    }
}

/* Of the rounded values: float32 holds their products exactly. */
static void bf16_products_equal_onednn(void **state)
{
    (void)state;
    srandom(8);
    for (size_t s = 0; s < IM_COUNT(shapes); s++) {
        product p;
        product_make(&p, shapes[s]);
        for (size_t i = 0; i < p.rows * p.pitch; i++) {
            p.in[i] = bf16_value(bf16_of(p.in[i]));
        }
        for (size_t i = 0; i < p.n * p.k; i++) {
            p.weights[i] = bf16_value(bf16_of(p.weights[i]));
        }
        multiply('T', p.rows, p.n, p.k, p.in, p.pitch, p.weights, p.k, p.sums, p.n);
        compare_epilogues(&p, IM_PRECISION_BF16);
        product_clear(&p);
    }
}

/* Whole numbers, so that scales are 1 and sums exact: rows reach from -100 to 155, or half of that
 * where oneDNN would saturate pairs (what meets the greatest code is 0); weights reach 127. */
static void int8_products_equal_onednn(void **state)
{
    int32_t span = im_cpu_features().avx512_vnni ? 255 : 127;
    (void)state;
    srandom(9);
    for (size_t s = 0; s < IM_COUNT(shapes); s++) {
        product p;
        product_make(&p, shapes[s]);
        int8_t *codes = im_alloc(p.n * p.k, 1);
        int32_t *sums = im_alloc(p.rows * p.n, sizeof(*sums));
        assert_true(codes != NULL && sums != NULL && p.k > 0);
        for (size_t i = 0; i < p.n * p.k; i++) {
            codes[i] = (int8_t)(random() % 255 - 127);
            codes[i] = (int8_t)(i % p.k == (p.k > 2 ? 2 : 0) ? 127 : i % p.k == 0 ? 0 : codes[i]);
            p.weights[i] = (float)codes[i];
        }
        for (size_t r = 0; r < p.rows; r++) { /* the first two are the ends of the row's range */
            for (size_t i = 0; i < p.k; i++) {
                long code = i == 0 ? 255 : i == 1 ? 0 : random() % (span + 1);
                p.codes[r * p.pitch + i] = (uint8_t)code;
                p.in[r * p.pitch + i] = (float)(code - (p.k > 1 ? 100 : 0));
            }
        }
        const int32_t zero = 0;
        ok(dnnl_gemm_u8s8s32('N', 'T', 'F', (dnnl_dim_t)p.rows, (dnnl_dim_t)p.n, (dnnl_dim_t)p.k, 1,
                             p.codes, (dnnl_dim_t)p.pitch, 0, codes, (dnnl_dim_t)p.k, 0, 0, sums,
                             (dnnl_dim_t)p.n, &zero),
           "u8s8s32");
        for (size_t o = 0; o < p.n; o++) {
            int32_t code_sum = 0;
            for (size_t i = 0; i < p.k; i++) {
                code_sum += codes[o * p.k + i];
            }
            for (size_t r = 0; r < p.rows; r++) {
                p.sums[r * p.n + o] = (float)(sums[r * p.n + o] - (p.k > 1 ? 100 : 0) * code_sum);
            }
        }
        compare_epilogues(&p, IM_PRECISION_INT8);
        im_free(codes);
        im_free(sums);
        product_clear(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(fp32_products_equal_onednn),
                                       cmocka_unit_test(bf16_products_equal_onednn),
                                       cmocka_unit_test(int8_products_equal_onednn)};
    setenv("OMP_NUM_THREADS", "1", 1);
    return cmocka_run_group_tests_name("products against oneDNN", tests, start_onednn, stop_onednn);
}
