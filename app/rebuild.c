/* app/rebuild.c — index files made anew from the database, and vectors that are missing. */
#include "app/add_internal.h"
#include "base/clock.h"
#include "base/file.h"

#define REBUILD_ROWS 1024u /* rows of one append */

typedef struct copy_state {
    im_index_writer *writer;
    size_t dim;
    uint64_t items[REBUILD_ROWS];
    float *rows; /* [REBUILD_ROWS, dim] */
    size_t n;
    uint64_t *unsound; /* items whose vector cannot be trusted */
    size_t n_unsound;
    progress_meter meter;
    const im_events *events;
    uint64_t n_done;
    im_code rc;
    im_error error;
} copy_state;

static im_code flush(copy_state *copy)
{
    uint64_t slot = 0;
    if (copy->n == 0) {
        return IM_OK;
    }
    im_code rc =
        im_index_writer_append(copy->writer, copy->items, copy->rows, copy->n, &slot, &copy->error);
    copy->n = 0;
    return rc;
}

/* A vector that fails its CRC is taken out: its item is embedded again from the picture. */
static bool note_unsound(copy_state *copy, uint64_t item)
{
    uint64_t *grown = im_realloc(copy->unsound, copy->n_unsound + 1, sizeof(*grown));
    if (grown == NULL) {
        copy->rc = im_fail(&copy->error, IM_ERR_NOMEM, "no memory for a list of items");
        return false;
    }
    copy->unsound = grown;
    copy->unsound[copy->n_unsound++] = item;
    return true;
}

static bool find_unsound(void *context, uint64_t item, uint64_t slot, const float *vector,
                         bool sound)
{
    (void)slot;
    (void)vector;
    return sound || note_unsound(context, item);
}

static bool copy_row(void *context, uint64_t item, uint64_t slot, const float *vector, bool sound)
{
    copy_state *copy = context;
    (void)slot;
    if (!sound) {
        copy->rc = im_fail(&copy->error, IM_ERR_DAMAGED, "vector of item %llu fails its checksum",
                           (unsigned long long)item);
        return false;
    }
    memcpy(copy->rows + copy->n * copy->dim, vector, copy->dim * sizeof(float));
    copy->items[copy->n++] = item;
    copy->n_done++;
    if (copy->n == REBUILD_ROWS) {
        copy->rc = flush(copy);
        meter_tick(&copy->meter, copy->n_done, 0, copy->events);
    }
    return copy->rc == IM_OK;
}

static im_code drop_unsound(im_store *store, const im_model_row *model, copy_state *copy,
                            im_error *err)
{
    im_code rc = im_store_each_embedding(store, model->id, model->dim, find_unsound, copy, err);
    for (size_t i = 0; i < copy->n_unsound && rc == IM_OK; i++) {
        rc = im_store_drop_embedding(store, copy->unsound[i], model->id, err);
    }
    if (rc == IM_OK && copy->n_unsound > 0) {
        char sentence[128];
        (void)snprintf(sentence, sizeof(sentence),
                       "%zu vectors failed their checksum and were dropped: imago rebuild makes "
                       "them again",
                       copy->n_unsound);
        event_warning(copy->events, sentence);
    }
    return rc;
}

