/* vlm/calibrate.c — how much a judge may count: fitted by nDCG on queries with known answers, and
 * believed only where it helps on queries it was not fitted on. */
#include "vlm/vlm_internal.h"

#include <math.h>

#define DEPTH 10u
#define FOLDS 5u
#define LEAST_QUERIES 10u
#define BELIEVE 2.0 /* standard errors that the gain must be above 0 */

static const double weight_grid[] = {0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0};
static const double scale_grid[] = {0.25, 0.5, 1, 2, 4}; /* over the deviation of s */

/* ---- nDCG ---- */

static double dcg(const double *gain, const size_t *order, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < IM_MIN(n, (size_t)DEPTH); i++) {
        sum += (exp2(gain[order[i]]) - 1) / log2((double)i + 2);
    }
    return sum;
}

typedef struct scratch {
    double *final; /* [most] */
    size_t *order; /* [most] */
    bool *none;    /* [most] false */
} scratch;

/* nDCG@10 of one query with these weights; the ideal order is by gain. */
static double ndcg(const im_vlm_judged *q, const im_vlm_weights *weights, scratch *t)
{
    const im_vlm_weights whole = {.scale = 1};
    im_vlm_blend(&whole, q->gain, q->gain, t->none, q->n, t->final, t->order);
    double ideal = dcg(q->gain, t->order, q->n);
    im_vlm_blend(weights, q->z, q->s, q->has, q->n, t->final, t->order);
    return ideal > 0 ? dcg(q->gain, t->order, q->n) / ideal : 1;
}

/* ---- fitting ---- */

/* Mean and deviation of s over the queries outside `fold`. */
static void moments(const im_vlm_judged *queries, size_t n, size_t fold, double *mean, double *sd)
{
    double sum = 0;
    double squares = 0;
    double count = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; i % FOLDS != fold && j < queries[i].n; j++) {
            if (queries[i].has[j]) {
                double s = IM_MAX(-20.0, IM_MIN(20.0, queries[i].s[j]));
                sum += s;
                squares += s * s;
                count++;
            }
        }
    }
    *mean = count > 0 ? sum / count : 0;
    double variance = count > 0 ? squares / count - *mean * *mean : 0;
    *sd = variance > 1e-12 ? sqrt(variance) : 1;
}

static double mean_ndcg(const im_vlm_judged *queries, size_t n, size_t fold,
                        const im_vlm_weights *weights, scratch *t)
{
    double sum = 0;
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (i % FOLDS != fold) {
            sum += ndcg(&queries[i], weights, t);
            count++;
        }
    }
    return count > 0 ? sum / (double)count : 0;
}

/* The best of the grid on the queries outside `fold` (FOLDS: all); weight 0 where none is better
 * than the first stage. */
static im_vlm_weights fit(const im_vlm_judged *queries, size_t n, size_t fold, scratch *t)
{
    double mean = 0;
    double sd = 1;
    moments(queries, n, fold, &mean, &sd);
    im_vlm_weights best = {.offset = mean, .scale = 1 / sd, .weight = 0, .calibrated = true};
    double best_ndcg = mean_ndcg(queries, n, fold, &best, t);
    for (size_t i = 0; i < IM_COUNT(weight_grid); i++) {
        for (size_t j = 0; j < IM_COUNT(scale_grid); j++) {
            im_vlm_weights tried = {.offset = mean,
                                    .scale = scale_grid[j] / sd,
                                    .weight = weight_grid[i],
                                    .calibrated = true};
            double value = mean_ndcg(queries, n, fold, &tried, t);
            if (value > best_ndcg + 1e-9) {
                best_ndcg = value;
                best = tried;
            }
        }
    }
    return best;
}

/* What the weights fitted on four fifths do to the queries of the fifth. */
static void cross_validate(const im_vlm_judged *queries, size_t n, scratch *t, im_vlm_fit *out)
{
    const im_vlm_weights none = {.scale = 1, .calibrated = true};
    double sum = 0;
    double squares = 0;
    for (size_t fold = 0; fold < FOLDS; fold++) {
        im_vlm_weights weights = fit(queries, n, fold, t);
        for (size_t i = fold; i < n; i += FOLDS) {
            double first = ndcg(&queries[i], &none, t);
            double blended = ndcg(&queries[i], &weights, t);
            out->ndcg_first += first / (double)n;
            out->ndcg_blended += blended / (double)n;
            sum += blended - first;
            squares += (blended - first) * (blended - first);
        }
    }
    out->gain = sum / (double)n;
    double variance = squares / (double)n - out->gain * out->gain;
    out->gain_error = sqrt(IM_MAX(variance, 0.0) / (double)(n - 1));
}

im_code im_vlm_calibrate(const im_vlm_judged *queries, size_t n, im_vlm_fit *out, im_error *err)
{
    size_t most = 1;
    im_vlm_fit result = {.n_queries = n};
    for (size_t i = 0; i < n; i++) {
        most = IM_MAX(most, queries[i].n);
    }
    if (n < LEAST_QUERIES) {
        return im_fail(err, IM_ERR_INVALID, "%zu judged queries, expected at least %u", n,
                       LEAST_QUERIES);
    }
    scratch t = {.final = im_alloc(most, sizeof(double)),
                 .order = im_alloc(most, sizeof(size_t)),
                 .none = im_alloc_zero(most, sizeof(bool))};
    im_code rc = IM_OK;
    if (t.final == NULL || t.order == NULL || t.none == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a calibration");
    } else {
        cross_validate(queries, n, &t, &result);
        result.weights = fit(queries, n, FOLDS, &t);
        if (!(result.gain > BELIEVE * result.gain_error && result.gain > 0)) {
            result.weights.weight = 0;
        }
        *out = result;
    }
    im_free(t.final);
    im_free(t.order);
    im_free(t.none);
    return rc;
}
