/* tests/query/test_filter_time.c — covers query/filter_time.c: what dates and ranges of them
 * become, and the sentence of each that is none (T39). */
#include "help_filter.h"
#include <stdio.h>
#include <time.h>

/* Seconds of a UTC date, from the C library. */
static int64_t utc(int year, int month, int day, int hour, int minute, int second)
{
    struct tm tm = {.tm_year = year - 1900,
                    .tm_mon = month - 1,
                    .tm_mday = day,
                    .tm_hour = hour,
                    .tm_min = minute,
                    .tm_sec = second};
    return (int64_t)timegm(&tm);
}

static void a_date_stands_for_its_whole_period(void **state)
{
    (void)state;
    assert_integers("taken:2019", "taken", utc(2019, 1, 1, 0, 0, 0), utc(2020, 1, 1, 0, 0, 0) - 1);
    assert_integers("taken:2019-06", "taken", utc(2019, 6, 1, 0, 0, 0),
                    utc(2019, 7, 1, 0, 0, 0) - 1);
    assert_integers("taken:2019-12", "taken", utc(2019, 12, 1, 0, 0, 0),
                    utc(2020, 1, 1, 0, 0, 0) - 1);
    assert_integers("taken:2019-06-03", "taken", utc(2019, 6, 3, 0, 0, 0),
                    utc(2019, 6, 4, 0, 0, 0) - 1);
    assert_integers("taken:2020-02-29", "taken", utc(2020, 2, 29, 0, 0, 0),
                    utc(2020, 3, 1, 0, 0, 0) - 1);
    assert_integers("taken:2019-12-31T23:59", "taken", utc(2019, 12, 31, 23, 59, 0),
                    utc(2020, 1, 1, 0, 0, 0) - 1);
    assert_integers("taken:2019-06-03T10:11", "taken", utc(2019, 6, 3, 10, 11, 0),
                    utc(2019, 6, 3, 10, 12, 0) - 1);
    assert_integers("taken:2019-06-03 10:11:12", "taken", utc(2019, 6, 3, 10, 11, 12),
                    utc(2019, 6, 3, 10, 11, 12));
    assert_integers("taken:1931-02-28T23", "taken", utc(1931, 2, 28, 23, 0, 0),
                    utc(1931, 3, 1, 0, 0, 0) - 1);
    assert_integers("taken=2019", "taken", utc(2019, 1, 1, 0, 0, 0), utc(2020, 1, 1, 0, 0, 0) - 1);
    assert_integers("sold:2019", "field.sold", utc(2019, 1, 1, 0, 0, 0),
                    utc(2020, 1, 1, 0, 0, 0) - 1);
    assert_integers("taken:9999-12-31", "taken", utc(9999, 12, 31, 0, 0, 0),
                    utc(10000, 1, 1, 0, 0, 0) - 1);
}

static void ranges_and_operators_of_dates_have_inclusive_ends(void **state)
{
    (void)state;
    int64_t first = utc(2019, 1, 1, 0, 0, 0), last = utc(2020, 1, 1, 0, 0, 0) - 1;
    assert_integers("taken:2019..2021-06", "taken", first, utc(2021, 7, 1, 0, 0, 0) - 1);
    assert_integers("taken:..2019", "taken", never, last);
    assert_integers("taken:2019..", "taken", first, INT64_MAX);
    assert_integers("taken:2019..2019-01-01", "taken", first, utc(2019, 1, 2, 0, 0, 0) - 1);
    assert_integers("taken<2019", "taken", never, first - 1);
    assert_integers("taken<=2019", "taken", never, last);
    assert_integers("taken>2019", "taken", last + 1, INT64_MAX);
    assert_integers("taken>=2019", "taken", first, INT64_MAX);
}

