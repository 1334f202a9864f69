/* app/relocate.c — folders that were moved or mounted elsewhere: the library follows, when the
 * files are really there. */
#include "app/app_internal.h"
#include "base/file.h"

#include <sys/stat.h>

#define LOOKED_AT 1000u /* files of each folder: enough to tell it from a wrong one */

typedef struct look {
    const char *folder; /* where the files should be now */
    im_relocate_report *report;
    uint64_t n;
    bool no_memory;
} look;

/* Another file of that name and size would be a strange chance; the next `add` reads what has
 * another time of change. */
static bool look_for_file(void *context, const im_file_row *file)
{
    look *l = context;
    struct stat facts;
    im_str name;
    if (file->missing) {
        return true;
    }
    im_str_init(&name, IM_LIMIT_PATH_BYTES);
    im_str_add(&name, file->path.data, file->path.size);
    char *path = name.failed ? NULL : im_path_join(l->folder, im_str_text(&name));
    im_str_clear(&name);
    l->no_memory = path == NULL;
    if (path != NULL) {
        l->report->looked_at++;
        l->report->found += stat(path, &facts) == 0 && S_ISREG(facts.st_mode) &&
                            (uint64_t)facts.st_size == file->stamp.size;
    }
    im_free(path);
    return path != NULL && ++l->n < LOOKED_AT;
}

/* OLD itself or a folder below it: what lies behind OLD is kept. */
static im_code new_place(const im_root *root, const char *old_path, const char *new_path,
                         char **out_path, im_error *err)
{
    const char *below = path_below(root->path, old_path);
    *out_path = below[0] != '\0' ? im_path_join(new_path, below) : im_strdup(new_path);
    return *out_path != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a path");
}

static im_code move_root(im_library *library, const im_root *root, const char *old_path,
                         const char *new_path, im_relocate_report *report, im_error *err)
{
    look l = {.report = report};
    char *path = NULL;
    im_code rc = new_place(root, old_path, new_path, &path, err);
    if (rc != IM_OK) {
        return rc;
    }
    l.folder = path;
    rc = im_store_each_file_of_root(library->store, root->id, im_view_from(""), look_for_file, &l,
                                    err);
    if (rc == IM_OK && l.no_memory) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    if (rc == IM_OK) {
        rc = im_store_move_root(library->store, root->id, path, err);
    }
    if (rc == IM_OK) {
        rc = im_store_set_root_online(library->store, root->id, im_file_exists(path), err);
        report->roots++;
    }
    im_free(path);
    return rc;
}

static im_code move_all(im_library *library, const root_list *roots, const char *old_path,
                        const char *new_path, im_relocate_report *report, im_error *err)
{
    im_code rc = im_store_begin(library->store, err);
    if (rc != IM_OK) {
        return rc;
    }
    for (size_t i = 0; rc == IM_OK && i < roots->n; i++) {
        if (path_below(roots->roots[i].path, old_path) != NULL) {
            rc = move_root(library, &roots->roots[i], old_path, new_path, report, err);
        }
    }
    if (rc == IM_OK && report->roots == 0) {
        rc = im_fail(err, IM_ERR_NOT_FOUND,
                     "'%s' is no folder that was added, and none is below it", old_path);
        im_hint(err, "'imago status' lists the folders");
    } else if (rc == IM_OK && report->looked_at > 0 && report->found == 0) {
        rc = im_fail(err, IM_ERR_NOT_FOUND,
                     "none of %llu files of '%s' is below '%s': nothing was changed",
                     (unsigned long long)report->looked_at, old_path, new_path);
        im_hint(err, "name the folder that holds the same files");
    }
    if (rc == IM_OK) {
        return im_store_commit(library->store, err);
    }
    im_store_rollback(library->store);
    return rc;
}

im_code im_app_relocate(im_library *library, const char *old_path, const char *new_path,
                        im_relocate_report *out_report, im_error *err)
{
    char from[PATH_MAX];
    char to[PATH_MAX];
    root_list roots = {0};
    memset(out_report, 0, sizeof(*out_report));
    im_code rc = path_absolute(old_path, from, err);
    if (rc == IM_OK) {
        rc = path_absolute(new_path, to, err);
    }
    if (rc == IM_OK && !im_file_exists(to)) {
        rc = im_fail(err, IM_ERR_NOT_FOUND, "folder '%s' is not there", to);
    }
    if (rc == IM_OK) {
        rc = roots_load(library->store, &roots, err);
    }
    if (rc == IM_OK) {
        rc = move_all(library, &roots, from, to, out_report, err);
    }
    roots_clear(&roots);
    return rc;
}
