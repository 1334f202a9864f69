/* Judging against a small server of its own: all pictures are judged, a dead server is left alone,
 * and each failed allocation is told. */
#include "help.h"

#include "base/clock.h"
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#define PICTURES 9

static const char yes[] = "{\"data\":[{\"id\":\"tiny\",\"owned_by\":\"llamacpp\"}],\"choices\":[{"
                          "\"message\":{\"content\":"
                          "\"{\\\"score\\\":7}\"},\"logprobs\":{\"content\":[{\"token\":\"yes\","
                          "\"top_logprobs\":[{\"token\":"
                          "\"yes\",\"logprob\":-0.25},{\"token\":\"no\",\"logprob\":-1.6}]}]}}],"
                          "\"usage\":{\"total_tokens\":"
                          "93}}";

typedef struct test_server {
    int fd;
    char url[64];
    pthread_t thread;
    const char *body;
    int status;
    int busy; /* so many requests are answered 429 first */
    atomic_int requests;
    atomic_int open;
} test_server;

typedef struct connection {
    test_server *server;
    int fd;
} connection;

static bool read_request(int fd)
{
    char head[4096];
    size_t size = 0;
    while (size < sizeof(head) - 1) {
        ssize_t got = recv(fd, head + size, 1, 0);
        if (got <= 0) {
            return false;
        }
        head[++size] = '\0';
        if (size >= 4 && memcmp(head + size - 4, "\r\n\r\n", 4) == 0) {
            break;
        }
    }
    const char *line = strstr(head, "Content-Length: ");
    size_t left = line != NULL ? strtoul(line + 16, NULL, 10) : 0;
    while (left > 0) {
        char block[8192];
        ssize_t got = recv(fd, block, IM_MIN(left, sizeof(block)), 0);
        if (got <= 0) {
            return false;
        }
        left -= (size_t)got;
    }
    return true;
}

static void *serve_one(void *context)
{
    connection *c = context;
    while (read_request(c->fd)) {
        char answer[1024]; /* in one piece: two would wait for each other's acknowledgement */
        bool busy = c->server->requests++ < c->server->busy;
        const char *body = busy ? "{\"error\":\"slow down\"}" : c->server->body;
        int size = snprintf(answer, sizeof(answer),
                            "HTTP/1.1 %d X\r\nRetry-After: 0\r\nContent-Length: %zu\r\n\r\n%s",
                            busy ? 429 : c->server->status, strlen(body), body);
        (void)!send(c->fd, answer, (size_t)size, MSG_NOSIGNAL);
    }
    (void)close(c->fd);
    c->server->open--;
    free(c);
    return NULL;
}

static void *serve(void *context)
{
    test_server *server = context;
    int fd;
    while ((fd = accept(server->fd, NULL, NULL)) >= 0) {
        pthread_t thread;
        connection *c = malloc(sizeof(*c));
        *c = (connection){server, fd};
        server->open++;
        assert_int_equal(pthread_create(&thread, NULL, serve_one, c), 0);
        (void)pthread_detach(thread);
    }
    return NULL;
}

static void start(test_server *server, int status, const char *body)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    memset(server, 0, sizeof(*server));
    server->status = status;
    server->body = body;
    server->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(server->fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(server->fd, 64), 0);
    assert_int_equal(getsockname(server->fd, (struct sockaddr *)&address, &size), 0);
    (void)snprintf(server->url, sizeof(server->url), "http://127.0.0.1:%u",
                   (unsigned)ntohs(address.sin_port));
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void stop(test_server *server)
{
    (void)shutdown(server->fd, SHUT_RDWR);
    (void)close(server->fd);
    (void)pthread_join(server->thread, NULL);
    while (server->open > 0) {
        (void)usleep(1000);
    }
}

static im_code judge_as(const test_server *s, im_vlm_profile profile, const im_vlm_options *options,
                        im_vlm_judgement *out, im_error *err)
{
    static uint8_t bytes[3000];
    im_bytes pictures[PICTURES];
    im_vlm_server server;
    for (size_t i = 0; i < PICTURES; i++) {
        pictures[i] = (im_bytes){bytes, sizeof(bytes)};
    }
    im_code rc = im_vlm_server_of(s->url, "m", profile, &server, err);
    return rc == IM_OK
               ? im_vlm_judge(&server, options, im_view_from("red"), pictures, PICTURES, out, err)
               : rc;
}

static im_code judge(const test_server *s, const im_vlm_options *options, im_vlm_judgement *out,
                     im_error *err)
{
    return judge_as(s, IM_VLM_LLAMA_SERVER, options, out, err);
}

static void all_pictures_are_judged_by_any_number_of_threads(void **state)
{
    (void)state;
    for (size_t parallel = 1; parallel <= 16; parallel *= 4) {
        test_server server;
        im_vlm_judgement out[PICTURES];
        const im_vlm_options options = {.parallel = parallel};
        start(&server, 200, yes);
        assert_int_equal(judge(&server, &options, out, NULL), IM_OK);
        for (size_t i = 0; i < PICTURES; i++) {
            assert_int_equal(out[i].outcome, IM_VLM_JUDGED);
            assert_true(fabs(out[i].s - 1.35) < 1e-9);
            assert_int_equal(out[i].tokens, 93);
            assert_int_equal(out[i].tries, 1);
            assert_true(out[i].bytes_sent > 4000);
        }
        stop(&server);
        assert_int_equal(server.requests, PICTURES);
    }
    assert_int_equal(im_live_allocations(), 0);
}

