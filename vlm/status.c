/* vlm/status.c — what is the same in all answers: parsing, and the many forms in which servers
 * say what went wrong. */
#include "vlm/vlm_internal.h"

#include <math.h>

im_code vlm_parse(im_view body, json_t **out, im_error *err)
{
    im_error cause = IM_ERROR_INIT;
    im_code rc = im_json_parse(body.data, body.size, "the server's answer", out, &cause);
    if (rc == IM_OK && !json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        return im_fail(err, IM_ERR_UPSTREAM, "the server's answer is no object");
    }
    return rc == IM_OK
               ? IM_OK
               : im_fail(err, rc == IM_ERR_NOMEM ? rc : IM_ERR_UPSTREAM, "%s", cause.message);
}

uint64_t vlm_count(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));
    return value > 0 && value < 1000000000 ? (uint64_t)value : 0;
}

/* ---- failures ---- */

/* {"error":{"message"}}, {"error":"…"}, {"detail":"…"}, {"message":"…"} or plain text. */
static void said(im_view body, im_str *out)
{
    json_t *root = NULL;
    const char *text = NULL;
    if (im_json_parse(body.data, body.size, "answer", &root, NULL) == IM_OK) {
        const json_t *error = json_object_get(root, "error");
        text = json_string_value(json_object_get(error, "message"));
        text = text != NULL ? text : json_string_value(error);
        text = text != NULL ? text : json_string_value(json_object_get(root, "detail"));
        text = text != NULL ? text : json_string_value(json_object_get(root, "message"));
        im_str_add(out, text, text != NULL ? strlen(text) : 0);
    } else if (body.size > 0 && body.data[0] != '<') {
        im_str_add(out, body.data, IM_MIN(body.size, (size_t)200));
    }
    json_decref(root);
}

/* Gemini's "retryDelay": "27s" among error.details; < 0: none. */
static double delay_of(im_view body)
{
    json_t *root = NULL;
    double seconds = -1;
    if (im_json_parse(body.data, body.size, "answer", &root, NULL) != IM_OK) {
        return -1;
    }
    const json_t *details = json_object_get(json_object_get(root, "error"), "details");
    for (size_t i = 0; i < json_array_size(details); i++) {
        const char *text =
            json_string_value(json_object_get(json_array_get(details, i), "retryDelay"));
        char number[32];
        size_t size = text != NULL ? strlen(text) : 0;
        if (size > 1 && size < sizeof(number) && text[size - 1] == 's') {
            memcpy(number, text, size - 1);
            number[size - 1] = '\0';
            seconds = im_parse_double(number, &seconds) && seconds >= 0 ? seconds : -1;
        }
    }
    json_decref(root);
    return seconds;
}

static im_reason reason_of(int status)
{
    return status == 401 || status == 403                    ? IM_REASON_VLM_REFUSED
           : status == 404                                   ? IM_REASON_VLM_NO_MODEL
           : status == 429 || status == 503                  ? IM_REASON_BUSY
           : status == 408 || status == 504 || status == 524 ? IM_REASON_TIMEOUT
                                                             : IM_REASON_UPSTREAM;
}

im_code vlm_status(const im_vlm_server *server, const im_http_answer *answer, double *out_wait_s,
                   im_error *err)
{
    im_str words;
    im_view body = im_view_of(im_str_text(&answer->body), answer->body.size);
    *out_wait_s = answer->has_retry_after ? (double)answer->retry_after_s : -1;
    if (answer->status >= 200 && answer->status < 300) {
        return IM_OK;
    }
    if (*out_wait_s < 0) {
        *out_wait_s = delay_of(body);
    }
    im_str_init(&words, 4096);
    said(body, &words);
    im_code rc = im_fail_as(err, reason_of(answer->status), "the server answered %d%s%.250s",
                            answer->status, words.size > 0 ? ": " : "", im_str_text(&words));
    im_str_clear(&words);
    if (answer->status >= 300 && answer->status < 400) {
        im_hint(err, "redirects are not followed: name the server's own URL");
    } else if (rc == IM_ERR_DENIED) {
        im_hint(err, "the key comes from IMAGO_VLM_KEY or --vlm-key-file");
    } else if (rc == IM_ERR_NOT_FOUND) {
        im_hint(err, "is the model '%.40s' there? retired ones are not%s", server->model,
                server->profile == IM_VLM_GEMINI ? ": try gemini-3.5-flash or gemini-3.1-flash-lite"
                                                 : "");
    }
    return rc;
}
