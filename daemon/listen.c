/* daemon/listen.c — where clients come in: addresses, sockets that were passed, and what a client's
 * way in says of it. */
#include "daemon/daemon_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PASSED_FIRST 3 /* SD_LISTEN_FDS_START of sd_listen_fds(3) */

/* ---- addresses ---- */

typedef struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    } as;
    socklen_t size;
} address;

static bool read_host(const char *host, uint16_t port, address *out)
{
    memset(out, 0, sizeof(*out));
    if (strcmp(host, "localhost") == 0) {
        host = "127.0.0.1";
    }
    if (inet_pton(AF_INET, host, &out->as.v4.sin_addr) == 1) {
        out->as.v4.sin_family = AF_INET;
        out->as.v4.sin_port = htons(port);
        out->size = sizeof(out->as.v4);
        return true;
    }
    if (inet_pton(AF_INET6, host, &out->as.v6.sin6_addr) == 1) {
        out->as.v6.sin6_family = AF_INET6;
        out->as.v6.sin6_port = htons(port);
        out->size = sizeof(out->as.v6);
        return true;
    }
    return false;
}

/* IPv4 as IPv6 writes it ("::ffff:127.0.0.1"); all zero for Unix sockets. */
static void map_address(const address *a, uint8_t out[16])
{
    memset(out, 0, 16);
    if (a->as.any.sa_family == AF_INET) {
        out[10] = out[11] = 0xff;
        memcpy(out + 12, &a->as.v4.sin_addr, 4);
    } else if (a->as.any.sa_family == AF_INET6) {
        memcpy(out, &a->as.v6.sin6_addr, 16);
    }
}

static bool is_mapped(const uint8_t bytes[16])
{
    static const uint8_t prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return memcmp(bytes, prefix, sizeof(prefix)) == 0;
}

static bool bytes_are_loopback(const uint8_t bytes[16])
{
    static const uint8_t one[16] = {[15] = 1};
    return is_mapped(bytes) ? bytes[12] == 127 : memcmp(bytes, one, 16) == 0;
}

static bool is_loopback(const address *a)
{
    uint8_t bytes[16];
    map_address(a, bytes);
    return a->as.any.sa_family == AF_UNIX || bytes_are_loopback(bytes);
}

/* "127.0.0.1:7070", "[::1]:7070", "localhost:7070". */
static im_code read_address(const char *option, const char *text, address *out, im_error *err)
{
    char host[64] = "";
    uint64_t port = 0;
    const char *colon = strrchr(text, ':');
    size_t size = colon != NULL ? (size_t)(colon - text) : 0;
    bool bracket = size >= 2 && text[0] == '[' && text[size - 1] == ']';
    bool sound = size > 0 && size < sizeof(host) && im_parse_u64(colon + 1, 0, 65535, &port);
    if (sound) {
        memcpy(host, text + bracket, size - 2u * bracket);
        sound =
            read_host(host, (uint16_t)port, out) && bracket == (out->as.any.sa_family == AF_INET6);
    }
    if (!sound) {
        im_code rc = im_fail(err, IM_ERR_INVALID, "'--%s %.80s' is no ADDRESS:PORT", option, text);
        im_hint(err, "for example --%s %s, or --%s [::1]:7070", option, IM_DAEMON_LISTEN, option);
        return rc;
    }
    return IM_OK;
}

/* Of a network that the world outside does not reach: RFC 1918, 3927, 4193, 4291. */
static bool is_private(const address *a)
{
    uint8_t b[16];
    map_address(a, b);
    if (!is_mapped(b)) {
        return bytes_are_loopback(b) || (b[0] & 0xfe) == 0xfc ||
               (b[0] == 0xfe && (b[1] & 0xc0) == 0x80);
    }
    return b[12] == 127 || b[12] == 10 || (b[12] == 172 && (b[13] & 0xf0) == 16) ||
           (b[12] == 192 && b[13] == 168) || (b[12] == 169 && b[13] == 254);
}

/* An address that others reach is for libraries with keys. */
static im_code check_open_to_others(server *s, const char *option, const char *what, im_error *err)
{
    im_guard_facts facts;
    im_code rc = im_guard_look(s->guard, (im_view){0}, &facts, err);
    if (rc == IM_OK && facts.n_valid == 0) {
        rc = im_fail(err, IM_ERR_INVALID,
                     "'%s%.80s': others could reach that address, and the library has no API key "
                     "that would keep them out",
                     option, what);
        im_hint(err, "make one: imago key add --scope read; or listen on 127.0.0.1 or [::1]");
    }
    return rc;
}

/* ---- listeners ---- */

static im_code add_listener(server *s, const listener *l, im_error *err)
{
    if (s->n_listeners == DAEMON_MOST_LISTENERS) {
        return im_fail(err, IM_ERR_INVALID, "option '--listen': there are more than %u addresses",
                       DAEMON_MOST_LISTENERS);
    }
    s->listeners[s->n_listeners++] = *l;
    return IM_OK;
}

