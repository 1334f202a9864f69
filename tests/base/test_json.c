/* tests/base/test_json.c — base/json.c */
#include "base/json.h"
#include "support.h"

static im_code parse(const char *text, size_t size, json_t **out, im_error *err)
{
    return im_json_parse(text, size, "request body", out, err);
}

static void refuse(const char *text, size_t size, const char *place)
{
    json_t *value = NULL;
    im_error err = IM_ERROR_INIT;
    assert_int_equal(parse(text, size, &value, &err), IM_ERR_FORMAT);
    assert_null(value);
    char start[80];
    (void)snprintf(start, sizeof start, "request body: line %s: ", place);
    assert_memory_equal(err.message, start, strlen(start));
    assert_true(strlen(err.message) > strlen(start));
}

static void refuse_c(const char *text, const char *place)
{
    refuse(text, strlen(text), place);
}

static void values_of_every_kind_are_read(void **state)
{
    (void)state;
    static const char text[] = " {\"a\": [1, -2.5, true, false, null, \"caf\xc3\xa9\\u00e9\\n\"],"
                               "\"b\": {}}\n";
    json_t *value = NULL;
    assert_int_equal(parse(text, strlen(text), &value, NULL), IM_OK);
    json_t *a = json_object_get(value, "a");
    assert_int_equal(json_array_size(a), 6);
    assert_int_equal(json_integer_value(json_array_get(a, 0)), 1);
    assert_true(json_real_value(json_array_get(a, 1)) == -2.5);
    assert_true(json_is_null(json_array_get(a, 4)));
    assert_string_equal(json_string_value(json_array_get(a, 5)), "caf\xc3\xa9\xc3\xa9\n");
    json_decref(value);
    static const char *const singles[] = {"1",  "\"x\"", "null", "[]",
                                          "{}", "-0",    "1e5",  "9223372036854775807"};
    for (size_t i = 0; i < IM_COUNT(singles); i++) {
        assert_int_equal(parse(singles[i], strlen(singles[i]), &value, NULL), IM_OK);
        json_decref(value);
    }
    assert_int_equal(im_live_allocations(), 0);
}

static void broken_text_is_refused_with_its_place(void **state)
{
    (void)state;
    refuse_c("", "1 column 1");
    refuse_c("{\"a\": 1,\n \"b\": }", "2 column 7");
    refuse_c("{} x", "1 column 4");
    refuse_c("[1] [2]", "1 column 5");
    refuse_c("[1,]", "1 column 4");
    refuse("\"a\0b\"", 5, "1 column 2"); /* behind the last good character */
    refuse("[1]\0", 4, "1 column 4");
    static const char *const bad[] = {"{",
                                      "[",
                                      "}",
                                      "\"",
                                      "nul",
                                      "NaN",
                                      "Infinity",
                                      "01",
                                      "+1",
                                      ".5",
                                      "1.",
                                      "'a'",
                                      "{a:1}",
                                      "[1 2]",
                                      "// x",
                                      "{\"a\"}",
                                      "\"\\x\"",
                                      "\"\n\"",
                                      "1e999",
                                      "\"\\ud800\"",
                                      "\"\\u0000\"",
                                      "{\"a\":1,}",
                                      "99999999999999999999",
                                      "\xef\xbb\xbf{}"};
    for (size_t i = 0; i < IM_COUNT(bad); i++) {
        json_t *value = NULL;
        im_error err = IM_ERROR_INIT;
        assert_int_equal(parse(bad[i], strlen(bad[i]), &value, &err), IM_ERR_FORMAT);
        assert_null(value);
    }
    assert_int_equal(im_live_allocations(), 0);
}

static void a_nul_is_refused_in_words_of_ours(void **state)
{
    static const char text[] = "{\"a\": \"b\\u0000c\"}";
    json_t *value = NULL;
    im_error err = IM_ERROR_INIT;
    (void)state;
    assert_int_equal(parse(text, strlen(text), &value, &err), IM_ERR_FORMAT);
    assert_non_null(strstr(err.message, ": line 1 column "));
    assert_non_null(strstr(err.message, ": \\u0000 is not allowed"));
    assert_null(strstr(err.message, "JSON_ALLOW_NUL"));
    assert_null(value);
}

static void a_key_may_not_come_twice(void **state)
{
    (void)state;
    refuse_c("{\"a\": 1, \"b\": 2, \"a\": 3}", "1 column 20");
    refuse_c("[{\"x\": {\"k\": 1, \"\\u006b\": 2}}]", "1 column 24");
}

static void text_must_be_utf8(void **state)
{
    (void)state;
    refuse_c("[\n\"caf\xe9\"]", "2 column 5");
    refuse_c("\"\xed\xa0\x80\"", "1 column 2");
}

