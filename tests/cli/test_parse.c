/* Arguments: commands, options, parts in order, and sentences about what is wrong. */
#include "base/fault.h"
#include "help.h"

static void expect_refused(const char *line, const char *in_message, const char *in_hint)
{
    cli_args args;
    im_error err = IM_ERROR_INIT;
    im_code rc = test_parse(line, &args, &err);
    if (rc != IM_ERR_INVALID || strstr(err.message, in_message) == NULL ||
        strstr(err.hint, in_hint) == NULL) {
        print_error("'%s' gives %d '%s' '%s', expected '%s' '%s'\n", line, (int)rc, err.message,
                    err.hint, in_message, in_hint);
    }
    assert_int_equal(rc, IM_ERR_INVALID);
    assert_non_null(strstr(err.message, in_message));
    assert_non_null(strstr(err.hint, in_hint));
    cli_args_clear(&args);
}

static void expect_taken(const char *line, cli_args *args)
{
    im_error err = IM_ERROR_INIT;
    im_code rc = test_parse(line, args, &err);
    if (rc != IM_OK) {
        print_error("'%s': %s\n", line, err.message);
    }
    assert_int_equal(rc, IM_OK);
}

static void query_words_are_joined_by_one_blank(void **state)
{
    (void)state;
    cli_args args;
    expect_taken("imago search red  car \"on  a\" beach", &args);
    assert_string_equal(im_str_text(&args.query), "red car on  a beach");
    assert_int_equal(args.n_parts, 0);
    cli_args_clear(&args);
    expect_taken("imago search red --image x.jpg car", &args);
    assert_string_equal(im_str_text(&args.query), "red car");
    assert_int_equal(args.n_parts, 1);
    cli_args_clear(&args);
}

static void filters_are_joined(void **state)
{
    (void)state;
    cli_args args;
    expect_taken("imago search --filter tag:x a", &args);
    assert_string_equal(im_str_text(&args.filter), "tag:x");
    cli_args_clear(&args);
    expect_taken("imago search --filter \"tag:x or tag:y\" --filter type:png --filter=has:gps",
                 &args);
    assert_string_equal(im_str_text(&args.filter), "((tag:x or tag:y) (type:png)) (has:gps)");
    cli_args_clear(&args);
    expect_refused("imago search a --filter \"\"", "'--filter' is empty", "");
}

/* One name, two options: the command decides. */
static void batch_is_a_number_or_a_file(void **state)
{
    (void)state;
    cli_args args;
    expect_taken("imago search --batch queries.jsonl", &args);
    assert_string_equal(args.options.batch_file, "queries.jsonl");
    cli_args_clear(&args);
    expect_taken("imago --batch 4 add x", &args);
    assert_int_equal(args.options.batch, 4);
    assert_null(args.options.batch_file);
    cli_args_clear(&args);
    expect_refused("imago add x --batch queries.jsonl", "'--batch'", "");
}

static void a_weight_belongs_to_the_part_before_it(void **state)
{
    (void)state;
    cli_args args;
    expect_taken("imago search --text beach --weight 2 --not people --weight 3 --image a --text t "
                 "--weight=0.25 --not-image b",
                 &args);
    assert_int_equal(args.n_parts, 5);
    const double weights[] = {2, -3, 1, 0.25, -0.5};
    for (size_t i = 0; i < 5; i++) {
        assert_true(cli_part_weight(&args.parts[i], 1, -0.5) == weights[i]);
    }
    assert_string_equal(args.parts[1].text, "people");
    assert_int_equal(args.parts[2].kind, IM_CLI_FILE);
    cli_args_clear(&args);
}

static void a_weight_that_is_none_is_refused(void **state)
{
    static const char *const bad[] = {"0",   "-1",   "nan", "inf",   "10abc", "100.1",
                                      "1e9", "\"\"", "1,5", "1e400", "0x10"};
    (void)state;
    for (size_t i = 0; i < IM_COUNT(bad); i++) {
        char line[128];
        (void)snprintf(line, sizeof(line), "imago search --text a --weight %s", bad[i]);
        expect_refused(line, "--weight", "--not");
    }
    expect_refused("imago search a --weight 2", "follows none of --text", "^2");
    expect_refused("imago search --text a --weight 2 --weight 3", "already", "");
}

static void a_box_belongs_to_the_picture_before_it(void **state)
{
    (void)state;
    cli_args args;
    expect_taken("imago search --image a --crop 1,2,3,4 --id 7 --crop 0,0,50%,50%", &args);
    assert_string_equal(args.parts[0].crop, "1,2,3,4");
    assert_string_equal(args.parts[1].crop, "0,0,50%,50%");
    assert_int_equal(args.parts[1].kind, IM_CLI_ITEM);
    cli_args_clear(&args);
    expect_taken("imago similar a.jpg --crop 1,2,3,4", &args);
    assert_string_equal(args.parts[0].crop, "1,2,3,4");
    cli_args_clear(&args);
    expect_refused("imago search text --crop 1,2,3,4", "does not follow a picture", "--image");
    expect_refused("imago search --crop 1,2,3,4", "does not follow a picture", "--image");
    expect_refused("imago similar a --crop 1,2,3,4 --crop 1,2,3,4", "already", "");
}

