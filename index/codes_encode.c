/* index/codes_encode.c — the codes of one rotated row: the maths of both files. */
#include "base/base.h"
#include "index/codes_internal.h"
#include "index/codes_kernels_internal.h"
#include <math.h>
#include <string.h>

#define CODE_LIMIT 127

static float largest(const float *values, size_t n)
{
    float most = 0;
    for (size_t i = 0; i < n; i++) {
        most = fabsf(values[i]) > most ? fabsf(values[i]) : most;
    }
    return most;
}

/* The next float up: a bound that was rounded is still a bound. */
static float rounded_up(double value)
{
    return nextafterf((float)value, INFINITY);
}

void codes_encode_i8(const float *rotated, size_t padded, double slack, uint8_t *codes,
                     codes_numbers *out)
{
    float scale = largest(rotated, padded) / CODE_LIMIT;
    float inverse = scale > 0 ? 1 / scale : 0;
    double sum = 0;
    double upper_sum = 0;
    double upper_size = 0;
    if (!isfinite(inverse)) { /* a row that is its mean, nearly: all zeros, and the bound says so */
        scale = 0;
        inverse = 0;
    }
    for (size_t i = 0; i < padded; i++) {
        long code = lrintf(rotated[i] * inverse);
        code = IM_MIN(IM_MAX(code, -CODE_LIMIT), CODE_LIMIT);
        double off = (double)rotated[i] - (double)scale * (double)code;
        sum += off * off;
        codes[i] = (uint8_t)(code + CODES_ZERO);
        double upper = (double)scale * ((double)(codes[i] & 0xf0) + CODES_HALF - CODES_ZERO);
        upper_sum += ((double)rotated[i] - upper) * ((double)rotated[i] - upper);
        upper_size += upper * upper;
    }
    out->scale = scale;
    out->upper_bound = rounded_up(sqrt(upper_sum) * (1 + 1e-9) + slack);
    out->size = rounded_up(sqrt(upper_size) * (1 + 1e-9));
    out->bound = rounded_up(sqrt(sum) * (1 + 1e-9) + slack);
}

void codes_split(const uint8_t *codes, size_t padded, uint8_t *upper, uint8_t *lower)
{
    for (size_t i = 0; i < padded; i += 64) {
        for (size_t j = 0; j < 32; j++) {
            unsigned a = codes[i + j];
            unsigned b = codes[i + j + 32];
            upper[i / 2 + j] = (uint8_t)(a >> 4 | (b & 0xf0));
            lower[i / 2 + j] = (uint8_t)((a & 0x0f) | (b & 0x0f) << 4);
        }
    }
}

/* The code stands for the vector x' of ±1/√D. With c = cos(x, x'), <q, x>/|x| is <q, x'>/c plus
 * <q, o>·√(1-c²)/c for an o at right angles to x, of which nothing is known: its share has the
 * variance 1/(D-1) for a unit q (RaBitQ, Gao and Long 2024, theorem 3.2). */
void codes_encode_b1(const float *rotated, size_t padded, uint8_t *codes, float *out_factor,
                     float *out_error)
{
    double size = 0;
    double squares = 0;
    memset(codes, 0, padded / 8);
    for (size_t i = 0; i < padded; i++) {
        double value = (double)rotated[i];
        size += fabs(value);
        squares += value * value;
        codes[i / 8] = (uint8_t)(codes[i / 8] | (unsigned)(value >= 0) << (i % 8));
    }
    *out_factor = 0;
    *out_error = 0;
    if (size > 0 && squares > 0) {
        double dim = (double)padded;
        double share = size * size / (squares * dim); /* c² */
        double rest = share < 1 ? 1 - share : 0;
        *out_factor = (float)(squares / size);
        *out_error = (float)sqrt(squares * rest / (share * (dim - 1)));
    }
}
