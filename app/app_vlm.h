/* app/app_vlm.h — part of the door app.h: what a vision-language model is asked for. */
#ifndef IM_APP_APP_VLM_H
#define IM_APP_APP_VLM_H

#include "app/app.h"

/* ---- the vision-language model ---- */

/** How it is asked. All zero: as the library's settings say. */
typedef struct im_vlm_request {
    const char *url;          /* NULL: of the setting that im_app_vlm_probe made */
    const char *model;        /* NULL: that of the setting, or the server's only one */
    im_vlm_profile profile;   /* IM_VLM_AUTO */
    const char *const *hosts; /* [n_hosts] that may be asked beside this machine */
    size_t n_hosts;
    const char *key; /* NULL: none */
    uint32_t deadline_ms, item_ms;
    size_t parallel;
    uint64_t daily_tokens;      /* ceiling of a day (UTC), audit lines counted; 0: of the setting */
    double price_in, price_out; /* of a million tokens read and written; 0: of the setting */
    double daily_cost;          /* ceiling of a day (UTC) in the prices' unit; 0: of the setting */
    bool listwise;              /* rerank: all hits as one list first, at most IM_VLM_MOST_LISTED */
    uint32_t max_px;            /* longer side of what is sent; 0: IM_VLM_MAX_PX */
} im_vlm_request;

/** Looks at a server (im_vlm_probe) and keeps what it is and can in the library's settings, with
 * the hosts, prices and ceilings of the request; never the key. Codes as of im_vlm_probe. */
IM_NODISCARD im_code im_app_vlm_probe(im_library *library, const im_vlm_request *request,
                                      im_vlm_server *out_server, im_error *err);
/** Lets a model judge the first n hits of an answer by score and puts them into the order of
 * score + judgement. Never fails for the server's sake: answer->rerank says what was done, and hits
 * without a judgement keep their score. Needs the library's folder to be writable: nothing is sent
 * without a line of vlm_audit. The answer's cursor stays that of the first stage.
 * @return IM_ERR_INVALID (no text in the query, another order than by score, no server known),
 * url_refused, IM_ERR_NOMEM */
IM_NODISCARD im_code im_app_vlm_rerank(im_library *library, const im_vlm_request *request, size_t n,
                                       im_answer *answer, im_error *err);
typedef struct im_vlm_calibration {
    im_vlm_fit fit;
    size_t n_queries, n_judged; /* queries, and hits of them that were judged */
    uint64_t tokens;
    bool interrupted;
} im_vlm_calibration;
/** Fits how much the model's judgements count, on queries with known answers, and keeps it for
 * this server and model. Each line of `file` is {"query": "red car", "relevant": [17, {"id": 23,
 * "gain": 2}]}; the first n hits of each query are judged, those that are not listed are not
 * relevant. IM_ERR_INVALID naming the line; the server's failure when it answers nothing. */
IM_NODISCARD im_code im_app_vlm_calibrate(im_library *library, const im_vlm_request *request,
                                          const char *file, size_t n, const im_events *events,
                                          im_vlm_calibration *out, im_error *err);
/** Why an item is a hit of a query: the share of each part, as a JSON object. With `vlm` (NULL:
 * without) the model's own words too, bound to a schema, each attribute held against the picture's
 * vector: what that does not support is dropped and listed. The words move no hit.
 * @return as of im_app_search; IM_ERR_NOT_FOUND when the item does not pass the query's filter;
 * with `vlm` the server's failure, url_refused, vlm_budget_spent */
IM_NODISCARD im_code im_app_explain(im_library *library, const im_search_request *request,
                                    uint64_t item, const im_vlm_request *vlm, im_json_writer *w,
                                    im_error *err);
/** The same of an answer whose one hit is the item (im_search_how.only, k 1, exact); the answer may
 * be of another handle on the library. */
IM_NODISCARD im_code im_app_explain_hit(im_library *library, uint64_t item, const im_answer *answer,
                                        const im_vlm_request *vlm, im_json_writer *w,
                                        im_error *err);
