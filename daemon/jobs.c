/* daemon/jobs.c — the threads that do jobs, one for each lane, one job after the other, each with a
 * library of its own; and what they tell of them: the last events, which the server's thread hands
 * to those who listen. */
#include "base/clock.h"
#include "base/fault.h"
#include "daemon/daemon_internal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 256u       /* that are kept for listeners who come back */
#define STOPS 16u         /* that are remembered */
#define WARNINGS_MOST 100 /* of one job, told */
#define RETRY_FIRST_MS 1000u
#define RETRY_MOST_MS 60000u
#define NICE 5 /* searches go first */

typedef struct job_event {
    uint64_t seq; /* 0: none */
    uint64_t job;
    const char *name; /* "progress", "warning", "state", "done" */
    char *data;       /* JSON, owned */
} job_event;

/* A thread, and what it is at. */
typedef struct lane {
    jobs *jobs;
    im_job_lane which;
    im_library *library; /* the thread's own; NULL: it has not begun */
    pthread_t thread;
    bool started;
    atomic_bool stop; /* heeded by the job that runs */
    unsigned warnings;
    uint64_t retry_job, retry_ms; /* the one that is to be tried again, after so long; ms 0: none */
    /* guarded by the jobs' lock */
    bool poked, reopen;
    uint64_t current; /* id */
    bool user_stop;
    char *progress; /* of current: JSON, owned */
} lane;

struct jobs {
    const im_daemon_options *options;
    int wake;
    lane lanes[IM_JOB_LANES];
    pthread_mutex_t lock;
    pthread_cond_t more;
    /* guarded by lock */
    bool ending;
    /* The last ids to be stopped: a lane may have claimed one but not begun it, or be about to try
     * it again. */
    uint64_t wanted_stops[STOPS];
    size_t next_stop;
    jobs_facts facts;
    job_event events[EVENTS];
    uint64_t next_seq;
};

/* ---- events ---- */

static void tell(jobs *j, uint64_t job, const char *name, const im_json_writer *w)
{
    uint64_t one = 1;
    char *data = im_json_ok(w) ? im_strdup(im_str_text(&w->out)) : NULL;
    if (data == NULL) {
        return; /* the next one tells more */
    }
    pthread_mutex_lock(&j->lock);
    job_event *event = &j->events[j->next_seq % EVENTS];
    im_free(event->data);
    *event = (job_event){.seq = j->next_seq++, .job = job, .name = name, .data = data};
    pthread_mutex_unlock(&j->lock);
    (void)!write(j->wake, &one, sizeof(one));
}

void jobs_tell_stopped(jobs *j, uint64_t id, const im_json_writer *w)
{
    tell(j, id, "done", w);
    jobs_poke(j);
}

uint64_t jobs_listen(jobs *j, uint64_t job, uint64_t after, im_str *out, bool *out_ended)
{
    pthread_mutex_lock(&j->lock);
    for (size_t i = 0; i < EVENTS; i++) {
        const job_event *event = &j->events[(j->next_seq + i) % EVENTS]; /* the oldest first */
        if (event->seq != 0 && event->seq > after && event->job == job) {
            im_str_addf(out, "id: %llu\nevent: %s\ndata: ", (unsigned long long)event->seq,
                        event->name);
            im_str_add_c(out, event->data);
            im_str_add_c(out, "\n\n");
            *out_ended = *out_ended || strcmp(event->name, "done") == 0;
        }
    }
    uint64_t last = j->next_seq - 1;
    pthread_mutex_unlock(&j->lock);
    return last;
}

/* ---- the thread ---- */

static void keep_progress(lane *l, const im_json_writer *w)
{
    char *copy = im_json_ok(w) ? im_strdup(im_str_text(&w->out)) : NULL;
    if (copy != NULL) {
        pthread_mutex_lock(&l->jobs->lock);
        im_free(l->progress);
        l->progress = copy;
        pthread_mutex_unlock(&l->jobs->lock);
    }
}

static void on_progress(void *context, const im_progress *progress)
{
    lane *l = context;
    im_json_writer w;
    im_json_init(&w, 4096);
    im_progress_json(&w, progress);
    keep_progress(l, &w);
    tell(l->jobs, l->current, "progress", &w);
    im_json_clear(&w);
}

