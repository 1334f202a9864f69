/* vlm/judge.c — many pictures judged at once, within a deadline: what fails is told, and after a
 * few failures in a row nobody is asked any more. */
#include "base/clock.h"
#include "base/pool.h"
#include "vlm/vlm_internal.h"

#include <pthread.h>

#define LEAST_ITEM_MS 10000u

typedef struct judging {
    const im_vlm_server *server;
    const im_vlm_options *options;
    im_str prompt;
    const im_bytes *pictures;
    im_vlm_judgement *out;
    uint64_t start_ns;
    const atomic_bool *heeded; /* of the thread that wants the judgements */
    im_http_client **clients;  /* [workers], owned */
    size_t n_clients;
    pthread_mutex_t mutex;
    unsigned failures; /* guarded by mutex: in a row */
} judging;

static const char *const outcome_names[] = {
    [IM_VLM_NOT_ASKED] = "not asked",   [IM_VLM_JUDGED] = "judged",
    [IM_VLM_LOW_MASS] = "low mass",     [IM_VLM_REFUSED] = "refused",
    [IM_VLM_UNREADABLE] = "unreadable", [IM_VLM_FAILED] = "failed",
};

const char *im_vlm_outcome_name(im_vlm_outcome outcome)
{
    return outcome_names[outcome];
}

/* ---- time ---- */

static uint32_t left_ms(const judging *j)
{
    return vlm_left_ms(j->start_ns, im_vlm_deadline_ms(j->options));
}

uint32_t vlm_item_ms(const im_vlm_options *options)
{
    return options->item_ms != 0 ? options->item_ms
                                 : IM_MAX(LEAST_ITEM_MS, im_vlm_deadline_ms(options) / 2);
}

/* ---- the breaker ---- */

static bool is_open(judging *j)
{
    (void)pthread_mutex_lock(&j->mutex);
    bool open = j->failures >= IM_VLM_BREAK_AFTER;
    (void)pthread_mutex_unlock(&j->mutex);
    return open;
}

static void note(judging *j, bool failed)
{
    (void)pthread_mutex_lock(&j->mutex);
    j->failures = failed ? j->failures + 1 : 0;
    (void)pthread_mutex_unlock(&j->mutex);
}

/* ---- one picture ---- */

static void judge_one(judging *j, im_http_client *client, size_t i)
{
    im_vlm_judgement *out = &j->out[i];
    vlm_reply reply;
    vlm_question question = {.mode = j->server->mode,
                             .text = im_view_of(im_str_text(&j->prompt), j->prompt.size),
                             .pictures = &j->pictures[i],
                             .n_pictures = 1,
                             .max_tokens = j->server->mode == IM_VLM_MODE_SCORE ? 32 : 1};
    question.schema = j->server->mode == IM_VLM_MODE_SCORE ? vlm_score_schema : NULL;
    question.max_tokens = j->server->mode == IM_VLM_MODE_WORD ? 4 : question.max_tokens;
    vlm_reply_init(&reply);
    im_code rc = vlm_ask_patiently(client, j->server, j->options, &question, j->start_ns,
                                   vlm_item_ms(j->options), &reply, out, &out->error);
    if (rc == IM_OK) {
        vlm_reply_judge(&reply, question.mode, out);
    } else {
        out->outcome = IM_VLM_FAILED;
    }
    vlm_reply_clear(&reply);
    note(j, rc != IM_OK);
}

static void run_task(void *context, size_t task, size_t worker)
{
    judging *j = context;
    im_stop_heed(j->heeded);
    if (left_ms(j) < VLM_LEAST_MS || is_open(j) || im_stop_asked()) {
        return; /* not asked */
    }
    judge_one(j, j->clients[worker], task);
}

/* ---- all pictures in one request ---- */

static im_code spread(const vlm_reply *reply, size_t n, im_vlm_judgement *out, im_error *err)
{
    size_t strange = 0;
    uint64_t tokens = 0;
    double *scores = im_alloc_zero(n, sizeof(double));
    bool *has = im_alloc_zero(n, sizeof(bool));
    if (scores == NULL || has == NULL) {
        im_free(scores);
        im_free(has);
        return im_fail(err, IM_ERR_NOMEM, "no memory for an answer");
    }
    im_code rc = vlm_rerank_read(im_view_of(im_str_text(&reply->text), reply->text.size), n, scores,
                                 has, &strange, &tokens, err);
    for (size_t i = 0; rc == IM_OK && i < n; i++) {
        out[i].outcome = has[i] ? IM_VLM_JUDGED : IM_VLM_UNREADABLE;
        out[i].p_yes = scores[i];
        out[i].s = has[i] ? vlm_logit(scores[i]) : 0;
        out[i].mass = has[i] ? 1 : 0;
    }
    out[0].tokens += rc == IM_OK ? tokens : 0;
    im_free(scores);
    im_free(has);
    return rc;
}

