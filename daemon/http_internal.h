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
#define HTTP_VIA_NAME "imago" /* by which we are named in Via; lower case */

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
    im_view last_event_id;
    im_view range, if_range, if_none_match; /* data NULL: none; empty: none that counts */
    bool close;                             /* the client sends nothing behind it */
    bool chunked;
    bool has_length;
    uint64_t length; /* UINT64_MAX: more than can be counted */
    bool expects_continue;
    bool wants_events; /* Accept names text/event-stream */
    bool forwarded;    /* Via names imago: one of us has passed it on */
    size_t size;       /* with the empty line */
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

/* ---- http_multipart.c ---- */

#define HTTP_BOUNDARY_BYTES 70u
#define HTTP_MOST_PARTS 64u
#define HTTP_PART_HEAD_BYTES 4096u
#define HTTP_PART_NAME_BYTES 256u

/** One part of multipart/form-data. All views point into the body; nothing is decoded. */
typedef struct http_part {
    im_view name;
    im_view file_name;    /* data NULL: none. For showing alone: it may say anything */
    im_view content_type; /* data NULL: none. What the sender thinks of it */
    im_view data;
} http_part;

typedef struct http_parts {
    http_part list[HTTP_MOST_PARTS];
    size_t n;
} http_parts;

/** Reads the boundary of "multipart/form-data; boundary=…" into NUL-terminated text.
 * http_multipart. */
IM_NODISCARD im_code http_boundary_read(im_view content_type, char out[HTTP_BOUNDARY_BYTES + 1],
                                        im_error *err);
/** Takes a whole body apart: 1 to HTTP_MOST_PARTS parts, each name once, closed by its last line,
 * nothing before and nothing behind. http_multipart for all else. */
IM_NODISCARD im_code http_multipart_read(im_view body, const char *boundary, http_parts *out,
                                         im_error *err);
/** NULL: there is none of that name. */
const http_part *http_part_of(const http_parts *parts, im_view name);

/* ---- http_range.c ---- */

typedef enum http_range {
    HTTP_RANGE_WHOLE, /* answer as if it had not been asked for */
    HTTP_RANGE_PART,
    HTTP_RANGE_OUTSIDE /* 416 */
} http_range;

/** What "bytes=0-99" means for `size` bytes. Several ranges, other units and what is not well
 * formed are answered with all (RFC 9110, 14.2). */
http_range http_range_read(im_view value, uint64_t size, uint64_t *out_at, uint64_t *out_size);
/** Whether an If-None-Match names this tag ("\"abc\"", with its quotes), or any. */
bool http_etag_listed(im_view value, const char *etag);

/* ---- names ---- */

/** Equal but for the case of ASCII letters. `word` is lower case. */
bool http_same_word(im_view text, const char *word);
/** True for what a browser on this machine calls it: localhost, loopback addresses. */
bool http_host_is_loopback(im_view host);
const char *http_status_title(int status);

#endif
