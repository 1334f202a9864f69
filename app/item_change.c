/* app/item_change.c — what users say of one item, as one JSON object: key, tags, own fields,
 * caption. What is not named stays; null takes away (RFC 7396), tags may also be added and removed
 * one by one. It becomes a row as `add --meta` has them. */
#include "app/meta_internal.h"

static im_code read_key(meta_row *row, const json_t *value)
{
    if (!json_is_string(value) && !json_is_null(value)) {
        return meta_json_wrong(&row->error, "key", "text or null", value);
    }
    row->drops_key = json_is_null(value);
    row->key = json_string_value(value);
    return IM_OK;
}

static im_code read_caption(meta_row *row, const json_t *value)
{
    if (!json_is_string(value) && !json_is_null(value)) {
        return meta_json_wrong(&row->error, "caption", "text or null", value);
    }
    row->drops_caption = json_is_null(value);
    row->caption = json_is_null(value)
                       ? (im_view){0}
                       : im_view_of(json_string_value(value), json_string_length(value));
    return IM_OK;
}

/* {"add": […], "remove": […]} */
static im_code read_tag_changes(meta_row *row, const json_t *value)
{
    const json_t *add = json_object_get(value, "add");
    const json_t *remove = json_object_get(value, "remove");
    meta_row removes = {.error = IM_ERROR_INIT};
    if (json_object_size(value) != (size_t)(add != NULL) + (size_t)(remove != NULL) ||
        json_is_null(add) || json_is_null(remove)) {
        return meta_json_wrong(&row->error, "tags", "an array, or {\"add\": […], \"remove\": […]}",
                               value);
    }
    im_code rc = add != NULL ? meta_json_tags(row, add) : IM_OK;
    if (rc == IM_OK && remove != NULL) {
        rc = meta_json_tags(&removes, remove);
        if (rc != IM_OK) {
            row->error = removes.error;
        }
        row->removes = removes.tags; /* owned by the row from here */
        row->n_removes = removes.n_tags;
    }
    return rc;
}

/* An array becomes all tags that users gave. */
static im_code read_tags(meta_row *row, const json_t *value)
{
    if (json_is_object(value)) {
        return read_tag_changes(row, value);
    }
    row->drops_tags = true;
    return meta_json_tags(row, value);
}

static im_code read_fields(meta_row *row, json_t *value)
{
    const char *name = NULL;
    json_t *field = NULL;
    im_code rc = IM_OK;
    if (!json_is_object(value)) {
        return meta_json_wrong(&row->error, "fields", "an object of names and values", value);
    }
    if (json_object_size(value) > IM_LIMIT_META_COLUMNS) {
        return im_fail(&row->error, IM_ERR_LIMIT, "%zu fields, expected at most %u",
                       json_object_size(value), IM_LIMIT_META_COLUMNS);
    }
    row->pairs = im_alloc(IM_MAX(json_object_size(value), (size_t)1), sizeof(*row->pairs));
    if (row->pairs == NULL) {
        return im_fail(&row->error, IM_ERR_NOMEM, "no memory for fields");
    }
    json_object_foreach(value, name, field)
    {
        rc = meta_json_pair(name, field, &row->pairs[row->n_pairs], &row->error);
        row->n_pairs += rc == IM_OK;
        if (rc != IM_OK) {
            break;
        }
    }
    return rc;
}

static im_code read_member(meta_row *row, const char *name, json_t *value)
{
    if (strcmp(name, "key") == 0) {
        return read_key(row, value);
    }
    if (strcmp(name, "tags") == 0) {
        return read_tags(row, value);
    }
    if (strcmp(name, "fields") == 0) {
        return read_fields(row, value);
    }
    if (strcmp(name, "caption") == 0) {
        return read_caption(row, value);
    }
    return im_fail_as(&row->error, IM_REASON_FIELD_NAME,
                      "'%.60s' is none of key, tags, fields, caption", name);
}

/* The sentence names what was read. */
static im_code placed(const meta_row *row, const char *what, im_error *err)
{
    im_code rc = im_fail(err, row->error.code, "%s: %s", what, row->error.message);
    if (err != NULL) {
        err->reason = row->error.reason;
    }
    if (row->error.hint[0] != '\0') {
        im_hint(err, "%s", row->error.hint);
    }
    return rc;
}

/* A zeroed row; to be cleared in each case. */
static im_code read_change(const im_item_change *change, uint64_t item, meta_row *row,
                           im_error *err)
{
    const char *name = NULL;
    json_t *value = NULL;
    row->id = item;
    im_error cause = IM_ERROR_INIT;
    im_code rc =
        im_json_parse(change->json.data, change->json.size, change->name, &row->json, &cause);
    if (rc == IM_ERR_FORMAT) { /* a wrong request, not a damaged file */
        return im_fail_as(err, IM_REASON_FIELD_VALUE, "%s", cause.message);
    }
    if (rc != IM_OK) {
        return im_fail(err, rc, "%s", cause.message);
    }
    if (!json_is_object(row->json)) {
        return im_fail_as(err, IM_REASON_FIELD_VALUE,
                          "%s: expected an object with key, tags, fields or caption", change->name);
    }
    json_object_foreach(row->json, name, value)
    {
        rc = read_member(row, name, value);
        if (rc != IM_OK) {
            break;
        }
    }
    if (rc == IM_OK) {
        rc = meta_row_check_values(row, &row->error);
    }
    return rc == IM_OK ? IM_OK : placed(row, change->name, err);
}

static im_code use(im_library *library, uint64_t item, const im_item_change *change,
                   bool only_check, im_error *err)
{
    meta_row row = {.error = IM_ERROR_INIT};
    im_code rc = read_change(change, item, &row, err);
    if (rc == IM_OK) {
        rc = meta_apply_one(library->store, &row, only_check, change->may_take_key, err);
    }
    meta_row_clear(&row);
    return rc;
}

im_code im_app_change_item(im_library *library, uint64_t item, const im_item_change *change,
                           im_error *err)
{
    return use(library, item, change, false, err);
}

im_code item_change_check(im_library *library, const im_item_change *change, bool *out_has_key,
                          im_error *err)
{
    meta_row row = {.error = IM_ERROR_INIT};
    im_code rc = read_change(change, 0, &row, err);
    *out_has_key = row.key != NULL;
    meta_row_clear(&row);
    return rc == IM_OK ? use(library, 0, change, true, err) : rc;
}
