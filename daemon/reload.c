/* daemon/reload.c — SIGHUP: keys and library are opened again, in case others lie there now. Each
 * thread opens its own anew between two answers, tries it, and keeps the old one when that fails.
 */
#include "base/clock.h"
#include "daemon/daemon_internal.h"

#include <stdio.h>

static void tell(const server *s, const char *sentence)
{
    if (s->options->note != NULL) {
        s->options->note(s->options->context, sentence);
    }
}

static void end_reload(server *s, const im_error *error)
{
    char sentence[512];
    if (error->code == IM_OK) {
        im_guard_close(s->guard);
        s->guard = s->reload.guard;
        s->reload.guard = NULL;
        tell(s, "reloaded: library, model and keys were opened again");
    } else {
        im_guard_close(s->reload.guard);
        s->reload.guard = NULL;
        (void)snprintf(sentence, sizeof(sentence),
                       "could not reload, what was open stays in use: %s", error->message);
        tell(s, sentence);
    }
    s->reload.at = RELOAD_NONE;
    notify_send("READY=1");
}

void reload_begin(server *s)
{
    char state[64];
    im_guard_facts facts;
    im_error error = IM_ERROR_INIT;
    if (s->reload.at != RELOAD_NONE) {
        s->reload.again = true;
        return;
    }
    (void)snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%llu",
                   (unsigned long long)(im_clock_ns() / 1000));
    notify_send(state);
    im_code rc = im_guard_open(s->options->library.places, &s->reload.guard, &error);
    if (rc == IM_OK) {
        rc = im_guard_look(s->reload.guard, (im_view){0}, &facts, &error);
    }
    if (rc != IM_OK) {
        end_reload(s, &error);
        return;
    }
    s->reload.at = RELOAD_WORK;
    work_reload(s->work);
}

void reload_go_on(server *s)
{
    im_error error = IM_ERROR_INIT;
    if (s->reload.at == RELOAD_WORK && work_reloaded(s->work, &error)) {
        if (error.code == IM_OK) {
            s->reload.at = RELOAD_WRITER;
            work_reload(s->writer);
        } else {
            end_reload(s, &error);
        }
    }
    if (s->reload.at == RELOAD_WRITER && work_reloaded(s->writer, &error)) {
        end_reload(s, &error);
    }
    if (s->reload.at == RELOAD_NONE && s->reload.again) {
        s->reload.again = false;
        reload_begin(s);
    }
}
