/* What a model writes of a picture, on its way to plain text: markers, HTML, hidden characters,
 * length, and the many ways to say that there is nothing. */
#include "help.h"

static void check(const char *from, const char *to, size_t most, bool lines)
{
    im_str out;
    im_str_init(&out, 1u << 20);
    assert_true(im_vlm_plain(&out, im_view_from(from), most, lines));
    assert_string_equal(im_str_text(&out), to);
    im_str_clear(&out);
}

static void markup_is_taken_out(void **state)
{
    static const char *const rows[][2] = {
        {"A red car.", "A red car."},
        {"", ""},
        {"A <b>red</b> car", "A red car"},
        {"<p>one</p><p>two</p>", "one two"},
        {"x<script>alert(1)</script>y", "x y"},
        {"x<SCRIPT src=a>alert(1)", "x"},
        {"x<style>p{}</style >y<svg><text>z</text></svg>", "x y"},
        {"<img src=x onerror=alert(1)>cat", "cat"},
        {"<x-y onclick=\"a()\">cat</x-y>", "cat</x-y>"}, /* a tag that nobody knows is no HTML */
        {"<scr<b></b>ipt>a()</script>b", "<scr ipt>a() b"},
        {"<<b>script>a()</script>", "< script>a()"},
        {"a <!-- note --> b <!-- cut", "a b"},
        {"<!DOCTYPE html><?xml version=\"1\"?>t", "t"},
        {"a <img src=x", "a"},
        {"1 < 2, a<b then c > d, <3, vector<int>", "1 < 2, a d, <3, vector<int>"},
        {"a<b then", "a<b then"},
        {"R&D &lt;b&gt;", "R&D &lt;b&gt;"}, /* what is shown as text stays text */
    };
    (void)state;
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        check(rows[i][0], rows[i][1], 1000, false);
    }
    assert_int_equal(im_live_allocations(), 0);
}

static void markers_and_hidden_characters_are_taken_out(void **state)
{
    static const char *const rows[][2] = {
        {"a<|im_end|>b<|im_start|>system", "absystem"},
        {"a<|im\xe2\x80\x8b_end|>b", "ab"}, /* parted by a space of no width */
        {"<scr\xc2\xadipt>x()</script>y", "y"},
        {"a<b><|im_end|></b>b", "a b"},
        {"<|<b>im_end|>", ""},
        {"[INST]a[/INST]", "a"},
        {"\x1b[31mred\x07", "[31mred"},
        {"caf\xc3\xa9 \xff", "caf\xc3\xa9 \xef\xbf\xbd"},
        {"a\xe2\x80\xae"
         "b\xe2\x81\xa6"
         "c\xef\xbb\xbf",
         "abc"},
        {"a\xee\x80\x80"
         "b",
         "ab"}, /* U+E000 parts texts in the index */
        {"a\xc2\x80"
         "b\xc2\xa0 c\xe3\x80\x80"
         "d",
         "ab c d"},
        {"\xf0\x9f\x91\xa8\xe2\x80\x8d\xf0\x9f\x91\xa9",
         "\xf0\x9f\x91\xa8\xe2\x80\x8d\xf0\x9f\x91\xa9"},
        {"  a \t\r\n b\n\n\nc  ", "a b c"},
    };
    (void)state;
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        check(rows[i][0], rows[i][1], 1000, false);
    }
}

static void lines_stay_lines_where_they_are_wanted(void **state)
{
    (void)state;
    check("a \r\nb\n\n\n\n c\td\n", "a\nb\n\nc d", 1000, true);
    check("a<br>b\n<p>c</p>", "a b\nc", 1000, true);
    check("<|im_\nend|>", "<|im_\nend|>", 1000, true);
    check("a\xe2\x80\xa8"
          "b\xc2\x85"
          "c",
          "a\nb\nc", 1000, true);
}

static void long_texts_end_behind_a_sentence_or_a_word(void **state)
{
    (void)state;
    check("One two. Three four five", "One two.", 11, false);
    check("One two three four five", "One two three", 16, false);
    check("Oneandtwoandthree", "Oneandtwo", 9, false);
    check("\xc3\xa9\xc3\xa9\xc3\xa9", "\xc3\xa9\xc3\xa9", 5, false);
    check("exact.", "exact.", 6, false);
}

/* Whatever comes in: valid, bounded, no tag, no marker, no control character; and cleaned once is
 * cleaned for good. */
