/* tests/app/test_faults.c — each use case while the nth allocation, open, read, write, sync,
 * rename, mapping or thread fails, n = 0, 1, 2 … until it passes: the caller sees a sensible code,
 * nothing leaks (memory, descriptors), the library is sound, all that was acknowledged before is
 * there, and the same call without a fault succeeds. SQLite's own calls are hooked too, so that
 * some calls have thousands of places: the first 6 (300 with IMAGO_TEST_LONG=1) are all walked,
 * then n grows by an eighth (by one in 64), from a start that the seed shifts. */
#include "base/clock.h"
#include "base/fault.h"
#include "tests/app/faults.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

typedef struct fault_case {
    im_fault_kind kind;
    int errnum;
    unsigned codes; /* bit per im_code that a caller may see */
    const char *name;
} fault_case;

#define CODE(name) (1u << IM_##name)

/* PARTIAL everywhere: a fault that strikes while one picture is decoded is that picture's. */
static const fault_case cases[] = {
    {IM_FAULT_ALLOC, 0, CODE(ERR_NOMEM) | CODE(ERR_PARTIAL), "alloc"},
    {IM_FAULT_OPEN, EIO, CODE(ERR_IO) | CODE(ERR_PARTIAL), "open"},
    {IM_FAULT_OPEN, EMFILE, CODE(ERR_NOMEM) | CODE(ERR_IO) | CODE(ERR_PARTIAL), "open (too many)"},
    {IM_FAULT_READ, 0, CODE(ERR_IO) | CODE(ERR_PARTIAL), "read"},
    {IM_FAULT_WRITE, 0, CODE(ERR_IO), "write"},
    {IM_FAULT_WRITE, ENOSPC, CODE(ERR_FULL), "write (full)"},
    {IM_FAULT_SYNC, 0, CODE(ERR_IO), "sync"},
    {IM_FAULT_RENAME, 0, CODE(ERR_IO), "rename"},
    {IM_FAULT_MAP, 0, CODE(ERR_NOMEM) | CODE(ERR_IO), "map"},
    {IM_FAULT_THREAD, 0, CODE(ERR_NOMEM), "thread"},
};

static char place[96]; /* where the loop is: told when a test ends */

/* alloc, open, read, write, sync, rename, map, thread: as im_fault_kind counts them */
static const char letters[] = "aorwsnmt";

typedef struct operation {
    const char *name;
    const char *start; /* library to start with; NULL: none */
    im_code (*run)(im_error *err);
    void (*between)(im_library *library); /* holds after a failure */
    void (*after)(im_library *library);   /* holds when it was done */
    const char *reached; /* hooks that must have been asked, by letter as in `letters` */
    im_code also;        /* what the call may say when the failed one had got through after all */
    unsigned codes;      /* more that a caller may see */
    bool changed;        /* the pictures are not what they were */
} operation;

static const operation operations[] = {
    {.name = "init",
     .run = do_init,
     .between = sees_nothing,
     .after = sees_nothing,
     .reached = "aowsn",
     .also = IM_ERR_CONFLICT},
    {.name = "add (first)",
     .start = "empty",
     .changed = true,
     .run = do_add,
     .between = sees_nothing,
     .after = sees_added_first,
     .reached = "aorwsmt"},
    {.name = "add",
     .start = "filled",
     .changed = true,
     .run = do_add,
     .between = sees_old_items,
     .after = sees_added,
     .reached = "aorwsmt"},
    {.name = "add --meta",
     .start = "filled",
     .run = do_meta,
     .between = sees_all_or_no_lines,
     .after = sees_lines,
     .reached = "aorws"},
    {.name = "tag",
     .start = "filled",
     .run = do_tag,
     .between = sees_old_items,
     .after = sees_old_items,
     .reached = "aorws"},
    {.name = "search",
     .start = "filled",
     .run = do_search,
     .between = sees_old_items,
     .after = sees_old_items,
     .reached = "aormt"},
    {.name = "filter",
     .start = "filled",
     .run = do_filter,
     .between = sees_old_items,
     .after = sees_old_items,
     .reached = "aowsnmt"},
    {.name = "serve",
     .start = "filled",
     .run = do_serve,
     .between = sees_old_items,
     .after = sees_old_items,
     .reached = "aormt"},
    {.name = "remove",
     .start = "filled",
     .run = do_remove,
     .between = sees_all_or_none_removed,
     .after = sees_removed,
     .reached = "aorws",
     .also = IM_ERR_NOT_FOUND},
    {.name = "upload",
     .start = "filled",
     .run = do_upload,
     .between = sees_uploads_with_files,
     .after = sees_uploaded,
     .reached = "aorwsnmt"},
    {.name = "rebuild",
     .start = "gap",
     .run = do_rebuild,
     .between = sees_old_items,
     .after = sees_embedded,
     .reached = "aorwsmt"},
    {.name = "compact",
     .start = "gap",
     .run = do_compact,
     .between = sees_old_items,
     .after = sees_compacted,
     .reached = "aorwsnmt"},
    {.name = "engine",
     .start = "filled",
     .run = do_engine,
     .between = sees_old_items,
     .after = sees_old_items,
     .reached = "aorwsnm"},
    {.name = "engine (none)",
     .start = "engined",
     .run = do_drop_engine,
     .between = sees_old_items,
     .after = sees_old_items,
     .reached = "aorws"},
    {.name = "audit",
     .start = "engined",
     .run = do_audit,
     .between = sees_old_items,
     .after = sees_old_items,
     .reached = "aorwsmt"},
    {.name = "check",
     .start = "filled",
     .run = do_check,
     .between = sees_old_items,
     .after = sees_old_items,
     .reached = "aorm",
     .codes = CODE(ERR_DAMAGED)}, /* a table that cannot be read to its end is a finding */
    {.name = "model use",
     .start = "filled",
     .run = do_model_use,
     .between = sees_old_items,
     .after = sees_old_items,
     .reached = "aorwsmt"},
    {.name = "export",
     .start = "filled",
     .run = do_export,
     .between = sees_old_items,
     .after = sees_old_items,
     .reached = "aowsn"},
    {.name = "import (first)",
     .start = "empty",
     .run = do_import,
     .between = sees_nothing,
     .after = sees_imported_first,
     .reached = "aorwsmt"},
    {.name = "import",
     .start = "filled",
     .run = do_import,
     .between = sees_old_items,
     .after = sees_imported,
     .reached = "aorws"},
    {.name = "tell",
     .start = "filled",
     .run = do_tell,
     .between = sees_old_items,
     .after = sees_old_items,
     .reached = "aormt"},
};

