/* index/faiss_build.c — builds a FAISS file from the vector file: a sample to train on, then the
 * rows in order, then the file beside its place, synced and renamed. A label is a slot.
 *
 * IVF takes labels as given: rows that are not alive are left out. HNSW numbers its rows itself:
 * there they stay, as nodes that no search may return, until compaction. */
#include "base/base.h"
#include "index/faiss_internal.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

#define ROWS_A_LIST 39u /* with fewer FAISS warns that its means are means of little */
#define TRAIN_ROWS_A_LIST 64u
#define LINKS 32u
#define EF_CONSTRUCTION 200u
#define EF_CONSTRUCTION_LIMIT 4096u

/* What one build works with. */
typedef struct faiss_work {
    const im_faiss_engine *faiss;
    void *made; /* FAISS's index */
    im_index *index;
    const im_faiss_build *build;
    int n_threads;
    float *rows;     /* [FAISS_ADD_ROWS, dim] */
    int64_t *labels; /* [FAISS_ADD_ROWS] */
} faiss_work;

static size_t lists_of(const im_faiss_build *build, uint64_t n_alive)
{
    uint64_t most = IM_MAX(n_alive / ROWS_A_LIST, (uint64_t)1);
    uint64_t wanted = build->n_lists;
    if (wanted == 0) {
        wanted = IM_MAX((uint64_t)(4 * sqrt((double)n_alive)), (uint64_t)1);
    }
    return (size_t)IM_MIN(wanted, most);
}

/* The index in the words of FAISS's factory. */
static im_code describe(const im_faiss_build *build, uint64_t n_alive, char *out, size_t size,
                        im_error *err)
{
    size_t n_links = build->n_links != 0 ? build->n_links : LINKS;
    if (build->engine == IM_ENGINE_IVF) {
        snprintf(out, size, "IVF%zu,%s", lists_of(build, n_alive), build->small ? "SQ8" : "Flat");
        return IM_OK;
    }
    if (build->engine != IM_ENGINE_HNSW) {
        return im_fail(err, IM_ERR_INVALID,
                       "engine number %u of a FAISS file, expected %u (ivf) or %u (hnsw)",
                       (unsigned)build->engine, (unsigned)IM_ENGINE_IVF, (unsigned)IM_ENGINE_HNSW);
    }
    if (n_links < 4 || n_links > 64) {
        return im_fail(err, IM_ERR_INVALID, "%zu links of a row in an HNSW, expected 4 to 64",
                       n_links);
    }
    if (build->ef_construction > EF_CONSTRUCTION_LIMIT) {
        return im_fail(err, IM_ERR_INVALID,
                       "a queue of %zu rows to build an HNSW, expected at most %u",
                       build->ef_construction, EF_CONSTRUCTION_LIMIT);
    }
    snprintf(out, size, "HNSW%zu%s", n_links, build->small ? "_SQ8" : ",Flat");
    return IM_OK;
}

/* ---- rows ---- */

/* The row of a slot after its check. Removed rows are not worth an error. */
static im_code copy_row(im_index *index, uint64_t slot, float *out, im_error *err)
{
    size_t at = (size_t)(slot / WORD_BITS);
    uint64_t bit = UINT64_C(1) << (slot % WORD_BITS);
    if (index_unsound(index, at, bit) != 0) {
        return index_damaged_row(index, slot, err);
    }
    memcpy(out, index_row_at(index, slot), index->layout.dim * sizeof(float));
    return IM_OK;
}

static bool is_alive(const im_index *index, uint64_t slot)
{
    return ((index_selected(index, NULL, (size_t)(slot / WORD_BITS)) >> (slot % WORD_BITS)) & 1) !=
           0;
}

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15)); /* splitmix64 */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* n of the rows that are alive, each set of them equally likely (Knuth, algorithm S). */
static im_code gather_sample(im_index *index, uint64_t seed, size_t n, float *out, im_error *err)
{
    uint64_t left = index->n_alive;
    size_t done = 0;
    for (uint64_t slot = 0; done < n && slot < index->n_rows; slot++) {
        if (!is_alive(index, slot)) {
            continue;
        }
        double chance = (double)(next_random(&seed) >> 11) * 0x1p-53;
        if (chance * (double)left-- < (double)(n - done)) {
            im_code rc = copy_row(index, slot, out + done * index->layout.dim, err);
            if (rc != IM_OK) {
                return rc;
            }
            done++;
        }
    }
    return index_check_map(index, err);
}

/* ---- steps ---- */

static im_code train(faiss_work *work, im_error *err)
{
    char message[IM_FAISS_MESSAGE_BYTES] = "";
    im_index *index = work->index;
    const im_faiss_build *build = work->build;
    uint64_t wanted = build->sample;
    if (wanted == 0) {
        wanted = (uint64_t)TRAIN_ROWS_A_LIST * lists_of(build, index->n_alive);
    }
    wanted = IM_MAX(wanted, (uint64_t)lists_of(build, index->n_alive)); /* a row for each mean */
    size_t n = (size_t)IM_MIN(wanted, index->n_alive);
    size_t n_told = IM_MAX(n, ROWS_A_LIST * (size_t)lists_of(build, index->n_alive));
    size_t dim = index->layout.dim;
    float *rows = im_alloc(n_told, dim * sizeof(float));
    if (rows == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for %zu rows to train FAISS on", n_told);
    }
    im_code rc = gather_sample(index, build->seed, n, rows, err);
    for (size_t i = n; i < n_told; i++) { /* again: FAISS would print a warning */
        memcpy(rows + i * dim, rows + (i - n) * dim, dim * sizeof(float));
    }
    if (rc == IM_OK) {
        im_faiss_result result =
            work->faiss->train(work->made, rows, n_told, work->n_threads, message);
        rc = result == IM_FAISS_OK ? IM_OK : faiss_error(result, message, err);
    }
    im_free(rows);
    return rc;
}

