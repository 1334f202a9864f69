/* app/add_write.c — the write stage: one batch is one turn of the lock and one transaction. Vectors
 * are appended and synced first, then SQLite commits the raised count: whatever dies in between
 * leaves a tail that nobody knows. */
#include "app/add_internal.h"
#include "base/clock.h"

im_code index_writer_ready(im_library *library, const im_model_row *model, im_index_record *record,
                           im_index_writer **out_writer, im_error *err)
{
    im_index_state state;
    char *folder = library_index_folder(library, model->digest);
    if (folder == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    im_code rc = im_store_get_index(library->store, model->id, record, err);
    if (rc == IM_OK) { /* of a compaction that was killed: its room may be needed now */
        im_index_sweep(folder, record->generation);
    }
    if (rc == IM_OK && record->generation == 0) {
        record->generation = 1;
        record->n_rows = 0;
        library_index_state(library, model, record, &state);
        rc = im_index_create(folder, &state, err);
    }
    if (rc == IM_OK) {
        im_error cause = IM_ERROR_INIT;
        library_index_state(library, model, record, &state);
        rc = im_index_writer_open(folder, &state, out_writer, &cause);
        if (rc == IM_ERR_FORMAT || rc == IM_ERR_NOT_FOUND) { /* lost or damaged: make it anew */
            uint64_t n_rows = 0;
            rc = rebuild_index(library->store, folder, model, 0, NULL, &n_rows, err);
            if (rc == IM_OK) {
                rc = im_store_get_index(library->store, model->id, record, err);
            }
            if (rc == IM_OK) {
                library_index_state(library, model, record, &state);
                rc = im_index_writer_open(folder, &state, out_writer, err);
            }
        } else if (rc != IM_OK && err != NULL) {
            *err = cause;
        }
    }
    im_free(folder);
    return rc;
}

/* `left` collects items that lost a path: they may get another one from a later job of the batch.
 */
static im_code put_path(im_store *store, const add_job *job, uint64_t item, id_list *left,
                        im_error *err)
{
    uint64_t id = 0;
    im_file_row row = {.root = job->root,
                       .path = im_view_from(job->path),
                       .stamp = job->stamp,
                       .hashed_ns = job->hashed_ns,
                       .edges = job->edges,
                       .item = item};
    im_file_row before = {0};
    im_code rc = im_store_find_file(store, job->root, row.path, &before, err);
    if (rc == IM_OK) {
        rc = im_store_put_file(store, &row, &id, err);
    }
    if (rc == IM_OK && before.id != 0 && before.item != item && !id_list_add(left, before.item)) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a list of items");
    }
    if (rc == IM_OK && job->moved_from != 0) {
        im_error gone = IM_ERROR_INIT;
        rc = im_store_drop_file(store, job->moved_from, &gone);
        if (rc == IM_ERR_NOT_FOUND) { /* two new links of one moved file: the first took it */
            rc = IM_OK;
        } else if (rc != IM_OK && err != NULL) {
            *err = gone;
        }
    }
    return rc;
}

static im_code drop_bare(im_store *store, id_list *left, im_error *err)
{
    im_code rc = IM_OK;
    id_list_sort(left);
    for (size_t i = 0; i < left->n && rc == IM_OK; i++) {
        if (i == 0 || left->ids[i] != left->ids[i - 1]) {
            rc = item_drop_bare(store, left->ids[i], err);
        }
    }
    return rc;
}

/* ---- items that went away since the lookup ---- */

/* From the file's bytes to its vector once more, here and now. */
static void embed_again(add_run *run, add_job *job)
{
    im_error error = IM_ERROR_INIT;
    size_t dim = run->library->model.dim;
    job->moved_from = 0;
    add_decode_job(run, job);
    if (job->outcome == JOB_NEW) {
        job->vector = im_alloc(dim, sizeof(float));
        im_code rc = job->vector != NULL ? im_encoder_pictures(run->encoder, job->pixels, 1,
                                                               job->vector, NULL, &error)
                                         : im_fail(&error, IM_ERR_NOMEM, "no memory for a vector");
        if (rc != IM_OK) {
            job->outcome = JOB_FAILED;
            job->error = error;
        }
    }
    if (job->outcome == JOB_FAILED) {
        add_note_failure(&run->first, &job->error);
    }
}

