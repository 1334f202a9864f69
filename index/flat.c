/* index/flat.c — the FAISS engine: an IndexFlat proposes candidates, our own score decides. FAISS
 * sums in another order, so its k best may differ from ours in the last bits and at ties: more are
 * asked for until no row outside can reach the k-th hit. The answer equals the scan's, hit by hit.
 *
 * When FAISS fails in a search the scan answers in its place and the answer says so. */
#include "base/base.h"
#include "base/log.h"
#include "index/faiss_internal.h"
#include "index/index_internal.h"
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#define ADD_ROWS 1024u
#define MARGIN 64u /* asked for beyond k at first */

typedef struct flat_engine {
    const im_faiss_engine *faiss;
    void *index;
    uint64_t bytes;
} flat_engine;

/* What one search works with. */
typedef struct flat_work {
    uint64_t *selected;   /* [words] alive and passing the bitmap */
    uint64_t *candidates; /* [words] */
    float *scores;        /* [asked] */
    int64_t *labels;      /* [asked] */
} flat_work;

/* ---- building ---- */

/* Rows of slots [first, first + n) one behind the other; those not alive are zeros, so that label
 * and slot stay the same number. */
static im_code gather(im_index *index, uint64_t first, size_t n, float *out, im_error *err)
{
    size_t dim = index->layout.dim;
    for (size_t i = 0; i < n; i++) {
        uint64_t slot = first + i;
        uint64_t bit = UINT64_C(1) << (slot % WORD_BITS);
        size_t at = (size_t)(slot / WORD_BITS);
        if ((index_selected(index, NULL, at) & bit) == 0) {
            memset(out + i * dim, 0, dim * sizeof(float));
            continue;
        }
        if (index_unsound(index, at, bit) != 0) {
            return index_damaged_row(index, slot, err);
        }
        memcpy(out + i * dim, index_row_at(index, slot), dim * sizeof(float));
    }
    return index_check_map(index, err);
}

static im_code add_rows(im_index *index, flat_engine *flat, im_error *err)
{
    char message[IM_FAISS_MESSAGE_BYTES] = "";
    float *rows = im_alloc(ADD_ROWS, index->layout.dim * sizeof(float));
    im_code rc = IM_OK;
    if (rows == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory to build the FAISS engine");
    }
    for (uint64_t at = 0; rc == IM_OK && at < index->n_rows; at += ADD_ROWS) {
        size_t n = (size_t)IM_MIN((uint64_t)ADD_ROWS, index->n_rows - at);
        rc = gather(index, at, n, rows, err);
        if (rc == IM_OK) {
            im_faiss_result result = flat->faiss->add(flat->index, rows, n, message);
            rc = result == IM_FAISS_OK ? IM_OK : faiss_error(result, message, err);
        }
    }
    im_free(rows);
    return rc;
}

static void flat_close(im_index *index)
{
    flat_engine *flat = index->engine_data;
    if (flat != NULL && flat->index != NULL) {
        flat->faiss->close(flat->index);
    }
    im_free(flat);
    index->engine_data = NULL;
}

static im_code flat_open(im_index *index, im_error *err)
{
    char message[IM_FAISS_MESSAGE_BYTES] = "";
    const im_faiss_engine *faiss = NULL;
    im_code rc = index_engine_load(&faiss, err);
    if (rc != IM_OK) {
        return rc;
    }
    flat_engine *flat = im_alloc_zero(1, sizeof(*flat));
    if (flat == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the FAISS engine");
    }
    index->engine_data = flat; /* freed by flat_close, also after a failure below */
    flat->faiss = faiss;
    im_faiss_result result = faiss->open(index->layout.dim, &flat->index, message);
    if (result != IM_FAISS_OK) {
        flat->index = NULL;
        return faiss_error(result, message, err);
    }
    flat->bytes = index->n_rows * index->layout.dim * sizeof(float);
    return add_rows(index, flat, err);
}

static uint64_t flat_private_bytes(const im_index *index)
{
    const flat_engine *flat = index->engine_data;
    return flat->bytes;
}

