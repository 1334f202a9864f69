/* query/cursor.c — the place where the next page begins, as text: what the last hit was ranked by
 * (bit for bit, so that it comes back whole), its item, the change number, and check digits. */
#include "base/base.h"
#include "base/hash.h"
#include "query/query.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define CRC_CHARS 8u
#define TAIL_CHARS (8u + 16u + 16u) /* order, item, change number */

/* The letter of a kind, in the order of im_cursor_kind. */
static const char letters[] = "sxint";

void im_cursor_clear(im_cursor *cursor)
{
    im_free(cursor->text);
    *cursor = (im_cursor){0};
}

void im_cursor_write(const im_cursor *cursor, im_str *out)
{
    uint32_t bits = 0;
    uint64_t wide = 0;
    size_t begin = out->size;
    im_str_add_char(out, letters[cursor->kind]);
    switch (cursor->kind) {
    case IM_CURSOR_SCORE:
        memcpy(&bits, &cursor->score, sizeof(bits));
        im_str_addf(out, "%08" PRIx32, bits);
        break;
    case IM_CURSOR_NONE:
        break;
    case IM_CURSOR_INTEGER:
        im_str_addf(out, "%016" PRIx64, (uint64_t)cursor->integer);
        break;
    case IM_CURSOR_NUMBER:
        memcpy(&wide, &cursor->number, sizeof(wide));
        im_str_addf(out, "%016" PRIx64, wide);
        break;
    case IM_CURSOR_TEXT:
        for (const char *at = cursor->text; *at != '\0'; at++) {
            im_str_addf(out, "%02x", (unsigned)(unsigned char)*at);
        }
        break;
    }
    im_str_addf(out, "%08" PRIx32 "%016" PRIx64 "%016" PRIx64, cursor->order, cursor->item,
                cursor->change_seq);
    im_str_addf(out, "%08" PRIx32, im_crc32c(0, im_str_text(out) + begin, out->size - begin));
}

static bool read_hex(const char *text, size_t n, uint64_t *out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        unsigned digit = 0;
        if (c >= '0' && c <= '9') {
            digit = (unsigned)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            digit = (unsigned)(c - 'a') + 10;
        } else {
            return false;
        }
        value = value << 4 | digit;
    }
    *out = value;
    return true;
}

/* The value's `n` characters. */
static bool read_value(const char *text, size_t n, im_cursor *out)
{
    uint64_t value = 0;
    uint32_t word = 0;
    switch (out->kind) {
    case IM_CURSOR_SCORE:
        if (n != 8 || !read_hex(text, n, &value)) {
            return false;
        }
        word = (uint32_t)value;
        memcpy(&out->score, &word, sizeof(word));
        return isfinite(out->score);
    case IM_CURSOR_NONE:
        return n == 0;
    case IM_CURSOR_INTEGER:
        if (n != 16 || !read_hex(text, n, &value)) {
            return false;
        }
        memcpy(&out->integer, &value, sizeof(value));
        return true;
    case IM_CURSOR_NUMBER:
        if (n != 16 || !read_hex(text, n, &value)) {
            return false;
        }
        memcpy(&out->number, &value, sizeof(value));
        return isfinite(out->number);
    default:
        break;
    }
    if (n % 2 != 0) {
        return false;
    }
    out->text = im_alloc_zero(n / 2 + 1, 1);
    for (size_t i = 0; out->text != NULL && i < n / 2; i++) {
        if (!read_hex(text + 2 * i, 2, &value) || value == 0) {
            return false;
        }
        out->text[i] = (char)(unsigned char)value;
    }
    return out->text != NULL && im_utf8_valid(out->text, n / 2, NULL);
}

static bool read_all(const char *text, size_t n, im_cursor *out)
{
    uint64_t crc = 0;
    uint64_t order = 0;
    if (n < 1 + TAIL_CHARS + CRC_CHARS || !read_hex(text + n - CRC_CHARS, CRC_CHARS, &crc) ||
        crc != im_crc32c(0, text, n - CRC_CHARS)) {
        return false;
    }
    const char *letter = memchr(letters, text[0], sizeof(letters) - 1);
    const char *tail = text + n - CRC_CHARS - TAIL_CHARS;
    if (letter == NULL) {
        return false;
    }
    out->kind = (im_cursor_kind)(letter - letters);
    bool good = read_hex(tail, 8, &order) && read_hex(tail + 8, 16, &out->item) &&
                read_hex(tail + 24, 16, &out->change_seq) &&
                read_value(text + 1, (size_t)(tail - text) - 1, out);
    out->order = (uint32_t)order;
    return good;
}

im_code im_cursor_read(const char *text, im_cursor *out, im_error *err)
{
    im_cursor cursor = {0};
    if (read_all(text, strlen(text), &cursor)) {
        *out = cursor;
        return IM_OK;
    }
    im_cursor_clear(&cursor);
    im_code rc =
        im_fail(err, IM_ERR_INVALID, "cursor '%.80s' is none that a search gave out", text);
    im_hint(err, "take the 'cursor' of the last answer unchanged, or use --offset");
    return rc;
}
