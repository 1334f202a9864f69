/* store/field.c — the users' own typed fields with their registry (one type a name), and the key
 * that is unique in the library. */
#include "store/store_internal.h"

/* ---- the registry ---- */

typedef struct own_field {
    char name[IM_LIMIT_FIELD_NAME_BYTES + 1]; /* as registered */
    im_value_type type;
} own_field;

static im_code read_own_field(const statement *st, own_field *out, im_error *err)
{
    statement_copy(st, 0, out->name, sizeof out->name);
    if (!im_value_type_of(statement_view(st, 1), &out->type)) {
        return store_damaged_row(st->store, "field", 0, "a type that cannot be", err);
    }
    return IM_OK;
}

static im_code find_own_field(im_store *store, const char *name, bool *out_found, own_field *out,
                              im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_FIND_OWN_FIELD, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_text(&st, name);
    rc = statement_step(&st, out_found, err);
    if (rc == IM_OK && *out_found) {
        rc = read_own_field(&st, out, err);
    }
    statement_close(&st);
    return rc;
}

static im_code add_own_field(im_store *store, const char *name, im_value_type type, im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_PUT_OWN_FIELD, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_text(&st, name);
    statement_put_text(&st, im_value_type_name(type));
    return statement_run(&st, NULL, err);
}

static im_code fail_type(const own_field *field, im_value_type type, im_error *err)
{
    im_code rc = im_fail_as(err, IM_REASON_FIELD_TYPE, "field '%s' holds values of type %s, not %s",
                            field->name, im_value_type_name(field->type), im_value_type_name(type));
    im_hint(err, "give another type of value, or drop the field first");
    return rc;
}

/* Finds or registers. */
static im_code need_own_field(im_store *store, const char *name, im_value_type type, own_field *out,
                              im_error *err)
{
    bool found = false;
    im_code rc = find_own_field(store, name, &found, out, err);
    if (rc != IM_OK) {
        return rc;
    }
    if (found) {
        return out->type == type ? IM_OK : fail_type(out, type, err);
    }
    *out = (own_field){.type = type};
    memcpy(out->name, name, strlen(name) + 1); /* its length was checked */
    return add_own_field(store, name, type, err);
}

