/* encoder/kernel_avx512_bf16.c — as kernel_avx512.c, with bf16 products as an instruction: two
 * multiply-adds a lane (AVX512-BF16; denormals count as 0). */
#if defined(__AVX512BF16__)
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
#include "encoder/kernel_body.h"
const kernel kernel_avx512_bf16 = {"avx512_bf16",        fast_panel, fast_panel_bf16, fast_narrow,
                                   sizeof(narrow_value), fast_head,  fast_norm};
#else
#include "encoder/kernel_internal.h"
const kernel kernel_avx512_bf16 = {.name = "avx512_bf16"}; /* another processor family */
#endif
