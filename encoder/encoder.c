/* encoder/encoder.c — opening a model, its facts, and the calls that turn pictures and texts into
 * vectors. */
#include "base/fault.h"
#include "encoder/encoder_internal.h"

#include <math.h>

#define MAX_BATCH 64u

/* ---- opening ---- */

static im_code check_options(const im_encoder_options *options, im_error *err)
{
    if (options->precision == IM_PRECISION_BF16 || options->precision == IM_PRECISION_INT8) {
        im_code rc = im_fail(err, IM_ERR_UNSUPPORTED, "precision %s is not there in this version",
                             options->precision == IM_PRECISION_BF16 ? "bf16" : "int8");
        im_hint(err, "use fp32, or leave --precision out");
        return rc;
    }
    if (options->batch > MAX_BATCH) {
        return im_fail(err, IM_ERR_INVALID, "batch is %zu, expected at most %u", options->batch,
                       MAX_BATCH);
    }
    return IM_OK;
}

static const char *activation_name(kernel_activation activation)
{
    switch (activation) {
    case ACTIVATION_GELU:
        return "gelu";
    case ACTIVATION_QUICK_GELU:
        return "quick_gelu";
    case ACTIVATION_GELU_TANH:
        return "gelu_tanh";
    case ACTIVATION_NONE:
        break;
    }
    return "none";
}

/* Values of a tower by its config: exact, since every tensor's shape was checked against it. */
static uint64_t tower_parameters(const tower_config *c)
{
    uint64_t w = c->width;
    return c->layers * (4 * w * w + 4 * w + 2 * w * c->mlp + c->mlp + w + 4 * w);
}

static void fill_info(im_encoder *e)
{
    const model_config *c = &e->config;
    im_encoder_info *info = &e->info;
    uint64_t patches = (uint64_t)(c->image_size / c->patch) * (c->image_size / c->patch);
    info->folder = e->folder;
    info->name = e->name;
    info->family = "clip";
    info->dim = c->dim;
    info->preprocess = c->preprocess;
    memcpy(info->mean, c->mean, sizeof(info->mean));
    memcpy(info->std, c->std, sizeof(info->std));
    info->context = c->context;
    info->vocabulary = c->vocabulary;
    info->n_parameters = tower_parameters(&c->image) + tower_parameters(&c->text) +
                         c->image.width * (3 * c->patch * c->patch + 1 + patches + 1 + 4 + c->dim) +
                         c->text.width * (c->vocabulary + c->context + 2 + c->dim) + 1;
    info->weights_bytes = weights_bytes(e->weights);
    info->weights_dtype = weights_dtype(e->weights);
    info->precision = "fp32";
    info->precision_why = "fp32 is the only precision of this version";
    info->kernel = e->kernel->name;
    if (c->pool_highest) {
        (void)snprintf(e->pooling, sizeof(e->pooling), "highest id");
    } else {
        (void)snprintf(e->pooling, sizeof(e->pooling), "eos_token_id %u", c->eos);
    }
    info->pooling = e->pooling;
    info->activation = activation_name(c->image.activation);
    info->image_layers = c->image.layers;
    info->image_width = c->image.width;
    info->text_layers = c->text.layers;
    info->text_width = c->text.width;
    info->patch_px = c->patch;
}

/* A grey picture and a text: weights that give values which are not finite are refused here. */
static im_code self_check(im_encoder *e, im_error *err)
{
    size_t n = (size_t)e->config.preprocess.crop_w * e->config.preprocess.crop_h * 3;
    float *out = im_alloc(e->config.dim, sizeof(float));
    uint8_t *grey = im_alloc(n, 1);
    im_view text = im_view_from("a photo");
    im_code rc = out != NULL && grey != NULL
                     ? IM_OK
                     : im_fail(err, IM_ERR_NOMEM, "no memory to check a model");
    if (rc == IM_OK && e->has_image) {
        memset(grey, 127, n);
        rc = im_encoder_pictures(e, grey, 1, out, NULL, err);
    }
    if (rc == IM_OK && e->has_text) {
        rc = im_encoder_texts(e, &text, 1, out, NULL, err);
    }
    im_free(grey);
    im_free(out);
    return rc;
}

