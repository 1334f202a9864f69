/* app/app.h — the use cases that the command line, the C API and the daemon share, one function
 * each; the door of app/ with app_jobs.h and app_vlm.h, which it includes. Nothing here prints or
 * exits. In this order:
 *
 *   places                 where library, models and data lie
 *   a library in use       init, open, close; progress and questions of long work
 *   add                    files, folders and files of fields into the library
 *   search                 one query, many at once, their answers as JSON
 *   embed                  vectors of texts and pictures
 *   rerank                 documents of a caller in the order of a query
 *   items                  show, remove, change, upload, purge
 *   pictures given out     originals and thumbnails
 *   tags                   give, take away, list
 *   API keys               make, list, revoke, look one up
 *   state                  counts and status
 *   check, rebuild, compact; audit; backup and restore; export and import; models
 *   app_jobs.h             jobs, which are asked for and done later; folders that were added, and
 *                          those that are followed; relocate
 *   app_vlm.h              the vision-language model: probe, rerank an answer, calibrate, explain,
 *                          ask, describe, allow, keep a server */
#ifndef IM_APP_APP_H
#define IM_APP_APP_H

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "encoder/encoder.h"
#include "index/index.h"
#include "query/query.h"
#include "store/store.h"
#include "vlm/vlm.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IM_VERSION "0.1.0"

/* ---- places ---- */

/** Where things lie; all owned strings. The only place that reads the environment's folders. */
typedef struct im_places {
    char *library; /* --library, IMAGO_LIBRARY, $XDG_DATA_HOME/imago/default */
    char *models;  /* $XDG_DATA_HOME/imago/models: the user's */
    char *packed;  /* $XDG_CACHE_HOME/imago/packed: packed weights; NULL: there is none */
    char *share;   /* IMAGO_DATA, or share/imago of the install prefix, or data/ of a source tree */
} im_places;

/** @param library  what --library named, or NULL */
IM_NODISCARD im_code im_places_find(const char *library, im_places *out, im_error *err);
void im_places_clear(im_places *places);
/** Where the daemon of a library listens for the command line: $XDG_RUNTIME_DIR/imago/HASH.sock,
 * the hash of the library's real path. *out_path is new (im_free); NULL when there is no such
 * folder, or its name is too long for a socket. */
IM_NODISCARD im_code im_app_socket_path(const im_places *places, char **out_path, im_error *err);

/* ---- a library in use ---- */

typedef struct im_library im_library;

typedef struct im_library_options {
    const im_places *places; /* borrowed for the call */
    bool writable;
    bool packs;               /* makes a file of packed weights that is missing although it only
                               * reads: for those who open a model before anybody waits */
    const char *model;        /* NULL: the library's active one; else a folder or name */
    im_precision precision;   /* IM_PRECISION_AUTO */
    im_engine engine;         /* IM_ENGINE_AUTO */
    size_t threads;           /* 0: what the machine has */
    const char *index_params; /* how hard engine ivf or hnsw searches, "nprobe=64": with that engine
                               * named; NULL: as the library's setting says */
    uint64_t memory_bytes;    /* private memory for index, queues and decoders together; 0: three
                               * fifths of what the cgroup allows, or as much as there is */
} im_library_options;

/** Makes an empty library at places->library. IM_ERR_CONFLICT when there is one. */
IM_NODISCARD im_code im_app_init(const im_places *places, im_error *err);
/** Opens an existing library. Model and index are opened when first needed. One thread at a time.
 */
IM_NODISCARD im_code im_library_open(const im_library_options *options, im_library **out_library,
                                     im_error *err);
void im_library_close(im_library *library);
im_store *im_library_store(im_library *library);

/** Progress of long work. */
typedef struct im_progress {
    const char *stage;    /* "preparing model", "packing model", "adding", "embedding" … */
    uint64_t done, total; /* total 0: not known yet */
    uint64_t failed;
    double seconds;
    double rate;  /* per second, over the last seconds */
    double eta_s; /* < 0: not known */
} im_progress;

/** What long work tells its caller; each may be NULL. All are called on the caller's thread. */
typedef struct im_events {
    void *context;
    void (*progress)(void *context, const im_progress *progress);
    /* a file that could not be taken; path is raw bytes */
    void (*failed)(void *context, const char *path, const im_error *error);
    void (*warning)(void *context, const char *sentence);
    /* a question with the answer no by default; NULL: no */
    bool (*confirm)(void *context, const char *question);
} im_events;

/* ---- add ---- */

