/* cli/parse.c — argv to cli_args by the tables. Two walks: the first finds the command's words
 * among options, the second reads every option and operand in order. */
#include "cli/cli_internal.h"

#define NEAREST_MAX 3 /* edits beyond which a name is no help */

/* ---- names ---- */

static bool fits(const cli_args *args, const cli_option *option)
{
    return option != NULL && (!args->has_command ? cli_option_is_global(option)
                                                 : cli_option_of(option, args->command));
}

/* The option of that name, without its value behind '='; of several (--batch is a number to add,
 * a file to search) the one that the command takes. args may be NULL: whichever comes first. */
static const cli_option *find_long(const cli_args *args, const char *text, size_t size)
{
    const cli_option *found = NULL;
    for (size_t i = 0; i < IM_OPT_COUNT; i++) {
        const cli_option *option = &cli_option_table[i];
        if (strlen(option->name) != size || memcmp(option->name, text, size) != 0) {
            continue;
        }
        if (args == NULL || fits(args, option)) {
            return option;
        }
        found = found != NULL ? found : option;
    }
    return found;
}

static const cli_option *find_letter(char letter)
{
    for (size_t i = 0; i < IM_OPT_COUNT; i++) {
        if (letter != 0 && cli_option_table[i].letter == letter) {
            return &cli_option_table[i];
        }
    }
    return NULL;
}

static bool takes_value(const cli_option *option)
{
    return option->type != IM_TYPE_FLAG && option->type != IM_TYPE_COUNT &&
           option->type != IM_TYPE_MAYBE;
}

static bool is_option(const char *arg)
{
    return arg[0] == '-' && arg[1] != '\0';
}

static const char *nearest_option(const char *name, cli_command_id command)
{
    const char *best = NULL;
    size_t best_distance = NEAREST_MAX + 1;
    for (size_t i = 0; i < IM_OPT_COUNT; i++) {
        size_t distance = cli_distance(name, cli_option_table[i].name);
        if (distance < best_distance && cli_option_of(&cli_option_table[i], command)) {
            best = cli_option_table[i].name;
            best_distance = distance;
        }
    }
    return best;
}

static const char *nearest_command(const char *words)
{
    const char *best = NULL;
    size_t best_distance = NEAREST_MAX + 1;
    for (size_t i = 0; i < IM_CMD_COUNT; i++) {
        size_t distance = cli_distance(words, cli_commands[i].words);
        if (distance < best_distance && distance < strlen(words)) {
            best = cli_commands[i].words;
            best_distance = distance;
        }
    }
    return best;
}

/* ---- the first walk: which command ---- */

/* Whether the option at argv[i] swallows argv[i + 1]; those of one name do so alike. Unknown ones
 * do not; the second walk names them. */
static bool swallows_next(const char *arg)
{
    if (arg[1] == '-') {
        const char *equals = strchr(arg, '=');
        const cli_option *option = find_long(NULL, arg + 2, strlen(arg + 2));
        return equals == NULL && option != NULL && takes_value(option);
    }
    for (size_t i = 1; arg[i] != '\0'; i++) {
        const cli_option *option = find_letter(arg[i]);
        if (option == NULL) {
            return false;
        }
        if (takes_value(option)) {
            return arg[i + 1] == '\0';
        }
    }
    return false;
}

/* Place of the first operand at or after `from`, 0 when there is none before "--". */
static int next_operand(int argc, char **argv, int from)
{
    for (int i = from; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            return 0;
        }
        if (!is_option(argv[i])) {
            return i;
        }
        if (swallows_next(argv[i])) {
            i++;
        }
    }
    return 0;
}

static bool find_command(const char *words, cli_command_id *out)
{
    for (size_t i = 0; i < IM_CMD_COUNT; i++) {
        if (strcmp(cli_commands[i].words, words) == 0) {
            *out = (cli_command_id)i;
            return true;
        }
    }
    return false;
}

static im_code no_such_command(const char *words, im_error *err)
{
    const char *nearest = nearest_command(words);
    im_code rc = im_fail(err, IM_ERR_INVALID, "there is no command '%s'", words);
    if (nearest != NULL) {
        im_hint(err, "did you mean 'imago %s'? 'imago help' lists all", nearest);
    } else {
        im_hint(err, "'imago help' lists all commands");
    }
    return rc;
}

