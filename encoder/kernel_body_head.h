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
    float *rows16;            /* bf16: [MR, depth], then [MR, keys] */
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

/* Keys [length, d] turned into panels [d, PANEL]. */
static void turn_keys(const head_work *w, const head_scratch *s)
{
    for (size_t j = 0; j < s->keys; j++) {
        float *to = s->key_panels + j / PANEL * PANEL * s->depth + j % PANEL;
        const float *key = w->k + j * w->pitch;
        for (size_t c = 0; c < s->depth; c++) {
            to[c * PANEL] = j < w->length && c < w->d ? key[c] : 0;
        }
    }
}

/* Values [length, d] cut into panels [keys, PANEL]. */
static void cut_values(const head_work *w, const head_scratch *s)
{
    memset(s->value_panels, 0, s->wide * s->keys * sizeof(float));
    for (size_t c = 0; c < w->d; c += PANEL) {
        size_t n = IM_MIN(w->d - c, (size_t)PANEL);
        for (size_t j = 0; j < w->length; j++) {
            memcpy(s->value_panels + c * s->keys + j * PANEL, w->v + j * w->pitch + c,
                   n * sizeof(float));
        }
    }
}

#if HEAD_BF16
static void turn_keys16(const head_work *w, const head_scratch *s)
{
    for (size_t j = 0; j < s->keys; j++) {
        uint16_t *to = (uint16_t *)s->key_panels + j / PANEL * PANEL * s->depth + j % PANEL * 2;
        const float *key = w->k + j * w->pitch;
        for (size_t c = 0; c < s->depth; c += 2) {
            to[c * PANEL] = j < w->length ? bf16_of(key[c]) : 0;
            to[c * PANEL + 1] = j < w->length && c + 1 < w->d ? bf16_of(key[c + 1]) : 0;
        }
    }
}

static void cut_values16(const head_work *w, const head_scratch *s)
{
    memset(s->value_panels, 0, s->wide * s->keys * sizeof(uint16_t));
    for (size_t c = 0; c < w->d; c += PANEL) {
        size_t n = IM_MIN(w->d - c, (size_t)PANEL);
        uint16_t *panel = (uint16_t *)s->value_panels + c * s->keys;
        for (size_t j = 0; j < w->length; j++) {
            uint16_t *to = panel + j / 2 * 2 * PANEL + j % 2;
            const float *value = w->v + j * w->pitch + c;
            for (size_t i = 0; i < n; i++) {
                to[2 * i] = bf16_of(value[i]);
            }
        }
    }
}

static void narrow_rows(const float *in, size_t in_pitch, size_t rows, size_t k, uint16_t *out,
                        size_t out_pitch)
{
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < out_pitch; i++) {
            out[r * out_pitch + i] = i < k ? bf16_of(in[r * in_pitch + i]) : 0;
        }
    }
}
#endif

/* exp(scale (score - largest)) of the first n; 0 up to `wide`. Gives 1 / their sum: sixteen partial
 * sums in a fixed order. */
static float soften_row(float *scores, size_t n, size_t wide, float scale)
{
    float most[16];
    float lanes[16] = {0};
    float largest = scores[0];
    float total = 0;
    size_t whole = n / 16 * 16;
    for (size_t l = 0; l < 16; l++) {
        most[l] = scores[0];
    }
    for (size_t j = 0; j < whole; j += 16) {
        for (size_t l = 0; l < 16; l++) {
            most[l] = scores[j + l] > most[l] ? scores[j + l] : most[l];
        }
    }
    for (size_t l = 0; l < 16; l++) {
        largest = most[l] > largest ? most[l] : largest;
    }
    for (size_t j = whole; j < n; j++) {
        largest = scores[j] > largest ? scores[j] : largest;
    }
    for (size_t j = 0; j < wide; j++) {
        scores[j] = exp_fast((scores[j] - largest) * scale);
    }
    for (size_t j = n; j < wide; j++) {
        scores[j] = 0;
    }
    for (size_t j = 0; j < wide; j += 16) {
        for (size_t l = 0; l < 16; l++) {
            lanes[l] += scores[j + l];
        }
    }
    for (size_t l = 0; l < 16; l++) {
        total += lanes[l];
    }
    return 1.0f / total;
}