#define IM_GONE_UNASKED 50u /* files; more that are gone may be a folder that is not mounted */
#define IM_WATCH_YOUNG_NS 2000000000 /* a file that changed since may still be written */

/** A root whose changes somebody follows, as it was when that began: another folder at its place (a
 * disk that is not mounted) tells nothing of its files. */
typedef struct im_watch_mark {
    uint64_t root;
    uint64_t device, inode;
    bool witnessed; /* the system told what went away: nobody is asked, however much it is */
} im_watch_mark;

typedef struct im_add_request {
    const char *const *paths; /* files and folders */
    size_t n_paths;
    bool no_recursion;
    bool follow_links;
    bool prune;        /* delete rows of vanished files, after asking */
    bool retry_failed; /* try files again whose failure is recorded */
    bool as_found;     /* files are taken as a walk takes them: nobody named them */
    bool watch;        /* each path is a root, or becomes one, and is followed from now on */
    bool leave_young;  /* files that changed within IM_WATCH_YOUNG_NS are left as they are */
    /* NULL, or the root that is followed; with `changed` paths are what has changed below it, files
     * and folders, there or gone; else they are walked as ever */
    const struct im_watch_mark *mark;
    bool changed;
    bool exact_decode;
    bool uploads; /* the files are uploads kept by the library: items are told so */
    im_image_limits limits;
    size_t decoders;  /* threads; 0 = as many as the machine has */
    size_t batch;     /* pictures of a forward pass; 0 = 8 */
    const char *meta; /* NULL, or a file of fields, keys, tags and captions (docs/manual.md),
                         applied after the paths, of which there may then be none */
} im_add_request;

typedef struct im_stage_time {
    const char *name; /* "prepare" (of the model, before all others), "scan", "read",
                          "hash" (and look up), "decode", "encode", "write" */
    double busy_s;    /* summed over its threads */
    size_t threads;
} im_stage_time;

#define IM_ADD_STAGES 7
#define IM_ADD_NO_STAGE IM_ADD_STAGES

typedef struct im_skip_count {
    char what[24]; /* "webp", "not a picture" … */
    uint64_t n;
} im_skip_count;

typedef struct im_add_report {
    uint64_t added;  /* items made */
    uint64_t linked; /* new paths of content already there */
    uint64_t unchanged, moved, updated, failed, partial, skipped, missing, pruned, known_failures;
    double seconds;
    bool interrupted;
    bool ended;        /* all was gone through: an error that is returned is that of single files */
    bool offline_root; /* a root was not there: nothing of it was touched */
    bool has_meta;
    uint64_t meta_set, meta_failed; /* lines of the meta file */
    uint64_t meta_replaced;         /* items that lost their key to another one */
    im_skip_count skips[16];
    size_t n_skips;
    uint64_t memory_bytes;               /* the budget; 0: none */
    uint64_t memory_private_bytes;       /* most private memory seen */
    uint64_t memory_mapped_bytes;        /* of files, at the end */
    im_stage_time stages[IM_ADD_STAGES]; /* without names when no path was given */
} im_add_report;

/** Indexes files and folders, then applies the meta file. IM_OK; IM_ERR_PARTIAL when some files or
 * lines failed (the first failure's code when all did); interrupted (IM_ERR_PARTIAL) after a stop
 * signal. A meta file that cannot be read fails before any work. The report is filled in each case.
 */
IM_NODISCARD im_code im_app_add(im_library *library, const im_add_request *request,
                                const im_events *events, im_add_report *out_report, im_error *err);
/** Whether a meta file can be read at all (its header too), before there is a library. */
IM_NODISCARD im_code im_app_meta_check(const char *path, im_error *err);
/** The stage whose threads were busiest, for which all others waited (place in stages,
 * IM_ADD_NO_STAGE when none worked). "prepare" comes before them and never does.
 * @param out_shares [IM_ADD_STAGES] busy part of each one's time; of all for "prepare" */
size_t im_add_pace(const im_add_report *report, double *out_shares);
/** The report as the "done" line of `imago add --json`. */
void im_add_report_json(im_json_writer *w, const im_add_report *report);

/* ---- search ---- */

/** How queries are answered, whatever they ask for. All zero: nothing left out, no standard input.
 */
typedef struct im_search_how {
    uint64_t leave_out; /* 0: none; an item id (similar id:N) */
    uint64_t only;      /* 0: all; an item id: nothing else can be a hit */
    bool exact_decode;
    bool inside_roots; /* pictures by path: only files in folders that were added (path_refused) */
    im_image_limits limits;
    /** Gives the picture that "@-" stands for, borrowed until the search has ended; NULL: refused.
     */
    im_code (*read_input)(void *context, im_view *out_bytes, im_error *err);
    /** Gives the picture that a path stands for, borrowed likewise; NULL: the file is read. */
    im_code (*read_file)(void *context, const char *path, im_view *out_bytes, im_error *err);
    void *context;
} im_search_how;

