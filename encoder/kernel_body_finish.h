/* encoder/kernel_body_finish.h — what becomes of a tile's sums: scales of int8, bias, activation,
 * residual, in one pass from the first cache to where the product goes. Included by kernel_body.h;
 * beside what that names the sets define
 *   VMIN/VMAX(a, b)  b where one of them is NaN */

typedef uint32_t bits_vector __attribute__((vector_size(LANES * 4)));
typedef int32_t ints_vector __attribute__((vector_size(LANES * 4)));

#define INLINE static inline __attribute__((always_inline))

INLINE float lanes_sum(VEC x)
{
    float lanes[LANES];
    float sum = 0;
    VSTORE(lanes, x);
    for (size_t l = 0; l < LANES; l++) {
        sum += lanes[l];
    }
    return sum;
}

INLINE float lanes_most(VEC x)
{
    float lanes[LANES];
    VSTORE(lanes, x);
    for (size_t l = 1; l < LANES; l++) {
        lanes[0] = lanes[l] > lanes[0] ? lanes[l] : lanes[0];
    }
    return lanes[0];
}

/* exp for x from -87 to 88, held at either end beyond: range reduction by ln 2 and a polynomial of
 * degree 6 (minimax on [-ln2/2, ln2/2], as in Cephes expf); relative error below 2e-7. */
INLINE VEC exp_fast(VEC x)
{
    x = VMIN(VSET1(88.0f), VMAX(VSET1(-87.0f), x));
    /* 1.5 x 2^23: the whole number is in the low bits; NaN gives any power, and p stays NaN */
    VEC rounded = VFMA(x, VSET1(1.44269504f), VSET1(12582912.0f));
    VEC n = rounded - VSET1(12582912.0f);
    VEC r = VFMA(n, VSET1(-0.693359375f), x);
    r = VFMA(n, VSET1(2.12194440e-4f), r);
    VEC p = VFMA(VSET1(1.9875691500e-4f), r, VSET1(1.3981999507e-3f));
    p = VFMA(p, r, VSET1(8.3334519073e-3f));
    p = VFMA(p, r, VSET1(4.1665795894e-2f));
    p = VFMA(p, r, VSET1(1.6666665459e-1f));
    p = VFMA(p, r, VSET1(5.0000001201e-1f));
    p = VFMA(p * r, r, r) + VSET1(1.0f);
    return p * (VEC)(((bits_vector)rounded - (0x4b400000u - 127u)) << 23);
}

/* erf to 1.5e-7 (Abramowitz and Stegun, 7.1.26). */
INLINE VEC erf_fast(VEC x)
{
    bits_vector sign = (bits_vector)x & 0x80000000u;
    VEC a = (VEC)((bits_vector)x ^ sign);
    VEC t = VSET1(1.0f) / VFMA(a, VSET1(0.3275911f), VSET1(1.0f));
    VEC p = VFMA(t, VSET1(1.061405429f), VSET1(-1.453152027f));
    p = VFMA(p, t, VSET1(1.421413741f));
    p = VFMA(p, t, VSET1(-0.284496736f));
    p = VFMA(p, t, VSET1(0.254829592f));
    VEC y = VSET1(1.0f) - p * t * exp_fast(VSET1(0.0f) - a * a);
    return (VEC)((bits_vector)y ^ sign);
}

INLINE VEC activated(VEC x, kernel_activation activation)
{
    switch (activation) {
    case ACTIVATION_NONE:
        break;
    case ACTIVATION_GELU:
        return VSET1(0.5f) * x * (VSET1(1.0f) + erf_fast(x * VSET1(0.70710678f)));
    case ACTIVATION_QUICK_GELU:
        return x / (VSET1(1.0f) + exp_fast(x * VSET1(-1.702f)));
    case ACTIVATION_GELU_TANH: { /* tanh(u) = 1 - 2 / (exp(2u) + 1) */
        VEC u = VSET1(0.79788456f) * VFMA(VSET1(0.044715f) * x * x, x, x);
        VEC e = exp_fast(u + u);
        return VSET1(0.5f) * x * (VSET1(2.0f) - VSET1(2.0f) / (e + VSET1(1.0f)));
    }
    }
    return x;
}

