/* cli/cli_internal.h — what the files of cli/ share. The files up to `commands` know nothing of the
 * rooms below: arguments in, text out, tested without a library. */
#ifndef IM_CLI_CLI_INTERNAL_H
#define IM_CLI_CLI_INTERNAL_H

#include "base/base.h"
#include "base/json.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* ---- table.c: the rows of commands.def and options.def ---- */

typedef enum cli_command_id {
#define X(ID, ...) IM_CMD_##ID,
#include "cli/commands.def"
#undef X
    IM_CMD_COUNT
} cli_command_id;

typedef enum cli_option_id {
#define X(ID, ...) IM_OPT_##ID,
#include "cli/options.def"
#undef X
    IM_OPT_COUNT
} cli_option_id;

typedef enum cli_role {
    IM_ROLE_NONE,
    IM_ROLE_WORDS,    /* operands make one query text */
    IM_ROLE_PICTURES, /* each operand is a part */
    IM_ROLE_LIST      /* kept as they are */
} cli_role;

typedef enum cli_stop { IM_STOP_AT_ONCE, IM_STOP_CLEAN } cli_stop;

typedef struct cli_command {
    const char *words;
    const char *operands;
    cli_role role;
    uint64_t min_operands, max_operands;
    cli_stop stop;
    const char *summary;
    const char *text;
    const char *examples;
} cli_command;

typedef enum cli_type {
    IM_TYPE_FLAG,
    IM_TYPE_COUNT,
    IM_TYPE_MAYBE, /* a flag, or "--name=N"; its default is what the flag alone means */
    IM_TYPE_NUMBER,
    IM_TYPE_SIZE,
    IM_TYPE_TEXT,
    IM_TYPE_CHOICE,
    IM_TYPE_LIST,
    IM_TYPE_PART
} cli_type;

typedef struct cli_option {
    const char *name;
    char letter; /* 0: none */
    cli_type type;
    size_t field; /* offset in cli_options */
    const char *dflt;
    uint64_t min, max;
    const char *value; /* NULL for flags */
    uint64_t commands; /* bit per cli_command_id */
    const char *help;
} cli_option;

extern const cli_command cli_commands[IM_CMD_COUNT];
extern const cli_option cli_option_table[IM_OPT_COUNT];

bool cli_option_of(const cli_option *option, cli_command_id command);
/** True for options that every command takes. */
bool cli_option_is_global(const cli_option *option);
/** True for the first word of commands of two words. */
bool cli_is_group(const char *word);
/** Edits (insert, delete, replace, swap of neighbours) from a to b. */
size_t cli_distance(const char *a, const char *b);

/* ---- parse.c, parts.c: argv to values ---- */

/** The texts of an option that may be repeated. */
typedef struct cli_texts {
    const char **texts; /* owned array of borrowed text */
    size_t n;
} cli_texts;

/** Values of options; zero and NULL until set, numbers their default. All text is borrowed from
 * argv. */
typedef struct cli_options {
    uint64_t combine, k, offset, thumbnails, format, batch, decoders;
    const char *cursor, *output, *sort, *group, *min_score, *batch_file, *query_json, *meta;
    uint64_t order;
    cli_texts filters, add_tags, remove_tags, listen, hosts, immich_models;
    const char *immich_listen, *immich_upstream;
    uint64_t immich_seconds;
    bool paths, print0, no_recursive, follow_links, prune, retry_failed, yes, profile, full,
        accept_damage, compact, trust_model, normalise;
    bool exact_decode, exact, fast;
    uint64_t max_picture_bytes, max_side, max_pixels, max_decoder_bytes, max_scans,
        max_decode_seconds;
    const char *library, *model;
    uint64_t precision, engine, threads, memory;
    const char *index_params, *want, *name;
    uint64_t scope;
    uint64_t queries;
    bool apply, no_daemon, watch, off, no_watch, watch_poll;
    uint64_t rerank; /* 0: none */
    uint64_t rerank_mode;
    const char *vlm_url, *vlm_model, *vlm_key_file, *judged;
    const char *vlm_daily_cost, *vlm_price_in, *vlm_price_out; /* as written */
    const char *mmproj, *vlm_model_file, *llama_server;
    uint64_t watch_every, vlm_profile, vlm_daily_tokens, vlm_seconds, vlm_parallel, vlm_wait,
        restarts;
    uint64_t limit, run_tokens, run_seconds, vlm_pixels;
    bool redo, retry;
    cli_texts vlm_hosts;
    bool vlm, no_vlm;
    const char *ask_query;
    bool json, quiet, no_color, help, version;
    uint64_t verbose;
    bool part; /* where PART options point; never written */
} cli_options;

/* in the order of their choices in options.def */
typedef enum cli_thumbnails { IM_THUMBS_AUTO, IM_THUMBS_ALWAYS, IM_THUMBS_NEVER } cli_thumbnails;
typedef enum cli_format { IM_EMBED_JSON, IM_EMBED_NPY, IM_EMBED_F32 } cli_format;

typedef enum cli_part_kind {
    IM_CLI_TEXT,   /* text */
    IM_CLI_FILE,   /* text is a path, "-" is standard input */
    IM_CLI_OPERAND /* an operand of role PICTURES: a file, or an id where the command takes one */
    ,
    IM_CLI_ITEM /* text is an id */
} cli_part_kind;