static void put_warning(lane *l, const char *path, const im_error *error, const char *sentence)
{
    im_json_writer w;
    if (l->warnings++ >= WARNINGS_MOST) {
        return;
    }
    im_json_init(&w, 64u << 10);
    im_json_begin_object(&w);
    if (path != NULL) {
        im_json_put_string(&w, "path", path);
        im_json_put_string(&w, "code", error->reason);
    }
    im_json_put_string(&w, "message", path != NULL ? error->message : sentence);
    im_json_end_object(&w);
    tell(l->jobs, l->current, "warning", &w);
    im_json_clear(&w);
}

static void on_failed(void *context, const char *path, const im_error *error)
{
    put_warning(context, path, error, NULL);
}

static void on_warning(void *context, const char *sentence)
{
    put_warning(context, NULL, NULL, sentence);
}

static void count(lane *l)
{
    jobs *j = l->jobs;
    uint64_t waiting = 0;
    uint64_t running = 0;
    if (im_app_jobs_count(l->library, &waiting, &running, NULL) == IM_OK) {
        pthread_mutex_lock(&j->lock);
        j->facts.waiting = waiting;
        j->facts.running = running;
        pthread_mutex_unlock(&j->lock);
    }
}

/* Waits until something is asked for; true at the end. */
static bool wait_ms(lane *l, uint64_t ms)
{
    jobs *j = l->jobs;
    struct timespec until;
    int waited = 0;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&j->lock);
    while (!j->ending && !l->poked && waited != ETIMEDOUT) {
        waited = pthread_cond_timedwait(&j->more, &j->lock, &until);
    }
    l->poked = false;
    bool ending = j->ending;
    pthread_mutex_unlock(&j->lock);
    return ending;
}

static bool is_wanted_stopped(const jobs *j, uint64_t id)
{
    bool wanted = false;
    for (size_t i = 0; i < STOPS; i++) {
        wanted = wanted || (id != 0 && j->wanted_stops[i] == id);
    }
    return wanted;
}

static void set_current(lane *l, uint64_t id)
{
    jobs *j = l->jobs;
    pthread_mutex_lock(&j->lock);
    l->current = id;
    l->user_stop = is_wanted_stopped(j, id);
    atomic_store(&l->stop, l->user_stop || j->ending || l->reopen);
    im_free(l->progress);
    l->progress = NULL;
    pthread_mutex_unlock(&j->lock);
}

static void tell_state(lane *l, const im_job *job, const im_job_end *end, uint64_t retry_ms)
{
    im_json_writer w;
    im_error ignored = IM_ERROR_INIT;
    im_json_init(&w, 1u << 20);
    if (end == NULL || im_job_has_ended(end->state)) {
        if (im_app_job_json(l->library, job->id, NULL, &w, &ignored) != IM_OK) {
            w.out.failed = true;
        }
    } else {
        im_json_begin_object(&w);
        im_json_put_uint(&w, "id", job->id);
        im_json_put_string(&w, "state", im_job_state_name(end->state));
        im_json_put_string(&w, "message", end->error.message);
        im_json_put_uint(&w, "retry_ms", retry_ms);
        im_json_end_object(&w);
    }
    tell(l->jobs, job->id, end != NULL && im_job_has_ended(end->state) ? "done" : "state", &w);
    im_json_clear(&w);
}

static bool is_reopened(lane *l)
{
    pthread_mutex_lock(&l->jobs->lock);
    bool reopen = l->reopen;
    pthread_mutex_unlock(&l->jobs->lock);
    return reopen;
}

/* After SIGHUP: the library may have been replaced. What ran in it waits again. */
static void open_again(lane *l)
{
    im_library_options wanted = l->jobs->options->library;
    im_library *fresh = NULL;
    im_error ignored = IM_ERROR_INIT;
    wanted.writable = true;
    if (!is_reopened(l) || im_library_open(&wanted, &fresh, &ignored) != IM_OK) {
        return; /* tried again before the next job */
    }
    im_library_close(l->library);
    l->library = fresh;
    pthread_mutex_lock(&l->jobs->lock);
    l->reopen = false;
    pthread_mutex_unlock(&l->jobs->lock);
    (void)!im_app_jobs_revive(l->library, l->which, &ignored);
}

