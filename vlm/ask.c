/* vlm/ask.c — one question to one server: written by its codec, sent, read, and asked again when
 * the server is busy. */
#include "base/clock.h"
#include "vlm/vlm_internal.h"

#include <time.h>

#define TRIES 3u
#define DEADLINE_MS 20000u

uint32_t im_vlm_deadline_ms(const im_vlm_options *options)
{
    return options->deadline_ms != 0 ? options->deadline_ms : DEADLINE_MS;
}

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
    vlm_stream stream;
    *out_wait_s = -1;
    vlm_stream_init(&stream, server, reply, question->told, question->context);
    im_json_init(&w, SIZE_MAX / 2);
    im_str_init(&url, 4096);
    im_str_init(&secret, 8192);
    vlm_write_body(&w, server, question);
    im_code rc = vlm_url(server, question->mode, question->stream, &url, err);
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
                                   .timeout_ms = IM_MAX(timeout_ms, VLM_LEAST_MS), /* 0: no end */
                                   .max_bytes = VLM_ANSWER_BYTES,
                                   .take = question->stream ? vlm_stream_add : NULL,
                                   .context = &stream};
        rc = im_http_send(client, &options->rules, &request, &answer, err);
        cost->bytes_sent += answer.bytes_sent;
        cost->ms += answer.ms;
        cost->tries++;
        cost->status = answer.status;
    }
    if (rc == IM_OK) {
        rc = vlm_status(server, &answer, out_wait_s, err);
    }
    if (rc == IM_OK) {
        rc = question->stream
                 ? vlm_stream_end(&stream, err)
                 : vlm_read_body(server, question,
                                 im_view_of(im_str_text(&answer.body), answer.body.size), reply,
                                 err);
    }
    cost->tokens += reply->tokens; /* also of an answer that broke off */
    cost->tokens_out += reply->tokens_out;
    vlm_stream_clear(&stream);
    im_http_answer_clear(&answer);
    im_json_clear(&w);
    im_str_clear(&url);
    im_str_clear(&secret);
    return rc;
}

/* ---- patience ---- */

/* Unless a stop is asked for. */
static void wait_ms(double ms)
{
    const struct timespec step = {.tv_nsec = 50000000}; /* a stop is heeded soon */
    uint64_t start = im_clock_ns();
    while (im_clock_ms_since(start) < ms && !im_stop_asked()) {
        (void)nanosleep(&step, NULL);
    }
}

uint32_t vlm_left_ms(uint64_t start_ns, uint32_t deadline_ms)
{
    double used = im_clock_ms_since(start_ns);
    return used >= deadline_ms ? 0 : (uint32_t)(deadline_ms - used);
}

im_code vlm_ask_patiently(im_http_client *client, const im_vlm_server *server,
                          const im_vlm_options *options, const vlm_question *question,
                          uint64_t start_ns, uint32_t most_ms, vlm_reply *reply,
                          im_vlm_judgement *cost, im_error *err)
{
    uint32_t deadline = im_vlm_deadline_ms(options);
    im_code rc = IM_ERR_BUSY;
    for (bool again = true; again;) {
        im_error cause = IM_ERROR_INIT;
        double wait_s = -1;
        rc =
            vlm_ask(client, server, options, question,
                    IM_MIN(most_ms, vlm_left_ms(start_ns, deadline)), reply, cost, &wait_s, &cause);
        wait_s = IM_MAX(wait_s, VLM_LEAST_WAIT_S);
        again = rc == IM_ERR_BUSY && cost->tries < TRIES &&
                wait_s * 1000 + VLM_LEAST_MS < vlm_left_ms(start_ns, deadline);
        if (again) {
            wait_ms(wait_s * 1000);
        } else if (rc != IM_OK && err != NULL) {
            *err = cause;
        }
    }
    return rc;
}

im_code im_vlm_answer(const im_vlm_server *server, const im_vlm_options *options,
                      const im_vlm_question *question, json_t **out_json, im_str *out_text,
                      im_vlm_judgement *out_cost, im_error *err)
{
    im_http_client *client = NULL;
    vlm_reply reply;
    const vlm_question asked = {.text = question->text,
                                .pictures = question->pictures,
                                .n_pictures = question->n_pictures,
                                .numbered = question->n_pictures > 1,
                                .schema = server->schema ? question->schema : NULL,
                                .max_tokens = question->max_tokens,
                                .stream = question->told != NULL,
                                .told = question->told,
                                .context = question->context};
    uint64_t start = question->start_ns != 0 ? question->start_ns : im_clock_ns();
    *out_cost = (im_vlm_judgement){.error = IM_ERROR_INIT};
    im_code rc = im_vlm_answers(server, err);
    if (rc != IM_OK) {
        return rc;
    }
    if (question->n_pictures > im_vlm_most_pictures(server)) {
        return im_fail(err, IM_ERR_UNSUPPORTED,
                       "a server of profile %s is shown %zu pictures, not %zu",
                       im_vlm_profile_name(server->profile), im_vlm_most_pictures(server),
                       question->n_pictures);
    }
    rc = im_http_open(&client, err);
    if (rc != IM_OK) {
        return rc;
    }
    vlm_reply_init(&reply);
    rc = vlm_ask_patiently(client, server, options, &asked, start, UINT32_MAX, &reply, out_cost,
                           err);
    out_cost->outcome = out_cost->tries > 0 ? IM_VLM_FAILED : IM_VLM_NOT_ASKED;
    if (rc == IM_OK && reply.refused) {
        out_cost->outcome = IM_VLM_REFUSED;
        rc = im_fail(err, IM_ERR_UPSTREAM, "the model refused to answer");
    }
    if (rc == IM_OK) {
        out_cost->outcome = IM_VLM_UNREADABLE;
        if (asked.schema != NULL || question->object) {
            rc = vlm_reply_object(&reply, out_json, err);
        } else {
            im_view text = vlm_reply_plain(&reply);
            im_str_add(out_text, text.data, text.size);
            rc = text.size > 0 && !out_text->failed
                     ? IM_OK
                     : im_fail(err, IM_ERR_UPSTREAM, "the model's answer is empty, or too long");
        }
    }
    out_cost->outcome = rc == IM_OK ? IM_VLM_JUDGED : out_cost->outcome;
    vlm_reply_clear(&reply);
    im_http_close(client);
    return rc;
}