typedef struct im_search_request {
    const char *text;           /* a query in the language (docs/manual.md), or NULL */
    const im_query_part *parts; /* [n_parts], literally, behind those of text */
    size_t n_parts;
    const char *filter; /* joined to that of text by "and", or NULL */
    bool all;           /* with neither text nor parts nor filter: a listing of all pictures */
    const char *sort;   /* a field, "score", or NULL: by score, a listing the newest first */
    im_order order;
    const char *group; /* "FIELD" or "FIELD:n": at most n (1) hits of each value; or NULL */
    im_combine combine;
    size_t k;
    uint64_t offset;
    const char *cursor; /* NULL: from the start */
    bool has_min_score; /* only hits of at least min_score … */
    float min_score;
    im_search_mode mode;
    im_search_how how;
} im_search_request;

typedef struct im_search_hit {
    uint64_t rank; /* from 1, offset counted */
    im_item item;
    char *path; /* raw bytes, owned; NULL when the item has no file */
    char *name; /* of an item without a file, owned; else NULL */
    bool online;
    float score;          /* 0 in a listing */
    float *cosines;       /* [n_parts], owned by the answer */
    float *contributions; /* [n_parts] */
    bool has_rerank;      /* it was among those to be judged: */
    uint64_t from_rank;   /* where it stood before */
    im_vlm_judgement judgement;
    double s;     /* of the judgement, minus the baseline of a blank picture */
    double final; /* standardised score and what the judgement added; hits are in its order */
} im_search_hit;

/** What a vision-language model did to an answer. */
typedef struct im_rerank_report {
    const char *status; /* NULL: not asked for; "done", "partial", "failed", "skipped" */
    char reason[384];   /* why it is not "done" */
    char model[256];
    const char *mode;  /* im_vlm_mode_name, or "listwise" */
    char no_list[256]; /* why a list that was asked for is not what orders them */
    size_t n;          /* hits that were to be judged … */
    size_t judged;     /* … that were … */
    size_t cached;     /* … and of which that was known before */
    size_t sent;       /* pictures, the blank one too */
    size_t moved;      /* hits whose rank changed */
    uint64_t tokens, bytes_sent;
    bool priced;        /* prices are known: */
    uint64_t cost_nano; /* billionths of the unit that they are in */
    double ms;
    im_vlm_weights weights;
} im_rerank_report;

typedef struct im_answer {
    char *query; /* as text in the language */
    char model[128];
    size_t n_parts;       /* 0: a listing */
    im_query_part *parts; /* owned, what was asked */
    im_combine combine;
    size_t k;
    bool has_total;
    uint64_t total; /* hits that can be paged through, when has_total */
    uint64_t filtered, scanned;
    bool exact;
    const char *engine;
    bool has_min_score; /* the lowest score that was let through, asked for or not */
    float min_score;
    char *cursor; /* owned; NULL when there is no next page */
    double parse_ms, encode_ms, search_ms, fetch_ms;
    char *warnings[8];
    size_t n_warnings;
    im_search_hit *hits;
    size_t n_hits;
    im_rerank_report rerank;
} im_answer;

/** Answers one query. IM_ERR_INVALID for what the query language refuses, naming the column. */
IM_NODISCARD im_code im_app_search(im_library *library, const im_search_request *request,
                                   im_answer *out_answer, im_error *err);

/** Reads queries as JSON (im_query_requests_read), with the library's own fields. */
IM_NODISCARD im_code im_app_read_requests(im_library *library, im_view json, const char *name,
                                          im_query_requests *out, im_error *err);
/** Reads one query of words, options and literal parts as im_app_read_requests reads JSON; its
 * `how` is not looked at. Codes as of im_app_search. @param out im_query_request_clear */
IM_NODISCARD im_code im_app_read_search(im_library *library, const im_search_request *request,
                                        im_query_request *out, im_error *err);
/** Answers n queries at one moment of the library, with one pass over the codes. A query's own
 * failure stops no other: it is in out_errors[i], and out_answers[i] is then all zero.
 * @param requests [n]; their parts move into the answers
 * @param out_answers [n] @param out_errors [n]
 * @return IM_OK, also when queries failed; else what stopped all: no answer is set then */
