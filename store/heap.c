/* store/heap.c — SQLite's memory through base/memory.h, so that an allocation inside SQLite can be
 * told to fail like any other. SQLite asks for the size of its blocks: it is kept in front of them.
 */
#include "store/store_internal.h"
#include <stddef.h>

typedef union heap_head {
    size_t size;
    max_align_t align; /* the block behind stays aligned for any type */
} heap_head;

static void *heap_malloc(int size)
{
    heap_head *head = im_alloc(sizeof(heap_head) + (size_t)size, 1);
    if (head == NULL) {
        return NULL;
    }
    head->size = (size_t)size;
    return head + 1;
}

static void heap_free(void *block)
{
    if (block != NULL) {
        im_free((heap_head *)block - 1);
    }
}

static void *heap_realloc(void *block, int size)
{
    heap_head *head = im_realloc((heap_head *)block - 1, sizeof(heap_head) + (size_t)size, 1);
    if (head == NULL) {
        return NULL;
    }
    head->size = (size_t)size;
    return head + 1;
}

static int heap_size(void *block)
{
    return block != NULL ? (int)((heap_head *)block - 1)->size : 0;
}

static int heap_roundup(int size)
{
    return (size + 7) & ~7;
}

static int heap_init(void *unused)
{
    (void)unused;
    return SQLITE_OK;
}

static void heap_shutdown(void *unused)
{
    (void)unused;
}

int store_heap_register(void)
{
    static const sqlite3_mem_methods methods = {
        .xMalloc = heap_malloc,
        .xFree = heap_free,
        .xRealloc = heap_realloc,
        .xSize = heap_size,
        .xRoundup = heap_roundup,
        .xInit = heap_init,
        .xShutdown = heap_shutdown,
    };
    return sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
}
