/* encoder/kernel_body.h — one set of kernels; included by kernel_avx512.c, kernel_avx2.c,
 * kernel_portable.c and their like, with kernel_body_head.h (attention) and kernel_body_int8.h
 * behind it. They define:
 *   VEC            the vector type, LANES floats
 *   VFMA(a, b, c)  a * b + c       VSET1(x)  broadcast      VLOAD/VSTORE  unaligned
 *   MR             rows of a register tile; a tile is MR x (2 * LANES) columns
 * and for bf16 either VDOT(sum, pairs, a), where the processor has it, with a a broadcast pair, or
 *   VEVEN/VODD(p)  the first or second values of LANES pairs, as float32
 * Register budget: 2 MR accumulators + 2 columns + 1 broadcast (AVX-512: 31 of 32; AVX2: 15 of 16).
 * Rows are dealt evenly to tiles (50 = 13 + 13 + 12 + 12): a short last tile would wait for itself.
 * A panel is walked in PANEL / (2 LANES) tiles; each accumulator sums over K in ascending order.
 * While one panel is multiplied the next one is asked for: a product of few rows waits for memory.
 */
#include "base/base.h"
#include "encoder/kernel_internal.h"

#include <math.h>
#include <stdint.h>

#define TILE (2 * LANES)
/* Such loops are unrolled before the compiler looks for what can stay in registers: else the sums
 * of a tile go through memory at either end of it. */
#define UNROLLED _Pragma("GCC unroll 14")

#include "encoder/kernel_body_finish.h"
#include "encoder/kernel_body_lay.h"

/* ---- register tiles: n_rows <= MR is a constant at each call, so that the sums stay in registers.
 * Rows are read as they were laid, or as they are. ---- */

typedef struct tile_input {
    const uint32_t *units;
    size_t pitch;      /* where they are as they are: unit i of row r is at units[r * pitch + i] */
    const char *ahead; /* asked for, so many bytes further with each step over k */
    size_t ahead_step;
} tile_input;

/* Where unit 0 of a row is, and how far it is to the next one: constants where rows are laid. */
INLINE size_t unit_row(const tile_input *in, size_t r, bool laid)
{
    return laid ? r : r * in->pitch;
}

INLINE size_t unit_step(size_t n_rows, bool laid)
{
    return laid ? n_rows : 1;
}

INLINE float unit_float(const uint32_t *unit)
{
    float x;
    memcpy(&x, unit, sizeof(x));
    return x;
}

INLINE void ask_ahead(const tile_input *in, size_t step)
{
    __builtin_prefetch(in->ahead + step * in->ahead_step, 0, 2);
    if (TILE == PANEL) { /* one tile of the chunk may have two lines for each step */
        __builtin_prefetch(in->ahead + step * in->ahead_step + 64, 0, 2);
    }
}

INLINE void sums_clear(VEC sum[MR][2], size_t n_rows)
{
    UNROLLED
    for (size_t r = 0; r < n_rows; r++) {
        sum[r][0] = VSET1(0.0f);
        sum[r][1] = VSET1(0.0f);
    }
}

INLINE void sums_store(VEC sum[MR][2], size_t n_rows, float *out, size_t out_pitch)
{
    UNROLLED
    for (size_t r = 0; r < n_rows; r++) {
        VSTORE(out + r * out_pitch, sum[r][0]);
        VSTORE(out + r * out_pitch + LANES, sum[r][1]);
    }
}

/* Adds one input of each row times its two vectors of weights. */
INLINE void sums_add(VEC sum[MR][2], size_t n_rows, const tile_input *in, const uint32_t *units,
                     bool laid, VEC left, VEC right)
{
    UNROLLED
    for (size_t r = 0; r < n_rows; r++) {
        VEC a = VSET1(unit_float(units + unit_row(in, r, laid)));
        sum[r][0] = VFMA(a, left, sum[r][0]);
        sum[r][1] = VFMA(a, right, sum[r][1]);
    }
}

