/* app/search_vectors.c — the parts of queries as vectors: the texts of all queries in one pass
 * through the encoder, pictures one by one, and the plan that standardises them. */
#include "app/search_internal.h"
#include "base/file.h"

/* ---- pictures ---- */

static im_code bytes_vector(im_library *library, const im_search_how *how, im_view bytes,
                            const char *name, const im_box *box, float *vector, im_error *err)
{
    im_image_options options = {.limits = how->limits, .exact_decode = how->exact_decode};
    uint8_t *pixels = im_alloc(1, picture_pixels_bytes(library->encoder));
    im_code rc =
        pixels != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for the picture '%s'", name);
    if (rc == IM_OK) {
        rc = picture_pixels(library->encoder, bytes, name, &options, box, pixels, err);
    }
    if (rc == IM_OK) {
        rc = im_encoder_pictures(library->encoder, pixels, 1, vector, NULL, err);
    }
    im_free(pixels);
    return rc;
}

/* An item of the library: its stored vector, or its file when a box is to be cut. */
static im_code item_vector(im_library *library, const im_search_how *how, const im_query_part *part,
                           float *vector, im_error *err)
{
    uint64_t slot = 0;
    char *path = NULL;
    im_bytes bytes = {0};
    if (!part->has_box) {
        im_item item; /* asked first: "no such picture" says more than "no vector" */
        im_code known = im_store_get_item(library->store, part->item, &item, err);
        return known != IM_OK
                   ? known
                   : im_store_get_embedding(library->store, part->item, library->model.id, vector,
                                            library->model.dim, &slot, err);
    }
    im_code rc = picture_read_item(library->store, part->item, &how->limits, &bytes, &path, err);
    if (rc == IM_OK) {
        rc = bytes_vector(library, how, im_view_of((const char *)bytes.data, bytes.size), path,
                          &part->box, vector, err);
    }
    im_bytes_clear(&bytes);
    im_free(path);
    return rc;
}

/* What comes in at standard input. */
static im_code input_vector(im_library *library, const im_search_how *how,
                            const im_query_part *part, float *vector, im_error *err)
{
    im_view bytes = {0};
    if (how->read_input == NULL) {
        return im_fail(err, IM_ERR_INVALID, "'@-' is standard input, which is not read here");
    }
    im_code rc = how->read_input(how->context, &bytes, err);
    return rc == IM_OK ? bytes_vector(library, how, bytes, "standard input",
                                      part->has_box ? &part->box : NULL, vector, err)
                       : rc;
}

static im_code picture_vector(im_library *library, const im_search_how *how,
                              const im_query_part *part, float *vector, im_error *err)
{
    im_bytes bytes = {0};
    const im_box *box = part->has_box ? &part->box : NULL;
    if (part->item != 0) {
        return item_vector(library, how, part, vector, err);
    }
    if (part->standard_input) {
        return input_vector(library, how, part, vector, err);
    }
    if (part->upload != NULL) {
        return im_fail(err, IM_ERR_INVALID, "picture 'file': '%s' names no part of a request",
                       part->upload);
    }
    if (part->bytes.data != NULL) {
        return bytes_vector(library, how, part->bytes, "the picture sent", box, vector, err);
    }
    if (how->read_file != NULL) {
        im_view given = {0};
        im_code rc = how->read_file(how->context, part->path, &given, err);
        return rc == IM_OK ? bytes_vector(library, how, given, part->path, box, vector, err) : rc;
    }
    im_code rc = how->inside_roots
                     ? picture_read_inside(library->store, part->path, &how->limits, &bytes, err)
                     : picture_read(part->path, &how->limits, &bytes, err);
    if (rc == IM_OK) {
        rc = bytes_vector(library, how, im_view_of((const char *)bytes.data, bytes.size),
                          part->path, box, vector, err);
    }
    if (rc != IM_OK) {
        im_at_file(err, part->path);
    }
    im_bytes_clear(&bytes);
    return rc;
}

/* ---- texts ---- */

/* The texts of all jobs, with where each belongs. */
typedef struct text_batch {
    im_view *texts;  /* [n] */
    float **vectors; /* [n] */
    search_job **jobs;
    float *out; /* [n, dim] */
    bool *cut;
    size_t n;
} text_batch;

static void free_batch(text_batch *batch)
{
    im_free(batch->texts);
    im_free(batch->vectors);
    im_free(batch->jobs);
    im_free(batch->out);
    im_free(batch->cut);
}

