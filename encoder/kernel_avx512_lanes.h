/* encoder/kernel_avx512_lanes.h — what kernel_body.h asks for, in AVX-512 registers of 16 lanes:
 * tiles of 14 x 32 take 28 of the 32 registers. The kernels of this width include it and add their
 * products. */
#ifndef IM_ENCODER_KERNEL_AVX512_LANES_H
#define IM_ENCODER_KERNEL_AVX512_LANES_H

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

#endif
