/* app/import.c — `import`: all of the folder is checked before anything is written, then it is read
 * a second time and written in batches, each a turn of the lock and one transaction as in
 * add_write.c. A row is known again by its digest, so that an import that was stopped goes on, and
 * one that is repeated changes nothing. */
#include "app/exchange_internal.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"

#define MODEL_JSON_BYTES (1u << 20)

typedef struct import_run {
    im_library *library;
    const im_import_request *request;
    const im_events *events;
    im_import_report *report;
    import_source source;
    import_row *rows; /* [IMPORT_ROWS], the first n are filled; owned */
    float *vectors;   /* [IMPORT_ROWS, dim], owned */
    float *scratch;   /* [dim], owned */
    size_t n;
    uint64_t first; /* number of rows[0] */
    progress_meter meter;
} import_run;

/* ---- the model ---- */

typedef struct target_model {
    char name[128];
    char digest[65];
    size_t dim;
    bool is_new; /* the library has none yet */
} target_model;

/* The model that the library would get by `add`: nothing is written yet. */
static im_code find_new_model(im_library *library, target_model *out, im_error *err)
{
    char *folder = NULL;
    im_pool *pool = NULL;
    im_encoder *encoder = NULL;
    im_code rc = im_app_model_folder(&library->places, library->model_wanted, &folder, err);
    if (rc == IM_OK) {
        rc = library_pool(library, &pool, err);
    }
    if (rc == IM_OK) {
        im_encoder_options options = {
            .precision = library->precision, .towers = IM_TOWERS_TEXT, .pool = pool};
        rc = im_encoder_open(folder, &options, &encoder, err);
    }
    if (rc == IM_OK) {
        rc = im_encoder_digest(folder, out->digest, err);
    }
    if (rc == IM_OK) {
        const im_encoder_info *info = im_encoder_describe(encoder);
        (void)snprintf(out->name, sizeof(out->name), "%s", info->name);
        out->dim = info->dim;
        out->is_new = true;
    }
    im_encoder_close(encoder);
    im_free(folder);
    return rc;
}

static im_code find_model(im_library *library, target_model *out, im_error *err)
{
    im_error none = IM_ERROR_INIT;
    im_code rc = library_model(library, &none);
    if (rc == IM_OK) {
        (void)snprintf(out->name, sizeof(out->name), "%s", library->model.name);
        memcpy(out->digest, library->model.digest, sizeof(out->digest));
        out->dim = library->model.dim;
    } else if (strcmp(none.reason, im_reason_name(IM_REASON_LIBRARY_EMPTY)) == 0) {
        rc = find_new_model(library, out, err);
    } else if (err != NULL) {
        *err = none;
    }
    return rc;
}

static im_code check_number(const json_t *facts, const char *key, uint64_t found, const char *file,
                            im_error *err)
{
    const json_t *value = json_object_get(facts, key);
    if (value == NULL || (json_is_integer(value) && json_integer_value(value) >= 0 &&
                          (uint64_t)json_integer_value(value) == found)) {
        return IM_OK;
    }
    char *text = json_dumps(value, JSON_ENCODE_ANY);
    im_code rc = im_fail(err, IM_ERR_INVALID, "'%s': '%s' is %.40s, but %s has %llu", file, key,
                         text != NULL ? text : "?", EXCHANGE_VECTORS, (unsigned long long)found);
    free(text); /* NOLINT: jansson's own */
    return rc;
}

/* What model.json says of the vectors against the model of the library. */
static im_code compare_model(const import_source *source, const json_t *facts,
                             const target_model *model, im_error *err)
{
    const char *name = json_string_value(json_object_get(facts, "name"));
    const char *digest = json_string_value(json_object_get(facts, "digest"));
    im_code rc = IM_OK;
    if (name == NULL && digest == NULL) {
        return im_fail(err, IM_ERR_FORMAT,
                       "'%s' has neither a 'digest' nor a 'name' that is a text",
                       source->model_name);
    }
    if (digest != NULL ? strcmp(digest, model->digest) != 0 : strcmp(name, model->name) != 0) {
        rc = im_fail_as(err, IM_REASON_MODEL_MISMATCH,
                        "'%s': the vectors were made with model '%.100s' (%.12s), the library's is "
                        "'%.100s' (%.12s)",
                        source->model_name, name != NULL ? name : "?",
                        digest != NULL ? digest : "no digest", model->name, model->digest);
        im_hint(err, "import into a new library: --library DIR --model NAME");
        return rc;
    }
    rc = check_number(facts, "dimension", source->head.dim, source->model_name, err);
    return rc == IM_OK ? check_number(facts, "n", source->head.rows, source->model_name, err) : rc;
}

