/* app/items.c — one item shown, items taken out. */
#include "app/app_internal.h"
#include "base/file.h"
#include "base/hash.h"

#include <limits.h>
#include <unistd.h>

bool im_item_id_parse(const char *text, uint64_t *out_id)
{
    if (strncmp(text, "id:", 3) == 0) {
        text += 3;
    } else if (text[0] == '#') {
        text += 1;
    }
    return im_parse_u64(text, 1, INT64_MAX, out_id);
}

/* ---- show ---- */

typedef struct root_paths {
    uint64_t wanted;
    char *path;
    bool online;
} root_paths;

static bool find_root(void *context, const im_root *root)
{
    root_paths *search = context;
    if (root->id != search->wanted) {
        return true;
    }
    search->path = im_strdup(root->path);
    search->online = root->online;
    return false;
}

/* One row's full path, a new string; NULL when memory is out or the root is gone. */
static char *full_path(im_store *store, const im_file_row *file)
{
    root_paths root = {.wanted = file->root};
    im_str path;
    if (im_store_each_root(store, find_root, &root, NULL) != IM_OK || root.path == NULL) {
        im_free(root.path);
        return NULL;
    }
    im_str_init(&path, IM_LIMIT_PATH_BYTES);
    im_str_addf(&path, "%s/", root.path);
    im_str_add(&path, file->path.data, file->path.size);
    char *copy = path.failed ? NULL : im_strdup(im_str_text(&path));
    im_str_clear(&path);
    im_free(root.path);
    return copy;
}

typedef struct show_context {
    im_json_writer *w;
    im_store *store;
} show_context;

static bool show_file(void *context, const im_file_row *file)
{
    show_context *show = context;
    char *path = full_path(show->store, file);
    im_json_begin_object(show->w);
    answer_put_path(show->w, path);
    im_json_put_bool(show->w, "missing", file->missing);
    im_json_put_uint(show->w, "bytes", file->stamp.size);
    im_json_end_object(show->w);
    im_free(path);
    return true;
}

static void put_where(im_json_writer *w, const im_item *item)
{
    if (!item->has_gps) {
        im_json_put_null(w, "gps");
        return;
    }
    im_json_key(w, "gps");
    im_json_begin_object(w);
    im_json_put_double(w, "latitude", item->latitude);
    im_json_put_double(w, "longitude", item->longitude);
    im_json_end_object(w);
}

