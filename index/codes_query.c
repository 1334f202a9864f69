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
#define SIX_WANTED 60.0    /* of CODES_SIX_MOST: each of six weights may be rounded up */
#define SUM_WANTED 57000.0 /* of CODES_SUM_MOST, likewise */
/* recall at 10 of 0.9999 over 1,000 texts and of 0.9998 over 1,000 pictures, 100,000 rows, as
 * with 3.5; 3.1: 0.9998 of the texts */
#define MARGIN 3.3F
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

/* Numbers of bits that are looked up together: the lowest six of a byte, or the two highest of
 * three bytes. */
static double largest_six(const float *rotated, size_t padded)
{
    double most = 0;
    for (size_t i = 0; i < padded; i += 24) {
        double sums[4] = {0};
        for (size_t j = i; j < IM_MIN(i + 24, padded); j++) {
            sums[j % 8 < 6 ? (j - i) / 8 : 3] += fabs((double)rotated[j]);
        }
        for (size_t j = 0; j < 4; j++) {
            most = fmax(most, sums[j]);
        }
    }
    return most;
}

/* Numbers in steps so wide that sums of six fit into six bits: with s the signs of the row, Σ s·q
 * is Σ |q| less twice the sum of the |q| whose signs differ. Their rounding adds a 500th to the
 * error of a guess. */
static void to_weights(codes_fold *fold, const codes_query *query, const float *rotated,
                       int8_t *weights, uint8_t *tables)
{
    size_t padded = query->padded;
    double sum = 0;
    long units = 0;
    for (size_t i = 0; i < padded; i++) {
        sum += fabs((double)rotated[i]);
    }
    double step = fmax(largest_six(rotated, padded) / SIX_WANTED, sum / SUM_WANTED);
    for (size_t i = 0; i < padded; i++) {
        weights[i] = (int8_t)lrint((double)rotated[i] / step);
        units += labs(weights[i]);
    }
    query->kernels->bits->tables(weights, padded / 8, tables);
    fold->b1 = (index_query_b1){
        tables,     padded / 8,  (float)(step * (double)units), (float)(2 * step), MARGIN,
        fold->size, fold->middle};
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
    int8_t *numbers = (int8_t *)memory;
    double off = to_bytes(fold, rotated, query->padded, numbers, numbers + query->padded);
    /* the rotation, this arithmetic, and sixteen lanes that each round dim / 16 products and sums
     */
    double slack = SLACK + ARITHMETIC + ROW_SIZE * (off + space->rotation->error + ldexp(1, -24)) +
                   ((double)scoring->dim / 16 + 8) * ldexp(1, -23);
    double room = size * slack + fabs(shift) * ldexp(1, -21);
    fold->size = (float)size;
    fold->middle = (float)(mean - shift);
    fold->above = query->unbounded ? fold->middle : (float)(mean - shift + room);
    fold->below = query->unbounded ? fold->middle : (float)(mean - shift - room);
    to_weights(fold, query, rotated, numbers + 2 * query->padded, memory + 3 * query->padded);
}

