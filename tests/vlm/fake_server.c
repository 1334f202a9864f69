/* tests/vlm/fake_server.c — a thread a connection, requests read by the letter. */
#include "fake_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/json.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_BYTES 8192u
#define BODY_BYTES (64u << 20)
#define STEP_US 5000u

typedef struct connection {
    fake_server *server;
    int fd;
} connection;

static void complain(fake_server *server, const char *what, const char *of)
{
    (void)pthread_mutex_lock(&server->lock);
    if (server->complaint[0] == '\0') {
        (void)snprintf(server->complaint, sizeof(server->complaint), "%s: %.150s", what, of);
    }
    (void)pthread_mutex_unlock(&server->lock);
}

/* ---- what comes in ---- */

static bool read_head(int fd, char *head)
{
    size_t size = 0;
    while (size < HEAD_BYTES - 1 && recv(fd, head + size, 1, 0) == 1) {
        head[++size] = '\0';
        if (size >= 4 && memcmp(head + size - 4, "\r\n\r\n", 4) == 0) {
            return true;
        }
    }
    return false;
}

static char *read_body(int fd, const char *head, size_t *out_size)
{
    const char *line = strstr(head, "\r\nContent-Length: ");
    size_t size = line != NULL ? strtoul(line + 18, NULL, 10) : 0;
    char *body = size <= BODY_BYTES ? calloc(size + 1, 1) : NULL;
    for (size_t got = 0; body != NULL && got < size;) {
        ssize_t some = recv(fd, body + got, size - got, 0);
        if (some <= 0) {
            free(body);
            return NULL;
        }
        got += (size_t)some;
    }
    *out_size = size;
    return body;
}

/* Every text under "url", "data", "image" or "data_base64" is a JPEG, and nothing else is a URL. */
static void check_pictures(fake_server *server, const json_t *value, const char *key)
{
    static const char head[] = "data:image/jpeg;base64,";
    static const char *const keys[] = {"url", "data", "image", "data_base64"};
    const char *name = NULL;
    const json_t *inner = NULL;
    size_t i = 0;
    if (json_is_object(value)) {
        json_object_foreach((json_t *)value, name, inner)
        {
            check_pictures(server, inner, name);
        }
    }
    json_array_foreach(value, i, inner)
    {
        check_pictures(server, inner, key);
    }
    const char *text = json_string_value(value);
    for (i = 0; text != NULL && key != NULL && i < IM_COUNT(keys); i++) {
        if (strcmp(key, keys[i]) == 0) {
            bool is_url = i == 0;
            if (is_url != (strncmp(text, head, strlen(head)) == 0) ||
                strspn(text + (is_url ? strlen(head) : 0),
                       "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") !=
                    strlen(text) - (is_url ? strlen(head) : 0)) {
                complain(server, "no JPEG data", text);
            }
        }
    }
}

static void check_request(fake_server *server, const char *head, const char *body, size_t size)
{
    static const char *const routes[] = {"GET /v1/models ",  "POST /v1/chat/completions ",
                                         "POST /v1/rerank ", "POST /v1/systemone ",
                                         "POST /tokenize ",  "POST /v1beta/models/"};
    bool known = false;
    bool post = strncmp(head, "POST", 4) == 0;
    for (size_t i = 0; i < IM_COUNT(routes); i++) {
        known = known || strncmp(head, routes[i], strlen(routes[i])) == 0;
    }
    if (!known || strstr(head, " HTTP/1.1\r\n") == NULL) {
        complain(server, "no route of ours", head);
    }
    if (strstr(head, "\r\nHost: 127.0.0.1") == NULL || strstr(head, "\r\nExpect:") != NULL) {
        complain(server, "a head without Host, or with Expect", head);
    }
    if (post != (strstr(head, "\r\nContent-Type: application/json\r\n") != NULL)) {
        complain(server, "a body's type", head);
    }
    if (post && !server->lax) {
        json_t *root = NULL;
        if (im_json_parse(body, size, "the request", &root, NULL) != IM_OK ||
            !json_is_object(root)) {
            complain(server, "a body that is no JSON object", body);
        }
        check_pictures(server, root, NULL);
        json_decref(root);
    }
}

/* ---- what goes out ---- */

static bool put(connection *c, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(c->fd, data, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        c->server->bytes_out += (unsigned long)sent;
        data += sent;
        size -= (size_t)sent;
    }
    return true;
}

/* Until the client goes, or the server is stopped. */
static void wait_for_end(connection *c)
{
    char byte;
    while (!c->server->stopping && recv(c->fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) != 0) {
        (void)usleep(STEP_US);
    }
}

/* In `out`, of HEAD_BYTES. */
static size_t head_of(const fake_answer *answer, size_t promised, char *out)
{
    int size = snprintf(out, HEAD_BYTES, "HTTP/1.1 %d X\r\n%s%sContent-Length: %zu\r\n\r\n",
                        answer->status != 0 ? answer->status : 200,
                        answer->header != NULL ? answer->header : "",
                        answer->header != NULL ? "\r\n" : "", promised);
    return (size_t)size;
}

