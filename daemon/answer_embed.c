/* daemon/answer_embed.c — embeddings as OpenAI's clients ask for them, and as servers of pictures
 * take those. All that wait become one call of app/. */
#include "daemon/daemon_internal.h"

#include <stdlib.h>
#include <string.h>

#define MOST_INPUTS 2048u /* of a request, as OpenAI's */

/* A request for embeddings. Texts are borrowed from `root`. */
typedef struct embed_request {
    exchange *ex;
    json_t *root;
    bool base64;
    im_embed_piece *pieces; /* [n] */
    char **decoded;         /* [n], owned bytes of pictures */
    size_t n;
} embed_request;

static void clear_request(embed_request *request)
{
    for (size_t i = 0; request->decoded != NULL && i < request->n; i++) {
        im_free(request->decoded[i]);
    }
    im_free(request->decoded);
    im_free(request->pieces);
    json_decref(request->root);
}

/* ---- reading ---- */

#define WRONG(...) im_fail_as(err, IM_REASON_HTTP_BODY, __VA_ARGS__)

/* "data:image/png;base64,…" */
static im_code read_picture(embed_request *request, size_t i, const json_t *value, im_error *err)
{
    static const char mark[] = ";base64,";
    const char *text = json_string_value(value);
    const char *comma = text != NULL ? strchr(text, ',') : NULL;
    size_t head = comma != NULL ? (size_t)(comma - text) + 1 : 0;
    size_t size = 0;
    if (head < sizeof(mark) || strncmp(text, "data:", 5) != 0 ||
        memcmp(text + head - (sizeof(mark) - 1), mark, sizeof(mark) - 1) != 0) {
        return WRONG("input[%zu]: a picture is no data URI, expected data:image/...;base64,...", i);
    }
    size_t n = json_string_length(value) - head;
    request->decoded[i] = im_alloc(n / 4 * 3 + 3, 1);
    if (request->decoded[i] == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a picture");
    }
    size_t wrong = im_text_base64_read(text + head, n, request->decoded[i], &size);
    if (wrong != SIZE_MAX) {
        return WRONG("input[%zu]: not base64 at offset %zu", i, wrong + head);
    }
    request->pieces[i].picture = im_view_of(request->decoded[i], size);
    return IM_OK;
}

static im_code read_text(embed_request *request, size_t i, const json_t *value, im_error *err)
{
    if (!json_is_string(value)) {
        return WRONG("input[%zu]: the text is no string", i);
    }
    request->pieces[i].text = im_view_of(json_string_value(value), json_string_length(value));
    return IM_OK;
}

/* A string, {"text": …} or {"image": …}. */
static im_code read_input(embed_request *request, size_t i, const json_t *value, bool pictures,
                          im_error *err)
{
    const char *text = json_string_value(value);
    if (text != NULL) {
        return pictures || strncmp(text, "data:image/", 11) == 0
                   ? read_picture(request, i, value, err)
                   : read_text(request, i, value, err);
    }
    if (json_is_integer(value) || json_is_array(value)) {
        return WRONG("input[%zu]: token ids are not taken, send the text itself", i);
    }
    if (json_object_size(value) == 1 && json_object_get(value, "text") != NULL) {
        return read_text(request, i, json_object_get(value, "text"), err);
    }
    if (json_object_size(value) == 1 && json_object_get(value, "image") != NULL) {
        return read_picture(request, i, json_object_get(value, "image"), err);
    }
    return WRONG("input[%zu]: expected a string, {\"text\": ...} or {\"image\": ...}", i);
}

static im_code read_inputs(embed_request *request, const json_t *input, bool pictures,
                           im_error *err)
{
    bool several = json_is_array(input);
    size_t n = several ? json_array_size(input) : 1;
    if (input == NULL || n == 0) {
        return WRONG("'input' is %s", input == NULL ? "missing" : "empty");
    }
    if (n > MOST_INPUTS) {
        return im_fail(err, IM_ERR_LIMIT, "'input' has %zu entries, the limit is %u", n,
                       MOST_INPUTS);
    }
    request->pieces = im_alloc_zero(n, sizeof(*request->pieces));
    request->decoded = im_alloc_zero(n, sizeof(*request->decoded));
    if (request->pieces == NULL || request->decoded == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for %zu inputs", n);
    }
    request->n = n;
    im_code rc = IM_OK;
    for (size_t i = 0; rc == IM_OK && i < n; i++) {
        rc = read_input(request, i, several ? json_array_get(input, i) : input, pictures, err);
    }
    return rc;
}

