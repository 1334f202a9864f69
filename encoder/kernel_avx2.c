/* encoder/kernel_avx2.c — 6 x 16 tiles in AVX2 registers with FMA. */
#if defined(__AVX2__)
#include <immintrin.h>
#include <string.h>
#define VEC __m256
#define LANES 8
#define MR 6
#define VFMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define VSET1(x) _mm256_set1_ps(x)
#define VLOAD(p) _mm256_loadu_ps(p)
#define VSTORE(p, v) _mm256_storeu_ps(p, v)
#define VMIN(a, b) _mm256_min_ps(a, b)
#define VMAX(a, b) _mm256_max_ps(a, b)
#define VPAIR_LOAD(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define VEVEN(p) _mm256_castsi256_ps(_mm256_slli_epi32(VPAIR_LOAD(p), 16))
#define VODD(p) \
    _mm256_castsi256_ps(_mm256_and_si256(VPAIR_LOAD(p), _mm256_set1_epi32((int)0xffff0000u)))
#define VINT __m256i
#define VCODES __m256i
#define VI_ZERO() _mm256_setzero_si256()
#define VI_STORE(p, v) _mm256_storeu_si256((__m256i *)(void *)(p), v)
#define VI_ROUND(v) _mm256_cvtps_epi32(v)
typedef short code_value; /* 16-bit products of pairs, which 32 bits hold */
#define BF16_GROUP 1
#define INT8_GROUP 2
#define VI_CODES(p) _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#define VI_INPUT(p) pair_set1(p)
#define VI_DOT(sum, codes, in) _mm256_add_epi32(sum, _mm256_madd_epi16(codes, in))
static inline __m256i pair_set1(const unsigned *p)
{
    int pair;
    memcpy(&pair, p, sizeof(pair));
    return _mm256_set1_epi32(pair);
}
#include "encoder/kernel_body.h"
#include "encoder/kernel_body_head.h"
#include "encoder/kernel_body_int8.h"
const kernel kernel_avx2 = KERNEL_SET("avx2");
#else
#include "encoder/kernel_internal.h"
const kernel kernel_avx2 = {.name = "avx2"}; /* another processor family */
#endif
