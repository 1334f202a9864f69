/* daemon/work.c — the thread that has the library: takes what waits, searches that wait together in
 * one call, and hands the answers back. */
#include "base/clock.h"
#include "base/fault.h"
#include "daemon/daemon_internal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const double batch_bounds[HISTOGRAM_BUCKETS] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 40, 48, 64};

struct work {
    server *server;
    im_library *library; /* the thread's own */
    im_library *fresh;   /* … which may take its place; NULL: none */
    im_error tried;      /* what came of the first search in it */
    int wake;
    pthread_t thread;
    bool started;
    work_kind kind;
    pthread_mutex_t lock;
    pthread_cond_t more;
    /* guarded by lock */
    exchange *first, *last; /* wait */
    exchange *answered;
    bool ending;
    enum { WISH_NONE, WISH_OPEN, WISH_TAKE, WISH_DROP } wish; /* of the server, for `fresh` */
    im_error reload_error;
    uint64_t busy_since_ns;
    work_facts facts;
};

im_library *work_library(work *w)
{
    return w->library;
}

void work_note_trouble(work *w, const im_error *error)
{
    pthread_mutex_lock(&w->lock);
    w->facts.trouble = *error;
    pthread_mutex_unlock(&w->lock);
}

void work_note_times(work *w, double encode_ms, double search_ms)
{
    pthread_mutex_lock(&w->lock);
    if (encode_ms >= 0) {
        histogram_add(&w->facts.encode, histogram_seconds, encode_ms / 1000);
    }
    if (search_ms >= 0) {
        histogram_add(&w->facts.search, histogram_seconds, search_ms / 1000);
    }
    pthread_mutex_unlock(&w->lock);
}

/* ---- the thread ---- */

/* The next exchange and those of its function that wait, while they are few and short: what is long
 * stays for a call of its own, and short ones behind it need not wait for it. Lock held. */
static size_t take(work *w, exchange **list)
{
    size_t n = 0;
    size_t room = DAEMON_TOGETHER_BYTES;
    bool together = w->first != NULL && w->first->route->place == PLACE_TOGETHER;
    exchange *keep_first = NULL;
    exchange *keep_last = NULL;
    for (exchange *ex = w->first, *next = NULL; ex != NULL; ex = next) {
        next = ex->next;
        ex->next = NULL;
        bool fits = together && n < DAEMON_MOST_TOGETHER && ex->body.size <= room;
        if (n == 0 || (fits && ex->route->function == list[0]->route->function)) {
            room -= n > 0 ? ex->body.size : 0;
            list[n++] = ex;
            continue;
        }
        if (keep_last == NULL) {
            keep_first = ex;
        } else {
            keep_last->next = ex;
        }
        keep_last = ex;
    }
    w->first = keep_first;
    w->last = keep_last;
    w->facts.waiting -= n;
    return n;
}

static void count_library(work *w)
{
    im_library_facts facts;
    if (im_app_facts(w->library, &facts, NULL) == IM_OK) {
        pthread_mutex_lock(&w->lock);
        w->facts.library = facts;
        pthread_mutex_unlock(&w->lock);
    }
}

/* One search that opens model and index, so that the first client need not wait; also finds out
 * whether trouble is over. */
static im_error try_library(im_library *library)
{
    const im_search_request request = {.text = "a picture", .k = 1};
    im_answer answer = {0};
    im_error error = IM_ERROR_INIT;
    if (im_app_search(library, &request, &answer, &error) == IM_OK) {
        error = (im_error)IM_ERROR_INIT;
    }
    im_answer_clear(&answer);
    return error;
}

static void try_search(work *w)
{
    im_error error = try_library(w->library);
    work_note_trouble(w, &error);
}

static void answer_list(work *w, exchange **list, size_t n)
{
    size_t n_wanted = 0;
    exchange *wanted[DAEMON_MOST_TOGETHER];
    for (size_t i = 0; i < n; i++) {
        if (!atomic_load(&list[i]->abandoned)) {
            wanted[n_wanted++] = list[i];
        }
    }
    if (n_wanted > 0) {
        wanted[0]->route->function(w->server, wanted, n_wanted);
    }
    pthread_mutex_lock(&w->lock);
    w->facts.calls += n_wanted > 0;
    w->facts.answered += n_wanted;
    if (n_wanted > 0) {
        histogram_add(&w->facts.batches, batch_bounds, (double)n_wanted);
    }
    for (size_t i = 0; i < n; i++) {
        list[i]->next = w->answered;
        w->answered = list[i];
    }
    w->busy_since_ns = 0;
    pthread_mutex_unlock(&w->lock);
    uint64_t one = 1;
    (void)!write(w->wake, &one, sizeof(one));
}

