/* daemon/answer_rerank.c — documents in the order of a query, as Cohere's and Jina's clients ask.
 */
#include "base/clock.h"
#include "daemon/pieces_internal.h"

#include <stdio.h>

#define MOST_DOCUMENTS 1000u

typedef struct rerank_request {
    json_t *root;
    const json_t *documents; /* borrowed from root */
    piece_list pieces;       /* the query, then the documents */
    size_t top_n;
    bool return_documents;
} rerank_request;

static im_code read_top_n(rerank_request *request, im_error *err)
{
    const json_t *value = json_object_get(request->root, "top_n");
    request->top_n = json_array_size(request->documents);
    if (value == NULL || json_is_null(value)) {
        return IM_OK;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 1) {
        return body_wrong(err, "top_n", "expected a whole number of at least 1");
    }
    request->top_n = IM_MIN((size_t)json_integer_value(value), request->top_n);
    return IM_OK;
}

static im_code read_return_documents(rerank_request *request, im_error *err)
{
    const json_t *value = json_object_get(request->root, "return_documents");
    request->return_documents = json_is_true(value);
    return value == NULL || json_is_null(value) || json_is_boolean(value)
               ? IM_OK
               : body_wrong(err, "return_documents", "expected true or false");
}

static im_code read_pieces(rerank_request *request, im_error *err)
{
    const json_t *query = json_object_get(request->root, "query");
    size_t n = json_array_size(request->documents);
    if (!json_is_array(request->documents)) {
        return body_wrong(err, "documents", "expected a list");
    }
    if (query == NULL) {
        return body_wrong(err, "query", "is missing");
    }
    im_code rc = n == 0 || n > MOST_DOCUMENTS
                     ? pieces_open(&request->pieces, "documents", n, MOST_DOCUMENTS, err)
                     : pieces_open(&request->pieces, "documents", n + 1, n + 1, err);
    if (rc == IM_OK) {
        rc = pieces_read(&request->pieces, 0, "query", query, false, err);
    }
    for (size_t i = 0; rc == IM_OK && i < n; i++) {
        char field[32];
        (void)snprintf(field, sizeof(field), "documents[%zu]", i);
        rc = pieces_read(&request->pieces, i + 1, field, json_array_get(request->documents, i),
                         false, err);
    }
    return rc;
}

static im_code read_request(const exchange *ex, rerank_request *request,
                            const im_embed_result *model, im_error *err)
{
    static const char *const keys[] = {"model", "query", "documents", "top_n", "return_documents",
                                       NULL};
    im_code rc = body_parse(ex, keys, &request->root, err);
    request->documents = json_object_get(request->root, "documents");
    if (rc == IM_OK) {
        rc = body_check_model(request->root, model, err);
    }
    if (rc == IM_OK) {
        rc = read_top_n(request, err);
    }
    if (rc == IM_OK) {
        rc = read_return_documents(request, err);
    }
    return rc == IM_OK ? read_pieces(request, err) : rc;
}

/* As it came, a plain string as {"text": …} or {"image": …}. */
static void put_document(im_json_writer *w, const json_t *document, bool is_text)
{
    const char *key = is_text ? "text" : "image";
    const json_t *value = json_is_string(document) ? document : json_object_get(document, key);
    im_json_key(w, "document");
    im_json_begin_object(w);
    im_json_key(w, key);
    im_json_string(w, json_string_value(value), json_string_length(value));
    im_json_end_object(w);
}

static void put_answer(exchange *ex, const rerank_request *request, const im_rerank_result *result)
{
    im_json_writer *w = &ex->answer;
    im_json_begin_object(w);
    im_json_put_string(w, "id", ex->request_id);
    im_json_put_string(w, "model", result->model);
    im_json_key(w, "results");
    im_json_begin_array(w);
    for (size_t i = 0; i < request->top_n; i++) {
        size_t at = result->order[i];
        im_json_begin_object(w);
        im_json_put_uint(w, "index", at);
        im_json_put_double(w, "relevance_score", im_rerank_relevance(result->scores[at]));
        if (request->return_documents) {
            put_document(w, json_array_get(request->documents, at),
                         request->pieces.list[at + 1].text.data != NULL);
        }
        im_json_end_object(w);
    }
    im_json_end_array(w);
    im_json_key(w, "usage");
    im_json_begin_object(w);
    im_json_put_uint(w, "total_tokens", result->tokens);
    im_json_end_object(w);
    im_json_end_object(w);
    exchange_done(ex, "application/json");
}

static void fail_piece(exchange *ex, const im_rerank_result *result)
{
    char field[32] = "query";
    size_t i = 0;
    while (result->errors[i].code == IM_OK) {
        i++;
    }
    if (i > 0) {
        (void)snprintf(field, sizeof(field), "documents[%zu]", i - 1);
    }
    pieces_fail(ex, field, &result->errors[i]);
}

void answer_rerank(server *s, exchange *const *list, size_t n)
{
    rerank_request request = {0};
    im_embed_result model = {0};
    im_rerank_result result = {0};
    im_error error = IM_ERROR_INIT;
    im_library *library = work_library(s->work);
    (void)n;
    im_code rc = im_app_embed_many(library, NULL, 0, &s->options->limits, &model, NULL, &error);
    if (rc == IM_OK) {
        rc = read_request(list[0], &request, &model, &error);
    }
    if (rc == IM_OK) {
        uint64_t start_ns = im_clock_ns();
        rc = im_app_rerank(library, request.pieces.list, request.pieces.n - 1, &s->options->limits,
                           &result, &error);
        work_note_times(s->work, im_clock_ms_since(start_ns), -1);
    }
    if (rc != IM_OK) {
        exchange_fail(list[0], 0, &error);
    } else if (result.n_failed > 0) {
        fail_piece(list[0], &result);
    } else {
        put_answer(list[0], &request, &result);
    }
    im_rerank_result_clear(&result);
    im_embed_result_clear(&model);
    pieces_clear(&request.pieces);
    json_decref(request.root);
}
