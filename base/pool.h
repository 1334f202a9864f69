/* base/pool.h — the process's one thread pool. Work is split into numbered tasks that threads claim
 * from a counter; the caller works too and never waits for a worker that has not joined. */
#ifndef IM_BASE_POOL_H
#define IM_BASE_POOL_H

#include "base/error.h"
#include <stddef.h>

typedef struct im_pool im_pool;
typedef void (*im_pool_task)(void *context, size_t task, size_t worker);

/** Pool of n_threads (the caller counts as one; 0 = im_cpu_threads()). When threads cannot be
 * started the pool has fewer: it never fails for that. One run at a time; a second caller
 * meanwhile runs its tasks alone. */
IM_NODISCARD im_code im_pool_open(size_t n_threads, im_pool **out_pool, im_error *err);
/** Threads that can take part, caller included; worker in [0, that). */
size_t im_pool_threads(const im_pool *pool);
/** Calls task(context, 0 … n_tasks-1, worker), returns when all are done. pool may be NULL: all on
 * the caller. Short work (n_tasks == 1) never wakes a worker. */
void im_pool_run(im_pool *pool, size_t n_tasks, im_pool_task task, void *context);
void im_pool_close(im_pool *pool);

/** Processors this process may really use: the cgroup's CPU quota (rounded up), the affinity mask.
 */
size_t im_cpu_threads(void);

/** CPU features for run-time dispatch. */
typedef struct im_cpu {
    unsigned avx2_fma : 1;
    unsigned avx512 : 1; /* F, BW, DQ, VL */
    unsigned avx512_vnni : 1;
    unsigned avx512_bf16 : 1;
    unsigned sse42 : 1;
} im_cpu;
im_cpu im_cpu_features(void);
#define IM_CPU_NAME 64u
/** What the processor calls itself, "processor" where it has no name. */
void im_cpu_name(char out[IM_CPU_NAME]);

#endif
