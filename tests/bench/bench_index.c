/* tests/bench/bench_index.c — times searches of the index over vectors given as files. Driven by
 * bench_index.py, which makes the vectors and compares with others in the same run.
 * usage: bench_index FOLDER ROWS.f32 N DIM QUERIES.f32 M FILTERS.bits K [ROUNDS [THREADS]]
 * FILTERS holds three bitmaps of ceil(N/64) words: 1, 10 and 50 per cent. Prints a JSON object a
 * line: for each way of asking the median over the queries (several at once: over the calls, a
 * query's share) of the best of ROUNDS, by the clock and in processor time of all threads, and
 * beside each the best time of reading the codes once. THREADS is for the queries at once. */
#include "base/clock.h"
#include "base/pool.h"
#include "help_bench.h"
#include "index/index.h"
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 1000, READS = 5 };

typedef struct bench {
    const char *folder;
    im_index_state state;
    size_t n, dim, m, k, rounds;
    float *queries;           /* [m, dim] */
    uint64_t *filters;        /* [3, words] */
    double *ms, *cpu;         /* [m] */
    im_hit *hits, *truth;     /* [m, k] */
    im_index_answer *answers; /* [m] */
} bench;

static void *read_whole(const char *path, size_t n, size_t size)
{
    FILE *file = fopen(path, "rb");
    void *data = malloc(n * size);
    if (file == NULL || data == NULL || fread(data, size, n, file) != n) {
        fprintf(stderr, "could not read %s\n", path);
        exit(1);
    }
    fclose(file);
    return data;
}

static void write_rows(bench *run, const char *path)
{
    im_error err = IM_ERROR_INIT;
    im_index_writer *writer = NULL;
    uint64_t items[CHUNK];
    uint64_t slot = 0;
    float *rows = malloc(CHUNK * run->dim * sizeof(float));
    FILE *file = fopen(path, "rb");
    if (file == NULL || rows == NULL) {
        exit(1);
    }
    stop_on(im_index_create(run->folder, &run->state, &err), &err);
    stop_on(im_index_writer_open(run->folder, &run->state, &writer, &err), &err);
    for (size_t done = 0; done < run->n; done += CHUNK) {
        size_t n = run->n - done < CHUNK ? run->n - done : CHUNK;
        if (fread(rows, run->dim * sizeof(float), n, file) != n) {
            exit(1);
        }
        for (size_t i = 0; i < n; i++) {
            items[i] = done + i + 1;
        }
        stop_on(im_index_writer_append(writer, items, rows, n, &slot, &err), &err);
    }
    stop_on(im_index_writer_sync(writer, &err), &err);
    im_index_writer_close(writer);
    fclose(file);
    free(rows);
    run->state.n_rows = run->n;
    uint64_t start = im_clock_ns();
    stop_on(im_index_codes_update(run->folder, &run->state, NULL, &err), &err);
    printf("{\"what\":\"codes\",\"ms\":%.1f}\n", im_clock_ms_since(start));
}

static im_index_query query_of(const bench *run, im_index_part *part, size_t q, im_search_mode mode,
                               const uint64_t *bitmap)
{
    *part = (im_index_part){run->queries + q * run->dim, 1, 0};
    return (im_index_query){.parts = part,
                            .n_parts = 1,
                            .k = run->k,
                            .bitmap = bitmap,
                            .leave_out = IM_NO_ITEM,
                            .mode = mode};
}

static double recall(const bench *run)
{
    size_t found = 0;
    size_t all = 0;
    for (size_t q = 0; q < run->m; q++) {
        for (size_t i = 0; i < run->k; i++) {
            uint64_t slot = run->truth[q * run->k + i].slot;
            all += slot != IM_NO_ITEM;
            for (size_t j = 0; j < run->k && slot != IM_NO_ITEM; j++) {
                found += run->hits[q * run->k + j].slot == slot;
            }
        }
    }
    return (double)found / (double)all;
}

static size_t resident_bytes(void)
{
    size_t pages = 0;
    size_t all = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file != NULL) {
        if (fscanf(file, "%zu %zu", &all, &pages) != 2) {
            pages = 0;
        }
        fclose(file);
    }
    return pages * 4096;
}

