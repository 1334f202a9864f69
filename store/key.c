/* store/key.c — API keys: what each may do, by the hash of the key.
 *
 * A plain SHA-256 is enough. What makes slow, salted hashes needful for passwords is that people
 * choose them, so that they can be guessed; a key is 256 random bits, and whoever reads the hashes
 * is as far from a key as without them. */
#include "base/clock.h"
#include "store/store_internal.h"

static const char *const scope_names[] = {"none", "read", "write", "admin"};

const char *im_key_scope_name(im_key_scope scope)
{
    return scope_names[scope];
}

bool im_key_scope_of(im_view name, im_key_scope *out)
{
    for (size_t i = IM_KEY_READ; i <= IM_KEY_ADMIN; i++) {
        if (im_view_equal_c(name, scope_names[i])) {
            *out = (im_key_scope)i;
            return true;
        }
    }
    return false;
}

static im_code add_key(im_store *store, im_view name, const uint8_t hash[32], im_key_scope scope,
                       uint64_t *out_id, im_error *err)
{
    statement st = {0};
    bool row = false;
    uint64_t n = 0;
    im_code rc = store_number(store, STORE_SQL_COUNT_KEYS, &n, err);
    if (rc == IM_OK && n >= IM_LIMIT_KEYS) {
        return im_fail(err, IM_ERR_LIMIT, "the library has %llu API keys, the limit is %u",
                       (unsigned long long)n, IM_LIMIT_KEYS);
    }
    if (rc == IM_OK) {
        rc = statement_open(store, STORE_SQL_ADD_KEY, &st, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    statement_put_text_view(&st, name);
    statement_put_blob(&st, hash, 32);
    statement_put_text(&st, im_key_scope_name(scope));
    statement_put_i64(&st, im_clock_wall_ns());
    rc = statement_step(&st, &row, err);
    if (rc == IM_OK) {
        *out_id = statement_u64(&st, 0);
        rc = statement_step(&st, &row, err);
    }
    statement_close(&st);
    return rc;
}

im_code im_store_add_key(im_store *store, im_view name, const uint8_t hash[32], im_key_scope scope,
                         uint64_t *out_id, im_error *err)
{
    store_write write;
    uint64_t id = 0;
    im_code rc = IM_OK;
    if (name.size > 0) {
        rc = store_check_text(IM_REASON_INVALID, "the name of a key", name, IM_LIMIT_KEY_NAME_BYTES,
                              true, err);
    }
    if (rc == IM_OK) {
        rc = store_write_begin(store, &write, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    rc = store_write_end(store, &write, add_key(store, name, hash, scope, &id, err), err);
    if (rc == IM_OK) {
        *out_id = id;
    }
    return rc;
}

static bool tell_key(const statement *st, im_store_key_fn fn, void *context)
{
    im_view hash = statement_view(st, 2);
    im_key key = {.id = statement_u64(st, 0),
                  .name = statement_view(st, 1),
                  .hash = (const uint8_t *)hash.data,
                  .made_ns = statement_i64(st, 4),
                  .revoked_ns = statement_i64(st, 5)};
    bool known = im_key_scope_of(statement_view(st, 3), &key.scope);
    if (!known && key.revoked_ns == 0) {
        key.revoked_ns = key.made_ns;
    }
    return hash.size != 32 || fn(context, &key);
}

im_code im_store_each_key(im_store *store, im_store_key_fn fn, void *context, im_error *err)
{
    statement st;
    im_code rc = statement_open(store, STORE_SQL_EACH_KEY, &st, err);
    if (rc != IM_OK) {
        return rc;
    }
    bool more = true;
    while (rc == IM_OK && more) {
        rc = statement_step(&st, &more, err);
        if (rc == IM_OK && more) {
            more = tell_key(&st, fn, context);
        }
    }
    statement_close(&st);
    return rc;
}

im_code im_store_revoke_key(im_store *store, uint64_t id, im_error *err)
{
    store_write write;
    uint64_t rows = 0;
    im_code rc = store_write_begin(store, &write, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = store_run_u64_i64(store, STORE_SQL_REVOKE_KEY, id, im_clock_wall_ns(), &rows, err);
    if (rc == IM_OK && rows == 0) {
        rc = im_fail_as(err, IM_REASON_KEY_NOT_FOUND, "no API key has the id %llu",
                        (unsigned long long)id);
        im_hint(err, "'imago key list' shows those that there are");
    }
    return store_write_end(store, &write, rc, err);
}

im_code im_store_version(im_store *store, uint64_t *out_version, im_error *err)
{
    return store_number(store, STORE_SQL_DATA_VERSION, out_version, err);
}
