/* app/add_changed.c — what has changed in a followed root: of the paths that are told, files that
 * are there become targets, and what is gone is marked as missing. Nothing is taken through links,
 * and nothing is believed of a folder that is another one than the one followed. */
#include "app/add_internal.h"

#include <sys/stat.h>

typedef enum what_is { IS_FILE, IS_FOLDER, IS_GONE, IS_UNKNOWN } what_is;

bool add_mark_is_there(const char *path, const im_watch_mark *mark)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode) && (uint64_t)st.st_dev == mark->device &&
           (uint64_t)st.st_ino == mark->inode;
}

/* What a walk from the root would meet below it. @param real the root's own real path */
static what_is look_at(const char *real, const char *below)
{
    struct stat st;
    char full[PATH_MAX];
    char resolved[PATH_MAX];
    int n = snprintf(full, sizeof(full), "%s/%s", strcmp(real, "/") == 0 ? "" : real, below);
    if (n < 0 || (size_t)n >= sizeof(full)) {
        return IS_UNKNOWN;
    }
    if (lstat(full, &st) != 0 || realpath(full, resolved) == NULL) {
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? IS_GONE : IS_UNKNOWN;
    }
    if (strcmp(full, resolved) != 0) {
        return IS_GONE; /* behind a link */
    }
    return S_ISREG(st.st_mode) ? IS_FILE : S_ISDIR(st.st_mode) ? IS_FOLDER : IS_GONE;
}

/* The root that is followed, and its real path; NULL when it was forgotten, or is not there to be
 * believed. */
static const im_root *find_root(const im_add_request *request, const root_list *roots,
                                const im_events *events, im_add_report *report, char real[PATH_MAX])
{
    const im_root *root = roots_by_id(roots, request->mark->root);
    if (root == NULL ||
        (add_mark_is_there(root->path, request->mark) && realpath(root->path, real) != NULL)) {
        return root;
    }
    add_tell_offline(events, report);
    return NULL;
}

im_code add_find_changed(add_run *run, const im_events *events, im_add_report *report,
                         add_targets *out, im_error *err)
{
    const im_add_request *request = run->request;
    char real[PATH_MAX];
    const im_root *root = NULL;
    root_list roots;
    im_code rc = roots_load(run->library->store, &roots, err);
    if (rc == IM_OK) {
        root = find_root(request, &roots, events, report, real);
    }
    for (size_t i = 0; rc == IM_OK && root != NULL && i < request->n_paths; i++) {
        const char *path = request->paths[i];
        const char *below = path_below(path, root->path);
        const im_root *nearest = roots_of_file(&roots, path);
        if (below != NULL && below[0] != '\0' && nearest != NULL &&
            look_at(real, below) == IS_FILE) {
            rc = add_put_target(out, nearest, path_below(path, nearest->path), err);
        }
    }
    roots_clear(&roots);
    return rc;
}

/* ---- gone ---- */

typedef struct gone_search {
    add_vanished gone;
    bool no_memory;
} gone_search;

static bool note_gone(void *context, const im_file_row *file)
{
    gone_search *search = context;
    if (!file->missing) {
        search->no_memory = !id_list_add(&search->gone.rows, file->id);
    }
    return !search->no_memory;
}

/* The rows of one path in one root: its own when no file is there, those below when no folder is.
 */
static im_code find_gone(im_store *store, const im_root *root, const char *path, what_is what,
                         gone_search *search, im_error *err)
{
    const char *below = path_below(path, root->path);
    im_file_row row = {0};
    im_code rc = IM_OK;
    if (below == NULL || below[0] == '\0' || what == IS_UNKNOWN) {
        return IM_OK;
    }
    if (what != IS_FILE) {
        rc = im_store_find_file(store, root->id, im_view_from(below), &row, err);
        if (rc == IM_OK && row.id != 0) {
            (void)note_gone(search, &row);
        }
    }
    if (rc == IM_OK && what != IS_FOLDER) {
        rc = im_store_each_file_of_root(store, root->id, im_view_from(below), note_gone, search,
                                        err);
    }
    return rc == IM_OK && search->no_memory
               ? im_fail(err, IM_ERR_NOMEM, "no memory for a list of vanished files")
               : rc;
}

/* A file below a folder that is told too was found twice. */
static void drop_twins(id_list *list)
{
    size_t n = 0;
    id_list_sort(list);
    for (size_t i = 0; i < list->n; i++) {
        if (n == 0 || list->ids[n - 1] != list->ids[i]) {
            list->ids[n++] = list->ids[i];
        }
    }
    list->n = n;
}

static im_code count_present(im_store *store, const im_root *root, gone_search *search,
                             im_error *err)
{
    im_root_counts counts = {0};
    im_code rc = im_store_count_root(store, root->id, &counts, err);
    search->gone.n_present = rc == IM_OK ? (size_t)(counts.files - counts.missing_files) : 0;
    return rc;
}

im_code add_mark_changed(im_library *library, const im_add_request *request,
                         const im_events *events, im_add_report *report, im_error *err)
{
    char real[PATH_MAX];
    const im_root *root = NULL;
    gone_search search = {.gone = {.sure = request->mark->witnessed}};
    root_list roots;
    im_code rc = roots_load(library->store, &roots, err);
    if (rc == IM_OK) {
        root = find_root(request, &roots, events, report, real);
    }
    for (size_t i = 0; rc == IM_OK && root != NULL && i < request->n_paths; i++) {
        const char *below = path_below(request->paths[i], root->path);
        what_is what = below != NULL ? look_at(real, below) : IS_UNKNOWN;
        for (size_t j = 0; rc == IM_OK && j < roots.n; j++) {
            rc = find_gone(library->store, &roots.roots[j], request->paths[i], what, &search, err);
        }
    }
    drop_twins(&search.gone.rows);
    if (rc == IM_OK && search.gone.rows.n > 0 && !search.gone.sure) {
        rc = count_present(library->store, root, &search, err);
    }
    /* what was looked at must have been this very folder to the end */
    if (rc == IM_OK && search.gone.rows.n > 0 && add_mark_is_there(root->path, request->mark)) {
        search.gone.root_path = root->path;
        rc = add_mark_asked(library, request, &search.gone, events, report, err);
    }
    id_list_clear(&search.gone.rows);
    roots_clear(&roots);
    return rc;
}
