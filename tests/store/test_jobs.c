/* tests/store/test_jobs.c — jobs: their states, who gets them, what a restart finds; roots that are
 * watched, counted and dropped; each entry point with every allocation failing. */
#include "base/base.h"
#include "base/fault.h"
#include "tests/store/help.h"
#include <stdio.h>
#include <string.h>

static int set_up(void **state)
{
    *state = help_fixture_new("/photos");
    return 0;
}

static im_error err = IM_ERROR_INIT;

static uint64_t put(im_store *store, const char *arguments)
{
    uint64_t id = 0;
    assert_int_equal(im_store_put_job(store, "add", arguments, &id, &err), IM_OK);
    assert_true(id != 0);
    return id;
}

static void check_state(im_store *store, uint64_t id, im_job_state state)
{
    im_job job;
    assert_int_equal(im_store_get_job(store, id, &job, &err), IM_OK);
    assert_int_equal(job.state, state);
    assert_int_equal(job.ended_ns != 0, im_job_has_ended(state));
    im_job_clear(&job);
}

static void jobs_are_claimed_in_their_order_and_once(void **state)
{
    help_fixture *f = *state;
    im_job job;
    uint64_t waiting = 0;
    uint64_t running = 0;
    uint64_t first = put(f->store, "{\"paths\":[\"/a\"]}");
    uint64_t second = put(f->store, "{}");
    im_store *other = help_open(f->folder, IM_STORE_WRITE);
    assert_int_equal(im_store_claim_job(f->store, IM_JOB_LANE_WORK, &job, &err), IM_OK);
    assert_int_equal(job.id, first);
    assert_int_equal(job.state, IM_JOB_RUNNING);
    assert_string_equal(job.kind, "add");
    assert_string_equal(job.arguments, "{\"paths\":[\"/a\"]}");
    assert_null(job.progress);
    im_job_clear(&job);
    assert_int_equal(im_store_claim_job(other, IM_JOB_LANE_WORK, &job, &err), IM_OK);
    assert_int_equal(job.id, second);
    im_job_clear(&job);
    assert_int_equal(im_store_claim_job(other, IM_JOB_LANE_WORK, &job, &err), IM_OK);
    assert_int_equal(job.id, 0);
    assert_int_equal(im_store_count_jobs(other, &waiting, &running, &err), IM_OK);
    assert_int_equal(waiting, 0);
    assert_int_equal(running, 2);
    im_store_close(other);
}

/* Each lane sees its own jobs alone, and keeps its own number of those that ended. */
static void lanes_do_not_wait_for_each_other(void **state)
{
    help_fixture *f = *state;
    im_job job;
    uint64_t work = put(f->store, "{}");
    uint64_t watch = 0;
    uint64_t n = 0;
    assert_int_equal(im_store_put_job(f->store, IM_JOB_KIND_WATCH, "{}", &watch, &err), IM_OK);
    assert_int_equal(im_store_claim_job(f->store, IM_JOB_LANE_WATCH, &job, &err), IM_OK);
    assert_int_equal(job.id, watch);
    im_job_clear(&job);
    assert_int_equal(im_store_claim_job(f->store, IM_JOB_LANE_WATCH, &job, &err), IM_OK);
    assert_int_equal(job.id, 0);
    assert_int_equal(im_store_claim_job(f->store, IM_JOB_LANE_WORK, &job, &err), IM_OK);
    assert_int_equal(job.id, work);
    im_job_clear(&job);
    assert_int_equal(im_store_revive_jobs(f->store, IM_JOB_LANE_WATCH, &n, &err), IM_OK);
    assert_int_equal(n, 1);
    check_state(f->store, work, IM_JOB_RUNNING);
    check_state(f->store, watch, IM_JOB_WAITING);
    assert_int_equal(im_store_set_job(f->store, work, IM_JOB_DONE, NULL, NULL, &err), IM_OK);
    for (int i = 0; i < 110; i++) {
        assert_int_equal(im_store_set_job(f->store, watch, IM_JOB_DONE, NULL, NULL, &err), IM_OK);
        assert_int_equal(im_store_put_job(f->store, IM_JOB_KIND_WATCH, "{}", &watch, &err), IM_OK);
    }
    check_state(f->store, work, IM_JOB_DONE);
    check_state(f->store, watch - 100, IM_JOB_DONE);
    assert_int_equal(im_store_get_job(f->store, watch - 101, &job, &err), IM_ERR_NOT_FOUND);
}

