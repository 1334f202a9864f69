/* base/http_client.h — asks one HTTP server, carefully: no redirects, an answer of bounded size,
 * time limits, and only hosts that are meant. The one place with libcurl. */
#ifndef IM_BASE_HTTP_CLIENT_H
#define IM_BASE_HTTP_CLIENT_H

#include "base/error.h"
#include "base/text.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** A connection that is kept alive between requests. One thread at a time. */
typedef struct im_http_client im_http_client;

/** Which hosts may be asked. Loopback always: written as 127.0.0.0/8 or ::1 in any form, or
 * "localhost". Others only by name; a proxy from the environment (https_proxy, no_proxy …) is used
 * for these alone. */
typedef struct im_http_rules {
    const char *const *hosts; /* [n_hosts] names or addresses, any case; borrowed for each call */
    size_t n_hosts;
} im_http_rules;

typedef struct im_http_request {
    const char *url;
    const char *const *headers; /* [n_headers] "Name: value" */
    size_t n_headers;
    const char *secret;  /* one more such line, with a key in it: never in a sentence; or NULL */
    im_view body;        /* data NULL: GET, else POST */
    const char *type;    /* Content-Type of the body; NULL: application/json */
    uint32_t timeout_ms; /* for all of it; connecting has at most 5 s of them */
    size_t max_bytes;    /* of the answer's body; 0: 1 MiB */
    /** Asked about once a second: true ends the request. NULL: im_stop_asked. */
    bool (*stopped)(void *context);
    /** Given the body of a good answer (2xx) piece by piece as it comes, which is then not kept;
     * NULL: it is. What it returns, when that is a failure, ends the request. */
    im_code (*take)(void *context, im_view piece, im_error *err);
    void *context;
} im_http_request;

typedef struct im_http_answer {
    int status;
    im_str body;
    char type[64];        /* Content-Type, cut; "" when there was none */
    bool has_retry_after; /* "Retry-After: SECONDS" (a date is not understood) */
    uint32_t retry_after_s;
    uint64_t bytes_sent; /* of the request's body: 0 when nobody took the connection */
    double ms;
} im_http_answer;

/** Host and scheme of a URL, in the form the rules compare. */
typedef struct im_http_place {
    char host[256]; /* lower case, without brackets */
    bool secure;    /* https */
    bool loopback;  /* by its writing */
} im_http_place;

/** Reads a URL without asking anybody. IM_ERR_INVALID (what it is not); url_refused for other
 * schemes than http and https, and for a name or password in it. */
IM_NODISCARD im_code im_http_place_of(const char *url, im_http_place *out, im_error *err);
/** url_refused, before any packet, unless the rules let this URL be asked. */
IM_NODISCARD im_code im_http_allowed(const im_http_rules *rules, const char *url, im_error *err);

IM_NODISCARD im_code im_http_open(im_http_client **out_client, im_error *err);
void im_http_close(im_http_client *client);

/** Sends a request and reads the whole answer, whatever its status. The address that is connected
 * to is checked after the name was looked up: loopback for loopback names, never link-local,
 * multicast or unspecified.
 * @param out cleared by im_http_answer_clear, also after a failure
 * @return url_refused; IM_ERR_TIMEOUT; IM_ERR_UPSTREAM (no connection, cut, larger than max_bytes,
 * a certificate that does not hold); interrupted when `stopped` said so; what `take` returned */
IM_NODISCARD im_code im_http_send(im_http_client *client, const im_http_rules *rules,
                                  const im_http_request *request, im_http_answer *out,
                                  im_error *err);
void im_http_answer_clear(im_http_answer *answer);

#endif
