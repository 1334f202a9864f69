/* tests/encoder/test_tokenizer.c — covers encoder/tokenizer.c and tokenizer_load.c: T35 of
 * tokenizer files that lie, T37 and T38 of odd texts, and merging against a slow twin. */
#include "encoder/tokenizer_internal.h"
#include "help.h"

#include <stdlib.h>

#define ROWS 538u /* of the golden token table */
#define CONTEXT 24u

static tokenizer *open_golden(const char *model)
{
    char folder[1024];
    tokenizer *t = NULL;
    im_error err = IM_ERROR_INIT;
    golden_path(folder, sizeof(folder), model, "");
    im_code rc = tokenizer_open(folder, ROWS, &t, &err);
    assert_string_equal(err.message, "");
    assert_int_equal(rc, IM_OK);
    return t;
}

static im_code open_in(const char *folder, size_t n_rows, im_error *err)
{
    tokenizer *t = NULL;
    im_code rc = tokenizer_open(folder, n_rows, &t, err);
    tokenizer_close(t);
    return rc;
}

/* ---- T35: files ---- */

typedef struct file_case {
    const char *file, *from, *to;
    const char *named[3];
} file_case;

static const file_case broken[] = {
    /* ids */
    {"vocab.json",
     "\"flower</w>\": 530",
     "\"flower</w>\": 2147483647",
     {"vocab.json", "'flower</w>'", "2147483647"}},
    {"vocab.json", "\"flower</w>\": 530", "\"flower</w>\": 538", {"'flower</w>'", "538 rows"}},
    {"vocab.json", "\"flower</w>\": 530", "\"flower</w>\": -1", {"'flower</w>'"}},
    {"vocab.json", "\"flower</w>\": 530", "\"flower</w>\": \"530\"", {"'flower</w>'"}},
    {"vocab.json", "\"flower</w>\": 530", "\"flower</w>\": 530.0", {"'flower</w>'"}},
    {"vocab.json", "\"flower</w>\": 530", "\"flower</w>\": null", {"'flower</w>'"}},
    {"vocab.json",
     "\"flower</w>\": 530",
     "\"flower</w>\": 18446744073709551616",
     {"vocab.json", "too big"}},
    {"vocab.json", "\"flower</w>\": 530", "\"flower</w>\": 529", {"twice"}},
    {"vocab.json", "\"flower</w>\": 530", "\"a\": 530", {"duplicate", "\"a\""}},
    /* tokens that every text may need */
    {"vocab.json", "\"a\": 97", "\"aaaa\": 97", {"byte token", "'a'"}},
    {"vocab.json", "\"a</w>\":", "\"aaaa</w>\":", {"byte token", "'a</w>'"}},
    {"vocab.json", "\"<|endoftext|>\"", "\"<|endof|>\"", {"<|endoftext|>"}},
    {"vocab.json", "\"<|startoftext|>\"", "\"<s>\"", {"<|startoftext|>"}},
    /* merges */
    {"merges.txt", "t h\n", "t zq\n", {"merges.txt", "t zq"}},
    {"merges.txt", "t h\n", "z q\n", {"merges.txt", "z q"}},
    {"merges.txt", "t h\n", "t\n", {"merges.txt", "two tokens", "'t'"}},
    {"merges.txt", "t h\n", "t h e\n", {"merges.txt", "two tokens", "'t h e'"}},
    {"merges.txt", "t h\n", " \n", {"merges.txt"}},
    {"merges.txt", "t h\n", "t\th\n", {"merges.txt", "two tokens"}},
    {"merges.txt", "#version", "\xef\xbb\xbf#version", {"merges.txt"}},
    {"merges.txt", "t h\n", "t \xff\n", {"merges.txt"}},
    /* what is no vocabulary */
    {"vocab.json", "{", "[", {"vocab.json", "line 1"}},
    {"vocab.json", "{", "\xef\xbb\xbf{", {"vocab.json", "line 1"}},
    {"vocab.json", "}", "", {"vocab.json"}},
    {"vocab.json", "\"flower</w>\"", "\"flow\\u0000er\"", {"vocab.json"}},
};

