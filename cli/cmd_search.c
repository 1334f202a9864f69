/* cli/cmd_search.c — `imago search` and `imago similar`. */
#include "base/file.h"
#include "cli/commands_internal.h"

/* What only the command line can get wrong; the rest is app's to check. */
static im_code check_options(const cli_options *options, im_error *err)
{
    if (options->exact && options->fast) {
        return im_fail(err, IM_ERR_INVALID, "options '--exact' and '--fast' exclude each other");
    }
    if (options->json && (options->paths || options->print0)) {
        return im_fail(err, IM_ERR_INVALID, "option '--json' and '--%s' exclude each other",
                       options->paths ? "paths" : "print0");
    }
    if (options->rerank > 0 && (options->sort != NULL || options->group != NULL ||
                                options->cursor != NULL || options->offset > 0)) {
        im_code rc = im_fail(err, IM_ERR_INVALID,
                             "option '--rerank' moves the best hits by score: not with --sort, "
                             "--group, --cursor or --offset");
        im_hint(err, "leave one of them out");
        return rc;
    }
    return IM_OK;
}

/* What is wrong whatever the library holds: told before one is opened. */
static im_code check_request(const im_search_request *request, im_error *err)
{
    im_query_request asked = {.combine = request->combine,
                              .k = request->k,
                              .offset = request->offset,
                              .cursor = (char *)(uintptr_t)request->cursor, /* only looked at */
                              .exact = request->mode == IM_MODE_EXACT};
    bool words = request->text != NULL && request->text[strspn(request->text, " \t\n\r")] != '\0';
    if (!words && request->n_parts == 0 && request->filter == NULL) {
        return im_fail_as(err, IM_REASON_QUERY_EMPTY, "nothing to search for");
    }
    im_code rc = im_query_request_check(&asked, err);
    return rc == IM_OK && request->n_parts > 0
               ? im_query_check(request->parts, request->n_parts, request->combine, err)
               : rc;
}

/* Several filters must all pass: "(a) (b)". */
im_code cli_join_filters(const cli_texts *filters, im_str *out, im_error *err)
{
    for (size_t i = 0; i < filters->n; i++) {
        if (filters->texts[i][0] == '\0') {
            return im_fail(err, IM_ERR_INVALID, "option '--filter' is empty");
        }
        im_str_addf(out, filters->n > 1 ? "(%s) " : "%s", filters->texts[i]);
    }
    return out->failed ? im_fail(err, IM_ERR_NOMEM, "no memory for the query") : IM_OK;
}

im_code cli_set_min_score(const char *value, im_search_request *request, im_error *err)
{
    double score = 0;
    if (value == NULL) {
        return IM_OK;
    }
    if (!im_parse_double(value, &score) || !(score >= -IM_SCORE_MAX && score <= IM_SCORE_MAX)) {
        return im_fail(err, IM_ERR_INVALID,
                       "option '--min-score' is '%.40s', expected a number from -1e9 to 1e9",
                       value);
    }
    request->has_min_score = true;
    request->min_score = (float)score;
    return IM_OK;
}

/* "@-" in the query. */
static im_code read_input(void *context, im_view *out_bytes, im_error *err)
{
    im_bytes *input = context;
    im_code rc = cli_stdin_picture(input, err);
    *out_bytes = im_view_of((const char *)input->data, input->size);
    return rc;
}

im_code cli_rerank(cli_session *s, im_library *library, size_t n, im_answer *answer, im_error *err)
{
    const cli_options *options = &s->args->options;
    im_vlm_request request;
    im_str key;
    im_code rc = cli_vlm_request(options, &request, &key, err);
    if (rc == IM_OK) {
        rc = im_app_vlm_rerank(library, &request, n, answer, err);
    }
    im_str_clear(&key);
    return rc;
}

static im_code answer_here(cli_session *s, const im_search_request *request, im_error *err)
{
    im_library *library = NULL;
    im_answer answer = {0};
    im_code rc = cli_open_library(s, false, &library, err);
    if (rc == IM_OK) {
        rc = im_app_search(library, request, &answer, err);
    }
    if (rc == IM_OK && s->args->options.rerank > 0) {
        const cli_options *options = &s->args->options;
        rc = cli_rerank(s, library, (size_t)IM_MIN(options->rerank, options->k), &answer, err);
    }
    if (rc == IM_OK && s->args->options.json) {
        rc = cli_put_answer_json(s, &answer, err);
    } else if (rc == IM_OK) {
        cli_put_answer(s, &answer);
    }
    im_answer_clear(&answer);
    im_library_close(library);
    return rc;
}

