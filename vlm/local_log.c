/* vlm/local_log.c — what a llama-server wrote last, and whose its port is. */
#include "vlm/local_internal.h"

#include <stdio.h>
#include <unistd.h>

/* ---- lines ---- */

static bool says(const char *line, const char *word)
{
    size_t n = strlen(word);
    for (; *line != '\0'; line++) {
        if (strncasecmp(line, word, n) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_failure(const char *line)
{
    static const char *const words[] = {"error",  "fail",      "unable",  "cannot",
                                        "couldn", "could not", "invalid", "not found"};
    bool failure = false;
    for (size_t i = 0; i < IM_COUNT(words); i++) {
        failure = failure || says(line, words[i]);
    }
    return failure;
}

/* "0.00.019.777 E text" begins with its time and level: E is an error. */
static const char *without_time(const char *line, bool *out_error)
{
    size_t n = strspn(line, "0123456789.");
    bool timed =
        n > 4 && line[n] == ' ' && line[n + 1] >= 'A' && line[n + 1] <= 'Z' && line[n + 2] == ' ';
    const char *text = timed ? line + n + 3 : line;
    *out_error = timed && line[n + 1] == 'E';
    return text + strspn(text, " \t");
}

static void end_line(local_tail *tail, const im_vlm_local_listener *listener)
{
    tail->open[tail->n_open] = '\0';
    tail->n_open = 0;
    bool error = false;
    const char *text = without_time(tail->open, &error);
    if (*text == '\0') {
        return;
    }
    tail->failures[tail->n % LOCAL_LINES] = error || is_failure(text);
    char *line = tail->lines[tail->n++ % LOCAL_LINES];
    memcpy(line, text, strlen(text) + 1);
    tail->port_taken =
        tail->port_taken || says(line, "couldn't bind") || says(line, "address already in use");
    if (listener != NULL && listener->line != NULL) {
        listener->line(listener->context, line);
    }
}

void local_tail_add(local_tail *tail, const char *bytes, size_t size,
                    const im_vlm_local_listener *listener)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] == '\n') {
            end_line(tail, listener);
        } else if (tail->n_open < LOCAL_LINE_BYTES && bytes[i] != '\r' && bytes[i] != '\0') {
            tail->open[tail->n_open++] = bytes[i];
        }
    }
}

bool local_tail_words(const local_tail *tail, im_str *out)
{
    enum { MOST = 4 };
    const char *picked[MOST];
    size_t n = 0;
    bool any = false;
    size_t kept = IM_MIN(tail->n, (size_t)LOCAL_LINES);
    for (size_t i = 0; i < kept; i++) {
        any = any || tail->failures[i];
    }
    kept = any ? kept : IM_MIN(kept, (size_t)MOST);
    for (size_t i = tail->n - kept; i < tail->n; i++) {
        size_t at = i % LOCAL_LINES; /* the first ones say why, the last one what came of it */
        if (!any || tail->failures[at]) {
            picked[n < MOST ? n++ : MOST - 1] = tail->lines[at];
        }
    }
    for (size_t i = 0; i < n; i++) {
        im_str_addf(out, "%s%.90s", i > 0 ? " | " : "", picked[i]);
    }
    return tail->port_taken;
}

/* ---- the port ---- */

bool local_port_is_ours(const char *port)
{
    char line[512];
    char wanted[32];
    uint64_t number = 0;
    bool ours = true; /* what is not listed cannot be told */
    FILE *table = fopen("/proc/net/tcp", "re");
    if (table == NULL || !im_parse_u64(port, 1, 65535, &number)) {
        if (table != NULL) {
            (void)fclose(table);
        }
        return true;
    }
    (void)snprintf(wanted, sizeof(wanted), "0100007F:%04X", (unsigned)number);
    while (fgets(line, sizeof(line), table) != NULL) {
        char at[32];
        char state[8];
        unsigned long uid = 0;
        /* sl local remote state queues timer retransmits uid */
        if (sscanf(line, " %*31s %31s %*31s %7s %*31s %*31s %*31s %lu", at, state, &uid) == 3 &&
            strcmp(at, wanted) == 0 && strcmp(state, "0A") == 0) {
            ours = uid == (unsigned long)geteuid();
        }
    }
    (void)fclose(table);
    return ours;
}
