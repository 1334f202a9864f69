/* app/engine.c — which engine answers: imago's own scans, or a FAISS file that the library was told
 * to use. A FAISS file is opened when a search first wants it; what is wrong with it is told and
 * the exact engine answers. Only an engine that was asked for by name may fail a search. */
#include "app/app_internal.h"
#include "base/file.h"

#include <unistd.h>

/* ---- names and settings ---- */

static const char *const engine_names[] = {
    [IM_ENGINE_AUTO] = "auto",     [IM_ENGINE_SCAN] = "scan", [IM_ENGINE_FLAT] = "flat",
    [IM_ENGINE_TIERED] = "tiered", [IM_ENGINE_IVF] = "ivf",   [IM_ENGINE_HNSW] = "hnsw",
};

const char *im_engine_name(im_engine engine)
{
    return (unsigned)engine < IM_COUNT(engine_names) ? engine_names[engine] : "unknown";
}

bool engine_is_faiss(im_engine engine)
{
    return engine == IM_ENGINE_IVF || engine == IM_ENGINE_HNSW;
}

/* A setting that this program does not know is that of a newer one: as if there were none. */
static im_code read_engine(im_store *store, im_engine *out, im_error *err)
{
    char *value = NULL;
    im_code rc = im_store_get_setting(store, ENGINE_SETTING, &value, err);
    *out = IM_ENGINE_AUTO;
    for (size_t i = 0; rc == IM_OK && value != NULL && i < IM_COUNT(engine_names); i++) {
        *out = strcmp(value, engine_names[i]) == 0 ? (im_engine)i : *out;
    }
    im_free(value);
    return rc;
}

im_code engine_setting(im_store *store, im_engine *out_engine, im_engine_params *out_params,
                       im_error *err)
{
    char *text = NULL;
    memset(out_params, 0, sizeof(*out_params));
    im_code rc = read_engine(store, out_engine, err);
    if (rc != IM_OK || !engine_is_faiss(*out_engine)) {
        return rc;
    }
    rc = im_store_get_setting(store, ENGINE_PARAMS_SETTING, &text, err);
    if (rc == IM_OK && text != NULL) {
        im_error ignored = IM_ERROR_INIT; /* a newer program's: the defaults do */
        im_code read = engine_params_read(*out_engine, text, false, out_params, &ignored);
        if (read == IM_ERR_NOMEM) {
            rc = read;
            if (err != NULL) {
                *err = ignored;
            }
        }
    }
    im_free(text);
    return rc;
}

im_code engine_put_setting(im_store *store, im_engine engine, const im_engine_params *params,
                           im_error *err)
{
    im_str text;
    bool is_faiss = engine_is_faiss(engine);
    im_str_init(&text, 512);
    if (is_faiss) {
        engine_params_write(params, engine, &text);
    }
    im_code rc =
        text.failed
            ? im_fail(err, IM_ERR_NOMEM, "no memory for an engine's parameters")
            : im_store_set_setting(store, ENGINE_SETTING,
                                   engine == IM_ENGINE_AUTO ? NULL : im_engine_name(engine), err);
    if (rc == IM_OK) {
        rc = im_store_set_setting(store, ENGINE_PARAMS_SETTING,
                                  text.size > 0 ? im_str_text(&text) : NULL, err);
    }
    im_str_clear(&text);
    return rc;
}

/* ---- records ---- */

im_code engine_record(im_store *store, uint64_t model, im_engine engine, im_faiss_record *out,
                      im_error *err)
{
    im_index_file file;
    memset(out, 0, sizeof(*out));
    im_code rc = im_store_get_index_file(store, model, im_engine_name(engine), &file, err);
    if (rc == IM_OK && file.generation > 0) {
        im_index_faiss_name(engine, file.generation, out->name);
        out->generation = file.generation;
        out->n_rows = file.n_rows;
        out->bytes = file.bytes;
        memcpy(out->digest, file.digest, sizeof(out->digest));
    }
    return rc;
}

static im_code no_file(const im_library *library, im_engine engine, bool is_old, im_error *err)
{
    const char *name = im_engine_name(engine);
    im_code rc = im_fail_as(err, IM_REASON_ENGINE_FILE_MISSING, "library '%s' has no %s file%s",
                            library->folder, name, is_old ? " of its present index" : "");
    im_hint(err, "make it: imago rebuild --engine %s", name);
    return rc;
}

/* ---- opening ---- */

void engine_close(im_library *library)
{
    im_index_close(library->ann);
    library->ann = NULL;
    library->ann_current = false;
}

