/* base/file.h — reading with limits, durable writing, mapped files that survive being cut.
 * Every call honours base/fault.h. Paths are raw bytes, NUL-terminated; messages escape them. */
#ifndef IM_BASE_FILE_H
#define IM_BASE_FILE_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/** What identifies the content of a file without reading it. */
typedef struct im_file_stamp {
    uint64_t size;
    int64_t mtime_ns;
    uint64_t device;
    uint64_t inode;
} im_file_stamp;

/** A file's whole content. */
typedef struct im_bytes {
    uint8_t *data; /* owned */
    size_t size;
} im_bytes;

void im_bytes_clear(im_bytes *bytes);

/** Stamp of what stat told; a date beyond what nanoseconds can count is the nearest one. */
im_file_stamp im_file_stamp_of(const struct stat *info);
/** Stamp of a path, links followed. IM_ERR_NOT_FOUND, IM_ERR_DENIED, IM_ERR_IO;
 * not_a_regular_file when it is anything but a regular file. */
IM_NODISCARD im_code im_file_stat(const char *path, im_file_stamp *out, im_error *err);

/** Reads a regular file whole: opened non-blocking, then fstat (a pipe is never waited for), size
 * checked against max_bytes first. dir_fd may be AT_FDCWD. out_stamp (may be NULL) is that of the
 * opened file; changed_while_reading when it differs after the read. A NUL follows the content in
 * memory (not counted), so that text can be parsed in place. */
IM_NODISCARD im_code im_file_read_at(int dir_fd, const char *path, uint64_t max_bytes,
                                     im_bytes *out, im_file_stamp *out_stamp, im_error *err);
IM_NODISCARD im_code im_file_read(const char *path, uint64_t max_bytes, im_bytes *out,
                                  im_error *err);

/** Replaces path as a whole: temporary in the same folder, write, sync, rename, sync the folder.
 * After a failure the old file is untouched and the temporary is gone; only when the last step, the
 * sync of the folder, failed is the new content there already. Keeps the old file's permissions. A
 * link at `path` is replaced, not followed. */
IM_NODISCARD im_code im_file_write_atomic(const char *path, const void *data, size_t size,
                                          im_error *err);

/** Positioned whole write and read on a descriptor; short transfers are continued. `name` is for
 * the sentence. A read beyond the end of the file is IM_ERR_FORMAT. */
IM_NODISCARD im_code im_file_pwrite(int fd, const void *data, size_t size, uint64_t offset,
                                    const char *name, im_error *err);
IM_NODISCARD im_code im_file_pread(int fd, void *data, size_t size, uint64_t offset,
                                   const char *name, im_error *err);
/** open(2) with O_CLOEXEC, fault hook and a sentence. */
IM_NODISCARD im_code im_file_open(const char *path, int flags, mode_t mode, int *out_fd,
                                  im_error *err);
/** fdatasync / fsync. A failed sync is never tried again by the caller: the data may be gone. */
IM_NODISCARD im_code im_file_sync(int fd, const char *name, im_error *err);
IM_NODISCARD im_code im_folder_sync(const char *folder, im_error *err);
IM_NODISCARD im_code im_file_rename(const char *from, const char *to, im_error *err);
/** mkdir -p with mode 0777 & ~umask; parents too. IM_ERR_CONFLICT when a file is in the way. */
IM_NODISCARD im_code im_folder_make(const char *path, im_error *err);
bool im_file_exists(const char *path);
/** Bytes that may still be written to the disk of a folder; UINT64_MAX when that is not known. */
uint64_t im_folder_room(const char *folder);

/** "folder/name" in a new string (im_free), NULL when memory is out. */
char *im_path_join(const char *folder, const char *name);

/** A read-only mapping of a whole file. A read beyond the end of a file that was cut meanwhile does
 * not kill the process: the rest of the mapping is replaced by zeros and im_map_lost turns true
 * (one SIGBUS handler, registered ranges only). Callers check im_map_lost before they trust what
 * they read: it asks for the file's size too (one fstat), because a cut inside the last page raises
 * no signal. At most 1024 mappings at once, each holds a descriptor. */
typedef struct im_map im_map;

IM_NODISCARD im_code im_map_open(const char *path, im_map **out_map, im_error *err);
/** Maps the first `size` bytes of an open descriptor; the descriptor stays the caller's. */
IM_NODISCARD im_code im_map_fd(int fd, size_t size, const char *name, im_map **out_map,
                               im_error *err);
const uint8_t *im_map_data(const im_map *map);
size_t im_map_size(const im_map *map);
bool im_map_lost(const im_map *map);
void im_map_close(im_map *map);

#endif
