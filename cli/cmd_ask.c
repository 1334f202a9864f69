/* cli/cmd_ask.c — `imago ask`: hits of a question, and what the vision-language model answers from
 * them. On a terminal its words are printed as they come. */
#include "cli/commands_internal.h"

typedef struct asking {
    cli_session *s;
    im_str question;
    im_str filter;
    im_str shown; /* words that were printed */
    im_query_part part;
    im_answer answer;
    im_ask_result result;
} asking;

/* ---- the first stage ---- */

static im_code read_question(asking *a, im_error *err)
{
    const cli_args *args = a->s->args;
    for (size_t i = 0; i < args->n_operands; i++) {
        im_str_addf(&a->question, "%s%s", i > 0 ? " " : "", args->operands[i]);
    }
    return a->question.failed ? im_fail(err, IM_ERR_NOMEM, "no memory for the question")
                              : cli_join_filters(&args->options.filters, &a->filter, err);
}

static im_code search(asking *a, im_library *library, im_error *err)
{
    const cli_options *options = &a->s->args->options;
    uint64_t k = a->s->args->given[IM_OPT_K] ? options->k : IM_ASK_K;
    im_search_request request = {.text = options->ask_query,
                                 .parts = &a->part,
                                 .n_parts = options->ask_query == NULL,
                                 .filter = a->filter.size > 0 ? im_str_text(&a->filter) : NULL,
                                 .k = (size_t)k,
                                 .how = {.limits = cli_limits(options)}};
    a->part = (im_query_part){.kind = IM_PART_TEXT,
                              .text = im_view_of(im_str_text(&a->question), a->question.size),
                              .weight = 1};
    if (k > IM_ASK_MOST) {
        return im_fail(err, IM_ERR_INVALID,
                       "option '--k': a question about %llu pictures, at most %u",
                       (unsigned long long)k, IM_ASK_MOST);
    }
    im_code rc = cli_set_min_score(options->min_score, &request, err);
    return rc == IM_OK ? im_app_search(library, &request, &a->answer, err) : rc;
}

/* ---- telling ---- */

static void show_words(void *context, im_view more)
{
    asking *a = context;
    im_str piece;
    im_str_init(&piece, SIZE_MAX / 2);
    im_str_add(&piece, more.data, more.size);
    cli_put_escaped(&a->s->out, im_str_text(&piece));
    cli_flush(&a->s->out);
    im_str_add(&a->shown, more.data, more.size);
    im_str_clear(&piece);
}

static const char *path_of(const asking *a, uint64_t item)
{
    for (size_t i = 0; i < a->answer.n_hits; i++) {
        if (a->answer.hits[i].item.id == item) {
            return a->answer.hits[i].path;
        }
    }
    return NULL;
}

static void put_reference(asking *a, size_t number)
{
    cli_output *out = &a->s->out;
    uint64_t item = a->result.items[number - 1];
    const char *path = path_of(a, item);
    const char *gap = out->terminal ? "  " : "\t";
    cli_style(out, "2");
    cli_printf(out, "%s[%zu]%sid:%llu%s", out->terminal ? "  " : "", number, gap,
               (unsigned long long)item, gap);
    cli_style(out, "0");
    if (path != NULL) {
        cli_put_path(out, path);
    }
    cli_puts(out, "\n");
}

/* Nothing is an answer too, and so is "I cannot tell". */
static void put_notes(asking *a)
{
    const im_ask_result *result = &a->result;
    for (size_t i = 0; i < a->answer.n_warnings; i++) {
        cli_note(a->s, "%s", a->answer.warnings[i]);
    }
    for (size_t i = 0; i < result->n_left_out; i++) {
        cli_note(a->s, "id:%llu was not sent: %s", (unsigned long long)result->left_out[i].item,
                 result->left_out[i].why);
    }
    if (result->status == IM_ASK_NOTHING) {
        cli_note(a->s, "no picture was found to answer from: the model was not asked");
    } else if (result->status == IM_ASK_ABSTAINED) {
        cli_note(a->s, "the model cannot tell from the %zu pictures that were found",
                 result->n_items);
    }
    if (result->n_unseen > 0) {
        cli_note(a->s, "%zu of %zu pictures were not looked at: the server failed",
                 result->n_unseen, result->n_items);
    }
    if (result->n_dropped > 0) {
        cli_note(a->s, "%zu references to pictures that were not sent are left out",
                 result->n_dropped);
    }
    if (a->s->args->options.verbose > 0) {
        cli_note(a->s, "%zu pictures, %zu requests%s, %.0f ms, %llu tokens, model %s",
                 result->n_items, result->requests, result->cached ? " (the answer was known)" : "",
                 result->ms, (unsigned long long)result->tokens, result->model);
    }
}

static im_code put_json(asking *a, im_error *err)
{
    im_json_writer w;
    cli_json_start(&w);
    im_ask_json(&w, im_view_of(im_str_text(&a->question), a->question.size), &a->answer,
                &a->result);
    im_code rc = cli_put_json(&a->s->out, &w, err);
    im_json_clear(&w);
    return rc;
}

static void put_words(asking *a)
{
    cli_output *out = &a->s->out;
    const im_ask_result *result = &a->result;
    bool whole = result->text != NULL && strcmp(im_str_text(&a->shown), result->text) == 0;
    if (a->shown.size > 0) {
        cli_puts(out, "\n");
    }
    if (result->text != NULL && !whole) { /* not shown, or not as it came to be */
        cli_put_escaped(out, result->text);
        cli_puts(out, "\n");
    }
    for (size_t i = 0; i < result->n_references; i++) {
        put_reference(a, result->references[i]);
    }
    cli_flush(out);
    put_notes(a);
}

/* ---- all ---- */

static im_code ask(asking *a, im_library *library, im_error *err)
{
    cli_session *s = a->s;
    const im_ask_told told = {.words = show_words, .context = a};
    bool as_it_comes = s->out.terminal && !s->args->options.json;
    im_vlm_request request;
    im_str key;
    im_code rc = cli_vlm_request(&s->args->options, &request, &key, err);
    if (rc == IM_OK) {
        rc = search(a, library, err);
    }
    if (rc == IM_OK) {
        rc = im_app_ask(library, &request, im_view_of(im_str_text(&a->question), a->question.size),
                        &a->answer, as_it_comes ? &told : NULL, &a->result, err);
        if (rc != IM_OK && a->shown.size > 0) {
            cli_puts(&s->out, "\n"); /* behind half an answer */
            cli_flush(&s->out);
        }
    }
    im_str_clear(&key);
    return rc;
}

im_code cmd_ask(cli_session *s, im_error *err)
{
    asking a = {.s = s};
    im_library *library = NULL;
    im_str_init(&a.question, IM_LIMIT_QUERY_LANGUAGE_BYTES);
    im_str_init(&a.filter, IM_LIMIT_QUERY_LANGUAGE_BYTES);
    im_str_init(&a.shown, 1u << 20);
    im_code rc = read_question(&a, err);
    if (rc == IM_OK) {
        rc = cli_open_library(s, false, &library, err);
    }
    if (rc == IM_OK) {
        rc = ask(&a, library, err);
    }
    if (rc == IM_OK && s->args->options.json) {
        rc = put_json(&a, err);
    } else if (rc == IM_OK) {
        put_words(&a);
    }
    im_ask_result_clear(&a.result);
    im_answer_clear(&a.answer);
    im_library_close(library);
    im_str_clear(&a.question);
    im_str_clear(&a.filter);
    im_str_clear(&a.shown);
    return rc;
}
