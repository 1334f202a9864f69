/* tests/base/test_text_number.c — base/text_number.c. The locale test needs one with a decimal
 * comma and says so when there is none. */
#include "support.h"
#include <float.h>
#include <locale.h>
#include <math.h>

static void whole_numbers_in_range_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t value;
    } good[] = {{"0", 0},
                {"007", 7},
                {"18446744073709551615", UINT64_MAX},
                {"0000000000000000000000000000001", 1}};
    for (size_t i = 0; i < IM_COUNT(good); i++) {
        uint64_t value = 99;
        assert_true(im_parse_u64(good[i].text, 0, UINT64_MAX, &value));
        assert_true(value == good[i].value);
    }
    static const char *const bad[] = {"",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "10abc",
                                      "0x10",
                                      "1.0",
                                      "1e3",
                                      "18446744073709551616",
                                      "99999999999999999999",
                                      "\xd9\xa1"};
    for (size_t i = 0; i < IM_COUNT(bad); i++) {
        uint64_t value = 99;
        assert_false(im_parse_u64(bad[i], 0, UINT64_MAX, &value));
        assert_true(value == 99); /* untouched */
    }
    uint64_t value = 0;
    assert_false(im_parse_u64(NULL, 0, 1, &value));
    assert_true(im_parse_u64("5", 5, 5, &value) && value == 5);
    assert_false(im_parse_u64("4", 5, 9, &value));
    assert_false(im_parse_u64("10", 5, 9, &value));
}

static void decimal_numbers_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double value;
    } good[] = {{"0", 0},       {"-0.5", -0.5},  {".5", .5},    {"5.", 5},       {"1e3", 1000},
                {"1E-3", .001}, {"1.5e+2", 150}, {"1e-999", 0}, {"007.25", 7.25}};
    for (size_t i = 0; i < IM_COUNT(good); i++) {
        double value = 99;
        assert_true(im_parse_double(good[i].text, &value));
        assert_true(value == good[i].value);
    }
    static const char *const bad[] = {
        "",    ".",  "-",     "+1",  " 1",    "1 ", "1,5",  "0x10", "inf",    "nan", "1e",
        "1e+", "e5", "1e999", "--1", "1.2.3", "-",  "-inf", "1e5x", "NAN(1)", "-.",  "1d3"};
    for (size_t i = 0; i < IM_COUNT(bad); i++) {
        double value = 99;
        assert_false(im_parse_double(bad[i], &value));
        assert_true(value == 99);
    }
    double value = 0;
    assert_false(im_parse_double(NULL, &value));
}

static float random_float(uint64_t *seed)
{
    float value;
    uint32_t bits;
    do {
        bits = (uint32_t)test_random(seed);
        memcpy(&value, &bits, sizeof value);
    } while (!isfinite(value));
    return value;
}

static void floats_read_back_the_same(void **state)
{
    (void)state;
    uint64_t seed = 5;
    for (int i = 0; i < 100000; i++) {
        char text[IM_NUMBER_BYTES];
        float value = random_float(&seed);
        float back = strtof(im_text_float(value, text), NULL);
        assert_memory_equal(&back, &value, sizeof value);
        assert_true(strlen(text) < 20);
    }
}

static void doubles_read_back_the_same(void **state)
{
    (void)state;
    uint64_t seed = 6;
    for (int i = 0; i < 100000; i++) {
        char text[IM_NUMBER_BYTES];
        double value;
        uint64_t bits = test_random(&seed);
        memcpy(&value, &bits, sizeof value);
        if (isfinite(value)) {
            double back = strtod(im_text_double(value, text), NULL);
            assert_memory_equal(&back, &value, sizeof value);
        }
    }
}

static void short_numbers_stay_short(void **state)
{
    (void)state;
    char text[IM_NUMBER_BYTES];
    assert_string_equal(im_text_float(0.1f, text), "0.1");
    assert_string_equal(im_text_float(1.0f, text), "1");
    assert_string_equal(im_text_float(-0.0f, text), "-0");
    assert_string_equal(im_text_float(16777216.0f, text), "16777216");
    assert_string_equal(im_text_float(FLT_MAX, text), "3.4028235e+38");
    assert_string_equal(im_text_double(0.1, text), "0.1");
    assert_string_equal(im_text_double(0.1 + 0.2, text), "0.30000000000000004");
    assert_string_equal(im_text_double(-DBL_MAX, text), "-1.7976931348623157e+308");
    assert_string_equal(im_text_double(5e-324, text), "4.94065645841247e-324");
}

static void quantities_of_bytes_read_well(void **state)
{
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } rows[] = {{0, "0 B"},
                {999, "999 B"},
                {1000, "1.0 kB"},
                {1049, "1.0 kB"},
                {1050, "1.1 kB"},
                {999949, "999.9 kB"},
                {999950, "1.0 MB"},
                {1234567, "1.2 MB"},
                {999999999, "1.0 GB"},
                {4000000000, "4.0 GB"},
                {UINT64_MAX, "18.4 EB"}};
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        char text[16];
        assert_string_equal(im_text_bytes(rows[i].bytes, text), rows[i].text);
    }
}

/* A locale with a decimal comma: one of the machine's, else one that localedef makes here. */
static bool use_comma_locale(void)
{
    static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "es_ES.UTF-8", "nl_NL.UTF-8"};
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < IM_COUNT(names); i++) {
            if (setlocale(LC_NUMERIC, names[i]) != NULL && localeconv()->decimal_point[0] == ',') {
                return true;
            }
        }
        if (round == 0 &&
            (setenv("LOCPATH", ".", 1) != 0 ||
             system("localedef -f UTF-8 -i de_DE ./de_DE.UTF-8 >/dev/null 2>&1") < 0)) {
            return false;
        }
    }
    return false;
}

static void a_decimal_comma_changes_nothing(void **state)
{
    (void)state;
    bool found = use_comma_locale();
    if (!found) {
        print_message("skipped: no locale with a decimal comma can be had\n");
        skip();
    }
    char text[IM_NUMBER_BYTES];
    double value = 0;
    im_str str;
    im_str_init(&str, 100);
    im_error err = IM_ERROR_INIT;
    im_str_addf(&str, "%.2f", 1.5);
    (void)!im_fail(&err, IM_ERR_INVALID, "%.1f", 2.5);
    assert_string_equal(im_text_float(0.25f, text), "0.25");
    assert_string_equal(im_text_double(0.25, text), "0.25");
    assert_string_equal(im_str_text(&str), "1.50");
    assert_string_equal(err.message, "2.5");
    assert_true(im_parse_double("1.5", &value) && value == 1.5);
    assert_false(im_parse_double("1,5", &value));
    (void)snprintf(text, sizeof text, "%.1f", 0.5);
    assert_string_equal(text, "0,5"); /* the program's own locale is as it was */
    setlocale(LC_NUMERIC, "C");
    im_str_clear(&str);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers_in_range_are_read),
        cmocka_unit_test(decimal_numbers_are_read),
        cmocka_unit_test(floats_read_back_the_same),
        cmocka_unit_test(doubles_read_back_the_same),
        cmocka_unit_test(short_numbers_stay_short),
        cmocka_unit_test(quantities_of_bytes_read_well),
        cmocka_unit_test(a_decimal_comma_changes_nothing),
    };
    return cmocka_run_group_tests(tests, test_enter_folder, test_leave_folder);
}
