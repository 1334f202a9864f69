/* tests/encoder/help_onednn.c — see help_onednn.h. */
#include "tests/encoder/help_onednn.h"

const kernel *const onednn_sets[6] = {&kernel_plain,  &kernel_portable,    &kernel_avx2,
                                      &kernel_avx512, &kernel_avx512_vnni, &kernel_avx512_bf16};

static dnnl_engine_t engine;
static dnnl_stream_t stream;

void ok(dnnl_status_t status, const char *what)
{
    if (status != dnnl_success) {
        fail_msg("oneDNN: %s gives %d", what, (int)status);
    }
}

int start_onednn(void **state)
{
    (void)state;
    ok(dnnl_engine_create(&engine, dnnl_cpu, 0), "engine");
    ok(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags), "stream");
    return 0;
}

int stop_onednn(void **state)
{
    (void)state;
    dnnl_stream_destroy(stream);
    dnnl_engine_destroy(engine);
    return 0;
}

float *random_floats(size_t n, float scale)
{
    float *x = im_alloc_aligned(n, sizeof(*x));
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) {
        x[i] = scale * (float)((double)random() / (double)RAND_MAX * 2 - 1);
    }
    return x;
}

dnnl_memory_desc_t plane(size_t rows, size_t width)
{
    dnnl_memory_desc_t desc;
    const dnnl_dims_t dims = {(dnnl_dim_t)rows, (dnnl_dim_t)width};
    ok(dnnl_memory_desc_init_by_tag(&desc, 2, dims, dnnl_f32, dnnl_ab), "layout");
    return desc;
}

/* Runs a primitive over [rows, width]; `beside` is [beside_rows, width], or NULL. */
void run(const_dnnl_op_desc_t op, size_t rows, size_t width, float *values, int beside_arg,
         size_t beside_rows, float *beside)
{
    dnnl_primitive_desc_t how = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_memory_t memory = NULL;
    dnnl_memory_t other = NULL;
    dnnl_memory_desc_t desc = plane(rows, width);
    dnnl_memory_desc_t other_desc = plane(beside != NULL ? beside_rows : 1, width);
    ok(dnnl_primitive_desc_create(&how, op, NULL, engine, NULL), "primitive");
    ok(dnnl_primitive_create(&primitive, how), "primitive");
    ok(dnnl_memory_create(&memory, &desc, engine, values), "memory");
    ok(dnnl_memory_create(&other, &other_desc, engine, beside != NULL ? beside : values), "memory");
    const dnnl_exec_arg_t args[] = {
        {DNNL_ARG_SRC, memory}, {DNNL_ARG_DST, memory}, {beside_arg, other}};
    ok(dnnl_primitive_execute(primitive, stream, beside != NULL ? 3 : 2, args), "run");
    ok(dnnl_stream_wait(stream), "run");
    dnnl_memory_destroy(memory);
    dnnl_memory_destroy(other);
    dnnl_primitive_destroy(primitive);
    dnnl_primitive_desc_destroy(how);
}

/* out [m, n] = a [m, k] . b [n, k]^T ('T') or a . b [k, n] ('N') */
void multiply(char b_turned, size_t m, size_t n, size_t k, const float *a, size_t a_pitch,
              const float *b, size_t b_pitch, float *out, size_t out_pitch)
{
    ok(dnnl_sgemm('N', b_turned, (dnnl_dim_t)m, (dnnl_dim_t)n, (dnnl_dim_t)k, 1, a,
                  (dnnl_dim_t)a_pitch, b, (dnnl_dim_t)b_pitch, 0, out, (dnnl_dim_t)out_pitch),
       "sgemm");
}
