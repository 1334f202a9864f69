/* store/header.c — judges library.db by its first 100 bytes, before SQLite opens it: what is not
 * ours is refused and not touched. The bytes are those of the SQLite file format, section 1.3. */
#include "store/store_internal.h"
#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define HEADER_BYTES 100
/* above this a schema number is a damaged byte, not a newer program */
#define PLAUSIBLE_SCHEMA 10000

typedef struct fixed_bytes {
    uint8_t at, size;
    uint8_t bytes[16];
} fixed_bytes;

/* What is the same in every library of ours. */
static const fixed_bytes fixed[] = {
    {0, 16, {'S', 'Q', 'L', 'i', 't', 'e', ' ', 'f', 'o', 'r', 'm', 'a', 't', ' ', '3', 0}},
    {16, 2, {STORE_PAGE_BYTES >> 8, STORE_PAGE_BYTES & 255}},
    {20, 4, {0, 64, 32, 32}},
    {44, 4, {0, 0, 0, 4}}, /* schema format */
    {56, 4, {0, 0, 0, 1}}, /* UTF-8 */
    {68, 4, {0x49, 0x4d, 0x41, 0x47}},
};
#define FIXED_TOTAL 34
#define MAGIC_ROW 0
#define APPLICATION_ROW 5

static unsigned wrong_bytes(const fixed_bytes *row, const uint8_t *header)
{
    unsigned wrong = 0;
    for (unsigned i = 0; i < row->size; i++) {
        wrong += header[row->at + i] != row->bytes[i];
    }
    return wrong;
}

static uint32_t be32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static im_code fail_foreign(const char *folder, const char *what, im_error *err)
{
    im_code rc = im_fail_as(err, IM_REASON_LIBRARY_FOREIGN,
                            "library '%s': '" STORE_DB_NAME "' %s, expected a library of imago",
                            folder, what);
    im_hint(err, "name another folder with --library; this file was not changed");
    return rc;
}

static im_code fail_damaged(const char *folder, const char *what, im_error *err)
{
    im_code rc =
        im_fail_as(err, IM_REASON_DAMAGED,
                   "library '%s': the header of '" STORE_DB_NAME "' is damaged: %s", folder, what);
    im_hint(err, "restore a backup; this file was not changed");
    return rc;
}

im_code store_header_judge(uint32_t application_id, int64_t user_version, int64_t newest,
                           const char *folder, im_error *err)
{
    char what[96];
    if (application_id != IM_STORE_APPLICATION_ID) {
        (void)snprintf(what, sizeof what,
                       "is the database of another program (id 0x%08" PRIx32 ", ours is 0x%08x)",
                       application_id, (unsigned)IM_STORE_APPLICATION_ID);
        return fail_foreign(folder, what, err);
    }
    if (user_version > newest && user_version <= PLAUSIBLE_SCHEMA) {
        im_code rc =
            im_fail_as(err, IM_REASON_LIBRARY_NEWER,
                       "library '%s' has schema %" PRId64 ", this imago knows up to %" PRId64,
                       folder, user_version, newest);
        im_hint(err, "use a newer imago");
        return rc;
    }
    if (user_version < 0 && user_version >= -PLAUSIBLE_SCHEMA) {
        (void)snprintf(what, sizeof what,
                       "has schema %" PRId64 " (this imago knows 1 to %" PRId64 ")", user_version,
                       newest);
        return fail_foreign(folder, what, err);
    }
    if (user_version < 1 || user_version > newest) {
        (void)snprintf(what, sizeof what, "schema %" PRId64 ", expected 1 to %" PRId64,
                       user_version, newest);
        return fail_damaged(folder, what, err);
    }
    return IM_OK;
}

static im_code judge_bytes(const uint8_t *header, const char *db_path, const char *folder,
                           int64_t newest, store_header *out, im_error *err)
{
    unsigned wrong = 0;
    for (size_t i = 0; i < IM_COUNT(fixed); i++) {
        wrong += wrong_bytes(&fixed[i], header);
    }
    /* one or two bytes of 34 off, and ours by all others: damage; more: another's file */
    if (wrong > 0 && wrong <= 2) {
        return fail_damaged(folder, "bytes that never change have changed", err);
    }
    if (wrong_bytes(&fixed[MAGIC_ROW], header) > 0) {
        return fail_foreign(folder, "is not an SQLite database", err);
    }
    out->application_id = be32(header + 68);
    out->user_version = (int32_t)be32(header + 60);
    im_code rc = store_header_judge(out->application_id, out->user_version, newest, folder, err);
    if (rc != IM_OK) {
        return rc;
    }
    if (wrong > 0) {
        return fail_damaged(folder, "bytes that never change have changed", err);
    }
    /* 2,2: WAL. 1,1: someone turned it off, which is only right when there is no WAL. */
    bool wal = header[18] == 2 && header[19] == 2;
    bool no_wal = header[18] == 1 && header[19] == 1 && store_path_bytes(db_path, "-wal") == 0;
    return wal || no_wal ? IM_OK : fail_damaged(folder, "the journal mode is not WAL", err);
}

