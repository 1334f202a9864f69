/* base/error.c — fills error values; the tables come from error.def and reasons.def.
 * Nothing here allocates: an error about memory must not need any. */
#include "base/error.h"
#include "base/text_internal.h"
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Two paths of PATH_MAX and some words; what is longer loses its end. */
#define RAW_BYTES 9216
static const char ellipsis[] = "\xe2\x80\xa6";

typedef struct code_row {
    const char *name;
    const char *meaning;
    int exit_code;
    int http;
} code_row;

static const code_row codes[IM_CODE_COUNT] = {
#define X(name, exit_code, http, meaning) {"IM_" #name, meaning, exit_code, http},
#include "base/error.def"
#undef X
};

typedef struct reason_row {
    const char *name;
    im_code code;
} reason_row;

static const reason_row reasons[IM_REASON_COUNT] = {
#define X(NAME, name, code, meaning) {#name, IM_##code},
#include "base/reasons.def"
#undef X
};

static bool code_known(im_code code)
{
    return (unsigned)code < (unsigned)IM_CODE_COUNT;
}

/* The first row of a class is its general reason. */
static const char *general_reason(im_code code)
{
    for (size_t i = 0; i < IM_REASON_COUNT; i++) {
        if (reasons[i].code == code) {
            return reasons[i].name;
        }
    }
    return "ok";
}

/* Copies the printable form of as much of raw as fits into room bytes; *out_taken says how much of
 * raw that was. Returns the bytes written; no NUL. */
static size_t escape_head(char *out, size_t room, const char *raw, size_t size, size_t *out_taken)
{
    size_t used = 0;
    size_t taken = 0;
    while (taken < size) {
        char unit[TEXT_UNIT_BYTES];
        size_t length = 0;
        size_t step = text_escape_unit(raw + taken, size - taken, unit, &length);
        if (used + length > room) {
            break;
        }
        memcpy(out + used, unit, length);
        used += length;
        taken += step;
    }
    *out_taken = taken;
    return used;
}

/* Start of the longest tail of raw whose printable form fits into room bytes. Walks forward from a
 * place that is surely early enough, so that units are always split as escape_head splits them. */
static size_t tail_start(const char *raw, size_t from, size_t size, size_t room)
{
    size_t total = 0;
    char unit[TEXT_UNIT_BYTES];
    for (size_t i = from; i < size;) {
        size_t length = 0;
        i += text_escape_unit(raw + i, size - i, unit, &length);
        total += length;
    }
    size_t start = from;
    while (start < size && total > room) {
        size_t length = 0;
        start += text_escape_unit(raw + start, size - start, unit, &length);
        total -= length;
    }
    return start;
}

/* Fills out with the printable form of raw. What does not fit is taken from the middle, because a
 * sentence begins with its subject (often a long path) and ends with what is wrong. */
static void escape_sentence(char *out, size_t capacity, const char *raw, size_t size)
{
    size_t taken = 0;
    size_t used = escape_head(out, capacity - 1, raw, size, &taken);
    if (taken < size) {
        size_t half = (capacity - sizeof ellipsis) / 2;
        used = escape_head(out, half, raw, size, &taken);
        memcpy(out + used, ellipsis, sizeof ellipsis - 1);
        used += sizeof ellipsis - 1;
        size_t room = capacity - 1 - used;
        size_t start = tail_start(raw, taken, size, room);
        used += escape_head(out + used, room, raw + start, size - start, &taken);
    }
    out[used] = '\0';
}

/* Formats into raw; returns the length that is there. */
__attribute__((format(printf, 3, 0))) static size_t format_raw(char *raw, size_t capacity,
                                                               const char *fmt, va_list args)
{
    int length = text_vsnprintf(raw, capacity, fmt, args);
    if (length < 0) {
        raw[0] = '\0';
        return 0;
    }
    return (size_t)length < capacity ? (size_t)length : capacity - 1;
}

