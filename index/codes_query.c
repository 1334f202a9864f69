/* index/codes_query.c — see codes_query_internal.h. */
#include "base/base.h"
#include "index/codes_query_internal.h"
#include <math.h>
#include <string.h>

#define SLACK 1e-5      /* as the design says */
#define ARITHMETIC 3e-6 /* of codes_bounds in float */
#define ROW_SIZE 3.1    /* |r'| at most: |r| + |r - r'| */
#define SIZE_LEAST 1e-25
#define SIZE_MOST 1e32
#define HIGH_STEPS 127
#define JOIN_BYTES IM_LIMIT_MODEL_WIDTH  /* whole codes put together at once */
#define NUMBER_STEPS (128L * HIGH_STEPS) /* of a query's largest number */
#define PLANE_STEPS 7
#define PLANE_REACH 2.1 /* times 1/√D: larger numbers of the query are cut for the bits */
/* recall at 10 of 0.9998 over 1,000 texts and 100,000 rows; 3.3: 0.9997, 3.0: 0.9986 */
#define MARGIN 3.5F
#define PART_ERRORS 5 /* standard errors of the upper halves, likewise */

static double size_of(const float *vector, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)vector[i] * (double)vector[i];
    }
    return sqrt(sum);
}

bool codes_query_possible(const index_scoring *scoring)
{
    for (size_t f = 0; f < scoring->n; f++) {
        double size = size_of(scoring->folds + f * index_padded(scoring->dim), scoring->dim);
        if (!(size >= SIZE_LEAST && size <= SIZE_MOST)) {
            return false;
        }
    }
    return true;
}

/* 15 bits a number in two planes of int8; returns |q - q'|. */
static double to_bytes(codes_fold *fold, const float *rotated, size_t padded, int8_t *high,
                       int8_t *low)
{
    double most = 0;
    double off = 0;
    double rough = 0;
    for (size_t i = 0; i < padded; i++) {
        most = fmax(most, fabs((double)rotated[i]));
    }
    fold->step = (float)(most / NUMBER_STEPS);
    for (size_t i = 0; i < padded; i++) {
        long number = lrint((double)rotated[i] / (double)fold->step);
        number = IM_MIN(IM_MAX(number, -NUMBER_STEPS), NUMBER_STEPS);
        long top = (number + NUMBER_STEPS + 64) / 128 - HIGH_STEPS;
        high[i] = (int8_t)top;
        low[i] = (int8_t)(number - 128 * top); /* -64 … 63 */
        fold->i8.sum_high += high[i];
        fold->i8.sum_low += low[i];
        double rest = (double)rotated[i] - (double)fold->step * (double)number;
        off += rest * rest;
        rest += (double)fold->step * (double)low[i];
        rough += rest * rest;
    }
    fold->rough = nextafterf((float)(sqrt(rough) * (1 + 1e-9)), INFINITY);
    fold->i8.high = high;
    fold->i8.low = low;
    return sqrt(off);
}

/* Three bits a number: u in 0 … 7 stands for width · (u - 3.5). With s the signs of the row,
 * Σ s·(u - 3.5) is 3.5 D less the sum over the planes of 2^j · differing bits. A fourth bit would
 * take 3 % off the error and cost a third more time. */
static void to_planes(codes_fold *fold, const float *rotated, size_t padded, uint64_t *planes)
{
    size_t stride = index_plane_words(padded);
    float most = 0;
    for (size_t i = 0; i < padded; i++) {
        most = fmaxf(most, fabsf(rotated[i]));
    }
    most = fminf(most, (float)(PLANE_REACH / sqrt((double)padded)));
    float width = 2 * most / PLANE_STEPS;
    for (size_t i = 0; i < padded; i++) {
        long number = lrintf(rotated[i] / width + 0.5F * PLANE_STEPS);
        number = IM_MIN(IM_MAX(number, 0), PLANE_STEPS);
        for (size_t j = 0; j < CODES_PLANES; j++) {
            planes[j * stride + i / 64] |= (uint64_t)(((unsigned long)number >> j) & 1) << (i % 64);
        }
    }
    fold->planes = planes;
    fold->one = width * 0.5F * PLANE_STEPS * (float)padded;
    fold->per_bit = width;
}

