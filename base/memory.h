/* base/memory.h — the only way to get heap memory: checked products, alignment, arenas; can be
 * told to fail (base/fault.h). */
#ifndef IM_BASE_MEMORY_H
#define IM_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** n*size bytes, not cleared, aligned for any type; NULL on overflow or when memory is out.
 * n*size == 0 gives a valid pointer of one byte. Free with im_free. */
void *im_alloc(size_t n, size_t size);
/** As im_alloc, cleared. */
void *im_alloc_zero(size_t n, size_t size);
/** As realloc with a checked product; on NULL the old block is still the caller's. */
void *im_realloc(void *block, size_t n, size_t size);
/** 64-byte aligned block, not cleared; free with im_free. */
void *im_alloc_aligned(size_t n, size_t size);
void im_free(void *block);
/** Copy of a C string, NULL when memory is out. */
char *im_strdup(const char *text);

typedef struct im_memory_usage {
    uint64_t private_bytes; /* RssAnon: heap and stacks */
    uint64_t mapped_bytes; /* RssFile: pages of mapped files, which the system takes back at will */
} im_memory_usage;
/** What this process holds now; zeros when the system does not say. */
im_memory_usage im_memory_used(void);
/** Bytes that the cgroup allows (memory.max, and its parents'); UINT64_MAX when there is no limit.
 */
uint64_t im_memory_limit(void);
/** From now on freed memory goes back to the system early, at a small cost: for whoever has a
 * budget to keep. */
void im_memory_return_freed(void);

/** Bump allocator of a size fixed at init: a forward pass takes all its buffers from one. */
typedef struct im_arena {
    unsigned char *base; /* 64-byte aligned */
    size_t size;
    size_t used;
} im_arena;

/** false when memory is out; arena is then empty and may be cleared. */
bool im_arena_init(im_arena *arena, size_t size);
/** n*size bytes, 64-byte aligned, not cleared; NULL when the arena is too small (a planning bug).
 */
void *im_arena_take(im_arena *arena, size_t n, size_t size);
void im_arena_reset(im_arena *arena);
void im_arena_clear(im_arena *arena);

#endif
