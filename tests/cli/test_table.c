/* Every row of commands.def and options.def is documented, works, and reaches help, manual and
 * completions. */
#include "help.h"

static void every_command_is_documented(void **state)
{
    (void)state;
    for (size_t i = 0; i < IM_CMD_COUNT; i++) {
        const cli_command *command = &cli_commands[i];
        assert_true(strlen(command->words) > 1);
        assert_true(strlen(command->summary) > 10 && strlen(command->summary) < 70);
        assert_true(strlen(command->text) > 40);
        assert_true(command->text[strlen(command->text) - 1] == '.');
        assert_true(strstr(command->examples, " # ") != NULL);
        assert_true(command->min_operands <= command->max_operands);
        assert_true((command->operands[0] != '\0') == (command->max_operands > 0));
    }
}

/* Examples are typed by people as they stand: each must be taken, and by its own command. */
static void every_example_parses_as_its_command(void **state)
{
    (void)state;
    for (size_t i = 0; i < IM_CMD_COUNT; i++) {
        const char *line = cli_commands[i].examples;
        size_t n_examples = 0;
        while (*line != '\0') {
            char one[512];
            size_t size = strcspn(line, "\n");
            const char *comment = strstr(line, " # ");
            cli_args args;
            im_error err = IM_ERROR_INIT;
            assert_true(comment != NULL && comment < line + size);
            assert_true((size_t)(comment - line) < sizeof(one));
            (void)snprintf(one, sizeof(one), "%.*s", (int)(comment - line), line);
            im_code rc = test_parse(one, &args, &err);
            if (rc != IM_OK || args.command != i) {
                print_error("example '%s': %s\n", one, err.message);
            }
            assert_int_equal(rc, IM_OK);
            assert_int_equal(args.command, i);
            cli_args_clear(&args);
            n_examples++;
            line += size + (line[size] == '\n' ? 1 : 0);
        }
        assert_true(n_examples >= 1);
    }
}

static void every_option_is_documented(void **state)
{
    (void)state;
    for (size_t i = 0; i < IM_OPT_COUNT; i++) {
        const cli_option *option = &cli_option_table[i];
        bool flag = option->type == IM_TYPE_FLAG || option->type == IM_TYPE_COUNT ||
                    option->type == IM_TYPE_MAYBE;
        assert_true(strlen(option->help) > 10);
        assert_true(option->help[strlen(option->help) - 1] != '.');
        assert_true(flag == (option->value == NULL));
        assert_true(option->commands != 0);
        for (size_t j = 0; j < i; j++) {
            /* one name twice: no command takes both */
            assert_true(strcmp(option->name, cli_option_table[j].name) != 0 ||
                        (option->commands & cli_option_table[j].commands) == 0);
            assert_true(option->letter == 0 || option->letter != cli_option_table[j].letter);
        }
    }
}

/* A value that the option takes and that is not its default. */
static const char *good_value(const cli_option *option, char out[64])
{
    switch (option->type) {
    case IM_TYPE_NUMBER:
    case IM_TYPE_SIZE:
        (void)snprintf(out, 64, "%llu", (unsigned long long)option->max);
        return out;
    case IM_TYPE_CHOICE:
        assert_true(cli_choice(option->value, 1, out));
        return out;
    case IM_TYPE_PART:
    case IM_TYPE_LIST:
    case IM_TYPE_TEXT:
        return "7";
    case IM_TYPE_FLAG:
    case IM_TYPE_COUNT:
    case IM_TYPE_MAYBE:
        break;
    }
    return NULL;
}

static bool field_is_set(const cli_args *args, const cli_option *option, const char *value)
{
    const char *field = (const char *)&args->options + option->field;
    uint64_t number = 0;
    switch (option->type) {
    case IM_TYPE_FLAG:
        return *(const bool *)field;
    case IM_TYPE_TEXT:
        return strcmp(*(const char *const *)(const void *)field, value) == 0;
    case IM_TYPE_LIST: {
        const cli_texts *list = (const cli_texts *)(const void *)field;
        return list->n == 1 && strcmp(list->texts[0], value) == 0;
    }
    case IM_TYPE_PART:
        return args->n_parts >= 1;
    case IM_TYPE_CHOICE:
    case IM_TYPE_COUNT:
        memcpy(&number, field, sizeof(number));
        return number == 1;
    case IM_TYPE_MAYBE:
        memcpy(&number, field, sizeof(number));
        return number > 0;
    case IM_TYPE_NUMBER:
    case IM_TYPE_SIZE:
        memcpy(&number, field, sizeof(number));
        return number == option->max;
    }
    return false;
}