static void what_has_ended_stays_ended(void **state)
{
    help_fixture *f = *state;
    const im_job_state ends[] = {IM_JOB_DONE, IM_JOB_FAILED, IM_JOB_STOPPED};
    for (size_t i = 0; i < IM_COUNT(ends); i++) {
        im_job job;
        uint64_t id = put(f->store, "{}");
        assert_int_equal(
            im_store_set_job(f->store, id, ends[i], "{\"done\":3}", "{\"code\":\"io\"}", &err),
            IM_OK);
        check_state(f->store, id, ends[i]);
        assert_int_equal(im_store_get_job(f->store, id, &job, &err), IM_OK);
        assert_string_equal(job.progress, "{\"done\":3}");
        assert_string_equal(job.error, "{\"code\":\"io\"}");
        im_job_clear(&job);
        for (int to = IM_JOB_WAITING; to <= IM_JOB_STOPPED; to++) {
            assert_int_equal(im_store_set_job(f->store, id, (im_job_state)to, NULL, NULL, &err),
                             IM_ERR_CONFLICT);
        }
        check_state(f->store, id, ends[i]);
    }
    assert_int_equal(im_store_set_job(f->store, 999, IM_JOB_DONE, NULL, NULL, &err),
                     IM_ERR_NOT_FOUND);
    im_job job;
    assert_int_equal(im_store_get_job(f->store, 999, &job, &err), IM_ERR_NOT_FOUND);
}

static void what_ran_waits_again_after_a_restart(void **state)
{
    help_fixture *f = *state;
    im_job job;
    uint64_t n = 0;
    uint64_t ran = put(f->store, "{}");
    uint64_t done = put(f->store, "{}");
    assert_int_equal(im_store_set_job(f->store, done, IM_JOB_DONE, NULL, NULL, &err), IM_OK);
    assert_int_equal(im_store_claim_job(f->store, IM_JOB_LANE_WORK, &job, &err), IM_OK);
    assert_int_equal(job.id, ran);
    im_job_clear(&job);
    im_store_close(f->store);
    f->store = help_open(f->folder, IM_STORE_WRITE);
    check_state(f->store, ran, IM_JOB_RUNNING);
    assert_int_equal(im_store_revive_jobs(f->store, IM_JOB_LANE_WORK, &n, &err), IM_OK);
    assert_int_equal(n, 1);
    check_state(f->store, ran, IM_JOB_WAITING);
    check_state(f->store, done, IM_JOB_DONE);
}

typedef struct seen {
    uint64_t n, last;
} seen;

static bool see(void *context, const im_job *job)
{
    seen *s = context;
    assert_true(s->n == 0 || job->id < s->last);
    s->last = job->id;
    s->n++;
    return true;
}

static void old_ends_are_forgotten_and_nothing_that_waits(void **state)
{
    help_fixture *f = *state;
    seen s = {0};
    uint64_t waits = put(f->store, "{}");
    assert_int_equal(im_store_begin(f->store, &err), IM_OK);
    for (size_t i = 0; i < 1100; i++) {
        uint64_t id = put(f->store, "{}");
        assert_int_equal(im_store_set_job(f->store, id, IM_JOB_DONE, NULL, NULL, &err), IM_OK);
    }
    assert_int_equal(im_store_commit(f->store, &err), IM_OK);
    assert_int_equal(im_store_each_job(f->store, see, &s, &err), IM_OK);
    assert_true(s.n >= 1001 && s.n <= 1002);
    assert_int_equal(s.last, waits);
    check_state(f->store, waits, IM_JOB_WAITING);
}

static bool check_watch(void *context, const im_root *root)
{
    assert_int_equal(root->watch, *(bool *)context);
    return true;
}

