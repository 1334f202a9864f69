/* tests/app/test_precision.c — what --precision auto means for a measured cosine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "app/app_internal.h"

#include <math.h>

static void check(double cosine, bool fast, im_precision expected, const char *why_part)
{
    const char *why = NULL;
    assert_int_equal(precision_choose(cosine, fast, &why), expected);
    if (strstr(why, why_part) == NULL) {
        fail_msg("'%s' does not say '%s'", why, why_part);
    }
}

static void auto_is_the_fastest_that_is_good_enough(void **state)
{
    (void)state;
    check(0.9995, true, IM_PRECISION_BF16, "as good");
    check(1, true, IM_PRECISION_BF16, "faster");
    check(0.99949, true, IM_PRECISION_FP32, "loses");
    check(0, true, IM_PRECISION_FP32, "loses");
    check((double)NAN, true, IM_PRECISION_FP32, "loses");
    check(-1, true, IM_PRECISION_FP32, "not measured");
    check(0.99999, false, IM_PRECISION_FP32, "not faster");
    check(0.9, false, IM_PRECISION_FP32, "loses");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(auto_is_the_fastest_that_is_good_enough)};
    return cmocka_run_group_tests_name("app precision", tests, NULL, NULL);
}
