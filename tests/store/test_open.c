/* tests/store/test_open.c — creating and opening: what is refused (hostile case T50), what works on
 * folders that cannot be written (T47), and that nothing is changed by looking. Covers create.c,
 * open.c, header.c, reserve.c. */
#include "base/limits.h"
#include "base/memory.h"
#include "store/store_internal.h"
#include "tests/store/help.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static im_error err = IM_ERROR_INIT;

static int set_up(void **state)
{
    *state = help_folder();
    help_create(*state);
    return 0;
}

static int set_up_empty(void **state)
{
    *state = help_folder();
    return 0;
}

static int tear_down(void **state)
{
    help_folder_remove(*state);
    return 0;
}

static im_code try_open(const char *folder, im_store_mode mode)
{
    im_store *store = NULL;
    err = (im_error)IM_ERROR_INIT;
    im_code rc = im_store_open(folder, mode, &store, &err);
    assert_true((rc == IM_OK) == (store != NULL));
    im_store_close(store);
    return rc;
}

static size_t count_entries(const char *folder)
{
    DIR *dir = opendir(folder);
    size_t n = 0;
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        n++;
    }
    (void)closedir(dir);
    return n;
}

/* ---- creating ---- */

static void a_new_library_has_its_files(void **state)
{
    static const char *const names[] = {"library.db", "reserve", "lock",
                                        "index",      "thumbs",  "originals"};
    struct stat info;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(stat(help_path(*state, names[i]), &info), 0);
    }
    assert_int_equal(count_entries(*state), 6 + 2);
    assert_int_equal(stat(help_path(*state, "reserve"), &info), 0);
    assert_true((uint64_t)info.st_blocks * 512 >= IM_RESERVE_BYTES);
}

static void the_header_is_as_designed(void **state)
{
    size_t size = 0;
    uint8_t *db = help_read(help_path(*state, "library.db"), &size);
    assert_int_equal(db[16] << 8 | db[17], 16384);
    assert_int_equal(db[18], 2);
    assert_int_equal(db[19], 2);
    assert_memory_equal(db + 68, "IMAG", 4);
    assert_int_equal(db[63], IM_STORE_SCHEMA);
    assert_int_equal(size % 16384, 0);
    im_free(db);
}

static void two_libraries_have_different_ids(void **state)
{
    char *other = help_folder();
    uint8_t a[16];
    uint8_t again[16];
    uint8_t b[16];
    uint8_t zero[16] = {0};
    help_create(other);
    im_store *store = help_open(*state, IM_STORE_WRITE);
    im_store_id(store, a);
    assert_string_equal(im_store_folder(store), *state);
    im_store_close(store);
    store = help_open(*state, IM_STORE_READ);
    im_store_id(store, again);
    im_store_close(store);
    store = help_open(other, IM_STORE_READ);
    im_store_id(store, b);
    im_store_close(store);
    assert_memory_equal(a, again, sizeof a);
    assert_memory_not_equal(a, b, sizeof a);
    assert_memory_not_equal(a, zero, sizeof a);
    help_folder_remove(other);
}

static void every_connection_is_set_as_designed(void **state)
{
    static const struct {
        const char *sql;
        int64_t value;
    } settings[] = {
        {"PRAGMA foreign_keys", 1},   {"PRAGMA synchronous", 2},     {"PRAGMA mmap_size", 0},
        {"PRAGMA trusted_schema", 0}, {"PRAGMA cell_size_check", 1}, {"PRAGMA page_size", 16384},
    };
    im_store *store = help_open(*state, IM_STORE_WRITE);
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        sqlite3_stmt *stmt = NULL;
        assert_int_equal(sqlite3_prepare_v2(store->db, settings[i].sql, -1, &stmt, NULL),
                         SQLITE_OK);
        int rc = sqlite3_step(stmt);
        /* mmap_size gives no row when the VFS does not map */
        int64_t value = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
        assert_int_equal(value, settings[i].value);
        (void)sqlite3_finalize(stmt);
    }
    im_store_close(store);
}

