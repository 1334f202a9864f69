/* tests/index/test_faiss_faults.c — covers index/faiss_build.c, faiss_file.c and faiss_search.c
 * when FAISS, memory, reads, writes, syncs or renames fail (T65): a program of its own, because the
 * module that stands before the real one stays loaded. */
#include "base/fault.h"
#include "help_faiss.h"
#include <dlfcn.h>

enum { ROWS = 1500, DIM = 16 };

static int set_up(void **state)
{
    (void)state;
    setenv("IMAGO_MODULES", IMAGO_SPY_FOLDER, 1);
    setenv("IMAGO_SPY_REAL", IMAGO_BINARY_DIR "/index/imago-faiss.so", 1);
    open_clusters(111, 20, DIM, ROWS);
    return 0;
}

static size_t *count_of(const char *name)
{
    void *module = dlopen(IMAGO_SPY_FOLDER "/imago-faiss.so", RTLD_NOW | RTLD_NOLOAD);
    assert_non_null(module);
    size_t *count = dlsym(module, name);
    assert_non_null(count);
    return count;
}

/* ---- FAISS fails ---- */

static void a_build_that_fails_leaves_the_old_file(void **state)
{
    (void)state;
    static const char *const places[] = {"make", "train", "add", "write"};
    for (size_t e = 0; e < 2; e++) {
        im_faiss_record old = build_file(&library, NULL, both_engines[e], 0);
        size_t files = files_in(library.folder);
        for (size_t i = 0; i < 8; i++) {
            char spy[32];
            im_faiss_record record = old;
            im_faiss_build build = {.engine = both_engines[e]};
            snprintf(spy, sizeof(spy), "%s:%s", places[i / 2], i % 2 == 0 ? "nomem" : "throw");
            setenv("IMAGO_SPY", spy, 1);
            size_t live = im_live_allocations();
            assert_refused(
                im_index_faiss_build(library.folder, &library.state, NULL, &build, &record, err),
                i % 2 == 0 ? "no_memory" : "internal");
            unsetenv("IMAGO_SPY");
            assert_int_equal(im_live_allocations(), live);
            assert_int_equal(*count_of("spy_open_indexes"), 0);
            assert_int_equal(files_in(library.folder), files);
            assert_memory_equal(&record, &old, sizeof(old));
        }
        im_index *index = open_file(&library, NULL, both_engines[e], &old, as_default);
        im_index_close(index);
    }
}

/* The exact engine answers in its place, and the answer says so. */
static void the_scan_answers_when_faiss_fails(void **state)
{
    (void)state;
    random_state random = {112};
    static const char *const ways[] = {"find:nomem", "find:throw", "find:wild"};
    float vector[DIM];
    im_index_part part;
    for (size_t e = 0; e < 2; e++) {
        im_faiss_record record = build_file(&library, NULL, both_engines[e], 0);
        im_index *index = open_file(&library, NULL, both_engines[e], &record, as_default);
        clusters_text(&groups, &random, vector);
        im_index_query query = query_of(&part, vector, 20);
        query.has_floor = true;
        query.floor = -1;
        im_hit expected[ROWS], hits[20];
        size_t n = slow_search(index, &library, NULL, &query, expected);
        for (size_t i = 0; i < 3; i++) {
            im_index_answer answer;
            setenv("IMAGO_SPY", ways[i], 1);
            size_t live = im_live_allocations();
            assert_ok(im_index_search(index, &query, hits, &answer, err));
            assert_hits(hits, &answer, 20, expected, n);
            assert_string_equal(answer.engine, "scan");
            assert_true(answer.exact);
            assert_ok(im_index_range(index, &query, hits, &answer, err));
            assert_hits(hits, &answer, 20, expected, n);
            assert_string_equal(answer.engine, "scan");
            assert_int_equal(im_live_allocations(), live);
            unsetenv("IMAGO_SPY");
        }
        im_index_close(index);
    }
}

