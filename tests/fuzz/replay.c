/* tests/fuzz/replay.c — runs a fuzz target once over each file of its committed corpus: seeds and
 * past crashes stay tested without libFuzzer. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "could not open %s\n", path);
        return 1;
    }
    static uint8_t buffer[8u << 20];
    size_t size = fread(buffer, 1, sizeof(buffer), file);
    fclose(file);
    uint8_t *copy = malloc(size > 0 ? size : 1); /* exact size: the sanitizer sees overreads */
    if (copy == NULL) {
        return 1;
    }
    memcpy(copy, buffer, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: replay CORPUS_FOLDER\n");
        return 2;
    }
    DIR *folder = opendir(argv[1]);
    if (folder == NULL) {
        fprintf(stderr, "no corpus at %s\n", argv[1]);
        return 1;
    }
    size_t n_files = 0;
    int failed = 0;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        char path[4096];
        if (entry->d_name[0] == '.') {
            continue;
        }
        snprintf(path, sizeof(path), "%s/%s", argv[1], entry->d_name);
        failed |= replay_file(path);
        n_files++;
    }
    closedir(folder);
    printf("%zu files replayed\n", n_files);
    return failed != 0 || n_files == 0;
}
