/* encoder/forward.c — the transformer that both towers share: pre-norm blocks of attention and MLP
 * over rows that lie one behind the other without padding. Nothing is allocated in a pass: the
 * arena is sized from a plan when the tower is loaded. */
#include "encoder/encoder_internal.h"

#include <math.h>

/* ---- weights ---- */

im_code values_load(float **out, const weights *w, const char *name, size_t n_dims,
                    const uint64_t *shape, im_error *err)
{
    const tensor *t = NULL;
    im_code rc = weights_find(w, name, n_dims, shape, &t, err);
    if (rc != IM_OK) {
        return rc;
    }
    float *values = im_alloc_aligned((size_t)t->n_values, sizeof(float));
    if (values == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for tensor '%s'", name);
    }
    tensor_read(t, 0, (size_t)t->n_values, values);
    *out = values;
    return IM_OK;
}

static void pack_row16(packed_matrix *m, size_t column, const float *row)
{
    size_t pairs = (m->k + 1) / 2;
    uint16_t *panel = m->panels16 + (column / PANEL * PANEL * pairs + column % PANEL) * 2;
    for (size_t k = 0; k < 2 * pairs; k++) {
        panel[k / 2 * PANEL * 2 + k % 2] = k < m->k ? bf16_of(row[k]) : 0;
    }
}

/* Rows [first, first + n) of a packed matrix from a tensor [n, k]. */
static im_code pack_rows(packed_matrix *m, size_t first, const tensor *t, size_t n, im_error *err)
{
    float *row = im_alloc(m->k, sizeof(float));
    if (row == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory to pack weights");
    }
    for (size_t i = 0; i < n; i++) {
        size_t column = first + i;
        tensor_read(t, (uint64_t)i * m->k, m->k, row);
        if (m->panels16 != NULL) {
            pack_row16(m, column, row);
            continue;
        }
        float *panel = m->panels + column / PANEL * PANEL * m->k + column % PANEL;
        for (size_t k = 0; k < m->k; k++) {
            panel[k * PANEL] = row[k];
        }
    }
    im_free(row);
    return IM_OK;
}

static im_code matrix_new(packed_matrix *m, size_t n, size_t k, bool bf16, im_error *err)
{
    size_t values = 0;
    size_t panels = (n + PANEL - 1) / PANEL;
    size_t size = bf16 ? sizeof(uint16_t) : sizeof(float);
    size_t depth = bf16 ? k + k % 2 : k;
    void *data = NULL;
    if (im_size_mul(panels * PANEL, depth, &values)) {
        data = im_alloc_aligned(values, size);
    }
    if (data == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for weights of %zu x %zu", n, k);
    }
    if (n % PANEL != 0) { /* the columns that do not exist must be finite */
        memset((char *)data + (panels - 1) * PANEL * depth * size, 0, PANEL * depth * size);
    }
    m->panels = bf16 ? NULL : data;
    m->panels16 = bf16 ? data : NULL;
    m->n = n;
    m->k = k;
    return IM_OK;
}

/* Adds "name.weight" [n, k] and, when wanted, "name.bias" [n] at output `first`. */
static im_code linear_part(linear *l, const weights *w, const char *name, size_t first, size_t n,
                           bool bias, im_error *err)
{
    char tensor_name[160];
    const tensor *t = NULL;
    uint64_t shape[2] = {n, l->matrix.k};
    (void)snprintf(tensor_name, sizeof(tensor_name), "%s.weight", name);
    im_code rc = weights_find(w, tensor_name, 2, shape, &t, err);
    if (rc == IM_OK) {
        rc = pack_rows(&l->matrix, first, t, n, err);
    }
    if (rc == IM_OK && bias) {
        (void)snprintf(tensor_name, sizeof(tensor_name), "%s.bias", name);
        rc = weights_find(w, tensor_name, 1, shape, &t, err);
        if (rc == IM_OK) {
            tensor_read(t, 0, n, l->bias + first);
        }
    }
    return rc;
}

static im_code linear_new(linear *l, size_t n_out, size_t n_in, bool bias, bool bf16, im_error *err)
{
    im_code rc = matrix_new(&l->matrix, n_out, n_in, bf16, err);
    if (rc == IM_OK && bias) {
        l->bias = im_alloc_aligned(n_out, sizeof(float));
        rc = l->bias != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a bias");
    }
    return rc;
}

