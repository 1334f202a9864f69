/* Printing: escapes, paths, wrapping, facts, progress, failed writes, NumPy's header. */
#include "help.h"

#include <errno.h>
#include <unistd.h>

static void paths_can_be_taken_back_by_a_shell(void **state)
{
    static const char *const names[] = {"plain.jpg",     "two words.jpg",
                                        "it's.jpg",      "line\nend.jpg",
                                        "\x1b[2J.jpg",   "\xff\xfe.jpg",
                                        "%s%n.jpg",      "\xe2\x80\xae.jpg",
                                        "$HOME`ls`.jpg", " ",
                                        "tab\there.jpg", "*?[a].jpg",
                                        "~root",         "a\"b\\c.jpg"};
    (void)state;
    for (size_t i = 0; i < IM_COUNT(names); i++) {
        test_stream stream;
        test_stream_open(&stream);
        cli_put_path(&stream.out, names[i]);

        char back[256] = "";
        const char *text = test_stream_text(&stream);
        for (const char *c = text; *c != '\0'; c++) {
            assert_true((unsigned char)*c >= 0x20 && *c != 0x7f); /* nothing a terminal obeys */
        }
        char command[1024];
        (void)snprintf(command, sizeof(command), "bash -s <<'END'\nprintf %%s %s\nEND\n", text);
        FILE *pipe = popen(command, "r");
        assert_non_null(pipe);
        size_t n = fread(back, 1, sizeof(back) - 1, pipe);
        back[n] = '\0';
        assert_int_equal(pclose(pipe), 0);
        assert_string_equal(back, names[i]);
        test_stream_close(&stream);
    }
}

static void text_is_wrapped_between_words(void **state)
{
    (void)state;
    test_stream stream;
    test_stream_open(&stream);
    cli_put_wrapped(&stream.out, "one two three four\n\nfive", 2, 12);
    assert_string_equal(test_stream_text(&stream), "  one two\n  three four\n\n  five\n");
    test_stream_close(&stream);
}

static void errors_are_a_sentence_and_a_hint_or_one_object(void **state)
{
    (void)state;
    test_stream stream;
    im_error err = IM_ERROR_INIT;
    (void)!im_fail_as(&err, IM_REASON_ITEM_NOT_FOUND, "item %d is not there", 17);
    im_hint(&err, "look again");
    test_stream_open(&stream);
    cli_put_error(&stream.out, &err, false);
    assert_string_equal(test_stream_text(&stream),
                        "imago: item 17 is not there\n  hint: look again\n");
    test_stream_close(&stream);
    test_stream_open(&stream);
    cli_put_error(&stream.out, &err, true);
    json_t *root = NULL;
    const char *text = test_stream_text(&stream);
    assert_int_equal(im_json_parse(text, strlen(text), "error", &root, NULL), IM_OK);
    json_t *error = json_object_get(root, "error");
    assert_string_equal(json_string_value(json_object_get(error, "code")), "item_not_found");
    assert_string_equal(json_string_value(json_object_get(error, "class")), "IM_ERR_NOT_FOUND");
    assert_string_equal(json_string_value(json_object_get(error, "hint")), "look again");
    json_decref(root);
    test_stream_close(&stream);
}

static void facts_show_nested_values(void **state)
{
    static const char json[] =
        "{\"items\":3,\"db_bytes\":1234567,\"online\":true,\"gps\":null,\"score\":0.5,"
        "\"path\":\"/a b\",\"camera\":\"X\\u001b[2J\",\"model\":{\"name\":\"m\",\"dim\":4},"
        "\"roots\":[{\"path\":\"/p\"},{\"path\":\"/q\"}],\"paths\":[\"/x y\",\"/z\"],"
        "\"mean\":[0.5,1],\"none\":[],\"added_ns\":1795651077353799192}";
    (void)state;
    test_stream stream;
    test_stream_open(&stream);
    assert_int_equal(cli_put_facts(&stream.out, json, sizeof(json) - 1, NULL), IM_OK);
    const char *text = test_stream_text(&stream);
    assert_non_null(strstr(text, "items     3\n"));
    assert_non_null(strstr(text, "db bytes  1234567 (1.2 MB)\n"));
    assert_non_null(strstr(text, "online    yes\n"));
    assert_non_null(strstr(text, "gps       -\n"));
    assert_non_null(strstr(text, "path      '/a b'\n"));
    assert_non_null(strstr(text, "X\\x1b[2J\n"));
    assert_non_null(strstr(text, "model\n  name  m\n  dim   4\n"));
    assert_non_null(strstr(text, "roots\n  path  /p\n\n  path  /q\n"));
    assert_non_null(strstr(text, "paths\n  '/x y'\n  /z\n"));
    assert_non_null(strstr(text, "mean  0.5 1\n"));
    assert_non_null(strstr(text, "none  -\n"));
    assert_non_null(strstr(text, "added     2026-11-25 23:57:57 UTC\n"));
    test_stream_close(&stream);
}

