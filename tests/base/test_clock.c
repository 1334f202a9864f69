/* tests/base/test_clock.c — base/clock.c */
#include "base/clock.h"
#include "support.h"
#include <signal.h>
#include <time.h>

static void the_monotonic_clock_never_goes_back(void **state)
{
    (void)state;
    uint64_t before = im_clock_ns();
    for (int i = 0; i < 100000; i++) {
        uint64_t now = im_clock_ns();
        assert_true(now >= before);
        before = now;
    }
}

static void elapsed_time_is_in_milliseconds_and_never_negative(void **state)
{
    (void)state;
    uint64_t now = im_clock_ns();
    assert_true(im_clock_ms_since(now + 1000000000u) == 0.0);
    double ms = im_clock_ms_since(now - 250000000u);
    assert_true(ms >= 250.0 && ms < 60000.0);
}

static void the_wall_clock_agrees_with_time(void **state)
{
    (void)state;
    int64_t seconds = im_clock_wall_ns() / 1000000000;
    int64_t expected = (int64_t)time(NULL);
    assert_true(seconds >= expected - 2 && seconds <= expected + 2);
}

static void on_signal(int number)
{
    im_stop_ask(number);
}

static void a_signal_handler_can_ask_to_stop(void **state)
{
    (void)state;
    assert_false(im_stop_asked());
    assert_int_equal(im_stop_signal(), 0);
    struct sigaction action = {0};
    action.sa_handler = on_signal;
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    assert_int_equal(raise(SIGUSR1), 0);
    assert_true(im_stop_asked());
    assert_int_equal(im_stop_signal(), SIGUSR1);
    im_stop_reset();
    assert_false(im_stop_asked());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_monotonic_clock_never_goes_back),
        cmocka_unit_test(elapsed_time_is_in_milliseconds_and_never_negative),
        cmocka_unit_test(the_wall_clock_agrees_with_time),
        cmocka_unit_test(a_signal_handler_can_ask_to_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
