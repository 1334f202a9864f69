/* store/item.c — one row per picture, by content; and what was removed. */
#include "base/clock.h"
#include "store/store_internal.h"
#include <math.h>

static im_code read_item(const statement *st, im_item *out, im_error *err)
{
    im_view sha256 = statement_view(st, 1);
    uint64_t id = statement_u64(st, 0);
    if (statement_i64(st, 15) != 1 || sha256.size != sizeof out->sha256) {
        return store_damaged_row(st->store, "item", id, "its checksum is wrong", err);
    }
    *out = (im_item){
        .id = id,
        .bytes = statement_u64(st, 2),
        .width = (uint32_t)statement_i64(st, 4),
        .height = (uint32_t)statement_i64(st, 5),
        .phash = statement_u64(st, 6),
        .partial = statement_i64(st, 7) != 0,
        .has_taken = !statement_is_null(st, 8),
        .taken_s = statement_i64(st, 8),
        .has_taken_offset = !statement_is_null(st, 9),
        .taken_offset_min = (int16_t)statement_i64(st, 9),
        .has_gps = !statement_is_null(st, 10) && !statement_is_null(st, 11),
        .latitude = statement_f64(st, 10),
        .longitude = statement_f64(st, 11),
        .added_ns = statement_i64(st, 14),
    };
    memcpy(out->sha256, sha256.data, sizeof out->sha256);
    statement_copy(st, 3, out->format, sizeof out->format);
    statement_copy(st, 12, out->camera, sizeof out->camera);
    statement_copy(st, 13, out->lens, sizeof out->lens);
    statement_copy(st, 16, out->source, sizeof out->source);
    return IM_OK;
}

