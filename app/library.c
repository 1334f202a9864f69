/* app/library.c — a library in use: its store, model, encoder and index, each opened when first
 * needed, so that a search touches nothing it does not ask for. */
#include "app/app_internal.h"
#include "base/clock.h"
#include "base/file.h"

im_code im_app_init(const im_places *places, im_error *err)
{
    return im_store_create(places->library, err);
}

static im_code copy_options(im_library *library, const im_library_options *options, im_error *err)
{
    library->writable = options->writable;
    library->packs = options->writable || options->packs;
    library->precision = options->precision;
    library->engine = options->engine;
    library->threads = options->threads;
    library->batch = APP_DEFAULT_BATCH;
    library->folder = im_strdup(options->places->library);
    library->places.library = im_strdup(options->places->library);
    library->places.models = im_strdup(options->places->models);
    library->places.share = im_strdup(options->places->share);
    if (options->places->packed != NULL) { /* only a cache */
        library->places.packed = im_strdup(options->places->packed);
    }
    bool has_packed = options->places->packed == NULL || library->places.packed != NULL;
    bool ok = has_packed && library->folder != NULL && library->places.library != NULL &&
              library->places.models != NULL && library->places.share != NULL;
    if (options->model != NULL) {
        library->model_wanted = im_strdup(options->model);
        ok = ok && library->model_wanted != NULL;
    }
    if (options->index_params != NULL) {
        library->index_params = im_strdup(options->index_params);
        ok = ok && library->index_params != NULL;
    }
    return ok ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a library");
}

im_code im_library_open(const im_library_options *options, im_library **out_library, im_error *err)
{
    im_library *library = im_alloc_zero(1, sizeof(*library));
    if (library == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a library");
    }
    im_code rc = copy_options(library, options, err);
    library_set_memory(library, options->memory_bytes);
    if (rc == IM_OK) {
        rc = im_store_open(library->folder, options->writable ? IM_STORE_WRITE : IM_STORE_READ,
                           &library->store, err);
    }
    if (rc != IM_OK) {
        im_library_close(library);
        return rc;
    }
    *out_library = library;
    return IM_OK;
}

void library_close_index(im_library *library)
{
    im_index_close(library->index);
    library->ann_current = false;
    im_free(library->alive);
    im_free(library->present);
    library->index = NULL;
    library->alive = NULL;
    library->present = NULL;
}

void im_library_close(im_library *library)
{
    if (library == NULL) {
        return;
    }
    library_close_columns(library);
    library_forget_bitmaps(library);
    own_fields_clear(&library->fields);
    library_close_index(library);
    engine_close(library);
    im_encoder_close(library->encoder);
    im_model_row_clear(&library->model);
    im_free(library->text_background);
    im_store_close(library->store);
    im_pool_close(library->pool);
    im_places_clear(&library->places);
    im_free(library->folder);
    im_free(library->model_wanted);
    im_free(library->index_params);
    im_free(library);
}

im_store *im_library_store(im_library *library)
{
    return library->store;
}

im_code library_pool(im_library *library, im_pool **out_pool, im_error *err)
{
    if (library->pool == NULL) {
        im_code rc = im_pool_open(library->threads, &library->pool, err);
        if (rc != IM_OK) {
            return rc;
        }
    }
    *out_pool = library->pool;
    return IM_OK;
}

/* ---- model ---- */

/* --model on a library: it must be the one the library was made with. */
static im_code check_wanted_model(im_library *library, im_error *err)
{
    char *folder = NULL;
    char digest[65];
    char ours[65];
    if (library->model_wanted == NULL || strcmp(library->model_wanted, library->model.name) == 0) {
        return IM_OK;
    }
    im_code rc = im_app_model_folder(&library->places, library->model_wanted, &folder, err);
    if (rc == IM_OK && strcmp(folder, library->model.folder) != 0) {
        model_files_digest(&library->model, ours);
        rc = im_encoder_digest(folder, digest, err);
        if (rc == IM_OK && strcmp(digest, ours) != 0) {
            rc = im_fail_as(err, IM_REASON_MODEL_MISMATCH,
                            "library '%s' was made with model '%s' (%.12s), not with '%s' (%.12s)",
                            library->folder, library->model.name, ours, library->model_wanted,
                            digest);
            im_hint(err, "leave --model out, or change the library: imago model use NAME");
        }
    }
    im_free(folder);
    return rc;
}

