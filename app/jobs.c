/* app/jobs.c — long work that was asked for: put into the library, told, stopped, claimed. What a
 * job does is in jobs_run.c. */
#include "app/app_internal.h"

#include <unistd.h>

#define MOST_PATHS 1000u
#define PATHS_TOLD 10u

#define DESCRIBED_K 20u

static const struct {
    const char *name;
    bool adds, describes;
} kinds[] = {{"add", true, false},
             {"rebuild", false, false},
             {"compact", false, false},
             {"caption", false, true},
             {"read", false, true}};

static im_code check_path(const char *path, im_error *err)
{
    if (path[0] != '/' || strlen(path) >= PATH_MAX) {
        im_code rc =
            im_fail(err, IM_ERR_INVALID, "'paths' holds '%.100s', expected an absolute path", path);
        im_hint(err, "for example /home/anna/Pictures");
        return rc;
    }
    if (access(path, R_OK) != 0) {
        return im_fail_errno(err, errno, "could not read '%.200s'", path);
    }
    return IM_OK;
}

static im_code check_described(im_library *library, const im_job_wish *wish, bool describes,
                               im_error *err)
{
    bool any = wish->query != NULL || wish->k != 0 || wish->limit != 0 || wish->redo || wish->retry;
    im_query_request read = {0};
    if (!describes) {
        return any ? im_fail(
                         err, IM_ERR_INVALID,
                         "'query', 'k', 'limit', 'redo' and 'retry' belong to caption and read, "
                         "not to %s",
                         wish->kind)
                   : IM_OK;
    }
    if (wish->k > IM_LIMIT_K) {
        return im_fail(err, IM_ERR_INVALID, "'k' is %zu, expected 1 to %u", wish->k, IM_LIMIT_K);
    }
    if (wish->query == NULL) {
        return IM_OK;
    }
    const im_search_request search = {.text = wish->query, .k = DESCRIBED_K};
    im_code rc = im_app_read_search(library, &search, &read, err);
    im_query_request_clear(&read);
    return rc;
}

static im_code check_wish(im_library *library, const im_job_wish *wish, im_error *err)
{
    size_t kind = 0;
    im_code rc = IM_OK;
    while (kind < IM_COUNT(kinds) && strcmp(wish->kind, kinds[kind].name) != 0) {
        kind++;
    }
    if (kind == IM_COUNT(kinds)) {
        return im_fail(err, IM_ERR_INVALID,
                       "'kind' is '%.40s', expected add, rebuild, compact, caption or read",
                       wish->kind);
    }
    bool adds = kinds[kind].adds;
    if (adds ? wish->n_paths < 1 || wish->n_paths > MOST_PATHS : wish->n_paths > 0) {
        return im_fail(err, IM_ERR_INVALID, "'paths' has %zu paths, %s takes %s", wish->n_paths,
                       wish->kind, adds ? "1 to 1000" : "none");
    }
    for (size_t i = 0; rc == IM_OK && i < wish->n_paths; i++) {
        rc = check_path(wish->paths[i], err);
    }
    return rc == IM_OK ? check_described(library, wish, kinds[kind].describes, err) : rc;
}

/* ---- paths of a job: any bytes, in JSON ---- */

static bool is_text(const char *path)
{
    return im_utf8_valid(path, strlen(path), NULL);
}

void job_put_paths(im_json_writer *w, const char *const *paths, size_t n)
{
    im_json_key(w, "paths");
    im_json_begin_array(w);
    for (size_t i = 0; i < n; i++) {
        if (is_text(paths[i])) {
            im_json_string_c(w, paths[i]);
        }
    }
    im_json_end_array(w);
    im_json_key(w, "paths_b64");
    im_json_begin_array(w);
    for (size_t i = 0; i < n; i++) {
        if (!is_text(paths[i])) {
            im_str text;
            im_str_init(&text, 4 * PATH_MAX);
            im_text_base64(&text, paths[i], strlen(paths[i]));
            im_json_string_c(w, im_str_text(&text));
            w->out.failed = w->out.failed || text.failed;
            im_str_clear(&text);
        }
    }
    im_json_end_array(w);
}

