/* tests/store/test_slots.c — bitmaps of slots by path, tag, place, words, key: against a plain
 * reading of the rules, and with hostile strings (T40). Covers slots.c and glob.c. */
#include "store/store_internal.h"
#include "tests/store/help.h"
#include <stdio.h>
#include <string.h>

#define N_ITEMS 70

static im_error err = IM_ERROR_INIT;

/* Item n is in slot N_ITEMS - 1 - n. */
static int set_up(void **state)
{
    help_fixture *f = help_fixture_new("/home/a/photos");
    f->other_root = help_root(f->store, "/mnt/disk_1/photos2");
    f->model = help_model(f->store, "one");
    help_ok(im_store_begin(f->store, &err), &err);
    help_fixture_fill(f, N_ITEMS, true);
    help_ok(im_store_commit(f->store, &err), &err);
    *state = f;
    return 0;
}

static void put_file_in(help_fixture *f, uint64_t root, uint64_t n, const char *path)
{
    im_file_row file = {.root = root, .path = im_view_from(path), .item = f->items[n]};
    help_ok(im_store_put_file(f->store, &file, NULL, &err), &err);
}

static void put_file(help_fixture *f, uint64_t n, const char *path)
{
    put_file_in(f, f->root, n, path);
}

static bool has(const uint64_t *bits, uint64_t n)
{
    uint64_t slot = N_ITEMS - 1 - n;
    return (bits[slot / 64] >> (slot % 64) & 1) != 0;
}

/* The numbers of the items whose bits are set, "1 2 3 " */
static const char *list(const uint64_t *bits)
{
    static char text[512];
    size_t size = 0;
    text[0] = '\0';
    for (uint64_t n = 0; n < N_ITEMS; n++) {
        if (has(bits, n)) {
            size +=
                (size_t)snprintf(text + size, sizeof text - size, "%llu ", (unsigned long long)n);
        }
    }
    return text;
}

typedef im_code (*slots_fn)(im_store *store, uint64_t model, im_view what, uint64_t n_rows,
                            uint64_t *bits, im_error *err);

static const char *ask_view(help_fixture *f, slots_fn fn, im_view what)
{
    uint64_t bits[2] = {~UINT64_C(0), ~UINT64_C(0)};
    help_ok(fn(f->store, f->model, what, N_ITEMS, bits, &err), &err);
    assert_int_equal(bits[1] >> (N_ITEMS % 64), 0); /* nothing beyond n_rows */
    return list(bits);
}

static const char *ask(help_fixture *f, slots_fn fn, const char *what)
{
    return ask_view(f, fn, im_view_from(what));
}

/* ---- globs ---- */

static bool glob(const char *pattern, const char *path)
{
    return store_glob_match(im_view_from(pattern), im_view_from(path));
}

static void globs_follow_their_rules(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *path;
        bool match;
    } cases[] = {
        {"", "", true},
        {"", "a", false},
        {"*", "", true},
        {"*", "a/b/c", true},
        {"a*c", "a/b/c", true},
        {"a*c", "abd", false},
        {"**", "x", true},
        {"a?c", "a/c", true},
        {"a?c", "ac", false},
        {"?", "\xc3\xa9", true}, /* one character of two bytes */
        {"??", "\xc3\xa9", false},
        {"?", "\xff", true}, /* a byte that is no UTF-8 */
        {"\xff", "\xff", true},
        {"\xfe", "\xff", false},
        {"[a-c]x", "bx", true},
        {"[a-c]x", "dx", false},
        {"[!a-c]x", "dx", true},
        {"[^a-c]x", "ax", false},
        {"[]]", "]", true},
        {"[!]]", "]", false},
        {"[!]]", "a", true},
        {"[a-]", "-", true},
        {"[-a]", "-", true},
        {"[\xc3\xa0-\xc3\xaf]", "\xc3\xa9", true},
        {"[*]", "*", true},
        {"[*]", "a", false},
        {"[?]", "?", true},
        {"[", "[", true},
        {"[[[*", "[[[abc", true},
        {"[[[*", "abc", false},
        {"[ab", "[ab", true},
        {"[ab", "a", false},
        {"[]", "[]", true},
        {"[!]", "[!]", true},
        {"[[]", "[", true},
        {"a\\*", "a\\b", true},
        {"%_%", "%_%", true},
        {"%", "abc", false},
        {"A.JPG", "a.jpg", false},
        {"*.jpg", "a/b.jpg", true},
        {"*.jpg", "a/b.jpeg", false},
        {"*a*b*c*", "xxaxxbxxcxx", true},
        {"*a*b*c", "abcb", false},
        {"beach", "beach/1.jpg", false}, /* the whole path */
    };
    for (size_t i = 0; i < IM_COUNT(cases); i++) {
        if (glob(cases[i].pattern, cases[i].path) != cases[i].match) {
            fail_msg("glob '%s' of '%s'", cases[i].pattern, cases[i].path);
        }
    }
}

