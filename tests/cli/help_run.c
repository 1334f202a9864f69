/* tests/cli/help_run.c — see help_run.h. */
#include "help_run.h"
#include "fake_app.h"
#include "help.h"

#include "base/clock.h"
#include "base/fault.h"
#include "cli/cli.h"
#include <sys/mman.h>
#include <unistd.h>

run_result result;

static size_t read_back(int fd, char *text, size_t capacity)
{
    ssize_t n = pread(fd, text, capacity - 1, 0);
    assert_true(n >= 0);
    text[n] = '\0';
    (void)close(fd);
    return (size_t)n;
}

void run_with_input(const char *line, const char *input)
{
    static test_argv words; /* `fake` points into it until the next run */
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

void run(const char *line)
{
    run_with_input(line, NULL);
}

int run_forget(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof(fake));
    return 0;
}

void expect(const char *line, int code, const char *out, const char *err)
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
