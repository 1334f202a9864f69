/* index/codes_kernels.c — products with int8 codes in plain C (the oracle of the tests), AVX2 and
 * AVX-512 with VNNI; those for bits are in codes_bits.c.
 *
 * The scan of int8 codes waits for memory: 2.2 ms for 100,000 rows of 512, of which 2.0 ms to read
 * them. So upper halves come first, with one int8 plane of the query (1.5 to 1.8 ms); whole codes
 * of what is left get two planes, 15 bits, which takes the query's own rounding out of the bound.
 */
#include "base/pool.h"
#include "index/codes_kernels_internal.h"
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* ---- plain C ---- */

static void dot_i8_portable(const index_query_i8 *query, const index_code_rows *rows,
                            int32_t *out_high, int32_t *out_low)
{
    for (size_t r = 0; r < rows->n; r++) {
        const uint8_t *row = index_code_row(rows, r);
        int32_t high = 0;
        int32_t low = 0;
        for (size_t i = 0; i < rows->pitch; i++) {
            int32_t code = (int32_t)row[i] - CODES_ZERO;
            high += query->high[i] * code;
            low += query->low[i] * code;
        }
        out_high[r] = high;
        out_low[r] = low;
    }
}

static void dot_u4_portable(const index_query_i8 *query, const index_code_rows *rows, int32_t *out)
{
    for (size_t r = 0; r < rows->n; r++) {
        const uint8_t *row = index_code_row(rows, r);
        int32_t sum = 0;
        for (size_t i = 0; i < rows->pitch; i++) {
            const int8_t *at = query->high + i / 32 * 64 + i % 32;
            sum += at[0] * (row[i] & 0x0f) + at[32] * (row[i] >> 4);
        }
        out[r] = sum;
    }
}

static void join_portable(const uint8_t *upper, const uint8_t *lower, size_t size, uint8_t *codes)
{
    for (size_t i = 0; i < size; i++) {
        uint8_t *at = codes + i / 32 * 64 + i % 32;
        at[0] = (uint8_t)((upper[i] & 0x0f) << 4 | (lower[i] & 0x0f));
        at[32] = (uint8_t)((upper[i] & 0xf0) | lower[i] >> 4);
    }
}

#if defined(__x86_64__)

/* ---- AVX2 ---- */

#define AVX2 __attribute__((target("avx2")))
#define AVX2_INLINE __attribute__((target("avx2"), always_inline)) static inline

/* Σ over pairs of |code| · (query with the code's sign): at most 2 · 128 · 127, no saturation. */
AVX2_INLINE __m256i step_avx2(__m256i sum, __m256i size, __m256i code, const int8_t *query)
{
    __m256i q = _mm256_load_si256((const __m256i *)(const void *)query);
    __m256i pairs = _mm256_maddubs_epi16(size, _mm256_sign_epi8(q, code));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

AVX2_INLINE int32_t sum_avx2(__m256i lanes)
{
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1));
    __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

AVX2 static void dot_i8_avx2(const index_query_i8 *query, const index_code_rows *rows,
                             int32_t *out_high, int32_t *out_low)
{
    const __m256i zero = _mm256_set1_epi8((char)CODES_ZERO);
    for (size_t r = 0; r < rows->n; r++) {
        const uint8_t *row = index_code_row(rows, r);
        __m256i high = _mm256_setzero_si256();
        __m256i low = _mm256_setzero_si256();
        for (size_t i = 0; i < rows->pitch; i += 32) {
            __m256i raw = _mm256_loadu_si256((const __m256i *)(const void *)(row + i));
            __m256i code = _mm256_xor_si256(raw, zero);
            __m256i size = _mm256_abs_epi8(code);
            high = step_avx2(high, size, code, query->high + i);
            low = step_avx2(low, size, code, query->low + i);
        }
        out_high[r] = sum_avx2(high);
        out_low[r] = sum_avx2(low);
    }
}