/* Under the lock, inside a transaction: file first, then one commit, then the old one goes. */
static im_code rebuild_locked(im_store *store, const char *folder, const im_model_row *model,
                              copy_state *copy, uint64_t *out_rows, im_error *err)
{
    im_index_record record;
    im_index_state state = {.dim = model->dim};
    im_code rc = im_store_get_index(store, model->id, &record, err);
    if (rc == IM_OK) {
        rc = drop_unsound(store, model, copy, err);
    }
    if (rc == IM_OK) {
        record.generation++;
        im_store_id(store, state.library_id);
        memcpy(state.model_digest, model->digest, sizeof(state.model_digest));
        state.generation = record.generation;
        rc = im_index_create(folder, &state, err);
    }
    if (rc == IM_OK) {
        rc = im_index_writer_open(folder, &state, &copy->writer, err);
    }
    if (rc == IM_OK) {
        rc = im_store_each_embedding(store, model->id, model->dim, copy_row, copy, err);
    }
    if (rc == IM_OK && copy->rc == IM_OK) {
        copy->rc = flush(copy);
    }
    if (rc == IM_OK && copy->rc != IM_OK) {
        rc = copy->rc;
        if (err != NULL) {
            *err = copy->error;
        }
    }
    if (rc == IM_OK) {
        rc = im_index_writer_sync(copy->writer, err);
    }
    if (rc == IM_OK) {
        rc = im_store_renumber_slots(store, model->id, &record.n_rows, err);
    }
    if (rc == IM_OK) {
        rc = im_store_set_index(store, model->id, &record, err);
    }
    if (rc == IM_OK) {
        rc = im_store_commit(store, err);
    } else {
        im_store_rollback(store);
    }
    if (rc == IM_OK) {
        im_index_sweep(folder, record.generation);
        *out_rows = record.n_rows;
    }
    return rc;
}

im_code rebuild_index(im_store *store, const char *index_folder, const im_model_row *model,
                      const im_events *events, uint64_t *out_rows, im_error *err)
{
    copy_state *copy = im_alloc_zero(1, sizeof(*copy));
    im_code rc = copy != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a rebuild");
    if (rc != IM_OK) {
        return rc;
    }
    copy->dim = model->dim;
    copy->events = events;
    copy->rows = im_alloc(REBUILD_ROWS, model->dim * sizeof(float));
    if (copy->rows == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a rebuild");
    }
    if (rc == IM_OK) {
        rc = im_folder_make(index_folder, err);
    }
    if (rc == IM_OK) {
        rc = im_store_lock(store, IM_LIMIT_LOCK_WAIT_MS, err);
    }
    if (rc == IM_OK) {
        meter_start(&copy->meter, "rebuilding", 0);
        rc = im_store_begin(store, err);
        if (rc == IM_OK) {
            rc = rebuild_locked(store, index_folder, model, copy, out_rows, err);
        }
        im_store_unlock(store);
    }
    if (rc == IM_OK) {
        codes_update(store, index_folder, model, NULL, events);
    }
    im_index_writer_close(copy->writer);
    im_free(copy->unsound);
    im_free(copy->rows);
    im_free(copy);
    return rc;
}

/* ---- vectors that are missing ---- */

typedef struct item_list {
    id_list ids;
    bool no_memory;
} item_list;

static bool note_id(void *context, uint64_t id)
{
    item_list *list = context;
    list->no_memory = !id_list_add(&list->ids, id);
    return !list->no_memory;
}

static im_code embed_item(im_library *library, im_encoder *encoder, uint64_t item, uint8_t *pixels,
                          float *vector, char **out_path, im_error *err)
{
    im_bytes bytes = {0};
    im_image_options options = {0};
    im_code rc = picture_read_item(library->store, item, NULL, &bytes, out_path, err);
    if (rc == IM_OK) {
        rc = picture_pixels(encoder, im_view_of((const char *)bytes.data, bytes.size), *out_path,
                            &options, NULL, pixels, err);
    }
    if (rc == IM_OK) {
        rc = im_encoder_pictures(encoder, pixels, 1, vector, NULL, err);
    }
    im_bytes_clear(&bytes);
    return rc;
}

/* One item's vector into file and database: a lock and a commit each time would be slow, so rows
 * are handed over in batches. */
