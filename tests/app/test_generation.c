/* tests/app/test_generation.c — covers app/generation.c: whatever was added, removed and compacted,
 * in whatever order, answers are those of a library made afresh; readers go on; a kill or a damaged
 * row loses nothing; leftovers go; pages go on (T62). */
#include "base/fault.h"
#include "base/file.h"
#include "tests/app/help_rows.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST 700u
#define MANY 5200u /* enough for codes, also with a fifth of them gone */

typedef struct row {
    uint64_t id;
    uint32_t name;
} row;

static uint64_t seed = 1;

static uint32_t draw(uint32_t n)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(seed >> 33) % n;
}

static void remove_id(im_library *library, uint64_t id)
{
    uint64_t n = 0;
    im_error err = IM_ERROR_INIT;
    im_remove_request request = {.items = &id, .n_items = 1};
    help_ok(im_app_remove(library, &request, NULL, &n, &err), &err);
    assert_int_equal(n, 1);
}

/* By id and many at once, without the compaction that im_app_remove ends with. */
static void remove_ids(im_library *library, const uint64_t *ids, size_t n)
{
    im_error err = IM_ERROR_INIT;
    help_ok(im_store_begin(library->store, &err), &err);
    for (size_t i = 0; i < n; i++) {
        help_ok(im_store_remove_item(library->store, ids[i], &err), &err);
    }
    help_ok(im_store_commit(library->store, &err), &err);
}

static im_compact_report compact(im_library *library)
{
    im_compact_report report;
    im_error err = IM_ERROR_INIT;
    help_ok(im_app_compact(library, NULL, &report, &err), &err);
    return report;
}

/* A library of these rows alone, in their order. */
static im_library *fresh(help_home *home, const row *rows, size_t n, uint32_t equal)
{
    uint32_t *names = im_alloc(n, sizeof(*names));
    help_home_make(home);
    im_library *library = help_rows_library(home);
    for (size_t i = 0; i < n; i++) {
        names[i] = rows[i].name;
    }
    if (n > 0) {
        help_rows_add(library, names, n, equal, NULL);
    }
    im_free(names);
    return library;
}

static void expect_same_answers(im_library *a, im_library *b, size_t n)
{
    static const char *const texts[] = {"red", "a dog on a beach"};
    for (size_t t = 0; t < IM_COUNT(texts); t++) {
        im_answer left = help_rows_search(a, texts[t], IM_MAX(n, 1), IM_MODE_AUTO);
        im_answer right = help_rows_search(b, texts[t], IM_MAX(n, 1), IM_MODE_AUTO);
        assert_int_equal(left.n_hits, n);
        assert_int_equal(right.n_hits, n);
        assert_int_equal(left.filtered, right.filtered);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(help_rows_name(&left.hits[i].item),
                             help_rows_name(&right.hits[i].item));
            assert_memory_equal(&left.hits[i].score, &right.hits[i].score, sizeof(float));
        }
        im_answer_clear(&left);
        im_answer_clear(&right);
    }
}

static void expect_as_fresh(im_library *library, const row *rows, size_t n, uint32_t equal)
{
    help_home home;
    im_library *other = fresh(&home, rows, n, equal);
    if (n > 0) {
        expect_same_answers(library, other, n);
    }
    im_library_close(other);
    help_home_remove(&home);
}

/* ---- tests ---- */