IM_NODISCARD im_code im_app_search_many(im_library *library, const im_search_how *how,
                                        im_query_request *requests, size_t n,
                                        im_answer *out_answers, im_error *out_errors,
                                        im_error *err);
void im_answer_clear(im_answer *answer);
/** The object of design section 6. */
void im_answer_json(im_json_writer *w, const im_answer *answer);

/* ---- embed ---- */

typedef struct im_embed_input {
    bool is_text;
    const char *value; /* text, or path of a picture */
} im_embed_input;

typedef struct im_embed_request {
    const char *model; /* folder or name; NULL: the library's active one, else the bundled one */
    im_precision precision;
    const im_embed_input *inputs;
    size_t n_inputs;
    size_t threads;
    size_t batch;
    bool exact_decode;
    im_image_limits limits;
} im_embed_request;

typedef struct im_embed_result {
    char model[128];
    size_t dim;
    size_t n;
    float *vectors;   /* [n, dim]; rows of failed inputs are zero */
    im_error *errors; /* [n]; code IM_OK where it worked */
    bool *cut;        /* [n]; text was cut at the context */
} im_embed_result;

/** Needs no library. IM_OK, IM_ERR_PARTIAL, or the first failure's code when all failed (the result
 * is filled in these cases too). */
IM_NODISCARD im_code im_app_embed(const im_places *places, const im_embed_request *request,
                                  im_embed_result *out_result, im_error *err);

/** {"model","dimensions","data":[{"index","type","input","embedding"|"error"}]} */
void im_embed_json(im_json_writer *w, const im_embed_request *request,
                   const im_embed_result *result);

/** One thing to embed with the model of an open library. Borrowed. */
typedef struct im_embed_piece {
    im_view text;    /* data NULL: it is the picture … */
    im_view picture; /* … of these bytes */
} im_embed_piece;

/** Embeds pieces, all texts in one pass; a piece's own failure is in out_result->errors[i] and
 * stops no other. Rows are those of im_app_embed. n 0 tells model and dim alone.
 * @param out_tokens [n] of each text, with begin and end, 0 for pictures; may be NULL when n is 0
 * @return IM_OK, also when pieces failed; library_empty when the library has no model yet */
IM_NODISCARD im_code im_app_embed_many(im_library *library, const im_embed_piece *pieces, size_t n,
                                       const im_image_limits *limits, im_embed_result *out_result,
                                       size_t *out_tokens, im_error *err);
void im_embed_result_clear(im_embed_result *result);

/** Width and height of a picture after orientation, from its head alone. As im_image_probe. */
IM_NODISCARD im_code im_app_picture_size(im_view bytes, const im_image_limits *limits,
                                         uint32_t out_sides[2], im_error *err);

/** A model that is open beside the library's. One thread at a time. */
typedef struct im_embedder im_embedder;
/** @param model a name or folder; of options places, precision and threads are looked at
 * @return as im_app_model_folder; what the model's files are not */
IM_NODISCARD im_code im_embedder_open(const im_library_options *options, const char *model,
                                      im_embedder **out_embedder, im_error *err);
void im_embedder_close(im_embedder *embedder);
/** As im_app_embed_many; n is 1 or more. */
IM_NODISCARD im_code im_embedder_run(im_embedder *embedder, const im_embed_piece *pieces, size_t n,
                                     const im_image_limits *limits, im_embed_result *out_result,
                                     size_t *out_tokens, im_error *err);
/** *out: whether the model of this name or folder is the one of the library. False, too, when there
 * is no such model. */
IM_NODISCARD im_code im_app_model_is_active(im_library *library, const char *model, bool *out,
                                            im_error *err);

/** The folder of the library's model (the caller's to free), and what it computes with: with these
 * im_app_embed gives the rows of im_app_embed_many. library_empty when it has no model yet. */
IM_NODISCARD im_code im_app_embed_model(im_library *library, char **out_folder,
                                        im_precision *out_precision, im_error *err);

/* ---- rerank: documents of a caller in the order of a query ---- */

/** How near documents are to a query. */
typedef struct im_rerank_result {
    char model[128];
    size_t n;
    double *scores;   /* [n]: (cosine - mean) / deviation of the query among unrelated things of the
                       * document's kind: pictures of the model's background, or shipped texts.
                       * Without these the cosine alone */
    size_t *order;    /* [n]: the best first, equal ones as they came */
    im_error *errors; /* [n + 1]: of the query, then of each document; IM_OK where it worked */
    size_t n_failed;  /* when it is not 0, scores and order say nothing */
    size_t tokens;    /* of all texts */
} im_rerank_result;