static im_code check_model_json(const import_run *run, const target_model *model, im_error *err)
{
    const import_source *source = &run->source;
    im_bytes bytes = {0};
    json_t *facts = NULL;
    if (!im_file_exists(source->model_name)) {
        if (run->request->trust_model) {
            return IM_OK;
        }
        im_code rc = im_fail_as(err, IM_REASON_MODEL_MISMATCH,
                                "there is no '%s' that says which model made the vectors; the "
                                "library's is '%.100s'",
                                source->model_name, model->name);
        im_hint(err, "if you know that it was this one: --trust-model");
        return rc;
    }
    im_code rc = im_file_read(source->model_name, MODEL_JSON_BYTES, &bytes, err);
    if (rc == IM_OK) {
        rc = im_json_parse((const char *)bytes.data, bytes.size, source->model_name, &facts, err);
    }
    if (rc == IM_OK) {
        rc = compare_model(source, facts, model, err);
    }
    json_decref(facts);
    im_bytes_clear(&bytes);
    return rc;
}

static im_code check_model(import_run *run, target_model *model, im_error *err)
{
    im_code rc = find_model(run->library, model, err);
    if (rc == IM_OK) {
        rc = check_model_json(run, model, err);
    }
    if (rc == IM_OK && run->source.head.dim != model->dim) {
        rc = im_fail_as(err, IM_REASON_VECTOR_INVALID,
                        "'%s' has vectors of %zu numbers, model '%.100s' makes %zu",
                        run->source.npy_name, run->source.head.dim, model->name, model->dim);
        im_hint(err, "vectors of another model need a library of their own");
    }
    return rc;
}

/* ---- one row ---- */

/* What stands for the digest of a picture that nobody has told: the same for the same folder. */
static void digest_of(const import_run *run, size_t i, uint8_t out[IM_SHA256_BYTES])
{
    static const char domain[] = "imago import, a vector without its picture\n";
    const import_row *row = &run->rows[i];
    im_sha256 state;
    const char *identity = row->identity != NULL ? row->identity : im_str_text(&row->name);
    size_t dim = run->source.head.dim;
    im_sha256_init(&state);
    im_sha256_add(&state, domain, sizeof(domain) - 1);
    im_sha256_add(&state, run->vectors + i * dim, dim * sizeof(float));
    im_sha256_add(&state, identity, strlen(identity));
    im_sha256_end(&state, out);
}

static im_code put_item(im_store *store, import_row *row, uint64_t *out_item, im_error *err)
{
    im_item *item = &row->item;
    (void)snprintf(item->source, sizeof(item->source), "import");
    item->added_ns = item->added_ns != 0 ? item->added_ns : im_clock_wall_ns();
    im_code rc = im_store_forget_removed(store, item->sha256, err); /* an import asks by name */
    if (rc == IM_OK) {
        rc = im_store_put_item(store, item, out_item, err);
    }
    return rc == IM_OK ? im_store_set_item_name(store, *out_item, im_str_text(&row->name), err)
                       : rc;
}

static im_code put_vector(import_run *run, size_t i, uint64_t item, im_index_writer *writer,
                          im_index_record *record, im_error *err)
{
    uint64_t slot = 0;
    const im_model_row *model = &run->library->model;
    const float *vector = run->vectors + i * model->dim;
    im_code rc = im_index_writer_append(writer, &item, vector, 1, &slot, err);
    if (rc == IM_OK) {
        rc = im_store_put_embedding(run->library->store, item, model->id, slot, vector, model->dim,
                                    err);
        record->n_rows = slot + 1;
    }
    return rc;
}

typedef struct caption_search {
    const im_caption *caption;
    bool found;
} caption_search;

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool match_caption(void *context, const im_caption *caption)
{
    caption_search *search = context;
    const im_caption *wanted = search->caption;
    search->found = caption->kind == wanted->kind && caption->source == wanted->source &&
                    same_text(caption->vlm_model, wanted->vlm_model) &&
                    im_view_equal(caption->text, wanted->text);
    return !search->found;
}

static im_code put_caption(im_store *store, uint64_t item, const im_caption *caption, im_error *err)
{
    caption_search search = {caption, false};
    im_code rc = im_store_each_caption_of_item(store, item, match_caption, &search, err);
    return rc == IM_OK && !search.found ? im_store_put_caption(store, item, caption, err) : rc;
}

