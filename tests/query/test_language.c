/* tests/query/test_language.c — covers query/language*.c beyond the examples: sentences, limits,
 * hostile texts (T37, T39 to T42), failing allocations. */
#include "base/clock.h"
#include "base/fault.h"
#include "help_query.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
/* cmocka wants the above first */
#include <cmocka.h>

static im_query parsed(const char *text)
{
    im_query query = {0};
    im_error err = IM_ERROR_INIT;
    if (parse(text, &query, &err) != IM_OK) {
        fail_msg("'%s': %s", text, err.message);
    }
    return query;
}

/* The one text part and nothing else. */
static void assert_text(const char *text, const char *expected, double weight)
{
    im_query query = parsed(text);
    assert_int_equal(query.n_parts, 1);
    assert_null(query.filter);
    assert_int_equal(query.parts[0].kind, IM_PART_TEXT);
    assert_string_equal(query.parts[0].text.data, expected);
    assert_true(query.parts[0].weight == weight);
    im_query_clear(&query);
}

/* The one picture, by its path (NULL: none). */
static im_query_part assert_picture(const char *text, const char *path, uint64_t item)
{
    im_query query = parsed(text);
    assert_int_equal(query.n_parts, 1);
    im_query_part part = query.parts[0];
    assert_int_equal(part.kind, IM_PART_PICTURE);
    assert_true(same_text(part.path, path));
    assert_int_equal(part.item, item);
    part.path = NULL;
    im_query_clear(&query);
    return part;
}

/* What the query is when it is written. */
static void assert_written(const char *text, const char *expected)
{
    im_query query = parsed(text);
    im_str out;
    im_str_init(&out, 1u << 20);
    im_query_write(&query, &out);
    assert_string_equal(im_str_text(&out), expected);
    im_str_clear(&out);
    im_query_clear(&query);
}

static void assert_refused(const char *text, im_code code, const char *reason, const char *says)
{
    im_query query = {0};
    im_error err = IM_ERROR_INIT;
    assert_int_equal(parse(text, &query, &err), code);
    if (strcmp(err.reason, reason) != 0 || strstr(err.message, says) == NULL) {
        fail_msg("'%.60s': %s '%s', expected %s '%s'", text, err.reason, err.message, reason, says);
    }
    assert_null(query.parts);
    assert_null(query.filter);
    assert_null(broken_promise(im_view_from(text)));
}

static void assert_wrong(const char *text, const char *says)
{
    assert_refused(text, IM_ERR_INVALID, "query_syntax", says);
}

static void signs_are_signs_only_before_what_they_can_belong_to(void **state)
{
    (void)state;
    assert_text("a -", "a -", 1);
    assert_text("--x", "--x", 1);
    assert_text("-.5", "-.5", 1);
    assert_text("+ a", "+ a", 1);
    assert_text("\\-a \\+b \\@c \\(d \\^2", "-a +b @c (d ^2", 1);
    assert_text("-12:30", "12:30", -0.5);
    assert_text("-\xc3\xa9t\xc3\xa9", "\xc3\xa9t\xc3\xa9", -0.5);
    assert_text("-night ^0.25", "night", -0.25);
    assert_text("-\"two words\"^3", "two words", -3);
    assert_wrong("+exit", "quoted text expected behind \"+\" at column 2");
    assert_wrong("a +@b.jpg", "column 4");
    assert_refused("a -^2", IM_ERR_INVALID, "query_weight", "a weight takes no sign (column 3)");
}

