/* tests/bench/bench_kernels.c — products at the shapes of CLIP's towers on one thread: each kernel
 * set of this machine beside oneDNN with pre-packed weights, taking turns in one run.
 *
 *     bench_kernels [ROUNDS]
 *
 * Prints a JSON object a line: GFLOP/s of the thread's own CPU time (the best of the rounds: other
 * programs can only make it slower), and `of_peak`, the part of what the same core did with one
 * register tile out of its first cache in the same rounds. */
#include "base/base.h"
#include "encoder/kernel_internal.h"
#include "tests/bench/help_bench.h"

#include <oneapi/dnnl/dnnl.h>
#include <time.h>
#include <unistd.h>

#define MAX_ROUNDS 101u
#define N_ROUTES 8u

static const size_t shapes[][3] = {/* rows, outputs, inputs */
                                   {50, 768, 768},  {50, 3072, 768},  {50, 768, 3072},
                                   {197, 768, 768}, {197, 3072, 768}, {197, 768, 3072},
                                   {10, 768, 768},  {10, 3072, 768},  {10, 768, 3072}};

typedef struct product {
    size_t rows, n, k, pitch;
    float *in, *panels, *out;
    uint16_t *panels16;
    void *narrow;
} product;

typedef struct onednn {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t args[3];
} onednn;

static void ok(dnnl_status_t status, const char *what)
{
    if (status != dnnl_success) {
        fprintf(stderr, "oneDNN: %s gives %d\n", what, (int)status);
        exit(1);
    }
}

/* Time that this thread had a core: what others took from it does not count. */
static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void *some(size_t n, size_t size)
{
    void *block = im_alloc_aligned(n, size);
    if (block == NULL) {
        exit(1);
    }
    memset(block, 0, n * size);
    return block;
}

/* Memory of the wanted layout, filled from plain floats [a, b]. */
static dnnl_memory_t filled(onednn *o, const dnnl_memory_desc_t *wanted, const dnnl_dims_t dims,
                            float *values)
{
    dnnl_memory_desc_t plain;
    dnnl_memory_t from = NULL;
    dnnl_memory_t to = NULL;
    dnnl_primitive_desc_t how = NULL;
    dnnl_primitive_t reorder = NULL;
    ok(dnnl_memory_desc_init_by_tag(&plain, 2, dims, dnnl_f32, dnnl_ab), "plain layout");
    ok(dnnl_memory_create(&from, &plain, o->engine, values), "plain memory");
    ok(dnnl_memory_create(&to, wanted, o->engine, DNNL_MEMORY_ALLOCATE), "packed memory");
    ok(dnnl_reorder_primitive_desc_create(&how, &plain, o->engine, wanted, o->engine, NULL),
       "reorder");
    ok(dnnl_primitive_create(&reorder, how), "reorder");
    dnnl_exec_arg_t args[2] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    ok(dnnl_primitive_execute(reorder, o->stream, 2, args), "reorder");
    ok(dnnl_stream_wait(o->stream), "reorder");
    dnnl_primitive_destroy(reorder);
    dnnl_primitive_desc_destroy(how);
    dnnl_memory_destroy(from);
    return to;
}

