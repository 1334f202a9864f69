/* encoder/packed_write.c — writing a file of packed weights: pieces one behind the other, then
 * their list, the head last, sync, rename. And cleaning of the folder it lies in. */
#include "base/base.h"
#include "base/clock.h"
#include "base/hash.h"
#include "encoder/kernel_internal.h"
#include "encoder/packed_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK_NAME ".lock"
#define TEMPORARY_TAIL ".tmp"

/* ---- pieces ---- */

im_code packed_add(packed_pieces *p, const char *name, const void *data, size_t bytes,
                   im_error *err)
{
    if (p->n == p->capacity) {
        size_t capacity = p->capacity != 0 ? 2 * p->capacity : 128;
        packed_piece *grown = im_realloc(p->pieces, capacity, sizeof(*grown));
        if (grown == NULL) {
            return im_fail(err, IM_ERR_NOMEM, "no memory for a list of packed weights");
        }
        p->pieces = grown;
        p->capacity = capacity;
    }
    packed_piece *piece = &p->pieces[p->n++];
    memset(piece, 0, sizeof(*piece));
    (void)snprintf(piece->name, sizeof(piece->name), "%s", name);
    piece->data = data;
    piece->bytes = bytes;
    return IM_OK;
}

void packed_pieces_clear(packed_pieces *p)
{
    im_free(p->pieces);
    memset(p, 0, sizeof(*p));
}

/* ---- the file ---- */

im_code packed_begin(packed_writer *w, const char *path, im_error *err)
{
    im_str temporary;
    memset(w, 0, sizeof(*w));
    w->fd = -1;
    w->at = PACKED_FIRST;
    im_str_init(&temporary, SIZE_MAX / 2);
    im_str_addf(&temporary, "%s%s", path, TEMPORARY_TAIL);
    w->path = im_strdup(path);
    w->temporary = temporary.failed ? NULL : im_strdup(im_str_text(&temporary));
    im_str_clear(&temporary);
    if (w->path == NULL || w->temporary == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the path '%s'", path);
    }
    return im_file_open(w->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0666, &w->fd, err);
}

static uint64_t aligned(uint64_t at)
{
    return (at + PACKED_ALIGN - 1) / PACKED_ALIGN * PACKED_ALIGN;
}

static im_code put_piece(packed_writer *w, const packed_piece *piece, im_error *err)
{
    if (w->n == w->capacity) {
        size_t capacity = w->capacity != 0 ? 2 * w->capacity : 256;
        packed_entry *grown = im_realloc(w->entries, capacity, sizeof(*grown));
        if (grown == NULL) {
            return im_fail(err, IM_ERR_NOMEM, "no memory for a list of packed weights");
        }
        w->entries = grown;
        w->capacity = capacity;
    }
    packed_entry *e = &w->entries[w->n];
    memset(e, 0, sizeof(*e));
    memcpy(e->name, piece->name, sizeof(e->name));
    e->offset = w->at;
    e->bytes = piece->bytes;
    e->crc = im_crc32c(0, piece->data, piece->bytes);
    im_code rc = im_file_pwrite(w->fd, piece->data, piece->bytes, w->at, w->temporary, err);
    if (rc == IM_OK) {
        w->at = aligned(w->at + piece->bytes);
        w->n++;
    }
    return rc;
}

im_code packed_put(packed_writer *w, const packed_pieces *p, im_error *err)
{
    im_code rc = IM_OK;
    for (size_t i = 0; i < p->n && rc == IM_OK; i++) {
        rc = put_piece(w, &p->pieces[i], err);
    }
    return rc;
}

