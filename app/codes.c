/* app/codes.c — keeping the codes of the tiered scan: caches of the vector file, made when they are
 * worth their while. Without them searches are slower, never wrong: a failure is told and no more.
 */
#include "app/app_internal.h"

/* Rows that have sound codes. */
static im_code count_coded(const char *folder, const im_index_state *state, uint64_t *out_coded,
                           im_error *err)
{
    im_index *index = NULL;
    im_index_stats stats;
    im_code rc = im_index_open(folder, state, NULL, NULL, &index, err);
    if (rc == IM_OK) {
        im_index_describe(index, &stats);
        *out_coded = stats.codes == IM_CODES_SOUND ? stats.n_coded : 0;
    }
    im_index_close(index);
    return rc;
}

static im_code update_locked(im_store *store, const char *folder, const im_model_row *model,
                             im_pool *pool, im_error *err)
{
    im_index_record record;
    im_index_state state = {.dim = model->dim};
    uint64_t n_coded = 0;
    im_code rc = im_store_get_index(store, model->id, &record, err);
    if (rc != IM_OK || !im_index_codes_due(record.n_rows, 0)) {
        return rc;
    }
    im_store_id(store, state.library_id);
    memcpy(state.model_digest, model->digest, sizeof(state.model_digest));
    state.generation = record.generation;
    state.n_rows = record.n_rows;
    rc = count_coded(folder, &state, &n_coded, err);
    if (rc == IM_OK && im_index_codes_due(record.n_rows, n_coded)) {
        rc = im_index_codes_update(folder, &state, pool, err);
    }
    return rc;
}

void codes_tell_none(const im_error *cause, const im_events *events)
{
    im_str sentence;
    im_str_init(&sentence, 1024);
    im_str_addf(&sentence, "the index has no codes, searches are slower: %s", cause->message);
    event_warning(events, im_str_text(&sentence));
    im_str_clear(&sentence);
}

void codes_update(im_store *store, const char *folder, const im_model_row *model, im_pool *pool,
                  const im_events *events)
{
    im_error error = IM_ERROR_INIT;
    im_code rc = im_store_lock(store, IM_LIMIT_LOCK_WAIT_MS, &error);
    if (rc == IM_OK) {
        rc = update_locked(store, folder, model, pool, &error);
        im_store_unlock(store);
    }
    if (rc != IM_OK) {
        codes_tell_none(&error, events);
    }
}

void library_update_caches(im_library *library, const im_events *events)
{
    im_error none = IM_ERROR_INIT;
    char *folder = library_model(library, &none) == IM_OK /* an empty library has neither */
                       ? library_index_folder(library, library->model.digest)
                       : NULL;
    if (folder != NULL) {
        codes_update(library->store, folder, &library->model, library->pool, events);
        columns_update(library->store, folder, &library->model, events);
    }
    im_free(folder);
}
