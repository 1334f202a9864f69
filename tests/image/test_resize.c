/* tests/image/test_resize.c — properties of the resampler: fast passes equal plain ones, windows
 * equal the crop of the whole, constants stay constant; refusals. */
#include "base/pool.h"
#include "image/resample_internal.h"
#include "tests/image/help.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static im_image noise(uint32_t w, uint32_t h, uint64_t seed)
{
    im_image image = {.width = w, .height = h, .rgb = im_alloc((size_t)w * h, 3)};
    for (size_t i = 0; i < (size_t)w * h * 3; i++) {
        image.rgb[i] = (uint8_t)next_random(&seed);
    }
    return image;
}

/* Every kernel set that this processor runs, the plain one left out. */
static size_t fast_kernels(const resample_kernels *out[2])
{
    size_t n = 0;
#if defined(__x86_64__)
    if (im_cpu_features().avx2_fma) {
        out[n++] = &resample_avx2;
    }
    if (im_cpu_features().avx512) {
        out[n++] = &resample_avx512;
    }
#else
    (void)out;
#endif
    return n;
}

static void assert_kernels_agree(const im_image *image, resample_job job)
{
    const resample_kernels *fast[2];
    size_t n = fast_kernels(fast);
    size_t size = (size_t)job.n_x * job.n_y * 3;
    uint8_t *plain = malloc(size); /* own blocks: a write beyond is seen */
    uint8_t *out = malloc(size);
    im_error err = IM_ERROR_INIT;
    job.out = plain;
    job.out_pitch = (size_t)job.n_x * 3;
    assert_int_equal(resample_run(image, &job, &resample_plain, &err), IM_OK);
    job.out = out;
    for (size_t i = 0; i < n; i++) {
        memset(out, 7, size);
        assert_int_equal(resample_run(image, &job, fast[i], &err), IM_OK);
        assert_memory_equal(out, plain, size);
    }
    free(plain);
    free(out);
}

/* A job with a box, sides and a window drawn from the seed. */
static resample_job any_job(uint32_t w, uint32_t h, uint64_t *seed)
{
    const im_resample filters[] = {IM_RESAMPLE_BILINEAR, IM_RESAMPLE_BICUBIC, IM_RESAMPLE_LANCZOS};
    resample_job job = {.filter = filters[next_random(seed) % 3]};
    job.x = (next_random(seed) % 100) / 250.0 * w;
    job.y = (next_random(seed) % 100) / 250.0 * h;
    job.width = (w - job.x) * (1 + next_random(seed) % 100) / 100.0;
    job.height = (h - job.y) * (1 + next_random(seed) % 100) / 100.0;
    job.out_width = 1 + next_random(seed) % 120;
    job.out_height = 1 + next_random(seed) % 120;
    job.first_x = next_random(seed) % job.out_width;
    job.first_y = next_random(seed) % job.out_height;
    job.n_x = 1 + next_random(seed) % (job.out_width - job.first_x);
    job.n_y = 1 + next_random(seed) % (job.out_height - job.first_y);
    return job;
}

static void fast_passes_give_the_bytes_of_the_plain_ones(void **state)
{
    (void)state;
    uint64_t seed = 5;
    for (int round = 0; round < 600; round++) {
        uint32_t w = 1 + next_random(&seed) % 90;
        uint32_t h = 1 + next_random(&seed) % 90;
        im_image image = noise(w, h, seed);
        assert_kernels_agree(&image, any_job(w, h, &seed));
        im_image_clear(&image);
    }
}

/* 65,535 weights an output: sums of halves wrap, and what they join to does not. */
static void a_very_long_side_stays_right(void **state)
{
    (void)state;
    im_image image = noise(65535, 2, 9);
    im_image white = {.width = 65535, .height = 2, .rgb = im_alloc(65535 * 2, 3)};
    uint8_t a[3 * 4 * 2];
    im_error err = IM_ERROR_INIT;
    memset(white.rgb, 255, (size_t)65535 * 2 * 3);
    const resample_job job = {.width = 65535,
                              .height = 2,
                              .out_width = 4,
                              .out_height = 2,
                              .n_x = 4,
                              .n_y = 2,
                              .filter = IM_RESAMPLE_BICUBIC};
    assert_kernels_agree(&image, job);
    assert_kernels_agree(&white, job);
    assert_int_equal(im_image_resize(&image, 0, 0, 65535, 2, 4, 2, a, &err), IM_OK);
    for (size_t i = 0; i < sizeof a; i++) { /* the mean of 65,535 / 4 uniform bytes */
        assert_true(a[i] >= 125 && a[i] <= 130);
    }
    im_image_clear(&image);
    im_image_clear(&white);
}

static void one_variable_forces_the_kernel_set(void **state)
{
    (void)state;
    const resample_kernels *fast[2];
    size_t n = fast_kernels(fast);
    const resample_kernels *best = n > 0 ? fast[n - 1] : &resample_plain;
    const char *before = getenv("IMAGO_KERNEL");
    char *kept = before != NULL ? strdup(before) : NULL;
    setenv("IMAGO_KERNEL", "portable", 1);
    assert_string_equal(resample_fastest().name, "portable");
    for (size_t i = 0; i < n; i++) {
        setenv("IMAGO_KERNEL", fast[i]->name, 1);
        assert_string_equal(resample_fastest().name, fast[i]->name);
    }
    const char *const best_of[] = {"avx512_bf16", "", "no such"}; /* encoder/ refuses the last */
    for (size_t i = 0; i < IM_COUNT(best_of); i++) {
        setenv("IMAGO_KERNEL", best_of[i], 1);
        assert_string_equal(resample_fastest().name, best->name);
    }
    unsetenv("IMAGO_KERNEL");
    assert_string_equal(resample_fastest().name, best->name);
    if (kept != NULL) {
        setenv("IMAGO_KERNEL", kept, 1);
    }
    free(kept);
}

