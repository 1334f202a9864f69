/* cli/ask_search.c — a search as the daemon's POST /v1/search/command takes it, and its answer. The
 * files are opened here, with the rights of who asks, and their bytes sent. */
#include "base/file.h"
#include "cli/commands_internal.h"

#include <stdlib.h>

#define BODY_BYTES (32u << 20) /* as the route takes it */

/* ---- asking ---- */

static bool put_file(im_json_writer *w, const char *path)
{
    im_bytes bytes = {0};
    im_str base64;
    if (!im_utf8_valid(path, strlen(path), NULL) ||
        im_file_read(path, BODY_BYTES / 4 * 3, &bytes, NULL) != IM_OK) {
        return false; /* the sentence about it is told here, when it is tried again */
    }
    im_str_init(&base64, BODY_BYTES);
    im_text_base64(&base64, bytes.data, bytes.size);
    im_json_begin_object(w);
    im_json_put_string(w, "path", path);
    im_json_key(w, "data");
    im_json_string(w, im_str_text(&base64), base64.size);
    im_json_end_object(w);
    bool whole = !base64.failed;
    im_str_clear(&base64);
    im_bytes_clear(&bytes);
    return whole;
}

static bool put_files(im_json_writer *w, const im_query_part *parts, size_t n)
{
    bool whole = true;
    for (size_t i = 0; whole && i < n; i++) {
        bool is_file = parts[i].kind == IM_PART_PICTURE && parts[i].path != NULL;
        whole = !parts[i].standard_input && (!is_file || put_file(w, parts[i].path));
    }
    return whole;
}

/* The files that the words name. A query with fields of the library's own cannot be read here. */
static bool put_files_of_words(im_json_writer *w, const char *text)
{
    im_query query = {0};
    if (text == NULL || strchr(text, '@') == NULL) {
        return true;
    }
    bool whole = im_query_parse(im_view_from(text), NULL, 0, &query, NULL) == IM_OK &&
                 put_files(w, query.parts, query.n_parts);
    im_query_clear(&query);
    return whole;
}

static void put_part(im_json_writer *w, const im_query_part *part, const char *crop)
{
    im_json_begin_object(w);
    if (part->kind == IM_PART_TEXT) {
        im_json_key(w, "text");
        im_json_string(w, part->text.data, part->text.size);
    } else if (part->item != 0) {
        im_json_put_uint(w, "id", part->item);
    } else if (part->path != NULL) {
        im_json_put_string(w, "path", part->path);
    } else {
        im_json_put_bool(w, "input", true);
    }
    im_json_put_double(w, "weight", part->weight);
    if (crop != NULL) {
        im_json_put_string(w, "crop", crop);
    }
    im_json_end_object(w);
}

static void put_text(im_json_writer *w, const char *name, const char *text)
{
    if (text != NULL) {
        im_json_put_string(w, name, text);
    }
}

static void put_options(im_json_writer *w, const im_search_request *request)
{
    put_text(w, "text", request->text);
    put_text(w, "filter", request->filter);
    put_text(w, "sort", request->sort);
    put_text(w, "group", request->group);
    put_text(w, "cursor", request->cursor);
    im_json_put_uint(w, "k", request->k);
    im_json_put_uint(w, "offset", request->offset);
    im_json_put_uint(w, "leave_out", request->how.leave_out);
    im_json_put_uint(w, "combine", (uint64_t)request->combine);
    im_json_put_uint(w, "order", (uint64_t)request->order);
    im_json_put_uint(w, "mode", (uint64_t)request->mode);
    if (request->has_min_score) {
        im_json_put_float(w, "min_score", request->min_score);
    }
    im_json_put_bool(w, "exact_decode", request->how.exact_decode);
}

static void put_input(im_json_writer *w, const im_bytes *input)
{
    im_str base64;
    if (input->data == NULL) {
        return;
    }
    im_str_init(&base64, BODY_BYTES);
    im_text_base64(&base64, input->data, input->size);
    im_json_key(w, "input");
    im_json_string(w, im_str_text(&base64), base64.size);
    w->out.failed = w->out.failed || base64.failed;
    im_str_clear(&base64);
}

/* Texts that JSON would change are not sent. */
static bool texts_are_sound(const im_search_request *request)
{
    const char *const texts[] = {request->text, request->filter, request->sort, request->group,
                                 request->cursor};
    bool sound = true;
    for (size_t i = 0; i < IM_COUNT(texts); i++) {
        sound = sound && (texts[i] == NULL || im_utf8_valid(texts[i], strlen(texts[i]), NULL));
    }
    for (size_t i = 0; i < request->n_parts; i++) {
        const im_query_part *part = &request->parts[i];
        sound = sound && (part->kind != IM_PART_TEXT ||
                          im_utf8_valid(part->text.data, part->text.size, NULL));
    }
    return sound;
}

static bool put_request(const cli_session *s, const im_search_request *request,
                        const im_bytes *input, im_json_writer *w)
{
    im_json_begin_object(w);
    put_options(w, request);
    im_json_key(w, "parts");
    im_json_begin_array(w);
    for (size_t i = 0; i < request->n_parts; i++) {
        put_part(w, &request->parts[i], s->args->parts[i].crop);
    }
    im_json_end_array(w);
    im_json_key(w, "files");
    im_json_begin_array(w);
    bool whole =
        put_files(w, request->parts, request->n_parts) && put_files_of_words(w, request->text);
    im_json_end_array(w);
    put_input(w, input);
    im_json_end_object(w);
    return whole && im_json_ok(w);
}

