/* index/audit.c — how much of the exact answer an index finds, measured on queries of the two kinds
 * (texts lie elsewhere in the space than pictures, and are harder), and the least effort that
 * finds as much as is wanted. */
#include "base/base.h"
#include "base/clock.h"
#include "index/index_internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define Z_95 1.959964 /* of the normal distribution, two-sided 95 % */

/* The exact answers to one kind's queries. */
typedef struct audit_kind {
    const float *vectors; /* [n, dim] */
    size_t n;
    const uint64_t *items; /* [n] left out; NULL: none */
    float *levels;         /* [n] score of the last exact hit */
    size_t *n_wanted;      /* [n] exact hits */
    double exact_ms;       /* median */
} audit_kind;

typedef struct audit_job {
    im_index *index;
    const im_audit_queries *queries;
    im_hit *hits; /* [k] */
    double *ms;   /* [most queries of a kind] */
    audit_kind kinds[2];
} audit_job;

static void job_clear(audit_job *job)
{
    for (size_t i = 0; i < 2; i++) {
        im_free(job->kinds[i].levels);
        im_free(job->kinds[i].n_wanted);
    }
    im_free(job->hits);
    im_free(job->ms);
}

/* Query q of a kind; its time goes to job->ms[q]. */
static im_code search_one(const audit_job *job, const index_engine *engine, const audit_kind *kind,
                          size_t q, const im_faiss_effort *effort, im_index_answer *answer,
                          im_error *err)
{
    im_index_part part = {kind->vectors + q * job->index->layout.dim, 1, 0};
    im_index_query query = {.parts = &part,
                            .n_parts = 1,
                            .k = job->queries->k,
                            .bitmap = job->queries->bitmap,
                            .leave_out = kind->items != NULL ? kind->items[q] : IM_NO_ITEM,
                            .mode = (im_search_mode)job->queries->mode};
    uint64_t start = im_clock_ns();
    im_code rc = index_search_with(job->index, engine, &query, effort, job->hits, answer, err);
    job->ms[q] = im_clock_ms_since(start);
    return rc;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
    if (n == 0) {
        return 0;
    }
    qsort(values, n, sizeof(*values), by_value);
    return values[n / 2];
}

static im_code job_init(audit_job *job, im_index *index, const im_audit_queries *queries,
                        im_error *err)
{
    memset(job, 0, sizeof(*job));
    job->index = index;
    job->queries = queries;
    job->kinds[0].vectors = queries->texts;
    job->kinds[0].n = queries->n_texts;
    job->kinds[1].vectors = queries->pictures;
    job->kinds[1].n = queries->n_pictures;
    job->kinds[1].items = queries->items;
    if (queries->k < 1 || queries->k > IM_LIMIT_OFFSET_PLUS_K) {
        return im_fail(err, IM_ERR_INVALID, "k of an audit is %zu, expected 1 to %u", queries->k,
                       IM_LIMIT_OFFSET_PLUS_K);
    }
    job->hits = im_alloc(queries->k, sizeof(*job->hits));
    job->ms = im_alloc(IM_MAX(queries->n_texts, queries->n_pictures), sizeof(*job->ms));
    bool is_short = job->hits == NULL || job->ms == NULL;
    for (size_t i = 0; i < 2; i++) {
        audit_kind *kind = &job->kinds[i];
        kind->levels = im_alloc(kind->n, sizeof(*kind->levels));
        kind->n_wanted = im_alloc(kind->n, sizeof(*kind->n_wanted));
        is_short = is_short || kind->levels == NULL || kind->n_wanted == NULL;
    }
    return is_short ? im_fail(err, IM_ERR_NOMEM, "no memory for an audit") : IM_OK;
}

/* Asks the scan, once for all efforts. */
static im_code find_truth(audit_job *job, im_error *err)
{
    im_index_answer answer;
    for (size_t i = 0; i < 2; i++) {
        audit_kind *kind = &job->kinds[i];
        for (size_t q = 0; q < kind->n; q++) {
            im_code rc = search_one(job, &index_engine_scan, kind, q, NULL, &answer, err);
            if (rc != IM_OK) {
                return rc;
            }
            kind->n_wanted[q] = answer.n_hits;
            kind->levels[q] = answer.n_hits > 0 ? job->hits[answer.n_hits - 1].score : 0.0F;
        }
        kind->exact_ms = median(job->ms, kind->n);
    }
    return IM_OK;
}

/* Wilson's interval for a share p of n independent trials. */
static void wilson(double p, double n, double *out_low, double *out_high)
{
    double z2 = Z_95 * Z_95;
    double middle = (p + z2 / (2 * n)) / (1 + z2 / n);
    double half = Z_95 * sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n);
    *out_low = p > 0 ? IM_MAX(middle - half, 0.0) : 0; /* exactly, whatever was rounded */
    *out_high = p < 1 ? IM_MIN(middle + half, 1.0) : 1;
}

/* The neighbours of one query are found or missed together, so that they count for fewer than they
 * are: by the design effect, the variance of the queries' recalls over that of independent
 * neighbours (Kish). Without any variance a query counts as one trial.
 * @param sum_squares of (found - recall * wanted) over the queries */