static void every_table_of_the_design_is_there(void **state)
{
    static const char *const tables[] = {
        "root",    "item",         "file",    "model",     "embedding", "index_file", "change",
        "caption", "item_field",   "tag",     "item_tag",  "item_text", "failure",    "removed",
        "job",     "saved_search", "api_key", "vlm_cache", "vlm_audit", "setting"};
    im_store *store = help_open(*state, IM_STORE_READ);
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        char sql[96];
        (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", tables[i]);
        assert_int_equal(sqlite3_exec(store->db, sql, NULL, NULL, NULL), SQLITE_OK);
    }
    im_store_close(store);
}

/* The checksum is part of the format: another implementation computes the same. */
static void the_checksum_of_rows_is_that_of_the_reference(void **state)
{
    FILE *file = fopen(IMAGO_SOURCE_DIR "/tests/golden/store/crc.tsv", "r");
    im_store *store = help_open(*state, IM_STORE_READ);
    char line[1024];
    unsigned n = 0;
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        char sql[1100];
        char *values = strchr(line, '\t');
        sqlite3_stmt *stmt = NULL;
        if (line[0] == '#') {
            continue;
        }
        assert_non_null(values);
        values[strcspn(values, "\n")] = '\0';
        (void)snprintf(sql, sizeof sql, "SELECT imago_crc(%s)", values + 1);
        assert_int_equal(sqlite3_prepare_v2(store->db, sql, -1, &stmt, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
        assert_int_equal(sqlite3_column_int64(stmt, 0), strtoll(line, NULL, 10));
        (void)sqlite3_finalize(stmt);
        n++;
    }
    assert_true(n >= 25);
    (void)fclose(file);
    im_store_close(store);
}

static void creating_again_is_a_conflict_and_changes_nothing(void **state)
{
    size_t before_size = 0;
    size_t after_size = 0;
    uint8_t *before = help_read(help_path(*state, "library.db"), &before_size);
    assert_int_equal(im_store_create(*state, &err), IM_ERR_CONFLICT);
    assert_string_equal(err.reason, "library_exists");
    uint8_t *after = help_read(help_path(*state, "library.db"), &after_size);
    assert_int_equal(before_size, after_size);
    assert_memory_equal(before, after, before_size);
    im_free(before);
    im_free(after);
}

static void creating_makes_parents(void **state)
{
    char deep[PATH_MAX];
    (void)snprintf(deep, sizeof deep, "%s/a/b/c", (char *)*state);
    help_create(deep);
    assert_int_equal(try_open(deep, IM_STORE_WRITE), IM_OK);
}

static void creating_over_an_interrupted_creation_finishes_it(void **state)
{
    help_write(help_path(*state, "library.db.new"), "SQLite format 3", 15);
    help_write(help_path(*state, "library.db.new-wal"), "junk", 4);
    help_write(help_path(*state, "reserve"), "short", 5);
    assert_int_equal(try_open(*state, IM_STORE_WRITE), IM_ERR_NOT_FOUND);
    assert_string_equal(err.reason, "library_not_found");
    assert_non_null(strstr(err.message, "not finished"));
    help_create(*state);
    assert_int_equal(try_open(*state, IM_STORE_WRITE), IM_OK);
    assert_true(store_reserve_is_whole(*state));
    assert_int_equal(access(help_path(*state, "library.db.new"), F_OK), -1);
    assert_int_equal(access(help_path(*state, "library.db.new-wal"), F_OK), -1);
}

static void creating_where_a_file_stands_is_refused(void **state)
{
    help_write(help_path(*state, "f"), "x", 1);
    assert_int_equal(im_store_create(help_path(*state, "f"), &err), IM_ERR_CONFLICT);
    assert_int_equal(im_store_create(help_path(*state, "f/g"), &err), IM_ERR_CONFLICT);
}

/* ---- opening: what is not there ---- */

static void no_library_is_not_found(void **state)
{
    assert_int_equal(try_open(*state, IM_STORE_READ), IM_ERR_NOT_FOUND);
    assert_string_equal(err.reason, "library_not_found");
    assert_non_null(strstr(err.message, *state));
    assert_int_equal(try_open(help_path(*state, "nowhere"), IM_STORE_WRITE), IM_ERR_NOT_FOUND);
    assert_string_equal(err.reason, "library_not_found");
    help_write(help_path(*state, "file"), "x", 1);
    assert_int_equal(try_open(help_path(*state, "file"), IM_STORE_READ), IM_ERR_NOT_FOUND);
    assert_int_equal(count_entries(*state), 1 + 2); /* looking made nothing */
}

static void a_path_too_long_for_sqlite_is_said(void **state)
{
    char deep[PATH_MAX];
    int size = snprintf(deep, sizeof deep, "%s/", (char *)*state);
    memset(deep + size, 'd', 240);
    deep[size + 240] = '/';
    memset(deep + size + 241, 'e', 240);
    deep[size + 481] = '\0';
    im_code rc = im_store_create(deep, &err);
    assert_int_equal(rc, IM_ERR_LIMIT);
    assert_string_equal(err.reason, "path_too_long");
}

/* ---- opening: what is not ours (T50) ---- */

static void check_refused(const char *folder, const void *bytes, size_t size, im_code code,
                          const char *reason)
{
    for (int mode = 0; mode < 2; mode++) {
        size_t after_size = 0;
        help_write(help_path(folder, "library.db"), bytes, size);
        size_t entries = count_entries(folder);
        assert_int_equal(try_open(folder, mode == 0 ? IM_STORE_READ : IM_STORE_WRITE), code);
        assert_string_equal(err.reason, reason);
        assert_true(strlen(err.message) > 20 && strlen(err.hint) > 5);
        uint8_t *after = help_read(help_path(folder, "library.db"), &after_size);
        assert_int_equal(size, after_size);
        assert_memory_equal(bytes, after, size);
        assert_int_equal(count_entries(folder), entries);
        im_free(after);
    }
}

static void a_file_that_is_no_database_is_foreign(void **state)
{
    char text[5000];
    memset(text, 'x', sizeof text);
    check_refused(*state, "", 0, IM_ERR_FORMAT, "library_foreign");
    check_refused(*state, "SQLite format 3", 16, IM_ERR_FORMAT, "library_foreign");
    check_refused(*state, text, 99, IM_ERR_FORMAT, "library_foreign");
    check_refused(*state, text, sizeof text, IM_ERR_FORMAT, "library_foreign");
}

static void what_is_no_regular_file_is_foreign_and_never_waited_for(void **state)
{
    assert_int_equal(mkfifo(help_path(*state, "library.db"), 0600), 0);
    assert_int_equal(try_open(*state, IM_STORE_READ), IM_ERR_FORMAT);
    assert_string_equal(err.reason, "library_foreign");
    assert_int_equal(unlink(help_path(*state, "library.db")), 0);
    assert_int_equal(mkdir(help_path(*state, "library.db"), 0700), 0);
    assert_int_equal(try_open(*state, IM_STORE_WRITE), IM_ERR_FORMAT);
    assert_int_equal(im_store_create(*state, &err), IM_ERR_CONFLICT);
}

static void put_be32(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 24);
    at[1] = (uint8_t)(value >> 16);
    at[2] = (uint8_t)(value >> 8);
    at[3] = (uint8_t)value;
}

