/* The HTTP client against a small server of its own: what may be asked, and what answers may do. */
#include "base/base.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/http_client.h"
#include "support.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct test_server {
    int fd;
    unsigned port;
    pthread_t thread;
    const char *answer; /* bytes of each answer; NULL: silence */
    size_t padding;     /* so many 'x' behind them */
    bool closes;
    atomic_int connections, requests;
    char seen[4096]; /* the last request */
} test_server;

static size_t length_of(const char *head)
{
    const char *line = strstr(head, "Content-Length: ");
    return line != NULL ? (size_t)strtoul(line + 16, NULL, 10) : 0;
}

/* One request; false when the client has gone. */
static bool read_request(test_server *server, int fd)
{
    size_t size = 0;
    char *seen = server->seen;
    for (;;) {
        ssize_t got = recv(fd, seen + size, sizeof(server->seen) - 1 - size, 0);
        if (got <= 0) {
            return false;
        }
        size += (size_t)got;
        seen[size] = '\0';
        const char *end = strstr(seen, "\r\n\r\n");
        if (end != NULL && size >= (size_t)(end + 4 - seen) + length_of(seen)) {
            return true;
        }
    }
}

static void serve_connection(test_server *server, int fd)
{
    while (read_request(server, fd)) {
        server->requests++;
        if (server->answer == NULL) {
            char byte;
            (void)!recv(fd, &byte, 1, 0); /* until the client gives up */
            break;
        }
        (void)!send(fd, server->answer, strlen(server->answer), MSG_NOSIGNAL);
        for (size_t i = 0; i < server->padding; i += 1024) {
            char block[1024];
            memset(block, 'x', sizeof(block));
            if (send(fd, block, sizeof(block), MSG_NOSIGNAL) < 0) {
                break;
            }
        }
        if (server->closes) {
            break;
        }
    }
    close(fd);
}

static void *serve(void *context)
{
    test_server *server = context;
    int fd;
    while ((fd = accept(server->fd, NULL, NULL)) >= 0) {
        server->connections++;
        serve_connection(server, fd);
    }
    return NULL;
}

static void start(test_server *server, const char *answer)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    memset(server, 0, sizeof(*server));
    server->answer = answer;
    server->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(server->fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(server->fd, 4), 0);
    assert_int_equal(getsockname(server->fd, (struct sockaddr *)&address, &size), 0);
    server->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void stop(test_server *server)
{
    (void)shutdown(server->fd, SHUT_RDWR);
    (void)close(server->fd);
    (void)pthread_join(server->thread, NULL);
}

static im_code ask(im_http_client *client, unsigned port, const char *body, uint32_t timeout_ms,
                   im_http_answer *out, im_error *err)
{
    char url[64];
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/v1/x", port);
    im_http_request request = {.url = url,
                               .secret = "Authorization: Bearer s3cret",
                               .body = body != NULL ? im_view_from(body) : im_view_of(NULL, 0),
                               .timeout_ms = timeout_ms,
                               .max_bytes = 4096};
    return im_http_send(client, NULL, &request, out, err);
}

#define OK_ANSWER \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"a\": true}"

static void a_request_is_answered_and_the_connection_kept(void **state)
{
    (void)state;
    test_server server;
    im_http_client *client = NULL;
    start(&server, OK_ANSWER);
    assert_int_equal(im_http_open(&client, NULL), IM_OK);
    for (int i = 0; i < 3; i++) {
        im_http_answer answer;
        assert_int_equal(ask(client, server.port, "{}", 5000, &answer, NULL), IM_OK);
        assert_int_equal(answer.status, 200);
        assert_string_equal(im_str_text(&answer.body), "{\"a\": true}");
        assert_string_equal(answer.type, "application/json");
        assert_int_equal(answer.bytes_sent, 2);
        im_http_answer_clear(&answer);
    }
    assert_non_null(strstr(server.seen, "POST /v1/x HTTP/1.1"));
    assert_non_null(strstr(server.seen, "Authorization: Bearer s3cret"));
    im_http_close(client);
    stop(&server);
    assert_int_equal(server.connections, 1);
    assert_int_equal(server.requests, 3);
    assert_int_equal(im_live_allocations(), 0);
}

