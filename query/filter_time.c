/* query/filter_time.c — dates in filters: a year, month, day, hour, minute or second stands for the
 * whole of it. Wall clocks (the camera's) are counted as if they were UTC's; times in the user's
 * zone go through mktime, so that a day of 23 hours is one. */
#include "base/base.h"
#include "base/date.h"
#include "query/filter_internal.h"
#include <string.h>
#include <time.h>

enum { YEAR, MONTH, DAY, HOUR, MINUTE, SECOND, FIELDS };

typedef struct moment {
    int field[FIELDS];
    int precision; /* the last field that was given */
} moment;

static const char expected_date[] =
    "a date such as 2019, 2019-06, 2019-06-03 or 2019-06-03T10:11, or a range of them such as "
    "2019..2021-06, ..2020 or 2019..";

/* ---- reading ---- */

static im_code wrong_field(const im_filter *test, im_view text, const char *name, int found,
                           int first, int last, im_error *err)
{
    return im_fail_as(err, IM_REASON_QUERY_VALUE,
                      "%s %02d in \"%.*s\" (column %zu): expected %02d to %02d", name, found,
                      (int)text.size, text.data, test->column, first, last);
}

/* Fields that have the right form, one after the other; false when the form is another. */
static bool read_form(im_view text, moment *out)
{
    static const char before[FIELDS] = {0, '-', '-', 'T', ':', ':'};
    size_t at = 0;
    *out = (moment){{0, 1, 1, 0, 0, 0}, -1};
    for (int i = 0; i < FIELDS && at < text.size; i++) {
        size_t digits = i == YEAR ? 4 : 2;
        int value = 0;
        if (i > 0) {
            char c = text.data[at++];
            bool fits = c == before[i] || (i == HOUR && (c == ' ' || c == 't'));
            if (!fits) {
                return false;
            }
        }
        if (text.size - at < digits) {
            return false;
        }
        for (; digits > 0; digits--, at++) {
            if (text.data[at] < '0' || text.data[at] > '9') {
                return false;
            }
            value = value * 10 + (text.data[at] - '0');
        }
        out->field[i] = value;
        out->precision = i;
    }
    return at == text.size && out->precision >= 0;
}

static im_code read_moment(const im_filter *test, im_view text, moment *out, im_error *err)
{
    static const char *const names[FIELDS] = {"year", "month", "day", "hour", "minute", "second"};
    if (!read_form(text, out)) {
        return filter_wrong(test, expected_date, NULL, err);
    }
    int first[FIELDS] = {1, 1, 1, 0, 0, 0};
    int last[FIELDS] = {9999, 12, 31, 23, 59, 59};
    for (int i = 0; i < FIELDS; i++) {
        if (i == DAY) {
            last[DAY] = im_date_month_days(out->field[YEAR], out->field[MONTH]);
        }
        if (out->field[i] < first[i] || out->field[i] > last[i]) {
            return wrong_field(test, text, names[i], out->field[i], first[i], last[i], err);
        }
    }
    return IM_OK;
}

/* ---- seconds ---- */

static int64_t seconds_of(const int field[FIELDS], bool local)
{
    if (local) {
        struct tm tm = {.tm_year = field[YEAR] - 1900,
                        .tm_mon = field[MONTH] - 1,
                        .tm_mday = field[DAY],
                        .tm_hour = field[HOUR],
                        .tm_min = field[MINUTE],
                        .tm_sec = field[SECOND],
                        .tm_isdst = -1};
        return (int64_t)mktime(&tm);
    }
    return im_date_seconds(field[YEAR], field[MONTH], field[DAY], field[HOUR], field[MINUTE],
                           field[SECOND]);
}

/* The moment after a period: its last field one more, carried where it must be. */
static int64_t end_of(const moment *when, bool local)
{
    int field[FIELDS];
    memcpy(field, when->field, sizeof(field));
    field[when->precision]++;
    const int most[FIELDS] = {
        INT32_MAX, 12, im_date_month_days(when->field[YEAR], when->field[MONTH]), 23, 59, 59};
    for (int i = when->precision; i > YEAR && field[i] > most[i]; i--) {
        field[i] = i <= DAY ? 1 : 0;
        field[i - 1]++;
    }
    return seconds_of(field, local) - 1;
}

/* First and last second of a side of a range; the far past or future where it is empty. */
static im_code read_side(const im_filter *test, im_view text, bool local, int64_t *out_first,
                         int64_t *out_last, im_error *err)
{
    moment when;
    *out_first = INT64_MIN + 1;
    *out_last = INT64_MAX;
    if (text.size == 0) {
        return IM_OK;
    }
    im_code rc = read_moment(test, text, &when, err);
    if (rc == IM_OK) {
        *out_first = seconds_of(when.field, local);
        *out_last = end_of(&when, local);
    }
    return rc;
}

im_code filter_read_time(const im_filter *test, bool local, int64_t *out_min, int64_t *out_max,
                         im_error *err)
{
    im_view first = im_view_from(test->value);
    im_view last = first;
    int64_t begin[2], end[2];
    bool is_range = filter_split_range(test->value, &first, &last);
    im_code rc = filter_check_range(test, is_range, first, last, err);
    if (rc == IM_OK) {
        rc = read_side(test, first, local, &begin[0], &end[0], err);
    }
    if (rc == IM_OK) {
        rc = read_side(test, last, local, &begin[1], &end[1], err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    if (first.size > 0 && last.size > 0 && begin[0] > end[1]) {
        return filter_wrong(test, "a range that ends after it begins", NULL, err);
    }
    *out_min = begin[0];
    *out_max = end[1];
    switch (test->op) {
    case IM_FILTER_LESS:
        *out_min = INT64_MIN + 1;
        *out_max = begin[0] - 1;
        break;
    case IM_FILTER_AT_MOST:
        *out_min = INT64_MIN + 1;
        break;
    case IM_FILTER_MORE:
        *out_min = end[0] + 1;
        *out_max = INT64_MAX;
        break;
    case IM_FILTER_AT_LEAST:
        *out_max = INT64_MAX;
        break;
    default:
        break;
    }
    return IM_OK;
}