im_code linear_load(linear *l, const weights *w, const char *name, size_t n_out, size_t n_in,
                    bool bias, bool bf16, im_error *err)
{
    char tensor_name[160];
    const tensor *t = NULL;
    uint64_t shape[2] = {n_out, n_in};
    /* the tensor agrees before anything is sized from the numbers */
    (void)snprintf(tensor_name, sizeof(tensor_name), "%s.weight", name);
    im_code rc = weights_find(w, tensor_name, 2, shape, &t, err);
    if (rc == IM_OK) {
        rc = linear_new(l, n_out, n_in, bias, bf16, err);
    }
    return rc == IM_OK ? linear_part(l, w, name, 0, n_out, bias, err) : rc;
}

im_code linear_of_tensor(linear *l, const tensor *t, bool bf16, im_error *err)
{
    im_code rc = linear_new(l, (size_t)t->shape[0], (size_t)t->shape[1], false, bf16, err);
    return rc == IM_OK ? pack_rows(&l->matrix, 0, t, l->matrix.n, err) : rc;
}

void linear_clear(linear *l)
{
    im_free(l->matrix.panels);
    im_free(l->matrix.panels16);
    im_free(l->bias);
    memset(l, 0, sizeof(*l));
}

im_code norm_load(norm *n, const weights *w, const char *name, size_t width, im_error *err)
{
    char tensor_name[160];
    uint64_t shape[1] = {width};
    (void)snprintf(tensor_name, sizeof(tensor_name), "%s.weight", name);
    im_code rc = values_load(&n->weight, w, tensor_name, 1, shape, err);
    if (rc == IM_OK) {
        (void)snprintf(tensor_name, sizeof(tensor_name), "%s.bias", name);
        rc = values_load(&n->bias, w, tensor_name, 1, shape, err);
    }
    return rc;
}

void norm_clear(norm *n)
{
    im_free(n->weight);
    im_free(n->bias);
    memset(n, 0, sizeof(*n));
}

static im_code block_load(block *b, const tower_config *c, const weights *w, const char *prefix,
                          size_t layer, bool bf16, im_error *err)
{
    static const char *const parts[] = {"q_proj", "k_proj", "v_proj"};
    char name[128];
    im_code rc = IM_OK;
    const tensor *t = NULL;
    uint64_t shape[2] = {c->width, c->width};
    (void)snprintf(name, sizeof(name), "%s.encoder.layers.%zu.self_attn.q_proj.weight", prefix,
                   layer);
    rc = weights_find(w, name, 2, shape, &t, err);
    if (rc == IM_OK) {
        rc = linear_new(&b->qkv, 3 * c->width, c->width, true, bf16, err);
    }
    for (size_t i = 0; i < IM_COUNT(parts) && rc == IM_OK; i++) {
        (void)snprintf(name, sizeof(name), "%s.encoder.layers.%zu.self_attn.%s", prefix, layer,
                       parts[i]);
        rc = linear_part(&b->qkv, w, name, i * c->width, c->width, true, err);
    }
    const struct {
        const char *tail;
        linear *to;
        size_t n_out, n_in;
    } linears[] = {{"self_attn.out_proj", &b->out, c->width, c->width},
                   {"mlp.fc1", &b->fc1, c->mlp, c->width},
                   {"mlp.fc2", &b->fc2, c->width, c->mlp}};
    for (size_t i = 0; i < IM_COUNT(linears) && rc == IM_OK; i++) {
        (void)snprintf(name, sizeof(name), "%s.encoder.layers.%zu.%s", prefix, layer,
                       linears[i].tail);
        rc =
            linear_load(linears[i].to, w, name, linears[i].n_out, linears[i].n_in, true, bf16, err);
    }
    if (rc == IM_OK) {
        (void)snprintf(name, sizeof(name), "%s.encoder.layers.%zu.layer_norm1", prefix, layer);
        rc = norm_load(&b->norm1, w, name, c->width, err);
    }
    if (rc == IM_OK) {
        (void)snprintf(name, sizeof(name), "%s.encoder.layers.%zu.layer_norm2", prefix, layer);
        rc = norm_load(&b->norm2, w, name, c->width, err);
    }
    return rc;
}

/* ---- scratch ---- */

/* A row pitch that is a multiple of 4 KiB puts all rows into the same cache sets (15–20 % lost). */
static size_t pitch_of(size_t width)
{
    size_t pitch = (width + 15) / 16 * 16;
    return pitch * sizeof(float) % 4096 == 0 ? pitch + 16 : pitch;
}