static void weights_of_each_output_sum_to_one(void **state)
{
    (void)state;
    const im_resample filters[] = {IM_RESAMPLE_BILINEAR, IM_RESAMPLE_BICUBIC, IM_RESAMPLE_LANCZOS};
    for (size_t f = 0; f < IM_COUNT(filters); f++) {
        for (uint32_t out = 1; out < 200; out += 13) {
            resample_axis axis;
            assert_true(resample_axis_init(&axis, 97, 3.5f, 90.25f, out, 0, out, filters[f]));
            for (uint32_t i = 0; i < out; i++) {
                int64_t sum = 0;
                for (uint32_t k = 0; k < axis.taps; k++) {
                    int32_t w = axis.weights[i * axis.taps + k];
                    assert_true(k < axis.count[i] || w == 0);
                    assert_int_equal(w, axis.high[i * axis.taps + k] * 4096 +
                                            axis.low[i * axis.taps + k]);
                    sum += w;
                }
                assert_true(llabs(sum - (1 << RESAMPLE_BITS)) <= axis.taps);
                assert_true(axis.start[i] + axis.count[i] <= 97);
            }
            resample_axis_clear(&axis);
        }
    }
}

static void prepare_is_the_crop_of_the_whole_resize(void **state)
{
    (void)state;
    uint64_t seed = 21;
    for (int round = 0; round < 60; round++) {
        uint32_t w = 20 + next_random(&seed) % 200;
        uint32_t h = 20 + next_random(&seed) % 200;
        uint32_t size = 16 + next_random(&seed) % 60;
        im_image image = noise(w, h, seed);
        uint32_t longer = (uint32_t)((uint64_t)size * IM_MAX(w, h) / IM_MIN(w, h));
        uint32_t rw = w <= h ? size : longer;
        uint32_t rh = w <= h ? longer : size;
        uint8_t *whole = malloc((size_t)rw * rh * 3);
        uint8_t *out = malloc((size_t)size * size * 3);
        im_preprocess how = {size, size, size, IM_RESAMPLE_BICUBIC};
        im_error err = IM_ERROR_INIT;
        assert_int_equal(im_image_resize_plain(&image, 0, 0, w, h, rw, rh, whole, &err), IM_OK);
        assert_int_equal(im_image_prepare(&image, &how, out, &err), IM_OK);
        for (uint32_t y = 0; y < size; y++) {
            const uint8_t *row = whole + (((size_t)y + (rh - size) / 2) * rw + (rw - size) / 2) * 3;
            assert_memory_equal(out + (size_t)y * size * 3, row, (size_t)size * 3);
        }
        free(whole);
        free(out);
        im_image_clear(&image);
    }
}

static void a_resize_to_its_own_size_changes_nothing(void **state)
{
    (void)state;
    im_image image = noise(53, 31, 2);
    uint8_t out[53 * 31 * 3];
    im_error err = IM_ERROR_INIT;
    assert_int_equal(im_image_resize(&image, 0, 0, 53, 31, 53, 31, out, &err), IM_OK);
    assert_memory_equal(out, image.rgb, sizeof out);
    im_image_clear(&image);
}

static void boxes_outside_and_odd_numbers_are_refused(void **state)
{
    (void)state;
    im_image image = noise(10, 8, 1);
    uint8_t out[3 * 100];
    im_error err = IM_ERROR_INIT;
    const double boxes[][4] = {{-0.1, 0, 5, 5},     {0, 0, 10.01, 8},   {0, 0, 0, 5},
                               {5, 5, 5, -1},       {nan(""), 0, 5, 5}, {0, 0, HUGE_VAL, 5},
                               {0, 0, 5, HUGE_VAL}, {11, 0, 1, 1}};
    for (size_t i = 0; i < IM_COUNT(boxes); i++) {
        assert_int_equal(im_image_resize(&image, boxes[i][0], boxes[i][1], boxes[i][2], boxes[i][3],
                                         5, 5, out, &err),
                         IM_ERR_INVALID);
        assert_string_equal(err.reason, "query_box");
    }
    assert_int_equal(im_image_resize(&image, 0, 0, 10, 8, 0, 5, out, &err), IM_ERR_INVALID);
    im_preprocess nearest = {5, 5, 5, IM_RESAMPLE_NEAREST};
    assert_int_equal(im_image_prepare(&image, &nearest, out, &err), IM_ERR_UNSUPPORTED);
    im_preprocess strange = {5, 5, 5, (im_resample)77};
    assert_int_equal(im_image_prepare(&image, &strange, out, &err), IM_ERR_UNSUPPORTED);
    im_preprocess huge = {4000000000u, 5, 5, IM_RESAMPLE_BICUBIC};
    assert_int_equal(im_image_prepare(&image, &huge, out, &err), IM_ERR_INVALID);
    im_image_clear(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fast_passes_give_the_bytes_of_the_plain_ones),
        cmocka_unit_test(a_very_long_side_stays_right),
        cmocka_unit_test(one_variable_forces_the_kernel_set),
        cmocka_unit_test(weights_of_each_output_sum_to_one),
        cmocka_unit_test(prepare_is_the_crop_of_the_whole_resize),
        cmocka_unit_test(a_resize_to_its_own_size_changes_nothing),
        cmocka_unit_test(boxes_outside_and_odd_numbers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
