/* tests/image/test_threads.c — all functions of the door are reentrant: four threads on the same
 * bytes get the same results (the proof is the run under the thread sanitizer). */
#include "tests/image/help.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 4
#define ROUNDS 20

static const char *const names[] = {"jpeg_orientation_6.jpg", "jpeg_progressive_420.jpg",
                                    "png_3_08_trns_adam7.png", "png_6_16.png"};

typedef struct shared {
    bytes files[IM_COUNT(names)];
    uint8_t expected[IM_COUNT(names)][16 * 16 * 3];
} shared;

typedef struct job {
    const shared *shared;
    size_t wrong;
} job;

static bool prepared(const bytes *file, uint8_t out[16 * 16 * 3])
{
    im_image image = {0};
    im_image_info info;
    im_bytes thumbnail = {NULL, 0};
    im_preprocess how = {16, 16, 16, IM_RESAMPLE_BICUBIC};
    im_code rc = im_image_decode(file->data, file->size, "t", NULL, &image, &info, NULL);
    if (rc == IM_OK) {
        rc = im_image_prepare(&image, &how, out, NULL);
    }
    if (rc == IM_OK) {
        rc = im_image_thumbnail(file->data, file->size, "t", NULL, 8, &thumbnail, NULL);
    }
    im_bytes_clear(&thumbnail);
    im_image_clear(&image);
    return rc == IM_OK;
}

static void *work(void *context)
{
    job *j = context;
    for (size_t i = 0; i < ROUNDS * IM_COUNT(names); i++) {
        size_t which = i % IM_COUNT(names);
        uint8_t out[16 * 16 * 3];
        bool same = prepared(&j->shared->files[which], out) &&
                    memcmp(out, j->shared->expected[which], sizeof out) == 0;
        j->wrong += !same;
    }
    return NULL;
}

static void threads_on_the_same_bytes_get_the_same_pixels(void **state)
{
    (void)state;
    static shared all;
    pthread_t threads[THREADS];
    job jobs[THREADS];
    for (size_t i = 0; i < IM_COUNT(names); i++) {
        all.files[i] = golden_picture(names[i]);
        assert_true(prepared(&all.files[i], all.expected[i]));
    }
    for (size_t t = 0; t < THREADS; t++) {
        jobs[t] = (job){&all, 0};
        assert_int_equal(pthread_create(&threads[t], NULL, work, &jobs[t]), 0);
    }
    for (size_t t = 0; t < THREADS; t++) {
        pthread_join(threads[t], NULL);
        assert_int_equal(jobs[t].wrong, 0);
    }
    for (size_t i = 0; i < IM_COUNT(names); i++) {
        bytes_free(&all.files[i]);
    }
    assert_int_equal(im_live_allocations(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_on_the_same_bytes_get_the_same_pixels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
