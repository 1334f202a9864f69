/* app/own.c — what was said of an item, as JSON: key, own fields, tags, captions, visible text. */
#include "app/app_internal.h"

static void put_value(im_json_writer *w, const im_value *value)
{
    im_str date;
    switch (value->type) {
    case IM_VALUE_TEXT:
        im_json_string(w, value->text.data, value->text.size);
        break;
    case IM_VALUE_NUMBER:
        im_json_double(w, value->number);
        break;
    case IM_VALUE_BOOL:
        im_json_bool(w, value->truth);
        break;
    case IM_VALUE_DATE:
        im_str_init(&date, 64);
        im_value_print(&date, value);
        im_json_string_c(w, im_str_text(&date));
        w->out.failed = w->out.failed || date.failed;
        im_str_clear(&date);
        break;
    }
}

static bool put_field(void *context, const char *name, const im_value *value)
{
    im_json_writer *w = context;
    im_json_key(w, name);
    put_value(w, value);
    return true;
}

static bool put_tag(void *context, const char *name, im_text_source source)
{
    (void)source;
    im_json_string_c(context, name);
    return true;
}

typedef struct texts_of_kind {
    im_json_writer *w;
    im_caption_kind kind;
} texts_of_kind;

/* Source vlm is machine-made: then model and prompt_version say by what. */
static bool put_text(void *context, const im_caption *caption)
{
    static const char *const sources[] = {
        [IM_SOURCE_USER] = "user", [IM_SOURCE_FILE] = "file", [IM_SOURCE_VLM] = "vlm"};
    const texts_of_kind *texts = context;
    im_json_writer *w = texts->w;
    if (caption->kind != texts->kind) {
        return true;
    }
    im_json_begin_object(w);
    im_json_key(w, "text");
    im_json_string(w, caption->text.data, caption->text.size);
    im_json_put_string(w, "source", sources[caption->source]);
    if (caption->vlm_model != NULL) {
        im_json_put_string(w, "model", caption->vlm_model);
    }
    if (caption->prompt_version != NULL) {
        im_json_put_string(w, "prompt_version", caption->prompt_version);
    }
    im_json_end_object(w);
    return true;
}

static im_code put_texts(im_store *store, uint64_t item, const char *key, im_caption_kind kind,
                         im_json_writer *w, im_error *err)
{
    texts_of_kind texts = {w, kind};
    im_json_key(w, key);
    im_json_begin_array(w);
    im_code rc = im_store_each_caption_of_item(store, item, put_text, &texts, err);
    im_json_end_array(w);
    return rc;
}

im_code own_put_json(im_store *store, uint64_t item, im_json_writer *w, im_error *err)
{
    char *key = NULL;
    im_code rc = im_store_key_of_item(store, item, &key, err);
    if (rc != IM_OK) {
        return rc;
    }
    im_json_put_string(w, "key", key);
    im_free(key);
    im_json_key(w, "fields");
    im_json_begin_object(w);
    rc = im_store_each_field_of_item(store, item, put_field, w, err);
    im_json_end_object(w);
    im_json_key(w, "tags");
    im_json_begin_array(w);
    if (rc == IM_OK) {
        rc = im_store_each_tag_of_item(store, item, put_tag, w, err);
    }
    im_json_end_array(w);
    if (rc == IM_OK) {
        rc = put_texts(store, item, "captions", IM_CAPTION, w, err);
    }
    return rc == IM_OK ? put_texts(store, item, "visible_text", IM_VISIBLE_TEXT, w, err) : rc;
}

static bool put_type(void *context, const char *name, im_value_type type)
{
    im_json_put_string(context, name, im_value_type_name(type));
    return true;
}

im_code own_put_registry(im_store *store, im_json_writer *w, im_error *err)
{
    im_json_key(w, "fields");
    im_json_begin_object(w);
    im_code rc = im_store_each_own_field(store, put_type, w, err);
    im_json_end_object(w);
    return rc;
}
