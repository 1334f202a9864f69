/* encoder/kernel_plain.c — the maths as one would write it down: double sums, libm, no layout
 * tricks. Never chosen for work; the oracle of the tests. */
#include "base/base.h"
#include "encoder/kernel_internal.h"

#include <math.h>

static double activate(double x, kernel_activation activation)
{
    switch (activation) {
    case ACTIVATION_NONE:
        return x;
    case ACTIVATION_GELU: /* 0.5 x (1 + erf(x / sqrt 2)) */
        return 0.5 * x * (1 + erf(x * 0.70710678118654752440));
    case ACTIVATION_QUICK_GELU:
        return x / (1 + exp(-1.702 * x));
    case ACTIVATION_GELU_TANH:
        return 0.5 * x * (1 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
    }
    return x;
}

static double plain_product(const panel_work *w, size_t r, size_t c, bool bf16)
{
    const float *in = (const float *)w->in + r * kernel_units(w->k, 1, bf16);
    const float *panel = w->panel;
    const uint16_t *panel16 = w->panel;
    double sum = 0;
    for (size_t k = 0; k < w->k; k++) {
        sum += (double)in[k] * (double)(bf16 ? bf16_value(panel16[(k / 2 * PANEL + c) * 2 + k % 2])
                                             : panel[k * PANEL + c]);
    }
    return sum;
}

static void plain_rows(const panel_work *w, bool bf16)
{
    for (size_t r = 0; r < w->rows; r++) {
        for (size_t c = 0; c < w->columns; c++) {
            double sum = plain_product(w, r, c, bf16);
            sum += w->bias != NULL ? (double)w->bias[c] : 0;
            sum = activate(sum, w->activation);
            sum += w->residual != NULL ? (double)w->residual[r * w->residual_pitch + c] : 0;
            if (w->laid != NULL) {
                ((float *)w->laid)[r * w->laid_units + w->column + c] =
                    bf16 ? bf16_value(bf16_of((float)sum)) : (float)sum;
            } else {
                w->out[r * w->out_pitch + c] = (float)sum;
            }
        }
    }
}

static void plain_panel(const panel_work *w)
{
    plain_rows(w, false);
}

static void plain_panel_bf16(const panel_work *w)
{
    plain_rows(w, true);
}

static void plain_panel_int8(const panel_work *w)
{
    size_t pitch = (w->k + 3) / 4 * 4;
    const uint8_t *in = w->in;
    const int8_t *codes = w->panel;
    const float *scales = (const float *)(const void *)(codes + pitch * PANEL);
    for (size_t r = 0; r < w->rows; r++) {
        for (size_t c = 0; c < w->columns; c++) {
            int64_t sum = 0;
            for (size_t k = 0; k < w->k; k++) {
                sum += ((int64_t)in[r * pitch + k] - w->scales[r].zero) *
                       codes[(k / 4 * PANEL + c) * 4 + k % 4];
            }
            double value = (double)sum * (double)w->scales[r].scale * (double)scales[c];
            value += w->bias != NULL ? (double)w->bias[c] : 0;
            value = activate(value, w->activation);
            value += w->residual != NULL ? (double)w->residual[r * w->residual_pitch + c] : 0;
            w->out[r * w->out_pitch + c] = (float)value;
        }
    }
}

/* ---- laid rows: tiles of one row, so they lie one behind the other ---- */

static void plain_lay(const lay_work *w)
{
    for (size_t r = 0; r < w->rows; r++) {
        memcpy((float *)w->out + r * w->k, w->in + r * w->in_pitch, w->k * sizeof(float));
    }
}

static void plain_lay_bf16(const lay_work *w)
{
    size_t units = kernel_units(w->k, 1, true);
    for (size_t r = 0; r < w->rows; r++) {
        float *to = (float *)w->out + r * units;
        for (size_t i = 0; i < units; i++) {
            to[i] = i < w->k ? bf16_value(bf16_of(w->in[r * w->in_pitch + i])) : 0;
        }
    }
}

static void plain_lay_int8(const lay_work *w)
{
    size_t pitch = (w->k + 3) / 4 * 4;
    for (size_t r = 0; r < w->rows; r++) {
        const float *x = w->in + r * w->in_pitch;
        uint8_t *to = (uint8_t *)w->out + r * pitch;
        float low = 0;
        float high = 0;
        bool finite = true;
        memset(to, 0, pitch);
        for (size_t i = 0; i < w->k; i++) {
            finite = finite && isfinite(x[i]);
            low = fminf(low, x[i]);
            high = fmaxf(high, x[i]);
        }
        float scale = high / 255.0f - low / 255.0f;
        w->scales[r] = (row_scale){finite ? 0 : NAN, 0};
        if (!finite || scale < 1e-30f) {
            continue;
        }
        float inverse = 1.0f / scale;
        w->scales[r] = (row_scale){scale, -(int32_t)lrintf(low * inverse)};
        for (size_t i = 0; i < pitch; i++) {
            long code = (i < w->k ? lrintf(x[i] * inverse) : 0) + w->scales[r].zero;
            to[i] = (uint8_t)IM_MAX(IM_MIN(code, 255L), 0L);
        }
    }
}

/* A factor of attention: rounded for bf16. */
static double factor_of(const head_work *w, double x)
{
    return w->bf16 ? (double)bf16_value(bf16_of((float)x)) : x;
}

static void plain_row(const head_work *w, size_t i, float *out)
{
    size_t n = w->causal ? i + 1 : w->length;
    double scale = 1.0 / sqrt((double)w->d);
    double largest = (double)-INFINITY;
    double total = 0;
    float *scores = w->scratch;
    for (size_t j = 0; j < n; j++) {
        double dot = 0;
        for (size_t c = 0; c < w->d; c++) {
            dot += factor_of(w, (double)w->q[i * w->pitch + c]) *
                   factor_of(w, (double)w->k[j * w->pitch + c]);
        }
        scores[j] = (float)(dot * scale);
        largest = fmax(largest, (double)scores[j]);
    }
    for (size_t j = 0; j < n; j++) {
        scores[j] = (float)exp((double)scores[j] - largest);
        total += (double)scores[j];
    }
    for (size_t c = 0; c < w->d; c++) {
        double sum = 0;
        for (size_t j = 0; j < n; j++) {
            sum += factor_of(w, (double)scores[j]) / total *
                   factor_of(w, (double)w->v[j * w->pitch + c]);
        }
        out[c] = (float)sum;
    }
}

static void plain_head(const head_work *w)
{
    if (w->only != SIZE_MAX) {
        plain_row(w, w->only, w->out);
        return;
    }
    for (size_t i = 0; i < w->length; i++) {
        plain_row(w, i, w->out + i * w->out_pitch);
    }
}

static void plain_norm(const float *in, size_t in_pitch, size_t rows, size_t width,
                       const float *weight, const float *bias, float eps, float *out,
                       size_t out_pitch)
{
    for (size_t r = 0; r < rows; r++) {
        const float *x = in + r * in_pitch;
        double mean = 0;
        double variance = 0;
        for (size_t i = 0; i < width; i++) {
            mean += (double)x[i] / (double)width;
        }
        for (size_t i = 0; i < width; i++) {
            variance += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)width;
        }
        for (size_t i = 0; i < width; i++) {
            out[r * out_pitch + i] =
                (float)(((double)x[i] - mean) / sqrt(variance + (double)eps) * (double)weight[i] +
                        (double)bias[i]);
        }
    }
}

const kernel kernel_plain = {.name = "plain",
                             .tile_rows = 1,
                             .bf16_group = 1,
                             .int8_group = 4,
                             .lay = plain_lay,
                             .lay_bf16 = plain_lay_bf16,
                             .lay_int8 = plain_lay_int8,
                             .panel = plain_panel,
                             .panel_bf16 = plain_panel_bf16,
                             .panel_int8 = plain_panel_int8,
                             .head = plain_head,
                             .norm = plain_norm};
