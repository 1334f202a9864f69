/* index/top.c — a bounded heap of hits; sorting is heap sort, in place, so that a million hits need
 * no second block. */
#include "base/base.h"
#include "index/top_internal.h"
#include <string.h>

#define FIRST_CAPACITY 64u

void index_top_init(index_top *top, size_t limit)
{
    memset(top, 0, sizeof(*top));
    top->limit = limit;
}

void index_top_clear(index_top *top)
{
    im_free(top->entries);
    memset(top, 0, sizeof(*top));
}

bool index_hit_better(const im_hit *a, const im_hit *b)
{
    if (a->score != b->score) {
        return a->score > b->score;
    }
    return a->item != b->item ? a->item < b->item : a->slot < b->slot;
}

/* Sinks the entry at `at` until no child is worse than it: the worst is on top. */
static void sink(im_hit *heap, size_t n, size_t at)
{
    im_hit moved = heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= n) {
            break;
        }
        if (child + 1 < n && index_hit_better(&heap[child], &heap[child + 1])) {
            child++;
        }
        if (!index_hit_better(&moved, &heap[child])) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

static void make_heap(im_hit *entries, size_t n)
{
    for (size_t at = n / 2; at > 0; at--) {
        sink(entries, n, at - 1);
    }
}

static bool grow(index_top *top)
{
    size_t capacity = top->capacity == 0 ? FIRST_CAPACITY : 2 * top->capacity;
    capacity = IM_MIN(capacity, top->limit);
    im_hit *entries = im_realloc(top->entries, capacity, sizeof(*entries));
    if (entries == NULL) {
        return false;
    }
    top->entries = entries;
    top->capacity = capacity;
    return true;
}

bool index_top_push(index_top *top, const im_hit *hit)
{
    if (top->n == top->limit) {
        if (index_hit_better(hit, &top->entries[0])) {
            top->entries[0] = *hit;
            sink(top->entries, top->n, 0);
        }
        return true;
    }
    if (top->n == top->capacity && !grow(top)) {
        return false;
    }
    top->entries[top->n++] = *hit;
    if (top->n == top->limit) {
        make_heap(top->entries, top->n);
    }
    return true;
}

void index_top_sort(index_top *top)
{
    if (top->n < top->limit) {
        make_heap(top->entries, top->n);
    }
    for (size_t n = top->n; n > 1; n--) {
        im_hit worst = top->entries[0];
        top->entries[0] = top->entries[n - 1];
        top->entries[n - 1] = worst;
        sink(top->entries, n - 1, 0);
    }
}