__attribute__((format(printf, 5, 0))) static void fill(im_error *err, im_code code,
                                                       const char *reason, const char *suffix,
                                                       const char *fmt, va_list args)
{
    if (err == NULL) {
        return;
    }
    char raw[RAW_BYTES];
    size_t size = format_raw(raw, sizeof raw, fmt, args);
    if (suffix != NULL) {
        /* the errno text must stay even when the sentence filled the buffer */
        size_t reserve = strlen(suffix) + 3;
        if (size > sizeof raw - reserve) {
            size = sizeof raw - reserve;
        }
        int more = snprintf(raw + size, sizeof raw - size, ": %s", suffix);
        size += more > 0 ? (size_t)more : 0;
    }
    err->code = code;
    err->reason = reason;
    err->hint[0] = err->field[0] = err->file[0] = '\0';
    escape_sentence(err->message, sizeof err->message, raw, size);
}

im_code im_fail(im_error *err, im_code code, const char *fmt, ...)
{
    if (!code_known(code)) {
        code = IM_ERR_INTERNAL;
    }
    va_list args;
    va_start(args, fmt);
    fill(err, code, general_reason(code), NULL, fmt, args);
    va_end(args);
    return code;
}

im_code im_fail_as(im_error *err, im_reason reason, const char *fmt, ...)
{
    if ((unsigned)reason >= (unsigned)IM_REASON_COUNT) {
        reason = IM_REASON_INTERNAL;
    }
    va_list args;
    va_start(args, fmt);
    fill(err, reasons[reason].code, reasons[reason].name, NULL, fmt, args);
    va_end(args);
    return reasons[reason].code;
}

static im_reason reason_of_errno(int errnum)
{
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
        return IM_REASON_FULL;
    case EACCES:
    case EPERM:
    case EROFS:
        return IM_REASON_DENIED;
    case ENOENT:
    case ENOTDIR:
        return IM_REASON_NOT_FOUND;
    case ENOMEM:
    case EMFILE:
    case ENFILE:
        return IM_REASON_NOMEM;
    case ENAMETOOLONG:
        return IM_REASON_PATH_TOO_LONG;
    default:
        return IM_REASON_IO;
    }
}

static const char *hint_of_errno(int errnum)
{
    switch (errnum) {
    case ENOSPC:
        return "make room on that disk";
    case EDQUOT:
        return "the quota is used up: make room or ask for more";
    case EMFILE:
    case ENFILE:
        return "too many open files: see 'ulimit -n'";
    default:
        return NULL;
    }
}

im_code im_fail_errno(im_error *err, int errnum, const char *fmt, ...)
{
    im_reason reason = reason_of_errno(errnum);
    char text_buffer[128];
    const char *text = strerror_r(errnum, text_buffer, sizeof text_buffer);
    va_list args;
    va_start(args, fmt);
    fill(err, reasons[reason].code, reasons[reason].name, text, fmt, args);
    va_end(args);
    const char *hint = hint_of_errno(errnum);
    if (hint != NULL) {
        im_hint(err, "%s", hint);
    }
    return reasons[reason].code;
}

__attribute__((format(printf, 3, 0))) static void put_sentence(char *out, size_t capacity,
                                                               const char *fmt, va_list args)
{
    char raw[1024];
    size_t size = format_raw(raw, sizeof raw, fmt, args);
    escape_sentence(out, capacity, raw, size);
}

void im_hint(im_error *err, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    if (err != NULL) {
        put_sentence(err->hint, sizeof err->hint, fmt, args);
    }
    va_end(args);
}

void im_at_field(im_error *err, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    if (err != NULL) {
        put_sentence(err->field, sizeof err->field, fmt, args);
    }
    va_end(args);
}

void im_at_file(im_error *err, const char *path)
{
    size_t taken = 0;
    size_t size = strlen(path);
    if (err == NULL) {
        return;
    }
    size_t used = escape_head(err->file, sizeof err->file - 1, path, size, &taken);
    err->file[taken == size ? used : 0] = '\0'; /* half a name is the name of another file */
}

const char *im_code_name(im_code code)
{
    return codes[code_known(code) ? code : IM_ERR_INTERNAL].name;
}

int im_code_exit(im_code code)
{
    return codes[code_known(code) ? code : IM_ERR_INTERNAL].exit_code;
}

int im_code_http(im_code code)
{
    return codes[code_known(code) ? code : IM_ERR_INTERNAL].http;
}

const char *im_code_meaning(im_code code)
{
    return codes[code_known(code) ? code : IM_ERR_INTERNAL].meaning;
}

const char *im_reason_name(im_reason reason)
{
    bool known = (unsigned)reason < (unsigned)IM_REASON_COUNT;
    return reasons[known ? reason : IM_REASON_INTERNAL].name;
}
