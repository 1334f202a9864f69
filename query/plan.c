/* query/plan.c — standardised scores: cosines of texts and of pictures live on different scales
 * (near 0.2–0.3 and 0.5–0.9), so each part is measured by its own background before they are added.
 *
 *   score = Σ w_i (c_i − mean_i) / deviation_i        (sum; linear, so one folded vector finds it)
 *   score = max_i / min_i of the same terms           (any / all)
 *
 * with c_i the cosine of part i and the row, mean_i and deviation_i over the model's background. */
#include "base/base.h"
#include "query/query.h"

#include <math.h>
#include <string.h>

/* A background of equal pictures, or a model that collapsed, must not blow scores up. */
#define DEVIATION_LEAST 1e-4

static double dot(const float *a, const float *b, size_t dim)
{
    double sum = 0;
    for (size_t i = 0; i < dim; i++) {
        sum += (double)a[i] * (double)b[i];
    }
    return sum;
}

im_background im_query_background(const float *background, size_t n, size_t dim,
                                  const float *vector)
{
    im_background result = {0.0f, 1.0f};
    double sum = 0;
    double squares = 0;
    if (n == 0) {
        return result;
    }
    for (size_t i = 0; i < n; i++) {
        double cosine = dot(background + i * dim, vector, dim);
        sum += cosine;
        squares += cosine * cosine;
    }
    double mean = sum / (double)n;
    double variance = squares / (double)n - mean * mean;
    result.mean = (float)mean;
    result.deviation = (float)IM_MAX(sqrt(IM_MAX(variance, 0.0)), DEVIATION_LEAST);
    return result;
}

/* The folded vector of `sum` must point somewhere: a picture minus itself does not. */
static im_code check_folded(const im_index_part *parts, size_t n_parts, size_t dim, im_error *err)
{
    double squares = 0;
    double largest = 0;
    for (size_t j = 0; j < dim; j++) {
        double folded = 0;
        for (size_t i = 0; i < n_parts; i++) {
            folded += (double)parts[i].scale * (double)parts[i].vector[j];
        }
        squares += folded * folded;
    }
    for (size_t i = 0; i < n_parts; i++) {
        largest = IM_MAX(largest, fabs((double)parts[i].scale));
    }
    if (!isfinite(squares) || sqrt(squares) <= 1e-5 * largest) {
        im_code rc = im_fail_as(err, IM_REASON_QUERY_DEGENERATE,
                                "the parts of the query cancel each other out");
        im_hint(err, "a part and its negative of the same weight leave nothing to look for");
        return rc;
    }
    return IM_OK;
}

im_code im_query_plan(const im_query_part *parts, const float *vectors, size_t n_parts, size_t dim,
                      im_combine combine, const float *background, size_t n_background,
                      im_plan *out_plan, im_error *err)
{
    im_plan plan = {.n_parts = n_parts, .combine = combine, .only_negative = true};
    im_code rc = IM_OK;
    plan.parts = im_alloc(n_parts, sizeof(*plan.parts));
    plan.background = im_alloc(n_parts, sizeof(*plan.background));
    if (plan.parts == NULL || plan.background == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a query of %zu parts", n_parts);
        goto out;
    }
    for (size_t i = 0; i < n_parts; i++) {
        const float *vector = vectors + i * dim;
        im_background b = im_query_background(background, n_background, dim, vector);
        double scale = parts[i].weight / (double)b.deviation;
        plan.background[i] = b;
        plan.parts[i].vector = vector;
        plan.parts[i].scale = (float)scale;
        plan.parts[i].shift = (float)(scale * (double)b.mean);
        plan.only_negative = plan.only_negative && parts[i].weight < 0;
        if (!isfinite(plan.parts[i].scale) || !isfinite(plan.parts[i].shift)) {
            rc = im_fail_as(err, IM_REASON_QUERY_DEGENERATE,
                            "part %zu: weight %g is too large for its background", i + 1,
                            parts[i].weight);
            goto out;
        }
    }
    if (combine == IM_COMBINE_SUM) {
        rc = check_folded(plan.parts, n_parts, dim, err);
        if (rc != IM_OK) {
            goto out;
        }
    }
    *out_plan = plan;
    memset(&plan, 0, sizeof(plan));
out:
    im_plan_clear(&plan);
    return rc;
}

void im_plan_clear(im_plan *plan)
{
    im_free(plan->parts);
    im_free(plan->background);
    memset(plan, 0, sizeof(*plan));
}

float im_plan_contribution(const im_plan *plan, size_t part, float cosine)
{
    return plan->parts[part].scale * cosine - plan->parts[part].shift;
}
