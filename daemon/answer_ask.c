/* daemon/answer_ask.c — questions and explanations: the first stage here, on the library's thread;
 * what the vision-language model says of it in a talk. */
#include "daemon/talk_internal.h"

#include <string.h>

#define WRONG(...) im_fail_as(err, IM_REASON_HTTP_BODY, "request body: " __VA_ARGS__)

/* ---- what there is ---- */

static im_code known(server *s, im_vlm_server *out, bool *out_known, im_error *err)
{
    *out_known = false;
    return s->options->no_vlm
               ? IM_OK
               : im_app_vlm_known(work_library(s->work), &s->options->vlm, out, out_known, err);
}

im_code talk_allowed(server *s, im_error *err)
{
    im_vlm_server vlm;
    bool is_known = false;
    im_code rc = known(s, &vlm, &is_known, err);
    if (rc == IM_OK && !is_known) {
        rc = im_fail(err, IM_ERR_INVALID, "this server knows no vision-language model");
        im_hint(err, "imago vlm probe --vlm-url URL, or imago serve --vlm-url URL");
    }
    return rc;
}

void answer_vlm(server *s, exchange *const *list, size_t n)
{
    im_vlm_server vlm = {0};
    im_error error = IM_ERROR_INIT;
    im_json_writer *w = &list[0]->answer;
    bool is_known = false;
    (void)n;
    im_code rc = known(s, &vlm, &is_known, &error);
    im_json_begin_object(w); /* not the server's address: who may read need not know it */
    im_json_put_bool(w, "set", is_known);
    im_json_put_string(w, "model", is_known ? vlm.model : NULL);
    im_json_put_string(w, "profile", is_known ? im_vlm_profile_name(vlm.profile) : NULL);
    im_json_put_string(w, "mode", is_known ? im_vlm_mode_name(vlm.mode) : NULL);
    im_json_put_bool(w, "judges", is_known && vlm.mode != IM_VLM_MODE_NONE);
    im_json_put_bool(w, "answers", is_known && im_vlm_most_pictures(&vlm) > 0);
    im_json_end_object(w);
    exchange_end(list[0], rc, 200, &error);
}

/* ---- the hand-over ---- */

void talk_begin(server *s, exchange *ex, talk *t, const char *name, const im_json_writer *first)
{
    im_error error = IM_ERROR_INIT;
    ex->talk = t;
    if (!talks_put(s->talks, t)) {
        (void)!im_fail_as(&error, IM_REASON_QUEUE_FULL,
                          "too many requests wait for the vision-language model");
        exchange_fail(ex, 0, &error);
    } else if (t->streams) {
        talk_event(&ex->answer.out, name, first);
        ex->close = ex->streams = true;
        exchange_done(ex, "text/event-stream");
    } /* else it has no status yet: the connection waits */
}

/* ---- what is asked ---- */

static const char *plain_text(const json_t *value)
{
    const char *text = json_string_value(value);
    return text != NULL && strlen(text) == json_string_length(value) ? text : NULL;
}

/* Keys beside these are refused. */
static im_code check_keys(const json_t *root, const char *const *names, size_t n, im_error *err)
{
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)(uintptr_t)root, key, value)
    {
        size_t i = 0;
        while (i < n && strcmp(names[i], key) != 0) {
            i++;
        }
        if (i == n) {
            return WRONG("key '%.40s' is not known", key);
        }
    }
    return IM_OK;
}

/* "query" as an object, or as text in the language (`words`, with its filter and parts). */
static im_code read_query(im_library *library, const json_t *query, im_search_request *words,
                          im_query_requests *out, im_error *err)
{
    if (json_is_object(query)) {
        char *text = json_dumps(query, JSON_COMPACT);
        if (text == NULL) {
            return im_fail(err, IM_ERR_NOMEM, "no memory for a query");
        }
        im_code rc = im_app_read_requests(library, im_view_from(text), "'query'", out, err);
        im_free(text); /* jansson allocates through base/memory.h */
        if (rc == IM_OK && (out->several || out->requests[0].rerank > 0)) {
            rc = WRONG("'query' is one query, without 'rerank'");
        }
        return rc;
    }
    out->requests = im_alloc_zero(1, sizeof(*out->requests));
    if (out->requests == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a query");
    }
    out->n = 1;
    return im_app_read_search(library, words, &out->requests[0], err);
}

/* @param typed the query as it was typed, which the answer shows as the command line does; or NULL
 */
static im_code search(server *s, im_query_requests *asked, uint64_t only, const char *typed,
                      im_answer *answer, im_error *err)
{
    const im_search_how how = {.only = only, .inside_roots = true, .limits = s->options->limits};
    im_error error = IM_ERROR_INIT;
    im_code rc =
        im_app_search_many(work_library(s->work), &how, asked->requests, 1, answer, &error, err);
    if (rc == IM_OK && error.code != IM_OK) {
        *err = error;
        rc = error.code;
    }
    char *copy = rc == IM_OK && typed != NULL ? im_strdup(typed) : NULL;
    if (copy != NULL) {
        im_free(answer->query);
        answer->query = copy;
    }
    return rc;
}

/* ---- questions ---- */

typedef struct ask_body {
    json_t *root;
    const char *question, *filter;
    const json_t *query; /* object or text; NULL: the question itself */
    size_t k;
} ask_body;