im_code library_model(im_library *library, im_error *err)
{
    if (library->model.id != 0) {
        return IM_OK;
    }
    im_code rc = im_store_active_model(library->store, &library->model, err);
    if (rc != IM_OK) {
        return rc;
    }
    if (library->model.id == 0) {
        rc = im_fail_as(err, IM_REASON_LIBRARY_EMPTY, "library '%s' is empty", library->folder);
        im_hint(err, "add pictures first: imago add FOLDER");
        return rc;
    }
    rc = check_wanted_model(library, err);
    if (rc == IM_OK) {
        rc = space_check(library, err);
    }
    if (rc != IM_OK) {
        im_model_row_clear(&library->model);
    }
    return rc;
}

/* The folder must still hold the files the library was made with: stamps first, the digest only
 * when a stamp differs (a copy of the folder is the same model). */
static im_code check_model_files(im_library *library, const char *folder, im_error *err)
{
    im_str now;
    char digest[65];
    char ours[65];
    im_str_init(&now, IM_LIMIT_MODEL_JSON_BYTES);
    im_code rc = model_files_json(folder, &now, err);
    if (rc == IM_OK &&
        (library->model.files == NULL || strcmp(im_str_text(&now), library->model.files) != 0)) {
        model_files_digest(&library->model, ours);
        rc = im_encoder_digest(folder, digest, err);
        if (rc == IM_OK && strcmp(digest, ours) != 0) {
            rc = im_fail_as(err, IM_REASON_MODEL_MISMATCH,
                            "model folder '%s' has changed: its digest is %.12s, library '%s' was "
                            "made with %.12s",
                            folder, digest, library->folder, ours);
            im_hint(err, "bring the old files back, or change over: imago model use %s",
                    library->model.name);
        }
    }
    im_str_clear(&now);
    return rc;
}

