/* daemon/answer_command.c — a search as the command line has it: words, literal parts, options, and
 * the bytes of the files that it names, so that the answer is the one it would have given itself.
 */
#include "daemon/daemon_internal.h"

#include <string.h>

typedef struct command_file {
    const char *path; /* borrowed */
    char *bytes;      /* owned */
    size_t size;
} command_file;

typedef struct command {
    json_t *root;
    im_search_request request; /* borrows from root */
    im_query_part parts[IM_LIMIT_QUERY_PARTS];
    command_file files[IM_LIMIT_QUERY_PARTS];
    size_t n_files;
    command_file input; /* of "-"; bytes NULL: none */
} command;

#define WRONG(...) im_fail_as(err, IM_REASON_HTTP_BODY, "request body: " __VA_ARGS__)

/* ---- reading ---- */

static im_code read_bytes(const json_t *value, command_file *out, im_error *err)
{
    const char *text = json_string_value(value);
    size_t n = json_string_length(value);
    if (text == NULL) {
        return WRONG("'data' is no text");
    }
    out->bytes = im_alloc(n / 4 * 3 + 1, 1);
    if (out->bytes == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a picture");
    }
    return im_text_base64_read(text, n, out->bytes, &out->size) == SIZE_MAX
               ? IM_OK
               : WRONG("'data' is no base64");
}

static im_code read_files(command *c, im_error *err)
{
    const json_t *files = json_object_get(c->root, "files");
    const json_t *input = json_object_get(c->root, "input");
    im_code rc = IM_OK;
    if (json_array_size(files) > IM_COUNT(c->files)) {
        return WRONG("there are %zu files", json_array_size(files));
    }
    for (size_t i = 0; rc == IM_OK && i < json_array_size(files); i++) {
        const json_t *file = json_array_get(files, i);
        command_file *to = &c->files[c->n_files++];
        to->path = json_string_value(json_object_get(file, "path"));
        rc = to->path != NULL ? read_bytes(json_object_get(file, "data"), to, err)
                              : WRONG("a file has no 'path'");
    }
    return rc == IM_OK && input != NULL ? read_bytes(input, &c->input, err) : rc;
}

static im_code read_part(command *c, const json_t *from, im_query_part *out, im_error *err)
{
    const char *crop = json_string_value(json_object_get(from, "crop"));
    const json_t *weight = json_object_get(from, "weight");
    const char *text = json_string_value(json_object_get(from, "text"));
    json_int_t id = json_integer_value(json_object_get(from, "id"));
    *out = (im_query_part){.kind = text != NULL ? IM_PART_TEXT : IM_PART_PICTURE,
                           .weight = json_number_value(weight)};
    if (!json_is_number(weight) || id < 0) {
        return WRONG("a part has no weight, or a wrong id");
    }
    if (text != NULL) {
        out->text = im_view_of(text, json_string_length(json_object_get(from, "text")));
    } else if (id != 0) {
        out->item = (uint64_t)id;
    } else if (json_is_true(json_object_get(from, "input"))) {
        out->bytes = im_view_of(c->input.bytes, c->input.size);
    } else {
        out->path = json_string_value(json_object_get(from, "path"));
    }
    if (text == NULL && id == 0 && out->path == NULL && out->bytes.data == NULL) {
        return WRONG("a part is nothing");
    }
    out->has_box = crop != NULL;
    return crop != NULL ? im_box_parse(crop, &out->box, err) : IM_OK;
}

static im_code read_parts(command *c, im_error *err)
{
    const json_t *parts = json_object_get(c->root, "parts");
    im_code rc = IM_OK;
    if (json_array_size(parts) > IM_COUNT(c->parts)) {
        return WRONG("there are %zu parts", json_array_size(parts));
    }
    for (size_t i = 0; rc == IM_OK && i < json_array_size(parts); i++) {
        rc = read_part(c, json_array_get(parts, i), &c->parts[i], err);
    }
    c->request.parts = c->parts;
    c->request.n_parts = json_array_size(parts);
    return rc;
}

