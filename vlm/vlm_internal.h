/* vlm/vlm_internal.h — what the files of vlm/ share: what is asked, what an answer says, and the
 * codecs between these and bytes. The codecs know no sockets. */
#ifndef IM_VLM_VLM_INTERNAL_H
#define IM_VLM_VLM_INTERNAL_H

#include "base/base.h"
#include "vlm/vlm.h"

#define VLM_ANSWER_BYTES (1u << 20)
#define VLM_LEAST_MS 20u /* with less left nothing is begun */
#define VLM_LEAST_WAIT_S 0.2
#define VLM_LEAST_MASS 0.1 /* P(yes) + P(no) below which there is no judgement */

/* ---- what is asked ---- */

typedef struct vlm_question {
    im_vlm_mode mode; /* of the judgement that is wanted; MODE_NONE: a free or schema-bound text */
    im_view text;     /* RERANK, SYSTEMONE: the query; else the whole prompt */
    const im_bytes *pictures; /* [n_pictures] JPEG */
    size_t n_pictures;
    bool numbered;      /* "Picture 1:" stands before the first, and so on */
    const char *schema; /* JSON text, or NULL */
    uint32_t max_tokens;
    bool stream; /* the answer is to come as it is written … */
    im_code (*told)(void *context, im_view text,
                    im_error *err); /* … and is told: all of it so far */
    void *context;
} vlm_question;
#define VLM_LABEL "Picture %zu:"

/** The prompt of a judgement in a mode. */
void vlm_prompt(im_str *out, im_vlm_mode mode, im_view query);
extern const char vlm_score_schema[];
/** Adds a text and its size. */
void vlm_hash_text(im_sha256 *hash, const char *data, size_t size);
/** Whom an answer is of: the URL, or what stays the same when that does not; and the model. */
void vlm_hash_server(im_sha256 *hash, const im_vlm_server *server);
/** Writes "data:image/jpeg;base64,…" as a JSON string (bare: without the head). */
void vlm_put_picture(im_json_writer *w, const im_bytes *picture, bool bare);

/* ---- what an answer says ---- */

/** Log-probabilities of the first token, of spellings of yes and no. */
typedef struct vlm_labels {
    size_t n;           /* entries that were listed with a number */
    double yes, no;     /* sums of probabilities … */
    size_t n_yes, n_no; /* … of so many entries */
    double listed;      /* sum of all listed */
    double least;       /* the smallest log-probability listed */
    struct {
        bool has_id;
        int64_t id;
        char bytes[24];
        size_t size;
        double logprob;
    } seen[64]; /* labels that were counted: one that comes twice counts once */
    size_t n_seen;
} vlm_labels;

typedef struct vlm_reply {
    im_str text;     /* of the model, thoughts left out */
    bool refused;    /* by a filter or in the answer's own field */
    bool cut;        /* at the limit of tokens */
    bool ended;      /* the server said why it is at its end */
    bool has_labels; /* the answer has log-probabilities */
    vlm_labels labels;
    bool has_p; /* SYSTEMONE */
    double p;
    uint64_t tokens, tokens_out;
} vlm_reply;

void vlm_reply_init(vlm_reply *reply);
void vlm_reply_clear(vlm_reply *reply);

/** A listed token: bytes, or a text when there are none; ids of the server tell its labels when it
 * has them. Numbers that are none (NaN, -9999, above 0) are passed over. */
void vlm_labels_add(vlm_labels *labels, const im_vlm_server *server, const json_t *id,
                    im_view bytes, double logprob);
/** log(p / (1 - p)), within what judgements may be: 20 at most. */
double vlm_logit(double p);
/** What a reply says in a mode. */
void vlm_reply_judge(const vlm_reply *reply, im_vlm_mode mode, im_vlm_judgement *out);
/** The text without thoughts before it, blanks and a Markdown fence around it. */
im_view vlm_reply_plain(const vlm_reply *reply);
/** The JSON object in a model's text: without a Markdown fence around it and thoughts before it.
 * IM_ERR_UPSTREAM when it is none or cut. */
IM_NODISCARD im_code vlm_reply_object(const vlm_reply *reply, json_t **out, im_error *err);

/** An answer's failure: its status and what the server says of it, in any of the forms that
 * servers use. IM_OK for 2xx. *out_wait_s: how long the server wants to be left alone; < 0: it says
 * nothing. */
IM_NODISCARD im_code vlm_status(const im_vlm_server *server, const im_http_answer *answer,
                                double *out_wait_s, im_error *err);

/* ---- codecs ---- */

typedef im_code vlm_object_fn(void *context, const json_t *root, im_error *err);

/** An answer that is being read. */
typedef struct vlm_reading {
    const im_vlm_server *server;
    vlm_reply *out;
    bool has_answer;
} vlm_reading;

void vlm_chat_write(im_json_writer *w, const im_vlm_server *server, const vlm_question *question);
/** The reader of one answer, or of server-sent events. IM_ERR_UPSTREAM for what is no answer. */
vlm_object_fn vlm_chat_object; /* of a vlm_reading: a whole answer, or one event */
IM_NODISCARD im_code vlm_chat_read(const im_vlm_server *server, im_view body, vlm_reply *out,
                                   im_error *err);

