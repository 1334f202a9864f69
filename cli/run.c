/* cli/run.c — one run of the program: parse, dispatch, print what failed, choose the exit code. */
#include "base/clock.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/commands_internal.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <unistd.h>

/* The choices of options.def are in the order of the enums. */
_Static_assert(IM_PRECISION_AUTO == 0 && IM_PRECISION_FP32 == 1 && IM_PRECISION_BF16 == 2 &&
                   IM_PRECISION_INT8 == 3,
               "--precision");
_Static_assert(IM_ENGINE_AUTO == 0 && IM_ENGINE_SCAN == 1 && IM_ENGINE_FLAT == 2 &&
                   IM_ENGINE_TIERED == 3 && IM_ENGINE_IVF == 4 && IM_ENGINE_HNSW == 5,
               "--engine");
_Static_assert(IM_COMBINE_SUM == 0 && IM_COMBINE_ANY == 1 && IM_COMBINE_ALL == 2, "--combine");

typedef im_code (*cli_function)(cli_session *s, im_error *err);

static const cli_function functions[IM_CMD_COUNT] = {
#define X(ID, words, operands, role, min, max, stop, function, ...) function,
#include "cli/commands.def"
#undef X
};

/* ---- signals ---- */

static void say(const char *text)
{
    ssize_t written = write(STDERR_FILENO, text, strlen(text));
    (void)written; /* nothing can be done in a handler */
}

/* Reading commands have nothing to clean up. */
static void stop_at_once(int signal_number)
{
    say("\nimago: stopped; nothing was changed\n");
    _exit(128 + signal_number);
}

static void stop_at_once_json(int signal_number)
{
    say("{\"error\":{\"code\":\"interrupted\",\"class\":\"IM_ERR_PARTIAL\",\"message\":\"stopped "
        "by "
        "a signal; nothing was changed\"}}\n");
    _exit(128 + signal_number);
}

/* Writing commands end their batch; who asks twice gets the end that a power cut gives, which the
 * library survives too. */
static void stop_clean_json(int signal_number)
{
    if (im_stop_asked()) {
        _exit(128 + signal_number);
    }
    im_stop_ask(signal_number);
}

static void stop_clean(int signal_number)
{
    say(im_stop_asked() ? "\nimago: stopped at once; what was finished before is kept\n"
                        : "\nimago: finishing what is under way, then stopping (once more: at "
                          "once)\n");
    stop_clean_json(signal_number);
}

static void handle_signals(cli_stop stop, bool json)
{
    static const int signals[] = {SIGINT, SIGTERM};
    struct sigaction action = {.sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    if (stop == IM_STOP_CLEAN) {
        action.sa_handler = json ? stop_clean_json : stop_clean;
    } else {
        action.sa_handler = json ? stop_at_once_json : stop_at_once;
    }
    for (size_t i = 0; i < IM_COUNT(signals); i++) {
        struct sigaction old;
        /* what a parent chose to ignore (nohup and its kind) stays ignored */
        if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) {
            (void)sigaction(signals[i], &action, NULL);
        }
    }
}

/* A program started with a standard stream closed would get its database as one of them. */
static void fill_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0) {
            _exit(im_code_exit(IM_ERR_IO));
        }
    }
}

/* ---- shared by the commands ---- */

im_library_options cli_library_options(cli_session *s, bool writable)
{
    const cli_options *options = &s->args->options;
    im_library_options wanted = {
        .places = &s->places,
        .writable = writable,
        .model = options->model,
        .precision = (im_precision)options->precision,
        .engine = (im_engine)options->engine,
        .threads = (size_t)options->threads,
        .index_params = s->args->command == IM_CMD_REBUILD ? NULL : options->index_params,
        .memory_bytes = options->memory,
    };
    return wanted;
}

im_code cli_open_library(cli_session *s, bool writable, im_library **out_library, im_error *err)
{
    const im_library_options wanted = cli_library_options(s, writable);
    if (wanted.index_params != NULL && wanted.engine != IM_ENGINE_IVF &&
        wanted.engine != IM_ENGINE_HNSW) {
        im_code rc = im_fail(err, IM_ERR_INVALID, "option '--index-params' needs its engine");
        im_hint(err, "say which: --engine ivf or --engine hnsw");
        return rc;
    }
    if (wanted.memory_bytes != 0 || im_memory_limit() != UINT64_MAX) {
        im_memory_return_freed();
    }
    return im_library_open(&wanted, out_library, err);
}

im_image_limits cli_limits(const cli_options *options)
{
    im_image_limits limits = {
        .max_bytes = options->max_picture_bytes,
        .max_side_px = (uint32_t)options->max_side,
        .max_pixels = options->max_pixels,
        .max_decoder_bytes = options->max_decoder_bytes,
        .max_scans = (uint32_t)options->max_scans,
        .max_decode_ms = (uint32_t)options->max_decode_seconds * 1000u,
    };
    return limits;
}

