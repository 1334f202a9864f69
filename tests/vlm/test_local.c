/* A llama-server of our own, before it is started and after it has ended: its files, its name, its
 * arguments, its last words. */
#include "help.h"
#include "tests/help_folder.h"
#include "vlm/local_internal.h"

#include <sys/stat.h>
#include <unistd.h>

/* ---- last words ---- */

static void check_words(const char *log, const char *words, bool port)
{
    local_tail *tail = im_alloc_zero(1, sizeof(*tail));
    im_str out;
    assert_non_null(tail);
    for (const char *p = log; *p != '\0'; p++) { /* byte by byte: lines come in any pieces */
        local_tail_add(tail, p, 1, NULL);
    }
    im_str_init(&out, 1024);
    assert_int_equal(local_tail_words(tail, &out), port);
    assert_string_equal(im_str_text(&out), words);
    im_str_clear(&out);
    im_free(tail);
}

static void the_last_words_say_why(void **state)
{
    (void)state;
    check_words("", "", false);
    check_words("no end of line", "", false);
    check_words("one\n\n  two\r\nthree\n", "one | two | three", false);
    check_words("1\n2\n3\n4\n5\n6\n", "3 | 4 | 5 | 6", false);
    check_words("0.00.011.588 I loading\n0.00.011.589 E gguf: 12 tensors\n"
                "0.00.011.600 I cleaning up\n0.00.012.368 E srv: exiting\n",
                "gguf: 12 tensors | srv: exiting", false);
    check_words("it Failed\n0.1 is no time\nfine\n", "it Failed", false);
    check_words("error 1\nerror 2\nerror 3\nerror 4\nerror 5\nerror 6\n",
                "error 1 | error 2 | error 3 | error 6", false);
    check_words("start: couldn't bind HTTP server socket, port: 1\n",
                "start: couldn't bind HTTP server socket, port: 1", true);
    assert_int_equal(im_live_allocations(), 0);
}

static void a_log_without_end_stays_small(void **state)
{
    static const char block[4096] = {'x'};
    local_tail *tail = im_alloc_zero(1, sizeof(*tail));
    im_str out;
    (void)state;
    assert_non_null(tail);
    for (int i = 0; i < 1000; i++) {
        local_tail_add(tail, block, sizeof(block), NULL); /* NULs too */
    }
    local_tail_add(tail, "\nerror\n", 7, NULL);
    im_str_init(&out, 1024);
    (void)local_tail_words(tail, &out);
    assert_string_equal(im_str_text(&out), "error");
    im_str_clear(&out);
    im_free(tail);
}

/* ---- plans ---- */

static char folder[HELP_FOLDER_BYTES];

static const char *file_of(const char *name, const char *data, size_t size)
{
    static char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(im_file_write_atomic(path, data, size, NULL), IM_OK);
    return path;
}

static void gguf(const char *name, const char *kind, char out_path[256])
{
    char head[300] = "GGUF\3";
    size_t at = 24;
    head[at] = 20;
    memcpy(head + at + 8, "general.architecture", 20);
    head[at + 28] = 8;
    head[at + 32] = (char)strlen(kind);
    memcpy(head + at + 40, kind, strlen(kind));
    (void)snprintf(out_path, 256, "%s", file_of(name, head, sizeof(head)));
}

static im_code plan(const char *model, const char *mmproj, const char *argument,
                    im_vlm_local_plan *out, im_error *err)
{
    const char *arguments[] = {argument};
    const im_vlm_local_options options = {.program = "sh",
                                          .model = model,
                                          .mmproj = mmproj,
                                          .arguments = arguments,
                                          .n_arguments = argument != NULL};
    return im_vlm_local_plan_of(&options, out, err);
}

static void a_plan_is_made_of_files_that_fit(void **state)
{
    static im_vlm_local_plan first, other;
    char model[256];
    char mmproj[256];
    im_error err = IM_ERROR_INIT;
    (void)state;
    gguf("Qwen 2.5,VL.GGUF", "qwen2vl", model);
    gguf("p.gguf", "clip", mmproj);
    assert_int_equal(plan(model, mmproj, "-ngl", &first, &err), IM_OK);
    assert_string_equal(first.name, "Qwen_2.5_VL");
    assert_int_equal(first.program[0], '/');
    assert_memory_equal(first.id, "local:", 6);
    gguf("Qwen 2.5,VL.GGUF", "qwen3vl", model); /* other content, other answers */
    assert_int_equal(plan(model, mmproj, NULL, &other, &err), IM_OK);
    assert_string_not_equal(first.id, other.id);
    assert_int_equal(plan(mmproj, mmproj, NULL, &other, &err), IM_ERR_FORMAT);
    assert_int_equal(plan(model, model, NULL, &other, &err), IM_ERR_FORMAT);
    assert_non_null(strstr(err.message, "expected a picture projector"));
    assert_int_equal(plan(model, NULL, NULL, &other, &err), IM_ERR_INVALID);
    assert_int_equal(plan(model, "/nowhere", NULL, &other, &err), IM_ERR_NOT_FOUND);
    assert_int_equal(plan(model, folder, NULL, &other, &err), IM_ERR_FORMAT);
    assert_int_equal(plan(file_of("short.gguf", "GGUF", 4), mmproj, NULL, &other, &err),
                     IM_ERR_FORMAT);
    assert_int_equal(im_live_allocations(), 0);
}

static void arguments_that_are_ours_are_refused(void **state)
{
    static im_vlm_local_plan out;
    static const char *const rows[] = {"--host",         "--host=0.0.0.0", "--port", "-m",
                                       "--api-key",      "--model",        "-hf",    "--rpc",
                                       "--mmproj-url=x", "--api-key-file"};
    char model[256];
    char mmproj[256];
    (void)state;
    gguf("m.gguf", "qwen2vl", model);
    gguf("p.gguf", "clip", mmproj);
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        im_error err = IM_ERROR_INIT;
        assert_int_equal(plan(model, mmproj, rows[i], &out, &err), IM_ERR_INVALID);
    }
    assert_int_equal(plan(model, mmproj, "--ctx-size", &out, NULL), IM_OK);
}

static void a_name_of_any_bytes_is_a_name(void **state)
{
    static im_vlm_local_plan out;
    char name[200] = "";
    char model[256];
    char mmproj[256];
    (void)state;
    for (size_t i = 0; i + 7 < sizeof(name); i += 2) {
        memcpy(name + i, "\xc3\xa9", 3);
    }
    memcpy(name + 190, "\xff\n.gguf", 8);
    gguf(name, "qwen2vl", model);
    gguf("p.gguf", "clip", mmproj);
    assert_int_equal(plan(model, mmproj, NULL, &out, NULL), IM_OK);
    assert_true(im_utf8_valid(out.name, strlen(out.name), NULL));
    assert_in_range(strlen(out.name), 120, sizeof(out.name) - 1);
}

/* ---- the port ---- */

static void a_port_of_ours_is_ours(void **state)
{
    (void)state;
    assert_true(local_port_is_ours("1")); /* nobody listens: it cannot be told */
    assert_true(local_port_is_ours("x"));
}

static int open_folder(void **state)
{
    (void)state;
    return help_temporary(folder) == NULL;
}

static int close_folder(void **state)
{
    (void)state;
    return help_remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_words_say_why),
        cmocka_unit_test(a_log_without_end_stays_small),
        cmocka_unit_test(a_plan_is_made_of_files_that_fit),
        cmocka_unit_test(arguments_that_are_ours_are_refused),
        cmocka_unit_test(a_name_of_any_bytes_is_a_name),
        cmocka_unit_test(a_port_of_ours_is_ours),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
