/* store/store_internal.h — what the files of store/ share: the open library, statements, failures
 * of SQLite in our words, transactions. Nothing here passes the door. */
#ifndef IM_STORE_STORE_INTERNAL_H
#define IM_STORE_STORE_INTERNAL_H

#include "base/base.h"
#include "store/store.h"
#include <sqlite3.h>

/* ---- names inside a library folder ---- */

#define STORE_DB_NAME "library.db"
#define STORE_NEW_NAME "library.db.new" /* while it is made */
#define STORE_LOCK_NAME "lock"
#define STORE_RESERVE_NAME "reserve"

#define STORE_PAGE_BYTES 16384
#define STORE_CHECKPOINT_PAGES 1000     /* 16 MiB of WAL, then it is written back */
#define STORE_WAL_KEEP_BYTES (64 << 20) /* a WAL that grew larger is cut after a checkpoint */
#define STORE_WAL_MOST_BYTES (UINT64_C(256) << 20) /* then old snapshots are given up */
#define STORE_SNAPSHOT_OLD_MS 30000
#define STORE_BUSY_MS 10000                  /* for programs that lock without our lock file */
#define STORE_CHANGE_ROWS (INT64_C(1) << 20) /* rows of `change` that are kept */

/* ---- statements: rows of sql/queries.def ---- */

typedef enum store_sql {
#define X(NAME, table, text) STORE_SQL_##NAME,
#include "store/sql/queries.def"
#undef X
    STORE_SQL_COUNT
} store_sql;

/* Where and how a library is opened; see open.c for the choice. */
typedef enum store_access {
    STORE_ACCESS_LIVE,     /* with locks and shared memory: the normal way */
    STORE_ACCESS_KEPT_SHM, /* read-only folder, the -shm that is there is used, not written */
    STORE_ACCESS_ALONE,    /* read-only folder with a hot WAL: its index is kept in our memory */
    STORE_ACCESS_IMMUTABLE /* read-only folder, no WAL: the file alone */
} store_access;

/* Items whose full text is to be made anew before the open transaction commits. */
typedef struct store_texts {
    uint64_t *items; /* owned */
    size_t n, capacity;
} store_texts;

struct im_store {
    char *folder;  /* as the caller wrote it, for sentences */
    char *real;    /* absolute: the process may change its folder */
    char *db_path; /* absolute */
    sqlite3 *db;
    im_store_mode mode;
    store_access access;
    im_file_stamp frozen[2]; /* of library.db and its WAL when they are read without locks */
    uint64_t device, inode;  /* of library.db when it was opened for writing */
    uint8_t id[16];
    sqlite3_stmt *cached[STORE_SQL_COUNT];
    bool busy[STORE_SQL_COUNT]; /* cached[i] is being stepped */
    int lock_fd;                /* -1 when not held */
    unsigned lock_depth;
    bool in_write;
    bool in_read;
    bool read_ended;     /* the snapshot was given up: nothing is read before im_store_end_read */
    uint64_t read_since; /* im_clock_ns of im_store_begin_read */
    bool sync_failed;    /* nothing more is written: see fail.c */
    bool broken;         /* the open transaction can only be rolled back, because of: */
    im_error broken_by;
    store_texts texts;
    int wal_pages;    /* after the last commit */
    uint64_t changes; /* rows changed so far by our statements; SQLite's own total also counts what
                       * the full text writes at savepoints */
};

/** One statement in use. Values are bound in order, read by column. Ends with statement_close. */
typedef struct statement {
    im_store *store;
    sqlite3_stmt *stmt;
    store_sql sql;
    int n_bound;
    int rc;         /* of the binds so far */
    bool temporary; /* the cached one was busy (a callback asks the same): our own, finalised */
} statement;

