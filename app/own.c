/* app/own.c — what users said of an item, as JSON: key, own fields, tags, captions. */
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

static bool put_caption(void *context, const im_caption *caption)
{
    static const char *const sources[] = {
        [IM_SOURCE_USER] = "user", [IM_SOURCE_FILE] = "file", [IM_SOURCE_VLM] = "vlm"};
    im_json_writer *w = context;
    if (caption->kind != IM_CAPTION) {
        return true;
    }
    im_json_begin_object(w);
    im_json_key(w, "text");
    im_json_string(w, caption->text.data, caption->text.size);
    im_json_put_string(w, "source", sources[caption->source]);
    if (caption->vlm_model != NULL) {
        im_json_put_string(w, "model", caption->vlm_model);
    }
    im_json_end_object(w);
    return true;
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
    im_json_key(w, "captions");
    im_json_begin_array(w);
    if (rc == IM_OK) {
        rc = im_store_each_caption_of_item(store, item, put_caption, w, err);
    }
    im_json_end_array(w);
    return rc;
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
