/* tests/index/test_writer.c — covers index/writer.c and im_index_check: what is written, what is
 * refused, what a failure leaves behind. */
#include "base/fault.h"
#include "base/file.h"
#include "help.h"
#include "index/format_internal.h"
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static im_index_state state_of(size_t dim)
{
    im_index_state state = {.dim = dim, .generation = 1};
    memset(state.library_id, 9, sizeof(state.library_id));
    memset(state.model_digest, 'b', 64);
    return state;
}

static off_t size_of(const test_library *library)
{
    char path[160];
    struct stat status;
    library_path(library, path);
    assert_int_equal(stat(path, &status), 0);
    return status.st_size;
}

static void count_bad(void *context, uint64_t slot, const char *what)
{
    assert_non_null(what);
    uint64_t *slots = context;
    slots[1 + slots[0]++] = slot;
}

static void rows_come_back_as_they_were_written(void **state)
{
    (void)state;
    random_state random = {11};
    const size_t dims[] = {1, 3, 16, 512};
    for (size_t d = 0; d < 4; d++) {
        test_library library;
        library_make(&library, &random, 1500, dims[d], 5);
        im_index *index = library_open(&library, NULL, IM_ENGINE_AUTO, NULL);
        for (size_t i = 0; i < library.n; i++) {
            const float *row = NULL;
            uint64_t item = 0;
            assert_ok(im_index_row(index, i, &row, &item, err));
            assert_memory_equal(row, library.vectors + i * library.dim,
                                library.dim * sizeof(float));
            assert_true(item == library.items[i]);
        }
        const float *row = NULL;
        assert_refused(im_index_row(index, library.n, &row, NULL, err), "invalid");
        assert_refused(im_index_row(index, UINT64_MAX, &row, NULL, err), "invalid");
        im_index_stats stats;
        im_index_describe(index, &stats);
        assert_int_equal(stats.n_rows, 1500);
        assert_int_equal(stats.n_alive, 1500);
        assert_int_equal(stats.file_bytes, size_of(&library));
        assert_int_equal(stats.mapped_bytes, size_of(&library));
        assert_true(stats.private_bytes >= 1500 / 8 && stats.private_bytes < 4096);
        assert_string_equal(stats.engine, "scan");
        im_index_close(index);
        library_free(&library);
    }
}

static void append_one(const test_library *library, uint64_t item, const float *vector, bool sync)
{
    im_index_writer *writer = NULL;
    uint64_t slot = 0;
    assert_ok(im_index_writer_open(library->folder, &library->state, &writer, err));
    assert_ok(im_index_writer_append(writer, &item, vector, 1, &slot, err));
    assert_int_equal(slot, library->state.n_rows);
    if (sync) {
        assert_ok(im_index_writer_sync(writer, err));
    }
    im_index_writer_close(writer);
}

/* Rule 2 of the library's design. */
static void a_tail_is_overwritten_and_never_cut(void **state)
{
    (void)state;
    random_state random = {12};
    test_library library;
    library_make(&library, &random, 100, 8, 0);
    off_t size = size_of(&library);
    library.state.n_rows = 60; /* the database knows sixty: forty rows are a tail */
    append_one(&library, 777, library.vectors, true);
    assert_int_equal(size_of(&library), size);
    library.state.n_rows = 61;
    im_index *index = library_open(&library, NULL, IM_ENGINE_AUTO, NULL);
    const float *row = NULL;
    uint64_t item = 0;
    assert_ok(im_index_row(index, 60, &row, &item, err));
    assert_int_equal(item, 777);
    assert_memory_equal(row, library.vectors, 8 * sizeof(float));
    assert_ok(im_index_row(index, 59, &row, &item, err));
    assert_true(item == library.items[59]);
    im_index_close(index);
    library_free(&library);
}

