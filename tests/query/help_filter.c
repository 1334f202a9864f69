/* tests/query/help_filter.c — see help_filter.h. */
#include "help_filter.h"
#include "base/clock.h"
#include <stdio.h>

const im_own_field own_fields[4] = {{"Category", IM_FIELD_TEXT},
                                    {"price", IM_FIELD_NUMBER},
                                    {"sold", IM_FIELD_DATE},
                                    {"stock", IM_FIELD_BOOL}};

im_filter *test_of(const char *text)
{
    static const struct {
        const char *sign;
        im_filter_op op;
    } ops[] = {{"<=", IM_FILTER_AT_MOST}, {">=", IM_FILTER_AT_LEAST}, {"<", IM_FILTER_LESS},
               {">", IM_FILTER_MORE},     {"=", IM_FILTER_EQUAL},     {":", IM_FILTER_IS}};
    im_filter *filter = calloc(1, sizeof(*filter));
    size_t length = strcspn(text, ":<>=");
    filter->field = strndup(text, length);
    filter->column = 5;
    for (size_t i = 0; i < 6; i++) {
        if (strncmp(text + length, ops[i].sign, strlen(ops[i].sign)) == 0) {
            filter->op = ops[i].op;
            filter->value = strdup(text + length + strlen(ops[i].sign));
            return filter;
        }
    }
    fail_msg("no operator in '%s'", text);
    return filter;
}

im_filter *node_of(im_filter_kind kind, im_filter *a, im_filter *b)
{
    im_filter *filter = calloc(1, sizeof(*filter));
    filter->kind = kind;
    filter->children = calloc(2, sizeof(*filter->children));
    filter->children[0] = a;
    filter->children[1] = b;
    filter->n_children = b != NULL ? 2 : 1;
    return filter;
}

void drop(im_filter *filter)
{
    if (filter != NULL) {
        for (size_t i = 0; i < filter->n_children; i++) {
            drop(filter->children[i]);
        }
        free(filter->children);
        free(filter->field);
        free(filter->value);
        free(filter);
    }
}

static im_code answer(void *context, const char *field, im_filter_op op, const char *value,
                      uint64_t *out_bits, im_error *err)
{
    asked *seen = context;
    snprintf(seen->field, sizeof(seen->field), "%s", field);
    snprintf(seen->value, sizeof(seen->value), "%s", value);
    seen->op = op;
    assert_int_equal(out_bits[0], 0);
    assert_int_equal(out_bits[1], 0);
    out_bits[0] = 5;
    return seen->fail ? im_fail(err, IM_ERR_DAMAGED, "the store says no") : IM_OK;
}

asked last_asked;

im_filter_options options_of(bool keep_missing)
{
    im_filter_options options = {.fields = own_fields,
                                 .n_fields = 4,
                                 .n_slots = 100,
                                 .resolve = {&last_asked, answer},
                                 .keep_missing = keep_missing};
    return options;
}

im_condition *compiled(const char *text)
{
    im_filter_options options = options_of(true);
    im_condition *condition = NULL;
    im_error err = IM_ERROR_INIT;
    im_filter *filter = test_of(text);
    if (im_filter_compile(filter, &options, &condition, &err) != IM_OK) {
        fail_msg("%s: %s", text, err.message);
    }
    drop(filter);
    assert_non_null(condition);
    return condition;
}

void assert_integers(const char *text, const char *column, int64_t min, int64_t max)
{
    im_condition *condition = compiled(text);
    assert_int_equal(condition->kind, IM_CONDITION_INTEGERS);
    assert_string_equal(condition->column, column);
    if (condition->min_i != min || condition->max_i != max) {
        fail_msg("%s: %lld to %lld, expected %lld to %lld", text, (long long)condition->min_i,
                 (long long)condition->max_i, (long long)min, (long long)max);
    }
    im_condition_free(condition);
}

void assert_wrong(const char *text, const char *reason, const char *part, const char *hint)
{
    im_filter_options options = options_of(true);
    im_condition *condition = NULL;
    im_error err = IM_ERROR_INIT;
    im_filter *filter = test_of(text);
    uint64_t start = im_clock_ns();
    im_code rc = im_filter_compile(filter, &options, &condition, &err);
    assert_true(im_clock_ms_since(start) < 100); /* T39: 10 ms, on a machine with nothing else */
    drop(filter);
    assert_null(condition);
    assert_int_equal(rc, IM_ERR_INVALID);
    assert_string_equal(err.reason, reason);
    if (strstr(err.message, part) == NULL || strstr(err.message, "column 5") == NULL ||
        (hint != NULL && strstr(err.hint, hint) == NULL)) {
        fail_msg("%s: '%s' hint '%s'", text, err.message, err.hint);
    }
}

void assert_all_wrong(const wrong_case *cases, size_t n, const char *reason)
{
    for (size_t i = 0; i < n; i++) {
        assert_wrong(cases[i].text, reason, cases[i].part, cases[i].hint);
    }
}