static size_t open_descriptors(void)
{
    size_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        n++;
    }
    (void)closedir(dir);
    return n;
}

static void start_with(const operation *op)
{
    (void)help_remove_folder(world.home.library);
    world_show_pictures(op->changed);
    world.home.model = op->start != NULL && strcmp(op->start, "empty") == 0 ? HELP_MODEL : NULL;
    if (op->start != NULL) {
        help_copy(world_folder(op->start), world.home.library);
    }
}

/* Opens what the failed call left, looks at it, and does it again without a fault. */
static void look_and_repeat(const operation *op, bool failed)
{
    im_error err = IM_ERROR_INIT;
    if (op->start != NULL) {
        im_library *library = help_open(&world.home, false);
        help_check(library);
        if (failed) {
            op->between(library);
        }
        im_library_close(library);
    }
    im_code rc = op->run(&err);
    if (rc != op->also) {
        help_ok(rc, &err);
    }
    im_library *library = help_open(&world.home, false);
    help_check(library);
    op->after(library);
    im_library_close(library);
}

static bool strike(const operation *op, const fault_case *c, size_t nth)
{
    im_error err = IM_ERROR_INIT;
    (void)snprintf(place, sizeof(place), "%s, %s %zu", op->name, c->name, nth);
    start_with(op);
    size_t blocks = im_live_allocations();
    size_t descriptors = open_descriptors();
    im_fault_set(c->kind, nth, c->errnum);
    im_code rc = op->run(&err);
    bool fired = im_fault_fired(c->kind);
    im_fault_clear();
    if (im_live_allocations() != blocks || open_descriptors() != descriptors ||
        (rc != IM_OK && (!fired || ((c->codes | op->codes) & 1u << rc) == 0))) {
        fail_msg("%s (%s): %s; %zd blocks, %zd descriptors left", im_code_name(rc), err.reason,
                 err.message, (ssize_t)(im_live_allocations() - blocks),
                 (ssize_t)(open_descriptors() - descriptors));
    }
    if (rc != IM_OK && err.message[0] == '\0') {
        fail_msg("%s without a sentence", im_code_name(rc));
    }
    look_and_repeat(op, rc != IM_OK);
    return fired;
}

static size_t next_place(size_t nth, size_t n_all, size_t part)
{
    return nth < n_all ? nth + 1 : nth + 1 + nth / part;
}

static void walk(const operation *op)
{
    size_t n_all = help_long() ? 300 : 6;
    size_t part = help_long() ? 64 : 8;
    start_with(op);
    im_error err = IM_ERROR_INIT;
    help_ok(op->run(&err), &err); /* what libraries keep for themselves is kept now */
    for (size_t i = 0; i < IM_COUNT(cases); i++) {
        const fault_case *c = &cases[i];
        size_t reached = 0;
        uint64_t start = im_clock_ns();
        size_t nth = 0;
        while (strike(op, c, nth)) {
            reached++;
            nth = next_place(nth, n_all, part);
            nth += nth == n_all + 1 ? (size_t)(world.seed % part) : 0;
        }
        print_message("%-12s %-16s %4zu of up to %zu places, %.1f s\n", op->name, c->name, reached,
                      nth, im_clock_ms_since(start) / 1e3);
        assert_true(reached > 0 || strchr(op->reached, letters[c->kind]) == NULL);
    }
}

static int tell_place(void **state)
{
    (void)state;
    print_message("last place: %s\n", place);
    return 0;
}

static void each_use_case_survives_each_failure(void **state)
{
    (void)state;
    for (size_t i = 0; i < IM_COUNT(operations); i++) {
        walk(&operations[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(each_use_case_survives_each_failure, tell_place),
    };
    return cmocka_run_group_tests(tests, world_make, world_end);
}