static void init_fold(codes_query *query, const codes_space *space, size_t f, float *rotated,
                      uint8_t *memory)
{
    const index_scoring *scoring = query->scoring;
    codes_fold *fold = &query->folds[f];
    const float *vector = scoring->folds + f * index_padded(scoring->dim);
    double size = size_of(vector, scoring->dim);
    double shift = (double)scoring->shifts[f];
    double mean = 0;
    memset(rotated, 0, query->padded * sizeof(float));
    for (size_t i = 0; i < scoring->dim; i++) {
        rotated[i] = (float)((double)vector[i] / size);
        mean += (double)vector[i] * (double)space->mean[i];
    }
    index_rotate(space->rotation, rotated);
    double off =
        to_bytes(fold, rotated, query->padded, (int8_t *)memory, (int8_t *)memory + query->padded);
    to_planes(fold, rotated, query->padded, (uint64_t *)(void *)(memory + 2 * query->padded));
    /* the rotation, this arithmetic, and sixteen lanes that each round dim / 16 products and sums
     */
    double slack = SLACK + ARITHMETIC + ROW_SIZE * (off + space->rotation->error + ldexp(1, -24)) +
                   ((double)scoring->dim / 16 + 8) * ldexp(1, -23);
    double room = size * slack + fabs(shift) * ldexp(1, -21);
    fold->size = (float)size;
    fold->middle = (float)(mean - shift);
    fold->above = query->unbounded ? fold->middle : (float)(mean - shift + room);
    fold->below = query->unbounded ? fold->middle : (float)(mean - shift - room);
}

bool codes_query_init(codes_query *query, const codes_space *space, const index_scoring *scoring)
{
    size_t padded = space->rotation->padded;
    size_t bytes = 2 * padded + CODES_PLANES * index_plane_words(padded) * sizeof(uint64_t);
    float *rotated = im_alloc_aligned(padded, sizeof(float));
    query->scoring = scoring;
    query->kernels = space->kernels;
    query->padded = padded;
    query->margin = MARGIN;
    query->part = 1;
    query->folds = im_alloc_zero(scoring->n, sizeof(*query->folds));
    query->memory = im_alloc_aligned(scoring->n, bytes);
    bool ready = rotated != NULL && query->folds != NULL && query->memory != NULL;
    if (ready) {
        memset(query->memory, 0, scoring->n * bytes);
    }
    for (size_t f = 0; ready && f < scoring->n; f++) {
        init_fold(query, space, f, rotated, query->memory + f * bytes);
    }
    im_free(rotated);
    if (!ready) {
        codes_query_clear(query);
    }
    return ready;
}

void codes_query_clear(codes_query *query)
{
    im_free(query->folds);
    im_free(query->memory);
    query->folds = NULL;
    query->memory = NULL;
}

/* What the upper halves leave out points anywhere, seen from the query: after the rotation its
 * share in the score has the standard error |left out| / √D. */
void codes_query_prove(codes_query *query, bool proved)
{
    query->part = proved ? 1 : fminf(1, (float)(PART_ERRORS / sqrt((double)query->padded)));
}

/* ---- rows ---- */

/* The two numbers of each row, one behind the other. */
static const float *numbers_of(const float *numbers, const codes_run *run, float *room)
{
    if (run->at == NULL) {
        return numbers + run->first;
    }
    for (size_t i = 0; i < run->n; i++) {
        room[i] = numbers[run->at[i]];
    }
    return room;
}

static index_code_rows rows_of(const codes_layout *layout, const codes_block *block,
                               const codes_run *run)
{
    size_t first = run->at == NULL ? run->first : 0;
    return (index_code_rows){block->codes + first * layout->row_bytes, layout->row_bytes, run->at,
                             run->n, run->fetch};
}

static void combine(im_combine how, float *restrict into, const float *restrict from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool takes = how == IM_COMBINE_ANY ? from[i] > into[i] : from[i] < into[i];
        into[i] = takes ? from[i] : into[i];
    }
}

/* One fold's bounds. */
static void fold_bounds(const codes_fold *fold, const int32_t *restrict high,
                        const int32_t *restrict low, const float *restrict scales,
                        const float *restrict bounds, size_t n, float *restrict upper,
                        float *restrict lower)
{
    for (size_t i = 0; i < n; i++) {
        float number = (float)high[i] * 128.0F + (float)low[i];
        float estimate = number * (scales[i] * fold->step);
        upper[i] = fold->size * (estimate + bounds[i]) + fold->above;
        lower[i] = fold->size * (estimate - bounds[i]) + fold->below;
    }
}

/* One fold's upper bounds: a code is 16 · half + 7.5 - 128, which is (32 · half - 241) / 2. */
static void fold_uppers(const codes_fold *fold, float part, const int32_t *restrict dots,
                        const float *restrict scales, const float *restrict bounds,
                        const float *restrict sizes, size_t n, float *restrict upper)
{
    float step = fold->step * 64.0F;
    int32_t off = 241 * fold->i8.sum_high;
    for (size_t i = 0; i < n; i++) {
        float estimate = (float)(32 * dots[i] - off) * (scales[i] * step);
        float bound = part * (bounds[i] + fold->rough * sizes[i]);
        upper[i] = fold->size * (estimate + bound) + fold->above;
    }
}

