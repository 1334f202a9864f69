/* store/migrate.c — the schema: made as a whole, or brought up to date step by step in one
 * transaction, with a copy of the old database kept until that has succeeded. */
#include "base/fault.h"
#include "base/file.h"
#include "store/store_internal.h"
#include <inttypes.h>

#define COPY_PAGES 1024

static const store_migration real_rows[] = {
#define X(number, text) {number, text},
#include "store_migrations.h"
#undef X
};

_Static_assert(sizeof real_rows / sizeof real_rows[0] == IM_STORE_SCHEMA,
               "IM_STORE_SCHEMA is the number of migrations");

const store_schema store_real_schema = {real_rows, IM_COUNT(real_rows)};

/* Every migration above `from`; user_version is set by the last line of each. */
static im_code run_above(sqlite3 *db, const store_schema *schema, int64_t from, const char *path,
                         im_error *err)
{
    im_code rc = store_exec(db, "BEGIN IMMEDIATE", path, "change the schema of", err);
    for (size_t i = 0; rc == IM_OK && i < schema->n_rows; i++) {
        if (schema->rows[i].number > from) {
            rc = store_exec(db, schema->rows[i].sql, path, "change the schema of", err);
        }
    }
    if (rc == IM_OK) {
        im_fault_point("store_migration_before_commit");
        rc = store_exec(db, "COMMIT", path, "change the schema of", err);
    }
    if (rc != IM_OK && !sqlite3_get_autocommit(db)) {
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    return rc;
}

im_code store_schema_create(sqlite3 *db, const store_schema *schema, const char *path,
                            im_error *err)
{
    return run_above(db, schema, 0, path, err);
}

/* ---- the copy ---- */

/* "…/library.db.<version>" with a suffix, in a new string. */
static char *copy_path(const im_store *store, int64_t version, const char *suffix)
{
    im_str path;
    im_str_init(&path, SIZE_MAX / 2);
    im_str_addf(&path, "%s.%" PRId64 "%s", store->db_path, version, suffix);
    char *result = path.failed ? NULL : im_strdup(im_str_text(&path));
    im_str_clear(&path);
    return result;
}

static im_code fail_stopped(const char *path, im_error *err)
{
    return im_fail_as(err, IM_REASON_INTERRUPTED, "stopped while writing '%s'", path);
}

/* Steps until all pages are there; *out_stopped when progress says so. */
static int copy_pages(sqlite3_backup *backup, im_store_progress_fn progress, void *context,
                      bool *out_stopped)
{
    int rc = SQLITE_OK;
    while (rc == SQLITE_OK && !*out_stopped) {
        rc = sqlite3_backup_step(backup, COPY_PAGES);
        uint64_t total = (uint64_t)sqlite3_backup_pagecount(backup) * STORE_PAGE_BYTES;
        uint64_t left = (uint64_t)sqlite3_backup_remaining(backup) * STORE_PAGE_BYTES;
        *out_stopped = progress != NULL && !progress(context, total - left, total);
    }
    return rc;
}

im_code store_copy_database(im_store *store, const char *path, im_store_progress_fn progress,
                            void *context, im_error *err)
{
    sqlite3 *copy = NULL;
    bool stopped = false;
    im_code code =
        store_connect(path, store_vfs_name, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &copy, err);
    if (code != IM_OK) {
        return code;
    }
    int rc = SQLITE_OK;
    sqlite3_backup *backup = sqlite3_backup_init(copy, "main", store->db, "main");
    if (backup == NULL) {
        rc = sqlite3_extended_errcode(copy);
    } else {
        rc = copy_pages(backup, progress, context, &stopped);
        int finished = sqlite3_backup_finish(backup);
        rc = rc == SQLITE_DONE ? finished : rc;
    }
    if (stopped) {
        code = fail_stopped(path, err);
    } else if (rc != SQLITE_OK) {
        code = store_fail_db(copy, rc, path, "copy the library to", err);
    }
    (void)sqlite3_close_v2(copy);
    return code;
}

static im_code keep_copy(im_store *store, int64_t version, im_error *err)
{
    char *path = copy_path(store, version, "");
    char *fresh = copy_path(store, version, ".new");
    im_code rc = IM_OK;
    if (path == NULL || fresh == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a path in library '%s'", store->folder);
        goto out;
    }
    store_database_remove(fresh);
    rc = store_copy_database(store, fresh, NULL, NULL, err);
    if (rc == IM_OK) {
        rc = store_path_sync(fresh, err);
    }
    if (rc == IM_OK) {
        rc = im_file_rename(fresh, path, err);
    }
    if (rc == IM_OK) {
        rc = im_folder_sync(store->real, err);
    }
    if (rc != IM_OK) {
        store_database_remove(fresh);
    }
out:
    im_free(path);
    im_free(fresh);
    return rc;
}

void store_migrate_tidy(im_store *store, int64_t version)
{
    for (int64_t old = 1; old < version; old++) {
        char *path = copy_path(store, old, "");
        char *fresh = copy_path(store, old, ".new");
        if (path != NULL && fresh != NULL && (im_file_exists(path) || im_file_exists(fresh))) {
            store_database_remove(path);
            store_database_remove(fresh);
        }
        im_free(path);
        im_free(fresh);
    }
}

/* Another process may have done it while we waited for the lock. */
static im_code version_now(im_store *store, int64_t *out, im_error *err)
{
    uint64_t number = 0;
    im_code rc = store_number(store, STORE_SQL_USER_VERSION, &number, err);
    *out = (int64_t)number;
    return rc;
}

im_code store_migrate(im_store *store, const store_schema *schema, int64_t from, im_error *err)
{
    int64_t newest = schema->rows[schema->n_rows - 1].number;
    im_code rc = im_store_lock(store, IM_LIMIT_LOCK_WAIT_MS, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = version_now(store, &from, err);
    if (rc == IM_OK && from < newest) {
        rc = keep_copy(store, from, err);
        im_fault_point("store_migration_copied");
        if (rc == IM_OK) {
            rc = run_above(store->db, schema, from, store->db_path, err);
        }
        im_fault_point("store_migration_done");
    }
    if (rc == IM_OK) {
        store_migrate_tidy(store, newest);
    }
    im_store_unlock(store);
    return rc;
}
