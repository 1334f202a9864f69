/* app/generation.c — a new generation of a model's vector file: from the database (rebuild), or
 * from the rows of the old one that are still in use (compaction). File first, then one commit,
 * then the old files go; readers keep what they have mapped. Rows keep their order, so that each
 * moves down or stays: slots are ids in order but for vectors that were made again. */
#include "app/app_internal.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"

#define GENERATION_ROWS 1024u /* rows of one append */

/* Compaction by itself: when a quarter of what the disk holds and codes step over is dead. It is
 * then paid for by the removals before it: each live row is copied for at most four that were
 * removed since (100,000 rows of 512 values, half of them dead: 2.3 s, 1.3 of which are the
 * database's new slots). Below 1,000 dead rows there is little to give back: 2 MB at 512 values. */
#define COMPACT_ROWS 1000u
#define COMPACT_PART 4u

typedef struct generation {
    im_store *store;
    const char *folder;
    const im_model_row *model;
    const im_events *events;
    im_index *old; /* rows are taken from here; NULL: from the database */
    im_index_writer *writer;
    uint64_t items[GENERATION_ROWS];
    float *rows; /* [GENERATION_ROWS, dim] */
    size_t n;
    uint64_t n_done;
    uint64_t n_mended; /* rows of the old file that were damaged */
    id_list unsound;   /* items whose vector cannot be trusted */
    progress_meter meter;
    im_code rc;
    im_error error;
} generation;

/* ---- rows ---- */

static im_code flush(generation *g)
{
    uint64_t slot = 0;
    im_code rc = IM_OK;
    if (g->n > 0) {
        rc = im_index_writer_append(g->writer, g->items, g->rows, g->n, &slot, &g->error);
        g->n = 0;
        meter_tick(&g->meter, g->n_done, 0, g->events);
    }
    if (rc == IM_OK && im_stop_asked()) {
        rc = im_fail_as(&g->error, IM_REASON_INTERRUPTED,
                        "stopped: the index is the old one, and good");
    }
    return rc;
}

/* The row is in its place at g->rows. */
static bool take(generation *g, uint64_t item)
{
    g->items[g->n++] = item;
    g->n_done++;
    if (g->n == GENERATION_ROWS) {
        g->rc = flush(g);
    }
    return g->rc == IM_OK;
}

/* A vector that fails its CRC is taken out: its item is embedded again from the picture. */
static bool note_unsound(generation *g, uint64_t item)
{
    if (!id_list_add(&g->unsound, item)) {
        g->rc = im_fail(&g->error, IM_ERR_NOMEM, "no memory for a list of items");
        return false;
    }
    return true;
}

static bool copy_from_database(void *context, uint64_t item, uint64_t slot, const float *vector,
                               bool sound)
{
    generation *g = context;
    (void)slot;
    if (!sound) {
        return note_unsound(g, item);
    }
    memcpy(g->rows + g->n * g->model->dim, vector, g->model->dim * sizeof(float));
    return take(g, item);
}

/* The old file's row, which must be that of the database's item; else the database's vector. */
static bool copy_from_file(void *context, uint64_t item, uint64_t slot)
{
    generation *g = context;
    const float *row = NULL;
    uint64_t row_item = 0;
    size_t dim = g->model->dim;
    float *to = g->rows + g->n * dim;
    im_error ignored = IM_ERROR_INIT;
    im_code rc = im_index_row(g->old, slot, &row, &row_item, &ignored);
    if (rc == IM_OK && row_item == item) {
        memcpy(to, row, dim * sizeof(float));
        return take(g, item);
    }
    rc = im_store_get_embedding(g->store, item, g->model->id, to, dim, NULL, &g->error);
    if (rc == IM_ERR_DAMAGED) {
        return note_unsound(g, item);
    }
    g->rc = rc;
    g->n_mended++;
    return rc == IM_OK && take(g, item);
}

/* Whether what was read from the old file was the file: one that was cut meanwhile reads as zeros.
 */
static im_code check_old(generation *g, im_error *err)
{
    const float *row = NULL;
    im_index_stats stats;
    im_error cause = IM_ERROR_INIT;
    if (g->old == NULL) {
        return IM_OK;
    }
    im_index_describe(g->old, &stats);
    im_code rc =
        stats.n_rows > 0 ? im_index_row(g->old, stats.n_rows - 1, &row, NULL, &cause) : IM_OK;
    if (rc == IM_ERR_IO && err != NULL) {
        *err = cause;
    }
    return rc == IM_ERR_IO ? rc : IM_OK;
}

