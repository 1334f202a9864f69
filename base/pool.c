/* base/pool.c — one pool, one run at a time.
 *
 * A run is published under the lock with a new number. A worker that wakes in time joins it, also
 * under the lock; all who joined claim task numbers from one counter until none is left. The caller
 * works too, then closes the run, after which nobody can join, and waits only for those who did.
 * So a worker that the scheduler keeps asleep costs nothing. */
#include "base/pool.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/memory.h"
#include "base/size.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SPIN_NS 50000u /* how long to look for work, or for its end, before sleeping */
#define SPIN_BURST 8   /* pauses between two looks */
#define MAX_THREADS 1024u

typedef struct pool_worker {
    pthread_t thread;
    im_pool *pool;
    size_t number; /* >= 1; the caller is 0 */
} pool_worker;

struct im_pool {
    pthread_mutex_t lock;
    pthread_cond_t wake; /* workers: a run is open, or the pool closes */
    pthread_cond_t done; /* the caller: the last joined worker left */
    pool_worker *workers;
    size_t n_workers; /* those that could be started; never changes after open */
    bool spin;        /* false when threads outnumber processors: spinning would keep work back */
    atomic_bool busy; /* a caller is inside im_pool_run */

    /* guarded by lock; task, context, n_tasks stay as they are while a run has joined workers */
    im_pool_task task;
    void *context;
    size_t n_tasks;
    size_t places; /* workers that may still join */
    size_t sleeping;
    bool closing;

    atomic_uint_fast64_t run; /* number of the last run; written under lock, spun on without */
    atomic_size_t active;     /* joined and not yet left; as run */
    atomic_size_t next;       /* the next task to claim */
};

static void pause_briefly(void)
{
#if defined(__x86_64__)
    for (int i = 0; i < SPIN_BURST; i++) {
        __builtin_ia32_pause();
    }
#endif
}

static void work(im_pool *pool, im_pool_task task, void *context, size_t n_tasks, size_t worker)
{
    for (;;) {
        size_t i = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (i >= n_tasks) {
            return;
        }
        task(context, i, worker);
    }
}

/* Looks for a new run for a while, without the lock. */
static void spin_for_run(im_pool *pool, uint_fast64_t seen)
{
    if (!pool->spin) {
        return;
    }
    uint64_t start = im_clock_ns();
    while (atomic_load_explicit(&pool->run, memory_order_relaxed) == seen &&
           im_clock_ns() - start < SPIN_NS) {
        pause_briefly();
    }
}

/* Waits, with the lock held, until a run can be joined; false when the pool closes. Who was woken
 * too late looks out for the next run before sleeping again: short ones often follow each other. */
static bool wait_for_run(im_pool *pool)
{
    while (!pool->closing && pool->places == 0) {
        pool->sleeping++;
        pthread_cond_wait(&pool->wake, &pool->lock);
        pool->sleeping--;
        if (!pool->closing && pool->places == 0) {
            uint_fast64_t seen = atomic_load(&pool->run);
            pthread_mutex_unlock(&pool->lock);
            spin_for_run(pool, seen);
            pthread_mutex_lock(&pool->lock);
        }
    }
    return !pool->closing;
}