static void each_broken_file_is_refused_with_the_entry_named(void **state)
{
    char folder[HELP_FOLDER_BYTES];
    (void)state;
    for (size_t i = 0; i < IM_COUNT(broken); i++) {
        const file_case *c = &broken[i];
        im_error err = IM_ERROR_INIT;
        temporary_folder(folder);
        copy_model(folder, F32_MODEL);
        edit_text(folder, c->file, c->from, c->to);
        uint64_t start = im_clock_ns();
        im_code rc = open_in(folder, ROWS, &err);
        check_time(c->to, start, 100);
        assert_refused(rc, &err, IM_ERR_FORMAT, "model_tokenizer", folder, c->named[0], c->named[1],
                       c->named[2], NULL);
        assert_int_equal(open_in(folder, ROWS, NULL), rc);
        remove_folder(folder);
    }
}

static void whole_texts_that_are_no_vocabulary_are_refused(void **state)
{
    static const char *const texts[] = {"", "{}", "[]", "7", "null", "{\"a\": 0}", "\xff\xfe"};
    char folder[HELP_FOLDER_BYTES];
    (void)state;
    temporary_folder(folder);
    copy_model(folder, F32_MODEL);
    for (size_t i = 0; i < IM_COUNT(texts); i++) {
        im_error err = IM_ERROR_INIT;
        write_text(folder, "vocab.json", texts[i]);
        im_code rc = open_in(folder, ROWS, &err);
        assert_refused(rc, &err, IM_ERR_FORMAT, "model_tokenizer", "vocab.json", NULL);
    }
    remove_folder(folder);
}

/* An id of 2^31 - 1 in a vocabulary of three, with a table that would have such a row. */
static void no_array_is_sized_from_an_id(void **state)
{
    char folder[HELP_FOLDER_BYTES];
    im_error err = IM_ERROR_INIT;
    (void)state;
    temporary_folder(folder);
    write_text(folder, "vocab.json", "{\"a\": 0, \"b\": 1, \"c\": 2147483646}");
    write_text(folder, "merges.txt", "");
    memory_start();
    im_code rc = open_in(folder, 2147483647, &err);
    assert_true(TEST_SANITIZED || memory_peak() < 16u << 20);
    assert_refused(rc, &err, IM_ERR_FORMAT, "model_tokenizer", "byte token", NULL);
    rc = open_in(folder, 3, &err);
    assert_refused(rc, &err, IM_ERR_FORMAT, "model_tokenizer", "'c'", "2147483646", "3 rows", NULL);
    remove_folder(folder);
}

/* {"model": {"type": "BPE", …, "vocab": {…}, "merges": […]}} of the golden pair. */
static void write_whole(const char *folder, const char *head, bool pairs)
{
    im_bytes vocab = read_file(folder, "vocab.json");
    im_bytes merges = read_file(folder, "merges.txt");
    const char *line = strchr((const char *)merges.data, '\n') + 1;
    im_str text;
    im_str_init(&text, 1u << 20);
    im_str_addf(&text, "{\"model\": {%s\"vocab\": %s, \"merges\": [", head,
                (const char *)vocab.data);
    for (bool first = true; *line != '\0'; first = false) {
        const char *blank = strchr(line, ' ');
        const char *end = strchr(line, '\n');
        im_str_addf(&text, pairs ? "%s[\"%.*s\", \"%.*s\"]" : "%s\"%.*s %.*s\"", first ? "" : ", ",
                    (int)(blank - line), line, (int)(end - blank - 1), blank + 1);
        line = end + 1;
    }
    im_str_add_c(&text, "]}}");
    write_text(folder, "tokenizer.json", im_str_text(&text));
    im_str_clear(&text);
    im_bytes_clear(&vocab);
    im_bytes_clear(&merges);
}

