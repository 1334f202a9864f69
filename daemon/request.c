/* daemon/request.c — from a head to an exchange: which route, whether it may have this body, and
 * how the answer is handed over. */
#include "base/clock.h"
#include "daemon/connection_internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* Takes its part of DAEMON_ANSWERS_BYTES for a long answer, which becomes a problem when too little
 * is left. Short ones need none, so that /health answers whoever reads or not. */
static void reserve_answer(server *s, connection *c)
{
    im_error error = IM_ERROR_INIT;
    size_t size = c->exchange->head_only ? 0 : c->exchange->answer.out.size;
    if (size <= CONNECTION_OUT_KEPT_BYTES) {
        return;
    }
    if (s->answer_bytes + size > DAEMON_ANSWERS_BYTES) {
        (void)!im_fail_as(&error, IM_REASON_QUEUE_FULL,
                          "the answers that wait for their readers are above %llu bytes together",
                          DAEMON_ANSWERS_BYTES);
        exchange_fail(c->exchange, 0, &error);
        return;
    }
    s->answer_bytes += size;
    c->out_counted = size;
}

/* The answer's file becomes the connection's, which sends it behind the head. */
static void take_file(connection *c, exchange *ex)
{
    if (ex->file >= 0 && !ex->head_only) {
        c->file = ex->file;
        c->file_at = ex->file_at;
        c->file_left = ex->file_size;
        c->file_stamp = ex->file_stamp;
        ex->file = -1;
    }
}

step connection_finish(server *s, connection *c)
{
    exchange *ex = c->exchange;
    ex->close = ex->close || s->stopping;
    reserve_answer(s, c);
    bool whole = exchange_write(ex, &c->out);
    c->close = ex->close;
    c->stream = ex->streams && ex->status == 200 && !ex->head_only && !s->stopping ? ex->stream : 0;
    c->stream_after = ex->stream_after;
    if (ex->streams && ex->status == 200 && !ex->head_only) {
        c->talk = ex->talk; /* its events follow; else it is left with the exchange */
        ex->talk = NULL;
    }
    c->exchange = NULL;
    take_file(c, ex);
    metrics_count(&s->metrics, ex);
    if (s->options->log) {
        s->metrics.lost_lines += !exchange_log(ex);
    }
    body_uncount(s, ex);
    exchange_free(ex);
    c->state = CONN_WRITE;
    connection_deadline(c, c->file >= 0 ? DAEMON_FILE_MS : DAEMON_WRITE_MS);
    return whole ? STEP_ON : STEP_CLOSE;
}

static step fail(server *s, connection *c, int status, const im_error *error)
{
    exchange_fail(c->exchange, status, error);
    return connection_finish(s, c);
}

step connection_refuse(server *s, connection *c, const http_fault *fault)
{
    if (c->exchange == NULL) {
        c->exchange = exchange_new(c->id);
    }
    if (c->exchange == NULL) {
        return STEP_CLOSE;
    }
    c->exchange->close = true;
    return fail(s, c, fault->status, &fault->error);
}

step connection_dispatch(server *s, connection *c)
{
    exchange *ex = c->exchange;
    im_error error = IM_ERROR_INIT;
    if (ex->route->place == PLACE_QUICK) {
        ex->route->function(s, &ex, 1);
        return connection_finish(s, c);
    }
    work *where = ex->route->place == PLACE_WRITER     ? s->writer
                  : ex->route->place == PLACE_PICTURES ? s->pictures
                                                       : s->work;
    if (!work_put(where, ex)) {
        (void)!im_fail_as(&error, IM_REASON_QUEUE_FULL, "%u requests are waiting already",
                          DAEMON_MOST_WAITING);
        return fail(s, c, 0, &error);
    }
    c->state = CONN_WAIT;
    return STEP_WAIT;
}

/* ---- what a head is checked for ---- */

