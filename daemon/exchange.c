/* daemon/exchange.c — a request and its answer: problems as RFC 9457 writes them, heads of answers,
 * the line of the log. */
#include "base/clock.h"
#include "daemon/daemon_internal.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

exchange *exchange_new(uint64_t whose)
{
    exchange *ex = im_alloc_zero(1, sizeof(*ex));
    uint64_t random = 0;
    if (ex == NULL) {
        return NULL;
    }
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != (ssize_t)sizeof(random)) {
        random = im_clock_ns(); /* an id for logs, no secret */
    }
    ex->connection = whose;
    ex->start_ns = im_clock_ns();
    ex->type = "application/json";
    (void)snprintf(ex->request_id, sizeof(ex->request_id), "%016llx", (unsigned long long)random);
    (void)snprintf(ex->method, sizeof(ex->method), "-");
    ex->cache = "no-store";
    ex->spool = ex->file = -1;
    im_str_init(&ex->body, 0);
    im_str_init(&ex->headers, 16u << 10);
    im_json_init(&ex->answer, DAEMON_ANSWER_BYTES);
    return ex;
}

static void close_fd(int fd)
{
    if (fd >= 0) {
        (void)close(fd);
    }
}

void exchange_free(exchange *ex)
{
    if (ex == NULL) {
        return;
    }
    http_parameters_clear(&ex->parameters);
    talk_leave(ex->talk);
    im_map_close(ex->map);
    close_fd(ex->spool);
    close_fd(ex->file);
    im_free(ex->range);
    im_free(ex->if_range);
    im_free(ex->if_none_match);
    forwarding_free(ex->onward);
    im_str_clear(&ex->body);
    im_str_clear(&ex->headers);
    im_json_clear(&ex->answer);
    im_free(ex);
}

void exchange_problem(im_json_writer *w, const char *request_id, int status, const im_error *error)
{
    im_json_begin_object(w);
    im_json_put_string(w, "type", "about:blank");
    im_json_put_string(w, "title", http_status_title(status));
    im_json_put_int(w, "status", status);
    im_json_put_string(w, "detail", error->message);
    im_json_put_string(w, "code", error->reason);
    im_json_put_string(w, "class", im_code_name(error->code));
    if (error->field[0] != '\0') {
        im_json_put_string(w, "field", error->field);
    }
    if (error->file[0] != '\0') {
        im_json_put_string(w, "file", error->file);
    }
    if (error->hint[0] != '\0') {
        im_json_put_string(w, "hint", error->hint);
    }
    im_json_put_string(w, "request_id", request_id);
    im_json_end_object(w);
}

int exchange_status(const im_error *error)
{
    if (strcmp(error->reason, im_reason_name(IM_REASON_VLM_BUDGET_SPENT)) == 0) {
        return 429;
    }
    if (strcmp(error->reason, im_reason_name(IM_REASON_VLM_REFUSED)) == 0 ||
        strcmp(error->reason, im_reason_name(IM_REASON_VLM_NO_MODEL)) == 0) {
        return 502; /* between the daemon and that server: the client has nothing to do with it */
    }
    int status = im_code_http(error->code);
    return status != 200 ? status : 500; /* IM_ERR_PARTIAL has no answer of its own here */
}

void exchange_fail(exchange *ex, int status, const im_error *error)
{
    im_json_clear(&ex->answer);
    im_json_init(&ex->answer, DAEMON_ANSWER_BYTES);
    im_str_reset(&ex->headers);
    close_fd(ex->file);
    ex->file = -1;
    ex->cache = "no-store";
    ex->policy = NULL;
    ex->status = status != 0 ? status : exchange_status(error);
    ex->type = "application/problem+json";
    exchange_problem(&ex->answer, ex->request_id, ex->status, error);
}

void exchange_done(exchange *ex, const char *type)
{
    im_error err = IM_ERROR_INIT;
    if (!im_json_ok(&ex->answer)) {
        (void)!im_fail(&err, IM_ERR_NOMEM, "no memory for the answer, or it is above %u bytes",
                       DAEMON_ANSWER_BYTES);
        exchange_fail(ex, 0, &err);
        return;
    }
    ex->status = 200;
    ex->type = type;
}

void exchange_end(exchange *ex, im_code rc, int status, const im_error *error)
{
    if (rc != IM_OK) {
        exchange_fail(ex, 0, error);
        return;
    }
    exchange_done(ex, "application/json");
    if (ex->status == 200) {
        ex->status = status;
    }
}

/* An answer without a body, whatever was written. */
static void drop_answer(exchange *ex)
{
    im_json_clear(&ex->answer);
    im_json_init(&ex->answer, DAEMON_ANSWER_BYTES);
    close_fd(ex->file);
    ex->file = -1;
}

bool exchange_client_has(const exchange *ex, const char *etag)
{
    return ex->if_none_match != NULL && http_etag_listed(im_view_from(ex->if_none_match), etag);
}

static void put_tag(exchange *ex, const char *etag)
{
    ex->cache = "private, max-age=3600";
    im_str_addf(&ex->headers, "ETag: %s\r\n", etag);
    if (exchange_client_has(ex, etag)) {
        drop_answer(ex);
        ex->status = 304;
    }
}

void exchange_done_tagged(exchange *ex, const char *type, const char *etag)
{
    exchange_done(ex, type);
    if (ex->status == 200) {
        put_tag(ex, etag);
    }
}

