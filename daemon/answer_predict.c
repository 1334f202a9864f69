/* daemon/answer_predict.c — what Immich asks of its machine-learning server: POST /predict with the
 * tasks of CLIP, GET /ping. Other tasks (faces, text in pictures) go to the server that was named
 * for them (forward.c), or are refused, so that Immich goes on to the next one of its list. */
#include "base/clock.h"
#include "daemon/daemon_internal.h"

#include <string.h>

void answer_ping(server *s, exchange *const *list, size_t n)
{
    (void)s;
    (void)n;
    im_str_add_c(&list[0]->answer.out, "pong");
    exchange_done(list[0], "text/plain; charset=utf-8");
}

/* What is asked for. Borrowed from the body and `entries`. */
typedef struct prediction {
    json_t *entries;
    const char *model; /* NULL: nothing is asked of CLIP */
    size_t n_others;   /* tasks that are not ours */
    bool visual;
    const http_part *image, *text;
} prediction;

static im_code wrong(im_error *err, const char *sentence)
{
    im_code rc = im_fail_as(err, IM_REASON_HTTP_BODY, "'entries': %s", sentence);
    im_at_field(err, "entries");
    im_hint(err, "{\"clip\": {\"textual\": {\"modelName\": \"ViT-B-32__openai\"}}}");
    return rc;
}

/* Whether tasks of others may be asked of their server. */
typedef enum asking { ASK_NOBODY, ASK_CIRCLE, ASK_UPSTREAM } asking;

static asking asking_of(const server *s, const exchange *ex)
{
    return s->forward == NULL ? ASK_NOBODY : ex->forwarded ? ASK_CIRCLE : ASK_UPSTREAM;
}

/* Counts the tasks of others; 501 when there is nobody to ask. */
static int read_tasks(prediction *p, asking may, im_error *err)
{
    const char *task = NULL;
    json_t *types = NULL;
    json_object_foreach(p->entries, task, types)
    {
        bool other = strcmp(task, "clip") != 0;
        p->n_others += other;
        if (other && may != ASK_UPSTREAM) {
            bool circle = may == ASK_CIRCLE;
            (void)!im_fail_as(err, IM_REASON_UNSUPPORTED,
                              "task '%.60s' is not done here, only 'clip' is%s", task,
                              circle ? ", and an imago has passed it on already" : "");
            im_at_field(err, "entries");
            im_hint(err, circle ? "--immich-upstream names Immich's own server, not imago"
                                : "imago serve --immich-upstream URL asks another server for it");
            return 501;
        }
    }
    return 0;
}

/* {"clip": {"visual" | "textual": {"modelName": "…", "options": {…}}}, …}; 0, or the status of what
 * it is not. What stands in other tasks is for their server to judge. */
static int read_entries(prediction *p, asking may, im_error *err)
{
    const char *type = NULL;
    json_t *entry = NULL;
    json_t *types = json_object_get(p->entries, "clip");
    int status = read_tasks(p, may, err);
    if (status != 0 || (types == NULL && p->n_others > 0)) {
        return status;
    }
    if (json_object_size(types) != 1) {
        (void)!wrong(err, "expected one task, 'clip', of one type, 'visual' or 'textual'");
        return 422;
    }
    json_object_foreach(types, type, entry)
    {
        const json_t *name = json_object_get(entry, "modelName");
        const json_t *options = json_object_get(entry, "options");
        p->visual = strcmp(type, "visual") == 0;
        p->model = json_string_value(name);
        if ((!p->visual && strcmp(type, "textual") != 0) || p->model == NULL ||
            (options != NULL && !json_is_object(options) && !json_is_null(options))) {
            (void)!wrong(err, "expected 'visual' or 'textual' with a modelName");
            return 422;
        }
    }
    return 0;
}

static int read_parts(const http_parts *parts, prediction *p, asking may, im_error *err)
{
    const http_part *entries = http_part_of(parts, im_view_from("entries"));
    im_error cause = IM_ERROR_INIT;
    if (entries == NULL) {
        (void)!wrong(err, "is missing");
        return 422;
    }
    im_code rc =
        im_json_parse(entries->data.data, entries->data.size, "entries", &p->entries, &cause);
    if (rc != IM_OK) {
        (void)!(rc == IM_ERR_NOMEM ? im_fail(err, rc, "%s", cause.message)
                                   : wrong(err, cause.message));
        return rc == IM_ERR_NOMEM ? 0 : 422;
    }
    if (!json_is_object(p->entries)) {
        (void)!wrong(err, "expected an object");
        return 422;
    }
    int status = read_entries(p, may, err);
    p->image = http_part_of(parts, im_view_from("image"));
    p->text = http_part_of(parts, im_view_from("text"));
    if (status == 0 && p->model != NULL && (p->visual ? p->image : p->text) == NULL) {
        (void)!im_fail_as(err, IM_REASON_HTTP_BODY, "part '%s' is missing",
                          p->visual ? "image" : "text");
        im_at_field(err, "%s", p->visual ? "image" : "text");
        return 400;
    }
    return status;
}

