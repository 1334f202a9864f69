/* vlm/codec_rerank.c — routes that give a number straight away: /v1/rerank of vLLM and Jina, and
 * /v1/systemone of transformers serve. */
#include "vlm/vlm_internal.h"

/* ---- /v1/rerank ---- */

static void put_document(im_json_writer *w, const im_vlm_server *server, const im_bytes *picture)
{
    im_json_begin_object(w);
    if (server->jina) {
        im_json_key(w, "image");
        vlm_put_picture(w, picture, true);
    } else {
        im_json_key(w, "content");
        im_json_begin_array(w);
        im_json_begin_object(w);
        im_json_put_string(w, "type", "image_url");
        im_json_key(w, "image_url");
        im_json_begin_object(w);
        im_json_key(w, "url");
        vlm_put_picture(w, picture, false);
        im_json_end_object(w);
        im_json_end_object(w);
        im_json_end_array(w);
    }
    im_json_end_object(w);
}

void vlm_rerank_write(im_json_writer *w, const im_vlm_server *server, const vlm_question *question)
{
    im_json_begin_object(w);
    im_json_put_string(w, "model", server->model);
    im_json_key(w, "query");
    im_json_string(w, question->text.data, question->text.size);
    im_json_key(w, "documents");
    im_json_begin_array(w);
    for (size_t i = 0; i < question->n_pictures; i++) {
        put_document(w, server, &question->pictures[i]);
    }
    im_json_end_array(w);
    im_json_put_uint(w, "top_n", question->n_pictures);
    if (server->jina) {
        im_json_put_bool(w, "return_documents", false);
    }
    im_json_end_object(w);
}

/* vLLM and Jina tell tokens in "usage", Cohere units in "meta". */
static uint64_t tokens_of(const json_t *root)
{
    return vlm_count(json_object_get(root, "usage"), "total_tokens");
}

im_code vlm_rerank_read(im_view body, size_t n, double *out_scores, bool *out_has,
                        size_t *out_strange, uint64_t *out_tokens, im_error *err)
{
    json_t *root = NULL;
    im_code rc = vlm_parse(body, &root, err);
    if (rc != IM_OK) {
        return rc;
    }
    const json_t *results = json_object_get(root, "results");
    if (!json_is_array(results)) {
        rc = im_fail(err, IM_ERR_UPSTREAM, "the server's answer has no 'results'");
    }
    memset(out_has, 0, n * sizeof(bool));
    memset(out_scores, 0, n * sizeof(double));
    *out_strange = 0;
    *out_tokens = tokens_of(root);
    for (size_t i = 0; rc == IM_OK && i < json_array_size(results); i++) {
        const json_t *result = json_array_get(results, i);
        const json_t *index = json_object_get(result, "index"); /* not the place: they are sorted */
        const json_t *score = json_object_get(result, "relevance_score");
        json_int_t place = json_is_integer(index) ? json_integer_value(index) : -1;
        double value = json_is_number(score) ? json_number_value(score) : -1;
        if (place < 0 || (uint64_t)place >= n || out_has[place] || !(value >= 0 && value <= 1)) {
            (*out_strange)++;
            continue;
        }
        out_scores[place] = value;
        out_has[place] = true;
    }
    json_decref(root);
    return rc;
}

/* ---- /v1/systemone ---- */

void vlm_systemone_write(im_json_writer *w, const im_vlm_server *server,
                         const vlm_question *question)
{
    im_json_begin_object(w);
    im_json_put_string(w, "model", server->model);
    im_json_put_string(w, "state", "<img>");
    im_json_key(w, "questions");
    im_json_begin_object(w);
    im_json_key(w, "match");
    im_json_begin_object(w);
    im_json_put_string(w, "type", "noul");
    im_json_key(w, "instructions");
    im_json_string(w, question->text.data, question->text.size);
    im_json_end_object(w);
    im_json_end_object(w);
    im_json_key(w, "assets");
    im_json_begin_object(w);
    im_json_key(w, "<img>");
    im_json_begin_object(w);
    im_json_key(w, "data_base64");
    vlm_put_picture(w, &question->pictures[0], true);
    im_json_end_object(w);
    im_json_end_object(w);
    im_json_end_object(w);
}

im_code vlm_systemone_read(im_view body, vlm_reply *out, im_error *err)
{
    json_t *root = NULL;
    im_code rc = vlm_parse(body, &root, err);
    if (rc != IM_OK) {
        return rc;
    }
    const json_t *match = json_object_get(json_object_get(root, "answers"), "match");
    const json_t *p = json_object_get(match, "noul");
    double value = json_is_number(p) ? json_number_value(p) : -1;
    if (value >= 0 && value <= 1) {
        const json_t *usage = json_object_get(root, "usage");
        out->has_p = true;
        out->p = value;
        out->tokens_out = vlm_count(usage, "output_tokens");
        out->tokens = vlm_count(usage, "input_tokens") + out->tokens_out;
    } else {
        rc = im_fail(err, IM_ERR_UPSTREAM, "the server's answer has no probability for 'match'");
    }
    json_decref(root);
    return rc;
}