static void tokenizer_json_means_the_same_as_the_pair(void **state)
{
    static const char *const heads[] = {
        "", "\"type\": \"BPE\", ",
        "\"type\": \"BPE\", \"end_of_word_suffix\": \"</w>\", \"unk_token\": null, "};
    static const char text[] = "The red flower and a car's 12 phototaking";
    uint32_t expected[CONTEXT];
    uint32_t ids[CONTEXT];
    size_t n_expected = 0;
    size_t n = 0;
    tokenizer *t = open_golden(F32_MODEL);
    (void)state;
    assert_int_equal(
        tokenizer_encode(t, im_view_from(text), CONTEXT, expected, &n_expected, NULL, NULL), IM_OK);
    tokenizer_close(t);
    for (size_t i = 0; i < 2 * IM_COUNT(heads); i++) {
        char folder[HELP_FOLDER_BYTES];
        temporary_folder(folder);
        copy_model(folder, F32_MODEL);
        write_whole(folder, heads[i / 2], i % 2 != 0);
        remove_file(folder, i % 2 != 0 ? "vocab.json" : "merges.txt"); /* half a pair is none */
        assert_int_equal(tokenizer_open(folder, ROWS, &t, NULL), IM_OK);
        assert_int_equal(tokenizer_encode(t, im_view_from(text), CONTEXT, ids, &n, NULL, NULL),
                         IM_OK);
        assert_int_equal(n, n_expected);
        assert_memory_equal(ids, expected, n * sizeof(*ids));
        tokenizer_close(t);
        remove_folder(folder);
    }
}

static void write_model(const char *folder, const char *head, const char *vocab, const char *merges)
{
    im_str text;
    im_str_init(&text, 1u << 20);
    im_str_addf(&text, "{\"model\": {%s\"vocab\": %s, \"merges\": %s}}", head, vocab, merges);
    write_text(folder, "tokenizer.json", im_str_text(&text));
    im_str_clear(&text);
}

static void a_tokenizer_json_of_another_kind_is_refused(void **state)
{
    static const char *const heads[][2] = {
        {"\"type\": \"Unigram\", ", "Unigram"},
        {"\"type\": 7, ", "BPE"},
        {"\"end_of_word_suffix\": null, ", "</w>"},
        {"\"end_of_word_suffix\": \"@@\", ", "@@"},
    };
    static const char *const merges[] = {"7",
                                         "{}",
                                         "[7]",
                                         "[[]]",
                                         "[[\"t\"]]",
                                         "[[\"t\",7]]",
                                         "[null]",
                                         "[\"t\"]",
                                         "[[\"z\",\"q\"]]",
                                         "[[\"\",\"t\"]]",
                                         "[\"t h e\"]"};
    static const char *const texts[] = {"{}", "[]", "7", "{\"model\": []}",
                                        "{\"model\": {\"vocab\": []}}"};
    char folder[HELP_FOLDER_BYTES];
    im_error err = IM_ERROR_INIT;
    (void)state;
    temporary_folder(folder);
    copy_model(folder, F32_MODEL);
    im_bytes vocab = read_file(folder, "vocab.json");
    remove_file(folder, "vocab.json");
    for (size_t i = 0; i < IM_COUNT(heads); i++) {
        write_model(folder, heads[i][0], (const char *)vocab.data, "[]");
        im_code rc = open_in(folder, ROWS, &err);
        assert_refused(rc, &err, IM_ERR_FORMAT, "model_tokenizer", "tokenizer.json", heads[i][1],
                       NULL);
    }
    for (size_t i = 0; i < IM_COUNT(merges); i++) {
        write_model(folder, "", (const char *)vocab.data, merges[i]);
        im_code rc = open_in(folder, ROWS, &err);
        assert_refused(rc, &err, IM_ERR_FORMAT, "model_tokenizer", "tokenizer.json", "merge", NULL);
    }
    for (size_t i = 0; i < IM_COUNT(texts); i++) {
        write_text(folder, "tokenizer.json", texts[i]);
        im_code rc = open_in(folder, ROWS, &err);
        assert_refused(rc, &err, IM_ERR_FORMAT, "model_tokenizer", "tokenizer.json", NULL);
    }
    remove_file(folder, "tokenizer.json");
    im_code rc = open_in(folder, ROWS, &err);
    assert_refused(rc, &err, IM_ERR_NOT_FOUND, "model_file_missing", "tokenizer.json", NULL);
    im_bytes_clear(&vocab);
    remove_folder(folder);
}

