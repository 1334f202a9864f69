/* tests/index/test_flat.c — covers index/flat.c, index/engine_load.c and the FAISS module: its
 * answers equal the scan's hit by hit, and what it throws ends as a sentence. */
#include "help.h"
#include "index/engine_load_internal.h"
#include <math.h>

static void check_engines(const test_library *library, const uint64_t *alive, test_query *query)
{
    size_t k = query->query.k;
    im_hit *by_scan = malloc(k * sizeof(im_hit));
    im_hit *by_flat = malloc(k * sizeof(im_hit));
    im_index_answer scan_answer;
    im_index_answer flat_answer;
    assert_non_null(by_scan);
    assert_non_null(by_flat);
    im_index *scan = library_open(library, alive, IM_ENGINE_SCAN, NULL);
    im_index *flat = library_open(library, alive, IM_ENGINE_FLAT, NULL);
    assert_ok(im_index_search(scan, &query->query, by_scan, &scan_answer, err));
    assert_ok(im_index_search(flat, &query->query, by_flat, &flat_answer, err));
    assert_string_equal(flat_answer.engine, "flat");
    assert_true(flat_answer.filtered == scan_answer.filtered);
    assert_true(flat_answer.exact);
    assert_hits(by_flat, &flat_answer, k, by_scan, scan_answer.n_hits);
    if (query->query.has_floor) {
        assert_ok(im_index_range(flat, &query->query, by_flat, &flat_answer, err));
        assert_hits(by_flat, &flat_answer, k, by_scan, scan_answer.n_hits);
    }
    im_index_close(scan);
    im_index_close(flat);
    free(by_scan);
    free(by_flat);
}

static void faiss_and_scan_find_the_same_hits(void **state)
{
    (void)state;
    random_state random = {61};
    const size_t sizes[] = {0, 1, 2, 63, 64, 65, 1000, 5000};
    const size_t dims[] = {1, 3, 16, 48, 256, 512};
    const size_t ks[] = {1, 10, 100, 5001};
    const unsigned densities[] = {1000, 500, 20, 1};
    for (size_t s = 0; s < 8; s++) {
        for (size_t d = 0; d < 6; d++) {
            test_library library;
            library_make(&library, &random, sizes[s], dims[d], 10);
            for (size_t round = 0; round < 8; round++) {
                uint64_t *alive = random_bits(&random, library.n, densities[round % 2]);
                uint64_t *bitmap = random_bits(&random, library.n, densities[round % 4]);
                test_query query;
                query_make(&query, &random, &library, 1 + round % 4, (im_combine)(round % 3),
                           round < 3);
                query.query.k = ks[(round + s) % 4];
                query.query.bitmap = round == 7 ? NULL : bitmap;
                if (library.n > 0) {
                    size_t slot = (size_t)random_below(&random, library.n);
                    query.query.leave_out = round % 2 == 0 ? library.items[slot] : IM_NO_ITEM;
                    query.query.has_floor = round % 3 == 1;
                    query.query.floor = (float)true_score(&library, &query.query, slot);
                    query.query.has_after = round % 4 == 2;
                    query.query.after_score = query.query.floor;
                    query.query.after_item = library.items[slot];
                }
                check_engines(&library, alive, &query);
                query_free(&query);
                free(alive);
                free(bitmap);
            }
            library_free(&library);
        }
    }
}

/* Ties are where FAISS's own order and ours part. */
static void equal_rows_come_by_item_from_faiss_too(void **state)
{
    (void)state;
    random_state random = {62};
    test_library library;
    library_make(&library, &random, 3000, 24, 95);
    for (size_t round = 0; round < 6; round++) {
        test_query query;
        query_make(&query, &random, &library, 1 + round / 2, (im_combine)(round % 3), true);
        query.query.k = 50;
        check_engines(&library, NULL, &query);
        query_free(&query);
    }
    library_free(&library);
}