static void readers_keep_what_they_opened_while_a_writer_appends(void **state)
{
    (void)state;
    random_state random = {13};
    test_library library;
    library_make(&library, &random, 50, 8, 0);
    im_index *index = library_open(&library, NULL, IM_ENGINE_AUTO, NULL);
    for (uint64_t i = 0; i < 200; i++) {
        append_one(&library, 1000 + i, library.vectors, i % 50 == 0);
        library.state.n_rows++;
    }
    test_query query;
    query_make(&query, &random, &library, 1, IM_COMBINE_SUM, true);
    query.query.k = 60;
    im_hit hits[60];
    im_hit expected[60];
    im_index_answer answer;
    assert_ok(im_index_search(index, &query.query, hits, &answer, err));
    size_t n = slow_search(index, &library, NULL, &query.query, expected);
    assert_int_equal(n, 50);
    assert_hits(hits, &answer, 60, expected, n);
    query_free(&query);
    im_index_close(index);
    library_free(&library);
}

/* T58: nothing of a call with one bad row is written. */
static void vectors_that_are_no_unit_vectors_are_refused(void **state)
{
    (void)state;
    random_state random = {14};
    test_library library;
    library_make(&library, &random, 5, 3, 0);
    off_t size = size_of(&library);
    const float bad[][3] = {{NAN, 0, 1},  {0, -INFINITY, 0}, {0, 0, 0}, {1e-42F, 0, 0},
                            {0.9F, 0, 0}, {0, 1.002F, 0},    {1, 1, 1}, {3e38F, 3e38F, 3e38F}};
    im_index_writer *writer = NULL;
    assert_ok(im_index_writer_open(library.folder, &library.state, &writer, err));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        float rows[3][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
        uint64_t items[3] = {1000, 1001, 1002};
        uint64_t slot = 55;
        im_error error = IM_ERROR_INIT;
        memcpy(rows[i % 3], bad[i], sizeof(rows[0]));
        assert_int_equal(im_index_writer_append(writer, items, rows[0], 3, &slot, &error),
                         IM_ERR_INVALID);
        assert_string_equal(error.reason, "vector_invalid");
        char named[32];
        snprintf(named, sizeof(named), "row %zu of 3", i % 3);
        assert_non_null(strstr(error.message, named));
        assert_int_equal(slot, 55);
    }
    const float good[3] = {0, 1, 0};
    uint64_t none = IM_NO_ITEM;
    uint64_t slot = 0;
    assert_refused(im_index_writer_append(writer, &none, good, 1, &slot, err), "invalid");
    assert_int_equal(size_of(&library), size);
    none = 4;
    assert_ok(im_index_writer_append(writer, &none, good, 1, &slot, err));
    assert_int_equal(slot, 5);
    assert_ok(im_index_writer_append(writer, &none, good, 0, &slot, err)); /* nothing is fine */
    assert_int_equal(slot, 6);
    im_index_writer_close(writer);
    library_free(&library);
}

static void creating_replaces_a_leftover_of_the_same_generation(void **state)
{
    (void)state;
    random_state random = {15};
    test_library library;
    library_make(&library, &random, 300, 8, 0);
    im_index *reader = library_open(&library, NULL, IM_ENGINE_AUTO, NULL);
    im_index_state fresh = library.state;
    fresh.n_rows = 0;
    assert_ok(im_index_create(library.folder, &fresh, err));
    assert_int_equal(size_of(&library), HEADER_BYTES);
    const float *row = NULL; /* who had it open keeps the old file */
    assert_ok(im_index_row(reader, 299, &row, NULL, err));
    im_index_close(reader);
    im_index *index = NULL;
    assert_refused(im_index_open(library.folder, &library.state, NULL, NULL, &index, err),
                   "index_damaged");
    assert_refused(im_index_create(library.folder, &library.state, err), "invalid");
    library_free(&library);
}

