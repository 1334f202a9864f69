/* tests/index/test_columns_filter.c — covers index/columns_filter.c, columns_kernels.c and
 * conditions.c: filters of random tables against the plain evaluation, also from many threads. */
#include "help_columns.h"
#include "index/columns_kernels_internal.h"
#include "index/conditions_internal.h"
#include <math.h>
#include <pthread.h>

/* ---- conditions ---- */

static void random_conditions_equal_the_plain_evaluation(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 63, 64, 65, 700, 8191, 8192, 8193};
    size_t n_cases = 0;
    for (size_t i = 0; i < 9; i++) {
        test_table table;
        table_make(&table, 100 + i, sizes[i]);
        table_build(&table, 5);
        im_columns *columns = table_open(&table, 5);
        uint64_t *alive = random_bits(&table.random, table.n + 1, 700);
        size_t rounds = sizes[i] > 1000 ? 60 : 500;
        for (size_t round = 0; round < rounds; round++, n_cases++) {
            im_condition *condition = random_condition(&table, 1 + (unsigned)(round % 4));
            assert_filter(columns, &table, condition, round % 2 != 0 ? alive : NULL);
            im_condition_free(condition);
        }
        assert_filter(columns, &table, NULL, NULL);
        assert_filter(columns, &table, NULL, alive);
        free(alive);
        im_columns_close(columns);
        table_free(&table);
    }
    assert_true(n_cases > 3000);
}

/* T60: 0, 1, few, half, all but one, all. */
static void every_selectivity_is_counted_exactly(void **state)
{
    (void)state;
    test_table table;
    const size_t n = 20000;
    table_make(&table, 7, n);
    for (size_t i = 0; i < n; i++) {
        table.rows[i].values[TAKEN].integer = (int64_t)((i * 7919) % n);
    }
    table_build(&table, 1);
    im_columns *columns = table_open(&table, 1);
    const int64_t wanted[] = {0, 1, 2, 200, (int64_t)n / 2, (int64_t)n - 1, (int64_t)n};
    uint64_t *bits = malloc((n + 63) / 64 * 8);
    for (size_t i = 0; i < 7; i++) {
        uint64_t count = 99;
        char column[] = "taken";
        im_condition condition = {
            .kind = IM_CONDITION_INTEGERS, .column = column, .min_i = 0, .max_i = wanted[i] - 1};
        assert_ok(im_columns_filter(columns, &condition, NULL, bits, &count, err));
        assert_int_equal(count, wanted[i]);
        assert_filter(columns, &table, &condition, NULL);
    }
    free(bits);
    im_columns_close(columns);
    table_free(&table);
}

static void wrong_conditions_are_refused(void **state)
{
    (void)state;
    test_table table;
    uint64_t bits[1];
    char taken[] = "taken", camera[] = "camera", nothing[] = "nothing";
    table_make(&table, 8, 10);
    table_build(&table, 1);
    im_columns *columns = table_open(&table, 1);
    im_condition wrong[] = {
        {.kind = IM_CONDITION_NUMBERS, .column = taken},
        {.kind = IM_CONDITION_INTEGERS, .column = camera},
        {.kind = IM_CONDITION_TEXT_PART, .column = taken},
        {.kind = IM_CONDITION_PRESENT, .column = nothing},
        {.kind = IM_CONDITION_PRESENT},
        {.kind = IM_CONDITION_NOT},
        {.kind = (im_condition_kind)99},
    };
    for (size_t i = 0; i < 7; i++) {
        assert_refused(im_columns_filter(columns, &wrong[i], NULL, bits, NULL, err), "invalid");
    }
    im_condition chain[300];
    im_condition *children[300];
    for (size_t i = 0; i < 300; i++) {
        chain[i] = (im_condition){.kind = IM_CONDITION_AND};
        if (i + 1 < 300) {
            children[i] = &chain[i + 1];
            chain[i] =
                (im_condition){.kind = IM_CONDITION_NOT, .children = &children[i], .n_children = 1};
        }
    }
    assert_refused(im_columns_filter(columns, chain, NULL, bits, NULL, err), "invalid");
    assert_filter(columns, &table, chain + 60, NULL);
    im_columns_close(columns);
    table_free(&table);
}

static void distances_equal_those_of_vectors(void **state)
{
    (void)state;
    random_state random = {3};
    const double degree = acos(-1.0) / 180;
    for (size_t i = 0; i < 2000; i++) {
        double a[2] = {90 * (double)random_float(&random), 180 * (double)random_float(&random)};
        double b[2] = {90 * (double)random_float(&random), 180 * (double)random_float(&random)};
        double chord = 0, v[2][3];
        for (size_t j = 0; j < 2; j++) {
            const double *p = j == 0 ? a : b;
            v[j][0] = cos(p[0] * degree) * cos(p[1] * degree);
            v[j][1] = cos(p[0] * degree) * sin(p[1] * degree);
            v[j][2] = sin(p[0] * degree);
        }
        for (size_t j = 0; j < 3; j++) {
            chord += (v[0][j] - v[1][j]) * (v[0][j] - v[1][j]);
        }
        double metres = 6371008.8 * 2 * asin(fmin(1, sqrt(chord) / 2));
        assert_true(fabs(metres - conditions_metres(a[0], a[1], b[0], b[1])) < 1);
    }
    /* Paris to London */
    assert_true(fabs(conditions_metres(48.8566, 2.3522, 51.5074, -0.1278) - 343500) < 500);
}

