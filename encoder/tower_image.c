/* encoder/tower_image.c — ViT: patches as rows of a product, class token, blocks, the class row
 * through the last norm and the projection. */
#include "encoder/encoder_internal.h"

im_code image_tower_load(im_encoder *e, weight_source *s, size_t batch, im_error *err)
{
    image_tower *t = &e->image;
    const model_config *c = &e->config;
    size_t side = c->image_size / c->patch;
    size_t width = c->image.width;
    size_t patch_values = 3 * c->patch * c->patch;
    uint64_t class_shape[1] = {width};
    uint64_t patch_shape[4] = {width, 3, c->patch, c->patch};
    uint64_t position_shape[2] = {side * side + 1, width};
    const tensor *patch = NULL;
    t->tokens = side * side + 1;
    t->batch = batch;
    t->mapped = s->packed != NULL;
    im_code rc = weights_find(e->weights, "vision_model.embeddings.patch_embedding.weight", 4,
                              patch_shape, &patch, err);
    if (rc == IM_OK) {
        rc = values_load(&t->class_token, s, "vision_model.embeddings.class_embedding", 1,
                         class_shape, err);
    }
    if (rc == IM_OK) {
        rc = values_load(&t->positions, s, "vision_model.embeddings.position_embedding.weight", 2,
                         position_shape, err);
    }
    if (rc == IM_OK) { /* the convolution is a product over patches: same values, [W, 3 P P] */
        tensor flat = *patch;
        flat.n_dims = 2;
        flat.shape[1] = patch_values;
        rc = linear_of_tensor(&t->patch, s, "vision_model.embeddings.patch_embedding", &flat,
                              e->precision, err);
    }
    if (rc == IM_OK) {
        rc = norm_load(&t->pre, s, "vision_model.pre_layrnorm", width, err);
    }
    if (rc == IM_OK) {
        rc = norm_load(&t->post, s, "vision_model.post_layernorm", width, err);
    }
    if (rc == IM_OK) {
        rc = linear_load(&t->projection, s, "visual_projection", c->dim, width, false,
                         IM_PRECISION_FP32, err);
    }
    if (rc == IM_OK) {
        rc = tower_load(&t->tower, &c->image, "vision_model", s, batch * t->tokens, batch,
                        t->tokens, im_pool_threads(e->pool), e->precision, err);
    }
    if (rc == IM_OK) {
        t->columns_pitch = (patch_values + 15) / 16 * 16 + 16;
        t->columns = im_alloc_aligned(batch * side * side * t->columns_pitch, sizeof(float));
        t->laid.units = im_alloc_aligned(side * side * (patch_values + 1), sizeof(float));
        t->laid.scales = im_alloc(side * side, sizeof(row_scale));
        rc = t->columns != NULL && t->laid.units != NULL && t->laid.scales != NULL
                 ? IM_OK
                 : im_fail(err, IM_ERR_NOMEM, "no memory for patches");
    }
    return rc;
}

void image_tower_clear(image_tower *t)
{
    linear_clear(&t->patch);
    linear_clear(&t->projection);
    norm_clear(&t->pre);
    norm_clear(&t->post);
    if (!t->mapped) {
        im_free(t->class_token);
        im_free(t->positions);
    }
    im_free(t->columns);
    im_free(t->laid.units);
    im_free(t->laid.scales);
    tower_clear(&t->tower);
    memset(t, 0, sizeof(*t));
}

/* What each byte of each channel stands for, as the reference standardises it. */
typedef struct byte_values {
    float of[3][256];
} byte_values;

static byte_values standardise(const model_config *c)
{
    byte_values v;
    float scale = 1.0f / 255.0f;
    for (size_t channel = 0; channel < 3; channel++) {
        for (size_t byte = 0; byte < 256; byte++) {
            v.of[channel][byte] = ((float)byte * scale - c->mean[channel]) / c->std[channel];
        }
    }
    return v;
}

