/* tests/vlm/fake_server.h — a server on loopback that is strict in what it takes and plays or
 * misbehaves as a test says. Each request must be one that imago means to send: a known method and
 * route, a JSON object, pictures as JPEG data alone. */
#ifndef IM_TESTS_VLM_FAKE_SERVER_H
#define IM_TESTS_VLM_FAKE_SERVER_H

#include "base/text.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

typedef enum fake_act {
    FAKE_SAY,     /* the answer, whole */
    FAKE_SILENT,  /* nothing at all */
    FAKE_HEAD,    /* a head that promises more, then silence */
    FAKE_DRIP,    /* one byte each 50 ms */
    FAKE_CUT,     /* half of the answer, then the end */
    FAKE_RESET,   /* the connection is reset */
    FAKE_HUGE,    /* 100 MB */
    FAKE_ENDLESS, /* a stream of events that never ends */
} fake_act;

typedef struct fake_answer {
    fake_act act;
    int status;         /* 0: 200 */
    const char *header; /* one more line of the head, without its end, or NULL */
    im_view body;
    unsigned delay_ms; /* before it */
} fake_answer;

typedef struct fake_server fake_server;
/** The answer to a request, by its route ("POST /v1/rerank") and how many came before it. */
typedef fake_answer fake_route_fn(void *context, const char *route, int before);

struct fake_server {
    char url[64];
    fake_answer answer;   /* to all, without a route function */
    fake_route_fn *route; /* or NULL */
    void *context;
    bool lax; /* bodies are not looked into: where allocations are made to fail */
    atomic_int requests;
    atomic_int at_once, most_at_once; /* requests that are being answered */
    atomic_ulong bytes_out;
    char complaint[256]; /* guarded by lock: the first request that was not as it should be */
    /* private */
    pthread_mutex_t lock;
    atomic_int open;
    atomic_bool stopping;
    int fd;
    pthread_t thread;
};

/** Starts it with one answer to all. */
void fake_start(fake_server *server, fake_answer answer);
/** Ends it and all its connections; asserts that it has nothing to complain of. */
void fake_stop(fake_server *server);

#endif
