/* base/file.c — opening, whole reads with limits, positioned transfers, syncs. The atomic
 * replacement is in file_write.c, mappings are in file_map.c. */
#include "base/file.h"
#include "base/fault.h"
#include "base/file_internal.h"
#include "base/memory.h"
#include "base/size.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Linux transfers at most this many bytes in one call; asking for less keeps ssize_t safe. */
#define TRANSFER_BYTES ((size_t)1 << 30)

void im_bytes_clear(im_bytes *bytes)
{
    im_free(bytes->data);
    *bytes = (im_bytes){0};
}

/* A file may bear any 64-bit second; what nanoseconds cannot count becomes the nearest that still
 * leaves room for differences to now (1823, 2262). */
static int64_t mtime_ns_of(const struct timespec *mtime)
{
    const int64_t first_s = -(INT64_C(1) << 62) / 1000000000;
    const int64_t last_s = INT64_MAX / 1000000000 - 1;
    if (mtime->tv_sec < first_s) {
        return first_s * 1000000000;
    }
    if (mtime->tv_sec > last_s) {
        return last_s * 1000000000 + 999999999;
    }
    return (int64_t)mtime->tv_sec * 1000000000 + (int64_t)mtime->tv_nsec;
}

im_file_stamp im_file_stamp_of(const struct stat *info)
{
    im_file_stamp stamp = {
        .size = info->st_size > 0 ? (uint64_t)info->st_size : 0,
        .mtime_ns = mtime_ns_of(&info->st_mtim),
        .device = (uint64_t)info->st_dev,
        .inode = (uint64_t)info->st_ino,
    };
    return stamp;
}

static const char *kind_of(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return "a folder";
    case S_IFIFO:
        return "a pipe";
    case S_IFSOCK:
        return "a socket";
    case S_IFCHR:
    case S_IFBLK:
        return "a device";
    default:
        return "something else";
    }
}

static im_code refuse_kind(const char *path, mode_t mode, im_error *err)
{
    return im_fail_as(err, IM_REASON_NOT_A_REGULAR_FILE, "'%s' is %s, expected a regular file",
                      path, kind_of(mode));
}

im_code im_file_stat(const char *path, im_file_stamp *out, im_error *err)
{
    struct stat info;
    if (im_fault_hit(IM_FAULT_OPEN) || stat(path, &info) != 0) {
        return im_fail_errno(err, errno, "could not look up '%s'", path);
    }
    if (!S_ISREG(info.st_mode)) {
        return refuse_kind(path, info.st_mode, err);
    }
    *out = im_file_stamp_of(&info);
    return IM_OK;
}