/* What must be the library's own. */
static im_code check_model(const json_t *root, const im_embed_result *model, im_error *err)
{
    const json_t *name = json_object_get(root, "model");
    const json_t *dim = json_object_get(root, "dimensions");
    if (name != NULL && !json_is_string(name)) {
        return WRONG("'model' is no string");
    }
    if (name != NULL && strcmp(json_string_value(name), model->model) != 0) {
        im_code rc =
            im_fail_as(err, IM_REASON_MODEL_NOT_FOUND, "model '%.60s' is not served, '%s' is",
                       json_string_value(name), model->model);
        im_hint(err, "GET /v1/models names it");
        return rc;
    }
    if (dim != NULL && !json_is_null(dim) &&
        (!json_is_integer(dim) || json_integer_value(dim) != (json_int_t)model->dim)) {
        return WRONG("'dimensions' is not %zu, which is what model '%s' has", model->dim,
                     model->model);
    }
    return IM_OK;
}

/* One of two words; the first when there is none. */
static im_code read_choice(const json_t *root, const char *key, const char *const words[2],
                           bool *out_second, im_error *err)
{
    const json_t *value = json_object_get(root, key);
    const char *word = json_string_value(value);
    *out_second = word != NULL && strcmp(word, words[1]) == 0;
    if (value == NULL || *out_second || (word != NULL && strcmp(word, words[0]) == 0)) {
        return IM_OK;
    }
    return WRONG("'%s' is neither '%s' nor '%s'", key, words[0], words[1]);
}

static im_code check_keys(json_t *root, im_error *err)
{
    static const char *const keys[] = {"input",      "model", "encoding_format",
                                       "dimensions", "user",  "modality"};
    const char *key = NULL;
    json_t *value = NULL;
    if (!json_is_object(root)) {
        return WRONG("request body: expected an object");
    }
    json_object_foreach(root, key, value)
    {
        bool known = false;
        for (size_t i = 0; i < IM_COUNT(keys); i++) {
            known = known || strcmp(key, keys[i]) == 0;
        }
        if (!known) {
            return WRONG("request body: there is no key '%.60s'", key);
        }
    }
    return IM_OK;
}

static im_code read_request(embed_request *request, const im_embed_result *model, im_error *err)
{
    static const char *const formats[2] = {"float", "base64"};
    static const char *const modalities[2] = {"text", "image"};
    const im_str *body = &request->ex->body;
    im_error cause = IM_ERROR_INIT;
    bool pictures = false;
    im_code rc =
        im_json_parse(im_str_text(body), body->size, "request body", &request->root, &cause);
    if (rc != IM_OK) { /* not JSON is a wrong request, not a damaged file */
        return rc == IM_ERR_NOMEM ? im_fail(err, rc, "%s", cause.message)
                                  : WRONG("%s", cause.message);
    }
    rc = check_keys(request->root, err);
    if (rc == IM_OK) {
        rc = check_model(request->root, model, err);
    }
    if (rc == IM_OK) {
        rc = read_choice(request->root, "encoding_format", formats, &request->base64, err);
    }
    if (rc == IM_OK) {
        rc = read_choice(request->root, "modality", modalities, &pictures, err);
    }
    return rc == IM_OK
               ? read_inputs(request, json_object_get(request->root, "input"), pictures, err)
               : rc;
}

/* ---- answering ---- */

static void put_vector(im_json_writer *w, const float *vector, size_t dim, bool base64)
{
    im_str text;
    im_json_key(w, "embedding");
    if (base64) { /* float32, little-endian as every machine that we run on */
        im_str_init(&text, dim * 8);
        im_text_base64(&text, vector, dim * sizeof(float));
        im_json_string(w, im_str_text(&text), text.size);
        w->out.failed = w->out.failed || text.failed;
        im_str_clear(&text);
        return;
    }
    im_json_begin_array(w);
    for (size_t i = 0; i < dim; i++) {
        im_json_float(w, vector[i]);
    }
    im_json_end_array(w);
}

