/* base/clock.h — monotonic time for durations, wall time for stored dates. */
#ifndef IM_BASE_CLOCK_H
#define IM_BASE_CLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/** Monotonic nanoseconds; differences only. */
uint64_t im_clock_ns(void);
/** Milliseconds since `start_ns`. */
double im_clock_ms_since(uint64_t start_ns);
/** Wall clock, nanoseconds since 1970 UTC. */
int64_t im_clock_wall_ns(void);

/** Set by SIGINT or SIGTERM (the command line installs the handlers); long work asks it between
 * items and ends cleanly. */
bool im_stop_asked(void);
/** From now on im_stop_asked is also true on this thread while *flag is (NULL: as at first): one
 * piece of work ends, and the rest of the program goes on. Threads that work for another take its
 * flag over. Borrowed until it is replaced or the thread ends. */
void im_stop_heed(const atomic_bool *flag);
const atomic_bool *im_stop_heeded(void);
/** The signal that asked, 0 when none. */
int im_stop_signal(void);
void im_stop_ask(int signal_number); /* async-signal-safe */
void im_stop_reset(void);

/** SIGHUP came: who serves opens anew what it has open. */
void im_reload_ask(void); /* async-signal-safe */
/** Whether it was asked for since the last call. */
bool im_reload_take(void);

#endif
