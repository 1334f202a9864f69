/* image/resample.c — antialiased resize in two passes, bit for bit as Pillow's Resample.c does it
 * for 8 bits a channel: weights from a filter stretched by the scale, normalised, rounded to 22-bit
 * fixed point; rows first, rounded to 8 bits; then columns. The plain passes here are the statement
 * of the maths and the oracle of the fast ones. */
#include "base/pool.h"
#include "image/resample_internal.h"
#include <math.h>
#include <stdlib.h>

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
    axis->low = im_alloc(weights, sizeof *axis->low);
    axis->high = im_alloc(weights, sizeof *axis->high);
    return axis->start != NULL && axis->count != NULL && axis->weights != NULL &&
           axis->low != NULL && axis->high != NULL;
}

static uint32_t taps_of(double support)
{
    const uint32_t step = RESAMPLE_TAP_STEP;
    return ((uint32_t)ceil(support) * 2 + step) / step * step;
}

uint32_t resample_taps(double box_size, uint32_t out_size, im_resample filter)
{
    double scale = box_size / out_size;
    return taps_of(filters[filter].support * (scale < 1.0 ? 1.0 : scale));
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
    axis->taps = taps_of(shape.support);
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
    split_halves(axis);
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

static void swap_outputs(resample_axis *axis, uint32_t i, uint32_t k)
{
    uint32_t start = axis->start[i];
    uint32_t count = axis->count[i];
    axis->start[i] = axis->start[k];
    axis->count[i] = axis->count[k];
    axis->start[k] = start;
    axis->count[k] = count;
    for (uint32_t t = 0; t < axis->taps; t++) {
        int32_t weight = axis->weights[(size_t)i * axis->taps + t];
        axis->weights[(size_t)i * axis->taps + t] = axis->weights[(size_t)k * axis->taps + t];
        axis->weights[(size_t)k * axis->taps + t] = weight;
    }
}

void resample_axis_reverse(resample_axis *axis)
{
    for (uint32_t i = 0; i < axis->n / 2; i++) {
        swap_outputs(axis, i, axis->n - 1 - i);
    }
    split_halves(axis);
}

void resample_axis_mirror(resample_axis *axis, uint32_t in_size)
{
    for (uint32_t i = 0; i < axis->n; i++) {
        int32_t *w = axis->weights + (size_t)i * axis->taps;
        uint32_t count = axis->count[i];
        axis->start[i] = in_size - axis->start[i] - count;
        for (uint32_t k = 0; k < count / 2; k++) {
            int32_t weight = w[k];
            w[k] = w[count - 1 - k];
            w[count - 1 - k] = weight;
        }
    }
    split_halves(axis);
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
    for (size_t x = 0; x < row_bytes; x++) {
        int32_t sum = 1 << (RESAMPLE_BITS - 1);
        for (uint32_t k = 0; k < axis->count[i]; k++) {
            sum += rows[k * row_bytes + x] * w[k];
        }
        out[x] = to_byte(sum);
    }
}

const resample_kernels resample_plain = {"portable", resample_across_plain, resample_down_plain};

/* The names are those of encoder/: one variable speaks for the process. One that this processor
 * cannot run, or a name that is none, is encoder/'s to refuse. */
resample_kernels resample_fastest(void)
{
    const char *wanted = getenv("IMAGO_KERNEL");
    if (wanted != NULL && strcmp(wanted, resample_plain.name) == 0) {
        return resample_plain;
    }
#if defined(__x86_64__)
    bool narrow = wanted != NULL && strcmp(wanted, resample_avx2.name) == 0;
    if (im_cpu_features().avx512 && !narrow) {
        return resample_avx512;
    }
    if (im_cpu_features().avx2_fma) {
        return resample_avx2;
    }
#endif
    return resample_plain;
}

/* Everything about the box and the sides that would make the arithmetic meaningless. */
im_code resample_check(const im_image *image, const resample_job *job, im_error *err)
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
