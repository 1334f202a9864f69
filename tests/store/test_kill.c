/* tests/store/test_kill.c — kill -9 at random moments (T43): every acknowledged row is there, with
 * an equal vector, the rest whole or absent; and of creation at named points. */
#include "base/clock.h"
#include "base/fault.h"
#include "base/memory.h"
#include "store/store_internal.h"
#include "tests/store/help.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define N_KILLS 60
#define BATCH 8
#define MOST_ITEMS 100000

static im_error err = IM_ERROR_INIT;

/* What the child tells through the pipe after each commit. */
typedef struct acknowledged {
    uint64_t added_to;   /* items 0 … added_to-1 have been added */
    uint64_t removed_to; /* of these, 0 … removed_to-1 by number are removed */
    uint64_t renumbered;
} acknowledged;

static void sleep_us(uint64_t us)
{
    struct timespec pause = {.tv_sec = 0, .tv_nsec = (long)us * 1000};
    (void)nanosleep(&pause, NULL);
}

static uint64_t id_of(im_store *store, uint64_t n)
{
    uint8_t sha256[32];
    uint64_t id = 0;
    help_sha256(n, sha256);
    help_ok(im_store_find_item(store, sha256, &id, &err), &err);
    return id;
}

static void one_batch(im_store *store, uint64_t root, uint64_t model, acknowledged *told)
{
    im_index_record record;
    help_ok(im_store_begin(store, &err), &err);
    help_ok(im_store_get_index(store, model, &record, &err), &err);
    for (uint64_t i = 0; i < BATCH; i++) {
        (void)help_put(store, root, model, told->added_to++, record.n_rows++);
    }
    if (told->added_to % (3 * BATCH) == 0) {
        help_ok(im_store_remove_item(store, id_of(store, told->removed_to), &err), &err);
        told->removed_to++;
    }
    if (told->added_to % (10 * BATCH) == 0) {
        help_ok(im_store_renumber_slots(store, model, &record.n_rows, &err), &err);
        record.generation++;
        told->renumbered++;
    }
    help_ok(im_store_set_index(store, model, &record, &err), &err);
    help_ok(im_store_commit(store, &err), &err);
}

static void child_works(const char *folder, int out, uint64_t root, uint64_t model,
                        acknowledged told)
{
    im_store *store = help_open(folder, IM_STORE_WRITE);
    while (told.added_to < MOST_ITEMS) {
        one_batch(store, root, model, &told);
        if (write(out, &told, sizeof told) != (ssize_t)sizeof told) {
            _exit(1);
        }
    }
    _exit(0);
}

static acknowledged read_last(int in, acknowledged before)
{
    acknowledged last = before;
    acknowledged next;
    while (read(in, &next, sizeof next) == (ssize_t)sizeof next) {
        last = next;
    }
    return last;
}

/* Returns what is really there, which is what was told or one batch more. */
static acknowledged check_kept(const char *folder, uint64_t model, acknowledged told)
{
    uint64_t start = im_clock_ns();
    im_store *store = help_open(folder, IM_STORE_WRITE);
    assert_true(im_clock_ms_since(start) < 2000);
    im_store_counts counts;
    im_index_record record;
    help_ok(im_store_count(store, model, &counts, &err), &err);
    help_ok(im_store_get_index(store, model, &record, &err), &err);
    acknowledged real = told;
    bool more = id_of(store, told.added_to) != 0;
    if (more) {
        real.added_to += BATCH;
        real.removed_to += real.added_to % (3 * BATCH) == 0;
    }
    for (uint64_t n = 0; n < real.added_to; n++) {
        float vector[HELP_DIM];
        float wanted[HELP_DIM];
        uint64_t slot = 0;
        uint64_t id = id_of(store, n);
        if (n < real.removed_to) {
            assert_int_equal(id, 0);
            continue;
        }
        assert_int_not_equal(id, 0);
        help_ok(im_store_get_embedding(store, id, model, vector, HELP_DIM, &slot, &err), &err);
        help_vector(n, wanted, HELP_DIM);
        assert_memory_equal(vector, wanted, sizeof wanted);
        assert_true(slot < record.n_rows);
    }
    assert_int_equal(counts.items, real.added_to - real.removed_to);
    assert_int_equal(counts.files, counts.items);
    assert_int_equal(counts.embeddings, counts.items);
    assert_int_equal(counts.removed, real.removed_to);
    help_check_clean(store);
    im_store_close(store);
    return real;
}

