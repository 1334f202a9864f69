/* tests/query/test_plan.c — covers query/plan.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/fault.h"
#include "query/query.h"

#include <math.h>
#include <stdlib.h>

#define DIM 24
#define ROWS 300

static float background[ROWS * DIM];

static void random_unit(float *vector)
{
    double squares = 0;
    for (size_t i = 0; i < DIM; i++) {
        vector[i] = (float)((double)random() / (double)RAND_MAX - 0.4);
        squares += (double)vector[i] * (double)vector[i];
    }
    for (size_t i = 0; i < DIM; i++) {
        vector[i] = (float)((double)vector[i] / sqrt(squares));
    }
}

static double dot(const float *a, const float *b)
{
    double sum = 0;
    for (size_t i = 0; i < DIM; i++) {
        sum += (double)a[i] * (double)b[i];
    }
    return sum;
}

static int fill_background(void **state)
{
    (void)state;
    srandom(11);
    for (size_t i = 0; i < ROWS; i++) {
        random_unit(background + i * DIM);
    }
    return 0;
}

/* Over the background itself the standardised score has mean 0 and deviation 1. */
static void scores_of_the_background_are_standardised(void **state)
{
    float vector[DIM];
    im_query_part part = {.kind = IM_PART_TEXT, .weight = 1};
    im_plan plan;
    double sum = 0;
    double squares = 0;
    (void)state;
    random_unit(vector);
    assert_int_equal(
        im_query_plan(&part, vector, 1, DIM, IM_COMBINE_SUM, background, ROWS, &plan, NULL), IM_OK);
    for (size_t i = 0; i < ROWS; i++) {
        double score =
            (double)im_plan_contribution(&plan, 0, (float)dot(vector, background + i * DIM));
        sum += score;
        squares += score * score;
    }
    assert_true(fabs(sum / ROWS) < 1e-4);
    assert_true(fabs(sqrt(squares / ROWS) - 1) < 1e-4);
    im_plan_clear(&plan);
}

static void a_weight_scales_a_contribution_and_minus_turns_it_around(void **state)
{
    float vectors[2 * DIM];
    im_query_part parts[2] = {{.kind = IM_PART_TEXT, .weight = 3},
                              {.kind = IM_PART_TEXT, .weight = -0.5}};
    im_plan plan;
    (void)state;
    random_unit(vectors);
    memcpy(vectors + DIM, vectors, DIM * sizeof(float));
    assert_int_equal(
        im_query_plan(parts, vectors, 2, DIM, IM_COMBINE_SUM, background, ROWS, &plan, NULL),
        IM_OK);
    for (int i = -10; i <= 10; i++) {
        float cosine = (float)i / 10;
        float positive = im_plan_contribution(&plan, 0, cosine);
        float negative = im_plan_contribution(&plan, 1, cosine);
        assert_true(fabsf(positive + 6 * negative) < 1e-3f * (1 + fabsf(positive)));
    }
    assert_false(plan.only_negative);
    im_plan_clear(&plan);
}

static void without_a_background_scores_are_cosines(void **state)
{
    float vector[DIM];
    im_query_part part = {.kind = IM_PART_TEXT, .weight = 1};
    im_plan plan;
    (void)state;
    random_unit(vector);
    assert_int_equal(im_query_plan(&part, vector, 1, DIM, IM_COMBINE_SUM, NULL, 0, &plan, NULL),
                     IM_OK);
    assert_true(im_plan_contribution(&plan, 0, 0.25f) == 0.25f);
    im_plan_clear(&plan);
}

static void a_vector_minus_itself_is_degenerate(void **state)
{
    float vectors[2 * DIM];
    im_query_part parts[2] = {{.kind = IM_PART_TEXT, .weight = 2},
                              {.kind = IM_PART_TEXT, .weight = -2}};
    im_plan plan;
    im_error err = IM_ERROR_INIT;
    (void)state;
    random_unit(vectors);
    memcpy(vectors + DIM, vectors, DIM * sizeof(float));
    assert_int_equal(
        im_query_plan(parts, vectors, 2, DIM, IM_COMBINE_SUM, background, ROWS, &plan, &err),
        IM_ERR_INVALID);
    assert_string_equal(err.reason, "query_degenerate");
}

static void only_negative_parts_are_told(void **state)
{
    float vector[DIM];
    im_query_part part = {.kind = IM_PART_TEXT, .weight = -0.5};
    im_plan plan;
    (void)state;
    random_unit(vector);
    assert_int_equal(
        im_query_plan(&part, vector, 1, DIM, IM_COMBINE_SUM, background, ROWS, &plan, NULL), IM_OK);
    assert_true(plan.only_negative);
    im_plan_clear(&plan);
}

/* Equal background pictures, or a model that collapsed, must not blow scores up to infinity. */
static void a_background_without_spread_gives_finite_scores(void **state)
{
    float vector[DIM];
    float same[4 * DIM];
    (void)state;
    random_unit(vector);
    for (size_t i = 0; i < 4; i++) {
        memcpy(same + i * DIM, vector, sizeof(vector));
    }
    im_background b = im_query_background(same, 4, DIM, vector);
    assert_true(b.deviation > 0 && isfinite(1.0f / b.deviation));
}

static void planning_survives_each_failed_allocation(void **state)
{
    float vector[DIM];
    im_query_part part = {.kind = IM_PART_TEXT, .weight = 1};
    im_code rc = IM_ERR_NOMEM;
    size_t nth = 0;
    (void)state;
    random_unit(vector);
    size_t before = im_live_allocations();
    for (; rc != IM_OK; nth++) {
        im_plan plan = {0};
        im_fault_set(IM_FAULT_ALLOC, nth, 0);
        rc = im_query_plan(&part, vector, 1, DIM, IM_COMBINE_SUM, background, ROWS, &plan, NULL);
        assert_int_equal(rc, im_fault_fired(IM_FAULT_ALLOC) ? IM_ERR_NOMEM : IM_OK);
        im_fault_clear();
        im_plan_clear(&plan);
        assert_int_equal(im_live_allocations(), before);
    }
    assert_true(nth > 2); /* the hook was reached */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_of_the_background_are_standardised),
        cmocka_unit_test(a_weight_scales_a_contribution_and_minus_turns_it_around),
        cmocka_unit_test(without_a_background_scores_are_cosines),
        cmocka_unit_test(a_vector_minus_itself_is_degenerate),
        cmocka_unit_test(only_negative_parts_are_told),
        cmocka_unit_test(a_background_without_spread_gives_finite_scores),
        cmocka_unit_test(planning_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests_name("query plan", tests, fill_background, NULL);
}
