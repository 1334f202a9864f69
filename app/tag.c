/* app/tag.c — tags given to items and taken away, and told. Many items (a folder's) are written in
 * batches, so that others get their turn of the lock. */
#include "app/app_internal.h"
#include "base/clock.h"

#define TAG_BATCH 1024u /* items of one transaction */

/* ---- changing ---- */

typedef struct tags_of_item {
    name_list names;
    bool no_memory;
} tags_of_item;

static bool note_tag(void *context, const char *name, im_text_source source)
{
    tags_of_item *tags = context;
    (void)source;
    tags->no_memory = !name_list_add(&tags->names, name);
    return !tags->no_memory;
}

static im_code load_tags(im_store *store, uint64_t item, tags_of_item *out, im_error *err)
{
    im_code rc = im_store_each_tag_of_item(store, item, note_tag, out, err);
    return rc == IM_OK && out->no_memory ? im_fail(err, IM_ERR_NOMEM, "no memory for tags") : rc;
}

static bool has_tag(const tags_of_item *tags, const char *name)
{
    for (size_t i = 0; i < tags->names.n; i++) {
        if (im_ascii_same_word(tags->names.names[i], name)) {
            return true;
        }
    }
    return false;
}

/* found[i]: some item had request->remove[i]. */
static im_code change_item(im_store *store, uint64_t item, const im_tag_request *request,
                           bool *found, im_tag_report *report, im_error *err)
{
    tags_of_item tags = {0};
    im_code rc = load_tags(store, item, &tags, err);
    for (size_t i = 0; i < request->n_remove && rc == IM_OK; i++) {
        if (has_tag(&tags, request->remove[i])) {
            im_error gone = IM_ERROR_INIT; /* the same tag named twice: gone already */
            rc = im_store_drop_tag(store, item, request->remove[i], &gone);
            report->removed += rc == IM_OK;
            found[i] = true;
            if (rc != IM_OK && rc != IM_ERR_NOT_FOUND && err != NULL) {
                *err = gone;
            }
            rc = rc == IM_ERR_NOT_FOUND ? IM_OK : rc;
        }
    }
    for (size_t i = 0; i < request->n_add && rc == IM_OK; i++) {
        rc = im_store_put_tag(store, item, request->add[i], IM_SOURCE_USER, err);
        report->added += rc == IM_OK && !has_tag(&tags, request->add[i]);
    }
    name_list_clear(&tags.names);
    return rc;
}

/* An item that another process took out meanwhile is passed over. */
static im_code change_batch(im_store *store, const uint64_t *items, size_t n,
                            const im_tag_request *request, bool *found, im_tag_report *report,
                            im_error *err)
{
    im_tag_report counted = *report;
    im_code rc = im_store_begin(store, err);
    if (rc != IM_OK) {
        return rc;
    }
    for (size_t i = 0; i < n && rc == IM_OK; i++) {
        im_item item;
        im_error error = IM_ERROR_INIT;
        rc = im_store_get_item(store, items[i], &item, &error);
        if (rc == IM_OK) {
            counted.items++;
            rc = change_item(store, items[i], request, found, &counted, &error);
        } else if (rc == IM_ERR_NOT_FOUND) {
            rc = IM_OK;
        }
        if (rc != IM_OK && err != NULL) {
            *err = error;
        }
    }
    if (rc == IM_OK) {
        rc = im_store_commit(store, err);
    } else {
        im_store_rollback(store);
    }
    if (rc == IM_OK) {
        *report = counted;
    }
    return rc;
}

static im_code change_all(im_library *library, const id_list *items, const im_tag_request *request,
                          const im_events *events, im_tag_report *report, im_error *err)
{
    im_code rc = IM_OK;
    bool *found = im_alloc_zero(IM_MAX(request->n_remove, 1), sizeof(*found));
    if (found == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for tags");
    }
    for (size_t i = 0; i < items->n && rc == IM_OK && !im_stop_asked(); i += TAG_BATCH) {
        rc = change_batch(library->store, items->ids + i, IM_MIN(items->n - i, TAG_BATCH), request,
                          found, report, err);
    }
    report->interrupted = im_stop_asked();
    for (size_t i = 0; i < request->n_remove && rc == IM_OK && !report->interrupted; i++) {
        if (!found[i]) {
            char sentence[IM_LIMIT_TAG_BYTES + 64];
            (void)snprintf(sentence, sizeof(sentence), "nothing that was named has the tag '%s'",
                           request->remove[i]);
            event_warning(events, sentence);
        }
    }
    im_free(found);
    return rc;
}

