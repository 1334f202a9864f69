/* store/tar.h — archives in the POSIX format (pax for members of 8 GiB and more), as a backup is
 * one: regular files only, each with its SHA-256 in the last member, SHA256SUMS, in the form that
 * sha256sum -c reads. Shared by backup.c and restore.c. */
#ifndef IM_STORE_TAR_H
#define IM_STORE_TAR_H

#include "base/base.h"
#include "base/hash.h"
#include <stdbool.h>

#define STORE_TAR_BLOCK 512
#define STORE_TAR_NAME 100 /* with its NUL */
#define STORE_TAR_SUMS "SHA256SUMS"
#define STORE_TAR_LIMIT_SUMS (UINT64_C(256) << 20)

typedef struct store_tar_writer {
    int fd; /* borrowed */
    const char *path;
    uint64_t at;
    char name[STORE_TAR_NAME]; /* the open member */
    uint64_t left;             /* bytes of it to come */
    im_sha256 sha;
    im_str sums;
} store_tar_writer;

void store_tar_start(store_tar_writer *tar, int fd, const char *path);
/** Begins a member of exactly `size` bytes; mtime_s is its date. */
IM_NODISCARD im_code store_tar_begin(store_tar_writer *tar, const char *name, uint64_t size,
                                     int64_t mtime_s, im_error *err);
IM_NODISCARD im_code store_tar_add(store_tar_writer *tar, const void *data, size_t size,
                                   im_error *err);
IM_NODISCARD im_code store_tar_end(store_tar_writer *tar, im_error *err);
/** The member of the digests, and the end of the archive. */
IM_NODISCARD im_code store_tar_finish(store_tar_writer *tar, int64_t mtime_s, im_error *err);
void store_tar_clear(store_tar_writer *tar);

typedef struct store_tar_reader {
    int fd; /* borrowed */
    const char *path;
    uint64_t at, file_bytes;
    char name[STORE_TAR_NAME];
    uint64_t size, left; /* of the open member */
    im_sha256 sha;
    im_str sums;
    bool ended; /* SHA256SUMS was read and is right */
} store_tar_reader;

void store_tar_open(store_tar_reader *tar, int fd, uint64_t file_bytes, const char *path);
/** The next member's name and size into *tar; the one before must be read to its end. *out_more is
 * false at the end, after the digests of all members were compared. backup_damaged for whatever is
 * not as store_tar_writer makes it. */
IM_NODISCARD im_code store_tar_next(store_tar_reader *tar, bool *out_more, im_error *err);
/** Up to `capacity` bytes of the member; *out_size 0 at its end. */
IM_NODISCARD im_code store_tar_read(store_tar_reader *tar, void *out, size_t capacity,
                                    size_t *out_size, im_error *err);
void store_tar_close(store_tar_reader *tar);

#endif
