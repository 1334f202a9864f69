/* encoder/kernel_avx512.c — 14 x 32 tiles in AVX-512 registers. */
#if defined(__AVX512F__)
#include "encoder/kernel_avx512_lanes.h"
typedef short code_value; /* 16-bit products of pairs, which 32 bits hold */
#define BF16_GROUP 1
#define INT8_GROUP 2
#define VI_CODES(p) _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)(p)))
#define VI_INPUT(p) pair_set1(p)
#define VI_DOT(sum, codes, in) _mm512_add_epi32(sum, _mm512_madd_epi16(codes, in))
static inline __m512i pair_set1(const unsigned *p)
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
