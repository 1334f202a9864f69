/* store/tag.c — tags of items, with who gave them. */
#include "store/store_internal.h"

static const char *const source_names[] = {
    [IM_SOURCE_USER] = "user",
    [IM_SOURCE_FILE] = "file",
    [IM_SOURCE_VLM] = "vlm",
};

const char *store_text_source_name(im_text_source source)
{
    return source_names[source];
}

im_text_source store_text_source_of(im_view name)
{
    for (size_t i = 0; i < IM_COUNT(source_names); i++) {
        if (im_view_equal_c(name, source_names[i])) {
            return (im_text_source)i;
        }
    }
    return IM_SOURCE_USER; /* the table allows no other */
}

im_code im_tag_check(const char *name, im_error *err)
{
    im_view text = im_view_from(name);
    im_code rc =
        store_check_text(IM_REASON_TAG_INVALID, "a tag", text, IM_LIMIT_TAG_BYTES, true, err);
    if (rc == IM_OK && (text.data[0] == ' ' || text.data[text.size - 1] == ' ')) {
        rc = im_fail_as(err, IM_REASON_TAG_INVALID, "tag '%s' begins or ends with a blank", name);
    }
    return rc;
}

static im_code need_tag(im_store *store, const char *name, uint64_t *out_tag, im_error *err)
{
    statement st;
    bool row = false;
    im_code rc = statement_open(store, STORE_SQL_FIND_TAG, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_text(&st, name);
    rc = statement_step(&st, &row, err);
    if (rc == IM_OK && row) {
        *out_tag = statement_u64(&st, 0);
    }
    statement_close(&st);
    if (rc != IM_OK || row) {
        return rc;
    }
    rc = statement_open(store, STORE_SQL_PUT_TAG, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_text(&st, name);
    rc = statement_run(&st, NULL, err);
    if (rc == IM_OK) {
        *out_tag = (uint64_t)sqlite3_last_insert_rowid(store->db);
    }
    return rc;
}

static im_code put_tag(im_store *store, uint64_t item, const char *name, im_text_source source,
                       im_error *err)
{
    statement st;
    uint64_t tag = 0;
    uint64_t rows = 0;
    im_code rc = store_need_item(store, item, err);
    if (rc == IM_OK) {
        rc = need_tag(store, name, &tag, err);
    }
    if (rc == IM_OK) {
        rc = statement_open(store, STORE_SQL_PUT_ITEM_TAG, &st, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, item);
    statement_put_u64(&st, tag);
    statement_put_text(&st, source_names[source]);
    rc = statement_run(&st, &rows, err);
    return rc == IM_OK && rows > 0 ? store_text_changed(store, item, err) : rc;
}

im_code im_store_put_tag(im_store *store, uint64_t item, const char *name, im_text_source source,
                         im_error *err)
{
    store_write write;
    im_code rc = im_tag_check(name, err);
    if (rc == IM_OK) {
        rc = store_write_begin(store, &write, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, put_tag(store, item, name, source, err), err);
}

static im_code forget_tag(im_store *store, const char *name, im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_FORGET_TAG, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_text(&st, name);
    return statement_run(&st, NULL, err);
}

static im_code drop_tag(im_store *store, uint64_t item, const char *name, im_error *err)
{
    uint64_t rows = 0;
    im_code rc = store_run_u64_text(store, STORE_SQL_DROP_ITEM_TAG, item, name, &rows, err);
    if (rc == IM_OK && rows == 0) {
        return im_fail(err, IM_ERR_NOT_FOUND, "picture %llu has no tag '%s'",
                       (unsigned long long)item, name);
    }
    if (rc == IM_OK) {
        rc = forget_tag(store, name, err);
    }
    return rc == IM_OK ? store_text_changed(store, item, err) : rc;
}

im_code im_store_drop_tag(im_store *store, uint64_t item, const char *name, im_error *err)
{
    store_write write;
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, drop_tag(store, item, name, err), err);
}

im_code im_store_each_tag_of_item(im_store *store, uint64_t item, im_store_tag_of_item_fn fn,
                                  void *context, im_error *err)
{
    statement st;
    bool more = true;
    im_code rc = statement_open(store, STORE_SQL_EACH_TAG_OF_ITEM, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, item);
    while (rc == IM_OK && more) {
        char name[IM_LIMIT_TAG_BYTES + 1];
        rc = statement_step(&st, &more, err);
        if (rc == IM_OK && more) {
            statement_copy(&st, 0, name, sizeof name);
            more = fn(context, name, store_text_source_of(statement_view(&st, 1)));
        }
    }
    statement_close(&st);
    return rc;
}

im_code im_store_each_tag(im_store *store, im_store_tag_fn fn, void *context, im_error *err)
{
    statement st;
    bool more = true;
    im_code rc = statement_open(store, STORE_SQL_EACH_TAG, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    while (rc == IM_OK && more) {
        char name[IM_LIMIT_TAG_BYTES + 1];
        rc = statement_step(&st, &more, err);
        if (rc == IM_OK && more) {
            statement_copy(&st, 0, name, sizeof name);
            more = fn(context, name, statement_u64(&st, 1));
        }
    }
    statement_close(&st);
    return rc;
}
