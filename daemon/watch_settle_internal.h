/* daemon/watch_settle_internal.h — when a path that has changed is to be handed over: once it is
 * quiet, and nobody writes to it. Pure: the clock and the look at a file are the caller's. */
#ifndef IM_DAEMON_WATCH_SETTLE_INTERNAL_H
#define IM_DAEMON_WATCH_SETTLE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SETTLE_QUIET_MS 150u  /* without a change … */
#define SETTLE_MOST_MS 1500u  /* … but no longer than this after the first one */
#define SETTLE_LOOK_MS 500u   /* between looks at a file that somebody may be writing */
#define SETTLE_STILL_MS 2000u /* it looks the same for so long, and nobody knows of a writer */
#define SETTLE_HELD_MS 10000u /* … and somebody has it open for writing */
#define SETTLE_PATHS_MOST 20000u

typedef enum settle_what {
    SETTLE_OPENED, /* there now, but it may still be written */
    SETTLE_CLOSED, /* written and closed, or moved here whole */
    SETTLE_GONE
} settle_what;

typedef enum settle_writer {
    SETTLE_WRITER_UNKNOWN,
    SETTLE_WRITER_NONE,
    SETTLE_WRITER
} settle_writer;

/** What a look at a path shows. */
typedef struct settle_sight {
    bool is_file;
    settle_writer writer; /* of a file: whether somebody has it open for writing */
    uint64_t size;
    int64_t mtime_ns;
} settle_sight;

typedef settle_sight (*settle_look_fn)(void *context, const char *path);

typedef struct settle settle;

/** NULL when memory is out. */
settle *settle_new(void);
void settle_free(settle *s);
/** Something has happened to a path. False when there are too many, or memory is out: nobody knows
 * any more what has changed. */
bool settle_note(settle *s, const char *path, settle_what what, uint64_t now_ns);
/** Takes up to `most` paths that may be handed over, those that are there before those that are
 * gone: a file that was moved is then found at its new place first.
 * @param out [most], texts owned by the caller */
size_t settle_take(settle *s, uint64_t now_ns, settle_look_fn look, void *context, char **out,
                   size_t most);
/** When to look for the next; UINT64_MAX: nothing waits. */
uint64_t settle_due_ns(const settle *s);
size_t settle_count(const settle *s);
void settle_forget_all(settle *s);

#endif
