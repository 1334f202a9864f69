/* index/kernels.c — the dot product in plain C (the statement of the maths and the oracle of the
 * tests), AVX2 and AVX-512, and the choice between them. The sum's order is part of the contract: a
 * hit's score may not depend on the machine, thread or batch that found it.
 *
 * One row at a time: the processor overlaps the chains of sums of neighbouring rows by itself, and
 * memory is read as one stream. Four rows side by side were tried: 14.9 ms in place of 7.6 ms for
 * 100,000 rows of 512. Prefetching by hand only lost (8.3 to 10.6 ms). */
#include "base/pool.h"
#include "index/kernels_internal.h"
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* ---- plain C ---- */

static float fold_lanes(const float lanes[KERNEL_LANES])
{
    float eight[8];
    float four[4];
    for (size_t j = 0; j < 8; j++) {
        eight[j] = lanes[j] + lanes[j + 8];
    }
    for (size_t j = 0; j < 4; j++) {
        four[j] = eight[j] + eight[j + 4];
    }
    return (four[0] + four[2]) + (four[1] + four[3]);
}

static float dot_portable(const float *query, const float *row, size_t dim)
{
    float lanes[KERNEL_LANES] = {0};
    size_t whole = dim / KERNEL_LANES * KERNEL_LANES;
    for (size_t i = 0; i < whole; i += KERNEL_LANES) {
        for (size_t j = 0; j < KERNEL_LANES; j++) {
            lanes[j] += query[i + j] * row[i + j];
        }
    }
    for (size_t j = 0; j < dim - whole; j++) {
        lanes[j] += query[whole + j] * row[whole + j];
    }
    return fold_lanes(lanes);
}

#if defined(__x86_64__)

/* ---- AVX2: lanes 0–7 and 8–15 in two registers ---- */

typedef struct lanes_avx2 {
    __m256 low, high;
} lanes_avx2;

#define AVX2 __attribute__((target("avx2")))
#define AVX2_INLINE __attribute__((target("avx2"), always_inline)) static inline

AVX2_INLINE float fold_eight(__m256 eight)
{
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

AVX2_INLINE lanes_avx2 step_avx2(lanes_avx2 sum, const float *query, const float *row)
{
    sum.low = _mm256_add_ps(sum.low, _mm256_mul_ps(_mm256_loadu_ps(query), _mm256_loadu_ps(row)));
    sum.high = _mm256_add_ps(sum.high,
                             _mm256_mul_ps(_mm256_loadu_ps(query + 8), _mm256_loadu_ps(row + 8)));
    return sum;
}

/* The last, broken block: a masked load reads nothing behind the row's end. */
AVX2_INLINE lanes_avx2 last_avx2(lanes_avx2 sum, const float *query, const float *row, size_t rest)
{
    const __m256i count = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256i low = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)rest), count);
    __m256i high = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)rest - 8), count);
    sum.low =
        _mm256_add_ps(sum.low, _mm256_mul_ps(_mm256_loadu_ps(query), _mm256_maskload_ps(row, low)));
    if (rest > 8) {
        sum.high = _mm256_add_ps(
            sum.high, _mm256_mul_ps(_mm256_loadu_ps(query + 8), _mm256_maskload_ps(row + 8, high)));
    }
    return sum;
}

AVX2 static float dot_avx2(const float *query, const float *row, size_t dim)
{
    lanes_avx2 sum = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    size_t i = 0;
    for (; i + KERNEL_LANES <= dim; i += KERNEL_LANES) {
        sum = step_avx2(sum, query + i, row + i);
    }
    if (i < dim) {
        sum = last_avx2(sum, query + i, row + i, dim - i);
    }
    return fold_eight(_mm256_add_ps(sum.low, sum.high));
}

/* ---- AVX-512: sixteen lanes in one register ---- */

#define AVX512 __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw")))
#define AVX512_INLINE \
    __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw"), always_inline)) static inline

AVX512_INLINE float fold_sixteen(__m512 lanes)
{
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps(lanes, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

AVX512 static float dot_avx512(const float *query, const float *row, size_t dim)
{
    __m512 sum = _mm512_setzero_ps();
    size_t i = 0;
    for (; i + KERNEL_LANES <= dim; i += KERNEL_LANES) {
        __m512 product = _mm512_mul_ps(_mm512_loadu_ps(query + i), _mm512_loadu_ps(row + i));
        sum = _mm512_add_ps(sum, product);
    }
    if (i < dim) {
        __mmask16 mask = (__mmask16)((1u << (dim - i)) - 1u);
        __m512 last = _mm512_maskz_loadu_ps(mask, row + i);
        sum = _mm512_add_ps(sum, _mm512_mul_ps(_mm512_loadu_ps(query + i), last));
    }
    return fold_sixteen(sum);
}

#endif

/* ---- choice ---- */

#if defined(__x86_64__)
static int has_avx512(im_cpu cpu)
{
    return (int)cpu.avx512;
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
    index_kernels kernels;
    int (*usable)(im_cpu cpu);
} table[] = {
#if defined(__x86_64__)
    {{"avx512", dot_avx512}, has_avx512},
    {{"avx2", dot_avx2}, has_avx2},
#endif
    {{"portable", dot_portable}, has_all},
};

const index_kernels *index_kernels_at(size_t i, int *out_usable)
{
    if (i >= sizeof(table) / sizeof(table[0])) {
        return NULL;
    }
    *out_usable = table[i].usable(im_cpu_features());
    return &table[i].kernels;
}

const index_kernels *index_kernels_choose(void)
{
    const char *wanted = getenv("IMAGO_KERNEL");
    const index_kernels *best = NULL;
    const index_kernels *kernels = NULL;
    int usable = 0;
    for (size_t i = 0; (kernels = index_kernels_at(i, &usable)) != NULL; i++) {
        if (usable && wanted != NULL && strcmp(wanted, kernels->name) == 0) {
            return kernels;
        }
        if (usable && best == NULL) {
            best = kernels;
        }
    }
    return best;
}
