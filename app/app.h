/* app/app.h — the use cases that the command line, the C API and the daemon share, one function
 * each; the door of app/. Nothing here prints or exits. In this order:
 *
 *   places                 where library, models and data lie
 *   a library in use       init, open, close; progress and questions of long work
 *   add                    files, folders and files of fields into the library
 *   jobs                   the same as work that is asked for and done later
 *   folders                that were added: list, add, forget, relocate
 *   search                 one query, many at once, their answers as JSON
 *   vision-language model  probe, rerank an answer, calibrate, explain, ask, allow
 *   embed                  vectors of texts and pictures
 *   rerank                 documents of a caller in the order of a query
 *   items                  show, remove, change, upload, purge
 *   pictures given out     originals and thumbnails
 *   tags                   give, take away, list
 *   API keys               make, list, revoke, look one up
 *   state                  counts and status
 *   check, rebuild, compact; audit; backup and restore; export and import; models */
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

/* ---- jobs: long work that is asked for and done later ---- */

typedef struct im_job_wish {
    const char *kind; /* "add", "rebuild", "compact", "caption", "read" */
    const char *const
        *paths; /* [n_paths] of "add": absolute, each a folder or a file that is there */
    size_t n_paths;
    /* of "caption" and "read", as of im_describe_request */
    const char *query; /* NULL: all pictures */
    size_t k;          /* best hits of a query with words; 0: 20 */
    uint64_t limit;
    bool redo, retry;
} im_job_wish;

/** Puts a job into the library. IM_ERR_INVALID for another kind, a path that is not absolute, what
 * a kind does not take, a query that the language does not have; IM_ERR_NOT_FOUND, IM_ERR_DENIED
 * for one that cannot be read. */
IM_NODISCARD im_code im_app_job_put(im_library *library, const im_job_wish *wish, uint64_t *out_id,
                                    im_error *err);
/** What the jobs that run have done so far, one of each lane, when their rows do not say it yet. */
typedef struct im_job_live {
    uint64_t ids[IM_JOB_LANES]; /* 0: none runs */
    char *progress[IM_JOB_LANES];
} im_job_live;
/** {"id","kind","state","paths","n_paths","query"?,"progress","error","made","started","ended"}; of a
 * job of kind "watch" 10 paths. not_found. */
IM_NODISCARD im_code im_app_job_json(im_library *library, uint64_t id, const im_job_live *live,
                                     im_json_writer *w, im_error *err);
/** {"jobs":[…]}, the newest first. */
IM_NODISCARD im_code im_app_jobs_json(im_library *library, const im_job_live *live,
                                      im_json_writer *w, im_error *err);
/** A job that waits is stopped; *out_running: it runs, and whoever runs it is to stop it. conflict
 * when it has ended; not_found. */
IM_NODISCARD im_code im_app_job_stop(im_library *library, uint64_t id, bool *out_running,
                                     im_error *err);
/** Before the first claim of a lane: what ran when its process died waits again. */
IM_NODISCARD im_code im_app_jobs_revive(im_library *library, im_job_lane lane, im_error *err);
IM_NODISCARD im_code im_app_jobs_count(im_library *library, uint64_t *out_waiting,
                                       uint64_t *out_running, im_error *err);
/** The oldest that waits, which runs from now on; out->id 0: none. im_job_clear. */
IM_NODISCARD im_code im_app_job_claim(im_library *library, im_job_lane lane, im_job *out,
                                      im_error *err);
/** Whether it has ended; true also when it is not known any more. */
IM_NODISCARD im_code im_app_job_ended(im_library *library, uint64_t id, bool *out_ended,
                                      im_error *err);

typedef struct im_job_end {
    im_job_state state; /* IM_JOB_WAITING: it is to be tried again, because of error */
    im_error error;
    char *progress; /* owned: JSON, the report */
} im_job_end;
void im_job_end_clear(im_job_end *end);
typedef struct im_vlm_request im_vlm_request;
/** Does a claimed job. `stopped`: it was asked to stop (the thread heeds the flag); a stop of the
 * whole program leaves it waiting instead. What failed for a reason that may pass (a model that is
 * not there, a full disk, a lock) waits again.
 * @param vlm how captions and readings are asked for; NULL: as the library's settings say */
void im_app_job_run(im_library *library, const im_job *job, const im_image_limits *limits,
                    const im_vlm_request *vlm, const atomic_bool *stopped, const im_events *events,
                    im_job_end *out);
/** Records how it ended. */
IM_NODISCARD im_code im_app_job_end(im_library *library, uint64_t id, const im_job_end *end,
                                    im_error *err);