/* One patch as a row: channel, then line, then column, as the convolution's weights lie. */
static void fill_patch(const model_config *c, const uint8_t *rgb, const byte_values *bytes,
                       const float *values, size_t py, size_t px, float *row)
{
    size_t size = c->image_size;
    for (size_t channel = 0; channel < 3; channel++) {
        for (size_t y = 0; y < c->patch; y++, row += c->patch) {
            size_t line = (py * c->patch + y) * size + px * c->patch;
            for (size_t x = 0; rgb != NULL && x < c->patch; x++) {
                row[x] = bytes->of[channel][rgb[(line + x) * 3 + channel]];
            }
            if (values != NULL) {
                memcpy(row, values + channel * size * size + line, c->patch * sizeof(float));
            }
        }
    }
}

static void fill_columns(const im_encoder *e, const uint8_t *rgb, const float *values, size_t n)
{
    size_t side = e->config.image_size / e->config.patch;
    size_t area = e->config.image_size * e->config.image_size;
    byte_values bytes = standardise(&e->config);
    for (size_t i = 0; i < n; i++) {
        for (size_t p = 0; p < side * side; p++) {
            fill_patch(&e->config, rgb != NULL ? rgb + i * area * 3 : NULL, &bytes,
                       values != NULL ? values + i * area * 3 : NULL, p / side, p % side,
                       e->image.columns + (i * side * side + p) * e->image.columns_pitch);
        }
    }
}

void image_tower_run(im_encoder *e, const uint8_t *rgb, const float *values, size_t n, float *out,
                     bool whole_last)
{
    image_tower *t = &e->image;
    tower *tw = &t->tower;
    const tower_config *c = &e->config.image;
    size_t patches = t->tokens - 1;
    sequence sequences[64];
    fill_columns(e, rgb, values, n);
    tower_show(tw, "pixels", 0, t->columns, t->columns_pitch, n * patches,
               3 * e->config.patch * e->config.patch);
    for (size_t i = 0; i < n; i++) {
        float *rows = tw->x + i * t->tokens * tw->pitch;
        sequences[i] = (sequence){i * t->tokens, t->tokens, 0};
        linear_rows columns = {.rows = t->columns + i * patches * t->columns_pitch,
                               .pitch = t->columns_pitch,
                               .n = patches};
        linear_out embedded = {.rows = rows + tw->pitch, .pitch = tw->pitch};
        linear_run(&t->patch, e->kernel, e->pool, &columns, &t->laid, &embedded);
        tower_show(tw, "patches", 0, rows + tw->pitch, tw->pitch, patches, c->width);
        memcpy(rows, t->class_token, c->width * sizeof(float));
        for (size_t token = 0; token < t->tokens; token++) {
            for (size_t j = 0; j < c->width; j++) {
                rows[token * tw->pitch + j] += t->positions[token * c->width + j];
            }
        }
    }
    tower_show(tw, "embeddings", 0, tw->x, tw->pitch, n * t->tokens, c->width);
    e->kernel->norm(tw->x, tw->pitch, n * t->tokens, c->width, t->pre.weight, t->pre.bias, c->eps,
                    tw->x, tw->pitch);
    tower_show(tw, "pre-norm", 0, tw->x, tw->pitch, n * t->tokens, c->width);
    tower_run(tw, e->kernel, e->pool, sequences, n, false, whole_last);
    linear_rows pooled = {.rows = tw->pooled, .pitch = tw->pitch, .n = n};
    linear_out projected = {.rows = out, .pitch = e->config.dim};
    e->kernel->norm(tw->pooled, tw->pitch, n, c->width, t->post.weight, t->post.bias, c->eps,
                    tw->pooled, tw->pitch);
    tower_show(tw, "pooled", 0, tw->pooled, tw->pitch, n, c->width);
    linear_run(&t->projection, e->kernel, e->pool, &pooled, &tw->laid, &projected);
    tower_show(tw, "projection", 0, out, e->config.dim, n, e->config.dim);
    normalise_rows(out, n, e->config.dim);
    tower_show(tw, "vector", 0, out, e->config.dim, n, e->config.dim);
}
