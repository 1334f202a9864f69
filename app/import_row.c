/* app/import_row.c — one line of items.jsonl read. Every key may be missing or null; keys that are
 * not known are left alone; a value of another kind is an error that names its key. */
#include "app/exchange_internal.h"
#include "base/hash.h"

static im_code fail_key(const char *key, const char *expected, im_error *err)
{
    return im_fail(err, IM_ERR_FORMAT, "'%s' is not %s", key, expected);
}

static const json_t *value_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

/* ---- plain values; what is missing leaves *out as it is ---- */

static im_code get_text(const json_t *object, const char *key, const char **out, im_error *err)
{
    const json_t *value = value_of(object, key);
    if (value == NULL) {
        return IM_OK;
    }
    if (!json_is_string(value)) {
        return fail_key(key, "a text", err);
    }
    *out = json_string_value(value);
    return IM_OK;
}

static im_code copy_text(const json_t *object, const char *key, char *out, size_t capacity,
                         im_error *err)
{
    const char *text = "";
    im_code rc = get_text(object, key, &text, err);
    if (rc == IM_OK && strlen(text) >= capacity) {
        rc = im_fail(err, IM_ERR_FORMAT, "'%s' has %zu bytes, at most %zu are kept", key,
                     strlen(text), capacity - 1);
    }
    if (rc == IM_OK) {
        memcpy(out, text, strlen(text) + 1);
    }
    return rc;
}

static im_code get_int(const json_t *object, const char *key, int64_t max, int64_t *out,
                       im_error *err)
{
    const json_t *value = value_of(object, key);
    if (value == NULL) {
        return IM_OK;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > max) {
        return im_fail(err, IM_ERR_FORMAT, "'%s' is not a whole number from 0 to %lld", key,
                       (long long)max);
    }
    *out = json_integer_value(value);
    return IM_OK;
}

static im_code get_degrees(const json_t *object, const char *key, double most, double *out,
                           im_error *err)
{
    const json_t *value = json_object_get(object, key);
    double degrees = json_number_value(value);
    if (!json_is_number(value) || !(degrees >= -most && degrees <= most)) {
        return im_fail(err, IM_ERR_FORMAT, "'gps': '%s' is not a number from %g to %g", key, -most,
                       most);
    }
    *out = degrees;
    return IM_OK;
}

/* ---- facts of the picture ---- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Exactly 2 * n hexadecimal digits; *out_there false when there is no such key. */
static im_code get_hex(const json_t *object, const char *key, size_t n, uint8_t *out,
                       bool *out_there, im_error *err)
{
    const char *text = NULL;
    im_code rc = get_text(object, key, &text, err);
    *out_there = rc == IM_OK && text != NULL;
    if (!*out_there) {
        return rc;
    }
    bool right = strlen(text) == 2 * n;
    for (size_t i = 0; right && i < n; i++) {
        int high = hex_digit(text[2 * i]);
        int low = hex_digit(text[2 * i + 1]);
        right = high >= 0 && low >= 0;
        out[i] = (uint8_t)(right ? (high << 4 | low) & 0xff : 0);
    }
    return right ? IM_OK
                 : im_fail(err, IM_ERR_FORMAT, "'%s' is not %zu hexadecimal digits", key, 2 * n);
}

/* The offset that ends "…T10:11:12+02:00": 'Z', "+02:00" or "+0200" behind the hours. The text is a
 * date that im_value_parse has read. */
static bool read_offset(const char *text, int16_t *out)
{
    const char *zone = strlen(text) > 11 ? strpbrk(text + 11, "Z+-") : NULL;
    *out = 0;
    if (zone == NULL || *zone == 'Z') {
        return zone != NULL;
    }
    const char *end = zone + strlen(zone) - 2;
    int minutes = ((zone[1] - '0') * 10 + zone[2] - '0') * 60 + (end[0] - '0') * 10 + end[1] - '0';
    *out = (int16_t)(zone[0] == '-' ? -minutes : minutes);
    return true;
}

