/* tests/query/test_filter.c — covers query/filter.c, filter_time.c, filter_value.c: what each field
 * becomes, and the sentence of each value that it cannot have (T39, T40). */
#include "base/clock.h"
#include "help_filter.h"
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

/* Bits that a fake store answers with, and what it was asked. */
typedef struct asked {
    char field[32], value[64];
    im_filter_op op;
    bool fail;
} asked;

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

static asked last_asked;

static im_filter_options options_of(bool keep_missing)
{
    im_filter_options options = {.fields = own_fields,
                                 .n_fields = 4,
                                 .n_slots = 100,
                                 .resolve = {&last_asked, answer},
                                 .keep_missing = keep_missing};
    return options;
}

static im_condition *compiled(const char *text)
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

static void assert_integers(const char *text, const char *column, int64_t min, int64_t max)
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

static void assert_text(const char *text, im_condition_kind kind, const char *column,
                        const char *value)
{
    im_condition *condition = compiled(text);
    assert_int_equal(condition->kind, kind);
    assert_string_equal(condition->column, column);
    assert_string_equal(condition->text, value);
    im_condition_free(condition);
}

static void assert_numbers(const char *text, const char *column, double min, double max,
                           bool open_min, bool open_max)
{
    im_condition *condition = compiled(text);
    assert_int_equal(condition->kind, IM_CONDITION_NUMBERS);
    assert_string_equal(condition->column, column);
    assert_true(condition->min == min && condition->max == max);
    assert_int_equal(condition->open_min, open_min);
    assert_int_equal(condition->open_max, open_max);
    im_condition_free(condition);
}

/* The value is refused with that reason; the sentence holds `part`, the column, and, unless NULL,
 * the hint holds `hint`. */
static void assert_wrong(const char *text, const char *reason, const char *part, const char *hint)
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

typedef struct wrong_case {
    const char *text, *part, *hint; /* as assert_wrong's */
} wrong_case;

static void assert_all_wrong(const wrong_case *cases, size_t n, const char *reason)
{
    for (size_t i = 0; i < n; i++) {
        assert_wrong(cases[i].text, reason, cases[i].part, cases[i].hint);
    }
}

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

static const int64_t never = INT64_MIN + 1;

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

static void numbers_take_ranges_operators_and_sizes(void **state)
{
    (void)state;
    assert_integers("width:1000", "width", 1000, 1000);
    assert_integers("width:1000..", "width", 1000, INT64_MAX);
    assert_integers("height:..1000", "height", never, 1000);
    assert_integers("height:10..20", "height", 10, 20);
    assert_integers("width>1000", "width", 1001, INT64_MAX);
    assert_integers("width>=1000", "width", 1000, INT64_MAX);
    assert_integers("width<1000", "width", never, 999);
    assert_integers("width<=1000", "width", never, 1000);
    assert_integers("width=1000", "width", 1000, 1000);
    assert_integers("width>10.5", "width", 11, INT64_MAX);
    assert_integers("width<10.5", "width", never, 10);
    assert_integers("width<=10.5", "width", never, 10);
    assert_integers("width>=10.5", "width", 11, INT64_MAX);
    assert_integers("bytes:..2M", "bytes", never, 2000000);
    assert_integers("bytes>1.5k", "bytes", 1501, INT64_MAX);
    assert_integers("bytes:1KiB..1 GiB", "bytes", 1024, 1073741824);
    assert_integers("bytes:2mb..3GB", "bytes", 2000000, 3000000000);
    assert_integers("bytes<1T", "bytes", never, 999999999999);
    assert_integers("bytes=512B", "bytes", 512, 512);
    assert_integers("bytes<1e30", "bytes", never, INT64_MAX);
    assert_integers("bytes>1e30", "bytes", INT64_MAX, INT64_MAX);
    assert_numbers("price<50", "field.price", -HUGE_VAL, 50, false, true);
    assert_numbers("price>=-2.5", "field.price", -2.5, HUGE_VAL, false, false);
    assert_numbers("price>1e3", "field.price", 1000, HUGE_VAL, true, false);
    assert_numbers("price:-5..-1", "field.price", -5, -1, false, false);
    assert_numbers("price:1.5...5e1", "field.price", 1.5, 5, false, false);
    assert_numbers("price=7", "field.price", 7, 7, false, false);
    assert_numbers("price<=7", "field.price", -HUGE_VAL, 7, false, false);
}

