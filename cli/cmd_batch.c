/* cli/cmd_batch.c — `imago search --batch` and `--query-json`: queries as JSON, answers as JSON. */
#include "base/file.h"
#include "cli/commands_internal.h"

#include <errno.h>
#include <stdio.h>

#define CHUNK 256u /* queries that are answered together: one pass over the codes */
#define BODY_BYTES (32u << 20)

/* Lines of a file that wait to be answered together. */
typedef struct batch {
    cli_session *s;
    im_library *library;
    im_search_how how;
    im_query_request *requests; /* [CHUNK] */
    im_answer *answers;         /* [CHUNK] */
    im_error *errors;           /* [CHUNK], of answering … */
    im_error *refused;          /* [CHUNK], … and of reading */
    size_t n;                   /* lines in hand */
    size_t n_requests;
    uint64_t n_lines, n_queries, n_failed;
    im_error first; /* of those that failed */
} batch;

/* The verdict over several: the first one's failure when all failed. */
static im_code verdict(uint64_t n_failed, uint64_t n, const im_error *first, im_error *err)
{
    if (n_failed == 0) {
        return IM_OK;
    }
    if (n_failed < n) {
        return im_fail_as(err, IM_REASON_PARTIAL, "%llu of %llu queries failed",
                          (unsigned long long)n_failed, (unsigned long long)n);
    }
    *err = *first;
    return first->code;
}

static im_code put_failure(batch *b, const im_error *error, im_error *err)
{
    im_json_writer w;
    cli_json_start(&w);
    cli_json_error(&w, error);
    im_code rc = cli_put_json(&b->s->out, &w, err);
    im_json_clear(&w);
    b->first = b->n_failed++ == 0 ? *error : b->first;
    return rc;
}

/* Answers the lines in hand, in their order. */
static im_code answer_chunk(batch *b, im_error *err)
{
    im_code rc = im_app_search_many(b->library, &b->how, b->requests, b->n_requests, b->answers,
                                    b->errors, err);
    for (size_t line = 0, i = 0; rc == IM_OK && line < b->n; line++) {
        if (b->refused[line].code != IM_OK) {
            rc = put_failure(b, &b->refused[line], err);
        } else if (b->errors[i].code != IM_OK) {
            rc = put_failure(b, &b->errors[i++], err);
        } else {
            rc = cli_put_answer_json(b->s, &b->answers[i], err);
            im_answer_clear(&b->answers[i++]);
        }
    }
    for (size_t i = 0; i < b->n_requests; i++) {
        im_answer_clear(&b->answers[i]);
        im_query_request_clear(&b->requests[i]);
    }
    b->n = 0;
    b->n_requests = 0;
    cli_flush(&b->s->out);
    return rc;
}

static void take_line(batch *b, const im_str *line, const char *file)
{
    char name[64];
    im_query_requests read = {0};
    im_error *refused = &b->refused[b->n++];
    b->n_queries++;
    *refused = (im_error)IM_ERROR_INIT;
    (void)snprintf(name, sizeof(name), "%.40s line %llu", file, (unsigned long long)b->n_lines);
    im_code rc =
        im_app_read_requests(b->library, im_view_of(line->data, line->size), name, &read, refused);
    if (rc == IM_OK && read.several) {
        rc = im_fail(refused, IM_ERR_INVALID, "%s: 'queries' in a line, which is one query", name);
    }
    if (rc == IM_OK && read.requests[0].rerank > 0) {
        rc =
            im_fail(refused, IM_ERR_INVALID, "%s: 'rerank' is for one query, not for a file", name);
    }
    if (rc == IM_OK) {
        b->requests[b->n_requests++] = read.requests[0];
        memset(&read.requests[0], 0, sizeof(read.requests[0]));
    }
    im_query_requests_clear(&read);
}

/* A line without its end, of at most BODY_BYTES; the rest of a longer one is passed over.
 * @return 1; 0 at the end of the file; -1 when the line was longer */
static int read_line(FILE *in, im_str *line)
{
    int c = EOF;
    bool longer = false;
    im_str_reset(line);
    while ((c = getc_unlocked(in)) != EOF && c != '\n') {
        longer = longer || line->size >= BODY_BYTES;
        if (!longer) {
            im_str_add_char(line, (char)c);
        }
    }
    return longer ? -1 : c == EOF && line->size == 0 ? 0 : 1;
}

static void refuse_line(batch *b, const char *file)
{
    im_error *refused = &b->refused[b->n++];
    b->n_queries++;
    (void)!im_fail_as(refused, IM_REASON_FILE_TOO_LARGE, "%.40s line %llu: more than %u bytes",
                      file, (unsigned long long)b->n_lines, BODY_BYTES);
}

static im_code read_lines(batch *b, FILE *in, const char *file, im_error *err)
{
    im_str line;
    im_code rc = IM_OK;
    im_str_init(&line, BODY_BYTES + 1u);
    for (int got = 0; rc == IM_OK && (got = read_line(in, &line)) != 0;) {
        b->n_lines++;
        if (line.failed) {
            rc = im_fail(err, IM_ERR_NOMEM, "no memory for a line of '%s'", file);
        } else if (got < 0) {
            refuse_line(b, file);
        } else if (line.size > 0 && strspn(im_str_text(&line), " \t\r") < line.size) {
            take_line(b, &line, file);
        }
        if (rc == IM_OK && b->n == CHUNK) {
            rc = answer_chunk(b, err);
        }
    }
    if (rc == IM_OK && ferror(in)) {
        rc = im_fail_errno(err, errno, "could not read '%s'", file);
    }
    im_str_clear(&line);
    return rc == IM_OK && b->n > 0 ? answer_chunk(b, err) : rc;
}