static void words_join_wherever_other_elements_stand(void **state)
{
    (void)state;
    im_query query = parsed("a @x.jpg b tag:t c \"p\" d -e f");
    assert_int_equal(query.n_parts, 4);
    assert_string_equal(query.parts[0].text.data, "a b c d f");
    assert_string_equal(query.parts[1].path, "x.jpg");
    assert_string_equal(query.parts[2].text.data, "p");
    assert_string_equal(query.parts[3].text.data, "e");
    im_query_clear(&query);
    assert_text("red\xe3\x80\x80\xc2\xa0\tcar\xef\xbb\xbf", "red car", 1);
    assert_text("a\\ b c\\\\", "a b c\\", 1);
    assert_text("tail\\", "tail\\", 1);
    assert_text(":) a) )", ":) a) )", 1);
    assert_text("5\" disk", "5\" disk", 1);
    assert_text("x=5 a<b e=mc2", "x=5 a<b e=mc2", 1);
    assert_text("tag: width> taken:", "tag: width> taken:", 1);
    assert_text("WARS:A foo_1:x foo1:x", "WARS:A foo_1:x foo1:x", 1);
    assert_text("\"c:\\dir\\\\x\"", "c:\\dir\\x", 1);
}

static void weights_belong_to_the_element_before(void **state)
{
    (void)state;
    im_query query = parsed("a -b c ^2 d \"e\" ^3 f ^0.5");
    assert_int_equal(query.n_parts, 4);
    assert_string_equal(query.parts[0].text.data, "a c");
    assert_true(query.parts[0].weight == 2 && query.parts[1].weight == -0.5);
    assert_string_equal(query.parts[2].text.data, "d f");
    assert_true(query.parts[2].weight == 0.5 && query.parts[3].weight == 3);
    im_query_clear(&query);
    assert_refused("a ^2 ^3", IM_ERR_INVALID, "query_weight", "a second weight at column 6");
    assert_refused("a tag:x ^2", IM_ERR_INVALID, "query_weight",
                   "weight without a part at column 9");
    static const char *const none[] = {"a ^nan", "a ^",   "a ^ 2", "a ^+1",
                                       "a ^0x1", "a ^1e", "a ^2x"};
    for (size_t i = 0; i < IM_COUNT(none); i++) {
        assert_refused(none[i], IM_ERR_INVALID, "query_weight", "number expected behind \"^\"");
    }
    static const char *const outside[] = {"a ^-1",  "a ^1e308",  "a ^1e999",
                                          "a ^0.0", "a ^1e-400", "a ^100.1"};
    for (size_t i = 0; i < IM_COUNT(outside); i++) {
        assert_refused(outside[i], IM_ERR_INVALID, "query_weight", "<= 100 (column 3)");
    }
}

static void sources_and_boxes_of_pictures(void **state)
{
    (void)state;
    im_query_part part = assert_picture("@a[1][2,3,40%,5.5]", "a[1]", 0);
    assert_true(part.has_box && part.box.x == 2 && part.box.w == 40 && part.box.percent[2]);
    assert_false(assert_picture("@a[1,2,3]", "a[1,2,3]", 0).has_box);
    assert_false(assert_picture("@a[1,2,3,4].jpg", "a[1,2,3,4].jpg", 0).has_box);
    assert_false(assert_picture("@a[1,2,3,x]", "a[1,2,3,x]", 0).has_box);
    assert_false(assert_picture("@a[1,2,3,4]b[c]", "a[1,2,3,4]b[c]", 0).has_box);
    assert_picture("@a^2", "a^2", 0);
    assert_picture("@-x", "-x", 0);
    assert_picture("@\"-\"", "-", 0);
    assert_picture("@\"#17\"", "#17", 0);
    assert_true(assert_picture("@-[1,2,3,4]^2", NULL, 0).standard_input);
    part = assert_picture("@#17[1,2,3,4]^2", NULL, 17);
    assert_true(part.has_box && part.weight == 2);
    assert_true(assert_picture("@#17 ^2", NULL, 17).weight == 2);
    static const char *const ids[] = {"@#-1",
                                      "@#",
                                      "@#0",
                                      "@#x",
                                      "@#17^2",
                                      "@#9223372036854775808",
                                      "@#99999999999999999999999999999"};
    for (size_t i = 0; i < IM_COUNT(ids); i++) {
        assert_wrong(ids[i], "number of an item expected at column 3");
    }
    assert_wrong("@", "picture expected behind \"@\" at column 2");
    assert_wrong("@[1,2,3,4]", "picture expected");
    assert_wrong("@\"\"", "path expected between the quotes at column 2");
    assert_wrong("@a\"b\"", "blank expected at column 3");
    assert_wrong("a @HTTPS://x/y.jpg", "URLs are not fetched (column 4)");
    assert_wrong("@\"http://x\"", "URLs are not fetched (column 2)");
    assert_wrong("Http://x", "URLs are not fetched (column 1)");
    assert_refused("@x[50%,50%,90%,90%]", IM_ERR_INVALID, "query_box",
                   "outside the picture (column 3)");
    assert_refused("@x[-1,0,5,5]", IM_ERR_INVALID, "query_box", "outside the picture (column 3)");
    assert_refused("@x[0,0,1e999,5]", IM_ERR_INVALID, "query_box", "too large");
    assert_refused("@\"x\"[0,0,1]", IM_ERR_INVALID, "query_box", "expected at column 5");
    assert_picture("@x[33.3%,0,66.7%,100%]", "x", 0);
}

