/* vlm/codec_chat.c — OpenAI's chat/completions as llama-server, vLLM, ollama, transformers and
 * OpenAI speak it: requests written, answers read, whole or as events. */
#include "vlm/vlm_internal.h"

/* ---- writing ---- */

static void put_text(im_json_writer *w, im_view text)
{
    im_json_begin_object(w);
    im_json_put_string(w, "type", "text");
    im_json_key(w, "text");
    im_json_string(w, text.data, text.size);
    im_json_end_object(w);
}

static void put_content(im_json_writer *w, const vlm_question *question)
{
    im_json_key(w, "content");
    im_json_begin_array(w);
    for (size_t i = 0; i < question->n_pictures; i++) { /* pictures first, as models are trained */
        if (question->numbered) {
            char label[32];
            (void)snprintf(label, sizeof(label), VLM_LABEL, i + 1);
            put_text(w, im_view_from(label));
        }
        im_json_begin_object(w);
        im_json_put_string(w, "type", "image_url");
        im_json_key(w, "image_url");
        im_json_begin_object(w);
        im_json_key(w, "url");
        vlm_put_picture(w, &question->pictures[i], false);
        im_json_end_object(w);
        im_json_end_object(w);
    }
    put_text(w, question->text);
    im_json_end_array(w);
}

/* A schema is our own constant text: written as it is. */
static void put_schema(im_json_writer *w, const char *schema)
{
    im_json_key(w, "response_format");
    im_json_begin_object(w);
    im_json_put_string(w, "type", "json_schema");
    im_json_key(w, "json_schema");
    im_json_begin_object(w);
    im_json_put_string(w, "name", "answer"); /* vLLM refuses one without */
    im_json_put_bool(w, "strict", true);
    im_json_key(w, "schema");
    im_str_add_c(&w->out, schema);
    w->after_key = false;
    w->need_comma = true;
    im_json_end_object(w);
    im_json_end_object(w);
}

static void put_logprobs(im_json_writer *w, const im_vlm_server *server)
{
    im_json_put_bool(w, "logprobs", true);
    if (server->profile == IM_VLM_VLLM && server->n_yes > 0 && server->n_no > 0) {
        im_json_key(w, "logprob_token_ids"); /* exactly these, however unlikely */
        im_json_begin_array(w);
        for (size_t i = 0; i < server->n_yes + server->n_no; i++) {
            im_json_int(w, server->ids[i]);
        }
        im_json_end_array(w);
    } else {
        im_json_put_uint(w, "top_logprobs", 20);
    }
}

void vlm_chat_write(im_json_writer *w, const im_vlm_server *server, const vlm_question *question)
{
    im_json_begin_object(w);
    im_json_put_string(w, "model", server->model); /* one without a name has one model */
    im_json_key(w, "messages");
    im_json_begin_array(w);
    im_json_begin_object(w);
    im_json_put_string(w, "role", "user");
    put_content(w, question);
    im_json_end_object(w);
    im_json_end_array(w);
    im_json_put_uint(w, server->profile == IM_VLM_OPENAI ? "max_completion_tokens" : "max_tokens",
                     question->max_tokens);
    im_json_put_uint(w, "temperature", 0);
    if (question->stream) {
        im_json_put_bool(w, "stream", true);
        im_json_key(w, "stream_options");
        im_json_begin_object(w);
        im_json_put_bool(w, "include_usage", true);
        im_json_end_object(w);
    }
    if (question->mode == IM_VLM_MODE_LOGPROBS) {
        put_logprobs(w, server);
    }
    if (question->schema != NULL && server->schema) {
        put_schema(w, question->schema);
    }
    im_json_end_object(w);
}

/* ---- reading ---- */

