/* store/root.c — the folders that were added. */
#include "base/clock.h"
#include "store/store_internal.h"

void im_root_clear(im_root *root)
{
    im_free(root->path);
    *root = (im_root){0};
}

static im_code find_root(im_store *store, const char *path, uint64_t *out_root, bool *out_recursive,
                         im_error *err)
{
    statement st;
    bool row = false;
    im_code rc = statement_open(store, STORE_SQL_FIND_ROOT, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_blob(&st, path, strlen(path));
    rc = statement_step(&st, &row, err);
    if (rc == IM_OK) {
        *out_root = row ? statement_u64(&st, 0) : 0;
        *out_recursive = row && statement_i64(&st, 1) != 0;
    }
    statement_close(&st);
    return rc;
}

static im_code add_root(im_store *store, const char *path, bool recursive, uint64_t *out_root,
                        im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_ADD_ROOT, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_blob(&st, path, strlen(path));
    statement_put_i64(&st, recursive);
    statement_put_i64(&st, im_clock_wall_ns());
    rc = statement_run(&st, NULL, err);
    if (rc == IM_OK) {
        *out_root = (uint64_t)sqlite3_last_insert_rowid(store->db);
    }
    return rc;
}

static im_code put_root(im_store *store, const char *path, bool recursive, uint64_t *out_root,
                        im_error *err)
{
    uint64_t root = 0;
    bool was_recursive = false;
    im_code rc = find_root(store, path, &root, &was_recursive, err);
    if (rc == IM_OK && root == 0) {
        rc = add_root(store, path, recursive, &root, err);
    } else if (rc == IM_OK && was_recursive != recursive) {
        rc = store_run_u64_i64(store, STORE_SQL_SET_ROOT_RECURSIVE, root, recursive, NULL, err);
    }
    if (rc == IM_OK) {
        *out_root = root;
    }
    return rc;
}

im_code im_store_put_root(im_store *store, const char *path, bool recursive, uint64_t *out_root,
                          im_error *err)
{
    store_write write;
    if (path[0] != '/') {
        return im_fail(err, IM_ERR_INVALID, "folder '%s' is not an absolute path", path);
    }
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, put_root(store, path, recursive, out_root, err), err);
}

static im_code fail_no_root(uint64_t root, im_error *err)
{
    return im_fail(err, IM_ERR_NOT_FOUND, "no added folder has the id %llu",
                   (unsigned long long)root);
}

static im_code set_flag(im_store *store, store_sql sql, uint64_t root, bool value, im_error *err)
{
    store_write write;
    uint64_t rows = 0;
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = store_run_u64_i64(store, sql, root, value, &rows, err);
    if (rc == IM_OK && rows == 0) {
        rc = fail_no_root(root, err);
    }
    return store_write_end(store, &write, rc, err);
}

im_code im_store_set_root_online(im_store *store, uint64_t root, bool online, im_error *err)
{
    return set_flag(store, STORE_SQL_SET_ROOT_ONLINE, root, online, err);
}

im_code im_store_set_root_watch(im_store *store, uint64_t root, bool watch, im_error *err)
{
    return set_flag(store, STORE_SQL_SET_ROOT_WATCH, root, watch, err);
}

im_code im_store_set_root_vlm(im_store *store, uint64_t root, bool allowed, im_error *err)
{
    return set_flag(store, STORE_SQL_SET_ROOT_VLM, root, allowed, err);
}

im_code im_store_count_root(im_store *store, uint64_t root, im_root_counts *out, im_error *err)
{
    statement st = {0};
    bool row = false;
    im_code rc = statement_open(store, STORE_SQL_COUNT_ROOT, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, root);
    rc = statement_step(&st, &row, err);
    if (rc == IM_OK) {
        *out = (im_root_counts){.files = statement_u64(&st, 0),
                                .missing_files = statement_u64(&st, 1),
                                .items = statement_u64(&st, 2),
                                .failures = statement_u64(&st, 3)};
    }
    statement_close(&st);
    return rc;
}

static im_code drop_root(im_store *store, uint64_t root, im_error *err)
{
    uint64_t rows = 0;
    im_root_counts counts = {0};
    im_code rc = store_run_u64(store, STORE_SQL_DROP_ROOT, root, &rows, err);
    if (rc != IM_OK) {
        return rc;
    }
    if (rows == 0) {
        rc = im_store_count_root(store, root, &counts, err);
        if (rc == IM_OK && counts.files == 0) {
            return fail_no_root(root, err);
        }
        return rc != IM_OK ? rc
                           : im_fail(err, IM_ERR_CONFLICT, "folder %llu still has %llu files",
                                     (unsigned long long)root, (unsigned long long)counts.files);
    }
    return store_tell_places(store, err);
}

im_code im_store_drop_root(im_store *store, uint64_t root, im_error *err)
{
    store_write write;
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, drop_root(store, root, err), err);
}

static im_code read_root(const statement *st, im_root *out, im_error *err)
{
    *out = (im_root){
        .id = statement_u64(st, 0),
        .path = statement_strdup(st, 1),
        .recursive = statement_i64(st, 2) != 0,
        .online = statement_i64(st, 3) != 0,
        .watch = statement_i64(st, 4) != 0,
    };
    return out->path != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a path");
}

im_code im_store_each_root(im_store *store, im_store_root_fn fn, void *context, im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_EACH_ROOT, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    bool more = true;
    while (rc == IM_OK && more) {
        im_root root = {0};
        rc = statement_step(&st, &more, err);
        if (rc == IM_OK && more) {
            rc = read_root(&st, &root, err);
        }
        if (rc == IM_OK && more) {
            more = fn(context, &root);
        }
        im_root_clear(&root);
    }
    statement_close(&st);
    return rc;
}

static im_code move_root(im_store *store, uint64_t root, const char *new_path, im_error *err)
{
    statement st;
    uint64_t rows = 0;
    im_code rc = statement_open(store, STORE_SQL_MOVE_ROOT, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, root);
    statement_put_blob(&st, new_path, strlen(new_path));
    rc = statement_run(&st, &rows, err);
    if (rc == IM_OK && rows == 0) {
        rc = fail_no_root(root, err);
    } else if (rc == IM_ERR_CONFLICT) {
        rc = im_fail(err, IM_ERR_CONFLICT, "folder '%s' was added already", new_path);
    }
    return rc == IM_OK ? store_tell_places(store, err) : rc;
}

im_code im_store_move_root(im_store *store, uint64_t root, const char *new_path, im_error *err)
{
    store_write write;
    if (new_path[0] != '/') {
        return im_fail(err, IM_ERR_INVALID, "folder '%s' is not an absolute path", new_path);
    }
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, move_root(store, root, new_path, err), err);
}
