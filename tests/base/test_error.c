/* tests/base/test_error.c — base/error.c */
#include "support.h"
#include <errno.h>
#include <locale.h>

static void every_code_has_its_own_exit_and_a_name(void **state)
{
    (void)state;
    for (int code = 0; code < IM_CODE_COUNT; code++) {
        assert_memory_equal(im_code_name((im_code)code), code == 0 ? "IM_OK" : "IM_ERR_",
                            code == 0 ? 5 : 7);
        assert_int_equal(im_code_exit((im_code)code), code); /* the exits are 0 … 16 in order */
        assert_in_range(im_code_http((im_code)code), 200, 599);
        assert_true(strlen(im_code_meaning((im_code)code)) > 3);
    }
    assert_string_equal(im_code_name(IM_ERR_FORMAT), "IM_ERR_FORMAT");
    assert_int_equal(im_code_http(IM_ERR_FULL), 507);
    assert_string_equal(im_code_name((im_code)999), "IM_ERR_INTERNAL");
    assert_string_equal(im_code_name((im_code)-1), "IM_ERR_INTERNAL");
}

static void every_reason_reports_its_own_class(void **state)
{
    (void)state;
    static const im_code classes[] = {
#define X(NAME, name, code, meaning) IM_##code,
#include "base/reasons.def"
#undef X
    };
    for (int i = 0; i < IM_REASON_COUNT; i++) {
        im_error err = IM_ERROR_INIT;
        assert_int_equal(im_fail_as(&err, (im_reason)i, "x"), classes[i]);
        assert_int_equal(err.code, classes[i]);
        assert_string_equal(err.reason, im_reason_name((im_reason)i));
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(err.reason, im_reason_name((im_reason)j));
        }
    }
}

static void every_class_has_a_general_reason(void **state)
{
    (void)state;
    for (int code = 1; code < IM_CODE_COUNT; code++) {
        im_error err = IM_ERROR_INIT;
        assert_int_equal(im_fail(&err, (im_code)code, "n is %d", code), code);
        assert_string_not_equal(err.reason, "ok");
        assert_int_equal(im_fail_as(NULL, IM_REASON_FULL, "x"), IM_ERR_FULL);
    }
    im_error err = IM_ERROR_INIT;
    assert_int_equal(im_fail(&err, IM_ERR_FULL, "x"), IM_ERR_FULL);
    assert_string_equal(err.reason, "disk_full");
    assert_int_equal(im_fail(&err, (im_code)77, "x"), IM_ERR_INTERNAL);
}

static void a_missing_error_is_no_trouble(void **state)
{
    (void)state;
    assert_int_equal(im_fail(NULL, IM_ERR_BUSY, "%s", "x"), IM_ERR_BUSY);
    assert_int_equal(im_fail_errno(NULL, ENOSPC, "x"), IM_ERR_FULL);
    im_hint(NULL, "x");
    im_at_field(NULL, "x");
    im_at_file(NULL, "x");
}

static void control_bytes_and_bad_utf8_are_escaped(void **state)
{
    (void)state;
    im_error err = IM_ERROR_INIT;
    assert_int_equal(im_fail(&err, IM_ERR_FORMAT, "'%s': no", "a\nb\x1b[31m\xff\xe2\x80\xae"),
                     IM_ERR_FORMAT);
    assert_string_equal(err.message, "'a\\nb\\x1b[31m\\xff\\u202e': no");
    im_hint(&err, "see '%s'",
            "\x7f"
            "caf\xc3\xa9");
    assert_string_equal(err.hint, "see '\\x7f"
                                  "caf\xc3\xa9'");
}

static void a_new_failure_forgets_the_old_hint(void **state)
{
    (void)state;
    im_error err = IM_ERROR_INIT;
    (void)!im_fail(&err, IM_ERR_FORMAT, "a");
    im_hint(&err, "do this");
    im_at_field(&err, "parts[%d].text", 2);
    im_at_file(&err, "a\n.jpg");
    assert_string_equal(err.field, "parts[2].text");
    assert_string_equal(err.file, "a\\n.jpg");
    (void)!im_fail(&err, IM_ERR_FORMAT, "b");
    assert_string_equal(err.hint, "");
    assert_string_equal(err.field, "");
    assert_string_equal(err.file, "");
}

static void a_file_of_a_long_name_is_not_named_by_half(void **state)
{
    (void)state;
    im_error err = IM_ERROR_INIT;
    char name[sizeof(err.file) + 1];
    memset(name, 'a', sizeof(name));
    (void)!im_fail(&err, IM_ERR_FORMAT, "x");
    name[sizeof(err.file) - 1] = '\0';
    im_at_file(&err, name);
    assert_string_equal(err.file, name);
    name[sizeof(err.file) - 1] = 'a';
    name[sizeof(err.file)] = '\0';
    im_at_file(&err, name);
    assert_string_equal(err.file, "");
}