static void *worker_main(void *argument)
{
    const pool_worker *self = argument;
    im_pool *pool = self->pool;
    pthread_mutex_lock(&pool->lock);
    while (wait_for_run(pool)) {
        pool->places--;
        atomic_fetch_add(&pool->active, 1);
        uint_fast64_t seen = atomic_load(&pool->run);
        im_pool_task task = pool->task;
        void *context = pool->context;
        size_t n_tasks = pool->n_tasks;
        pthread_mutex_unlock(&pool->lock);

        work(pool, task, context, n_tasks, self->number);

        pthread_mutex_lock(&pool->lock);
        pool->places = 0; /* no task is left: whoever joined now would find nothing */
        if (atomic_fetch_sub(&pool->active, 1) == 1) {
            pthread_cond_signal(&pool->done);
        }
        pthread_mutex_unlock(&pool->lock);
        spin_for_run(pool, seen);
        pthread_mutex_lock(&pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Starts one worker with all signals blocked but those that a fault raises: the others belong to
 * the threads of the program. */
static bool start_worker(pool_worker *worker)
{
    sigset_t blocked;
    sigset_t before;
    static const int faults[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    if (im_fault_hit(IM_FAULT_THREAD)) {
        return false;
    }
    (void)sigfillset(&blocked);
    for (size_t i = 0; i < IM_COUNT(faults); i++) {
        (void)sigdelset(&blocked, faults[i]);
    }
    (void)pthread_sigmask(SIG_SETMASK, &blocked, &before);
    int rc = pthread_create(&worker->thread, NULL, worker_main, worker);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc == 0;
}

static void start_workers(im_pool *pool, size_t wanted)
{
    while (pool->n_workers < wanted) {
        pool_worker *worker = &pool->workers[pool->n_workers];
        worker->pool = pool;
        worker->number = pool->n_workers + 1;
        if (!start_worker(worker)) {
            return; /* fewer threads are slower, not wrong */
        }
        pool->n_workers++;
    }
}

im_code im_pool_open(size_t n_threads, im_pool **out_pool, im_error *err)
{
    size_t processors = im_cpu_threads();
    n_threads = IM_MIN(n_threads > 0 ? n_threads : processors, (size_t)MAX_THREADS);
    im_pool *pool = im_alloc_zero(1, sizeof *pool);
    pool_worker *workers = im_alloc_zero(n_threads, sizeof *workers);
    if (pool == NULL || workers == NULL) {
        im_free(workers);
        im_free(pool);
        return im_fail(err, IM_ERR_NOMEM, "no memory for a pool of %zu threads", n_threads);
    }
    pool->workers = workers;
    pool->spin = n_threads <= processors;
    /* with default attributes these cannot fail on Linux */
    (void)pthread_mutex_init(&pool->lock, NULL);
    (void)pthread_cond_init(&pool->wake, NULL);
    (void)pthread_cond_init(&pool->done, NULL);
    start_workers(pool, n_threads - 1);
    *out_pool = pool;
    return IM_OK;
}

size_t im_pool_threads(const im_pool *pool)
{
    return pool != NULL ? pool->n_workers + 1 : 1;
}

static void run_alone(size_t n_tasks, im_pool_task task, void *context)
{
    for (size_t i = 0; i < n_tasks; i++) {
        task(context, i, 0);
    }
}

static void publish_run(im_pool *pool, size_t n_tasks, im_pool_task task, void *context)
{
    pthread_mutex_lock(&pool->lock);
    pool->task = task;
    pool->context = context;
    pool->n_tasks = n_tasks;
    pool->places = IM_MIN(pool->n_workers, n_tasks - 1);
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    atomic_fetch_add(&pool->run, 1);
    size_t to_wake = IM_MIN(pool->places, pool->sleeping);
    for (size_t i = 0; i < to_wake; i++) {
        pthread_cond_signal(&pool->wake);
    }
    pthread_mutex_unlock(&pool->lock);
}

/* Lets nobody join any more and waits for those who did. */
static void finish_run(im_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->places = 0;
    pthread_mutex_unlock(&pool->lock);
    if (pool->spin) {
        uint64_t start = im_clock_ns();
        while (atomic_load(&pool->active) > 0 && im_clock_ns() - start < SPIN_NS) {
            pause_briefly();
        }
    }
    if (atomic_load(&pool->active) > 0) {
        pthread_mutex_lock(&pool->lock);
        while (atomic_load(&pool->active) > 0) {
            pthread_cond_wait(&pool->done, &pool->lock);
        }
        pthread_mutex_unlock(&pool->lock);
    }
}

void im_pool_run(im_pool *pool, size_t n_tasks, im_pool_task task, void *context)
{
    if (pool == NULL || n_tasks <= 1 || pool->n_workers == 0 ||
        atomic_exchange(&pool->busy, true)) {
        run_alone(n_tasks, task, context);
        return;
    }
    publish_run(pool, n_tasks, task, context);
    work(pool, task, context, n_tasks, 0);
    finish_run(pool);
    atomic_store(&pool->busy, false);
}

void im_pool_close(im_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (size_t i = 0; i < pool->n_workers; i++) {
        (void)pthread_join(pool->workers[i].thread, NULL);
    }
    (void)pthread_cond_destroy(&pool->done);
    (void)pthread_cond_destroy(&pool->wake);
    (void)pthread_mutex_destroy(&pool->lock);
    im_free(pool->workers);
    im_free(pool);
}