/* Fewer candidates than asked for, and scores that are wrong, cost time but no hit and no score. */
static void poor_candidates_are_no_poor_answers(void **state)
{
    (void)state;
    random_state random = {113};
    static const char *const ways[] = {"find:short", "find:worse"};
    float vector[DIM];
    im_index_part part;
    for (size_t e = 0; e < 2; e++) {
        im_faiss_record record = build_file(&library, NULL, both_engines[e], 0);
        im_index *index = open_file(&library, NULL, both_engines[e], &record, as_default);
        for (size_t i = 0; i < 2; i++) {
            im_hit expected[ROWS], hits[20];
            im_index_answer answer;
            clusters_picture(&groups, &random, vector);
            im_index_query query = query_of(&part, vector, 20);
            size_t n = slow_search(index, &library, NULL, &query, expected);
            setenv("IMAGO_SPY", ways[i], 1);
            assert_ok(im_index_search(index, &query, hits, &answer, err));
            unsetenv("IMAGO_SPY");
            assert_hits(hits, &answer, 20, expected, n);
        }
        im_index_close(index);
    }
}

static void an_open_that_fails_leaves_nothing(void **state)
{
    (void)state;
    static const char *const ways[] = {"read:nomem", "read:throw"};
    static const char *const reasons[] = {"no_memory", "index_damaged"};
    for (size_t e = 0; e < 2; e++) {
        im_faiss_record record = build_file(&library, NULL, both_engines[e], 0);
        for (size_t i = 0; i < 2; i++) {
            im_index *index = NULL;
            setenv("IMAGO_SPY", ways[i], 1);
            size_t live = im_live_allocations();
            assert_refused(
                try_open(&library, NULL, both_engines[e], &record, as_default, &index, err),
                reasons[i]);
            unsetenv("IMAGO_SPY");
            assert_int_equal(im_live_allocations(), live);
        }
    }
}

/* T54: what the digest refuses, FAISS never sees. */
static void faiss_is_not_asked_to_read_a_damaged_file(void **state)
{
    (void)state;
    random_state random = {114};
    for (size_t e = 0; e < 2; e++) {
        char path[160];
        im_index *index = NULL;
        im_faiss_record record = build_file(&library, NULL, both_engines[e], 0);
        faiss_path(&library, &record, path);
        size_t reads = *count_of("spy_reads");
        FILE *file = fopen(path, "r+b");
        assert_non_null(file);
        for (size_t i = 0; i < 2000; i++) {
            long at = (long)random_below(&random, record.bytes);
            fseek(file, at, SEEK_SET);
            int byte = fgetc(file);
            fseek(file, at, SEEK_SET);
            fputc(byte ^ (1 << random_below(&random, 8)), file);
            fflush(file);
            assert_refused(
                try_open(&library, NULL, both_engines[e], &record, as_default, &index, err),
                "index_damaged");
            fseek(file, at, SEEK_SET);
            fputc(byte, file);
            fflush(file);
        }
        fclose(file);
        assert_int_equal(*count_of("spy_reads"), reads);
        index = open_file(&library, NULL, both_engines[e], &record, as_default);
        assert_int_equal(*count_of("spy_reads"), reads + 1);
        im_index_close(index);
    }
}

/* ---- the machine fails ---- */

