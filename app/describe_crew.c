/* app/describe_crew.c — the threads that ask for captions and readings: each waits for its answer,
 * and touches nothing of the library. */
#include "app/describe_internal.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/queue.h"

#include <pthread.h>

#define TEXT_BYTES (32u << 10)

struct describe_crew {
    const vlm_use *use;
    im_vlm_wish wish;
    const atomic_bool *heeded;
    im_queue *asked, *done; /* each has room for all that may be under way */
    pthread_t threads[IM_VLM_MOST_PARALLEL];
    size_t n;
};

void describe_task_free(describe_task *task)
{
    if (task != NULL) {
        im_bytes_clear(&task->picture);
        im_str_clear(&task->text);
        im_free(task);
    }
}

static void *run(void *context)
{
    describe_crew *crew = context;
    void *entry = NULL;
    im_stop_heed(crew->heeded);
    while (im_queue_take(crew->asked, &entry)) {
        describe_task *task = entry;
        im_str_init(&task->text, TEXT_BYTES);
        task->error = (im_error)IM_ERROR_INIT;
        task->rc = im_vlm_describe(&crew->use->server, &crew->use->options, crew->wish,
                                   &task->picture, &task->text, &task->cost, &task->error);
        if (!im_queue_put(crew->done, task)) {
            describe_task_free(task);
        }
    }
    return NULL;
}

im_code describe_crew_open(const vlm_use *use, im_vlm_wish wish, size_t n, describe_crew **out,
                           im_error *err)
{
    describe_crew *crew = im_alloc_zero(1, sizeof(*crew));
    if (crew == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for threads");
    }
    crew->use = use;
    crew->wish = wish;
    crew->heeded = im_stop_heeded();
    n = IM_MIN(IM_MAX(n, (size_t)1), IM_COUNT(crew->threads));
    im_code rc = im_queue_new(n, &crew->asked, err);
    if (rc == IM_OK) {
        rc = im_queue_new(n, &crew->done, err);
    }
    for (size_t i = 0; rc == IM_OK && i < n; i++) {
        if (im_fault_hit(IM_FAULT_THREAD) ||
            pthread_create(&crew->threads[i], NULL, run, crew) != 0) {
            rc = i > 0 ? IM_OK : im_fail(err, IM_ERR_NOMEM, "could not start a thread");
            break; /* fewer do as well */
        }
        crew->n++;
    }
    if (rc != IM_OK) {
        describe_crew_close(crew);
        return rc;
    }
    *out = crew;
    return IM_OK;
}

void describe_crew_put(describe_crew *crew, describe_task *task)
{
    if (!im_queue_put(crew->asked, task)) {
        describe_task_free(task);
    }
}

describe_task *describe_crew_take(describe_crew *crew)
{
    void *entry = NULL;
    return im_queue_take(crew->done, &entry) ? entry : NULL;
}

void describe_crew_close(describe_crew *crew)
{
    void *entry = NULL;
    if (crew == NULL) {
        return;
    }
    if (crew->asked != NULL) {
        im_queue_close(crew->asked);
    }
    for (size_t i = 0; i < crew->n; i++) {
        pthread_join(crew->threads[i], NULL);
    }
    while (crew->done != NULL && im_queue_try_take(crew->done, &entry)) {
        describe_task_free(entry);
    }
    im_queue_free(crew->asked);
    im_queue_free(crew->done);
    im_free(crew);
}
