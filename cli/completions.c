/* cli/completions.c — completion scripts of three shells from the tables. */
#include "cli/cli_internal.h"

typedef enum value_kind { VALUE_NONE, VALUE_FREE, VALUE_PATH, VALUE_CHOICE } value_kind;

static value_kind value_of(const cli_option *option)
{
    if (option->value == NULL) {
        return VALUE_NONE;
    }
    if (option->type == IM_TYPE_CHOICE) {
        return VALUE_CHOICE;
    }
    bool path = strstr(option->value, "FILE") != NULL || strstr(option->value, "DIR") != NULL;
    return path ? VALUE_PATH : VALUE_FREE;
}

static bool takes_paths(const cli_command *command)
{
    return strstr(command->operands, "PATH") != NULL || strstr(command->operands, "FILE") != NULL ||
           strstr(command->operands, "DIR") != NULL;
}

/* Operands that are a closed list, as "bash|zsh|fish". */
static bool takes_choice(const cli_command *command)
{
    return command->operands[0] >= 'a' && command->operands[0] <= 'z' &&
           strchr(command->operands, ':') == NULL;
}

static bool in_group(size_t command, const char **out_second)
{
    const char *blank = strchr(cli_commands[command].words, ' ');
    *out_second = blank != NULL ? blank + 1 : NULL;
    return blank != NULL;
}

/* First words, each once. */
static void put_first_words(cli_output *out, const char *between)
{
    const char *last = "";
    size_t last_size = 0;
    for (size_t i = 0; i < IM_CMD_COUNT; i++) {
        const char *words = cli_commands[i].words;
        size_t size = strcspn(words, " ");
        if (size != last_size || memcmp(words, last, size) != 0) {
            cli_printf(out, "%s%.*s", i > 0 ? between : "", (int)size, words);
        }
        last = words;
        last_size = size;
    }
}

static void put_choices(cli_output *out, const char *choices)
{
    char name[32];
    for (size_t i = 0; cli_choice(choices, i, name); i++) {
        cli_printf(out, "%s%s", i > 0 ? " " : "", name);
    }
}

/* ---- bash ---- */

static void bash_options(cli_output *out, size_t command)
{
    for (size_t i = 0; i < IM_OPT_COUNT; i++) {
        if (cli_option_of(&cli_option_table[i], (cli_command_id)command)) {
            cli_printf(out, " --%s", cli_option_table[i].name);
        }
    }
}

static void bash_value_cases(cli_output *out, value_kind kind)
{
    for (size_t i = 0; i < IM_OPT_COUNT; i++) {
        const cli_option *option = &cli_option_table[i];
        if (value_of(option) != kind) {
            continue;
        }
        cli_printf(out, "    --%s", option->name);
        if (option->letter != 0) {
            cli_printf(out, "|-%c", option->letter);
        }
        cli_puts(out, ") ");
        if (kind == VALUE_CHOICE) {
            cli_puts(out, "COMPREPLY=($(compgen -W '");
            put_choices(out, option->value);
            cli_puts(out, "' -- \"$cur\")); ");
        } else if (kind == VALUE_PATH) {
            cli_puts(out, "COMPREPLY=($(compgen -f -- \"$cur\")); compopt -o filenames; ");
        }
        cli_puts(out, "return;;\n");
    }
}

static void bash_value_options(cli_output *out)
{
    bool first = true;
    for (size_t i = 0; i < IM_OPT_COUNT; i++) {
        if (value_of(&cli_option_table[i]) != VALUE_NONE) {
            cli_printf(out, "%s--%s", first ? "" : "|", cli_option_table[i].name);
            first = false;
            if (cli_option_table[i].letter != 0) {
                cli_printf(out, "|-%c", cli_option_table[i].letter);
            }
        }
    }
}

static void bash_command(cli_output *out, size_t i)
{
    const cli_command *command = &cli_commands[i];
    cli_printf(out, "    '%s') options='", command->words);
    bash_options(out, i);
    cli_puts(out, "'; ");
    if (takes_choice(command)) {
        cli_puts(out, "operands='");
        put_choices(out, command->operands);
        cli_puts(out, "'; ");
    } else if (takes_paths(command)) {
        cli_puts(out, "paths=1; ");
    }
    cli_puts(out, ";;\n");
}

static void bash_groups(cli_output *out)
{
    const char *second = NULL;
    for (size_t i = 0; i < IM_CMD_COUNT; i++) {
        const char *words = cli_commands[i].words;
        size_t size = strcspn(words, " ");
        bool first = i == 0 || strncmp(cli_commands[i - 1].words, words, size + 1) != 0;
        if (!in_group(i, &second) || !first) {
            continue;
        }
        cli_printf(out, "    %.*s) operands='", (int)size, words);
        for (size_t j = i; j < IM_CMD_COUNT; j++) {
            if (in_group(j, &second) && strncmp(cli_commands[j].words, words, size + 1) == 0) {
                cli_printf(out, "%s%s", j > i ? " " : "", second);
            }
        }
        cli_puts(out, "';;\n");
    }
}