static void progress_on_a_terminal_is_one_line_drawn_again(void **state)
{
    (void)state;
    test_stream stream;
    test_stream_open(&stream);
    stream.out.terminal = true;
    stream.out.columns = 60;
    cli_progress progress = {.words = &stream.out};
    cli_progress_state now = {"adding", 50, 200, 2, 3.0, 16.7, 9.0};
    cli_progress_show(&progress, &now);
    const char *text = test_stream_text(&stream);
    assert_string_equal(text, "adding [######..................] 50/200, 17/s, 0:09 left, ");
    cli_progress_hide(&progress);
    assert_non_null(strstr(test_stream_text(&stream), "\r\x1b[K"));
    test_stream_close(&stream);
}

static void progress_elsewhere_is_a_line_every_ten_seconds(void **state)
{
    (void)state;
    test_stream stream;
    test_stream_open(&stream);
    cli_progress progress = {.words = &stream.out};
    for (int i = 0; i <= 250; i++) { /* 25 seconds, ten reports each */
        cli_progress_state now = {"adding", (uint64_t)i, 0, 0, i / 10.0, 9.5, -1};
        cli_progress_show(&progress, &now);
    }
    assert_string_equal(test_stream_text(&stream), "adding: 100, 9.5/s\nadding: 200, 9.5/s\n");
    test_stream_close(&stream);
    test_stream_open(&stream);
    cli_progress quiet = {.words = &stream.out, .quiet = true};
    cli_progress_state late = {"adding", 1, 2, 0, 99, 1, 1};
    cli_progress_show(&quiet, &late);
    assert_string_equal(test_stream_text(&stream), "");
    test_stream_close(&stream);
}

static void durations_are_read_at_a_glance(void **state)
{
    (void)state;
    char text[24];
    assert_string_equal(cli_duration(0.2, text), "0:00");
    assert_string_equal(cli_duration(65, text), "1:05");
    assert_string_equal(cli_duration(7384, text), "2:03:04");
    assert_string_equal(cli_duration(-1, text), "0:00");
}

static void a_full_disk_is_told_and_a_closed_pipe_is_not(void **state)
{
    (void)state;
    cli_output out;
    im_error err = IM_ERROR_INIT;
    FILE *full = fopen("/dev/full", "w");
    if (full == NULL) {
        print_message("skipped: no /dev/full here\n");
        return;
    }
    cli_output_init(&out, full, false);
    cli_puts(&out, "text");
    assert_int_equal(cli_output_end(&out, &err), IM_ERR_FULL);
    assert_non_null(strstr(err.message, "standard output"));
    (void)fclose(full);
    out.errnum = EPIPE;
    assert_int_equal(cli_output_end(&out, &err), IM_OK);
}

static void numpy_header_is_aligned_and_says_the_shape(void **state)
{
    (void)state;
    const size_t shapes[][2] = {{0, 512}, {1, 1}, {3, 768}, {123456789, 4096}};
    for (size_t i = 0; i < IM_COUNT(shapes); i++) {
        im_str header;
        char shape[64];
        im_str_init(&header, 4096);
        cli_npy_header(&header, shapes[i][0], shapes[i][1]);
        const unsigned char *bytes = (const unsigned char *)header.data;
        assert_memory_equal(bytes, "\x93NUMPY\x01\x00", 8);
        assert_int_equal(header.size % 64, 0);
        assert_int_equal((size_t)bytes[8] + 256u * bytes[9] + 10, header.size);
        (void)snprintf(shape, sizeof(shape), "'shape': (%zu, %zu), }", shapes[i][0], shapes[i][1]);
        assert_non_null(memmem(bytes, header.size, shape, strlen(shape)));
        assert_int_equal(bytes[header.size - 1], '\n');
        im_str_clear(&header);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_can_be_taken_back_by_a_shell),
        cmocka_unit_test(text_is_wrapped_between_words),
        cmocka_unit_test(errors_are_a_sentence_and_a_hint_or_one_object),
        cmocka_unit_test(facts_show_nested_values),
        cmocka_unit_test(progress_on_a_terminal_is_one_line_drawn_again),
        cmocka_unit_test(progress_elsewhere_is_a_line_every_ten_seconds),
        cmocka_unit_test(durations_are_read_at_a_glance),
        cmocka_unit_test(a_full_disk_is_told_and_a_closed_pipe_is_not),
        cmocka_unit_test(numpy_header_is_aligned_and_says_the_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