static void filters_join_nest_and_negate(void **state)
{
    (void)state;
    assert_written("(tag:a OR tag:b) AND sea", "\"AND sea\" (tag:a or tag:b)");
    assert_written("(tag:a and (tag:b and tag:c)) tag:d", "(tag:a and (tag:b and tag:c)) tag:d");
    assert_written("((tag:a))", "tag:a");
    assert_written("(not(tag:a)and(-tag:b)tag:c)", "-tag:a -tag:b tag:c");
    assert_written("-(not (tag:a))", "-(-tag:a)");
    assert_written("(not tag:a or tag:b tag:c)", "(-tag:a or (tag:b and tag:c))");
    assert_written("-(tag:a tag:b)", "-(tag:a and tag:b)");
    assert_written("camera=\"a \\\"b\" path:C:\\x shot_1:yes",
                   "camera=\"a \\\"b\" path:\"C:\\\\x\" Shot_1:yes");
    assert_written("tag:\"\"", "tag:\"\"");
    assert_wrong("(tag:a and)", "filter expected at column 11; quote the text");
    assert_wrong("(tag:a or or tag:b)", "filter expected at column 11");
    assert_wrong("(not not tag:a)", "filter expected at column 6");
    assert_wrong("()", "filter expected at column 2");
    assert_wrong("(", "filter expected at column 2");
    assert_wrong("(\"red\")", "filter expected at column 2");
    assert_wrong("(- tag:a)", "filter expected at column 2");
    assert_wrong("(tag:a)x", "blank expected at column 8");
    assert_wrong("(tag:a))", "\")\" without \"(\" at column 8");
    assert_wrong("(tag:a\"b\")", "blank expected at column 7");
    assert_wrong("tag:)", "value expected at column 5");
    assert_wrong("tag:\"a", "quote opened at column 5 is not closed");
    assert_refused("(colour:red)", IM_ERR_INVALID, "query_field", "\"colour\" at column 2");
    assert_refused("\xc3\xa9\xc3\xa9 -tagg:x", IM_ERR_INVALID, "query_field",
                   "\"tagg\" at column 5: the nearest is \"tag\"");
    assert_refused("prise:5", IM_ERR_INVALID, "query_field", "the nearest is \"price\"");
    assert_refused("tag:x colour:red", IM_ERR_INVALID, "query_field",
                   "the fields are taken, added");
}

static void columns_count_characters(void **state)
{
    (void)state;
    im_query query = parsed("\xf0\x9f\x98\x80 \xc3\xa9 (tag:x or not width>5) -price:1");
    const im_filter *both = query.filter;
    assert_int_equal(both->children[0]->children[0]->column, 6);
    assert_int_equal(both->children[0]->children[1]->children[0]->column, 19);
    assert_int_equal(both->children[1]->children[0]->column, 29);
    im_query_clear(&query);
}