static void any_history_answers_as_a_fresh_library(void **state)
{
    help_home home;
    row rows[MOST];
    size_t n = 0;
    uint32_t next = 1;
    uint32_t n_compacted = 0;
    (void)state;
    help_home_make(&home);
    im_library *library = help_rows_library(&home);
    for (int step = 0; step < (help_long() ? 600 : 90); step++) {
        uint32_t what = draw(10);
        if (what < 4 && n + 40 < MOST) {
            uint32_t names[40];
            uint64_t ids[40];
            size_t count = 1 + draw(40);
            for (size_t i = 0; i < count; i++) {
                names[i] = next++;
            }
            help_rows_add(library, names, count, 50, ids);
            for (size_t i = 0; i < count; i++) {
                rows[n++] = (row){ids[i], names[i]};
            }
        } else if (what < 8) {
            for (size_t count = draw(30); count > 0 && n > 0; count--) {
                size_t at = draw((uint32_t)n);
                remove_id(library, rows[at].id);
                memmove(rows + at, rows + at + 1, (n - at - 1) * sizeof(row));
                n--;
            }
        } else if (n > 0) {
            im_index_record before = help_rows_record(library);
            im_compact_report report = compact(library);
            im_index_record after = help_rows_record(library);
            assert_int_equal(report.rows, n);
            assert_int_equal(after.n_rows, n);
            assert_int_equal(report.dropped, before.n_rows - n);
            assert_int_equal(after.generation, before.generation + (report.dropped > 0));
            assert_int_equal(help_rows_files(library), 1);
            n_compacted += report.dropped > 0;
        }
        if (step % 15 == 14) {
            expect_as_fresh(library, rows, n, 50);
            help_check(library);
        }
    }
    assert_true(n_compacted > 3);
    im_library_close(library);
    help_home_remove(&home);
}

/* Adds `n` rows, removes each of which `keep` says no; the others are told in rows. */
static size_t fill_with_holes(im_library *library, size_t n, bool (*keep)(size_t i), row *rows)
{
    uint32_t *names = im_alloc(n, sizeof(*names));
    uint64_t *ids = im_alloc(n, sizeof(*ids));
    size_t n_rows = 0;
    size_t n_gone = 0;
    for (size_t i = 0; i < n; i++) {
        names[i] = (uint32_t)i + 1;
    }
    help_rows_add(library, names, n, 0, ids);
    for (size_t i = 0; i < n; i++) {
        if (keep(i)) {
            rows[n_rows++] = (row){ids[i], names[i]};
        } else {
            ids[n_gone++] = ids[i];
        }
    }
    remove_ids(library, ids, n_gone);
    im_free(names);
    im_free(ids);
    return n_rows;
}

static bool keep_most(size_t i)
{
    return i % 6 != 5;
}

static bool keep_two_thirds(size_t i)
{
    return i % 3 != 1;
}

static void codes_are_there_when_the_new_rows_are(void **state)
{
    help_home home;
    (void)state;
    help_home_make(&home);
    row *rows = im_alloc(MANY, sizeof(*rows));
    im_library *library = help_rows_library(&home);
    size_t n = fill_with_holes(library, MANY, keep_most, rows);
    im_compact_report report = compact(library);
    assert_int_equal(report.rows, n);
    assert_true(report.freed_bytes > 0);
    assert_int_equal(help_rows_files(library), 3); /* rows, bytes, bits */
    im_answer answer = help_rows_search(library, "red", 10, IM_MODE_EXACT);
    assert_string_equal(answer.engine, "tiered");
    im_answer_clear(&answer);
    expect_as_fresh(library, rows, n, 0);
    help_check(library);
    im_library_close(library);
    im_free(rows);
    help_home_remove(&home);
}

static void it_happens_by_itself_when_a_quarter_is_dead(void **state)
{
    help_home home;
    (void)state;
    help_home_make(&home);
    row *rows = im_alloc(MANY, sizeof(*rows));
    im_library *library = help_rows_library(&home);
    size_t n = fill_with_holes(library, 3050, keep_two_thirds, rows); /* 1,016 dead */
    assert_int_equal(help_rows_record(library).n_rows, 3050);
    remove_id(library, rows[--n].id);
    assert_int_equal(help_rows_record(library).n_rows, n);
    assert_int_equal(help_rows_record(library).generation, 2);
    for (int i = 0; i < 10; i++) { /* few are dead now: left alone */
        remove_id(library, rows[--n].id);
    }
    assert_int_equal(help_rows_record(library).generation, 2);
    expect_as_fresh(library, rows, n, 0);
    im_library_close(library);
    im_free(rows);
    help_home_remove(&home);
}

