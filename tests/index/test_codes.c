/* tests/index/test_codes.c — covers index/codes_kernels.c, index/codes_bits.c, index/rotation.c,
 * index/codes_encode.c and index/codes_query.c: kernels against their plain twins, and what codes
 * say of a row. */
#include "base/base.h"
#include "help_codes.h"
#include <math.h>

static const size_t padded_dims[] = {64, 128, 192, 384, 512, 576, 768, 1024, 1152};

typedef struct test_codes {
    size_t padded, n;
    int8_t *high, *low;
    uint8_t *bytes; /* [n, padded] */
    uint16_t *at;
} test_codes;

static void codes_make(test_codes *codes, random_state *random, size_t padded, size_t n)
{
    *codes = (test_codes){.padded = padded, .n = n};
    codes->high = aligned_alloc(64, padded);
    codes->low = aligned_alloc(64, padded);
    codes->bytes = malloc(n * padded);
    codes->at = malloc(n * sizeof(uint16_t));
    for (size_t i = 0; i < padded; i++) { /* the ends of what there may be, often */
        codes->high[i] =
            (int8_t)(random_below(random, 3) == 0 ? 127 : random_below(random, 255) - 127);
        codes->low[i] = (int8_t)(random_below(random, 128) - 64);
    }
    for (size_t i = 0; i < n * padded; i++) {
        codes->bytes[i] = (uint8_t)(random_below(random, 4) == 0 ? 255 * random_below(random, 2)
                                                                 : random_next(random));
    }
    for (size_t i = 0; i < n; i++) {
        codes->at[i] = (uint16_t)random_below(random, n);
    }
}

static void codes_free(test_codes *codes)
{
    free(codes->high);
    free(codes->low);
    free(codes->bytes);
    free(codes->at);
}

static const index_codes_kernels *twin(void)
{
    const index_codes_kernels *last = NULL;
    const index_codes_kernels *kernels = NULL;
    int usable = 0;
    for (size_t i = 0; (kernels = index_codes_kernels_at(i, &usable)) != NULL; i++) {
        last = kernels;
    }
    assert_string_equal(last->name, "portable");
    return last;
}

static void check_dot(const index_codes_kernels *kernels, const test_codes *codes, bool sparse,
                      size_t n)
{
    int32_t high[2][40];
    int32_t low[2][40];
    index_query_i8 query = {codes->high, codes->low, 0, 0};
    index_code_rows rows = {codes->bytes, codes->padded, sparse ? codes->at : NULL, n, NULL};
    for (size_t i = 0; i < codes->padded; i++) {
        query.sum_high += codes->high[i];
        query.sum_low += codes->low[i];
    }
    kernels->dot_i8(&query, &rows, high[0], low[0]);
    twin()->dot_i8(&query, &rows, high[1], low[1]);
    for (size_t r = 0; r < n; r++) {
        int32_t sum = 0;
        for (size_t i = 0; i < codes->padded; i++) {
            size_t at = (sparse ? codes->at[r] : r) * codes->padded + i;
            sum += codes->high[i] * ((int32_t)codes->bytes[at] - 128);
        }
        assert_int_equal(high[1][r], sum);
        assert_int_equal(high[0][r], sum);
        assert_int_equal(low[0][r], low[1][r]);
    }
}

/* Halves as codes_split lays them: the product with the upper ones; joined they are the codes. */
static void check_halves(const index_codes_kernels *kernels, const test_codes *codes, bool sparse,
                         size_t n)
{
    int32_t got[40];
    size_t half = codes->padded / 2;
    uint8_t *upper = malloc(codes->n * half);
    uint8_t *lower = malloc(codes->n * half);
    uint8_t *joined = malloc(codes->padded);
    index_query_i8 query = {codes->high, codes->low, 0, 0};
    index_code_rows rows = {upper, half, sparse ? codes->at : NULL, n, n % 4 == 1 ? lower : NULL};
    for (size_t r = 0; r < codes->n; r++) {
        const uint8_t *row = codes->bytes + r * codes->padded;
        codes_split(row, codes->padded, upper + r * half, lower + r * half);
        kernels->join(upper + r * half, lower + r * half, half, joined);
        assert_memory_equal(joined, row, codes->padded);
    }
    kernels->dot_u4(&query, &rows, got);
    for (size_t r = 0; r < n; r++) {
        const uint8_t *row = codes->bytes + (sparse ? codes->at[r] : r) * codes->padded;
        int32_t sum = 0;
        for (size_t i = 0; i < codes->padded; i++) {
            sum += codes->high[i] * (row[i] >> 4);
        }
        assert_int_equal(got[r], sum);
    }
    free(upper);
    free(lower);
    free(joined);
}