/* Filters alone are a query, negative parts alone too; nothing is none. */
static void a_query_has_a_part_or_a_filter(void **state)
{
    static const struct {
        const char *text;
        size_t n_parts, n_negative;
        bool filter;
    } rows[] = {{"tag:x", 0, 0, true},
                {"-tag:x", 0, 0, true},
                {"-night", 1, 1, false},
                {"-a -@b tag:x", 2, 2, true},
                {"a -b", 2, 1, false}};
    (void)state;
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        im_query query = parsed(rows[i].text);
        size_t n_negative = 0;
        for (size_t j = 0; j < query.n_parts; j++) {
            n_negative += query.parts[j].weight < 0;
        }
        assert_int_equal(query.n_parts, rows[i].n_parts);
        assert_int_equal(n_negative, rows[i].n_negative);
        assert_int_equal(query.filter != NULL, rows[i].filter);
        im_query_clear(&query);
    }
    assert_refused("", IM_ERR_INVALID, "query_empty", "nothing to search for");
    assert_refused(" \xef\xbb\xbf\xe3\x80\x80", IM_ERR_INVALID, "query_empty",
                   "nothing to search for");
    assert_refused("\\ ", IM_ERR_INVALID, "query_empty", "nothing to search for");
    assert_refused("a \"\"", IM_ERR_INVALID, "query_empty", "at column 3");
    assert_refused("a -\" \"", IM_ERR_INVALID, "query_empty", "at column 4");
}

static void bytes_that_are_no_text_are_named(void **state)
{
    static const struct {
        im_view text;
        const char *says;
    } rows[] = {{{"ab\xff", 3}, "byte 3 (0xff) is not valid UTF-8"},
                {{"a\xc0\x80", 3}, "byte 2 (0xc0)"},    /* overlong */
                {{"\xed\xa0\x80", 3}, "byte 1 (0xed)"}, /* half of a surrogate pair */
                {{"\"a\0b\"", 5}, "byte 3 is NUL"}};
    (void)state;
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        im_query query = {0};
        im_error err = IM_ERROR_INIT;
        assert_int_equal(im_query_parse(rows[i].text, NULL, 0, &query, &err), IM_ERR_INVALID);
        assert_string_equal(err.reason, "query_encoding");
        assert_non_null(strstr(err.message, rows[i].says));
    }
}

/* `unit` n times behind `start`; the caller's. */
static char *repeated(const char *start, const char *unit, size_t n)
{
    size_t head = strlen(start), size = strlen(unit);
    char *text = malloc(head + n * size + 1);
    assert_non_null(text);
    memcpy(text, start, head + 1);
    for (size_t i = 0; i < n; i++) {
        memcpy(text + head + i * size, unit, size + 1);
    }
    return text;
}

static void assert_long(const char *start, const char *unit, size_t n, im_code code,
                        const char *says)
{
    char *text = repeated(start, unit, n);
    im_query query = {0};
    im_error err = IM_ERROR_INIT;
    uint64_t begin = im_clock_ns();
    im_code rc = parse(text, &query, &err);
    double ms = im_clock_ms_since(begin);
    if (rc != code || (says != NULL && strstr(err.message, says) == NULL)) {
        fail_msg("%zu times '%s': %d '%s'", n, unit, rc, err.message);
    }
    print_message("%zu times '%s': %.2f ms\n", n, unit, ms);
    assert_true(ms < 100); /* 10 ms on a machine with nothing else to do */
    im_query_clear(&query);
    free(text);
}

