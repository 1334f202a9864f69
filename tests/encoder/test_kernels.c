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

static const kernel *const sets[] = {&kernel_avx512_bf16, &kernel_avx512, &kernel_avx2,
                                     &kernel_portable};

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

/* Also with k odd, where the last pair has one value: what lies behind it must not count. */
static void bf16_panels_equal_the_plain_twin(void **state)
{
    static float in[30 * 80], bias[PANEL], residual[30 * PANEL], got[30 * PANEL],
        expected[30 * PANEL], rounded[30 * 80], narrow[30 * 80];
    static uint16_t panel[80 * PANEL];
    (void)state;
    srandom(4);
    for (size_t s = 0; s < IM_COUNT(sets); s++) {
        for (size_t rows = 1; kernel_runs(sets[s]) && rows <= 30; rows++) {
            for (size_t k = 1; k < 80; k += 13) {
                fill(in, 30 * 80);
                fill(bias, PANEL);
                fill(residual, 30 * PANEL);
                for (size_t i = 0; i < IM_COUNT(panel); i++) {
                    panel[i] = bf16_of((float)((double)random() / (double)RAND_MAX * 4 - 2));
                }
                memset(narrow, 0x7f, sizeof(narrow));
                memset(rounded, 0x7f, sizeof(rounded));
                sets[s]->narrow(in, 80, rows, k, narrow);
                kernel_plain.narrow(in, 80, rows, k, rounded);
                panel_work w = {.in16 = narrow,
                                .in_pitch = 80,
                                .rows = rows,
                                .panel16 = panel,
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
                sets[s]->panel_bf16(&w);
                w.in16 = rounded;
                w.out = expected;
                kernel_plain.panel_bf16(&w);
                near(got, expected, 30 * PANEL, 3e-5f);
            }
        }
    }
}

static void bf16_rounds_to_nearest_even(void **state)
{
    (void)state;
    assert_int_equal(bf16_of(1.0f), 0x3f80);
    assert_int_equal(bf16_of(1.00390625f), 0x3f80); /* half way: to the even one below */
    assert_int_equal(bf16_of(1.01171875f), 0x3f82); /* half way: to the even one above */
    assert_int_equal(bf16_of(1.00390637f), 0x3f81);
    assert_int_equal(bf16_of(-65504.0f), 0xc780);
    assert_int_equal(bf16_of(INFINITY), 0x7f80);
    assert_true(isnan(bf16_value(bf16_of(NAN))));
}

/* Bitwise: a row's sums are the same in a tile of any height. */
static void a_row_does_not_depend_on_its_tile(void **state)
{
    static float in[30 * 80], panel[80 * PANEL], alone[PANEL], together[30 * PANEL],
        narrow[30 * 80];
    static uint16_t panel16[80 * PANEL];
    (void)state;
    srandom(6);
    fill(in, 30 * 80);
    fill(panel, 80 * PANEL);
    for (size_t i = 0; i < IM_COUNT(panel16); i++) {
        panel16[i] = bf16_of(panel[i]);
    }
    for (size_t i = 0; i < 2 * IM_COUNT(sets) * 30; i++) {
        const kernel *set = sets[i / 60];
        bool bf16 = i / 30 % 2 == 1;
        size_t rows = i % 30 + 1;
        if (!kernel_runs(set)) {
            continue;
        }
        set->narrow(in, 80, 30, 79, narrow);
        panel_work w = {.in = in, .in_pitch = 80, .panel = panel, .k = 79, .columns = PANEL};
        w.in16 = narrow;
        w.panel16 = panel16;
        w.rows = rows;
        w.out = together;
        w.out_pitch = PANEL;
        (bf16 ? set->panel_bf16 : set->panel)(&w);
        w.in = in + (rows - 1) * 80;
        w.in16 = (const char *)narrow + (rows - 1) * 80 * set->narrow_bytes;
        w.rows = 1;
        w.out = alone;
        (bf16 ? set->panel_bf16 : set->panel)(&w);
        assert_memory_equal(alone, together + (rows - 1) * PANEL, sizeof(alone));
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
        cmocka_unit_test(bf16_panels_equal_the_plain_twin),
        cmocka_unit_test(bf16_rounds_to_nearest_even),
        cmocka_unit_test(a_row_does_not_depend_on_its_tile),
        cmocka_unit_test(heads_equal_the_plain_twin),
        cmocka_unit_test(norms_equal_the_plain_twin),
    };
    return cmocka_run_group_tests_name("encoder kernels", tests, NULL, NULL);
}
