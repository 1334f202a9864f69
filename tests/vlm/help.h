/* tests/vlm/help.h — recorded answers of tests/vlm/answers as the codecs get them. */
#ifndef IM_TESTS_VLM_HELP_H
#define IM_TESTS_VLM_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/fault.h"
#include "base/file.h"
#include "vlm/vlm_internal.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct test_case {
    json_t *root;
    const char *path; /* of the request */
    const json_t *sent;
    int status;
    im_bytes stream;
    char *text; /* jansson's */
    im_view body;
} test_case;

/* name: "llama-server/rerank_n_2" */
static inline bool test_case_open(const char *name, test_case *out)
{
    char path[512];
    im_bytes file = {0};
    memset(out, 0, sizeof(*out));
    (void)snprintf(path, sizeof(path), IMAGO_SOURCE_DIR "/tests/vlm/answers/%s.json", name);
    if (im_file_read(path, 1u << 20, &file, NULL) != IM_OK ||
        im_json_parse((const char *)file.data, file.size, name, &out->root, NULL) != IM_OK) {
        im_bytes_clear(&file);
        return false;
    }
    im_bytes_clear(&file);
    const json_t *request = json_object_get(out->root, "request");
    const json_t *response = json_object_get(out->root, "response");
    const json_t *body = json_object_get(response, "body");
    const char *raw = json_string_value(json_object_get(response, "raw_body"));
    const char *stream = json_string_value(json_object_get(response, "body_file"));
    out->path = json_string_value(json_object_get(request, "path"));
    out->sent = json_object_get(request, "body");
    out->status = (int)json_integer_value(json_object_get(response, "status"));
    if (stream != NULL) {
        const char *slash = strchr(name, '/');
        (void)snprintf(path, sizeof(path), IMAGO_SOURCE_DIR "/tests/vlm/answers/%.*s/%s",
                       (int)(slash - name), name, stream);
        if (im_file_read(path, 1u << 20, &out->stream, NULL) == IM_OK) {
            out->body = im_view_of((const char *)out->stream.data, out->stream.size);
        }
    } else if (body != NULL) {
        out->text = json_dumps(body, JSON_ENCODE_ANY | JSON_COMPACT);
        out->body = im_view_from(out->text);
    } else if (raw != NULL) {
        out->body = im_view_from(raw);
    } else {
        out->body = im_view_of("", 0);
    }
    return true;
}

static inline void test_case_close(test_case *c)
{
    im_bytes_clear(&c->stream);
    im_free(c->text); /* jansson allocates through base/memory.h */
    json_decref(c->root);
}

static inline bool test_is_gemini(const test_case *c)
{
    return c->path != NULL && strstr(c->path, "enerateContent") != NULL;
}

static inline bool test_is_chat(const test_case *c)
{
    return c->path != NULL && strcmp(c->path, "/v1/chat/completions") == 0;
}

/* Reads an answer by the codec of its route. */
static inline im_code test_case_read(const test_case *c, const im_vlm_server *server,
                                     vlm_reply *reply, im_error *err)
{
    return test_is_gemini(c) ? vlm_gemini_read(server, c->body, reply, err)
                             : vlm_chat_read(server, c->body, reply, err);
}

#endif
