/* app/vlm_budget.c — what a vision-language model may cost, and a line for all that is sent: noted
 * before it leaves, so that ceilings hold across processes, kills and restarts. A day is one of
 * UTC. */
#include "app/vlm_internal.h"
#include "base/clock.h"

#define PROMPT_TOKENS 100u /* of the words */

/* Billionths of the prices' unit; never rounded down. */
static uint64_t nano(double million_price, uint64_t tokens)
{
    double cost = ceil(million_price * (double)tokens * 1000);
    return cost < 1e18 ? (uint64_t)cost : UINT64_MAX / 16;
}

bool vlm_use_priced(const vlm_use *use)
{
    return use->price_in > 0 || use->price_out > 0;
}

uint64_t vlm_use_expected(const vlm_use *use, uint32_t tokens)
{
    return (uint64_t)tokens + PROMPT_TOKENS + im_vlm_thought_tokens(&use->server);
}

/* Before an answer it is not known which tokens will be written: all at the dearer price. */
static uint64_t expected_cost(const vlm_use *use, uint32_t tokens)
{
    return nano(IM_MAX(use->price_in, use->price_out), vlm_use_expected(use, tokens));
}

uint64_t vlm_use_cost(const vlm_use *use, const im_vlm_judgement *judgement, uint32_t expected)
{
    if (judgement->tokens == 0) {
        return judgement->bytes_sent > 0 ? expected_cost(use, expected) : 0;
    }
    return nano(use->price_in, judgement->tokens - judgement->tokens_out) +
           nano(use->price_out, judgement->tokens_out);
}

void vlm_put_cost(im_json_writer *w, bool priced, uint64_t cost_nano)
{
    if (priced) {
        im_json_put_double(w, "cost", (double)cost_nano * 1e-9);
    } else {
        im_json_put_null(w, "cost");
    }
}

static im_code tokens_spent(const vlm_use *use, uint64_t spent, uint64_t wanted, im_error *err)
{
    im_code rc = im_fail_as(
        err, IM_REASON_VLM_BUDGET_SPENT,
        "%llu tokens are spent today or under way, %llu more would pass the ceiling of %llu",
        (unsigned long long)spent, (unsigned long long)wanted,
        (unsigned long long)use->daily_tokens);
    im_hint(err, "tomorrow (UTC) it is free again; or raise it: --vlm-daily-tokens");
    return rc;
}

static im_code cost_spent(const vlm_use *use, uint64_t spent, uint64_t wanted, im_error *err)
{
    im_code rc =
        im_fail_as(err, IM_REASON_VLM_BUDGET_SPENT,
                   "%.6g is spent today or under way, %.6g more would pass the ceiling of %.6g",
                   (double)spent * 1e-9, (double)wanted * 1e-9, use->daily_cost);
    im_hint(err, "tomorrow (UTC) it is free again; or raise it: --vlm-daily-cost");
    return rc;
}

im_code vlm_spent_today(im_store *store, im_vlm_spent *out, im_error *err)
{
    int64_t now = im_clock_wall_ns();
    return im_store_vlm_spent_since(store, now - now % VLM_DAY_NS, out, err);
}

/* How many of the list fit under the ceilings of the day. */
static im_code fit_budget(const vlm_use *use, const uint32_t *tokens, size_t n, size_t *out_n,
                          im_error *err)
{
    double ceiling = use->daily_cost * 1e9;
    im_vlm_spent spent = {0};
    *out_n = n;
    if (use->daily_tokens == 0 && !(use->daily_cost > 0)) {
        return IM_OK;
    }
    im_code rc = vlm_spent_today(use->store, &spent, err);
    for (size_t i = 0; rc == IM_OK && i < n; i++) {
        uint64_t wanted = vlm_use_expected(use, tokens[i]);
        uint64_t cost = expected_cost(use, tokens[i]);
        *out_n = i;
        if (use->daily_tokens > 0 && spent.tokens + wanted > use->daily_tokens) {
            return tokens_spent(use, spent.tokens, wanted, err);
        }
        if (use->daily_cost > 0 && (double)(spent.cost_nano + cost) > ceiling) {
            return cost_spent(use, spent.cost_nano, cost, err);
        }
        spent.tokens += wanted;
        spent.cost_nano += cost;
        *out_n = n;
    }
    return rc;
}