void vlm_gemini_write(im_json_writer *w, const im_vlm_server *server, const vlm_question *question);
vlm_object_fn vlm_gemini_object;
IM_NODISCARD im_code vlm_gemini_read(const im_vlm_server *server, im_view body, vlm_reply *out,
                                     im_error *err);

void vlm_systemone_write(im_json_writer *w, const im_vlm_server *server,
                         const vlm_question *question);
IM_NODISCARD im_code vlm_systemone_read(im_view body, vlm_reply *out, im_error *err);

void vlm_rerank_write(im_json_writer *w, const im_vlm_server *server, const vlm_question *question);
/** @param out_scores [n] in [0, 1] @param out_has [n] @param out_strange results that name no
 * picture, one twice, or have no score in [0, 1] */
IM_NODISCARD im_code vlm_rerank_read(im_view body, size_t n, double *out_scores, bool *out_has,
                                     size_t *out_strange, uint64_t *out_tokens, im_error *err);

/** Parses one answer as JSON; IM_ERR_UPSTREAM with the parser's sentence. */
IM_NODISCARD im_code vlm_parse(im_view body, json_t **out, im_error *err);
uint64_t vlm_count(const json_t *object, const char *key);

/* ---- events.c ---- */

/** Server-sent events from bytes in pieces; an answer that is no stream is one object. */
typedef struct vlm_events {
    vlm_object_fn *fn;
    void *context;
    im_str line, data; /* of the line and the event under way */
    bool decided, stream;
    bool after_cr;
    bool done; /* "[DONE]" came: what follows is passed over */
} vlm_events;

void vlm_events_init(vlm_events *events, vlm_object_fn *fn, void *context);
/** Calls fn with the JSON of each event that is whole. IM_ERR_UPSTREAM; what fn returned. */
IM_NODISCARD im_code vlm_events_add(vlm_events *events, im_view piece, im_error *err);
/** There is no more. */
IM_NODISCARD im_code vlm_events_end(vlm_events *events, im_error *err);
void vlm_events_clear(vlm_events *events);
/** The same with a whole answer. */
IM_NODISCARD im_code vlm_each_object(im_view body, vlm_object_fn *fn, void *context, im_error *err);

typedef im_code vlm_told_fn(void *context, im_view text, im_error *err);
/** An answer that becomes a reply as it comes; `told` (may be NULL) gets the text so far each time
 * that it has grown. */
typedef struct vlm_stream {
    vlm_events events;
    vlm_reading reading;
    size_t n_told;
    vlm_told_fn *told;
    void *context;
} vlm_stream;

void vlm_stream_init(vlm_stream *stream, const im_vlm_server *server, vlm_reply *reply,
                     vlm_told_fn *told, void *context);
/** @param context the vlm_stream */
IM_NODISCARD im_code vlm_stream_add(void *context, im_view piece, im_error *err);
/** IM_ERR_UPSTREAM also for an answer that broke off: no reason of its end, and no "[DONE]". */
IM_NODISCARD im_code vlm_stream_end(vlm_stream *stream, im_error *err);
void vlm_stream_clear(vlm_stream *stream);

/* ---- asking ---- */

/** A question as the body of a request, and what the body of an answer says, by the codec of the
 * server and the mode. An answer of mode RERANK is left as text: whoever asked reads it. */
void vlm_write_body(im_json_writer *w, const im_vlm_server *server, const vlm_question *question);
IM_NODISCARD im_code vlm_read_body(const im_vlm_server *server, const vlm_question *question,
                                   im_view body, vlm_reply *reply, im_error *err);

/** The URL of the route that a question goes to. */
IM_NODISCARD im_code vlm_url(const im_vlm_server *server, im_vlm_mode mode, bool stream,
                             im_str *out, im_error *err);
/** "Authorization: Bearer KEY" or Gemini's header. */
IM_NODISCARD im_code vlm_secret(const im_vlm_server *server, const char *key, im_str *out,
                                im_error *err);
/** Asks one question and reads the answer. The cost (tokens, bytes, ms) is added to *cost.
 * *out_wait_s as of vlm_status. */
IM_NODISCARD im_code vlm_ask(im_http_client *client, const im_vlm_server *server,
                             const im_vlm_options *options, const vlm_question *question,
                             uint32_t timeout_ms, vlm_reply *reply, im_vlm_judgement *cost,
                             double *out_wait_s, im_error *err);

uint32_t vlm_left_ms(uint64_t start_ns, uint32_t deadline_ms);
/** options->item_ms, with its default. */
uint32_t vlm_item_ms(const im_vlm_options *options);
/** The same until there is an answer, or no use in another try: a server that was busy is asked
 * again, 3 times in all, when the wait that it wants fits what is left of options->deadline_ms
 * since start_ns. @param most_ms of one try */
IM_NODISCARD im_code vlm_ask_patiently(im_http_client *client, const im_vlm_server *server,
                                       const im_vlm_options *options, const vlm_question *question,
                                       uint64_t start_ns, uint32_t most_ms, vlm_reply *reply,
                                       im_vlm_judgement *cost, im_error *err);

#endif