im_code im_store_find_item(im_store *store, const uint8_t sha256[32], uint64_t *out_item,
                           im_error *err)
{
    statement st;
    bool row = false;
    im_code rc = statement_open(store, STORE_SQL_FIND_ITEM, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_blob(&st, sha256, 32);
    rc = statement_step(&st, &row, err);
    if (rc == IM_OK) {
        *out_item = row ? statement_u64(&st, 0) : 0;
    }
    statement_close(&st);
    return rc;
}

static void put_i64_or_null(statement *st, bool has, int64_t value)
{
    if (has) {
        statement_put_i64(st, value);
    } else {
        statement_put_null(st);
    }
}

static void put_f64_or_null(statement *st, bool has, double value)
{
    if (has) {
        statement_put_f64(st, value);
    } else {
        statement_put_null(st);
    }
}

static im_code put_item(im_store *store, const im_item *item, uint64_t *out_item, im_error *err)
{
    statement st;
    /* SQLite keeps a NaN as NULL, which would not be what the checksum is of */
    bool gps = item->has_gps && isfinite(item->latitude) && isfinite(item->longitude);
    im_code rc = statement_open(store, STORE_SQL_PUT_ITEM, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_blob(&st, item->sha256, sizeof item->sha256);
    statement_put_u64(&st, item->bytes);
    statement_put_text(&st, item->format);
    statement_put_i64(&st, item->width);
    statement_put_i64(&st, item->height);
    statement_put_u64(&st, item->phash);
    statement_put_i64(&st, item->partial);
    put_i64_or_null(&st, item->has_taken, item->taken_s);
    put_i64_or_null(&st, item->has_taken_offset, item->taken_offset_min);
    put_f64_or_null(&st, gps, item->latitude);
    put_f64_or_null(&st, gps, item->longitude);
    statement_put_text(&st, item->camera);
    statement_put_text(&st, item->lens);
    statement_put_i64(&st, item->added_ns);
    statement_put_text(&st, item->source[0] != '\0' ? item->source : "file");
    rc = statement_run(&st, NULL, err);
    if (rc == IM_OK) {
        *out_item = (uint64_t)sqlite3_last_insert_rowid(store->db);
    } else if (rc == IM_ERR_CONFLICT) {
        rc = im_fail(err, IM_ERR_CONFLICT, "a picture of that content is in the library already");
    }
    return rc;
}

static im_code check_source(const char *source, im_error *err)
{
    static const char *const known[] = {"", "file", "upload", "import"};
    for (size_t i = 0; i < IM_COUNT(known); i++) {
        if (strcmp(source, known[i]) == 0) {
            return IM_OK;
        }
    }
    return im_fail(err, IM_ERR_INVALID, "a picture's source is '%s', expected file, upload, import",
                   source);
}

im_code im_store_put_item(im_store *store, const im_item *item, uint64_t *out_item, im_error *err)
{
    store_write write;
    im_code rc = check_source(item->source, err);
    if (rc == IM_OK) {
        rc = store_write_begin(store, &write, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, put_item(store, item, out_item, err), err);
}

static im_code fail_no_item(uint64_t id, im_error *err)
{
    im_code rc = im_fail_as(err, IM_REASON_ITEM_NOT_FOUND, "no picture has the id %llu",
                            (unsigned long long)id);
    im_hint(err, "ids are printed by 'imago search'; removed ones are never used again");
    return rc;
}

im_code im_store_get_item(im_store *store, uint64_t id, im_item *out, im_error *err)
{
    statement st;
    bool row = false;
    im_code rc = statement_open(store, STORE_SQL_GET_ITEM, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, id);
    rc = statement_step(&st, &row, err);
    if (rc == IM_OK) {
        rc = row ? read_item(&st, out, err) : fail_no_item(id, err);
    }
    statement_close(&st);
    return rc;
}

im_code store_need_item(im_store *store, uint64_t item, im_error *err)
{
    bool found = false;
    uint64_t ignored = 0;
    im_code rc = store_number_of(store, STORE_SQL_HAS_ITEM, item, &found, &ignored, err);
    return rc == IM_OK && !found ? fail_no_item(item, err) : rc;
}

/* ---- names of items without a file ---- */

static im_code set_name(im_store *store, uint64_t item, const char *name, im_error *err)
{
    uint64_t rows = 0;
    im_code rc = store_run_u64_text(store, STORE_SQL_SET_ITEM_NAME, item, name, &rows, err);
    if (rc == IM_OK && rows == 0) {
        return fail_no_item(item, err);
    }
    return rc == IM_OK ? store_text_changed(store, item, err) : rc;
}

im_code im_store_set_item_name(im_store *store, uint64_t item, const char *name, im_error *err)
{
    store_write write;
    im_code rc = IM_OK;
    if (name[0] != '\0') {
        rc = store_check_text(IM_REASON_FIELD_VALUE, "a picture's name", im_view_from(name),
                              IM_LIMIT_NAME_BYTES, true, err);
    }
    if (rc == IM_OK) {
        rc = store_write_begin(store, &write, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, set_name(store, item, name, err), err);
}

im_code im_store_item_name(im_store *store, uint64_t item, char **out_name, im_error *err)
{
    statement st;
    bool row = false;
    im_code rc = statement_open(store, STORE_SQL_ITEM_NAME, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, item);
    rc = statement_step(&st, &row, err);
    if (rc == IM_OK && !row) {
        rc = fail_no_item(item, err);
    }
    char *name = rc == IM_OK ? statement_strdup(&st, 0) : NULL;
    if (rc == IM_OK && name == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a picture's name");
    }
    statement_close(&st);
    if (rc == IM_OK) {
        *out_name = name;
    }
    return rc;
}

/* ---- removing ---- */

im_code store_remove_item(im_store *store, uint64_t id, bool remember, im_error *err)
{
    static const store_sql steps[] = {STORE_SQL_BURY_SLOTS, STORE_SQL_TELL_REMOVAL};
    im_code rc = store_need_item(store, id, err);
    if (rc == IM_OK && remember) {
        rc =
            store_run_u64_i64(store, STORE_SQL_REMEMBER_REMOVED, id, im_clock_wall_ns(), NULL, err);
    }
    for (size_t i = 0; rc == IM_OK && i < IM_COUNT(steps); i++) {
        rc = store_run_u64(store, steps[i], id, NULL, err);
    }
    if (rc == IM_OK) {
        rc = store_run_u64(store, STORE_SQL_REMOVE_ITEM, id, NULL, err); /* takes its rows along */
    }
    return rc == IM_OK ? store_text_noted(store, id, err) : rc;
}

im_code im_store_remove_item(im_store *store, uint64_t id, im_error *err)
{
    store_write write;
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, store_remove_item(store, id, true, err), err);
}

im_code im_store_was_removed(im_store *store, const uint8_t sha256[32], bool *out_removed,
                             im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_WAS_REMOVED, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_blob(&st, sha256, 32);
    rc = statement_step(&st, out_removed, err);
    statement_close(&st);
    return rc;
}

im_code im_store_forget_removed(im_store *store, const uint8_t sha256[32], im_error *err)
{
    store_write write;
    statement st;
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = statement_open(store, STORE_SQL_FORGET_REMOVED, &st, err);
    if (rc == IM_OK) {
        statement_put_blob(&st, sha256, 32);
        rc = statement_run(&st, NULL, err);
    }
    return store_write_end(store, &write, rc, err);
}

im_code im_store_each_item(im_store *store, uint64_t after, im_store_item_fn fn, void *context,
                           im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_EACH_ITEM, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, after);
    bool more = true;
    while (rc == IM_OK && more) {
        im_item item;
        rc = statement_step(&st, &more, err);
        if (rc == IM_OK && more) {
            rc = read_item(&st, &item, err);
        }
        if (rc == IM_OK && more) {
            more = fn(context, &item);
        }
    }
    statement_close(&st);
    return rc;
}