/* A token's bytes: of "bytes" when they are listed, else its text. */
static im_view token_bytes(const json_t *entry, char *scratch, size_t capacity)
{
    const json_t *bytes = json_object_get(entry, "bytes");
    const json_t *token = json_object_get(entry, "token");
    size_t n = json_array_size(bytes);
    if (n == 0 || n > capacity) {
        const char *text = json_string_value(token);
        return text != NULL ? im_view_of(text, json_string_length(token)) : im_view_of("", 0);
    }
    for (size_t i = 0; i < n; i++) {
        scratch[i] = (char)json_integer_value(json_array_get(bytes, i));
    }
    return im_view_of(scratch, n);
}

/* The list of the first token. */
static void read_logprobs(const im_vlm_server *server, const json_t *choice, vlm_reply *out)
{
    char scratch[64];
    const json_t *content = json_object_get(json_object_get(choice, "logprobs"), "content");
    const json_t *first = json_array_get(content, 0);
    const json_t *list = json_object_get(first, "top_logprobs");
    if (!json_is_array(list) || out->has_labels) {
        return;
    }
    out->has_labels = json_array_size(list) > 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        const json_t *logprob = json_object_get(entry, "logprob");
        if (json_is_number(logprob)) {
            vlm_labels_add(&out->labels, server, json_object_get(entry, "id"),
                           token_bytes(entry, scratch, sizeof(scratch)),
                           json_number_value(logprob));
        }
    }
}

static void read_message(const json_t *message, vlm_reply *out)
{
    const json_t *content = json_object_get(message, "content");
    const json_t *refusal = json_object_get(message, "refusal");
    if (json_is_string(content)) {
        im_str_add(&out->text, json_string_value(content), json_string_length(content));
    }
    for (size_t i = 0; i < json_array_size(content); i++) { /* a list of parts */
        const json_t *text = json_object_get(json_array_get(content, i), "text");
        if (json_is_string(text)) {
            im_str_add(&out->text, json_string_value(text), json_string_length(text));
        }
    }
    out->refused = out->refused || json_string_length(refusal) > 0;
}

im_code vlm_chat_object(void *context, const json_t *root, im_error *err)
{
    vlm_reading *reading = context;
    vlm_reply *out = reading->out;
    const json_t *error = json_object_get(root, "error");
    const json_t *choice = json_array_get(json_object_get(root, "choices"), 0);
    const json_t *usage = json_object_get(root, "usage");
    if (error != NULL && !json_is_null(error)) { /* 200 with an error, as streams bring it */
        const char *message = json_string_value(json_object_get(error, "message"));
        message = message != NULL ? message : json_string_value(error);
        return im_fail(err, IM_ERR_UPSTREAM, "the server answered: %.250s",
                       message != NULL ? message : "an error");
    }
    if (json_is_object(choice)) {
        const char *finish = json_string_value(json_object_get(choice, "finish_reason"));
        const json_t *message = json_object_get(choice, "message");
        reading->has_answer = true;
        read_message(message != NULL ? message : json_object_get(choice, "delta"), out);
        out->ended = out->ended || finish != NULL;
        out->cut = out->cut || (finish != NULL && strcmp(finish, "length") == 0);
        out->refused = out->refused || (finish != NULL && strcmp(finish, "content_filter") == 0);
        read_logprobs(reading->server, choice, out);
    }
    if (json_is_object(usage)) {
        uint64_t total = vlm_count(usage, "total_tokens");
        out->tokens =
            total > 0 ? total
                      : vlm_count(usage, "prompt_tokens") + vlm_count(usage, "completion_tokens");
    }
    return out->text.failed ? im_fail(err, IM_ERR_NOMEM, "no memory for an answer") : IM_OK;
}

im_code vlm_chat_read(const im_vlm_server *server, im_view body, vlm_reply *out, im_error *err)
{
    vlm_reading reading = {server, out, false};
    im_code rc = vlm_each_object(body, vlm_chat_object, &reading, err);
    if (rc == IM_OK && !reading.has_answer) {
        rc = im_fail(err, IM_ERR_UPSTREAM, "the server's answer has no 'choices'");
    }
    return rc;
}