static im_code bind_address(int fd, const address *a, const char *text, im_error *err)
{
    int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (a->as.any.sa_family == AF_INET6) { /* [::] is not 0.0.0.0 too: each is asked for */
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    }
    if (bind(fd, &a->as.any, a->size) == 0 && listen(fd, 512) == 0) {
        return IM_OK;
    }
    if (errno == EADDRINUSE) {
        im_code rc = im_fail(err, IM_ERR_CONFLICT, "another program listens on '%.80s'", text);
        im_hint(err, "choose another port: --listen 127.0.0.1:7071");
        return rc;
    }
    return im_fail_errno(err, errno, "could not listen on '%.80s'", text);
}

/* Immich sends no key: whoever reaches the address may have texts and pictures embedded. */
static void warn_of_others(const server *s, const address *a, const char *text)
{
    char sentence[256];
    if (is_private(a) || s->options->note == NULL) {
        return;
    }
    (void)snprintf(sentence, sizeof(sentence),
                   "warning: '--immich-listen %.60s' is no private address: whoever reaches it may use the "
                   "model, there is no key",
                   text);
    s->options->note(s->options->context, sentence);
}

static im_code open_listener(server *s, const char *text, bool immich, im_error *err)
{
    address a;
    im_code rc = read_address(immich ? "immich-listen" : "listen", text, &a, err);
    if (rc == IM_OK && immich) {
        warn_of_others(s, &a, text);
    } else if (rc == IM_OK && !is_loopback(&a)) {
        rc = check_open_to_others(s, "--listen ", text, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    listener l = {.fd = socket(a.as.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
                  .loopback = is_loopback(&a),
                  .immich = immich,
                  .lock = -1};
    if (l.fd < 0) {
        return im_fail_errno(err, errno, "could not make a socket for '%.80s'", text);
    }
    rc = bind_address(l.fd, &a, text, err);
    if (rc == IM_OK) {
        rc = add_listener(s, &l, err);
    }
    if (rc != IM_OK) {
        (void)close(l.fd);
    }
    return rc;
}

/* ---- sockets of the service manager (sd_listen_fds(3)) ---- */

/* How many were passed to this very process. */
static im_code count_passed(uint64_t *out_n, im_error *err)
{
    uint64_t pid = 0;
    const char *pid_text = getenv("LISTEN_PID");
    const char *n_text = getenv("LISTEN_FDS");
    *out_n = 0;
    if (pid_text == NULL || n_text == NULL || !im_parse_u64(pid_text, 1, UINT64_MAX, &pid) ||
        pid != (uint64_t)getpid()) {
        return IM_OK; /* for somebody else */
    }
    return im_parse_u64(n_text, 0, DAEMON_MOST_LISTENERS - 1, out_n)
               ? IM_OK
               : im_fail(err, IM_ERR_INVALID, "LISTEN_FDS is '%.40s', expected 0 to %u sockets",
                         n_text, DAEMON_MOST_LISTENERS - 1);
}

static im_code take_passed(server *s, int fd, im_error *err)
{
    address a = {.size = sizeof(a.as)};
    int listens = 0;
    int type = 0;
    char name[32];
    socklen_t size = sizeof(int);
    (void)snprintf(name, sizeof(name), "descriptor %d", fd);
    bool sound = getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens != 0 &&
                 getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM &&
                 getsockname(fd, &a.as.any, &a.size) == 0 &&
                 (a.as.any.sa_family == AF_INET || a.as.any.sa_family == AF_INET6 ||
                  a.as.any.sa_family == AF_UNIX);
    if (!sound) {
        return im_fail(err, IM_ERR_INVALID,
                       "%s, which the service manager passed, is no socket that listens", name);
    }
    im_code rc = is_loopback(&a) ? IM_OK : check_open_to_others(s, "passed ", name, err);
    if (rc != IM_OK) {
        return rc;
    }
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    listener l = {.fd = fd, .loopback = is_loopback(&a), .lock = -1};
    return add_listener(s, &l, err);
}

static im_code open_local(server *s, im_error *err)
{
    char *path = NULL;
    listener l;
    im_code rc = im_app_socket_path(s->options->library.places, &path, err);
    if (rc == IM_OK && path != NULL) {
        rc = local_open(path, &l, err);
        if (rc == IM_OK) {
            rc = add_listener(s, &l, err);
            if (rc != IM_OK) {
                local_close(&l);
            }
        }
    }
    im_free(path);
    return rc;
}

im_code listeners_open(server *s, im_error *err)
{
    const im_daemon_options *options = s->options;
    uint64_t n_passed = 0;
    im_code rc = count_passed(&n_passed, err);
    for (uint64_t i = 0; rc == IM_OK && i < n_passed; i++) {
        rc = take_passed(s, PASSED_FIRST + (int)i, err);
    }
    for (size_t i = 0; rc == IM_OK && i < options->n_listen; i++) {
        rc = open_listener(s, options->listen[i], false, err);
    }
    if (rc == IM_OK && s->n_listeners == 0) {
        rc = open_listener(s, IM_DAEMON_LISTEN, false, err);
    }
    if (rc == IM_OK && options->immich_listen != NULL) {
        rc = open_listener(s, options->immich_listen, true, err);
    }
    return rc == IM_OK && options->local ? open_local(s, err) : rc;
}

void listeners_close(server *s)
{
    for (size_t i = 0; i < s->n_listeners; i++) {
        if (s->listeners[i].path != NULL) {
            local_close(&s->listeners[i]);
        } else {
            (void)close(s->listeners[i].fd);
        }
    }
    s->n_listeners = 0;
}

void listeners_tell(const server *s)
{
    for (size_t i = 0; s->options->listening != NULL && i < s->n_listeners; i++) {
        address a = {.size = sizeof(a.as)};
        char host[INET6_ADDRSTRLEN] = "";
        char url[INET6_ADDRSTRLEN + 24];
        if (getsockname(s->listeners[i].fd, &a.as.any, &a.size) != 0 ||
            a.as.any.sa_family == AF_UNIX) {
            continue;
        }
        bool v6 = a.as.any.sa_family == AF_INET6;
        const void *bytes = v6 ? (const void *)&a.as.v6.sin6_addr : (const void *)&a.as.v4.sin_addr;
        (void)inet_ntop(a.as.any.sa_family, bytes, host, sizeof(host));
        (void)snprintf(url, sizeof(url), v6 ? "http://[%s]:%u" : "http://%s:%u", host,
                       (unsigned)ntohs(v6 ? a.as.v6.sin6_port : a.as.v4.sin_port));
        s->options->listening(s->options->context, url, s->listeners[i].immich);
    }
}

/* ---- clients ---- */

bool client_read(const listener *from, int fd, client *out)
{
    address there = {.size = sizeof(there.as)};
    address here = {.size = sizeof(here.as)};
    *out = (client){.loopback = from->loopback, .immich = from->immich};
    if (getsockname(fd, &here.as.any, &here.size) != 0 ||
        getpeername(fd, &there.as.any, &there.size) != 0) {
        return false;
    }
    if (here.as.any.sa_family == AF_UNIX) {
        struct ucred peer = {.uid = (uid_t)-1};
        socklen_t size = sizeof(peer);
        (void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
        out->trusted = peer.uid == geteuid() || peer.uid == 0;
        return out->trusted || from->path == NULL;
    }
    map_address(&here, out->here);
    map_address(&there, out->address);
    if (!is_mapped(out->address)) { /* who has one address of IPv6 has 2^64 */
        memset(out->address + 8, 0, 8);
    }
    return true;
}

static bool same_name(im_view host, const char *name)
{
    size_t size = strlen(name);
    bool same = host.size == size;
    for (size_t i = 0; same && i < size; i++) {
        same = im_ascii_lower(host.data[i]) == im_ascii_lower(name[i]);
    }
    return same;
}

bool host_is_ours(const server *s, const client *from, im_view host)
{
    char text[64] = "";
    address named;
    uint8_t bytes[16];
    static const uint8_t none[16];
    bool bracket = host.size > 2 && host.data[0] == '[';
    for (size_t i = 0; i < s->options->n_hosts; i++) {
        if (same_name(host, s->options->hosts[i])) {
            return true;
        }
    }
    bool near = memcmp(from->here, none, 16) == 0 || bytes_are_loopback(from->here);
    if (near && http_host_is_loopback(host)) {
        return true;
    }
    if (host.size >= sizeof(text)) {
        return false;
    }
    memcpy(text, host.data + bracket, host.size - 2u * bracket);
    if (same_name(im_view_from(text), "localhost") || !read_host(text, 0, &named)) {
        return false;
    }
    map_address(&named, bytes);
    return memcmp(bytes, from->here, 16) == 0;
}

/* "http://" or "https://" (a proxy may speak it for us) and what Host says. */
bool origin_is_ours(const http_head *head)
{
    static const char *const schemes[] = {"http://", "https://"};
    im_view origin = head->origin;
    if (origin.data == NULL) {
        return true;
    }
    for (size_t i = 0; i < IM_COUNT(schemes); i++) {
        size_t size = strlen(schemes[i]);
        if (origin.size != size + head->authority.size ||
            memcmp(origin.data, schemes[i], size) != 0) {
            continue;
        }
        bool same = true;
        for (size_t j = 0; same && j < head->authority.size; j++) {
            same = im_ascii_lower(origin.data[size + j]) == im_ascii_lower(head->authority.data[j]);
        }
        if (same) {
            return true;
        }
    }
    return false;
}