static void numbers_out_of_range_are_refused(void **state)
{
    static const char *const bad[] = {"0",     "-1",
                                      "10001", "2147483648",
                                      "10abc", "9223372036854775808",
                                      "\"\"",  "1.5",
                                      "+5",    "99999999999999999999999999",
                                      "0x10",  "\" 5\""};
    (void)state;
    for (size_t i = 0; i < IM_COUNT(bad); i++) {
        char line[128];
        (void)snprintf(line, sizeof(line), "imago search a -k %s", bad[i]);
        expect_refused(line, "'--k'", "");
    }
    expect_refused("imago search a --offset 1000000000", "'--offset'", "");
    expect_refused("imago search a --engine turbo", "none of auto|scan|flat", "");
}

static void sizes_take_units(void **state)
{
    (void)state;
    cli_args args;
    expect_taken("imago add x --max-pixels 2G --max-decoder-bytes 3K", &args);
    assert_true(args.options.max_pixels == 2ull << 30);
    assert_true(args.options.max_decoder_bytes == 3072);
    cli_args_clear(&args);
    expect_refused("imago add x --max-pixels 99999999999999999G", "'--max-pixels'", "");
    expect_refused("imago add x --max-pixels K", "'--max-pixels'", "");
    expect_refused("imago add x --max-side 2K", "'--max-side'", "");
}

static void letters_are_taken_together_and_apart(void **state)
{
    (void)state;
    cli_args args;
    expect_taken("imago search -qk5 a -vv0", &args);
    assert_true(args.options.quiet && args.options.print0);
    assert_true(args.options.k == 5 && args.options.verbose == 2);
    cli_args_clear(&args);
    expect_taken("imago search a -k 7", &args);
    assert_true(args.options.k == 7);
    cli_args_clear(&args);
    expect_refused("imago search a -k", "wants a value", "");
    expect_refused("imago search a --library", "wants a value", "");
    expect_refused("imago search a --json=yes", "takes no value", "");
}

static void options_may_stand_before_the_command(void **state)
{
    (void)state;
    cli_args args;
    expect_taken("imago --library /l --json -k 3 search --engine flat red", &args);
    assert_int_equal(args.command, IM_CMD_SEARCH);
    assert_string_equal(args.options.library, "/l");
    assert_true(args.options.json && args.options.k == 3 && args.options.engine == 2);
    assert_string_equal(im_str_text(&args.query), "red");
    cli_args_clear(&args);
    expect_taken("imago model --library /l info NAME", &args);
    assert_int_equal(args.command, IM_CMD_MODEL_INFO);
    assert_string_equal(args.operands[0], "NAME");
    cli_args_clear(&args);
}

static void what_stands_behind_two_dashes_is_no_option(void **state)
{
    (void)state;
    cli_args args;
    expect_taken("imago search -- -red --json", &args);
    assert_string_equal(im_str_text(&args.query), "-red --json");
    assert_false(args.options.json);
    cli_args_clear(&args);
    expect_taken("imago add -- -rf.jpg", &args);
    assert_string_equal(args.operands[0], "-rf.jpg");
    cli_args_clear(&args);
    expect_taken("imago similar -", &args); /* a lone dash is an operand */
    assert_string_equal(args.parts[0].text, "-");
    cli_args_clear(&args);
}

static void a_word_with_a_dash_is_told_how_to_be_written(void **state)
{
    (void)state;
    expect_refused("imago search car -red", "no option '-red'", "--not red");
    expect_refused("imago search car -red", "no option '-red'", "-- -red");
    expect_refused("imago search a --jsom", "no option '--jsom'", "--json");
    expect_refused("imago add x --wieght 2", "no option '--wieght'", "--help");
    expect_refused("imago add -rf.jpg", "no option '-rf.jpg'", "'--'");
}

static void unknown_commands_get_the_nearest_name(void **state)
{
    (void)state;
    expect_refused("imago serach red", "no command 'serach'", "imago search");
    expect_refused("imago modle list", "no command 'modle'", "imago help");
    expect_refused("imago model lits", "no command 'model lits'", "imago model list");
    expect_refused("imago frobnicate", "no command 'frobnicate'", "imago help");
    expect_refused("imago", "a command is missing", "imago help");
    expect_refused("imago model", "one word more", "imago model --help");
    expect_refused("imago -- search", "no command", "");
}