im_code packed_end(packed_writer *w, const packed_key *key, im_error *err)
{
    packed_head h = {.magic = {'I', 'M', 'P', 'A', 'C', 'K', 'E', 'D'},
                     .version = PACKED_VERSION,
                     .panel = PANEL};
    size_t bytes = w->n * sizeof(*w->entries);
    memcpy(h.digest, key->digest, sizeof(h.digest));
    memcpy(h.kernel, key->kernel, IM_MIN(strlen(key->kernel), sizeof(h.kernel)));
    memcpy(h.precision, key->precision, IM_MIN(strlen(key->precision), sizeof(h.precision)));
    h.entries_offset = w->at;
    h.file_bytes = w->at + bytes;
    h.n_entries = (uint32_t)w->n;
    h.entries_crc = im_crc32c(0, w->entries, bytes);
    h.crc = im_crc32c(0, &h, offsetof(packed_head, crc));
    im_code rc = im_file_pwrite(w->fd, w->entries, bytes, w->at, w->temporary, err);
    if (rc == IM_OK) {
        rc = im_file_pwrite(w->fd, &h, sizeof(h), 0, w->temporary, err);
    }
    if (rc == IM_OK) {
        rc = im_file_sync(w->fd, w->temporary, err);
    }
    int closed = close(w->fd);
    w->fd = -1;
    if (rc == IM_OK && closed != 0 && errno != EINTR) {
        rc = im_fail_errno(err, errno, "could not write '%s'", w->temporary);
    }
    if (rc == IM_OK) {
        rc = im_file_rename(w->temporary, w->path, err);
    }
    if (rc == IM_OK) {
        im_free(w->temporary);
        w->temporary = NULL;
    }
    return rc;
}

void packed_writer_clear(packed_writer *w)
{
    if (w->fd >= 0) {
        (void)close(w->fd);
    }
    if (w->temporary != NULL) {
        (void)unlink(w->temporary);
    }
    im_free(w->temporary);
    im_free(w->path);
    im_free(w->entries);
    memset(w, 0, sizeof(*w));
    w->fd = -1;
}

/* ---- the folder ---- */

im_code packed_lock(const char *folder, int *out_fd, im_error *err)
{
    int fd = -1;
    uint64_t start = im_clock_ns();
    char *path = im_path_join(folder, LOCK_NAME);
    if (path == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    im_code rc = im_file_open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0666, &fd, err);
    while (rc == IM_OK && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            rc = im_fail_errno(err, errno, "could not lock '%s'", path);
        } else if (im_clock_ns() - start > PACKED_LOCK_WAIT_MS * 1000000ull) {
            rc = im_fail(err, IM_ERR_BUSY, "'%s' is locked by another process", path);
        } else {
            struct timespec pause = {.tv_nsec = 20 * 1000000};
            (void)nanosleep(&pause, NULL);
        }
    }
    im_free(path);
    if (rc != IM_OK && fd >= 0) {
        (void)close(fd);
        return rc;
    }
    *out_fd = fd;
    return rc;
}

/* "<64 hex digits>-…" is one of ours. */
static bool is_packed_name(const char *name)
{
    return strspn(name, "0123456789abcdef") == 64 && name[64] == '-';
}

/* One pass: removes what is too old and tells what is left and who was unused longest. */
static uint64_t clean_pass(DIR *dir, const char *keep, char oldest[256])
{
    struct dirent *entry = NULL;
    struct stat info;
    uint64_t total = 0;
    time_t oldest_time = 0;
    time_t now = time(NULL);
    oldest[0] = '\0';
    rewinddir(dir);
    while ((entry = readdir(dir)) != NULL) {
        const char *name = entry->d_name;
        size_t size = strlen(name);
        if (!is_packed_name(name) || fstatat(dirfd(dir), name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
            continue;
        }
        bool temporary = size > 4 && strcmp(name + size - 4, TEMPORARY_TAIL) == 0;
        bool old = now - info.st_mtime > (time_t)PACKED_KEEP_DAYS * 24 * 3600;
        if (strcmp(name, keep) != 0 && (temporary || old)) {
            (void)unlinkat(dirfd(dir), name, 0);
            continue;
        }
        total += (uint64_t)info.st_size;
        if (strcmp(name, keep) != 0 && (oldest[0] == '\0' || info.st_mtime < oldest_time)) {
            oldest_time = info.st_mtime;
            (void)snprintf(oldest, 256, "%s", name);
        }
    }
    return total;
}

void packed_clean(const char *folder, const char *keep)
{
    char oldest[256];
    const char *slash = strrchr(keep, '/');
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        return;
    }
    keep = slash != NULL ? slash + 1 : keep;
    while (clean_pass(dir, keep, oldest) > PACKED_MOST_BYTES && oldest[0] != '\0') {
        if (unlinkat(dirfd(dir), oldest, 0) != 0) {
            break;
        }
    }
    (void)closedir(dir);
}
