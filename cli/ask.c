/* cli/ask.c — asks the daemon of the library over its Unix socket. A small strict client: what is
 * not clearly a whole good answer is none, and the command does its work itself. */
#include "base/clock.h"
#include "cli/commands_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define READY_MS 200.0
#define ANSWER_MS 60000.0
#define HEAD_BYTES 8192u
#define ANSWER_BYTES (256u << 20)

/* NULL when there is no socket, so that nothing is made ready for nobody. */
static char *find_socket(const cli_session *s)
{
    char *path = NULL;
    if (im_app_socket_path(&s->places, &path, NULL) == IM_OK && path != NULL &&
        access(path, W_OK) != 0) {
        im_free(path);
        path = NULL;
    }
    return path;
}

bool cli_may_ask(const cli_session *s)
{
    static const cli_option_id own[] = {IM_OPT_NO_DAEMON,
                                        IM_OPT_MODEL,
                                        IM_OPT_PRECISION,
                                        IM_OPT_ENGINE,
                                        IM_OPT_INDEX_PARAMS,
                                        IM_OPT_THREADS,
                                        IM_OPT_MEMORY,
                                        IM_OPT_MAX_PICTURE_BYTES,
                                        IM_OPT_MAX_SIDE,
                                        IM_OPT_MAX_PIXELS,
                                        IM_OPT_MAX_DECODER_BYTES,
                                        IM_OPT_MAX_SCANS,
                                        IM_OPT_MAX_DECODE_SECONDS};
    static const char *const environment[] = {"IMAGO_KERNEL", "IMAGO_MODULES", "IMAGO_FAULT",
                                              "IMAGO_FAULT_KILL"};
    bool may = true;
    for (size_t i = 0; i < IM_COUNT(own); i++) {
        may = may && !s->args->given[own[i]];
    }
    for (size_t i = 0; i < IM_COUNT(environment); i++) {
        may = may && getenv(environment[i]) == NULL;
    }
    char *path = may ? find_socket(s) : NULL;
    may = path != NULL;
    im_free(path);
    return may;
}

/* ---- bytes ---- */

typedef struct talk {
    int fd;
    uint64_t start_ns;
    double ms; /* all must have happened by then */
} talk;

static bool wait_for(const talk *t, short events)
{
    struct pollfd poll_fd = {.fd = t->fd, .events = events};
    double left = t->ms - im_clock_ms_since(t->start_ns);
    return left > 0 && poll(&poll_fd, 1, (int)left + 1) == 1;
}

static bool send_all(const talk *t, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = send(t->fd, data, size, MSG_NOSIGNAL);
        if (n > 0) {
            data += n;
            size -= (size_t)n;
        } else if (n < 0 && errno != EINTR && (errno != EAGAIN || !wait_for(t, POLLOUT))) {
            return false;
        }
    }
    return true;
}

/* More bytes behind those in `in`, at most `most`. */
static bool read_some(const talk *t, im_str *in, size_t most)
{
    char piece[65536];
    for (;;) {
        ssize_t n = recv(t->fd, piece, IM_MIN(most, sizeof(piece)), 0);
        if (n > 0) {
            im_str_add(in, piece, (size_t)n);
            return !in->failed;
        }
        if (n == 0 || (errno != EINTR && (errno != EAGAIN || !wait_for(t, POLLIN)))) {
            return false;
        }
    }
}

static bool connect_to(const char *path, talk *t)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        return false;
    }
    memcpy(address.sun_path, path, strlen(path));
    t->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return t->fd >= 0 && connect(t->fd, (struct sockaddr *)&address, sizeof(address)) == 0;
}

/* ---- answers ---- */

