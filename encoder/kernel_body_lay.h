/* encoder/kernel_body_lay.h — the rows of a product laid out as its tiles read them: unit by unit,
 * in each unit the rows of the tile side by side, so that a tile reads one stream instead of
 * fourteen. On the way they are rounded, for bf16 and int8. Included by kernel_body.h; beside what
 * that names the sets define
 *   BF16_GROUP        values of a unit in bf16: 2 with VDOT, else 1, kept as float32
 *   VNARROW(p, out)   with VDOT: BLOCK pairs rounded
 *   code_value        a code of an input
 *   INT8_GROUP        how many of them are a unit
 *   VI_ROUND(v)       a VEC to the nearest whole numbers, ties to even
 *   VI_STORE(p, v)    LANES whole numbers, unaligned
 *   VTURN(…)          optional: turn() in registers, n <= 16 */

#define BLOCK 16u /* units of a row at a time: a line of the cache */

typedef enum lay_kind { LAY_FP32, LAY_BF16, LAY_INT8 } lay_kind;

static size_t tile_of(size_t rows)
{
    return kernel_tile_rows(MR, rows);
}

/* n rows of a block side by side: out[unit * step + row]. */
INLINE void turn(uint32_t block[16][BLOCK], size_t units, size_t n, uint32_t *out, size_t step)
{
#if defined(VTURN)
    VTURN(block, units, n, out, step);
#else
    for (size_t u = 0; u < units; u++) {
        for (size_t r = 0; r < n; r++) {
            out[u * step + r] = block[r][u];
        }
    }
#endif
}

/* ---- units of a row ---- */

INLINE void fill_bf16(const float *x, uint32_t *units)
{
#if defined(VNARROW)
    VNARROW(x, units);
#else
    float to[BLOCK];
    for (size_t i = 0; i < BLOCK; i++) {
        to[i] = bf16_value(bf16_of(x[i]));
    }
    memcpy(units, to, sizeof(to));
#endif
}

INLINE void round_lanes(const float *x, float factor, int32_t *out)
{
    VI_STORE(out, VI_ROUND(VLOAD(x) * VSET1(factor)));
}

INLINE void fill_int8(const float *x, float inverse, int32_t zero, uint32_t *units)
{
    int32_t rounded[BLOCK * INT8_GROUP];
    code_value codes[BLOCK * INT8_GROUP];
    for (size_t i = 0; i < BLOCK * INT8_GROUP; i += LANES) {
        round_lanes(x + i, inverse, rounded + i);
    }
    for (size_t i = 0; i < BLOCK * INT8_GROUP; i++) {
        int32_t code = rounded[i] + zero;
        code = code < 0 ? 0 : code;
        codes[i] = (code_value)(code > 255 ? 255 : code);
    }
    memcpy(units, codes, sizeof(codes));
}

/* ---- scales of int8 ---- */

/* Least and greatest value, 0 included; false when one is not finite. Four vectors at a time: none
 * waits for the one before. */
static bool row_range(const float *x, size_t k, float *out_low, float *out_high)
{
    VEC low[4] = {VSET1(0.0f), VSET1(0.0f), VSET1(0.0f), VSET1(0.0f)};
    VEC high[4] = {VSET1(0.0f), VSET1(0.0f), VSET1(0.0f), VSET1(0.0f)};
    VEC finite[4] = {VSET1(0.0f), VSET1(0.0f), VSET1(0.0f), VSET1(0.0f)}; /* sums of 0 x value */
    float last[4 * LANES] = {0};
    for (size_t i = 0; i < k; i += 4 * (size_t)LANES) {
        const float *at = x + i;
        if (k - i < 4 * (size_t)LANES) {
            memcpy(last, at, (k - i) * sizeof(float));
            at = last;
        }
        UNROLLED
        for (size_t v = 0; v < 4; v++) {
            VEC values = VLOAD(at + v * LANES);
            low[v] = VMIN(low[v], values);
            high[v] = VMAX(high[v], values);
            finite[v] = VFMA(values, VSET1(0.0f), finite[v]);
        }
    }
    VEC none = VSET1(0.0f);
    *out_high = lanes_most(VMAX(VMAX(high[0], high[1]), VMAX(high[2], high[3])));
    *out_low = -lanes_most(none - VMIN(VMIN(low[0], low[1]), VMIN(low[2], low[3])));
    return lanes_sum((finite[0] + finite[1]) + (finite[2] + finite[3])) == 0.0f;
}