static void complete_bash(cli_output *out)
{
    cli_puts(out, "# bash completion for imago, made by 'imago completions bash'\n"
                  "_imago() {\n"
                  "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
                  "  local command= options= operands= paths= i\n"
                  "  COMPREPLY=()\n"
                  "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
                  "    case ${COMP_WORDS[i]} in\n"
                  "    ");
    bash_value_options(out);
    cli_puts(out, ") ((i++));;\n"
                  "    -*) ;;\n"
                  "    *) if [[ -z $command ]]; then command=${COMP_WORDS[i]}\n"
                  "       else case $command in\n");
    for (size_t i = 0; i < IM_CMD_COUNT; i++) {
        const char *words = cli_commands[i].words;
        size_t size = strcspn(words, " ");
        if (words[size] == ' ' &&
            (i == 0 || strncmp(cli_commands[i - 1].words, words, size + 1) != 0)) {
            cli_printf(out, "         %.*s) command=\"$command ${COMP_WORDS[i]}\";;\n", (int)size,
                       words);
        }
    }
    cli_puts(out, "       esac; fi;;\n"
                  "    esac\n"
                  "  done\n"
                  "  case $prev in\n");
    bash_value_cases(out, VALUE_CHOICE);
    bash_value_cases(out, VALUE_PATH);
    bash_value_cases(out, VALUE_FREE);
    cli_puts(out, "  esac\n"
                  "  case $command in\n"
                  "    '') operands='");
    put_first_words(out, " ");
    cli_puts(out, "'; options='");
    bash_options(out, IM_CMD_HELP);
    cli_puts(out, "';;\n");
    bash_groups(out);
    for (size_t i = 0; i < IM_CMD_COUNT; i++) {
        bash_command(out, i);
    }
    cli_puts(out, "  esac\n"
                  "  if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n"
                  "  elif [[ -n $paths ]]; then\n"
                  "    COMPREPLY=($(compgen -f -- \"$cur\")); compopt -o filenames 2>/dev/null\n"
                  "  else COMPREPLY=($(compgen -W \"$operands\" -- \"$cur\")); fi\n"
                  "}\n"
                  "complete -F _imago imago\n");
}

/* ---- zsh ---- */

/* Help inside '…[help]…': quotes, brackets and colons are its grammar. */
static void zsh_text(cli_output *out, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '\'') {
            cli_puts(out, "'\\''");
        } else {
            if (strchr("[]:\\", *c) != NULL) {
                cli_puts(out, "\\");
            }
            cli_put(out, c, 1);
        }
    }
}

static void zsh_option(cli_output *out, const cli_option *option)
{
    bool repeats = option->type == IM_TYPE_PART || option->type == IM_TYPE_COUNT ||
                   option->type == IM_TYPE_LIST;
    cli_puts(out, " \\\n        ");
    if (option->letter != 0) {
        if (!repeats) {
            cli_printf(out, "'(-%c --%s)'", option->letter, option->name);
        } else {
            cli_puts(out, "\\*");
        }
        cli_printf(out, "{-%c,--%s}'[", option->letter, option->name);
    } else {
        cli_printf(out, "'%s--%s[", repeats ? "*" : "", option->name);
    }
    zsh_text(out, option->help);
    cli_puts(out, "]");
    if (option->value != NULL) {
        cli_puts(out, ":");
        zsh_text(out, option->value);
        cli_puts(out, ":");
        if (value_of(option) == VALUE_PATH) {
            cli_puts(out, "_files");
        } else if (value_of(option) == VALUE_CHOICE) {
            cli_puts(out, "(");
            put_choices(out, option->value);
            cli_puts(out, ")");
        }
    }
    cli_puts(out, "'");
}

static void zsh_command(cli_output *out, size_t i)
{
    const cli_command *command = &cli_commands[i];
    cli_printf(out, "    '%s')\n      _arguments -s", command->words);
    for (size_t j = 0; j < IM_OPT_COUNT; j++) {
        if (cli_option_of(&cli_option_table[j], (cli_command_id)i)) {
            zsh_option(out, &cli_option_table[j]);
        }
    }
    if (takes_choice(command)) {
        cli_puts(out, " \\\n        '1:shell:(");
        put_choices(out, command->operands);
        cli_puts(out, ")'");
    } else if (takes_paths(command)) {
        cli_puts(out, " \\\n        '*:file:_files'");
    }
    cli_puts(out, ";;\n");
}