/* "HTTP/1.1 200 OK" with a Content-Length, and nothing that changes how the body is read. */
static bool read_head(const char *head, uint64_t *out_length)
{
    static const char first[] = "HTTP/1.1 200 OK\r\n";
    static const char length[] = "\r\nContent-Length: ";
    char number[24] = "";
    const char *at = strstr(head, length);
    if (strncmp(head, first, sizeof(first) - 1) != 0 || at == NULL ||
        strstr(head, "\r\nTransfer-Encoding:") != NULL) {
        return false;
    }
    at += sizeof(length) - 1;
    size_t n = strcspn(at, "\r");
    if (n >= sizeof(number)) {
        return false;
    }
    memcpy(number, at, n);
    return im_parse_u64(number, 0, ANSWER_BYTES, out_length);
}

static bool read_answer(const talk *t, im_str *out)
{
    im_str in;
    uint64_t length = 0;
    const char *end = NULL;
    im_str_init(&in, ANSWER_BYTES + HEAD_BYTES);
    while (end == NULL && in.size < HEAD_BYTES && read_some(t, &in, HEAD_BYTES - in.size)) {
        end = strstr(im_str_text(&in), "\r\n\r\n");
    }
    size_t head = end != NULL ? (size_t)(end - im_str_text(&in)) + 4 : 0;
    bool sound = end != NULL && read_head(im_str_text(&in), &length);
    while (sound && in.size < head + length) {
        sound = read_some(t, &in, (size_t)(head + length - in.size));
    }
    sound = sound && in.size == head + length;
    if (sound) {
        im_str_add(out, im_str_text(&in) + head, (size_t)length);
    }
    im_str_clear(&in);
    return sound && !out->failed;
}

static bool exchange_one(const talk *t, const char *path, const im_str *body, im_str *out)
{
    im_str head;
    im_str_init(&head, 1024);
    im_str_addf(&head, "%s %s HTTP/1.1\r\nHost: localhost\r\n", body != NULL ? "POST" : "GET",
                path);
    if (body != NULL) {
        im_str_addf(&head, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body->size);
    }
    im_str_add_c(&head, "\r\n");
    bool sent = !head.failed && send_all(t, head.data, head.size) &&
                (body == NULL || send_all(t, im_str_text(body), body->size));
    im_str_clear(&head);
    return sent && read_answer(t, out);
}

/* Ready (what is degraded and answers all the same has lost a followed folder), and of our own
 * version: another one may answer otherwise. */
static bool is_ready(const talk *t)
{
    im_str health;
    json_t *root = NULL;
    im_str_init(&health, HEAD_BYTES);
    bool ready = exchange_one(t, "/health", NULL, &health) &&
                 im_json_parse(im_str_text(&health), health.size, "health", &root, NULL) == IM_OK;
    const char *status = json_string_value(json_object_get(root, "status"));
    const char *version = json_string_value(json_object_get(root, "version"));
    ready = ready && status != NULL &&
            (strcmp(status, "ready") == 0 || strcmp(status, "degraded") == 0) && version != NULL &&
            strcmp(version, IM_VERSION) == 0;
    json_decref(root);
    im_str_clear(&health);
    return ready;
}

bool cli_ask(cli_session *s, const char *path, const im_str *body, im_str *out)
{
    json_t *root = NULL;
    im_str answer;
    talk t = {.fd = -1, .start_ns = im_clock_ns(), .ms = READY_MS};
    im_str_init(&answer, ANSWER_BYTES);
    char *socket_path = cli_may_ask(s) ? find_socket(s) : NULL;
    bool asked = socket_path != NULL && connect_to(socket_path, &t) && is_ready(&t);
    t.ms = ANSWER_MS;
    asked = asked && exchange_one(&t, path, body, &answer) &&
            im_json_parse(im_str_text(&answer), answer.size, "answer", &root, NULL) == IM_OK &&
            json_is_object(root);
    if (asked) {
        im_str_add(out, im_str_text(&answer), answer.size);
    }
    if (t.fd >= 0) {
        (void)close(t.fd);
    }
    json_decref(root);
    im_str_clear(&answer);
    im_free(socket_path);
    return asked;
}
