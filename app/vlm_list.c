/* app/vlm_list.c — the best hits of an answer as one list that a vision-language model puts in
 * order. What it says moves them within the same bound as single judgements do; a list that is not
 * whole counts for nothing, and the hits are then judged one by one. */
#include "app/vlm_internal.h"
#include "base/clock.h"

#define NO_LIST_NS VLM_DAY_NS /* a list that was none is asked for again */

/* What is asked: the hits whose picture may be sent. */
typedef struct list_of {
    const vlm_use *use;
    reranking *r;
    size_t n;
    size_t *hits;       /* [n] places in r */
    im_bytes *pictures; /* [n] borrowed from r */
    double *s;          /* [n] */
    uint64_t *items;    /* [2 n]: the list is sent twice */
    uint32_t *tokens;
    uint64_t *ids;
    im_vlm_judgement *sends;
    uint8_t key[IM_SHA256_BYTES];
} list_of;

static void close_list(list_of *l)
{
    im_free(l->hits);
    im_free(l->pictures);
    im_free(l->s);
    im_free(l->items);
    im_free(l->tokens);
    im_free(l->ids);
    im_free(l->sends);
}

static im_code open_list(list_of *l, const vlm_use *use, im_view query, reranking *r, im_error *err)
{
    *l = (list_of){.use = use,
                   .r = r,
                   .hits = im_alloc_zero(r->n, sizeof(*l->hits)),
                   .pictures = im_alloc_zero(r->n, sizeof(*l->pictures)),
                   .s = im_alloc_zero(r->n, sizeof(*l->s)),
                   .items = im_alloc_zero(2 * r->n, sizeof(*l->items)),
                   .tokens = im_alloc_zero(2 * r->n, sizeof(*l->tokens)),
                   .ids = im_alloc_zero(2 * r->n, sizeof(*l->ids)),
                   .sends = im_alloc_zero(2 * r->n, sizeof(*l->sends))};
    if (l->hits == NULL || l->pictures == NULL || l->s == NULL || l->items == NULL ||
        l->tokens == NULL || l->ids == NULL || l->sends == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a list of %zu hits", r->n);
    }
    for (size_t i = 0; i < r->n; i++) {
        if (r->pictures[i].size > 0) {
            l->hits[l->n] = i;
            l->pictures[l->n++] = r->pictures[i];
        }
    }
    for (size_t i = 0; i < 2 * l->n; i++) {
        l->items[i] = r->items[l->hits[i % l->n]];
        l->tokens[i] = r->tokens[l->hits[i % l->n]] + (uint32_t)query.size;
    }
    return IM_OK;
}

/* ---- kept lists ---- */

/* *out_known: it is known what the model says, also that it says nothing (*out_whole false). */
static im_code look_up(list_of *l, bool *out_known, bool *out_whole, im_error *err)
{
    json_t *root = NULL;
    int64_t made_ns = 0;
    im_code rc = vlm_kept(l->use->store, l->key, &root, &made_ns, err);
    if (rc == IM_OK && root != NULL) {
        const json_t *s = json_object_get(root, "list");
        *out_whole = json_array_size(s) == l->n;
        *out_known = *out_whole || im_clock_wall_ns() - made_ns < NO_LIST_NS;
        for (size_t i = 0; *out_whole && i < l->n; i++) {
            l->s[i] = json_number_value(json_array_get(s, i));
        }
    }
    json_decref(root);
    return rc;
}

static im_code keep(const list_of *l, bool whole, im_error *err)
{
    im_json_writer w;
    im_json_init(&w, 1u << 16);
    im_json_begin_object(&w);
    im_json_key(&w, "list");
    im_json_begin_array(&w);
    for (size_t i = 0; whole && i < l->n; i++) {
        im_json_double(&w, l->s[i]);
    }
    im_json_end_array(&w);
    im_json_end_object(&w);
    im_code rc =
        vlm_keep(l->use->store, l->key, l->use->server.model, IM_VLM_LIST_VERSION, &w, err);
    im_json_clear(&w);
    return rc;
}

/* ---- asking ---- */

/* Each send has an equal share of what both questions cost; those of a question that was not asked
 * have none. */
