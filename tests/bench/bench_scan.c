/* tests/bench/bench_scan.c — how fast the exact search is, against reading the same bytes once
 * and against FAISS's IndexFlat, in one run on the same vectors. Prints one JSON object a line.
 * usage: bench_scan N DIM [ROUNDS] [flat]  (in $TMPDIR, which should be a disk with room) */
#include "base/clock.h"
#include "base/pool.h"
#include "help_bench.h"
#include "index/index.h"
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { K = 10, CHUNK = 1000, WARMUP = 3 };

typedef struct bench_run {
    char folder[HELP_FOLDER_BYTES];
    im_index_state state;
    size_t n, dim, rounds;
    float *queries; /* [rounds, dim] */
    double *ms;     /* [rounds] */
} bench_run;

static uint64_t seed = 12345;

static float next_float(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (float)(seed >> 40) / 8388608.0F - 1.0F;
}

static void unit(float *out, size_t dim)
{
    float sum = 0;
    for (size_t i = 0; i < dim; i++) {
        out[i] = next_float();
        sum += out[i] * out[i];
    }
    float scale = 1.0F / __builtin_sqrtf(sum);
    for (size_t i = 0; i < dim; i++) {
        out[i] *= scale;
    }
}

static void write_library(bench_run *bench)
{
    im_error err = IM_ERROR_INIT;
    im_index_writer *writer = NULL;
    float *rows = malloc(CHUNK * bench->dim * sizeof(float));
    uint64_t items[CHUNK];
    uint64_t slot = 0;
    if (rows == NULL) {
        exit(1);
    }
    uint64_t start = im_clock_ns();
    stop_on(im_index_create(bench->folder, &bench->state, &err), &err);
    stop_on(im_index_writer_open(bench->folder, &bench->state, &writer, &err), &err);
    for (size_t done = 0; done < bench->n; done += CHUNK) {
        size_t n = bench->n - done < CHUNK ? bench->n - done : CHUNK;
        for (size_t i = 0; i < n; i++) {
            unit(rows + i * bench->dim, bench->dim);
            items[i] = done + i + 1;
        }
        stop_on(im_index_writer_append(writer, items, rows, n, &slot, &err), &err);
    }
    stop_on(im_index_writer_sync(writer, &err), &err);
    im_index_writer_close(writer);
    bench->state.n_rows = bench->n;
    printf("{\"bench\":\"write\",\"n\":%zu,\"dim\":%zu,\"ms\":%.1f}\n", bench->n, bench->dim,
           im_clock_ms_since(start));
    free(rows);
}

static void report(bench_run *bench, const char *what, size_t threads, double first)
{
    qsort(bench->ms, bench->rounds, sizeof(double), by_value);
    double p50 = bench->ms[bench->rounds / 2];
    double p95 = bench->ms[bench->rounds * 95 / 100];
    double bytes = (double)bench->n * (double)bench->dim * 4;
    printf("{\"bench\":\"%s\",\"threads\":%zu,\"first_ms\":%.2f,\"p50_ms\":%.2f,\"p95_ms\":%.2f,"
           "\"gb_per_s\":%.1f}\n",
           what, threads, first, p50, p95, bytes / p50 / 1e6);
}

static void bench_engine(bench_run *bench, im_engine engine, size_t threads, const char *what)
{
    im_error err = IM_ERROR_INIT;
    im_pool *pool = NULL;
    im_index *index = NULL;
    im_hit hits[K];
    im_index_answer answer;
    stop_on(im_pool_open(threads, &pool, &err), &err);
    im_index_options options = {.engine = engine, .pool = pool};
    uint64_t start = im_clock_ns();
    stop_on(im_index_open(bench->folder, &bench->state, NULL, &options, &index, &err), &err);
    printf("{\"bench\":\"open %s\",\"ms\":%.3f}\n", what, im_clock_ms_since(start));
    double first = 0;
    for (size_t round = 0; round < bench->rounds + WARMUP; round++) {
        im_index_part part = {bench->queries + round % bench->rounds * bench->dim, 1, 0};
        im_index_query query = {.parts = &part, .n_parts = 1, .k = K, .leave_out = IM_NO_ITEM};
        start = im_clock_ns();
        stop_on(im_index_search(index, &query, hits, &answer, &err), &err);
        double ms = im_clock_ms_since(start);
        first = round == 0 ? ms : first;
        bench->ms[round >= WARMUP ? round - WARMUP : 0] = ms;
    }
    report(bench, what, threads, first);
    im_index_close(index);
    im_pool_close(pool);
}

/* The bytes of the rows, read once: what no exact scan can beat. */
static void bench_read(bench_run *bench)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/vectors.1.f32", bench->folder);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t size = bench->n * bench->dim * 4;
    const uint64_t *words = mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (words == MAP_FAILED) {
        exit(1);
    }
    uint64_t sum[8] = {0};
    double first = 0;
    for (size_t round = 0; round < bench->rounds + 1; round++) {
        uint64_t start = im_clock_ns();
        for (size_t i = 0; i + 8 <= size / 8; i += 8) {
            for (size_t j = 0; j < 8; j++) {
                sum[j] += words[i + j];
            }
        }
        double ms = im_clock_ms_since(start);
        first = round == 0 ? ms : first;
        bench->ms[round > 0 ? round - 1 : 0] = ms;
    }
    report(bench, sum[0] + sum[7] == 1 ? "read once." : "read once", 1, first);
    munmap((void *)(uintptr_t)words, size);
    close(fd);
}

int main(int argc, char **argv)
{
    bench_run bench = {.rounds = 40};
    if (argc < 3) {
        fprintf(stderr, "usage: bench_scan N DIM [ROUNDS] [flat]\n");
        return 2;
    }
    bench.n = strtoull(argv[1], NULL, 10);
    bench.dim = strtoull(argv[2], NULL, 10);
    bench.rounds = argc > 3 ? strtoull(argv[3], NULL, 10) : bench.rounds;
    bench.queries = malloc((bench.rounds + 1) * bench.dim * sizeof(float));
    bench.ms = malloc((bench.rounds + 1) * sizeof(double));
    if (bench.queries == NULL || bench.ms == NULL || bench.rounds < 1 ||
        help_temporary(bench.folder) == NULL) {
        return 1;
    }
    bench.state = (im_index_state){.dim = bench.dim, .generation = 1, .model_digest = "bench"};
    write_library(&bench);
    for (size_t i = 0; i < bench.rounds; i++) {
        unit(bench.queries + i * bench.dim, bench.dim);
    }
    bench_read(&bench);
    bench_engine(&bench, IM_ENGINE_SCAN, 1, "scan");
    bench_engine(&bench, IM_ENGINE_SCAN, 2, "scan");
    bench_read(&bench);
    if (argc > 4 && strcmp(argv[4], "flat") == 0) {
        bench_engine(&bench, IM_ENGINE_FLAT, 1, "flat");
    }
    char path[160];
    snprintf(path, sizeof(path), "%s/vectors.1.f32", bench.folder);
    unlink(path);
    rmdir(bench.folder);
    free(bench.queries);
    free(bench.ms);
    return 0;
}