static void complete_zsh(cli_output *out)
{
    const char *second = NULL;
    cli_puts(out, "#compdef imago\n"
                  "# zsh completion for imago, made by 'imago completions zsh'\n"
                  "_imago() {\n"
                  "  local command\n"
                  "  if (( CURRENT == 2 )); then\n"
                  "    local -a commands=(\n");
    for (size_t i = 0; i < IM_CMD_COUNT; i++) {
        const cli_command *command = &cli_commands[i];
        size_t size = strcspn(command->words, " ");
        if (i > 0 && strncmp(cli_commands[i - 1].words, command->words, size + 1) == 0) {
            continue;
        }
        cli_printf(out, "      '%.*s:", (int)size, command->words);
        zsh_text(out, in_group(i, &second) ? "more commands" : command->summary);
        cli_puts(out, "'\n");
    }
    cli_puts(out, "    )\n    _describe command commands\n    return\n  fi\n"
                  "  command=$words[2]\n  shift words; (( CURRENT-- ))\n");
    for (size_t i = 0; i < IM_CMD_COUNT; i++) {
        const char *words = cli_commands[i].words;
        size_t size = strcspn(words, " ");
        if (!in_group(i, &second) ||
            (i > 0 && strncmp(cli_commands[i - 1].words, words, size + 1) == 0)) {
            continue;
        }
        cli_printf(out,
                   "  if [[ $command == %.*s ]]; then\n    if (( CURRENT == 2 )); then\n"
                   "      local -a commands=(\n",
                   (int)size, words);
        for (size_t j = i; j < IM_CMD_COUNT; j++) {
            if (in_group(j, &second) && strncmp(cli_commands[j].words, words, size + 1) == 0) {
                cli_printf(out, "        '%s:", second);
                zsh_text(out, cli_commands[j].summary);
                cli_puts(out, "'\n");
            }
        }
        cli_puts(out, "      )\n      _describe command commands\n      return\n    fi\n"
                      "    command=\"$command $words[2]\"\n    shift words; (( CURRENT-- ))\n"
                      "  fi\n");
    }
    cli_puts(out, "  case $command in\n");
    for (size_t i = 0; i < IM_CMD_COUNT; i++) {
        zsh_command(out, i);
    }
    cli_puts(out, "  esac\n}\n"
                  "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _imago \"$@\"\n"
                  "else compdef _imago imago; fi\n");
}

/* ---- fish ---- */

static void fish_text(cli_output *out, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '\'' || *c == '\\') {
            cli_puts(out, "\\");
        }
        cli_put(out, c, 1);
    }
}

static void fish_option(cli_output *out, const cli_option *option)
{
    cli_puts(out, "complete -c imago");
    if (!cli_option_is_global(option)) {
        cli_puts(out, " -n '__fish_seen_subcommand_from");
        for (size_t i = 0; i < IM_CMD_COUNT; i++) {
            if (cli_option_of(option, (cli_command_id)i)) {
                cli_printf(out, " %s", cli_commands[i].words);
            }
        }
        cli_puts(out, "'");
    }
    cli_printf(out, " -l %s", option->name);
    if (option->letter != 0) {
        cli_printf(out, " -s %c", option->letter);
    }
    switch (value_of(option)) {
    case VALUE_PATH:
        cli_puts(out, " -r -F");
        break;
    case VALUE_FREE:
        cli_puts(out, " -x");
        break;
    case VALUE_CHOICE:
        cli_puts(out, " -x -a '");
        put_choices(out, option->value);
        cli_puts(out, "'");
        break;
    case VALUE_NONE:
        break;
    }
    cli_puts(out, " -d '");
    fish_text(out, option->help);
    cli_puts(out, "'\n");
}

static void fish_command(cli_output *out, size_t i)
{
    const cli_command *command = &cli_commands[i];
    const char *second = NULL;
    int first_size = (int)strcspn(command->words, " ");
    if (in_group(i, &second)) {
        cli_printf(out, "complete -c imago -f -n __fish_use_subcommand -a %.*s\n", first_size,
                   command->words);
        cli_printf(out, "complete -c imago -f -n '__fish_seen_subcommand_from %.*s' -a %s -d '",
                   first_size, command->words, second);
    } else {
        cli_printf(out, "complete -c imago -f -n __fish_use_subcommand -a %s -d '", command->words);
    }
    fish_text(out, command->summary);
    cli_puts(out, "'\n");
    if (takes_choice(command)) {
        cli_printf(out, "complete -c imago -f -n '__fish_seen_subcommand_from %s' -a '",
                   command->words);
        put_choices(out, command->operands);
        cli_puts(out, "'\n");
    }
}

static void complete_fish(cli_output *out)
{
    cli_puts(out, "# fish completion for imago, made by 'imago completions fish'\n");
    for (size_t i = 0; i < IM_CMD_COUNT; i++) {
        fish_command(out, i);
    }
    for (size_t i = 0; i < IM_OPT_COUNT; i++) {
        fish_option(out, &cli_option_table[i]);
    }
}

/* ---- choice of the shell ---- */

bool cli_completions(cli_output *out, const char *shell)
{
    static const struct {
        const char *name;
        void (*print)(cli_output *out);
    } shells[] = {{"bash", complete_bash}, {"zsh", complete_zsh}, {"fish", complete_fish}};
    for (size_t i = 0; i < IM_COUNT(shells); i++) {
        if (strcmp(shells[i].name, shell) == 0) {
            shells[i].print(out);
            return true;
        }
    }
    return false;
}
