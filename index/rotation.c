/* index/rotation.c — see rotation_internal.h. Plain C: every step works on each number alone, so
 * that the compiler's vectors give the same result to the last bit on every machine. */
#include "base/base.h"
#include "index/rotation_internal.h"
#include <math.h>
#include <stdint.h>
#include <string.h>

#define SEED UINT64_C(0x696d61676f726f74)

/* splitmix64 */
static uint64_t next_bits(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

bool index_rotation_init(index_rotation *rotation, size_t dim)
{
    uint64_t seed = SEED;
    unsigned stages = 2; /* the factor, and one to spare */
    memset(rotation, 0, sizeof(*rotation));
    rotation->dim = dim;
    rotation->padded = index_rotated_dim(dim);
    rotation->size = 1;
    while (2 * rotation->size <= rotation->padded) {
        rotation->size *= 2;
        stages++;
    }
    rotation->rounds = rotation->size == rotation->padded ? 3 : 4;
    rotation->factors = im_alloc_aligned(rotation->rounds * rotation->size, sizeof(float));
    if (rotation->factors == NULL) {
        return false;
    }
    float one = (float)(1 / sqrt((double)rotation->size));
    for (size_t i = 0; i < rotation->rounds * rotation->size; i++) {
        rotation->factors[i] = (next_bits(&seed) & 1) != 0 ? one : -one;
    }
    /* each stage rounds each number once: 2^-24 of its size; twice that here */
    rotation->error = (double)(stages * rotation->rounds) * ldexp(1, -23);
    return true;
}

void index_rotation_clear(index_rotation *rotation)
{
    im_free(rotation->factors);
    rotation->factors = NULL;
}

/* One stage: sums and differences of numbers that are `half` apart. */
static void butterflies(float *restrict low, float *restrict high, size_t half)
{
    for (size_t i = 0; i < half; i++) {
        float a = low[i];
        float b = high[i];
        low[i] = a + b;
        high[i] = a - b;
    }
}

/* The first three stages, in registers: eight numbers at a time. */
static void eights(float *x, size_t n)
{
    for (size_t i = 0; i < n; i += 8) {
        float a[8];
        float b[8];
        for (size_t j = 0; j < 4; j++) {
            a[j] = x[i + j] + x[i + j + 4];
            a[j + 4] = x[i + j] - x[i + j + 4];
        }
        for (size_t j = 0; j < 8; j++) {
            b[j] = (j & 2) == 0 ? a[j] + a[j + 2] : a[j - 2] - a[j];
        }
        for (size_t j = 0; j < 8; j += 2) {
            x[i + j] = b[j] + b[j + 1];
            x[i + j + 1] = b[j] - b[j + 1];
        }
    }
}

void index_rotate(const index_rotation *rotation, float *vector)
{
    size_t n = rotation->size; /* >= 64 */
    for (size_t round = 0; round < rotation->rounds; round++) {
        const float *factors = rotation->factors + round * n;
        float *x = round % 2 == 0 ? vector : vector + (rotation->padded - n);
        for (size_t i = 0; i < n; i++) {
            x[i] *= factors[i];
        }
        eights(x, n);
        for (size_t half = 8; half < n; half *= 2) {
            for (size_t i = 0; i < n; i += 2 * half) {
                butterflies(x + i, x + i + half, half);
            }
        }
    }
}
