/* tests/bench/bench_kernels.c — products at the shapes of CLIP's towers on one thread: each kernel
 * set of this machine beside oneDNN with pre-packed weights, taking turns in one run.
 *
 *     bench_kernels [ROUNDS [avx2|sse41]]
 *
 * avx2 and sse41 hold oneDNN to that instruction set (DNNL_MAX_CPU_ISA) and leave out our sets
 * above it. Prints a JSON object a line: GFLOP/s of the thread's own CPU time (the best of the
 * rounds: other programs can only make it slower; int8 products count as two operations each, too),
 * and `of_peak`, the part of what the same core did with one register tile out of its first cache
 * in the same rounds, 0 where no set has the instruction. Then attention, microseconds a head. */
#include "base/base.h"
#include "encoder/encoder.h"
#include "encoder/kernel_internal.h"
#include "tests/bench/help_bench.h"

#include <oneapi/dnnl/dnnl.h>
#include <time.h>
#include <unistd.h>

#define MAX_ROUNDS 101u
#define N_ROUTES 24u
#define N_PRECISIONS 3u

static const dnnl_data_type_t input_types[N_PRECISIONS] = {dnnl_f32, dnnl_bf16, dnnl_u8};
static const dnnl_data_type_t weight_types[N_PRECISIONS] = {dnnl_f32, dnnl_bf16, dnnl_s8};
static const im_precision precisions[N_PRECISIONS] = {IM_PRECISION_FP32, IM_PRECISION_BF16,
                                                      IM_PRECISION_INT8};
static const kernel *const all[] = {&kernel_avx512_bf16, &kernel_avx512_vnni, &kernel_avx512,
                                    &kernel_avx2, &kernel_portable};
static const char *isa; /* that oneDNN is held to; NULL: none */

static const size_t shapes[][3] = {/* rows, outputs, inputs */
                                   {50, 768, 768},  {50, 3072, 768},  {50, 768, 3072},
                                   {197, 768, 768}, {197, 3072, 768}, {197, 768, 3072},
                                   {10, 768, 768},  {10, 3072, 768},  {10, 768, 3072},
                                   {400, 768, 768}, {400, 3072, 768}, {257, 4096, 1024}};

typedef struct product {
    size_t rows, n, k, pitch;
    float *in, *panels, *out;
    uint16_t *panels16;
    void *laid;
    row_scale *scales;
    int8_t *panels8[2]; /* of groups of 2 and 4 */
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
    return processor_ns(CLOCK_THREAD_CPUTIME_ID);
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

static void onednn_make(onednn *o, const product *p, float *weights, size_t precision)
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
    ok(dnnl_memory_desc_init_by_tag(&in, 2, in_dims, input_types[precision], dnnl_ab), "input");
    ok(dnnl_memory_desc_init_by_tag(&w, 2, w_dims, weight_types[precision], dnnl_format_tag_any),
       "weights");
    ok(dnnl_memory_desc_init_by_tag(&out, 2, out_dims, precision == 2 ? dnnl_s32 : dnnl_f32,
                                    dnnl_ab),
       "output");
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

static const int8_t *panels8(const product *p, const kernel *k)
{
    return p->panels8[k->int8_group == 4];
}

static void panel_run(const kernel *k, size_t precision, const panel_work *w)
{
    (precision == 0 ? k->panel : precision == 1 ? k->panel_bf16 : k->panel_int8)(w);
}

static void kernel_run(const kernel *k, const product *p, size_t precision)
{
    size_t units = precision == 0   ? p->k
                   : precision == 1 ? kernel_units(p->k, k->bf16_group, true)
                                    : kernel_units(p->k, k->int8_group, false);
    size_t bytes = precision == 0   ? PANEL * p->k * sizeof(float)
                   : precision == 1 ? PANEL * p->k * sizeof(uint16_t)
                                    : kernel_panel8_bytes(k, p->k);
    const void *panels = precision == 0   ? (const void *)p->panels
                         : precision == 1 ? (const void *)p->panels16
                                          : panels8(p, k);
    for (size_t row = 0; row < p->rows; row += KERNEL_CHUNK_ROWS) {
        lay_work laid = {.in = p->in + row * p->pitch,
                         .in_pitch = p->pitch,
                         .rows = IM_MIN(p->rows - row, (size_t)KERNEL_CHUNK_ROWS),
                         .k = p->k,
                         .out = (float *)p->laid + row * units,
                         .scales = p->scales + row};
        (precision == 0 ? k->lay : precision == 1 ? k->lay_bf16 : k->lay_int8)(&laid);
        for (size_t c = 0; c < p->n; c += PANEL) {
            panel_work w = {
                .in = laid.out,
                .scales = laid.scales,
                .panel = (const char *)panels + c / PANEL * bytes,
                .ahead = c + PANEL < p->n ? (const char *)panels + (c / PANEL + 1) * bytes : NULL,
                .rows = laid.rows,
                .k = p->k,
                .columns = PANEL,
                .out = p->out + row * p->n + c,
                .out_pitch = p->n};
            panel_run(k, precision, &w);
        }
    }
}

/* One register tile over inputs in the first cache, three quarters of it: what a core can do while
 * this run lasts. */
static double peak(const kernel *k, size_t precision)
{
    static float in[14 * 256], out[14 * PANEL];
    static _Alignas(64) float panel[128 * PANEL];
    static row_scale scales[14];
    size_t depth = precision == 0 ? 128 : precision == 1 ? 256 : 512;
    size_t times = 4000;
    panel_work w = {.in = in, .scales = scales, .rows = 14, .k = depth, .panel = panel};
    w.k -= precision == 2 ? 16 : 0; /* room for scales and sums */
    w.columns = PANEL;
    w.out = out;
    w.out_pitch = PANEL;
    uint64_t start = cpu_ns();
    for (size_t i = 0; i < times; i++) {
        panel_run(k, precision, &w);
    }
    return 2.0 * 14 * PANEL * (double)w.k * (double)times / (double)(cpu_ns() - start);
}

typedef struct route {
    const char *name;
    const kernel *kernel; /* NULL: oneDNN */
    onednn *onednn;
    size_t precision;
    double rates[MAX_ROUNDS];
} route;

static void route_run(const route *r, const product *p)
{
    if (r->kernel != NULL) {
        kernel_run(r->kernel, p, r->precision);
    } else {
        onednn_run(r->onednn);
    }
}

/* The first pass brings the weights into the caches, after another route has used them. */
static double rate(const route *r, const product *p)
{
    size_t times = 1 + (size_t)(2e8 / (2.0 * (double)(p->rows * p->n * p->k)));
    route_run(r, p);
    uint64_t start = cpu_ns();
    for (size_t i = 0; i < times; i++) {
        route_run(r, p);
    }
    return 2.0 * (double)(p->rows * p->n * p->k * times) / (double)(cpu_ns() - start);
}

static void fill(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)((double)random() / (double)RAND_MAX * 2 - 1);
    }
}

