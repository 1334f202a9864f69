/* encoder/model_files.c — where the files of a model may lie, and its JSON files.
 *
 * A model folder comes from elsewhere, links in it too. A link is followed inside the folder, and
 * as a Hugging Face cache lays them (snapshots/REVISION/name -> ../../blobs/DIGEST); any other link
 * is refused, so that a model cannot make us read /etc/shadow. JSON is bounded by what its tree
 * would take, before a tree is built: 64 MB of "[]," would be 3 GB. */
#include "base/fault.h"
#include "encoder/encoder_internal.h"

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

/* What a tree may take; the largest CLIP tokenizer.json found needs an eighth of it. */
#define TREE_BYTES (192ull << 20)

im_code model_folder_check(const char *folder, im_error *err)
{
    struct stat info;
    if (im_fault_hit(IM_FAULT_OPEN) || stat(folder, &info) != 0) {
        if (errno == ENOENT || errno == ENOTDIR) {
            return im_fail_as(err, IM_REASON_MODEL_NOT_FOUND, "model folder '%s' is not there",
                              folder);
        }
        return im_fail_errno(err, errno, "could not look up model folder '%s'", folder);
    }
    if (!S_ISDIR(info.st_mode)) {
        return im_fail_as(err, IM_REASON_MODEL_NOT_FOUND, "model '%s' is no folder", folder);
    }
    return IM_OK;
}

/* True when `path` lies in `folder` or, for a snapshot of a Hugging Face cache, in its blobs. Both
 * are resolved. */
static bool inside(const char *folder, const char *path)
{
    size_t size = strlen(folder);
    if (size == 1 || (strncmp(path, folder, size) == 0 && path[size] == '/')) {
        return true;
    }
    const char *revision = strrchr(folder, '/');
    size_t parent = (size_t)(revision - folder); /* ".../snapshots" */
    static const char snapshots[] = "/snapshots";
    static const char blobs[] = "/blobs/";
    if (parent < sizeof(snapshots) - 1 ||
        memcmp(revision - (sizeof(snapshots) - 1), snapshots, sizeof(snapshots) - 1) != 0) {
        return false;
    }
    size_t model = parent - (sizeof(snapshots) - 1);
    return strncmp(path, folder, model) == 0 &&
           strncmp(path + model, blobs, sizeof(blobs) - 1) == 0 &&
           strchr(path + model + sizeof(blobs) - 1, '/') == NULL;
}

static im_code check_link(const char *folder, const char *name, const char *path, im_error *err)
{
    char root[PATH_MAX];
    char target[PATH_MAX];
    if (realpath(path, target) == NULL) {
        if (errno == ENOENT || errno == ENOTDIR) {
            return im_fail_as(err, IM_REASON_MODEL_FILE_MISSING,
                              "model '%s': '%s' is a link to a file that is not there", folder,
                              name);
        }
        return im_fail_errno(err, errno, "could not follow link '%s'", path);
    }
    if (realpath(folder, root) == NULL) {
        return im_fail_errno(err, errno, "could not look up model folder '%s'", folder);
    }
    if (!inside(root, target)) {
        im_code rc = im_fail_as(err, IM_REASON_MODEL_FILE_MISSING,
                                "model '%s': '%s' is a link to '%.100s', outside the folder",
                                folder, name, target);
        im_hint(err, "copy the file into the folder if you trust it");
        return rc;
    }
    return IM_OK;
}

im_code model_path(const char *folder, const char *name, char **out_path, bool *out_there,
                   im_error *err)
{
    struct stat info;
    char *path = im_path_join(folder, name);
    im_code rc = IM_OK;
    if (path == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    *out_there = true;
    if (im_fault_hit(IM_FAULT_OPEN) || lstat(path, &info) != 0) {
        if (errno == ENOENT || errno == ENOTDIR) {
            *out_there = false;
        } else {
            rc = im_fail_errno(err, errno, "could not look up '%s'", path);
        }
    } else if (S_ISLNK(info.st_mode)) {
        rc = check_link(folder, name, path, err);
    }
    if (rc != IM_OK) {
        im_free(path);
        return rc;
    }
    *out_path = path;
    return IM_OK;
}

bool model_weights_name(const char *name)
{
    size_t n = strlen(name);
    if (strcmp(name, "model.safetensors") == 0) {
        return true;
    }
    return strncmp(name, "model-", 6) == 0 && n > 18 && n < 200 && strchr(name, '/') == NULL &&
           strcmp(name + n - 12, ".safetensors") == 0;
}

/* Roughly what jansson's tree of this text takes; strings are counted by their bytes. Text that is
 * not JSON may be counted wrongly, which is no harm: the parser refuses it. */
static uint64_t tree_bytes(const char *data, size_t size)
{
    uint64_t bytes = size;
    bool in_string = false;
    for (size_t i = 0; i < size; i++) {
        char c = data[i];
        if (in_string) {
            i += c == '\\';
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{') {
            bytes += 400; /* the object, its buckets, a first member */
        } else if (c == '[') {
            bytes += 200;
        } else if (c == ',') {
            bytes += 180; /* a string as member of an object */
        }
    }
    return bytes;
}

im_code model_json(const char *folder, const char *name, uint64_t max_bytes, im_reason reason,
                   json_t **out, char **out_path, im_error *err)
{
    im_bytes bytes = {0};
    bool there = false;
    *out = NULL;
    *out_path = NULL;
    im_code rc = model_path(folder, name, out_path, &there, err);
    if (rc != IM_OK || !there) {
        return rc;
    }
    rc = im_file_read(*out_path, max_bytes, &bytes, err);
    if (rc == IM_OK && tree_bytes((const char *)bytes.data, bytes.size) > TREE_BYTES) {
        rc = im_fail_as(err, reason,
                        "'%s': %zu bytes of JSON hold more values than the %llu MiB "
                        "they may take",
                        *out_path, bytes.size, TREE_BYTES >> 20);
    }
    if (rc == IM_OK) {
        rc = im_json_parse((const char *)bytes.data, bytes.size, *out_path, out, err);
        if (rc == IM_ERR_FORMAT && err != NULL) {
            err->reason = im_reason_name(reason);
        }
    }
    im_bytes_clear(&bytes);
    return rc;
}
