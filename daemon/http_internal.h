/* daemon/http_internal.h — strict reading of what a client sent: heads, chunks, parameters. Pure
 * functions over bytes, without sockets. What is not clearly one request is refused: a proxy in
 * front must never see other requests than we do. */
#ifndef IM_DAEMON_HTTP_INTERNAL_H
#define IM_DAEMON_HTTP_INTERNAL_H

#include "base/base.h"

#define HTTP_HEAD_BYTES (16u << 10)
#define HTTP_TARGET_BYTES (8u << 10)
#define HTTP_MOST_HEADERS 100u
#define HTTP_CHUNK_LINE_BYTES 256u

typedef enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PATCH,
    HTTP_DELETE,
    HTTP_OTHER /* a token that no route has */
} http_method;

/** A request's head. All views point into the bytes read. */
typedef struct http_head {
    http_method method;
    im_view method_name;
    im_view path; /* begins with '/', or "*"; empty for CONNECT */
    im_view query;
    im_view host; /* without the port; an IPv6 address keeps its brackets */
    im_view authority;     /* with the port */
    im_view origin;        /* of the page that asks; data NULL: none */
    im_view authorization; /* data NULL: none */
    bool odd_credentials;  /* two of them, or bytes that none has: authorization is then empty */
    im_view content_type;
    bool close; /* the client sends nothing behind it */
    bool chunked;
    bool has_length;
    uint64_t length; /* UINT64_MAX: more than can be counted */
    bool expects_continue;
    size_t size; /* with the empty line */
} http_head;

typedef enum http_state { HTTP_MORE, HTTP_READY, HTTP_REFUSED } http_state;

/** Why something was refused; `status` is what the answer says. */
typedef struct http_fault {
    int status;
    im_error error;
} http_fault;

/** Reads the head that `bytes` begins with. HTTP_MORE: there is no fault in it so far.
 * @param fault filled when refused */
http_state http_head_read(im_view bytes, http_head *out, http_fault *fault);
/** Fills a fault; returns HTTP_REFUSED. */
http_state http_refuse(http_fault *fault, int status, im_reason reason, const char *fmt, ...)
    IM_PRINTF(4, 5);

/** Where in a chunked body the reader is. All zero: at its begin. */
typedef struct http_chunks {
    enum { CHUNK_SIZE, CHUNK_DATA, CHUNK_END, CHUNK_LAST, CHUNK_DONE } state;
    uint64_t left; /* of the chunk's data */
    char line[HTTP_CHUNK_LINE_BYTES];
    size_t line_size;
} http_chunks;

/** Reads on in a chunked body.
 * @param out_used how many of the bytes belonged to it
 * @param body takes the data; it may grow to `limit` bytes */
http_state http_chunks_read(http_chunks *chunks, im_view bytes, size_t *out_used, im_str *body,
                            uint64_t limit, http_fault *fault);

#define HTTP_MOST_PARAMETERS 32u

typedef struct http_parameter {
    char *name; /* both NUL-terminated, percent signs decoded */
    char *value;
} http_parameter;

typedef struct http_parameters {
    http_parameter list[HTTP_MOST_PARAMETERS];
    size_t n;
    char *text; /* owned memory of all */
} http_parameters;

/** Reads "a=1&b=2". http_parameter for a name twice, bad escapes, NUL; IM_ERR_NOMEM. */
IM_NODISCARD im_code http_parameters_read(im_view query, http_parameters *out, im_error *err);
const char *http_parameter_of(const http_parameters *parameters, const char *name);
void http_parameters_clear(http_parameters *parameters);

/** True for what a browser on this machine calls it: localhost, loopback addresses. */
bool http_host_is_loopback(im_view host);
const char *http_status_title(int status);

#endif