/* ---- searching ---- */

static void work_clear(flat_work *work)
{
    im_free(work->selected);
    im_free(work->candidates);
    im_free(work->scores);
    im_free(work->labels);
}

static im_code work_init(flat_work *work, const im_index *index, const uint64_t *bitmap,
                         im_error *err)
{
    size_t n_words = index_words(index);
    memset(work, 0, sizeof(*work));
    work->selected = im_alloc(n_words, sizeof(uint64_t));
    work->candidates = im_alloc(n_words, sizeof(uint64_t));
    if (work->selected == NULL || work->candidates == NULL) {
        work_clear(work);
        return im_fail(err, IM_ERR_NOMEM, "no memory for a search of %zu words", n_words);
    }
    for (size_t at = 0; at < n_words; at++) {
        work->selected[at] = index_selected(index, bitmap, at);
    }
    return IM_OK;
}

static im_code work_room(flat_work *work, size_t n, im_error *err)
{
    float *scores = im_realloc(work->scores, n, sizeof(float));
    work->scores = scores != NULL ? scores : work->scores;
    int64_t *labels = im_realloc(work->labels, n, sizeof(int64_t));
    work->labels = labels != NULL ? labels : work->labels;
    if (scores == NULL || labels == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for %zu candidates", n);
    }
    return IM_OK;
}

/* How far our score of a row may be from the one that follows from FAISS's inner product: both sum
 * dim rounded products in float, in different orders (|row| <= 1.001). */
static double score_slack(const index_scoring *scoring, size_t fold)
{
    const float *vector = scoring->folds + fold * index_padded(scoring->dim);
    double sum = 0;
    for (size_t i = 0; i < scoring->dim; i++) {
        sum += (double)vector[i] * (double)vector[i];
    }
    double size = 1.001 * sqrt(sum) + fabs((double)scoring->shifts[fold]);
    return (double)(scoring->dim + 32) * (double)FLT_EPSILON * size + (double)FLT_MIN;
}

/* Adds the `asked` best rows of each fold to the candidates. *out_bound: no row outside them has a
 * score above it. */
static im_faiss_result propose(const im_index *index, const index_scoring *scoring, size_t asked,
                               flat_work *work, double *out_bound, char *message)
{
    const flat_engine *flat = index->engine_data;
    size_t n_bytes = index_words(index) * sizeof(uint64_t);
    double bound = 0;
    for (size_t f = 0; f < scoring->n; f++) {
        const float *fold = scoring->folds + f * index_padded(scoring->dim);
        im_faiss_result result =
            flat->faiss->search(flat->index, fold, asked, (const uint8_t *)work->selected, n_bytes,
                                work->scores, work->labels, message);
        if (result != IM_FAISS_OK) {
            return result;
        }
        size_t n = 0;
        for (; n < asked && work->labels[n] >= 0; n++) {
            uint64_t slot = (uint64_t)work->labels[n];
            if (slot >= index->n_rows) {
                snprintf(message, IM_FAISS_MESSAGE_BYTES, "it names a row that does not exist");
                return IM_FAISS_FAILED;
            }
            work->candidates[slot / WORD_BITS] |= UINT64_C(1) << (slot % WORD_BITS);
        }
        if (n < asked) { /* never more are asked for than pass */
            snprintf(message, IM_FAISS_MESSAGE_BYTES, "%zu rows found, expected %zu", n, asked);
            return IM_FAISS_FAILED;
        }
        double last =
            (double)work->scores[n - 1] - (double)scoring->shifts[f] + score_slack(scoring, f);
        bool wider = scoring->combine == IM_COMBINE_ALL ? last < bound : last > bound;
        bound = f == 0 || wider ? last : bound;
    }
    *out_bound = bound;
    return IM_FAISS_OK;
}