/* The file of a FAISS engine would have to be made anew: only when it is asked for. */
static void it_never_happens_by_itself_with_a_faiss_engine(void **state)
{
    help_home home;
    im_error err = IM_ERROR_INIT;
    (void)state;
    help_home_make(&home);
    row *rows = im_alloc(MANY, sizeof(*rows));
    im_library *library = help_rows_library(&home);
    size_t n = fill_with_holes(library, 3050, keep_two_thirds, rows);
    help_ok(im_store_set_setting(library->store, "engine", "hnsw", &err), &err);
    remove_id(library, rows[--n].id);
    assert_int_equal(help_rows_record(library).n_rows, 3050);
    assert_int_equal(help_rows_record(library).generation, 1);
    help_ok(im_store_set_setting(library->store, "engine", NULL, &err), &err);
    remove_id(library, rows[--n].id);
    assert_int_equal(help_rows_record(library).n_rows, n);
    im_library_close(library);
    im_free(rows);
    help_home_remove(&home);
}

static void count_warning(void *context, const char *sentence)
{
    print_message("warned: %s\n", sentence);
    ++*(int *)context;
}

/* A handle that has the old files open; one whose snapshot is older than the compaction but which
 * opens its files after; and one that comes later. Nothing is made anew for any of them. */
static void readers_go_on(void **state)
{
    help_home home;
    im_error err = IM_ERROR_INIT;
    (void)state;
    help_home_make(&home);
    row *rows = im_alloc(MANY, sizeof(*rows));
    im_library *library = help_rows_library(&home);
    size_t n = fill_with_holes(library, 400, keep_two_thirds, rows);
    im_library *opened = help_open(&home, false);
    im_library *late = help_open(&home, false);
    im_answer before = help_rows_search(opened, "red", n, IM_MODE_AUTO);
    help_ok(library_model(late, &err), &err);
    help_ok(im_store_begin_read(opened->store, &err), &err);
    help_ok(im_store_begin_read(late->store, &err), &err);
    assert_int_equal(compact(library).rows, n);
    /* the old rows, read after they have been unlinked */
    for (size_t i = 0; i < before.n_hits; i++) {
        const float *values = NULL;
        uint64_t item = 0;
        float expected[HELP_DIM];
        uint64_t slot = before.hits[i].item.id - 1; /* as they were added */
        help_ok(im_index_row(opened->index, slot, &values, &item, &err), &err);
        assert_int_equal(item, before.hits[i].item.id);
        help_rows_vector(help_rows_name(&before.hits[i].item), 0, expected);
        assert_memory_equal(values, expected, sizeof(expected));
    }
    im_store_end_read(opened->store);
    int warnings = 0;
    const im_events events = {.context = &warnings, .warning = count_warning};
    help_ok(library_index(late, &events, &err), &err);
    assert_int_equal(warnings, 0);
    assert_int_equal(late->index_record.generation, 2);
    im_store_end_read(late->store);
    im_library *after = help_open(&home, false);
    im_library *const readers[] = {opened, late, after};
    for (size_t r = 0; r < IM_COUNT(readers); r++) {
        im_answer answer = help_rows_search(readers[r], "red", n, IM_MODE_AUTO);
        assert_int_equal(answer.n_hits, before.n_hits);
        assert_int_equal(answer.n_warnings, 0);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(answer.hits[i].item.id, before.hits[i].item.id);
            assert_memory_equal(&answer.hits[i].score, &before.hits[i].score, sizeof(float));
        }
        im_answer_clear(&answer);
        im_library_close(readers[r]);
    }
    assert_int_equal(help_rows_record(library).generation, 2); /* nobody made one anew */
    im_answer_clear(&before);
    im_library_close(library);
    im_free(rows);
    help_home_remove(&home);
}

static void flip_a_byte(im_library *library, uint64_t generation, uint64_t slot)
{
    char path[64];
    char byte = 0;
    char *folder = library_index_folder(library, library->model.digest);
    (void)snprintf(path, sizeof(path), "vectors.%llu.f32", (unsigned long long)generation);
    int fd = open(help_path(folder, path), O_RDWR);
    off_t at = 4096 + (off_t)slot * 128 + 5; /* 24 values and a trailer are 128 bytes */
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte = (char)(byte ^ 64);
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    assert_int_equal(close(fd), 0);
    im_free(folder);
}