static bool put_head(connection *c, const fake_answer *answer, size_t promised)
{
    char head[HEAD_BYTES];
    return put(c, head, head_of(answer, promised, head));
}

/* In one piece: two would wait for each other's acknowledgement. */
static bool say(connection *c, const fake_answer *answer)
{
    char *whole = malloc(HEAD_BYTES + answer->body.size);
    size_t size = head_of(answer, answer->body.size, whole);
    if (answer->body.size > 0) {
        memcpy(whole + size, answer->body.data, answer->body.size);
    }
    bool good = put(c, whole, size + answer->body.size);
    free(whole);
    return good;
}

static void drip(connection *c, const fake_answer *answer)
{
    bool good = put_head(c, answer, answer->body.size);
    for (size_t i = 0; good && i < answer->body.size && !c->server->stopping; i++) {
        (void)usleep(50000);
        good = put(c, answer->body.data + i, 1);
    }
}

static void flood(connection *c, const fake_answer *answer)
{
    static const char block[65536];
    bool good = put_head(c, answer, 100000000);
    for (int i = 0; good && i < 1526; i++) {
        good = put(c, block, sizeof(block));
    }
}

static void stream_on(connection *c)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    static const char event[] =
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
    bool good = put(c, head, sizeof(head) - 1);
    while (good && !c->server->stopping) {
        good = put(c, event, sizeof(event) - 1);
        (void)usleep(STEP_US);
    }
}

static void reset(connection *c)
{
    const struct linger at_once = {1, 0};
    (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

/* Whether the connection stays. */
static bool do_act(connection *c, const fake_answer *answer)
{
    for (unsigned waited = 0; waited < answer->delay_ms && !c->server->stopping; waited += 5) {
        (void)usleep(STEP_US);
    }
    switch (answer->act) {
    case FAKE_SAY:
        return say(c, answer);
    case FAKE_SILENT:
        wait_for_end(c);
        break;
    case FAKE_HEAD:
        if (put_head(c, answer, 100)) {
            wait_for_end(c);
        }
        break;
    case FAKE_DRIP:
        drip(c, answer);
        break;
    case FAKE_CUT:
        (void)!(put_head(c, answer, answer->body.size) &&
                put(c, answer->body.data, answer->body.size / 2));
        break;
    case FAKE_RESET:
        reset(c);
        break;
    case FAKE_HUGE:
        flood(c, answer);
        break;
    case FAKE_ENDLESS:
        stream_on(c);
        break;
    }
    return false;
}

/* ---- connections ---- */

static bool answer_one(connection *c)
{
    fake_server *server = c->server;
    char head[HEAD_BYTES];
    char route[256] = "";
    size_t size = 0;
    char *body = read_head(c->fd, head) ? read_body(c->fd, head, &size) : NULL;
    if (body == NULL) {
        return false;
    }
    int before = server->requests++;
    int now = ++server->at_once;
    for (int most = server->most_at_once;
         now > most && !atomic_compare_exchange_weak(&server->most_at_once, &most, now);) {
    }
    check_request(server, head, body, size);
    free(body);
    const char *end = strstr(head, " HTTP/");
    if (end != NULL) {
        (void)snprintf(route, sizeof(route), "%.*s", (int)(end - head), head);
    }
    fake_answer answer =
        server->route != NULL ? server->route(server->context, route, before) : server->answer;
    bool stays = do_act(c, &answer);
    server->at_once--;
    return stays;
}

static void *serve_connection(void *context)
{
    connection *c = context;
    fake_server *server = c->server;
    while (!server->stopping && answer_one(c)) {
    }
    (void)close(c->fd);
    free(c);
    server->open--;
    return NULL;
}

static void *serve(void *context)
{
    fake_server *server = context;
    int fd;
    while ((fd = accept(server->fd, NULL, NULL)) >= 0) {
        pthread_t thread;
        connection *c = malloc(sizeof(*c));
        *c = (connection){server, fd};
        server->open++;
        if (pthread_create(&thread, NULL, serve_connection, c) != 0) {
            abort();
        }
        (void)pthread_detach(thread);
    }
    return NULL;
}

void fake_start(fake_server *server, fake_answer answer)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    memset(server, 0, sizeof(*server));
    server->answer = answer;
    assert_int_equal(pthread_mutex_init(&server->lock, NULL), 0);
    server->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(server->fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(server->fd, 64), 0);
    assert_int_equal(getsockname(server->fd, (struct sockaddr *)&address, &size), 0);
    (void)snprintf(server->url, sizeof(server->url), "http://127.0.0.1:%u",
                   (unsigned)ntohs(address.sin_port));
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

void fake_stop(fake_server *server)
{
    server->stopping = true;
    (void)shutdown(server->fd, SHUT_RDWR);
    (void)close(server->fd);
    (void)pthread_join(server->thread, NULL);
    while (server->open > 0) {
        (void)usleep(1000);
    }
    (void)pthread_mutex_destroy(&server->lock);
    assert_string_equal(server->complaint, "");
}
