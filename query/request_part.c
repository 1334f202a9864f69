/* query/request_part.c — one part of a JSON query: a text, or a picture as a path, an item, bytes
 * in base64 or the name of an upload. */
#include "base/base.h"
#include "query/language_internal.h"
#include "query/request_internal.h"
#include <string.h>

/* ---- bytes ---- */

/* Behind "data:TYPE;base64,", when it is a data URI; NULL when that is not one of base64. */
static const char *behind_data_uri(const char *text)
{
    static const char mark[] = ";base64,";
    if (strncmp(text, "data:", 5) != 0) {
        return text;
    }
    size_t head = strcspn(text, ",");
    size_t size = strlen(mark);
    if (text[head] != ',' || head + 1 < size || strncmp(text + head + 1 - size, mark, size) != 0) {
        return NULL;
    }
    return text + head + 1;
}

static im_code read_data(request_reader *reader, const char *key, json_t *value, void *out,
                         im_error *err)
{
    im_query_part *part = out;
    size_t size = 0;
    if (!json_is_string(value)) {
        return request_wrong(reader, key, value, "a string", err);
    }
    const char *whole = json_string_value(value);
    const char *text = behind_data_uri(whole);
    if (text == NULL) {
        return request_fail(reader, key, err,
                            "is a data URI without base64, expected data:image/…;base64,…");
    }
    size_t n = json_string_length(value) - (size_t)(text - whole);
    if (n / 4 > IM_LIMIT_PICTURE_BYTES / 3) {
        return request_at(reader, key,
                          im_fail_as(err, IM_REASON_FILE_TOO_LARGE,
                                     "%s: '%s%s' is %zu letters of base64, the limit is %llu bytes",
                                     reader->name, reader->place, key, n, IM_LIMIT_PICTURE_BYTES),
                          err);
    }
    char *bytes = im_alloc(n / 4 * 3 + 3, 1);
    if (bytes == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a picture");
    }
    size_t wrong = im_text_base64_read(text, n, bytes, &size);
    if (wrong == SIZE_MAX) {
        part->bytes = im_view_of(bytes, size);
        return IM_OK;
    }
    im_free(bytes);
    if (wrong == n) {
        return request_fail(reader, key, err,
                            "is cut short: %zu letters of base64, expected a multiple of 4", n);
    }
    return request_fail(reader, key, err, "is not base64 at offset %zu",
                        wrong + (size_t)(text - whole));
}

/* ---- pictures ---- */

static im_code read_path(request_reader *reader, const char *key, json_t *value, void *out,
                         im_error *err)
{
    im_query_part *part = out;
    char *path = NULL;
    im_code rc = request_read_text(reader, key, value, &path, err);
    if (rc != IM_OK) {
        return rc;
    }
    part->path = path;
    if (path[0] == '\0') {
        return request_fail(reader, key, err, "is empty, expected the path of a picture");
    }
    if (query_is_url(path, strlen(path))) {
        rc = request_fail(reader, key, err, "is a URL: URLs are not fetched");
        im_hint(err, "send the picture itself as 'data'");
        return rc;
    }
    if (strlen(path) > IM_LIMIT_PATH_BYTES) {
        return request_at(reader, key,
                          im_fail_as(err, IM_REASON_PATH_TOO_LONG,
                                     "%s: '%s%s' has %zu bytes, the limit is %u", reader->name,
                                     reader->place, key, strlen(path), IM_LIMIT_PATH_BYTES),
                          err);
    }
    return IM_OK;
}

static im_code read_id(request_reader *reader, const char *key, json_t *value, void *out,
                       im_error *err)
{
    im_query_part *part = out;
    return request_read_integer(reader, key, value, 1, INT64_MAX, &part->item, err);
}

static im_code read_upload(request_reader *reader, const char *key, json_t *value, void *out,
                           im_error *err)
{
    im_query_part *part = out;
    char *name = NULL;
    im_code rc = request_read_text(reader, key, value, &name, err);
    part->upload = name;
    return rc == IM_OK && name[0] == '\0'
               ? request_fail(reader, key, err, "is empty, expected the name of a multipart field")
               : rc;
}

