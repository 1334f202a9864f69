/* query/request_internal.h — what the readers of JSON queries share. */
#ifndef IM_QUERY_REQUEST_INTERNAL_H
#define IM_QUERY_REQUEST_INTERNAL_H

#include "base/json.h"
#include "query/query.h"

#define REQUEST_PLACE_BYTES 96u

/** Where in the JSON the reader is, for the sentences. */
typedef struct request_reader {
    const char *name; /* of the file or body */
    const im_own_field *fields;
    size_t n_fields;
    char place[REQUEST_PLACE_BYTES]; /* "queries[2].parts[0].", or "" */
} request_reader;

/** A key that an object may have, and what reads its value into `out`. */
typedef struct request_key {
    const char *name;
    im_code (*read)(request_reader *reader, const char *key, json_t *value, void *out,
                    im_error *err);
} request_key;

/** Reads each member of an object through the table; null is as if it were not there. query_json
 * names an unknown key, and the nearest. */
IM_NODISCARD im_code request_read_object(request_reader *reader, const char *what, json_t *object,
                                         const request_key *keys, size_t n_keys, void *out,
                                         im_error *err);
/** The same of the object that stands at `key`, whose members are told of as "PLACEkey.member".
 * @param expected what it should be, when it is no object */
IM_NODISCARD im_code request_read_inside(request_reader *reader, const char *key, json_t *value,
                                         const char *expected, const request_key *keys,
                                         size_t n_keys, void *out, im_error *err);
/** query_json: "NAME: 'PLACEkey' is a string, expected …" */
IM_NODISCARD im_code request_wrong(const request_reader *reader, const char *key,
                                   const json_t *value, const char *expected, im_error *err);
/** query_json with a sentence behind "NAME: 'PLACEkey' ". */
IM_NODISCARD im_code request_fail(const request_reader *reader, const char *key, im_error *err,
                                  const char *fmt, ...) IM_PRINTF(4, 5);
/** Notes in the error that it is about this key; returns rc. */
im_code request_at(const request_reader *reader, const char *key, im_code rc, im_error *err);
/** A string without NUL, copied. */
IM_NODISCARD im_code request_read_text(const request_reader *reader, const char *key,
                                       const json_t *value, char **out, im_error *err);
IM_NODISCARD im_code request_read_bool(const request_reader *reader, const char *key,
                                       const json_t *value, bool *out, im_error *err);
IM_NODISCARD im_code request_read_integer(const request_reader *reader, const char *key,
                                          const json_t *value, uint64_t min, uint64_t max,
                                          uint64_t *out, im_error *err);
/** Puts the place before a sentence that does not know it; reason and hint stay. */
void request_prefix(const request_reader *reader, const char *key, im_error *err);

/** One element of "parts"; fills a part that is all zero, also in parts on failure. */
IM_NODISCARD im_code request_read_part(request_reader *reader, json_t *value, im_query_part *part,
                                       im_error *err);

#endif
