/* encoder/kernel_body_int8.h — products of 8-bit whole numbers, behind kernel_body.h. The sets
 * define:
 *   code_value, INT8_GROUP  a code of an input; how many stand side by side in a panel
 *   VINT, VCODES            LANES sums of 32 bits; what is multiplied for them
 *   VI_ZERO()               no sums yet
 *   VI_STORE(p, v)          unaligned
 *   VI_CODES(p)             INT8_GROUP weights of LANES outputs
 *   VI_INPUT(p)             INT8_GROUP inputs, for every lane
 *   VI_DOT(sum, codes, in)  sum + their products
 *   VI_ROUND(v)             a VEC to the nearest whole numbers, ties to even
 * Sums are exact: |code x code| <= 255 x 127, and K <= INT8_MOST_K. */

INLINE void tile8(const code_value *in, size_t in_pitch, const int8_t *panel, size_t k,
                  size_t n_rows, int32_t *out)
{
    VINT sum[MR][2];
    for (size_t r = 0; r < n_rows; r++) {
        sum[r][0] = VI_ZERO();
        sum[r][1] = VI_ZERO();
    }
    for (size_t i = 0; i < k; i += INT8_GROUP) {
        VCODES left = VI_CODES(panel + i * PANEL);
        VCODES right = VI_CODES(panel + i * PANEL + LANES * INT8_GROUP);
        for (size_t r = 0; r < n_rows; r++) {
            VCODES a = VI_INPUT(in + r * in_pitch + i);
            sum[r][0] = VI_DOT(sum[r][0], left, a);
            sum[r][1] = VI_DOT(sum[r][1], right, a);
        }
    }
    for (size_t r = 0; r < n_rows; r++) {
        VI_STORE(out + r * PANEL, sum[r][0]);
        VI_STORE(out + r * PANEL + LANES, sum[r][1]);
    }
}

static void tile8_rows(const code_value *in, size_t in_pitch, const int8_t *panel, size_t k,
                       size_t n_rows, int32_t *out)
{
    switch (n_rows) {
#define CASE(n)                                \
    case n:                                    \
        tile8(in, in_pitch, panel, k, n, out); \
        break;
        EACH_HEIGHT(CASE)
#undef CASE
    default:
        break;
    }
}

/* Whole numbers to float32: without the zero point, with the scales of row and outputs. */
static void scale_row(const int32_t *sums, row_scale row, const float *scales,
                      const int32_t *code_sums, float *out)
{
    for (size_t c = 0; c < PANEL; c++) {
        out[c] = (float)(sums[c] - row.zero * code_sums[c]) * (row.scale * scales[c]);
    }
}

static void fast_panel_int8(const panel_work *w)
{
    _Alignas(64) int32_t sums[MR * PANEL];
    _Alignas(64) float scaled[PANEL];
    const code_value *in = w->in8;
    size_t k = (w->k + INT8_GROUP - 1) / INT8_GROUP * INT8_GROUP;
    const float *scales = (const float *)(const void *)(w->panel8 + k * PANEL);
    const int32_t *code_sums = (const int32_t *)(const void *)(scales + PANEL);
    size_t n = 0;
    for (size_t row = 0; row < w->rows; row += n) {
        n = tile_of(w->rows - row);
        fetch_rows(w, row, n);
        for (size_t c = 0; c < PANEL; c += TILE) {
            tile8_rows(in + row * w->in_pitch, w->in_pitch, w->panel8 + c * INT8_GROUP, k, n,
                       sums + c);
        }
        for (size_t r = 0; r < n; r++) {
            scale_row(sums + r * PANEL, w->scales[row + r], scales, code_sums, scaled);
            finish_row(w, row + r, scaled);
        }
    }
}

/* ---- inputs to codes ---- */

