/* image/resample_internal.h — one axis of an antialiased resize and the two passes over it. */
#ifndef IM_IMAGE_RESAMPLE_INTERNAL_H
#define IM_IMAGE_RESAMPLE_INTERNAL_H

#include "image/image_internal.h"

/** Weights are fixed-point with this many bits behind the point (Pillow: 32 - 8 - 2). */
#define RESAMPLE_BITS 22
/** Weights are also kept in two halves, value = high * 4096 + low, for 16-bit multiplication. */
#define RESAMPLE_LOW_BITS 12
/** Taps up to which sums of 255 * low cannot overflow 32 bits in any lane. */
#define RESAMPLE_MAX_HALVES 1024u

/** Which inputs make which output along one axis, for a window of the outputs. */
typedef struct resample_axis {
    uint32_t n;       /* outputs in the window */
    uint32_t taps;    /* weights per output, a multiple of 4, unused ones 0 */
    uint32_t *start;  /* [n] first input */
    uint32_t *count;  /* [n] inputs */
    int32_t *weights; /* [n, taps] */
    int16_t *low;     /* [n, taps], NULL when taps > RESAMPLE_MAX_HALVES */
    int16_t *high;    /* [n, taps] */
} resample_axis;

/** Outputs first … first + n - 1 of a resize of inputs [box0, box1) to out_size. False when memory
 * is out. */
bool resample_axis_init(resample_axis *axis, uint32_t in_size, float box0, float box1,
                        uint32_t out_size, uint32_t first, uint32_t n, im_resample filter);
void resample_axis_clear(resample_axis *axis);

/** One row of RGB pixels to axis->n RGB pixels. No byte at or behind `end` is read. */
typedef void (*resample_across)(const uint8_t *row, const uint8_t *end, const resample_axis *axis,
                                uint8_t *out);
/** Output i of the axis from rows of row_bytes each; rows[0] is input 0. */
typedef void (*resample_down)(const uint8_t *rows, size_t row_bytes, const resample_axis *axis,
                              uint32_t i, uint8_t *out);

void resample_across_plain(const uint8_t *row, const uint8_t *end, const resample_axis *axis,
                           uint8_t *out);
void resample_down_plain(const uint8_t *rows, size_t row_bytes, const resample_axis *axis,
                         uint32_t i, uint8_t *out);

typedef struct resample_kernels {
    resample_across across;
    resample_down down;
} resample_kernels;

extern const resample_kernels resample_plain;
/** AVX2 where the processor has it, else the plain ones. */
resample_kernels resample_fastest(void);
#if defined(__x86_64__)
extern const resample_kernels resample_avx2;
#endif

/** A resize of which only a window of the outputs is computed. */
typedef struct resample_job {
    double x, y, width, height;          /* box of the input */
    uint32_t out_width, out_height;      /* of the whole result */
    uint32_t first_x, first_y, n_x, n_y; /* the window */
    im_resample filter;
    uint8_t *out;
    size_t out_pitch; /* bytes from one output row to the next */
} resample_job;

IM_NODISCARD im_code resample_run(const im_image *image, const resample_job *job,
                                  const resample_kernels *kernels, im_error *err);

#endif
