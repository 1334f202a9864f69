/* query/language_filter.c — the filters of the language: comparisons, and "and or not" between
 * parentheses. Recursive descent; IM_LIMIT_QUERY_DEPTH bounds it, so that a tree is never deeper
 * than what im_filter_compile takes. */
#include "base/base.h"
#include "query/filter_internal.h"
#include "query/language_internal.h"
#include <string.h>

static im_code no_memory(im_error *err)
{
    return im_fail(err, IM_ERR_NOMEM, "no memory for a filter");
}

/* ---- trees ---- */

void im_filter_free(im_filter *filter)
{
    if (filter == NULL) {
        return;
    }
    for (size_t i = 0; i < filter->n_children; i++) {
        im_filter_free(filter->children[i]);
    }
    im_free(filter->children);
    im_free(filter->field);
    im_free(filter->value);
    im_free(filter);
}

im_code query_filters_add(query_filters *filters, im_filter *filter, im_error *err)
{
    if (filters->n == filters->capacity) {
        size_t capacity = filters->capacity > 0 ? 2 * filters->capacity : 4;
        im_filter **items = im_realloc(filters->items, capacity, sizeof(im_filter *));
        if (items == NULL) {
            im_filter_free(filter);
            return no_memory(err);
        }
        filters->items = items;
        filters->capacity = capacity;
    }
    filters->items[filters->n++] = filter;
    return IM_OK;
}

void query_filters_clear(query_filters *filters)
{
    for (size_t i = 0; i < filters->n; i++) {
        im_filter_free(filters->items[i]);
    }
    im_free(filters->items);
    *filters = (query_filters){0};
}

im_code query_filters_join(query_filters *filters, im_filter_kind kind, im_filter **out,
                           im_error *err)
{
    if (filters->n == 1) {
        *out = filters->items[0];
        filters->n = 0;
        query_filters_clear(filters);
        return IM_OK;
    }
    im_filter *filter = im_alloc_zero(1, sizeof(*filter));
    if (filter == NULL) {
        query_filters_clear(filters);
        return no_memory(err);
    }
    filter->kind = kind;
    filter->children = filters->items;
    filter->n_children = filters->n;
    *filters = (query_filters){0};
    *out = filter;
    return IM_OK;
}

im_code query_filter_not(im_filter *filter, im_filter **out, im_error *err)
{
    im_filter *not_it = im_alloc_zero(1, sizeof(*not_it));
    im_filter **children = im_alloc_zero(1, sizeof(im_filter *));
    if (not_it == NULL || children == NULL) {
        im_free(not_it);
        im_free(children);
        im_filter_free(filter);
        return no_memory(err);
    }
    children[0] = filter;
    not_it->kind = IM_FILTER_NOT;
    not_it->children = children;
    not_it->n_children = 1;
    *out = not_it;
    return IM_OK;
}

im_code im_filter_and(im_filter *first, im_filter *second, im_filter **out_filter, im_error *err)
{
    query_filters both = {0};
    im_code rc = IM_OK;
    if (first == NULL || second == NULL) {
        *out_filter = first != NULL ? first : second;
        return IM_OK;
    }
    rc = query_filters_add(&both, first, err);
    if (rc != IM_OK) {
        im_filter_free(second);
        return rc;
    }
    rc = query_filters_add(&both, second, err);
    if (rc != IM_OK) {
        query_filters_clear(&both);
        return rc;
    }
    return query_filters_join(&both, IM_FILTER_AND, out_filter, err);
}

/* ---- comparisons ---- */

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

/* What looks like "name:", "name<=", … at the reader's place; name.size 0 when nothing does. */
typedef struct head {
    im_view name;
    im_filter_op op;
    const char *value;
} head;

static head read_head(const query_reader *reader)
{
    static const struct {
        const char *sign;
        im_filter_op op;
    } ops[] = {{":", IM_FILTER_IS},   {"<=", IM_FILTER_AT_MOST}, {">=", IM_FILTER_AT_LEAST},
               {"<", IM_FILTER_LESS}, {">", IM_FILTER_MORE},     {"=", IM_FILTER_EQUAL}};
    head found = {0};
    const char *at = reader->at;
    while (at < reader->end && (im_ascii_is_letter(*at) ||
                                (at > reader->at && (*at == '_' || im_ascii_is_alnum(*at))))) {
        at++;
    }
    size_t size = (size_t)(at - reader->at);
    for (size_t i = 0; size > 0 && i < IM_COUNT(ops); i++) {
        size_t n = strlen(ops[i].sign);
        if ((size_t)(reader->end - at) >= n && memcmp(at, ops[i].sign, n) == 0) {
            found = (head){im_view_of(reader->at, size), ops[i].op, at + n};
            break;
        }
    }
    /* followed by a blank it is text: "Wars: A New Hope" */
    if (found.name.size > 0 &&
        (found.value == reader->end || query_blank_at(reader, found.value) > 0)) {
        found.name.size = 0;
    }
    return found;
}

