/* app/search.c — queries to answers: what was asked is read into requests, these become vectors,
 * rows and pages (search_*.c), all at one moment of the library. */
#include "app/search_internal.h"
#include "base/clock.h"

void search_warn(im_answer *answer, const char *sentence)
{
    if (answer->n_warnings < IM_COUNT(answer->warnings)) {
        char *copy = im_strdup(sentence);
        answer->warnings[answer->n_warnings] = copy;
        answer->n_warnings += copy != NULL;
    }
}

static void warn_answer(void *context, const char *sentence)
{
    search_warn(context, sentence);
}

im_events search_events(im_answer *answer)
{
    return (im_events){.context = answer, .warning = warn_answer};
}

/* ---- jobs ---- */

static void free_rows(search_job *job)
{
    im_free(job->own_rows);
    job->own_rows = NULL;
    job->rows = NULL;
    job->n_rows = 0;
    job->left_out = false;
}

static void clear_job(search_job *job)
{
    free_rows(job);
    im_plan_clear(&job->plan);
    im_free(job->vectors);
}

/* One try of all jobs over the index as it is now. IM_ERR_FORMAT: its files are to be mended. */
static im_code attempt(im_library *library, search_job *jobs, size_t n, im_error *err)
{
    size_t n_ranked = 0;
    im_code rc = IM_OK;
    search_job **ranked = im_alloc_zero(n, sizeof(search_job *));
    if (ranked == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for %zu queries", n);
    }
    for (size_t i = 0; rc == IM_OK && i < n; i++) {
        uint64_t start = im_clock_ns();
        if (jobs[i].rc == IM_OK) {
            rc = search_rows(library, &jobs[i], err);
        }
        jobs[i].answer->filtered = jobs[i].n_rows;
        jobs[i].answer->search_ms += im_clock_ms_since(start);
        if (jobs[i].rc == IM_OK && search_is_ranked(&jobs[i])) {
            ranked[n_ranked++] = &jobs[i];
        }
    }
    if (rc == IM_OK && n_ranked > 0) {
        rc = search_ranked(library, ranked, n_ranked, err);
    }
    for (size_t i = 0; rc == IM_OK && i < n; i++) {
        if (jobs[i].rc == IM_OK && !search_is_ranked(&jobs[i])) {
            rc = search_ordered(library, &jobs[i], err);
        }
    }
    im_free(ranked);
    return rc;
}

static void forget_attempt(search_job *jobs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free_rows(&jobs[i]);
        search_clear_hits(jobs[i].answer);
        im_free(jobs[i].answer->cursor);
        jobs[i].answer->cursor = NULL;
    }
}

/* Everything that must see one moment of the library. */
static im_code answer_jobs(im_library *library, search_job *jobs, size_t n, im_error *err)
{
    const im_events events = search_events(jobs[0].answer); /* what concerns all is told once */
    im_error cause = IM_ERROR_INIT;
    uint64_t start = im_clock_ns();
    im_code rc = search_vectors(library, jobs, n, err);
    double encode_ms = im_clock_ms_since(start) / (double)n;
    if (rc == IM_OK) {
        rc = library_index(library, &events, err);
    }
    if (rc == IM_OK) {
        rc = attempt(library, jobs, n, &cause);
        if (rc == IM_ERR_FORMAT) { /* a row failed its checksum at its first touch */
            forget_attempt(jobs, n);
            library_close_columns(library);
            rc = library_mend_index(library, &cause, &events, err);
            rc = rc == IM_OK ? attempt(library, jobs, n, err) : rc;
        } else if (rc != IM_OK && err != NULL) {
            *err = cause;
        }
    }
    for (size_t i = 0; i < n; i++) {
        jobs[i].answer->encode_ms = encode_ms;
    }
    return rc;
}

/* ---- answers ---- */

/* The parts move from the request to the answer. */
static im_code open_answer(im_query_request *request, im_answer *answer, im_error *err)
{
    im_str text;
    *answer = (im_answer){.combine = request->combine, .k = request->k, .engine = ""};
    im_str_init(&text, 2u * IM_LIMIT_QUERY_LANGUAGE_BYTES);
    im_query_write(&request->query, &text);
    answer->query = text.failed ? NULL : im_strdup(im_str_text(&text));
    im_str_clear(&text);
    if (answer->query == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for an answer");
    }
    answer->parts = request->query.parts;
    answer->n_parts = request->query.n_parts;
    request->query.parts = NULL;
    request->query.n_parts = 0;
    return IM_OK;
}

/* Checks that do not need the library; a job's own failures. */
static im_code check_job(const search_job *job, im_error *err)
{
    im_query_request asked = *job->asked; /* borrowed: its parts are the answer's by now */
    asked.query.parts = job->answer->parts;
    asked.query.n_parts = job->answer->n_parts;
    im_code rc = im_query_request_check(&asked, err);
    return rc == IM_OK && asked.query.n_parts > 0
               ? im_query_check(asked.query.parts, asked.query.n_parts, asked.combine, err)
               : rc;
}