enum { LANES = CODES_LANES };

/* Several queries and a tile of rows, against the sums one by one. */
static void check_tile(const index_codes_kernels *kernels, const test_codes *codes,
                       random_state *random, size_t n, size_t n_queries)
{
    enum { MOST = 9 };
    int8_t *planes = aligned_alloc(64, MOST * codes->padded);
    int32_t got[MOST][LANES];
    index_query_i8 queries[MOST];
    const index_query_i8 *asked[MOST];
    for (size_t q = 0; q < n_queries; q++) {
        int8_t *plane = planes + q * codes->padded;
        queries[q] = (index_query_i8){plane, codes->low, 0, 0};
        asked[q] = &queries[q];
        for (size_t i = 0; i < codes->padded; i++) {
            plane[i] = (int8_t)((int)random_below(random, 255) - 127);
            plane[i] = q == 1 ? 127 : plane[i]; /* the largest sums */
            queries[q].sum_high += plane[i];
        }
    }
    index_code_tile tile = {codes->bytes, n, codes->padded, asked, n_queries, {NULL, NULL}};
    if (n % 2 == 0) { /* reading ahead changes nothing */
        tile.fetch[0] = tile.fetch[1] = codes->bytes;
    }
    kernels->tile->dot(&tile, got[0]);
    for (size_t q = 0; q < n_queries; q++) {
        for (size_t r = 0; r < n; r++) {
            int32_t sum = 0;
            for (size_t i = 0; i < codes->padded; i++) {
                int32_t code = (int32_t)codes->bytes[r * codes->padded + i] - 128;
                sum += planes[q * codes->padded + i] * code;
            }
            assert_int_equal(got[q][r], sum);
        }
    }
    free(planes);
}

/* Weights of either sign, six of a look-up as large together as they may be. */
static void weights_make(random_state *random, int8_t *weights, size_t padded)
{
    for (size_t i = 0; i < padded; i++) {
        int size = i % 8 == random_below(random, 6) ? 28 : (int)random_below(random, 8);
        weights[i] = (int8_t)(random_below(random, 2) == 0 ? size : -size);
    }
    for (size_t i = 0; i < 6; i++) { /* the lowest six of a byte, the highest two of three */
        weights[i] = i == 0 ? 63 : 0;
        size_t high = 8 * (i / 2) + 6 + i % 2;
        weights[high] = (int8_t)(i == 5 ? 13 : -10);
    }
}

/* Bits against counting them one by one, and every number against the twin to the last bit. */
static void check_guess(const index_codes_kernels *kernels, random_state *random, size_t padded)
{
    size_t columns = padded / 8;
    size_t bytes = columns * LANES + 2 * LANES * sizeof(float);
    int8_t *weights = malloc(padded);
    uint8_t *group = malloc(bytes + 64);
    uint8_t *tables = aligned_alloc(64, index_tables_bytes(columns));
    float got[LANES];
    float twins[LANES];
    float *numbers = (float *)(void *)(group + columns * LANES);
    weights_make(random, weights, padded);
    for (size_t i = 0; i < columns * LANES; i++) {
        group[i] = (uint8_t)random_next(random);
    }
    for (size_t i = 0; i < 2 * (size_t)LANES; i++) {
        numbers[i] = (float)random_below(random, 1000) / 997.0F;
    }
    index_query_b1 query = {tables, columns, 3.7F, 0.013F, 3.5F, 0.9F, -0.2F};
    twin()->bits->tables(weights, columns, tables);
    twin()->bits->guess(&query, group, twins);
    kernels->bits->tables(weights, columns, tables);
    kernels->bits->guess(&query, group, got);
    for (size_t r = 0; r < LANES; r++) {
        int sum = 0;
        for (size_t i = 0; i < padded; i++) {
            bool set = ((group[i / 8 * LANES + r] >> (i % 8)) & 1) != 0;
            sum += set == (weights[i] > 0) ? 0 : abs(weights[i]);
        }
        float estimate = numbers[r] * (3.7F - 0.013F * (float)sum);
        assert_true(twins[r] == 0.9F * (estimate + 3.5F * numbers[LANES + r]) - 0.2F);
    }
    assert_memory_equal(got, twins, sizeof(got));
    free(weights);
    free(group);
    free(tables);
}

