/* store/create.c — a new library. library.db is made under another name and renamed when it is
 * whole and synced: after a kill at any moment there is a whole library or none, and creating
 * again finishes the rest. */
#include "base/fault.h"
#include "base/file.h"
#include "store/store_internal.h"
#include <errno.h>
#include <limits.h>
#include <sys/random.h>
#include <sys/stat.h>

static const char *const folders[] = {"originals", "index", "thumbs"};

static im_code fail_exists(const char *folder, im_error *err)
{
    im_code rc =
        im_fail_as(err, IM_REASON_LIBRARY_EXISTS, "there is a library in '%s' already", folder);
    im_hint(err, "add pictures to it: imago add FOLDER");
    return rc;
}

im_code store_make_folders(const char *folder, im_error *err)
{
    im_code rc = IM_OK;
    for (size_t i = 0; rc == IM_OK && i < IM_COUNT(folders); i++) {
        char *path = im_path_join(folder, folders[i]);
        if (path == NULL) {
            return im_fail(err, IM_ERR_NOMEM, "no memory for a path in library '%s'", folder);
        }
        rc = im_folder_make(path, err);
        im_free(path);
    }
    return rc;
}

void store_id_hex(const uint8_t id[16], char out[STORE_ID_HEX])
{
    for (size_t i = 0; i < 16; i++) {
        (void)snprintf(out + 2 * i, 3, "%02x", (unsigned)id[i]);
    }
}

static im_code random_id(char out_hex[STORE_ID_HEX], im_error *err)
{
    uint8_t id[16];
    if (getrandom(id, sizeof id, 0) != (ssize_t)sizeof id) {
        return im_fail_errno(err, errno, "could not get random bytes for the library's id");
    }
    store_id_hex(id, out_hex);
    return IM_OK;
}

static im_code write_id(sqlite3 *db, const char *path, im_error *err)
{
    char hex[STORE_ID_HEX];
    sqlite3_stmt *stmt = NULL;
    im_code code = random_id(hex, err);
    if (code != IM_OK) {
        return code;
    }
    int rc = sqlite3_prepare_v2(db, "INSERT INTO setting (name, value) VALUES ('library_id', ?1)",
                                -1, &stmt, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_bind_text(stmt, 1, hex, -1, SQLITE_STATIC);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(stmt);
    }
    if (rc != SQLITE_DONE) {
        code = store_fail_db(db, rc, path, "create", err);
    }
    (void)sqlite3_finalize(stmt);
    return code;
}

static im_code fill_database(const char *path, im_error *err)
{
    sqlite3 *db = NULL;
    im_code rc =
        store_connect(path, store_vfs_name, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db, err);
    if (rc != IM_OK) {
        return rc;
    }
    /* nobody sees the file before it is synced and renamed, so it needs no journal of its own */
    rc = store_exec(db,
                    "PRAGMA page_size = 16384; PRAGMA journal_mode = MEMORY;"
                    "PRAGMA synchronous = OFF",
                    path, "create", err);
    if (rc == IM_OK) {
        rc = store_schema_create(db, &store_real_schema, path, err);
    }
    if (rc == IM_OK) {
        rc = write_id(db, path, err);
    }
    if (rc == IM_OK) {
        rc = store_exec(db, "PRAGMA journal_mode = WAL", path, "create", err);
    }
    int closed = sqlite3_close(db);
    if (closed != SQLITE_OK && rc == IM_OK) {
        rc = store_fail_db(db, closed, path, "create", err);
        (void)sqlite3_close_v2(db);
    }
    return rc;
}

/* The closed file is whole by itself: nothing may wait in a WAL of the temporary name. */
static im_code check_no_wal(const char *path, im_error *err)
{
    if (store_path_bytes(path, "-wal") > 0) {
        return im_fail(err, IM_ERR_IO, "could not finish '%s': its WAL could not be written back",
                       path);
    }
    return IM_OK;
}

static im_code make_database(const char *folder, const char *path, const char *fresh, im_error *err)
{
    store_database_remove(fresh);
    im_code rc = fill_database(fresh, err);
    im_fault_point("store_create_filled");
    if (rc == IM_OK) {
        rc = check_no_wal(fresh, err);
    }
    if (rc == IM_OK) {
        rc = store_path_sync(fresh, err);
    }
    if (rc == IM_OK) {
        rc = im_folder_sync(folder, err); /* the folders and the reserve, before the library is */
    }
    im_fault_point("store_create_synced");
    if (rc == IM_OK) {
        rc = im_file_rename(fresh, path, err);
    }
    if (rc != IM_OK) {
        store_database_remove(fresh);
        return rc;
    }
    im_fault_point("store_create_renamed");
    return im_folder_sync(folder, err);
}

/* Under the lock: of two that create at once one finds the other's library. */
static im_code create_locked(const char *folder, const char *path, const char *fresh, im_error *err)
{
    struct stat info;
    if (lstat(path, &info) == 0) {
        return fail_exists(folder, err);
    }
    im_code rc = store_make_folders(folder, err);
    if (rc == IM_OK) {
        rc = store_reserve_make(folder, err);
    }
    return rc == IM_OK ? make_database(folder, path, fresh, err) : rc;
}

im_code store_sync_parent(const char *folder, im_error *err)
{
    char *parent = im_path_join(folder, "..");
    if (parent == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a path in library '%s'", folder);
    }
    im_code rc = im_folder_sync(parent, err);
    im_free(parent);
    /* a folder that may be used but not read cannot be opened for the sync */
    return rc == IM_ERR_DENIED ? IM_OK : rc;
}

static im_code check_place(const char *folder, im_error *err)
{
    char real[PATH_MAX];
    if (realpath(folder, real) == NULL) {
        return im_fail_errno(err, errno, "could not look up folder '%s'", folder);
    }
    im_code rc = store_path_check_length(real, err);
    return rc == IM_OK ? store_check_file_system(folder, err) : rc;
}

im_code im_store_create(const char *folder, im_error *err)
{
    struct stat info;
    int lock_fd = -1;
    char *path = im_path_join(folder, STORE_DB_NAME);
    char *fresh = im_path_join(folder, STORE_NEW_NAME);
    char *lock = im_path_join(folder, STORE_LOCK_NAME);
    im_code rc = store_setup(err);
    if (rc != IM_OK) {
        goto out;
    }
    if (path == NULL || fresh == NULL || lock == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a path in library '%s'", folder);
        goto out;
    }
    if (lstat(path, &info) == 0) {
        rc = fail_exists(folder, err);
        goto out;
    }
    rc = im_folder_make(folder, err);
    if (rc == IM_OK) {
        rc = check_place(folder, err);
    }
    if (rc == IM_OK) {
        rc = store_lock_take(lock, folder, IM_LIMIT_LOCK_WAIT_MS, &lock_fd, err);
    }
    if (rc == IM_OK) {
        rc = create_locked(folder, path, fresh, err);
    }
    if (rc == IM_OK) {
        rc = store_sync_parent(folder, err);
    }
out:
    store_lock_release(lock_fd);
    im_free(path);
    im_free(fresh);
    im_free(lock);
    return rc;
}
