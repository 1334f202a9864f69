/* daemon/connection.c — one client: head, body, answer, and again. A connection has one exchange at
 * a time, so that answers come in the order of their requests; what the client sends meanwhile
 * waits in the socket. */
#include "base/clock.h"
#include "daemon/connection_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- making and ending ---- */

static void watch(server *s, connection *c)
{
    uint32_t events = c->state == CONN_WAIT    ? 0
                      : c->state == CONN_TALK  ? (uint32_t)EPOLLRDHUP
                      : c->state == CONN_WRITE ? (uint32_t)EPOLLOUT
                      : c->state == CONN_STREAM
                          ? (uint32_t)EPOLLIN | (c->sent < c->out.size ? (uint32_t)EPOLLOUT : 0)
                                               : (uint32_t)EPOLLIN;
    struct epoll_event event = {.events = events, .data = {.u64 = c->id}};
    if (events != c->events) {
        c->events = events;
        (void)epoll_ctl(s->epoll, EPOLL_CTL_MOD, c->fd, &event);
    }
}

static void drop_exchange(server *s, connection *c)
{
    if (c->exchange == NULL) {
        return;
    }
    if (c->state == CONN_WAIT) { /* the library's thread has it: it comes back later */
        atomic_store(&c->exchange->abandoned, true);
    } else {
        body_uncount(s, c->exchange);
        exchange_free(c->exchange);
    }
    c->exchange = NULL;
}

static void close_file(connection *c)
{
    if (c->file >= 0) {
        (void)close(c->file);
        c->file = -1;
    }
}

static void close_connection(server *s, connection *c)
{
    uint32_t slot = (uint32_t)c->id;
    drop_exchange(s, c);
    talk_leave(c->talk);
    s->answer_bytes -= c->out_counted;
    close_file(c);
    (void)close(c->fd);
    im_str_clear(&c->out);
    im_free(c->in);
    im_free(c);
    s->connections[slot] = NULL;
    s->generations[slot]++;
    s->n_connections--;
}

bool connection_open(server *s, int fd, const client *from)
{
    uint32_t slot = 0;
    while (slot < DAEMON_MOST_CONNECTIONS && s->connections[slot] != NULL) {
        slot++;
    }
    connection *c = slot < DAEMON_MOST_CONNECTIONS ? im_alloc_zero(1, sizeof(*c)) : NULL;
    char *in = im_alloc(CONNECTION_IN_BYTES, 1);
    if (c == NULL || in == NULL) {
        im_free(c);
        im_free(in);
        return false;
    }
    *c = (connection){.file = -1,
                      .fd = fd,
                      .from = *from,
                      .id = (uint64_t)s->generations[slot] << 32 | slot,
                      .in = in,
                      .events = EPOLLIN};
    im_str_init(&c->out, DAEMON_ANSWER_BYTES + (64u << 10));
    connection_deadline(c, DAEMON_IDLE_MS);
    struct epoll_event event = {.events = EPOLLIN, .data = {.u64 = c->id}};
    if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        im_free(in);
        im_free(c);
        return false;
    }
    s->connections[slot] = c;
    s->n_connections++;
    return true;
}

void connection_deadline(connection *c, unsigned ms)
{
    c->deadline_ns = im_clock_ns() + (uint64_t)ms * 1000000u;
}

/* ---- steps ---- */

/* More bytes of the client, behind those that are there. */
static step read_more(connection *c)
{
    ssize_t n = recv(c->fd, c->in + c->in_size, CONNECTION_IN_BYTES - c->in_size, 0);
    if (n > 0) {
        c->in_size += (size_t)n;
        return STEP_ON;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return STEP_WAIT;
    }
    return STEP_CLOSE;
}

static void forget_input(connection *c, size_t n)
{
    c->in_size -= n;
    memmove(c->in, c->in + n, c->in_size);
}

static step head_step(server *s, connection *c)
{
    http_head head;
    http_fault fault;
    http_state state = HTTP_MORE;
    if (c->in_size > 0) {
        if (!c->head_begun) {
            c->head_begun = true;
            connection_deadline(c, DAEMON_HEAD_MS);
        }
        state = http_head_read(im_view_of(c->in, c->in_size), &head, &fault);
    }
    if (state == HTTP_MORE) {
        return s->stopping && c->in_size == 0 ? STEP_CLOSE : read_more(c);
    }
    c->head_begun = false;
    if (state == HTTP_REFUSED) {
        return connection_refuse(s, c, &fault);
    }
    step next = connection_begin(s, c, &head);
    forget_input(c, head.size);
    return next;
}