static void check_keep(const index_codes_kernels *kernels, random_state *random)
{
    float values[LANES];
    float kept[LANES];
    float most = -INFINITY;
    uint64_t bits = random_below(random, 3) == 0 ? UINT64_MAX : random_next(random);
    bits = random_below(random, 5) == 0 ? 0 : bits;
    for (size_t i = 0; i < LANES; i++) {
        values[i] = (float)random_below(random, 1000) - 500;
        kept[i] = ((bits >> i) & 1) != 0 ? values[i] : -INFINITY;
        most = fmaxf(most, kept[i]);
    }
    float got = kernels->bits->keep(values, bits);
    assert_true(got == most);
    assert_memory_equal(values, kept, sizeof(kept));
}

static void check_not_below(const index_codes_kernels *kernels, random_state *random)
{
    float values[LANES];
    for (size_t i = 0; i < LANES; i++) {
        values[i] = (float)random_below(random, 5);
    }
    values[random_below(random, LANES)] = -INFINITY;
    values[random_below(random, LANES)] = NAN; /* is below nothing: it is to be found */
    uint64_t bits = kernels->bits->not_below(values, 3.0F);
    for (size_t i = 0; i < LANES; i++) {
        assert_int_equal((bits >> i) & 1, isnan(values[i]) || values[i] >= 3.0F);
    }
}

static void every_kernel_equals_its_twin(void **state)
{
    (void)state;
    random_state random = {301};
    const index_codes_kernels *kernels = NULL;
    int usable = 0;
    for (size_t k = 0; (kernels = index_codes_kernels_at(k, &usable)) != NULL; k++) {
        if (!usable) {
            print_message("kernel %s is not usable here\n", kernels->name);
            continue;
        }
        for (size_t d = 0; d < sizeof(padded_dims) / sizeof(padded_dims[0]); d++) {
            test_codes codes;
            codes_make(&codes, &random, padded_dims[d], 37);
            for (size_t n = 1; n <= 37; n += 1 + n % 5) {
                check_dot(kernels, &codes, n % 2 == 0, n);
                check_halves(kernels, &codes, n % 2 == 1, n);
                check_tile(kernels, &codes, &random, n, 1 + n % 9);
            }
            codes_free(&codes);
            check_guess(kernels, &random, padded_dims[d]);
        }
        for (size_t i = 0; i < 100; i++) {
            check_keep(kernels, &random);
            check_not_below(kernels, &random);
        }
    }
}

static void a_kernel_can_be_named(void **state)
{
    (void)state;
    setenv("IMAGO_KERNEL", "portable", 1);
    assert_string_equal(index_codes_kernels_choose()->name, "portable");
    setenv("IMAGO_KERNEL", "abacus", 1);
    assert_non_null(index_codes_kernels_choose());
    unsetenv("IMAGO_KERNEL");
    assert_non_null(index_codes_kernels_choose());
}

static double dot_of(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)a[i] * (double)b[i];
    }
    return sum;
}

