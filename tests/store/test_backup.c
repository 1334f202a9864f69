/* tests/store/test_backup.c — backups: whole, of one moment, readable by other programs, and in
 * place of the old backup only once written; with stops, kills, failures. Covers backup.c. */
#include "base/fault.h"
#include "base/memory.h"
#include "store/store_internal.h"
#include "tests/store/help_backup.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static im_error err = IM_ERROR_INIT;

/* ---- the good way ---- */

static bool same_file(const char *a, const char *b)
{
    size_t size_a = 0;
    size_t size_b = 0;
    uint8_t *data_a = help_read(a, &size_a);
    uint8_t *data_b = help_read(b, &size_b);
    bool same = size_a == size_b && memcmp(data_a, data_b, size_a) == 0;
    im_free(data_a);
    im_free(data_b);
    return same;
}

static void a_backup_becomes_an_equal_library(void **state)
{
    help_backup *f = *state;
    uint8_t ids[2][16];
    help_back_up(f->library, f->backup);
    help_check_no_leftovers(f->folder);
    im_backup_facts facts = {0};
    help_ok(im_store_restore(f->backup, f->other, false, NULL, NULL, &facts, &err), &err);
    assert_int_equal(facts.items, HELP_BACKUP_ITEMS);
    assert_int_equal(facts.originals, 2);
    assert_int_equal(help_first_of(f->other), 0);
    help_check_no_leftovers(f->other);
    const char *const names[] = {f->library, f->other};
    for (size_t i = 0; i < 2; i++) {
        im_store *store = help_open(names[i], IM_STORE_READ);
        uint64_t bits[1];
        im_store_id(store, ids[i]);
        help_ok(im_store_slots_of_tag(store, 1, im_view_from("red"), HELP_BACKUP_ITEMS, bits, &err),
                &err);
        assert_int_equal(bits[0], (UINT64_C(1) << HELP_BACKUP_ITEMS) - 1);
        im_store_close(store);
    }
    assert_memory_equal(ids[0], ids[1], 16);
    char a[512];
    char b[512];
    (void)snprintf(a, sizeof a, "%s/originals/ab/abc123", f->library);
    (void)snprintf(b, sizeof b, "%s/originals/ab/abc123", f->other);
    assert_true(same_file(a, b));
    assert_true(store_reserve_is_whole(f->other));
    /* and a backup of that one can be restored again, over itself */
    help_back_up(f->other, f->backup);
    help_ok(help_restore(f->backup, f->other, &err), &err);
    assert_int_equal(help_first_of(f->other), 0);
}

static void other_programs_can_read_it(void **state)
{
    help_backup *f = *state;
    char command[2048];
    if (system("tar --version >/dev/null 2>&1 && sha256sum --version >/dev/null 2>&1") != 0) {
        help_say_skipped("no tar or no sha256sum");
        return;
    }
    help_back_up(f->library, f->backup);
    (void)snprintf(command, sizeof command,
                   "mkdir '%s' && cd '%s' && tar xf '%s' && sha256sum -c --quiet --strict "
                   "SHA256SUMS && grep -q '^format 1' imago-backup && test -f originals/ab/abc123",
                   f->other, f->other, f->backup);
    assert_int_equal(system(command), 0);
}

static void only_a_backup_is_replaced(void **state)
{
    help_backup *f = *state;
    im_store *store = help_open(f->library, IM_STORE_READ);
    help_write(f->backup, "my thesis", 9);
    assert_int_equal(im_store_backup(store, f->backup, NULL, NULL, NULL, &err), IM_ERR_CONFLICT);
    assert_int_equal(im_store_backup(store, f->folder, NULL, NULL, NULL, &err), IM_ERR_CONFLICT);
    size_t size = 0;
    uint8_t *data = help_read(f->backup, &size);
    assert_memory_equal(data, "my thesis", 9);
    im_free(data);
    assert_int_equal(unlink(f->backup), 0);
    help_back_up(f->library, f->backup);
    help_back_up(f->library, f->backup);
    assert_int_not_equal(
        im_store_backup(store, help_path(f->folder, "none/x.tar"), NULL, NULL, NULL, &err), IM_OK);
    im_store_close(store);
    help_check_no_leftovers(f->folder);
}

/* ---- while others write ---- */

typedef struct busy {
    im_store *store;
    uint64_t n;
} busy;

