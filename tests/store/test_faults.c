/* tests/store/test_faults.c — the nth allocation, open, read, write, sync, rename, mapping fails,
 * n = 0, 1, 2 … until the operation passes: the library is the old or the new, nothing leaks, and
 * the hooks are reached inside SQLite too. */
#include "base/fault.h"
#include "base/memory.h"
#include "store/store_internal.h"
#include "tests/store/help.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static im_error err = IM_ERROR_INIT;

typedef struct fault_case {
    im_fault_kind kind;
    int errnum;
    im_code wanted, also; /* what the caller may see */
    const char *name;
} fault_case;

static const fault_case cases[] = {
    {IM_FAULT_ALLOC, 0, IM_ERR_NOMEM, IM_ERR_NOMEM, "alloc"},
    {IM_FAULT_OPEN, EIO, IM_ERR_IO, IM_ERR_IO, "open"},
    {IM_FAULT_OPEN, EMFILE, IM_ERR_NOMEM, IM_ERR_IO, "open (too many)"},
    {IM_FAULT_OPEN, EACCES, IM_ERR_DENIED, IM_ERR_IO, "open (denied)"},
    {IM_FAULT_READ, 0, IM_ERR_IO, IM_ERR_IO, "read"},
    {IM_FAULT_WRITE, 0, IM_ERR_IO, IM_ERR_IO, "write"},
    {IM_FAULT_WRITE, ENOSPC, IM_ERR_FULL, IM_ERR_FULL, "write (full)"},
    {IM_FAULT_SYNC, 0, IM_ERR_IO, IM_ERR_IO, "sync"},
    {IM_FAULT_RENAME, 0, IM_ERR_IO, IM_ERR_IO, "rename"},
    {IM_FAULT_MAP, 0, IM_ERR_NOMEM, IM_ERR_IO, "map"},
};
#define N_CASES (sizeof cases / sizeof cases[0])

static void check_code(const fault_case *c, im_code rc, size_t nth)
{
    if (rc != IM_OK && rc != c->wanted && rc != c->also) {
        fail_msg("%s %zu: %s: %s", c->name, nth, im_code_name(rc), err.message);
    }
}

/* SQLite keeps a little memory for itself from its first use on. */
static void warm_up(void)
{
    char *folder = help_memory_folder();
    help_create(folder);
    im_store_close(help_open(folder, IM_STORE_WRITE));
    help_folder_remove(folder);
}

/* Without this the loops below would pass and prove little. */
static void the_hooks_are_inside_sqlite(void **state)
{
    (void)state;
    warm_up();
    im_fault_set(IM_FAULT_ALLOC, 0, 0);
    assert_null(sqlite3_malloc(10));
    assert_true(im_fault_fired(IM_FAULT_ALLOC));
    size_t live = im_live_allocations();
    void *block = sqlite3_malloc(10);
    assert_int_equal(im_live_allocations(), live + 1);
    sqlite3_free(block);
    assert_int_equal(im_live_allocations(), live);
    im_fault_clear();
    char *folder = help_memory_folder();
    help_create(folder);
    im_store *store = help_open(folder, IM_STORE_WRITE);
    im_fault_clear();
    (void)help_root(store, "/x");
    assert_true(im_fault_calls(IM_FAULT_WRITE) > 2); /* header and frames of the WAL */
    assert_true(im_fault_calls(IM_FAULT_SYNC) > 0);
    im_store_close(store);
    im_fault_clear();
    store = help_open(folder, IM_STORE_READ);
    assert_true(im_fault_calls(IM_FAULT_READ) > 1);
    assert_true(im_fault_calls(IM_FAULT_OPEN) > 1);
    assert_true(im_fault_calls(IM_FAULT_MAP) > 0);
    im_store_close(store);
    help_folder_remove(folder);
}

/* Reserve, database, folder; after the rename the folder again, and its parent. */
static void a_creation_is_durable_step_by_step(void **state)
{
    (void)state;
    char *folder = help_memory_folder();
    im_fault_clear();
    help_create(folder);
    assert_int_equal(im_fault_calls(IM_FAULT_SYNC), 5);
    assert_int_equal(im_fault_calls(IM_FAULT_RENAME), 1);
    help_folder_remove(folder);
}

