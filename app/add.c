/* app/add.c — `add`: the scan stage, the threads and queues between the stages, and the encode loop
 * on the caller's thread. See add_internal.h for the stages. */
#include "app/add_internal.h"
#include "app/scan_internal.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#define WRITE_ROWS 256u              /* rows of one transaction … */
#define WRITE_EVERY_NS 2000000000ull /* … or what came in two seconds */
#define RACY_NS 2000000000           /* a stamp this young may hide a later change */

typedef struct seen_list {
    uint64_t *rows;
    size_t n, capacity;
} seen_list;

/** One path that was asked for, and what its scan found. */
typedef struct add_target {
    uint64_t root;
    char *root_path; /* owned */
    char *below;     /* folder under the root, "" = all; a file's path when is_file */
    bool is_file;
    bool complete; /* the walk read everything */
    bool offline;
    seen_list seen; /* file rows met; written by the scan thread only */
    uint64_t n_entries;
} add_target;

typedef struct scan_thread {
    add_run *run;
    add_target *targets;
    size_t n_targets;
    add_target *current;
    float *vector; /* [dim], scratch */
    im_code rc;
    im_error error;
} scan_thread;

/* ---- targets: which root a path belongs to ---- */

typedef struct root_match {
    const char *path;
    uint64_t id;
    char *root_path;
    size_t length;
} root_match;

static bool is_below(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    return strncmp(path, folder, n) == 0 && (path[n] == '/' || path[n] == '\0' || n == 1);
}

/* The longest root that holds the path: a picture under two roots belongs to the nearer one. */
static bool match_root(void *context, const im_root *root)
{
    root_match *match = context;
    size_t n = strlen(root->path);
    if (root->recursive && is_below(match->path, root->path) &&
        (match->root_path == NULL || n > match->length)) {
        im_free(match->root_path);
        match->root_path = im_strdup(root->path);
        match->id = root->id;
        match->length = n;
    }
    return true;
}

static const char *relative_to(const char *path, const char *root)
{
    size_t n = strlen(root);
    const char *rest = path + (n == 1 ? 1 : n);
    return *rest == '/' ? rest + 1 : rest;
}

static im_code put_root(im_library *library, const char *path, bool recursive, uint64_t *out_root,
                        im_error *err)
{
    im_code rc = im_store_lock(library->store, IM_LIMIT_LOCK_WAIT_MS, err);
    if (rc == IM_OK) {
        rc = im_store_put_root(library->store, path, recursive, out_root, err);
        im_store_unlock(library->store);
    }
    return rc;
}

/* A root's folder is not there: is it one we know? Then it is offline, and nothing of it changes.
 */
