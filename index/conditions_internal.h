/* index/conditions_internal.h — a condition made ready for one set of columns. */
#ifndef IM_INDEX_CONDITIONS_INTERNAL_H
#define IM_INDEX_CONDITIONS_INTERNAL_H

#include "index/columns_internal.h"

/** A node of the plan; kinds of text have become TEXT_EQUAL with a set of words, PRESENT a range or
 * set of all. */
typedef struct condition_plan {
    im_condition_kind kind;
    struct condition_plan *children; /* [n_children], owned */
    size_t n_children;
    columns_column *column;    /* latitude, for places */
    columns_column *longitude; /* places alone */
    int64_t min_i, max_i;
    double min, max;       /* closed; of the latitude, for places */
    double west, east;     /* degrees; west > east crosses 180 degrees */
    double near[3];        /* latitude, longitude, metres */
    uint32_t *set;         /* [n_set / 32 + 1] bit per word of the file, bit n_set is off; owned */
    uint32_t *patched_set; /* the same for the words of the patch */
    uint32_t n_set, n_patched_set;
    const uint64_t *slots; /* borrowed */
    uint64_t n_slots;
} condition_plan;

/** Checks a condition and makes its plan, which borrows from it. *out needs conditions_clear, after
 * a failure too. @param depth of the node, 0 at the root */
IM_NODISCARD im_code conditions_plan(im_columns *columns, const im_condition *condition,
                                     unsigned depth, condition_plan *out, im_error *err);
void conditions_clear(condition_plan *plan);
/** Metres between two points in degrees on a sphere of the earth's mean radius (haversine). */
double conditions_metres(double lat_a, double lon_a, double lat_b, double lon_b);
/** True when `text` is matched whole by `pattern`, in which '*' stands for any run. */
bool conditions_glob(im_view pattern, im_view text);

#endif