/* The rules once more, read as plainly as can be; ASCII. */
static bool plain_match(const char *p, const char *s)
{
    if (*p == '\0') {
        return *s == '\0';
    }
    if (*p == '*') {
        return plain_match(p + 1, s) || (*s != '\0' && plain_match(p, s + 1));
    }
    if (*s == '\0') {
        return false;
    }
    if (*p == '[') {
        bool negated = p[1] == '!' || p[1] == '^';
        const char *start = p + 1 + negated;
        const char *end = *start == '\0' ? NULL : strchr(start + 1, ']');
        if (end != NULL) {
            bool in = false;
            for (const char *c = start; c < end; c++) {
                if (c + 2 < end && c[1] == '-') {
                    in = in || (c[0] <= *s && *s <= c[2]);
                    c += 2;
                } else {
                    in = in || *c == *s;
                }
            }
            return in != negated && plain_match(end + 1, s + 1);
        }
    }
    return (*p == '?' || *p == *s) && plain_match(p + 1, s + 1);
}

static void globs_agree_with_a_plain_reading(void **state)
{
    (void)state;
    static const char letters[] = "aab*?[]!-^b";
    uint64_t seed = 4711;
    size_t matched = 0;
    for (size_t i = 0; i < 200000; i++) {
        char pattern[9] = "";
        char path[9] = "";
        size_t n = help_random(&seed) % sizeof pattern;
        size_t m = help_random(&seed) % 6;
        for (size_t j = 0; j < n; j++) {
            pattern[j] = letters[help_random(&seed) % (sizeof letters - 1)];
        }
        for (size_t j = 0; j < m; j++) {
            path[j] = "ab-[]"[help_random(&seed) % 5];
        }
        bool wanted = plain_match(pattern, path);
        if (glob(pattern, path) != wanted) {
            fail_msg("glob '%s' of '%s', expected %d", pattern, path, wanted);
        }
        matched += wanted;
    }
    assert_true(matched > 5000);
}

static void a_glob_of_many_stars_ends(void **state)
{
    (void)state;
    char pattern[2001];
    char path[4001];
    for (size_t i = 0; i < 2000; i += 2) {
        memcpy(pattern + i, "*a", 2);
    }
    memset(path, 'a', sizeof path);
    path[3999] = 'b';
    assert_false(
        store_glob_match(im_view_of(pattern, 2000), im_view_of(path, 4000))); /* product at most */
}

static void any_file_of_an_item_counts(void **state)
{
    help_fixture *f = *state;
    put_file(f, 3, "beach/2019/one.png");
    put_file_in(f, f->other_root, 4, "beach/two.png");
    put_file(f, 5, "b[[[x");
    put_file(f, 6, "%_%");
    put_file(f, 7, "\xff\xfe.raw");
    assert_string_equal(ask(f, im_store_slots_of_path_glob, "beach/*"), "3 4 ");
    assert_string_equal(ask(f, im_store_slots_of_path_glob, "*.png"), "3 4 ");
    assert_string_equal(ask(f, im_store_slots_of_path_glob, "00000[12].jpg"), "1 2 ");
    assert_string_equal(ask(f, im_store_slots_of_path_glob, "*[[[*"), "5 ");
    assert_string_equal(ask(f, im_store_slots_of_path_glob, "%_%"), "6 ");
    assert_string_equal(ask(f, im_store_slots_of_path_glob, "??.raw"), "7 ");
    assert_string_equal(ask(f, im_store_slots_of_path_glob, "\xff*"), "7 ");
    assert_string_equal(ask(f, im_store_slots_of_path_glob, ""), "");
    assert_string_equal(ask(f, im_store_slots_of_path_glob, "/home/*"), ""); /* below the root */
    im_file_row file;
    help_ok(im_store_find_file(f->store, f->root, im_view_from("%_%"), &file, &err), &err);
    help_ok(im_store_set_file_missing(f->store, file.id, true, &err), &err);
    assert_string_equal(ask(f, im_store_slots_of_path_glob, "%_%"), "6 "); /* missing too */
    uint64_t bits[1];
    help_ok(im_store_slots_of_path_glob(f->store, f->model, im_view_from("*"), 10, bits, &err),
            &err);
    assert_int_equal(bits[0], 0x3ff); /* a reader's rows only */
    help_ok(im_store_slots_of_path_glob(f->store, 99, im_view_from("*"), 10, bits, &err), &err);
    assert_int_equal(bits[0], 0);
}

