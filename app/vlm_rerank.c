/* app/vlm_rerank.c — the best hits of an answer, judged by a vision-language model: what it says
 * moves them by a bounded amount, and what it does not say leaves them where they were. */
#include "app/vlm_internal.h"
#include "base/clock.h"

void reranking_close(reranking *r)
{
    for (size_t i = 0; r->pictures != NULL && i < r->n; i++) {
        im_bytes_clear(&r->pictures[i]);
    }
    im_free(r->judgements);
    im_free(r->items);
    im_free(r->pictures);
    im_free(r->tokens);
    im_free(r->z);
    im_free(r->s);
    im_free(r->final);
    im_free(r->has);
    im_free(r->cached);
    im_free(r->order);
}

im_code reranking_open(reranking *r, size_t n, im_error *err)
{
    *r = (reranking){.n = n,
                     .judgements = im_alloc_zero(n, sizeof(*r->judgements)),
                     .items = im_alloc_zero(n, sizeof(*r->items)),
                     .pictures = im_alloc_zero(n, sizeof(*r->pictures)),
                     .tokens = im_alloc_zero(n, sizeof(*r->tokens)),
                     .z = im_alloc_zero(n, sizeof(*r->z)),
                     .s = im_alloc_zero(n, sizeof(*r->s)),
                     .final = im_alloc_zero(n, sizeof(*r->final)),
                     .has = im_alloc_zero(n, sizeof(*r->has)),
                     .cached = im_alloc_zero(n, sizeof(*r->cached)),
                     .order = im_alloc_zero(n, sizeof(*r->order)),
                     .first = IM_ERROR_INIT};
    return r->judgements != NULL && r->items != NULL && r->pictures != NULL && r->tokens != NULL &&
                   r->z != NULL && r->s != NULL && r->final != NULL && r->has != NULL &&
                   r->cached != NULL && r->order != NULL
               ? IM_OK
               : im_fail(err, IM_ERR_NOMEM, "no memory for a rerank");
}

/* ---- standardised scores ---- */

/* How much one standard deviation is in a score of these parts, taken as independent. */
static double unit_of(const im_answer *answer)
{
    double squares = 0;
    double least = (double)INFINITY;
    for (size_t i = 0; i < answer->n_parts; i++) {
        double weight = (double)answer->parts[i].weight;
        squares += weight * weight;
        least = IM_MIN(least, fabs(weight));
    }
    double unit = answer->combine == IM_COMBINE_SUM ? sqrt(squares) : least;
    return unit > 1e-6 && isfinite(unit) ? unit : 1;
}

/* Scores over unrelated pictures where the model has such a background, else over these hits. */
static void standardise(const im_library *library, const im_answer *answer, reranking *r)
{
    double mean = 0;
    double squares = 0;
    double unit = unit_of(answer);
    for (size_t i = 0; i < r->n; i++) {
        mean += (double)answer->hits[i].score / (double)r->n;
    }
    for (size_t i = 0; i < r->n; i++) {
        double d = (double)answer->hits[i].score - mean;
        squares += d * d / (double)r->n;
    }
    bool background = library->model.n_background > 0;
    double deviation = background ? unit : squares > 1e-12 ? sqrt(squares) : 1;
    for (size_t i = 0; i < r->n; i++) {
        r->z[i] = ((double)answer->hits[i].score - (background ? 0 : mean)) / deviation;
    }
}

/* ---- pictures ---- */

/* Reads what may be sent; a picture that cannot be read stays where it is. */
static im_code gather(im_library *library, const vlm_use *use, const im_answer *answer,
                      reranking *r, im_error *err)
{
    for (size_t i = 0; i < r->n; i++) {
        im_error cause = IM_ERROR_INIT;
        bool allowed = true;
        r->items[i] = answer->hits[i].item.id;
        im_code rc = vlm_use_picture(library, use, r->items[i], &r->pictures[i], &r->tokens[i],
                                     &allowed, &cause);
        if (rc == IM_OK && !allowed) {
            (void)!im_fail(&cause, IM_ERR_DENIED, "its folder is not to be sent");
        }
        if (cause.code != IM_OK) {
            r->first = r->first.code == IM_OK ? cause : r->first;
        }
        if (rc == IM_ERR_NOMEM || rc == IM_ERR_DAMAGED) {
            *err = cause;
            return rc;
        }
    }
    return IM_OK;
}

/* ---- the report ---- */

static const im_error *why_not(const reranking *r)
{
    for (size_t i = 0; i < r->n; i++) {
        if (r->judgements[i].outcome == IM_VLM_FAILED) {
            return &r->judgements[i].error;
        }
    }
    return r->first.code != IM_OK ? &r->first : NULL;
}

