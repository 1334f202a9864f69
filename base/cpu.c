/* base/cpu.c — how many processors are ours, and what they can do. */
#include "base/cpu_internal.h"
#include "base/pool.h"
#include "base/size.h"
#include "base/text.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define SMALL_FILE 4096
#define NO_QUOTA SIZE_MAX

/* Reads the beginning of a small kernel file as a string; false when it is not there. */
static bool read_small(const char *path, char out[SMALL_FILE])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    size_t used = 0;
    ssize_t n = 1;
    while (n > 0 && used < SMALL_FILE - 1) {
        n = read(fd, out + used, SMALL_FILE - 1 - used);
        used += n > 0 ? (size_t)n : 0;
    }
    (void)close(fd);
    out[used] = '\0';
    return n >= 0;
}

/* Reads root + group + "/" + file. */
static bool read_in_group(const char *root, const char *group, const char *file,
                          char out[SMALL_FILE])
{
    char path[2 * SMALL_FILE];
    int length = snprintf(path, sizeof path, "%s%s/%s", root, group, file);
    return length > 0 && (size_t)length < sizeof path && read_small(path, out);
}

/* quota of period, rounded up; text that is not two positive numbers is no quota ("max", "-1"). */
static size_t quota_of(const char *quota_text, const char *period_text)
{
    uint64_t quota = 0;
    uint64_t period = 0;
    if (!im_parse_u64(quota_text, 1, INT64_MAX, &quota) ||
        !im_parse_u64(period_text, 1, INT64_MAX, &period)) {
        return NO_QUOTA;
    }
    return (size_t)(quota / period + (quota % period != 0));
}

static void cut_line(char *text)
{
    text[strcspn(text, "\n")] = '\0';
}

/* cgroup v2: one file, "max 100000" or "150000 100000". */
static size_t quota_v2(const char *root, const char *group)
{
    char text[SMALL_FILE];
    if (!read_in_group(root, group, "cpu.max", text)) {
        return NO_QUOTA;
    }
    cut_line(text);
    char *blank = strchr(text, ' ');
    if (blank == NULL) {
        return NO_QUOTA;
    }
    *blank = '\0';
    return quota_of(text, blank + 1);
}

/* cgroup v1: two files, quota -1 for none. */
static size_t quota_v1(const char *root, const char *group)
{
    char quota[SMALL_FILE];
    char period[SMALL_FILE];
    if (!read_in_group(root, group, "cpu.cfs_quota_us", quota) ||
        !read_in_group(root, group, "cpu.cfs_period_us", period)) {
        return NO_QUOTA;
    }
    cut_line(quota);
    cut_line(period);
    return quota_of(quota, period);
}

/* The least quota of group and its parents up to the root of the hierarchy. A container may see a
 * group path that exists only outside; its own limits are then at the root. */
static size_t least_quota(size_t (*read_quota)(const char *, const char *), const char *root,
                          const char *group)
{
    char path[SMALL_FILE];
    size_t least = NO_QUOTA;
    int length = snprintf(path, sizeof path, "%s", group);
    if (length < 0 || (size_t)length >= sizeof path) {
        path[0] = '\0';
    }
    for (;;) {
        size_t quota = read_quota(root, path);
        least = IM_MIN(least, quota);
        char *slash = strrchr(path, '/');
        if (slash == NULL) {
            return least;
        }
        *slash = '\0';
    }
}

/* True when the comma-separated list names "cpu". */
static bool names_cpu(const char *list)
{
    while (*list != '\0') {
        size_t length = strcspn(list, ",");
        if (length == 3 && memcmp(list, "cpu", 3) == 0) {
            return true;
        }
        list += length + (list[length] == ',');
    }
    return false;
}

/* One line "id:controllers:path" of /proc/self/cgroup; v2 is "0::path". */
static size_t quota_of_line(char *line, const char *root)
{
    char *controllers = strchr(line, ':');
    char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
    if (group == NULL) {
        return NO_QUOTA;
    }
    *group++ = '\0';
    controllers++;
    if (*controllers == '\0') {
        return least_quota(quota_v2, root, group);
    }
    if (!names_cpu(controllers)) {
        return NO_QUOTA;
    }
    char mount[SMALL_FILE];
    size_t least = NO_QUOTA;
    const char *const folders[] = {controllers, "cpu"};
    for (size_t i = 0; i < IM_COUNT(folders); i++) {
        int length = snprintf(mount, sizeof mount, "%s/%s", root, folders[i]);
        if (length > 0 && (size_t)length < sizeof mount) {
            size_t quota = least_quota(quota_v1, mount, group);
            least = IM_MIN(least, quota);
        }
    }
    return least;
}

size_t cpu_quota(const char *membership, const char *root)
{
    char text[SMALL_FILE];
    size_t least = NO_QUOTA;
    if (!read_small(membership, text)) {
        return NO_QUOTA;
    }
    for (char *line = text; *line != '\0';) {
        char *end = line + strcspn(line, "\n");
        bool more = *end != '\0';
        *end = '\0';
        size_t quota = quota_of_line(line, root);
        least = IM_MIN(least, quota);
        line = more ? end + 1 : end;
    }
    return least;
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
#else
static void find_features(void)
{
}
#endif

im_cpu im_cpu_features(void)
{
    (void)pthread_once(&features_once, find_features);
    return features;
}
