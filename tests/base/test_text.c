/* tests/base/test_text.c — base/text.c */
#include "support.h"

static void views_compare_by_their_bytes(void **state)
{
    (void)state;
    assert_true(im_view_equal(im_view_from("abc"), im_view_of("abcd", 3)));
    assert_false(im_view_equal(im_view_from("abc"), im_view_from("abd")));
    assert_false(im_view_equal(im_view_from("abc"), im_view_from("ab")));
    assert_false(im_view_equal_c(im_view_of("a\0b", 3), "a"));
    assert_true(im_view_equal_c(im_view_of(NULL, 0), ""));
    assert_int_equal(im_view_from(NULL).size, 0);
}

static void a_string_grows_and_stays_terminated(void **state)
{
    (void)state;
    im_str str;
    im_str_init(&str, 100000);
    assert_string_equal(im_str_text(&str), "");
    for (size_t i = 0; i < 5000; i++) {
        im_str_add_c(&str, "ab");
        im_str_add_char(&str, 'c');
        assert_int_equal(str.size, 3 * (i + 1));
        assert_int_equal(str.data[str.size], '\0');
    }
    im_str_add(&str, "\0x", 2); /* may hold NUL */
    assert_int_equal(str.size, 15002);
    assert_memory_equal(str.data + 14997, "abc\0x", 6);
    im_str_reset(&str);
    assert_string_equal(im_str_text(&str), "");
    im_str_addf(&str, "%d-%s", 42, "x");
    assert_string_equal(im_str_text(&str), "42-x");
    im_str_clear(&str);
    im_str_add_c(&str, "again"); /* still usable, with the same maximum */
    assert_string_equal(im_str_text(&str), "again");
    im_str_clear(&str);
    assert_int_equal(im_live_allocations(), 0);
}

static void a_string_never_passes_its_maximum(void **state)
{
    (void)state;
    for (size_t max = 0; max < 300; max += 7) {
        im_str str;
        im_str_init(&str, max);
        for (size_t i = 0; i < max; i++) {
            im_str_add_char(&str, 'x');
        }
        assert_int_equal(str.size, max);
        assert_false(str.failed);
        assert_true(str.data == NULL || str.capacity <= max + 1);
        im_str_add(&str, NULL, 0);
        assert_false(str.failed);
        im_str_add_char(&str, 'y');
        assert_true(str.failed);
        im_str_add(&str, NULL, 0);
        im_str_addf(&str, "%s", "z");
        assert_int_equal(str.size, max); /* what is there stays */
        im_str_clear(&str);
    }
}

static void a_failed_append_is_remembered_until_reset(void **state)
{
    (void)state;
    im_str str;
    im_str_init(&str, 10);
    im_str_add_c(&str, "12345678901");
    im_str_add_c(&str, "1"); /* would fit, but the text would have a hole */
    assert_true(str.failed && str.size == 0);
    im_str_reset(&str);
    im_str_add_c(&str, "1");
    assert_string_equal(im_str_text(&str), "1");
    im_str_clear(&str);
}

static void long_formatted_text_is_added_whole(void **state)
{
    (void)state;
    for (size_t width = 200; width < 600; width++) {
        im_str str;
        im_str_init(&str, 1000);
        im_str_add_c(&str, "<");
        im_str_addf(&str, "%*d", (int)width, 7);
        im_str_add_c(&str, ">");
        assert_int_equal(str.size, width + 2);
        assert_memory_equal(str.data + width, "7>", 3);
        im_str_clear(&str);
    }
    im_str str;
    im_str_init(&str, 300);
    im_str_addf(&str, "%400d", 1);
    assert_true(str.failed && str.size == 0);
    im_str_clear(&str);
}

static void a_string_without_memory_fails_and_leaks_nothing(void **state)
{
    (void)state;
    for (size_t nth = 0; nth < 20; nth++) {
        im_str str;
        im_str_init(&str, SIZE_MAX);
        im_fault_set(IM_FAULT_ALLOC, nth, 0);
        for (size_t i = 0; i < 100000; i++) {
            im_str_add_c(&str, "0123456789");
        }
        assert_int_equal(str.failed, im_fault_fired(IM_FAULT_ALLOC));
        assert_true(str.failed ? str.size < 1000000 : str.size == 1000000);
        assert_true(im_fault_calls(IM_FAULT_ALLOC) < 20); /* it doubles */
        im_fault_clear();
        im_str_clear(&str);
        assert_int_equal(im_live_allocations(), 0);
    }
}

