/* app/add_vanish.c — files that a walk did not meet: marked as missing, or forgotten when asked to,
 * unless the folder looks like one that is not mounted. */
#include "app/add_internal.h"

#include <sys/stat.h>

#define MARK_ROWS 10000u /* of one transaction: 0.1 s */

typedef struct vanish_search {
    const add_target *target;
    int64_t started_ns; /* rows hashed since then were met by this very run */
    add_vanished gone;
    bool no_memory;
} vanish_search;

/* What the walk did not meet because it came back behind it, or lies behind a link that it did not
 * follow, is not gone. Where that cannot be told it counts as there. */
static bool is_there(const char *root_path, im_view path, bool *out_no_memory)
{
    struct stat st;
    im_str full;
    im_str_init(&full, IM_LIMIT_PATH_BYTES);
    im_str_addf(&full, "%s/", root_path);
    im_str_add(&full, path.data, path.size);
    *out_no_memory = full.failed;
    bool there = full.failed || (lstat(im_str_text(&full), &st) == 0
                                     ? S_ISREG(st.st_mode)
                                     : errno != ENOENT && errno != ENOTDIR && errno != ELOOP);
    im_str_clear(&full);
    return there;
}

static bool note_vanished(void *context, const im_file_row *file)
{
    vanish_search *search = context;
    if (file->missing) {
        return true;
    }
    search->gone.n_present++;
    if (file->hashed_ns >= search->started_ns || id_list_has(&search->target->seen, file->id) ||
        is_there(search->target->root_path, file->path, &search->no_memory)) {
        return !search->no_memory;
    }
    search->no_memory =
        !id_list_add(&search->gone.rows, file->id) || !id_list_add(&search->gone.items, file->item);
    return !search->no_memory;
}

static im_code mark_row(im_store *store, const add_vanished *gone, size_t i, bool prune,
                        im_error *err)
{
    if (!prune) {
        im_error dropped = IM_ERROR_INIT;
        im_code rc = im_store_set_file_missing(store, gone->rows.ids[i], true, &dropped);
        if (rc != IM_OK && rc != IM_ERR_NOT_FOUND && err != NULL) {
            *err = dropped;
        }
        return rc == IM_ERR_NOT_FOUND ? IM_OK : rc; /* its row moved along meanwhile */
    }
    im_code rc = im_store_drop_file(store, gone->rows.ids[i], err);
    return rc == IM_OK ? item_drop_bare(store, gone->items.ids[i], err) : rc;
}

static im_code mark_some(im_store *store, const add_vanished *gone, size_t from, size_t to,
                         bool prune, im_error *err)
{
    im_code rc = im_store_begin(store, err);
    if (rc != IM_OK) {
        return rc;
    }
    for (size_t i = from; i < to && rc == IM_OK; i++) {
        rc = mark_row(store, gone, i, prune, err);
    }
    if (rc == IM_OK) {
        return im_store_commit(store, err);
    }
    im_store_rollback(store);
    return rc;
}

/* In many short transactions: a million files that are gone hold nobody up, and the WAL stays
 * small. What is not marked when one fails the next run finds. */
static im_code mark_rows(im_library *library, const add_vanished *gone, bool prune,
                         im_add_report *report, im_error *err)
{
    im_code rc = IM_OK;
    for (size_t from = 0; from < gone->rows.n && rc == IM_OK; from += MARK_ROWS) {
        size_t to = IM_MIN(from + MARK_ROWS, gone->rows.n);
        rc = mark_some(library->store, gone, from, to, prune, err);
        if (rc == IM_OK) {
            *(prune ? &report->pruned : &report->missing) += to - from;
        }
    }
    return rc;
}

im_code add_mark_asked(im_library *library, const im_add_request *request, const add_vanished *gone,
                       const im_events *events, im_add_report *report, im_error *err)
{
    char sentence[256];
    size_t n = gone->rows.n;
    bool many = n > IM_GONE_UNASKED && !gone->sure &&
                (request->changed || n * 5 > gone->n_present); /* a batch is not the whole */
    (void)snprintf(sentence, sizeof(sentence), "%zu of %zu files below '%.120s' are gone. %s?", n,
                   gone->n_present, gone->root_path,
                   request->prune ? "Forget them" : "Mark them as missing");
    if ((!request->prune && !many) || event_confirm(events, sentence)) {
        return mark_rows(library, gone, request->prune, report, err);
    }
    (void)snprintf(sentence, sizeof(sentence),
                   "%zu files below '%.120s' are gone and were left as they are (--yes answers for "
                   "you)",
                   n, gone->root_path);
    report->offline_root = report->offline_root || !request->prune;
    event_warning(events, sentence);
    return IM_OK;
}

void add_tell_offline(const im_events *events, im_add_report *report)
{
    report->offline_root = true;
    event_warning(events, "a folder is not there (not mounted?): nothing of it was changed");
}

im_code add_mark_vanished(im_library *library, const im_add_request *request, add_target *target,
                          int64_t started_ns, const im_events *events, im_add_report *report,
                          im_error *err)
{
    const im_watch_mark *mark = request->mark;
    vanish_search search = {
        .target = target, .started_ns = started_ns, .gone = {.root_path = target->root_path}};
    if (target->offline || target->is_file || !target->complete) {
        return IM_OK;
    }
    id_list_sort(&target->seen);
    im_code rc = im_store_each_file_of_root(
        library->store, target->root, im_view_from(target->below), note_vanished, &search, err);
    if (rc == IM_OK && search.no_memory) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a list of vanished files");
    }
    /* what was walked must have been this very folder to the end */
    bool another = mark != NULL && !add_mark_is_there(target->root_path, mark);
    search.gone.sure = mark != NULL && mark->witnessed && !another;
    if (rc == IM_OK && search.gone.rows.n > 0 && another) {
        add_tell_offline(events, report);
    } else if (rc == IM_OK && search.gone.rows.n > 0 && target->n_entries == 0 &&
               !search.gone.sure) {
        report->offline_root = true;
        event_warning(events, "a folder that held pictures is empty now: perhaps not mounted; "
                              "nothing of it was changed");
    } else if (rc == IM_OK && search.gone.rows.n > 0) {
        rc = add_mark_asked(library, request, &search.gone, events, report, err);
    }
    id_list_clear(&search.gone.rows);
    id_list_clear(&search.gone.items);
    return rc;
}
