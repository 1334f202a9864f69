/* tests/index/help_faiss.h — one library of rows in clusters that all tests of a program search,
 * and FAISS files of it or of others. */
#ifndef IM_TESTS_INDEX_HELP_FAISS_H
#define IM_TESTS_INDEX_HELP_FAISS_H

#include "help_clusters.h"

extern const im_engine both_engines[2];
extern const char *const engine_names[2]; /* of them, as answers say it */
extern const im_faiss_effort as_default;
extern const im_faiss_effort all_of_it; /* harder than anybody tries: everything is found */

extern test_library library;
extern clusters groups; /* its rows are drawn from them */

/** Makes both; for a group's set-up. */
void open_clusters(uint64_t seed, size_t n_groups, size_t dim, size_t n);
/** A group's tear-down. */
int close_clusters(void **state);

/** Builds with the defaults but for n_lists (IVF) and a shorter queue (HNSW), for speed. */
im_faiss_record build_file(const test_library *of, const uint64_t *alive, im_engine engine,
                           size_t n_lists);
void faiss_path(const test_library *of, const im_faiss_record *record, char out[160]);
im_code try_open(const test_library *of, const uint64_t *alive, im_engine engine,
                 const im_faiss_record *record, im_faiss_effort effort, im_index **out_index,
                 im_error *err);
im_index *open_file(const test_library *of, const uint64_t *alive, im_engine engine,
                    const im_faiss_record *record, im_faiss_effort effort);

#endif
