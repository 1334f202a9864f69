/* cli/cmd_add.c — `imago add`: indexing, and what it says at the end. */
#include "base/clock.h"
#include "cli/commands_internal.h"

#include <signal.h>

im_code cli_open_or_make_library(cli_session *s, im_library **out_library, im_error *err)
{
    im_error first = IM_ERROR_INIT;
    im_code rc = cli_open_library(s, true, out_library, &first);
    if (rc != IM_OK && strcmp(first.reason, im_reason_name(IM_REASON_LIBRARY_NOT_FOUND)) == 0) {
        rc = im_app_init(&s->places, err);
        if (rc == IM_OK) {
            cli_note(s, "made a new library in '%s'", s->places.library);
            rc = cli_open_library(s, true, out_library, err);
        }
    } else if (rc != IM_OK) {
        *err = first;
    }
    return rc;
}

typedef struct counted {
    const char *label;
    uint64_t n;
} counted;

static void put_counts(cli_session *s, const im_add_report *report)
{
    const counted counts[] = {
        {"added", report->added},
        {"more files of pictures already there", report->linked},
        {"unchanged", report->unchanged},
        {"moved", report->moved},
        {"updated", report->updated},
        {"partly readable", report->partial},
        {"failed", report->failed},
        {"failed before and unchanged", report->known_failures},
        {"skipped", report->skipped},
        {"missing", report->missing},
        {"forgotten", report->pruned},
        {report->meta_set == 1 ? "line applied" : "lines applied", report->meta_set},
        {report->meta_failed == 1 ? "line failed" : "lines failed", report->meta_failed},
        {"replaced by their key", report->meta_replaced},
    };
    bool first = true;
    char time[24];
    for (size_t i = 0; i < IM_COUNT(counts); i++) {
        if (counts[i].n > 0 || (i == 0 && s->args->n_operands > 0)) {
            cli_printf(&s->out, "%s%llu %s", first ? "" : ", ", (unsigned long long)counts[i].n,
                       counts[i].label);
            first = false;
        }
    }
    if (first) {
        cli_puts(&s->out, "nothing to do");
    }
    cli_printf(&s->out, " in %s", cli_duration(report->seconds, time));
    if (report->added > 0 && report->seconds > 0) {
        cli_printf(&s->out, " (%.1f pictures/s)", (double)report->added / report->seconds);
    }
    cli_puts(&s->out, "\n");
}

/* A skip is a format ("heic") or a reason in words ("not a picture"). */
static void put_skips(cli_session *s, const im_add_report *report)
{
    for (size_t i = 0; i < report->n_skips; i++) {
        const im_skip_count *skip = &report->skips[i];
        const char *files = skip->n == 1 ? "file" : "files";
        unsigned long long n = skip->n;
        if (strchr(skip->what, ' ') != NULL) {
            cli_note(s, "skipped %llu %s: %s", n, files, skip->what);
            continue;
        }
        char format[sizeof(skip->what)] = "";
        for (size_t j = 0; j < sizeof(format) - 1 && skip->what[j] != '\0'; j++) {
            char c = skip->what[j];
            format[j] = (char)(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
        }
        cli_note(s, "%llu %s %s: this build has no decoder for them", n, format, files);
    }
}

static void put_profile(cli_session *s, const im_add_report *report)
{
    double shares[IM_ADD_STAGES];
    size_t pace = im_add_pace(report, shares);
    for (size_t i = 0; i < IM_ADD_STAGES; i++) {
        const im_stage_time *stage = &report->stages[i];
        if (stage->name != NULL) {
            cli_printf(&s->out, "  %-8s %8.2f s busy  %2zu thread%s %5.1f %%%s\n", stage->name,
                       stage->busy_s, stage->threads, stage->threads == 1 ? " " : "s",
                       100 * shares[i], i == pace ? "  sets the pace" : "");
        }
    }
}

static void put_report(cli_session *s, const im_add_report *report)
{
    im_json_writer w;
    if (s->args->options.json) {
        cli_json_start(&w);
        im_add_report_json(&w, report);
        cli_put_event(s, &w);
        return;
    }
    cli_progress_hide(&s->progress);
    if (!s->args->options.quiet) {
        put_counts(s, report);
        put_skips(s, report);
    }
    if (s->args->options.profile) {
        put_profile(s, report);
    }
    if (report->interrupted) {
        cli_note(s, "stopped by %s; the library is good, the same command goes on from here",
                 im_stop_signal() == SIGTERM ? "SIGTERM" : "Ctrl-C");
    }
}

/* What there is to do must be known before a library is made for it. */
static im_code check_request(const cli_session *s, im_error *err)
{
    const char *meta = s->args->options.meta;
    if (s->args->n_operands == 0 && meta == NULL) {
        im_code rc = im_fail(err, IM_ERR_INVALID, "'imago add' wants PATH... or --meta FILE");
        im_hint(err, "'imago add --help' shows examples");
        return rc;
    }
    return meta != NULL ? im_app_meta_check(meta, err) : IM_OK;
}

im_code cmd_add(cli_session *s, im_error *err)
{
    const cli_options *options = &s->args->options;
    im_library *library = NULL;
    im_add_report report = {0};
    im_events events = cli_events(s);
    im_add_request request = {
        .paths = s->args->operands,
        .n_paths = s->args->n_operands,
        .no_recursion = options->no_recursive,
        .follow_links = options->follow_links,
        .prune = options->prune,
        .retry_failed = options->retry_failed,
        .watch = options->watch,
        .exact_decode = options->exact_decode,
        .limits = cli_limits(options),
        .decoders = (size_t)options->decoders,
        .batch = (size_t)options->batch,
        .meta = options->meta,
    };
    s->event_lines = options->json;
    im_code rc = check_request(s, err);
    if (rc == IM_OK) { /* fields alone make no library */
        rc = request.n_paths > 0 ? cli_open_or_make_library(s, &library, err)
                                 : cli_open_library(s, true, &library, err);
    }
    if (rc == IM_OK) {
        rc = im_app_add(library, &request, &events, &report, err);
        put_report(s, &report);
    }
    im_library_close(library);
    return rc;
}
