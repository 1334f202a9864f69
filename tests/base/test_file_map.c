/* tests/base/test_file_map.c — base/file_map.c: files are cut while they are mapped. */
#include "base/file.h"
#include "support.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>

static size_t page(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* Reads through a volatile pointer, so that no read is optimised away. */
static size_t sum_of(const im_map *map)
{
    const volatile uint8_t *data = im_map_data(map);
    size_t sum = 0;
    for (size_t i = 0; i < im_map_size(map); i++) {
        sum += data[i];
    }
    return sum;
}

static void put_ones(const char *path, size_t size)
{
    uint8_t *data = malloc(size + 1);
    assert_non_null(data);
    memset(data, 1, size);
    test_put_file(path, data, size);
    free(data);
}

static im_map *map_file(const char *path)
{
    im_map *map = NULL;
    im_error err = IM_ERROR_INIT;
    if (im_map_open(path, &map, &err) != IM_OK) {
        fail_msg("%s", err.message);
    }
    return map;
}

static void a_file_is_mapped_whole(void **state)
{
    (void)state;
    size_t sizes[] = {1, 100, page() - 1, page(), page() + 1, 10 * page() + 7};
    for (size_t i = 0; i < IM_COUNT(sizes); i++) {
        put_ones("file", sizes[i]);
        im_map *map = map_file("file");
        assert_int_equal(im_map_size(map), sizes[i]);
        assert_int_equal(sum_of(map), sizes[i]);
        assert_false(im_map_lost(map));
        im_map_close(map);
    }
    im_map_close(NULL);
    assert_int_equal(im_live_allocations(), 0);
}

static void an_empty_file_is_an_empty_map(void **state)
{
    (void)state;
    test_put_file("file", "", 0);
    im_map *map = map_file("file");
    assert_int_equal(im_map_size(map), 0);
    assert_non_null(im_map_data(map));
    assert_false(im_map_lost(map));
    im_map_close(map);
}

static void the_first_part_of_a_descriptor_is_mapped(void **state)
{
    (void)state;
    put_ones("file", 5000);
    int fd = open("file", O_RDWR);
    im_map *map = NULL;
    im_error err = IM_ERROR_INIT;
    assert_int_equal(im_map_fd(fd, 4999, "file", &map, &err), IM_OK);
    assert_int_equal(pwrite(fd, "\2", 1, 0), 1);
    assert_int_equal(close(fd), 0); /* ours to close; the map stays */
    assert_int_equal(im_map_size(map), 4999);
    assert_int_equal(sum_of(map), 5000); /* shows what is written later */
    assert_int_equal(truncate("file", 4999), 0);
    assert_false(im_map_lost(map)); /* nothing of the mapped part is gone */
    im_map_close(map);
    fd = open("file", O_RDONLY);
    assert_int_equal(im_map_fd(fd, 5000, "file", &map, &err), IM_ERR_FORMAT);
    assert_string_equal(err.message, "'file' has 4999 bytes, expected at least 5000");
    close(fd);
}

static void what_is_no_regular_file_is_refused(void **state)
{
    (void)state;
    im_map *map = NULL;
    im_error err = IM_ERROR_INIT;
    assert_int_equal(im_map_open("missing", &map, &err), IM_ERR_NOT_FOUND);
    assert_int_equal(mkfifo("pipe", 0600), 0);
    assert_int_equal(im_map_open("pipe", &map, &err), IM_ERR_FORMAT);
    assert_string_equal(err.reason, "not_a_regular_file");
    assert_int_equal(im_map_open(".", &map, &err), IM_ERR_FORMAT);
    assert_null(map);
    assert_int_equal(im_live_allocations(), 0);
}

static void a_cut_file_reads_as_zeros_and_is_lost(void **state)
{
    (void)state;
    size_t size = 64 * page();
    for (size_t keep = 0; keep < 64; keep += 21) {
        put_ones("file", size);
        im_map *map = map_file("file");
        assert_int_equal(sum_of(map), size);
        assert_int_equal(truncate("file", (off_t)(keep * page())), 0);
        assert_int_equal(sum_of(map), keep * page());
        put_ones("file", size); /* it has grown back before anybody asks */
        assert_true(im_map_lost(map));
        assert_int_equal(sum_of(map), keep * page());
        im_map_close(map);
    }
}

static void a_cut_inside_the_last_page_is_noticed(void **state)
{
    (void)state;
    put_ones("file", page() + 100);
    im_map *map = map_file("file");
    assert_int_equal(truncate("file", (off_t)page() + 50), 0);
    assert_int_equal(sum_of(map), page() + 50); /* no signal: the kernel shows zeros */
    assert_true(im_map_lost(map));
    im_map_close(map);
}

static void a_loss_belongs_to_one_map_only(void **state)
{
    (void)state;
    put_ones("a", 4 * page());
    put_ones("b", 4 * page());
    im_map *a = map_file("a");
    im_map *b = map_file("b");
    assert_int_equal(truncate("a", 0), 0);
    assert_int_equal(sum_of(a), 0);
    assert_int_equal(sum_of(b), 4 * page());
    assert_true(im_map_lost(a));
    assert_false(im_map_lost(b));
    im_map_close(a);
    /* the next map takes the freed slot, and is sound */
    im_map *c = map_file("b");
    assert_false(im_map_lost(c));
    im_map_close(b);
    im_map_close(c);
    assert_int_equal(im_live_allocations(), 0);
}

static void a_file_that_is_replaced_or_removed_is_not_lost(void **state)
{
    (void)state;
    put_ones("file", 3 * page());
    im_map *map = map_file("file");
    assert_int_equal(im_file_write_atomic("file", "x", 1, NULL), IM_OK);
    assert_int_equal(unlink("file"), 0);
    assert_int_equal(sum_of(map), 3 * page());
    assert_false(im_map_lost(map));
    im_map_close(map);
}

static void each_failed_call_is_reported(void **state)
{
    (void)state;
    put_ones("file", 100);
    static const struct {
        im_fault_kind kind;
        im_code code;
    } rows[] = {
        {IM_FAULT_OPEN, IM_ERR_IO}, {IM_FAULT_MAP, IM_ERR_NOMEM}, {IM_FAULT_ALLOC, IM_ERR_NOMEM}};
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        im_code rc = rows[i].code;
        size_t nth = 0;
        for (; rc != IM_OK; nth++) {
            im_map *map = NULL;
            im_fault_set(rows[i].kind, nth, 0);
            rc = im_map_open("file", &map, NULL);
            assert_int_equal(rc, im_fault_fired(rows[i].kind) ? rows[i].code : IM_OK);
            im_fault_clear();
            im_map_close(map);
            assert_int_equal(im_live_allocations(), 0);
        }
        assert_true(nth > 1);
    }
}

