/* query/query.h — what is asked: parts, their checks, standardised scores; the door of query/.
 * Pure functions over values: no files, no threads. */
#ifndef IM_QUERY_QUERY_H
#define IM_QUERY_QUERY_H

#include "base/error.h"
#include "base/text.h"
#include "index/index.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum im_part_kind { IM_PART_TEXT, IM_PART_PICTURE } im_part_kind;

/** A box drawn on a picture, after orientation: pixels, or per cent of the sides. */
typedef struct im_box {
    double x, y, w, h;
    bool percent[4];
} im_box;

/** One part as it was asked. All text is borrowed. */
typedef struct im_query_part {
    im_part_kind kind;
    im_view text;     /* IM_PART_TEXT: literal UTF-8 */
    const char *path; /* IM_PART_PICTURE: a file … */
    im_view bytes;    /* … or its bytes … */
    uint64_t item;    /* … or an item of the library (0 = none) */
    double weight;    /* negative: counts against; 0 is not allowed */
    bool has_box;
    im_box box;
    bool must;           /* IM_PART_TEXT: also to be found in names, tags, captions, visible text */
    bool standard_input; /* IM_PART_PICTURE: … or what comes in there … */
    const char *upload;  /* … or the part of that name of a multipart body */
} im_query_part;

#define IM_WEIGHT_POSITIVE 1.0
#define IM_WEIGHT_NEGATIVE (-0.5) /* of a negative part without a weight */
#define IM_WEIGHT_MAX 100.0
#define IM_SCORE_MAX 1e9 /* of a lowest score that can be asked for */

/** Checks texts (query_empty for nothing but blanks, query_encoding, query_too_long) and
 * weights (finite, 0 < |w| <= 100; negative ones only for sum). IM_ERR_INVALID, IM_ERR_LIMIT. */
IM_NODISCARD im_code im_query_check(const im_query_part *parts, size_t n_parts, im_combine combine,
                                    im_error *err);
/** Reads "x,y,w,h", each a number with or without "%". query_box when it is anything else. */
IM_NODISCARD im_code im_box_parse(const char *text, im_box *out, im_error *err);
/** The box in whole pixels of a width x height picture: at least 1 x 1, inside; else query_box. */
IM_NODISCARD im_code im_box_resolve(const im_box *box, uint32_t width, uint32_t height,
                                    uint32_t out_xywh[4], im_error *err);

/** Where the cosines of a vector lie among unrelated pictures. */
typedef struct im_background {
    float mean;
    float deviation; /* > 0 */
} im_background;

/** Mean and deviation of the cosine of `vector` [dim] over the model's background pictures
 * [n, dim] (design section 5). n == 0 gives {0, 1}: scores are then plain cosines. */
im_background im_query_background(const float *background, size_t n, size_t dim,
                                  const float *vector);

/** A planned query: what the index needs, and what explains a hit afterwards. */
typedef struct im_plan {
    im_index_part *parts;      /* [n_parts], owned */
    im_background *background; /* [n_parts], owned */
    size_t n_parts;
    im_combine combine;
    bool only_negative; /* ranks by absence */
} im_plan;

/** Standardises each part: score = w * (cosine - mean) / deviation.
 * @param vectors [n_parts, dim] unit vectors, borrowed until the plan is cleared
 * query_degenerate when the folded vector of `sum` vanishes or a weight overflows it. */
IM_NODISCARD im_code im_query_plan(const im_query_part *parts, const float *vectors, size_t n_parts,
                                   size_t dim, im_combine combine, const float *background,
                                   size_t n_background, im_plan *out_plan, im_error *err);
void im_plan_clear(im_plan *plan);
/** What a part of cosine c adds to the score of a hit. */
float im_plan_contribution(const im_plan *plan, size_t part, float cosine);

/** What the hit at a page's end was ranked by. */
typedef enum im_cursor_kind {
    IM_CURSOR_SCORE,
    IM_CURSOR_NONE, /* no value of the field that the answer is sorted by … */
    IM_CURSOR_INTEGER,
    IM_CURSOR_NUMBER,
    IM_CURSOR_TEXT /* … or one of these */
} im_cursor_kind;

