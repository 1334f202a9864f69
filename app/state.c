/* app/state.c — `status` and `check`. */
#include "app/app_internal.h"
#include "app/vlm_internal.h"
#include "base/file.h"

/* ---- status ---- */

static bool put_root(void *context, const im_root *root)
{
    im_json_writer *w = context;
    im_json_begin_object(w);
    im_json_put_uint(w, "id", root->id);
    answer_put_path(w, root->path);
    im_json_put_bool(w, "recursive", root->recursive);
    im_json_put_bool(w, "watch", root->watch);
    im_json_put_bool(w, "online", im_file_exists(root->path));
    im_json_end_object(w);
    return true;
}

static void put_model(im_json_writer *w, const im_model_row *model, const precision_choice *choice)
{
    if (model->id == 0) {
        im_json_put_null(w, "model");
        return;
    }
    char digest[65];
    model_files_digest(model, digest);
    im_json_key(w, "model");
    im_json_begin_object(w);
    im_json_put_string(w, "name", model->name);
    im_json_put_string(w, "folder", model->folder);
    im_json_put_string(w, "digest", digest);
    im_json_put_uint(w, "dimensions", model->dim);
    precision_put(w, choice);
    im_json_put_uint(w, "background", model->n_background);
    im_json_end_object(w);
}

/* What would search the index: headers are read, no rows (FAISS would copy all). A damaged index is
 * for `check` to tell. */
static void describe_index(im_library *library, const im_model_row *model,
                           const im_index_record *record, im_index_stats *out)
{
    im_index *index = NULL;
    im_index_state state;
    im_index_options options = {.engine = engine_is_faiss(library->engine) ? IM_ENGINE_AUTO
                                                                           : library->engine};
    im_error ignored = IM_ERROR_INIT;
    char *folder = library_index_folder(library, model->digest);
    *out = (im_index_stats){.engine = library->engine == IM_ENGINE_FLAT ? "flat" : "scan"};
    library_index_state(library, model, record, &state);
    if (folder != NULL && record->n_rows > 0 && library->engine != IM_ENGINE_FLAT &&
        im_index_open(folder, &state, NULL, &options, &index, &ignored) == IM_OK) {
        im_index_describe(index, out);
    }
    im_index_close(index);
    im_free(folder);
}

/* The budget, and what this process holds now. */
static void put_memory(im_json_writer *w, const im_library *library)
{
    im_memory_usage used = im_memory_used();
    im_json_key(w, "memory");
    im_json_begin_object(w);
    if (library->memory_bytes != 0) {
        im_json_put_uint(w, "budget_bytes", library->memory_bytes);
        im_json_put_string(w, "budget_of", library->memory_of_cgroup ? "cgroup" : "--memory");
    } else {
        im_json_put_null(w, "budget_bytes");
    }
    im_json_put_uint(w, "private_bytes", used.private_bytes);
    im_json_put_uint(w, "mapped_bytes", used.mapped_bytes);
    im_json_end_object(w);
}

