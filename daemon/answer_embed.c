/* daemon/answer_embed.c — embeddings as OpenAI's clients ask for them, and as servers of pictures
 * take those. All that wait become one call of app/. */
#include "base/clock.h"
#include "daemon/pieces_internal.h"

#include <stdio.h>
#include <string.h>

#define MOST_INPUTS 2048u /* of a request, as OpenAI's */

/* A request for embeddings. Texts are borrowed from `root`. */
typedef struct embed_request {
    exchange *ex;
    json_t *root;
    bool base64;
    piece_list pieces;
} embed_request;

static void clear_request(embed_request *request)
{
    pieces_clear(&request->pieces);
    json_decref(request->root);
}

/* ---- reading ---- */

static im_code read_inputs(embed_request *request, const json_t *input, bool pictures,
                           im_error *err)
{
    bool several = json_is_array(input);
    size_t n = several ? json_array_size(input) : 1;
    im_code rc = pieces_open(&request->pieces, "input", n, MOST_INPUTS, err);
    for (size_t i = 0; rc == IM_OK && i < n; i++) {
        char field[32];
        (void)snprintf(field, sizeof(field), "input[%zu]", i);
        rc = pieces_read(&request->pieces, i, field, several ? json_array_get(input, i) : input,
                         pictures, err);
    }
    return rc;
}

/* One part of a message's content: {"type": "text", "text"} or {"type": "image_url", "image_url":
 * {"url"}}. An empty text beside a picture is what templates leave; it is none. */
static im_code read_content(embed_request *request, const char *field, const json_t *part,
                            size_t *n_read, im_error *err)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    const json_t *text = json_is_string(part) ? part : json_object_get(part, "text");
    const json_t *url = json_object_get(json_object_get(part, "image_url"), "url");
    bool is_text = json_is_string(part) || (type != NULL && strcmp(type, "text") == 0);
    if (!is_text && (type == NULL || strcmp(type, "image_url") != 0)) {
        return body_wrong(err, field, "expected a text, or an object of type text or image_url");
    }
    if (is_text && json_is_string(text) && json_string_length(text) == 0) {
        return IM_OK;
    }
    if ((*n_read)++ > 0) {
        im_code rc = body_wrong(err, "messages",
                                "more than one text or picture together, but this "
                                "model has one vector for each of them alone");
        im_hint(err, "send one in 'messages', or several as a list in 'input'");
        return rc;
    }
    return is_text ? pieces_read_text(&request->pieces, 0, field, text, err)
                   : pieces_read_picture(&request->pieces, 0, field, url, err);
}

/* What vLLM takes: a conversation that is one text or one picture. */
static im_code read_messages(embed_request *request, const json_t *messages, im_error *err)
{
    size_t n_read = 0;
    im_code rc = json_array_size(messages) > 0
                     ? pieces_open(&request->pieces, "messages", 1, 1, err)
                     : body_wrong(err, "messages", "expected a list of at least one message");
    for (size_t i = 0; rc == IM_OK && i < json_array_size(messages); i++) {
        const json_t *content = json_object_get(json_array_get(messages, i), "content");
        size_t n = json_is_array(content) ? json_array_size(content) : 1;
        for (size_t j = 0; rc == IM_OK && j < n; j++) {
            char field[64];
            (void)snprintf(field, sizeof(field), "messages[%zu].content[%zu]", i, j);
            rc = read_content(request, field,
                              json_is_array(content) ? json_array_get(content, j) : content,
                              &n_read, err);
        }
    }
    return rc == IM_OK && n_read == 0
               ? body_wrong(err, "messages", "there is no text and no picture in it")
               : rc;
}

/* What must be the library's own. */
static im_code check_dimensions(const json_t *root, const im_embed_result *model, im_error *err)
{
    const json_t *dim = json_object_get(root, "dimensions");
    return dim == NULL || json_is_null(dim) ||
                   (json_is_integer(dim) && json_integer_value(dim) == (json_int_t)model->dim)
               ? IM_OK
               : body_wrong(err, "dimensions", "expected %zu, which is what model '%s' has",
                            model->dim, model->model);
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
    return body_wrong(err, key, "expected '%s' or '%s'", words[0], words[1]);
}

static im_code read_request(embed_request *request, const im_embed_result *model, im_error *err)
{
    static const char *const formats[2] = {"float", "base64"};
    static const char *const modalities[2] = {"text", "image"};
    static const char *const keys[] = {"input",      "messages", "model",    "encoding_format",
                                       "dimensions", "user",     "modality", NULL};
    bool pictures = false;
    im_code rc = body_parse(request->ex, keys, &request->root, err);
    const json_t *root = request->root;
    if (rc == IM_OK) {
        rc = body_check_model(root, model, err);
    }
    if (rc == IM_OK) {
        rc = check_dimensions(root, model, err);
    }
    if (rc == IM_OK) {
        rc = read_choice(root, "encoding_format", formats, &request->base64, err);
    }
    if (rc == IM_OK) {
        rc = read_choice(root, "modality", modalities, &pictures, err);
    }
    const json_t *input = json_object_get(root, "input");
    const json_t *messages = json_object_get(root, "messages");
    if (rc == IM_OK && (input != NULL) == (messages != NULL)) {
        rc = body_wrong(err, "input",
                        input != NULL ? "is there beside 'messages': one is enough"
                                      : "is missing, and so is 'messages'");
    }
    if (rc == IM_OK) {
        rc = input != NULL ? read_inputs(request, input, pictures, err)
                           : read_messages(request, messages, err);
    }
    return rc;
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
    for (size_t i = 0; i < request->pieces.n; i++) {
        im_error error = result->errors[first + i];
        if (error.code != IM_OK) {
            char field[32];
            (void)snprintf(field, sizeof(field), "input[%zu]", i);
            pieces_fail(ex, json_object_get(request->root, "input") != NULL ? field : "messages",
                        &error);
            return;
        }
    }
    im_json_begin_object(w);
    im_json_put_string(w, "object", "list");
    im_json_key(w, "data");
    im_json_begin_array(w);
    for (size_t i = 0; i < request->pieces.n; i++) {
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
        n_pieces += requests[i].pieces.n;
    }
    im_embed_piece *pieces = im_alloc_zero(n_pieces, sizeof(*pieces));
    size_t *tokens = im_alloc_zero(n_pieces, sizeof(*tokens));
    im_code rc = pieces != NULL && tokens != NULL
                     ? IM_OK
                     : im_fail(err, IM_ERR_NOMEM, "no memory for %zu inputs", n_pieces);
    for (size_t i = 0; rc == IM_OK && i < n; i++) {
        memcpy(pieces + at, requests[i].pieces.list, requests[i].pieces.n * sizeof(*pieces));
        at += requests[i].pieces.n;
    }
    if (rc == IM_OK) {
        uint64_t start_ns = im_clock_ns();
        rc = im_app_embed_many(work_library(s->work), pieces, n_pieces, &s->options->limits,
                               &result, tokens, err);
        work_note_times(s->work, im_clock_ms_since(start_ns), -1);
    }
    at = 0;
    for (size_t i = 0; rc == IM_OK && i < n; i++) {
        size_t sum = 0;
        for (size_t j = 0; j < requests[i].pieces.n; j++) {
            sum += tokens[at + j];
        }
        put_answer(&requests[i], &result, at, sum);
        at += requests[i].pieces.n;
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
        work_note_trouble(s->work, &error); /* until a search finds that it is over */
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
