/* app/calibrate.c — how much a library's vision-language model may count: judged on queries whose
 * answers are known, believed only where it helps. */
#include "app/vlm_internal.h"
#include "base/clock.h"
#include "base/file.h"

#define FILE_BYTES (64u << 20)
#define MOST_QUERIES 10000u

/* One query of the file with what the model said of its hits. */
typedef struct known_query {
    reranking hits;
    double *gain; /* [hits.n] */
} known_query;

typedef struct calibration {
    im_library *library;
    vlm_use use;
    const char *file;
    size_t n; /* hits of a query */
    known_query *queries;
    size_t n_queries, capacity;
    uint64_t line;
    im_vlm_calibration *out;
} calibration;

static void clear_all(calibration *c)
{
    for (size_t i = 0; i < c->n_queries; i++) {
        reranking_close(&c->queries[i].hits);
        im_free(c->queries[i].gain);
    }
    im_free(c->queries);
    vlm_use_close(&c->use);
}

/* ---- the file ---- */

static im_code bad_line(const calibration *c, const char *what, im_error *err)
{
    im_code rc = im_fail(err, IM_ERR_INVALID, "'%s' line %llu: %s", c->file,
                         (unsigned long long)c->line, what);
    im_hint(err, "a line is {\"query\": \"red car\", \"relevant\": [17, 23]}");
    return rc;
}

/* The gain of an item in "relevant"; < 0 for an entry that is none. */
static double gain_in(const json_t *entry, uint64_t item)
{
    const json_t *id = json_is_object(entry) ? json_object_get(entry, "id") : entry;
    const json_t *gain = json_object_get(entry, "gain");
    double value = gain == NULL ? 1 : json_is_number(gain) ? json_number_value(gain) : -1;
    if (!json_is_integer(id) || json_integer_value(id) < 1 || !(value >= 0 && value <= 10)) {
        return -1;
    }
    return (uint64_t)json_integer_value(id) == item ? value : 0;
}

static im_code read_gains(const calibration *c, const json_t *relevant, const reranking *hits,
                          double *gain, im_error *err)
{
    for (size_t i = 0; i < json_array_size(relevant); i++) {
        const json_t *entry = json_array_get(relevant, i);
        if (gain_in(entry, 0) < 0) {
            return bad_line(c, "an entry of 'relevant' is no id and no {\"id\", \"gain\"}", err);
        }
        for (size_t j = 0; j < hits->n; j++) {
            gain[j] = IM_MAX(gain[j], gain_in(entry, hits->items[j]));
        }
    }
    return IM_OK;
}

/* ---- a query ---- */

static im_code grow(calibration *c, im_error *err)
{
    if (c->n_queries == MOST_QUERIES) {
        return im_fail(err, IM_ERR_LIMIT, "'%s' has more than %u queries", c->file, MOST_QUERIES);
    }
    if (c->n_queries < c->capacity) {
        return IM_OK;
    }
    size_t capacity = IM_MAX((size_t)64, c->capacity * 2);
    known_query *grown = im_realloc(c->queries, capacity, sizeof(*grown));
    if (grown == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for judged queries");
    }
    c->queries = grown;
    c->capacity = capacity;
    return IM_OK;
}

/* What the model says of an answer's hits. Its silence about all of them ends the calibration. */
static im_code judge_query(calibration *c, const im_answer *answer, const json_t *relevant,
                           im_error *err)
{
    im_str query;
    im_rerank_report report = {0};
    size_t n = IM_MIN(c->n, answer->n_hits);
    im_code rc = grow(c, err);
    if (rc != IM_OK) {
        return rc;
    }
    known_query *q = &c->queries[c->n_queries++];
    *q = (known_query){.gain = im_alloc_zero(n, sizeof(double))};
    im_str_init(&query, IM_LIMIT_QUERY_LANGUAGE_BYTES);
    vlm_query_text(answer->parts, answer->n_parts, &query);
    rc = reranking_open(&q->hits, n, err);
    if (rc == IM_OK && (q->gain == NULL || query.failed)) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a judged query");
    } else if (rc == IM_OK && query.size == 0) {
        rc = bad_line(c, "the query has no words a model could judge by", err);
    }
    if (rc == IM_OK) {
        rc = reranking_judge(c->library, &c->use, im_view_of(im_str_text(&query), query.size),
                             answer, &q->hits, &report, err);
    }
    if (rc == IM_OK) {
        rc = read_gains(c, relevant, &q->hits, q->gain, err);
    }
    if (rc == IM_OK && n > 0 && report.judged == 0) {
        rc = im_fail(err, q->hits.first.code != IM_OK ? q->hits.first.code : IM_ERR_UPSTREAM,
                     "'%s' line %llu: no hit was judged: %s", c->file, (unsigned long long)c->line,
                     report.reason);
    }
    c->out->n_judged += report.judged;
    c->out->tokens += report.tokens;
    im_str_clear(&query);
    return rc;
}

