/* encoder/kernel_portable.c — 4 x 8 tiles in the compiler's own vectors: any processor. */
#include <string.h>
typedef float portable_vector __attribute__((vector_size(16)));
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
#define VEC portable_vector
#define LANES 4
#define MR 4
#define VFMA(a, b, c) ((a) * (b) + (c))
#define VSET1(x) portable_set1(x)
#define VLOAD(p) portable_load(p)
#define VSTORE(p, v)                          \
    do {                                      \
        portable_vector stored = (v);         \
        memcpy((p), &stored, sizeof(stored)); \
    } while (0)
#include "encoder/kernel_body.h"
const kernel kernel_portable = {"portable", fast_panel, fast_head, fast_norm};
