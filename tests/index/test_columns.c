/* tests/index/test_columns.c — covers index/columns*.c, conditions.c: filters, orders and groups of
 * random tables against the plain evaluation, patched files against rebuilt ones. */
#include "help_columns.h"
#include "index/columns_kernels_internal.h"
#include "index/conditions_internal.h"
#include <math.h>
#include <pthread.h>
#include <unistd.h>

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

/* ---- values ---- */

static void assert_values(im_columns *columns, const test_table *table)
{
    for (size_t slot = 0; slot < table->n; slot++) {
        for (size_t i = 0; i < N_COLUMNS; i++) {
            im_column_value value;
            bool has = false;
            const im_column_value *expected = &table->rows[slot].values[i];
            assert_ok(im_columns_value(columns, table_specs[i].name, slot, &value, &has, err));
            assert_int_equal(has, has_value(table, i, slot));
            if (has && table_specs[i].kind == IM_COLUMN_TEXT) {
                assert_true(im_view_equal(value.text, expected->text));
            } else if (has) {
                assert_memory_equal(&value, expected, 8);
            }
        }
    }
}

static void values_come_back_as_they_were(void **state)
{
    (void)state;
    test_table table;
    table_make(&table, 21, 500);
    for (size_t i = 0; i < 500; i += 7) { /* slots of no row */
        table.rows[i].item = IM_NO_ITEM;
        for (size_t j = 0; j < N_COLUMNS; j++) {
            table.rows[i].values[j].text = im_view_of(NULL, 0);
            if (table_specs[j].kind == IM_COLUMN_NUMBER) {
                table.rows[i].values[j].number = (double)NAN;
            } else if (table_specs[j].kind == IM_COLUMN_INTEGER) {
                table.rows[i].values[j].integer = IM_COLUMN_NO_INTEGER;
            }
        }
    }
    table_build(&table, 12);
    im_columns *columns = table_open(&table, 14);
    assert_int_equal(im_columns_seq(columns), 12);
    assert_int_equal(im_columns_n_rows(columns), 500);
    assert_values(columns, &table);
    im_column_value value;
    bool has = false;
    im_column_kind kind = IM_COLUMN_NUMBER;
    assert_true(im_columns_kind(columns, "camera", &kind));
    assert_int_equal(kind, IM_COLUMN_TEXT);
    assert_false(im_columns_kind(columns, "nothing", &kind));
    assert_refused(im_columns_value(columns, "taken", 500, &value, &has, err), "invalid");
    assert_refused(im_columns_value(columns, "nothing", 5, &value, &has, err), "invalid");
    im_columns_close(columns);
    table_free(&table);
}

static void a_source_that_fails_or_errs_leaves_no_file(void **state)
{
    (void)state;
    test_table table;
    char path[128];
    table_make(&table, 22, 100);
    table_path(&table, path);
    table.fail_after = 50;
    im_error error = IM_ERROR_INIT;
    assert_int_equal(im_columns_build(table.folder, &table.state, table_specs, N_COLUMNS, 1,
                                      table_source, &table, &error),
                     IM_ERR_DAMAGED);
    assert_string_equal(error.message, "the source failed");
    table.fail_after = SIZE_MAX;
    table.shuffled = true; /* descending slots */
    assert_refused(im_columns_build(table.folder, &table.state, table_specs, N_COLUMNS, 1,
                                    table_source, &table, err),
                   "invalid");
    table.shuffled = false;
    table.state.n_rows = 99; /* one row too many */
    assert_refused(im_columns_build(table.folder, &table.state, table_specs, N_COLUMNS, 1,
                                    table_source, &table, err),
                   "invalid");
    const im_column_spec nameless = {"", IM_COLUMN_TEXT};
    assert_refused(
        im_columns_build(table.folder, &table.state, &nameless, 1, 1, table_source, &table, err),
        "invalid");
    assert_int_equal(rmdir(table.folder), 0); /* nothing is left in it */
    table_free(&table);
}

/* ---- patches ---- */