static void set_interval(im_audit_recall *out, double sum_squares)
{
    double wanted = (double)out->n_wanted;
    double queries = (double)out->n_queries;
    out->recall = 0;
    out->low = 0;
    out->high = 1;
    if (out->n_wanted == 0) {
        return;
    }
    double p = (double)out->n_found / wanted;
    double per_query = wanted / queries;
    double effect = per_query;
    if (p > 0 && p < 1 && queries > 1) {
        effect = sum_squares / (queries - 1) * queries / (wanted * p * (1 - p));
        effect = IM_MIN(IM_MAX(effect, 1.0), per_query);
    }
    out->recall = p;
    wilson(p, wanted / effect, &out->low, &out->high);
}

static im_code measure_kind(audit_job *job, const audit_kind *kind, const im_faiss_effort *effort,
                            im_audit_recall *out, im_error *err)
{
    double found_found = 0, found_wanted = 0, wanted_wanted = 0;
    im_index_answer answer;
    memset(out, 0, sizeof(*out));
    for (size_t q = 0; q < kind->n; q++) {
        im_code rc = search_one(job, job->index->engine, kind, q, effort, &answer, err);
        if (rc != IM_OK) {
            return rc;
        }
        size_t n = 0;
        while (n < answer.n_hits && n < kind->n_wanted[q] &&
               job->hits[n].score >= kind->levels[q]) {
            n++;
        }
        double found = (double)n, wanted = (double)kind->n_wanted[q];
        out->n_found += n;
        out->n_wanted += kind->n_wanted[q];
        out->n_queries += kind->n_wanted[q] > 0 ? 1 : 0;
        found_found += found * found;
        found_wanted += found * wanted;
        wanted_wanted += wanted * wanted;
    }
    double p = out->n_wanted > 0 ? (double)out->n_found / (double)out->n_wanted : 0;
    set_interval(out, IM_MAX(found_found - 2 * p * found_wanted + p * p * wanted_wanted, 0.0));
    return IM_OK;
}

static im_code measure(audit_job *job, const im_faiss_effort *effort, im_audit *out, im_error *err)
{
    im_audit_recall *recalls[2] = {&out->texts, &out->pictures};
    im_audit_times *times = job->queries->times;
    for (size_t i = 0; i < 2; i++) {
        im_code rc = measure_kind(job, &job->kinds[i], effort, recalls[i], err);
        if (rc != IM_OK) {
            return rc;
        }
        if (times != NULL) {
            times[i] = (im_audit_times){job->kinds[i].exact_ms, median(job->ms, job->kinds[i].n)};
        }
    }
    return IM_OK;
}

im_code im_index_audit(im_index *index, const im_audit_queries *queries, im_audit *out_audit,
                       im_error *err)
{
    audit_job job;
    im_audit audit;
    im_code rc = job_init(&job, index, queries, err);
    if (rc == IM_OK) {
        rc = find_truth(&job, err);
    }
    if (rc == IM_OK) {
        rc = measure(&job, NULL, &audit, err);
    }
    if (rc == IM_OK) {
        *out_audit = audit;
    }
    job_clear(&job);
    return rc;
}

/* ---- proposing ---- */

static bool is_reached(const im_audit_recall *recall, double wanted)
{
    return recall->n_wanted == 0 || recall->recall >= wanted;
}

/* The rungs: the tries double; the candidates, which cost little, follow when tries alone do not
 * help any more. */
static im_code climb(audit_job *job, double wanted, im_audit_proposal *out, im_error *err)
{
    bool is_ivf = job->index->engine == &index_engine_ivf;
    size_t first = is_ivf ? 1 : 64;
    size_t last = is_ivf ? IM_MAX(index_faiss_lists(job->index), (size_t)1) : 4096;
    bool is_last = false;
    for (size_t tries = first; !is_last; tries *= 2) {
        is_last = tries >= last;
        tries = IM_MIN(tries, last);
        for (size_t candidates = 4; candidates <= (is_last ? 64u : 4u); candidates *= 4) {
            out->effort = (im_faiss_effort){.n_probe = is_ivf ? tries : 0,
                                            .ef_search = is_ivf ? 0 : tries,
                                            .candidates = candidates};
            im_code rc = measure(job, &out->effort, &out->audit, err);
            if (rc != IM_OK) {
                return rc;
            }
            out->reached =
                is_reached(&out->audit.texts, wanted) && is_reached(&out->audit.pictures, wanted);
            if (out->reached) {
                return IM_OK;
            }
        }
    }
    return IM_OK;
}

im_code im_index_audit_propose(im_index *index, const im_audit_queries *queries, double wanted,
                               im_audit_proposal *out_proposal, im_error *err)
{
    audit_job job;
    im_audit_proposal proposal;
    memset(&proposal, 0, sizeof(proposal));
    if (!(wanted > 0 && wanted <= 1)) {
        return im_fail(err, IM_ERR_INVALID, "the wanted recall is %g, expected above 0, at most 1",
                       wanted);
    }
    if (index->engine != &index_engine_ivf && index->engine != &index_engine_hnsw) {
        return im_fail(err, IM_ERR_UNSUPPORTED, "engine '%s' has no effort to choose",
                       index->engine->name);
    }
    im_code rc = job_init(&job, index, queries, err);
    if (rc == IM_OK) {
        rc = find_truth(&job, err);
    }
    if (rc == IM_OK) {
        rc = climb(&job, wanted, &proposal, err);
    }
    if (rc == IM_OK) {
        *out_proposal = proposal;
    }
    job_clear(&job);
    return rc;
}
