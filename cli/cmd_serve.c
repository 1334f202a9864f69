/* cli/cmd_serve.c — `imago serve`. */
#include "base/clock.h"
#include "cli/commands_internal.h"
#include "daemon/daemon.h"

static void listening(void *context, const char *url)
{
    cli_note(context, "listening on %s", url);
}

im_code cmd_serve(cli_session *s, im_error *err)
{
    const cli_options *options = &s->args->options;
    const im_daemon_options wanted = {
        .listen = options->listen,
        .library = cli_library_options(s, false),
        .limits = cli_limits(options),
        .log = options->verbose > 0,
        .listening = listening,
        .context = s,
    };
    im_code rc = im_daemon_run(&wanted, err);
    if (rc == IM_OK) {
        im_stop_reset(); /* to be stopped is how a daemon ends well */
    }
    return rc;
}