/* ---- the answer ---- */

static char *read_path(const json_t *hit)
{
    const json_t *base64 = json_object_get(hit, "path_b64");
    const char *path = json_string_value(json_object_get(hit, "path"));
    size_t n = json_string_length(base64);
    size_t size = 0;
    if (base64 == NULL) {
        return path != NULL ? im_strdup(path) : NULL;
    }
    char *bytes = im_alloc(n / 4 * 3 + 1, 1);
    if (bytes == NULL || !json_is_string(base64) ||
        im_text_base64_read(json_string_value(base64), n, bytes, &size) != SIZE_MAX) {
        im_free(bytes);
        return NULL;
    }
    bytes[size] = '\0';
    return bytes;
}

static bool read_hit(const json_t *from, im_search_hit *out)
{
    const char *name = json_string_value(json_object_get(from, "name"));
    const json_t *path = json_object_get(from, "path");
    const json_t *score = json_object_get(from, "score");
    out->rank = (uint64_t)json_integer_value(json_object_get(from, "rank"));
    out->item.id = (uint64_t)json_integer_value(json_object_get(from, "id"));
    out->online = json_is_true(json_object_get(from, "online"));
    out->score = (float)json_number_value(score);
    out->path = read_path(from);
    out->name = name != NULL ? im_strdup(name) : NULL;
    return out->item.id != 0 && (json_is_null(path) || out->path != NULL) &&
           (json_is_number(score) || json_is_null(score)) && (name == NULL || out->name != NULL);
}

static void read_facts(const json_t *root, im_answer *out)
{
    static const char *const engines[] = {"scan", "flat", "tiered", "ivf", "hnsw"};
    const json_t *took = json_object_get(root, "took_ms");
    const json_t *min_score = json_object_get(root, "min_score");
    const char *engine = json_string_value(json_object_get(root, "engine"));
    const char *model = json_string_value(json_object_get(root, "model"));
    for (size_t i = 0; engine != NULL && i < IM_COUNT(engines); i++) {
        out->engine = strcmp(engine, engines[i]) == 0 ? engines[i] : out->engine;
    }
    (void)snprintf(out->model, sizeof(out->model), "%s", model != NULL ? model : "");
    out->filtered = (uint64_t)json_integer_value(json_object_get(root, "filtered"));
    out->scanned = (uint64_t)json_integer_value(json_object_get(root, "scanned"));
    out->has_min_score = json_is_number(min_score);
    out->min_score = (float)json_number_value(min_score);
    out->parse_ms = json_number_value(json_object_get(took, "parse"));
    out->encode_ms = json_number_value(json_object_get(took, "encode"));
    out->search_ms = json_number_value(json_object_get(took, "search"));
    out->fetch_ms = json_number_value(json_object_get(took, "fetch"));
}

/* An answer as cli_put_answer looks at it. */
static bool read_answer(const json_t *root, im_answer *out)
{
    const json_t *hits = json_object_get(root, "hits");
    const json_t *warnings = json_object_get(root, "warnings");
    const json_t *parts = json_object_get(root, "parts");
    bool sound = json_is_array(hits) && json_is_array(warnings) && json_is_array(parts) &&
                 json_array_size(warnings) <= IM_COUNT(out->warnings);
    size_t n = json_array_size(hits);
    bool listing = json_array_size(parts) == 0;
    out->hits = sound ? im_alloc_zero(IM_MAX(n, (size_t)1), sizeof(*out->hits)) : NULL;
    sound = out->hits != NULL;
    for (size_t i = 0; sound && i < n; i++) {
        sound = read_hit(json_array_get(hits, i), &out->hits[out->n_hits++]) &&
                json_is_null(json_object_get(json_array_get(hits, i), "score")) == listing;
    }
    for (size_t i = 0; sound && i < json_array_size(warnings); i++) {
        const char *text = json_string_value(json_array_get(warnings, i));
        out->warnings[out->n_warnings] = text != NULL ? im_strdup(text) : NULL;
        sound = out->warnings[out->n_warnings] != NULL;
        out->n_warnings += sound;
    }
    if (sound) {
        read_facts(root, out);
        out->n_parts = json_array_size(parts);
        out->parts = im_alloc_zero(IM_MAX(out->n_parts, (size_t)1), sizeof(*out->parts));
    }
    return sound && out->parts != NULL;
}

bool cli_ask_search(cli_session *s, const im_search_request *request, const im_bytes *input,
                    im_answer *out_answer, im_str *out_json)
{
    im_json_writer w;
    json_t *root = NULL;
    if (!cli_may_ask(s) || !texts_are_sound(request)) {
        return false;
    }
    im_json_init(&w, BODY_BYTES);
    bool sound =
        put_request(s, request, input, &w) && cli_ask(s, "/v1/search/command", &w.out, out_json) &&
        im_json_parse(im_str_text(out_json), out_json->size, "answer", &root, NULL) == IM_OK &&
        read_answer(root, out_answer);
    json_decref(root);
    im_json_clear(&w);
    if (!sound) {
        im_answer_clear(out_answer);
        *out_answer = (im_answer){0};
    }
    return sound;
}
