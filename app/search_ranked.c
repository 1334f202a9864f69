/* app/search_ranked.c — pages of hits by score alone: the index gives them, for all queries of one
 * call with one pass over its codes. */
#include "app/search_internal.h"
#include "base/clock.h"

bool search_is_ranked(const search_job *job)
{
    return job->answer->n_parts > 0 && job->asked->sort_column == NULL &&
           job->asked->group_column == NULL && !job->asked->has_min_score;
}

void search_set_facts(search_job *job, const im_index_answer *facts)
{
    im_answer *answer = job->answer;
    answer->scanned = facts->scanned;
    answer->exact = facts->exact;
    answer->engine = facts->engine;
    if (facts->codes == IM_CODES_DAMAGED) {
        search_warn(answer, "the codes of the index are damaged: slower, and as right as ever "
                            "(imago rebuild makes them anew)");
    }
}

im_index_query search_index_query(const search_job *job)
{
    uint64_t page = job->asked->k + job->asked->offset;
    return (im_index_query){.parts = job->plan.parts,
                            .n_parts = job->plan.n_parts,
                            .combine = job->answer->combine,
                            .k = (size_t)IM_MIN(page + 1, (uint64_t)IM_LIMIT_OFFSET_PLUS_K),
                            .bitmap = job->rows,
                            .leave_out =
                                job->how->leave_out != 0 ? job->how->leave_out : IM_NO_ITEM,
                            .mode = job->asked->exact  ? IM_MODE_EXACT
                                    : job->asked->fast ? IM_MODE_FAST
                                                       : IM_MODE_AUTO};
}

static im_code finish_ranked(im_library *library, search_job *job, const im_index_query *query,
                             const im_hit *found, const im_index_answer *facts, im_error *err)
{
    static const hit_order by_score = {0};
    size_t page = (size_t)(job->asked->k + job->asked->offset);
    size_t end = IM_MIN(page, facts->n_hits);
    size_t skip = IM_MIN((size_t)job->asked->offset, end);
    bool more =
        facts->n_hits > page || (query->k == page && end == page); /* not known at the limit */
    search_set_facts(job, facts);
    job->answer->has_total = true;
    job->answer->total = job->n_rows - job->left_out;
    im_code rc = search_fill(library, job, found + skip, end - skip, job->asked->offset + 1, err);
    if (rc == IM_OK && more && end > skip) {
        rc = search_put_cursor(library, job, &by_score, &found[end - 1], err);
    }
    return rc;
}

/* Queries of one index, answered together. */
typedef struct ranked_batch {
    search_job **jobs;       /* [n] */
    im_index_query *queries; /* [n] */
    im_index_answer *facts;  /* [n] */
    im_hit **hits;           /* [n] pointers, each to [query.k] */
    size_t n;
} ranked_batch;

static void clear_batch(ranked_batch *batch)
{
    for (size_t i = 0; batch->hits != NULL && i < batch->n; i++) {
        im_free(batch->hits[i]);
    }
    im_free(batch->jobs);
    im_free(batch->queries);
    im_free(batch->facts);
    im_free(batch->hits);
}

static im_code open_batch(ranked_batch *batch, size_t n, im_error *err)
{
    *batch = (ranked_batch){.jobs = im_alloc_zero(n, sizeof(search_job *)),
                            .queries = im_alloc_zero(n, sizeof(im_index_query)),
                            .facts = im_alloc_zero(n, sizeof(im_index_answer)),
                            .hits = im_alloc_zero(n, sizeof(im_hit *))};
    return batch->jobs != NULL && batch->queries != NULL && batch->facts != NULL &&
                   batch->hits != NULL
               ? IM_OK
               : im_fail(err, IM_ERR_NOMEM, "no memory for %zu queries", n);
}

/* Adds a job whose query that index answers; a cursor that is none is the job's own failure. */
static im_code batch_job(im_library *library, ranked_batch *batch, search_job *job,
                         im_search_mode mode, im_error *err)
{
    hit_order order = {0};
    job->rc = search_read_cursor(library, job, &order);
    if (job->rc != IM_OK) {
        return IM_OK;
    }
    im_index_query *query = &batch->queries[batch->n];
    *query = search_index_query(job);
    query->mode = mode;
    query->has_after = order.has_cursor;
    query->after_score = order.cursor.score;
    query->after_item = order.cursor.item;
    batch->jobs[batch->n] = job;
    batch->hits[batch->n] = im_alloc(query->k, sizeof(im_hit));
    return batch->hits[batch->n++] != NULL
               ? IM_OK
               : im_fail(err, IM_ERR_NOMEM, "no memory for %zu hits", query->k);
}

static im_code run_batch(im_library *library, im_index *index, ranked_batch *batch, im_error *err)
{
    if (batch->n == 0) {
        return IM_OK;
    }
    uint64_t start = im_clock_ns();
    im_code rc =
        im_index_search_many(index, batch->queries, batch->n, batch->hits, batch->facts, err);
    double search_ms = im_clock_ms_since(start) / (double)batch->n;
    for (size_t i = 0; rc == IM_OK && i < batch->n; i++) {
        batch->jobs[i]->answer->search_ms += search_ms;
        rc = finish_ranked(library, batch->jobs[i], &batch->queries[i], batch->hits[i],
                           &batch->facts[i], err);
    }
    return rc;
}

im_code search_ranked(im_library *library, search_job *const *jobs, size_t n, im_error *err)
{
    ranked_batch own = {0}; /* imago's own scans answer … */
    ranked_batch ann = {0}; /* … or the FAISS file that the library was told to use */
    im_index *other = NULL;
    im_code rc = open_batch(&own, n, err);
    if (rc == IM_OK) {
        rc = open_batch(&ann, n, err);
    }
    for (size_t i = 0; rc == IM_OK && i < n; i++) {
        const im_events events = search_events(jobs[i]->answer);
        im_search_mode mode = search_index_query(jobs[i]).mode;
        im_index *index = NULL;
        im_error cause = IM_ERROR_INIT;
        rc = engine_index(library, jobs[i]->rows, &events, &mode, &index, &cause);
        if (search_own_fault(jobs[i], rc, &cause)) {
            rc = IM_OK;
            continue;
        }
        if (rc != IM_OK && err != NULL) {
            *err = cause;
        }
        other = index != library->index ? index : other;
        if (rc == IM_OK) {
            rc = batch_job(library, index == library->index ? &own : &ann, jobs[i], mode, err);
        }
    }
    if (rc == IM_OK) {
        rc = run_batch(library, library->index, &own, err);
    }
    if (rc == IM_OK) {
        rc = run_batch(library, other, &ann, err);
    }
    clear_batch(&own);
    clear_batch(&ann);
    return rc;
}
