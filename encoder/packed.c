/* encoder/packed.c — reading a file of packed weights. It is a cache that anybody may have cut,
 * changed or left from an older version: nothing in it is believed before it was checked, and what
 * is wrong is said to the caller, who makes it anew. */
#include "base/base.h"
#include "base/hash.h"
#include "encoder/kernel_internal.h"
#include "encoder/packed_internal.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

struct packed_file {
    char *path;
    im_map *map;
    const packed_entry *entries; /* [n] in the mapping */
    bool *taken;                 /* [n] not yet verified */
    size_t n, next;              /* next: where the one after the last taken stands */
};

char *packed_path(const char *folder, const packed_key *key)
{
    char name[128];
    (void)snprintf(name, sizeof(name), "%s-%s-%s", key->digest, key->kernel, key->precision);
    return im_path_join(folder, name);
}

static im_code damaged(const char *path, const char *what, im_error *err)
{
    return im_fail(err, IM_ERR_FORMAT, "packed weights '%s': %s", path, what);
}

static bool same_text(const char *field, size_t size, const char *expected)
{
    size_t n = strlen(expected);
    return n <= size && memcmp(field, expected, n) == 0 && (n == size || field[n] == '\0');
}

static im_code check_head(const packed_head *h, size_t size, const packed_key *key,
                          const char *path, im_error *err)
{
    if (memcmp(h->magic, "IMPACKED", sizeof(h->magic)) != 0) {
        return damaged(path, "no such file, its first bytes are others", err);
    }
    if (h->version != PACKED_VERSION || h->panel != PANEL) {
        return damaged(path, "of another version", err);
    }
    if (h->crc != im_crc32c(0, h, offsetof(packed_head, crc))) {
        return damaged(path, "its head is damaged", err);
    }
    if (!same_text(h->digest, sizeof(h->digest), key->digest) ||
        !same_text(h->kernel, sizeof(h->kernel), key->kernel) ||
        !same_text(h->precision, sizeof(h->precision), key->precision)) {
        return damaged(path, "of another model, kernel or precision", err);
    }
    if (h->file_bytes != size) {
        return damaged(path, "cut or grown", err);
    }
    if (h->entries_offset % PACKED_ALIGN != 0 || h->entries_offset > size ||
        (size - h->entries_offset) / sizeof(packed_entry) < h->n_entries) {
        return damaged(path, "its list of pieces lies outside of it", err);
    }
    return IM_OK;
}

static im_code check_entries(const packed_file *f, const packed_head *h, im_error *err)
{
    if (h->entries_crc != im_crc32c(0, f->entries, f->n * sizeof(*f->entries))) {
        return damaged(f->path, "its list of pieces is damaged", err);
    }
    for (size_t i = 0; i < f->n; i++) {
        const packed_entry *e = &f->entries[i];
        if (memchr(e->name, 0, sizeof(e->name)) == NULL || e->offset % PACKED_ALIGN != 0 ||
            e->offset < PACKED_FIRST || e->offset > h->entries_offset ||
            e->bytes > h->entries_offset - e->offset) {
            return damaged(f->path, "a piece lies outside of it", err);
        }
    }
    return IM_OK;
}

/* The date says when it was last of use, to the day, for those who clean. */
static void touch(const char *path)
{
    struct stat info;
    if (stat(path, &info) == 0 && time(NULL) - info.st_mtime > 24 * 3600) {
        (void)utimensat(AT_FDCWD, path, NULL, 0);
    }
}

im_code packed_open(const char *path, const packed_key *key, packed_file **out, im_error *err)
{
    packed_file *f = im_alloc_zero(1, sizeof(*f));
    if (f == NULL || (f->path = im_strdup(path)) == NULL) {
        im_free(f);
        return im_fail(err, IM_ERR_NOMEM, "no memory for packed weights");
    }
    im_code rc = im_map_open(path, &f->map, err);
    if (rc == IM_OK && im_map_size(f->map) < PACKED_FIRST) {
        rc = damaged(path, "too short", err);
    }
    if (rc == IM_OK) {
        const packed_head *h = (const packed_head *)im_map_data(f->map);
        rc = check_head(h, im_map_size(f->map), key, path, err);
        if (rc == IM_OK) {
            f->entries = (const packed_entry *)(im_map_data(f->map) + h->entries_offset);
            f->n = h->n_entries;
            f->taken = im_alloc_zero(f->n + 1, sizeof(*f->taken));
            rc = f->taken != NULL ? check_entries(f, h, err)
                                  : im_fail(err, IM_ERR_NOMEM, "no memory for packed weights");
        }
        if (rc == IM_OK && im_map_lost(f->map)) {
            rc = damaged(path, "cut while read", err);
        }
    }
    if (rc != IM_OK) {
        packed_close(f);
        return rc;
    }
    touch(path);
    *out = f;
    return IM_OK;
}

void packed_close(packed_file *f)
{
    if (f == NULL) {
        return;
    }
    im_map_close(f->map);
    im_free(f->taken);
    im_free(f->path);
    im_free(f);
}

im_code packed_take(packed_file *f, const char *name, size_t bytes, const void **out, im_error *err)
{
    for (size_t tried = 0; tried < f->n; tried++) {
        size_t i = (f->next + tried) % f->n; /* they are asked for in the order they were made */
        const packed_entry *e = &f->entries[i];
        if (strcmp(e->name, name) != 0) {
            continue;
        }
        if (e->bytes != bytes) {
            return damaged(f->path, "a piece has another size", err);
        }
        f->taken[i] = true;
        f->next = i + 1;
        *out = im_map_data(f->map) + e->offset;
        return IM_OK;
    }
    return damaged(f->path, "a piece is missing", err);
}

size_t packed_size(const packed_file *f, const char *name)
{
    for (size_t i = 0; i < f->n; i++) {
        if (strcmp(f->entries[i].name, name) == 0) {
            return (size_t)f->entries[i].bytes;
        }
    }
    return 0;
}

typedef struct verify_job {
    const packed_file *f;
    atomic_bool bad;
} verify_job;

static void verify_task(void *context, size_t task, size_t worker)
{
    verify_job *job = context;
    const packed_file *f = job->f;
    const packed_entry *e = &f->entries[task];
    (void)worker;
    if (f->taken[task] && !atomic_load_explicit(&job->bad, memory_order_relaxed) &&
        im_crc32c(0, im_map_data(f->map) + e->offset, (size_t)e->bytes) != e->crc) {
        atomic_store(&job->bad, true);
    }
}

im_code packed_verify(packed_file *f, im_pool *pool, im_error *err)
{
    verify_job job = {.f = f};
    im_pool_run(pool, f->n, verify_task, &job);
    memset(f->taken, 0, f->n * sizeof(*f->taken));
    if (im_map_lost(f->map)) {
        return damaged(f->path, "cut while read", err);
    }
    return atomic_load(&job.bad) ? damaged(f->path, "a piece is damaged", err) : IM_OK;
}

bool packed_lost(const packed_file *f)
{
    return f != NULL && im_map_lost(f->map);
}

uint64_t packed_bytes(const packed_file *f)
{
    return im_map_size(f->map);
}
