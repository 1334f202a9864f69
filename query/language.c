/* query/language.c — the query language: elements between blanks become parts and filters, in one
 * pass. docs/manual.md has the grammar; language_filter.c the filters, language_text.c the small
 * words. */
#include "base/base.h"
#include "query/language_internal.h"
#include <string.h>

/* What a weight that stands alone belongs to. */
typedef enum element_kind { AFTER_NOTHING, AFTER_PART, AFTER_WEIGHTED } element_kind;

#define NO_PART SIZE_MAX

typedef struct language {
    query_reader in;
    im_query_part *parts; /* [IM_LIMIT_QUERY_PARTS] */
    size_t n_parts;
    query_filters filters;
    im_str words;       /* of the part that bare words go to … */
    size_t open;        /* … and which that is; NO_PART: the next word begins one */
    const char *opened; /* where its first word stands */
    element_kind before;
    size_t last; /* part, when before is not AFTER_NOTHING */
} language;

void query_part_clear(im_query_part *part)
{
    im_free((void *)(uintptr_t)part->text.data);
    im_free((void *)(uintptr_t)part->bytes.data);
    im_free((void *)(uintptr_t)part->path);
    im_free((void *)(uintptr_t)part->upload);
    *part = (im_query_part){0};
}

/* The text of a builder, which is empty then. */
static im_view take(im_str *str)
{
    im_view text = im_view_of(str->data, str->size);
    str->data = NULL;
    im_str_clear(str);
    return text;
}

static im_code add_part(language *l, im_part_kind kind, char sign, const char *place,
                        im_query_part **out, im_error *err)
{
    if (l->n_parts == IM_LIMIT_QUERY_PARTS) {
        return im_fail_as(err, IM_REASON_LIMIT, "more than %u parts, the limit (column %zu)",
                          IM_LIMIT_QUERY_PARTS, query_column(&l->in, place - (sign != 0)));
    }
    l->before = AFTER_PART;
    l->last = l->n_parts;
    *out = &l->parts[l->n_parts++];
    (*out)->kind = kind;
    (*out)->must = sign == '+';
    (*out)->weight = sign == '-' ? IM_WEIGHT_NEGATIVE : IM_WEIGHT_POSITIVE;
    return IM_OK;
}

/* ---- weights ---- */

static void close_words(language *l)
{
    if (l->open != NO_PART) {
        l->parts[l->open].text = take(&l->words);
        l->open = NO_PART;
    }
}

static im_code read_weight(language *l, im_error *err)
{
    double weight = 0;
    if (l->before != AFTER_PART) {
        im_code rc =
            im_fail_as(err, IM_REASON_QUERY_WEIGHT, "%s at column %zu",
                       l->before == AFTER_WEIGHTED ? "a second weight" : "weight without a part",
                       query_column(&l->in, l->in.at));
        im_hint(err, "a weight stands behind what it weighs: \"red car\"^0.5");
        return rc;
    }
    im_code rc = query_read_weight(&l->in, &weight, err);
    if (rc != IM_OK) {
        return rc;
    }
    im_query_part *part = &l->parts[l->last];
    part->weight = part->weight < 0 ? -weight : weight;
    if (l->last == l->open) {
        close_words(l);
    }
    l->before = AFTER_WEIGHTED;
    return IM_OK;
}

/* Behind a closing quote or bracket: a weight, or a gap. */
static im_code read_glued_weight(language *l, im_error *err)
{
    return l->in.at < l->in.end && *l->in.at == '^' ? read_weight(l, err)
                                                    : query_need_gap(&l->in, err);
}

/* ---- texts ---- */

static im_code read_phrase(language *l, char sign, im_error *err)
{
    im_query_part *part = NULL;
    im_str text;
    const char *begin = l->in.at;
    im_str_init(&text, IM_LIMIT_QUERY_BYTES);
    im_code rc = query_read_phrase(&l->in, &text, err);
    if (rc == IM_OK && query_only_blanks(im_view_of(text.data, text.size))) {
        rc = im_fail_as(err, IM_REASON_QUERY_EMPTY,
                        "nothing to search for between the quotes at column %zu",
                        query_column(&l->in, begin));
    }
    if (rc == IM_OK) {
        rc = add_part(l, IM_PART_TEXT, sign, begin, &part, err);
    }
    if (rc == IM_OK) {
        part->text = take(&text);
        rc = read_glued_weight(l, err);
    }
    im_str_clear(&text);
    return rc;
}

