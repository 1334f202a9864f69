/* index/scan.c — the exact engine: every row that passes, in blocks of slots over the pool, each
 * thread with its own bounded heap. A block is about 2 MB of rows: large enough that claiming it is
 * free, small enough that the threads end together. */
#include "base/base.h"
#include "index/index_internal.h"
#include "index/top_internal.h"
#include <string.h>

#define TASK_BYTES (2u << 20)
#define MAX_TASK_WORDS 1024u

typedef enum scan_failure { SCAN_OK, SCAN_NOMEM, SCAN_DAMAGED } scan_failure;

typedef struct scan_job {
    im_index *index;
    const index_request *request;
    size_t n_words, task_words;
    index_top *tops;       /* [workers]: each touched by its own thread alone */
    _Atomic int failure;   /* scan_failure; any of several */
    _Atomic uint64_t slot; /* of SCAN_DAMAGED */
} scan_job;

/* Up to 64 rows of one word, gathered before they are scored. */
typedef struct scan_batch {
    size_t n;
    uint64_t slots[WORD_BITS];
    const float *rows[WORD_BITS];
    float scores[WORD_BITS];
} scan_batch;

static bool is_behind(const im_index_query *query, float score, uint64_t item)
{
    return score < query->after_score || (score == query->after_score && item > query->after_item);
}

bool index_push(const im_index *index, const im_index_query *query, uint64_t slot,
                const uint8_t *row, float score, struct index_top *top)
{
    if (index_top_refuses(top, score) || (query->has_floor && score < query->floor) ||
        (query->has_after && score > query->after_score)) {
        return true;
    }
    im_hit hit = {format_row_item(&index->layout, row), slot, score};
    if (hit.item == query->leave_out || (query->has_after && !is_behind(query, score, hit.item))) {
        return true;
    }
    return index_top_push(top, &hit);
}

static bool push_batch(const scan_job *job, const scan_batch *batch, index_top *top)
{
    for (size_t i = 0; i < batch->n; i++) {
        const uint8_t *row = (const uint8_t *)batch->rows[i];
        if (!index_push(job->index, job->request->query, batch->slots[i], row, batch->scores[i],
                        top)) {
            return false;
        }
    }
    return true;
}

static void gather(const im_index *index, size_t at, uint64_t bits, scan_batch *batch)
{
    batch->n = 0;
    for (; bits != 0; bits &= bits - 1) {
        uint64_t slot = (uint64_t)at * WORD_BITS + (uint64_t)__builtin_ctzll(bits);
        batch->slots[batch->n] = slot;
        batch->rows[batch->n] = (const float *)(const void *)index_row_at(index, slot);
        batch->n++;
    }
}

static void fail_job(scan_job *job, scan_failure failure, uint64_t slot)
{
    atomic_store(&job->slot, slot);
    atomic_store(&job->failure, (int)failure);
}

static void scan_task(void *context, size_t task, size_t worker)
{
    scan_job *job = context;
    scan_batch batch;
    size_t first = task * job->task_words;
    size_t last = IM_MIN(first + job->task_words, job->n_words);
    for (size_t at = first; at < last; at++) {
        uint64_t bits = index_selected(job->index, job->request->bitmap, at);
        if (bits == 0) {
            continue;
        }
        if (atomic_load_explicit(&job->failure, memory_order_relaxed) != SCAN_OK) {
            return;
        }
        /* scores first: they bring the rows into the cache as one stream, where the checksums, four
         * rows at a time, then find them; nothing counts before the rows are known to be sound */
        gather(job->index, at, bits, &batch);
        index_scoring_rows(job->request->scoring, batch.rows, batch.n, batch.scores);
        uint64_t unsound = index_unsound(job->index, at, bits);
        if (unsound != 0) {
            fail_job(job, SCAN_DAMAGED,
                     (uint64_t)at * WORD_BITS + (uint64_t)__builtin_ctzll(unsound));
            return;
        }
        if (!push_batch(job, &batch, &job->tops[worker])) {
            fail_job(job, SCAN_NOMEM, 0);
            return;
        }
    }
}

/* All entries into the first heap; order of pushes does not matter, ties are decided by item. */
static bool merge(index_top *tops, size_t n)
{
    for (size_t t = 1; t < n; t++) {
        for (size_t i = 0; i < tops[t].n; i++) {
            if (!index_top_push(&tops[0], &tops[t].entries[i])) {
                return false;
            }
        }
        index_top_clear(&tops[t]);
    }
    return true;
}

static im_code job_error(scan_job *job, im_error *err)
{
    int failure = atomic_load(&job->failure);
    if (failure == SCAN_DAMAGED) {
        return index_damaged_row(job->index, atomic_load(&job->slot), err);
    }
    if (failure == SCAN_NOMEM) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the %zu best hits",
                       job->request->query->k);
    }
    return IM_OK;
}

static size_t words_of_task(const im_index *index)
{
    size_t words = TASK_BYTES / (WORD_BITS * index->layout.pitch);
    return IM_MIN(IM_MAX(words, (size_t)1), (size_t)MAX_TASK_WORDS);
}

static im_code scan_search(im_index *index, const index_request *request, im_hit *hits,
                           im_index_answer *answer, im_error *err)
{
    scan_job job = {.index = index, .request = request};
    size_t n_workers = index->pool != NULL ? im_pool_threads(index->pool) : 1;
    size_t limit = (size_t)IM_MIN((uint64_t)request->query->k, request->filtered);
    job.n_words = index_words(index);
    job.task_words = words_of_task(index);
    job.tops = im_alloc_zero(n_workers, sizeof(*job.tops));
    if (job.tops == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the scan's %zu heaps", n_workers);
    }
    for (size_t t = 0; t < n_workers; t++) {
        index_top_init(&job.tops[t], limit);
    }
    im_pool_run(index->pool, (job.n_words + job.task_words - 1) / job.task_words, scan_task, &job);
    if (atomic_load(&job.failure) == SCAN_OK && !merge(job.tops, n_workers)) {
        fail_job(&job, SCAN_NOMEM, 0);
    }
    im_code rc = job_error(&job, err);
    if (rc == IM_OK) {
        index_top_sort(&job.tops[0]);
        if (job.tops[0].n > 0) {
            memcpy(hits, job.tops[0].entries, job.tops[0].n * sizeof(*hits));
        }
        answer->n_hits = job.tops[0].n;
        answer->scanned = request->filtered;
        answer->exact = true;
        answer->engine = index_engine_scan.name;
    }
    for (size_t t = 0; t < n_workers; t++) {
        index_top_clear(&job.tops[t]);
    }
    im_free(job.tops);
    return rc;
}

const index_engine index_engine_scan = {"scan", NULL, NULL, scan_search, scan_search, NULL};
