/* Help, manual and completions: every row is there, and the shells and man take them. */
#include "help.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void help_of_a_command_names_its_options_and_examples(void **state)
{
    (void)state;
    for (size_t c = 0; c < IM_CMD_COUNT; c++) {
        test_stream stream;
        test_stream_open(&stream);
        cli_help_command(&stream.out, (cli_command_id)c);
        const char *text = test_stream_text(&stream);
        assert_non_null(strstr(text, cli_commands[c].words));
        assert_non_null(strstr(text, cli_commands[c].summary));
        assert_non_null(strstr(text, "\nexamples\n"));
        for (size_t i = 0; i < IM_OPT_COUNT; i++) {
            char form[64];
            (void)snprintf(form, sizeof(form), "--%s%s", cli_option_table[i].name,
                           cli_option_table[i].value != NULL ? " " : "\n");
            if (cli_option_of(&cli_option_table[i], (cli_command_id)c) &&
                cli_option_table[i].value != NULL) {
                assert_non_null(strstr(text, form));
            }
        }
        test_stream_close(&stream);
    }
}

static void help_lines_are_short_enough_to_read(void **state)
{
    (void)state;
    for (size_t c = 0; c < IM_CMD_COUNT; c++) {
        test_stream stream;
        test_stream_open(&stream);
        cli_help_command(&stream.out, (cli_command_id)c);
        size_t longest = 0;
        for (const char *line = test_stream_text(&stream); *line != '\0';) {
            size_t size = strcspn(line, "\n");
            longest = IM_MAX(longest, size);
            assert_false(size > 0 && line[size - 1] == ' ');
            line += size + (line[size] == '\n' ? 1 : 0);
        }
        assert_true(longest <= 100);
        test_stream_close(&stream);
    }
}

static void overview_names_every_command(void **state)
{
    (void)state;
    test_stream stream;
    test_stream_open(&stream);
    cli_help_overview(&stream.out);
    for (size_t c = 0; c < IM_CMD_COUNT; c++) {
        assert_non_null(strstr(test_stream_text(&stream), cli_commands[c].summary));
    }
    test_stream_close(&stream);
    test_stream_open(&stream);
    cli_help_group(&stream.out, "model");
    assert_non_null(strstr(test_stream_text(&stream), "model use"));
    assert_null(strstr(test_stream_text(&stream), "rebuild"));
    test_stream_close(&stream);
}

static void help_as_json_parses_and_holds_the_tables(void **state)
{
    (void)state;
    im_json_writer w;
    json_t *root = NULL;
    im_json_init(&w, 1u << 20);
    cli_help_json(&w);
    assert_true(im_json_ok(&w));
    assert_int_equal(im_json_parse(im_str_text(&w.out), w.out.size, "help", &root, NULL), IM_OK);
    assert_int_equal(json_array_size(json_object_get(root, "commands")), IM_CMD_COUNT);
    json_decref(root);
    im_json_clear(&w);
}

/* Text without the backslashes that man's form puts before dashes and others. */
static void without_backslashes(const char *text, im_str *out)
{
    for (; *text != '\0'; text++) {
        if (*text != '\\') {
            im_str_add_char(out, *text);
        }
    }
}

static void manual_holds_every_row(void **state)
{
    (void)state;
    test_stream stream;
    im_str plain;
    im_str_init(&plain, 1u << 20);
    test_stream_open(&stream);
    cli_manual(&stream.out, "1.2.3");
    without_backslashes(test_stream_text(&stream), &plain);
    for (size_t i = 0; i < IM_OPT_COUNT; i++) {
        char name[64];
        (void)snprintf(name, sizeof(name), "--%s", cli_option_table[i].name);
        assert_non_null(strstr(im_str_text(&plain), name));
    }
    for (size_t c = 0; c < IM_CMD_COUNT; c++) {
        char heading[96];
        (void)snprintf(heading, sizeof(heading), ".SS imago %s", cli_commands[c].words);
        assert_non_null(strstr(im_str_text(&plain), heading));
    }
    assert_non_null(strstr(im_str_text(&plain), "imago 1.2.3"));
    im_str_clear(&plain);
    test_stream_close(&stream);
}

