/* app/vlm_judge.c — judgements of pictures, from what is kept or from the server: what is asked
 * once is not asked again, also when the answer was none. */
#include "app/vlm_internal.h"
#include "base/clock.h"

#define NO_JUDGEMENT_NS VLM_DAY_NS /* an answer that was none is asked for again */
#define BLANK_TOKENS 18u

/* ---- kept answers ---- */

static void write_kept(im_json_writer *w, const im_vlm_judgement *j)
{
    im_json_begin_object(w);
    im_json_put_uint(w, "outcome", (uint64_t)j->outcome);
    im_json_put_double(w, "s", j->s);
    im_json_put_double(w, "p_yes", j->p_yes);
    im_json_put_double(w, "mass", j->mass);
    im_json_end_object(w);
}

static bool read_kept(const json_t *root, im_vlm_judgement *out)
{
    int64_t outcome = json_integer_value(json_object_get(root, "outcome"));
    bool good = outcome >= IM_VLM_JUDGED && outcome <= IM_VLM_UNREADABLE;
    if (good) {
        *out = (im_vlm_judgement){.outcome = (im_vlm_outcome)outcome,
                                  .s = json_number_value(json_object_get(root, "s")),
                                  .p_yes = json_number_value(json_object_get(root, "p_yes")),
                                  .mass = json_number_value(json_object_get(root, "mass")),
                                  .error = IM_ERROR_INIT};
    }
    return good;
}

static im_code look_up(const vlm_use *use, const uint8_t key[IM_SHA256_BYTES],
                       im_vlm_judgement *out, bool *out_found, im_error *err)
{
    json_t *root = NULL;
    int64_t made_ns = 0;
    im_code rc = vlm_kept(use->store, key, &root, &made_ns, err);
    *out_found = rc == IM_OK && root != NULL && read_kept(root, out) &&
                 (out->outcome == IM_VLM_JUDGED || im_clock_wall_ns() - made_ns < NO_JUDGEMENT_NS);
    json_decref(root);
    return rc;
}

static im_code keep(const vlm_use *use, const uint8_t key[IM_SHA256_BYTES],
                    const im_vlm_judgement *j, im_error *err)
{
    im_json_writer w;
    if (j->outcome == IM_VLM_NOT_ASKED || j->outcome == IM_VLM_FAILED) {
        return IM_OK;
    }
    im_json_init(&w, 1024);
    write_kept(&w, j);
    im_code rc = vlm_keep(use->store, key, use->server.model, IM_VLM_PROMPT_VERSION, &w, err);
    im_json_clear(&w);
    return rc;
}

/* ---- what is left to ask ---- */

typedef struct asking {
    const vlm_use *use;
    im_bytes blank;
    /* [n + 1], the blank picture at 0 */
    uint8_t (*keys)[IM_SHA256_BYTES];
    im_vlm_judgement *known;
    bool *found;
    /* [n_sent] of those that are asked now */
    size_t *places;     /* in known */
    im_bytes *pictures; /* borrowed */
    uint64_t *items, *ids;
    uint32_t *tokens;
    im_vlm_judgement *got;
    size_t n_sent;
} asking;

static void close_asking(asking *a)
{
    im_bytes_clear(&a->blank);
    im_free(a->keys);
    im_free(a->known);
    im_free(a->found);
    im_free(a->places);
    im_free(a->pictures);
    im_free(a->items);
    im_free(a->ids);
    im_free(a->tokens);
    im_free(a->got);
}

static im_code open_asking(asking *a, const vlm_use *use, size_t n, im_error *err)
{
    *a = (asking){.use = use,
                  .keys = im_alloc_zero(n, IM_SHA256_BYTES),
                  .known = im_alloc_zero(n, sizeof(*a->known)),
                  .found = im_alloc_zero(n, sizeof(*a->found)),
                  .places = im_alloc_zero(n, sizeof(*a->places)),
                  .pictures = im_alloc_zero(n, sizeof(*a->pictures)),
                  .items = im_alloc_zero(n, sizeof(*a->items)),
                  .ids = im_alloc_zero(n, sizeof(*a->ids)),
                  .tokens = im_alloc_zero(n, sizeof(*a->tokens)),
                  .got = im_alloc_zero(n, sizeof(*a->got))};
    if (a->keys == NULL || a->known == NULL || a->found == NULL || a->places == NULL ||
        a->pictures == NULL || a->items == NULL || a->ids == NULL || a->tokens == NULL ||
        a->got == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for judgements");
    }
    return im_vlm_blank(&a->blank, err);
}

