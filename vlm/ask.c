/* vlm/ask.c — one question to one server: written by its codec, sent, read. */
#include "vlm/vlm_internal.h"

void vlm_write_body(im_json_writer *w, const im_vlm_server *server, const vlm_question *question)
{
    if (question->mode == IM_VLM_MODE_SYSTEMONE) {
        vlm_systemone_write(w, server, question);
    } else if (question->mode == IM_VLM_MODE_RERANK) {
        vlm_rerank_write(w, server, question);
    } else if (server->profile == IM_VLM_GEMINI) {
        vlm_gemini_write(w, server, question);
    } else {
        vlm_chat_write(w, server, question);
    }
}

im_code vlm_read_body(const im_vlm_server *server, const vlm_question *question, im_view body,
                      vlm_reply *reply, im_error *err)
{
    if (question->mode == IM_VLM_MODE_SYSTEMONE) {
        return vlm_systemone_read(body, reply, err);
    }
    if (question->mode == IM_VLM_MODE_RERANK) { /* many judgements: whoever asked reads them */
        im_str_add(&reply->text, body.data, body.size);
        return reply->text.failed ? im_fail(err, IM_ERR_NOMEM, "no memory for an answer") : IM_OK;
    }
    return server->profile == IM_VLM_GEMINI ? vlm_gemini_read(server, body, reply, err)
                                            : vlm_chat_read(server, body, reply, err);
}

im_code vlm_ask(im_http_client *client, const im_vlm_server *server, const im_vlm_options *options,
                const vlm_question *question, uint32_t timeout_ms, vlm_reply *reply,
                im_vlm_judgement *cost, double *out_wait_s, im_error *err)
{
    im_json_writer w;
    im_str url;
    im_str secret;
    im_http_answer answer = {0};
    *out_wait_s = -1;
    im_json_init(&w, SIZE_MAX / 2);
    im_str_init(&url, 4096);
    im_str_init(&secret, 8192);
    vlm_write_body(&w, server, question);
    im_code rc = vlm_url(server, question->mode, &url, err);
    if (rc == IM_OK) {
        rc = vlm_secret(server, options->key, &secret, err);
    }
    if (rc == IM_OK && !im_json_ok(&w)) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a request");
    }
    if (rc == IM_OK) {
        im_http_request request = {.url = im_str_text(&url),
                                   .secret = options->key != NULL ? im_str_text(&secret) : NULL,
                                   .body = im_view_of(im_str_text(&w.out), w.out.size),
                                   .timeout_ms = timeout_ms,
                                   .max_bytes = VLM_ANSWER_BYTES};
        rc = im_http_send(client, &options->rules, &request, &answer, err);
        cost->bytes_sent += answer.bytes_sent;
        cost->ms += answer.ms;
        cost->tries++;
    }
    if (rc == IM_OK) {
        rc = vlm_status(server, &answer, out_wait_s, err);
    }
    if (rc == IM_OK) {
        rc = vlm_read_body(server, question,
                           im_view_of(im_str_text(&answer.body), answer.body.size), reply, err);
        cost->tokens += reply->tokens;
        cost->tokens_out += reply->tokens_out;
    }
    im_http_answer_clear(&answer);
    im_json_clear(&w);
    im_str_clear(&url);
    im_str_clear(&secret);
    return rc;
}
