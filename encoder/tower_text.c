/* encoder/tower_text.c — causal text transformer. A text ends at its end token: what would follow
 * cannot change an earlier row under the causal mask, so it is not computed. */
#include "encoder/encoder_internal.h"

im_code text_tower_load(im_encoder *e, im_error *err)
{
    text_tower *t = &e->text;
    const model_config *c = &e->config;
    size_t width = c->text.width;
    size_t rows = 4 * c->context;
    uint64_t table_shape[2] = {c->vocabulary, width};
    uint64_t position_shape[2] = {c->context, width};
    im_code rc = weights_find(e->weights, "text_model.embeddings.token_embedding.weight", 2,
                              table_shape, &t->table, err);
    if (rc == IM_OK) {
        rc = values_load(&t->positions, e->weights,
                         "text_model.embeddings.position_embedding.weight", 2, position_shape, err);
    }
    if (rc == IM_OK) {
        rc = norm_load(&t->final, e->weights, "text_model.final_layer_norm", width, err);
    }
    if (rc == IM_OK) {
        rc = linear_load(&t->projection, e->weights, "text_projection", c->dim, width, false, false,
                         err);
    }
    if (rc == IM_OK) {
        rc = tower_load(&t->tower, &c->text, "text_model", e->weights, rows, 64, c->context,
                        im_pool_threads(e->pool), e->bf16, err);
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
    im_free(t->positions);
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
            tensor_read(t->table, (uint64_t)id * width, width, row);
            for (size_t j = 0; j < width; j++) {
                row[j] += t->positions[i * width + j];
            }
        }
    }
    tower_show(tw, "embeddings", 0, tw->x, tw->pitch,
               sequences[n - 1].start + sequences[n - 1].length, width);
    tower_run(tw, e->kernel, e->pool, sequences, n, true, whole_last);
    e->kernel->norm(tw->pooled, tw->pitch, n, width, t->final.weight, t->final.bias,
                    e->config.text.eps, tw->pooled, tw->pitch);
    tower_show(tw, "pooled", 0, tw->pooled, tw->pitch, n, width);
    linear_run(&t->projection, e->kernel, e->pool, tw->pooled, tw->pitch, n, out, e->config.dim,
               ACTIVATION_NONE, NULL, 0, NULL);
    tower_show(tw, "projection", 0, out, e->config.dim, n, e->config.dim);
    normalise_rows(out, n, e->config.dim);
    tower_show(tw, "vector", 0, out, e->config.dim, n, e->config.dim);
}