/* Rows [first, first + n) of the result. */
static void put_answer(embed_request *request, const im_embed_result *result, size_t first,
                       size_t tokens)
{
    exchange *ex = request->ex;
    im_json_writer *w = &ex->answer;
    for (size_t i = 0; i < request->n; i++) {
        im_error error = result->errors[first + i];
        if (error.code != IM_OK) {
            im_error named = error;
            (void)!im_fail(&named, error.code, "input[%zu]: %s", i, error.message);
            named.reason = error.reason;
            exchange_fail(ex, 0, &named);
            return;
        }
    }
    im_json_begin_object(w);
    im_json_put_string(w, "object", "list");
    im_json_key(w, "data");
    im_json_begin_array(w);
    for (size_t i = 0; i < request->n; i++) {
        im_json_begin_object(w);
        im_json_put_string(w, "object", "embedding");
        im_json_put_uint(w, "index", i);
        put_vector(w, result->vectors + (first + i) * result->dim, result->dim, request->base64);
        im_json_end_object(w);
    }
    im_json_end_array(w);
    im_json_put_string(w, "model", result->model);
    im_json_key(w, "usage");
    im_json_begin_object(w);
    im_json_put_uint(w, "prompt_tokens", tokens);
    im_json_put_uint(w, "total_tokens", tokens);
    im_json_end_object(w);
    im_json_end_object(w);
    exchange_done(ex, "application/json");
}

/* The requests [n] that could be read, with one call. */
static im_code embed_all(server *s, embed_request *requests, size_t n, im_error *err)
{
    size_t n_pieces = 0;
    size_t at = 0;
    im_embed_result result = {0};
    for (size_t i = 0; i < n; i++) {
        n_pieces += requests[i].n;
    }
    im_embed_piece *pieces = im_alloc_zero(n_pieces, sizeof(*pieces));
    size_t *tokens = im_alloc_zero(n_pieces, sizeof(*tokens));
    im_code rc = pieces != NULL && tokens != NULL
                     ? IM_OK
                     : im_fail(err, IM_ERR_NOMEM, "no memory for %zu inputs", n_pieces);
    for (size_t i = 0; rc == IM_OK && i < n; i++) {
        memcpy(pieces + at, requests[i].pieces, requests[i].n * sizeof(*pieces));
        at += requests[i].n;
    }
    if (rc == IM_OK) {
        rc = im_app_embed_many(work_library(s->work), pieces, n_pieces, &s->options->limits,
                               &result, tokens, err);
    }
    at = 0;
    for (size_t i = 0; rc == IM_OK && i < n; i++) {
        size_t sum = 0;
        for (size_t j = 0; j < requests[i].n; j++) {
            sum += tokens[at + j];
        }
        put_answer(&requests[i], &result, at, sum);
        at += requests[i].n;
    }
    im_embed_result_clear(&result);
    im_free(pieces);
    im_free(tokens);
    return rc;
}

void answer_embeddings(server *s, exchange *const *list, size_t n)
{
    embed_request requests[DAEMON_MOST_TOGETHER];
    im_embed_result model = {0};
    im_error error = IM_ERROR_INIT;
    size_t n_read = 0;
    im_code rc = im_app_embed_many(work_library(s->work), NULL, 0, &s->options->limits, &model,
                                   NULL, &error);
    for (size_t i = 0; i < n; i++) {
        im_error refused = error;
        embed_request request = {.ex = list[i]};
        if (rc == IM_OK && read_request(&request, &model, &refused) == IM_OK) {
            requests[n_read++] = request;
            continue;
        }
        exchange_fail(list[i], 0, &refused);
        clear_request(&request);
    }
    if (n_read > 0 && embed_all(s, requests, n_read, &error) != IM_OK) {
        for (size_t i = 0; i < n_read; i++) {
            exchange_fail(requests[i].ex, 0, &error);
        }
    }
    for (size_t i = 0; i < n_read; i++) {
        clear_request(&requests[i]);
    }
    im_embed_result_clear(&model);
}

/* The library's model; none while it has none. */
void answer_models(server *s, exchange *const *list, size_t n)
{
    im_embed_result model = {0};
    im_error error = IM_ERROR_INIT;
    im_json_writer *w = &list[0]->answer;
    (void)n;
    im_code rc = im_app_embed_many(work_library(s->work), NULL, 0, &s->options->limits, &model,
                                   NULL, &error);
    if (rc != IM_OK && rc != IM_ERR_NOT_FOUND) {
        exchange_fail(list[0], 0, &error);
        return;
    }
    im_json_begin_object(w);
    im_json_put_string(w, "object", "list");
    im_json_key(w, "data");
    im_json_begin_array(w);
    if (rc == IM_OK) {
        im_json_begin_object(w);
        im_json_put_string(w, "id", model.model);
        im_json_put_string(w, "object", "model");
        im_json_put_uint(w, "created", 0);
        im_json_put_string(w, "owned_by", "imago");
        im_json_put_uint(w, "dimensions", model.dim);
        im_json_end_object(w);
    }
    im_json_end_array(w);
    im_json_end_object(w);
    exchange_done(list[0], "application/json");
    im_embed_result_clear(&model);
}
