/* daemon/answer_items.c — items: uploads, changes, removal, their pictures and what is like them.
 * What changes the library runs on the writer's thread, pictures are read and made on another. */
#include "daemon/daemon_internal.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static im_code number_of(const exchange *ex, const char *name, uint64_t min, uint64_t max,
                         uint64_t *value, im_error *err)
{
    const char *text = http_parameter_of(&ex->parameters, name);
    if (text != NULL && !im_parse_u64(text, min, max, value)) {
        return im_fail_as(err, IM_REASON_HTTP_PARAMETER,
                          "parameter '%s' is '%.40s', expected a number from %llu to %llu", name,
                          text, (unsigned long long)min, (unsigned long long)max);
    }
    return IM_OK;
}

/* ---- upload ---- */

typedef struct upload_form {
    http_parts parts;
    char names[HTTP_MOST_PARTS][HTTP_PART_NAME_BYTES + 8]; /* for the sentences */
    im_upload uploads[HTTP_MOST_PARTS];
    im_view part_names[HTTP_MOST_PARTS]; /* data NULL: it is the body */
    im_view file_names[HTTP_MOST_PARTS];
    im_upload_result results[HTTP_MOST_PARTS];
    size_t n;
    im_item_change change;
    bool has_change;
} upload_form;

static void add_upload(upload_form *form, const http_part *part)
{
    size_t at = form->n++;
    (void)snprintf(form->names[at], sizeof(form->names[at]), "%.*s", (int)part->name.size,
                   part->name.data);
    form->uploads[at] = (im_upload){.bytes = part->data, .name = form->names[at]};
    form->part_names[at] = part->name;
    form->file_names[at] = part->file_name;
}

/* Each part but "meta" is a picture. */
static im_code read_form(exchange *ex, upload_form *form, im_error *err)
{
    im_code rc = body_parts(ex, &form->parts, err);
    for (size_t i = 0; rc == IM_OK && i < form->parts.n; i++) {
        const http_part *part = &form->parts.list[i];
        if (im_view_equal_c(part->name, "meta")) {
            form->has_change = true;
            form->change =
                (im_item_change){.json = part->data, .name = "part 'meta'", .may_take_key = true};
        } else {
            add_upload(form, part);
        }
    }
    if (rc == IM_OK && form->n == 0) {
        rc = im_fail_as(err, IM_REASON_HTTP_MULTIPART, "the body has no picture, only 'meta'");
    }
    return rc;
}

static im_code read_upload(exchange *ex, upload_form *form, im_error *err)
{
    if (ex->boundary[0] != '\0') {
        return read_form(ex, form, err);
    }
    form->n = 1;
    form->uploads[0].name = "the picture sent";
    return body_view(ex, &form->uploads[0].bytes, err);
}

static void put_view(im_json_writer *w, const char *key, im_view text)
{
    if (text.data != NULL && im_utf8_valid(text.data, text.size, NULL)) {
        im_json_key(w, key);
        im_json_string(w, text.data, text.size);
    } else {
        im_json_put_null(w, key);
    }
}

/* {"items":[{"id","created","part","filename"} | {"part","filename","error"}]} */
static void put_results(im_json_writer *w, const upload_form *form)
{
    im_json_begin_object(w);
    im_json_key(w, "items");
    im_json_begin_array(w);
    for (size_t i = 0; i < form->n; i++) {
        const im_upload_result *result = &form->results[i];
        im_json_begin_object(w);
        if (result->item != 0) {
            im_json_put_uint(w, "id", result->item);
            im_json_put_bool(w, "created", result->created);
        }
        put_view(w, "part", form->part_names[i]);
        put_view(w, "filename", form->file_names[i]);
        if (result->error.code != IM_OK) {
            im_json_key(w, "error");
            im_json_error(w, &result->error, NULL);
        }
        im_json_end_object(w);
    }
    im_json_end_array(w);
    im_json_end_object(w);
}

static void answer_results(exchange *ex, const upload_form *form)
{
    size_t created = 0;
    size_t failed = 0;
    uint64_t first = 0;
    for (size_t i = 0; i < form->n; i++) {
        created += form->results[i].created;
        failed += form->results[i].error.code != IM_OK;
        first = first == 0 ? form->results[i].item : first;
    }
    if (failed == form->n) {
        exchange_fail(ex, 0, &form->results[0].error);
        return;
    }
    put_results(&ex->answer, form);
    exchange_done(ex, "application/json");
    if (ex->status == 200 && form->n == 1) {
        im_str_addf(&ex->headers, "Location: /v1/items/%llu\r\n", (unsigned long long)first);
    }
    if (ex->status == 200 && failed == 0 && created > 0) {
        ex->status = 201;
    }
}

void answer_upload(server *s, exchange *const *list, size_t n)
{
    im_error error = IM_ERROR_INIT;
    exchange *ex = list[0];
    upload_form *form = im_alloc_zero(1, sizeof(*form));
    (void)n;
    if (form == NULL) {
        (void)!im_fail(&error, IM_ERR_NOMEM, "no memory for an upload");
        exchange_fail(ex, 0, &error);
        return;
    }
    im_code rc = read_upload(ex, form, &error);
    if (rc == IM_OK) {
        const im_upload_request request = {.uploads = form->uploads,
                                           .n = form->n,
                                           .change = form->has_change ? &form->change : NULL,
                                           .limits = s->options->limits};
        rc = im_app_upload(work_library(s->writer), &request, form->results, &error);
    }
    if (rc == IM_OK) {
        answer_results(ex, form);
    } else {
        exchange_fail(ex, 0, &error);
    }
    im_free(form);
}

