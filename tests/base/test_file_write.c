/* tests/base/test_file_write.c — base/file_write.c */
#include "base/file.h"
#include "support.h"
#include <errno.h>

static void expect_content(const char *path, const char *data, size_t size)
{
    im_bytes bytes = {0};
    assert_int_equal(im_file_read(path, 1u << 30, &bytes, NULL), IM_OK);
    assert_int_equal(bytes.size, size);
    assert_memory_equal(bytes.data, data, size);
    im_bytes_clear(&bytes);
}

static void a_new_file_appears_and_an_old_one_is_replaced(void **state)
{
    const char *folder = *state;
    assert_int_equal(im_file_write_atomic("a", "first", 5, NULL), IM_OK);
    expect_content("a", "first", 5);
    assert_int_equal(im_file_write_atomic("a", "2", 1, NULL), IM_OK);
    expect_content("a", "2", 1);
    assert_int_equal(im_file_write_atomic("a", NULL, 0, NULL), IM_OK);
    expect_content("a", "", 0);
    char path[128];
    (void)snprintf(path, sizeof path, "%s/b", folder);
    assert_int_equal(im_file_write_atomic(path, "b", 1, NULL), IM_OK);
    expect_content("b", "b", 1);
    assert_int_equal(test_count_files("."), 2);
}

/* The data before the rename, the folder after it: else a power cut could leave neither. */
static void data_and_folder_are_synced(void **state)
{
    (void)state;
    im_fault_clear();
    assert_int_equal(im_file_write_atomic("a", "x", 1, NULL), IM_OK);
    assert_int_equal(im_fault_calls(IM_FAULT_SYNC), 2);
    im_fault_set(IM_FAULT_SYNC, 0, 0);
    im_fault_set(IM_FAULT_RENAME, SIZE_MAX - 1, 0); /* counts only */
    assert_int_equal(im_file_write_atomic("a", "y", 1, NULL), IM_ERR_IO);
    assert_int_equal(im_fault_calls(IM_FAULT_RENAME), 0);
    im_fault_set(IM_FAULT_SYNC, 1, 0);
    assert_int_equal(im_file_write_atomic("a", "z", 1, NULL), IM_ERR_IO);
    assert_int_equal(im_fault_calls(IM_FAULT_RENAME), 1);
}

static void large_content_and_long_names_are_written(void **state)
{
    (void)state;
    char name[256];
    memset(name, 'n', 255);
    name[255] = '\0';
    size_t size = (size_t)5 << 20;
    char *data = malloc(size);
    assert_non_null(data);
    for (size_t i = 0; i < size; i++) {
        data[i] = (char)(i * 31 >> 3);
    }
    assert_int_equal(im_file_write_atomic(name, data, size, NULL), IM_OK);
    expect_content(name, data, size);
    free(data);
    assert_int_equal(im_live_allocations(), 0);
}

static mode_t mode_of(const char *path)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return info.st_mode & 0777;
}

static void permissions_of_the_old_file_stay(void **state)
{
    (void)state;
    mode_t before = umask(022);
    assert_int_equal(im_file_write_atomic("new", "x", 1, NULL), IM_OK);
    assert_int_equal(mode_of("new"), 0644);
    test_put_file("secret", "x", 1);
    assert_int_equal(chmod("secret", 0600), 0);
    assert_int_equal(im_file_write_atomic("secret", "y", 1, NULL), IM_OK);
    assert_int_equal(mode_of("secret"), 0600);
    umask(before);
}

/* The file holds the old or the new content, never a mixture, and no temporary stays; when the
 * call failed before the last step (syncing the folder) it is the old. */
static void each_failed_call_leaves_the_old_or_the_new(void **state)
{
    (void)state;
    static const struct {
        im_fault_kind kind;
        int errnum;
        im_code code;
    } rows[] = {{IM_FAULT_OPEN, EACCES, IM_ERR_DENIED}, {IM_FAULT_WRITE, ENOSPC, IM_ERR_FULL},
                {IM_FAULT_SYNC, 0, IM_ERR_IO},          {IM_FAULT_RENAME, 0, IM_ERR_IO},
                {IM_FAULT_ALLOC, 0, IM_ERR_NOMEM},      {IM_FAULT_WRITE, EDQUOT, IM_ERR_FULL}};
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        im_code rc = rows[i].code;
        size_t nth = 0;
        for (; rc != IM_OK; nth++) {
            im_error err = IM_ERROR_INIT;
            test_put_file("target", "old", 3);
            im_fault_set(rows[i].kind, nth, rows[i].errnum);
            rc = im_file_write_atomic("target", "newer", 5, &err);
            bool fired = im_fault_fired(rows[i].kind);
            im_fault_clear();
            assert_int_equal(rc, fired ? rows[i].code : IM_OK);
            bool folder_step =
                nth == 1 && (rows[i].kind == IM_FAULT_SYNC || rows[i].kind == IM_FAULT_OPEN);
            bool is_new = rc == IM_OK || folder_step;
            expect_content("target", is_new ? "newer" : "old", is_new ? 5 : 3);
            assert_int_equal(test_count_files("."), 1);
            assert_int_equal(im_live_allocations(), 0);
        }
        assert_true(nth > 1);
    }
}

