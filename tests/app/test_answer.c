/* tests/app/test_answer.c — covers app/answer.c: the object of an answer, to the byte. */
#include "base/fault.h"
#include "tests/app/help.h"

static float cosines[2] = {0.25f, -0.5f};
static float contributions[2] = {0.25f, 0.25f};

/* An answer of one hit and n_parts parts; `parts` and `hit` are the caller's. */
static im_answer answer_of(im_query_part *parts, size_t n_parts, im_search_hit *hit)
{
    im_answer answer = {.query = (char *)(uintptr_t) "red",
                        .model = "small",
                        .k = 20,
                        .has_total = true,
                        .total = 7,
                        .filtered = 8,
                        .scanned = 9,
                        .exact = true,
                        .engine = "scan",
                        .n_parts = n_parts,
                        .parts = parts,
                        .hits = hit,
                        .n_hits = hit != NULL ? 1 : 0,
                        .parse_ms = 0.5,
                        .encode_ms = 1,
                        .search_ms = 2,
                        .fetch_ms = 3};
    return answer;
}

static im_search_hit a_hit(const char *path)
{
    im_search_hit hit = {.rank = 3,
                         .item = {.id = 17, .width = 40, .height = 30},
                         .path = (char *)(uintptr_t)path,
                         .online = true,
                         .score = 0.25f,
                         .cosines = cosines,
                         .contributions = contributions};
    return hit;
}

static void expect(const im_answer *answer, const char *text)
{
    im_json_writer w;
    json_t *tree = NULL;
    im_error err = IM_ERROR_INIT;
    im_json_init(&w, 1u << 20);
    im_answer_json(&w, answer);
    assert_true(im_json_ok(&w));
    assert_string_equal(im_str_text(&w.out), text);
    help_ok(im_json_parse(im_str_text(&w.out), w.out.size, "answer", &tree, &err), &err);
    json_decref(tree);
    im_json_clear(&w);
}

#define HEAD                                                                                    \
    "{\"query\":\"red\",\"model\":\"small\",\"k\":20,\"total\":7,\"filtered\":8,\"scanned\":9," \
    "\"exact\":true,\"engine\":\"scan\",\"cursor\":"
#define TOOK \
    "\"took_ms\":{\"parse\":0.5,\"encode\":1,\"search\":2,\"fetch\":3,\"vlm\":0},\"warnings\":["
#define TEXT_PART "\"parts\":[{\"type\":\"text\",\"text\":\"red\",\"weight\":1}],"

static void each_field_is_there_in_its_order(void **state)
{
    im_query_part part = {.kind = IM_PART_TEXT, .text = im_view_from("red"), .weight = 1};
    im_search_hit hit = a_hit("/p/a.jpg");
    im_answer answer = answer_of(&part, 1, &hit);
    (void)state;
    answer.cursor = (char *)(uintptr_t) "next";
    answer.warnings[answer.n_warnings++] = (char *)(uintptr_t) "text was cut at 77 tokens";
    expect(&answer,
           HEAD "\"next\"," TEXT_PART TOOK
                "\"text was cut at 77 tokens\"],\"hits\":[{\"rank\":3,\"id\":17,\"path\":"
                "\"/p/a.jpg\",\"online\":true,\"score\":0.25,\"relevance\":null,\"cosine\":"
                "0.25,\"width\":40,\"height\":30,\"taken\":null,\"parts\":[{\"part\":0,"
                "\"cosine\":0.25,\"contribution\":0.25}]}]}");
}

static void no_hits_and_no_query_are_null_and_empty_not_absent(void **state)
{
    im_query_part part = {.kind = IM_PART_TEXT, .text = im_view_from("red"), .weight = 1};
    im_answer answer = answer_of(&part, 1, NULL);
    (void)state;
    expect(&answer, HEAD "null," TEXT_PART TOOK "],\"hits\":[]}");
    answer.query = NULL;
    im_json_writer w;
    im_json_init(&w, 1u << 20);
    im_answer_json(&w, &answer);
    assert_int_equal(strncmp(im_str_text(&w.out), "{\"query\":null,", 14), 0);
    im_json_clear(&w);
}