static void added_is_read_in_the_users_time_zone(void **state)
{
    (void)state;
    assert_int_equal(setenv("TZ", "Europe/Berlin", 1), 0);
    tzset();
    bool has_zone = strcmp(tzname[0], "CET") == 0;
    if (!has_zone) { /* no zone files: the rule itself */
        assert_int_equal(setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1), 0);
        tzset();
    }
    assert_integers("added:2019-01-01", "added", utc(2018, 12, 31, 23, 0, 0),
                    utc(2019, 1, 1, 22, 59, 59));
    /* a day of 23 hours and one of 25 */
    assert_integers("added:2019-03-31", "added", utc(2019, 3, 30, 23, 0, 0),
                    utc(2019, 3, 31, 21, 59, 59));
    assert_integers("added:2019-10-27", "added", utc(2019, 10, 26, 22, 0, 0),
                    utc(2019, 10, 27, 22, 59, 59));
    /* the camera's wall clock knows no zone */
    assert_integers("taken:2019-01-01", "taken", utc(2019, 1, 1, 0, 0, 0),
                    utc(2019, 1, 1, 23, 59, 59));
    assert_int_equal(unsetenv("TZ"), 0);
    tzset();
}

static void every_day_of_four_centuries_ends_before_the_next(void **state)
{
    (void)state;
    int64_t expected = utc(1890, 1, 1, 0, 0, 0);
    for (int year = 1890; year < 2290; year++) {
        for (int month = 1; month <= 12; month++) {
            for (int day = 1; day <= 31; day++) {
                char text[40];
                im_filter_options options = options_of(true);
                im_condition *condition = NULL;
                snprintf(text, sizeof(text), "taken:%04d-%02d-%02d", year, month, day);
                im_filter *filter = test_of(text);
                im_code rc = im_filter_compile(filter, &options, &condition, NULL);
                int64_t start = utc(year, month, day, 0, 0, 0);
                struct tm tm;
                time_t seconds = (time_t)start;
                gmtime_r(&seconds, &tm);
                assert_int_equal(rc == IM_OK, tm.tm_mday == day);
                if (rc == IM_OK) {
                    assert_int_equal(condition->min_i, expected);
                    assert_int_equal(condition->max_i, expected + 86399);
                    expected += 86400;
                }
                im_condition_free(condition);
                drop(filter);
            }
        }
    }
}

static void dates_that_are_none_are_refused(void **state)
{
    (void)state;
    static const wrong_case wrong[] = {
        {"taken:2019-13", "month 13 in \"2019-13\" (column 5)", NULL},
        {"taken:2019-00", "month 00", NULL},
        {"taken:2019-02-30", "day 30 in \"2019-02-30\"", NULL},
        {"taken:2019-02-29", "01 to 28", NULL},
        {"taken:1900-02-29", "01 to 28", NULL},
        {"taken:0000", "year 00", NULL},
        {"taken:2019-01-01T24:00", "hour 24", NULL},
        {"taken:2019-01-01T10:60", "minute 60", NULL},
        {"taken:2019-01-01T10:00:60", "second 60", NULL},
        {"taken:2019..2019-13", "month 13", NULL},
        {"taken:..", "at least one end", NULL},
        {"taken:2020..2019", "ends after it begins", NULL},
        {"taken>2019..2020", "not a range", "field:a..b"},
        {"sold:yesterday", "sold \"yesterday\"", NULL},
        {"added:2019-02-30", "day 30", NULL},
    };
    assert_all_wrong(wrong, sizeof(wrong) / sizeof(*wrong), "query_value");
    const char *const formless[] = {
        "9999999999", "",       "19",          "2019-1",         "2019-06-3", "2019-",
        "2019T10",    "summer", "2019-06-03T", "2019-06-03T10:", "-2019",     "2019-06-03T10:11Z",
        "２０１９"};
    for (size_t i = 0; i < sizeof(formless) / sizeof(*formless); i++) {
        char text[60];
        snprintf(text, sizeof(text), "taken:%s", formless[i]);
        assert_wrong(text, "query_value", "expected a", NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_date_stands_for_its_whole_period),
        cmocka_unit_test(ranges_and_operators_of_dates_have_inclusive_ends),
        cmocka_unit_test(added_is_read_in_the_users_time_zone),
        cmocka_unit_test(every_day_of_four_centuries_ends_before_the_next),
        cmocka_unit_test(dates_that_are_none_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
