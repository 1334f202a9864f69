/* cli/facts.c — a JSON object as lines for people: what app/ tells about libraries, items and
 * models is written once, as JSON, and read from there. */
#include "cli/cli_internal.h"

#include <time.h>

#define FACTS_DEPTH_MAX 16

static void put_value(cli_output *out, const char *key, const json_t *value, size_t indent);

static bool key_ends(const char *key, const char *end)
{
    size_t n = strlen(key);
    size_t m = strlen(end);
    return n >= m && strcmp(key + n - m, end) == 0;
}

static bool key_is_path(const char *key)
{
    return key_ends(key, "path") || key_ends(key, "folder") || strcmp(key, "library") == 0;
}

static void put_text(cli_output *out, const char *key, const char *text)
{
    if (key_is_path(key)) {
        cli_put_path(out, text);
    } else {
        cli_put_escaped(out, text);
    }
}

/* Moments are nanoseconds since 1970 in JSON; people read a date. */
static bool key_is_moment(const char *key)
{
    return key_ends(key, "_ns");
}

static size_t key_width(const char *key)
{
    return strlen(key) - (key_is_moment(key) ? strlen("_ns") : 0);
}

static void put_moment(cli_output *out, json_int_t ns)
{
    struct tm utc;
    char text[64];
    time_t seconds = (time_t)(ns / 1000000000);
    if (gmtime_r(&seconds, &utc) != NULL &&
        strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &utc) > 0) {
        cli_puts(out, text);
    } else {
        cli_printf(out, "%lld ns", (long long)ns);
    }
}

static void put_integer(cli_output *out, const char *key, json_int_t value)
{
    char human[16];
    if (key_is_moment(key)) {
        put_moment(out, value);
        return;
    }
    cli_printf(out, "%lld", (long long)value);
    if (value >= 1000 && key_ends(key, "bytes")) {
        cli_printf(out, " (%s)", im_text_bytes((uint64_t)value, human));
    }
}

static void put_scalar(cli_output *out, const char *key, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        put_text(out, key, json_string_value(value));
        break;
    case JSON_INTEGER:
        put_integer(out, key, json_integer_value(value));
        break;
    case JSON_REAL:
        cli_printf(out, "%.6g", json_real_value(value));
        break;
    case JSON_TRUE:
        cli_puts(out, "yes");
        break;
    case JSON_FALSE:
        cli_puts(out, "no");
        break;
    default:
        cli_puts(out, "-");
        break;
    }
}

static bool is_nested(const json_t *value)
{
    return json_is_object(value) || json_is_array(value);
}

static size_t widest_key(json_t *object)
{
    size_t widest = 0;
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(object, key, value)
    {
        if (!is_nested(value)) {
            widest = IM_MAX(widest, key_width(key));
        }
    }
    return widest;
}

static void put_key(cli_output *out, const char *key, size_t indent)
{
    cli_printf(out, "%*s", (int)indent, "");
    cli_style(out, "2");
    for (const char *c = key; c < key + key_width(key); c++) {
        cli_put(out, *c == '_' ? " " : c, 1);
    }
    cli_style(out, "0");
}

static void put_object(cli_output *out, json_t *object, size_t indent)
{
    size_t widest = widest_key(object);
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(object, key, value)
    {
        put_key(out, key, indent);
        if (is_nested(value)) {
            put_value(out, key, value, indent);
        } else {
            cli_printf(out, "%*s", (int)(widest - key_width(key) + 2), "");
            put_scalar(out, key, value);
            cli_puts(out, "\n");
        }
    }
}

/* Numbers stay on one line, texts and objects get one each. */
static void put_array(cli_output *out, const char *key, const json_t *array, size_t indent)
{
    size_t n = json_array_size(array);
    bool numbers = n > 0 && json_is_number(json_array_get(array, 0));
    cli_puts(out, n == 0 ? "  -\n" : numbers ? " " : "\n");
    for (size_t i = 0; i < n; i++) {
        json_t *value = json_array_get(array, i);
        if (json_is_object(value)) {
            put_object(out, value, indent + 2);
            cli_puts(out, i + 1 < n ? "\n" : "");
        } else if (numbers) {
            cli_puts(out, " ");
            put_scalar(out, key, value);
        } else if (json_is_array(value)) {
            put_array(out, key, value, indent + 2);
        } else {
            cli_printf(out, "%*s", (int)indent + 2, "");
            put_scalar(out, key, value);
            cli_puts(out, "\n");
        }
    }
    cli_puts(out, numbers ? "\n" : "");
}

/* Names that users gave are printed as they are, and say nothing of what the value is. */
static void put_own_fields(cli_output *out, json_t *object, size_t indent)
{
    size_t widest = 0;
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(object, key, value)
    {
        widest = IM_MAX(widest, strlen(key));
    }
    json_object_foreach(object, key, value)
    {
        cli_printf(out, "%*s", (int)indent, "");
        cli_style(out, "2");
        cli_put_escaped(out, key);
        cli_style(out, "0");
        cli_printf(out, "%*s", (int)(widest - strlen(key) + 2), "");
        if (json_is_real(value)) {
            cli_printf(out, "%.15g", json_real_value(value));
        } else {
            put_scalar(out, "", value);
        }
        cli_puts(out, "\n");
    }
}

static void put_value(cli_output *out, const char *key, const json_t *value, size_t indent)
{
    if (json_is_object(value) && strcmp(key, "fields") == 0) {
        cli_puts(out, json_object_size(value) == 0 ? "  -\n" : "\n");
        put_own_fields(out, (json_t *)(uintptr_t)value, indent + 2);
        return;
    }
    if (indent > 2 * FACTS_DEPTH_MAX) {
        cli_puts(out, "  …\n");
    } else if (json_is_array(value)) {
        /* texts of a list of "paths" or "folders" are paths themselves */
        const char *kind = strcmp(key, "paths") == 0 || strcmp(key, "files") == 0 ? "path" : key;
        put_array(out, kind, value, indent);
    } else {
        cli_puts(out, "\n");
        put_object(out, (json_t *)(uintptr_t)value, indent + 2);
    }
}

im_code cli_put_facts(cli_output *out, const char *json, size_t size, im_error *err)
{
    json_t *root = NULL;
    im_code rc = im_json_parse(json, size, "facts", &root, err);
    if (rc == IM_OK) {
        put_object(out, root, 0);
    }
    json_decref(root);
    return rc;
}