/* The field, NULL when the word is text; fails when the word can be neither. */
static im_code find_field(query_reader *reader, const head *found, const char **out_field,
                          im_error *err)
{
    bool all_lower = true;
    *out_field = filter_field_name(reader->fields, reader->n_fields, found->name);
    if (*out_field != NULL || found->op != IM_FILTER_IS) {
        return IM_OK;
    }
    size_t column = query_column(reader, found->name.data);
    if (query_is_url(found->name.data, found->name.size + 1)) {
        im_code rc =
            im_fail_as(err, IM_REASON_QUERY_SYNTAX, "URLs are not fetched (column %zu)", column);
        im_hint(err, "save the picture and write @FILE; quote it to search for the words");
        return rc;
    }
    for (size_t i = 0; i < found->name.size; i++) {
        all_lower = all_lower && is_lower(found->name.data[i]);
    }
    return all_lower
               ? filter_unknown_field(reader->fields, reader->n_fields, found->name, column, err)
               : IM_OK;
}

static im_code read_value(query_reader *reader, im_str *out, im_error *err)
{
    const char *begin = reader->at;
    if (*begin == '"') {
        return query_read_phrase(reader, out, err);
    }
    while (!query_at_gap(reader) && *reader->at != ')' && *reader->at != '"' && !out->failed) {
        im_str_add_char(out, *reader->at++);
    }
    if (out->failed) {
        return query_str_failed(reader, out, begin, err);
    }
    if (out->size == 0) {
        im_code rc = im_fail_as(err, IM_REASON_QUERY_SYNTAX, "value expected at column %zu",
                                query_column(reader, begin));
        im_hint(err, "quote it to search for the words");
        return rc;
    }
    return IM_OK;
}

static im_code new_test(const char *field, const im_str *value, im_filter_op op, size_t column,
                        im_filter **out, im_error *err)
{
    im_filter *test = im_alloc_zero(1, sizeof(*test));
    if (test == NULL) {
        return no_memory(err);
    }
    test->kind = IM_FILTER_TEST;
    test->op = op;
    test->column = column;
    test->field = im_strdup(field);
    test->value = im_strdup(im_str_text(value));
    if (test->field == NULL || test->value == NULL) {
        im_filter_free(test);
        return no_memory(err);
    }
    *out = test;
    return IM_OK;
}

im_code query_read_comparison(query_reader *reader, im_filter **out, im_error *err)
{
    head found = read_head(reader);
    const char *field = NULL;
    im_str value;
    *out = NULL;
    if (found.name.size == 0) {
        return IM_OK;
    }
    im_code rc = find_field(reader, &found, &field, err);
    if (rc != IM_OK || field == NULL) {
        return rc;
    }
    size_t column = query_column(reader, found.name.data);
    if (++reader->n_tests > IM_LIMIT_QUERY_TESTS) {
        return im_fail_as(err, IM_REASON_QUERY_SYNTAX,
                          "more than %u comparisons, the limit (column %zu)", IM_LIMIT_QUERY_TESTS,
                          column);
    }
    im_str_init(&value, IM_LIMIT_QUERY_BYTES);
    reader->at = found.value;
    rc = read_value(reader, &value, err);
    if (rc == IM_OK) {
        rc = new_test(field, &value, found.op, column, out, err);
    }
    im_str_clear(&value);
    return rc;
}

/* ---- and, or, not ---- */

/* The word is there, in any case, and ends there. */
static bool at_word(const query_reader *reader, const char *word)
{
    query_reader after = *reader;
    size_t n = strlen(word);
    if ((size_t)(reader->end - reader->at) < n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if ((reader->at[i] | 0x20) != word[i]) {
            return false;
        }
    }
    after.at += n;
    return query_at_gap(&after) || *after.at == '(' || *after.at == ')';
}

static bool pass_word(query_reader *reader, const char *word)
{
    bool there = at_word(reader, word);
    if (there) {
        reader->at += strlen(word);
        query_skip_blanks(reader);
    }
    return there;
}

