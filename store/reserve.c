/* store/reserve.c — 4 MiB that are really allocated, so that a full disk can be given room enough
 * for removing pictures. */
#include "base/fault.h"
#include "base/file.h"
#include "store/store_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define ZERO_BYTES 65536u

bool store_reserve_is_whole(const char *folder)
{
    struct stat info;
    char *path = im_path_join(folder, STORE_RESERVE_NAME);
    bool whole = path != NULL && stat(path, &info) == 0 &&
                 (uint64_t)info.st_blocks * 512 >= IM_RESERVE_BYTES;
    im_free(path);
    return whole;
}

/* Zeros for file systems that cannot allocate without writing. */
static im_code write_zeros(int fd, const char *path, im_error *err)
{
    static const uint8_t zeros[ZERO_BYTES];
    im_code rc = IM_OK;
    for (uint64_t at = 0; rc == IM_OK && at < IM_RESERVE_BYTES; at += ZERO_BYTES) {
        rc = im_file_pwrite(fd, zeros, ZERO_BYTES, at, path, err);
    }
    return rc;
}

static im_code allocate(int fd, const char *path, im_error *err)
{
    int failed = im_fault_hit(IM_FAULT_WRITE) ? errno : posix_fallocate(fd, 0, IM_RESERVE_BYTES);
    if (failed == EOPNOTSUPP || failed == EINVAL) {
        return write_zeros(fd, path, err);
    }
    if (failed != 0) {
        return im_fail_errno(err, failed, "could not keep %u bytes in reserve in '%s'",
                             (unsigned)IM_RESERVE_BYTES, path);
    }
    return IM_OK;
}

im_code store_reserve_make(const char *folder, im_error *err)
{
    int fd = -1;
    char *path = im_path_join(folder, STORE_RESERVE_NAME);
    if (path == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a path in library '%s'", folder);
    }
    im_code rc = im_file_open(path, O_WRONLY | O_CREAT | O_NOFOLLOW, 0666, &fd, err);
    if (rc == IM_OK) {
        rc = allocate(fd, path, err);
    }
    if (rc == IM_OK) {
        rc = im_file_sync(fd, path, err);
    }
    if (fd >= 0) {
        (void)close(fd);
        if (rc != IM_OK) {
            (void)unlink(path);
        }
    }
    im_free(path);
    return rc;
}

void im_store_release_reserve(im_store *store)
{
    char *path = im_path_join(store->real, STORE_RESERVE_NAME);
    if (path != NULL && store->mode == IM_STORE_WRITE) {
        (void)unlink(path);
    }
    im_free(path);
}

void im_store_refill_reserve(im_store *store)
{
    if (store->mode != IM_STORE_WRITE) {
        return;
    }
    if (!store->in_write && !store->in_read && !store->sync_failed) {
        /* what was removed is first given back by the WAL, which may be all the room there is */
        (void)sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    }
    if (!store_reserve_is_whole(store->real)) {
        im_error ignored = IM_ERROR_INIT; /* still full: the next refill tries again */
        im_code rc = store_reserve_make(store->real, &ignored);
        (void)rc;
    }
}