im_code im_app_status_json(im_library *library, im_json_writer *w, im_error *err)
{
    im_model_row model = {0};
    im_store_counts counts;
    im_index_record record = {0};
    precision_choice choice = {0};
    uint64_t waiting = 0;
    uint64_t running = 0;
    im_code rc = im_store_active_model(library->store, &model, err);
    if (rc == IM_OK) {
        rc = precision_of_row(library->store, &model, library->precision, &choice, err);
    }
    if (rc == IM_OK) {
        rc = im_store_count_jobs(library->store, &waiting, &running, err);
    }
    if (rc == IM_OK) {
        rc = im_store_count(library->store, model.id, &counts, err);
    }
    if (rc == IM_OK && model.id != 0) {
        rc = im_store_get_index(library->store, model.id, &record, err);
    }
    if (rc == IM_OK) {
        im_index_stats stats;
        describe_index(library, &model, &record, &stats);
        im_json_begin_object(w);
        im_json_put_string(w, "library", library->folder);
        im_json_put_uint(w, "items", counts.items);
        im_json_put_uint(w, "files", counts.files);
        im_json_put_uint(w, "missing_files", counts.missing_files);
        im_json_put_uint(w, "failures", counts.failures);
        im_json_put_uint(w, "removed", counts.removed);
        im_json_put_uint(w, "embeddings", counts.embeddings);
        im_json_put_uint(w, "unembedded",
                         counts.items > counts.embeddings ? counts.items - counts.embeddings : 0);
        im_json_put_uint(w, "database_bytes", counts.db_bytes + counts.wal_bytes);
        rc = engine_put_status(library, &model, &record, counts.embeddings, stats.engine, w, err);
        im_json_put_uint(w, "index_generation", record.generation);
        im_json_put_uint(w, "index_rows", record.n_rows);
        im_json_put_uint(w, "removed_rows_held",
                         record.n_rows > counts.embeddings ? record.n_rows - counts.embeddings : 0);
        im_json_put_uint(w, "coded_rows", stats.n_coded);
        put_model(w, &model, &choice);
        put_memory(w, library);
        im_json_key(w, "jobs");
        im_json_begin_object(w);
        im_json_put_uint(w, "waiting", waiting);
        im_json_put_uint(w, "running", running);
        im_json_end_object(w);
        im_json_key(w, "roots");
        im_json_begin_array(w);
        rc = rc == IM_OK ? im_store_each_root(library->store, put_root, w, err) : rc;
        im_json_end_array(w);
        if (rc == IM_OK) {
            rc = own_put_registry(library->store, w, err);
        }
        im_json_end_object(w);
    }
    im_model_row_clear(&model);
    return rc;
}

im_code im_app_count(im_library *library, uint64_t *out_items, uint64_t *out_vectors, im_error *err)
{
    im_model_row model = {0};
    im_store_counts counts;
    im_code rc = im_store_active_model(library->store, &model, err);
    if (rc == IM_OK) {
        rc = im_store_count(library->store, model.id, &counts, err);
    }
    if (rc == IM_OK) {
        *out_items = counts.items;
        *out_vectors = counts.embeddings;
    }
    im_model_row_clear(&model);
    return rc;
}

im_code im_app_facts(im_library *library, im_library_facts *out, im_error *err)
{
    im_model_row model = {0};
    im_store_counts counts = {0};
    im_index_record record = {0};
    im_vlm_spent spent = {0};
    memset(out, 0, sizeof(*out));
    im_code rc = im_store_active_model(library->store, &model, err);
    if (rc == IM_OK) {
        rc = im_store_count(library->store, model.id, &counts, err);
    }
    if (rc == IM_OK && model.id != 0) {
        rc = im_store_get_index(library->store, model.id, &record, err);
    }
    if (rc == IM_OK) {
        rc = audit_record_get(library->store, out, err);
    }
    if (rc == IM_OK) {
        rc = vlm_spent_today(library->store, &spent, err);
    }
    out->vlm_sends = spent.sends;
    out->vlm_tokens = spent.tokens;
    out->vlm_cost_nano = spent.cost_nano;
    out->items = counts.items;
    out->vectors = counts.embeddings;
    out->database_bytes = counts.db_bytes + counts.wal_bytes;
    out->index_rows = record.n_rows;
    out->index_bytes = record.n_rows * model.dim * sizeof(float);
    im_model_row_clear(&model);
    return rc;
}

/* ---- check ---- */

typedef struct check_context {
    im_library *library;
    const im_events *events;
    im_check_report *report;
    im_index *index; /* rows to compare with the database; NULL when it could not be opened */
} check_context;

static void say(check_context *check, const char *what, const char *where, uint64_t number)
{
    char sentence[256];
    (void)snprintf(sentence, sizeof(sentence), "%s %llu: %.200s", where, (unsigned long long)number,
                   what);
    event_warning(check->events, sentence);
}

static void store_finding(void *context, const char *table, uint64_t row, const char *what)
{
    say(context, what, table, row);
}

static void index_finding(void *context, uint64_t slot, const char *what)
{
    say(context, what, "index row", slot);
}