static void completions_hold_every_row(void **state)
{
    static const char *const shells[] = {"bash", "zsh", "fish"};
    (void)state;
    for (size_t s = 0; s < IM_COUNT(shells); s++) {
        test_stream stream;
        test_stream_open(&stream);
        assert_true(cli_completions(&stream.out, shells[s]));
        const char *text = test_stream_text(&stream);
        for (size_t i = 0; i < IM_OPT_COUNT; i++) {
            char name[64];
            (void)(s < 2 ? snprintf(name, sizeof(name), "--%s", cli_option_table[i].name)
                         : snprintf(name, sizeof(name), "-l %s", cli_option_table[i].name));
            assert_non_null(strstr(text, name));
        }
        for (size_t c = 0; c < IM_CMD_COUNT; c++) {
            const char *last = strrchr(cli_commands[c].words, ' ');
            assert_non_null(strstr(text, last != NULL ? last + 1 : cli_commands[c].words));
        }
        test_stream_close(&stream);
    }
    test_stream none;
    test_stream_open(&none);
    assert_false(cli_completions(&none.out, "tcsh"));
    test_stream_close(&none);
}

/* Runs a shell line with `text` on its standard input; its exit status, 127 when not there. */
static int run_with(const char *line, const char *text)
{
    (void)signal(SIGPIPE, SIG_IGN); /* a shell that is not there reads nothing */
    FILE *pipe = popen(line, "w");
    assert_non_null(pipe);
    (void)fputs(text, pipe);
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static void shells_take_their_completions(void **state)
{
    static const struct {
        const char *shell;
        const char *line;
    } checks[] = {{"bash", "command -v bash >/dev/null || exit 77; bash -n"},
                  {"zsh", "command -v zsh >/dev/null || exit 77; zsh -n"},
                  {"fish", "command -v fish >/dev/null || exit 77; fish -n"}};
    (void)state;
    for (size_t i = 0; i < IM_COUNT(checks); i++) {
        test_stream stream;
        test_stream_open(&stream);
        assert_true(cli_completions(&stream.out, checks[i].shell));
        int status = run_with(checks[i].line, test_stream_text(&stream));
        if (status == 77) {
            print_message("skipped: no %s here\n", checks[i].shell);
        } else {
            assert_int_equal(status, 0);
        }
        test_stream_close(&stream);
    }
}

static void bash_completes_commands_options_and_values(void **state)
{
    static const char ask[] =
        "\nask() { COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); compopt() { :; }; _imago;"
        " echo \"${COMPREPLY[*]}\"; }\n"
        "[[ $(ask imago sea) == search ]] || exit 1\n"
        "[[ $(ask imago search --off) == --offset ]] || exit 2\n"
        "[[ $(ask imago search --engine sc) == scan ]] || exit 3\n"
        "[[ $(ask imago --library x model us) == use ]] || exit 4\n"
        "[[ $(ask imago completions z) == zsh ]] || exit 5\n"
        "[[ $(ask imago add --prof) == --profile ]] || exit 6\n"
        "[[ -z $(ask imago status --prof) ]] || exit 7\n"
        "cd /; [[ $(ask imago add us) == usr ]] || exit 8\n";
    (void)state;
    test_stream stream;
    test_stream_open(&stream);
    assert_true(cli_completions(&stream.out, "bash"));
    cli_puts(&stream.out, ask);
    assert_int_equal(run_with("bash", test_stream_text(&stream)), 0);
    test_stream_close(&stream);
}

static void man_takes_the_manual_without_a_warning(void **state)
{
    (void)state;
    test_stream stream;
    test_stream_open(&stream);
    cli_manual(&stream.out, "0.1.0");
    int status = run_with("command -v groff >/dev/null || exit 77; "
                          "test -z \"$(groff -man -Tutf8 -ww 2>&1 >/dev/null)\"",
                          test_stream_text(&stream));
    if (status == 77) {
        print_message("skipped: no groff here\n");
    } else {
        assert_int_equal(status, 0);
    }
    test_stream_close(&stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help_of_a_command_names_its_options_and_examples),
        cmocka_unit_test(help_lines_are_short_enough_to_read),
        cmocka_unit_test(overview_names_every_command),
        cmocka_unit_test(help_as_json_parses_and_holds_the_tables),
        cmocka_unit_test(manual_holds_every_row),
        cmocka_unit_test(completions_hold_every_row),
        cmocka_unit_test(shells_take_their_completions),
        cmocka_unit_test(bash_completes_commands_options_and_values),
        cmocka_unit_test(man_takes_the_manual_without_a_warning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