static im_code read_taken(const json_t *object, im_item *item, im_error *err)
{
    const char *text = NULL;
    im_value value;
    im_code rc = get_text(object, "taken", &text, err);
    if (rc != IM_OK || text == NULL) {
        return rc;
    }
    rc = im_value_parse("taken", IM_VALUE_DATE, im_view_from(text), &value, err);
    if (rc == IM_OK) {
        item->has_taken = true;
        item->taken_s = value.date_s;
        item->has_taken_offset = read_offset(text, &item->taken_offset_min);
    }
    return rc;
}

static im_code read_gps(const json_t *object, im_item *item, im_error *err)
{
    const json_t *gps = value_of(object, "gps");
    if (gps == NULL) {
        return IM_OK;
    }
    if (!json_is_object(gps)) {
        return fail_key("gps", "an object {\"latitude\", \"longitude\"}", err);
    }
    im_code rc = get_degrees(gps, "latitude", 90, &item->latitude, err);
    if (rc == IM_OK) {
        rc = get_degrees(gps, "longitude", 180, &item->longitude, err);
    }
    item->has_gps = rc == IM_OK;
    return rc;
}

static im_code read_numbers(const json_t *object, im_item *item, im_error *err)
{
    int64_t bytes = 0;
    int64_t width = 0;
    int64_t height = 0;
    im_code rc = get_int(object, "bytes", INT64_MAX, &bytes, err);
    if (rc == IM_OK) {
        rc = get_int(object, "width", UINT32_MAX, &width, err);
    }
    if (rc == IM_OK) {
        rc = get_int(object, "height", UINT32_MAX, &height, err);
    }
    if (rc == IM_OK) {
        rc = get_int(object, "added_ns", INT64_MAX, &item->added_ns, err);
    }
    item->bytes = (uint64_t)bytes;
    item->width = (uint32_t)width;
    item->height = (uint32_t)height;
    return rc;
}

static im_code read_item(const json_t *object, import_row *row, im_error *err)
{
    im_item *item = &row->item;
    uint8_t phash[8] = {0};
    bool has_phash = false;
    const json_t *partial = value_of(object, "partial");
    im_code rc =
        get_hex(object, "sha256", sizeof(item->sha256), item->sha256, &row->has_sha256, err);
    if (rc == IM_OK) {
        rc = get_hex(object, "phash", sizeof(phash), phash, &has_phash, err);
    }
    for (size_t i = 0; i < sizeof(phash); i++) {
        item->phash = item->phash << 8 | phash[i];
    }
    if (rc == IM_OK && partial != NULL && !json_is_boolean(partial)) {
        rc = fail_key("partial", "true or false", err);
    }
    item->partial = json_is_true(partial);
    if (rc == IM_OK) {
        rc = read_numbers(object, item, err);
    }
    if (rc == IM_OK) {
        rc = copy_text(object, "format", item->format, sizeof(item->format), err);
    }
    if (rc == IM_OK) {
        rc = copy_text(object, "camera", item->camera, sizeof(item->camera), err);
    }
    if (rc == IM_OK) {
        rc = copy_text(object, "lens", item->lens, sizeof(item->lens), err);
    }
    if (rc == IM_OK) {
        rc = read_taken(object, item, err);
    }
    return rc == IM_OK ? read_gps(object, item, err) : rc;
}

/* ---- names ---- */

/* What the library can keep: escaped, and of a very long one the end, which tells more. */
static im_code make_name(const char *text, import_row *row, im_error *err)
{
    im_str whole;
    im_str_init(&whole, SIZE_MAX / 2);
    im_text_escape(&whole, text, strlen(text));
    const char *from = im_str_text(&whole);
    if (whole.size > IM_LIMIT_NAME_BYTES) {
        from += whole.size - IM_LIMIT_NAME_BYTES;
        while ((*from & 0xC0) == 0x80) { /* not in the middle of a character */
            from++;
        }
    }
    im_str_add_c(&row->name, from);
    bool failed = whole.failed || row->name.failed;
    im_str_clear(&whole);
    return failed ? im_fail(err, IM_ERR_NOMEM, "no memory for a name") : IM_OK;
}

