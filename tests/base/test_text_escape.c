/* tests/base/test_text_escape.c — base/text_escape.c */
#include "support.h"

typedef void (*text_function)(im_str *out, const char *data, size_t size);

static void expect(text_function function, const char *data, size_t size, const char *expected)
{
    im_str out;
    im_str_init(&out, 100000);
    function(&out, data, size);
    assert_false(out.failed);
    assert_string_equal(im_str_text(&out), expected);
    im_str_clear(&out);
}

static void escaped_text_shows_what_cannot_be_seen(void **state)
{
    (void)state;
    expect(im_text_escape, "", 0, "");
    expect(im_text_escape, "plain caf\xc3\xa9 \xf0\x9f\x98\x80 \\n", 19,
           "plain caf\xc3\xa9 \xf0\x9f\x98\x80 \\n");
    expect(im_text_escape, "a\nb\tc\rd\0e", 9, "a\\nb\\tc\\rd\\x00e");
    expect(im_text_escape, "\x1b[2J\x7f", 5, "\\x1b[2J\\x7f");
    expect(im_text_escape,
           "\xc2\x9b"
           "31m",
           5, "\\u009b31m"); /* C1: CSI on some terminals */
    expect(im_text_escape,
           "\xe2\x80\xae"
           "gpj",
           6, "\\u202egpj");
    expect(im_text_escape, "\xe2\x81\xa6\xe2\x80\xa8\xef\xbb\xbf", 9, "\\u2066\\u2028\\ufeff");
    expect(im_text_escape, "\xff\xc3(\xe2\x82", 5, "\\xff\\xc3(\\xe2\\x82");
    expect(im_text_escape, "\xe2\x80\x8d", 3, "\xe2\x80\x8d"); /* emoji need their joiner */
}

/* Over random bytes: valid UTF-8, no control byte, and escaping again changes nothing. */
static void escaped_text_is_safe_and_stable(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (int round = 0; round < 3000; round++) {
        char data[64];
        size_t size = (size_t)(test_random(&seed) % sizeof data);
        for (size_t i = 0; i < size; i++) {
            uint64_t r = test_random(&seed);
            data[i] = (char)((r & 256) != 0 ? r & 255 : 0x80 + (r & 0x3f));
        }
        im_str once;
        im_str_init(&once, 1000);
        im_text_escape(&once, data, size);
        assert_true(im_utf8_valid(im_str_text(&once), once.size, NULL));
        for (size_t i = 0; i < once.size; i++) {
            assert_true((unsigned char)once.data[i] >= 0x20 && once.data[i] != 0x7f);
        }
        expect(im_text_escape, im_str_text(&once), once.size, im_str_text(&once));
        im_str_clear(&once);
    }
}

static void shell_words_are_quoted_only_when_needed(void **state)
{
    (void)state;
    expect(im_text_shell, "/photos/a-b_c.jpg", 17, "/photos/a-b_c.jpg");
    expect(im_text_shell, "", 0, "''");
    expect(im_text_shell, "two words", 9, "'two words'");
    expect(im_text_shell, "it's", 4, "'it'\\''s'");
    expect(im_text_shell, "~", 1, "'~'");
    expect(im_text_shell, "=ls", 3, "'=ls'");
    expect(im_text_shell, "k=5", 3, "k=5");
    expect(im_text_shell, "caf\xc3\xa9", 5, "'caf\xc3\xa9'");
    expect(im_text_shell, "a\nb'\\", 5, "$'a\\nb\\'\\\\'");
    expect(im_text_shell,
           "\xff"
           "1",
           2, "$'\\3771'");
    expect(im_text_shell, "\xe2\x80\xae", 3, "$'\\342\\200\\256'");
}

