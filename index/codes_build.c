/* index/codes_build.c — makes the codes files of a generation, or extends them: slots never change
 * within a generation, so that whole blocks are copied. Each file is written whole to a temporary,
 * synced and renamed; the bits first, so that they never cover less than the bytes. */
#include "base/base.h"
#include "base/fault.h"
#include "base/hash.h"
#include "index/codes_build_internal.h"
#include "index/index_internal.h"
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#define BATCH_BLOCKS 32u
#define MEAN_ROWS 65536u                            /* at most, evenly spread */
#define ROTATED_MOST ((size_t)IM_LIMIT_MODEL_WIDTH) /* a multiple of ROTATION_UNIT */
#define DUE_ROWS 4096u
#define DUE_PART 20u /* a twentieth */

typedef struct build_job {
    im_index *index;
    const im_index_state *state;
    const char *folder;
    index_rotation rotation;
    float *mean;       /* [d] */
    float *scratch;    /* [workers, D] */
    uint8_t *blocks;   /* [BATCH_BLOCKS, CODES_BLOCK_BYTES] */
    codes_file old[2]; /* int8, bits; those that can be kept */
    /* of the file that is being written */
    codes_layout layout;
    codes_file *kept;          /* NULL: nothing to copy */
    uint64_t first;            /* number of blocks[0] */
    _Atomic uint64_t bad_slot; /* IM_NO_ITEM: none */
} build_job;

bool im_index_codes_due(uint64_t n_rows, uint64_t n_coded)
{
    uint64_t tail = n_rows > n_coded ? n_rows - n_coded : 0;
    return tail > IM_MAX((uint64_t)DUE_ROWS, n_rows / DUE_PART);
}

uint64_t im_index_bytes(size_t dim, uint64_t n_rows)
{
    const im_index_state state = {.dim = dim, .n_rows = n_rows};
    uint64_t bytes = 0;
    if (!format_committed_bytes(&state, &bytes)) {
        return UINT64_MAX;
    }
    for (codes_kind kind = CODES_I8; im_index_codes_due(n_rows, 0) && kind <= CODES_B1; kind++) {
        codes_layout layout = codes_layout_of(kind, dim);
        bytes += layout.head_bytes + codes_blocks_of(&layout, n_rows) * CODES_BLOCK_BYTES;
    }
    return bytes;
}

bool index_codes_fit(const codes_file *file, const im_index *index)
{
    const codes_header *header = &file->header;
    for (size_t i = 0; i < CODES_ANCHORS; i++) {
        uint64_t slot = header->anchor_slots[i];
        if (slot != codes_anchor(header->n_rows, i)) {
            return false;
        }
        if (slot < index->n_rows &&
            format_row_checksum(&index->layout, index_row_at(index, slot)) !=
                header->anchor_crcs[i]) {
            return false;
        }
    }
    return true;
}

/* ---- the mean ---- */

static im_code make_mean(build_job *job, im_error *err)
{
    im_index *index = job->index;
    size_t dim = index->layout.dim;
    uint64_t step = (index->n_rows + MEAN_ROWS - 1) / MEAN_ROWS;
    double *sums = im_alloc_zero(dim, sizeof(*sums));
    double n = 0;
    im_code rc = IM_OK;
    if (sums == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a mean of %zu values", dim);
    }
    for (uint64_t slot = 0; rc == IM_OK && slot < index->n_rows; slot += step) {
        const float *row = NULL;
        rc = im_index_row(index, slot, &row, NULL, err);
        for (size_t i = 0; rc == IM_OK && i < dim; i++) {
            sums[i] += (double)row[i];
        }
        n++;
    }
    for (size_t i = 0; rc == IM_OK && i < dim; i++) {
        job->mean[i] = (float)(sums[i] / n);
    }
    im_free(sums);
    return rc;
}

/* ---- blocks ---- */