bool codes_query_init(codes_query *query, const codes_space *space, const index_scoring *scoring)
{
    size_t padded = space->rotation->padded;
    size_t bytes = 3 * padded + index_tables_bytes(padded / 8);
    float *rotated = im_alloc_aligned(padded, sizeof(float));
    query->scoring = scoring;
    query->kernels = space->kernels;
    query->padded = padded;
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

/* The numbers of each row, those of one kind side by side. */
typedef struct run_numbers {
    float scale[CODES_RUN], upper_bound[CODES_RUN], size[CODES_RUN], bound[CODES_RUN];
} run_numbers;

static void take_numbers(const codes_block *block, const codes_run *run, run_numbers *out)
{
    const codes_numbers *first = block->numbers + (run->at == NULL ? run->first : 0);
    for (size_t i = 0; i < run->n; i++) {
        const codes_numbers *own = first + (run->at != NULL ? (size_t)run->at[i] : i);
        out->scale[i] = own->scale;
        out->upper_bound[i] = own->upper_bound;
        out->size[i] = own->size;
        out->bound[i] = own->bound;
    }
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
                        const run_numbers *restrict numbers, size_t n, float *restrict upper)
{
    float step = fold->step * 64.0F;
    int32_t off = 241 * fold->i8.sum_high;
    for (size_t i = 0; i < n; i++) {
        float estimate = (float)(32 * dots[i] - off) * (numbers->scale[i] * step);
        float bound = part * (numbers->upper_bound[i] + fold->rough * numbers->size[i]);
        upper[i] = fold->size * (estimate + bound) + fold->above;
    }
}

void codes_uppers(const codes_query *query, const codes_layout *layout, const codes_block *block,
                  const codes_run *run, float *out_upper)
{
    int32_t dots[CODES_RUN];
    float room[CODES_RUN];
    run_numbers numbers;
    index_code_rows rows = rows_of(layout, block, run);
    take_numbers(block, run, &numbers);
    for (size_t f = 0; f < query->scoring->n; f++) {
        float *upper = f == 0 ? out_upper : room;
        query->kernels->dot_u4(&query->folds[f].i8, &rows, dots);
        fold_uppers(&query->folds[f], query->part, dots, &numbers, run->n, upper);
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
    float room[2][CODES_RUN];
    run_numbers numbers;
    index_code_rows rows = {bytes, query->padded, NULL, run->n, NULL};
    take_numbers(block, run, &numbers);
    const float *bounds = query->unbounded ? none : numbers.bound;
    for (size_t f = 0; f < query->scoring->n; f++) {
        const codes_fold *fold = &query->folds[f];
        float *upper = f == 0 ? out_upper : room[0];
        float *lower = f == 0 ? out_lower : room[1];
        query->kernels->dot_i8(&fold->i8, &rows, high, low);
        fold_bounds(fold, high, low, numbers.scale, bounds, run->n, upper, lower);
        if (f > 0) {
            combine(query->scoring->combine, out_upper, upper, run->n);
            combine(query->scoring->combine, out_lower, lower, run->n);
        }
    }
}

void codes_bounds(const codes_query *query, const codes_layout *layout, const codes_block *block,
                  const codes_run *run, float *out_upper, float *out_lower)
{
    _Alignas(64) uint8_t bytes[JOIN_BYTES];
    size_t step = JOIN_BYTES / query->padded;
    for (size_t i = 0; i < run->n; i += step) {
        codes_run part = {.first = run->first + i, .n = IM_MIN(step, run->n - i)};
        part.at = run->at != NULL ? run->at + i : NULL;
        for (size_t j = 0; j < part.n; j++) {
            size_t at = (part.at != NULL ? (size_t)part.at[j] : part.first + j) * layout->row_bytes;
            query->kernels->join(block->codes + at, block->lower + at, layout->row_bytes,
                                 bytes + j * query->padded);
        }
        bounds_of(query, block, &part, bytes, out_upper + i, out_lower + i);
    }
}

/* ---- tiles ---- */

size_t codes_tile_rows(const codes_layout *layout)
{
    return IM_MIN((size_t)CODES_LANES, CODES_TILE_BYTES / layout->padded);
}

void codes_tile_fill(codes_tile *tile, const index_codes_kernels *kernels,
                     const codes_layout *layout, const codes_block *block, size_t first, size_t n)
{
    const codes_numbers *numbers = block->numbers + first;
    size_t at = first * layout->row_bytes;
    kernels->join(block->codes + at, block->lower + at, n * layout->row_bytes, tile->codes);
    for (size_t i = 0; i < n; i++) {
        tile->scale[i] = numbers[i].scale;
        tile->bound[i] = numbers[i].bound;
        /* of the upper halves, how far they are from the row, how far the row is from its codes */
        tile->size[i] = numbers[i].size + numbers[i].upper_bound + numbers[i].bound;
    }
    tile->n = n;
    tile->fetch[0] = tile->fetch[1] = NULL;
}

void codes_tile_uppers(const codes_tile *tile, const codes_query *const *queries, size_t n,
                       float (*out_upper)[CODES_LANES])
{
    int32_t dots[CODES_TILE_QUERIES][CODES_LANES];
    const index_query_i8 *planes[CODES_TILE_QUERIES];
    for (size_t q = 0; q < n; q++) {
        planes[q] = &queries[q]->folds[0].i8;
    }
    index_code_tile rows = {tile->codes, tile->n, queries[0]->padded,
                            planes,      n,       {tile->fetch[0], tile->fetch[1]}};
    queries[0]->kernels->tile->dot(&rows, dots[0]);
    for (size_t q = 0; q < n; q++) {
        const codes_fold *fold = &queries[q]->folds[0];
        float step = fold->step * 128.0F;
        float *upper = out_upper[q];
        for (size_t i = 0; i < tile->n; i++) {
            float estimate = (float)dots[q][i] * (tile->scale[i] * step);
            float bound = tile->bound[i] + fold->rough * tile->size[i];
            upper[i] = fold->size * (estimate + bound) + fold->above;
        }
        for (size_t i = 0; queries[q]->unbounded && i < tile->n; i++) {
            upper[i] = INFINITY;
        }
    }
}

void codes_guesses(const codes_query *query, const uint8_t *group, float *out_upper)
{
    float room[CODES_LANES];
    for (size_t f = 0; f < query->scoring->n; f++) {
        float *upper = f == 0 ? out_upper : room;
        query->kernels->bits->guess(&query->folds[f].b1, group, upper);
        if (f > 0) {
            combine(query->scoring->combine, out_upper, upper, CODES_LANES);
        }
    }
}
