/* store/backup.c — the truth of a library, library.db as of one moment and originals/, in one file.
 * All is written into a folder beside the file, which gets its name when it is whole and synced. */
#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "store/store_internal.h"
#include "store/tar.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ORIGINALS "originals"
#define ORIGINALS_DEPTH 4

typedef struct original {
    char name[STORE_TAR_NAME]; /* "originals/…" */
} original;

typedef struct backup {
    im_store *store;
    const char *file;
    char *stage;   /* "FILE.part" */
    char *db;      /* stage/library.db */
    char *archive; /* stage/archive */
    original *originals;
    size_t n_originals, capacity;
    im_store_progress_fn progress;
    void *context;
    uint64_t done;
    int64_t now_s;
    im_backup_facts facts;
    char id[STORE_ID_HEX];
} backup;

static im_code fail_memory(im_error *err)
{
    return im_fail(err, IM_ERR_NOMEM, "no memory for a backup");
}

/* ---- what may be replaced ---- */

/* The first member's head of a backup of ours. */
static bool is_backup(const char *file)
{
    char name[sizeof STORE_BACKUP_FIRST] = "";
    int fd = -1;
    im_error ignored = IM_ERROR_INIT;
    bool same = im_file_open(file, O_RDONLY | O_NONBLOCK, 0, &fd, &ignored) == IM_OK &&
                im_file_pread(fd, name, sizeof name, 0, file, &ignored) == IM_OK &&
                memcmp(name, STORE_BACKUP_FIRST, sizeof name) == 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    return same;
}

static im_code check_target(const char *file, im_error *err)
{
    struct stat info;
    if (lstat(file, &info) != 0 || (S_ISREG(info.st_mode) && is_backup(file))) {
        return IM_OK;
    }
    im_code rc = im_fail(err, IM_ERR_CONFLICT, "'%s' is there and is no backup of a library", file);
    im_hint(err, "name a new file");
    return rc;
}

/* ---- the folder beside it ---- */

static char *with_suffix(const char *path, const char *suffix)
{
    size_t size = strlen(path);
    size_t more = strlen(suffix);
    char *out = im_alloc(size + more + 1, 1);
    if (out != NULL) {
        memcpy(out, path, size);
        memcpy(out + size, suffix, more);
        out[size + more] = '\0';
    }
    return out;
}

/* Only what a backup makes: nothing of others that happens to have the name. */
static void remove_stage(const backup *b)
{
    if (b->db != NULL && b->archive != NULL) {
        store_database_remove(b->db);
        (void)unlink(b->archive);
        (void)rmdir(b->stage);
    }
}

static im_code make_stage(backup *b, im_error *err)
{
    b->stage = with_suffix(b->file, ".part");
    b->db = b->stage != NULL ? im_path_join(b->stage, STORE_DB_NAME) : NULL;
    b->archive = b->stage != NULL ? im_path_join(b->stage, "archive") : NULL;
    if (b->db == NULL || b->archive == NULL) {
        return fail_memory(err);
    }
    remove_stage(b); /* of one that was killed */
    if (im_fault_hit(IM_FAULT_OPEN) || mkdir(b->stage, 0700) != 0) {
        return im_fail_errno(err, errno, "could not make folder '%s'", b->stage);
    }
    return IM_OK;
}

/* ---- originals ---- */

static im_code keep_original(backup *b, const char *name, im_error *err)
{
    if (b->n_originals == b->capacity) {
        size_t capacity = b->capacity == 0 ? 64 : 2 * b->capacity;
        original *more = im_realloc(b->originals, capacity, sizeof(*more));
        if (more == NULL) {
            return fail_memory(err);
        }
        b->originals = more;
        b->capacity = capacity;
    }
    (void)snprintf(b->originals[b->n_originals++].name, STORE_TAR_NAME, "%s", name);
    return IM_OK;
}

static im_code list_folder(backup *b, const char *name, unsigned depth, im_error *err);

