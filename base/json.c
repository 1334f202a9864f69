/* base/json.c — strict reading. The parser is jansson; what it does not refuse by itself (depth
 * before any work) is looked at first. */
#include "base/json.h"
#include "base/limits.h"
#include "base/memory.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static pthread_once_t functions_once = PTHREAD_ONCE_INIT;
/* jansson reports some failed allocations as a syntax error: this remembers the cause. */
static _Thread_local bool allocation_failed;
/* Memory that the parser gets when there is no other: jansson 2.14 does not look whether the buffer
 * of a string could grow, and then reads behind it or asserts. The result is thrown away anyway. */
static _Thread_local void *reserve;

static void *json_alloc(size_t size)
{
    void *block = im_alloc(size, 1);
    if (block != NULL) {
        return block;
    }
    allocation_failed = true;
    if (reserve == NULL) {
        return NULL;
    }
    im_free(reserve);
    reserve = NULL;
    return im_alloc(size, 1);
}

/* A string's buffer doubles: twice what is read is enough for it. */
static size_t reserve_bytes(size_t size)
{
    const size_t least = 4096, most = (size_t)64 << 20;
    return least + 2 * (size < most ? size : most);
}

/* A program that uses this library may have given jansson its own functions: they stay. */
static void set_functions(void)
{
    json_malloc_t alloc_now = NULL;
    json_free_t free_now = NULL;
    json_get_alloc_funcs(&alloc_now, &free_now);
    if (alloc_now == malloc && free_now == free) {
        json_set_alloc_funcs(json_alloc, im_free);
    }
}

typedef struct json_place {
    size_t line;   /* from 1 */
    size_t column; /* from 1, in characters */
} json_place;

static json_place place_of(const char *data, size_t offset)
{
    json_place place = {1, 1};
    for (size_t i = 0; i < offset; i++) {
        if (data[i] == '\n') {
            place.line++;
            place.column = 1;
        } else if (((unsigned char)data[i] & 0xc0u) != 0x80u) {
            place.column++;
        }
    }
    return place;
}

/* Offset of the bracket that goes too deep; size when none does. Text that is not JSON may be
 * counted wrongly, which is no harm: the parser refuses it next. */
static size_t find_too_deep(const char *data, size_t size)
{
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < size; i++) {
        char c = data[i];
        if (in_string) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                in_string = false;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            depth++;
            if (depth > IM_LIMIT_JSON_DEPTH) {
                return i;
            }
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return size;
}

static im_code check_depth(const char *data, size_t size, const char *name, im_error *err)
{
    size_t deep = find_too_deep(data, size);
    if (deep == size) {
        return IM_OK;
    }
    json_place place = place_of(data, deep);
    return im_fail(err, IM_ERR_FORMAT,
                   "%s: line %zu column %zu: nested too deeply, expected at most %u levels", name,
                   place.line, place.column, IM_LIMIT_JSON_DEPTH);
}

static im_code check_utf8(const char *data, size_t size, const char *name, im_error *err)
{
    size_t bad = 0;
    if (im_utf8_valid(data, size, &bad)) {
        return IM_OK;
    }
    json_place place = place_of(data, bad);
    return im_fail(err, IM_ERR_FORMAT,
                   "%s: line %zu column %zu: byte 0x%02x does not belong to UTF-8 text", name,
                   place.line, place.column, (unsigned)(unsigned char)data[bad]);
}

static im_code parse_failure(const json_error_t *error, const char *name, im_error *err)
{
    if (allocation_failed || json_error_code(error) == json_error_out_of_memory) {
        return im_fail(err, IM_ERR_NOMEM, "no memory to read %s", name);
    }
    /* its own sentence about this one names a flag of its API */
    bool nul = json_error_code(error) == json_error_null_character;
    return im_fail(err, IM_ERR_FORMAT, "%s: line %d column %d: %s", name,
                   error->line > 0 ? error->line : 1, error->column > 0 ? error->column : 1,
                   nul                      ? "\\u0000 is not allowed"
                   : error->text[0] != '\0' ? error->text
                                            : "not JSON");
}

im_code im_json_parse(const char *data, size_t size, const char *name, json_t **out, im_error *err)
{
    (void)pthread_once(&functions_once, set_functions);
    im_code rc = check_utf8(data, size, name, err);
    if (rc == IM_OK) {
        rc = check_depth(data, size, name, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    if (size == 0) {
        return im_fail(err, IM_ERR_FORMAT, "%s: line 1 column 1: empty, expected JSON", name);
    }
    json_error_t error;
    memset(&error, 0, sizeof error);
    reserve = im_alloc(reserve_bytes(size), 1);
    if (reserve == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory to read %s", name);
    }
    allocation_failed = false;
    json_t *value = json_loadb(data, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    im_free(reserve);
    reserve = NULL;
    if (value == NULL || allocation_failed) {
        /* jansson 2.14 goes on after some failed allocations: then nothing is sure about value */
        json_decref(value);
        return parse_failure(&error, name, err);
    }
    *out = value;
    return IM_OK;
}
