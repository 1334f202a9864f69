/* query/request.c — queries as JSON: the body of a search over HTTP, --query-json and the lines of
 * --batch. Everything is checked here: an unknown key, or one that nothing answers yet, is an error
 * rather than a search that does something else. */
#include "base/base.h"
#include "query/filter_internal.h"
#include "query/language_internal.h"
#include "query/request_internal.h"
#include <math.h>
#include <string.h>

#define DEFAULT_K 20u

/* ---- columns ---- */

static const char *const sortable[] = {"taken",  "added", "camera", "lens", "type",
                                       "source", "width", "height", "bytes"};

static im_code no_such_column(const char *name, const im_own_field *fields, size_t n_fields,
                              im_error *err)
{
    const char *names[64];
    size_t n = 0;
    for (; n < IM_COUNT(sortable); n++) {
        names[n] = sortable[n];
    }
    for (size_t i = 0; i < n_fields && n < IM_COUNT(names); i++) {
        names[n++] = fields[i].name;
    }
    const char *nearest = filter_nearest(name, names, n);
    im_code rc =
        im_fail_as(err, IM_REASON_QUERY_FIELD, "'%.80s' is no field to sort or group by%s%s%s",
                   name, nearest != NULL ? ": the nearest is '" : "",
                   nearest != NULL ? nearest : "", nearest != NULL ? "'" : "");
    im_hint(err, "taken, added, camera, lens, type, source, width, height, bytes, or your own");
    return rc;
}

im_code im_query_column(const char *name, const im_own_field *fields, size_t n_fields,
                        char **out_column, im_error *err)
{
    for (size_t i = 0; i < IM_COUNT(sortable); i++) {
        if (im_ascii_same_word(sortable[i], name)) {
            char *column = im_strdup(sortable[i]);
            if (column == NULL) {
                return im_fail(err, IM_ERR_NOMEM, "no memory for the name of a column");
            }
            *out_column = column;
            return IM_OK;
        }
    }
    const im_own_field *own = filter_own_field(fields, n_fields, name);
    bool built_in = filter_field_name(NULL, 0, im_view_from(name)) != NULL;
    return own != NULL && !built_in ? filter_own_column(own, out_column, err)
                                    : no_such_column(name, fields, n_fields, err);
}

/* ---- what is searched for ---- */

static im_code read_parts(request_reader *reader, const char *key, json_t *value, void *out,
                          im_error *err)
{
    im_query_request *request = out;
    im_query *query = &request->query;
    if (!json_is_array(value)) {
        return request_wrong(reader, key, value, "an array of parts", err);
    }
    size_t n = json_array_size(value);
    if (n > IM_LIMIT_QUERY_PARTS) {
        return request_at(reader, key,
                          im_fail_as(err, IM_REASON_LIMIT,
                                     "%s: '%s%s' has %zu elements, the limit is %u", reader->name,
                                     reader->place, key, n, IM_LIMIT_QUERY_PARTS),
                          err);
    }
    query->parts = n > 0 ? im_alloc_zero(n, sizeof(*query->parts)) : NULL;
    if (n > 0 && query->parts == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a query");
    }
    query->n_parts = n;
    size_t length = strlen(reader->place);
    im_code rc = IM_OK;
    for (size_t i = 0; rc == IM_OK && i < n; i++) {
        (void)snprintf(reader->place + length, sizeof(reader->place) - length, "%s[%zu].", key, i);
        rc = request_read_part(reader, json_array_get(value, i), &query->parts[i], err);
    }
    reader->place[length] = '\0';
    return rc;
}

static im_code read_combine(request_reader *reader, const char *key, json_t *value, void *out,
                            im_error *err)
{
    static const char *const names[] = {
        [IM_COMBINE_SUM] = "sum", [IM_COMBINE_ANY] = "any", [IM_COMBINE_ALL] = "all"};
    im_query_request *request = out;
    const char *name = json_string_value(value);
    for (size_t i = 0; name != NULL && i < IM_COUNT(names); i++) {
        if (strcmp(names[i], name) == 0) {
            request->combine = (im_combine)i;
            return IM_OK;
        }
    }
    return name == NULL
               ? request_wrong(reader, key, value, "sum, any or all", err)
               : request_fail(reader, key, err, "is '%.40s', expected sum, any or all", name);
}

static im_code read_filter(request_reader *reader, const char *key, json_t *value, void *out,
                           im_error *err)
{
    im_query_request *request = out;
    if (!json_is_string(value)) {
        return request_wrong(reader, key, value, "a string", err);
    }
    im_view text = im_view_of(json_string_value(value), json_string_length(value));
    im_code rc =
        im_filter_parse(text, reader->fields, reader->n_fields, &request->query.filter, err);
    if (rc != IM_OK) {
        request_prefix(reader, key, err);
    }
    return rc;
}

