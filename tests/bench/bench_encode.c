/* tests/bench/bench_encode.c — pictures and texts through a whole model in each precision, taking
 * turns in one run, with the cosine to fp32.
 *
 *     bench_encode MODEL [ROUNDS [THREADS [BUSY]]]
 *
 * BUSY processes that burn a core each run beside it. Prints a JSON object a line: milliseconds per
 * picture alone, per picture of a batch of eight and per text of ten tokens, the least and the 50th
 * and 90th percentile over the rounds, and the least of the process's CPU time; and the least
 * cosine over the pictures and texts of all rounds, each another one. */
#include "base/base.h"
#include "base/clock.h"
#include "base/pool.h"
#include "encoder/encoder.h"
#include "tests/bench/help_bench.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_ROUNDS 401u
#define N_PRECISIONS 3u
#define BATCH 8u
#define MAX_BUSY 16u

enum { ALONE, BATCHED, TEXT, N_TASKS };
static const char *const tasks[N_TASKS] = {"picture", "picture of 8", "text"};
static const im_precision precisions[N_PRECISIONS] = {IM_PRECISION_FP32, IM_PRECISION_BF16,
                                                      IM_PRECISION_INT8};

static struct {
    im_encoder *encoder;
    double ms[N_TASKS][MAX_ROUNDS];
    double cpu_ms[N_TASKS]; /* the least: what others took does not count */
    double cosine[N_TASKS];
    float *out; /* [BATCH, dim] */
} routes[N_PRECISIONS];

/* Soft shapes with noise on them: neighbouring pixels are alike, as in pictures. */
static void paint(uint8_t *rgb, size_t side)
{
    unsigned base[3];
    unsigned slope[3];
    for (size_t c = 0; c < 3; c++) {
        base[c] = (unsigned)random() % 256;
        slope[c] = (unsigned)random() % 7;
    }
    for (size_t i = 0; i < side * side * 3; i++) {
        size_t x = i / 3 % side;
        size_t y = i / 3 / side;
        size_t block = (x / 28 * 7 + y / 28 * 13) % 64;
        rgb[i] = (uint8_t)(base[i % 3] + slope[i % 3] * block + (unsigned)random() % 16);
    }
}

/* Words until the text has ten tokens. */
static void write_text(const im_encoder *encoder, char *text, size_t size)
{
    static const char *const words[] = {"a", "red", "dog", "on", "grass", "old", "car", "sea"};
    size_t n = 0;
    size_t at = 0;
    uint32_t ids[1024];
    im_error err;
    while (n < 10 && at + 8 < size) {
        at += (size_t)snprintf(text + at, size - at, "%s ",
                               words[(unsigned)random() % IM_COUNT(words)]);
        stop_on(im_encoder_tokenize(encoder, im_view_from(text), ids, &n, NULL, &err), &err);
    }
}

static void run(im_encoder *encoder, int task, const uint8_t *rgb, const char *text, float *out)
{
    im_error err = IM_ERROR_INIT;
    im_view view = im_view_from(text);
    stop_on(task == TEXT
                ? im_encoder_texts(encoder, &view, 1, out, NULL, &err)
                : im_encoder_pictures(encoder, rgb, task == BATCHED ? BATCH : 1, out, NULL, &err),
            &err);
}

static void round_of(size_t round, const uint8_t *rgb, const char *text, size_t dim)
{
    for (int task = 0; task < N_TASKS; task++) {
        size_t n = task == BATCHED ? BATCH : 1;
        for (size_t p = 0; p < N_PRECISIONS; p++) {
            uint64_t cpu = processor_ns(CLOCK_PROCESS_CPUTIME_ID);
            uint64_t start = im_clock_ns();
            run(routes[p].encoder, task, rgb, text, routes[p].out);
            routes[p].ms[task][round] = (double)(im_clock_ns() - start) / 1e6 / (double)n;
            cpu = processor_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
            routes[p].cpu_ms[task] = IM_MIN(routes[p].cpu_ms[task], (double)cpu / 1e6 / (double)n);
            for (size_t i = 0; i < n; i++) {
                double dot = 0;
                for (size_t c = 0; c < dim; c++) {
                    dot += (double)routes[0].out[i * dim + c] * (double)routes[p].out[i * dim + c];
                }
                routes[p].cosine[task] = IM_MIN(routes[p].cosine[task], dot);
            }
        }
    }
}