/* The shortest time of reading a file of codes once, a number of each 64 bytes in turn. */
static double read_once(const bench *run, const char *kind)
{
    char path[160];
    struct stat status;
    double best = 0;
    uint64_t sum = 0;
    snprintf(path, sizeof(path), "%.120s/codes.1.%s", run->folder, kind);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0) {
        return 0;
    }
    size_t size = (size_t)status.st_size;
    const uint64_t *words = mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    close(fd);
    if (words == MAP_FAILED) {
        return 0;
    }
    for (size_t round = 0; round < READS; round++) {
        uint64_t start = im_clock_ns();
        for (size_t i = 0; i < size / 8; i += 8) {
            sum += words[i];
        }
        double ms = im_clock_ms_since(start);
        best = round == 0 || ms < best ? ms : best;
    }
    munmap((void *)(uintptr_t)words, size);
    return sum == 1 ? best + 1e-9 : best;
}

/* Of all threads of this program. */
static double processor_ms(void)
{
    return (double)processor_ns(CLOCK_PROCESS_CPUTIME_ID) / 1e6;
}

static void report(bench *run, const char *what, const char *filter, size_t batch, size_t n,
                   double first, bool has_truth)
{
    qsort(run->ms, n, sizeof(double), by_value);
    qsort(run->cpu, n, sizeof(double), by_value);
    size_t resident = resident_bytes();
    double i8 = read_once(run, "i8");
    double b1 = read_once(run, "b1");
    printf("{\"what\":\"%s\",\"filter\":\"%s\",\"batch\":%zu,\"min_ms\":%.4f,\"p50_ms\":%.4f,"
           "\"p95_ms\":%.4f,\"cpu_ms\":%.4f,\"first_ms\":%.2f,\"recall\":%.5f,\"engine\":\"%s\","
           "\"exact\":%s,"
           "\"resident\":%zu,\"read_i8_ms\":%.2f,\"read_b1_ms\":%.2f}\n",
           what, filter, batch, run->ms[0], run->ms[n / 2], run->ms[n * 95 / 100], run->cpu[n / 2],
           first, has_truth ? recall(run) : 1.0, run->answers[0].engine,
           run->answers[0].exact ? "true" : "false", resident, i8, b1);
    fflush(stdout);
}

static void run_single(bench *run, im_index *index, const char *what, const char *filter,
                       im_search_mode mode, const uint64_t *bitmap, bool has_truth)
{
    im_error err = IM_ERROR_INIT;
    double first = 0;
    for (size_t round = 0; round < run->rounds; round++) {
        for (size_t q = 0; q < run->m; q++) {
            im_index_part part;
            im_index_query query = query_of(run, &part, q, mode, bitmap);
            double cpu = processor_ms();
            uint64_t start = im_clock_ns();
            stop_on(im_index_search(index, &query, run->hits + q * run->k, &run->answers[q], &err),
                    &err);
            double ms = im_clock_ms_since(start);
            cpu = processor_ms() - cpu;
            first = round == 0 && q == 0 ? ms : first;
            run->cpu[q] = round == 0 || cpu < run->cpu[q] ? cpu : run->cpu[q];
            run->ms[q] = round == 0 || ms < run->ms[q] ? ms : run->ms[q];
        }
    }
    report(run, what, filter, 1, run->m, first, has_truth);
}

/* All queries, `size` in each call. */
static void run_batch(bench *run, im_index *index, const char *what, im_search_mode mode,
                      size_t size)
{
    im_error err = IM_ERROR_INIT;
    im_index_query *queries = malloc(run->m * sizeof(*queries));
    im_index_part *parts = malloc(run->m * sizeof(*parts));
    im_hit **hits = malloc(run->m * sizeof(*hits));
    size_t n_calls = run->m / size;
    double first = 0;
    if (queries == NULL || parts == NULL || hits == NULL) {
        exit(1);
    }
    for (size_t q = 0; q < run->m; q++) {
        queries[q] = query_of(run, &parts[q], q, mode, NULL);
        hits[q] = run->hits + q * run->k;
    }
    for (size_t round = 0; round < run->rounds; round++) {
        for (size_t i = 0; i < n_calls; i++) {
            double cpu = processor_ms();
            uint64_t start = im_clock_ns();
            stop_on(im_index_search_many(index, queries + i * size, size, hits + i * size,
                                         run->answers + i * size, &err),
                    &err);
            double ms = im_clock_ms_since(start) / (double)size;
            cpu = (processor_ms() - cpu) / (double)size;
            first = round == 0 && i == 0 ? ms : first;
            run->cpu[i] = round == 0 || cpu < run->cpu[i] ? cpu : run->cpu[i];
            run->ms[i] = round == 0 || ms < run->ms[i] ? ms : run->ms[i];
        }
    }
    report(run, what, "none", size, n_calls, first, true);
    free(queries);
    free(parts);
    free(hits);
}

