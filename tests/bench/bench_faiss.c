/* tests/bench/bench_faiss.c — what the FAISS engines cost and give, beside the exact scan, on rows
 * in clusters and queries of the two kinds. Prints one JSON object a line: building, file, opening;
 * then, with the effort that im_index_audit_propose finds for recall@10 of 0.95 and 0.99 by both
 * kinds, queries a second without a filter and with one that 50, 10, 1 % of the rows pass.
 * usage: bench_faiss [N] [DIM] [ivf|ivf-small|hnsw|hnsw-small …]  (in $TMPDIR, on a disk with room)
 */
#include "base/clock.h"
#include "base/pool.h"
#include "help_bench.h"
#include "index/index.h"
#include "tests/index/help_vectors.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    K = 10,
    CHUNK = 1000,
    QUERIES = 100,
    SUBSPACE = 24,
    SUBSPACES = 64,
    GROUPS = 24,
    THREADS = 2
};

typedef struct bench_run {
    char folder[128];
    im_index_state state;
    size_t n, dim, n_clusters;
    float *groups;        /* [GROUPS, dim] */
    float *centres;       /* [n_clusters, dim] */
    float *bases;         /* [SUBSPACES, SUBSPACE, dim] */
    float *gap;           /* [dim] */
    float *queries[2];    /* [QUERIES, dim]: texts, pictures */
    uint64_t *filters[3]; /* 50, 10, 1 % */
} bench_run;

static const unsigned shares[3] = {50, 10, 1};
static uint64_t seed = 12345;

static uint64_t next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* Sum of four: near enough to normal, with variance 1. */
static float normal(void)
{
    float sum = 0;
    for (int i = 0; i < 4; i++) {
        sum += (float)(next() >> 40) / 8388608.0F - 1.0F;
    }
    return sum * 0.866F;
}

static void *room(size_t n, size_t size)
{
    void *block = calloc(n, size);
    if (block == NULL) {
        exit(1);
    }
    return block;
}

static float *units(size_t n, size_t dim)
{
    float *vectors = room(n, dim * sizeof(float));
    for (size_t i = 0; i < n * dim; i++) {
        vectors[i] = normal();
    }
    for (size_t i = 0; i < n; i++) {
        vector_make_unit(vectors + i * dim, dim);
    }
    return vectors;
}

/* A group's centre, that of one of its clusters, what varies in the cluster's subspace, noise; some
 * clusters are much larger than others. All lie on one side of the space, texts on the other. */
static void draw(const bench_run *bench, bool text, float *out)
{
    size_t dim = bench->dim;
    double share = (double)(next() >> 11) * 0x1p-53;
    size_t cluster = (size_t)(share * share * (double)bench->n_clusters);
    memset(out, 0, dim * sizeof(float));
    vector_add(out, bench->groups + cluster % GROUPS * dim, 0.8F, dim);
    vector_add(out, bench->centres + cluster * dim, 0.6F, dim);
    vector_add(out, bench->gap, text ? -0.6F : 0.6F, dim);
    for (size_t s = 0; s < SUBSPACE; s++) {
        vector_add(out, bench->bases + (cluster % SUBSPACES * SUBSPACE + s) * dim, 0.16F * normal(),
                   dim);
    }
    float noise = text ? 0.03F : 0.015F;
    for (size_t i = 0; i < dim; i++) {
        out[i] += noise * normal();
    }
    vector_make_unit(out, dim);
}

static void prepare(bench_run *bench)
{
    bench->n_clusters = bench->n / 1000 + 20;
    bench->centres = units(bench->n_clusters, bench->dim);
    bench->groups = units(GROUPS, bench->dim);
    bench->bases = units((size_t)SUBSPACES * SUBSPACE, bench->dim);
    bench->gap = units(1, bench->dim);
    for (size_t kind = 0; kind < 2; kind++) {
        bench->queries[kind] = room(QUERIES, bench->dim * sizeof(float));
        for (size_t q = 0; q < QUERIES; q++) {
            draw(bench, kind == 0, bench->queries[kind] + q * bench->dim);
        }
    }
    for (size_t f = 0; f < 3; f++) {
        bench->filters[f] = room(bench->n / 64 + 1, sizeof(uint64_t));
        for (size_t slot = 0; slot < bench->n; slot++) {
            if (next() % 100 < shares[f]) {
                bench->filters[f][slot / 64] |= UINT64_C(1) << (slot % 64);
            }
        }
    }
}

