/* tests/query/test_cursor.c — covers query/cursor.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "query/query.h"

#include <float.h>
#include <stdio.h>

static const float scores[] = {0.0f, -0.0f, 1.5f, -3.25f, FLT_MIN, FLT_MAX, 0.1f};
static char letters[] = "Caf\xc3\xa9 \"x\"";
static char empty[] = "";

/* One of each kind, with edges among their values. */
static const im_cursor samples[] = {
    {.kind = IM_CURSOR_NONE},
    {.kind = IM_CURSOR_INTEGER, .integer = INT64_MIN},
    {.kind = IM_CURSOR_INTEGER, .integer = -1},
    {.kind = IM_CURSOR_NUMBER, .number = -0.1},
    {.kind = IM_CURSOR_NUMBER, .number = DBL_MAX},
    {.kind = IM_CURSOR_TEXT, .text = letters},
    {.kind = IM_CURSOR_TEXT, .text = empty},
};

static void expect_back(const im_cursor *written)
{
    im_str text;
    im_cursor read = {0};
    im_str_init(&text, 1024);
    im_cursor_write(written, &text);
    assert_int_equal(im_cursor_read(im_str_text(&text), &read, NULL), IM_OK);
    assert_int_equal(read.kind, written->kind);
    assert_memory_equal(&read.score, &written->score, sizeof(float));
    assert_true(read.integer == written->integer);
    assert_memory_equal(&read.number, &written->number, sizeof(double));
    assert_int_equal(read.text != NULL, written->text != NULL);
    if (read.text != NULL) {
        assert_string_equal(read.text, written->text);
    }
    assert_true(read.item == written->item && read.change_seq == written->change_seq);
    assert_int_equal(read.order, written->order);
    im_cursor_clear(&read);
    im_str_clear(&text);
}

static void a_cursor_comes_back_to_the_last_bit(void **state)
{
    (void)state;
    for (size_t i = 0; i < IM_COUNT(scores); i++) {
        im_cursor written = {
            .score = scores[i], .item = UINT64_MAX - i, .change_seq = i * 12345, .order = 7};
        expect_back(&written);
    }
    for (size_t i = 0; i < IM_COUNT(samples); i++) {
        im_cursor written = samples[i];
        written.item = i + 1;
        written.order = UINT32_MAX;
        expect_back(&written);
    }
}

/* No changed character makes another valid cursor: a page is never taken from a wrong place. */
static void a_changed_cursor_is_refused(void **state)
{
    static const char other[] = "0123456789abcdefgsxint X";
    (void)state;
    for (size_t j = 0; j < IM_COUNT(samples); j++) {
        char text[256];
        im_str written;
        im_str_init(&written, sizeof(text) - 1);
        im_cursor_write(&samples[j], &written);
        (void)snprintf(text, sizeof(text), "%s", im_str_text(&written));
        im_str_clear(&written);
        for (size_t i = 0; text[i] != '\0'; i++) {
            for (size_t c = 0; other[c] != '\0'; c++) {
                char kept = text[i];
                im_cursor read;
                if (other[c] == kept) {
                    continue;
                }
                text[i] = other[c];
                assert_int_equal(im_cursor_read(text, &read, NULL), IM_ERR_INVALID);
                text[i] = kept;
            }
        }
    }
}

static void other_texts_are_refused(void **state)
{
    static const char *const texts[] = {"", "x",
                                        "7fc000000000000000000000000000000000000000000000"};
    (void)state;
    for (size_t i = 0; i < IM_COUNT(texts); i++) {
        im_cursor read;
        assert_int_equal(im_cursor_read(texts[i], &read, NULL), IM_ERR_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cursor_comes_back_to_the_last_bit),
        cmocka_unit_test(a_changed_cursor_is_refused),
        cmocka_unit_test(other_texts_are_refused),
    };
    return cmocka_run_group_tests_name("query cursor", tests, NULL, NULL);
}
