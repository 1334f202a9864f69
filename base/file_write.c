/* base/file_write.c — replacing a file as a whole, and making folders. */
#include "base/fault.h"
#include "base/file.h"
#include "base/file_internal.h"
#include "base/memory.h"
#include "base/text.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define TEMPORARY_TRIES 100

static atomic_uint temporary_count; /* makes names of one process differ */

char *file_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return im_strdup(".");
    }
    size_t size = slash == path ? 1 : (size_t)(slash - path);
    char *folder = im_alloc(size + 1, 1);
    if (folder != NULL) {
        memcpy(folder, path, size);
        folder[size] = '\0';
    }
    return folder;
}

/* Creates a new file of a name nobody has. The name does not hold that of the target, which may
 * already be as long as the file system allows. */
static im_code create_temporary(const char *folder, mode_t mode, im_str *out_path, int *out_fd,
                                im_error *err)
{
    int fd = -1;
    for (int i = 0; fd < 0 && i < TEMPORARY_TRIES; i++) {
        unsigned count = atomic_fetch_add(&temporary_count, 1);
        im_str_reset(out_path);
        im_str_addf(out_path, "%s/.imago-%ld-%u.tmp", folder, (long)getpid(), count);
        if (out_path->failed) {
            return im_fail(err, IM_ERR_NOMEM, "no memory for the name of a temporary file");
        }
        fd = file_openat(AT_FDCWD, im_str_text(out_path), O_WRONLY | O_CREAT | O_EXCL, mode);
        if (fd < 0 && errno != EEXIST) {
            break;
        }
    }
    if (fd < 0) {
        return im_fail_errno(err, errno, "could not create a file in folder '%s'", folder);
    }
    *out_fd = fd;
    return IM_OK;
}

/* Writes, syncs and closes the temporary; the descriptor is taken. close may be where a network
 * file system first says that the disk is full. */
static im_code fill_temporary(int fd, const void *data, size_t size, const char *path,
                              im_error *err)
{
    struct stat old;
    im_code rc = im_file_pwrite(fd, data, size, 0, path, err);
    /* a file that was private stays private */
    if (rc == IM_OK && stat(path, &old) == 0 && fchmod(fd, old.st_mode & 0777) != 0) {
        rc = im_fail_errno(err, errno, "could not keep the permissions of '%s'", path);
    }
    if (rc == IM_OK) {
        rc = im_file_sync(fd, path, err);
    }
    if (close(fd) != 0 && rc == IM_OK && errno != EINTR) {
        rc = im_fail_errno(err, errno, "could not write '%s'", path);
    }
    return rc;
}

im_code im_file_write_atomic(const char *path, const void *data, size_t size, im_error *err)
{
    int fd = -1;
    im_str temporary;
    im_str_init(&temporary, SIZE_MAX / 2);
    im_code rc = IM_OK;
    char *folder = file_folder_of(path);
    if (folder == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the folder of '%s'", path);
    }
    rc = create_temporary(folder, 0666, &temporary, &fd, err);
    if (rc != IM_OK) {
        goto out;
    }
    rc = fill_temporary(fd, data, size, path, err);
    if (rc == IM_OK) {
        rc = im_file_rename(im_str_text(&temporary), path, err);
    }
    if (rc != IM_OK) {
        (void)unlink(im_str_text(&temporary));
        goto out;
    }
    rc = im_folder_sync(folder, err);
out:
    im_str_clear(&temporary);
    im_free(folder);
    return rc;
}

/* Makes one folder whose parent is there; one that is there already is fine. */
static im_code make_one(const char *path, im_error *err)
{
    struct stat info;
    if (im_fault_hit(IM_FAULT_OPEN)) {
        return im_fail_errno(err, errno, "could not make folder '%s'", path);
    }
    if (mkdir(path, 0777) == 0) {
        return IM_OK;
    }
    int failed = errno;
    /* also for EROFS, EACCES and the like: what counts is whether a folder is there */
    if (stat(path, &info) == 0) {
        if (S_ISDIR(info.st_mode)) {
            return IM_OK;
        }
        return im_fail(err, IM_ERR_CONFLICT, "'%s' is not a folder", path);
    }
    return im_fail_errno(err, failed, "could not make folder '%s'", path);
}

im_code im_folder_make(const char *path, im_error *err)
{
    if (path[0] == '\0') {
        return im_fail(err, IM_ERR_INVALID, "a folder without a name cannot be made");
    }
    char *partial = im_strdup(path);
    if (partial == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the path '%s'", path);
    }
    im_code rc = IM_OK;
    for (char *p = partial + 1; rc == IM_OK && *p != '\0'; p++) {
        if (*p == '/' && p[-1] != '/') {
            *p = '\0';
            rc = make_one(partial, err);
            *p = '/';
        }
    }
    if (rc == IM_OK) {
        rc = make_one(partial, err);
    }
    im_free(partial);
    return rc;
}