/* Lengths and products stay, and what sat in one place is spread. */
static void a_rotation_keeps_products_and_spreads(void **state)
{
    (void)state;
    random_state random = {302};
    static const size_t dims[] = {1, 2, 63, 64, 65, 100, 384, 512, 640, 768, 1024, 1152};
    for (size_t d = 0; d < sizeof(dims) / sizeof(dims[0]); d++) {
        index_rotation rotation;
        size_t dim = dims[d];
        assert_true(index_rotation_init(&rotation, dim));
        float *a = calloc(rotation.padded, sizeof(float));
        float *b = calloc(rotation.padded, sizeof(float));
        for (size_t round = 0; round < 20; round++) {
            memset(a, 0, rotation.padded * sizeof(float));
            memset(b, 0, rotation.padded * sizeof(float));
            random_unit(&random, a, dim);
            b[random_below(&random, dim)] = 1; /* all in one place */
            double before = dot_of(a, b, dim);
            index_rotate(&rotation, a);
            index_rotate(&rotation, b);
            assert_true(fabs(dot_of(a, a, rotation.padded) - 1) < 3 * rotation.error);
            assert_true(fabs(dot_of(a, b, rotation.padded) - before) < 3 * rotation.error);
            float most = 0;
            for (size_t i = 0; i < rotation.padded; i++) {
                most = fmaxf(most, fabsf(b[i]));
            }
            assert_true((double)most < 6.5 / sqrt((double)rotation.padded));
        }
        free(a);
        free(b);
        index_rotation_clear(&rotation);
    }
}

/* The stored bound is at least the distance, and not much more. */
static void an_int8_code_is_within_its_bound(void **state)
{
    (void)state;
    random_state random = {303};
    float row[512];
    uint8_t codes[512];
    for (size_t round = 0; round < 300; round++) {
        codes_numbers own;
        random_unit(&random, row, 512);
        float size = round % 7 == 0 ? 1e-30F : (float)(1 + round % 3);
        for (size_t i = 0; i < 512; i++) {
            row[i] *= round % 50 == 49 ? 0 : size;
        }
        codes_encode_i8(row, 512, 0, codes, &own);
        double sum = 0;
        double upper_sum = 0;
        double upper_size = 0;
        for (size_t i = 0; i < 512; i++) {
            double off = (double)row[i] - (double)own.scale * ((double)codes[i] - 128);
            double upper = (double)own.scale * ((codes[i] >> 4) * 16 + 7.5 - 128);
            upper_sum += ((double)row[i] - upper) * ((double)row[i] - upper);
            upper_size += upper * upper;
            assert_in_range(codes[i], 1, 255);
            sum += off * off;
        }
        assert_true((double)own.bound >= sqrt(sum));
        assert_true((double)own.bound <= sqrt(sum) * (1 + 1e-6) + 1e-40);
        assert_true(own.bound <= 0.02F * size);
        assert_true((double)own.upper_bound >= sqrt(upper_sum));
        assert_true((double)own.upper_bound <= sqrt(upper_sum) * (1 + 1e-6) + 1e-40);
        assert_true(own.upper_bound <= 0.2F * size);
        assert_true((double)own.size >= sqrt(upper_size));
        assert_true((double)own.size <= sqrt(upper_size) * (1 + 1e-6) + 1e-40);
    }
}

/* Rows along what one plane of a query leaves out, on either side and mixed with others: where an
 * estimate is off the most. Every bound must hold, in a tile and out of it. */
