/* app/vlm_internal.h — what the uses of a vision-language model share: which server, with which
 * weights, and the store where answers are kept and sends are noted. */
#ifndef IM_APP_VLM_INTERNAL_H
#define IM_APP_VLM_INTERNAL_H

#include "app/app_internal.h"

#define VLM_SERVER_SETTING "vlm"
#define VLM_DAY_NS (INT64_C(86400) * 1000000000)

/** A server ready to be asked. Cleared by vlm_use_close. */
typedef struct vlm_use {
    im_vlm_server server;
    im_vlm_options options; /* borrows hosts and the request's key */
    im_vlm_weights weights;
    char host[256];
    uint64_t daily_tokens;      /* 0: no ceiling */
    double price_in, price_out; /* of a million tokens; both 0: not known */
    double daily_cost;          /* 0: no ceiling */
    uint32_t max_px;
    char *host_text;     /* owned: names, each with its NUL */
    const char **hosts;  /* owned array */
    char *own_key;       /* owned: of the llama-server that is kept for the library; or NULL */
    im_store *store;     /* for writing */
    im_store *own_store; /* it, when it is not the library's */
} vlm_use;

/** Reads settings and request. `out` is to be closed in each case.
 * @param asked_only the request alone counts: for im_app_vlm_probe
 * @return IM_ERR_INVALID when no server is known; url_refused; why the library cannot be written */
IM_NODISCARD im_code vlm_use_open(im_library *library, const im_vlm_request *request,
                                  bool asked_only, vlm_use *out, im_error *err);
void vlm_use_close(vlm_use *use);

/** Finds out what the server in use can (im_vlm_probe), with a line of vlm_audit. */
IM_NODISCARD im_code vlm_use_probe(vlm_use *use, im_error *err);
/** Keeps weights for the server in use. */
IM_NODISCARD im_code vlm_use_keep_weights(const vlm_use *use, const im_vlm_weights *weights,
                                          im_error *err);
/** Notes pictures that are about to be sent; vlm_budget_spent, and nothing is noted, when their
 * tokens would pass the day's ceiling.
 * @param items [n], 0: the blank picture @param tokens [n] expected @param out_ids [n] */
IM_NODISCARD im_code vlm_use_begin(const vlm_use *use, const char *purpose, const uint64_t *items,
                                   const uint32_t *tokens, size_t n, uint64_t *out_ids,
                                   im_error *err);
/** The same for one request that shows n pictures: one line. */
IM_NODISCARD im_code vlm_use_begin_one(const vlm_use *use, const char *purpose,
                                       const uint64_t *items, size_t n, uint32_t tokens,
                                       uint64_t *out_id, im_error *err);
/** The same as far as the ceilings allow, in the order of the list.
 * @param least with fewer nothing is noted @param out_n how many were noted
 * @return vlm_budget_spent also when some were noted (*out_n > 0) but not all */
IM_NODISCARD im_code vlm_use_begin_some(const vlm_use *use, const char *purpose,
                                        const uint64_t *items, const uint32_t *tokens, size_t n,
                                        size_t least, uint64_t *out_ids, size_t *out_n,
                                        im_error *err);
/** Whether prices are known: without one all costs are 0. */
bool vlm_use_priced(const vlm_use *use);
/** Tokens that an answer is expected to take: the picture's and the answer's, and with them those
 * of the prompt and of thoughts. */
uint64_t vlm_use_expected(const vlm_use *use, uint32_t tokens);
/** What an answer cost, in billionths of the unit of the prices; `expected` tokens where the server
 * told none. */
uint64_t vlm_use_cost(const vlm_use *use, const im_vlm_judgement *judgement, uint32_t expected);
/** What all processes sent since midnight UTC. */
IM_NODISCARD im_code vlm_spent_today(im_store *store, im_vlm_spent *out, im_error *err);
/** "cost" in the unit of the prices, null without prices. */
void vlm_put_cost(im_json_writer *w, bool priced, uint64_t cost_nano);
/** Notes what became of them; joins the caller's transaction. */
IM_NODISCARD im_code vlm_use_end(const vlm_use *use, const uint64_t *ids,
                                 const im_vlm_judgement *judgements, size_t n, im_error *err);