/* ---- tags, keys ---- */

static void tags_and_keys_are_whole_names(void **state)
{
    help_fixture *f = *state;
    uint64_t bits[2];
    help_ok(im_store_put_tag(f->store, f->items[1], "Beach", IM_SOURCE_USER, &err), &err);
    help_ok(im_store_put_tag(f->store, f->items[2], "beach", IM_SOURCE_FILE, &err), &err);
    help_ok(im_store_put_tag(f->store, f->items[2], "beach ball", IM_SOURCE_USER, &err), &err);
    help_ok(im_store_put_key(f->store, f->items[9], "k%", NULL, &err), &err);
    assert_string_equal(ask(f, im_store_slots_of_tag, "BEACH"), "1 2 ");
    assert_string_equal(ask(f, im_store_slots_of_tag, "bea%"), "");
    assert_string_equal(ask(f, im_store_slots_of_tag, "ball"), "");
    assert_string_equal(ask(f, im_store_slots_of_key, "k%"), "9 ");
    assert_string_equal(ask(f, im_store_slots_of_key, "K%"), "");
    help_ok(im_store_slots_tagged(f->store, f->model, N_ITEMS, bits, &err), &err);
    assert_string_equal(list(bits), "1 2 ");
    im_caption caption = {.text = im_view_from("a dog")};
    help_ok(im_store_put_caption(f->store, f->items[8], &caption, &err), &err);
    caption.kind = IM_VISIBLE_TEXT;
    help_ok(im_store_put_caption(f->store, f->items[7], &caption, &err), &err);
    help_ok(im_store_slots_captioned(f->store, f->model, IM_CAPTION, N_ITEMS, bits, &err), &err);
    assert_string_equal(list(bits), "8 ");
    help_ok(im_store_slots_captioned(f->store, f->model, IM_VISIBLE_TEXT, N_ITEMS, bits, &err),
            &err);
    assert_string_equal(list(bits), "7 ");
}

/* ---- files that are gone ---- */

static uint64_t add_file(help_fixture *f, const char *path, uint64_t item)
{
    uint64_t id = 0;
    im_file_row row = {.root = f->root, .path = im_view_from(path), .item = item};
    help_ok(im_store_put_file(f->store, &row, &id, &err), &err);
    return id;
}

static void an_item_is_missing_when_each_of_its_files_is(void **state)
{
    help_fixture *f = *state;
    uint64_t bits[2];
    im_file_row first;
    help_ok(im_store_find_file(f->store, f->root, im_view_from("000003.jpg"), &first, &err), &err);
    assert_int_not_equal(first.id, 0);
    uint64_t second = add_file(f, "copy of 3.jpg", first.item);
    help_ok(im_store_slots_missing(f->store, f->model, N_ITEMS, bits, &err), &err);
    assert_string_equal(list(bits), "");
    help_ok(im_store_set_file_missing(f->store, first.id, true, &err), &err);
    help_ok(im_store_slots_missing(f->store, f->model, N_ITEMS, bits, &err), &err);
    assert_string_equal(list(bits), "");
    help_ok(im_store_set_file_missing(f->store, second, true, &err), &err);
    help_ok(im_store_slots_missing(f->store, f->model, N_ITEMS, bits, &err), &err);
    assert_string_equal(list(bits), "3 ");
    help_ok(im_store_drop_file(f->store, first.id, &err), &err);
    help_ok(im_store_drop_file(f->store, second, &err), &err); /* an item without files is not */
    help_ok(im_store_slots_missing(f->store, f->model, N_ITEMS, bits, &err), &err);
    assert_string_equal(list(bits), "");
}

