/* tests/app/test_jobs.c — how jobs end: what is the fault of single files and what of the disk, and
 * what a follower learns of its batches. Covers jobs_run.c, and im_app_watch_look of watch.c. */
#include "base/fault.h"
#include "base/file.h"
#include "tests/app/help.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct fixture {
    help_home home;
    im_library *library;
    im_watch_mark mark; /* of the folder of pictures */
    size_t n_syncs;     /* of the last run */
} fixture;

static im_error err = IM_ERROR_INIT;

static int set_up(void **state)
{
    static fixture f;
    struct stat st;
    help_home_make(&f.home);
    help_png(help_path(f.home.pictures, "a.png"), 1);
    help_ok(im_app_init(&f.home.places, &err), &err);
    f.library = help_open(&f.home, true);
    (void)help_add(f.library, f.home.pictures);
    assert_int_equal(stat(f.home.pictures, &st), 0);
    f.mark = (im_watch_mark){
        .root = 1, .device = (uint64_t)st.st_dev, .inode = (uint64_t)st.st_ino, .witnessed = true};
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    im_library_close(f->library);
    help_home_remove(&f->home);
    return 0;
}

static const char *write_broken(const fixture *f, const char *name)
{
    static const char text[] = "\x89PNG\r\n\x1a\nno picture";
    const char *path = help_path(f->home.pictures, name);
    help_ok(im_file_write_atomic(path, text, sizeof text - 1, &err), &err);
    return path;
}

/* Runs the job, whose first write of `nth` fails. *out_fired: there were as many. */
static im_job_state run(fixture *f, im_job_lane lane, uint64_t id, size_t nth, bool *out_fired)
{
    atomic_bool stopped = false;
    const im_image_limits limits = {0};
    const im_events events = {0};
    im_job job;
    im_job_end end;
    help_ok(im_app_job_claim(f->library, lane, &job, &err), &err);
    assert_int_equal(job.id, id);
    im_fault_clear();
    im_fault_set(IM_FAULT_WRITE, nth, ENOSPC);
    im_app_job_run(f->library, &job, &limits, NULL, &stopped, &events, &end);
    *out_fired = im_fault_fired(IM_FAULT_WRITE);
    f->n_syncs = im_fault_calls(IM_FAULT_SYNC);
    im_fault_clear();
    im_job_clear(&job);
    im_job_state state = end.state;
    end.state = im_job_has_ended(state) ? state : IM_JOB_STOPPED; /* is not to be claimed again */
    help_ok(im_app_job_end(f->library, id, &end, &err), &err);
    im_job_end_clear(&end);
    return state;
}

#define NEVER (SIZE_MAX - 1)
#define BROKEN 300 /* more than are written in one transaction (add_encode.c) */

/* The job of a new picture and of broken ones that have not been tried, whose nth write fails. */
static im_job_state add_beside_broken_ones(fixture *f, size_t nth, bool *out_fired)
{
    char name[32];
    uint64_t id = 0;
    const char *path = f->home.pictures;
    const im_job_wish wish = {.kind = "add", .paths = &path, .n_paths = 1};
    for (int i = 0; i < BROKEN; i++) {
        (void)snprintf(name, sizeof name, "broken%d.png", i);
        (void)write_broken(f, name);
    }
    (void)snprintf(name, sizeof name, "%zu.png", nth);
    help_png(help_path(f->home.pictures, name), 1000 + (uint32_t)nth);
    help_ok(im_app_job_put(f->library, &wish, &id, &err), &err);
    return run(f, IM_JOB_LANE_WORK, id, nth, out_fired);
}

/* Of which some are known already when it strikes. */
static void a_full_disk_is_not_the_fault_of_broken_pictures(void **state)
{
    fixture *f = *state;
    size_t n_waiting = 0;
    bool fired = true;
    for (size_t nth = 0; fired; nth += 2) {
        im_job_state end = add_beside_broken_ones(f, nth, &fired);
        assert_true(end == IM_JOB_DONE || end == IM_JOB_WAITING);
        n_waiting += end == IM_JOB_WAITING;
    }
    assert_in_range(n_waiting, 1, 1000);
}

