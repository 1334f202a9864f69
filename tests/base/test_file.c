/* tests/base/test_file.c — base/file.c */
#include "base/clock.h"
#include "base/file.h"
#include "support.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/un.h>

#define NO_LIMIT UINT64_MAX

static void a_file_is_read_whole(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 1000003};
    for (size_t i = 0; i < IM_COUNT(sizes); i++) {
        uint8_t *data = malloc(sizes[i] + 1);
        assert_non_null(data);
        memset(data, (int)(i + 1), sizes[i]);
        test_put_file("file", data, sizes[i]);
        im_bytes bytes = {0};
        im_file_stamp stamp = {0};
        im_file_stamp expected = {0};
        assert_int_equal(im_file_read_at(AT_FDCWD, "file", sizes[i], &bytes, &stamp, NULL), IM_OK);
        assert_int_equal(im_file_stat("file", &expected, NULL), IM_OK);
        assert_memory_equal(&stamp, &expected, sizeof stamp);
        assert_int_equal(stamp.size, sizes[i]);
        assert_int_equal(bytes.size, sizes[i]);
        assert_non_null(bytes.data);
        assert_memory_equal(bytes.data, data, sizes[i]);
        im_bytes_clear(&bytes);
        im_bytes_clear(&bytes);
        free(data);
    }
    assert_int_equal(im_live_allocations(), 0);
}

static void dates_beyond_what_nanoseconds_count_are_the_nearest(void **state)
{
    static const int64_t seconds[] = {
        INT64_MIN, -(INT64_C(1) << 40), -4611686019, -4611686018, -1,          0,
        1,         4294967296,          9223372035,  9223372036,  16725225600, INT64_MAX};
    int64_t before = INT64_MIN;
    (void)state;
    for (size_t i = 0; i < IM_COUNT(seconds); i++) {
        struct stat info = {.st_mtim = {(time_t)seconds[i], 999999999}};
        int64_t mtime_ns = im_file_stamp_of(&info).mtime_ns;
        assert_true(mtime_ns >= before); /* the order stays */
        before = mtime_ns;
        if (seconds[i] >= -4611686018 && seconds[i] <= 9223372035) {
            assert_true(mtime_ns == seconds[i] * 1000000000 + 999999999);
        }
        assert_true(mtime_ns >= -(INT64_C(1) << 62)); /* so that "now - date" has room */
    }
    assert_true(before > INT64_C(9223372034) * 1000000000);
}

static void a_file_above_the_limit_is_refused_before_memory_is_taken(void **state)
{
    (void)state;
    int fd = open("sparse", O_CREAT | O_RDWR, 0600);
    assert_int_equal(ftruncate(fd, (off_t)1 << 40), 0);
    close(fd);
    im_bytes bytes = {0};
    im_error err = IM_ERROR_INIT;
    im_fault_clear();
    assert_int_equal(im_file_read("sparse", ((uint64_t)1 << 40) - 1, &bytes, &err), IM_ERR_LIMIT);
    assert_int_equal(im_fault_calls(IM_FAULT_ALLOC), 0);
    assert_string_equal(err.reason, "file_too_large");
    assert_string_equal(err.message,
                        "'sparse' has 1099511627776 bytes, expected at most 1099511627775");
    assert_null(bytes.data);
}

static void expect_refused(const char *path, const char *reason)
{
    im_bytes bytes = {0};
    im_error err = IM_ERROR_INIT;
    assert_int_not_equal(im_file_read(path, NO_LIMIT, &bytes, &err), IM_OK);
    assert_string_equal(err.reason, reason);
    assert_non_null(strstr(err.message, "'"));
    assert_null(bytes.data);
    im_file_stamp stamp = {0};
    assert_int_not_equal(im_file_stat(path, &stamp, &err), IM_OK);
    assert_string_equal(err.reason, reason);
}