static void what_was_acknowledged_survives_kill_9(void **state)
{
    (void)state;
    char *folder = help_folder();
    uint64_t seed = 7;
    acknowledged told = {0};
    help_create(folder);
    im_store *store = help_open(folder, IM_STORE_WRITE);
    uint64_t root = help_root(store, "/photos");
    uint64_t model = help_model(store, "m");
    im_store_close(store);
    unsigned unacknowledged = 0;
    uint32_t span_us = 40000; /* longer where this machine gets nothing done in it */
    print_message("seed 7\n");
    for (unsigned kills = 0; kills < N_KILLS; kills++) {
        int ends[2];
        int status = 0;
        uint64_t before = told.added_to;
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        if (child == 0) {
            (void)close(ends[0]);
            child_works(folder, ends[1], root, model, told);
        }
        (void)close(ends[1]);
        sleep_us(2000 + help_random(&seed) % span_us);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        told = read_last(ends[0], told);
        (void)close(ends[0]);
        acknowledged real = check_kept(folder, model, told);
        unacknowledged += real.added_to != told.added_to;
        span_us = real.added_to > before ? span_us : IM_MIN(2 * span_us, 1000000u);
        told = real;
    }
    print_message("%d kills, %llu items added, %u batches there that were not acknowledged\n",
                  N_KILLS, (unsigned long long)told.added_to, unacknowledged);
    assert_true(told.added_to > 100);
    help_folder_remove(folder);
}

/* ---- at named points ---- */

static void die_at(const char *point, void (*work)(const char *), const char *folder)
{
    pid_t child = fork();
    int status = 0;
    if (child == 0) {
        (void)setenv("IMAGO_FAULT_KILL", point, 1);
        im_fault_from_environment();
        work(folder);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status)); /* the point was reached */
}

static void create_there(const char *folder)
{
    im_code rc = im_store_create(folder, NULL);
    (void)rc;
}

static void a_killed_creation_is_finished_by_the_next(void **state)
{
    (void)state;
    static const char *const points[] = {"store_create_filled", "store_create_synced",
                                         "store_create_renamed"};
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        char *folder = help_folder();
        im_store *store = NULL;
        die_at(points[i], create_there, folder);
        im_code rc = im_store_open(folder, IM_STORE_WRITE, &store, &err);
        assert_int_equal(rc, i == 2 ? IM_OK : IM_ERR_NOT_FOUND);
        im_store_close(store);
        if (rc != IM_OK) {
            assert_non_null(strstr(err.message, "not finished"));
            help_create(folder);
        }
        store = help_open(folder, IM_STORE_WRITE);
        help_check_clean(store);
        im_store_close(store);
        help_folder_remove(folder);
    }
}

static void put_one(const char *folder)
{
    im_store *store = help_open(folder, IM_STORE_WRITE);
    im_item item = help_item(1);
    uint64_t id = 0;
    (void)!im_store_put_item(store, &item, &id, &err);
    im_store_close(store);
}

static void a_kill_beside_the_commit_is_before_or_after_it(void **state)
{
    (void)state;
    static const char *const points[] = {"store_before_commit", "store_committed"};
    for (size_t i = 0; i < 2; i++) {
        char *folder = help_folder();
        help_create(folder);
        die_at(points[i], put_one, folder);
        im_store *store = help_open(folder, IM_STORE_READ);
        assert_int_equal(id_of(store, 1) != 0, i == 1);
        help_check_clean(store);
        im_store_close(store);
        help_folder_remove(folder);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_acknowledged_survives_kill_9),
        cmocka_unit_test(a_killed_creation_is_finished_by_the_next),
        cmocka_unit_test(a_kill_beside_the_commit_is_before_or_after_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