/* Takes what is there of the body. */
static http_state take_body(connection *c, http_fault *fault)
{
    exchange *ex = c->exchange;
    size_t used = 0;
    http_state state = HTTP_MORE;
    if (c->chunked) {
        state = http_chunks_read(&c->chunks, im_view_of(c->in, c->in_size), &used, &ex->body,
                                 body_most(ex) - ex->spooled, fault);
    } else {
        used = (size_t)IM_MIN((uint64_t)c->in_size, c->length - body_size(ex));
        im_str_add(&ex->body, c->in, used);
        state = body_size(ex) == c->length ? HTTP_READY : HTTP_MORE;
        if (ex->body.failed) {
            state = http_refuse(fault, 503, IM_REASON_NOMEM, "no memory for a body");
        }
    }
    forget_input(c, used);
    return state;
}

static step body_step(server *s, connection *c)
{
    http_fault fault;
    exchange *ex = c->exchange;
    http_state state = take_body(c, &fault);
    fault.error = state == HTTP_REFUSED ? fault.error : (im_error)IM_ERROR_INIT;
    if (state != HTTP_REFUSED &&
        (body_count(s, ex, &fault.error) != IM_OK || body_flush(ex, &fault.error) != IM_OK)) {
        fault.status = im_code_http(fault.error.code);
        state = HTTP_REFUSED;
    }
    if (state == HTTP_REFUSED) {
        return connection_refuse(s, c, &fault);
    }
    return state == HTTP_READY ? connection_dispatch(s, c) : read_more(c);
}

/* What is left of the answer's file. One that has become another file ends the connection: the
 * client sees that its answer is not whole. */
static step send_file(connection *c)
{
    struct stat info;
    off_t at = (off_t)c->file_at;
    size_t most = (size_t)IM_MIN(c->file_left, (uint64_t)CONNECTION_FILE_BYTES);
    if (fstat(c->file, &info) != 0) {
        return STEP_CLOSE;
    }
    im_file_stamp now = im_file_stamp_of(&info);
    if (now.size != c->file_stamp.size || now.mtime_ns != c->file_stamp.mtime_ns) {
        return STEP_CLOSE;
    }
    ssize_t n = sendfile(c->fd, c->file, &at, most);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return STEP_WAIT;
    }
    if (n <= 0) {
        return STEP_CLOSE;
    }
    c->file_at += (uint64_t)n;
    c->file_left -= (uint64_t)n;
    return c->file_left > 0 ? STEP_WAIT : STEP_ON; /* others have their turn in between */
}

/* All of the answer is sent. */
static step end_answer(server *s, connection *c)
{
    close_file(c);
    c->sent = 0;
    s->answer_bytes -= c->out_counted;
    c->out_counted = 0;
    if (c->out.capacity > CONNECTION_OUT_KEPT_BYTES) {
        im_str_clear(&c->out);
        im_str_init(&c->out, DAEMON_ANSWER_BYTES + (64u << 10));
    }
    im_str_reset(&c->out);
    if (c->stream != 0 || c->talk != NULL) {
        c->state = CONN_STREAM;
        c->beat_ns = im_clock_ns();
        return STEP_ON;
    }
    if (c->close) {
        (void)shutdown(c->fd, SHUT_WR);
        c->state = CONN_LINGER;
        connection_deadline(c, DAEMON_LINGER_MS);
        return STEP_ON;
    }
    c->state = CONN_HEAD;
    connection_deadline(c, DAEMON_IDLE_MS);
    return s->stopping ? STEP_CLOSE : STEP_ON;
}

static step write_step(server *s, connection *c)
{
    while (c->sent < c->out.size) {
        ssize_t n = send(c->fd, c->out.data + c->sent, c->out.size - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno == EAGAIN ? STEP_WAIT : STEP_CLOSE;
        }
        c->sent += (size_t)n;
    }
    if (c->file >= 0 && c->file_left > 0) {
        step next = send_file(c);
        if (next != STEP_ON) {
            return next;
        }
    }
    return end_answer(s, c);
}

/* What is new for a listener; one who does not read what came before is dropped. A listener says
 * nothing: what comes from it is its end, or thrown away. */
static step stream_step(server *s, connection *c)
{
    bool ended = false;
    c->in_size = 0;
    if (read_more(c) == STEP_CLOSE) {
        return STEP_CLOSE;
    }
    c->in_size = 0;
    if (c->talk != NULL) {
        ended = talk_take(c->talk, &c->out);
    } else {
        c->stream_after = jobs_listen(s->jobs, c->stream, c->stream_after, &c->out, &ended);
        ended = ended || s->stopping;
    }
    if (c->out.size == 0 && im_clock_ms_since(c->beat_ns) > DAEMON_HEARTBEAT_MS) {
        im_str_add_c(&c->out, ": still here\n\n");
    }
    if (c->out.failed || c->out.size > CONNECTION_STREAM_BYTES) {
        return STEP_CLOSE;
    }
    if (ended) { /* what is left is sent as any answer is */
        c->stream = 0;
        talk_leave(c->talk);
        c->talk = NULL;
        c->state = CONN_WRITE;
        connection_deadline(c, DAEMON_WRITE_MS);
        return STEP_ON;
    }
    while (c->sent < c->out.size) {
        ssize_t n = send(c->fd, c->out.data + c->sent, c->out.size - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            return STEP_WAIT;
        }
        if (n < 0) {
            return STEP_CLOSE;
        }
        c->sent += (size_t)n;
        c->beat_ns = im_clock_ns();
    }
    c->sent = 0;
    im_str_reset(&c->out);
    return STEP_WAIT;
}

