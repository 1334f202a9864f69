/* tests/query/test_examples.c — each row of query-examples.tsv: the parts and the filter that a
 * query means, compared as JSON, or what the sentence of its error says. */
#include "base/json.h"
#include "help_query.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka wants the above first */
#include <cmocka.h>

static json_t *box_json(const im_box *box)
{
    const double values[4] = {box->x, box->y, box->w, box->h};
    char text[200] = "[";
    for (size_t i = 0; i < 4; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof(text) - used, "%g%s%s", values[i], box->percent[i] ? "%" : "",
                 i < 3 ? "," : "]");
    }
    return json_string(text);
}

static json_t *part_json(const im_query_part *part)
{
    json_t *json = json_object();
    char id[24];
    snprintf(id, sizeof(id), "#%llu", (unsigned long long)part->item);
    if (part->kind == IM_PART_TEXT) {
        json_object_set_new(json, "type", json_string("text"));
        json_object_set_new(json, "text", json_stringn(part->text.data, part->text.size));
    } else {
        json_object_set_new(json, "type", json_string("picture"));
        json_object_set_new(json, "source",
                            json_string(part->standard_input ? "-"
                                        : part->item != 0    ? id
                                                             : part->path));
    }
    json_object_set_new(json, "weight", json_real(part->weight));
    if (part->has_box) {
        json_object_set_new(json, "box", box_json(&part->box));
    }
    if (part->must) {
        json_object_set_new(json, "must", json_true());
    }
    return json;
}

static json_t *filter_json(const im_filter *filter)
{
    static const char *const signs[] = {
        [IM_FILTER_IS] = ":",       [IM_FILTER_LESS] = "<",  [IM_FILTER_MORE] = ">",
        [IM_FILTER_AT_MOST] = "<=", [IM_FILTER_EQUAL] = "=", [IM_FILTER_AT_LEAST] = ">="};
    if (filter == NULL) {
        return json_null();
    }
    json_t *json = json_object();
    if (filter->kind == IM_FILTER_TEST) {
        json_object_set_new(json, "field", json_string(filter->field));
        json_object_set_new(json, "op", json_string(signs[filter->op]));
        json_object_set_new(json, "value", json_string(filter->value));
        return json;
    }
    if (filter->kind == IM_FILTER_NOT) {
        json_object_set_new(json, "not", filter_json(filter->children[0]));
        return json;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < filter->n_children; i++) {
        json_array_append_new(list, filter_json(filter->children[i]));
    }
    json_object_set_new(json, filter->kind == IM_FILTER_AND ? "and" : "or", list);
    return json;
}

static void assert_json(const char *text, json_t *found, const char *expected)
{
    json_error_t error;
    json_t *wanted = json_loads(expected, JSON_DECODE_ANY, &error);
    assert_non_null(wanted);
    if (!json_equal(found, wanted)) {
        char *shown = json_dumps(found, JSON_ENCODE_ANY);
        fail_msg("'%s': %s, expected %s", text, shown, expected);
    }
    json_decref(wanted);
    json_decref(found);
}

static void check_meaning(const char *text, const char *parts, const char *filter)
{
    im_query query = {0};
    im_error err = IM_ERROR_INIT;
    if (parse(text, &query, &err) != IM_OK) {
        fail_msg("'%s': %s", text, err.message);
    }
    json_t *list = json_array();
    for (size_t i = 0; i < query.n_parts; i++) {
        json_array_append_new(list, part_json(&query.parts[i]));
    }
    assert_json(text, list, parts);
    assert_json(text, filter_json(query.filter), filter);
    assert_null(broken_promise(im_view_from(text)));
    im_query_clear(&query);
}

static im_code no_slots(void *context, const char *field, im_filter_op op, const char *value,
                        uint64_t *out_bits, im_error *err)
{
    (void)context, (void)field, (void)op, (void)value, (void)out_bits, (void)err;
    return IM_OK;
}

/* Parsed and, when that passes, its filter compiled: as a search does. */
static im_code ask(const char *text, im_error *err)
{
    im_filter_options options = {
        .fields = language_fields, .n_fields = N_LANGUAGE_FIELDS, .resolve = {NULL, no_slots}};
    im_query query = {0};
    im_condition *condition = NULL;
    im_code rc = parse(text, &query, err);
    if (rc == IM_OK) {
        rc = im_filter_compile(query.filter, &options, &condition, err);
    }
    im_condition_free(condition);
    im_query_clear(&query);
    return rc;
}

/* The sentence begins with what the row says; what the row has in parentheses about the nearest
 * field is there in its own words. */
static void check_error(const char *text, const char *says)
{
    im_error err = IM_ERROR_INIT;
    const char *nearest = strstr(says, " (nearest");
    size_t size = nearest != NULL ? (size_t)(nearest - says) : strlen(says);
    assert_int_equal(ask(text, &err), IM_ERR_INVALID);
    char *start = strndup(says, size);
    if (strstr(err.message, start) == NULL) {
        fail_msg("'%s': '%s', expected '%s'", text, err.message, says);
    }
    free(start);
    if (nearest != NULL) {
        assert_non_null(strstr(err.message, ": the "));
        assert_non_null(strstr(err.hint, "quote it to search for the words"));
    }
}

static void every_example_means_what_its_row_says(void **state)
{
    (void)state;
    char line[4096];
    size_t n_rows = 0, n_errors = 0;
    FILE *file = fopen(IMAGO_SOURCE_DIR "/tests/query/query-examples.tsv", "r");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '#') {
            continue;
        }
        char *first = strchr(line, '\t');
        assert_non_null(first);
        *first++ = '\0';
        char *second = strchr(first, '\t');
        assert_non_null(second);
        *second++ = '\0';
        if (strcmp(first, "error") == 0) {
            check_error(line, second);
            n_errors++;
        } else {
            check_meaning(line, first, second);
        }
        n_rows++;
    }
    fclose(file);
    assert_true(n_rows == 46 && n_errors == 14);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_example_means_what_its_row_says)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