void codes_uppers(const codes_query *query, const codes_layout *layout, const codes_block *block,
                  const codes_run *run, float *out_upper)
{
    int32_t dots[CODES_RUN];
    float room[4][CODES_RUN];
    index_code_rows rows = rows_of(layout, block, run);
    const float *scales = numbers_of(block->first, run, room[0]);
    const float *bounds = numbers_of(block->second, run, room[1]);
    const float *sizes = numbers_of(block->size, run, room[2]);
    for (size_t f = 0; f < query->scoring->n; f++) {
        float *upper = f == 0 ? out_upper : room[3];
        query->kernels->dot_u4(&query->folds[f].i8, &rows, dots);
        fold_uppers(&query->folds[f], query->part, dots, scales, bounds, sizes, run->n, upper);
        if (f > 0) {
            combine(query->scoring->combine, out_upper, upper, run->n);
        }
    }
    for (size_t i = 0; query->unbounded && i < run->n; i++) {
        out_upper[i] = INFINITY;
    }
}

/* Bounds from whole codes, one row behind the other. */
static void bounds_of(const codes_query *query, const codes_block *block, const codes_run *run,
                      const uint8_t *bytes, float *out_upper, float *out_lower)
{
    static const float none[CODES_RUN];
    int32_t high[CODES_RUN];
    int32_t low[CODES_RUN];
    float room[4][CODES_RUN];
    index_code_rows rows = {bytes, query->padded, NULL, run->n, NULL};
    const float *scales = numbers_of(block->first, run, room[0]);
    const float *bounds = query->unbounded ? none : numbers_of(block->bound, run, room[1]);
    for (size_t f = 0; f < query->scoring->n; f++) {
        const codes_fold *fold = &query->folds[f];
        float *upper = f == 0 ? out_upper : room[2];
        float *lower = f == 0 ? out_lower : room[3];
        query->kernels->dot_i8(&fold->i8, &rows, high, low);
        fold_bounds(fold, high, low, scales, bounds, run->n, upper, lower);
        if (f > 0) {
            combine(query->scoring->combine, out_upper, upper, run->n);
            combine(query->scoring->combine, out_lower, lower, run->n);
        }
    }
}

void codes_join(const codes_query *query, const codes_layout *layout, const codes_block *block,
                const codes_run *run, uint8_t *out_bytes)
{
    for (size_t i = 0; i < run->n; i++) {
        size_t at = (run->at != NULL ? (size_t)run->at[i] : run->first + i) * layout->row_bytes;
        query->kernels->join(block->codes + at, block->lower + at, layout->row_bytes,
                             out_bytes + i * query->padded);
    }
}

void codes_bounds(const codes_query *query, const codes_layout *layout, const codes_block *block,
                  const codes_run *run, float *out_upper, float *out_lower)
{
    _Alignas(64) uint8_t bytes[JOIN_BYTES];
    size_t step = JOIN_BYTES / query->padded;
    if (run->whole != NULL) {
        bounds_of(query, block, run, run->whole, out_upper, out_lower);
        return;
    }
    for (size_t i = 0; i < run->n; i += step) {
        codes_run part = {.first = run->first + i, .n = IM_MIN(step, run->n - i)};
        part.at = run->at != NULL ? run->at + i : NULL;
        codes_join(query, layout, block, &part, bytes);
        bounds_of(query, block, &part, bytes, out_upper + i, out_lower + i);
    }
}

static void fold_guesses(const codes_fold *fold, float margin, const int32_t *restrict differing,
                         const float *restrict factors, const float *restrict errors, size_t n,
                         float *restrict upper)
{
    for (size_t i = 0; i < n; i++) {
        float estimate = factors[i] * (fold->one - fold->per_bit * (float)differing[i]);
        upper[i] = fold->size * (estimate + margin * errors[i]) + fold->middle;
    }
}

void codes_guesses(const codes_query *query, const codes_layout *layout, const codes_block *block,
                   const codes_run *run, float *out_upper)
{
    int32_t differing[CODES_RUN];
    float room[3][CODES_RUN];
    index_code_rows rows = rows_of(layout, block, run);
    const float *factors = numbers_of(block->first, run, room[0]);
    const float *errors = numbers_of(block->second, run, room[1]);
    for (size_t f = 0; f < query->scoring->n; f++) {
        float *upper = f == 0 ? out_upper : room[2];
        query->kernels->differ_b1(query->folds[f].planes, &rows, differing);
        fold_guesses(&query->folds[f], query->margin, differing, factors, errors, run->n, upper);
        if (f > 0) {
            combine(query->scoring->combine, out_upper, upper, run->n);
        }
    }
}