static void fill_nested(char *text, char open, size_t depth)
{
    memset(text, open, depth);
    memset(text + depth, open == '[' ? ']' : '}', depth);
    text[2 * depth] = '\0';
}

static void depth_is_limited_before_the_parser_runs(void **state)
{
    (void)state;
    char text[4 * IM_LIMIT_JSON_DEPTH];
    json_t *value = NULL;
    fill_nested(text, '[', IM_LIMIT_JSON_DEPTH);
    assert_int_equal(parse(text, strlen(text), &value, NULL), IM_OK);
    json_decref(value);
    fill_nested(text, '[', IM_LIMIT_JSON_DEPTH + 1);
    refuse_c(text, "1 column 65");

    size_t size = 20u << 20; /* a bomb: refused at once, without memory */
    char *bomb = malloc(size);
    assert_non_null(bomb);
    memset(bomb, '[', size);
    refuse(bomb, size, "1 column 65");
    for (size_t i = 0; i + 5 <= size; i += 5) {
        memcpy(bomb + i, "{\"a\":", 5);
    }
    refuse(bomb, size - size % 5, "1 column 321");
    free(bomb);
}

static void brackets_in_strings_are_not_depth(void **state)
{
    (void)state;
    char text[400] = "[\"";
    memset(text + 2, '[', 200);
    memcpy(text + 202, "\\\"{{{{\\\\\"]", 11);
    json_t *value = NULL;
    im_error err = IM_ERROR_INIT;
    assert_int_equal(parse(text, strlen(text), &value, &err), IM_OK);
    json_decref(value);
    /* wide is not deep */
    char wide[2 * 300 + 2];
    size_t used = 0;
    wide[used++] = '[';
    for (size_t i = 0; i < 200; i++) {
        memcpy(wide + used, i > 0 ? ",[]" : "[]", i > 0 ? 3 : 2);
        used += i > 0 ? 3 : 2;
    }
    wide[used++] = ']';
    assert_int_equal(parse(wide, used, &value, &err), IM_OK);
    assert_int_equal(json_array_size(value), 200);
    json_decref(value);
}

/* jansson takes its memory from us; where it reports a failed allocation as a syntax error the
 * cause must come out all the same. */
static void each_failed_allocation_is_reported_as_such(void **state)
{
    (void)state;
    static const char text[] =
        "{\"a\": [1, 2.5, \"some longer string that needs room\", {\"b\": null}], \"c\": \"\\u00e9"
        "\", \"d\": [[], [1,2,3,4,5,6,7,8,9,10]], \"e\":1,\"f\":2,\"g\":3,\"h\":4,\"i\":5,\"j\":6}";
    im_code rc = IM_ERR_NOMEM;
    size_t nth = 0;
    for (; rc != IM_OK; nth++) {
        json_t *value = NULL;
        im_error err = IM_ERROR_INIT;
        im_fault_set(IM_FAULT_ALLOC, nth, 0);
        rc = parse(text, strlen(text), &value, &err);
        bool fired = im_fault_fired(IM_FAULT_ALLOC);
        im_fault_clear();
        assert_int_equal(rc, fired ? IM_ERR_NOMEM : IM_OK);
        json_decref(value);
        assert_int_equal(im_live_allocations(), 0);
    }
    assert_true(nth > 20);
}

/* jansson does not look whether the buffer of a string could grow: where it grows, half an escape
 * was lost (an assertion then ends the process), or the closing quote. */
static void a_string_may_end_anywhere_when_memory_runs_out(void **state)
{
    (void)state;
    for (int n = 0; n < 40; n++) {
        char text[64];
        int size = snprintf(text, sizeof(text), "[\"%.*s\\nz\"]", n,
                            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
        im_code rc = IM_ERR_NOMEM;
        for (size_t nth = 0; rc != IM_OK; nth++) {
            json_t *value = NULL;
            im_error err = IM_ERROR_INIT;
            im_fault_set(IM_FAULT_ALLOC, nth, 0);
            rc = parse(text, (size_t)size, &value, &err);
            assert_int_equal(rc, im_fault_fired(IM_FAULT_ALLOC) ? IM_ERR_NOMEM : IM_OK);
            im_fault_clear();
            json_decref(value);
            assert_int_equal(im_live_allocations(), 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_every_kind_are_read),
        cmocka_unit_test(broken_text_is_refused_with_its_place),
        cmocka_unit_test(a_nul_is_refused_in_words_of_ours),
        cmocka_unit_test(a_key_may_not_come_twice),
        cmocka_unit_test(text_must_be_utf8),
        cmocka_unit_test(depth_is_limited_before_the_parser_runs),
        cmocka_unit_test(brackets_in_strings_are_not_depth),
        cmocka_unit_test(each_failed_allocation_is_reported_as_such),
        cmocka_unit_test(a_string_may_end_anywhere_when_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