static void large_tokenizer_files_cost_neither_time_nor_memory(void **state)
{
    static const struct {
        const char *file, *head, *each;
        size_t n;
    } cases[] = {
        {"vocab.json", "{\"a\": [", "[],", 20u << 20}, {"vocab.json", "", "[", 100000},
        {"vocab.json", "{\"a\":", "{\"a\":", 100000},  {"merges.txt", "", "t h\n", 15u << 20},
        {"merges.txt", "", "\n", 60u << 20},           {"merges.txt", "t ", "h", 60u << 20}};
    char folder[HELP_FOLDER_BYTES];
    (void)state;
    for (size_t i = 0; i < IM_COUNT(cases); i++) {
        im_error err = IM_ERROR_INIT;
        im_str text;
        temporary_folder(folder);
        copy_model(folder, F32_MODEL);
        im_str_init(&text, 70u << 20);
        im_str_add_c(&text, cases[i].head);
        for (size_t j = 0; j < cases[i].n; j++) {
            im_str_add_c(&text, cases[i].each);
        }
        write_file(folder, cases[i].file, text.data, text.size);
        im_str_clear(&text);
        memory_start();
        uint64_t start = im_clock_ns();
        im_code rc = open_in(folder, ROWS, &err);
        check_time(cases[i].each, start, 2000);
        assert_true(TEST_SANITIZED || memory_peak() < 256u << 20);
        if (i == 4) { /* no merge at all: sound */
            assert_int_equal(rc, IM_OK);
        } else {
            assert_refused(rc, &err, IM_ERR_FORMAT, "model_tokenizer", cases[i].file, NULL);
        }
        remove_folder(folder);
    }
}

/* ---- merging against a slow twin ---- */

/* The first pair of least rank is joined, again and again: BPE as its paper says it. */
static size_t slow_merge(const tokenizer *t, uint32_t *ids, size_t n)
{
    for (;;) {
        const merge_slot *best = NULL;
        size_t at = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            const merge_slot *merge = tokenizer_merge(t, ids[i], ids[i + 1]);
            if (merge != NULL && (best == NULL || merge->rank < best->rank)) {
                best = merge;
                at = i;
            }
        }
        if (best == NULL) {
            return n;
        }
        ids[at] = best->id;
        memmove(ids + at + 1, ids + at + 2, (n - at - 2) * sizeof(*ids));
        n--;
    }
}

static void words_merge_as_a_slow_twin_merges_them(void **state)
{
    static const char *const pieces[] = {"t",  "h",    "e",  "a", "n", "d",       "i",
                                         "g",  "flow", "er", "f", "l", "o",       "w",
                                         "th", "r",    "c",  "p", "x", "\xc3\xa9"};
    tokenizer *t = open_golden(F32_MODEL);
    (void)state;
    srandom(11);
    for (size_t round = 0; round < 3000; round++) {
        char word[256];
        uint32_t ids[300];
        uint32_t expected[300];
        size_t size = 0;
        size_t n = 0;
        size_t n_pieces = 1 + (size_t)random() % 40;
        for (size_t i = 0; i < n_pieces; i++) {
            const char *piece = pieces[(size_t)random() % IM_COUNT(pieces)];
            memcpy(word + size, piece, strlen(piece));
            size += strlen(piece);
        }
        for (size_t i = 0; i < size; i++) {
            unsigned char byte = (unsigned char)word[i];
            expected[i] = i + 1 == size ? t->special.byte_end_id[byte] : t->special.byte_id[byte];
        }
        if (round == 1500) { /* from here on as from a file of packed weights: sorted */
            packed_pieces made = {0};
            assert_int_equal(tokenizer_pack(t, &made, NULL), IM_OK);
            assert_int_equal(made.n, 2);
            packed_pieces_clear(&made);
            im_free(t->merges);
            t->merges = NULL;
        }
        assert_int_equal(tokenizer_encode(t, im_view_of(word, size), 300, ids, &n, NULL, NULL),
                         IM_OK);
        size_t n_expected = slow_merge(t, expected, size);
        assert_int_equal(n, n_expected + 2);
        assert_memory_equal(ids + 1, expected, n_expected * sizeof(*ids));
    }
    tokenizer_close(t);
}