static im_code read_ask(const exchange *ex, ask_body *out, im_error *err)
{
    static const char *const names[] = {"question", "query", "filter", "k"};
    im_code rc = body_object(ex, &out->root, err);
    if (rc == IM_OK) {
        rc = check_keys(out->root, names, IM_COUNT(names), err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    const json_t *k = json_object_get(out->root, "k");
    const json_t *filter = json_object_get(out->root, "filter");
    json_int_t number = k != NULL ? json_integer_value(k) : IM_ASK_K;
    out->question = plain_text(json_object_get(out->root, "question"));
    out->query = json_object_get(out->root, "query");
    out->query = json_is_null(out->query) ? NULL : out->query;
    out->filter = plain_text(filter);
    out->k = (size_t)number;
    if (out->question == NULL) {
        return WRONG("'question' is missing, or no text");
    }
    if ((k != NULL && !json_is_integer(k)) || number < 1 || number > IM_ASK_MOST) {
        return WRONG("'k' is no whole number from 1 to %u", IM_ASK_MOST);
    }
    if (filter != NULL && (out->filter == NULL || json_is_object(out->query))) {
        return WRONG("'filter' is no text, or stands beside a query that may hold one");
    }
    return out->query == NULL || json_is_object(out->query) || plain_text(out->query) != NULL
               ? IM_OK
               : WRONG("'query' is no object and no text");
}

static im_code begin_ask(server *s, exchange *ex, const ask_body *body, im_error *err)
{
    im_query_requests asked = {0};
    const im_query_part part = {
        .kind = IM_PART_TEXT, .text = im_view_from(body->question), .weight = 1};
    im_search_request words = {.text = plain_text(body->query),
                               .parts = &part,
                               .n_parts = body->query == NULL,
                               .filter = body->filter,
                               .k = body->k};
    talk *t = talk_new(TALK_ASK, ex);
    im_json_writer first;
    im_json_init(&first, DAEMON_ANSWER_BYTES);
    im_code rc =
        t != NULL ? talk_allowed(s, err) : im_fail(err, IM_ERR_NOMEM, "no memory for a question");
    if (rc == IM_OK) {
        rc = read_query(work_library(s->work), body->query, &words, &asked, err);
    }
    if (rc == IM_OK) {
        asked.requests[0].k = body->k;
        t->question = im_strdup(body->question);
        rc = t->question != NULL
                 ? search(s, &asked, 0, words.filter == NULL ? words.text : NULL, &t->answer, err)
                 : im_fail(err, IM_ERR_NOMEM, "no memory for a question");
    }
    if (rc == IM_OK) {
        im_answer_json(&first, &t->answer);
        talk_begin(s, ex, t, "hits", &first);
    } else {
        talk_leave(t);
    }
    im_json_clear(&first);
    im_query_requests_clear(&asked);
    return rc;
}

void answer_ask(server *s, exchange *const *list, size_t n)
{
    im_error error = IM_ERROR_INIT;
    ask_body body = {0};
    (void)n;
    im_code rc = read_ask(list[0], &body, &error);
    if (rc == IM_OK) {
        rc = begin_ask(s, list[0], &body, &error);
    }
    if (rc != IM_OK) {
        exchange_fail(list[0], 0, &error);
    }
    json_decref(body.root);
}

/* ---- explanations ---- */

typedef struct explain_body {
    json_t *root;
    const json_t *query;
    bool vlm;
} explain_body;

static im_code read_explain(const exchange *ex, explain_body *out, im_error *err)
{
    static const char *const names[] = {"query", "vlm"};
    im_code rc = body_object(ex, &out->root, err);
    if (rc == IM_OK) {
        rc = check_keys(out->root, names, IM_COUNT(names), err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    const json_t *vlm = json_object_get(out->root, "vlm");
    out->query = json_object_get(out->root, "query");
    out->vlm = json_is_true(vlm);
    if (vlm != NULL && !json_is_boolean(vlm)) {
        return WRONG("'vlm' is neither true nor false");
    }
    return json_is_object(out->query) || plain_text(out->query) != NULL
               ? IM_OK
               : WRONG("'query' is missing, or no object and no text");
}

/* What the first stage says; with a talk also what the model will say. */
static im_code explain(server *s, exchange *ex, const explain_body *body, talk *t, im_error *err)
{
    im_query_requests asked = {0};
    im_json_writer first;
    im_search_request words = {.text = plain_text(body->query), .k = 1};
    im_json_init(&first, DAEMON_ANSWER_BYTES);
    im_code rc = read_query(work_library(s->work), body->query, &words, &asked, err);
    if (rc == IM_OK) {
        im_query_request *request = &asked.requests[0];
        request->k = 1;
        request->offset = 0;
        request->exact = true;
        request->fast = false;
        im_free(request->cursor);
        request->cursor = NULL;
        rc = search(s, &asked, ex->item, words.text, &t->answer, err);
    }
    if (rc == IM_OK) {
        rc = im_app_explain_hit(work_library(s->work), ex->item, &t->answer, NULL, &first, err);
    }
    if (rc == IM_OK && body->vlm) {
        talk_begin(s, ex, t, "parts", &first);
    } else {
        if (rc == IM_OK) {
            im_str_add(&ex->answer.out, im_str_text(&first.out), first.out.size);
            exchange_done(ex, "application/json");
        }
        talk_leave(t);
    }
    im_json_clear(&first);
    im_query_requests_clear(&asked);
    return rc;
}

void answer_explain(server *s, exchange *const *list, size_t n)
{
    im_error error = IM_ERROR_INIT;
    explain_body body = {0};
    talk *t = NULL;
    (void)n;
    im_code rc = read_explain(list[0], &body, &error);
    if (rc == IM_OK && body.vlm) {
        rc = talk_allowed(s, &error);
    }
    if (rc == IM_OK) {
        t = talk_new(TALK_EXPLAIN, list[0]);
        rc = t != NULL ? explain(s, list[0], &body, t, &error)
                       : im_fail(&error, IM_ERR_NOMEM, "no memory for an explanation");
    }
    if (rc != IM_OK) {
        exchange_fail(list[0], 0, &error);
    }
    json_decref(body.root);
}