/** A cursor: where the next page begins. To others it is opaque text. */
typedef struct im_cursor {
    im_cursor_kind kind;
    float score;
    int64_t integer;
    double number;
    char *text;     /* owned; UTF-8 */
    uint32_t order; /* digest of the field and the direction, so that no other answer takes it */
    uint64_t item;
    uint64_t change_seq;
} im_cursor;
void im_cursor_clear(im_cursor *cursor);
/** Appends the text. */
void im_cursor_write(const im_cursor *cursor, im_str *out);
/** IM_ERR_INVALID when the text is no cursor of ours. @param out im_cursor_clear */
IM_NODISCARD im_code im_cursor_read(const char *text, im_cursor *out, im_error *err);

/* ---- filters ---- */

typedef enum im_filter_kind {
    IM_FILTER_TEST,
    IM_FILTER_AND,
    IM_FILTER_OR,
    IM_FILTER_NOT
} im_filter_kind;

typedef enum im_filter_op {
    IM_FILTER_IS, /* ':' */
    IM_FILTER_LESS,
    IM_FILTER_AT_MOST,
    IM_FILTER_MORE,
    IM_FILTER_AT_LEAST,
    IM_FILTER_EQUAL
} im_filter_op;

typedef struct im_filter {
    im_filter_kind kind;
    struct im_filter **children; /* and, or: >= 2; not: 1; test: 0 */
    size_t n_children;
    char *field;     /* test: canonical name (built-in in lower case, own field as registered) */
    im_filter_op op; /* test */
    char *value;     /* test: unescaped, UTF-8, as written */
    size_t column;   /* test: 1-based column of the comparison in the query text (in characters) */
} im_filter;
void im_filter_free(im_filter *filter);
/** Both must pass; either may be NULL, which is then no filter. Takes both, also on failure. */
IM_NODISCARD im_code im_filter_and(im_filter *first, im_filter *second, im_filter **out_filter,
                                   im_error *err);

typedef enum im_field_type {
    IM_FIELD_TEXT,
    IM_FIELD_NUMBER,
    IM_FIELD_DATE,
    IM_FIELD_BOOL
} im_field_type;

/** A user's field, as the library registers it. */
typedef struct im_own_field {
    const char *name;
    im_field_type type;
} im_own_field;

/* ---- the language (docs/manual.md, "The query language") ---- */

/** A query as it was written. All text in it is owned; all zero is an empty one. */
typedef struct im_query {
    im_query_part *parts; /* [n_parts], in the order written; weights are signed */
    size_t n_parts;
    im_filter *filter; /* NULL: none; without parts it makes a listing, the newest first */
} im_query;

/** Reads a query. What a filter's values mean is checked by im_filter_compile.
 * @param text UTF-8, need not be terminated
 * @param fields [n_fields] the users' own
 * @return IM_OK; IM_ERR_INVALID: query_empty, query_encoding (naming the byte), query_syntax,
 * query_weight, query_box, query_field, each with "column N", counted in characters from 1;
 * IM_ERR_LIMIT: query_too_long, limit; IM_ERR_NOMEM. *out is untouched then. */
IM_NODISCARD im_code im_query_parse(im_view text, const im_own_field *fields, size_t n_fields,
                                    im_query *out, im_error *err);
void im_query_clear(im_query *query);
/** Appends a query in the language that reads back as the same parts and the same filter. Parts
 * that the language cannot say (bytes, uploads) are left out. */
void im_query_write(const im_query *query, im_str *out);

/** Reads a filter alone: what may stand between parentheses. As im_query_parse. */
IM_NODISCARD im_code im_filter_parse(im_view text, const im_own_field *fields, size_t n_fields,
                                     im_filter **out_filter, im_error *err);

/** The column (index.h) by which hits can be sorted or grouped that are asked for as `name`:
 * "taken", "field.price", … IM_ERR_INVALID, query_field with the nearest name.
 * @param out_column the caller's (im_free) */