static im_code put_texts(im_store *store, uint64_t item, const import_row *row, bool *out_replaced,
                         im_error *err)
{
    uint64_t replaced = 0;
    im_code rc = IM_OK;
    for (size_t i = 0; rc == IM_OK && i < row->n_tags; i++) {
        rc = im_store_put_tag(store, item, row->tags[i].name, row->tags[i].source, err);
    }
    for (size_t i = 0; rc == IM_OK && i < row->n_captions; i++) {
        rc = put_caption(store, item, &row->captions[i], err);
    }
    for (size_t i = 0; rc == IM_OK && i < row->n_fields; i++) {
        rc = im_store_put_field(store, item, row->fields[i].name, &row->fields[i].value, err);
    }
    if (rc == IM_OK && row->key != NULL) {
        rc = im_store_put_key(store, item, row->key, &replaced, err);
    }
    *out_replaced = replaced != 0;
    return rc;
}

static bool note_file(void *context, const im_file_row *file)
{
    bool *found = context;
    (void)file;
    *found = true;
    return false;
}

/* An item that is there keeps what it has; it gets a vector when it lacks one. */
static im_code find_or_put(import_run *run, size_t i, im_index_writer *writer,
                           im_index_record *record, uint64_t *out_item, bool *out_made,
                           im_error *err)
{
    im_store *store = run->library->store;
    const im_model_row *model = &run->library->model;
    import_row *row = &run->rows[i];
    uint64_t slot = 0;
    im_error missing = IM_ERROR_INIT;
    if (!row->has_sha256) {
        digest_of(run, i, row->item.sha256);
    }
    im_code rc = im_store_find_item(store, row->item.sha256, out_item, err);
    *out_made = rc == IM_OK && *out_item == 0;
    if (*out_made) {
        rc = put_item(store, row, out_item, err);
        return rc == IM_OK ? put_vector(run, i, *out_item, writer, record, err) : rc;
    }
    if (rc == IM_OK) {
        rc = im_store_get_embedding(store, *out_item, model->id, run->scratch, model->dim, &slot,
                                    &missing);
        if (rc == IM_ERR_NOT_FOUND) {
            rc = put_vector(run, i, *out_item, writer, record, err);
        } else if (rc != IM_OK && err != NULL) {
            *err = missing;
        }
    }
    return rc;
}

static im_code write_row(import_run *run, size_t i, im_index_writer *writer,
                         im_index_record *record, im_import_report *report, im_error *err)
{
    im_store *store = run->library->store;
    uint64_t item = 0;
    uint64_t before = 0;
    uint64_t after = 0;
    bool made = false;
    bool replaced = false;
    bool has_file = false;
    im_code rc = im_store_change_seq(store, &before, err);
    if (rc == IM_OK) {
        rc = find_or_put(run, i, writer, record, &item, &made, err);
    }
    if (rc == IM_OK) {
        rc = put_texts(store, item, &run->rows[i], &replaced, err);
    }
    if (rc == IM_OK) {
        rc = im_store_change_seq(store, &after, err);
    }
    if (rc == IM_OK && !made) {
        rc = im_store_each_file_of_item(store, item, note_file, &has_file, err);
    }
    report->added += made;
    report->merged += !made && after != before;
    report->unchanged += !made && after == before;
    report->replaced += replaced;
    report->without_file += !has_file;
    return rc;
}

/* ---- batches ---- */

