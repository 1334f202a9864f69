/* daemon/answer_embed_command.c — vectors of texts and of the bytes of pictures, for `imago embed`:
 * all of them, or none. */
#include "base/clock.h"
#include "daemon/pieces_internal.h"

#define MOST_INPUTS 16u /* searches wait meanwhile; for more the command line has its own model */

static im_code read_pieces(piece_list *pieces, const json_t *root, im_error *err)
{
    const json_t *inputs = json_object_get(root, "inputs");
    im_code rc = pieces_open(pieces, "inputs", json_array_size(inputs), MOST_INPUTS, err);
    for (size_t i = 0; rc == IM_OK && i < pieces->n; i++) {
        const json_t *input = json_array_get(inputs, i);
        rc = json_is_object(input)
                 ? pieces_read(pieces, i, "inputs", input, false, err)
                 : body_wrong(err, "inputs", "expected {\"text\": ...} or {\"image\": ...}");
    }
    return rc;
}

static im_code embed(server *s, const piece_list *pieces, im_embed_result *out, im_error *err)
{
    uint64_t start_ns = im_clock_ns();
    size_t *tokens = im_alloc_zero(pieces->n, sizeof(*tokens));
    im_code rc = tokens != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for inputs");
    if (rc == IM_OK) {
        rc = im_app_embed_many(work_library(s->work), pieces->list, pieces->n, &s->options->limits,
                               out, tokens, err);
    }
    /* whoever asks tells a failure in its own words */
    for (size_t i = 0; rc == IM_OK && i < out->n; i++) {
        if (out->errors[i].code != IM_OK) {
            *err = out->errors[i];
            rc = err->code;
        }
    }
    if (rc == IM_OK) {
        work_note_times(s->work, im_clock_ms_since(start_ns), -1);
    }
    im_free(tokens);
    return rc;
}

/* {"model", "dimensions", "vectors": base64 of float32 [n, dimensions], "cut": [indexes]} */
static im_code put_answer(im_json_writer *w, const im_embed_result *result, im_error *err)
{
    im_str text;
    size_t bytes = result->n * result->dim * sizeof(float);
    im_str_init(&text, DAEMON_ANSWER_BYTES);
    im_text_base64(&text, result->vectors, bytes);
    im_json_begin_object(w);
    im_json_put_string(w, "model", result->model);
    im_json_put_uint(w, "dimensions", result->dim);
    im_json_key(w, "vectors");
    im_json_string(w, im_str_text(&text), text.size);
    im_json_key(w, "cut");
    im_json_begin_array(w);
    for (size_t i = 0; i < result->n; i++) {
        if (result->cut[i]) {
            im_json_uint(w, i);
        }
    }
    im_json_end_array(w);
    im_json_end_object(w);
    bool whole = !text.failed;
    im_str_clear(&text);
    return whole ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for %zu vectors", result->n);
}

void answer_embed_command(server *s, exchange *const *list, size_t n)
{
    static const char *const keys[] = {"inputs", NULL};
    json_t *root = NULL;
    piece_list pieces = {0};
    im_embed_result result = {0};
    im_error error = IM_ERROR_INIT;
    (void)n;
    im_code rc = body_parse(list[0], keys, &root, &error);
    if (rc == IM_OK) {
        rc = read_pieces(&pieces, root, &error);
    }
    if (rc == IM_OK) {
        rc = embed(s, &pieces, &result, &error);
    }
    if (rc == IM_OK) {
        rc = put_answer(&list[0]->answer, &result, &error);
    }
    exchange_end(list[0], rc, 200, &error);
    im_embed_result_clear(&result);
    pieces_clear(&pieces);
    json_decref(root);
}