static void other_schema_numbers_and_programs_are_told_apart(void **state)
{
    static const struct {
        uint32_t at, value;
        im_code code;
        const char *reason;
        const char *says;
    } cases[] = {
        {60, IM_STORE_SCHEMA + 1, IM_ERR_UNSUPPORTED, "library_newer", "schema 4"},
        {60, IM_STORE_SCHEMA + 1000, IM_ERR_UNSUPPORTED, "library_newer", "schema 1003"},
        {60, (uint32_t)-1, IM_ERR_FORMAT, "library_foreign", "schema -1"},
        {60, 0, IM_ERR_DAMAGED, "damaged", "schema 0"},
        {60, 0x7f000001, IM_ERR_DAMAGED, "damaged", "schema"},
        {68, 0, IM_ERR_FORMAT, "library_foreign", "0x00000000"},
        {68, 0x12345678, IM_ERR_FORMAT, "library_foreign", "0x12345678"},
    };
    size_t size = 0;
    uint8_t *db = help_read(help_path(*state, "library.db"), &size);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t saved[4];
        memcpy(saved, db + cases[i].at, 4);
        put_be32(db + cases[i].at, cases[i].value);
        check_refused(*state, db, size, cases[i].code, cases[i].reason);
        assert_non_null(strstr(err.message, cases[i].says));
        memcpy(db + cases[i].at, saved, 4);
    }
    im_free(db);
}

