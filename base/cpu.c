/* base/cpu.c — how many processors are ours, and what they can do. */
#include "base/cgroup_internal.h"
#include "base/cpu_internal.h"
#include "base/pool.h"
#include "base/size.h"
#include "base/text.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

/* quota of period, rounded up; text that is not two positive numbers is no quota ("max", "-1"). */
static uint64_t quota_of(const char *quota_text, const char *period_text)
{
    uint64_t quota = 0;
    uint64_t period = 0;
    if (!im_parse_u64(quota_text, 1, INT64_MAX, &quota) ||
        !im_parse_u64(period_text, 1, INT64_MAX, &period)) {
        return CGROUP_NONE;
    }
    return quota / period + (quota % period != 0);
}

/* cgroup v2: one file, "max 100000" or "150000 100000". */
static uint64_t quota_v2(const char *root, const char *group)
{
    char text[CGROUP_TEXT];
    if (!cgroup_read(root, group, "cpu.max", text)) {
        return CGROUP_NONE;
    }
    char *blank = strchr(text, ' ');
    if (blank == NULL) {
        return CGROUP_NONE;
    }
    *blank = '\0';
    return quota_of(text, blank + 1);
}

/* cgroup v1: two files, quota -1 for none. */
static uint64_t quota_v1(const char *root, const char *group)
{
    char quota[CGROUP_TEXT];
    char period[CGROUP_TEXT];
    if (!cgroup_read(root, group, "cpu.cfs_quota_us", quota) ||
        !cgroup_read(root, group, "cpu.cfs_period_us", period)) {
        return CGROUP_NONE;
    }
    return quota_of(quota, period);
}

size_t cpu_quota(const char *membership, const char *root)
{
    static const cgroup_controller cpu = {"cpu", quota_v2, quota_v1};
    uint64_t least = cgroup_least(membership, root, &cpu);
    return least < SIZE_MAX ? (size_t)least : SIZE_MAX;
}

/* Processors of the affinity mask; 0 when it cannot be read. The kernel's mask may be wider than
 * the fixed cpu_set_t. */
static size_t affinity_count(void)
{
    for (size_t n = CPU_SETSIZE; n <= (size_t)1 << 20; n *= 4) {
        cpu_set_t *set = CPU_ALLOC(n);
        if (set == NULL) {
            return 0;
        }
        size_t bytes = CPU_ALLOC_SIZE(n);
        int got = sched_getaffinity(0, bytes, set);
        int failed = errno;
        int count = got == 0 ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (got == 0 || failed != EINVAL) {
            return count > 0 ? (size_t)count : 0;
        }
    }
    return 0;
}

size_t im_cpu_threads(void)
{
    size_t count = affinity_count();
    if (count == 0) {
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        count = online > 0 ? (size_t)online : 1;
    }
    size_t quota = cpu_quota("/proc/self/cgroup", "/sys/fs/cgroup");
    return IM_MAX(IM_MIN(count, quota), (size_t)1);
}

static pthread_once_t features_once = PTHREAD_ONCE_INIT;
static im_cpu features; /* written once, then only read */

#if defined(__x86_64__)
/* __builtin_cpu_supports looks at the saved register state (XCR0) too: a kernel that does not save
 * the AVX-512 registers makes these false. */
static void find_features(void)
{
    __builtin_cpu_init();
    features.sse42 = __builtin_cpu_supports("sse4.2") != 0;
    features.avx2_fma = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
    features.avx512 =
        __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
        __builtin_cpu_supports("avx512dq") != 0 && __builtin_cpu_supports("avx512vl") != 0;
    features.avx512_vnni = features.avx512 && __builtin_cpu_supports("avx512vnni") != 0;
    unsigned eax = 0;
    unsigned ebx = 0;
    unsigned ecx = 0;
    unsigned edx = 0;
    /* clang 14 does not know the name "avx512bf16": leaf 7, subleaf 1, EAX bit 5 */
    if (features.avx512 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0) {
        features.avx512_bf16 = (eax >> 5) & 1u;
    }
}

/* The brand string: leaves 0x80000002 to 4, sixteen bytes each, padded with blanks or NULs. */
void im_cpu_name(char out[IM_CPU_NAME])
{
    char text[49] = {0};
    size_t size = 0;
    for (unsigned leaf = 0; leaf < 3; leaf++) {
        unsigned r[4] = {0};
        if (__get_cpuid(0x80000002u + leaf, &r[0], &r[1], &r[2], &r[3]) == 0) {
            break;
        }
        memcpy(text + (size_t)16 * leaf, r, 16);
    }
    for (const char *at = text; *at != '\0'; at++) { /* single blanks, none at the ends */
        if (*at != ' ' || (size > 0 && out[size - 1] != ' ')) {
            out[size++] = *at;
        }
    }
    size -= size > 0 && out[size - 1] == ' ';
    out[size] = '\0';
    if (size == 0) {
        memcpy(out, "processor", sizeof("processor"));
    }
}
#else
static void find_features(void)
{
}

void im_cpu_name(char out[IM_CPU_NAME])
{
    memcpy(out, "processor", sizeof("processor"));
}
#endif

im_cpu im_cpu_features(void)
{
    (void)pthread_once(&features_once, find_features);
    return features;
}
