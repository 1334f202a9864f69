/* tests/fuzz/files.h — a folder in memory for targets whose parser opens files by name. */
#ifndef IM_TESTS_FUZZ_FILES_H
#define IM_TESTS_FUZZ_FILES_H

#include "tests/help_folder.h"

#include <stdint.h>

static inline const char *fuzz_folder(void)
{
    static char folder[HELP_FOLDER_BYTES];
    if (folder[0] == '\0' && help_temporary_in_memory(folder) == NULL) {
        abort();
    }
    return folder;
}

static inline void fuzz_file(const char *name, const uint8_t *data, size_t size)
{
    char path[HELP_FOLDER_BYTES + 64];
    (void)snprintf(path, sizeof(path), "%s/%s", fuzz_folder(), name);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
        abort();
    }
}

#endif
