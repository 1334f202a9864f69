/* vlm/local_plan.c — what a llama-server is started with, looked at before it is: the program, two
 * GGUF files that belong together, arguments that leave it where it is. */
#include "base/file.h"
#include "vlm/local_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROGRAM "llama-server"
#define HEAD_BYTES 256u
#define EDGE_BYTES (1u << 20)

/* ---- the program ---- */

static bool is_program(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode) && access(path, X_OK) == 0;
}

/* A name as a shell would find it. */
static bool find_on_path(const char *name, char out[PATH_MAX])
{
    const char *path = getenv("PATH");
    while (path != NULL && *path != '\0') {
        size_t size = strcspn(path, ":");
        int n = snprintf(out, PATH_MAX, "%.*s%s%s", (int)size, path, size > 0 ? "/" : "./", name);
        if (n > 0 && n < PATH_MAX && is_program(out)) {
            return true;
        }
        path += size + (path[size] == ':');
    }
    return false;
}

static im_code find_program(const char *wanted, char out[PATH_MAX], im_error *err)
{
    const char *name = wanted != NULL ? wanted : PROGRAM;
    im_code rc = IM_OK;
    char found[PATH_MAX];
    if (strchr(name, '/') == NULL) {
        if (!find_on_path(name, found)) {
            rc = im_fail(err, IM_ERR_NOT_FOUND, "there is no '%s' on the PATH", name);
            im_hint(err, "install llama.cpp, or name the program: --server PATH");
            return rc;
        }
    } else if (snprintf(found, PATH_MAX, "%s", name) >= PATH_MAX || !is_program(name)) {
        rc = im_fail(err, errno == ENOENT ? IM_ERR_NOT_FOUND : IM_ERR_DENIED,
                     "'%s' is no program that can be run", name);
        im_hint(err, "--server wants the llama-server of llama.cpp");
        return rc;
    }
    return realpath(found, out) != NULL ? IM_OK
                                        : im_fail_errno(err, errno, "could not find '%s'", found);
}

/* ---- GGUF files ---- */

static uint64_t little(const uint8_t *bytes, size_t n)
{
    uint64_t value = 0;
    for (size_t i = n; i > 0; i--) {
        value = value << 8 | bytes[i - 1];
    }
    return value;
}

/* "general.architecture" where it is the first key, as all writers put it; else "". */
static void architecture_of(const uint8_t head[HEAD_BYTES], char out[64])
{
    static const char key[] = "general.architecture";
    const size_t n_key = sizeof(key) - 1;
    const uint8_t *value = head + 24 + 8 + n_key + 4 + 8;
    out[0] = '\0';
    if (little(head + 24, 8) != n_key || memcmp(head + 32, key, n_key) != 0 ||
        little(head + 32 + n_key, 4) != 8) {
        return; /* type 8: a text */
    }
    uint64_t size = little(value - 8, 8);
    if (size < 64) {
        memcpy(out, value, (size_t)size);
        out[size] = '\0';
    }
}

/* Size, beginning and end: enough to tell one model from another, without reading gigabytes. */
static im_code add_edges(int fd, uint64_t size, const char *path, im_sha256 *hash, im_error *err)
{
    size_t edge = (size_t)IM_MIN(size, (uint64_t)EDGE_BYTES);
    uint8_t *bytes = im_alloc(edge, 1);
    im_code rc = bytes != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a model's head");
    const uint64_t at[] = {0, size - edge};
    im_sha256_add(hash, &size, sizeof(size));
    for (size_t i = 0; rc == IM_OK && i < IM_COUNT(at); i++) {
        rc = im_file_pread(fd, bytes, edge, at[i], path, err);
        if (rc == IM_OK) {
            im_sha256_add(hash, bytes, edge);
        }
    }
    im_free(bytes);
    return rc;
}

static im_code read_head(int fd, const char *path, uint64_t size, bool projector, im_error *err)
{
    uint8_t head[HEAD_BYTES] = {0};
    char kind[64];
    im_code rc = size >= HEAD_BYTES ? im_file_pread(fd, head, sizeof(head), 0, path, err) : IM_OK;
    if (rc != IM_OK) {
        return rc;
    }
    if (memcmp(head, "GGUF", 4) != 0) {
        rc = im_fail(err, IM_ERR_FORMAT, "'%s' is no GGUF file", path);
        im_hint(err, "llama-server wants a model in llama.cpp's own format");
        return rc;
    }
    architecture_of(head, kind);
    if (kind[0] != '\0' && projector != (strcmp(kind, "clip") == 0)) {
        rc = im_fail(err, IM_ERR_FORMAT, "'%s' holds %s, expected %s", path,
                     projector ? "a language model" : "a picture projector",
                     projector ? "a picture projector (mmproj)" : "a language model");
        im_hint(err, "--model names the model, --mmproj its projector");
    }
    return rc;
}