/* Finds the command; at[0] and at[1] are the places of its words (0: none). */
static im_code read_command(int argc, char **argv, int at[2], cli_args *args, im_error *err)
{
    at[0] = next_operand(argc, argv, 1);
    at[1] = 0;
    if (at[0] == 0) {
        return IM_OK;
    }
    const char *word = argv[at[0]];
    args->has_command = find_command(word, &args->command);
    if (args->has_command) {
        return IM_OK;
    }
    if (!cli_is_group(word)) {
        return no_such_command(word, err);
    }
    at[1] = next_operand(argc, argv, at[0] + 1);
    if (at[1] == 0) {
        args->group = word;
        return IM_OK;
    }
    im_str words;
    im_str_init(&words, SIZE_MAX / 2);
    im_str_addf(&words, "%s %s", word, argv[at[1]]);
    im_code rc = IM_OK;
    if (words.failed) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for the arguments");
    } else if (find_command(im_str_text(&words), &args->command)) {
        args->has_command = true;
    } else {
        rc = no_such_command(im_str_text(&words), err);
    }
    im_str_clear(&words);
    return rc;
}

/* ---- the second walk: options and operands ---- */

/* Digits with an optional K, M or G (powers of 1024). */
static bool parse_size(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    static const char units[] = "KMG";
    char digits[24];
    size_t size = strlen(text);
    unsigned shift = 0;
    uint64_t value = 0;
    const char *unit = size > 0 ? strchr(units, text[size - 1]) : NULL;
    if (unit != NULL && *unit != '\0') {
        shift = 10u * (unsigned)(unit - units + 1);
        size--;
    }
    if (size >= sizeof(digits)) {
        return false;
    }
    memcpy(digits, text, size);
    digits[size] = '\0';
    if (!im_parse_u64(digits, 0, UINT64_MAX >> shift, &value)) {
        return false;
    }
    value <<= shift;
    *out = value;
    return value >= min && value <= max;
}

static im_code set_number(const cli_option *option, const char *value, uint64_t *field,
                          im_error *err)
{
    bool ok = option->type == IM_TYPE_SIZE ? parse_size(value, option->min, option->max, field)
                                           : im_parse_u64(value, option->min, option->max, field);
    if (ok) {
        return IM_OK;
    }
    return im_fail(err, IM_ERR_INVALID,
                   "option '--%s': '%s' is not a whole number from %llu to %llu%s", option->name,
                   value, (unsigned long long)option->min, (unsigned long long)option->max,
                   option->type == IM_TYPE_SIZE ? " (K, M, G are understood)" : "");
}

static im_code set_choice(const cli_option *option, const char *value, uint64_t *field,
                          im_error *err)
{
    char name[32];
    for (size_t i = 0; cli_choice(option->value, i, name); i++) {
        if (strcmp(name, value) == 0) {
            *field = i;
            return IM_OK;
        }
    }
    return im_fail(err, IM_ERR_INVALID, "option '--%s': '%s' is none of %s", option->name, value,
                   option->value);
}

static im_code add_text(cli_texts *list, const char *value, im_error *err)
{
    const char **grown = im_realloc(list->texts, list->n + 1, sizeof(*grown));
    if (grown == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the arguments");
    }
    grown[list->n++] = value;
    list->texts = grown;
    return IM_OK;
}

static im_code set_option(cli_args *args, const cli_option *option, const char *value,
                          im_error *err)
{
    void *field = (char *)&args->options + option->field;
    args->given[option - cli_option_table] = true;
    switch (option->type) {
    case IM_TYPE_FLAG:
        *(bool *)field = true;
        return IM_OK;
    case IM_TYPE_COUNT:
        *(uint64_t *)field += 1;
        return IM_OK;
    case IM_TYPE_MAYBE:
        return set_number(option, value != NULL ? value : option->dflt, field, err);
    case IM_TYPE_NUMBER:
    case IM_TYPE_SIZE:
        return set_number(option, value, field, err);
    case IM_TYPE_TEXT:
        *(const char **)field = value;
        return IM_OK;
    case IM_TYPE_CHOICE:
        return set_choice(option, value, field, err);
    case IM_TYPE_LIST:
        return add_text(field, value, err);
    case IM_TYPE_PART:
        return cli_parts_option(args, (cli_option_id)(option - cli_option_table), value, err);
    }
    return im_fail(err, IM_ERR_INTERNAL, "option '--%s' has no type", option->name);
}