/* What the parts were: texts, files, items, standard input, boxes in pixels and per cent. */
static void parts_are_told_as_they_were_asked(void **state)
{
    im_query_part parts[4] = {
        {.kind = IM_PART_TEXT, .text = im_view_from("say \"hi\"\n\x1b[2J"), .weight = -0.5},
        {.kind = IM_PART_PICTURE,
         .path = "/p/q.png",
         .weight = 2.5,
         .has_box = true,
         .box = {10, 20.5, 30, 40, {false, false, false, false}}},
        {.kind = IM_PART_PICTURE,
         .item = 17,
         .weight = 1,
         .has_box = true,
         .box = {0, 12.5, 100, 50, {true, true, false, true}}},
        {.kind = IM_PART_PICTURE, .weight = 1},
    };
    im_answer answer = answer_of(parts, 4, NULL);
    (void)state;
    expect(&answer,
           HEAD "null,\"parts\":[{\"type\":\"text\",\"text\":\"say \\\"hi\\\"\\n\\u001b[2J\","
                "\"weight\":-0.5},{\"type\":\"picture\",\"source\":\"/p/q.png\",\"weight\":2.5,"
                "\"crop\":[10,20.5,30,40]},{\"type\":\"picture\",\"source\":\"#17\",\"weight\":1,"
                "\"crop\":[\"0%\",\"12.5%\",100,\"50%\"]},{\"type\":\"picture\",\"source\":\"-\","
                "\"weight\":1}]," TOOK "],\"hits\":[]}");
}

static json_t *first_hit(const im_answer *answer)
{
    im_json_writer w;
    json_t *tree = NULL;
    im_error err = IM_ERROR_INIT;
    im_json_init(&w, 1u << 20);
    im_answer_json(&w, answer);
    help_ok(im_json_parse(im_str_text(&w.out), w.out.size, "answer", &tree, &err), &err);
    im_json_clear(&w);
    json_t *hit = json_incref(json_array_get(json_object_get(tree, "hits"), 0));
    json_decref(tree);
    return hit;
}

static void with_several_parts_there_is_no_single_cosine(void **state)
{
    im_query_part parts[2] = {{.kind = IM_PART_TEXT, .text = im_view_from("a"), .weight = 1},
                              {.kind = IM_PART_TEXT, .text = im_view_from("b"), .weight = -0.5}};
    im_search_hit hit = a_hit("/p");
    im_answer answer = answer_of(parts, 2, &hit);
    (void)state;
    json_t *tree = first_hit(&answer);
    assert_true(json_is_null(json_object_get(tree, "cosine")));
    json_t *second = json_array_get(json_object_get(tree, "parts"), 1);
    assert_int_equal(json_integer_value(json_object_get(second, "part")), 1);
    assert_true(json_number_value(json_object_get(second, "cosine")) == -0.5);
    assert_true(json_number_value(json_object_get(second, "contribution")) == 0.25);
    json_decref(tree);
}

static void paths_come_back_to_the_byte(void **state)
{
    im_query_part part = {.kind = IM_PART_TEXT, .text = im_view_from("a"), .weight = 1};
    static const struct {
        const char *path;
        const char *text; /* NULL: null */
        const char *base64;
    } cases[] = {
        {NULL, NULL, NULL},
        {"/p/\xc3\xa9 \"q\" \\ \n.png", "/p/\xc3\xa9 \"q\" \\ \n.png", NULL},
        {"/p/\xff\xfe.png", "/p/\xef\xbf\xbd\xef\xbf\xbd.png", "L3Av//4ucG5n"},
        {"\xe2\x80", "\xef\xbf\xbd", "4oA="}, /* cut in a character */
    };
    (void)state;
    for (size_t i = 0; i < IM_COUNT(cases); i++) {
        im_search_hit hit = a_hit(cases[i].path);
        im_answer answer = answer_of(&part, 1, &hit);
        json_t *tree = first_hit(&answer);
        const char *text = json_string_value(json_object_get(tree, "path"));
        const char *base64 = json_string_value(json_object_get(tree, "path_b64"));
        assert_true(json_object_get(tree, "path") != NULL);
        assert_true((text == NULL) == (cases[i].text == NULL));
        assert_true((base64 == NULL) == (cases[i].base64 == NULL));
        if (base64 != NULL) {
            assert_string_equal(base64, cases[i].base64);
        } else if (text != NULL) {
            assert_string_equal(text, cases[i].text);
        }
        json_decref(tree);
    }
}

