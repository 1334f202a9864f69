/* cli/ask_embed.c — vectors of the daemon's POST /v1/embeddings/command: by the library's model and
 * in its precision, as they are made here. Files are opened here, with the rights of who asks. */
#include "base/file.h"
#include "cli/commands_internal.h"

#define BODY_BYTES (32u << 20) /* as the route takes it … */
#define MOST_INPUTS 16u        /* … and as many: others would wait */

/* ---- asking ---- */

static bool put_picture(im_json_writer *w, const char *path)
{
    im_bytes bytes = {0};
    im_str base64;
    if (im_file_read(path, BODY_BYTES / 4 * 3, &bytes, NULL) != IM_OK) {
        return false; /* the sentence about it is told here, when it is tried again */
    }
    im_str_init(&base64, BODY_BYTES);
    im_text_base64(&base64, bytes.data, bytes.size);
    im_json_key(w, "image");
    im_json_string(w, im_str_text(&base64), base64.size);
    bool whole = !base64.failed;
    im_str_clear(&base64);
    im_bytes_clear(&bytes);
    return whole;
}

static bool put_inputs(im_json_writer *w, const im_embed_request *request)
{
    bool whole = true;
    im_json_begin_object(w);
    im_json_key(w, "inputs");
    im_json_begin_array(w);
    for (size_t i = 0; whole && i < request->n_inputs; i++) {
        const im_embed_input *input = &request->inputs[i];
        im_json_begin_object(w);
        if (input->is_text) {
            whole = im_utf8_valid(input->value, strlen(input->value), NULL);
            im_json_put_string(w, "text", input->value);
        } else {
            whole = put_picture(w, input->value);
        }
        im_json_end_object(w);
        whole = whole && im_json_ok(w);
    }
    im_json_end_array(w);
    im_json_end_object(w);
    return whole && im_json_ok(w);
}

/* ---- the answer ---- */

static bool read_vectors(const json_t *value, im_embed_result *out)
{
    const char *text = json_string_value(value);
    size_t n = json_string_length(value);
    size_t bytes = out->n * out->dim * sizeof(float);
    size_t size = 0;
    if (text == NULL || n != (bytes + 2) / 3 * 4) {
        return false;
    }
    out->vectors = im_alloc(n / 4 * 3 + 3, 1);
    return out->vectors != NULL &&
           im_text_base64_read(text, n, (char *)out->vectors, &size) == SIZE_MAX && size == bytes;
}

static bool read_cut(const json_t *list, im_embed_result *out)
{
    bool sound = json_is_array(list);
    for (size_t i = 0; sound && i < json_array_size(list); i++) {
        const json_t *at = json_array_get(list, i);
        json_int_t index = json_integer_value(at);
        sound = json_is_integer(at) && index >= 0 && (uint64_t)index < out->n;
        if (sound) {
            out->cut[index] = true;
        }
    }
    return sound;
}

static bool read_answer(const json_t *root, size_t n, im_embed_result *out)
{
    const char *model = json_string_value(json_object_get(root, "model"));
    json_int_t dim = json_integer_value(json_object_get(root, "dimensions"));
    if (model == NULL || strlen(model) >= sizeof(out->model) || dim < 1 || dim > 65536) {
        return false;
    }
    *out = (im_embed_result){.n = n, .dim = (size_t)dim};
    (void)snprintf(out->model, sizeof(out->model), "%s", model);
    out->errors = im_alloc_zero(n, sizeof(*out->errors));
    out->cut = im_alloc_zero(n, sizeof(*out->cut));
    return out->errors != NULL && out->cut != NULL &&
           read_vectors(json_object_get(root, "vectors"), out) &&
           read_cut(json_object_get(root, "cut"), out);
}

bool cli_ask_embed(cli_session *s, const im_embed_request *request, im_embed_result *out_result)
{
    im_json_writer w;
    im_str answer;
    json_t *root = NULL;
    if (request->exact_decode || request->n_inputs > MOST_INPUTS || !cli_may_ask(s)) {
        return false;
    }
    im_json_init(&w, BODY_BYTES);
    im_str_init(&answer, SIZE_MAX / 2);
    bool sound = put_inputs(&w, request) && cli_ask(s, "/v1/embeddings/command", &w.out, &answer) &&
                 im_json_parse(im_str_text(&answer), answer.size, "answer", &root, NULL) == IM_OK &&
                 read_answer(root, request->n_inputs, out_result);
    json_decref(root);
    im_str_clear(&answer);
    im_json_clear(&w);
    if (!sound) {
        im_embed_result_clear(out_result);
    }
    return sound;
}
