/* tests/base/test_fault.c — base/fault.c */
#include "support.h"

#include "base/clock.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>

static void nothing_strikes_before_it_is_set(void **state)
{
    (void)state;
    for (int kind = 0; kind < IM_FAULT_KIND_COUNT; kind++) {
        assert_false(im_fault_hit((im_fault_kind)kind));
        assert_int_equal(im_fault_calls((im_fault_kind)kind), 0); /* idle: not even counted */
    }
}

static void the_nth_call_fails_once(void **state)
{
    (void)state;
    for (int k = 0; k < IM_FAULT_KIND_COUNT; k++) {
        im_fault_kind kind = (im_fault_kind)k;
        for (size_t nth = 0; nth < 5; nth++) {
            im_fault_set(kind, nth, 0);
            for (size_t call = 0; call < 10; call++) {
                assert_int_equal(im_fault_fired(kind), call > nth);
                errno = 0;
                bool hit = im_fault_hit(kind);
                assert_int_equal(hit, call == nth);
                assert_int_equal(errno != 0, hit);
                assert_int_equal(im_fault_calls(kind), call + 1);
            }
            im_fault_kind other = (im_fault_kind)((k + 1) % IM_FAULT_KIND_COUNT);
            assert_false(im_fault_hit(other));
        }
        im_fault_clear();
        assert_false(im_fault_fired(kind));
        assert_int_equal(im_fault_calls(kind), 0);
        assert_false(im_fault_hit(kind));
        assert_int_equal(im_fault_calls(kind), 1);
        im_fault_clear();
    }
}

static void the_chosen_errno_is_reported(void **state)
{
    (void)state;
    im_fault_set(IM_FAULT_WRITE, 0, ENOSPC);
    assert_true(im_fault_hit(IM_FAULT_WRITE));
    assert_int_equal(errno, ENOSPC);
    im_fault_set(IM_FAULT_THREAD, 0, 0);
    assert_true(im_fault_hit(IM_FAULT_THREAD));
    assert_int_equal(errno, EAGAIN);
    im_fault_clear();
}

static void *hit_many(void *argument)
{
    size_t *hits = argument;
    for (int i = 0; i < 10000; i++) {
        *hits += im_fault_hit(IM_FAULT_READ);
    }
    return NULL;
}

static void exactly_one_of_many_threads_is_struck(void **state)
{
    (void)state;
    pthread_t threads[4];
    size_t hits[4] = {0};
    im_fault_set(IM_FAULT_READ, 20000, 0);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, hit_many, &hits[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(hits[0] + hits[1] + hits[2] + hits[3], 1);
    assert_int_equal(im_fault_calls(IM_FAULT_READ), 40000);
    im_fault_clear();
}

static void the_environment_sets_a_fault(void **state)
{
    (void)state;
    assert_int_equal(setenv("IMAGO_FAULT", "sync:2:28", 1), 0);
    im_fault_from_environment();
    assert_false(im_fault_hit(IM_FAULT_SYNC));
    assert_false(im_fault_hit(IM_FAULT_SYNC));
    assert_true(im_fault_hit(IM_FAULT_SYNC));
    assert_int_equal(errno, 28);
    assert_int_equal(setenv("IMAGO_FAULT", "rename:0", 1), 0);
    im_fault_from_environment();
    assert_true(im_fault_hit(IM_FAULT_RENAME));
    assert_int_equal(errno, EIO);
    im_fault_clear();
    assert_int_equal(unsetenv("IMAGO_FAULT"), 0);
    im_fault_from_environment();
}

static void read_environment(void *text)
{
    (void)setenv("IMAGO_FAULT", text, 1);
    im_fault_from_environment();
}

static void a_setting_that_is_not_understood_stops_the_process(void **state)
{
    (void)state;
    static const char *const texts[] = {"alloc",     "alloc:",      "alloc:x", "none:1",
                                        "alloc:1:x", "alloc:1:2:3", ":1",      "alloc:-1"};
    for (size_t i = 0; i < IM_COUNT(texts); i++) {
        int status = test_in_child(read_environment, (void *)(uintptr_t)texts[i]);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
}

static void pass_points(void *setting)
{
    (void)setenv("IMAGO_FAULT_KILL", setting, 1);
    im_fault_from_environment();
    for (int i = 0; i < 3; i++) {
        im_fault_point("vectors_syncedX");
        im_fault_point("vectors_synced");
    }
    _exit(7);
}

static void the_named_point_kills_at_the_chosen_time(void **state)
{
    (void)state;
    static const struct {
        const char *setting;
        bool dies;
    } rows[] = {{"vectors_synced", true},    {"vectors_synced:0", true}, {"vectors_synced:2", true},
                {"vectors_synced:3", false}, {"vectors", false},         {"other", false}};
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        int status = test_in_child(pass_points, (void *)(uintptr_t)rows[i].setting);
        if (rows[i].dies) {
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        } else {
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
        }
    }
}

static void pass_slow_points(void *setting)
{
    (void)setenv("IMAGO_FAULT_WAIT", setting, 1);
    im_fault_from_environment();
    uint64_t start = im_clock_ns();
    for (int i = 0; i < 3; i++) {
        im_fault_point("encode");
    }
    _exit(im_clock_ms_since(start) >= 900 ? 8 : 7);
}

static void the_named_point_takes_its_time_once(void **state)
{
    (void)state;
    static const struct {
        const char *setting;
        int exit_code; /* 0: not understood */
    } rows[] = {{"encode:2:1", 8}, {"encode:3:1", 7}, {"other:0:1", 7}, {"encode:1", 0},
                {"encode", 0},     {"encode:x:1", 0}, {"encode:1:0", 0}};
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        int status = test_in_child(pass_slow_points, (void *)(uintptr_t)rows[i].setting);
        if (rows[i].exit_code != 0) {
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == rows[i].exit_code);
        } else {
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_strikes_before_it_is_set),
        cmocka_unit_test(the_nth_call_fails_once),
        cmocka_unit_test(the_chosen_errno_is_reported),
        cmocka_unit_test(exactly_one_of_many_threads_is_struck),
        cmocka_unit_test(the_environment_sets_a_fault),
        cmocka_unit_test(a_setting_that_is_not_understood_stops_the_process),
        cmocka_unit_test(the_named_point_kills_at_the_chosen_time),
        cmocka_unit_test(the_named_point_takes_its_time_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
