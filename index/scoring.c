/* index/scoring.c — folds the parts of a query into vectors and scores rows with them. */
#include "base/base.h"
#include "index/scoring_internal.h"
#include <math.h>
#include <string.h>

#define UNIT_TOLERANCE 1e-3
#define WEIGHT_LIMIT 1e30F /* a dot product of 16,384 such values stays finite */

im_code index_check_vectors(const float *vectors, size_t n, size_t dim, const char *what,
                            im_error *err)
{
    for (size_t r = 0; r < n; r++) {
        const float *vector = vectors + r * dim;
        double sum = 0;
        for (size_t i = 0; i < dim; i++) {
            if (!isfinite(vector[i])) {
                return im_fail_as(err, IM_REASON_VECTOR_INVALID,
                                  "%s %zu of %zu: value %zu of its vector is not finite", what, r,
                                  n, i);
            }
            sum += (double)vector[i] * (double)vector[i];
        }
        if (fabs(sqrt(sum) - 1) > UNIT_TOLERANCE) {
            return im_fail_as(err, IM_REASON_VECTOR_INVALID,
                              "%s %zu of %zu: its vector has length %g, expected 1 within %g", what,
                              r, n, sqrt(sum), UNIT_TOLERANCE);
        }
    }
    return IM_OK;
}

static im_code check_parts(const im_index_query *query, size_t dim, im_error *err)
{
    if (query->parts == NULL || query->n_parts < 1 || query->n_parts > IM_LIMIT_QUERY_PARTS) {
        return im_fail(err, IM_ERR_INVALID, "%zu parts of a query, expected 1 to %u",
                       query->n_parts, IM_LIMIT_QUERY_PARTS);
    }
    if ((unsigned)query->combine > (unsigned)IM_COMBINE_ALL) {
        return im_fail(err, IM_ERR_INVALID, "combine mode %u of a query, expected 0 to 2",
                       (unsigned)query->combine);
    }
    for (size_t p = 0; p < query->n_parts; p++) {
        const im_index_part *part = &query->parts[p];
        if (part->vector == NULL) {
            return im_fail(err, IM_ERR_INVALID, "part %zu of a query has no vector", p);
        }
        /* the comparisons are written so that NaN fails them */
        if (!(fabsf(part->scale) <= WEIGHT_LIMIT) || !(fabsf(part->shift) <= WEIGHT_LIMIT)) {
            return im_fail_as(
                err, IM_REASON_VECTOR_INVALID,
                "part %zu of a query: scale %g and shift %g, expected numbers within 1e30", p,
                (double)part->scale, (double)part->shift);
        }
        im_code rc = index_check_vectors(part->vector, 1, dim, "part", err);
        if (rc != IM_OK) {
            return rc;
        }
    }
    return IM_OK;
}

/* Element i of Σ scale·vector over the parts [first, last). */
static float fold_element(const im_index_query *query, size_t first, size_t last, size_t i)
{
    double sum = 0;
    for (size_t p = first; p < last; p++) {
        sum += (double)query->parts[p].scale * (double)query->parts[p].vector[i];
    }
    return (float)sum;
}

im_code index_scoring_init(index_scoring *scoring, const index_kernels *kernels,
                           const im_index_query *query, size_t dim, im_error *err)
{
    size_t stride = index_padded(dim);
    memset(scoring, 0, sizeof(*scoring));
    im_code rc = check_parts(query, dim, err);
    if (rc != IM_OK) {
        return rc;
    }
    bool one = query->combine == IM_COMBINE_SUM;
    size_t n = one ? 1 : query->n_parts;
    float *folds = im_alloc_aligned(n * stride, sizeof(float)); /* at most 64 * 16,384 */
    if (folds == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for %zu query vectors of %zu values", n, dim);
    }
    memset(folds, 0, n * stride * sizeof(float));
    for (size_t f = 0; f < n; f++) {
        size_t last = one ? query->n_parts : f + 1;
        double shift = 0;
        for (size_t p = f; p < last; p++) {
            shift += (double)query->parts[p].shift;
        }
        scoring->shifts[f] = (float)shift;
        for (size_t i = 0; i < dim; i++) {
            folds[f * stride + i] = fold_element(query, f, last, i);
        }
    }
    scoring->kernels = kernels;
    scoring->combine = query->combine;
    scoring->dim = dim;
    scoring->n = n;
    scoring->folds = folds;
    return IM_OK;
}

void index_scoring_clear(index_scoring *scoring)
{
    im_free(scoring->folds);
    scoring->folds = NULL;
}

static float combined(im_combine combine, float a, float b)
{
    if (combine == IM_COMBINE_ANY) {
        return a > b ? a : b;
    }
    return a < b ? a : b;
}

void index_scoring_rows(const index_scoring *scoring, const float *const *rows, size_t n,
                        float *out_scores)
{
    size_t stride = index_padded(scoring->dim);
    for (size_t r = 0; r < n; r++) {
        float score = scoring->kernels->dot(scoring->folds, rows[r], scoring->dim);
        score -= scoring->shifts[0];
        for (size_t f = 1; f < scoring->n; f++) {
            float dot = scoring->kernels->dot(scoring->folds + f * stride, rows[r], scoring->dim);
            score = combined(scoring->combine, score, dot - scoring->shifts[f]);
        }
        out_scores[r] = score;
    }
}