/* The absolute path of a file that may be a model. */
static im_code look_at_file(const char *path, bool projector, char out[PATH_MAX], im_sha256 *hash,
                            im_error *err)
{
    im_file_stamp stamp;
    int fd = -1;
    im_code rc = im_file_stat(path, &stamp, err);
    if (rc == IM_OK) {
        rc = im_file_open(path, O_RDONLY, 0, &fd, err);
    }
    if (rc == IM_OK) {
        rc = read_head(fd, path, stamp.size, projector, err);
    }
    if (rc == IM_OK) {
        rc = add_edges(fd, stamp.size, path, hash, err);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    if (rc == IM_OK && realpath(path, out) == NULL) {
        rc = im_fail_errno(err, errno, "could not find '%s'", path);
    }
    return rc;
}

/* ---- arguments ---- */

/* What would take the server away from this machine, or from us. */
static im_code check_arguments(const char *const *arguments, size_t n, im_error *err)
{
    static const char *const ours[] = {"--host",
                                       "--port",
                                       "--api-key",
                                       "--api-key-file",
                                       "--model",
                                       "-m",
                                       "--mmproj",
                                       "-mm",
                                       "--alias",
                                       "-a",
                                       "--model-url",
                                       "-mu",
                                       "--mmproj-url",
                                       "-mmu",
                                       "--hf-repo",
                                       "-hf",
                                       "-hfr",
                                       "--reuse-port",
                                       "--path",
                                       "--media-path",
                                       "--slot-save-path",
                                       "--ssl-key-file",
                                       "--ssl-cert-file",
                                       "--log-file",
                                       "--rpc",
                                       "--api-prefix"};
    for (size_t i = 0; i < n; i++) {
        size_t size = strcspn(arguments[i], "=");
        for (size_t k = 0; k < IM_COUNT(ours); k++) {
            if (strlen(ours[k]) == size && strncmp(arguments[i], ours[k], size) == 0) {
                return im_fail(err, IM_ERR_INVALID,
                               "'%s' is not to be given to llama-server: imago sets what it needs",
                               ours[k]);
            }
        }
    }
    return IM_OK;
}

/* "qwen2.5-vl-7b" of "/models/qwen2.5-vl-7b.gguf": what captions are marked with. */
static void name_of(const char *path, char *out, size_t capacity)
{
    const char *slash = strrchr(path, '/');
    im_str text;
    im_str_init(&text, SIZE_MAX / 2);
    (void)im_text_lossy(&text, slash != NULL ? slash + 1 : path,
                        strlen(slash != NULL ? slash + 1 : path));
    size_t size = text.size;
    if (size > 5 && strcasecmp(text.data + size - 5, ".gguf") == 0) {
        size -= 5;
    }
    size = IM_MIN(size, capacity - 1);
    while (size > 0 && text.data[size] != '\0' &&
           ((unsigned char)text.data[size] & 0xc0u) == 0x80u) {
        size--; /* not inside a character */
    }
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        out[i] = (char)(c < 33 || c == 127 || c == ',' ? '_' : c); /* a comma parts two names */
    }
    out[size] = '\0';
    im_str_clear(&text);
}

im_code im_vlm_local_plan_of(const im_vlm_local_options *options, im_vlm_local_plan *out,
                             im_error *err)
{
    im_sha256 hash;
    uint8_t digest[IM_SHA256_BYTES];
    char hex[IM_SHA256_HEX];
    memset(out, 0, sizeof(*out));
    if (options->model == NULL || options->mmproj == NULL) {
        im_code rc = im_fail(err, IM_ERR_INVALID, "%s is wanted",
                             options->model == NULL ? "a model" : "the projector of the model");
        im_hint(err, "both are GGUF files: --model M.gguf --mmproj P.gguf");
        return rc;
    }
    im_sha256_init(&hash);
    im_code rc = check_arguments(options->arguments, options->n_arguments, err);
    if (rc == IM_OK) {
        rc = look_at_file(options->model, false, out->model, &hash, err);
    }
    if (rc == IM_OK) {
        rc = look_at_file(options->mmproj, true, out->mmproj, &hash, err);
    }
    if (rc == IM_OK) {
        rc = find_program(options->program, out->program, err);
    }
    im_sha256_end(&hash, digest);
    im_sha256_hex(digest, hex);
    (void)snprintf(out->id, sizeof(out->id), "local:%.32s", hex);
    name_of(out->model, out->name, sizeof(out->name));
    out->arguments = options->arguments;
    out->n_arguments = options->n_arguments;
    return rc;
}