static void numbers_that_are_none_are_refused(void **state)
{
    (void)state;
    static const wrong_case wrong[] = {
        {"bytes>1e999", "bytes \"1e999\"", NULL},
        {"bytes>1e308T", "number", NULL},
        {"bytes:2X", "1.5M", NULL},
        {"width:nan", "number", NULL},
        {"width>inf", "number", NULL},
        {"width:0x10", "number", NULL},
        {"width:", "a value", NULL},
        {"width:k", "number", NULL},
        {"width:-5", "not negative", NULL},
        {"width:20..10", "ends after", NULL},
        {"width:..", "one end", NULL},
        {"width=1..2", "not a range", NULL},
        {"price<cheap", "price \"cheap\"", NULL},
        {"price:5k", "number", NULL},
        {"price:nan", "number", NULL},
    };
    assert_all_wrong(wrong, sizeof(wrong) / sizeof(*wrong), "query_value");
    char long_number[9000] = "width:";
    memset(long_number + 6, '1', sizeof(long_number) - 7);
    assert_wrong(long_number, "query_value", "expected a number", NULL);
}

static void texts_are_parts_wholes_or_patterns(void **state)
{
    (void)state;
    assert_text("camera:Canon EOS", IM_CONDITION_TEXT_PART, "camera", "Canon EOS");
    assert_text("camera=Canon EOS R5", IM_CONDITION_TEXT_EQUAL, "camera", "Canon EOS R5");
    assert_text("lens:50mm*", IM_CONDITION_TEXT_PART, "lens", "50mm*");
    assert_text("category:shoes", IM_CONDITION_TEXT_EQUAL, "field.Category", "shoes");
    assert_text("Category:sho*s", IM_CONDITION_TEXT_GLOB, "field.Category", "sho*s");
    assert_text("Category=sho*s", IM_CONDITION_TEXT_EQUAL, "field.Category", "sho*s");
    assert_text("type:JPG", IM_CONDITION_TEXT_EQUAL, "type", "jpeg");
    assert_text("type=png", IM_CONDITION_TEXT_EQUAL, "type", "png");
    assert_text("source:upload", IM_CONDITION_TEXT_EQUAL, "source", "upload");
    /* T40: taken literally */
    assert_text("camera:' OR 1=1 --", IM_CONDITION_TEXT_PART, "camera", "' OR 1=1 --");
    assert_text("Category:%_%", IM_CONDITION_TEXT_EQUAL, "field.Category", "%_%");
    static const wrong_case wrong[] = {
        {"camera<x", "':' or '='", NULL},
        {"Category>=x", "no order", NULL},
        {"camera:", "a value", NULL},
        {"type:jpgg", "one of jpeg", "type:jp"},
        {"type:x", "one of jpeg", NULL},
        {"source:uplaod", "file, upload, import", "source:upload"},
    };
    assert_all_wrong(wrong, sizeof(wrong) / sizeof(*wrong), "query_value");
}

static void what_an_item_has_and_is(void **state)
{
    (void)state;
    static const char *const present[][2] = {{"has:gps", "lat"},
                                             {"has:GPS", "lat"},
                                             {"has:taken", "taken"},
                                             {"has:camera", "camera"},
                                             {"has:lens", "lens"},
                                             {"has:price", "field.price"},
                                             {"has:category", "field.Category"}};
    for (size_t i = 0; i < sizeof(present) / sizeof(*present); i++) {
        im_condition *condition = compiled(present[i][0]);
        assert_int_equal(condition->kind, IM_CONDITION_PRESENT);
        assert_string_equal(condition->column, present[i][1]);
        im_condition_free(condition);
    }
    assert_integers("has:caption", "captioned", 1, 1);
    assert_integers("has:tag", "tagged", 1, 1);
    assert_integers("is:partial", "partial", 1, 1);
    assert_integers("is:missing", "missing", 1, 1);
    assert_integers("stock:yes", "field.stock", 1, 1);
    assert_integers("stock:False", "field.stock", 0, 0);
    assert_integers("stock=0", "field.stock", 0, 0);
    static const wrong_case wrong[] = {
        {"has:gsp", "gps, caption, tag, taken", "has:gps"},
        {"has:pricee", "one of", "has:price"},
        {"is:missin", "partial, missing", "is:missing"},
        {"is:good", "partial, missing", NULL},
        {"stock:maybe", "true, false", NULL},
        {"stock<1", "':' or '='", NULL},
        {"is>partial", "':' or '='", NULL},
    };
    assert_all_wrong(wrong, sizeof(wrong) / sizeof(*wrong), "query_value");
}

static void assert_place(const char *text, im_condition_kind kind, const double place[4])
{
    im_condition *condition = compiled(text);
    assert_int_equal(condition->kind, kind);
    assert_memory_equal(condition->place, place, 4 * sizeof(double));
    im_condition_free(condition);
}