/* ---- how much of the answer ---- */

/* From 1 to `most`. */
static im_code read_count(const request_reader *reader, const char *key, const json_t *value,
                          size_t most, size_t *out, im_error *err)
{
    uint64_t n = 0;
    im_code rc = request_read_integer(reader, key, value, 1, most, &n, err);
    *out = rc == IM_OK ? (size_t)n : *out;
    return rc;
}

static im_code read_k(request_reader *reader, const char *key, json_t *value, void *out,
                      im_error *err)
{
    im_query_request *request = out;
    return read_count(reader, key, value, IM_LIMIT_K, &request->k, err);
}

static im_code read_offset(request_reader *reader, const char *key, json_t *value, void *out,
                           im_error *err)
{
    im_query_request *request = out;
    return request_read_integer(reader, key, value, 0, IM_LIMIT_OFFSET_PLUS_K, &request->offset,
                                err);
}

static im_code read_cursor(request_reader *reader, const char *key, json_t *value, void *out,
                           im_error *err)
{
    im_query_request *request = out;
    im_code rc = request_read_text(reader, key, value, &request->cursor, err);
    return rc == IM_OK && strlen(request->cursor) > IM_LIMIT_QUERY_BYTES
               ? request_fail(reader, key, err, "is none that a search gave out")
               : rc;
}

/* ---- in which order ---- */

static im_code read_column(request_reader *reader, const char *key, json_t *value, char **out,
                           im_error *err)
{
    if (!json_is_string(value)) {
        return request_wrong(reader, key, value, "the name of a field", err);
    }
    im_free(*out);
    *out = NULL;
    im_code rc =
        im_query_column(json_string_value(value), reader->fields, reader->n_fields, out, err);
    if (rc != IM_OK) {
        request_prefix(reader, key, err);
    }
    return rc;
}

static im_code read_sort(request_reader *reader, const char *key, json_t *value, void *out,
                         im_error *err)
{
    im_query_request *request = out;
    const char *name = json_string_value(value);
    request->by_score = name != NULL && strcmp(name, "score") == 0;
    return request->by_score ? IM_OK : read_column(reader, key, value, &request->sort_column, err);
}

static im_code read_order(request_reader *reader, const char *key, json_t *value, void *out,
                          im_error *err)
{
    im_query_request *request = out;
    const char *name = json_string_value(value);
    bool up = name != NULL && strcmp(name, "asc") == 0;
    bool down = name != NULL && strcmp(name, "desc") == 0;
    if (!up && !down) {
        return name == NULL
                   ? request_wrong(reader, key, value, "asc or desc", err)
                   : request_fail(reader, key, err, "is '%.40s', expected asc or desc", name);
    }
    request->order = up ? IM_ORDER_ASCENDING : IM_ORDER_DESCENDING;
    return IM_OK;
}

static im_code read_group_field(request_reader *reader, const char *key, json_t *value, void *out,
                                im_error *err)
{
    im_query_request *request = out;
    return read_column(reader, key, value, &request->group_column, err);
}

static im_code read_group_n(request_reader *reader, const char *key, json_t *value, void *out,
                            im_error *err)
{
    im_query_request *request = out;
    return read_count(reader, key, value, IM_LIMIT_K, &request->group_n, err);
}

static im_code read_group(request_reader *reader, const char *key, json_t *value, void *out,
                          im_error *err)
{
    static const request_key keys[] = {{"field", read_group_field}, {"n", read_group_n}};
    im_query_request *request = out;
    request->group_n = 1;
    im_code rc = request_read_inside(reader, key, value, "an object with field and n", keys,
                                     IM_COUNT(keys), request, err);
    return rc == IM_OK && request->group_column == NULL
               ? request_fail(reader, key, err, "names no field")
               : rc;
}

/* ---- how it is searched ---- */

static im_code read_min_score(request_reader *reader, const char *key, json_t *value, void *out,
                              im_error *err)
{
    im_query_request *request = out;
    double score = json_is_number(value) ? json_number_value(value) : (double)NAN;
    if (!(fabs(score) <= IM_SCORE_MAX)) {
        return json_is_number(value)
                   ? request_fail(reader, key, err, "is %g, expected -1e9 to 1e9", score)
                   : request_wrong(reader, key, value, "a number", err);
    }
    request->has_min_score = true;
    request->min_score = (float)score;
    return IM_OK;
}

static im_code read_exact(request_reader *reader, const char *key, json_t *value, void *out,
                          im_error *err)
{
    im_query_request *request = out;
    return request_read_bool(reader, key, value, &request->exact, err);
}

static im_code read_fast(request_reader *reader, const char *key, json_t *value, void *out,
                         im_error *err)
{
    im_query_request *request = out;
    return request_read_bool(reader, key, value, &request->fast, err);
}