static im_code copy_rows(generation *g, im_error *err)
{
    im_code rc = g->old != NULL ? im_store_each_slot(g->store, g->model->id, copy_from_file, g, err)
                                : im_store_each_embedding(g->store, g->model->id, g->model->dim,
                                                          copy_from_database, g, err);
    if (rc == IM_OK && g->rc == IM_OK) {
        g->rc = flush(g);
    }
    if (rc == IM_OK && g->rc != IM_OK) {
        rc = g->rc;
        if (err != NULL) {
            *err = g->error;
        }
    }
    return rc == IM_OK ? check_old(g, err) : rc;
}

static im_code drop_unsound(generation *g, im_error *err)
{
    im_code rc = IM_OK;
    char sentence[128];
    for (size_t i = 0; i < g->unsound.n && rc == IM_OK; i++) {
        rc = im_store_drop_embedding(g->store, g->unsound.ids[i], g->model->id, err);
    }
    if (rc == IM_OK && g->unsound.n > 0) {
        (void)snprintf(sentence, sizeof(sentence),
                       "%zu vectors failed their checksum and were dropped: imago rebuild makes "
                       "them again",
                       g->unsound.n);
        event_warning(g->events, sentence);
    }
    return rc;
}

/* ---- the file and its commit ---- */

static im_index_state state_of(const generation *g, const im_index_record *record)
{
    im_index_state state = {
        .dim = g->model->dim, .generation = record->generation, .n_rows = record->n_rows};
    im_store_id(g->store, state.library_id);
    memcpy(state.model_digest, g->model->digest, sizeof(state.model_digest));
    return state;
}

static im_code write_file(generation *g, const im_index_record *record, im_error *err)
{
    im_index_state state = state_of(g, record);
    im_code rc = im_index_create(g->folder, &state, err);
    if (rc == IM_OK) {
        im_fault_point("generation_made");
        rc = im_index_writer_open(g->folder, &state, &g->writer, err);
    }
    if (rc == IM_OK) {
        rc = copy_rows(g, err);
    }
    return rc == IM_OK ? im_index_writer_sync(g->writer, err) : rc;
}

/* What the database says of the new file; records of files that belong to the old one go. */
static im_code record_file(generation *g, im_index_record *record, im_error *err)
{
    static const char *const kinds[] = {"ivf", "hnsw"};
    im_code rc = im_store_renumber_slots(g->store, g->model->id, &record->n_rows, err);
    if (rc == IM_OK && record->n_rows != g->n_done) {
        rc = im_fail(err, IM_ERR_INTERNAL, "an index of %llu rows was made for %llu vectors",
                     (unsigned long long)g->n_done, (unsigned long long)record->n_rows);
    }
    if (rc == IM_OK) {
        rc = im_store_set_index(g->store, g->model->id, record, err);
    }
    for (size_t i = 0; i < IM_COUNT(kinds) && rc == IM_OK; i++) {
        rc = im_store_drop_index_file(g->store, g->model->id, kinds[i], err);
    }
    return rc;
}

/* Codes before the commit: no search is slower for it. Without them the index is as good. */
static void make_codes(const generation *g, const im_index_record *record, im_pool *pool)
{
    im_index_state state = state_of(g, record);
    im_error error = IM_ERROR_INIT;
    if (im_index_codes_due(record->n_rows, 0) &&
        im_index_codes_update(g->folder, &state, pool, &error) != IM_OK) {
        codes_tell_none(&error, g->events);
    }
}

/* Everything between begin and commit; rolled back after a failure. */
static im_code write_generation(generation *g, im_index_record *record, im_pool *pool,
                                im_error *err)
{
    im_code rc = im_store_begin(g->store, err);
    if (rc != IM_OK) {
        return rc;
    }
    record->generation++;
    record->n_rows = 0;
    rc = write_file(g, record, err);
    if (rc == IM_OK) {
        rc = drop_unsound(g, err);
    }
    if (rc == IM_OK) {
        rc = record_file(g, record, err);
    }
    if (rc == IM_OK) {
        make_codes(g, record, pool);
        rc = im_store_commit(g->store, err);
    } else {
        im_store_rollback(g->store);
    }
    return rc;
}

/* The old files go, or, after a failure, the new ones: the room that a part of them takes may be
 * what was missing. After a failed sync nobody knows which of the two was committed. */
