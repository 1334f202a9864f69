/* tests/cli/test_commands.c — the other commands, and what all have in common: help, exit codes,
 * failures. */
#include "fake_app.h"
#include "help.h"
#include "help_run.h"

#include "base/fault.h"
#include "cli/cli.h"
#include "tests/help_folder.h"
#include <fcntl.h>
#include <unistd.h>

static void digits_that_are_a_file_too_must_be_told_apart(void **state)
{
    char folder[HELP_FOLDER_BYTES];
    char back[4096];
    (void)state;
    assert_non_null(getcwd(back, sizeof(back)));
    assert_non_null(help_temporary(folder));
    assert_int_equal(chdir(folder), 0);
    int fd = open("2019", O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
    run("imago remove 2019 --yes");
    assert_int_equal(result.code, 2);
    assert_non_null(strstr(result.err, "both an id and a file"));
    assert_non_null(strstr(result.err, "id:2019 for the item, ./2019 for the file"));
    run("imago remove ./2019 id:2019 2018 --yes");
    assert_int_equal(result.code, 0);
    assert_int_equal(fake.n_remove_paths, 1);
    assert_int_equal(fake.n_items, 2);
    assert_true(fake.items[0] == 2019 && fake.items[1] == 2018);
    assert_int_equal(chdir(back), 0);
    assert_int_equal(help_remove_folder(folder), 0);
}

static void every_class_of_failure_has_its_exit_code(void **state)
{
    (void)state;
    for (int reason = 0; reason < IM_REASON_COUNT; reason++) {
        im_error err = IM_ERROR_INIT;
        fake.reason = (im_reason)reason;
        fake.code = im_fail_as(&err, fake.reason, "x");
        run("imago status");
        assert_int_equal(result.code, im_code_exit(fake.code));
        assert_string_equal(result.out, "");
        assert_non_null(strstr(result.err, im_reason_name(fake.reason)));
    }
}

static void embed_writes_json_numpy_and_bare_floats(void **state)
{
    (void)state;
    run("imago embed a.jpg --text \"a cat\"");
    assert_string_equal(result.out, "{\"dimensions\":2}\n");
    assert_true(!fake.inputs[0].is_text && fake.inputs[1].is_text);
    assert_int_equal(fake.n_embedded, 2);
    run("imago embed a.jpg b.jpg --format f32");
    const float expected[] = {1, 0, 2, 0};
    assert_int_equal(result.out_size, sizeof(expected));
    assert_memory_equal(result.out, expected, sizeof(expected));
    run("imago embed a.jpg b.jpg --format npy");
    assert_int_equal(result.out_size, 128 + sizeof(expected));
    assert_memory_equal(result.out, "\x93NUMPY", 6);
    assert_memory_equal(result.out + 128, expected, sizeof(expected));
    fake.code = IM_ERR_PARTIAL;
    fake.reason = IM_REASON_PARTIAL;
    run("imago embed a.jpg bad --format f32");
    assert_int_equal(result.code, 14);
    assert_int_equal(result.out_size, sizeof(expected));
    assert_non_null(strstr(result.err, "picture 'bad'"));
    run("imago embed");
    assert_int_equal(result.code, 2);
    run("imago embed a --format npy --json");
    assert_int_equal(result.code, 2);
}

static void questions_are_answered_no_without_a_terminal_and_yes_by_option(void **state)
{
    (void)state;
    fake.question = "remove 5 items?";
    run_with_input("imago remove folder", "y\n");
    assert_false(fake.confirmed);
    run("imago remove folder --yes");
    assert_true(fake.confirmed);
}

static void small_commands_print_words_or_json(void **state)
{
    (void)state;
    expect("imago init --library \"/a b\"", 0, "made a library in '/a b'\n", "");
    expect("imago init --library /l --json", 0, "{\"library\":\"/l\"}\n", "");
    expect("imago status", 0, "items  3\n", "");
    expect("imago status --json", 0, "{\"items\":3}\n", "");
    expect("imago show 17", 0, "id  17\n", "");
    expect("imago show id:17 --json", 0, "{\"id\":17}\n", "");
    expect("imago remove id:1 id:2", 0, "removed 2 items from the library; no file was touched\n",
           "");
    expect("imago remove id:1 --json", 0, "{\"removed\":1}\n", "");
    expect("imago rebuild", 0, "made the index anew: 3 vectors\n", "");
    expect("imago rebuild --json", 0,
           "{\"vectors\":3,\"chosen_engine\":\"auto\",\"engine_file\":null}\n", "");
    expect("imago rebuild --compact", 0,
           "compacted the index: 3 vectors, 2 removed rows dropped, 2.0 MB freed\n", "");
    expect("imago rebuild --compact --json", 0,
           "{\"vectors\":3,\"dropped\":2,\"freed_bytes\":2000000}\n", "");
    expect("imago backup /d/b.tar", 0, "saved 3 items and 2 originals (2.0 MB) in /d/b.tar\n", "");
    expect("imago backup /d/b.tar --json", 0,
           "{\"items\":3,\"originals\":2,\"bytes\":2000000,\"findings\":0}\n", "");
    expect("imago restore /d/b.tar --library /l", 0,
           "restored 3 items and 2 originals (2.0 MB) into /l\n", "");
    expect("imago restore /d/b.tar --library /l --json --yes --accept-damage", 0,
           "{\"items\":3,\"originals\":2,\"bytes\":2000000,\"findings\":0}\n", "");
    fake.imported = (im_import_report){
        .rows = 5, .added = 3, .merged = 1, .unchanged = 1, .without_file = 4, .seconds = 65};
    expect("imago import /tmp --normalise", 0,
           "3 added, 1 merged into items already there, 1 unchanged in 1:05 (0 rows/s)\n",
           "imago: 4 of them have no picture file: 'imago add' links files of the same SHA-256\n");
    assert_string_equal(fake.import.folder, "/tmp");
    assert_true(fake.import.normalise && !fake.import.trust_model && fake.writable);
    expect("imago import /no/such/folder", 3, "", "imago: there is no folder '/no/such/folder'\n");
    expect("imago import /tmp --json --trust-model", 0, "{\"event\":\"done\",\"added\":3}\n", "");
    assert_true(fake.import.trust_model && !fake.import.normalise);
    expect("imago export /d/out", 0, "exported 3 vectors of 8 numbers (2.0 MB) to /d/out\n", "");
    expect("imago export /d/out --json", 0, "{\"rows\":3}\n", "");
    expect("imago model list", 0, "* small                    bundled    '/models/a b'\n", "");
    expect("imago model info big --json", 0, "{\"name\":\"big\"}\n", "");
    expect("imago model use big", 0, "the library now uses big\n", "");
    expect("imago model use big --json", 0, "{\"model\":\"big\"}\n", "");
    expect("imago version", 0, "imago " IM_VERSION "\n", "");
    expect("imago --version --json", 0, "{\"version\":\"" IM_VERSION "\"}\n", "");
    expect("imago completions tcsh", 2, "",
           "imago: there are no completions for 'tcsh', only for bash|zsh|fish\n");
    expect("imago init --quiet", 0, "", "");
    fake.library_missing = true;
    expect("imago model list", 0, "  small                    bundled    '/models/a b'\n", "");
}

static void help_comes_in_three_ways(void **state)
{
    (void)state;
    run("imago search --help");
    char help[sizeof(result.out)];
    memcpy(help, result.out, sizeof(help));
    assert_int_equal(strncmp(help, "imago search:", 13), 0);
    run("imago help search");
    assert_string_equal(result.out, help);
    run("imago help model");
    assert_non_null(strstr(result.out, "model use"));
    run("imago help model use");
    assert_int_equal(strncmp(result.out, "imago model use:", 16), 0);
    run("imago help nothing");
    assert_int_equal(result.code, 2);
    run("imago --help");
    assert_non_null(strstr(result.out, "a start"));
    run("imago manual");
    assert_int_equal(strncmp(result.out, ".TH IMAGO 1", 11), 0);
}

static void a_full_disk_under_the_answer_is_a_failure(void **state)
{
    static const char *const paths[] = {"/a"};
    (void)state;
    fake.paths = paths;
    fake.n_paths = 1;
    int keep = dup(1);
    int full = open("/dev/full", O_WRONLY);
    if (full < 0) {
        skip();
    }
    (void)fflush(stdout);
    (void)dup2(full, 1);
    test_argv words;
    test_split(&words, "imago search a --quiet --json");
    int code = im_cli_main(words.argc, words.argv);
    (void)dup2(keep, 1);
    clearerr(stdout);
    (void)close(keep);
    (void)close(full);
    assert_int_equal(code, im_code_exit(IM_ERR_FULL));
}

static void commands_survive_each_failed_allocation(void **state)
{
    static const char *const paths[] = {"/a/plain.jpg", "/a/two words.jpg"};
    static const char *const lines[] = {"imago search red --image a --not b",
                                        "imago search red --json",
                                        "imago add p --json",
                                        "imago embed a --text b --format npy",
                                        "imago remove id:1 p",
                                        "imago model list",
                                        "imago check --json",
                                        "imago tag id:1 --add a --remove b",
                                        "imago tag id:1",
                                        "imago key add --scope read --json",
                                        "imago key list",
                                        "imago key revoke 1 2",
                                        "imago status"};
    (void)state;
    fake.paths = paths;
    fake.n_paths = 2;
    for (size_t i = 0; i < IM_COUNT(lines); i++) {
        bool fired = true;
        size_t nth = 0;
        for (; fired; nth++) {
            im_fault_set(IM_FAULT_ALLOC, nth, 0);
            run(lines[i]); /* asserts that nothing stays allocated */
            fired = im_fault_fired(IM_FAULT_ALLOC);
            im_fault_clear();
            if (!fired) {
                assert_int_equal(result.code, 0);
            } else if (result.code != 0) {
                assert_int_equal(result.code, im_code_exit(IM_ERR_NOMEM));
                assert_true(result.err[0] != '\0');
            }
        }
        assert_true(nth > 3);
    }
}

static void tags_are_lines_behind_their_item_or_count(void **state)
{
    (void)state;
    expect("imago tag", 0, "3\tbeach\n", "");
    assert_false(fake.writable);
    expect("imago tag id:17", 0, "id:17\tbeach\nid:17\ta\\tb\n", "");
    expect("imago tag id:17 --json", 0,
           "{\"items\":[{\"id\":17,\"tags\":[\"beach\",\"a\\tb\"]}]}\n", "");
    expect("imago tag id:17 p --add a --add b --remove c", 0,
           "2 items: 2 tags given, 1 taken away\n", "");
    assert_true(fake.writable && fake.n_add_tags == 2 && fake.n_remove_tags == 1);
    expect("imago tag p --json --remove c", 0, "{\"items\":1,\"added\":0,\"removed\":1}\n", "");
    run("imago tag --add a");
    assert_int_equal(result.code, 2);
    assert_non_null(strstr(result.err, "wants id:N or PATH"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(digits_that_are_a_file_too_must_be_told_apart, run_forget),
        cmocka_unit_test_setup(every_class_of_failure_has_its_exit_code, run_forget),
        cmocka_unit_test_setup(embed_writes_json_numpy_and_bare_floats, run_forget),
        cmocka_unit_test_setup(questions_are_answered_no_without_a_terminal_and_yes_by_option,
                               run_forget),
        cmocka_unit_test_setup(small_commands_print_words_or_json, run_forget),
        cmocka_unit_test_setup(help_comes_in_three_ways, run_forget),
        cmocka_unit_test_setup(a_full_disk_under_the_answer_is_a_failure, run_forget),
        cmocka_unit_test_setup(commands_survive_each_failed_allocation, run_forget),
        cmocka_unit_test_setup(tags_are_lines_behind_their_item_or_count, run_forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
