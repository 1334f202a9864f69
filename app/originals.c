/* app/originals.c — pictures that the library keeps itself, under originals/ by their digest:
 * originals/ab/ab12….jpg. The folder is one of the library's roots, so that all else finds them as
 * it finds the user's own files. */
#include "app/app_internal.h"
#include "base/file.h"
#include "base/hash.h"

#include <unistd.h>

#define ORIGINALS "originals"
#define ORIGINALS_SETTING "originals_root" /* id of the root */

im_code originals_folder(const im_library *library, char out[PATH_MAX], im_error *err)
{
    char folder[PATH_MAX];
    if (realpath(library->folder, folder) == NULL) {
        return im_fail_errno(err, errno, "could not look at '%s'", library->folder);
    }
    int n = snprintf(out, PATH_MAX, "%s/%s", folder, ORIGINALS);
    return n > 0 && n < PATH_MAX
               ? IM_OK
               : im_fail_as(err, IM_REASON_PATH_TOO_LONG, "the path of '%s' is too long", folder);
}

im_code originals_root(im_library *library, uint64_t *out_root, im_error *err)
{
    char *text = NULL;
    *out_root = 0;
    im_code rc = im_store_get_setting(library->store, ORIGINALS_SETTING, &text, err);
    if (text != NULL && !im_parse_u64(text, 1, INT64_MAX, out_root)) {
        *out_root = 0;
    }
    im_free(text);
    return rc;
}

/* The root is made, or follows a library that has been moved or restored elsewhere. Lock held. */
static im_code settle(im_library *library, const char *folder, bool make, im_error *err)
{
    root_list roots = {0};
    uint64_t recorded = 0;
    char number[32];
    const im_root *root = NULL;
    im_code rc = roots_load(library->store, &roots, err);
    if (rc == IM_OK) {
        rc = originals_root(library, &recorded, err);
    }
    if (rc == IM_OK) {
        root = roots_by_id(&roots, recorded);
    }
    if (root != NULL && strcmp(root->path, folder) != 0) {
        rc = im_store_move_root(library->store, root->id, folder, err);
    } else if (rc == IM_OK && root == NULL && make) {
        rc = roots_put(library->store, &roots, folder, true, &root, err);
        if (rc == IM_OK) {
            (void)snprintf(number, sizeof(number), "%llu", (unsigned long long)root->id);
            rc = im_store_set_setting(library->store, ORIGINALS_SETTING, number, err);
        }
    }
    roots_clear(&roots);
    return rc;
}

im_code originals_settle(im_library *library, bool make, char out_folder[PATH_MAX], im_error *err)
{
    im_code rc = originals_folder(library, out_folder, err);
    if (rc == IM_OK) {
        rc = im_store_lock(library->store, IM_LIMIT_LOCK_WAIT_MS, err);
    }
    if (rc == IM_OK) {
        rc = settle(library, out_folder, make, err);
        im_store_unlock(library->store);
    }
    return rc;
}

im_code im_app_settle_originals(im_library *library, im_error *err)
{
    char folder[PATH_MAX];
    uint64_t root = 0;
    im_code rc = originals_root(library, &root, err);
    return rc == IM_OK && root != 0 ? originals_settle(library, false, folder, err) : rc;
}

im_code originals_path(const char *folder, const uint8_t sha256[IM_SHA256_BYTES], im_format format,
                       char out[PATH_MAX], im_error *err)
{
    char hex[IM_SHA256_HEX];
    im_sha256_hex(sha256, hex);
    int n = snprintf(out, PATH_MAX, "%s/%.2s/%s.%s", folder, hex, hex,
                     format == IM_FORMAT_JPEG ? "jpg" : im_format_name(format));
    return n > 0 && n < PATH_MAX
               ? IM_OK
               : im_fail_as(err, IM_REASON_PATH_TOO_LONG, "the path of '%s' is too long", folder);
}

im_code originals_keep(const char *folder, const char *path, im_view bytes, im_error *err)
{
    char parent[PATH_MAX];
    (void)snprintf(parent, sizeof(parent), "%.*s", (int)(strrchr(path, '/') - path), path);
    bool fresh = !im_file_exists(parent);
    im_code rc = im_folder_make(parent, err);
    if (rc == IM_OK && fresh) {
        rc = im_folder_sync(folder, err);
    }
    return rc == IM_OK ? im_file_write_atomic(path, bytes.data, bytes.size, err) : rc;
}

/* ---- taking them out for good ---- */

typedef struct purge_list {
    const root_list *roots;
    const char *folder;
    char **paths; /* [n], owned */
    size_t n, capacity;
    bool no_memory;
} purge_list;

/* Notes the path of a file that lies in the library's own folder. */
static bool note_own(void *context, const im_file_row *file)
{
    purge_list *list = context;
    char *path = roots_file_path(list->roots, file);
    const char *below = path != NULL ? path_below(path, list->folder) : NULL;
    list->no_memory = path == NULL;
    if (below == NULL || below[0] == '\0') {
        im_free(path);
        return !list->no_memory;
    }
    if (list->n == list->capacity) {
        size_t wanted = list->capacity == 0 ? 4 : list->capacity * 2;
        char **grown = im_realloc(list->paths, wanted, sizeof(*grown));
        if (grown == NULL) {
            list->no_memory = true;
            im_free(path);
            return false;
        }
        list->paths = grown;
        list->capacity = wanted;
    }
    list->paths[list->n++] = path;
    return true;
}

static im_code list_own(im_library *library, uint64_t item, const char *folder, purge_list *list,
                        im_error *err)
{
    root_list roots;
    im_code rc = roots_load(library->store, &roots, err);
    if (rc != IM_OK) {
        return rc;
    }
    *list = (purge_list){.roots = &roots, .folder = folder};
    rc = im_store_each_file_of_item(library->store, item, note_own, list, err);
    roots_clear(&roots);
    return rc == IM_OK && list->no_memory ? im_fail(err, IM_ERR_NOMEM, "no memory for paths") : rc;
}

im_code im_app_purge_item(im_library *library, uint64_t item, const im_events *events,
                          uint64_t *out_files, im_error *err)
{
    char folder[PATH_MAX];
    purge_list list = {0};
    uint64_t removed = 0;
    const im_remove_request request = {.items = &item, .n_items = 1};
    *out_files = 0;
    im_code rc = originals_folder(library, folder, err);
    if (rc == IM_OK) {
        rc = list_own(library, item, folder, &list, err);
    }
    if (rc == IM_OK) {
        rc = im_app_remove(library, &request, events, &removed, err);
    }
    for (size_t i = 0; i < list.n; i++) {
        if (rc == IM_OK && unlink(list.paths[i]) == 0) {
            (*out_files)++;
        } else if (rc == IM_OK && errno != ENOENT) {
            rc = im_fail_errno(err, errno, "the item is gone, but could not remove '%s'",
                               list.paths[i]);
        }
        im_free(list.paths[i]);
    }
    im_free(list.paths);
    return rc;
}
