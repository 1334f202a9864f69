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
#define VMIN(a, b) _mm512_min_ps(a, b)
#define VMAX(a, b) _mm512_max_ps(a, b)
#define VTURN(block, units, n, out, step) turn_16x16(block, units, n, out, step)
#define VINT __m512i
#define VCODES __m512i
#define VI_ZERO() _mm512_setzero_si512()
#define VI_STORE(p, v) _mm512_storeu_si512(p, v)
#define VI_ROUND(v) _mm512_cvtps_epi32(v)

/* 16 x 16 words turned: pairs, fours, then lanes of four are exchanged. */
static inline __attribute__((always_inline)) void turn_16x16(unsigned block[16][16], size_t units,
                                                             size_t n, unsigned *out, size_t step)
{
    __m512i a[16];
    __m512i b[16];
    __m512i columns[16];
    __mmask16 rows = (__mmask16)((1u << n) - 1);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        __m512i even = _mm512_load_si512(block[2 * i]);
        __m512i odd = _mm512_load_si512(block[2 * i + 1]);
        b[2 * i] = _mm512_unpacklo_epi32(even, odd);
        b[2 * i + 1] = _mm512_unpackhi_epi32(even, odd);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) { /* a[i + j], lane l: column 4 l + j of rows i … i + 3 */
        a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
        a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
        a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
        a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        __m512i even0 = _mm512_shuffle_i32x4(a[j], a[4 + j], 0x88);
        __m512i even1 = _mm512_shuffle_i32x4(a[8 + j], a[12 + j], 0x88);
        __m512i odd0 = _mm512_shuffle_i32x4(a[j], a[4 + j], 0xdd);
        __m512i odd1 = _mm512_shuffle_i32x4(a[8 + j], a[12 + j], 0xdd);
        columns[j] = _mm512_shuffle_i32x4(even0, even1, 0x88);
        columns[8 + j] = _mm512_shuffle_i32x4(even0, even1, 0xdd);
        columns[4 + j] = _mm512_shuffle_i32x4(odd0, odd1, 0x88);
        columns[12 + j] = _mm512_shuffle_i32x4(odd0, odd1, 0xdd);
    }
    if (units == 16) {
#pragma GCC unroll 16
        for (size_t u = 0; u < 16; u++) {
            _mm512_mask_storeu_epi32(out + u * step, rows, columns[u]);
        }
        return;
    }
    for (size_t u = 0; u < units; u++) {
        _mm512_mask_storeu_epi32(out + u * step, rows, columns[u]);
    }
}

#endif
