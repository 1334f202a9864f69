/* tests/base/test_date.c — covers base/date.c: day by day through the calendar, and known moments.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/date.h"

static void known_moments_are_right(void **state)
{
    (void)state;
    assert_int_equal(im_date_seconds(1970, 1, 1, 0, 0, 0), 0);
    assert_int_equal(im_date_seconds(2000, 2, 29, 12, 34, 56), 951827696);
    assert_int_equal(im_date_seconds(2038, 1, 19, 3, 14, 8), INT64_C(2147483648));
    assert_int_equal(im_date_seconds(1969, 12, 31, 23, 59, 59), -1);
    assert_int_equal(im_date_seconds(1, 1, 1, 0, 0, 0), INT64_C(-62135596800));
    assert_int_equal(im_date_seconds(9999, 12, 31, 23, 59, 59), INT64_C(253402300799));
    assert_int_equal(im_date_seconds(2019, 12, 32, 24, 0, 0), im_date_seconds(2020, 1, 2, 0, 0, 0));
}

static void months_have_their_days(void **state)
{
    (void)state;
    assert_int_equal(im_date_month_days(2019, 2), 28);
    assert_int_equal(im_date_month_days(2020, 2), 29);
    assert_int_equal(im_date_month_days(1900, 2), 28);
    assert_int_equal(im_date_month_days(2000, 2), 29);
}

/* Each day is a day after the one before, through all years that a date can have. */
static void no_day_is_lost(void **state)
{
    (void)state;
    int64_t expected = im_date_seconds(1, 1, 1, 0, 0, 0);
    for (int year = 1; year <= 9999; year++) {
        for (int month = 1; month <= 12; month++) {
            assert_int_equal(im_date_seconds(year, month, 1, 0, 0, 0), expected);
            expected += INT64_C(86400) * im_date_month_days(year, month);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_moments_are_right),
        cmocka_unit_test(months_have_their_days),
        cmocka_unit_test(no_day_is_lost),
    };
    return cmocka_run_group_tests_name("dates", tests, NULL, NULL);
}