/** Which server would be asked; *out_known false: none is known. Asks nobody. */
IM_NODISCARD im_code im_app_vlm_known(im_library *library, const im_vlm_request *request,
                                      im_vlm_server *out_server, bool *out_known, im_error *err);
#define IM_ASK_K 5u     /* hits that a question is about, unless told … */
#define IM_ASK_MOST 16u /* … and at most */
typedef enum im_ask_status {
    IM_ASK_NOTHING,  /* no hit is like the query: nobody was asked */
    IM_ASK_ANSWERED, /* text and references */
    IM_ASK_ABSTAINED /* the model cannot tell */
} im_ask_status;
const char *im_ask_status_name(im_ask_status status);

typedef struct im_ask_left_out {
    uint64_t item;
    char why[384];
} im_ask_left_out;

typedef struct im_ask_result {
    im_ask_status status;
    char *text;      /* owned, plain UTF-8 of at most 4,000 bytes; NULL unless answered */
    char model[256]; /* that answered */
    uint64_t items[IM_ASK_MOST]; /* [n_items] of the pictures that were sent, picture 1 first */
    size_t n_items;
    size_t references[IM_ASK_MOST]; /* [n_references] numbers of such pictures, each once */
    size_t n_references;
    size_t n_dropped; /* references to what was not sent */
    size_t n_unseen;  /* pictures that were sent and of which the server said nothing */
    im_ask_left_out left_out[IM_ASK_MOST]; /* [n_left_out] hits that were not sent */
    size_t n_left_out;
    bool together; /* one request showed all pictures; else each had one of its own */
    bool cached;   /* the answer was known */
    size_t requests;
    uint64_t tokens, bytes_sent;
    bool priced;        /* prices are known: */
    uint64_t cost_nano; /* billionths of the unit that they are in */
    double ms;
} im_ask_result;

/** Told while it is answered; each may be NULL. On the caller's thread. */
typedef struct im_ask_told {
    void (*sent)(void *context, const im_ask_result *result); /* items and left_out are known */
    /** More of the answer, safe to show; the result's text is what counts. Without it a server is
     * not asked to send its words as they come. */
    void (*words)(void *context, im_view more);
    void *context;
} im_ask_told;

/** Asks the model a question about the hits of an answer: those that may be sent, best first. What
 * it says is bound by a schema where its server can; each send has its line in vlm_audit, answers
 * are kept as of im_app_vlm_rerank.
 * @param question plain words @param answer of im_app_search, k at most IM_ASK_MOST
 * @param told NULL: the answer comes at once @param out im_ask_result_clear
 * @return IM_ERR_INVALID (no question, no server known), url_refused, vlm_budget_spent,
 * IM_ERR_DENIED when none of the hits may be sent, IM_ERR_UNSUPPORTED (profile rerank),
 * IM_ERR_UPSTREAM, IM_ERR_TIMEOUT, interrupted */
IM_NODISCARD im_code im_app_ask(im_library *library, const im_vlm_request *request,
                                im_view question, const im_answer *answer, const im_ask_told *told,
                                im_ask_result *out, im_error *err);
void im_ask_result_clear(im_ask_result *result);
/** "pictures" and "left_out" of that object. */
void im_ask_pictures_json(im_json_writer *w, const im_answer *answer, const im_ask_result *result);
void im_ask_json(im_json_writer *w, im_view question, const im_answer *answer,
                 const im_ask_result *result);
/** Whether pictures of a folder that was added may be sent. */
IM_NODISCARD im_code im_app_vlm_allow(im_library *library, const char *folder, bool allowed,
                                      im_error *err);

/** What is to be written of which pictures. */
typedef struct im_describe_request {
    im_vlm_wish wish;
    const im_search_request
        *search;        /* a query with words or pictures: its k best hits; filters
                         * alone: all that pass; NULL: all pictures whose file is there */
    im_vlm_request vlm; /* deadline_ms is of one picture (0: 120 s), max_px 0 im_vlm_wish_px */
    uint64_t limit;     /* pictures that are asked about; 0: all */
    uint64_t tokens;    /* ceiling of this run; 0: none */
    uint32_t seconds;   /* nothing is begun after them; 0: no end */
    bool redo;          /* also what this model and prompt have described before */
    bool retry;         /* also what they failed at */
    /* of each text that was written, NULL: nothing to be read; on the caller's thread; or NULL */
    void (*told)(void *context, uint64_t item, const char *path, const char *text);
    void *context;
} im_describe_request;

