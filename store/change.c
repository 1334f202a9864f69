/* store/change.c — the change counter by which caches notice that they are behind, and what has
 * changed about the items of slots. */
#include "store/store_internal.h"

/* ---- telling ---- */

/* Keeps the newest STORE_CHANGE_ROWS rows or a few more: a cache that is further behind than the
 * oldest row is made anew. `rows` were told just now. */
static im_code forget_old(im_store *store, uint64_t rows, im_error *err)
{
    static const uint64_t step = STORE_CHANGE_ROWS / 16;
    if (rows == 0) {
        return IM_OK;
    }
    uint64_t seq = (uint64_t)sqlite3_last_insert_rowid(store->db);
    if (seq <= STORE_CHANGE_ROWS || rows > seq || seq / step == (seq - rows) / step) {
        return IM_OK;
    }
    return store_run_u64(store, STORE_SQL_FORGET_CHANGES, seq - STORE_CHANGE_ROWS, NULL, err);
}

im_code store_tell_put(im_store *store, uint64_t item, uint64_t model, uint64_t slot, im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_TELL_PUT, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, model);
    statement_put_u64(&st, slot);
    statement_put_u64(&st, item);
    rc = statement_run(&st, NULL, err);
    return rc == IM_OK ? forget_old(store, 1, err) : rc;
}

im_code store_tell_meta(im_store *store, uint64_t item, im_error *err)
{
    uint64_t rows = 0;
    im_code rc = store_run_u64(store, STORE_SQL_TELL_META, item, &rows, err);
    return rc == IM_OK ? forget_old(store, rows, err) : rc;
}

im_code store_tell_places(im_store *store, im_error *err)
{
    im_code rc = store_run(store, STORE_SQL_TELL_PLACES, NULL, err);
    return rc == IM_OK ? forget_old(store, 1, err) : rc;
}

im_code store_tell_own_field(im_store *store, const char *name, im_error *err)
{
    statement st;
    uint64_t rows = 0;
    im_code rc = statement_open(store, STORE_SQL_TELL_OWN_FIELD, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_text(&st, name);
    rc = statement_run(&st, &rows, err);
    return rc == IM_OK ? forget_old(store, rows, err) : rc;
}

im_code im_store_change_seq(im_store *store, uint64_t *out_seq, im_error *err)
{
    return store_number(store, STORE_SQL_CHANGE_SEQ, out_seq, err);
}

/* ---- what changed ---- */

static im_code is_known(im_store *store, uint64_t model, uint64_t since_seq, bool *out_known,
                        im_error *err)
{
    statement st;
    uint64_t oldest = 0;
    bool renumbered = false;
    im_code rc = store_number(store, STORE_SQL_OLDEST_CHANGE, &oldest, err);
    if (rc != IM_OK) {
        return rc;
    }
    if (oldest > since_seq + 1 || since_seq > INT64_MAX) {
        *out_known = false;
        return IM_OK;
    }
    rc = statement_open(store, STORE_SQL_RENUMBERED_SINCE, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, since_seq);
    statement_put_u64(&st, model);
    rc = statement_step(&st, &renumbered, err);
    statement_close(&st);
    if (rc == IM_OK) {
        *out_known = !renumbered;
    }
    return rc;
}

im_code im_store_each_changed_slot(im_store *store, uint64_t model, uint64_t since_seq,
                                   im_store_column_row_fn fn, void *context, bool *out_known,
                                   im_error *err)
{
    statement st;
    bool known = false;
    im_code rc = is_known(store, model, since_seq, &known, err);
    if (rc == IM_OK && known) {
        rc = statement_open(store, STORE_SQL_EACH_CHANGED_ROW, &st, err);
        if (rc == IM_OK) {
            statement_put_u64(&st, model);
            statement_put_u64(&st, since_seq);
            rc = store_walk_column_rows(&st, fn, context, err);
        }
    }
    if (rc == IM_OK) {
        *out_known = known;
    }
    return rc;
}
