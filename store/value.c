/* store/value.c — values of the users' own fields: read as people write them, printed so that they
 * are read back, kept as SQLite keeps their type. And what a name may be. */
#include "base/date.h"
#include "store/store_internal.h"
#include <math.h>
#include <time.h>

static const char *const type_names[] = {
    [IM_VALUE_TEXT] = "text",
    [IM_VALUE_NUMBER] = "number",
    [IM_VALUE_DATE] = "date",
    [IM_VALUE_BOOL] = "bool",
};

const char *im_value_type_name(im_value_type type)
{
    return (size_t)type < IM_COUNT(type_names) ? type_names[type] : "text";
}

bool im_value_type_of(im_view name, im_value_type *out)
{
    for (size_t i = 0; i < IM_COUNT(type_names); i++) {
        if (im_view_equal_c(name, type_names[i])) {
            *out = (im_value_type)i;
            return true;
        }
    }
    return false;
}

/* ---- names and texts ---- */

static const char *const taken_names[] = {
#define X(word, is_field) #word,
#include "base/query_words.def"
#undef X
};

im_code im_field_name_check(const char *name, im_error *err)
{
    size_t size = strlen(name);
    bool good = size > 0 && size <= IM_LIMIT_FIELD_NAME_BYTES && im_ascii_is_letter(name[0]);
    for (size_t i = 0; good && i < size; i++) {
        good = im_ascii_is_alnum(name[i]) || name[i] == '_';
    }
    if (!good) {
        im_code rc = im_fail_as(err, IM_REASON_FIELD_NAME,
                                "field '%s': expected a letter, then letters, digits or '_', at "
                                "most %u",
                                name, IM_LIMIT_FIELD_NAME_BYTES);
        im_hint(err, "choose another name for the field");
        return rc;
    }
    for (size_t i = 0; i < IM_COUNT(taken_names); i++) {
        if (im_ascii_same_word(name, taken_names[i])) {
            im_code rc = im_fail_as(err, IM_REASON_FIELD_NAME,
                                    "field '%s' is a word of the query language", name);
            im_hint(err, "choose another name for the field");
            return rc;
        }
    }
    return IM_OK;
}

im_code store_check_text(im_reason reason, const char *what, im_view text, size_t most,
                         bool one_line, im_error *err)
{
    size_t bad = 0;
    if (text.size == 0) {
        return im_fail_as(err, reason, "%s is empty", what);
    }
    if (text.size > most) {
        return im_fail_as(err, reason, "%s has %zu bytes, expected at most %zu", what, text.size,
                          most);
    }
    if (!im_utf8_valid(text.data, text.size, &bad)) {
        return im_fail_as(err, reason, "%s is not UTF-8 at byte %zu", what, bad + 1);
    }
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c == 0 || (one_line && (c < 0x20 || c == 0x7f))) {
            return im_fail_as(err, reason, "%s holds a control character at byte %zu", what, i + 1);
        }
    }
    return IM_OK;
}

im_code im_value_check(const char *field, const im_value *value, im_error *err)
{
    char what[IM_LIMIT_FIELD_NAME_BYTES + 16];
    (void)snprintf(what, sizeof what, "field '%s'", field);
    if (value->type == IM_VALUE_TEXT) {
        return store_check_text(IM_REASON_FIELD_VALUE, what, value->text, IM_LIMIT_FIELD_BYTES,
                                false, err);
    }
    if (value->type == IM_VALUE_NUMBER && !isfinite(value->number)) {
        return im_fail_as(err, IM_REASON_FIELD_VALUE, "%s: the number is not finite", what);
    }
    if (value->type == IM_VALUE_DATE &&
        (value->date_s < STORE_DATE_LEAST || value->date_s > STORE_DATE_MOST)) {
        return im_fail_as(err, IM_REASON_FIELD_VALUE, "%s: a date outside the years 1 to 9999",
                          what);
    }
    return IM_OK;
}

/* ---- dates ---- */

