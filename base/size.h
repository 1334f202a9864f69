/* base/size.h — checked arithmetic for foreign numbers. Each returns false on overflow. */
#ifndef IM_BASE_SIZE_H
#define IM_BASE_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool im_size_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool im_size_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline bool im_u64_mul(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool im_u64_add(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

#define IM_MIN(a, b) ((a) < (b) ? (a) : (b))
#define IM_MAX(a, b) ((a) > (b) ? (a) : (b))
#define IM_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