im_code im_app_show_json(im_library *library, uint64_t id, im_json_writer *w, im_error *err)
{
    im_item item;
    char sha256[IM_SHA256_HEX];
    char phash[17];
    char *path = NULL;
    bool online = false;
    show_context show = {w, library->store};
    im_code rc = im_store_get_item(library->store, id, &item, err);
    if (rc == IM_OK) {
        rc = im_store_item_path(library->store, id, &path, &online, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    im_sha256_hex(item.sha256, sha256);
    (void)snprintf(phash, sizeof(phash), "%016llx", (unsigned long long)item.phash);
    im_json_begin_object(w);
    im_json_put_uint(w, "id", item.id);
    answer_put_path(w, path);
    im_json_put_bool(w, "online", online);
    im_json_put_string(w, "format", item.format);
    im_json_put_uint(w, "bytes", item.bytes);
    answer_put_item(w, &item);
    im_json_put_string(w, "camera", item.camera[0] != '\0' ? item.camera : NULL);
    im_json_put_string(w, "lens", item.lens[0] != '\0' ? item.lens : NULL);
    put_where(w, &item);
    im_json_put_bool(w, "partial", item.partial);
    im_json_put_string(w, "sha256", sha256);
    im_json_put_string(w, "phash", phash);
    im_json_put_int(w, "added_ns", item.added_ns);
    im_json_key(w, "paths");
    im_json_begin_array(w);
    rc = im_store_each_file_of_item(library->store, id, show_file, &show, err);
    im_json_end_array(w);
    im_json_end_object(w);
    im_free(path);
    return rc;
}

/* ---- remove ---- */

typedef struct remove_list {
    uint64_t *ids;
    size_t n, capacity;
    bool no_memory;
} remove_list;

static bool note(remove_list *list, uint64_t id)
{
    if (list->n == list->capacity) {
        size_t wanted = list->capacity == 0 ? 64 : list->capacity * 2;
        uint64_t *grown = im_realloc(list->ids, wanted, sizeof(*grown));
        if (grown == NULL) {
            list->no_memory = true;
            return false;
        }
        list->ids = grown;
        list->capacity = wanted;
    }
    list->ids[list->n++] = id;
    return true;
}

static bool note_file(void *context, const im_file_row *file)
{
    return note(context, file->item);
}

typedef struct root_of_path {
    const char *path;
    uint64_t id;
    size_t length;
} root_of_path;

static bool match_root(void *context, const im_root *root)
{
    root_of_path *match = context;
    size_t n = strlen(root->path);
    if (strncmp(match->path, root->path, n) == 0 &&
        (match->path[n] == '/' || match->path[n] == '\0') && n >= match->length) {
        match->id = root->id;
        match->length = n;
    }
    return true;
}

/* The path as the library writes it, also when the file is gone. */
static im_code library_path(const char *path, char out[PATH_MAX], im_error *err)
{
    char here[PATH_MAX];
    if (realpath(path, out) != NULL) {
        return IM_OK;
    }
    int n = path[0] == '/' || getcwd(here, sizeof(here)) == NULL
                ? snprintf(out, PATH_MAX, "%s", path)
                : snprintf(out, PATH_MAX, "%s/%s", here, path);
    return n > 0 && n < PATH_MAX ? IM_OK
                                 : im_fail_as(err, IM_REASON_PATH_TOO_LONG,
                                              "path of %zu bytes, the system opens at "
                                              "most %d",
                                              strlen(path), PATH_MAX - 1);
}

static im_code list_path(im_library *library, const char *path, remove_list *list, im_error *err)
{
    char absolute[PATH_MAX];
    im_file_row row = {0};
    root_of_path match = {.path = absolute};
    im_code rc = library_path(path, absolute, err);
    if (rc == IM_OK) {
        rc = im_store_each_root(library->store, match_root, &match, err);
    }
    if (rc == IM_OK && match.id != 0) {
        const char *relative = absolute + match.length + (absolute[match.length] == '/');
        im_view view = im_view_from(relative);
        rc = im_store_find_file(library->store, match.id, view, &row, err);
        if (rc == IM_OK && row.id != 0) {
            return note(list, row.item) ? IM_OK
                                        : im_fail(err, IM_ERR_NOMEM, "no memory for a list");
        }
        if (rc == IM_OK) {
            rc = im_store_each_file_of_root(library->store, match.id, view, note_file, list, err);
        }
    }
    if (rc == IM_OK && list->n == 0) {
        rc = im_fail_as(err, IM_REASON_ITEM_NOT_FOUND,
                        "'%s' is in no folder of the library, or "
                        "nothing below it was added",
                        path);
    }
    return rc;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* One transaction; on a full disk the reserve is given back and it is tried once more. */
static im_code remove_ids(im_library *library, const remove_list *list, uint64_t *out_removed,
                          im_error *err)
{
    uint64_t removed = 0;
    im_code rc = im_store_begin(library->store, err);
    for (size_t i = 0; i < list->n && rc == IM_OK; i++) {
        if (i > 0 && list->ids[i] == list->ids[i - 1]) {
            continue;
        }
        rc = im_store_remove_item(library->store, list->ids[i], err);
        removed += rc == IM_OK;
    }
    if (rc == IM_OK) {
        rc = im_store_commit(library->store, err);
    } else {
        im_store_rollback(library->store);
    }
    *out_removed = rc == IM_OK ? removed : 0;
    return rc;
}

static im_code remove_locked(im_library *library, const remove_list *list, uint64_t *out_removed,
                             im_error *err)
{
    im_code rc = im_store_lock(library->store, IM_LIMIT_LOCK_WAIT_MS, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = remove_ids(library, list, out_removed, err);
    if (rc == IM_ERR_FULL) {
        im_store_release_reserve(library->store);
        rc = remove_ids(library, list, out_removed, err);
        im_store_refill_reserve(library->store);
    }
    im_store_unlock(library->store);
    return rc;
}

im_code im_app_remove(im_library *library, const im_remove_request *request,
                      const im_events *events, uint64_t *out_removed, im_error *err)
{
    remove_list list = {0};
    char question[96];
    im_code rc = IM_OK;
    *out_removed = 0;
    for (size_t i = 0; i < request->n_items && rc == IM_OK; i++) {
        im_item item;
        rc = im_store_get_item(library->store, request->items[i], &item, err);
        if (rc == IM_OK && !note(&list, item.id)) {
            list.no_memory = true;
        }
    }
    size_t named = list.n;
    for (size_t i = 0; i < request->n_paths && rc == IM_OK; i++) {
        rc = list_path(library, request->paths[i], &list, err);
    }
    if (rc == IM_OK && list.no_memory) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a list of items");
    }
    if (rc == IM_OK && list.n > 1) {
        (void)snprintf(question, sizeof(question), "Take %zu pictures out of the library?", list.n);
        if (list.n > named + request->n_paths && !event_confirm(events, question)) {
            rc = im_fail_as(err, IM_REASON_CONFIRM, "%zu pictures would be taken out", list.n);
            im_hint(err, "answer for it: --yes (the files themselves are never touched)");
        }
        qsort(list.ids, list.n, sizeof(*list.ids), compare_ids);
    }
    if (rc == IM_OK && list.n > 0) {
        rc = remove_locked(library, &list, out_removed, err);
        library_close_index(library);
    }
    im_free(list.ids);
    return rc;
}