static bool gives_up(void *context)
{
    return ++*(int *)context > 0;
}

static void other_bodies_have_their_type_and_any_caller_may_stop(void **state)
{
    (void)state;
    test_server server;
    im_http_client *client = NULL;
    im_http_answer answer;
    im_error err = IM_ERROR_INIT;
    int asked = 0;
    char url[64];
    static const char body[] = "--a\r\n\0--a--";
    start(&server, OK_ANSWER);
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/x", server.port);
    assert_int_equal(im_http_open(&client, NULL), IM_OK);
    im_http_request request = {.url = url,
                               .body = im_view_of(body, sizeof(body) - 1),
                               .type = "multipart/form-data; boundary=\"a\"",
                               .timeout_ms = 5000};
    assert_int_equal(im_http_send(client, NULL, &request, &answer, NULL), IM_OK);
    assert_int_equal(answer.bytes_sent, sizeof(body) - 1);
    const char *line = strstr(server.seen, "Content-Type: multipart/form-data; boundary=\"a\"\r\n");
    assert_non_null(line);
    assert_null(strstr(line + 1, "Content-Type:"));
    assert_memory_equal(strstr(server.seen, "\r\n\r\n") + 4, body, sizeof(body) - 1);
    im_http_answer_clear(&answer);
    server.answer = NULL; /* silence */
    request.stopped = gives_up;
    request.context = &asked;
    uint64_t begin = im_clock_ns();
    assert_int_equal(im_http_send(client, NULL, &request, &answer, &err), IM_ERR_PARTIAL);
    assert_true(asked > 0 && im_clock_ms_since(begin) < 3000);
    im_http_answer_clear(&answer);
    im_http_close(client);
    stop(&server);
    assert_int_equal(im_live_allocations(), 0);
}

typedef struct taker {
    size_t most; /* fails at more bytes */
    im_str taken;
} taker;

static im_code take(void *context, im_view piece, im_error *err)
{
    taker *t = context;
    im_str_add(&t->taken, piece.data, piece.size);
    return t->taken.size <= t->most ? IM_OK : im_fail(err, IM_ERR_FORMAT, "that is enough");
}

/* Good answers go to the caller piece by piece and nowhere else; others are kept as ever. */
static void a_body_is_taken_as_it_comes(void **state)
{
    static const struct {
        const char *answer;
        size_t padding, most, max_bytes;
        im_code code;
        size_t taken, kept; /* taken SIZE_MAX: some */
        const char *word;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n", 65536, SIZE_MAX, 65536, IM_OK, 65536,
         0, ""},
        {"HTTP/1.1 500 No\r\nContent-Length: 100\r\n\r\n", 100, 0, 65536, IM_OK, 0, 100, ""},
        {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", 100, 99, 65536, IM_ERR_FORMAT, 100, 0,
         "that is enough"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n", 65537, SIZE_MAX, 65536,
         IM_ERR_UPSTREAM, SIZE_MAX, 0, "65536 bytes"},
    };
    (void)state;
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        test_server server;
        im_http_client *client = NULL;
        im_http_answer answer;
        im_error err = IM_ERROR_INIT;
        taker t = {.most = rows[i].most};
        char url[64];
        start(&server, rows[i].answer);
        server.padding = rows[i].padding;
        im_str_init(&t.taken, 1u << 20);
        (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u/x", server.port);
        const im_http_request request = {.url = url,
                                         .timeout_ms = 5000,
                                         .max_bytes = rows[i].max_bytes,
                                         .take = take,
                                         .context = &t};
        assert_int_equal(im_http_open(&client, NULL), IM_OK);
        assert_int_equal(im_http_send(client, NULL, &request, &answer, &err), rows[i].code);
        assert_non_null(strstr(err.message, rows[i].word));
        assert_true(rows[i].taken == SIZE_MAX ? t.taken.size <= rows[i].max_bytes
                                              : t.taken.size == rows[i].taken);
        assert_int_equal(answer.body.size, rows[i].kept);
        im_str_clear(&t.taken);
        im_http_answer_clear(&answer);
        im_http_close(client);
        stop(&server);
    }
    assert_int_equal(im_live_allocations(), 0);
}

