/* daemon/server.c — the thread of the sockets: listens, waits for what happens, and stops cleanly.
 */
#include "base/clock.h"
#include "daemon/talk_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define ID_WAKE UINT64_MAX
#define ID_LISTENER (UINT64_MAX - DAEMON_MOST_LISTENERS) /* … and above: listener 0 … */
#define TICK_MS 200
#define OTHER_DESCRIPTORS 80u /* of the library and of ourselves */

/* ---- clients ---- */

/* There is no room: said at once, so that the client does not wait for nothing. */
static void turn_away(server *s, int fd)
{
    static const char busy[] =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
        "Content-Length: 139\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
        "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,"
        "\"detail\":\"too many connections\",\"code\":\"queue_full\",\"class\":\"IM_ERR_BUSY\"}";
    char dropped[4096];
    s->metrics.turned_away++;
    (void)!recv(fd, dropped, sizeof(dropped), MSG_DONTWAIT);
    (void)!send(fd, busy, sizeof(busy) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)shutdown(fd, SHUT_WR);
    (void)close(fd);
}

static void take_client(server *s, const listener *from, int fd)
{
    int on = 1;
    client who;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    s->metrics.accepted++;
    if (!client_read(from, fd, &who)) {
        (void)close(fd);
    } else if (s->n_connections >= s->most_connections || !connection_open(s, fd, &who)) {
        turn_away(s, fd);
    }
}

/* Out of descriptors: the spare one is given up for the time of one answer, else the client would
 * wait in the queue and wake us again and again. */
static void accept_without_room(server *s, const listener *from)
{
    if (s->spare >= 0) {
        (void)close(s->spare);
        s->spare = -1;
    }
    int fd = accept4(from->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        turn_away(s, fd);
    }
    s->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void accept_clients(server *s, const listener *from)
{
    for (int n = 0; n < 64; n++) {
        int fd = accept4(from->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            take_client(s, from, fd);
        } else if (errno == EMFILE || errno == ENFILE) {
            accept_without_room(s, from);
            return;
        } else if (errno != ECONNABORTED && errno != EINTR) {
            return;
        }
    }
}

/* To the server that is asked for the rest of the answer. */
static void pass_on(server *s, exchange *ex)
{
    im_error error = IM_ERROR_INIT;
    if (!atomic_load(&ex->abandoned) && forward_put(s->forward, ex)) {
        return;
    }
    (void)!im_fail_as(&error, IM_REASON_QUEUE_FULL, "%u requests are waiting already",
                      DAEMON_MOST_WAITING);
    exchange_fail(ex, 0, &error);
    connection_answer(s, ex);
}

static void hand_over(server *s, exchange *list)
{
    for (exchange *ex = list, *next = NULL; ex != NULL; ex = next) {
        next = ex->next;
        if (ex->onward != NULL && ex->status == 0) {
            pass_on(s, ex);
        } else {
            connection_answer(s, ex);
        }
    }
}

/* What the follower has to say: sentences always, batches where requests are logged too. */
static void tell_words(server *s)
{
    watch_word word;
    while (watch_take_word(s->watch, &word)) {
        if (word.sentence == NULL && s->options->log) {
            im_json_writer w;
            log_begin(&w, "watch");
            im_json_put_uint(&w, "root", word.root);
            im_json_put_uint(&w, "paths", word.n_paths);
            im_json_put_bool(&w, "rescan", word.n_paths == 0);
            im_json_put_uint(&w, "job", word.job);
            s->metrics.lost_lines += !log_end(&w);
        } else if (word.sentence != NULL && s->options->note != NULL) {
            s->options->note(s->options->context, word.sentence);
        }
        im_free(word.sentence);
    }
}

static void hand_over_answers(server *s)
{
    uint64_t count = 0;
    (void)!read(s->wake, &count, sizeof(count));
    tell_words(s);
    hand_over(s, work_take_answered(s->work));
    hand_over(s, work_take_answered(s->writer));
    hand_over(s, work_take_answered(s->pictures));
    hand_over(s, forward_take_answered(s->forward));
    connections_stream(s);
}

/* ---- the loop ---- */

static void begin_stop(server *s)
{
    s->stopping = true;
    notify_send("STOPPING=1");
    listeners_close(s); /* new clients are refused by the kernel from here */
}

static void handle(server *s, const struct epoll_event *event)
{
    if (event->data.u64 == ID_WAKE) {
        hand_over_answers(s);
    } else if (event->data.u64 < ID_LISTENER) {
        connection_event(s, event->data.u64, event->events);
    } else if (!s->stopping) {
        accept_clients(s, &s->listeners[event->data.u64 - ID_LISTENER]);
    }
}

static im_code loop(server *s, im_error *err)
{
    struct epoll_event events[64];
    uint64_t stop_ns = 0;
    uint64_t tick_ns = im_clock_ns();
    while (!s->stopping || (s->n_connections > 0 && im_clock_ms_since(stop_ns) < DAEMON_STOP_MS)) {
        int n = epoll_wait(s->epoll, events, (int)IM_COUNT(events), TICK_MS);
        if (n < 0 && errno != EINTR) {
            return im_fail_errno(err, errno, "could not wait for clients");
        }
        for (int i = 0; i < n; i++) {
            handle(s, &events[i]);
        }
        if (!s->stopping && im_reload_take()) {
            reload_begin(s);
        }
        reload_go_on(s);
        local_vlm_tell(s->vlm);
        if (!s->stopping && im_stop_asked()) {
            begin_stop(s);
            stop_ns = im_clock_ns();
            connections_tick(s, stop_ns);
        }
        if (im_clock_ms_since(tick_ns) >= TICK_MS) {
            tick_ns = im_clock_ns();
            connections_tick(s, tick_ns);
        }
    }
    return IM_OK;
}

/* As many clients as there are descriptors for, the library's kept back. */
static void fit_to_descriptors(server *s)
{
    struct rlimit limit;
    s->most_connections = DAEMON_MOST_CONNECTIONS;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        uint64_t spare = limit.rlim_cur > OTHER_DESCRIPTORS ? limit.rlim_cur - OTHER_DESCRIPTORS
                                                            : limit.rlim_cur / 4;
        s->most_connections = (size_t)IM_MIN((uint64_t)s->most_connections, IM_MAX(spare, 1u));
    }
}