static im_code load_parts(im_encoder *e, const im_encoder_options *options, im_error *err)
{
    im_code rc = kernel_choose(&e->kernel, err);
    if (rc == IM_OK) {
        rc = model_folder_check(e->folder, err);
    }
    if (rc == IM_OK) {
        rc = config_load(e->folder, &e->config, err);
    }
    if (rc == IM_OK) {
        rc = weights_open(e->folder, &e->weights, err);
    }
    if (rc == IM_OK) {
        rc = encoder_check_need(e, options, err);
    }
    if (rc == IM_OK && options->towers != IM_TOWERS_TEXT) {
        rc = image_tower_load(e, options->batch != 0 ? options->batch : 8, err);
        e->has_image = true;
    }
    if (rc == IM_OK && options->towers != IM_TOWERS_IMAGE) {
        rc = tokenizer_open(e->folder, e->config.vocabulary, &e->tokenizer, err);
        if (rc == IM_OK) {
            rc = text_tower_load(e, err);
        }
        e->has_text = true;
    }
    if (rc == IM_OK && weights_lost(e->weights)) {
        rc = im_fail_as(err, IM_REASON_MODEL_LOST, "model '%s': the weights were cut while read",
                        e->folder);
    }
    return rc;
}

/* "clip" of "models/clip/" (im_free), NULL when memory is out. */
static char *last_part(const char *folder)
{
    size_t end = strlen(folder);
    while (end > 1 && folder[end - 1] == '/') {
        end--;
    }
    size_t start = end;
    while (start > 0 && folder[start - 1] != '/') {
        start--;
    }
    char *name = im_strdup(folder + start);
    if (name != NULL) {
        name[end - start] = '\0';
    }
    return name;
}

im_code im_encoder_open(const char *folder, const im_encoder_options *options,
                        im_encoder **out_encoder, im_error *err)
{
    static const im_encoder_options defaults = {0};
    const im_encoder_options *o = options != NULL ? options : &defaults;
    im_code rc = check_options(o, err);
    if (rc != IM_OK) {
        return rc;
    }
    im_encoder *e = im_alloc_zero(1, sizeof(*e));
    if (e == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a model");
    }
    pthread_mutex_init(&e->lock, NULL);
    e->pool = o->pool;
    e->folder = im_strdup(folder);
    e->name = last_part(folder);
    if (e->folder == NULL || e->name == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a model");
    }
    if (rc == IM_OK) {
        rc = load_parts(e, o, err);
    }
    if (rc == IM_OK) {
        fill_info(e);
        rc = self_check(e, err);
    }
    if (rc != IM_OK) {
        im_encoder_close(e);
        return rc;
    }
    *out_encoder = e;
    return IM_OK;
}

void im_encoder_close(im_encoder *e)
{
    if (e == NULL) {
        return;
    }
    image_tower_clear(&e->image);
    text_tower_clear(&e->text);
    tokenizer_close(e->tokenizer);
    weights_close(e->weights);
    pthread_mutex_destroy(&e->lock);
    im_free(e->folder);
    im_free(e->name);
    im_free(e);
}

const im_encoder_info *im_encoder_describe(const im_encoder *encoder)
{
    return &encoder->info;
}

/* ---- encoding ---- */

im_code im_encoder_prepare(const im_encoder *e, const im_image *image, uint8_t *out, im_error *err)
{
    return im_image_prepare(image, &e->config.preprocess, out, err);
}

static im_code check_rows(const im_encoder *e, const float *rows, size_t n, size_t *out_bad,
                          im_error *err)
{
    if (weights_lost(e->weights)) {
        return im_fail_as(err, IM_REASON_MODEL_LOST,
                          "model '%s': its weights were cut while in use", e->folder);
    }
    for (size_t i = 0; i < n * e->config.dim; i++) {
        if (!isfinite(rows[i])) {
            if (out_bad != NULL) {
                *out_bad = i / e->config.dim;
            }
            return im_fail_as(err, IM_REASON_MODEL_BAD_OUTPUT,
                              "model '%s' gives values that are not finite", e->folder);
        }
    }
    return IM_OK;
}

static im_code run_pictures(im_encoder *e, const uint8_t *rgb, const float *values, size_t n,
                            float *out, size_t *out_bad, im_error *err)
{
    size_t one = e->config.image_size * e->config.image_size * 3;
    im_code rc = IM_OK;
    if (!e->has_image) {
        return im_fail(err, IM_ERR_INTERNAL, "model '%s' was opened without its image tower",
                       e->folder);
    }
    pthread_mutex_lock(&e->lock);
    im_fault_point("encode");
    for (size_t i = 0; i < n && rc == IM_OK; i += e->image.batch) {
        size_t batch = IM_MIN(n - i, e->image.batch);
        float *rows = out + i * e->config.dim;
        image_tower_run(e, rgb != NULL ? rgb + i * one : NULL,
                        values != NULL ? values + i * one : NULL, batch, rows, false);
        rc = check_rows(e, rows, batch, out_bad, err);
        if (rc != IM_OK && out_bad != NULL) {
            *out_bad += i;
        }
    }
    pthread_mutex_unlock(&e->lock);
    return rc;
}