static void changed_slots(test_table *table, bool *changed, unsigned per_cent)
{
    for (size_t i = 0; i < table->n; i++) {
        if (random_below(&table->random, 100) < per_cent) {
            changed[i] = true;
            table_change(table, i);
        }
    }
}

static void a_patched_file_equals_a_rebuilt_one(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 12; round++) {
        test_table table;
        size_t n_old = round % 3 == 0 ? 8192 : 900 + 3 * round;
        bool *changed = calloc(n_old + 400, 1);
        table_make(&table, 300 + round, n_old + (round % 2) * 333);
        size_t n = table.n;
        table.n = table.state.n_rows = n_old;
        table_build(&table, 10);
        table.n = table.state.n_rows = n; /* rows that were appended since */
        memset(changed + n_old, 1, n - n_old);
        im_columns *columns = table_open(&table, 40);
        for (unsigned patch = 0; patch < 1 + round % 3; patch++) {
            changed_slots(&table, changed, round == 5 ? 100 : 4);
            table.only = changed;
            table.shuffled = round % 2 == 0;
            assert_ok(im_columns_patch(columns, 20 + patch, table_source, &table, err));
            assert_int_equal(im_columns_seq(columns), 20 + patch);
        }
        assert_values(columns, &table);
        for (size_t i = 0; i < 40; i++) {
            im_condition *condition = random_condition(&table, 3);
            assert_filter(columns, &table, condition, NULL);
            im_condition_free(condition);
        }
        im_columns_close(columns);
        free(changed);
        table_free(&table);
    }
}

static void a_patch_that_fails_changes_nothing(void **state)
{
    (void)state;
    test_table table;
    table_make(&table, 31, 300);
    table_build(&table, 10);
    im_columns *columns = table_open(&table, 12);
    assert_ok(im_columns_patch(columns, 11, table_source, &table, err));
    table_row kept = table.rows[5];
    table_change(&table, 5);
    table.fail_after = 200;
    im_error error = IM_ERROR_INIT;
    assert_int_equal(im_columns_patch(columns, 12, table_source, &table, &error), IM_ERR_DAMAGED);
    table.n = 301; /* a slot that the snapshot does not have */
    table.rows[300] = table.rows[0];
    table.fail_after = SIZE_MAX;
    assert_refused(im_columns_patch(columns, 12, table_source, &table, err), "invalid");
    table.n = 300;
    table.rows[5] = kept;
    assert_int_equal(im_columns_seq(columns), 11);
    assert_values(columns, &table);
    im_columns_close(columns);
    table_free(&table);
}

static void a_new_own_field_is_empty_until_patched(void **state)
{
    (void)state;
    test_table table;
    bool only[64] = {[3] = true};
    char size[] = "field.size";
    table_make(&table, 32, 64);
    table_build(&table, 1);
    im_column_spec specs[N_COLUMNS] = {0};
    memcpy(specs, table_specs, sizeof(specs));
    specs[PRICE].name = size; /* price is not wanted, size is new */
    im_columns *columns = NULL;
    assert_ok(im_columns_open(table.folder, &table.state, 2, specs, N_COLUMNS, &columns, err));
    uint64_t bits = 0, count = 99;
    im_condition condition = {.kind = IM_CONDITION_PRESENT, .column = size};
    assert_ok(im_columns_filter(columns, &condition, NULL, &bits, &count, err));
    assert_int_equal(count, 0);
    table.rows[3].values[PRICE].number = 7;
    table.only = only;
    assert_ok(im_columns_patch(columns, 2, table_source, &table, err));
    assert_ok(im_columns_filter(columns, &condition, NULL, &bits, &count, err));
    assert_int_equal(bits, 8);
    im_columns_close(columns);
    /* a built-in column must be there, and a column of the same kind */
    specs[PRICE].name = "height";
    assert_refused(im_columns_open(table.folder, &table.state, 2, specs, N_COLUMNS, &columns, err),
                   "index_damaged");
    specs[PRICE] = (im_column_spec){"field.price", IM_COLUMN_TEXT};
    assert_refused(im_columns_open(table.folder, &table.state, 2, specs, N_COLUMNS, &columns, err),
                   "index_damaged");
    table_free(&table);
}