static void an_index_without_rows_answers_with_nothing(void **state)
{
    (void)state;
    random_state random = {16};
    test_library library;
    library_make(&library, &random, 0, 16, 0);
    im_index *index = library_open(&library, NULL, IM_ENGINE_AUTO, NULL);
    test_query query;
    query_make(&query, &random, &library, 2, IM_COMBINE_ANY, false);
    im_hit hits[10];
    im_index_answer answer;
    assert_ok(im_index_search(index, &query.query, hits, &answer, err));
    assert_hits(hits, &answer, 10, NULL, 0);
    assert_int_equal(answer.filtered, 0);
    assert_true(answer.exact);
    query_free(&query);
    im_index_close(index);
    library_free(&library);
}

/* T57 in small: a sparse file of 6 GB, slots and items that pass 32 bits once multiplied. */
static void rows_far_behind_four_gigabytes_are_found(void **state)
{
    (void)state;
    enum { D = 512 };
    const uint64_t n = 3000000;
    random_state random = {21};
    test_library library;
    char path[160];
    float vector[D];
    im_hit hits[3];
    im_index_answer answer;
    library_make(&library, &random, 1, D, 0);
    library_path(&library, path);
    if (truncate(path, (off_t)(4096 + n * format_layout_of(D).pitch)) != 0) {
        library_free(&library);
        print_message("skipped: no sparse file of 6 GB here\n");
        skip();
    }
    library.state.n_rows = n;
    random_unit(&random, vector, D);
    append_one(&library, UINT64_C(1) << 33, vector, true);
    library.state.n_rows = n + 1;
    uint64_t *alive = calloc(n / 64 + 1, sizeof(uint64_t));
    assert_non_null(alive);
    alive[0] = 1;
    alive[n / 64] |= UINT64_C(1) << (n % 64);
    im_index *index = library_open(&library, alive, IM_ENGINE_SCAN, NULL);
    im_index_part part = {vector, 1, 0};
    im_index_query query = {.parts = &part, .n_parts = 1, .k = 3, .leave_out = IM_NO_ITEM};
    assert_ok(im_index_search(index, &query, hits, &answer, err));
    assert_int_equal(answer.n_hits, 2);
    assert_true(hits[0].item == UINT64_C(1) << 33 && hits[0].slot == n);
    assert_true(hits[1].item == library.items[0] && hits[1].slot == 0);
    im_index_close(index);
    free(alive);
    library_free(&library);
}

/* ---- failures ---- */

/* Creates, appends in two calls, syncs; any call may fail. */
static im_code write_all(const char *folder, const float *vectors, const uint64_t *items, size_t n,
                         im_index_state *state, im_error *err)
{
    im_index_writer *writer = NULL;
    uint64_t slot = 0;
    im_code rc = im_index_create(folder, state, err);
    if (rc == IM_OK) {
        rc = im_index_writer_open(folder, state, &writer, err);
    }
    if (rc == IM_OK) {
        rc = im_index_writer_append(writer, items, vectors, n / 2, &slot, err);
    }
    if (rc == IM_OK) {
        rc = im_index_writer_append(writer, items + n / 2, vectors + n / 2 * state->dim, n - n / 2,
                                    &slot, err);
    }
    if (rc == IM_OK) {
        rc = im_index_writer_sync(writer, err);
    }
    im_index_writer_close(writer);
    return rc;
}

static void assert_failure_of(im_fault_kind kind, im_code rc, const im_error *error)
{
    assert_true(error->message[0] != '\0');
    assert_int_equal(rc, error->code);
    assert_int_equal(rc, kind == IM_FAULT_ALLOC ? IM_ERR_NOMEM : IM_ERR_IO);
}