/* One request's cost, in equal shares; each picture was in each of its tries. */
static void share_cost(im_vlm_judgement *out, size_t n)
{
    const im_vlm_judgement all = out[0];
    for (size_t i = 0; i < n; i++) {
        out[i].tokens = all.tokens / n + (i < all.tokens % n);
        out[i].tokens_out = 0; /* a number a picture: nothing is written */
        out[i].bytes_sent = all.bytes_sent / n + (i < all.bytes_sent % n);
        out[i].tries = all.tries;
        out[i].status = all.status;
        out[i].ms = all.ms;
    }
}

static void judge_together(judging *j, size_t n)
{
    vlm_question question = {.mode = IM_VLM_MODE_RERANK,
                             .text = im_view_of(im_str_text(&j->prompt), j->prompt.size),
                             .pictures = j->pictures,
                             .n_pictures = n};
    vlm_reply reply;
    im_error error = IM_ERROR_INIT;
    vlm_reply_init(&reply);
    im_code rc = vlm_ask_patiently(j->clients[0], j->server, j->options, &question, j->start_ns,
                                   UINT32_MAX, &reply, &j->out[0], &error);
    if (rc == IM_OK) {
        rc = spread(&reply, n, j->out, &error);
    }
    for (size_t i = 0; rc != IM_OK && i < n; i++) {
        j->out[i].outcome = IM_VLM_FAILED;
        j->out[i].error = error;
    }
    share_cost(j->out, n);
    vlm_reply_clear(&reply);
}

/* ---- all ---- */

static im_code open_clients(judging *j, size_t n, im_error *err)
{
    im_code rc = IM_OK;
    j->clients = im_alloc_zero(n, sizeof(im_http_client *));
    if (j->clients == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for connections");
    }
    for (; rc == IM_OK && j->n_clients < n; j->n_clients += rc == IM_OK) {
        rc = im_http_open(&j->clients[j->n_clients], err);
    }
    return rc;
}

static void close_clients(judging *j)
{
    for (size_t i = 0; i < j->n_clients; i++) {
        im_http_close(j->clients[i]);
    }
    im_free(j->clients);
}

static im_code run_all(judging *j, size_t n, im_error *err)
{
    im_pool *pool = NULL;
    size_t parallel = j->options->parallel != 0 ? j->options->parallel : IM_VLM_PARALLEL;
    im_code rc =
        im_pool_open(IM_MIN(IM_MIN(parallel, n), (size_t)IM_VLM_MOST_PARALLEL), &pool, err);
    if (rc == IM_OK) {
        rc = open_clients(j, im_pool_threads(pool), err);
    }
    if (rc == IM_OK && j->server->mode == IM_VLM_MODE_RERANK) {
        judge_together(j, n);
    } else if (rc == IM_OK) {
        im_pool_run(pool, n, run_task, j);
    }
    close_clients(j);
    im_pool_close(pool);
    return rc;
}

im_code im_vlm_judge(const im_vlm_server *server, const im_vlm_options *options, im_view query,
                     const im_bytes *pictures, size_t n, im_vlm_judgement *out, im_error *err)
{
    judging j = {.server = server,
                 .options = options,
                 .pictures = pictures,
                 .out = out,
                 .start_ns = im_clock_ns(),
                 .heeded = im_stop_heeded()};
    for (size_t i = 0; i < n; i++) {
        out[i] = (im_vlm_judgement){.error = IM_ERROR_INIT};
    }
    im_code rc = n > 0 ? im_http_allowed(&options->rules, server->url, err) : IM_OK;
    if (rc != IM_OK || n == 0) {
        return rc;
    }
    im_str_init(&j.prompt, SIZE_MAX / 2);
    vlm_prompt(&j.prompt, server->mode, query);
    if (j.prompt.failed) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a prompt");
    } else if (pthread_mutex_init(&j.mutex, NULL) != 0) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a lock");
    } else {
        rc = run_all(&j, n, err);
        (void)pthread_mutex_destroy(&j.mutex);
    }
    im_str_clear(&j.prompt);
    return rc;
}