/* ---- T37, T38: texts ---- */

static im_encoder *open_text_model(void)
{
    char folder[1024];
    im_encoder *encoder = NULL;
    im_encoder_options options = {.towers = IM_TOWERS_TEXT};
    golden_path(folder, sizeof(folder), F32_MODEL, "");
    assert_int_equal(im_encoder_open(folder, &options, &encoder, NULL), IM_OK);
    return encoder;
}

static void texts_that_are_no_text_are_refused_with_the_byte_named(void **state)
{
    static const struct {
        const char *text;
        size_t size;
        const char *named;
    } cases[] = {{"a\xff", 2, "byte 2"},
                 {"\xc0\x80", 2, "byte 1"},            /* overlong NUL */
                 {"ab\xed\xa0\x80", 5, "byte 3"},      /* half of a surrogate pair */
                 {"abc\xf4\x90\x80\x80", 7, "byte 4"}, /* beyond U+10FFFF */
                 {"ab\xe2\x82", 4, "byte 3"},          /* cut */
                 {"abc\0d", 5, "byte 4"}};
    im_encoder *encoder = open_text_model();
    (void)state;
    for (size_t i = 0; i < IM_COUNT(cases); i++) {
        im_error err = IM_ERROR_INIT;
        im_view text = im_view_of(cases[i].text, cases[i].size);
        uint32_t ids[CONTEXT];
        size_t n = 0;
        float out[24];
        im_code rc = im_encoder_tokenize(encoder, text, ids, &n, NULL, &err);
        assert_refused(rc, &err, IM_ERR_INVALID, "query_encoding", cases[i].named, NULL);
        rc = im_encoder_texts(encoder, &text, 1, out, NULL, &err);
        assert_refused(rc, &err, IM_ERR_INVALID, "query_encoding", cases[i].named, NULL);
    }
    im_encoder_close(encoder);
}

static void a_text_of_8_kib_is_taken_and_one_byte_more_is_not(void **state)
{
    static char text[IM_LIMIT_QUERY_BYTES + 1];
    im_encoder *encoder = open_text_model();
    im_error err = IM_ERROR_INIT;
    float out[24];
    bool cut = false;
    (void)state;
    memset(text, 'x', sizeof(text));
    im_view view = im_view_of(text, IM_LIMIT_QUERY_BYTES);
    assert_int_equal(im_encoder_texts(encoder, &view, 1, out, &cut, NULL), IM_OK);
    assert_true(cut);
    view.size++;
    im_code rc = im_encoder_texts(encoder, &view, 1, out, &cut, &err);
    assert_refused(rc, &err, IM_ERR_LIMIT, "query_too_long", "8193", "8192", NULL);
    im_encoder_close(encoder);
}

/* Each a pattern that fills 8 KiB: one word, many words, marks that must be put in order, letters
 * that grow when they are lowered or composed, and special tokens. */
static void tokenizing_8_kib_of_anything_takes_at_most_50_ms(void **state)
{
    static const char *const patterns[] = {"x",
                                           "th",
                                           "flower",
                                           "a ",
                                           "1",
                                           "!",
                                           "' ",
                                           "'s",
                                           "\t",
                                           "\xc3\xa9",
                                           "e\xcc\x81",
                                           "\xc4\xb0",
                                           "\xe2\x84\xab",
                                           "\xef\xac\x81",
                                           "\xf0\x9f\x91\xa8\xe2\x80\x8d",
                                           "\xea\xb0\x81",
                                           "\xe1\x84\x80\xe1\x85\xa1",
                                           "\xcc\x81",
                                           "\xcc\xa7\xcc\x81",
                                           "\xf0\x9d\x85\xa0",
                                           "\xe0\xa5\x98",
                                           "<|endoftext|>",
                                           "<|startoftext|>a",
                                           "<|<|<|",
                                           "\xf4\x8f\xbf\xbf",
                                           "\xe3\x80\x80"};
    static char text[IM_LIMIT_QUERY_BYTES];
    static uint32_t ids[7 * IM_LIMIT_QUERY_BYTES];
    tokenizer *t = open_golden(F32_MODEL);
    (void)state;
    for (size_t i = 0; i <= IM_COUNT(patterns); i++) {
        size_t size = 0;
        size_t n = 0;
        bool last = i == IM_COUNT(patterns);
        const char *pattern = last ? "\xcc\x81" : patterns[i];
        while (size + strlen(pattern) <= sizeof(text)) {
            if (last && size >= sizeof(text) / 2) { /* marks in the worst order */
                pattern = "\xcc\xa7";
            }
            memcpy(text + size, pattern, strlen(pattern));
            size += strlen(pattern);
        }
        uint64_t start = im_clock_ns();
        assert_int_equal(
            tokenizer_encode(t, im_view_of(text, size), IM_COUNT(ids), ids, &n, NULL, NULL), IM_OK);
        check_time(last ? "marks in the worst order" : pattern, start, 50);
        for (size_t j = 0; j < n; j++) {
            assert_true(ids[j] < ROWS);
        }
    }
    tokenizer_close(t);
}

