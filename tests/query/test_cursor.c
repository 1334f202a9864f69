/* tests/query/test_cursor.c — covers query/cursor.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "query/query.h"

#include <float.h>

static void a_cursor_comes_back_to_the_last_bit(void **state)
{
    static const float scores[] = {0.0f, -0.0f, 1.5f, -3.25f, FLT_MIN, FLT_MAX, 0.1f};
    (void)state;
    for (size_t i = 0; i < IM_COUNT(scores); i++) {
        char text[64];
        im_cursor written = {scores[i], UINT64_MAX - i, i * 12345};
        im_cursor read = {0};
        im_cursor_write(&written, text);
        assert_true(strlen(text) <= 63);
        assert_int_equal(im_cursor_read(text, &read, NULL), IM_OK);
        assert_memory_equal(&read.score, &written.score, sizeof(float));
        assert_true(read.item == written.item && read.change_seq == written.change_seq);
    }
}

/* No changed character makes another valid cursor: a page is never taken from a wrong place. */
static void a_changed_cursor_is_refused(void **state)
{
    char text[64];
    im_cursor written = {1.25f, 42, 7};
    (void)state;
    im_cursor_write(&written, text);
    for (size_t i = 0; text[i] != '\0'; i++) {
        static const char other[] = "0123456789abcdefg X";
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
