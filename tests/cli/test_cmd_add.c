/* tests/cli/test_cmd_add.c — what `add` asks of app/ and what it prints; a library that is not
 * there. */
#include "fake_app.h"
#include "help_run.h"

#include <signal.h>

static void add_makes_a_missing_library_and_says_so(void **state)
{
    (void)state;
    fake.library_missing = true;
    fake.report.added = 3;
    fake.report.seconds = 1.5;
    expect("imago add pictures --library /l", 0, "3 added in 0:02 (2.0 pictures/s)\n",
           "imago: made a new library in '/l'\n");
    assert_true(fake.made && fake.writable);
    assert_string_equal("pictures", fake.add.n_paths == 1 ? "pictures" : "");
    fake.library_missing = true;
    run("imago add pictures --library /l --json");
    assert_non_null(strstr(result.out, "{\"event\":\"warning\",\"message\":\"made a new library"));
    assert_string_equal(result.err, "");
    fake.library_missing = true;
    expect("imago search a --library /l", 3, "",
           "imago: there is no library in '/l'\n"
           "  hint: make and fill one: imago add FOLDER --library /l\n");
}

/* The hint can be typed as it stands: quoted, and whole or not there. */
static void a_missing_library_is_hinted_with_its_own_folder(void **state)
{
    char command[400];
    char folder[201];
    (void)state;
    memset(folder, 'x', sizeof(folder) - 1);
    folder[sizeof(folder) - 1] = '\0';
    fake.library_missing = true;
    run("imago status --library it's");
    assert_non_null(strstr(result.err, "imago add FOLDER --library 'it'\\''s'\n"));
    run("imago status");
    assert_non_null(strstr(result.err, "hint: make and fill one: imago add FOLDER\n"));
    (void)snprintf(command, sizeof(command), "imago status --library %s", folder);
    run(command);
    assert_non_null(strstr(result.err, "hint: imago add FOLDER, with the same --library\n"));
    fake.library_missing = false;
    fake.code = IM_ERR_NOT_FOUND;
    fake.reason = IM_REASON_LIBRARY_EMPTY;
    run("imago search a --library /l");
    assert_non_null(strstr(result.err, "add pictures first: imago add FOLDER --library /l\n"));
}

static void a_failure_that_was_told_is_not_the_last_word_again(void **state)
{
    (void)state;
    fake.failed_path = "/p/a.jpg";
    fake.code = IM_ERR_FORMAT;
    fake.told = true; /* the use case's own error is that of the file */
    run("imago add /p/a.jpg");
    char *first = strstr(result.err, "/p/a.jpg");
    assert_non_null(first);
    assert_null(strstr(first + 1, "/p/a.jpg"));
    run("imago add /p/a.jpg --json"); /* programs read the last word */
    assert_non_null(strstr(result.err, "/p/a.jpg"));
}

static void add_passes_its_options_on(void **state)
{
    (void)state;
    run("imago add a b --no-recursive --follow-links --prune --retry-failed --exact-decode "
        "--batch 4 --decoders 3 --max-side 100 --max-pixels 2K --max-decoder-bytes 1M "
        "--max-scans 5 --max-decode-seconds 7 --max-picture-bytes 3K");
    assert_int_equal(result.code, 0);
    assert_int_equal(fake.add.n_paths, 2);
    assert_true(fake.add.no_recursion && fake.add.follow_links && fake.add.prune);
    assert_true(fake.add.retry_failed && fake.add.exact_decode);
    assert_true(fake.add.batch == 4 && fake.add.decoders == 3);
    assert_true(fake.add.limits.max_side_px == 100 && fake.add.limits.max_pixels == 2048);
    assert_true(fake.add.limits.max_decoder_bytes == 1u << 20);
    assert_true(fake.add.limits.max_bytes == 3072);
    assert_true(fake.add.limits.max_scans == 5 && fake.add.limits.max_decode_ms == 7000);
}

