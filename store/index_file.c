/* store/index_file.c — records of the files of an index that are digested whole (FAISS's): what
 * they must be is said here, in the transaction that makes them count, not in the files. */
#include "base/base.h"
#include "store/store_internal.h"
#include <string.h>

#define VECTORS "vectors" /* the vector file's own record: im_store_set_index */

static im_code check_kind(const char *kind, im_error *err)
{
    size_t length = strnlen(kind, sizeof(((im_index_file *)NULL)->kind));
    if (length < 1 || length >= sizeof(((im_index_file *)NULL)->kind) ||
        strcmp(kind, VECTORS) == 0) {
        return im_fail(
            err, IM_ERR_INVALID,
            "kind '%.16s' of an index file, expected 1 to 15 characters, not '" VECTORS "'", kind);
    }
    return IM_OK;
}

static im_code check_file(const im_index_file *file, im_error *err)
{
    im_code rc = check_kind(file->kind, err);
    if (rc != IM_OK) {
        return rc;
    }
    size_t length = strnlen(file->digest, sizeof(file->digest));
    if (length != sizeof(file->digest) - 1 || strspn(file->digest, "0123456789abcdef") != length) {
        return im_fail(err, IM_ERR_INVALID,
                       "digest of index file '%s': expected 64 hexadecimal digits", file->kind);
    }
    if (file->generation < 1) {
        return im_fail(err, IM_ERR_INVALID, "generation 0 of index file '%s', expected at least 1",
                       file->kind);
    }
    return IM_OK;
}

im_code im_store_get_index_file(im_store *store, uint64_t model, const char *kind,
                                im_index_file *out, im_error *err)
{
    statement st;
    bool row = false;
    im_code rc = check_kind(kind, err);
    if (rc == IM_OK) {
        rc = statement_open(store, STORE_SQL_GET_INDEX_FILE, &st, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, model);
    statement_put_text(&st, kind);
    rc = statement_step(&st, &row, err);
    if (rc == IM_OK) {
        memset(out, 0, sizeof(*out));
        memcpy(out->kind, kind, strlen(kind));
        if (row) {
            out->generation = statement_u64(&st, 0);
            out->n_rows = statement_u64(&st, 1);
            out->bytes = statement_u64(&st, 2);
            statement_copy(&st, 3, out->digest, sizeof(out->digest));
            out->change_seq = statement_u64(&st, 4);
        }
    }
    statement_close(&st);
    return rc;
}

static im_code put_file(im_store *store, uint64_t model, const im_index_file *file, im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_PUT_INDEX_FILE, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, model);
    statement_put_text(&st, file->kind);
    statement_put_u64(&st, file->generation);
    statement_put_u64(&st, file->n_rows);
    statement_put_u64(&st, file->bytes);
    statement_put_text(&st, file->digest);
    statement_put_u64(&st, file->change_seq);
    rc = statement_run(&st, NULL, err);
    if (rc == IM_ERR_CONFLICT) {
        rc = im_fail_as(err, IM_REASON_MODEL_NOT_FOUND, "the library has no model of the id %llu",
                        (unsigned long long)model);
    }
    return rc;
}

im_code im_store_put_index_file(im_store *store, uint64_t model, const im_index_file *file,
                                im_error *err)
{
    store_write write;
    im_code rc = check_file(file, err);
    if (rc == IM_OK) {
        rc = store_write_begin(store, &write, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, put_file(store, model, file, err), err);
}

im_code im_store_drop_index_file(im_store *store, uint64_t model, const char *kind, im_error *err)
{
    store_write write;
    im_code rc = check_kind(kind, err);
    if (rc == IM_OK) {
        rc = store_write_begin(store, &write, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    rc = store_run_u64_text(store, STORE_SQL_DROP_INDEX_FILE, model, kind, NULL, err);
    return store_write_end(store, &write, rc, err);
}
