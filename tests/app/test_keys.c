/* tests/app/test_keys.c — covers app/keys.c, store/key.c and im_app_socket_path: what a guard lets
 * through, as of now, and each failed allocation. */
#include "base/fault.h"
#include "base/hash.h"
#include "tests/app/help.h"

#include <stdlib.h>
#include <unistd.h>

static help_home home;
static im_error err;

static int set_up(void **state)
{
    (void)state;
    err = (im_error)IM_ERROR_INIT;
    help_home_make(&home);
    help_ok(im_app_init(&home.places, &err), &err);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    help_home_remove(&home);
    return 0;
}

static im_guard_facts look(im_guard *guard, const char *key)
{
    im_guard_facts facts = {0};
    help_ok(im_guard_look(guard, key != NULL ? im_view_from(key) : (im_view){0}, &facts, &err),
            &err);
    return facts;
}

static void a_guard_knows_what_was_made_and_revoked_meanwhile(void **state)
{
    (void)state;
    static const im_key_scope scopes[] = {IM_KEY_READ, IM_KEY_WRITE, IM_KEY_ADMIN, IM_KEY_READ};
    im_new_key keys[IM_COUNT(scopes)];
    im_guard *guard = NULL;
    im_library *library = help_open(&home, true);
    help_ok(im_guard_open(&home.places, &guard, &err), &err);
    assert_false(look(guard, NULL).any);
    assert_int_equal(look(guard, "imago_x").scope, IM_KEY_NONE);
    for (size_t i = 0; i < IM_COUNT(scopes); i++) {
        help_ok(im_app_key_add(library, "n", scopes[i], &keys[i], &err), &err);
        assert_int_equal(strlen(keys[i].text), IM_KEY_TEXT - 1);
        assert_int_equal(look(guard, NULL).n_valid, i + 1);
        for (size_t j = 0; j <= i; j++) {
            assert_int_equal(look(guard, keys[j].text).scope, scopes[j]);
            assert_true(i == j || strcmp(keys[i].text, keys[j].text) != 0);
        }
    }
    char wrong[IM_KEY_TEXT];
    for (size_t i = 0; i < IM_KEY_TEXT - 1; i++) { /* each letter counts, and the length */
        memcpy(wrong, keys[2].text, sizeof(wrong));
        wrong[i] ^= 1;
        assert_int_equal(look(guard, wrong).scope, IM_KEY_NONE);
        wrong[i] = '\0';
        assert_int_equal(look(guard, wrong).scope, IM_KEY_NONE);
    }
    for (size_t i = 0; i < IM_COUNT(scopes); i++) {
        help_ok(im_app_key_revoke(library, keys[i].id, &err), &err);
        help_ok(im_app_key_revoke(library, keys[i].id, &err), &err);
        im_guard_facts facts = look(guard, keys[i].text);
        assert_true(facts.any && facts.scope == IM_KEY_NONE);
        assert_int_equal(facts.n_valid, IM_COUNT(scopes) - 1 - i);
    }
    assert_int_equal(im_app_key_revoke(library, 99, &err), IM_ERR_NOT_FOUND);
    assert_string_equal(err.reason, "key_not_found");
    im_guard_close(guard);
    im_library_close(library);
}

static void a_key_of_a_scope_that_is_not_known_is_none(void **state)
{
    (void)state;
    im_key_scope scope = IM_KEY_NONE;
    assert_false(im_key_scope_of(im_view_from("none"), &scope));
    assert_false(im_key_scope_of(im_view_from("Read"), &scope));
    assert_false(im_key_scope_of(im_view_from(""), &scope));
    assert_int_equal(scope, IM_KEY_NONE);
    for (int i = IM_KEY_READ; i <= IM_KEY_ADMIN; i++) {
        assert_true(im_key_scope_of(im_view_from(im_key_scope_name((im_key_scope)i)), &scope));
        assert_int_equal(scope, i);
    }
}

