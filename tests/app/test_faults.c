/* tests/app/test_faults.c — each use case while the nth allocation, open, read, write, sync,
 * rename, mapping or thread fails, n = 0, 1, 2 … until it passes: the caller sees a sensible code,
 * nothing leaks (memory, descriptors), the library is sound, all that was acknowledged before is
 * there, and the same call without a fault succeeds. SQLite's own calls are hooked too, so that
 * some calls have thousands of places: the first 6 (300 with IMAGO_TEST_LONG=1) are all walked,
 * then n grows by an eighth (by one in 64), from a start that the seed shifts. */
#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "tests/app/help.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define N_OLD 4 /* pictures of the library that an operation starts with */

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

/* ---- the world: libraries to start with, made once ---- */

static help_home home;
static float old_vectors[N_OLD][HELP_DIM];
static uint64_t old_c; /* whose only file is c.png */
static uint64_t seed;
static char place[96]; /* where the loop is: told when a test ends */

static const char *start_folder(const char *name)
{
    return help_path(home.base, name);
}

/* The picture that c.png holds. */
static uint64_t item_of_c(im_library *library)
{
    im_error err = IM_ERROR_INIT;
    im_file_row row = {0};
    help_ok(im_store_find_file(im_library_store(library), 1, im_view_from("c.png"), &row, &err),
            &err);
    assert_int_not_equal(row.id, 0);
    return row.item;
}

static void remember_vectors(im_library *library)
{
    im_error err = IM_ERROR_INIT;
    im_model_row model = {0};
    help_ok(im_store_active_model(im_library_store(library), &model, &err), &err);
    assert_int_equal(model.dim, HELP_DIM);
    for (uint64_t id = 1; id <= N_OLD; id++) {
        help_ok(im_store_get_embedding(im_library_store(library), id, model.id, old_vectors[id - 1],
                                       HELP_DIM, NULL, &err),
                &err);
    }
    old_c = item_of_c(library);
    im_model_row_clear(&model);
}

/* "gap": as "filled", but one item has lost its vector. */
static void make_gap(void)
{
    im_error err = IM_ERROR_INIT;
    im_model_row model = {0};
    im_library *library = help_open(&home, true);
    help_ok(im_store_active_model(im_library_store(library), &model, &err), &err);
    help_ok(im_store_drop_embedding(im_library_store(library), 1, model.id, &err), &err);
    im_model_row_clear(&model);
    im_library_close(library);
}

static void link_changed(const char *from, const char *to)
{
    char target[256];
    (void)snprintf(target, sizeof(target), "%s/changed/%s", home.base, to);
    assert_int_equal(link(help_path(home.pictures, from), target), 0);
}

/* The pictures as an `add` finds them later: one moved, one has new content, one is gone, two are
 * new. Hard links keep the stamps of what stayed. */
static void make_changed(void)
{
    assert_int_equal(mkdir(help_path(home.base, "changed"), 0755), 0);
    link_changed("a.png", "a.png");
    link_changed("b.png", "b2.png");
    help_png(help_path(home.base, "changed/c.png"), 77);
    help_png(help_path(home.base, "changed/e.png"), 78);
    help_png_sized(help_path(home.base, "changed/f.png"), 79, 60, 50);
}

/* Puts the folder "pictures" or "changed" where the library knows its pictures. */
static void show_pictures(bool changed)
{
    static bool are_changed;
    if (changed != are_changed) {
        const char *aside = help_path(home.base, "aside");
        const char *other = help_path(home.base, "changed");
        assert_int_equal(rename(home.pictures, aside), 0);
        assert_int_equal(rename(other, home.pictures), 0);
        assert_int_equal(rename(aside, other), 0);
        are_changed = changed;
    }
}

static int make_world(void **state)
{
    (void)state;
    im_error err = IM_ERROR_INIT;
    const char *text = getenv("IMAGO_TEST_SEED");
    seed = text != NULL ? strtoull(text, NULL, 10) : 1;
    print_message("seed %llu\n", (unsigned long long)seed);
    help_home_make(&home);
    assert_int_equal(mkdir(help_path(home.places.share, "calibration"), 0755), 0);
    for (uint32_t i = 0; i < 3; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "share/calibration/%u.png", i);
        help_png(help_path(home.base, name), 500 + i);
    }
    help_ok(im_app_init(&home.places, &err), &err);
    help_copy(home.library, start_folder("empty"));
    for (uint32_t i = 0; i < N_OLD; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "%c.png", (char)('a' + i));
        help_png(help_path(home.pictures, name), i);
    }
    im_library *library = help_open(&home, true);
    assert_int_equal(help_add(library, home.pictures).added, N_OLD);
    remember_vectors(library);
    im_library_close(library);
    help_copy(home.library, start_folder("filled"));
    make_gap();
    help_copy(home.library, start_folder("gap"));
    help_remove(home.library);
    make_changed();
    return 0;
}

