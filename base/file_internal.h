/* base/file_internal.h — what file.c and its siblings share. */
#ifndef IM_BASE_FILE_INTERNAL_H
#define IM_BASE_FILE_INTERNAL_H

#include "base/file.h"
#include <sys/stat.h>

/** openat with O_CLOEXEC, repeated when a signal interrupts it; -1 and errno. Has the fault hook.
 */
int file_openat(int dir_fd, const char *path, int flags, mode_t mode);

/** As file_openat, read-only and without ever waiting (a pipe, a terminal), then fstat; refuses
 * what is not a regular file. On IM_OK the caller owns *out_fd. */
IM_NODISCARD im_code file_open_regular(int dir_fd, const char *path, int *out_fd,
                                       struct stat *out_stat, im_error *err);

/** One pread or pwrite with the fault hook, repeated when a signal interrupts it. */
ssize_t file_pread_once(int fd, void *data, size_t size, uint64_t offset);
ssize_t file_pwrite_once(int fd, const void *data, size_t size, uint64_t offset);

/** Folder part of path in a new string ("." when there is none), NULL when memory is out. */
char *file_folder_of(const char *path);

#endif
