/* index/search.c — the searching half of the door: checks a query, hands it to the engine, pads the
 * answer. */
#include "base/base.h"
#include "index/index_internal.h"
#include "index/tiered_internal.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

static im_code check_query(const im_index_query *query, im_error *err)
{
    if (query->k < 1 || query->k > IM_LIMIT_OFFSET_PLUS_K) {
        return im_fail(err, IM_ERR_INVALID, "k is %zu, expected 1 to %u", query->k,
                       IM_LIMIT_OFFSET_PLUS_K);
    }
    if (query->has_after && isnan(query->after_score)) {
        return im_fail(err, IM_ERR_INVALID, "the cursor's score is not a number");
    }
    if ((unsigned)query->mode > (unsigned)IM_MODE_FAST) {
        return im_fail(err, IM_ERR_INVALID, "search mode %u of a query, expected 0 to 2",
                       (unsigned)query->mode);
    }
    if (query->has_floor && isnan(query->floor)) {
        return im_fail(err, IM_ERR_INVALID, "the lowest score asked for is not a number");
    }
    return IM_OK;
}

typedef im_code (*engine_fn)(im_index *index, const index_request *request, im_hit *hits,
                             im_index_answer *answer, im_error *err);

static void pad(im_hit *hits, size_t from, size_t k)
{
    for (size_t i = from; i < k; i++) {
        hits[i] = (im_hit){IM_NO_ITEM, IM_NO_ITEM, 0.0F};
    }
}

/* Checks and folds one query; *out is whole after IM_OK and refers to `scoring`. */
static im_code prepare(im_index *index, const im_index_query *query, index_scoring *scoring,
                       index_request *out, im_index_answer *answer, im_error *err)
{
    im_code rc = check_query(query, err);
    if (rc == IM_OK) {
        rc = index_scoring_init(scoring, index->kernels, query, index->layout.dim, err);
    }
    if (rc == IM_OK) {
        *answer = (im_index_answer){.exact = true, .engine = index->engine->name};
        answer->filtered = index_count_selected(index, query->bitmap);
        *out = (index_request){query, scoring, query->bitmap, answer->filtered, NULL};
    }
    return rc;
}

static im_code run(im_index *index, const im_index_query *query, engine_fn engine,
                   const im_faiss_effort *effort, im_hit *hits, im_index_answer *out_answer,
                   im_error *err)
{
    index_scoring scoring;
    index_request request;
    im_index_answer answer;
    im_code rc = prepare(index, query, &scoring, &request, &answer, err);
    if (rc != IM_OK) {
        return rc;
    }
    if (answer.filtered > 0) {
        request.effort = effort;
        rc = engine(index, &request, hits, &answer, err);
    }
    if (rc == IM_OK) {
        rc = index_check_map(index, err); /* after the last read: what was read was the file's */
    }
    if (rc == IM_OK) {
        pad(hits, answer.n_hits, query->k);
        answer.codes = (im_codes)atomic_load(&index->codes);
        *out_answer = answer;
    }
    index_scoring_clear(&scoring);
    return rc;
}

im_code im_index_search(im_index *index, const im_index_query *query, im_hit *hits,
                        im_index_answer *out_answer, im_error *err)
{
    return run(index, query, index->engine->search, NULL, hits, out_answer, err);
}

im_code im_index_range(im_index *index, const im_index_query *query, im_hit *hits,
                       im_index_answer *out_answer, im_error *err)
{
    if (!query->has_floor) {
        return im_fail(err, IM_ERR_INVALID, "a range search needs a lowest score");
    }
    return run(index, query, index->engine->range, NULL, hits, out_answer, err);
}

im_code index_search_with(im_index *index, const index_engine *engine, const im_index_query *query,
                          const im_faiss_effort *effort, im_hit *hits, im_index_answer *out_answer,
                          im_error *err)
{
    return run(index, query, engine->search, effort, hits, out_answer, err);
}

/* Engines that gain nothing from several queries at once. */
static im_code one_by_one(im_index *index, const index_request *requests, size_t n,
                          im_hit *const *hits, im_index_answer *answers, im_error *err)
{
    im_code rc = IM_OK;
    for (size_t i = 0; i < n && rc == IM_OK; i++) {
        if (requests[i].filtered > 0) {
            rc = index->engine->search(index, &requests[i], hits[i], &answers[i], err);
        }
    }
    return rc;
}

im_code im_index_search_many(im_index *index, const im_index_query *queries, size_t n,
                             im_hit *const *hits, im_index_answer *answers, im_error *err)
{
    index_scoring *scorings = im_alloc_zero(n, sizeof(*scorings));
    index_request *requests = im_alloc(n, sizeof(*requests));
    im_code rc = IM_OK;
    size_t ready = 0;
    if (scorings == NULL || requests == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for %zu queries", n);
    }
    for (; rc == IM_OK && ready < n; ready++) {
        rc = prepare(index, &queries[ready], &scorings[ready], &requests[ready], &answers[ready],
                     err);
    }
    if (rc == IM_OK) {
        rc = index->engine == &index_engine_tiered
                 ? index_tiered_many(index, requests, n, hits, answers, err)
                 : one_by_one(index, requests, n, hits, answers, err);
    }
    if (rc == IM_OK) {
        rc = index_check_map(index, err);
    }
    for (size_t i = 0; i < n && rc == IM_OK; i++) {
        pad(hits[i], answers[i].n_hits, queries[i].k);
        answers[i].codes = (im_codes)atomic_load(&index->codes);
    }
    for (size_t i = 0; i < ready; i++) {
        index_scoring_clear(&scorings[i]);
    }
    im_free(requests);
    im_free(scorings);
    return rc;
}

/* Plain cosine of each part with the row. */
static im_code part_cosines(const im_index *index, const im_index_query *query, const float *row,
                            float *out_cosines, im_error *err)
{
    size_t dim = index->layout.dim;
    float *padded = im_alloc_aligned(index_padded(dim), sizeof(float));
    if (padded == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a query vector of %zu values", dim);
    }
    memset(padded, 0, index_padded(dim) * sizeof(float));
    for (size_t p = 0; p < query->n_parts; p++) {
        memcpy(padded, query->parts[p].vector, dim * sizeof(float));
        out_cosines[p] = index->kernels->dot(padded, row, dim);
    }
    im_free(padded);
    return IM_OK;
}

im_code im_index_score(im_index *index, const im_index_query *query, uint64_t slot,
                       float *out_score, float *out_cosines, im_error *err)
{
    index_scoring scoring;
    const float *row = NULL;
    float score = 0;
    im_code rc = im_index_row(index, slot, &row, NULL, err);
    if (rc == IM_OK) {
        rc = index_scoring_init(&scoring, index->kernels, query, index->layout.dim, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    index_scoring_rows(&scoring, &row, 1, &score);
    if (out_cosines != NULL) {
        rc = part_cosines(index, query, row, out_cosines, err);
    }
    if (rc == IM_OK) {
        rc = index_check_map(index, err);
    }
    if (rc == IM_OK) {
        *out_score = score;
    }
    index_scoring_clear(&scoring);
    return rc;
}
