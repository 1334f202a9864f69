/* cli/cmd_help.c — `imago help`, `version`, `completions` and `manual`. */
#include "cli/commands_internal.h"

/* A text that a command prints, as it is or as {"KEY": text}. */
static im_code put_string(cli_session *s, const char *key, const char *text, im_error *err)
{
    im_json_writer w;
    cli_json_start(&w);
    im_json_begin_object(&w);
    im_json_put_string(&w, key, text);
    im_json_end_object(&w);
    return cli_put_result(s, &w, err);
}

im_code cmd_version(cli_session *s, im_error *err)
{
    if (s->args->options.json) {
        return put_string(s, "version", IM_VERSION, err);
    }
    cli_printf(&s->out, "imago %s\n", IM_VERSION);
    return IM_OK;
}

static im_code help_on(cli_session *s, const char *words, im_error *err)
{
    for (size_t i = 0; i < IM_CMD_COUNT; i++) {
        if (strcmp(cli_commands[i].words, words) == 0) {
            cli_help_command(&s->out, (cli_command_id)i);
            return IM_OK;
        }
    }
    if (cli_is_group(words)) {
        cli_help_group(&s->out, words);
        return IM_OK;
    }
    im_code rc = im_fail(err, IM_ERR_INVALID, "there is no command '%s'", words);
    im_hint(err, "'imago help' lists all commands");
    return rc;
}

im_code cmd_help(cli_session *s, im_error *err)
{
    const cli_args *args = s->args;
    im_str words;
    if (args->options.json) {
        im_json_writer w;
        cli_json_start(&w);
        cli_help_json(&w);
        im_code printed = cli_put_json(&s->out, &w, err);
        im_json_clear(&w);
        return printed;
    }
    if (args->n_operands == 0) {
        cli_help_overview(&s->out);
        return IM_OK;
    }
    im_str_init(&words, 1u << 20);
    for (size_t i = 0; i < args->n_operands; i++) {
        im_str_addf(&words, "%s%s", i > 0 ? " " : "", args->operands[i]);
    }
    im_code rc = help_on(s, im_str_text(&words), err);
    im_str_clear(&words);
    return rc;
}

im_code cmd_completions(cli_session *s, im_error *err)
{
    const char *shell = s->args->operands[0];
    if (!cli_completions(&s->out, shell)) {
        return im_fail(err, IM_ERR_INVALID, "there are no completions for '%s', only for %s", shell,
                       cli_commands[IM_CMD_COMPLETIONS].operands);
    }
    return IM_OK;
}

im_code cmd_manual(cli_session *s, im_error *err)
{
    (void)err;
    cli_manual(&s->out, IM_VERSION);
    return IM_OK;
}
