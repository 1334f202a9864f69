/* store/open.c — opening a library: refuse what is not ours, choose how to reach it, check that it
 * answers, bring an older schema up to date.
 *
 * For reading there are four ways. LIVE is the normal one. Where the folder cannot be written, or
 * the disk is full so that SQLite cannot make its shared memory, the others are tried: with the
 * -shm that is there; alone, with a hot WAL whose index is kept in our memory; or the file alone
 * when there is no WAL. The last two take no locks: im_store_begin_read refuses when somebody has
 * written meanwhile. */
#include "base/file.h"
#include "store/store_internal.h"
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* an open for writing makes the reserve again when the disk keeps this much beside it */
#define ROOMY_BYTES (UINT64_C(64) << 20)

/* ---- places ---- */

static im_code set_paths(im_store *store, im_error *err)
{
    const char *folder = store->folder;
    char real[PATH_MAX];
    if (realpath(folder, real) == NULL) {
        int failed = errno;
        if (failed == ENOENT || failed == ENOTDIR) {
            im_code rc = im_fail_as(err, IM_REASON_LIBRARY_NOT_FOUND, "no library in '%s'", folder);
            im_hint(err, "make one: imago init");
            return rc;
        }
        return im_fail_errno(err, failed, "could not look up library '%s'", folder);
    }
    store->real = im_strdup(real);
    store->db_path = im_path_join(real, STORE_DB_NAME);
    if (store->real == NULL || store->db_path == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a path in library '%s'", folder);
    }
    return store_path_check_length(real, err);
}

/* Honest also for root, who may write everywhere: a mode without any w is a wish. */
static bool may_write(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && (info.st_mode & 0222) != 0 && access(path, W_OK) == 0;
}

static im_code check_may_write(const char *path, const char *folder, im_error *err)
{
    if (may_write(path)) {
        return IM_OK;
    }
    im_code rc = im_fail(err, IM_ERR_DENIED, "library '%s': '%s' is read-only", folder, path);
    im_hint(err, "searching works; for changes make folder and library.db writable");
    return rc;
}

/* ---- connections ---- */

/* "file:…?option" with every other byte than plain ones escaped. */
static char *uri_of(const char *path, const char *option)
{
    im_str uri;
    im_str_init(&uri, 4096);
    im_str_add_c(&uri, "file:");
    for (const char *p = path; *p != '\0'; p++) {
        if (im_ascii_is_alnum(*p) || strchr("/._-", *p) != NULL) {
            im_str_add_char(&uri, *p);
        } else {
            im_str_addf(&uri, "%%%02X", (unsigned)(unsigned char)*p);
        }
    }
    im_str_addf(&uri, "?%s", option);
    char *result = uri.failed ? NULL : im_strdup(im_str_text(&uri));
    im_str_clear(&uri);
    return result;
}

static im_code connect_uri(im_store *store, const char *option, im_error *err)
{
    char *uri = uri_of(store->db_path, option);
    if (uri == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory to open library '%s'", store->folder);
    }
    im_code rc =
        store_connect(uri, store_vfs_name, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, &store->db, err);
    im_free(uri);
    return rc;
}

