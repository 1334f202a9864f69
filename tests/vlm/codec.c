/* tests/vlm/codec.c — the codecs of vlm/ for tests that speak to servers and parsers of others:
 *   codec write PROFILE MODE TEXT [PICTURE…]  a request's body on stdout; MODE "score" asks with
 * its schema, "none" for a free text codec read PROFILE MODE                   an answer on stdin,
 * what it says as JSON on stdout codec status PROFILE STATUS               a failed answer on
 * stdin, code and sentence as JSON codec picture FILE                        a picture as it is
 * sent, on stdout Pictures are files that are sent as they are. */
#include "base/file.h"
#include "vlm/vlm_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MOST_PICTURES 8

static int fail(const char *what)
{
    (void)fprintf(stderr, "codec: %s\n", what);
    return 2;
}

static void read_all(im_str *out)
{
    char block[65536];
    size_t got = 0;
    im_str_init(out, SIZE_MAX / 2);
    while ((got = fread(block, 1, sizeof(block), stdin)) > 0) {
        im_str_add(out, block, got);
    }
}

static bool mode_of(const char *name, im_vlm_mode *out)
{
    for (int i = 0; i < IM_VLM_MODE_COUNT; i++) {
        if (strcmp(im_vlm_mode_name((im_vlm_mode)i), name) == 0) {
            *out = (im_vlm_mode)i;
            return true;
        }
    }
    return false;
}

static int put(im_json_writer *w)
{
    bool good =
        im_json_ok(w) && fwrite(im_str_text(&w->out), 1, w->out.size, stdout) == w->out.size;
    im_json_clear(w);
    return good ? 0 : fail("could not write");
}

static int write_request(const im_vlm_server *server, im_vlm_mode mode, int n, char **words)
{
    im_bytes pictures[MOST_PICTURES] = {{0}};
    im_json_writer w;
    vlm_question question = {.mode = mode, .text = im_view_from(words[0]), .pictures = pictures};
    question.schema = mode == IM_VLM_MODE_SCORE ? vlm_score_schema : NULL;
    question.max_tokens = mode == IM_VLM_MODE_LOGPROBS ? 1 : 32;
    for (int i = 1; i < n; i++) {
        if (i > MOST_PICTURES ||
            im_file_read(words[i], 1u << 24, &pictures[question.n_pictures++], NULL) != IM_OK) {
            return fail("could not read a picture");
        }
    }
    im_json_init(&w, SIZE_MAX / 2);
    vlm_write_body(&w, server, &question);
    int rc = put(&w);
    for (size_t i = 0; i < question.n_pictures; i++) {
        im_bytes_clear(&pictures[i]);
    }
    return rc;
}

static int read_answer(const im_vlm_server *server, im_vlm_mode mode)
{
    im_str body;
    vlm_reply reply;
    im_json_writer w;
    im_error err = IM_ERROR_INIT;
    im_vlm_judgement judged = {.error = IM_ERROR_INIT};
    const vlm_question question = {.mode = mode};
    read_all(&body);
    vlm_reply_init(&reply);
    im_code rc =
        vlm_read_body(server, &question, im_view_of(im_str_text(&body), body.size), &reply, &err);
    if (rc == IM_OK) {
        vlm_reply_judge(&reply, mode, &judged);
    }
    im_json_init(&w, 1u << 24);
    im_json_begin_object(&w);
    im_json_put_int(&w, "code", rc);
    im_json_put_string(&w, "message", err.message);
    im_json_put_string(&w, "outcome", im_vlm_outcome_name(judged.outcome));
    im_json_put_double(&w, "p_yes", judged.p_yes);
    im_json_put_double(&w, "mass", judged.mass);
    im_json_key(&w, "text");
    im_json_string(&w, im_str_text(&reply.text), reply.text.size);
    im_json_put_bool(&w, "refused", reply.refused);
    im_json_put_bool(&w, "cut", reply.cut);
    im_json_put_uint(&w, "tokens", reply.tokens);
    im_json_put_uint(&w, "tokens_out", reply.tokens_out);
    im_json_end_object(&w);
    vlm_reply_clear(&reply);
    im_str_clear(&body);
    return put(&w);
}

static int read_status(const im_vlm_server *server, const char *status)
{
    im_http_answer answer = {.status = (int)strtol(status, NULL, 10)};
    im_json_writer w;
    im_error err = IM_ERROR_INIT;
    double wait_s = -1;
    read_all(&answer.body);
    im_code rc = vlm_status(server, &answer, &wait_s, &err);
    im_json_init(&w, 1u << 16);
    im_json_begin_object(&w);
    im_json_put_int(&w, "code", rc);
    im_json_put_string(&w, "message", err.message);
    im_json_put_double(&w, "wait_s", wait_s);
    im_json_end_object(&w);
    im_str_clear(&answer.body);
    return put(&w);
}

static int write_picture(const char *path)
{
    im_bytes file = {0};
    im_bytes sent = {0};
    im_code rc = im_file_read(path, 1u << 26, &file, NULL);
    if (rc == IM_OK) {
        rc = im_vlm_picture(file.data, file.size, path, NULL, IM_VLM_MAX_PX, &sent, NULL, NULL);
    }
    bool good = rc == IM_OK && fwrite(sent.data, 1, sent.size, stdout) == sent.size;
    im_bytes_clear(&file);
    im_bytes_clear(&sent);
    return good ? 0 : fail("could not make the picture");
}

int main(int argc, char **argv)
{
    im_vlm_profile profile = IM_VLM_AUTO;
    im_vlm_mode mode = IM_VLM_MODE_NONE;
    im_vlm_server server;
    if (argc == 3 && strcmp(argv[1], "picture") == 0) {
        return write_picture(argv[2]);
    }
    if (argc < 4 || !im_vlm_profile_of(argv[2], &profile) ||
        im_vlm_server_of("http://127.0.0.1", "tiny", profile, &server, NULL) != IM_OK) {
        return fail("write|read|status PROFILE …, picture FILE");
    }
    if (strcmp(argv[1], "status") == 0) {
        return read_status(&server, argv[3]);
    }
    if (!mode_of(argv[3], &mode)) {
        return fail("no such mode");
    }
    if (strcmp(argv[1], "read") == 0) {
        return read_answer(&server, mode);
    }
    return argc > 4 ? write_request(&server, mode, argc - 4, argv + 4) : fail("what is asked?");
}
