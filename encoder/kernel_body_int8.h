/* encoder/kernel_body_int8.h — products of 8-bit whole numbers, behind kernel_body.h. The sets
 * define:
 *   VINT, VCODES            LANES sums of 32 bits; what is multiplied for them
 *   VI_ZERO()               no sums yet
 *   VI_CODES(p)             INT8_GROUP weights of LANES outputs
 *   VI_INPUT(p)             a unit of inputs, for every lane
 *   VI_DOT(sum, codes, in)  sum + their products
 * Sums are exact: |code x code| <= 255 x 127, and K <= INT8_MOST_K. */

INLINE void tile8(const tile_input *in, const int8_t *panel, size_t k, size_t n_rows, int32_t *out)
{
    VINT sum[MR][2];
    const uint32_t *units = in->units;
    UNROLLED
    for (size_t r = 0; r < n_rows; r++) {
        sum[r][0] = VI_ZERO();
        sum[r][1] = VI_ZERO();
    }
    for (size_t i = 0; i < k; i += INT8_GROUP, units += n_rows) {
        VCODES left = VI_CODES(panel + i * PANEL);
        VCODES right = VI_CODES(panel + i * PANEL + LANES * INT8_GROUP);
        ask_ahead(in, i / INT8_GROUP);
        UNROLLED
        for (size_t r = 0; r < n_rows; r++) {
            VCODES a = VI_INPUT(units + r);
            sum[r][0] = VI_DOT(sum[r][0], left, a);
            sum[r][1] = VI_DOT(sum[r][1], right, a);
        }
    }
    UNROLLED
    for (size_t r = 0; r < n_rows; r++) {
        VI_STORE(out + r * PANEL, sum[r][0]);
        VI_STORE(out + r * PANEL + LANES, sum[r][1]);
    }
}

static void tile8_rows(const tile_input *in, const int8_t *panel, size_t k, size_t n_rows,
                       int32_t *out)
{
    switch (n_rows) {
#define CASE(n)                      \
    case n:                          \
        tile8(in, panel, k, n, out); \
        break;
        EACH_HEIGHT(CASE)
#undef CASE
    default:
        break;
    }
}

static void fast_panel_int8(const panel_work *w)
{
    _Alignas(64) int32_t sums[MR * PANEL];
    size_t units = (w->k + INT8_GROUP - 1) / INT8_GROUP;
    size_t k = units * INT8_GROUP;
    const int8_t *panel = w->panel;
    const float *scales = (const float *)(const void *)(panel + k * PANEL);
    tile_sums all = {.sums = sums,
                     .scales = scales,
                     .code_sums = (const int32_t *)(const void *)(scales + PANEL)};
    tile_input in = input_of(w, PANEL * INT8_GROUP);
    size_t n = 0;
    for (size_t row = 0; row < w->rows; row += n, in.units += n * units) {
        n = tile_of(w->rows - row);
        fetch_rows(w, row, n);
        for (size_t c = 0; c < PANEL; c += TILE, in.ahead += units * in.ahead_step) {
            tile8_rows(&in, panel + c * INT8_GROUP, k, n, sums + c);
        }
        all.rows = w->scales + row;
        finish(w, row, n, &all);
    }
}

#define KERNEL_SET(set_name)                                                                     \
    {                                                                                            \
        .name = (set_name), .tile_rows = MR, .bf16_group = BF16_GROUP, .int8_group = INT8_GROUP, \
        .lay = fast_lay, .lay_bf16 = fast_lay_bf16, .lay_int8 = fast_lay_int8,                   \
        .panel = fast_panel, .panel_bf16 = fast_panel_bf16, .panel_int8 = fast_panel_int8,       \
        .head = fast_head, .norm = fast_norm                                                     \
    }
