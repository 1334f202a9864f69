/* tests/base/test_queue.c — base/queue.c */
#include "base/queue.h"
#include "support.h"
#include <pthread.h>

static im_queue *new_queue(size_t capacity)
{
    im_queue *queue = NULL;
    assert_int_equal(im_queue_new(capacity, &queue, NULL), IM_OK);
    return queue;
}

static void entries_come_out_in_order(void **state)
{
    (void)state;
    int values[10];
    im_queue *queue = new_queue(3);
    void *entry = NULL;
    assert_false(im_queue_try_take(queue, &entry));
    for (size_t i = 0; i < 9; i += 3) { /* goes round the ring */
        assert_true(im_queue_put(queue, &values[i]));
        assert_true(im_queue_put(queue, &values[i + 1]));
        assert_true(im_queue_put(queue, &values[i + 2]));
        assert_true(im_queue_take(queue, &entry) && entry == &values[i]);
        assert_true(im_queue_try_take(queue, &entry) && entry == &values[i + 1]);
        assert_true(im_queue_take(queue, &entry) && entry == &values[i + 2]);
        assert_false(im_queue_try_take(queue, &entry));
    }
    im_queue_free(queue);
    im_queue_free(NULL);
    assert_int_equal(im_live_allocations(), 0);
}

static void a_closed_queue_is_drained_and_takes_no_more(void **state)
{
    (void)state;
    int value;
    void *entry = NULL;
    im_queue *queue = new_queue(2);
    assert_true(im_queue_put(queue, &value));
    im_queue_close(queue);
    assert_false(im_queue_put(queue, &value));
    assert_true(im_queue_take(queue, &entry) && entry == &value);
    assert_false(im_queue_take(queue, &entry));
    assert_false(im_queue_try_take(queue, &entry));
    im_queue_free(queue);
}

static void a_queue_of_no_capacity_is_refused(void **state)
{
    (void)state;
    im_queue *queue = NULL;
    im_error err = IM_ERROR_INIT;
    assert_int_equal(im_queue_new(0, &queue, &err), IM_ERR_INVALID);
    assert_int_equal(im_queue_new(SIZE_MAX / 2, &queue, &err), IM_ERR_NOMEM);
    assert_null(queue);
    assert_int_equal(im_live_allocations(), 0);
}

static void each_failed_allocation_is_reported(void **state)
{
    (void)state;
    im_code rc = IM_ERR_NOMEM;
    size_t nth = 0;
    for (; rc != IM_OK; nth++) {
        im_queue *queue = NULL;
        im_fault_set(IM_FAULT_ALLOC, nth, 0);
        rc = im_queue_new(4, &queue, NULL);
        assert_int_equal(rc, im_fault_fired(IM_FAULT_ALLOC) ? IM_ERR_NOMEM : IM_OK);
        im_fault_clear();
        im_queue_free(queue);
        assert_int_equal(im_live_allocations(), 0);
    }
    assert_true(nth > 1);
}

#define PER_PRODUCER 20000u
#define N_PRODUCERS 3u
#define N_CONSUMERS 3u

typedef struct flow {
    im_queue *queue;
    unsigned char *seen; /* one flag an entry; the address is the entry */
    size_t first;
    size_t taken;
} flow;

static void *produce(void *argument)
{
    flow *f = argument;
    for (size_t i = 0; i < PER_PRODUCER; i++) {
        assert_true(im_queue_put(f->queue, &f->seen[f->first + i]));
    }
    return NULL;
}

static void *consume(void *argument)
{
    flow *f = argument;
    void *entry = NULL;
    while (im_queue_take(f->queue, &entry)) {
        ++*(unsigned char *)entry;
        f->taken++;
    }
    return NULL;
}

static void every_entry_passes_exactly_once_between_threads(void **state)
{
    (void)state;
    size_t total = (size_t)N_PRODUCERS * PER_PRODUCER;
    for (size_t capacity = 1; capacity <= 64; capacity *= 8) {
        pthread_t threads[N_PRODUCERS + N_CONSUMERS];
        flow flows[N_PRODUCERS + N_CONSUMERS];
        unsigned char *seen = calloc(total, 1);
        im_queue *queue = new_queue(capacity);
        assert_non_null(seen);
        for (size_t i = 0; i < N_PRODUCERS + N_CONSUMERS; i++) {
            flows[i] = (flow){queue, seen, i * PER_PRODUCER, 0};
            assert_int_equal(
                pthread_create(&threads[i], NULL, i < N_PRODUCERS ? produce : consume, &flows[i]),
                0);
        }
        for (size_t i = 0; i < N_PRODUCERS; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
        }
        im_queue_close(queue);
        size_t taken = 0;
        for (size_t i = N_PRODUCERS; i < N_PRODUCERS + N_CONSUMERS; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
            taken += flows[i].taken;
        }
        assert_int_equal(taken, total);
        for (size_t i = 0; i < total; i++) {
            assert_int_equal(seen[i], 1);
        }
        im_queue_free(queue);
        free(seen);
    }
}

static void *put_one(void *argument)
{
    return im_queue_put(argument, argument) ? argument : NULL;
}

static void *take_one(void *argument)
{
    void *entry = NULL;
    return im_queue_take(argument, &entry) ? entry : NULL;
}

/* Whether the other thread waits already or comes later, it must not hang. */
static void closing_wakes_those_who_wait(void **state)
{
    (void)state;
    int value;
    for (int round = 0; round < 200; round++) {
        pthread_t thread;
        void *got = &value;
        im_queue *queue = new_queue(1);
        if (round % 2 == 0) {
            assert_true(im_queue_put(queue, &value));
        }
        assert_int_equal(pthread_create(&thread, NULL, round % 2 == 0 ? put_one : take_one, queue),
                         0);
        im_queue_close(queue);
        assert_int_equal(pthread_join(thread, &got), 0);
        assert_null(got);
        im_queue_free(queue);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_come_out_in_order),
        cmocka_unit_test(a_closed_queue_is_drained_and_takes_no_more),
        cmocka_unit_test(a_queue_of_no_capacity_is_refused),
        cmocka_unit_test(each_failed_allocation_is_reported),
        cmocka_unit_test(every_entry_passes_exactly_once_between_threads),
        cmocka_unit_test(closing_wakes_those_who_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
