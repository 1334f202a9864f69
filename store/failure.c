/* store/failure.c — files that could not be taken in, so that unchanged ones are not tried again.
 */
#include "store/store_internal.h"

static im_code put_failure(im_store *store, const im_failure *failure, im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_PUT_FAILURE, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, failure->root);
    statement_put_blob(&st, failure->path.data, failure->path.size);
    statement_put_text(&st, failure->reason);
    statement_put_text(&st, failure->message);
    statement_put_u64(&st, failure->stamp.size);
    statement_put_i64(&st, failure->stamp.mtime_ns);
    statement_put_u64(&st, failure->stamp.device);
    statement_put_u64(&st, failure->stamp.inode);
    statement_put_i64(&st, failure->when_ns);
    return statement_run(&st, NULL, err);
}

im_code im_store_put_failure(im_store *store, const im_failure *failure, im_error *err)
{
    store_write write;
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, put_failure(store, failure, err), err);
}

/* The row of base/reasons.def of that name; a name of a newer program is a general one. */
static im_reason reason_of_name(const char *name)
{
    for (size_t i = 0; i < IM_REASON_COUNT; i++) {
        if (strcmp(im_reason_name((im_reason)i), name) == 0) {
            return (im_reason)i;
        }
    }
    return IM_REASON_FORMAT;
}

static void read_error(const statement *st, im_error *out)
{
    char name[64];
    char message[sizeof out->message];
    statement_copy(st, 0, name, sizeof name);
    statement_copy(st, 1, message, sizeof message);
    im_code code = im_fail_as(out, reason_of_name(name), "%s", message);
    (void)code;
}

im_code im_store_find_failure(im_store *store, uint64_t root, im_view path,
                              const im_file_stamp *stamp, bool *out_known, im_error *out_failure,
                              im_error *err)
{
    statement st;
    bool row = false;
    im_code rc = statement_open(store, STORE_SQL_FIND_FAILURE, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, root);
    statement_put_blob(&st, path.data, path.size);
    statement_put_u64(&st, stamp->size);
    statement_put_i64(&st, stamp->mtime_ns);
    statement_put_u64(&st, stamp->device);
    statement_put_u64(&st, stamp->inode);
    rc = statement_step(&st, &row, err);
    if (rc == IM_OK) {
        *out_known = row;
        if (row && out_failure != NULL) {
            read_error(&st, out_failure);
        }
    }
    statement_close(&st);
    return rc;
}

static im_code tell_failure(const statement *st, im_store_failure_fn fn, void *context,
                            bool *out_more, im_error *err)
{
    char *reason = statement_strdup(st, 2);
    char *message = statement_strdup(st, 3);
    im_code rc = IM_OK;
    if (reason == NULL || message == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a failure's sentence");
    } else {
        im_failure failure = {
            .root = statement_u64(st, 0),
            .path = statement_view(st, 1),
            .reason = reason,
            .message = message,
            .stamp = {.size = statement_u64(st, 4),
                      .mtime_ns = statement_i64(st, 5),
                      .device = statement_u64(st, 6),
                      .inode = statement_u64(st, 7)},
            .when_ns = statement_i64(st, 8),
        };
        *out_more = fn(context, &failure);
    }
    im_free(reason);
    im_free(message);
    return rc;
}

im_code im_store_each_failure(im_store *store, im_store_failure_fn fn, void *context, im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_EACH_FAILURE, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    bool more = true;
    while (rc == IM_OK && more) {
        rc = statement_step(&st, &more, err);
        if (rc == IM_OK && more) {
            rc = tell_failure(&st, fn, context, &more, err);
        }
    }
    statement_close(&st);
    return rc;
}

im_code store_clear_failure(im_store *store, uint64_t root, im_view path, im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_CLEAR_FAILURE, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_u64(&st, root);
    statement_put_blob(&st, path.data, path.size);
    return statement_run(&st, NULL, err);
}

im_code im_store_clear_failure(im_store *store, uint64_t root, im_view path, im_error *err)
{
    store_write write;
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    return store_write_end(store, &write, store_clear_failure(store, root, path, err), err);
}
