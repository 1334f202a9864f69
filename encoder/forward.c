/* encoder/forward.c — the transformer that both towers share: pre-norm blocks of attention and MLP
 * over rows that lie one behind the other without padding. Nothing is allocated in a pass: the
 * arena is sized from a plan when the tower is loaded. */
#include "encoder/encoder_internal.h"

#include <math.h>

/* Where products of attention gain by bf16: shorter ones take as long to round as to multiply. */
#define BF16_ATTENTION_LENGTH 32u

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
    size_t widest = precision == IM_PRECISION_INT8 ? IM_MAX(t->config.width, t->config.mlp)
                                                   : t->config.width; /* fc1 lays for fc2 */
    size_t laid = t->max_rows * (widest + 1);
    size_t scales = precision == IM_PRECISION_INT8 ? t->max_rows : 0;
    if (!im_arena_init(&t->arena,
                       (floats + laid) * sizeof(float) + scales * sizeof(row_scale) + 10 * 64)) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a forward pass of %zu rows", t->max_rows);
    }
    t->x = im_arena_take(&t->arena, t->max_rows * t->pitch, sizeof(float));
    t->y = im_arena_take(&t->arena, t->max_rows * t->pitch, sizeof(float));
    t->att = im_arena_take(&t->arena, t->max_rows * t->pitch, sizeof(float));
    t->qkv = im_arena_take(&t->arena, t->max_rows * t->qkv_pitch, sizeof(float));
    t->hidden = im_arena_take(&t->arena, t->max_rows * t->mlp_pitch, sizeof(float));
    t->pooled = im_arena_take(&t->arena, t->max_sequences * t->pitch, sizeof(float));
    t->laid.units = im_arena_take(&t->arena, laid, sizeof(float));
    if (scales > 0) {
        t->laid.scales = im_arena_take(&t->arena, scales, sizeof(row_scale));
    }
    t->head = im_arena_take(&t->arena, t->n_workers * t->head_floats, sizeof(float));
    return t->head != NULL ? IM_OK
                           : im_fail(err, IM_ERR_INTERNAL, "forward pass planned too small");
}

/* ---- running ---- */

typedef struct linear_job {
    const linear_rows *in;
    const linear *l;
    const kernel *k;
    void (*lay)(const lay_work *w);
    void (*run)(const panel_work *w);
    const char *panels, *next; /* next: of the product behind this one */
    size_t panel_bytes, next_bytes;
    size_t n_panels, n_next;
    size_t units;       /* of a laid row */
    size_t chunk_tiles; /* register tiles of a whole chunk */
    size_t n_threads;
    laid_rows laid;
    panel_work work; /* of the whole product */
} linear_job;

/* Units of a laid row of `depth` values in the precision of the matrix. */
static size_t linear_units(const linear *l, const kernel *k, size_t depth)
{
    return l->matrix.panels16 != NULL  ? kernel_units(depth, k->bf16_group, true)
           : l->matrix.panels8 != NULL ? kernel_units(depth, k->int8_group, false)
                                       : depth;
}

/* The first panel, and bytes from one to the next. */
static const char *linear_panels(const linear *l, const kernel *k, size_t *out_bytes)
{
    size_t depth = l->matrix.k;
    if (l->matrix.panels16 != NULL) {
        *out_bytes = PANEL * (depth + depth % 2) * sizeof(uint16_t);
        return (const char *)l->matrix.panels16;
    }
    if (l->matrix.panels8 != NULL) {
        *out_bytes = kernel_panel8_bytes(k, depth);
        return (const char *)l->matrix.panels8;
    }
    *out_bytes = PANEL * depth * sizeof(float);
    return (const char *)l->matrix.panels;
}

/* What the precision of the matrix asks for. */
static linear_job linear_plan(const linear *l, const kernel *k, const linear_rows *in,
                              const laid_rows *laid)
{
    linear_job job = {.in = in,
                      .l = l,
                      .k = k,
                      .n_panels = (l->matrix.n + PANEL - 1) / PANEL,
                      .chunk_tiles = (KERNEL_CHUNK_ROWS + k->tile_rows - 1) / k->tile_rows,
                      .units = linear_units(l, k, l->matrix.k),
                      .laid = *laid};
    job.panels = linear_panels(l, k, &job.panel_bytes);
    if (l->next != NULL) {
        job.next = linear_panels(l->next, k, &job.next_bytes);
        job.n_next = (l->next->matrix.n + PANEL - 1) / PANEL;
    }
    if (l->matrix.panels16 != NULL) {
        job.lay = k->lay_bf16;
        job.run = k->panel_bf16;
    } else if (l->matrix.panels8 != NULL) {
        job.lay = k->lay_int8;
        job.run = k->panel_int8;
    } else {
        job.lay = k->lay;
        job.run = k->panel;
    }
    return job;
}

