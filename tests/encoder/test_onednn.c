/* tests/encoder/test_onednn.c — whole products at the shapes of CLIP's towers against oneDNN's
 * sgemm: an oracle that shares no line with the kernels or their plain twin. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "encoder/kernel_internal.h"

#include <math.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdlib.h>

static const kernel *const sets[] = {&kernel_plain, &kernel_portable, &kernel_avx2, &kernel_avx512,
                                     &kernel_avx512_bf16};

/* rows, outputs, inputs: the bundled model, then ViT-B/32 and its text tower, then odd ones */
static const size_t shapes[][3] = {{65, 576, 192},  {65, 768, 192}, {1, 256, 192}, {50, 2304, 768},
                                   {10, 2048, 512}, {7, 512, 2048}, {3, 33, 129},  {17, 95, 5}};

static float *random_floats(size_t n, float scale)
{
    float *x = im_alloc(n, sizeof(*x));
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) {
        x[i] = scale * (float)((double)random() / (double)RAND_MAX * 2 - 1);
    }
    return x;
}

/* Weights [n, k] into panels [ceil(n / PANEL), k, PANEL], zeros behind the last column. */
static float *pack(const float *weights, size_t n, size_t k)
{
    size_t n_panels = (n + PANEL - 1) / PANEL;
    float *panels = NULL;
    assert_int_equal(posix_memalign((void **)&panels, 64, n_panels * k * PANEL * sizeof(float)), 0);
    memset(panels, 0, n_panels * k * PANEL * sizeof(float));
    for (size_t o = 0; o < n; o++) {
        for (size_t i = 0; i < k; i++) {
            panels[(o / PANEL * k + i) * PANEL + o % PANEL] = weights[o * k + i];
        }
    }
    return panels;
}

static void product(const kernel *set, const float *in, const float *panels, size_t rows, size_t n,
                    size_t k, float *out)
{
    for (size_t first = 0; first < n; first += PANEL) {
        panel_work w = {.in = in,
                        .in_pitch = k,
                        .rows = rows,
                        .panel = panels + first * k,
                        .k = k,
                        .columns = IM_MIN(n - first, (size_t)PANEL),
                        .activation = ACTIVATION_NONE,
                        .out = out + first,
                        .out_pitch = n};
        set->panel(&w);
    }
}

static void products_equal_onednn(void **state)
{
    (void)state;
    srandom(7);
    for (size_t s = 0; s < IM_COUNT(shapes); s++) {
        size_t rows = shapes[s][0];
        size_t n = shapes[s][1];
        size_t k = shapes[s][2];
        float *in = random_floats(rows * k, 1);
        float *weights = random_floats(n * k, 0.1F);
        float *panels = pack(weights, n, k);
        float *expected = random_floats(rows * n, 0);
        float *got = random_floats(rows * n, 0);
        assert_int_equal(dnnl_sgemm('N', 'T', (dnnl_dim_t)rows, (dnnl_dim_t)n, (dnnl_dim_t)k, 1, in,
                                    (dnnl_dim_t)k, weights, (dnnl_dim_t)k, 0, expected,
                                    (dnnl_dim_t)n),
                         dnnl_success);
        /* rounding of a sum of k products, each at most 0.1 */
        float tolerance = 0.1F * (float)k * 6e-8F * 4;
        for (size_t e = 0; e < IM_COUNT(sets); e++) {
            if (!kernel_runs(sets[e])) {
                continue;
            }
            product(sets[e], in, panels, rows, n, k, got);
            for (size_t i = 0; i < rows * n; i++) {
                if (!(fabsf(got[i] - expected[i]) <= tolerance)) {
                    fail_msg("%s, %zu x %zu x %zu: value %zu is %.9g, oneDNN has %.9g",
                             sets[e]->name, rows, n, k, i, (double)got[i], (double)expected[i]);
                }
            }
        }
        im_free(in);
        im_free(weights);
        free(panels);
        im_free(expected);
        im_free(got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(products_equal_onednn)};
    setenv("OMP_NUM_THREADS", "1", 1);
    return cmocka_run_group_tests_name("encoder against oneDNN", tests, NULL, NULL);
}