/* ---- create ---- */

static void create_survives_each_failure(void **state)
{
    (void)state;
    warm_up();
    for (size_t i = 0; i < N_CASES; i++) {
        const fault_case *c = &cases[i];
        size_t reached = 0;
        bool fired = true;
        /* every place of the first 300; then, of some 7,000 allocations inside SQLite's parser,
         * every 23rd: a new library each takes its time */
        for (size_t nth = 0; fired; nth += nth < 300 ? 1 : 23) {
            char *folder = help_memory_folder();
            size_t live = im_live_allocations();
            im_fault_set(c->kind, nth, c->errnum);
            im_code rc = im_store_create(folder, &err);
            fired = im_fault_fired(c->kind);
            im_fault_clear();
            assert_int_equal(im_live_allocations(), live);
            check_code(c, rc, nth);
            assert_true(fired || rc == IM_OK);
            im_store *store = NULL;
            im_code opened = im_store_open(folder, IM_STORE_WRITE, &store, &err);
            if (opened != IM_OK) {
                assert_int_equal(opened, IM_ERR_NOT_FOUND);
                assert_true(rc != IM_OK);
                help_create(folder); /* what was left does not hinder */
                store = help_open(folder, IM_STORE_WRITE);
            }
            if (nth % 16 == 0) {
                help_check_clean(store);
            }
            im_store_close(store);
            help_folder_remove(folder);
            reached += fired;
        }
        print_message("create: %-16s %zu places\n", c->name, reached);
        assert_true(reached > 0 || c->kind == IM_FAULT_MAP || c->kind == IM_FAULT_READ);
    }
}

/* ---- open ---- */

/* A library of 20 items and a failure. */
static char *filled(uint64_t *out_root, uint64_t *out_model)
{
    char *folder = help_filled(20, out_root, out_model);
    im_store *store = help_open(folder, IM_STORE_WRITE);
    im_failure failure = {
        .root = *out_root, .path = im_view_from("bad"), .reason = "io", .message = "m"};
    help_ok(im_store_put_failure(store, &failure, &err), &err);
    im_store_close(store);
    return folder;
}

static void open_survives_each_failure(void **state)
{
    (void)state;
    uint64_t root = 0;
    uint64_t model = 0;
    char *folder = filled(&root, &model);
    for (int mode = 0; mode < 2; mode++) {
        for (size_t i = 0; i < N_CASES; i++) {
            const fault_case *c = &cases[i];
            size_t reached = 0;
            bool fired = true;
            for (size_t nth = 0; fired; nth++) {
                im_store *store = NULL;
                size_t live = im_live_allocations();
                im_fault_set(c->kind, nth, c->errnum);
                im_code rc =
                    im_store_open(folder, mode == 0 ? IM_STORE_READ : IM_STORE_WRITE, &store, &err);
                fired = im_fault_fired(c->kind);
                im_fault_clear();
                check_code(c, rc, nth);
                assert_true((rc == IM_OK) == (store != NULL));
                assert_true(fired || rc == IM_OK);
                im_store_close(store);
                assert_int_equal(im_live_allocations(), live);
                reached += fired;
            }
            print_message("open %d: %-16s %zu places\n", mode, c->name, reached);
        }
    }
    im_store *store = help_open(folder, IM_STORE_WRITE);
    help_check_clean(store);
    im_store_close(store);
    help_folder_remove(folder);
}

/* ---- a batch ---- */

static im_code put_one(im_store *store, uint64_t root, uint64_t model, uint64_t n)
{
    im_item item = help_item(n);
    float vector[HELP_DIM];
    char name[32];
    uint64_t id = 0;
    int size = snprintf(name, sizeof name, "%06llu.jpg", (unsigned long long)n);
    im_code rc = im_store_put_item(store, &item, &id, &err);
    if (rc == IM_OK) {
        im_file_row file = {.root = root, .path = im_view_of(name, (size_t)size), .item = id};
        rc = im_store_put_file(store, &file, NULL, &err);
    }
    if (rc == IM_OK) {
        help_vector(n, vector, HELP_DIM);
        rc = im_store_put_embedding(store, id, model, n, vector, HELP_DIM, &err);
    }
    return rc;
}