typedef struct cli_part {
    cli_part_kind kind;
    const char *text; /* borrowed from argv */
    bool negative;
    bool has_weight;
    double weight;    /* as given, > 0 */
    const char *crop; /* NULL: none */
} cli_part;

typedef struct cli_args {
    bool has_command; /* else help or version was asked for */
    cli_command_id command;
    const char *group; /* "model" alone with --help; borrowed */
    cli_options options;
    bool given[IM_OPT_COUNT]; /* by the arguments, whatever the value */
    const char **operands;    /* [n_operands], owned array of borrowed text */
    size_t n_operands;
    cli_part *parts; /* [n_parts], owned, in the order of the arguments */
    size_t n_parts;
    im_str query; /* the query words joined by one blank */
} cli_args;

/** Reads argv[1 …]. IM_ERR_INVALID with a sentence that names the argument and, where there is one,
 * the nearest name. options.json is right even then. Clear `out` in either case. */
IM_NODISCARD im_code cli_parse(int argc, char **argv, cli_args *out, im_error *err);
void cli_args_clear(cli_args *args);
/** Weight of a part with its sign: the default when none was given. */
double cli_part_weight(const cli_part *part, double positive, double negative);

/* parts.c, called by the parser for each PART option and operand in turn */
IM_NODISCARD im_code cli_parts_option(cli_args *args, cli_option_id id, const char *value,
                                      im_error *err);
IM_NODISCARD im_code cli_parts_word(cli_args *args, const char *word, im_error *err);
IM_NODISCARD im_code cli_parts_operand(cli_args *args, const char *operand, im_error *err);

/* ---- output.c: where results and words go ---- */

/** A stream with what is known of its terminal. The first failed write is kept in errnum, later
 * ones do nothing. */
typedef struct cli_output {
    FILE *file;
    int errnum;
    bool terminal;
    bool colour;
    size_t columns;
} cli_output;

void cli_output_init(cli_output *out, FILE *file, bool no_color);
void cli_put(cli_output *out, const char *data, size_t size);
void cli_puts(cli_output *out, const char *text);
void cli_printf(cli_output *out, const char *fmt, ...) IM_PRINTF(2, 3);
/** A style where colours are on: "1" bold, "2" dim, "31" red; "0" ends it. */
void cli_style(cli_output *out, const char *style);
/** Foreign text with control bytes escaped. */
void cli_put_escaped(cli_output *out, const char *text);
/** A path so that a shell takes it back. */
void cli_put_path(cli_output *out, const char *path);
/** Text in paragraphs, wrapped at `columns` behind `indent` blanks. */
void cli_put_wrapped(cli_output *out, const char *text, size_t indent, size_t columns);
/** Writes the text of a writer and a line end; IM_ERR_NOMEM when it did not fit. */
IM_NODISCARD im_code cli_put_json(cli_output *out, const im_json_writer *w, im_error *err);
void cli_flush(cli_output *out);
/** Flushes. A reader that went away (EPIPE) is no failure; a full disk is. */
IM_NODISCARD im_code cli_output_end(cli_output *out, im_error *err);

/** {"error":{…}} of design section 6. */
void cli_json_error(im_json_writer *w, const im_error *error);
/** "imago: sentence" and "  hint", or the JSON object of design section 6. */
void cli_put_error(cli_output *words, const im_error *error, bool json);

/* ---- facts.c ---- */
/** Prints a JSON object as "key  value" lines, nested ones indented; *_bytes also in words. */
IM_NODISCARD im_code cli_put_facts(cli_output *out, const char *json, size_t size, im_error *err);

/* ---- help.c, manual.c, completions.c: text from the tables ---- */
void cli_help_overview(cli_output *out);
void cli_help_command(cli_output *out, cli_command_id command);
void cli_help_group(cli_output *out, const char *group);
/** The tables as one JSON object. */
void cli_help_json(im_json_writer *w);
/** "-k, --k N" or "--library DIR". */
void cli_option_form(im_str *out, const cli_option *option);
void cli_manual(cli_output *out, const char *version);
bool cli_completions(cli_output *out, const char *shell); /* false: no such shell */
/** Name of the i-th of the choices "a|b|c" into out (>= 32 bytes); false when there are fewer. */
bool cli_choice(const char *choices, size_t i, char *out);

/* ---- progress.c ---- */

/** What long work tells people while it runs, on standard error. */
typedef struct cli_progress {
    cli_output *words;
    bool quiet;
    bool drawn;          /* a bar stands on the last line */
    double last_line_s;  /* of the lines on a non-terminal */
    double last_event_s; /* of the JSON events */
} cli_progress;

typedef struct cli_progress_state {
    const char *stage;
    uint64_t done, total, failed;
    double seconds, rate, eta_s;
} cli_progress_state;

/** A bar on a terminal, else a line when ten seconds have passed since the last one. */
void cli_progress_show(cli_progress *progress, const cli_progress_state *state);
/** Takes the bar away, so that other words can be printed. */
void cli_progress_hide(cli_progress *progress);
/** "1:05", "2:03:04". */
const char *cli_duration(double seconds, char out[24]);
#define CLI_COST_SIZE 40
/** " (cost 0.0021)", in the unit of the model's prices; "" without them. */
const char *cli_cost(bool priced, uint64_t cost_nano, char out[CLI_COST_SIZE]);

/* ---- vectors.c ---- */
/** Header of a NumPy 1.0 file of a C-ordered float32 matrix. */
void cli_npy_header(im_str *out, size_t rows, size_t columns);

#endif
