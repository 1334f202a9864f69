/* index/codes_tiles.c — products of several queries with a tile of whole int8 codes: plain C (the
 * oracle of the tests), AVX2 and AVX-512 with VNNI.
 *
 * One plane of each query alone: the rows it leaves over are so few that they get both. Four
 * queries by four rows at a time, so that each load serves four products and arithmetic is what
 * counts: eight VNNI steps and two to add up lanes for a row of 512 and a query. */
#include "index/codes_kernels_internal.h"
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* ---- plain C ---- */

static void dot_tile_portable(const index_code_tile *tile, int32_t *out)
{
    for (size_t q = 0; q < tile->n_queries; q++) {
        const index_query_i8 *query = tile->queries[q];
        for (size_t r = 0; r < tile->n_rows; r++) {
            const uint8_t *row = tile->rows + r * tile->dim;
            int32_t sum = 0;
            for (size_t i = 0; i < tile->dim; i++) {
                sum += query->high[i] * ((int32_t)row[i] - CODES_ZERO);
            }
            out[q * CODES_LANES + r] = sum;
        }
    }
}

const index_tile_kernels index_tile_portable = {dot_tile_portable};

#if defined(__x86_64__)

#define FOUR 4u

/* Four of n things from `first` on; the last one again where there are fewer. */
static inline size_t place_of(size_t first, size_t j, size_t n)
{
    return first + j < n ? first + j : n - 1;
}

/* ---- AVX2 ---- */

#define AVX2 __attribute__((target("avx2")))
#define AVX2_INLINE __attribute__((target("avx2"), always_inline)) static inline

/* The sums of four registers, in order. */
AVX2_INLINE __m128i sum_four_avx2(const __m256i lanes[FOUR])
{
    __m256i ab = _mm256_hadd_epi32(lanes[0], lanes[1]);
    __m256i cd = _mm256_hadd_epi32(lanes[2], lanes[3]);
    __m256i all = _mm256_hadd_epi32(ab, cd);
    return _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
}

/* One row, four queries: Σ over pairs of |code| · (query with the code's sign), at most
 * 2 · 128 · 127, no saturation. */
AVX2 static void dot_tile_avx2(const index_code_tile *tile, int32_t *out)
{
    const __m256i zero = _mm256_set1_epi8((char)CODES_ZERO);
    const __m256i ones = _mm256_set1_epi16(1);
    for (size_t q = 0; q < tile->n_queries; q += FOUR) {
        const int8_t *query[FOUR];
        for (size_t j = 0; j < FOUR; j++) {
            query[j] = tile->queries[place_of(q, j, tile->n_queries)]->high;
        }
        for (size_t r = 0; r < tile->n_rows; r++) {
            const uint8_t *row = tile->rows + r * tile->dim;
            __m256i sums[FOUR];
            int32_t four[FOUR];
            for (size_t j = 0; j < FOUR; j++) {
                sums[j] = _mm256_setzero_si256();
            }
            for (size_t i = 0; i < tile->dim; i += 32) {
                __m256i raw = _mm256_loadu_si256((const __m256i *)(const void *)(row + i));
                __m256i code = _mm256_xor_si256(raw, zero);
                __m256i size = _mm256_abs_epi8(code);
                for (size_t j = 0; j < FOUR; j++) {
                    __m256i part = _mm256_load_si256((const __m256i *)(const void *)(query[j] + i));
                    __m256i pairs = _mm256_maddubs_epi16(size, _mm256_sign_epi8(part, code));
                    sums[j] = _mm256_add_epi32(sums[j], _mm256_madd_epi16(pairs, ones));
                }
            }
            _mm_storeu_si128((__m128i *)(void *)four, sum_four_avx2(sums));
            for (size_t j = 0; j < FOUR && q + j < tile->n_queries; j++) {
                out[(q + j) * CODES_LANES + r] = four[j];
            }
        }
    }
}

const index_tile_kernels index_tile_avx2 = {dot_tile_avx2};

/* ---- AVX-512 ---- */

