/* encoder/forward.c — the transformer that both towers share: pre-norm blocks of attention and MLP
 * over rows that lie one behind the other without padding. Nothing is allocated in a pass: the
 * arena is sized from a plan when the tower is loaded. */
#include "encoder/encoder_internal.h"

#include <math.h>

/* Where products of attention gain by bf16: shorter ones take as long to round as to multiply. */
#define BF16_ATTENTION_LENGTH 128u

/* ---- scratch ---- */

/* A row pitch that is a multiple of 4 KiB puts all rows into the same cache sets (15–20 % lost). */
static size_t pitch_of(size_t width)
{
    size_t pitch = (width + 15) / 16 * 16;
    return pitch * sizeof(float) % 4096 == 0 ? pitch + 16 : pitch;
}

im_code tower_plan(tower *t, size_t max_length, im_precision precision, im_error *err)
{
    size_t d = t->config.width / t->config.heads;
    t->pitch = pitch_of(t->config.width);
    t->mlp_pitch = pitch_of(t->config.mlp);
    t->qkv_pitch = pitch_of(3 * t->config.width);
    t->bf16_length = precision != IM_PRECISION_FP32 ? BF16_ATTENTION_LENGTH : SIZE_MAX;
    t->head_floats = (kernel_head_floats(max_length, d) + 15) / 16 * 16;
    size_t floats = t->max_rows * (3 * t->pitch + t->qkv_pitch + t->mlp_pitch) +
                    t->max_sequences * t->pitch + t->n_workers * t->head_floats;
    size_t rounded =
        precision != IM_PRECISION_FP32 ? t->max_rows * IM_MAX(t->pitch, t->mlp_pitch) : 0;
    size_t scales = precision == IM_PRECISION_INT8 ? t->max_rows : 0;
    if (!im_arena_init(&t->arena,
                       (floats + rounded) * sizeof(float) + scales * sizeof(row_scale) + 10 * 64)) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a forward pass of %zu rows", t->max_rows);
    }
    t->x = im_arena_take(&t->arena, t->max_rows * t->pitch, sizeof(float));
    t->y = im_arena_take(&t->arena, t->max_rows * t->pitch, sizeof(float));
    t->att = im_arena_take(&t->arena, t->max_rows * t->pitch, sizeof(float));
    t->qkv = im_arena_take(&t->arena, t->max_rows * t->qkv_pitch, sizeof(float));
    t->hidden = im_arena_take(&t->arena, t->max_rows * t->mlp_pitch, sizeof(float));
    t->pooled = im_arena_take(&t->arena, t->max_sequences * t->pitch, sizeof(float));
    if (rounded > 0) { /* sized for float32: sets without the instruction keep rounded ones */
        t->rounded.values = im_arena_take(&t->arena, rounded, sizeof(float));
    }
    if (scales > 0) {
        t->rounded.scales = im_arena_take(&t->arena, scales, sizeof(row_scale));
    }
    t->head = im_arena_take(&t->arena, t->n_workers * t->head_floats, sizeof(float));
    return t->head != NULL ? IM_OK
                           : im_fail(err, IM_ERR_INTERNAL, "forward pass planned too small");
}

/* ---- running ---- */

typedef struct linear_job {
    const linear *l;
    const kernel *k;
    void (*run)(const panel_work *w);
    panel_work work; /* of the whole product */
    size_t n_panels;
} linear_job;

static void linear_task(void *context, size_t task, size_t worker)
{
    const linear_job *job = context;
    panel_work w = job->work;
    size_t panel = task % job->n_panels;
    size_t row = task / job->n_panels * KERNEL_CHUNK_ROWS;
    size_t column = panel * PANEL;
    (void)worker;
    w.rows = IM_MIN(w.rows - row, (size_t)KERNEL_CHUNK_ROWS);
    w.in += row * w.in_pitch;
    if (w.in16 != NULL) {
        w.in16 = (const char *)w.in16 + row * w.in_pitch * job->k->narrow_bytes;
        w.panel16 = job->l->matrix.panels16 + panel * PANEL * (w.k + w.k % 2);
    } else if (w.in8 != NULL) {
        w.in8 = (const char *)w.in8 + row * w.in_pitch * job->k->int8_bytes;
        w.scales += row;
        w.panel8 = job->l->matrix.panels8 + panel * kernel_panel8_bytes(job->k, w.k);
    } else {
        w.panel = job->l->matrix.panels + panel * PANEL * w.k;
    }
    w.columns = IM_MIN(job->l->matrix.n - column, (size_t)PANEL);
    w.bias = w.bias != NULL ? w.bias + column : NULL;
    w.residual = w.residual != NULL ? w.residual + row * w.residual_pitch + column : NULL;
    w.out += row * w.out_pitch + column;
    job->run(&w);
}

