/* query/language_text.c — the small words of the language: blanks, phrases, weights, boxes, and the
 * columns that errors point at. */
#include "base/base.h"
#include "query/language_internal.h"
#include <string.h>

#define NUMBER_BYTES 32u /* of a weight or a box */

im_code query_reader_init(query_reader *reader, im_view text, const char *what,
                          const im_own_field *fields, size_t n_fields, im_error *err)
{
    size_t bad = 0;
    const char *data = text.size > 0 ? text.data : "";
    if (text.size > IM_LIMIT_QUERY_LANGUAGE_BYTES) {
        return im_fail_as(err, IM_REASON_QUERY_TOO_LONG, "%s: %zu bytes, the limit is %u", what,
                          text.size, IM_LIMIT_QUERY_LANGUAGE_BYTES);
    }
    if (!im_utf8_valid(data, text.size, &bad)) {
        return im_fail_as(err, IM_REASON_QUERY_ENCODING, "%s: byte %zu (0x%02x) is not valid UTF-8",
                          what, bad + 1, (unsigned)(unsigned char)data[bad]);
    }
    const char *nul = memchr(data, 0, text.size);
    if (nul != NULL) {
        return im_fail_as(err, IM_REASON_QUERY_ENCODING, "%s: byte %zu is NUL", what,
                          (size_t)(nul - data) + 1);
    }
    *reader = (query_reader){.start = data,
                             .at = data,
                             .end = data + text.size,
                             .fields = fields,
                             .n_fields = n_fields,
                             .marked = data,
                             .marked_column = 1};
    return IM_OK;
}

size_t query_column(query_reader *reader, const char *place)
{
    if (place < reader->marked) {
        reader->marked = reader->start;
        reader->marked_column = 1;
    }
    for (; reader->marked < place; reader->marked++) {
        reader->marked_column += ((unsigned char)*reader->marked & 0xc0u) != 0x80u;
    }
    return reader->marked_column;
}

/* ---- blanks ---- */

size_t query_blank_at(const query_reader *reader, const char *place)
{
    uint32_t code = 0;
    size_t size = im_utf8_decode(place, (size_t)(reader->end - place), &code);
    return size > 0 && query_is_blank(code) ? size : 0;
}

void query_skip_blanks(query_reader *reader)
{
    size_t size = query_blank_at(reader, reader->at);
    while (size > 0) {
        reader->at += size;
        size = query_blank_at(reader, reader->at);
    }
}

bool query_at_gap(const query_reader *reader)
{
    return reader->at == reader->end || query_blank_at(reader, reader->at) > 0;
}

im_code query_need_gap(query_reader *reader, im_error *err)
{
    if (query_at_gap(reader)) {
        return IM_OK;
    }
    if (*reader->at == ')') {
        return im_fail_as(err, IM_REASON_QUERY_SYNTAX, "\")\" without \"(\" at column %zu",
                          query_column(reader, reader->at));
    }
    return im_fail_as(err, IM_REASON_QUERY_SYNTAX, "blank expected at column %zu",
                      query_column(reader, reader->at));
}

/* ---- phrases ---- */

im_code query_str_failed(query_reader *reader, const im_str *str, const char *place, im_error *err)
{
    /* an append fails for want of memory, or because it passes the limit: each is at most 4 bytes
     */
    if (str->size + 4 <= str->max) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a query");
    }
    im_code rc = im_fail_as(err, IM_REASON_QUERY_TOO_LONG,
                            "text at column %zu is longer than %zu bytes, the limit",
                            query_column(reader, place), str->max);
    im_hint(err, "a model reads only the first few dozen words: shorten the text");
    return rc;
}

im_code query_read_phrase(query_reader *reader, im_str *out, im_error *err)
{
    const char *open = reader->at++;
    while (reader->at < reader->end && *reader->at != '"' && !out->failed) {
        bool escaped = *reader->at == '\\' && reader->end - reader->at > 1 &&
                       (reader->at[1] == '"' || reader->at[1] == '\\');
        reader->at += escaped;
        im_str_add_char(out, *reader->at++);
    }
    if (out->failed) {
        return query_str_failed(reader, out, open, err);
    }
    if (reader->at == reader->end) {
        im_code rc =
            im_fail_as(err, IM_REASON_QUERY_SYNTAX, "quote opened at column %zu is not closed",
                       query_column(reader, open));
        im_hint(err, "close it, or write \\\" for a quote that is meant");
        return rc;
    }
    reader->at++;
    return IM_OK;
}

/* ---- numbers ---- */

static const char *skip_digits(const char *at, const char *end)
{
    while (at < end && *at >= '0' && *at <= '9') {
        at++;
    }
    return at;
}

