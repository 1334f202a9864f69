/* daemon/answer_jobs.c — jobs and folders over HTTP: asked for, listed, stopped, listened to. */
#include "daemon/daemon_internal.h"

#include <string.h>

static const char *plain_text(const json_t *value)
{
    const char *text = json_string_value(value);
    return text != NULL && strlen(text) == json_string_length(value) ? text : NULL;
}

/* ---- jobs ---- */

typedef enum wish_type { WISH_TEXT, WISH_LIST, WISH_COUNT, WISH_TRUTH } wish_type;

static im_code check_key(const char *key, const json_t *value, im_error *err)
{
    static const struct {
        const char *key;
        wish_type type;
    } keys[] = {{"kind", WISH_TEXT},  {"paths", WISH_LIST},  {"query", WISH_TEXT},
                {"k", WISH_COUNT},    {"limit", WISH_COUNT}, {"redo", WISH_TRUTH},
                {"retry", WISH_TRUTH}};
    static const char *const names[] = {"text", "list", "whole number above 0", "truth value"};
    for (size_t i = 0; i < IM_COUNT(keys); i++) {
        wish_type type = keys[i].type;
        if (strcmp(keys[i].key, key) != 0) {
            continue;
        }
        bool good = type == WISH_TEXT    ? plain_text(value) != NULL
                    : type == WISH_LIST  ? json_is_array(value)
                    : type == WISH_COUNT ? json_integer_value(value) > 0
                                         : json_is_boolean(value);
        return good ? IM_OK
                    : im_fail_as(err, IM_REASON_HTTP_BODY, "request body: '%s' is no %s", key,
                                 names[type]);
    }
    return im_fail_as(
        err, IM_REASON_HTTP_BODY,
        "request body: key '%.40s' is not known, expected kind, paths, query, k, limit, "
        "redo, retry",
        key);
}

/* {"kind":"add","paths":[…]}; the texts stay root's. @param paths owned by the caller */
static im_code read_wish(const json_t *root, im_job_wish *out, const char ***paths, im_error *err)
{
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)(uintptr_t)root, key, value)
    {
        im_code rc = check_key(key, value, err);
        if (rc != IM_OK) {
            return rc;
        }
    }
    const json_t *list = json_object_get(root, "paths");
    *out = (im_job_wish){.kind = plain_text(json_object_get(root, "kind")),
                         .query = plain_text(json_object_get(root, "query")),
                         .k = (size_t)json_integer_value(json_object_get(root, "k")),
                         .limit = (uint64_t)json_integer_value(json_object_get(root, "limit")),
                         .redo = json_is_true(json_object_get(root, "redo")),
                         .retry = json_is_true(json_object_get(root, "retry"))};
    if (out->kind == NULL) {
        return im_fail_as(err, IM_REASON_HTTP_BODY, "request body: 'kind' is missing");
    }
    *paths = im_alloc(IM_MAX(json_array_size(list), 1), sizeof(**paths));
    if (*paths == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for paths");
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        (*paths)[i] = plain_text(json_array_get(list, i));
        if ((*paths)[i] == NULL) {
            return im_fail_as(err, IM_REASON_HTTP_BODY, "request body: 'paths[%zu]' is no text", i);
        }
    }
    out->paths = *paths;
    out->n_paths = json_array_size(list);
    return IM_OK;
}

void answer_job_add(server *s, exchange *const *list, size_t n)
{
    exchange *ex = list[0];
    im_error error = IM_ERROR_INIT;
    json_t *root = NULL;
    const char **paths = NULL;
    im_job_wish wish;
    uint64_t id = 0;
    (void)n;
    im_code rc = body_object(ex, &root, &error);
    if (rc == IM_OK) {
        rc = read_wish(root, &wish, &paths, &error);
    }
    if (rc == IM_OK) {
        rc = im_app_job_put(work_library(s->writer), &wish, &id, &error);
    }
    if (rc == IM_OK) {
        jobs_poke(s->jobs);
        rc = im_app_job_json(work_library(s->writer), id, NULL, &ex->answer, &error);
        im_str_addf(&ex->headers, "Location: /v1/jobs/%llu\r\n", (unsigned long long)id);
    }
    im_free(paths);
    json_decref(root);
    exchange_end(ex, rc, 202, &error);
}

static im_code put_jobs(server *s, im_library *library, uint64_t id, im_json_writer *w,
                        im_error *err)
{
    im_job_live live = {0};
    jobs_live(s->jobs, &live);
    im_code rc = id == 0 ? im_app_jobs_json(library, &live, w, err)
                         : im_app_job_json(library, id, &live, w, err);
    jobs_live_clear(&live);
    return rc;
}

void answer_jobs(server *s, exchange *const *list, size_t n)
{
    im_error error = IM_ERROR_INIT;
    (void)n;
    im_code rc = put_jobs(s, work_library(s->work), 0, &list[0]->answer, &error);
    exchange_end(list[0], rc, 200, &error);
}

void answer_job(server *s, exchange *const *list, size_t n)
{
    im_error error = IM_ERROR_INIT;
    (void)n;
    im_code rc = put_jobs(s, work_library(s->work), list[0]->item, &list[0]->answer, &error);
    exchange_end(list[0], rc, 200, &error);
}

void answer_job_stop(server *s, exchange *const *list, size_t n)
{
    exchange *ex = list[0];
    im_error error = IM_ERROR_INIT;
    bool running = false;
    (void)n;
    im_code rc = im_app_job_stop(work_library(s->writer), ex->item, &running, &error);
    if (rc == IM_OK && running) {
        jobs_stop(s->jobs, ex->item);
    }
    if (rc == IM_OK) {
        rc = put_jobs(s, work_library(s->writer), ex->item, &ex->answer, &error);
    }
    if (rc == IM_OK && !running) {
        jobs_tell_stopped(s->jobs, ex->item, &ex->answer);
    }
    exchange_end(ex, rc, 200, &error);
}

