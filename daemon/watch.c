/* daemon/watch.c — the thread that follows folders: it knows which roots are to be followed, waits
 * for what the system tells of them, and lets each do what is due. What it has to say goes through
 * the server's thread. */
#include "base/clock.h"
#include "daemon/daemon_internal.h"
#include "daemon/watch_internal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MS 1000000ull
#define LOOK_MS 1000u /* between looks whether roots were added or the flag was changed */
#define GATHER_MS 10u /* after the first event: the others come in one read */
#define SENTENCES 64u /* that wait for the server's thread; later ones are lost */
#define NICE 5

struct follower {
    const im_daemon_options *options;
    follow_world world;
    follow **list;      /* [n], owned */
    struct pollfd *fds; /* [n + 2] */
    size_t n, capacity;
    uint64_t version;
    bool unread; /* the list of roots could not be read */
    int server_wake, wake;
    jobs *jobs;
    pthread_t thread;
    bool started;
    atomic_bool stop; /* heeded by walks */
    pthread_mutex_t lock;
    /* guarded by lock */
    bool ending, reopen, asked;
    watch_facts facts;
    watch_word words[SENTENCES];
    size_t n_words;
};

/* ---- what it says ---- */

static void say(follower *w, watch_word word) /* takes its sentence */
{
    uint64_t one = 1;
    pthread_mutex_lock(&w->lock);
    bool room = w->n_words < SENTENCES;
    if (room) {
        w->words[w->n_words++] = word;
    }
    pthread_mutex_unlock(&w->lock);
    if (!room) {
        im_free(word.sentence);
    }
    (void)!write(w->server_wake, &one, sizeof(one));
}

static void note(void *context, const char *sentence)
{
    char *copy = im_strdup(sentence);
    if (copy != NULL) {
        say(context, (watch_word){.sentence = copy});
    }
}

static void put(void *context, uint64_t root, size_t n_paths, uint64_t job)
{
    follower *w = context;
    pthread_mutex_lock(&w->lock);
    w->facts.batches += n_paths > 0;
    w->facts.paths += n_paths;
    pthread_mutex_unlock(&w->lock);
    jobs_poke(w->jobs);
    say(w, (watch_word){.root = root, .n_paths = n_paths, .job = job});
}

/* ---- which roots ---- */

typedef struct read_context {
    im_root *roots; /* [n], owned, those to be followed */
    size_t n, capacity;
    bool no_memory;
} read_context;

static bool take_root(void *context, const im_root *root)
{
    read_context *read = context;
    if (!root->watch) {
        return true;
    }
    if (read->n == read->capacity) {
        size_t wanted = read->capacity == 0 ? 8 : read->capacity * 2;
        im_root *grown = im_realloc(read->roots, wanted, sizeof(*grown));
        if (grown == NULL) {
            read->no_memory = true;
            return false;
        }
        read->roots = grown;
        read->capacity = wanted;
    }
    read->roots[read->n] = *root;
    read->roots[read->n].path = im_strdup(root->path);
    read->no_memory = read->roots[read->n].path == NULL;
    read->n += !read->no_memory;
    return !read->no_memory;
}

static void clear_read(read_context *read)
{
    for (size_t i = 0; i < read->n; i++) {
        im_root_clear(&read->roots[i]);
    }
    im_free(read->roots);
}

static bool make_room(follower *w)
{
    if (w->n < w->capacity) {
        return true;
    }
    size_t wanted = w->capacity == 0 ? 8 : w->capacity * 2;
    follow **list = im_realloc(w->list, wanted, sizeof(*list));
    w->list = list != NULL ? list : w->list;
    struct pollfd *fds = list != NULL ? im_realloc(w->fds, wanted + 2, sizeof(*fds)) : NULL;
    w->fds = fds != NULL ? fds : w->fds;
    w->capacity = fds != NULL ? wanted : w->capacity;
    return fds != NULL;
}

static void forget_all(follower *w)
{
    while (w->n > 0) {
        follow_free(w->list[--w->n]);
    }
}

/* Those that are followed no more go, new ones come; the others stay as they are. */
static bool settle_list(follower *w, const read_context *read)
{
    for (size_t i = w->n; i-- > 0;) {
        bool wanted = false;
        for (size_t j = 0; j < read->n; j++) {
            wanted = wanted || follow_is(w->list[i], &read->roots[j]);
        }
        if (!wanted) {
            follow_free(w->list[i]);
            w->list[i] = w->list[--w->n];
        }
    }
    for (size_t j = 0; j < read->n; j++) {
        bool known = false;
        for (size_t i = 0; i < w->n; i++) {
            known = known || follow_is(w->list[i], &read->roots[j]);
        }
        if (!known) {
            follow *f = make_room(w) ? follow_new(&w->world, &read->roots[j]) : NULL;
            if (f == NULL) {
                return false;
            }
            w->list[w->n++] = f;
        }
    }
    return true;
}

