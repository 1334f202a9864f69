/* tests/index/help_clusters.h — rows in clusters, as embeddings lie, and queries of the two kinds;
 * FAISS files of them. */
#ifndef IM_TESTS_INDEX_HELP_CLUSTERS_H
#define IM_TESTS_INDEX_HELP_CLUSTERS_H

#include "help.h"

typedef struct clusters {
    size_t n, dim;
    float *centres; /* [n, dim] */
    float *gap;     /* [dim] between texts and pictures */
} clusters;

void clusters_make(clusters *out, random_state *random, size_t n, size_t dim);
void clusters_free(clusters *set);
/** A row of a random cluster. */
void clusters_row(const clusters *set, random_state *random, float *out);
/** A query that lies among the rows, and one that lies apart from all of them. */
void clusters_picture(const clusters *set, random_state *random, float *out);
void clusters_text(const clusters *set, random_state *random, float *out);
/** A library of n such rows. */
void clusters_library(test_library *library, const clusters *set, random_state *random, size_t n);
/** A plain query for one vector (borrowed). */
im_index_query query_of(im_index_part *part, const float *vector, size_t k);

/** Builds with the defaults but for n_lists (IVF) and a shorter queue (HNSW), for speed. */
im_faiss_record build_file(const test_library *library, const uint64_t *alive, im_engine engine,
                           size_t n_lists);
void faiss_path(const test_library *library, const im_faiss_record *record, char out[160]);
im_code try_open(const test_library *library, const uint64_t *alive, im_engine engine,
                 const im_faiss_record *record, im_faiss_effort effort, im_index **out_index,
                 im_error *err);
im_index *open_file(const test_library *library, const uint64_t *alive, im_engine engine,
                    const im_faiss_record *record, im_faiss_effort effort);

#endif