static im_code make_batch(search_job *jobs, size_t n, size_t dim, text_batch *out, im_error *err)
{
    size_t n_texts = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < jobs[i].answer->n_parts; j++) {
            n_texts += jobs[i].answer->parts[j].kind == IM_PART_TEXT;
        }
    }
    out->texts = im_alloc_zero(n_texts, sizeof(*out->texts));
    out->vectors = im_alloc_zero(n_texts, sizeof(*out->vectors));
    out->jobs = im_alloc_zero(n_texts, sizeof(*out->jobs));
    out->out = im_alloc(n_texts, dim * sizeof(float));
    out->cut = im_alloc_zero(n_texts, sizeof(*out->cut));
    if (out->texts == NULL || out->vectors == NULL || out->jobs == NULL || out->out == NULL ||
        out->cut == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the texts of a query");
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; jobs[i].rc == IM_OK && j < jobs[i].answer->n_parts; j++) {
            if (jobs[i].answer->parts[j].kind == IM_PART_TEXT) {
                out->texts[out->n] = jobs[i].answer->parts[j].text;
                out->vectors[out->n] = jobs[i].vectors + j * dim;
                out->jobs[out->n++] = &jobs[i];
            }
        }
    }
    return IM_OK;
}

static im_code encode_texts(im_library *library, search_job *jobs, size_t n, im_error *err)
{
    text_batch batch = {0};
    size_t dim = library->model.dim;
    im_code rc = make_batch(jobs, n, dim, &batch, err);
    if (rc == IM_OK && batch.n > 0) {
        rc = im_encoder_texts(library->encoder, batch.texts, batch.n, batch.out, batch.cut, err);
    }
    for (size_t i = 0; rc == IM_OK && i < batch.n; i++) {
        memcpy(batch.vectors[i], batch.out + i * dim, dim * sizeof(float));
        if (batch.cut[i]) {
            char sentence[96];
            (void)snprintf(sentence, sizeof(sentence), "text was cut at %zu tokens",
                           im_encoder_describe(library->encoder)->context);
            search_warn(batch.jobs[i]->answer, sentence);
        }
    }
    free_batch(&batch);
    return rc;
}

/* ---- all ---- */

/* Opens just the towers that the parts need. */
static im_code open_towers(im_library *library, const search_job *jobs, size_t n, im_error *err)
{
    bool text = false;
    bool picture = false;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < jobs[i].answer->n_parts; j++) {
            const im_query_part *part = &jobs[i].answer->parts[j];
            text = text || part->kind == IM_PART_TEXT;
            picture =
                picture || (part->kind == IM_PART_PICTURE && (part->item == 0 || part->has_box));
        }
    }
    if (!text && !picture) {
        return library_model(library, err);
    }
    im_towers towers = text && picture ? IM_TOWERS_BOTH : text ? IM_TOWERS_TEXT : IM_TOWERS_IMAGE;
    const im_events events = search_events(jobs[0].answer);
    return library_encoder(library, towers, &events, err);
}

static im_code plan_job(im_library *library, search_job *job)
{
    im_answer *answer = job->answer;
    size_t dim = library->model.dim;
    im_code rc = IM_OK;
    for (size_t j = 0; j < answer->n_parts && rc == IM_OK; j++) {
        if (answer->parts[j].kind == IM_PART_PICTURE) {
            rc = picture_vector(library, job->how, &answer->parts[j], job->vectors + j * dim,
                                &job->error);
        }
    }
    if (rc == IM_OK && answer->n_parts > 0) {
        rc = im_query_plan(answer->parts, job->vectors, answer->n_parts, dim, answer->combine,
                           library->model.background, library->model.n_background, &job->plan,
                           &job->error);
    }
    if (rc == IM_OK && job->plan.only_negative) {
        search_warn(answer, "only negative parts: ranked by absence");
    }
    return rc;
}

im_code search_vectors(im_library *library, search_job *jobs, size_t n, im_error *err)
{
    im_code rc = open_towers(library, jobs, n, err);
    size_t dim = library->model.dim;
    for (size_t i = 0; rc == IM_OK && i < n; i++) {
        size_t n_parts = jobs[i].answer->n_parts;
        (void)snprintf(jobs[i].answer->model, sizeof(jobs[i].answer->model), "%s",
                       library->model.name);
        jobs[i].vectors = im_alloc(n_parts, dim * sizeof(float));
        if (jobs[i].vectors == NULL) {
            rc = im_fail(err, IM_ERR_NOMEM, "no memory for the vectors of a query");
        }
    }
    if (rc == IM_OK) {
        rc = encode_texts(library, jobs, n, err);
    }
    for (size_t i = 0; rc == IM_OK && i < n; i++) {
        if (jobs[i].rc == IM_OK) {
            jobs[i].rc = plan_job(library, &jobs[i]);
        }
    }
    return rc;
}
