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
    const float *in = (bf16 ? (const float *)w->in16 : w->in) + r * w->in_pitch;
    double sum = 0;
    for (size_t k = 0; k < w->k; k++) {
        sum +=
            (double)in[k] * (double)(bf16 ? bf16_value(w->panel16[(k / 2 * PANEL + c) * 2 + k % 2])
                                          : w->panel[k * PANEL + c]);
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
            w->out[r * w->out_pitch + c] = (float)sum;
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

static void plain_narrow(const float *in, size_t pitch, size_t rows, size_t k, void *out)
{
    for (size_t r = 0; r < rows; r++) {
        float *to = (float *)out + r * pitch;
        for (size_t i = 0; i < k + k % 2; i++) {
            to[i] = i < k ? bf16_value(bf16_of(in[r * pitch + i])) : 0;
        }
    }
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
            dot += (double)w->q[i * w->pitch + c] * (double)w->k[j * w->pitch + c];
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
            sum += (double)scores[j] / total * (double)w->v[j * w->pitch + c];
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

const kernel kernel_plain = {"plain",       plain_panel, plain_panel_bf16, plain_narrow,
                             sizeof(float), plain_head,  plain_norm};
