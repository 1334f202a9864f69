/* vlm/vlm.h — the client of a vision-language model: judges how well pictures match a query, and
 * what may follow from that; the door of vlm/. It knows no library: pictures come as JPEG bytes,
 * answers go back as values. What a server says is data; nothing in it is obeyed. */
#ifndef IM_VLM_VLM_H
#define IM_VLM_VLM_H

#include "base/error.h"
#include "base/hash.h"
#include "base/http_client.h"
#include "base/json.h"
#include "image/image.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- servers ---- */

typedef enum im_vlm_profile {
#define X(NAME, name, ...) IM_VLM_##NAME,
#include "vlm/profiles.def"
#undef X
    IM_VLM_PROFILE_COUNT
} im_vlm_profile;

/** How a judgement is read from a server's answers, best first. */
typedef enum im_vlm_mode {
    IM_VLM_MODE_NONE,      /* it cannot judge pictures */
    IM_VLM_MODE_LOGPROBS,  /* P(yes) from the log-probabilities of one token */
    IM_VLM_MODE_SYSTEMONE, /* P(yes) as /v1/systemone gives it */
    IM_VLM_MODE_RERANK,    /* relevance_score of /v1/rerank */
    IM_VLM_MODE_SCORE,     /* a number from 0 to 10, by a JSON schema */
    IM_VLM_MODE_WORD,      /* the word yes or no */
    IM_VLM_MODE_COUNT
} im_vlm_mode;

#define IM_VLM_IDS 12 /* spellings of yes and of no, together */

/** A server and what is known of it: kept in the library's settings. A plain value. */
typedef struct im_vlm_server {
    char url[512]; /* without the path of a route: "http://127.0.0.1:8080" */
    char id[48]; /* of one whose port changes: answers are kept under it in place of the URL; or ""
                  */
    char model[256]; /* "" for a server with one model */
    im_vlm_profile profile;
    im_vlm_mode mode; /* NONE: as the profile does */
    bool schema;      /* a JSON schema binds its answers */
    bool jina;        /* /v1/rerank wants "image" instead of "content" */
    size_t n_yes, n_no;
    int64_t ids[IM_VLM_IDS]; /* token ids, [n_yes] of yes then [n_no] of no; n_yes 0: not known */
    bool probed;
} im_vlm_server;

/** "auto", "llama-server" …; false when `name` is none. */
bool im_vlm_profile_of(const char *name, im_vlm_profile *out);
const char *im_vlm_profile_name(im_vlm_profile profile);
const char *im_vlm_mode_name(im_vlm_mode mode);
/** Pictures that one question to it may show; 0: it judges pictures and answers no questions. */
size_t im_vlm_most_pictures(const im_vlm_server *server);
/** IM_ERR_UNSUPPORTED for one that answers no questions. */
IM_NODISCARD im_code im_vlm_answers(const im_vlm_server *server, im_error *err);
/** Tokens that its model may spend on thoughts before it answers a question: to be added to what an
 * answer is expected to take. */
uint32_t im_vlm_thought_tokens(const im_vlm_server *server);
/** A server by what people write; "/v1" or "/v1beta" at the end of the URL is taken off. What its
 * profile is known to do is assumed until im_vlm_probe looked.
 * @return IM_ERR_INVALID for a URL that is none, a model or URL that is too long */
IM_NODISCARD im_code im_vlm_server_of(const char *url, const char *model, im_vlm_profile profile,
                                      im_vlm_server *out, im_error *err);
/** The server as a JSON object, and back (IM_ERR_FORMAT). */
void im_vlm_server_json(im_json_writer *w, const im_vlm_server *server);
IM_NODISCARD im_code im_vlm_server_read(im_view json, im_vlm_server *out, im_error *err);

/** How servers are asked. */
typedef struct im_vlm_options {
    im_http_rules rules;
    const char *key;      /* NULL: none; never in a sentence, file or answer */
    uint32_t deadline_ms; /* for all together; 0: 20 s */
    uint32_t item_ms;     /* for one judgement; 0: half of that, and 10 s at least */
    size_t parallel;      /* requests at once; 0: IM_VLM_PARALLEL */
} im_vlm_options;
#define IM_VLM_PARALLEL 4u
#define IM_VLM_MOST_PARALLEL 64u
#define IM_VLM_BREAK_AFTER 3u /* failures in a row: then it is the server's fault */
/** options->deadline_ms, with its default. */
uint32_t im_vlm_deadline_ms(const im_vlm_options *options);

/** Finds out what a server is and can: asks it for its models, then for a judgement of a built-in
 * picture, mode by mode until one works. server->profile AUTO is replaced; an empty model too,
 * when the server tells its own.
 * @return url_refused, IM_ERR_TIMEOUT, IM_ERR_UPSTREAM, IM_ERR_DENIED (key), IM_ERR_NOT_FOUND
 * (model); IM_ERR_UNSUPPORTED when it answers but judges in no mode. */
