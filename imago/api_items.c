/* imago/api_items.c — the public C API over app/: what an application says of items. */
#include "imago/api_internal.h"

_Static_assert((int)IMAGO_VALUE_TEXT == (int)IM_VALUE_TEXT &&
                   (int)IMAGO_VALUE_NUMBER == (int)IM_VALUE_NUMBER &&
                   (int)IMAGO_VALUE_DATE == (int)IM_VALUE_DATE &&
                   (int)IMAGO_VALUE_BOOL == (int)IM_VALUE_BOOL,
               "types of the two enums are the same");

/* A call that writes: what is wrong with its arguments, and its turn. */
static imago_code begin(imago_library *library, bool arguments, imago_error *error)
{
    if (library == NULL || !arguments) {
        return api_refuse(error, "a library and the texts of the call are needed");
    }
    if (!library->writable) {
        return api_refuse(error, "the library was opened with IMAGO_READ_ONLY");
    }
    (void)pthread_mutex_lock(&library->lock);
    return IMAGO_OK;
}

static imago_code end(imago_library *library, im_code rc, const im_error *err, imago_error *error)
{
    (void)pthread_mutex_unlock(&library->lock);
    return api_hand_over(rc, err, error);
}

static im_code read_value(const char *name, const imago_value *given, im_value *out, im_error *err)
{
    *out = (im_value){.type = (im_value_type)given->type};
    switch (given->type) {
    case IMAGO_VALUE_NUMBER:
        out->number = given->number;
        return IM_OK;
    case IMAGO_VALUE_BOOL:
        out->truth = given->truth != 0;
        return IM_OK;
    case IMAGO_VALUE_TEXT:
    case IMAGO_VALUE_DATE:
        if (given->text == NULL) {
            return im_fail_as(err, IM_REASON_FIELD_VALUE, "field '%s': the text is NULL", name);
        }
        return im_value_parse(name, out->type, im_view_from(given->text), out, err);
    }
    return im_fail_as(err, IM_REASON_FIELD_VALUE, "field '%s': %d is no type of a value", name,
                      (int)given->type);
}

imago_code imago_item_set_field(imago_library *library, uint64_t item, const char *name,
                                const imago_value *value, imago_error *error)
{
    im_error err = IM_ERROR_INIT;
    im_value inside;
    if (value == NULL) {
        return api_refuse(error, "a value is needed");
    }
    imago_code code = begin(library, name != NULL, error);
    if (code != IMAGO_OK) {
        return code;
    }
    im_code rc = read_value(name, value, &inside, &err);
    if (rc == IM_OK) {
        rc = im_store_put_field(im_library_store(library->library), item, name, &inside, &err);
    }
    return end(library, rc, &err, error);
}

imago_code imago_item_drop_field(imago_library *library, uint64_t item, const char *name,
                                 imago_error *error)
{
    im_error err = IM_ERROR_INIT;
    imago_code code = begin(library, name != NULL, error);
    if (code != IMAGO_OK) {
        return code;
    }
    im_code rc = im_store_drop_field(im_library_store(library->library), item, name, &err);
    return end(library, rc, &err, error);
}

imago_code imago_item_set_key(imago_library *library, uint64_t item, const char *key,
                              uint64_t *out_replaced, imago_error *error)
{
    im_error err = IM_ERROR_INIT;
    imago_code code = begin(library, true, error);
    if (code != IMAGO_OK) {
        return code;
    }
    im_code rc =
        im_store_put_key(im_library_store(library->library), item, key, out_replaced, &err);
    return end(library, rc, &err, error);
}

imago_code imago_library_find_key(imago_library *library, const char *key, uint64_t *out_item,
                                  imago_error *error)
{
    im_error err = IM_ERROR_INIT;
    if (library == NULL || key == NULL || out_item == NULL) {
        return api_refuse(error, "library, key and out_item are needed");
    }
    (void)pthread_mutex_lock(&library->lock);
    im_code rc = im_store_item_of_key(im_library_store(library->library), key, out_item, &err);
    return end(library, rc, &err, error);
}

imago_code imago_item_add_tag(imago_library *library, uint64_t item, const char *tag,
                              imago_error *error)
{
    im_error err = IM_ERROR_INIT;
    imago_code code = begin(library, tag != NULL, error);
    if (code != IMAGO_OK) {
        return code;
    }
    im_code rc =
        im_store_put_tag(im_library_store(library->library), item, tag, IM_SOURCE_USER, &err);
    return end(library, rc, &err, error);
}

imago_code imago_item_remove_tag(imago_library *library, uint64_t item, const char *tag,
                                 imago_error *error)
{
    im_error err = IM_ERROR_INIT;
    imago_code code = begin(library, tag != NULL, error);
    if (code != IMAGO_OK) {
        return code;
    }
    im_code rc = im_store_drop_tag(im_library_store(library->library), item, tag, &err);
    return end(library, rc, &err, error);
}

imago_code imago_item_json(imago_library *library, uint64_t item, char **out_json,
                           imago_error *error)
{
    return api_tell(library, item, im_app_show_json, out_json, error);
}