static void tell(const reranking *r, im_rerank_report *report)
{
    const im_error *error = why_not(r);
    size_t counts[IM_VLM_OUTCOME_COUNT] = {0};
    im_str words;
    for (size_t i = 0; i < r->n; i++) {
        counts[r->judgements[i].outcome]++;
        report->cached += r->cached[i];
    }
    report->judged = counts[IM_VLM_JUDGED];
    report->status = report->judged == r->n ? "done" : report->judged > 0 ? "partial" : "failed";
    if (report->judged == r->n) {
        return;
    }
    im_str_init(&words, sizeof(report->reason) - 1);
    for (size_t i = 0; i < IM_VLM_OUTCOME_COUNT; i++) {
        if (i != IM_VLM_JUDGED && counts[i] > 0) {
            im_str_addf(&words, "%s%zu %s", words.size > 0 ? ", " : "", counts[i],
                        im_vlm_outcome_name((im_vlm_outcome)i));
        }
    }
    (void)snprintf(report->reason, sizeof(report->reason), "%.100s%s%.250s", im_str_text(&words),
                   error != NULL ? ": " : "", error != NULL ? error->message : "");
    im_str_clear(&words);
}

/* ---- order ---- */

static im_code reorder(im_answer *answer, const reranking *r, im_error *err)
{
    im_search_hit *hits = im_alloc(r->n, sizeof(*hits));
    if (hits == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a rerank");
    }
    uint64_t first = answer->hits[0].rank;
    memcpy(hits, answer->hits, r->n * sizeof(*hits));
    for (size_t i = 0; i < r->n; i++) {
        size_t from = r->order[i];
        im_search_hit *hit = &answer->hits[i];
        *hit = hits[from];
        hit->rank = first + i;
        hit->has_rerank = true;
        hit->from_rank = first + from;
        hit->judgement = r->judgements[from];
        hit->s = r->s[from];
        hit->final = r->final[from];
        answer->rerank.moved += from != i;
    }
    im_free(hits);
    return IM_OK;
}

/* ---- all ---- */

static im_code check(const im_answer *answer, bool listwise, size_t n, im_view query, im_error *err)
{
    size_t most = listwise ? IM_VLM_MOST_LISTED : IM_RERANK_MOST;
    if (answer->n_parts == 0) {
        return im_fail(err, IM_ERR_INVALID, "a listing has no order by score to rerank");
    }
    if (query.size == 0) {
        im_code rc = im_fail(err, IM_ERR_INVALID, "the query has no words a model could judge by");
        im_hint(err, "rerank works by text: add some words to the pictures");
        return rc;
    }
    return n >= 1 && n <= most ? IM_OK
                               : im_fail(err, IM_ERR_INVALID, "%s of %zu hits, expected 1 to %zu",
                                         listwise ? "listwise rerank" : "rerank", n, most);
}

static void free_pictures(reranking *r)
{
    for (size_t i = 0; i < r->n; i++) {
        im_bytes_clear(&r->pictures[i]);
    }
}

/* z and pictures, once. */
static im_code prepare(im_library *library, const vlm_use *use, const im_answer *answer,
                       reranking *r, im_error *err)
{
    im_code rc = IM_OK;
    if (!r->gathered) {
        standardise(library, answer, r);
        rc = gather(library, use, answer, r, err);
        r->gathered = rc == IM_OK;
    }
    return rc;
}

im_code reranking_judge(im_library *library, const vlm_use *use, im_view query,
                        const im_answer *answer, reranking *r, im_rerank_report *report,
                        im_error *err)
{
    im_error cause = IM_ERROR_INIT;
    im_code rc = prepare(library, use, answer, r, err);
    if (rc == IM_OK) {
        const vlm_batch batch = {.items = r->items,
                                 .pictures = r->pictures,
                                 .tokens = r->tokens,
                                 .n = r->n,
                                 .out = r->judgements,
                                 .out_s = r->s,
                                 .out_cached = r->cached};
        im_code judged = vlm_judge_batch(use, query, &batch, report, &cause);
        r->first = judged != IM_OK ? cause : r->first;
        for (size_t i = 0; i < r->n; i++) {
            r->has[i] = r->judgements[i].outcome == IM_VLM_JUDGED;
        }
        tell(r, report);
    }
    free_pictures(r);
    return rc;
}

/* The whole list first; where the model gives none, one by one in the time that is left. */
static im_code list_or_judge(im_library *library, vlm_use *use, im_view query,
                             const im_answer *answer, reranking *r, im_rerank_report *report,
                             im_error *err)
{
    bool listed = false;
    uint64_t start = im_clock_ns();
    im_code rc = prepare(library, use, answer, r, err);
    if (rc == IM_OK) {
        rc = vlm_list_hits(use, query, r, report, &listed, err);
    }
    if (rc == IM_OK && listed) {
        use->weights = im_vlm_weights_list(use->weights);
        report->weights = use->weights;
        report->mode = "listwise";
        tell(r, report);
        free_pictures(r);
        return rc;
    }
    double left = im_vlm_deadline_ms(&use->options) - im_clock_ms_since(start);
    use->options.deadline_ms = left > 1 ? (uint32_t)left : 1;
    return rc == IM_OK ? reranking_judge(library, use, query, answer, r, report, err) : rc;
}