/** Scores documents by the vectors of im_app_embed_many, so that texts and pictures can stand in
 * one list: cosines of two texts are far higher than those of a text and a picture.
 * @param pieces [1 + n]: the query, then the documents
 * @return as im_app_embed_many; pieces that fail are in out_result->errors */
IM_NODISCARD im_code im_app_rerank(im_library *library, const im_embed_piece *pieces, size_t n,
                                   const im_image_limits *limits, im_rerank_result *out_result,
                                   im_error *err);
/** The share of unrelated things that are expected to be less like the query than what has this
 * score, as if these were normally distributed: 0 to 1, 0.5 for what is like the average one. */
double im_rerank_relevance(double score);
void im_rerank_result_clear(im_rerank_result *result);

/* ---- items ---- */

/** Reads "17", "id:17", "#17". */
bool im_item_id_parse(const char *text, uint64_t *out_id);

/** One item with all its paths as a JSON object (design: `show`). */
IM_NODISCARD im_code im_app_show_json(im_library *library, uint64_t item, im_json_writer *w,
                                      im_error *err);

typedef struct im_remove_request {
    const uint64_t *items;
    size_t n_items;
    const char *const *paths; /* files: their items; folders: all items below, after asking */
    size_t n_paths;
} im_remove_request;
/** Takes items out of the library; never touches the user's files. IM_OK, IM_ERR_NOT_FOUND,
 * IM_ERR_PARTIAL. */
IM_NODISCARD im_code im_app_remove(im_library *library, const im_remove_request *request,
                                   const im_events *events, uint64_t *out_removed, im_error *err);

/** What is said of one item, as JSON: {"key": "k"|null, "tags": […]|null|{"add": […], "remove":
 * […]}, "fields": {"name": value|null}, "caption": "text"|null}. What is not named stays as it is.
 */
typedef struct im_item_change {
    im_view json;      /* borrowed */
    const char *name;  /* of it, for the sentences: "request body" */
    bool may_take_key; /* a key that another item has moves, and that item is removed
                          (im_store_put_key); else that is key_taken */
} im_item_change;
/** Changes an item in one transaction, or not at all. IM_ERR_INVALID for what is wrong with the
 * JSON, its names or values; item_not_found; key_taken. */
IM_NODISCARD im_code im_app_change_item(im_library *library, uint64_t item,
                                        const im_item_change *change, im_error *err);

/** A picture that comes as bytes. Borrowed. */
typedef struct im_upload {
    im_view bytes;
    const char *name; /* for the sentences */
} im_upload;

typedef struct im_upload_request {
    const im_upload *uploads;
    size_t n;
    const im_item_change *change; /* of each; NULL: none. A key fits one picture alone */
    im_image_limits limits;
} im_upload_request;

typedef struct im_upload_result {
    uint64_t item;  /* 0: it failed */
    bool created;   /* else the library had this content already */
    im_error error; /* also when the picture was added and its change failed */
} im_upload_result;

/** Keeps pictures under the library's originals/ and adds them; what the library has a file of is
 * not kept again. Durable on return. A picture's own failure stops no other, and nothing of it is
 * kept. When the disk fails, files that no item has may stay.
 * @param out_results [n] @return IM_OK, also when pictures failed; else what stopped all */
IM_NODISCARD im_code im_app_upload(im_library *library, const im_upload_request *request,
                                   im_upload_result *out_results, im_error *err);

/** As im_app_remove of one item; its files under originals/ are deleted too, never others.
 * @param out_files how many */
IM_NODISCARD im_code im_app_purge_item(im_library *library, uint64_t item, const im_events *events,
                                       uint64_t *out_files, im_error *err);
/** After a library was moved its originals/ are where it is now. Takes the lock when there is
 * something to do. */
IM_NODISCARD im_code im_app_settle_originals(im_library *library, im_error *err);

/* ---- pictures given out ---- */

/** SHA-256 of an item's content in hexadecimal. item_not_found. */
IM_NODISCARD im_code im_app_digest(im_library *library, uint64_t item, char out[65], im_error *err);

typedef struct im_original {
    int fd; /* the caller closes it */
    im_file_stamp stamp;
    im_format format; /* by content */
    char sha256[65];
} im_original;
/** Opens a file of an item that still holds its content, from below the folder it was added from,
 * wherever links lead. item_not_found, IM_ERR_NOT_FOUND also when it has changed. */
IM_NODISCARD im_code im_app_open_original(im_library *library, uint64_t item, im_original *out,
                                          im_error *err);

