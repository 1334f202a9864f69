/* tests/store/test_damage.c — library.db that was damaged in some way (T52): the answers are right,
 * or the failure is said, or im_store_check finds it. Never a crash, never a wrong vector. */
#include "base/memory.h"
#include "store/store_internal.h"
#include "tests/store/help.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_ITEMS 150
#define SEED 20240611

static im_error err = IM_ERROR_INIT;

typedef struct fixture {
    char *folder;
    uint8_t *db;
    size_t size;
    uint64_t root, model;
} fixture;

static int set_up(void **state)
{
    fixture *f = im_alloc_zero(1, sizeof(*f));
    f->folder = help_memory_folder();
    help_create(f->folder);
    im_store *store = help_open(f->folder, IM_STORE_WRITE);
    f->root = help_root(store, "/photos");
    f->model = help_model(store, "m");
    help_ok(im_store_begin(store, &err), &err);
    for (uint64_t n = 0; n < N_ITEMS; n++) {
        (void)help_put(store, f->root, f->model, n, n);
    }
    im_index_record record = {.generation = 1, .n_rows = N_ITEMS};
    help_ok(im_store_set_index(store, f->model, &record, &err), &err);
    help_ok(im_store_commit(store, &err), &err);
    im_store_close(store);
    f->db = help_read(help_path(f->folder, "library.db"), &f->size);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    help_folder_remove(f->folder);
    im_free(f->db);
    im_free(f);
    return 0;
}

/* ---- what a reader is told, against what is true ---- */

typedef struct verdict {
    bool refused;      /* some call said so */
    bool silent_wrong; /* an answer differs from the truth without a word */
    im_code code;
    uint64_t n_files, n_vectors, n_items;
} verdict;

static void note(verdict *v, im_code rc)
{
    if (rc != IM_OK) {
        v->refused = true;
        v->code = rc;
    }
}

static bool judge_file(void *context, const im_file_row *file)
{
    verdict *v = context;
    uint64_t n = file->item - 1;
    char name[32];
    int size = snprintf(name, sizeof name, "%06llu.jpg", (unsigned long long)n);
    bool good = n < N_ITEMS && im_view_equal(file->path, im_view_of(name, (size_t)size)) &&
                file->stamp.size == 1000 + n && file->stamp.inode == n + 1 && file->edges == n &&
                !file->missing;
    v->silent_wrong = v->silent_wrong || !good;
    v->n_files++;
    return true;
}

static bool judge_vector(void *context, uint64_t item, uint64_t slot, const float *vector,
                         bool sound)
{
    verdict *v = context;
    float wanted[HELP_DIM];
    v->n_vectors++;
    if (!sound) {
        v->refused = true;
        return true;
    }
    help_vector(slot, wanted, HELP_DIM);
    bool good = item == slot + 1 && memcmp(vector, wanted, sizeof wanted) == 0;
    v->silent_wrong = v->silent_wrong || !good;
    return true;
}

static bool judge_item(void *context, const im_item *item)
{
    verdict *v = context;
    im_item wanted = help_item(item->id - 1);
    bool good = item->id <= N_ITEMS && item->id > 0 && item->bytes == wanted.bytes &&
                memcmp(item->sha256, wanted.sha256, 32) == 0 && item->width == wanted.width &&
                strcmp(item->camera, wanted.camera) == 0 && item->taken_s == wanted.taken_s;
    v->silent_wrong = v->silent_wrong || !good;
    v->n_items++;
    return true;
}

static void read_points(im_store *store, const fixture *f, verdict *v)
{
    for (uint64_t n = 0; n < N_ITEMS; n += 29) {
        im_item item;
        float vector[HELP_DIM];
        float wanted[HELP_DIM];
        uint64_t found = 0;
        uint8_t sha256[32];
        im_code rc = im_store_get_item(store, n + 1, &item, &err);
        note(v, rc);
        help_sha256(n, sha256);
        rc = im_store_find_item(store, sha256, &found, &err);
        note(v, rc);
        v->silent_wrong = v->silent_wrong || (rc == IM_OK && found != n + 1);
        rc = im_store_get_embedding(store, n + 1, f->model, vector, HELP_DIM, NULL, &err);
        note(v, rc);
        help_vector(n, wanted, HELP_DIM);
        /* a wrong vector is never given, not even if a check would find it */
        assert_true(rc != IM_OK || memcmp(vector, wanted, sizeof wanted) == 0);
    }
}

