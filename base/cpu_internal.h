/* base/cpu_internal.h — for the tests of cpu.c and usage.c. */
#ifndef IM_BASE_CPU_INTERNAL_H
#define IM_BASE_CPU_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

/** Processors that the CPU quotas of the cgroups listed in membership (as /proc/self/cgroup) and
 * of their parents allow, rounded up; SIZE_MAX when there is none. root is where cgroups are
 * mounted. */
size_t cpu_quota(const char *membership, const char *root);
/** Bytes of memory that they allow; UINT64_MAX when there is no limit. */
uint64_t memory_limit(const char *membership, const char *root);

#endif
