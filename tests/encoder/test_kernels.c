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

#define MOST_ROWS 30u
#define PITCH 80u

/* Values of a product of any size up to these, and its two results. */
static struct {
    float in[MOST_ROWS * PITCH], panel[PITCH * PANEL], bias[PANEL], residual[MOST_ROWS * PANEL];
    float got[MOST_ROWS * PANEL], expected[MOST_ROWS * PANEL];
    float narrow[MOST_ROWS * PITCH], rounded[MOST_ROWS * PITCH];
    uint16_t panel16[PITCH * PANEL];
} values;

/* New values in a product whose columns, activation and residual depend on its size. */
static panel_work product_of(size_t rows, size_t k)
{
    fill(values.in, IM_COUNT(values.in));
    fill(values.panel, IM_COUNT(values.panel));
    fill(values.bias, IM_COUNT(values.bias));
    fill(values.residual, IM_COUNT(values.residual));
    for (size_t i = 0; i < IM_COUNT(values.panel16); i++) {
        values.panel16[i] = bf16_of(values.panel[i]);
    }
    memset(values.got, 0, sizeof(values.got));
    memset(values.expected, 0, sizeof(values.expected));
    return (panel_work){.in = values.in,
                        .in_pitch = PITCH,
                        .rows = rows,
                        .panel = values.panel,
                        .panel16 = values.panel16,
                        .k = k,
                        .columns = 1 + (rows * 7 + k) % PANEL,
                        .bias = values.bias,
                        .activation = (kernel_activation)((rows + k) % 4),
                        .residual = rows % 2 == 0 ? values.residual : NULL,
                        .residual_pitch = PANEL,
                        .out = values.got,
                        .out_pitch = PANEL};
}

static void compare_panel(const kernel *set, size_t rows, size_t k)
{
    panel_work w = product_of(rows, k);
    set->panel(&w);
    w.out = values.expected;
    kernel_plain.panel(&w);
    near(values.got, values.expected, IM_COUNT(values.got), 3e-5f);
}

static void compare_panel_bf16(const kernel *set, size_t rows, size_t k)
{
    panel_work w = product_of(rows, k);
    memset(values.narrow, 0x7f, sizeof(values.narrow));
    memset(values.rounded, 0x7f, sizeof(values.rounded));
    set->narrow(values.in, PITCH, rows, k, values.narrow);
    kernel_plain.narrow(values.in, PITCH, rows, k, values.rounded);
    w.in16 = values.narrow;
    set->panel_bf16(&w);
    w.in16 = values.rounded;
    w.out = values.expected;
    kernel_plain.panel_bf16(&w);
    near(values.got, values.expected, IM_COUNT(values.got), 3e-5f);
}

static void compare_sizes(void (*compare)(const kernel *set, size_t rows, size_t k))
{
    for (size_t s = 0; s < IM_COUNT(sets); s++) {
        for (size_t rows = 1; kernel_runs(sets[s]) && rows <= MOST_ROWS; rows++) {
            for (size_t k = 1; k < PITCH; k += 13) {
                compare(sets[s], rows, k);
            }
        }
    }
}

static void panels_equal_the_plain_twin(void **state)
{
    (void)state;
    srandom(3);
    compare_sizes(compare_panel);
}

/* Also with k odd, where the last pair has one value: what lies behind it must not count. */
static void bf16_panels_equal_the_plain_twin(void **state)
{
    (void)state;
    srandom(4);
    compare_sizes(compare_panel_bf16);
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
    static float qkv[40 * 96], got[40 * 32], expected[40 * 32], scratch[16384];
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
