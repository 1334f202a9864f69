/* tests/base/test_pool.c — base/pool.c. Waits only for things that must happen; one test sleeps, to
 * see that the pool does. */
#include "base/clock.h"
#include "base/pool.h"
#include "support.h"
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

#define MAX_TASKS 5000u

typedef struct tally {
    atomic_uchar *done; /* [n] how often each task ran */
    size_t n_workers;
    atomic_bool wrong; /* a worker number out of range, or two at once with one number */
    atomic_uchar inside[64];
    size_t plain[MAX_TASKS]; /* written without atomics: the pool must order it */
    size_t factor;
} tally;

static void count_task(void *context, size_t task, size_t worker)
{
    tally *t = context;
    if (worker >= t->n_workers || atomic_fetch_add(&t->inside[worker], 1) != 0) {
        atomic_store(&t->wrong, true);
        return;
    }
    atomic_fetch_add(&t->done[task], 1);
    t->plain[task] = task * t->factor;
    atomic_fetch_sub(&t->inside[worker], 1);
}

static im_pool *open_pool(size_t n_threads)
{
    im_pool *pool = NULL;
    assert_int_equal(im_pool_open(n_threads, &pool, NULL), IM_OK);
    return pool;
}

static void run_and_check(im_pool *pool, tally *t, size_t n_tasks, size_t factor)
{
    t->n_workers = im_pool_threads(pool);
    t->factor = factor;
    memset(t->done, 0, MAX_TASKS);
    im_pool_run(pool, n_tasks, count_task, t);
    assert_false(t->wrong);
    for (size_t i = 0; i < MAX_TASKS; i++) {
        assert_int_equal(t->done[i], i < n_tasks);
        assert_true(i >= n_tasks || t->plain[i] == i * factor);
    }
}

static void every_task_runs_exactly_once(void **state)
{
    (void)state;
    static const size_t counts[] = {0, 1, 2, 3, 7, 64, MAX_TASKS};
    tally *t = calloc(1, sizeof *t);
    t->done = calloc(MAX_TASKS, 1);
    for (size_t threads = 1; threads <= 9; threads++) {
        im_pool *pool = open_pool(threads);
        assert_int_equal(im_pool_threads(pool), threads);
        for (size_t round = 0; round < 20; round++) {
            for (size_t i = 0; i < IM_COUNT(counts); i++) {
                run_and_check(pool, t, counts[i], round + 1);
            }
        }
        im_pool_close(pool);
    }
    run_and_check(NULL, t, 100, 3); /* no pool: the caller alone */
    free(t->done);
    free(t);
    im_pool_close(NULL);
    assert_int_equal(im_live_allocations(), 0);
}

static void the_default_is_what_the_process_may_use(void **state)
{
    (void)state;
    im_pool *pool = open_pool(0);
    assert_int_equal(im_pool_threads(pool), im_cpu_threads());
    im_pool_close(pool);
    assert_int_equal(im_pool_threads(NULL), 1);
}

static void add_one(void *context, size_t task, size_t worker)
{
    (void)task;
    (void)worker;
    atomic_fetch_add((atomic_size_t *)context, 1);
}

/* Short runs in a row: a late worker must neither be waited for nor run a task of the next run with
 * the context of the last. */
static void many_short_runs_in_a_row_lose_nothing(void **state)
{
    (void)state;
    for (size_t threads = 2; threads <= 8; threads *= 2) {
        im_pool *pool = open_pool(threads);
        for (size_t i = 0; i < 20000; i++) {
            atomic_size_t counts[2] = {0, 0}; /* a run's context is the next run's neighbour */
            size_t n = 2 + i % 7;
            im_pool_run(pool, n, add_one, &counts[i % 2]);
            assert_int_equal(atomic_load(&counts[i % 2]), n);
            assert_int_equal(atomic_load(&counts[1 - i % 2]), 0);
        }
        im_pool_close(pool);
    }
}

typedef struct nest {
    im_pool *pool;
    atomic_size_t count;
} nest;

static void run_inner(void *context, size_t task, size_t worker)
{
    nest *n = context;
    (void)task;
    (void)worker;
    im_pool_run(n->pool, 10, add_one, &n->count);
}

