/* app/progress.c — the meter of long work: rate, time left, and when to say so. */
#include "app/app_internal.h"
#include "base/clock.h"

#define METER_EVERY_NS 200000000ull   /* five reports a second */
#define METER_WINDOW_NS 5000000000ull /* the rate is that of the last five seconds or so */

void meter_start(progress_meter *meter, const char *stage, uint64_t total)
{
    memset(meter, 0, sizeof(*meter));
    meter->state.stage = stage;
    meter->state.total = total;
    meter->state.eta_s = -1;
    meter->start_ns = im_clock_ns();
    meter->window_ns = meter->start_ns;
}

static void meter_report(progress_meter *meter, uint64_t now, const im_events *events)
{
    im_progress *state = &meter->state;
    double window_s = (double)(now - meter->window_ns) / 1e9;
    state->seconds = (double)(now - meter->start_ns) / 1e9;
    if (window_s > 0) {
        state->rate = (double)(state->done - meter->window_done) / window_s;
    }
    state->eta_s = -1;
    if (state->rate > 0 && state->total >= state->done && state->total > 0) {
        state->eta_s = (double)(state->total - state->done) / state->rate;
    }
    if (now - meter->window_ns > METER_WINDOW_NS) {
        meter->window_ns = now;
        meter->window_done = state->done;
    }
    meter->last_ns = now;
    event_progress(events, state);
}

void meter_tick(progress_meter *meter, uint64_t done, uint64_t failed, const im_events *events)
{
    uint64_t now = im_clock_ns();
    meter->state.done = done;
    meter->state.failed = failed;
    if (now - meter->last_ns >= METER_EVERY_NS) {
        meter_report(meter, now, events);
    }
}

void meter_end(progress_meter *meter, const im_events *events)
{
    meter->window_ns = meter->start_ns; /* the last word is the mean over all */
    meter->window_done = 0;
    meter_report(meter, im_clock_ns(), events);
}

bool meter_relay_on(void *context, uint64_t done, uint64_t total)
{
    meter_relay *relay = context;
    relay->meter.state.total = total;
    meter_tick(&relay->meter, done, 0, relay->events);
    return !im_stop_asked();
}