im_code library_model_folder(im_library *library, char **out_folder, im_error *err)
{
    if (im_file_exists(library->model.folder)) {
        *out_folder = im_strdup(library->model.folder);
        return *out_folder != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    return im_app_model_folder(&library->places, library->model.name, out_folder, err);
}

void library_set_batch(im_library *library, size_t batch)
{
    if (library->batch != batch) {
        im_encoder_close(library->encoder); /* opened anew when it is needed */
        library->encoder = NULL;
    }
    library->batch = batch;
}

im_code library_encoder_options(im_library *library, im_towers towers, im_encoder_options *out,
                                im_error *err)
{
    im_pool *pool = NULL;
    im_code rc = library_pool(library, &pool, err);
    *out = (im_encoder_options){.precision = library->precision,
                                .towers = towers,
                                .pool = pool,
                                .batch = library->batch,
                                .memory_bytes = library_encoder_memory(library)};
    return rc;
}

im_code library_open_encoder(im_library *library, const char *folder, const im_model_row *row,
                             im_towers towers, const im_events *events, im_encoder **out,
                             im_error *err)
{
    char digest[65];
    packing_telling telling;
    im_encoder_options options;
    precision_choice choice = {0};
    im_code rc = library_encoder_options(library, towers, &options, err);
    if (rc == IM_OK) {
        rc = precision_of_row(library->store, row, library->precision, &choice, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    model_files_digest(row, digest);
    options.precision = choice.precision;
    options.packing = packing_start(&telling, &library->places, digest, library->packs, events);
    rc = im_encoder_open(folder, &options, out, err);
    if (rc == IM_OK) {
        packing_tell(*out, events);
    } else {
        library_tell_budget(library, err);
    }
    return rc;
}

im_code library_encoder(im_library *library, im_towers towers, const im_events *events,
                        im_error *err)
{
    char *folder = NULL;
    if (library->encoder != NULL && im_encoder_lost(library->encoder)) {
        im_encoder_close(library->encoder); /* or a daemon would say model_lost for good */
        library->encoder = NULL;
    }
    if (library->encoder != NULL &&
        (library->towers == IM_TOWERS_BOTH || library->towers == towers)) {
        return IM_OK;
    }
    if (library->encoder != NULL) { /* the other tower now: open both */
        im_encoder_close(library->encoder);
        library->encoder = NULL;
        towers = IM_TOWERS_BOTH;
    }
    im_code rc = library_model(library, err);
    if (rc == IM_OK) {
        rc = library_model_folder(library, &folder, err);
    }
    if (rc == IM_OK) {
        rc = check_model_files(library, folder, err);
    }
    if (rc == IM_OK) {
        rc = library_open_encoder(library, folder, &library->model, towers, events,
                                  &library->encoder, err);
    }
    if (rc == IM_OK) { /* once more: what was opened must be what was looked at */
        rc = check_model_files(library, folder, err);
        if (rc != IM_OK) {
            im_encoder_close(library->encoder);
            library->encoder = NULL;
        }
    }
    if (rc == IM_OK) {
        library->towers = towers;
    }
    im_free(folder);
    return rc;
}

/* ---- index ---- */

char *library_index_folder(const im_library *library, const char *digest)
{
    char *index = im_path_join(library->folder, "index");
    char *folder = index != NULL ? im_path_join(index, digest) : NULL;
    im_free(index);
    return folder;
}

void library_index_state(const im_library *library, const im_model_row *model,
                         const im_index_record *record, im_index_state *out)
{
    memset(out, 0, sizeof(*out));
    im_store_id(library->store, out->library_id);
    memcpy(out->model_digest, model->digest, sizeof(out->model_digest));
    out->dim = model->dim;
    out->generation = record->generation;
    out->n_rows = record->n_rows;
}

/* Items whose every file is missing are no hits unless they are asked for: library->present leaves
 * them out, and is NULL when there are none. */
static im_code find_present(im_library *library, size_t n_words, im_error *err)
{
    uint64_t any = 0;
    uint64_t *present = im_alloc_zero(n_words, sizeof(*present));
    if (present == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for %zu bits of an index", n_words * 64);
    }
    im_code rc = im_store_slots_missing(library->store, library->model.id,
                                        library->index_record.n_rows, present, err);
    for (size_t i = 0; rc == IM_OK && i < n_words; i++) {
        any |= present[i] & library->alive[i];
        present[i] = library->alive[i] & ~present[i];
    }
    if (rc != IM_OK || any == 0) {
        im_free(present);
        return rc;
    }
    library->present = present;
    return IM_OK;
}

/* Reads what the database says of the index and opens the files against it. */
static im_code open_index(im_library *library, uint64_t change_seq, const char *folder,
                          im_error *err)
{
    im_index_state state;
    im_index_options options = {.engine = library->engine};
    if (engine_is_faiss(library->engine)) {
        options.engine = IM_ENGINE_AUTO; /* for what its file cannot answer */
    }
    library_close_index(library);
    im_code rc = im_store_get_index(library->store, library->model.id, &library->index_record, err);
    if (rc == IM_OK) {
        rc = library_pool(library, &options.pool, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    if (library->index_record.generation == 0) { /* one that was emptied has a file without rows */
        rc = im_fail_as(err, IM_REASON_LIBRARY_EMPTY, "library '%s' is empty", library->folder);
        im_hint(err, "add pictures first: imago add FOLDER");
        return rc;
    }
    uint64_t n_alive = 0; /* the index counts for itself */
    size_t n_words = (size_t)((library->index_record.n_rows + 63) / 64);
    library->alive = im_alloc_zero(n_words, sizeof(uint64_t));
    if (library->alive == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for %zu bits of an index", n_words * 64);
    }
    if (library->engine == IM_ENGINE_FLAT) { /* copies all rows; the others map them */
        rc = library_need_memory(library, "engine 'flat'",
                                 library->index_record.n_rows * library->model.dim * sizeof(float),
                                 1, err);
    }
    if (rc == IM_OK) {
        rc = im_store_alive_slots(library->store, library->model.id, library->index_record.n_rows,
                                  library->alive, &n_alive, err);
    }
    if (rc == IM_OK) {
        rc = find_present(library, n_words, err);
    }
    if (rc == IM_OK) {
        library_index_state(library, &library->model, &library->index_record, &state);
        rc = im_index_open(folder, &state, library->alive, &options, &library->index, err);
    }
    library->index_seq = change_seq;
    return rc;
}

/* The reader's snapshot is left and taken again: after a failure too, since the caller ends one. */
static im_code new_snapshot(im_library *library, im_error *err)
{
    im_store_end_read(library->store);
    return im_store_begin_read(library->store, err);
}

/* Makes the vector file anew from the database, through a writing store of our own. */
static im_code make_anew(im_library *library, const char *folder, uint64_t generation,
                         const im_error *cause, const im_events *events, im_error *err)
{
    im_store *writer = NULL;
    im_str sentence;
    uint64_t n_rows = 0;
    im_str_init(&sentence, 1024);
    im_str_addf(&sentence, "%s: making it anew from the library", cause->message);
    event_warning(events, im_str_text(&sentence));
    im_str_clear(&sentence);
    im_store_end_read(library->store);
    im_code rc = im_store_open(library->folder, IM_STORE_WRITE, &writer, err);
    if (rc == IM_OK) {
        rc = rebuild_index(writer, folder, &library->model, generation, events, &n_rows, err);
    }
    im_store_close(writer);
    im_error ignored = IM_ERROR_INIT;
    im_code again = im_store_begin_read(library->store, rc == IM_OK ? err : &ignored);
    return rc == IM_OK ? again : rc;
}

/* The file of `generation` is damaged or gone. Gone it may be because another process has compacted
 * since our snapshot: then a newer one shows all that is to be seen, and nothing is made. */
static im_code mend_index(im_library *library, const char *folder, uint64_t generation,
                          const im_error *cause, const im_events *events, im_error *err)
{
    im_index_record record = {0};
    im_code rc = new_snapshot(library, err);
    if (rc == IM_OK) {
        rc = im_store_get_index(library->store, library->model.id, &record, err);
    }
    return rc == IM_OK && record.generation == generation
               ? make_anew(library, folder, generation, cause, events, err)
               : rc;
}

/* As of the snapshot; *out_generation is that of the file which failed. */
static im_code open_latest(im_library *library, const char *folder, uint64_t *out_generation,
                           im_error *err)
{
    uint64_t seq = 0;
    im_code rc = im_store_change_seq(library->store, &seq, err);
    if (rc == IM_OK) {
        rc = open_index(library, seq, folder, err);
    }
    *out_generation = library->index_record.generation;
    return rc;
}

/* A file that is mended or compacted away may be gone again: not for ever. */
#define OPEN_ATTEMPTS 4

im_code library_index(im_library *library, const im_events *events, im_error *err)
{
    uint64_t seq = 0;
    im_index_record record;
    im_error cause = IM_ERROR_INIT;
    im_code rc = library_model(library, err);
    if (rc == IM_OK) {
        rc = im_store_change_seq(library->store, &seq, err);
    }
    if (rc == IM_OK) {
        rc = im_store_get_index(library->store, library->model.id, &record, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    if (library->index != NULL && library->index_seq == seq &&
        library->index_record.generation == record.generation &&
        library->index_record.n_rows == record.n_rows) {
        return IM_OK;
    }
    char *folder = library_index_folder(library, library->model.digest);
    if (folder == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    for (int attempt = 0; attempt < OPEN_ATTEMPTS; attempt++) {
        uint64_t generation = 0;
        rc = open_latest(library, folder, &generation, &cause);
        if (attempt + 1 == OPEN_ATTEMPTS ||
            (rc != IM_ERR_FORMAT &&
             (rc != IM_ERR_NOT_FOUND || library->index_record.generation == 0))) {
            break;
        }
        rc = mend_index(library, folder, generation, &cause, events, err);
        if (rc != IM_OK) {
            im_free(folder);
            return rc;
        }
    }
    if (rc != IM_OK && err != NULL) {
        *err = cause;
    }
    im_free(folder);
    return rc;
}

im_code library_mend_index(im_library *library, const im_error *cause, const im_events *events,
                           im_error *err)
{
    char *folder = library_index_folder(library, library->model.digest);
    im_code rc = folder != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    library_close_index(library);
    if (rc == IM_OK) {
        rc = mend_index(library, folder, library->index_record.generation, cause, events, err);
    }
    im_free(folder);
    return rc == IM_OK ? library_index(library, events, err) : rc;
}