static void a_task_may_run_tasks(void **state)
{
    (void)state;
    nest n = {.pool = open_pool(4)};
    for (int i = 0; i < 200; i++) {
        atomic_store(&n.count, 0);
        im_pool_run(n.pool, 10, run_inner, &n);
        assert_int_equal(atomic_load(&n.count), 100);
    }
    im_pool_close(n.pool);
}

static void *run_as_another_caller(void *argument)
{
    nest *n = argument;
    for (int i = 0; i < 500; i++) {
        atomic_size_t count = 0;
        im_pool_run(n->pool, 50, add_one, &count);
        if (atomic_load(&count) != 50) {
            return argument;
        }
    }
    return NULL;
}

static void several_callers_at_once_are_all_served(void **state)
{
    (void)state;
    nest n = {.pool = open_pool(3)};
    pthread_t threads[4];
    for (size_t i = 0; i < IM_COUNT(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run_as_another_caller, &n), 0);
    }
    for (size_t i = 0; i < IM_COUNT(threads); i++) {
        void *bad = NULL;
        assert_int_equal(pthread_join(threads[i], &bad), 0);
        assert_null(bad);
    }
    im_pool_close(n.pool);
}

typedef struct meeting {
    atomic_size_t arrived;
    size_t expected;
} meeting;

static void wait_for_all(void *context, size_t task, size_t worker)
{
    meeting *m = context;
    (void)task;
    (void)worker;
    atomic_fetch_add(&m->arrived, 1);
    while (atomic_load(&m->arrived) < m->expected) {
        (void)sched_yield();
    }
}

/* Tasks that wait for each other end only if all threads take part, from sleep as from spinning. */
static void all_threads_take_part(void **state)
{
    (void)state;
    for (size_t threads = 2; threads <= 5; threads++) {
        im_pool *pool = open_pool(threads);
        for (int round = 0; round < 50; round++) {
            meeting m = {.expected = threads};
            im_pool_run(pool, threads, wait_for_all, &m);
            assert_int_equal(atomic_load(&m.arrived), threads);
        }
        im_pool_close(pool);
    }
}

static void threads_that_cannot_start_are_done_without(void **state)
{
    (void)state;
    tally *t = calloc(1, sizeof *t);
    t->done = calloc(MAX_TASKS, 1);
    for (size_t nth = 0; nth < 5; nth++) {
        im_fault_set(IM_FAULT_THREAD, nth, 0);
        im_pool *pool = open_pool(4);
        assert_int_equal(im_fault_fired(IM_FAULT_THREAD), nth < 3);
        im_fault_clear();
        assert_int_equal(im_pool_threads(pool), nth < 3 ? nth + 1 : 4);
        run_and_check(pool, t, 1000, nth);
        im_pool_close(pool);
    }
    free(t->done);
    free(t);
    im_code rc = IM_ERR_NOMEM;
    for (size_t nth = 0; rc != IM_OK; nth++) {
        im_pool *pool = NULL;
        im_fault_set(IM_FAULT_ALLOC, nth, 0);
        rc = im_pool_open(3, &pool, NULL);
        assert_int_equal(rc, im_fault_fired(IM_FAULT_ALLOC) ? IM_ERR_NOMEM : IM_OK);
        im_fault_clear();
        im_pool_close(pool);
        assert_int_equal(im_live_allocations(), 0);
    }
}

typedef struct signal_check {
    meeting all; /* first: makes every worker take part */
    atomic_bool wrong;
} signal_check;

static void note_signals(void *context, size_t task, size_t worker)
{
    signal_check *check = context;
    sigset_t set;
    wait_for_all(&check->all, task, worker);
    (void)pthread_sigmask(SIG_SETMASK, NULL, &set);
    if (worker > 0 && (!sigismember(&set, SIGINT) || !sigismember(&set, SIGTERM) ||
                       sigismember(&set, SIGBUS) || sigismember(&set, SIGSEGV))) {
        atomic_store(&check->wrong, true);
    }
}

