/* base/text.h — borrowed views, bounded growable strings, UTF-8, escapes for people's eyes. */
#ifndef IM_BASE_TEXT_H
#define IM_BASE_TEXT_H

#include "base/error.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Borrowed bytes, not terminated, may hold NUL. */
typedef struct im_view {
    const char *data;
    size_t size;
} im_view;

static inline im_view im_view_of(const char *data, size_t size)
{
    im_view view = {data, size};
    return view;
}

/* ASCII alone, whatever the locale: for names and words of ours, not for people's texts. */
static inline bool im_ascii_is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static inline bool im_ascii_is_alnum(char c)
{
    return im_ascii_is_letter(c) || (c >= '0' && c <= '9');
}

static inline char im_ascii_lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

/** Equal when ASCII letters in any case are the same. */
bool im_ascii_same_word(const char *a, const char *b);

im_view im_view_from(const char *c_string);
bool im_view_equal(im_view a, im_view b);
bool im_view_equal_c(im_view a, const char *c_string);

/** Growable string, always NUL-terminated, never larger than `max` bytes. A failed append (out of
 * memory or above max) is remembered in `failed` and makes the later ones do nothing, so that a
 * builder checks once at its end. */
typedef struct im_str {
    char *data; /* owned; NULL until the first append */
    size_t size;
    size_t capacity;
    size_t max;
    bool failed;
} im_str;

void im_str_init(im_str *str, size_t max);
void im_str_add(im_str *str, const char *data, size_t size);
void im_str_add_c(im_str *str, const char *c_string);
void im_str_add_char(im_str *str, char c);
/** Formatted in the C locale whatever the process's locale is. */
void im_str_addf(im_str *str, const char *fmt, ...) IM_PRINTF(2, 3);
void im_str_addv(im_str *str, const char *fmt, va_list args) IM_PRINTF(2, 0);
/** The text, "" when nothing was added. Valid until the next append or clear. */
const char *im_str_text(const im_str *str);
void im_str_reset(im_str *str);
void im_str_clear(im_str *str);

/** Decodes one code point; returns its length in bytes, 0 when the bytes at p are not valid UTF-8
 * (overlong, surrogate, above U+10FFFF, cut). */
size_t im_utf8_decode(const char *p, size_t size, uint32_t *out_code);
/** Writes code (a valid scalar value) to out (>= 4 bytes); returns the length. */
size_t im_utf8_encode(uint32_t code, char *out);
/** True when all is valid; else *out_bad (may be NULL) is the place of the first bad byte. */
bool im_utf8_valid(const char *data, size_t size, size_t *out_bad);

/** Appends `data` with control bytes, bad UTF-8 and invisible direction marks written as \n, \x1b,
 * \u202e: safe to print. Backslashes stay as they are, so that text escaped twice stays the same.
 */
void im_text_escape(im_str *out, const char *data, size_t size);
/** Appends `data` so that a POSIX shell reads it back as one word, quoted only when needed; with
 * control bytes in it the $'…' form (bash, zsh, POSIX 2024). A leading '-' is the caller's matter.
 */
void im_text_shell(im_str *out, const char *data, size_t size);
/** Appends `data` as UTF-8 with U+FFFD in place of each bad byte; returns true when it was valid.
 */
bool im_text_lossy(im_str *out, const char *data, size_t size);
/** Appends `data` as texts are compared: Unicode full case folding, composed (NFC), U+FFFD in place
 * of each bad byte. Two texts that differ in case or composition alone give the same bytes. */
void im_text_fold(im_str *out, const char *data, size_t size);

/** Whole of text as a decimal number in [min, max]; false for anything else ("10abc", "", "+1"). */
bool im_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *out);
/** Whole of text as a finite number, in the C locale whatever the process's locale is. */
bool im_parse_double(const char *text, double *out);

#define IM_NUMBER_BYTES 32

/** The shortest decimal digits (at least 6 resp. 15 are tried) that read back as the same finite
 * value, in the C locale; returns out. */
const char *im_text_float(float value, char out[IM_NUMBER_BYTES]);
const char *im_text_double(double value, char out[IM_NUMBER_BYTES]);

/** Base64 with padding, into out. */
void im_text_base64(im_str *out, const void *data, size_t size);
/** Reads base64, strictly: the letters of RFC 4648 section 4, padded, nothing else. Returns the place
 * of the first letter that is wrong, n when the end is; SIZE_MAX: all is well.
 * @param out [n / 4 * 3] */
size_t im_text_base64_read(const char *text, size_t n, char *out, size_t *out_size);

/** 1234567 -> "1.2 MB" in out (>= 16 bytes); returns out. */
const char *im_text_bytes(uint64_t bytes, char out[16]);

#endif