static void write_library(bench_run *bench)
{
    im_error err = IM_ERROR_INIT;
    im_index_writer *writer = NULL;
    float *rows = room(CHUNK, bench->dim * sizeof(float));
    uint64_t items[CHUNK];
    uint64_t slot = 0;
    stop_on(im_index_create(bench->folder, &bench->state, &err), &err);
    stop_on(im_index_writer_open(bench->folder, &bench->state, &writer, &err), &err);
    for (size_t done = 0; done < bench->n; done += CHUNK) {
        size_t n = bench->n - done < CHUNK ? bench->n - done : CHUNK;
        for (size_t i = 0; i < n; i++) {
            draw(bench, false, rows + i * bench->dim);
            items[i] = done + i + 1;
        }
        stop_on(im_index_writer_append(writer, items, rows, n, &slot, &err), &err);
    }
    stop_on(im_index_writer_sync(writer, &err), &err);
    im_index_writer_close(writer);
    bench->state.n_rows = bench->n;
    free(rows);
}

/* All queries once; on the caller's thread alone when the index has no pool. */
static void time_queries(const bench_run *bench, im_index *index, const char *name, double wanted)
{
    im_error err = IM_ERROR_INIT;
    for (size_t f = 0; f < 4; f++) {
        im_audit audit = {.texts = {.recall = 1}, .pictures = {.recall = 1}};
        im_index_answer answer = {0};
        double ms = 0;
        size_t n_fallen_back = 0;
        for (size_t q = 0; q < 2 * (size_t)QUERIES; q++) {
            im_hit hits[K];
            im_index_part part = {bench->queries[q % 2] + q / 2 * bench->dim, 1, 0};
            im_index_query query = {.parts = &part,
                                    .n_parts = 1,
                                    .k = K,
                                    .bitmap = f == 0 ? NULL : bench->filters[f - 1],
                                    .leave_out = IM_NO_ITEM};
            uint64_t start = im_clock_ns();
            stop_on(im_index_search(index, &query, hits, &answer, &err), &err);
            ms += im_clock_ms_since(start);
            n_fallen_back += strcmp(answer.engine, "scan") == 0;
        }
        if (wanted > 0) {
            im_audit_queries queries = {
                bench->queries[0], QUERIES, bench->queries[1],
                QUERIES,           K,       f == 0 ? NULL : bench->filters[f - 1]};
            stop_on(im_index_audit(index, &queries, &audit, &err), &err);
        }
        printf("{\"bench\":\"search\",\"engine\":\"%s\",\"wanted\":%.2f,\"filter_percent\":%u,"
               "\"queries_per_s\":%.0f,\"by_scan\":%.2f,\"recall_texts\":%.4f,"
               "\"recall_pictures\":%.4f}\n",
               name, wanted, f == 0 ? 100U : shares[f - 1], 2000.0 * QUERIES / ms,
               (double)n_fallen_back / (2.0 * QUERIES), audit.texts.recall, audit.pictures.recall);
        fflush(stdout);
    }
}

static void bench_scan(const bench_run *bench)
{
    im_error err = IM_ERROR_INIT;
    im_index *index = NULL;
    stop_on(im_index_open(bench->folder, &bench->state, NULL, NULL, &index, &err), &err);
    time_queries(bench, index, "scan", 0);
    im_index_close(index);
}

