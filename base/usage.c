/* base/usage.c — memory that the process has, and how much it may have. */
#include "base/cgroup_internal.h"
#include "base/cpu_internal.h"
#include "base/memory.h"
#include "base/size.h"
#include "base/text.h"
#include <fcntl.h>
#include <malloc.h>
#include <string.h>
#include <unistd.h>

#define KEEP_BYTES (1 << 20)

/* "RssAnon:\t    1234 kB" */
static uint64_t kilobytes_of(const char *status, const char *name)
{
    char digits[24];
    uint64_t value = 0;
    const char *line = strstr(status, name);
    if (line == NULL) {
        return 0;
    }
    line += strlen(name);
    line += strspn(line, " \t");
    size_t n = strspn(line, "0123456789");
    if (n >= sizeof(digits)) {
        return 0;
    }
    memcpy(digits, line, n);
    digits[n] = '\0';
    return im_parse_u64(digits, 0, UINT64_MAX >> 10, &value) ? value << 10 : 0;
}

/* The kernel's file, by itself: whoever tests failing reads does not mean this one. */
im_memory_usage im_memory_used(void)
{
    char text[8192];
    size_t used = 0;
    ssize_t n = 1;
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && n > 0 && used < sizeof(text) - 1) {
        n = read(fd, text + used, sizeof(text) - 1 - used);
        used += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    text[used] = '\0';
    return (im_memory_usage){.private_bytes = kilobytes_of(text, "RssAnon:"),
                             .mapped_bytes = kilobytes_of(text, "RssFile:")};
}

/* "max" is none; v1 says so with a number near 2^63. */
static uint64_t bytes_in(const char *root, const char *group, const char *file)
{
    char text[CGROUP_TEXT];
    uint64_t bytes = 0;
    return cgroup_read(root, group, file, text) && im_parse_u64(text, 1, UINT64_C(1) << 62, &bytes)
               ? bytes
               : CGROUP_NONE;
}

static uint64_t limit_v2(const char *root, const char *group)
{
    return bytes_in(root, group, "memory.max");
}

static uint64_t limit_v1(const char *root, const char *group)
{
    return bytes_in(root, group, "memory.limit_in_bytes");
}

uint64_t memory_limit(const char *membership, const char *root)
{
    static const cgroup_controller memory = {"memory", limit_v2, limit_v1};
    return cgroup_least(membership, root, &memory);
}

uint64_t im_memory_limit(void)
{
    return memory_limit("/proc/self/cgroup", "/sys/fs/cgroup");
}

void im_memory_return_freed(void)
{
#if defined(__GLIBC__)
    (void)mallopt(M_MMAP_THRESHOLD, KEEP_BYTES); /* it would grow to 32 MiB with what is freed */
    (void)mallopt(M_TRIM_THRESHOLD, 2 * KEEP_BYTES);
    (void)mallopt(M_ARENA_MAX, 2);
#endif
}
