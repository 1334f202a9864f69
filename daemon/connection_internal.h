/* daemon/connection_internal.h — what connection.c (bytes) and request.c (their meaning) share. */
#ifndef IM_DAEMON_CONNECTION_INTERNAL_H
#define IM_DAEMON_CONNECTION_INTERNAL_H

#include "daemon/daemon_internal.h"

#define CONNECTION_IN_BYTES (32u << 10) /* of the socket, at once */
#define CONNECTION_OUT_KEPT_BYTES (64u << 10)
#define CONNECTION_STREAM_BYTES (256u << 10) /* of events that a listener has not read */
#define CONNECTION_FILE_BYTES (1u << 20) /* of a file, before others have their turn */
#define CONNECTION_TURN 200u             /* steps; about 60 small requests */

typedef enum step { STEP_ON, STEP_WAIT, STEP_CLOSE } step;

struct connection {
    int fd;
    client from;
    uint64_t id; /* generation and slot */
    enum {
        CONN_HEAD,
        CONN_BODY,
        CONN_WAIT, /* for the library's thread, which has the exchange */
        CONN_TALK, /* for the exchange's talk */
        CONN_WRITE,
        CONN_STREAM, /* events are sent as they come */
        CONN_LINGER
    } state;
    char *in; /* [CONNECTION_IN_BYTES], owned */
    size_t in_size;
    bool head_begun;
    bool chunked;    /* the body that is read */
    uint64_t length; /* … when it is not chunked */
    http_chunks chunks;
    exchange *exchange;
    im_str out;
    size_t out_counted; /* of DAEMON_ANSWERS_BYTES */
    size_t sent;
    int file; /* follows out; -1: none */
    uint64_t file_at, file_left;
    im_file_stamp file_stamp;
    bool close; /* behind what is in out */
    uint64_t stream, stream_after; /* job whose events follow what is in out; 0: none */
    talk *talk;                    /* whose events follow instead; NULL: none */
    uint64_t beat_ns;              /* when something was sent last */
    uint64_t deadline_ns;
    uint32_t events; /* that epoll watches for */
};

/* ---- connection.c ---- */
void connection_deadline(connection *c, unsigned ms);

/* ---- request.c ---- */
/** A head has come: makes the exchange and checks all that can be checked before the body. */
step connection_begin(server *s, connection *c, const http_head *head);
/** The request is whole: answered, or given to the library's thread. */
step connection_dispatch(server *s, connection *c);
/** Answers a request that cannot be read further, and ends the connection behind that. */
step connection_refuse(server *s, connection *c, const http_fault *fault);
/** c->exchange has its answer: it is counted, logged and ready to be sent; or a problem instead,
 * when the answers that nobody reads are too large together. */
step connection_finish(server *s, connection *c);

#endif
