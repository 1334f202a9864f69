/* app/own_fields.c — the users' own fields as the library registers them. */
#include "app/app_internal.h"

/* One list of types in two rooms, which do not know each other. */
_Static_assert((int)IM_FIELD_TEXT == (int)IM_VALUE_TEXT &&
                   (int)IM_FIELD_NUMBER == (int)IM_VALUE_NUMBER &&
                   (int)IM_FIELD_DATE == (int)IM_VALUE_DATE &&
                   (int)IM_FIELD_BOOL == (int)IM_VALUE_BOOL,
               "the types of fields are those of values");

bool own_fields_add(own_fields *fields, const char *name, im_value_type type)
{
    if (fields->n == fields->capacity) {
        size_t capacity = fields->capacity > 0 ? 2 * fields->capacity : 8;
        im_own_field *grown = im_realloc(fields->fields, capacity, sizeof(*grown));
        if (grown == NULL) {
            return false;
        }
        fields->fields = grown;
        fields->capacity = capacity;
    }
    char *copy = im_strdup(name);
    if (copy == NULL) {
        return false;
    }
    fields->fields[fields->n++] = (im_own_field){copy, (im_field_type)type};
    return true;
}

typedef struct load_context {
    own_fields *fields;
    bool no_memory;
} load_context;

static bool take_field(void *context, const char *name, im_value_type type)
{
    load_context *load = context;
    load->no_memory = !own_fields_add(load->fields, name, type);
    return !load->no_memory;
}

im_code own_fields_load(im_store *store, own_fields *out, im_error *err)
{
    load_context load = {out, false};
    own_fields_clear(out);
    im_code rc = im_store_each_own_field(store, take_field, &load, err);
    return rc == IM_OK && load.no_memory
               ? im_fail(err, IM_ERR_NOMEM, "no memory for the names of fields")
               : rc;
}

const im_own_field *own_fields_find(const own_fields *fields, const char *name)
{
    for (size_t i = 0; i < fields->n; i++) {
        if (im_ascii_same_word(fields->fields[i].name, name)) {
            return &fields->fields[i];
        }
    }
    return NULL;
}

void own_fields_clear(own_fields *fields)
{
    for (size_t i = 0; i < fields->n; i++) {
        im_free((void *)(uintptr_t)fields->fields[i].name);
    }
    im_free(fields->fields);
    *fields = (own_fields){0};
}
