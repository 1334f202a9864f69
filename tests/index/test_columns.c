/* tests/index/test_columns.c — covers index/columns.c, columns_build.c and columns_patch.c: values
 * come back as they were, patched files equal rebuilt ones. */
#include "help_columns.h"
#include <math.h>
#include <unistd.h>

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
    char path[160];
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
            table_change_some(&table, changed, round == 5 ? 100 : 4);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_back_as_they_were),
        cmocka_unit_test(a_source_that_fails_or_errs_leaves_no_file),
        cmocka_unit_test(a_patched_file_equals_a_rebuilt_one),
        cmocka_unit_test(a_patch_that_fails_changes_nothing),
        cmocka_unit_test(a_new_own_field_is_empty_until_patched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
