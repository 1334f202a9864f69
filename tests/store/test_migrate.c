/* tests/store/test_migrate.c — a library of an older schema is brought up to date, whole or not at
 * all, with a copy of the old kept meanwhile (T51): from each released schema to today's, and from
 * today's to newer ones that are made up. Covers migrate.c. */
#include "base/fault.h"
#include "base/hash.h"
#include "base/memory.h"
#include "store/store_internal.h"
#include "tests/store/help.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static im_error err = IM_ERROR_INIT;
#define TODAY IM_STORE_SCHEMA
static store_migration rows[TODAY + 2];
static const store_schema first = {rows, 1};
static const store_schema next = {rows, TODAY + 1};
static const store_schema after_next = {rows, TODAY + 2};

static int make_schemas(void **state)
{
    (void)state;
    for (size_t i = 0; i < TODAY; i++) {
        rows[i] = store_real_schema.rows[i];
    }
    rows[TODAY] = (store_migration){
        TODAY + 1,
        "ALTER TABLE item ADD COLUMN stars INTEGER; UPDATE item SET stars = id * 2;"
        "CREATE TABLE album (id INTEGER PRIMARY KEY, name TEXT); PRAGMA user_version = 4;"};
    rows[TODAY + 1] = (store_migration){TODAY + 2, "DROP TABLE album; PRAGMA user_version = 5;"};
    return 0;
}

static int set_up(void **state)
{
    *state = help_memory_folder();
    help_create(*state);
    im_store *store = help_open(*state, IM_STORE_WRITE);
    uint64_t root = help_root(store, "/photos");
    uint64_t model = help_model(store, "m");
    for (uint64_t n = 0; n < 300; n++) {
        (void)help_put(store, root, model, n, n);
    }
    im_store_close(store);
    return 0;
}

static int tear_down(void **state)
{
    im_fault_clear();
    help_folder_remove(*state);
    return 0;
}

static int64_t ask(im_store *store, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    int64_t value = -1;
    if (sqlite3_prepare_v2(store->db, sql, -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW) {
        value = sqlite3_column_int64(stmt, 0);
    }
    (void)sqlite3_finalize(stmt);
    return value;
}

static void check_is(im_store *store, int64_t version)
{
    assert_int_equal(ask(store, "PRAGMA user_version"), version);
    assert_int_equal(ask(store, "SELECT sum(stars) FROM item"), version > TODAY ? 300 * 301 : -1);
    assert_int_equal(ask(store, "SELECT count(*) FROM album"), version == TODAY + 1 ? 0 : -1);
    assert_int_equal(ask(store, "SELECT count(*) FROM item"), 300);
    help_check_clean(store);
}

static bool has_copies(const char *folder)
{
    DIR *dir = opendir(folder);
    bool found = false;
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        found = found || strncmp(entry->d_name, "library.db.", 11) == 0;
    }
    (void)closedir(dir);
    return found;
}

/* Where the copy of a library of today's schema is kept while it is brought up. */
static const char *copy_of_today(const char *folder)
{
    char name[32];
    (void)snprintf(name, sizeof name, "library.db.%d", TODAY);
    return help_path(folder, name);
}

static im_store *open_as(const char *folder, im_store_mode mode, const store_schema *schema)
{
    im_store *store = NULL;
    help_ok(store_open_schema(folder, mode, schema, &store, &err), &err);
    return store;
}

static void an_older_library_is_brought_up_to_date(void **state)
{
    im_store *store = open_as(*state, IM_STORE_WRITE, &next);
    check_is(store, TODAY + 1);
    im_store_close(store);
    assert_false(has_copies(*state));
    store = open_as(*state, IM_STORE_WRITE, &after_next);
    check_is(store, TODAY + 2);
    im_store_close(store);
    assert_false(has_copies(*state));
}

static void several_steps_are_one(void **state)
{
    im_store *store = open_as(*state, IM_STORE_WRITE, &after_next);
    check_is(store, TODAY + 2);
    im_store_close(store);
    assert_int_equal(im_store_open(*state, IM_STORE_READ, &store, &err), IM_ERR_UNSUPPORTED);
    assert_string_equal(err.reason, "library_newer");
}

