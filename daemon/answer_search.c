/* daemon/answer_search.c — searches: all that wait become one call of app/, so that their texts go
 * through the model together. */
#include "daemon/talk_internal.h"

#include <string.h>

/* ---- parameters ---- */

static im_code read_number(const http_parameters *p, const char *name, uint64_t min, uint64_t max,
                           uint64_t *value, im_error *err)
{
    const char *text = http_parameter_of(p, name);
    if (text != NULL && !im_parse_u64(text, min, max, value)) {
        im_code rc = im_fail_as(err, IM_REASON_HTTP_PARAMETER,
                                "parameter '%s' is '%.40s', expected a number from %llu to %llu",
                                name, text, (unsigned long long)min, (unsigned long long)max);
        im_at_field(err, "%s", name);
        return rc;
    }
    return IM_OK;
}

static im_code read_word(const http_parameters *p, const char *name, const char *const words[3],
                         unsigned *value, im_error *err)
{
    const char *text = http_parameter_of(p, name);
    for (unsigned i = 0; text != NULL && i < 3; i++) {
        if (strcmp(text, words[i]) == 0) {
            *value = i;
            return IM_OK;
        }
    }
    if (text == NULL) {
        return IM_OK;
    }
    im_code rc = im_fail_as(err, IM_REASON_HTTP_PARAMETER,
                            "parameter '%s' is '%.40s', expected %s, %s or %s", name, text,
                            words[0], words[1], words[2]);
    im_at_field(err, "%s", name);
    return rc;
}

static im_code read_score(const http_parameters *p, im_search_request *request, im_error *err)
{
    const char *text = http_parameter_of(p, "min_score");
    double score = 0;
    if (text == NULL) {
        return IM_OK;
    }
    if (!im_parse_double(text, &score) || !(score >= -IM_SCORE_MAX && score <= IM_SCORE_MAX)) {
        im_code rc = im_fail_as(
            err, IM_REASON_HTTP_PARAMETER,
            "parameter 'min_score' is '%.40s', expected a number from -1e9 to 1e9", text);
        im_at_field(err, "min_score");
        return rc;
    }
    request->has_min_score = true;
    request->min_score = (float)score;
    return IM_OK;
}

/* The address as the options of `imago search`. Texts are borrowed. */
static im_code read_parameters(const http_parameters *p, im_search_request *out, im_error *err)
{
    static const char *const orders[] = {"auto", "asc", "desc"};
    static const char *const combines[] = {"sum", "any", "all"};
    static const char *const modes[] = {"auto", "exact", "fast"};
    static const im_order order_of[] = {IM_ORDER_DEFAULT, IM_ORDER_ASCENDING, IM_ORDER_DESCENDING};
    static const im_combine combine_of[] = {IM_COMBINE_SUM, IM_COMBINE_ANY, IM_COMBINE_ALL};
    static const im_search_mode mode_of[] = {IM_MODE_AUTO, IM_MODE_EXACT, IM_MODE_FAST};
    unsigned order = 0;
    unsigned combine = 0;
    unsigned mode = 0;
    uint64_t k = 20;
    *out = (im_search_request){.text = http_parameter_of(p, "q"),
                               .filter = http_parameter_of(p, "filter"),
                               .sort = http_parameter_of(p, "sort"),
                               .group = http_parameter_of(p, "group"),
                               .cursor = http_parameter_of(p, "cursor")};
    im_code rc = read_number(p, "k", 1, IM_LIMIT_K, &k, err);
    if (rc == IM_OK) {
        rc = read_number(p, "offset", 0, IM_LIMIT_OFFSET_PLUS_K - 1, &out->offset, err);
    }
    if (rc == IM_OK) {
        rc = read_word(p, "order", orders, &order, err);
    }
    if (rc == IM_OK) {
        rc = read_word(p, "combine", combines, &combine, err);
    }
    if (rc == IM_OK) {
        rc = read_word(p, "mode", modes, &mode, err);
    }
    if (rc == IM_OK) {
        rc = read_score(p, out, err);
    }
    out->k = (size_t)k;
    out->order = order_of[order];
    out->combine = combine_of[combine];
    out->mode = mode_of[mode];
    return rc;
}