/* rows x panels of PANEL columns into out [rows, out_pitch]. */
static void head_product(const float *in, size_t in_pitch, const float *panels, size_t panel_size,
                         size_t n_panels, size_t k, size_t rows, float *out, size_t out_pitch)
{
    for (size_t p = 0; p < n_panels; p++) {
        for (size_t c = 0; c < PANEL; c += TILE) {
            tile_rows(in, in_pitch, panels + p * panel_size + c, k, rows, out + p * PANEL + c,
                      out_pitch);
        }
    }
}

#if HEAD_BF16
static void head_product16(const uint16_t *in, size_t in_pitch, const uint16_t *panels,
                           size_t panel_size, size_t n_panels, size_t k, size_t rows, float *out,
                           size_t out_pitch)
{
    for (size_t p = 0; p < n_panels; p++) {
        for (size_t c = 0; c < PANEL; c += TILE) {
            tile16_rows(in, in_pitch, panels + p * panel_size + 2 * c, k, rows, out + p * PANEL + c,
                        out_pitch);
        }
    }
}
#endif

/* Rows [first, first + n), n <= MR. */
static void head_rows(const head_work *w, const head_scratch *s, size_t first, size_t n, float *out)
{
    float inverse[MR];
    const float *q = w->q + first * w->pitch;
    float scale = 1.0f / sqrtf((float)w->d);
    size_t seen = w->causal ? first + n : w->length;
    size_t n_panels = (seen + PANEL - 1) / PANEL;
    size_t key_size = PANEL * s->depth;
    size_t value_size = PANEL * s->keys;
#if HEAD_BF16
    uint16_t *narrow = (uint16_t *)s->rows16;
    if (w->bf16) {
        narrow_rows(q, w->pitch, n, w->d, narrow, s->depth);
        head_product16(narrow, s->depth, (uint16_t *)s->key_panels, key_size, n_panels, s->depth, n,
                       s->scores, s->keys);
    } else
#endif
    {
        head_product(q, w->pitch, s->key_panels, key_size, n_panels, w->d, n, s->scores, s->keys);
    }
    for (size_t r = 0; r < n; r++) {
        inverse[r] = soften_row(s->scores + r * s->keys, w->causal ? first + r + 1 : w->length,
                                n_panels * PANEL, scale);
    }
#if HEAD_BF16
    if (w->bf16) {
        narrow_rows(s->scores, s->keys, n, n_panels * PANEL, narrow, s->keys);
        head_product16(narrow, s->keys, (uint16_t *)s->value_panels, value_size, s->wide / PANEL,
                       seen + seen % 2, n, s->out, s->wide);
    } else
#endif
    {
        head_product(s->scores, s->keys, s->value_panels, value_size, s->wide / PANEL, seen, n,
                     s->out, s->wide);
    }
    for (size_t r = 0; r < n; r++) {
        for (size_t c = 0; c < w->d; c++) {
            out[r * w->out_pitch + c] = s->out[r * s->wide + c] * inverse[r];
        }
    }
}

static void fast_head(const head_work *w)
{
    head_scratch s = head_plan(w);
    size_t n = 0;
#if HEAD_BF16
    if (w->bf16) {
        turn_keys16(w, &s);
        cut_values16(w, &s);
    } else
#endif
    {
        turn_keys(w, &s);
        cut_values(w, &s);
    }
    if (w->only != SIZE_MAX) {
        head_rows(w, &s, w->only, 1, w->out);
        return;
    }
    for (size_t i = 0; i < w->length; i += n) {
        n = tile_of(w->length - i);
        head_rows(w, &s, i, n, w->out + i * w->out_pitch);
    }
}
