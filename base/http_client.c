/* base/http_client.c — requests through libcurl: the address is checked where the socket is made,
 * so that a name cannot become another machine between the check and the connection. */
#include "base/http_client.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/http_curl_internal.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECT_MS 5000u
#define DEFAULT_BYTES (1u << 20)
#define HEAD_BYTES (64u << 10)

struct im_http_client {
    CURL *curl;
    /* of the request under way */
    bool loopback_only;
    bool refused; /* an address was not one of those that may be asked */
    bool too_large;
    size_t max_bytes;
    size_t head_bytes;
    size_t taken_bytes; /* by request->take */
    const im_http_request *request;
    im_code take_failed; /* what request->take returned … */
    im_error take_error; /* … and why */
    im_http_answer *answer;
};

/* ---- addresses ---- */

static bool is_loopback4(uint32_t address)
{
    return address >> 24 == 127;
}

static bool is_never4(uint32_t address)
{
    return address >> 24 == 0 || address >> 16 == 0xa9feu ||
           address >> 28 >= 14; /* 169.254, 224… */
}

/* The IPv4 address inside ::ffff:a.b.c.d. */
static bool mapped4(const struct in6_addr *address, uint32_t *out)
{
    uint32_t value = 0;
    memcpy(&value, address->s6_addr + 12, sizeof(value));
    *out = ntohl(value);
    return IN6_IS_ADDR_V4MAPPED(address);
}

static bool address_allowed(const struct sockaddr *address, bool loopback_only)
{
    uint32_t v4 = 0;
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof(in));
        v4 = ntohl(in.sin_addr.s_addr);
    } else if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof(in6));
        if (!mapped4(&in6.sin6_addr, &v4)) {
            bool loopback = IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr);
            bool never = IN6_IS_ADDR_LINKLOCAL(&in6.sin6_addr) ||
                         IN6_IS_ADDR_MULTICAST(&in6.sin6_addr) ||
                         IN6_IS_ADDR_UNSPECIFIED(&in6.sin6_addr);
            return loopback_only ? loopback : !never;
        }
    } else {
        return false;
    }
    return loopback_only ? is_loopback4(v4) : !is_never4(v4);
}

static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    im_http_client *client = context;
    (void)purpose;
    if (!address_allowed(&address->addr, client->loopback_only)) {
        client->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* ---- URLs ---- */

static bool host_is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    size_t size = strlen(host);
    uint32_t mapped = 0;
    if (inet_pton(AF_INET, host, &v4) == 1) {
        return is_loopback4(ntohl(v4.s_addr));
    }
    if (inet_pton(AF_INET6, host, &v6) == 1) {
        return mapped4(&v6, &mapped) ? is_loopback4(mapped) : IN6_IS_ADDR_LOOPBACK(&v6);
    }
    return strcmp(host, "localhost") == 0 ||
           (size > 10 && strcmp(host + size - 10, ".localhost") == 0);
}

/* Lower case, without the brackets of an IPv6 address and the dot behind a full name. */
static bool write_host(const char *text, im_http_place *out)
{
    size_t size = strlen(text);
    if (size > 2 && text[0] == '[' && text[size - 1] == ']') {
        text++;
        size -= 2;
    }
    if (size > 1 && text[size - 1] == '.') {
        size--;
    }
    if (size == 0 || size >= sizeof(out->host)) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        out->host[i] = im_ascii_lower(text[i]);
    }
    out->host[size] = '\0';
    return true;
}

