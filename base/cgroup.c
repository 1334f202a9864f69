/* base/cgroup.c — the least of a limit over the cgroups that a process is in, and their parents. */
#include "base/cgroup_internal.h"
#include "base/size.h"
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Reads the beginning of a small kernel file as a string; false when it is not there. */
static bool read_small(const char *path, char out[CGROUP_TEXT])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    size_t used = 0;
    ssize_t n = 1;
    while (n > 0 && used < CGROUP_TEXT - 1) {
        n = read(fd, out + used, CGROUP_TEXT - 1 - used);
        used += n > 0 ? (size_t)n : 0;
    }
    (void)close(fd);
    out[used] = '\0';
    return n >= 0;
}

bool cgroup_read(const char *root, const char *group, const char *file, char out[CGROUP_TEXT])
{
    char path[2 * CGROUP_TEXT];
    int length = snprintf(path, sizeof path, "%s%s/%s", root, group, file);
    if (length <= 0 || (size_t)length >= sizeof path || !read_small(path, out)) {
        return false;
    }
    out[strcspn(out, "\n")] = '\0';
    return true;
}

/* The least of group and its parents up to the root of the hierarchy. A container may see a group
 * path that exists only outside; its own limits are then at the root. */
static uint64_t least_above(cgroup_limit limit, const char *root, const char *group)
{
    char path[CGROUP_TEXT];
    uint64_t least = CGROUP_NONE;
    int length = snprintf(path, sizeof path, "%s", group);
    if (length < 0 || (size_t)length >= sizeof path) {
        path[0] = '\0';
    }
    for (;;) {
        uint64_t value = limit(root, path);
        least = IM_MIN(least, value);
        char *slash = strrchr(path, '/');
        if (slash == NULL) {
            return least;
        }
        *slash = '\0';
    }
}

/* True when the comma-separated list has the name. */
static bool list_has(const char *list, const char *name)
{
    while (*list != '\0') {
        size_t length = strcspn(list, ",");
        if (length == strlen(name) && memcmp(list, name, length) == 0) {
            return true;
        }
        list += length + (list[length] == ',');
    }
    return false;
}

/* One line "id:controllers:path" of /proc/self/cgroup; v2 is "0::path". */
static uint64_t least_of_line(char *line, const char *root, const cgroup_controller *what)
{
    char *controllers = strchr(line, ':');
    char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
    if (group == NULL) {
        return CGROUP_NONE;
    }
    *group++ = '\0';
    controllers++;
    if (*controllers == '\0') {
        return least_above(what->v2, root, group);
    }
    if (!list_has(controllers, what->name)) {
        return CGROUP_NONE;
    }
    char mount[CGROUP_TEXT];
    uint64_t least = CGROUP_NONE;
    const char *const folders[] = {controllers, what->name};
    for (size_t i = 0; i < IM_COUNT(folders); i++) {
        int length = snprintf(mount, sizeof mount, "%s/%s", root, folders[i]);
        if (length > 0 && (size_t)length < sizeof mount) {
            uint64_t value = least_above(what->v1, mount, group);
            least = IM_MIN(least, value);
        }
    }
    return least;
}

uint64_t cgroup_least(const char *membership, const char *root, const cgroup_controller *what)
{
    char text[CGROUP_TEXT];
    uint64_t least = CGROUP_NONE;
    if (!read_small(membership, text)) {
        return CGROUP_NONE;
    }
    for (char *line = text; *line != '\0';) {
        char *end = line + strcspn(line, "\n");
        bool more = *end != '\0';
        *end = '\0';
        uint64_t value = least_of_line(line, root, what);
        least = IM_MIN(least, value);
        line = more ? end + 1 : end;
    }
    return least;
}