static void onednn_make(onednn *o, const product *p, float *weights, dnnl_data_type_t type)
{
    dnnl_inner_product_desc_t desc;
    dnnl_primitive_desc_t how = NULL;
    dnnl_memory_desc_t in, w, out;
    const dnnl_dims_t in_dims = {(dnnl_dim_t)p->rows, (dnnl_dim_t)p->k};
    const dnnl_dims_t w_dims = {(dnnl_dim_t)p->n, (dnnl_dim_t)p->k};
    const dnnl_dims_t out_dims = {(dnnl_dim_t)p->rows, (dnnl_dim_t)p->n};
    float *plain_in = some(p->rows * p->k, sizeof(float));
    for (size_t r = 0; r < p->rows; r++) {
        memcpy(plain_in + r * p->k, p->in + r * p->pitch, p->k * sizeof(float));
    }
    ok(dnnl_engine_create(&o->engine, dnnl_cpu, 0), "engine");
    ok(dnnl_stream_create(&o->stream, o->engine, dnnl_stream_default_flags), "stream");
    ok(dnnl_memory_desc_init_by_tag(&in, 2, in_dims, type, dnnl_ab), "input");
    ok(dnnl_memory_desc_init_by_tag(&w, 2, w_dims, type, dnnl_format_tag_any), "weights");
    ok(dnnl_memory_desc_init_by_tag(&out, 2, out_dims, dnnl_f32, dnnl_ab), "output");
    ok(dnnl_inner_product_forward_desc_init(&desc, dnnl_forward_inference, &in, &w, NULL, &out),
       "product");
    ok(dnnl_primitive_desc_create(&how, &desc, NULL, o->engine, NULL), "product");
    ok(dnnl_primitive_create(&o->primitive, how), "product");
    dnnl_memory_t to = NULL;
    ok(dnnl_memory_create(&to, &out, o->engine, DNNL_MEMORY_ALLOCATE), "output");
    o->args[0] = (dnnl_exec_arg_t){DNNL_ARG_SRC, filled(o, &in, in_dims, plain_in)};
    o->args[1] = (dnnl_exec_arg_t){
        DNNL_ARG_WEIGHTS,
        filled(o, dnnl_primitive_desc_query_md(how, dnnl_query_weights_md, 0), w_dims, weights)};
    o->args[2] = (dnnl_exec_arg_t){DNNL_ARG_DST, to};
    dnnl_primitive_desc_destroy(how);
    im_free(plain_in);
}

static void onednn_run(onednn *o)
{
    ok(dnnl_primitive_execute(o->primitive, o->stream, 3, o->args), "product");
    ok(dnnl_stream_wait(o->stream), "product");
}

static void onednn_clear(onednn *o)
{
    dnnl_primitive_destroy(o->primitive);
    for (size_t i = 0; i < 3; i++) {
        dnnl_memory_destroy(o->args[i].memory);
    }
    dnnl_stream_destroy(o->stream);
    dnnl_engine_destroy(o->engine);
}

static void kernel_run(const kernel *k, const product *p, bool bf16)
{
    if (bf16) {
        k->narrow(p->in, p->pitch, p->rows, p->k, p->narrow);
    }
    for (size_t row = 0; row < p->rows; row += KERNEL_CHUNK_ROWS) {
        for (size_t c = 0; c < p->n; c += PANEL) {
            panel_work w = {.in = p->in + row * p->pitch,
                            .in_pitch = p->pitch,
                            .rows = IM_MIN(p->rows - row, (size_t)KERNEL_CHUNK_ROWS),
                            .panel = p->panels + c * p->k,
                            .k = p->k,
                            .columns = PANEL,
                            .out = p->out + row * p->n + c,
                            .out_pitch = p->n};
            if (bf16) {
                w.in16 = (const char *)p->narrow + row * p->pitch * k->narrow_bytes;
                w.panel16 = p->panels16 + c * p->k;
                k->panel_bf16(&w);
            } else {
                k->panel(&w);
            }
        }
    }
}

/* One register tile over inputs in the first cache: what a core can do while this run lasts. */
static double peak(const kernel *k, bool bf16)
{
    static float in[14 * 64], panel[64 * PANEL], out[14 * PANEL];
    uint64_t start = cpu_ns();
    size_t times = 4000;
    for (size_t i = 0; i < times; i++) {
        panel_work w = {.in = in, .in_pitch = 64, .rows = 14, .panel = panel, .k = 64};
        w.columns = PANEL;
        w.in16 = in;
        w.panel16 = (const uint16_t *)(const void *)panel;
        w.out = out;
        w.out_pitch = PANEL;
        (bf16 ? k->panel_bf16 : k->panel)(&w);
    }
    return 2.0 * 14 * PANEL * 64 * (double)times / (double)(cpu_ns() - start);
}

typedef struct route {
    const char *name;
    const kernel *kernel; /* NULL: oneDNN */
    onednn *onednn;
    bool bf16;
    double rates[MAX_ROUNDS];
} route;

static double rate(const route *r, const product *p)
{
    size_t times = 1 + (size_t)(2e8 / (2.0 * (double)(p->rows * p->n * p->k)));
    uint64_t start = cpu_ns();
    for (size_t i = 0; i < times; i++) {
        if (r->kernel != NULL) {
            kernel_run(r->kernel, p, r->bf16);
        } else {
            onednn_run(r->onednn);
        }
    }
    return 2.0 * (double)(p->rows * p->n * p->k * times) / (double)(cpu_ns() - start);
}

