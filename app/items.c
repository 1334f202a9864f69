/* app/items.c — one item shown, items taken out. */
#include "app/app_internal.h"
#include "base/file.h"
#include "base/hash.h"

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

typedef struct show_context {
    im_json_writer *w;
    root_list roots;
} show_context;

static bool show_file(void *context, const im_file_row *file)
{
    show_context *show = context;
    char *path = roots_file_path(&show->roots, file);
    im_json_begin_object(show->w);
    answer_put_path(show->w, path);
    im_json_put_bool(show->w, "missing", file->missing);
    im_json_put_uint(show->w, "bytes", file->stamp.size);
    im_json_end_object(show->w);
    im_free(path);
    return true;
}

im_code im_app_show_json(im_library *library, uint64_t id, im_json_writer *w, im_error *err)
{
    im_item item;
    char sha256[IM_SHA256_HEX];
    char phash[17];
    char *path = NULL;
    char *name = NULL;
    bool online = false;
    show_context show = {.w = w};
    im_code rc = im_store_get_item(library->store, id, &item, err);
    if (rc == IM_OK) {
        rc = roots_load(library->store, &show.roots, err);
    }
    if (rc == IM_OK) {
        rc = im_store_item_path(library->store, id, &path, &online, err);
    }
    if (rc == IM_OK) {
        rc = im_store_item_name(library->store, id, &name, err);
    }
    if (rc != IM_OK) {
        roots_clear(&show.roots);
        im_free(path);
        return rc;
    }
    im_sha256_hex(item.sha256, sha256);
    (void)snprintf(phash, sizeof(phash), "%016llx", (unsigned long long)item.phash);
    im_json_begin_object(w);
    im_json_put_uint(w, "id", item.id);
    answer_put_path(w, path);
    im_json_put_string(w, "name", name[0] != '\0' ? name : NULL);
    im_json_put_bool(w, "online", online);
    im_json_put_string(w, "format", item.format);
    im_json_put_uint(w, "bytes", item.bytes);
    answer_put_item(w, &item);
    im_json_put_string(w, "camera", item.camera[0] != '\0' ? item.camera : NULL);
    im_json_put_string(w, "lens", item.lens[0] != '\0' ? item.lens : NULL);
    answer_put_gps(w, &item);
    im_json_put_bool(w, "partial", item.partial);
    im_json_put_string(w, "sha256", sha256);
    im_json_put_string(w, "phash", phash);
    im_json_put_int(w, "added_ns", item.added_ns);
    im_json_key(w, "paths");
    im_json_begin_array(w);
    rc = im_store_each_file_of_item(library->store, id, show_file, &show, err);
    im_json_end_array(w);
    if (rc == IM_OK) {
        rc = own_put_json(library->store, id, w, err);
    }
    im_json_end_object(w);
    roots_clear(&show.roots);
    im_free(path);
    im_free(name);
    return rc;
}

/* ---- items without files ---- */

static bool note_there_is_one(void *context, const im_file_row *file)
{
    bool *found = context;
    (void)file;
    *found = true;
    return false;
}

im_code item_drop_bare(im_store *store, uint64_t item, im_error *err)
{
    bool found = false;
    im_item row;
    im_code rc = im_store_each_file_of_item(store, item, note_there_is_one, &found, err);
    if (rc != IM_OK || found) {
        return rc;
    }
    rc = im_store_get_item(store, item, &row, err);
    if (rc == IM_OK && strcmp(row.source, "import") == 0) {
        return IM_OK; /* its vector came without a file, and may stay without one */
    }
    if (rc == IM_OK) {
        rc = im_store_remove_item(store, item, err);
    }
    if (rc == IM_OK) { /* it was not the user who took it out */
        rc = im_store_forget_removed(store, row.sha256, err);
    }
    return rc;
}

/* ---- remove ---- */

/* One transaction. An item that another process took out meanwhile is out all the same. */
static im_code remove_ids(im_library *library, const id_list *items, uint64_t *out_removed,
                          im_error *err)
{
    uint64_t removed = 0;
    im_code rc = im_store_begin(library->store, err);
    for (size_t i = 0; i < items->n && rc == IM_OK; i++) {
        if (i > 0 && items->ids[i] == items->ids[i - 1]) {
            continue;
        }
        rc = im_store_remove_item(library->store, items->ids[i], err);
        removed += rc == IM_OK;
        rc = rc == IM_ERR_NOT_FOUND ? IM_OK : rc;
    }
    if (rc == IM_OK) {
        rc = im_store_commit(library->store, err);
    } else {
        im_store_rollback(library->store);
    }
    *out_removed = rc == IM_OK ? removed : 0;
    return rc;
}

/* On a full disk the reserve is given back and it is tried once more. */
static im_code remove_locked(im_library *library, const id_list *items, uint64_t *out_removed,
                             im_error *err)
{
    im_code rc = im_store_lock(library->store, IM_LIMIT_LOCK_WAIT_MS, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = remove_ids(library, items, out_removed, err);
    if (rc == IM_ERR_FULL) {
        im_store_release_reserve(library->store);
        rc = remove_ids(library, items, out_removed, err);
        im_store_refill_reserve(library->store);
    }
    im_store_unlock(library->store);
    return rc;
}

/* More than was named (folders) is taken out only after asking. */
static im_code ask(const named_items *search, const im_remove_request *request,
                   const im_events *events, im_error *err)
{
    char question[96];
    size_t n = search->items.n;
    (void)snprintf(question, sizeof(question), "Take %zu pictures out of the library?", n);
    if (n <= request->n_items + request->n_paths || event_confirm(events, question)) {
        return IM_OK;
    }
    im_code rc = im_fail_as(err, IM_REASON_CONFIRM, "%zu pictures would be taken out", n);
    im_hint(err, "answer for it: --yes (the files themselves are never touched)");
    return rc;
}

im_code im_app_remove(im_library *library, const im_remove_request *request,
                      const im_events *events, uint64_t *out_removed, im_error *err)
{
    named_items named = {.first = IM_ERROR_INIT};
    *out_removed = 0;
    im_code rc = items_named(library, request->items, request->n_items, request->paths,
                             request->n_paths, events, &named, err);
    if (rc == IM_OK && named.items.n > 0) {
        rc = ask(&named, request, events, err);
        if (rc == IM_OK) {
            rc = remove_locked(library, &named.items, out_removed, err);
            library_close_index(library);
        }
        if (rc == IM_OK && *out_removed > 0) {
            library_compact_when_due(library, events);
        }
    }
    if (rc == IM_OK) {
        rc = items_named_verdict(&named, err);
    }
    id_list_clear(&named.items);
    return rc;
}