/* The end of [-] digits [. digits] [e [+-] digits]; NULL when no number begins here. */
static const char *number_end(const char *at, const char *end)
{
    at += at < end && *at == '-';
    const char *first = at;
    at = skip_digits(at, end);
    size_t digits = (size_t)(at - first);
    if (at < end && *at == '.') {
        const char *fraction = at + 1;
        at = skip_digits(fraction, end);
        digits += (size_t)(at - fraction);
    }
    if (digits == 0) {
        return NULL;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        const char *exponent = at + 1;
        exponent += exponent < end && (*exponent == '+' || *exponent == '-');
        const char *last = skip_digits(exponent, end);
        return last > exponent ? last : NULL;
    }
    return at;
}

/* A number of that shape; false when it is too long or too large. */
static bool read_number(const char *at, const char *end, double *out)
{
    char text[NUMBER_BYTES + 1] = {0};
    size_t size = (size_t)(end - at);
    if (size > NUMBER_BYTES) {
        return false;
    }
    memcpy(text, at, size);
    return im_parse_double(text, out);
}

im_code query_read_weight(query_reader *reader, double *out, im_error *err)
{
    const char *begin = reader->at;
    const char *last = number_end(begin + 1, reader->end);
    double weight = 0;
    if (last != NULL) {
        reader->at = last;
    }
    if (last == NULL || !query_at_gap(reader)) {
        im_code rc =
            im_fail_as(err, IM_REASON_QUERY_WEIGHT, "number expected behind \"^\" (column %zu)",
                       query_column(reader, begin));
        im_hint(err, "^0.5 counts half, ^2 twice; quote it to search for it");
        return rc;
    }
    if (!read_number(begin + 1, last, &weight) || !(weight > 0) || weight > IM_WEIGHT_MAX) {
        im_code rc =
            im_fail_as(err, IM_REASON_QUERY_WEIGHT, "weight must be > 0 and <= %g (column %zu)",
                       IM_WEIGHT_MAX, query_column(reader, begin));
        im_hint(err, "what counts against is written with a minus before it: -night ^0.5");
        return rc;
    }
    *out = weight;
    return IM_OK;
}

/* ---- boxes ---- */

const char *query_box_end(const char *place, const char *end)
{
    if (place == end || *place != '[') {
        return NULL;
    }
    for (size_t i = 0; i < 4; i++) {
        place = number_end(place + 1, end);
        if (place == NULL || place == end) {
            return NULL;
        }
        place += *place == '%';
        if (place == end || *place != (i < 3 ? ',' : ']')) {
            return NULL;
        }
    }
    return place + 1;
}

const char *query_box_fault(const im_box *box)
{
    const double slack = 1e-6; /* 33.3 % + 66.7 % is not exactly the whole */
    if (!(box->w > 0 && box->h > 0)) {
        return "box without area";
    }
    bool too_far = (box->percent[0] && box->percent[2] && box->x + box->w > 100 + slack) ||
                   (box->percent[1] && box->percent[3] && box->y + box->h > 100 + slack) ||
                   (box->percent[0] && box->x >= 100) || (box->percent[1] && box->y >= 100) ||
                   (box->percent[2] && box->w > 100 + slack) ||
                   (box->percent[3] && box->h > 100 + slack);
    return box->x < 0 || box->y < 0 || too_far ? "box outside the picture" : NULL;
}

im_code query_read_box(query_reader *reader, const char *end, im_box *out, im_error *err)
{
    im_box box = {0};
    double *field[4] = {&box.x, &box.y, &box.w, &box.h};
    const char *begin = reader->at;
    const char *at = begin;
    const char *fault = NULL;
    for (size_t i = 0; i < 4 && fault == NULL; i++) {
        const char *last = number_end(at + 1, end);
        if (last == NULL || !read_number(at + 1, last, field[i])) {
            fault = "box of a number too large or too long";
            break;
        }
        box.percent[i] = *last == '%';
        at = last + box.percent[i];
    }
    fault = fault != NULL ? fault : query_box_fault(&box);
    if (fault != NULL) {
        im_code rc = im_fail_as(err, IM_REASON_QUERY_BOX, "%s (column %zu)", fault,
                                query_column(reader, begin));
        im_hint(err, "[x,y,w,h] in pixels or with %%: [25%%,25%%,50%%,50%%] is the middle");
        return rc;
    }
    reader->at = end;
    *out = box;
    return IM_OK;
}

/* ---- addresses ---- */

bool query_is_url(const char *text, size_t size)
{
    static const char *const starts[] = {"http:", "https:"};
    for (size_t i = 0; i < IM_COUNT(starts); i++) {
        size_t n = strlen(starts[i]);
        size_t same = 0;
        while (same < n && same < size && im_ascii_lower(text[same]) == starts[i][same]) {
            same++;
        }
        if (same == n) {
            return true;
        }
    }
    return false;
}