#define IM_THUMBNAIL_STEP_PX 64u
#define IM_THUMBNAIL_MOST_PX 2048u
/** The size that is made when so much is wanted: the next multiple of the step. */
uint32_t im_thumbnail_px(uint32_t wanted);
/** A JPEG whose longer side is at most im_thumbnail_px(px), from thumbs/ or made and kept there.
 * *out is the caller's. item_not_found; what reading and decoding gave. */
IM_NODISCARD im_code im_app_thumbnail(im_library *library, uint64_t item, uint32_t px,
                                      const im_image_limits *limits, im_bytes *out, im_error *err);

/* ---- tags ---- */

typedef struct im_tag_request {
    const uint64_t *items;
    size_t n_items;
    const char *const *paths; /* files: their items; folders: all items below */
    size_t n_paths;
    const char *const *add; /* [n_add] */
    size_t n_add;
    const char *const *remove; /* [n_remove] */
    size_t n_remove;
} im_tag_request;

typedef struct im_tag_report {
    uint64_t items;          /* named */
    uint64_t added, removed; /* tags of items */
    bool interrupted;
} im_tag_report;

/** Gives items tags and takes tags away. A tag to be removed that no named item has is a warning.
 * IM_OK, tag_invalid (nothing is changed), IM_ERR_NOT_FOUND, IM_ERR_PARTIAL. */
IM_NODISCARD im_code im_app_tag(im_library *library, const im_tag_request *request,
                                const im_events *events, im_tag_report *out_report, im_error *err);
/** {"items":[{"id","path","tags":[…]}]} of what is named; without a name {"tags":[{"name",
 * "items"}]}, all tags of the library with how many items have them. Codes as of im_app_tag. */
IM_NODISCARD im_code im_app_tags_json(im_library *library, const im_tag_request *request,
                                      const im_events *events, im_json_writer *w, im_error *err);

/* ---- API keys ---- */

#define IM_KEY_PREFIX "imago_" /* so that a key that got lost is found as one */
#define IM_KEY_TEXT 71u        /* with the NUL: 256 random bits behind the prefix, in hex */

typedef struct im_new_key {
    uint64_t id;
    im_key_scope scope;
    char text[IM_KEY_TEXT]; /* shown once: the library keeps its hash alone */
} im_new_key;

/** @param name what it is for, or NULL
 * @return IM_ERR_INVALID for a name that cannot be; IM_ERR_LIMIT; as im_library_open */
IM_NODISCARD im_code im_app_key_add(im_library *library, const char *name, im_key_scope scope,
                                    im_new_key *out, im_error *err);
/** {"keys":[{"id","name","scope","made","revoked"}]}, revoked ones too. */
IM_NODISCARD im_code im_app_keys_json(im_library *library, im_json_writer *w, im_error *err);
/** The key is refused from now on, also by a daemon that runs. key_not_found. */
IM_NODISCARD im_code im_app_key_revoke(im_library *library, uint64_t id, im_error *err);

/** Tells what keys may do, always as of now; a store of its own, for one thread. */
typedef struct im_guard im_guard;
typedef struct im_guard_facts {
    bool any;           /* keys were made, though all may be revoked */
    size_t n_valid;     /* that are not */
    im_key_scope scope; /* of the key asked for; none when it is no valid one */
} im_guard_facts;
IM_NODISCARD im_code im_guard_open(const im_places *places, im_guard **out, im_error *err);
/** Costs microseconds while the library does not change.
 * @param key data NULL: none
 * @return IM_ERR_BUSY, IM_ERR_IO, IM_ERR_NOMEM … when the library cannot be read: nothing is
 * allowed then */
IM_NODISCARD im_code im_guard_look(im_guard *guard, im_view key, im_guard_facts *out,
                                   im_error *err);
void im_guard_close(im_guard *guard);

/* ---- state ---- */

typedef struct im_library_facts {
    uint64_t items, vectors; /* of the active model */
    uint64_t index_rows, index_bytes, database_bytes;
    double audited_at; /* seconds since 1970; 0: no audit has been kept */
    double recall[2];  /* of that audit: texts, pictures; < 0: none were asked */
    char audited_engine[16];
    uint64_t vlm_sends, vlm_tokens, vlm_cost_nano; /* to the vision-language model today (UTC) */
} im_library_facts;
/** What a server tells those who watch it; cheap, but it counts rows. */
IM_NODISCARD im_code im_app_facts(im_library *library, im_library_facts *out, im_error *err);
/** How many pictures there are, and how many of them have a vector of the library's model. Counts
 * rows: 8 ms at 100,000 items. */