static void a_reader_brings_it_up_to_date_when_it_can(void **state)
{
    im_store *store = NULL;
    assert_int_equal(chmod(*state, 0555), 0);
    assert_int_equal(store_open_schema(*state, IM_STORE_READ, &next, &store, &err), IM_ERR_DENIED);
    assert_int_equal(chmod(*state, 0755), 0);
    store = open_as(*state, IM_STORE_READ, &next);
    check_is(store, TODAY + 1);
    im_store_close(store);
}

/* While another program of the same schema still has the library open. */
static void a_reader_with_a_snapshot_does_not_stop_it(void **state)
{
    im_store *old = help_open(*state, IM_STORE_READ);
    help_ok(im_store_begin_read(old, &err), &err);
    im_store *store = open_as(*state, IM_STORE_WRITE, &next);
    check_is(store, TODAY + 1);
    im_store_close(store);
    im_store_counts counts;
    help_ok(im_store_count(old, 0, &counts, &err), &err);
    assert_int_equal(counts.items, 300);
    im_store_close(old);
}

static void a_failing_step_changes_nothing(void **state)
{
    static const store_migration bad_rows[] = {
        {TODAY, ""},
        {TODAY + 1,
         "CREATE TABLE album (id INTEGER PRIMARY KEY); DROP TABLE nothing_of_that_name;"}};
    static const store_schema bad = {bad_rows, 2};
    im_store *store = NULL;
    assert_int_equal(store_open_schema(*state, IM_STORE_WRITE, &bad, &store, &err), IM_ERR_DAMAGED);
    store = help_open(*state, IM_STORE_WRITE);
    check_is(store, TODAY);
    im_store_close(store);
    assert_true(access(copy_of_today(*state), F_OK) == 0); /* kept: nothing succeeded */
    store = open_as(*state, IM_STORE_WRITE, &next);
    check_is(store, TODAY + 1);
    im_store_close(store);
    assert_false(has_copies(*state));
}

