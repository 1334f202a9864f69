/* cli/output.c — results and words on their way out: terminals, colours, wrapping, failed writes.
 */
#include "cli/cli_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define COLUMNS_DEFAULT 80
#define COLUMNS_LEAST 40

static bool set_in_environment(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0';
}

void cli_output_init(cli_output *out, FILE *file, bool no_color)
{
    struct winsize size = {0};
    const char *term = getenv("TERM");
    memset(out, 0, sizeof(*out));
    out->file = file;
    out->terminal = isatty(fileno(file)) == 1;
    out->columns = COLUMNS_DEFAULT;
    if (out->terminal && ioctl(fileno(file), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        out->columns = IM_MAX((size_t)size.ws_col, (size_t)COLUMNS_LEAST);
    }
    out->colour = out->terminal && !no_color && !set_in_environment("NO_COLOR") && term != NULL &&
                  strcmp(term, "dumb") != 0;
}

void cli_put(cli_output *out, const char *data, size_t size)
{
    if (out->errnum == 0 && size > 0 && fwrite(data, 1, size, out->file) != size) {
        out->errnum = errno != 0 ? errno : EIO;
    }
}

void cli_puts(cli_output *out, const char *text)
{
    cli_put(out, text, strlen(text));
}

void cli_printf(cli_output *out, const char *fmt, ...)
{
    im_str text;
    va_list args;
    im_str_init(&text, SIZE_MAX / 2);
    va_start(args, fmt);
    im_str_addv(&text, fmt, args);
    va_end(args);
    if (text.failed && out->errnum == 0) {
        out->errnum = ENOMEM;
    }
    cli_put(out, im_str_text(&text), text.size);
    im_str_clear(&text);
}

void cli_style(cli_output *out, const char *style)
{
    if (out->colour) {
        cli_printf(out, "\x1b[%sm", style);
    }
}

static void put_str(cli_output *out, im_str *text)
{
    if (text->failed && out->errnum == 0) {
        out->errnum = ENOMEM;
    }
    cli_put(out, im_str_text(text), text->size);
    im_str_clear(text);
}

void cli_put_escaped(cli_output *out, const char *text)
{
    im_str escaped;
    im_str_init(&escaped, SIZE_MAX / 2);
    im_text_escape(&escaped, text, strlen(text));
    put_str(out, &escaped);
}

void cli_put_path(cli_output *out, const char *path)
{
    im_str quoted;
    im_str_init(&quoted, SIZE_MAX / 2);
    im_text_shell(&quoted, path, strlen(path));
    put_str(out, &quoted);
}

static void put_blanks(cli_output *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        cli_put(out, " ", 1);
    }
}

/* One paragraph: up to the end of the text or an empty line. */
static void put_paragraph(cli_output *out, const char *text, size_t size, size_t indent,
                          size_t columns)
{
    size_t column = 0;
    for (size_t i = 0; i < size;) {
        size_t word = 0;
        while (i + word < size && text[i + word] != ' ' && text[i + word] != '\n') {
            word++;
        }
        if (column > 0 && column + 1 + word > columns) {
            cli_put(out, "\n", 1);
            column = 0;
        }
        if (column == 0) {
            put_blanks(out, indent);
            column = indent;
        } else {
            cli_put(out, " ", 1);
            column++;
        }
        cli_put(out, text + i, word);
        column += word;
        i += word;
        while (i < size && (text[i] == ' ' || text[i] == '\n')) {
            i++;
        }
    }
    cli_put(out, "\n", 1);
}

void cli_put_wrapped(cli_output *out, const char *text, size_t indent, size_t columns)
{
    const char *gap = NULL;
    while ((gap = strstr(text, "\n\n")) != NULL) {
        put_paragraph(out, text, (size_t)(gap - text), indent, columns);
        cli_put(out, "\n", 1);
        text = gap + 2;
    }
    put_paragraph(out, text, strlen(text), indent, columns);
}

im_code cli_put_json(cli_output *out, const im_json_writer *w, im_error *err)
{
    if (!im_json_ok(w)) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the JSON text");
    }
    cli_put(out, im_str_text(&w->out), w->out.size);
    cli_put(out, "\n", 1);
    return IM_OK;
}

void cli_flush(cli_output *out)
{
    if (out->errnum == 0 && fflush(out->file) != 0) {
        out->errnum = errno != 0 ? errno : EIO;
    }
}

im_code cli_output_end(cli_output *out, im_error *err)
{
    cli_flush(out);
    if (out->errnum == 0 || out->errnum == EPIPE) {
        return IM_OK; /* `| head` has what it wanted */
    }
    return im_fail_errno(err, out->errnum, "could not write standard output");
}

void cli_json_error(im_json_writer *w, const im_error *error)
{
    im_json_begin_object(w);
    im_json_key(w, "error");
    im_json_error(w, error, NULL);
    im_json_end_object(w);
}

void cli_put_error(cli_output *words, const im_error *error, bool json)
{
    if (json) {
        im_json_writer w;
        im_json_init(&w, 1u << 20);
        cli_json_error(&w, error);
        (void)!cli_put_json(words, &w, NULL);
        im_json_clear(&w);
    } else {
        cli_style(words, "31");
        cli_puts(words, "imago: ");
        cli_style(words, "0");
        cli_puts(words, error->message); /* allocates nothing: memory may be what is out */
        cli_puts(words, error->hint[0] != '\0' ? "\n  hint: " : "");
        cli_puts(words, error->hint);
        cli_puts(words, "\n");
    }
    cli_flush(words);
}
