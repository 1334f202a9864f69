/* cli/cmd_describe.c — `imago caption` and `imago read`: what pictures show, and what is written in
 * them, by a vision-language model. */
#include "base/clock.h"
#include "cli/commands_internal.h"

_Static_assert(IM_VLM_CAPTION == 0 && IM_VLM_READ == 1 && IM_VLM_WISH_COUNT == 2, "two commands");

/* "id:17<tab>text" a line, or an event. */
static void on_text(void *context, uint64_t item, const char *path, const char *text)
{
    cli_session *s = context;
    im_json_writer w;
    if (!s->event_lines) {
        cli_progress_hide(&s->progress);
        cli_printf(&s->out, "id:%llu\t", (unsigned long long)item);
        cli_put_escaped(&s->out, text != NULL ? text : "");
        cli_puts(&s->out, "\n");
        cli_flush(&s->out);
        return;
    }
    cli_json_start(&w);
    im_json_begin_object(&w);
    im_json_put_string(&w, "event", "described");
    im_json_put_uint(&w, "id", item);
    if (path != NULL) {
        cli_put_json_path(&w, path);
    } else {
        im_json_put_null(&w, "path");
    }
    im_json_put_string(&w, "text", text);
    im_json_end_object(&w);
    cli_put_event(s, &w);
}

static void put_count(cli_session *s, bool *first, uint64_t n, const char *label)
{
    if (n > 0) {
        cli_printf(&s->words, "%s%llu %s", *first ? "" : ", ", (unsigned long long)n, label);
        *first = false;
    }
}

static const char *why(const im_describe_report *report)
{
    const char *stopped = report->stopped != NULL ? report->stopped : "";
    return strcmp(stopped, "limit") == 0     ? "; --limit is reached, the same command goes on"
           : strcmp(stopped, "tokens") == 0  ? "; --tokens are spent, the same command goes on"
           : strcmp(stopped, "seconds") == 0 ? "; --seconds are over, the same command goes on"
           : *stopped != '\0'                ? "; the same command goes on from here"
                                             : "";
}

static void put_report(cli_session *s, const im_describe_report *report, bool reading)
{
    im_json_writer w;
    char time[24];
    char cost[CLI_COST_SIZE];
    bool first = true;
    if (s->event_lines) {
        cli_json_start(&w);
        im_describe_report_json(&w, report);
        cli_put_event(s, &w);
        return;
    }
    cli_progress_hide(&s->progress);
    if (s->args->options.quiet) {
        return;
    }
    cli_puts(&s->words, "imago: ");
    put_count(s, &first, report->described, reading ? "read" : "described");
    put_count(s, &first, report->none, "without text");
    put_count(s, &first, report->known, "known already");
    put_count(s, &first, report->known_failures, "failed before (--retry)");
    put_count(s, &first, report->denied, "not to be sent");
    put_count(s, &first, report->failed, "failed");
    cli_printf(&s->words, "%s of %llu pictures in %s, %llu tokens%s%s\n", first ? "none" : "",
               (unsigned long long)report->items, cli_duration(report->seconds, time),
               (unsigned long long)report->tokens,
               cli_cost(report->priced, report->cost_nano, cost), why(report));
    cli_flush(&s->words);
}

static im_code describe(cli_session *s, im_vlm_wish wish, im_error *err)
{
    const cli_options *options = &s->args->options;
    bool has_words = s->args->n_operands > 0;
    im_library *library = NULL;
    im_describe_report report = {0};
    im_events events = cli_events(s);
    im_search_request search = {.k = (size_t)options->k,
                                .how = {.limits = cli_limits(options)},
                                .text = has_words ? im_str_text(&s->args->query) : NULL};
    im_describe_request request = {.wish = wish,
                                   .limit = options->limit,
                                   .tokens = options->run_tokens,
                                   .seconds = (uint32_t)options->run_seconds,
                                   .redo = options->redo,
                                   .retry = options->retry,
                                   .told = on_text,
                                   .context = s};
    im_str key;
    im_str filter;
    s->event_lines = options->json;
    im_str_init(&filter, SIZE_MAX / 2);
    im_code rc = cli_vlm_request(options, &request.vlm, &key, err);
    if (rc == IM_OK) {
        rc = cli_join_filters(&options->filters, &filter, err);
        search.filter = filter.size > 0 ? im_str_text(&filter) : NULL;
        search.all = search.text == NULL && search.filter == NULL;
        request.search = &search;
    }
    if (rc == IM_OK) {
        request.vlm.max_px = (uint32_t)options->vlm_pixels;
        if (!s->args->given[IM_OPT_VLM_SECONDS]) {
            request.vlm.deadline_ms = 0; /* of one picture here, and longer than of a search */
        }
        rc = cli_open_library(s, true, &library, err);
    }
    if (rc == IM_OK) {
        rc = im_app_describe(library, &request, &events, &report, err);
        if (report.items > 0 || rc == IM_OK) {
            put_report(s, &report, wish == IM_VLM_READ);
        }
    }
    im_library_close(library);
    im_str_clear(&filter);
    im_str_clear(&key);
    return rc;
}

im_code cmd_caption(cli_session *s, im_error *err)
{
    return describe(s, IM_VLM_CAPTION, err);
}

im_code cmd_read(cli_session *s, im_error *err)
{
    return describe(s, IM_VLM_READ, err);
}
