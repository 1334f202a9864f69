/* index/codes_kernels_internal.h — integer products of a query with codes, exact in every kernel,
 * so that all of them agree to the last bit. Letters: D rotated dim (a multiple of 64), n rows. */
#ifndef IM_INDEX_CODES_KERNELS_INTERNAL_H
#define IM_INDEX_CODES_KERNELS_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#define CODES_ZERO 128    /* an int8 code is stored as code + 128, in 1 … 255 */
#define CODES_HALF 7.5    /* what stands for the lower half of a code when it is not known */
#define CODES_LANES 64u   /* rows whose bits lie together */
#define CODES_SIX_MOST 63 /* Σ |weight| of the six bits of one look-up, see codes_bits.c */
#define CODES_SUM_MOST 65535

/** A rotated query in 15 bits a number: 128 * high + low. */
typedef struct index_query_i8 {
    const int8_t *high, *low; /* [D] in -127 … 127, 64-byte aligned */
    int32_t sum_high, sum_low;
} index_query_i8;

/** Rows one behind the other or, with `at`, the rows of these numbers. */
typedef struct index_code_rows {
    const uint8_t *first; /* row 0 */
    size_t pitch;         /* bytes from row to row: D for int8, D / 2 for halves */
    const uint16_t *at;   /* [n] or NULL: 0 … n - 1 */
    size_t n;
    const uint8_t *fetch; /* halves: what is read next, of as many rows; NULL: not known */
} index_code_rows;

/** A rotated query as bits see it. A bit that is not as the sign of its weight (set where that is
 * positive) counts |weight|; a guess at the score is
 * size · (factor · (one - per_unit · count) + margin · error) + middle. */
typedef struct index_query_b1 {
    const uint8_t *tables; /* [index_tables_bytes(columns)], 64-byte aligned, as `tables` makes */
    size_t columns;        /* D / 8 */
    float one, per_unit, margin, size, middle;
} index_query_b1;

/** The kernels for groups of CODES_LANES rows: columns of bits [columns, CODES_LANES], factors and
 * errors [CODES_LANES]. */
typedef struct index_bits_kernels {
    /** @param weights [8 · columns], the |weights| of all of them add up to CODES_SUM_MOST at most,
     * those of the bits of one look-up to CODES_SIX_MOST */
    void (*tables)(const int8_t *weights, size_t columns, uint8_t *tables);
    /** A guess at the score of each row of a group. */
    void (*guess)(const index_query_b1 *query, const uint8_t *group, float *out);
    /** Values whose bit is not set become -INFINITY; returns the largest of the others. */
    float (*keep)(float values[CODES_LANES], uint64_t bits);
    /** Bit i: not values[i] < least; what is no number is below nothing. */
    uint64_t (*not_below)(const float values[CODES_LANES], float least);
} index_bits_kernels;

extern const index_bits_kernels index_bits_portable;
#if defined(__x86_64__)
extern const index_bits_kernels index_bits_avx2, index_bits_avx512;
#endif

/** Whole codes of up to CODES_LANES rows, one behind the other, and the queries that look at them.
 */
typedef struct index_code_tile {
    const uint8_t *rows; /* [n_rows, dim] */
    size_t n_rows, dim;
    const index_query_i8 *const *queries; /* [n_queries] */
    size_t n_queries;
    const uint8_t
        *fetch[2]; /* halves of the codes that come next, of as many rows; NULL: unknown */
} index_code_tile;

typedef struct index_tile_kernels {
    /** out[q · CODES_LANES + r] = Σ high·code of query q and row r; what lies behind the last row
     * is unspecified. */
    void (*dot)(const index_code_tile *tile, int32_t *out);
} index_tile_kernels;

extern const index_tile_kernels index_tile_portable;
#if defined(__x86_64__)
extern const index_tile_kernels index_tile_avx2, index_tile_avx512;
#endif

typedef struct index_codes_kernels {
    const char *name;
    /** out_high[i] = Σ high·code, out_low[i] = Σ low·code of each row. */
    void (*dot_i8)(const index_query_i8 *query, const index_code_rows *rows, int32_t *out_high,
                   int32_t *out_low);
    /** out[i] = Σ high·(upper half of the code), from halves as codes_split lays them. */
    void (*dot_u4)(const index_query_i8 *query, const index_code_rows *rows, int32_t *out);
    /** Whole codes [2 · size] from their halves [size]. */
    void (*join)(const uint8_t *upper, const uint8_t *lower, size_t size, uint8_t *codes);
    const index_bits_kernels *bits;
    const index_tile_kernels *tile;
} index_codes_kernels;

/** As index_kernels_choose and index_kernels_at. */
const index_codes_kernels *index_codes_kernels_choose(void);
const index_codes_kernels *index_codes_kernels_at(size_t i, int *out_usable);

static inline const uint8_t *index_code_row(const index_code_rows *rows, size_t i)
{
    return rows->first + (rows->at != NULL ? (size_t)rows->at[i] : i) * rows->pitch;
}

static inline size_t index_tables_bytes(size_t columns)
{
    return (columns + 2) / 3 * 256;
}

#endif
