/* image/resample_avx2.c — the two passes of resample.c in AVX2, with the same results: a weight is
 * split as high * 4096 + low so that 16-bit multiply-add takes two taps at once, and the two 32-bit
 * sums are joined at the end. Sums wrap as 32-bit numbers do; what they join to fits, so it is
 * exact whatever the number of taps. Chosen at run time. */
#include "image/resample_internal.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))

/* (high << 12) + low + one half, >> 22 */
AVX2 static inline __m256i join(__m256i low, __m256i high)
{
    const __m256i half = _mm256_set1_epi32(1 << (RESAMPLE_BITS - 1));
    __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(high, RESAMPLE_LOW_BITS), low);
    return _mm256_srai_epi32(_mm256_add_epi32(sum, half), RESAMPLE_BITS);
}

/* 16 bytes from p, of which those at or behind end read as 0. */
static inline void load_tail(const uint8_t *p, const uint8_t *end, uint8_t out[16])
{
    size_t left = p < end ? (size_t)(end - p) : 0;
    memset(out, 0, 16);
    memcpy(out, p, left < 16 ? left : 16);
}

/* Four taps of three channels: bytes R0 G0 B0 R1 … B3 become the pairs R0 R1 G0 G1 B0 B1 0 0 and
 * R2 R3 G2 G3 B2 B3 0 0 of 16 bits, multiplied with w0 w1 (four times) and w2 w3. */
AVX2 static inline void add_taps(__m128i bytes, const int16_t *low, const int16_t *high,
                                 __m256i *sum_low, __m256i *sum_high)
{
    const __m128i pairs = _mm_setr_epi8(0, 3, 1, 4, 2, 5, -1, -1, 6, 9, 7, 10, 8, 11, -1, -1);
    const __m256i spread = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    __m256i pixels = _mm256_cvtepu8_epi16(_mm_shuffle_epi8(bytes, pairs));
    __m256i w_low = _mm256_castsi128_si256(_mm_loadl_epi64((const __m128i *)low));
    __m256i w_high = _mm256_castsi128_si256(_mm_loadl_epi64((const __m128i *)high));
    w_low = _mm256_permutevar8x32_epi32(w_low, spread);
    w_high = _mm256_permutevar8x32_epi32(w_high, spread);
    *sum_low = _mm256_add_epi32(*sum_low, _mm256_madd_epi16(pixels, w_low));
    *sum_high = _mm256_add_epi32(*sum_high, _mm256_madd_epi16(pixels, w_high));
}

AVX2 static void store_pixel(__m256i sum_low, __m256i sum_high, uint8_t *out)
{
    __m256i swapped_low = _mm256_permute2x128_si256(sum_low, sum_low, 1);
    __m256i swapped_high = _mm256_permute2x128_si256(sum_high, sum_high, 1);
    __m256i value =
        join(_mm256_add_epi32(sum_low, swapped_low), _mm256_add_epi32(sum_high, swapped_high));
    value = _mm256_packs_epi32(value, value);
    value = _mm256_packus_epi16(value, value);
    int32_t pixel = _mm_cvtsi128_si32(_mm256_castsi256_si128(value));
    memcpy(out, &pixel, 3);
}

AVX2 static void across_avx2(const uint8_t *row, const uint8_t *end, const resample_axis *axis,
                             uint8_t *out)
{
    for (uint32_t i = 0; i < axis->n; i++) {
        const int16_t *low = axis->low + (size_t)i * axis->taps;
        const int16_t *high = axis->high + (size_t)i * axis->taps;
        const uint8_t *p = row + (size_t)axis->start[i] * 3;
        __m256i sum_low = _mm256_setzero_si256();
        __m256i sum_high = _mm256_setzero_si256();
        for (uint32_t k = 0; k < axis->count[i]; k += 4, p += 12) {
            __m128i bytes;
            if (end - p >= 16) {
                bytes = _mm_loadu_si128((const __m128i *)p);
            } else {
                uint8_t tail[16];
                load_tail(p, end, tail);
                bytes = _mm_loadu_si128((const __m128i *)tail);
            }
            add_taps(bytes, low + k, high + k, &sum_low, &sum_high);
        }
        store_pixel(sum_low, sum_high, out + (size_t)i * 3);
    }
}

/* Two weights side by side, for every pair of lanes. */
AVX2 static inline __m256i weight_pair(const int16_t *w)
{
    int32_t pair;
    memcpy(&pair, w, sizeof pair);
    return _mm256_set1_epi32(pair);
}

/* Sixteen columns of output i. */
AVX2 static void down_block(const uint8_t *p, size_t row_bytes, uint32_t n, const int16_t *low,
                            const int16_t *high, uint8_t *out)
{
    __m256i sums[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                       _mm256_setzero_si256()};
    for (uint32_t k = 0; k < n; k += 2) {
        const uint8_t *next = k + 1 < n ? p + row_bytes : p; /* its weight is 0 then */
        __m256i a = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)p));
        __m256i b = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)next));
        __m256i even = _mm256_unpacklo_epi16(a, b);
        __m256i odd = _mm256_unpackhi_epi16(a, b);
        __m256i w_low = weight_pair(low + k);
        __m256i w_high = weight_pair(high + k);
        sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(even, w_low));
        sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(even, w_high));
        sums[2] = _mm256_add_epi32(sums[2], _mm256_madd_epi16(odd, w_low));
        sums[3] = _mm256_add_epi32(sums[3], _mm256_madd_epi16(odd, w_high));
        p = next + row_bytes;
    }
    __m256i words = _mm256_packs_epi32(join(sums[0], sums[1]), join(sums[2], sums[3]));
    __m128i bytes =
        _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)out, bytes);
}

AVX2 static void down_avx2(const uint8_t *rows, size_t row_bytes, const resample_axis *axis,
                           uint32_t i, uint8_t *out)
{
    if (row_bytes < 16) {
        resample_down_plain(rows, row_bytes, axis, i, out);
        return;
    }
    const int16_t *low = axis->low + (size_t)i * axis->taps;
    const int16_t *high = axis->high + (size_t)i * axis->taps;
    for (size_t x = 0; x < row_bytes; x += 16) {
        size_t at = x + 16 <= row_bytes ? x : row_bytes - 16; /* the last block overlaps */
        down_block(rows + at, row_bytes, axis->count[i], low, high, out + at);
    }
}

const resample_kernels resample_avx2 = {"avx2", across_avx2, down_avx2};
#endif
