/* base/clock.c — clocks, and the flag by which a signal asks long work to end. */
#include "base/clock.h"
#include <stdatomic.h>
#include <time.h>

/* A lock-free atomic may be written in a signal handler (C11 7.14.1.1). */
static atomic_int stop_signal;
static atomic_int reload_asked;
_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "signal handlers need lock-free atomics");

/* Of one piece of work: the thread's own, so that no other ends with it. */
static _Thread_local const atomic_bool *heeded;

static int64_t read_clock(clockid_t id)
{
    struct timespec now = {0};
    (void)clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000000 + (int64_t)now.tv_nsec;
}

uint64_t im_clock_ns(void)
{
    return (uint64_t)read_clock(CLOCK_MONOTONIC);
}

double im_clock_ms_since(uint64_t start_ns)
{
    uint64_t now = im_clock_ns();
    return now > start_ns ? (double)(now - start_ns) / 1e6 : 0.0;
}

int64_t im_clock_wall_ns(void)
{
    return read_clock(CLOCK_REALTIME);
}

bool im_stop_asked(void)
{
    return atomic_load_explicit(&stop_signal, memory_order_relaxed) != 0 ||
           (heeded != NULL && atomic_load_explicit(heeded, memory_order_relaxed));
}

void im_stop_heed(const atomic_bool *flag)
{
    heeded = flag;
}

const atomic_bool *im_stop_heeded(void)
{
    return heeded;
}

int im_stop_signal(void)
{
    return atomic_load(&stop_signal);
}

void im_stop_ask(int signal_number)
{
    atomic_store(&stop_signal, signal_number);
}

void im_stop_reset(void)
{
    atomic_store(&stop_signal, 0);
}

void im_reload_ask(void)
{
    atomic_store(&reload_asked, 1);
}

bool im_reload_take(void)
{
    return atomic_exchange(&reload_asked, 0) != 0;
}
