/* base/log.c — one write(2) a line, so that lines of several threads never mix. */
#include "base/log.h"
#include "base/text_internal.h"
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 4096

static atomic_int threshold = IM_LOG_WARN;
static const char *const level_names[] = {"error", "warn", "info", "debug"};

void im_log_set_level(im_log_level level)
{
    atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}

/* Appends the printable form of text as far as it fits; one byte stays free for the newline. */
static size_t append(char *line, size_t used, const char *text, size_t size)
{
    for (size_t i = 0; i < size;) {
        char unit[TEXT_UNIT_BYTES];
        size_t length = 0;
        i += text_escape_unit(text + i, size - i, unit, &length);
        if (used + length > LINE_BYTES - 1) {
            break;
        }
        memcpy(line + used, unit, length);
        used += length;
    }
    return used;
}

static void write_all(const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(STDERR_FILENO, data, size);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return; /* nobody reads: a log line is not worth a failure */
        }
        data += n;
        size -= (size_t)n;
    }
}

void im_log(im_log_level level, const char *event, const char *fmt, ...)
{
    if ((int)level > atomic_load_explicit(&threshold, memory_order_relaxed)) {
        return;
    }
    int saved = errno;
    char line[LINE_BYTES];
    size_t used = append(line, 0, level_names[level], strlen(level_names[level]));
    used = append(line, used, " ", 1);
    used = append(line, used, event, strlen(event));
    if (fmt != NULL && fmt[0] != '\0') {
        char raw[LINE_BYTES];
        va_list args;
        va_start(args, fmt);
        int length = text_vsnprintf(raw, sizeof raw, fmt, args);
        va_end(args);
        size_t size = length < 0 ? 0 : (size_t)length;
        used = append(line, used, " ", 1);
        used = append(line, used, raw, size < sizeof raw ? size : sizeof raw - 1);
    }
    line[used++] = '\n';
    write_all(line, used);
    errno = saved;
}
