/* encoder/kernel_internal.h — the arithmetic under a forward pass, one set of functions for each
 * instruction set, chosen at run time. Every set is compiled from kernel_body.h, so that blocking
 * and layout are the same; kernel_plain.c is the twin written to be read, the oracle of the tests.
 *
 * Matrices are float32. A packed matrix holds the weights [N, K] of a linear layer in panels of
 * PANEL columns (outputs): panel p is [K, PANEL], 64-byte aligned, the last one padded with zeros.
 * An output element is always summed over K in ascending order by one accumulator, so a row depends
 * neither on its batch nor on how the work was split.
 *
 * The rows of a product are laid out first, as the register tiles of the set read them, and rounded
 * on the way for bf16 and int8: in units of 4 bytes (one float32, two bf16, two or four codes), the
 * rows of a tile side by side. So the rows [R, K] of a chunk take R x kernel_units 4-byte units,
 * and each tile of kernel_tile_rows rows a block of its own, [units, rows].
 *
 * bf16: weights and inputs are rounded to bfloat16 (to nearest, ties to even), the sums are
 * float32. Panels are then [ceil(K / 2), PANEL, 2], values of k and k + 1 side by side, 0 behind an
 * odd K. Sets without the instruction compute the same products of the same rounded values in
 * float32.
 *
 * int8: each row of inputs has a scale and a zero point of its own, value = (code - zero) x scale
 * with codes in 0 … 255; each output has a scale, weight = code x scale with codes in -127 … 127.
 * A panel is [ceil(K / G), PANEL, G] codes, zeros behind K, then for each of its outputs the scale
 * (float32) and the sum of its codes (int32): sums of products are whole numbers, exact and the
 * same in every set, and sum(code) takes the zero point out again. G is 4 where the processor has
 * VNNI, 2 elsewhere (16-bit pairs: vpmaddubsw would saturate). */
#ifndef IM_ENCODER_KERNEL_INTERNAL_H
#define IM_ENCODER_KERNEL_INTERNAL_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PANEL 32u
#define KERNEL_MOST_ROWS 14u  /* of a register tile of any set */
#define KERNEL_CHUNK_ROWS 56u /* rows of one task: four register tiles of the widest kernel */

typedef struct packed_matrix { /* one of the three is there, owned */
    float *panels;             /* [ceil(N / PANEL), K, PANEL] */
    uint16_t *panels16;        /* [ceil(N / PANEL), ceil(K / 2), PANEL, 2] */
    int8_t *panels8;           /* [ceil(N / PANEL), kernel_panel8_bytes] */
    size_t n, k;
} packed_matrix;

/** How a row of inputs was rounded to int8: value = (code - zero) x scale. */
typedef struct row_scale {
    float scale; /* NaN when the row holds a value that is not finite */
    int32_t zero;
} row_scale;

typedef enum kernel_activation {
    ACTIVATION_NONE,
    ACTIVATION_GELU,       /* x Φ(x), exact to 1e-6 */
    ACTIVATION_QUICK_GELU, /* x σ(1.702 x), as in OpenAI CLIP model.py */
    ACTIVATION_GELU_TANH   /* the tanh form, "gelu_new" and "gelu_pytorch_tanh" */
} kernel_activation;

/** Rows to be laid for a product: all of a chunk (at most KERNEL_CHUNK_ROWS), or one tile of it. */
typedef struct lay_work {
    const float *in; /* [rows, in_pitch], K used */
    size_t in_pitch, rows, k;
    void *out;         /* [rows x kernel_units] of 4 bytes */
    row_scale *scales; /* [rows]; int8 only */
} lay_work;

/** One panel of a product: out[r, panel columns] = act(in[r] . W^T + bias) + residual[r]. */
typedef struct panel_work {
    const void *in;          /* a chunk as `lay`, `lay_bf16` or `lay_int8` left it */
    const row_scale *scales; /* int8: [rows] */
    const void *panel;       /* of the precision, as above */
    const void *ahead; /* memory that will be wanted next, as much as this panel takes; or NULL */
    size_t rows, k, columns; /* columns <= PANEL are real */
    const float *bias;       /* [columns] or NULL */
    kernel_activation activation;
    const float *residual; /* [rows, residual_pitch] at this panel's first column, or NULL */
    size_t residual_pitch;
    float *out; /* [rows, out_pitch] at this panel's first column */
    size_t out_pitch;
    /* In place of `out`, without a residual and not for int8, whose scales need whole rows: the
     * chunk as it is laid for a product of the same precision, this panel's values from `column` on
     * among `laid_units` of a row. */
    void *laid;
    size_t laid_units, column;
} panel_work;