IM_NODISCARD im_code im_app_count(im_library *library, uint64_t *out_items, uint64_t *out_vectors,
                                  im_error *err);

/** Counts, model, engine, sizes, roots as a JSON object. */
IM_NODISCARD im_code im_app_status_json(im_library *library, im_json_writer *w, im_error *err);

/* ---- check, rebuild, compact ---- */

typedef struct im_check_report {
    uint64_t findings;
    uint64_t index_findings; /* of rebuildable files */
    uint64_t items, vectors;
} im_check_report;
typedef struct im_check_request {
    bool full; /* model files are digested again, originals hashed */
} im_check_request;
/** Database, vectors against the database, index files. IM_OK; IM_ERR_DAMAGED when the database has
 * findings; IM_ERR_FORMAT (index_damaged) when only rebuildable files have. Findings go to
 * events->warning. */
IM_NODISCARD im_code im_app_check(im_library *library, const im_check_request *request,
                                  const im_events *events, im_check_report *out_report,
                                  im_error *err);

typedef struct im_rebuild_request {
    bool has_engine;  /* choose the library's engine and make its file, nothing else */
    im_engine engine; /* auto, tiered: imago's own scans, a FAISS file is dropped; ivf, hnsw */
    const char *index_params; /* "nlist=4096,nprobe=64"; NULL: as before with the same engine; ""
                               * for the defaults */
} im_rebuild_request;

typedef struct im_rebuild_report {
    uint64_t vectors;     /* rows of the index */
    im_faiss_record file; /* of the engine chosen; generation 0: none was made */
    im_engine engine;     /* the library's setting */
} im_rebuild_report;
/** Makes the index files anew from the database, that of a chosen FAISS engine too, and embeds
 * items that lack a vector. With has_engine only that engine's file is made (the rest too when it
 * is damaged) and the engine becomes what searches use above IM_INDEX_PROVED_ROWS rows.
 * @param request NULL: no engine named
 * @return as im_index_faiss_build; IM_ERR_INVALID for another engine or a wrong parameter;
 * IM_ERR_BUSY when the index was made anew meanwhile; interrupted: nothing has changed */
IM_NODISCARD im_code im_app_rebuild(im_library *library, const im_rebuild_request *request,
                                    const im_events *events, im_rebuild_report *out_report,
                                    im_error *err);
/** "auto", "scan", "flat", "tiered", "ivf", "hnsw". */
const char *im_engine_name(im_engine engine);

typedef struct im_compact_report {
    uint64_t rows;    /* of the index now */
    uint64_t dropped; /* rows of removed pictures that it held; 0: there was nothing to do */
    uint64_t freed_bytes;
} im_compact_report;
/** Writes the vector file again without the rows of removed pictures; searches go on meanwhile.
 * `add` and removals do it by themselves when a quarter of the rows, and 1,000, are dead.
 * IM_ERR_FULL when there is no room for the new file beside the old one; interrupted; the index is
 * then as it was. */
IM_NODISCARD im_code im_app_compact(im_library *library, const im_events *events,
                                    im_compact_report *out_report, im_error *err);

/* ---- audit ---- */

typedef struct im_audit_request {
    size_t n_queries; /* of each kind; 0: 200 */
    size_t k;         /* of recall@k; 0: 10 */
    double want;      /* recall to propose parameters for, in (0, 1]; 0: none */
    bool fast;        /* the index as with --fast */
    bool apply; /* the proposal becomes the library's setting, when it reached what was wanted */
} im_audit_request;

typedef struct im_audit_report {
    const char *engine; /* of the index that was held against the exact answer */
    uint64_t rows;      /* alive */
    size_t k;
    im_audit audit;
    im_audit_times times[2]; /* texts, pictures */
    double want;             /* as asked */
    bool has_proposal;
    im_audit_proposal proposal;
    char params[128]; /* the proposal as text: "nprobe=64,candidates=4" */
    bool applied;
} im_audit_report;

/** Holds the index, as searches use it, against the exact answer: with texts from the calibration
 * data, encoded by the library's model, and with pictures of the library, each left out of its own
 * answer. What is missing (no texts) is told to events->warning. A library that is open for writing
 * keeps the recall for im_app_facts.
 * @return as im_app_search; IM_ERR_UNSUPPORTED for a wanted recall with an engine that has nothing
 * to choose; IM_ERR_NOT_FOUND (library_empty, engine_file_missing) */