static im_code read_parts(CURLU *parts, const char *url, im_http_place *out, im_error *err)
{
    char *scheme = NULL;
    char *host = NULL;
    char *user = NULL;
    char *password = NULL;
    im_code rc = IM_OK;
    if (http_curl()->url_set(parts, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK ||
        http_curl()->url_get(parts, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK) {
        rc = im_fail(err, IM_ERR_INVALID, "'%.200s' is no URL, expected http://HOST:PORT", url);
    } else if (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0) {
        rc = im_fail_as(err, IM_REASON_URL_REFUSED, "'%.200s': scheme '%s', expected http or https",
                        url, scheme);
    } else if (http_curl()->url_get(parts, CURLUPART_USER, &user, 0) == CURLUE_OK ||
               http_curl()->url_get(parts, CURLUPART_PASSWORD, &password, 0) == CURLUE_OK) {
        rc = im_fail_as(err, IM_REASON_URL_REFUSED, "a URL with a name or password in it");
        im_hint(err, "give a key in IMAGO_VLM_KEY, or in a file");
    } else if (http_curl()->url_get(parts, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
               !write_host(host, out)) {
        rc = im_fail(err, IM_ERR_INVALID, "'%.200s' names no host", url);
    } else {
        out->secure = strcmp(scheme, "https") == 0;
        out->loopback = host_is_loopback(out->host);
    }
    http_curl()->free(scheme);
    http_curl()->free(host);
    http_curl()->free(user);
    http_curl()->free(password);
    return rc;
}

im_code im_http_place_of(const char *url, im_http_place *out, im_error *err)
{
    memset(out, 0, sizeof(*out));
    im_code rc = http_curl_load(err);
    if (rc != IM_OK) {
        return rc;
    }
    CURLU *parts = http_curl()->url();
    if (parts == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a URL");
    }
    rc = read_parts(parts, url, out, err);
    http_curl()->url_cleanup(parts);
    return rc;
}

im_code im_http_allowed(const im_http_rules *rules, const char *url, im_error *err)
{
    im_http_place place;
    im_http_place other;
    im_code rc = im_http_place_of(url, &place, err);
    bool allowed = rc == IM_OK && place.loopback;
    for (size_t i = 0; rules != NULL && rc == IM_OK && !allowed && i < rules->n_hosts; i++) {
        allowed = write_host(rules->hosts[i], &other) && strcmp(other.host, place.host) == 0;
    }
    if (rc == IM_OK && !allowed) {
        rc = im_fail_as(err, IM_REASON_URL_REFUSED, "host '%s' is not this machine", place.host);
        im_hint(err, "to send pictures there: --vlm-allow-host %.60s", place.host);
    }
    return rc;
}

/* ---- what libcurl calls ---- */

static bool is_good(const im_http_client *client)
{
    long status = 0;
    (void)http_curl()->easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
    return status >= 200 && status < 300;
}

static size_t take_body(char *data, size_t size, size_t n, void *context)
{
    im_http_client *client = context;
    const im_http_request *request = client->request;
    size_t bytes = size * n;
    size_t before = client->taken_bytes + client->answer->body.size;
    if (bytes > client->max_bytes - IM_MIN(before, client->max_bytes)) {
        client->too_large = true;
        return 0;
    }
    if (request->take != NULL && is_good(client)) {
        client->taken_bytes += bytes;
        client->take_failed =
            request->take(request->context, im_view_of(data, bytes), &client->take_error);
        return client->take_failed == IM_OK ? bytes : 0;
    }
    im_str_add(&client->answer->body, data, bytes);
    return client->answer->body.failed ? 0 : bytes;
}

/* The value of a header line of that name, without blanks around it; NULL for another name. */
static const char *header_value(const char *line, size_t size, const char *name, size_t *out_size)
{
    size_t n = strlen(name);
    if (size <= n || line[n] != ':' || strncasecmp(line, name, n) != 0) {
        return NULL;
    }
    const char *value = line + n + 1;
    size -= n + 1;
    while (size > 0 && strchr(" \t", *value) != NULL) {
        value++;
        size--;
    }
    while (size > 0 && strchr(" \t\r\n", value[size - 1]) != NULL) {
        size--;
    }
    *out_size = size;
    return value;
}

static size_t take_header(char *data, size_t size, size_t n, void *context)
{
    im_http_client *client = context;
    im_http_answer *answer = client->answer;
    size_t bytes = size * n;
    size_t value_size = 0;
    char number[16];
    uint64_t seconds = 0;
    client->head_bytes += bytes;
    if (client->head_bytes > HEAD_BYTES) {
        client->too_large = true;
        return 0;
    }
    const char *value = header_value(data, bytes, "content-type", &value_size);
    if (value != NULL) {
        (void)snprintf(answer->type, sizeof(answer->type), "%.*s",
                       (int)IM_MIN(value_size, sizeof(answer->type) - 1), value);
    }
    value = header_value(data, bytes, "retry-after", &value_size);
    if (value != NULL && value_size < sizeof(number)) {
        memcpy(number, value, value_size);
        number[value_size] = '\0';
        answer->has_retry_after = im_parse_u64(number, 0, UINT32_MAX, &seconds);
        answer->retry_after_s = (uint32_t)seconds;
    }
    return bytes;
}

static int stop_when_asked(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const im_http_request *request = context;
    (void)a, (void)b, (void)c, (void)d;
    bool stopped = request->stopped != NULL ? request->stopped(request->context) : im_stop_asked();
    return stopped ? 1 : 0;
}

/* ---- the client ---- */

im_code im_http_open(im_http_client **out_client, im_error *err)
{
    im_code rc = http_curl_load(err);
    if (rc != IM_OK) {
        return rc;
    }
    im_http_client *client = im_alloc_zero(1, sizeof(*client));
    if (client != NULL) {
        client->curl = http_curl()->easy_init();
    }
    if (client == NULL || client->curl == NULL) {
        im_free(client);
        return im_fail(err, IM_ERR_NOMEM, "no memory for a connection");
    }
    *out_client = client;
    return IM_OK;
}

void im_http_close(im_http_client *client)
{
    if (client != NULL) {
        http_curl()->easy_cleanup(client->curl);
        im_free(client);
    }
}

void im_http_answer_clear(im_http_answer *answer)
{
    im_str_clear(&answer->body);
}

/* ---- a request ---- */

static bool set_rules(CURL *curl, im_http_client *client, const im_http_request *request)
{
    uint32_t connect_ms = IM_MIN(request->timeout_ms, CONNECT_MS);
    return http_curl()->easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           http_curl()->easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           http_curl()->easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           http_curl()->easy_setopt(curl, CURLOPT_NOPROXY, client->loopback_only ? "*" : NULL) ==
               CURLE_OK &&
           http_curl()->easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms) ==
               CURLE_OK &&
           http_curl()->easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms) ==
               CURLE_OK &&
           http_curl()->easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket) == CURLE_OK &&
           http_curl()->easy_setopt(curl, CURLOPT_OPENSOCKETDATA, client) == CURLE_OK &&
           http_curl()->easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK &&
           http_curl()->easy_setopt(curl, CURLOPT_WRITEDATA, client) == CURLE_OK &&
           http_curl()->easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header) == CURLE_OK &&
           http_curl()->easy_setopt(curl, CURLOPT_HEADERDATA, client) == CURLE_OK &&
           http_curl()->easy_setopt(curl, CURLOPT_NOPROGRESS, 0L) == CURLE_OK &&
           http_curl()->easy_setopt(curl, CURLOPT_XFERINFODATA, (void *)request) == CURLE_OK &&
           http_curl()->easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, stop_when_asked) == CURLE_OK;
}

