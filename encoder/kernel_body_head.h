/* encoder/kernel_body_head.h — attention of one head as two products of register tiles, behind
 * kernel_body.h: scores = q . k over panels of keys, out = p . v over panels of values. Sums run in
 * ascending order over d and over keys by one accumulator each, so a row does not depend on the
 * rows beside it: what a causal mask hides is multiplied by an exact 0. With bf16 the four factors
 * are rounded, where the processor multiplies them so. */

#if defined(VDOT)
#define HEAD_BF16 1
#else
#define HEAD_BF16 0 /* pairs made from float32 would be slower than float32 */
#endif

_Static_assert(MR <= KERNEL_MOST_ROWS, "kernel_head_floats");

typedef struct head_scratch {
    size_t keys, depth, wide; /* length and d up to whole panels, d up to a pair */
    float *key_panels;        /* [keys / PANEL, depth, PANEL], or as pairs in bf16 */
    float *value_panels;      /* [wide / PANEL, keys, PANEL], or as pairs in bf16 */
    float *scores;            /* [MR, keys] */
    float *rows16;            /* bf16: units [MR, depth / 2 up to BLOCK], then [MR, keys / 2] */
    float *out;               /* [MR, wide] */
} head_scratch;

static head_scratch head_plan(const head_work *w)
{
    head_scratch s = {.keys = (w->length + PANEL - 1) / PANEL * PANEL,
                      .depth = w->d + w->d % 2,
                      .wide = (w->d + PANEL - 1) / PANEL * PANEL};
    s.key_panels = w->scratch;
    s.value_panels = s.key_panels + s.keys * s.depth;
    s.scores = s.value_panels + s.wide * s.keys;
    s.rows16 = s.scores + MR * s.keys;
    s.out = s.rows16 + MR * (s.keys + s.depth);
    return s;
}

/* Keys [length, d] turned into panels: units [depth, PANEL], of pairs in bf16. */
INLINE void turn_keys(const head_work *w, const head_scratch *s, lay_kind kind)
{
    _Alignas(64) uint32_t block[16][BLOCK] = {{0}};
    size_t group = lay_group(kind);
    size_t units = lay_units(kind, w->d);
    uint32_t *panels = (uint32_t *)(void *)s->key_panels;
    for (size_t j = 0; j < s->keys; j += 16) {
        size_t n = IM_MIN(w->length - IM_MIN(j, w->length), (size_t)16);
        uint32_t *to = panels + j / PANEL * PANEL * units + j % PANEL;
        for (size_t r = n; r < 16; r++) { /* behind the last key */
            memset(block[r], 0, sizeof(block[r]));
        }
        for (size_t u = 0; u < units; u += BLOCK) {
            size_t values = IM_MIN(w->d - u * group, BLOCK * group);
            for (size_t r = 0; r < n; r++) {
                fill_units(kind, w->k + (j + r) * w->pitch + u * group, values, (row_scale){0}, 0,
                           block[r]);
            }
            turn(block, IM_MIN(units - u, (size_t)BLOCK), 16, to + u * PANEL, PANEL);
        }
    }
}

/* Values [length, d] cut into panels [keys, PANEL]. */
static void cut_values(const head_work *w, const head_scratch *s)
{
    for (size_t c = 0; c < w->d; c += PANEL) {
        size_t n = IM_MIN(w->d - c, (size_t)PANEL);
        float *to = s->value_panels + c * s->keys;
        for (size_t j = 0; j < w->length; j++, to += PANEL) {
            const float *value = w->v + j * w->pitch + c;
            if (n == PANEL) {
                memcpy(to, value, PANEL * sizeof(float));
            } else {
                memset(to, 0, PANEL * sizeof(float));
                memcpy(to, value, n * sizeof(float));
            }
        }
        memset(to, 0, (s->keys - w->length) * PANEL * sizeof(float));
    }
}

#if HEAD_BF16
/* The same as pairs [keys / 2, PANEL, 2]. */
static void cut_values16(const head_work *w, const head_scratch *s)
{
    static const float none[PANEL];
    for (size_t c = 0; c < w->d; c += PANEL) {
        size_t n = IM_MIN(w->d - c, (size_t)PANEL);
        uint16_t *to = (uint16_t *)(void *)s->value_panels + c * s->keys;
        for (size_t j = 0; j < s->keys; j += 2, to += 2 * PANEL) {
            float rest[2][PANEL] = {{0}};
            const float *rows[2] = {none, none};
            for (size_t i = 0; i < 2 && j + i < w->length; i++) {
                rows[i] = w->v + (j + i) * w->pitch + c;
                if (n < PANEL) {
                    memcpy(rest[i], rows[i], n * sizeof(float));
                    rows[i] = rest[i];
                }
            }
            for (size_t i = 0; i < PANEL; i++) {
                to[2 * i] = bf16_of(rows[0][i]);
                to[2 * i + 1] = bf16_of(rows[1][i]);
            }
        }
    }
}

/* Rows as the units of a product, [rows, out_pitch] of them. */
static void narrow_rows(const float *in, size_t in_pitch, size_t rows, size_t k, uint32_t *out,
                        size_t out_pitch)
{
    for (size_t r = 0; r < rows; r++) {
        for (size_t u = 0; u < lay_units(LAY_BF16, k); u += BLOCK) {
            uint32_t units[BLOCK];
            fill_units(LAY_BF16, in + r * in_pitch + 2 * u, IM_MIN(k - 2 * u, 2 * (size_t)BLOCK),
                       (row_scale){0}, 0, units);
            memcpy(out + r * out_pitch + u, units, sizeof(units));
        }
    }
}
#endif