static uint64_t retry_after(uint64_t ms)
{
    return ms == 0 ? RETRY_FIRST_MS : IM_MIN(ms * 2, (uint64_t)RETRY_MOST_MS);
}

/* The end must be written, however long something stands against it (a full disk, a lock): else
 * the job would be one that runs for ever. False when the daemon ends, or the library is opened
 * again: there it waits again. */
static bool record_end(lane *l, const im_job *job, const im_job_end *end)
{
    im_error error = IM_ERROR_INIT;
    uint64_t retry_ms = 0;
    im_code rc = im_app_job_end(l->library, job->id, end, &error);
    while (rc != IM_OK && rc != IM_ERR_CONFLICT && rc != IM_ERR_NOT_FOUND) {
        if (retry_ms == 0) {
            put_warning(l, NULL, NULL, error.message);
        }
        retry_ms = retry_after(retry_ms);
        if (wait_ms(l, retry_ms) || is_reopened(l)) {
            return false;
        }
        rc = im_app_job_end(l->library, job->id, end, &error);
    }
    return rc == IM_OK;
}

static void do_job(lane *l, const im_job *job)
{
    jobs *j = l->jobs;
    const im_events events = {
        .context = l, .progress = on_progress, .failed = on_failed, .warning = on_warning};
    im_job_end end;
    set_current(l, job->id);
    count(l);
    l->warnings = 0;
    tell_state(l, job, NULL, 0);
    im_stop_heed(&l->stop);
    im_app_job_run(l->library, job, &j->options->limits, &j->options->vlm, &l->stop, &events, &end);
    im_stop_heed(NULL);
    pthread_mutex_lock(&j->lock);
    bool user_stop = l->user_stop;
    bool ending = j->ending;
    pthread_mutex_unlock(&j->lock);
    if (end.state == IM_JOB_STOPPED && !user_stop) {
        end.state = IM_JOB_WAITING; /* the daemon ends: the next one goes on */
    } else if (end.state == IM_JOB_WAITING && user_stop) {
        end.state = IM_JOB_STOPPED;
    }
    bool again = end.state == IM_JOB_WAITING && !ending;
    l->retry_ms = again ? retry_after(l->retry_job == job->id ? l->retry_ms : 0) : 0;
    l->retry_job = job->id;
    if (record_end(l, job, &end)) {
        tell_state(l, job, &end, l->retry_ms);
    }
    im_job_end_clear(&end);
    set_current(l, 0);
    count(l);
}

static void *run(void *context)
{
    lane *l = context;
    bool ending = false;
    im_error ignored = IM_ERROR_INIT;
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid),
                      NICE); /* threads of add inherit it */
    while (!ending && im_app_jobs_revive(l->library, l->which, &ignored) != IM_OK) {
        ending = wait_ms(l, RETRY_FIRST_MS);
    }
    while (!ending) {
        im_job job = {0};
        open_again(l);
        im_code rc = im_app_job_claim(l->library, l->which, &job, &ignored);
        if (rc == IM_OK && job.id != 0) {
            do_job(l, &job);
        } else {
            count(l);
        }
        bool idle = rc != IM_OK || job.id == 0;
        im_job_clear(&job);
        ending = wait_ms(l, idle ? 5000 : l->retry_ms);
    }
    return NULL;
}

/* ---- the others' side ---- */

static im_code lane_open(lane *l, im_error *err)
{
    im_library_options wanted = l->jobs->options->library;
    wanted.writable = true;
    im_code rc = im_library_open(&wanted, &l->library, err);
    if (rc == IM_OK) {
        int failed = thread_start(&l->thread, run, l);
        l->started = failed == 0;
        rc = failed == 0
                 ? IM_OK
                 : im_fail(err, IM_ERR_NOMEM, "could not start a thread: %s", strerror(failed));
    }
    return rc;
}

