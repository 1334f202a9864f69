/* app/watch.c — folders that are followed: the flag, the walk that a follower needs, and the jobs
 * that take what it saw into the library. Who follows is daemon/. */
#include "app/app_internal.h"
#include "app/scan_internal.h"

#define ARGUMENTS_BYTES (64u << 20)

/* ---- the flag ---- */

/* Nobody but the library itself changes them. */
static im_code check_own(im_library *library, uint64_t root, im_error *err)
{
    uint64_t own = 0;
    im_code rc = originals_root(library, &own, err);
    if (rc == IM_OK && own == root) {
        rc = im_fail_as(err, IM_REASON_CONFLICT,
                        "folder %llu holds the pictures that the library keeps itself: it is not "
                        "followed",
                        (unsigned long long)root);
    }
    return rc;
}

im_code im_app_watch_root(im_library *library, uint64_t root, bool watch, im_error *err)
{
    im_code rc = check_own(library, root, err);
    if (rc == IM_OK) {
        rc = im_store_lock(library->store, IM_LIMIT_LOCK_WAIT_MS, err);
    }
    if (rc == IM_OK) {
        rc = im_store_set_root_watch(library->store, root, watch, err);
        im_store_unlock(library->store);
    }
    return rc;
}

static im_code fail_no_folder(const char *path, const root_list *roots, im_error *err)
{
    const im_root *above = roots_of_folder(roots, path);
    im_code rc =
        above == NULL
            ? im_fail(err, IM_ERR_NOT_FOUND, "'%.200s' is no folder that was added", path)
            : im_fail(err, IM_ERR_NOT_FOUND, "'%.150s' was not added by itself, but with '%.150s'",
                      path, above->path);
    im_hint(err, "'imago status' lists the folders; 'imago add --watch FOLDER' adds one");
    return rc;
}

im_code im_app_watch_path(im_library *library, const char *path, bool watch, im_error *err)
{
    char absolute[PATH_MAX];
    root_list roots = {0};
    uint64_t root = 0;
    im_code rc = path_absolute(path, absolute, err);
    if (rc == IM_OK) {
        rc = roots_load(library->store, &roots, err);
    }
    for (size_t i = 0; rc == IM_OK && i < roots.n; i++) {
        if (strcmp(roots.roots[i].path, absolute) == 0) {
            root = roots.roots[i].id;
        }
    }
    if (rc == IM_OK && root == 0) {
        rc = fail_no_folder(absolute, &roots, err);
    }
    roots_clear(&roots);
    return rc == IM_OK ? im_app_watch_root(library, root, watch, err) : rc;
}

im_code im_app_version(im_library *library, uint64_t *out_version, im_error *err)
{
    return im_store_version(library->store, out_version, err);
}

/* ---- the walk ---- */

typedef struct walk_context {
    im_walk_fn fn;
    void *context;
} walk_context;

static bool take_entry(void *context, const scan_entry *entry)
{
    const walk_context *walk = context;
    switch (entry->what) {
    case SCAN_FOLDER:
        return walk->fn(walk->context, IM_WALK_FOLDER, entry->path, NULL);
    case SCAN_FILE:
        return walk->fn(walk->context, IM_WALK_FILE, entry->path, &entry->stamp);
    case SCAN_FAILED:
        return walk->fn(walk->context, IM_WALK_FAILED, entry->path, NULL);
    default:
        return true;
    }
}

im_code im_app_walk(im_library *library, const char *root, const char *below, bool recursive,
                    im_walk_fn fn, void *context, bool *out_complete, im_error *err)
{
    walk_context walk = {fn, context};
    const scan_options options = {
        .recursive = recursive, .leave_out = library->folder, .folders = true};
    return scan_walk(root, below, &options, take_entry, &walk, out_complete, err);
}

/* ---- jobs ---- */

static void put_number(im_json_writer *w, const char *key, uint64_t number)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
    im_json_put_string(w, key, text);
}

static void put_mark(im_json_writer *w, const im_watch_mark *mark)
{
    put_number(w, "root", mark->root);
    put_number(w, "device", mark->device);
    put_number(w, "inode", mark->inode);
    im_json_put_bool(w, "witnessed", mark->witnessed);
}

static im_code put_job(im_library *library, const char *kind, im_json_writer *w, uint64_t *out_id,
                       im_error *err)
{
    return im_json_ok(w) ? im_store_put_job(library->store, kind, im_str_text(&w->out), out_id, err)
                         : im_fail(err, IM_ERR_NOMEM, "no memory for a job");
}

im_code im_app_watch_put(im_library *library, const im_watch_mark *mark, const char *const *paths,
                         size_t n, uint64_t *out_id, im_error *err)
{
    im_json_writer w;
    im_json_init(&w, ARGUMENTS_BYTES);
    im_json_begin_object(&w);
    put_mark(&w, mark);
    job_put_paths(&w, paths, n);
    im_json_end_object(&w);
    im_code rc = put_job(library, IM_JOB_KIND_WATCH, &w, out_id, err);
    im_json_clear(&w);
    return rc;
}

im_watch_batch im_app_watch_look(im_library *library, uint64_t id)
{
    im_job job = {0};
    im_code rc = im_store_get_job(library->store, id, &job, NULL);
    im_watch_batch batch = rc == IM_ERR_NOT_FOUND                        ? IM_WATCH_BATCH_LEFT
                           : rc != IM_OK || !im_job_has_ended(job.state) ? IM_WATCH_BATCH_OPEN
                           : job.state == IM_JOB_DONE                    ? IM_WATCH_BATCH_TAKEN
                                                                         : IM_WATCH_BATCH_LEFT;
    im_job_clear(&job);
    return batch;
}

typedef struct same_search {
    const char *arguments;
    uint64_t id;
} same_search;

static bool match_same(void *context, const im_job *job)
{
    same_search *search = context;
    if (job->state == IM_JOB_WAITING && strcmp(job->kind, "add") == 0 &&
        strcmp(job->arguments, search->arguments) == 0) {
        search->id = job->id;
    }
    return search->id == 0;
}

im_code im_app_watch_rescan(im_library *library, const im_watch_mark *mark, uint64_t *out_id,
                            im_error *err)
{
    im_json_writer w;
    root_list roots;
    same_search search = {0};
    im_code rc = roots_load(library->store, &roots, err);
    if (rc != IM_OK) {
        return rc;
    }
    const im_root *root = roots_by_id(&roots, mark->root);
    im_json_init(&w, ARGUMENTS_BYTES);
    if (root == NULL) {
        rc = im_fail(err, IM_ERR_NOT_FOUND, "no added folder has the id %llu",
                     (unsigned long long)mark->root);
    } else {
        const char *path = root->path;
        im_json_begin_object(&w);
        put_mark(&w, mark);
        im_json_put_bool(&w, "recursive", root->recursive);
        job_put_paths(&w, &path, 1);
        im_json_end_object(&w);
        search.arguments = im_str_text(&w.out);
        rc = im_store_each_job(library->store, match_same, &search, err);
    }
    if (rc == IM_OK && search.id == 0) {
        rc = put_job(library, "add", &w, &search.id, err);
    }
    *out_id = search.id;
    im_json_clear(&w);
    roots_clear(&roots);
    return rc;
}