/* Adds items first … first+3, removes item 2 when it is there, raises the row count. */
static im_code batch(im_store *store, uint64_t root, uint64_t model, uint64_t first)
{
    im_index_record record = {.generation = 1, .n_rows = first + 4};
    im_code rc = im_store_begin(store, &err);
    if (rc != IM_OK) {
        return rc;
    }
    for (uint64_t n = first; rc == IM_OK && n < first + 4; n++) {
        rc = put_one(store, root, model, n);
    }
    if (rc == IM_OK) {
        rc = im_store_remove_item(store, first - 3, &err);
    }
    if (rc == IM_OK) {
        rc = im_store_set_index(store, model, &record, &err);
    }
    if (rc == IM_OK) {
        return im_store_commit(store, &err);
    }
    im_store_rollback(store);
    return rc;
}

static uint64_t rows_of(im_store *store, uint64_t model)
{
    im_index_record record;
    help_ok(im_store_get_index(store, model, &record, &err), &err);
    return record.n_rows;
}

static void a_batch_is_whole_or_absent_after_each_failure(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        const fault_case *c = &cases[i];
        uint64_t root = 0;
        uint64_t model = 0;
        size_t reached = 0;
        bool fired = true;
        char *folder = filled(&root, &model);
        uint64_t first = 20;
        for (size_t nth = 0; fired; nth++) {
            im_store *store = help_open(folder, IM_STORE_WRITE);
            uint64_t before = rows_of(store, model);
            im_store_counts counts;
            im_fault_set(c->kind, nth, c->errnum);
            im_code rc = batch(store, root, model, first);
            fired = im_fault_fired(c->kind);
            im_fault_clear();
            check_code(c, rc, nth);
            assert_true(fired || rc == IM_OK);
            im_store_close(store);
            store = help_open(folder, IM_STORE_WRITE);
            uint64_t after = rows_of(store, model);
            help_ok(im_store_count(store, model, &counts, &err), &err);
            if (rc == IM_OK) {
                assert_int_equal(after, first + 4); /* acknowledged */
            } else {
                assert_true(after == before || after == first + 4);
            }
            uint64_t n_batches = after == 0 ? 0 : (after - 20) / 4;
            assert_int_equal(counts.items, 20 + 3 * n_batches);
            assert_int_equal(counts.files, counts.items);
            assert_int_equal(counts.embeddings, counts.items);
            assert_int_equal(counts.removed, n_batches);
            if (nth % 8 == 0 || !fired) {
                help_check_clean(store);
            }
            im_store_close(store);
            first = after == 0 ? 20 : after;
            reached += fired;
        }
        print_message("batch: %-16s %zu places\n", c->name, reached);
        if (c->kind == IM_FAULT_ALLOC || c->kind == IM_FAULT_WRITE || c->kind == IM_FAULT_SYNC) {
            assert_true(reached > 0); /* the hooks inside SQLite */
        }
        help_folder_remove(folder);
    }
}

/* The same store goes on after a failure, without being opened again. */
static void a_store_goes_on_after_a_failed_allocation(void **state)
{
    (void)state;
    uint64_t root = 0;
    uint64_t model = 0;
    bool fired = true;
    char *folder = filled(&root, &model);
    im_store *store = help_open(folder, IM_STORE_WRITE);
    for (size_t nth = 0; fired; nth++) {
        uint64_t before = rows_of(store, model);
        uint64_t first = before == 0 ? 20 : before;
        im_fault_set(IM_FAULT_ALLOC, nth, 0);
        im_code rc = batch(store, root, model, first);
        fired = im_fault_fired(IM_FAULT_ALLOC);
        im_fault_clear();
        assert_true(rc == IM_OK || rc == IM_ERR_NOMEM);
        if (rc != IM_OK) {
            assert_int_equal(rows_of(store, model), before);
        }
    }
    help_check_clean(store);
    im_store_close(store);
    help_folder_remove(folder);
}

/* ---- reading ---- */

static bool count_one(void *context)
{
    (*(size_t *)context)++;
    return true;
}

static bool on_embedding(void *context, uint64_t item, uint64_t slot, const float *vector,
                         bool sound)
{
    (void)item;
    (void)slot;
    (void)vector;
    assert_true(sound);
    return count_one(context);
}

