/* base/text_internal.h — what the files of base/ share about text. */
#ifndef IM_BASE_TEXT_INTERNAL_H
#define IM_BASE_TEXT_INTERNAL_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_UNIT_BYTES 8 /* the longest printable form of one unit is \u202e */

/** Takes the next unit (a code point, or one bad byte) of p and writes its printable form to out;
 * *out_size is the length written. Returns the bytes taken, at least 1; size must be > 0. */
size_t text_escape_unit(const char *p, size_t size, char out[TEXT_UNIT_BYTES], size_t *out_size);

/** True for code points that are not safe to show: controls, separators, direction marks. */
int text_is_unsafe(uint32_t code);

/** vsnprintf in the C locale, whatever the process's locale is. */
int text_vsnprintf(char *out, size_t size, const char *fmt, va_list args)
    __attribute__((format(printf, 3, 0)));

#endif
