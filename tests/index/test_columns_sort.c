/* tests/index/test_columns_sort.c — covers index/columns_sort.c and columns_group.c: orders, pages
 * and groups of random tables against plain ones. */
#include "help_columns.h"

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
            table_change_some(&table, changed, 30);
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
    table_change_some(&table, changed, 30);
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
    table_change_some(&table, changed, 20);
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

/* Rows that stay when the first n_per of each value do, row by row. */
static uint64_t slow_count(const test_table *table, size_t column, size_t n_per,
                           const uint64_t *bitmap)
{
    uint64_t kept = 0;
    for (size_t i = 0; i < table->n; i++) {
        size_t before = 0;
        for (size_t j = 0; bit_of(bitmap, i) && j < i; j++) {
            before += bit_of(bitmap, j) && same_group(table, column, j, i);
        }
        kept += bit_of(bitmap, i) && before < n_per;
    }
    return kept;
}

/* Of a file alone and with a patch, some or all rows, numbers of rows around a word's end. */
static void groups_are_counted_as_row_by_row(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 64, 65, 450};
    random_state random = {57};
    for (size_t s = 0; s < 8; s++) {
        test_table table;
        bool changed[450] = {false};
        size_t n = sizes[s / 2];
        table_make(&table, 61 + s, n);
        table_build(&table, 1);
        im_columns *columns = table_open(&table, s % 2 == 0 ? 1 : 2);
        if (s % 2 == 1) {
            table_change_some(&table, changed, 30);
            table.only = changed;
            assert_ok(im_columns_patch(columns, 2, table_source, &table, err));
        }
        uint64_t *some = random_bits(&random, n, 600);
        some[(n - 1) / 64] |= ~(UINT64_MAX >> (63 - (n - 1) % 64)); /* bits of no row */
        for (size_t column = 0; column < N_COLUMNS; column++) {
            for (size_t n_per = 0; n_per < 4; n_per++) {
                const uint64_t *bitmap = n_per % 2 == 0 ? some : NULL;
                size_t per = n_per == 3 ? SIZE_MAX : n_per;
                uint64_t kept = UINT64_MAX;
                assert_ok(im_columns_count_groups(columns, table_specs[column].name, per, bitmap,
                                                  &kept, err));
                assert_int_equal(kept, slow_count(&table, column, per, bitmap));
                assert_ok(im_columns_count_groups(columns, table_specs[column].name, 1, NULL, &kept,
                                                  err));
                assert_int_equal(kept, slow_count(&table, column, 1, NULL));
            }
        }
        uint64_t kept = 7;
        assert_refused(im_columns_count_groups(columns, "no such", 1, NULL, &kept, err), "invalid");
        assert_int_equal(kept, 7);
        free(some);
        im_columns_close(columns);
        table_free(&table);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_of_every_column_make_the_whole_order),
        cmocka_unit_test(a_cursor_needs_no_row),
        cmocka_unit_test(groups_keep_the_first_of_each_value),
        cmocka_unit_test(groups_are_counted_as_row_by_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
