/* tests/daemon/test_settle.c — covers daemon/watch_settle.c, with a clock and files of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/fault.h"
#include "daemon/watch_settle_internal.h"

#include <stdio.h>
#include <string.h>

#define MS 1000000ull
#define AT(ms) ((uint64_t)(ms)*MS + 1) /* 0 is no moment */

typedef struct fixture {
    settle *s;
    settle_sight sight; /* of every file */
    size_t looks;
    char *taken[64];
    size_t n;
} fixture;

static settle_sight look(void *context, const char *path)
{
    fixture *f = context;
    assert_non_null(path);
    f->looks++;
    return f->sight;
}

static void forget_taken(fixture *f)
{
    for (size_t i = 0; i < f->n; i++) {
        im_free(f->taken[i]);
    }
    f->n = 0;
}

static int set_up(void **state)
{
    static fixture f;
    f = (fixture){.s = settle_new(), .sight = {.is_file = true, .writer = SETTLE_WRITER_NONE}};
    *state = &f;
    return f.s == NULL;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    forget_taken(f);
    settle_free(f->s);
    assert_int_equal(im_live_allocations(), 0);
    return 0;
}

/* What may be handed over at a moment. */
static size_t take(fixture *f, uint64_t now_ns)
{
    forget_taken(f);
    f->n = settle_take(f->s, now_ns, look, f, f->taken, IM_COUNT(f->taken));
    return f->n;
}

static void a_path_waits_until_it_is_quiet(void **state)
{
    fixture *f = *state;
    assert_true(settle_due_ns(f->s) == UINT64_MAX);
    assert_true(settle_note(f->s, "/a", SETTLE_CLOSED, AT(0)));
    assert_true(settle_due_ns(f->s) == AT(SETTLE_QUIET_MS));
    assert_int_equal(take(f, AT(SETTLE_QUIET_MS - 1)), 0);
    assert_true(settle_note(f->s, "/a", SETTLE_CLOSED, AT(100)));
    assert_int_equal(take(f, AT(SETTLE_QUIET_MS)), 0);
    assert_int_equal(f->looks, 0);
    assert_int_equal(take(f, AT(100 + SETTLE_QUIET_MS)), 1);
    assert_string_equal(f->taken[0], "/a");
    assert_int_equal(settle_count(f->s), 0);
    assert_true(settle_due_ns(f->s) == UINT64_MAX);
}

static void a_path_that_never_rests_is_taken_in_the_end(void **state)
{
    fixture *f = *state;
    unsigned taken_at = 0;
    for (unsigned ms = 0; ms < 3 * SETTLE_MOST_MS && taken_at == 0; ms += 50) {
        assert_true(settle_note(f->s, "/a", SETTLE_CLOSED, AT(ms)));
        taken_at = take(f, AT(ms)) > 0 ? ms : 0;
    }
    assert_in_range(taken_at, SETTLE_MOST_MS, SETTLE_MOST_MS + 50);
}

/* One does not hold up another: a stream of files is handed over as it comes. */
static void a_stream_of_paths_does_not_starve(void **state)
{
    fixture *f = *state;
    size_t taken = 0;
    for (unsigned ms = 0; ms < 2000; ms += 50) {
        char path[32];
        (void)snprintf(path, sizeof(path), "/%u", ms);
        assert_true(settle_note(f->s, path, SETTLE_CLOSED, AT(ms)));
        taken += take(f, AT(ms));
    }
    assert_in_range(taken, 35, 39);
}

static void a_writer_is_waited_for(void **state)
{
    fixture *f = *state;
    f->sight.writer = SETTLE_WRITER;
    assert_true(settle_note(f->s, "/a", SETTLE_OPENED, AT(0)));
    for (unsigned ms = 200; ms < 60000; ms += 200) { /* it grows, without an event */
        f->sight.size = ms;
        assert_int_equal(take(f, AT(ms)), 0);
    }
    assert_true(f->looks <= 60000 / SETTLE_LOOK_MS);
    assert_true(settle_note(f->s, "/a", SETTLE_CLOSED, AT(60000)));
    f->sight.writer = SETTLE_WRITER_NONE;
    assert_int_equal(take(f, AT(60000 + SETTLE_QUIET_MS)), 1);
}

/* Another one has it open again: its close is waited for. */
static void the_close_of_one_writer_is_not_that_of_all(void **state)
{
    fixture *f = *state;
    f->sight.writer = SETTLE_WRITER;
    assert_true(settle_note(f->s, "/a", SETTLE_CLOSED, AT(0)));
    assert_int_equal(take(f, AT(SETTLE_QUIET_MS)), 0);
    f->sight.writer = SETTLE_WRITER_NONE;
    assert_int_equal(take(f, AT(SETTLE_QUIET_MS + SETTLE_LOOK_MS)), 1);
}

