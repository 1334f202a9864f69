/* tests/encoder/test_kernels.c — every kernel set that this machine runs against the plain twin. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "encoder/kernel_internal.h"

#include <math.h>
#include <stdlib.h>

static const kernel *const sets[] = {&kernel_avx512, &kernel_avx2, &kernel_portable};

static void fill(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)((double)random() / (double)RAND_MAX * 4 - 2);
    }
}

static void near(const float *a, const float *b, size_t n, float tolerance)
{
    for (size_t i = 0; i < n; i++) {
        if (!(fabsf(a[i] - b[i]) <= tolerance * (1 + fabsf(b[i])))) {
            fail_msg("value %zu is %.9g, expected %.9g", i, (double)a[i], (double)b[i]);
        }
    }
}

static void panels_equal_the_plain_twin(void **state)
{
    static float in[30 * 80], panel[80 * PANEL], bias[PANEL], residual[30 * PANEL];
    static float got[30 * PANEL], expected[30 * PANEL];
    (void)state;
    srandom(3);
    for (size_t s = 0; s < IM_COUNT(sets); s++) {
        if (!kernel_runs(sets[s])) {
            continue;
        }
        for (size_t rows = 1; rows <= 30; rows++) {
            for (size_t k = 1; k <= 80; k += 13) {
                fill(in, 30 * 80);
                fill(panel, 80 * PANEL);
                fill(bias, PANEL);
                fill(residual, 30 * PANEL);
                panel_work w = {.in = in,
                                .in_pitch = 80,
                                .rows = rows,
                                .panel = panel,
                                .k = k,
                                .columns = 1 + (rows * 7 + k) % PANEL,
                                .bias = bias,
                                .activation = (kernel_activation)((rows + k) % 4),
                                .residual = rows % 2 == 0 ? residual : NULL,
                                .residual_pitch = PANEL,
                                .out = got,
                                .out_pitch = PANEL};
                memset(got, 0, sizeof(got));
                memset(expected, 0, sizeof(expected));
                sets[s]->panel(&w);
                w.out = expected;
                kernel_plain.panel(&w);
                near(got, expected, 30 * PANEL, 3e-5f);
            }
        }
    }
}

static void heads_equal_the_plain_twin(void **state)
{
    static float qkv[40 * 96], got[40 * 32], expected[40 * 32], scratch[4096];
    (void)state;
    srandom(5);
    for (size_t s = 0; s < IM_COUNT(sets); s++) {
        for (size_t length = 1; kernel_runs(sets[s]) && length <= 40; length += 3) {
            for (size_t d = 1; d <= 32; d += 5) {
                fill(qkv, 40 * 96);
                head_work w = {.q = qkv,
                               .k = qkv + 32,
                               .v = qkv + 64,
                               .pitch = 96,
                               .length = length,
                               .d = d,
                               .causal = length % 2 == 0,
                               .only = SIZE_MAX,
                               .out = got,
                               .out_pitch = 32,
                               .scratch = scratch};
                assert_true(kernel_head_floats(length, d) <= IM_COUNT(scratch));
                memset(got, 0, sizeof(got));
                memset(expected, 0, sizeof(expected));
                sets[s]->head(&w);
                w.out = expected;
                kernel_plain.head(&w);
                near(got, expected, 40 * 32, 1e-5f);
                w.only = length - 1; /* one row alone is that row */
                w.out = got;
                sets[s]->head(&w);
                near(got, expected + (length - 1) * 32, d, 1e-5f);
            }
        }
    }
}

static void norms_equal_the_plain_twin(void **state)
{
    static float in[5 * 100], weight[100], bias[100], got[5 * 100], expected[5 * 100];
    (void)state;
    srandom(7);
    for (size_t s = 0; s < IM_COUNT(sets); s++) {
        for (size_t width = 1; kernel_runs(sets[s]) && width <= 100; width++) {
            fill(in, 500);
            fill(weight, 100);
            fill(bias, 100);
            sets[s]->norm(in, 100, 5, width, weight, bias, 1e-5f, got, 100);
            kernel_plain.norm(in, 100, 5, width, weight, bias, 1e-5f, expected, 100);
            for (size_t r = 0; r < 5 && width > 1; r++) {
                near(got + r * 100, expected + r * 100, width, 1e-3f);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(panels_equal_the_plain_twin),
        cmocka_unit_test(heads_equal_the_plain_twin),
        cmocka_unit_test(norms_equal_the_plain_twin),
    };
    return cmocka_run_group_tests_name("encoder kernels", tests, NULL, NULL);
}
