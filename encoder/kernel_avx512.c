/* encoder/kernel_avx512.c — 14 x 32 tiles in AVX-512 registers. */
#if defined(__AVX512F__)
#include <immintrin.h>
#include <string.h>
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
#define VINT __m512i
#define VCODES __m512i
#define VI_ZERO() _mm512_setzero_si512()
#define VI_STORE(p, v) _mm512_storeu_si512(p, v)
#define VI_ROUND(v) _mm512_cvtps_epi32(v)
typedef short code_value; /* 16-bit products of pairs, which 32 bits hold */
#define INT8_GROUP 2
#define VI_CODES(p) _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)(p)))
#define VI_INPUT(p) pair_set1(p)
#define VI_DOT(sum, codes, in) _mm512_add_epi32(sum, _mm512_madd_epi16(codes, in))
static inline __m512i pair_set1(const short *p)
{
    int pair;
    memcpy(&pair, p, sizeof(pair));
    return _mm512_set1_epi32(pair);
}
#include "encoder/kernel_body.h"
#include "encoder/kernel_body_head.h"
#include "encoder/kernel_body_int8.h"
const kernel kernel_avx512 = KERNEL_SET("avx512");
#else
#include "encoder/kernel_internal.h"
const kernel kernel_avx512 = {.name = "avx512"}; /* another processor family */
#endif
