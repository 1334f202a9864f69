/* store/restore.c — a backup becomes the library of a folder. All of it is first written beside the
 * old library and checked there; then the old one is made to stand still, what is derived from it
 * is set aside, and library.db changes in one rename. A kill leaves the old or the new. */
#include "base/fault.h"
#include "base/file.h"
#include "store/restore_internal.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEW_NAME "restore.new"   /* the backup's library, until it is in place */
#define ASIDE_NAME "restore.old" /* what belongs to the old one alone, until then */
#define WAL_NAME STORE_DB_NAME "-wal"

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info;
    (void)kind;
    (void)place;
    (void)remove(path);
    return 0;
}

static void remove_tree(const char *path)
{
    if (path != NULL) {
        (void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    }
}

/* ---- checking what came out ---- */

static void keep_first(void *context, const char *table, uint64_t row, const char *what)
{
    char *out = context;
    if (out[0] == '\0') {
        (void)snprintf(out, 200, "table '%s', row %llu: %.100s", table, (unsigned long long)row,
                       what);
    }
}

static im_code judge(store_restore *r, im_store *store, im_error *err)
{
    char first[200] = "";
    char id[STORE_ID_HEX];
    im_store_counts counts;
    store_id_hex(store->id, id);
    if (strcmp(id, r->id) != 0) {
        return restore_fail_backup(r, "its library is not the one that it names", err);
    }
    im_code rc = im_store_check(store, keep_first, first, &r->facts.findings, err);
    if (rc == IM_OK && r->facts.findings > 0 && !r->accept_findings) {
        rc = im_fail_as(err, IM_REASON_BACKUP_DAMAGED,
                        "backup '%s': its library has %llu damaged "
                        "places, the first in %s",
                        r->file, (unsigned long long)r->facts.findings, first);
        im_hint(err, "it was so when it was saved; restore it in spite of that, or another");
    }
    if (rc == IM_OK) {
        rc = im_store_count(store, 0, &counts, err);
    }
    if (rc == IM_OK) {
        r->facts.items = counts.items;
    }
    return rc;
}

/* Opened for writing: an older schema is brought up to date here, and no WAL is left. */
static im_code check_stage(store_restore *r, im_error *err)
{
    char path[PATH_MAX];
    im_store *store = NULL;
    im_code rc = im_store_open(r->stage, IM_STORE_WRITE, &store, err);
    if (rc == IM_OK) {
        rc = judge(r, store, err);
    }
    im_store_close(store);
    if (rc == IM_OK &&
        (!restore_join(path, r->stage, STORE_DB_NAME) || store_path_bytes(path, "-wal"))) {
        rc = im_fail(err, IM_ERR_IO, "could not finish '%s': its WAL could not be written back",
                     path);
    }
    if (rc == IM_OK) {
        rc = store_path_sync(path, err);
    }
    return rc == IM_OK ? im_folder_sync(r->stage, err) : rc;
}

/* ---- the folder ---- */

static bool is_ours(const char *name)
{
    static const char *const names[] = {".",      "..",       STORE_LOCK_NAME, STORE_RESERVE_NAME,
                                        NEW_NAME, "index",    "thumbs",        "originals",
                                        "models", ASIDE_NAME, "vlm-server"};
    for (size_t i = 0; i < IM_COUNT(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return strncmp(name, STORE_DB_NAME, strlen(STORE_DB_NAME)) == 0;
}

/* A folder without a library has nothing in it that is not of imago. */
static im_code check_folder(store_restore *r, im_error *err)
{
    char other[NAME_MAX + 1] = "";
    char path[PATH_MAX];
    struct stat info;
    r->had_old = restore_join(path, r->real, STORE_DB_NAME) && lstat(path, &info) == 0;
    if (r->had_old) {
        return S_ISREG(info.st_mode)
                   ? IM_OK
                   : im_fail(err, IM_ERR_CONFLICT, "'%s' is no regular file", path);
    }
    DIR *dir = opendir(r->real);
    if (dir == NULL) {
        return im_fail_errno(err, errno, "could not read folder '%s'", r->folder);
    }
    for (struct dirent *e = readdir(dir); e != NULL && other[0] == '\0'; e = readdir(dir)) {
        if (!is_ours(e->d_name)) {
            (void)snprintf(other, sizeof other, "%s", e->d_name);
        }
    }
    (void)closedir(dir);
    if (other[0] == '\0') {
        return IM_OK;
    }
    im_code rc =
        im_fail(err, IM_ERR_CONFLICT, "folder '%s' holds '%s' and no library", r->folder, other);
    im_hint(err, "restore into a new folder");
    return rc;
}

static im_code prepare(store_restore *r, im_error *err)
{
    char real[PATH_MAX];
    im_code rc = im_folder_make(r->folder, err);
    if (rc == IM_OK) {
        rc = store_sync_parent(r->folder, err);
    }
    if (rc == IM_OK && realpath(r->folder, real) == NULL) {
        rc = im_fail_errno(err, errno, "could not look up folder '%s'", r->folder);
    }
    if (rc != IM_OK) {
        return rc;
    }
    r->real = im_strdup(real);
    r->stage = im_path_join(real, NEW_NAME);
    r->aside = im_path_join(real, ASIDE_NAME);
    char *lock = im_path_join(real, STORE_LOCK_NAME);
    if (r->real == NULL || r->stage == NULL || r->aside == NULL || lock == NULL) {
        rc = restore_fail_memory(r, err);
    }
    if (rc == IM_OK) {
        rc = store_path_check_length(r->stage, err);
    }
    if (rc == IM_OK) {
        rc = store_check_file_system(real, err);
    }
    if (rc == IM_OK) {
        rc = check_folder(r, err);
    }
    if (rc == IM_OK) {
        rc = store_lock_take(lock, r->folder, IM_LIMIT_LOCK_WAIT_MS, &r->lock_fd, err);
    }
    im_free(lock);
    if (rc == IM_OK) {
        remove_tree(r->stage); /* of one that was killed */
        remove_tree(r->aside);
    }
    return rc;
}

/* ---- the old library stands still ---- */

static im_code fail_in_use(const store_restore *r, im_error *err)
{
    im_code rc = im_fail_as(err, IM_REASON_LIBRARY_BUSY,
                            "library '%s' is open in another program, which would go on in the old "
                            "one",
                            r->folder);
    im_hint(err, "end that program (a daemon, say), then restore again");
    return rc;
}

/* Leaving WAL needs the file to itself, writes the WAL back and removes it. A library that is too
 * damaged for that is set aside with its WAL as it is. */
static im_code still_old(store_restore *r, im_error *err)
{
    char path[PATH_MAX];
    store_header header;
    im_error cause = IM_ERROR_INIT;
    if (!r->had_old || !restore_join(path, r->real, STORE_DB_NAME)) {
        return IM_OK;
    }
    im_code rc = store_header_check(path, r->folder, IM_STORE_SCHEMA, &header, &cause);
    if (rc == IM_ERR_DAMAGED) {
        return IM_OK;
    }
    if (rc != IM_OK) { /* of another program, or newer than this one: not ours to replace */
        if (err != NULL) {
            *err = cause;
        }
        return rc;
    }
    rc = store_connect(path, store_vfs_name, SQLITE_OPEN_READWRITE, &r->old, &cause);
    if (rc == IM_OK) {
        rc = store_exec(r->old, "PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE", path, "lock",
                        &cause);
    }
    if (rc == IM_ERR_DAMAGED) {
        (void)sqlite3_close_v2(r->old);
        r->old = NULL;
        return IM_OK;
    }
    if (rc == IM_ERR_BUSY) {
        return fail_in_use(r, err);
    }
    if (rc != IM_OK && err != NULL) {
        *err = cause;
    }
    return rc == IM_OK && store_path_bytes(path, "-wal") > 0 ? fail_in_use(r, err) : rc;
}

/* ---- the change itself ---- */

/* from/name becomes to/name when it is there. */
static im_code move(const char *from, const char *to, const char *name, im_error *err)
{
    char source[PATH_MAX];
    char target[PATH_MAX];
    struct stat info;
    if (!restore_join(source, from, name) || !restore_join(target, to, name) ||
        lstat(source, &info) != 0) {
        return IM_OK;
    }
    return im_file_rename(source, target, err);
}

static const char *const derived[] = {"index", "thumbs", WAL_NAME, STORE_DB_NAME "-shm"};

static im_code set_aside(store_restore *r, im_error *err)
{
    im_code rc = im_folder_make(r->aside, err);
    for (size_t i = 0; rc == IM_OK && i < IM_COUNT(derived); i++) {
        rc = move(r->real, r->aside, derived[i], err);
    }
    return rc;
}

static void put_back(store_restore *r)
{
    char path[PATH_MAX];
    for (size_t i = 0; i < IM_COUNT(derived); i++) {
        struct stat info;
        im_error ignored = IM_ERROR_INIT;
        if (restore_join(path, r->aside, derived[i]) && lstat(path, &info) == 0) {
            im_code rc = move(r->aside, r->real, derived[i], &ignored);
            (void)rc; /* what cannot be put back is made anew */
        }
    }
}

/* From the stage into the library, with every folder on its way synced up to the library's own,
 * which swap() syncs. */
static im_code move_original(store_restore *r, const char *name, im_error *err)
{
    char target[PATH_MAX];
    size_t top = strlen(r->real);
    if (!restore_join(target, r->real, name)) {
        return im_fail_as(err, IM_REASON_PATH_TOO_LONG, "'%s/%s' is too long", r->real, name);
    }
    im_code rc = restore_make_parents(target, err);
    if (rc == IM_OK) {
        rc = move(r->stage, r->real, name, err);
    }
    for (char *end = strrchr(target, '/'); rc == IM_OK && (size_t)(end - target) > top;
         end = strrchr(target, '/')) {
        *end = '\0';
        rc = im_folder_sync(target, err);
    }
    return rc;
}

/* Originals are named by their content: those of the backup may be there beside the old ones. */
static im_code move_originals(store_restore *r, im_error *err)
{
    im_code rc = IM_OK;
    const char *line = im_str_text(&r->tar.sums);
    while (rc == IM_OK && *line != '\0') {
        char name[STORE_TAR_NAME];
        size_t length = strcspn(line, "\n");
        (void)snprintf(name, sizeof name, "%.*s", (int)(length - 66), line + 66);
        line += length + (line[length] == '\n');
        rc = restore_is_original(name) ? move_original(r, name, err) : IM_OK;
    }
    return rc;
}

/* A second name for the old file, so that it can be put back; not every file system has that, and
 * the rename below is whole also without. */
static void keep_old(store_restore *r)
{
    char path[PATH_MAX];
    char aside[PATH_MAX];
    if (r->had_old && restore_join(path, r->real, STORE_DB_NAME) &&
        restore_join(aside, r->aside, STORE_DB_NAME)) {
        int ignored = link(path, aside);
        (void)ignored;
    }
}

static im_code swap(store_restore *r, im_error *err)
{
    im_code rc = set_aside(r, err);
    if (rc == IM_OK) {
        rc = move_originals(r, err);
    }
    if (rc == IM_OK) {
        keep_old(r);
        rc = im_folder_sync(r->real, err);
    }
    im_fault_point("store_restore_before_swap");
    if (rc == IM_OK) {
        rc = move(r->stage, r->real, STORE_DB_NAME, err);
    }
    im_fault_point("store_restore_swapped");
    if (rc == IM_OK) {
        rc = im_folder_sync(r->real, err);
        if (rc != IM_OK && r->had_old) {
            im_error ignored = IM_ERROR_INIT;
            im_code back = move(r->aside, r->real, STORE_DB_NAME, &ignored);
            (void)back;
        }
    }
    if (rc != IM_OK) {
        put_back(r);
    }
    return rc;
}

/* Folders and the reserve are made again by whoever wants them: no failure here is one of the
 * restore, which is done. */
static void finish(store_restore *r)
{
    im_error ignored = IM_ERROR_INIT;
    im_code rc = store_make_folders(r->real, &ignored);
    if (rc == IM_OK && !store_reserve_is_whole(r->real)) {
        rc = store_reserve_make(r->real, &ignored);
    }
    (void)rc;
}

static im_code restore_opened(store_restore *r, im_error *err)
{
    im_code rc = prepare(r, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = restore_extract(r, err);
    if (rc == IM_OK) {
        rc = check_stage(r, err);
    }
    im_fault_point("store_restore_extracted");
    if (rc == IM_OK) {
        rc = still_old(r, err);
    }
    if (rc == IM_OK) {
        rc = swap(r, err);
    }
    (void)sqlite3_close_v2(r->old);
    if (rc == IM_OK) {
        finish(r);
    }
    remove_tree(r->stage);
    remove_tree(r->aside);
    store_lock_release(r->lock_fd);
    return rc;
}

im_code im_store_restore(const char *file, const char *folder, bool accept_findings,
                         im_store_progress_fn progress, void *context, im_backup_facts *out,
                         im_error *err)
{
    int fd = -1;
    im_file_stamp stamp;
    store_restore r = {.file = file,
                       .folder = folder,
                       .accept_findings = accept_findings,
                       .progress = progress,
                       .context = context,
                       .lock_fd = -1};
    im_code rc = store_setup(err);
    if (rc == IM_OK) {
        rc = im_file_stat(file, &stamp, err);
    }
    if (rc == IM_OK) {
        rc = im_file_open(file, O_RDONLY | O_NONBLOCK, 0, &fd, err);
    }
    if (rc == IM_OK) {
        r.facts.bytes = stamp.size;
        store_tar_open(&r.tar, fd, stamp.size, file);
        rc = restore_opened(&r, err);
        store_tar_close(&r.tar);
        (void)close(fd);
    }
    if (rc == IM_OK && out != NULL) {
        *out = r.facts;
    }
    im_free(r.real);
    im_free(r.stage);
    im_free(r.aside);
    return rc;
}