static void encode_row(const build_job *job, const float *row, float *scratch, uint8_t *block,
                       size_t at)
{
    const codes_layout *layout = &job->layout;
    double squares = 0;
    for (size_t i = 0; i < layout->dim; i++) {
        scratch[i] = row[i] - job->mean[i];
        squares += (double)scratch[i] * (double)scratch[i];
    }
    memset(scratch + layout->dim, 0, (layout->padded - layout->dim) * sizeof(float));
    index_rotate(&job->rotation, scratch);
    if (layout->kind == CODES_I8) {
        double slack = (job->rotation.error + ldexp(1, -23)) * sqrt(squares);
        uint8_t whole[ROTATED_MOST];
        size_t half = layout->rows * layout->row_bytes;
        uint8_t *codes = block + at * layout->row_bytes;
        codes_numbers *numbers = (codes_numbers *)(void *)(block + 2 * half);
        codes_encode_i8(scratch, layout->padded, slack, whole, &numbers[at]);
        codes_split(whole, layout->padded, codes, codes + half);
    } else {
        uint8_t bits[ROTATED_MOST / 8];
        codes_bits_place place = codes_bits_at(layout, at);
        codes_encode_b1(scratch, layout->padded, bits, (float *)(void *)(block + place.factor),
                        (float *)(void *)(block + place.error));
        for (size_t i = 0; i < layout->row_bytes; i++) {
            block[place.codes + i * layout->lanes] = bits[i];
        }
    }
}

static void encode_block(void *context, size_t task, size_t worker)
{
    build_job *job = context;
    uint64_t number = job->first + task;
    uint8_t *block = job->blocks + task * CODES_BLOCK_BYTES;
    float *scratch = job->scratch + worker * job->layout.padded;
    uint64_t slot = number * job->layout.rows;
    size_t n = (size_t)IM_MIN((uint64_t)job->layout.rows, job->index->n_rows - slot);
    const uint8_t *old = NULL;
    if (job->kept != NULL && slot + n <= job->kept->header.n_rows) {
        old = codes_file_block(job->kept, number); /* NULL: damaged; made again below */
    }
    if (old != NULL) {
        memcpy(block, old, CODES_BLOCK_BYTES);
        return;
    }
    memset(block, 0, CODES_BLOCK_BYTES);
    for (size_t i = 0; i < n; i++, slot++) {
        if (index_unsound(job->index, (size_t)(slot / WORD_BITS),
                          UINT64_C(1) << (slot % WORD_BITS)) != 0) {
            atomic_store(&job->bad_slot, slot);
            return;
        }
        encode_row(job, (const float *)(const void *)index_row_at(job->index, slot), scratch, block,
                   i);
    }
    codes_seal_block(block, number);
}

/* ---- one file ---- */

static im_code write_blocks(build_job *job, int fd, const char *path, im_error *err)
{
    uint64_t n_blocks = codes_blocks_of(&job->layout, job->index->n_rows);
    im_code rc = IM_OK;
    for (job->first = 0; rc == IM_OK && job->first < n_blocks; job->first += BATCH_BLOCKS) {
        size_t n = (size_t)IM_MIN((uint64_t)BATCH_BLOCKS, n_blocks - job->first);
        im_pool_run(job->index->pool, n, encode_block, job);
        if (atomic_load(&job->bad_slot) != IM_NO_ITEM) {
            return index_damaged_row(job->index, atomic_load(&job->bad_slot), err);
        }
        rc = im_file_pwrite(fd, job->blocks, n * CODES_BLOCK_BYTES,
                            job->layout.head_bytes + job->first * CODES_BLOCK_BYTES, path, err);
    }
    if (rc == IM_OK) {
        rc = index_check_map(job->index, err); /* the rows read were the file's */
    }
    if (rc == IM_OK && job->kept != NULL && im_map_lost(job->kept->map)) {
        rc = im_fail_as(err, IM_REASON_MAP_LOST, "codes file '%s' was cut while in use", path);
    }
    return rc;
}

