/* encoder/kernel_avx512_vnni.c — as kernel_avx512.c, with int8 products as an instruction: four
 * multiply-adds a lane (AVX512-VNNI). */
#if defined(__AVX512VNNI__)
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
const kernel kernel_avx512_vnni = KERNEL_SET("avx512_vnni");
#else
#include "encoder/kernel_internal.h"
const kernel kernel_avx512_vnni = {.name = "avx512_vnni"}; /* another processor family */
#endif