IM_NODISCARD im_code im_query_column(const char *name, const im_own_field *fields, size_t n_fields,
                                     char **out_column, im_error *err);

/* ---- queries as JSON ---- */

typedef enum im_order { IM_ORDER_DEFAULT, IM_ORDER_ASCENDING, IM_ORDER_DESCENDING } im_order;

/** A query as JSON asks for it. All owned. */
typedef struct im_query_request {
    im_query query; /* its parts may hold bytes and uploads */
    im_combine combine;
    size_t k; /* 20 unless asked */
    uint64_t offset;
    char *cursor;       /* NULL: from the start; not checked yet */
    char *sort_column;  /* NULL: by score, a listing the newest first */
    bool by_score;      /* "score" was asked for by name */
    im_order order;     /* IM_ORDER_DEFAULT: the best, the newest, the largest first */
    char *group_column; /* NULL: not grouped */
    size_t group_n;     /* hits of each value that are kept */
    bool has_min_score;
    float min_score;  /* hits below it are left out */
    bool exact, fast; /* not both */
    size_t rerank;    /* hits that the vision-language model is to look at; 0: none */
} im_query_request;
#define IM_RERANK_N 20u /* unless told … */
#define IM_RERANK_MOST 100u

/** What one body or one line asked for. */
typedef struct im_query_requests {
    im_query_request *requests; /* [n], n >= 1 */
    size_t n;
    bool several; /* came as {"queries": […]}: the answer has as many */
} im_query_requests;

/** Reads {"parts": […], …} or {"queries": [{…}, …]}; docs/manual.md lists the keys. Parts are
 * checked (im_query_check).
 * @param name of the file or body, for the sentences
 * @return IM_OK; IM_ERR_INVALID: query_json, not JSON, or with the place of a key or value that is
 * wrong, or what im_filter_parse and im_query_check gave; IM_ERR_LIMIT;
 * IM_ERR_UNSUPPORTED: something that cannot be asked for yet; IM_ERR_NOMEM. */
IM_NODISCARD im_code im_query_requests_read(im_view json, const char *name,
                                            const im_own_field *fields, size_t n_fields,
                                            im_query_requests *out, im_error *err);
/** What one request cannot ask for together, and limits. IM_ERR_INVALID. */
IM_NODISCARD im_code im_query_request_check(const im_query_request *request, im_error *err);
void im_query_request_clear(im_query_request *request);
void im_query_requests_clear(im_query_requests *requests);

/* ---- filters as conditions over columns ---- */

/** Answers what is no column: path, in, tag, key, caption. Sets the bits of the slots that pass. */
typedef struct im_filter_resolve {
    void *context;
    /** @param out_bits [ceil(n_slots / 64)], zero at the call */
    im_code (*slots)(void *context, const char *field, im_filter_op op, const char *value,
                     uint64_t *out_bits, im_error *err);
} im_filter_resolve;

typedef struct im_filter_options {
    const im_own_field *fields; /* [n_fields] */
    size_t n_fields;
    uint64_t n_slots; /* of the index's snapshot */
    im_filter_resolve resolve;
    bool keep_missing; /* do not leave out items whose every file is missing */
} im_filter_options;

/** Makes a filter a condition for im_columns_filter: values typed and checked, periods in seconds,
 * names of columns. Unless keep_missing is set or "is:missing" occurs, items whose every file is
 * missing are left out. docs/manual.md says what each field takes.
 * @param filter NULL: no filter (the condition is then just that on missing files, or NULL)
 * @param out_condition im_condition_free
 * @return IM_OK; IM_ERR_INVALID: query_field (no such field), query_value (a value, comparison or
 * range that the field cannot have), each with "(column N)"; IM_ERR_LIMIT: nested deeper than 200;
 * IM_ERR_NOMEM; what resolve gave */
IM_NODISCARD im_code im_filter_compile(const im_filter *filter, const im_filter_options *options,
                                       im_condition **out_condition, im_error *err);

#endif