IM_NODISCARD im_code statement_open(im_store *store, store_sql sql, statement *out, im_error *err);
void statement_put_i64(statement *st, int64_t value);
void statement_put_u64(statement *st, uint64_t value); /* keeps its bits */
void statement_put_f64(statement *st, double value);
void statement_put_text(statement *st, const char *text);  /* borrowed until close; NULL: null */
void statement_put_text_view(statement *st, im_view text); /* borrowed until close */
void statement_put_blob(statement *st, const void *data, size_t size); /* borrowed until close */
void statement_put_null(statement *st);
/** Next row: *out_row false at the end. */
IM_NODISCARD im_code statement_step(statement *st, bool *out_row, im_error *err);
/** Steps to the end, closes; *out_rows (may be NULL) rows were changed. */
IM_NODISCARD im_code statement_run(statement *st, uint64_t *out_rows, im_error *err);
void statement_close(statement *st);

bool statement_is_null(const statement *st, int column);
int64_t statement_i64(const statement *st, int column);
uint64_t statement_u64(const statement *st, int column);
double statement_f64(const statement *st, int column);
/** Text or bytes of a column, valid until the next step or close. */
im_view statement_view(const statement *st, int column);
/** Copies a column of text into out, cut to capacity - 1 bytes. */
void statement_copy(const statement *st, int column, char *out, size_t capacity);
/** New string of a column; NULL when memory is out. */
char *statement_strdup(const statement *st, int column);

/** Opens, binds up to two values, runs: for the many statements of that shape. */
IM_NODISCARD im_code store_run(im_store *store, store_sql sql, uint64_t *out_rows, im_error *err);
IM_NODISCARD im_code store_run_u64(im_store *store, store_sql sql, uint64_t a, uint64_t *out_rows,
                                   im_error *err);
IM_NODISCARD im_code store_run_u64_i64(im_store *store, store_sql sql, uint64_t a, int64_t b,
                                       uint64_t *out_rows, im_error *err);
IM_NODISCARD im_code store_run_u64_text(im_store *store, store_sql sql, uint64_t a, const char *b,
                                        uint64_t *out_rows, im_error *err);
/** First column of the first row of a statement without values; 0 when there is no row. */
IM_NODISCARD im_code store_number(im_store *store, store_sql sql, uint64_t *out, im_error *err);
/** As store_number with one value; *out_found tells whether there was a row. */
IM_NODISCARD im_code store_number_of(im_store *store, store_sql sql, uint64_t a, bool *out_found,
                                     uint64_t *out, im_error *err);
void store_finalize_all(im_store *store);
const char *store_sql_table(store_sql sql);

/* ---- failures ---- */

/** Fills err from a result code of SQLite: what could not be done to which table. */
IM_NODISCARD im_code store_fail(im_store *store, int rc, store_sql sql, im_error *err);
/** As store_fail, before there are statements. `what` is "open", "create" … */
IM_NODISCARD im_code store_fail_db(sqlite3 *db, int rc, const char *path, const char *what,
                                   im_error *err);
/** A row that cannot be: damaged (15), naming table and row. */
IM_NODISCARD im_code store_damaged_row(im_store *store, const char *table, uint64_t row,
                                       const char *what, im_error *err);

/* ---- transactions ---- */

/** Around every operation that writes: joins the open transaction, or makes one of its own. */
typedef struct store_write {
    bool own;
    uint64_t changes; /* the store's before */
} store_write;
IM_NODISCARD im_code store_write_begin(im_store *store, store_write *out, im_error *err);
/** Commits or rolls back its own; inside a caller's transaction marks it as broken when the
 * operation failed after its first change. Returns rc or the commit's failure. */
IM_NODISCARD im_code store_write_end(im_store *store, store_write *write, im_code rc,
                                     im_error *err);

/** Inside a snapshot: BUSY, and the snapshot is given up, when it is old and keeps a large WAL from
 * being written back. */
IM_NODISCARD im_code store_check_snapshot(im_store *store, im_error *err);
/** BUSY when the name library.db stands for another file than the one that is open: a backup was
 * restored meanwhile. */
IM_NODISCARD im_code store_check_same_file(const im_store *store, im_error *err);
/** BUSY when files that are read without locks have changed since they were opened. */
IM_NODISCARD im_code store_check_frozen(im_store *store, im_error *err);

/* ---- changes (change.c, column.c) ---- */

IM_NODISCARD im_code store_tell_put(im_store *store, uint64_t item, uint64_t model, uint64_t slot,
                                    im_error *err);
