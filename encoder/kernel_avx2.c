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
#define VPAIR_LOAD(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define VEVEN(p) _mm256_castsi256_ps(_mm256_slli_epi32(VPAIR_LOAD(p), 16))
#define VODD(p) \
    _mm256_castsi256_ps(_mm256_and_si256(VPAIR_LOAD(p), _mm256_set1_epi32((int)0xffff0000u)))
#include "encoder/kernel_body.h"
const kernel kernel_avx2 = {
    "avx2", fast_panel, fast_panel_bf16, fast_narrow, sizeof(narrow_value), fast_head, fast_norm};
#else
#include "encoder/kernel_internal.h"
const kernel kernel_avx2 = {.name = "avx2"}; /* another processor family */
#endif
