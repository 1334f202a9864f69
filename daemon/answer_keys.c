/* daemon/answer_keys.c — API keys over HTTP: made, listed, revoked. */
#include "daemon/daemon_internal.h"

#include <string.h>

void answer_keys(server *s, exchange *const *list, size_t n)
{
    im_error error = IM_ERROR_INIT;
    (void)n;
    im_code rc = im_app_keys_json(work_library(s->work), &list[0]->answer, &error);
    exchange_end(list[0], rc, 200, &error);
}

/* {"scope":"read","name":"website"} */
static im_code read_wish(const json_t *root, im_key_scope *out_scope, const char **out_name,
                         im_error *err)
{
    const char *key = NULL;
    json_t *value = NULL;
    const char *scope = NULL;
    *out_name = "";
    json_object_foreach((json_t *)(uintptr_t)root, key, value)
    {
        bool is_scope = strcmp(key, "scope") == 0;
        if (!is_scope && strcmp(key, "name") != 0) {
            return im_fail_as(err, IM_REASON_HTTP_BODY,
                              "request body: key '%.40s' is not known, expected scope, name", key);
        }
        if (!json_is_string(value) ||
            strlen(json_string_value(value)) != json_string_length(value)) {
            return im_fail_as(err, IM_REASON_HTTP_BODY, "request body: '%s' is no text", key);
        }
        *(is_scope ? &scope : out_name) = json_string_value(value);
    }
    if (scope == NULL || !im_key_scope_of(im_view_from(scope), out_scope)) {
        return im_fail_as(err, IM_REASON_HTTP_BODY,
                          "request body: 'scope' is '%.40s', expected read, write or admin",
                          scope != NULL ? scope : "");
    }
    return IM_OK;
}

static void put_key(im_json_writer *w, const im_new_key *key, const char *name)
{
    im_json_begin_object(w);
    im_json_put_uint(w, "id", key->id);
    im_json_put_string(w, "name", name);
    im_json_put_string(w, "scope", im_key_scope_name(key->scope));
    im_json_put_string(w, "key", key->text);
    im_json_end_object(w);
}

void answer_key_add(server *s, exchange *const *list, size_t n)
{
    exchange *ex = list[0];
    im_error error = IM_ERROR_INIT;
    json_t *root = NULL;
    im_new_key key;
    im_key_scope scope = IM_KEY_NONE;
    const char *name = "";
    (void)n;
    im_code rc = body_object(ex, &root, &error);
    if (rc == IM_OK) {
        rc = read_wish(root, &scope, &name, &error);
    }
    if (rc == IM_OK) {
        rc = im_app_key_add(work_library(s->writer), name, scope, &key, &error);
    }
    if (rc == IM_OK) {
        put_key(&ex->answer, &key, name);
    }
    json_decref(root);
    exchange_end(ex, rc, 201, &error);
}

void answer_key_revoke(server *s, exchange *const *list, size_t n)
{
    exchange *ex = list[0];
    im_error error = IM_ERROR_INIT;
    (void)n;
    im_code rc = im_app_key_revoke(work_library(s->writer), ex->item, &error);
    if (rc == IM_OK) {
        im_json_begin_object(&ex->answer);
        im_json_put_uint(&ex->answer, "revoked", ex->item);
        im_json_end_object(&ex->answer);
    }
    exchange_end(ex, rc, 200, &error);
}
