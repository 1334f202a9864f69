/* tests/bench/bench_faiss.c — what the FAISS engines cost and give, beside the tiered scan, on
 * vectors given as files. Driven by bench_ann.py, which makes the vectors and compares with others.
 * Prints one JSON object a line: building, bytes, opening; then, for recall@K of 0.95 and 0.99 by
 * texts and by pictures apart, the effort that im_index_audit_propose finds with the first half of
 * a kind's queries, and of the second half queries a second (of one thread's processor time, so
 * that other work hardly counts) and recall, without a filter and with those of 1, 10, 50 %; then
 * with a tenth of the rows removed, and with rows added. usage: bench_faiss VECTORS N DIM QUERIES
 * SPEC…   (works in $TMPDIR, on a disk with room) VECTORS holds rows [N, DIM], texts and pictures
 * [QUERIES, DIM], filters [3, ceil(N/64)]. SPEC: tiered, scan, ivf, ivf-small, hnsw or hnsw-small;
 * the last with :LINKS:QUEUE, ivf :LISTS */
#include "base/base.h"
#include "base/clock.h"
#include "base/pool.h"
#include "help_bench.h"
#include "index/index.h"
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    K = 10,
    CHUNK = 1000,
    BATCH = 64,
    THREADS = 2,
    FILTERS = 3,
    VIEWS = FILTERS + 1,
    REMOVED = VIEWS,
    ALL = VIEWS + 1
};

static const char *const view_names[ALL] = {"none", "1%", "10%", "50%", "none"};
static const char *const kind_names[2] = {"text", "picture"};

typedef struct bench_run {
    char folder[HELP_FOLDER_BYTES];
    const char *vectors;
    im_index_state state;
    size_t n, dim, m;  /* m: queries of a kind that are timed */
    float *queries[2]; /* [2 m, dim]: texts, pictures */
    uint64_t *filters; /* [FILTERS, words] */
    float *levels[2];  /* [ALL, m] score of the last exact hit */
    uint64_t *alive;   /* a tenth is removed */
    im_search_mode mode;
    const char *spec;
} bench_run;

static void *room(size_t n, size_t size)
{
    void *block = calloc(n, size);
    if (block == NULL) {
        exit(1);
    }
    return block;
}

static FILE *open_part(const bench_run *bench, const char *name)
{
    char path[512];
    snprintf(path, sizeof(path), "%.400s/%s", bench->vectors, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "could not read %s\n", path);
        exit(1);
    }
    return file;
}

static void *read_part(const bench_run *bench, const char *name, size_t n, size_t size)
{
    FILE *file = open_part(bench, name);
    void *data = room(n, size);
    if (fread(data, size, n, file) != n) {
        fprintf(stderr, "%s is too short\n", name);
        exit(1);
    }
    fclose(file);
    return data;
}

/* Appends the first n rows of the file, `batch` at a time; a sync behind each when it is told. */
static double append(bench_run *bench, size_t n, size_t batch, bool sync_each)
{
    im_error err = IM_ERROR_INIT;
    im_index_writer *writer = NULL;
    uint64_t items[CHUNK];
    uint64_t slot = 0;
    float *rows = room(CHUNK, bench->dim * sizeof(float));
    FILE *file = open_part(bench, "rows");
    stop_on(im_index_writer_open(bench->folder, &bench->state, &writer, &err), &err);
    uint64_t start = im_clock_ns();
    for (size_t done = 0; done < n; done += batch) {
        size_t some = n - done < batch ? n - done : batch;
        if (fread(rows, bench->dim * sizeof(float), some, file) != some) {
            exit(1);
        }
        for (size_t i = 0; i < some; i++) {
            items[i] = bench->state.n_rows + done + i + 1;
        }
        stop_on(im_index_writer_append(writer, items, rows, some, &slot, &err), &err);
        if (sync_each) {
            stop_on(im_index_writer_sync(writer, &err), &err);
        }
    }
    stop_on(im_index_writer_sync(writer, &err), &err);
    double seconds = im_clock_ms_since(start) / 1e3;
    im_index_writer_close(writer);
    fclose(file);
    free(rows);
    bench->state.n_rows += n;
    return seconds;
}

static im_index_query query_of(const bench_run *bench, im_index_part *part, const float *vector,
                               size_t view)
{
    size_t words = (bench->n + 63) / 64;
    const uint64_t *bitmap = view == 0         ? NULL
                             : view == REMOVED ? bench->alive
                                               : bench->filters + (view - 1) * words;
    *part = (im_index_part){vector, 1, 0};
    return (im_index_query){.parts = part,
                            .n_parts = 1,
                            .k = K,
                            .bitmap = bitmap,
                            .leave_out = IM_NO_ITEM,
                            .mode = bench->mode};
}