/* The nth call of each kind fails, until all passes: a sentence, no leak, no leftover file. */
static void each_failed_call_of_a_writer_is_an_error(void **state)
{
    (void)state;
    random_state random = {17};
    float vectors[40 * 8];
    uint64_t items[40];
    const im_fault_kind kinds[] = {IM_FAULT_ALLOC, IM_FAULT_OPEN, IM_FAULT_READ,
                                   IM_FAULT_WRITE, IM_FAULT_SYNC, IM_FAULT_RENAME};
    for (size_t i = 0; i < 40; i++) {
        random_unit(&random, vectors + i * 8, 8);
        items[i] = i;
    }
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        size_t n_failures = 0;
        for (size_t nth = 0;; nth++) {
            char folder[HELP_FOLDER_BYTES];
            im_error error = IM_ERROR_INIT;
            im_index_state fresh = state_of(8);
            temporary_folder(folder);
            size_t live = im_live_allocations();
            im_fault_set(kinds[k], nth, 0);
            im_code rc = write_all(folder, vectors, items, 40, &fresh, &error);
            bool fired = im_fault_fired(kinds[k]);
            im_fault_clear();
            assert_int_equal(im_live_allocations(), live);
            if (rc != IM_OK) {
                assert_true(fired);
                assert_failure_of(kinds[k], rc, &error);
                n_failures++;
            }
            im_index_sweep(folder, 1);
            char path[160];
            snprintf(path, sizeof(path), "%s/vectors.1.f32", folder);
            unlink(path);
            assert_int_equal(rmdir(folder), 0); /* nothing else lies there */
            if (!fired) {
                assert_int_equal(rc, IM_OK);
                break;
            }
        }
        assert_true(n_failures > 0); /* the hook was reached */
    }
}

/* A failed write or sync leaves the committed rows as they were, and a later writer goes on. */
static void committed_rows_survive_failed_appends(void **state)
{
    (void)state;
    random_state random = {18};
    const im_fault_kind kinds[] = {IM_FAULT_WRITE, IM_FAULT_SYNC};
    for (size_t k = 0; k < 2; k++) {
        test_library library;
        library_make(&library, &random, 1200, 256, 0);
        const size_t committed = 700;
        library.state.n_rows = committed;
        for (size_t nth = 0; nth < 2; nth++) {
            im_index_writer *writer = NULL;
            im_error error = IM_ERROR_INIT;
            uint64_t slot = 0;
            assert_ok(im_index_writer_open(library.folder, &library.state, &writer, err));
            im_fault_set(kinds[k], nth, ENOSPC);
            im_code rc = im_index_writer_append(writer, library.items + committed,
                                                library.vectors + committed * library.dim, 500,
                                                &slot, &error);
            if (rc == IM_OK) {
                rc = im_index_writer_sync(writer, &error);
            }
            bool fired = im_fault_fired(kinds[k]);
            im_fault_clear();
            if (!fired) {
                assert_int_equal(rc, IM_OK);
            } else {
                assert_int_equal(rc, IM_ERR_FULL);
            }
            if (kinds[k] == IM_FAULT_SYNC && fired) { /* no second sync is believed */
                assert_refused(im_index_writer_sync(writer, err), "io");
                assert_refused(
                    im_index_writer_append(writer, library.items, library.vectors, 1, &slot, err),
                    "io");
            }
            im_index_writer_close(writer);
            uint64_t bad = 1;
            assert_ok(im_index_check(library.folder, &library.state, NULL, NULL, &bad, err));
            assert_int_equal(bad, 0);
        }
        append_one(&library, 5, library.vectors, true);
        library.state.n_rows++;
        im_index *index = library_open(&library, NULL, IM_ENGINE_AUTO, NULL);
        uint64_t item = 0;
        const float *row = NULL;
        assert_ok(im_index_row(index, committed, &row, &item, err));
        assert_int_equal(item, 5);
        assert_ok(im_index_row(index, 0, &row, &item, err));
        assert_true(item == library.items[0]);
        im_index_close(index);
        library_free(&library);
    }
}