static void the_table_of_maps_has_an_end(void **state)
{
    (void)state;
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = IM_MIN(limit.rlim_max, (rlim_t)4096);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    put_ones("file", 10);
    im_map *maps[1100] = {0};
    im_error err = IM_ERROR_INIT;
    size_t n = 0;
    while (n < IM_COUNT(maps) && im_map_open("file", &maps[n], &err) == IM_OK) {
        n++;
    }
    assert_true(n < IM_COUNT(maps)); /* at the table's end, or that of the descriptors */
    assert_int_equal(err.code, IM_ERR_NOMEM);
    for (size_t i = 0; i < n; i++) {
        im_map_close(maps[i]);
    }
    im_map *again = map_file("file");
    im_map_close(again);
    assert_int_equal(im_live_allocations(), 0);
}

typedef struct reader {
    pthread_t thread;
    const im_map *map;
    atomic_bool *stop;
} reader;

static void *read_on(void *argument)
{
    reader *r = argument;
    while (!atomic_load(r->stop)) {
        (void)sum_of(r->map);
    }
    return NULL;
}

static void *open_and_close(void *argument)
{
    reader *r = argument;
    while (!atomic_load(r->stop)) {
        im_map *map = NULL;
        if (im_map_open("other", &map, NULL) == IM_OK) {
            (void)sum_of(map);
            im_map_close(map);
        }
    }
    return NULL;
}