static void the_newer_sentence_names_both_numbers(void **state)
{
    size_t size = 0;
    uint8_t *db = help_read(help_path(*state, "library.db"), &size);
    put_be32(db + 60, 77);
    check_refused(*state, db, size, IM_ERR_UNSUPPORTED, "library_newer");
    assert_non_null(strstr(err.message, "schema 77"));
    assert_non_null(strstr(err.message, "up to 3"));
    im_free(db);
}

static void the_database_of_another_program_is_foreign(void **state)
{
    sqlite3 *db = NULL;
    const char *path = help_path(*state, "library.db");
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE bookmarks (url TEXT)", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    size_t size = 0;
    uint8_t *bytes = help_read(path, &size);
    check_refused(*state, bytes, size, IM_ERR_FORMAT, "library_foreign");
    im_free(bytes);
}

/* The newer number is only in the WAL yet: the raw header does not tell. */
static void a_newer_number_in_the_wal_is_seen_and_nothing_is_written_back(void **state)
{
    char *copy = help_folder();
    im_store *store = help_open(*state, IM_STORE_WRITE);
    assert_int_equal(sqlite3_exec(store->db, "PRAGMA user_version = 5", NULL, NULL, NULL),
                     SQLITE_OK);
    /* a copy of a live library, as after kill -9; read by a child, for the sake of SQLite's locks
     */
    pid_t child = fork();
    if (child == 0) {
        char command[2 * PATH_MAX];
        (void)snprintf(command, sizeof command, "cp '%s'/library.db* '%s'/", (char *)*state, copy);
        _exit(system(command) == 0 ? 0 : 1);
    }
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    im_store_close(store);
    assert_int_equal(unlink(help_path(copy, "library.db-shm")), 0);
    size_t before_size = 0;
    size_t after_size = 0;
    uint8_t *before = help_read(help_path(copy, "library.db"), &before_size);
    assert_int_equal(before[63], IM_STORE_SCHEMA);
    for (int mode = 0; mode < 2; mode++) {
        assert_int_equal(try_open(copy, mode == 0 ? IM_STORE_READ : IM_STORE_WRITE),
                         IM_ERR_UNSUPPORTED);
        assert_string_equal(err.reason, "library_newer");
    }
    uint8_t *after = help_read(help_path(copy, "library.db"), &after_size);
    assert_int_equal(before_size, after_size);
    assert_memory_equal(before, after, before_size);
    im_free(before);
    im_free(after);
    help_folder_remove(copy);
}

static void a_library_without_its_id_is_damaged(void **state)
{
    im_store *store = help_open(*state, IM_STORE_WRITE);
    help_ok(im_store_set_setting(store, "library_id", "xyz", &err), &err);
    im_store_close(store);
    assert_int_equal(try_open(*state, IM_STORE_READ), IM_ERR_DAMAGED);
    assert_non_null(strstr(err.message, "setting"));
}

/* ---- odd paths ---- */

static void a_library_may_lie_at_an_odd_path(void **state)
{
    char odd[PATH_MAX];
    (void)snprintf(odd, sizeof odd, "%s/a?b%%41#c &\xff\xfe=1'\"", (char *)*state);
    help_create(odd);
    im_store *store = help_open(odd, IM_STORE_WRITE);
    (void)help_root(store, "/x");
    im_store_close(store);
    assert_int_equal(chmod(odd, 0555), 0);
    store = help_open(odd, IM_STORE_READ); /* through a URI, all escaped */
    assert_int_equal(store->access, STORE_ACCESS_IMMUTABLE);
    help_check_clean(store);
    im_store_close(store);
    assert_int_equal(chmod(odd, 0755), 0);
}

static void a_relative_folder_survives_a_change_of_the_working_folder(void **state)
{
    char old[PATH_MAX];
    assert_non_null(getcwd(old, sizeof old));
    assert_int_equal(chdir(*state), 0);
    im_store *store = help_open(".", IM_STORE_WRITE);
    assert_int_equal(chdir("/"), 0);
    (void)help_root(store, "/x"); /* takes the lock */
    im_store_release_reserve(store);
    assert_false(store_reserve_is_whole(*state));
    im_store_refill_reserve(store);
    assert_true(store_reserve_is_whole(*state));
    im_store_close(store);
    assert_int_equal(access("/lock", F_OK), -1);
    assert_int_equal(chdir(old), 0);
}