static void bench_wanted(const bench_run *bench, const char *name, im_engine engine,
                         const im_faiss_record *record, double wanted)
{
    im_error err = IM_ERROR_INIT;
    im_index *index = NULL;
    im_pool *pool = NULL;
    im_audit_proposal proposal;
    im_audit_queries queries = {bench->queries[0], QUERIES, bench->queries[1], QUERIES, K, NULL};
    stop_on(im_pool_open(THREADS, &pool, &err), &err);
    im_index_options options = {.engine = engine, .faiss = record, .pool = pool};
    stop_on(im_index_open(bench->folder, &bench->state, NULL, &options, &index, &err), &err);
    stop_on(im_index_audit_propose(index, &queries, wanted, &proposal, &err), &err);
    im_index_close(index);
    im_pool_close(pool);
    options.effort = proposal.effort;
    options.pool = NULL;
    uint64_t start = im_clock_ns();
    stop_on(im_index_open(bench->folder, &bench->state, NULL, &options, &index, &err), &err);
    printf("{\"bench\":\"effort\",\"engine\":\"%s\",\"wanted\":%.2f,\"reached\":%s,\"n_probe\":%zu,"
           "\"ef_search\":%zu,\"candidates\":%zu,\"open_ms\":%.1f}\n",
           name, wanted, proposal.reached ? "true" : "false", proposal.effort.n_probe,
           proposal.effort.ef_search, proposal.effort.candidates, im_clock_ms_since(start));
    time_queries(bench, index, name, wanted);
    im_index_close(index);
}

static void bench_engine(const bench_run *bench, const char *name)
{
    im_error err = IM_ERROR_INIT;
    im_faiss_record record;
    char path[200];
    im_faiss_build build = {.engine =
                                strncmp(name, "hnsw", 4) == 0 ? IM_ENGINE_HNSW : IM_ENGINE_IVF,
                            .small = strstr(name, "-small") != NULL,
                            .n_threads = THREADS};
    uint64_t start = im_clock_ns();
    stop_on(im_index_faiss_build(bench->folder, &bench->state, NULL, &build, &record, &err), &err);
    printf("{\"bench\":\"build\",\"engine\":\"%s\",\"n\":%zu,\"dim\":%zu,\"threads\":%d,"
           "\"seconds\":%.1f,\"bytes\":%llu}\n",
           name, bench->n, bench->dim, THREADS, im_clock_ms_since(start) / 1e3,
           (unsigned long long)record.bytes);
    fflush(stdout);
    bench_wanted(bench, name, build.engine, &record, 0.95);
    bench_wanted(bench, name, build.engine, &record, 0.99);
    snprintf(path, sizeof(path), "%.127s/%.40s", bench->folder, record.name);
    unlink(path);
}

int main(int argc, char **argv)
{
    static const char *const all[] = {"ivf", "ivf-small", "hnsw", "hnsw-small"};
    bench_run bench = {.n = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000,
                       .dim = argc > 2 ? strtoull(argv[2], NULL, 10) : 512};
    if (bench.n < 1000 || bench.dim < 1 || bench_folder(bench.folder) == NULL) {
        fprintf(stderr, "usage: bench_faiss [N] [DIM] [ivf|ivf-small|hnsw|hnsw-small ...]\n");
        return 2;
    }
    bench.state = (im_index_state){.dim = bench.dim, .generation = 1, .model_digest = "bench"};
    prepare(&bench);
    write_library(&bench);
    bench_scan(&bench);
    for (int i = 0; i < (argc > 3 ? argc - 3 : 4); i++) {
        bench_engine(&bench, argc > 3 ? argv[i + 3] : all[i]);
    }
    char path[200];
    snprintf(path, sizeof(path), "%s/vectors.1.f32", bench.folder);
    unlink(path);
    rmdir(bench.folder);
    free(bench.groups);
    free(bench.centres);
    free(bench.bases);
    free(bench.gap);
    for (size_t i = 0; i < 3; i++) {
        free(i < 2 ? bench.queries[i] : NULL);
        free(bench.filters[i]);
    }
    return 0;
}
