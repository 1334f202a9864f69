/* tests/help_folder.h — a folder of one's own for a test, a bench or a fuzzer, and its end. */
#ifndef IM_TESTS_HELP_FOLDER_H
#define IM_TESTS_HELP_FOLDER_H

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HELP_FOLDER_BYTES 96u

static inline char *help_folder_below(const char *base, char out[HELP_FOLDER_BYTES])
{
    int n = snprintf(out, HELP_FOLDER_BYTES, "%s/imago-XXXXXX", base);
    if (n < 0 || n >= (int)HELP_FOLDER_BYTES || mkdtemp(out) == NULL) {
        fprintf(stderr, "no folder can be made below '%s'\n", base);
        return NULL;
    }
    return out;
}

/** Makes a folder in $TMPDIR, else in /tmp. @return out; NULL, which is told, when it cannot be */
static inline char *help_temporary(char out[HELP_FOLDER_BYTES])
{
    const char *base = getenv("TMPDIR");
    return help_folder_below(base != NULL && base[0] != '\0' ? base : "/tmp", out);
}

/** The same in memory where there is such a place: for tests that wait for the disk. */
static inline char *help_temporary_in_memory(char out[HELP_FOLDER_BYTES])
{
    return access("/dev/shm", W_OK) == 0 ? help_folder_below("/dev/shm", out) : help_temporary(out);
}

/** Removes all that a folder holds, also what may not be read. */
static inline void help_empty_folder(const char *folder)
{
    char path[4096];
    struct stat info;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        int n = snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        bool skipped = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
        if (skipped || n < 0 || n >= (int)sizeof(path) || lstat(path, &info) != 0) {
            continue;
        }
        if (S_ISDIR(info.st_mode)) {
            (void)chmod(path, 0700);
            help_empty_folder(path);
            (void)rmdir(path);
        } else {
            (void)unlink(path);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
}

/** @return 0 when the folder is gone with all that it held */
static inline int help_remove_folder(const char *folder)
{
    (void)chmod(folder, 0700);
    help_empty_folder(folder);
    return rmdir(folder);
}

#endif
