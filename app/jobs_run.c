/* app/jobs_run.c — what a job does, and how it ends: done, failed, stopped, or waiting for another
 * try. */
#include "app/app_internal.h"
#include "base/clock.h"

void im_job_end_clear(im_job_end *end)
{
    im_free(end->progress);
    *end = (im_job_end){.error = IM_ERROR_INIT};
}

typedef struct job_paths {
    json_t *root;
    const char **paths; /* [n], owned; the texts are root's */
    size_t n;
} job_paths;

static im_code read_paths(const im_job *job, job_paths *out, im_error *err)
{
    size_t i = 0;
    json_t *path = NULL;
    im_code rc = im_json_parse(job->arguments, strlen(job->arguments), "job", &out->root, err);
    if (rc != IM_OK) {
        return rc;
    }
    const json_t *list = json_object_get(out->root, "paths");
    out->paths = im_alloc(IM_MAX(json_array_size(list), 1), sizeof(*out->paths));
    if (out->paths == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the paths of a job");
    }
    json_array_foreach((json_t *)(uintptr_t)list, i, path)
    {
        if (json_is_string(path)) {
            out->paths[out->n++] = json_string_value(path);
        }
    }
    return IM_OK;
}

/* What is the file's own fault fails again tomorrow; the rest may have passed by then. */
static bool may_pass(const im_error *error, bool of_files)
{
    if (of_files) {
        return false;
    }
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

static im_code run_add(im_library *library, const im_job *job, const im_image_limits *limits,
                       const im_events *events, im_json_writer *w, bool *out_of_files,
                       im_error *err)
{
    job_paths paths = {0};
    im_add_report report = {0};
    im_code rc = read_paths(job, &paths, err);
    if (rc == IM_OK) {
        const im_add_request request = {
            .paths = paths.paths, .n_paths = paths.n, .limits = *limits};
        rc = im_app_add(library, &request, events, &report, err);
        *out_of_files = report.failed > 0;
        im_add_report_json(w, &report);
    }
    im_free(paths.paths);
    json_decref(paths.root);
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
    bool of_files = false;
    *out = (im_job_end){.error = IM_ERROR_INIT};
    im_json_init(&w, 1u << 20);
    im_code rc = strcmp(job->kind, "add") == 0
                     ? run_add(library, job, limits, events, &w, &of_files, &out->error)
                 : describes(job) ? run_describe(library, job, limits, vlm, events, &w, &out->error)
                                  : run_other(library, job, events, &w, &out->error);
    bool interrupted = strcmp(out->error.reason, im_reason_name(IM_REASON_INTERRUPTED)) == 0;
    if (rc == IM_OK || (rc == IM_ERR_PARTIAL && !interrupted)) {
        out->state = IM_JOB_DONE;
    } else if (interrupted || im_stop_asked()) {
        out->state = atomic_load(stopped) ? IM_JOB_STOPPED : IM_JOB_WAITING;
        out->error = (im_error)IM_ERROR_INIT;
    } else {
        out->state = may_pass(&out->error, of_files) ? IM_JOB_WAITING : IM_JOB_FAILED;
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
