/* store/fail.c — result codes of SQLite in our words: which class, which sentence, what to do.
 * SQLite's own codes never pass the door. */
#include "store/store_internal.h"
#include <errno.h>

static const char damage_hint[] =
    "see 'imago check'; then restore a backup, or export what is sound";

/* The class of a code, when errno does not decide it. */
static im_reason reason_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
    case SQLITE_MISMATCH:
        return IM_REASON_DAMAGED;
    case SQLITE_FULL:
        return IM_REASON_FULL;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return IM_REASON_LIBRARY_BUSY;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return IM_REASON_DENIED;
    case SQLITE_NOMEM:
        return IM_REASON_NOMEM;
    case SQLITE_CONSTRAINT:
        return IM_REASON_CONFLICT;
    case SQLITE_TOOBIG:
        return IM_REASON_LIMIT;
    case SQLITE_INTERRUPT:
    case SQLITE_ABORT:
        return IM_REASON_INTERRUPTED;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_NOLFS:
        return IM_REASON_IO;
    default:
        return IM_REASON_INTERNAL;
    }
}

/* I/O codes of which the cause is not the one their class says. */
static im_reason reason_of_io(int rc, int errnum)
{
    switch (rc) {
    case SQLITE_IOERR_NOMEM:
        return IM_REASON_NOMEM;
    case SQLITE_IOERR_CORRUPTFS:
    case SQLITE_IOERR_SHORT_READ: /* the file ends where a page should be */
    case SQLITE_IOERR_DATA:
        return IM_REASON_DAMAGED;
    default:
        break;
    }
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
        return IM_REASON_FULL;
    case EACCES:
    case EPERM:
    case EROFS:
        return IM_REASON_DENIED;
    case ENOMEM:
    case EMFILE:
    case ENFILE:
        return IM_REASON_NOMEM;
    default:
        return IM_REASON_IO;
    }
}

static bool is_io(int rc)
{
    return (rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN;
}

static void add_hint(im_error *err, im_reason reason, int errnum)
{
    if (reason == IM_REASON_DAMAGED) {
        im_hint(err, "%s", damage_hint);
    } else if (reason == IM_REASON_FULL) {
        im_hint(err, "make room on that disk; removing pictures from the library works meanwhile");
    } else if (reason == IM_REASON_LIBRARY_BUSY) {
        im_hint(err, "try again in a moment");
    } else if (errnum == EMFILE || errnum == ENFILE) {
        im_hint(err, "too many open files: see 'ulimit -n'");
    }
}

im_code store_fail_db(sqlite3 *db, int rc, const char *path, const char *what, im_error *err)
{
    int errnum = db != NULL && is_io(rc) ? sqlite3_system_errno(db) : 0;
    im_reason reason = is_io(rc) ? reason_of_io(rc, errnum) : reason_of(rc);
    if (reason == IM_REASON_INTERNAL && (rc & 0xff) == SQLITE_ERROR) {
        /* our own constant SQL does not fit the tables that are there */
        reason = IM_REASON_DAMAGED;
    }
    const char *text = db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
    char errno_text[128] = "";
    const char *cause = errnum != 0 ? strerror_r(errnum, errno_text, sizeof errno_text) : "";
    im_code code = im_fail_as(err, reason, "could not %s '%s': %s%s%s", what, path, text,
                              errnum != 0 ? ": " : "", cause);
    add_hint(err, reason, errnum);
    return code;
}

im_code store_fail(im_store *store, int rc, store_sql sql, im_error *err)
{
    int errnum = is_io(rc) ? sqlite3_system_errno(store->db) : 0;
    im_reason reason = is_io(rc) ? reason_of_io(rc, errnum) : reason_of(rc);
    if ((rc & 0xff) == SQLITE_ERROR) {
        reason =
            IM_REASON_DAMAGED; /* our own constant SQL does not fit the tables that are there */
    }
    if (rc == SQLITE_IOERR_FSYNC || rc == SQLITE_IOERR_DIR_FSYNC) {
        /* What the system threw away after a failed sync it does not tell of again: a later sync
         * that succeeds proves nothing. Nothing more is written through this store. */
        store->sync_failed = true;
        reason = errnum == ENOSPC || errnum == EDQUOT ? IM_REASON_FULL : IM_REASON_IO;
    }
    char errno_text[128] = "";
    const char *cause = errnum != 0 ? strerror_r(errnum, errno_text, sizeof errno_text) : "";
    im_code code =
        im_fail_as(err, reason, "library '%s', table '%s': %s%s%s", store->folder,
                   store_sql_table(sql), sqlite3_errmsg(store->db), errnum != 0 ? ": " : "", cause);
    add_hint(err, reason, errnum);
    return code;
}

im_code store_damaged_row(im_store *store, const char *table, uint64_t row, const char *what,
                          im_error *err)
{
    im_code code = im_fail_as(err, IM_REASON_DAMAGED, "library '%s', table '%s', row %llu: %s",
                              store->folder, table, (unsigned long long)row, what);
    im_hint(err, "%s", damage_hint);
    return code;
}