/* ---- multipart: pictures beside the query ---- */

/* A query owns its bytes. */
static im_code give_bytes(im_query_part *part, im_view bytes, im_error *err)
{
    char *copy = im_alloc(bytes.size + 1, 1);
    if (copy == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a picture");
    }
    memcpy(copy, bytes.data, bytes.size);
    part->bytes = im_view_of(copy, bytes.size);
    im_free((void *)(uintptr_t)part->upload);
    part->upload = NULL;
    return IM_OK;
}

/* Gives the pictures of the queries that name a part its bytes; used[i]: some picture names part i.
 */
static im_code attach(const http_parts *parts, bool *used, im_query_requests *requests,
                      im_error *err)
{
    for (size_t i = 0; i < requests->n; i++) {
        im_query *query = &requests->requests[i].query;
        for (size_t j = 0; j < query->n_parts; j++) {
            im_query_part *part = &query->parts[j];
            const http_part *bytes =
                part->upload != NULL ? http_part_of(parts, im_view_from(part->upload)) : NULL;
            if (part->upload != NULL && bytes == NULL) {
                return im_fail_as(err, IM_REASON_HTTP_MULTIPART,
                                  "a picture is 'file': '%.60s', but no part has that name",
                                  part->upload);
            }
            im_code rc = bytes != NULL ? give_bytes(part, bytes->data, err) : IM_OK;
            if (rc != IM_OK) {
                return rc;
            }
            if (bytes != NULL) {
                used[bytes - parts->list] = true;
            }
        }
    }
    return IM_OK;
}

static im_code read_form(im_library *library, exchange *ex, im_query_requests *out, im_error *err)
{
    http_parts parts;
    bool used[HTTP_MOST_PARTS] = {false};
    im_code rc = body_parts(ex, &parts, err);
    if (rc != IM_OK) {
        return rc;
    }
    const http_part *query = http_part_of(&parts, im_view_from("query"));
    if (query == NULL) {
        rc = im_fail_as(err, IM_REASON_HTTP_MULTIPART, "the body has no part 'query'");
        im_hint(err, "the query as JSON; its pictures as {\"file\": \"NAME\"} and parts of those "
                     "names");
        return rc;
    }
    used[query - parts.list] = true;
    rc = im_app_read_requests(library, query->data, "part 'query'", out, err);
    if (rc == IM_OK) {
        rc = attach(&parts, used, out, err);
        for (size_t i = 0; i < parts.n && rc == IM_OK; i++) {
            if (!used[i]) {
                rc = im_fail_as(err, IM_REASON_HTTP_MULTIPART,
                                "part '%.*s' is named by no picture of the query",
                                (int)IM_MIN(parts.list[i].name.size, (size_t)60),
                                parts.list[i].name.data);
            }
        }
        if (rc != IM_OK) {
            im_query_requests_clear(out);
        }
    }
    return rc;
}

static im_code read_rerank(const http_parameters *p, im_query_request *request, im_error *err)
{
    uint64_t n = 0;
    im_code rc = read_number(p, "rerank", 1, IM_RERANK_MOST, &n, err);
    request->rerank = (size_t)n;
    return rc == IM_OK ? im_query_request_check(request, err) : rc;
}