static void bounds_hold_for_the_worst_rows(void **state)
{
    (void)state;
    static const size_t dims[] = {64, 100, 512, 640};
    random_state random = {305};
    for (size_t round = 0; round < 40; round++) {
        size_t dim = dims[round % IM_COUNT(dims)];
        codes_layout layout = codes_layout_of(CODES_I8, dim);
        index_rotation rotation;
        index_scoring scoring;
        codes_query query = {0};
        codes_tile tile;
        float upper[LANES], lower[LANES], halves[LANES], tiled[1][LANES];
        double truth[LANES];
        uint8_t codes[1024];
        uint8_t *bytes = calloc(CODES_BLOCK_BYTES, 1);
        float *mean = calloc(dim, sizeof(float));
        float *vector = malloc(dim * sizeof(float));
        assert_true(index_rotation_init(&rotation, dim));
        float *rotated = calloc(rotation.padded, sizeof(float));
        float *row = calloc(rotation.padded, sizeof(float));
        random_unit(&random, vector, dim);
        im_index_part part = {vector, 3, 0.25F};
        im_index_query asked = {.parts = &part, .n_parts = 1, .k = 1};
        assert_ok(index_scoring_init(&scoring, index_kernels_choose(), &asked, dim, err));
        codes_space space = {index_codes_kernels_choose(), &rotation, mean};
        assert_true(codes_query_init(&query, &space, &scoring));
        memcpy(rotated, vector, dim * sizeof(float));
        index_rotate(&rotation, rotated);
        codes_block block = codes_block_at(&layout, bytes);
        size_t n = IM_MIN(codes_tile_rows(&layout), layout.rows);
        for (size_t r = 0; r < n; r++) {
            double size = 0;
            random_unit(&random, row, rotation.padded);
            for (size_t i = 0; i < rotation.padded; i++) {
                double plane = 128.0 * (double)query.folds[0].step * query.folds[0].i8.high[i];
                double off = ((double)rotated[i] - plane) * (r % 2 == 0 ? 100 : -100);
                row[i] = (float)(off + (double)row[i] * (double)r / (double)n);
                size += (double)row[i] * (double)row[i];
            }
            for (size_t i = 0; i < rotation.padded; i++) {
                row[i] = (float)((double)row[i] / sqrt(size));
            }
            truth[r] = 3 * dot_of(rotated, row, rotation.padded) - 0.25;
            codes_encode_i8(row, rotation.padded, 0, codes,
                            (codes_numbers *)(uintptr_t)&block.numbers[r]);
            codes_split(codes, rotation.padded,
                        (uint8_t *)(uintptr_t)(block.codes + r * layout.row_bytes),
                        (uint8_t *)(uintptr_t)(block.lower + r * layout.row_bytes));
        }
        codes_run run = {.n = n};
        const codes_query *queries[] = {&query};
        codes_bounds(&query, &layout, &block, &run, upper, lower);
        codes_uppers(&query, &layout, &block, &run, halves);
        codes_tile_fill(&tile, space.kernels, &layout, &block, 0, n);
        codes_tile_uppers(&tile, queries, 1, tiled);
        for (size_t r = 0; r < n; r++) {
            assert_true((double)lower[r] <= truth[r] && truth[r] <= (double)upper[r]);
            assert_true(truth[r] <= (double)halves[r]);
            assert_true(truth[r] <= (double)tiled[0][r]);
            assert_true((double)tiled[0][r] < truth[r] + 3 * 0.1); /* and says something */
        }
        codes_query_clear(&query);
        index_scoring_clear(&scoring);
        index_rotation_clear(&rotation);
        free(bytes);
        free(mean);
        free(vector);
        free(rotated);
        free(row);
    }
}

/* Over many rows the guess is right on average and off by what it says. */
static void a_guess_by_bits_is_unbiased(void **state)
{
    (void)state;
    enum { D = 512, N = 2000 };
    random_state random = {304};
    float query[D];
    float row[D];
    uint8_t codes[D / 8];
    double sum = 0;
    double squares = 0;
    random_unit(&random, query, D);
    for (size_t r = 0; r < N; r++) {
        float factor = 0;
        float error = 0;
        double guess = 0;
        random_unit(&random, row, D);
        codes_encode_b1(row, D, codes, &factor, &error);
        for (size_t i = 0; i < D; i++) {
            guess += ((codes[i / 8] >> (i % 8)) & 1) != 0 ? (double)query[i] : -(double)query[i];
        }
        double off = ((double)factor * guess - dot_of(query, row, D)) / (double)error;
        sum += off;
        squares += off * off;
    }
    assert_true(fabs(sum / N) < 0.1);
    assert_true(fabs(squares / N - 1) < 0.15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kernel_equals_its_twin),
        cmocka_unit_test(a_kernel_can_be_named),
        cmocka_unit_test(a_rotation_keeps_products_and_spreads),
        cmocka_unit_test(an_int8_code_is_within_its_bound),
        cmocka_unit_test(bounds_hold_for_the_worst_rows),
        cmocka_unit_test(a_guess_by_bits_is_unbiased),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