/* Each ends in an error that names the host and never the key. */
static void expect_failure(test_server *server, im_code code, uint32_t timeout_ms, const char *word)
{
    im_http_client *client = NULL;
    im_http_answer answer;
    im_error err = IM_ERROR_INIT;
    assert_int_equal(im_http_open(&client, NULL), IM_OK);
    assert_int_equal(ask(client, server->port, "{}", timeout_ms, &answer, &err), code);
    if (strstr(err.message, word) == NULL || strstr(err.message, "127.0.0.1") == NULL) {
        fail_msg("'%s' lacks '%s'", err.message, word);
    }
    assert_null(strstr(err.message, "s3cret"));
    im_http_answer_clear(&answer);
    im_http_close(client);
}

static void an_answer_larger_than_asked_for_is_given_up(void **state)
{
    (void)state;
    test_server server;
    start(&server, "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
    server.padding = 1u << 20;
    server.closes = true;
    expect_failure(&server, IM_ERR_UPSTREAM, 5000, "4096");
    stop(&server);
    start(&server, "HTTP/1.1 200 OK\r\nX: ");
    server.padding = 1u << 20; /* a head without end */
    server.closes = true;
    expect_failure(&server, IM_ERR_UPSTREAM, 5000, "could not ask");
    stop(&server);
}

static void a_silent_or_cut_answer_fails_in_time(void **state)
{
    (void)state;
    test_server server;
    uint64_t begin = im_clock_ns();
    start(&server, NULL);
    expect_failure(&server, IM_ERR_TIMEOUT, 200, "200 ms");
    stop(&server);
    assert_true(im_clock_ms_since(begin) < 3000);
    start(&server, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"half\"");
    server.closes = true;
    expect_failure(&server, IM_ERR_UPSTREAM, 5000, "could not ask");
    stop(&server);
    expect_failure(&server, IM_ERR_UPSTREAM, 5000, "could not ask"); /* nobody listens */
}

static void a_redirect_is_an_answer_and_not_followed(void **state)
{
    (void)state;
    test_server server;
    im_http_client *client = NULL;
    im_http_answer answer;
    start(&server, "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nRetry-After: 7\r\n"
                   "Content-Length: 0\r\n\r\n");
    assert_int_equal(im_http_open(&client, NULL), IM_OK);
    assert_int_equal(ask(client, server.port, NULL, 5000, &answer, NULL), IM_OK);
    assert_int_equal(answer.status, 302);
    assert_true(answer.has_retry_after);
    assert_int_equal(answer.retry_after_s, 7);
    im_http_answer_clear(&answer);
    im_http_close(client);
    stop(&server);
    assert_int_equal(server.requests, 1);
    assert_non_null(strstr(server.seen, "GET /v1/x"));
}

static void only_hosts_that_are_meant_are_asked(void **state)
{
    static const struct {
        const char *url;
        im_code code;
    } rows[] = {{"http://127.0.0.1:80/", IM_OK},
                {"http://localhost", IM_OK},
                {"http://LOCALHOST./x", IM_OK},
                {"http://127.1/", IM_OK},
                {"http://2130706433/", IM_OK},
                {"http://0x7f000001/", IM_OK},
                {"http://[::1]:8080/", IM_OK},
                {"http://[::ffff:127.0.0.1]/", IM_OK},
                {"http://gpu.lan:8000/v1", IM_OK}, /* by name */
                {"https://GPU.lan", IM_OK},
                {"http://gpu.lan.evil.example/", IM_ERR_DENIED},
                {"http://169.254.169.254/latest/", IM_ERR_DENIED},
                {"http://0.0.0.0/", IM_ERR_DENIED},
                {"http://[::]/", IM_ERR_DENIED},
                {"http://[::ffff:10.0.0.1]/", IM_ERR_DENIED},
                {"http://example.com/", IM_ERR_DENIED},
                {"http://localhost.example.com/", IM_ERR_DENIED},
                {"http://127.0.0.1.example.com/", IM_ERR_DENIED},
                {"http://me:pw@127.0.0.1/", IM_ERR_DENIED},
                {"file:///etc/passwd", IM_ERR_DENIED},
                {"gopher://127.0.0.1/", IM_ERR_DENIED},
                {"", IM_ERR_INVALID},
                {"http://", IM_ERR_INVALID},
                {"not a url", IM_ERR_INVALID}};
    const char *const hosts[] = {"GPU.lan"};
    const im_http_rules rules = {hosts, 1};
    (void)state;
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        im_error err = IM_ERROR_INIT;
        im_code rc = im_http_allowed(&rules, rows[i].url, &err);
        if (rc != rows[i].code) {
            fail_msg("'%s': code %d, expected %d: %s", rows[i].url, rc, rows[i].code, err.message);
        }
        assert_true(rc == IM_OK || err.message[0] != '\0');
        assert_null(strstr(err.message, "pw"));
    }
}