im_code jobs_open(const im_daemon_options *options, int wake, jobs **out_jobs, im_error *err)
{
    pthread_condattr_t monotonic;
    jobs *j = im_alloc_zero(1, sizeof(*j));
    if (j == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the daemon");
    }
    *j = (jobs){.options = options, .wake = wake};
    j->next_seq = (uint64_t)(im_clock_wall_ns() / 1000000); /* above those of an earlier daemon */
    (void)pthread_mutex_init(&j->lock, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&j->more, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    im_error why = IM_ERROR_INIT;
    im_code rc = IM_OK;
    for (int i = 0; i < IM_JOB_LANES && rc == IM_OK; i++) {
        j->lanes[i].jobs = j;
        j->lanes[i].which = (im_job_lane)i;
        rc = lane_open(&j->lanes[i], &why);
    }
    if (rc == IM_ERR_DENIED || rc == IM_ERR_IO || rc == IM_ERR_FULL) {
        rc = IM_OK; /* a library that cannot be written has no jobs */
    }
    if (rc != IM_OK) {
        jobs_close(j);
        j = NULL;
        if (err != NULL) {
            *err = why;
        }
    }
    *out_jobs = j;
    return rc;
}

void jobs_poke(jobs *j)
{
    pthread_mutex_lock(&j->lock);
    for (size_t i = 0; i < IM_JOB_LANES; i++) {
        j->lanes[i].poked = true;
    }
    pthread_cond_broadcast(&j->more);
    pthread_mutex_unlock(&j->lock);
}

void jobs_reopen(jobs *j)
{
    pthread_mutex_lock(&j->lock);
    memset(j->wanted_stops, 0, sizeof(j->wanted_stops)); /* another library's ids */
    for (size_t i = 0; i < IM_JOB_LANES; i++) {
        j->lanes[i].reopen = j->lanes[i].poked = true;
        atomic_store(&j->lanes[i].stop, true); /* what runs goes on in the library as it is then */
    }
    pthread_cond_broadcast(&j->more);
    pthread_mutex_unlock(&j->lock);
}

void jobs_stop(jobs *j, uint64_t id)
{
    pthread_mutex_lock(&j->lock);
    if (!is_wanted_stopped(j, id)) {
        j->wanted_stops[j->next_stop++ % STOPS] = id;
    }
    for (size_t i = 0; i < IM_JOB_LANES; i++) {
        if (j->lanes[i].current == id) {
            j->lanes[i].user_stop = j->lanes[i].poked = true;
            atomic_store(&j->lanes[i].stop, true);
        }
    }
    pthread_cond_broadcast(&j->more); /* it may just have ended, to be tried again later */
    pthread_mutex_unlock(&j->lock);
}

void jobs_look(jobs *j, jobs_facts *out)
{
    pthread_mutex_lock(&j->lock);
    *out = j->facts;
    pthread_mutex_unlock(&j->lock);
}

void jobs_live(jobs *j, im_job_live *out)
{
    pthread_mutex_lock(&j->lock);
    for (size_t i = 0; i < IM_JOB_LANES; i++) {
        const lane *l = &j->lanes[i];
        out->ids[i] = l->current;
        out->progress[i] = l->progress != NULL ? im_strdup(l->progress) : NULL;
    }
    pthread_mutex_unlock(&j->lock);
}

void jobs_live_clear(im_job_live *live)
{
    for (size_t i = 0; i < IM_JOB_LANES; i++) {
        im_free(live->progress[i]);
    }
    *live = (im_job_live){0};
}

void jobs_close(jobs *j)
{
    if (j == NULL) {
        return;
    }
    pthread_mutex_lock(&j->lock);
    j->ending = true;
    for (size_t i = 0; i < IM_JOB_LANES; i++) {
        atomic_store(&j->lanes[i].stop, true);
    }
    pthread_cond_broadcast(&j->more);
    pthread_mutex_unlock(&j->lock);
    for (size_t i = 0; i < IM_JOB_LANES; i++) {
        lane *l = &j->lanes[i];
        if (l->started) {
            (void)pthread_join(l->thread, NULL);
        }
        im_free(l->progress);
        im_library_close(l->library);
    }
    for (size_t i = 0; i < EVENTS; i++) {
        im_free(j->events[i].data);
    }
    (void)pthread_cond_destroy(&j->more);
    (void)pthread_mutex_destroy(&j->lock);
    im_free(j);
}
