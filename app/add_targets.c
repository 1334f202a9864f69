/* app/add_targets.c — what was asked for: which root each path belongs to, and what of it is to be
 * walked. */
#include "app/add_internal.h"
#include "base/file.h"

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

static im_code put_root(im_library *library, root_list *roots, const char *path, bool recursive,
                        const im_root **out_root, im_error *err)
{
    im_code rc = im_store_lock(library->store, IM_LIMIT_LOCK_WAIT_MS, err);
    if (rc == IM_OK) {
        rc = roots_put(library->store, roots, path, recursive, out_root, err);
        im_store_unlock(library->store);
    }
    return rc;
}

/* Only as a whole: of a part of it nobody could say later whether it is followed. */
static im_code watch_target(im_library *library, const im_root *root, const add_target *target,
                            im_error *err)
{
    if (target->below[0] != '\0') {
        im_code rc = im_fail(err, IM_ERR_INVALID,
                             "'%.100s' lies in the added folder '%.200s', which is followed as a "
                             "whole or not at all",
                             target->below, root->path);
        im_hint(err, "follow that folder: imago watch FOLDER");
        return rc;
    }
    return im_app_watch_root(library, root->id, true, err);
}

static im_code set_target(add_target *target, const im_root *root, const char *absolute,
                          im_error *err)
{
    target->root = root->id;
    target->root_path = im_strdup(root->path);
    target->below = im_strdup(path_below(absolute, root->path));
    return target->root_path != NULL && target->below != NULL
               ? IM_OK
               : im_fail(err, IM_ERR_NOMEM, "no memory for a path");
}

/* A root's folder is not there: is it one we know? Then it is offline, and nothing of it changes.
 */
static im_code missing_target(const root_list *roots, const char *path, int why, add_target *target,
                              im_error *err)
{
    char absolute[PATH_MAX];
    im_code rc = path_absolute(path, absolute, err);
    if (rc != IM_OK) {
        return rc;
    }
    const im_root *root = roots_of_folder(roots, absolute);
    if (root == NULL || im_file_exists(root->path)) {
        return im_fail_errno(err, why, "could not look at '%s'", path);
    }
    target->offline = true;
    return set_target(target, root, absolute, err);
}

static im_code file_target(im_library *library, root_list *roots, const char *absolute,
                           add_target *target, im_error *err)
{
    char folder[PATH_MAX];
    im_code rc = IM_OK;
    const im_root *root = roots_of_file(roots, absolute);
    target->is_file = true;
    if (root == NULL) { /* the folder becomes a root that is not walked by itself */
        size_t n = (size_t)(strrchr(absolute, '/') - absolute);
        n = IM_MAX(n, 1);
        memcpy(folder, absolute, n);
        folder[n] = '\0';
        rc = put_root(library, roots, folder, false, &root, err);
    }
    return rc == IM_OK ? set_target(target, root, absolute, err) : rc;
}

static im_code find_target(im_library *library, root_list *roots, const char *path,
                           const im_add_request *request, add_target *target, im_error *err)
{
    struct stat st;
    char absolute[PATH_MAX];
    im_code rc = IM_OK;
    if (path[0] == '\0') {
        return im_fail(err, IM_ERR_INVALID, "a path to add is empty text");
    }
    if (stat(path, &st) != 0 || realpath(path, absolute) == NULL) {
        return missing_target(roots, path, errno, target, err);
    }
    if (!S_ISDIR(st.st_mode) && request->watch) {
        return im_fail(err, IM_ERR_INVALID, "'%.200s' is a file, only folders are followed", path);
    }
    if (!S_ISDIR(st.st_mode)) {
        return file_target(library, roots, absolute, target, err);
    }
    const im_root *root = request->no_recursion ? NULL : roots_of_folder(roots, absolute);
    if (root == NULL) {
        rc = put_root(library, roots, absolute, !request->no_recursion, &root, err);
    }
    rc = rc == IM_OK ? set_target(target, root, absolute, err) : rc;
    return rc == IM_OK && request->watch ? watch_target(library, root, target, err) : rc;
}

static void clear_target(add_target *target)
{
    im_free(target->root_path);
    im_free(target->below);
    id_list_clear(&target->seen);
    memset(target, 0, sizeof(*target));
}

/* One that cannot be taken is told and left out; only what ends the run is returned. */
static im_code find_one(add_run *run, root_list *roots, const char *path, const im_events *events,
                        im_add_report *report, add_targets *targets, im_error *err)
{
    im_error error = IM_ERROR_INIT;
    add_target *target = &targets->targets[targets->n];
    im_code rc = find_target(run->library, roots, path, run->request, target, &error);
    if (rc == IM_OK) {
        targets->n++;
    } else {
        clear_target(target);
    }
    if (rc == IM_OK && target->offline) {
        add_tell_offline(events, report);
    }
    if (rc == IM_ERR_NOT_FOUND && run->request->as_found) {
        return IM_OK; /* found, and gone since */
    }
    if (rc == IM_ERR_NOT_FOUND || rc == IM_ERR_DENIED || rc == IM_ERR_INVALID) {
        event_failed(events, path, &error);
        report->failed++;
        add_note_failure(&run->first, &error);
        return IM_OK;
    }
    if (rc != IM_OK && err != NULL) {
        *err = error;
    }
    return rc;
}

im_code add_put_target(add_targets *targets, const im_root *root, const char *below, im_error *err)
{
    add_target *target = &targets->targets[targets->n];
    target->is_file = true;
    target->root = root->id;
    target->root_path = im_strdup(root->path);
    target->below = im_strdup(below);
    targets->n++;
    return target->root_path != NULL && target->below != NULL
               ? IM_OK
               : im_fail(err, IM_ERR_NOMEM, "no memory for a path");
}

im_code add_find_targets(add_run *run, const im_events *events, im_add_report *report,
                         add_targets *out, im_error *err)
{
    root_list roots;
    size_t n = run->request->n_paths;
    *out = (add_targets){.targets = im_alloc_zero(IM_MAX(n, 1), sizeof(*out->targets))};
    if (out->targets == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for %zu paths", n);
    }
    if (run->request->changed) {
        return add_find_changed(run, events, report, out, err);
    }
    im_code rc = roots_load(run->library->store, &roots, err);
    for (size_t i = 0; i < n && rc == IM_OK; i++) {
        rc = find_one(run, &roots, run->request->paths[i], events, report, out, err);
    }
    roots_clear(&roots);
    return rc;
}

void add_targets_clear(add_targets *targets)
{
    for (size_t i = 0; i < targets->n; i++) {
        clear_target(&targets->targets[i]);
    }
    im_free(targets->targets);
    *targets = (add_targets){0};
}
