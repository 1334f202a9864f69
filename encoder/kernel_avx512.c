/* encoder/kernel_avx512.c — 12 x 32 tiles in AVX-512 registers. */
#if defined(__AVX512F__)
#include <immintrin.h>
#define VEC __m512
#define LANES 16
#define MR 12
#define VFMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define VSET1(x) _mm512_set1_ps(x)
#define VLOAD(p) _mm512_loadu_ps(p)
#define VSTORE(p, v) _mm512_storeu_ps(p, v)
#include "encoder/kernel_body.h"
const kernel kernel_avx512 = {"avx512", fast_panel, fast_head, fast_norm};
#else
#include "encoder/kernel_internal.h"
const kernel kernel_avx512 = {"avx512", NULL, NULL, NULL}; /* another processor family */
#endif
