/* tests/query/test_parts.c — covers query/parts.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "query/query.h"

#include <math.h>

static im_query_part text_part(const char *text, double weight)
{
    im_query_part part = {.kind = IM_PART_TEXT, .text = im_view_from(text), .weight = weight};
    return part;
}

static im_code check_one(im_query_part part, im_combine combine, im_error *err)
{
    return im_query_check(&part, 1, combine, err);
}

static void a_plain_text_is_accepted(void **state)
{
    (void)state;
    assert_int_equal(check_one(text_part("a red car", 1), IM_COMBINE_SUM, NULL), IM_OK);
}

static void no_parts_and_blank_texts_are_nothing_to_search_for(void **state)
{
    static const char *const blanks[] = {
        "", " ", "\t\n", "\xc2\xa0", "\xe3\x80\x80 ", "\xef\xbb\xbf"};
    im_error err = IM_ERROR_INIT;
    (void)state;
    assert_int_equal(im_query_check(NULL, 0, IM_COMBINE_SUM, &err), IM_ERR_INVALID);
    assert_string_equal(err.reason, "query_empty");
    for (size_t i = 0; i < IM_COUNT(blanks); i++) {
        assert_int_equal(check_one(text_part(blanks[i], 1), IM_COMBINE_SUM, &err), IM_ERR_INVALID);
        assert_string_equal(err.reason, "query_empty");
    }
}

static void bad_utf8_and_nul_name_their_byte(void **state)
{
    im_error err = IM_ERROR_INIT;
    im_query_part nul = {.kind = IM_PART_TEXT, .text = im_view_of("a\0b", 3), .weight = 1};
    (void)state;
    assert_int_equal(check_one(text_part("ab\xff", 1), IM_COMBINE_SUM, &err), IM_ERR_INVALID);
    assert_non_null(strstr(err.message, "byte 3"));
    assert_int_equal(check_one(nul, IM_COMBINE_SUM, &err), IM_ERR_INVALID);
    assert_non_null(strstr(err.message, "byte 2"));
}

static void a_text_may_be_as_long_as_the_limit_and_no_longer(void **state)
{
    static char text[IM_LIMIT_QUERY_BYTES + 2];
    im_query_part part = {.kind = IM_PART_TEXT, .weight = 1};
    (void)state;
    memset(text, 'x', sizeof(text));
    part.text = im_view_of(text, IM_LIMIT_QUERY_BYTES);
    assert_int_equal(check_one(part, IM_COMBINE_SUM, NULL), IM_OK);
    part.text = im_view_of(text, IM_LIMIT_QUERY_BYTES + 1);
    assert_int_equal(check_one(part, IM_COMBINE_SUM, NULL), IM_ERR_LIMIT);
}

static void weights_are_finite_not_zero_and_at_most_a_hundred(void **state)
{
    static const double bad[] = {0, -0.0, 100.1, -100.1, 1e308, -1e308};
    static const double good[] = {1, -0.5, 100, -100, 1e-9};
    (void)state;
    for (size_t i = 0; i < IM_COUNT(bad); i++) {
        assert_int_equal(check_one(text_part("x", bad[i]), IM_COMBINE_SUM, NULL), IM_ERR_INVALID);
    }
    assert_int_equal(check_one(text_part("x", (double)NAN), IM_COMBINE_SUM, NULL), IM_ERR_INVALID);
    assert_int_equal(check_one(text_part("x", (double)INFINITY), IM_COMBINE_SUM, NULL),
                     IM_ERR_INVALID);
    for (size_t i = 0; i < IM_COUNT(good); i++) {
        assert_int_equal(check_one(text_part("x", good[i]), IM_COMBINE_SUM, NULL), IM_OK);
    }
}

static void negative_parts_belong_to_sums_only(void **state)
{
    (void)state;
    assert_int_equal(check_one(text_part("x", -1), IM_COMBINE_SUM, NULL), IM_OK);
    assert_int_equal(check_one(text_part("x", -1), IM_COMBINE_ANY, NULL), IM_ERR_INVALID);
    assert_int_equal(check_one(text_part("x", -1), IM_COMBINE_ALL, NULL), IM_ERR_INVALID);
}

static void boxes_are_four_numbers_with_an_area(void **state)
{
    static const char *const bad[] = {"",        "1,2,3",     "1,2,3,4,5", "a,2,3,4", "1,2,0,4",
                                      "1,2,3,0", "-1,2,3,4",  "1, 2,3,4",  "1,2,3,",  ",,,",
                                      "1,2,3,%", "nan,0,1,1", "0,0,inf,1", "1,2,3,4x"};
    im_box box;
    (void)state;
    for (size_t i = 0; i < IM_COUNT(bad); i++) {
        im_error err = IM_ERROR_INIT;
        assert_int_equal(im_box_parse(bad[i], &box, &err), IM_ERR_INVALID);
        assert_string_equal(err.reason, "query_box");
    }
    assert_int_equal(im_box_parse("10%,5,50%,7.5", &box, NULL), IM_OK);
    assert_true(box.percent[0] && !box.percent[1] && box.percent[2] && !box.percent[3]);
    assert_true(box.w == 50 && box.h == 7.5);
}

static void boxes_in_per_cent_reach_the_edges_and_no_further(void **state)
{
    im_box whole;
    im_box beyond;
    uint32_t xywh[4];
    (void)state;
    assert_int_equal(im_box_parse("0%,0%,100%,100%", &whole, NULL), IM_OK);
    assert_int_equal(im_box_resolve(&whole, 33, 7, xywh, NULL), IM_OK);
    assert_true(xywh[0] == 0 && xywh[1] == 0 && xywh[2] == 33 && xywh[3] == 7);
    assert_int_equal(im_box_parse("50%,50%,90%,90%", &beyond, NULL), IM_OK);
    assert_int_equal(im_box_resolve(&beyond, 33, 7, xywh, NULL), IM_ERR_INVALID);
}

static void resolved_boxes_lie_inside_and_are_not_empty(void **state)
{
    (void)state;
    for (uint32_t side = 1; side < 40; side++) {
        for (unsigned x = 0; x < 100; x += 7) {
            im_box box = {
                .x = x, .w = 100 - x, .y = x, .h = 1, .percent = {true, true, true, true}};
            uint32_t b[4];
            im_code rc = im_box_resolve(&box, side, side, b, NULL);
            assert_int_equal(rc, IM_OK);
            assert_true(b[2] >= 1 && b[3] >= 1 && b[0] + b[2] <= side && b[1] + b[3] <= side);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_text_is_accepted),
        cmocka_unit_test(no_parts_and_blank_texts_are_nothing_to_search_for),
        cmocka_unit_test(bad_utf8_and_nul_name_their_byte),
        cmocka_unit_test(a_text_may_be_as_long_as_the_limit_and_no_longer),
        cmocka_unit_test(weights_are_finite_not_zero_and_at_most_a_hundred),
        cmocka_unit_test(negative_parts_belong_to_sums_only),
        cmocka_unit_test(boxes_are_four_numbers_with_an_area),
        cmocka_unit_test(boxes_in_per_cent_reach_the_edges_and_no_further),
        cmocka_unit_test(resolved_boxes_lie_inside_and_are_not_empty),
    };
    return cmocka_run_group_tests_name("query parts", tests, NULL, NULL);
}
