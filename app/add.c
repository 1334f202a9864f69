/* app/add.c — `add`: the threads and queues between the stages, and the last word. See
 * add_internal.h for the stages. */
#include "app/add_internal.h"
#include "app/meta_internal.h"
#include "base/clock.h"
#include "base/fault.h"

void add_note_failure(add_failure *first, const im_error *error)
{
    if (first->code == IM_OK) {
        first->code = error->code;
        first->error = *error;
    }
}

static void *decode_main(void *context)
{
    add_run *run = context;
    void *entry = NULL;
    im_stop_heed(run->heeded);
    while (im_queue_take(run->near, &entry)) {
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

static void drain(im_queue *queue)
{
    void *entry = NULL;
    while (im_queue_try_take(queue, &entry)) {
        add_job_free(entry);
    }
}

typedef struct decoder_crew {
    pthread_t threads[ADD_MOST_DECODERS];
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

static void fill_stages(im_add_report *report, const add_encode *stage, size_t decoders)
{
    const add_run *run = stage->run;
    const im_stage_time times[IM_ADD_STAGES] = {
        {"prepare", (double)stage->prepare_ns / 1e9, 1},
        {"scan", (double)atomic_load(&run->busy_scan_ns) / 1e9, 1},
        {"read", (double)atomic_load(&run->busy_read_ns) / 1e9, decoders},
        {"hash", (double)atomic_load(&run->busy_hash_ns) / 1e9, decoders},
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
static im_code run_stages(add_run *run, add_encode *stage, add_scan *scan, im_error *err)
{
    decoder_crew crew = {.run = run};
    pthread_t scanner;
    pthread_t ahead;
    pthread_t closer;
    im_code rc = IM_OK;
    while (crew.n < run->decoders && start_thread(&crew.threads[crew.n], decode_main, run)) {
        crew.n++;
    }
    bool fetching = crew.n > 0 && start_thread(&ahead, add_ahead_main, run);
    if (!fetching) {
        im_queue_close(run->near);
    }
    bool scanning = fetching && start_thread(&scanner, add_scan_main, scan);
    if (!scanning) {
        im_queue_close(run->found);
    }
    bool closing = start_thread(&closer, crew_main, &crew);
    if (scanning && closing) {
        rc = add_encode_loop(stage, err);
    } else {
        rc = im_fail(err, IM_ERR_NOMEM, "could not start a thread");
    }
    atomic_store(&run->stop, true);
    im_queue_close(run->ready); /* whoever waits to put gives up */
    im_queue_close(run->found);
    im_queue_close(run->near);
    if (scanning) {
        pthread_join(scanner, NULL);
    }
    if (fetching) {
        pthread_join(ahead, NULL);
    }
    if (closing) {
        pthread_join(closer, NULL);
    } else {
        (void)crew_main(&crew);
    }
    drain(run->found);
    drain(run->near);
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
static im_code verdict(const add_failure *first, const im_add_report *report, im_error *err)
{
    uint64_t good = report->added + report->linked + report->unchanged + report->moved +
                    report->updated + report->meta_set;
    if (report->interrupted && report->has_meta) {
        return im_fail_as(err, IM_REASON_INTERRUPTED,
                          "stopped: %llu added, %llu lines applied, the library is good",
                          (unsigned long long)report->added, (unsigned long long)report->meta_set);
    }
    if (report->interrupted) {
        return im_fail_as(err, IM_REASON_INTERRUPTED, "stopped: %llu added, the library is good",
                          (unsigned long long)report->added);
    }
    if (report->offline_root) {
        return im_fail_as(err, IM_REASON_PARTIAL,
                          "files are gone, or a folder is not there: nothing of them was changed");
    }
    if (first->code != IM_OK && good == 0) {
        if (err != NULL) {
            *err = first->error;
        }
        return first->code;
    }
    if (first->code != IM_OK && report->meta_failed > 0) {
        return im_fail_as(err, IM_REASON_PARTIAL, "%llu line%s could not be applied%s",
                          (unsigned long long)report->meta_failed,
                          report->meta_failed == 1 ? "" : "s",
                          report->failed > 0 ? ", and files could not be added" : "");
    }
    if (first->code != IM_OK) {
        return im_fail_as(err, IM_REASON_PARTIAL, "%llu file%s could not be added",
                          (unsigned long long)report->failed, report->failed == 1 ? "" : "s");
    }
    return IM_OK;
}

/* Opens what the stages need; run, stage and scan are cleared by the caller in each case. */
static im_code open_stages(add_run *run, add_encode *stage, add_scan *scan, im_error *err)
{
    im_code rc = im_store_open(run->library->folder, IM_STORE_READ, &run->lookup, err);
    if (rc == IM_OK) {
        rc = im_queue_new(ADD_JOB_QUEUE, &run->found, err);
    }
    if (rc == IM_OK) { /* one for each decoder to go on with, one to come */
        rc = im_queue_new(run->decoders + 1, &run->near, err);
    }
    if (rc == IM_OK) {
        rc = im_queue_new(run->n_ready, &run->ready, err);
    }
    if (rc == IM_OK) {
        rc = add_encode_open(stage, err);
    }
    if (rc == IM_OK) {
        scan->vector = im_alloc(run->library->model.dim, sizeof(float));
        rc = scan->vector != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a vector");
    }
    return rc;
}

static void close_stages(add_run *run, add_encode *stage, add_scan *scan)
{
    add_encode_close(stage);
    im_free(scan->vector);
    im_queue_free(run->found);
    im_queue_free(run->near);
    im_queue_free(run->ready);
    im_store_close(run->lookup);
}

/* One that has to decode alone is not held up by those that come after it. */
static void open_locks(add_run *run)
{
    pthread_rwlockattr_t writers_first;
    pthread_mutex_init(&run->lookup_lock, NULL);
    pthread_rwlockattr_init(&writers_first);
    pthread_rwlockattr_setkind_np(&writers_first, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&run->alone, &writers_first);
    pthread_rwlockattr_destroy(&writers_first);
}

static void close_locks(add_run *run)
{
    pthread_mutex_destroy(&run->lookup_lock);
    pthread_rwlock_destroy(&run->alone);
}

static void fill_memory(add_run *run, im_add_report *report)
{
    add_note_memory(run);
    report->memory_bytes = run->library->memory_bytes;
    report->memory_private_bytes = atomic_load(&run->memory_high);
    report->memory_mapped_bytes = im_memory_used().mapped_bytes;
}

/* All but the meta file; *first is the first failure of a file. */
static im_code add_paths(im_library *library, const im_add_request *request,
                         const im_events *events, im_add_report *report, add_failure *first,
                         im_error *err)
{
    int64_t started_ns = im_clock_wall_ns();
    add_targets targets = {0};
    add_run run = {.library = library,
                   .request = request,
                   .heeded = im_stop_heeded(),
                   .batch = request->batch != 0 ? request->batch : APP_DEFAULT_BATCH,
                   .first = {.error = IM_ERROR_INIT}};
    add_encode stage = {.run = &run, .events = events, .report = report};
    add_scan scan = {.run = &run, .targets = &targets, .error = IM_ERROR_INIT};
    open_locks(&run);
    im_code rc = IM_OK;
    if (request->changed) { /* where files are only gone, no model is needed */
        rc = add_find_targets(&run, events, report, &targets, err);
        if (rc != IM_OK || targets.n == 0) {
            goto out;
        }
    }
    rc = add_open_encoder(&run, events, err);
    stage.prepare_ns = (uint64_t)(im_clock_wall_ns() - started_ns);
    if (rc == IM_OK) {
        run.encoder = library->encoder;
        rc = add_plan_memory(&run, err);
    }
    if (rc == IM_OK && !request->changed) {
        rc = add_find_targets(&run, events, report, &targets, err);
    }
    if (rc == IM_OK) {
        rc = open_stages(&run, &stage, &scan, err);
    }
    if (rc == IM_OK) {
        meter_start(&stage.meter, "adding", 0);
        rc = run_stages(&run, &stage, &scan, err);
        meter_end(&stage.meter, events);
    }
    report->unchanged += atomic_load(&run.n_unchanged);
    report->interrupted = im_stop_asked();
    for (size_t i = 0; i < targets.n && rc == IM_OK && !report->interrupted; i++) {
        rc = add_mark_vanished(library, request, &targets.targets[i], started_ns, events, report,
                               err);
    }
    close_stages(&run, &stage, &scan);
out:
    if (rc == IM_OK && request->changed && !report->interrupted && !report->offline_root) {
        rc = add_mark_changed(library, request, events, report, err);
    }
    *first = run.first;
    fill_memory(&run, report);
    close_locks(&run);
    add_targets_clear(&targets);
    return rc;
}

im_code im_app_add(im_library *library, const im_add_request *request, const im_events *events,
                   im_add_report *out_report, im_error *err)
{
    uint64_t start = im_clock_ns();
    meta_run *meta = NULL;
    add_failure first = {.error = IM_ERROR_INIT};
    im_code rc = IM_OK;
    memset(out_report, 0, sizeof(*out_report));
    out_report->has_meta = request->meta != NULL;
    if (request->meta != NULL) {
        rc = meta_open(library, request->meta, &meta, err);
    }
    if (rc == IM_OK && (request->n_paths > 0 || meta == NULL)) {
        rc = add_paths(library, request, events, out_report, &first, err);
    }
    if (rc == IM_OK && meta != NULL && !out_report->interrupted) {
        im_error line = IM_ERROR_INIT;
        rc = meta_apply(meta, events, out_report, &line, err);
        if (line.code != IM_OK) {
            add_note_failure(&first, &line);
        }
    }
    meta_close(meta);
    if (rc == IM_OK && !out_report->interrupted) {
        library_compact_when_due(library, events);
    }
    if (rc == IM_OK && out_report->added + out_report->meta_set > 0) {
        library_update_caches(library, events);
    }
    out_report->seconds = im_clock_ms_since(start) / 1e3;
    out_report->ended = rc == IM_OK && !out_report->interrupted;
    return rc == IM_OK ? verdict(&first, out_report, err) : rc;
}

size_t im_add_pace(const im_add_report *report, double *out_shares)
{
    size_t pace = IM_ADD_NO_STAGE;
    double together = report->seconds - report->stages[0].busy_s; /* once the model was there */
    out_shares[0] = report->seconds > 0 ? report->stages[0].busy_s / report->seconds : 0;
    for (size_t i = 1; i < IM_ADD_STAGES; i++) {
        const im_stage_time *stage = &report->stages[i];
        double whole = together * (double)stage->threads;
        out_shares[i] = stage->name != NULL && whole > 0 ? stage->busy_s / whole : 0;
        if (out_shares[i] > (pace < IM_ADD_STAGES ? out_shares[pace] : 0)) {
            pace = i;
        }
    }
    return pace;
}

void im_add_report_json(im_json_writer *w, const im_add_report *r)
{
    double shares[IM_ADD_STAGES];
    size_t pace = im_add_pace(r, shares);
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
    if (r->has_meta) {
        im_json_put_uint(w, "meta_set", r->meta_set);
        im_json_put_uint(w, "meta_failed", r->meta_failed);
        im_json_put_uint(w, "meta_replaced", r->meta_replaced);
    }
    im_json_put_double(w, "seconds", r->seconds);
    im_json_put_bool(w, "interrupted", r->interrupted);
    im_json_key(w, "memory");
    im_json_begin_object(w);
    if (r->memory_bytes != 0) {
        im_json_put_uint(w, "budget_bytes", r->memory_bytes);
    } else {
        im_json_put_null(w, "budget_bytes");
    }
    im_json_put_uint(w, "private_bytes", r->memory_private_bytes);
    im_json_put_uint(w, "mapped_bytes", r->memory_mapped_bytes);
    im_json_end_object(w);
    im_json_key(w, "skips");
    im_json_begin_object(w);
    for (size_t i = 0; i < r->n_skips; i++) {
        im_json_put_uint(w, r->skips[i].what, r->skips[i].n);
    }
    im_json_end_object(w);
    im_json_key(w, "stages");
    im_json_begin_array(w);
    for (size_t i = 0; i < IM_ADD_STAGES && r->stages[i].name != NULL; i++) {
        im_json_begin_object(w);
        im_json_put_string(w, "name", r->stages[i].name);
        im_json_put_double(w, "busy_seconds", r->stages[i].busy_s);
        im_json_put_uint(w, "threads", r->stages[i].threads);
        im_json_put_double(w, "busy_share", shares[i]);
        im_json_end_object(w);
    }
    im_json_end_array(w);
    if (pace < IM_ADD_STAGES) {
        im_json_put_string(w, "pace", r->stages[pace].name);
    } else {
        im_json_put_null(w, "pace");
    }
    im_json_end_object(w);
}
