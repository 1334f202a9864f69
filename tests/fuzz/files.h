/* tests/fuzz/files.h — a folder in memory for targets whose parser opens files by name. */
#ifndef IM_TESTS_FUZZ_FILES_H
#define IM_TESTS_FUZZ_FILES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline const char *fuzz_folder(void)
{
    static char folder[64];
    if (folder[0] == '\0') {
        (void)snprintf(folder, sizeof(folder), "%s/imago-fuzz-XXXXXX",
                       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        if (mkdtemp(folder) == NULL) {
            abort();
        }
    }
    return folder;
}

static inline void fuzz_file(const char *name, const uint8_t *data, size_t size)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s", fuzz_folder(), name);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
        abort();
    }
}

#endif
