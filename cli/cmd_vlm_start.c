/* cli/cmd_vlm_start.c — `imago vlm start`, `stop` and `status`: a llama-server on this machine. */
#include "base/clock.h"
#include "cli/commands_internal.h"

im_vlm_keep_request cli_keep_request(const cli_args *args, const char *model, const char *by)
{
    const cli_options *options = &args->options;
    return (im_vlm_keep_request){
        .server = {.program = options->llama_server, .model = model, .mmproj = options->mmproj},
        .wait_ms = (uint32_t)options->vlm_wait * 1000u,
        .restarts_set = true,
        .restarts = (unsigned)options->restarts,
        .by = by};
}

static void on_ready(void *context, const im_vlm_server *server, int pid)
{
    cli_session *s = context;
    im_json_writer w;
    if (!s->args->options.json) {
        cli_note(s, "%s is ready on %s (process %d, judges by %s); Ctrl-C ends it", server->model,
                 server->url, pid, im_vlm_mode_name(server->mode));
        return;
    }
    cli_json_start(&w);
    im_json_begin_object(&w);
    im_json_put_string(&w, "event", "ready");
    im_json_put_string(&w, "url", server->url);
    im_json_put_string(&w, "model", server->model);
    im_json_put_string(&w, "mode", im_vlm_mode_name(server->mode));
    im_json_put_int(&w, "pid", pid);
    im_json_end_object(&w);
    cli_put_event(s, &w);
}

static void on_line(void *context, const char *line)
{
    cli_session *s = context;
    if (s->args->options.verbose > 0) {
        cli_note(s, "llama-server: %s", line);
    }
}

im_code cmd_vlm_start(cli_session *s, im_error *err)
{
    im_vlm_keep_request request =
        cli_keep_request(s->args, s->args->options.model, IM_VLM_KEPT_BY_START);
    im_library_options wanted = cli_library_options(s, true);
    im_events events = cli_events(s);
    im_library *library = NULL;
    wanted.model = NULL; /* --model is the language model here */
    request.server.arguments = s->args->operands;
    request.server.n_arguments = s->args->n_operands;
    request.ready = on_ready;
    request.line = on_line;
    request.context = s;
    s->event_lines = s->args->options.json;
    im_code rc = im_app_vlm_keep_check(&request, err); /* before a library is looked for */
    if (rc == IM_OK) {
        rc = im_library_open(&wanted, &library, err);
    }
    if (rc == IM_OK) {
        rc = im_app_vlm_keep(library, &request, &events, err);
    }
    im_library_close(library);
    if (rc == IM_OK) {
        im_stop_reset(); /* to be stopped is how it ends well */
    }
    return rc;
}

im_code cmd_vlm_stop(cli_session *s, im_error *err)
{
    im_library *library = NULL;
    im_code rc = cli_open_library(s, false, &library, err);
    if (rc == IM_OK) {
        rc = im_app_vlm_stop(library, err);
    }
    im_library_close(library);
    if (rc == IM_OK) {
        cli_note(s, "llama-server has ended");
    }
    return rc;
}

im_code cmd_vlm_status(cli_session *s, im_error *err)
{
    im_library *library = NULL;
    im_json_writer w;
    cli_json_start(&w);
    im_code rc = cli_open_library(s, false, &library, err);
    if (rc == IM_OK) {
        rc = im_app_vlm_status_json(library, &w, err);
    }
    if (rc == IM_OK) {
        rc = cli_put_result(s, &w, err); /* clears it */
    } else {
        im_json_clear(&w);
    }
    im_library_close(library);
    return rc;
}
