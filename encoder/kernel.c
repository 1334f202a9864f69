/* encoder/kernel.c — which instruction set a process uses. */
#include "base/base.h"
#include "base/pool.h"
#include "encoder/kernel_internal.h"

bool kernel_runs(const kernel *k)
{
    im_cpu cpu = im_cpu_features();
    if (k == &kernel_avx512_bf16) {
        return cpu.avx512_bf16 && k->panel != NULL;
    }
    if (k == &kernel_avx512) {
        return cpu.avx512;
    }
    return k == &kernel_avx2 ? cpu.avx2_fma : true;
}

im_code kernel_choose(const kernel **out, im_error *err)
{
    static const kernel *const all[] = {&kernel_avx512_bf16, &kernel_avx512, &kernel_avx2,
                                        &kernel_portable};
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
                "IMAGO_KERNEL is '%s', expected avx512_bf16, avx512, avx2 or portable", wanted);
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

size_t kernel_head_floats(size_t length, size_t d)
{
    size_t padded = (length + 15) / 16 * 16;
    return d * padded + padded + 16;
}
