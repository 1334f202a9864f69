/* query/parts.c — checks of what was asked, before a model is opened for it. */
#include "base/base.h"
#include "query/language_internal.h"

#include <math.h>
#include <string.h>

bool query_is_blank(uint32_t code)
{
    return code == ' ' || (code >= '\t' && code <= '\r') || code == 0x85 || code == 0xa0 ||
           code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 ||
           code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000 || code == 0xfeff;
}

bool query_only_blanks(im_view text)
{
    size_t at = 0;
    while (at < text.size) {
        uint32_t code = 0;
        at += im_utf8_decode(text.data + at, text.size - at, &code);
        if (!query_is_blank(code)) {
            return false;
        }
    }
    return true;
}

static im_code check_text(im_view text, size_t number, im_error *err)
{
    size_t bad = 0;
    if (text.size > IM_LIMIT_QUERY_BYTES) {
        im_code rc = im_fail_as(err, IM_REASON_QUERY_TOO_LONG,
                                "text of part %zu: %zu bytes, the limit is %u", number, text.size,
                                IM_LIMIT_QUERY_BYTES);
        im_hint(err, "a model reads only the first few dozen words: shorten the text");
        return rc;
    }
    if (!im_utf8_valid(text.data, text.size, &bad)) {
        return im_fail_as(err, IM_REASON_QUERY_ENCODING,
                          "text of part %zu: byte %zu (0x%02x) is not valid UTF-8", number, bad + 1,
                          (unsigned)(unsigned char)text.data[bad]);
    }
    if (text.size > 0 && memchr(text.data, 0, text.size) != NULL) {
        const char *nul = memchr(text.data, 0, text.size);
        return im_fail_as(err, IM_REASON_QUERY_ENCODING, "text of part %zu: byte %zu is NUL",
                          number, (size_t)(nul - text.data) + 1);
    }
    if (query_only_blanks(text)) {
        im_code rc = im_fail_as(err, IM_REASON_QUERY_EMPTY, "nothing to search for");
        im_hint(err, "give some words, or a picture with --image");
        return rc;
    }
    return IM_OK;
}

static im_code check_weight(double weight, im_combine combine, size_t number, im_error *err)
{
    double size = fabs(weight);
    if (!isfinite(weight) || !(size > 0) || size > IM_WEIGHT_MAX) {
        return im_fail_as(err, IM_REASON_INVALID,
                          "weight of part %zu: %g, expected a number above 0 and at most %g",
                          number, size, IM_WEIGHT_MAX);
    }
    if (weight < 0 && combine != IM_COMBINE_SUM) {
        im_code rc = im_fail_as(err, IM_REASON_INVALID,
                                "part %zu counts against, which only --combine sum can do", number);
        im_hint(err, "leave --combine out, or the negative part");
        return rc;
    }
    return IM_OK;
}

im_code im_query_check(const im_query_part *parts, size_t n_parts, im_combine combine,
                       im_error *err)
{
    if (n_parts == 0) {
        im_code rc = im_fail_as(err, IM_REASON_QUERY_EMPTY, "nothing to search for");
        im_hint(err, "give some words, or a picture with --image");
        return rc;
    }
    if (n_parts > IM_LIMIT_QUERY_PARTS) {
        return im_fail_as(err, IM_REASON_LIMIT, "query has %zu parts, the limit is %u", n_parts,
                          IM_LIMIT_QUERY_PARTS);
    }
    for (size_t i = 0; i < n_parts; i++) {
        im_code rc = check_weight(parts[i].weight, combine, i + 1, err);
        if (rc == IM_OK && parts[i].kind == IM_PART_TEXT) {
            rc = check_text(parts[i].text, i + 1, err);
        }
        if (rc != IM_OK) {
            return rc;
        }
    }
    return IM_OK;
}

static im_code box_wrong(const char *text, im_error *err)
{
    im_code rc = im_fail_as(err, IM_REASON_QUERY_BOX,
                            "box '%s': expected x,y,w,h, each a number of pixels or with %%", text);
    im_hint(err, "for the middle of the picture: 25%%,25%%,50%%,50%%");
    return rc;
}

im_code im_box_parse(const char *text, im_box *out, im_error *err)
{
    im_box box = {0};
    double *field[4] = {&box.x, &box.y, &box.w, &box.h};
    const char *at = text;
    for (size_t i = 0; i < 4; i++) {
        char number[32];
        size_t length = strcspn(at, ",");
        if (length == 0 || length >= sizeof(number) || (i < 3) != (at[length] == ',')) {
            return box_wrong(text, err);
        }
        memcpy(number, at, length);
        box.percent[i] = number[length - 1] == '%';
        number[box.percent[i] ? length - 1 : length] = '\0';
        if (!im_parse_double(number, field[i]) || *field[i] < 0) {
            return box_wrong(text, err);
        }
        at += length + 1;
    }
    if (!(box.w > 0 && box.h > 0)) {
        return im_fail_as(err, IM_REASON_QUERY_BOX, "box '%s' has no area", text);
    }
    *out = box;
    return IM_OK;
}

static double in_pixels(double value, bool percent, uint32_t side)
{
    return percent ? value / 100.0 * (double)side : value;
}

im_code im_box_resolve(const im_box *box, uint32_t width, uint32_t height, uint32_t out_xywh[4],
                       im_error *err)
{
    double x0 = in_pixels(box->x, box->percent[0], width);
    double y0 = in_pixels(box->y, box->percent[1], height);
    double x1 = x0 + in_pixels(box->w, box->percent[2], width);
    double y1 = y0 + in_pixels(box->h, box->percent[3], height);
    const double slack = 1e-6; /* 33.3 % + 66.7 % is not exactly the whole */
    if (!(x0 >= 0 && y0 >= 0 && x1 <= (double)width + slack && y1 <= (double)height + slack)) {
        return im_fail_as(err, IM_REASON_QUERY_BOX,
                          "box %g,%g,%g,%g reaches outside the picture of %u x %u pixels", x0, y0,
                          x1 - x0, y1 - y0, width, height);
    }
    uint32_t left = (uint32_t)floor(x0);
    uint32_t top = (uint32_t)floor(y0);
    left = IM_MIN(left, width - 1);
    top = IM_MIN(top, height - 1);
    uint32_t right = IM_MIN((uint32_t)ceil(x1 - slack), width);
    uint32_t bottom = IM_MIN((uint32_t)ceil(y1 - slack), height);
    out_xywh[0] = left;
    out_xywh[1] = top;
    out_xywh[2] = right > left ? right - left : 1;
    out_xywh[3] = bottom > top ? bottom - top : 1;
    return IM_OK;
}
