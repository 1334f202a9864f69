/* cli/manual.c — imago(1) in man's own form, from the tables. */
#include "cli/cli_internal.h"

/* Text of a paragraph: '\' and '-' escaped, '.' and "'" at a line's start guarded. */
static void put_roff(cli_output *out, const char *text, size_t size)
{
    bool line_start = true;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (line_start && (c == '.' || c == '\'')) {
            cli_puts(out, "\\&");
        }
        if (c == '\\') {
            cli_puts(out, "\\e");
        } else if (c == '-') {
            cli_puts(out, "\\-");
        } else if (c == '\'') {
            cli_puts(out, "\\(aq");
        } else if (c == '~') {
            cli_puts(out, "\\(ti");
        } else if (c == '^') {
            cli_puts(out, "\\(ha");
        } else {
            cli_put(out, &c, 1);
        }
        line_start = c == '\n';
    }
}

static void put_text(cli_output *out, const char *text)
{
    const char *gap = NULL;
    while ((gap = strstr(text, "\n\n")) != NULL) {
        put_roff(out, text, (size_t)(gap - text));
        cli_puts(out, "\n.PP\n");
        text = gap + 2;
    }
    put_roff(out, text, strlen(text));
    cli_puts(out, "\n");
}

static void put_option(cli_output *out, const cli_option *option)
{
    im_str form;
    im_str_init(&form, 256);
    cli_option_form(&form, option);
    cli_puts(out, ".TP\n.B ");
    put_roff(out, im_str_text(&form), form.size);
    cli_puts(out, "\n");
    put_roff(out, option->help, strlen(option->help));
    if (option->dflt != NULL) {
        cli_puts(out, " [");
        put_roff(out, option->dflt, strlen(option->dflt));
        cli_puts(out, "]");
    }
    cli_puts(out, "\n");
    im_str_clear(&form);
}

static void put_examples(cli_output *out, const char *examples)
{
    for (const char *line = examples; *line != '\0';) {
        size_t size = strcspn(line, "\n");
        const char *comment = strstr(line, " # ");
        size_t command = comment != NULL && comment < line + size ? (size_t)(comment - line) : size;
        cli_puts(out, ".TP\n.B ");
        put_roff(out, line, command);
        cli_puts(out, "\n");
        if (command < size) {
            put_roff(out, line + command + 3, size - command - 3);
        }
        cli_puts(out, "\n");
        line += size + (line[size] == '\n' ? 1 : 0);
    }
}

static void put_command(cli_output *out, cli_command_id id)
{
    const cli_command *command = &cli_commands[id];
    cli_puts(out, ".SS imago ");
    put_roff(out, command->words, strlen(command->words));
    cli_puts(out, command->operands[0] != '\0' ? " " : "");
    put_roff(out, command->operands, strlen(command->operands));
    cli_puts(out, "\n");
    put_text(out, command->text);
    for (size_t i = 0; i < IM_OPT_COUNT; i++) {
        if (cli_option_of(&cli_option_table[i], id) &&
            !cli_option_is_global(&cli_option_table[i])) {
            put_option(out, &cli_option_table[i]);
        }
    }
    cli_puts(out, ".PP\nExamples:\n");
    put_examples(out, command->examples);
}

static void put_exit_codes(cli_output *out)
{
    cli_puts(out, ".SH EXIT STATUS\n");
    for (int code = 0; code < IM_CODE_COUNT; code++) {
        const char *meaning = im_code_meaning((im_code)code);
        cli_printf(out, ".TP\n.B %d\n", im_code_exit((im_code)code));
        put_roff(out, meaning, strlen(meaning));
        cli_puts(out, "\n");
    }
    cli_puts(out, ".TP\n.B 130, 143\nstopped by Ctrl\\-C or SIGTERM, after a clean end\n");
}

void cli_manual(cli_output *out, const char *version)
{
    cli_printf(out,
               ".TH IMAGO 1 \"\" \"imago %s\" \"User Commands\"\n"
               ".SH NAME\nimago \\- finds pictures by meaning\n"
               ".SH SYNOPSIS\n.B imago\n.I COMMAND\n[\\fIOPTION\\fR...] [\\fIARGUMENT\\fR...]\n"
               ".SH DESCRIPTION\n",
               version);
    put_text(
        out,
        "imago indexes folders of pictures and finds them by text, by picture, or by both. A "
        "model turns pictures and texts into vectors of one space; near vectors mean alike "
        "things. Everything stays on this machine.\n\n"
        "What is indexed lies in a library: a folder with a database and files that can be made "
        "anew. The pictures themselves stay where they are and are never changed.");
    cli_puts(out, ".SH COMMANDS\n");
    for (size_t i = 0; i < IM_CMD_COUNT; i++) {
        put_command(out, (cli_command_id)i);
    }
    cli_puts(out, ".SH OPTIONS OF EVERY COMMAND\n");
    for (size_t i = 0; i < IM_OPT_COUNT; i++) {
        if (cli_option_is_global(&cli_option_table[i])) {
            put_option(out, &cli_option_table[i]);
        }
    }
    put_exit_codes(out);
    cli_puts(
        out,
        ".SH ENVIRONMENT\n"
        ".TP\n.B IMAGO_LIBRARY\nthe library's folder where \\-\\-library is not given\n"
        ".TP\n.B IMAGO_DATA\nwhere the bundled models and the calibration pictures lie, if not "
        "beside the program\n"
        ".TP\n.B IMAGO_MODULES\nwhere imago\\-faiss.so lies, if not beside the program\n"
        ".TP\n.B IMAGO_KERNEL\navx512_bf16, avx512_vnni, avx512, avx2 or portable: forces an instruction set\n"
        ".TP\n.B XDG_DATA_HOME\nabove imago/default and imago/models; "
        "\\(ti/.local/share otherwise\n"
        ".TP\n.B NO_COLOR\nno colours when set\n");
}
