/* query/request_keys.c — reading JSON objects by a table of keys, with sentences that say where. */
#include "base/base.h"
#include "query/filter_internal.h"
#include "query/request_internal.h"
#include <stdarg.h>
#include <string.h>

#define MOST_KEYS 32u

static const char *type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    default:
        return "null";
    }
}

im_code request_at(const request_reader *reader, const char *key, im_code rc, im_error *err)
{
    im_at_field(err, "%s%s", reader->place, key);
    return rc;
}

im_code request_fail(const request_reader *reader, const char *key, im_error *err, const char *fmt,
                     ...)
{
    char sentence[256];
    size_t place = strlen(reader->place);
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(sentence, sizeof(sentence), fmt, args);
    va_end(args);
    if (key[0] == '\0' && place == 0) {
        return im_fail_as(err, IM_REASON_QUERY_JSON, "%s: the query %s", reader->name, sentence);
    }
    place -= key[0] == '\0'; /* the dot */
    im_code rc = im_fail_as(err, IM_REASON_QUERY_JSON, "%s: '%.*s%s' %s", reader->name, (int)place,
                            reader->place, key, sentence);
    im_at_field(err, "%.*s%s", (int)place, reader->place, key);
    return rc;
}

im_code request_wrong(const request_reader *reader, const char *key, const json_t *value,
                      const char *expected, im_error *err)
{
    return request_fail(reader, key, err, "is %s, expected %s", type_name(value), expected);
}

void request_prefix(const request_reader *reader, const char *key, im_error *err)
{
    if (err == NULL) {
        return;
    }
    im_error old = *err;
    (void)!im_fail(err, old.code, "%s: '%s%s': %s", reader->name, reader->place, key, old.message);
    err->reason = old.reason;
    im_hint(err, "%s", old.hint);
    im_at_field(err, "%s%s", reader->place, key);
    im_at_file(err, old.file);
}

im_code request_read_text(const request_reader *reader, const char *key, const json_t *value,
                          char **out, im_error *err)
{
    if (!json_is_string(value)) {
        return request_wrong(reader, key, value, "a string", err);
    }
    char *text = im_strdup(json_string_value(value)); /* im_json_parse refuses NUL */
    if (text == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a query");
    }
    im_free(*out);
    *out = text;
    return IM_OK;
}

im_code request_read_bool(const request_reader *reader, const char *key, const json_t *value,
                          bool *out, im_error *err)
{
    if (!json_is_boolean(value)) {
        return request_wrong(reader, key, value, "true or false", err);
    }
    *out = json_is_true(value);
    return IM_OK;
}

im_code request_read_integer(const request_reader *reader, const char *key, const json_t *value,
                             uint64_t min, uint64_t max, uint64_t *out, im_error *err)
{
    if (!json_is_integer(value)) {
        return request_wrong(reader, key, value, "a whole number", err);
    }
    json_int_t number = json_integer_value(value);
    if (number > 0 && (uint64_t)number > max) {
        return request_fail(reader, key, err, "is %lld, the limit is %llu", (long long)number,
                            (unsigned long long)max);
    }
    if (number < 0 || (uint64_t)number < min) {
        return request_fail(reader, key, err, "is %lld, expected at least %llu", (long long)number,
                            (unsigned long long)min);
    }
    *out = (uint64_t)number;
    return IM_OK;
}

static im_code unknown_key(const request_reader *reader, const char *key, const request_key *keys,
                           size_t n_keys, im_error *err)
{
    const char *names[MOST_KEYS];
    size_t n = IM_MIN(n_keys, (size_t)MOST_KEYS);
    for (size_t i = 0; i < n; i++) {
        names[i] = keys[i].name;
    }
    const char *nearest = filter_nearest(key, names, n);
    im_code rc =
        im_fail_as(err, IM_REASON_QUERY_JSON, "%s: unknown key '%s%.80s'%s%s%s", reader->name,
                   reader->place, key, nearest != NULL ? ": the nearest is '" : "",
                   nearest != NULL ? nearest : "", nearest != NULL ? "'" : "");
    im_at_field(err, "%s%.80s", reader->place, key);
    im_hint(err, "the manual lists the keys under \"Queries as JSON\"");
    return rc;
}

im_code request_read_object(request_reader *reader, const char *what, json_t *object,
                            const request_key *keys, size_t n_keys, void *out, im_error *err)
{
    const char *key = NULL;
    json_t *value = NULL;
    if (!json_is_object(object)) {
        return request_wrong(reader, what, object, "an object", err);
    }
    json_object_foreach(object, key, value)
    {
        size_t i = 0;
        while (i < n_keys && strcmp(keys[i].name, key) != 0) {
            i++;
        }
        if (i == n_keys) {
            return unknown_key(reader, key, keys, n_keys, err);
        }
        im_code rc =
            json_is_null(value) ? IM_OK : keys[i].read(reader, keys[i].name, value, out, err);
        if (rc != IM_OK) {
            return rc;
        }
    }
    return IM_OK;
}

im_code request_read_inside(request_reader *reader, const char *key, json_t *value,
                            const char *expected, const request_key *keys, size_t n_keys, void *out,
                            im_error *err)
{
    size_t length = strlen(reader->place);
    if (!json_is_object(value)) {
        return request_wrong(reader, key, value, expected, err);
    }
    (void)snprintf(reader->place + length, sizeof(reader->place) - length, "%s.", key);
    im_code rc = request_read_object(reader, "", value, keys, n_keys, out, err);
    reader->place[length] = '\0';
    return rc;
}
