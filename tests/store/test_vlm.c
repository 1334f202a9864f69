/* Answers of a vision-language model that are kept, and lines of what was sent. */
#include "help.h"

#include "base/base.h"
#include "base/fault.h"
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
    im_vlm_send send = {
        .host = "127.0.0.1", .model = "m", .purpose = "rerank", .items = "[17]", .tokens = 100};
    uint64_t ids[3];
    uint64_t tokens = 0;
    uint64_t sends = 0;
    for (size_t i = 0; i < 3; i++) {
        help_ok(im_store_begin_vlm_send(f->store, &send, &ids[i], &err), &err);
    }
    help_ok(im_store_vlm_tokens_since(f->store, 0, &tokens, &sends, &err), &err);
    assert_int_equal(tokens, 300);
    assert_int_equal(sends, 3);
    send = (im_vlm_send){.bytes_sent = 5000, .tokens = 93, .ms = 12, .outcome = "judged"};
    help_ok(im_store_end_vlm_send(f->store, ids[0], &send, &err), &err);
    send.tokens = 0; /* the server told none: those expected stay */
    help_ok(im_store_end_vlm_send(f->store, ids[2], &send, &err), &err);
    send.outcome = NULL; /* not sent after all */
    help_ok(im_store_end_vlm_send(f->store, ids[1], &send, &err), &err);
    help_ok(im_store_vlm_tokens_since(f->store, 0, &tokens, &sends, &err), &err);
    assert_int_equal(tokens, 193);
    assert_int_equal(sends, 2);
    send = (im_vlm_send){.outcome = "failed"}; /* no byte left */
    help_ok(im_store_end_vlm_send(f->store, ids[2], &send, &err), &err);
    help_ok(im_store_vlm_tokens_since(f->store, 0, &tokens, &sends, &err), &err);
    assert_int_equal(tokens, 93);
    help_ok(im_store_vlm_tokens_since(f->store, INT64_MAX, &tokens, &sends, &err), &err);
    assert_int_equal(tokens + sends, 0);
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
        cmocka_unit_test_setup_teardown(folders_may_say_no, set_up, help_fixture_tear_down),
        cmocka_unit_test_setup_teardown(each_failed_allocation_is_told, set_up,
                                        help_fixture_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
