/* Answers of a vision-language model that are kept, and lines of what was sent. */
#include "help.h"

#include "base/base.h"
#include "base/fault.h"
#include "base/hash.h"
#include "store/store_internal.h"
#include <stdio.h>
#include <string.h>

static int set_up(void **state)
{
    help_fixture *f = help_fixture_new("/pictures");
    f->model = help_model(f->store, "a");
    help_fixture_fill(f, 3, false);
    *state = f;
    return 0;
}

static void answers_are_kept_by_their_key(void **state)
{
    help_fixture *f = *state;
    uint8_t key[32] = {1};
    uint8_t other[32] = {2};
    char *json = NULL;
    int64_t made = 0;
    im_error err = IM_ERROR_INIT;
    help_ok(im_store_get_vlm_answer(f->store, key, &json, &made, &err), &err);
    assert_null(json);
    help_ok(im_store_put_vlm_answer(f->store, key, "m", "p-1", "{\"s\":1}", &err), &err);
    help_ok(im_store_put_vlm_answer(f->store, key, "m", "p-1", "{\"s\":2}", &err), &err);
    help_ok(im_store_get_vlm_answer(f->store, key, &json, &made, &err), &err);
    assert_string_equal(json, "{\"s\":2}");
    assert_true(made > 0);
    im_free(json);
    help_ok(im_store_get_vlm_answer(f->store, other, &json, &made, &err), &err);
    assert_null(json);
}

static void sends_count_from_before_they_are_sent(void **state)
{
    help_fixture *f = *state;
    im_error err = IM_ERROR_INIT;
    im_vlm_send send = {.host = "127.0.0.1",
                        .model = "m",
                        .purpose = "rerank",
                        .items = "[17]",
                        .tokens = 100,
                        .cost_nano = 5000};
    uint64_t ids[3];
    im_vlm_spent spent = {0};
    for (size_t i = 0; i < 3; i++) {
        help_ok(im_store_begin_vlm_send(f->store, &send, &ids[i], &err), &err);
    }
    help_ok(im_store_vlm_spent_since(f->store, 0, &spent, &err), &err);
    assert_int_equal(spent.tokens, 300);
    assert_int_equal(spent.cost_nano, 15000);
    assert_int_equal(spent.sends, 3);
    send = (im_vlm_send){
        .bytes_sent = 5000, .tokens = 93, .cost_nano = 700, .ms = 12, .outcome = "judged"};
    help_ok(im_store_end_vlm_send(f->store, ids[0], &send, &err), &err);
    send.tokens = 0; /* the server told none: those expected stay */
    help_ok(im_store_end_vlm_send(f->store, ids[2], &send, &err), &err);
    send.outcome = NULL; /* not sent after all */
    help_ok(im_store_end_vlm_send(f->store, ids[1], &send, &err), &err);
    help_ok(im_store_vlm_spent_since(f->store, 0, &spent, &err), &err);
    assert_int_equal(spent.tokens, 193);
    assert_int_equal(spent.cost_nano, 5700);
    assert_int_equal(spent.sends, 2);
    send = (im_vlm_send){.outcome = "failed"}; /* no byte left */
    help_ok(im_store_end_vlm_send(f->store, ids[2], &send, &err), &err);
    help_ok(im_store_vlm_spent_since(f->store, 0, &spent, &err), &err);
    assert_int_equal(spent.tokens, 93);
    assert_int_equal(spent.cost_nano, 700);
    help_ok(im_store_vlm_spent_since(f->store, INT64_MAX, &spent, &err), &err);
    assert_int_equal(spent.tokens + spent.cost_nano + spent.sends, 0);
}