/** Tells of every slot of the item that what is known of it has changed. */
IM_NODISCARD im_code store_tell_meta(im_store *store, uint64_t item, im_error *err);
/** The same of all items with a value in the own field `name` (as registered). */
IM_NODISCARD im_code store_tell_own_field(im_store *store, const char *name, im_error *err);
/** Tells that roots have moved: no slot has changed, but what was looked up by place. */
IM_NODISCARD im_code store_tell_places(im_store *store, im_error *err);
/** Hands the rows of a bound statement with the columns of COLUMN_ROWS to fn; closes it. */
IM_NODISCARD im_code store_walk_column_rows(statement *st, im_store_column_row_fn fn, void *context,
                                            im_error *err);

/* ---- what is told of items (item.c, value.c, tag.c, caption.c, slots.c, glob.c) ---- */

#define STORE_DATE_LEAST INT64_C(-62135596800) /* 0001-01-01 */
#define STORE_DATE_MOST INT64_C(253402300799)  /* 9999-12-31T23:59:59 */

/** item_not_found unless it is there. */
IM_NODISCARD im_code store_need_item(im_store *store, uint64_t item, im_error *err);
/** Removes an item, inside a transaction; item_not_found. */
IM_NODISCARD im_code store_remove_item(im_store *store, uint64_t id, bool remember, im_error *err);
/** What is below a folder stands, in the order of bytes, between "folder/" and "folder0": '0' is
 * the byte after '/'. Both in one text. @param out to be cleared in each case */
IM_NODISCARD im_code store_bounds_below(im_view folder, im_str *out, im_error *err);
/** Binds the two; they are borrowed. */
void statement_put_bounds(statement *st, const im_str *bounds);
/** A file is no longer one that could not be taken. In a transaction that is open. */
IM_NODISCARD im_code store_clear_failure(im_store *store, uint64_t root, im_view path,
                                         im_error *err);
/** Has the item's full text made anew before the transaction commits, and tells of its slots. */
IM_NODISCARD im_code store_text_changed(im_store *store, uint64_t item, im_error *err);
/** The same of an item that was removed: nothing is told. */
IM_NODISCARD im_code store_text_noted(im_store *store, uint64_t item, im_error *err);
/** Makes the texts that were noted: before a commit, and before anybody asks for words. */
IM_NODISCARD im_code store_texts_make(im_store *store, im_error *err);
void store_texts_forget(im_store *store); /* the transaction was undone */
void store_texts_clear(im_store *store);

/** Refuses, as `reason`, a text that is empty, longer than `most`, not UTF-8, or holds NUL (with
 * one_line any control character). `what` names it. */
IM_NODISCARD im_code store_check_text(im_reason reason, const char *what, im_view text, size_t most,
                                      bool one_line, im_error *err);
void store_put_value(statement *st, const im_value *value);
/** False when the columns hold no value of ours. A text is borrowed from the statement. */
bool store_read_value(const statement *st, int type_column, int value_column, im_value *out);
const char *store_text_source_name(im_text_source source);
im_text_source store_text_source_of(im_view name);
const char *store_caption_kind_name(im_caption_kind kind);
bool store_glob_match(im_view glob, im_view path);
int store_register_text_functions(sqlite3 *db);

/* ---- lock file (lock.c), reserve (reserve.c) ---- */

/** Locks the file at `path`, making it when needed; IM_REASON_LIBRARY_BUSY after wait_ms. */
IM_NODISCARD im_code store_lock_take(const char *path, const char *folder, uint32_t wait_ms,
                                     int *out_fd, im_error *err);
void store_lock_release(int fd);
IM_NODISCARD im_code store_reserve_make(const char *folder, im_error *err);
bool store_reserve_is_whole(const char *folder);

/* ---- files of a database (paths.c) ---- */

