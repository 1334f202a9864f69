/* What commands ask of app/ and what they print: through im_cli_main, with app/ replaced. */
#include "fake_app.h"
#include "help.h"

#include "base/clock.h"
#include "base/fault.h"
#include "cli/cli.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct run_result {
    int code;
    size_t out_size;
    char out[16384];
    char err[16384];
} run_result;

static run_result result; /* of the last run */

static size_t read_back(int fd, char *text, size_t capacity)
{
    ssize_t n = pread(fd, text, capacity - 1, 0);
    assert_true(n >= 0);
    text[n] = '\0';
    (void)close(fd);
    return (size_t)n;
}

/* Runs a line; `input` (may be NULL) is standard input. Nothing may stay allocated. */
static void run_with_input(const char *line, const char *input)
{
    test_argv words;
    int out = memfd_create("out", 0);
    int err = memfd_create("err", 0);
    int in = memfd_create("in", 0);
    int keep[3] = {dup(0), dup(1), dup(2)};
    test_split(&words, line);
    if (input != NULL) {
        assert_int_equal(pwrite(in, input, strlen(input), 0), (ssize_t)strlen(input));
    }
    (void)fflush(stdout);
    (void)fflush(stderr);
    (void)dup2(in, 0);
    (void)dup2(out, 1);
    (void)dup2(err, 2);
    result.code = im_cli_main(words.argc, words.argv);
    (void)fflush(stdout);
    (void)fflush(stderr);
    clearerr(stdout);
    for (int i = 0; i < 3; i++) {
        (void)dup2(keep[i], i);
        (void)close(keep[i]);
    }
    (void)close(in);
    result.out_size = read_back(out, result.out, sizeof(result.out));
    (void)read_back(err, result.err, sizeof(result.err));
    im_stop_reset();
    assert_int_equal(im_live_allocations(), 0);
}

static void run(const char *line)
{
    run_with_input(line, NULL);
}

static int forget(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof(fake));
    return 0;
}

static void expect(const char *line, int code, const char *out, const char *err)
{
    run(line);
    if (result.code != code || strcmp(result.out, out) != 0 || strcmp(result.err, err) != 0) {
        print_error("'%s' gives %d\n--- out\n%s--- err\n%s", line, result.code, result.out,
                    result.err);
    }
    assert_int_equal(result.code, code);
    assert_string_equal(result.out, out);
    assert_string_equal(result.err, err);
}

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

static void digits_that_are_a_file_too_must_be_told_apart(void **state)
{
    char folder[] = "/tmp/imago-cli-XXXXXX";
    char back[4096];
    (void)state;
    assert_non_null(getcwd(back, sizeof(back)));
    assert_non_null(mkdtemp(folder));
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
    assert_int_equal(unlink("2019"), 0);
    assert_int_equal(chdir(back), 0);
    assert_int_equal(rmdir(folder), 0);
}

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

static void check_tells_findings_as_words_and_as_json(void **state)
{
    (void)state;
    expect("imago check", 0, "3 items, 3 vectors: sound\n", "");
    fake.warning = "embedding 2: wrong sum";
    fake.code = IM_ERR_DAMAGED;
    fake.reason = IM_REASON_DAMAGED;
    expect("imago check --json", 15,
           "{\"messages\":[\"embedding 2: wrong sum\"],\"findings\":1,\"index_findings\":0,"
           "\"items\":3,\"vectors\":3}\n",
           "{\"error\":{\"code\":\"damaged\",\"class\":\"IM_ERR_DAMAGED\",\"message\":"
           "\"the prepared failure 'damaged'\"}}\n");
    run("imago check");
    assert_non_null(strstr(result.out, "1 finding, 0 of them"));
    assert_non_null(strstr(result.err, "wrong sum"));
}