static void check_still(fixture *f, settle_writer writer, unsigned wanted_ms)
{
    unsigned first = SETTLE_QUIET_MS; /* the first look */
    f->sight.writer = writer;
    f->sight.size = 1;
    assert_true(settle_note(f->s, "/a", SETTLE_OPENED, AT(0)));
    assert_int_equal(take(f, AT(first)), 0);
    f->sight.mtime_ns++; /* changed: from here on anew */
    assert_int_equal(take(f, AT(first + 1000)), 0);
    unsigned ms = first + 1000;
    while (take(f, AT(ms)) == 0) {
        assert_true(ms <= first + 1000 + wanted_ms + SETTLE_LOOK_MS);
        ms += 100;
    }
    assert_in_range(ms, first + 1000 + wanted_ms, first + 1000 + wanted_ms + SETTLE_LOOK_MS);
}

static void a_still_file_is_taken_when_nobody_knows_of_a_writer(void **state)
{
    check_still(*state, SETTLE_WRITER_UNKNOWN, SETTLE_STILL_MS);
}

static void a_still_file_is_taken_from_a_writer_who_never_closes(void **state)
{
    check_still(*state, SETTLE_WRITER, SETTLE_HELD_MS);
}

static void a_close_is_believed_where_writers_are_unknown(void **state)
{
    fixture *f = *state;
    f->sight.writer = SETTLE_WRITER_UNKNOWN;
    assert_true(settle_note(f->s, "/a", SETTLE_OPENED, AT(0)));
    assert_true(settle_note(f->s, "/a", SETTLE_CLOSED, AT(10)));
    assert_int_equal(take(f, AT(10 + SETTLE_QUIET_MS)), 1);
    assert_true(settle_note(f->s, "/b", SETTLE_CLOSED, AT(1000)));
    assert_true(settle_note(f->s, "/b", SETTLE_GONE, AT(1010)));
    assert_true(settle_note(f->s, "/b", SETTLE_OPENED, AT(1020))); /* another file, not closed */
    assert_int_equal(take(f, AT(1020 + SETTLE_QUIET_MS)), 0);
    assert_int_equal(settle_count(f->s), 1);
}

static void what_is_gone_comes_behind_what_is_there(void **state)
{
    fixture *f = *state;
    f->sight.is_file = false;
    assert_true(settle_note(f->s, "/old", SETTLE_GONE, AT(0)));
    assert_true(settle_note(f->s, "/new", SETTLE_CLOSED, AT(0)));
    assert_int_equal(take(f, AT(SETTLE_QUIET_MS)), 2);
    assert_string_equal(f->taken[0], "/new");
    assert_string_equal(f->taken[1], "/old");
    assert_true(settle_note(f->s, "/x", SETTLE_GONE, AT(1000)));
    assert_true(settle_note(f->s, "/y", SETTLE_CLOSED, AT(1000)));
    forget_taken(f);
    f->n = settle_take(f->s, AT(2000), look, f, f->taken, 1);
    assert_string_equal(f->taken[0], "/y");
    assert_int_equal(settle_count(f->s), 1);
    settle_forget_all(f->s);
    assert_int_equal(settle_count(f->s), 0);
}

static void too_many_are_said(void **state)
{
    fixture *f = *state;
    char path[32];
    for (unsigned i = 0; i < SETTLE_PATHS_MOST; i++) {
        (void)snprintf(path, sizeof(path), "/%u", i);
        assert_true(settle_note(f->s, path, SETTLE_CLOSED, AT(0)));
    }
    assert_false(settle_note(f->s, "/one more", SETTLE_CLOSED, AT(0)));
    assert_true(settle_note(f->s, "/7", SETTLE_CLOSED, AT(0))); /* is there already */
    assert_int_equal(settle_count(f->s), SETTLE_PATHS_MOST);
}

static void each_allocation_may_fail(void **state)
{
    fixture *f = *state;
    bool noted = false;
    for (size_t nth = 0; !noted; nth++) {
        im_fault_set(IM_FAULT_ALLOC, nth, 0);
        noted = settle_note(f->s, "/a", SETTLE_CLOSED, AT(0));
        im_fault_clear();
        assert_int_equal(settle_count(f->s), noted);
        assert_true(nth < 10);
    }
    assert_int_equal(take(f, AT(1000)), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_path_waits_until_it_is_quiet, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_path_that_never_rests_is_taken_in_the_end, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_stream_of_paths_does_not_starve, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_writer_is_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_close_of_one_writer_is_not_that_of_all, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_still_file_is_taken_when_nobody_knows_of_a_writer, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_still_file_is_taken_from_a_writer_who_never_closes,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_close_is_believed_where_writers_are_unknown, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_gone_comes_behind_what_is_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_many_are_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(each_allocation_may_fail, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