IM_NODISCARD im_code im_vlm_probe(im_vlm_server *server, const im_vlm_options *options,
                                  im_error *err);

/* ---- a llama-server of our own ---- */

typedef struct im_vlm_local_options {
    const char *program;        /* NULL: llama-server on the PATH; a name is looked for there too */
    const char *model, *mmproj; /* GGUF files */
    const char *const *arguments; /* [n_arguments] more for the server, before ours */
    size_t n_arguments;
} im_vlm_local_options;

/** What it is started with; borrows the arguments. */
typedef struct im_vlm_local_plan {
    char program[4096], model[4096], mmproj[4096]; /* absolute */
    char name[128];                                /* of the model: of its file */
    char id[48];                                   /* im_vlm_server.id, of the files' content */
    const char *const *arguments;
    size_t n_arguments;
} im_vlm_local_plan;

/** Looks at the program and the files before anything is started.
 * @return IM_ERR_NOT_FOUND, IM_ERR_DENIED; IM_ERR_FORMAT for what is no GGUF file or the wrong one
 * of the two; IM_ERR_INVALID for a missing one, and for arguments that are imago's to set */
IM_NODISCARD im_code im_vlm_local_plan_of(const im_vlm_local_options *options,
                                          im_vlm_local_plan *out, im_error *err);

/** What is told meanwhile; each may be NULL. */
typedef struct im_vlm_local_listener {
    void *context;
    void (*waiting)(void *context, double seconds); /* until it is ready, ten times a second */
    void (*line)(void *context, const char *line);  /* that the server wrote */
} im_vlm_local_listener;

/** A llama-server that runs. For one thread, which must outlive it: it is killed when that ends. */
typedef struct im_vlm_local im_vlm_local;

/** Starts a llama-server on a free port of 127.0.0.1 with a random key, which is neither in its
 * arguments nor in its environment, and waits until it is ready.
 * @param wait_ms 0: 300 s  @param listener borrowed; may be NULL
 * @return IM_ERR_UPSTREAM with its last words when it ended, IM_ERR_CONFLICT when that was because
 * of the port; IM_ERR_TIMEOUT; interrupted */
IM_NODISCARD im_code im_vlm_local_open(const im_vlm_local_plan *plan, uint32_t wait_ms,
                                       const im_vlm_local_listener *listener, im_vlm_local **out,
                                       im_error *err);
const im_vlm_server *im_vlm_local_server(const im_vlm_local *local);
const char *im_vlm_local_key(const im_vlm_local *local);
int im_vlm_local_pid(const im_vlm_local *local);
/** Waits so long at most; false when it has ended. To be called often: it reads what is written. */
bool im_vlm_local_wait(im_vlm_local *local, uint32_t ms);
/** Why it has ended, as im_vlm_local_open says it. */
IM_NODISCARD im_code im_vlm_local_why(const im_vlm_local *local, im_error *err);
/** Ends it: asked first, killed after 5 s. */
void im_vlm_local_close(im_vlm_local *local);

/* ---- what is sent ---- */

#define IM_VLM_PROMPT_VERSION "rerank-1"
#define IM_VLM_MAX_PX 448u
#define IM_VLM_LEAST_PX 112u /* of the longer side: nothing smaller is asked for */
#define IM_VLM_MOST_PX 4096u

/** Takes chat markers (<|im_end|>, <__media__>, [INST] …) and control characters out of a text, so
 * that no server reads them as its own. */
void im_vlm_clean(im_str *out, im_view text);

/** A picture as it is sent: oriented, both sides stretched to multiples of 28 so that no server
 * resizes it, the longer one at most max_px (IM_VLM_LEAST_PX to IM_VLM_MOST_PX), as a JPEG without
 * metadata. @param out_tokens (may be NULL) what it costs a model of the Qwen2.5-VL family */
IM_NODISCARD im_code im_vlm_picture(const uint8_t *bytes, size_t size, const char *name,
                                    const im_image_limits *limits, uint32_t max_px, im_bytes *out,
                                    uint32_t *out_tokens, im_error *err);
/** The blank picture that a query's baseline is measured with. */
IM_NODISCARD im_code im_vlm_blank(im_bytes *out, im_error *err);

/** What a judgement depends on, as one digest: server, model, mode, prompt, query, picture. */
void im_vlm_key(const im_vlm_server *server, im_view query, const im_bytes *picture,
                uint8_t out[IM_SHA256_BYTES]);

/* ---- judgements ---- */

