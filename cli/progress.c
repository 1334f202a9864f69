/* cli/progress.c — a bar with rate and time left on terminals, a line every ten seconds elsewhere.
 */
#include "cli/cli_internal.h"

#define LINE_EVERY_S 10.0
#define BAR_CELLS 24

const char *cli_duration(double seconds, char out[24])
{
    uint64_t s = seconds > 0 && seconds < 1e9 ? (uint64_t)(seconds + 0.5) : 0;
    if (s >= 3600) {
        (void)snprintf(out, 24, "%llu:%02u:%02u", (unsigned long long)(s / 3600),
                       (unsigned)(s / 60 % 60), (unsigned)(s % 60));
    } else {
        (void)snprintf(out, 24, "%u:%02u", (unsigned)(s / 60), (unsigned)(s % 60));
    }
    return out;
}

const char *cli_cost(bool priced, uint64_t cost_nano, char out[CLI_COST_SIZE])
{
    out[0] = '\0';
    if (priced) {
        (void)snprintf(out, CLI_COST_SIZE, " (cost %.6g)", (double)cost_nano * 1e-9);
    }
    return out;
}

static void add_bar(im_str *line, double share)
{
    size_t full = (size_t)(share * BAR_CELLS + 0.5);
    im_str_add_char(line, '[');
    for (size_t i = 0; i < BAR_CELLS; i++) {
        im_str_add_char(line, i < full ? '#' : '.');
    }
    im_str_add_c(line, "] ");
}

static void add_counts(im_str *line, const cli_progress_state *state)
{
    char time[24];
    if (state->total > 0) {
        im_str_addf(line, "%llu/%llu", (unsigned long long)state->done,
                    (unsigned long long)state->total);
    } else {
        im_str_addf(line, "%llu", (unsigned long long)state->done);
    }
    if (state->rate > 0) {
        im_str_addf(line, ", %.*f/s", state->rate < 10 ? 1 : 0, state->rate);
    }
    if (state->eta_s >= 0) {
        im_str_addf(line, ", %s left", cli_duration(state->eta_s, time));
    }
    if (state->failed > 0) {
        im_str_addf(line, ", %llu failed", (unsigned long long)state->failed);
    }
}

void cli_progress_hide(cli_progress *progress)
{
    if (progress->drawn) {
        cli_puts(progress->words, "\r\x1b[K");
        progress->drawn = false;
    }
}

static void show_bar(cli_progress *progress, const cli_progress_state *state)
{
    im_str line;
    im_str_init(&line, 4096);
    im_str_addf(&line, "%s ", state->stage);
    if (state->total > 0) {
        uint64_t done = IM_MIN(state->done, state->total);
        add_bar(&line, (double)done / (double)state->total);
    }
    add_counts(&line, state);
    size_t room = progress->words->columns - 1; /* a full line would wrap and stay */
    cli_progress_hide(progress);
    cli_put(progress->words, im_str_text(&line), IM_MIN(line.size, room));
    cli_flush(progress->words);
    progress->drawn = true;
    im_str_clear(&line);
}

static void show_line(cli_progress *progress, const cli_progress_state *state)
{
    im_str line;
    if (state->seconds < progress->last_line_s) {
        progress->last_line_s = 0; /* a new stage counts from its own start */
    }
    if (state->seconds - progress->last_line_s < LINE_EVERY_S) {
        return;
    }
    progress->last_line_s = state->seconds;
    im_str_init(&line, 4096);
    im_str_addf(&line, "%s: ", state->stage);
    add_counts(&line, state);
    cli_printf(progress->words, "%s\n", im_str_text(&line));
    cli_flush(progress->words);
    im_str_clear(&line);
}

void cli_progress_show(cli_progress *progress, const cli_progress_state *state)
{
    if (progress->quiet) {
        return;
    }
    if (progress->words->terminal) {
        show_bar(progress, state);
    } else {
        show_line(progress, state);
    }
}
