/* cli/cmd_serve.c — `imago serve`. */
#include "base/clock.h"
#include "cli/commands_internal.h"
#include "daemon/daemon.h"

#include <signal.h>

static void note(void *context, const char *sentence)
{
    cli_note(context, "%s", sentence);
}

static void reload_asked(int signal_number)
{
    (void)signal_number;
    im_reload_ask();
}

/* Where a parent ignores it (nohup), it stays ignored. */
static void handle_reload(void)
{
    struct sigaction action = {.sa_handler = reload_asked, .sa_flags = SA_RESTART};
    struct sigaction old;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGHUP, NULL, &old) == 0 && old.sa_handler != SIG_IGN) {
        (void)sigaction(SIGHUP, &action, NULL);
    }
}

static void listening(void *context, const char *url, bool for_immich)
{
    cli_note(context, "listening %son %s", for_immich ? "for Immich " : "", url);
}

/* Answers must be those of a command line without options: else it asks for itself. */
static bool answers_as_the_command_line(const cli_args *args)
{
    static const cli_option_id other[] = {
        IM_OPT_PRECISION,  IM_OPT_ENGINE,    IM_OPT_MAX_PICTURE_BYTES, IM_OPT_MAX_SIDE,
        IM_OPT_MAX_PIXELS, IM_OPT_MAX_SCANS, IM_OPT_MAX_DECODER_BYTES, IM_OPT_MAX_DECODE_SECONDS};
    bool same = true;
    for (size_t i = 0; i < IM_COUNT(other); i++) {
        same = same && !args->given[other[i]];
    }
    return same;
}

im_code cmd_serve(cli_session *s, im_error *err)
{
    const cli_options *options = &s->args->options;
    const im_vlm_keep_request keep =
        cli_keep_request(s->args, options->vlm_model_file, IM_VLM_KEPT_BY_SERVE);
    im_vlm_request vlm;
    im_str key;
    im_code rc = cli_vlm_request(options, &vlm, &key, err);
    const im_daemon_options wanted = {
        .listen = options->listen.texts,
        .n_listen = options->listen.n,
        .hosts = options->hosts.texts,
        .n_hosts = options->hosts.n,
        .immich_listen = options->immich_listen,
        .immich_models = options->immich_models.texts,
        .n_immich_models = options->immich_models.n,
        .immich_upstream = options->immich_upstream,
        .immich_ms = (uint32_t)options->immich_seconds * 1000u,
        .keep = options->vlm_model_file != NULL ? &keep : NULL,
        .local = answers_as_the_command_line(s->args),
        .no_watch = options->no_watch,
        .watch_poll = options->watch_poll,
        .watch_every_s = options->watch_every,
        .library = cli_library_options(s, false),
        .vlm = vlm,
        .no_vlm = options->no_vlm,
        .limits = cli_limits(options),
        .log = options->verbose > 0,
        .listening = listening,
        .note = note,
        .context = s,
    };
    handle_reload();
    if (rc == IM_OK && options->no_vlm && options->vlm_url != NULL) {
        rc = im_fail(err, IM_ERR_INVALID, "options '--no-vlm' and '--vlm-url' exclude each other");
    }
    if (rc == IM_OK && options->vlm_model_file == NULL && options->mmproj != NULL) {
        rc = im_fail(err, IM_ERR_INVALID, "option '--mmproj' wants --vlm-model-file FILE too");
    }
    if (rc == IM_OK) {
        rc = im_daemon_run(&wanted, err);
    }
    im_str_clear(&key);
    if (rc == IM_OK) {
        im_stop_reset(); /* to be stopped is how a daemon ends well */
    }
    return rc;
}