static void roots_are_watched_and_dropped_when_empty(void **state)
{
    help_fixture *f = *state;
    im_root_counts counts;
    bool watch = false;
    assert_int_equal(im_store_each_root(f->store, check_watch, &watch, &err), IM_OK);
    watch = true;
    assert_int_equal(im_store_set_root_watch(f->store, f->root, true, &err), IM_OK);
    assert_int_equal(im_store_each_root(f->store, check_watch, &watch, &err), IM_OK);
    assert_int_equal(im_store_set_root_watch(f->store, 99, true, &err), IM_ERR_NOT_FOUND);
    uint64_t item = help_put(f->store, f->root, help_model(f->store, "one"), 1, 0);
    assert_int_equal(im_store_count_root(f->store, f->root, &counts, &err), IM_OK);
    assert_int_equal(counts.files, 1);
    assert_int_equal(counts.items, 1);
    assert_int_equal(counts.missing_files, 0);
    assert_int_equal(im_store_drop_root(f->store, f->root, &err), IM_ERR_CONFLICT);
    assert_int_equal(im_store_remove_item(f->store, item, &err), IM_OK);
    assert_int_equal(im_store_drop_root(f->store, f->root, &err), IM_OK);
    assert_int_equal(im_store_drop_root(f->store, f->root, &err), IM_ERR_NOT_FOUND);
}

static void end_all(im_store *store)
{
    im_job job = {.id = 1};
    uint64_t n = 0;
    assert_int_equal(im_store_revive_jobs(store, IM_JOB_LANE_WORK, &n, &err), IM_OK);
    while (job.id != 0) {
        assert_int_equal(im_store_claim_job(store, IM_JOB_LANE_WORK, &job, &err), IM_OK);
        if (job.id != 0) {
            assert_int_equal(im_store_set_job(store, job.id, IM_JOB_DONE, NULL, NULL, &err), IM_OK);
        }
        n = job.id;
        im_job_clear(&job);
        job.id = n;
    }
}

/* Put, claim, set: nothing leaks and nothing is half done whichever allocation fails. */
static void every_allocation_may_fail(void **state)
{
    help_fixture *f = *state;
    bool struck = true;
    size_t live = help_reopen(f); /* SQLite keeps statements and pages until it is closed */
    (void)put(f->store, "{}");
    end_all(f->store); /* statements are kept from here on */
    for (size_t nth = 0; struck; nth++) {
        uint64_t id = 0;
        im_job job = {0};
        im_fault_set(IM_FAULT_ALLOC, nth, 0);
        im_code rc = im_store_put_job(f->store, "add", "{}", &id, &err);
        rc = rc == IM_OK ? im_store_claim_job(f->store, IM_JOB_LANE_WORK, &job, &err) : rc;
        if (rc == IM_OK) {
            rc = im_store_set_job(f->store, job.id, IM_JOB_DONE, "{}", NULL, &err);
        }
        struck = im_fault_fired(IM_FAULT_ALLOC);
        im_fault_clear();
        im_job_clear(&job);
        end_all(f->store);
        assert_true(rc == IM_OK || rc == IM_ERR_NOMEM);
        assert_true(struck || rc == IM_OK);
    }
    assert_int_equal(help_reopen(f), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lanes_do_not_wait_for_each_other, set_up,
                                        help_fixture_tear_down),
        cmocka_unit_test_setup_teardown(jobs_are_claimed_in_their_order_and_once, set_up,
                                        help_fixture_tear_down),
        cmocka_unit_test_setup_teardown(what_has_ended_stays_ended, set_up, help_fixture_tear_down),
        cmocka_unit_test_setup_teardown(what_ran_waits_again_after_a_restart, set_up,
                                        help_fixture_tear_down),
        cmocka_unit_test_setup_teardown(old_ends_are_forgotten_and_nothing_that_waits, set_up,
                                        help_fixture_tear_down),
        cmocka_unit_test_setup_teardown(roots_are_watched_and_dropped_when_empty, set_up,
                                        help_fixture_tear_down),
        cmocka_unit_test_setup_teardown(every_allocation_may_fail, set_up, help_fixture_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
