/* encoder/kernel.c — which instruction set a process uses. */
#include "base/base.h"
#include "base/pool.h"
#include "encoder/kernel_internal.h"

#include <math.h>

bool kernel_runs(const kernel *k)
{
    im_cpu cpu = im_cpu_features();
    if (k == &kernel_avx512_bf16) {
        return cpu.avx512_bf16 && cpu.avx512_vnni && k->panel != NULL;
    }
    if (k == &kernel_avx512_vnni) {
        return cpu.avx512_vnni && k->panel != NULL;
    }
    if (k == &kernel_avx512) {
        return cpu.avx512;
    }
    return k == &kernel_avx2 ? cpu.avx2_fma : true;
}

im_code kernel_choose(const kernel **out, im_error *err)
{
    static const kernel *const all[] = {&kernel_avx512_bf16, &kernel_avx512_vnni, &kernel_avx512,
                                        &kernel_avx2, &kernel_portable};
    const char *wanted = getenv("IMAGO_KERNEL");
    for (size_t i = 0; i < IM_COUNT(all); i++) {
        bool named = wanted != NULL && wanted[0] != '\0';
        if (named ? strcmp(wanted, all[i]->name) == 0 : kernel_runs(all[i])) {
            if (!kernel_runs(all[i])) {
                im_code rc =
                    im_fail(err, IM_ERR_UNSUPPORTED,
                            "IMAGO_KERNEL is '%s', which this processor cannot run", wanted);
                im_hint(err, "leave IMAGO_KERNEL out: the best set is chosen by itself");
                return rc;
            }
            *out = all[i];
            return IM_OK;
        }
    }
    im_code rc =
        im_fail(err, IM_ERR_INVALID,
                "IMAGO_KERNEL is '%s', expected avx512_bf16, avx512_vnni, avx512, avx2 or portable",
                wanted);
    im_hint(err, "leave IMAGO_KERNEL out: the best set is chosen by itself");
    return rc;
}

bool kernel_full_rate_bf16(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    return im_cpu_features().avx512_bf16 && __builtin_cpu_is("amd") != 0;
#else
    return false;
#endif
}

/* Panels of keys and values, then scores, rounded rows and results of the highest register tile. */
size_t kernel_head_floats(size_t length, size_t d)
{
    size_t keys = (length + PANEL - 1) / PANEL * PANEL;
    size_t depth = d + d % 2;
    size_t wide = (d + PANEL - 1) / PANEL * PANEL;
    return keys * (depth + wide) + KERNEL_MOST_ROWS * (2 * keys + depth + wide);
}

void kernel_pack_row8(const kernel *k, int8_t *panel, size_t column, const float *row, size_t depth)
{
    size_t group = k->int8_group;
    size_t codes = kernel_panel8_codes(k, depth);
    float *scales = (float *)(void *)(panel + codes);
    int32_t *sums = (int32_t *)(void *)(scales + PANEL);
    float most = 0;
    bool finite = true;
    int32_t sum = 0;
    for (size_t i = 0; i < depth; i++) {
        finite = finite && isfinite(row[i]);
        most = fabsf(row[i]) > most ? fabsf(row[i]) : most;
    }
    float scale = finite ? most / 127.0f : NAN;
    float inverse = scale > 1e-30f ? 1.0f / scale : 0;
    for (size_t i = 0; i * PANEL < codes; i++) {
        long code = i < depth && inverse > 0 ? lrintf(row[i] * inverse) : 0;
        code = IM_MAX(IM_MIN(code, 127L), -127L);
        panel[(i / group * PANEL + column) * group + i % group] = (int8_t)code;
        sum += (int32_t)code;
    }
    scales[column] = isnan(scale) || inverse > 0 ? scale : 0;
    sums[column] = sum;
}