static verdict look(const fixture *f)
{
    verdict v = {0};
    im_store *store = NULL;
    im_model_row model = {0};
    im_store_counts counts;
    uint64_t bits[(N_ITEMS + 63) / 64];
    uint64_t alive = 0;
    uint64_t findings = 0;
    im_code rc = im_store_open(f->folder, IM_STORE_READ, &store, &err);
    note(&v, rc);
    if (rc != IM_OK) {
        return v;
    }
    note(&v, im_store_count(store, f->model, &counts, &err));
    rc = im_store_active_model(store, &model, &err);
    note(&v, rc);
    v.silent_wrong = v.silent_wrong || (rc == IM_OK && model.id != f->model);
    im_model_row_clear(&model);
    rc = im_store_alive_slots(store, f->model, N_ITEMS, bits, &alive, &err);
    note(&v, rc);
    v.silent_wrong = v.silent_wrong || (rc == IM_OK && alive != N_ITEMS);
    rc = im_store_each_embedding(store, f->model, HELP_DIM, judge_vector, &v, &err);
    note(&v, rc);
    v.silent_wrong = v.silent_wrong || (rc == IM_OK && v.n_vectors != N_ITEMS);
    rc = im_store_each_item(store, 0, judge_item, &v, &err);
    note(&v, rc);
    v.silent_wrong = v.silent_wrong || (rc == IM_OK && v.n_items != N_ITEMS);
    rc = im_store_each_file_of_root(store, f->root, im_view_from(""), judge_file, &v, &err);
    note(&v, rc);
    v.silent_wrong = v.silent_wrong || (rc == IM_OK && v.n_files != N_ITEMS);
    read_points(store, f, &v);
    im_code checked = im_store_check(store, NULL, NULL, &findings, &err);
    if (v.silent_wrong) {
        assert_true(checked != IM_OK || findings > 0); /* caught by check */
    }
    im_store_close(store);
    return v;
}

/* A writer on the same file neither crashes nor says "our bug". */
static void write_some(const fixture *f)
{
    im_store *store = NULL;
    im_code rc = im_store_open(f->folder, IM_STORE_WRITE, &store, &err);
    if (rc == IM_OK) {
        uint64_t id = 0;
        im_item item = help_item(N_ITEMS + 7);
        rc = im_store_put_item(store, &item, &id, &err);
        assert_int_not_equal(rc, IM_ERR_INTERNAL);
        rc = im_store_remove_item(store, 5, &err);
        assert_int_not_equal(rc, IM_ERR_INTERNAL);
    }
    assert_int_not_equal(rc, IM_ERR_INTERNAL);
    im_store_close(store);
}

static void put_back(const fixture *f, const uint8_t *db, size_t size)
{
    (void)unlink(help_path(f->folder, "library.db-wal"));
    (void)unlink(help_path(f->folder, "library.db-shm"));
    help_write(help_path(f->folder, "library.db"), db, size);
}

static void check_code(im_code code)
{
    if (code != IM_OK && code != IM_ERR_DAMAGED && code != IM_ERR_FORMAT &&
        code != IM_ERR_UNSUPPORTED && code != IM_ERR_NOT_FOUND) {
        fail_msg("%s: %s", im_code_name(code), err.message);
    }
}

/* ---- the cases ---- */

static void the_undamaged_library_is_right(void **state)
{
    verdict v = look(*state);
    assert_false(v.refused || v.silent_wrong);
}

