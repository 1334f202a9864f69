/* tests/base/test_json_writer.c — base/json_writer.c: exact text, and random trees that must read
 * back through base/json.c. */
#include "base/json.h"
#include "support.h"
#include <math.h>

static void objects_and_arrays_have_their_commas(void **state)
{
    (void)state;
    im_json_writer w;
    im_json_init(&w, 1000);
    im_json_begin_object(&w);
    im_json_put_string(&w, "s", "x");
    im_json_put_string(&w, "none", NULL);
    im_json_put_int(&w, "i", INT64_MIN);
    im_json_put_uint(&w, "u", UINT64_MAX);
    im_json_put_double(&w, "d", 0.1);
    im_json_put_float(&w, "f", 0.1f);
    im_json_put_bool(&w, "t", true);
    im_json_put_null(&w, "z");
    im_json_key(&w, "a");
    im_json_begin_array(&w);
    im_json_begin_array(&w);
    im_json_end_array(&w);
    im_json_begin_object(&w);
    im_json_end_object(&w);
    im_json_int(&w, 1);
    im_json_bool(&w, false);
    im_json_end_array(&w);
    im_json_put_int(&w, "last", 0);
    im_json_end_object(&w);
    assert_true(im_json_ok(&w));
    assert_string_equal(im_str_text(&w.out),
                        "{\"s\":\"x\",\"none\":null,\"i\":-9223372036854775808,"
                        "\"u\":18446744073709551615,\"d\":0.1,\"f\":0.1,\"t\":true,\"z\":null,"
                        "\"a\":[[],{},1,false],\"last\":0}");
    im_json_clear(&w);
    assert_int_equal(im_live_allocations(), 0);
}

static void expect_text(const char *data, size_t size, const char *expected)
{
    im_json_writer w;
    im_json_init(&w, 1000);
    im_json_string(&w, data, size);
    assert_string_equal(im_str_text(&w.out), expected);
    im_json_clear(&w);
}

static void strings_are_escaped(void **state)
{
    (void)state;
    expect_text("", 0, "\"\"");
    expect_text("a\"b\\c/d", 7, "\"a\\\"b\\\\c/d\"");
    expect_text("\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\"");
    expect_text("\x01\x1b\x7f\0", 4, "\"\\u0001\\u001b\\u007f\\u0000\"");
    expect_text("caf\xc3\xa9", 5, "\"caf\xc3\xa9\"");
    expect_text("\xe2\x80\xae\xe2\x80\xa8", 6, "\"\\u202e\\u2028\"");
    expect_text("a\xff\xc3(", 4, "\"a\xef\xbf\xbd\xef\xbf\xbd(\"");
}

static void numbers_that_json_lacks_become_null(void **state)
{
    (void)state;
    im_json_writer w;
    im_json_init(&w, 1000);
    im_json_begin_array(&w);
    im_json_float(&w, NAN);
    im_json_float(&w, -INFINITY);
    im_json_double(&w, (double)NAN);
    im_json_double(&w, (double)INFINITY);
    im_json_double(&w, -0.0);
    im_json_float(&w, 1e20f);
    im_json_end_array(&w);
    assert_string_equal(im_str_text(&w.out), "[null,null,null,null,-0,1e+20]");
    im_json_clear(&w);
}

static void values_at_the_top_stand_alone(void **state)
{
    (void)state;
    im_json_writer w;
    im_json_init(&w, 1000);
    for (int i = 0; i < 2; i++) { /* lines of JSON, as events are printed */
        im_json_begin_object(&w);
        im_json_put_int(&w, "n", i);
        im_json_end_object(&w);
        im_str_add_char(&w.out, '\n');
    }
    assert_string_equal(im_str_text(&w.out), "{\"n\":0}\n{\"n\":1}\n");
    im_json_clear(&w);
}