INLINE void tile(const tile_input *in, bool laid, const float *panel, size_t k, size_t n_rows,
                 float *out, size_t out_pitch)
{
    VEC sum[MR][2];
    const uint32_t *units = in->units;
    sums_clear(sum, n_rows);
    for (size_t i = 0; i < k; i++, units += unit_step(n_rows, laid)) {
        const float *at = panel + i * PANEL;
        ask_ahead(in, i);
        sums_add(sum, n_rows, in, units, laid, VLOAD(at), VLOAD(at + LANES));
    }
    sums_store(sum, n_rows, out, out_pitch);
}

#if defined(VDOT)
INLINE void tile16(const tile_input *in, bool laid, const uint16_t *panel, size_t k, size_t n_rows,
                   float *out, size_t out_pitch)
{
    VEC sum[MR][2];
    const uint32_t *units = in->units;
    sums_clear(sum, n_rows);
    for (size_t i = 0; i < k; i += 2, units += unit_step(n_rows, laid)) {
        VPAIRS left = VLOAD_PAIRS(panel + i * PANEL);
        VPAIRS right = VLOAD_PAIRS(panel + i * PANEL + 2 * LANES);
        ask_ahead(in, i / 2);
        UNROLLED
        for (size_t r = 0; r < n_rows; r++) {
            VPAIRS a = VSET1_PAIR(units + unit_row(in, r, laid));
            sum[r][0] = VDOT(sum[r][0], left, a);
            sum[r][1] = VDOT(sum[r][1], right, a);
        }
    }
    sums_store(sum, n_rows, out, out_pitch);
}
#else
INLINE void tile16(const tile_input *in, bool laid, const uint16_t *panel, size_t k, size_t n_rows,
                   float *out, size_t out_pitch)
{
    VEC sum[MR][2];
    const uint32_t *units = in->units;
    sums_clear(sum, n_rows);
    for (size_t i = 0; i < k; i += 2, units += 2 * unit_step(n_rows, laid)) {
        const uint16_t *at = panel + i * PANEL;
        ask_ahead(in, i / 2);
        sums_add(sum, n_rows, in, units, laid, VEVEN(at), VEVEN(at + 2 * LANES));
        sums_add(sum, n_rows, in, units + unit_step(n_rows, laid), laid, VODD(at),
                 VODD(at + 2 * LANES));
    }
    sums_store(sum, n_rows, out, out_pitch);
}
#endif

#if MR > 6
#define EACH_HEIGHT(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#elif MR > 4
#define EACH_HEIGHT(X) X(1) X(2) X(3) X(4) X(5) X(6)
#else
#define EACH_HEIGHT(X) X(1) X(2) X(3) X(4)
#endif

INLINE void tile_rows(const tile_input *in, bool laid, const float *panel, size_t k, size_t n_rows,
                      float *out, size_t out_pitch)
{
    switch (n_rows) {
#define CASE(n)                                      \
    case n:                                          \
        tile(in, laid, panel, k, n, out, out_pitch); \
        break;
        EACH_HEIGHT(CASE)
#undef CASE
    default:
        break;
    }
}

INLINE void tile16_rows(const tile_input *in, bool laid, const uint16_t *panel, size_t k,
                        size_t n_rows, float *out, size_t out_pitch)
{
    switch (n_rows) {
#define CASE(n)                                        \
    case n:                                            \
        tile16(in, laid, panel, k, n, out, out_pitch); \
        break;
        EACH_HEIGHT(CASE)
#undef CASE
    default:
        break;
    }
}

/* ---- panels ---- */

/* What the epilogue of a tile reads and writes is asked for while the tile is multiplied; what is
 * laid goes to few lines. */
static void fetch_rows(const panel_work *w, size_t row, size_t n)
{
    for (size_t r = row; w->laid == NULL && r < row + n; r++) {
        for (size_t c = 0; c < w->columns; c += 16) {
            if (w->residual != NULL) {
                __builtin_prefetch(w->residual + r * w->residual_pitch + c, 0, 3);
            }
            __builtin_prefetch(w->out + r * w->out_pitch + c, 1, 3);
        }
    }
}