static im_code filter_expected(query_reader *reader, const char *place, im_error *err)
{
    im_code rc = im_fail_as(err, IM_REASON_QUERY_SYNTAX,
                            "filter expected at column %zu; quote the text to search for it",
                            query_column(reader, place));
    im_hint(err, "parentheses hold filters: (taken:2019 or tag:beach)");
    return rc;
}

/* ["not" | "-"] ( comparison | "(" … ")" ) */
static im_code read_negation(query_reader *reader, im_filter **out, im_error *err)
{
    bool negative = pass_word(reader, "not");
    im_filter *filter = NULL;
    im_code rc = IM_OK;
    const char *begin = reader->at;
    if (!negative && reader->at < reader->end && *reader->at == '-') {
        negative = true;
        reader->at++;
    }
    if (reader->at < reader->end && *reader->at == '(') {
        rc = query_read_group(reader, &filter, err);
    } else {
        rc = query_read_comparison(reader, &filter, err);
        if (rc == IM_OK && filter == NULL) {
            rc = filter_expected(reader, begin, err);
        }
        if (rc == IM_OK && !query_at_gap(reader) && *reader->at != ')') {
            im_filter_free(filter);
            return query_need_gap(reader, err);
        }
    }
    if (rc != IM_OK) {
        return rc;
    }
    if (negative) {
        return query_filter_not(filter, out, err);
    }
    *out = filter;
    return IM_OK;
}

/* neg { ["and"] neg }: up to "or", ")" or the end */
static im_code read_conjunction(query_reader *reader, im_filter **out, im_error *err)
{
    query_filters filters = {0};
    im_code rc = IM_OK;
    bool more = true;
    while (rc == IM_OK && more) {
        im_filter *filter = NULL;
        rc = read_negation(reader, &filter, err);
        if (rc == IM_OK) {
            rc = query_filters_add(&filters, filter, err);
        }
        query_skip_blanks(reader);
        more = reader->at < reader->end && *reader->at != ')' && !at_word(reader, "or");
        if (more) {
            (void)pass_word(reader, "and");
        }
    }
    if (rc == IM_OK) {
        rc = query_filters_join(&filters, IM_FILTER_AND, out, err);
    }
    query_filters_clear(&filters);
    return rc;
}

im_code query_read_expression(query_reader *reader, im_filter **out, im_error *err)
{
    query_filters filters = {0};
    im_code rc = IM_OK;
    bool more = true;
    query_skip_blanks(reader);
    while (rc == IM_OK && more) {
        im_filter *filter = NULL;
        rc = read_conjunction(reader, &filter, err);
        if (rc == IM_OK) {
            rc = query_filters_add(&filters, filter, err);
        }
        more = rc == IM_OK && pass_word(reader, "or");
    }
    if (rc == IM_OK) {
        rc = query_filters_join(&filters, IM_FILTER_OR, out, err);
    }
    query_filters_clear(&filters);
    return rc;
}

im_code query_read_group(query_reader *reader, im_filter **out, im_error *err)
{
    im_filter *filter = NULL;
    if (++reader->depth > IM_LIMIT_QUERY_DEPTH) {
        return im_fail_as(err, IM_REASON_QUERY_SYNTAX,
                          "parentheses nested deeper than %u, the limit (column %zu)",
                          IM_LIMIT_QUERY_DEPTH, query_column(reader, reader->at));
    }
    reader->at++;
    im_code rc = query_read_expression(reader, &filter, err);
    if (rc == IM_OK && reader->at == reader->end) {
        rc = im_fail_as(err, IM_REASON_QUERY_SYNTAX, "\")\" expected at column %zu",
                        query_column(reader, reader->at));
    }
    if (rc != IM_OK) {
        im_filter_free(filter);
        return rc;
    }
    reader->at++;
    reader->depth--;
    *out = filter;
    return IM_OK;
}

im_code im_filter_parse(im_view text, const im_own_field *fields, size_t n_fields,
                        im_filter **out_filter, im_error *err)
{
    query_reader reader;
    im_filter *filter = NULL;
    im_code rc = query_reader_init(&reader, text, "filter", fields, n_fields, err);
    if (rc != IM_OK) {
        return rc;
    }
    query_skip_blanks(&reader);
    if (reader.at == reader.end) {
        return im_fail_as(err, IM_REASON_QUERY_EMPTY, "the filter is empty");
    }
    rc = query_read_expression(&reader, &filter, err);
    if (rc == IM_OK && reader.at < reader.end) { /* it ends at ")" or at the end */
        rc = query_need_gap(&reader, err);
    }
    if (rc != IM_OK) {
        im_filter_free(filter);
        return rc;
    }
    *out_filter = filter;
    return IM_OK;
}
