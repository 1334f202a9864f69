/* tests/cli/help.h — arguments from a line, and streams that end in a string. */
#ifndef IM_TESTS_CLI_HELP_H
#define IM_TESTS_CLI_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "cli/cli_internal.h"

/** Words of a line as a shell splits it ("…" kept together), up to a pipe or redirection. */
typedef struct test_argv {
    char text[1024];
    char *argv[64];
    int argc;
} test_argv;

static inline void test_split(test_argv *out, const char *line)
{
    static const char wrapper[] = "source <(";
    size_t n = 0;
    if (strncmp(line, wrapper, sizeof(wrapper) - 1) == 0) {
        line += sizeof(wrapper) - 1;
    }
    out->argc = 0;
    while (*line != '\0') {
        while (*line == ' ') {
            line++;
        }
        if (*line == '\0' || *line == '|' || *line == '>') {
            break;
        }
        assert_true(out->argc < 63);
        out->argv[out->argc++] = &out->text[n];
        bool quoted = false;
        for (; *line != '\0' && (quoted || *line != ' '); line++) {
            assert_true(n < sizeof(out->text) - 2);
            if (*line == '"') {
                quoted = !quoted;
            } else if (*line != ')' || line[1] != '\0') {
                out->text[n++] = *line;
            }
        }
        out->text[n++] = '\0';
    }
    out->argv[out->argc] = NULL;
}

static inline im_code test_parse(const char *line, cli_args *args, im_error *err)
{
    static test_argv words; /* borrowed by args until the next call */
    test_split(&words, line);
    return cli_parse(words.argc, words.argv, args, err);
}

/** A stream into memory. */
typedef struct test_stream {
    cli_output out;
    char *text;
    size_t size;
} test_stream;

static inline void test_stream_open(test_stream *stream)
{
    memset(stream, 0, sizeof(*stream));
    stream->out.file = open_memstream(&stream->text, &stream->size);
    assert_non_null(stream->out.file);
    stream->out.columns = 80;
}

static inline const char *test_stream_text(test_stream *stream)
{
    cli_flush(&stream->out);
    return stream->text;
}

static inline void test_stream_close(test_stream *stream)
{
    assert_int_equal(fclose(stream->out.file), 0);
    free(stream->text);
}

#endif
