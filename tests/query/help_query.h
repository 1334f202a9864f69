/* tests/query/help_query.h — whether two queries are the same but for columns; where an error
 * points. For tests and fuzzing, so nothing of cmocka. */
#ifndef IM_TESTS_QUERY_SAME_QUERY_H
#define IM_TESTS_QUERY_SAME_QUERY_H

#include "base/base.h"
#include "query/query.h"
#include <stdlib.h>
#include <string.h>

static const im_own_field language_fields[] = {{"price", IM_FIELD_NUMBER},
                                               {"rating", IM_FIELD_NUMBER},
                                               {"category", IM_FIELD_TEXT},
                                               {"Shot_1", IM_FIELD_BOOL}};
#define N_LANGUAGE_FIELDS (sizeof(language_fields) / sizeof(*language_fields))

static inline im_code parse(const char *text, im_query *out, im_error *err)
{
    return im_query_parse(im_view_from(text), language_fields, N_LANGUAGE_FIELDS, out, err);
}

static inline bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static inline bool same_filter(const im_filter *a, const im_filter *b)
{
    if (a == NULL || b == NULL) {
        return a == b;
    }
    bool same = a->kind == b->kind && a->n_children == b->n_children && a->op == b->op &&
                same_text(a->field, b->field) && same_text(a->value, b->value);
    for (size_t i = 0; same && i < a->n_children; i++) {
        same = same_filter(a->children[i], b->children[i]);
    }
    return same;
}

static inline bool same_box(const im_box *a, const im_box *b)
{
    return a->x == b->x && a->y == b->y && a->w == b->w && a->h == b->h &&
           memcmp(a->percent, b->percent, sizeof(a->percent)) == 0;
}

static inline bool same_part(const im_query_part *a, const im_query_part *b)
{
    return a->kind == b->kind && im_view_equal(a->text, b->text) && same_text(a->path, b->path) &&
           a->item == b->item && a->weight == b->weight && a->has_box == b->has_box &&
           same_box(&a->box, &b->box) && a->must == b->must &&
           a->standard_input == b->standard_input;
}

static inline bool same_query(const im_query *a, const im_query *b)
{
    bool same = a->n_parts == b->n_parts && same_filter(a->filter, b->filter);
    for (size_t i = 0; same && i < a->n_parts; i++) {
        same = same_part(&a->parts[i], &b->parts[i]);
    }
    return same;
}

/** Levels of a tree; no node may be malformed. */
static inline size_t filter_depth(const im_filter *filter)
{
    size_t deepest = 0;
    bool sound = filter->kind == IM_FILTER_TEST
                     ? filter->n_children == 0 && filter->field != NULL && filter->value != NULL &&
                           filter->column > 0
                     : filter->n_children >= (filter->kind == IM_FILTER_NOT ? 1u : 2u) &&
                           (filter->kind != IM_FILTER_NOT || filter->n_children == 1);
    if (!sound) {
        abort();
    }
    for (size_t i = 0; i < filter->n_children; i++) {
        size_t below = filter_depth(filter->children[i]); /* once: IM_MAX would ask twice */
        deepest = IM_MAX(deepest, below);
    }
    return deepest + 1;
}

/** The number behind the last "column "; 0 when there is none. */
static inline size_t column_in(const im_error *err)
{
    const char *last = NULL;
    for (const char *at = strstr(err->message, "column "); at != NULL;
         at = strstr(at + 1, "column ")) {
        last = at;
    }
    return last != NULL ? (size_t)strtoul(last + 7, NULL, 10) : 0;
}

static inline size_t characters_in(im_view text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.size; i++) {
        n += ((unsigned char)text.data[i] & 0xc0u) != 0x80u;
    }
    return n;
}

/** What must hold of any bytes: they parse, are written and read again as the same; or the sentence
 * points into them. NULL when it does, else what does not. */
static inline const char *broken_promise(im_view text)
{
    im_query query = {0}, again = {0};
    im_error err = IM_ERROR_INIT;
    im_str written;
    const char *broken = NULL;
    if (im_query_parse(text, language_fields, N_LANGUAGE_FIELDS, &query, &err) != IM_OK) {
        bool no_place = strcmp(err.reason, "query_empty") == 0 ||
                        strcmp(err.reason, "query_encoding") == 0 ||
                        strcmp(err.reason, "query_too_long") == 0;
        size_t column = column_in(&err);
        bool inside = column >= 1 && column <= characters_in(text) + 1;
        return inside || (column == 0 && no_place) ? NULL : "the error points nowhere";
    }
    im_str_init(&written, 8u << 20);
    im_query_write(&query, &written);
    if (query.filter != NULL && filter_depth(query.filter) > 190) {
        broken = "the filter is too deep to be compiled";
    } else if (query.n_parts > 0 &&
               im_query_check(query.parts, query.n_parts, IM_COMBINE_SUM, &err) != IM_OK) {
        broken = "the parts are not sound";
    } else if (written.failed || (written.size <= IM_LIMIT_QUERY_LANGUAGE_BYTES &&
                                  (parse(im_str_text(&written), &again, &err) != IM_OK ||
                                   !same_query(&query, &again)))) {
        broken = "it is not the same when written and read again";
    }
    im_str_clear(&written);
    im_query_clear(&query);
    im_query_clear(&again);
    return broken;
}

#endif