static im_code store_vectors(im_library *library, const im_model_row *model, const uint64_t *items,
                             const float *vectors, size_t n, im_error *err)
{
    im_index_record record = {0};
    im_index_state state;
    im_index_writer *writer = NULL;
    uint64_t slot = 0;
    char *folder = library_index_folder(library, model->digest);
    if (folder == NULL || n == 0) {
        im_free(folder);
        return n == 0 ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    im_code rc = im_store_lock(library->store, IM_LIMIT_LOCK_WAIT_MS, err);
    if (rc != IM_OK) {
        im_free(folder);
        return rc;
    }
    rc = im_store_get_index(library->store, model->id, &record, err);
    if (rc == IM_OK && record.generation == 0) {
        record.generation = 1;
        library_index_state(library, model, &record, &state);
        rc = im_index_create(folder, &state, err);
    }
    if (rc == IM_OK) {
        library_index_state(library, model, &record, &state);
        rc = im_index_writer_open(folder, &state, &writer, err);
    }
    if (rc == IM_OK) {
        rc = im_index_writer_append(writer, items, vectors, n, &slot, err);
    }
    if (rc == IM_OK) {
        rc = im_index_writer_sync(writer, err);
    }
    if (rc == IM_OK) {
        rc = im_store_begin(library->store, err);
        for (size_t i = 0; i < n && rc == IM_OK; i++) {
            rc = im_store_put_embedding(library->store, items[i], model->id, slot + i,
                                        vectors + i * model->dim, model->dim, err);
        }
        record.n_rows = slot + n;
        if (rc == IM_OK) {
            rc = im_store_set_index(library->store, model->id, &record, err);
        }
        if (rc == IM_OK) {
            rc = im_store_commit(library->store, err);
        } else {
            im_store_rollback(library->store);
        }
    }
    im_index_writer_close(writer);
    im_store_unlock(library->store);
    im_free(folder);
    return rc;
}

#define EMBED_ROWS 64u

im_code rebuild_missing(im_library *library, const im_model_row *model, im_encoder *encoder,
                        const im_events *events, uint64_t *out_embedded, uint64_t *out_failed,
                        im_error *err)
{
    item_list list = {0};
    uint64_t items[EMBED_ROWS];
    size_t n = 0;
    progress_meter meter;
    float *vectors = im_alloc(EMBED_ROWS, model->dim * sizeof(float));
    uint8_t *pixels = im_alloc(1, picture_pixels_bytes(encoder));
    im_code rc = vectors != NULL && pixels != NULL
                     ? im_store_each_unembedded(library->store, model->id, note_id, &list, err)
                     : im_fail(err, IM_ERR_NOMEM, "no memory for vectors");
    if (rc == IM_OK && list.no_memory) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a list of items");
    }
    *out_embedded = 0;
    *out_failed = 0;
    meter_start(&meter, "embedding", list.ids.n);
    for (size_t i = 0; i < list.ids.n && rc == IM_OK && !im_stop_asked(); i++) {
        char *path = NULL;
        im_error error = IM_ERROR_INIT;
        im_code embedded = embed_item(library, encoder, list.ids.ids[i], pixels,
                                      vectors + n * model->dim, &path, &error);
        if (embedded == IM_OK) {
            items[n++] = list.ids.ids[i];
        } else {
            (*out_failed)++;
            event_failed(events, path != NULL ? path : "", &error);
        }
        im_free(path);
        if (n == EMBED_ROWS || i + 1 == list.ids.n) {
            rc = store_vectors(library, model, items, vectors, n, err);
            *out_embedded += rc == IM_OK ? n : 0;
            n = 0;
        }
        meter_tick(&meter, i + 1, *out_failed, events);
    }
    if (rc == IM_OK && im_stop_asked()) {
        rc = store_vectors(library, model, items, vectors, n, err);
        *out_embedded += rc == IM_OK ? n : 0;
        rc = rc != IM_OK ? rc
                         : im_fail_as(err, IM_REASON_INTERRUPTED,
                                      "stopped: %llu items embedded, the library is good",
                                      (unsigned long long)*out_embedded);
    } else if (rc == IM_OK && *out_failed > 0) {
        rc = im_fail_as(err, IM_REASON_PARTIAL, "%llu items could not be embedded",
                        (unsigned long long)*out_failed);
    }
    if (list.ids.n > 0) {
        meter_end(&meter, events);
    }
    id_list_clear(&list.ids);
    im_free(vectors);
    im_free(pixels);
    return rc;
}

/* ---- the use case ---- */