static void every_code_point_survives_a_round_trip(void **state)
{
    (void)state;
    for (uint32_t code = 0; code <= 0x10ffff; code++) {
        char bytes[4];
        uint32_t back = 0xffffffff;
        size_t size = im_utf8_encode(code, bytes);
        size_t expected = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
        assert_int_equal(size, expected);
        bool surrogate = code >= 0xd800 && code <= 0xdfff;
        assert_int_equal(im_utf8_decode(bytes, size, &back), surrogate ? 0 : size);
        if (!surrogate) {
            assert_int_equal(back, code);
        }
        for (size_t cut = 0; cut < size; cut++) {
            assert_int_equal(im_utf8_decode(bytes, cut, &back), 0);
        }
    }
}

/* Any four bytes: what decodes must be exactly what encode gives, so no overlong form, surrogate
 * or too large value can pass. */
static void only_the_shortest_forms_decode(void **state)
{
    (void)state;
    static const unsigned char second[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90,
                                           0x9f, 0xa0, 0xbf, 0xc0, 0xff};
    size_t decoded = 0;
    for (unsigned first = 0; first < 256; first++) {
        for (size_t b = 0; b < IM_COUNT(second); b++) {
            for (size_t c = 0; c < IM_COUNT(second); c++) {
                for (size_t d = 0; d < IM_COUNT(second); d++) {
                    char bytes[4] = {(char)first, (char)second[b], (char)second[c],
                                     (char)second[d]};
                    char again[4];
                    uint32_t code = 0;
                    size_t size = im_utf8_decode(bytes, 4, &code);
                    if (size > 0) {
                        decoded++;
                        assert_true(code <= 0x10ffff && (code < 0xd800 || code > 0xdfff));
                        assert_int_equal(im_utf8_encode(code, again), size);
                        assert_memory_equal(again, bytes, size);
                    }
                }
            }
        }
    }
    assert_true(decoded > 128 * 1331);
    static const char *const bad[] = {
        "\xc0\x80",         "\xc1\xbf",         "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\x80",         "\xfe",         "\xff"};
    for (size_t i = 0; i < IM_COUNT(bad); i++) {
        uint32_t code = 0;
        assert_int_equal(im_utf8_decode(bad[i], strlen(bad[i]), &code), 0);
    }
}

static void the_first_bad_byte_is_found(void **state)
{
    (void)state;
    size_t bad = 99;
    assert_true(im_utf8_valid("caf\xc3\xa9 \xf0\x9f\x98\x80", 10, &bad));
    assert_true(im_utf8_valid(NULL, 0, NULL));
    assert_int_equal(bad, 99);
    assert_false(im_utf8_valid("caf\xc3\xa9\xc3", 6, &bad));
    assert_int_equal(bad, 5);
    assert_false(im_utf8_valid("ab\xe2\x82", 4, &bad));
    assert_int_equal(bad, 2);
    assert_true(im_utf8_valid("a\0b", 3, NULL)); /* NUL is a character; callers decide */
}

static void ascii_words_are_the_same_in_any_case(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        bool upper = c >= 'A' && c <= 'Z';
        bool lower = c >= 'a' && c <= 'z';
        assert_int_equal(im_ascii_lower((char)c), (char)(upper ? c + 32 : c));
        assert_int_equal(im_ascii_is_letter((char)c), upper || lower);
        assert_int_equal(im_ascii_is_alnum((char)c), upper || lower || (c >= '0' && c <= '9'));
    }
    assert_true(im_ascii_same_word("Taken", "tAKEN"));
    assert_true(im_ascii_same_word("", ""));
    assert_false(im_ascii_same_word("taken", "take"));
    assert_false(im_ascii_same_word("", "a"));
    assert_false(im_ascii_same_word("[", "{"));               /* 32 apart, no letters */
    assert_false(im_ascii_same_word("\xc3\x84", "\xc3\xa4")); /* not ASCII: bytes */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_compare_by_their_bytes),
        cmocka_unit_test(ascii_words_are_the_same_in_any_case),
        cmocka_unit_test(a_string_grows_and_stays_terminated),
        cmocka_unit_test(a_string_never_passes_its_maximum),
        cmocka_unit_test(a_failed_append_is_remembered_until_reset),
        cmocka_unit_test(long_formatted_text_is_added_whole),
        cmocka_unit_test(a_string_without_memory_fails_and_leaks_nothing),
        cmocka_unit_test(every_code_point_survives_a_round_trip),
        cmocka_unit_test(only_the_shortest_forms_decode),
        cmocka_unit_test(the_first_bad_byte_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