#define AVX512 __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx512vnni")))
#define AVX512_INLINE                                                       \
    __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx512vnni"), \
                   always_inline)) static inline

/* Of each 16 bytes of four registers the sums, side by side. */
AVX512_INLINE __m512i sum_quarters(const __m512i lanes[FOUR])
{
    __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(lanes[0], lanes[1]),
                                  _mm512_unpackhi_epi32(lanes[0], lanes[1]));
    __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(lanes[2], lanes[3]),
                                  _mm512_unpackhi_epi32(lanes[2], lanes[3]));
    return _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
}

AVX512_INLINE __m512i add_halves(__m512i a, __m512i b)
{
    return _mm512_add_epi32(_mm512_shuffle_i64x2(a, b, 0x88), _mm512_shuffle_i64x2(a, b, 0xdd));
}

/* Four rows and four queries: out[j] has the products of query j with the rows. */
AVX512_INLINE void dot_sixteen(const uint8_t *const row[FOUR], const int8_t *const query[FOUR],
                               size_t dim, __m128i out[FOUR])
{
    __m512i sums[FOUR][FOUR];
    for (size_t j = 0; j < FOUR; j++) {
        for (size_t r = 0; r < FOUR; r++) {
            sums[j][r] = _mm512_setzero_si512();
        }
    }
    for (size_t i = 0; i < dim; i += 64) {
        __m512i code[FOUR];
        for (size_t r = 0; r < FOUR; r++) {
            code[r] = _mm512_loadu_si512(row[r] + i);
        }
        for (size_t j = 0; j < FOUR; j++) {
            __m512i part = _mm512_load_si512(query[j] + i);
            for (size_t r = 0; r < FOUR; r++) {
                sums[j][r] = _mm512_dpbusd_epi32(sums[j][r], code[r], part);
            }
        }
    }
    __m512i all = add_halves(add_halves(sum_quarters(sums[0]), sum_quarters(sums[1])),
                             add_halves(sum_quarters(sums[2]), sum_quarters(sums[3])));
    out[0] = _mm512_castsi512_si128(all);
    out[1] = _mm512_extracti32x4_epi32(all, 1);
    out[2] = _mm512_extracti32x4_epi32(all, 2);
    out[3] = _mm512_extracti32x4_epi32(all, 3);
}

/* All queries see four rows, which stay in the nearest cache as the queries do; meanwhile as many
 * of the next tile are fetched. Four products are stored where fewer are wanted: rows of `out` are
 * whole fours. */
AVX512 static void dot_tile_avx512(const index_code_tile *tile, int32_t *out)
{
    for (size_t r = 0; r < tile->n_rows; r += FOUR) {
        const uint8_t *row[FOUR];
        for (size_t j = 0; j < FOUR; j++) {
            row[j] = tile->rows + place_of(r, j, tile->n_rows) * tile->dim;
        }
        for (size_t j = 0; j < 2 && tile->fetch[j] != NULL; j++) {
            for (size_t i = 0; i < FOUR * tile->dim / 2; i += 64) {
                _mm_prefetch((const char *)tile->fetch[j] + r * tile->dim / 2 + i, _MM_HINT_T1);
            }
        }
        for (size_t q = 0; q < tile->n_queries; q += FOUR) {
            const int8_t *query[FOUR];
            __m128i sums[FOUR];
            for (size_t j = 0; j < FOUR; j++) {
                query[j] = tile->queries[place_of(q, j, tile->n_queries)]->high;
            }
            dot_sixteen(row, query, tile->dim, sums);
            for (size_t j = 0; j < FOUR && q + j < tile->n_queries; j++) {
                /* the codes are stored 128 too large */
                __m128i too_much = _mm_set1_epi32(CODES_ZERO * tile->queries[q + j]->sum_high);
                int32_t *at = out + (q + j) * CODES_LANES + r;
                _mm_storeu_si128((__m128i *)(void *)at, _mm_sub_epi32(sums[j], too_much));
            }
        }
    }
}

const index_tile_kernels index_tile_avx512 = {dot_tile_avx512};

#endif