static void places_have_units_and_edges(void **state)
{
    (void)state;
    assert_place("near:48.86,2.35,5km", IM_CONDITION_NEAR, (double[4]){48.86, 2.35, 5000, 0});
    assert_place("near:48.86, 2.35, 5 km", IM_CONDITION_NEAR, (double[4]){48.86, 2.35, 5000, 0});
    assert_place("near:-90,180,800m", IM_CONDITION_NEAR, (double[4]){-90, 180, 800, 0});
    assert_place("near:0,0,1MI", IM_CONDITION_NEAR, (double[4]){0, 0, 1609.344, 0});
    assert_place("near:0,0,2.5", IM_CONDITION_NEAR, (double[4]){0, 0, 2500, 0});
    assert_place("box:-10,170,10,-170", IM_CONDITION_BOX, (double[4]){-10, 170, 10, -170});
    assert_place("box:1,2,1,2", IM_CONDITION_BOX, (double[4]){1, 2, 1, 2});
    static const wrong_case wrong[] = {
        {"near:91,181,-1", "latitude \"91\"", NULL},
        {"near:90,181,-1", "longitude \"181\"", NULL},
        {"near:90,180,-1", "a distance above 0", NULL},
        {"near:90,180,0km", "a distance above 0", NULL},
        {"near:90,180,", "a distance above 0", NULL},
        {"near:90,180,1e308km", "a distance above 0", NULL},
        {"near:1,2", "latitude,longitude,distance", "near:48.86"},
        {"near:1,2,3,4", "latitude,longitude,distance", NULL},
        {"near:nan,2,3km", "latitude \"nan\"", NULL},
        {"near<1,2,3", "':'", NULL},
        {"box:1,2,3", "south,west,north,east", "180"},
        {"box:2,2,1,3", "south", NULL},
        {"box:-91,2,1,3", "south \"-91\"", NULL},
        {"box:0,2,1,300", "east \"300\"", NULL},
        {"box=1,2,3,4", "':'", NULL},
    };
    assert_all_wrong(wrong, sizeof(wrong) / sizeof(*wrong), "query_value");
}

static void what_is_no_column_is_asked_for(void **state)
{
    (void)state;
    static const char *const names[] = {"path", "tag", "in", "key", "caption"};
    for (size_t i = 0; i < 5; i++) {
        char text[60];
        snprintf(text, sizeof(text), "%s:[[[*", names[i]); /* T40 */
        im_condition *condition = compiled(text);
        assert_int_equal(condition->kind, IM_CONDITION_SLOTS);
        assert_int_equal(condition->n_slots, 100);
        assert_int_equal(condition->slots[0], 5);
        assert_int_equal(condition->slots[1], 0);
        assert_string_equal(last_asked.field, names[i]);
        assert_string_equal(last_asked.value, "[[[*");
        assert_int_equal(last_asked.op, IM_FILTER_IS);
        im_condition_free(condition);
    }
    im_condition_free(compiled("tag=x"));
    assert_int_equal(last_asked.op, IM_FILTER_EQUAL);
    assert_wrong("tag<x", "query_value", "':' or '='", NULL);
    assert_wrong("path:", "query_value", "a value", NULL);
    im_filter_options options = options_of(true);
    im_condition *condition = NULL;
    im_error err = IM_ERROR_INIT;
    im_filter *filter = test_of("tag:x");
    last_asked.fail = true;
    assert_int_equal(im_filter_compile(filter, &options, &condition, &err), IM_ERR_DAMAGED);
    assert_string_equal(err.message, "the store says no");
    last_asked.fail = false;
    options.resolve.slots = NULL;
    assert_int_equal(im_filter_compile(filter, &options, &condition, &err), IM_ERR_UNSUPPORTED);
    assert_null(condition);
    drop(filter);
}

static void unknown_fields_name_the_nearest(void **state)
{
    (void)state;
    static const wrong_case wrong[] = {
        {"colour:red", "unknown field \"colour\" at column 5", "quote it"},
        {"widht:5", "the nearest is \"width\"", NULL},
        {"prise:5", "the nearest is \"price\"", NULL},
        {"categry:5", "the nearest is \"Category\"", NULL},
        {"zzzzzzzz:5", "column 5", NULL},
    };
    assert_all_wrong(wrong, sizeof(wrong) / sizeof(*wrong), "query_field");
}

/* ---- missing files ---- */