static bool allowed(const kernel *k)
{
    bool low =
        isa == NULL || k == &kernel_portable || (k == &kernel_avx2 && strcmp(isa, "avx2") == 0);
    return low && kernel_runs(k);
}

/* Whether a set multiplies in a precision by an instruction of its own. */
static bool has(const kernel *k, size_t precision)
{
    return precision == 0 || (precision == 1 ? kernel_has_bf16(k) : k->int8_group == 4);
}

static size_t make_routes(route *routes, onednn *o, const product *p, float *weights)
{
    size_t n = 0;
    for (size_t precision = 0; precision < N_PRECISIONS; precision++) {
        if (precision != 1 || allowed(&kernel_avx512_bf16)) { /* there is none of bf16 below */
            onednn_make(&o[precision], p, weights, precision);
            routes[n++] =
                (route){.name = "onednn", .onednn = &o[precision], .precision = precision};
        }
        for (size_t i = 0; i < IM_COUNT(all); i++) {
            if (allowed(all[i]) && n < N_ROUTES) {
                routes[n++] =
                    (route){.name = all[i]->name, .kernel = all[i], .precision = precision};
            }
        }
    }
    return n;
}

static void pack(product *p, const float *weights)
{
    const kernel *of_group[2] = {&kernel_portable, &kernel_plain};
    p->panels = some(p->n * p->k, sizeof(float));
    p->panels16 = some(p->n * p->k, sizeof(uint16_t));
    for (size_t g = 0; g < 2; g++) {
        size_t bytes = kernel_panel8_bytes(of_group[g], p->k);
        p->panels8[g] = some(p->n / PANEL, bytes);
        for (size_t i = 0; i < p->n; i++) {
            kernel_pack_row8(of_group[g], p->panels8[g] + i / PANEL * bytes, i % PANEL,
                             weights + i * p->k, p->k);
        }
    }
}

static double best_of(double *x, size_t n)
{
    qsort(x, n, sizeof(*x), by_value);
    return x[n - 1];
}

/* The first set that has each precision as an instruction. */
static void choose_tops(const kernel *tops[N_PRECISIONS])
{
    for (size_t i = 0; i < N_PRECISIONS * IM_COUNT(all); i++) {
        size_t precision = i % N_PRECISIONS;
        const kernel *k = all[i / N_PRECISIONS];
        if (tops[precision] == NULL && allowed(k) && has(k, precision)) {
            tops[precision] = k;
        }
    }
}