im_code im_store_put_own_field(im_store *store, const char *name, im_value_type type, im_error *err)
{
    store_write write;
    own_field ignored;
    im_code rc = im_field_name_check(name, err);
    if (rc == IM_OK) {
        rc = store_write_begin(store, &write, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, need_own_field(store, name, type, &ignored, err), err);
}

im_code im_store_each_own_field(im_store *store, im_store_own_field_fn fn, void *context,
                                im_error *err)
{
    statement st;
    bool more = true;
    im_code rc = statement_open(store, STORE_SQL_EACH_OWN_FIELD, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    while (rc == IM_OK && more) {
        own_field field;
        rc = statement_step(&st, &more, err);
        if (rc == IM_OK && more) {
            rc = read_own_field(&st, &field, err);
        }
        if (rc == IM_OK && more) {
            more = fn(context, field.name, field.type);
        }
    }
    statement_close(&st);
    return rc;
}

static im_code run_text(im_store *store, store_sql sql, const char *text, im_error *err)
{
    statement st;
    im_code rc = statement_open(store, sql, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_text(&st, text);
    return statement_run(&st, NULL, err);
}

static im_code drop_own_field(im_store *store, const char *name, im_error *err)
{
    own_field field;
    bool found = false;
    im_code rc = find_own_field(store, name, &found, &field, err);
    if (rc == IM_OK && !found) {
        return im_fail(err, IM_ERR_NOT_FOUND, "no field has the name '%s'", name);
    }
    if (rc == IM_OK) {
        rc = store_tell_own_field(store, field.name, err);
    }
    if (rc == IM_OK) {
        rc = run_text(store, STORE_SQL_DROP_VALUES, field.name, err);
    }
    return rc == IM_OK ? run_text(store, STORE_SQL_DROP_OWN_FIELD, field.name, err) : rc;
}

im_code im_store_drop_own_field(im_store *store, const char *name, im_error *err)
{
    store_write write;
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, drop_own_field(store, name, err), err);
}

/* ---- values ---- */

/* `name` as registered, or "key". */
static im_code put_value(im_store *store, uint64_t item, const char *name, const im_value *value,
                         im_error *err)
{
    statement st;
    uint64_t rows = 0;
    im_code rc = statement_open(store, STORE_SQL_PUT_FIELD, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, item);
    statement_put_text(&st, name);
    statement_put_text(&st, im_value_type_name(value->type));
    store_put_value(&st, value);
    rc = statement_run(&st, &rows, err);
    if (rc == IM_OK && rows > 0) {
        rc = store_tell_meta(store, item, err);
    }
    return rc;
}

static im_code put_field(im_store *store, uint64_t item, const char *name, const im_value *value,
                         im_error *err)
{
    own_field field;
    im_code rc = store_need_item(store, item, err);
    if (rc == IM_OK) {
        rc = need_own_field(store, name, value->type, &field, err);
    }
    return rc == IM_OK ? put_value(store, item, field.name, value, err) : rc;
}

im_code im_store_put_field(im_store *store, uint64_t item, const char *name, const im_value *value,
                           im_error *err)
{
    store_write write;
    im_code rc = im_field_name_check(name, err);
    if (rc == IM_OK) {
        rc = im_value_check(name, value, err);
    }
    if (rc == IM_OK) {
        rc = store_write_begin(store, &write, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, put_field(store, item, name, value, err), err);
}

static im_code drop_value(im_store *store, uint64_t item, const char *name, uint64_t *out_rows,
                          im_error *err)
{
    im_code rc = store_run_u64_text(store, STORE_SQL_DROP_FIELD, item, name, out_rows, err);
    return rc == IM_OK && *out_rows > 0 ? store_tell_meta(store, item, err) : rc;
}

static im_code drop_field(im_store *store, uint64_t item, const char *name, im_error *err)
{
    own_field field;
    bool found = false;
    uint64_t rows = 0;
    im_code rc = find_own_field(store, name, &found, &field, err);
    if (rc == IM_OK && found) {
        rc = drop_value(store, item, field.name, &rows, err);
    }
    if (rc == IM_OK && rows == 0) {
        rc = im_fail(err, IM_ERR_NOT_FOUND, "picture %llu has no field '%s'",
                     (unsigned long long)item, name);
    }
    return rc;
}

im_code im_store_drop_field(im_store *store, uint64_t item, const char *name, im_error *err)
{
    store_write write;
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, drop_field(store, item, name, err), err);
}

im_code im_store_each_field_of_item(im_store *store, uint64_t item, im_store_field_fn fn,
                                    void *context, im_error *err)
{
    statement st;
    bool more = true;
    im_code rc = statement_open(store, STORE_SQL_EACH_FIELD_OF_ITEM, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, item);
    while (rc == IM_OK && more) {
        char name[IM_LIMIT_FIELD_NAME_BYTES + 1];
        im_value value;
        rc = statement_step(&st, &more, err);
        if (rc == IM_OK && more) {
            statement_copy(&st, 0, name, sizeof name);
            if (store_read_value(&st, 1, 2, &value)) {
                more = fn(context, name, &value);
            } else {
                rc = store_damaged_row(store, "item_field", item, "a value that cannot be", err);
            }
        }
    }
    statement_close(&st);
    return rc;
}

/* ---- keys ---- */

im_code im_key_check(const char *key, im_error *err)
{
    return store_check_text(IM_REASON_FIELD_VALUE, "a key", im_view_from(key), IM_LIMIT_KEY_BYTES,
                            true, err);
}

im_code im_store_item_of_key(im_store *store, const char *key, uint64_t *out_item, im_error *err)
{
    statement st;
    bool row = false;
    im_code rc = statement_open(store, STORE_SQL_ITEM_OF_KEY, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_text(&st, key);
    rc = statement_step(&st, &row, err);
    if (rc == IM_OK) {
        *out_item = row ? statement_u64(&st, 0) : 0;
    }
    statement_close(&st);
    return rc;
}

im_code im_store_key_of_item(im_store *store, uint64_t item, char **out_key, im_error *err)
{
    statement st;
    bool row = false;
    char *key = NULL;
    im_code rc = statement_open(store, STORE_SQL_KEY_OF_ITEM, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, item);
    rc = statement_step(&st, &row, err);
    if (rc == IM_OK && row) {
        key = statement_strdup(&st, 0);
        if (key == NULL) {
            rc = im_fail(err, IM_ERR_NOMEM, "no memory for a key");
        }
    }
    statement_close(&st);
    if (rc == IM_OK) {
        *out_key = key;
    }
    return rc;
}

/* The item that had the key goes; what a scan would find again stays remembered as removed. */
static im_code replace_item(im_store *store, uint64_t old, im_error *err)
{
    bool present = false;
    uint64_t ignored = 0;
    im_code rc = store_number_of(store, STORE_SQL_HAS_PRESENT_FILE, old, &present, &ignored, err);
    return rc == IM_OK ? store_remove_item(store, old, present, err) : rc;
}

static im_code put_key(im_store *store, uint64_t item, const char *key, uint64_t *out_replaced,
                       im_error *err)
{
    uint64_t old = 0;
    uint64_t rows = 0;
    im_code rc = store_need_item(store, item, err);
    if (rc == IM_OK && key == NULL) {
        rc = drop_value(store, item, "key", &rows, err);
    } else if (rc == IM_OK) {
        rc = im_store_item_of_key(store, key, &old, err);
        old = old == item ? 0 : old;
        if (rc == IM_OK && old != 0) {
            rc = replace_item(store, old, err);
        }
        if (rc == IM_OK) {
            im_value value = {.type = IM_VALUE_TEXT, .text = im_view_from(key)};
            rc = put_value(store, item, "key", &value, err);
        }
    }
    if (rc == IM_OK && out_replaced != NULL) {
        *out_replaced = old;
    }
    return rc;
}

im_code im_store_put_key(im_store *store, uint64_t item, const char *key, uint64_t *out_replaced,
                         im_error *err)
{
    store_write write;
    im_code rc = key != NULL ? im_key_check(key, err) : IM_OK;
    if (rc == IM_OK) {
        rc = store_write_begin(store, &write, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, put_key(store, item, key, out_replaced, err), err);
}
