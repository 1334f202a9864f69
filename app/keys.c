/* app/keys.c — API keys: made, listed, revoked, and asked for at the daemon's door. */
#include "app/app_internal.h"
#include "base/hash.h"

#include <errno.h>
#include <sys/random.h>

#define KEY_RANDOM_BYTES 32u

_Static_assert(IM_KEY_TEXT == sizeof(IM_KEY_PREFIX) + 2 * KEY_RANDOM_BYTES, "room of a key");

/* ---- making, listing, revoking ---- */

static im_code make_text(char out[IM_KEY_TEXT], im_error *err)
{
    uint8_t random[KEY_RANDOM_BYTES];
    char hex[IM_SHA256_HEX];
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
        return im_fail_errno(err, errno, "could not get random bytes for a key");
    }
    im_sha256_hex(random, hex); /* as many bytes as a digest has */
    (void)snprintf(out, IM_KEY_TEXT, "%s%s", IM_KEY_PREFIX, hex);
    return IM_OK;
}

im_code im_app_key_add(im_library *library, const char *name, im_key_scope scope, im_new_key *out,
                       im_error *err)
{
    uint8_t hash[IM_SHA256_BYTES];
    im_new_key key = {.scope = scope};
    im_view label = im_view_from(name != NULL ? name : "");
    im_code rc = make_text(key.text, err);
    if (rc == IM_OK) {
        im_sha256_of(key.text, strlen(key.text), hash);
        rc = im_store_add_key(library->store, label, hash, scope, &key.id, err);
    }
    if (rc == IM_OK) {
        *out = key;
    }
    return rc;
}

static bool put_key(void *context, const im_key *key)
{
    im_json_writer *w = context;
    im_json_begin_object(w);
    im_json_put_uint(w, "id", key->id);
    im_json_key(w, "name");
    im_json_string(w, key->name.data, key->name.size);
    im_json_put_string(w, "scope", im_key_scope_name(key->scope));
    answer_put_moment(w, "made", key->made_ns);
    answer_put_moment(w, "revoked", key->revoked_ns);
    im_json_end_object(w);
    return true;
}

im_code im_app_keys_json(im_library *library, im_json_writer *w, im_error *err)
{
    im_json_begin_object(w);
    im_json_key(w, "keys");
    im_json_begin_array(w);
    im_code rc = im_store_each_key(library->store, put_key, w, err);
    im_json_end_array(w);
    im_json_end_object(w);
    return rc;
}

im_code im_app_key_revoke(im_library *library, uint64_t id, im_error *err)
{
    return im_store_revoke_key(library->store, id, err);
}

/* ---- the guard ---- */

typedef struct guard_key {
    uint8_t hash[IM_SHA256_BYTES];
    im_key_scope scope;
} guard_key;

struct im_guard {
    im_store *store; /* its own */
    bool read;       /* … as of: */
    uint64_t version;
    guard_key *keys; /* [n], valid ones */
    size_t n;
    bool any; /* also revoked ones */
};

im_code im_guard_open(const im_places *places, im_guard **out, im_error *err)
{
    im_guard *guard = im_alloc_zero(1, sizeof(*guard));
    if (guard == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for API keys");
    }
    im_code rc = im_store_open(places->library, IM_STORE_READ, &guard->store, err);
    if (rc != IM_OK) {
        im_guard_close(guard);
        return rc;
    }
    *out = guard;
    return IM_OK;
}

void im_guard_close(im_guard *guard)
{
    if (guard != NULL) {
        im_store_close(guard->store);
        im_free(guard->keys);
        im_free(guard);
    }
}

typedef struct guard_read {
    guard_key *keys; /* [IM_LIMIT_KEYS], owned */
    size_t n;
    bool any;
} guard_read;

static bool take_key(void *context, const im_key *key)
{
    guard_read *read = context;
    read->any = true;
    if (key->revoked_ns == 0 && read->n < IM_LIMIT_KEYS) {
        guard_key *slot = &read->keys[read->n++];
        memcpy(slot->hash, key->hash, sizeof(slot->hash));
        slot->scope = key->scope;
    }
    return true;
}

/* The version is asked for first: a key that changes in between is read again next time. */
static im_code read_keys(im_guard *guard, im_error *err)
{
    uint64_t version = 0;
    guard_read read = {0};
    im_code rc = im_store_version(guard->store, &version, err);
    if (rc != IM_OK || (guard->read && version == guard->version)) {
        return rc;
    }
    read.keys = im_alloc_zero(IM_LIMIT_KEYS, sizeof(*read.keys));
    if (read.keys == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for API keys");
    }
    rc = im_store_each_key(guard->store, take_key, &read, err);
    if (rc != IM_OK) {
        im_free(read.keys);
        return rc;
    }
    im_free(guard->keys);
    guard->keys = read.keys;
    guard->n = read.n;
    guard->any = read.any;
    guard->version = version;
    guard->read = true;
    return IM_OK;
}

/* All keys are looked at, whichever is the right one. */
im_code im_guard_look(im_guard *guard, im_view key, im_guard_facts *out, im_error *err)
{
    uint8_t hash[IM_SHA256_BYTES];
    im_guard_facts facts = {.scope = IM_KEY_NONE};
    im_code rc = read_keys(guard, err);
    if (rc != IM_OK) {
        return rc;
    }
    facts.any = guard->any;
    facts.n_valid = guard->n;
    im_sha256_of(key.data != NULL ? key.data : "", key.size, hash);
    for (size_t i = 0; key.data != NULL && i < guard->n; i++) {
        bool same = im_secret_equal(hash, guard->keys[i].hash, sizeof(hash));
        facts.scope = same ? guard->keys[i].scope : facts.scope;
    }
    *out = facts;
    return IM_OK;
}
