/* tests/cli/test_cmd_search.c — what `search` and `similar` ask of app/ and what they print. */
#include "fake_app.h"
#include "help_run.h"

static void hits_are_stable_lines_off_a_terminal(void **state)
{
    static const char *const paths[] = {"/a/plain.jpg", "/a/two words\n.jpg", NULL};
    (void)state;
    fake.paths = paths;
    fake.n_paths = 3;
    expect("imago search red car", 0,
           "2.5000\tid:10\t/a/plain.jpg\n1.5000\tid:11\t$'/a/two words\\n.jpg'\n"
           "0.5000\tid:12\t\n",
           "");
    expect("imago search red --paths", 0, "/a/plain.jpg\n$'/a/two words\\n.jpg'\n", "");
    run("imago search red -0");
    assert_int_equal(result.out_size, strlen(paths[0]) + 1 + strlen(paths[1]) + 1);
    assert_string_equal(result.out, paths[0]);
    assert_string_equal(result.out + strlen(paths[0]) + 1, paths[1]);
    expect("imago search red --json", 0, "{\"k\":3}\n", "");
}

static void no_hits_are_said_on_standard_error_only(void **state)
{
    (void)state;
    expect("imago search red", 0, "", "imago: no hits\n");
    expect("imago search red --quiet", 0, "", "");
    run("imago search red -v");
    assert_non_null(strstr(result.err, "scanned by engine scan"));
}

static void parts_reach_the_search_with_weights_and_boxes(void **state)
{
    (void)state;
    run("imago search sea --text beach --weight 2 --not people --image a.jpg --crop 1,2,30%,4 --id "
        "7 "
        "--weight 0.5 -k 5 --offset 3 --engine flat --threads 2");
    assert_int_equal(result.code, 0);
    assert_int_equal(fake.search.n_parts, 4);
    assert_string_equal("beach", fake.parts[0].text.data != NULL ? "beach" : "");
    assert_true(fake.parts[0].weight == 2 && fake.parts[1].weight == -0.5);
    assert_int_equal(fake.parts[2].kind, IM_PART_PICTURE);
    assert_true(fake.parts[2].has_box && fake.parts[2].box.percent[2]);
    assert_true(fake.parts[3].item == 7 && fake.parts[3].weight == 0.5);
    assert_true(fake.search.k == 5 && fake.search.offset == 3);
    assert_true(fake.engine == IM_ENGINE_FLAT && fake.threads == 2);
    assert_string_equal(fake.text, "sea");
    assert_true(fake.search.how.leave_out == 0);
    assert_false(fake.writable);
}

static void filters_are_joined(void **state)
{
    (void)state;
    run("imago search --filter tag:x a");
    assert_string_equal(fake.filter, "tag:x");
    run("imago similar id:1 --filter \"tag:x or tag:y\" --filter=has:gps");
    assert_string_equal(fake.filter, "(tag:x or tag:y) (has:gps) ");
    run("imago search a");
    assert_string_equal(fake.filter, "");
    run("imago search a --filter \"\"");
    assert_int_equal(result.code, 2);
}

static void queries_that_cannot_be_are_refused_before_a_library_is_opened(void **state)
{
    static const struct {
        const char *line;
        const char *reason;
        int code;
    } bad[] = {
        {"imago search --json", "query_empty", 2},
        {"imago search --json \"\"", "query_empty", 2},
        {"imago search --json \"  \"", "query_empty", 2},
        {"imago search --json a --combine any --not b", "invalid", 2},
        {"imago search --json --image a --crop 1,2,3", "query_box", 2},
        {"imago search --json --id x", "invalid", 2},
        {"imago search --json a --offset 999999 -k 10000", "invalid", 2},
        {"imago search --json a --offset 1 --cursor x", "invalid", 2},
        {"imago search --json a -0", "invalid", 2},
        {"imago search --json --image - --image -", "picture_empty", 5},
        {"imago similar --json id:x", "invalid", 2},
        {"imago similar --json 99999999999999999999", "invalid", 2},
    };
    (void)state;
    fake.library_missing = true; /* would be exit 3 */
    for (size_t i = 0; i < IM_COUNT(bad); i++) {
        char code[64];
        run(bad[i].line);
        (void)snprintf(code, sizeof(code), "{\"error\":{\"code\":\"%s\"", bad[i].reason);
        if (result.code != bad[i].code || strncmp(result.err, code, strlen(code)) != 0) {
            print_error("'%s' gives %d %s", bad[i].line, result.code, result.err);
        }
        assert_int_equal(result.code, bad[i].code);
        assert_int_equal(strncmp(result.err, code, strlen(code)), 0);
        assert_string_equal(result.out, "");
    }
}

static void a_picture_comes_from_standard_input_once(void **state)
{
    (void)state;
    run_with_input("imago similar -", "picture bytes");
    assert_int_equal(result.code, 0);
    assert_int_equal(fake.parts[0].bytes.size, strlen("picture bytes"));
    assert_null(fake.parts[0].path);
    run_with_input("imago search --image - --not-image -", "picture bytes");
    assert_int_equal(result.code, 2);
    assert_non_null(strstr(result.err, "only one picture"));
}

static void similar_leaves_its_own_item_out(void **state)
{
    (void)state;
    run("imago similar id:17");
    assert_true(fake.parts[0].item == 17 && fake.search.how.leave_out == 17);
    run("imago similar ./id:17");
    assert_true(fake.parts[0].item == 0 && fake.search.how.leave_out == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(hits_are_stable_lines_off_a_terminal, run_forget),
        cmocka_unit_test_setup(no_hits_are_said_on_standard_error_only, run_forget),
        cmocka_unit_test_setup(parts_reach_the_search_with_weights_and_boxes, run_forget),
        cmocka_unit_test_setup(filters_are_joined, run_forget),
        cmocka_unit_test_setup(queries_that_cannot_be_are_refused_before_a_library_is_opened,
                               run_forget),
        cmocka_unit_test_setup(a_picture_comes_from_standard_input_once, run_forget),
        cmocka_unit_test_setup(similar_leaves_its_own_item_out, run_forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
