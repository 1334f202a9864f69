/* base/fault.h — makes the nth call of a kind fail, so that tests can walk through every failure.
 * Always compiled in: one relaxed atomic load per call when idle. Process-wide; tests only. */
#ifndef IM_BASE_FAULT_H
#define IM_BASE_FAULT_H

#include <stdbool.h>
#include <stddef.h>

typedef enum im_fault_kind {
    IM_FAULT_ALLOC,
    IM_FAULT_OPEN, /* and every other look-up of a path: stat, mkdir */
    IM_FAULT_READ,
    IM_FAULT_WRITE,
    IM_FAULT_SYNC,
    IM_FAULT_RENAME,
    IM_FAULT_MAP,
    IM_FAULT_THREAD,
    IM_FAULT_KIND_COUNT
} im_fault_kind;

/** Lets the nth (0 = next) call of `kind` fail once. errnum is what the call reports; 0 takes the
 * usual one (ENOMEM, EIO, …). */
void im_fault_set(im_fault_kind kind, size_t nth, int errnum);
/** Takes all settings back. */
void im_fault_clear(void);
/** True when the fault set last for `kind` has struck since. */
bool im_fault_fired(im_fault_kind kind);
/** How many calls of `kind` were asked since the last set or clear: proves that a hook is reached.
 * 0 before the first of these in the process: then nothing is counted. */
size_t im_fault_calls(im_fault_kind kind);
/** Called by base/ at each hook: true means fail now, with errno set. */
bool im_fault_hit(im_fault_kind kind);
/** Reads IMAGO_FAULT="kind:nth[:errnum]" (alloc, open, read, …), IMAGO_FAULT_KILL="point" and
 * IMAGO_FAULT_WAIT from the environment; called once by the command line. errnum is a number (28).
 * A setting that is not understood aborts: the test would otherwise pass without testing. */
void im_fault_from_environment(void);
/** A named point where a test may kill the process (IMAGO_FAULT_KILL=vectors_synced, say):
 * raises SIGKILL when armed, else does nothing. IMAGO_FAULT_KILL="point:n" strikes at the nth
 * passing, 0 being the first, as in im_fault_set. IMAGO_FAULT_WAIT="point:n:seconds": the nth
 * passing takes that long. */
void im_fault_point(const char *name);

/** Blocks handed out by base/memory.h and not yet freed. */
size_t im_live_allocations(void);

#endif