/* Adds a run of non-blanks, in which a backslash makes the next character plain.
 * @param begin where the part begins, for the sentence */
static im_code read_word(language *l, im_str *out, const char *begin, im_error *err)
{
    while (!query_at_gap(&l->in) && !out->failed) {
        if (*l->in.at == '\\' && l->in.end - l->in.at > 1) {
            l->in.at++;
        }
        uint32_t code = 0;
        size_t size = im_utf8_decode(l->in.at, (size_t)(l->in.end - l->in.at), &code);
        im_str_add(out, l->in.at, size);
        l->in.at += size;
    }
    return out->failed ? query_str_failed(&l->in, out, begin, err) : IM_OK;
}

/* "-word" is a part of its own. */
static im_code read_minus_word(language *l, im_error *err)
{
    im_query_part *part = NULL;
    im_str text;
    const char *begin = l->in.at;
    im_str_init(&text, IM_LIMIT_QUERY_BYTES);
    im_code rc = read_word(l, &text, begin, err);
    if (rc == IM_OK) {
        rc = add_part(l, IM_PART_TEXT, '-', begin, &part, err);
    }
    if (rc == IM_OK) {
        part->text = take(&text);
    }
    im_str_clear(&text);
    return rc;
}

static im_code read_bare_word(language *l, im_error *err)
{
    im_query_part *part = NULL;
    im_code rc = IM_OK;
    if (l->open == NO_PART) {
        rc = add_part(l, IM_PART_TEXT, 0, l->in.at, &part, err);
        l->open = rc == IM_OK ? l->last : NO_PART;
        l->opened = l->in.at;
    } else {
        im_str_add_char(&l->words, ' ');
    }
    l->before = AFTER_PART;
    l->last = l->open;
    return rc == IM_OK ? read_word(l, &l->words, l->opened, err) : rc;
}

/* ---- pictures ---- */

static im_code set_path(language *l, im_query_part *part, const char *begin, const char *end,
                        im_error *err)
{
    im_str path;
    im_str_init(&path, IM_LIMIT_PATH_BYTES);
    if ((size_t)(end - begin) > IM_LIMIT_PATH_BYTES) {
        return im_fail_as(err, IM_REASON_PATH_TOO_LONG,
                          "path at column %zu is longer than %u bytes, the limit",
                          query_column(&l->in, begin), IM_LIMIT_PATH_BYTES);
    }
    im_str_add(&path, begin, (size_t)(end - begin));
    if (path.failed) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a query");
    }
    part->path = take(&path).data;
    return IM_OK;
}

/* "#17" */
static im_code set_item(language *l, im_query_part *part, const char *begin, const char *end,
                        im_error *err)
{
    char digits[24] = {0};
    size_t size = (size_t)(end - begin) - 1;
    memcpy(digits, begin + 1, IM_MIN(size, sizeof(digits) - 1));
    if (size < sizeof(digits) && im_parse_u64(digits, 1, INT64_MAX, &part->item)) {
        return IM_OK;
    }
    im_code rc = im_fail_as(err, IM_REASON_QUERY_SYNTAX, "number of an item expected at column %zu",
                            query_column(&l->in, begin + 1));
    im_hint(err, "@#17 is item 17, @#17 ^2 counts it twice, @\"#name\" is a file");
    return rc;
}

static im_code url_refused(language *l, const char *place, im_error *err)
{
    im_code rc = im_fail_as(err, IM_REASON_QUERY_SYNTAX, "URLs are not fetched (column %zu)",
                            query_column(&l->in, place));
    im_hint(err, "save the picture and write @FILE");
    return rc;
}

static im_code set_source(language *l, im_query_part *part, const char *begin, const char *end,
                          im_error *err)
{
    if (end == begin) {
        im_code rc =
            im_fail_as(err, IM_REASON_QUERY_SYNTAX, "picture expected behind \"@\" at column %zu",
                       query_column(&l->in, begin));
        im_hint(err, "@FILE, @#17 for item 17, @- for standard input; \\@ is a plain @");
        return rc;
    }
    if (query_is_url(begin, (size_t)(end - begin))) {
        return url_refused(l, begin, err);
    }
    part->standard_input = end - begin == 1 && *begin == '-';
    if (part->standard_input) {
        return IM_OK;
    }
    return *begin == '#' ? set_item(l, part, begin, end, err) : set_path(l, part, begin, end, err);
}