static void long_texts_end_soon(void **state)
{
    (void)state;
    assert_long("", "(", 10000, IM_ERR_INVALID, "nested deeper than 32, the limit (column 33)");
    assert_long("", "-(", 10000, IM_ERR_INVALID, "(column 66)");
    assert_long("", "or ", 100000, IM_ERR_LIMIT, "text at column 1");
    assert_long("(", "or ", 100000, IM_ERR_INVALID, "filter expected at column 2");
    assert_long("(tag:x", " or tag:x", 100000, IM_ERR_INVALID, "more than 256 comparisons");
    assert_long("", "tag:x ", 100000, IM_ERR_INVALID, "more than 256 comparisons");
    assert_long("(", "not ", 100000, IM_ERR_INVALID, "filter expected at column 6");
    assert_long("", "-x ", 65, IM_ERR_LIMIT, "more than 64 parts, the limit (column 193)");
    assert_long("", "a", IM_LIMIT_QUERY_BYTES, IM_OK, NULL);
    assert_long("", "a", IM_LIMIT_QUERY_BYTES + 1, IM_ERR_LIMIT, "8192 bytes, the limit");
    assert_long("\"", "\xf0\x9f\x98\x80\xe2\x80\x8d", 1200, IM_ERR_LIMIT, "text at column 1");
    assert_long("", "\xf0\x9f\x98\x80\xe2\x80\x8d", 1170, IM_OK, NULL);
    assert_long("", "a", 1000000, IM_ERR_LIMIT, "text at column 1");
    assert_long("", "a:", 500000, IM_ERR_INVALID, "unknown field \"a\" at column 1");
    assert_long("", "Aa: ", 2000, IM_OK, NULL);
    assert_long("", "[", 60000, IM_ERR_LIMIT, "text at column 1");
    assert_long("@", "[1,2,", 10000, IM_OK, NULL);
    assert_long("@", "x", IM_LIMIT_PATH_BYTES + 1, IM_ERR_LIMIT, "path at column 2");
    assert_long("tag:", "x", IM_LIMIT_QUERY_BYTES + 1, IM_ERR_LIMIT, "text at column 5");
    assert_long("", "x", IM_LIMIT_QUERY_LANGUAGE_BYTES + 1, IM_ERR_LIMIT, "the limit is 1048576");
}

static void what_would_be_sql_elsewhere_is_text(void **state)
{
    (void)state;
    assert_text("' OR 1=1 --", "' OR 1=1 --", 1);
    assert_text("%_% NEAR( a AND NOT *", "%_% NEAR( a AND NOT *", 1);
    assert_wrong("\"; DROP TABLE picture", "quote opened at column 1");
    im_query query = parsed("path:[[[* tag:\"' OR 1=1 --\"");
    assert_string_equal(query.filter->children[0]->value, "[[[*");
    assert_string_equal(query.filter->children[1]->value, "' OR 1=1 --");
    im_query_clear(&query);
}

/* Whatever parses is not too deep for the compiler. */
static void the_deepest_filter_compiles(void **state)
{
    im_str text;
    (void)state;
    im_str_init(&text, 8192);
    for (size_t i = 0; i < IM_LIMIT_QUERY_DEPTH; i++) {
        im_str_add_c(&text, i == 0 ? "has:gps (has:tag or has:tag -" : "(has:tag or has:tag -");
    }
    im_str_add_c(&text, "is:partial");
    for (size_t i = 0; i < IM_LIMIT_QUERY_DEPTH; i++) {
        im_str_add_char(&text, ')');
    }
    im_filter_options options = {.n_slots = 0};
    im_condition *condition = NULL;
    im_query query = parsed(im_str_text(&text));
    im_error err = IM_ERROR_INIT;
    assert_int_equal(filter_depth(query.filter), 3 * IM_LIMIT_QUERY_DEPTH + 2);
    if (im_filter_compile(query.filter, &options, &condition, &err) != IM_OK) {
        fail_msg("%s", err.message);
    }
    im_str_clear(&text);
    im_condition_free(condition);
    im_query_clear(&query);
}

