/* base/queue.c — a ring under one lock and two conditions. */
#include "base/queue.h"
#include "base/memory.h"
#include <pthread.h>

struct im_queue {
    pthread_mutex_t lock;
    pthread_cond_t not_empty;
    pthread_cond_t not_full;
    void **ring;     /* [capacity], guarded by lock, as all below */
    size_t capacity; /* never changes */
    size_t first;
    size_t count;
    bool closed;
};

im_code im_queue_new(size_t capacity, im_queue **out_queue, im_error *err)
{
    if (capacity == 0) {
        return im_fail(err, IM_ERR_INVALID, "a queue needs a capacity of at least 1");
    }
    im_queue *queue = im_alloc_zero(1, sizeof *queue);
    void **ring = queue != NULL ? im_alloc(capacity, sizeof *ring) : NULL;
    if (ring == NULL) {
        im_free(queue);
        return im_fail(err, IM_ERR_NOMEM, "no memory for a queue of %zu entries", capacity);
    }
    queue->ring = ring;
    queue->capacity = capacity;
    /* with default attributes these cannot fail on Linux */
    (void)pthread_mutex_init(&queue->lock, NULL);
    (void)pthread_cond_init(&queue->not_empty, NULL);
    (void)pthread_cond_init(&queue->not_full, NULL);
    *out_queue = queue;
    return IM_OK;
}

bool im_queue_put(im_queue *queue, void *entry)
{
    pthread_mutex_lock(&queue->lock);
    while (!queue->closed && queue->count == queue->capacity) {
        pthread_cond_wait(&queue->not_full, &queue->lock);
    }
    bool open = !queue->closed;
    if (open) {
        queue->ring[(queue->first + queue->count) % queue->capacity] = entry;
        queue->count++;
        pthread_cond_signal(&queue->not_empty);
    }
    pthread_mutex_unlock(&queue->lock);
    return open;
}

static bool take(im_queue *queue, void **out_entry, bool wait)
{
    pthread_mutex_lock(&queue->lock);
    while (wait && !queue->closed && queue->count == 0) {
        pthread_cond_wait(&queue->not_empty, &queue->lock);
    }
    bool found = queue->count > 0;
    if (found) {
        *out_entry = queue->ring[queue->first];
        queue->first = (queue->first + 1) % queue->capacity;
        queue->count--;
        pthread_cond_signal(&queue->not_full);
    }
    pthread_mutex_unlock(&queue->lock);
    return found;
}

bool im_queue_take(im_queue *queue, void **out_entry)
{
    return take(queue, out_entry, true);
}

bool im_queue_try_take(im_queue *queue, void **out_entry)
{
    return take(queue, out_entry, false);
}

void im_queue_close(im_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    pthread_cond_broadcast(&queue->not_empty);
    pthread_cond_broadcast(&queue->not_full);
    pthread_mutex_unlock(&queue->lock);
}

void im_queue_free(im_queue *queue)
{
    if (queue == NULL) {
        return;
    }
    (void)pthread_cond_destroy(&queue->not_full);
    (void)pthread_cond_destroy(&queue->not_empty);
    (void)pthread_mutex_destroy(&queue->lock);
    im_free(queue->ring);
    im_free(queue);
}
