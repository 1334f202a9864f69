/* app/add_scan.c — the scan stage: walks the targets and sends on what needs work. Unchanged files
 * end here, after one look-up. */
#include "app/add_internal.h"
#include "app/scan_internal.h"
#include "base/clock.h"
#include "base/file.h"

#define RACY_NS 2000000000 /* a stamp this young may hide a later change */

static add_job *new_job(add_scan *scan, const char *path, bool named)
{
    add_job *job = im_alloc_zero(1, sizeof(*job));
    if (job == NULL) {
        return NULL;
    }
    job->root = scan->current->root;
    job->root_path = im_strdup(scan->current->root_path);
    job->path = im_strdup(path);
    job->named = named;
    job->outcome = JOB_NEW;
    if (job->root_path == NULL || job->path == NULL) {
        add_job_free(job);
        return NULL;
    }
    return job;
}

static bool send(add_scan *scan, im_queue *queue, add_job *job)
{
    if (job == NULL) {
        scan->rc = im_fail(&scan->error, IM_ERR_NOMEM, "no memory for a file's record");
        return false;
    }
    uint64_t start = im_clock_ns();
    bool sent = im_queue_put(queue, job);
    scan->waited_ns += im_clock_ns() - start;
    if (!sent) {
        add_job_free(job);
    }
    return sent;
}

static bool same_content(const im_file_row *row, const im_file_stamp *stamp)
{
    return row->stamp.size == stamp->size && row->stamp.mtime_ns == stamp->mtime_ns &&
           row->hashed_ns - row->stamp.mtime_ns > RACY_NS;
}

/* It may be half written: whoever follows the folder hands it over once it is whole. */
static bool is_young(const im_file_stamp *stamp)
{
    int64_t age_ns = im_clock_wall_ns() - stamp->mtime_ns;
    return age_ns >= 0 && age_ns < IM_WATCH_YOUNG_NS;
}

/* A failure that lies in the bytes stays until they change; memory, rights, a full disk or a limit
 * of that run may be another matter today. */
static bool is_lasting(const im_error *failure)
{
    return failure->code == IM_ERR_FORMAT || failure->code == IM_ERR_UNSUPPORTED;
}

/* Sends on what needs work: new, changed or racy files, and unchanged ones without a vector. */
static bool scan_file(add_scan *scan, const char *path, const im_file_stamp *stamp, bool named)
{
    add_run *run = scan->run;
    im_file_row row = {0};
    bool failed_before = false;
    bool damaged = false; /* its vector: told, and no reason to leave out the others */
    bool embedded = true;
    im_error failure = IM_ERROR_INIT;
    im_view view = im_view_from(path);
    atomic_fetch_add(&run->n_found, 1);
    pthread_mutex_lock(&run->lookup_lock);
    im_code rc = im_store_find_file(run->lookup, scan->current->root, view, &row, &scan->error);
    if (rc == IM_OK && row.id == 0 && !named && !run->request->retry_failed) {
        rc = im_store_find_failure(run->lookup, scan->current->root, view, stamp, &failed_before,
                                   &failure, &scan->error);
        failed_before = failed_before && is_lasting(&failure);
    }
    if (rc == IM_OK && row.id != 0 && same_content(&row, stamp)) {
        rc = im_store_get_embedding(run->lookup, row.item, run->library->model.id, scan->vector,
                                    run->library->model.dim, NULL, &scan->error);
        embedded = rc != IM_ERR_NOT_FOUND;
        damaged = rc == IM_ERR_DAMAGED;
        rc = rc == IM_ERR_NOT_FOUND || damaged ? IM_OK : rc;
    }
    pthread_mutex_unlock(&run->lookup_lock);
    if (rc != IM_OK) {
        scan->rc = rc;
        return false;
    }
    if (row.id != 0 && !id_list_add(&scan->current->seen, row.id)) {
        return send(scan, NULL, NULL);
    }
    if (run->request->leave_young && is_young(stamp)) {
        return true;
    }
    if (row.id != 0 && same_content(&row, stamp) && embedded && !row.missing && !damaged) {
        atomic_fetch_add(&run->n_unchanged, 1);
        return true;
    }
    add_job *job = new_job(scan, path, named);
    if (job == NULL) {
        return send(scan, NULL, NULL);
    }
    job->stamp = *stamp;
    job->file_row = row.id;
    job->item = row.item;
    job->updated =
        row.id != 0 && (row.stamp.size != stamp->size || row.stamp.mtime_ns != stamp->mtime_ns);
    if (failed_before || damaged) {
        job->outcome = JOB_FAILED;
        job->known_failure = true;
        job->error = damaged ? scan->error : failure;
        return send(scan, run->ready, job);
    }
    if (row.id != 0 && same_content(&row, stamp) && embedded) {
        job->outcome = JOB_BACK;
        return send(scan, run->ready, job);
    }
    return send(scan, run->found, job);
}