static im_code decide(im_index *index, const index_request *request, const uint64_t *candidates,
                      im_hit *hits, im_index_answer *answer, im_error *err)
{
    index_request own = *request;
    own.bitmap = candidates;
    own.filtered = index_count_selected(index, candidates);
    answer->n_hits = 0;
    if (own.filtered > 0) {
        im_code rc = index_engine_scan.search(index, &own, hits, answer, err);
        if (rc != IM_OK) {
            return rc;
        }
    }
    answer->scanned = request->filtered;
    answer->engine = index_engine_flat.name;
    return IM_OK;
}

/* True when no row outside the candidates can be a hit. */
static bool is_settled(const im_index_query *query, const im_hit *hits, size_t n_hits, double bound)
{
    if (query->has_floor && bound < (double)query->floor) {
        return true;
    }
    return n_hits == query->k && (double)hits[n_hits - 1].score > bound;
}

static im_code scan_instead(im_index *index, const index_request *request, const char *message,
                            im_hit *hits, im_index_answer *answer, im_error *err)
{
    im_log(IM_LOG_DEBUG, "faiss_failed", "message=%s", message);
    return index_engine_scan.search(index, request, hits, answer, err);
}

static im_code flat_search(im_index *index, const index_request *request, im_hit *hits,
                           im_index_answer *answer, im_error *err)
{
    char message[IM_FAISS_MESSAGE_BYTES] = "";
    flat_work work;
    size_t n_words = index_words(index);
    size_t filtered = (size_t)request->filtered;
    size_t asked = IM_MIN(request->query->k + MARGIN, filtered);
    bool settled = false;
    im_code rc = work_init(&work, index, request->bitmap, err);
    if (rc != IM_OK) {
        return rc;
    }
    while (rc == IM_OK && !settled) {
        double bound = 0;
        memset(work.candidates, 0, n_words * sizeof(uint64_t));
        rc = work_room(&work, asked, err);
        if (rc != IM_OK) {
            break;
        }
        im_faiss_result result = propose(index, request->scoring, asked, &work, &bound, message);
        if (result != IM_FAISS_OK) {
            rc = scan_instead(index, request, message, hits, answer, err);
            break;
        }
        rc = decide(index, request, work.candidates, hits, answer, err);
        settled = rc == IM_OK &&
                  (asked == filtered || is_settled(request->query, hits, answer->n_hits, bound));
        asked = IM_MIN(4 * asked, filtered);
    }
    work_clear(&work);
    return rc;
}

/* FAISS's own range search has no selector: it looks at all rows, the bitmap comes after. */
static im_code flat_range(im_index *index, const index_request *request, im_hit *hits,
                          im_index_answer *answer, im_error *err)
{
    const flat_engine *flat = index->engine_data;
    const index_scoring *scoring = request->scoring;
    char message[IM_FAISS_MESSAGE_BYTES] = "";
    flat_work work;
    size_t n_words = index_words(index);
    im_faiss_result result = IM_FAISS_OK;
    im_code rc = work_init(&work, index, request->bitmap, err);
    if (rc != IM_OK) {
        return rc;
    }
    memset(work.candidates, 0, n_words * sizeof(uint64_t));
    for (size_t f = 0; result == IM_FAISS_OK && f < scoring->n; f++) {
        double radius = (double)request->query->floor + (double)scoring->shifts[f] -
                        2 * score_slack(scoring, f);
        const float *fold = scoring->folds + f * index_padded(scoring->dim);
        result = flat->faiss->range(flat->index, fold, nextafterf((float)radius, -INFINITY),
                                    work.candidates, index->n_rows, message);
    }
    if (result != IM_FAISS_OK) {
        rc = scan_instead(index, request, message, hits, answer, err);
    } else {
        for (size_t at = 0; at < n_words; at++) {
            work.candidates[at] &= work.selected[at];
        }
        rc = decide(index, request, work.candidates, hits, answer, err);
        answer->scanned = index->n_rows;
    }
    work_clear(&work);
    return rc;
}

const index_engine index_engine_flat = {"flat",      flat_open,  flat_close,
                                        flat_search, flat_range, flat_private_bytes};
