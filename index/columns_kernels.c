/* index/columns_kernels.c — values of a chunk against a range or a set of words, a bit a row. */
#include "base/pool.h"
#include "base/size.h"
#include "index/columns_kernels_internal.h"
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

static void integers_plain(const int64_t *values, size_t n, int64_t min, int64_t max,
                           uint64_t *bits)
{
    memset(bits, 0, (n + 63) / 64 * sizeof(*bits));
    for (size_t i = 0; i < n; i++) {
        bits[i / 64] |= (uint64_t)(values[i] >= min && values[i] <= max) << (i % 64);
    }
}

static void numbers_plain(const double *values, size_t n, double min, double max, uint64_t *bits)
{
    memset(bits, 0, (n + 63) / 64 * sizeof(*bits));
    for (size_t i = 0; i < n; i++) {
        bits[i / 64] |= (uint64_t)(values[i] >= min && values[i] <= max) << (i % 64);
    }
}

static void words_plain(const uint32_t *values, size_t n, const uint32_t *set, uint32_t n_set,
                        uint64_t *bits)
{
    memset(bits, 0, (n + 63) / 64 * sizeof(*bits));
    for (size_t i = 0; i < n; i++) {
        uint32_t word = IM_MIN(values[i], n_set);
        bits[i / 64] |= (uint64_t)(set[word / 32] >> (word % 32) & 1) << (i % 64);
    }
}

const columns_kernels columns_kernels_plain = {integers_plain, numbers_plain, words_plain};

#if defined(__x86_64__)

#define AVX2 __attribute__((target("avx2")))

AVX2 static void integers_avx2(const int64_t *values, size_t n, int64_t min, int64_t max,
                               uint64_t *bits)
{
    const __m256i low = _mm256_set1_epi64x(min);
    const __m256i high = _mm256_set1_epi64x(max);
    size_t whole = n / 64 * 64;
    for (size_t i = 0; i < whole; i += 64) {
        uint64_t word = 0;
        for (size_t j = 0; j < 64; j += 4) {
            __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(values + i + j));
            __m256i out = _mm256_or_si256(_mm256_cmpgt_epi64(low, v), _mm256_cmpgt_epi64(v, high));
            uint64_t four = (uint64_t)_mm256_movemask_pd(_mm256_castsi256_pd(out)) ^ 15;
            word |= four << j;
        }
        bits[i / 64] = word;
    }
    integers_plain(values + whole, n - whole, min, max, bits + whole / 64);
}

AVX2 static void numbers_avx2(const double *values, size_t n, double min, double max,
                              uint64_t *bits)
{
    const __m256d low = _mm256_set1_pd(min);
    const __m256d high = _mm256_set1_pd(max);
    size_t whole = n / 64 * 64;
    for (size_t i = 0; i < whole; i += 64) {
        uint64_t word = 0;
        for (size_t j = 0; j < 64; j += 4) {
            __m256d v = _mm256_loadu_pd(values + i + j);
            __m256d in = _mm256_and_pd(_mm256_cmp_pd(v, low, _CMP_GE_OQ),
                                       _mm256_cmp_pd(v, high, _CMP_LE_OQ));
            word |= (uint64_t)_mm256_movemask_pd(in) << j;
        }
        bits[i / 64] = word;
    }
    numbers_plain(values + whole, n - whole, min, max, bits + whole / 64);
}

AVX2 static void words_avx2(const uint32_t *values, size_t n, const uint32_t *set, uint32_t n_set,
                            uint64_t *bits)
{
    const __m256i limit = _mm256_set1_epi32((int)n_set);
    const __m256i low_bits = _mm256_set1_epi32(31);
    size_t whole = n / 64 * 64;
    for (size_t i = 0; i < whole; i += 64) {
        uint64_t word = 0;
        for (size_t j = 0; j < 64; j += 8) {
            __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(values + i + j));
            v = _mm256_min_epu32(v, limit);
            __m256i sets =
                _mm256_i32gather_epi32((const int *)(const void *)set, _mm256_srli_epi32(v, 5), 4);
            /* the bit asked for becomes the sign */
            __m256i left = _mm256_sub_epi32(low_bits, _mm256_and_si256(v, low_bits));
            __m256 signs = _mm256_castsi256_ps(_mm256_sllv_epi32(sets, left));
            word |= (uint64_t)(unsigned)_mm256_movemask_ps(signs) << j;
        }
        bits[i / 64] = word;
    }
    words_plain(values + whole, n - whole, set, n_set, bits + whole / 64);
}

static const columns_kernels kernels_avx2 = {integers_avx2, numbers_avx2, words_avx2};
#endif

const columns_kernels *columns_kernels_choose(void)
{
#if defined(__x86_64__)
    if (im_cpu_features().avx2_fma) {
        return &kernels_avx2;
    }
#endif
    return &columns_kernels_plain;
}