static void what_cannot_be_written_is_refused_and_cleaned(void **state)
{
    (void)state;
    im_error err = IM_ERROR_INIT;
    assert_int_equal(im_file_write_atomic("no/such/file", "x", 1, &err), IM_ERR_NOT_FOUND);
    assert_string_equal(err.message,
                        "could not create a file in folder 'no/such': No such file or directory");
    assert_int_equal(mkdir("folder", 0700), 0);
    assert_int_equal(im_file_write_atomic("folder", "x", 1, &err), IM_ERR_IO);
    assert_int_equal(test_count_files("."), 1);
    assert_int_equal(test_count_files("folder"), 0);
}

static void a_left_over_temporary_is_not_taken(void **state)
{
    (void)state;
    /* the names a process of our number will try next, left by one that died */
    for (unsigned i = 0; i < 60; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, ".imago-%ld-%u.tmp", (long)getpid(), i);
        test_put_file(name, "stale", 5);
    }
    assert_int_equal(im_file_write_atomic("a", "fresh", 5, NULL), IM_OK);
    expect_content("a", "fresh", 5);
    assert_int_equal(test_count_files("."), 61);
}

static void folders_are_made_with_their_parents(void **state)
{
    const char *folder = *state;
    char path[128];
    (void)snprintf(path, sizeof path, "%s//x/y/../z//w/", folder);
    assert_int_equal(im_folder_make("a/b/c", NULL), IM_OK);
    assert_int_equal(im_folder_make("a/b/c", NULL), IM_OK);
    assert_true(im_file_exists("a/b/c"));
    assert_int_equal(im_folder_make(path, NULL), IM_OK);
    assert_true(im_file_exists("x/z/w"));
    assert_int_equal(im_folder_make("/", NULL), IM_OK);
    assert_int_equal(im_folder_make(".", NULL), IM_OK);
    im_error err = IM_ERROR_INIT;
    assert_int_equal(im_folder_make("", &err), IM_ERR_INVALID);
    test_put_file("a/file", "", 0);
    assert_int_equal(im_folder_make("a/file", &err), IM_ERR_CONFLICT);
    assert_int_equal(im_folder_make("a/file/b", &err), IM_ERR_CONFLICT);
    assert_string_equal(err.message, "'a/file' is not a folder");
    assert_int_equal(im_live_allocations(), 0);
}

static void each_failed_folder_is_reported(void **state)
{
    (void)state;
    im_code rc = IM_ERR_DENIED;
    size_t nth = 0;
    for (; rc != IM_OK; nth++) {
        im_fault_set(IM_FAULT_OPEN, nth, EACCES);
        rc = im_folder_make("a/b/c", NULL);
        assert_int_equal(rc, im_fault_fired(IM_FAULT_OPEN) ? IM_ERR_DENIED : IM_OK);
        im_fault_clear();
    }
    assert_int_equal(nth, 4);
}

static void folders_are_synced_and_files_renamed(void **state)
{
    (void)state;
    im_error err = IM_ERROR_INIT;
    test_put_file("a", "x", 1);
    assert_int_equal(im_folder_sync(".", NULL), IM_OK);
    assert_int_equal(im_folder_sync("", NULL), IM_OK);
    assert_int_equal(im_folder_sync("missing", NULL), IM_ERR_NOT_FOUND);
    assert_int_equal(im_folder_sync("a", NULL), IM_ERR_NOT_FOUND);
    assert_int_equal(im_file_rename("a", "b", &err), IM_OK);
    assert_int_equal(im_file_rename("a", "b", &err), IM_ERR_NOT_FOUND);
    assert_string_equal(err.message, "could not rename 'a' to 'b': No such file or directory");
}

static int clear_folder(void **state)
{
    im_fault_clear();
    help_empty_folder(*state);
    return 0;
}

#define CASE(name) cmocka_unit_test_setup(name, clear_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_new_file_appears_and_an_old_one_is_replaced),
        CASE(data_and_folder_are_synced),
        CASE(large_content_and_long_names_are_written),
        CASE(permissions_of_the_old_file_stay),
        CASE(each_failed_call_leaves_the_old_or_the_new),
        CASE(what_cannot_be_written_is_refused_and_cleaned),
        CASE(a_left_over_temporary_is_not_taken),
        CASE(folders_are_made_with_their_parents),
        CASE(each_failed_folder_is_reported),
        CASE(folders_are_synced_and_files_renamed),
    };
    return cmocka_run_group_tests(tests, test_enter_folder, test_leave_folder);
}