im_code im_encoder_pictures(im_encoder *encoder, const uint8_t *rgb, size_t n, float *out,
                            size_t *out_bad, im_error *err)
{
    return run_pictures(encoder, rgb, NULL, n, out, out_bad, err);
}

im_code im_encoder_pixel_values(im_encoder *encoder, const float *values, size_t n, float *out,
                                im_error *err)
{
    return run_pictures(encoder, NULL, values, n, out, NULL, err);
}

static im_code check_text(const im_view *text, im_error *err)
{
    size_t bad = 0;
    if (text->size > IM_LIMIT_QUERY_BYTES) {
        return im_fail_as(err, IM_REASON_QUERY_TOO_LONG, "text of %zu bytes, the limit is %u",
                          text->size, IM_LIMIT_QUERY_BYTES);
    }
    if (!im_utf8_valid(text->data, text->size, &bad)) {
        return im_fail_as(err, IM_REASON_QUERY_ENCODING, "text: byte %zu is not valid UTF-8",
                          bad + 1);
    }
    const char *nul = text->size > 0 ? memchr(text->data, 0, text->size) : NULL;
    if (nul != NULL) {
        return im_fail_as(err, IM_REASON_QUERY_ENCODING, "text: byte %zu is NUL",
                          (size_t)(nul - text->data) + 1);
    }
    return IM_OK;
}

im_code im_encoder_tokenize(const im_encoder *e, im_view text, uint32_t *ids, size_t *out_n,
                            bool *out_cut, im_error *err)
{
    im_code rc = check_text(&text, err);
    if (rc == IM_OK && e->tokenizer == NULL) {
        rc = im_fail(err, IM_ERR_INTERNAL, "model '%s' was opened without its text tower",
                     e->folder);
    }
    return rc == IM_OK
               ? tokenizer_encode(e->tokenizer, text, e->config.context, ids, out_n, out_cut, err)
               : rc;
}

/* Where transformers pools: at the first highest id when eos_token_id is 2, else at the first end
 * token (the first row when there is none). */
static size_t pooled_at(const model_config *c, const uint32_t *ids, size_t n)
{
    size_t best = 0;
    for (size_t i = 0; i < n; i++) {
        if (!c->pool_highest && ids[i] == c->eos) {
            return i;
        }
        if (c->pool_highest && ids[i] > ids[best]) {
            best = i;
        }
    }
    return best;
}

/* As many texts as fit the rows of one pass; each cut behind the row that is pooled. */
static im_code run_some_texts(im_encoder *e, const im_view *texts, size_t n, size_t *out_done,
                              float *out, bool *out_cut, im_error *err)
{
    sequence sequences[64];
    size_t used = 0;
    size_t done = 0;
    while (done < n && done < IM_COUNT(sequences) &&
           used + e->config.context <= e->text.tower.max_rows) {
        size_t length = 0;
        uint32_t *ids = e->text.ids + used;
        im_code rc = im_encoder_tokenize(e, texts[done], ids, &length,
                                         out_cut != NULL ? &out_cut[done] : NULL, err);
        if (rc != IM_OK) {
            return rc;
        }
        size_t pooled = pooled_at(&e->config, ids, length);
        if (out_cut != NULL && pooled + 1 < length) { /* words behind an end token */
            out_cut[done] = true;
        }
        sequences[done++] = (sequence){used, pooled + 1, pooled};
        used += pooled + 1;
    }
    text_tower_run(e, sequences, done, out, false);
    *out_done = done;
    return check_rows(e, out, done, NULL, err);
}

im_code im_encoder_texts(im_encoder *encoder, const im_view *texts, size_t n, float *out,
                         bool *out_cut, im_error *err)
{
    im_code rc = IM_OK;
    if (!encoder->has_text) {
        return im_fail(err, IM_ERR_INTERNAL, "model '%s' was opened without its text tower",
                       encoder->folder);
    }
    pthread_mutex_lock(&encoder->lock);
    im_fault_point("encode");
    for (size_t i = 0; i < n && rc == IM_OK;) {
        size_t done = 0;
        rc = run_some_texts(encoder, texts + i, n - i, &done, out + i * encoder->config.dim,
                            out_cut != NULL ? out_cut + i : NULL, err);
        i += done;
    }
    pthread_mutex_unlock(&encoder->lock);
    return rc;
}