/* Rows from *slot on until the batch is full: those alive for an IVF, all for an HNSW. There a row
 * that was removed and is damaged is replaced by the one before it: it is never returned. */
static im_code gather_batch(faiss_work *work, uint64_t *slot, size_t *out_n, im_error *err)
{
    im_index *index = work->index;
    size_t dim = index->layout.dim;
    size_t n = 0;
    for (; *slot < index->n_rows && n < FAISS_ADD_ROWS; (*slot)++) {
        bool alive = is_alive(index, *slot);
        if (!alive && work->build->engine == IM_ENGINE_IVF) {
            continue;
        }
        float *row = work->rows + n * dim;
        im_code rc = copy_row(index, *slot, row, err);
        if (rc != IM_OK && (alive || rc != IM_ERR_FORMAT)) {
            return rc;
        }
        if (rc != IM_OK && n > 0) {
            memcpy(row, row - dim, dim * sizeof(float));
        } else if (rc != IM_OK) {
            memset(row, 0, dim * sizeof(float));
        }
        work->labels[n++] = (int64_t)*slot;
    }
    *out_n = n;
    return index_check_map(index, err);
}

static im_code add_rows(faiss_work *work, im_error *err)
{
    char message[IM_FAISS_MESSAGE_BYTES] = "";
    const im_faiss_build *build = work->build;
    uint64_t slot = 0;
    while (slot < work->index->n_rows) {
        size_t n = 0;
        im_code rc = gather_batch(work, &slot, &n, err);
        if (rc != IM_OK) {
            return rc;
        }
        const int64_t *labels = build->engine == IM_ENGINE_IVF ? work->labels : NULL;
        im_faiss_result result = n == 0 ? IM_FAISS_OK
                                        : work->faiss->add_labelled(work->made, work->rows, labels,
                                                                    n, work->n_threads, message);
        if (result != IM_FAISS_OK) {
            return faiss_error(result, message, err);
        }
        if (build->progress != NULL &&
            !build->progress(build->progress_context, slot, work->index->n_rows)) {
            return im_fail_as(err, IM_REASON_INTERRUPTED,
                              "building the FAISS file was stopped at row %" PRIu64 " of %" PRIu64,
                              slot, work->index->n_rows);
        }
    }
    return IM_OK;
}

static size_t ef_construction(const im_faiss_build *build)
{
    if (build->engine != IM_ENGINE_HNSW) {
        return 0;
    }
    return build->ef_construction != 0 ? build->ef_construction : EF_CONSTRUCTION;
}

/* Makes, trains and fills; work->made is the caller's to close, also after a failure. */
static im_code fill(faiss_work *work, im_error *err)
{
    char description[64];
    char message[IM_FAISS_MESSAGE_BYTES] = "";
    size_t dim = work->index->layout.dim;
    if (work->index->n_alive == 0) {
        return im_fail(err, IM_ERR_INVALID, "no row is alive to build a FAISS file from");
    }
    im_code rc = describe(work->build, work->index->n_alive, description, sizeof(description), err);
    if (rc == IM_OK) {
        rc = index_engine_load(&work->faiss, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    work->rows = im_alloc(FAISS_ADD_ROWS, dim * sizeof(float));
    work->labels = im_alloc(FAISS_ADD_ROWS, sizeof(int64_t));
    if (work->rows == NULL || work->labels == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory to build a FAISS file");
    }
    im_faiss_result result =
        work->faiss->make(dim, description, ef_construction(work->build), &work->made, message);
    if (result != IM_FAISS_OK) {
        work->made = NULL;
        return faiss_error(result, message, err);
    }
    rc = train(work, err);
    return rc == IM_OK ? add_rows(work, err) : rc;
}

im_code im_index_faiss_build(const char *folder, const im_index_state *state, const uint64_t *alive,
                             const im_faiss_build *build, im_faiss_record *out_record,
                             im_error *err)
{
    faiss_work work = {.build = build};
    im_faiss_record record = {.generation = state->generation, .n_rows = state->n_rows};
    char *path = NULL;
    work.n_threads = (int)IM_MIN(IM_MAX(build->n_threads, (size_t)1), (size_t)1024);
    const im_index_options rows_only = {.engine = IM_ENGINE_SCAN};
    im_code rc = im_index_open(folder, state, alive, &rows_only, &work.index, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = fill(&work, err);
    if (rc != IM_OK) {
        goto out;
    }
    faiss_file_name(build->engine, state->generation, record.name);
    path = im_path_join(folder, record.name);
    if (path == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a path");
        goto out;
    }
    rc = faiss_file_write(work.faiss, work.made, path, &record.bytes, record.digest, err);
    if (rc == IM_OK) {
        *out_record = record;
    }
out:
    if (work.made != NULL) {
        work.faiss->close(work.made);
    }
    im_free(path);
    im_free(work.rows);
    im_free(work.labels);
    im_index_close(work.index);
    return rc;
}