static im_code wrong_option(const cli_args *args, const char *arg, size_t size, im_error *err)
{
    char name[32] = "";
    const char *nearest = NULL;
    if (arg[1] == '-' && size - 2 < sizeof(name)) {
        memcpy(name, arg + 2, size - 2);
        name[size - 2] = '\0';
        nearest = args->has_command ? nearest_option(name, args->command) : NULL;
    }
    const char *command = args->has_command ? cli_commands[args->command].words : "";
    im_code rc = im_fail(err, IM_ERR_INVALID, "'imago%s%s' has no option '%.*s'",
                         command[0] != '\0' ? " " : "", command, (int)size, arg);
    if (nearest != NULL) {
        im_hint(err, "did you mean '--%s'? 'imago%s%s --help' lists all", nearest,
                command[0] != '\0' ? " " : "", command);
    } else if (args->has_command && args->command == IM_CMD_SEARCH) {
        im_hint(err, "what must not be there: --not %.*s; the word itself: -- %.*s", (int)size - 1,
                arg + 1, (int)size, arg);
    } else {
        im_hint(err, "'imago%s%s --help' lists all; what is no option goes behind '--'",
                command[0] != '\0' ? " " : "", command);
    }
    return rc;
}

static im_code value_missing(const cli_option *option, im_error *err)
{
    return im_fail(err, IM_ERR_INVALID, "option '--%s' wants a value: %s", option->name,
                   option->value);
}

/* "--name", "--name=value", "--name value". *i moves on when the next argument is the value. */
static im_code read_long(cli_args *args, int argc, char **argv, int *i, im_error *err)
{
    const char *arg = argv[*i];
    const char *equals = strchr(arg, '=');
    size_t size = equals != NULL ? (size_t)(equals - arg) : strlen(arg);
    const cli_option *option = find_long(args, arg + 2, size - 2);
    const char *value = equals != NULL ? equals + 1 : NULL;
    if (!fits(args, option)) {
        return wrong_option(args, arg, size, err);
    }
    if (!takes_value(option)) {
        if (value != NULL && option->type != IM_TYPE_MAYBE) {
            return im_fail(err, IM_ERR_INVALID, "option '--%s' takes no value, found '%s'",
                           option->name, value);
        }
    } else if (value == NULL) {
        if (*i + 1 >= argc) {
            return value_missing(option, err);
        }
        value = argv[++*i];
    }
    return set_option(args, option, value, err);
}

/* "-q", "-qv", "-k5", "-k 5". */
static im_code read_letters(cli_args *args, int argc, char **argv, int *i, im_error *err)
{
    const char *arg = argv[*i];
    for (size_t place = 1; arg[place] != '\0'; place++) {
        const cli_option *option = find_letter(arg[place]);
        if (!fits(args, option)) {
            return wrong_option(args, arg, strlen(arg), err);
        }
        const char *value = NULL;
        bool last = takes_value(option);
        if (last && arg[place + 1] != '\0') {
            value = arg + place + 1;
        } else if (last) {
            if (*i + 1 >= argc) {
                return value_missing(option, err);
            }
            value = argv[++*i];
        }
        im_code rc = set_option(args, option, value, err);
        if (rc != IM_OK || last) {
            return rc;
        }
    }
    return IM_OK;
}

static im_code read_operand(cli_args *args, const char *operand, im_error *err)
{
    if (!args->has_command) {
        return no_such_command(operand, err);
    }
    args->operands[args->n_operands++] = operand;
    switch (cli_commands[args->command].role) {
    case IM_ROLE_WORDS:
        return cli_parts_word(args, operand, err);
    case IM_ROLE_PICTURES:
        return cli_parts_operand(args, operand, err);
    case IM_ROLE_LIST:
    case IM_ROLE_NONE:
        break;
    }
    return IM_OK;
}

