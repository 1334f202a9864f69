/* tests/index/help_vectors.h — arithmetic on vectors, for tests and for benches (no cmocka). */
#ifndef IM_TESTS_INDEX_HELP_VECTORS_H
#define IM_TESTS_INDEX_HELP_VECTORS_H

#include <math.h>
#include <stddef.h>

/** out += scale * vector */
static inline void vector_add(float *out, const float *vector, float scale, size_t dim)
{
    for (size_t i = 0; i < dim; i++) {
        out[i] += scale * vector[i];
    }
}

/** Scales to length 1; the vector must not be zero. */
static inline void vector_make_unit(float *out, size_t dim)
{
    double sum = 0;
    for (size_t i = 0; i < dim; i++) {
        sum += (double)out[i] * (double)out[i];
    }
    for (size_t i = 0; i < dim; i++) {
        out[i] = (float)((double)out[i] / sqrt(sum));
    }
}

#endif