static int end_world(void **state)
{
    (void)state;
    help_home_remove(&home);
    return 0;
}

/* ---- the operations: each opens, acts and closes ---- */

static bool say_yes(void *context, const char *question)
{
    (void)context;
    (void)question;
    return true;
}

static im_code open_it(bool writable, im_library **out, im_error *err)
{
    im_library_options options = {
        .places = &home.places, .writable = writable, .model = home.model, .threads = 2};
    return im_library_open(&options, out, err);
}

static im_code do_init(im_error *err)
{
    return im_app_init(&home.places, err);
}

static im_code do_add(im_error *err)
{
    im_library *library = NULL;
    im_add_report report;
    const char *path = home.pictures;
    im_add_request request = {.paths = &path, .n_paths = 1, .decoders = 2};
    im_events events = {.confirm = say_yes};
    im_code rc = open_it(true, &library, err);
    if (rc == IM_OK) {
        rc = im_app_add(library, &request, &events, &report, err);
    }
    im_library_close(library);
    return rc;
}

static im_code do_search(im_error *err)
{
    im_library *library = NULL;
    im_answer answer = {0};
    const im_query_part parts[] = {
        {.kind = IM_PART_TEXT, .text = im_view_from("a red car"), .weight = 1},
        {.kind = IM_PART_PICTURE, .path = help_path(home.pictures, "a.png"), .weight = 0.5},
        {.kind = IM_PART_PICTURE, .item = 2, .weight = -0.5}};
    im_search_request request = {.text = "q", .parts = parts, .n_parts = 3, .k = 3};
    im_code rc = open_it(false, &library, err);
    if (rc == IM_OK) {
        rc = im_app_search(library, &request, &answer, err);
    }
    if (rc == IM_OK) {
        assert_int_equal(answer.n_hits, 3);
        assert_int_equal(answer.filtered, N_OLD);
    }
    im_answer_clear(&answer);
    im_library_close(library);
    return rc;
}

static im_code do_remove(im_error *err)
{
    im_library *library = NULL;
    uint64_t removed = 0;
    const uint64_t id = 2;
    const char *path = help_path(home.pictures, "a.png");
    im_remove_request request = {.items = &id, .n_items = 1, .paths = &path, .n_paths = 1};
    im_events events = {.confirm = say_yes};
    im_code rc = open_it(true, &library, err);
    if (rc == IM_OK) {
        rc = im_app_remove(library, &request, &events, &removed, err);
    }
    if (rc == IM_OK) {
        assert_int_equal(removed, 2);
    }
    im_library_close(library);
    return rc;
}

static im_code do_rebuild(im_error *err)
{
    im_library *library = NULL;
    uint64_t rows = 0;
    im_code rc = open_it(true, &library, err);
    if (rc == IM_OK) {
        rc = im_app_rebuild(library, NULL, &rows, err);
    }
    im_library_close(library);
    return rc;
}

static im_code do_check(im_error *err)
{
    im_library *library = NULL;
    im_check_report report;
    im_check_request request = {.full = true};
    im_code rc = open_it(false, &library, err);
    if (rc == IM_OK) {
        rc = im_app_check(library, &request, NULL, &report, err);
    }
    im_library_close(library);
    return rc;
}

static im_code do_model_use(im_error *err)
{
    im_library *library = NULL;
    im_code rc = open_it(true, &library, err);
    if (rc == IM_OK) {
        rc = im_app_model_use(library, HELP_OTHER_MODEL, NULL, err);
    }
    im_library_close(library);
    return rc;
}

