/* tests/query/test_filter_columns.c — filters from their text values to rows: compiled by
 * query/filter.c, evaluated by index/, over a library small enough to see what must come. */
#include "help_filter.h"
#include "tests/help_folder.h"
#include <math.h>
#include <stdint.h>
#include <stdio.h>

enum { N = 6 };

static const im_column_spec specs[] = {
#define X(name, kind) {name, kind},
    IM_COLUMNS_BUILT_IN(X)
#undef X
        {"field.Category", IM_COLUMN_TEXT},
    {"field.price", IM_COLUMN_NUMBER},
    {"field.sold", IM_COLUMN_INTEGER},
    {"field.stock", IM_COLUMN_INTEGER},
};
enum { N_SPECS = sizeof(specs) / sizeof(*specs) };

static void set(im_column_value *values, const char *name, im_column_value value)
{
    size_t i = 0;
    while (strcmp(specs[i].name, name) != 0) {
        i++;
    }
    values[i] = value;
}

static im_column_value text(const char *value)
{
    return (im_column_value){.text = {value, strlen(value)}};
}

/* Row 5 has nothing but a file that is missing. */
static im_code rows(void *context, im_columns_sink take, void *sink, im_error *err)
{
    static const char *const cameras[N] = {"Canon EOS R5", "NIKON Z6", "canon", "", "Pixel 7", ""};
    static const char *const categories[N] = {"Shoes", "shirts", "", "shoes", "hats", ""};
    static const int64_t taken[N] = {1546300800 /* 2019-01-01 */,
                                     1577836799 /* 2019-12-31 */,
                                     1577836800 /* 2020-01-01 */,
                                     INT64_MIN,
                                     0,
                                     INT64_MIN};
    im_code rc = IM_OK;
    (void)context;
    for (uint64_t slot = 0; rc == IM_OK && slot < N; slot++) {
        im_column_value values[N_SPECS];
        for (size_t i = 0; i < N_SPECS; i++) {
            values[i] = text("");
            if (specs[i].kind != IM_COLUMN_TEXT) {
                values[i].integer = 0;
            }
        }
        set(values, "taken", (im_column_value){.integer = taken[slot]});
        set(values, "camera", text(cameras[slot]));
        set(values, "field.Category", text(categories[slot]));
        set(values, "type", text(slot % 2 == 0 ? "jpeg" : "png"));
        set(values, "width", (im_column_value){.integer = 1000 * (int64_t)slot});
        set(values, "bytes", (im_column_value){.integer = 1000000 * (int64_t)slot});
        set(values, "lat", (im_column_value){.number = slot == 0 ? 48.8566 : (double)NAN});
        set(values, "lon", (im_column_value){.number = slot == 0 ? 2.3522 : (double)NAN});
        set(values, "field.price",
            (im_column_value){.number = slot < 3 ? 10.0 * (double)slot : (double)NAN});
        set(values, "field.sold", (im_column_value){.integer = slot == 4 ? 1577836800 : INT64_MIN});
        set(values, "field.stock", (im_column_value){.integer = slot == 5 ? INT64_MIN : slot == 1});
        set(values, "missing", (im_column_value){.integer = slot == 5});
        set(values, "tagged", (im_column_value){.integer = slot == 2});
        im_columns_row row = {slot, slot + 1, values};
        rc = take(sink, &row, err);
    }
    return rc;
}

static uint64_t answer(im_columns *columns, im_filter *filter)
{
    im_filter_options options = {.fields = own_fields, .n_fields = 4, .n_slots = N};
    im_condition *condition = NULL;
    im_error err = IM_ERROR_INIT;
    uint64_t bits = 0, count = 0;
    if (im_filter_compile(filter, &options, &condition, &err) != IM_OK ||
        im_columns_filter(columns, condition, NULL, &bits, &count, &err) != IM_OK) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(count, __builtin_popcountll(bits));
    im_condition_free(condition);
    drop(filter);
    return bits;
}

static void filters_find_the_rows_that_they_name(void **state)
{
    static const struct {
        const char *filter;
        uint64_t bits;
    } cases[] = {
        {"taken:2019", 3},
        {"taken:2019-12-31", 2},
        {"taken:..2019", 0x13},
        {"taken>2019", 4},
        {"taken:1970-01-01", 0x10},
        {"camera:CANON", 5},
        {"camera=canon", 4},
        {"camera:z6", 2},
        {"type:jpg", 0x15},
        {"Category:SHOES", 9},
        {"Category:sh*", 11},
        {"Category=sh*", 0},
        {"width:2k..3000", 12},
        {"bytes:..2M", 7},
        {"bytes>2MB", 0x18},
        {"near:48.86,2.35,1km", 1},
        {"near:48.86,2.35,100m", 0},
        {"box:48,2,49,3", 1},
        {"box:48,3,49,2", 0},
        {"has:gps", 1},
        {"has:taken", 0x17},
        {"has:tag", 4},
        {"has:price", 7},
        {"price<10", 1},
        {"price<=10", 3},
        {"price>0", 6},
        {"sold:2020", 0x10},
        {"stock:yes", 2},
        {"stock:no", 0x1d},
        {"is:missing", 0x20},
        {"is:partial", 0},
    };
    im_columns *columns = *state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        uint64_t bits = answer(columns, test_of(cases[i].filter));
        if (bits != cases[i].bits) {
            fail_msg("%s: %llx", cases[i].filter, (unsigned long long)bits);
        }
        /* the not of it is all the rest, rows without the value among them */
        bool missing = strcmp(cases[i].filter, "is:missing") == 0;
        bits = answer(columns, node_of(IM_FILTER_NOT, test_of(cases[i].filter), NULL));
        assert_int_equal(bits, ~cases[i].bits & (missing ? 0x3f : 0x1f));
    }
    assert_int_equal(answer(columns, NULL), 0x1f);
    assert_int_equal(
        answer(columns, node_of(IM_FILTER_OR, test_of("is:missing"), test_of("has:gps"))), 0x21);
    assert_int_equal(
        answer(columns, node_of(IM_FILTER_AND, test_of("taken:2019"), test_of("camera:canon"))), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(filters_find_the_rows_that_they_name, NULL),
    };
    char folder[HELP_FOLDER_BYTES];
    im_index_state index_state = {.dim = 1, .generation = 1, .n_rows = N, .model_digest = "m"};
    im_columns *columns = NULL;
    im_error err = IM_ERROR_INIT;
    if (help_temporary(folder) == NULL ||
        im_columns_build(folder, &index_state, specs, N_SPECS, 1, rows, NULL, &err) != IM_OK ||
        im_columns_open(folder, &index_state, 1, specs, N_SPECS, &columns, &err) != IM_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    struct CMUnitTest with_state[1] = {tests[0]};
    with_state[0].initial_state = columns;
    int failed = cmocka_run_group_tests(with_state, NULL, NULL);
    im_columns_close(columns);
    return help_remove_folder(folder) == 0 ? failed : 1;
}
