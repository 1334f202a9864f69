/* store/file.c — one row per path: what a scan knows of a file, and which item it holds. */
#include "base/clock.h"
#include "store/store_internal.h"

static im_file_row read_file(const statement *st)
{
    im_file_row row = {
        .id = statement_u64(st, 0),
        .root = statement_u64(st, 1),
        .path = statement_view(st, 2),
        .stamp = {.size = statement_u64(st, 3),
                  .mtime_ns = statement_i64(st, 4),
                  .device = statement_u64(st, 5),
                  .inode = statement_u64(st, 6)},
        .hashed_ns = statement_i64(st, 7),
        .edges = statement_u64(st, 8),
        .item = statement_u64(st, 9),
        .missing = !statement_is_null(st, 10),
        .missing_since_ns = statement_i64(st, 10),
    };
    return row;
}

im_code im_store_find_file(im_store *store, uint64_t root, im_view path, im_file_row *out,
                           im_error *err)
{
    statement st;
    bool row = false;
    im_code rc = statement_open(store, STORE_SQL_FIND_FILE, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, root);
    statement_put_blob(&st, path.data, path.size);
    rc = statement_step(&st, &row, err);
    if (rc == IM_OK) {
        *out = row ? read_file(&st) : (im_file_row){.root = root};
        out->path = path;
    }
    statement_close(&st);
    return rc;
}

/* Takes a bound statement, closes it. */
static im_code each_file(statement *st, im_store_file_fn fn, void *context, im_error *err)
{
    bool more = true;
    im_code rc = IM_OK;
    while (rc == IM_OK && more) {
        rc = statement_step(st, &more, err);
        if (rc == IM_OK && more) {
            im_file_row row = read_file(st);
            more = fn(context, &row);
        }
    }
    statement_close(st);
    return rc;
}

im_code im_store_each_file_of_stamp(im_store *store, const im_file_stamp *stamp,
                                    im_store_file_fn fn, void *context, im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_EACH_FILE_OF_STAMP, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, stamp->inode);
    statement_put_u64(&st, stamp->device);
    statement_put_u64(&st, stamp->size);
    statement_put_i64(&st, stamp->mtime_ns);
    return each_file(&st, fn, context, err);
}

im_code im_store_each_file_of_item(im_store *store, uint64_t item, im_store_file_fn fn,
                                   void *context, im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_EACH_FILE_OF_ITEM, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, item);
    return each_file(&st, fn, context, err);
}

im_code store_bounds_below(im_view folder, im_str *out, im_error *err)
{
    im_str_init(out, SIZE_MAX / 2);
    im_str_add(out, folder.data, folder.size);
    im_str_add_char(out, '/');
    im_str_add(out, folder.data, folder.size);
    im_str_add_char(out, '/' + 1);
    return out->failed ? im_fail(err, IM_ERR_NOMEM, "no memory for a path") : IM_OK;
}

void statement_put_bounds(statement *st, const im_str *bounds)
{
    size_t half = bounds->size / 2;
    statement_put_blob(st, bounds->data, half);
    statement_put_blob(st, bounds->data + half, half);
}

im_code im_store_each_file_of_root(im_store *store, uint64_t root, im_view below,
                                   im_store_file_fn fn, void *context, im_error *err)
{
    statement st;
    im_str bounds;
    while (below.size > 0 && below.data[below.size - 1] == '/') {
        below.size--;
    }
    store_sql sql = below.size > 0 ? STORE_SQL_EACH_FILE_BELOW : STORE_SQL_EACH_FILE_OF_ROOT;
    im_code rc = store_bounds_below(below, &bounds, err);
    if (rc == IM_OK) {
        rc = statement_open(store, sql, &st, err);
    }
    if (rc == IM_OK) {
        statement_put_u64(&st, root);
        if (below.size > 0) {
            statement_put_bounds(&st, &bounds);
        }
        rc = each_file(&st, fn, context, err);
    }
    im_str_clear(&bounds);
    return rc;
}

/* ---- what a change of a file changes about its item ---- */

typedef struct file_state {
    uint64_t item; /* 0: there is no such row */
    bool missing;
} file_state;

/* Takes a bound statement of FILE_STATE or PATH_STATE, closes it. */
static im_code read_state(statement *st, file_state *out, im_error *err)
{
    bool row = false;
    im_code rc = statement_step(st, &row, err);
    if (rc == IM_OK) {
        *out = (file_state){0};
        if (row) {
            *out = (file_state){statement_u64(st, 0), statement_i64(st, 1) != 0};
        }
    }
    statement_close(st);
    return rc;
}

static im_code state_of_path(im_store *store, uint64_t root, im_view path, file_state *out,
                             im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_PATH_STATE, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, root);
    statement_put_blob(&st, path.data, path.size);
    return read_state(&st, out, err);
}

static im_code state_of_file(im_store *store, uint64_t file, file_state *out, im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_FILE_STATE, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, file);
    return read_state(&st, out, err);
}

/* The path is the item's now; `before` is its old row. */
static im_code tell_path(im_store *store, const file_state *before, uint64_t item, im_error *err)
{
    if (before->item == item) {
        return before->missing ? store_tell_meta(store, item, err) : IM_OK;
    }
    im_code rc = store_text_changed(store, item, err);
    if (rc == IM_OK && before->item != 0) {
        rc = store_text_changed(store, before->item, err);
    }
    return rc;
}

