/* tests/index/help_clusters.h — rows in clusters, as embeddings lie, and queries of the two
 * kinds. */
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

#endif