/* Answers the requests inside the caller's snapshot; library->fields are those they were read with.
 */
static im_code search_all(im_library *library, const im_search_how *how, im_query_request *requests,
                          size_t n, im_answer *answers, im_error *errors, im_error *err)
{
    search_job *jobs = im_alloc_zero(n, sizeof(*jobs));
    im_code rc = jobs != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for %zu queries", n);
    memset(answers, 0, n * sizeof(*answers));
    for (size_t i = 0; rc == IM_OK && i < n; i++) {
        jobs[i] = (search_job){
            .asked = &requests[i], .how = how, .answer = &answers[i], .error = IM_ERROR_INIT};
        rc = open_answer(&requests[i], &answers[i], err);
        if (rc == IM_OK) {
            jobs[i].rc = check_job(&jobs[i], &jobs[i].error);
        }
    }
    if (rc == IM_OK) {
        rc = answer_jobs(library, jobs, n, err);
    }
    for (size_t i = 0; jobs != NULL && i < n; i++) {
        if (rc != IM_OK || jobs[i].rc != IM_OK) {
            im_answer_clear(&answers[i]);
        }
        errors[i] = jobs[i].error;
        errors[i].code = jobs[i].rc;
        clear_job(&jobs[i]);
    }
    im_free(jobs);
    return rc;
}

void im_answer_clear(im_answer *answer)
{
    im_query asked = {.parts = answer->parts, .n_parts = answer->n_parts};
    search_clear_hits(answer);
    im_query_clear(&asked);
    for (size_t i = 0; i < answer->n_warnings; i++) {
        im_free(answer->warnings[i]);
    }
    im_free(answer->cursor);
    im_free(answer->query);
    memset(answer, 0, sizeof(*answer));
}

/* ---- one query of words, options and literal parts ---- */

static im_code copy_part(const im_query_part *part, im_query_part *out, im_error *err)
{
    const im_view from = part->kind == IM_PART_TEXT ? part->text
                         : part->path != NULL       ? im_view_from(part->path)
                         : part->bytes.data != NULL ? part->bytes
                                                    : im_view_of("", 0);
    char *copy = im_alloc(from.size + 1, 1);
    if (copy == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a query");
    }
    if (from.size > 0) {
        memcpy(copy, from.data, from.size);
    }
    copy[from.size] = '\0';
    *out = *part;
    out->upload = NULL;
    if (part->kind == IM_PART_TEXT) {
        out->text = im_view_of(copy, from.size);
    } else if (part->path != NULL) {
        out->path = copy;
    } else if (part->bytes.data != NULL) {
        out->bytes = im_view_of(copy, from.size);
    } else {
        im_free(copy);
    }
    return IM_OK;
}

/* Literal parts stand behind those of the text. */
static im_code add_parts(const im_search_request *from, im_query *query, im_error *err)
{
    size_t n = query->n_parts + from->n_parts;
    if (n > IM_LIMIT_QUERY_PARTS) {
        return im_fail(err, IM_ERR_LIMIT, "query has %zu parts, the limit is %u", n,
                       IM_LIMIT_QUERY_PARTS);
    }
    im_query_part *grown = im_realloc(query->parts, IM_MAX(n, (size_t)1), sizeof(*grown));
    if (grown == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a query");
    }
    query->parts = grown;
    im_code rc = IM_OK;
    for (size_t i = 0; rc == IM_OK && i < from->n_parts; i++) {
        rc = copy_part(&from->parts[i], &query->parts[query->n_parts], err);
        query->n_parts += rc == IM_OK;
    }
    return rc;
}

/* Joins a filter to that of the query, which takes it also on failure. */
static im_code join_filter(im_query *query, im_filter *filter, im_error *err)
{
    if (query->filter == NULL) {
        query->filter = filter;
        return IM_OK;
    }
    im_filter *both = im_alloc_zero(1, sizeof(*both));
    im_filter **children = im_alloc_zero(2, sizeof(im_filter *));
    if (both == NULL || children == NULL) {
        im_free(both);
        im_free(children);
        im_filter_free(filter);
        return im_fail(err, IM_ERR_NOMEM, "no memory for a filter");
    }
    children[0] = query->filter;
    children[1] = filter;
    *both = (im_filter){.kind = IM_FILTER_AND, .children = children, .n_children = 2};
    query->filter = both;
    return IM_OK;
}

/* "FIELD" or "FIELD:n". */
static im_code set_group(const im_library *library, const char *group, im_query_request *out,
                         im_error *err)
{
    const char *colon = strrchr(group, ':');
    uint64_t n = 1;
    char name[IM_LIMIT_FIELD_NAME_BYTES + 1] = {0};
    size_t size = colon != NULL ? (size_t)(colon - group) : strlen(group);
    if (colon != NULL && (!im_parse_u64(colon + 1, 1, IM_LIMIT_K, &n))) {
        return im_fail(err, IM_ERR_INVALID,
                       "'group' is '%.80s', expected FIELD or FIELD:n, n 1 to %u", group,
                       IM_LIMIT_K);
    }
    memcpy(name, group, IM_MIN(size, sizeof(name) - 1));
    out->group_n = (size_t)n;
    return im_query_column(size < sizeof(name) ? name : group, library->fields.fields,
                           library->fields.n, &out->group_column, err);
}