static void read_roots(follower *w)
{
    uint64_t version = 0;
    read_context read = {0};
    if (im_app_version(w->world.library, &version, NULL) == IM_OK && version == w->version &&
        !w->unread) {
        return;
    }
    im_code rc = im_app_each_root(w->world.library, take_root, &read, NULL);
    w->unread = rc != IM_OK || read.no_memory || !settle_list(w, &read);
    w->version = version;
    clear_read(&read);
}

/* After SIGHUP: perhaps another library, and perhaps there are more watches now. */
static void open_again(follower *w)
{
    im_library_options wanted = w->options->library;
    im_library *fresh = NULL;
    wanted.writable = true;
    if (im_library_open(&wanted, &fresh, NULL) != IM_OK) {
        return; /* the next look tries again */
    }
    forget_all(w);
    im_library_close(w->world.library);
    w->world.library = fresh;
    w->unread = true;
    pthread_mutex_lock(&w->lock);
    w->reopen = false;
    pthread_mutex_unlock(&w->lock);
}

/* ---- the thread ---- */

static void publish(follower *w)
{
    watch_facts now = {.events = w->world.events,
                       .overflows = w->world.overflows,
                       .rescans = w->world.rescans,
                       .polls = w->world.polls};
    for (size_t i = 0; i < w->n; i++) {
        const follow *f = w->list[i];
        now.told += f->how == FOLLOW_TREE;
        now.polled += f->how == FOLLOW_POLL;
        now.folders += f->tree != NULL ? tree_folders(f->tree) : 0;
        now.events += f->tree != NULL ? tree_events(f->tree) : 0;
        now.pending += settle_count(f->settle) + f->n_held;
        if (f->how == FOLLOW_LOST && now.lost++ == 0) {
            im_str path;
            im_str_init(&path, 4 * IM_LIMIT_PATH_BYTES);
            im_text_escape(&path, f->root.path, strlen(f->root.path));
            (void)snprintf(now.first_lost, sizeof(now.first_lost), "%.300s", im_str_text(&path));
            im_str_clear(&path);
        }
    }
    pthread_mutex_lock(&w->lock);
    now.batches = w->facts.batches;
    now.paths = w->facts.paths;
    w->facts = now;
    pthread_mutex_unlock(&w->lock);
}

static void sleep_ms(unsigned ms)
{
    const struct timespec time = {.tv_nsec = (long)ms * 1000000};
    (void)nanosleep(&time, NULL);
}

static void wait_until(follower *w, uint64_t due_ns)
{
    uint64_t count = 0;
    uint64_t now_ns = im_clock_ns();
    uint64_t ms = due_ns <= now_ns ? 0 : (due_ns - now_ns + MS - 1) / MS;
    w->fds[0] = (struct pollfd){.fd = w->wake, .events = POLLIN};
    w->fds[1] = (struct pollfd){.fd = w->world.mounts, .events = POLLPRI};
    for (size_t i = 0; i < w->n; i++) {
        const follow *f = w->list[i];
        w->fds[i + 2] =
            (struct pollfd){.fd = f->tree != NULL ? tree_fd(f->tree) : -1, .events = POLLIN};
    }
    int n = poll(w->fds, (nfds_t)(w->n + 2), (int)IM_MIN(ms, (uint64_t)LOOK_MS));
    if (n <= 0) {
        return;
    }
    (void)!read(w->wake, &count, sizeof(count));
    bool told = false;
    for (size_t i = 0; i < w->n; i++) {
        w->list[i]->mounts_changed = (w->fds[1].revents & (POLLERR | POLLPRI)) != 0;
        w->list[i]->readable = (w->fds[i + 2].revents & POLLIN) != 0;
        told = told || w->list[i]->readable;
    }
    if (told) {
        sleep_ms(GATHER_MS);
    }
}

