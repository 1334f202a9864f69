/* index/codes_query_internal.h — a query as the codes see it, and from what codes say to bounds on
 * the score.
 *
 * Each folded vector (scoring_internal.h) is f = F·q, |q| = 1. A row is x = μ + r, its codes r'.
 *   dot(f, x) = F·(<q, μ> + <q, r>), and <q, r> = <q', r'> + <q, r - r'> + <q - q', r'>
 * so that   |<q, r> - <q', r'>| <= |r - r'| + 3.1·|q - q'|   (|x|, |μ| <= 1.001, |r'| <= |r| + |r -
 * r'|) where |r - r'| is stored with the row. SLACK and what follows from the dimension cover the
 * rounding of the rotation, of this arithmetic and of the score itself. */
#ifndef IM_INDEX_CODES_QUERY_INTERNAL_H
#define IM_INDEX_CODES_QUERY_INTERNAL_H

#include "index/codes_internal.h"
#include "index/codes_kernels_internal.h"
#include "index/scoring_internal.h"

#define CODES_RUN 512u /* rows worked on at once */

/** One folded vector. */
typedef struct codes_fold {
    index_query_i8 i8;
    index_query_b1 b1;
    float size;         /* F */
    float step;         /* of the 15-bit numbers */
    float rough;        /* |q - q'| with the high plane alone */
    float above, below; /* upper bound = F·(estimate + bound) + above, lower likewise */
    float middle;       /* estimate in full = F·estimate + middle */
} codes_fold;

typedef struct codes_query {
    const index_scoring *scoring;
    const index_codes_kernels *kernels;
    size_t padded;
    codes_fold *folds; /* [scoring->n], owned with all that they point to */
    uint8_t *memory;   /* owned */
    float part;        /* of the bounds that codes_uppers adds: 1, or less to guess */
    bool unbounded;    /* tests only: the bounds are left out */
} codes_query;

typedef struct codes_space {
    const index_codes_kernels *kernels;
    const index_rotation *rotation;
    const float *mean; /* [d] */
} codes_space;

/** false when memory is out. */
bool codes_query_init(codes_query *query, const codes_space *space, const index_scoring *scoring);
void codes_query_clear(codes_query *query);
/** True when the folds' sizes allow this arithmetic: not zero, not near the ends of float. */
bool codes_query_possible(const index_scoring *scoring);

/** Proofs from now on, or guesses that a score is above once in millions. */
void codes_query_prove(codes_query *query, bool proved);

/** Rows of one block: those of numbers at[0 … n - 1], or from `first` on without `at`. */
typedef struct codes_run {
    size_t first;
    const uint16_t *at;   /* NULL: first … first + n - 1 */
    size_t n;             /* <= CODES_RUN */
    const uint8_t *fetch; /* codes of as many rows that are read next, or NULL */
} codes_run;

/** Upper bounds [run->n] on the score of each row, from the upper halves of int8 codes; guesses,
 * when query->part says so. */
void codes_uppers(const codes_query *query, const codes_layout *layout, const codes_block *block,
                  const codes_run *run, float *out_upper);
/** Bounds [run->n] on the score of each row, from whole int8 codes: out_lower <= score <=
 * out_upper. */
void codes_bounds(const codes_query *query, const codes_layout *layout, const codes_block *block,
                  const codes_run *run, float *out_upper, float *out_lower);
#define CODES_TILE_BYTES 32768u
#define CODES_TILE_QUERIES 64u
/** Up to CODES_LANES rows of a block as several queries look at them: whole codes, numbers side by
 * side. */
typedef struct codes_tile {
    _Alignas(64) uint8_t codes[CODES_TILE_BYTES]; /* [n, padded] */
    float scale[CODES_LANES], bound[CODES_LANES];
    float size[CODES_LANES]; /* at least the length of what the codes say */
    size_t n;
    const uint8_t *fetch[2]; /* halves of the codes that the next tile is made of, or NULL */
} codes_tile;
/** How many rows of these codes a tile has room for. */
size_t codes_tile_rows(const codes_layout *layout);
/** Rows [first, first + n) of a block. */
void codes_tile_fill(codes_tile *tile, const index_codes_kernels *kernels,
                     const codes_layout *layout, const codes_block *block, size_t first, size_t n);
/** Upper bounds on the scores of a tile's rows for queries of one fold each, by one plane of the
 * query. @param n <= CODES_TILE_QUERIES @param out_upper [n], the first tile->n of each */
void codes_tile_uppers(const codes_tile *tile, const codes_query *const *queries, size_t n,
                       float (*out_upper)[CODES_LANES]);

/** What the score of each row of a group may be at most by its bits, some standard errors up: a row
 * above it is improbable, not impossible.
 * @param group where it begins in the file @param out_upper [CODES_LANES] */
void codes_guesses(const codes_query *query, const uint8_t *group, float *out_upper);

#endif