static bool add_line(struct curl_slist **lines, const char *line)
{
    struct curl_slist *grown = line != NULL ? http_curl()->slist_append(*lines, line) : *lines;
    bool good = grown != NULL || line == NULL;
    *lines = good ? grown : *lines;
    return good;
}

static bool add_type(struct curl_slist **lines, const char *type)
{
    im_str line;
    im_str_init(&line, 256);
    im_str_addf(&line, "Content-Type: %s", type != NULL ? type : "application/json");
    bool good = !line.failed && add_line(lines, im_str_text(&line));
    im_str_clear(&line);
    return good;
}

static bool set_request(CURL *curl, const im_http_request *request, struct curl_slist **lines)
{
    bool good = http_curl()->easy_setopt(curl, CURLOPT_URL, request->url) == CURLE_OK &&
                http_curl()->easy_setopt(curl, CURLOPT_USERAGENT, "imago") == CURLE_OK;
    for (size_t i = 0; good && i < request->n_headers; i++) {
        good = add_line(lines, request->headers[i]);
    }
    if (good && request->body.data != NULL) {
        good = add_type(lines, request->type) && add_line(lines, "Expect:") &&
               http_curl()->easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
                                        (curl_off_t)request->body.size) == CURLE_OK &&
               http_curl()->easy_setopt(curl, CURLOPT_POSTFIELDS, request->body.data) == CURLE_OK;
    }
    return good && add_line(lines, request->secret) &&
           http_curl()->easy_setopt(curl, CURLOPT_HTTPHEADER, *lines) == CURLE_OK;
}