/* Exactly `digits` digits at *at, with a number in [min, max]; `mark` before them unless 0. */
static bool take(im_view text, size_t *at, char mark, size_t digits, int64_t min, int64_t max,
                 int64_t *out)
{
    size_t i = *at;
    int64_t number = 0;
    if (mark != 0 && (i >= text.size || text.data[i++] != mark)) {
        return false;
    }
    for (size_t n = 0; n < digits; n++, i++) {
        if (i >= text.size || text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        number = number * 10 + (text.data[i] - '0');
    }
    if (number < min || number > max) {
        return false;
    }
    *at = i;
    *out = number;
    return true;
}

/* "Z", "+02:00", "-0330" or nothing, up to the end of the text. */
static bool take_zone(im_view text, size_t at)
{
    int64_t ignored = 0;
    if (at == text.size || (text.data[at] == 'Z' && at + 1 == text.size)) {
        return true;
    }
    if (!take(text, &at, '+', 2, 0, 14, &ignored) && !take(text, &at, '-', 2, 0, 14, &ignored)) {
        return false;
    }
    return (take(text, &at, ':', 2, 0, 59, &ignored) || take(text, &at, 0, 2, 0, 59, &ignored)) &&
           at == text.size;
}

static bool take_time(im_view text, size_t at, int64_t *out_s)
{
    int64_t hour = 0;
    int64_t minute = 0;
    int64_t second = 0;
    if (at == text.size) {
        return true;
    }
    if (!take(text, &at, text.data[at] == ' ' ? ' ' : 'T', 2, 0, 23, &hour) ||
        !take(text, &at, ':', 2, 0, 59, &minute)) {
        return false;
    }
    (void)take(text, &at, ':', 2, 0, 59, &second);
    *out_s = hour * 3600 + minute * 60 + second;
    return take_zone(text, at);
}

static bool read_date(im_view text, int64_t *out_s)
{
    size_t at = 0;
    int64_t year = 0;
    int64_t month = 1;
    int64_t day = 1;
    int64_t of_day = 0;
    if (!take(text, &at, 0, 4, 1, 9999, &year)) {
        return false;
    }
    bool whole = take(text, &at, '-', 2, 1, 12, &month) &&
                 take(text, &at, '-', 2, 1, im_date_month_days((int)year, (int)month), &day);
    if (whole ? !take_time(text, at, &of_day) : at != text.size) {
        return false;
    }
    *out_s = im_date_seconds((int)year, (int)month, (int)day, 0, 0, 0) + of_day;
    return true;
}

/* ---- reading and printing ---- */

static bool read_bool(im_view text, bool *out)
{
    static const char *const words[] = {"false", "true", "no", "yes", "0", "1"};
    for (size_t i = 0; i < IM_COUNT(words); i++) {
        if (im_view_equal_c(text, words[i])) {
            *out = i % 2 == 1;
            return true;
        }
    }
    return false;
}

static bool read_number(im_view text, double *out)
{
    char copy[64];
    if (text.size >= sizeof copy || memchr(text.data, '\0', text.size) != NULL) {
        return false;
    }
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    return im_parse_double(copy, out);
}

im_code im_value_parse(const char *field, im_value_type type, im_view text, im_value *out,
                       im_error *err)
{
    static const char *const expected[] = {
        [IM_VALUE_TEXT] = "text",
        [IM_VALUE_NUMBER] = "a number",
        [IM_VALUE_DATE] = "a date as 2021-06-03 or 2021-06-03T10:11:12",
        [IM_VALUE_BOOL] = "true or false",
    };
    im_value value = {.type = type};
    bool good = true;
    switch (type) {
    case IM_VALUE_TEXT:
        value.text = text;
        break;
    case IM_VALUE_NUMBER:
        good = read_number(text, &value.number);
        break;
    case IM_VALUE_DATE:
        good = read_date(text, &value.date_s);
        break;
    case IM_VALUE_BOOL:
        good = read_bool(text, &value.truth);
        break;
    }
    if (!good) {
        return im_fail_as(err, IM_REASON_FIELD_VALUE, "field '%s': '%.*s' is not %s", field,
                          (int)IM_MIN(text.size, 100), text.data, expected[type]);
    }
    *out = value;
    return IM_OK;
}

static void print_date(im_str *out, int64_t date_s)
{
    struct tm parts;
    time_t seconds = (time_t)date_s;
    if (gmtime_r(&seconds, &parts) == NULL) { /* beyond all years: no value is */
        return;
    }
    im_str_addf(out, "%04d-%02d-%02d", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday);
    if (parts.tm_hour != 0 || parts.tm_min != 0 || parts.tm_sec != 0) {
        im_str_addf(out, "T%02d:%02d:%02d", parts.tm_hour, parts.tm_min, parts.tm_sec);
    }
}

void im_value_print(im_str *out, const im_value *value)
{
    char number[IM_NUMBER_BYTES];
    switch (value->type) {
    case IM_VALUE_TEXT:
        im_str_add(out, value->text.data, value->text.size);
        break;
    case IM_VALUE_NUMBER:
        im_str_add_c(out, im_text_double(value->number, number));
        break;
    case IM_VALUE_DATE:
        print_date(out, value->date_s);
        break;
    case IM_VALUE_BOOL:
        im_str_add_c(out, value->truth ? "true" : "false");
        break;
    }
}

/* ---- in SQLite ---- */

void store_put_value(statement *st, const im_value *value)
{
    switch (value->type) {
    case IM_VALUE_TEXT:
        statement_put_text_view(st, value->text);
        break;
    case IM_VALUE_NUMBER:
        statement_put_f64(st, value->number == 0.0 ? 0.0 : value->number); /* no -0 */
        break;
    case IM_VALUE_DATE:
        statement_put_i64(st, value->date_s);
        break;
    case IM_VALUE_BOOL:
        statement_put_i64(st, value->truth);
        break;
    }
}

bool store_read_value(const statement *st, int type_column, int value_column, im_value *out)
{
    static const int kept_as[] = {
        [IM_VALUE_TEXT] = SQLITE_TEXT,
        [IM_VALUE_NUMBER] = SQLITE_FLOAT,
        [IM_VALUE_DATE] = SQLITE_INTEGER,
        [IM_VALUE_BOOL] = SQLITE_INTEGER,
    };
    im_value value = {.text = im_view_of("", 0)};
    if (!im_value_type_of(statement_view(st, type_column), &value.type) ||
        sqlite3_column_type(st->stmt, value_column) != kept_as[value.type]) {
        return false;
    }
    switch (value.type) {
    case IM_VALUE_TEXT:
        value.text = statement_view(st, value_column);
        break;
    case IM_VALUE_NUMBER:
        value.number = statement_f64(st, value_column);
        break;
    case IM_VALUE_DATE:
        value.date_s = statement_i64(st, value_column);
        break;
    case IM_VALUE_BOOL:
        value.truth = statement_i64(st, value_column) != 0;
        break;
    }
    *out = value;
    return true;
}