/* The stream begins with the job as it is, or behind the last event that the listener had. */
void answer_job_events(server *s, exchange *const *list, size_t n)
{
    exchange *ex = list[0];
    im_error error = IM_ERROR_INIT;
    im_json_writer w;
    im_str told;
    bool ended = false;
    (void)n;
    im_json_init(&w, 1u << 20);
    im_str_init(&told, 0);
    uint64_t last = jobs_listen(s->jobs, ex->item, UINT64_MAX, &told, &ended);
    im_code rc = put_jobs(s, work_library(s->work), ex->item, &w, &error);
    if (rc == IM_OK && im_json_ok(&w)) {
        bool over = strstr(im_str_text(&w.out), "\"ended\":null") == NULL;
        im_str *out = &ex->answer.out;
        if (ex->last_event == 0 || ex->last_event > last || over) {
            im_str_addf(out, "id: %llu\nevent: %s\ndata: ", (unsigned long long)last,
                        over ? "done" : "state");
            im_str_add(out, im_str_text(&w.out), w.out.size);
            im_str_add_c(out, "\n\n");
            ex->stream_after = last;
        } else {
            ex->stream_after = ex->last_event;
        }
        ex->stream = over ? 0 : ex->item;
        ex->close = true;
        ex->streams = true;
    }
    im_str_clear(&told);
    im_json_clear(&w);
    exchange_end(ex, rc, 200, &error);
    if (rc == IM_OK && ex->status == 200) {
        ex->type = "text/event-stream";
    }
}

/* ---- folders ---- */

void answer_roots(server *s, exchange *const *list, size_t n)
{
    im_error error = IM_ERROR_INIT;
    (void)n;
    im_code rc = im_app_roots_json(work_library(s->work), &list[0]->answer, &error);
    exchange_end(list[0], rc, 200, &error);
}

/* *out_watch NULL: nothing is said of it. */
static im_code read_root(const json_t *root, const char **out_path, const json_t **out_watch,
                         im_error *err)
{
    *out_path = plain_text(json_object_get(root, "path"));
    *out_watch = json_object_get(root, "watch");
    if (*out_path == NULL || json_object_size(root) != (*out_watch != NULL ? 2u : 1u) ||
        (*out_watch != NULL && !json_is_boolean(*out_watch))) {
        return im_fail_as(
            err, IM_REASON_HTTP_BODY,
            "request body: expected 'path', a text, 'watch', true or false, which may "
            "be absent, and no other key");
    }
    return IM_OK;
}

/* The folder is a root from now on, and a job reads it. */
void answer_root_add(server *s, exchange *const *list, size_t n)
{
    exchange *ex = list[0];
    im_error error = IM_ERROR_INIT;
    json_t *body = NULL;
    const char *path = NULL;
    const json_t *follow = NULL;
    uint64_t root = 0;
    uint64_t job = 0;
    im_library *library = work_library(s->writer);
    (void)n;
    im_code rc = body_object(ex, &body, &error);
    if (rc == IM_OK) {
        rc = read_root(body, &path, &follow, &error);
    }
    if (rc == IM_OK) {
        rc = im_app_root_put(library, path, &root, &error);
    }
    if (rc == IM_OK && follow != NULL) {
        rc = im_app_watch_root(library, root, json_is_true(follow), &error);
        watch_poke(s->watch);
    }
    if (rc == IM_OK) {
        const im_job_wish wish = {.kind = "add", .paths = &path, .n_paths = 1};
        rc = im_app_job_put(library, &wish, &job, &error);
    }
    if (rc == IM_OK) {
        jobs_poke(s->jobs);
        im_json_begin_object(&ex->answer);
        im_json_key(&ex->answer, "root");
        rc = im_app_root_json(library, root, &ex->answer, &error);
        im_json_put_uint(&ex->answer, "job", job);
        im_json_end_object(&ex->answer);
    }
    json_decref(body);
    exchange_end(ex, rc, 202, &error);
}

void answer_root_change(server *s, exchange *const *list, size_t n)
{
    exchange *ex = list[0];
    im_error error = IM_ERROR_INIT;
    json_t *body = NULL;
    im_library *library = work_library(s->writer);
    (void)n;
    im_code rc = body_object(ex, &body, &error);
    const json_t *follow = json_object_get(body, "watch");
    if (rc == IM_OK && (!json_is_boolean(follow) || json_object_size(body) != 1)) {
        rc = im_fail_as(&error, IM_REASON_HTTP_BODY,
                        "request body: expected 'watch', true or false, and no other key");
    }
    if (rc == IM_OK) {
        rc = im_app_watch_root(library, ex->item, json_is_true(follow), &error);
        watch_poke(s->watch);
    }
    if (rc == IM_OK) {
        rc = im_app_root_json(library, ex->item, &ex->answer, &error);
    }
    json_decref(body);
    exchange_end(ex, rc, 200, &error);
}

void answer_root_remove(server *s, exchange *const *list, size_t n)
{
    exchange *ex = list[0];
    im_error error = IM_ERROR_INIT;
    uint64_t items = 0;
    (void)n;
    im_code rc = im_app_root_remove(work_library(s->writer), ex->item, &items, &error);
    if (rc == IM_OK) {
        im_json_begin_object(&ex->answer);
        im_json_put_uint(&ex->answer, "removed", ex->item);
        im_json_put_uint(&ex->answer, "items", items);
        im_json_end_object(&ex->answer);
    }
    exchange_end(ex, rc, 200, &error);
}