static im_code add_watch(server *s, int fd, uint64_t id, im_error *err)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.u64 = id}};
    return epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &event) == 0
               ? IM_OK
               : im_fail_errno(err, errno, "could not watch a socket");
}

static im_code open_all(server *s, im_error *err)
{
    fit_to_descriptors(s);
    im_str_init(&s->openapi, 1u << 20);
    im_daemon_openapi(&s->openapi);
    im_code rc = s->openapi.failed ? im_fail(err, IM_ERR_NOMEM, "no memory for the daemon") : IM_OK;
    s->folder = folder_mark_of(s->options->library.places->library);
    if (rc == IM_OK) {
        rc = im_guard_open(s->options->library.places, &s->guard, err);
    }
    if (rc == IM_OK) {
        rc = immich_open(s, err);
    }
    if (rc == IM_OK) {
        rc = listeners_open(s, err);
    }
    s->epoll = rc == IM_OK ? epoll_create1(EPOLL_CLOEXEC) : -1;
    s->wake = rc == IM_OK ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
    s->spare = rc == IM_OK ? open("/dev/null", O_RDONLY | O_CLOEXEC) : -1;
    if (rc == IM_OK && (s->epoll < 0 || s->wake < 0 || s->spare < 0)) {
        rc = im_fail_errno(err, errno, "could not open a descriptor");
    }
    for (size_t i = 0; rc == IM_OK && i < s->n_listeners; i++) {
        rc = add_watch(s, s->listeners[i].fd, ID_LISTENER + i, err);
    }
    if (rc == IM_OK) {
        rc = add_watch(s, s->wake, ID_WAKE, err);
    }
    if (rc == IM_OK) {
        rc = work_open(s->options, s, s->wake, WORK_SEARCHES, &s->work, err);
    }
    if (rc == IM_OK) {
        rc = work_open(s->options, s, s->wake, WORK_CHANGES, &s->writer, err);
    }
    if (rc == IM_OK) {
        rc = work_open(s->options, s, s->wake, WORK_READS, &s->pictures, err);
    }
    if (rc == IM_OK) {
        rc = forward_open(s->options, s->wake, &s->forward, err);
    }
    if (rc == IM_OK) {
        rc = talks_open(s, &s->talks, err);
    }
    if (rc == IM_OK) {
        rc = jobs_open(s->options, s->wake, &s->jobs, err);
    }
    if (rc == IM_OK) {
        rc = local_vlm_open(s->options, &s->vlm, err);
    }
    if (rc == IM_OK) {
        rc = watch_open(s->options, s->wake, s->jobs, &s->watch, err);
    }
    return rc;
}

static void close_fd(int fd)
{
    if (fd >= 0) {
        (void)close(fd);
    }
}

im_code im_daemon_run(const im_daemon_options *options, im_error *err)
{
    server *s = im_alloc_zero(1, sizeof(*s));
    if (s == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the daemon");
    }
    s->options = options;
    s->epoll = s->wake = s->spare = -1;
    im_code rc = open_all(s, err);
    if (rc == IM_OK) {
        listeners_tell(s);
        notify_send("READY=1");
        rc = loop(s, err);
    }
    connections_close_all(s);
    watch_close(s->watch);
    jobs_close(s->jobs);
    local_vlm_tell(s->vlm);
    local_vlm_close(s->vlm);
    forward_close(s->forward);
    work_close(s->pictures);
    work_close(s->writer);
    work_close(s->work);
    talks_close(s->talks); /* behind all that might put one */
    immich_close(s);
    close_fd(s->epoll);
    listeners_close(s);
    im_guard_close(s->guard);
    im_guard_close(s->reload.guard);
    close_fd(s->wake);
    close_fd(s->spare);
    im_str_clear(&s->openapi);
    im_free(s);
    return rc;
}
