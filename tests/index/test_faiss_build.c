/* tests/index/test_faiss_build.c — covers index/faiss_build.c: a file is what its record says, for
 * libraries of any size; what cannot be built is refused and leaves nothing. */
#include "help_faiss.h"

enum { ROWS = 4000, DIM = 32, CLUSTERS = 60 };

static int set_up(void **state)
{
    open_clusters(81, CLUSTERS, DIM, ROWS);
    return use_the_built_module(state);
}

static void a_file_is_what_its_record_says(void **state)
{
    (void)state;
    char path[160];
    for (size_t e = 0; e < 2; e++) {
        im_faiss_record record = build_file(&library, NULL, both_engines[e], 0);
        im_faiss_record again = build_file(&library, NULL, both_engines[e], 0);
        assert_memory_equal(&record, &again, sizeof(record)); /* the same rows, the same file */
        assert_string_equal(record.name, e == 0 ? "ivf.1.faiss" : "hnsw.1.faiss");
        assert_int_equal(record.generation, 1);
        assert_int_equal(strlen(record.digest), 64);
        faiss_path(&library, &record, path);
        FILE *file = fopen(path, "rb");
        assert_non_null(file);
        fseek(file, 0, SEEK_END);
        assert_int_equal(ftell(file), record.bytes);
        fclose(file);
        im_index *index = open_file(&library, NULL, both_engines[e], &record, as_default);
        im_index_stats stats;
        im_index_describe(index, &stats);
        assert_string_equal(stats.engine, engine_names[e]);
        assert_true(stats.private_bytes >= record.bytes);
        im_index_close(index);
    }
}

static bool stop_at_once(void *context, uint64_t n_done, uint64_t n_rows)
{
    *(uint64_t *)context = n_done;
    assert_true(n_done <= n_rows);
    return false;
}

static void builds_that_cannot_be_are_refused(void **state)
{
    (void)state;
    random_state random = {90};
    im_faiss_record record;
    uint64_t *none = random_bits(&random, library.n, 0);
    uint64_t n_done = 0;
    im_faiss_build build = {.engine = IM_ENGINE_SCAN};
    size_t files = files_in(library.folder);
    assert_refused(im_index_faiss_build(library.folder, &library.state, NULL, &build, &record, err),
                   "invalid");
    build.engine = IM_ENGINE_IVF;
    assert_refused(im_index_faiss_build(library.folder, &library.state, none, &build, &record, err),
                   "invalid");
    build = (im_faiss_build){.engine = IM_ENGINE_HNSW, .n_links = 65};
    assert_refused(im_index_faiss_build(library.folder, &library.state, NULL, &build, &record, err),
                   "invalid");
    build = (im_faiss_build){.engine = IM_ENGINE_HNSW, .ef_construction = 4097};
    assert_refused(im_index_faiss_build(library.folder, &library.state, NULL, &build, &record, err),
                   "invalid");
    build = (im_faiss_build){
        .engine = IM_ENGINE_IVF, .progress = stop_at_once, .progress_context = &n_done};
    assert_refused(im_index_faiss_build(library.folder, &library.state, NULL, &build, &record, err),
                   "interrupted");
    assert_int_equal(n_done, ROWS);
    assert_int_equal(files_in(library.folder), files);
    free(none);
}

/* From one row on, whatever is asked for. */
static void small_libraries_can_have_a_file_too(void **state)
{
    (void)state;
    random_state random = {91};
    static const size_t sizes[] = {1, 2, 40, 150, 700};
    for (size_t s = 0; s < 5; s++) {
        test_library own;
        im_hit hits[20], expected[700];
        clusters_library(&own, &groups, &random, sizes[s]);
        for (size_t e = 0; e < 2; e++) {
            im_faiss_record record = build_file(&own, NULL, both_engines[e], 500);
            im_index *index = open_file(&own, NULL, both_engines[e], &record, all_of_it);
            test_query query;
            im_index_answer answer;
            query_make(&query, &random, &own, 1, IM_COMBINE_SUM, true);
            query.query.k = 20;
            size_t n = slow_search(index, &own, NULL, &query.query, expected);
            assert_ok(im_index_search(index, &query.query, hits, &answer, err));
            assert_hits(hits, &answer, 20, expected, n);
            query_free(&query);
            im_index_close(index);
        }
        library_free(&own);
    }
}

static void a_sweep_takes_files_of_other_generations(void **state)
{
    (void)state;
    random_state random = {92};
    test_library own;
    char path[160];
    clusters_library(&own, &groups, &random, 200);
    im_faiss_record record = build_file(&own, NULL, IM_ENGINE_IVF, 0);
    static const char *const others[] = {"ivf.2.faiss", "hnsw.77.faiss", ".imago-1-f2.tmp"};
    static const char *const kept[] = {"ivf.faiss", "ivf.02.faiss", "flat.2.faiss", "ivf.2.faiss~"};
    for (size_t i = 0; i < 7; i++) {
        snprintf(path, sizeof(path), "%.95s/%s", own.folder, i < 3 ? others[i] : kept[i - 3]);
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        fclose(file);
    }
    im_index_sweep(own.folder, 1);
    for (size_t i = 0; i < 7; i++) {
        snprintf(path, sizeof(path), "%.95s/%s", own.folder, i < 3 ? others[i] : kept[i - 3]);
        FILE *file = fopen(path, "rb");
        assert_int_equal(file != NULL, i >= 3);
        if (file != NULL) {
            fclose(file);
        }
    }
    im_index *index = open_file(&own, NULL, IM_ENGINE_IVF, &record, as_default);
    im_index_close(index);
    library_free(&own);
}

/* Rows that were removed before the build, one of them damaged, are no reason to fail. */
static void removed_rows_may_be_damaged(void **state)
{
    (void)state;
    random_state random = {88};
    test_library own;
    char path[160];
    clusters_library(&own, &groups, &random, 1000);
    library_path(&own, path);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, 4096 + 192 * 77 + 31, SEEK_SET); /* a row of 32 numbers takes 192 bytes */
    fputc(0x7f, file);
    fseek(file, 4096 + 31, SEEK_SET);
    fputc(0x7f, file);
    fclose(file);
    for (size_t e = 0; e < 2; e++) {
        im_faiss_record record;
        im_faiss_build build = {.engine = both_engines[e]};
        assert_refused(im_index_faiss_build(own.folder, &own.state, NULL, &build, &record, err),
                       "index_damaged");
        uint64_t *alive = random_bits(&random, own.n, 1000);
        alive[0] &= ~UINT64_C(1);
        alive[1] &= ~(UINT64_C(1) << 13);
        record = build_file(&own, alive, both_engines[e], 0);
        im_index *index = open_file(&own, alive, both_engines[e], &record, as_default);
        im_index_close(index);
        free(alive);
    }
    library_free(&own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_what_its_record_says),
        cmocka_unit_test(builds_that_cannot_be_are_refused),
        cmocka_unit_test(small_libraries_can_have_a_file_too),
        cmocka_unit_test(a_sweep_takes_files_of_other_generations),
        cmocka_unit_test(removed_rows_may_be_damaged),
    };
    return cmocka_run_group_tests(tests, set_up, close_clusters);
}
