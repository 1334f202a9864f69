/* tests/index/test_flat_faults.c — covers index/flat.c and index/engine_load.c when the module is
 * missing, of another version, or fails in the middle: a program of its own, because a module that
 * was loaded once stays. */
#include "base/fault.h"
#include "help.h"
#include "index/engine_load_internal.h"

/* Before any module is loaded; the tests run in this order. */
static void a_missing_module_is_unsupported_and_says_what_to_do(void **state)
{
    (void)state;
    random_state random = {71};
    test_library library;
    im_index *index = NULL;
    im_index_options options = {.engine = IM_ENGINE_FLAT};
    im_error error = IM_ERROR_INIT;
    library_make(&library, &random, 10, 3, 0);
    setenv("IMAGO_MODULES", "/no/such/folder", 1);
    size_t live = im_live_allocations();
    assert_int_equal(im_index_open(library.folder, &library.state, NULL, &options, &index, &error),
                     IM_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.hint, "IMAGO_MODULES"));
    assert_int_equal(im_live_allocations(), live);
    /* a file of that name that is no module */
    char path[160];
    snprintf(path, sizeof(path), "%.95s/imago-faiss.so", library.folder);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs("not a shared object", file);
    fclose(file);
    setenv("IMAGO_MODULES", library.folder, 1);
    assert_refused(im_index_open(library.folder, &library.state, NULL, &options, &index, err),
                   "unsupported");
    library_free(&library);
    setenv("IMAGO_MODULES", IMAGO_FAKE_FOLDER, 1);
}

static void failures_while_building_are_errors_without_a_leak(void **state)
{
    (void)state;
    random_state random = {72};
    test_library library;
    const char *places[] = {"open", "add"};
    library_make(&library, &random, 100, 3, 0);
    for (size_t i = 0; i < 2; i++) {
        im_index *index = NULL;
        im_index_options options = {.engine = IM_ENGINE_FLAT};
        setenv("IMAGO_FAKE_FAISS", places[i], 1);
        size_t live = im_live_allocations();
        assert_refused(im_index_open(library.folder, &library.state, NULL, &options, &index, err),
                       "no_memory");
        assert_int_equal(im_live_allocations(), live);
    }
    unsetenv("IMAGO_FAKE_FAISS");
    library_free(&library);
}

/* T65: the exact engine answers in its place, and the answer says so. */
static void the_scan_answers_when_faiss_fails_in_a_search(void **state)
{
    (void)state;
    random_state random = {73};
    test_library library;
    test_query query;
    im_hit expected[200];
    im_hit hits[20];
    im_index_answer answer;
    const char *places[] = {"search", "short", "wild", "range", "none"};
    library_make(&library, &random, 200, 16, 10);
    query_make(&query, &random, &library, 2, IM_COMBINE_ANY, false);
    query.query.k = 20;
    query.query.has_floor = true;
    query.query.floor = -100;
    im_index *index = library_open(&library, NULL, IM_ENGINE_FLAT, NULL);
    size_t n = slow_search(index, &library, NULL, &query.query, expected);
    for (size_t i = 0; i < 5; i++) {
        setenv("IMAGO_FAKE_FAISS", places[i], 1);
        size_t live = im_live_allocations();
        assert_ok(im_index_search(index, &query.query, hits, &answer, err));
        assert_hits(hits, &answer, 20, expected, n);
        assert_string_equal(answer.engine, i < 3 ? "scan" : "flat");
        assert_ok(im_index_range(index, &query.query, hits, &answer, err));
        assert_hits(hits, &answer, 20, expected, n);
        assert_string_equal(answer.engine, i == 3 ? "scan" : "flat");
        assert_int_equal(im_live_allocations(), live);
    }
    unsetenv("IMAGO_FAKE_FAISS");
    im_index_close(index);
    query_free(&query);
    library_free(&library);
}

static im_code open_and_search(const test_library *library, const im_index_query *query,
                               im_hit *hits, im_index_answer *answer, im_error *err)
{
    im_index *index = NULL;
    im_index_options options = {.engine = IM_ENGINE_FLAT};
    im_code rc = im_index_open(library->folder, &library->state, NULL, &options, &index, err);
    if (rc == IM_OK) {
        rc = im_index_search(index, query, hits, answer, err);
    }
    if (rc == IM_OK) {
        rc = im_index_range(index, query, hits, answer, err);
    }
    im_index_close(index);
    return rc;
}

static void each_failed_allocation_is_an_error(void **state)
{
    (void)state;
    random_state random = {74};
    test_library library;
    test_query query;
    im_hit hits[20];
    im_index_answer answer;
    im_code rc = IM_ERR_NOMEM;
    library_make(&library, &random, 2000, 16, 0);
    query_make(&query, &random, &library, 2, IM_COMBINE_ALL, false);
    query.query.k = 20;
    query.query.has_floor = true;
    query.query.floor = -100;
    for (size_t nth = 0; rc != IM_OK; nth++) {
        im_error error = IM_ERROR_INIT;
        size_t live = im_live_allocations();
        im_fault_set(IM_FAULT_ALLOC, nth, 0);
        rc = open_and_search(&library, &query.query, hits, &answer, &error);
        assert_int_equal(rc, im_fault_fired(IM_FAULT_ALLOC) ? IM_ERR_NOMEM : IM_OK);
        im_fault_clear();
        assert_int_equal(im_live_allocations(), live);
    }
    query_free(&query);
    library_free(&library);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_missing_module_is_unsupported_and_says_what_to_do),
        cmocka_unit_test(failures_while_building_are_errors_without_a_leak),
        cmocka_unit_test(the_scan_answers_when_faiss_fails_in_a_search),
        cmocka_unit_test(each_failed_allocation_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
