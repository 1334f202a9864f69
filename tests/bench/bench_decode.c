/* tests/bench/bench_decode.c — from a picture's bytes to a model's pixels, on one thread:
 *     bench_decode FILE [rounds] [PIXELS]
 * One JSON object: milliseconds of processor time, the least of the rounds, for each way; bytes
 * held at most. PIXELS gets the 224 x 224 RGB of "read". */
#include "base/file.h"
#include "image/image.h"
#include "tests/bench/help_bench.h"
#include <sys/resource.h>

#define SIDE 224

static const im_preprocess how = {SIDE, SIDE, SIDE, IM_RESAMPLE_BICUBIC};
static uint8_t pixels[SIDE * SIDE * 3];

/* What a round does with the file; the names are those of the output. */
typedef enum way { READ, READ_HASH, READ_THUMBNAIL, DECODE, READ_EXACT, HELD_EXACT, WAYS } way;

static const char *const names[WAYS] = {"read",   "read_hash",  "read_thumbnail",
                                        "decode", "read_exact", "held_exact"};

static im_code run(const im_bytes *file, way which, im_error *err)
{
    const im_image_options options = {.target_px = SIDE,
                                      .exact_decode = which == READ_EXACT || which == HELD_EXACT};
    im_image_wish wish = {.prepare = which != DECODE ? &how : NULL,
                          .pixels = pixels,
                          .hash = which == READ_HASH || which == READ_THUMBNAIL,
                          .thumbnail_px = which == READ_THUMBNAIL ? 256 : 0};
    im_image image = {0};
    if (which != HELD_EXACT) {
        im_code rc = im_image_read(file->data, file->size, "bench", &options, &wish, NULL, err);
        im_bytes_clear(&wish.thumbnail);
        return rc;
    }
    im_code rc = im_image_decode(file->data, file->size, "bench", &options, &image, NULL, err);
    if (rc == IM_OK) {
        rc = im_image_prepare(&image, &how, pixels, err);
    }
    im_image_clear(&image);
    return rc;
}

/* Resident bytes at most so far. */
static size_t peak(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_maxrss * 1024;
}

static im_code keep_pixels(const char *path, im_error *err)
{
    return im_file_write_atomic(path, pixels, sizeof pixels, err);
}

int main(int argc, char **argv)
{
    im_bytes file = {NULL, 0};
    im_error err = IM_ERROR_INIT;
    size_t rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 5;
    double best[WAYS];
    size_t held[WAYS];
    if (argc < 2 || rounds == 0 || rounds > 1000) {
        fprintf(stderr, "usage: bench_decode FILE [rounds <= 1000] [PIXELS]\n");
        return 2;
    }
    im_code rc = im_file_read(argv[1], 1u << 30, &file, &err);
    size_t start = peak();
    for (size_t i = 0; i < rounds && rc == IM_OK; i++) {
        for (way w = READ; w < WAYS && rc == IM_OK; w++) {
            uint64_t before = processor_ns(CLOCK_THREAD_CPUTIME_ID);
            rc = run(&file, w, &err);
            double ms = (double)(processor_ns(CLOCK_THREAD_CPUTIME_ID) - before) / 1e6;
            best[w] = i == 0 || ms < best[w] ? ms : best[w];
            if (i == 0) { /* each way takes more than those before it */
                held[w] = peak() - start;
            }
            if (rc == IM_OK && w == READ && argc > 3) {
                rc = keep_pixels(argv[3], &err);
            }
        }
    }
    im_bytes_clear(&file);
    stop_on(rc, &err);
    printf("{\"rounds\": %zu", rounds);
    for (way w = READ; w < WAYS; w++) {
        printf(", \"%s_ms\": %.2f, \"%s_bytes\": %zu", names[w], best[w], names[w], held[w]);
    }
    printf("}\n");
    return 0;
}