/* Threads read while the file is cut and other maps come and go: nobody dies. */
static void threads_survive_a_cut(void **state)
{
    (void)state;
    size_t size = 128 * page();
    put_ones("other", 3 * page());
    for (int round = 0; round < 20; round++) {
        put_ones("file", size);
        im_map *map = map_file("file");
        atomic_bool stop = false;
        reader readers[4];
        for (size_t i = 0; i < IM_COUNT(readers); i++) {
            readers[i] = (reader){.map = map, .stop = &stop};
            assert_int_equal(pthread_create(&readers[i].thread, NULL,
                                            i < 3 ? read_on : open_and_close, &readers[i]),
                             0);
        }
        for (off_t pages = 127; pages >= 0; pages -= 16) {
            assert_int_equal(truncate("file", pages * (off_t)page()), 0);
        }
        while (!im_map_lost(map) || sum_of(map) > 15 * page()) {
            (void)sched_yield();
        }
        atomic_store(&stop, true);
        for (size_t i = 0; i < IM_COUNT(readers); i++) {
            assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
        }
        im_map_close(map);
    }
    assert_int_equal(im_live_allocations(), 0);
}

/* A mapping that is not ours, of a file cut to nothing. */
static void touch_foreign_page(void *unused)
{
    (void)unused;
    put_ones("own", 10);
    (void)map_file("own"); /* our handler is installed */
    put_ones("foreign", 4 * page());
    int fd = open("foreign", O_RDWR);
    volatile uint8_t *data = mmap(NULL, 4 * page(), PROT_READ, MAP_SHARED, fd, 0);
    (void)!ftruncate(fd, 0);
    (void)data[page()];
}

static void touch_after_default(void *unused)
{
    (void)signal(SIGBUS, SIG_DFL);
    touch_foreign_page(unused);
}

static void send_bus_signal(void *unused)
{
    (void)unused;
    (void)signal(SIGBUS, SIG_DFL);
    put_ones("own", 10);
    (void)map_file("own");
    (void)kill(getpid(), SIGBUS);
}

static void on_foreign(int signal_number)
{
    _exit(signal_number == SIGBUS ? 42 : 43);
}

static void touch_with_handler(void *unused)
{
    (void)signal(SIGBUS, on_foreign);
    touch_foreign_page(unused);
}

/* Comes first: our handler is installed once a process, and the children must do it themselves. */
static void foreign_faults_end_as_they_would_without_us(void **state)
{
    (void)state;
    int status = test_in_child(touch_after_default, NULL);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    status = test_in_child(send_bus_signal, NULL);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    status = test_in_child(touch_with_handler, NULL);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 42);
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
        CASE(foreign_faults_end_as_they_would_without_us),
        CASE(a_file_is_mapped_whole),
        CASE(an_empty_file_is_an_empty_map),
        CASE(the_first_part_of_a_descriptor_is_mapped),
        CASE(what_is_no_regular_file_is_refused),
        CASE(a_cut_file_reads_as_zeros_and_is_lost),
        CASE(a_cut_inside_the_last_page_is_noticed),
        CASE(a_loss_belongs_to_one_map_only),
        CASE(a_file_that_is_replaced_or_removed_is_not_lost),
        CASE(each_failed_call_is_reported),
        CASE(the_table_of_maps_has_an_end),
        CASE(threads_survive_a_cut),
    };
    return cmocka_run_group_tests(tests, test_enter_folder, test_leave_folder);
}
