/* base/cgroup_internal.h — limits that cgroups set (v1 and v2), for cpu.c and usage.c. */
#ifndef IM_BASE_CGROUP_INTERNAL_H
#define IM_BASE_CGROUP_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#define CGROUP_TEXT 4096
#define CGROUP_NONE UINT64_MAX

/** The limit of one group, CGROUP_NONE when it sets none. */
typedef uint64_t (*cgroup_limit)(const char *root, const char *group);

typedef struct cgroup_controller {
    const char *name; /* as v1 lists it: "cpu" */
    cgroup_limit v2, v1;
} cgroup_controller;

/** The first line of root + group + "/" + file; false when it is not there. */
bool cgroup_read(const char *root, const char *group, const char *file, char out[CGROUP_TEXT]);
/** The least limit of the groups listed in membership (as /proc/self/cgroup) and of their parents.
 * root is where cgroups are mounted. */
uint64_t cgroup_least(const char *membership, const char *root, const cgroup_controller *what);

#endif
