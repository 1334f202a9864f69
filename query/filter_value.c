/* query/filter_value.c — numbers, sizes and places in filters, and the nearest of some names. */
#include "base/base.h"
#include "query/filter_internal.h"
#include <math.h>
#include <string.h>

#define NUMBER_BYTES 64u

im_code filter_wrong(const im_filter *test, const char *expected, const char *hint, im_error *err)
{
    im_code rc = im_fail_as(err, IM_REASON_QUERY_VALUE, "%s \"%s\" (column %zu): expected %s",
                            test->field, test->value, test->column, expected);
    if (hint != NULL) {
        im_hint(err, "%s", hint);
    }
    return rc;
}

/* ---- ranges ---- */

bool filter_split_range(const char *value, im_view *out_first, im_view *out_last)
{
    const char *dots = strstr(value, "..");
    if (dots == NULL) {
        return false;
    }
    *out_first = im_view_of(value, (size_t)(dots - value));
    *out_last = im_view_from(dots + 2);
    return true;
}

im_code filter_check_range(const im_filter *test, bool is_range, im_view first, im_view last,
                           im_error *err)
{
    if (is_range && test->op != IM_FILTER_IS) {
        return filter_wrong(test, "one value behind an operator, not a range",
                            "write field:a..b for a range", err);
    }
    if (first.size == 0 && last.size == 0) {
        return filter_wrong(test, is_range ? "a range with at least one end" : "a value", NULL,
                            err);
    }
    return IM_OK;
}

static im_view trimmed(im_view text)
{
    while (text.size > 0 && text.data[0] == ' ') {
        text.data++;
        text.size--;
    }
    while (text.size > 0 && text.data[text.size - 1] == ' ') {
        text.size--;
    }
    return text;
}

/* ---- numbers ---- */

static bool read_number(im_view text, double *out)
{
    char buffer[NUMBER_BYTES];
    text = trimmed(text);
    if (text.size == 0 || text.size >= sizeof(buffer)) {
        return false;
    }
    memcpy(buffer, text.data, text.size);
    buffer[text.size] = '\0';
    return im_parse_double(buffer, out);
}

typedef struct unit {
    const char *name;
    double factor;
} unit;

static bool ends_with(im_view text, const char *end)
{
    size_t size = strlen(end);
    if (text.size < size) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (im_ascii_lower(text.data[text.size - size + i]) != end[i]) {
            return false;
        }
    }
    return true;
}

/* A number behind which the name of a unit may stand, the longest names first in the table. */
static bool read_with_unit(im_view text, const unit *units, size_t n, double *out)
{
    double factor = 1;
    text = trimmed(text);
    for (size_t i = 0; i < n; i++) {
        if (ends_with(text, units[i].name)) {
            text.size -= strlen(units[i].name);
            factor = units[i].factor;
            break;
        }
    }
    if (!read_number(text, out)) {
        return false;
    }
    *out *= factor;
    return isfinite(*out);
}

static const unit size_units[] = {
    {"kib", 1024.0},
    {"mib", 1048576.0},
    {"gib", 1073741824.0},
    {"tib", 1099511627776.0},
    {"ki", 1024.0},
    {"mi", 1048576.0},
    {"gi", 1073741824.0},
    {"ti", 1099511627776.0},
    {"kb", 1e3},
    {"mb", 1e6},
    {"gb", 1e9},
    {"tb", 1e12},
    {"k", 1e3},
    {"m", 1e6},
    {"g", 1e9},
    {"t", 1e12},
    {"b", 1},
};

static im_code read_side(const im_filter *test, im_view text, bool sizes, double *out,
                         im_error *err)
{
    if (read_with_unit(text, size_units, sizes ? IM_COUNT(size_units) : 0, out)) {
        return IM_OK;
    }
    return filter_wrong(test,
                        sizes ? "a number such as 1000 or 1.5M, or a range such as 1000.., ..2M"
                              : "a number, or a range such as 10..20, 10.. or ..20",
                        NULL, err);
}