static void kernels_equal_their_plain_twins(void **state)
{
    (void)state;
    random_state random = {4};
    const columns_kernels *fast = columns_kernels_choose();
    int64_t integers[300];
    double numbers[300];
    uint32_t words[300], set[8] = {0};
    for (size_t round = 0; round < 600; round++) {
        size_t n = (size_t)random_below(&random, 301);
        uint32_t n_set = (uint32_t)random_below(&random, 200);
        memset(set, 0, sizeof(set));
        for (uint32_t i = 0; i < n_set; i++) {
            set[i / 32] |= (uint32_t)random_below(&random, 2) << (i % 32);
        }
        for (size_t i = 0; i < n; i++) {
            integers[i] = (int64_t)random_below(&random, 20) - 10;
            integers[i] = random_below(&random, 9) == 0 ? INT64_MIN : integers[i];
            integers[i] = random_below(&random, 9) == 0 ? INT64_MAX : integers[i];
            numbers[i] = (double)random_below(&random, 20) - 10;
            numbers[i] = random_below(&random, 9) == 0 ? (double)NAN : numbers[i];
            words[i] = random_below(&random, 5) == 0 ? UINT32_MAX - (uint32_t)i
                                                     : (uint32_t)random_below(&random, 300);
        }
        int64_t min = (int64_t)random_below(&random, 22) - 11;
        int64_t max =
            random_below(&random, 5) == 0 ? INT64_MAX : min + (int64_t)random_below(&random, 9);
        uint64_t a[6] = {1, 2, 3, 4, 5, 6}, b[6] = {6, 5, 4, 3, 2, 1};
        size_t bytes = (n + 63) / 64 * 8;
        fast->integers(integers, n, min, max, a);
        columns_kernels_plain.integers(integers, n, min, max, b);
        assert_memory_equal(a, b, bytes);
        fast->numbers(numbers, n, (double)min, (double)max, a);
        columns_kernels_plain.numbers(numbers, n, (double)min, (double)max, b);
        assert_memory_equal(a, b, bytes);
        fast->words(words, n, set, n_set, a);
        columns_kernels_plain.words(words, n, set, n_set, b);
        assert_memory_equal(a, b, bytes);
    }
}

/* ---- threads ---- */

typedef struct test_worker {
    im_columns *columns;
    im_condition **conditions; /* [20] */
    uint64_t counts[20];
} test_worker;

static void *work(void *context)
{
    test_worker *worker = context;
    uint64_t *bits = malloc(4000);
    for (size_t i = 0; i < 20; i++) {
        im_error err = IM_ERROR_INIT;
        im_code rc = im_columns_filter(worker->columns, worker->conditions[i], NULL, bits,
                                       &worker->counts[i], &err);
        worker->counts[i] = rc == IM_OK ? worker->counts[i] : UINT64_MAX;
    }
    free(bits);
    return NULL;
}

static void many_threads_touch_one_file(void **state)
{
    (void)state;
    test_table table;
    im_condition *conditions[20];
    test_worker workers[4];
    pthread_t threads[4];
    table_make(&table, 61, 30000);
    table_build(&table, 1);
    for (size_t i = 0; i < 20; i++) {
        conditions[i] = random_condition(&table, 2);
    }
    for (size_t round = 0; round < 5; round++) {
        im_columns *columns = table_open(&table, 1);
        for (size_t i = 0; i < 4; i++) {
            workers[i] = (test_worker){.columns = columns, .conditions = conditions};
            assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
        }
        for (size_t i = 0; i < 4; i++) {
            pthread_join(threads[i], NULL);
            assert_memory_equal(workers[i].counts, workers[0].counts, sizeof(workers[0].counts));
        }
        assert_true(workers[0].counts[0] != UINT64_MAX);
        im_columns_close(columns);
    }
    for (size_t i = 0; i < 20; i++) {
        im_condition_free(conditions[i]);
    }
    table_free(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_conditions_equal_the_plain_evaluation),
        cmocka_unit_test(every_selectivity_is_counted_exactly),
        cmocka_unit_test(wrong_conditions_are_refused),
        cmocka_unit_test(distances_equal_those_of_vectors),
        cmocka_unit_test(kernels_equal_their_plain_twins),
        cmocka_unit_test(many_threads_touch_one_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