/* The answer comes when the talk has ended; what the client sends meanwhile waits in the socket. */
static step talk_step(server *s, connection *c)
{
    return talk_finish(c->exchange->talk, c->exchange) ? connection_finish(s, c) : STEP_WAIT;
}

/* Drops what still comes, so that the last answer is not lost in a reset. */
static step linger_step(connection *c)
{
    c->in_size = 0;
    step next = read_more(c);
    return next == STEP_ON ? STEP_WAIT : next; /* others first, however much is coming */
}

static step one_step(server *s, connection *c)
{
    switch (c->state) {
    case CONN_HEAD:
        return head_step(s, c);
    case CONN_BODY:
        return body_step(s, c);
    case CONN_WRITE:
        return write_step(s, c);
    case CONN_STREAM:
        return stream_step(s, c);
    case CONN_TALK:
        return talk_step(s, c);
    case CONN_LINGER:
        return linger_step(c);
    case CONN_WAIT:
    default:
        return STEP_WAIT;
    }
}

/* Goes on until the client must do something. After CONNECTION_TURN steps others have their turn:
 * the connection is then one that waits to write nothing, which epoll tells at once. */
static void go_on(server *s, connection *c)
{
    step next = STEP_ON;
    for (size_t n = 0; next == STEP_ON && (n < CONNECTION_TURN || c->state != CONN_WRITE); n++) {
        next = one_step(s, c);
    }
    if (next == STEP_CLOSE) {
        close_connection(s, c);
    } else {
        watch(s, c);
    }
}

/* ---- events ---- */

static connection *find(server *s, uint64_t id)
{
    uint32_t slot = (uint32_t)id;
    connection *c = slot < DAEMON_MOST_CONNECTIONS ? s->connections[slot] : NULL;
    return c != NULL && c->id == id ? c : NULL;
}

void connection_event(server *s, uint64_t id, uint32_t events)
{
    connection *c = find(s, id);
    if (c == NULL) {
        return;
    }
    bool gone = (events & (EPOLLERR | EPOLLHUP)) != 0;
    if ((c->state == CONN_WAIT && gone) ||
        (c->state == CONN_TALK && (gone || (events & EPOLLRDHUP) != 0))) {
        close_connection(s, c); /* nobody is there to read the answer: nobody is asked for it */
        return;
    }
    go_on(s, c);
}

void connection_answer(server *s, exchange *ex)
{
    connection *c = find(s, ex->connection);
    if (c == NULL || c->exchange != ex) {
        body_uncount(s, ex);
        exchange_free(ex);
        return;
    }
    if (ex->talk != NULL && ex->status == 0) {
        c->state = CONN_TALK;
    } else if (connection_finish(s, c) == STEP_CLOSE) {
        close_connection(s, c);
        return;
    }
    go_on(s, c);
}

void connections_stream(server *s)
{
    for (size_t i = 0; i < DAEMON_MOST_CONNECTIONS; i++) {
        if (s->connections[i] != NULL && (s->connections[i]->state == CONN_STREAM ||
                                          s->connections[i]->state == CONN_TALK)) {
            go_on(s, s->connections[i]);
        }
    }
}

void connections_tick(server *s, uint64_t now_ns)
{
    for (size_t i = 0; i < DAEMON_MOST_CONNECTIONS; i++) {
        connection *c = s->connections[i];
        if (c == NULL || c->state == CONN_WAIT || c->state == CONN_TALK) {
            continue;
        }
        if (c->state == CONN_STREAM) {
            go_on(s, c); /* its heartbeat, or the end */
            continue;
        }
        bool late = now_ns >= c->deadline_ns;
        if (s->stopping && c->state == CONN_HEAD) {
            close_connection(s, c);
        } else if (late && ((c->state == CONN_HEAD && c->head_begun) || c->state == CONN_BODY)) {
            http_fault fault;
            (void)http_refuse(&fault, 408, IM_REASON_HTTP_SLOW,
                              "the request did not arrive within %u s",
                              (c->state == CONN_HEAD     ? DAEMON_HEAD_MS
                               : c->exchange->spool >= 0 ? DAEMON_FILE_MS
                                                         : DAEMON_BODY_MS) /
                                  1000);
            if (connection_refuse(s, c, &fault) == STEP_CLOSE) {
                close_connection(s, c);
            } else {
                go_on(s, c);
            }
        } else if (late) {
            close_connection(s, c);
        }
    }
}

void connections_close_all(server *s)
{
    for (size_t i = 0; i < DAEMON_MOST_CONNECTIONS; i++) {
        if (s->connections[i] != NULL) {
            close_connection(s, s->connections[i]);
        }
    }
}
