/* encoder/kernel_internal.h — the arithmetic under a forward pass, one set of functions for each
 * instruction set, chosen at run time. Every set is compiled from kernel_body.h, so that blocking
 * and layout are the same; kernel_plain.c is the twin written to be read, the oracle of the tests.
 *
 * Matrices are float32. A packed matrix holds the weights [N, K] of a linear layer in panels of
 * PANEL columns (outputs): panel p is [K, PANEL], 64-byte aligned, the last one padded with zeros.
 * An output element is always summed over K in ascending order by one accumulator, so a row depends
 * neither on its batch nor on how the work was split. */
#ifndef IM_ENCODER_KERNEL_INTERNAL_H
#define IM_ENCODER_KERNEL_INTERNAL_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>

#define PANEL 32u

typedef struct packed_matrix {
    float *panels; /* [ceil(N / PANEL), K, PANEL], owned */
    size_t n, k;
} packed_matrix;

typedef enum kernel_activation {
    ACTIVATION_NONE,
    ACTIVATION_GELU,       /* x Φ(x), exact to 1e-6 */
    ACTIVATION_QUICK_GELU, /* x σ(1.702 x), as in OpenAI CLIP model.py */
    ACTIVATION_GELU_TANH   /* the tanh form, "gelu_new" and "gelu_pytorch_tanh" */
} kernel_activation;

/** One panel of a product: out[r, panel columns] = act(in[r] . W^T + bias) + residual[r]. */
typedef struct panel_work {
    const float *in; /* [rows, in_pitch], K used */
    size_t in_pitch, rows;
    const float *panel; /* [K, PANEL] */
    size_t k, columns;  /* columns <= PANEL are real */
    const float *bias;  /* [columns] or NULL */
    kernel_activation activation;
    const float *residual; /* [rows, residual_pitch] at this panel's first column, or NULL */
    size_t residual_pitch;
    float *out; /* [rows, out_pitch] at this panel's first column */
    size_t out_pitch;
} panel_work;

/** One head of one sequence: out[i] = softmax(q_i . k_j / sqrt(d)) v_j. */
typedef struct head_work {
    const float *q, *k, *v; /* [length, pitch], d used */
    size_t pitch, length, d;
    bool causal;
    size_t only; /* the one row wanted, or SIZE_MAX for all */
    float *out;  /* [length, out_pitch]; [1, …] when only one row is wanted */
    size_t out_pitch;
    float *scratch; /* kernel_head_floats(length, d) */
} head_work;

typedef struct kernel {
    const char *name; /* "avx512", "avx2", "portable", "plain" */
    void (*panel)(const panel_work *w);
    void (*head)(const head_work *w);
    /* rows of width w, weight and bias [w]; out may be in */
    void (*norm)(const float *in, size_t in_pitch, size_t rows, size_t width, const float *weight,
                 const float *bias, float eps, float *out, size_t out_pitch);
} kernel;

extern const kernel kernel_plain, kernel_portable, kernel_avx2, kernel_avx512;

/** The best set of this machine, or the one that IMAGO_KERNEL names. */
IM_NODISCARD im_code kernel_choose(const kernel **out, im_error *err);
/** True when this machine can run it. */
bool kernel_runs(const kernel *k);
size_t kernel_head_floats(size_t length, size_t d);

#endif
