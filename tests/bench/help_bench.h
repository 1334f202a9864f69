/* tests/bench/help_bench.h — what the benches of the index share. */
#ifndef IM_TESTS_BENCH_HELP_BENCH_H
#define IM_TESTS_BENCH_HELP_BENCH_H

#include "base/error.h"
#include <stdio.h>
#include <stdlib.h>

/** Ends the program with the error's sentence unless the call went well. */
static inline void stop_on(im_code rc, const im_error *err)
{
    if (rc != IM_OK) {
        fprintf(stderr, "%s: %s\n", err->reason, err->message);
        exit(1);
    }
}

/** For qsort of doubles: ascending. */
static inline int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/** Makes a folder of its own in $TMPDIR. */
static inline char *bench_folder(char out[128])
{
    const char *base = getenv("TMPDIR");
    snprintf(out, 128, "%.90s/imago-bench-XXXXXX", base != NULL ? base : "/tmp");
    return mkdtemp(out);
}

#endif
