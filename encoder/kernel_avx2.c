/* encoder/kernel_avx2.c — 6 x 16 tiles in AVX2 registers with FMA. */
#if defined(__AVX2__)
#include <immintrin.h>
#define VEC __m256
#define LANES 8
#define MR 6
#define VFMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define VSET1(x) _mm256_set1_ps(x)
#define VLOAD(p) _mm256_loadu_ps(p)
#define VSTORE(p, v) _mm256_storeu_ps(p, v)
#include "encoder/kernel_body.h"
const kernel kernel_avx2 = {"avx2", fast_panel, fast_head, fast_norm};
#else
#include "encoder/kernel_internal.h"
const kernel kernel_avx2 = {"avx2", NULL, NULL, NULL}; /* another processor family */
#endif
