/* daemon/talk_internal.h — what of a request takes the vision-language model's time. */
#ifndef IM_DAEMON_TALK_INTERNAL_H
#define IM_DAEMON_TALK_INTERNAL_H

#include "daemon/daemon_internal.h"

typedef enum talk_kind { TALK_RERANK, TALK_ASK, TALK_EXPLAIN } talk_kind;

struct talk {
    talk *next;          /* in the queue */
    atomic_uint holders; /* freed by the last one */
    atomic_bool gone;    /* nobody listens: asking ends */
    talk_kind kind;
    bool streams; /* events as they come; else one answer at the end */
    char request_id[20];
    /* what is asked: of the thread that answers, once it was put */
    im_answer answer; /* the first stage's */
    char *question;   /* ASK, owned */
    size_t n;         /* RERANK: hits */
    uint64_t item;    /* EXPLAIN */
    pthread_mutex_t lock;
    /* guarded by lock; what a listener has taken is not in `out` any more */
    im_str out;
    bool ended;
    im_error error; /* when it does not stream; settled once it has ended */
};

/** The caller's until talk_leave; NULL when memory is out. Fill answer, question, n before it is
 * put. */
talk *talk_new(talk_kind kind, const exchange *ex);
/** Appends an event as an event stream writes it. */
void talk_event(im_str *out, const char *name, const im_json_writer *w);

IM_NODISCARD im_code talks_open(server *s, talks **out, im_error *err);
/** False when too many wait, or no thread can be started. */
bool talks_put(talks *all, talk *t);
/** The library is to be opened again before the next one. */
void talks_reopen(talks *all);
/** Ends what is asked, at once, and the threads. */
void talks_close(talks *all);

/* ---- answer_ask.c ---- */

/** Whether the model may be asked here at all: IM_ERR_INVALID, with a hint, when none is known. */
IM_NODISCARD im_code talk_allowed(server *s, im_error *err);
/** Goes on with the exchange in a talk: a stream that begins with the first stage as event `name`,
 * or an answer that comes when the talk has ended. Takes the talk in each case.
 * @param first the event's data; only looked at for a stream */
void talk_begin(server *s, exchange *ex, talk *t, const char *name, const im_json_writer *first);

#endif