static void add_names_failures_and_what_it_skipped(void **state)
{
    (void)state;
    fake.code = IM_ERR_PARTIAL;
    fake.reason = IM_REASON_PARTIAL;
    fake.failed_path = "/p/b\xff.jpg";
    fake.report.added = 1;
    fake.report.failed = 1;
    fake.report.skipped = 13;
    fake.report.n_skips = 2;
    fake.report.skips[0] = (im_skip_count){"heic", 12};
    fake.report.skips[1] = (im_skip_count){"not a picture", 1};
    expect("imago add p", 14, "1 added, 1 failed, 13 skipped in 0:00\n",
           "imago: picture '/p/b\\xff.jpg': cut short\n"
           "imago: 12 HEIC files: this build has no decoder for them\n"
           "imago: skipped 1 file: not a picture\n"
           "imago: the prepared failure 'partial'\n");
    expect("imago add p --json", 14,
           "{\"event\":\"progress\",\"stage\":\"adding\",\"done\":1,\"total\":2,\"failed\":0,"
           "\"seconds\":1.5,\"rate\":0.5,\"eta_s\":2}\n"
           "{\"event\":\"failed\",\"path\":\"/p/b\xef\xbf\xbd.jpg\",\"path_b64\":"
           "\"L3AvYv8uanBn\",\"error\":{\"code\":\"picture_truncated\",\"class\":"
           "\"IM_ERR_FORMAT\",\"message\":\"picture '/p/b\\\\xff.jpg': cut short\"}}\n"
           "{\"event\":\"done\",\"added\":1}\n",
           "{\"error\":{\"code\":\"partial\",\"class\":\"IM_ERR_PARTIAL\",\"message\":"
           "\"the prepared failure 'partial'\"}}\n");
}

static void add_says_which_stage_sets_the_pace(void **state)
{
    (void)state;
    fake.report.seconds = 10;
    fake.report.stages[0] = (im_stage_time){"read", 1, 1};
    fake.report.stages[1] = (im_stage_time){"decode", 12, 2};
    fake.report.stages[2] = (im_stage_time){"encode", 9, 1};
    run("imago add p --profile");
    assert_non_null(strstr(result.out, "encode       9.00 s busy   1 thread   90.0 %  sets"));
    assert_null(strstr(strstr(result.out, "sets") + 4, "sets"));
}

static void a_signal_during_add_is_130_and_says_what_was_done(void **state)
{
    (void)state;
    fake.code = IM_ERR_PARTIAL;
    fake.reason = IM_REASON_INTERRUPTED;
    fake.report.interrupted = true;
    fake.report.added = 5;
    fake.raise_signal = SIGINT;
    run("imago add p");
    assert_int_equal(result.code, 130);
    assert_non_null(strstr(result.out, "5 added"));
    assert_non_null(strstr(result.err, "finishing what is under way"));
    assert_non_null(strstr(result.err, "stopped by Ctrl-C; the library is good"));
    fake.raise_signal = SIGTERM;
    run("imago add p");
    assert_int_equal(result.code, 143);
    assert_non_null(strstr(result.err, "stopped by SIGTERM"));
}

static void add_knows_what_there_is_to_do_before_it_makes_a_library(void **state)
{
    static const char *const bad[] = {"imago add", "imago add p --meta bad.csv",
                                      "imago add --meta m.csv"};
    static const int codes[] = {2, 3, 3};
    (void)state;
    for (size_t i = 0; i < IM_COUNT(bad); i++) {
        fake.library_missing = true;
        run(bad[i]);
        assert_int_equal(result.code, codes[i]);
        assert_false(fake.made);
    }
    fake.library_missing = false;
    fake.report.has_meta = true;
    fake.report.meta_set = 2;
    fake.report.meta_failed = 1;
    expect("imago add --meta m.csv", 0, "2 lines applied, 1 line failed in 0:00\n", "");
    assert_string_equal(fake.add.meta, "m.csv");
    fake.report.meta_replaced = 1;
    expect("imago add p --meta m.csv", 0,
           "0 added, 2 lines applied, 1 line failed, 1 replaced by their key in 0:00\n", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(add_makes_a_missing_library_and_says_so, run_forget),
        cmocka_unit_test_setup(a_missing_library_is_hinted_with_its_own_folder, run_forget),
        cmocka_unit_test_setup(a_failure_that_was_told_is_not_the_last_word_again, run_forget),
        cmocka_unit_test_setup(add_passes_its_options_on, run_forget),
        cmocka_unit_test_setup(add_names_failures_and_what_it_skipped, run_forget),
        cmocka_unit_test_setup(add_says_which_stage_sets_the_pace, run_forget),
        cmocka_unit_test_setup(a_signal_during_add_is_130_and_says_what_was_done, run_forget),
        cmocka_unit_test_setup(add_knows_what_there_is_to_do_before_it_makes_a_library, run_forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
