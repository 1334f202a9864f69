/* encoder/kernel_avx512_bf16.c — as kernel_avx512.c, with bf16 products as an instruction: two
 * multiply-adds a lane (AVX512-BF16; denormals count as 0), and int8 ones (AVX512-VNNI, which every
 * processor with the former has). */
#if defined(__AVX512BF16__) && defined(__AVX512VNNI__)
#include "encoder/kernel_avx512_lanes.h"
#include "encoder/kernel_avx512_quads.h"
#define BF16_GROUP 2
/* 32 values rounded at once; the products take denormals for 0, as this does. */
#define VNARROW(p, out) narrow_32(p, out)
#define VPAIRS __m512i
#define VLOAD_PAIRS(p) _mm512_loadu_si512(p)
#define VSET1_PAIR(p) pair_set1(p)
#define VDOT(sum, pairs, a) _mm512_dpbf16_ps(sum, (__m512bh)(pairs), (__m512bh)(a))
static inline void narrow_32(const float *x, void *out)
{
    __m512bh pairs = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + 16), _mm512_loadu_ps(x));
    _mm512_storeu_si512(out, (__m512i)pairs);
}
static inline __m512i pair_set1(const unsigned *p)
{
    int pair;
    memcpy(&pair, p, sizeof(pair));
    return _mm512_set1_epi32(pair);
}
#include "encoder/kernel_body.h"
#include "encoder/kernel_body_head.h"
#include "encoder/kernel_body_int8.h"
const kernel kernel_avx512_bf16 = KERNEL_SET("avx512_bf16");
#else
#include "encoder/kernel_internal.h"
const kernel kernel_avx512_bf16 = {.name = "avx512_bf16"}; /* another processor family */
#endif
