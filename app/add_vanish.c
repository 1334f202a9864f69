/* app/add_vanish.c — files that a walk did not meet: marked as missing, or forgotten when asked to,
 * unless the folder looks like one that is not mounted. */
#include "app/add_internal.h"

typedef struct vanish_search {
    const add_target *target;
    int64_t started_ns;  /* rows hashed since then were met by this very run */
    id_list rows, items; /* of the vanished files, in one order */
    size_t n_present;
    bool no_memory;
} vanish_search;

static bool note_vanished(void *context, const im_file_row *file)
{
    vanish_search *search = context;
    if (file->missing) {
        return true;
    }
    search->n_present++;
    if (file->hashed_ns >= search->started_ns || id_list_has(&search->target->seen, file->id)) {
        return true;
    }
    search->no_memory =
        !id_list_add(&search->rows, file->id) || !id_list_add(&search->items, file->item);
    return !search->no_memory;
}

static im_code mark_row(im_store *store, const vanish_search *search, size_t i, bool prune,
                        im_error *err)
{
    if (!prune) {
        return im_store_set_file_missing(store, search->rows.ids[i], true, err);
    }
    im_code rc = im_store_drop_file(store, search->rows.ids[i], err);
    return rc == IM_OK ? item_drop_bare(store, search->items.ids[i], err) : rc;
}

static im_code mark_rows(im_library *library, const vanish_search *search, bool prune,
                         im_add_report *report, im_error *err)
{
    im_code rc = im_store_lock(library->store, IM_LIMIT_LOCK_WAIT_MS, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = im_store_begin(library->store, err);
    for (size_t i = 0; i < search->rows.n && rc == IM_OK; i++) {
        rc = mark_row(library->store, search, i, prune, err);
    }
    if (rc == IM_OK) {
        rc = im_store_commit(library->store, err);
    } else {
        im_store_rollback(library->store);
    }
    im_store_unlock(library->store);
    report->pruned += rc == IM_OK && prune ? search->rows.n : 0;
    report->missing += rc == IM_OK && !prune ? search->rows.n : 0;
    return rc;
}

/* Many at once, or a deletion: only after asking. */
static im_code mark_asked(im_library *library, const im_add_request *request,
                          const vanish_search *search, const im_events *events,
                          im_add_report *report, im_error *err)
{
    char sentence[256];
    size_t n = search->rows.n;
    bool many = n > 50 && n * 5 > search->n_present;
    (void)snprintf(sentence, sizeof(sentence), "%zu of %zu files below '%.120s' are gone. %s?", n,
                   search->n_present, search->target->root_path,
                   request->prune ? "Forget them" : "Mark them as missing");
    if ((!request->prune && !many) || event_confirm(events, sentence)) {
        return mark_rows(library, search, request->prune, report, err);
    }
    (void)snprintf(sentence, sizeof(sentence),
                   "%zu files below '%.120s' are gone and were left as they are (--yes answers for "
                   "you)",
                   n, search->target->root_path);
    report->offline_root = report->offline_root || !request->prune;
    event_warning(events, sentence);
    return IM_OK;
}

im_code add_mark_vanished(im_library *library, const im_add_request *request, add_target *target,
                          int64_t started_ns, const im_events *events, im_add_report *report,
                          im_error *err)
{
    vanish_search search = {.target = target, .started_ns = started_ns};
    if (target->offline || target->is_file || !target->complete) {
        return IM_OK;
    }
    id_list_sort(&target->seen);
    im_code rc = im_store_each_file_of_root(
        library->store, target->root, im_view_from(target->below), note_vanished, &search, err);
    if (rc == IM_OK && search.no_memory) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a list of vanished files");
    }
    if (rc == IM_OK && search.rows.n > 0 && target->n_entries == 0) {
        report->offline_root = true;
        event_warning(events, "a folder that held pictures is empty now: perhaps not mounted; "
                              "nothing of it was changed");
    } else if (rc == IM_OK && search.rows.n > 0) {
        rc = mark_asked(library, request, &search, events, report, err);
    }
    id_list_clear(&search.rows);
    id_list_clear(&search.items);
    return rc;
}