/* *out->requests is one block, whichever way they came. */
static im_code read_exchange(im_library *library, exchange *ex, im_query_requests *out,
                             im_error *err)
{
    im_search_request words;
    if (ex->route->id == ROUTE_SEARCH && ex->boundary[0] != '\0') {
        return read_form(library, ex, out, err);
    }
    if (ex->route->id == ROUTE_SEARCH) {
        return im_app_read_requests(library, im_view_of(im_str_text(&ex->body), ex->body.size),
                                    "request body", out, err);
    }
    im_code rc = read_parameters(&ex->parameters, &words, err);
    if (rc != IM_OK) {
        return rc;
    }
    words.all = ex->route->id == ROUTE_ITEMS;
    out->requests = im_alloc_zero(1, sizeof(*out->requests));
    if (out->requests == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a query");
    }
    rc = im_app_read_search(library, &words, &out->requests[0], err);
    if (rc == IM_OK) {
        rc = read_rerank(&ex->parameters, &out->requests[0], err);
    }
    out->n = rc == IM_OK;
    if (rc != IM_OK) {
        im_query_request_clear(&out->requests[0]);
        im_free(out->requests);
        out->requests = NULL;
    }
    return rc;
}

/* The vision-language model is asked about one query alone, and where there is one. */
static im_code check_rerank(server *s, const im_query_requests *asked, im_error *err)
{
    for (size_t i = 0; i < asked->n; i++) {
        if (asked->requests[i].rerank > 0 && asked->several) {
            im_code rc =
                im_fail_as(err, IM_REASON_QUERY_JSON, "'rerank' is for one query, not for several");
            im_at_field(err, "queries[%zu].rerank", i);
            return rc;
        }
    }
    return asked->requests[0].rerank > 0 ? talk_allowed(s, err) : IM_OK;
}

/* ---- answering ---- */

/* Searches that are answered together. */
typedef struct search_batch {
    exchange *list[DAEMON_MOST_TOGETHER];
    im_query_requests asked[DAEMON_MOST_TOGETHER];
    size_t n;
    im_query_request *requests; /* [n_requests], of all */
    im_answer *answers;
    im_error *errors;
    size_t n_requests;
} search_batch;

static void free_batch(search_batch *batch)
{
    for (size_t i = 0; i < batch->n_requests; i++) {
        if (batch->answers != NULL) {
            im_answer_clear(&batch->answers[i]);
        }
        if (batch->requests != NULL) {
            im_query_request_clear(&batch->requests[i]);
        }
    }
    for (size_t i = 0; i < batch->n; i++) {
        im_query_requests_clear(&batch->asked[i]);
    }
    im_free(batch->requests);
    im_free(batch->answers);
    im_free(batch->errors);
}

/* Moves the requests of all exchanges into one array. */
static im_code join(search_batch *batch, im_error *err)
{
    size_t n = batch->n_requests;
    size_t at = 0;
    batch->requests = im_alloc_zero(n, sizeof(*batch->requests));
    batch->answers = im_alloc_zero(n, sizeof(*batch->answers));
    batch->errors = im_alloc_zero(n, sizeof(*batch->errors));
    if (batch->requests == NULL || batch->answers == NULL || batch->errors == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for queries");
    }
    for (size_t i = 0; i < batch->n; i++) {
        for (size_t j = 0; j < batch->asked[i].n; j++) {
            batch->requests[at++] = batch->asked[i].requests[j];
            batch->asked[i].requests[j] = (im_query_request){0};
        }
    }
    return IM_OK;
}

static void put_several(im_json_writer *w, const im_answer *answers, const im_error *errors,
                        size_t n)
{
    im_json_begin_object(w);
    im_json_key(w, "answers");
    im_json_begin_array(w);
    for (size_t i = 0; i < n; i++) {
        if (errors[i].code == IM_OK) {
            im_answer_json(w, &answers[i]);
            continue;
        }
        im_json_begin_object(w);
        im_json_key(w, "error");
        im_json_error(w, &errors[i], NULL);
        im_json_end_object(w);
    }
    im_json_end_array(w);
    im_json_end_object(w);
}

/* The query as it was typed, as the command line shows it. */
static void keep_words(const exchange *ex, im_answer *answer)
{
    const char *typed = http_parameter_of(&ex->parameters, "q");
    char *copy = typed != NULL && http_parameter_of(&ex->parameters, "filter") == NULL
                     ? im_strdup(typed)
                     : NULL;
    if (copy != NULL) {
        im_free(answer->query);
        answer->query = copy;
    }
}