static void what_is_no_regular_file_is_never_waited_for(void **state)
{
    (void)state;
    assert_int_equal(mkfifo("pipe", 0600), 0);
    assert_int_equal(mkdir("folder", 0700), 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    expect_refused("pipe", "not_a_regular_file");
    expect_refused("folder", "not_a_regular_file");
    expect_refused("socket", "not_a_regular_file");
    expect_refused("/dev/zero", "not_a_regular_file");
    expect_refused("/dev/tty", access("/dev/tty", F_OK) == 0 ? "not_a_regular_file" : "not_found");
    close(fd);
}

static void missing_and_odd_paths_have_their_classes(void **state)
{
    (void)state;
    expect_refused("missing", "not_found");
    expect_refused("", "not_found");
    test_put_file("plain", "x", 1);
    expect_refused("plain/below", "not_found");
    char long_name[300];
    memset(long_name, 'n', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    expect_refused(long_name, "path_too_long");
    assert_int_equal(symlink("loop", "loop"), 0);
    expect_refused("loop", "io");
    if (geteuid() != 0) {
        assert_int_equal(chmod("plain", 0), 0);
        im_bytes bytes = {0};
        assert_int_equal(im_file_read("plain", NO_LIMIT, &bytes, NULL), IM_ERR_DENIED);
    }
}

static void a_path_below_a_folder_descriptor_is_read(void **state)
{
    (void)state;
    assert_int_equal(mkdir("dir", 0700), 0);
    test_put_file("dir/a\nb", "inside", 6);
    int fd = open("dir", O_RDONLY | O_DIRECTORY);
    im_bytes bytes = {0};
    assert_int_equal(im_file_read_at(fd, "a\nb", 6, &bytes, NULL, NULL), IM_OK);
    assert_memory_equal(bytes.data, "inside", 7); /* a NUL follows, for parsers of text */
    im_bytes_clear(&bytes);
    im_error err = IM_ERROR_INIT;
    assert_int_equal(im_file_read_at(fd, "c\nd", 6, &bytes, NULL, &err), IM_ERR_NOT_FOUND);
    assert_string_equal(err.message, "could not open 'c\\nd': No such file or directory");
    close(fd);
}

typedef struct meddler {
    pthread_t thread;
    atomic_bool stop;
    int way;
} meddler;

static void *meddle(void *argument)
{
    meddler *m = argument;
    int fd = open("moving", O_RDWR);
    for (uint8_t i = 0; !atomic_load(&m->stop); i++) {
        if (m->way == 0) {
            (void)!ftruncate(fd, (i & 1) != 0 ? 0 : 3000000); /* shrinks and grows */
        } else {
            (void)!pwrite(fd, &i, 1, 2999999); /* same size, other content */
        }
    }
    close(fd);
    return NULL;
}

/* While somebody writes, each read is whole or says that the file changed. */
static void a_file_that_moves_is_noticed(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        meddler m = {.way = way};
        int fd = open("moving", O_CREAT | O_RDWR, 0600);
        assert_int_equal(ftruncate(fd, 3000000), 0);
        size_t noticed = 0;
        assert_int_equal(pthread_create(&m.thread, NULL, meddle, &m), 0);
        /* mtime moves once a clock tick, so not every read can notice the second way */
        uint64_t start = im_clock_ns();
        size_t reads = 0;
        for (; reads < 300 || (noticed == 0 && im_clock_ms_since(start) < 30000.0); reads++) {
            im_bytes bytes = {0};
            im_error err = IM_ERROR_INIT;
            im_code rc = im_file_read("moving", NO_LIMIT, &bytes, &err);
            if (rc != IM_OK) {
                assert_string_equal(err.reason, "changed_while_reading");
                noticed++;
            } else {
                assert_true(bytes.size == 0 || bytes.size == 3000000);
            }
            im_bytes_clear(&bytes);
        }
        atomic_store(&m.stop, true);
        assert_int_equal(pthread_join(m.thread, NULL), 0);
        close(fd);
        print_message("way %d: %zu of %zu reads were refused\n", way, noticed, reads);
        assert_true(noticed > 0);
    }
    assert_int_equal(im_live_allocations(), 0);
}

/* Files of /proc say 0 bytes and have some: more content than the size promised. */
static void a_file_that_lies_about_its_size_is_refused(void **state)
{
    (void)state;
    im_bytes bytes = {0};
    im_error err = IM_ERROR_INIT;
    if (access("/proc/self/status", R_OK) != 0) {
        skip();
    }
    assert_int_equal(im_file_read("/proc/self/status", NO_LIMIT, &bytes, &err), IM_ERR_IO);
    assert_string_equal(err.reason, "changed_while_reading");
    assert_null(bytes.data);
}

static void each_failed_call_of_a_read_is_reported(void **state)
{
    (void)state;
    test_put_file("file", "0123456789", 10);
    static const struct {
        im_fault_kind kind;
        im_code code;
    } rows[] = {
        {IM_FAULT_OPEN, IM_ERR_IO}, {IM_FAULT_READ, IM_ERR_IO}, {IM_FAULT_ALLOC, IM_ERR_NOMEM}};
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        im_code rc = rows[i].code;
        size_t nth = 0;
        for (; rc != IM_OK; nth++) {
            im_bytes bytes = {0};
            im_fault_set(rows[i].kind, nth, 0);
            rc = im_file_read("file", 100, &bytes, NULL);
            assert_int_equal(rc, im_fault_fired(rows[i].kind) ? rows[i].code : IM_OK);
            im_fault_clear();
            im_bytes_clear(&bytes);
            assert_int_equal(im_live_allocations(), 0);
        }
        assert_true(nth > 1); /* the hook was reached */
    }
}