/* Slot 0 holds a sound row of another item, as the file of another moment would. */
static void put_foreign_row(im_library *library, const row *foreign)
{
    im_error err = IM_ERROR_INIT;
    float vector[HELP_DIM];
    uint64_t slot = 0;
    im_index_state state;
    im_index_writer *writer = NULL;
    const im_index_record record = {.generation = help_rows_record(library).generation};
    char *folder = library_index_folder(library, library->model.digest);
    library_index_state(library, &library->model, &record, &state);
    help_rows_vector(foreign->name, 0, vector);
    help_ok(im_index_writer_open(folder, &state, &writer, &err), &err);
    help_ok(im_index_writer_append(writer, &foreign->id, vector, 1, &slot, &err), &err);
    im_index_writer_close(writer);
    im_free(folder);
}

static void damaged_rows_come_from_the_database(void **state)
{
    help_home home;
    (void)state;
    help_home_make(&home);
    row *rows = im_alloc(MANY, sizeof(*rows));
    im_library *library = help_rows_library(&home);
    size_t n = fill_with_holes(library, 300, keep_two_thirds, rows);
    flip_a_byte(library, 1, 0);
    flip_a_byte(library, 1, 1); /* dead: not looked at */
    flip_a_byte(library, 1, 150);
    assert_int_equal(compact(library).rows, n);
    help_check(library);
    expect_as_fresh(library, rows, n, 0);
    put_foreign_row(library, &rows[7]);
    remove_id(library, rows[--n].id);
    assert_int_equal(compact(library).rows, n);
    help_check(library);
    /* no old file at all: all from the database */
    remove_id(library, rows[--n].id);
    char *folder = library_index_folder(library, library->model.digest);
    assert_int_equal(unlink(help_path(folder, "vectors.3.f32")), 0);
    im_free(folder);
    assert_int_equal(compact(library).rows, n);
    help_check(library);
    expect_as_fresh(library, rows, n, 0);
    im_library_close(library);
    im_free(rows);
    help_home_remove(&home);
}

/* In a process of its own that dies at a point. */
static void die_at(const help_home *home, const char *point)
{
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        im_compact_report report;
        im_library *library = help_open(home, true);
        setenv("IMAGO_FAULT_KILL", point, 1);
        im_fault_from_environment();
        im_code rc = im_app_compact(library, NULL, &report, NULL);
        _exit((int)rc + 1); /* not killed: the point was not reached */
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        fail_msg("'%s' was not reached: status %d", point, status);
    }
}

static void a_kill_leaves_the_old_or_the_new(void **state)
{
    static const struct {
        const char *point;
        uint64_t generation; /* afterwards */
    } points[] = {
        {"generation_made", 1}, {"vectors_synced", 1},      {"codes_written:0", 1},
        {"codes_written:1", 1}, {"store_before_commit", 1}, {"store_committed", 2},
    };
    (void)state;
    row *rows = im_alloc(MANY, sizeof(*rows));
    for (size_t i = 0; i < IM_COUNT(points); i++) {
        help_home home;
        help_home_make(&home);
        im_library *library = help_rows_library(&home);
        size_t n = fill_with_holes(library, MANY, keep_most, rows);
        im_answer before = help_rows_search(library, "red", 500, IM_MODE_AUTO);
        im_library_close(library);
        die_at(&home, points[i].point);
        library = help_open(&home, true);
        im_answer after = help_rows_search(library, "red", 500, IM_MODE_AUTO);
        for (size_t h = 0; h < 500; h++) {
            assert_int_equal(before.hits[h].item.id, after.hits[h].item.id);
        }
        assert_int_equal(after.n_warnings, 0);
        im_answer_clear(&before);
        im_answer_clear(&after);
        help_check(library);
        assert_int_equal(help_rows_record(library).generation, points[i].generation);
        remove_id(library, rows[0].id); /* the next writer clears up */
        assert_int_equal(help_rows_files(library), points[i].generation == 1 ? 1 : 3);
        assert_int_equal(compact(library).rows, n - 1);
        assert_int_equal(help_rows_files(library), 3);
        help_check(library);
        im_library_close(library);
        help_home_remove(&home);
    }
    im_free(rows);
}