static void each_byte_of_the_header_flipped(void **state)
{
    fixture *f = *state;
    unsigned refused = 0;
    unsigned other_code = 0;
    for (size_t at = 0; at < 100; at++) {
        for (unsigned bit = 0; bit < 9; bit++) {
            uint8_t mask = (uint8_t)(bit == 8 ? 0xffu : 1u << bit);
            f->db[at] = (uint8_t)(f->db[at] ^ mask);
            put_back(f, f->db, f->size);
            verdict v = look(f);
            f->db[at] = (uint8_t)(f->db[at] ^ mask);
            assert_false(v.silent_wrong);
            check_code(v.code);
            refused += v.refused;
            other_code += v.refused && v.code != IM_ERR_DAMAGED;
            if (bit == 8) {
                write_some(f);
            }
        }
    }
    print_message("header: of 900 flips %u refused, %u of them not as damaged\n", refused,
                  other_code);
    assert_true(refused > 300);
    assert_true(other_code <= 16); /* schema numbers that a newer program may have */
}

static void random_bytes_anywhere(void **state)
{
    fixture *f = *state;
    uint64_t seed = SEED;
    unsigned refused = 0;
    unsigned silent = 0;
    print_message("seed %d\n", SEED);
    for (unsigned i = 0; i < 500; i++) {
        size_t at = (size_t)(help_random(&seed) % f->size);
        uint8_t mask = (uint8_t)(1 + help_random(&seed) % 255);
        f->db[at] = (uint8_t)(f->db[at] ^ mask);
        put_back(f, f->db, f->size);
        verdict v = look(f);
        if (i % 5 == 0) {
            write_some(f);
        }
        f->db[at] = (uint8_t)(f->db[at] ^ mask);
        check_code(v.code);
        refused += v.refused;
        silent += v.silent_wrong;
    }
    print_message("random bytes: of 500 %u said, %u found by check alone\n", refused, silent);
}

static void pages_overwritten(void **state)
{
    fixture *f = *state;
    uint64_t seed = SEED + 1;
    uint8_t saved[STORE_PAGE_BYTES];
    unsigned refused = 0;
    size_t n_pages = f->size / STORE_PAGE_BYTES;
    for (size_t page = 0; page < n_pages; page++) {
        for (int noise = 0; noise < 2; noise++) {
            uint8_t *at = f->db + page * STORE_PAGE_BYTES;
            memcpy(saved, at, sizeof saved);
            for (size_t i = 0; i < sizeof saved; i++) {
                at[i] = noise != 0 ? (uint8_t)help_random(&seed) : 0;
            }
            put_back(f, f->db, f->size);
            verdict v = look(f);
            write_some(f);
            memcpy(at, saved, sizeof saved);
            check_code(v.code);
            refused += v.refused;
        }
    }
    print_message("pages: of %zu overwritten %u said\n", 2 * n_pages, refused);
}

static void a_database_that_was_cut(void **state)
{
    fixture *f = *state;
    const size_t lengths[] = {f->size / 2,         f->size - STORE_PAGE_BYTES, f->size - 1,
                              STORE_PAGE_BYTES,    STORE_PAGE_BYTES + 100,     100,
                              3 * STORE_PAGE_BYTES};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        put_back(f, f->db, lengths[i]);
        verdict v = look(f);
        check_code(v.code);
        write_some(f);
    }
    put_back(f, f->db, f->size / 2);
    verdict half = look(f);
    assert_true(half.refused);
    assert_int_equal(half.code, IM_ERR_DAMAGED);
}