typedef enum im_vlm_outcome {
    IM_VLM_NOT_ASKED, /* deadline, breaker, or before its turn */
    IM_VLM_JUDGED,
    IM_VLM_LOW_MASS,   /* the model answers something else than yes or no */
    IM_VLM_REFUSED,    /* by the model or its provider */
    IM_VLM_UNREADABLE, /* an answer, but no judgement in it */
    IM_VLM_FAILED,     /* no answer: error says why */
    IM_VLM_OUTCOME_COUNT
} im_vlm_outcome;
const char *im_vlm_outcome_name(im_vlm_outcome outcome);

typedef struct im_vlm_judgement {
    im_vlm_outcome outcome;
    double s;        /* logit(yes) - logit(no), when judged; finite */
    double p_yes;    /* when judged */
    double mass;     /* P(yes) + P(no) of the answer's first token; 1 where the mode tells none */
    uint64_t tokens; /* as the server counts, in and out; 0: not told */
    uint64_t tokens_out; /* of these, what the model wrote; 0 where they are told as one */
    uint64_t bytes_sent; /* of all tries */
    unsigned tries;
    int status; /* of the server's last answer; 0: it gave none */
    double ms;
    im_error error;
} im_vlm_judgement;

/** Judges pictures, `parallel` at once. Never fails for one of them: what became of each is in its
 * judgement. After 3 failures in a row, or at the deadline, the rest is not asked. 429 and 503 are
 * asked again, 3 times in all, when the wait the server wants fits the deadline.
 * @param query cleaned  @param pictures [n] of im_vlm_picture  @param out [n]
 * @return IM_ERR_NOMEM, url_refused: then nothing was sent */
IM_NODISCARD im_code im_vlm_judge(const im_vlm_server *server, const im_vlm_options *options,
                                  im_view query, const im_bytes *pictures, size_t n,
                                  im_vlm_judgement *out, im_error *err);

#define IM_VLM_LIST_VERSION "list-1"
#define IM_VLM_MOST_LISTED 20u

/** Lets a model put pictures in order, all in one question, asked twice: as they are and backwards.
 * Only two whole permutations count.
 * @param query cleaned  @param pictures [n], 2 to IM_VLM_MOST_LISTED
 * @param out_s [n] by the mean of both places, within ± IM_VLM_CLIP; written with IM_OK alone
 * @param out_cost of both questions; UNREADABLE when an answer was no permutation
 * @return IM_ERR_UPSTREAM for that; IM_ERR_UNSUPPORTED (a profile that knows no questions); what
 * kept the server from answering */
IM_NODISCARD im_code im_vlm_list(const im_vlm_server *server, const im_vlm_options *options,
                                 im_view query, const im_bytes *pictures, size_t n, double *out_s,
                                 im_vlm_judgement *out_cost, im_error *err);
/** What such an order depends on, as one digest. */
void im_vlm_list_key(const im_vlm_server *server, im_view query, const im_bytes *pictures, size_t n,
                     uint8_t out[IM_SHA256_BYTES]);

/** A question about no, one or several pictures. */
typedef struct im_vlm_question {
    im_view text; /* the whole prompt, cleaned where it holds words of others */
    const im_bytes
        *pictures; /* [n_pictures] of im_vlm_picture; of several each has its number, from 1 */
    size_t n_pictures;
    const char *schema; /* JSON text: binds the answer where the server can */
    bool object;        /* the answer is to be an object also where no schema binds it */
    uint32_t max_tokens;
    uint64_t start_ns; /* what options->deadline_ms counts from; 0: now */
    /** Called with the model's text so far each time it has grown; NULL: the answer comes at once.
     * What it returns, when that is a failure, ends the answer. */
    im_code (*told)(void *context, im_view text, im_error *err);
    void *context;
} im_vlm_question;
/** Asks it; 429 and 503 again, as im_vlm_judge does.
 * @param out_json where a schema binds, or an object is wanted: the answer, whole and an object;
 * json_decref @param out_text else: the text, without thoughts and fences
 * @param out_cost also after a failure (NOT_ASKED: nothing was sent); its
 * status tells a request that was refused
 * @return url_refused, IM_ERR_TIMEOUT, IM_ERR_UPSTREAM (also for an answer that is none, broke off
 * or was refused), IM_ERR_BUSY, IM_ERR_DENIED (key), IM_ERR_NOT_FOUND (model), interrupted;
 * IM_ERR_UNSUPPORTED for more pictures than the server is shown */
IM_NODISCARD im_code im_vlm_answer(const im_vlm_server *server, const im_vlm_options *options,
                                   const im_vlm_question *question, json_t **out_json,
                                   im_str *out_text, im_vlm_judgement *out_cost, im_error *err);
/** Of an object that is still being written: the text under `key`, as far as it is there; for
 * showing only. */