static void a_list_keeps_its_texts_in_order(void **state)
{
    (void)state;
    cli_args args;
    expect_taken("imago tag id:1 --add b --remove=c --add \"\" --add b a.jpg", &args);
    assert_int_equal(args.n_operands, 2);
    assert_int_equal(args.options.add_tags.n, 3);
    assert_string_equal(args.options.add_tags.texts[0], "b");
    assert_string_equal(args.options.add_tags.texts[1], "");
    assert_string_equal(args.options.add_tags.texts[2], "b");
    assert_int_equal(args.options.remove_tags.n, 1);
    assert_string_equal(args.options.remove_tags.texts[0], "c");
    cli_args_clear(&args);
    expect_refused("imago tag id:1 --add", "wants a value", "");
    expect_refused("imago show id:1 --add x", "no option '--add'", "");
}

static void operands_are_counted(void **state)
{
    (void)state;
    expect_refused("imago remove", "wants id:N|PATH...", "imago remove --help");
    expect_refused("imago similar", "wants FILE|id:N", "--help");
    expect_refused("imago status x", "does not take 'x'", "usage: imago status");
    expect_refused("imago similar a b", "does not take 'b'", "usage");
    cli_args args;
    expect_taken("imago add --help", &args); /* help wants no operand */
    assert_true(args.options.help);
    cli_args_clear(&args);
    expect_taken("imago model --help", &args);
    assert_string_equal(args.group, "model");
    assert_false(args.has_command);
    cli_args_clear(&args);
    expect_taken("imago --version", &args);
    assert_true(args.options.version);
    cli_args_clear(&args);
}

static void parts_of_embed_keep_their_order(void **state)
{
    (void)state;
    cli_args args;
    expect_taken("imago embed a.jpg --text \"a cat\" b.jpg --text x", &args);
    assert_int_equal(args.n_parts, 4);
    assert_int_equal(args.parts[0].kind, IM_CLI_OPERAND);
    assert_int_equal(args.parts[1].kind, IM_CLI_TEXT);
    assert_string_equal(args.parts[1].text, "a cat");
    assert_string_equal(args.parts[2].text, "b.jpg");
    assert_string_equal(args.parts[3].text, "x");
    cli_args_clear(&args);
}

static void json_is_known_even_when_parsing_fails(void **state)
{
    (void)state;
    cli_args args;
    im_error err = IM_ERROR_INIT;
    assert_int_equal(test_parse("imago search --nonsense --json", &args, &err), IM_ERR_INVALID);
    assert_true(args.options.json);
    cli_args_clear(&args);
    assert_int_equal(test_parse("imago sarch --text --json", &args, &err), IM_ERR_INVALID);
    assert_false(args.options.json); /* it is the text */
    cli_args_clear(&args);
}

static void distance_counts_edits(void **state)
{
    (void)state;
    assert_int_equal(cli_distance("search", "search"), 0);
    assert_int_equal(cli_distance("serach", "search"), 1);
    assert_int_equal(cli_distance("", "abc"), 3);
    assert_int_equal(cli_distance("kitten", "sitting"), 3);
    char longest[200];
    memset(longest, 'a', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    assert_true(cli_distance(longest, "search") == SIZE_MAX);
}

static void parsing_survives_each_failed_allocation(void **state)
{
    (void)state;
    im_code rc = IM_ERR_NOMEM;
    size_t before = im_live_allocations();
    size_t nth = 0;
    for (; rc != IM_OK; nth++) {
        cli_args args;
        im_error err = IM_ERROR_INIT;
        im_fault_set(IM_FAULT_ALLOC, nth, 0);
        rc = test_parse("imago search red car --image x --weight 2", &args, &err);
        bool fired = im_fault_fired(IM_FAULT_ALLOC);
        im_fault_clear();
        assert_int_equal(rc, fired ? IM_ERR_NOMEM : IM_OK);
        cli_args_clear(&args);
        assert_int_equal(im_live_allocations(), before);
    }
    assert_true(nth > 2); /* the hook was reached */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(query_words_are_joined_by_one_blank),
        cmocka_unit_test(filters_are_joined),
        cmocka_unit_test(batch_is_a_number_or_a_file),
        cmocka_unit_test(a_weight_belongs_to_the_part_before_it),
        cmocka_unit_test(a_weight_that_is_none_is_refused),
        cmocka_unit_test(a_box_belongs_to_the_picture_before_it),
        cmocka_unit_test(numbers_out_of_range_are_refused),
        cmocka_unit_test(sizes_take_units),
        cmocka_unit_test(letters_are_taken_together_and_apart),
        cmocka_unit_test(options_may_stand_before_the_command),
        cmocka_unit_test(what_stands_behind_two_dashes_is_no_option),
        cmocka_unit_test(a_word_with_a_dash_is_told_how_to_be_written),
        cmocka_unit_test(unknown_commands_get_the_nearest_name),
        cmocka_unit_test(a_list_keeps_its_texts_in_order),
        cmocka_unit_test(operands_are_counted),
        cmocka_unit_test(parts_of_embed_keep_their_order),
        cmocka_unit_test(json_is_known_even_when_parsing_fails),
        cmocka_unit_test(distance_counts_edits),
        cmocka_unit_test(parsing_survives_each_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