/* The member "clip": the vector is a text. */
static void put_vector(im_json_writer *w, const im_embed_result *result)
{
    im_json_writer vector;
    im_json_init(&vector, 64u << 10);
    im_json_begin_array(&vector);
    for (size_t i = 0; i < result->dim; i++) {
        im_json_float(&vector, result->vectors[i]);
    }
    im_json_end_array(&vector);
    im_json_string_c(w, im_str_text(&vector.out));
    w->out.failed = w->out.failed || !im_json_ok(&vector);
    im_json_clear(&vector);
}

/* {"clip": "[0.1,…]", "imageHeight": h, "imageWidth": w} */
static void put_answer(exchange *ex, const im_embed_result *result, const uint32_t *size)
{
    im_json_writer *w = &ex->answer;
    im_json_begin_object(w);
    im_json_key(w, "clip");
    put_vector(w, result);
    if (size != NULL) {
        im_json_put_uint(w, "imageHeight", size[1]);
        im_json_put_uint(w, "imageWidth", size[0]);
    }
    im_json_end_object(w);
    exchange_done(ex, "application/json");
}

static int add_text(const char *text, size_t size, void *context)
{
    im_str *out = context;
    im_str_add(out, text, size);
    return out->failed ? -1 : 0;
}

/* The entries without ours, a new string; NULL: no memory. */
static char *entries_of_others(json_t *entries)
{
    im_str text;
    im_str_init(&text, 1u << 20);
    json_t *others = json_copy(entries);
    bool whole = json_object_del(others, "clip") == 0 &&
                 json_dump_callback(others, add_text, &text, JSON_COMPACT) == 0;
    char *out = whole ? im_strdup(im_str_text(&text)) : NULL;
    im_str_clear(&text);
    json_decref(others);
    return out;
}

/* Makes the exchange ready for the other server: as it came, or without what was answered here. */
static im_code prepare_onward(exchange *ex, const prediction *p, const http_parts *parts,
                              im_error *err)
{
    const http_part *entries = http_part_of(parts, im_view_from("entries"));
    im_view body;
    im_code rc = body_view(ex, &body, err);
    forwarding *onward = rc == IM_OK ? im_alloc_zero(1, sizeof(*onward)) : NULL;
    if (rc == IM_OK && onward != NULL && p->model != NULL) {
        onward->entries = entries_of_others(p->entries);
        onward->at = (size_t)(entries->data.data - body.data);
        onward->size = entries->data.size;
    }
    if (rc == IM_OK && (onward == NULL || (p->model != NULL && onward->entries == NULL))) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a request");
    }
    if (rc != IM_OK) {
        forwarding_free(onward);
        return rc;
    }
    ex->onward = onward;
    return IM_OK;
}

/* The answer waits with the request until the other server has told the rest of it. */
static im_code keep_vector(forwarding *onward, const im_embed_result *result, im_error *err)
{
    im_json_writer w;
    im_json_init(&w, 64u << 10);
    put_vector(&w, result);
    onward->clip = im_json_ok(&w) ? im_strdup(im_str_text(&w.out)) : NULL;
    im_json_clear(&w);
    return onward->clip != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a vector");
}

static im_code predict(server *s, exchange *ex, const prediction *p, im_error *err)
{
    uint32_t size[2] = {0}; /* width, height */
    im_embed_result result = {0};
    im_embed_piece piece = {0};
    im_code rc = IM_OK;
    if (p->visual) {
        piece.picture = p->image->data;
        rc = im_app_picture_size(piece.picture, &s->options->limits, size, err);
    } else {
        piece.text = p->text->data;
    }
    uint64_t start_ns = im_clock_ns();
    if (rc == IM_OK) {
        rc = immich_embed(s, p->model, &piece, &result, err);
    }
    if (rc == IM_OK && result.errors[0].code != IM_OK) {
        *err = result.errors[0];
        rc = err->code;
        im_at_field(err, "%s", p->visual ? "image" : "text");
    }
    if (rc == IM_OK) {
        work_note_times(s->work, im_clock_ms_since(start_ns), -1);
    }
    if (rc == IM_OK && ex->onward != NULL) {
        rc = keep_vector(ex->onward, &result, err);
    } else if (rc == IM_OK) {
        put_answer(ex, &result, p->visual ? size : NULL);
    }
    im_embed_result_clear(&result);
    return rc;
}

void answer_predict(server *s, exchange *const *list, size_t n)
{
    prediction p = {0};
    http_parts parts;
    im_error error = IM_ERROR_INIT;
    (void)n;
    int status = 0;
    im_code rc = body_parts(list[0], &parts, &error);
    if (rc == IM_OK) {
        status = read_parts(&parts, &p, asking_of(s, list[0]), &error);
        rc = error.code;
    }
    if (rc == IM_OK && p.n_others > 0) {
        rc = prepare_onward(list[0], &p, &parts, &error);
    }
    if (rc == IM_OK && p.model != NULL) {
        rc = predict(s, list[0], &p, &error);
    }
    if (rc != IM_OK) {
        exchange_fail(list[0], status, &error);
    }
    json_decref(p.entries);
}