static im_code read_rerank_n(request_reader *reader, const char *key, json_t *value, void *out,
                             im_error *err)
{
    im_query_request *request = out;
    return read_count(reader, key, value, IM_RERANK_MOST, &request->rerank, err);
}

static im_code read_rerank(request_reader *reader, const char *key, json_t *value, void *out,
                           im_error *err)
{
    static const request_key keys[] = {{"n", read_rerank_n}};
    im_query_request *request = out;
    if (json_is_false(value)) {
        return IM_OK;
    }
    request->rerank = IM_RERANK_N;
    return request_read_inside(reader, key, value, "an object with n", keys, IM_COUNT(keys),
                               request, err);
}

/* What the language of requests has and nothing answers yet: asked for, it is refused; false, 0 and
 * null ask for nothing. */
static im_code read_later(request_reader *reader, const char *key, json_t *value, void *out,
                          im_error *err)
{
    (void)out;
    if (json_is_false(value) || (json_is_number(value) && json_number_value(value) == 0.0)) {
        return IM_OK;
    }
    im_code rc = im_fail_as(err, IM_REASON_UNSUPPORTED,
                            "%s: '%s%s' is asked for, which this version cannot do yet",
                            reader->name, reader->place, key);
    im_hint(err, "leave '%s' out", key);
    return request_at(reader, key, rc, err);
}

/* ---- a request ---- */

static im_code at_key(const char *key, im_code rc, im_error *err)
{
    im_at_field(err, "%s", key);
    return rc;
}

im_code im_query_request_check(const im_query_request *request, im_error *err)
{
    bool listing = request->query.n_parts == 0;
    im_code rc = IM_OK;
    if (request->k < 1 || request->k > IM_LIMIT_K) {
        return at_key(
            "k",
            im_fail(err, IM_ERR_INVALID, "'k' is %zu, expected 1 to %u", request->k, IM_LIMIT_K),
            err);
    }
    if (request->offset > IM_LIMIT_OFFSET_PLUS_K - request->k) {
        rc = at_key("offset",
                    im_fail(err, IM_ERR_INVALID, "'offset' + k is %llu, the limit is %u",
                            (unsigned long long)(request->offset + request->k),
                            IM_LIMIT_OFFSET_PLUS_K),
                    err);
        im_hint(err, "page with the cursor of the last answer");
        return rc;
    }
    if (request->exact && request->fast) {
        return at_key("exact",
                      im_fail(err, IM_ERR_INVALID, "'exact' and 'fast' exclude each other"), err);
    }
    if (request->cursor != NULL && request->offset > 0) {
        return at_key("cursor",
                      im_fail(err, IM_ERR_INVALID, "'cursor' and 'offset' exclude each other"),
                      err);
    }
    if (request->rerank > 0 &&
        (listing || request->sort_column != NULL || request->group_column != NULL ||
         request->cursor != NULL || request->offset > 0)) {
        rc = at_key("rerank",
                    im_fail(err, IM_ERR_INVALID,
                            "'rerank' moves the best hits by score: not in a listing, and not with "
                            "sort, group, cursor or offset"),
                    err);
        im_hint(err, "leave one of them out");
        return rc;
    }
    if (request->by_score && listing) {
        return at_key(
            "sort",
            im_fail(err, IM_ERR_INVALID, "'sort' is score, but there is no part that gives one"),
            err);
    }
    if (request->has_min_score && listing) {
        return at_key("min_score",
                      im_fail(err, IM_ERR_INVALID, "'min_score' needs a part that gives a score"),
                      err);
    }
    if (request->order == IM_ORDER_ASCENDING && request->sort_column == NULL && !listing) {
        return at_key(
            "order",
            im_fail(err, IM_ERR_INVALID,
                    "'order' is asc, which needs a field in 'sort': the best hits come first"),
            err);
    }
    return rc;
}

/* The same with the place in the JSON. */
static im_code check_together(const request_reader *reader, const im_query_request *request,
                              im_error *err)
{
    im_error found = IM_ERROR_INIT;
    im_code rc = im_query_request_check(request, &found);
    if (rc != IM_OK) {
        rc = im_fail_as(err, IM_REASON_QUERY_JSON, "%s: %s%s%s", reader->name, reader->place,
                        reader->place[0] != '\0' ? " " : "", found.message);
        im_hint(err, "%s", found.hint);
        rc = request_at(reader, found.field, rc, err);
    }
    return rc;
}