static im_code connect_read(im_store *store, im_error *err)
{
    im_code rc = IM_OK;
    switch (store->access) {
    case STORE_ACCESS_LIVE:
        rc = store_connect(store->db_path, store_vfs_name, SQLITE_OPEN_READONLY, &store->db, err);
        break;
    case STORE_ACCESS_KEPT_SHM:
        rc = connect_uri(store, "readonly_shm=1", err);
        break;
    case STORE_ACCESS_ALONE:
        rc = store_connect(store->db_path, store_vfs_alone_name, SQLITE_OPEN_READONLY, &store->db,
                           err);
        break;
    case STORE_ACCESS_IMMUTABLE:
        rc = connect_uri(store, "immutable=1", err);
        break;
    }
    if (rc == IM_OK) {
        /* a reader leaves the WAL to the writers */
        (void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    }
    return rc;
}

static int note_wal(void *context, sqlite3 *db, const char *name, int n_pages)
{
    (void)db;
    (void)name;
    ((im_store *)context)->wal_pages = n_pages;
    return SQLITE_OK;
}

/* Until the library has been judged nothing may be written, not even a checkpoint. */
static im_code connect_write(im_store *store, im_error *err)
{
    im_code rc =
        store_connect(store->db_path, store_vfs_name, SQLITE_OPEN_READWRITE, &store->db, err);
    if (rc != IM_OK) {
        return rc;
    }
    (void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (sqlite3_db_readonly(store->db, "main") != 0) {
        return im_fail(err, IM_ERR_DENIED, "library '%s': '%s' is read-only", store->folder,
                       store->db_path);
    }
    return IM_OK;
}

static void disconnect(im_store *store)
{
    store_finalize_all(store);
    (void)sqlite3_close_v2(store->db);
    store->db = NULL;
}

/* ---- first questions ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static im_code read_id(im_store *store, im_error *err)
{
    char *hex = NULL;
    im_code rc = im_store_get_setting(store, "library_id", &hex, err);
    if (rc != IM_OK) {
        return rc;
    }
    bool good = hex != NULL && strlen(hex) == 2 * sizeof store->id;
    for (size_t i = 0; good && i < sizeof store->id; i++) {
        int high = hex_digit(hex[2 * i]);
        int low = hex_digit(hex[2 * i + 1]);
        good = high >= 0 && low >= 0;
        store->id[i] = good ? (uint8_t)(((unsigned)high << 4 | (unsigned)low) & 0xff) : (uint8_t)0;
    }
    im_free(hex);
    return good ? IM_OK
                : store_damaged_row(store, "setting", 0, "the library's id is missing or no id",
                                    err);
}

/* The header may be newer in the WAL than in the file: judged again, through SQLite. */
static im_code read_version(im_store *store, int64_t newest, int64_t *out_version, im_error *err)
{
    uint64_t application_id = 0;
    uint64_t version = 0;
    im_code rc = store_number(store, STORE_SQL_APPLICATION_ID, &application_id, err);
    if (rc == IM_OK) {
        rc = store_number(store, STORE_SQL_USER_VERSION, &version, err);
    }
    if (rc == IM_OK) {
        *out_version = (int64_t)version;
        rc = store_header_judge((uint32_t)application_id, *out_version, newest, store->folder, err);
    }
    return rc;
}

static im_code probe(im_store *store, int64_t newest, int64_t *out_version, im_error *err)
{
    im_code rc = read_version(store, newest, out_version, err);
    return rc == IM_OK ? read_id(store, err) : rc;
}

/* ---- ways ---- */

static void stamp_of(const char *path, const char *suffix, im_file_stamp *out)
{
    char name[PATH_MAX];
    struct stat info;
    *out = (im_file_stamp){0};
    int size = snprintf(name, sizeof name, "%s%s", path, suffix);
    if (size > 0 && (size_t)size < sizeof name && stat(name, &info) == 0) {
        *out = im_file_stamp_of(&info);
    }
}

static bool stamps_equal(const im_file_stamp *a, const im_file_stamp *b)
{
    return a->size == b->size && a->mtime_ns == b->mtime_ns && a->inode == b->inode;
}

im_code store_check_frozen(im_store *store, im_error *err)
{
    static const char *const suffixes[] = {"", "-wal"};
    if (store->access != STORE_ACCESS_ALONE && store->access != STORE_ACCESS_IMMUTABLE) {
        return IM_OK;
    }
    for (size_t i = 0; i < IM_COUNT(suffixes); i++) {
        im_file_stamp now;
        stamp_of(store->db_path, suffixes[i], &now);
        if (!stamps_equal(&now, &store->frozen[i])) {
            im_code rc = im_fail_as(err, IM_REASON_LIBRARY_BUSY,
                                    "library '%s' was changed by another while it was read without "
                                    "locks",
                                    store->folder);
            im_hint(err, "open it again");
            return rc;
        }
    }
    return IM_OK;
}

static void note_file(im_store *store)
{
    struct stat info;
    if (stat(store->db_path, &info) == 0) {
        store->device = (uint64_t)info.st_dev;
        store->inode = (uint64_t)info.st_ino;
    }
}

im_code store_check_same_file(const im_store *store, im_error *err)
{
    struct stat info;
    if (store->inode == 0 ||
        (stat(store->db_path, &info) == 0 && (uint64_t)info.st_ino == store->inode &&
         (uint64_t)info.st_dev == store->device)) {
        return IM_OK;
    }
    im_code rc =
        im_fail_as(err, IM_REASON_LIBRARY_BUSY,
                   "library '%s' was replaced by another while it was open", store->folder);
    im_hint(err, "open it again");
    return rc;
}

/* Whether another way may help where this one failed. */
static bool may_retry(im_code rc)
{
    return rc == IM_ERR_FULL || rc == IM_ERR_DENIED || rc == IM_ERR_IO;
}

static size_t list_ways(const im_store *store, store_access ways[4])
{
    size_t n = 0;
    if (may_write(store->real)) {
        ways[n++] = STORE_ACCESS_LIVE;
    }
    if (store_path_exists(store->db_path, "-shm")) {
        ways[n++] = STORE_ACCESS_KEPT_SHM;
    }
    ways[n++] =
        store_path_bytes(store->db_path, "-wal") > 0 ? STORE_ACCESS_ALONE : STORE_ACCESS_IMMUTABLE;
    return n;
}

static im_code open_read(im_store *store, int64_t newest, int64_t *out_version, im_error *err)
{
    store_access ways[4];
    size_t n_ways = list_ways(store, ways);
    im_code rc = IM_ERR_INTERNAL;
    for (size_t i = 0; i < n_ways; i++) {
        store->access = ways[i];
        stamp_of(store->db_path, "", &store->frozen[0]);
        stamp_of(store->db_path, "-wal", &store->frozen[1]);
        rc = connect_read(store, err);
        if (rc == IM_OK) {
            rc = probe(store, newest, out_version, err);
        }
        if (rc == IM_OK) {
            rc = store_check_frozen(store, err); /* nothing moved while it was opened */
        }
        if (rc == IM_OK || !may_retry(rc)) {
            return rc;
        }
        disconnect(store);
    }
    return rc;
}

/* ---- writing ---- */

static im_code set_for_writing(im_store *store, im_error *err)
{
    im_code rc = store_exec(store->db,
                            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                            "PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 67108864",
                            store->db_path, "open", err);
    if (rc == IM_OK) {
        (void)sqlite3_wal_hook(store->db, note_wal, store);
        (void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    }
    return rc;
}

/* The reserve was given back on a full disk, and the one who did so was killed. */
static void mend_reserve(im_store *store)
{
    struct statvfs info;
    if (!store_reserve_is_whole(store->real) && statvfs(store->real, &info) == 0 &&
        (uint64_t)info.f_bavail * info.f_frsize > ROOMY_BYTES) {
        im_error ignored = IM_ERROR_INIT;
        im_code rc = store_reserve_make(store->real, &ignored);
        (void)rc;
    }
}

static im_code open_write(im_store *store, const store_schema *schema, int64_t newest,
                          im_error *err)
{
    int64_t version = 0;
    im_code rc = check_may_write(store->real, store->folder, err);
    if (rc == IM_OK) {
        rc = check_may_write(store->db_path, store->folder, err);
    }
    if (rc == IM_OK) {
        rc = store_check_file_system(store->real, err);
    }
    if (rc == IM_OK) {
        rc = connect_write(store, err);
    }
    if (rc == IM_OK) {
        rc = read_version(store, newest, &version, err);
    }
    if (rc == IM_OK) {
        rc = set_for_writing(store, err);
    }
    if (rc == IM_OK && version < newest) {
        rc = store_migrate(store, schema, version, err);
    } else if (rc == IM_OK) {
        store_migrate_tidy(store, version);
    }
    if (rc == IM_OK) {
        rc = read_id(store, err);
    }
    if (rc == IM_OK) {
        note_file(store);
        mend_reserve(store);
    }
    return rc;
}

/* With not a byte of room SQLite cannot even make its shared memory. The reserve is there for that.
 */
static im_code open_write_or_make_room(im_store *store, const store_schema *schema, int64_t newest,
                                       im_error *err)
{
    im_code rc = open_write(store, schema, newest, err);
    if (rc == IM_ERR_FULL && store_path_exists(store->real, "/" STORE_RESERVE_NAME)) {
        disconnect(store);
        im_store_release_reserve(store);
        rc = open_write(store, schema, newest, err);
    }
    return rc;
}

/* Prepared now, because it must not need memory when it is wanted. */
static im_code prepare_rollback(im_store *store, im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_ROLLBACK, &st, err);
    if (rc == IM_OK) {
        statement_close(&st);
    }
    return rc;
}

/* ---- the door ---- */

static im_code new_store(const char *folder, im_store_mode mode, im_store **out_store,
                         im_error *err)
{
    im_store *store = im_alloc_zero(1, sizeof(*store));
    char *copy = im_strdup(folder);
    if (store == NULL || copy == NULL) {
        im_free(store);
        im_free(copy);
        return im_fail(err, IM_ERR_NOMEM, "no memory to open library '%s'", folder);
    }
    store->folder = copy;
    store->mode = mode;
    store->lock_fd = -1;
    *out_store = store;
    return IM_OK;
}

/* A reader brings an older library up to date too, when it can be written. */
static im_code migrate_first(const char *folder, const store_schema *schema, im_error *err)
{
    im_store *writer = NULL;
    im_code rc = store_open_schema(folder, IM_STORE_WRITE, schema, &writer, err);
    im_store_close(writer);
    return rc;
}

im_code store_open_schema(const char *folder, im_store_mode mode, const store_schema *schema,
                          im_store **out_store, im_error *err)
{
    im_store *store = NULL;
    store_header header = {0};
    int64_t newest = schema->rows[schema->n_rows - 1].number;
    int64_t version = newest;
    im_code rc = store_setup(err);
    if (rc == IM_OK) {
        rc = new_store(folder, mode, &store, err);
    }
    if (rc == IM_OK) {
        rc = set_paths(store, err);
    }
    if (rc == IM_OK) {
        rc = store_header_check(store->db_path, folder, newest, &header, err);
    }
    if (rc == IM_OK) {
        rc = mode == IM_STORE_WRITE ? open_write_or_make_room(store, schema, newest, err)
                                    : open_read(store, newest, &version, err);
    }
    if (rc == IM_OK && version < newest) {
        im_store_close(store);
        store = NULL;
        rc = migrate_first(folder, schema, err);
        return rc == IM_OK ? store_open_schema(folder, mode, schema, out_store, err) : rc;
    }
    if (rc == IM_OK) {
        rc = prepare_rollback(store, err);
    }
    if (rc != IM_OK) {
        im_store_close(store);
        return rc;
    }
    *out_store = store;
    return IM_OK;
}

im_code im_store_open(const char *folder, im_store_mode mode, im_store **out_store, im_error *err)
{
    return store_open_schema(folder, mode, &store_real_schema, out_store, err);
}

void im_store_close(im_store *store)
{
    if (store == NULL) {
        return;
    }
    if (store->db != NULL) {
        im_store_rollback(store);
        im_store_end_read(store);
        if (store->sync_failed) {
            /* no second sync is believed: the WAL is left for the next process */
            (void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        }
        disconnect(store);
    }
    store_lock_release(store->lock_fd);
    store_texts_clear(store);
    im_free(store->folder);
    im_free(store->real);
    im_free(store->db_path);
    im_free(store);
}

const char *im_store_folder(const im_store *store)
{
    return store->folder;
}

void im_store_id(const im_store *store, uint8_t out_id[16])
{
    memcpy(out_id, store->id, sizeof store->id);
}