/* The tiles of a chunk share what is asked for ahead: as much as their panel, which has `line`
 * bytes for each step over k. */
static tile_input input_of(const panel_work *w, size_t line)
{
    size_t passes = (w->rows + MR - 1) / MR * (PANEL / TILE);
    tile_input in = {.units = w->in, .ahead = w->panel};
    if (w->ahead != NULL) {
        in.ahead = w->ahead;
        in.ahead_step = line / passes;
    }
    return in;
}

INLINE void panel_rows(const panel_work *w, bool bf16)
{
    _Alignas(64) float sums[MR * PANEL];
    const tile_sums all = {.sums = sums};
    size_t steps = bf16 ? (w->k + 1) / 2 : w->k;
    size_t units = bf16 ? steps * 2 / BF16_GROUP : steps;
    tile_input in = input_of(w, PANEL * sizeof(float));
    size_t n = 0;
    for (size_t row = 0; row < w->rows; row += n, in.units += n * units) {
        n = tile_of(w->rows - row);
        fetch_rows(w, row, n);
        for (size_t c = 0; c < PANEL; c += TILE, in.ahead += steps * in.ahead_step) {
            if (bf16) {
                tile16_rows(&in, true, (const uint16_t *)w->panel + 2 * c, w->k, n, sums + c,
                            PANEL);
            } else {
                tile_rows(&in, true, (const float *)w->panel + c, w->k, n, sums + c, PANEL);
            }
        }
        if (w->laid == NULL) {
            finish(w, row, n, &all);
            continue;
        }
        lay_kind kind = bf16 ? LAY_BF16 : LAY_FP32;
        size_t at = row * w->laid_units + w->column / lay_group(kind) * n;
        finish_aside(w, n, &all, sums);
        lay_rows(sums, PANEL, n, w->columns, kind, NULL, (uint32_t *)w->laid + at);
    }
}

static void fast_panel(const panel_work *w)
{
    panel_rows(w, false);
}

static void fast_panel_bf16(const panel_work *w)
{
    panel_rows(w, true);
}

/* ---- norms ---- */

/* Four vectors at a time, as in row_range; what is behind the last whole ones counts as 0. */
INLINE float row_sum(const float *x, size_t width, float mean, bool squares)
{
    VEC sum[4] = {VSET1(0.0f), VSET1(0.0f), VSET1(0.0f), VSET1(0.0f)};
    float last[4 * LANES];
    for (size_t i = 0; i < width; i += 4 * (size_t)LANES) {
        const float *at = x + i;
        if (width - i < 4 * (size_t)LANES) {
            for (size_t l = 0; l < 4 * (size_t)LANES; l++) {
                last[l] = i + l < width ? at[l] : mean;
            }
            at = last;
        }
        UNROLLED
        for (size_t v = 0; v < 4; v++) {
            VEC d = VLOAD(at + v * LANES) - VSET1(mean);
            if (squares) {
                sum[v] = VFMA(d, d, sum[v]);
            } else {
                sum[v] = sum[v] + d;
            }
        }
    }
    return lanes_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

static void norm_row(const float *x, size_t width, const float *weight, const float *bias,
                     float eps, float *out)
{
    float mean = row_sum(x, width, 0, false) / (float)width;
    float scale = 1.0f / sqrtf(row_sum(x, width, mean, true) / (float)width + eps);
    for (size_t i = 0; i < width; i++) {
        out[i] = (x[i] - mean) * scale * weight[i] + bias[i];
    }
}

static void fast_norm(const float *in, size_t in_pitch, size_t rows, size_t width,
                      const float *weight, const float *bias, float eps, float *out,
                      size_t out_pitch)
{
    for (size_t r = 0; r < rows; r++) {
        norm_row(in + r * in_pitch, width, weight, bias, eps, out + r * out_pitch);
    }
}
