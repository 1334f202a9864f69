/* tests/store/test_migrate.c — a library of an older schema is brought up to date, whole or not at
 * all, with a copy of the old kept meanwhile (T51). Today's schema is the first one, so the newer
 * ones of these tests are made up. Covers migrate.c. */
#include "base/fault.h"
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
static store_migration rows[3];
static const store_schema two = {rows, 2};
static const store_schema three = {rows, 3};

static int make_schemas(void **state)
{
    (void)state;
    rows[0] = store_real_schema.rows[0];
    rows[1] = (store_migration){
        2, "ALTER TABLE item ADD COLUMN stars INTEGER; UPDATE item SET stars = id * 2;"
           "CREATE TABLE album (id INTEGER PRIMARY KEY, name TEXT); PRAGMA user_version = 2;"};
    rows[2] = (store_migration){3, "DROP TABLE album; PRAGMA user_version = 3;"};
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
    assert_int_equal(ask(store, "SELECT sum(stars) FROM item"), version >= 2 ? 300 * 301 : -1);
    assert_int_equal(ask(store, "SELECT count(*) FROM album"), version == 2 ? 0 : -1);
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

static im_store *open_as(const char *folder, im_store_mode mode, const store_schema *schema)
{
    im_store *store = NULL;
    help_ok(store_open_schema(folder, mode, schema, &store, &err), &err);
    return store;
}

static void an_older_library_is_brought_up_to_date(void **state)
{
    im_store *store = open_as(*state, IM_STORE_WRITE, &two);
    check_is(store, 2);
    im_store_close(store);
    assert_false(has_copies(*state));
    store = open_as(*state, IM_STORE_WRITE, &three);
    check_is(store, 3);
    im_store_close(store);
    assert_false(has_copies(*state));
}

static void several_steps_are_one(void **state)
{
    im_store *store = open_as(*state, IM_STORE_WRITE, &three);
    check_is(store, 3);
    im_store_close(store);
    assert_int_equal(im_store_open(*state, IM_STORE_READ, &store, &err), IM_ERR_UNSUPPORTED);
    assert_string_equal(err.reason, "library_newer");
}

static void a_reader_brings_it_up_to_date_when_it_can(void **state)
{
    im_store *store = NULL;
    assert_int_equal(chmod(*state, 0555), 0);
    assert_int_equal(store_open_schema(*state, IM_STORE_READ, &two, &store, &err), IM_ERR_DENIED);
    assert_int_equal(chmod(*state, 0755), 0);
    store = open_as(*state, IM_STORE_READ, &two);
    check_is(store, 2);
    im_store_close(store);
}

/* While another program of the same schema still has the library open. */
static void a_reader_with_a_snapshot_does_not_stop_it(void **state)
{
    im_store *old = help_open(*state, IM_STORE_READ);
    help_ok(im_store_begin_read(old, &err), &err);
    im_store *store = open_as(*state, IM_STORE_WRITE, &two);
    check_is(store, 2);
    im_store_close(store);
    im_store_counts counts;
    help_ok(im_store_count(old, 0, &counts, &err), &err);
    assert_int_equal(counts.items, 300);
    im_store_close(old);
}

static void a_failing_step_changes_nothing(void **state)
{
    static const store_migration bad_rows[] = {
        {1, ""},
        {2, "CREATE TABLE album (id INTEGER PRIMARY KEY); DROP TABLE nothing_of_that_name;"}};
    static const store_schema bad = {bad_rows, 2};
    im_store *store = NULL;
    assert_int_equal(store_open_schema(*state, IM_STORE_WRITE, &bad, &store, &err), IM_ERR_DAMAGED);
    store = help_open(*state, IM_STORE_WRITE);
    check_is(store, 1);
    im_store_close(store);
    assert_true(access(help_path(*state, "library.db.1"), F_OK) == 0); /* kept: nothing succeeded */
    store = open_as(*state, IM_STORE_WRITE, &two);
    check_is(store, 2);
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
        (void)!store_open_schema(folder, IM_STORE_WRITE, &three, &store, NULL);
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
    } cases[] = {{"store_migration_copied", 1, true},
                 {"store_migration_before_commit", 1, true},
                 {"store_migration_done", 3, true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        die_at(*state, cases[i].point);
        assert_int_equal(access(help_path(*state, "library.db.1"), F_OK) == 0, cases[i].copy);
        im_store *store = NULL;
        im_code rc = im_store_open(*state, IM_STORE_READ, &store, &err);
        assert_int_equal(rc, cases[i].version == 1 ? IM_OK : IM_ERR_UNSUPPORTED);
        if (rc == IM_OK) {
            check_is(store, 1);
        }
        im_store_close(store);
    }
    im_store *store = open_as(*state, IM_STORE_WRITE, &three);
    check_is(store, 3);
    im_store_close(store);
    assert_false(has_copies(*state)); /* what the killed one left is tidied */
}

static void the_kept_copy_is_the_old_library(void **state)
{
    char *other = help_memory_folder();
    char path[512];
    die_at(*state, "store_migration_done");
    (void)snprintf(path, sizeof path, "%s/library.db", other);
    assert_int_equal(rename(help_path(*state, "library.db.1"), path), 0);
    im_store *store = help_open(other, IM_STORE_WRITE);
    check_is(store, 1);
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
            im_code rc = store_open_schema(folder, IM_STORE_WRITE, &three, &store, &err);
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
                check_is(again, 1);
                im_store_close(again);
            } else {
                assert_int_equal(old, IM_ERR_UNSUPPORTED);
                again = open_as(folder, IM_STORE_READ, &three);
                check_is(again, 3);
                im_store_close(again);
                break;
            }
        }
        help_folder_remove(folder);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

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
    };
    return cmocka_run_group_tests(tests, make_schemas, NULL);
}
