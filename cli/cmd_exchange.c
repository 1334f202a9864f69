/* cli/cmd_exchange.c — `imago export` and `imago import`. */
#include "base/clock.h"
#include "base/file.h"
#include "cli/commands_internal.h"

#include <signal.h>

im_code cmd_export(cli_session *s, im_error *err)
{
    const char *folder = s->args->operands[0];
    im_library *library = NULL;
    im_export_report report = {0};
    im_events events = cli_events(s);
    im_json_writer w;
    char bytes[16];
    im_code rc = cli_open_library(s, false, &library, err);
    if (rc == IM_OK) {
        rc = im_app_export(library, folder, &events, &report, err);
    }
    im_library_close(library);
    if (rc != IM_OK) {
        return rc;
    }
    cli_progress_hide(&s->progress);
    if (s->args->options.json) {
        cli_json_start(&w);
        im_export_report_json(&w, &report);
        return cli_put_result(s, &w, err);
    }
    if (!s->args->options.quiet) {
        cli_printf(&s->out, "exported %llu vectors of %zu numbers (%s) to ",
                   (unsigned long long)report.rows, report.dim, im_text_bytes(report.bytes, bytes));
        cli_put_path(&s->out, folder);
        cli_puts(&s->out, "\n");
    }
    return IM_OK;
}

static void put_imported(cli_session *s, const im_import_report *report)
{
    const struct {
        const char *label;
        uint64_t n;
    } counts[] = {{"added", report->added},
                  {"merged into items already there", report->merged},
                  {"unchanged", report->unchanged},
                  {"replaced by key", report->replaced},
                  {"normalised", report->normalised}};
    char time[24];
    for (size_t i = 0; i < IM_COUNT(counts); i++) {
        if (counts[i].n > 0 || i == 0) {
            cli_printf(&s->out, "%s%llu %s", i == 0 ? "" : ", ", (unsigned long long)counts[i].n,
                       counts[i].label);
        }
    }
    cli_printf(&s->out, " in %s", cli_duration(report->seconds, time));
    if (report->rows > 0 && report->seconds > 0) {
        cli_printf(&s->out, " (%.0f rows/s)", (double)report->rows / report->seconds);
    }
    cli_puts(&s->out, "\n");
    if (report->without_file > 0) {
        cli_note(s,
                 "%llu of them have no picture file: 'imago add' links files of the same SHA-256",
                 (unsigned long long)report->without_file);
    }
}

static void put_report(cli_session *s, const im_import_report *report)
{
    im_json_writer w;
    if (s->args->options.json) {
        cli_json_start(&w);
        im_import_report_json(&w, report);
        cli_put_event(s, &w);
        return;
    }
    cli_progress_hide(&s->progress);
    if (!s->args->options.quiet) {
        put_imported(s, report);
    }
    if (report->interrupted) {
        cli_note(s, "stopped by %s; the library is good, the same command goes on from here",
                 im_stop_signal() == SIGTERM ? "SIGTERM" : "Ctrl-C");
    }
}

im_code cmd_import(cli_session *s, im_error *err)
{
    const cli_options *options = &s->args->options;
    im_library *library = NULL;
    im_import_report report = {0};
    im_events events = cli_events(s);
    im_import_request request = {.folder = s->args->operands[0],
                                 .trust_model = options->trust_model,
                                 .normalise = options->normalise};
    s->event_lines = options->json;
    if (!im_file_exists(request.folder)) { /* no library is made for a slip of the pen */
        return im_fail(err, IM_ERR_NOT_FOUND, "there is no folder '%s'", request.folder);
    }
    im_code rc = cli_open_or_make_library(s, &library, err);
    if (rc == IM_OK) {
        rc = im_app_import(library, &request, &events, &report, err);
        if (rc == IM_OK || report.rows > 0 || report.interrupted) {
            put_report(s, &report);
        }
    }
    im_library_close(library);
    return rc;
}