static im_code read_names(const json_t *object, uint64_t number, import_row *row, im_error *err)
{
    const char *path = NULL;
    const char *base64 = NULL;
    const char *name = NULL;
    char numbered[32];
    im_code rc = get_text(object, "path", &path, err);
    if (rc == IM_OK) {
        rc = get_text(object, "path_b64", &base64, err);
    }
    if (rc == IM_OK) {
        rc = get_text(object, "name", &name, err);
    }
    if (rc == IM_OK) {
        rc = get_text(object, "key", &row->key, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    name = name != NULL && name[0] != '\0' ? name : NULL;
    (void)snprintf(numbered, sizeof(numbered), "row %llu", (unsigned long long)number);
    row->identity = base64 != NULL ? base64 : path != NULL ? path : name != NULL ? name : row->key;
    return make_name(name != NULL       ? name
                     : path != NULL     ? path
                     : row->key != NULL ? row->key
                                        : numbered,
                     row, err);
}

/* ---- tags, captions, fields ---- */

static im_code get_source(const json_t *object, im_text_source *out, im_error *err)
{
    static const char *const names[] = {
        [IM_SOURCE_USER] = "user", [IM_SOURCE_FILE] = "file", [IM_SOURCE_VLM] = "vlm"};
    const char *text = names[IM_SOURCE_USER];
    im_code rc = get_text(object, "source", &text, err);
    for (size_t i = 0; rc == IM_OK && i < IM_COUNT(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (im_text_source)i;
            return IM_OK;
        }
    }
    return rc == IM_OK ? fail_key("source", "user, file or vlm", err) : rc;
}

/* An array, a value alone, or nothing; *out is new, room for all. */
static im_code open_list(const json_t *object, const char *key, size_t size, void **out,
                         size_t *out_n, im_error *err)
{
    const json_t *list = value_of(object, key);
    *out_n = 0;
    if (list == NULL) {
        return IM_OK;
    }
    if (!json_is_array(list)) {
        return fail_key(key, "an array", err);
    }
    *out_n = json_array_size(list);
    *out = im_alloc_zero(*out_n, size);
    return *out != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for '%s'", key);
}

static im_code read_tag(const json_t *value, import_tag *out, im_error *err)
{
    if (json_is_string(value)) {
        out->name = json_string_value(value);
        out->source = IM_SOURCE_USER;
        return IM_OK;
    }
    im_code rc = get_text(value, "tag", &out->name, err);
    if (rc == IM_OK && out->name == NULL) {
        rc = fail_key("tags", "an array of texts or {\"tag\", \"source\"}", err);
    }
    return rc == IM_OK ? get_source(value, &out->source, err) : rc;
}

static im_code read_caption(const json_t *value, im_caption *out, im_error *err)
{
    const char *kind = "caption";
    const char *text = NULL;
    if (json_is_string(value)) {
        out->text = im_view_of(json_string_value(value), json_string_length(value));
        return IM_OK;
    }
    im_code rc = get_text(value, "text", &text, err);
    if (rc == IM_OK) {
        rc = get_text(value, "kind", &kind, err);
    }
    if (rc == IM_OK) {
        rc = get_text(value, "vlm_model", &out->vlm_model, err);
    }
    if (rc == IM_OK) {
        rc = get_text(value, "prompt_version", &out->prompt_version, err);
    }
    if (rc == IM_OK) {
        rc = get_int(value, "made_ns", INT64_MAX, &out->made_ns, err);
    }
    if (rc == IM_OK) {
        rc = get_source(value, &out->source, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    if (text == NULL || (strcmp(kind, "caption") != 0 && strcmp(kind, "text") != 0)) {
        return fail_key("captions",
                        "an array of texts or {\"kind\": \"caption\"|\"text\", "
                        "\"source\", \"text\"}",
                        err);
    }
    out->kind = kind[0] == 'c' ? IM_CAPTION : IM_VISIBLE_TEXT;
    out->text = im_view_from(text);
    return IM_OK;
}

static im_code read_field(const char *name, const json_t *value, import_field *out, im_error *err)
{
    out->name = name;
    if (json_is_string(value)) {
        out->value.type = IM_VALUE_TEXT;
        out->value.text = im_view_of(json_string_value(value), json_string_length(value));
    } else if (json_is_number(value)) {
        out->value.type = IM_VALUE_NUMBER;
        out->value.number = json_number_value(value);
    } else if (json_is_boolean(value)) {
        out->value.type = IM_VALUE_BOOL;
        out->value.truth = json_is_true(value);
    } else {
        const char *date = json_string_value(json_object_get(value, "date"));
        return date != NULL
                   ? im_value_parse(name, IM_VALUE_DATE, im_view_from(date), &out->value, err)
                   : im_fail(err, IM_ERR_FORMAT,
                             "field '%s' is not a text, number, true, false or {\"date\": \"…\"}",
                             name);
    }
    return IM_OK;
}

static im_code read_fields(const json_t *object, import_row *row, im_error *err)
{
    json_t *fields = json_object_get(object, "fields");
    const char *name = NULL;
    json_t *value = NULL;
    im_code rc = IM_OK;
    if (fields == NULL || json_is_null(fields)) {
        return IM_OK;
    }
    if (!json_is_object(fields)) {
        return fail_key("fields", "an object {\"name\": value}", err);
    }
    row->fields = im_alloc_zero(json_object_size(fields), sizeof(*row->fields));
    if (row->fields == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for 'fields'");
    }
    json_object_foreach(fields, name, value)
    {
        if (!json_is_null(value) && rc == IM_OK) {
            rc = read_field(name, value, &row->fields[row->n_fields++], err);
        }
    }
    return rc;
}

static im_code read_lists(const json_t *object, import_row *row, im_error *err)
{
    void *list = NULL;
    im_code rc = open_list(object, "tags", sizeof(*row->tags), &list, &row->n_tags, err);
    row->tags = list;
    for (size_t i = 0; rc == IM_OK && i < row->n_tags; i++) {
        rc = read_tag(json_array_get(json_object_get(object, "tags"), i), &row->tags[i], err);
    }
    if (rc == IM_OK) {
        list = NULL;
        rc = open_list(object, "captions", sizeof(*row->captions), &list, &row->n_captions, err);
        row->captions = list;
    }
    for (size_t i = 0; rc == IM_OK && i < row->n_captions; i++) {
        rc = read_caption(json_array_get(json_object_get(object, "captions"), i), &row->captions[i],
                          err);
    }
    return rc == IM_OK ? read_fields(object, row, err) : rc;
}

/* What the library would refuse for its own sake: asked here, before anything is written. */
static im_code check_values(const import_row *row, im_error *err)
{
    im_code rc = row->key != NULL ? im_key_check(row->key, err) : IM_OK;
    for (size_t i = 0; rc == IM_OK && i < row->n_tags; i++) {
        rc = im_tag_check(row->tags[i].name, err);
    }
    for (size_t i = 0; rc == IM_OK && i < row->n_captions; i++) {
        rc = im_caption_check(row->captions[i].text, err);
    }
    for (size_t i = 0; rc == IM_OK && i < row->n_fields; i++) {
        rc = im_field_name_check(row->fields[i].name, err);
        if (rc == IM_OK) {
            rc = im_value_check(row->fields[i].name, &row->fields[i].value, err);
        }
    }
    return rc;
}

im_code import_row_read(const char *line, size_t size, uint64_t row, import_row *out, im_error *err)
{
    memset(out, 0, sizeof(*out));
    im_str_init(&out->name, IM_LIMIT_NAME_BYTES);
    if (size == 0) {
        return read_names(NULL, row, out, err);
    }
    im_code rc = im_json_parse(line, size, "the line", &out->json, err);
    if (rc == IM_OK && !json_is_object(out->json)) {
        rc = im_fail(err, IM_ERR_FORMAT, "the line is not a JSON object");
    }
    if (rc == IM_OK) {
        rc = read_item(out->json, out, err);
    }
    if (rc == IM_OK) {
        rc = read_names(out->json, row, out, err);
    }
    if (rc == IM_OK) {
        rc = read_lists(out->json, out, err);
    }
    return rc == IM_OK ? check_values(out, err) : rc;
}

void import_row_clear(import_row *row)
{
    json_decref(row->json);
    im_str_clear(&row->name);
    im_free(row->tags);
    im_free(row->captions);
    im_free(row->fields);
    memset(row, 0, sizeof(*row));
}
