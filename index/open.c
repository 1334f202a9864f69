/* index/open.c — opens the rows for reading, hands them out after their check, closes; and reads a
 * whole file for `imago check`. */
#include "base/base.h"
#include "index/index_internal.h"
#include "index/tiered_internal.h"
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#define CHECK_BYTES (1u << 20) /* read at once by im_index_check */

static const index_engine *const engines[] = {
    [IM_ENGINE_AUTO] = &index_engine_tiered, [IM_ENGINE_SCAN] = &index_engine_scan,
    [IM_ENGINE_FLAT] = &index_engine_flat,   [IM_ENGINE_TIERED] = &index_engine_tiered,
    [IM_ENGINE_IVF] = &index_engine_ivf,     [IM_ENGINE_HNSW] = &index_engine_hnsw,
};

/* ---- bits and checks ---- */

uint64_t index_count_selected(const im_index *index, const uint64_t *bitmap)
{
    uint64_t count = 0;
    size_t n_words = index_words(index);
    for (size_t at = 0; at < n_words; at++) {
        count += (uint64_t)__builtin_popcountll(index_selected(index, bitmap, at));
    }
    return count;
}

uint64_t index_unsound(im_index *index, size_t at, uint64_t wanted)
{
    uint64_t checked = atomic_load_explicit(&index->checked[at], memory_order_relaxed);
    uint64_t open = wanted & ~checked;
    if (open == 0) {
        return 0;
    }
    uint64_t slots[WORD_BITS];
    const uint8_t *rows[WORD_BITS];
    size_t n = 0;
    for (uint64_t bits = open; bits != 0; bits &= bits - 1) {
        slots[n] = (uint64_t)at * WORD_BITS + (uint64_t)__builtin_ctzll(bits);
        rows[n] = index_row_at(index, slots[n]);
        n++;
    }
    uint64_t answers = format_rows_sound(&index->layout, slots, rows, n);
    uint64_t sound = 0;
    for (size_t i = 0; i < n; i++) {
        sound |= ((answers >> i) & 1) << (slots[i] % WORD_BITS);
    }
    atomic_fetch_or_explicit(&index->checked[at], sound, memory_order_relaxed);
    return open & ~sound;
}

im_code index_check_map(const im_index *index, im_error *err)
{
    if (!im_map_lost(index->map)) {
        return IM_OK;
    }
    im_code rc =
        im_fail_as(err, IM_REASON_MAP_LOST, "vector file '%s' was cut while in use", index->path);
    im_hint(err, "open the library again; 'imago rebuild' makes the file again");
    return rc;
}

im_code index_damaged_row(const im_index *index, uint64_t slot, im_error *err)
{
    im_code rc = index_check_map(index, err);
    if (rc == IM_OK) {
        rc = im_fail_as(err, IM_REASON_INDEX_DAMAGED,
                        "vector file '%s': row %" PRIu64 " fails its checksum", index->path, slot);
        im_hint(err, "'imago rebuild' makes it again from the library");
    }
    return rc;
}

/* ---- open and close ---- */

static im_code map_rows(im_index *index, const im_index_state *state, im_error *err)
{
    int fd = -1;
    im_code rc = format_open(index->path, state, O_RDONLY, &fd, &index->file_bytes, err);
    if (rc != IM_OK) {
        return rc;
    }
    if (!format_committed_bytes(state, &index->committed_bytes) ||
        index->committed_bytes > SIZE_MAX) {
        rc = im_fail(err, IM_ERR_LIMIT, "vector file '%s': %" PRIu64 " rows do not fit in memory",
                     index->path, state->n_rows);
    } else {
        rc = im_map_fd(fd, (size_t)index->committed_bytes, index->path, &index->map, err);
    }
    index->fd = fd;
    if (rc == IM_OK) {
        index->rows = im_map_data(index->map) + HEADER_BYTES;
    }
    return rc;
}

static im_code open_engine(im_index *index, const char *folder, const im_index_state *state,
                           im_engine engine, im_error *err)
{
    if ((unsigned)engine >= IM_COUNT(engines)) {
        return im_fail(err, IM_ERR_INVALID, "engine number %u of an index, expected 0 to %zu",
                       (unsigned)engine, IM_COUNT(engines) - 1);
    }
    index->engine = engines[engine];
    if (index->engine != &index_engine_tiered) {
        return index->engine->open != NULL ? index->engine->open(index, err) : IM_OK;
    }
    im_code rc = index_tiered_open(index, folder, state, err);
    if (rc == IM_OK && index->n_coded == 0 && engine == IM_ENGINE_AUTO) {
        index->engine->close(index);
        index->engine = &index_engine_scan;
    }
    return rc;
}

