/* daemon/pieces.c — texts and pictures as OpenAI's, Infinity's, Jina's, vLLM's and Cohere's clients
 * send them in JSON. */
#include "daemon/pieces_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- bodies ---- */

im_code body_wrong(im_error *err, const char *field, const char *fmt, ...)
{
    char sentence[320];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(sentence, sizeof(sentence), fmt, args);
    va_end(args);
    im_code rc = im_fail_as(err, IM_REASON_HTTP_BODY, "'%s': %s", field, sentence);
    im_at_field(err, "%s", field);
    return rc;
}

static bool is_one_of(const char *key, const char *const *keys)
{
    while (*keys != NULL && strcmp(*keys, key) != 0) {
        keys++;
    }
    return *keys != NULL;
}

im_code body_parse(const exchange *ex, const char *const *keys, json_t **out_root, im_error *err)
{
    const char *key = NULL;
    json_t *value = NULL;
    im_code rc = body_object(ex, out_root, err);
    if (rc != IM_OK) {
        return rc;
    }
    json_object_foreach(*out_root, key, value)
    {
        if (!is_one_of(key, keys)) {
            rc = im_fail_as(err, IM_REASON_HTTP_BODY, "request body: there is no key '%.60s'", key);
            im_at_field(err, "%.60s", key);
            im_hint(err, "GET /openapi.json describes those that there are");
            return rc;
        }
    }
    return IM_OK;
}

im_code body_check_model(const json_t *root, const im_embed_result *model, im_error *err)
{
    const json_t *name = json_object_get(root, "model");
    if (name == NULL ||
        (json_is_string(name) && strcmp(json_string_value(name), model->model) == 0)) {
        return IM_OK;
    }
    if (!json_is_string(name)) {
        return body_wrong(err, "model", "expected a string");
    }
    im_code rc = im_fail_as(err, IM_REASON_MODEL_NOT_FOUND, "model '%.60s' is not served, '%s' is",
                            json_string_value(name), model->model);
    im_at_field(err, "model");
    im_hint(err, "GET /v1/models names it");
    return rc;
}

/* ---- pieces ---- */

im_code pieces_open(piece_list *out, const char *field, size_t n, size_t most, im_error *err)
{
    if (n == 0) {
        return body_wrong(err, field, "the list is empty");
    }
    if (n > most) {
        im_code rc =
            im_fail(err, IM_ERR_LIMIT, "'%s' has %zu entries, the limit is %zu", field, n, most);
        im_at_field(err, "%s", field);
        return rc;
    }
    out->list = im_alloc_zero(n, sizeof(*out->list));
    out->decoded = im_alloc_zero(n, sizeof(*out->decoded));
    if (out->list == NULL || out->decoded == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for %zu inputs", n);
    }
    out->n = n;
    return IM_OK;
}

void pieces_clear(piece_list *pieces)
{
    for (size_t i = 0; pieces->decoded != NULL && i < pieces->n; i++) {
        im_free(pieces->decoded[i]);
    }
    im_free(pieces->decoded);
    im_free(pieces->list);
    *pieces = (piece_list){0};
}

im_code pieces_read_text(piece_list *pieces, size_t i, const char *field, const json_t *value,
                         im_error *err)
{
    if (!json_is_string(value)) {
        return body_wrong(err, field, "the text is no string");
    }
    pieces->list[i].text = im_view_of(json_string_value(value), json_string_length(value));
    return IM_OK;
}

/* Where the base64 begins; NULL when it is no picture that can be sent. */
static const char *base64_of(const char *text)
{
    static const char mark[] = ";base64,";
    if (strncmp(text, "data:", 5) != 0) {
        return strstr(text, "://") == NULL ? text : NULL;
    }
    const char *comma = strchr(text, ',');
    size_t head = comma != NULL ? (size_t)(comma - text) + 1 : 0;
    bool sound = head >= sizeof(mark) && strncmp(text, "data:image/", 11) == 0 &&
                 memcmp(text + head - (sizeof(mark) - 1), mark, sizeof(mark) - 1) == 0;
    return sound ? text + head : NULL;
}

im_code pieces_read_picture(piece_list *pieces, size_t i, const char *field, const json_t *value,
                            im_error *err)
{
    const char *text = json_string_value(value);
    const char *data = text != NULL ? base64_of(text) : NULL;
    size_t size = 0;
    if (data == NULL) {
        im_code rc =
            body_wrong(err, field, "a picture is no data URI, expected data:image/...;base64,...");
        im_hint(err, "URLs are not fetched: send the picture itself");
        return rc;
    }
    size_t n = json_string_length(value) - (size_t)(data - text);
    pieces->decoded[i] = im_alloc(n / 4 * 3 + 3, 1);
    if (pieces->decoded[i] == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a picture");
    }
    size_t wrong = im_text_base64_read(data, n, pieces->decoded[i], &size);
    if (wrong != SIZE_MAX) {
        return body_wrong(err, field, "not base64 at offset %zu", wrong + (size_t)(data - text));
    }
    pieces->list[i].picture = im_view_of(pieces->decoded[i], size);
    return IM_OK;
}

im_code pieces_read(piece_list *pieces, size_t i, const char *field, const json_t *value,
                    bool pictures, im_error *err)
{
    const char *text = json_string_value(value);
    if (text != NULL) {
        return pictures || strncmp(text, "data:image/", 11) == 0
                   ? pieces_read_picture(pieces, i, field, value, err)
                   : pieces_read_text(pieces, i, field, value, err);
    }
    if (json_is_integer(value) || json_is_array(value)) {
        return body_wrong(err, field, "token ids are not taken, send the text itself");
    }
    if (json_object_size(value) == 1 && json_object_get(value, "text") != NULL) {
        return pieces_read_text(pieces, i, field, json_object_get(value, "text"), err);
    }
    if (json_object_size(value) == 1 && json_object_get(value, "image") != NULL) {
        return pieces_read_picture(pieces, i, field, json_object_get(value, "image"), err);
    }
    return body_wrong(err, field, "expected a string, {\"text\": ...} or {\"image\": ...}");
}

void pieces_fail(exchange *ex, const char *field, const im_error *error)
{
    im_error named = *error;
    (void)!im_fail(&named, error->code, "'%s': %s", field, error->message);
    named.reason = error->reason;
    im_hint(&named, "%s", error->hint);
    im_at_field(&named, "%s", field);
    exchange_fail(ex, 0, &named);
}