/* Waits for exchanges; 0 after a second without one, or at the end. */
static size_t wait_for_list(work *w, exchange **list, bool *out_ending, bool *out_reload)
{
    struct timespec until;
    size_t n = 0;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 1;
    pthread_mutex_lock(&w->lock);
    int waited = 0;
    while (w->first == NULL && !w->ending && w->wish == WISH_NONE && waited != ETIMEDOUT) {
        waited = pthread_cond_timedwait(&w->more, &w->lock, &until);
    }
    *out_ending = w->ending;
    *out_reload = w->wish != WISH_NONE && !w->ending;
    if (!w->ending && w->wish == WISH_NONE && w->first != NULL) {
        n = take(w, list);
        w->busy_since_ns = im_clock_ns();
    }
    pthread_mutex_unlock(&w->lock);
    return n;
}

/* What the first search opens is packed into a file when there is none (try_library): nobody waits
 * for it yet. Changes need a library that can be written; one that cannot is served all the same,
 * and changes are then refused one by one. */
static im_code open_library(const im_daemon_options *options, work_kind kind, im_library **out,
                            im_error *err)
{
    im_library_options wanted = options->library;
    im_error why = IM_ERROR_INIT;
    wanted.writable = kind == WORK_CHANGES;
    wanted.packs = kind == WORK_SEARCHES;
    im_code rc = im_library_open(&wanted, out, &why);
    if (wanted.writable && (rc == IM_ERR_DENIED || rc == IM_ERR_IO || rc == IM_ERR_FULL)) {
        wanted.writable = false;
        why = (im_error)IM_ERROR_INIT;
        rc = im_library_open(&wanted, out, &why);
    }
    if (rc == IM_OK && wanted.writable) {
        rc = im_app_settle_originals(*out, &why);
    }
    if (rc != IM_OK && err != NULL) {
        *err = why;
    }
    return rc;
}

/* What is worse than before is not wanted. */
static im_error open_fresh(work *w)
{
    im_error error = IM_ERROR_INIT;
    im_code rc = open_library(w->server->options, w->kind, &w->fresh, &error);
    w->tried = (im_error)IM_ERROR_INIT;
    if (rc == IM_OK && w->kind == WORK_SEARCHES) {
        w->tried = try_library(w->fresh);
        if (w->facts.trouble.code == IM_OK) { /* written by this thread alone */
            error = w->tried;
        }
    }
    return error;
}

static void take_fresh(work *w)
{
    im_library_close(w->library);
    w->library = w->fresh;
    w->fresh = NULL;
    if (w->kind == WORK_SEARCHES) {
        work_note_trouble(w, &w->tried);
    }
}

static void reload_library(work *w)
{
    uint64_t one = 1;
    im_error error = IM_ERROR_INIT;
    if (w->wish == WISH_OPEN) { /* the server changes it once it is NONE */
        error = open_fresh(w);
    } else if (w->wish == WISH_TAKE) {
        take_fresh(w);
    } else {
        im_library_close(w->fresh);
        w->fresh = NULL;
    }
    pthread_mutex_lock(&w->lock);
    w->wish = WISH_NONE;
    w->reload_error = error;
    pthread_mutex_unlock(&w->lock);
    (void)!write(w->wake, &one, sizeof(one));
}

