/* encoder/packing.c — making a file of packed weights: one tower after the other is packed in
 * memory, checked and written, so that the larger one is all that it takes. */
#include "encoder/encoder_internal.h"

#include <unistd.h>

typedef struct packing_job {
    im_encoder *e;
    const im_packing *packing;
    packed_writer writer;
    uint64_t total; /* bytes, for the progress */
} packing_job;

static void show(const packing_job *job, uint64_t done)
{
    if (job->packing->progress != NULL) {
        job->packing->progress(job->packing->context, done, job->total);
    }
}

/* Pieces are written and forgotten: they point into the tower, which goes next. */
static im_code write_pieces(packing_job *job, packed_pieces *made, im_error *err)
{
    im_code rc = packed_put(&job->writer, made, err);
    packed_pieces_clear(made);
    show(job, IM_MIN(job->writer.at, job->total - 1)); /* the last bytes are those of the end */
    return rc;
}

static im_code pack_image(packing_job *job, im_error *err)
{
    im_encoder *e = job->e;
    packed_pieces made = {0};
    weight_source source = {.kernel = e->kernel, .weights = e->weights, .made = &made};
    im_code rc = image_tower_load(e, &source, 1, err);
    if (rc == IM_OK) {
        e->has_image = true;
        rc = encoder_self_check(e, err);
        e->has_image = false;
    }
    rc = rc == IM_OK ? write_pieces(job, &made, err) : rc;
    packed_pieces_clear(&made);
    image_tower_clear(&e->image);
    return rc;
}

static im_code pack_text(packing_job *job, im_error *err)
{
    im_encoder *e = job->e;
    packed_pieces made = {0};
    weight_source source = {.kernel = e->kernel, .weights = e->weights, .made = &made};
    im_code rc = tokenizer_open(e->folder, e->config.vocabulary, &e->tokenizer, err);
    if (rc == IM_OK) {
        rc = text_tower_load(e, &source, err);
    }
    if (rc == IM_OK) {
        e->has_text = true;
        rc = encoder_self_check(e, err);
        e->has_text = false;
    }
    if (rc == IM_OK) {
        rc = tokenizer_pack(e->tokenizer, &made, err);
    }
    rc = rc == IM_OK ? write_pieces(job, &made, err) : rc;
    packed_pieces_clear(&made);
    text_tower_clear(&e->text);
    tokenizer_close(e->tokenizer);
    e->tokenizer = NULL;
    return rc;
}

/* What was packed must be the model that its name says: a file that was changed meanwhile has
 * another digest, or raised an error before. */
static im_code check_digest(const packing_job *job, const packed_key *key, im_error *err)
{
    char digest[65];
    im_code rc = im_encoder_digest(job->e->folder, digest, err);
    if (rc == IM_OK && strcmp(digest, key->digest) != 0) {
        rc = im_fail_as(err, IM_REASON_MODEL_WEIGHTS,
                        "model folder '%s' was changed while it was packed", job->e->folder);
    }
    if (rc == IM_OK && weights_lost(job->e->weights)) {
        rc = im_fail_as(err, IM_REASON_MODEL_LOST, "model '%s': the weights were cut while read",
                        job->e->folder);
    }
    return rc;
}

static im_code write_file(packing_job *job, const char *path, const packed_key *key, im_error *err)
{
    im_code rc = packed_begin(&job->writer, path, err);
    if (rc == IM_OK) {
        show(job, 0);
        rc = pack_image(job, err);
    }
    if (rc == IM_OK) {
        rc = pack_text(job, err);
    }
    if (rc == IM_OK) {
        rc = check_digest(job, key, err);
    }
    if (rc == IM_OK) {
        rc = packed_end(&job->writer, key, err);
    }
    if (rc == IM_OK) {
        show(job, job->total);
    }
    packed_writer_clear(&job->writer);
    return rc;
}

static bool is_there(const char *path, const packed_key *key)
{
    packed_file *f = NULL;
    im_error ignored = IM_ERROR_INIT;
    bool there = packed_open(path, key, &f, &ignored) == IM_OK;
    packed_close(f);
    return there;
}

im_code packing_make(im_encoder *e, const im_encoder_options *options, const char *path,
                     const packed_key *key, bool replace, im_error *err)
{
    const im_packing *packing = options->packing;
    uint64_t memory_bytes = options->memory_bytes;
    int lock = -1;
    weights_kind none = {.precision = e->precision, .mapped = true};
    weights_kind kind = {.precision = e->precision};
    uint64_t image = encoder_image_bytes(&e->config, 1, kind);
    uint64_t text = encoder_text_bytes(&e->config, kind);
    packing_job job = {.e = e,
                       .packing = packing,
                       .writer = {.fd = -1},
                       .total = image - encoder_image_bytes(&e->config, 1, none) + text -
                                encoder_text_bytes(&e->config, none)};
    if (memory_bytes != 0 && IM_MAX(image, text) > memory_bytes) {
        return im_fail(err, IM_ERR_LIMIT, "no memory is allowed to pack the weights of '%s'",
                       e->folder);
    }
    im_code rc = im_folder_make(packing->folder, err);
    if (rc == IM_OK) {
        rc = packed_lock(packing->folder, &lock, err);
    }
    if (rc == IM_OK && (replace || !is_there(path, key))) {
        rc = write_file(&job, path, key, err);
        if (rc == IM_OK) {
            packed_clean(packing->folder, path);
        }
    }
    if (lock >= 0) {
        (void)close(lock);
    }
    return rc;
}