static im_code judge_hits(im_library *library, vlm_use *use, im_view query, bool listwise,
                          im_answer *answer, size_t n, im_error *err)
{
    reranking r;
    uint64_t start = im_clock_ns();
    im_code rc = reranking_open(&r, n, err);
    if (rc == IM_OK) {
        rc = listwise ? list_or_judge(library, use, query, answer, &r, &answer->rerank, err)
                      : reranking_judge(library, use, query, answer, &r, &answer->rerank, err);
    }
    if (rc == IM_OK) {
        im_vlm_blend(&use->weights, r.z, r.s, r.has, n, r.final, r.order);
        answer->rerank.ms = im_clock_ms_since(start);
        rc = reorder(answer, &r, err);
    }
    reranking_close(&r);
    return rc;
}

/* What the asker can mend is an error; what the server or the disk does is told in the answer. */
static bool is_askers(im_code rc)
{
    return rc == IM_ERR_INVALID || rc == IM_ERR_NOMEM || rc == IM_ERR_FORMAT;
}

im_code im_app_vlm_rerank(im_library *library, const im_vlm_request *request, size_t n,
                          im_answer *answer, im_error *err)
{
    vlm_use use;
    im_str query;
    im_error cause = IM_ERROR_INIT;
    im_rerank_report *report = &answer->rerank;
    *report = (im_rerank_report){.status = "skipped", .mode = "none", .n = n};
    im_str_init(&query, IM_LIMIT_QUERY_LANGUAGE_BYTES);
    vlm_query_text(answer->parts, answer->n_parts, &query);
    im_code rc = query.failed ? im_fail(err, IM_ERR_NOMEM, "no memory for the query")
                              : check(answer, request->listwise, n,
                                      im_view_of(im_str_text(&query), query.size), err);
    n = IM_MIN(n, answer->n_hits);
    report->n = n;
    if (rc != IM_OK) {
        im_str_clear(&query);
        return rc;
    }
    rc = vlm_use_open(library, request, false, &use, &cause);
    if (rc == IM_OK) {
        rc =
            library_model(library, &cause); /* its background: the answer may be another handle's */
    }
    if (rc == IM_OK) {
        report->weights = use.weights;
        report->priced = vlm_use_priced(&use);
        report->mode = im_vlm_mode_name(use.server.mode);
        (void)snprintf(report->model, sizeof(report->model), "%s", use.server.model);
    }
    if (rc == IM_OK && n > 0) {
        rc = judge_hits(library, &use, im_view_of(im_str_text(&query), query.size),
                        request->listwise, answer, n, &cause);
    } else if (rc == IM_OK) {
        report->status = "done";
    }
    bool refused = strcmp(cause.reason, im_reason_name(IM_REASON_URL_REFUSED)) == 0;
    if (rc != IM_OK && !is_askers(rc) && !refused) {
        (void)snprintf(report->reason, sizeof(report->reason), "%s", cause.message);
        rc = IM_OK;
    } else if (rc != IM_OK && err != NULL) {
        *err = cause;
    }
    vlm_use_close(&use);
    im_str_clear(&query);
    return rc;
}

void im_rerank_json(im_json_writer *w, const im_rerank_report *report)
{
    im_json_begin_object(w);
    im_json_put_string(w, "status", report->status);
    im_json_put_string(w, "reason", report->reason[0] != '\0' ? report->reason : NULL);
    im_json_put_string(w, "model", report->model);
    im_json_put_string(w, "mode", report->mode);
    im_json_put_string(w, "no_list", report->no_list[0] != '\0' ? report->no_list : NULL);
    im_json_put_uint(w, "n", report->n);
    im_json_put_uint(w, "judged", report->judged);
    im_json_put_uint(w, "cached", report->cached);
    im_json_put_uint(w, "sent", report->sent);
    im_json_put_uint(w, "moved", report->moved);
    im_json_put_double(w, "weight", report->weights.weight);
    im_json_put_double(w, "bound", IM_VLM_CLIP * report->weights.weight);
    im_json_put_bool(w, "calibrated", report->weights.calibrated);
    im_json_put_double(w, "ms", report->ms);
    im_json_put_uint(w, "tokens", report->tokens);
    vlm_put_cost(w, report->priced, report->cost_nano);
    im_json_put_uint(w, "bytes_sent", report->bytes_sent);
    im_json_end_object(w);
}
