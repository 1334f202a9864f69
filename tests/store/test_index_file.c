/* tests/store/test_index_file.c — covers store/index_file.c: a record comes back as it was put,
 * over the one before, apart from the vector file's; bad ones are refused; each failed allocation.
 */
#include "base/fault.h"
#include "help.h"
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static im_error err = IM_ERROR_INIT;

static im_index_file file_of(const char *kind, uint64_t generation)
{
    im_index_file file = {.generation = generation,
                          .n_rows = 1000 * generation,
                          .bytes = UINT64_C(1) << 40,
                          .change_seq = generation + 3};
    snprintf(file.kind, sizeof(file.kind), "%s", kind);
    for (size_t i = 0; i < 64; i++) {
        file.digest[i] = "0123456789abcdef"[(i + generation) % 16];
    }
    return file;
}

/* A new library with a model in `folder`, open for writing. */
static im_store *library_in(const char *folder, uint64_t *out_model)
{
    help_create(folder);
    im_store *store = help_open(folder, IM_STORE_WRITE);
    *out_model = help_model(store, "a");
    return store;
}

static void remove_library(char *folder, im_store *store)
{
    im_store_close(store);
    help_folder_remove(folder);
}

static void records_come_back_as_they_were_put(void **state)
{
    (void)state;
    uint64_t model = 0;
    char *folder = help_folder();
    im_store *store = library_in(folder, &model);
    im_index_record vectors = {2, 77};
    im_index_file found;
    help_ok(im_store_set_index(store, model, &vectors, &err), &err);
    help_ok(im_store_get_index_file(store, model, "ivf", &found, &err), &err);
    assert_int_equal(found.generation, 0);
    assert_string_equal(found.kind, "ivf");
    for (uint64_t generation = 1; generation < 3; generation++) {
        im_index_file ivf = file_of("ivf", generation);
        im_index_file hnsw = file_of("hnsw", generation + 5);
        help_ok(im_store_put_index_file(store, model, &ivf, &err), &err);
        help_ok(im_store_put_index_file(store, model, &hnsw, &err), &err);
        help_ok(im_store_get_index_file(store, model, "ivf", &found, &err), &err);
        assert_memory_equal(&found, &ivf, sizeof(ivf));
        help_ok(im_store_get_index_file(store, model, "hnsw", &found, &err), &err);
        assert_memory_equal(&found, &hnsw, sizeof(hnsw));
    }
    help_ok(im_store_drop_index_file(store, model, "ivf", &err), &err);
    help_ok(im_store_drop_index_file(store, model, "ivf", &err), &err);
    help_ok(im_store_get_index_file(store, model, "ivf", &found, &err), &err);
    assert_int_equal(found.generation, 0);
    help_ok(im_store_get_index_file(store, model, "hnsw", &found, &err), &err);
    assert_int_equal(found.generation, 7);
    im_index_record same;
    help_ok(im_store_get_index(store, model, &same, &err), &err);
    assert_memory_equal(&same, &vectors, sizeof(same));
    help_check_clean(store);
    help_check_idle(store);
    remove_library(folder, store);
}

static void bad_records_are_refused(void **state)
{
    (void)state;
    uint64_t model = 0;
    char *folder = help_folder();
    im_store *store = library_in(folder, &model);
    im_index_file found;
    static const char *const kinds[] = {"", "vectors", "sixteen-letters-"};
    for (size_t i = 0; i < 3; i++) {
        im_index_file file = file_of("ivf", 1);
        memcpy(file.kind, kinds[i],
               sizeof(file.kind) < strlen(kinds[i]) + 1 ? sizeof(file.kind) : strlen(kinds[i]) + 1);
        assert_int_equal(im_store_put_index_file(store, model, &file, &err), IM_ERR_INVALID);
        assert_int_equal(im_store_get_index_file(store, model, kinds[i], &found, &err),
                         IM_ERR_INVALID);
        assert_int_equal(im_store_drop_index_file(store, model, kinds[i], &err), IM_ERR_INVALID);
    }
    im_index_file file = file_of("ivf", 1);
    file.digest[63] = 'G';
    assert_int_equal(im_store_put_index_file(store, model, &file, &err), IM_ERR_INVALID);
    file.digest[63] = '\0';
    assert_int_equal(im_store_put_index_file(store, model, &file, &err), IM_ERR_INVALID);
    file = file_of("ivf", 0);
    assert_int_equal(im_store_put_index_file(store, model, &file, &err), IM_ERR_INVALID);
    file = file_of("ivf", 1);
    assert_int_equal(im_store_put_index_file(store, 99, &file, &err), IM_ERR_NOT_FOUND);
    assert_string_equal(err.reason, "model_not_found");
    remove_library(folder, store);
}

static void each_failed_allocation_is_an_error(void **state)
{
    (void)state;
    uint64_t model = 0;
    char *folder = help_memory_folder();
    im_code rc = IM_ERR_NOMEM;
    size_t nth = 0;
    im_store *store = library_in(folder, &model);
    im_store_close(store);
    for (; rc != IM_OK; nth++) {
        store = help_open(folder, IM_STORE_WRITE);
        im_index_file file = file_of("ivf", nth + 1);
        im_index_file found;
        im_fault_set(IM_FAULT_ALLOC, nth, 0);
        rc = im_store_put_index_file(store, model, &file, &err);
        if (rc == IM_OK) {
            rc = im_store_get_index_file(store, model, "ivf", &found, &err);
        }
        if (rc == IM_OK) {
            rc = im_store_drop_index_file(store, model, "ivf", &err);
        }
        bool fired = im_fault_fired(IM_FAULT_ALLOC);
        im_fault_clear();
        assert_int_equal(rc, fired ? IM_ERR_NOMEM : IM_OK);
        help_check_idle(store);
        im_store_close(store);
    }
    print_message("%zu allocations failed in turn\n", nth - 1);
    help_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_back_as_they_were_put),
        cmocka_unit_test(bad_records_are_refused),
        cmocka_unit_test(each_failed_allocation_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
