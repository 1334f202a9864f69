/* index/writer.c — makes a vector file, appends rows behind the committed ones, clears leftovers.
 * Nothing here is durable before im_index_writer_sync, and nothing counts before the caller has
 * committed the raised count: a crash in between leaves a tail that the next writer overwrites. */
#include "base/base.h"
#include "base/fault.h"
#include "base/file.h"
#include "index/codes_internal.h"
#include "index/columns_internal.h"
#include "index/faiss_internal.h"
#include "index/format_internal.h"
#include "index/scoring_internal.h"
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_BYTES (1u << 20) /* rows put together for one write */

struct im_index_writer {
    format_layout layout;
    char *path;
    int fd;
    uint64_t n_rows; /* committed and appended */
    uint8_t *buffer; /* [at_once, pitch] */
    size_t at_once;
    bool failed; /* a sync failed: what the file holds is unknown */
};

im_code im_index_create(const char *folder, const im_index_state *state, im_error *err)
{
    uint8_t page[HEADER_BYTES];
    im_code rc = format_check_state(state, err);
    if (rc != IM_OK) {
        return rc;
    }
    if (state->n_rows != 0) {
        return im_fail(err, IM_ERR_INVALID,
                       "a new index was said to have %" PRIu64 " rows, expected 0", state->n_rows);
    }
    rc = im_folder_make(folder, err);
    if (rc != IM_OK) {
        return rc;
    }
    char *path = format_path(folder, state->generation);
    if (path == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    format_write_header(state, page);
    rc = im_file_write_atomic(path, page, sizeof(page), err);
    im_free(path);
    return rc;
}

im_code im_index_writer_open(const char *folder, const im_index_state *state,
                             im_index_writer **out_writer, im_error *err)
{
    im_index_writer *writer = NULL;
    im_code rc = format_check_state(state, err);
    if (rc != IM_OK) {
        return rc;
    }
    writer = im_alloc_zero(1, sizeof(*writer));
    if (writer == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for an index writer");
    }
    writer->fd = -1;
    writer->layout = format_layout_of(state->dim);
    writer->n_rows = state->n_rows;
    writer->at_once = IM_MAX(BUFFER_BYTES / writer->layout.pitch, (size_t)1);
    writer->path = format_path(folder, state->generation);
    writer->buffer = im_alloc(writer->at_once, writer->layout.pitch);
    if (writer->path == NULL || writer->buffer == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for an index writer");
        goto out;
    }
    rc = format_open(writer->path, state, O_RDWR, &writer->fd, NULL, err);
    if (rc != IM_OK) {
        goto out;
    }
    *out_writer = writer;
    writer = NULL;
out:
    im_index_writer_close(writer);
    return rc;
}

static im_code refuse_failed(const im_index_writer *writer, im_error *err)
{
    im_code rc = im_fail(err, IM_ERR_IO, "vector file '%s': an earlier sync failed", writer->path);
    im_hint(err, "close the library and try again");
    return rc;
}

static im_code check_append(const im_index_writer *writer, const uint64_t *items, const float *rows,
                            size_t n, im_error *err)
{
    uint64_t bytes = 0;
    if (!im_u64_add(writer->n_rows, n, &bytes) ||
        !im_u64_mul(bytes, writer->layout.pitch, &bytes) ||
        bytes > (uint64_t)INT64_MAX - HEADER_BYTES) {
        return im_fail(err, IM_ERR_LIMIT, "vector file '%s': %zu more rows are too many",
                       writer->path, n);
    }
    for (size_t i = 0; i < n; i++) {
        if (items[i] == IM_NO_ITEM) {
            return im_fail(err, IM_ERR_INVALID, "row %zu of %zu has no item id", i, n);
        }
    }
    return index_check_vectors(rows, n, writer->layout.dim, "row", err);
}

im_code im_index_writer_append(im_index_writer *writer, const uint64_t *items, const float *rows,
                               size_t n, uint64_t *out_first_slot, im_error *err)
{
    if (writer->failed) {
        return refuse_failed(writer, err);
    }
    im_code rc = check_append(writer, items, rows, n, err);
    size_t pitch = writer->layout.pitch;
    for (size_t done = 0; rc == IM_OK && done < n; done += writer->at_once) {
        size_t count = IM_MIN(writer->at_once, n - done);
        uint64_t first = writer->n_rows + done;
        for (size_t i = 0; i < count; i++) {
            format_write_row(&writer->layout, first + i, items[done + i],
                             rows + (done + i) * writer->layout.dim, writer->buffer + i * pitch);
        }
        rc = im_file_pwrite(writer->fd, writer->buffer, count * pitch, HEADER_BYTES + first * pitch,
                            writer->path, err);
    }
    if (rc == IM_OK) {
        /* only now: after a failed write the next append begins at the same slot again */
        *out_first_slot = writer->n_rows;
        writer->n_rows += n;
    }
    return rc;
}

im_code im_index_writer_sync(im_index_writer *writer, im_error *err)
{
    if (writer->failed) {
        return refuse_failed(writer, err);
    }
    im_code rc = im_file_sync(writer->fd, writer->path, err);
    if (rc != IM_OK) {
        writer->failed = true;
        return rc;
    }
    im_fault_point("vectors_synced");
    return IM_OK;
}

void im_index_writer_close(im_index_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    if (writer->fd >= 0) {
        close(writer->fd);
    }
    im_free(writer->buffer);
    im_free(writer->path);
    im_free(writer);
}

/* ---- leftovers ---- */

/* True for vector, codes, column and FAISS files of another generation than `keep`, and for the
 * temporaries that a kill leaves behind. */
static bool is_leftover(const char *name, uint64_t keep)
{
    static const char head[] = ".imago-";
    static const char tail[] = ".tmp";
    uint64_t generation = 0;
    if (format_parse_name(name, &generation) || codes_parse_name(name, &generation) ||
        faiss_file_parse_name(name, &generation) || columns_parse_name(name, &generation)) {
        return generation != keep;
    }
    size_t length = strlen(name);
    return strncmp(name, head, strlen(head)) == 0 && length > strlen(head) + strlen(tail) &&
           strcmp(name + length - strlen(tail), tail) == 0;
}

void im_index_sweep(const char *folder, uint64_t keep_generation)
{
    DIR *listing = opendir(folder);
    if (listing == NULL) {
        return; /* nothing there, or nothing that can be done about it */
    }
    for (struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
        if (is_leftover(entry->d_name, keep_generation)) {
            (void)unlinkat(dirfd(listing), entry->d_name, 0);
        }
    }
    closedir(listing);
}