static void records_of_graph_files_go_with_the_old_rows(void **state)
{
    help_home home;
    im_error err = IM_ERROR_INIT;
    im_index_file file = {.kind = "hnsw", .generation = 1, .n_rows = 30, .bytes = 9};
    (void)state;
    help_home_make(&home);
    row *rows = im_alloc(MANY, sizeof(*rows));
    im_library *library = help_rows_library(&home);
    (void)fill_with_holes(library, 30, keep_two_thirds, rows);
    memset(file.digest, 'a', sizeof(file.digest) - 1);
    help_ok(im_store_put_index_file(library->store, library->model.id, &file, &err), &err);
    (void)compact(library);
    help_ok(im_store_get_index_file(library->store, library->model.id, "hnsw", &file, &err), &err);
    assert_int_equal(file.generation, 0);
    im_library_close(library);
    im_free(rows);
    help_home_remove(&home);
}

/* T62: 10,000 equal vectors in pages of 7, while others come, go and are compacted away. */
static void pages_of_equals_neither_repeat_nor_miss(void **state)
{
    enum { EQUALS = 10000, PAGE = 7 };
    help_home home;
    im_error err = IM_ERROR_INIT;
    const im_query_part part = {.kind = IM_PART_TEXT, .text = {"red", 3}, .weight = 1};
    uint64_t last = 0;
    uint32_t next = 3 * EQUALS;
    size_t n_seen = 0;
    (void)state;
    help_home_make(&home);
    uint32_t *names = im_alloc(EQUALS + 2000, sizeof(*names));
    uint64_t *ids = im_alloc(EQUALS + 2000, sizeof(*ids));
    im_library *library = help_rows_library(&home);
    for (uint32_t i = 0; i < EQUALS; i++) {
        names[i] = i;
    }
    help_rows_add(library, names, EQUALS, 1, ids); /* all of them the vector of 0 */
    im_search_request request = {.parts = &part, .n_parts = 1, .k = PAGE};
    char cursor[64] = "";
    for (int page = 0; n_seen < EQUALS; page++) {
        im_answer answer;
        request.cursor = cursor[0] != '\0' ? cursor : NULL;
        help_ok(im_app_search(library, &request, &answer, &err), &err);
        for (size_t i = 0; i < answer.n_hits; i++) {
            if (help_rows_name(&answer.hits[i].item) < EQUALS) {
                assert_true(answer.hits[i].item.id > last); /* ties by id */
                last = answer.hits[i].item.id;
                n_seen++;
            }
        }
        (void)snprintf(cursor, sizeof(cursor), "%s", answer.cursor);
        im_answer_clear(&answer);
        if (n_seen < EQUALS) {
            assert_true(cursor[0] != '\0');
        }
        if (page % 200 == 50) {
            for (uint32_t i = 0; i < 20; i++) {
                names[i] = next++;
            }
            help_rows_add(library, names, 20, 0, ids);
        } else if (page % 200 == 150) {
            remove_ids(library, ids, 20);
            assert_int_equal(compact(library).dropped, 20);
        }
    }
    assert_int_equal(n_seen, EQUALS);
    im_library_close(library);
    im_free(names);
    im_free(ids);
    help_home_remove(&home);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_history_answers_as_a_fresh_library),
        cmocka_unit_test(codes_are_there_when_the_new_rows_are),
        cmocka_unit_test(it_happens_by_itself_when_a_quarter_is_dead),
        cmocka_unit_test(it_never_happens_by_itself_with_a_faiss_engine),
        cmocka_unit_test(readers_go_on),
        cmocka_unit_test(damaged_rows_come_from_the_database),
        cmocka_unit_test(a_kill_leaves_the_old_or_the_new),
        cmocka_unit_test(records_of_graph_files_go_with_the_old_rows),
        cmocka_unit_test(pages_of_equals_neither_repeat_nor_miss),
    };
    const char *text = getenv("IMAGO_TEST_SEED");
    seed = text != NULL ? strtoull(text, NULL, 10) : 1;
    print_message("seed %llu\n", (unsigned long long)seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