static void run_batches(bench *run, im_index *index)
{
    static const size_t sizes[] = {2, 4, 8, 64};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        if (sizes[i] <= run->m) {
            run_batch(run, index, "proved", IM_MODE_EXACT, sizes[i]);
            run_batch(run, index, "fast", IM_MODE_FAST, sizes[i]);
        }
    }
}

static im_index *open_index(bench *run, im_engine engine, im_pool *pool, const char *what)
{
    im_error err = IM_ERROR_INIT;
    im_index *index = NULL;
    im_index_options options = {.engine = engine, .pool = pool};
    uint64_t start = im_clock_ns();
    stop_on(im_index_open(run->folder, &run->state, NULL, &options, &index, &err), &err);
    printf("{\"what\":\"open %s\",\"ms\":%.3f}\n", what, im_clock_ms_since(start));
    return index;
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"1%", "10%", "50%"};
    if (argc < 9 || argc > 11) {
        fprintf(stderr,
                "usage: bench_index FOLDER ROWS N DIM QUERIES M FILTERS K [ROUNDS [THREADS]]\n");
        return 2;
    }
    bench run = {.folder = argv[1]};
    run.n = strtoull(argv[3], NULL, 10);
    run.dim = strtoull(argv[4], NULL, 10);
    run.m = strtoull(argv[6], NULL, 10);
    run.k = strtoull(argv[8], NULL, 10);
    run.rounds = argc > 9 ? strtoull(argv[9], NULL, 10) : 3;
    size_t n_threads = argc > 10 ? strtoull(argv[10], NULL, 10) : 2;
    im_error err = IM_ERROR_INIT;
    im_pool *pool = NULL;
    size_t words = (run.n + 63) / 64;
    run.state = (im_index_state){.dim = run.dim, .generation = 1, .model_digest = "bench"};
    run.queries = read_whole(argv[5], run.m * run.dim, sizeof(float));
    run.filters = read_whole(argv[7], 3 * words, sizeof(uint64_t));
    run.ms = malloc(run.m * sizeof(double));
    run.cpu = malloc(run.m * sizeof(double));
    run.hits = malloc(run.m * run.k * sizeof(im_hit));
    run.truth = malloc(run.m * run.k * sizeof(im_hit));
    run.answers = malloc(run.m * sizeof(im_index_answer));
    if (run.ms == NULL || run.cpu == NULL || run.hits == NULL || run.truth == NULL ||
        run.answers == NULL) {
        return 1;
    }
    if (strcmp(argv[2], "-") != 0) { /* "-": the folder holds them already */
        write_rows(&run, argv[2]);
    }
    run.state.n_rows = run.n;
    im_index *tiered = open_index(&run, IM_ENGINE_TIERED, NULL, "tiered");
    run_single(&run, tiered, "proved", "none", IM_MODE_EXACT, NULL, false);
    memcpy(run.truth, run.hits, run.m * run.k * sizeof(im_hit));
    run_single(&run, tiered, "fast", "none", IM_MODE_FAST, NULL, true);
    stop_on(im_pool_open(n_threads, &pool, &err), &err);
    im_index *pooled = open_index(&run, IM_ENGINE_TIERED, pool, "tiered");
    run_batches(&run, pooled);
    im_index_close(pooled);
    im_pool_close(pool);
    for (size_t f = 0; f < 3; f++) {
        const uint64_t *bitmap = run.filters + f * words;
        run_single(&run, tiered, "proved", names[f], IM_MODE_EXACT, bitmap, false);
        memcpy(run.truth, run.hits, run.m * run.k * sizeof(im_hit));
        run_single(&run, tiered, "fast", names[f], IM_MODE_FAST, bitmap, true);
        run_single(&run, tiered, "auto", names[f], IM_MODE_AUTO, bitmap, true);
    }
    im_index_close(tiered);
    im_index *scan = open_index(&run, IM_ENGINE_SCAN, NULL, "scan");
    run.m = run.m < 20 ? run.m : 20;
    run_single(&run, scan, "scan", "none", IM_MODE_AUTO, NULL, false);
    im_index_close(scan);
    return 0;
}