static im_code set_box(language *l, im_query_part *part, const char *end, im_error *err)
{
    im_code rc = query_read_box(&l->in, end, &part->box, err);
    part->has_box = rc == IM_OK;
    return rc == IM_OK ? read_glued_weight(l, err) : rc;
}

/* @source up to a blank or a quote; its last "[…]" is a box when it has just that form. */
static im_code read_plain_picture(language *l, im_query_part *part, im_error *err)
{
    const char *begin = l->in.at;
    const char *bracket = NULL;
    while (!query_at_gap(&l->in) && *l->in.at != '"') {
        bracket = *l->in.at == '[' ? l->in.at : bracket;
        l->in.at++;
    }
    const char *end = l->in.at;
    const char *box_end = bracket != NULL ? query_box_end(bracket, end) : NULL;
    if (box_end != NULL && box_end < end && *box_end != '^') {
        box_end = NULL;
    }
    im_code rc = set_source(l, part, begin, box_end != NULL ? bracket : end, err);
    if (rc != IM_OK) {
        return rc;
    }
    if (box_end == NULL) {
        return query_need_gap(&l->in, err);
    }
    l->in.at = bracket;
    return set_box(l, part, box_end, err);
}

/* @"path", whatever the path looks like. */
static im_code read_quoted_picture(language *l, im_query_part *part, im_error *err)
{
    im_str path;
    const char *begin = l->in.at;
    im_str_init(&path, IM_LIMIT_PATH_BYTES);
    im_code rc = query_read_phrase(&l->in, &path, err);
    if (rc == IM_OK && path.size == 0) {
        rc = im_fail_as(err, IM_REASON_QUERY_SYNTAX,
                        "path expected between the quotes at column %zu",
                        query_column(&l->in, begin));
    }
    if (rc == IM_OK && query_is_url(path.data, path.size)) {
        rc = url_refused(l, begin, err);
    }
    if (rc != IM_OK) {
        im_str_clear(&path);
        return rc;
    }
    part->path = take(&path).data;
    if (l->in.at == l->in.end || *l->in.at != '[') {
        return read_glued_weight(l, err);
    }
    const char *end = query_box_end(l->in.at, l->in.end);
    if (end == NULL) {
        return im_fail_as(err, IM_REASON_QUERY_BOX, "box [x,y,w,h] expected at column %zu",
                          query_column(&l->in, l->in.at));
    }
    return set_box(l, part, end, err);
}

static im_code read_picture(language *l, char sign, im_error *err)
{
    im_query_part *part = NULL;
    im_code rc = add_part(l, IM_PART_PICTURE, sign, l->in.at, &part, err);
    if (rc != IM_OK) {
        return rc;
    }
    l->in.at++;
    return l->in.at < l->in.end && *l->in.at == '"' ? read_quoted_picture(l, part, err)
                                                    : read_plain_picture(l, part, err);
}

/* ---- elements ---- */

/* Takes the filter. */
static im_code add_filter(language *l, im_filter *filter, char sign, im_error *err)
{
    l->before = AFTER_NOTHING;
    if (sign == '-') {
        im_code rc = query_filter_not(filter, &filter, err);
        if (rc != IM_OK) {
            return rc;
        }
    }
    im_code rc = query_filters_add(&l->filters, filter, err);
    return rc == IM_OK ? query_need_gap(&l->in, err) : rc;
}

static im_code read_group(language *l, char sign, im_error *err)
{
    im_filter *filter = NULL;
    im_code rc = query_read_group(&l->in, &filter, err);
    return rc == IM_OK ? add_filter(l, filter, sign, err) : rc;
}

/* A comparison, or a word. */
static im_code read_other(language *l, char sign, im_error *err)
{
    im_filter *filter = NULL;
    im_code rc = query_read_comparison(&l->in, &filter, err);
    if (rc != IM_OK) {
        return rc;
    }
    if (filter != NULL) {
        return add_filter(l, filter, sign, err);
    }
    return sign == '-' ? read_minus_word(l, err) : read_bare_word(l, err);
}