static void note_json(cli_session *s, const char *sentence)
{
    im_json_writer w;
    cli_json_start(&w);
    im_json_begin_object(&w);
    im_json_put_string(&w, s->event_lines ? "event" : "note",
                       s->event_lines ? "warning" : sentence);
    if (s->event_lines) {
        im_json_put_string(&w, "message", sentence);
    }
    im_json_end_object(&w);
    if (s->event_lines) {
        cli_put_event(s, &w);
        return;
    }
    (void)!cli_put_json(&s->words, &w, NULL);
    cli_flush(&s->words);
    im_json_clear(&w);
}

static void note_words(cli_session *s, const char *sentence)
{
    cli_progress_hide(&s->progress);
    cli_puts(&s->words, "imago: ");
    cli_put_escaped(&s->words, sentence);
    cli_puts(&s->words, "\n");
    cli_flush(&s->words);
}

void cli_note(cli_session *s, const char *fmt, ...)
{
    im_str text;
    va_list args;
    if (s->args->options.quiet) {
        return;
    }
    im_str_init(&text, 1u << 20);
    va_start(args, fmt);
    im_str_addv(&text, fmt, args);
    va_end(args);
    if (s->args->options.json) {
        note_json(s, im_str_text(&text));
    } else {
        note_words(s, im_str_text(&text));
    }
    im_str_clear(&text);
}

void cli_json_start(im_json_writer *w)
{
    im_json_init(w, SIZE_MAX / 2);
}

im_code cli_put_result(cli_session *s, im_json_writer *w, im_error *err)
{
    im_code rc = IM_OK;
    if (s->args->options.json || !im_json_ok(w)) {
        rc = cli_put_json(&s->out, w, err);
    } else {
        rc = cli_put_facts(&s->out, im_str_text(&w->out), w->out.size, err);
    }
    im_json_clear(w);
    return rc;
}

/* ---- the run ---- */

static im_code print_version(cli_session *s, im_error *err)
{
    return cmd_version(s, err);
}

static void print_help(cli_session *s)
{
    const cli_args *args = s->args;
    if (args->has_command) {
        cli_help_command(&s->out, args->command);
    } else if (args->group != NULL) {
        cli_help_group(&s->out, args->group);
    } else {
        cli_help_overview(&s->out);
    }
}

static im_code run_command(cli_session *s, im_error *err)
{
    const cli_options *options = &s->args->options;
    if (options->help) {
        print_help(s);
        return IM_OK;
    }
    if (options->version) {
        return print_version(s, err);
    }
    im_log_set_level(options->verbose > 1 ? IM_LOG_DEBUG : IM_LOG_WARN);
    handle_signals(cli_commands[s->args->command].stop, options->json);
    im_code rc = im_places_find(options->library, &s->places, err);
    if (rc == IM_OK) {
        rc = functions[s->args->command](s, err);
    }
    im_places_clear(&s->places);
    return rc;
}

/* What to do where there is no library, or nothing in it, so that it can be typed as it stands:
 * with the folder that --library named, if that fits. */
static void hint_library(const cli_options *options, im_error *err)
{
    bool none = strcmp(err->reason, im_reason_name(IM_REASON_LIBRARY_NOT_FOUND)) == 0;
    bool empty = strcmp(err->reason, im_reason_name(IM_REASON_LIBRARY_EMPTY)) == 0;
    im_str hint;
    if (!none && !empty) {
        return;
    }
    im_str_init(&hint, sizeof(err->hint) - 1);
    im_str_addf(&hint, "%s: imago add FOLDER", none ? "make and fill one" : "add pictures first");
    if (options->library != NULL) {
        im_str_add_c(&hint, " --library ");
        im_text_shell(&hint, options->library, strlen(options->library));
    }
    im_hint(err, "%s",
            hint.failed ? "imago add FOLDER, with the same --library" : im_str_text(&hint));
    im_str_clear(&hint);
}

static int exit_code(im_code rc)
{
    int stop = im_stop_signal();
    return stop != 0 ? 128 + stop : im_code_exit(rc);
}

int im_cli_main(int argc, char **argv)
{
    cli_args args;
    cli_session s = {.args = &args};
    im_error err = IM_ERROR_INIT;
    im_error end_err = IM_ERROR_INIT;
    fill_standard_streams();
    (void)signal(SIGPIPE, SIG_IGN); /* a reader that went away is seen as EPIPE */
    im_code rc = cli_parse(argc, argv, &args, &err);
    cli_output_init(&s.out, stdout, args.options.no_color);
    cli_output_init(&s.words, stderr, args.options.no_color);
    s.progress.words = &s.words;
    s.progress.quiet = args.options.quiet || args.options.json;
    if (rc == IM_OK) {
        rc = run_command(&s, &err);
    }
    cli_progress_hide(&s.progress);
    im_code end = cli_output_end(&s.out, &end_err);
    if (rc == IM_OK && end != IM_OK) {
        rc = end;
        err = end_err;
    }
    hint_library(&args.options, &err);
    if (rc != IM_OK && (args.options.json || strcmp(err.message, s.told) != 0)) {
        cli_put_error(&s.words, &err, args.options.json);
    }
    cli_args_clear(&args);
    return exit_code(rc);
}
