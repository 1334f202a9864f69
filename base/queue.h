/* base/queue.h — bounded queue of pointers between the stages of a pipeline; waiting costs no CPU.
 */
#ifndef IM_BASE_QUEUE_H
#define IM_BASE_QUEUE_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>

typedef struct im_queue im_queue;

IM_NODISCARD im_code im_queue_new(size_t capacity, im_queue **out_queue, im_error *err);
/** Waits while full; false when the queue was closed (the entry stays the caller's). */
bool im_queue_put(im_queue *queue, void *entry);
/** Waits while empty and open; false when closed and empty. */
bool im_queue_take(im_queue *queue, void **out_entry);
/** As take, but never waits. */
bool im_queue_try_take(im_queue *queue, void **out_entry);
/** No more puts; takers drain the rest. All who wait are woken. */
void im_queue_close(im_queue *queue);
void im_queue_free(im_queue *queue);

#endif
