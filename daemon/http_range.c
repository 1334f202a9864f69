/* daemon/http_range.c — conditions of a request: which bytes of an answer are asked for, and which
 * answers the client has already (RFC 9110, 13 and 14). */
#include "daemon/http_internal.h"

#include <string.h>

/* Digits up to `end`; numbers that cannot be counted become the largest one. */
static bool read_number(im_view text, size_t *at, uint64_t *out)
{
    size_t begin = *at;
    *out = 0;
    while (*at < text.size && text.data[*at] >= '0' && text.data[*at] <= '9') {
        if (!im_u64_mul(*out, 10, out) ||
            !im_u64_add(*out, (uint64_t)(text.data[*at] - '0'), out)) {
            *out = UINT64_MAX;
        }
        (*at)++;
    }
    return *at > begin;
}

http_range http_range_read(im_view value, uint64_t size, uint64_t *out_at, uint64_t *out_size)
{
    static const char unit[] = "bytes=";
    uint64_t first = 0;
    uint64_t last = UINT64_MAX;
    size_t at = sizeof(unit) - 1;
    if (value.size <= at || !http_same_word(im_view_of(value.data, at), unit)) {
        return HTTP_RANGE_WHOLE;
    }
    bool has_first = read_number(value, &at, &first);
    if (at >= value.size || value.data[at++] != '-') {
        return HTTP_RANGE_WHOLE;
    }
    bool has_last = read_number(value, &at, &last);
    if (at != value.size || (!has_first && !has_last) || (has_first && has_last && last < first)) {
        return HTTP_RANGE_WHOLE;
    }
    if (!has_first) { /* so many at the end */
        first = size - IM_MIN(size, last);
        last = UINT64_MAX;
    } else if (!has_last) {
        last = UINT64_MAX;
    }
    if (first >= size) {
        return HTTP_RANGE_OUTSIDE;
    }
    *out_at = first;
    *out_size = IM_MIN(last, size - 1) - first + 1;
    return HTTP_RANGE_PART;
}

bool http_etag_listed(im_view value, const char *etag)
{
    size_t size = strlen(etag);
    size_t at = 0;
    if (im_view_equal_c(value, "*")) {
        return true;
    }
    while (at < value.size) {
        char c = value.data[at];
        if (c == ' ' || c == '\t' || c == ',') {
            at++;
            continue;
        }
        at += c == 'W' && value.size - at > 2 && value.data[at + 1] == '/' ? 2 : 0;
        const char *end = value.data[at] == '"' && value.size - at > 1
                              ? memchr(value.data + at + 1, '"', value.size - at - 1)
                              : NULL;
        if (end == NULL) {
            return false;
        }
        size_t n = (size_t)(end - (value.data + at)) + 1;
        if (n == size && memcmp(value.data + at, etag, n) == 0) {
            return true;
        }
        at += n;
    }
    return false;
}