static void an_engine_is_chosen_with_its_numbers(void **state)
{
    (void)state;
    run("imago rebuild");
    assert_false(fake.rebuild.has_engine);
    expect("imago rebuild --engine auto", 0, "engine auto: no file is needed\n", "");
    assert_true(fake.rebuild.has_engine);
    assert_int_equal(fake.rebuild.engine, IM_ENGINE_AUTO);
    expect("imago rebuild --engine ivf --index-params nlist=9", 0,
           "made ivf.1.faiss: 3 vectors, 77 bytes\n", "");
    assert_int_equal(fake.rebuild.engine, IM_ENGINE_IVF);
    assert_string_equal(fake.rebuild.index_params, "nlist=9");
    expect("imago rebuild --engine ivf --json", 0,
           "{\"vectors\":3,\"chosen_engine\":\"ivf\",\"engine_file\":{\"engine\":\"ivf\","
           "\"name\":\"ivf.1.faiss\",\"bytes\":77,\"rows\":3}}\n",
           "");
    assert_null(fake.rebuild.index_params);
    const char *const lost[] = {"imago rebuild --index-params nlist=9",
                                "imago search red --index-params nprobe=9",
                                "imago audit --index-params nprobe=9 --engine tiered"};
    for (size_t i = 0; i < IM_COUNT(lost); i++) {
        run(lost[i]);
        assert_int_equal(result.code, 2);
        assert_non_null(strstr(result.err, "needs its engine"));
    }
}

