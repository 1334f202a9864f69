/* cli/cmd_model.c — `imago model list`, `info`, `use` and `warm`. */
#include "cli/commands_internal.h"

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "-";
}

static im_code put_models(cli_session *s, const im_json_writer *w, im_error *err)
{
    json_t *root = NULL;
    json_t *model = NULL;
    size_t i = 0;
    im_code rc = im_json_ok(w)
                     ? im_json_parse(im_str_text(&w->out), w->out.size, "models", &root, err)
                     : im_fail(err, IM_ERR_NOMEM, "no memory for the list of models");
    if (rc != IM_OK) {
        return rc;
    }
    json_array_foreach(json_object_get(root, "models"), i, model)
    {
        bool active = json_is_true(json_object_get(model, "active"));
        cli_puts(&s->out, active ? "* " : "  ");
        cli_printf(&s->out, "%-24s %-10s ", text_of(model, "name"), text_of(model, "source"));
        cli_put_path(&s->out, text_of(model, "folder"));
        cli_puts(&s->out, "\n");
    }
    json_decref(root);
    return IM_OK;
}

/* Works without a library too; one that is damaged must not hide the models. */
im_code cmd_model_list(cli_session *s, im_error *err)
{
    im_library *library = NULL;
    im_json_writer w;
    im_error ignored = IM_ERROR_INIT;
    cli_json_start(&w);
    if (cli_open_library(s, false, &library, &ignored) != IM_OK) {
        library = NULL;
    }
    im_code rc = im_app_model_list_json(&s->places, library, &w, err);
    if (rc == IM_OK) {
        rc = s->args->options.json ? cli_put_json(&s->out, &w, err) : put_models(s, &w, err);
    }
    im_library_close(library);
    im_json_clear(&w);
    return rc;
}

im_code cmd_model_info(cli_session *s, im_error *err)
{
    im_json_writer w;
    const char *model = s->args->n_operands > 0 ? s->args->operands[0] : s->args->options.model;
    im_library *library = NULL;
    im_error ignored = IM_ERROR_INIT;
    cli_json_start(&w);
    if (cli_open_library(s, false, &library, &ignored) != IM_OK) { /* works without one */
        library = NULL;
    }
    im_code rc = im_app_model_info_json(&s->places, library, model, &w, err);
    im_library_close(library);
    if (rc != IM_OK) {
        im_json_clear(&w);
        return rc;
    }
    return cli_put_result(s, &w, err);
}

im_code cmd_model_warm(cli_session *s, im_error *err)
{
    im_json_writer w;
    const char *model = s->args->n_operands > 0 ? s->args->operands[0] : s->args->options.model;
    im_library *library = NULL;
    im_events events = cli_events(s);
    im_error ignored = IM_ERROR_INIT;
    cli_json_start(&w);
    if (cli_open_library(s, true, &library, &ignored) != IM_OK &&
        cli_open_library(s, false, &library, &ignored) != IM_OK) { /* works without one */
        library = NULL;
    }
    im_code rc = im_app_model_warm(&s->places, library, model,
                                   (im_precision)s->args->options.precision, &events, &w, err);
    im_library_close(library);
    cli_progress_hide(&s->progress);
    if (rc != IM_OK) {
        im_json_clear(&w);
        return rc;
    }
    return cli_put_result(s, &w, err);
}

im_code cmd_model_use(cli_session *s, im_error *err)
{
    const char *model = s->args->operands[0];
    im_library *library = NULL;
    im_events events = cli_events(s);
    im_json_writer w;
    s->args->options.model = NULL; /* the library's own until the change is done */
    im_code rc = cli_open_library(s, true, &library, err);
    if (rc == IM_OK) {
        rc = im_app_model_use(library, model, &events, err);
    }
    im_library_close(library);
    if (rc != IM_OK) {
        return rc;
    }
    cli_progress_hide(&s->progress);
    if (!s->args->options.json) {
        if (!s->args->options.quiet) {
            cli_puts(&s->out, "the library now uses ");
            cli_put_path(&s->out, model);
            cli_puts(&s->out, "\n");
        }
        return IM_OK;
    }
    cli_json_start(&w);
    im_json_begin_object(&w);
    im_json_put_string(&w, "model", model);
    im_json_end_object(&w);
    return cli_put_result(s, &w, err);
}