/* The rest that only reads: status, show, models, vectors without a library. */
static im_code do_tell(im_error *err)
{
    im_library *library = NULL;
    im_json_writer w;
    im_embed_result result = {0};
    const im_embed_input inputs[] = {{true, "a red car"},
                                     {false, help_path(home.pictures, "a.png")}};
    im_embed_request embed = {.model = HELP_MODEL, .inputs = inputs, .n_inputs = 2, .threads = 2};
    im_code rc = open_it(false, &library, err);
    im_json_init(&w, 1u << 20);
    im_json_begin_array(&w);
    if (rc == IM_OK) {
        rc = im_app_status_json(library, &w, err);
    }
    if (rc == IM_OK) {
        rc = im_app_show_json(library, 1, &w, err);
    }
    if (rc == IM_OK) {
        rc = im_app_model_list_json(&home.places, library, &w, err);
    }
    if (rc == IM_OK) {
        rc = im_app_model_info_json(&home.places, NULL, HELP_MODEL, &w, err);
    }
    if (rc == IM_OK) {
        rc = im_app_embed(&home.places, &embed, &result, err);
    }
    im_json_end_array(&w);
    if (rc == IM_OK && !im_json_ok(&w)) { /* the writer's own failure is seen by who prints it */
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for the answer");
    }
    im_json_clear(&w);
    im_embed_result_clear(&result);
    im_library_close(library);
    return rc;
}

/* ---- what must hold behind each ---- */

static void sees_old_items(im_library *library)
{
    im_error err = IM_ERROR_INIT;
    im_model_row model = {0};
    char digest[65];
    help_ok(im_encoder_digest(HELP_MODEL, digest, &err), &err);
    help_ok(im_store_model_of_digest(im_library_store(library), digest, &model, &err), &err);
    for (uint64_t id = 1; id <= N_OLD; id++) {
        float vector[HELP_DIM];
        im_item item;
        im_code rc = im_store_get_item(im_library_store(library), id, &item, &err);
        if (rc == IM_ERR_NOT_FOUND && id == old_c && item_of_c(library) != old_c) {
            continue; /* its only file has other content now */
        }
        help_ok(rc, &err);
        rc = im_store_get_embedding(im_library_store(library), id, model.id, vector, HELP_DIM, NULL,
                                    &err);
        if (rc != IM_ERR_NOT_FOUND || id != 1) { /* 1 has none in "gap" */
            help_ok(rc, &err);
            assert_memory_equal(vector, old_vectors[id - 1], sizeof(vector));
        }
    }
    im_model_row_clear(&model);
}

static void sees_nothing(im_library *library)
{
    (void)library;
}

static void sees_all_or_none_removed(im_library *library)
{
    uint64_t items = help_counts(library).items;
    assert_true(items == N_OLD || items == N_OLD - 2);
}

static void added(im_library *library)
{
    im_store_counts counts = help_counts(library);
    assert_int_equal(counts.items, N_OLD + 2); /* the old content of c.png is no picture any more */
    assert_int_equal(counts.embeddings, N_OLD + 2);
    assert_int_equal(counts.files, 6);
    assert_int_equal(counts.missing_files, 1);
    assert_int_equal(counts.failures, 0);
}

static void added_first(im_library *library)
{
    im_store_counts counts = help_counts(library);
    assert_int_equal(counts.items, 5);
    assert_int_equal(counts.embeddings, 5);
    assert_int_equal(counts.failures, 0);
}

static void embedded(im_library *library)
{
    assert_int_equal(help_counts(library).embeddings, N_OLD);
}

static void removed(im_library *library)
{
    assert_int_equal(help_counts(library).items, N_OLD - 2);
}

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
     .after = added_first,
     .reached = "aorwsmt"},
    {.name = "add",
     .start = "filled",
     .changed = true,
     .run = do_add,
     .between = sees_old_items,
     .after = added,
     .reached = "aorwsmt"},
    {.name = "search",
     .start = "filled",
     .run = do_search,
     .between = sees_old_items,
     .after = sees_old_items,
     .reached = "aormt"},
    {.name = "remove",
     .start = "filled",
     .run = do_remove,
     .between = sees_all_or_none_removed,
     .after = removed,
     .reached = "aorws",
     .also = IM_ERR_NOT_FOUND},
    {.name = "rebuild",
     .start = "gap",
     .run = do_rebuild,
     .between = sees_old_items,
     .after = embedded,
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
    help_remove(home.library);
    show_pictures(op->changed);
    home.model = op->start != NULL && strcmp(op->start, "empty") == 0 ? HELP_MODEL : NULL;
    if (op->start != NULL) {
        help_copy(start_folder(op->start), home.library);
    }
}

/* Opens what the failed call left, looks at it, and does it again without a fault. */
static void look_and_repeat(const operation *op, bool failed)
{
    im_error err = IM_ERROR_INIT;
    if (op->start != NULL) {
        im_library *library = help_open(&home, false);
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
    im_library *library = help_open(&home, false);
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
            nth += nth == n_all + 1 ? (size_t)(seed % part) : 0;
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
    return cmocka_run_group_tests(tests, make_world, end_world);
}
