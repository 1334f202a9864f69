/* cli/events.c — what long work tells while it runs, as words or as JSON lines. */
#include "cli/commands_internal.h"

#include <errno.h>
#include <unistd.h>

#define EVENT_EVERY_S 1.0 /* programs that read along need no more */

void cli_put_event(cli_session *s, im_json_writer *w)
{
    if (cli_put_json(&s->out, w, NULL) != IM_OK && s->out.errnum == 0) {
        s->out.errnum = ENOMEM; /* a line that is missing must not pass for none */
    }
    cli_flush(&s->out);
    im_json_clear(w);
}

static void event_start(im_json_writer *w, const char *event)
{
    cli_json_start(w);
    im_json_begin_object(w);
    im_json_put_string(w, "event", event);
}

static void progress_line(cli_session *s, const im_progress *progress)
{
    im_json_writer w;
    bool ended = progress->total > 0 && progress->done >= progress->total;
    if (progress->seconds < s->progress.last_event_s) {
        s->progress.last_event_s = 0; /* a new stage */
    }
    if (!ended && progress->seconds - s->progress.last_event_s < EVENT_EVERY_S) {
        return;
    }
    s->progress.last_event_s = progress->seconds;
    event_start(&w, "progress");
    im_json_put_string(&w, "stage", progress->stage);
    im_json_put_uint(&w, "done", progress->done);
    if (progress->total > 0) {
        im_json_put_uint(&w, "total", progress->total);
    } else {
        im_json_put_null(&w, "total");
    }
    im_json_put_uint(&w, "failed", progress->failed);
    im_json_put_double(&w, "seconds", progress->seconds);
    im_json_put_double(&w, "rate", progress->rate);
    if (progress->eta_s >= 0) {
        im_json_put_double(&w, "eta_s", progress->eta_s);
    } else {
        im_json_put_null(&w, "eta_s");
    }
    im_json_end_object(&w);
    cli_put_event(s, &w);
}

static void on_progress(void *context, const im_progress *progress)
{
    cli_session *s = context;
    if (s->event_lines) {
        progress_line(s, progress);
        return;
    }
    cli_progress_state state = {progress->stage,  progress->done,    progress->total,
                                progress->failed, progress->seconds, progress->rate,
                                progress->eta_s};
    cli_progress_show(&s->progress, &state);
}

/* "path" is UTF-8 for JSON's sake; the bytes follow when that lost some. */
void cli_put_json_path(im_json_writer *w, const char *path)
{
    im_str text;
    im_str_init(&text, SIZE_MAX / 2);
    bool whole = im_text_lossy(&text, path, strlen(path));
    im_json_put_string(w, "path", im_str_text(&text));
    if (!whole) {
        im_str_reset(&text);
        im_text_base64(&text, path, strlen(path));
        im_json_put_string(w, "path_b64", im_str_text(&text));
    }
    im_str_clear(&text);
}

static void on_failed(void *context, const char *path, const im_error *error)
{
    cli_session *s = context;
    im_json_writer w;
    if (!s->args->options.json) {
        cli_progress_hide(&s->progress);
        cli_put_error(&s->words, error, false);
        if (s->told[0] == '\0') {
            (void)snprintf(s->told, sizeof(s->told), "%s", error->message);
        }
        return;
    }
    if (s->event_lines) {
        event_start(&w, "failed");
        cli_put_json_path(&w, path);
        im_json_key(&w, "error");
        im_json_error(&w, error, NULL);
        im_json_end_object(&w);
        cli_put_event(s, &w);
    } else {
        cli_put_error(&s->words, error, true);
    }
}

static void on_warning(void *context, const char *sentence)
{
    cli_session *s = context;
    if (s->findings != NULL) {
        im_json_string_c(s->findings, sentence);
    } else {
        cli_note(s, "%s", sentence);
    }
}

static bool on_confirm(void *context, const char *question)
{
    cli_session *s = context;
    char answer[16] = "";
    if (s->args->options.yes) {
        return true;
    }
    if (s->args->options.json || !s->words.terminal || isatty(STDIN_FILENO) != 1) {
        return false;
    }
    cli_progress_hide(&s->progress);
    cli_puts(&s->words, "imago: ");
    cli_put_escaped(&s->words, question);
    cli_puts(&s->words, " [y/N] ");
    cli_flush(&s->words);
    bool answered = fgets(answer, sizeof(answer), stdin) != NULL;
    return answered && (answer[0] == 'y' || answer[0] == 'Y');
}

im_events cli_events(cli_session *s)
{
    im_events events = {s, on_progress, on_failed, on_warning, on_confirm};
    return events;
}