/* What this very program wrote; anything else is left out. */
static char *read_base64(const char *text)
{
    size_t n = strlen(text);
    size_t size = 0;
    char *path = im_alloc(n + 1, 1);
    if (path != NULL) {
        bool good = im_text_base64_read(text, n, path, &size) == SIZE_MAX;
        path[good ? size : 0] = '\0';
    }
    return path;
}

im_code job_read_paths(const json_t *arguments, job_paths *out, im_error *err)
{
    const json_t *texts = json_object_get(arguments, "paths");
    const json_t *coded = json_object_get(arguments, "paths_b64");
    size_t n = json_array_size(texts) + json_array_size(coded);
    out->paths = im_alloc_zero(IM_MAX(n, 1), sizeof(*out->paths));
    bool enough = out->paths != NULL;
    for (size_t i = 0; enough && i < n; i++) {
        bool is_coded = i >= json_array_size(texts);
        const char *text =
            json_string_value(is_coded ? json_array_get(coded, i - json_array_size(texts))
                                       : json_array_get(texts, i));
        if (text != NULL) {
            out->paths[out->n] = is_coded ? read_base64(text) : im_strdup(text);
            enough = out->paths[out->n] != NULL;
            out->n += enough;
        }
    }
    return enough ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for the paths of a job");
}

void job_paths_clear(job_paths *paths)
{
    for (size_t i = 0; i < paths->n; i++) {
        im_free(paths->paths[i]);
    }
    im_free(paths->paths);
    *paths = (job_paths){0};
}

im_code im_app_job_put(im_library *library, const im_job_wish *wish, uint64_t *out_id,
                       im_error *err)
{
    im_json_writer w;
    im_code rc = check_wish(library, wish, err);
    if (rc != IM_OK) {
        return rc;
    }
    im_json_init(&w, 8u << 20);
    im_json_begin_object(&w);
    job_put_paths(&w, wish->paths, wish->n_paths);
    if (wish->query != NULL) {
        im_json_put_string(&w, "query", wish->query);
    }
    im_json_put_uint(&w, "k", wish->k != 0 ? wish->k : DESCRIBED_K);
    im_json_put_uint(&w, "limit", wish->limit);
    im_json_put_bool(&w, "redo", wish->redo);
    im_json_put_bool(&w, "retry", wish->retry);
    im_json_end_object(&w);
    rc = im_json_ok(&w)
             ? im_store_put_job(library->store, wish->kind, im_str_text(&w.out), out_id, err)
             : im_fail(err, IM_ERR_NOMEM, "no memory for a job");
    im_json_clear(&w);
    return rc;
}

/* ---- told ---- */

/* JSON of our own, made by this very writer, as a value. */
static void put_json(im_json_writer *w, const char *key, const char *json)
{
    if (json == NULL) {
        im_json_put_null(w, key);
        return;
    }
    im_json_key(w, key);
    im_str_add_c(&w->out, json);
    w->after_key = false;
    w->need_comma = true;
}

/* "paths" (a few: a list of a thousand jobs, or an event, with all of them would be too long to be
 * told), and "query" where there is one. */
static void put_arguments(im_json_writer *w, const im_job *job)
{
    job_paths paths = {0};
    im_error ignored = IM_ERROR_INIT;
    json_t *root = NULL;
    im_json_key(w, "paths");
    im_json_begin_array(w);
    if (im_json_parse(job->arguments, strlen(job->arguments), "job", &root, &ignored) == IM_OK &&
        job_read_paths(root, &paths, &ignored) == IM_OK) {
        for (size_t i = 0; i < IM_MIN(paths.n, (size_t)PATHS_TOLD); i++) {
            im_str text; /* for people: what is no UTF-8 is replaced */
            im_str_init(&text, IM_LIMIT_PATH_BYTES);
            (void)im_text_lossy(&text, paths.paths[i], strlen(paths.paths[i]));
            im_json_string_c(w, im_str_text(&text));
            im_str_clear(&text);
        }
    }
    im_json_end_array(w);
    im_json_put_uint(w, "n_paths", paths.n);
    job_paths_clear(&paths);
    const char *query = json_string_value(json_object_get(root, "query"));
    if (query != NULL) {
        im_json_put_string(w, "query", query);
    }
    json_decref(root);
}

