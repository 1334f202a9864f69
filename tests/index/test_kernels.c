/* tests/index/test_kernels.c — covers index/kernels.c and index/scoring.c. */
#include "base/memory.h"
#include "help.h"
#include "index/kernels_internal.h"
#include "index/scoring_internal.h"
#include <math.h>

static const size_t dims[] = {1,  2,  3,  7,  8,   9,   15,  16,  17, 31,
                              32, 33, 48, 63, 100, 256, 511, 512, 768};

/* The definition, written once more, slowly. */
static float dot_by_definition(const float *a, const float *b, size_t dim)
{
    float lanes[16] = {0};
    for (size_t i = 0; i < dim; i++) {
        float product = a[i] * b[i];
        lanes[i % 16] = lanes[i % 16] + product;
    }
    for (size_t step = 8; step > 0; step /= 2) {
        for (size_t j = 0; j < step; j++) {
            lanes[j] = lanes[j] + lanes[j + step];
        }
    }
    return lanes[0];
}

/* Behind the row stands what spoils any sum that it gets into, even times zero. */
static void check_kernel(const index_kernels *kernels, size_t dim, random_state *random)
{
    float *query = calloc(index_padded(dim), sizeof(float));
    float *row = malloc((dim + 16) * sizeof(float));
    assert_non_null(query);
    assert_non_null(row);
    random_unit(random, query, dim);
    random_unit(random, row, dim);
    for (size_t i = dim; i < dim + 16; i++) {
        row[i] = NAN;
    }
    float expected = dot_by_definition(query, row, dim);
    float got = kernels->dot(query, row, dim);
    assert_memory_equal(&got, &expected, sizeof(float));
    free(query);
    free(row);
}

static void every_kernel_sums_in_the_one_order(void **state)
{
    (void)state;
    random_state random = {1};
    const index_kernels *kernels = NULL;
    int usable = 0;
    for (size_t i = 0; (kernels = index_kernels_at(i, &usable)) != NULL; i++) {
        if (!usable) {
            print_message("kernel %s is not usable here\n", kernels->name);
            continue;
        }
        for (size_t d = 0; d < sizeof(dims) / sizeof(dims[0]); d++) {
            for (size_t round = 0; round < 50; round++) {
                check_kernel(kernels, dims[d], &random);
            }
        }
    }
}

static void kernels_agree_on_products_that_underflow(void **state)
{
    (void)state;
    float query[16] = {1e-30F, -0.0F, 1e-30F};
    float row[3] = {-1e-30F, 1e-30F, -0.0F};
    const index_kernels *kernels = NULL;
    int usable = 0;
    float expected = dot_by_definition(query, row, 3);
    for (size_t i = 0; (kernels = index_kernels_at(i, &usable)) != NULL; i++) {
        if (usable) {
            float got = kernels->dot(query, row, 3);
            assert_memory_equal(&got, &expected, sizeof(float));
        }
    }
}

static void a_kernel_can_be_named(void **state)
{
    (void)state;
    setenv("IMAGO_KERNEL", "portable", 1);
    assert_string_equal(index_kernels_choose()->name, "portable");
    setenv("IMAGO_KERNEL", "abacus", 1);
    assert_non_null(index_kernels_choose());
    unsetenv("IMAGO_KERNEL");
    assert_non_null(index_kernels_choose());
}

static void one_part_scores_alike_under_every_combine(void **state)
{
    (void)state;
    random_state random = {2};
    float vector[48];
    float row[48];
    float scores[3];
    random_unit(&random, vector, 48);
    random_unit(&random, row, 48);
    const float *rows[1] = {row};
    im_index_part part = {vector, 17.3F, 2.1F};
    for (int combine = IM_COMBINE_SUM; combine <= IM_COMBINE_ALL; combine++) {
        index_scoring scoring;
        im_index_query query = {.parts = &part, .n_parts = 1, .combine = (im_combine)combine};
        assert_ok(index_scoring_init(&scoring, index_kernels_choose(), &query, 48, err));
        index_scoring_rows(&scoring, rows, 1, &scores[combine]);
        index_scoring_clear(&scoring);
    }
    assert_memory_equal(&scores[0], &scores[1], sizeof(float));
    assert_memory_equal(&scores[0], &scores[2], sizeof(float));
}

static void refuse(const im_index_query *query, const char *reason)
{
    index_scoring scoring;
    assert_refused(index_scoring_init(&scoring, index_kernels_choose(), query, 3, err), reason);
}

/* T58 at the query's side. */
static void parts_that_are_no_unit_vectors_are_refused(void **state)
{
    (void)state;
    const float bad[][3] = {
        {NAN, 0, 1},  {0, INFINITY, 0}, {0, 0, -INFINITY}, {0, 0, 0},       {1e-40F, 0, 0},
        {0.5F, 0, 0}, {1, 1, 0},        {3e38F, 3e38F, 0}, {1.0011F, 0, 0}, {0.9989F, 0, 1e-20F}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        im_index_part part = {bad[i], 1, 0};
        im_index_query query = {.parts = &part, .n_parts = 1};
        refuse(&query, "vector_invalid");
    }
}

static void parts_with_numbers_that_overflow_are_refused(void **state)
{
    (void)state;
    const float vector[3] = {0, 1, 0};
    const float bad[][2] = {{NAN, 0},       {INFINITY, 0}, {1, NAN},
                            {1, -INFINITY}, {1e31F, 0},    {1, 2e30F}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        im_index_part part = {vector, bad[i][0], bad[i][1]};
        im_index_query query = {.parts = &part, .n_parts = 1};
        refuse(&query, "vector_invalid");
    }
    im_index_part part = {NULL, 1, 0};
    im_index_query query = {.parts = &part, .n_parts = 1};
    refuse(&query, "invalid");
    query.n_parts = 0;
    refuse(&query, "invalid");
    query.n_parts = 65;
    refuse(&query, "invalid");
}

/* The largest numbers that are let in give a finite score. */
static void the_largest_weights_give_finite_scores(void **state)
{
    (void)state;
    float vector[16] = {0};
    float score = 0;
    im_index_part parts[64];
    index_scoring scoring;
    vector[3] = 1;
    const float *rows[1] = {vector};
    for (size_t p = 0; p < 64; p++) {
        parts[p] = (im_index_part){vector, 1e30F, -1e30F};
    }
    im_index_query query = {.parts = parts, .n_parts = 64};
    assert_ok(index_scoring_init(&scoring, index_kernels_choose(), &query, 16, err));
    index_scoring_rows(&scoring, rows, 1, &score);
    index_scoring_clear(&scoring);
    assert_true(isfinite(score));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kernel_sums_in_the_one_order),
        cmocka_unit_test(kernels_agree_on_products_that_underflow),
        cmocka_unit_test(a_kernel_can_be_named),
        cmocka_unit_test(one_part_scores_alike_under_every_combine),
        cmocka_unit_test(parts_that_are_no_unit_vectors_are_refused),
        cmocka_unit_test(parts_with_numbers_that_overflow_are_refused),
        cmocka_unit_test(the_largest_weights_give_finite_scores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
