/* tests/index/help_codes.h — libraries and queries like those of an encoder, for the engines that
 * work on codes: pictures share a direction and come in groups; a text is far from all of them. */
#ifndef IM_TESTS_INDEX_HELP_CODES_H
#define IM_TESTS_INDEX_HELP_CODES_H

#include "help.h"
#include "index/codes_internal.h"
#include "index/tiered_internal.h"

/** Rows [n, dim] of a few groups around one common direction. */
void pictures_make(random_state *random, float *out, size_t n, size_t dim);
/** A vector whose cosines with the rows have about mean 0.03 and deviation 0.05 (dim >= 256). */
void text_make(random_state *random, const float *rows, size_t n, size_t dim, float *out);
/** Moves `planted` rows to a score of `score` plus or minus 1e-4, 2e-4 … for the vector. */
void rows_plant(random_state *random, float *rows, size_t n, size_t dim, const float *vector,
                double score, size_t planted);
/** A library of these rows with items in no order, and its codes. */
void library_of_rows(test_library *library, random_state *random, const float *rows, size_t n,
                     size_t dim);
void codes_update(const test_library *library);
/** Opened as IM_ENGINE_TIERED, whose codes must be sound. */
im_index *tiered_open(const test_library *library, const uint64_t *alive, im_pool *pool);
tiered_engine *engine_of(im_index *index);
/** Whole path of a codes file. */
void library_codes_path(const test_library *library, codes_kind kind, char out[160]);

/** Fails unless both answers are the same to the last bit. */
void assert_same(const im_hit *a, const im_index_answer *answer_a, const im_hit *b,
                 const im_index_answer *answer_b, size_t k);
bool same_hits(const im_hit *a, const im_index_answer *answer_a, const im_hit *b,
               const im_index_answer *answer_b, size_t k);

/** A library with a query whose k-th score has neighbours 1e-4 away. */
typedef struct test_case {
    test_library library;
    float *vectors; /* [4, dim]: the text first */
    float *rows;
    size_t n, dim;
} test_case;

void case_make(test_case *test, random_state *random, size_t n, size_t dim);
void case_free(test_case *test);
/** The round's query: the text alone, weighed, or several parts; cursor, floor, filter.
 * @param parts [4] */
void case_query(const test_case *test, random_state *random, size_t round, im_index_part *parts,
                im_index_query *query);

enum { CODES_DIMS = 12, CODES_DENSITIES = 7 };
extern const size_t codes_dims[CODES_DIMS];
extern const unsigned codes_densities[CODES_DENSITIES]; /* of filters, per mille */

#endif