static im_code take_line(calibration *c, im_view line, im_error *err)
{
    json_t *root = NULL;
    im_error cause = IM_ERROR_INIT;
    im_answer answer = {0};
    im_code rc = im_json_parse(line.data, line.size, "the line", &root, &cause);
    if (rc != IM_OK) {
        return bad_line(c, cause.message, err);
    }
    const json_t *query = json_object_get(root, "query");
    const json_t *relevant = json_object_get(root, "relevant");
    if (!json_is_string(query) || !json_is_array(relevant)) {
        rc = bad_line(c, "'query' is no text, or 'relevant' no list", err);
    }
    if (rc == IM_OK) {
        const im_search_request request = {.text = json_string_value(query), .k = c->n};
        rc = im_app_search(c->library, &request, &answer, err);
    }
    if (rc == IM_OK && answer.n_parts == 0) {
        rc = bad_line(c, "the query is a filter alone", err);
    }
    if (rc == IM_OK && answer.n_hits > 0) {
        rc = judge_query(c, &answer, relevant, err);
    }
    im_answer_clear(&answer);
    json_decref(root);
    return rc;
}

static im_code take_all(calibration *c, const im_bytes *bytes, const im_events *events,
                        im_error *err)
{
    progress_meter meter;
    const char *text = (const char *)bytes->data;
    im_code rc = IM_OK;
    meter_start(&meter, "judging", 0);
    for (size_t from = 0; rc == IM_OK && from < bytes->size;) {
        const char *end = memchr(text + from, '\n', bytes->size - from);
        size_t size = end != NULL ? (size_t)(end - text) - from : bytes->size - from;
        size_t blank = strspn(text + from, " \t\r"); /* a NUL is behind the content */
        c->line++;
        if (im_stop_asked()) {
            rc = im_fail_as(err, IM_REASON_INTERRUPTED, "stopped at line %llu",
                            (unsigned long long)c->line);
        } else if (blank < size) {
            rc = take_line(c, im_view_of(text + from, size), err);
        }
        from += size + 1;
        meter_tick(&meter, c->n_queries, 0, events);
    }
    meter_end(&meter, events);
    return rc;
}

/* ---- the fit ---- */

static im_code fit_all(calibration *c, im_error *err)
{
    im_vlm_judged *rows = im_alloc_zero(c->n_queries, sizeof(*rows));
    if (rows == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a calibration");
    }
    for (size_t i = 0; i < c->n_queries; i++) {
        const reranking *hits = &c->queries[i].hits;
        rows[i] = (im_vlm_judged){hits->n, hits->z, hits->s, hits->has, c->queries[i].gain};
    }
    im_code rc = im_vlm_calibrate(rows, c->n_queries, &c->out->fit, err);
    im_free(rows);
    return rc == IM_OK ? vlm_use_keep_weights(&c->use, &c->out->fit.weights, err) : rc;
}

im_code im_app_vlm_calibrate(im_library *library, const im_vlm_request *request, const char *file,
                             size_t n, const im_events *events, im_vlm_calibration *out,
                             im_error *err)
{
    calibration c = {.library = library, .file = file, .n = IM_MIN(n, (size_t)100), .out = out};
    im_bytes bytes = {0};
    memset(out, 0, sizeof(*out));
    im_code rc = vlm_use_open(library, request, false, &c.use, err);
    if (rc == IM_OK) {
        rc = im_file_read(file, FILE_BYTES, &bytes, err);
    }
    if (rc == IM_OK) {
        rc = take_all(&c, &bytes, events, err);
    }
    if (rc == IM_OK) {
        rc = fit_all(&c, err);
    }
    out->n_queries = c.n_queries;
    im_bytes_clear(&bytes);
    clear_all(&c);
    return rc;
}