/* exp(scale (score - largest)) of the first n; 0 up to `wide`, whole panels. Gives 1 / the sum. */
static float soften_row(float *scores, size_t n, size_t wide, float scale)
{
    size_t whole = n / LANES * LANES;
    size_t end = (n + LANES - 1) / LANES * LANES;
    float last[LANES];
    VEC most = VSET1(scores[0]);
    VEC total = VSET1(0.0f);
    for (size_t l = 0; l < LANES; l++) { /* the lanes behind n: not seen */
        last[l] = whole + l < n ? scores[whole + l] : scores[0];
    }
    for (size_t j = 0; j < whole; j += LANES) {
        most = VMAX(most, VLOAD(scores + j));
    }
    VEC largest = VSET1(lanes_most(VMAX(most, VLOAD(last))));
    for (size_t j = 0; j < end; j += LANES) {
        VEC e = exp_fast((VLOAD(scores + j) - largest) * VSET1(scale));
        VSTORE(scores + j, e);
    }
    memset(scores + n, 0, (wide - n) * sizeof(float));
    for (size_t j = 0; j < end; j += LANES) {
        total = total + VLOAD(scores + j);
    }
    return 1.0f / lanes_sum(total);
}

/* rows x panels of PANEL columns into out [rows, out_pitch]; unit i of row r at in[r * pitch + i].
 * Short products at many places: one copy of the tiles for all of them. */
static void head_product(const void *in, size_t pitch, const float *panels, size_t panel_size,
                         size_t n_panels, size_t k, size_t rows, float *out, size_t out_pitch)
{
    tile_input input = {.units = in, .pitch = pitch, .ahead = in};
    for (size_t p = 0; p < n_panels; p++) {
        for (size_t c = 0; c < PANEL; c += TILE) {
            tile_rows(&input, false, panels + p * panel_size + c, k, rows, out + p * PANEL + c,
                      out_pitch);
        }
    }
}

#if HEAD_BF16
static void head_product16(const void *in, size_t pitch, const uint16_t *panels, size_t panel_size,
                           size_t n_panels, size_t k, size_t rows, float *out, size_t out_pitch)
{
    tile_input input = {.units = in, .pitch = pitch, .ahead = in};
    for (size_t p = 0; p < n_panels; p++) {
        for (size_t c = 0; c < PANEL; c += TILE) {
            tile16_rows(&input, false, panels + p * panel_size + 2 * c, k, rows,
                        out + p * PANEL + c, out_pitch);
        }
    }
}
#endif

/* Rows [first, first + n), n <= MR. */
INLINE void head_rows(const head_work *w, const head_scratch *s, size_t first, size_t n, float *out,
                      bool bf16)
{
    float inverse[MR];
    const float *q = w->q + first * w->pitch;
    float scale = 1.0f / sqrtf((float)w->d);
    size_t seen = w->causal ? first + n : w->length;
    size_t n_panels = (seen + PANEL - 1) / PANEL;
    size_t key_size = PANEL * (bf16 ? s->depth : w->d);
    size_t value_size = PANEL * s->keys;
#if HEAD_BF16
    uint32_t *narrow = (uint32_t *)(void *)s->rows16;
    if (bf16) {
        size_t pitch = (s->depth / 2 + BLOCK - 1) / BLOCK * BLOCK;
        narrow_rows(q, w->pitch, n, w->d, narrow, pitch);
        head_product16(narrow, pitch, (uint16_t *)s->key_panels, key_size, n_panels, s->depth, n,
                       s->scores, s->keys);
    }
#endif
    if (!bf16) {
        head_product(q, w->pitch, s->key_panels, key_size, n_panels, w->d, n, s->scores, s->keys);
    }
    for (size_t r = 0; r < n; r++) {
        inverse[r] = soften_row(s->scores + r * s->keys, w->causal ? first + r + 1 : w->length,
                                n_panels * PANEL, scale);
    }
#if HEAD_BF16
    if (bf16) {
        narrow_rows(s->scores, s->keys, n, n_panels * PANEL, narrow, s->keys / 2);
        head_product16(narrow, s->keys / 2, (uint16_t *)s->value_panels, value_size,
                       s->wide / PANEL, seen + seen % 2, n, s->out, s->wide);
    }
#endif
    if (!bf16) {
        head_product(s->scores, s->keys, s->value_panels, value_size, s->wide / PANEL, seen, n,
                     s->out, s->wide);
    }
    for (size_t r = 0; r < n; r++) {
        for (size_t c = 0; c < w->d; c++) {
            out[r * w->out_pitch + c] = s->out[r * s->wide + c] * inverse[r];
        }
    }
}

INLINE void head_as(const head_work *w, bool bf16)
{
    head_scratch s = head_plan(w);
    size_t n = 0;
    turn_keys(w, &s, bf16 ? LAY_BF16 : LAY_FP32);
#if HEAD_BF16
    if (bf16) {
        cut_values16(w, &s);
    }
#endif
    if (!bf16) {
        cut_values(w, &s);
    }
    if (w->only != SIZE_MAX) {
        head_rows(w, &s, w->only, 1, w->out, bf16);
        return;
    }
    for (size_t i = 0; i < w->length; i += n) {
        n = tile_of(w->length - i);
        head_rows(w, &s, i, n, w->out + i * w->out_pitch, bf16);
    }
}

static void fast_head(const head_work *w)
{
    if (HEAD_BF16 && w->bf16) {
        head_as(w, true);
    } else {
        head_as(w, false);
    }
}