/* Least and greatest value, 0 included; false when one is not finite. */
static bool row_range(const float *x, size_t k, float *out_low, float *out_high)
{
    float low[16] = {0};
    float high[16] = {0};
    uint32_t size[16] = {0}; /* greatest magnitude, as bits */
    size_t i = 0;
    for (; i + 16 <= k; i += 16) {
        uint32_t bits[16];
        memcpy(bits, x + i, sizeof(bits));
        for (size_t l = 0; l < 16; l++) {
            uint32_t magnitude = bits[l] & 0x7fffffffu;
            size[l] = magnitude > size[l] ? magnitude : size[l];
            low[l] = x[i + l] < low[l] ? x[i + l] : low[l];
            high[l] = x[i + l] > high[l] ? x[i + l] : high[l];
        }
    }
    for (size_t l = 0; i + l < k; l++) {
        uint32_t bits;
        memcpy(&bits, x + i + l, sizeof(bits));
        size[l] = IM_MAX(size[l], bits & 0x7fffffffu);
        low[l] = x[i + l] < low[l] ? x[i + l] : low[l];
        high[l] = x[i + l] > high[l] ? x[i + l] : high[l];
    }
    for (size_t l = 1; l < 16; l++) {
        size[0] = IM_MAX(size[0], size[l]);
        low[0] = low[l] < low[0] ? low[l] : low[0];
        high[0] = high[l] > high[0] ? high[l] : high[0];
    }
    *out_low = low[0];
    *out_high = high[0];
    return size[0] < 0x7f800000u;
}

static inline void round_lanes(const float *x, float factor, int32_t *out)
{
    VI_STORE(out, VI_ROUND(VLOAD(x) * VSET1(factor)));
}

static int32_t round_one(float x, float factor)
{
    _Alignas(64) float lanes[LANES] = {x};
    _Alignas(64) int32_t rounded[LANES];
    round_lanes(lanes, factor, rounded);
    return rounded[0];
}

INLINE code_value code_of(int32_t rounded, int32_t zero)
{
    int32_t code = rounded + zero;
    code = code < 0 ? 0 : code;
    return (code_value)(code > 255 ? 255 : code);
}

static row_scale quantise_row(const float *x, size_t k, code_value *out)
{
    _Alignas(64) int32_t rounded[LANES];
    size_t padded = (k + INT8_GROUP - 1) / INT8_GROUP * INT8_GROUP;
    size_t i = 0;
    float low;
    float high;
    bool finite = row_range(x, k, &low, &high);
    float scale = high / 255.0f - low / 255.0f;
    if (!finite || scale < 1e-30f) { /* nothing, or nothing that could be multiplied */
        memset(out, 0, padded * sizeof(*out));
        return (row_scale){finite ? 0 : NAN, 0};
    }
    float inverse = 1.0f / scale;
    int32_t zero = -round_one(low, inverse);
    for (; i + LANES <= k; i += LANES) {
        round_lanes(x + i, inverse, rounded);
        for (size_t l = 0; l < LANES; l++) {
            out[i + l] = code_of(rounded[l], zero);
        }
    }
    for (; i < k; i++) {
        out[i] = code_of(round_one(x[i], inverse), zero);
    }
    for (; i < padded; i++) {
        out[i] = 0;
    }
    return (row_scale){scale, zero};
}

static void fast_quantise(const float *in, size_t pitch, size_t rows, size_t k, void *out,
                          row_scale *scales)
{
    for (size_t r = 0; r < rows; r++) {
        scales[r] = quantise_row(in + r * pitch, k, (code_value *)out + r * pitch);
    }
}

#define KERNEL_SET(set_name)                                                            \
    {                                                                                   \
        .name = (set_name), .panel = fast_panel, .panel_bf16 = fast_panel_bf16,         \
        .narrow = fast_narrow, .narrow_bytes = sizeof(narrow_value), .head = fast_head, \
        .norm = fast_norm, .panel_int8 = fast_panel_int8, .quantise = fast_quantise,    \
        .int8_bytes = sizeof(code_value), .int8_group = INT8_GROUP                      \
    }
