/* cli/print_answer.c — hits as a table for people, as stable lines for scripts, as bare paths. */
#include "cli/commands_internal.h"

/* A listing has no scores. */
static void put_hit_row(cli_session *s, const im_answer *answer, const im_search_hit *hit,
                        cli_painter *painter)
{
    cli_output *out = &s->out;
    cli_style(out, "2");
    cli_printf(out, "%4llu  ", (unsigned long long)hit->rank);
    cli_style(out, "0");
    cli_style(out, "1");
    if (answer->n_parts > 0) {
        cli_printf(out, "%7.3f  ", (double)hit->score);
    } else {
        cli_puts(out, "      -  ");
    }
    cli_style(out, "0");
    cli_style(out, "2");
    cli_printf(out, "id:%-8llu ", (unsigned long long)hit->item.id);
    cli_style(out, "0");
    if (hit->path != NULL) {
        cli_put_path(out, hit->path);
    } else {
        cli_put_escaped(out, hit->name != NULL ? hit->name : "");
        cli_puts(out, "  (no file)");
    }
    cli_puts(out, hit->online || hit->path == NULL ? "\n" : "  (not there now)\n");
    if (hit->path != NULL && hit->online) {
        cli_painter_draw(painter, out, hit->path);
    }
}

/* Score ("-" in a listing), id, path with tabs between: a quoted path has neither tab nor line end
 * in it. */
static void put_hit_line(cli_session *s, const im_answer *answer, const im_search_hit *hit)
{
    if (answer->n_parts > 0) {
        cli_printf(&s->out, "%.4f", (double)hit->score);
    } else {
        cli_puts(&s->out, "-");
    }
    cli_printf(&s->out, "\tid:%llu\t", (unsigned long long)hit->item.id);
    if (hit->path != NULL) {
        cli_put_path(&s->out, hit->path);
    }
    cli_puts(&s->out, "\n");
}

static void put_paths(cli_session *s, const im_answer *answer)
{
    for (size_t i = 0; i < answer->n_hits; i++) {
        const char *path = answer->hits[i].path;
        if (path == NULL) {
            continue;
        }
        if (s->args->options.print0) {
            cli_put(&s->out, path, strlen(path) + 1);
        } else {
            cli_put_path(&s->out, path);
            cli_puts(&s->out, "\n");
        }
    }
}

/* Why there may be no hit: none passes the filter, or none scores high enough. */
static void put_nothing(cli_session *s, const im_answer *answer)
{
    if (answer->filtered > 0 && answer->has_min_score) {
        cli_note(s, "no hits: none of %llu pictures scores %g or more (--min-score)",
                 (unsigned long long)answer->filtered, (double)answer->min_score);
    } else {
        cli_note(s, "no hits");
    }
}

/* What the vision-language model did; always when it did less than was asked. */
static void put_rerank(cli_session *s, const im_rerank_report *report)
{
    if (report->status == NULL) {
        return;
    }
    if (strcmp(report->status, "done") != 0) {
        cli_note(s, "rerank %s: %s", report->status, report->reason);
    }
    if (report->no_list[0] != '\0') {
        cli_note(s, "no order of the whole list, each hit by itself: %s", report->no_list);
    }
    if (strcmp(report->status, "done") == 0 || s->args->options.verbose > 0) {
        char cost[CLI_COST_SIZE];
        cli_note(s,
                 "rerank: %zu of %zu judged (%zu known before), %zu moved, %.0f ms, %llu tokens%s, "
                 "mode %s, weight %g%s",
                 report->judged, report->n, report->cached, report->moved, report->ms,
                 (unsigned long long)report->tokens,
                 cli_cost(report->priced, report->cost_nano, cost), report->mode,
                 report->weights.weight, report->weights.calibrated ? "" : " (not calibrated)");
    }
}

static void put_notes(cli_session *s, const im_answer *answer)
{
    for (size_t i = 0; i < answer->n_warnings; i++) {
        cli_note(s, "%s", answer->warnings[i]);
    }
    if (answer->n_hits == 0) {
        put_nothing(s, answer);
    }
    put_rerank(s, &answer->rerank);
    if (s->args->options.verbose > 0) {
        cli_note(s,
                 "parse %.1f ms, encode %.1f ms, search %.1f ms, fetch %.1f ms; %llu of %llu "
                 "scanned by engine %s with model %s",
                 answer->parse_ms, answer->encode_ms, answer->search_ms, answer->fetch_ms,
                 (unsigned long long)answer->scanned, (unsigned long long)answer->filtered,
                 answer->engine != NULL ? answer->engine : "-", answer->model);
    }
}

im_code cli_put_answer_json(cli_session *s, const im_answer *answer, im_error *err)
{
    im_json_writer w;
    cli_json_start(&w);
    im_answer_json(&w, answer);
    im_code rc = cli_put_json(&s->out, &w, err);
    im_json_clear(&w);
    return rc;
}

void cli_put_answer(cli_session *s, const im_answer *answer)
{
    const cli_options *options = &s->args->options;
    if (options->paths || options->print0) {
        put_paths(s, answer);
    } else if (s->out.terminal || options->thumbnails == IM_THUMBS_ALWAYS) {
        cli_painter *painter = cli_painter_open(&s->out, (cli_thumbnails)options->thumbnails);
        for (size_t i = 0; i < answer->n_hits; i++) {
            put_hit_row(s, answer, &answer->hits[i], painter);
        }
        cli_painter_close(painter);
    } else {
        for (size_t i = 0; i < answer->n_hits; i++) {
            put_hit_line(s, answer, &answer->hits[i]);
        }
    }
    cli_flush(&s->out); /* hits before the notes about them */
    put_notes(s, answer);
}