static void positioned_transfers_are_whole(void **state)
{
    (void)state;
    int fd = -1;
    im_error err = IM_ERROR_INIT;
    char back[8] = "";
    assert_int_equal(im_file_open("pos", O_RDWR | O_CREAT | O_TRUNC, 0600, &fd, &err), IM_OK);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(im_file_pwrite(fd, "abcdef", 6, 100, "pos", &err), IM_OK);
    assert_int_equal(im_file_pread(fd, back, 6, 100, "pos", &err), IM_OK);
    assert_string_equal(back, "abcdef");
    assert_int_equal(im_file_pread(fd, back, 6, 101, "pos", &err), IM_ERR_FORMAT);
    assert_string_equal(err.message, "'pos' ends at byte 106, expected 107 or more");
    assert_int_equal(im_file_pread(fd, back, 0, 5000, "pos", &err), IM_OK);
    assert_int_equal(im_file_pwrite(fd, back, 6, UINT64_MAX - 3, "pos", &err), IM_ERR_INVALID);
    assert_int_equal(im_file_pread(fd, back, 6, INT64_MAX, "pos", &err), IM_ERR_INVALID);
    assert_int_equal(im_file_sync(fd, "pos", &err), IM_OK);
    im_fault_set(IM_FAULT_WRITE, 0, ENOSPC);
    assert_int_equal(im_file_pwrite(fd, "x", 1, 0, "pos", &err), IM_ERR_FULL);
    assert_true(err.hint[0] != '\0');
    im_fault_set(IM_FAULT_SYNC, 0, 0);
    assert_int_equal(im_file_sync(fd, "pos", &err), IM_ERR_IO);
    im_fault_clear();
    close(fd);
    assert_int_equal(im_file_open("no/such", O_RDONLY, 0, &fd, &err), IM_ERR_NOT_FOUND);
}

static void a_full_disk_is_told_apart(void **state)
{
    (void)state;
    int fd = -1;
    im_error err = IM_ERROR_INIT;
    if (access("/dev/full", W_OK) != 0) {
        skip();
    }
    assert_int_equal(im_file_open("/dev/full", O_WRONLY, 0, &fd, NULL), IM_OK);
    assert_int_equal(im_file_pwrite(fd, "x", 1, 0, "/dev/full", &err), IM_ERR_FULL);
    assert_string_equal(err.reason, "disk_full");
    close(fd);
}

static void paths_are_joined_with_one_slash(void **state)
{
    (void)state;
    static const char *const rows[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"", "b", "b"}, {"/", "b", "/b"}, {"a", "", "a/"}};
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        char *path = im_path_join(rows[i][0], rows[i][1]);
        assert_string_equal(path, rows[i][2]);
        im_free(path);
    }
    im_fault_set(IM_FAULT_ALLOC, 0, 0);
    assert_null(im_path_join("a", "b"));
    im_fault_clear();
}

static void existence_follows_links(void **state)
{
    (void)state;
    test_put_file("there", "", 0);
    assert_int_equal(symlink("there", "link"), 0);
    assert_int_equal(symlink("nowhere", "dangling"), 0);
    assert_true(im_file_exists("there") && im_file_exists("link") && im_file_exists("."));
    assert_false(im_file_exists("dangling") || im_file_exists("nowhere") || im_file_exists(""));
}

/* Other people write meanwhile: within a quarter of what the system says. */
static void room_is_that_of_the_folders_disk(void **state)
{
    (void)state;
    struct statvfs info;
    assert_int_equal(statvfs(".", &info), 0);
    double expected = (double)info.f_bavail * (double)info.f_frsize;
    double found = (double)im_folder_room(".");
    assert_true(found >= 0.75 * expected && found <= 1.25 * expected);
    assert_true(im_folder_room("nowhere") == UINT64_MAX);
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
        CASE(a_file_is_read_whole),
        CASE(dates_beyond_what_nanoseconds_count_are_the_nearest),
        CASE(a_file_above_the_limit_is_refused_before_memory_is_taken),
        CASE(what_is_no_regular_file_is_never_waited_for),
        CASE(missing_and_odd_paths_have_their_classes),
        CASE(a_path_below_a_folder_descriptor_is_read),
        CASE(a_file_that_moves_is_noticed),
        CASE(a_file_that_lies_about_its_size_is_refused),
        CASE(each_failed_call_of_a_read_is_reported),
        CASE(positioned_transfers_are_whole),
        CASE(a_full_disk_is_told_apart),
        CASE(paths_are_joined_with_one_slash),
        CASE(existence_follows_links),
        CASE(room_is_that_of_the_folders_disk),
    };
    return cmocka_run_group_tests(tests, test_enter_folder, test_leave_folder);
}