static void sweep(const generation *g, im_code rc, uint64_t before, const im_index_record *record)
{
    if (rc == IM_OK) {
        im_index_sweep(g->folder, record->generation);
    } else if (rc != IM_ERR_IO) {
        im_index_sweep(g->folder, before);
    }
}

static im_code open_generation(generation *g, const char *stage, im_error *err)
{
    g->rows = im_alloc(GENERATION_ROWS, g->model->dim * sizeof(float));
    meter_start(&g->meter, stage, 0);
    return g->rows != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a new index");
}

static void close_generation(generation *g)
{
    im_index_writer_close(g->writer);
    im_index_close(g->old);
    id_list_clear(&g->unsound);
    im_free(g->rows);
    im_free(g);
}

static generation *new_generation(im_store *store, const char *folder, const im_model_row *model,
                                  const im_events *events, im_error *err)
{
    generation *g = im_alloc_zero(1, sizeof(*g));
    if (g == NULL) {
        im_code rc = im_fail(err, IM_ERR_NOMEM, "no memory for a new index");
        (void)rc;
        return NULL;
    }
    g->store = store;
    g->folder = folder;
    g->model = model;
    g->events = events;
    return g;
}

/* ---- from the database ---- */

static im_code rebuild_locked(generation *g, uint64_t only_generation, uint64_t *out_rows,
                              im_error *err)
{
    im_index_record record;
    im_code rc = im_store_get_index(g->store, g->model->id, &record, err);
    if (rc != IM_OK || (only_generation != 0 && record.generation != only_generation)) {
        return rc; /* somebody else was quicker */
    }
    uint64_t before = record.generation;
    rc = write_generation(g, &record, NULL, err);
    sweep(g, rc, before, &record);
    if (rc == IM_OK) {
        *out_rows = record.n_rows;
    }
    return rc;
}

im_code rebuild_index(im_store *store, const char *index_folder, const im_model_row *model,
                      uint64_t only_generation, const im_events *events, uint64_t *out_rows,
                      im_error *err)
{
    generation *g = new_generation(store, index_folder, model, events, err);
    if (g == NULL) {
        return IM_ERR_NOMEM;
    }
    im_code rc = open_generation(g, "rebuilding", err);
    if (rc == IM_OK) {
        rc = im_folder_make(index_folder, err);
    }
    if (rc == IM_OK) {
        rc = im_store_lock(store, IM_LIMIT_LOCK_WAIT_MS, err);
    }
    if (rc == IM_OK) {
        rc = rebuild_locked(g, only_generation, out_rows, err);
        im_store_unlock(store);
    }
    if (rc == IM_OK) {
        columns_update(store, index_folder, model, events);
    }
    close_generation(g);
    return rc;
}

/* ---- from the rows that are in use ---- */

/* Renumbering writes each row of the table again, into the WAL first. */
static uint64_t database_bytes(size_t dim, uint64_t n_rows)
{
    return n_rows * (5 * (uint64_t)dim + 512);
}

static im_code check_room(const char *folder, size_t dim, uint64_t n_rows, im_error *err)
{
    char want[16];
    char have[16];
    uint64_t bytes = im_index_bytes(dim, n_rows);
    uint64_t room = im_folder_room(folder);
    bytes += bytes < INT64_MAX ? database_bytes(dim, n_rows) : 0;
    if (bytes <= room) {
        return IM_OK;
    }
    im_code rc =
        im_fail(err, IM_ERR_FULL, "'%s': compacting needs %s beside the old files, %s free", folder,
                im_text_bytes(bytes, want), im_text_bytes(room, have));
    im_hint(err, "make room on that disk; the index is good as it is");
    return rc;
}

/* The old file, or nothing when it cannot be read: then the database gives the rows. */
static im_code open_old(generation *g, const im_index_record *record, im_error *err)
{
    const im_index_options options = {.engine = IM_ENGINE_SCAN};
    im_error cause = IM_ERROR_INIT;
    im_index_state state = state_of(g, record);
    im_code rc = im_index_open(g->folder, &state, NULL, &options, &g->old, &cause);
    if (rc != IM_OK && rc != IM_ERR_FORMAT && err != NULL) {
        *err = cause;
    }
    return rc == IM_ERR_FORMAT ? IM_OK : rc;
}

static void tell_mended(const generation *g)
{
    char sentence[96];
    if (g->n_mended > 0) {
        (void)snprintf(sentence, sizeof(sentence),
                       "%llu rows of the index were damaged and taken from the database",
                       (unsigned long long)g->n_mended);
        event_warning(g->events, sentence);
    }
}