/** A picture of the library as it is sent, unless its folder said no (*out_allowed false). */
IM_NODISCARD im_code vlm_use_picture(im_library *library, const vlm_use *use, uint64_t item,
                                     im_bytes *out, uint32_t *out_tokens, bool *out_allowed,
                                     im_error *err);
/** The texts of a query as one, cleaned: "red car; without: night". Empty when it has none. */
void vlm_query_text(const im_query_part *parts, size_t n, im_str *out);

/** Judgements of n pictures, from the cache or the server; the blank one's is the baseline.
 * Pictures of size 0 are passed over.
 * @param out [n] @param out_s [n] minus the baseline @param report tokens, bytes, counts are added
 * @return what kept all from being sent; out is filled as far as the cache knows */
typedef struct vlm_batch {
    const uint64_t *items;    /* [n] */
    const im_bytes *pictures; /* [n] */
    const uint32_t *tokens;   /* [n] */
    size_t n;
    im_vlm_judgement *out; /* [n] */
    double *out_s;         /* [n] */
    bool *out_cached;      /* [n] */
} vlm_batch;
IM_NODISCARD im_code vlm_judge_batch(const vlm_use *use, im_view query, const vlm_batch *batch,
                                     im_rerank_report *report, im_error *err);

/* ---- vlm_kept.c ---- */

/** A kept answer. @param out NULL: none is; json_decref @param out_made_ns when there is one */
IM_NODISCARD im_code vlm_kept(im_store *store, const uint8_t key[IM_SHA256_BYTES], json_t **out,
                              int64_t *out_made_ns, im_error *err);
/** @param version of the prompt @param w the answer; joins the caller's transaction */
IM_NODISCARD im_code vlm_keep(im_store *store, const uint8_t key[IM_SHA256_BYTES],
                              const char *model, const char *version, const im_json_writer *w,
                              im_error *err);

/* ---- vlm_local.c ---- */

/** The llama-server that is kept for the library in `folder` right now. IM_ERR_BUSY while it
 * starts.
 * @param out_key owned by the caller, when found */
IM_NODISCARD im_code vlm_local_find(const char *folder, im_vlm_server *out, char **out_key,
                                    bool *out_found, im_error *err);

/* ---- vlm_rerank.c, vlm_list.c ---- */

/** What belongs to the hits that are judged. */
typedef struct reranking {
    size_t n;
    im_vlm_judgement *judgements;
    uint64_t *items;
    im_bytes *pictures; /* owned bytes, while they are judged */
    uint32_t *tokens;
    double *z, *s, *final;
    bool *has, *cached;
    size_t *order;
    bool gathered;  /* pictures are there */
    im_error first; /* why one was not sent */
} reranking;

/** To be closed in each case. */
IM_NODISCARD im_code reranking_open(reranking *r, size_t n, im_error *err);
void reranking_close(reranking *r);
/** Fills z, s, has and judgements of the first r->n hits of an answer, and the report's status.
 * @return only what has nothing to do with the server: memory, a damaged library */
IM_NODISCARD im_code reranking_judge(im_library *library, const vlm_use *use, im_view query,
                                     const im_answer *answer, reranking *r,
                                     im_rerank_report *report, im_error *err);

/** Fills s, has and judgements from an order of all gathered pictures. *out_listed false: the model
 * gave none, report->no_list says why, and nothing was filled. Codes as of reranking_judge. */
IM_NODISCARD im_code vlm_list_hits(const vlm_use *use, im_view query, reranking *r,
                                   im_rerank_report *report, bool *out_listed, im_error *err);

#endif
