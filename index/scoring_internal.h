/* index/scoring_internal.h — what a query's score is: the only place that says so.
 *
 *   sum       dot(fold, row) - shift, fold = Σ scale·vector and shift = Σ shift, summed in double
 *             and rounded once to float: one dot product however many parts
 *   any, all  the largest resp. smallest over the parts of dot(fold_i, row) - shift_i, where
 *             fold_i = scale_i·vector_i rounded once
 * so one part scores the same under all three. dot is that of kernels_internal.h; the score is a
 * finite float for every row that may be stored. */
#ifndef IM_INDEX_SCORING_INTERNAL_H
#define IM_INDEX_SCORING_INTERNAL_H

#include "base/limits.h"
#include "index/index.h"
#include "index/kernels_internal.h"

typedef struct index_scoring {
    const index_kernels *kernels;
    im_combine combine;
    size_t dim;
    size_t n;     /* folded vectors: 1 for sum, the number of parts otherwise */
    float *folds; /* [n, index_padded(dim)], owned, zeros behind dim */
    float shifts[IM_LIMIT_QUERY_PARTS];
} index_scoring;

/** Checks the parts (count; finite and of unit length within 1e-3; scale and shift finite and not
 * beyond 1e30, so that no sum overflows) and folds them. IM_ERR_INVALID, vector_invalid. */
IM_NODISCARD im_code index_scoring_init(index_scoring *scoring, const index_kernels *kernels,
                                        const im_index_query *query, size_t dim, im_error *err);
void index_scoring_clear(index_scoring *scoring);
/** Scores of n rows, in any number: bit-equal whatever the rows beside a row are. */
void index_scoring_rows(const index_scoring *scoring, const float *const *rows, size_t n,
                        float *out_scores);

/** Checks n vectors [n, dim] for being finite and of unit length within 1e-3: IM_OK or
 * vector_invalid; `what` is "row" or "part". */
IM_NODISCARD im_code index_check_vectors(const float *vectors, size_t n, size_t dim,
                                         const char *what, im_error *err);

#endif