static void a_table_that_is_gone_is_damage(void **state)
{
    fixture *f = *state;
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(help_path(f->folder, "library.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "DROP TABLE embedding", NULL, NULL, NULL), SQLITE_OK);
    (void)sqlite3_close(db);
    verdict v = look(f);
    assert_true(v.refused);
    assert_int_equal(v.code, IM_ERR_DAMAGED);
    im_store *store = help_open(f->folder, IM_STORE_READ);
    assert_true(help_findings(store) > 0);
    im_store_close(store);
}

/* ---- WAL and shared memory ---- */

/* Leaves a hot WAL with a second batch: items N_ITEMS … N_ITEMS+9 and no checkpoint. */
static void add_and_die(const fixture *f)
{
    pid_t child = fork();
    if (child == 0) {
        im_store *store = help_open(f->folder, IM_STORE_WRITE);
        help_ok(im_store_set_setting(store, "first", "1", &err), &err);
        help_ok(im_store_set_setting(store, "second", "2", &err), &err);
        (void)kill(getpid(), SIGKILL);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static void a_wal_with_a_bad_byte_ends_where_it_is_bad(void **state)
{
    fixture *f = *state;
    size_t wal_size = 0;
    uint64_t seed = SEED + 2;
    add_and_die(f);
    uint8_t *wal = help_read(help_path(f->folder, "library.db-wal"), &wal_size);
    for (unsigned i = 0; i < 120; i++) {
        size_t at = i < 56 ? i : (size_t)(help_random(&seed) % wal_size);
        char *first = NULL;
        char *second = NULL;
        im_store *store = NULL;
        wal[at] = (uint8_t)(wal[at] ^ 0x41u);
        put_back(f, f->db, f->size);
        help_write(help_path(f->folder, "library.db-wal"), wal, wal_size);
        wal[at] = (uint8_t)(wal[at] ^ 0x41u);
        verdict v = look(f);
        assert_false(v.refused || v.silent_wrong); /* what was in library.db is all there */
        help_ok(im_store_open(f->folder, IM_STORE_READ, &store, &err), &err);
        help_ok(im_store_get_setting(store, "first", &first, &err), &err);
        help_ok(im_store_get_setting(store, "second", &second, &err), &err);
        assert_true(second == NULL || first != NULL); /* in order, nothing half */
        im_free(first);
        im_free(second);
        im_store_close(store);
    }
    im_free(wal);
}

/* Someone turned WAL off in the header alone: what the WAL holds would be lost without a word. */
static void a_wal_that_the_header_does_not_know_is_damage(void **state)
{
    fixture *f = *state;
    add_and_die(f);
    for (unsigned i = 1; i < 4; i++) {
        uint8_t *db = NULL;
        size_t size = 0;
        db = help_read(help_path(f->folder, "library.db"), &size);
        db[18] = (i & 1) != 0 ? 1 : 2;
        db[19] = (i & 2) != 0 ? 1 : 2;
        help_write(help_path(f->folder, "library.db"), db, size);
        im_free(db);
        im_store *store = NULL;
        assert_int_equal(im_store_open(f->folder, IM_STORE_READ, &store, &err), IM_ERR_DAMAGED);
        assert_int_equal(im_store_open(f->folder, IM_STORE_WRITE, &store, &err), IM_ERR_DAMAGED);
    }
    f->db[18] = 1; /* but without a WAL nothing is lost */
    f->db[19] = 1;
    put_back(f, f->db, f->size);
    verdict v = look(f);
    assert_false(v.refused || v.silent_wrong);
    im_store_close(help_open(f->folder, IM_STORE_WRITE));
    size_t size = 0;
    uint8_t *db = help_read(help_path(f->folder, "library.db"), &size);
    assert_int_equal(db[18], 2); /* a writer turns it on again */
    im_free(db);
}

static void the_wal_of_another_library_changes_nothing(void **state)
{
    fixture *f = *state;
    size_t wal_size = 0;
    void *other_state = NULL;
    assert_int_equal(set_up(&other_state), 0);
    fixture *other = other_state;
    add_and_die(other);
    uint8_t *wal = help_read(help_path(other->folder, "library.db-wal"), &wal_size);
    put_back(f, f->db, f->size);
    help_write(help_path(f->folder, "library.db-wal"), wal, wal_size);
    /* SQLite cannot tell whose WAL it is: either the answers are right, or it is said, or found */
    verdict v = look(f);
    check_code(v.code);
    im_free(wal);
    (void)tear_down(&other_state);
}

static void shared_memory_of_noise_changes_nothing(void **state)
{
    fixture *f = *state;
    uint64_t seed = SEED + 3;
    static uint8_t noise[65536];
    size_t wal_size = 0;
    add_and_die(f);
    uint8_t *wal = help_read(help_path(f->folder, "library.db-wal"), &wal_size);
    for (unsigned i = 0; i < 8; i++) {
        char *second = NULL;
        for (size_t b = 0; b < sizeof noise; b++) {
            noise[b] = i == 0 ? 0 : (uint8_t)help_random(&seed);
        }
        put_back(f, f->db, f->size);
        help_write(help_path(f->folder, "library.db-wal"), wal, wal_size);
        help_write(help_path(f->folder, "library.db-shm"), noise, i == 1 ? 1000 : sizeof noise);
        verdict v = look(f);
        assert_false(v.refused || v.silent_wrong);
        im_store *store = help_open(f->folder, IM_STORE_READ);
        help_ok(im_store_get_setting(store, "second", &second, &err), &err);
        assert_non_null(second);
        im_free(second);
        im_store_close(store);
    }
    im_free(wal);
}

/* ---- values ---- */

static void exec(const fixture *f, const char *sql)
{
    im_store *store = help_open(f->folder, IM_STORE_WRITE);
    char *message = NULL;
    if (sqlite3_exec(store->db, sql, NULL, NULL, &message) != SQLITE_OK) {
        fail_msg("%s", message);
    }
    im_store_close(store);
}

typedef struct finding {
    unsigned n;
    char table[32];
    uint64_t row;
    char what[128];
} finding;

static void keep_finding(void *context, const char *table, uint64_t row, const char *what)
{
    finding *out = context;
    (void)snprintf(out->table, sizeof out->table, "%s", table);
    (void)snprintf(out->what, sizeof out->what, "%s", what);
    out->row = row;
    out->n++;
}

/* Values that SQLite's own check takes for good, changed behind our back. */
static void check_finds_each_wrong_value(void **state)
{
    static const struct {
        const char *sql, *undo, *table;
        uint64_t row;
    } wrong[] = {
        {"UPDATE item SET width = width + 1 WHERE id = 7",
         "UPDATE item SET width = width - 1 WHERE id = 7", "item", 7},
        {"UPDATE item SET taken_s = 5 WHERE id = 2", "UPDATE item SET taken_s = NULL WHERE id = 2",
         "item", 2},
        {"UPDATE file SET inode = inode + 1 WHERE id = 9",
         "UPDATE file SET inode = inode - 1 WHERE id = 9", "file", 9},
        {"UPDATE embedding SET crc = crc + 1 WHERE item = 3",
         "UPDATE embedding SET crc = crc - 1 WHERE item = 3", "embedding", 3},
        {"UPDATE model SET background_crc = background_crc + 1",
         "UPDATE model SET background_crc = background_crc - 1", "model", 1},
        {"INSERT INTO dead_slot (model, slot) VALUES (1, 4)", "DELETE FROM dead_slot", "dead_slot",
         4},
        {"UPDATE index_file SET n_rows = n_rows - 1", "UPDATE index_file SET n_rows = n_rows + 1",
         "index_file", 1},
        {"PRAGMA foreign_keys = OFF; UPDATE embedding SET item = 999 WHERE item = 3",
         "UPDATE embedding SET item = 3 WHERE item = 999", "embedding", 3},
    };
    fixture *f = *state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        finding found = {0};
        uint64_t findings = 0;
        exec(f, wrong[i].sql);
        im_store *store = help_open(f->folder, IM_STORE_READ);
        help_ok(im_store_check(store, keep_finding, &found, &findings, &err), &err);
        im_store_close(store);
        assert_int_equal(findings, 1);
        assert_int_equal(found.n, 1);
        assert_string_equal(found.table, wrong[i].table);
        assert_int_equal(found.row, wrong[i].row);
        exec(f, wrong[i].undo);
    }
    im_store *store = help_open(f->folder, IM_STORE_READ);
    help_check_clean(store);
    im_store_close(store);
}

static bool count_sound(void *context, uint64_t item, uint64_t slot, const float *vector,
                        bool sound)
{
    uint64_t *unsound = context;
    (void)item;
    (void)vector;
    if (!sound) {
        unsound[0]++;
        unsound[1] = slot;
    }
    return true;
}

/* SQLite's own check does not see it; every way to the vector does. */
static void a_flipped_byte_of_a_vector_is_never_given(void **state)
{
    fixture *f = *state;
    float vector[HELP_DIM];
    uint64_t unsound[2] = {0};
    finding found = {0};
    uint64_t findings = 0;
    help_vector(42, vector, HELP_DIM);
    uint8_t *at = memmem(f->db, f->size, vector, sizeof vector);
    assert_non_null(at);
    at[9] ^= (uint8_t)1;
    put_back(f, f->db, f->size);
    im_store *store = help_open(f->folder, IM_STORE_READ);
    assert_int_equal(im_store_get_embedding(store, 43, f->model, vector, HELP_DIM, NULL, &err),
                     IM_ERR_DAMAGED);
    assert_non_null(strstr(err.message, "'embedding', row 43"));
    help_ok(im_store_each_embedding(store, f->model, HELP_DIM, count_sound, unsound, &err), &err);
    assert_int_equal(unsound[0], 1);
    assert_int_equal(unsound[1], 42);
    help_ok(im_store_check(store, keep_finding, &found, &findings, &err), &err);
    assert_int_equal(findings, 1);
    assert_string_equal(found.table, "embedding");
    im_store_close(store);
}

static void a_flipped_byte_of_an_item_is_never_given(void **state)
{
    fixture *f = *state;
    im_item item;
    uint8_t sha256[32];
    uint64_t n_seen = 0;
    static const uint8_t lens[] = "50mm";
    help_sha256(42, sha256);
    uint8_t *at = memmem(f->db, f->size, sha256, sizeof sha256);
    assert_non_null(at);
    at = memmem(at, 200, lens, 4);
    assert_non_null(at);
    at[0] = '9';
    put_back(f, f->db, f->size);
    im_store *store = help_open(f->folder, IM_STORE_READ);
    im_code rc = IM_OK;
    for (uint64_t id = 1; id <= N_ITEMS; id++) {
        rc = im_store_get_item(store, id, &item, &err);
        n_seen += rc == IM_OK;
        assert_true(rc == IM_OK ? strcmp(item.lens, "50mm") == 0 : rc == IM_ERR_DAMAGED);
    }
    assert_int_equal(n_seen, N_ITEMS - 1);
    assert_int_equal(help_findings(store), 1);
    im_store_close(store);
}

static void check_names_the_table_of_a_broken_page(void **state)
{
    fixture *f = *state;
    finding found = {0};
    uint64_t findings = 0;
    im_store *store = help_open(f->folder, IM_STORE_READ);
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(sqlite3_prepare_v2(store->db,
                                        "SELECT pageno FROM dbstat WHERE name = 'embedding'"
                                        " AND pagetype = 'leaf' LIMIT 1",
                                        -1, &stmt, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    size_t page = (size_t)sqlite3_column_int64(stmt, 0);
    (void)sqlite3_finalize(stmt);
    im_store_close(store);
    f->db[(page - 1) * STORE_PAGE_BYTES + 3] ^= (uint8_t)0x10; /* the page's number of cells */
    put_back(f, f->db, f->size);
    store = help_open(f->folder, IM_STORE_READ);
    help_ok(im_store_check(store, keep_finding, &found, &findings, &err), &err);
    assert_true(findings > 0);
    im_code rc =
        im_store_each_embedding(store, f->model, HELP_DIM, judge_vector, &(verdict){0}, &err);
    if (rc != IM_OK) {
        assert_int_equal(rc, IM_ERR_DAMAGED);
        assert_non_null(strstr(err.message, "embedding"));
    }
    im_store_close(store);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_undamaged_library_is_right),
        T(each_byte_of_the_header_flipped),
        T(random_bytes_anywhere),
        T(pages_overwritten),
        T(a_database_that_was_cut),
        T(a_table_that_is_gone_is_damage),
        T(a_wal_with_a_bad_byte_ends_where_it_is_bad),
        T(the_wal_of_another_library_changes_nothing),
        T(shared_memory_of_noise_changes_nothing),
        T(a_wal_that_the_header_does_not_know_is_damage),
        T(a_flipped_byte_of_a_vector_is_never_given),
        T(a_flipped_byte_of_an_item_is_never_given),
        T(check_finds_each_wrong_value),
        T(check_names_the_table_of_a_broken_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