static bool on_item(void *context, const im_item *item)
{
    (void)item;
    return count_one(context);
}

static bool on_file(void *context, const im_file_row *file)
{
    (void)file;
    return count_one(context);
}

static bool on_root(void *context, const im_root *root)
{
    (void)root;
    return count_one(context);
}

static bool on_model(void *context, const im_model_row *model)
{
    (void)model;
    return count_one(context);
}

static bool on_failure(void *context, const im_failure *failure)
{
    (void)failure;
    return count_one(context);
}

#define SEEN (20 + 20 + 20 + 1 + 1 + 1)

static im_code walk_all(im_store *store, uint64_t root, uint64_t model, size_t *out_seen)
{
    im_code rc = im_store_each_embedding(store, model, HELP_DIM, on_embedding, out_seen, &err);
    if (rc == IM_OK) {
        rc = im_store_each_item(store, 0, on_item, out_seen, &err);
    }
    if (rc == IM_OK) {
        rc = im_store_each_file_of_root(store, root, im_view_from("/"), on_file, out_seen, &err);
    }
    if (rc == IM_OK) {
        rc = im_store_each_root(store, on_root, out_seen, &err);
    }
    if (rc == IM_OK) {
        rc = im_store_each_model(store, on_model, out_seen, &err);
    }
    if (rc == IM_OK) {
        rc = im_store_each_failure(store, on_failure, out_seen, &err);
    }
    return rc;
}

static im_code read_all(im_store *store, uint64_t root, uint64_t model, size_t *out_seen)
{
    im_store_counts counts;
    im_item item;
    im_model_row row = {0};
    char *path = NULL;
    bool online = false;
    float vector[HELP_DIM];
    uint64_t bits[1];
    im_code rc = im_store_begin_read(store, &err);
    if (rc == IM_OK) {
        rc = im_store_count(store, 0, &counts, &err);
    }
    if (rc == IM_OK) {
        rc = im_store_active_model(store, &row, &err);
        im_model_row_clear(&row);
    }
    if (rc == IM_OK) {
        rc = im_store_get_item(store, 3, &item, &err);
    }
    if (rc == IM_OK) {
        rc = im_store_item_path(store, 3, &path, &online, &err);
        im_free(path);
    }
    if (rc == IM_OK) {
        rc = im_store_get_embedding(store, 3, model, vector, HELP_DIM, NULL, &err);
    }
    if (rc == IM_OK) {
        rc = im_store_alive_slots(store, model, 20, bits, NULL, &err);
    }
    if (rc == IM_OK) {
        rc = walk_all(store, root, model, out_seen);
    }
    im_store_end_read(store);
    return rc;
}

static void reading_tells_the_truth_or_fails(void **state)
{
    (void)state;
    uint64_t root = 0;
    uint64_t model = 0;
    char *folder = filled(&root, &model);
    for (size_t i = 0; i < N_CASES; i++) {
        const fault_case *c = &cases[i];
        size_t reached = 0;
        bool fired = true;
        for (size_t nth = 0; fired; nth++) {
            size_t live = im_live_allocations();
            im_store *store = help_open(folder, IM_STORE_READ);
            size_t seen = 0;
            im_fault_set(c->kind, nth, c->errnum);
            im_code rc = read_all(store, root, model, &seen);
            fired = im_fault_fired(c->kind);
            im_fault_clear();
            check_code(c, rc, nth);
            assert_true(rc == IM_OK ? seen == SEEN : fired);
            help_check_idle(store);
            seen = 0;
            help_ok(read_all(store, root, model, &seen), &err); /* and again, on the same store */
            assert_int_equal(seen, SEEN);
            im_store_close(store);
            assert_int_equal(im_live_allocations(), live);
            reached += fired;
        }
        print_message("read: %-16s %zu places\n", c->name, reached);
    }
    help_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_hooks_are_inside_sqlite),
        cmocka_unit_test(a_creation_is_durable_step_by_step),
        cmocka_unit_test(create_survives_each_failure),
        cmocka_unit_test(open_survives_each_failure),
        cmocka_unit_test(a_batch_is_whole_or_absent_after_each_failure),
        cmocka_unit_test(a_store_goes_on_after_a_failed_allocation),
        cmocka_unit_test(reading_tells_the_truth_or_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