static im_code write_head(build_job *job, int fd, const char *path, im_error *err)
{
    uint8_t page[HEADER_BYTES];
    size_t bytes = job->layout.dim * sizeof(float);
    codes_header header = {.n_rows = job->index->n_rows};
    header.mean_crc = im_crc32c(0, job->mean, bytes);
    for (size_t i = 0; i < CODES_ANCHORS; i++) {
        header.anchor_slots[i] = codes_anchor(header.n_rows, i);
        header.anchor_crcs[i] = format_row_checksum(
            &job->index->layout, index_row_at(job->index, header.anchor_slots[i]));
    }
    codes_write_header(&job->layout, job->state, &header, page);
    im_code rc = im_file_pwrite(fd, page, sizeof(page), 0, path, err);
    if (rc == IM_OK) {
        rc = im_file_pwrite(fd, job->mean, bytes, HEADER_BYTES, path, err);
    }
    return rc;
}

/* One writer at a time (the library's lock), so that the temporary's name is nobody else's. */
static im_code write_file(build_job *job, const char *path, const char *temporary, im_error *err)
{
    int fd = -1;
    im_code rc = im_file_open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0666, &fd, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = write_blocks(job, fd, temporary, err);
    if (rc == IM_OK) {
        rc = write_head(job, fd, temporary, err);
    }
    if (rc == IM_OK) {
        rc = im_file_sync(fd, temporary, err);
    }
    close(fd);
    if (rc == IM_OK) {
        im_fault_point("codes_written");
        rc = im_file_rename(temporary, path, err);
    }
    if (rc != IM_OK) {
        (void)unlink(temporary);
    }
    return rc;
}

static im_code make_file(build_job *job, codes_kind kind, im_error *err)
{
    char *path = codes_path(job->folder, kind, job->state->generation);
    char *temporary = im_path_join(job->folder, ".imago-codes.tmp");
    im_code rc = IM_OK;
    codes_file *old = &job->old[kind - CODES_I8];
    job->layout = codes_layout_of(kind, job->index->layout.dim);
    job->kept = old->map != NULL ? old : NULL;
    if (path == NULL || temporary == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    } else {
        rc = write_file(job, path, temporary, err);
    }
    im_free(temporary);
    im_free(path);
    return rc;
}

/* ---- what is there ---- */

/* Opens an old file when its blocks can be kept; nothing there is not an error. A file that covers
 * less than half is made afresh: its mean is of the past. */
static im_code open_old(build_job *job, codes_kind kind, im_error *err)
{
    codes_file *old = &job->old[kind - CODES_I8];
    im_code rc = codes_file_open(job->folder, kind, job->state, old, err);
    if (rc == IM_ERR_NOT_FOUND || rc == IM_ERR_FORMAT) {
        return IM_OK;
    }
    if (rc == IM_OK &&
        (!index_codes_fit(old, job->index) || old->header.n_rows > job->index->n_rows ||
         old->header.n_rows < job->index->n_rows / 2)) {
        codes_file_close(old);
    }
    return rc;
}

static bool is_whole(build_job *job, codes_file *file)
{
    if (file->map == NULL || file->header.n_rows != job->index->n_rows) {
        return false;
    }
    for (uint64_t b = 0; b < file->n_blocks; b++) {
        if (codes_file_block(file, b) == NULL) {
            return false;
        }
    }
    return !im_map_lost(file->map);
}

/* The mean of the old files, which must agree, or a new one. */
static im_code choose_mean(build_job *job, im_error *err)
{
    codes_file *i8 = &job->old[0];
    codes_file *b1 = &job->old[1];
    size_t bytes = job->index->layout.dim * sizeof(float);
    if (i8->map != NULL && b1->map != NULL && i8->header.mean_crc != b1->header.mean_crc) {
        codes_file_close(b1);
    }
    codes_file *source = i8->map != NULL ? i8 : b1;
    if (source->map == NULL) {
        return make_mean(job, err);
    }
    memcpy(job->mean, codes_file_mean(source), bytes);
    return IM_OK;
}

static im_code prepare(build_job *job, im_pool *pool, im_error *err)
{
    size_t dim = job->index->layout.dim;
    size_t n_workers = pool != NULL ? im_pool_threads(pool) : 1;
    bool ready = index_rotation_init(&job->rotation, dim);
    job->mean = im_alloc(dim, sizeof(float));
    job->scratch = im_alloc_aligned(n_workers * index_rotated_dim(dim), sizeof(float));
    job->blocks = im_alloc_aligned(BATCH_BLOCKS, CODES_BLOCK_BYTES);
    if (!ready || job->mean == NULL || job->scratch == NULL || job->blocks == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory to make codes");
    }
    im_code rc = open_old(job, CODES_I8, err);
    return rc == IM_OK ? open_old(job, CODES_B1, err) : rc;
}