IM_NODISCARD im_code im_app_audit(im_library *library, const im_audit_request *request,
                                  const im_events *events, im_audit_report *out_report,
                                  im_error *err);
void im_audit_report_json(im_json_writer *w, const im_audit_report *report);

/* ---- backup ---- */

/** The library in one file (im_store_backup); damage that it found is told to events->warning. */
IM_NODISCARD im_code im_app_backup(im_library *library, const char *file, const im_events *events,
                                   im_backup_facts *out, im_error *err);
/** places->library becomes that of a backup (im_store_restore). A library that is there is replaced
 * after asking (confirmation_needed). Its index is made anew. */
IM_NODISCARD im_code im_app_restore(const im_places *places, const char *file, bool accept_damage,
                                    const im_events *events, im_backup_facts *out, im_error *err);

/* ---- moving in and out (docs/formats/exchange.md) ---- */

typedef struct im_export_report {
    uint64_t rows;
    size_t dim;
    uint64_t without_vector; /* items left out */
    uint64_t bytes;
    double seconds;
} im_export_report;
/** Writes vectors.npy, items.jsonl and model.json, as of one moment, into `folder`, which appears
 * as a whole or not at all. IM_ERR_CONFLICT when something is there already that is no empty
 * folder; library_empty; IM_ERR_FULL; interrupted. */
IM_NODISCARD im_code im_app_export(im_library *library, const char *folder, const im_events *events,
                                   im_export_report *out_report, im_error *err);
void im_export_report_json(im_json_writer *w, const im_export_report *report);

typedef struct im_import_request {
    const char *folder;
    bool trust_model; /* without a model.json: the vectors are of the library's model */
    bool normalise;   /* vectors of another length are made unit length */
} im_import_request;

typedef struct im_import_report {
    uint64_t rows;  /* that were taken in */
    uint64_t added; /* items made; the rest of the rows: */
    uint64_t merged,
        unchanged;     /* rows of items that were there: something was new to them, or not */
    uint64_t replaced; /* items whose key went to another one */
    uint64_t normalised;
    uint64_t without_file; /* rows whose item has no picture file */
    double seconds;
    bool interrupted;
} im_import_report;
/** Takes such a folder in. All of it is checked before anything is written: vector_invalid naming
 * file and row, model_mismatch, IM_ERR_INVALID for counts that differ, IM_ERR_FORMAT,
 * IM_ERR_UNSUPPORTED for another dtype. A library without a model gets one as by im_app_add. A row
 * whose digest is known is not added again, so that it can be repeated after an interruption. */
IM_NODISCARD im_code im_app_import(im_library *library, const im_import_request *request,
                                   const im_events *events, im_import_report *out_report,
                                   im_error *err);
/** The report as the "done" line of `imago import --json`. */
void im_import_report_json(im_json_writer *w, const im_import_report *report);

/* ---- models ---- */

/** {"models":[{"name","folder","source","active"}]} of the user's, the bundled and the library's.
 */
IM_NODISCARD im_code im_app_model_list_json(const im_places *places, im_library *library_or_null,
                                            im_json_writer *w, im_error *err);
/** Facts of one model (name or folder; NULL: the library's, or the bundled one). Which precision it
 * computes with is known of the models of a library. */
IM_NODISCARD im_code im_app_model_info_json(const im_places *places, im_library *library_or_null,
                                            const char *model, im_json_writer *w, im_error *err);
/** Makes the file of packed weights of a model (NULL: the library's, or the bundled one) unless it
 * is there and whole, for the precision that it is used with; what bf16 gains is measured when that
 * is not known of this processor and the library is writable.
 * {"model","file","bytes","made","kernel","precision" …}; an error when there is no file in the
 * end. */
IM_NODISCARD im_code im_app_model_warm(const im_places *places, im_library *library_or_null,
                                       const char *model, im_precision wanted,
                                       const im_events *events, im_json_writer *w, im_error *err);
/** Makes a model the library's active one: prepares it (digest, background) and embeds every item
 * with it before it becomes active, in the library's precision class unless it was opened with a
 * precision of the other. Items that cannot be embedded stay without a vector (partial); when none
 * can be, the library stays as it is. */
IM_NODISCARD im_code im_app_model_use(im_library *library, const char *model,
                                      const im_events *events, im_error *err);
/** Folder of a model by name or path, a new string. model_not_found lists what there is. */
IM_NODISCARD im_code im_app_model_folder(const im_places *places, const char *model,
                                         char **out_folder, im_error *err);

#include "app/app_jobs.h"
#include "app/app_vlm.h"

#endif