/* Writes a random value and builds the same one as a tree. */
static json_t *random_value(im_json_writer *w, uint64_t *seed, unsigned depth)
{
    uint64_t kind = test_random(seed) % (depth < 5 ? 9 : 7);
    char text[24];
    size_t size = 0;
    while (size < sizeof text - 4 && test_random(seed) % 8 != 0) {
        uint32_t code = (uint32_t)(test_random(seed) % (test_random(seed) % 2 == 0 ? 128 : 0xd000));
        size += im_utf8_encode(code > 0 ? code : 1, text + size);
    }
    text[size] = '\0';
    json_t *value = NULL;
    switch (kind) {
    case 0:
        im_json_null(w);
        return json_null();
    case 1:
        im_json_bool(w, true);
        return json_true();
    case 2: {
        int64_t number = (int64_t)test_random(seed);
        im_json_int(w, number);
        return json_integer(number);
    }
    case 3: {
        double number = (double)(int64_t)test_random(seed) / 3e15 + 0.1;
        im_json_double(w, number);
        return json_real(number);
    }
    case 4:
    case 5:
    case 6:
        im_json_string(w, text, size);
        return json_stringn(text, size);
    case 7:
        im_json_begin_array(w);
        value = json_array();
        for (uint64_t n = test_random(seed) % 5; n > 0; n--) {
            json_array_append_new(value, random_value(w, seed, depth + 1));
        }
        im_json_end_array(w);
        return value;
    default:
        im_json_begin_object(w);
        value = json_object();
        for (uint64_t n = test_random(seed) % 5; n > 0; n--) {
            char key[40];
            (void)snprintf(key, sizeof key, "%s%d", text, (int)n);
            im_json_key(w, key);
            json_object_set_new(value, key, random_value(w, seed, depth + 1));
        }
        im_json_end_object(w);
        return value;
    }
}

static void random_trees_read_back_equal(void **state)
{
    (void)state;
    json_t *first = NULL; /* so that jansson has its allocator before trees are built */
    assert_int_equal(im_json_parse("1", 1, "x", &first, NULL), IM_OK);
    json_decref(first);
    uint64_t seed = 7;
    for (int round = 0; round < 2000; round++) {
        im_json_writer w;
        im_json_init(&w, 1u << 20);
        json_t *expected = random_value(&w, &seed, 0);
        json_t *back = NULL;
        im_error err = IM_ERROR_INIT;
        assert_true(im_json_ok(&w));
        if (im_json_parse(im_str_text(&w.out), w.out.size, "text", &back, &err) != IM_OK) {
            fail_msg("round %d: %s: %s", round, err.message, im_str_text(&w.out));
        }
        assert_true(json_equal(expected, back));
        json_decref(back);
        json_decref(expected);
        im_json_clear(&w);
    }
    assert_int_equal(im_live_allocations(), 0);
}

static void text_above_the_maximum_is_not_ok(void **state)
{
    (void)state;
    for (size_t max = 0; max < 12; max++) {
        im_json_writer w;
        im_json_init(&w, max);
        im_json_begin_object(&w);
        im_json_put_string(&w, "ab", "cd");
        im_json_end_object(&w);
        assert_int_equal(im_json_ok(&w), max >= strlen("{\"ab\":\"cd\"}"));
        assert_true(w.out.size <= max);
        im_json_clear(&w);
    }
}

static void errors_have_the_form_of_the_design(void **state)
{
    (void)state;
    im_error err = IM_ERROR_INIT;
    im_json_writer w;
    im_json_init(&w, 1000);
    (void)!im_fail_as(&err, IM_REASON_PICTURE_TRUNCATED, "'%s' is short", "a.jpg");
    im_json_error(&w, &err, NULL);
    assert_string_equal(im_str_text(&w.out),
                        "{\"code\":\"picture_truncated\",\"class\":\"IM_ERR_FORMAT\","
                        "\"message\":\"'a.jpg' is short\"}");
    im_str_reset(&w.out);
    im_hint(&err, "copy it again");
    im_at_field(&err, "image");
    im_json_begin_object(&w);
    im_json_key(&w, "error");
    im_json_error(&w, &err, "a\xff.jpg");
    im_json_end_object(&w);
    assert_string_equal(
        im_str_text(&w.out),
        "{\"error\":{\"code\":\"picture_truncated\",\"class\":\"IM_ERR_FORMAT\","
        "\"message\":\"'a.jpg' is short\",\"field\":\"image\",\"file\":\"a\xef\xbf\xbd.jpg\","
        "\"hint\":\"copy it again\"}}");
    im_json_clear(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_and_arrays_have_their_commas),
        cmocka_unit_test(strings_are_escaped),
        cmocka_unit_test(numbers_that_json_lacks_become_null),
        cmocka_unit_test(values_at_the_top_stand_alone),
        cmocka_unit_test(random_trees_read_back_equal),
        cmocka_unit_test(text_above_the_maximum_is_not_ok),
        cmocka_unit_test(errors_have_the_form_of_the_design),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