void exchange_done_file(exchange *ex, int fd, const im_file_stamp *stamp, const char *type,
                        const char *etag)
{
    http_range range = HTTP_RANGE_WHOLE;
    exchange_done(ex, type);
    ex->file = fd;
    ex->file_stamp = *stamp;
    ex->file_size = stamp->size;
    im_str_add_c(&ex->headers, "Accept-Ranges: bytes\r\n");
    put_tag(ex, etag);
    if (ex->status != 200) {
        return;
    }
    if (ex->range != NULL && (ex->if_range == NULL || strcmp(ex->if_range, etag) == 0)) {
        range = http_range_read(im_view_from(ex->range), stamp->size, &ex->file_at, &ex->file_size);
    }
    if (range == HTTP_RANGE_PART) {
        ex->status = 206;
        im_str_addf(&ex->headers, "Content-Range: bytes %llu-%llu/%llu\r\n",
                    (unsigned long long)ex->file_at,
                    (unsigned long long)(ex->file_at + ex->file_size - 1),
                    (unsigned long long)stamp->size);
    } else if (range == HTTP_RANGE_OUTSIDE) {
        im_error error = IM_ERROR_INIT;
        (void)!im_fail_as(&error, IM_REASON_HTTP_RANGE,
                          "'Range' is '%.60s', the file has %llu bytes", ex->range,
                          (unsigned long long)stamp->size);
        exchange_fail(ex, 416, &error);
        im_str_addf(&ex->headers, "Content-Range: bytes */%llu\r\n",
                    (unsigned long long)stamp->size);
    }
}

static void put_date(im_str *out)
{
    char text[40];
    struct tm parts;
    time_t now = time(NULL);
    if (gmtime_r(&now, &parts) != NULL &&
        strftime(text, sizeof(text), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &parts) > 0) {
        im_str_add_c(out, text);
    }
}

bool exchange_write(const exchange *ex, im_str *out)
{
    const im_str *body = &ex->answer.out;
    uint64_t size = ex->file >= 0 ? ex->file_size : body->size;
    bool bare = ex->status == 204 || ex->status == 304;
    im_str_addf(out, "HTTP/1.1 %d %s\r\n", ex->status, http_status_title(ex->status));
    put_date(out);
    if (!bare) {
        im_str_addf(out, "Content-Type: %s\r\n", ex->type);
    }
    if (!bare && !(ex->streams && ex->status == 200)) {
        im_str_addf(out, "Content-Length: %llu\r\n", (unsigned long long)size);
    }
    im_str_addf(out, "X-Request-Id: %s\r\nCache-Control: %s\r\n", ex->request_id, ex->cache);
    im_str_addf(out,
                "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
                "Content-Security-Policy: %s\r\n",
                ex->policy != NULL ? ex->policy : "default-src 'none'; frame-ancestors 'none'");
    im_str_add(out, im_str_text(&ex->headers), ex->headers.size);
    if (ex->allow[0] != '\0') {
        im_str_addf(out, "Allow: %s\r\n", ex->allow);
    }
    if (ex->status == 503 || ex->status == 429) {
        im_str_addf(out, "Retry-After: %u\r\n", ex->retry_s > 0 ? ex->retry_s : 1);
    }
    if (ex->status == 401) {
        im_str_add_c(out, "WWW-Authenticate: Bearer realm=\"imago\"\r\n");
    }
    im_str_add_c(out, ex->close ? "Connection: close\r\n\r\n" : "\r\n");
    if (!ex->head_only && !bare) {
        im_str_add(out, im_str_text(body), body->size);
    }
    return !out->failed && !ex->headers.failed && im_json_ok(&ex->answer);
}

/* Whether a line can be written without waiting for whoever reads: a pipe has room for PIPE_BUF
 * bytes when it is writable at all (pipe(7)), and a line is not longer. */
static bool log_has_room(void)
{
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    return poll(&out, 1, 0) == 1 && (out.revents & POLLOUT) != 0;
}

void log_begin(im_json_writer *w, const char *event)
{
    char when[32] = "";
    struct tm parts;
    time_t now = time(NULL);
    if (gmtime_r(&now, &parts) != NULL) {
        (void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &parts);
    }
    im_json_init(w, 4096);
    im_json_begin_object(w);
    im_json_put_string(w, "time", when);
    im_json_put_string(w, "event", event);
}

bool log_end(im_json_writer *w)
{
    bool written = false;
    im_json_end_object(w);
    im_str_add_char(&w->out, '\n');
    if (im_json_ok(w) && log_has_room()) {
        written = write(STDERR_FILENO, im_str_text(&w->out), w->out.size) == (ssize_t)w->out.size;
    }
    im_json_clear(w);
    return written;
}

bool exchange_log(const exchange *ex)
{
    im_json_writer w;
    log_begin(&w, "request");
    im_json_put_string(&w, "request_id", ex->request_id);
    im_json_put_string(&w, "method", ex->method);
    im_json_put_string(&w, "path", ex->path);
    im_json_put_int(&w, "status", ex->status);
    im_json_put_uint(&w, "bytes", ex->file >= 0 ? ex->file_size : ex->answer.out.size);
    im_json_put_double(&w, "ms", im_clock_ms_since(ex->start_ns));
    return log_end(&w);
}
