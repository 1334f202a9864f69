/* base/text_escape.c — foreign bytes for eyes, shells and JSON: escapes, lossy UTF-8, base64. */
#include "base/memory.h"
#include "base/text.h"
#include "base/text_internal.h"
#include <string.h>

static const char hex_digits[] = "0123456789abcdef";
static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

int text_is_unsafe(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code <= 0x9f) /* C0, DEL, C1 */
           || code == 0x61c || code == 0x200e || code == 0x200f ||
           (code >= 0x2028 && code <= 0x202e)    /* line ends, embeddings, overrides */
           || (code >= 0x2066 && code <= 0x2069) /* isolates */
           || code == 0xfeff;
}

/* "\n" and its kind; 0 for those without a letter. */
static char escape_letter(uint32_t code)
{
    switch (code) {
    case '\n':
        return 'n';
    case '\t':
        return 't';
    case '\r':
        return 'r';
    default:
        return 0;
    }
}

static size_t write_hex(char *out, char letter, uint32_t code, unsigned digits)
{
    out[0] = '\\';
    out[1] = letter;
    for (unsigned i = 0; i < digits; i++) {
        out[2 + i] = hex_digits[code >> (4 * (digits - 1 - i)) & 15];
    }
    return 2 + digits;
}

size_t text_escape_unit(const char *p, size_t size, char out[TEXT_UNIT_BYTES], size_t *out_size)
{
    uint32_t code = 0;
    size_t length = im_utf8_decode(p, size, &code);
    if (length == 0) {
        *out_size = write_hex(out, 'x', (unsigned char)p[0], 2);
        return 1;
    }
    if (!text_is_unsafe(code)) {
        memcpy(out, p, length);
        *out_size = length;
    } else if (escape_letter(code) != 0) {
        out[0] = '\\';
        out[1] = escape_letter(code);
        *out_size = 2;
    } else {
        *out_size = code < 0x80 ? write_hex(out, 'x', code, 2) : write_hex(out, 'u', code, 4);
    }
    return length;
}

void im_text_escape(im_str *out, const char *data, size_t size)
{
    size_t i = 0;
    while (i < size && !out->failed) {
        char unit[TEXT_UNIT_BYTES];
        size_t length = 0;
        i += text_escape_unit(data + i, size - i, unit, &length);
        im_str_add(out, unit, length);
    }
}

typedef enum shell_form { SHELL_PLAIN, SHELL_QUOTED, SHELL_ESCAPED } shell_form;

static bool is_shell_safe(char c, size_t place)
{
    if (im_ascii_is_alnum(c)) {
        return true;
    }
    /* zsh expands a leading '=' */
    return c != '\0' && strchr("_@%+:,./-", c) != NULL ? true : c == '=' && place > 0;
}

static shell_form shell_form_of(const char *data, size_t size)
{
    shell_form form = size > 0 ? SHELL_PLAIN : SHELL_QUOTED;
    for (size_t i = 0; i < size;) {
        uint32_t code = 0;
        size_t length = im_utf8_decode(data + i, size - i, &code);
        if (length == 0 || text_is_unsafe(code)) {
            return SHELL_ESCAPED;
        }
        if (length > 1 || !is_shell_safe(data[i], i)) {
            form = SHELL_QUOTED;
        }
        i += length;
    }
    return form;
}

/* One unit of the $'…' form. Bytes are three octal digits: \x would read on through a following
 * hexadecimal digit in some shells, \u depends on the shell's locale. */
static size_t add_shell_unit(im_str *out, const char *p, size_t size)
{
    uint32_t code = 0;
    size_t length = im_utf8_decode(p, size, &code);
    if (length > 0 && escape_letter(code) != 0) {
        im_str_add_char(out, '\\');
        im_str_add_char(out, escape_letter(code));
    } else if (length == 0 || text_is_unsafe(code)) {
        length = length > 0 ? length : 1;
        for (size_t i = 0; i < length; i++) {
            unsigned byte = (unsigned char)p[i];
            im_str_addf(out, "\\%03o", byte);
        }
    } else {
        if (code == '\'' || code == '\\') {
            im_str_add_char(out, '\\');
        }
        im_str_add(out, p, length);
    }
    return length;
}

static void add_shell_quoted(im_str *out, const char *data, size_t size)
{
    im_str_add_char(out, '\'');
    for (size_t i = 0; i < size; i++) {
        if (data[i] == '\'') {
            im_str_add(out, "'\\''", 4);
        } else {
            im_str_add_char(out, data[i]);
        }
    }
    im_str_add_char(out, '\'');
}

void im_text_shell(im_str *out, const char *data, size_t size)
{
    switch (shell_form_of(data, size)) {
    case SHELL_PLAIN:
        im_str_add(out, data, size);
        break;
    case SHELL_QUOTED:
        add_shell_quoted(out, data, size);
        break;
    case SHELL_ESCAPED:
        im_str_add(out, "$'", 2);
        for (size_t i = 0; i < size && !out->failed;) {
            i += add_shell_unit(out, data + i, size - i);
        }
        im_str_add_char(out, '\'');
        break;
    }
}

bool im_text_lossy(im_str *out, const char *data, size_t size)
{
    bool valid = true;
    size_t i = 0;
    while (i < size) {
        size_t bad = size - i;
        bool rest_valid = im_utf8_valid(data + i, size - i, &bad);
        im_str_add(out, data + i, rest_valid ? size - i : bad);
        if (rest_valid) {
            break;
        }
        im_str_add(out, replacement, sizeof replacement - 1);
        i += bad + 1;
        valid = false;
    }
    return valid;
}

void im_text_base64(im_str *out, const void *data, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size && !out->failed; i += 3) {
        size_t n = size - i < 3 ? size - i : 3;
        uint32_t word = (uint32_t)bytes[i] << 16 | (n > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                        (n > 2 ? bytes[i + 2] : 0u);
        char quad[4];
        quad[0] = digits[word >> 18];
        quad[1] = digits[word >> 12 & 63];
        quad[2] = digits[word >> 6 & 63];
        quad[3] = digits[word & 63];
        if (n < 3) {
            quad[3] = '=';
        }
        if (n < 2) {
            quad[2] = '=';
        }
        im_str_add(out, quad, sizeof quad);
    }
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

size_t im_text_base64_read(const char *text, size_t n, char *out, size_t *out_size)
{
    size_t padding = n >= 4 && text[n - 1] == '=' ? text[n - 2] == '=' ? 2 : 1 : 0;
    size_t used = 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < n; i++) {
        int value = i < n - padding ? base64_value(text[i]) : 0;
        if (value < 0) {
            return i;
        }
        bits = bits << 6 | (uint32_t)value;
        if (i % 4 == 3) {
            size_t left = i + 1 == n ? 3 - padding : 3;
            for (size_t j = 0; j < left; j++) {
                out[used++] = (char)(bits >> (16 - 8 * j) & 0xffu);
            }
            if (left < 3 && (bits & (0xffffffu >> (8 * left))) != 0) {
                return n - padding - 1; /* bits that no byte takes up */
            }
            bits = 0;
        }
    }
    *out_size = used;
    return n > 0 && n % 4 == 0 ? SIZE_MAX : n;
}