static im_code missing_target(im_library *library, const char *path, add_target *target,
                              im_error *err)
{
    char absolute[PATH_MAX];
    char here[PATH_MAX];
    root_match match = {.path = absolute};
    int n = path[0] == '/' || getcwd(here, sizeof(here)) == NULL
                ? snprintf(absolute, sizeof(absolute), "%s", path)
                : snprintf(absolute, sizeof(absolute), "%s/%s", here, path);
    im_error gone = IM_ERROR_INIT;
    im_code rc = im_fail_errno(&gone, errno, "could not look at '%s'", path);
    if (n > 1 && (size_t)n < sizeof(absolute) && absolute[n - 1] == '/') {
        absolute[n - 1] = '\0';
    }
    im_code found = im_store_each_root(library->store, match_root, &match, err);
    if (found != IM_OK) {
        return found;
    }
    if (match.root_path != NULL && !im_file_exists(match.root_path)) {
        target->root = match.id;
        target->root_path = match.root_path;
        target->below = im_strdup(relative_to(absolute, match.root_path));
        target->offline = true;
        return target->below != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    im_free(match.root_path);
    if (err != NULL) {
        *err = gone;
    }
    return rc;
}

static im_code file_target(im_library *library, char *absolute, add_target *target, im_error *err)
{
    root_match match = {.path = absolute};
    im_code rc = im_store_each_root(library->store, match_root, &match, err);
    if (rc != IM_OK) {
        return rc;
    }
    target->is_file = true;
    if (match.root_path != NULL) {
        target->root = match.id;
        target->root_path = match.root_path;
        target->below = im_strdup(relative_to(absolute, match.root_path));
    } else { /* the folder becomes a root that is not walked by itself */
        char *slash = strrchr(absolute, '/');
        target->below = im_strdup(slash + 1);
        slash[slash == absolute ? 1 : 0] = '\0';
        target->root_path = im_strdup(absolute);
        if (target->root_path != NULL) {
            rc = put_root(library, target->root_path, false, &target->root, err);
        }
    }
    if (rc == IM_OK && (target->below == NULL || target->root_path == NULL)) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    return rc;
}

static im_code find_target(im_library *library, const char *path, const im_add_request *request,
                           add_target *target, im_error *err)
{
    struct stat st;
    char absolute[PATH_MAX];
    root_match match = {.path = absolute};
    if (path[0] == '\0') {
        return im_fail(err, IM_ERR_INVALID, "a path to add is empty text");
    }
    if (stat(path, &st) != 0 || realpath(path, absolute) == NULL) {
        return missing_target(library, path, target, err);
    }
    if (!S_ISDIR(st.st_mode)) {
        return file_target(library, absolute, target, err);
    }
    im_code rc = im_store_each_root(library->store, match_root, &match, err);
    if (rc == IM_OK && match.root_path != NULL && !request->no_recursion) {
        target->root = match.id;
        target->root_path = match.root_path;
        target->below = im_strdup(relative_to(absolute, match.root_path));
    } else if (rc == IM_OK) {
        im_free(match.root_path);
        target->root_path = im_strdup(absolute);
        target->below = im_strdup("");
        rc = put_root(library, absolute, !request->no_recursion, &target->root, err);
    }
    if (rc == IM_OK && (target->root_path == NULL || target->below == NULL)) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    return rc;
}

static void clear_target(add_target *target)
{
    im_free(target->root_path);
    im_free(target->below);
    im_free(target->seen.rows);
}

/* ---- the scan stage ---- */

static bool remember(seen_list *seen, uint64_t row)
{
    if (seen->n == seen->capacity) {
        size_t wanted = seen->capacity == 0 ? 256 : seen->capacity * 2;
        uint64_t *grown = im_realloc(seen->rows, wanted, sizeof(*grown));
        if (grown == NULL) {
            return false;
        }
        seen->rows = grown;
        seen->capacity = wanted;
    }
    seen->rows[seen->n++] = row;
    return true;
}

static add_job *new_job(scan_thread *scan, const char *path, bool named)
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

static bool send(scan_thread *scan, im_queue *queue, add_job *job)
{
    if (job == NULL) {
        scan->rc = im_fail(&scan->error, IM_ERR_NOMEM, "no memory for a file's record");
        return false;
    }
    if (!im_queue_put(queue, job)) {
        add_job_free(job);
        return false;
    }
    return true;
}

static bool same_content(const im_file_row *row, const im_file_stamp *stamp)
{
    return row->stamp.size == stamp->size && row->stamp.mtime_ns == stamp->mtime_ns &&
           row->hashed_ns - row->stamp.mtime_ns > RACY_NS;
}

/* A failure that lies in the bytes stays until they change; memory, rights, a full disk or a limit
 * of that run may be another matter today. */
static bool is_lasting(const im_error *failure)
{
    return failure->code == IM_ERR_FORMAT || failure->code == IM_ERR_UNSUPPORTED;
}

/* Sends on what needs work: new, changed or racy files, and unchanged ones without a vector. */
static bool scan_file(scan_thread *scan, const char *path, const im_file_stamp *stamp, bool named)
{
    add_run *run = scan->run;
    im_file_row row = {0};
    bool failed_before = false;
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
        rc = rc == IM_ERR_NOT_FOUND ? IM_OK : rc;
    }
    pthread_mutex_unlock(&run->lookup_lock);
    if (rc != IM_OK) {
        scan->rc = rc;
        return false;
    }
    if (row.id != 0 && !remember(&scan->current->seen, row.id)) {
        return send(scan, NULL, NULL);
    }
    if (row.id != 0 && same_content(&row, stamp) && embedded && !row.missing) {
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
    if (row.id != 0 && same_content(&row, stamp) && embedded) {
        job->outcome = JOB_BACK;
        return send(scan, run->ready, job);
    }
    if (failed_before) {
        job->outcome = JOB_FAILED;
        job->known_failure = true;
        job->error = failure;
        return send(scan, run->ready, job);
    }
    return send(scan, run->found, job);
}

static bool send_skip(scan_thread *scan, const char *path, const char *what)
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
    scan_thread *scan = context;
    add_job *job = NULL;
    scan->current->n_entries++;
    if (im_stop_asked() || atomic_load(&scan->run->stop)) {
        return false;
    }
    switch (entry->what) {
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

static void scan_target(scan_thread *scan, add_target *target)
{
    im_file_stamp stamp;
    im_error error = IM_ERROR_INIT;
    scan_options options = {!scan->run->request->no_recursion, scan->run->request->follow_links};
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
        (void)scan_file(scan, target->below, &stamp, true);
    } else {
        add_job *job = new_job(scan, target->below, true);
        if (job != NULL) {
            job->outcome = JOB_FAILED;
            job->error = error;
        }
        (void)send(scan, scan->run->ready, job);
    }
    im_free(full);
}

static void *scan_main(void *context)
{
    scan_thread *scan = context;
    uint64_t start = im_clock_ns();
    for (size_t i = 0; i < scan->n_targets && scan->rc == IM_OK; i++) {
        if (!im_stop_asked() && !atomic_load(&scan->run->stop)) {
            scan_target(scan, &scan->targets[i]);
        }
    }
    atomic_store(&scan->run->busy_scan_ns, im_clock_ns() - start);
    im_queue_close(scan->run->found);
    return NULL;
}

/* ---- the decode stage ---- */

static void *decode_main(void *context)
{
    add_run *run = context;
    void *entry = NULL;
    while (im_queue_take(run->found, &entry)) {
        add_job *job = entry;
        if (im_stop_asked() || atomic_load(&run->stop)) {
            add_job_free(job);
            continue;
        }
        add_decode_job(run, job);
        if (!im_queue_put(run->ready, job)) {
            add_job_free(job);
        }
    }
    return NULL;
}

/* ---- the encode stage, on the caller's thread ---- */

typedef struct encode_stage {
    add_run *run;
    im_encoder *encoder;
    const im_events *events;
    im_add_report *report;
    progress_meter meter;
    add_job **pending; /* JOB_NEW, waiting for a forward pass */
    size_t n_pending, batch;
    uint8_t *pixels; /* [batch, S, S, 3] */
    float *vectors;  /* [batch, dim] */
    add_batch rows;
    uint64_t last_write_ns, encode_ns, write_ns;
    im_code first_failure;
    im_error first_error;
} encode_stage;

static void count_skip(im_add_report *report, const char *what)
{
    size_t i = 0;
    report->skipped++;
    while (i < report->n_skips && strcmp(report->skips[i].what, what) != 0) {
        i++;
    }
    if (i == IM_COUNT(report->skips)) {
        return;
    }
    if (i == report->n_skips) {
        (void)snprintf(report->skips[i].what, sizeof(report->skips[i].what), "%s", what);
        report->n_skips++;
    }
    report->skips[i].n++;
}

static void tell_outcome(encode_stage *stage, const add_job *job)
{
    if (job->outcome == JOB_SKIPPED) {
        count_skip(stage->report, job->skip);
    } else if (job->outcome == JOB_FAILED) {
        char *full = add_job_full_path(job);
        event_failed(stage->events, full != NULL ? full : job->path, &job->error);
        im_free(full);
        if (stage->first_failure == IM_OK) {
            stage->first_failure = job->error.code;
            stage->first_error = job->error;
        }
    }
}

static void tick(encode_stage *stage)
{
    const im_add_report *r = stage->report;
    uint64_t unchanged = atomic_load(&stage->run->n_unchanged);
    stage->meter.state.total = atomic_load(&stage->run->n_found);
    meter_tick(&stage->meter,
               r->added + r->linked + r->moved + r->updated + r->skipped + r->failed + unchanged +
                   stage->rows.n,
               r->failed, stage->events);
}

static im_code write_rows(encode_stage *stage, im_error *err)
{
    uint64_t start = im_clock_ns();
    im_code rc = add_write_batch(stage->run->library, &stage->rows, stage->report, err);
    stage->last_write_ns = im_clock_ns();
    stage->write_ns += stage->last_write_ns - start;
    return rc;
}

static im_code add_row(encode_stage *stage, add_job *job, im_error *err) /* takes job */
{
    add_batch *rows = &stage->rows;
    tell_outcome(stage, job);
    if (job->outcome == JOB_SKIPPED) {
        add_job_free(job);
        return IM_OK;
    }
    if (rows->n == rows->capacity) {
        size_t wanted = rows->capacity == 0 ? WRITE_ROWS : rows->capacity * 2;
        add_job **grown = im_realloc(rows->jobs, wanted, sizeof(*grown));
        if (grown == NULL) {
            add_job_free(job);
            return im_fail(err, IM_ERR_NOMEM, "no memory for a batch of rows");
        }
        rows->jobs = grown;
        rows->capacity = wanted;
    }
    rows->jobs[rows->n++] = job;
    if (rows->n >= WRITE_ROWS || im_clock_ns() - stage->last_write_ns > WRITE_EVERY_NS) {
        return write_rows(stage, err);
    }
    return IM_OK;
}

/* Gives each pending job its vector; a row that the model cannot encode fails alone. */
static im_code encode_pending(encode_stage *stage, im_error *err)
{
    size_t one = picture_pixels_bytes(stage->encoder);
    size_t dim = im_encoder_describe(stage->encoder)->dim;
    size_t n = stage->n_pending;
    size_t from = 0;
    im_code rc = IM_OK;
    uint64_t start = im_clock_ns();
    for (size_t i = 0; i < n; i++) {
        memcpy(stage->pixels + i * one, stage->pending[i]->pixels, one);
        im_free(stage->pending[i]->pixels);
        stage->pending[i]->pixels = NULL;
    }
    while (from < n && rc == IM_OK) {
        size_t bad = n;
        im_error error = IM_ERROR_INIT;
        rc = im_encoder_pictures(stage->encoder, stage->pixels + from * one, n - from,
                                 stage->vectors + from * dim, &bad, &error);
        if (rc == IM_ERR_FORMAT && bad < n - from) {
            stage->pending[from + bad]->outcome = JOB_FAILED;
            stage->pending[from + bad]->error = error;
            from += bad + 1;
            rc = IM_OK;
        } else if (rc == IM_OK) {
            from = n;
        } else if (err != NULL) {
            *err = error;
        }
    }
    stage->encode_ns += im_clock_ns() - start;
    stage->n_pending = 0;
    for (size_t i = 0; i < n; i++) {
        add_job *job = stage->pending[i];
        if (rc == IM_OK && job->outcome == JOB_NEW) {
            job->vector = im_alloc(dim, sizeof(float));
            if (job->vector == NULL) {
                rc = im_fail(err, IM_ERR_NOMEM, "no memory for a vector");
            } else {
                memcpy(job->vector, stage->vectors + i * dim, dim * sizeof(float));
            }
        }
        if (rc == IM_OK) {
            rc = add_row(stage, job, err);
        } else {
            add_job_free(job);
        }
    }
    return rc;
}

/* Takes what the decoders hand over until all is done: full batches while there is enough, what
 * there is when the queue runs dry. */
static im_code encode_loop(encode_stage *stage, im_error *err)
{
    void *entry = NULL;
    im_code rc = IM_OK;
    for (;;) {
        bool got = stage->n_pending > 0 ? im_queue_try_take(stage->run->ready, &entry)
                                        : im_queue_take(stage->run->ready, &entry);
        if (!got && stage->n_pending == 0) {
            break;
        }
        if (got) {
            add_job *job = entry;
            if (job->outcome == JOB_NEW) {
                stage->pending[stage->n_pending++] = job;
            } else {
                rc = add_row(stage, job, err);
            }
        }
        if (rc == IM_OK && stage->n_pending > 0 && (!got || stage->n_pending == stage->batch)) {
            rc = encode_pending(stage, err);
        }
        tick(stage);
        if (rc != IM_OK || im_stop_asked()) {
            break;
        }
    }
    if (rc == IM_OK && stage->n_pending > 0) {
        rc = encode_pending(stage, err); /* decoded before the signal: not thrown away */
    }
    return rc == IM_OK ? write_rows(stage, err) : rc;
}

static im_code stage_open(encode_stage *stage, im_error *err)
{
    stage->batch = stage->run->request->batch != 0 ? stage->run->request->batch : 8;
    stage->pending = im_alloc_zero(stage->batch, sizeof(*stage->pending));
    stage->pixels = im_alloc(stage->batch, picture_pixels_bytes(stage->encoder));
    stage->vectors =
        im_alloc(stage->batch, im_encoder_describe(stage->encoder)->dim * sizeof(float));
    stage->last_write_ns = im_clock_ns();
    if (stage->pending == NULL || stage->pixels == NULL || stage->vectors == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a batch of %zu pictures", stage->batch);
    }
    return IM_OK;
}

static void stage_close(encode_stage *stage)
{
    for (size_t i = 0; i < stage->n_pending; i++) {
        add_job_free(stage->pending[i]);
    }
    for (size_t i = 0; i < stage->rows.n; i++) {
        add_job_free(stage->rows.jobs[i]);
    }
    im_free(stage->rows.jobs);
    im_free(stage->pending);
    im_free(stage->pixels);
    im_free(stage->vectors);
}

/* ---- files that were not met ---- */

typedef struct vanish_search {
    const add_target *target;
    int64_t started_ns; /* rows hashed since then were met by this very run */
    uint64_t *rows;
    size_t n, capacity, n_present;
    bool no_memory;
} vanish_search;

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static bool note_vanished(void *context, const im_file_row *file)
{
    vanish_search *search = context;
    const seen_list *seen = &search->target->seen;
    if (file->missing) {
        return true;
    }
    search->n_present++;
    if (file->hashed_ns >= search->started_ns) {
        return true;
    }
    if (seen->n > 0 &&
        bsearch(&file->id, seen->rows, seen->n, sizeof(uint64_t), compare_u64) != NULL) {
        return true;
    }
    if (search->n == search->capacity) {
        size_t wanted = search->capacity == 0 ? 256 : search->capacity * 2;
        uint64_t *grown = im_realloc(search->rows, wanted, sizeof(*grown));
        if (grown == NULL) {
            search->no_memory = true;
            return false;
        }
        search->rows = grown;
        search->capacity = wanted;
    }
    search->rows[search->n++] = file->id;
    return true;
}

static im_code mark_rows(im_library *library, const vanish_search *search, bool prune,
                         im_add_report *report, im_error *err)
{
    im_code rc = im_store_lock(library->store, IM_LIMIT_LOCK_WAIT_MS, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = im_store_begin(library->store, err);
    for (size_t i = 0; i < search->n && rc == IM_OK; i++) {
        rc = prune ? im_store_drop_file(library->store, search->rows[i], err)
                   : im_store_set_file_missing(library->store, search->rows[i], true, err);
    }
    if (rc == IM_OK) {
        rc = im_store_commit(library->store, err);
    } else {
        im_store_rollback(library->store);
    }
    im_store_unlock(library->store);
    report->pruned += rc == IM_OK && prune ? search->n : 0;
    report->missing += rc == IM_OK && !prune ? search->n : 0;
    return rc;
}

/* Marks what the walk did not meet, unless the folder looks like an unmounted one. */
static im_code mark_vanished(im_library *library, const im_add_request *request, add_target *target,
                             int64_t started_ns, const im_events *events, im_add_report *report,
                             im_error *err)
{
    vanish_search search = {.target = target, .started_ns = started_ns};
    char question[256];
    if (target->offline || target->is_file || !target->complete) {
        return IM_OK;
    }
    if (target->seen.n > 1) {
        qsort(target->seen.rows, target->seen.n, sizeof(uint64_t), compare_u64);
    }
    im_code rc = im_store_each_file_of_root(
        library->store, target->root, im_view_from(target->below), note_vanished, &search, err);
    if (rc == IM_OK && search.no_memory) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a list of vanished files");
    }
    if (rc != IM_OK || search.n == 0) {
        im_free(search.rows);
        return rc;
    }
    (void)snprintf(question, sizeof(question), "%zu of %zu files below '%.120s' are gone. %s?",
                   search.n, search.n_present, target->root_path,
                   request->prune ? "Forget them" : "Mark them as missing");
    if (target->n_entries == 0) {
        report->offline_root = true;
        event_warning(events, "a folder that held pictures is empty now: perhaps not mounted; "
                              "nothing of it was changed");
    } else if ((request->prune || (search.n > 50 && search.n * 5 > search.n_present)) &&
               !event_confirm(events, question)) {
        (void)snprintf(question, sizeof(question),
                       "%zu files below '%.120s' are gone and were left as they are (--yes "
                       "answers for you)",
                       search.n, target->root_path);
        report->offline_root = report->offline_root || !request->prune;
        event_warning(events, question);
    } else {
        rc = mark_rows(library, &search, request->prune, report, err);
    }
    im_free(search.rows);
    return rc;
}

/* ---- all together ---- */

static void drain(im_queue *queue)
{
    void *entry = NULL;
    while (im_queue_try_take(queue, &entry)) {
        add_job_free(entry);
    }
}

typedef struct decoder_crew {
    pthread_t threads[64];
    size_t n;
    add_run *run;
} decoder_crew;

/* Waits for the decoders, then tells the encoder that no more will come. */
static void *crew_main(void *context)
{
    decoder_crew *crew = context;
    for (size_t i = 0; i < crew->n; i++) {
        pthread_join(crew->threads[i], NULL);
    }
    im_queue_close(crew->run->ready);
    return NULL;
}

static void fill_stages(im_add_report *report, const encode_stage *stage, size_t decoders)
{
    const add_run *run = stage->run;
    const im_stage_time times[IM_ADD_STAGES] = {
        {"scan", (double)atomic_load(&run->busy_scan_ns) / 1e9, 1},
        {"read", (double)atomic_load(&run->busy_read_ns) / 1e9, decoders},
        {"decode", (double)atomic_load(&run->busy_decode_ns) / 1e9, decoders},
        {"encode", (double)stage->encode_ns / 1e9, 1},
        {"write", (double)stage->write_ns / 1e9, 1}};
    memcpy(report->stages, times, sizeof(times));
}

static bool start_thread(pthread_t *thread, void *(*run)(void *), void *context)
{
    return !im_fault_hit(IM_FAULT_THREAD) && pthread_create(thread, NULL, run, context) == 0;
}

/* Runs the stages over all targets. */
static im_code run_stages(add_run *run, encode_stage *stage, scan_thread *scan, im_error *err)
{
    decoder_crew crew = {.run = run};
    pthread_t scanner;
    pthread_t closer;
    size_t wanted = run->request->decoders != 0 ? run->request->decoders : im_cpu_threads();
    im_code rc = IM_OK;
    wanted = IM_MIN(wanted, IM_COUNT(crew.threads));
    while (crew.n < wanted && start_thread(&crew.threads[crew.n], decode_main, run)) {
        crew.n++;
    }
    bool scanning = crew.n > 0 && start_thread(&scanner, scan_main, scan);
    if (!scanning) {
        im_queue_close(run->found);
    }
    bool closing = start_thread(&closer, crew_main, &crew);
    if (scanning && closing) {
        rc = encode_loop(stage, err);
    } else {
        rc = im_fail(err, IM_ERR_NOMEM, "could not start a thread");
    }
    atomic_store(&run->stop, true);
    im_queue_close(run->ready); /* whoever waits to put gives up */
    im_queue_close(run->found);
    if (scanning) {
        pthread_join(scanner, NULL);
    }
    if (closing) {
        pthread_join(closer, NULL);
    } else {
        (void)crew_main(&crew);
    }
    drain(run->found);
    drain(run->ready);
    fill_stages(stage->report, stage, IM_MAX(crew.n, 1));
    if (rc == IM_OK && scan->rc != IM_OK) {
        rc = scan->rc;
        if (err != NULL) {
            *err = scan->error;
        }
    }
    return rc;
}

/* The last word: what the exit code says of a run that came to its end. */
static im_code verdict(const encode_stage *stage, const im_add_report *report, im_error *err)
{
    uint64_t good =
        report->added + report->linked + report->unchanged + report->moved + report->updated;
    if (report->interrupted) {
        return im_fail_as(err, IM_REASON_INTERRUPTED, "stopped: %llu added, the library is good",
                          (unsigned long long)report->added);
    }
    if (report->offline_root) {
        return im_fail_as(err, IM_REASON_PARTIAL,
                          "files are gone, or a folder is not there: "
                          "changed");
    }
    if (stage->first_failure != IM_OK && good == 0) {
        if (err != NULL) {
            *err = stage->first_error;
        }
        return stage->first_failure;
    }
    if (stage->first_failure != IM_OK) {
        return im_fail_as(err, IM_REASON_PARTIAL, "%llu files could not be added",
                          (unsigned long long)report->failed);
    }
    return IM_OK;
}

static im_code find_targets(im_library *library, const im_add_request *request,
                            const im_events *events, encode_stage *stage, add_target *targets,
                            size_t *out_n, im_error *err)
{
    size_t n = 0;
    for (size_t i = 0; i < request->n_paths; i++) {
        im_error error = IM_ERROR_INIT;
        im_code rc = find_target(library, request->paths[i], request, &targets[n], &error);
        if (rc == IM_ERR_NOT_FOUND || rc == IM_ERR_DENIED || rc == IM_ERR_INVALID) {
            event_failed(events, request->paths[i], &error);
            stage->report->failed++;
            stage->first_failure = stage->first_failure != IM_OK ? stage->first_failure : rc;
            stage->first_error = stage->first_failure == rc ? error : stage->first_error;
            clear_target(&targets[n]);
            memset(&targets[n], 0, sizeof(targets[n]));
            continue;
        }
        if (rc != IM_OK) {
            *out_n = n + 1;
            if (err != NULL) {
                *err = error;
            }
            return rc;
        }
        if (targets[n].offline) {
            stage->report->offline_root = true;
            event_warning(events,
                          "a folder is not there (not mounted?): nothing of it was changed");
        }
        n++;
    }
    *out_n = n;
    return IM_OK;
}

im_code im_app_add(im_library *library, const im_add_request *request, const im_events *events,
                   im_add_report *out_report, im_error *err)
{
    uint64_t start = im_clock_ns();
    int64_t started_ns = im_clock_wall_ns();
    add_run run = {.library = library, .request = request};
    encode_stage stage = {.run = &run, .events = events, .report = out_report};
    scan_thread scan = {.run = &run, .error = IM_ERROR_INIT};
    size_t n_targets = 0;
    add_target *targets = im_alloc_zero(IM_MAX(request->n_paths, 1), sizeof(*targets));
    memset(out_report, 0, sizeof(*out_report));
    pthread_mutex_init(&run.lookup_lock, NULL);
    im_code rc = targets != NULL
                     ? IM_OK
                     : im_fail(err, IM_ERR_NOMEM, "no memory for %zu paths", request->n_paths);
    if (rc == IM_OK) {
        rc = model_prepare(library, events, err);
    }
    if (rc == IM_OK) {
        run.encoder = stage.encoder = library->encoder;
        rc = find_targets(library, request, events, &stage, targets, &n_targets, err);
    }
    if (rc == IM_OK) {
        rc = im_store_open(library->folder, IM_STORE_READ, &run.lookup, err);
    }
    if (rc == IM_OK) {
        rc = im_queue_new(ADD_JOB_QUEUE, &run.found, err);
    }
    if (rc == IM_OK) {
        rc = im_queue_new(IM_MAX(32, 4 * request->batch), &run.ready, err);
    }
    if (rc == IM_OK) {
        rc = stage_open(&stage, err);
    }
    if (rc == IM_OK) {
        scan.vector = im_alloc(library->model.dim, sizeof(float));
        rc = scan.vector != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a vector");
    }
    if (rc == IM_OK) {
        scan.targets = targets;
        scan.n_targets = n_targets;
        meter_start(&stage.meter, "adding", 0);
        rc = run_stages(&run, &stage, &scan, err);
        meter_end(&stage.meter, events);
    }
    out_report->unchanged += atomic_load(&run.n_unchanged);
    out_report->interrupted = im_stop_asked();
    for (size_t i = 0; i < n_targets && rc == IM_OK && !out_report->interrupted; i++) {
        rc = mark_vanished(library, request, &targets[i], started_ns, events, out_report, err);
    }
    out_report->seconds = im_clock_ms_since(start) / 1e3;
    if (rc == IM_OK) {
        rc = verdict(&stage, out_report, err);
    }
    stage_close(&stage);
    im_free(scan.vector);
    im_queue_free(run.found);
    im_queue_free(run.ready);
    im_store_close(run.lookup);
    pthread_mutex_destroy(&run.lookup_lock);
    for (size_t i = 0; targets != NULL && i < n_targets; i++) {
        clear_target(&targets[i]);
    }
    im_free(targets);
    return rc;
}

void im_add_report_json(im_json_writer *w, const im_add_report *r)
{
    im_json_begin_object(w);
    im_json_put_string(w, "event", "done");
    im_json_put_uint(w, "added", r->added);
    im_json_put_uint(w, "linked", r->linked);
    im_json_put_uint(w, "unchanged", r->unchanged);
    im_json_put_uint(w, "updated", r->updated);
    im_json_put_uint(w, "moved", r->moved);
    im_json_put_uint(w, "failed", r->failed);
    im_json_put_uint(w, "partial", r->partial);
    im_json_put_uint(w, "skipped", r->skipped);
    im_json_put_uint(w, "missing", r->missing);
    im_json_put_uint(w, "pruned", r->pruned);
    im_json_put_double(w, "seconds", r->seconds);
    im_json_put_bool(w, "interrupted", r->interrupted);
    im_json_key(w, "skips");
    im_json_begin_object(w);
    for (size_t i = 0; i < r->n_skips; i++) {
        im_json_put_uint(w, r->skips[i].what, r->skips[i].n);
    }
    im_json_end_object(w);
    im_json_key(w, "stages");
    im_json_begin_array(w);
    for (size_t i = 0; i < IM_ADD_STAGES; i++) {
        im_json_begin_object(w);
        im_json_put_string(w, "name", r->stages[i].name);
        im_json_put_double(w, "busy_seconds", r->stages[i].busy_s);
        im_json_put_uint(w, "threads", r->stages[i].threads);
        im_json_end_object(w);
    }
    im_json_end_array(w);
    im_json_end_object(w);
}
