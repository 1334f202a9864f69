/* tests/encoder/test_kernels.c — every kernel set that this machine runs against the plain twin. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "encoder/encoder_internal.h"

#include <math.h>
#include <stdlib.h>

static const kernel *const sets[] = {&kernel_avx512_bf16, &kernel_avx512_vnni, &kernel_avx512,
                                     &kernel_avx2, &kernel_portable};

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
    float laid[MOST_ROWS * PITCH], plain_laid[MOST_ROWS * PITCH];
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
    return (panel_work){.in = values.laid,
                        .rows = rows,
                        .panel = values.panel,
                        .k = k,
                        .columns = 1 + (rows * 7 + k) % PANEL,
                        .bias = values.bias,
                        .activation = (kernel_activation)((rows + k) % 4),
                        .residual = rows % 2 == 0 ? values.residual : NULL,
                        .residual_pitch = PANEL,
                        .out = values.got,
                        .out_pitch = PANEL};
}

/* The first rows of the inputs as a set reads them; nothing is written behind them. */
static void lay(void (*how)(const lay_work *w), const float *in, size_t rows, size_t k, void *out,
                row_scale *scales)
{
    lay_work w = {.in = in, .in_pitch = PITCH, .rows = rows, .k = k, .out = out, .scales = scales};
    memset(out, 0x7f, MOST_ROWS * PITCH * sizeof(float));
    how(&w);
}

static void nothing_behind(const void *laid, size_t units)
{
    for (size_t i = units; i < (size_t)MOST_ROWS * PITCH; i++) {
        uint32_t unit;
        memcpy(&unit, (const char *)laid + i * sizeof(unit), sizeof(unit));
        assert_int_equal(unit, 0x7f7f7f7f);
    }
}

static void compare_panel(const kernel *set, size_t rows, size_t k)
{
    panel_work w = product_of(rows, k);
    lay(set->lay, values.in, rows, k, values.laid, NULL);
    nothing_behind(values.laid, rows * kernel_units(k, 1, false));
    w.ahead = k % 2 == 0 ? values.in : NULL; /* changes nothing */
    set->panel(&w);
    lay(kernel_plain.lay, values.in, rows, k, values.plain_laid, NULL);
    w.in = values.plain_laid;
    w.out = values.expected;
    kernel_plain.panel(&w);
    near(values.got, values.expected, IM_COUNT(values.got), 3e-5f);
}

static void compare_panel_bf16(const kernel *set, size_t rows, size_t k)
{
    panel_work w = product_of(rows, k);
    w.panel = values.panel16;
    lay(set->lay_bf16, values.in, rows, k, values.laid, NULL);
    nothing_behind(values.laid, rows * kernel_units(k, set->bf16_group, true));
    set->panel_bf16(&w);
    lay(kernel_plain.lay_bf16, values.in, rows, k, values.plain_laid, NULL);
    w.in = values.plain_laid;
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

/* ---- int8 ---- */

#define PANEL8_BYTES ((PITCH + 3) / 4 * 4 * PANEL + PANEL * 8)

static struct {
    _Alignas(64) int8_t panel[PANEL8_BYTES];
    row_scale scales[MOST_ROWS];
    float codes[MOST_ROWS * PITCH]; /* at most 4 bytes each */
} got8, plain8;

/* The first k values of 32 random columns, rounded by a set. */
static void pack8(const kernel *set, size_t k, int8_t *panel)
{
    float row[PITCH];
    for (size_t c = 0; c < PANEL; c++) {
        for (size_t i = 0; i < k; i++) {
            row[i] = values.panel[i * PANEL + c];
        }
        kernel_pack_row8(set, panel, c, row, k);
    }
}

/* Code i of row r of a chunk as it was laid. */
static long code_at(const kernel *set, const void *laid, size_t rows, size_t k, size_t r, size_t i)
{
    size_t row = 0;
    size_t n = kernel_tile_rows(set->tile_rows, rows);
    while (r >= row + n) {
        row += n;
        n = kernel_tile_rows(set->tile_rows, rows - row);
    }
    size_t unit = row * kernel_units(k, set->int8_group, false) + i / set->int8_group * n + r - row;
    size_t at = unit * set->int8_group + i % set->int8_group;
    return set->int8_group == 4 ? ((const uint8_t *)laid)[at] : ((const int16_t *)laid)[at];
}

/* Inputs to codes: the same in every set, also those of the zeros behind k. */
static void quantise_both(const kernel *set, size_t rows, size_t k)
{
    size_t end = (k + set->int8_group - 1) / set->int8_group * set->int8_group;
    lay(set->lay_int8, values.in, rows, k, got8.codes, got8.scales);
    nothing_behind(got8.codes, rows * kernel_units(k, set->int8_group, false));
    lay(kernel_plain.lay_int8, values.in, rows, k, plain8.codes, plain8.scales);
    assert_memory_equal(got8.scales, plain8.scales, rows * sizeof(row_scale));
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < end; i++) {
            long code = code_at(set, got8.codes, rows, k, r, i);
            long expected = code_at(&kernel_plain, plain8.codes, rows, k, r, i);
            if (code != expected) {
                fail_msg("%s, %zu x %zu: code %zu of row %zu is %ld, expected %ld", set->name, rows,
                         k, i, r, code, expected);
            }
        }
    }
}

