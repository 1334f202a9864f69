/* encoder/kernel_portable.c — 4 x 8 tiles in the compiler's own vectors: any processor. */
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
#define VEC portable_vector
#define LANES 4
#define MR 4
#define VFMA(a, b, c) ((a) * (b) + (c))
#define VSET1(x) portable_set1(x)
#define VLOAD(p) portable_load(p)
#define VEVEN(p) portable_pairs(p, 16) /* little-endian: the first of a pair is the low half */
#define VODD(p) portable_pairs(p, 0)
#define VSTORE(p, v)                          \
    do {                                      \
        portable_vector stored = (v);         \
        memcpy((p), &stored, sizeof(stored)); \
    } while (0)
#include "encoder/kernel_body.h"
const kernel kernel_portable = {"portable",           fast_panel, fast_panel_bf16, fast_narrow,
                                sizeof(narrow_value), fast_head,  fast_norm};
