/* tests/bench/help_bench.h — what the benches share: how they stop, read the clock and sort. */
#ifndef IM_TESTS_BENCH_HELP_BENCH_H
#define IM_TESTS_BENCH_HELP_BENCH_H

#include "base/error.h"
#include "tests/help_folder.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/** Ends the program with the error's sentence unless the call went well. */
static inline void stop_on(im_code rc, const im_error *err)
{
    if (rc != IM_OK) {
        fprintf(stderr, "%s: %s\n", err->reason, err->message);
        exit(1);
    }
}

/** Nanoseconds that this process (CLOCK_PROCESS_CPUTIME_ID) or thread (CLOCK_THREAD_CPUTIME_ID) had
 * a core: what others took from it does not count. For time by the clock: im_clock_ns. */
static inline uint64_t processor_ns(clockid_t whose)
{
    struct timespec t;
    (void)clock_gettime(whose, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/** For qsort of doubles: ascending. */
static inline int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

#endif
