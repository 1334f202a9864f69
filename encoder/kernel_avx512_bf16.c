/* encoder/kernel_avx512_bf16.c — as kernel_avx512.c, with bf16 products as an instruction: two
 * multiply-adds a lane (AVX512-BF16; denormals count as 0), and int8 ones (AVX512-VNNI, which every
 * processor with the former has). */
#if defined(__AVX512BF16__) && defined(__AVX512VNNI__)
#include <immintrin.h>
#include <string.h>
#define VEC __m512
#define LANES 16
#define MR 14
#define VFMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define VSET1(x) _mm512_set1_ps(x)
#define VLOAD(p) _mm512_loadu_ps(p)
#define VSTORE(p, v) _mm512_storeu_ps(p, v)
#define VPAIRS __m512i
#define VLOAD_PAIRS(p) _mm512_loadu_si512(p)
#define VSET1_PAIR(p) pair_set1(p)
#define VDOT(sum, pairs, a) _mm512_dpbf16_ps(sum, (__m512bh)(pairs), (__m512bh)(a))
static inline __m512i pair_set1(const unsigned short *p)
{
    int pair;
    memcpy(&pair, p, sizeof(pair));
    return _mm512_set1_epi32(pair);
}
#define VINT __m512i
#define VCODES __m512i
#define VI_ZERO() _mm512_setzero_si512()
#define VI_STORE(p, v) _mm512_storeu_si512(p, v)
#define VI_ROUND(v) _mm512_cvtps_epi32(v)
typedef unsigned char code_value;
#define INT8_GROUP 4
#define VI_CODES(p) _mm512_loadu_si512(p)
#define VI_INPUT(p) quad_set1(p)
#define VI_DOT(sum, codes, in) quad_dot(sum, codes, in)
static inline __m512i quad_set1(const unsigned char *p)
{
    int quad;
    memcpy(&quad, p, sizeof(quad));
    return _mm512_set1_epi32(quad);
}
/* Not _mm512_dpbusd_epi32: around that GCC 12 copies each sum, twice the time. */
static inline __m512i quad_dot(__m512i sum, __m512i codes, __m512i in)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(in), "v"(codes));
    return sum;
}
#include "encoder/kernel_body.h"
#include "encoder/kernel_body_head.h"
#include "encoder/kernel_body_int8.h"
const kernel kernel_avx512_bf16 = KERNEL_SET("avx512_bf16");
#else
#include "encoder/kernel_internal.h"
const kernel kernel_avx512_bf16 = {.name = "avx512_bf16"}; /* another processor family */
#endif
