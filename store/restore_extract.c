/* store/restore_extract.c — a backup's members become files beside the old library: only names that
 * a backup of ours has, never outside the folder, each compared with its digest at the end. */
#include "base/file.h"
#include "store/restore_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

im_code restore_fail_memory(const store_restore *r, im_error *err)
{
    return im_fail(err, IM_ERR_NOMEM, "no memory to restore '%s'", r->file);
}

im_code restore_fail_backup(const store_restore *r, const char *what, im_error *err)
{
    im_code rc = im_fail_as(err, IM_REASON_BACKUP_DAMAGED, "backup '%s': %s", r->file, what);
    im_hint(err, "nothing was changed; name another backup");
    return rc;
}

bool restore_join(char out[PATH_MAX], const char *folder, const char *name)
{
    int size = snprintf(out, PATH_MAX, "%s/%s", folder, name);
    return size > 0 && size < PATH_MAX;
}

/* ---- out of the archive ---- */

static im_code check_first(store_restore *r, im_error *err)
{
    char text[1024];
    size_t size = 0;
    unsigned long format = 0;
    im_code rc = store_tar_read(&r->tar, text, sizeof text - 1, &size, err);
    if (rc != IM_OK) {
        return rc;
    }
    text[size] = '\0';
    const char *library = strstr(text, "\nlibrary ");
    if (strncmp(text, "format ", 7) == 0) {
        format = strtoul(text + 7, NULL, 10);
    }
    if (format > STORE_BACKUP_FORMAT) {
        return im_fail_as(err, IM_REASON_LIBRARY_NEWER,
                          "backup '%s' has format %lu, this imago knows up to %d", r->file, format,
                          STORE_BACKUP_FORMAT);
    }
    if (format == 0 || library == NULL || strlen(library) < 9 + 32 || r->tar.left > 0) {
        return restore_fail_backup(r, "its first member does not say what it is", err);
    }
    memcpy(r->id, library + 9, 32);
    return IM_OK;
}

/* "originals/…" of plain parts: what could lead out of the folder is no name of ours. */
bool restore_is_original(const char *name)
{
    static const char start[] = "originals/";
    if (strncmp(name, start, sizeof start - 1) != 0) {
        return false;
    }
    for (const char *part = name + sizeof start - 1;;) {
        size_t size = strcspn(part, "/");
        if (!store_name_is_plain(part, size)) {
            return false;
        }
        if (part[size] == '\0') {
            return true;
        }
        part += size + 1;
    }
}

im_code restore_make_parents(const char *path, im_error *err)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t size = (size_t)(slash - path);
    memcpy(folder, path, size);
    folder[size] = '\0';
    return im_folder_make(folder, err);
}

static im_code copy_member(store_restore *r, int fd, const char *path, im_error *err)
{
    uint8_t *buffer = im_alloc(STORE_COPY_BYTES, 1);
    if (buffer == NULL) {
        return restore_fail_memory(r, err);
    }
    uint64_t at = 0;
    size_t n = 1;
    im_code rc = IM_OK;
    while (rc == IM_OK && n > 0) {
        rc = store_tar_read(&r->tar, buffer, STORE_COPY_BYTES, &n, err);
        if (rc == IM_OK && n > 0) {
            rc = im_file_pwrite(fd, buffer, n, at, path, err);
            at += n;
        }
        if (rc == IM_OK && r->progress != NULL &&
            !r->progress(r->context, r->tar.at, r->tar.file_bytes)) {
            rc = im_fail_as(err, IM_REASON_INTERRUPTED, "stopped while reading backup '%s'",
                            r->file);
        }
    }
    im_free(buffer);
    return rc;
}

static im_code extract(store_restore *r, im_error *err)
{
    char path[PATH_MAX];
    int fd = -1;
    if (!restore_join(path, r->stage, r->tar.name)) {
        return im_fail_as(err, IM_REASON_PATH_TOO_LONG, "'%s/%s' is too long", r->stage,
                          r->tar.name);
    }
    im_code rc = restore_make_parents(path, err);
    if (rc == IM_OK) {
        rc = im_file_open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0666, &fd, err);
    }
    if (rc == IM_OK) {
        rc = copy_member(r, fd, path, err);
    }
    if (rc == IM_OK) {
        rc = im_file_sync(fd, path, err);
    }
    if (fd >= 0 && close(fd) != 0 && rc == IM_OK) {
        rc = im_fail_errno(err, errno, "could not write '%s'", path);
    }
    return rc;
}

im_code restore_extract(store_restore *r, im_error *err)
{
    bool more = true;
    im_code rc = im_folder_make(r->stage, err);
    for (size_t n = 0; rc == IM_OK; n++) {
        rc = store_tar_next(&r->tar, &more, err);
        if (rc != IM_OK || !more) {
            return rc != IM_OK || n >= 2 ? rc : restore_fail_backup(r, "it holds no library", err);
        }
        if (n == 0) {
            rc = strcmp(r->tar.name, STORE_BACKUP_FIRST) == 0
                     ? check_first(r, err)
                     : restore_fail_backup(r, "it is an archive of something else", err);
        } else if (n == 1 ? strcmp(r->tar.name, STORE_DB_NAME) == 0
                          : restore_is_original(r->tar.name)) {
            rc = extract(r, err);
            r->facts.originals += n > 1;
        } else {
            rc =
                im_fail_as(err, IM_REASON_BACKUP_DAMAGED,
                           "backup '%s': a member '%s', which no backup has", r->file, r->tar.name);
        }
    }
    return rc;
}