static void dates_keep_their_offset_and_odd_ones_do_no_harm(void **state)
{
    im_query_part part = {.kind = IM_PART_TEXT, .text = im_view_from("a"), .weight = 1};
    static const struct {
        int64_t seconds;
        bool has_offset;
        int minutes;
        const char *text; /* NULL: null */
    } cases[] = {
        {0, false, 0, "1970-01-01T00:00:00"},
        {1622715072, false, 0, "2021-06-03T10:11:12"},
        {1622715072, true, 0, "2021-06-03T10:11:12+00:00"},
        {1622715072, true, 330, "2021-06-03T10:11:12+05:30"},
        {1622715072, true, -30, "2021-06-03T10:11:12-00:30"},
        {-1, true, -840, "1969-12-31T23:59:59-14:00"},
        {2147483648, false, 0, "2038-01-19T03:14:08"},
        {INT64_MAX, true, 60, NULL},
        {INT64_MIN, false, 0, NULL},
    };
    (void)state;
    for (size_t i = 0; i < IM_COUNT(cases); i++) {
        im_search_hit hit = a_hit("/p");
        hit.item.has_taken = true;
        hit.item.taken_s = cases[i].seconds;
        hit.item.has_taken_offset = cases[i].has_offset;
        hit.item.taken_offset_min = (int16_t)cases[i].minutes;
        im_answer answer = answer_of(&part, 1, &hit);
        json_t *tree = first_hit(&answer);
        const char *text = json_string_value(json_object_get(tree, "taken"));
        assert_non_null(json_object_get(tree, "taken"));
        assert_true((text == NULL) == (cases[i].text == NULL));
        if (text != NULL) {
            assert_string_equal(text, cases[i].text);
        }
        json_decref(tree);
    }
}

/* A line that is not whole must not pass for one. */
static void each_failed_allocation_is_seen_in_the_writer(void **state)
{
    im_query_part part = {.kind = IM_PART_TEXT, .text = im_view_from("a"), .weight = 1};
    im_search_hit hit = a_hit("/p/\xff.png");
    im_answer answer = answer_of(&part, 1, &hit);
    im_json_writer whole;
    bool fired = true;
    size_t n = 0;
    (void)state;
    im_json_init(&whole, 1u << 20);
    im_answer_json(&whole, &answer);
    while (fired) {
        im_json_writer w;
        im_json_init(&w, 1u << 20);
        im_fault_set(IM_FAULT_ALLOC, n++, 0);
        im_answer_json(&w, &answer);
        fired = im_fault_fired(IM_FAULT_ALLOC);
        im_fault_clear();
        assert_true(im_json_ok(&w) != fired);
        if (!fired) {
            assert_string_equal(im_str_text(&w.out), im_str_text(&whole.out));
        }
        im_json_clear(&w);
    }
    assert_true(n > 2);
    im_json_clear(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_field_is_there_in_its_order),
        cmocka_unit_test(no_hits_and_no_query_are_null_and_empty_not_absent),
        cmocka_unit_test(parts_are_told_as_they_were_asked),
        cmocka_unit_test(with_several_parts_there_is_no_single_cosine),
        cmocka_unit_test(paths_come_back_to_the_byte),
        cmocka_unit_test(dates_keep_their_offset_and_odd_ones_do_no_harm),
        cmocka_unit_test(each_failed_allocation_is_seen_in_the_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
