/* cli/cmd_search.c — `imago search` and `imago similar`. */
#include "base/file.h"
#include "cli/commands_internal.h"

static im_code check_page(const cli_options *options, im_error *err)
{
    if (options->cursor != NULL && options->offset > 0) {
        return im_fail(err, IM_ERR_INVALID, "options '--cursor' and '--offset' exclude each other");
    }
    if (options->exact && options->fast) {
        return im_fail(err, IM_ERR_INVALID, "options '--exact' and '--fast' exclude each other");
    }
    if (options->offset + options->k > IM_LIMIT_OFFSET_PLUS_K) {
        im_code rc = im_fail(err, IM_ERR_INVALID, "offset %llu and k %llu make more than %u",
                             (unsigned long long)options->offset, (unsigned long long)options->k,
                             IM_LIMIT_OFFSET_PLUS_K);
        im_hint(err, "page on with --cursor, which has no such limit");
        return rc;
    }
    if (options->json && (options->paths || options->print0)) {
        return im_fail(err, IM_ERR_INVALID, "option '--json' and '--%s' exclude each other",
                       options->paths ? "paths" : "print0");
    }
    return IM_OK;
}

static im_code print_answer(cli_session *s, const im_answer *answer, im_error *err)
{
    im_json_writer w;
    if (!s->args->options.json) {
        cli_put_answer(s, answer);
        return IM_OK;
    }
    cli_json_start(&w);
    im_answer_json(&w, answer);
    im_code rc = cli_put_json(&s->out, &w, err);
    im_json_clear(&w);
    return rc;
}

static im_code search(cli_session *s, const char *query, bool leave_out, im_error *err)
{
    const cli_args *args = s->args;
    im_library *library = NULL;
    im_bytes input = {0};
    im_answer answer = {0};
    im_query_part *parts = im_alloc_zero(args->n_parts, sizeof(*parts));
    im_search_request request = {
        .query = query,
        .parts = parts,
        .n_parts = args->n_parts,
        .combine = (im_combine)args->options.combine,
        .k = (size_t)args->options.k,
        .offset = args->options.offset,
        .cursor = args->options.cursor,
        .mode = args->options.fast    ? IM_MODE_FAST
                : args->options.exact ? IM_MODE_EXACT
                                      : IM_MODE_AUTO,
        .exact_decode = args->options.exact_decode,
        .limits = cli_limits(&args->options),
    };
    im_code rc = parts != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for the query");
    if (rc == IM_OK) {
        rc = check_page(&args->options, err);
    }
    if (rc == IM_OK) {
        rc = cli_query_parts(args, parts, &input, err);
    }
    if (rc == IM_OK) {
        rc = im_query_check(parts, args->n_parts, request.combine, err);
    }
    if (rc == IM_OK) {
        rc = cli_open_library(s, false, &library, err);
    }
    if (rc == IM_OK) {
        request.leave_out = leave_out ? parts[0].item : 0;
        rc = im_app_search(library, &request, &answer, err);
    }
    if (rc == IM_OK) {
        rc = print_answer(s, &answer, err);
    }
    im_answer_clear(&answer);
    im_library_close(library);
    im_bytes_clear(&input);
    im_free(parts);
    return rc;
}

im_code cmd_search(cli_session *s, im_error *err)
{
    if (s->args->n_parts == 0) {
        im_code rc = im_fail_as(err, IM_REASON_QUERY_EMPTY, "there is nothing to search for");
        im_hint(err, "say what the picture shows: imago search red car; or --image FILE");
        return rc;
    }
    return search(s, s->args->query.size > 0 ? im_str_text(&s->args->query) : NULL, false, err);
}

im_code cmd_similar(cli_session *s, im_error *err)
{
    return search(s, s->args->operands[0], true, err);
}