/* Between sync and commit the process may die: nothing committed is touched. */
static void a_kill_after_the_sync_leaves_a_tail_only(void **state)
{
    (void)state;
    random_state random = {19};
    test_library library;
    library_make(&library, &random, 64, 16, 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        setenv("IMAGO_FAULT_KILL", "vectors_synced", 1);
        im_fault_from_environment();
        append_one(&library, 4242, library.vectors, true);
        _exit(3); /* not reached */
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    uint64_t bad = 1;
    assert_ok(im_index_check(library.folder, &library.state, NULL, NULL, &bad, err));
    assert_int_equal(bad, 0);
    library.state.n_rows = 65; /* it was synced: had the commit come, the row would count */
    assert_ok(im_index_check(library.folder, &library.state, NULL, NULL, &bad, err));
    assert_int_equal(bad, 0);
    library_free(&library);
}

/* ---- check and sweep ---- */

static void check_names_each_bad_row(void **state)
{
    (void)state;
    random_state random = {20};
    test_library library;
    library_make(&library, &random, 1000, 256, 0);
    char path[160];
    library_path(&library, path);
    FILE *file = fopen(path, "r+b");
    const uint64_t hurt[] = {0, 1, 517, 998, 999};
    assert_non_null(file);
    for (size_t i = 0; i < 5; i++) {
        long at = (long)(4096 + hurt[i] * format_layout_of(256).pitch + 100 * i);
        assert_int_equal(fseek(file, at, SEEK_SET), 0);
        int byte = fgetc(file);
        assert_int_equal(fseek(file, at, SEEK_SET), 0);
        fputc(byte ^ 4, file);
    }
    fclose(file);
    uint64_t bad = 0;
    uint64_t slots[16] = {0};
    assert_ok(im_index_check(library.folder, &library.state, count_bad, slots, &bad, err));
    assert_int_equal(bad, 5);
    assert_int_equal(slots[0], 5);
    assert_memory_equal(slots + 1, hurt, sizeof(hurt));
    library_free(&library);
}

static void put_file(const char *folder, const char *name)
{
    char path[400];
    snprintf(path, sizeof(path), "%.95s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fclose(file);
}

static bool has_file(const char *folder, const char *name)
{
    char path[400];
    snprintf(path, sizeof(path), "%.95s/%s", folder, name);
    return access(path, F_OK) == 0;
}

static void sweep_takes_leftovers_and_nothing_else(void **state)
{
    (void)state;
    char folder[HELP_FOLDER_BYTES];
    const char *gone[] = {"vectors.1.f32",    "vectors.2.f32",
                          "vectors.4.f32",    "vectors.18446744073709551615.f32",
                          ".imago-123-0.tmp", ".imago-4-56.tmp"};
    const char *kept[] = {"vectors.3.f32", "vectors.txt",    "ids.u64",
                          "codes.i8",      "vectors.03.f32", "note"};
    temporary_folder(folder);
    im_index_sweep("/no/such/folder", 1);
    for (size_t i = 0; i < 6; i++) {
        put_file(folder, gone[i]);
        put_file(folder, kept[i]);
    }
    im_index_sweep(folder, 3);
    for (size_t i = 0; i < 6; i++) {
        assert_false(has_file(folder, gone[i]));
        assert_true(has_file(folder, kept[i]));
    }
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_back_as_they_were_written),
        cmocka_unit_test(a_tail_is_overwritten_and_never_cut),
        cmocka_unit_test(readers_keep_what_they_opened_while_a_writer_appends),
        cmocka_unit_test(vectors_that_are_no_unit_vectors_are_refused),
        cmocka_unit_test(creating_replaces_a_leftover_of_the_same_generation),
        cmocka_unit_test(an_index_without_rows_answers_with_nothing),
        cmocka_unit_test(rows_far_behind_four_gigabytes_are_found),
        cmocka_unit_test(each_failed_call_of_a_writer_is_an_error),
        cmocka_unit_test(committed_rows_survive_failed_appends),
        cmocka_unit_test(a_kill_after_the_sync_leaves_a_tail_only),
        cmocka_unit_test(check_names_each_bad_row),
        cmocka_unit_test(sweep_takes_leftovers_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
