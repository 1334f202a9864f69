/* index/codes_kernels_internal.h — integer products of a query with codes, exact in every kernel,
 * so that all of them agree to the last bit. Letters: D rotated dim (a multiple of 64), n rows. */
#ifndef IM_INDEX_CODES_KERNELS_INTERNAL_H
#define IM_INDEX_CODES_KERNELS_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#define CODES_ZERO 128 /* an int8 code is stored as code + 128, in 1 … 255 */
#define CODES_HALF 7.5 /* what stands for the lower half of a code when it is not known */
#define CODES_PLANES 3u

/** A rotated query in 15 bits a number: 128 * high + low. */
typedef struct index_query_i8 {
    const int8_t *high, *low; /* [D] in -127 … 127, 64-byte aligned */
    int32_t sum_high, sum_low;
} index_query_i8;

/** Rows one behind the other or, with `at`, the rows of these numbers. */
typedef struct index_code_rows {
    const uint8_t *first; /* row 0 */
    size_t pitch;         /* bytes from row to row: D for int8, D / 2 for halves, D / 8 for bits */
    const uint16_t *at;   /* [n] or NULL: 0 … n - 1 */
    size_t n;
    const uint8_t *fetch; /* halves: what is read next, of as many rows; NULL: not known */
} index_code_rows;

typedef struct index_codes_kernels {
    const char *name;
    /** out_high[i] = Σ high·code, out_low[i] = Σ low·code of each row. */
    void (*dot_i8)(const index_query_i8 *query, const index_code_rows *rows, int32_t *out_high,
                   int32_t *out_low);
    /** out[i] = Σ high·(upper half of the code), from halves as codes_split lays them. */
    void (*dot_u4)(const index_query_i8 *query, const index_code_rows *rows, int32_t *out);
    /** Whole codes [2 · size] from their halves [size]. */
    void (*join)(const uint8_t *upper, const uint8_t *lower, size_t size, uint8_t *codes);
    /** out[i] = Σ over the planes j of 2^j · (bits in which row and plane j differ).
     * @param planes [CODES_PLANES, words], words = D / 64 rounded up to 8, zeros behind D */
    void (*differ_b1)(const uint64_t *planes, const index_code_rows *rows, int32_t *out);
    /** Bit i: values[i] >= least, i < 64. */
    uint64_t (*at_least)(const float values[64], float least);
} index_codes_kernels;

/** As index_kernels_choose and index_kernels_at. */
const index_codes_kernels *index_codes_kernels_choose(void);
const index_codes_kernels *index_codes_kernels_at(size_t i, int *out_usable);

static inline const uint8_t *index_code_row(const index_code_rows *rows, size_t i)
{
    return rows->first + (rows->at != NULL ? (size_t)rows->at[i] : i) * rows->pitch;
}

static inline size_t index_plane_words(size_t padded)
{
    return (padded / 64 + 7) / 8 * 8;
}

#endif