/* Begin and end stay, whatever is cut. */
static void a_text_is_cut_to_the_context_and_says_so(void **state)
{
    tokenizer *t = open_golden(F32_MODEL);
    static const char text[] = "1 2 3 4 5 6 7 8 9 1 2 3 4 5 6 7 8 9 1 2 3 4 5 6 7 8 9";
    (void)state;
    for (size_t context = 2; context < 40; context++) {
        uint32_t ids[40];
        size_t n = 0;
        bool cut = false;
        assert_int_equal(tokenizer_encode(t, im_view_from(text), context, ids, &n, &cut, NULL),
                         IM_OK);
        assert_int_equal(n, IM_MIN(context, (size_t)29));
        assert_int_equal(cut, context < 29);
        assert_int_equal(ids[0], t->special.begin);
        assert_int_equal(ids[n - 1], t->special.end);
    }
    tokenizer_close(t);
}

/* The vector ends at the first end token, as the reference's does: what stands behind it is lost,
 * which is said. */
static void words_behind_an_end_token_are_not_lost_in_silence(void **state)
{
    static const struct {
        const char *text;
        bool cut;
    } cases[] = {{"a red car", false},
                 {"", false},
                 {"<|endoftext|> a red car", true},
                 {"a<|endoftext|>", true},
                 {"a <|startoftext|> car", false},
                 {"a [PAD] </s> car", false}};
    im_encoder *encoder = open_text_model();
    (void)state;
    for (size_t i = 0; i < IM_COUNT(cases); i++) {
        im_view view = im_view_from(cases[i].text);
        float out[24];
        bool cut = !cases[i].cut;
        assert_int_equal(im_encoder_texts(encoder, &view, 1, out, &cut, NULL), IM_OK);
        if (cut != cases[i].cut) {
            fail_msg("'%s': cut is %d", cases[i].text, cut);
        }
    }
    im_encoder_close(encoder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_broken_file_is_refused_with_the_entry_named),
        cmocka_unit_test(whole_texts_that_are_no_vocabulary_are_refused),
        cmocka_unit_test(no_array_is_sized_from_an_id),
        cmocka_unit_test(tokenizer_json_means_the_same_as_the_pair),
        cmocka_unit_test(a_tokenizer_json_of_another_kind_is_refused),
        cmocka_unit_test(large_tokenizer_files_cost_neither_time_nor_memory),
        cmocka_unit_test(words_merge_as_a_slow_twin_merges_them),
        cmocka_unit_test(texts_that_are_no_text_are_refused_with_the_byte_named),
        cmocka_unit_test(a_text_of_8_kib_is_taken_and_one_byte_more_is_not),
        cmocka_unit_test(tokenizing_8_kib_of_anything_takes_at_most_50_ms),
        cmocka_unit_test(a_text_is_cut_to_the_context_and_says_so),
        cmocka_unit_test(words_behind_an_end_token_are_not_lost_in_silence),
    };
    return cmocka_run_group_tests_name("encoder tokenizer", tests, NULL, NULL);
}
