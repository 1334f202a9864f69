/* encoder/encoder.c — the calls that turn pictures and texts into vectors. */
#include "base/fault.h"
#include "encoder/encoder_internal.h"

#include <math.h>

/* ---- encoding ---- */

bool im_encoder_lost(im_encoder *e)
{
    pthread_mutex_lock(&e->lock);
    bool lost = packed_lost(e->packed) || weights_lost(e->weights) || e->text.table_bad;
    pthread_mutex_unlock(&e->lock);
    return lost;
}

im_code im_encoder_prepare(const im_encoder *e, const im_image *image, uint8_t *out, im_error *err)
{
    return im_image_prepare(image, &e->config.preprocess, out, err);
}

static im_code check_rows(const im_encoder *e, const float *rows, size_t n, size_t *out_bad,
                          im_error *err)
{
    if (packed_lost(e->packed)) {
        im_code rc = im_fail_as(err, IM_REASON_MODEL_LOST,
                                "packed weights '%s' were cut while in use", e->info.packed);
        im_hint(err, "open the model again: they are made anew");
        return rc;
    }
    if (weights_lost(e->weights)) {
        return im_fail_as(err, IM_REASON_MODEL_LOST,
                          "model '%s': its weights were cut while in use", e->folder);
    }
    if (e->text.table_bad) { /* after weights_lost: of a table that was cut, that says more */
        im_code rc = im_fail_as(err, IM_REASON_MODEL_WEIGHTS,
                                "model '%s': rows of its token table are not what they were when "
                                "it was prepared",
                                e->folder);
        im_hint(err, "bring the old weights file back, and look at the disk");
        return rc;
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
