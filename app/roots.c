/* app/roots.c — which root a path belongs to. A file under several roots belongs to the nearest one
 * alone, so that no path has two rows: a root that is not recursive holds the files of its own
 * folder only. Roots are few; they are loaded once per use. */
#include "app/app_internal.h"

#include <limits.h>
#include <unistd.h>

static bool add_root(root_list *roots, const im_root *root)
{
    if (roots->n == roots->capacity) {
        size_t wanted = roots->capacity == 0 ? 8 : roots->capacity * 2;
        im_root *grown = im_realloc(roots->roots, wanted, sizeof(*grown));
        if (grown == NULL) {
            return false;
        }
        roots->roots = grown;
        roots->capacity = wanted;
    }
    im_root *copy = &roots->roots[roots->n];
    *copy = *root;
    copy->path = im_strdup(root->path);
    roots->n += copy->path != NULL;
    return copy->path != NULL;
}

typedef struct load_context {
    root_list *roots;
    bool no_memory;
} load_context;

static bool load_root(void *context, const im_root *root)
{
    load_context *load = context;
    load->no_memory = !add_root(load->roots, root);
    return !load->no_memory;
}

im_code roots_load(im_store *store, root_list *out, im_error *err)
{
    load_context load = {out, false};
    *out = (root_list){0};
    im_code rc = im_store_each_root(store, load_root, &load, err);
    if (rc == IM_OK && load.no_memory) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for the list of folders");
    }
    if (rc != IM_OK) {
        roots_clear(out);
    }
    return rc;
}

im_code roots_put(im_store *store, root_list *roots, const char *path, bool recursive,
                  const im_root **out_root, im_error *err)
{
    im_root root = {.recursive = recursive, .online = true};
    im_code rc = im_store_put_root(store, path, recursive, &root.id, err);
    if (rc != IM_OK) {
        return rc;
    }
    for (size_t i = 0; i < roots->n; i++) {
        if (roots->roots[i].id == root.id) {
            roots->roots[i].recursive = recursive;
            *out_root = &roots->roots[i];
            return IM_OK;
        }
    }
    root.path = (char *)(uintptr_t)path; /* copied, not kept */
    if (!add_root(roots, &root)) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    *out_root = &roots->roots[roots->n - 1];
    return IM_OK;
}

void roots_clear(root_list *roots)
{
    for (size_t i = 0; i < roots->n; i++) {
        im_root_clear(&roots->roots[i]);
    }
    im_free(roots->roots);
    *roots = (root_list){0};
}

const im_root *roots_by_id(const root_list *roots, uint64_t id)
{
    for (size_t i = 0; i < roots->n; i++) {
        if (roots->roots[i].id == id) {
            return &roots->roots[i];
        }
    }
    return NULL;
}

const char *path_below(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    if (n > 0 && folder[n - 1] == '/') { /* the root of the file system */
        n--;
    }
    if (strncmp(path, folder, n) != 0 || (path[n] != '/' && path[n] != '\0')) {
        return NULL;
    }
    return path[n] == '/' ? path + n + 1 : path + n;
}

const im_root *roots_of_folder(const root_list *roots, const char *folder)
{
    const im_root *nearest = NULL;
    for (size_t i = 0; i < roots->n; i++) {
        const im_root *root = &roots->roots[i];
        if (root->recursive && path_below(folder, root->path) != NULL &&
            (nearest == NULL || strlen(root->path) > strlen(nearest->path))) {
            nearest = root;
        }
    }
    return nearest;
}

const im_root *roots_of_file(const root_list *roots, const char *file)
{
    const im_root *nearest = NULL;
    for (size_t i = 0; i < roots->n; i++) {
        const im_root *root = &roots->roots[i];
        const char *below = path_below(file, root->path);
        if (below != NULL && below[0] != '\0' && (root->recursive || strchr(below, '/') == NULL) &&
            (nearest == NULL || strlen(root->path) > strlen(nearest->path))) {
            nearest = root;
        }
    }
    return nearest;
}

char *roots_file_path(const root_list *roots, const im_file_row *file)
{
    im_str path;
    const im_root *root = roots_by_id(roots, file->root);
    if (root == NULL) {
        return NULL;
    }
    im_str_init(&path, IM_LIMIT_PATH_BYTES);
    im_str_add_c(&path, root->path);
    if (path.size > 0 && path.data[path.size - 1] != '/') {
        im_str_add_char(&path, '/');
    }
    im_str_add(&path, file->path.data, file->path.size);
    char *copy = path.failed ? NULL : im_strdup(im_str_text(&path));
    im_str_clear(&path);
    return copy;
}

/* The real folder of a file that is gone, with its name; false when the folder is gone too. */
static bool real_parent(const char *path, char out[PATH_MAX])
{
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const char *name = slash + 1;
    size_t n = (size_t)(slash - path);
    memcpy(parent, path, n);
    parent[n] = '\0';
    if (realpath(n > 0 ? parent : "/", out) == NULL) {
        return false;
    }
    size_t used = strlen(out);
    int added = snprintf(out + used, PATH_MAX - used, "%s%s", used > 1 ? "/" : "", name);
    return added > 0 && (size_t)added < PATH_MAX - used;
}

im_code path_absolute(const char *path, char out[PATH_MAX], im_error *err)
{
    char here[PATH_MAX];
    char whole[PATH_MAX];
    if (realpath(path, out) != NULL) {
        return IM_OK;
    }
    int n = path[0] == '/' || getcwd(here, sizeof(here)) == NULL
                ? snprintf(whole, sizeof(whole), "%s", path)
                : snprintf(whole, sizeof(whole), "%s/%s", here, path);
    if (n <= 0 || (size_t)n >= sizeof(whole)) {
        return im_fail_as(err, IM_REASON_PATH_TOO_LONG,
                          "path of %zu bytes, the system opens at most %d", strlen(path),
                          PATH_MAX - 1);
    }
    while (n > 1 && whole[n - 1] == '/') {
        whole[--n] = '\0';
    }
    if (whole[0] != '/' || !real_parent(whole, out)) {
        memcpy(out, whole, (size_t)n + 1);
    }
    return IM_OK;
}
