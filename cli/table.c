/* cli/table.c — the tables of commands and options, and questions about names. */
#include "cli/cli_internal.h"

#define CLI_ALL ((UINT64_C(1) << IM_CMD_COUNT) - 1u)
_Static_assert(IM_CMD_COUNT < 64, "an option's commands are bits of 64");

const cli_command cli_commands[IM_CMD_COUNT] = {
#define X(ID, words, operands, role, min, max, stop, function, summary, text, examples) \
    {words, operands, IM_ROLE_##role, min, max, IM_STOP_##stop, summary, text, examples},
#include "cli/commands.def"
#undef X
};

const cli_option cli_option_table[IM_OPT_COUNT] = {
#define ALL CLI_ALL
#define OF(command) (UINT64_C(1) << IM_CMD_##command)
#define X(ID, name, letter, type, field, dflt, min, max, value, commands, help)             \
    {name,     letter, IM_TYPE_##type, offsetof(cli_options, field), dflt, min, max, value, \
     commands, help},
#include "cli/options.def"
#undef X
#undef OF
#undef ALL
};

bool cli_option_of(const cli_option *option, cli_command_id command)
{
    return (option->commands >> command & 1u) != 0;
}

bool cli_option_is_global(const cli_option *option)
{
    return option->commands == CLI_ALL;
}

bool cli_is_group(const char *word)
{
    size_t length = strlen(word);
    for (size_t i = 0; i < IM_CMD_COUNT; i++) {
        const char *words = cli_commands[i].words;
        if (strncmp(words, word, length) == 0 && words[length] == ' ') {
            return true;
        }
    }
    return false;
}

#define NAME_MAX_BYTES 31 /* longer words are like no name of ours */

/* Optimal string alignment (Damerau–Levenshtein without repeated edits), the whole matrix. */
size_t cli_distance(const char *a, const char *b)
{
    size_t d[NAME_MAX_BYTES + 1][NAME_MAX_BYTES + 1];
    size_t n = strlen(a);
    size_t m = strlen(b);
    if (n > NAME_MAX_BYTES || m > NAME_MAX_BYTES) {
        return SIZE_MAX;
    }
    for (size_t i = 0; i <= n; i++) {
        for (size_t j = 0; j <= m; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            size_t replace = d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            d[i][j] = IM_MIN(replace, IM_MIN(d[i - 1][j], d[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                d[i][j] = IM_MIN(d[i][j], d[i - 2][j - 2] + 1);
            }
        }
    }
    return d[n][m];
}

bool cli_choice(const char *choices, size_t i, char *out)
{
    while (i > 0) {
        choices = strchr(choices, '|');
        if (choices == NULL) {
            return false;
        }
        choices++;
        i--;
    }
    size_t length = strcspn(choices, "|");
    if (length > 31) {
        length = 31;
    }
    memcpy(out, choices, length);
    out[length] = '\0';
    return true;
}