static void die_at(const char *folder, const char *point)
{
    pid_t child = fork();
    if (child == 0) {
        im_store *store = NULL;
        (void)setenv("IMAGO_FAULT_KILL", point, 1);
        im_fault_from_environment();
        (void)!store_open_schema(folder, IM_STORE_WRITE, &after_next, &store, NULL);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static void a_kill_inside_leaves_the_old_or_the_new(void **state)
{
    static const struct {
        const char *point;
        int64_t version;
        bool copy;
    } cases[] = {{"store_migration_copied", TODAY, true},
                 {"store_migration_before_commit", TODAY, true},
                 {"store_migration_done", TODAY + 2, true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        die_at(*state, cases[i].point);
        assert_int_equal(access(copy_of_today(*state), F_OK) == 0, cases[i].copy);
        im_store *store = NULL;
        im_code rc = im_store_open(*state, IM_STORE_READ, &store, &err);
        assert_int_equal(rc, cases[i].version == TODAY ? IM_OK : IM_ERR_UNSUPPORTED);
        if (rc == IM_OK) {
            check_is(store, TODAY);
        }
        im_store_close(store);
    }
    im_store *store = open_as(*state, IM_STORE_WRITE, &after_next);
    check_is(store, TODAY + 2);
    im_store_close(store);
    assert_false(has_copies(*state)); /* what the killed one left is tidied */
}

static void the_kept_copy_is_the_old_library(void **state)
{
    char *other = help_memory_folder();
    char path[512];
    die_at(*state, "store_migration_done");
    (void)snprintf(path, sizeof path, "%s/library.db", other);
    assert_int_equal(rename(copy_of_today(*state), path), 0);
    im_store *store = help_open(other, IM_STORE_WRITE);
    check_is(store, TODAY);
    im_store_close(store);
    help_folder_remove(other);
}

/* Each open, read, write, sync, rename fails in turn, with the codes of a broken and a full disk.
 */
static void a_failure_inside_leaves_the_old_or_the_new(void **state)
{
    static const struct {
        im_fault_kind kind;
        int errnum;
        im_code wanted;
    } cases[] = {{IM_FAULT_OPEN, 0, IM_ERR_IO},  {IM_FAULT_READ, 0, IM_ERR_IO},
                 {IM_FAULT_WRITE, 0, IM_ERR_IO}, {IM_FAULT_WRITE, ENOSPC, IM_ERR_FULL},
                 {IM_FAULT_SYNC, 0, IM_ERR_IO},  {IM_FAULT_RENAME, 0, IM_ERR_IO}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *folder = help_memory_folder();
        char command[512];
        (void)snprintf(command, sizeof command, "cp -r '%s/.' '%s'", (char *)*state, folder);
        assert_int_equal(system(command), 0);
        size_t step = cases[i].kind == IM_FAULT_READ || cases[i].kind == IM_FAULT_WRITE ? 7 : 1;
        bool passed = false;
        for (size_t nth = 0; !passed; nth += step) {
            im_store *store = NULL;
            im_fault_set(cases[i].kind, nth, cases[i].errnum);
            im_code rc = store_open_schema(folder, IM_STORE_WRITE, &after_next, &store, &err);
            bool fired = im_fault_fired(cases[i].kind);
            im_fault_clear();
            im_store_close(store);
            passed = rc == IM_OK && !fired;
            if (rc != IM_OK) {
                assert_true(fired);
            }
            im_store *again = NULL;
            im_code old = im_store_open(folder, IM_STORE_READ, &again, &err);
            if (old == IM_OK) {
                check_is(again, TODAY);
                im_store_close(again);
            } else {
                assert_int_equal(old, IM_ERR_UNSUPPORTED);
                again = open_as(folder, IM_STORE_READ, &after_next);
                check_is(again, TODAY + 2);
                im_store_close(again);
                break;
            }
        }
        help_folder_remove(folder);
    }
}

/* ---- from each released schema ---- */

/* What a program of schema 1 left: three pictures, one of them removed, one missing, one tagged and
 * named by hand as no program did then. */
static const char schema_1_rows[] =
    "INSERT INTO setting VALUES ('library_id', '00112233445566778899aabbccddeeff');"
    "INSERT INTO root (path, recursive, added_ns) VALUES (x'2f70', 1, 5);"
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)"
    " INSERT INTO item (sha256, bytes, format, width, height, phash, partial, camera, lens,"
    " added_ns, crc) SELECT CAST(printf('%032d', i) AS BLOB), i, 'jpeg', 10, 20, i, 0, 'C', '', 7,"
    " imago_crc(CAST(printf('%032d', i) AS BLOB), i, 'jpeg', 10, 20, i, 0, NULL, NULL, NULL, NULL,"
    " 'C', '', 7) FROM n;"
    "INSERT INTO file (root, path, size, mtime_ns, device, inode, hashed_ns, edges, item, crc)"
    " SELECT 1, CAST('Trip/pic' || id || '.jpg' AS BLOB), 1, 2, 3, id, 5, 6, id,"
    " imago_crc(1, CAST('Trip/pic' || id || '.jpg' AS BLOB), 1, 2, 3, id, 5, 6, id) FROM item;"
    "UPDATE file SET path = x'61ff62', crc = imago_crc(1, x'61ff62', 1, 2, 3, 5, 5, 6, 5),"
    " missing_since_ns = 9 WHERE item = 5;"
    "INSERT INTO model (name, folder, digest, files, family, dim, precision, state,"
    " background_rows, background_crc, background)"
    " VALUES ('m', x'2f', 'd', '[]', 'clip', 1, 'fp32', 'active', 0, 0, x'');"
    "INSERT INTO embedding SELECT id, 1, 300 - id, 'fp32', CRC_OF_ONE, x'0000803f' FROM item;"
    "INSERT INTO change (model, slot, item, op) SELECT 1, slot, item, 'put' FROM embedding;"
    "INSERT INTO index_file (model, name, generation, n_rows) VALUES (1, 'vectors', 1, 300);"
    "INSERT INTO tag (name) VALUES ('red');"
    "INSERT INTO item_tag (item, tag, source) VALUES (7, 1, 'user');"
    "INSERT INTO item_field VALUES (7, 'stars', 'number', 4.5), (7, 'key', 'text', 'k7');"
    "INSERT INTO item_text (rowid, name, tag, caption, visible) VALUES (7, 'old', '', '', '');"
    "INSERT INTO vlm_audit (when_ns, host, model, purpose, items, bytes_sent, tokens, ms, outcome)"
    " VALUES (1, 'h', 'm', 'rerank', '[7]', 1, 93, 1, 'judged'),"
    " (2, 'h', 'm', 'rerank', '[]', 1, 93, 1, 'judged'),"
    " (3, 'h', 'm', 'rerank', '[999]', 1, 93, 1, 'judged');"
    "DELETE FROM change WHERE seq < 300; DELETE FROM change; PRAGMA journal_mode = WAL;";

static int set_up_first(void **state)
{
    sqlite3 *db = NULL;
    char sql[sizeof schema_1_rows + 16];
    const char *mark = strstr(schema_1_rows, "CRC_OF_ONE");
    *state = help_memory_folder();
    help_create(*state); /* for the folders; the database is put in the place of its own */
    (void)snprintf(sql, sizeof sql, "%.*s%u%s", (int)(mark - schema_1_rows), schema_1_rows,
                   im_crc32c(0, "\0\0\x80\x3f", 4), mark + strlen("CRC_OF_ONE"));
    const char *path = help_path(*state, "library.db");
    store_database_remove(path);
    help_ok(
        store_connect(path, store_vfs_name, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db, &err),
        &err);
    help_ok(store_exec(db, "PRAGMA page_size = 16384", path, "create", &err), &err);
    help_ok(store_schema_create(db, &first, path, &err), &err);
    help_ok(store_exec(db, sql, path, "create", &err), &err);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return 0;
}

static uint64_t slots_of_words(im_store *store, const char *words)
{
    uint64_t bits[5];
    uint64_t n = 0;
    help_ok(im_store_slots_of_text(store, 1, im_view_from(words), 300, bits, &err), &err);
    for (size_t i = 0; i < 5; i++) {
        n += (uint64_t)__builtin_popcountll(bits[i]);
    }
    return n;
}

static void check_is_today(im_store *store)
{
    uint64_t item = 0;
    uint64_t seq = 0;
    im_item row;
    help_check_clean(store);
    assert_int_equal(ask(store, "SELECT count(*) FROM embedding"), 300);
    assert_int_equal(ask(store, "SELECT count(*) FROM change"), 0);
    help_ok(im_store_change_seq(store, &seq, &err), &err);
    assert_int_equal(seq, 300); /* also when no change is left */
    assert_int_equal(slots_of_words(store, "pic7"), 1);
    assert_int_equal(slots_of_words(store, "trip"), 299);
    assert_int_equal(slots_of_words(store, "red"), 1);
    assert_int_equal(slots_of_words(store, "old"), 0);
    help_ok(im_store_item_of_key(store, "k7", &item, &err), &err);
    assert_int_equal(item, 7);
    help_ok(im_store_get_item(store, 7, &row, &err), &err);
    assert_string_equal(row.source, "file");
    assert_int_equal(ask(store, "SELECT count(*) FROM field WHERE name = 'STARS'"), 1);
    /* the line of item 7 has its hash; that of an item that is gone, none */
    assert_int_equal(ask(store, "SELECT count(*) FROM vlm_audit WHERE cost_nano = 0"), 3);
    assert_int_equal(ask(store, "SELECT id FROM vlm_audit WHERE json_extract(pictures, '$[0]') ="
                                " lower(hex(CAST(printf('%032d', 7) AS BLOB)))"),
                     1);
    assert_int_equal(ask(store, "SELECT count(*) FROM vlm_audit WHERE pictures = '[]'"), 2);
}

static void a_library_of_schema_1_comes_up_whole(void **state)
{
    im_store *store = help_open(*state, IM_STORE_READ);
    check_is_today(store);
    im_store_close(store);
    assert_false(has_copies(*state));
    store = help_open(*state, IM_STORE_WRITE);
    help_ok(im_store_put_tag(store, 8, "blue", IM_SOURCE_USER, &err), &err);
    uint64_t seq = 0;
    help_ok(im_store_change_seq(store, &seq, &err), &err);
    assert_int_equal(seq, 301);
    help_check_clean(store);
    im_store_close(store);
}

/* It is the first schema still, and a program of that time would read it. */
static void check_is_first(const char *folder)
{
    im_store *store = NULL;
    help_ok(store_open_schema(folder, IM_STORE_READ, &first, &store, &err), &err);
    assert_int_equal(ask(store, "PRAGMA user_version"), 1);
    assert_int_equal(ask(store, "SELECT count(*) FROM embedding"), 300);
    assert_int_equal(ask(store, "SELECT count(*) FROM field"), -1);
    im_store_close(store);
}

static void a_kill_on_the_way_from_schema_1_loses_nothing(void **state)
{
    static const char *const points[] = {"store_migration_copied", "store_migration_before_commit"};
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        pid_t child = fork();
        if (child == 0) {
            im_store *store = NULL;
            (void)setenv("IMAGO_FAULT_KILL", points[i], 1);
            im_fault_from_environment();
            (void)!im_store_open(*state, IM_STORE_WRITE, &store, NULL);
            _exit(0);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        check_is_first(*state);
        assert_true(access(help_path(*state, "library.db.1"), F_OK) == 0);
    }
    im_store *store = help_open(*state, IM_STORE_WRITE);
    check_is_today(store);
    im_store_close(store);
    assert_false(has_copies(*state));
}

static void a_failure_on_the_way_from_schema_1_loses_nothing(void **state)
{
    static const struct {
        im_fault_kind kind;
        int errnum;
        size_t step;
    } cases[] = {{IM_FAULT_ALLOC, 0, 37},
                 {IM_FAULT_WRITE, ENOSPC, 3},
                 {IM_FAULT_WRITE, 0, 5},
                 {IM_FAULT_SYNC, 0, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *folder = help_memory_folder();
        char command[512];
        bool fired = true;
        (void)snprintf(command, sizeof command, "cp -r '%s/.' '%s'", (char *)*state, folder);
        assert_int_equal(system(command), 0);
        for (size_t nth = 0; fired; nth += cases[i].step) {
            im_store *store = NULL;
            im_fault_set(cases[i].kind, nth, cases[i].errnum);
            im_code rc = im_store_open(folder, IM_STORE_WRITE, &store, &err);
            fired = im_fault_fired(cases[i].kind);
            im_fault_clear();
            im_store_close(store);
            if (rc == IM_OK) {
                break;
            }
            im_error ignored = IM_ERROR_INIT;
            if (store_open_schema(folder, IM_STORE_READ, &first, &store, &ignored) == IM_OK) {
                im_store_close(store);
                check_is_first(folder);
            }
        }
        im_store *store = help_open(folder, IM_STORE_WRITE);
        check_is_today(store);
        im_store_close(store);
        help_folder_remove(folder);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define F(name) cmocka_unit_test_setup_teardown(name, set_up_first, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(an_older_library_is_brought_up_to_date),
        T(several_steps_are_one),
        T(a_reader_brings_it_up_to_date_when_it_can),
        T(a_reader_with_a_snapshot_does_not_stop_it),
        T(a_failing_step_changes_nothing),
        T(a_kill_inside_leaves_the_old_or_the_new),
        T(the_kept_copy_is_the_old_library),
        T(a_failure_inside_leaves_the_old_or_the_new),
        F(a_library_of_schema_1_comes_up_whole),
        F(a_kill_on_the_way_from_schema_1_loses_nothing),
        F(a_failure_on_the_way_from_schema_1_loses_nothing),
    };
    return cmocka_run_group_tests(tests, make_schemas, NULL);
}