static void a_dead_server_is_left_alone(void **state)
{
    test_server server;
    im_vlm_judgement out[PICTURES];
    const im_vlm_options options = {.parallel = 1};
    size_t failed = 0;
    (void)state;
    start(&server, 500, "oops");
    assert_int_equal(judge(&server, &options, out, NULL), IM_OK);
    for (size_t i = 0; i < PICTURES; i++) {
        failed += out[i].outcome == IM_VLM_FAILED;
        assert_true(out[i].outcome == IM_VLM_FAILED || out[i].outcome == IM_VLM_NOT_ASKED);
    }
    stop(&server);
    assert_int_equal(failed, 3);
    assert_int_equal(server.requests, 3);
}

static const char scores[] = "{\"results\":[{\"index\":0,\"relevance_score\":0.5},{\"index\":8,"
                             "\"relevance_score\":1}],\"usage\":{\"total_tokens\":93}}";

/* One picture a request, and all in one: both wait for a server that is busy, three times at most.
 */
static void a_busy_server_is_asked_again(void **state)
{
    const im_vlm_options options = {.parallel = 1};
    (void)state;
    for (int busy = 2; busy <= 3; busy++) {
        for (int together = 0; together < 2; together++) {
            test_server server;
            im_vlm_judgement out[PICTURES];
            start(&server, 200, together ? scores : yes);
            server.busy = busy;
            assert_int_equal(judge_as(&server, together ? IM_VLM_RERANK : IM_VLM_LLAMA_SERVER,
                                      &options, out, NULL),
                             IM_OK);
            stop(&server);
            assert_int_equal(out[0].tries, 3);
            assert_int_equal(out[0].outcome, busy == 2 ? IM_VLM_JUDGED : IM_VLM_FAILED);
            assert_int_equal(out[0].error.code, busy == 2 ? IM_OK : IM_ERR_BUSY);
            if (together) {
                assert_int_equal(server.requests, 3);
                assert_int_equal(out[1].outcome, busy == 2 ? IM_VLM_UNREADABLE : IM_VLM_FAILED);
                for (size_t i = 0; i < PICTURES; i++) { /* 93 tokens, in shares */
                    assert_int_equal(out[i].tokens, busy == 3 ? 0 : i < 3 ? 11 : 10);
                    assert_true(out[i].bytes_sent > 3 * 4000);
                }
                assert_true(busy == 3 || (out[0].s == 0 && out[8].s == 20));
            }
        }
    }
}

static void a_deadline_that_has_passed_asks_nobody(void **state)
{
    test_server server;
    im_vlm_judgement out[PICTURES];
    const im_vlm_options options = {.deadline_ms = 1};
    (void)state;
    start(&server, 200, yes);
    assert_int_equal(judge(&server, &options, out, NULL), IM_OK);
    for (size_t i = 0; i < PICTURES; i++) {
        assert_int_equal(out[i].outcome, IM_VLM_NOT_ASKED);
    }
    stop(&server);
    assert_int_equal(server.requests, 0);
}

static void a_host_that_is_not_meant_gets_no_packet(void **state)
{
    const test_server nowhere = {.url = "http://example.com"};
    im_vlm_judgement out[PICTURES];
    const im_vlm_options options = {0};
    (void)state;
    assert_int_equal(judge(&nowhere, &options, out, NULL), IM_ERR_DENIED);
    assert_int_equal(out[0].outcome, IM_VLM_NOT_ASKED);
}

/* Judging, probing and asking: a failed allocation is one picture's failure, or the call's. */
static im_code do_all(const test_server *s, im_error *err)
{
    static uint8_t bytes[100];
    const im_bytes picture = {bytes, sizeof(bytes)};
    const im_vlm_options options = {.parallel = 1};
    im_vlm_judgement out[PICTURES];
    im_vlm_judgement cost;
    im_vlm_server server;
    json_t *object = NULL;
    im_code rc = judge(s, &options, out, err);
    for (size_t i = 0; rc == IM_OK && i < PICTURES; i++) {
        rc = out[i].outcome == IM_VLM_JUDGED   ? IM_OK
             : out[i].outcome == IM_VLM_FAILED ? out[i].error.code
                                               : IM_ERR_NOMEM;
    }
    if (rc == IM_OK) {
        rc = im_vlm_server_of(s->url, NULL, IM_VLM_AUTO, &server, err);
    }
    if (rc == IM_OK) {
        rc = im_vlm_probe(&server, &options, err);
    }
    if (rc == IM_OK) {
        assert_int_equal(server.profile, IM_VLM_LLAMA_SERVER);
        assert_string_equal(server.model, "tiny");
        rc = im_vlm_ask(&server, &options, im_view_from("x"), vlm_score_schema, &picture, &object,
                        &cost, err);
        json_decref(object);
    }
    return rc;
}

static void each_failed_allocation_is_told(void **state)
{
    test_server server;
    im_code rc = IM_ERR_NOMEM;
    size_t n = 0;
    (void)state;
    start(&server, 200, yes);
    for (bool fired = true; fired; n++) {
        im_error err = IM_ERROR_INIT;
        im_fault_set(IM_FAULT_ALLOC, n, 0);
        rc = do_all(&server, &err);
        fired = im_fault_fired(IM_FAULT_ALLOC);
        im_fault_clear();
        if (rc != IM_OK && (!fired || rc != IM_ERR_NOMEM)) {
            fail_msg("allocation %zu: code %d: %s", n, rc, err.message);
        }
        assert_int_equal(im_live_allocations(), 0);
    }
    stop(&server);
    assert_true(n > 100);
    assert_int_equal(rc, IM_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_pictures_are_judged_by_any_number_of_threads),
        cmocka_unit_test(a_dead_server_is_left_alone),
        cmocka_unit_test(a_busy_server_is_asked_again),
        cmocka_unit_test(a_deadline_that_has_passed_asks_nobody),
        cmocka_unit_test(a_host_that_is_not_meant_gets_no_packet),
        cmocka_unit_test(each_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