static int check_route(const client *from, const http_head *head, exchange *ex, im_view *out_hole,
                       im_error *err)
{
    ex->route = route_find(head->method, head->path, from->immich, out_hole, ex->allow);
    if (ex->route == NULL && ex->allow[0] != '\0') {
        (void)!im_fail_as(err, IM_REASON_HTTP_METHOD, "'%.60s' has no method %s, but %s", ex->path,
                          ex->method, ex->allow);
        return 405;
    }
    if (ex->route == NULL) {
        (void)!im_fail_as(err, IM_REASON_ROUTE_NOT_FOUND, "there is no route '%.100s'", ex->path);
        im_hint(err, from->immich ? "this address is for Immich: GET /ping, POST /predict"
                                  : "GET /openapi.json lists those that there are");
        return 404;
    }
    return 0;
}

static int check_hole(exchange *ex, im_view hole, im_error *err)
{
    bool fits = hole.size < sizeof(ex->name);
    (void)snprintf(ex->name, sizeof(ex->name), "%.*s", fits ? (int)hole.size : 0, hole.data);
    if (!fits || (strstr(ex->route->path, "{id}") != NULL &&
                  !im_parse_u64(ex->name, 1, INT64_MAX, &ex->item))) {
        (void)!im_fail_as(err, IM_REASON_HTTP_PARAMETER,
                          "'%.100s': '%.40s' is no number, or too long", ex->path, ex->name);
        return 400;
    }
    return 0;
}

static int check_body(const http_head *head, exchange *ex, im_error *err)
{
    bool has_body = head->chunked || (head->has_length && head->length > 0);
    if (!body_is_taken(ex->route)) {
        if (has_body) {
            (void)!im_fail_as(err, IM_REASON_HTTP_TOO_LARGE, "%s takes no body", ex->route->path);
        }
        return has_body ? 413 : 0;
    }
    im_code rc = body_choose(ex, head->content_type, err);
    if (rc == IM_OK && head->has_length && head->length > body_most(ex)) {
        rc = im_fail_as(err, IM_REASON_HTTP_TOO_LARGE,
                        "the body has %llu bytes, the limit of %s is %zu",
                        (unsigned long long)head->length, ex->route->path, body_most(ex));
    }
    return rc == IM_OK ? 0 : im_code_http(rc);
}

/* A browser names the page that asks; a page of another site must change nothing here. */
static int check_origin(const http_head *head, im_error *err)
{
    bool changes = head->method != HTTP_GET && head->method != HTTP_HEAD;
    if (!changes || origin_is_ours(head)) {
        return 0;
    }
    (void)!im_fail_as(err, IM_REASON_ORIGIN_REFUSED,
                      "header 'Origin' is '%.*s', which is not this server",
                      (int)IM_MIN(head->origin.size, (size_t)80), head->origin.data);
    return 403;
}

static int check_host(const server *s, const client *from, const http_head *head, im_error *err)
{
    /* what Immich calls us is a name of its own network, and nothing here can be read or changed */
    if (from->immich || host_is_ours(s, from, head->host)) {
        return 0;
    }
    (void)!im_fail_as(err, IM_REASON_HTTP_HOST,
                      "header 'Host' is '%.*s', which is not what this server is called",
                      (int)IM_MIN(head->host.size, (size_t)80), head->host.data);
    im_hint(err, "imago serve --host NAME adds a name");
    return 421;
}

/* The status of what is wrong with a head, 0 when nothing is. Who asks is looked at before what is
 * asked for, so that strangers learn nothing of it. */
static int check_head(server *s, const connection *c, const http_head *head, exchange *ex,
                      im_error *err)
{
    im_view hole = im_view_of("", 0);
    int status = check_host(s, &c->from, head, err);
    if (status == 0) {
        status = check_route(&c->from, head, ex, &hole, err);
    }
    if (status == 0) {
        status = check_origin(head, err);
    }
    if (status == 0) {
        status = guard_check(s, &c->from, head, ex->route, &ex->retry_s, err);
    }
    if (status == 0) {
        status = check_hole(ex, hole, err);
    }
    if (status == 0) {
        status = check_body(head, ex, err);
    }
    if (status == 0) {
        im_code rc = http_parameters_read(head->query, &ex->parameters, err);
        if (rc == IM_OK) {
            rc = route_check_parameters(ex->route, &ex->parameters, err);
        }
        status = rc == IM_OK ? 0 : im_code_http(rc);
    }
    return status;
}