static void *run(void *context)
{
    work *w = context;
    exchange *list[DAEMON_MOST_TOGETHER];
    uint64_t counted_ns = 0;
    bool ending = false;
    if (w->kind == WORK_SEARCHES) {
        try_search(w);
    }
    pthread_mutex_lock(&w->lock);
    w->facts.warm = true;
    pthread_mutex_unlock(&w->lock);
    while (!ending) {
        if (counted_ns == 0 || im_clock_ms_since(counted_ns) > 10000) {
            count_library(w);
            counted_ns = im_clock_ns();
        }
        bool reload = false;
        size_t n = wait_for_list(w, list, &ending, &reload);
        if (reload) {
            reload_library(w);
            counted_ns = 0;
        } else if (n > 0) {
            answer_list(w, list, n);
        } else if (!ending && w->kind == WORK_SEARCHES &&
                   w->facts.trouble.code != IM_OK) { /* written by this thread alone */
            try_search(w);
        }
    }
    return NULL;
}

/* ---- the server's side ---- */

/* Signals are the server's: the thread is born with all of them blocked. */
int thread_start(pthread_t *thread, void *(*function)(void *), void *context)
{
    sigset_t all;
    sigset_t before;
    if (im_fault_hit(IM_FAULT_THREAD)) {
        return EAGAIN;
    }
    sigfillset(&all);
    sigdelset(&all, SIGBUS); /* faults of mappings are the thread's own */
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(thread, NULL, function, context);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

im_code work_open(const im_daemon_options *options, server *s, int wake, work_kind kind,
                  work **out_work, im_error *err)
{
    pthread_condattr_t monotonic;
    work *w = im_alloc_zero(1, sizeof(*w));
    if (w == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the daemon");
    }
    w->server = s;
    w->wake = wake;
    w->kind = kind;
    w->facts.trouble = (im_error)IM_ERROR_INIT;
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&w->more, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    im_code rc = open_library(options, w->kind, &w->library, err);
    *out_work = w; /* the daemon's from here: its thread looks for it there */
    if (rc == IM_OK) {
        int failed = thread_start(&w->thread, run, w);
        w->started = failed == 0;
        rc = failed == 0
                 ? IM_OK
                 : im_fail(err, IM_ERR_NOMEM, "could not start a thread: %s", strerror(failed));
    }
    if (rc != IM_OK) {
        *out_work = NULL;
        work_close(w);
    }
    return rc;
}

void work_reload(work *w)
{
    pthread_mutex_lock(&w->lock);
    w->wish = WISH_OPEN;
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->lock);
}

void work_settle(work *w, bool take)
{
    pthread_mutex_lock(&w->lock);
    w->wish = take ? WISH_TAKE : WISH_DROP;
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->lock);
}

bool work_reloaded(work *w, im_error *out)
{
    pthread_mutex_lock(&w->lock);
    bool done = w->wish == WISH_NONE;
    if (done && out->code == IM_OK) {
        *out = w->reload_error;
    }
    pthread_mutex_unlock(&w->lock);
    return done;
}

bool work_put(work *w, exchange *ex)
{
    pthread_mutex_lock(&w->lock);
    bool room = w->facts.waiting < DAEMON_MOST_WAITING && !w->ending;
    if (room) {
        ex->next = NULL;
        if (w->first == NULL) {
            w->first = ex;
        } else {
            w->last->next = ex;
        }
        w->last = ex;
        w->facts.waiting++;
        pthread_cond_signal(&w->more);
    }
    pthread_mutex_unlock(&w->lock);
    return room;
}

exchange *work_take_answered(work *w)
{
    pthread_mutex_lock(&w->lock);
    exchange *list = w->answered;
    w->answered = NULL;
    pthread_mutex_unlock(&w->lock);
    return list;
}

void work_look(work *w, work_facts *out)
{
    pthread_mutex_lock(&w->lock);
    *out = w->facts;
    out->busy_ms = w->busy_since_ns != 0 ? im_clock_ms_since(w->busy_since_ns) : 0;
    pthread_mutex_unlock(&w->lock);
}

static void free_list(exchange *list)
{
    while (list != NULL) {
        exchange *next = list->next;
        exchange_free(list);
        list = next;
    }
}

void work_close(work *w)
{
    if (w == NULL) {
        return;
    }
    pthread_mutex_lock(&w->lock);
    w->ending = true;
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->lock);
    if (w->started) {
        (void)pthread_join(w->thread, NULL);
    }
    free_list(w->first);
    free_list(w->answered);
    im_library_close(w->fresh);
    im_library_close(w->library);
    (void)pthread_cond_destroy(&w->more);
    (void)pthread_mutex_destroy(&w->lock);
    im_free(w);
}