/* One entry of a folder of originals; hidden ones and what is no file is not ours. */
static im_code list_entry(backup *b, const char *folder, const char *entry, unsigned depth,
                          im_error *err)
{
    char name[STORE_TAR_NAME];
    struct stat info;
    if (entry[0] == '.') {
        return IM_OK;
    }
    int size = snprintf(name, sizeof name, "%s/%s", folder, entry);
    if (!store_name_is_plain(entry, strlen(entry)) || size < 0 || (size_t)size >= sizeof name) {
        im_code rc = im_fail(err, IM_ERR_UNSUPPORTED, "library '%s': '%s/%s' is not of imago",
                             b->store->folder, folder, entry);
        im_hint(err, "move it out of the library, then try again");
        return rc;
    }
    char *path = im_path_join(b->store->real, name);
    if (path == NULL) {
        return fail_memory(err);
    }
    int failed = lstat(path, &info);
    im_free(path);
    if (failed == 0 && S_ISDIR(info.st_mode) && depth > 0) {
        return list_folder(b, name, depth - 1, err);
    }
    return failed == 0 && S_ISREG(info.st_mode) ? keep_original(b, name, err) : IM_OK;
}

static im_code list_folder(backup *b, const char *name, unsigned depth, im_error *err)
{
    char *path = im_path_join(b->store->real, name);
    if (path == NULL) {
        return fail_memory(err);
    }
    DIR *dir = im_fault_hit(IM_FAULT_OPEN) ? NULL : opendir(path);
    im_code rc = IM_OK;
    if (dir == NULL && errno != ENOENT) {
        rc = im_fail_errno(err, errno, "could not read folder '%s'", path);
    }
    im_free(path);
    while (dir != NULL && rc == IM_OK) {
        errno = 0;
        struct dirent *entry = readdir(dir); /* of our own stream: no other thread has it */
        if (entry == NULL) {
            rc = errno != 0 ? im_fail_errno(err, errno, "could not read folder '%s'", name) : IM_OK;
            break;
        }
        rc = list_entry(b, name, entry->d_name, depth, err);
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    return rc;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const original *)a)->name, ((const original *)b)->name);
}

/* ---- writing ---- */

static im_code tell_progress(backup *b, uint64_t more, im_error *err)
{
    b->done += more;
    if (b->progress != NULL && !b->progress(b->context, b->done, b->done)) {
        return im_fail_as(err, IM_REASON_INTERRUPTED, "stopped while writing backup '%s'", b->file);
    }
    return IM_OK;
}

static im_code copy_bytes(backup *b, store_tar_writer *tar, int fd, const char *path, uint64_t size,
                          im_error *err)
{
    uint8_t *buffer = im_alloc(STORE_COPY_BYTES, 1);
    if (buffer == NULL) {
        return fail_memory(err);
    }
    im_code rc = IM_OK;
    for (uint64_t at = 0; rc == IM_OK && at < size;) {
        size_t n = (size_t)IM_MIN(size - at, (uint64_t)STORE_COPY_BYTES);
        rc = im_file_pread(fd, buffer, n, at, path, err);
        if (rc == IM_OK) {
            rc = store_tar_add(tar, buffer, n, err);
        }
        if (rc == IM_OK) {
            rc = tell_progress(b, n, err);
        }
        at += n;
    }
    im_free(buffer);
    return rc;
}

/* A file that was removed since it was listed is left out when it may be. */
static im_code put_file(backup *b, store_tar_writer *tar, const char *name, const char *path,
                        bool may_be_gone, im_error *err)
{
    int fd = -1;
    struct stat info;
    im_code rc = im_file_open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW, 0, &fd, err);
    if (rc == IM_ERR_NOT_FOUND && may_be_gone) {
        return IM_OK;
    }
    if (rc == IM_OK && fstat(fd, &info) != 0) {
        rc = im_fail_errno(err, errno, "could not look at '%s'", path);
    }
    if (rc == IM_OK) {
        rc = store_tar_begin(tar, name, (uint64_t)info.st_size, (int64_t)info.st_mtime, err);
    }
    if (rc == IM_OK) {
        rc = copy_bytes(b, tar, fd, path, (uint64_t)info.st_size, err);
    }
    if (rc == IM_OK) {
        rc = store_tar_end(tar, err);
        b->facts.originals += may_be_gone;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return rc;
}

static im_code put_first(backup *b, store_tar_writer *tar, im_error *err)
{
    char text[256];
    char date[32] = "";
    struct tm parts;
    time_t now = (time_t)b->now_s;
    if (gmtime_r(&now, &parts) != NULL) {
        (void)strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &parts);
    }
    int size = snprintf(text, sizeof text, "format %d\nlibrary %s\nschema %d\nmade %s\n",
                        STORE_BACKUP_FORMAT, b->id, IM_STORE_SCHEMA, date);
    im_code rc = store_tar_begin(tar, STORE_BACKUP_FIRST, (uint64_t)size, b->now_s, err);
    if (rc == IM_OK) {
        rc = store_tar_add(tar, text, (size_t)size, err);
    }
    return rc == IM_OK ? store_tar_end(tar, err) : rc;
}