static int32_t round_one(float x, float factor)
{
    float lanes[LANES] = {x};
    int32_t rounded[LANES];
    round_lanes(lanes, factor, rounded);
    return rounded[0];
}

/* How a row is rounded; *out_inverse is 0, and all its codes too, when it holds nothing, or nothing
 * that could be multiplied. */
static row_scale scale_of(const float *x, size_t k, float *out_inverse)
{
    float low;
    float high;
    bool finite = row_range(x, k, &low, &high);
    float scale = high / 255.0f - low / 255.0f;
    *out_inverse = 0;
    if (!finite || scale < 1e-30f) {
        return (row_scale){finite ? 0 : NAN, 0};
    }
    *out_inverse = 1.0f / scale;
    return (row_scale){scale, -round_one(low, *out_inverse)};
}

/* ---- a tile ---- */

INLINE size_t lay_group(lay_kind kind)
{
    return kind == LAY_FP32 ? 1 : kind == LAY_BF16 ? BF16_GROUP : INT8_GROUP;
}

INLINE size_t lay_units(lay_kind kind, size_t k)
{
    return kernel_units(k, lay_group(kind), kind == LAY_BF16);
}

/* `values` <= BLOCK x group of a row; behind them zeros are laid. */
INLINE void fill_units(lay_kind kind, const float *x, size_t values, row_scale scale, float inverse,
                       uint32_t *units)
{
    float padded[BLOCK * 4];
    if (values < BLOCK * lay_group(kind)) {
        memset(padded, 0, sizeof(padded));
        memcpy(padded, x, values * sizeof(float));
        x = padded;
    }
    if (kind == LAY_BF16) {
        fill_bf16(x, units);
    } else if (kind == LAY_INT8) {
        fill_int8(x, inverse, scale.zero, units);
    } else {
        memcpy(units, x, BLOCK * sizeof(float));
    }
}

INLINE void lay_rows(const float *in, size_t pitch, size_t n, size_t k, lay_kind kind,
                     row_scale *scales, uint32_t *out)
{
    _Alignas(64) uint32_t block[16][BLOCK] = {{0}};
    float inverse[MR] = {0};
    size_t group = lay_group(kind);
    size_t units = lay_units(kind, k);
    for (size_t r = 0; kind == LAY_INT8 && r < n; r++) {
        scales[r] = scale_of(in + r * pitch, k, &inverse[r]);
    }
    for (size_t u = 0; u < units; u += BLOCK) {
        size_t values = IM_MIN(k - u * group, BLOCK * group);
        for (size_t r = 0; r < n; r++) {
            fill_units(kind, in + r * pitch + u * group, values,
                       kind == LAY_INT8 ? scales[r] : (row_scale){0}, inverse[r], block[r]);
        }
        turn(block, IM_MIN(units - u, (size_t)BLOCK), n, out + u * n, n);
    }
}

INLINE void lay_as(const lay_work *w, lay_kind kind)
{
    size_t units = lay_units(kind, w->k);
    size_t n = 0;
    for (size_t row = 0; row < w->rows; row += n) {
        n = tile_of(w->rows - row);
        lay_rows(w->in + row * w->in_pitch, w->in_pitch, n, w->k, kind,
                 kind == LAY_INT8 ? w->scales + row : NULL, (uint32_t *)w->out + row * units);
    }
}

static void fast_lay(const lay_work *w)
{
    lay_as(w, LAY_FP32);
}

static void fast_lay_bf16(const lay_work *w)
{
    lay_as(w, LAY_BF16);
}

static void fast_lay_int8(const lay_work *w)
{
    lay_as(w, LAY_INT8);
}