static bool send_skip(add_scan *scan, const char *path, const char *what)
{
    add_job *job = new_job(scan, path, false);
    if (job != NULL) {
        job->outcome = JOB_SKIPPED;
        (void)snprintf(job->skip, sizeof(job->skip), "%s", what);
    }
    return send(scan, scan->run->ready, job);
}

static bool take_scanned(void *context, const scan_entry *entry)
{
    add_scan *scan = context;
    add_job *job = NULL;
    scan->current->n_entries++;
    if (im_stop_asked() || atomic_load(&scan->run->stop)) {
        return false;
    }
    switch (entry->what) {
    case SCAN_FOLDER:
        break;
    case SCAN_FILE:
        return scan_file(scan, entry->path, &entry->stamp, false);
    case SCAN_LINK:
        return send_skip(scan, entry->path, "symbolic link");
    case SCAN_LOOP:
        return send_skip(scan, entry->path, "link loop");
    case SCAN_SPECIAL:
        return send_skip(scan, entry->path, "special file");
    case SCAN_FAILED:
        job = new_job(scan, entry->path, false);
        if (job != NULL) {
            job->outcome = JOB_FAILED;
            job->known_failure = true; /* of a folder: told, not recorded as a file's */
            job->error = *entry->error;
        }
        return send(scan, scan->run->ready, job);
    }
    return true;
}

static void scan_target(add_scan *scan, add_target *target)
{
    im_file_stamp stamp;
    im_error error = IM_ERROR_INIT;
    const scan_options options = {.recursive = !scan->run->request->no_recursion,
                                  .follow_links = scan->run->request->follow_links,
                                  .leave_out = scan->run->library->folder};
    scan->current = target;
    if (target->offline) {
        return;
    }
    if (!target->is_file) {
        im_code rc = scan_walk(target->root_path, target->below, &options, take_scanned, scan,
                               &target->complete, &error);
        if (rc != IM_OK && scan->rc == IM_OK) {
            scan_entry failed = {.what = SCAN_FAILED, .path = target->below, .error = &error};
            (void)take_scanned(scan, &failed);
        }
        return;
    }
    char *full = im_path_join(target->root_path, target->below);
    im_code rc = full != NULL ? im_file_stat(full, &stamp, &error)
                              : im_fail(&error, IM_ERR_NOMEM, "no memory for a path");
    if (rc == IM_OK) {
        (void)scan_file(scan, target->below, &stamp, !scan->run->request->as_found);
    } else if (!scan->run->request->as_found || rc != IM_ERR_NOT_FOUND) {
        add_job *job = new_job(scan, target->below, true);
        if (job != NULL) {
            job->outcome = JOB_FAILED;
            job->error = error;
        }
        (void)send(scan, scan->run->ready, job);
    }
    im_free(full);
}

void *add_scan_main(void *context)
{
    add_scan *scan = context;
    uint64_t start = im_clock_ns();
    im_stop_heed(scan->run->heeded);
    for (size_t i = 0; i < scan->targets->n && scan->rc == IM_OK; i++) {
        if (!im_stop_asked() && !atomic_load(&scan->run->stop)) {
            scan_target(scan, &scan->targets->targets[i]);
        }
    }
    atomic_store(&scan->run->busy_scan_ns, im_clock_ns() - start - scan->waited_ns);
    im_queue_close(scan->run->found);
    return NULL;
}
