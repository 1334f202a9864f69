/* daemon/reload.c — SIGHUP: keys and library are opened again, in case others lie there now. Each
 * thread opens its own once more between two answers, and tries it. When all could, all take the
 * new one; else all keep the old. Jobs come last: their thread tries until it can. */
#include "base/clock.h"
#include "daemon/talk_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

folder_mark folder_mark_of(const char *path)
{
    struct statx facts;
    if (statx(AT_FDCWD, path, 0, STATX_INO | STATX_BTIME, &facts) != 0) {
        return (folder_mark){0};
    }
    folder_mark mark = {.device = (uint64_t)facts.stx_dev_major << 32 | facts.stx_dev_minor,
                        .inode = facts.stx_ino};
    if ((facts.stx_mask & STATX_BTIME) != 0) { /* inodes are used again, moments are not */
        mark.born_s = facts.stx_btime.tv_sec;
        mark.born_ns = facts.stx_btime.tv_nsec;
    }
    return mark;
}

bool library_is_in_place(const server *s)
{
    folder_mark now = folder_mark_of(s->options->library.places->library);
    return now.device == s->folder.device && now.inode == s->folder.inode &&
           now.born_s == s->folder.born_s && now.born_ns == s->folder.born_ns;
}

static void tell(const server *s, const char *sentence)
{
    if (s->options->note != NULL) {
        s->options->note(s->options->context, sentence);
    }
}

static void end_reload(server *s)
{
    char sentence[512];
    const im_error *error = &s->reload.error;
    if (error->code == IM_OK) {
        jobs_reopen(s->jobs);
        talks_reopen(s->talks);
        im_guard_close(s->guard);
        s->guard = s->reload.guard;
        s->folder = s->reload.folder;
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
    work *const all[] = {s->work, s->writer, s->pictures};
    if (s->reload.at != RELOAD_NONE) {
        s->reload.again = true;
        return;
    }
    (void)snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%llu",
                   (unsigned long long)(im_clock_ns() / 1000));
    notify_send(state);
    s->reload.folder = folder_mark_of(s->options->library.places->library);
    s->reload.error = (im_error)IM_ERROR_INIT;
    im_code rc = im_guard_open(s->options->library.places, &s->reload.guard, &s->reload.error);
    if (rc == IM_OK) {
        rc = im_guard_look(s->reload.guard, (im_view){0}, &facts, &s->reload.error);
    }
    if (rc != IM_OK) {
        end_reload(s);
        return;
    }
    s->reload.at = RELOAD_OPEN;
    for (size_t i = 0; i < IM_COUNT(all); i++) {
        work_reload(all[i]);
    }
}

void reload_go_on(server *s)
{
    work *const all[] = {s->work, s->writer, s->pictures};
    bool done = s->reload.at != RELOAD_NONE;
    for (size_t i = 0; done && i < IM_COUNT(all); i++) {
        done = work_reloaded(all[i], &s->reload.error);
    }
    if (done && s->reload.at == RELOAD_OPEN) {
        s->reload.at = RELOAD_SETTLE;
        for (size_t i = 0; i < IM_COUNT(all); i++) {
            work_settle(all[i], s->reload.error.code == IM_OK);
        }
    } else if (done) {
        end_reload(s);
    }
    if (s->reload.at == RELOAD_NONE && s->reload.again) {
        s->reload.again = false;
        reload_begin(s);
    }
}