static void fill(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)((double)random() / (double)RAND_MAX * 2 - 1);
    }
}

static size_t make_routes(route *routes, onednn *o, const product *p, float *weights)
{
    static const kernel *const all[] = {&kernel_avx512_bf16, &kernel_avx512, &kernel_avx2,
                                        &kernel_portable};
    size_t n = 0;
    onednn_make(&o[0], p, weights, dnnl_f32);
    routes[n++] = (route){.name = "onednn", .onednn = &o[0]};
    if (kernel_runs(&kernel_avx512_bf16)) {
        onednn_make(&o[1], p, weights, dnnl_bf16);
        routes[n++] = (route){.name = "onednn", .onednn = &o[1], .bf16 = true};
        routes[n++] = (route){.name = "avx512_bf16", .kernel = all[0], .bf16 = true};
    }
    for (size_t i = 1; i < IM_COUNT(all); i++) {
        if (kernel_runs(all[i])) {
            routes[n++] = (route){.name = all[i]->name, .kernel = all[i]};
        }
    }
    if (kernel_runs(&kernel_avx2)) {
        routes[n++] = (route){.name = "avx2", .kernel = &kernel_avx2, .bf16 = true};
    }
    return n;
}

static double best_of(double *x, size_t n)
{
    qsort(x, n, sizeof(*x), by_value);
    return x[n - 1];
}

static void bench(const size_t shape[3], size_t rounds)
{
    static route routes[N_ROUTES];
    static double tops[2][MAX_ROUNDS];
    onednn o[2];
    product p = {.rows = shape[0], .n = shape[1], .k = shape[2], .pitch = shape[2] + 16};
    float *weights = some(p.n * p.k, sizeof(float));
    p.in = some(p.rows * p.pitch, sizeof(float));
    p.narrow = some(p.rows * p.pitch, sizeof(float));
    p.panels = some(p.n * p.k, sizeof(float));
    p.panels16 = some(p.n * p.k, sizeof(uint16_t));
    p.out = some(p.rows * p.n, sizeof(float));
    fill(weights, p.n * p.k);
    fill(p.in, p.rows * p.pitch);
    size_t n = make_routes(routes, o, &p, weights);
    const kernel *best = kernel_runs(&kernel_avx512) ? &kernel_avx512 : &kernel_avx2;
    bool has_bf16 = kernel_runs(&kernel_avx512_bf16);
    for (size_t i = 0; i < rounds; i++) {
        tops[0][i] = peak(best, false);
        tops[1][i] = has_bf16 ? peak(&kernel_avx512_bf16, true) : 1;
        for (size_t r = 0; r < n; r++) {
            routes[r].rates[i] = rate(&routes[r], &p);
        }
    }
    double top[2] = {best_of(tops[0], rounds), best_of(tops[1], rounds)};
    for (size_t r = 0; r < n; r++) {
        double got = best_of(routes[r].rates, rounds);
        printf(
            "{\"bench\":\"kernels\",\"rows\":%zu,\"outputs\":%zu,\"inputs\":%zu,\"route\":\"%s\","
            "\"precision\":\"%s\",\"gflops\":%.1f,\"of_peak\":%.3f}\n",
            p.rows, p.n, p.k, routes[r].name, routes[r].bf16 ? "bf16" : "fp32", got,
            got / top[routes[r].bf16 && has_bf16]);
    }
    onednn_clear(&o[0]);
    if (has_bf16) {
        onednn_clear(&o[1]);
    }
    void *blocks[] = {weights, p.in, p.narrow, p.panels, p.panels16, p.out};
    for (size_t i = 0; i < IM_COUNT(blocks); i++) {
        im_free(blocks[i]);
    }
}

int main(int argc, char **argv)
{
    size_t rounds = argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 9;
    rounds = IM_MAX(IM_MIN(rounds, (size_t)MAX_ROUNDS), (size_t)1);
    if (getenv("OMP_NUM_THREADS") == NULL) { /* read by oneDNN's threads before main */
        setenv("OMP_NUM_THREADS", "1", 1);
        execv("/proc/self/exe", argv);
    }
    for (size_t i = 0; i < IM_COUNT(shapes); i++) {
        bench(shapes[i], rounds);
    }
    return 0;
}