static im_code read_image(request_reader *reader, const char *key, json_t *value, void *out,
                          im_error *err)
{
    static const request_key keys[] = {
        {"path", read_path}, {"id", read_id}, {"data", read_data}, {"file", read_upload}};
    im_query_part *part = out;
    im_code rc = request_read_inside(reader, key, value, "an object with path, id, data or file",
                                     keys, IM_COUNT(keys), part, err);
    int n = (part->path != NULL) + (part->item != 0) + (part->bytes.data != NULL) +
            (part->upload != NULL);
    if (rc == IM_OK && n != 1) {
        rc = request_fail(reader, key, err,
                          "names %d pictures, expected one of path, id, data, file", n);
    }
    part->kind = IM_PART_PICTURE;
    return rc;
}

/* ---- the other keys ---- */

static im_code read_text(request_reader *reader, const char *key, json_t *value, void *out,
                         im_error *err)
{
    im_query_part *part = out;
    char *text = NULL;
    im_code rc = request_read_text(reader, key, value, &text, err);
    part->text = im_view_from(text);
    return rc;
}

/* A number, or "10%". */
static bool read_side(const json_t *value, double *out, bool *out_percent)
{
    char number[40];
    if (json_is_number(value)) {
        *out = json_number_value(value);
        return true;
    }
    size_t n = json_is_string(value) ? json_string_length(value) : 0;
    const char *text = n > 0 ? json_string_value(value) : "";
    if (n < 2 || n > sizeof(number) || text[n - 1] != '%') {
        return false;
    }
    memcpy(number, text, n - 1);
    number[n - 1] = '\0';
    *out_percent = true;
    return im_parse_double(number, out);
}

static im_code read_crop(request_reader *reader, const char *key, json_t *value, void *out,
                         im_error *err)
{
    im_query_part *part = out;
    double *field[4] = {&part->box.x, &part->box.y, &part->box.w, &part->box.h};
    bool good = json_is_array(value) && json_array_size(value) == 4;
    for (size_t i = 0; good && i < 4; i++) {
        good = read_side(json_array_get(value, i), field[i], &part->box.percent[i]);
    }
    if (!good) {
        im_code rc = request_fail(reader, key, err, "is not [x,y,w,h]");
        im_hint(err, "numbers are pixels, strings per cent: [\"10%%\",0,\"50%%\",\"100%%\"]");
        return rc;
    }
    const char *fault = query_box_fault(&part->box);
    if (fault != NULL) {
        return request_at(reader, key,
                          im_fail_as(err, IM_REASON_QUERY_BOX, "%s: '%s%s': %s", reader->name,
                                     reader->place, key, fault),
                          err);
    }
    part->has_box = true;
    return IM_OK;
}

static im_code read_weight(request_reader *reader, const char *key, json_t *value, void *out,
                           im_error *err)
{
    im_query_part *part = out;
    if (!json_is_number(value)) {
        return request_wrong(reader, key, value, "a number", err);
    }
    part->weight = json_number_value(value);
    double size = part->weight < 0 ? -part->weight : part->weight;
    if (!(size > 0) || size > IM_WEIGHT_MAX) {
        return request_at(
            reader, key,
            im_fail_as(err, IM_REASON_QUERY_WEIGHT,
                       "%s: '%s%s' is %g, expected above 0 and at most %g, or its negative",
                       reader->name, reader->place, key, part->weight, IM_WEIGHT_MAX),
            err);
    }
    return IM_OK;
}

static im_code read_must(request_reader *reader, const char *key, json_t *value, void *out,
                         im_error *err)
{
    im_query_part *part = out;
    return request_read_bool(reader, key, value, &part->must, err);
}

im_code request_read_part(request_reader *reader, json_t *value, im_query_part *part, im_error *err)
{
    static const request_key keys[] = {{"text", read_text},
                                       {"image", read_image},
                                       {"crop", read_crop},
                                       {"weight", read_weight},
                                       {"must", read_must}};
    part->weight = IM_WEIGHT_POSITIVE;
    im_code rc = request_read_object(reader, "", value, keys, IM_COUNT(keys), part, err);
    if (rc != IM_OK) {
        return rc;
    }
    bool is_text = part->text.data != NULL;
    if (is_text == (part->kind == IM_PART_PICTURE)) {
        return request_fail(reader, "", err, "has %s, expected one of text and image",
                            is_text ? "two sources" : "no source");
    }
    if (is_text && part->has_box) {
        return request_fail(reader, "crop", err, "belongs to a text, expected an image");
    }
    if (part->must && (!is_text || part->weight < 0)) {
        return request_fail(reader, "must", err, "belongs to %s, expected a text that counts for",
                            is_text ? "a part that counts against" : "an image");
    }
    return IM_OK;
}