/** One head of one sequence: out[i] = softmax(q_i . k_j / sqrt(d)) v_j. bf16: q, k, v and the
 * exponentials are rounded before they are multiplied; sums and the softmax stay float32. */
typedef struct head_work {
    const float *q, *k, *v; /* [length, pitch], d used */
    size_t pitch, length, d;
    bool causal, bf16;
    size_t only; /* the one row wanted, or SIZE_MAX for all */
    float *out;  /* [length, out_pitch]; [1, …] when only one row is wanted */
    size_t out_pitch;
    float *scratch; /* kernel_head_floats(length, d) */
} head_work;

typedef struct kernel {
    const char *name;  /* "avx512_bf16", "avx512_vnni", "avx512", "avx2", "portable", "plain" */
    size_t tile_rows;  /* most rows of a register tile, <= KERNEL_MOST_ROWS */
    size_t bf16_group; /* values of a unit: 2, or 1 where rounded values are kept as float32 */
    size_t int8_group; /* G, codes of a unit */
    /* Bytes behind K are those of zeros. */
    void (*lay)(const lay_work *w);
    void (*lay_bf16)(const lay_work *w);
    void (*lay_int8)(const lay_work *w); /* the same codes and scales in every set */
    void (*panel)(const panel_work *w);
    void (*panel_bf16)(const panel_work *w);
    void (*panel_int8)(const panel_work *w);
    void (*head)(const head_work *w);
    /* rows of width w, weight and bias [w]; out may be in */
    void (*norm)(const float *in, size_t in_pitch, size_t rows, size_t width, const float *weight,
                 const float *bias, float eps, float *out, size_t out_pitch);
} kernel;

extern const kernel kernel_plain, kernel_portable, kernel_avx2, kernel_avx512, kernel_avx512_vnni,
    kernel_avx512_bf16;

/** The best set of this machine, or the one that IMAGO_KERNEL names. */
IM_NODISCARD im_code kernel_choose(const kernel **out, im_error *err);
/** True when this machine can run it. */
bool kernel_runs(const kernel *k);
/** True on processors whose bf16 products do twice the work of fp32 ones. */
bool kernel_full_rate_bf16(void);
size_t kernel_head_floats(size_t length, size_t d);
#define INT8_MOST_K 65536u /* products of more could leave 32 bits */
/** Bytes of a panel of int8 weights, and where its scales and sums lie. */
static inline size_t kernel_panel8_codes(const kernel *k, size_t depth)
{
    return (depth + k->int8_group - 1) / k->int8_group * k->int8_group * PANEL;
}

static inline size_t kernel_panel8_bytes(const kernel *k, size_t depth)
{
    return kernel_panel8_codes(k, depth) + PANEL * (sizeof(float) + sizeof(int32_t));
}

/** Rounds the weights of one output into its column of a panel, with scale and sum. */
void kernel_pack_row8(const kernel *k, int8_t *panel, size_t column, const float *row,
                      size_t depth);

/** True when bf16 products are an instruction of the set, not made from float32. */
static inline bool kernel_has_bf16(const kernel *k)
{
    return k->bf16_group == 2;
}

/** Units of a laid row of `depth` values, whose unit holds `group` of them; products of bf16 take
 * two values a step. */
static inline size_t kernel_units(size_t depth, size_t group, bool bf16)
{
    size_t values = bf16 ? depth + depth % 2 : depth;
    return (values + group - 1) / group;
}

/** Rows of the next tile where `rows` are left of a chunk: dealt evenly, since a short last tile
 * would wait for itself (50 = 13 + 13 + 12 + 12). */
static inline size_t kernel_tile_rows(size_t tile_rows, size_t rows)
{
    size_t tiles = (rows + tile_rows - 1) / tile_rows;
    return (rows + tiles - 1) / tiles;
}

/** To the nearest bfloat16, ties to even; NaN stays NaN. */
static inline uint16_t bf16_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
}

static inline float bf16_value(uint16_t x)
{
    uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

#endif
