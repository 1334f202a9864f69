/* cli/cmd_audit.c — `imago audit`. */
#include "cli/commands_internal.h"

static im_code read_want(const char *text, double *out, im_error *err)
{
    if (text == NULL) {
        return IM_OK;
    }
    if (!im_parse_double(text, out) || !(*out > 0 && *out <= 1)) {
        return im_fail(err, IM_ERR_INVALID,
                       "option '--want': '%s' is not a number above 0 and at most 1", text);
    }
    return IM_OK;
}

static void put_kind(cli_session *s, const char *name, const im_audit_recall *recall,
                     const im_audit_times *times)
{
    if (recall->n_wanted == 0) {
        cli_printf(&s->out, "%-9s none asked\n", name);
        return;
    }
    cli_printf(&s->out, "%-9s %4zu queries  recall %.4f (%.4f to %.4f)", name, recall->n_queries,
               recall->recall, recall->low, recall->high);
    if (times != NULL) {
        cli_printf(&s->out, "  %.2f ms, exact scan %.2f ms", times->index_ms, times->exact_ms);
    }
    cli_puts(&s->out, "\n");
}

static void put_words(cli_session *s, const im_audit_report *report)
{
    const im_audit_proposal *proposal = &report->proposal;
    cli_printf(&s->out, "engine %s, %llu vectors, recall@%zu with its 95 %% interval\n",
               report->engine, (unsigned long long)report->rows, report->k);
    put_kind(s, "texts", &report->audit.texts, &report->times[0]);
    put_kind(s, "pictures", &report->audit.pictures, &report->times[1]);
    if (!report->has_proposal) {
        return;
    }
    cli_printf(&s->out, "%s: %s\n",
               proposal->reached ? "proposed" : "not reached, the hardest that was tried",
               report->params);
    put_kind(s, "texts", &proposal->audit.texts, NULL);
    put_kind(s, "pictures", &proposal->audit.pictures, NULL);
    if (report->applied) {
        cli_puts(&s->out, "searches use it from now on\n");
    } else if (proposal->reached) {
        cli_printf(&s->out, "to use it: imago audit --want %g --apply\n", report->want);
    }
}

/* For writing, so that the result can be kept; for reading where that may not be. */
static im_code open_library(cli_session *s, bool must_write, im_library **out_library,
                            im_error *err)
{
    im_code rc = cli_open_library(s, true, out_library, err);
    return !must_write && (rc == IM_ERR_DENIED || rc == IM_ERR_IO || rc == IM_ERR_BUSY ||
                           rc == IM_ERR_FULL)
               ? cli_open_library(s, false, out_library, err)
               : rc;
}

im_code cmd_audit(cli_session *s, im_error *err)
{
    const cli_options *options = &s->args->options;
    im_library *library = NULL;
    im_events events = cli_events(s);
    im_audit_report report;
    im_audit_request request = {.n_queries = (size_t)options->queries,
                                .k = (size_t)options->k,
                                .fast = options->fast,
                                .apply = options->apply};
    im_json_writer w;
    im_code rc = read_want(options->want, &request.want, err);
    if (rc == IM_OK && request.apply && options->want == NULL) {
        rc = im_fail(err, IM_ERR_INVALID, "option '--apply' needs a recall to reach");
        im_hint(err, "say which: --want 0.99");
    }
    if (rc == IM_OK) {
        rc = open_library(s, request.apply, &library, err);
    }
    if (rc == IM_OK) {
        rc = im_app_audit(library, &request, &events, &report, err);
    }
    im_library_close(library);
    if (rc != IM_OK) {
        return rc;
    }
    if (!options->json) {
        put_words(s, &report);
        return IM_OK;
    }
    cli_json_start(&w);
    im_audit_report_json(&w, &report);
    return cli_put_result(s, &w, err);
}