/* The first stage is answered; a talk has the rest. */
static void begin_rerank(server *s, exchange *ex, size_t n, im_answer *answer)
{
    im_error error = IM_ERROR_INIT;
    im_json_writer first;
    talk *t = talk_new(TALK_RERANK, ex);
    if (t == NULL) {
        (void)!im_fail(&error, IM_ERR_NOMEM, "no memory for a rerank");
        exchange_fail(ex, 0, &error);
        return;
    }
    im_json_init(&first, DAEMON_ANSWER_BYTES);
    if (t->streams) {
        im_answer_json(&first, answer);
    }
    t->n = n;
    t->answer = *answer;
    *answer = (im_answer){0};
    talk_begin(s, ex, t, "hits", &first);
    im_json_clear(&first);
}

static void put_answers(server *s, search_batch *batch)
{
    size_t at = 0;
    for (size_t i = 0; i < batch->n; i++) {
        exchange *ex = batch->list[i];
        const im_query_requests *asked = &batch->asked[i];
        if (asked->several) {
            put_several(&ex->answer, batch->answers + at, batch->errors + at, asked->n);
            exchange_done(ex, "application/json");
        } else if (batch->errors[at].code != IM_OK) {
            exchange_fail(ex, 0, &batch->errors[at]);
        } else {
            keep_words(ex, &batch->answers[at]);
            if (batch->requests[at].rerank > 0 && !ex->head_only) { /* nobody pays for no answer */
                begin_rerank(s, ex, batch->requests[at].rerank, &batch->answers[at]);
                at += asked->n;
                continue;
            }
            im_answer_json(&ex->answer, &batch->answers[at]);
            exchange_done(ex, "application/json");
        }
        at += asked->n;
    }
}

static im_code answer_batch(server *s, search_batch *batch, im_error *err)
{
    const im_search_how how = {.inside_roots = true, .limits = s->options->limits};
    im_code rc = join(batch, err);
    if (rc == IM_OK) {
        rc = im_app_search_many(work_library(s->work), &how, batch->requests, batch->n_requests,
                                batch->answers, batch->errors, err);
    }
    for (size_t i = 0; rc == IM_OK && i < batch->n_requests; i++) {
        const im_answer *answer = &batch->answers[i];
        if (batch->errors[i].code == IM_OK) {
            work_note_times(s->work, answer->n_parts > 0 ? answer->encode_ms : -1,
                            answer->search_ms);
        }
    }
    return rc;
}

void answer_searches(server *s, exchange *const *list, size_t n)
{
    search_batch batch = {.n = 0};
    im_error error = IM_ERROR_INIT;
    for (size_t i = 0; i < n; i++) {
        im_error refused = IM_ERROR_INIT;
        im_query_requests asked = {0};
        im_code rc = read_exchange(work_library(s->work), list[i], &asked, &refused);
        if (rc == IM_OK) {
            rc = check_rerank(s, &asked, &refused);
        }
        if (rc != IM_OK) {
            im_query_requests_clear(&asked);
            exchange_fail(list[i], 0, &refused);
            continue;
        }
        batch.list[batch.n] = list[i];
        batch.n_requests += asked.n;
        batch.asked[batch.n++] = asked;
    }
    im_code rc = batch.n > 0 ? answer_batch(s, &batch, &error) : IM_OK;
    if (rc == IM_OK) {
        put_answers(s, &batch);
    }
    size_t n_read = batch.n;
    free_batch(&batch);
    if (n_read > 0) {
        work_note_trouble(s->work, &error);
    }
    for (size_t i = 0; rc != IM_OK && i < n_read; i++) {
        if (n_read > 1) { /* one that stops all must not stop its neighbours */
            answer_searches(s, &batch.list[i], 1);
        } else {
            exchange_fail(batch.list[i], 0, &error);
        }
    }
}
