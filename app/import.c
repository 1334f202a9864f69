/* app/import.c — `import`: all of the folder is checked before anything is written, then it is read
 * a second time and written in batches, each a turn of the lock and one transaction as in
 * add_write.c. A row is known again by its digest, so that an import that was stopped goes on, and
 * one that is repeated changes nothing. */
#include "app/exchange_internal.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"

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
    uint64_t first;    /* number of rows[0] */
    own_fields fields; /* of the library, then of the rows checked too: types must not differ */
    progress_meter meter;
} import_run;

/* ---- checking ---- */

/* The first value of a name fixes its type, in the library or in this folder. */
static im_code check_types(import_run *run, const import_row *row, im_error *err)
{
    for (size_t i = 0; i < row->n_fields; i++) {
        const import_field *given = &row->fields[i];
        const im_own_field *field = own_fields_find(&run->fields, given->name);
        if (field != NULL && own_value_type(field) != given->value.type) {
            return im_fail_as(err, IM_REASON_FIELD_TYPE,
                              "field '%s': found a value of type %s, expected type %s", field->name,
                              im_value_type_name(given->value.type),
                              im_value_type_name(own_value_type(field)));
        }
        if (field == NULL && !own_fields_add(&run->fields, given->name, given->value.type)) {
            return im_fail(err, IM_ERR_NOMEM, "no memory for fields");
        }
    }
    return IM_OK;
}

/* Sentences name the row. */
static im_code at_row(const import_run *run, size_t i, im_code rc, im_error *error, im_error *err)
{
    const import_source *source = &run->source;
    if (rc != IM_OK) {
        import_at_row(source->items_name != NULL ? source->items_name : source->npy_name,
                      run->first + i, error);
        if (err != NULL) {
            *err = *error;
        }
    }
    return rc;
}

static im_code check_batch(import_run *run, im_error *err)
{
    im_error error = IM_ERROR_INIT;
    im_code rc = IM_OK;
    for (size_t i = 0; i < run->n && rc == IM_OK; i++) {
        rc = at_row(run, i, check_types(run, &run->rows[i], &error), &error, err);
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

/* Under the lock, inside a transaction. */
static im_code write_rows(import_run *run, im_import_report *report, im_error *err)
{
    im_store *store = run->library->store;
    im_index_record record = {0};
    im_index_writer *writer = NULL;
    im_error error = IM_ERROR_INIT;
    im_code rc = index_writer_ready(run->library, &run->library->model, &record, &writer, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = im_store_begin(store, err);
    if (rc != IM_OK) {
        im_index_writer_close(writer);
        return rc;
    }
    for (size_t i = 0; i < run->n && rc == IM_OK; i++) {
        rc = at_row(run, i, write_row(run, i, writer, &record, report, &error), &error, err);
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
        if (rc == IM_OK && run->n > 0) {
            rc = write ? write_batch(run, err) : check_batch(run, err);
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
    own_fields_clear(&run->fields);
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
    import_model model = {.dim = 0};
    import_run run = {.library = library,
                      .request = request,
                      .events = events,
                      .report = out_report,
                      .source = {.npy = -1, .items = -1}};
    memset(out_report, 0, sizeof(*out_report));
    im_code rc = open_run(&run, err);
    if (rc == IM_OK) {
        rc = import_model_check(library, &run.source, request->trust_model, &model, err);
    }
    if (rc == IM_OK) {
        rc = own_fields_load(library->store, &run.fields, err);
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