/* The sums of a tile over a whole panel, [rows, PANEL]: float32, or whole numbers of int8 codes
 * with the scales and zero points of the rows, and the scales and sums of codes of the outputs. */
typedef struct tile_sums {
    const void *sums;
    const row_scale *rows; /* NULL: float32 */
    const float *scales;   /* [PANEL] */
    const int32_t *code_sums;
} tile_sums;

/* LANES whole numbers without the zero point, with their scales. */
INLINE VEC scaled(const int32_t *sums, const int32_t *code_sums, row_scale row, const float *scales)
{
    ints_vector sum;
    ints_vector codes;
    memcpy(&sum, sums, sizeof(sum));
    memcpy(&codes, code_sums, sizeof(codes));
    sum -= codes * row.zero;
    return __builtin_convertvector(sum, VEC) * (VSET1(row.scale) * VLOAD(scales));
}

INLINE void finish_as(const panel_work *w, size_t row, size_t n, const tile_sums *s, bool whole,
                      kernel_activation activation)
{
    static const float none[PANEL];
    const tile_sums all = *s; /* here no store can be thought to change them */
    const float *bias = w->bias != NULL ? w->bias : none;
    float *out = w->out + row * w->out_pitch;
    size_t out_pitch = w->out_pitch;
    const float *residual = w->residual != NULL ? w->residual + row * w->residual_pitch : NULL;
    size_t residual_pitch = w->residual != NULL ? w->residual_pitch : 0;
    for (size_t r = 0; r < n; r++, out += out_pitch) {
        for (size_t c = 0; c < PANEL; c += LANES) {
            size_t at = r * PANEL + c;
            VEC x;
            if (whole) {
                x = scaled((const int32_t *)all.sums + at, all.code_sums + c, all.rows[r],
                           all.scales + c);
            } else {
                x = VLOAD((const float *)all.sums + at);
            }
            x = activated(x + VLOAD(bias + c), activation);
            if (residual != NULL) {
                x = x + VLOAD(residual + r * residual_pitch + c);
            }
            VSTORE(out + c, x);
        }
    }
}

INLINE void finish_any(const panel_work *w, size_t row, size_t n, const tile_sums *s, bool whole)
{
    switch (w->activation) {
#define CASE(activation)                            \
    case activation:                                \
        finish_as(w, row, n, s, whole, activation); \
        break;
        CASE(ACTIVATION_NONE)
        CASE(ACTIVATION_GELU)
        CASE(ACTIVATION_QUICK_GELU)
        CASE(ACTIVATION_GELU_TANH)
#undef CASE
    }
}

static void finish_tile(const panel_work *w, size_t row, size_t n, const tile_sums *s)
{
    if (s->rows != NULL) {
        finish_any(w, row, n, s, true);
    } else {
        finish_any(w, row, n, s, false);
    }
}

/* Without a residual to out [n, PANEL], also where fewer columns are real. */
static void finish_aside(const panel_work *w, size_t n, const tile_sums *s, float *out)
{
    float bias[PANEL] = {0};
    panel_work aside = *w;
    aside.residual = NULL;
    aside.out = out;
    aside.out_pitch = PANEL;
    if (w->columns < PANEL && w->bias != NULL) {
        memcpy(bias, w->bias, w->columns * sizeof(float));
        aside.bias = bias;
    }
    finish_tile(&aside, 0, n, s);
}

/* Of the last panel, where fewer columns are real: aside, then copied. */
static void finish_part(const panel_work *w, size_t row, size_t n, const tile_sums *s)
{
    _Alignas(64) float out[MR * PANEL];
    finish_aside(w, n, s, out);
    for (size_t r = 0; r < n; r++) {
        float *to = w->out + (row + r) * w->out_pitch;
        for (size_t c = 0; w->residual != NULL && c < w->columns; c++) {
            out[r * PANEL + c] += w->residual[(row + r) * w->residual_pitch + c];
        }
        memcpy(to, out + r * PANEL, w->columns * sizeof(float));
    }
}

static void finish(const panel_work *w, size_t row, size_t n, const tile_sums *s)
{
    if (w->columns == PANEL) {
        finish_tile(w, row, n, s);
    } else {
        finish_part(w, row, n, s);
    }
}
