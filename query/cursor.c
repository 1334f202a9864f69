/* query/cursor.c — the place where the next page begins, as text: score (its bits, so that it comes
 * back to the last digit), item and change number in hexadecimal, and a check digit pair. */
#include "base/base.h"
#include "base/hash.h"
#include "query/query.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define CURSOR_CHARS (8 + 16 + 16 + 8)

void im_cursor_write(const im_cursor *cursor, char out[64])
{
    uint32_t bits = 0;
    memcpy(&bits, &cursor->score, sizeof(bits));
    (void)snprintf(out, 64, "%08" PRIx32 "%016" PRIx64 "%016" PRIx64, bits, cursor->item,
                   cursor->change_seq);
    (void)snprintf(out + 40, 24, "%08" PRIx32, im_crc32c(0, out, 40));
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

im_code im_cursor_read(const char *text, im_cursor *out, im_error *err)
{
    uint64_t bits = 0;
    uint64_t crc = 0;
    im_cursor cursor = {0};
    if (strlen(text) == CURSOR_CHARS && read_hex(text, 8, &bits) &&
        read_hex(text + 8, 16, &cursor.item) && read_hex(text + 24, 16, &cursor.change_seq) &&
        read_hex(text + 40, 8, &crc) && crc == im_crc32c(0, text, 40)) {
        uint32_t word = (uint32_t)bits;
        memcpy(&cursor.score, &word, sizeof(word));
        if (isfinite(cursor.score)) {
            *out = cursor;
            return IM_OK;
        }
    }
    im_code rc = im_fail(err, IM_ERR_INVALID, "cursor '%s' is none that a search gave out", text);
    im_hint(err, "take the 'cursor' of the last answer unchanged, or use --offset");
    return rc;
}