/* Who writes a key into the address is refused; it must not get into logs that way. */
static void hide_key(char *path)
{
    for (char *at = strstr(path, IM_KEY_PREFIX); at != NULL; at = strstr(at, IM_KEY_PREFIX)) {
        at += strlen(IM_KEY_PREFIX);
        while (im_ascii_is_alnum(*at)) {
            *at++ = '*';
        }
    }
}

/* A copy; NULL when there is none, or no memory for what is only a wish. */
static char *copy(im_view text)
{
    char *out = text.data != NULL ? im_alloc(text.size + 1, 1) : NULL;
    if (out != NULL) {
        memcpy(out, text.data, text.size);
        out[text.size] = '\0';
    }
    return out;
}

/* Ranges are for GET alone (RFC 9110, 14.2). */
static void keep_conditions(const http_head *head, exchange *ex)
{
    if (head->method == HTTP_GET || head->method == HTTP_HEAD) {
        ex->if_none_match = copy(head->if_none_match);
        char *last = copy(head->last_event_id);
        if (last == NULL || !im_parse_u64(last, 0, UINT64_MAX, &ex->last_event)) {
            ex->last_event = 0; /* not one of ours */
        }
        im_free(last);
    }
    if (head->method == HTTP_GET) {
        ex->range = copy(head->range);
        ex->if_range = copy(head->if_range);
    }
}

static bool invite_body(connection *c)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    return send(c->fd, go_on, sizeof(go_on) - 1, MSG_NOSIGNAL) == (ssize_t)sizeof(go_on) - 1;
}

/* The head is good and a body comes. */
static step begin_body(server *s, connection *c, const http_head *head)
{
    im_error error = IM_ERROR_INIT;
    if (body_begin(s, c->exchange, &error) != IM_OK) {
        c->exchange->close = true;
        return fail(s, c, 0, &error);
    }
    c->chunked = head->chunked;
    c->length = head->length;
    c->chunks = (http_chunks){0};
    c->state = CONN_BODY;
    connection_deadline(c, c->exchange->spool >= 0 ? DAEMON_FILE_MS : DAEMON_BODY_MS);
    bool invite = head->expects_continue && c->in_size == head->size;
    return !invite || invite_body(c) ? STEP_ON : STEP_CLOSE;
}

step connection_begin(server *s, connection *c, const http_head *head)
{
    im_error error = IM_ERROR_INIT;
    exchange *ex = exchange_new(c->id);
    bool has_body = head->chunked || (head->has_length && head->length > 0);
    if (ex == NULL) {
        return STEP_CLOSE;
    }
    c->exchange = ex;
    ex->head_only = head->method == HTTP_HEAD;
    ex->wants_events = head->wants_events;
    ex->forwarded = head->forwarded;
    ex->close = head->close;
    (void)snprintf(ex->method, sizeof(ex->method), "%.*s",
                   (int)IM_MIN(head->method_name.size, sizeof(ex->method) - 1),
                   head->method_name.data);
    (void)snprintf(ex->path, sizeof(ex->path), "%.*s",
                   (int)IM_MIN(head->path.size, sizeof(ex->path) - 1),
                   head->path.data != NULL ? head->path.data : "");
    hide_key(ex->path);
    int status = check_head(s, c, head, ex, &error);
    if (status != 0) {
        ex->close = ex->close || has_body; /* which nobody will read */
        return fail(s, c, status, &error);
    }
    keep_conditions(head, ex);
    return has_body ? begin_body(s, c, head) : connection_dispatch(s, c);
}
