/* cli/cmd_library.c — `imago init`, `status`, `check` and `rebuild`. */
#include "cli/commands_internal.h"

/* {"library": …} as JSON, else a sentence. */
im_code cmd_init(cli_session *s, im_error *err)
{
    im_json_writer w;
    im_code rc = im_app_init(&s->places, err);
    if (rc != IM_OK) {
        return rc;
    }
    if (!s->args->options.json) {
        if (!s->args->options.quiet) {
            cli_puts(&s->out, "made a library in ");
            cli_put_path(&s->out, s->places.library);
            cli_puts(&s->out, "\n");
        }
        return IM_OK;
    }
    cli_json_start(&w);
    im_json_begin_object(&w);
    im_json_put_string(&w, "library", s->places.library);
    im_json_end_object(&w);
    return cli_put_result(s, &w, err);
}

im_code cmd_status(cli_session *s, im_error *err)
{
    im_library *library = NULL;
    im_json_writer w;
    cli_json_start(&w);
    if (cli_ask(s, "/v1/library", NULL, &w.out)) {
        return cli_put_result(s, &w, err);
    }
    im_code rc = cli_open_library(s, false, &library, err);
    if (rc == IM_OK) {
        rc = im_app_status_json(library, &w, err);
    }
    im_library_close(library);
    if (rc != IM_OK) {
        im_json_clear(&w);
        return rc;
    }
    return cli_put_result(s, &w, err);
}

static void put_check_words(cli_session *s, const im_check_report *report)
{
    uint64_t all = report->findings + report->index_findings;
    if (s->args->options.quiet) {
        return;
    }
    cli_printf(&s->out, "%llu items, %llu vectors: ", (unsigned long long)report->items,
               (unsigned long long)report->vectors);
    if (all == 0) {
        cli_puts(&s->out, "sound\n");
    } else {
        cli_printf(&s->out, "%llu finding%s, %llu of them in files that can be made anew\n",
                   (unsigned long long)all, all == 1 ? "" : "s",
                   (unsigned long long)report->index_findings);
    }
}

im_code cmd_check(cli_session *s, im_error *err)
{
    const cli_options *options = &s->args->options;
    im_library *library = NULL;
    im_check_report report = {0};
    im_check_request request = {.full = options->full};
    im_events events = cli_events(s);
    im_json_writer w;
    cli_json_start(&w);
    im_json_begin_object(&w);
    im_json_key(&w, "messages");
    im_json_begin_array(&w);
    s->findings = options->json ? &w : NULL;
    im_code rc = cli_open_library(s, false, &library, err);
    bool opened = rc == IM_OK;
    if (opened) {
        rc = im_app_check(library, &request, &events, &report, err);
    }
    im_library_close(library);
    s->findings = NULL;
    im_json_end_array(&w);
    im_json_put_uint(&w, "findings", report.findings);
    im_json_put_uint(&w, "index_findings", report.index_findings);
    im_json_put_uint(&w, "items", report.items);
    im_json_put_uint(&w, "vectors", report.vectors);
    im_json_end_object(&w);
    cli_progress_hide(&s->progress);
    if (opened && options->json) {
        im_code printed = cli_put_json(&s->out, &w, rc == IM_OK ? err : NULL);
        rc = rc == IM_OK ? printed : rc;
    } else if (opened) {
        put_check_words(s, &report);
    }
    im_json_clear(&w);
    return rc;
}

static im_code put_compacted(cli_session *s, const im_compact_report *report, im_error *err)
{
    char bytes[16];
    im_json_writer w;
    if (s->args->options.json) {
        cli_json_start(&w);
        im_json_begin_object(&w);
        im_json_put_uint(&w, "vectors", report->rows);
        im_json_put_uint(&w, "dropped", report->dropped);
        im_json_put_uint(&w, "freed_bytes", report->freed_bytes);
        im_json_end_object(&w);
        return cli_put_result(s, &w, err);
    }
    if (s->args->options.quiet) {
        return IM_OK;
    }
    if (report->dropped == 0) {
        cli_printf(&s->out, "nothing to compact: %llu vectors, no removed rows\n",
                   (unsigned long long)report->rows);
    } else {
        cli_printf(&s->out,
                   "compacted the index: %llu vectors, %llu removed rows dropped, %s freed\n",
                   (unsigned long long)report->rows, (unsigned long long)report->dropped,
                   im_text_bytes(report->freed_bytes, bytes));
    }
    return IM_OK;
}

