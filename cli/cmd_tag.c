/* cli/cmd_tag.c — `imago tag`: tags given, taken away, listed. */
#include "cli/commands_internal.h"

/* "17<tab>beach" a line; "3<tab>beach" of all tags of the library. */
static im_code put_lines(cli_session *s, const im_json_writer *w, im_error *err)
{
    json_t *root = NULL;
    im_code rc = im_json_parse(im_str_text(&w->out), w->out.size, "tags", &root, err);
    json_t *items = rc == IM_OK ? json_object_get(root, "items") : NULL;
    json_t *all = rc == IM_OK ? json_object_get(root, "tags") : NULL;
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *item = json_array_get(items, i);
        const json_t *tags = json_object_get(item, "tags");
        for (size_t j = 0; j < json_array_size(tags); j++) {
            cli_printf(&s->out, "id:%lld\t",
                       (long long)json_integer_value(json_object_get(item, "id")));
            cli_put_escaped(&s->out, json_string_value(json_array_get(tags, j)));
            cli_puts(&s->out, "\n");
        }
    }
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *tag = json_array_get(all, i);
        cli_printf(&s->out, "%lld\t", (long long)json_integer_value(json_object_get(tag, "items")));
        cli_put_escaped(&s->out, json_string_value(json_object_get(tag, "name")));
        cli_puts(&s->out, "\n");
    }
    json_decref(root);
    return rc;
}

static im_code put_tags(cli_session *s, im_json_writer *w, im_error *err)
{
    im_code rc = IM_OK;
    if (s->args->options.json || !im_json_ok(w)) {
        rc = cli_put_json(&s->out, w, err);
    } else if (w->out.size > 0) {
        rc = put_lines(s, w, err);
    }
    return rc;
}

static im_code list_tags(cli_session *s, const im_tag_request *request, im_error *err)
{
    im_library *library = NULL;
    im_json_writer w;
    im_events events = cli_events(s);
    cli_json_start(&w);
    im_code rc = cli_open_library(s, false, &library, err);
    if (rc == IM_OK) {
        rc = im_app_tags_json(library, request, &events, &w, err);
        if (rc == IM_OK || rc == IM_ERR_PARTIAL) {
            im_code printed = put_tags(s, &w, rc == IM_OK ? err : NULL);
            rc = rc == IM_OK ? printed : rc;
        }
    }
    im_library_close(library);
    im_json_clear(&w);
    return rc;
}

static im_code put_report(cli_session *s, const im_tag_report *report, im_error *err)
{
    im_json_writer w;
    if (!s->args->options.json) {
        if (!s->args->options.quiet) {
            cli_printf(&s->out, "%llu item%s: %llu tag%s given, %llu taken away\n",
                       (unsigned long long)report->items, report->items == 1 ? "" : "s",
                       (unsigned long long)report->added, report->added == 1 ? "" : "s",
                       (unsigned long long)report->removed);
        }
        return IM_OK;
    }
    cli_json_start(&w);
    im_json_begin_object(&w);
    im_json_put_uint(&w, "items", report->items);
    im_json_put_uint(&w, "added", report->added);
    im_json_put_uint(&w, "removed", report->removed);
    im_json_end_object(&w);
    return cli_put_result(s, &w, err);
}

static im_code change_tags(cli_session *s, const im_tag_request *request, im_error *err)
{
    im_library *library = NULL;
    im_tag_report report = {0};
    im_events events = cli_events(s);
    im_code rc = cli_open_library(s, true, &library, err);
    if (rc == IM_OK) {
        rc = im_app_tag(library, request, &events, &report, err);
        if (rc == IM_OK || rc == IM_ERR_PARTIAL) {
            im_code printed = put_report(s, &report, rc == IM_OK ? err : NULL);
            rc = rc == IM_OK ? printed : rc;
        }
    }
    im_library_close(library);
    return rc;
}

im_code cmd_tag(cli_session *s, im_error *err)
{
    const cli_options *options = &s->args->options;
    cli_named named = {0};
    bool change = options->add_tags.n + options->remove_tags.n > 0;
    im_code rc = cli_named_read(s->args, &named, err);
    if (rc == IM_OK && change && s->args->n_operands == 0) {
        rc = im_fail(err, IM_ERR_INVALID, "'imago tag' wants id:N or PATH for --add and --remove");
        im_hint(err, "'imago tag --help' shows examples");
    }
    if (rc == IM_OK) {
        im_tag_request request = {.items = named.items,
                                  .n_items = named.n_items,
                                  .paths = named.paths,
                                  .n_paths = named.n_paths,
                                  .add = options->add_tags.texts,
                                  .n_add = options->add_tags.n,
                                  .remove = options->remove_tags.texts,
                                  .n_remove = options->remove_tags.n};
        rc = change ? change_tags(s, &request, err) : list_tags(s, &request, err);
    }
    cli_named_clear(&named);
    return rc;
}