/* ---- read-only (T47) ---- */

static void fill(const char *folder)
{
    im_store *store = help_open(folder, IM_STORE_WRITE);
    uint64_t root = help_root(store, "/photos");
    uint64_t model = help_model(store, "m");
    for (uint64_t n = 0; n < 5; n++) {
        (void)help_put(store, root, model, n, n);
    }
    im_store_close(store);
}

static void check_reads(const char *folder, store_access access, uint64_t n_items)
{
    im_store *store = help_open(folder, IM_STORE_READ);
    im_store_counts counts;
    assert_int_equal(store->access, access);
    help_ok(im_store_begin_read(store, &err), &err);
    help_ok(im_store_count(store, 0, &counts, &err), &err);
    assert_int_equal(counts.items, n_items);
    im_store_end_read(store);
    help_check_clean(store);
    im_store_close(store);
}

static void check_read_only(const char *folder, store_access access, uint64_t n_items)
{
    size_t entries = count_entries(folder);
    check_reads(folder, access, n_items);
    assert_int_equal(try_open(folder, IM_STORE_WRITE), IM_ERR_DENIED);
    assert_non_null(strstr(err.message, "read-only"));
    assert_int_equal(count_entries(folder), entries);
}

static void a_reader_cannot_write(void **state)
{
    im_store *store = help_open(*state, IM_STORE_READ);
    uint64_t root = 0;
    assert_int_equal(im_store_put_root(store, "/x", true, &root, &err), IM_ERR_DENIED);
    assert_int_equal(im_store_lock(store, 0, &err), IM_ERR_DENIED);
    assert_int_equal(im_store_begin(store, &err), IM_ERR_DENIED);
    im_store_release_reserve(store);
    assert_true(store_reserve_is_whole(*state));
    im_store_close(store);
}

static void a_folder_without_write_permission_is_searched(void **state)
{
    fill(*state);
    assert_int_equal(chmod(*state, 0555), 0);
    check_read_only(*state, STORE_ACCESS_IMMUTABLE, 5);
    assert_int_equal(chmod(*state, 0755), 0);
}

static void a_database_without_write_permission_is_searched(void **state)
{
    fill(*state);
    assert_int_equal(chmod(help_path(*state, "library.db"), 0444), 0);
    check_reads(*state, STORE_ACCESS_LIVE, 5);
    assert_int_equal(try_open(*state, IM_STORE_WRITE), IM_ERR_DENIED);
    assert_non_null(strstr(err.message, "library.db"));
}