/* Under the lock, inside a transaction. Sentences name the row. */
static im_code write_rows(import_run *run, im_import_report *report, im_error *err)
{
    im_store *store = run->library->store;
    im_index_record record = {0};
    im_index_writer *writer = NULL;
    im_error error = IM_ERROR_INIT;
    im_code rc = index_writer_ready(run->library, &record, &writer, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = im_store_begin(store, err);
    if (rc != IM_OK) {
        im_index_writer_close(writer);
        return rc;
    }
    for (size_t i = 0; i < run->n && rc == IM_OK; i++) {
        rc = write_row(run, i, writer, &record, report, &error);
        if (rc != IM_OK) {
            const import_source *source = &run->source;
            import_at_row(source->items_name != NULL ? source->items_name : source->npy_name,
                          run->first + i, &error);
            if (err != NULL) {
                *err = error;
            }
        }
    }
    if (rc == IM_OK) {
        rc = im_index_writer_sync(writer, err);
    }
    if (rc == IM_OK) {
        rc = im_store_set_index(store, run->library->model.id, &record, err);
    }
    if (rc == IM_OK) {
        rc = im_store_commit(store, err);
    } else {
        im_store_rollback(store);
    }
    im_index_writer_close(writer);
    return rc;
}

static im_code write_batch(import_run *run, im_error *err)
{
    im_import_report counted = *run->report;
    im_store *store = run->library->store;
    im_code rc = im_store_lock(store, IM_LIMIT_LOCK_WAIT_MS, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = write_rows(run, &counted, err);
    im_store_unlock(store);
    if (rc == IM_OK) {
        counted.rows += run->n;
        *run->report = counted;
    }
    return rc;
}

/* One pass over the folder: looking only, or writing. Ends early, and well, when a stop is asked
 * for. */
static im_code run_pass(import_run *run, const char *stage, bool write, im_error *err)
{
    im_code rc = IM_OK;
    import_source_rewind(&run->source);
    meter_start(&run->meter, stage, run->source.head.rows);
    do {
        run->first = run->source.next_row;
        rc = import_source_read(&run->source, run->rows, run->vectors, &run->n, err);
        if (rc == IM_OK && write && run->n > 0) {
            rc = write_batch(run, err);
        }
        for (size_t i = 0; i < run->n; i++) {
            import_row_clear(&run->rows[i]);
        }
        meter_tick(&run->meter, run->first + run->n, 0, run->events);
    } while (rc == IM_OK && run->n > 0 && !im_stop_asked());
    meter_end(&run->meter, run->events);
    return rc;
}

/* ---- the whole ---- */

static im_code open_run(import_run *run, im_error *err)
{
    im_code rc =
        import_source_open(run->request->folder, run->request->normalise, &run->source, err);
    if (rc != IM_OK) {
        return rc;
    }
    size_t dim = run->source.head.dim;
    run->rows = im_alloc_zero(IMPORT_ROWS, sizeof(*run->rows));
    run->vectors = im_alloc(IMPORT_ROWS, dim * sizeof(float));
    run->scratch = im_alloc(dim, sizeof(float));
    return run->rows != NULL && run->vectors != NULL && run->scratch != NULL
               ? IM_OK
               : im_fail(err, IM_ERR_NOMEM, "no memory for an import");
}

static void close_run(import_run *run)
{
    import_source_close(&run->source);
    im_free(run->rows);
    im_free(run->vectors);
    im_free(run->scratch);
}

static im_code verdict(im_library *library, im_import_report *report, im_error *err)
{
    report->interrupted = im_stop_asked();
    if (!report->interrupted) {
        return IM_OK;
    }
    im_code rc = im_fail_as(err, IM_REASON_INTERRUPTED, "stopped: %llu added, library '%s' is good",
                            (unsigned long long)report->added, library->folder);
    im_hint(err, "the same command goes on from here");
    return rc;
}

im_code im_app_import(im_library *library, const im_import_request *request,
                      const im_events *events, im_import_report *out_report, im_error *err)
{
    uint64_t start = im_clock_ns();
    target_model model = {.dim = 0};
    import_run run = {.library = library,
                      .request = request,
                      .events = events,
                      .report = out_report,
                      .source = {.npy = -1, .items = -1}};
    memset(out_report, 0, sizeof(*out_report));
    im_code rc = open_run(&run, err);
    if (rc == IM_OK) {
        rc = check_model(&run, &model, err);
    }
    if (rc == IM_OK) {
        rc = run_pass(&run, "checking", false, err);
        out_report->normalised = run.source.n_normalised;
    }
    if (rc == IM_OK && model.is_new && !im_stop_asked()) {
        rc = model_prepare(library, events, err);
    }
    if (rc == IM_OK && !im_stop_asked()) {
        rc = run_pass(&run, "importing", true, err);
    }
    if (rc == IM_OK && out_report->added > 0) {
        library_update_caches(library, events);
    }
    if (out_report->rows > 0) {
        library_close_index(library);
    }
    out_report->seconds = im_clock_ms_since(start) / 1e3;
    close_run(&run);
    return rc == IM_OK ? verdict(library, out_report, err) : rc;
}

void im_import_report_json(im_json_writer *w, const im_import_report *r)
{
    im_json_begin_object(w);
    im_json_put_string(w, "event", "done");
    im_json_put_uint(w, "rows", r->rows);
    im_json_put_uint(w, "added", r->added);
    im_json_put_uint(w, "merged", r->merged);
    im_json_put_uint(w, "unchanged", r->unchanged);
    im_json_put_uint(w, "replaced", r->replaced);
    im_json_put_uint(w, "normalised", r->normalised);
    im_json_put_uint(w, "without_file", r->without_file);
    im_json_put_double(w, "seconds", r->seconds);
    im_json_put_bool(w, "interrupted", r->interrupted);
    im_json_end_object(w);
}