/** Progress as it stands in a job. */
void im_progress_json(im_json_writer *w, const im_progress *progress);

/* ---- folders that were added ---- */

/** {"roots":[{"id","path","recursive","watch","online","files","missing_files","items",
 * "failures"}]}. */
IM_NODISCARD im_code im_app_roots_json(im_library *library, im_json_writer *w, im_error *err);
/** One of them; not_found. */
IM_NODISCARD im_code im_app_root_json(im_library *library, uint64_t root, im_json_writer *w,
                                      im_error *err);
/** Makes an existing folder (absolute path) a root, or finds it. Nothing is read in it. */
IM_NODISCARD im_code im_app_root_put(im_library *library, const char *path, uint64_t *out_root,
                                     im_error *err);
/** Forgets a root with its files, and pictures that have no other file; the files themselves are
 * not touched, and adding the folder brings all back. Pictures below another root stay. In many
 * short transactions: one that is interrupted has forgotten a part. not_found; conflict for the
 * folder of pictures that the library keeps itself. */
IM_NODISCARD im_code im_app_root_remove(im_library *library, uint64_t root, uint64_t *out_items,
                                        im_error *err);
typedef bool (*im_root_fn)(void *context, const im_root *root);
IM_NODISCARD im_code im_app_each_root(im_library *library, im_root_fn fn, void *context,
                                      im_error *err);

/* ---- folders that are followed ---- */

/** Whether a daemon follows the changes of a root. Takes the lock. not_found; conflict for the
 * folder of pictures that the library keeps itself. */
IM_NODISCARD im_code im_app_watch_root(im_library *library, uint64_t root, bool watch,
                                       im_error *err);
/** The same for a root by its path, there or not. IM_ERR_NOT_FOUND when no root is meant. */
IM_NODISCARD im_code im_app_watch_path(im_library *library, const char *path, bool watch,
                                       im_error *err);
/** A number that is another one when the library may have changed; costs no look at the disk. */
IM_NODISCARD im_code im_app_version(im_library *library, uint64_t *out_version, im_error *err);

typedef enum im_walk_what {
    IM_WALK_FOLDER, /* its entries come next; "" for the root */
    IM_WALK_FILE,   /* a regular file */
    IM_WALK_FAILED  /* a folder or file that could not be looked at */
} im_walk_what;
/** @param path below the root @param stamp IM_WALK_FILE @return false stops the walk */
typedef bool (*im_walk_fn)(void *context, im_walk_what what, const char *path,
                           const im_file_stamp *stamp);
/** Goes through a folder as `add` does: no links are followed, the library itself is left out.
 * @param below a folder of the root, "" = all of it @param out_complete nothing failed or stopped
 * @return IM_OK unless the first folder cannot be read */
IM_NODISCARD im_code im_app_walk(im_library *library, const char *root, const char *below,
                                 bool recursive, im_walk_fn fn, void *context, bool *out_complete,
                                 im_error *err);

/** Puts the job (IM_JOB_KIND_WATCH) that takes changes into the library: files that are there are
 * added, what is gone is marked as missing. @param paths [n] absolute, below the root, any bytes */
IM_NODISCARD im_code im_app_watch_put(im_library *library, const im_watch_mark *mark,
                                      const char *const *paths, size_t n, uint64_t *out_id,
                                      im_error *err);
/** Puts a job ("add") that walks a root which is followed, unless the same waits already. */
IM_NODISCARD im_code im_app_watch_rescan(im_library *library, const im_watch_mark *mark,
                                         uint64_t *out_id, im_error *err);

typedef struct im_relocate_report {
    uint64_t roots;     /* folders that have another place now */
    uint64_t looked_at; /* files of them, at most 1,000 of each … */
    uint64_t found;     /* … and how many are there */
} im_relocate_report;
/** A folder that was added, or one above such, has another place: files keep their items. IM_ERR_
 * NOT_FOUND, and nothing is changed, when no folder is meant, or not one of its files is found at
 * the new place; IM_ERR_CONFLICT when that was added already. */
IM_NODISCARD im_code im_app_relocate(im_library *library, const char *old_path,
                                     const char *new_path, im_relocate_report *out_report,
                                     im_error *err);

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
 * with it before it becomes active. */
IM_NODISCARD im_code im_app_model_use(im_library *library, const char *model,
                                      const im_events *events, im_error *err);
/** Folder of a model by name or path, a new string. model_not_found lists what there is. */
IM_NODISCARD im_code im_app_model_folder(const im_places *places, const char *model,
                                         char **out_folder, im_error *err);

#endif
