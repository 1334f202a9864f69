/* tests/store/test_store.c — the plain way through every function of the door. */
#include "base/fault.h"
#include "base/memory.h"
#include "tests/store/help.h"
#include <stdio.h>
#include <string.h>

static int set_up(void **state)
{
    *state = help_folder();
    help_create(*state);
    return 0;
}

static int tear_down(void **state)
{
    help_folder_remove(*state);
    return 0;
}

static void a_new_library_is_empty_and_sound(void **state)
{
    im_store *store = help_open(*state, IM_STORE_READ);
    im_store_counts counts;
    im_error err = IM_ERROR_INIT;
    help_ok(im_store_count(store, 0, &counts, &err), &err);
    assert_int_equal(counts.items + counts.files + counts.embeddings + counts.change_seq, 0);
    help_check_clean(store);
    im_store_close(store);
}

static void what_is_put_is_read_back(void **state)
{
    im_store *store = help_open(*state, IM_STORE_WRITE);
    im_error err = IM_ERROR_INIT;
    uint64_t root = help_root(store, "/photos");
    uint64_t model = help_model(store, "m");
    for (uint64_t n = 0; n < 10; n++) {
        assert_int_equal(help_put(store, root, model, n, n), n + 1);
    }
    for (uint64_t n = 0; n < 10; n++) {
        im_item expected = help_item(n);
        im_item item;
        float vector[HELP_DIM];
        float wanted[HELP_DIM];
        uint64_t slot = 99;
        char *path = NULL;
        bool online = false;
        expected.id = n + 1;
        help_ok(im_store_get_item(store, n + 1, &item, &err), &err);
        assert_memory_equal(item.sha256, expected.sha256, 32);
        assert_int_equal(item.phash, expected.phash);
        assert_string_equal(item.camera, expected.camera);
        help_ok(im_store_get_embedding(store, n + 1, model, vector, HELP_DIM, &slot, &err), &err);
        help_vector(n, wanted, HELP_DIM);
        assert_memory_equal(vector, wanted, sizeof wanted);
        assert_int_equal(slot, n);
        help_ok(im_store_item_path(store, n + 1, &path, &online, &err), &err);
        assert_true(online);
        im_free(path);
    }
    help_check_clean(store);
    im_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_new_library_is_empty_and_sound, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_put_is_read_back, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