/* Known content is not decoded. When its item has gone since (removed by somebody, or the last path
 * of it got other content in an earlier batch), the file is new after all. */
static im_code look_again(add_run *run, add_batch *batch, im_error *err)
{
    im_code rc = IM_OK;
    for (size_t i = 0; i < batch->n && rc == IM_OK; i++) {
        add_job *job = batch->jobs[i];
        im_item item;
        im_error gone = IM_ERROR_INIT;
        if (job->outcome != JOB_KNOWN) {
            continue;
        }
        rc = im_store_get_item(run->library->store, job->item, &item, &gone);
        if (rc == IM_ERR_NOT_FOUND) {
            embed_again(run, job);
            rc = IM_OK;
        } else if (rc != IM_OK && err != NULL) {
            *err = gone;
        }
    }
    return rc;
}

/* Finds or makes the item of a new picture. Another process may have been quicker since the lookup:
 * *out_embed says whether this vector is still wanted. */
static im_code put_item(im_library *library, add_job *job, float *scratch, bool *out_embed,
                        bool *out_made, im_error *err)
{
    uint64_t slot = 0;
    *out_made = false;
    *out_embed = true;
    im_code rc = im_store_find_item(library->store, job->meta.sha256, &job->item, err);
    if (rc == IM_OK && job->item == 0) {
        if (job->forget_removed) {
            rc = im_store_forget_removed(library->store, job->meta.sha256, err);
        }
        if (rc == IM_OK) {
            rc = im_store_put_item(library->store, &job->meta, &job->item, err);
        }
        *out_made = rc == IM_OK;
        return rc;
    }
    if (rc == IM_OK) {
        rc = im_store_get_embedding(library->store, job->item, library->model.id, scratch,
                                    library->model.dim, &slot, err);
        *out_embed = rc == IM_ERR_NOT_FOUND;
        rc = rc == IM_ERR_NOT_FOUND ? IM_OK : rc;
    }
    return rc;
}

static im_code append_vector(im_library *library, const add_job *job, im_index_writer *writer,
                             im_index_record *record, im_error *err)
{
    uint64_t slot = 0;
    im_code rc = im_index_writer_append(writer, &job->item, job->vector, 1, &slot, err);
    if (rc == IM_OK) {
        rc = im_store_put_embedding(library->store, job->item, library->model.id, slot, job->vector,
                                    library->model.dim, err);
        record->n_rows = slot + 1;
    }
    return rc;
}

static im_code write_failed(im_store *store, const add_job *job, im_error *err)
{
    im_failure failure = {.root = job->root,
                          .path = im_view_from(job->path),
                          .reason = job->error.reason,
                          .message = job->error.message,
                          .stamp = job->stamp,
                          .when_ns = im_clock_wall_ns()};
    return im_store_put_failure(store, &failure, err);
}

/* A file that was marked missing is back; its row may have been removed meanwhile. */
static im_code write_back(im_store *store, const add_job *job, im_error *err)
{
    im_error gone = IM_ERROR_INIT;
    im_code rc = im_store_set_file_missing(store, job->file_row, false, &gone);
    if (rc != IM_OK && rc != IM_ERR_NOT_FOUND && err != NULL) {
        *err = gone;
    }
    return rc == IM_ERR_NOT_FOUND ? IM_OK : rc;
}

