/* vlm/local_internal.h — what the files of a llama-server of our own share: the last lines that it
 * wrote, and whose port is asked. */
#ifndef IM_VLM_LOCAL_INTERNAL_H
#define IM_VLM_LOCAL_INTERNAL_H

#include "vlm/vlm_internal.h"

#define LOCAL_LINES 12u
#define LOCAL_LINE_BYTES 240u

/** The last lines of a log; longer ones are cut. */
typedef struct local_tail {
    char lines[LOCAL_LINES][LOCAL_LINE_BYTES + 1];
    bool failures[LOCAL_LINES];      /* a line speaks of one */
    size_t n;                        /* whole lines so far; line i is at i % LOCAL_LINES */
    char open[LOCAL_LINE_BYTES + 1]; /* the line that has no end yet */
    size_t n_open;
    bool port_taken; /* a line said that the port could not be had */
} local_tail;

/** Takes bytes of a log in; each whole line is told. */
void local_tail_add(local_tail *tail, const char *bytes, size_t size,
                    const im_vlm_local_listener *listener);
/** The last words, those that speak of a failure first; true when it was about the port. */
bool local_tail_words(const local_tail *tail, im_str *out);
/** False when another user of this machine listens on that port of loopback. */
bool local_port_is_ours(const char *port);

#endif
