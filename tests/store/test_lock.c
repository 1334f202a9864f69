/* tests/store/test_lock.c — the writer's lock between processes (T48): turns, sentences, locks of
 * the dead, and that what two add is the union. Covers lock.c. */
#include "base/clock.h"
#include "base/memory.h"
#include "store/store_internal.h"
#include "tests/store/help.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static im_error err = IM_ERROR_INIT;

static int set_up(void **state)
{
    *state = help_folder();
    help_create(*state);
    return 0;
}

static int tear_down(void **state)
{
    im_stop_reset();
    help_folder_remove(*state);
    return 0;
}

static int wait_for(pid_t child)
{
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

typedef struct thread_work {
    const char *folder;
    uint64_t first, model;
    im_code rc;
    atomic_bool started;
} thread_work;

/* A child that holds the lock until it is told to end; returns its pid. */
static pid_t hold_elsewhere(const char *folder, int *out_end)
{
    int ready[2];
    int end[2];
    char byte = 0;
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(end), 0);
    pid_t child = fork();
    if (child == 0) {
        im_store *store = NULL;
        (void)close(end[1]);
        if (im_store_open(folder, IM_STORE_WRITE, &store, NULL) != IM_OK ||
            im_store_lock(store, 0, NULL) != IM_OK || write(ready[1], "x", 1) != 1) {
            _exit(1);
        }
        (void)!read(end[0], &byte, 1);
        im_store_close(store);
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    (void)close(ready[0]);
    (void)close(ready[1]);
    (void)close(end[0]);
    *out_end = end[1];
    return child;
}

static void a_held_lock_is_busy_and_names_its_holder(void **state)
{
    int end = -1;
    char pid[24];
    pid_t child = hold_elsewhere(*state, &end);
    im_store *store = help_open(*state, IM_STORE_WRITE);
    uint64_t start = im_clock_ns();
    assert_int_equal(im_store_lock(store, 100, &err), IM_ERR_BUSY);
    assert_true(im_clock_ms_since(start) >= 99);
    assert_string_equal(err.reason, "library_busy");
    (void)snprintf(pid, sizeof pid, "process %ld", (long)child);
    assert_non_null(strstr(err.message, pid));
    im_store_close(help_open(*state, IM_STORE_READ)); /* readers do not care */
    (void)close(end);
    help_ok(im_store_lock(store, 10000, &err), &err); /* waits for its turn */
    assert_int_equal(wait_for(child), 0);
    im_store_unlock(store);
    im_store_close(store);
}

static void the_lock_of_a_dead_process_is_taken_over(void **state)
{
    int end = -1;
    pid_t child = hold_elsewhere(*state, &end);
    im_store *store = help_open(*state, IM_STORE_WRITE);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_true(WIFSIGNALED(wait_for(child)));
    help_ok(im_store_lock(store, 0, &err), &err);
    im_store_close(store);
    (void)close(end);
}

/* The number in the file is that of a living process which has nothing to do with us. */
static void a_pid_in_the_file_alone_holds_nothing(void **state)
{
    help_write(help_path(*state, "lock"), "1\n", 2);
    im_store *store = help_open(*state, IM_STORE_WRITE);
    help_ok(im_store_lock(store, 0, &err), &err);
    im_store_close(store);
}

static void a_lock_without_a_readable_pid_is_still_busy(void **state)
{
    int fd = open(help_path(*state, "lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    im_store *store = help_open(*state, IM_STORE_WRITE);
    help_write(help_path(*state, "lock"), "\xff\x01junk that is no number at all", 30);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(im_store_lock(store, 0, &err), IM_ERR_BUSY);
    assert_non_null(strstr(err.message, "another process"));
    (void)close(fd);
    im_store_close(store);
}

static void a_lock_file_that_was_taken_away_does_not_fool_anyone(void **state)
{
    im_store *a = help_open(*state, IM_STORE_WRITE);
    im_store *b = help_open(*state, IM_STORE_WRITE);
    help_ok(im_store_lock(a, 0, &err), &err);
    im_store_unlock(a);
    assert_int_equal(unlink(help_path(*state, "lock")), 0);
    help_ok(im_store_lock(b, 0, &err), &err);
    assert_int_equal(im_store_lock(a, 0, &err), IM_ERR_BUSY);
    im_store_close(a);
    im_store_close(b);
}

static void *thread_waits(void *context)
{
    thread_work *work = context;
    im_store *store = NULL;
    work->rc = im_store_open(work->folder, IM_STORE_WRITE, &store, NULL);
    if (work->rc == IM_OK) {
        atomic_store(&work->started, true);
        work->rc = im_store_lock(store, 400, NULL);
    }
    im_store_close(store);
    return NULL;
}

/* One waits for the old file, meanwhile it is taken away and another holds the new one. */
static void a_waiter_is_not_fooled_by_an_exchanged_lock_file(void **state)
{
    thread_work work = {.folder = *state};
    pthread_t thread;
    struct timespec pause = {.tv_nsec = 30000000};
    int old = open(help_path(*state, "lock"), O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(old, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(pthread_create(&thread, NULL, thread_waits, &work), 0);
    while (!atomic_load(&work.started)) {
        (void)nanosleep(&pause, NULL);
    }
    (void)nanosleep(&pause, NULL);
    int fresh = open(help_path(*state, "lock.new"), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    assert_int_equal(flock(fresh, LOCK_EX | LOCK_NB), 0);
    char from[512];
    (void)snprintf(from, sizeof from, "%s", help_path(*state, "lock.new"));
    assert_int_equal(rename(from, help_path(*state, "lock")), 0);
    (void)close(old); /* the old one is free now */
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(work.rc, IM_ERR_BUSY);
    (void)close(fresh);
}

static void the_lock_nests(void **state)
{
    im_store *a = help_open(*state, IM_STORE_WRITE);
    im_store *b = help_open(*state, IM_STORE_WRITE);
    im_store_unlock(a); /* not held: nothing */
    help_ok(im_store_lock(a, 0, &err), &err);
    help_ok(im_store_lock(a, 0, &err), &err);
    (void)help_root(a, "/x"); /* a transaction inside */
    im_store_unlock(a);
    assert_int_equal(im_store_lock(b, 0, &err), IM_ERR_BUSY);
    im_store_unlock(a);
    help_ok(im_store_lock(b, 0, &err), &err);
    im_store_close(a);
    im_store_close(b);
}

static void a_signal_ends_the_waiting(void **state)
{
    im_store *a = help_open(*state, IM_STORE_WRITE);
    im_store *b = help_open(*state, IM_STORE_WRITE);
    help_ok(im_store_lock(a, 0, &err), &err);
    im_stop_ask(SIGINT);
    assert_int_equal(im_store_lock(b, 60000, &err), IM_ERR_PARTIAL);
    assert_string_equal(err.reason, "interrupted");
    im_store_close(a);
    im_store_close(b);
}

/* ---- two that add at once ---- */

#define PER_WRITER 150
#define N_WRITERS 3

static uint64_t next_slot(im_store *store, uint64_t model)
{
    im_index_record record;
    help_ok(im_store_get_index(store, model, &record, &err), &err);
    uint64_t slot = record.n_rows;
    record.n_rows++;
    record.generation = 1;
    help_ok(im_store_set_index(store, model, &record, &err), &err);
    return slot;
}

static void add_many(const char *folder, uint64_t writer, uint64_t root, uint64_t model)
{
    im_store *store = help_open(folder, IM_STORE_WRITE);
    for (uint64_t i = 0; i < PER_WRITER;) {
        help_ok(im_store_lock(store, 60000, &err), &err);
        help_ok(im_store_begin(store, &err), &err);
        for (uint64_t j = 0; j < 5; j++, i++) {
            (void)help_put(store, root, model, writer * PER_WRITER + i, next_slot(store, model));
        }
        help_ok(im_store_commit(store, &err), &err);
        im_store_unlock(store);
    }
    im_store_close(store);
}

static void what_several_processes_add_is_the_union(void **state)
{
    im_store *store = help_open(*state, IM_STORE_WRITE);
    uint64_t root = help_root(store, "/photos");
    uint64_t model = help_model(store, "m");
    pid_t children[N_WRITERS];
    im_store_close(store);
    for (uint64_t w = 0; w < N_WRITERS; w++) {
        children[w] = fork();
        if (children[w] == 0) {
            add_many(*state, w, root, model);
            _exit(0);
        }
    }
    for (int w = 0; w < N_WRITERS; w++) {
        assert_int_equal(wait_for(children[w]), 0);
    }
    store = help_open(*state, IM_STORE_READ);
    im_store_counts counts;
    uint64_t alive = 0;
    uint64_t bits[(PER_WRITER * N_WRITERS + 63) / 64];
    help_ok(im_store_count(store, 0, &counts, &err), &err);
    assert_int_equal(counts.items, PER_WRITER * N_WRITERS);
    assert_int_equal(counts.embeddings, PER_WRITER * N_WRITERS);
    help_ok(im_store_alive_slots(store, model, PER_WRITER * N_WRITERS, bits, &alive, &err), &err);
    assert_int_equal(alive, PER_WRITER * N_WRITERS);
    help_check_clean(store);
    im_store_close(store);
}

#define PER_THREAD 40

/* Asserts nothing: cmocka is not for threads. */
static void *thread_adds(void *context)
{
    thread_work *work = context;
    im_store *store = NULL;
    work->rc = im_store_open(work->folder, IM_STORE_WRITE, &store, NULL);
    for (uint64_t n = work->first; work->rc == IM_OK && n < work->first + PER_THREAD; n++) {
        im_item item = help_item(n);
        uint64_t id = 0;
        float vector[HELP_DIM] = {0};
        work->rc = im_store_put_item(store, &item, &id, NULL);
        if (work->rc == IM_OK) {
            work->rc = im_store_put_embedding(store, id, work->model, n, vector, HELP_DIM, NULL);
        }
    }
    im_store_close(store);
    return NULL;
}

static void threads_with_a_store_each_share_a_library(void **state)
{
    im_store *store = help_open(*state, IM_STORE_WRITE);
    thread_work works[3];
    pthread_t threads[3];
    im_store_counts counts;
    uint64_t model = help_model(store, "m");
    for (uint64_t i = 0; i < 3; i++) {
        works[i] = (thread_work){.folder = *state, .first = i * PER_THREAD, .model = model};
        assert_int_equal(pthread_create(&threads[i], NULL, thread_adds, &works[i]), 0);
    }
    for (int i = 0; i < 100; i++) {
        help_ok(im_store_count(store, 0, &counts, &err), &err);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(works[i].rc, IM_OK);
    }
    help_ok(im_store_count(store, 0, &counts, &err), &err);
    assert_int_equal(counts.embeddings, 3 * PER_THREAD);
    help_check_clean(store);
    im_store_close(store);
}

static void of_two_that_create_one_wins(void **state)
{
    pid_t children[4];
    int won = 0;
    (void)unlink(help_path(*state, "library.db"));
    for (int i = 0; i < 4; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            im_code rc = im_store_create(*state, NULL);
            _exit(rc == IM_OK ? 0 : rc == IM_ERR_CONFLICT ? 1 : 2);
        }
    }
    for (int i = 0; i < 4; i++) {
        int status = wait_for(children[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
        won += WEXITSTATUS(status) == 0;
    }
    assert_int_equal(won, 1);
    im_store *store = help_open(*state, IM_STORE_WRITE);
    help_check_clean(store);
    im_store_close(store);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_held_lock_is_busy_and_names_its_holder),
        T(the_lock_of_a_dead_process_is_taken_over),
        T(a_pid_in_the_file_alone_holds_nothing),
        T(a_lock_without_a_readable_pid_is_still_busy),
        T(a_lock_file_that_was_taken_away_does_not_fool_anyone),
        T(a_waiter_is_not_fooled_by_an_exchanged_lock_file),
        T(the_lock_nests),
        T(a_signal_ends_the_waiting),
        T(what_several_processes_add_is_the_union),
        T(threads_with_a_store_each_share_a_library),
        T(of_two_that_create_one_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