/* Signals of the program go to its own threads; a fault of a mapped file must reach its handler. */
static void workers_block_signals_but_not_faults(void **state)
{
    (void)state;
    signal_check check = {.all = {.expected = 4}};
    im_pool *pool = open_pool(4);
    im_pool_run(pool, 4, note_signals, &check);
    assert_false(check.wrong);
    im_pool_close(pool);
    sigset_t set;
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &set), 0);
    assert_false(sigismember(&set, SIGINT)); /* ours is as before */
}

/* ---- a worker that the scheduler keeps away ---- */

static struct {
    atomic_size_t inside;
    atomic_bool released;
} hold;

/* Runs on the worker: SIGTRAP is one of the signals that it does not block. */
static void hold_worker(int signal_number)
{
    struct timespec moment = {.tv_nsec = 100000};
    (void)signal_number;
    atomic_fetch_add(&hold.inside, 1);
    while (!atomic_load(&hold.released)) {
        (void)nanosleep(&moment, NULL);
    }
}

/* All threads of the process but the caller. */
static size_t signal_others(int signal_number)
{
    size_t n = 0;
    DIR *dir = opendir("/proc/self/task");
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        long tid = strtol(e->d_name, NULL, 10);
        if (tid > 0 && tid != syscall(SYS_gettid)) {
            assert_int_equal(syscall(SYS_tgkill, getpid(), tid, signal_number), 0);
            n++;
        }
    }
    (void)closedir(dir);
    return n;
}

/* Workers that do not come cost nothing: the caller does all, and is done. It would wait here for
 * good if it waited for them. */
static void nobody_waits_for_a_worker_that_has_not_joined(void **state)
{
    struct sigaction held = {.sa_handler = hold_worker};
    struct sigaction before;
    (void)state;
#if defined(__SANITIZE_THREAD__)
    skip(); /* its run time puts signals off until the thread runs by itself */
#endif
    tally *t = calloc(1, sizeof *t);
    t->done = calloc(MAX_TASKS, 1);
    im_pool *pool = open_pool(3);
    run_and_check(pool, t, 100, 0); /* all are up */
    assert_int_equal(sigaction(SIGTRAP, &held, &before), 0);
    size_t others = signal_others(SIGTRAP);
    while (atomic_load(&hold.inside) < others) {
        (void)sched_yield();
    }
    for (size_t run = 1; run <= 50; run++) {
        run_and_check(pool, t, 100, run);
    }
    atomic_store(&hold.released, true);
    run_and_check(pool, t, 1000, 51);
    im_pool_close(pool);
    assert_int_equal(sigaction(SIGTRAP, &before, NULL), 0);
    free(t->done);
    free(t);
}

static void count_one(void *context, size_t task, size_t worker)
{
    (void)task;
    (void)worker;
    atomic_fetch_add((atomic_size_t *)context, 1);
}

static double process_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* Behind a run a worker looks for the next one for 50 microseconds of the millisecond that it has
 * to wait, then sleeps: all of it would be 300 ms of processor time. */
static void a_pool_that_waits_does_not_burn(void **state)
{
    struct timespec pause = {.tv_nsec = 1000000};
    atomic_size_t n = 0;
    (void)state;
    im_pool *pool = open_pool(2);
    double start = process_ms();
    for (size_t run = 0; run < 300; run++) {
        im_pool_run(pool, 4, count_one, &n);
        (void)nanosleep(&pause, NULL);
    }
    double used = process_ms() - start;
    im_pool_close(pool);
    assert_int_equal(atomic_load(&n), 1200);
    if (used > 90 * (SANITIZED ? 10 : 1)) {
        fail_msg("300 short runs, 1 ms apart, took %.0f ms of processor time", used);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_runs_exactly_once),
        cmocka_unit_test(nobody_waits_for_a_worker_that_has_not_joined),
        cmocka_unit_test(a_pool_that_waits_does_not_burn),
        cmocka_unit_test(the_default_is_what_the_process_may_use),
        cmocka_unit_test(many_short_runs_in_a_row_lose_nothing),
        cmocka_unit_test(a_task_may_run_tasks),
        cmocka_unit_test(several_callers_at_once_are_all_served),
        cmocka_unit_test(all_threads_take_part),
        cmocka_unit_test(threads_that_cannot_start_are_done_without),
        cmocka_unit_test(workers_block_signals_but_not_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
