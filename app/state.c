/* app/state.c — `status` and `check`. */
#include "app/app_internal.h"
#include "base/file.h"

/* ---- status ---- */

static bool put_root(void *context, const im_root *root)
{
    im_json_writer *w = context;
    im_json_begin_object(w);
    im_json_put_uint(w, "id", root->id);
    answer_put_path(w, root->path);
    im_json_put_bool(w, "recursive", root->recursive);
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
    im_json_key(w, "model");
    im_json_begin_object(w);
    im_json_put_string(w, "name", model->name);
    im_json_put_string(w, "folder", model->folder);
    im_json_put_string(w, "digest", model->digest);
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
    im_index_options options = {.engine = library->engine};
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

im_code im_app_status_json(im_library *library, im_json_writer *w, im_error *err)
{
    im_model_row model = {0};
    im_store_counts counts;
    im_index_record record = {0};
    precision_choice choice = {0};
    im_code rc = im_store_active_model(library->store, &model, err);
    if (rc == IM_OK) {
        rc = precision_of(library->store, model.digest, library->precision, &choice, err);
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
        im_json_put_string(w, "engine", stats.engine);
        im_json_put_uint(w, "index_generation", record.generation);
        im_json_put_uint(w, "index_rows", record.n_rows);
        im_json_put_uint(w, "coded_rows", stats.n_coded);
        put_model(w, &model, &choice);
        im_json_key(w, "roots");
        im_json_begin_array(w);
        rc = im_store_each_root(library->store, put_root, w, err);
        im_json_end_array(w);
        im_json_end_object(w);
    }
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

static im_code check_index(im_library *library, check_context *check, im_error *err)
{
    const im_index_options rows_only = {.engine = IM_ENGINE_SCAN};
    im_index_record record;
    im_index_state state;
    im_error cause = IM_ERROR_INIT;
    uint64_t bad = 0;
    uint64_t bad_codes = 0;
    char *folder = library_index_folder(library, library->model.digest);
    if (folder == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    im_code rc = im_store_get_index(library->store, library->model.id, &record, err);
    if (rc == IM_OK && record.n_rows > 0) {
        library_index_state(library, &library->model, &record, &state);
        rc = im_index_check(folder, &state, index_finding, check, &bad, &cause);
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
        check->report->index_findings += bad + bad_codes;
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
    im_error cause = IM_ERROR_INIT;
    char *folder = NULL;
    im_code rc = library_model_folder(library, &folder, &cause);
    if (rc == IM_OK) {
        rc = im_encoder_digest(folder, digest, &cause);
    }
    if (rc == IM_OK && strcmp(digest, library->model.digest) != 0) {
        rc = im_fail_as(&cause, IM_REASON_MODEL_MISMATCH,
                        "model folder '%s' has changed: its digest is %.12s, the library was made "
                        "with %.12s",
                        folder, digest, library->model.digest);
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
