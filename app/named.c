/* app/named.c — the items that a command names: by id, by the path of a file, by a folder that
 * holds them. */
#include "app/app_internal.h"

typedef struct named_search {
    root_list roots;
    named_items *out;
    bool no_memory;
} named_search;

static bool note_file(void *context, const im_file_row *file)
{
    named_search *search = context;
    search->no_memory = search->no_memory || !id_list_add(&search->out->items, file->item);
    return !search->no_memory;
}

static void note_unknown(named_search *search, const im_events *events, const char *what,
                         const im_error *error)
{
    if (search->out->n_unknown++ == 0) {
        search->out->first = *error;
    }
    event_failed(events, what, error);
}

static im_code list_id(im_library *library, named_search *search, uint64_t id,
                       const im_events *events, im_error *err)
{
    im_item item;
    char name[32];
    im_error error = IM_ERROR_INIT;
    im_code rc = im_store_get_item(library->store, id, &item, &error);
    if (rc == IM_ERR_NOT_FOUND) {
        (void)snprintf(name, sizeof(name), "id:%llu", (unsigned long long)id);
        note_unknown(search, events, name, &error);
        return IM_OK;
    }
    if (rc != IM_OK && err != NULL) {
        *err = error;
    }
    search->no_memory = search->no_memory || (rc == IM_OK && !id_list_add(&search->out->items, id));
    return rc;
}

/* What one root knows of a path: its row, all below it, or all of a root that lies below it. */
static im_code list_in_root(im_library *library, named_search *search, const im_root *root,
                            const char *absolute, im_error *err)
{
    im_file_row row = {0};
    const char *below = path_below(absolute, root->path);
    if (below == NULL && path_below(root->path, absolute) == NULL) {
        return IM_OK;
    }
    im_view view = im_view_from(below != NULL ? below : "");
    im_code rc =
        view.size > 0 ? im_store_find_file(library->store, root->id, view, &row, err) : IM_OK;
    if (rc == IM_OK && row.id != 0) {
        (void)note_file(search, &row);
        return IM_OK;
    }
    return rc == IM_OK
               ? im_store_each_file_of_root(library->store, root->id, view, note_file, search, err)
               : rc;
}

static im_code list_path(im_library *library, named_search *search, const char *path,
                         const im_events *events, im_error *err)
{
    char absolute[PATH_MAX];
    im_error error = IM_ERROR_INIT;
    size_t before = search->out->items.n;
    im_code rc = path_absolute(path, absolute, &error);
    if (rc != IM_OK) {
        note_unknown(search, events, path, &error);
        return IM_OK;
    }
    for (size_t i = 0; i < search->roots.n && rc == IM_OK; i++) {
        rc = list_in_root(library, search, &search->roots.roots[i], absolute, err);
    }
    if (rc == IM_OK && search->out->items.n == before && !search->no_memory) {
        im_code unknown = im_fail_as(&error, IM_REASON_ITEM_NOT_FOUND,
                                     "'%s' is in no folder of the library, or "
                                     "nothing below it was added",
                                     path);
        (void)unknown;
        note_unknown(search, events, path, &error);
    }
    return rc;
}

static void drop_doubles(id_list *sorted)
{
    size_t kept = 0;
    for (size_t i = 0; i < sorted->n; i++) {
        if (i == 0 || sorted->ids[i] != sorted->ids[i - 1]) {
            sorted->ids[kept++] = sorted->ids[i];
        }
    }
    sorted->n = kept;
}

im_code items_named(im_library *library, const uint64_t *items, size_t n_items,
                    const char *const *paths, size_t n_paths, const im_events *events,
                    named_items *out, im_error *err)
{
    named_search search = {.out = out};
    im_code rc = roots_load(library->store, &search.roots, err);
    for (size_t i = 0; i < n_items && rc == IM_OK; i++) {
        rc = list_id(library, &search, items[i], events, err);
    }
    for (size_t i = 0; i < n_paths && rc == IM_OK; i++) {
        rc = list_path(library, &search, paths[i], events, err);
    }
    if (rc == IM_OK && search.no_memory) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a list of items");
    }
    roots_clear(&search.roots);
    id_list_sort(&out->items);
    drop_doubles(&out->items);
    return rc;
}

im_code items_named_verdict(const named_items *named, im_error *err)
{
    if (named->n_unknown == 0) {
        return IM_OK;
    }
    if (named->items.n == 0) {
        if (err != NULL) {
            *err = named->first;
        }
        return named->first.code;
    }
    return im_fail_as(err, IM_REASON_PARTIAL, "%llu of what was named is not in the library",
                      (unsigned long long)named->n_unknown);
}