static void put_rebuild_words(cli_session *s, const im_rebuild_request *request,
                              const im_rebuild_report *report)
{
    const im_faiss_record *file = &report->file;
    if (s->args->options.quiet) {
        return;
    }
    if (!request->has_engine) {
        cli_printf(&s->out, "made the index anew: %llu vectors\n",
                   (unsigned long long)report->vectors);
    } else if (file->generation == 0) {
        cli_printf(&s->out, "engine %s: no file is needed\n", im_engine_name(report->engine));
    } else {
        cli_printf(&s->out, "made %s: %llu vectors, %llu bytes\n", file->name,
                   (unsigned long long)file->n_rows, (unsigned long long)file->bytes);
    }
}

static im_code put_rebuild_json(cli_session *s, const im_rebuild_report *report, im_error *err)
{
    im_json_writer w;
    const im_faiss_record *file = &report->file;
    cli_json_start(&w);
    im_json_begin_object(&w);
    im_json_put_uint(&w, "vectors", report->vectors);
    im_json_put_string(&w, "chosen_engine", im_engine_name(report->engine));
    if (file->generation == 0) {
        im_json_put_null(&w, "engine_file");
    } else {
        im_json_key(&w, "engine_file");
        im_json_begin_object(&w);
        im_json_put_string(&w, "engine", im_engine_name(report->engine));
        im_json_put_string(&w, "name", file->name);
        im_json_put_uint(&w, "bytes", file->bytes);
        im_json_put_uint(&w, "rows", file->n_rows);
        im_json_end_object(&w);
    }
    im_json_end_object(&w);
    return cli_put_result(s, &w, err);
}

static im_code rebuild(cli_session *s, const im_rebuild_request *request, im_error *err)
{
    im_library *library = NULL;
    im_events events = cli_events(s);
    im_rebuild_report report = {0};
    im_code rc = cli_open_library(s, true, &library, err);
    if (rc == IM_OK) {
        rc = im_app_rebuild(library, request, &events, &report, err);
    }
    im_library_close(library);
    if (rc != IM_OK) {
        return rc;
    }
    cli_progress_hide(&s->progress);
    if (s->args->options.json) {
        return put_rebuild_json(s, &report, err);
    }
    put_rebuild_words(s, request, &report);
    return IM_OK;
}

static im_code compact(cli_session *s, im_error *err)
{
    im_library *library = NULL;
    im_events events = cli_events(s);
    im_compact_report report = {0};
    im_code rc = cli_open_library(s, true, &library, err);
    if (rc == IM_OK) {
        rc = im_app_compact(library, &events, &report, err);
    }
    im_library_close(library);
    cli_progress_hide(&s->progress);
    return rc == IM_OK ? put_compacted(s, &report, err) : rc;
}

im_code cmd_rebuild(cli_session *s, im_error *err)
{
    const cli_options *options = &s->args->options;
    const im_rebuild_request request = {.has_engine = s->args->given[IM_OPT_ENGINE],
                                        .engine = (im_engine)options->engine,
                                        .index_params = options->index_params};
    if (request.index_params != NULL && !request.has_engine) {
        im_code rc = im_fail(err, IM_ERR_INVALID, "option '--index-params' needs its engine");
        im_hint(err, "say which: --engine ivf or --engine hnsw");
        return rc;
    }
    if (options->compact && request.has_engine) {
        return im_fail(err, IM_ERR_INVALID,
                       "options '--compact' and '--engine' exclude each other");
    }
    return options->compact ? compact(s, err) : rebuild(s, &request, err);
}