static void missing_items_are_left_out_unless_asked_for(void **state)
{
    (void)state;
    im_filter_options options = options_of(false);
    im_condition *condition = NULL;
    assert_int_equal(im_filter_compile(NULL, &options, &condition, NULL), IM_OK);
    assert_int_equal(condition->kind, IM_CONDITION_NOT);
    assert_string_equal(condition->children[0]->column, "missing");
    im_condition_free(condition);
    im_filter *filter = test_of("width:5");
    assert_int_equal(im_filter_compile(filter, &options, &condition, NULL), IM_OK);
    assert_int_equal(condition->kind, IM_CONDITION_AND);
    assert_int_equal(condition->n_children, 2);
    assert_string_equal(condition->children[0]->column, "width");
    assert_int_equal(condition->children[1]->kind, IM_CONDITION_NOT);
    im_condition_free(condition);
    /* deep in the tree, and under a not */
    filter = node_of(IM_FILTER_OR, filter, node_of(IM_FILTER_NOT, test_of("is:Missing"), NULL));
    assert_int_equal(im_filter_compile(filter, &options, &condition, NULL), IM_OK);
    assert_int_equal(condition->kind, IM_CONDITION_OR);
    im_condition_free(condition);
    drop(filter);
    condition = NULL;
    options.keep_missing = true;
    assert_int_equal(im_filter_compile(NULL, &options, &condition, NULL), IM_OK);
    assert_null(condition);
}

static void a_tree_keeps_its_form_and_depth_is_bounded(void **state)
{
    (void)state;
    im_filter_options options = options_of(true);
    im_condition *condition = NULL;
    im_error err = IM_ERROR_INIT;
    im_filter *filter = node_of(IM_FILTER_AND, test_of("width:1"),
                                node_of(IM_FILTER_OR, test_of("height:2"),
                                        node_of(IM_FILTER_NOT, test_of("has:gps"), NULL)));
    assert_int_equal(im_filter_compile(filter, &options, &condition, &err), IM_OK);
    assert_int_equal(condition->kind, IM_CONDITION_AND);
    assert_int_equal(condition->children[1]->kind, IM_CONDITION_OR);
    assert_int_equal(condition->children[1]->children[1]->kind, IM_CONDITION_NOT);
    assert_string_equal(condition->children[1]->children[1]->children[0]->column, "lat");
    im_condition_free(condition);
    condition = NULL;
    for (int i = 0; i < 300; i++) {
        filter = node_of(IM_FILTER_NOT, filter, NULL);
    }
    assert_int_equal(im_filter_compile(filter, &options, &condition, &err), IM_ERR_LIMIT);
    assert_null(condition);
    drop(filter);
}

static void compiling_survives_each_failed_allocation(void **state)
{
    (void)state;
    static const char *const tests[] = {"taken:2019", "camera:x", "Category:a*", "price<5",
                                        "stock:1",    "type:jpg", "has:gps",     "has:price",
                                        "near:1,2,3", "tag:x",    "width:5",     "is:partial"};
    im_filter_options options = options_of(false);
    im_filter *filter = test_of("has:tag");
    for (size_t i = 0; i < sizeof(tests) / sizeof(*tests); i++) {
        filter = node_of(i % 2 == 0 ? IM_FILTER_AND : IM_FILTER_OR, filter, test_of(tests[i]));
    }
    im_code rc = IM_ERR_NOMEM;
    size_t before = im_live_allocations();
    for (size_t nth = 0; rc != IM_OK; nth++) {
        im_condition *condition = NULL;
        im_fault_set(IM_FAULT_ALLOC, nth, 0);
        rc = im_filter_compile(filter, &options, &condition, NULL);
        assert_int_equal(rc, im_fault_fired(IM_FAULT_ALLOC) ? IM_ERR_NOMEM : IM_OK);
        im_fault_clear();
        im_condition_free(condition);
        assert_int_equal(im_live_allocations(), before);
    }
    drop(filter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_date_stands_for_its_whole_period),
        cmocka_unit_test(ranges_and_operators_of_dates_have_inclusive_ends),
        cmocka_unit_test(added_is_read_in_the_users_time_zone),
        cmocka_unit_test(every_day_of_four_centuries_ends_before_the_next),
        cmocka_unit_test(dates_that_are_none_are_refused),
        cmocka_unit_test(numbers_take_ranges_operators_and_sizes),
        cmocka_unit_test(numbers_that_are_none_are_refused),
        cmocka_unit_test(texts_are_parts_wholes_or_patterns),
        cmocka_unit_test(what_an_item_has_and_is),
        cmocka_unit_test(places_have_units_and_edges),
        cmocka_unit_test(what_is_no_column_is_asked_for),
        cmocka_unit_test(unknown_fields_name_the_nearest),
        cmocka_unit_test(missing_items_are_left_out_unless_asked_for),
        cmocka_unit_test(a_tree_keeps_its_form_and_depth_is_bounded),
        cmocka_unit_test(compiling_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
