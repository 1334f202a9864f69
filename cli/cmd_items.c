/* cli/cmd_items.c — `imago show`, `remove` and `relocate`. */
#include "base/clock.h"
#include "cli/commands_internal.h"

static bool ask_show(cli_session *s, uint64_t id, im_json_writer *w)
{
    char path[48];
    (void)snprintf(path, sizeof(path), "/v1/items/%llu", (unsigned long long)id);
    return cli_ask(s, path, NULL, &w->out);
}

im_code cmd_show(cli_session *s, im_error *err)
{
    im_library *library = NULL;
    im_json_writer w;
    uint64_t id = 0;
    cli_json_start(&w);
    im_code rc = cli_item_or_path(s->args->operands[0], &id, err);
    if (rc == IM_OK && id == 0) {
        rc = im_fail(err, IM_ERR_INVALID, "'%s' is no id of an item", s->args->operands[0]);
        im_hint(err, "ids look like id:17; 'imago similar FILE' finds that of a file");
    }
    if (rc == IM_OK && ask_show(s, id, &w)) {
        return cli_put_result(s, &w, err);
    }
    if (rc == IM_OK) {
        rc = cli_open_library(s, false, &library, err);
    }
    if (rc == IM_OK) {
        rc = im_app_show_json(library, id, &w, err);
    }
    im_library_close(library);
    if (rc != IM_OK) {
        im_json_clear(&w);
        return rc;
    }
    return cli_put_result(s, &w, err);
}

static im_code put_removed(cli_session *s, uint64_t removed, im_error *err)
{
    im_json_writer w;
    if (!s->args->options.json) {
        if (!s->args->options.quiet) {
            cli_printf(&s->out, "removed %llu item%s from the library; no file was touched\n",
                       (unsigned long long)removed, removed == 1 ? "" : "s");
        }
        return IM_OK;
    }
    cli_json_start(&w);
    im_json_begin_object(&w);
    im_json_put_uint(&w, "removed", removed);
    im_json_end_object(&w);
    return cli_put_result(s, &w, err);
}

im_code cmd_remove(cli_session *s, im_error *err)
{
    im_library *library = NULL;
    cli_named named = {0};
    im_events events = cli_events(s);
    uint64_t removed = 0;
    im_code rc = cli_named_read(s->args, &named, err);
    if (rc == IM_OK) {
        rc = cli_open_library(s, true, &library, err);
    }
    if (rc == IM_OK) {
        im_remove_request request = {named.items, named.n_items, named.paths, named.n_paths};
        rc = im_app_remove(library, &request, &events, &removed, err);
        if (rc == IM_OK || rc == IM_ERR_PARTIAL || removed > 0) {
            im_code printed = put_removed(s, removed, rc == IM_OK ? err : NULL);
            rc = rc == IM_OK ? printed : rc;
        }
    }
    im_library_close(library);
    cli_named_clear(&named);
    return rc;
}

im_code cmd_relocate(cli_session *s, im_error *err)
{
    im_library *library = NULL;
    im_relocate_report report = {0};
    im_json_writer w;
    im_code rc = cli_open_library(s, true, &library, err);
    if (rc == IM_OK) {
        rc = im_app_relocate(library, s->args->operands[0], s->args->operands[1], &report, err);
    }
    im_library_close(library);
    if (rc != IM_OK) {
        return rc;
    }
    if (!s->args->options.json) {
        if (!s->args->options.quiet) {
            cli_printf(&s->out, "moved %llu folder%s; %llu of %llu files looked at are there\n",
                       (unsigned long long)report.roots, report.roots == 1 ? "" : "s",
                       (unsigned long long)report.found, (unsigned long long)report.looked_at);
        }
        return IM_OK;
    }
    cli_json_start(&w);
    im_json_begin_object(&w);
    im_json_put_uint(&w, "roots", report.roots);
    im_json_put_uint(&w, "looked_at", report.looked_at);
    im_json_put_uint(&w, "found", report.found);
    im_json_end_object(&w);
    return cli_put_result(s, &w, err);
}
