/* tests/base/test_text_fold.c — base/text_fold.c */
#include "support.h"

static void expect(const char *text, const char *expected)
{
    im_str out;
    im_str_init(&out, 100000);
    im_text_fold(&out, text, strlen(text));
    assert_false(out.failed);
    assert_string_equal(im_str_text(&out), expected);
    im_str_clear(&out);
}

static void texts_that_differ_in_case_or_composition_fold_alike(void **state)
{
    (void)state;
    expect("", "");
    expect("Canon EOS R5 [@Z`{", "canon eos r5 [@z`{");
    expect("CAF\xc3\x89", "caf\xc3\xa9");
    expect("cafe\xcc\x81", "caf\xc3\xa9"); /* e and a mark */
    expect("STRA\xc3\x9f"
           "E",
           "strasse");
    expect("\xce\xa3\xcf\x82\xcf\x83", "\xcf\x83\xcf\x83\xcf\x83"); /* final sigma */
    expect("\xef\xac\x81", "fi");                                   /* a ligature */
    expect("\xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x93\xb7",
           "\xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x93\xb7");
    /* marks in either order: dot below, circumflex */
    expect("A\xcc\x82\xcc\xa3", "\xe1\xba\xad");
    expect("a\xcc\xa3\xcc\x82", "\xe1\xba\xad");
    expect("\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", "\xed\x95\x9c"); /* Hangul composes */
    expect("A\xff"
           "B\xe2\x82",
           "a\xef\xbf\xbd"
           "b\xef\xbf\xbd\xef\xbf\xbd");
}

/* Folding again changes nothing, and what comes out is UTF-8. */
static void folding_is_stable(void **state)
{
    (void)state;
    uint64_t seed = 5;
    for (int round = 0; round < 5000; round++) {
        char text[64];
        size_t size = 0;
        while (size < 40) {
            uint64_t r = test_random(&seed);
            uint32_t code = (uint32_t)(r >> 8) % ((r & 3) == 0 ? 0x3000 : 0x500);
            size += im_utf8_encode(code, text + size);
        }
        im_str once, twice;
        im_str_init(&once, 10000);
        im_str_init(&twice, 10000);
        im_text_fold(&once, text, size);
        im_text_fold(&twice, im_str_text(&once), once.size);
        assert_true(im_utf8_valid(once.data, once.size, NULL));
        assert_int_equal(once.size, twice.size);
        assert_memory_equal(once.data, twice.data, once.size);
        im_str_clear(&once);
        im_str_clear(&twice);
    }
}

/* 64 KiB of marks in the worst order: no more than n log n. */
static void a_run_of_marks_is_no_trap(void **state)
{
    (void)state;
    size_t n = 32768;
    char *text = malloc(2 * n);
    assert_non_null(text);
    for (size_t i = 0; i < n; i++) {
        memcpy(text + 2 * i, i % 2 == 0 ? "\xcc\x82" : "\xcc\xa3", 2);
    }
    im_str out;
    im_str_init(&out, 1000000);
    im_text_fold(&out, text, 2 * n);
    assert_int_equal(out.size, 2 * n);
    assert_memory_equal(out.data, "\xcc\xa3\xcc\xa3", 4);
    im_str_clear(&out);
    free(text);
}

static void memory_that_is_out_is_remembered(void **state)
{
    (void)state;
    bool fired = true;
    size_t before = im_live_allocations();
    for (size_t nth = 0; fired; nth++) {
        im_str out;
        im_str_init(&out, 1000);
        im_fault_set(IM_FAULT_ALLOC, nth, 0);
        im_text_fold(&out, "\xc3\x89", 2);
        fired = im_fault_fired(IM_FAULT_ALLOC);
        im_fault_clear();
        assert_int_equal(out.failed, fired);
        im_str_clear(&out);
        assert_int_equal(im_live_allocations(), before);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_that_differ_in_case_or_composition_fold_alike),
        cmocka_unit_test(folding_is_stable),
        cmocka_unit_test(a_run_of_marks_is_no_trap),
        cmocka_unit_test(memory_that_is_out_is_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
