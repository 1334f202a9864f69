/* tests/store/test_transaction.c — one transaction over several calls, snapshots, the size of the
 * WAL, and a store after a failed sync (T46). Covers transaction.c. */
#include "base/fault.h"
#include "base/memory.h"
#include "store/store_internal.h"
#include "tests/store/help.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static im_error err = IM_ERROR_INIT;

typedef struct fixture {
    char *folder;
    im_store *store;
    uint64_t root, model;
} fixture;

static int set_up(void **state)
{
    fixture *f = im_alloc_zero(1, sizeof(*f));
    f->folder = help_folder();
    help_create(f->folder);
    f->store = help_open(f->folder, IM_STORE_WRITE);
    f->root = help_root(f->store, "/photos");
    f->model = help_model(f->store, "one");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    im_fault_clear();
    im_store_close(f->store);
    f->store = help_open(f->folder, IM_STORE_WRITE);
    help_check_clean(f->store);
    im_store_close(f->store);
    help_folder_remove(f->folder);
    im_free(f);
    return 0;
}

static uint64_t count_items(im_store *store)
{
    im_store_counts counts;
    help_ok(im_store_count(store, 0, &counts, &err), &err);
    return counts.items;
}

static void a_transaction_is_seen_by_others_when_it_is_committed(void **state)
{
    fixture *f = *state;
    im_store *reader = help_open(f->folder, IM_STORE_READ);
    help_ok(im_store_begin(f->store, &err), &err);
    (void)help_put(f->store, f->root, f->model, 1, 0);
    (void)help_put(f->store, f->root, f->model, 2, 1);
    assert_int_equal(count_items(f->store), 2);
    assert_int_equal(count_items(reader), 0);
    help_ok(im_store_commit(f->store, &err), &err);
    assert_int_equal(count_items(reader), 2);
    im_store_close(reader);
}

static void a_rolled_back_transaction_leaves_nothing(void **state)
{
    fixture *f = *state;
    help_ok(im_store_begin(f->store, &err), &err);
    (void)help_put(f->store, f->root, f->model, 1, 0);
    im_store_rollback(f->store);
    im_store_rollback(f->store); /* nothing to do */
    assert_int_equal(count_items(f->store), 0);
    (void)help_put(f->store, f->root, f->model, 1, 0);
    assert_int_equal(count_items(f->store), 1);
}

static void closing_rolls_back(void **state)
{
    fixture *f = *state;
    help_ok(im_store_begin(f->store, &err), &err);
    (void)help_put(f->store, f->root, f->model, 1, 0);
    im_store_close(f->store);
    f->store = help_open(f->folder, IM_STORE_WRITE);
    assert_int_equal(count_items(f->store), 0);
}

static void transactions_do_not_nest(void **state)
{
    fixture *f = *state;
    assert_int_equal(im_store_commit(f->store, &err), IM_ERR_INTERNAL);
    help_ok(im_store_begin(f->store, &err), &err);
    assert_int_equal(im_store_begin(f->store, &err), IM_ERR_INTERNAL);
    assert_int_equal(im_store_begin_read(f->store, &err), IM_ERR_INTERNAL);
    help_ok(im_store_commit(f->store, &err), &err);
    help_ok(im_store_begin_read(f->store, &err), &err);
    assert_int_equal(im_store_begin(f->store, &err), IM_ERR_INTERNAL);
    im_store_end_read(f->store);
    im_store_end_read(f->store);
    help_ok(im_store_begin(f->store, &err), &err);
    help_ok(im_store_commit(f->store, &err), &err);
}

static void a_snapshot_stays_as_it_was(void **state)
{
    fixture *f = *state;
    im_store *reader = help_open(f->folder, IM_STORE_READ);
    (void)help_put(f->store, f->root, f->model, 1, 0);
    help_ok(im_store_begin_read(reader, &err), &err);
    (void)help_put(f->store, f->root, f->model, 2, 1); /* never waits for the reader */
    help_ok(im_store_remove_item(f->store, 1, &err), &err);
    assert_int_equal(count_items(reader), 1);
    im_item item;
    help_ok(im_store_get_item(reader, 1, &item, &err), &err);
    im_store_end_read(reader);
    assert_int_equal(im_store_get_item(reader, 1, &item, &err), IM_ERR_NOT_FOUND);
    im_store_close(reader);
}

/* A refused row changed nothing: the rest of the batch may be committed. */
static void a_refused_row_does_not_spoil_the_batch(void **state)
{
    fixture *f = *state;
    im_item twice = help_item(1);
    uint64_t id = 0;
    float vector[HELP_DIM] = {0};
    help_ok(im_store_begin(f->store, &err), &err);
    (void)help_put(f->store, f->root, f->model, 1, 0);
    assert_int_equal(im_store_put_item(f->store, &twice, &id, &err), IM_ERR_CONFLICT);
    assert_int_equal(im_store_put_embedding(f->store, 1, f->model, 9, vector, HELP_DIM, &err),
                     IM_ERR_CONFLICT);
    assert_int_equal(im_store_remove_item(f->store, 77, &err), IM_ERR_NOT_FOUND);
    (void)help_put(f->store, f->root, f->model, 2, 1);
    help_ok(im_store_commit(f->store, &err), &err);
    assert_int_equal(count_items(f->store), 2);
}

