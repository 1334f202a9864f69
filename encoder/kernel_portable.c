/* encoder/kernel_portable.c — 4 x 8 tiles in the compiler's own vectors: any processor. */
#include <math.h>
#include <string.h>
typedef float portable_vector __attribute__((vector_size(16)));
typedef unsigned portable_bits __attribute__((vector_size(16)));
static inline portable_vector portable_set1(float x)
{
    return (portable_vector){x, x, x, x};
}
static inline portable_vector portable_load(const float *p)
{
    portable_vector v;
    memcpy(&v, p, sizeof(v));
    return v;
}
static inline portable_vector portable_pairs(const unsigned short *p, int shift)
{
    portable_bits bits;
    portable_vector v;
    memcpy(&bits, p, sizeof(bits));
    bits = shift != 0 ? bits << 16 : bits & 0xffff0000u;
    memcpy(&v, &bits, sizeof(v));
    return v;
}
static inline portable_vector portable_min(portable_vector a, portable_vector b)
{
#if defined(__SSE2__)
    return __builtin_ia32_minps(a, b);
#else
    for (int l = 0; l < 4; l++) {
        b[l] = a[l] < b[l] ? a[l] : b[l];
    }
    return b;
#endif
}
static inline portable_vector portable_max(portable_vector a, portable_vector b)
{
#if defined(__SSE2__)
    return __builtin_ia32_maxps(a, b);
#else
    for (int l = 0; l < 4; l++) {
        b[l] = a[l] > b[l] ? a[l] : b[l];
    }
    return b;
#endif
}
#define VEC portable_vector
#define LANES 4
#define MR 4
#define VFMA(a, b, c) ((a) * (b) + (c))
#define VSET1(x) portable_set1(x)
#define VLOAD(p) portable_load(p)
#define VEVEN(p) portable_pairs(p, 16) /* little-endian: the first of a pair is the low half */
#define VODD(p) portable_pairs(p, 0)
#define VMIN(a, b) portable_min(a, b)
#define VMAX(a, b) portable_max(a, b)
#define VSTORE(p, v)                          \
    do {                                      \
        portable_vector stored = (v);         \
        memcpy((p), &stored, sizeof(stored)); \
    } while (0)
typedef int portable_ints __attribute__((vector_size(16)));
typedef short portable_shorts __attribute__((vector_size(16)));
typedef long long portable_longs __attribute__((vector_size(16)));
typedef signed char portable_bytes __attribute__((vector_size(16)));
typedef short code_value; /* 16-bit products of pairs, which 32 bits hold */
/* Each byte twice, then the upper one's sign over both: __builtin_convertvector goes byte by byte.
 */
static inline portable_shorts portable_codes(const signed char *p)
{
    long long eight;
    memcpy(&eight, p, sizeof(eight));
    portable_bytes bytes = (portable_bytes)(portable_longs){eight, 0};
    bytes = __builtin_shufflevector(bytes, bytes, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    return (portable_shorts)bytes >> 8;
}
static inline portable_shorts portable_pair(const unsigned *p)
{
    int pair;
    memcpy(&pair, p, sizeof(pair));
    return (portable_shorts)(portable_ints){pair, pair, pair, pair};
}
static inline portable_ints portable_dot(portable_ints sum, portable_shorts a, portable_shorts b)
{
#if defined(__SSE2__)
    return sum + (portable_ints)__builtin_ia32_pmaddwd128(a, b);
#else
    for (int l = 0; l < 4; l++) {
        sum[l] += (int)a[2 * l] * b[2 * l] + (int)a[2 * l + 1] * b[2 * l + 1];
    }
    return sum;
#endif
}
static inline portable_ints portable_round(portable_vector v)
{
#if defined(__SSE2__)
    return (portable_ints)__builtin_ia32_cvtps2dq(v);
#else
    return (portable_ints){(int)lrintf(v[0]), (int)lrintf(v[1]), (int)lrintf(v[2]),
                           (int)lrintf(v[3])};
#endif
}
#define VINT portable_ints
#define VCODES portable_shorts
#define BF16_GROUP 1
#define INT8_GROUP 2
#define VI_ZERO() ((portable_ints){0, 0, 0, 0})
#define VI_STORE(p, v)                                  \
    do {                                                \
        portable_ints stored_ints = (v);                \
        memcpy((p), &stored_ints, sizeof(stored_ints)); \
    } while (0)
#define VI_CODES(p) portable_codes(p)
#define VI_INPUT(p) portable_pair(p)
#define VI_DOT(sum, codes, in) portable_dot(sum, codes, in)
#define VI_ROUND(v) portable_round(v)
#include "encoder/kernel_body.h"
#include "encoder/kernel_body_head.h"
#include "encoder/kernel_body_int8.h"
const kernel kernel_portable = KERNEL_SET("portable");