static im_code write_file(im_store *store, const im_file_row *file, uint64_t *out_id, im_error *err)
{
    statement st;
    bool row = false;
    im_code rc = statement_open(store, STORE_SQL_PUT_FILE, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, file->root);
    statement_put_blob(&st, file->path.data, file->path.size);
    statement_put_u64(&st, file->stamp.size);
    statement_put_i64(&st, file->stamp.mtime_ns);
    statement_put_u64(&st, file->stamp.device);
    statement_put_u64(&st, file->stamp.inode);
    statement_put_i64(&st, file->hashed_ns);
    statement_put_u64(&st, file->edges);
    statement_put_u64(&st, file->item);
    rc = statement_step(&st, &row, err);
    *out_id = rc == IM_OK && row ? statement_u64(&st, 0) : 0;
    if (rc == IM_OK) {
        rc = statement_run(&st, NULL, err); /* RETURNING: done only after its last row */
    } else {
        statement_close(&st);
    }
    if (rc == IM_ERR_CONFLICT) {
        rc =
            im_fail(err, IM_ERR_CONFLICT, "a file names root %llu or item %llu, which is not there",
                    (unsigned long long)file->root, (unsigned long long)file->item);
    }
    return rc;
}

static im_code put_file(im_store *store, const im_file_row *file, uint64_t *out_id, im_error *err)
{
    uint64_t id = 0;
    file_state before = {0};
    im_code rc = state_of_path(store, file->root, file->path, &before, err);
    if (rc == IM_OK) {
        rc = write_file(store, file, &id, err);
    }
    if (rc == IM_OK) {
        rc = tell_path(store, &before, file->item, err);
    }
    if (rc == IM_OK) {
        rc = store_clear_failure(store, file->root, file->path, err);
    }
    if (rc == IM_OK && out_id != NULL) {
        *out_id = id;
    }
    return rc;
}

im_code im_store_put_file(im_store *store, const im_file_row *file, uint64_t *out_id, im_error *err)
{
    store_write write;
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, put_file(store, file, out_id, err), err);
}

static im_code fail_no_file(uint64_t file, im_error *err)
{
    return im_fail(err, IM_ERR_NOT_FOUND, "no file row has the id %llu", (unsigned long long)file);
}

static im_code set_missing(im_store *store, uint64_t file, bool missing, im_error *err)
{
    statement st;
    file_state before = {0};
    im_code rc = state_of_file(store, file, &before, err);
    if (rc != IM_OK) {
        return rc;
    }
    if (before.item == 0) {
        return fail_no_file(file, err);
    }
    if (before.missing == missing) {
        return IM_OK;
    }
    rc = statement_open(store, STORE_SQL_SET_FILE_MISSING, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, file);
    statement_put_i64(&st, missing);
    statement_put_i64(&st, im_clock_wall_ns());
    rc = statement_run(&st, NULL, err);
    return rc == IM_OK ? store_tell_meta(store, before.item, err) : rc;
}

im_code im_store_set_file_missing(im_store *store, uint64_t file, bool missing, im_error *err)
{
    store_write write;
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, set_missing(store, file, missing, err), err);
}

static im_code drop_file(im_store *store, uint64_t file, im_error *err)
{
    file_state before = {0};
    im_code rc = state_of_file(store, file, &before, err);
    if (rc == IM_OK && before.item == 0) {
        return fail_no_file(file, err);
    }
    if (rc == IM_OK) {
        rc = store_run_u64(store, STORE_SQL_DROP_FILE, file, NULL, err);
    }
    return rc == IM_OK ? store_text_changed(store, before.item, err) : rc;
}

im_code im_store_drop_file(im_store *store, uint64_t file, im_error *err)
{
    store_write write;
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, drop_file(store, file, err), err);
}

/* root + "/" + path, as a C string */
static char *join_path(im_view root, im_view path)
{
    while (root.size > 0 && root.data[root.size - 1] == '/') {
        root.size--;
    }
    char *out = im_alloc(root.size + path.size + 2, 1);
    if (out == NULL) {
        return NULL;
    }
    size_t size = root.size;
    memcpy(out, root.data, root.size);
    if (path.size > 0 || size == 0) {
        out[size++] = '/';
    }
    memcpy(out + size, path.data, path.size);
    out[size + path.size] = '\0';
    return out;
}

im_code im_store_item_path(im_store *store, uint64_t item, char **out_path, bool *out_online,
                           im_error *err)
{
    statement st;
    bool row = false;
    char *path = NULL;
    im_code rc = statement_open(store, STORE_SQL_ITEM_PATH, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, item);
    rc = statement_step(&st, &row, err);
    if (rc == IM_OK && row) {
        path = join_path(statement_view(&st, 0), statement_view(&st, 1));
        if (path == NULL) {
            rc = im_fail(err, IM_ERR_NOMEM, "no memory for a path");
        }
    }
    if (rc == IM_OK) {
        *out_path = path;
        *out_online = row && statement_i64(&st, 2) != 0;
    }
    statement_close(&st);
    return rc;
}