/* A child that fills the library and is killed leaves the WAL as a power cut does. */
static void fill_and_die(const char *folder)
{
    pid_t child = fork();
    if (child == 0) {
        im_store *store = help_open(folder, IM_STORE_WRITE);
        uint64_t root = help_root(store, "/photos");
        uint64_t model = help_model(store, "m");
        for (uint64_t n = 0; n < 9; n++) {
            (void)help_put(store, root, model, n, n);
        }
        (void)kill(getpid(), SIGKILL);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static void a_hot_wal_is_read_without_writing(void **state)
{
    fill_and_die(*state);
    assert_true(store_path_bytes(help_path(*state, "library.db"), "-wal") > 0);
    assert_int_equal(chmod(*state, 0555), 0);
    check_read_only(*state, STORE_ACCESS_KEPT_SHM, 9);
    assert_int_equal(chmod(*state, 0755), 0);
    assert_int_equal(unlink(help_path(*state, "library.db-shm")), 0);
    assert_int_equal(chmod(*state, 0555), 0);
    check_read_only(*state, STORE_ACCESS_ALONE, 9);
    assert_int_equal(chmod(*state, 0755), 0);
    check_reads(*state, STORE_ACCESS_LIVE, 9);
}

/* Runs in a child with a mount namespace of its own. */
static int read_on_mount(const char *folder)
{
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount(folder, folder, NULL, MS_BIND, NULL) != 0 ||
        mount("none", folder, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) != 0) {
        return 77;
    }
    check_read_only(folder, STORE_ACCESS_ALONE, 9);
    return 0;
}

static void a_read_only_mount_with_a_hot_wal_is_read(void **state)
{
    fill_and_die(*state);
    assert_int_equal(unlink(help_path(*state, "library.db-shm")), 0);
    pid_t child = fork();
    if (child == 0) {
        _exit(read_on_mount(*state));
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        help_say_skipped("a mount namespace needs root");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_frozen_reader_notices_that_another_wrote(void **state)
{
    fill(*state);
    assert_int_equal(chmod(*state, 0555), 0);
    im_store *reader = help_open(*state, IM_STORE_READ);
    assert_int_equal(chmod(*state, 0755), 0);
    im_store *writer = help_open(*state, IM_STORE_WRITE);
    (void)help_root(writer, "/new");
    assert_int_equal(im_store_begin_read(reader, &err), IM_ERR_BUSY);
    im_store_close(writer);
    im_store_close(reader);
}

static void a_reader_leaves_the_wal_to_writers(void **state)
{
    fill_and_die(*state);
    uint64_t before = store_path_bytes(help_path(*state, "library.db"), "-wal");
    check_reads(*state, STORE_ACCESS_LIVE, 9);
    assert_int_equal(store_path_bytes(help_path(*state, "library.db"), "-wal"), before);
    im_store_close(help_open(*state, IM_STORE_WRITE));
    assert_int_equal(store_path_bytes(help_path(*state, "library.db"), "-wal"), 0);
}

static void closing_nothing_is_fine(void **state)
{
    (void)state;
    im_store_close(NULL);
    assert_int_equal(store_check_file_system("/nowhere/at/all", &err), IM_ERR_NOT_FOUND);
    assert_int_equal(store_check_file_system("/", &err), IM_OK);
}

/* Another connection of the same process keeps its file locks when one is opened and closed: a
 * third process must not be able to take the whole database for itself. */
static void opening_twice_keeps_the_first_ones_locks(void **state)
{
    im_store *first = help_open(*state, IM_STORE_WRITE);
    help_ok(im_store_begin_read(first, &err), &err);
    im_store_close(help_open(*state, IM_STORE_READ));
    pid_t child = fork();
    if (child == 0) {
        struct flock lock = {.l_type = F_WRLCK,
                             .l_whence = SEEK_SET,
                             .l_start = 0x40000002,
                             .l_len = 510}; /* SQLite's shared range */
        int fd = open(help_path(*state, "library.db"), O_RDWR | O_CLOEXEC);
        _exit(fd >= 0 && fcntl(fd, F_SETLK, &lock) != 0 ? 0 : 1);
    }
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    im_store_end_read(first);
    im_store_close(first);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define E(name) cmocka_unit_test_setup_teardown(name, set_up_empty, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_new_library_has_its_files),
        T(the_header_is_as_designed),
        T(two_libraries_have_different_ids),
        T(every_connection_is_set_as_designed),
        T(every_table_of_the_design_is_there),
        T(the_checksum_of_rows_is_that_of_the_reference),
        T(creating_again_is_a_conflict_and_changes_nothing),
        E(creating_makes_parents),
        E(creating_over_an_interrupted_creation_finishes_it),
        E(creating_where_a_file_stands_is_refused),
        E(no_library_is_not_found),
        E(a_path_too_long_for_sqlite_is_said),
        E(a_file_that_is_no_database_is_foreign),
        E(what_is_no_regular_file_is_foreign_and_never_waited_for),
        T(other_schema_numbers_and_programs_are_told_apart),
        T(the_newer_sentence_names_both_numbers),
        E(the_database_of_another_program_is_foreign),
        T(a_newer_number_in_the_wal_is_seen_and_nothing_is_written_back),
        T(a_library_without_its_id_is_damaged),
        E(a_library_may_lie_at_an_odd_path),
        T(a_relative_folder_survives_a_change_of_the_working_folder),
        T(a_reader_cannot_write),
        T(a_folder_without_write_permission_is_searched),
        T(a_database_without_write_permission_is_searched),
        T(a_hot_wal_is_read_without_writing),
        T(a_read_only_mount_with_a_hot_wal_is_read),
        T(a_frozen_reader_notices_that_another_wrote),
        T(a_reader_leaves_the_wal_to_writers),
        E(closing_nothing_is_fine),
        T(opening_twice_keeps_the_first_ones_locks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