static im_code open_batch(cli_session *s, batch *b, im_error *err)
{
    *b = (batch){.s = s,
                 .how = {.exact_decode = s->args->options.exact_decode,
                         .limits = cli_limits(&s->args->options)},
                 .requests = im_alloc_zero(CHUNK, sizeof(im_query_request)),
                 .answers = im_alloc_zero(CHUNK, sizeof(im_answer)),
                 .errors = im_alloc_zero(CHUNK, sizeof(im_error)),
                 .refused = im_alloc_zero(CHUNK, sizeof(im_error))};
    if (b->requests == NULL || b->answers == NULL || b->errors == NULL || b->refused == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for queries");
    }
    return cli_open_library(s, false, &b->library, err);
}

static void close_batch(batch *b)
{
    im_library_close(b->library);
    im_free(b->requests);
    im_free(b->answers);
    im_free(b->errors);
    im_free(b->refused);
}

im_code cli_search_batch(cli_session *s, im_error *err)
{
    const char *file = s->args->options.batch_file;
    batch b;
    bool is_stdin = strcmp(file, "-") == 0;
    FILE *in = is_stdin ? stdin : fopen(file, "re");
    if (in == NULL) {
        return im_fail_errno(err, errno, "could not open '%s'", file);
    }
    im_code rc = open_batch(s, &b, err);
    if (rc == IM_OK) {
        rc = read_lines(&b, in, is_stdin ? "standard input" : file, err);
    }
    if (rc == IM_OK) {
        rc = verdict(b.n_failed, b.n_queries, &b.first, err);
    }
    if (!is_stdin) {
        (void)fclose(in);
    }
    close_batch(&b);
    return rc;
}

static im_code read_body(const char *file, im_bytes *out, im_error *err)
{
    if (strcmp(file, "-") == 0) {
        return cli_read_stdin(BODY_BYTES, "a query", out, err);
    }
    return im_file_read(file, BODY_BYTES, out, err);
}

/* {"answers": […]}, an object with "error" where a query failed. */
static im_code put_answers(cli_session *s, const im_answer *answers, const im_error *errors,
                           size_t n, im_error *err)
{
    im_json_writer w;
    cli_json_start(&w);
    im_json_begin_object(&w);
    im_json_key(&w, "answers");
    im_json_begin_array(&w);
    for (size_t i = 0; i < n; i++) {
        if (errors[i].code == IM_OK) {
            im_answer_json(&w, &answers[i]);
        } else {
            cli_json_error(&w, &errors[i]);
        }
    }
    im_json_end_array(&w);
    im_json_end_object(&w);
    im_code rc = cli_put_json(&s->out, &w, err);
    im_json_clear(&w);
    return rc;
}

/* What a request says of rerank counts for one alone: several would be looked at one by one. */
static im_code check_rerank(const im_query_requests *asked, im_error *err)
{
    for (size_t i = 0; asked->several && i < asked->n; i++) {
        if (asked->requests[i].rerank > 0) {
            return im_fail(err, IM_ERR_INVALID, "'rerank' is for one query, not for several");
        }
    }
    return IM_OK;
}

static im_code answer_requests(cli_session *s, im_library *library, im_query_requests *asked,
                               im_error *err)
{
    const im_search_how how = {.exact_decode = s->args->options.exact_decode,
                               .limits = cli_limits(&s->args->options)};
    size_t n_failed = 0;
    const im_error *first = NULL;
    im_answer *answers = im_alloc_zero(asked->n, sizeof(*answers));
    im_error *errors = im_alloc_zero(asked->n, sizeof(*errors));
    size_t rerank = asked->several ? 0 : asked->requests[0].rerank;
    im_code rc = answers != NULL && errors != NULL
                     ? check_rerank(asked, err)
                     : im_fail(err, IM_ERR_NOMEM, "no memory for queries");
    if (rc == IM_OK) {
        rc = im_app_search_many(library, &how, asked->requests, asked->n, answers, errors, err);
    }
    if (rc == IM_OK && rerank > 0 && errors[0].code == IM_OK) {
        rc = cli_rerank(s, library, rerank, &answers[0], err);
    }
    if (rc == IM_OK && !asked->several) {
        if (errors[0].code != IM_OK) {
            *err = errors[0];
            rc = errors[0].code;
        } else {
            rc = cli_put_answer_json(s, &answers[0], err);
        }
    } else if (rc == IM_OK) {
        rc = put_answers(s, answers, errors, asked->n, err);
        for (size_t i = asked->n; i-- > 0;) {
            n_failed += errors[i].code != IM_OK;
            first = errors[i].code != IM_OK ? &errors[i] : first;
        }
        rc = rc == IM_OK ? verdict(n_failed, asked->n, first, err) : rc;
    }
    for (size_t i = 0; answers != NULL && i < asked->n; i++) {
        im_answer_clear(&answers[i]);
    }
    im_free(answers);
    im_free(errors);
    return rc;
}

im_code cli_search_json(cli_session *s, im_error *err)
{
    const char *file = s->args->options.query_json;
    im_library *library = NULL;
    im_query_requests asked = {0};
    im_bytes body = {0};
    im_code rc = read_body(file, &body, err);
    if (rc == IM_OK) {
        rc = cli_open_library(s, false, &library, err);
    }
    if (rc == IM_OK) {
        rc = im_app_read_requests(library, im_view_of((const char *)body.data, body.size),
                                  strcmp(file, "-") == 0 ? "standard input" : file, &asked, err);
    }
    if (rc == IM_OK) {
        rc = answer_requests(s, library, &asked, err);
    }
    im_query_requests_clear(&asked);
    im_library_close(library);
    im_bytes_clear(&body);
    return rc;
}