/* One build and its record's opening, one search of each kind. */
static im_code whole_life(im_engine engine, im_faiss_record *record, im_error *err)
{
    random_state random = {115};
    float vectors[2 * DIM];
    im_index_part parts[2] = {{vectors, 1, 0}, {vectors + DIM, 0.5F, 0.1F}};
    im_index *index = NULL;
    im_hit hits[20];
    im_index_answer answer;
    im_faiss_build build = {.engine = engine, .ef_construction = 60};
    clusters_picture(&groups, &random, vectors);
    clusters_text(&groups, &random, vectors + DIM);
    im_index_query query = {
        .parts = parts, .n_parts = 2, .combine = IM_COMBINE_ALL, .k = 20, .leave_out = IM_NO_ITEM};
    im_code rc = im_index_faiss_build(library.folder, &library.state, NULL, &build, record, err);
    if (rc == IM_OK) {
        rc = try_open(&library, NULL, engine, record, as_default, &index, err);
    }
    if (rc == IM_OK) {
        rc = im_index_search(index, &query, hits, &answer, err);
    }
    if (rc == IM_OK) {
        im_audit audit;
        im_audit_proposal proposal;
        im_audit_queries queries = {
            .texts = vectors + DIM, .n_texts = 1, .pictures = vectors, .n_pictures = 1, .k = 10};
        rc = im_index_audit(index, &queries, &audit, err);
        if (rc == IM_OK) {
            rc = im_index_audit_propose(index, &queries, 0.9, &proposal, err);
        }
    }
    im_index_close(index);
    return rc;
}

static void check_faults(im_fault_kind kind, im_code expected)
{
    for (size_t e = 0; e < 2; e++) {
        im_faiss_record old = build_file(&library, NULL, both_engines[e], 0);
        size_t files = files_in(library.folder);
        im_code rc = IM_ERR_INTERNAL;
        size_t nth = 0;
        for (; rc != IM_OK; nth++) {
            im_error error = IM_ERROR_INIT;
            im_faiss_record record = old;
            size_t live = im_live_allocations();
            im_fault_set(kind, nth, 0);
            rc = whole_life(both_engines[e], &record, &error);
            bool fired = im_fault_fired(kind);
            im_fault_clear();
            assert_int_equal(rc, fired ? expected : IM_OK);
            assert_true(rc == IM_OK || error.message[0] != '\0');
            assert_int_equal(im_live_allocations(), live);
            assert_int_equal(*count_of("spy_open_indexes"), 0);
            assert_int_equal(files_in(library.folder), files); /* no temporary stays */
            /* the file is the old one or the same made anew */
            im_index *index = open_file(&library, NULL, both_engines[e], &old, as_default);
            im_index_close(index);
        }
        print_message("%s: %zu calls failed in turn\n", engine_names[e], nth - 1);
        assert_true(nth > 1);
    }
}

static void each_failed_allocation_is_an_error(void **state)
{
    (void)state;
    check_faults(IM_FAULT_ALLOC, IM_ERR_NOMEM);
}

static void each_failed_read_is_an_error(void **state)
{
    (void)state;
    check_faults(IM_FAULT_READ, IM_ERR_IO);
}

static void each_failed_write_is_an_error(void **state)
{
    (void)state;
    check_faults(IM_FAULT_WRITE, IM_ERR_IO);
}

static void each_failed_sync_is_an_error(void **state)
{
    (void)state;
    check_faults(IM_FAULT_SYNC, IM_ERR_IO);
}

static void each_failed_rename_is_an_error(void **state)
{
    (void)state;
    check_faults(IM_FAULT_RENAME, IM_ERR_IO);
}

static void each_failed_open_is_an_error(void **state)
{
    (void)state;
    check_faults(IM_FAULT_OPEN, IM_ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_build_that_fails_leaves_the_old_file),
        cmocka_unit_test(the_scan_answers_when_faiss_fails),
        cmocka_unit_test(poor_candidates_are_no_poor_answers),
        cmocka_unit_test(an_open_that_fails_leaves_nothing),
        cmocka_unit_test(faiss_is_not_asked_to_read_a_damaged_file),
        cmocka_unit_test(each_failed_allocation_is_an_error),
        cmocka_unit_test(each_failed_read_is_an_error),
        cmocka_unit_test(each_failed_write_is_an_error),
        cmocka_unit_test(each_failed_sync_is_an_error),
        cmocka_unit_test(each_failed_rename_is_an_error),
        cmocka_unit_test(each_failed_open_is_an_error),
    };
    return cmocka_run_group_tests(tests, set_up, close_clusters);
}
