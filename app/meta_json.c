/* app/meta_json.c — rows of JSON lines: one object a line. JSON's types are the fields' types; what
 * JSON lacks, a date, is {"date": "2024-05-01"}. The row keeps the parsed tree and borrows from it.
 */
#include "app/meta_internal.h"

#define EXACT_INTEGER (INT64_C(1) << 53) /* beyond, a double cannot hold every one */

/* ---- lines ---- */

/* The next line without its end; longer ones are read to their end and marked. */
static im_code read_line(meta_source *source, im_str *line, bool *out_any, bool *out_long,
                         im_error *err)
{
    im_view piece = {0};
    im_str_reset(line);
    *out_any = false;
    *out_long = false;
    do {
        im_code rc = meta_source_next(source, &piece, err);
        if (rc != IM_OK) {
            return rc;
        }
        *out_any = *out_any || piece.size > 0;
        *out_long = *out_long || piece.size > IM_LIMIT_META_LINE_BYTES - line->size;
        if (!*out_long) {
            im_str_add(line, piece.data, piece.size);
        }
    } while (piece.size > 0 && piece.data[piece.size - 1] != '\n');
    while (line->size > 0 && strchr("\r\n", line->data[line->size - 1]) != NULL) {
        line->data[--line->size] = '\0';
    }
    if (line->failed) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a line of '%s'", meta_source_name(source));
    }
    return IM_OK;
}

static bool is_blank(const im_str *line)
{
    const char *text = im_str_text(line);
    return strspn(text, " \t\r\n") == line->size;
}

/* ---- values ---- */