static im_code check_tags(const im_tag_request *request, im_error *err)
{
    im_code rc = IM_OK;
    for (size_t i = 0; i < request->n_add && rc == IM_OK; i++) {
        rc = im_tag_check(request->add[i], err);
    }
    for (size_t i = 0; i < request->n_remove && rc == IM_OK; i++) {
        rc = im_tag_check(request->remove[i], err);
    }
    return rc;
}

im_code im_app_tag(im_library *library, const im_tag_request *request, const im_events *events,
                   im_tag_report *out_report, im_error *err)
{
    named_items named = {.first = IM_ERROR_INIT};
    memset(out_report, 0, sizeof(*out_report));
    im_code rc = check_tags(request, err);
    if (rc == IM_OK) {
        rc = items_named(library, request->items, request->n_items, request->paths,
                         request->n_paths, events, &named, err);
    }
    if (rc == IM_OK) {
        rc = change_all(library, &named.items, request, events, out_report, err);
    }
    if (rc == IM_OK && out_report->interrupted) {
        rc = im_fail_as(err, IM_REASON_INTERRUPTED, "stopped: %llu of %zu items done",
                        (unsigned long long)out_report->items, named.items.n);
    } else if (rc == IM_OK) {
        rc = items_named_verdict(&named, err);
    }
    id_list_clear(&named.items);
    return rc;
}

/* ---- telling ---- */

static bool put_tag(void *context, const char *name, im_text_source source)
{
    (void)source;
    im_json_string_c(context, name);
    return true;
}

static bool put_count(void *context, const char *name, uint64_t n_items)
{
    im_json_writer *w = context;
    im_json_begin_object(w);
    im_json_put_string(w, "name", name);
    im_json_put_uint(w, "items", n_items);
    im_json_end_object(w);
    return true;
}

static im_code put_item(im_store *store, uint64_t item, im_json_writer *w, im_error *err)
{
    char *path = NULL;
    bool online = false;
    im_code rc = im_store_item_path(store, item, &path, &online, err);
    if (rc != IM_OK) {
        return rc;
    }
    im_json_begin_object(w);
    im_json_put_uint(w, "id", item);
    answer_put_path(w, path);
    im_json_key(w, "tags");
    im_json_begin_array(w);
    rc = im_store_each_tag_of_item(store, item, put_tag, w, err);
    im_json_end_array(w);
    im_json_end_object(w);
    im_free(path);
    return rc;
}

static im_code put_all(im_store *store, im_json_writer *w, im_error *err)
{
    im_json_begin_object(w);
    im_json_key(w, "tags");
    im_json_begin_array(w);
    im_code rc = im_store_each_tag(store, put_count, w, err);
    im_json_end_array(w);
    im_json_end_object(w);
    return rc;
}

im_code im_app_tags_json(im_library *library, const im_tag_request *request,
                         const im_events *events, im_json_writer *w, im_error *err)
{
    named_items named = {.first = IM_ERROR_INIT};
    if (request->n_items + request->n_paths == 0) {
        return put_all(library->store, w, err);
    }
    im_code rc = items_named(library, request->items, request->n_items, request->paths,
                             request->n_paths, events, &named, err);
    if (rc == IM_OK && named.items.n > 0) {
        im_json_begin_object(w);
        im_json_key(w, "items");
        im_json_begin_array(w);
        for (size_t i = 0; i < named.items.n && rc == IM_OK; i++) {
            rc = put_item(library->store, named.items.ids[i], w, err);
        }
        im_json_end_array(w);
        im_json_end_object(w);
    }
    if (rc == IM_OK) {
        rc = items_named_verdict(&named, err);
    }
    id_list_clear(&named.items);
    return rc;
}
