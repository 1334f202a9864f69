/* cli/cmd_backup.c — `imago backup` and `restore`. */
#include "cli/commands_internal.h"

static im_code put_facts(cli_session *s, const char *words, const char *path,
                         const im_backup_facts *facts, im_error *err)
{
    im_json_writer w;
    char bytes[16];
    cli_progress_hide(&s->progress);
    if (!s->args->options.json) {
        if (!s->args->options.quiet) {
            cli_printf(&s->out, "%s %llu items and %llu originals (%s) %s ", words,
                       (unsigned long long)facts->items, (unsigned long long)facts->originals,
                       im_text_bytes(facts->bytes, bytes), words[0] == 's' ? "in" : "into");
            cli_put_path(&s->out, path);
            cli_puts(&s->out, "\n");
        }
        return IM_OK;
    }
    cli_json_start(&w);
    im_json_begin_object(&w);
    im_json_put_uint(&w, "items", facts->items);
    im_json_put_uint(&w, "originals", facts->originals);
    im_json_put_uint(&w, "bytes", facts->bytes);
    im_json_put_uint(&w, "findings", facts->findings);
    im_json_end_object(&w);
    return cli_put_result(s, &w, err);
}

im_code cmd_backup(cli_session *s, im_error *err)
{
    const char *file = s->args->operands[0];
    im_library *library = NULL;
    im_backup_facts facts = {0};
    im_events events = cli_events(s);
    im_code rc = cli_open_library(s, false, &library, err);
    if (rc == IM_OK) {
        rc = im_app_backup(library, file, &events, &facts, err);
    }
    im_library_close(library);
    return rc == IM_OK ? put_facts(s, "saved", file, &facts, err) : rc;
}

im_code cmd_restore(cli_session *s, im_error *err)
{
    im_backup_facts facts = {0};
    im_events events = cli_events(s);
    im_code rc = im_app_restore(&s->places, s->args->operands[0], s->args->options.accept_damage,
                                &events, &facts, err);
    return rc == IM_OK ? put_facts(s, "restored", s->places.library, &facts, err) : rc;
}