/* ---- one item ---- */

void answer_change_item(server *s, exchange *const *list, size_t n)
{
    im_error error = IM_ERROR_INIT;
    exchange *ex = list[0];
    im_library *library = work_library(s->writer);
    const im_item_change change = {.json = im_view_of(im_str_text(&ex->body), ex->body.size),
                                   .name = "request body"};
    (void)n;
    im_code rc = im_app_change_item(library, ex->item, &change, &error);
    if (rc == IM_OK) {
        rc = im_app_show_json(library, ex->item, &ex->answer, &error);
    }
    exchange_end(ex, rc, 200, &error);
}

void answer_remove_item(server *s, exchange *const *list, size_t n)
{
    static const char *const words[] = {"false", "true"};
    im_error error = IM_ERROR_INIT;
    exchange *ex = list[0];
    uint64_t count = 0;
    const im_remove_request request = {.items = &ex->item, .n_items = 1};
    const char *purge = http_parameter_of(&ex->parameters, "purge");
    im_library *library = work_library(s->writer);
    im_code rc = IM_OK;
    (void)n;
    if (purge != NULL && strcmp(purge, words[0]) != 0 && strcmp(purge, words[1]) != 0) {
        rc = im_fail_as(&error, IM_REASON_HTTP_PARAMETER,
                        "parameter 'purge' is '%.40s', expected true or false", purge);
    } else if (purge != NULL && strcmp(purge, words[1]) == 0) {
        rc = im_app_purge_item(library, ex->item, NULL, &count, &error);
    } else {
        rc = im_app_remove(library, &request, NULL, &count, &error);
    }
    if (rc != IM_OK) {
        exchange_fail(ex, 0, &error);
        return;
    }
    exchange_done(ex, "application/json");
    ex->status = 204;
}

/* ---- pictures ---- */

void answer_thumbnail(server *s, exchange *const *list, size_t n)
{
    im_error error = IM_ERROR_INIT;
    exchange *ex = list[0];
    char digest[65];
    char etag[80];
    uint64_t size = 256;
    im_bytes bytes = {0};
    im_library *library = work_library(s->pictures);
    (void)n;
    im_code rc = number_of(ex, "size", 1, IM_THUMBNAIL_MOST_PX, &size, &error);
    if (rc == IM_OK) {
        rc = im_app_digest(library, ex->item, digest, &error);
    }
    if (rc == IM_OK) {
        uint32_t px = im_thumbnail_px((uint32_t)size);
        (void)snprintf(etag, sizeof(etag), "\"%.32s-%u\"", digest, px);
        if (!exchange_client_has(ex, etag)) {
            rc = im_app_thumbnail(library, ex->item, px, &s->options->limits, &bytes, &error);
        }
    }
    if (rc == IM_OK) {
        im_str_add(&ex->answer.out, (const char *)bytes.data, bytes.size);
        exchange_done_tagged(ex, "image/jpeg", etag);
    } else {
        exchange_fail(ex, 0, &error);
    }
    im_bytes_clear(&bytes);
}

void answer_original(server *s, exchange *const *list, size_t n)
{
    im_error error = IM_ERROR_INIT;
    exchange *ex = list[0];
    im_original original;
    char etag[80];
    (void)n;
    if (im_app_open_original(work_library(s->pictures), ex->item, &original, &error) != IM_OK) {
        exchange_fail(ex, 0, &error);
        return;
    }
    const char *type = original.format == IM_FORMAT_JPEG  ? "image/jpeg"
                       : original.format == IM_FORMAT_PNG ? "image/png"
                                                          : "application/octet-stream";
    (void)snprintf(etag, sizeof(etag), "\"%s\"", original.sha256);
    if (!im_format_decodes(original.format)) {
        im_str_add_c(&ex->headers, "Content-Disposition: attachment\r\n");
    }
    exchange_done_file(ex, original.fd, &original.stamp, type, etag);
}

/* ---- alike ---- */

void answer_similar(server *s, exchange *const *list, size_t n)
{
    im_error error = IM_ERROR_INIT;
    exchange *ex = list[0];
    im_answer answer = {0};
    uint64_t k = 20;
    uint64_t offset = 0;
    const im_query_part part = {.kind = IM_PART_PICTURE, .item = ex->item, .weight = 1};
    (void)n;
    im_code rc = number_of(ex, "k", 1, IM_LIMIT_K, &k, &error);
    if (rc == IM_OK) {
        rc = number_of(ex, "offset", 0, IM_LIMIT_OFFSET_PLUS_K - 1, &offset, &error);
    }
    if (rc == IM_OK) {
        const im_search_request request = {
            .parts = &part,
            .n_parts = 1,
            .filter = http_parameter_of(&ex->parameters, "filter"),
            .cursor = http_parameter_of(&ex->parameters, "cursor"),
            .k = (size_t)k,
            .offset = offset,
            .how = {.leave_out = ex->item, .inside_roots = true, .limits = s->options->limits}};
        rc = im_app_search(work_library(s->work), &request, &answer, &error);
    }
    if (rc == IM_OK) {
        im_answer_json(&ex->answer, &answer);
        im_answer_clear(&answer);
    }
    exchange_end(ex, rc, 200, &error);
}
