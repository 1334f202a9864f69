/* app/rebuild.c — `rebuild`: the index made anew, and vectors that are missing. */
#include "app/add_internal.h"
#include "base/clock.h"
#include "base/file.h"

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
    im_image_options options = {.limits = memory_limits(NULL, library_memory_left(library, 1))};
    im_code rc = picture_read_item(library->store, item, &options.limits, &bytes, out_path, err);
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

/* Rows of one transaction behind those of the file. */
static im_code put_vectors(im_library *library, const im_model_row *model, const uint64_t *items,
                           const float *vectors, size_t n, uint64_t slot, im_index_record *record,
                           im_error *err)
{
    im_code rc = im_store_begin(library->store, err);
    if (rc != IM_OK) {
        return rc;
    }
    for (size_t i = 0; i < n && rc == IM_OK; i++) {
        rc = im_store_put_embedding(library->store, items[i], model->id, slot + i,
                                    vectors + i * model->dim, model->dim, err);
    }
    record->n_rows = slot + n;
    if (rc == IM_OK) {
        rc = im_store_set_index(library->store, model->id, record, err);
    }
    if (rc == IM_OK) {
        return im_store_commit(library->store, err);
    }
    im_store_rollback(library->store);
    return rc;
}

/* One item's vector into file and database: a lock and a commit each time would be slow, so rows
 * are handed over in batches. */
static im_code store_vectors(im_library *library, const im_model_row *model, const uint64_t *items,
                             const float *vectors, size_t n, im_error *err)
{
    im_index_record record = {0};
    im_index_writer *writer = NULL;
    uint64_t slot = 0;
    if (n == 0) {
        return IM_OK;
    }
    im_code rc = im_store_lock(library->store, IM_LIMIT_LOCK_WAIT_MS, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = index_writer_ready(library, model, &record, &writer, err);
    if (rc == IM_OK) {
        rc = im_index_writer_append(writer, items, vectors, n, &slot, err);
    }
    if (rc == IM_OK) {
        rc = im_index_writer_sync(writer, err);
    }
    if (rc == IM_OK) {
        rc = put_vectors(library, model, items, vectors, n, slot, &record, err);
    }
    im_index_writer_close(writer);
    im_store_unlock(library->store);
    return rc;
}

#define EMBED_ROWS 64u

/* Imported items may be many and have no file to be embedded from: one sentence for all of them. */
static void tell_without_file(uint64_t n, const im_events *events)
{
    char sentence[128];
    if (n > 0) {
        (void)snprintf(sentence, sizeof(sentence),
                       "%llu items have no picture file and stay without a vector of this model",
                       (unsigned long long)n);
        event_warning(events, sentence);
    }
}

im_code rebuild_missing(im_library *library, const im_model_row *model, im_encoder *encoder,
                        const im_events *events, uint64_t *out_embedded, uint64_t *out_failed,
                        im_error *err)
{
    item_list list = {0};
    uint64_t items[EMBED_ROWS];
    size_t n = 0;
    uint64_t n_bare = 0;
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
            if (embedded == IM_ERR_NOT_FOUND && path == NULL) {
                n_bare++;
            } else {
                event_failed(events, path != NULL ? path : "", &error);
            }
        }
        im_free(path);
        if (n == EMBED_ROWS || i + 1 == list.ids.n) {
            rc = store_vectors(library, model, items, vectors, n, err);
            *out_embedded += rc == IM_OK ? n : 0;
            n = 0;
        }
        meter_tick(&meter, i + 1, *out_failed, events);
    }
    tell_without_file(n_bare, events);
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
        rebuild_index(library->store, folder, &library->model, 0, events, &report->vectors, err);
    if (rc == IM_OK) {
        rc = library_encoder(library, IM_TOWERS_IMAGE, events, err);
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

/* Lists or a graph hold all vectors: refused before the hours that it takes. */
static im_code need_for_build(im_library *library, im_engine engine, const im_engine_params *params,
                              im_error *err)
{
    char what[40];
    im_index_record record;
    im_code rc = im_store_get_index(library->store, library->model.id, &record, err);
    if (rc != IM_OK) {
        return rc;
    }
    uint64_t value_bytes = params->small != 0 ? 1 : sizeof(float);
    (void)snprintf(what, sizeof(what), "building engine '%s'", im_engine_name(engine));
    return library_need_memory(library, what, record.n_rows * library->model.dim * value_bytes, 1,
                               err);
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
    if (rc == IM_OK) {
        rc = need_for_build(library, engine, &params, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    rc = engine_build(library->store, folder, &library->model, engine, &params, library->threads,
                      events, &report->file, &cause);
    if (rc == IM_ERR_FORMAT) {
        event_warning(events, cause.message);
        rc = rebuild_index(library->store, folder, &library->model, 0, events, &report->vectors,
                           err);
        return rc != IM_OK ? rc
                           : engine_build(library->store, folder, &library->model, engine, &params,
                                          library->threads, events, &report->file, err);
    }
    if (rc != IM_OK && err != NULL) {
        *err = cause;
    }
    return rc;
}

/* --precision of the other class: the same model anew, its vectors beside the old ones until all
 * are there. */
static im_code change_class(im_library *library, const im_events *events, bool *out_changed,
                            im_error *err)
{
    im_model_row active = {0};
    im_code rc = im_store_active_model(library->store, &active, err);
    *out_changed = rc == IM_OK && active.id != 0 && space_differs(&active, library->precision);
    if (*out_changed) {
        rc = im_app_model_use(library, im_file_exists(active.folder) ? active.folder : active.name,
                              events, err);
    }
    im_model_row_clear(&active);
    return rc;
}

im_code im_app_rebuild(im_library *library, const im_rebuild_request *request,
                       const im_events *events, im_rebuild_report *out_report, im_error *err)
{
    im_rebuild_report report = {0};
    im_engine_params ignored;
    bool changed = false;
    im_code rc = change_class(library, events, &changed, err);
    if (rc == IM_OK) {
        rc = library_model(library, err);
    }
    char *folder = rc == IM_OK ? library_index_folder(library, library->model.digest) : NULL;
    if (rc == IM_OK && folder == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    if (rc == IM_OK) {
        library_close_index(library);
        if (request != NULL && request->has_engine) {
            rc = choose_engine(library, request, folder, events, &report, err);
        } else if (!changed) {
            rc = rebuild_all(library, folder, events, &report, err);
        }
    }
    if (rc == IM_OK && (changed || (request != NULL && request->has_engine))) {
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
