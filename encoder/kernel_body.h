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
 * A panel is walked in PANEL / (2 LANES) tiles; each accumulator sums over K in ascending order. */
#include "base/base.h"
#include "encoder/kernel_internal.h"

#include <math.h>
#include <stdint.h>

#define TILE (2 * LANES)

/* exp for x from -87 to 88, held at either end beyond: range reduction by ln 2 and a polynomial of
 * degree 6 (minimax on [-ln2/2, ln2/2], as in Cephes expf); relative error below 2e-7. Plain
 * arithmetic in loops that the compiler turns into vectors. */
static inline float exp_fast(float x)
{
    float clamped = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
    /* 1.5 x 2^23: the whole number is in the low bits; NaN gives any power, and p stays NaN */
    union {
        float f;
        uint32_t i;
    } rounded = {clamped * 1.44269504f + 12582912.0f};
    float n = rounded.f - 12582912.0f;
    float r = clamped - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    union {
        uint32_t i;
        float f;
    } power = {(rounded.i - 0x4b400000u + 127u) << 23};
    return p * power.f;
}

/* erf to 1.5e-7 (Abramowitz and Stegun, 7.1.26). */
static inline float erf_fast(float x)
{
    float a = x < 0 ? -x : x;
    float t = 1.0f / (1.0f + 0.3275911f * a);
    float p = 1.061405429f;
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    float y = 1.0f - p * t * exp_fast(-a * a);
    return x < 0 ? -y : y;
}

static void activate_row(float *x, size_t n, kernel_activation activation)
{
    switch (activation) {
    case ACTIVATION_NONE:
        break;
    case ACTIVATION_GELU:
        for (size_t i = 0; i < n; i++) {
            x[i] = 0.5f * x[i] * (1.0f + erf_fast(x[i] * 0.70710678f));
        }
        break;
    case ACTIVATION_QUICK_GELU:
        for (size_t i = 0; i < n; i++) {
            x[i] = x[i] / (1.0f + exp_fast(-1.702f * x[i]));
        }
        break;
    case ACTIVATION_GELU_TANH: /* tanh(u) = 1 - 2 / (exp(2u) + 1) */
        for (size_t i = 0; i < n; i++) {
            float u = 0.79788456f * (x[i] + 0.044715f * x[i] * x[i] * x[i]);
            x[i] = 0.5f * x[i] * (2.0f - 2.0f / (exp_fast(2.0f * u) + 1.0f));
        }
        break;
    }
}

/* ---- register tiles: n_rows <= MR is a constant at each call, so that the sums stay in registers.
 */

#define INLINE static inline __attribute__((always_inline))

INLINE void sums_clear(VEC sum[MR][2], size_t n_rows)
{
    for (size_t r = 0; r < n_rows; r++) {
        sum[r][0] = VSET1(0.0f);
        sum[r][1] = VSET1(0.0f);
    }
}

INLINE void sums_store(VEC sum[MR][2], size_t n_rows, float *out, size_t out_pitch)
{
    for (size_t r = 0; r < n_rows; r++) {
        VSTORE(out + r * out_pitch, sum[r][0]);
        VSTORE(out + r * out_pitch + LANES, sum[r][1]);
    }
}

/* Adds one input, in[r], of each row times its two vectors of weights. */
INLINE void sums_add(VEC sum[MR][2], size_t n_rows, const float *in, size_t in_pitch, VEC left,
                     VEC right)
{
    for (size_t r = 0; r < n_rows; r++) {
        VEC a = VSET1(in[r * in_pitch]);
        sum[r][0] = VFMA(a, left, sum[r][0]);
        sum[r][1] = VFMA(a, right, sum[r][1]);
    }
}

INLINE void tile(const float *in, size_t in_pitch, const float *panel, size_t k, size_t n_rows,
                 float *out, size_t out_pitch)
{
    VEC sum[MR][2];
    sums_clear(sum, n_rows);
    for (size_t i = 0; i < k; i++) {
        const float *at = panel + i * PANEL;
        sums_add(sum, n_rows, in + i, in_pitch, VLOAD(at), VLOAD(at + LANES));
    }
    sums_store(sum, n_rows, out, out_pitch);
}

#if defined(VDOT)
typedef uint16_t narrow_value;

INLINE narrow_value narrow_of(float x)
{
    return bf16_of(x);
}

INLINE void tile16(const narrow_value *in, size_t in_pitch, const uint16_t *panel, size_t k,
                   size_t n_rows, float *out, size_t out_pitch)
{
    VEC sum[MR][2];
    sums_clear(sum, n_rows);
    for (size_t i = 0; i < k; i += 2) {
        VPAIRS left = VLOAD_PAIRS(panel + i * PANEL);
        VPAIRS right = VLOAD_PAIRS(panel + i * PANEL + 2 * LANES);
        for (size_t r = 0; r < n_rows; r++) {
            VPAIRS a = VSET1_PAIR(in + r * in_pitch + i);
            sum[r][0] = VDOT(sum[r][0], left, a);
            sum[r][1] = VDOT(sum[r][1], right, a);
        }
    }
    sums_store(sum, n_rows, out, out_pitch);
}
#else
typedef float narrow_value;

INLINE narrow_value narrow_of(float x)
{
    return bf16_value(bf16_of(x));
}

INLINE void tile16(const narrow_value *in, size_t in_pitch, const uint16_t *panel, size_t k,
                   size_t n_rows, float *out, size_t out_pitch)
{
    VEC sum[MR][2];
    sums_clear(sum, n_rows);
    for (size_t i = 0; i < k; i += 2) {
        const uint16_t *at = panel + i * PANEL;
        sums_add(sum, n_rows, in + i, in_pitch, VEVEN(at), VEVEN(at + 2 * LANES));
        sums_add(sum, n_rows, in + i + 1, in_pitch, VODD(at), VODD(at + 2 * LANES));
    }
    sums_store(sum, n_rows, out, out_pitch);
}
#endif