/* Ends with this process, whichever way. */
static pid_t burn(void)
{
    pid_t child = fork();
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (volatile unsigned i = 0;; i++) {
        }
    }
    return child;
}

int main(int argc, char **argv)
{
    size_t rounds = argc > 2 ? (size_t)strtoul(argv[2], NULL, 10) : 15;
    size_t threads = argc > 3 ? (size_t)strtoul(argv[3], NULL, 10) : 1;
    size_t busy = argc > 4 ? (size_t)strtoul(argv[4], NULL, 10) : 0;
    pid_t children[MAX_BUSY];
    im_pool *pool = NULL;
    im_error err = IM_ERROR_INIT;
    char text[256];
    if (argc < 2 || busy > MAX_BUSY) {
        fprintf(stderr, "bench_encode MODEL [ROUNDS [THREADS [BUSY]]]\n");
        return 2;
    }
    rounds = IM_MAX(IM_MIN(rounds, (size_t)MAX_ROUNDS), (size_t)1);
    stop_on(im_pool_open(threads, &pool, &err), &err);
    for (size_t p = 0; p < N_PRECISIONS; p++) {
        im_encoder_options options = {.precision = precisions[p], .pool = pool};
        stop_on(im_encoder_open(argv[1], &options, &routes[p].encoder, &err), &err);
        routes[p].out = im_alloc(BATCH * im_encoder_describe(routes[p].encoder)->dim, 4);
        for (int task = 0; task < N_TASKS; task++) {
            routes[p].cosine[task] = 1;
            routes[p].cpu_ms[task] = 1e9;
        }
    }
    const im_encoder_info *info = im_encoder_describe(routes[0].encoder);
    size_t side = info->preprocess.crop_w;
    uint8_t *rgb = im_alloc(BATCH, side * side * 3);
    for (size_t i = 0; i < busy; i++) {
        children[i] = burn();
    }
    for (size_t round = 0; round < rounds; round++) {
        for (size_t i = 0; i < BATCH; i++) {
            paint(rgb + i * side * side * 3, side);
        }
        write_text(routes[0].encoder, text, sizeof(text));
        round_of(round, rgb, text, info->dim);
    }
    for (size_t i = 0; i < busy; i++) {
        (void)kill(children[i], SIGKILL);
        (void)waitpid(children[i], NULL, 0);
    }
    for (int task = 0; task < N_TASKS; task++) {
        for (size_t p = 0; p < N_PRECISIONS; p++) {
            double *ms = routes[p].ms[task];
            qsort(ms, rounds, sizeof(*ms), by_value);
            printf("{\"bench\":\"encode\",\"model\":\"%s\",\"kernel\":\"%s\",\"threads\":%zu,"
                   "\"busy\":%zu,\"task\":\"%s\",\"precision\":\"%s\",\"least_ms\":%.2f,"
                   "\"p50_ms\":%.2f,\"p90_ms\":%.2f,\"least_cpu_ms\":%.2f,\"cosine\":%.6f}\n",
                   info->name, info->kernel, threads, busy, tasks[task],
                   im_precision_name(precisions[p]), ms[0], ms[rounds / 2], ms[rounds * 9 / 10],
                   routes[p].cpu_ms[task], routes[p].cosine[task]);
        }
    }
    for (size_t p = 0; p < N_PRECISIONS; p++) {
        im_encoder_close(routes[p].encoder);
        im_free(routes[p].out);
    }
    im_free(rgb);
    im_pool_close(pool);
    return 0;
}
