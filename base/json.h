/* base/json.h — strict reading through jansson, writing through a small streaming writer.
 * json_t is the one foreign type that passes base/'s door: wrapping a tree type gains nothing. */
#ifndef IM_BASE_JSON_H
#define IM_BASE_JSON_H

#include "base/error.h"
#include "base/text.h"
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Parses data as one JSON value: UTF-8, no key twice, depth <= IM_LIMIT_JSON_DEPTH (checked before
 * the parser sees it), nothing behind, integers within int64, no \u0000. `name` goes into the
 * sentence (file or "request body"). IM_ERR_FORMAT with line and column; IM_ERR_NOMEM. *out is the
 * caller's (json_decref). */
IM_NODISCARD im_code im_json_parse(const char *data, size_t size, const char *name, json_t **out,
                                   im_error *err);

/** Streaming writer: compact, keys in the order given; floats with the shortest digits that read
 * back the same value; NaN and Inf become null. Strings must be UTF-8 (bad bytes become U+FFFD);
 * control bytes and direction marks are escaped. At depth 0 values are not separated: for JSON
 * lines add the newline to `out`. */
typedef struct im_json_writer {
    im_str out;      /* the text so far */
    unsigned depth;
    bool need_comma;
    bool after_key;
} im_json_writer;

void im_json_init(im_json_writer *w, size_t max_bytes);
void im_json_begin_object(im_json_writer *w);
void im_json_end_object(im_json_writer *w);
void im_json_begin_array(im_json_writer *w);
void im_json_end_array(im_json_writer *w);
void im_json_key(im_json_writer *w, const char *key);
void im_json_string(im_json_writer *w, const char *data, size_t size);
void im_json_string_c(im_json_writer *w, const char *c_string); /* NULL writes null */
void im_json_int(im_json_writer *w, int64_t value);
void im_json_uint(im_json_writer *w, uint64_t value);
void im_json_float(im_json_writer *w, float value);
void im_json_double(im_json_writer *w, double value);
void im_json_bool(im_json_writer *w, bool value);
void im_json_null(im_json_writer *w);
/** key + value in one call. */
void im_json_put_string(im_json_writer *w, const char *key, const char *c_string);
void im_json_put_int(im_json_writer *w, const char *key, int64_t value);
void im_json_put_uint(im_json_writer *w, const char *key, uint64_t value);
void im_json_put_double(im_json_writer *w, const char *key, double value);
void im_json_put_float(im_json_writer *w, const char *key, float value);
void im_json_put_bool(im_json_writer *w, const char *key, bool value);
void im_json_put_null(im_json_writer *w, const char *key);
/** True when all fitted; the text is in w->out. */
bool im_json_ok(const im_json_writer *w);
void im_json_clear(im_json_writer *w);

/** {"code","class","message","field"?,"file"?,"hint"?} as an object value (design section 6). */
void im_json_error(im_json_writer *w, const im_error *error, const char *file);

#endif