static void an_audit_is_printed_for_people_and_programs(void **state)
{
    (void)state;
    expect(
        "imago audit", 0,
        "engine ivf, 3 vectors, recall@20 with its 95 % interval\n"
        "texts     none asked\n"
        "pictures     2 queries  recall 0.9500 (0.7000 to 0.9900)  0.50 ms, exact scan 2.00 ms\n",
        "");
    assert_int_equal(fake.audit.n_queries, 200);
    expect("imago audit --json --queries 7 -k 10 --fast", 0, "{\"engine\":\"ivf\"}\n", "");
    assert_int_equal(fake.audit.n_queries, 7);
    assert_int_equal(fake.audit.k, 10);
    assert_true(fake.audit.fast);
    run("imago audit --want 0.99");
    assert_true(fake.audit.want > 0.989 && fake.audit.want < 0.991 && !fake.audit.apply);
    assert_non_null(strstr(result.out, "proposed: nprobe=8\n"));
    assert_non_null(strstr(result.out, "to use it: imago audit --want 0.99 --apply\n"));
    assert_true(fake.writable); /* the outcome is kept */
    run("imago audit --want 0.99 --apply");
    assert_true(fake.writable && fake.audit.apply);
    assert_non_null(strstr(result.out, "searches use it from now on\n"));
    const char *const wrong[] = {"imago audit --want 0",         "imago audit --want 1.01",
                                 "imago audit --want nan",       "imago audit --want 9x",
                                 "imago audit --queries 0",      "imago audit --apply",
                                 "imago audit --queries 100001", "imago audit x"};
    for (size_t i = 0; i < IM_COUNT(wrong); i++) {
        run(wrong[i]);
        assert_int_equal(result.code, 2);
    }
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

static void a_daemon_that_was_stopped_has_ended_well(void **state)
{
    (void)state;
    run("imago serve --listen 127.0.0.1:0");
    assert_int_equal(result.code, 0);
    assert_string_equal(result.err, "imago: listening on http://127.0.0.1:7070\n");
    assert_string_equal(fake.listen, "127.0.0.1:0");
    fake.code = IM_ERR_CONFLICT;
    fake.reason = IM_REASON_CONFLICT;
    run("imago serve");
    assert_null(fake.listen);
    assert_int_not_equal(result.code, 0);
}

static void a_daemon_with_options_of_its_own_is_not_for_the_command_line(void **state)
{
    (void)state;
    run("imago serve --listen 127.0.0.1:0 --listen [::1]:1 --host a --host b --threads 2");
    assert_string_equal(fake.listen, "[::1]:1");
    assert_int_equal(fake.n_hosts, 2);
    assert_true(fake.local);
    run("imago serve --precision fp32");
    assert_false(fake.local);
    run("imago serve --max-side 100");
    assert_false(fake.local);
    run("imago serve --engine scan");
    assert_false(fake.local);
}

static void a_key_is_alone_on_standard_output(void **state)
{
    (void)state;
    run("imago key add --scope write --name x");
    assert_int_equal(result.code, 0);
    assert_string_equal(result.out, "imago_0123\n");
    assert_string_equal(result.err, "imago: key 7 (write): this is the only time it is shown\n");
    run("imago key add --scope read -q");
    assert_string_equal(result.err, "");
    run("imago key add --scope admin --json --name x");
    assert_string_equal(result.out,
                        "{\"id\":7,\"name\":\"x\",\"scope\":\"admin\",\"key\":\"imago_0123\"}\n");
    run("imago key add");
    assert_int_equal(result.code, 2);
    run("imago key list");
    assert_string_equal(result.out, "1\tread\t2026-11-26T20:00:00Z\tweb\\x1b\n"
                                    "2\tadmin\t2026-11-26T20:00:00Z\t\trevoked "
                                    "2026-11-27T20:00:00Z\n");
    run("imago key revoke 3 4");
    assert_string_equal(result.out, "revoked 2 keys\n");
    assert_true(fake.writable && fake.n_items == 2 && fake.items[1] == 4);
    run("imago key revoke 3 x");
    assert_int_equal(result.code, 2);
    assert_int_equal(fake.n_items, 2); /* none more was revoked */
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
        cmocka_unit_test_setup(hits_are_stable_lines_off_a_terminal, forget),
        cmocka_unit_test_setup(no_hits_are_said_on_standard_error_only, forget),
        cmocka_unit_test_setup(parts_reach_the_search_with_weights_and_boxes, forget),
        cmocka_unit_test_setup(filters_are_joined, forget),
        cmocka_unit_test_setup(queries_that_cannot_be_are_refused_before_a_library_is_opened,
                               forget),
        cmocka_unit_test_setup(a_picture_comes_from_standard_input_once, forget),
        cmocka_unit_test_setup(similar_leaves_its_own_item_out, forget),
        cmocka_unit_test_setup(digits_that_are_a_file_too_must_be_told_apart, forget),
        cmocka_unit_test_setup(add_makes_a_missing_library_and_says_so, forget),
        cmocka_unit_test_setup(a_missing_library_is_hinted_with_its_own_folder, forget),
        cmocka_unit_test_setup(a_failure_that_was_told_is_not_the_last_word_again, forget),
        cmocka_unit_test_setup(add_passes_its_options_on, forget),
        cmocka_unit_test_setup(add_names_failures_and_what_it_skipped, forget),
        cmocka_unit_test_setup(add_says_which_stage_sets_the_pace, forget),
        cmocka_unit_test_setup(a_signal_during_add_is_130_and_says_what_was_done, forget),
        cmocka_unit_test_setup(every_class_of_failure_has_its_exit_code, forget),
        cmocka_unit_test_setup(embed_writes_json_numpy_and_bare_floats, forget),
        cmocka_unit_test_setup(questions_are_answered_no_without_a_terminal_and_yes_by_option,
                               forget),
        cmocka_unit_test_setup(check_tells_findings_as_words_and_as_json, forget),
        cmocka_unit_test_setup(an_engine_is_chosen_with_its_numbers, forget),
        cmocka_unit_test_setup(an_audit_is_printed_for_people_and_programs, forget),
        cmocka_unit_test_setup(small_commands_print_words_or_json, forget),
        cmocka_unit_test_setup(help_comes_in_three_ways, forget),
        cmocka_unit_test_setup(a_daemon_that_was_stopped_has_ended_well, forget),
        cmocka_unit_test_setup(a_daemon_with_options_of_its_own_is_not_for_the_command_line,
                               forget),
        cmocka_unit_test_setup(a_key_is_alone_on_standard_output, forget),
        cmocka_unit_test_setup(tags_are_lines_behind_their_item_or_count, forget),
        cmocka_unit_test_setup(add_knows_what_there_is_to_do_before_it_makes_a_library, forget),
        cmocka_unit_test_setup(a_full_disk_under_the_answer_is_a_failure, forget),
        cmocka_unit_test_setup(commands_survive_each_failed_allocation, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