/* Every byte but NUL, alone, doubled and in random strings, comes back from a real shell. */
static void a_shell_reads_the_same_word_back(void **state)
{
    (void)state;
    if (access("/bin/bash", X_OK) != 0) {
        print_message("skipped: no /bin/bash\n");
        skip();
    }
    uint64_t seed = 4;
    im_str command;
    im_str all;
    im_str_init(&command, 1u << 20);
    im_str_init(&all, 1u << 20);
    im_str_add_c(&command, "printf '%s\\0'");
    for (unsigned i = 1; i < 1000; i++) {
        char word[40];
        size_t size = i < 256 ? 2 : (size_t)(test_random(&seed) % sizeof word);
        for (size_t j = 0; j < size; j++) {
            word[j] = (char)(i < 256 ? i : 1 + test_random(&seed) % 255);
        }
        im_str_add_char(&command, ' ');
        im_text_shell(&command, word, size);
        im_str_add(&all, word, size);
        im_str_add_char(&all, '\0');
    }
    assert_false(command.failed || all.failed);
    char folder[HELP_FOLDER_BYTES];
    char path[HELP_FOLDER_BYTES + 16];
    char line[HELP_FOLDER_BYTES + 32];
    assert_non_null(help_temporary(folder));
    (void)snprintf(path, sizeof path, "%s/script", folder);
    test_put_file(path, command.data, command.size);
    (void)snprintf(line, sizeof line, "/bin/bash %s", path);
    FILE *pipe_end = popen(line, "r");
    assert_non_null(pipe_end);
    char *back = malloc(all.size + 1);
    assert_int_equal(fread(back, 1, all.size + 1, pipe_end), all.size);
    assert_memory_equal(back, all.data, all.size);
    assert_int_equal(pclose(pipe_end), 0);
    free(back);
    assert_int_equal(help_remove_folder(folder), 0);
    im_str_clear(&command);
    im_str_clear(&all);
}

static void lossy(const char *data, size_t size, const char *expected, bool valid)
{
    im_str out;
    im_str_init(&out, 1000);
    assert_int_equal(im_text_lossy(&out, data, size), valid);
    assert_string_equal(im_str_text(&out), expected);
    im_str_clear(&out);
}

static void lossy_text_has_one_mark_for_each_bad_byte(void **state)
{
    (void)state;
    lossy("", 0, "", true);
    lossy("caf\xc3\xa9", 5, "caf\xc3\xa9", true);
    lossy("a\xff"
          "b",
          3,
          "a\xef\xbf\xbd"
          "b",
          false);
    lossy("\xe2\x82", 2, "\xef\xbf\xbd\xef\xbf\xbd", false);
    lossy("\xe9\xc3\xa9", 3, "\xef\xbf\xbd\xc3\xa9", false);
}

static void base64(im_str *out, const char *data, size_t size)
{
    im_text_base64(out, data, size);
}

static void base64_reads_back_and_nothing_else(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t wrong;
    } rows[] = {{"", 0},      {"Zg=", 2},  {"Zg", 2},       {"Z===", 1},   {"Zh==", 1},
                {"Zm9\n", 3}, {"Zm-v", 2}, {"Zg==Zm9v", 2}, {"Zm9vYmF", 7}};
    char bytes[64];
    char back[64];
    size_t size = 0;
    for (size_t n = 1; n <= 40; n++) {
        im_str text;
        for (size_t i = 0; i < n; i++) {
            bytes[i] = (char)(i * 37 + n);
        }
        im_str_init(&text, 100);
        im_text_base64(&text, bytes, n);
        assert_true(im_text_base64_read(im_str_text(&text), text.size, back, &size) == SIZE_MAX);
        assert_int_equal(size, n);
        assert_memory_equal(back, bytes, n);
        im_str_clear(&text);
    }
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        assert_int_equal(im_text_base64_read(rows[i].text, strlen(rows[i].text), back, &size),
                         rows[i].wrong);
    }
}

static void base64_gives_the_vectors_of_rfc_4648(void **state)
{
    (void)state;
    expect(base64, "", 0, "");
    expect(base64, "f", 1, "Zg==");
    expect(base64, "fo", 2, "Zm8=");
    expect(base64, "foo", 3, "Zm9v");
    expect(base64, "foob", 4, "Zm9vYg==");
    expect(base64, "fooba", 5, "Zm9vYmE=");
    expect(base64, "foobar", 6, "Zm9vYmFy");
    expect(base64, "\xff\xfb\xef\x00", 4, "//vvAA==");
}

static void text_that_does_not_fit_is_marked_failed(void **state)
{
    (void)state;
    static const char bad[] = "\xff\xff\xff\xff\xff\xff\xff\xff";
    static const text_function functions[] = {im_text_escape, im_text_shell, base64};
    for (size_t i = 0; i < IM_COUNT(functions); i++) {
        im_str out;
        im_str_init(&out, 9);
        functions[i](&out, bad, 8);
        assert_true(out.failed && out.size <= 9);
        im_str_clear(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(escaped_text_shows_what_cannot_be_seen),
        cmocka_unit_test(escaped_text_is_safe_and_stable),
        cmocka_unit_test(shell_words_are_quoted_only_when_needed),
        cmocka_unit_test(a_shell_reads_the_same_word_back),
        cmocka_unit_test(lossy_text_has_one_mark_for_each_bad_byte),
        cmocka_unit_test(base64_reads_back_and_nothing_else),
        cmocka_unit_test(base64_gives_the_vectors_of_rfc_4648),
        cmocka_unit_test(text_that_does_not_fit_is_marked_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