static im_code put_originals(backup *b, store_tar_writer *tar, im_error *err)
{
    im_code rc = IM_OK;
    for (size_t i = 0; rc == IM_OK && i < b->n_originals; i++) {
        char *path = im_path_join(b->store->real, b->originals[i].name);
        rc = path != NULL ? put_file(b, tar, b->originals[i].name, path, true, err)
                          : fail_memory(err);
        im_free(path);
    }
    return rc;
}

static im_code write_archive(backup *b, im_error *err)
{
    store_tar_writer tar;
    int fd = -1;
    im_code rc = im_file_open(b->archive, O_RDWR | O_CREAT | O_EXCL, 0600, &fd, err);
    if (rc != IM_OK) {
        return rc;
    }
    store_tar_start(&tar, fd, b->archive);
    rc = put_first(b, &tar, err);
    if (rc == IM_OK) {
        rc = put_file(b, &tar, STORE_DB_NAME, b->db, false, err);
    }
    if (rc == IM_OK) {
        rc = put_originals(b, &tar, err);
    }
    if (rc == IM_OK) {
        rc = store_tar_finish(&tar, b->now_s, err);
    }
    if (rc == IM_OK) {
        rc = im_file_sync(fd, b->archive, err);
    }
    b->facts.bytes = tar.at;
    store_tar_clear(&tar);
    if (close(fd) != 0 && rc == IM_OK) {
        rc = im_fail_errno(err, errno, "could not write '%s'", b->archive);
    }
    return rc;
}

/* ---- the whole ---- */

/* Checks the copy, so that a backup says what is wrong with its library while there is another. */
static im_code check_copy(backup *b, im_error *err)
{
    im_store *copy = NULL;
    im_store_counts counts = {0};
    im_code rc = im_store_open(b->stage, IM_STORE_READ, &copy, err);
    if (rc == IM_OK) {
        rc = im_store_check(copy, NULL, NULL, &b->facts.findings, err);
    }
    if (rc == IM_OK) {
        rc = im_store_count(copy, 0, &counts, err);
    }
    b->facts.items = counts.items;
    im_store_close(copy);
    return rc;
}

static im_code write_backup(backup *b, im_error *err)
{
    im_code rc = make_stage(b, err);
    if (rc == IM_OK) {
        rc = im_store_begin_read(b->store, err); /* else a busy writer makes the copy begin anew */
    }
    if (rc == IM_OK) {
        rc = store_copy_database(b->store, b->db, b->progress, b->context, err);
        im_store_end_read(b->store);
    }
    im_fault_point("store_backup_copied");
    if (rc == IM_OK) {
        rc = check_copy(b, err);
    }
    if (rc == IM_OK) {
        rc = list_folder(b, ORIGINALS, ORIGINALS_DEPTH, err);
    }
    if (rc == IM_OK && b->n_originals > 0) {
        qsort(b->originals, b->n_originals, sizeof(original), by_name);
    }
    if (rc == IM_OK) {
        rc = write_archive(b, err);
    }
    im_fault_point("store_backup_written");
    return rc == IM_OK ? im_file_rename(b->archive, b->file, err) : rc;
}

static im_code sync_folder_of(const char *file, im_error *err)
{
    const char *slash = strrchr(file, '/');
    char *folder = im_strdup(slash == NULL ? "." : file);
    if (folder == NULL) {
        return fail_memory(err);
    }
    if (slash != NULL) {
        folder[slash == file ? 1 : slash - file] = '\0';
    }
    im_code rc = im_folder_sync(folder, err);
    im_free(folder);
    return rc;
}

im_code im_store_backup(im_store *store, const char *file, im_store_progress_fn progress,
                        void *context, im_backup_facts *out, im_error *err)
{
    backup b = {.store = store,
                .file = file,
                .progress = progress,
                .context = context,
                .now_s = im_clock_wall_ns() / 1000000000};
    store_id_hex(store->id, b.id);
    im_code rc = check_target(file, err);
    if (rc == IM_OK) {
        rc = write_backup(&b, err);
    }
    if (rc == IM_OK) {
        rc = sync_folder_of(file, err);
    }
    remove_stage(&b);
    if (rc == IM_OK && out != NULL) {
        *out = b.facts;
    }
    im_free(b.stage);
    im_free(b.db);
    im_free(b.archive);
    im_free(b.originals);
    return rc;
}
