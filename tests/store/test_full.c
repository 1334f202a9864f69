/* tests/store/test_full.c — the library on a real file system that fills up (T45): a small tmpfs in
 * a mount namespace of a child. Adding ends with 16, searching goes on, removing works when the
 * reserve is given back, and adding goes on when there is room. Needs root; says so otherwise. */
#include "base/limits.h"
#include "base/memory.h"
#include "store/store_internal.h"
#include "tests/store/help.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#define SKIPPED 77
#define FAT 16384 /* a fat text makes the disk fill quickly */

static im_error err = IM_ERROR_INIT;

static bool mount_small(const char *folder, const char *options)
{
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", folder, "tmpfs", 0, options) == 0;
}

static im_code put_fat(im_store *store, uint64_t root, uint64_t model, uint64_t n)
{
    static char fat[FAT];
    im_item item = help_item(n);
    float vector[HELP_DIM];
    uint64_t id = 0;
    memset(fat, 'f', sizeof fat - 1);
    im_code rc = im_store_begin(store, &err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = im_store_put_item(store, &item, &id, &err);
    if (rc == IM_OK) {
        im_failure failure = {.root = root,
                              .path = im_view_of((const char *)&n, sizeof n),
                              .reason = "io",
                              .message = fat};
        rc = im_store_put_failure(store, &failure, &err);
    }
    if (rc == IM_OK) {
        help_vector(n, vector, HELP_DIM);
        rc = im_store_put_embedding(store, id, model, n, vector, HELP_DIM, &err);
    }
    if (rc == IM_OK) {
        return im_store_commit(store, &err);
    }
    im_store_rollback(store);
    return rc;
}

static uint64_t count_items(im_store *store)
{
    im_store_counts counts;
    help_ok(im_store_count(store, 0, &counts, &err), &err);
    return counts.items;
}

static uint64_t fill_up(im_store *store, uint64_t root, uint64_t model, uint64_t from)
{
    uint64_t n = from;
    im_code rc = IM_OK;
    while (rc == IM_OK) {
        rc = put_fat(store, root, model, n);
        n += rc == IM_OK;
    }
    assert_int_equal(rc, IM_ERR_FULL);
    assert_string_equal(err.reason, "disk_full");
    assert_non_null(strstr(err.message, im_store_folder(store)));
    return n;
}

/* Also what others put there: not a byte is left. */
static void fill_the_rest(const char *folder)
{
    static char bytes[4096];
    int fd = open(help_path(folder, "filler"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    (void)lseek(fd, 0, SEEK_END);
    while (write(fd, bytes, sizeof bytes) > 0) {
    }
    (void)close(fd);
}

static void check_all(im_store *store, uint64_t model, uint64_t from, uint64_t to)
{
    for (uint64_t n = from; n < to; n++) {
        float vector[HELP_DIM];
        float wanted[HELP_DIM];
        uint8_t sha256[32];
        uint64_t id = 0;
        help_sha256(n, sha256);
        help_ok(im_store_find_item(store, sha256, &id, &err), &err);
        assert_int_not_equal(id, 0);
        help_ok(im_store_get_embedding(store, id, model, vector, HELP_DIM, NULL, &err), &err);
        help_vector(n, wanted, HELP_DIM);
        assert_memory_equal(vector, wanted, sizeof wanted);
    }
}

static int full_disk(const char *folder, const char *options)
{
    if (!mount_small(folder, options)) {
        return SKIPPED;
    }
    help_create(folder);
    im_store *store = help_open(folder, IM_STORE_WRITE);
    uint64_t root = help_root(store, "/photos");
    uint64_t model = help_model(store, "m");
    uint64_t n = fill_up(store, root, model, 0);
    fill_the_rest(folder);
    assert_int_equal(count_items(store), n);
    check_all(store, model, 0, n);

    /* searching from a new process too, with not a byte of room */
    im_store *reader = help_open(folder, IM_STORE_READ);
    check_all(reader, model, 0, n);
    im_store_close(reader);

    /* closed and opened, as by the next command: still to be read, and by a cold reader */
    im_store_close(store);
    fill_the_rest(folder);
    reader = help_open(folder, IM_STORE_READ);
    check_all(reader, model, 0, n);
    help_check_clean(reader);
    im_store_close(reader);
    assert_true(store_reserve_is_whole(folder));

    /* without even the shared memory of SQLite, and without room to make it */
    assert_true(store_path_bytes(help_path(folder, "library.db"), "-wal") > 0);
    assert_int_equal(unlink(help_path(folder, "library.db-shm")), 0);
    fill_the_rest(folder);
    reader = help_open(folder, IM_STORE_READ);
    assert_int_equal(reader->access, STORE_ACCESS_ALONE);
    check_all(reader, model, 0, n);
    im_store_close(reader);

    /* removing, with the reserve */
    store = help_open(folder, IM_STORE_WRITE);
    assert_false(store_reserve_is_whole(folder)); /* opening needed it */
    im_code rc = im_store_remove_item(store, 1, &err);
    if (rc != IM_OK) {
        assert_int_equal(rc, IM_ERR_FULL);
        im_store_release_reserve(store);
        help_ok(im_store_remove_item(store, 1, &err), &err);
    }
    for (uint64_t id = 2; id < 20; id++) {
        im_store_release_reserve(store);
        help_ok(im_store_remove_item(store, id, &err), &err);
    }
    assert_int_equal(count_items(store), n - 19);
    check_all(store, model, 19, n);

    /* room is made: it goes on without repair, and the reserve comes back */
    assert_int_equal(unlink(help_path(folder, "filler")), 0);
    im_store_refill_reserve(store);
    im_store_refill_reserve(store);
    assert_int_equal(mount("none", folder, "tmpfs", MS_REMOUNT, "size=96m"), 0);
    im_store_refill_reserve(store);
    assert_true(store_reserve_is_whole(folder));
    help_ok(put_fat(store, root, model, n), &err);
    help_check_clean(store);
    im_store_close(store);
    print_message("%s: %llu items until full\n", options, (unsigned long long)n);
    return 0;
}

static void run_on(const char *options)
{
    char *folder = help_folder();
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        _exit(full_disk(folder, options));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    help_folder_remove(folder);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == SKIPPED) {
        help_say_skipped("a small tmpfs in a mount namespace needs root");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_full_disk_of_8_mib(void **state)
{
    (void)state;
    run_on("size=8m");
}

static void a_full_disk_of_16_mib(void **state)
{
    (void)state;
    run_on("size=16m");
}

static void a_full_disk_of_32_mib(void **state)
{
    (void)state;
    run_on("size=32m");
}

static int tiny_disk(const char *folder)
{
    if (!mount_small(folder, "size=3m")) {
        return SKIPPED;
    }
    im_code rc = im_store_create(folder, &err);
    assert_int_equal(rc, IM_ERR_FULL);
    assert_int_equal(mount("none", folder, "tmpfs", MS_REMOUNT, "size=16m"), 0);
    help_create(folder);
    im_store *store = help_open(folder, IM_STORE_WRITE);
    help_check_clean(store);
    im_store_close(store);
    return 0;
}

static void creating_on_a_disk_without_room_is_full(void **state)
{
    (void)state;
    char *folder = help_folder();
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        _exit(tiny_disk(folder));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    help_folder_remove(folder);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == SKIPPED) {
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_disk_of_8_mib),
        cmocka_unit_test(a_full_disk_of_16_mib),
        cmocka_unit_test(a_full_disk_of_32_mib),
        cmocka_unit_test(creating_on_a_disk_without_room_is_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
