/* encoder/tower_text.c — causal text transformer. A text ends at its end token: what would follow
 * cannot change an earlier row under the causal mask, so it is not computed. */
#include "encoder/encoder_internal.h"

#include "base/hash.h"

static size_t table_blocks(const tensor *table)
{
    return (size_t)((table->to - table->from + TABLE_BLOCK - 1) / TABLE_BLOCK);
}

static uint32_t table_crc(const tensor *table, size_t at)
{
    uint64_t from = (uint64_t)at * TABLE_BLOCK;
    uint64_t size = IM_MIN(table->to - table->from - from, (uint64_t)TABLE_BLOCK);
    return im_crc32c(0, table->data + from, (size_t)size);
}

/* The token table stays in the model's own file. What was packed from it lists what its blocks
 * were, so that those which a text touches can be checked. */
static im_code crcs_load(text_tower *t, weight_source *s, im_error *err)
{
    static const char name[] = "text_model.embeddings.token_embedding.crcs";
    size_t n = table_blocks(t->table);
    const void *found = NULL;
    if (s->packed != NULL) {
        im_code rc = packed_take(s->packed, name, n * sizeof(uint32_t), &found, err);
        t->table_crcs = found;
        if (rc == IM_OK) {
            t->table_seen = im_alloc_zero(n, sizeof(*t->table_seen));
            rc = t->table_seen != NULL ? IM_OK
                                       : im_fail(err, IM_ERR_NOMEM, "no memory for a token table");
        }
        return rc;
    }
    if (s->made == NULL) {
        return IM_OK;
    }
    uint32_t *crcs = im_alloc(n, sizeof(*crcs));
    if (crcs == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a token table");
    }
    for (size_t i = 0; i < n; i++) {
        crcs[i] = table_crc(t->table, i);
    }
    t->table_crcs = crcs;
    return packed_add(s->made, name, crcs, n * sizeof(*crcs), err);
}

/* Checks the blocks that hold a row, each once. */
static void check_table(text_tower *t, uint64_t first, size_t width)
{
    if (t->table_seen == NULL) {
        return;
    }
    uint64_t value = (t->table->to - t->table->from) / t->table->n_values;
    size_t last = (size_t)(((first + width) * value - 1) / TABLE_BLOCK);
    for (size_t at = (size_t)(first * value / TABLE_BLOCK); at <= last; at++) {
        if (!t->table_seen[at]) {
            t->table_seen[at] = true;
            t->table_bad = t->table_bad || table_crc(t->table, at) != t->table_crcs[at];
        }
    }
}

im_code text_tower_load(im_encoder *e, weight_source *s, im_error *err)
{
    text_tower *t = &e->text;
    const model_config *c = &e->config;
    size_t width = c->text.width;
    size_t rows = 4 * c->context;
    uint64_t table_shape[2] = {c->vocabulary, width};
    uint64_t position_shape[2] = {c->context, width};
    im_code rc = weights_find(e->weights, "text_model.embeddings.token_embedding.weight", 2,
                              table_shape, &t->table, err);
    t->mapped = s->packed != NULL;
    if (rc == IM_OK) {
        rc = crcs_load(t, s, err);
    }
    if (rc == IM_OK) {
        rc = values_load(&t->positions, s, "text_model.embeddings.position_embedding.weight", 2,
                         position_shape, err);
    }
    if (rc == IM_OK) {
        rc = norm_load(&t->final, s, "text_model.final_layer_norm", width, err);
    }
    if (rc == IM_OK) {
        rc = linear_load(&t->projection, s, "text_projection", c->dim, width, false,
                         IM_PRECISION_FP32, err);
    }
    if (rc == IM_OK) {
        rc = tower_load(&t->tower, &c->text, "text_model", s, rows, 64, c->context,
                        im_pool_threads(e->pool), e->precision, err);
    }
    if (rc == IM_OK) {
        t->ids = im_alloc(rows, sizeof(*t->ids));
        rc = t->ids != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for token ids");
    }
    return rc;
}

void text_tower_clear(text_tower *t)
{
    linear_clear(&t->projection);
    norm_clear(&t->final);
    if (!t->mapped) {
        im_free(t->positions);
        im_free((void *)(uintptr_t)t->table_crcs);
    }
    im_free(t->table_seen);
    im_free(t->ids);
    tower_clear(&t->tower);
    memset(t, 0, sizeof(*t));
}

void text_tower_run(im_encoder *e, const sequence *sequences, size_t n, float *out, bool whole_last)
{
    text_tower *t = &e->text;
    tower *tw = &t->tower;
    size_t width = e->config.text.width;
    for (size_t s = 0; s < n; s++) {
        for (size_t i = 0; i < sequences[s].length; i++) {
            float *row = tw->x + (sequences[s].start + i) * tw->pitch;
            uint32_t id = t->ids[sequences[s].start + i];
            check_table(t, (uint64_t)id * width, width);
            tensor_read(t->table, (uint64_t)id * width, width, row);
            for (size_t j = 0; j < width; j++) {
                row[j] += t->positions[i * width + j];
            }
        }
    }
    tower_show(tw, "embeddings", 0, tw->x, tw->pitch,
               sequences[n - 1].start + sequences[n - 1].length, width);
    tower_run(tw, e->kernel, e->pool, sequences, n, true, whole_last);
    linear_rows pooled = {.rows = tw->pooled, .pitch = tw->pitch, .n = n};
    linear_out projected = {.rows = out, .pitch = e->config.dim};
    e->kernel->norm(tw->pooled, tw->pitch, n, width, t->final.weight, t->final.bias,
                    e->config.text.eps, tw->pooled, tw->pitch);
    tower_show(tw, "pooled", 0, tw->pooled, tw->pitch, n, width);
    linear_run(&t->projection, e->kernel, e->pool, &pooled, &tw->laid, &projected);
    tower_show(tw, "projection", 0, out, e->config.dim, n, e->config.dim);
    normalise_rows(out, n, e->config.dim);
    tower_show(tw, "vector", 0, out, e->config.dim, n, e->config.dim);
}