static void *run(void *context)
{
    follower *w = context;
    uint64_t looked_ns = 0;
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
    im_stop_heed(&w->stop);
    for (;;) {
        uint64_t now_ns = im_clock_ns();
        uint64_t due_ns = now_ns + LOOK_MS * MS;
        pthread_mutex_lock(&w->lock);
        bool ending = w->ending;
        bool reopen = w->reopen;
        bool asked = w->asked || reopen;
        w->asked = false;
        pthread_mutex_unlock(&w->lock);
        if (ending) {
            return NULL;
        }
        if (asked || looked_ns == 0 || now_ns - looked_ns >= LOOK_MS * MS) {
            if (reopen) {
                open_again(w);
            }
            read_roots(w);
            looked_ns = now_ns;
        }
        for (size_t i = 0; i < w->n && !im_stop_asked(); i++) {
            due_ns = IM_MIN(due_ns, follow_step(w->list[i], now_ns));
        }
        publish(w);
        wait_until(w, due_ns);
    }
}

/* ---- the server's side ---- */

im_code watch_open(const im_daemon_options *options, int server_wake, jobs *jobs_of,
                   follower **out_watch, im_error *err)
{
    im_library_options wanted = options->library;
    im_error why = IM_ERROR_INIT;
    *out_watch = NULL;
    if (options->no_watch) {
        return IM_OK;
    }
    follower *w = im_alloc_zero(1, sizeof(*w));
    if (w == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the daemon");
    }
    w->options = options;
    w->server_wake = server_wake;
    w->jobs = jobs_of;
    w->unread = true;
    w->world = (follow_world){.poll_all = options->watch_poll,
                              .every_ns = (options->watch_every_s != 0 ? options->watch_every_s
                                                                       : IM_DAEMON_WATCH_EVERY_S) *
                                          1000000000ull,
                              .mounts = mounts_open(),
                              .note = note,
                              .put = put,
                              .context = w};
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)signal(SIGIO, SIG_IGN); /* of a lease that is asked for in passing (watch_root.c) */
    wanted.writable = true;
    w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    im_code rc = w->wake >= 0 && make_room(w)
                     ? im_library_open(&wanted, &w->world.library, &why)
                     : im_fail(&why, IM_ERR_NOMEM, "could not open a descriptor");
    if (rc == IM_OK) {
        int failed = thread_start(&w->thread, run, w);
        w->started = failed == 0;
        rc = failed == 0
                 ? IM_OK
                 : im_fail(&why, IM_ERR_NOMEM, "could not start a thread: %s", strerror(failed));
    }
    if (rc != IM_OK) {
        watch_close(w);
        w = NULL;
    }
    if (rc == IM_ERR_DENIED || rc == IM_ERR_IO || rc == IM_ERR_FULL) {
        rc = IM_OK; /* into a library that cannot be written nothing is taken */
    } else if (rc != IM_OK && err != NULL) {
        *err = why;
    }
    *out_watch = w;
    return rc;
}

static void wake_up(follower *w)
{
    uint64_t one = 1;
    (void)!write(w->wake, &one, sizeof(one));
}

void watch_poke(follower *w)
{
    if (w != NULL) {
        pthread_mutex_lock(&w->lock);
        w->asked = true;
        pthread_mutex_unlock(&w->lock);
        wake_up(w);
    }
}

void watch_reopen(follower *w)
{
    if (w != NULL) {
        pthread_mutex_lock(&w->lock);
        w->reopen = true;
        pthread_mutex_unlock(&w->lock);
        wake_up(w);
    }
}

void watch_look(follower *w, watch_facts *out)
{
    *out = (watch_facts){0};
    if (w != NULL) {
        pthread_mutex_lock(&w->lock);
        *out = w->facts;
        pthread_mutex_unlock(&w->lock);
    }
}

bool watch_take_word(follower *w, watch_word *out)
{
    bool taken = false;
    if (w != NULL) {
        pthread_mutex_lock(&w->lock);
        taken = w->n_words > 0;
        if (taken) {
            *out = w->words[0];
            w->n_words--;
            memmove(w->words, w->words + 1, w->n_words * sizeof(*w->words));
        }
        pthread_mutex_unlock(&w->lock);
    }
    return taken;
}

void watch_close(follower *w)
{
    if (w == NULL) {
        return;
    }
    pthread_mutex_lock(&w->lock);
    w->ending = true;
    atomic_store(&w->stop, true);
    pthread_mutex_unlock(&w->lock);
    if (w->wake >= 0) {
        wake_up(w);
    }
    if (w->started) {
        (void)pthread_join(w->thread, NULL);
    }
    forget_all(w);
    for (size_t i = 0; i < w->n_words; i++) {
        im_free(w->words[i].sentence);
    }
    im_library_close(w->world.library);
    if (w->wake >= 0) {
        (void)close(w->wake);
    }
    if (w->world.mounts >= 0) {
        (void)close(w->world.mounts);
    }
    im_free(w->list);
    im_free(w->fds);
    (void)pthread_mutex_destroy(&w->lock);
    im_free(w);
}