/* ---- places ---- */

static void a_place_is_a_root_or_a_folder(void **state)
{
    help_fixture *f = *state;
    for (uint64_t n = 0; n < N_ITEMS; n++) { /* few files, so that lists stay short */
        im_file_row file;
        char name[32];
        (void)snprintf(name, sizeof name, "%06llu.jpg", (unsigned long long)n);
        help_ok(im_store_find_file(f->store, f->root, im_view_from(name), &file, &err), &err);
        help_ok(im_store_drop_file(f->store, file.id, &err), &err);
    }
    put_file(f, 1, "x.jpg");
    put_file(f, 2, "trip/x.jpg");
    put_file(f, 3, "trip/day 1/x.jpg");
    put_file(f, 4, "trip2/x.jpg");
    put_file_in(f, f->other_root, 5, "x.jpg");
    static const struct {
        const char *place, *wanted;
    } cases[] = {
        {"/home/a/photos", "1 2 3 4 "},
        {"/home/a/photos/", "1 2 3 4 "},
        {"/home", "1 2 3 4 "},
        {"/", "1 2 3 4 5 "},
        {"/home/a/photos/trip", "2 3 "},
        {"/home/a/photos/trip/", "2 3 "},
        {"/home/a/photos/trip/day 1", "3 "},
        {"/home/a/phot", ""},
        {"/home/a/photos/tri", ""},
        {"photos", "1 2 3 4 "},
        {"a/photos", "1 2 3 4 "},
        {"hotos", ""},
        {"photos2", "5 "},
        {"/mnt/disk_1", "5 "},
        {"/mnt/disk%1", ""},
        {"", ""},
        {"' OR 1=1 --", ""},
        {"home/a/photos", "1 2 3 4 "},
    };
    for (size_t i = 0; i < IM_COUNT(cases); i++) {
        const char *found = ask(f, im_store_slots_in, cases[i].place);
        if (strcmp(found, cases[i].wanted) != 0) {
            fail_msg("in '%s': %s, expected %s", cases[i].place, found, cases[i].wanted);
        }
    }
    help_ok(im_store_move_root(f->store, f->other_root, "/home/b", &err), &err);
    assert_string_equal(ask(f, im_store_slots_in, "/home"), "1 2 3 4 5 ");
}

/* ---- words ---- */

static void words_are_found_where_they_stand(void **state)
{
    help_fixture *f = *state;
    put_file(f, 1, "Caf\xc3\xa9/IMG_0042-final.jpg");
    help_ok(im_store_put_tag(f->store, f->items[2], "red", IM_SOURCE_USER, &err), &err);
    help_ok(im_store_put_tag(f->store, f->items[2], "car", IM_SOURCE_USER, &err), &err);
    help_ok(im_store_put_tag(f->store, f->items[3], "red car", IM_SOURCE_USER, &err), &err);
    im_caption caption = {.text = im_view_from("A red car, parked by the sea.")};
    help_ok(im_store_put_caption(f->store, f->items[4], &caption, &err), &err);
    caption = (im_caption){.kind = IM_VISIBLE_TEXT, .text = im_view_from("EXIT 4")};
    help_ok(im_store_put_caption(f->store, f->items[5], &caption, &err), &err);
    assert_string_equal(ask(f, im_store_slots_of_text, "cafe"), "1 ");
    assert_string_equal(ask(f, im_store_slots_of_text, "CAF\xc3\x89 img 0042"), "1 ");
    assert_string_equal(ask(f, im_store_slots_of_text, "red"), "2 3 4 ");
    /* from one tag into the next is no phrase */
    assert_string_equal(ask(f, im_store_slots_of_text, "red car"), "3 4 ");
    assert_string_equal(ask(f, im_store_slots_of_text, "car red"), "");
    assert_string_equal(ask(f, im_store_slots_of_text, "exit 4"), "5 ");
    assert_string_equal(ask(f, im_store_slots_of_text, "xit"), "");
    help_ok(im_store_drop_tag(f->store, f->items[2], "car", &err), &err);
    help_ok(im_store_remove_item(f->store, f->items[3], &err), &err);
    help_ok(im_store_drop_caption(f->store, f->items[4], IM_CAPTION, IM_SOURCE_USER, &err), &err);
    assert_string_equal(ask(f, im_store_slots_of_text, "car"), "");
    assert_string_equal(ask(f, im_store_slots_of_text, "red"), "2 ");
    /* a renamed file, a path that now holds another picture */
    im_file_row file;
    help_ok(im_store_find_file(f->store, f->root, im_view_from("Caf\xc3\xa9/IMG_0042-final.jpg"),
                               &file, &err),
            &err);
    file.item = f->items[6];
    help_ok(im_store_put_file(f->store, &file, NULL, &err), &err);
    assert_string_equal(ask(f, im_store_slots_of_text, "cafe"), "6 ");
    help_ok(im_store_drop_file(f->store, file.id, &err), &err);
    assert_string_equal(ask(f, im_store_slots_of_text, "cafe"), "");
    help_ok(im_store_set_item_name(f->store, f->items[6], "Cafe.png", &err), &err);
    assert_string_equal(ask(f, im_store_slots_of_text, "cafe png"), "6 ");
}