static void a_filter_alone_is_an_expression(void **state)
{
    static const char *const wrong[] = {"red", "taken:2019)", "@a", "\"x\"", "tag:x or", "^2"};
    im_filter *filter = NULL;
    im_error err = IM_ERROR_INIT;
    (void)state;
    im_view text = im_view_from(" -tag:x taken:2019 or not (has:gps) ");
    assert_int_equal(im_filter_parse(text, NULL, 0, &filter, &err), IM_OK);
    assert_int_equal(filter->kind, IM_FILTER_OR);
    assert_int_equal(filter->children[0]->kind, IM_FILTER_AND);
    assert_int_equal(filter->children[1]->kind, IM_FILTER_NOT);
    im_filter_free(filter);
    filter = NULL;
    for (size_t i = 0; i < IM_COUNT(wrong); i++) {
        assert_int_equal(im_filter_parse(im_view_from(wrong[i]), NULL, 0, &filter, &err),
                         IM_ERR_INVALID);
        assert_string_equal(err.reason, "query_syntax");
        assert_in_range(column_in(&err), 1, strlen(wrong[i]) + 1);
        assert_null(filter);
    }
    assert_int_equal(im_filter_parse(im_view_from("  "), NULL, 0, &filter, &err), IM_ERR_INVALID);
    assert_string_equal(err.reason, "query_empty");
}

static void parsing_survives_each_failed_allocation(void **state)
{
    static const char *const texts[] = {
        "red car ^2 -night \"a b\"^3 +\"c\" @a.jpg[1,2,3,4]^2 @\"b c\" -@#17 @- "
        "taken:2019 -(tag:x or not tag:y tag:\"z\" width>=5) price<5 camera:c lens:d type:jpeg",
        "red ^nan", "tag:x (tag:y", "@a[0,0,0,0]", "colour:red"};
    (void)state;
    for (size_t i = 0; i < IM_COUNT(texts); i++) {
        size_t before = im_live_allocations();
        im_code rc = IM_ERR_NOMEM;
        for (size_t nth = 0; rc == IM_ERR_NOMEM; nth++) {
            im_query query = {0};
            im_fault_set(IM_FAULT_ALLOC, nth, 0);
            rc = parse(texts[i], &query, NULL);
            assert_int_equal(rc == IM_ERR_NOMEM, im_fault_fired(IM_FAULT_ALLOC));
            im_fault_clear();
            assert_true(rc == IM_OK || (query.parts == NULL && query.filter == NULL));
            im_query_clear(&query);
            assert_int_equal(im_live_allocations(), before);
        }
        assert_int_equal(rc, i == 0 ? IM_OK : IM_ERR_INVALID);
    }
}

static void a_writer_out_of_room_says_so(void **state)
{
    (void)state;
    im_query query = parsed("red @a.jpg tag:x");
    im_str out;
    im_str_init(&out, 8);
    im_query_write(&query, &out);
    assert_true(out.failed);
    im_str_clear(&out);
    im_query_clear(&query);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signs_are_signs_only_before_what_they_can_belong_to),
        cmocka_unit_test(words_join_wherever_other_elements_stand),
        cmocka_unit_test(weights_belong_to_the_element_before),
        cmocka_unit_test(sources_and_boxes_of_pictures),
        cmocka_unit_test(filters_join_nest_and_negate),
        cmocka_unit_test(columns_count_characters),
        cmocka_unit_test(a_query_has_a_part_or_a_filter),
        cmocka_unit_test(bytes_that_are_no_text_are_named),
        cmocka_unit_test(long_texts_end_soon),
        cmocka_unit_test(what_would_be_sql_elsewhere_is_text),
        cmocka_unit_test(the_deepest_filter_compiles),
        cmocka_unit_test(a_filter_alone_is_an_expression),
        cmocka_unit_test(parsing_survives_each_failed_allocation),
        cmocka_unit_test(a_writer_out_of_room_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
