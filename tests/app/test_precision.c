/* tests/app/test_precision.c — what --precision auto means for a measured cosine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/app/help.h"

#include <math.h>

static void check(double cosine, double speed, bool expected_fast, im_precision expected,
                  const char *why_part)
{
    const char *why = NULL;
    precision_gain bf16 = {cosine, speed};
    assert_int_equal(precision_choose(&bf16, expected_fast, &why), expected);
    if (strstr(why, why_part) == NULL) {
        fail_msg("'%s' does not say '%s'", why, why_part);
    }
}

static void auto_is_the_fastest_that_is_good_enough(void **state)
{
    (void)state;
    check(0.9995, 1.05, false, IM_PRECISION_BF16, "as good");
    check(1, 1.9, false, IM_PRECISION_BF16, "faster");
    check(1, 1.04, true, IM_PRECISION_FP32, "no faster");
    check(1, 0.6, true, IM_PRECISION_FP32, "no faster");
    check(0.99949, 2, true, IM_PRECISION_FP32, "loses");
    check(0, -1, true, IM_PRECISION_FP32, "loses");
    check((double)NAN, 2, true, IM_PRECISION_FP32, "loses");
    check(-1, -1, true, IM_PRECISION_FP32, "not measured");
    check(0.99999, -1, true, IM_PRECISION_BF16, "should be faster");
    check(0.99999, -1, false, IM_PRECISION_FP32, "should be no faster");
}

/* What is kept comes back; a speed of another processor does not. */
static void what_was_measured_is_kept(void **state)
{
    help_home home;
    im_store *store = NULL;
    precision_choice choice = {0};
    precision_measured measured = {{0.99998, 1.5}, {0.9996, 2.5}};
    (void)state;
    help_home_make(&home);
    assert_int_equal(im_store_create(home.places.library, NULL), IM_OK);
    assert_int_equal(im_store_open(home.places.library, IM_STORE_WRITE, &store, NULL), IM_OK);
    assert_int_equal(precision_of(store, "d", false, IM_PRECISION_AUTO, &choice, NULL), IM_OK);
    assert_true(choice.measured.bf16.cosine < 0 && choice.measured.int8.cosine < 0 &&
                choice.precision == IM_PRECISION_FP32);
    assert_int_equal(im_store_lock(store, 1000, NULL), IM_OK);
    assert_int_equal(precision_keep(store, "d", &measured, NULL), IM_OK);
    im_store_unlock(store);
    assert_int_equal(precision_of(store, "d", false, IM_PRECISION_AUTO, &choice, NULL), IM_OK);
    assert_true(choice.measured.bf16.cosine == 0.99998 && choice.measured.bf16.speed == 1.5);
    assert_true(choice.measured.int8.cosine == 0.9996 && choice.measured.int8.speed == 2.5);
    assert_int_equal(choice.precision, IM_PRECISION_BF16); /* int8 is faster, and nobody asked */
    assert_int_equal(precision_of(store, "d", true, IM_PRECISION_AUTO, &choice, NULL), IM_OK);
    assert_int_equal(choice.precision, IM_PRECISION_INT8);
    assert_int_equal(precision_of(store, "d", false, IM_PRECISION_FP32, &choice, NULL), IM_OK);
    assert_int_equal(choice.precision, IM_PRECISION_FP32);
    assert_string_equal(choice.why, "asked for");
    assert_int_equal(im_store_lock(store, 1000, NULL), IM_OK);
    assert_int_equal(im_store_set_setting(store, "bf16_speed d", "9.0 abacus", NULL), IM_OK);
    im_store_unlock(store);
    assert_int_equal(precision_of(store, "d", false, IM_PRECISION_AUTO, &choice, NULL), IM_OK);
    assert_true(choice.measured.bf16.speed < 0 && choice.measured.int8.speed == 2.5);
    im_store_close(store);
    help_home_remove(&home);
}

/* The vectors of one model in both classes have rows of their own, and lead back to its files. */
static void a_space_is_one_model_in_one_class(void **state)
{
    static const char files[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    char space[65];
    char back[65];
    im_model_row row = {.precision = "int8"};
    (void)state;
    space_of(files, false, space);
    assert_string_equal(space, files);
    space_of(files, true, space);
    assert_string_equal(space, "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210");
    memcpy(row.digest, space, sizeof(space));
    model_files_digest(&row, back);
    assert_string_equal(back, files);
    assert_true(space_differs(&row, IM_PRECISION_FP32) && space_differs(&row, IM_PRECISION_BF16));
    assert_false(space_differs(&row, IM_PRECISION_INT8) || space_differs(&row, IM_PRECISION_AUTO));
    memcpy(row.precision, "bf16", 5);
    assert_false(space_differs(&row, IM_PRECISION_FP32) || space_differs(&row, IM_PRECISION_AUTO));
    assert_true(space_differs(&row, IM_PRECISION_INT8));
}

static void int8_that_loses_too_much_is_refused(void **state)
{
    precision_measured measured = precision_nothing();
    im_error err = IM_ERROR_INIT;
    (void)state;
    assert_int_equal(precision_check_int8("m", &measured, &err), IM_OK); /* nothing to measure on */
    measured.int8.cosine = PRECISION_LEAST_INT8;
    assert_int_equal(precision_check_int8("m", &measured, &err), IM_OK);
    measured.int8.cosine = 0.5;
    assert_int_equal(precision_check_int8("m", &measured, &err), IM_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "0.5000"));
    measured.int8.cosine = 0; /* values that were not finite */
    assert_int_equal(precision_check_int8("m", &measured, &err), IM_ERR_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(auto_is_the_fastest_that_is_good_enough),
                                       cmocka_unit_test(what_was_measured_is_kept),
                                       cmocka_unit_test(a_space_is_one_model_in_one_class),
                                       cmocka_unit_test(int8_that_loses_too_much_is_refused)};
    return cmocka_run_group_tests_name("app precision", tests, NULL, NULL);
}