void im_vlm_partial(im_view text, const char *key, im_str *out);
/** What an answer depends on, as one digest: server, model, version and text of the prompt,
 * pictures. */
void im_vlm_question_key(const im_vlm_server *server, const char *version,
                         const im_vlm_question *question, uint8_t out[IM_SHA256_BYTES]);

/* ---- descriptions ---- */

typedef enum im_vlm_wish {
    IM_VLM_CAPTION, /* what a picture shows */
    IM_VLM_READ,    /* the text that can be read in it */
    IM_VLM_WISH_COUNT
} im_vlm_wish;
const char *im_vlm_wish_name(im_vlm_wish wish);    /* "caption", "read" */
const char *im_vlm_wish_version(im_vlm_wish wish); /* of its prompt */
uint32_t im_vlm_wish_px(im_vlm_wish wish);         /* longer side of the picture, unless told */
uint32_t im_vlm_wish_tokens(im_vlm_wish wish);     /* of the answer, at most */

/** Asks for a description of a picture.
 * @param out plain text (im_vlm_plain), 1,000 bytes of a caption or 16 KiB of a text at most; empty
 * when there is nothing to be read @param out_cost REFUSED, UNREADABLE: it is the picture's own
 * fate
 * @return as of im_vlm_answer */
IM_NODISCARD im_code im_vlm_describe(const im_vlm_server *server, const im_vlm_options *options,
                                     im_vlm_wish wish, const im_bytes *picture, im_str *out,
                                     im_vlm_judgement *out_cost, im_error *err);
/** What of a model's words is the description. IM_ERR_UPSTREAM when there is none. */
IM_NODISCARD im_code im_vlm_description(im_vlm_wish wish, im_view answer, im_str *out,
                                        im_error *err);
/** Appends a text as it may be kept and shown anywhere: valid UTF-8 without chat markers, HTML
 * tags, control and hidden characters; blanks are single; cut behind a sentence or word at `most`
 * bytes.
 * @param lines lines stay lines @return false when memory is out */
bool im_vlm_plain(im_str *out, im_view text, size_t most, bool lines);

/* ---- what follows: blending ---- */

#define IM_VLM_CLIP 2.0
#define IM_VLM_MOST_WEIGHT 0.5 /* until calibrated */

/** How judgements count: x = clip((s - offset) * scale), final = z + weight * x. */
typedef struct im_vlm_weights {
    double offset, scale, weight; /* scale > 0, 0 <= weight <= 1 */
    bool calibrated;
} im_vlm_weights;
im_vlm_weights im_vlm_weights_default(void);
/** The same within what is allowed: an uncalibrated weight of at most IM_VLM_MOST_WEIGHT; values
 * that are not finite count as weight 0. */
im_vlm_weights im_vlm_weights_bound(im_vlm_weights weights);

/** Weights for orders of im_vlm_list: calibrations are of single judgements, so it is
 * IM_VLM_MOST_WEIGHT at most, and 0 for a judge whose calibration gave 0. */
im_vlm_weights im_vlm_weights_list(im_vlm_weights weights);

/** Blends first-stage scores with judgements. |out_final[i] - z[i]| <= IM_VLM_CLIP * weight; hits
 * without a judgement keep their score.
 * @param z [n] standardised first-stage scores, best first
 * @param s [n] judgements minus the baseline @param has [n]
 * @param out_final [n] @param out_order [n] places in z, best first; ties stay as they stood */
void im_vlm_blend(const im_vlm_weights *weights, const double *z, const double *s, const bool *has,
                  size_t n, double *out_final, size_t *out_order);

/* ---- calibration ---- */

/** Judged hits of one query, in first-stage order. */
typedef struct im_vlm_judged {
    size_t n;
    const double *z;    /* [n] */
    const double *s;    /* [n] minus the baseline */
    const bool *has;    /* [n] */
    const double *gain; /* [n] >= 0: how relevant each is */
} im_vlm_judged;

typedef struct im_vlm_fit {
    im_vlm_weights weights;  /* weight 0 when the judge does not help */
    double ndcg_first;       /* mean nDCG@10 of the first stage … */
    double ndcg_blended;     /* … and with the weights, on queries they were not fitted on */
    double gain, gain_error; /* mean difference by query and its standard error */
    size_t n_queries;
} im_vlm_fit;

/** Fits offset, scale and weight by nDCG@10; 5 folds over queries. The weight is 0 unless the gain
 * on held-out queries is above twice its standard error.
 * @return IM_ERR_INVALID for fewer than 10 queries; IM_ERR_NOMEM */
IM_NODISCARD im_code im_vlm_calibrate(const im_vlm_judged *queries, size_t n, im_vlm_fit *out,
                                      im_error *err);

#endif