static im_code set_order(const im_library *library, const im_search_request *from,
                         im_query_request *out, im_error *err)
{
    im_code rc = IM_OK;
    out->by_score = from->sort != NULL && strcmp(from->sort, "score") == 0;
    if (from->sort != NULL && !out->by_score) {
        rc = im_query_column(from->sort, library->fields.fields, library->fields.n,
                             &out->sort_column, err);
    }
    return rc == IM_OK && from->group != NULL ? set_group(library, from->group, out, err) : rc;
}

/* What was asked, as JSON would have asked for it. Needs library->fields. */
static im_code make_request(const im_library *library, const im_search_request *from,
                            im_query_request *out, im_error *err)
{
    im_filter *filter = NULL;
    im_code rc = IM_OK;
    *out = (im_query_request){.combine = from->combine,
                              .k = from->k,
                              .offset = from->offset,
                              .order = from->order,
                              .has_min_score = from->has_min_score,
                              .min_score = from->min_score,
                              .exact = from->mode == IM_MODE_EXACT,
                              .fast = from->mode == IM_MODE_FAST};
    if (from->text != NULL) {
        rc = im_query_parse(im_view_from(from->text), library->fields.fields, library->fields.n,
                            &out->query, err);
    }
    if (rc == IM_OK) {
        rc = add_parts(from, &out->query, err);
    }
    if (rc == IM_OK && from->filter != NULL) {
        rc = im_filter_parse(im_view_from(from->filter), library->fields.fields, library->fields.n,
                             &filter, err);
        rc = rc == IM_OK ? join_filter(&out->query, filter, err) : rc;
    }
    if (rc == IM_OK && out->query.n_parts == 0 && out->query.filter == NULL) {
        rc = im_fail_as(err, IM_REASON_QUERY_EMPTY, "nothing to search for");
    }
    if (rc == IM_OK && from->cursor != NULL) {
        out->cursor = im_strdup(from->cursor);
        rc = out->cursor != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a query");
    }
    return rc == IM_OK ? set_order(library, from, out, err) : rc;
}

/* The query as it was typed, when nothing else was asked. */
static void keep_words(const im_search_request *request, im_answer *answer)
{
    bool alone = request->text != NULL && request->n_parts == 0 && request->filter == NULL;
    char *copy = alone ? im_strdup(request->text) : NULL;
    if (copy != NULL) {
        im_free(answer->query);
        answer->query = copy;
    }
}

im_code im_app_read_search(im_library *library, const im_search_request *request,
                           im_query_request *out, im_error *err)
{
    im_query_request read = {0};
    im_code rc = own_fields_load(library->store, &library->fields, err);
    if (rc == IM_OK) {
        rc = make_request(library, request, &read, err);
    }
    if (rc != IM_OK) {
        im_query_request_clear(&read);
        return rc;
    }
    *out = read;
    return IM_OK;
}

im_code im_app_search(im_library *library, const im_search_request *request, im_answer *out_answer,
                      im_error *err)
{
    im_query_request asked = {0};
    im_answer answer = {0};
    im_error own = IM_ERROR_INIT;
    uint64_t start = im_clock_ns();
    im_code rc = im_store_begin_read(library->store, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = own_fields_load(library->store, &library->fields, err);
    if (rc == IM_OK) {
        rc = make_request(library, request, &asked, err);
    }
    double parse_ms = im_clock_ms_since(start);
    if (rc == IM_OK) {
        rc = search_all(library, &request->how, &asked, 1, &answer, &own, err);
    }
    im_store_end_read(library->store);
    im_query_request_clear(&asked);
    if (rc == IM_OK && own.code != IM_OK) {
        rc = own.code;
        if (err != NULL) {
            *err = own;
        }
    }
    if (rc == IM_OK) {
        answer.parse_ms = parse_ms;
        keep_words(request, &answer);
        *out_answer = answer;
    }
    return rc;
}

/* ---- several, as JSON ---- */

im_code im_app_read_requests(im_library *library, im_view json, const char *name,
                             im_query_requests *out, im_error *err)
{
    im_code rc = own_fields_load(library->store, &library->fields, err);
    return rc == IM_OK ? im_query_requests_read(json, name, library->fields.fields,
                                                library->fields.n, out, err)
                       : rc;
}

im_code im_app_search_many(im_library *library, const im_search_how *how,
                           im_query_request *requests, size_t n, im_answer *out_answers,
                           im_error *out_errors, im_error *err)
{
    if (n == 0) {
        return IM_OK;
    }
    im_code rc = im_store_begin_read(library->store, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = own_fields_load(library->store, &library->fields, err);
    if (rc == IM_OK) {
        rc = search_all(library, how, requests, n, out_answers, out_errors, err);
    }
    im_store_end_read(library->store);
    return rc;
}