im_code im_index_open(const char *folder, const im_index_state *state, const uint64_t *alive,
                      const im_index_options *options, im_index **out_index, im_error *err)
{
    im_index *index = NULL;
    im_code rc = format_check_state(state, err);
    if (rc != IM_OK) {
        return rc;
    }
    index = im_alloc_zero(1, sizeof(*index));
    if (index == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for an index");
    }
    index->fd = -1;
    index->layout = format_layout_of(state->dim);
    index->n_rows = state->n_rows;
    index->alive = alive;
    index->pool = options != NULL ? options->pool : NULL;
    index->kernels = index_kernels_choose();
    index->path = format_path(folder, state->generation);
    if (index->path == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a path");
        goto out;
    }
    rc = map_rows(index, state, err);
    if (rc != IM_OK) {
        goto out;
    }
    index->checked = im_alloc_zero(index_words(index), sizeof(uint64_t));
    if (index->checked == NULL) {
        rc =
            im_fail(err, IM_ERR_NOMEM, "no memory for an index of %" PRIu64 " rows", index->n_rows);
        goto out;
    }
    index->n_alive = index_count_selected(index, NULL);
    index->state = state;
    index->folder = folder;
    if (options != NULL) {
        index->faiss = options->faiss;
        index->effort = options->effort;
        index->from = options->from;
    }
    rc = open_engine(index, folder, state, options != NULL ? options->engine : IM_ENGINE_AUTO, err);
    index->faiss = NULL;
    index->state = NULL;
    index->folder = NULL;
    index->from = NULL;
    if (rc != IM_OK) {
        goto out;
    }
    *out_index = index;
    index = NULL;
out:
    im_index_close(index);
    return rc;
}

void im_index_close(im_index *index)
{
    if (index == NULL) {
        return;
    }
    if (index->engine != NULL && index->engine->close != NULL) {
        index->engine->close(index);
    }
    im_map_close(index->map);
    if (index->fd >= 0) {
        close(index->fd);
    }
    im_free((void *)index->checked);
    im_free(index->path);
    im_free(index);
}

/* ---- rows and facts ---- */

im_code im_index_row(im_index *index, uint64_t slot, const float **out_row, uint64_t *out_item,
                     im_error *err)
{
    if (slot >= index->n_rows) {
        return im_fail(err, IM_ERR_INVALID, "slot %" PRIu64 " of an index of %" PRIu64 " rows",
                       slot, index->n_rows);
    }
    if (index_unsound(index, (size_t)(slot / WORD_BITS), UINT64_C(1) << (slot % WORD_BITS)) != 0) {
        return index_damaged_row(index, slot, err);
    }
    im_code rc = index_check_map(index, err);
    if (rc != IM_OK) {
        return rc;
    }
    const uint8_t *row = index_row_at(index, slot);
    *out_row = (const float *)(const void *)row;
    if (out_item != NULL) {
        *out_item = format_row_item(&index->layout, row);
    }
    return IM_OK;
}

void im_index_describe(const im_index *index, im_index_stats *out)
{
    out->n_rows = index->n_rows;
    out->n_alive = index->n_alive;
    out->file_bytes = index->file_bytes;
    out->mapped_bytes = index->committed_bytes;
    out->private_bytes = sizeof(*index) + index_words(index) * sizeof(uint64_t);
    if (index->engine->private_bytes != NULL) {
        out->private_bytes += index->engine->private_bytes(index);
    }
    out->engine = index->engine->name;
    out->codes = (im_codes)atomic_load(&index->codes);
    out->n_coded = index->n_coded;
    out->codes_problem = index->codes_problem;
    if (out->codes == IM_CODES_DAMAGED && index->codes_problem[0] == '\0') {
        out->codes_problem = "a codes file was damaged after it was opened, or a block of it is";
    }
}

/* ---- whole file ---- */

typedef struct check_job {
    const char *path;
    int fd;
    format_layout layout;
    im_index_report report;
    void *context;
    uint64_t n_bad;
} check_job;

static im_code check_rows(check_job *job, uint8_t *buffer, uint64_t first, size_t n, im_error *err)
{
    im_code rc = im_file_pread(job->fd, buffer, n * job->layout.pitch,
                               HEADER_BYTES + first * job->layout.pitch, job->path, err);
    for (size_t i = 0; rc == IM_OK && i < n; i++) {
        if (!format_row_sound(&job->layout, first + i, buffer + i * job->layout.pitch)) {
            job->n_bad++;
            if (job->report != NULL) {
                job->report(job->context, first + i, "the row fails its checksum");
            }
        }
    }
    return rc;
}

im_code im_index_check(const char *folder, const im_index_state *state, im_index_report report,
                       void *context, uint64_t *out_bad, im_error *err)
{
    check_job job = {.fd = -1, .report = report, .context = context};
    uint8_t *buffer = NULL;
    char *path = NULL;
    im_code rc = format_check_state(state, err);
    if (rc != IM_OK) {
        return rc;
    }
    job.layout = format_layout_of(state->dim);
    size_t at_once = IM_MAX(CHECK_BYTES / job.layout.pitch, (size_t)1);
    path = format_path(folder, state->generation);
    buffer = im_alloc(at_once, job.layout.pitch);
    if (path == NULL || buffer == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory to check an index");
        goto out;
    }
    job.path = path;
    rc = format_open(path, state, O_RDONLY, &job.fd, NULL, err);
    for (uint64_t at = 0; rc == IM_OK && at < state->n_rows; at += at_once) {
        size_t n = (size_t)IM_MIN((uint64_t)at_once, state->n_rows - at);
        rc = check_rows(&job, buffer, at, n, err);
    }
    if (rc == IM_OK) {
        *out_bad = job.n_bad;
    }
out:
    if (job.fd >= 0) {
        close(job.fd);
    }
    im_free(buffer);
    im_free(path);
    return rc;
}