static void share(list_of *l, const im_vlm_judgement *cost)
{
    size_t n = l->n * cost->tries;
    for (size_t i = 0; i < 2 * l->n; i++) {
        im_vlm_judgement *send = &l->sends[i];
        *send = (im_vlm_judgement){.error = IM_ERROR_INIT};
        if (i < n) {
            *send = *cost;
            send->tokens = cost->tokens / n + (i < cost->tokens % n);
            send->tokens_out = cost->tokens_out / n + (i < cost->tokens_out % n);
            send->bytes_sent = cost->bytes_sent / n + (i < cost->bytes_sent % n);
            send->outcome = cost->outcome == IM_VLM_NOT_ASKED ? IM_VLM_FAILED : cost->outcome;
        }
    }
}

static im_code note(list_of *l, const im_vlm_judgement *cost, im_rerank_report *report,
                    im_error *err)
{
    im_code rc = im_store_begin(l->use->store, err);
    if (rc != IM_OK) {
        return rc;
    }
    share(l, cost);
    for (size_t i = 0; i < 2 * l->n; i++) {
        report->sent += l->sends[i].tries > 0;
        report->cost_nano += vlm_use_cost(l->use, &l->sends[i], l->tokens[i]);
    }
    report->tokens += cost->tokens;
    report->bytes_sent += cost->bytes_sent;
    rc = vlm_use_end(l->use, l->ids, l->sends, 2 * l->n, err);
    if (rc == IM_OK && (cost->outcome == IM_VLM_JUDGED || cost->outcome == IM_VLM_UNREADABLE)) {
        rc = keep(l, cost->outcome == IM_VLM_JUDGED, err);
    }
    if (rc != IM_OK) {
        im_store_rollback(l->use->store);
        return rc;
    }
    return im_store_commit(l->use->store, err);
}

static im_code ask(list_of *l, im_view query, im_rerank_report *report, im_error *err)
{
    im_vlm_judgement cost = {.error = IM_ERROR_INIT};
    im_code rc = vlm_use_begin(l->use, "rerank", l->items, l->tokens, 2 * l->n, l->ids, err);
    if (rc == IM_OK) {
        rc = im_vlm_list(&l->use->server, &l->use->options, query, l->pictures, l->n, l->s, &cost,
                         err);
        im_code noted = note(l, &cost, report, rc == IM_OK ? err : NULL);
        rc = rc == IM_OK ? noted : rc;
    }
    return rc;
}

/* ---- the result ---- */

static void take(const list_of *l, bool known)
{
    for (size_t i = 0; i < l->n; i++) {
        size_t at = l->hits[i];
        l->r->s[at] = l->s[i];
        l->r->has[at] = true;
        l->r->cached[at] = known;
        l->r->judgements[at] = (im_vlm_judgement){.outcome = IM_VLM_JUDGED,
                                                  .s = l->s[i],
                                                  .p_yes = 1 / (1 + exp(-l->s[i])),
                                                  .mass = 1,
                                                  .error = IM_ERROR_INIT};
    }
}

im_code vlm_list_hits(const vlm_use *use, im_view query, reranking *r, im_rerank_report *report,
                      bool *out_listed, im_error *err)
{
    list_of l;
    bool known = false;
    bool whole = false;
    im_error cause = IM_ERROR_INIT;
    im_code rc = open_list(&l, use, query, r, err);
    *out_listed = false;
    if (rc == IM_OK && l.n < 2) {
        close_list(&l);
        return IM_OK; /* nothing to put in order */
    }
    if (rc == IM_OK) {
        im_vlm_list_key(&use->server, query, l.pictures, l.n, l.key);
        rc = look_up(&l, &known, &whole, err);
    }
    if (rc == IM_OK && !known) {
        whole = ask(&l, query, report, &cause) == IM_OK;
    }
    if (rc == IM_OK && whole) {
        take(&l, known);
        *out_listed = true;
    } else if (rc == IM_OK) {
        (void)snprintf(report->no_list, sizeof(report->no_list), "%.250s",
                       known ? "the model's order was not whole" : cause.message);
        rc = cause.code == IM_ERR_NOMEM ? im_fail(err, IM_ERR_NOMEM, "%s", cause.message) : IM_OK;
    }
    close_list(&l);
    return rc;
}
