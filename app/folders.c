/* app/folders.c — folders that were added: told with their counts, added, followed, forgotten. The
 * folders themselves are never touched. */
#include "app/app_internal.h"
#include "base/file.h"

#include <sys/stat.h>

#define FORGET_ROWS 500u /* files of one transaction */

typedef struct list_context {
    im_library *library;
    im_json_writer *w;
    uint64_t only; /* 0: all */
    bool found;
    im_code rc;
    im_error *err;
} list_context;

static bool put_root(void *context, const im_root *root)
{
    list_context *list = context;
    im_json_writer *w = list->w;
    im_root_counts counts = {0};
    if (list->only != 0 && list->only != root->id) {
        return true;
    }
    list->found = true;
    list->rc = im_store_count_root(list->library->store, root->id, &counts, list->err);
    im_json_begin_object(w);
    im_json_put_uint(w, "id", root->id);
    answer_put_path(w, root->path);
    im_json_put_bool(w, "recursive", root->recursive);
    im_json_put_bool(w, "watch", root->watch);
    im_json_put_bool(w, "online", im_file_exists(root->path));
    im_json_put_uint(w, "files", counts.files);
    im_json_put_uint(w, "missing_files", counts.missing_files);
    im_json_put_uint(w, "items", counts.items);
    im_json_put_uint(w, "failures", counts.failures);
    im_json_end_object(w);
    return list->rc == IM_OK && list->only == 0;
}

im_code im_app_roots_json(im_library *library, im_json_writer *w, im_error *err)
{
    list_context list = {.library = library, .w = w, .err = err};
    im_json_begin_object(w);
    im_json_key(w, "roots");
    im_json_begin_array(w);
    im_code rc = im_store_each_root(library->store, put_root, &list, err);
    im_json_end_array(w);
    im_json_end_object(w);
    return rc == IM_OK ? list.rc : rc;
}

static im_code fail_no_root(uint64_t root, im_error *err)
{
    return im_fail(err, IM_ERR_NOT_FOUND, "no added folder has the id %llu",
                   (unsigned long long)root);
}

im_code im_app_root_json(im_library *library, uint64_t root, im_json_writer *w, im_error *err)
{
    list_context list = {.library = library, .w = w, .only = root, .err = err};
    im_code rc = im_store_each_root(library->store, put_root, &list, err);
    if (rc == IM_OK && list.rc == IM_OK && !list.found) {
        rc = fail_no_root(root, err);
    }
    return rc == IM_OK ? list.rc : rc;
}

im_code im_app_each_root(im_library *library, im_root_fn fn, void *context, im_error *err)
{
    return im_store_each_root(library->store, fn, context, err);
}

im_code im_app_root_put(im_library *library, const char *path, uint64_t *out_root, im_error *err)
{
    struct stat st;
    char absolute[PATH_MAX];
    if (path[0] != '/') {
        return im_fail(err, IM_ERR_INVALID, "'path' is '%.100s', expected an absolute path", path);
    }
    if (stat(path, &st) != 0 || realpath(path, absolute) == NULL) {
        return im_fail_errno(err, errno, "could not look at '%.200s'", path);
    }
    if (!S_ISDIR(st.st_mode)) {
        return im_fail(err, IM_ERR_INVALID, "'path' is '%.200s', expected a folder", path);
    }
    return im_store_put_root(library->store, absolute, true, out_root, err);
}

/* ---- forgotten ---- */

typedef struct forget_list {
    id_list files, items; /* in one order */
    bool no_memory;
} forget_list;

static bool note_file(void *context, const im_file_row *file)
{
    forget_list *list = context;
    list->no_memory =
        !id_list_add(&list->files, file->id) || !id_list_add(&list->items, file->item);
    return !list->no_memory && list->files.n < FORGET_ROWS;
}

static im_code forget_files(im_store *store, const forget_list *list, uint64_t *out_items,
                            im_error *err)
{
    uint64_t gone = 0;
    im_code rc = im_store_begin(store, err);
    if (rc != IM_OK) {
        return rc;
    }
    for (size_t i = 0; rc == IM_OK && i < list->files.n; i++) {
        im_item item;
        im_error none = IM_ERROR_INIT;
        rc = im_store_drop_file(store, list->files.ids[i], err);
        if (rc == IM_OK) {
            rc = item_drop_bare(store, list->items.ids[i], err);
        }
        gone += rc == IM_OK &&
                im_store_get_item(store, list->items.ids[i], &item, &none) == IM_ERR_NOT_FOUND;
    }
    if (rc == IM_OK) {
        rc = im_store_commit(store, err);
    } else {
        im_store_rollback(store);
    }
    *out_items += rc == IM_OK ? gone : 0;
    return rc;
}

/* Uploads lie nowhere else, and nobody would find them again. */
static im_code check_forgotten(im_library *library, uint64_t root, im_error *err)
{
    uint64_t own = 0;
    im_code rc = originals_root(library, &own, err);
    if (rc == IM_OK && own == root) {
        rc = im_fail_as(err, IM_REASON_CONFLICT,
                        "folder %llu holds the pictures that the library keeps itself",
                        (unsigned long long)root);
        im_hint(err, "take pictures out one by one: DELETE /v1/items/ID?purge=true");
    }
    return rc;
}

im_code im_app_root_remove(im_library *library, uint64_t root, uint64_t *out_items, im_error *err)
{
    bool more = true;
    *out_items = 0;
    im_code rc = check_forgotten(library, root, err);
    while (rc == IM_OK && more) {
        forget_list list = {0};
        rc = im_store_each_file_of_root(library->store, root, im_view_from(""), note_file, &list,
                                        err);
        if (rc == IM_OK && list.no_memory) {
            rc = im_fail(err, IM_ERR_NOMEM, "no memory for a list of files");
        }
        more = list.files.n > 0;
        if (rc == IM_OK && more) {
            rc = forget_files(library->store, &list, out_items, err);
        }
        id_list_clear(&list.files);
        id_list_clear(&list.items);
    }
    if (rc == IM_OK) {
        rc = im_store_drop_root(library->store, root, err);
    }
    if (rc == IM_OK && *out_items > 0) {
        library_compact_when_due(library, NULL);
    }
    return rc;
}
