/* index/top_internal.h — the best hits seen so far, at most `limit` of them. */
#ifndef IM_INDEX_TOP_INTERNAL_H
#define IM_INDEX_TOP_INTERNAL_H

#include "index/index.h"
#include <stdbool.h>
#include <stddef.h>

/** Entries in any order until `limit` is reached, from then a heap with the worst on top. Memory
 * grows with what is found, so that a large k costs nothing where few rows match. */
typedef struct index_top {
    im_hit *entries; /* [capacity], owned */
    size_t n, capacity;
    size_t limit; /* >= 1 */
} index_top;

void index_top_init(index_top *top, size_t limit);
void index_top_clear(index_top *top);
/** True when a row of this score cannot enter whatever its item: spares the look at the row. */
static inline bool index_top_refuses(const index_top *top, float score)
{
    return top->n == top->limit && score < top->entries[0].score;
}
/** Keeps the hit when it is among the best. false when memory is out. */
bool index_top_push(index_top *top, const im_hit *hit);
/** Sorts the entries best first; no push after it. */
void index_top_sort(index_top *top);
/** Order of hits: higher score, then lower item, then lower slot. */
bool index_hit_better(const im_hit *a, const im_hit *b);

#endif
