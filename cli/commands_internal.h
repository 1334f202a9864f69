/* cli/commands_internal.h — what the commands share: one run of the program. */
#ifndef IM_CLI_COMMANDS_INTERNAL_H
#define IM_CLI_COMMANDS_INTERNAL_H

#include "app/app.h"
#include "cli/cli_internal.h"

typedef struct cli_session {
    cli_args *args;
    cli_output out;   /* standard output: results */
    cli_output words; /* standard error: words for people */
    cli_progress progress;
    im_places places;
    bool event_lines;         /* `add --json`: events are lines of the result */
    im_json_writer *findings; /* `check --json`: warnings go into this array */
    char told[384];           /* the first failure shown: the last word need not repeat it */
} cli_session;

/* One function a command, named in commands.def. */
#define X(ID, words, operands, role, min, max, stop, function, ...) \
    IM_NODISCARD im_code function(cli_session *s, im_error *err);
#include "cli/commands.def"
#undef X

/* ---- run.c ---- */
/** What --library, --model, --precision, --engine and --threads ask for; borrows s->places. */
im_library_options cli_library_options(cli_session *s, bool writable);
/** Opens the library of --library with --model, --precision, --engine, --threads. */
IM_NODISCARD im_code cli_open_library(cli_session *s, bool writable, im_library **out_library,
                                      im_error *err);
/** Opens it for writing, as cli_open_library; makes it when there is none, and says so. */
IM_NODISCARD im_code cli_open_or_make_library(cli_session *s, im_library **out_library,
                                              im_error *err);
im_image_limits cli_limits(const cli_options *options);
/** A sentence on standard error, unless --quiet; with --json an object (of `add`: an event). */
void cli_note(cli_session *s, const char *fmt, ...) IM_PRINTF(2, 3);
/** Prints a writer's object as one line (--json), or as facts for people. Clears the writer. */
IM_NODISCARD im_code cli_put_result(cli_session *s, im_json_writer *w, im_error *err);
void cli_json_start(im_json_writer *w);

/* ---- events.c ---- */
/** What long work tells: bar, failures, warnings, questions. */
im_events cli_events(cli_session *s);
void cli_put_event(cli_session *s, im_json_writer *w);
/** "path", and "path_b64" when it is not UTF-8. */
void cli_put_json_path(im_json_writer *w, const char *path);

/* ---- operands.c ---- */
/** What an operand of show, similar and remove names: an id, or (*out_id 0) a path. Digits alone
 * are an id; when a file of that name is there too, the two must be told apart. */
IM_NODISCARD im_code cli_item_or_path(const char *operand, uint64_t *out_id, im_error *err);
/** The operands of remove and tag, sorted into ids and paths. */
typedef struct cli_named {
    uint64_t *items;    /* [n_items], owned */
    const char **paths; /* [n_paths], owned array of borrowed text */
    size_t n_items, n_paths;
} cli_named;
/** `out` begins zeroed; to be cleared in each case. */
IM_NODISCARD im_code cli_named_read(const cli_args *args, cli_named *out, im_error *err);
void cli_named_clear(cli_named *named);
/** All of standard input; file_too_large above a size. @param what for the sentence */
IM_NODISCARD im_code cli_read_stdin(uint64_t most, const char *what, im_bytes *out, im_error *err);
/** The picture that comes in at standard input, once (*out is empty before). */
IM_NODISCARD im_code cli_stdin_picture(im_bytes *out, im_error *err);
/** Parts of the arguments as parts of a query. *out_stdin (im_bytes_clear) holds the picture of
 * standard input when a part is "-". */
IM_NODISCARD im_code cli_query_parts(const cli_args *args, im_query_part *out_parts,
                                     im_bytes *out_stdin, im_error *err);

/* ---- cmd_search.c ---- */
/** The filters of --filter as one. IM_ERR_INVALID for an empty one. */
IM_NODISCARD im_code cli_join_filters(const cli_texts *filters, im_str *out, im_error *err);
/** The number of --min-score into a request. @param value NULL: the option is not given */
IM_NODISCARD im_code cli_set_min_score(const char *value, im_search_request *request,
                                       im_error *err);

/* ---- cmd_vlm.c ---- */
/** How the vision-language model is to be asked, by the options; *out_key holds the key.
 * @param out_key im_str_clear, in each case */
IM_NODISCARD im_code cli_vlm_request(const cli_options *options, im_vlm_request *out,
                                     im_str *out_key, im_error *err);

/* ---- cmd_vlm_start.c ---- */
/** The llama-server that the options name. @param by IM_VLM_KEPT_BY_… */
im_vlm_keep_request cli_keep_request(const cli_args *args, const char *model, const char *by);

/* ---- ask.c: the daemon that serves the library, if one does ---- */

/** Whether there may be a daemon whose answers would be ours: no option, and nothing of the
 * environment, says otherwise. */
bool cli_may_ask(const cli_session *s);
/** Asks the library's daemon, when there is one that is ready within 200 ms.
 * @param body NULL: GET, else POST of that JSON
 * @param out the body of its answer, a JSON object
 * @return false: no daemon, or no good answer of it: the work is to be done here */
bool cli_ask(cli_session *s, const char *path, const im_str *body, im_str *out);

/* ---- ask_search.c ---- */
/** Asks the daemon for a search. *out_answer is filled as im_app_search fills it, as far as
 * cli_put_answer looks at it; *out_json is the answer as JSON. Both are the caller's to clear.
 * @param input what was read of standard input for a part of the request
 * @return as cli_ask */
bool cli_ask_search(cli_session *s, const im_search_request *request, const im_bytes *input,
                    im_answer *out_answer, im_str *out_json);

/* ---- ask_embed.c ---- */
/** Asks the daemon for vectors. @param out_result as im_app_embed fills it when all went well
 * @return as cli_ask */
bool cli_ask_embed(cli_session *s, const im_embed_request *request, im_embed_result *out_result);

/* ---- cmd_search.c ---- */
/** Lets the vision-language model of the options look at the n best hits of an answer. */
IM_NODISCARD im_code cli_rerank(cli_session *s, im_library *library, size_t n, im_answer *answer,
                                im_error *err);

/* ---- cmd_batch.c ---- */
/** `search --batch` and `--query-json`. */
IM_NODISCARD im_code cli_search_batch(cli_session *s, im_error *err);
IM_NODISCARD im_code cli_search_json(cli_session *s, im_error *err);

/* ---- print_answer.c, thumbnails.c ---- */
void cli_put_answer(cli_session *s, const im_answer *answer);
/** The answer as one line of JSON. */
IM_NODISCARD im_code cli_put_answer_json(cli_session *s, const im_answer *answer, im_error *err);

typedef struct cli_painter cli_painter;
/** Something that draws pictures on this terminal; NULL when it cannot or should not. */
cli_painter *cli_painter_open(const cli_output *out, cli_thumbnails wish);
/** Draws the picture at `path`, small; does nothing when it cannot be read. */
void cli_painter_draw(cli_painter *painter, cli_output *out, const char *path);
void cli_painter_close(cli_painter *painter);

#endif
