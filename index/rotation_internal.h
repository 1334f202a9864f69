/* index/rotation_internal.h — the random rotation that codes are made under: it spreads what a
 * vector holds evenly over its numbers, so that few bits a number lose little, whatever the model
 * puts into single dimensions. Fixed by the dimension and ROTATION_VERSION, never stored.
 *
 * D is dim rounded up to 64, P the largest power of two up to D. A round flips signs and applies a
 * normalised Hadamard matrix to P numbers: the first P in even rounds, the last P in odd ones.
 * Three rounds where P = D, four otherwise. */
#ifndef IM_INDEX_ROTATION_INTERNAL_H
#define IM_INDEX_ROTATION_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#define ROTATION_VERSION 1u
#define ROTATION_UNIT 64u

typedef struct index_rotation {
    size_t dim, padded; /* d, D */
    size_t size;        /* P */
    size_t rounds;
    float *factors; /* [rounds, size], owned: ±1/√P */
    double error;   /* |computed - true| <= error * |vector| */
} index_rotation;

/** false when memory is out. */
bool index_rotation_init(index_rotation *rotation, size_t dim);
void index_rotation_clear(index_rotation *rotation);
/** Rotates in place. @param vector [padded], zeros behind dim before */
void index_rotate(const index_rotation *rotation, float *vector);

static inline size_t index_rotated_dim(size_t dim)
{
    return (dim + ROTATION_UNIT - 1) / ROTATION_UNIT * ROTATION_UNIT;
}

#endif