/* A line with as many operands as the command wants; parts get something to belong to. */
static void command_line(const cli_command *command, const cli_option *option, bool equals,
                         char *out, size_t size)
{
    char value[64];
    const char *text = good_value(option, value);
    bool parts =
        strstr(command->words, "search") != NULL; /* the others of that role take words alone */
    const char *operand = command->role != IM_ROLE_WORDS ? (command->min_operands > 1   ? " x y"
                                                            : command->max_operands > 0 ? " x"
                                                                                        : "")
                          : parts && strcmp(option->name, "crop") == 0   ? " --image x"
                          : parts && strcmp(option->name, "weight") == 0 ? " --text x"
                                                                         : " x";
    (void)snprintf(out, size, "imago %s%s --%s%s%s", command->words, operand, option->name,
                   text == NULL ? ""
                   : equals     ? "="
                                : " ",
                   text == NULL ? "" : text);
}

/* The command takes another option of the same name. */
static bool has_namesake(const cli_option *option, cli_command_id command)
{
    for (size_t i = 0; i < IM_OPT_COUNT; i++) {
        if (&cli_option_table[i] != option && cli_option_of(&cli_option_table[i], command) &&
            strcmp(cli_option_table[i].name, option->name) == 0) {
            return true;
        }
    }
    return false;
}

static void every_option_is_read_by_its_commands_and_refused_by_others(void **state)
{
    (void)state;
    for (size_t i = 0; i < IM_OPT_COUNT; i++) {
        const cli_option *option = &cli_option_table[i];
        for (size_t c = 0; c < IM_CMD_COUNT; c++) {
            if (has_namesake(option, (cli_command_id)c)) {
                continue;
            }
            for (int equals = 0; equals < 2; equals++) {
                char line[256];
                char value[64];
                cli_args args;
                im_error err = IM_ERROR_INIT;
                command_line(&cli_commands[c], option, equals == 1, line, sizeof(line));
                im_code rc = test_parse(line, &args, &err);
                bool own = cli_option_of(option, (cli_command_id)c);
                if ((rc == IM_OK) != own) {
                    print_error("'%s': %s\n", line, err.message);
                }
                assert_int_equal(rc, own ? IM_OK : IM_ERR_INVALID);
                if (own) {
                    assert_true(field_is_set(&args, option, good_value(option, value)));
                } else {
                    assert_non_null(strstr(err.message, option->name));
                }
                cli_args_clear(&args);
            }
        }
    }
}

static void every_default_is_a_value_that_could_be_given(void **state)
{
    (void)state;
    for (size_t i = 0; i < IM_OPT_COUNT; i++) {
        const cli_option *option = &cli_option_table[i];
        cli_args empty;
        cli_args given;
        char line[256];
        im_error err = IM_ERROR_INIT;
        if (option->dflt == NULL || option->type == IM_TYPE_MAYBE) {
            continue; /* of a MAYBE it is what the flag alone means */
        }
        cli_command_id command = 0;
        while (!cli_option_of(option, command)) {
            command++;
        }
        const char *operand = cli_commands[command].max_operands > 0 ? "x" : "";
        (void)snprintf(line, sizeof(line), "imago %s %s --%s %s", cli_commands[command].words,
                       operand, option->name, option->dflt);
        assert_int_equal(test_parse(line, &given, &err), IM_OK);
        (void)snprintf(line, sizeof(line), "imago %s %s", cli_commands[command].words, operand);
        assert_int_equal(test_parse(line, &empty, &err), IM_OK);
        assert_memory_equal((char *)&given.options + option->field,
                            (char *)&empty.options + option->field, sizeof(uint64_t));
        cli_args_clear(&given);
        cli_args_clear(&empty);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_is_documented),
        cmocka_unit_test(every_example_parses_as_its_command),
        cmocka_unit_test(every_option_is_documented),
        cmocka_unit_test(every_option_is_read_by_its_commands_and_refused_by_others),
        cmocka_unit_test(every_default_is_a_value_that_could_be_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
