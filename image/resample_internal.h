/* image/resample_internal.h — one axis of an antialiased resize, the two passes over it, and the
 * stream that runs both while the rows of a picture come. */
#ifndef IM_IMAGE_RESAMPLE_INTERNAL_H
#define IM_IMAGE_RESAMPLE_INTERNAL_H

#include "image/image_internal.h"

/** Weights are fixed-point with this many bits behind the point (Pillow: 32 - 8 - 2). */
#define RESAMPLE_BITS 22
/** Weights are also kept in two halves, value = high * 4096 + low, for 16-bit multiplication. */
#define RESAMPLE_LOW_BITS 12
/** The fast passes take this many weights at a time. */
#define RESAMPLE_TAP_STEP 8u

/** Which inputs make which output along one axis, for a window of the outputs. */
typedef struct resample_axis {
    uint32_t n;       /* outputs in the window */
    uint32_t taps;    /* weights per output, a multiple of the step, unused ones 0 */
    uint32_t *start;  /* [n] first input */
    uint32_t *count;  /* [n] inputs */
    int32_t *weights; /* [n, taps] */
    int16_t *low;     /* [n, taps] */
    int16_t *high;    /* [n, taps] */
} resample_axis;

/** Outputs first … first + n - 1 of a resize of inputs [box0, box1) to out_size. False when memory
 * is out. */
bool resample_axis_init(resample_axis *axis, uint32_t in_size, float box0, float box1,
                        uint32_t out_size, uint32_t first, uint32_t n, im_resample filter);
void resample_axis_clear(resample_axis *axis);
/** resample_axis.taps of such a resize. */
uint32_t resample_taps(double box_size, uint32_t out_size, im_resample filter);
/** The same outputs, in the same order, from inputs in_size - 1 … 0. */
void resample_axis_mirror(resample_axis *axis, uint32_t in_size);
/** The outputs in the opposite order. */
void resample_axis_reverse(resample_axis *axis);

/** One row of RGB pixels to axis->n RGB pixels. No byte at or behind `end` is read. */
typedef void (*resample_across)(const uint8_t *row, const uint8_t *end, const resample_axis *axis,
                                uint8_t *out);
/** Output i of the axis from rows of row_bytes each; rows[0] is input start[i]. */
typedef void (*resample_down)(const uint8_t *rows, size_t row_bytes, const resample_axis *axis,
                              uint32_t i, uint8_t *out);

void resample_across_plain(const uint8_t *row, const uint8_t *end, const resample_axis *axis,
                           uint8_t *out);
void resample_down_plain(const uint8_t *rows, size_t row_bytes, const resample_axis *axis,
                         uint32_t i, uint8_t *out);

typedef struct resample_kernels {
    const char *name; /* as IMAGO_KERNEL names it */
    resample_across across;
    resample_down down;
} resample_kernels;

extern const resample_kernels resample_plain;
/** The widest that the processor has and IMAGO_KERNEL allows. */
resample_kernels resample_fastest(void);
#if defined(__x86_64__)
extern const resample_kernels resample_avx2;
extern const resample_kernels resample_avx512;
#endif

/** A resize of which only a window of the outputs is computed. */
typedef struct resample_job {
    double x, y, width, height;          /* box of the input, after orientation */
    uint32_t out_width, out_height;      /* of the whole result */
    uint32_t first_x, first_y, n_x, n_y; /* the window */
    im_resample filter;
    /* The pass along stored rows first, whatever the orientation: less memory for a few large
     * outputs, and bytes that may differ by 1 from those of the turned picture. */
    bool any_order;
    uint8_t *out;
    size_t out_pitch; /* bytes from one output row to the next */
} resample_job;

/** A resize that is fed the stored rows from the top down. It holds what its next output row needs,
 * never the picture. */
typedef struct resample_stream {
    resample_axis across, down; /* along stored x, along stored y */
    resample_kernels kernels;
    bool turned;       /* stored rows are columns of the result */
    bool upwards;      /* the result's last row (or column) comes first */
    bool across_first; /* else down first, over the columns that are needed */
    uint32_t first_column;
    size_t row_bytes; /* of a row of the window */
    uint8_t *window;  /* owned, `capacity` rows, of which `held` are there … */
    uint32_t capacity, held;
    uint32_t window_first; /* … the first being this stored row */
    uint32_t next;         /* output of `down` that comes next */
    uint8_t *wide, *line;  /* owned: a row between the passes, a row of results */
    uint8_t *out;
    size_t out_pitch;
} resample_stream;

/** The box of rgb that the picture covers, and the sides its shape is judged by. */
resample_job resample_whole(const im_image *image, uint32_t *out_width, uint32_t *out_height);
/** The job of im_image_prepare, checked; what it will not write of `out` is zero already. */
IM_NODISCARD im_code resample_prepare(const im_image *image, const im_preprocess *how, uint8_t *out,
                                      resample_job *out_job, im_error *err);
/** im_image_phash from the picture at 9 x 8. */
#define RESAMPLE_HASH_W 9u
#define RESAMPLE_HASH_H 8u
uint64_t resample_hash(const uint8_t *rgb);
/** Refuses boxes and sides that would make the arithmetic meaningless. image->rgb is not read. */
IM_NODISCARD im_code resample_check(const im_image *image, const resample_job *job, im_error *err);
/** Bytes that a stream will hold, for a job that was checked. */
uint64_t resample_stream_bytes(const im_image *image, uint8_t orientation, const resample_job *job);
/** @param image sides after orientation; rgb is not read. False when memory is out. */
bool resample_stream_init(resample_stream *stream, const im_image *image, uint8_t orientation,
                          const resample_job *job, const resample_kernels *kernels);
void resample_stream_clear(resample_stream *stream);
/** Stored row y, each once and in order. No byte at or behind `end` is read. */
void resample_stream_row(resample_stream *stream, const uint8_t *row, const uint8_t *end,
                         uint32_t y);
/** True once all rows of the result are there. */
bool resample_stream_done(const resample_stream *stream);

/** All of it over a picture in memory. */
IM_NODISCARD im_code resample_run(const im_image *image, const resample_job *job,
                                  const resample_kernels *kernels, im_error *err);

#endif