im_code filter_read_numbers(const im_filter *test, bool sizes, filter_numbers *out, im_error *err)
{
    im_view first = im_view_from(test->value);
    im_view last = first;
    filter_numbers numbers = {-HUGE_VAL, HUGE_VAL, false, false};
    bool is_range = filter_split_range(test->value, &first, &last);
    im_code rc = filter_check_range(test, is_range, first, last, err);
    if (rc == IM_OK && first.size > 0) {
        rc = read_side(test, first, sizes, &numbers.min, err);
    }
    if (rc == IM_OK && last.size > 0) {
        rc = read_side(test, last, sizes, &numbers.max, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    if (numbers.min > numbers.max) {
        return filter_wrong(test, "a range that ends after it begins", NULL, err);
    }
    if (test->op == IM_FILTER_LESS || test->op == IM_FILTER_AT_MOST) {
        numbers.min = -HUGE_VAL;
        numbers.open_max = test->op == IM_FILTER_LESS;
    } else if (test->op == IM_FILTER_MORE || test->op == IM_FILTER_AT_LEAST) {
        numbers.max = HUGE_VAL;
        numbers.open_min = test->op == IM_FILTER_MORE;
    }
    *out = numbers;
    return IM_OK;
}

static int64_t saturated(double value)
{
    return value >= 0x1p63 ? INT64_MAX : value <= -0x1p63 ? INT64_MIN + 1 : (int64_t)value;
}

im_code filter_read_integers(const im_filter *test, int64_t *out_min, int64_t *out_max,
                             im_error *err)
{
    filter_numbers numbers;
    im_code rc = filter_read_numbers(test, true, &numbers, err);
    if (rc != IM_OK) {
        return rc;
    }
    if ((isfinite(numbers.min) && numbers.min < 0) || numbers.max < 0) {
        return filter_wrong(test, "a number that is not negative", NULL, err);
    }
    /* whole numbers from 2^53 on are doubles: one more or less changes nothing there */
    *out_min = saturated(numbers.open_min ? floor(numbers.min) + 1 : ceil(numbers.min));
    *out_max = saturated(numbers.open_max ? ceil(numbers.max) - 1 : floor(numbers.max));
    return IM_OK;
}

/* ---- places ---- */

/* The pieces between commas; false when there are not exactly n. */
static bool split(const char *value, im_view *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t length = strcspn(value, ",");
        if ((value[length] == ',') != (i + 1 < n)) {
            return false;
        }
        out[i] = im_view_of(value, length);
        value += length + 1;
    }
    return true;
}

static im_code read_degrees(const im_filter *test, im_view text, const char *name, double most,
                            double *out, im_error *err)
{
    if (read_number(text, out) && fabs(*out) <= most) {
        return IM_OK;
    }
    return im_fail_as(err, IM_REASON_QUERY_VALUE,
                      "%s \"%.*s\" in \"%s\" (column %zu): expected a number from -%g to %g", name,
                      (int)IM_MIN(text.size, (size_t)NUMBER_BYTES), text.data, test->value,
                      test->column, most, most);
}

im_code filter_read_near(const im_filter *test, double out[4], im_error *err)
{
    static const unit units[] = {{"km", 1000}, {"mi", 1609.344}, {"m", 1}};
    im_view pieces[3];
    double place[4] = {0};
    if (!split(test->value, pieces, 3)) {
        return filter_wrong(test, "latitude,longitude,distance", "for example near:48.86,2.35,5km",
                            err);
    }
    im_code rc = read_degrees(test, pieces[0], "latitude", 90, &place[0], err);
    if (rc == IM_OK) {
        rc = read_degrees(test, pieces[1], "longitude", 180, &place[1], err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    im_view distance = trimmed(pieces[2]);
    bool bare = distance.size > 0 && im_ascii_lower(distance.data[distance.size - 1]) != 'm' &&
                im_ascii_lower(distance.data[distance.size - 1]) != 'i';
    bool read = read_with_unit(distance, units, IM_COUNT(units), &place[2]);
    place[2] *= bare ? 1000 : 1;
    if (!read || !(place[2] > 0) || !isfinite(place[2])) {
        return filter_wrong(test, "a distance above 0 such as 5km, 800m or 3mi behind the place",
                            NULL, err);
    }
    memcpy(out, place, sizeof(place));
    return IM_OK;
}

im_code filter_read_box(const im_filter *test, double out[4], im_error *err)
{
    static const char *const names[] = {"south", "west", "north", "east"};
    im_view pieces[4];
    double place[4] = {0};
    if (!split(test->value, pieces, 4)) {
        return filter_wrong(test, "south,west,north,east in degrees",
                            "west may be larger than east: the box then crosses 180 degrees", err);
    }
    for (size_t i = 0; i < 4; i++) {
        im_code rc = read_degrees(test, pieces[i], names[i], i % 2 == 0 ? 90 : 180, &place[i], err);
        if (rc != IM_OK) {
            return rc;
        }
    }
    if (place[0] > place[2]) {
        return filter_wrong(test, "a south that is not above the north", NULL, err);
    }
    memcpy(out, place, sizeof(place));
    return IM_OK;
}

/* ---- names ---- */

#define NAME_BYTES 64u

/* Changes (a letter more, less or another; two swapped) from one to the other, by bytes. */
static size_t distance(const char *a, const char *b)
{
    size_t n_a = strlen(a), n_b = strlen(b);
    size_t rows[3][NAME_BYTES + 1];
    if (n_a > NAME_BYTES || n_b > NAME_BYTES) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= n_b; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= n_a; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *second = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            size_t same = im_ascii_lower(a[i - 1]) == im_ascii_lower(b[j - 1]) ? 0 : 1;
            row[j] = IM_MIN(IM_MIN(above[j], row[j - 1]) + 1, above[j - 1] + same);
            if (i > 1 && j > 1 && im_ascii_lower(a[i - 1]) == im_ascii_lower(b[j - 2]) &&
                im_ascii_lower(a[i - 2]) == im_ascii_lower(b[j - 1])) {
                row[j] = IM_MIN(row[j], second[j - 2] + 1);
            }
        }
    }
    return rows[n_a % 3][n_b];
}

const char *filter_nearest(const char *word, const char *const *names, size_t n)
{
    const char *best = NULL;
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < n; i++) {
        size_t changes = distance(word, names[i]);
        if (changes < least && changes <= 3 && changes < strlen(names[i])) {
            least = changes;
            best = names[i];
        }
    }
    return best;
}