/* The picture's content is named by its hash, which says more than an id when the item is gone. */
static void a_line_names_its_pictures(void **state)
{
    help_fixture *f = *state;
    im_error err = IM_ERROR_INIT;
    char items[64];
    char wanted[256];
    im_item a;
    im_item b;
    help_ok(im_store_get_item(f->store, f->items[0], &a, &err), &err);
    help_ok(im_store_get_item(f->store, f->items[2], &b, &err), &err);
    (void)snprintf(items, sizeof(items), "[%llu,%llu]", (unsigned long long)f->items[2],
                   (unsigned long long)f->items[0]); /* their order stays */
    char hex_a[IM_SHA256_HEX];
    char hex_b[IM_SHA256_HEX];
    im_sha256_hex(a.sha256, hex_a);
    im_sha256_hex(b.sha256, hex_b);
    (void)snprintf(wanted, sizeof(wanted), "[\"%s\",\"%s\"]", hex_b, hex_a);
    static const char *const lists[] = {NULL, "[]"};
    for (size_t i = 0; i < 2; i++) {
        const im_vlm_send send = {.host = "127.0.0.1",
                                  .model = "m",
                                  .purpose = "rerank",
                                  .items = lists[i] != NULL ? lists[i] : items};
        uint64_t id = 0;
        help_ok(im_store_begin_vlm_send(f->store, &send, &id, &err), &err);
        sqlite3_stmt *stmt = NULL;
        assert_int_equal(sqlite3_prepare_v2(f->store->db,
                                            "SELECT pictures FROM vlm_audit ORDER BY id DESC", -1,
                                            &stmt, NULL),
                         SQLITE_OK);
        assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
        assert_string_equal((const char *)sqlite3_column_text(stmt, 0), i == 0 ? wanted : "[]");
        (void)sqlite3_finalize(stmt);
    }
}

static void folders_may_say_no(void **state)
{
    help_fixture *f = *state;
    im_error err = IM_ERROR_INIT;
    bool allowed = false;
    help_ok(im_store_vlm_allowed(f->store, f->items[0], &allowed, &err), &err);
    assert_true(allowed);
    help_ok(im_store_set_root_vlm(f->store, f->root, false, &err), &err);
    help_ok(im_store_vlm_allowed(f->store, f->items[0], &allowed, &err), &err);
    assert_false(allowed);
    help_ok(im_store_set_root_vlm(f->store, f->root, true, &err), &err);
    help_ok(im_store_vlm_allowed(f->store, f->items[0], &allowed, &err), &err);
    assert_true(allowed);
    assert_int_equal(im_store_set_root_vlm(f->store, 99, false, &err), IM_ERR_NOT_FOUND);
}

static void each_failed_allocation_is_told(void **state)
{
    help_fixture *f = *state;
    uint8_t key[32] = {3};
    size_t live = help_reopen(f); /* SQLite keeps statements and pages until it is closed */
    im_code rc = IM_ERR_NOMEM;
    for (size_t nth = 0; rc != IM_OK; nth++) {
        char *json = NULL;
        int64_t made = 0;
        im_error err = IM_ERROR_INIT;
        im_fault_set(IM_FAULT_ALLOC, nth, 0);
        rc = im_store_put_vlm_answer(f->store, key, "m", "p-1", "{}", &err);
        if (rc == IM_OK) {
            rc = im_store_get_vlm_answer(f->store, key, &json, &made, &err);
        }
        assert_true(rc == IM_OK || (rc == IM_ERR_NOMEM && im_fault_fired(IM_FAULT_ALLOC)));
        im_fault_clear();
        im_free(json);
        assert_true(nth < 500);
    }
    assert_int_equal(help_reopen(f), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers_are_kept_by_their_key, set_up,
                                        help_fixture_tear_down),
        cmocka_unit_test_setup_teardown(sends_count_from_before_they_are_sent, set_up,
                                        help_fixture_tear_down),
        cmocka_unit_test_setup_teardown(a_line_names_its_pictures, set_up, help_fixture_tear_down),
        cmocka_unit_test_setup_teardown(folders_may_say_no, set_up, help_fixture_tear_down),
        cmocka_unit_test_setup_teardown(each_failed_allocation_is_told, set_up,
                                        help_fixture_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