/* A number of `root`, 0 when it is not there. */
static im_code read_number(const json_t *root, const char *name, uint64_t most, uint64_t *out,
                           im_error *err)
{
    const json_t *value = json_object_get(root, name);
    json_int_t number = json_integer_value(value);
    if (value != NULL && (!json_is_integer(value) || number < 0 || (uint64_t)number > most)) {
        return WRONG("'%s' is wrong", name);
    }
    *out = (uint64_t)number;
    return IM_OK;
}

static im_code read_options(command *c, im_error *err)
{
    static const char *const names[] = {"k", "offset", "leave_out", "combine", "order", "mode"};
    static const uint64_t most[] = {IM_LIMIT_K, IM_LIMIT_OFFSET_PLUS_K, INT64_MAX, 2, 2, 2};
    uint64_t value[IM_COUNT(names)] = {0};
    const json_t *root = c->root;
    const json_t *min_score = json_object_get(root, "min_score");
    im_search_request *request = &c->request;
    im_code rc = IM_OK;
    for (size_t i = 0; rc == IM_OK && i < IM_COUNT(names); i++) {
        rc = read_number(root, names[i], most[i], &value[i], err);
    }
    request->text = json_string_value(json_object_get(root, "text"));
    request->filter = json_string_value(json_object_get(root, "filter"));
    request->sort = json_string_value(json_object_get(root, "sort"));
    request->group = json_string_value(json_object_get(root, "group"));
    request->cursor = json_string_value(json_object_get(root, "cursor"));
    request->k = (size_t)value[0];
    request->offset = value[1];
    request->how.leave_out = value[2];
    request->combine = (im_combine)value[3];
    request->order = (im_order)value[4];
    request->mode = (im_search_mode)value[5];
    request->has_min_score = json_is_number(min_score);
    request->min_score = (float)json_number_value(min_score);
    request->how.exact_decode = json_is_true(json_object_get(root, "exact_decode"));
    return rc;
}

static im_code read_command(const exchange *ex, command *c, im_error *err)
{
    im_code rc = body_object(ex, &c->root, err);
    if (rc == IM_OK) {
        rc = read_options(c, err);
    }
    if (rc == IM_OK) {
        rc = read_files(c, err);
    }
    return rc == IM_OK ? read_parts(c, err) : rc;
}

/* ---- pictures ---- */

/* No file of this side is opened, whatever its name. */
static im_code give_file(void *context, const char *path, im_view *out_bytes, im_error *err)
{
    const command *c = context;
    for (size_t i = 0; i < c->n_files; i++) {
        if (strcmp(c->files[i].path, path) == 0) {
            *out_bytes = im_view_of(c->files[i].bytes, c->files[i].size);
            return IM_OK;
        }
    }
    return WRONG("picture '%.100s' was not sent", path);
}

static im_code give_input(void *context, im_view *out_bytes, im_error *err)
{
    const command *c = context;
    *out_bytes = im_view_of(c->input.bytes, c->input.size);
    return c->input.bytes != NULL ? IM_OK : WRONG("standard input was not sent");
}

static void clear(command *c)
{
    for (size_t i = 0; i < c->n_files; i++) {
        im_free(c->files[i].bytes);
    }
    im_free(c->input.bytes);
    json_decref(c->root);
    im_free(c);
}

void answer_command(server *s, exchange *const *list, size_t n)
{
    exchange *ex = list[0];
    im_answer answer = {0};
    im_error error = IM_ERROR_INIT;
    command *c = im_alloc_zero(1, sizeof(*c));
    (void)n;
    if (c == NULL) {
        (void)!im_fail(&error, IM_ERR_NOMEM, "no memory for a query");
        exchange_fail(ex, 0, &error);
        return;
    }
    im_code rc = read_command(ex, c, &error);
    if (rc == IM_OK) {
        c->request.how.limits = s->options->limits;
        c->request.how.read_file = give_file;
        c->request.how.read_input = give_input;
        c->request.how.context = c;
        rc = im_app_search(work_library(s->work), &c->request, &answer, &error);
    }
    if (rc == IM_OK) {
        im_answer_json(&ex->answer, &answer);
        exchange_done(ex, "application/json");
    } else {
        exchange_fail(ex, 0, &error);
    }
    im_answer_clear(&answer);
    clear(c);
}