/* An operation that failed half way cannot be committed. */
static void a_half_done_operation_spoils_the_transaction(void **state)
{
    fixture *f = *state;
    uint64_t id = help_put(f->store, f->root, f->model, 1, 0);
    unsigned spoiled = 0;
    for (size_t nth = 0;; nth++) {
        assert_true(nth < 10000);
        help_ok(im_store_begin(f->store, &err), &err);
        im_fault_set(IM_FAULT_ALLOC, nth, 0);
        im_code rc = im_store_remove_item(f->store, id, &err);
        im_fault_clear();
        if (rc == IM_OK) {
            im_store_rollback(f->store);
            break;
        }
        assert_int_equal(rc, IM_ERR_NOMEM);
        if (f->store->broken) {
            uint64_t none = 0;
            im_item item = help_item(9);
            assert_int_equal(im_store_put_item(f->store, &item, &none, &err), IM_ERR_NOMEM);
            spoiled++;
        }
        rc = im_store_commit(f->store, &err); /* as a caller that does not look */
        assert_true(rc == IM_OK || rc == IM_ERR_NOMEM);
        im_store_counts counts;
        help_ok(im_store_count(f->store, 0, &counts, &err), &err);
        assert_int_equal(counts.items, 1);
        assert_int_equal(counts.removed, 0); /* nothing half */
        assert_int_equal(counts.change_seq, 1);
    }
    assert_true(spoiled > 10);
    (void)help_put(f->store, f->root, f->model, 2, 1);
}

static void a_failed_commit_rolls_back(void **state)
{
    fixture *f = *state;
    help_ok(im_store_begin(f->store, &err), &err);
    (void)help_put(f->store, f->root, f->model, 1, 0);
    im_fault_set(IM_FAULT_WRITE, 0, 0);
    assert_int_equal(im_store_commit(f->store, &err), IM_ERR_IO);
    assert_true(im_fault_fired(IM_FAULT_WRITE));
    im_fault_clear();
    assert_int_equal(count_items(f->store), 0);
    (void)help_put(f->store, f->root, f->model, 1, 0); /* and goes on */
    assert_int_equal(count_items(f->store), 1);
}

static void a_full_disk_has_its_own_code(void **state)
{
    fixture *f = *state;
    im_item item = help_item(1);
    uint64_t id = 0;
    im_fault_set(IM_FAULT_WRITE, 0, ENOSPC);
    assert_int_equal(im_store_put_item(f->store, &item, &id, &err), IM_ERR_FULL);
    assert_non_null(strstr(err.message, f->folder));
    assert_true(strlen(err.hint) > 0);
    im_fault_clear();
    help_ok(im_store_put_item(f->store, &item, &id, &err), &err);
}

/* T46: fsync fails once with EIO, then would succeed. */
static void after_a_failed_sync_nothing_more_is_written(void **state)
{
    fixture *f = *state;
    im_item item = help_item(1);
    uint64_t id = 0;
    (void)help_put(f->store, f->root, f->model, 5, 0);
    im_fault_set(IM_FAULT_SYNC, 0, 0);
    assert_int_equal(im_store_put_item(f->store, &item, &id, &err), IM_ERR_IO);
    assert_true(im_fault_fired(IM_FAULT_SYNC));
    im_fault_set(IM_FAULT_SYNC, SIZE_MAX / 2, 0); /* counts from here */
    assert_int_equal(im_store_put_item(f->store, &item, &id, &err), IM_ERR_IO);
    assert_non_null(strstr(err.message, "sync failed earlier"));
    assert_int_equal(im_store_begin(f->store, &err), IM_ERR_IO);
    assert_int_equal(count_items(f->store), 1); /* reading goes on */
    im_store_close(f->store);
    assert_int_equal(im_fault_calls(IM_FAULT_SYNC), 0); /* no second sync is believed */
    f->store = help_open(f->folder, IM_STORE_WRITE);
    help_ok(im_store_get_item(f->store, 1, &item, &err), &err); /* the acknowledged one */
    (void)help_root(f->store, "/new");
}

/* The commit was durable before: it is acknowledged, and then the store stops. */
static void a_failed_sync_of_a_checkpoint_stops_the_writer(void **state)
{
    fixture *f = *state;
    size_t nth = 0;
    f->store->wal_pages = 0;
    for (nth = 0; nth < 50 && !f->store->sync_failed; nth++) {
        help_ok(im_store_begin(f->store, &err), &err);
        for (uint64_t n = 0; n < 4000; n++) {
            (void)help_put(f->store, f->root, f->model, nth * 4000 + n, nth * 4000 + n);
        }
        im_fault_set(IM_FAULT_SYNC, 1, 0); /* 0 is the commit's own */
        help_ok(im_store_commit(f->store, &err), &err);
        im_fault_clear();
    }
    assert_true(f->store->sync_failed);
    assert_int_equal(count_items(f->store), nth * 4000);
    assert_int_equal(im_store_begin(f->store, &err), IM_ERR_IO);
}