static im_code rebuild_all(im_library *library, const char *folder, const im_events *events,
                           im_rebuild_report *report, im_error *err)
{
    uint64_t embedded = 0;
    uint64_t failed = 0;
    im_code rc =
        rebuild_index(library->store, folder, &library->model, events, &report->vectors, err);
    if (rc == IM_OK) {
        rc = library_encoder(library, IM_TOWERS_IMAGE, err);
    }
    if (rc == IM_OK) {
        rc = rebuild_missing(library, &library->model, library->encoder, events, &embedded, &failed,
                             err);
        report->vectors += embedded;
    }
    if (rc == IM_OK || (rc == IM_ERR_PARTIAL && !im_stop_asked())) {
        engine_rebuild(library->store, folder, &library->model, library->threads, events);
    }
    return rc;
}

static im_code choose_params(im_library *library, const im_rebuild_request *request,
                             im_engine_params *out, im_error *err)
{
    im_engine before = IM_ENGINE_AUTO;
    im_code rc = engine_setting(library->store, &before, out, err);
    if (rc != IM_OK || (request->index_params == NULL && before == request->engine)) {
        return rc;
    }
    memset(out, 0, sizeof(*out));
    return request->index_params != NULL
               ? engine_params_read(request->engine, request->index_params, false, out, err)
               : IM_OK;
}

/* Builds from the vector file as it is; when that turns out damaged it is made anew first. */
static im_code choose_engine(im_library *library, const im_rebuild_request *request,
                             const char *folder, const im_events *events, im_rebuild_report *report,
                             im_error *err)
{
    im_engine_params params = {0};
    im_error cause = IM_ERROR_INIT;
    im_engine engine = request->engine;
    if (engine == IM_ENGINE_AUTO || engine == IM_ENGINE_TIERED) {
        return request->index_params == NULL || request->index_params[0] == '\0'
                   ? engine_drop(library->store, folder, &library->model, engine, err)
                   : engine_params_read(engine, request->index_params, false, &params, err);
    }
    if (!engine_is_faiss(engine)) {
        im_code rc = im_fail(err, IM_ERR_INVALID, "engine '%s' cannot be a library's own",
                             im_engine_name(engine));
        im_hint(err, "choose auto, tiered, ivf or hnsw");
        return rc;
    }
    im_code rc = choose_params(library, request, &params, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = engine_build(library->store, folder, &library->model, engine, &params, library->threads,
                      events, &report->file, &cause);
    if (rc == IM_ERR_FORMAT) {
        event_warning(events, cause.message);
        rc = rebuild_index(library->store, folder, &library->model, events, &report->vectors, err);
        return rc != IM_OK ? rc
                           : engine_build(library->store, folder, &library->model, engine, &params,
                                          library->threads, events, &report->file, err);
    }
    if (rc != IM_OK && err != NULL) {
        *err = cause;
    }
    return rc;
}

im_code im_app_rebuild(im_library *library, const im_rebuild_request *request,
                       const im_events *events, im_rebuild_report *out_report, im_error *err)
{
    im_rebuild_report report = {0};
    im_engine_params ignored;
    im_code rc = library_model(library, err);
    char *folder = rc == IM_OK ? library_index_folder(library, library->model.digest) : NULL;
    if (rc == IM_OK && folder == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    if (rc == IM_OK) {
        library_close_index(library);
        rc = request != NULL && request->has_engine
                 ? choose_engine(library, request, folder, events, &report, err)
                 : rebuild_all(library, folder, events, &report, err);
    }
    if (rc == IM_OK && request != NULL && request->has_engine) {
        im_index_record record;
        rc = im_store_get_index(library->store, library->model.id, &record, err);
        report.vectors = rc == IM_OK ? record.n_rows : 0;
    }
    if (rc == IM_OK) {
        rc = engine_setting(library->store, &report.engine, &ignored, err);
    }
    if (rc == IM_OK && engine_is_faiss(report.engine) && report.file.generation == 0) {
        rc = engine_record(library->store, library->model.id, report.engine, &report.file, err);
    }
    if (rc == IM_OK) {
        *out_report = report;
    }
    im_free(folder);
    return rc;
}