static im_code check_query(const request_reader *reader, im_query_request *request, im_error *err)
{
    im_query *query = &request->query;
    im_code rc = IM_OK;
    if (query->n_parts == 0 && query->filter == NULL) {
        rc = im_fail_as(err, IM_REASON_QUERY_EMPTY, "%s: '%sparts': nothing to search for",
                        reader->name, reader->place);
        im_hint(err, "give parts, or a filter for a listing");
        return request_at(reader, "parts", rc, err);
    }
    if (query->n_parts > 0) {
        rc = im_query_check(query->parts, query->n_parts, request->combine, err);
        if (rc != IM_OK) {
            request_prefix(reader, "parts", err);
        }
    }
    return rc == IM_OK ? check_together(reader, request, err) : rc;
}

/* Fills a request that is all zero; what was read before a failure is in it. */
static im_code read_request(request_reader *reader, json_t *value, im_query_request *request,
                            im_error *err)
{
    static const request_key keys[] = {
        {"parts", read_parts},         {"combine", read_combine},
        {"filter", read_filter},       {"k", read_k},
        {"offset", read_offset},       {"cursor", read_cursor},
        {"sort", read_sort},           {"order", read_order},
        {"group", read_group},         {"exact", read_exact},
        {"fast", read_fast},           {"min_score", read_min_score},
        {"min_relevance", read_later}, {"hybrid", read_later},
        {"diverse", read_later},       {"fold", read_later},
        {"rerank", read_rerank},       {"explain", read_later},
    };
    request->k = DEFAULT_K;
    im_code rc = request_read_object(reader, "", value, keys, IM_COUNT(keys), request, err);
    return rc == IM_OK ? check_query(reader, request, err) : rc;
}

void im_query_request_clear(im_query_request *request)
{
    im_query_clear(&request->query);
    im_free(request->cursor);
    im_free(request->sort_column);
    im_free(request->group_column);
    *request = (im_query_request){0};
}

void im_query_requests_clear(im_query_requests *requests)
{
    for (size_t i = 0; i < requests->n; i++) {
        im_query_request_clear(&requests->requests[i]);
    }
    im_free(requests->requests);
    *requests = (im_query_requests){0};
}

static im_code read_several(request_reader *reader, json_t *list, im_query_requests *made,
                            im_error *err)
{
    size_t n = json_array_size(list); /* 0 for what is no array */
    if (n == 0) {
        return request_wrong(reader, "queries", list, "an array of at least one query", err);
    }
    if (n > IM_LIMIT_QUERIES) {
        return request_at(reader, "queries",
                          im_fail_as(err, IM_REASON_LIMIT,
                                     "%s: 'queries' has %zu elements, the limit is %u",
                                     reader->name, n, IM_LIMIT_QUERIES),
                          err);
    }
    made->requests = im_alloc_zero(n, sizeof(*made->requests));
    if (made->requests == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for %zu queries", n);
    }
    made->several = true;
    made->n = n;
    im_code rc = IM_OK;
    for (size_t i = 0; rc == IM_OK && i < n; i++) {
        (void)snprintf(reader->place, sizeof(reader->place), "queries[%zu].", i);
        rc = read_request(reader, json_array_get(list, i), &made->requests[i], err);
    }
    return rc;
}

static im_code read_one(request_reader *reader, json_t *value, im_query_requests *made,
                        im_error *err)
{
    made->requests = im_alloc_zero(1, sizeof(*made->requests));
    if (made->requests == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a query");
    }
    made->n = 1;
    return read_request(reader, value, &made->requests[0], err);
}

/* Not JSON is a bad request (design, hostile case T75), not a bad file. */
static im_code parse_json(im_view json, const char *name, json_t **out, im_error *err)
{
    im_error found = IM_ERROR_INIT;
    im_code rc = im_json_parse(json.data, json.size, name, out, &found);
    if (rc == IM_ERR_FORMAT) {
        return im_fail_as(err, IM_REASON_QUERY_JSON, "%s", found.message);
    }
    if (rc != IM_OK && err != NULL) {
        *err = found;
    }
    return rc;
}

im_code im_query_requests_read(im_view json, const char *name, const im_own_field *fields,
                               size_t n_fields, im_query_requests *out, im_error *err)
{
    request_reader reader = {.name = name, .fields = fields, .n_fields = n_fields};
    im_query_requests made = {0};
    json_t *root = NULL;
    im_code rc = parse_json(json, name, &root, err);
    if (rc != IM_OK) {
        return rc;
    }
    json_t *list = json_object_get(root, "queries");
    if (list != NULL && json_object_size(root) > 1) {
        rc = request_fail(&reader, "queries", err,
                          "stands beside other keys: each query has its own");
    } else if (list != NULL) {
        rc = read_several(&reader, list, &made, err);
    } else {
        rc = read_one(&reader, root, &made, err);
    }
    json_decref(root);
    if (rc != IM_OK) {
        im_query_requests_clear(&made);
        return rc;
    }
    *out = made;
    return IM_OK;
}
