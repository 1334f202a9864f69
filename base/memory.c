/* base/memory.c — heap blocks through one place: checked products, injected failures, and a count
 * of what is alive, by which tests find leaks. */
#include "base/memory.h"
#include "base/fault.h"
#include "base/size.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64u

static atomic_size_t live; /* blocks handed out and not freed */

/* Size to ask of the C library; false when n*size overflows or a fault strikes. */
static bool block_size(size_t n, size_t size, size_t *out_bytes)
{
    size_t bytes = 0;
    if (im_fault_hit(IM_FAULT_ALLOC)) {
        return false;
    }
    if (!im_size_mul(n, size, &bytes) || bytes > PTRDIFF_MAX) {
        errno = ENOMEM;
        return false;
    }
    *out_bytes = bytes > 0 ? bytes : 1;
    return true;
}

static void *counted(void *block)
{
    if (block != NULL) {
        atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
    }
    return block;
}

void *im_alloc(size_t n, size_t size)
{
    size_t bytes = 0;
    return block_size(n, size, &bytes) ? counted(malloc(bytes)) : NULL;
}

void *im_alloc_zero(size_t n, size_t size)
{
    size_t bytes = 0;
    return block_size(n, size, &bytes) ? counted(calloc(1, bytes)) : NULL;
}

void *im_realloc(void *block, size_t n, size_t size)
{
    size_t bytes = 0;
    if (block == NULL) {
        return im_alloc(n, size);
    }
    return block_size(n, size, &bytes) ? realloc(block, bytes) : NULL;
}

void *im_alloc_aligned(size_t n, size_t size)
{
    size_t bytes = 0;
    if (!block_size(n, size, &bytes)) {
        return NULL;
    }
    /* aligned_alloc wants a multiple of the alignment; PTRDIFF_MAX leaves room to round up */
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return counted(aligned_alloc(ALIGNMENT, bytes));
}

void im_free(void *block)
{
    if (block != NULL) {
        atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
        free(block);
    }
}

char *im_strdup(const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = im_alloc(bytes, 1);
    if (copy != NULL) {
        memcpy(copy, text, bytes);
    }
    return copy;
}

size_t im_live_allocations(void)
{
    return atomic_load_explicit(&live, memory_order_relaxed);
}

bool im_arena_init(im_arena *arena, size_t size)
{
    arena->base = im_alloc_aligned(size, 1);
    arena->size = arena->base != NULL ? size : 0;
    arena->used = 0;
    return arena->base != NULL;
}

void *im_arena_take(im_arena *arena, size_t n, size_t size)
{
    size_t bytes = 0;
    size_t rounded = 0;
    if (!im_size_mul(n, size, &bytes) || !im_size_add(bytes, ALIGNMENT - 1, &rounded)) {
        return NULL;
    }
    rounded = rounded / ALIGNMENT * ALIGNMENT;
    /* used is always a multiple of the alignment, unless the very end was taken */
    size_t left = arena->size - arena->used;
    if (arena->base == NULL || bytes > left) {
        return NULL;
    }
    void *block = arena->base + arena->used;
    arena->used += IM_MIN(rounded, left);
    return block;
}

void im_arena_reset(im_arena *arena)
{
    arena->used = 0;
}

void im_arena_clear(im_arena *arena)
{
    im_free(arena->base);
    *arena = (im_arena){0};
}
