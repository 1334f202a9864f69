/* tests/base/support.h — what the tests of base/ share: cmocka, a random stream, a folder of one's
 * own, and sub-processes that are expected to die. */
#ifndef IM_TESTS_BASE_SUPPORT_H
#define IM_TESTS_BASE_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/fault.h"
#include "tests/help_folder.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* splitmix64; the seed is printed by the group that uses it */
static inline uint64_t test_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Makes a folder and goes there, so that tests use short relative names. */
static inline int test_enter_folder(void **state)
{
    char path[HELP_FOLDER_BYTES];
    if (help_temporary(path) == NULL || chdir(path) != 0) {
        return -1;
    }
    *state = strdup(path);
    return *state == NULL ? -1 : 0;
}

static inline int test_leave_folder(void **state)
{
    int rc = chdir("/");
    (void)help_remove_folder(*state);
    free(*state);
    return rc;
}

static inline size_t test_count_files(const char *folder)
{
    size_t count = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    return count;
}

static inline void test_put_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* Runs body in a child; returns the wait status. Output of the child goes to nowhere. */
static inline int test_in_child(void (*body)(void *), void *context)
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        (void)dup2(null, STDERR_FILENO);
        body(context);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

#endif
