/* vlm/codec_gemini.c — Gemini's generateContent and streamGenerateContent. */
#include "vlm/vlm_internal.h"

/* ---- writing ---- */

static void put_text(im_json_writer *w, im_view text)
{
    im_json_begin_object(w);
    im_json_key(w, "text");
    im_json_string(w, text.data, text.size);
    im_json_end_object(w);
}

static void put_contents(im_json_writer *w, const vlm_question *question)
{
    im_json_key(w, "contents");
    im_json_begin_array(w);
    im_json_begin_object(w);
    im_json_put_string(w, "role", "user");
    im_json_key(w, "parts");
    im_json_begin_array(w);
    for (size_t i = 0; i < question->n_pictures; i++) {
        if (question->numbered) {
            char label[32];
            (void)snprintf(label, sizeof(label), VLM_LABEL, i + 1);
            put_text(w, im_view_from(label));
        }
        im_json_begin_object(w);
        im_json_key(w, "inlineData");
        im_json_begin_object(w);
        im_json_put_string(w, "mimeType", "image/jpeg");
        im_json_key(w, "data");
        vlm_put_picture(w, &question->pictures[i], true);
        im_json_end_object(w);
        im_json_end_object(w);
    }
    put_text(w, question->text);
    im_json_end_array(w);
    im_json_end_object(w);
    im_json_end_array(w);
}

void vlm_gemini_write(im_json_writer *w, const im_vlm_server *server, const vlm_question *question)
{
    bool labels = question->mode == IM_VLM_MODE_LOGPROBS;
    im_json_begin_object(w);
    put_contents(w, question);
    im_json_key(w, "generationConfig");
    im_json_begin_object(w);
    im_json_put_uint(w, "temperature", 0);
    im_json_put_uint(w, "maxOutputTokens",
                     labels ? question->max_tokens
                            : question->max_tokens + im_vlm_thought_tokens(server));
    if (labels) {
        im_json_put_bool(w, "responseLogprobs", true);
        im_json_put_uint(w, "logprobs", 20);
    }
    if (question->schema != NULL) {
        im_json_put_string(w, "responseMimeType", "application/json");
        im_json_key(w, "responseJsonSchema");
        im_str_add_c(&w->out, question->schema);
        w->after_key = false;
        w->need_comma = true;
    }
    im_json_end_object(w);
    im_json_end_object(w);
}

/* ---- reading ---- */

static void read_parts(const json_t *candidate, vlm_reply *out)
{
    const json_t *parts = json_object_get(json_object_get(candidate, "content"), "parts");
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *part = json_array_get(parts, i);
        const json_t *text = json_object_get(part, "text");
        if (json_is_string(text) && !json_is_true(json_object_get(part, "thought"))) {
            im_str_add(&out->text, json_string_value(text), json_string_length(text));
        }
    }
}

static void read_logprobs(const im_vlm_server *server, const json_t *candidate, vlm_reply *out)
{
    const json_t *result = json_object_get(candidate, "logprobsResult");
    const json_t *first = json_array_get(json_object_get(result, "topCandidates"), 0);
    const json_t *list = json_object_get(first, "candidates");
    if (out->has_labels) {
        return;
    }
    out->has_labels = json_array_size(list) > 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        const json_t *token = json_object_get(entry, "token");
        const json_t *logprob = json_object_get(entry, "logProbability");
        if (json_is_string(token) && json_is_number(logprob)) {
            vlm_labels_add(&out->labels, server, json_object_get(entry, "tokenId"),
                           im_view_of(json_string_value(token), json_string_length(token)),
                           json_number_value(logprob));
        }
    }
}

/* Reasons that end an answer because of what it would have said. */
static bool is_refusal(const char *finish)
{
    static const char *const reasons[] = {"SAFETY",
                                          "RECITATION",
                                          "BLOCKLIST",
                                          "SPII",
                                          "PROHIBITED_CONTENT",
                                          "IMAGE_SAFETY",
                                          "IMAGE_RECITATION",
                                          "IMAGE_PROHIBITED_CONTENT"};
    for (size_t i = 0; finish != NULL && i < IM_COUNT(reasons); i++) {
        if (strcmp(finish, reasons[i]) == 0) {
            return true;
        }
    }
    return false;
}

im_code vlm_gemini_object(void *context, const json_t *root, im_error *err)
{
    vlm_reading *reading = context;
    vlm_reply *out = reading->out;
    const json_t *candidate = json_array_get(json_object_get(root, "candidates"), 0);
    const json_t *feedback = json_object_get(root, "promptFeedback");
    const json_t *usage = json_object_get(root, "usageMetadata");
    if (json_object_get(root, "error") != NULL) {
        const char *message =
            json_string_value(json_object_get(json_object_get(root, "error"), "message"));
        return im_fail(err, IM_ERR_UPSTREAM, "the server answered: %.250s",
                       message != NULL ? message : "an error");
    }
    if (json_object_get(feedback, "blockReason") != NULL) {
        out->refused = out->ended = reading->has_answer = true;
    }
    if (json_is_object(candidate)) {
        const char *finish = json_string_value(json_object_get(candidate, "finishReason"));
        reading->has_answer = true;
        read_parts(candidate, out);
        read_logprobs(reading->server, candidate, out);
        out->ended = out->ended || finish != NULL;
        out->cut = out->cut || (finish != NULL && strcmp(finish, "MAX_TOKENS") == 0);
        out->refused = out->refused || is_refusal(finish);
    }
    if (json_is_object(usage)) {
        uint64_t written = vlm_count(usage, "candidatesTokenCount") +
                           vlm_count(usage, "thoughtsTokenCount"); /* thoughts are paid for too */
        out->tokens = vlm_count(usage, "totalTokenCount");
        out->tokens_out = IM_MIN(written, out->tokens);
    }
    return out->text.failed ? im_fail(err, IM_ERR_NOMEM, "no memory for an answer") : IM_OK;
}

im_code vlm_gemini_read(const im_vlm_server *server, im_view body, vlm_reply *out, im_error *err)
{
    vlm_reading reading = {server, out, false};
    im_code rc = vlm_each_object(body, vlm_gemini_object, &reading, err);
    if (rc == IM_OK && !reading.has_answer) {
        rc = im_fail(err, IM_ERR_UPSTREAM, "the server's answer has no 'candidates'");
    }
    return rc;
}