/* One line; items that are 0 stand for no picture of the library. */
static im_code begin_send(const vlm_use *use, const char *purpose, const uint64_t *items, size_t n,
                          uint32_t tokens, uint64_t *out_id, im_error *err)
{
    im_str list;
    im_str_init(&list, 4096);
    im_str_add_c(&list, "[");
    for (size_t i = 0; i < n; i++) {
        if (items[i] != 0) {
            im_str_addf(&list, "%s%llu", list.size > 1 ? "," : "", (unsigned long long)items[i]);
        }
    }
    im_str_add_c(&list, "]");
    const im_vlm_send send = {.host = use->host,
                              .model = use->server.model,
                              .purpose = purpose,
                              .items = im_str_text(&list),
                              .tokens = vlm_use_expected(use, tokens),
                              .cost_nano = expected_cost(use, tokens)};
    im_code rc = list.failed ? im_fail(err, IM_ERR_NOMEM, "no memory for an audit line")
                             : im_store_begin_vlm_send(use->store, &send, out_id, err);
    im_str_clear(&list);
    return rc;
}

static im_code begin_sends(const vlm_use *use, const char *purpose, const uint64_t *items,
                           const uint32_t *tokens, size_t n, uint64_t *out_ids, im_error *err)
{
    im_code rc = IM_OK;
    for (size_t i = 0; rc == IM_OK && i < n; i++) {
        rc = begin_send(use, purpose, items + i, 1, tokens[i], &out_ids[i], err);
    }
    return rc;
}

im_code vlm_use_begin_one(const vlm_use *use, const char *purpose, const uint64_t *items, size_t n,
                          uint32_t tokens, uint64_t *out_id, im_error *err)
{
    size_t fit = 0;
    im_code rc = im_store_begin(use->store, err); /* the lock: nobody else counts meanwhile */
    if (rc != IM_OK) {
        return rc;
    }
    rc = fit_budget(use, &tokens, 1, &fit, err);
    if (rc == IM_OK) {
        rc = begin_send(use, purpose, items, n, tokens, out_id, err);
    }
    if (rc != IM_OK) {
        im_store_rollback(use->store);
        return rc;
    }
    return im_store_commit(use->store, err);
}

im_code vlm_use_begin_some(const vlm_use *use, const char *purpose, const uint64_t *items,
                           const uint32_t *tokens, size_t n, size_t least, uint64_t *out_ids,
                           size_t *out_n, im_error *err)
{
    size_t fit = 0;
    *out_n = 0;
    im_code rc = im_store_begin(use->store, err); /* the lock: nobody else counts meanwhile */
    if (rc != IM_OK) {
        return rc;
    }
    im_code allowed = fit_budget(use, tokens, n, &fit, err);
    rc = allowed != IM_OK && fit < least ? allowed : IM_OK;
    if (rc == IM_OK) {
        rc = begin_sends(use, purpose, items, tokens, fit, out_ids, err);
    }
    if (rc != IM_OK) {
        im_store_rollback(use->store);
        return rc;
    }
    rc = im_store_commit(use->store, err);
    *out_n = rc == IM_OK ? fit : 0;
    return rc == IM_OK ? allowed : rc;
}

im_code vlm_use_begin(const vlm_use *use, const char *purpose, const uint64_t *items,
                      const uint32_t *tokens, size_t n, uint64_t *out_ids, im_error *err)
{
    size_t begun = 0;
    return vlm_use_begin_some(use, purpose, items, tokens, n, n, out_ids, &begun, err);
}

im_code vlm_use_end(const vlm_use *use, const uint64_t *ids, const im_vlm_judgement *judgements,
                    size_t n, im_error *err)
{
    im_code rc = IM_OK;
    for (size_t i = 0; rc == IM_OK && i < n; i++) {
        const im_vlm_judgement *j = &judgements[i];
        const im_vlm_send send = {
            .bytes_sent = j->bytes_sent,
            .tokens = j->tokens,
            .cost_nano = vlm_use_cost(use, j, 0), /* of what was told; else the store keeps */
            .ms = (uint64_t)j->ms,
            .outcome = j->outcome == IM_VLM_NOT_ASKED ? NULL : im_vlm_outcome_name(j->outcome)};
        rc = im_store_end_vlm_send(use->store, ids[i], &send, err);
    }
    return rc;
}
