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

bool search_own_fault(search_job *job, im_code rc, const im_error *cause)
{
    if (rc != IM_ERR_INVALID && rc != IM_ERR_LIMIT) {
        return false;
    }
    job->rc = rc;
    job->error = *cause;
    return true;
}

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

/* ---- one query ---- */

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
    rc = im_app_read_search(library, request, &asked, err);
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

/* ---- several ---- */

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
