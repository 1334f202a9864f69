/* store/transaction.c — write transactions under the writer's lock, read snapshots, and the size of
 * the WAL. */
#include "base/clock.h"
#include "base/fault.h"
#include "store/store_internal.h"
#include <sys/statvfs.h>

static im_code fail_sync_was(const im_store *store, im_error *err)
{
    im_code rc =
        im_fail(err, IM_ERR_IO, "library '%s': a sync failed earlier, nothing more is written",
                store->folder);
    im_hint(err, "check the disk, then start again: what was acknowledged is kept");
    return rc;
}

/* Ends whatever transaction SQLite has open. The statement was prepared when the store was opened:
 * memory may be out now. */
static void undo(im_store *store)
{
    sqlite3_stmt *stmt = store->cached[STORE_SQL_ROLLBACK];
    if (!sqlite3_get_autocommit(store->db) && stmt != NULL) {
        (void)sqlite3_step(stmt);
        (void)sqlite3_reset(stmt);
    }
}

/* Nothing is open: also not what an earlier undo could not end. */
static im_code check_none_open(im_store *store, im_error *err)
{
    if (store->in_write || store->in_read) {
        return im_fail(err, IM_ERR_INTERNAL, "library '%s': a transaction is open already",
                       store->folder);
    }
    undo(store);
    if (!sqlite3_get_autocommit(store->db)) {
        return im_fail(err, IM_ERR_IO, "library '%s': a transaction could not be undone: %s",
                       store->folder, sqlite3_errmsg(store->db));
    }
    return IM_OK;
}

im_code im_store_begin(im_store *store, im_error *err)
{
    im_code none = check_none_open(store, err);
    if (none != IM_OK) {
        return none;
    }
    if (store->sync_failed) {
        return fail_sync_was(store, err);
    }
    im_code rc = im_store_lock(store, IM_LIMIT_LOCK_WAIT_MS, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = store_run(store, STORE_SQL_BEGIN_IMMEDIATE, NULL, err);
    if (rc != IM_OK) {
        im_store_unlock(store);
        return rc;
    }
    store->in_write = true;
    store->broken = false;
    return IM_OK;
}

/* The WAL is large, or large beside the room that is left on its disk. */
static bool wal_is_due(const im_store *store)
{
    struct statvfs info;
    if (store->wal_pages >= STORE_CHECKPOINT_PAGES) {
        return true;
    }
    uint64_t wal_bytes = (uint64_t)store->wal_pages * STORE_PAGE_BYTES;
    return statvfs(store->real, &info) == 0 &&
           wal_bytes > (uint64_t)info.f_bavail * info.f_frsize / 4;
}

/* Writes the WAL back when it has grown. What fails here was durable before; but a failed sync
 * stops all further writing. */
static void checkpoint(im_store *store)
{
    if (!wal_is_due(store)) {
        return;
    }
    int rc = sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (rc == SQLITE_IOERR_FSYNC || rc == SQLITE_IOERR_DIR_FSYNC) {
        store->sync_failed = true;
    }
}

static void end_write(im_store *store)
{
    store->in_write = false;
    store->broken = false;
    store->text_item = 0;
    im_store_unlock(store);
}

im_code im_store_commit(im_store *store, im_error *err)
{
    if (!store->in_write) {
        return im_fail(err, IM_ERR_INTERNAL, "library '%s': no transaction to commit",
                       store->folder);
    }
    if (!store->broken && sqlite3_get_autocommit(store->db)) {
        /* SQLite rolls back by itself when memory, disk or room fails at the wrong moment */
        store->broken = true;
        im_code rc = im_fail(&store->broken_by, IM_ERR_IO,
                             "library '%s': the transaction was rolled back", store->folder);
        (void)rc;
    }
    if (store->broken) {
        im_code rc = store->broken_by.code;
        if (err != NULL) {
            *err = store->broken_by;
        }
        im_store_rollback(store);
        return rc;
    }
    im_code rc = store_write_text(store, err);
    if (rc == IM_OK) {
        im_fault_point("store_before_commit");
        rc = store_run(store, STORE_SQL_COMMIT, NULL, err);
    }
    if (rc != IM_OK) {
        im_store_rollback(store);
        return rc;
    }
    im_fault_point("store_committed");
    checkpoint(store);
    end_write(store);
    return IM_OK;
}

void im_store_rollback(im_store *store)
{
    if (!store->in_write) {
        return;
    }
    undo(store);
    end_write(store);
}

im_code im_store_begin_read(im_store *store, im_error *err)
{
    im_code rc = check_none_open(store, err);
    if (rc == IM_OK) {
        rc = store_check_frozen(store, err);
    }
    if (rc == IM_OK) {
        rc = store_run(store, STORE_SQL_BEGIN, NULL, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    rc = store_run(store, STORE_SQL_TAKE_SNAPSHOT, NULL, err);
    store->in_read = true;
    store->read_ended = false;
    store->read_since = im_clock_ns();
    if (rc != IM_OK) {
        im_store_end_read(store);
    }
    return rc;
}

void im_store_end_read(im_store *store)
{
    if (!store->in_read) {
        return;
    }
    store->in_read = false;
    undo(store);
}

im_code store_check_snapshot(im_store *store, im_error *err)
{
    if (!store->in_read) {
        return IM_OK;
    }
    double ms = im_clock_ms_since(store->read_since);
    if (!store->read_ended) {
        if (ms < STORE_SNAPSHOT_OLD_MS ||
            store_path_bytes(store->db_path, "-wal") < STORE_WAL_MOST_BYTES) {
            return IM_OK;
        }
        undo(store);
        store->read_ended = true;
    }
    im_code rc = im_fail_as(err, IM_REASON_LIBRARY_BUSY,
                            "library '%s': an answer was held for %.0f s while much was written",
                            store->folder, ms / 1000);
    im_hint(err, "ask again");
    return rc;
}

im_code store_write_begin(im_store *store, store_write *out, im_error *err)
{
    out->own = !store->in_write;
    if (!out->own && store->broken) {
        if (err != NULL) {
            *err = store->broken_by;
        }
        return store->broken_by.code;
    }
    if (out->own) {
        im_code rc = im_store_begin(store, err);
        if (rc != IM_OK) {
            return rc;
        }
    }
    out->changes = store->changes;
    return IM_OK;
}

im_code store_write_end(im_store *store, store_write *write, im_code rc, im_error *err)
{
    if (write->own) {
        if (rc == IM_OK) {
            return im_store_commit(store, err);
        }
        im_store_rollback(store);
        return rc;
    }
    bool half_done = store->changes != write->changes;
    if (rc != IM_OK && (half_done || sqlite3_get_autocommit(store->db))) {
        store->broken = true;
        if (err != NULL) {
            store->broken_by = *err;
        } else {
            im_code same = im_fail(&store->broken_by, rc,
                                   "library '%s': a part of the transaction failed", store->folder);
            (void)same;
        }
    }
    return rc;
}