void linear_run(const linear *l, const kernel *k, im_pool *pool, const float *in, size_t in_pitch,
                size_t n_rows, float *out, size_t out_pitch, kernel_activation activation,
                const float *residual, size_t residual_pitch, const rounded_rows *rounded)
{
    bool bf16 = l->matrix.panels16 != NULL;
    bool int8 = l->matrix.panels8 != NULL;
    if (bf16) {
        k->narrow(in, in_pitch, n_rows, l->matrix.k, rounded->values);
    } else if (int8) {
        k->quantise(in, in_pitch, n_rows, l->matrix.k, rounded->values, rounded->scales);
    }
    linear_job job = {.l = l,
                      .k = k,
                      .n_panels = (l->matrix.n + PANEL - 1) / PANEL,
                      .run = bf16   ? k->panel_bf16
                             : int8 ? k->panel_int8
                                    : k->panel,
                      .work = {.in = in,
                               .in16 = bf16 ? rounded->values : NULL,
                               .in8 = int8 ? rounded->values : NULL,
                               .scales = int8 ? rounded->scales : NULL,
                               .in_pitch = in_pitch,
                               .rows = n_rows,
                               .k = l->matrix.k,
                               .bias = l->bias,
                               .activation = activation,
                               .residual = residual,
                               .residual_pitch = residual_pitch,
                               .out = out,
                               .out_pitch = out_pitch}};
    size_t chunks = (n_rows + KERNEL_CHUNK_ROWS - 1) / KERNEL_CHUNK_ROWS;
    im_pool_run(pool, job.n_panels * chunks, linear_task, &job);
}

typedef struct attention_job {
    tower *t;
    const kernel *k;
    const sequence *sequences;
    bool causal;
    bool pooled_only; /* one row a sequence, written to att row s */
} attention_job;

static void attention_task(void *context, size_t task, size_t worker)
{
    const attention_job *job = context;
    tower *t = job->t;
    size_t heads = t->config.heads;
    size_t d = t->config.width / heads;
    size_t head = task % heads;
    size_t s = task / heads;
    const sequence *seq = &job->sequences[s];
    const float *rows = t->qkv + seq->start * t->qkv_pitch + head * d;
    head_work work = {.q = rows,
                      .k = rows + t->config.width,
                      .v = rows + 2 * t->config.width,
                      .pitch = t->qkv_pitch,
                      .length = seq->length,
                      .d = d,
                      .causal = job->causal,
                      .bf16 = seq->length >= t->bf16_length,
                      .only = job->pooled_only ? seq->pooled : SIZE_MAX,
                      .out = t->att + (job->pooled_only ? s : seq->start) * t->pitch + head * d,
                      .out_pitch = t->pitch,
                      .scratch = t->head + worker * t->head_floats};
    job->k->head(&work);
}

static void attend(tower *t, const kernel *k, im_pool *pool, const sequence *sequences, size_t n,
                   bool causal, bool pooled_only)
{
    attention_job job = {t, k, sequences, causal, pooled_only};
    im_pool_run(pool, n * t->config.heads, attention_task, &job);
}

/* x += out(attention(norm1(x))); x += fc2(act(fc1(norm2(x)))) over `rows` rows. */
static void finish_block(tower *t, const block *b, const kernel *k, im_pool *pool, float *x,
                         size_t rows)
{
    const tower_config *c = &t->config;
    linear_run(&b->out, k, pool, t->att, t->pitch, rows, x, t->pitch, ACTIVATION_NONE, x, t->pitch,
               &t->rounded);
    k->norm(x, t->pitch, rows, c->width, b->norm2.weight, b->norm2.bias, c->eps, t->y, t->pitch);
    linear_run(&b->fc1, k, pool, t->y, t->pitch, rows, t->hidden, t->mlp_pitch, c->activation, NULL,
               0, &t->rounded);
    linear_run(&b->fc2, k, pool, t->hidden, t->mlp_pitch, rows, x, t->pitch, ACTIVATION_NONE, x,
               t->pitch, &t->rounded);
}

void tower_run(tower *t, const kernel *k, im_pool *pool, const sequence *sequences, size_t n,
               bool causal, bool whole_last)
{
    const tower_config *c = &t->config;
    size_t rows = sequences[n - 1].start + sequences[n - 1].length;
    for (size_t i = 0; i < c->layers; i++) {
        const block *b = &t->blocks[i];
        bool last = i + 1 == c->layers && !whole_last;
        k->norm(t->x, t->pitch, rows, c->width, b->norm1.weight, b->norm1.bias, c->eps, t->y,
                t->pitch);
        linear_run(&b->qkv, k, pool, t->y, t->pitch, rows, t->qkv, t->qkv_pitch, ACTIVATION_NONE,
                   NULL, 0, &t->rounded);
        attend(t, k, pool, sequences, n, causal, last);
        if (!last) {
            finish_block(t, b, k, pool, t->x, rows);
            tower_show(t, "block", i, t->x, t->pitch, rows, c->width);
        }
    }
    for (size_t s = 0; s < n; s++) {
        memcpy(t->pooled + s * t->pitch,
               t->x + (sequences[s].start + sequences[s].pooled) * t->pitch,
               c->width * sizeof(float));
    }
    if (!whole_last) { /* only the rows that are wanted go through the rest of the last block */
        finish_block(t, &t->blocks[c->layers - 1], k, pool, t->pooled, n);
    }
}

void normalise_rows(float *rows, size_t n, size_t dim)
{
    for (size_t i = 0; i < n; i++) {
        double squares = 0;
        for (size_t j = 0; j < dim; j++) {
            squares += (double)rows[i * dim + j] * (double)rows[i * dim + j];
        }
        double scale = 1.0 / sqrt(squares);
        for (size_t j = 0; j < dim; j++) {
            rows[i * dim + j] = (float)((double)rows[i * dim + j] * scale);
        }
    }
}