static void tag_it(help_fixture *f, uint64_t n, const char *tag)
{
    help_ok(im_store_put_tag(f->store, f->items[n], tag, IM_SOURCE_USER, &err), &err);
}

/* The text of an item is made late: within a transaction it is found all the same, items may come
 * in any order, and what is undone leaves nothing behind. */
static void words_are_found_within_a_transaction_and_forgotten_with_it(void **state)
{
    help_fixture *f = *state;
    help_ok(im_store_begin(f->store, &err), &err);
    tag_it(f, 1, "heron");
    tag_it(f, 1, "pond");
    assert_string_equal(ask(f, im_store_slots_of_text, "heron"), "1 ");
    tag_it(f, 2, "heron");
    tag_it(f, 1, "reed");
    tag_it(f, 2, "reed");
    assert_string_equal(ask(f, im_store_slots_of_text, "reed"), "1 2 ");
    tag_it(f, 3, "reed");
    help_ok(im_store_remove_item(f->store, f->items[2], &err), &err);
    help_ok(im_store_commit(f->store, &err), &err);
    assert_string_equal(ask(f, im_store_slots_of_text, "reed"), "1 3 ");
    assert_string_equal(ask(f, im_store_slots_of_text, "heron"), "1 ");
    help_ok(im_store_begin(f->store, &err), &err);
    tag_it(f, 4, "kite");
    im_store_rollback(f->store);
    help_ok(im_store_begin(f->store, &err), &err);
    tag_it(f, 5, "kite");
    help_ok(im_store_commit(f->store, &err), &err);
    assert_string_equal(ask(f, im_store_slots_of_text, "kite"), "5 ");
    uint64_t findings = 0;
    help_ok(im_store_check(f->store, NULL, NULL, &findings, &err), &err);
    assert_int_equal(findings, 0);
}

static const char *const hostile[] = {"' OR 1=1 --",
                                      "\"; DROP TABLE picture",
                                      "\"",
                                      "\"\"",
                                      "*",
                                      "a AND",
                                      "NOT",
                                      "-red",
                                      "x:red",
                                      "NEAR(",
                                      "name : red",
                                      "^red",
                                      "red*",
                                      "{name tag}: red",
                                      "a OR b",
                                      "(",
                                      ")",
                                      "+",
                                      "",
                                      " ",
                                      "%_%",
                                      "\\",
                                      "\x01",
                                      "\xff\xfe",
                                      "'",
                                      "''",
                                      "--",
                                      "/*",
                                      "NEAR(a b, 2)",
                                      "\xee\x80\x80",
                                      "red + car",
                                      "a\"b\"c"};

/* Tags that a hostile string would find, were it taken for its signs or for its words. */
static void put_tags_like_hostile(help_fixture *f)
{
    static const char *const tags[] = {"OR 1=1", "red", "x red", "not", "a b c", "a and"};
    for (size_t i = 0; i < IM_COUNT(tags); i++) {
        help_ok(im_store_put_tag(f->store, f->items[1 + i], tags[i], IM_SOURCE_USER, &err), &err);
    }
}

