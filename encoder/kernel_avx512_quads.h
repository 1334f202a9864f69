/* encoder/kernel_avx512_quads.h — int8 products as an instruction, four multiply-adds a lane
 * (AVX512-VNNI). */
#ifndef IM_ENCODER_KERNEL_AVX512_QUADS_H
#define IM_ENCODER_KERNEL_AVX512_QUADS_H

#include <immintrin.h>
#include <string.h>

typedef unsigned char code_value;
#define INT8_GROUP 4
#define VI_CODES(p) _mm512_loadu_si512(p)
#define VI_INPUT(p) quad_set1(p)
#define VI_DOT(sum, codes, in) quad_dot(sum, codes, in)
static inline __m512i quad_set1(const unsigned *p)
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

#endif
