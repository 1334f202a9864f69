/* encoder/kernel_avx512.c — 14 x 32 tiles in AVX-512 registers. */
#if defined(__AVX512F__)
#include <immintrin.h>
#define VEC __m512
#define LANES 16
#define MR 14
#define VFMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define VSET1(x) _mm512_set1_ps(x)
#define VLOAD(p) _mm512_loadu_ps(p)
#define VSTORE(p, v) _mm512_storeu_ps(p, v)
#define VEVEN(p) _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16))
#define VODD(p)          \
    _mm512_castsi512_ps( \
        _mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32((int)0xffff0000u)))
#include "encoder/kernel_body.h"
const kernel kernel_avx512 = {
    "avx512", fast_panel, fast_panel_bf16, fast_narrow, sizeof(narrow_value), fast_head, fast_norm};
#else
#include "encoder/kernel_internal.h"
const kernel kernel_avx512 = {.name = "avx512"}; /* another processor family */
#endif
