/* vlm/prompt.c — the words of a question. The query stands in them as data: what a chat template or
 * server would read as its own marker is taken out first. */
#include "base/hash.h"
#include "vlm/vlm_internal.h"

#define MARKER_BYTES 64u

const char vlm_score_schema[] =
    "{\"type\":\"object\",\"properties\":{\"score\":{\"type\":\"integer\",\"minimum\":0,"
    "\"maximum\":10}},\"required\":[\"score\"],\"additionalProperties\":false}";

/* ---- markers ---- */

static const char *const markers[] = {
    "<__media__>", "<image>",       "</image>",         "<img>",    "</img>", "<start_of_turn>",
    "<bos>",       "<end_of_turn>", "<start_of_image>", "<eos>",    "<s>",    "</s>",
    "[INST]",      "[/INST]",       "<<SYS>>",          "<</SYS>>", "[IMG]",  "<think>",
    "</think>",    "<unk>",
};

/* Bytes of the marker at `p`, 0 when there is none: a listed one, "<|name|>", "<｜name｜>" or
 * "<tile_1>". */
static size_t marker_at(const char *p, size_t size)
{
    static const char bar[] = "\xef\xbd\x9c"; /* ｜, as DeepSeek writes it */
    for (size_t i = 0; i < IM_COUNT(markers); i++) {
        size_t n = strlen(markers[i]);
        if (size >= n && strncasecmp(p, markers[i], n) == 0) {
            return n;
        }
    }
    bool wide = size > 4 && memcmp(p, "<\xef\xbd\x9c", 4) == 0;
    if (wide || (size > 2 && p[0] == '<' && p[1] == '|')) {
        for (size_t i = wide ? 4 : 2; i < IM_MIN(size, (size_t)MARKER_BYTES); i++) {
            if (p[i] == '>' && (p[i - 1] == '|' || (i > 3 && memcmp(p + i - 3, bar, 3) == 0))) {
                return i + 1;
            }
        }
    }
    if (size > 6 && memcmp(p, "<tile_", 6) == 0) {
        for (size_t i = 6; i < IM_MIN(size, (size_t)MARKER_BYTES); i++) {
            if (p[i] == '>') {
                return i + 1;
            }
        }
    }
    return 0;
}

/* Bytes of a marker at the end of a text, 0 when there is none. */
static size_t marker_behind(const char *text, size_t size)
{
    char last = size > 0 ? text[size - 1] : '\0';
    for (size_t n = 2; (last == '>' || last == ']') && n <= IM_MIN(size, (size_t)MARKER_BYTES);
         n++) {
        if (marker_at(text + size - n, n) == n) {
            return n;
        }
    }
    return 0;
}

void im_vlm_clean(im_str *out, im_view text)
{
    im_str valid;
    size_t n = 0;
    im_str_init(&valid, 4 * text.size + 1);
    (void)im_text_lossy(&valid, text.data, text.size);
    for (size_t i = 0; i < valid.size; i++) { /* as each marker is complete it goes, so that what is
                                               * left of two in each other goes too */
        unsigned char c = (unsigned char)valid.data[i];
        valid.data[n++] = (char)(c < 32 || c == 127 ? ' ' : c);
        n -= marker_behind(valid.data, n);
    }
    im_str_add(out, n > 0 ? valid.data : "", n);
    out->failed = out->failed || valid.failed;
    im_str_clear(&valid);
}

/* ---- prompts ---- */

void vlm_prompt(im_str *out, im_vlm_mode mode, im_view query)
{
    switch (mode) {
    case IM_VLM_MODE_SYSTEMONE:
        im_str_addf(out, "Query: %.*s. Does this picture match the query?", (int)query.size,
                    query.data);
        break;
    case IM_VLM_MODE_RERANK:
        im_str_add(out, query.data, query.size);
        break;
    case IM_VLM_MODE_SCORE:
        im_str_addf(out,
                    "Query: %.*s. How well does this picture match the query? Answer with a JSON "
                    "object {\"score\": N}, N a whole number from 0 (not at all) to 10 (fully).",
                    (int)query.size, query.data);
        break;
    case IM_VLM_MODE_NONE:
    case IM_VLM_MODE_LOGPROBS:
    case IM_VLM_MODE_WORD:
    case IM_VLM_MODE_COUNT:
        im_str_addf(out, "Query: %.*s. Does this picture match the query? Answer yes or no.",
                    (int)query.size, query.data);
        break;
    }
}

void vlm_put_picture(im_json_writer *w, const im_bytes *picture, bool bare)
{
    im_str uri;
    im_str_init(&uri, SIZE_MAX / 2);
    im_str_add_c(&uri, bare ? "" : "data:image/jpeg;base64,");
    im_text_base64(&uri, picture->data, picture->size);
    im_json_string(w, im_str_text(&uri), uri.size);
    w->out.failed = w->out.failed || uri.failed;
    im_str_clear(&uri);
}

static void add_text(im_sha256 *hash, const char *data, size_t size)
{
    uint64_t n = size;
    im_sha256_add(hash, &n, sizeof(n)); /* so that no two lists of texts are the same bytes */
    im_sha256_add(hash, data, size);
}

void im_vlm_key(const im_vlm_server *server, im_view query, const im_bytes *picture,
                uint8_t out[IM_SHA256_BYTES])
{
    im_sha256 hash;
    const char *mode = im_vlm_mode_name(server->mode);
    im_sha256_init(&hash);
    add_text(&hash, IM_VLM_PROMPT_VERSION, strlen(IM_VLM_PROMPT_VERSION));
    add_text(&hash, server->url, strlen(server->url));
    add_text(&hash, server->model, strlen(server->model));
    add_text(&hash, mode, strlen(mode));
    add_text(&hash, query.data, query.size);
    add_text(&hash, (const char *)picture->data, picture->size);
    im_sha256_end(&hash, out);
}

void im_vlm_question_key(const im_vlm_server *server, const char *version,
                         const im_vlm_question *question, uint8_t out[IM_SHA256_BYTES])
{
    im_sha256 hash;
    im_sha256_init(&hash);
    add_text(&hash, version, strlen(version));
    add_text(&hash, server->url, strlen(server->url));
    add_text(&hash, server->model, strlen(server->model));
    add_text(&hash, server->schema ? "schema" : "text", server->schema ? 6 : 4);
    add_text(&hash, question->text.data, question->text.size);
    for (size_t i = 0; i < question->n_pictures; i++) {
        add_text(&hash, (const char *)question->pictures[i].data, question->pictures[i].size);
    }
    im_sha256_end(&hash, out);
}