static void codes_finding(void *context, uint64_t slot, const char *what)
{
    say(context, what, "index codes from row", slot);
}

/* Row and database must hold the same vector of the same item. */
static bool compare_row(void *context, uint64_t item, uint64_t slot, const float *vector,
                        bool sound)
{
    check_context *check = context;
    const float *row = NULL;
    uint64_t row_item = 0;
    im_error error = IM_ERROR_INIT;
    check->report->vectors++;
    if (!sound || check->index == NULL) {
        return true; /* the store's own check has told it */
    }
    im_code rc = im_index_row(check->index, slot, &row, &row_item, &error);
    if (rc != IM_OK) {
        say(check, error.message, "index row", slot);
    } else if (row_item != item ||
               memcmp(row, vector, check->library->model.dim * sizeof(float)) != 0) {
        say(check, "differs from the database", "index row", slot);
        rc = IM_ERR_FORMAT;
    }
    check->report->index_findings += rc != IM_OK;
    return true;
}

/* The file of the library's FAISS engine: there, of this index, and as it was written. */
static im_code check_engine_file(im_library *library, check_context *check, const char *folder,
                                 const im_index_record *index, im_error *err)
{
    im_engine engine = IM_ENGINE_AUTO;
    im_engine_params params;
    im_faiss_record record = {0};
    im_error cause = IM_ERROR_INIT;
    im_code rc = engine_setting(library->store, &engine, &params, err);
    if (rc == IM_OK && engine_is_faiss(engine)) {
        rc = engine_record(library->store, library->model.id, engine, &record, err);
    }
    if (rc != IM_OK || !engine_is_faiss(engine)) {
        return rc;
    }
    if (record.generation == 0 || record.generation != index->generation) {
        rc = im_fail_as(&cause, IM_REASON_INDEX_DAMAGED,
                        "engine '%s' is chosen and has no file of the present index",
                        im_engine_name(engine));
    } else {
        rc = im_index_faiss_check(folder, &record, &cause);
    }
    if (rc == IM_ERR_FORMAT) {
        check->report->index_findings++;
        event_warning(check->events, cause.message);
        return IM_OK;
    }
    if (rc != IM_OK && err != NULL) {
        *err = cause;
    }
    return rc;
}

/* The rows and codes of one generation. *out_bad counts findings; `check->index` is open after it
 * when the rows can be compared. */
static im_code check_files(check_context *check, const char *folder, const im_index_record *record,
                           uint64_t *out_bad, im_error *err)
{
    const im_index_options rows_only = {.engine = IM_ENGINE_SCAN};
    im_index_state state;
    im_error cause = IM_ERROR_INIT;
    uint64_t bad = 0;
    uint64_t bad_codes = 0;
    library_index_state(check->library, &check->library->model, record, &state);
    im_code rc = im_index_check(folder, &state, index_finding, check, &bad, &cause);
    if (rc == IM_OK && bad == 0) {
        rc = im_index_codes_check(folder, &state, codes_finding, check, &bad_codes, &cause);
    }
    if (rc == IM_OK && bad == 0) {
        rc = im_index_open(folder, &state, NULL, &rows_only, &check->index, &cause);
    }
    if (rc == IM_ERR_FORMAT || rc == IM_ERR_NOT_FOUND) {
        event_warning(check->events, cause.message);
        bad++;
        rc = IM_OK;
    } else if (rc != IM_OK && err != NULL) {
        *err = cause;
    }
    *out_bad = bad + bad_codes;
    return rc;
}

/* A long check holds an old snapshot: files that another process has compacted away since are not
 * damage. Then a new snapshot is taken. */
static im_code is_newest(const im_library *library, uint64_t generation, bool *out_newest,
                         im_error *err)
{
    im_store *now = NULL;
    im_index_record record = {0};
    im_code rc = im_store_open(library->folder, IM_STORE_READ, &now, err);
    if (rc == IM_OK) {
        rc = im_store_get_index(now, library->model.id, &record, err);
    }
    im_store_close(now);
    *out_newest = record.generation == generation;
    return rc;
}