static im_code read_all(int argc, char **argv, const int at[2], cli_args *args, im_error *err)
{
    bool options_end = false;
    for (int i = 1; i < argc; i++) {
        im_code rc = IM_OK;
        if (!options_end && (i == at[0] || i == at[1])) {
            continue;
        }
        if (!options_end && strcmp(argv[i], "--") == 0) {
            options_end = true;
        } else if (options_end || !is_option(argv[i])) {
            rc = read_operand(args, argv[i], err);
        } else if (argv[i][1] == '-') {
            rc = read_long(args, argc, argv, &i, err);
        } else {
            rc = read_letters(args, argc, argv, &i, err);
        }
        if (rc != IM_OK) {
            return rc;
        }
    }
    return IM_OK;
}

/* ---- as a whole ---- */

static im_code check_operands(const cli_args *args, im_error *err)
{
    const cli_command *command = &cli_commands[args->command];
    if (args->options.help || args->options.version) {
        return IM_OK;
    }
    if (args->n_operands < command->min_operands) {
        im_code rc =
            im_fail(err, IM_ERR_INVALID, "'imago %s' wants %s", command->words, command->operands);
        im_hint(err, "'imago %s --help' shows examples", command->words);
        return rc;
    }
    if (args->n_operands > command->max_operands) {
        im_code rc = im_fail(err, IM_ERR_INVALID, "'imago %s' does not take '%s'", command->words,
                             args->operands[command->max_operands]);
        im_hint(err, "usage: imago %s %s", command->words, command->operands);
        return rc;
    }
    return IM_OK;
}

static im_code command_missing(const cli_args *args, im_error *err)
{
    if (args->options.help || args->options.version) {
        return IM_OK;
    }
    if (args->group != NULL) {
        im_code rc = im_fail(err, IM_ERR_INVALID, "'imago %s' wants one word more", args->group);
        im_hint(err, "'imago %s --help' lists them", args->group);
        return rc;
    }
    im_code rc = im_fail(err, IM_ERR_INVALID, "a command is missing");
    im_hint(err, "'imago help' lists all commands; a start: imago add ~/Pictures");
    return rc;
}

static void set_defaults(cli_options *options)
{
    for (size_t i = 0; i < IM_OPT_COUNT; i++) {
        const cli_option *option = &cli_option_table[i];
        uint64_t *field = (uint64_t *)(void *)((char *)options + option->field);
        if (option->dflt == NULL) {
            continue;
        }
        if (option->type == IM_TYPE_NUMBER || option->type == IM_TYPE_SIZE) {
            bool ok = parse_size(option->dflt, option->min, option->max, field);
            (void)ok; /* a test reads every default */
        } else if (option->type == IM_TYPE_CHOICE) {
            (void)!set_choice(option, option->dflt, field, NULL);
        }
    }
}

/* Errors of parsing are printed as JSON too, wherever --json stands. */
static bool wants_json(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            return true;
        }
        if (is_option(argv[i]) && swallows_next(argv[i])) {
            i++;
        }
    }
    return false;
}

im_code cli_parse(int argc, char **argv, cli_args *out, im_error *err)
{
    int at[2] = {0, 0};
    memset(out, 0, sizeof(*out));
    set_defaults(&out->options);
    im_str_init(&out->query, SIZE_MAX / 2); /* query/ holds it against its own limit */
    out->options.json = wants_json(argc, argv);
    out->operands = im_alloc_zero((size_t)argc + 1, sizeof(*out->operands));
    out->parts = im_alloc_zero((size_t)argc + 1, sizeof(*out->parts));
    if (out->operands == NULL || out->parts == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the arguments");
    }
    im_code rc = read_command(argc, argv, at, out, err);
    if (rc == IM_OK) {
        rc = read_all(argc, argv, at, out, err);
    }
    if (rc == IM_OK) {
        rc = out->has_command ? check_operands(out, err) : command_missing(out, err);
    }
    return rc;
}

void cli_args_clear(cli_args *args)
{
    im_free(args->operands);
    im_free(args->parts);
    im_str_clear(&args->query);
    for (size_t i = 0; i < IM_OPT_COUNT; i++) {
        if (cli_option_table[i].type == IM_TYPE_LIST) {
            cli_texts *list =
                (cli_texts *)(void *)((char *)&args->options + cli_option_table[i].field);
            im_free(list->texts);
        }
    }
    memset(args, 0, sizeof(*args));
}
