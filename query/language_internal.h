/* query/language_internal.h — what the files of the language share: a reader that knows its column,
 * its small words (phrase, weight, box), the filter grammar, and what belongs to parts. */
#ifndef IM_QUERY_LANGUAGE_INTERNAL_H
#define IM_QUERY_LANGUAGE_INTERNAL_H

#include "query/query.h"

/** White space of any script, and the byte order mark. */
bool query_is_blank(uint32_t code);
/** Nothing else in it. @param text valid UTF-8 */
bool query_only_blanks(im_view text);

/** A place in a query's text. Invariant: start <= at <= end, the text is UTF-8 without NUL. */
typedef struct query_reader {
    const char *start, *at, *end;
    const im_own_field *fields;
    size_t n_fields;
    unsigned depth;     /* parentheses open */
    size_t n_tests;     /* comparisons so far */
    const char *marked; /* a place whose column is known: columns are asked for in order */
    size_t marked_column;
} query_reader;

/** Checks size, UTF-8 and NUL (query_too_long, query_encoding). @param what for the sentence */
IM_NODISCARD im_code query_reader_init(query_reader *reader, im_view text, const char *what,
                                       const im_own_field *fields, size_t n_fields, im_error *err);
/** Of a place, in characters from 1. */
size_t query_column(query_reader *reader, const char *place);
/** Bytes of the blank at a place; 0 when there is none. */
size_t query_blank_at(const query_reader *reader, const char *place);
void query_skip_blanks(query_reader *reader);
/** At the end or at a blank. */
bool query_at_gap(const query_reader *reader);
/** query_syntax unless it is. */
IM_NODISCARD im_code query_need_gap(query_reader *reader, im_error *err);

/** Appends what stands between quotes, and passes the closing one. @param out its max is the limit
 */
IM_NODISCARD im_code query_read_phrase(query_reader *reader, im_str *out, im_error *err);
/** "^0.5" up to the next blank. */
IM_NODISCARD im_code query_read_weight(query_reader *reader, double *out, im_error *err);
/** The end of "[n,n,n,n]" that begins at `place`; NULL when it is not exactly that. */
const char *query_box_end(const char *place, const char *end);
/** Reads the box that ends at `end` (query_box_end). */
IM_NODISCARD im_code query_read_box(query_reader *reader, const char *end, im_box *out,
                                    im_error *err);
/** What is wrong with a box whatever the picture; NULL when nothing is. */
const char *query_box_fault(const im_box *box);
/** "http://…" and the like, in any case. */
bool query_is_url(const char *text, size_t size);
/** query_too_long, or no memory: why an im_str that began at `place` failed. */
IM_NODISCARD im_code query_str_failed(query_reader *reader, const im_str *str, const char *place,
                                      im_error *err);

/** Filters that are to be joined. All zero is empty. */
typedef struct query_filters {
    im_filter **items;
    size_t n, capacity;
} query_filters;

/** Takes the filter, also on failure. */
IM_NODISCARD im_code query_filters_add(query_filters *filters, im_filter *filter, im_error *err);
/** One is itself, more are joined; the list is empty afterwards, also on failure. */
IM_NODISCARD im_code query_filters_join(query_filters *filters, im_filter_kind kind,
                                        im_filter **out, im_error *err);
void query_filters_clear(query_filters *filters);
/** Takes the filter, also on failure. */
IM_NODISCARD im_code query_filter_not(im_filter *filter, im_filter **out, im_error *err);

/** A comparison, when one begins here: *out is NULL when it is a word. Fails when the word wants to
 * be one: an unknown field, no value. */
IM_NODISCARD im_code query_read_comparison(query_reader *reader, im_filter **out, im_error *err);
/** At "(": up to and with its ")". */
IM_NODISCARD im_code query_read_group(query_reader *reader, im_filter **out, im_error *err);
/** Up to a ")" or the end. */
IM_NODISCARD im_code query_read_expression(query_reader *reader, im_filter **out, im_error *err);

/** Frees what the part owns: text, bytes, path, upload. */
void query_part_clear(im_query_part *part);

#endif
