/* tests/base/test_log.c — base/log.c: lines are read back through a pipe put in place of standard
 * error. */
#include "base/log.h"
#include "support.h"

static char captured[70000];

/* Standard error of `body`, as a string. What it writes must fit into a pipe (64 KiB). */
static const char *capture(void (*body)(void))
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    int saved = dup(STDERR_FILENO);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    close(ends[1]);
    body();
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    size_t used = 0;
    ssize_t n;
    while ((n = read(ends[0], captured + used, sizeof captured - 1 - used)) > 0) {
        used += (size_t)n;
    }
    close(ends[0]);
    captured[used] = '\0';
    return captured;
}

static void log_each_level(void)
{
    im_log(IM_LOG_ERROR, "add.failed", "path='%s' n=%d", "a\nb", 3);
    im_log(IM_LOG_WARN, "slow", NULL);
    im_log(IM_LOG_INFO, "info", "x=1");
    im_log(IM_LOG_DEBUG, "debug", "x=1");
}

static void lines_up_to_the_level_are_written_and_escaped(void **state)
{
    (void)state;
    assert_string_equal(capture(log_each_level), "error add.failed path='a\\nb' n=3\nwarn slow\n");
    im_log_set_level(IM_LOG_DEBUG);
    assert_string_equal(capture(log_each_level), "error add.failed path='a\\nb' n=3\nwarn slow\n"
                                                 "info info x=1\ndebug debug x=1\n");
    im_log_set_level(IM_LOG_ERROR);
    assert_string_equal(capture(log_each_level), "error add.failed path='a\\nb' n=3\n");
    im_log_set_level(IM_LOG_WARN);
}

static void log_long_lines(void)
{
    static char text[20000];
    memset(text, '\x01', sizeof text - 1);
    im_log(IM_LOG_ERROR, "event", "%s", text);
    im_log(IM_LOG_ERROR, text, NULL);
}

static void a_line_that_is_too_long_is_cut_and_still_ends(void **state)
{
    (void)state;
    const char *out = capture(log_long_lines);
    size_t size = strlen(out);
    assert_true(size <= 2 * 4096 && out[size - 1] == '\n');
    const char *first_end = strchr(out, '\n');
    assert_true(first_end != NULL && first_end != out + size - 1);
    assert_memory_equal(out, "error event \\x01\\x01", 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_up_to_the_level_are_written_and_escaped),
        cmocka_unit_test(a_line_that_is_too_long_is_cut_and_still_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
