/* cli/help.c — help from the tables. */
#include "cli/cli_internal.h"

#define HELP_COLUMNS 90 /* longer lines are hard to read, however wide the terminal is */
#define OPTION_COLUMN 28

static size_t help_columns(const cli_output *out)
{
    return out->terminal ? IM_MIN(out->columns, (size_t)HELP_COLUMNS) : HELP_COLUMNS;
}

static void put_heading(cli_output *out, const char *heading)
{
    cli_puts(out, "\n");
    cli_style(out, "1");
    cli_printf(out, "%s\n", heading);
    cli_style(out, "0");
}

void cli_option_form(im_str *out, const cli_option *option)
{
    if (option->letter != 0) {
        im_str_addf(out, "-%c, ", option->letter);
    }
    im_str_addf(out, "--%s", option->name);
    if (option->value != NULL) {
        im_str_addf(out, " %s", option->value);
    }
}

/* "  form      text", the text wrapped behind OPTION_COLUMN; a long form has a line of its own. */
static void put_entry(cli_output *out, const char *form, const char *text)
{
    size_t columns = help_columns(out);
    im_str wrapped;
    cli_printf(out, "  %s", form);
    size_t used = strlen(form) + 2;
    if (used + 2 > OPTION_COLUMN) {
        cli_puts(out, "\n");
        used = 0;
    }
    im_str_init(&wrapped, 1u << 16);
    im_str_addf(&wrapped, "%*s", (int)(OPTION_COLUMN - used), "");
    size_t column = OPTION_COLUMN;
    for (const char *p = text; *p != '\0';) {
        size_t word = strcspn(p, " ");
        if (column > OPTION_COLUMN && column + 1 + word > columns) {
            im_str_addf(&wrapped, "\n%*s", OPTION_COLUMN, "");
            column = OPTION_COLUMN;
        } else if (column > OPTION_COLUMN) {
            im_str_add_char(&wrapped, ' ');
            column++;
        }
        im_str_add(&wrapped, p, word);
        column += word;
        p += word + (p[word] == ' ' ? 1 : 0);
    }
    cli_printf(out, "%s\n", im_str_text(&wrapped));
    im_str_clear(&wrapped);
}

static void put_option(cli_output *out, const cli_option *option)
{
    im_str form;
    im_str text;
    im_str_init(&form, 256);
    im_str_init(&text, 1024);
    cli_option_form(&form, option);
    im_str_add_c(&text, option->help);
    if (option->dflt != NULL) {
        im_str_addf(&text, " [%s]", option->dflt);
    }
    put_entry(out, im_str_text(&form), im_str_text(&text));
    im_str_clear(&form);
    im_str_clear(&text);
}

static void put_options(cli_output *out, cli_command_id command, bool global)
{
    for (size_t i = 0; i < IM_OPT_COUNT; i++) {
        const cli_option *option = &cli_option_table[i];
        if (cli_option_of(option, command) && cli_option_is_global(option) == global) {
            put_option(out, option);
        }
    }
}

static bool has_options(cli_command_id command)
{
    for (size_t i = 0; i < IM_OPT_COUNT; i++) {
        if (cli_option_of(&cli_option_table[i], command) &&
            !cli_option_is_global(&cli_option_table[i])) {
            return true;
        }
    }
    return false;
}

static void put_examples(cli_output *out, const char *examples)
{
    for (const char *line = examples; *line != '\0';) {
        size_t size = strcspn(line, "\n");
        const char *comment = strstr(line, " # ");
        size_t command = comment != NULL && comment < line + size ? (size_t)(comment - line) : size;
        cli_printf(out, "  %.*s\n", (int)command, line);
        if (command < size) {
            cli_style(out, "2");
            cli_printf(out, "      %.*s\n", (int)(size - command - 3), line + command + 3);
            cli_style(out, "0");
        }
        line += size + (line[size] == '\n' ? 1 : 0);
    }
}

void cli_help_command(cli_output *out, cli_command_id id)
{
    const cli_command *command = &cli_commands[id];
    cli_printf(out, "imago %s: %s\n", command->words, command->summary);
    put_heading(out, "usage");
    cli_printf(out, "  imago %s%s%s%s\n", command->words, has_options(id) ? " [OPTION...]" : "",
               command->operands[0] != '\0' ? " " : "", command->operands);
    cli_puts(out, "\n");
    cli_put_wrapped(out, command->text, 2, help_columns(out));
    put_heading(out, "examples");
    put_examples(out, command->examples);
    if (has_options(id)) {
        put_heading(out, "options");
        put_options(out, id, false);
    }
    put_heading(out, "options of every command");
    put_options(out, id, true);
}

static void put_commands(cli_output *out, const char *group)
{
    size_t length = group != NULL ? strlen(group) : 0;
    for (size_t i = 0; i < IM_CMD_COUNT; i++) {
        const cli_command *command = &cli_commands[i];
        im_str form;
        if (group != NULL &&
            (strncmp(command->words, group, length) != 0 || command->words[length] != ' ')) {
            continue;
        }
        im_str_init(&form, 256);
        im_str_addf(&form, "%s%s%s", command->words, command->operands[0] != '\0' ? " " : "",
                    command->operands);
        put_entry(out, im_str_text(&form), command->summary);
        im_str_clear(&form);
    }
}

void cli_help_group(cli_output *out, const char *group)
{
    cli_printf(out, "commands of 'imago %s'\n\n", group);
    put_commands(out, group);
    cli_printf(out, "\n'imago %s COMMAND --help' tells more.\n", group);
}

void cli_help_overview(cli_output *out)
{
    cli_puts(out, "imago finds pictures by meaning: describe one, or show one that is like it.\n");
    put_heading(out, "a start");
    put_examples(out, "imago add ~/Pictures # index a folder\n"
                      "imago search a red car on a beach # find by text\n"
                      "imago similar photo.jpg # find by picture");
    put_heading(out, "commands");
    put_commands(out, NULL);
    put_heading(out, "options of every command");
    put_options(out, IM_CMD_HELP, true);
    cli_puts(out, "\n'imago COMMAND --help' tells more, 'man imago' everything.\n");
}

/* ---- for programs ---- */

static void json_option(im_json_writer *w, const cli_option *option)
{
    char letter[2] = {option->letter, '\0'};
    im_json_begin_object(w);
    im_json_put_string(w, "name", option->name);
    im_json_put_string(w, "letter", option->letter != 0 ? letter : NULL);
    im_json_put_string(w, "value", option->value);
    im_json_put_string(w, "default", option->dflt);
    im_json_put_string(w, "help", option->help);
    im_json_end_object(w);
}

void cli_help_json(im_json_writer *w)
{
    im_json_begin_object(w);
    im_json_key(w, "commands");
    im_json_begin_array(w);
    for (size_t i = 0; i < IM_CMD_COUNT; i++) {
        const cli_command *command = &cli_commands[i];
        im_json_begin_object(w);
        im_json_put_string(w, "name", command->words);
        im_json_put_string(w, "operands", command->operands);
        im_json_put_string(w, "summary", command->summary);
        im_json_put_string(w, "text", command->text);
        im_json_put_string(w, "examples", command->examples);
        im_json_key(w, "options");
        im_json_begin_array(w);
        for (size_t j = 0; j < IM_OPT_COUNT; j++) {
            if (cli_option_of(&cli_option_table[j], (cli_command_id)i)) {
                json_option(w, &cli_option_table[j]);
            }
        }
        im_json_end_array(w);
        im_json_end_object(w);
    }
    im_json_end_array(w);
    im_json_end_object(w);
}
