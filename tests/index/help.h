/* tests/index/help.h — libraries of random vectors on disk, queries, and the slow, plain search the
 * engines are held against. */
#ifndef IM_TESTS_INDEX_HELP_H
#define IM_TESTS_INDEX_HELP_H

#include "index/index.h"
#include "tests/help_folder.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the above first */
#include <cmocka.h>

/** splitmix64: small, and the same everywhere. */
typedef struct random_state {
    uint64_t state;
} random_state;

uint64_t random_next(random_state *random);
uint64_t random_below(random_state *random, uint64_t limit);
float random_float(random_state *random); /* in [-1, 1) */
void random_unit(random_state *random, float *out, size_t dim);

/** A vector file with what was written into it. */
typedef struct test_library {
    char folder[HELP_FOLDER_BYTES];
    im_index_state state;
    size_t n, dim;
    float *vectors;  /* [n, dim] */
    uint64_t *items; /* [n], each its own, in no order */
} test_library;

char *temporary_folder(char out[HELP_FOLDER_BYTES]);
void remove_folder(const char *folder);
/** Makes a file of these bytes, or the file hold nothing else. */
void write_file(const char *path, const void *bytes, size_t size);
/** How many entries a folder has. */
size_t files_in(const char *folder);
/** Makes a library of n random rows; `copies` per cent of them repeat an earlier row. */
void library_make(test_library *library, random_state *random, size_t n, size_t dim,
                  unsigned copies);
/** As library_make from given vectors and items (copied). */
void library_write(test_library *library, size_t n, size_t dim, const float *vectors,
                   const uint64_t *items);
void library_free(test_library *library);
void library_path(const test_library *library, char out[160]);
im_index *library_open(const test_library *library, const uint64_t *alive, im_engine engine,
                       im_pool *pool);

/** n bits, each set with `per_mille` of 1,000. Free with free(). */
uint64_t *random_bits(random_state *random, size_t n, unsigned per_mille);
bool bit_of(const uint64_t *bits, size_t i);

/** A query with vectors of its own. */
typedef struct test_query {
    im_index_query query;
    im_index_part parts[64];
    float *vectors;
} test_query;

/** m parts; plain: scale 1 and shift 0. */
void query_make(test_query *query, random_state *random, const test_library *library, size_t m,
                im_combine combine, bool plain);
void query_free(test_query *query);
/** Of many rounds, each `every`th leaves an item out, each (every + 1)th has a floor, and each
 * (every + 2)th a cursor, of random rows; a library without rows changes nothing. */
void query_vary(im_index_query *query, random_state *random, const test_library *library,
                size_t round, size_t every);

/** All hits the query allows, best first, each row scored alone by im_index_score.
 * @param out [library->n] @return how many */
size_t slow_search(im_index *index, const test_library *library, const uint64_t *alive,
                   const im_index_query *query, im_hit *out);
/** The query's score of a row in double precision, straight from the formula. */
double true_score(const test_library *library, const im_index_query *query, size_t slot);

/** Fails unless the answer is the first k of `expected`, to the last bit, padded behind. */
void assert_hits(const im_hit *hits, const im_index_answer *answer, size_t k,
                 const im_hit *expected, size_t n_expected);

/** Searches once for 10 hits, which there must be; then four threads at once, each `rounds` times,
 * must find the same. */
void search_from_threads(im_index *index, const im_index_query *query, size_t rounds);

#define assert_ok(call)                                                \
    do {                                                               \
        im_error assert_err = IM_ERROR_INIT;                           \
        im_error *err = &assert_err;                                   \
        if ((call) != IM_OK) {                                         \
            fail_msg("%s: %s", assert_err.reason, assert_err.message); \
        }                                                              \
    } while (0)

/** The call must fail with that reason of base/reasons.def. */
#define assert_refused(call, wanted)                      \
    do {                                                  \
        im_error assert_err = IM_ERROR_INIT;              \
        im_error *err = &assert_err;                      \
        assert_int_not_equal((call), IM_OK);              \
        assert_string_equal(assert_err.reason, (wanted)); \
        assert_true(assert_err.message[0] != '\0');       \
    } while (0)

/* clang's sanitizer looks for the C++ run-time library when the program starts; one that comes with
 * a module is too late for it, and the first exception ends in its own assertion. gcc's does not
 * mind. */
#if defined(__clang__) && defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define THROWING_IS_IMPOSSIBLE 1
#endif
#endif

/** What searches on several threads need, as a group's set-up and tear-down. */
typedef struct test_world {
    im_pool *pools[3]; /* NULL, 1, 4 threads */
} test_world;

int open_world(void **state);
int close_world(void **state);

/** Sets IMAGO_MODULES to the modules of this build. */
int use_the_built_module(void **state);

#endif
