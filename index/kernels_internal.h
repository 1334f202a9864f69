/* index/kernels_internal.h — dot products of a query with rows, the same to the last bit in every
 * kernel: sixteen lanes, lane j sums the products of the elements j, j+16, j+32 … in that order
 * (each product rounded, then added: no fused step), then lanes j and j+8, j and j+4, j and j+2,
 * and the last two are added. Elements behind the end count as zeros. */
#ifndef IM_INDEX_KERNELS_INTERNAL_H
#define IM_INDEX_KERNELS_INTERNAL_H

#include <stddef.h>

#define KERNEL_LANES 16u

typedef struct index_kernels {
    const char *name;
    /** @param query [index_padded(dim)], zeros behind dim @param row [dim] */
    float (*dot)(const float *query, const float *row, size_t dim);
} index_kernels;

/** The best kernel of this processor, or the one IMAGO_KERNEL names (avx512, avx2, portable) when
 * the processor has it. Static. */
const index_kernels *index_kernels_choose(void);
/** Rows of the table by number, NULL behind the last; *out_usable: whether the processor has it. */
const index_kernels *index_kernels_at(size_t i, int *out_usable);

/** dim rounded up to whole lanes. */
static inline size_t index_padded(size_t dim)
{
    return (dim + KERNEL_LANES - 1) / KERNEL_LANES * KERNEL_LANES;
}

#endif
