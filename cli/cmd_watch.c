/* cli/cmd_watch.c — `imago watch`: which folders a daemon follows. */
#include "cli/commands_internal.h"

typedef struct list_context {
    cli_session *s;
    size_t n;
} list_context;

static bool put_followed(void *context, const im_root *root)
{
    list_context *list = context;
    if (root->watch) {
        cli_put_path(&list->s->out, root->path);
        cli_puts(&list->s->out, "\n");
        list->n++;
    }
    return true;
}

static im_code list_folders(cli_session *s, im_library *library, im_error *err)
{
    im_json_writer w;
    list_context list = {.s = s};
    if (!s->args->options.json) {
        im_code rc = im_app_each_root(library, put_followed, &list, err);
        if (rc == IM_OK && list.n == 0) {
            cli_note(s, "no folder is followed");
        }
        return rc;
    }
    cli_json_start(&w);
    im_code rc = im_app_roots_json(library, &w, err);
    if (rc != IM_OK) {
        im_json_clear(&w);
        return rc;
    }
    return cli_put_result(s, &w, err);
}

im_code cmd_watch(cli_session *s, im_error *err)
{
    const cli_args *args = s->args;
    im_library *library = NULL;
    if (args->n_operands == 0 && args->options.off) {
        im_code rc = im_fail(err, IM_ERR_INVALID, "'imago watch --off' wants FOLDER...");
        im_hint(err, "'imago watch' lists the folders that are followed");
        return rc;
    }
    im_code rc = cli_open_library(s, args->n_operands > 0, &library, err);
    for (size_t i = 0; rc == IM_OK && i < args->n_operands; i++) {
        rc = im_app_watch_path(library, args->operands[i], !args->options.off, err);
    }
    if (rc == IM_OK && (args->n_operands == 0 || args->options.json)) {
        rc = list_folders(s, library, err);
    }
    im_library_close(library);
    return rc;
}