static im_code check_regular(const char *db_path, const char *folder, im_error *err)
{
    struct stat info;
    if (stat(db_path, &info) != 0) {
        int failed = errno;
        if (failed != ENOENT && failed != ENOTDIR) {
            return im_fail_errno(err, failed, "could not look up '%s'", db_path);
        }
        char *unfinished = im_path_join(folder, STORE_NEW_NAME);
        bool interrupted = unfinished != NULL && stat(unfinished, &info) == 0;
        im_free(unfinished);
        im_code rc = im_fail_as(err, IM_REASON_LIBRARY_NOT_FOUND,
                                interrupted ? "library '%s' was not finished when it was made"
                                            : "no library in '%s'",
                                folder);
        im_hint(err, "make one: imago init");
        return rc;
    }
    if (!S_ISREG(info.st_mode)) {
        return fail_foreign(folder, "is not a regular file", err);
    }
    return IM_OK;
}

/* Reads the header through SQLite's VFS. Closing a descriptor of our own would silently give back
 * the file locks that another connection of this process holds (fcntl locks belong to the
 * process), and SQLite's layer knows how to avoid that. */
static im_code read_header(const char *db_path, uint8_t header[HEADER_BYTES], store_header *out,
                           im_error *err)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(store_vfs_name);
    sqlite3_int64 size = 0;
    int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_MAIN_DB;
    const char *name = sqlite3_create_filename(db_path, "", "", 0, NULL);
    sqlite3_file *file = im_alloc_zero((size_t)vfs->szOsFile, 1);
    im_code code = IM_OK;
    if (name == NULL || file == NULL) {
        code = im_fail(err, IM_ERR_NOMEM, "no memory to open '%s'", db_path);
        goto out;
    }
    errno = 0;
    int rc = vfs->xOpen(vfs, name, file, flags, &flags);
    if (rc != SQLITE_OK) {
        code = im_fail_errno(err, errno != 0 ? errno : EIO, "could not open '%s'", db_path);
        goto out;
    }
    rc = file->pMethods->xFileSize(file, &size);
    if (rc == SQLITE_OK && size >= HEADER_BYTES) {
        rc = file->pMethods->xRead(file, header, HEADER_BYTES, 0);
    }
    if (rc != SQLITE_OK) {
        code = im_fail_errno(err, errno != 0 ? errno : EIO, "could not read '%s'", db_path);
        goto out;
    }
    out->file_bytes = (uint64_t)size;
out:
    if (file != NULL && file->pMethods != NULL) {
        (void)file->pMethods->xClose(file);
    }
    im_free(file);
    sqlite3_free_filename(name);
    return code;
}

im_code store_header_check(const char *db_path, const char *folder, int64_t newest,
                           store_header *out, im_error *err)
{
    uint8_t header[HEADER_BYTES] = {0};
    im_code rc = check_regular(db_path, folder, err);
    if (rc == IM_OK) {
        rc = read_header(db_path, header, out, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    if (out->file_bytes < HEADER_BYTES) {
        return fail_foreign(folder, out->file_bytes == 0 ? "is empty" : "has under 100 bytes", err);
    }
    return judge_bytes(header, db_path, folder, newest, out, err);
}

im_code store_check_file_system(const char *folder, im_error *err)
{
    static const struct {
        uint32_t magic;
        const char *name;
    } networks[] = {
        {0x6969, "NFS"},     {0x517b, "SMB"},     {0xff534d42, "SMB"},
        {0xfe534d42, "SMB"}, {0x5346414f, "AFS"}, {0x73757245, "Coda"},
    };
    struct statfs info;
    if (statfs(folder, &info) != 0) {
        return im_fail_errno(err, errno, "could not look up the file system of '%s'", folder);
    }
    for (size_t i = 0; i < IM_COUNT(networks); i++) {
        if ((uint32_t)info.f_type == networks[i].magic) {
            im_code rc = im_fail(err, IM_ERR_UNSUPPORTED,
                                 "library '%s' is on a network file system (%s), where two hosts "
                                 "could damage it",
                                 folder, networks[i].name);
            im_hint(err, "keep the library on a local disk; pictures may lie anywhere");
            return rc;
        }
    }
    return IM_OK;
}