static im_code fail_sent(const im_http_client *client, CURLcode code,
                         const im_http_request *request, const char *host, im_error *err)
{
    im_code rc = IM_OK;
    if (client->refused) {
        rc = im_fail_as(err, IM_REASON_URL_REFUSED, "host '%s' has an address that is not asked%s",
                        host, client->loopback_only ? ": it is not this machine's" : "");
    } else if (client->take_failed != IM_OK) {
        rc = client->take_failed;
        if (err != NULL) {
            *err = client->take_error;
        }
    } else if (client->too_large) {
        rc = im_fail(err, IM_ERR_UPSTREAM, "'%s' answered with more than %zu bytes", host,
                     client->max_bytes);
    } else if (code == CURLE_OPERATION_TIMEDOUT) {
        rc = im_fail(err, IM_ERR_TIMEOUT, "'%s' gave no whole answer within %u ms", host,
                     request->timeout_ms);
    } else if (code == CURLE_ABORTED_BY_CALLBACK) {
        rc = im_fail_as(err, IM_REASON_INTERRUPTED, "stopped while '%s' was asked", host);
    } else if (client->answer->body.failed) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for an answer of '%s'", host);
    } else {
        rc = im_fail(err, IM_ERR_UPSTREAM, "could not ask '%s': %s", host,
                     http_curl()->easy_strerror(code));
    }
    return rc;
}

im_code im_http_send(im_http_client *client, const im_http_rules *rules,
                     const im_http_request *request, im_http_answer *out, im_error *err)
{
    im_http_place place;
    struct curl_slist *lines = NULL;
    long status = 0;
    curl_off_t sent = 0;
    uint64_t start = im_clock_ns();
    memset(out, 0, sizeof(*out));
    client->max_bytes = request->max_bytes != 0 ? request->max_bytes : DEFAULT_BYTES;
    im_str_init(&out->body, client->max_bytes + 1);
    im_code rc = im_http_allowed(rules, request->url, err);
    if (rc == IM_OK) {
        rc = im_http_place_of(request->url, &place, err);
    }
    if (rc == IM_OK && request->secret != NULL && !place.secure && !place.loopback) {
        rc = im_fail_as(err, IM_REASON_URL_REFUSED, "a key would go to '%s' in the clear",
                        place.host);
        im_hint(err, "use https://");
    }
    if (rc != IM_OK) {
        return rc;
    }
    client->answer = out;
    client->loopback_only = place.loopback;
    client->refused = client->too_large = false;
    client->head_bytes = client->taken_bytes = 0;
    client->request = request;
    client->take_failed = IM_OK;
    client->take_error = (im_error)IM_ERROR_INIT;
    http_curl()->easy_reset(client->curl); /* connections stay */
    if (set_rules(client->curl, client, request) && set_request(client->curl, request, &lines)) {
        CURLcode code = http_curl()->easy_perform(client->curl);
        rc = code == CURLE_OK ? IM_OK : fail_sent(client, code, request, place.host, err);
    } else {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a request");
    }
    (void)http_curl()->easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
    out->status = (int)status;
    (void)http_curl()->easy_getinfo(client->curl, CURLINFO_SIZE_UPLOAD_T, &sent);
    out->bytes_sent = (uint64_t)sent;
    out->ms = im_clock_ms_since(start);
    (void)http_curl()->easy_setopt(client->curl, CURLOPT_HTTPHEADER, NULL);
    http_curl()->slist_free_all(lines);
    client->answer = NULL;
    client->request = NULL;
    return rc;
}