static void compare_panel_int8(const kernel *set, size_t rows, size_t k)
{
    panel_work w = product_of(rows, k);
    quantise_both(set, rows, k);
    pack8(set, k, got8.panel);
    pack8(&kernel_plain, k, plain8.panel);
    w.in = got8.codes;
    w.scales = got8.scales;
    w.panel = got8.panel;
    set->panel_int8(&w);
    w.in = plain8.codes;
    w.panel = plain8.panel;
    w.out = values.expected;
    kernel_plain.panel_int8(&w);
    near(values.got, values.expected, IM_COUNT(values.got), 3e-5f);
}

static void int8_panels_equal_the_plain_twin(void **state)
{
    (void)state;
    srandom(8);
    compare_sizes(compare_panel_int8);
}

#define DEEP 3076u /* of the widest layers, not a multiple of a vector */

/* Bitwise: with scales of 1 what comes out are the whole numbers themselves. Codes at both ends,
 * where sums of pairs would leave 16 bits, and sums that need all of 32. */
static void whole_numbers_are_the_same_in_every_set(void **state)
{
    static float in[3 * DEEP], codes[3 * DEEP], row[DEEP];
    static float got[3 * PANEL], expected[3 * PANEL];
    (void)state;
    srandom(9);
    for (size_t s = 0; s < IM_COUNT(sets) + 1; s++) {
        const kernel *set = s == 0 ? &kernel_plain : sets[s - 1];
        row_scale scales[3];
        size_t bytes = kernel_panel8_bytes(set, DEEP);
        int8_t *panel = im_alloc_aligned(bytes, 1);
        assert_non_null(panel);
        if (!kernel_runs(set)) {
            im_free(panel);
            continue;
        }
        for (size_t c = 0; c < PANEL; c++) { /* the last column is all greatest codes */
            for (size_t i = 0; i < DEEP; i++) {
                long code = c + 1 == PANEL ? 127 : (long)((i * 31 + c * 17) % 255) - 127;
                row[i] = (float)code;
            }
            kernel_pack_row8(set, panel, c, row, DEEP);
            ((float *)(void *)(panel + kernel_panel8_codes(set, DEEP)))[c] = 1;
        }
        for (size_t i = 0; i < 3 * (size_t)DEEP; i++) { /* row 0: all 255; row 1: all -255 */
            in[i] = i < DEEP ? 255 : i < 2 * DEEP ? -255 : (float)((i * 53) % 256) - 100;
        }
        lay_work laid = {in, DEEP, 3, DEEP, codes, scales};
        set->lay_int8(&laid);
        for (size_t r = 0; r < 3; r++) {
            assert_true(scales[r].scale == 1);
        }
        panel_work w = {.in = codes, .rows = 3, .scales = scales, .k = DEEP};
        w.panel = panel;
        w.columns = PANEL;
        w.out = s == 0 ? expected : got;
        w.out_pitch = PANEL;
        set->panel_int8(&w);
        if (s > 0) {
            assert_memory_equal(got, expected, sizeof(got));
        }
        im_free(panel);
    }
    assert_true(expected[PANEL - 1] == 255.0f * 127 * DEEP);
    assert_true(expected[2 * PANEL - 1] == -255.0f * 127 * DEEP);
}