static const float *timed_query(const bench_run *bench, size_t kind, size_t q)
{
    return bench->queries[kind] + (bench->m + q) * bench->dim;
}

/* The exact answers to the queries that are timed. */
static void find_truth(bench_run *bench)
{
    im_error err = IM_ERROR_INIT;
    im_index *index = NULL;
    im_pool *pool = NULL;
    stop_on(im_pool_open(THREADS, &pool, &err), &err);
    im_index_options options = {.engine = IM_ENGINE_SCAN, .pool = pool};
    stop_on(im_index_open(bench->folder, &bench->state, NULL, &options, &index, &err), &err);
    for (size_t kind = 0; kind < 2; kind++) {
        bench->levels[kind] = room(ALL * bench->m, sizeof(float));
        for (size_t at = 0; at < ALL * bench->m; at++) {
            im_hit hits[K];
            im_index_part part;
            im_index_answer answer;
            const float *vector = timed_query(bench, kind, at % bench->m);
            im_index_query query = query_of(bench, &part, vector, at / bench->m);
            stop_on(im_index_search(index, &query, hits, &answer, &err), &err);
            bench->levels[kind][at] = hits[answer.n_hits - 1].score;
        }
    }
    im_index_close(index);
    im_pool_close(pool);
}

/* Of this thread alone: other work on the machine hardly changes it. */
static double thread_ms(void)
{
    return (double)processor_ns(CLOCK_THREAD_CPUTIME_ID) / 1e6;
}

/* The queries of a kind behind a filter. */
typedef struct view_times {
    double p50_ms, p95_ms, sum_ms;
    size_t n_found; /* hits as good as the exact ones */
    size_t n_scans; /* answered by the scan inside the engine */
} view_times;

static view_times ask_all(const bench_run *bench, im_index *index, size_t kind, size_t view)
{
    im_error err = IM_ERROR_INIT;
    view_times out = {0};
    double *ms = room(bench->m, sizeof(double));
    for (size_t q = 0; q < bench->m; q++) {
        im_hit hits[K];
        im_index_part part;
        im_index_answer answer = {0};
        im_index_query query = query_of(bench, &part, timed_query(bench, kind, q), view);
        double start = thread_ms();
        stop_on(im_index_search(index, &query, hits, &answer, &err), &err);
        ms[q] = thread_ms() - start;
        out.sum_ms += ms[q];
        out.n_scans += strcmp(answer.engine, "scan") == 0;
        for (size_t i = 0; i < answer.n_hits; i++) {
            out.n_found += hits[i].score >= bench->levels[kind][view * bench->m + q];
        }
    }
    qsort(ms, bench->m, sizeof(double), by_value);
    out.p50_ms = ms[bench->m / 2];
    out.p95_ms = ms[bench->m * 95 / 100];
    free(ms);
    return out;
}

static void time_view(const bench_run *bench, im_index *index, size_t kind, size_t view,
                      const char *what, double wanted)
{
    view_times times = ask_all(bench, index, kind, view);
    printf("{\"bench\":\"search\",\"spec\":\"%s\",\"what\":\"%s\",\"kind\":\"%s\",\"wanted\":%.2f,"
           "\"filter\":\"%s\",\"queries_per_s\":%.1f,\"p50_ms\":%.3f,\"p95_ms\":%.3f,"
           "\"by_scan\":%.2f,\"recall\":%.4f}\n",
           bench->spec, what, kind_names[kind], wanted, view_names[view],
           1e3 * (double)bench->m / times.sum_ms, times.p50_ms, times.p95_ms,
           (double)times.n_scans / (double)bench->m,
           (double)times.n_found / (double)(bench->m * K));
    fflush(stdout);
}

static im_index *open_index(const bench_run *bench, const im_index_options *options,
                            const uint64_t *alive)
{
    im_error err = IM_ERROR_INIT;
    im_index *index = NULL;
    stop_on(im_index_open(bench->folder, &bench->state, alive, options, &index, &err), &err);
    return index;
}

/* The least effort for a kind, found with the queries that are not timed. */
static im_faiss_effort tune(const bench_run *bench, const im_index_options *options, size_t kind,
                            double wanted)
{
    im_error err = IM_ERROR_INIT;
    im_pool *pool = NULL;
    im_audit_proposal proposal;
    im_audit_queries queries = {.k = K};
    im_index_options own = *options;
    if (kind == 0) {
        queries.texts = bench->queries[0];
        queries.n_texts = bench->m;
    } else {
        queries.pictures = bench->queries[1];
        queries.n_pictures = bench->m;
    }
    stop_on(im_pool_open(THREADS, &pool, &err), &err);
    own.pool = pool;
    im_index *index = open_index(bench, &own, NULL);
    stop_on(im_index_audit_propose(index, &queries, wanted, &proposal, &err), &err);
    im_index_close(index);
    im_pool_close(pool);
    printf("{\"bench\":\"effort\",\"spec\":\"%s\",\"kind\":\"%s\",\"wanted\":%.2f,\"reached\":%s,"
           "\"n_probe\":%zu,\"ef_search\":%zu,\"candidates\":%zu}\n",
           bench->spec, kind_names[kind], wanted, proposal.reached ? "true" : "false",
           proposal.effort.n_probe, proposal.effort.ef_search, proposal.effort.candidates);
    return proposal.effort;
}

