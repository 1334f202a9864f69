/* store/paths.c — the files beside a database: its WAL, shared memory, journal; names of originals.
 */
#include "base/file.h"
#include "store/store_internal.h"
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

/* SQLite's unix layer has buffers of 512 bytes; this leaves room for "/library.db.new-journal" and
 * the copy that a migration keeps. */
#define FOLDER_MOST 470

im_code store_path_check_length(const char *real_folder, im_error *err)
{
    if (strlen(real_folder) <= FOLDER_MOST) {
        return IM_OK;
    }
    im_code rc = im_fail_as(err, IM_REASON_PATH_TOO_LONG,
                            "library '%s': its absolute path has %zu bytes, expected at most %d",
                            real_folder, strlen(real_folder), FOLDER_MOST);
    im_hint(err, "move the library to a place with a shorter path");
    return rc;
}

/* path + suffix in out; false when that is longer than any path that can be opened. */
static bool join(char out[PATH_MAX], const char *path, const char *suffix)
{
    int size = snprintf(out, PATH_MAX, "%s%s", path, suffix);
    return size > 0 && size < PATH_MAX;
}

void store_database_remove(const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    char name[PATH_MAX];
    for (size_t i = 0; i < IM_COUNT(suffixes); i++) {
        if (join(name, path, suffixes[i])) {
            (void)unlink(name);
        }
    }
}

uint64_t store_path_bytes(const char *path, const char *suffix)
{
    char name[PATH_MAX];
    struct stat info;
    if (!join(name, path, suffix) || stat(name, &info) != 0 || info.st_size < 0) {
        return 0;
    }
    return (uint64_t)info.st_size;
}

bool store_path_exists(const char *path, const char *suffix)
{
    char name[PATH_MAX];
    struct stat info;
    return join(name, path, suffix) && stat(name, &info) == 0;
}

im_code store_path_sync(const char *path, im_error *err)
{
    int fd = -1;
    im_code rc = im_file_open(path, O_RDONLY, 0, &fd, err);
    if (rc == IM_OK) {
        rc = im_file_sync(fd, path, err);
        (void)close(fd);
    }
    return rc;
}

bool store_name_is_plain(const char *name, size_t size)
{
    bool plain = size > 0 && name[0] != '.';
    for (size_t i = 0; plain && i < size; i++) {
        plain = name[i] != '\0' && (im_ascii_is_alnum(name[i]) || strchr("._-", name[i]) != NULL);
    }
    return plain;
}
