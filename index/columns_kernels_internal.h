/* index/columns_kernels_internal.h — loops over one chunk of a column, and their plain twins. */
#ifndef IM_INDEX_COLUMNS_KERNELS_INTERNAL_H
#define IM_INDEX_COLUMNS_KERNELS_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

/** Each fills ceil(n / 64) words of bits; those behind the nth are 0. Bit i: value i passes. */
typedef struct columns_kernels {
    void (*integers)(const int64_t *values, size_t n, int64_t min, int64_t max, uint64_t *bits);
    /** NaN never passes. */
    void (*numbers)(const double *values, size_t n, double min, double max, uint64_t *bits);
    /** Value i passes when bit values[i] of set is on. @param set [n_set / 32 + 1], bit n_set is
     * off and stands for every larger number */
    void (*words)(const uint32_t *values, size_t n, const uint32_t *set, uint32_t n_set,
                  uint64_t *bits);
} columns_kernels;

extern const columns_kernels columns_kernels_plain;
/** The best of this machine. */
const columns_kernels *columns_kernels_choose(void);

#endif
