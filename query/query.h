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
} im_query_part;

#define IM_WEIGHT_POSITIVE 1.0
#define IM_WEIGHT_NEGATIVE (-0.5) /* of a negative part without a weight */
#define IM_WEIGHT_MAX 100.0

/** Checks kinds, texts (query_empty for nothing but blanks, query_encoding, query_too_long) and
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

/** A cursor: where the next page begins. Opaque text of at most 63 bytes. */
typedef struct im_cursor {
    float score;
    uint64_t item;
    uint64_t change_seq;
} im_cursor;
void im_cursor_write(const im_cursor *cursor, char out[64]);
/** IM_ERR_INVALID when the text is no cursor of ours. */
IM_NODISCARD im_code im_cursor_read(const char *text, im_cursor *out, im_error *err);

#endif