im_code meta_json_wrong(im_error *err, const char *name, const char *expected, const json_t *found)
{
    static const char *const kinds[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array", [JSON_STRING] = "text",
        [JSON_INTEGER] = "a number", [JSON_REAL] = "a number",  [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",      [JSON_NULL] = "null",
    };
    return im_fail_as(err, IM_REASON_FIELD_VALUE, "'%s': found %s, expected %s", name,
                      kinds[json_typeof(found)], expected);
}

static im_code read_date(const char *name, const json_t *object, im_value *out, im_error *err)
{
    const json_t *date = json_object_get(object, "date");
    if (json_object_size(object) != 1 || !json_is_string(date)) {
        return meta_json_wrong(err, name, "text, a number, true, false, null or {\"date\": …}",
                               object);
    }
    return im_value_parse(name, IM_VALUE_DATE,
                          im_view_of(json_string_value(date), json_string_length(date)), out, err);
}

static im_code read_integer(const char *name, json_int_t number, im_value *out, im_error *err)
{
    if (number > EXACT_INTEGER || number < -EXACT_INTEGER) {
        im_code rc = im_fail_as(err, IM_REASON_FIELD_VALUE,
                                "field '%s': the number %lld has too many digits to be kept", name,
                                (long long)number);
        im_hint(err, "give it as text: \"%lld\"", (long long)number);
        return rc;
    }
    *out = (im_value){.type = IM_VALUE_NUMBER, .number = (double)number};
    return IM_OK;
}

im_code meta_json_pair(const char *name, const json_t *value, meta_pair *pair, im_error *err)
{
    *pair = (meta_pair){.name = name, .kind = META_VALUE};
    switch (json_typeof(value)) {
    case JSON_STRING:
        pair->kind = META_TEXT;
        pair->value.text = im_view_of(json_string_value(value), json_string_length(value));
        return IM_OK;
    case JSON_INTEGER:
        return read_integer(name, json_integer_value(value), &pair->value, err);
    case JSON_REAL:
        pair->value = (im_value){.type = IM_VALUE_NUMBER, .number = json_real_value(value)};
        return IM_OK;
    case JSON_TRUE:
    case JSON_FALSE:
        pair->value = (im_value){.type = IM_VALUE_BOOL, .truth = json_is_true(value)};
        return IM_OK;
    case JSON_NULL:
        pair->kind = META_DROP;
        return IM_OK;
    case JSON_OBJECT:
        return read_date(name, value, &pair->value, err);
    case JSON_ARRAY:
        break;
    }
    return meta_json_wrong(err, name, "text, a number, true, false, null or {\"date\": …}", value);
}

/* ---- words ---- */

im_code meta_json_tags(meta_row *row, const json_t *value)
{
    if (json_is_null(value)) {
        row->drops_tags = true;
        return IM_OK;
    }
    if (!json_is_array(value)) {
        return meta_json_wrong(&row->error, "tags", "an array of texts", value);
    }
    size_t n = json_array_size(value);
    row->tags = im_alloc(IM_MAX(n, 1), sizeof(*row->tags));
    if (row->tags == NULL) {
        return im_fail(&row->error, IM_ERR_NOMEM, "no memory for a line");
    }
    for (; row->n_tags < n; row->n_tags++) {
        const json_t *tag = json_array_get(value, row->n_tags);
        if (!json_is_string(tag)) {
            return meta_json_wrong(&row->error, "tags", "texts in the array", tag);
        }
        row->tags[row->n_tags] = json_string_value(tag);
    }
    return IM_OK;
}

static im_code read_id(meta_row *row, const json_t *value)
{
    if (json_is_integer(value) && json_integer_value(value) > 0) {
        row->id = (uint64_t)json_integer_value(value);
        return IM_OK;
    }
    if (json_is_string(value)) {
        return meta_row_id(row, json_string_value(value)) ? IM_OK : row->error.code;
    }
    return meta_json_wrong(&row->error, "id", "the number of an item", value);
}

static im_code read_word(meta_row *row, meta_word word, const char *name, const json_t *value)
{
    bool drop = json_is_null(value);
    if (word == META_WORD_ID) {
        return read_id(row, value);
    }
    if (word == META_WORD_TAGS) {
        return meta_json_tags(row, value);
    }
    if (!json_is_string(value) && (!drop || word == META_WORD_PATH)) {
        return meta_json_wrong(&row->error, name, "text", value);
    }
    if (word == META_WORD_PATH) {
        row->path = json_string_value(value);
    } else if (word == META_WORD_KEY) {
        row->drops_key = drop;
        row->key = drop ? NULL : json_string_value(value);
    } else {
        row->drops_caption = drop;
        row->caption =
            drop ? (im_view){0} : im_view_of(json_string_value(value), json_string_length(value));
    }
    return IM_OK;
}

/* ---- rows ---- */

static im_code read_object(meta_row *row)
{
    const char *name = NULL;
    json_t *value = NULL;
    unsigned seen = 0;
    size_t n = json_object_size(row->json);
    if (n > IM_LIMIT_META_COLUMNS) {
        return im_fail(&row->error, IM_ERR_LIMIT, "%zu fields, expected at most %u", n,
                       IM_LIMIT_META_COLUMNS);
    }
    row->pairs = im_alloc(IM_MAX(n, 1), sizeof(*row->pairs));
    if (row->pairs == NULL) {
        return im_fail(&row->error, IM_ERR_NOMEM, "no memory for a line");
    }
    json_object_foreach(row->json, name, value)
    {
        meta_word word = meta_word_of(name);
        im_code rc = IM_OK;
        if (word == META_WORD_FIELD) {
            rc = meta_json_pair(name, value, &row->pairs[row->n_pairs++], &row->error);
        } else if ((seen & 1u << word) != 0) {
            rc = im_fail(&row->error, IM_ERR_INVALID, "'%s' is given twice", name);
        } else {
            seen |= 1u << word;
            rc = read_word(row, word, name, value);
        }
        if (rc != IM_OK) {
            return rc;
        }
    }
    return IM_OK;
}

/* The parser counts lines of its own text, which is always line 1 here. */
static void shorten(im_error *error)
{
    static const char start[] = "JSON: line 1 ";
    im_error found = *error;
    if (strncmp(found.message, start, sizeof(start) - 1) == 0) {
        (void)!im_fail(error, found.code, "%s", found.message + sizeof(start) - 1);
    }
}

static void read_row(meta_row *row, const im_str *line, bool too_long)
{
    if (too_long) {
        (void)!im_fail(&row->error, IM_ERR_LIMIT, "the line has more than %u bytes",
                       IM_LIMIT_META_LINE_BYTES);
        return;
    }
    if (im_json_parse(line->data, line->size, "JSON", &row->json, &row->error) != IM_OK) {
        shorten(&row->error);
        return;
    }
    if (!json_is_object(row->json)) {
        (void)!im_fail(&row->error, IM_ERR_FORMAT, "expected an object as {\"path\": …}");
        return;
    }
    (void)!read_object(row);
}

im_code meta_json_next(meta_source *source, im_str *line, meta_row *row, bool *out_more,
                       im_error *err)
{
    bool any = false;
    bool too_long = false;
    do {
        row->line = meta_source_line(source);
        im_code rc = read_line(source, line, &any, &too_long, err);
        if (rc != IM_OK) {
            return rc;
        }
    } while (any && !too_long && is_blank(line));
    *out_more = any;
    if (any) {
        row->bytes = line->size;
        read_row(row, line, too_long);
    }
    return IM_OK;
}
