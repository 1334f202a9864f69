/* image/resample.c — antialiased resize in two passes, bit for bit as Pillow's Resample.c does it
 * for 8 bits a channel: weights from a filter stretched by the scale, normalised, rounded to 22-bit
 * fixed point; rows first, rounded to 8 bits; then columns. The plain passes here are the statement
 * of the maths and the oracle of the fast ones. */
#include "image/resample_internal.h"
#include <math.h>

static double bilinear(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

/* Keys' cubic with a = -0.5, in the form and order of operations of Pillow's bicubic_filter. */
static double bicubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0) {
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    }
    if (x < 2.0) {
        return (((x - 5) * x + 8) * x - 4) * a;
    }
    return 0.0;
}

static double sinc(double x)
{
    if (!(fabs(x) > 0.0)) {
        return 1.0;
    }
    x *= M_PI;
    return sin(x) / x;
}

static double lanczos(double x)
{
    return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0;
}

typedef struct filter_row {
    double (*value)(double x);
    double support;
} filter_row;

static const filter_row filters[] = {
    [IM_RESAMPLE_LANCZOS] = {lanczos, 3.0},
    [IM_RESAMPLE_BILINEAR] = {bilinear, 1.0},
    [IM_RESAMPLE_BICUBIC] = {bicubic, 2.0},
};

static int32_t to_fixed(double weight)
{
    double scaled = weight * (double)(1 << RESAMPLE_BITS);
    return (int32_t)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
}

/* The reach of the filter around one output, and its scale. */
typedef struct axis_shape {
    double scale, support, stretch; /* stretch: 1 / max(scale, 1) */
    double origin;
    uint32_t in_size;
} axis_shape;

/* Weights of output `xx` (of the whole result) into w; returns how many, *out_start where they
 * begin. The statements keep Pillow's order, because doubles do not associate. */
static uint32_t weigh(const axis_shape *shape, const filter_row *filter, uint32_t xx, double *w,
                      uint32_t *out_start)
{
    double center = shape->origin + (xx + 0.5) * shape->scale;
    double low = center - shape->support + 0.5;
    double high = center + shape->support + 0.5;
    int64_t start = low > 0.0 ? (int64_t)low : 0;
    int64_t stop = IM_MIN((int64_t)high, (int64_t)shape->in_size);
    double sum = 0.0;
    uint32_t n = stop > start ? (uint32_t)(stop - start) : 0;
    for (uint32_t i = 0; i < n; i++) {
        w[i] = filter->value(((double)(i + start) - center + 0.5) * shape->stretch);
        sum += w[i];
    }
    for (uint32_t i = 0; i < n && (sum > 0.0 || sum < 0.0); i++) {
        w[i] /= sum;
    }
    *out_start = (uint32_t)start;
    return n;
}

static void split_halves(resample_axis *axis)
{
    for (size_t i = 0; i < (size_t)axis->n * axis->taps; i++) {
        int32_t low = axis->weights[i] & ((1 << RESAMPLE_LOW_BITS) - 1);
        axis->low[i] = (int16_t)low;
        axis->high[i] = (int16_t)((axis->weights[i] - low) / (1 << RESAMPLE_LOW_BITS));
    }
}

static bool axis_alloc(resample_axis *axis)
{
    size_t weights = 0;
    if (!im_size_mul(axis->n, axis->taps, &weights)) {
        return false;
    }
    axis->start = im_alloc(axis->n, sizeof *axis->start);
    axis->count = im_alloc(axis->n, sizeof *axis->count);
    axis->weights = im_alloc_zero(weights, sizeof *axis->weights);
    if (axis->taps <= RESAMPLE_MAX_HALVES) {
        axis->low = im_alloc(weights, sizeof *axis->low);
        axis->high = im_alloc(weights, sizeof *axis->high);
        if (axis->low == NULL || axis->high == NULL) {
            return false;
        }
    }
    return axis->start != NULL && axis->count != NULL && axis->weights != NULL;
}

bool resample_axis_init(resample_axis *axis, uint32_t in_size, float box0, float box1,
                        uint32_t out_size, uint32_t first, uint32_t n, im_resample filter)
{
    const filter_row *row = &filters[filter];
    axis_shape shape = {.origin = (double)box0, .in_size = in_size};
    shape.scale = (double)(box1 - box0) / out_size;
    double stretched = shape.scale < 1.0 ? 1.0 : shape.scale;
    shape.support = row->support * stretched;
    shape.stretch = 1.0 / stretched;
    memset(axis, 0, sizeof *axis);
    axis->n = n;
    axis->taps = ((uint32_t)ceil(shape.support) * 2 + 1 + 3) / 4 * 4;
    double *w = im_alloc(axis->taps, sizeof *w);
    if (w == NULL || !axis_alloc(axis)) {
        im_free(w);
        resample_axis_clear(axis);
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        axis->count[i] = weigh(&shape, row, first + i, w, &axis->start[i]);
        for (uint32_t k = 0; k < axis->count[i]; k++) {
            axis->weights[(size_t)i * axis->taps + k] = to_fixed(w[k]);
        }
    }
    if (axis->low != NULL) {
        split_halves(axis);
    }
    im_free(w);
    return true;
}

void resample_axis_clear(resample_axis *axis)
{
    im_free(axis->start);
    im_free(axis->count);
    im_free(axis->weights);
    im_free(axis->low);
    im_free(axis->high);
    memset(axis, 0, sizeof *axis);
}

