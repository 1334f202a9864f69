/* daemon/answer_library.c — what the library holds, items, health, counters, the description. */
#include "daemon/daemon_internal.h"

#include <stdio.h>
#include <string.h>

void answer_library(server *s, exchange *const *list, size_t n)
{
    im_error error = IM_ERROR_INIT;
    (void)n;
    im_code rc = im_app_status_json(work_library(s->work), &list[0]->answer, &error);
    exchange_end(list[0], rc, 200, &error);
}

void answer_item(server *s, exchange *const *list, size_t n)
{
    im_error error = IM_ERROR_INIT;
    (void)n;
    im_code rc = im_app_show_json(work_library(s->work), list[0]->item, &list[0]->answer, &error);
    exchange_end(list[0], rc, 200, &error);
}

/* {"status", "reasons": […]}; 503 when searches are not answered. A followed folder that is lost
 * hinders none. */
void answer_health(server *s, exchange *const *list, size_t n)
{
    work_facts facts;
    exchange *ex = list[0];
    im_json_writer *w = &ex->answer;
    (void)n;
    work_look(s->work, &facts);
    bool stuck = facts.busy_ms > DAEMON_STUCK_MS;
    bool moved = !library_is_in_place(s);
    watch_facts followed;
    watch_look(s->watch, &followed);
    bool ready = facts.warm && facts.trouble.code == IM_OK && !stuck && !moved;
    im_json_begin_object(w);
    im_json_put_string(w, "status",
                       ready && followed.lost == 0 ? "ready"
                       : facts.warm                ? "degraded"
                                                   : "loading");
    im_json_key(w, "reasons");
    im_json_begin_array(w);
    if (!facts.warm) {
        im_json_string_c(w, "model and index are being opened");
    }
    if (facts.trouble.code != IM_OK) {
        im_json_string_c(w, facts.trouble.message);
    }
    if (moved) {
        im_json_string_c(w, "another library, or none, lies where this one did: SIGHUP opens it");
    }
    if (stuck) {
        im_json_string_c(w, "an answer takes longer than 30 s");
    }
    if (followed.lost > 0) {
        char reason[400];
        (void)snprintf(reason, sizeof(reason), "followed folder '%s' is not there%s",
                       followed.first_lost, followed.lost > 1 ? ", and others" : "");
        im_json_string_c(w, reason);
    }
    im_json_end_array(w);
    im_json_put_string(w, "version", IM_VERSION);
    im_json_end_object(w);
    exchange_done(ex, "application/json");
    if (ex->status == 200 && !ready) {
        ex->status = 503;
    }
}

void answer_metrics(server *s, exchange *const *list, size_t n)
{
    (void)n;
    metrics_write(s, &list[0]->answer.out);
    exchange_done(list[0], "text/plain; version=0.0.4; charset=utf-8");
}

void answer_openapi(server *s, exchange *const *list, size_t n)
{
    (void)n;
    im_str_add(&list[0]->answer.out, im_str_text(&s->openapi), s->openapi.size);
    exchange_done(list[0], "application/json");
}