static void the_flat_engine_tells_what_it_holds(void **state)
{
    (void)state;
    random_state random = {63};
    test_library library;
    library_make(&library, &random, 500, 32, 0);
    im_index *index = library_open(&library, NULL, IM_ENGINE_FLAT, NULL);
    im_index_stats stats;
    im_index_describe(index, &stats);
    assert_string_equal(stats.engine, "flat");
    assert_true(stats.private_bytes >= 500 * 32 * 4);
    im_index_close(index);
    im_index *wrong = NULL;
    im_index_options options = {.engine = (im_engine)99};
    assert_refused(im_index_open(library.folder, &library.state, NULL, &options, &wrong, err),
                   "invalid");
    library_free(&library);
}

static void damaged_rows_never_reach_faiss(void **state)
{
    (void)state;
    random_state random = {64};
    test_library library;
    char path[160];
    im_index *index = NULL;
    im_index_options options = {.engine = IM_ENGINE_FLAT};
    library_make(&library, &random, 500, 32, 0);
    library_path(&library, path);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, 4096 + 192 * 77 + 31, SEEK_SET);
    fputc(0x7f, file);
    fclose(file);
    assert_refused(im_index_open(library.folder, &library.state, NULL, &options, &index, err),
                   "index_damaged");
    uint64_t *alive = random_bits(&random, 500, 1000); /* unless the row was removed */
    alive[1] &= ~(UINT64_C(1) << 13);
    index = library_open(&library, alive, IM_ENGINE_FLAT, NULL);
    im_index_close(index);
    free(alive);
    library_free(&library);
}

/* ---- what FAISS throws (T59, T65) ---- */

static void exceptions_end_in_the_module_as_sentences(void **state)
{
    (void)state;
#if defined(THROWING_IS_IMPOSSIBLE)
    print_message("skipped: clang's sanitizer and exceptions in loaded modules\n");
    skip();
#endif
    const im_faiss_engine *faiss = NULL;
    char message[IM_FAISS_MESSAGE_BYTES] = "";
    void *index = NULL;
    float row[4] = {1, 0, 0, 0};
    float score = 0;
    int64_t label = 0;
    assert_ok(index_engine_load(&faiss, err));
    assert_int_equal(faiss->open(4, &index, message), IM_FAISS_OK);
    assert_int_equal(faiss->add(index, row, 1, message), IM_FAISS_OK);
    assert_int_equal(faiss->search(index, row, 0, NULL, 0, &score, &label, message),
                     IM_FAISS_FAILED);
    assert_true(message[0] != '\0');
    message[0] = '\0'; /* more bytes than a vector can have: std::length_error */
    assert_int_equal(faiss->add(index, row, (size_t)1 << 59, message), IM_FAISS_NOMEM);
    assert_true(message[0] != '\0');
    message[0] = '\0'; /* a negative k: faiss::FaissException */
    assert_int_equal(faiss->search(index, row, SIZE_MAX, NULL, 0, &score, &label, message),
                     IM_FAISS_FAILED);
    assert_non_null(strstr(message, "k > 0"));
    assert_int_equal(faiss->search(index, row, 1, NULL, 0, &score, &label, message), IM_FAISS_OK);
    assert_int_equal(label, 0); /* it goes on working */
    faiss->close(index);
}

/* ---- threads ---- */

static void threads_share_one_flat_index(void **state)
{
    (void)state;
    random_state random = {65};
    test_library library;
    test_query query;
    library_make(&library, &random, 2000, 48, 5);
    query_make(&query, &random, &library, 1, IM_COMBINE_SUM, true);
    im_index *index = library_open(&library, NULL, IM_ENGINE_FLAT, NULL);
    search_from_threads(index, &query.query, 20);
    im_index_close(index);
    query_free(&query);
    library_free(&library);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faiss_and_scan_find_the_same_hits),
        cmocka_unit_test(equal_rows_come_by_item_from_faiss_too),
        cmocka_unit_test(the_flat_engine_tells_what_it_holds),
        cmocka_unit_test(damaged_rows_never_reach_faiss),
        cmocka_unit_test(exceptions_end_in_the_module_as_sentences),
        cmocka_unit_test(threads_share_one_flat_index),
    };
    return cmocka_run_group_tests(tests, use_the_built_module, NULL);
}