/* Opened once for all views: FAISS's engines read their file whole. */
static void time_effort(bench_run *bench, im_index_options *options, size_t kind, double wanted)
{
    options->effort = tune(bench, options, kind, wanted);
    uint64_t start = im_clock_ns();
    im_index *index = open_index(bench, options, NULL);
    printf("{\"bench\":\"open\",\"spec\":\"%s\",\"ms\":%.1f}\n", bench->spec,
           im_clock_ms_since(start));
    for (size_t view = 0; view < VIEWS; view++) {
        time_view(bench, index, kind, view, "plain", wanted);
    }
    im_index_close(index);
}

/* What is removed is a bit, what is added is scanned: no file is made anew for either. */
static void time_changes(bench_run *bench, im_index_options *options, size_t kind)
{
    im_index_state before = bench->state;
    im_index *index = open_index(bench, options, bench->alive);
    time_view(bench, index, kind, REMOVED, "10% removed", 0.95);
    im_index_close(index);
    size_t n_more = bench->n / 50;
    (void)append(bench, n_more, CHUNK, false);
    index = open_index(bench, options, NULL);
    time_view(bench, index, kind, 0, "2% added", 0.95);
    im_index_close(index);
    bench->state = before; /* a tail that does not count */
}

/* Median processor time of a search of this effort. */
static double median_ms(const bench_run *bench, const im_index_options *options, size_t kind,
                        size_t view)
{
    im_index *index = open_index(bench, options, NULL);
    double median = ask_all(bench, index, kind, view).p50_ms;
    im_index_close(index);
    return median;
}

/* What a row costs FAISS, as faiss_search.c counts the rows that it reads, and the scan: their
 * ratio is that file's SCAN_SPEED. */
static void time_rows(const bench_run *bench, const im_index_options *of, size_t n_lists)
{
    static const size_t efforts[] = {16, 64, 256, 1024};
    im_index_options scan = {.engine = IM_ENGINE_SCAN};
    for (size_t at = 0; at < 2 * IM_COUNT(efforts); at++) {
        im_index_options options = *of;
        size_t kind = at % 2;
        size_t tries = efforts[at / 2];
        options.effort = (im_faiss_effort){tries, tries, 0};
        double rows = options.engine == IM_ENGINE_HNSW
                          ? 32.0 * (double)tries
                          : (double)(n_lists + bench->n * tries / n_lists);
        double own = median_ms(bench, &scan, kind, 0) / (double)bench->n;
        double theirs = median_ms(bench, &options, kind, 0) / rows;
        printf("{\"bench\":\"rows\",\"spec\":\"%s\",\"kind\":\"%s\",\"tries\":%zu,"
               "\"us_per_row\":%.3f,\"scan_us_per_row\":%.3f,\"ratio\":%.2f}\n",
               bench->spec, kind_names[kind], tries, 1e3 * theirs, 1e3 * own, theirs / own);
    }
    fflush(stdout);
}

static void bench_faiss(bench_run *bench)
{
    im_error err = IM_ERROR_INIT;
    im_faiss_record record;
    char path[200];
    const char *first = strchr(bench->spec, ':');
    const char *second = first != NULL ? strchr(first + 1, ':') : NULL;
    size_t number = first != NULL ? strtoull(first + 1, NULL, 10) : 0;
    bool is_hnsw = strncmp(bench->spec, "hnsw", 4) == 0;
    im_faiss_build build = {.engine = is_hnsw ? IM_ENGINE_HNSW : IM_ENGINE_IVF,
                            .small = strstr(bench->spec, "-small") != NULL,
                            .n_lists = is_hnsw ? 0 : number,
                            .n_links = is_hnsw ? number : 0,
                            .ef_construction = second != NULL ? strtoull(second + 1, NULL, 10) : 0,
                            .n_threads = THREADS};
    uint64_t start = im_clock_ns();
    clock_t processor = clock();
    stop_on(im_index_faiss_build(bench->folder, &bench->state, NULL, &build, &record, &err), &err);
    printf(
        "{\"bench\":\"build\",\"spec\":\"%s\",\"threads\":%d,\"seconds\":%.1f,\"processor_s\":%.1f,"
        "\"bytes\":%llu}\n",
        bench->spec, THREADS, im_clock_ms_since(start) / 1e3,
        (double)(clock() - processor) / CLOCKS_PER_SEC, (unsigned long long)record.bytes);
    fflush(stdout);
    im_index_options options = {.engine = build.engine, .faiss = &record};
    if (bench->n <= 100000) {
        time_rows(bench, &options, number != 0 ? number : (size_t)(4 * sqrt((double)bench->n)));
    }
    for (size_t kind = 0; kind < 2; kind++) {
        time_effort(bench, &options, kind, 0.95);
        time_changes(bench, &options, kind);
        time_effort(bench, &options, kind, 0.99);
    }
    snprintf(path, sizeof(path), "%.127s/%.40s", bench->folder, record.name);
    unlink(path);
}