/** Removes a database with its -wal, -shm and -journal. */
void store_database_remove(const char *path);
/** Length of the file path + suffix, 0 when it is not there. */
uint64_t store_path_bytes(const char *path, const char *suffix);
bool store_path_exists(const char *path, const char *suffix);
/** path_too_long when SQLite cannot open files in that folder. */
IM_NODISCARD im_code store_path_check_length(const char *real_folder, im_error *err);
IM_NODISCARD im_code store_path_sync(const char *path, im_error *err);
/** A name in originals/: letters, digits, '.', '_', '-', no dot in front. All that a backup takes
 * and a restore makes. */
bool store_name_is_plain(const char *name, size_t size);

/* ---- copies, backups (migrate.c, create.c, backup.c) ---- */

/** Copies the database, as of one moment, to a new file of its own. progress may be NULL. */
IM_NODISCARD im_code store_copy_database(im_store *store, const char *path,
                                         im_store_progress_fn progress, void *context,
                                         im_error *err);
/** Makes originals/, index/, thumbs/ where they are not. */
IM_NODISCARD im_code store_make_folders(const char *folder, im_error *err);
#define STORE_ID_HEX 33 /* with its NUL */
/** The id of a library, as the setting 'library_id' and a backup hold it. */
void store_id_hex(const uint8_t id[16], char out[STORE_ID_HEX]);
/** The name of a library's folder itself is on the disk. */
IM_NODISCARD im_code store_sync_parent(const char *folder, im_error *err);
#define STORE_BACKUP_FIRST "imago-backup" /* the first member of a backup: its magic */
#define STORE_BACKUP_FORMAT 1
#define STORE_COPY_BYTES (256u << 10)

/* ---- opening ---- */

/** What the first 100 bytes and the length of library.db say. */
typedef struct store_header {
    uint64_t file_bytes;
    int64_t user_version;
    uint32_t application_id;
} store_header;

/** Once a process: SQLite's memory and files go through base/. Then sqlite3_initialize. */
IM_NODISCARD im_code store_setup(im_error *err);
extern const char store_vfs_name[];       /* as the system's, with fault hooks */
extern const char store_vfs_alone_name[]; /* as that, without file locks; for reading only */
int store_vfs_register(void);
int store_heap_register(void);
/** Refuses what is no library of ours, or is of a newer program than one that knows
 * `newest`, before SQLite opens it. Nothing is written. */
IM_NODISCARD im_code store_header_check(const char *db_path, const char *folder, int64_t newest,
                                        store_header *out, im_error *err);
/** The same judgement of numbers that came through SQLite (a WAL may hold a newer header). */
IM_NODISCARD im_code store_header_judge(uint32_t application_id, int64_t user_version,
                                        int64_t newest, const char *folder, im_error *err);
/** Opens a connection and sets what every connection needs. */
IM_NODISCARD im_code store_connect(const char *path, const char *vfs, int flags, sqlite3 **out_db,
                                   im_error *err);
IM_NODISCARD im_code store_exec(sqlite3 *db, const char *sql, const char *path, const char *what,
                                im_error *err);
/** UNSUPPORTED on network file systems, where SQLite's WAL can be damaged by two hosts. */
IM_NODISCARD im_code store_check_file_system(const char *folder, im_error *err);

/* ---- migrations ---- */

typedef struct store_migration {
    int64_t number; /* user_version afterwards */
    const char *sql;
} store_migration;

typedef struct store_schema {
    const store_migration *rows;
    size_t n_rows;
} store_schema;

extern const store_schema store_real_schema;

/** im_store_open against a list of migrations: tests bring longer ones. */
IM_NODISCARD im_code store_open_schema(const char *folder, im_store_mode mode,
                                       const store_schema *schema, im_store **out_store,
                                       im_error *err);
/** Runs all of the schema on an empty database. */
IM_NODISCARD im_code store_schema_create(sqlite3 *db, const store_schema *schema, const char *path,
                                         im_error *err);
/** Brings an open library of number `from` to the newest one, under the lock, with a copy kept
 * until that has succeeded. */
IM_NODISCARD im_code store_migrate(im_store *store, const store_schema *schema, int64_t from,
                                   im_error *err);
/** Takes away the copy that a killed migration left, when it is not needed any more. */
void store_migrate_tidy(im_store *store, int64_t version);

#endif