int file_openat(int dir_fd, const char *path, int flags, mode_t mode)
{
    if (im_fault_hit(IM_FAULT_OPEN)) {
        return -1;
    }
    int fd;
    do {
        fd = openat(dir_fd, path, flags | O_CLOEXEC, mode);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

im_code file_open_regular(int dir_fd, const char *path, int *out_fd, struct stat *out_stat,
                          im_error *err)
{
    int fd = file_openat(dir_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0 && errno == ENXIO) {
        return refuse_kind(path, S_IFSOCK, err); /* or a device without a driver */
    }
    if (fd < 0) {
        return im_fail_errno(err, errno, "could not open '%s'", path);
    }
    im_code rc = IM_OK;
    if (fstat(fd, out_stat) != 0) {
        rc = im_fail_errno(err, errno, "could not look up '%s'", path);
    } else if (!S_ISREG(out_stat->st_mode)) {
        rc = refuse_kind(path, out_stat->st_mode, err);
    }
    if (rc != IM_OK) {
        (void)close(fd);
        return rc;
    }
    *out_fd = fd;
    return IM_OK;
}

ssize_t file_pread_once(int fd, void *data, size_t size, uint64_t offset)
{
    if (im_fault_hit(IM_FAULT_READ)) {
        return -1;
    }
    ssize_t n;
    do {
        n = pread(fd, data, IM_MIN(size, TRANSFER_BYTES), (off_t)offset);
    } while (n < 0 && errno == EINTR);
    return n;
}

ssize_t file_pwrite_once(int fd, const void *data, size_t size, uint64_t offset)
{
    if (im_fault_hit(IM_FAULT_WRITE)) {
        return -1;
    }
    ssize_t n;
    do {
        n = pwrite(fd, data, IM_MIN(size, TRANSFER_BYTES), (off_t)offset);
    } while (n < 0 && errno == EINTR);
    return n;
}

static im_code changed(const char *path, im_error *err)
{
    im_code rc =
        im_fail_as(err, IM_REASON_CHANGED_WHILE_READING, "'%s' changed while it was read", path);
    im_hint(err, "try again when nothing writes to it");
    return rc;
}

/* Reads `size` bytes and looks for one more: data has room for size + 1. */
static im_code read_whole(int fd, const char *path, uint8_t *data, size_t size, im_error *err)
{
    size_t done = 0;
    while (done <= size) {
        ssize_t n = file_pread_once(fd, data + done, size + 1 - done, done);
        if (n < 0) {
            return im_fail_errno(err, errno, "could not read '%s' at byte %zu", path, done);
        }
        if (n == 0) {
            break;
        }
        done += (size_t)n;
    }
    return done == size ? IM_OK : changed(path, err);
}

static im_code check_unchanged(int fd, const char *path, im_file_stamp before, im_error *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0) {
        return im_fail_errno(err, errno, "could not look up '%s'", path);
    }
    im_file_stamp after = im_file_stamp_of(&info);
    bool same = after.size == before.size && after.mtime_ns == before.mtime_ns;
    return same ? IM_OK : changed(path, err);
}

im_code im_file_read_at(int dir_fd, const char *path, uint64_t max_bytes, im_bytes *out,
                        im_file_stamp *out_stamp, im_error *err)
{
    int fd = -1;
    struct stat info;
    im_bytes bytes = {0};
    im_file_stamp stamp = {0};
    im_code rc = file_open_regular(dir_fd, path, &fd, &info, err);
    if (rc != IM_OK) {
        return rc;
    }
    stamp = im_file_stamp_of(&info);
    if (stamp.size > max_bytes || stamp.size >= SIZE_MAX) {
        rc = im_fail_as(err, IM_REASON_FILE_TOO_LARGE, "'%s' has %llu bytes, expected at most %llu",
                        path, (unsigned long long)stamp.size, (unsigned long long)max_bytes);
        goto out;
    }
    bytes.size = (size_t)stamp.size;
    bytes.data = im_alloc(bytes.size + 1, 1);
    if (bytes.data == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for the %zu bytes of '%s'", bytes.size, path);
        goto out;
    }
    rc = read_whole(fd, path, bytes.data, bytes.size, err);
    if (rc == IM_OK) {
        rc = check_unchanged(fd, path, stamp, err);
    }
    if (rc != IM_OK) {
        goto out;
    }
    bytes.data[bytes.size] = 0;
    *out = bytes; /* the caller owns it from here */
    bytes = (im_bytes){0};
    if (out_stamp != NULL) {
        *out_stamp = stamp;
    }
out:
    im_bytes_clear(&bytes);
    (void)close(fd);
    return rc;
}

im_code im_file_read(const char *path, uint64_t max_bytes, im_bytes *out, im_error *err)
{
    return im_file_read_at(AT_FDCWD, path, max_bytes, out, NULL, err);
}

/* off_t is signed: an end beyond it cannot exist in any file. */
static im_code check_range(size_t size, uint64_t offset, const char *name, im_error *err)
{
    uint64_t end = 0;
    if (im_u64_add(offset, size, &end) && end <= INT64_MAX) {
        return IM_OK;
    }
    return im_fail(err, IM_ERR_INVALID, "'%s': byte %llu and %zu more lie beyond any file", name,
                   (unsigned long long)offset, size);
}

im_code im_file_pwrite(int fd, const void *data, size_t size, uint64_t offset, const char *name,
                       im_error *err)
{
    const uint8_t *bytes = data;
    im_code rc = check_range(size, offset, name, err);
    for (size_t done = 0; rc == IM_OK && done < size;) {
        ssize_t n = file_pwrite_once(fd, bytes + done, size - done, offset + done);
        if (n <= 0) {
            rc = im_fail_errno(err, n < 0 ? errno : EIO, "could not write '%s' at byte %llu", name,
                               (unsigned long long)(offset + done));
        } else {
            done += (size_t)n;
        }
    }
    return rc;
}

im_code im_file_pread(int fd, void *data, size_t size, uint64_t offset, const char *name,
                      im_error *err)
{
    uint8_t *bytes = data;
    im_code rc = check_range(size, offset, name, err);
    for (size_t done = 0; rc == IM_OK && done < size;) {
        ssize_t n = file_pread_once(fd, bytes + done, size - done, offset + done);
        if (n < 0) {
            rc = im_fail_errno(err, errno, "could not read '%s' at byte %llu", name,
                               (unsigned long long)(offset + done));
        } else if (n == 0) {
            rc = im_fail(err, IM_ERR_FORMAT, "'%s' ends at byte %llu, expected %llu or more", name,
                         (unsigned long long)(offset + done), (unsigned long long)(offset + size));
        } else {
            done += (size_t)n;
        }
    }
    return rc;
}

im_code im_file_open(const char *path, int flags, mode_t mode, int *out_fd, im_error *err)
{
    int fd = file_openat(AT_FDCWD, path, flags, mode);
    if (fd < 0) {
        return im_fail_errno(err, errno, "could not open '%s'", path);
    }
    *out_fd = fd;
    return IM_OK;
}

im_code im_file_sync(int fd, const char *name, im_error *err)
{
    if (im_fault_hit(IM_FAULT_SYNC) || fdatasync(fd) != 0) {
        return im_fail_errno(err, errno, "could not sync '%s'", name);
    }
    return IM_OK;
}

im_code im_folder_sync(const char *folder, im_error *err)
{
    const char *path = folder[0] != '\0' ? folder : ".";
    int fd = file_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) {
        return im_fail_errno(err, errno, "could not open folder '%s'", path);
    }
    im_code rc = IM_OK;
    /* some network and FUSE file systems do not know how to sync a folder */
    if (im_fault_hit(IM_FAULT_SYNC) || (fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP)) {
        rc = im_fail_errno(err, errno, "could not sync folder '%s'", path);
    }
    (void)close(fd);
    return rc;
}

im_code im_file_rename(const char *from, const char *to, im_error *err)
{
    if (im_fault_hit(IM_FAULT_RENAME) || rename(from, to) != 0) {
        return im_fail_errno(err, errno, "could not rename '%s' to '%s'", from, to);
    }
    return IM_OK;
}

bool im_file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

uint64_t im_folder_room(const char *folder)
{
    struct statvfs info;
    uint64_t bytes = 0;
    if (statvfs(folder, &info) != 0 || !im_u64_mul(info.f_bavail, info.f_frsize, &bytes)) {
        return UINT64_MAX;
    }
    return bytes;
}

char *im_path_join(const char *folder, const char *name)
{
    size_t folder_size = strlen(folder);
    size_t name_size = strlen(name);
    size_t slash = folder_size > 0 && folder[folder_size - 1] != '/' ? 1 : 0;
    char *path = im_alloc(folder_size + slash + name_size + 1, 1);
    if (path == NULL) {
        return NULL;
    }
    memcpy(path, folder, folder_size);
    if (slash > 0) {
        path[folder_size] = '/';
    }
    memcpy(path + folder_size + slash, name, name_size + 1);
    return path;
}