static void bench_own(bench_run *bench)
{
    im_error err = IM_ERROR_INIT;
    bool is_tiered = strcmp(bench->spec, "tiered") == 0;
    im_index_options options = {.engine = is_tiered ? IM_ENGINE_TIERED : IM_ENGINE_SCAN};
    uint64_t start = im_clock_ns();
    if (is_tiered) {
        stop_on(im_index_codes_update(bench->folder, &bench->state, NULL, &err), &err);
    }
    printf("{\"bench\":\"build\",\"spec\":\"%s\",\"seconds\":%.1f}\n", bench->spec,
           im_clock_ms_since(start) / 1e3);
    start = im_clock_ns();
    im_index *index = open_index(bench, &options, NULL);
    printf("{\"bench\":\"open\",\"spec\":\"%s\",\"ms\":%.1f}\n", bench->spec,
           im_clock_ms_since(start));
    for (int fast = 0; fast <= (is_tiered ? 1 : 0); fast++) {
        bench->mode = fast != 0 ? IM_MODE_FAST : IM_MODE_EXACT;
        for (size_t at = 0; at < 2 * (size_t)VIEWS; at++) {
            time_view(bench, index, at / VIEWS, at % VIEWS, fast != 0 ? "fast" : "exact", 1);
        }
    }
    bench->mode = IM_MODE_AUTO;
    im_index_close(index);
}

/* Rows a second as `add` writes them. */
static void bench_add(bench_run *bench)
{
    im_index_state before = bench->state;
    size_t n_more = bench->n / 50;
    double seconds = append(bench, n_more, BATCH, true);
    printf("{\"bench\":\"add\",\"rows_per_s\":%.0f,\"batch\":%d}\n", (double)n_more / seconds,
           BATCH);
    bench->state = before;
}

static void prepare(bench_run *bench)
{
    size_t words = (bench->n + 63) / 64;
    im_error err = IM_ERROR_INIT;
    bench->state = (im_index_state){.dim = bench->dim, .generation = 1, .model_digest = "bench"};
    bench->queries[0] = read_part(bench, "texts", 2 * bench->m * bench->dim, sizeof(float));
    bench->queries[1] = read_part(bench, "pictures", 2 * bench->m * bench->dim, sizeof(float));
    bench->filters = read_part(bench, "filters", FILTERS * words, sizeof(uint64_t));
    bench->alive = room(words, sizeof(uint64_t));
    for (size_t slot = 0; slot < bench->n; slot++) {
        bench->alive[slot / 64] |= (uint64_t)(slot % 10 != 0) << (slot % 64);
    }
    stop_on(im_index_create(bench->folder, &bench->state, &err), &err);
    (void)append(bench, bench->n, CHUNK, false);
    find_truth(bench);
}

static void clear(bench_run *bench)
{
    im_index_sweep(bench->folder, 0);
    rmdir(bench->folder);
    for (size_t i = 0; i < 2; i++) {
        free(bench->queries[i]);
        free(bench->levels[i]);
    }
    free(bench->filters);
    free(bench->alive);
}

int main(int argc, char **argv)
{
    bench_run bench = {0};
    if (argc > 5) {
        bench.vectors = argv[1];
        bench.n = strtoull(argv[2], NULL, 10);
        bench.dim = strtoull(argv[3], NULL, 10);
        bench.m = strtoull(argv[4], NULL, 10) / 2;
    }
    if (bench.n < 1000 || bench.dim < 1 || bench.m < 1 || help_temporary(bench.folder) == NULL) {
        fprintf(stderr, "usage: bench_faiss VECTORS N DIM QUERIES SPEC ...\n");
        return 2;
    }
    prepare(&bench);
    bench_add(&bench);
    for (int i = 5; i < argc; i++) {
        bench.spec = argv[i];
        if (strcmp(bench.spec, "tiered") == 0 || strcmp(bench.spec, "scan") == 0) {
            bench_own(&bench);
        } else {
            bench_faiss(&bench);
        }
    }
    clear(&bench);
    return 0;
}