static void the_wal_is_written_back_as_it_grows(void **state)
{
    fixture *f = *state;
    im_store_counts counts;
    for (uint64_t batch = 0; batch < 40; batch++) {
        help_ok(im_store_begin(f->store, &err), &err);
        for (uint64_t n = 0; n < 500; n++) {
            (void)help_put(f->store, f->root, f->model, batch * 500 + n, batch * 500 + n);
        }
        help_ok(im_store_commit(f->store, &err), &err);
    }
    help_ok(im_store_count(f->store, 0, &counts, &err), &err);
    assert_int_equal(counts.items, 20000);
    assert_true(counts.wal_bytes < (64u << 20));
}

/* T49: a WAL above 256 MiB ends the snapshots that keep it; writing never waits for them. */
static void an_old_snapshot_that_keeps_a_large_wal_is_given_up(void **state)
{
    fixture *f = *state;
    im_store *reader = help_open(f->folder, IM_STORE_READ);
    (void)help_put(f->store, f->root, f->model, 1, 0);
    help_ok(im_store_begin_read(reader, &err), &err);
    (void)help_put(f->store, f->root, f->model, 2, 1);
    assert_int_equal(truncate(help_path(f->folder, "library.db-wal"), 300 << 20), 0);
    assert_int_equal(count_items(reader), 1); /* large, but not old */
    reader->read_since -= UINT64_C(31000000000);
    im_item item;
    assert_int_equal(im_store_get_item(reader, 1, &item, &err), IM_ERR_BUSY);
    assert_non_null(strstr(err.message, "31 s"));
    assert_int_equal(im_store_get_item(reader, 1, &item, &err), IM_ERR_BUSY); /* stays ended */
    im_store_end_read(reader);
    assert_int_equal(count_items(reader), 2);
    help_ok(im_store_begin_read(reader, &err), &err);
    assert_int_equal(count_items(reader), 2);
    reader->read_since -= UINT64_C(31000000000);
    assert_int_equal(truncate(help_path(f->folder, "library.db-wal"), 1 << 20), 0);
    assert_int_equal(count_items(reader), 2); /* old, but not large */
    im_store_close(reader);
}

/* A store of another process's making holds SQLite's own lock without ours. */
static void a_foreign_lock_is_busy_in_our_words(void **state)
{
    fixture *f = *state;
    sqlite3 *other = NULL;
    uint64_t id = 0;
    im_item item = help_item(1);
    assert_int_equal(sqlite3_open(help_path(f->folder, "library.db"), &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    (void)sqlite3_busy_timeout(f->store->db, 50);
    assert_int_equal(im_store_put_item(f->store, &item, &id, &err), IM_ERR_BUSY);
    assert_string_equal(err.reason, "library_busy");
    assert_int_equal(f->store->lock_depth, 0);
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    (void)sqlite3_close(other);
    help_ok(im_store_put_item(f->store, &item, &id, &err), &err);
}

static void the_change_table_is_bounded(void **state)
{
    fixture *f = *state;
    uint64_t seq = 0;
    /* as if a million changes had been told */
    assert_int_equal(
        sqlite3_exec(f->store->db,
                     "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100)"
                     " INSERT INTO change (seq, model, slot, item, op)"
                     " SELECT i, 1, i, i, 'put' FROM n;"
                     "UPDATE sqlite_sequence SET seq = 1048576 + 65535 WHERE name = 'change'",
                     NULL, NULL, NULL),
        SQLITE_OK);
    (void)help_put(f->store, f->root, f->model, 1, 0);
    help_ok(im_store_change_seq(f->store, &seq, &err), &err);
    assert_int_equal(seq, 1048576 + 65536);
    sqlite3_stmt *stmt = NULL;
    assert_int_equal(
        sqlite3_prepare_v2(f->store->db, "SELECT count(*), min(seq) FROM change", -1, &stmt, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int64(stmt, 0), 1);
    (void)sqlite3_finalize(stmt);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_transaction_is_seen_by_others_when_it_is_committed),
        T(a_rolled_back_transaction_leaves_nothing),
        T(closing_rolls_back),
        T(transactions_do_not_nest),
        T(a_snapshot_stays_as_it_was),
        T(a_refused_row_does_not_spoil_the_batch),
        T(a_half_done_operation_spoils_the_transaction),
        T(a_failed_commit_rolls_back),
        T(a_full_disk_has_its_own_code),
        T(after_a_failed_sync_nothing_more_is_written),
        T(a_failed_sync_of_a_checkpoint_stops_the_writer),
        T(the_wal_is_written_back_as_it_grows),
        T(an_old_snapshot_that_keeps_a_large_wal_is_given_up),
        T(a_foreign_lock_is_busy_in_our_words),
        T(the_change_table_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