/* Products of two halves and the query: at most 2 · 15 · 127, and two of these, no saturation. */
AVX2 static void dot_u4_avx2(const index_query_i8 *query, const index_code_rows *rows, int32_t *out)
{
    const __m256i mask = _mm256_set1_epi8(0x0f);
    for (size_t r = 0; r < rows->n; r++) {
        const uint8_t *row = index_code_row(rows, r);
        __m256i sum = _mm256_setzero_si256();
        for (size_t i = 0; i < rows->pitch; i += 32) {
            const int8_t *at = query->high + 2 * i;
            __m256i raw = _mm256_loadu_si256((const __m256i *)(const void *)(row + i));
            __m256i a = _mm256_and_si256(raw, mask);
            __m256i b = _mm256_and_si256(_mm256_srli_epi16(raw, 4), mask);
            a = _mm256_maddubs_epi16(a, _mm256_load_si256((const __m256i *)(const void *)at));
            b = _mm256_maddubs_epi16(b,
                                     _mm256_load_si256((const __m256i *)(const void *)(at + 32)));
            __m256i pairs = _mm256_add_epi16(a, b);
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
            if (rows->fetch != NULL && i % 64 == 0) {
                _mm_prefetch((const char *)rows->fetch + r * rows->pitch + i, _MM_HINT_T1);
            }
        }
        out[r] = sum_avx2(sum);
    }
}

AVX2 static void join_avx2(const uint8_t *upper, const uint8_t *lower, size_t size, uint8_t *codes)
{
    const __m256i mask = _mm256_set1_epi8(0x0f);
    for (size_t i = 0; i < size; i += 32) {
        __m256i up = _mm256_loadu_si256((const __m256i *)(const void *)(upper + i));
        __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)(lower + i));
        __m256i a = _mm256_slli_epi16(_mm256_and_si256(up, mask), 4);
        __m256i b = _mm256_and_si256(_mm256_srli_epi16(low, 4), mask);
        a = _mm256_or_si256(a, _mm256_and_si256(low, mask));
        b = _mm256_or_si256(b, _mm256_andnot_si256(mask, up));
        _mm256_storeu_si256((__m256i *)(void *)(codes + 2 * i), a);
        _mm256_storeu_si256((__m256i *)(void *)(codes + 2 * i + 32), b);
    }
}

/* ---- AVX-512 ---- */

#define AVX512 __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx512vnni")))
#define AVX512_INLINE                                                       \
    __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx512vnni"), \
                   always_inline)) static inline

AVX512_INLINE __m256i halves(__m512i lanes)
{
    return _mm256_add_epi32(_mm512_castsi512_si256(lanes), _mm512_extracti64x4_epi64(lanes, 1));
}

/* The sums of four registers, in order. */
AVX512_INLINE __m128i sum_four(const __m512i lanes[4])
{
    __m256i ab = _mm256_hadd_epi32(halves(lanes[0]), halves(lanes[1]));
    __m256i cd = _mm256_hadd_epi32(halves(lanes[2]), halves(lanes[3]));
    __m256i all = _mm256_hadd_epi32(ab, cd);
    return _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
}

/* Four rows at a time: each load of the query serves four. */
AVX512_INLINE void dot_four_avx512(const index_query_i8 *query, const uint8_t *const row[4],
                                   size_t dim, int32_t *out_high, int32_t *out_low)
{
    __m512i high[4];
    __m512i low[4];
    for (size_t j = 0; j < 4; j++) {
        high[j] = _mm512_setzero_si512();
        low[j] = _mm512_setzero_si512();
    }
    for (size_t i = 0; i < dim; i += 64) {
        __m512i q_high = _mm512_load_si512(query->high + i);
        __m512i q_low = _mm512_load_si512(query->low + i);
        for (size_t j = 0; j < 4; j++) {
            __m512i code = _mm512_loadu_si512(row[j] + i);
            high[j] = _mm512_dpbusd_epi32(high[j], code, q_high);
            low[j] = _mm512_dpbusd_epi32(low[j], code, q_low);
        }
    }
    /* the codes are stored 128 too large */
    __m128i too_high = _mm_set1_epi32(CODES_ZERO * query->sum_high);
    __m128i too_low = _mm_set1_epi32(CODES_ZERO * query->sum_low);
    _mm_storeu_si128((__m128i *)(void *)out_high, _mm_sub_epi32(sum_four(high), too_high));
    _mm_storeu_si128((__m128i *)(void *)out_low, _mm_sub_epi32(sum_four(low), too_low));
}

AVX512 static void dot_i8_avx512(const index_query_i8 *query, const index_code_rows *rows,
                                 int32_t *out_high, int32_t *out_low)
{
    size_t r = 0;
    for (; r + 4 <= rows->n; r += 4) {
        const uint8_t *const four[4] = {index_code_row(rows, r), index_code_row(rows, r + 1),
                                        index_code_row(rows, r + 2), index_code_row(rows, r + 3)};
        dot_four_avx512(query, four, rows->pitch, out_high + r, out_low + r);
    }
    if (r < rows->n) {
        const uint8_t *four[4];
        int32_t high[4];
        int32_t low[4];
        for (size_t j = 0; j < 4; j++) {
            four[j] = index_code_row(rows, r + j < rows->n ? r + j : r);
        }
        dot_four_avx512(query, four, rows->pitch, high, low);
        memcpy(out_high + r, high, (rows->n - r) * sizeof(*high));
        memcpy(out_low + r, low, (rows->n - r) * sizeof(*low));
    }
}