/* By the daemon that has the library, model and index open, or here. */
static im_code answer_request(cli_session *s, const im_search_request *request,
                              const im_bytes *input, im_error *err)
{
    im_answer answer = {0};
    im_str json;
    im_str_init(&json, SIZE_MAX / 2);
    bool asked = s->args->options.rerank == 0 && cli_ask_search(s, request, input, &answer, &json);
    if (asked && s->args->options.json) {
        cli_put(&s->out, json.data, json.size);
        cli_puts(&s->out, "\n");
    } else if (asked) {
        cli_put_answer(s, &answer);
    }
    im_answer_clear(&answer);
    im_str_clear(&json);
    return asked ? IM_OK : answer_here(s, request, err);
}

static im_code search(cli_session *s, const char *query, bool leave_out, im_error *err)
{
    static const im_order orders[] = {IM_ORDER_DEFAULT, IM_ORDER_ASCENDING, IM_ORDER_DESCENDING};
    const cli_args *args = s->args;
    im_bytes input = {0};
    im_str filter;
    im_query_part *parts = im_alloc_zero(args->n_parts, sizeof(*parts));
    im_search_request request = {
        .text = query,
        .parts = parts,
        .n_parts = args->n_parts,
        .sort = args->options.sort,
        .order = orders[args->options.order],
        .group = args->options.group,
        .combine = (im_combine)args->options.combine,
        .k = (size_t)args->options.k,
        .offset = args->options.offset,
        .cursor = args->options.cursor,
        .mode = args->options.fast    ? IM_MODE_FAST
                : args->options.exact ? IM_MODE_EXACT
                                      : IM_MODE_AUTO,
        .how = {.exact_decode = args->options.exact_decode,
                .limits = cli_limits(&args->options),
                .read_input = read_input,
                .context = &input},
    };
    im_code rc = parts != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for the query");
    if (rc == IM_OK) {
        rc = check_options(&args->options, err);
    }
    im_str_init(&filter, SIZE_MAX / 2);
    if (rc == IM_OK) {
        rc = cli_join_filters(&args->options.filters, &filter, err);
        request.filter = filter.size > 0 ? im_str_text(&filter) : NULL;
    }
    if (rc == IM_OK) {
        rc = cli_set_min_score(args->options.min_score, &request, err);
    }
    if (rc == IM_OK) {
        rc = cli_query_parts(args, parts, &input, err);
    }
    if (rc == IM_OK) {
        rc = check_request(&request, err);
    }
    if (rc == IM_OK) {
        request.how.leave_out = leave_out ? parts[0].item : 0;
        rc = answer_request(s, &request, &input, err);
    }
    im_bytes_clear(&input);
    im_str_clear(&filter);
    im_free(parts);
    return rc;
}

im_code cmd_search(cli_session *s, im_error *err)
{
    const cli_args *args = s->args;
    const cli_options *options = &args->options;
    bool asked = args->n_operands > 0 || args->n_parts > 0 || options->filters.n > 0;
    if (options->batch_file != NULL || options->query_json != NULL) {
        asked = asked || options->rerank > 0;
        if (asked || (options->batch_file != NULL && options->query_json != NULL)) {
            return im_fail(err, IM_ERR_INVALID,
                           "option '--%s' holds the whole query: it takes no other part",
                           options->batch_file != NULL ? "batch" : "query-json");
        }
        return options->batch_file != NULL ? cli_search_batch(s, err) : cli_search_json(s, err);
    }
    if (!asked) {
        im_code rc = im_fail_as(err, IM_REASON_QUERY_EMPTY, "there is nothing to search for");
        im_hint(err, "say what the picture shows: imago search red car; or --image FILE");
        return rc;
    }
    return search(s, args->n_operands > 0 ? im_str_text(&args->query) : NULL, false, err);
}

im_code cmd_similar(cli_session *s, im_error *err)
{
    return search(s, NULL, true, err);
}