static im_code check_index(im_library *library, check_context *check, im_error *err)
{
    im_index_record record;
    uint64_t bad = 0;
    bool newest = true;
    char *folder = library_index_folder(library, library->model.digest);
    if (folder == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    im_code rc = im_store_get_index(library->store, library->model.id, &record, err);
    if (rc == IM_OK) {
        rc = is_newest(library, record.generation, &newest, err);
    }
    if (rc == IM_OK && !newest) {
        im_store_end_read(library->store);
        rc = im_store_begin_read(library->store, err);
    }
    if (rc == IM_OK && !newest) {
        rc = im_store_get_index(library->store, library->model.id, &record, err);
    }
    if (rc == IM_OK && record.n_rows > 0) {
        rc = check_files(check, folder, &record, &bad, err);
        check->report->index_findings += bad;
    }
    if (rc == IM_OK && record.n_rows > 0) {
        rc = check_engine_file(library, check, folder, &record, err);
    }
    if (rc == IM_OK) {
        rc = im_store_each_embedding(library->store, library->model.id, library->model.dim,
                                     compare_row, check, err);
    }
    im_index_close(check->index);
    check->index = NULL;
    im_free(folder);
    return rc;
}

static im_code check_model(im_library *library, check_context *check, im_error *err)
{
    char digest[65];
    char ours[65];
    im_error cause = IM_ERROR_INIT;
    char *folder = NULL;
    im_code rc = library_model_folder(library, &folder, &cause);
    if (rc == IM_OK) {
        rc = im_encoder_digest(folder, digest, &cause);
    }
    model_files_digest(&library->model, ours);
    if (rc == IM_OK && strcmp(digest, ours) != 0) {
        rc = im_fail_as(&cause, IM_REASON_MODEL_MISMATCH,
                        "model folder '%s' has changed: its digest is %.12s, the library was made "
                        "with %.12s",
                        folder, digest, ours);
    }
    im_free(folder);
    if (rc == IM_ERR_CONFLICT || rc == IM_ERR_NOT_FOUND || rc == IM_ERR_FORMAT) {
        check->report->index_findings++;
        event_warning(check->events, cause.message);
        rc = IM_OK;
    } else if (rc != IM_OK && err != NULL) { /* says nothing of the model */
        *err = cause;
    }
    return rc;
}

im_code im_app_check(im_library *library, const im_check_request *request, const im_events *events,
                     im_check_report *out_report, im_error *err)
{
    im_store_counts counts;
    check_context check = {library, events, out_report, NULL};
    memset(out_report, 0, sizeof(*out_report));
    im_code rc = im_store_begin_read(library->store, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = im_store_check(library->store, store_finding, &check, &out_report->findings, err);
    if (rc == IM_OK) {
        rc = im_store_count(library->store, 0, &counts, err);
        out_report->items = rc == IM_OK ? counts.items : 0;
    }
    if (rc == IM_OK) {
        im_error none = IM_ERROR_INIT;
        rc = library_model(library, &none);
        if (rc == IM_OK) {
            rc = check_index(library, &check, err);
            if (rc == IM_OK && request->full) {
                rc = check_model(library, &check, err);
            }
        } else if (strcmp(none.reason, im_reason_name(IM_REASON_LIBRARY_EMPTY)) == 0) {
            rc = IM_OK;
        } else if (err != NULL) {
            *err = none;
        }
    }
    im_store_end_read(library->store);
    if (rc == IM_OK && out_report->findings > 0) {
        rc = im_fail(err, IM_ERR_DAMAGED, "library '%s': %llu findings in the database",
                     library->folder, (unsigned long long)out_report->findings);
        im_hint(err, "bring back a backup, or move the sound rows to a new library");
    } else if (rc == IM_OK && out_report->index_findings > 0) {
        rc = im_fail_as(err, IM_REASON_INDEX_DAMAGED,
                        "library '%s': %llu findings in files that "
                        "can be made anew",
                        library->folder, (unsigned long long)out_report->index_findings);
        im_hint(err, "make them anew: imago rebuild");
    }
    return rc;
}
