/* app/export_row.c — one item as a line of items.jsonl. */
#include "app/exchange_internal.h"
#include "base/hash.h"

typedef struct row_writer {
    im_json_writer *w;
    const root_list *roots;
    size_t n; /* entries so far */
    bool no_memory;
} row_writer;

static const char *const source_names[] = {
    [IM_SOURCE_USER] = "user", [IM_SOURCE_FILE] = "file", [IM_SOURCE_VLM] = "vlm"};

static bool count_file(void *context, const im_file_row *file)
{
    row_writer *row = context;
    (void)file;
    return ++row->n < 2;
}

static bool put_file(void *context, const im_file_row *file)
{
    row_writer *row = context;
    char *path = roots_file_path(row->roots, file);
    row->no_memory = path == NULL;
    im_json_begin_object(row->w);
    answer_put_path(row->w, path);
    im_json_end_object(row->w);
    im_free(path);
    return !row->no_memory;
}

/* The user's tags are plain texts, others say where they come from. */
static bool put_tag(void *context, const char *name, im_text_source source)
{
    row_writer *row = context;
    if (source == IM_SOURCE_USER) {
        im_json_string_c(row->w, name);
        return true;
    }
    im_json_begin_object(row->w);
    im_json_put_string(row->w, "tag", name);
    im_json_put_string(row->w, "source", source_names[source]);
    im_json_end_object(row->w);
    return true;
}

static bool put_caption(void *context, const im_caption *caption)
{
    row_writer *row = context;
    im_json_begin_object(row->w);
    im_json_put_string(row->w, "kind", caption->kind == IM_CAPTION ? "caption" : "text");
    im_json_put_string(row->w, "source", source_names[caption->source]);
    if (caption->vlm_model != NULL) {
        im_json_put_string(row->w, "vlm_model", caption->vlm_model);
    }
    if (caption->prompt_version != NULL) {
        im_json_put_string(row->w, "prompt_version", caption->prompt_version);
    }
    im_json_key(row->w, "text");
    im_json_string(row->w, caption->text.data, caption->text.size);
    im_json_put_int(row->w, "made_ns", caption->made_ns);
    im_json_end_object(row->w);
    return true;
}

/* JSON's own types, but for dates: {"date": "2021-06-03"}. */
static bool put_field(void *context, const char *name, const im_value *value)
{
    row_writer *row = context;
    im_str text;
    im_json_key(row->w, name);
    switch (value->type) {
    case IM_VALUE_TEXT:
        im_json_string(row->w, value->text.data, value->text.size);
        break;
    case IM_VALUE_NUMBER:
        im_json_double(row->w, value->number);
        break;
    case IM_VALUE_BOOL:
        im_json_bool(row->w, value->truth);
        break;
    case IM_VALUE_DATE:
        im_str_init(&text, 64);
        im_value_print(&text, value);
        im_json_begin_object(row->w);
        im_json_put_string(row->w, "date", im_str_text(&text));
        im_json_end_object(row->w);
        row->no_memory = row->no_memory || text.failed;
        im_str_clear(&text);
        break;
    }
    return true;
}

static void put_facts(im_json_writer *w, const im_item *item)
{
    char sha256[IM_SHA256_HEX];
    char phash[17];
    im_sha256_hex(item->sha256, sha256);
    (void)snprintf(phash, sizeof(phash), "%016llx", (unsigned long long)item->phash);
    im_json_put_string(w, "format", item->format);
    im_json_put_uint(w, "bytes", item->bytes);
    answer_put_item(w, item);
    im_json_put_string(w, "camera", item->camera[0] != '\0' ? item->camera : NULL);
    im_json_put_string(w, "lens", item->lens[0] != '\0' ? item->lens : NULL);
    answer_put_gps(w, item);
    im_json_put_bool(w, "partial", item->partial);
    im_json_put_string(w, "sha256", sha256);
    im_json_put_string(w, "phash", phash);
    im_json_put_int(w, "added_ns", item->added_ns);
    im_json_put_string(w, "source", item->source[0] != '\0' ? item->source : "file");
}

/* "path", "paths" when there are several, "name" when there is none. */
static im_code put_where(im_store *store, row_writer *row, const im_item *item, im_error *err)
{
    char *path = NULL;
    char *name = NULL;
    bool online = false;
    im_code rc = im_store_item_path(store, item->id, &path, &online, err);
    answer_put_path(row->w, path);
    if (rc == IM_OK && path == NULL) {
        rc = im_store_item_name(store, item->id, &name, err);
        im_json_put_string(row->w, "name", name);
    } else if (rc == IM_OK) {
        row->n = 0;
        rc = im_store_each_file_of_item(store, item->id, count_file, row, err);
        if (rc == IM_OK && row->n > 1) {
            im_json_key(row->w, "paths");
            im_json_begin_array(row->w);
            rc = im_store_each_file_of_item(store, item->id, put_file, row, err);
            im_json_end_array(row->w);
        }
    }
    im_free(path);
    im_free(name);
    return rc;
}

static im_code put_texts(im_store *store, row_writer *row, uint64_t item, im_error *err)
{
    im_json_key(row->w, "tags");
    im_json_begin_array(row->w);
    im_code rc = im_store_each_tag_of_item(store, item, put_tag, row, err);
    im_json_end_array(row->w);
    im_json_key(row->w, "captions");
    im_json_begin_array(row->w);
    if (rc == IM_OK) {
        rc = im_store_each_caption_of_item(store, item, put_caption, row, err);
    }
    im_json_end_array(row->w);
    im_json_key(row->w, "fields");
    im_json_begin_object(row->w);
    if (rc == IM_OK) {
        rc = im_store_each_field_of_item(store, item, put_field, row, err);
    }
    im_json_end_object(row->w);
    return rc;
}

im_code export_row(im_store *store, const root_list *roots, const im_item *item, const char *model,
                   im_json_writer *w, im_error *err)
{
    row_writer row = {.w = w, .roots = roots};
    char *key = NULL;
    im_json_begin_object(w);
    im_json_put_uint(w, "id", item->id);
    im_code rc = put_where(store, &row, item, err);
    if (rc == IM_OK) {
        rc = im_store_key_of_item(store, item->id, &key, err);
    }
    im_json_put_string(w, "key", key);
    put_facts(w, item);
    if (rc == IM_OK) {
        rc = put_texts(store, &row, item->id, err);
    }
    im_json_put_string(w, "model", model);
    im_json_end_object(w);
    im_str_add_char(&w->out, '\n');
    if (rc == IM_OK && (row.no_memory || !im_json_ok(w))) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a line of '%s'", EXCHANGE_ITEMS);
    }
    im_free(key);
    return rc;
}