/* FAISS reads its file whole. */
static im_code need_memory(const im_library *library, im_engine engine,
                           const im_faiss_record *record, im_error *err)
{
    char what[24];
    (void)snprintf(what, sizeof(what), "engine '%s'", im_engine_name(engine));
    return library_need_memory(library, what, record->bytes, 1, err);
}

/* The engine's file as of the snapshot that library->index was opened in. A file found damaged is
 * not read again until another one is recorded. */
static im_code open_file(im_library *library, im_engine engine, const im_faiss_effort *effort,
                         im_error *err)
{
    im_faiss_record record;
    im_index_state state;
    im_index *opened = NULL;
    im_code rc = engine_record(library->store, library->model.id, engine, &record, err);
    if (rc != IM_OK) {
        return rc;
    }
    if (record.generation == 0 || record.generation != library->index_record.generation) {
        return no_file(library, engine, record.generation != 0, err);
    }
    if (strcmp(record.digest, library->ann_bad_digest) == 0) {
        if (err != NULL) {
            *err = library->ann_error;
        }
        return library->ann_error.code;
    }
    char *folder = library_index_folder(library, library->model.digest);
    if (folder == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    if (strcmp(record.digest, library->ann_digest) != 0 || library->ann_engine != engine) {
        engine_close(library); /* of another file: not both in memory */
    }
    rc = library->ann == NULL ? need_memory(library, engine, &record, err) : IM_OK;
    if (rc != IM_OK) {
        im_free(folder);
        return rc;
    }
    im_error cause = IM_ERROR_INIT;
    im_index_options options = {.engine = engine,
                                .pool = library->pool,
                                .faiss = &record,
                                .effort = *effort,
                                .from = library->ann};
    library_index_state(library, &library->model, &library->index_record, &state);
    rc = im_index_open(folder, &state, library->alive, &options, &opened, &cause);
    im_free(folder);
    engine_close(library);
    library->ann = opened;
    library->ann_current = rc == IM_OK;
    library->ann_engine = engine;
    library->ann_effort = *effort;
    memcpy(library->ann_digest, record.digest, sizeof(record.digest));
    if (rc == IM_ERR_FORMAT) {
        memcpy(library->ann_bad_digest, record.digest, sizeof(record.digest));
        library->ann_error = cause;
    }
    if (rc != IM_OK && err != NULL) {
        *err = cause;
    }
    return rc;
}

static uint64_t count_passing(const im_library *library, const uint64_t *bitmap)
{
    uint64_t n = 0;
    size_t n_words = (size_t)((library->index_record.n_rows + 63) / 64);
    for (size_t i = 0; i < n_words; i++) {
        uint64_t bits = library->alive[i] & (bitmap != NULL ? bitmap[i] : UINT64_MAX);
        n += (uint64_t)__builtin_popcountll(bits);
    }
    return n;
}

/* The file's engine, for a search that leaves the way open and is above the proved range; or the
 * one asked for by name. */
static im_code wanted_engine(im_library *library, const uint64_t *bitmap, im_search_mode mode,
                             im_engine *out_engine, im_engine_params *out_params, im_error *err)
{
    bool asked = engine_is_faiss(library->engine);
    im_engine chosen = IM_ENGINE_AUTO;
    *out_engine = IM_ENGINE_AUTO;
    if (asked && mode == IM_MODE_EXACT) {
        im_code rc = im_fail(err, IM_ERR_INVALID, "engine '%s' proves nothing: not with --exact",
                             im_engine_name(library->engine));
        im_hint(err, "leave --engine out, or --exact");
        return rc;
    }
    if (!asked && (library->engine != IM_ENGINE_AUTO || mode != IM_MODE_AUTO ||
                   count_passing(library, bitmap) <= IM_INDEX_PROVED_ROWS)) {
        return IM_OK;
    }
    im_code rc = engine_setting(library->store, &chosen, out_params, err);
    if (rc == IM_OK && asked && chosen != library->engine) {
        memset(out_params, 0, sizeof(*out_params));
    }
    if (rc == IM_OK && asked && library->index_params != NULL) {
        rc = engine_params_read(library->engine, library->index_params, true, out_params, err);
    }
    if (rc == IM_OK && (asked || engine_is_faiss(chosen))) {
        *out_engine = asked ? library->engine : chosen;
    }
    return rc;
}

/* "… : the exact engine answers", and what to do. */
static void tell(const im_events *events, im_engine engine, const im_error *cause)
{
    im_str sentence;
    im_str_init(&sentence, 1024);
    im_str_addf(&sentence, "%s: answered exactly without it", cause->message);
    if (cause->code == IM_ERR_FORMAT || cause->code == IM_ERR_NOT_FOUND) {
        im_str_addf(&sentence, " (imago rebuild --engine %s makes it anew)",
                    im_engine_name(engine));
    }
    event_warning(events, im_str_text(&sentence));
    im_str_clear(&sentence);
}

im_code engine_index(im_library *library, const uint64_t *bitmap, const im_events *events,
                     im_search_mode *mode, im_index **out_index, im_error *err)
{
    im_engine engine = IM_ENGINE_AUTO;
    im_engine_params params = {0};
    im_error cause = IM_ERROR_INIT;
    *out_index = library->index;
    im_code rc = wanted_engine(library, bitmap, *mode, &engine, &params, err);
    if (rc != IM_OK || engine == IM_ENGINE_AUTO) {
        return rc;
    }
    if (!library->ann_current || library->ann_engine != engine ||
        memcmp(&library->ann_effort, &params.effort, sizeof(params.effort)) != 0) {
        rc = open_file(library, engine, &params.effort, &cause);
    }
    if (rc == IM_OK) {
        *out_index = library->ann;
        return IM_OK;
    }
    if (engine_is_faiss(library->engine) && rc != IM_ERR_FORMAT) {
        if (err != NULL) {
            *err = cause;
        }
        return rc;
    }
    tell(events, engine, &cause);
    *mode = IM_MODE_EXACT;
    return IM_OK;
}

im_code engine_search(im_library *library, const im_index_query *query, const im_events *events,
                      im_hit *hits, im_index_answer *out_answer, im_error *err)
{
    im_index *index = NULL;
    im_index_query own = *query;
    im_code rc = engine_index(library, query->bitmap, events, &own.mode, &index, err);
    return rc == IM_OK ? im_index_search(index, &own, hits, out_answer, err) : rc;
}

/* ---- telling ---- */

/* What a search would find wrong without reading the file: NULL for nothing. */
static const char *file_problem(const char *folder, const im_faiss_record *record,
                                const im_index_record *index)
{
    im_file_stamp stamp = {0};
    im_error ignored = IM_ERROR_INIT;
    char *path = im_path_join(folder, record->name);
    im_code rc = path != NULL ? im_file_stat(path, &stamp, &ignored) : IM_ERR_NOMEM;
    im_free(path);
    if (record->generation != index->generation) {
        return "of an older index";
    }
    if (rc != IM_OK) {
        return "not there";
    }
    return stamp.size == record->bytes ? NULL : "of another size than recorded";
}

static void put_file(im_json_writer *w, const char *folder, im_engine engine,
                     const im_faiss_record *record, const im_index_record *index,
                     const im_engine_params *params)
{
    im_str text;
    im_str_init(&text, 512);
    engine_params_write(params, engine, &text);
    im_json_key(w, "engine_file");
    im_json_begin_object(w);
    im_json_put_string(w, "engine", im_engine_name(engine));
    im_json_put_string(w, "name", record->name);
    im_json_put_uint(w, "bytes", record->bytes);
    im_json_put_uint(w, "rows", record->n_rows);
    im_json_put_string(w, "params", im_str_text(&text));
    im_json_put_string(w, "problem", file_problem(folder, record, index));
    im_json_end_object(w);
    im_str_clear(&text);
}

im_code engine_put_status(im_library *library, const im_model_row *model,
                          const im_index_record *index, uint64_t n_alive, const char *own_engine,
                          im_json_writer *w, im_error *err)
{
    im_engine engine = IM_ENGINE_AUTO;
    im_engine_params params;
    im_faiss_record record = {0};
    char *folder = library_index_folder(library, model->digest);
    im_code rc = folder != NULL ? engine_setting(library->store, &engine, &params, err)
                                : im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    if (rc == IM_OK && engine_is_faiss(engine) && model->id != 0) {
        rc = engine_record(library->store, model->id, engine, &record, err);
    }
    if (rc == IM_OK) {
        bool is_used = record.generation != 0 && file_problem(folder, &record, index) == NULL &&
                       library->engine == IM_ENGINE_AUTO && n_alive > IM_INDEX_PROVED_ROWS;
        im_json_put_string(w, "engine", is_used ? im_engine_name(engine) : own_engine);
        im_json_put_string(w, "chosen_engine", im_engine_name(engine));
        if (record.generation != 0) {
            put_file(w, folder, engine, &record, index, &params);
        } else {
            im_json_put_null(w, "engine_file");
        }
    }
    im_free(folder);
    return rc;
}
