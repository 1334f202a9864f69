/* base/text_fold.c — text as it is compared: case folded, composed. */
#include "base/memory.h"
#include "base/text.h"
#include "base/text_marks.h"
#include <string.h>
#include <utf8proc.h>

#define MOST_CODES 64 /* of one code point, folded and decomposed */
#define REPLACEMENT 0xfffd

static size_t decode_lossy(const char *data, size_t size, uint32_t *out_code)
{
    size_t length = im_utf8_decode(data, size, out_code);
    if (length == 0) {
        *out_code = REPLACEMENT;
        length = 1;
    }
    return length;
}

/* Codes of data, folded and decomposed; counts only while codes is NULL. */
static size_t fold_codes(const char *data, size_t size, utf8proc_int32_t *codes)
{
    size_t n = 0;
    for (size_t at = 0; at < size;) {
        uint32_t code = 0;
        utf8proc_int32_t piece[MOST_CODES];
        int boundary = 0;
        at += decode_lossy(data + at, size - at, &code);
        utf8proc_ssize_t count =
            utf8proc_decompose_char((utf8proc_int32_t)code, piece, MOST_CODES,
                                    UTF8PROC_DECOMPOSE | UTF8PROC_CASEFOLD, &boundary);
        if (count < 0 || count > MOST_CODES) { /* no code point is like that */
            piece[0] = (utf8proc_int32_t)code;
            count = 1;
        }
        if (codes != NULL) {
            memcpy(codes + n, piece, (size_t)count * sizeof(*codes));
        }
        n += (size_t)count;
    }
    return n;
}

static bool fold_ascii(im_str *out, const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)data[i] >= 0x80) {
            return false;
        }
    }
    for (size_t i = 0; i < size; i++) {
        im_str_add_char(out, im_ascii_lower(data[i]));
    }
    return true;
}

void im_text_fold(im_str *out, const char *data, size_t size)
{
    if (fold_ascii(out, data, size)) {
        return;
    }
    size_t n = fold_codes(data, size, NULL);
    utf8proc_int32_t *codes = im_alloc(n, sizeof(*codes));
    uint64_t *keys = im_alloc(n, sizeof(*keys));
    if (codes == NULL || keys == NULL) {
        out->failed = true;
    } else {
        fold_codes(data, size, codes);
        im_text_order_marks(codes, n, keys);
        utf8proc_ssize_t left = utf8proc_normalize_utf32(codes, (utf8proc_ssize_t)n,
                                                         UTF8PROC_COMPOSE | UTF8PROC_STABLE);
        for (utf8proc_ssize_t i = 0; i < left; i++) {
            char bytes[4];
            im_str_add(out, bytes, im_utf8_encode((uint32_t)codes[i], bytes));
        }
    }
    im_free(codes);
    im_free(keys);
}