/* ---- order ---- */

static const test_table *sorted_table;
static size_t sorted_column;
static bool sorted_descending;

static int by_slow_order(const void *a, const void *b)
{
    return slow_order(sorted_table, sorted_column, sorted_descending, *(const size_t *)a,
                      *(const size_t *)b);
}

static size_t sort_slowly(const test_table *table, size_t column, bool descending,
                          const uint64_t *bits, size_t *out)
{
    size_t n = 0;
    for (size_t i = 0; i < table->n; i++) {
        if (bits == NULL || bit_of(bits, i)) {
            out[n++] = i;
        }
    }
    sorted_table = table;
    sorted_column = column;
    sorted_descending = descending;
    qsort(out, n, sizeof(*out), by_slow_order);
    return n;
}

/* Pages of k rows, each behind the last of the one before, make the whole order. */
static void assert_pages(im_columns *columns, const test_table *table, size_t column,
                         bool descending, const uint64_t *bits, size_t k)
{
    size_t *expected = malloc((table->n + 1) * sizeof(*expected));
    im_columns_hit *hits = malloc((k + 1) * sizeof(*hits));
    size_t n = sort_slowly(table, column, descending, bits, expected);
    im_columns_after after = {0};
    size_t done = 0;
    for (size_t got = k; got == k; done += got) {
        uint64_t total = 99;
        assert_ok(im_columns_sort(columns, table_specs[column].name, descending, bits,
                                  done > 0 ? &after : NULL, k, hits, &got, &total, err));
        assert_int_equal(total, n);
        assert_int_equal(got, n - done < k ? n - done : k);
        for (size_t i = 0; i < got; i++) {
            assert_int_equal(hits[i].slot, expected[done + i]);
            assert_int_equal(hits[i].item, table->rows[hits[i].slot].item);
        }
        if (got > 0) {
            after.has_value = has_value(table, column, (size_t)hits[got - 1].slot);
            after.value = table->rows[hits[got - 1].slot].values[column];
            after.item = hits[got - 1].item;
        }
    }
    assert_int_equal(done, n);
    free(expected);
    free(hits);
}

static void pages_of_every_column_make_the_whole_order(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 4; round++) {
        test_table table;
        size_t n = 600;
        bool *changed = calloc(n, 1);
        table_make(&table, 400 + round, n);
        for (size_t i = 0; i < n; i++) {
            table.rows[i].item = (i * 7919 % 997) + 1; /* each its own: a cursor names an item */
        }
        table_build(&table, 1);
        im_columns *columns = table_open(&table, 2);
        if (round % 2 != 0) {
            changed_slots(&table, changed, 30);
            table.only = changed;
            assert_ok(im_columns_patch(columns, 2, table_source, &table, err));
        }
        uint64_t *bits = random_bits(&table.random, n, 600);
        for (size_t column = 0; column < N_COLUMNS; column++) {
            static const size_t ks[] = {1, 7, 250, 1000};
            for (size_t i = 0; i < 4; i++) {
                assert_pages(columns, &table, column, i % 2 != 0, i < 2 ? bits : NULL, ks[i]);
                assert_pages(columns, &table, column, i % 2 == 0, i < 2 ? bits : NULL, ks[i]);
            }
        }
        free(bits);
        free(changed);
        im_columns_close(columns);
        table_free(&table);
    }
}

