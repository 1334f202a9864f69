/* app/jobs_run.c — what a job does, and how it ends: done, failed, stopped, or waiting for another
 * try. */
#include "app/app_internal.h"
#include "base/clock.h"

void im_job_end_clear(im_job_end *end)
{
    im_free(end->progress);
    *end = (im_job_end){.error = IM_ERROR_INIT};
}

/* Numbers beyond what JSON's readers hold stand in texts. */
static uint64_t read_number(const json_t *arguments, const char *key)
{
    uint64_t number = 0;
    const char *text = json_string_value(json_object_get(arguments, key));
    return text != NULL && im_parse_u64(text, 0, UINT64_MAX, &number) ? number : 0;
}

/* The mark of a job that a follower put; root 0: it is another one's. */
static im_watch_mark read_mark(const json_t *arguments)
{
    return (im_watch_mark){.root = read_number(arguments, "root"),
                           .device = read_number(arguments, "device"),
                           .inode = read_number(arguments, "inode"),
                           .witnessed = json_is_true(json_object_get(arguments, "witnessed"))};
}

/* What stood against the whole of it may have passed by the next try. */
static bool may_pass(const im_error *error)
{
    switch (error->code) {
    case IM_ERR_BUSY:
    case IM_ERR_NOMEM:
    case IM_ERR_IO:
    case IM_ERR_FULL:
    case IM_ERR_UPSTREAM:
    case IM_ERR_TIMEOUT:
        return true;
    default:
        return strncmp(error->reason, "model_", 6) == 0;
    }
}

static bool is_watch(const im_job *job)
{
    return strcmp(job->kind, IM_JOB_KIND_WATCH) == 0;
}

static im_code run_add(im_library *library, const im_job *job, const im_image_limits *limits,
                       const im_events *events, im_json_writer *w, im_add_report *report,
                       im_error *err)
{
    job_paths paths = {0};
    json_t *arguments = NULL;
    im_code rc = im_json_parse(job->arguments, strlen(job->arguments), "job", &arguments, err);
    if (rc == IM_OK) {
        rc = job_read_paths(arguments, &paths, err);
    }
    if (rc == IM_OK) {
        const im_watch_mark mark = read_mark(arguments);
        bool changed = is_watch(job);
        const im_add_request request = {
            .paths = (const char *const *)paths.paths,
            .n_paths = paths.n,
            .limits = *limits,
            .no_recursion = json_is_false(json_object_get(arguments, "recursive")),
            .mark = mark.root != 0 ? &mark : NULL,
            .leave_young = mark.root != 0 && !changed,
            .changed = changed,
            .as_found = changed,
            .decoders = changed && paths.n < 4 ? paths.n : 0,
        };
        rc = im_app_add(library, &request, events, report, err);
        im_add_report_json(w, report);
    }
    job_paths_clear(&paths);
    json_decref(arguments);
    return rc;
}

/* What the query names lies in the library: a job may not read other files of the server by it. */
static im_code run_describe(im_library *library, const im_job *job, const im_image_limits *limits,
                            const im_vlm_request *vlm, const im_events *events, im_json_writer *w,
                            im_error *err)
{
    json_t *root = NULL;
    im_describe_report report = {0};
    im_code rc = im_json_parse(job->arguments, strlen(job->arguments), "job", &root, err);
    if (rc != IM_OK) {
        return rc;
    }
    const char *query = json_string_value(json_object_get(root, "query"));
    const im_search_request search = {.text = query,
                                      .all = query == NULL,
                                      .k = (size_t)json_integer_value(json_object_get(root, "k")),
                                      .how = {.inside_roots = true, .limits = *limits}};
    im_describe_request request = {
        .wish = strcmp(job->kind, "read") == 0 ? IM_VLM_READ : IM_VLM_CAPTION,
        .search = &search,
        .limit = (uint64_t)json_integer_value(json_object_get(root, "limit")),
        .redo = json_is_true(json_object_get(root, "redo")),
        .retry = json_is_true(json_object_get(root, "retry"))};
    if (vlm != NULL) {
        request.vlm = *vlm;
    }
    rc = im_app_describe(library, &request, events, &report, err);
    im_describe_report_json(w, &report);
    json_decref(root);
    return rc;
}

static bool describes(const im_job *job)
{
    return strcmp(job->kind, "caption") == 0 || strcmp(job->kind, "read") == 0;
}

static im_code run_other(im_library *library, const im_job *job, const im_events *events,
                         im_json_writer *w, im_error *err)
{
    im_rebuild_report rebuilt = {0};
    im_compact_report compacted = {0};
    im_code rc = IM_OK;
    im_json_begin_object(w);
    if (strcmp(job->kind, "rebuild") == 0) {
        rc = im_app_rebuild(library, NULL, events, &rebuilt, err);
        im_json_put_uint(w, "vectors", rebuilt.vectors);
    } else if (strcmp(job->kind, "compact") == 0) {
        rc = im_app_compact(library, events, &compacted, err);
        im_json_put_uint(w, "rows", compacted.rows);
        im_json_put_uint(w, "dropped", compacted.dropped);
        im_json_put_uint(w, "freed_bytes", compacted.freed_bytes);
    } else {
        rc = im_fail(err, IM_ERR_UNSUPPORTED, "a job of kind '%s', which this program does not do",
                     job->kind);
    }
    im_json_end_object(w);
    return rc;
}

void im_app_job_run(im_library *library, const im_job *job, const im_image_limits *limits,
                    const im_vlm_request *vlm, const atomic_bool *stopped, const im_events *events,
                    im_job_end *out)
{
    im_json_writer w;
    im_add_report added = {0};
    *out = (im_job_end){.error = IM_ERROR_INIT};
    im_json_init(&w, 1u << 20);
    bool adds = strcmp(job->kind, "add") == 0 || is_watch(job);
    im_code rc = adds             ? run_add(library, job, limits, events, &w, &added, &out->error)
                 : describes(job) ? run_describe(library, job, limits, vlm, events, &w, &out->error)
                                  : run_other(library, job, events, &w, &out->error);
    bool interrupted = strcmp(out->error.reason, im_reason_name(IM_REASON_INTERRUPTED)) == 0;
    if (is_watch(job) && added.ended) {
        /* of a folder that was not there nothing was taken: its follower must know */
        out->state = added.offline_root ? IM_JOB_FAILED : IM_JOB_DONE;
    } else if (rc == IM_OK || (rc == IM_ERR_PARTIAL && !interrupted)) {
        out->state = IM_JOB_DONE;
    } else if (interrupted || im_stop_asked()) {
        out->state = atomic_load(stopped) ? IM_JOB_STOPPED : IM_JOB_WAITING;
        out->error = (im_error)IM_ERROR_INIT;
    } else {
        out->state = !added.ended && may_pass(&out->error) ? IM_JOB_WAITING : IM_JOB_FAILED;
    }
    out->progress = im_json_ok(&w) && w.out.size > 0 ? im_strdup(im_str_text(&w.out)) : NULL;
    im_json_clear(&w);
}

im_code im_app_job_end(im_library *library, uint64_t id, const im_job_end *end, im_error *err)
{
    im_json_writer w;
    im_json_init(&w, 16u << 10);
    if (end->error.code != IM_OK) {
        im_json_error(&w, &end->error, NULL);
    }
    im_code rc = im_json_ok(&w) ? im_store_set_job(library->store, id, end->state, end->progress,
                                                   w.out.size > 0 ? im_str_text(&w.out) : NULL, err)
                                : im_fail(err, IM_ERR_NOMEM, "no memory for the end of a job");
    im_json_clear(&w);
    return rc;
}
