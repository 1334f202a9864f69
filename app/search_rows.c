/* app/search_rows.c — which rows may be hits: a filter over columns, what no column holds from the
 * database, files that are there. */
#include "app/search_internal.h"

static size_t words_of(uint64_t n_rows)
{
    return (size_t)((n_rows + 63) / 64);
}

static uint64_t count_bits(const uint64_t *bits, size_t n_words)
{
    uint64_t n = 0;
    for (size_t i = 0; i < n_words; i++) {
        n += (uint64_t)__builtin_popcountll(bits[i]);
    }
    return n;
}

/* ---- what no column holds ---- */

/* im_filter_resolve: of what the compiler passes on here, each has its own question. */
static im_code find_slots(void *context, const char *field, im_filter_op op, const char *value,
                          uint64_t *out_bits, im_error *err)
{
    static const struct {
        const char *field;
        library_slots_fn find;
    } rows[] = {{"path", im_store_slots_of_path_glob},
                {"in", im_store_slots_in},
                {"tag", im_store_slots_of_tag},
                {"key", im_store_slots_of_key},
                {"caption", im_store_slots_of_text}};
    im_library *library = context;
    (void)op; /* ':' and '=' mean the same for all of these */
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        if (strcmp(rows[i].field, field) == 0) {
            return library_slots(library, rows[i].find, field, im_view_from(value), out_bits, err);
        }
    }
    return im_fail(err, IM_ERR_INTERNAL, "no bitmap answers the field '%s'", field);
}

/* Texts asked for with "+": to be found in names, tags, captions or visible text. */
static im_code keep_musts(im_library *library, search_job *job, im_error *err)
{
    size_t n_words = words_of(library->index_record.n_rows);
    im_code rc = IM_OK;
    uint64_t *bits = NULL;
    for (size_t i = 0; rc == IM_OK && i < job->answer->n_parts; i++) {
        const im_query_part *part = &job->answer->parts[i];
        if (!part->must) {
            continue;
        }
        if (bits == NULL) {
            bits = im_alloc_zero(n_words, sizeof(*bits));
        }
        rc = bits != NULL
                 ? library_slots(library, im_store_slots_of_text, "caption", part->text, bits, err)
                 : im_fail(err, IM_ERR_NOMEM, "no memory for a filter");
        for (size_t w = 0; rc == IM_OK && w < n_words; w++) {
            job->own_rows[w] &= bits[w];
        }
    }
    im_free(bits);
    return rc;
}

/* ---- the filter ---- */

static im_code apply_condition(im_library *library, const im_condition *condition, uint64_t *bits,
                               im_error *err)
{
    im_error cause = IM_ERROR_INIT;
    im_code rc = library_columns(library, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = im_columns_filter(library->columns, condition, library->alive, bits, NULL, &cause);
    if (rc == IM_ERR_FORMAT) { /* a block failed its checksum at its first touch */
        rc = library_columns_anew(library, err);
        return rc == IM_OK
                   ? im_columns_filter(library->columns, condition, library->alive, bits, NULL, err)
                   : rc;
    }
    if (rc != IM_OK && err != NULL) {
        *err = cause;
    }
    return rc;
}

static im_code apply_filter(im_library *library, search_job *job, im_error *err)
{
    const im_filter_options options = {.fields = library->fields.fields,
                                       .n_fields = library->fields.n,
                                       .n_slots = library->index_record.n_rows,
                                       .resolve = {library, find_slots}};
    im_condition *condition = NULL;
    im_error found = IM_ERROR_INIT;
    im_code rc = im_filter_compile(job->asked->query.filter, &options, &condition, &found);
    if (search_own_fault(job, rc, &found)) {
        return IM_OK;
    }
    if (rc != IM_OK) {
        if (err != NULL) {
            *err = found;
        }
        return rc;
    }
    rc = apply_condition(library, condition, job->own_rows, err);
    im_condition_free(condition);
    return rc;
}

/* ---- all ---- */

static im_code find_left_out(im_library *library, search_job *job, im_error *err)
{
    uint64_t slot = 0;
    float *vector = NULL;
    if (job->how->leave_out == 0) {
        return IM_OK;
    }
    vector = im_alloc(library->model.dim, sizeof(float));
    if (vector == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a vector");
    }
    im_error none = IM_ERROR_INIT;
    im_code rc = im_store_get_embedding(library->store, job->how->leave_out, library->model.id,
                                        vector, library->model.dim, &slot, &none);
    const uint64_t *rows = job->rows != NULL ? job->rows : library->alive;
    job->left_out = rc == IM_OK && slot < library->index_record.n_rows &&
                    (rows[slot / 64] >> (slot % 64) & 1) != 0;
    if (job->left_out && job->own_rows != NULL) {
        job->own_rows[slot / 64] &= ~(1ull << (slot % 64));
    }
    im_free(vector);
    return IM_OK;
}

/* Of own_rows only that of one item. */
static void keep_only(im_library *library, search_job *job, float *scratch)
{
    uint64_t slot = 0;
    im_error none = IM_ERROR_INIT;
    im_code rc = im_store_get_embedding(library->store, job->how->only, library->model.id, scratch,
                                        library->model.dim, &slot, &none);
    bool in = rc == IM_OK && slot < library->index_record.n_rows &&
              (job->own_rows[slot / 64] >> (slot % 64) & 1) != 0;
    memset(job->own_rows, 0, words_of(library->index_record.n_rows) * sizeof(uint64_t));
    if (in) {
        job->own_rows[slot / 64] = 1ull << (slot % 64);
    }
}

static im_code apply_only(im_library *library, search_job *job, im_error *err)
{
    float *scratch = im_alloc(library->model.dim, sizeof(float));
    if (scratch == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a vector");
    }
    keep_only(library, job, scratch);
    im_free(scratch);
    return IM_OK;
}

im_code search_rows(im_library *library, search_job *job, im_error *err)
{
    size_t n_words = words_of(library->index_record.n_rows);
    bool must = false;
    im_code rc = IM_OK;
    for (size_t i = 0; i < job->answer->n_parts; i++) {
        must = must || job->answer->parts[i].must;
    }
    const uint64_t *base = library->present != NULL ? library->present : library->alive;
    if (must || job->how->only != 0 || job->asked->query.filter != NULL || !search_is_ranked(job)) {
        job->own_rows = im_alloc_zero(n_words, sizeof(uint64_t));
        if (job->own_rows == NULL) {
            return im_fail(err, IM_ERR_NOMEM, "no memory for %zu bits of a filter", n_words * 64);
        }
        memcpy(job->own_rows, base, n_words * sizeof(uint64_t));
        job->rows = job->own_rows;
    } else {
        job->rows = library->present; /* NULL: the index knows which are alive */
    }
    if (job->asked->query.filter != NULL) {
        rc = apply_filter(library, job, err); /* first: it writes all bits */
    }
    if (rc == IM_OK && job->rc == IM_OK && job->how->only != 0) {
        rc = apply_only(library, job, err);
    }
    if (rc == IM_OK && job->rc == IM_OK && must) {
        rc = keep_musts(library, job, err);
    }
    if (rc == IM_OK && job->rc == IM_OK) {
        job->n_rows = count_bits(job->rows != NULL ? job->rows : base, n_words);
        rc = find_left_out(library, job, err);
    }
    return rc;
}
