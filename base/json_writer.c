/* base/json_writer.c — compact JSON, appended to one bounded string. */
#include "base/json.h"
#include "base/text_internal.h"
#include <assert.h>
#include <math.h>
#include <string.h>

void im_json_init(im_json_writer *w, size_t max_bytes)
{
    *w = (im_json_writer){0};
    im_str_init(&w->out, max_bytes);
}

/* What stands before a value: nothing after its key, a comma after another value. */
static void before_value(im_json_writer *w)
{
    if (w->after_key) {
        w->after_key = false;
    } else if (w->need_comma && w->depth > 0) {
        im_str_add_char(&w->out, ',');
    }
    w->need_comma = true;
}

static void begin(im_json_writer *w, char bracket)
{
    before_value(w);
    im_str_add_char(&w->out, bracket);
    w->depth++;
    w->need_comma = false;
}

static void end(im_json_writer *w, char bracket)
{
    assert(w->depth > 0 && !w->after_key);
    im_str_add_char(&w->out, bracket);
    w->depth--;
    w->need_comma = true;
}

void im_json_begin_object(im_json_writer *w)
{
    begin(w, '{');
}

void im_json_end_object(im_json_writer *w)
{
    end(w, '}');
}

void im_json_begin_array(im_json_writer *w)
{
    begin(w, '[');
}

void im_json_end_array(im_json_writer *w)
{
    end(w, ']');
}

static char short_escape(uint32_t code)
{
    switch (code) {
    case '"':
    case '\\':
        return (char)code;
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return 0;
    }
}

/* Length of the longest beginning that needs no escape. */
static size_t plain_run(const char *data, size_t size)
{
    size_t i = 0;
    while (i < size) {
        uint32_t code = 0;
        size_t length = im_utf8_decode(data + i, size - i, &code);
        if (length == 0 || code == '"' || code == '\\' || text_is_unsafe(code)) {
            break;
        }
        i += length;
    }
    return i;
}

/* One character that must be escaped, or one bad byte. Direction marks and C1 controls would be
 * allowed as they are; escaped they do no harm on a terminal. */
static size_t add_escaped(im_str *out, const char *data, size_t size)
{
    uint32_t code = 0;
    size_t length = im_utf8_decode(data, size, &code);
    if (length == 0) {
        im_str_add(out, "\xef\xbf\xbd", 3);
        return 1;
    }
    if (short_escape(code) != 0) {
        im_str_add_char(out, '\\');
        im_str_add_char(out, short_escape(code));
    } else {
        im_str_addf(out, "\\u%04x", (unsigned)code);
    }
    return length;
}

static void add_quoted(im_str *out, const char *data, size_t size)
{
    im_str_add_char(out, '"');
    size_t i = 0;
    while (i < size && !out->failed) {
        size_t plain = plain_run(data + i, size - i);
        im_str_add(out, data + i, plain);
        i += plain;
        if (i < size) {
            i += add_escaped(out, data + i, size - i);
        }
    }
    im_str_add_char(out, '"');
}

void im_json_key(im_json_writer *w, const char *key)
{
    assert(w->depth > 0 && !w->after_key);
    if (w->need_comma) {
        im_str_add_char(&w->out, ',');
    }
    add_quoted(&w->out, key, strlen(key));
    im_str_add_char(&w->out, ':');
    w->after_key = true;
}

void im_json_string(im_json_writer *w, const char *data, size_t size)
{
    before_value(w);
    add_quoted(&w->out, data, size);
}

void im_json_string_c(im_json_writer *w, const char *c_string)
{
    if (c_string == NULL) {
        im_json_null(w);
    } else {
        im_json_string(w, c_string, strlen(c_string));
    }
}

static void add_word(im_json_writer *w, const char *word)
{
    before_value(w);
    im_str_add_c(&w->out, word);
}

void im_json_int(im_json_writer *w, int64_t value)
{
    before_value(w);
    im_str_addf(&w->out, "%lld", (long long)value);
}

void im_json_uint(im_json_writer *w, uint64_t value)
{
    before_value(w);
    im_str_addf(&w->out, "%llu", (unsigned long long)value);
}

void im_json_float(im_json_writer *w, float value)
{
    char digits[IM_NUMBER_BYTES];
    add_word(w, isfinite(value) ? im_text_float(value, digits) : "null");
}

void im_json_double(im_json_writer *w, double value)
{
    char digits[IM_NUMBER_BYTES];
    add_word(w, isfinite(value) ? im_text_double(value, digits) : "null");
}

void im_json_bool(im_json_writer *w, bool value)
{
    add_word(w, value ? "true" : "false");
}

void im_json_null(im_json_writer *w)
{
    add_word(w, "null");
}

void im_json_put_string(im_json_writer *w, const char *key, const char *c_string)
{
    im_json_key(w, key);
    im_json_string_c(w, c_string);
}

void im_json_put_int(im_json_writer *w, const char *key, int64_t value)
{
    im_json_key(w, key);
    im_json_int(w, value);
}

void im_json_put_uint(im_json_writer *w, const char *key, uint64_t value)
{
    im_json_key(w, key);
    im_json_uint(w, value);
}

void im_json_put_double(im_json_writer *w, const char *key, double value)
{
    im_json_key(w, key);
    im_json_double(w, value);
}

void im_json_put_float(im_json_writer *w, const char *key, float value)
{
    im_json_key(w, key);
    im_json_float(w, value);
}

void im_json_put_bool(im_json_writer *w, const char *key, bool value)
{
    im_json_key(w, key);
    im_json_bool(w, value);
}

void im_json_put_null(im_json_writer *w, const char *key)
{
    im_json_key(w, key);
    im_json_null(w);
}

bool im_json_ok(const im_json_writer *w)
{
    return !w->out.failed;
}

void im_json_clear(im_json_writer *w)
{
    im_str_clear(&w->out);
    w->depth = 0;
    w->need_comma = false;
    w->after_key = false;
}

void im_json_error(im_json_writer *w, const im_error *error, const char *file)
{
    im_json_begin_object(w);
    im_json_put_string(w, "code", error->reason != NULL ? error->reason : "internal");
    im_json_put_string(w, "class", im_code_name(error->code));
    im_json_put_string(w, "message", error->message);
    if (error->field[0] != '\0') {
        im_json_put_string(w, "field", error->field);
    }
    if (file != NULL || error->file[0] != '\0') {
        im_json_put_string(w, "file", file != NULL ? file : error->file);
    }
    if (error->hint[0] != '\0') {
        im_json_put_string(w, "hint", error->hint);
    }
    im_json_end_object(w);
}