static uint8_t to_byte(int32_t sum)
{
    int32_t value = sum >> RESAMPLE_BITS; /* arithmetic shift: floor, as Pillow */
    return value < 0 ? 0 : value > 255 ? 255 : (uint8_t)value;
}

void resample_across_plain(const uint8_t *row, const uint8_t *end, const resample_axis *axis,
                           uint8_t *out)
{
    (void)end;
    for (uint32_t i = 0; i < axis->n; i++) {
        const int32_t *w = axis->weights + (size_t)i * axis->taps;
        const uint8_t *p = row + (size_t)axis->start[i] * 3;
        int32_t sum[3] = {1 << (RESAMPLE_BITS - 1), 1 << (RESAMPLE_BITS - 1),
                          1 << (RESAMPLE_BITS - 1)};
        for (uint32_t k = 0; k < axis->count[i]; k++, p += 3) {
            sum[0] += p[0] * w[k];
            sum[1] += p[1] * w[k];
            sum[2] += p[2] * w[k];
        }
        for (size_t c = 0; c < 3; c++) {
            out[(size_t)i * 3 + c] = to_byte(sum[c]);
        }
    }
}

void resample_down_plain(const uint8_t *rows, size_t row_bytes, const resample_axis *axis,
                         uint32_t i, uint8_t *out)
{
    const int32_t *w = axis->weights + (size_t)i * axis->taps;
    const uint8_t *first = rows + axis->start[i] * row_bytes;
    for (size_t x = 0; x < row_bytes; x++) {
        int32_t sum = 1 << (RESAMPLE_BITS - 1);
        for (uint32_t k = 0; k < axis->count[i]; k++) {
            sum += first[k * row_bytes + x] * w[k];
        }
        out[x] = to_byte(sum);
    }
}

const resample_kernels resample_plain = {resample_across_plain, resample_down_plain};

/* Rows of the input that the window's outputs need: [*out_first, returned end). */
static uint32_t rows_needed(const resample_axis *down, uint32_t *out_first)
{
    uint32_t last = down->n - 1;
    *out_first = down->start[0];
    return down->start[last] + down->count[last];
}

static im_code run_passes(const im_image *image, const resample_job *job,
                          const resample_kernels *kernels, const resample_axis *across,
                          resample_axis *down, im_error *err)
{
    uint32_t first = 0;
    uint32_t end_row = rows_needed(down, &first);
    size_t row_bytes = (size_t)across->n * 3;
    size_t in_bytes = (size_t)image->width * 3;
    const uint8_t *end = image->rgb + in_bytes * image->height;
    uint8_t *between = im_alloc(end_row - first, row_bytes);
    if (between == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "could not get memory to resize a picture");
    }
    for (uint32_t y = first; y < end_row; y++) {
        kernels->across(image->rgb + y * in_bytes, end, across, between + (y - first) * row_bytes);
    }
    for (uint32_t i = 0; i < down->n; i++) {
        down->start[i] -= first;
        kernels->down(between, row_bytes, down, i, job->out + i * job->out_pitch);
    }
    im_free(between);
    return IM_OK;
}

/* Everything about the box and the sides that would make the arithmetic meaningless. */
static im_code check_job(const im_image *image, const resample_job *job, im_error *err)
{
    bool finite =
        isfinite(job->x) && isfinite(job->y) && isfinite(job->width) && isfinite(job->height);
    double right = job->x + job->width;
    double bottom = job->y + job->height;
    if (!finite || job->x < 0.0 || job->y < 0.0 || !(job->width > 0.0) || !(job->height > 0.0) ||
        right > image->width || bottom > image->height) {
        return im_fail_as(err, IM_REASON_QUERY_BOX,
                          "box %gx%g at (%g, %g) does not lie inside the picture of %ux%u",
                          job->width, job->height, job->x, job->y, image->width, image->height);
    }
    if (job->n_x == 0 || job->n_y == 0) {
        return im_fail(err, IM_ERR_INVALID, "cannot resize a picture to %ux%u pixels", job->n_x,
                       job->n_y);
    }
    if (job->filter != IM_RESAMPLE_BILINEAR && job->filter != IM_RESAMPLE_BICUBIC &&
        job->filter != IM_RESAMPLE_LANCZOS) {
        return im_fail(err, IM_ERR_UNSUPPORTED,
                       "resample filter %d is not handled, expected 1, 2 or 3 (lanczos, bilinear, "
                       "bicubic)",
                       (int)job->filter);
    }
    return IM_OK;
}

im_code resample_run(const im_image *image, const resample_job *job,
                     const resample_kernels *kernels, im_error *err)
{
    resample_axis across = {0};
    resample_axis down = {0};
    im_code rc = check_job(image, job, err);
    if (rc != IM_OK) {
        return rc;
    }
    /* Pillow keeps the box in single precision */
    if (!resample_axis_init(&across, image->width, (float)job->x, (float)(job->x + job->width),
                            job->out_width, job->first_x, job->n_x, job->filter) ||
        !resample_axis_init(&down, image->height, (float)job->y, (float)(job->y + job->height),
                            job->out_height, job->first_y, job->n_y, job->filter)) {
        rc = im_fail(err, IM_ERR_NOMEM, "could not get memory to resize a picture");
        goto out;
    }
    rc = run_passes(image, job, kernels, &across, &down, err);
out:
    resample_axis_clear(&across);
    resample_axis_clear(&down);
    return rc;
}
