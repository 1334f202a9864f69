/* app/engine_build.c — choosing the library's engine: its FAISS file made beside the vectors and
 * recorded, or dropped. The file is built without the library's lock (it takes minutes to hours),
 * from the rows of one snapshot; rows that come meanwhile are scanned by searches, as later ones
 * are. */
#include "app/app_internal.h"
#include "base/clock.h"
#include "base/file.h"

#include <unistd.h>

/* The rows as they are now: record and bits of one snapshot. */
static im_code read_rows(im_store *store, const im_model_row *model, im_index_record *record,
                         uint64_t **out_alive, im_error *err)
{
    uint64_t n_alive = 0;
    im_code rc = im_store_begin_read(store, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = im_store_get_index(store, model->id, record, err);
    if (rc == IM_OK) {
        *out_alive = im_alloc_zero((size_t)((record->n_rows + 63) / 64), sizeof(uint64_t));
        rc = *out_alive != NULL
                 ? im_store_alive_slots(store, model->id, record->n_rows, *out_alive, &n_alive, err)
                 : im_fail(err, IM_ERR_NOMEM, "no memory for the bits of an index");
    }
    im_store_end_read(store);
    if (rc == IM_OK && n_alive == 0) {
        rc = im_fail_as(err, IM_REASON_LIBRARY_EMPTY,
                        "there is no picture to make an index of: the library is empty");
        im_hint(err, "add pictures first: imago add FOLDER");
    }
    return rc;
}

/* Unlinks a file that no record names any more; one that stays is swept by the next rebuild. */
static void unlink_file(const char *folder, const im_faiss_record *record)
{
    char *path = record->generation != 0 ? im_path_join(folder, record->name) : NULL;
    if (path != NULL) {
        (void)unlink(path);
    }
    im_free(path);
}

/* Under the lock. That the file is still ours is asked here: another program may have made one of
 * the same name meanwhile, and rows may have got other slots. */
static im_code record_locked(im_store *store, const char *folder, const im_model_row *model,
                             im_engine engine, const im_engine_params *params,
                             const im_faiss_record *made, im_error *err)
{
    im_index_record now;
    im_index_file file = {
        .generation = made->generation, .n_rows = made->n_rows, .bytes = made->bytes};
    im_error cause = IM_ERROR_INIT;
    im_code rc = im_store_get_index(store, model->id, &now, err);
    im_code same = rc == IM_OK ? im_index_faiss_check(folder, made, &cause) : IM_OK;
    if (same != IM_OK && same != IM_ERR_FORMAT) {
        if (err != NULL) {
            *err = cause;
        }
        return same;
    }
    if (rc == IM_OK && (now.generation != made->generation || same != IM_OK)) {
        rc = im_fail_as(err, IM_REASON_BUSY,
                        "another program has made the index anew while its %s file was built",
                        im_engine_name(engine));
        im_hint(err, "run it again when the other one has ended");
    }
    if (rc == IM_OK) {
        rc = im_store_begin(store, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    (void)snprintf(file.kind, sizeof(file.kind), "%s", im_engine_name(engine));
    memcpy(file.digest, made->digest, sizeof(file.digest));
    rc = im_store_put_index_file(store, model->id, &file, err);
    if (rc == IM_OK) {
        rc = im_store_drop_index_file(store, model->id, engine == IM_ENGINE_IVF ? "hnsw" : "ivf",
                                      err);
    }
    if (rc == IM_OK) {
        rc = engine_put_setting(store, engine, params, err);
    }
    if (rc == IM_OK) {
        return im_store_commit(store, err);
    }
    im_store_rollback(store);
    return rc;
}

static im_code record_file(im_store *store, const char *folder, const im_model_row *model,
                           im_engine engine, const im_engine_params *params,
                           const im_faiss_record *made, im_error *err)
{
    im_faiss_record other = {0};
    im_code rc = im_store_lock(store, IM_LIMIT_LOCK_WAIT_MS, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = engine_record(store, model->id, engine == IM_ENGINE_IVF ? IM_ENGINE_HNSW : IM_ENGINE_IVF,
                       &other, err);
    if (rc == IM_OK) {
        rc = record_locked(store, folder, model, engine, params, made, err);
    }
    if (rc == IM_OK) {
        unlink_file(folder, &other);
    }
    im_store_unlock(store);
    return rc;
}

im_code engine_build(im_store *store, const char *folder, const im_model_row *model,
                     im_engine engine, const im_engine_params *params, size_t n_threads,
                     const im_events *events, im_faiss_record *out_record, im_error *err)
{
    im_index_record record = {0};
    im_index_state state = {.dim = model->dim};
    uint64_t *alive = NULL;
    meter_relay progress = {.events = events};
    im_faiss_build build = {.engine = engine,
                            .small = params->small != 0,
                            .n_lists = params->n_lists,
                            .n_links = params->n_links,
                            .ef_construction = params->ef_construction,
                            .sample = params->sample,
                            .n_threads = n_threads != 0 ? n_threads : im_cpu_threads(),
                            .seed = 1,
                            .progress = meter_relay_on,
                            .progress_context = &progress};
    im_code rc = read_rows(store, model, &record, &alive, err);
    if (rc == IM_OK) {
        im_store_id(store, state.library_id);
        memcpy(state.model_digest, model->digest, sizeof(state.model_digest));
        state.generation = record.generation;
        state.n_rows = record.n_rows;
        meter_start(&progress.meter, engine == IM_ENGINE_IVF ? "building ivf" : "building hnsw",
                    record.n_rows);
        event_progress(events, &progress.meter.state);
        rc = im_index_faiss_build(folder, &state, alive, &build, out_record, err);
    }
    im_free(alive);
    if (rc == IM_OK) {
        meter_tick(&progress.meter, record.n_rows, 0, events);
        meter_end(&progress.meter, events);
        rc = record_file(store, folder, model, engine, params, out_record, err);
    }
    return rc;
}

void engine_rebuild(im_store *store, const char *folder, const im_model_row *model,
                    size_t n_threads, const im_events *events)
{
    im_engine engine = IM_ENGINE_AUTO;
    im_engine_params params;
    im_faiss_record record;
    im_error error = IM_ERROR_INIT;
    im_str sentence;
    im_code rc = engine_setting(store, &engine, &params, &error);
    if (rc == IM_OK && engine_is_faiss(engine)) {
        rc =
            engine_build(store, folder, model, engine, &params, n_threads, events, &record, &error);
    }
    if (rc == IM_OK || strcmp(error.reason, im_reason_name(IM_REASON_LIBRARY_EMPTY)) == 0) {
        return;
    }
    im_str_init(&sentence, 1024);
    im_str_addf(&sentence, "the library has no %s file, answers are exact: %s",
                im_engine_name(engine), error.message);
    event_warning(events, im_str_text(&sentence));
    im_str_clear(&sentence);
}

/* ---- back to imago's own scans ---- */

static im_code drop_locked(im_store *store, const im_model_row *model, im_engine engine,
                           im_error *err)
{
    const im_engine_params none = {0};
    im_code rc = im_store_begin(store, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = im_store_drop_index_file(store, model->id, "ivf", err);
    if (rc == IM_OK) {
        rc = im_store_drop_index_file(store, model->id, "hnsw", err);
    }
    if (rc == IM_OK) {
        rc = engine_put_setting(store, engine, &none, err);
    }
    if (rc == IM_OK) {
        return im_store_commit(store, err);
    }
    im_store_rollback(store);
    return rc;
}

im_code engine_drop(im_store *store, const char *folder, const im_model_row *model,
                    im_engine engine, im_error *err)
{
    im_faiss_record ivf = {0};
    im_faiss_record hnsw = {0};
    im_code rc = im_store_lock(store, IM_LIMIT_LOCK_WAIT_MS, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = engine_record(store, model->id, IM_ENGINE_IVF, &ivf, err);
    if (rc == IM_OK) {
        rc = engine_record(store, model->id, IM_ENGINE_HNSW, &hnsw, err);
    }
    if (rc == IM_OK) {
        rc = drop_locked(store, model, engine, err);
    }
    if (rc == IM_OK) {
        unlink_file(folder, &ivf);
        unlink_file(folder, &hnsw);
    }
    im_store_unlock(store);
    return rc;
}
