/* tests/image/bench.c — milliseconds of decode and prepare for a file, as JSON:
 *     image_bench FILE [rounds] */
#include "base/clock.h"
#include "image/image.h"
#include <stdio.h>
#include <stdlib.h>

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median milliseconds of decode and of prepare over the rounds. */
static int measure(const im_bytes *file, const im_image_options *options, size_t rounds,
                   const char *title)
{
    static double decode_ms[1000];
    static double prepare_ms[1000];
    static uint8_t out[224 * 224 * 3];
    im_preprocess how = {224, 224, 224, IM_RESAMPLE_BICUBIC};
    im_error err = IM_ERROR_INIT;
    uint32_t width = 0;
    uint32_t height = 0;
    for (size_t i = 0; i < rounds; i++) {
        im_image image = {0};
        uint64_t start = im_clock_ns();
        if (im_image_decode(file->data, file->size, "bench", options, &image, NULL, &err) !=
            IM_OK) {
            fprintf(stderr, "%s\n", err.message);
            return 1;
        }
        decode_ms[i] = im_clock_ms_since(start);
        start = im_clock_ns();
        if (im_image_prepare(&image, &how, out, &err) != IM_OK) {
            fprintf(stderr, "%s\n", err.message);
            return 1;
        }
        prepare_ms[i] = im_clock_ms_since(start);
        width = image.width;
        height = image.height;
        im_image_clear(&image);
    }
    qsort(decode_ms, rounds, sizeof *decode_ms, ascending);
    qsort(prepare_ms, rounds, sizeof *prepare_ms, ascending);
    printf("{\"decode\":\"%s\",\"width\":%u,\"height\":%u,\"decode_ms\":%.2f,\"prepare_ms\":%.2f,"
           "\"rounds\":%zu}\n",
           title, width, height, decode_ms[rounds / 2], prepare_ms[rounds / 2], rounds);
    return 0;
}

int main(int argc, char **argv)
{
    im_bytes file = {NULL, 0};
    im_error err = IM_ERROR_INIT;
    size_t rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 11;
    if (argc < 2 || rounds == 0 || rounds > 1000) {
        fprintf(stderr, "usage: image_bench FILE [rounds <= 1000]\n");
        return 2;
    }
    if (im_file_read(argv[1], 1u << 30, &file, &err) != IM_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    im_image_options exact = {.exact_decode = true};
    im_image_options reduced = {.target_px = 224};
    int failed = measure(&file, &exact, rounds, "exact") != 0 ||
                 measure(&file, &reduced, rounds, "reduced") != 0;
    im_bytes_clear(&file);
    return failed;
}
