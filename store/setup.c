/* store/setup.c — what SQLite needs once a process (memory, VFS) and once a connection (safety
 * settings, the function imago_crc; glob.c has the others). */
#include "base/hash.h"
#include "store/store_internal.h"
#include <pthread.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int setup_result; /* written once, under pthread_once */

static void setup_once(void)
{
    /* A host program may have started SQLite before us, with memory of its own: then SQLite
     * refuses ours, and all that is lost is the injected allocation failure. */
    int ignored = store_heap_register();
    (void)ignored;
    setup_result = sqlite3_initialize();
    if (setup_result == SQLITE_OK) {
        setup_result = store_vfs_register();
    }
}

/* STRICT tables came with 3.37; Debian 12 has 3.40. */
static im_code check_sqlite(im_error *err)
{
    if (sqlite3_libversion_number() < 3037000 || sqlite3_compileoption_used("ENABLE_FTS5") == 0) {
        return im_fail(err, IM_ERR_UNSUPPORTED,
                       "SQLite %s%s cannot hold a library, expected 3.37 or later with FTS5",
                       sqlite3_libversion(),
                       sqlite3_compileoption_used("ENABLE_FTS5") != 0 ? "" : " without FTS5");
    }
    return IM_OK;
}

im_code store_setup(im_error *err)
{
    int failed = pthread_once(&once, setup_once);
    if (failed != 0 || setup_result != SQLITE_OK) {
        return im_fail(err, setup_result == SQLITE_NOMEM ? IM_ERR_NOMEM : IM_ERR_INTERNAL,
                       "SQLite could not start: %s", sqlite3_errstr(setup_result));
    }
    return check_sqlite(err);
}

/* ---- imago_crc(value, …): CRC-32C over the values with their types ---- */

static uint32_t crc_word(uint32_t crc, uint8_t type, uint64_t word)
{
    uint8_t bytes[9] = {type};
    for (size_t i = 0; i < 8; i++) {
        bytes[1 + i] = (uint8_t)(word >> (8 * i));
    }
    return im_crc32c(crc, bytes, sizeof bytes);
}

static uint32_t crc_value(uint32_t crc, sqlite3_value *value)
{
    int type = sqlite3_value_type(value);
    if (type == SQLITE_INTEGER) {
        return crc_word(crc, 1, (uint64_t)sqlite3_value_int64(value));
    }
    if (type == SQLITE_FLOAT) {
        double number = sqlite3_value_double(value);
        uint64_t bits = 0;
        if (number != 0.0) { /* SQLite stores -0.0 as 0 */
            memcpy(&bits, &number, sizeof bits);
        }
        return crc_word(crc, 2, bits);
    }
    if (type == SQLITE_NULL) {
        return crc_word(crc, 5, 0);
    }
    const void *data = sqlite3_value_blob(value);
    size_t size = (size_t)sqlite3_value_bytes(value);
    crc = crc_word(crc, type == SQLITE_TEXT ? 3 : 4, size);
    return data != NULL ? im_crc32c(crc, data, size) : crc;
}

static void sql_crc(sqlite3_context *context, int n_values, sqlite3_value **values)
{
    uint32_t crc = 0;
    for (int i = 0; i < n_values; i++) {
        crc = crc_value(crc, values[i]);
    }
    sqlite3_result_int64(context, (sqlite3_int64)crc);
}

/* ---- a connection ---- */

static int register_functions(sqlite3 *db)
{
    int rc = sqlite3_create_function_v2(db, "imago_crc", -1,
                                        SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY,
                                        NULL, sql_crc, NULL, NULL, NULL);
    return rc == SQLITE_OK ? store_register_text_functions(db) : rc;
}

im_code store_exec(sqlite3 *db, const char *sql, const char *path, const char *what, im_error *err)
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? IM_OK : store_fail_db(db, rc, path, what, err);
}

/* Nothing in a database file, which may be foreign or damaged, makes SQLite run code or write
 * outside its tables; and none of it is mapped, because a mapped file that is cut kills us. */
static int make_safe(sqlite3 *db)
{
    int rc = sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FKEY, 1, NULL);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_extended_result_codes(db, 1);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_busy_timeout(db, STORE_BUSY_MS);
    }
    (void)sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
    return rc == SQLITE_OK ? register_functions(db) : rc;
}

im_code store_connect(const char *path, const char *vfs, int flags, sqlite3 **out_db, im_error *err)
{
    sqlite3 *db = NULL;
    int rc = sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, vfs);
    if (rc == SQLITE_OK) {
        rc = make_safe(db);
    }
    if (rc != SQLITE_OK) {
        im_code code = store_fail_db(db, rc, path, "open", err);
        (void)sqlite3_close_v2(db);
        return code;
    }
    im_code code = IM_OK;
    if (vfs == store_vfs_alone_name) {
        /* before anything is read: then the index of the WAL is kept in our memory */
        code = store_exec(db, "PRAGMA locking_mode = EXCLUSIVE", path, "open", err);
    }
    if (code == IM_OK) {
        code = store_exec(db,
                          "PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;"
                          "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384",
                          path, "open", err);
    }
    if (code != IM_OK) {
        (void)sqlite3_close_v2(db);
        return code;
    }
    *out_db = db;
    return IM_OK;
}
