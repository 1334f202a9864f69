/* query/filter_internal.h — what the parts of the filter compiler share. */
#ifndef IM_QUERY_FILTER_INTERNAL_H
#define IM_QUERY_FILTER_INTERNAL_H

#include "query/query.h"

/** query_value: `NAME "VALUE" (column N): expected …`, with a hint unless NULL. */
IM_NODISCARD im_code filter_wrong(const im_filter *test, const char *expected, const char *hint,
                                  im_error *err);
/** The two sides of "a..b", which may be empty; false when there is no "..". */
bool filter_split_range(const char *value, im_view *out_first, im_view *out_last);
/** query_value unless the range has an end and value and operator go together. */
IM_NODISCARD im_code filter_check_range(const im_filter *test, bool is_range, im_view first,
                                        im_view last, im_error *err);

/** Seconds of a period or range of them, both ends inclusive, as `test` compares them. @param local
 * true: the user's time zone; false: a wall clock, counted as if it were UTC's */
IM_NODISCARD im_code filter_read_time(const im_filter *test, bool local, int64_t *out_min,
                                      int64_t *out_max, im_error *err);

/** Ends of a numeric comparison. */
typedef struct filter_numbers {
    double min, max;
    bool open_min, open_max;
} filter_numbers;

/** @param sizes k, M, G, T (thousands), Ki, Mi, Gi, Ti, each with or without B, may follow */
IM_NODISCARD im_code filter_read_numbers(const im_filter *test, bool sizes, filter_numbers *out,
                                         im_error *err);
/** The same in whole numbers that are not negative. */
IM_NODISCARD im_code filter_read_integers(const im_filter *test, int64_t *out_min, int64_t *out_max,
                                          im_error *err);
/** Latitude, longitude, metres. */
IM_NODISCARD im_code filter_read_near(const im_filter *test, double out[4], im_error *err);
/** South, west, north, east. */
IM_NODISCARD im_code filter_read_box(const im_filter *test, double out[4], im_error *err);

/** The canonical name of a field, built in or own, in any case; NULL when there is none. */
const char *filter_field_name(const im_own_field *own, size_t n_own, im_view name);
/** The own field of that name, in any case; NULL when there is none. */
const im_own_field *filter_own_field(const im_own_field *own, size_t n_own, const char *name);
/** The name of the column that holds it. @param out the caller's (im_free) */
IM_NODISCARD im_code filter_own_column(const im_own_field *field, char **out, im_error *err);
/** query_field: the name, its column, the nearest field or all of them. */
IM_NODISCARD im_code filter_unknown_field(const im_own_field *own, size_t n_own, im_view name,
                                          size_t column, im_error *err);

/** The name among `names` [n] that takes the fewest changes to reach; NULL when all are far. */
const char *filter_nearest(const char *word, const char *const *names, size_t n);

#endif