static im_code write_job(im_library *library, add_job *job, float *scratch, im_index_writer *writer,
                         im_index_record *record, id_list *left, im_add_report *report,
                         im_error *err)
{
    bool embed = false;
    bool made = false;
    im_code rc = IM_OK;
    switch (job->outcome) {
    case JOB_FAILED:
        report->failed++;
        report->known_failures += job->known_failure;
        return job->known_failure ? IM_OK : write_failed(library->store, job, err);
    case JOB_SKIPPED:
        return IM_OK;
    case JOB_BACK:
        report->unchanged++;
        return write_back(library->store, job, err);
    case JOB_KNOWN:
        report->moved += job->moved_from != 0;
        report->updated += job->moved_from == 0 && job->updated;
        report->linked += job->moved_from == 0 && job->file_row == 0;
        report->unchanged += job->file_row != 0 && !job->updated;
        return put_path(library->store, job, job->item, left, err);
    case JOB_NEW:
        break;
    }
    rc = put_item(library, job, scratch, &embed, &made, err);
    if (rc == IM_OK && embed) {
        rc = append_vector(library, job, writer, record, err);
    }
    if (rc == IM_OK) {
        rc = put_path(library->store, job, job->item, left, err);
    }
    report->added += made;
    report->linked += !made && job->file_row == 0;
    report->updated += job->updated && job->file_row != 0;
    report->partial += made && job->meta.partial;
    return rc;
}

static bool needs_vectors(const add_batch *batch)
{
    for (size_t i = 0; i < batch->n; i++) {
        if (batch->jobs[i]->outcome == JOB_NEW) {
            return true;
        }
    }
    return false;
}

/* One transaction around all rows. */
static im_code write_rows(im_library *library, add_batch *batch, float *scratch,
                          im_index_writer *writer, im_index_record *record, im_add_report *report,
                          im_error *err)
{
    id_list left = {0};
    im_code rc = im_store_begin(library->store, err);
    if (rc != IM_OK) {
        return rc;
    }
    for (size_t i = 0; i < batch->n && rc == IM_OK; i++) {
        rc = write_job(library, batch->jobs[i], scratch, writer, record, &left, report, err);
    }
    if (rc == IM_OK) {
        rc = drop_bare(library->store, &left, err);
    }
    if (rc == IM_OK && writer != NULL) {
        rc = im_index_writer_sync(writer, err);
    }
    if (rc == IM_OK && writer != NULL) {
        rc = im_store_set_index(library->store, library->model.id, record, err);
    }
    if (rc == IM_OK) {
        rc = im_store_commit(library->store, err);
    } else {
        im_store_rollback(library->store);
    }
    id_list_clear(&left);
    return rc;
}

/* Vectors of a model that the library has left meanwhile would never be searched. */
static im_code check_active(im_library *library, im_error *err)
{
    im_model_row active = {0};
    im_code rc = im_store_active_model(library->store, &active, err);
    if (rc == IM_OK && active.id != library->model.id) {
        rc = im_fail_as(err, IM_REASON_MODEL_MISMATCH,
                        "library '%s' changed over to model '%s' while pictures were added",
                        library->folder, active.name);
        im_hint(err, "the same command goes on from here with that model");
    }
    im_model_row_clear(&active);
    return rc;
}

/* Everything between lock and unlock. */
static im_code write_locked(add_run *run, add_batch *batch, float *scratch, im_add_report *report,
                            im_error *err)
{
    im_index_writer *writer = NULL;
    im_index_record record = {0};
    im_add_report counted = *report;
    im_code rc = check_active(run->library, err);
    if (rc == IM_OK) {
        rc = look_again(run, batch, err);
    }
    if (rc == IM_OK && needs_vectors(batch)) {
        rc = index_writer_ready(run->library, &run->library->model, &record, &writer, err);
    }
    if (rc == IM_OK) {
        rc = write_rows(run->library, batch, scratch, writer, &record, &counted, err);
    }
    im_index_writer_close(writer);
    if (rc == IM_OK) {
        *report = counted;
    }
    return rc;
}

im_code add_write_batch(add_run *run, add_batch *batch, im_add_report *report, im_error *err)
{
    im_store *store = run->library->store;
    float *scratch = im_alloc(run->library->model.dim, sizeof(float));
    im_code rc = scratch != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a vector");
    if (rc == IM_OK && batch->n > 0) {
        rc = im_store_lock(store, IM_LIMIT_LOCK_WAIT_MS, err);
        if (rc == IM_OK) {
            rc = write_locked(run, batch, scratch, report, err);
            im_store_unlock(store);
        }
    }
    for (size_t i = 0; i < batch->n; i++) {
        add_job_free(batch->jobs[i]);
    }
    batch->n = 0;
    im_free(scratch);
    return rc;
}
