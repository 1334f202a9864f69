/* app/meta_read.c — one reader for both forms, and what every row must be before the library is
 * asked. */
#include "app/meta_internal.h"

struct meta_reader {
    meta_source *source;
    meta_csv *csv; /* NULL: JSON lines */
    im_str line;   /* of JSON */
};

/* ---- rows ---- */

void meta_row_clear(meta_row *row)
{
    json_decref(row->json);
    im_free(row->text);
    im_free(row->pairs);
    im_free(row->tags);
    im_free(row->removes);
    *row = (meta_row){.error = IM_ERROR_INIT};
}

meta_word meta_word_of(const char *name)
{
    static const char *const words[] = {"", "path", "id", "key", "tags", "caption"};
    for (size_t i = 1; i < IM_COUNT(words); i++) {
        if (im_ascii_same_word(name, words[i])) {
            return (meta_word)i;
        }
    }
    return META_WORD_FIELD;
}

bool meta_row_id(meta_row *row, const char *text)
{
    if (im_item_id_parse(text, &row->id)) {
        return true;
    }
    (void)!im_fail(&row->error, IM_ERR_INVALID, "'%s' is no id of an item, expected a number",
                   text);
    return false;
}

static im_code check_names(const meta_row *row, im_error *err)
{
    if (row->path == NULL && row->id == 0 && row->key == NULL) {
        im_code rc = im_fail(err, IM_ERR_INVALID, "names no item: expected a path, id or key");
        im_hint(err, "a path is that of a picture, relative to this file's folder");
        return rc;
    }
    if (row->path != NULL && row->id != 0) {
        return im_fail(err, IM_ERR_INVALID, "names its item by path and by id, expected one");
    }
    if (row->path != NULL && row->path[0] == '\0') {
        return im_fail(err, IM_ERR_INVALID, "the path is empty text");
    }
    if (row->drops_key && row->path == NULL && row->id == 0) {
        return im_fail(err, IM_ERR_INVALID, "names no item: the key is null");
    }
    return IM_OK;
}

static im_code check_fields(const meta_row *row, im_error *err)
{
    for (size_t i = 0; i < row->n_pairs; i++) {
        for (size_t j = 0; j < i; j++) {
            if (im_ascii_same_word(row->pairs[i].name, row->pairs[j].name)) {
                return im_fail_as(err, IM_REASON_FIELD_NAME, "field '%s' is given twice",
                                  row->pairs[i].name);
            }
        }
    }
    return IM_OK;
}

im_code meta_row_check_values(const meta_row *row, im_error *err)
{
    im_code rc = check_fields(row, err);
    if (rc == IM_OK && row->key != NULL) {
        rc = im_key_check(row->key, err);
    }
    for (size_t i = 0; i < row->n_tags && rc == IM_OK; i++) {
        rc = im_tag_check(row->tags[i], err);
    }
    for (size_t i = 0; i < row->n_removes && rc == IM_OK; i++) {
        rc = im_tag_check(row->removes[i], err);
    }
    if (rc == IM_OK && row->caption.data != NULL) {
        rc = im_caption_check(row->caption, err);
    }
    for (size_t i = 0; i < row->n_pairs && rc == IM_OK; i++) {
        const meta_pair *pair = &row->pairs[i];
        rc = im_field_name_check(pair->name, err);
        if (rc == IM_OK && pair->kind != META_DROP) {
            rc = im_value_check(pair->name, &pair->value, err);
        }
    }
    return rc;
}

void meta_row_check(meta_row *row)
{
    if (row->error.code == IM_OK && check_names(row, &row->error) == IM_OK) {
        (void)!meta_row_check_values(row, &row->error);
    }
}

/* ---- values and errors ---- */

im_view meta_trim(im_view text)
{
    while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text = im_view_of(text.data + 1, text.size - 1);
    }
    while (text.size > 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t')) {
        text.size--;
    }
    return text;
}

im_code meta_cell_value(const char *field, im_value_type type, im_view cell, im_value *out,
                        im_error *err)
{
    char word[8];
    im_view text = type == IM_VALUE_TEXT ? cell : meta_trim(cell);
    if (type == IM_VALUE_BOOL && text.size <= sizeof(word)) {
        for (size_t i = 0; i < text.size; i++) {
            word[i] = im_ascii_lower(text.data[i]);
        }
        text = im_view_of(word, text.size);
    }
    return im_value_parse(field, type, text, out, err);
}

void meta_error_place(im_error *error, const char *file, uint64_t line)
{
    im_error found = *error;
    (void)!im_fail(error, found.code, "%s:%llu: %s", file, (unsigned long long)line, found.message);
    error->reason = found.reason;
    im_hint(error, "%s", found.hint);
}

/* ---- the reader ---- */

static bool ends_with(const char *path, const char *end)
{
    size_t size = strlen(path);
    size_t n = strlen(end);
    return size > n && im_ascii_same_word(path + size - n, end);
}

im_code meta_reader_open(const char *path, meta_reader **out, im_error *err)
{
    bool csv = ends_with(path, ".csv");
    if (!csv && !ends_with(path, ".jsonl") && !ends_with(path, ".ndjson")) {
        im_code rc =
            im_fail(err, IM_ERR_INVALID, "'%s': expected a name that ends in .jsonl or .csv", path);
        im_hint(err, "the name says which form the file has");
        return rc;
    }
    meta_reader *reader = im_alloc_zero(1, sizeof(*reader));
    if (reader == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory to read '%s'", path);
    }
    im_str_init(&reader->line, IM_LIMIT_META_LINE_BYTES);
    im_code rc = meta_source_open(path, &reader->source, err);
    if (rc == IM_OK && csv) {
        rc = meta_csv_open(reader->source, &reader->csv, err);
    }
    if (rc != IM_OK) {
        meta_reader_close(reader);
        return rc;
    }
    *out = reader;
    return IM_OK;
}

void meta_reader_close(meta_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    meta_csv_close(reader->csv);
    meta_source_close(reader->source);
    im_str_clear(&reader->line);
    im_free(reader);
}

im_code meta_reader_next(meta_reader *reader, meta_row *row, bool *out_more, im_error *err)
{
    *row = (meta_row){.error = IM_ERROR_INIT};
    im_code rc = reader->csv != NULL
                     ? meta_csv_next(reader->csv, row, out_more, err)
                     : meta_json_next(reader->source, &reader->line, row, out_more, err);
    if (rc == IM_OK && *out_more) {
        meta_row_check(row);
    }
    if (rc == IM_OK && row->error.code == IM_ERR_NOMEM) {
        if (err != NULL) {
            *err = row->error;
        }
        rc = IM_ERR_NOMEM;
    }
    return rc;
}

const meta_column *meta_reader_columns(const meta_reader *reader, size_t *out_n)
{
    *out_n = 0;
    return reader->csv != NULL ? meta_csv_columns(reader->csv, out_n) : NULL;
}