static void names_and_numbers_of_keys_are_limited(void **state)
{
    (void)state;
    im_new_key key = {.id = 77};
    char name[IM_LIMIT_KEY_NAME_BYTES + 2];
    im_library *library = help_open(&home, true);
    memset(name, 'x', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    static const char *const bad[] = {"a\nb", "\x1b", "\xff", "\x7f"};
    assert_int_equal(im_app_key_add(library, name, IM_KEY_READ, &key, &err), IM_ERR_INVALID);
    for (size_t i = 0; i < IM_COUNT(bad); i++) {
        assert_int_equal(im_app_key_add(library, bad[i], IM_KEY_READ, &key, &err), IM_ERR_INVALID);
    }
    assert_int_equal(key.id, 77);
    name[sizeof(name) - 2] = '\0';
    help_ok(im_app_key_add(library, name, IM_KEY_READ, &key, &err), &err);
    im_store *store = im_library_store(library);
    help_ok(im_store_begin(store, &err), &err);
    im_code rc = IM_OK;
    size_t n = 1;
    for (; rc == IM_OK; n++) {
        rc = im_app_key_add(library, NULL, IM_KEY_READ, &key, &err);
    }
    assert_int_equal(rc, IM_ERR_LIMIT);
    assert_int_equal(n, IM_LIMIT_KEYS + 1);
    help_ok(im_store_commit(store, &err), &err);
    im_library_close(library);
}

static void the_same_hash_twice_is_a_conflict(void **state)
{
    (void)state;
    uint8_t hash[32] = {1};
    uint64_t id = 0;
    im_library *library = help_open(&home, true);
    im_store *store = im_library_store(library);
    help_ok(im_store_add_key(store, im_view_from(""), hash, IM_KEY_READ, &id, &err), &err);
    assert_int_equal(im_store_add_key(store, im_view_from(""), hash, IM_KEY_ADMIN, &id, &err),
                     IM_ERR_CONFLICT);
    im_library_close(library);
}

static im_code use_all(im_guard_facts *out)
{
    im_guard *guard = NULL;
    im_library *library = NULL;
    im_new_key key;
    im_json_writer w;
    im_library_options options = {.places = &home.places, .writable = true};
    im_json_init(&w, 1u << 20);
    im_code rc = im_library_open(&options, &library, &err);
    if (rc == IM_OK) {
        rc = im_app_key_add(library, "n", IM_KEY_WRITE, &key, &err);
    }
    if (rc == IM_OK) {
        rc = im_guard_open(&home.places, &guard, &err);
    }
    if (rc == IM_OK) {
        rc = im_guard_look(guard, im_view_from(key.text), out, &err);
    }
    if (rc == IM_OK) {
        rc = im_app_keys_json(library, &w, &err);
        rc = rc == IM_OK && !im_json_ok(&w) ? IM_ERR_NOMEM : rc;
    }
    if (rc == IM_OK) {
        rc = im_app_key_revoke(library, key.id, &err);
    }
    im_json_clear(&w);
    im_guard_close(guard);
    im_library_close(library);
    return rc;
}

static void each_failed_allocation_lets_nobody_in(void **state)
{
    (void)state;
    bool fired = true;
    size_t nth = 0;
    for (; fired; nth += nth < 40 ? 1 : 7) {
        im_guard_facts facts = {.scope = IM_KEY_NONE};
        err = (im_error)IM_ERROR_INIT;
        im_fault_set(IM_FAULT_ALLOC, nth, 0);
        im_code rc = use_all(&facts);
        fired = im_fault_fired(IM_FAULT_ALLOC);
        im_fault_clear();
        /* SQLite does without some of its memory */
        assert_true(rc == IM_OK || (fired && rc == IM_ERR_NOMEM));
        assert_true(facts.scope == IM_KEY_NONE || facts.scope == IM_KEY_WRITE);
        assert_true(rc != IM_OK || facts.scope == IM_KEY_WRITE);
    }
    assert_true(nth > 20);
}

static void the_socket_follows_from_the_real_path(void **state)
{
    (void)state;
    char *path = NULL;
    char *other = NULL;
    uint8_t digest[IM_SHA256_BYTES];
    char hex[IM_SHA256_HEX];
    char expected[128];
    char linked[256];
    im_places through = {.library = linked};
    assert_int_equal(setenv("XDG_RUNTIME_DIR", "/run/user/7", 1), 0);
    help_ok(im_app_socket_path(&home.places, &path, &err), &err);
    im_sha256_of(home.library, strlen(home.library), digest);
    im_sha256_hex(digest, hex);
    (void)snprintf(expected, sizeof(expected), "/run/user/7/imago/%.32s.sock", hex);
    assert_string_equal(path, expected);
    (void)snprintf(linked, sizeof(linked), "%s/link", home.base);
    assert_int_equal(symlink(home.library, linked), 0);
    help_ok(im_app_socket_path(&through, &other, &err), &err);
    assert_string_equal(other, expected);
    im_free(path);
    im_free(other);
    static const char *const none[] = {"", "relative",
                                       "/ppppppppppppppppppppppppppppppppppppppppppppppppppppppppp"
                                       "ppppppppppppppppppppppppppppppppppppp"};
    for (size_t i = 0; i < IM_COUNT(none); i++) {
        assert_int_equal(setenv("XDG_RUNTIME_DIR", none[i], 1), 0);
        help_ok(im_app_socket_path(&home.places, &path, &err), &err);
        assert_null(path);
    }
    assert_int_equal(unsetenv("XDG_RUNTIME_DIR"), 0);
    help_ok(im_app_socket_path(&home.places, &path, &err), &err);
    assert_null(path);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_guard_knows_what_was_made_and_revoked_meanwhile),
        T(a_key_of_a_scope_that_is_not_known_is_none),
        T(names_and_numbers_of_keys_are_limited),
        T(the_same_hash_twice_is_a_conflict),
        T(each_failed_allocation_lets_nobody_in),
        T(the_socket_follows_from_the_real_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