static im_code plan_scratch(tower *t, size_t max_length, bool bf16, im_error *err)
{
    size_t d = t->config.width / t->config.heads;
    t->pitch = pitch_of(t->config.width);
    t->mlp_pitch = pitch_of(t->config.mlp);
    t->qkv_pitch = pitch_of(3 * t->config.width);
    t->head_floats = (kernel_head_floats(max_length, d) + 15) / 16 * 16;
    size_t floats = t->max_rows * (3 * t->pitch + t->qkv_pitch + t->mlp_pitch) +
                    t->max_sequences * t->pitch + t->n_workers * t->head_floats;
    size_t narrow = bf16 ? t->max_rows * IM_MAX(t->pitch, t->mlp_pitch) : 0;
    if (!im_arena_init(&t->arena, (floats + narrow) * sizeof(float) + 8 * 64)) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a forward pass of %zu rows", t->max_rows);
    }
    t->x = im_arena_take(&t->arena, t->max_rows * t->pitch, sizeof(float));
    t->y = im_arena_take(&t->arena, t->max_rows * t->pitch, sizeof(float));
    t->att = im_arena_take(&t->arena, t->max_rows * t->pitch, sizeof(float));
    t->qkv = im_arena_take(&t->arena, t->max_rows * t->qkv_pitch, sizeof(float));
    t->hidden = im_arena_take(&t->arena, t->max_rows * t->mlp_pitch, sizeof(float));
    t->pooled = im_arena_take(&t->arena, t->max_sequences * t->pitch, sizeof(float));
    if (narrow > 0) { /* sized for float32: sets without the instruction keep rounded ones */
        t->narrow = im_arena_take(&t->arena, narrow, sizeof(float));
    }
    t->head = im_arena_take(&t->arena, t->n_workers * t->head_floats, sizeof(float));
    return t->head != NULL ? IM_OK
                           : im_fail(err, IM_ERR_INTERNAL, "forward pass planned too small");
}

im_code tower_load(tower *t, const tower_config *config, const char *prefix, const weights *w,
                   size_t max_rows, size_t max_sequences, size_t max_length, size_t n_workers,
                   bool bf16, im_error *err)
{
    im_code rc = IM_OK;
    t->config = *config;
    t->max_rows = max_rows;
    t->max_sequences = max_sequences;
    t->n_workers = n_workers;
    t->blocks = im_alloc_zero(config->layers, sizeof(*t->blocks));
    if (t->blocks == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for %zu layers", config->layers);
    }
    for (size_t i = 0; i < config->layers && rc == IM_OK; i++) {
        rc = block_load(&t->blocks[i], config, w, prefix, i, bf16, err);
    }
    return rc == IM_OK ? plan_scratch(t, max_length, bf16, err) : rc;
}

void tower_clear(tower *t)
{
    for (size_t i = 0; t->blocks != NULL && i < t->config.layers; i++) {
        block *b = &t->blocks[i];
        norm_clear(&b->norm1);
        norm_clear(&b->norm2);
        linear_clear(&b->qkv);
        linear_clear(&b->out);
        linear_clear(&b->fc1);
        linear_clear(&b->fc2);
    }
    im_free(t->blocks);
    im_arena_clear(&t->arena);
    memset(t, 0, sizeof(*t));
}

/* ---- running ---- */

typedef struct linear_job {
    const linear *l;
    const kernel *k;
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
    } else {
        w.panel = job->l->matrix.panels + panel * PANEL * w.k;
    }
    w.columns = IM_MIN(job->l->matrix.n - column, (size_t)PANEL);
    w.bias = w.bias != NULL ? w.bias + column : NULL;
    w.residual = w.residual != NULL ? w.residual + row * w.residual_pitch + column : NULL;
    w.out += row * w.out_pitch + column;
    (w.in16 != NULL ? job->k->panel_bf16 : job->k->panel)(&w);
}

void linear_run(const linear *l, const kernel *k, im_pool *pool, const float *in, size_t in_pitch,
                size_t n_rows, float *out, size_t out_pitch, kernel_activation activation,
                const float *residual, size_t residual_pitch, void *narrow)
{
    bool bf16 = l->matrix.panels16 != NULL;
    if (bf16) {
        k->narrow(in, in_pitch, n_rows, l->matrix.k, narrow);
    }
    linear_job job = {.l = l,
                      .k = k,
                      .n_panels = (l->matrix.n + PANEL - 1) / PANEL,
                      .work = {.in = in,
                               .in16 = bf16 ? narrow : NULL,
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
               t->narrow);
    k->norm(x, t->pitch, rows, c->width, b->norm2.weight, b->norm2.bias, c->eps, t->y, t->pitch);
    linear_run(&b->fc1, k, pool, t->y, t->pitch, rows, t->hidden, t->mlp_pitch, c->activation, NULL,
               0, t->narrow);
    linear_run(&b->fc2, k, pool, t->hidden, t->mlp_pitch, rows, x, t->pitch, ACTIVATION_NONE, x,
               t->pitch, t->narrow);
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
                   NULL, 0, t->narrow);
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