/* A cursor whose text no row has any more stands where it would. */
static void a_cursor_needs_no_row(void **state)
{
    (void)state;
    static const char *const cursors[] = {
        "",           "A",       "aa",  "Canon",        "canon eos r5",
        "Word4",      "word450", "zzz", "\xe6\x97\xa5", "\xf0\x9f\x98\x80",
        "caf\xc3\xa9"};
    test_table table;
    bool changed[400] = {false};
    table_make(&table, 41, 400);
    table_build(&table, 1);
    im_columns *columns = table_open(&table, 2);
    changed_slots(&table, changed, 30);
    table.only = changed;
    assert_ok(im_columns_patch(columns, 2, table_source, &table, err));
    for (size_t i = 0; i < 22; i++) {
        bool descending = i % 2 != 0;
        table_row fake = {.item = 200};
        fake.values[CAMERA].text = im_view_from(cursors[i / 2]);
        table.rows[400] = fake;
        im_columns_after after = {fake.values[CAMERA].text.size > 0, fake.values[CAMERA], 200};
        im_columns_hit hits[400];
        size_t got = 0, expected[400], n = 0;
        assert_ok(im_columns_sort(columns, "camera", descending, NULL, &after, 400, hits, &got,
                                  NULL, err));
        size_t all = sort_slowly(&table, CAMERA, descending, NULL, expected);
        for (size_t j = 0; j < all; j++) {
            bool same = table.rows[expected[j]].item == 200 &&
                        im_view_equal(table.rows[expected[j]].values[CAMERA].text,
                                      fake.values[CAMERA].text);
            if (!same && slow_order(&table, CAMERA, descending, 400, expected[j]) < 0) {
                assert_int_equal(hits[n++].slot, expected[j]);
            }
        }
        assert_int_equal(got, n);
    }
    im_columns_close(columns);
    table_free(&table);
}

/* ---- groups ---- */

static bool same_group(const test_table *table, size_t column, size_t a, size_t b)
{
    const im_column_value *x = &table->rows[a].values[column];
    const im_column_value *y = &table->rows[b].values[column];
    if (!has_value(table, column, a) || !has_value(table, column, b)) {
        return has_value(table, column, a) == has_value(table, column, b);
    }
    if (table_specs[column].kind != IM_COLUMN_TEXT) {
        return table_specs[column].kind == IM_COLUMN_INTEGER ? x->integer == y->integer
                                                             : x->number == y->number;
    }
    im_condition equal = {.kind = IM_CONDITION_TEXT_EQUAL};
    char name[40], text[60];
    snprintf(name, sizeof(name), "%s", table_specs[column].name);
    snprintf(text, sizeof(text), "%.*s", (int)x->text.size, x->text.data);
    equal.column = name;
    equal.text = text;
    return slow_passes(table, &equal, b);
}

static void groups_keep_the_first_of_each_value(void **state)
{
    (void)state;
    test_table table;
    bool changed[500] = {false};
    im_hit hits[500];
    table_make(&table, 51, 500);
    table_build(&table, 1);
    im_columns *columns = table_open(&table, 2);
    changed_slots(&table, changed, 20);
    table.only = changed;
    assert_ok(im_columns_patch(columns, 2, table_source, &table, err));
    for (size_t column = 0; column < N_COLUMNS; column++) {
        for (size_t n_per = 1; n_per < 4; n_per++) {
            size_t n = 500, at = 0;
            for (size_t i = 0; i < n; i++) {
                hits[i] = (im_hit){i, (i * 77) % 500, 0};
            }
            assert_ok(im_columns_group(columns, table_specs[column].name, n_per, hits, &n, err));
            for (size_t i = 0; i < 500; i++) {
                size_t before = 0;
                for (size_t j = 0; j < i; j++) {
                    before += same_group(&table, column, j * 77 % 500, i * 77 % 500);
                }
                if (before < n_per) {
                    assert_true(at < n);
                    assert_int_equal(hits[at++].item, i);
                }
            }
            assert_int_equal(at, n);
        }
    }
    size_t none = 0;
    assert_ok(im_columns_group(columns, "camera", 1, hits, &none, err));
    assert_int_equal(none, 0);
    im_columns_close(columns);
    table_free(&table);
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
        cmocka_unit_test(values_come_back_as_they_were),
        cmocka_unit_test(a_source_that_fails_or_errs_leaves_no_file),
        cmocka_unit_test(a_patched_file_equals_a_rebuilt_one),
        cmocka_unit_test(a_patch_that_fails_changes_nothing),
        cmocka_unit_test(a_new_own_field_is_empty_until_patched),
        cmocka_unit_test(pages_of_every_column_make_the_whole_order),
        cmocka_unit_test(a_cursor_needs_no_row),
        cmocka_unit_test(groups_keep_the_first_of_each_value),
        cmocka_unit_test(many_threads_touch_one_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