static uint64_t put_batch(fixture *f, const char *path)
{
    uint64_t id = 0;
    help_ok(im_app_watch_put(f->library, &f->mark, &path, 1, &id, &err), &err);
    assert_int_equal(im_app_watch_look(f->library, id), IM_WATCH_BATCH_OPEN);
    return id;
}

static void a_batch_of_broken_pictures_is_taken(void **state)
{
    fixture *f = *state;
    bool fired = false;
    uint64_t id = put_batch(f, write_broken(f, "broken.png"));
    assert_int_equal(run(f, IM_JOB_LANE_WATCH, id, NEVER, &fired), IM_JOB_DONE);
    assert_int_equal(im_app_watch_look(f->library, id), IM_WATCH_BATCH_TAKEN);
}

static void a_batch_that_is_stopped_or_met_another_folder_is_left(void **state)
{
    fixture *f = *state;
    bool running = false;
    const char *path = help_path(f->home.pictures, "new.png");
    help_png(path, 2);
    uint64_t id = put_batch(f, path);
    help_ok(im_app_job_stop(f->library, id, &running, &err), &err);
    assert_int_equal(im_app_watch_look(f->library, id), IM_WATCH_BATCH_LEFT);
    assert_int_equal(im_app_watch_look(f->library, id + 1), IM_WATCH_BATCH_LEFT);
    f->mark.inode++;
    id = put_batch(f, path);
    assert_int_equal(run(f, IM_JOB_LANE_WATCH, id, NEVER, &running), IM_JOB_FAILED);
    assert_int_equal(im_app_watch_look(f->library, id), IM_WATCH_BATCH_LEFT);
}

/* A disk that was unmounted while it was walked, or another one in its place: however few are gone.
 */
static void a_walk_of_another_folder_than_the_one_followed_marks_nothing(void **state)
{
    fixture *f = *state;
    uint64_t id = 0;
    bool fired = false;
    help_png(help_path(f->home.pictures, "b.png"), 2);
    assert_int_equal(unlink(help_path(f->home.pictures, "a.png")), 0);
    for (int i = 0; i < 4; i++) {
        im_watch_mark mark = f->mark;
        mark.inode += i < 2;
        mark.witnessed = i % 2 == 0;
        help_ok(im_app_watch_rescan(f->library, &mark, &id, &err), &err);
        assert_int_equal(run(f, IM_JOB_LANE_WORK, id, NEVER, &fired), IM_JOB_DONE);
        assert_int_equal(help_counts(f->library).missing_files, i < 2 ? 0 : 1);
    }
}

/* Else whoever wants to write waits for all of them, and the WAL holds all of them. */
static void very_many_that_are_gone_are_marked_in_several_transactions(void **state)
{
    fixture *f = *state;
    enum { N = 25000 };
    char name[32];
    uint64_t id = 0;
    bool fired = false;
    help_ok(im_store_begin(f->library->store, &err), &err);
    for (int i = 0; i < N; i++) {
        (void)snprintf(name, sizeof name, "gone/%d.png", i);
        const im_file_row row = {.root = 1, .path = im_view_from(name), .item = 1};
        help_ok(im_store_put_file(f->library->store, &row, NULL, &err), &err);
    }
    help_ok(im_store_commit(f->library->store, &err), &err);
    help_ok(im_app_watch_rescan(f->library, &f->mark, &id, &err), &err);
    assert_int_equal(run(f, IM_JOB_LANE_WORK, id, NEVER, &fired), IM_JOB_DONE);
    assert_int_equal(help_counts(f->library).missing_files, N);
    assert_in_range(f->n_syncs, 3, 100);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_full_disk_is_not_the_fault_of_broken_pictures),
        T(a_batch_of_broken_pictures_is_taken),
        T(a_batch_that_is_stopped_or_met_another_folder_is_left),
        T(a_walk_of_another_folder_than_the_one_followed_marks_nothing),
        T(very_many_that_are_gone_are_marked_in_several_transactions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