/* An allowed name does not open link-local addresses; a key does not leave in the clear. */
static void addresses_and_keys_are_checked_when_sending(void **state)
{
    const char *const hosts[] = {"169.254.169.254", "224.0.0.1", "0.0.0.0", "example.com"};
    const im_http_rules rules = {hosts, IM_COUNT(hosts)};
    im_http_client *client = NULL;
    (void)state;
    assert_int_equal(im_http_open(&client, NULL), IM_OK);
    for (size_t i = 0; i < IM_COUNT(hosts); i++) {
        char url[64];
        im_http_answer answer;
        im_error err = IM_ERROR_INIT;
        (void)snprintf(url, sizeof(url), "http://%s/", hosts[i]);
        im_http_request request = {
            .url = url, .timeout_ms = 2000, .secret = i == 3 ? "X-Key: s3cret" : NULL};
        assert_int_equal(im_http_send(client, &rules, &request, &answer, &err), IM_ERR_DENIED);
        assert_string_equal(err.reason, "url_refused");
        im_http_answer_clear(&answer);
    }
    im_http_close(client);
}

static void each_failed_allocation_is_told(void **state)
{
    test_server server;
    im_code rc = IM_ERR_NOMEM;
    (void)state;
    start(&server, OK_ANSWER);
    for (size_t nth = 0; rc != IM_OK; nth++) {
        im_http_client *client = NULL;
        im_http_answer answer = {0};
        im_error err = IM_ERROR_INIT;
        im_fault_set(IM_FAULT_ALLOC, nth, 0);
        rc = im_http_open(&client, &err);
        if (rc == IM_OK) {
            rc = ask(client, server.port, "{}", 5000, &answer, &err);
        }
        assert_int_equal(rc, im_fault_fired(IM_FAULT_ALLOC) ? IM_ERR_NOMEM : IM_OK);
        im_fault_clear();
        im_http_answer_clear(&answer);
        im_http_close(client);
        assert_int_equal(im_live_allocations(), 0);
    }
    stop(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_answered_and_the_connection_kept),
        cmocka_unit_test(other_bodies_have_their_type_and_any_caller_may_stop),
        cmocka_unit_test(a_body_is_taken_as_it_comes),
        cmocka_unit_test(an_answer_larger_than_asked_for_is_given_up),
        cmocka_unit_test(a_silent_or_cut_answer_fails_in_time),
        cmocka_unit_test(a_redirect_is_an_answer_and_not_followed),
        cmocka_unit_test(only_hosts_that_are_meant_are_asked),
        cmocka_unit_test(addresses_and_keys_are_checked_when_sending),
        cmocka_unit_test(each_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
