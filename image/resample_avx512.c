/* image/resample_avx512.c — the two passes of resample.c in AVX-512, with the same results, by the
 * halves that resample_avx2.c explains: eight taps of a pixel at once, 32 columns at once. Chosen
 * at run time. */
#include "image/resample_internal.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))

/* (high << 12) + low + one half, >> 22 */
AVX512 static inline __m512i join(__m512i low, __m512i high)
{
    const __m512i half = _mm512_set1_epi32(1 << (RESAMPLE_BITS - 1));
    __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(high, RESAMPLE_LOW_BITS), low);
    return _mm512_srai_epi32(_mm512_add_epi32(sum, half), RESAMPLE_BITS);
}

/* Eight taps of three channels, bytes R0 G0 B0 R1 … B7: a quarter of the result is R0 R1 G0 G1 B0
 * B1 0 0, in 16 bits, for each pair of taps. */
AVX512 static inline __m512i pair_taps(const uint8_t *p, const uint8_t *end)
{
    const __m256i pairs = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 3, 1, 4, 2, 5, -1, -1, 6, 9, 7, 10, 8, 11, -1, -1));
    __m256i bytes;
    if (end - p >= 28) {
        bytes = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)p)),
                                        _mm_loadu_si128((const __m128i *)(p + 12)), 1);
    } else { /* what lies behind the end reads as 0 */
        uint32_t left = p < end ? (uint32_t)(end - p) : 0;
        uint32_t first = left < 16 ? left : 16;
        uint32_t second = left < 12 ? 0 : left - 12;
        bytes = _mm256_inserti128_si256(
            _mm256_castsi128_si256(_mm_maskz_loadu_epi8((__mmask16)((1u << first) - 1), p)),
            _mm_maskz_loadu_epi8((__mmask16)((1u << second) - 1), p + 12), 1);
    }
    return _mm512_cvtepu8_epi16(_mm256_shuffle_epi8(bytes, pairs));
}

AVX512 static inline __m512i spread_weights(const int16_t *w)
{
    const __m512i spread = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    __m512i eight = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)w));
    return _mm512_permutexvar_epi32(spread, eight);
}

/* The four quarters of the sums are those of four pairs of taps. */
AVX512 static inline void store_pixel(__m512i sum_low, __m512i sum_high, uint8_t *out)
{
    const __m128i half = _mm_set1_epi32(1 << (RESAMPLE_BITS - 1));
    __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(sum_high, RESAMPLE_LOW_BITS), sum_low);
    __m256i two = _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64(sum, 1));
    __m128i one = _mm_add_epi32(_mm256_castsi256_si128(two), _mm256_extracti128_si256(two, 1));
    __m128i value = _mm_srai_epi32(_mm_add_epi32(one, half), RESAMPLE_BITS);
    value = _mm_packs_epi32(value, value);
    value = _mm_packus_epi16(value, value);
    int32_t pixel = _mm_cvtsi128_si32(value);
    memcpy(out, &pixel, 3);
}

AVX512 static void across_avx512(const uint8_t *row, const uint8_t *end, const resample_axis *axis,
                                 uint8_t *out)
{
    for (uint32_t i = 0; i < axis->n; i++) {
        const int16_t *low = axis->low + (size_t)i * axis->taps;
        const int16_t *high = axis->high + (size_t)i * axis->taps;
        const uint8_t *p = row + (size_t)axis->start[i] * 3;
        __m512i sum_low = _mm512_setzero_si512();
        __m512i sum_high = _mm512_setzero_si512();
        for (uint32_t k = 0; k < axis->count[i]; k += 8, p += 24) {
            __m512i pixels = pair_taps(p, end);
            __m512i w_low = spread_weights(low + k);
            __m512i w_high = spread_weights(high + k);
            sum_low = _mm512_add_epi32(sum_low, _mm512_madd_epi16(pixels, w_low));
            sum_high = _mm512_add_epi32(sum_high, _mm512_madd_epi16(pixels, w_high));
        }
        store_pixel(sum_low, sum_high, out + (size_t)i * 3);
    }
}

/* Two weights side by side, for every pair of lanes. */
AVX512 static inline __m512i weight_pair(const int16_t *w)
{
    int32_t pair;
    memcpy(&pair, w, sizeof pair);
    return _mm512_set1_epi32(pair);
}

/* 32 columns of output i, or as many as `mask` has bits. */
AVX512 static void down_block(const uint8_t *p, size_t row_bytes, uint32_t n, const int16_t *low,
                              const int16_t *high, __mmask32 mask, uint8_t *out)
{
    __m512i sums[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                       _mm512_setzero_si512()};
    for (uint32_t k = 0; k < n; k += 2) {
        const uint8_t *next = k + 1 < n ? p + row_bytes : p; /* its weight is 0 then */
        __m512i a = _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(mask, p));
        __m512i b = _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(mask, next));
        __m512i even = _mm512_unpacklo_epi16(a, b);
        __m512i odd = _mm512_unpackhi_epi16(a, b);
        __m512i w_low = weight_pair(low + k);
        __m512i w_high = weight_pair(high + k);
        sums[0] = _mm512_add_epi32(sums[0], _mm512_madd_epi16(even, w_low));
        sums[1] = _mm512_add_epi32(sums[1], _mm512_madd_epi16(even, w_high));
        sums[2] = _mm512_add_epi32(sums[2], _mm512_madd_epi16(odd, w_low));
        sums[3] = _mm512_add_epi32(sums[3], _mm512_madd_epi16(odd, w_high));
        p = next + row_bytes;
    }
    __m512i words = _mm512_packs_epi32(join(sums[0], sums[1]), join(sums[2], sums[3]));
    words = _mm512_max_epi16(words, _mm512_setzero_si512());
    _mm256_mask_storeu_epi8(out, mask, _mm512_cvtusepi16_epi8(words));
}

AVX512 static void down_avx512(const uint8_t *rows, size_t row_bytes, const resample_axis *axis,
                               uint32_t i, uint8_t *out)
{
    const int16_t *low = axis->low + (size_t)i * axis->taps;
    const int16_t *high = axis->high + (size_t)i * axis->taps;
    for (size_t x = 0; x < row_bytes; x += 32) {
        size_t left = row_bytes - x;
        __mmask32 mask = left >= 32 ? UINT32_MAX : (__mmask32)((1u << left) - 1);
        down_block(rows + x, row_bytes, axis->count[i], low, high, mask, out + x);
    }
}

const resample_kernels resample_avx512 = {"avx512", across_avx512, down_avx512};
#endif