static im_code make_both(build_job *job, im_error *err)
{
    bool has_b1 = is_whole(job, &job->old[1]);
    bool has_i8 = is_whole(job, &job->old[0]);
    im_code rc = choose_mean(job, err);
    if (rc == IM_OK && (!has_b1 || job->old[1].map == NULL)) {
        rc = make_file(job, CODES_B1, err);
    }
    if (rc == IM_OK && !has_i8) {
        rc = make_file(job, CODES_I8, err);
    }
    return rc == IM_OK ? im_folder_sync(job->folder, err) : rc;
}

im_code im_index_codes_update(const char *folder, const im_index_state *state, im_pool *pool,
                              im_error *err)
{
    im_index_options options = {.engine = IM_ENGINE_SCAN, .pool = pool};
    build_job job = {.state = state, .folder = folder};
    im_code rc = im_index_open(folder, state, NULL, &options, &job.index, err);
    if (rc != IM_OK) {
        return rc;
    }
    atomic_store(&job.bad_slot, IM_NO_ITEM);
    if (state->n_rows > 0) {
        rc = prepare(&job, pool, err);
        if (rc == IM_OK) {
            rc = make_both(&job, err);
        }
    }
    codes_file_close(&job.old[0]);
    codes_file_close(&job.old[1]);
    index_rotation_clear(&job.rotation);
    im_free(job.mean);
    im_free(job.scratch);
    im_free(job.blocks);
    im_index_close(job.index);
    return rc;
}

/* ---- checking ---- */

/* One of the two files: header, mean, anchors, every block. */
static im_code check_file(const im_index *index, const char *folder, const im_index_state *state,
                          codes_kind kind, im_index_report report, void *context, uint64_t *bad,
                          bool *out_there, im_error *err)
{
    codes_file file = {0};
    im_error cause = IM_ERROR_INIT;
    im_code rc = codes_file_open(folder, kind, state, &file, &cause);
    *out_there = rc != IM_ERR_NOT_FOUND;
    if (rc == IM_ERR_NOT_FOUND) {
        return IM_OK;
    }
    if (rc == IM_ERR_FORMAT) {
        report(context, 0, cause.message);
        (*bad)++;
        return IM_OK;
    }
    if (rc != IM_OK) {
        if (err != NULL) {
            *err = cause;
        }
        return rc;
    }
    if (!index_codes_fit(&file, index)) {
        report(context, 0, "the codes are not those of the vectors");
        (*bad)++;
    }
    for (uint64_t block = 0; block < file.n_blocks; block++) {
        if (codes_file_block(&file, block) == NULL) {
            report(context, block * file.layout.rows,
                   "the block of codes from here fails its checksum");
            (*bad)++;
        }
    }
    if (im_map_lost(file.map)) {
        rc = im_fail_as(err, IM_REASON_MAP_LOST, "codes file '%s' was cut while it was read",
                        file.path);
    }
    codes_file_close(&file);
    return rc;
}

im_code im_index_codes_check(const char *folder, const im_index_state *state,
                             im_index_report report, void *context, uint64_t *out_bad,
                             im_error *err)
{
    const im_index_options options = {.engine = IM_ENGINE_SCAN};
    im_index *index = NULL;
    bool bytes = false;
    bool bits = false;
    *out_bad = 0;
    im_code rc = im_index_open(folder, state, NULL, &options, &index, err);
    if (rc == IM_OK) {
        rc = check_file(index, folder, state, CODES_I8, report, context, out_bad, &bytes, err);
    }
    if (rc == IM_OK) {
        rc = check_file(index, folder, state, CODES_B1, report, context, out_bad, &bits, err);
    }
    if (rc == IM_OK && bytes != bits) {
        report(context, 0, "one of the two codes files is not there");
        (*out_bad)++;
    }
    im_index_close(index);
    return rc;
}