static bool write_meanwhile(void *context, uint64_t done, uint64_t total)
{
    busy *b = context;
    assert_true(done <= total);
    for (size_t i = 0; i < 4; i++, b->n++) {
        (void)help_put(b->store, 1, 1, b->n, b->n);
    }
    return true;
}

static void a_backup_is_of_one_moment(void **state)
{
    help_backup *f = *state;
    busy b = {.store = help_open(f->library, IM_STORE_WRITE), .n = HELP_BACKUP_ITEMS};
    im_store *store = help_open(f->library, IM_STORE_READ);
    help_ok(im_store_backup(store, f->backup, write_meanwhile, &b, NULL, &err), &err);
    assert_true(b.n > HELP_BACKUP_ITEMS);
    im_store_close(store);
    im_store_close(b.store);
    help_ok(help_restore(f->backup, f->other, &err), &err);
    assert_int_equal(help_first_of(f->other), 0); /* HELP_BACKUP_ITEMS, and sound */
}

/* ---- stops, kills, failures ---- */

static void a_backup_stops_when_told(void **state)
{
    help_backup *f = *state;
    im_store *store = help_open(f->library, IM_STORE_READ);
    for (int after = 0; after < 3; after++) {
        int left = after;
        im_code rc = im_store_backup(store, f->backup, help_stop_after, &left, NULL, &err);
        if (rc == IM_OK) {
            break;
        }
        assert_string_equal(err.reason, "interrupted");
        help_check_no_leftovers(f->folder);
        assert_int_not_equal(access(f->backup, F_OK), 0);
    }
    im_store_close(store);
    if (access(f->backup, F_OK) == 0) {
        assert_int_equal(unlink(f->backup), 0);
    }
    help_back_up(f->library, f->backup);
}

static void only_back_up(const help_backup *f)
{
    im_store *store = help_open(f->library, IM_STORE_READ);
    (void)!im_store_backup(store, f->backup, NULL, NULL, NULL, NULL);
}

static void a_kill_leaves_no_half_backup(void **state)
{
    help_backup *f = *state;
    help_die_at(f, "store_backup_copied", only_back_up);
    assert_int_not_equal(access(f->backup, F_OK), 0);
    help_die_at(f, "store_backup_written", only_back_up);
    assert_int_not_equal(access(f->backup, F_OK), 0);
    help_back_up(f->library, f->backup);
    help_check_no_leftovers(f->folder);
}

static void a_failed_backup_leaves_the_old_one(void **state)
{
    help_backup *f = *state;
    help_back_up(f->library, f->backup);
    char kept[300];
    (void)snprintf(kept, sizeof kept, "%s/kept.tar", f->folder);
    assert_int_equal(rename(f->backup, kept), 0);
    for (size_t i = 0; i < HELP_BACKUP_FAULTS; i++) {
        const help_backup_fault *c = &help_backup_faults[i];
        size_t reached = 0;
        bool fired = true;
        for (size_t nth = 0; fired; nth += nth < 40 ? 1 : c->step) {
            char command[2048];
            (void)snprintf(command, sizeof command, "cp '%s' '%s'", kept, f->backup);
            assert_int_equal(system(command), 0);
            size_t live = im_live_allocations();
            im_store *store = help_open(f->library, IM_STORE_READ);
            im_fault_set(c->kind, nth, c->errnum);
            im_code rc = im_store_backup(store, f->backup, NULL, NULL, NULL, &err);
            fired = im_fault_fired(c->kind);
            im_fault_clear();
            help_check_idle(store);
            im_store_close(store);
            assert_int_equal(im_live_allocations(), live);
            if (rc != IM_OK && rc != c->wanted && rc != c->also) {
                /* an old backup that cannot be read is not known to be one */
                assert_int_equal(rc, IM_ERR_CONFLICT);
            }
            assert_true(fired || rc == IM_OK);
            help_ok(help_restore(f->backup, f->other, &err), &err); /* whole, the old or the new */
            help_check_no_leftovers(f->folder);
            reached += fired;
        }
        print_message("backup: %-14s %zu places\n", c->name, reached);
        assert_true(reached > 0);
    }
    assert_int_equal(help_first_of(f->other), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, help_backup_set_up, help_backup_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_backup_becomes_an_equal_library),  T(other_programs_can_read_it),
        T(only_a_backup_is_replaced),          T(a_backup_is_of_one_moment),
        T(a_backup_stops_when_told),           T(a_kill_leaves_no_half_backup),
        T(a_failed_backup_leaves_the_old_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