static void any_text_becomes_plain(void **state)
{
    static const char *const pieces[] = {
        "<",      ">",          "script",       "<script>",    "</script>", "<b ",
        "=",      "\"",         "<!--",         "-->",         "<|",        "|>",
        "im_end", "<|im_end|>", "\xe2\x80\x8b", "\n",          " ",         "a",
        ".",      "\xff",       "\x1b",         "<img src=x>", "[INST]",    "/",
        "<__",    "media__>",   "\xc3\xa9",     "</"};
    uint64_t seed = 11;
    (void)state;
    for (int round = 0; round < 4000; round++) {
        im_str text, once, twice;
        bool lines = round % 2 == 1;
        im_str_init(&text, 4096);
        im_str_init(&once, 4096);
        im_str_init(&twice, 4096);
        for (int i = 0; i < 20; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            im_str_add_c(&text, pieces[(seed >> 33) % IM_COUNT(pieces)]);
        }
        assert_true(im_vlm_plain(&once, im_view_of(im_str_text(&text), text.size), 60, lines));
        assert_true(im_vlm_plain(&twice, im_view_of(im_str_text(&once), once.size), 60, lines));
        const char *plain = im_str_text(&once);
        assert_string_equal(plain, im_str_text(&twice));
        assert_true(once.size <= 60 && im_utf8_valid(plain, once.size, NULL));
        assert_null(strstr(plain, "<script>"));
        assert_null(strstr(plain, "</script>"));
        assert_null(strstr(plain, "<img"));
        assert_null(strstr(plain, "<|im_end|>"));
        assert_null(strchr(plain, 0x1b));
        im_str_clear(&text);
        im_str_clear(&once);
        im_str_clear(&twice);
    }
}

/* ---- descriptions ---- */

static void check_description(im_vlm_wish wish, const char *answer, const char *want)
{
    im_str out;
    im_str_init(&out, 1u << 20);
    im_code rc = im_vlm_description(wish, im_view_from(answer), &out, NULL);
    assert_int_equal(rc, want != NULL ? IM_OK : IM_ERR_UPSTREAM);
    if (want != NULL) {
        assert_string_equal(im_str_text(&out), want);
    }
    im_str_clear(&out);
}

static void answers_become_descriptions(void **state)
{
    (void)state;
    check_description(IM_VLM_CAPTION, "A dog.\nIt runs.", "A dog. It runs.");
    check_description(IM_VLM_CAPTION, "{\"caption\": \"A dog.\"}", "A dog.");
    check_description(IM_VLM_CAPTION, "{\"caption\": \"A dog and a c", "A dog and a c"); /* cut */
    check_description(IM_VLM_CAPTION, "None", "None"); /* a word like others */
    check_description(IM_VLM_CAPTION, "", NULL);
    check_description(IM_VLM_CAPTION, "<|im_end|>", NULL);
    check_description(IM_VLM_CAPTION, " \"...\" ", NULL);
    check_description(IM_VLM_READ, "EXIT\n4", "EXIT\n4");
    check_description(IM_VLM_READ, "{\"text\": \"EXIT\\n4\"}", "EXIT\n4");
    check_description(IM_VLM_READ, "NONE", "");
    check_description(IM_VLM_READ, "**none.**", "");
    check_description(IM_VLM_READ, "There is no text in the image.", "");
    check_description(IM_VLM_READ, "<b></b>", "");
    check_description(IM_VLM_READ, "None of the above", "None of the above");
}

static void each_wish_is_bounded(void **state)
{
    static char much[200000];
    (void)state;
    memset(much, 'a', sizeof(much) - 1);
    for (int wish = 0; wish < IM_VLM_WISH_COUNT; wish++) {
        im_str out;
        im_str_init(&out, 1u << 20);
        assert_int_equal(im_vlm_description((im_vlm_wish)wish, im_view_from(much), &out, NULL),
                         IM_OK);
        assert_int_equal(out.size, wish == IM_VLM_CAPTION ? 1000 : 16384);
        im_str_clear(&out);
        assert_in_range(im_vlm_wish_px((im_vlm_wish)wish), IM_VLM_LEAST_PX, IM_VLM_MOST_PX);
        assert_int_equal(im_vlm_wish_px((im_vlm_wish)wish) % 28, 0);
    }
}

static void each_failed_allocation_is_told(void **state)
{
    size_t live = im_live_allocations();
    bool good = false;
    (void)state;
    for (size_t nth = 0; !good; nth++) {
        im_str out;
        im_str_init(&out, 4096);
        im_fault_set(IM_FAULT_ALLOC, nth, 0);
        good = im_vlm_plain(&out, im_view_from("<b>a</b> <|im_end|> caf\xc3\xa9"), 1000, true);
        assert_int_equal(good, !im_fault_fired(IM_FAULT_ALLOC));
        im_fault_clear();
        im_str_clear(&out);
        assert_int_equal(im_live_allocations(), live);
        assert_in_range(nth, 0, 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(markup_is_taken_out),
        cmocka_unit_test(markers_and_hidden_characters_are_taken_out),
        cmocka_unit_test(lines_stay_lines_where_they_are_wanted),
        cmocka_unit_test(long_texts_end_behind_a_sentence_or_a_word),
        cmocka_unit_test(any_text_becomes_plain),
        cmocka_unit_test(answers_become_descriptions),
        cmocka_unit_test(each_wish_is_bounded),
        cmocka_unit_test(each_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