/* Finds what is known and lines up the rest. */
static im_code line_up(asking *a, im_view query, const vlm_batch *batch, im_error *err)
{
    im_code rc = IM_OK;
    for (size_t i = 0; rc == IM_OK && i <= batch->n; i++) {
        const im_bytes *picture = i == 0 ? &a->blank : &batch->pictures[i - 1];
        if (picture->size == 0) {
            continue;
        }
        im_vlm_key(&a->use->server, query, picture, a->keys[i]);
        rc = look_up(a->use, a->keys[i], &a->known[i], &a->found[i], err);
        if (rc == IM_OK && !a->found[i]) {
            a->places[a->n_sent] = i;
            a->pictures[a->n_sent] = *picture;
            a->items[a->n_sent] = i == 0 ? 0 : batch->items[i - 1];
            a->tokens[a->n_sent++] = (i == 0 ? BLANK_TOKENS : batch->tokens[i - 1]) +
                                     (uint32_t)query.size; /* a token is a byte at least */
        }
    }
    return rc;
}

/* Answers and audit lines become durable together. */
static im_code note_all(asking *a, im_rerank_report *report, im_error *err)
{
    im_code rc = im_store_begin(a->use->store, err);
    if (rc != IM_OK) {
        return rc;
    }
    for (size_t i = 0; i < a->n_sent; i++) {
        const im_vlm_judgement *j = &a->got[i];
        a->known[a->places[i]] = *j;
        report->sent += j->tries > 0;
        report->tokens += j->tokens;
        report->bytes_sent += j->bytes_sent;
        report->cost_nano += vlm_use_cost(a->use, j, a->tokens[i]);
        rc = rc == IM_OK ? keep(a->use, a->keys[a->places[i]], j, err) : rc;
    }
    if (rc == IM_OK) {
        rc = vlm_use_end(a->use, a->ids, a->got, a->n_sent, err);
    }
    if (rc != IM_OK) {
        im_store_rollback(a->use->store);
        return rc;
    }
    return im_store_commit(a->use->store, err);
}

static im_code ask_rest(asking *a, im_view query, im_rerank_report *report, im_error *err)
{
    if (a->n_sent == 0) {
        return IM_OK;
    }
    size_t least = a->places[0] == 0 ? 2 : 1; /* a baseline alone is of no use */
    size_t begun = 0;
    im_code rc = vlm_use_begin_some(a->use, "rerank", a->items, a->tokens, a->n_sent, least, a->ids,
                                    &begun, err);
    if (begun > 0) { /* all, or as many of the best as the ceiling allows: the rest is not asked */
        a->n_sent = begun;
        im_code judged = im_vlm_judge(&a->use->server, &a->use->options, query, a->pictures, begun,
                                      a->got, rc == IM_OK ? err : NULL);
        rc = rc == IM_OK ? judged : rc;
        im_code noted = note_all(a, report, rc == IM_OK ? err : NULL);
        rc = rc == IM_OK ? noted : rc;
    }
    return rc;
}

im_code vlm_judge_batch(const vlm_use *use, im_view query, const vlm_batch *batch,
                        im_rerank_report *report, im_error *err)
{
    asking a;
    im_code rc = open_asking(&a, use, batch->n + 1, err);
    if (rc == IM_OK) {
        rc = line_up(&a, query, batch, err);
    }
    if (rc == IM_OK && (a.n_sent > 1 || (a.n_sent == 1 && a.places[0] != 0))) {
        rc = ask_rest(&a, query, report, err); /* a baseline alone is of no use */
    }
    for (size_t i = 0; a.known != NULL && a.found != NULL && i < batch->n; i++) {
        batch->out[i] = a.known[i + 1];
        batch->out_cached[i] = a.found[i + 1];
        batch->out_s[i] = batch->out[i].s;
        if (a.known[0].outcome == IM_VLM_JUDGED) {
            batch->out_s[i] -= a.known[0].s;
        }
    }
    close_asking(&a);
    return rc;
}