typedef struct im_describe_report {
    char model[256];
    uint64_t items; /* that are meant; the rest of them was not reached: */
    uint64_t described, none;
    uint64_t known;          /* described before, by this model and prompt */
    uint64_t known_failures; /* failed before */
    uint64_t denied;         /* of folders that are not to be sent */
    uint64_t failed;
    uint64_t sent, tokens, bytes_sent;
    bool priced;         /* prices are known: */
    uint64_t cost_nano;  /* billionths of their unit */
    const char *stopped; /* NULL, "limit", "tokens", "seconds", "interrupted", "daily ceiling",
                          * "failures", "error" */
    double seconds;
} im_describe_report;

/** Writes captions, or the text that can be read, into the library: rows of source vlm with model
 * and prompt version, found by +"…" and `caption:`. Texts of the user stay beside them. Each is
 * durable when it is told; what is there is not asked again, nor what has no text, nor, until
 * retry, a picture that the model or its decoder failed at. After three failures in a row, which
 * are then the server's and are not remembered, nothing more is begun.
 * @return IM_OK, also when limit, tokens or seconds ended it; IM_ERR_PARTIAL when pictures failed
 * (the first one's code when nothing was described); interrupted; vlm_budget_spent; the server's
 * failure. The report is filled in each case */
IM_NODISCARD im_code im_app_describe(im_library *library, const im_describe_request *request,
                                     const im_events *events, im_describe_report *out_report,
                                     im_error *err);
/** The report as the "done" line of `imago caption --json`. */
void im_describe_report_json(im_json_writer *w, const im_describe_report *report);

/** A llama-server that is kept running for a library. */
typedef struct im_vlm_keep_request {
    im_vlm_local_options server;
    uint32_t wait_ms; /* until it is ready; 0: 300 s */
    bool restarts_set;
    unsigned restarts; /* after so many failures in a row it is given up; unless set: 5 */
    const char *by;    /* IM_VLM_KEPT_BY_START … */
    /* each may be NULL; on the caller's thread */
    void (*ready)(void *context, const im_vlm_server *server, int pid);
    void (*line)(void *context, const char *line); /* that the server wrote */
    void *context;
} im_vlm_keep_request;
#define IM_VLM_KEPT_BY_START "vlm start"
#define IM_VLM_KEPT_BY_SERVE "serve"

/** What would keep it from starting, without starting it (im_vlm_local_plan_of). */
IM_NODISCARD im_code im_app_vlm_keep_check(const im_vlm_keep_request *request, im_error *err);
/** Runs a llama-server on this machine until im_stop_asked: probed, started again when it ends,
 * after 1, 2, 4 … 32 s. While it is ready everybody who asks the library's model without naming
 * another asks this one, by the file `vlm-server` of the library, which holds its key and is its
 * user's alone.
 * @return IM_OK after a stop; IM_ERR_CONFLICT when one is kept already; as im_vlm_local_open when
 * it never was ready, and, with the number of failures, when it is given up */
IM_NODISCARD im_code im_app_vlm_keep(im_library *library, const im_vlm_keep_request *request,
                                     const im_events *events, im_error *err);
/** {"local":"none"|"starting"|"ready","pid","by","url","model","mode","probed":{…}|null}; no key.
 */
IM_NODISCARD im_code im_app_vlm_status_json(im_library *library, im_json_writer *w, im_error *err);
/** Ends what `imago vlm start` keeps, and waits for it. IM_ERR_NOT_FOUND; IM_ERR_CONFLICT when a
 * daemon keeps it; IM_ERR_TIMEOUT. */
IM_NODISCARD im_code im_app_vlm_stop(im_library *library, im_error *err);

/** "rerank" of an answer's JSON. */
void im_rerank_json(im_json_writer *w, const im_rerank_report *report);

#endif
