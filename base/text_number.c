/* base/text_number.c — numbers to text and back, in the C locale whatever the process's is: a
 * library that was linked in (glib, say) may have called setlocale. */
#include "base/text.h"
#include "base/text_internal.h"
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_once_t locale_once = PTHREAD_ONCE_INIT;
static locale_t c_locale; /* written once, then only read */

static void make_locale(void)
{
    /* glibc hands out its static C locale here: no memory, no failure */
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

static locale_t enter_c_locale(void)
{
    (void)pthread_once(&locale_once, make_locale);
    return c_locale != (locale_t)0 ? uselocale(c_locale) : (locale_t)0;
}

static void leave_c_locale(locale_t before)
{
    if (before != (locale_t)0) {
        (void)uselocale(before);
    }
}

int text_vsnprintf(char *out, size_t size, const char *fmt, va_list args)
{
    locale_t before = enter_c_locale();
    int length = vsnprintf(out, size, fmt, args);
    leave_c_locale(before);
    return length;
}

const char *im_text_double(double value, char out[IM_NUMBER_BYTES])
{
    locale_t before = enter_c_locale();
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(out, IM_NUMBER_BYTES, "%.*g", digits, value);
        if (strtod(out, NULL) == value) {
            break;
        }
    }
    leave_c_locale(before);
    return out;
}

const char *im_text_float(float value, char out[IM_NUMBER_BYTES])
{
    locale_t before = enter_c_locale();
    for (int digits = 6; digits <= 9; digits++) {
        (void)snprintf(out, IM_NUMBER_BYTES, "%.*g", digits, (double)value);
        if (strtof(out, NULL) == value) {
            break;
        }
    }
    leave_c_locale(before);
    return out;
}

bool im_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;
    if (text == NULL || text[0] == '\0') {
        return false;
    }
    for (const char *p = text; *p != '\0'; p++) {
        if (*p < '0' || *p > '9') {
            return false;
        }
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value)) {
            return false;
        }
    }
    if (value < min || value > max) {
        return false;
    }
    *out = value;
    return true;
}

static const char *skip_digits(const char *p)
{
    while (*p >= '0' && *p <= '9') {
        p++;
    }
    return p;
}

/* [-] digits [. digits] [e [+-] digits], with at least one digit before the exponent. strtod alone
 * would take blanks, hexadecimal, "inf" and "nan" too. */
static bool is_decimal(const char *text)
{
    const char *start = text + (*text == '-');
    const char *p = skip_digits(start);
    size_t digits = (size_t)(p - start);
    if (*p == '.') {
        const char *fraction = p + 1;
        p = skip_digits(fraction);
        digits += (size_t)(p - fraction);
    }
    if (digits == 0) {
        return false;
    }
    if (*p == 'e' || *p == 'E') {
        p += p[1] == '+' || p[1] == '-' ? 2 : 1;
        const char *exponent = p;
        p = skip_digits(exponent);
        if (p == exponent) {
            return false;
        }
    }
    return *p == '\0';
}

bool im_parse_double(const char *text, double *out)
{
    if (text == NULL || !is_decimal(text)) {
        return false;
    }
    locale_t before = enter_c_locale();
    double value = strtod(text, NULL);
    leave_c_locale(before);
    if (!isfinite(value)) {
        return false;
    }
    *out = value;
    return true;
}

const char *im_text_bytes(uint64_t bytes, char out[16])
{
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    if (bytes < 1000) {
        (void)snprintf(out, 16, "%u B", (unsigned)bytes);
        return out;
    }
    /* in tenths of the unit, rounded; 999,950 B is 1.0 MB, not 1000.0 kB */
    uint64_t tenth = 100;
    size_t unit = 0;
    uint64_t tenths = bytes / tenth + (bytes % tenth >= tenth / 2);
    while (tenths >= 10000 && unit + 1 < sizeof units / sizeof units[0]) {
        tenth *= 1000;
        unit++;
        tenths = bytes / tenth + (bytes % tenth >= tenth / 2);
    }
    (void)snprintf(out, 16, "%u.%u %s", (unsigned)(tenths / 10), (unsigned)(tenths % 10),
                   units[unit]);
    return out;
}