static void bench(const size_t shape[3], size_t rounds)
{
    static route routes[N_ROUTES];
    static double tops[N_PRECISIONS][MAX_ROUNDS];
    const kernel *top_sets[N_PRECISIONS] = {NULL};
    double top[N_PRECISIONS];
    onednn o[N_PRECISIONS];
    product p = {.rows = shape[0], .n = shape[1], .k = shape[2], .pitch = shape[2] + 16};
    float *weights = some(p.n * p.k, sizeof(float));
    p.in = some(p.rows * p.pitch, sizeof(float));
    p.laid = some(p.rows * p.pitch, sizeof(float));
    p.scales = some(p.rows, sizeof(row_scale));
    p.out = some(p.rows * p.n, sizeof(float));
    fill(weights, p.n * p.k);
    fill(p.in, p.rows * p.pitch);
    pack(&p, weights);
    choose_tops(top_sets);
    size_t n = make_routes(routes, o, &p, weights);
    for (size_t i = 0; i < rounds; i++) {
        for (size_t t = 0; t < N_PRECISIONS; t++) {
            tops[t][i] = top_sets[t] != NULL ? peak(top_sets[t], t) : 0;
        }
        for (size_t r = 0; r < n; r++) {
            routes[r].rates[i] = rate(&routes[r], &p);
        }
    }
    for (size_t t = 0; t < N_PRECISIONS; t++) {
        top[t] = best_of(tops[t], rounds);
    }
    for (size_t r = 0; r < n; r++) {
        size_t precision = routes[r].precision;
        double got = best_of(routes[r].rates, rounds);
        printf(
            "{\"bench\":\"kernels\",\"rows\":%zu,\"outputs\":%zu,\"inputs\":%zu,\"route\":\"%s\","
            "\"isa\":\"%s\",\"precision\":\"%s\",\"gflops\":%.1f,\"of_peak\":%.3f}\n",
            p.rows, p.n, p.k, routes[r].name, isa != NULL ? isa : "all",
            im_precision_name(precisions[precision]), got,
            top[precision] > 0 ? got / top[precision] : 0);
        if (routes[r].onednn != NULL) {
            onednn_clear(routes[r].onednn);
        }
    }
    void *blocks[] = {weights,    p.in,         p.laid,       p.scales, p.panels,
                      p.panels16, p.panels8[0], p.panels8[1], p.out};
    for (size_t i = 0; i < IM_COUNT(blocks); i++) {
        im_free(blocks[i]);
    }
}

/* One head of d 64: microseconds, the least of the rounds. */
static void bench_head(size_t length, size_t rounds)
{
    const size_t d = 64;
    float *qkv = some(length * 3 * d, sizeof(float));
    float *out = some(length * d, sizeof(float));
    float *scratch = some(kernel_head_floats(length, d), sizeof(float));
    fill(qkv, length * 3 * d);
    for (size_t i = 0; i < 2 * IM_COUNT(all); i++) {
        const kernel *k = all[i / 2];
        bool bf16 = i % 2 == 1;
        double least = 1e9;
        head_work w = {.q = qkv, .k = qkv + d, .v = qkv + 2 * d, .pitch = 3 * d, .length = length};
        w.d = d;
        w.bf16 = bf16;
        w.only = SIZE_MAX;
        w.out = out;
        w.out_pitch = d;
        w.scratch = scratch;
        if (!allowed(k) || (bf16 && !kernel_has_bf16(k))) {
            continue;
        }
        for (size_t round = 0; round < 20 * rounds; round++) {
            uint64_t start = cpu_ns();
            k->head(&w);
            least = IM_MIN(least, (double)(cpu_ns() - start) / 1e3);
        }
        printf("{\"bench\":\"attention\",\"length\":%zu,\"d\":%zu,\"route\":\"%s\",\"precision\":"
               "\"%s\","
               "\"us\":%.1f}\n",
               length, d, k->name, bf16 ? "bf16" : "fp32", least);
    }
    im_free(qkv);
    im_free(out);
    im_free(scratch);
}

int main(int argc, char **argv)
{
    size_t rounds = argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 9;
    rounds = IM_MAX(IM_MIN(rounds, (size_t)MAX_ROUNDS), (size_t)1);
    isa = argc > 2 ? argv[2] : NULL;
    if (isa != NULL && strcmp(isa, "avx2") != 0 && strcmp(isa, "sse41") != 0) {
        fprintf(stderr, "bench_kernels [ROUNDS [avx2|sse41]]\n");
        return 2;
    }
    if (getenv("OMP_NUM_THREADS") == NULL) { /* read by oneDNN's threads before main */
        setenv("OMP_NUM_THREADS", "1", 1);
        if (isa != NULL) {
            setenv("DNNL_MAX_CPU_ISA", strcmp(isa, "avx2") == 0 ? "AVX2" : "SSE41", 1);
        }
        execv("/proc/self/exe", argv);
    }
    for (size_t i = 0; i < IM_COUNT(shapes); i++) {
        bench(shapes[i], rounds);
    }
    static const size_t lengths[] = {10, 50, 77, 197, 257};
    for (size_t i = 0; i < IM_COUNT(lengths); i++) {
        bench_head(lengths[i], rounds);
    }
    return 0;
}