/* One register tile of the rows: the norm in front of the product, then laid as it is read. */
static void lay_task(void *context, size_t task, size_t worker)
{
    const linear_job *job = context;
    const linear_rows *in = job->in;
    size_t chunk = task / job->chunk_tiles * KERNEL_CHUNK_ROWS;
    size_t rows = IM_MIN(in->n - chunk, (size_t)KERNEL_CHUNK_ROWS);
    size_t row = 0;
    size_t n = kernel_tile_rows(job->k->tile_rows, rows);
    (void)worker;
    for (size_t tile = task % job->chunk_tiles; tile > 0; tile--) {
        row += n;
        n = kernel_tile_rows(job->k->tile_rows, rows - row);
    }
    row += chunk;
    lay_work w = {.in = in->rows + row * in->pitch,
                  .in_pitch = in->pitch,
                  .rows = n,
                  .k = job->l->matrix.k,
                  .out = (char *)job->laid.units + row * job->units * sizeof(float),
                  .scales = job->laid.scales != NULL ? job->laid.scales + row : NULL};
    if (in->norm != NULL) {
        job->k->norm(w.in, w.in_pitch, n, w.k, in->norm->weight, in->norm->bias, in->eps,
                     in->normed + row * in->pitch, in->pitch);
        w.in = in->normed + row * in->pitch;
    }
    job->lay(&w);
}

/* What a thread is likely to multiply next: the others take the panels between. */
static const char *panel_ahead(const linear_job *job, size_t ahead)
{
    if (ahead < job->n_panels) {
        return job->panels + ahead * job->panel_bytes;
    }
    ahead -= job->n_panels;
    return ahead < job->n_next ? job->next + ahead * job->next_bytes : NULL;
}

static void panel_task(void *context, size_t task, size_t worker)
{
    const linear_job *job = context;
    panel_work w = job->work;
    size_t panel = task % job->n_panels;
    size_t row = task / job->n_panels * KERNEL_CHUNK_ROWS;
    size_t column = panel * PANEL;
    (void)worker;
    w.rows = IM_MIN(w.rows - row, (size_t)KERNEL_CHUNK_ROWS);
    w.in = (const char *)w.in + row * job->units * sizeof(float);
    w.scales = w.scales != NULL ? w.scales + row : NULL;
    w.panel = job->panels + panel * job->panel_bytes;
    w.ahead = panel_ahead(job, panel + job->n_threads);
    w.columns = IM_MIN(job->l->matrix.n - column, (size_t)PANEL);
    w.bias = w.bias != NULL ? w.bias + column : NULL;
    w.residual = w.residual != NULL ? w.residual + row * w.residual_pitch + column : NULL;
    w.column = column;
    if (w.laid != NULL) {
        w.laid = (char *)w.laid + row * w.laid_units * sizeof(float);
    } else {
        w.out += row * w.out_pitch + column;
    }
    job->run(&w);
}

void linear_run(const linear *l, const kernel *k, im_pool *pool, const linear_rows *in,
                const laid_rows *laid, const linear_out *out)
{
    linear_job job = linear_plan(l, k, in, laid);
    size_t chunks = (in->n + KERNEL_CHUNK_ROWS - 1) / KERNEL_CHUNK_ROWS;
    size_t last = in->n - (chunks - 1) * KERNEL_CHUNK_ROWS;
    size_t tiles = (chunks - 1) * job.chunk_tiles + (last + k->tile_rows - 1) / k->tile_rows;
    job.n_threads = im_pool_threads(pool);
    job.work = (panel_work){.in = laid->units,
                            .scales = laid->scales,
                            .rows = in->n,
                            .k = l->matrix.k,
                            .bias = l->bias,
                            .activation = out->activation,
                            .residual = out->residual,
                            .residual_pitch = out->pitch,
                            .out = out->rows,
                            .out_pitch = out->pitch,
                            .laid = out->laid,
                            .laid_units = linear_units(l, k, l->matrix.n)};
    if (in->rows != NULL) {
        im_pool_run(pool, tiles, lay_task, &job);
    }
    im_pool_run(pool, job.n_panels * chunks, panel_task, &job);
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
    linear_rows attended = {.rows = t->att, .pitch = t->pitch, .n = rows};
    linear_rows normed = {x, t->pitch, rows, &b->norm2, c->eps, t->y};
    linear_rows hidden = {.rows = t->hidden, .pitch = t->mlp_pitch, .n = rows};
    linear_out sum = {.rows = x, .pitch = t->pitch, .residual = x};
    linear_out activated = {.rows = t->hidden, .pitch = t->mlp_pitch, .activation = c->activation};
    laid_rows laid = t->laid;
    if (b->fc2.matrix.panels8 == NULL) { /* fc1 lays for fc2, in the same memory */
        laid.units = t->hidden;
        activated.laid = t->hidden;
        hidden.rows = NULL;
    }
    linear_run(&b->out, k, pool, &attended, &t->laid, &sum);
    linear_run(&b->fc1, k, pool, &normed, &t->laid, &activated);
    linear_run(&b->fc2, k, pool, &hidden, &laid, &sum);
}

void tower_run(tower *t, const kernel *k, im_pool *pool, const sequence *sequences, size_t n,
               bool causal, bool whole_last)
{
    const tower_config *c = &t->config;
    size_t rows = sequences[n - 1].start + sequences[n - 1].length;
    for (size_t i = 0; i < c->layers; i++) {
        const block *b = &t->blocks[i];
        bool last = i + 1 == c->layers && !whole_last;
        linear_rows normed = {t->x, t->pitch, rows, &b->norm1, c->eps, t->y};
        linear_out qkv = {.rows = t->qkv, .pitch = t->qkv_pitch};
        linear_run(&b->qkv, k, pool, &normed, &t->laid, &qkv);
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