/* Whatever the length and the characters, both ends stay and no character is cut. */
static void a_long_sentence_loses_its_middle(void **state)
{
    (void)state;
    static const char *const units[] = {"x",  "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
                                        "\n", "\xff"};
    for (size_t u = 0; u < IM_COUNT(units); u++) {
        for (size_t n = 0; n < 700; n++) {
            char path[4 * 700 + 1];
            size_t used = 0;
            for (size_t i = 0; i < n; i++) {
                memcpy(path + used, units[u], strlen(units[u]));
                used += strlen(units[u]);
            }
            path[used] = '\0';
            im_error err = IM_ERROR_INIT;
            (void)!im_fail(&err, IM_ERR_FORMAT, "file '%s' is too short", path);
            size_t size = strlen(err.message);
            assert_true(size < sizeof err.message);
            assert_true(im_utf8_valid(err.message, size, NULL));
            assert_memory_equal(err.message, "file '", 6);
            assert_string_equal(err.message + size - 14, "' is too short");
            bool cut = strstr(err.message, "\xe2\x80\xa6") != NULL;
            assert_true(!cut || size > sizeof err.message - 16);
        }
    }
}

static void a_sentence_longer_than_any_buffer_is_still_whole_text(void **state)
{
    (void)state;
    char *huge = malloc(100000);
    assert_non_null(huge);
    memset(huge, 'a', 99999);
    huge[99999] = '\0';
    im_error err = IM_ERROR_INIT;
    assert_int_equal(im_fail_errno(&err, ENOENT, "could not open '%s'", huge), IM_ERR_NOT_FOUND);
    assert_memory_equal(err.message, "could not open 'aaa", 19);
    size_t size = strlen(err.message);
    assert_string_equal(err.message + size - 27, ": No such file or directory");
    im_hint(&err, "%s", huge);
    assert_true(strlen(err.hint) > 100);
    free(huge);
}

static void a_sentence_may_be_made_from_itself(void **state)
{
    (void)state;
    im_error err = IM_ERROR_INIT;
    (void)!im_fail(&err, IM_ERR_FORMAT, "inner");
    assert_int_equal(im_fail(&err, IM_ERR_IO, "outer: %s", err.message), IM_ERR_IO);
    assert_string_equal(err.message, "outer: inner");
}

static void errno_values_find_their_class(void **state)
{
    (void)state;
    static const struct {
        int errnum;
        im_code code;
    } rows[] = {
        {ENOSPC, IM_ERR_FULL},       {EDQUOT, IM_ERR_FULL},        {EACCES, IM_ERR_DENIED},
        {EPERM, IM_ERR_DENIED},      {EROFS, IM_ERR_DENIED},       {ENOENT, IM_ERR_NOT_FOUND},
        {ENOTDIR, IM_ERR_NOT_FOUND}, {ENOMEM, IM_ERR_NOMEM},       {EMFILE, IM_ERR_NOMEM},
        {ENFILE, IM_ERR_NOMEM},      {ENAMETOOLONG, IM_ERR_LIMIT}, {EIO, IM_ERR_IO},
        {ELOOP, IM_ERR_IO},          {123456, IM_ERR_IO},
    };
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        im_error err = IM_ERROR_INIT;
        assert_int_equal(im_fail_errno(&err, rows[i].errnum, "could not"), rows[i].code);
        assert_int_equal(err.code, rows[i].code);
        assert_memory_equal(err.message, "could not: ", 11);
    }
    im_error err = IM_ERROR_INIT;
    (void)!im_fail_errno(&err, ENOSPC, "could not write '%s'", "a");
    assert_string_equal(err.message, "could not write 'a': No space left on device");
    assert_true(err.hint[0] != '\0');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_its_own_exit_and_a_name),
        cmocka_unit_test(every_reason_reports_its_own_class),
        cmocka_unit_test(every_class_has_a_general_reason),
        cmocka_unit_test(a_missing_error_is_no_trouble),
        cmocka_unit_test(control_bytes_and_bad_utf8_are_escaped),
        cmocka_unit_test(a_new_failure_forgets_the_old_hint),
        cmocka_unit_test(a_file_of_a_long_name_is_not_named_by_half),
        cmocka_unit_test(a_long_sentence_loses_its_middle),
        cmocka_unit_test(a_sentence_longer_than_any_buffer_is_still_whole_text),
        cmocka_unit_test(a_sentence_may_be_made_from_itself),
        cmocka_unit_test(errno_values_find_their_class),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
