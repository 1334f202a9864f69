/* tests/store/test_tar.c — archives of backups: one altered byte, a cut, a link are seen when they
 * are restored; members of 8 GiB and more. Covers tar.c. */
#include "store/store_internal.h"
#include "store/tar.h"
#include "tests/store/help_backup.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static im_error err = IM_ERROR_INIT;

static void an_altered_backup_is_refused(void **state)
{
    help_backup *f = *state;
    size_t size = 0;
    uint64_t seed = 5;
    help_back_up(f->library, f->backup);
    help_backup_library(f->other, 100);
    uint8_t *data = help_read(f->backup, &size);
    for (size_t i = 0; i < 150; i++) {
        size_t at = i < 100 ? help_random(&seed) % size : size - 1 - help_random(&seed) % 3000;
        at = i < 20 ? help_random(&seed) % 2048 : at;
        uint8_t was = data[at];
        data[at] ^= (uint8_t)(1 + help_random(&seed) % 255);
        help_write(f->backup, data, size);
        im_code rc = help_restore(f->backup, f->other, &err);
        if (rc == IM_OK) {
            fail_msg("byte %zu of %zu: restored", at, size);
        }
        assert_true(rc == IM_ERR_FORMAT || rc == IM_ERR_UNSUPPORTED);
        data[at] = was;
        if (i % 15 == 0) {
            assert_int_equal(help_first_of(f->other), 100);
            help_check_no_leftovers(f->other);
        }
    }
    for (size_t i = 0; i < 40; i++) { /* cut */
        size_t cut = i < 8 ? i * 512 : help_random(&seed) % size;
        help_write(f->backup, data, cut);
        assert_int_equal(help_restore(f->backup, f->other, &err), IM_ERR_FORMAT);
        assert_string_equal(err.reason, "backup_damaged");
    }
    assert_int_equal(help_first_of(f->other), 100);
    im_free(data);
}

/* A link in the place of a file, with a head that is right otherwise. */
static void a_link_in_a_backup_is_refused(void **state)
{
    help_backup *f = *state;
    size_t size = 0;
    help_back_up(f->library, f->backup);
    uint8_t *data = help_read(f->backup, &size);
    uint8_t *head = data;
    while (strcmp((char *)head, "originals/ab/abc123") != 0) {
        head += STORE_TAR_BLOCK;
    }
    unsigned sum = 0;
    head[156] = '2';
    (void)snprintf((char *)head + 157, 100, "/etc/passwd");
    memset(head + 148, ' ', 8);
    for (size_t i = 0; i < STORE_TAR_BLOCK; i++) {
        sum += head[i];
    }
    (void)snprintf((char *)head + 148, 8, "%06o", sum);
    help_write(f->backup, data, size);
    im_free(data);
    assert_int_equal(help_restore(f->backup, f->other, &err), IM_ERR_FORMAT);
    assert_non_null(strstr(err.message, "no regular file"));
}

/* The head of a member of 9 GiB is written and read without its bytes. */
static void a_member_above_8_gib_is_told_in_an_extended_head(void **state)
{
    help_backup *f = *state;
    store_tar_writer out;
    store_tar_reader in;
    bool more = false;
    int fd = -1;
    const uint64_t size = UINT64_C(9) << 30;
    help_ok(im_file_open(f->backup, O_RDWR | O_CREAT, 0600, &fd, &err), &err);
    store_tar_start(&out, fd, f->backup);
    help_ok(store_tar_begin(&out, "library.db", size, 5, &err), &err);
    store_tar_clear(&out);
    store_tar_open(&in, fd, out.at + size, f->backup);
    help_ok(store_tar_next(&in, &more, &err), &err);
    assert_true(more);
    assert_string_equal(in.name, "library.db");
    assert_true(in.size == size);
    store_tar_close(&in);
    store_tar_open(&in, fd, out.at + size - 1, f->backup);
    assert_int_equal(store_tar_next(&in, &more, &err), IM_ERR_FORMAT);
    store_tar_close(&in);
    (void)close(fd);
}

#define T(name) cmocka_unit_test_setup_teardown(name, help_backup_set_up, help_backup_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(an_altered_backup_is_refused),
        T(a_link_in_a_backup_is_refused),
        T(a_member_above_8_gib_is_told_in_an_extended_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