static void fast_narrow(const float *in, size_t pitch, size_t rows, size_t k, void *out)
{
    for (size_t r = 0; r < rows; r++) {
        narrow_value *to = (narrow_value *)out + r * pitch;
        for (size_t i = 0; i < k; i++) {
            to[i] = narrow_of(in[r * pitch + i]);
        }
        if (k % 2 != 0) {
            to[k] = 0;
        }
    }
}

#if MR > 6
#define EACH_HEIGHT(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#elif MR > 4
#define EACH_HEIGHT(X) X(1) X(2) X(3) X(4) X(5) X(6)
#else
#define EACH_HEIGHT(X) X(1) X(2) X(3) X(4)
#endif

static void tile_rows(const float *in, size_t in_pitch, const float *panel, size_t k, size_t n_rows,
                      float *out, size_t out_pitch)
{
    switch (n_rows) {
#define CASE(n)                                          \
    case n:                                              \
        tile(in, in_pitch, panel, k, n, out, out_pitch); \
        break;
        EACH_HEIGHT(CASE)
#undef CASE
    default:
        break;
    }
}

static void tile16_rows(const narrow_value *in, size_t in_pitch, const uint16_t *panel, size_t k,
                        size_t n_rows, float *out, size_t out_pitch)
{
    switch (n_rows) {
#define CASE(n)                                            \
    case n:                                                \
        tile16(in, in_pitch, panel, k, n, out, out_pitch); \
        break;
        EACH_HEIGHT(CASE)
#undef CASE
    default:
        break;
    }
}

/* ---- panels ---- */

/* A whole panel's row: constant lengths, so that it stays in registers. */
INLINE void finish_whole(const panel_work *w, size_t row, float *sums)
{
    float *out = w->out + row * w->out_pitch;
    if (w->bias != NULL) {
        for (size_t c = 0; c < PANEL; c++) {
            sums[c] += w->bias[c];
        }
    }
    activate_row(sums, PANEL, w->activation);
    if (w->residual != NULL) {
        const float *residual = w->residual + row * w->residual_pitch;
        for (size_t c = 0; c < PANEL; c++) {
            sums[c] += residual[c];
        }
    }
    memcpy(out, sums, PANEL * sizeof(float));
}

static void finish_row(const panel_work *w, size_t row, float *sums)
{
    float *out = w->out + row * w->out_pitch;
    if (w->columns == PANEL) {
        finish_whole(w, row, sums);
        return;
    }
    for (size_t c = 0; w->bias != NULL && c < w->columns; c++) {
        sums[c] += w->bias[c];
    }
    activate_row(sums, PANEL, w->activation);
    for (size_t c = 0; w->residual != NULL && c < w->columns; c++) {
        sums[c] += w->residual[row * w->residual_pitch + c];
    }
    memcpy(out, sums, w->columns * sizeof(float));
}

/* What the epilogue of a tile reads and writes is asked for while the tile is multiplied. */
static void fetch_rows(const panel_work *w, size_t row, size_t n)
{
    for (size_t r = row; r < row + n; r++) {
        for (size_t c = 0; c < w->columns; c += 16) {
            if (w->residual != NULL) {
                __builtin_prefetch(w->residual + r * w->residual_pitch + c, 0, 3);
            }
            __builtin_prefetch(w->out + r * w->out_pitch + c, 1, 3);
        }
    }
}

/* Rows of the next tile, so that the rest is dealt evenly. */
static size_t tile_of(size_t rows)
{
    size_t tiles = (rows + MR - 1) / MR;
    return (rows + tiles - 1) / tiles;
}

INLINE void panel_rows(const panel_work *w, bool bf16)
{
    _Alignas(64) float sums[MR * PANEL];
    const narrow_value *in16 = w->in16;
    size_t n = 0;
    for (size_t row = 0; row < w->rows; row += n) {
        size_t from = row * w->in_pitch;
        n = tile_of(w->rows - row);
        fetch_rows(w, row, n);
        for (size_t c = 0; c < PANEL; c += TILE) {
            if (bf16) {
                tile16_rows(in16 + from, w->in_pitch, w->panel16 + 2 * c, w->k, n, sums + c, PANEL);
            } else {
                tile_rows(w->in + from, w->in_pitch, w->panel + c, w->k, n, sums + c, PANEL);
            }
        }
        for (size_t r = 0; r < n; r++) {
            finish_row(w, row + r, sums + r * PANEL);
        }
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

static float lane_sum(const float *lanes)
{
    float sum = 0;
    for (size_t l = 0; l < 16; l++) {
        sum += lanes[l];
    }
    return sum;
}

static void norm_row(const float *x, size_t width, const float *weight, const float *bias,
                     float eps, float *out)
{
    float lanes[16] = {0};
    float squares[16] = {0};
    size_t whole = width / 16 * 16;
    for (size_t i = 0; i < whole; i += 16) {
        for (size_t l = 0; l < 16; l++) {
            lanes[l] += x[i + l];
        }
    }
    for (size_t i = whole; i < width; i++) {
        lanes[i - whole] += x[i];
    }
    float mean = lane_sum(lanes) / (float)width;
    for (size_t i = 0; i < whole; i += 16) {
        for (size_t l = 0; l < 16; l++) {
            float d = x[i + l] - mean;
            squares[l] += d * d;
        }
    }
    for (size_t i = whole; i < width; i++) {
        squares[i - whole] += (x[i] - mean) * (x[i] - mean);
    }
    float scale = 1.0f / sqrtf(lane_sum(squares) / (float)width + eps);
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