/* Four rows of halves at a time. A load of 32 bytes into both halves of a register, shifted in one
 * of them, gives 64 numbers in order. */
AVX512_INLINE void dot_u4_four_avx512(const int8_t *query, const uint8_t *const row[4],
                                      const uint8_t *fetch, size_t pitch, int32_t *out)
{
    const __m512i mask = _mm512_set1_epi8(0x0f);
    const __m512i shift = _mm512_set_epi64(4, 4, 4, 4, 0, 0, 0, 0);
    __m512i sum[4];
    for (size_t j = 0; j < 4; j++) {
        sum[j] = _mm512_setzero_si512();
    }
    for (size_t i = 0; i < pitch; i += 32) {
        __m512i part = _mm512_load_si512(query + 2 * i);
        for (size_t j = 0; j < 4; j++) {
            __m256i raw = _mm256_loadu_si256((const __m256i *)(const void *)(row[j] + i));
            __m512i both = _mm512_broadcast_i64x4(raw);
            both = _mm512_and_si512(_mm512_srlv_epi64(both, shift), mask);
            sum[j] = _mm512_dpbusd_epi32(sum[j], both, part);
            if (fetch != NULL && i % 64 == 0) {
                _mm_prefetch((const char *)fetch + j * pitch + i, _MM_HINT_T1);
            }
        }
    }
    _mm_storeu_si128((__m128i *)(void *)out, sum_four(sum));
}

AVX512 static void dot_u4_avx512(const index_query_i8 *query, const index_code_rows *rows,
                                 int32_t *out)
{
    for (size_t r = 0; r < rows->n; r += 4) {
        const uint8_t *row[4];
        int32_t four[4];
        size_t n = rows->n - r < 4 ? rows->n - r : 4;
        for (size_t j = 0; j < 4; j++) {
            row[j] = index_code_row(rows, j < n ? r + j : r);
        }
        if (n < 4) {
            dot_u4_four_avx512(query->high, row, NULL, rows->pitch, four);
            memcpy(out + r, four, n * sizeof(*four));
        } else if (rows->fetch != NULL) {
            const uint8_t *fetch = rows->fetch + r * rows->pitch;
            dot_u4_four_avx512(query->high, row, fetch, rows->pitch, out + r);
        } else {
            dot_u4_four_avx512(query->high, row, NULL, rows->pitch, out + r);
        }
    }
}

#endif

/* ---- choice ---- */

#if defined(__x86_64__)
static int has_avx512(im_cpu cpu)
{
    return (int)cpu.avx512_vnni && __builtin_cpu_supports("avx512vbmi") != 0;
}

static int has_avx2(im_cpu cpu)
{
    return (int)cpu.avx2_fma;
}
#endif

static int has_all(im_cpu cpu)
{
    (void)cpu;
    return 1;
}

/* Best first. */
static const struct {
    index_codes_kernels kernels;
    int (*usable)(im_cpu cpu);
} table[] = {
#if defined(__x86_64__)
    {{"avx512", dot_i8_avx512, dot_u4_avx512, join_avx2, &index_bits_avx512, &index_tile_avx512},
     has_avx512},
    {{"avx2", dot_i8_avx2, dot_u4_avx2, join_avx2, &index_bits_avx2, &index_tile_avx2}, has_avx2},
#endif
    {{"portable", dot_i8_portable, dot_u4_portable, join_portable, &index_bits_portable,
      &index_tile_portable},
     has_all},
};

const index_codes_kernels *index_codes_kernels_at(size_t i, int *out_usable)
{
    if (i >= sizeof(table) / sizeof(table[0])) {
        return NULL;
    }
    *out_usable = table[i].usable(im_cpu_features());
    return &table[i].kernels;
}

const index_codes_kernels *index_codes_kernels_choose(void)
{
    const char *wanted = getenv("IMAGO_KERNEL");
    const index_codes_kernels *best = NULL;
    const index_codes_kernels *kernels = NULL;
    int usable = 0;
    for (size_t i = 0; (kernels = index_codes_kernels_at(i, &usable)) != NULL; i++) {
        if (usable && wanted != NULL && strcmp(wanted, kernels->name) == 0) {
            return kernels;
        }
        if (usable && best == NULL) {
            best = kernels;
        }
    }
    return best;
}