/* Rows and weights that cannot be rounded give NaN, which the encoder refuses; zeros give zeros. */
static void int8_hides_no_value_that_is_not_finite(void **state)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    (void)state;
    for (size_t s = 0; s < IM_COUNT(sets) * 2 * IM_COUNT(bad); s++) {
        const kernel *set = sets[s / 2 / IM_COUNT(bad)];
        size_t k = 1 + (s * 29) % (PITCH - 1);
        if (!kernel_runs(set)) {
            continue;
        }
        panel_work w = product_of(3, k);
        bool weight = s % 2 == 1;
        memset(values.in + 2 * PITCH, 0, k * sizeof(float));
        size_t at = s % 3 == 0 ? 0 : s % 3 == 1 ? k / 2 : k - 1;
        *(weight ? &values.panel[at * PANEL + 2] : &values.in[PITCH + at]) =
            bad[s / 2 % IM_COUNT(bad)];
        pack8(set, k, got8.panel);
        lay(set->lay_int8, values.in, 3, k, got8.codes, got8.scales);
        w.in = got8.codes;
        w.scales = got8.scales;
        w.panel = got8.panel;
        w.columns = PANEL;
        w.bias = NULL;
        w.residual = NULL;
        w.activation = ACTIVATION_NONE;
        set->panel_int8(&w);
        for (size_t i = 0; i < 3 * (size_t)PANEL; i++) {
            bool spoilt = weight ? i % PANEL == 2 : i / PANEL == 1;
            assert_true((bool)isnan(values.got[i]) == spoilt);
            assert_true(spoilt || i < 2 * (size_t)PANEL || values.got[i] == 0);
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

/* Rows from `first` on, laid and multiplied by themselves. */
static void run_rows(const kernel *set, im_precision precision, size_t first, size_t rows,
                     float *out)
{
    bool bf16 = precision == IM_PRECISION_BF16;
    bool int8 = precision == IM_PRECISION_INT8;
    panel_work w = {.in = values.laid,
                    .scales = got8.scales,
                    .rows = rows,
                    .panel = bf16   ? (const void *)values.panel16
                             : int8 ? (const void *)got8.panel
                                    : (const void *)values.panel,
                    .k = PITCH - 1,
                    .columns = PANEL,
                    .out = out,
                    .out_pitch = PANEL};
    lay(bf16   ? set->lay_bf16
        : int8 ? set->lay_int8
               : set->lay,
        values.in + first * PITCH, rows, PITCH - 1, values.laid, got8.scales);
    (bf16 ? set->panel_bf16 : int8 ? set->panel_int8 : set->panel)(&w);
}

/* Bitwise: a row's sums are the same in a tile of any height. */
static void a_row_does_not_depend_on_its_tile(void **state)
{
    static const im_precision precisions[] = {IM_PRECISION_FP32, IM_PRECISION_BF16,
                                              IM_PRECISION_INT8};
    static float alone[PANEL], together[MOST_ROWS * PANEL];
    (void)state;
    srandom(6);
    (void)product_of(MOST_ROWS, PITCH - 1);
    for (size_t s = 0; s < IM_COUNT(sets); s++) {
        if (!kernel_runs(sets[s])) {
            continue;
        }
        pack8(sets[s], PITCH - 1, got8.panel);
        for (size_t i = 0; i < IM_COUNT(precisions) * MOST_ROWS; i++) {
            size_t rows = i % MOST_ROWS + 1;
            run_rows(sets[s], precisions[i / MOST_ROWS], 0, rows, together);
            run_rows(sets[s], precisions[i / MOST_ROWS], rows - 1, 1, alone);
            assert_memory_equal(alone, together + (rows - 1) * PANEL, sizeof(alone));
        }
    }
}

/* Bitwise: what one product lays for the next is what `lay` makes of its results; two panels, the
 * second one with fewer columns. */
static void compare_laid(const kernel *set, bool bf16, size_t rows, size_t k)
{
    static float out[MOST_ROWS * PITCH], expected[MOST_ROWS * PITCH], got[MOST_ROWS * PITCH];
    panel_work w = product_of(rows, k);
    size_t width = PANEL + w.columns;
    size_t last = w.columns;
    void (*how)(const lay_work *) = bf16 ? set->lay_bf16 : set->lay;
    lay(how, values.in, rows, k, values.laid, NULL);
    w.panel = bf16 ? (const void *)values.panel16 : (const void *)values.panel;
    w.residual = NULL;
    w.out_pitch = PITCH;
    w.laid_units = kernel_units(width, bf16 ? set->bf16_group : 1, bf16);
    memset(got, 0x7f, sizeof(got));
    for (w.column = 0; w.column < width; w.column += PANEL) {
        w.columns = w.column == 0 ? PANEL : last;
        w.out = out + w.column;
        w.laid = NULL;
        (bf16 ? set->panel_bf16 : set->panel)(&w);
        w.out = NULL;
        w.laid = got;
        (bf16 ? set->panel_bf16 : set->panel)(&w);
    }
    lay(how, out, rows, width, expected, NULL);
    assert_memory_equal(got, expected, rows * w.laid_units * sizeof(float));
    nothing_behind(got, rows * w.laid_units);
}

static void one_product_lays_for_the_next(void **state)
{
    (void)state;
    srandom(12);
    for (size_t s = 0; s < IM_COUNT(sets); s++) {
        for (size_t rows = 1; kernel_runs(sets[s]) && rows <= MOST_ROWS; rows++) {
            compare_laid(sets[s], false, rows, 1 + rows * 29 % PITCH);
            compare_laid(sets[s], true, rows, 1 + rows * 31 % PITCH);
        }
    }
}

/* ---- attention ---- */

#define HEAD_PITCH 96u
#define HEAD_LENGTH 70u

static struct {
    float qkv[HEAD_LENGTH * 3 * HEAD_PITCH], got[HEAD_LENGTH * HEAD_PITCH];
    float expected[HEAD_LENGTH * HEAD_PITCH], scratch[65536];
} heads;

static head_work head_of(size_t length, size_t d, bool causal, bool bf16)
{
    fill(heads.qkv, IM_COUNT(heads.qkv));
    memset(heads.got, 0, sizeof(heads.got));
    memset(heads.expected, 0, sizeof(heads.expected));
    memset(heads.scratch, 0x7f, sizeof(heads.scratch)); /* what was there does not count */
    assert_true(kernel_head_floats(length, d) <= IM_COUNT(heads.scratch));
    return (head_work){.q = heads.qkv,
                       .k = heads.qkv + HEAD_PITCH,
                       .v = heads.qkv + 2 * (size_t)HEAD_PITCH,
                       .pitch = 3 * (size_t)HEAD_PITCH,
                       .length = length,
                       .d = d,
                       .causal = causal,
                       .bf16 = bf16,
                       .only = SIZE_MAX,
                       .out = heads.got,
                       .out_pitch = HEAD_PITCH,
                       .scratch = heads.scratch};
}

/* bf16: exponentials differ in their last bits, and are then rounded to another neighbour. */
static void compare_head(const kernel *set, size_t length, size_t d, bool bf16)
{
    float tolerance = bf16 ? 4e-3f : 1e-5f;
    head_work w = head_of(length, d, length % 2 == 0, bf16);
    set->head(&w);
    w.out = heads.expected;
    kernel_plain.head(&w);
    near(heads.got, heads.expected, IM_COUNT(heads.got), tolerance);
    for (size_t only = 0; only < length; only += 1 + length / 3) { /* bitwise: one row alone */
        float row[HEAD_PITCH];
        w.only = only;
        w.out = row;
        set->head(&w);
        assert_memory_equal(row, heads.got + only * HEAD_PITCH, d * sizeof(float));
    }
}

static void heads_equal_the_plain_twin(void **state)
{
    (void)state;
    srandom(5);
    for (size_t s = 0; s < IM_COUNT(sets); s++) {
        for (size_t length = 1; kernel_runs(sets[s]) && length <= HEAD_LENGTH; length += 3) {
            for (size_t d = 1; d <= HEAD_PITCH; d += 19) {
                compare_head(sets[s], length, d, false);
                if (kernel_has_bf16(sets[s])) {
                    compare_head(sets[s], length, d, true);
                }
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
        cmocka_unit_test(int8_panels_equal_the_plain_twin),
        cmocka_unit_test(whole_numbers_are_the_same_in_every_set),
        cmocka_unit_test(int8_hides_no_value_that_is_not_finite),
        cmocka_unit_test(bf16_rounds_to_nearest_even),
        cmocka_unit_test(a_row_does_not_depend_on_its_tile),
        cmocka_unit_test(one_product_lays_for_the_next),
        cmocka_unit_test(heads_equal_the_plain_twin),
        cmocka_unit_test(norms_equal_the_plain_twin),
    };
    return cmocka_run_group_tests_name("encoder kernels", tests, NULL, NULL);
}
