/* base/text.c — views, bounded strings, UTF-8. Escapes are in text_escape.c, numbers in
 * text_number.c. */
#include "base/text.h"
#include "base/memory.h"
#include "base/size.h"
#include "base/text_internal.h"
#include <string.h>

bool im_ascii_same_word(const char *a, const char *b)
{
    while (*a != '\0' && im_ascii_lower(*a) == im_ascii_lower(*b)) {
        a++;
        b++;
    }
    return *a == *b;
}

im_view im_view_from(const char *c_string)
{
    return im_view_of(c_string, c_string != NULL ? strlen(c_string) : 0);
}

bool im_view_equal(im_view a, im_view b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

bool im_view_equal_c(im_view a, const char *c_string)
{
    return im_view_equal(a, im_view_from(c_string));
}

void im_str_init(im_str *str, size_t max)
{
    *str = (im_str){.max = max};
}

/* Makes room for `more` bytes and a NUL; false (and failed) when they may not or cannot be had. */
static bool reserve(im_str *str, size_t more)
{
    if (str->failed || more > str->max - str->size) {
        str->failed = true;
        return false;
    }
    size_t need = str->size + more; /* <= max */
    if (str->data != NULL && need < str->capacity) {
        return true;
    }
    /* doubling, at most max + 1; SIZE_MAX as max cannot overflow: need + 1 was then refused */
    size_t capacity = IM_MAX(str->capacity, (size_t)32);
    while (capacity <= need) {
        capacity = capacity > SIZE_MAX / 2 ? SIZE_MAX : capacity * 2;
        if (capacity == SIZE_MAX && capacity <= need) {
            str->failed = true;
            return false;
        }
    }
    if (capacity - 1 > str->max) {
        capacity = str->max + 1;
    }
    char *data = im_realloc(str->data, capacity, 1);
    if (data == NULL) {
        str->failed = true;
        return false;
    }
    str->data = data;
    str->capacity = capacity;
    return true;
}

void im_str_add(im_str *str, const char *data, size_t size)
{
    if (size == 0 || !reserve(str, size)) {
        return;
    }
    memcpy(str->data + str->size, data, size);
    str->size += size;
    str->data[str->size] = '\0';
}

void im_str_add_c(im_str *str, const char *c_string)
{
    im_str_add(str, c_string, strlen(c_string));
}

void im_str_add_char(im_str *str, char c)
{
    im_str_add(str, &c, 1);
}

void im_str_addv(im_str *str, const char *fmt, va_list args)
{
    char small[256];
    va_list again;
    va_copy(again, args);
    int length = text_vsnprintf(small, sizeof small, fmt, args);
    if (length < 0) {
        str->failed = true;
    } else if ((size_t)length < sizeof small) {
        im_str_add(str, small, (size_t)length);
    } else if (reserve(str, (size_t)length)) {
        (void)text_vsnprintf(str->data + str->size, (size_t)length + 1, fmt, again);
        str->size += (size_t)length;
    }
    va_end(again);
}

void im_str_addf(im_str *str, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    im_str_addv(str, fmt, args);
    va_end(args);
}

const char *im_str_text(const im_str *str)
{
    return str->data != NULL ? str->data : "";
}

void im_str_reset(im_str *str)
{
    str->size = 0;
    str->failed = false;
    if (str->data != NULL) {
        str->data[0] = '\0';
    }
}

void im_str_clear(im_str *str)
{
    im_free(str->data);
    im_str_init(str, str->max);
}

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0u) == 0x80u;
}

size_t im_utf8_decode(const char *p, size_t size, uint32_t *out_code)
{
    if (size == 0) {
        return 0;
    }
    unsigned char first = (unsigned char)p[0];
    size_t length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (length == 0 || first > 0xf4 || length > size) {
        return 0;
    }
    if (length == 1) {
        *out_code = first;
        return 1;
    }
    uint32_t code = first & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if (!is_continuation(p[i])) {
            return 0;
        }
        code = code << 6 | ((unsigned char)p[i] & 0x3fu);
    }
    /* the smallest code point that needs this length; a smaller one is overlong */
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (code < least[length] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
        return 0;
    }
    *out_code = code;
    return length;
}

size_t im_utf8_encode(uint32_t code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--) {
        out[i] = (char)(0x80u | (code & 0x3fu));
        code >>= 6;
    }
    static const unsigned char lead[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    out[0] = (char)(lead[length] | code);
    return length;
}

bool im_utf8_valid(const char *data, size_t size, size_t *out_bad)
{
    for (size_t i = 0; i < size;) {
        uint32_t code = 0;
        size_t length = im_utf8_decode(data + i, size - i, &code);
        if (length == 0) {
            if (out_bad != NULL) {
                *out_bad = i;
            }
            return false;
        }
        i += length;
    }
    return true;
}