static void put_job(im_json_writer *w, const im_job *job, const im_job_live *live)
{
    const char *progress = job->progress;
    for (size_t i = 0; live != NULL && i < IM_JOB_LANES; i++) {
        if (live->ids[i] == job->id && job->state == IM_JOB_RUNNING && live->progress[i] != NULL) {
            progress = live->progress[i];
        }
    }
    im_json_begin_object(w);
    im_json_put_uint(w, "id", job->id);
    im_json_put_string(w, "kind", job->kind);
    im_json_put_string(w, "state", im_job_state_name(job->state));
    put_arguments(w, job);
    put_json(w, "progress", progress);
    put_json(w, "error", job->error);
    answer_put_moment(w, "made", job->made_ns);
    answer_put_moment(w, "started", job->started_ns);
    answer_put_moment(w, "ended", job->ended_ns);
    im_json_end_object(w);
}

im_code im_app_job_json(im_library *library, uint64_t id, const im_job_live *live,
                        im_json_writer *w, im_error *err)
{
    im_job job = {0};
    im_code rc = im_store_get_job(library->store, id, &job, err);
    if (rc == IM_OK) {
        put_job(w, &job, live);
    }
    im_job_clear(&job);
    return rc;
}

typedef struct list_context {
    im_json_writer *w;
    const im_job_live *live;
} list_context;

static bool list_job(void *context, const im_job *job)
{
    const list_context *list = context;
    put_job(list->w, job, list->live);
    return true;
}

im_code im_app_jobs_json(im_library *library, const im_job_live *live, im_json_writer *w,
                         im_error *err)
{
    list_context list = {w, live};
    im_json_begin_object(w);
    im_json_key(w, "jobs");
    im_json_begin_array(w);
    im_code rc = im_store_each_job(library->store, list_job, &list, err);
    im_json_end_array(w);
    im_json_end_object(w);
    return rc;
}

void im_progress_json(im_json_writer *w, const im_progress *progress)
{
    im_json_begin_object(w);
    im_json_put_string(w, "stage", progress->stage);
    im_json_put_uint(w, "done", progress->done);
    im_json_put_uint(w, "total", progress->total);
    im_json_put_uint(w, "failed", progress->failed);
    im_json_put_double(w, "seconds", progress->seconds);
    im_json_put_double(w, "rate", progress->rate);
    if (progress->eta_s >= 0) {
        im_json_put_double(w, "eta_s", progress->eta_s);
    } else {
        im_json_put_null(w, "eta_s");
    }
    im_json_end_object(w);
}

/* ---- states ---- */

im_code im_app_job_stop(im_library *library, uint64_t id, bool *out_running, im_error *err)
{
    im_job job = {0};
    *out_running = false;
    im_code rc = im_store_begin(library->store, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = im_store_get_job(library->store, id, &job, err);
    if (rc == IM_OK && job.state == IM_JOB_RUNNING) {
        *out_running = true;
    } else if (rc == IM_OK) {
        rc = im_store_set_job(library->store, id, IM_JOB_STOPPED, job.progress, job.error, err);
    }
    if (rc == IM_OK) {
        rc = im_store_commit(library->store, err);
    } else {
        im_store_rollback(library->store);
    }
    im_job_clear(&job);
    return rc;
}

im_code im_app_jobs_revive(im_library *library, im_job_lane lane, im_error *err)
{
    uint64_t waiting = 0;
    uint64_t running = 0;
    im_code rc = im_store_count_jobs(library->store, &waiting, &running, err);
    return rc == IM_OK && running > 0 ? im_store_revive_jobs(library->store, lane, &running, err)
                                      : rc;
}

im_code im_app_jobs_count(im_library *library, uint64_t *out_waiting, uint64_t *out_running,
                          im_error *err)
{
    return im_store_count_jobs(library->store, out_waiting, out_running, err);
}

im_code im_app_job_claim(im_library *library, im_job_lane lane, im_job *out, im_error *err)
{
    return im_store_claim_job(library->store, lane, out, err);
}