static im_code compact_locked(generation *g, bool when_due, im_pool *pool, im_compact_report *out,
                              im_error *err)
{
    im_index_record record;
    uint64_t n_alive = 0;
    im_code rc = im_store_get_index(g->store, g->model->id, &record, err);
    if (rc == IM_OK) {
        rc = im_store_count_slots(g->store, g->model->id, &n_alive, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    uint64_t n_dead = record.n_rows - IM_MIN(n_alive, record.n_rows);
    out->rows = n_alive;
    im_index_sweep(g->folder, record.generation); /* leftovers of one that was killed */
    if (n_dead == 0 ||
        (when_due && (n_dead < COMPACT_ROWS || n_dead <= record.n_rows / COMPACT_PART))) {
        return IM_OK;
    }
    rc = check_room(g->folder, g->model->dim, n_alive, err);
    if (rc == IM_OK) {
        rc = open_old(g, &record, err);
    }
    uint64_t before = record.generation;
    uint64_t old_bytes = im_index_bytes(g->model->dim, record.n_rows);
    if (rc == IM_OK) {
        rc = write_generation(g, &record, pool, err);
        sweep(g, rc, before, &record);
    }
    if (rc == IM_OK) {
        tell_mended(g);
        out->rows = record.n_rows;
        out->dropped = n_dead;
        out->freed_bytes = old_bytes - im_index_bytes(g->model->dim, record.n_rows);
    }
    return rc;
}

im_code compact_index(im_store *store, const char *index_folder, const im_model_row *model,
                      bool when_due, im_pool *pool, const im_events *events, im_compact_report *out,
                      im_error *err)
{
    *out = (im_compact_report){0};
    generation *g = new_generation(store, index_folder, model, events, err);
    if (g == NULL) {
        return IM_ERR_NOMEM;
    }
    im_code rc = open_generation(g, "compacting", err);
    if (rc == IM_OK) {
        rc = im_store_lock(store, IM_LIMIT_LOCK_WAIT_MS, err);
    }
    if (rc == IM_OK) {
        rc = compact_locked(g, when_due, pool, out, err);
        im_store_unlock(store);
    }
    if (rc == IM_OK && out->dropped > 0) {
        columns_update(store, index_folder, model, events);
    }
    close_generation(g);
    return rc;
}

void library_compact_when_due(im_library *library, const im_events *events)
{
    im_compact_report report;
    im_engine engine = IM_ENGINE_AUTO;
    im_engine_params params;
    im_error error = IM_ERROR_INIT;
    im_str sentence;
    im_code rc = library_model(library, &error);
    char *folder = rc == IM_OK ? library_index_folder(library, library->model.digest) : NULL;
    if (rc == IM_OK && folder == NULL) {
        rc = im_fail(&error, IM_ERR_NOMEM, "no memory for a path");
    }
    if (rc == IM_OK) {
        rc = engine_setting(library->store, &engine, &params, &error);
    }
    if (rc == IM_OK && !engine_is_faiss(engine)) { /* else its file would have to be made anew */
        rc = compact_index(library->store, folder, &library->model, true, library->pool, events,
                           &report, &error);
    }
    im_free(folder);
    /* nobody asked for it: a full disk or an impatient user is no reason to say anything */
    if (rc == IM_OK || rc == IM_ERR_FULL || im_stop_asked() ||
        strcmp(error.reason, im_reason_name(IM_REASON_LIBRARY_EMPTY)) == 0) {
        return;
    }
    im_str_init(&sentence, 1024);
    im_str_addf(&sentence, "removed rows are still held: %s", error.message);
    event_warning(events, im_str_text(&sentence));
    im_str_clear(&sentence);
}

im_code im_app_compact(im_library *library, const im_events *events, im_compact_report *out_report,
                       im_error *err)
{
    im_pool *pool = NULL;
    *out_report = (im_compact_report){0};
    im_code rc = library_model(library, err);
    if (rc == IM_OK) {
        rc = library_pool(library, &pool, err);
    }
    char *folder = rc == IM_OK ? library_index_folder(library, library->model.digest) : NULL;
    if (rc == IM_OK && folder == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    if (rc == IM_OK) {
        library_close_index(library);
        rc = compact_index(library->store, folder, &library->model, false, pool, events, out_report,
                           err);
    }
    if (rc == IM_OK && out_report->dropped > 0) {
        engine_rebuild(library->store, folder, &library->model, library->threads, events);
    }
    im_free(folder);
    return rc;
}
