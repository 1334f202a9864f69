/* encoder/files.c — which files make up a model, and the digest over them. */
#include "base/hash.h"
#include "encoder/encoder_internal.h"

#include <dirent.h>
#include <errno.h>

static bool is_model_file(const char *name)
{
    static const char *const names[] = {"config.json",
                                        "merges.txt",
                                        "preprocessor_config.json",
                                        "tokenizer.json",
                                        "model.safetensors.index.json",
                                        "vocab.json",
                                        "tokenizer_config.json"};
    for (size_t i = 0; i < IM_COUNT(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return model_weights_name(name);
}

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const im_model_file *)a)->name, ((const im_model_file *)b)->name);
}

static im_code add_file(const char *folder, const char *name, im_model_file **files, size_t *n,
                        im_error *err)
{
    char *path = NULL;
    bool there = false;
    im_model_file *grown = im_realloc(*files, *n + 1, sizeof(**files));
    *files = grown != NULL ? grown : *files;
    im_code rc = grown != NULL ? model_path(folder, name, &path, &there, err)
                               : im_fail(err, IM_ERR_NOMEM, "no memory for a list of files");
    if (rc == IM_OK && there) {
        im_model_file *file = &grown[*n];
        memset(file, 0, sizeof(*file));
        (void)snprintf(file->name, sizeof(file->name), "%s", name);
        rc = im_file_stat(path, &file->stamp, err);
        *n += rc == IM_OK;
    }
    im_free(path);
    return rc;
}

im_code im_encoder_files(const char *folder, im_model_file **out_files, size_t *out_n_files,
                         im_error *err)
{
    im_model_file *files = NULL;
    size_t n = 0;
    im_code rc = IM_OK;
    DIR *dir = opendir(folder);
    struct dirent *entry = NULL;
    if (dir == NULL && (errno == ENOENT || errno == ENOTDIR)) {
        return im_fail_as(err, IM_REASON_MODEL_NOT_FOUND, "model folder '%s' is not there", folder);
    }
    if (dir == NULL) {
        return im_fail_errno(err, errno, "could not read model folder '%s'", folder);
    }
    while (rc == IM_OK && (entry = readdir(dir)) != NULL) {
        if (is_model_file(entry->d_name)) {
            rc = add_file(folder, entry->d_name, &files, &n, err);
        }
    }
    closedir(dir);
    if (rc != IM_OK) {
        im_free(files);
        return rc;
    }
    if (n > 1) {
        qsort(files, n, sizeof(*files), compare_files);
    }
    *out_files = files;
    *out_n_files = n;
    return IM_OK;
}

static im_code hash_file(im_sha256 *state, const char *folder, const im_model_file *file,
                         im_error *err)
{
    im_map *map = NULL;
    char *path = im_path_join(folder, file->name);
    uint8_t size[8];
    im_code rc = path != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    for (size_t i = 0; i < sizeof(size); i++) {
        size[i] = (uint8_t)(file->stamp.size >> (8 * i));
    }
    im_sha256_add(state, file->name, strlen(file->name) + 1);
    im_sha256_add(state, size, sizeof(size));
    if (rc == IM_OK && file->stamp.size > 0) {
        rc = im_map_open(path, &map, err);
    }
    if (rc == IM_OK && map != NULL) {
        im_sha256_add(state, im_map_data(map), im_map_size(map));
        if (im_map_lost(map)) {
            rc = im_fail_as(err, IM_REASON_MODEL_LOST, "model file '%s' was cut while it was read",
                            path);
        }
    }
    im_map_close(map);
    im_free(path);
    return rc;
}

im_code im_encoder_digest(const char *folder, char out_digest[65], im_error *err)
{
    im_model_file *files = NULL;
    size_t n = 0;
    im_sha256 state;
    uint8_t digest[IM_SHA256_BYTES];
    im_code rc = im_encoder_files(folder, &files, &n, err);
    im_sha256_init(&state);
    for (size_t i = 0; i < n && rc == IM_OK; i++) {
        rc = hash_file(&state, folder, &files[i], err);
    }
    if (rc == IM_OK) {
        im_sha256_end(&state, digest);
        im_sha256_hex(digest, out_digest);
    }
    im_free(files);
    return rc;
}