static void ask_all_for_each_hostile(help_fixture *f)
{
    slots_fn fns[] = {im_store_slots_of_text, im_store_slots_of_tag, im_store_slots_of_path_glob,
                      im_store_slots_in, im_store_slots_of_key};
    for (size_t i = 0; i < IM_COUNT(hostile); i++) {
        for (size_t j = 0; j < IM_COUNT(fns); j++) {
            (void)ask(f, fns[j], hostile[i]);
        }
    }
}

static void many_of_one_sign_find_nothing(help_fixture *f)
{
    static char many[2000];
    memset(many, '(', sizeof many - 1);
    assert_string_equal(ask(f, im_store_slots_of_text, many), "");
    assert_string_equal(ask(f, im_store_slots_of_path_glob, many), "");
    memset(many, '[', sizeof many - 1);
    assert_string_equal(ask(f, im_store_slots_of_path_glob, many), "");
    memset(many, '"', sizeof many - 1);
    assert_string_equal(ask(f, im_store_slots_of_text, many), "");
}

static void hostile_words_are_taken_literally(void **state)
{
    help_fixture *f = *state;
    put_tags_like_hostile(f);
    ask_all_for_each_hostile(f);
    assert_string_equal(ask(f, im_store_slots_of_text, "' OR 1=1 --"), "1 ");
    assert_string_equal(ask(f, im_store_slots_of_text, "-red"), "2 3 ");
    assert_string_equal(ask(f, im_store_slots_of_text, "red*"), "2 3 ");
    assert_string_equal(ask(f, im_store_slots_of_text, "x:red"), "3 ");
    assert_string_equal(ask(f, im_store_slots_of_text, "NOT"), "4 ");
    assert_string_equal(ask(f, im_store_slots_of_text, "a\"b\"c"), "5 ");
    assert_string_equal(ask(f, im_store_slots_of_text, "a AND"), "6 ");
    assert_string_equal(ask(f, im_store_slots_of_text, "re"), "");
    assert_string_equal(ask(f, im_store_slots_of_text, "*"), "");
    assert_string_equal(ask_view(f, im_store_slots_of_text, im_view_of("x\0red", 5)), "3 ");
    assert_string_equal(ask_view(f, im_store_slots_of_tag, im_view_of("red\0", 4)), "");
    many_of_one_sign_find_nothing(f);
    assert_int_equal(
        im_store_slots_of_tag(f->store, f->model, im_view_from("a"), UINT64_MAX, NULL, &err),
        IM_ERR_INVALID);
    assert_int_equal(
        im_store_slots_in(f->store, f->model, im_view_from("a"), UINT64_MAX, NULL, &err),
        IM_ERR_INVALID);
}

/* Their rows are made when a transaction commits, or earlier when somebody asks. */
static void words_are_those_of_the_open_transaction(void **state)
{
    help_fixture *f = *state;
    help_ok(im_store_begin(f->store, &err), &err);
    put_file(f, 3, "sunrise one.jpg");
    put_file(f, 2, "sunrise two.jpg"); /* a smaller id behind a larger one */
    assert_string_equal(ask(f, im_store_slots_of_text, "sunrise"), "2 3 ");
    help_ok(im_store_put_tag(f->store, f->items[5], "sunrise", IM_SOURCE_USER, &err), &err);
    help_ok(im_store_remove_item(f->store, f->items[2], &err), &err);
    help_check_clean(f->store);
    assert_string_equal(ask(f, im_store_slots_of_text, "sunrise"), "3 5 ");
    im_store_rollback(f->store);
    assert_string_equal(ask(f, im_store_slots_of_text, "sunrise"), "");
    help_check_clean(f->store);
    help_ok(im_store_begin(f->store, &err), &err);
    put_file(f, 4, "sunrise four.jpg");
    help_ok(im_store_commit(f->store, &err), &err);
    assert_string_equal(ask(f, im_store_slots_of_text, "sunrise"), "4 ");
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, help_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(globs_follow_their_rules),
        cmocka_unit_test(globs_agree_with_a_plain_reading),
        cmocka_unit_test(a_glob_of_many_stars_ends),
        T(any_file_of_an_item_counts),
        T(tags_and_keys_are_whole_names),
        T(an_item_is_missing_when_each_of_its_files_is),
        T(a_place_is_a_root_or_a_folder),
        T(words_are_found_where_they_stand),
        T(words_are_found_within_a_transaction_and_forgotten_with_it),
        T(hostile_words_are_taken_literally),
        T(words_are_those_of_the_open_transaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
