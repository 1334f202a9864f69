/* tests/store/test_restore.c — what is restored from backups: never in place of the old library
 * before all of it is checked; with stops, kills, failures, hostile members. Covers restore.c,
 * restore_extract.c. */
#include "base/fault.h"
#include "base/memory.h"
#include "store/store_internal.h"
#include "store/tar.h"
#include "tests/store/help_backup.h"
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static im_error err = IM_ERROR_INIT;

/* ---- what is synced: every call of this process comes through here ---- */

#define MOST_SYNCED 256

static struct synced {
    size_t n;
    char paths[MOST_SYNCED][512];
} synced;

int fsync(int fd)
{
    char link[64];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (synced.n < MOST_SYNCED) {
        char *path = synced.paths[synced.n];
        ssize_t size = readlink(link, path, sizeof synced.paths[0] - 1);
        path[size > 0 ? size : 0] = '\0';
        synced.n++;
    }
    return (int)syscall(SYS_fsync, fd);
}

static bool was_synced(const char *folder, const char *name)
{
    char path[512];
    char real[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s%s", folder, name);
    assert_non_null(realpath(path, real));
    for (size_t i = 0; i < synced.n; i++) {
        if (strcmp(synced.paths[i], real) == 0) {
            return true;
        }
    }
    return false;
}

/* Else the library, or its originals, may be gone after a power cut. */
static void each_new_folder_is_synced_into_the_one_above(void **state)
{
    help_backup *f = *state;
    help_back_up(f->library, f->backup);
    synced.n = 0;
    help_ok(help_restore(f->backup, f->other, &err), &err);
    assert_in_range(synced.n, 1, MOST_SYNCED - 1);
    assert_true(was_synced(f->folder, ""));
    assert_true(was_synced(f->other, ""));
    assert_true(was_synced(f->other, "/originals"));
    assert_true(was_synced(f->other, "/originals/ab"));
}

/* ---- in place of another library ---- */

static void an_old_library_is_replaced_with_what_came_from_it(void **state)
{
    help_backup *f = *state;
    char path[512];
    help_back_up(f->library, f->backup);
    help_backup_library(f->other, 100);
    help_backup_original(f->other, "cd/cde", "of the other");
    (void)snprintf(path, sizeof path, "%s/index/vectors.1.f32", f->other);
    help_write(path, "stale", 5);
    help_ok(help_restore(f->backup, f->other, &err), &err);
    assert_int_equal(help_first_of(f->other), 0);
    assert_int_not_equal(access(path, F_OK), 0);
    (void)snprintf(path, sizeof path, "%s/originals/cd/cde", f->other);
    assert_int_equal(access(path, F_OK), 0); /* named by its content: in nobody's way */
    help_check_no_leftovers(f->other);
}

static void a_damaged_library_is_replaced_too(void **state)
{
    help_backup *f = *state;
    size_t size = 0;
    help_back_up(f->library, f->backup);
    help_backup_library(f->other, 100);
    char path[512];
    (void)snprintf(path, sizeof path, "%s/library.db", f->other);
    uint8_t *data = help_read(path, &size);
    memset(data + 100, 7, size / 2);
    help_write(path, data, size);
    im_free(data);
    (void)snprintf(path, sizeof path, "%s/library.db-wal", f->other);
    help_write(path, "some frames of the old", 22);
    help_ok(help_restore(f->backup, f->other, &err), &err);
    assert_int_equal(help_first_of(f->other), 0);
}

static void what_is_no_library_of_ours_stays(void **state)
{
    help_backup *f = *state;
    char path[512];
    help_back_up(f->library, f->backup);
    assert_int_equal(mkdir(f->other, 0755), 0);
    (void)snprintf(path, sizeof path, "%s/letter.txt", f->other);
    help_write(path, "dear", 4);
    assert_int_equal(help_restore(f->backup, f->other, &err), IM_ERR_CONFLICT);
    assert_non_null(strstr(err.message, "letter.txt"));
    assert_int_equal(unlink(path), 0);
    (void)snprintf(path, sizeof path, "%s/library.db", f->other);
    help_write(path,
               "of another program, which is as long as a header of 100 bytes has to be, "
               "so that it is read and judged",
               102);
    assert_int_equal(help_restore(f->backup, f->other, &err), IM_ERR_FORMAT);
    assert_string_equal(err.reason, "library_foreign");
    size_t size = 0;
    uint8_t *data = help_read(path, &size);
    assert_int_equal(size, 102);
    im_free(data);
    assert_int_equal(help_restore(help_path(f->folder, "none.tar"), f->library, &err),
                     IM_ERR_NOT_FOUND);
    assert_int_equal(help_first_of(f->library), 0);
}

static void a_library_in_use_is_not_replaced(void **state)
{
    help_backup *f = *state;
    help_back_up(f->library, f->backup);
    help_backup_library(f->other, 100);
    im_store *reader = help_open(f->other, IM_STORE_READ);
    im_store_counts counts;
    help_ok(im_store_count(reader, 0, &counts, &err), &err);
    pid_t child = fork();
    if (child == 0) { /* its own process: locks are not of one */
        im_code rc = help_restore(f->backup, f->other, &err);
        _exit(rc == IM_ERR_BUSY ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    im_store_close(reader);
    assert_int_equal(help_first_of(f->other), 100);
    help_check_no_leftovers(f->other);
    help_ok(help_restore(f->backup, f->other, &err), &err);
    assert_int_equal(help_first_of(f->other), 0);
}

static void a_writer_of_a_replaced_library_is_told(void **state)
{
    help_backup *f = *state;
    im_store *store = help_open(f->library, IM_STORE_WRITE);
    char command[2048];
    (void)snprintf(command, sizeof command,
                   "cp '%s/library.db' '%s/x' && mv '%s/x' '%s/library.db'", f->library, f->library,
                   f->library, f->library);
    assert_int_equal(system(command), 0);
    assert_int_equal(im_store_set_setting(store, "a", "b", &err), IM_ERR_BUSY);
    assert_non_null(strstr(err.message, "replaced"));
    im_store_close(store);
}

/* ---- stops, kills, failures ---- */

static void a_restore_stops_when_told(void **state)
{
    help_backup *f = *state;
    help_back_up(f->library, f->backup);
    help_backup_library(f->other, 100);
    for (int after = 0; after < 2; after++) {
        int left = after;
        assert_int_equal(
            im_store_restore(f->backup, f->other, false, help_stop_after, &left, NULL, &err),
            IM_ERR_PARTIAL);
        assert_int_equal(help_first_of(f->other), 100);
        help_check_no_leftovers(f->other);
    }
}

static void only_restore(const help_backup *f)
{
    (void)!help_restore(f->backup, f->other, &err);
}

static void a_kill_leaves_the_old_or_the_new(void **state)
{
    help_backup *f = *state;
    static const struct {
        const char *point;
        uint64_t first;
    } cases[] = {{"store_restore_extracted", 100},
                 {"store_restore_before_swap", 100},
                 {"store_restore_swapped", 0}};
    help_back_up(f->library, f->backup);
    for (size_t i = 0; i < IM_COUNT(cases); i++) {
        help_backup_library(f->other, 100);
        help_die_at(f, cases[i].point, only_restore);
        assert_int_equal(help_first_of(f->other), cases[i].first);
        help_ok(help_restore(f->backup, f->other, &err), &err);
        assert_int_equal(help_first_of(f->other), 0);
        help_check_no_leftovers(f->other);
        help_folder_remove(strdup(f->other));
        help_die_at(f, cases[i].point, only_restore); /* into no folder */
        assert_int_equal(help_first_of(f->other), cases[i].first == 0 ? 0 : UINT64_MAX);
        help_ok(help_restore(f->backup, f->other, &err), &err);
        assert_int_equal(help_first_of(f->other), 0);
        help_folder_remove(strdup(f->other));
    }
}

static void a_failed_restore_leaves_the_old_library(void **state)
{
    help_backup *f = *state;
    char kept[300];
    help_back_up(f->library, f->backup);
    (void)snprintf(kept, sizeof kept, "%s/kept", f->folder);
    help_backup_library(kept, 100);
    for (size_t i = 0; i < HELP_BACKUP_FAULTS; i++) {
        const help_backup_fault *c = &help_backup_faults[i];
        size_t reached = 0;
        bool fired = true;
        for (size_t nth = 0; fired; nth += nth < 40 ? 1 : 2 * c->step) {
            char command[2048];
            (void)snprintf(command, sizeof command, "rm -rf '%s' && cp -r '%s' '%s'", f->other,
                           kept, f->other);
            assert_int_equal(system(command), 0);
            size_t live = im_live_allocations();
            im_fault_set(c->kind, nth, c->errnum);
            im_code rc = help_restore(f->backup, f->other, &err);
            fired = im_fault_fired(c->kind);
            im_fault_clear();
            assert_int_equal(im_live_allocations(), live);
            /* SQLite's own check takes a page that it cannot get for damaged */
            bool unsure =
                rc == IM_ERR_FORMAT && (c->kind == IM_FAULT_ALLOC || c->kind == IM_FAULT_READ);
            if (rc != IM_OK && rc != c->wanted && rc != c->also && !unsure) {
                fail_msg("%s %zu: %s: %s", c->name, nth, im_code_name(rc), err.message);
            }
            assert_true(fired || rc == IM_OK);
            assert_int_equal(help_first_of(f->other), rc == IM_OK ? 0 : 100);
            help_check_no_leftovers(f->other);
            reached += fired;
        }
        print_message("restore: %-14s %zu places\n", c->name, reached);
        assert_true(reached > 0);
    }
}

/* ---- hostile members, findings ---- */

typedef struct member {
    const char *name, *text;
} member;

static void write_tar(const char *path, const member *members, size_t n)
{
    store_tar_writer tar;
    int fd = -1;
    help_ok(im_file_open(path, O_RDWR | O_CREAT | O_TRUNC, 0600, &fd, &err), &err);
    store_tar_start(&tar, fd, path);
    for (size_t i = 0; i < n; i++) {
        size_t size = strlen(members[i].text);
        help_ok(store_tar_begin(&tar, members[i].name, size, 5, &err), &err);
        help_ok(store_tar_add(&tar, members[i].text, size, &err), &err);
        help_ok(store_tar_end(&tar, &err), &err);
    }
    help_ok(store_tar_finish(&tar, 5, &err), &err);
    store_tar_clear(&tar);
    (void)close(fd);
}

static void members_that_lead_elsewhere_are_refused(void **state)
{
    help_backup *f = *state;
    static const char first[] = "format 1\nlibrary 00112233445566778899aabbccddeeff\nschema 2\n";
    static const char *const names[] = {"originals/../x", "/tmp/x",         "../x",
                                        "originals//x",   "originals/.x",   "originals/",
                                        "originals",      "originals/a/",   "library.db",
                                        "index/x",        "originals/a\nb", "originals/a b"};
    help_backup_library(f->other, 100);
    for (size_t i = 0; i < IM_COUNT(names); i++) {
        const member members[] = {
            {STORE_BACKUP_FIRST, first}, {"library.db", "x"}, {names[i], "x"}};
        write_tar(f->backup, members, 3);
        assert_int_equal(help_restore(f->backup, f->other, &err), IM_ERR_FORMAT);
        assert_string_equal(err.reason, "backup_damaged");
    }
    const member others[][2] = {{{"readme", "x"}, {"library.db", "x"}},
                                {{STORE_BACKUP_FIRST, "format x"}, {"library.db", "x"}},
                                {{STORE_BACKUP_FIRST, first}, {"originals/a", "x"}}};
    for (size_t i = 0; i < IM_COUNT(others); i++) {
        write_tar(f->backup, others[i], 2);
        assert_int_equal(help_restore(f->backup, f->other, &err), IM_ERR_FORMAT);
    }
    write_tar(f->backup, others[0], 0);
    assert_int_equal(help_restore(f->backup, f->other, &err), IM_ERR_FORMAT);
    const member newer[] = {{STORE_BACKUP_FIRST, "format 2\nlibrary x\n"}, {"library.db", "x"}};
    write_tar(f->backup, newer, 2);
    assert_int_equal(help_restore(f->backup, f->other, &err), IM_ERR_UNSUPPORTED);
    const member foreign[] = {{STORE_BACKUP_FIRST, first}, {"library.db", "no database"}};
    write_tar(f->backup, foreign, 2);
    assert_int_equal(help_restore(f->backup, f->other, &err), IM_ERR_FORMAT);
    assert_int_equal(help_first_of(f->other), 100);
    help_check_no_leftovers(f->other);
}

static void damage_inside_values_is_let_through_only_when_asked(void **state)
{
    help_backup *f = *state;
    im_store *store = help_open(f->library, IM_STORE_WRITE);
    im_backup_facts facts = {0};
    help_ok(store_exec(store->db, "UPDATE item SET width = width + 1 WHERE id = 2", "test",
                       "damage", &err),
            &err);
    help_ok(im_store_backup(store, f->backup, NULL, NULL, &facts, &err), &err);
    assert_int_equal(facts.findings, 1);
    im_store_close(store);
    assert_int_equal(help_restore(f->backup, f->other, &err), IM_ERR_FORMAT);
    assert_non_null(strstr(err.message, "table 'item', row 2"));
    facts = (im_backup_facts){0};
    help_ok(im_store_restore(f->backup, f->other, true, NULL, NULL, &facts, &err), &err);
    assert_int_equal(facts.findings, 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, help_backup_set_up, help_backup_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(an_old_library_is_replaced_with_what_came_from_it),
        T(each_new_folder_is_synced_into_the_one_above),
        T(a_damaged_library_is_replaced_too),
        T(what_is_no_library_of_ours_stays),
        T(a_library_in_use_is_not_replaced),
        T(a_writer_of_a_replaced_library_is_told),
        T(a_restore_stops_when_told),
        T(a_kill_leaves_the_old_or_the_new),
        T(a_failed_restore_leaves_the_old_library),
        T(members_that_lead_elsewhere_are_refused),
        T(damage_inside_values_is_let_through_only_when_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