/* A sign is one before what it can belong to; "-" alone, "--x" and "-.5" are words. */
static char read_sign(language *l)
{
    char sign = *l->in.at;
    const char *next = l->in.at + 1;
    if ((sign != '-' && sign != '+') || next == l->in.end || query_blank_at(&l->in, next) > 0) {
        return 0;
    }
    bool letter = im_ascii_is_alnum(*next) || ((unsigned char)*next & 0x80u) != 0;
    if (!letter && strchr("\"@(^", *next) == NULL) {
        return 0;
    }
    l->in.at++;
    return sign;
}

static im_code sign_misplaced(language *l, char sign, im_error *err)
{
    size_t column = query_column(&l->in, l->in.at - 1);
    if (sign == '-') {
        return im_fail_as(err, IM_REASON_QUERY_WEIGHT, "a weight takes no sign (column %zu)",
                          column);
    }
    im_code rc = im_fail_as(err, IM_REASON_QUERY_SYNTAX,
                            "quoted text expected behind \"+\" at column %zu", column + 1);
    im_hint(err, "+\"exit 4\" must be found as it stands; \\+ is a plain +");
    return rc;
}

static im_code read_element(language *l, im_error *err)
{
    char sign = read_sign(l);
    char first = *l->in.at;
    if ((sign == '+' && first != '"') || (sign == '-' && first == '^')) {
        return sign_misplaced(l, sign, err);
    }
    switch (first) {
    case '"':
        return read_phrase(l, sign, err);
    case '@':
        return read_picture(l, sign, err);
    case '(':
        return read_group(l, sign, err);
    case '^':
        return read_weight(l, err);
    default:
        return read_other(l, sign, err);
    }
}

/* ---- the whole ---- */

static void language_clear(language *l)
{
    for (size_t i = 0; l->parts != NULL && i < l->n_parts; i++) {
        query_part_clear(&l->parts[i]);
    }
    im_free(l->parts);
    im_str_clear(&l->words);
    query_filters_clear(&l->filters);
}

static im_code nothing_to_search_for(im_error *err)
{
    im_code rc = im_fail_as(err, IM_REASON_QUERY_EMPTY, "nothing to search for");
    im_hint(err, "give some words, a picture (@FILE) or a filter (taken:2019)");
    return rc;
}

/* Hands the parts and filters over. */
static im_code finish(language *l, im_query *out, im_error *err)
{
    im_query query = {0};
    close_words(l);
    for (size_t i = 0; i < l->n_parts; i++) {
        if (l->parts[i].kind == IM_PART_TEXT && query_only_blanks(l->parts[i].text)) {
            return nothing_to_search_for(err); /* blanks behind backslashes */
        }
    }
    if (l->filters.n > 0) {
        im_code rc = query_filters_join(&l->filters, IM_FILTER_AND, &query.filter, err);
        if (rc != IM_OK) {
            return rc;
        }
    }
    query.parts = l->parts;
    query.n_parts = l->n_parts;
    l->parts = NULL;
    *out = query;
    return IM_OK;
}

im_code im_query_parse(im_view text, const im_own_field *fields, size_t n_fields, im_query *out,
                       im_error *err)
{
    language l = {.open = NO_PART};
    im_str_init(&l.words, IM_LIMIT_QUERY_BYTES);
    im_code rc = query_reader_init(&l.in, text, "query", fields, n_fields, err);
    if (rc != IM_OK) {
        return rc;
    }
    query_skip_blanks(&l.in);
    if (l.in.at == l.in.end) {
        return nothing_to_search_for(err);
    }
    l.parts = im_alloc_zero(IM_LIMIT_QUERY_PARTS, sizeof(*l.parts));
    if (l.parts == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a query");
    }
    while (rc == IM_OK && l.in.at < l.in.end) {
        rc = read_element(&l, err);
        query_skip_blanks(&l.in);
    }
    if (rc == IM_OK) {
        rc = finish(&l, out, err);
    }
    language_clear(&l);
    return rc;
}

void im_query_clear(im_query *query)
{
    for (size_t i = 0; i < query->n_parts; i++) {
        query_part_clear(&query->parts[i]);
    }
    im_free(query->parts);
    im_filter_free(query->filter);
    *query = (im_query){0};
}
