/* query/filter.c — makes a filter a condition over columns: fields found in a table, values typed
 * and checked, so that nothing below it meets a value it cannot compare. What is no column (paths,
 * tags, keys, full text) the caller answers with a bitmap of slots. */
#include "base/base.h"
#include "query/filter_internal.h"
#include <math.h>
#include <string.h>

#define MOST_LEVELS 200u /* of nested conditions; the columns take 256 */
#define MOST_WORDS 64u   /* that a value is compared with */

typedef struct field_row {
    const char *name;
    const char *column; /* NULL: several, or none */
    im_code (*compile)(const im_filter_options *options, const im_filter *test, const char *column,
                       im_condition *out, im_error *err);
} field_row;

/* A word that a value may be, and what it stands for. */
typedef struct word_row {
    const char *word, *meaning;
} word_row;

static im_code no_memory(im_error *err)
{
    return im_fail(err, IM_ERR_NOMEM, "no memory for a filter");
}

static im_code set_text(char **out, const char *text, im_error *err)
{
    *out = im_strdup(text);
    return *out != NULL ? IM_OK : no_memory(err);
}

static im_code only_colon_or_equal(const im_filter *test, im_error *err)
{
    if (test->op != IM_FILTER_IS && test->op != IM_FILTER_EQUAL) {
        return filter_wrong(test, "':' or '=' behind the field, which has no order", NULL, err);
    }
    return test->value[0] != '\0' ? IM_OK : filter_wrong(test, "a value", NULL, err);
}

/* ---- dates and numbers ---- */

static im_code compile_wall_clock(const im_filter_options *options, const im_filter *test,
                                  const char *column, im_condition *out, im_error *err)
{
    (void)options;
    out->kind = IM_CONDITION_INTEGERS;
    im_code rc = filter_read_time(test, false, &out->min_i, &out->max_i, err);
    return rc == IM_OK ? set_text(&out->column, column, err) : rc;
}

static im_code compile_local_time(const im_filter_options *options, const im_filter *test,
                                  const char *column, im_condition *out, im_error *err)
{
    (void)options;
    out->kind = IM_CONDITION_INTEGERS;
    im_code rc = filter_read_time(test, true, &out->min_i, &out->max_i, err);
    return rc == IM_OK ? set_text(&out->column, column, err) : rc;
}

static im_code compile_size(const im_filter_options *options, const im_filter *test,
                            const char *column, im_condition *out, im_error *err)
{
    (void)options;
    out->kind = IM_CONDITION_INTEGERS;
    im_code rc = filter_read_integers(test, &out->min_i, &out->max_i, err);
    return rc == IM_OK ? set_text(&out->column, column, err) : rc;
}

static im_code compile_number(const im_filter_options *options, const im_filter *test,
                              const char *column, im_condition *out, im_error *err)
{
    (void)options;
    filter_numbers numbers;
    im_code rc = filter_read_numbers(test, false, &numbers, err);
    if (rc != IM_OK) {
        return rc;
    }
    out->kind = IM_CONDITION_NUMBERS;
    out->min = numbers.min;
    out->max = numbers.max;
    out->open_min = numbers.open_min;
    out->open_max = numbers.open_max;
    return set_text(&out->column, column, err);
}

/* ---- texts ---- */

static im_code compile_part(const im_filter_options *options, const im_filter *test,
                            const char *column, im_condition *out, im_error *err)
{
    (void)options;
    im_code rc = only_colon_or_equal(test, err);
    out->kind = test->op == IM_FILTER_IS ? IM_CONDITION_TEXT_PART : IM_CONDITION_TEXT_EQUAL;
    if (rc == IM_OK) {
        rc = set_text(&out->text, test->value, err);
    }
    return rc == IM_OK ? set_text(&out->column, column, err) : rc;
}

/* The whole text; with ':' a '*' stands for any run of characters. */
static im_code compile_whole(const im_filter_options *options, const im_filter *test,
                             const char *column, im_condition *out, im_error *err)
{
    (void)options;
    im_code rc = only_colon_or_equal(test, err);
    bool is_glob = test->op == IM_FILTER_IS && strchr(test->value, '*') != NULL;
    out->kind = is_glob ? IM_CONDITION_TEXT_GLOB : IM_CONDITION_TEXT_EQUAL;
    if (rc == IM_OK) {
        rc = set_text(&out->text, test->value, err);
    }
    return rc == IM_OK ? set_text(&out->column, column, err) : rc;
}

static const char *meaning_of(const word_row *rows, size_t n, const char *word)
{
    for (size_t i = 0; i < n; i++) {
        if (im_ascii_same_word(rows[i].word, word)) {
            return rows[i].meaning;
        }
    }
    return NULL;
}

/* What the value could have been: the words, and which of them is nearest. */
static im_code unknown_word(const im_filter *test, const char *const *words, size_t n,
                            im_error *err)
{
    char expected[256] = "one of";
    for (size_t i = 0; i < n; i++) {
        size_t used = strlen(expected);
        snprintf(expected + used, sizeof(expected) - used, "%s%s", i == 0 ? " " : ", ", words[i]);
    }
    im_code rc = filter_wrong(test, expected, NULL, err);
    const char *nearest = filter_nearest(test->value, words, n);
    if (nearest != NULL) {
        im_hint(err, "the nearest is %s:%s", test->field, nearest);
    }
    return rc;
}

static im_code unknown_row(const im_filter *test, const word_row *rows, size_t n, im_error *err)
{
    const char *words[MOST_WORDS];
    n = IM_MIN(n, (size_t)MOST_WORDS);
    for (size_t i = 0; i < n; i++) {
        words[i] = rows[i].word;
    }
    return unknown_word(test, words, n, err);
}

static im_code compile_word(const im_filter *test, const word_row *rows, size_t n,
                            const char *column, im_condition *out, im_error *err)
{
    im_code rc = only_colon_or_equal(test, err);
    if (rc != IM_OK) {
        return rc;
    }
    const char *meaning = meaning_of(rows, n, test->value);
    if (meaning == NULL) {
        return unknown_row(test, rows, n, err);
    }
    out->kind = IM_CONDITION_TEXT_EQUAL;
    rc = set_text(&out->text, meaning, err);
    return rc == IM_OK ? set_text(&out->column, column, err) : rc;
}

static im_code compile_type(const im_filter_options *options, const im_filter *test,
                            const char *column, im_condition *out, im_error *err)
{
    static const word_row rows[] = {
        {"jpeg", "jpeg"}, {"jpg", "jpeg"},  {"png", "png"},   {"gif", "gif"},   {"webp", "webp"},
        {"heic", "heic"}, {"heif", "heic"}, {"avif", "avif"}, {"tiff", "tiff"}, {"tif", "tiff"},
        {"bmp", "bmp"},   {"jxl", "jxl"},   {"jp2", "jp2"},   {"raw", "raw"},
    };
    (void)options;
    return compile_word(test, rows, IM_COUNT(rows), column, out, err);
}

static im_code compile_source(const im_filter_options *options, const im_filter *test,
                              const char *column, im_condition *out, im_error *err)
{
    static const word_row rows[] = {{"file", "file"}, {"upload", "upload"}, {"import", "import"}};
    (void)options;
    return compile_word(test, rows, IM_COUNT(rows), column, out, err);
}

/* ---- what an item has and is ---- */

static im_code is_one(im_condition *out, const char *column, int64_t value, im_error *err)
{
    out->kind = IM_CONDITION_INTEGERS;
    out->min_i = value;
    out->max_i = value;
    return set_text(&out->column, column, err);
}

static im_code compile_is(const im_filter_options *options, const im_filter *test,
                          const char *column, im_condition *out, im_error *err)
{
    static const word_row rows[] = {{"partial", "partial"}, {"missing", "missing"}};
    (void)options;
    (void)column;
    im_code rc = only_colon_or_equal(test, err);
    if (rc != IM_OK) {
        return rc;
    }
    const char *meaning = meaning_of(rows, IM_COUNT(rows), test->value);
    return meaning != NULL ? is_one(out, meaning, 1, err)
                           : unknown_row(test, rows, IM_COUNT(rows), err);
}

static const word_row has_rows[] = {
    {"gps", "lat"},     {"caption", "captioned"}, {"tag", "tagged"},
    {"taken", "taken"}, {"camera", "camera"},     {"lens", "lens"},
};

static im_code compile_has(const im_filter_options *options, const im_filter *test,
                           const char *column, im_condition *out, im_error *err)
{
    (void)column;
    im_code rc = only_colon_or_equal(test, err);
    if (rc != IM_OK) {
        return rc;
    }
    const char *meaning = meaning_of(has_rows, IM_COUNT(has_rows), test->value);
    if (meaning != NULL && strcmp(meaning + strlen(meaning) - 2, "ed") == 0) {
        return is_one(out, meaning, 1, err);
    }
    out->kind = IM_CONDITION_PRESENT;
    if (meaning != NULL) {
        return set_text(&out->column, meaning, err);
    }
    const im_own_field *own = filter_own_field(options->fields, options->n_fields, test->value);
    if (own != NULL) {
        return filter_own_column(own, &out->column, err);
    }
    const char *words[MOST_WORDS];
    size_t n = 0;
    for (; n < IM_COUNT(has_rows); n++) {
        words[n] = has_rows[n].word;
    }
    for (size_t i = 0; i < options->n_fields && n < MOST_WORDS; i++) {
        words[n++] = options->fields[i].name;
    }
    return unknown_word(test, words, n, err);
}

static im_code compile_bool(const im_filter_options *options, const im_filter *test,
                            const char *column, im_condition *out, im_error *err)
{
    static const word_row rows[] = {{"true", "1"}, {"false", "0"}, {"yes", "1"},
                                    {"no", "0"},   {"1", "1"},     {"0", "0"}};
    (void)options;
    im_code rc = only_colon_or_equal(test, err);
    if (rc != IM_OK) {
        return rc;
    }
    const char *meaning = meaning_of(rows, IM_COUNT(rows), test->value);
    return meaning != NULL ? is_one(out, column, meaning[0] - '0', err)
                           : unknown_row(test, rows, IM_COUNT(rows), err);
}

/* ---- places ---- */

static im_code only_colon(const im_filter *test, im_error *err)
{
    return test->op == IM_FILTER_IS ? IM_OK : filter_wrong(test, "':' behind the field", NULL, err);
}

static im_code compile_near(const im_filter_options *options, const im_filter *test,
                            const char *column, im_condition *out, im_error *err)
{
    (void)options;
    (void)column;
    out->kind = IM_CONDITION_NEAR;
    im_code rc = only_colon(test, err);
    return rc == IM_OK ? filter_read_near(test, out->place, err) : rc;
}

static im_code compile_box(const im_filter_options *options, const im_filter *test,
                           const char *column, im_condition *out, im_error *err)
{
    (void)options;
    (void)column;
    out->kind = IM_CONDITION_BOX;
    im_code rc = only_colon(test, err);
    return rc == IM_OK ? filter_read_box(test, out->place, err) : rc;
}

/* ---- what the caller answers ---- */

static im_code compile_slots(const im_filter_options *options, const im_filter *test,
                             const char *column, im_condition *out, im_error *err)
{
    (void)column;
    im_code rc = only_colon_or_equal(test, err);
    if (rc != IM_OK) {
        return rc;
    }
    if (options->resolve.slots == NULL) {
        return im_fail(err, IM_ERR_UNSUPPORTED, "%s \"%s\" (column %zu) cannot be looked up here",
                       test->field, test->value, test->column);
    }
    out->kind = IM_CONDITION_SLOTS;
    out->n_slots = options->n_slots;
    out->slots = im_alloc_zero((size_t)((options->n_slots + 63) / 64), sizeof(uint64_t));
    if (out->slots == NULL) {
        return no_memory(err);
    }
    return options->resolve.slots(options->resolve.context, test->field, test->op, test->value,
                                  out->slots, err);
}

/* ---- the table ---- */

static const field_row fields[] = {
    {"taken", "taken", compile_wall_clock},
    {"added", "added", compile_local_time},
    {"camera", "camera", compile_part},
    {"lens", "lens", compile_part},
    {"near", NULL, compile_near},
    {"box", NULL, compile_box},
    {"path", NULL, compile_slots},
    {"tag", NULL, compile_slots},
    {"type", "type", compile_type},
    {"in", NULL, compile_slots},
    {"source", "source", compile_source},
    {"width", "width", compile_size},
    {"height", "height", compile_size},
    {"bytes", "bytes", compile_size},
    {"has", NULL, compile_has},
    {"is", NULL, compile_is},
    {"key", NULL, compile_slots},
    {"caption", NULL, compile_slots},
};

#define X(word, is_field) +is_field
_Static_assert(IM_COUNT(fields) == 0
#include "base/query_words.def"
               ,
               "each field of base/query_words.def has a row, and each row is there");
#undef X

static im_code compile_own(const im_filter_options *options, const im_filter *test,
                           const im_own_field *own, im_condition *out, im_error *err)
{
    char *column = NULL;
    im_code rc = filter_own_column(own, &column, err);
    if (rc != IM_OK) {
        return rc;
    }
    switch (own->type) {
    case IM_FIELD_NUMBER:
        rc = compile_number(options, test, column, out, err);
        break;
    case IM_FIELD_DATE:
        rc = compile_wall_clock(options, test, column, out, err);
        break;
    case IM_FIELD_BOOL:
        rc = compile_bool(options, test, column, out, err);
        break;
    default:
        rc = compile_whole(options, test, column, out, err);
    }
    im_free(column);
    return rc;
}

static im_code compile_test(const im_filter_options *options, const im_filter *test,
                            im_condition *out, im_error *err)
{
    for (size_t i = 0; i < IM_COUNT(fields); i++) {
        if (im_ascii_same_word(fields[i].name, test->field)) {
            return fields[i].compile(options, test, fields[i].column, out, err);
        }
    }
    const im_own_field *own = filter_own_field(options->fields, options->n_fields, test->field);
    return own != NULL ? compile_own(options, test, own, out, err)
                       : filter_unknown_field(options->fields, options->n_fields,
                                              im_view_from(test->field), test->column, err);
}

/* ---- the tree ---- */

static im_condition *new_condition(im_condition_kind kind, size_t n_children)
{
    im_condition *condition = im_alloc_zero(1, sizeof(*condition));
    if (condition == NULL) {
        return NULL;
    }
    condition->kind = kind;
    condition->n_children = n_children;
    if (n_children > 0) {
        condition->children = im_alloc_zero(n_children, sizeof(im_condition *));
        if (condition->children == NULL) {
            im_free(condition);
            return NULL;
        }
    }
    return condition;
}

/* On failure *out is to be freed all the same. */
static im_code compile_tree(const im_filter_options *options, const im_filter *filter,
                            unsigned level, im_condition **out, im_error *err)
{
    static const im_condition_kind kinds[] = {
        [IM_FILTER_TEST] = IM_CONDITION_AND,
        [IM_FILTER_AND] = IM_CONDITION_AND,
        [IM_FILTER_OR] = IM_CONDITION_OR,
        [IM_FILTER_NOT] = IM_CONDITION_NOT,
    };
    if (level >= MOST_LEVELS) {
        return im_fail_as(err, IM_REASON_LIMIT, "the filter is nested deeper than %u levels",
                          MOST_LEVELS);
    }
    *out = new_condition(kinds[filter->kind], filter->n_children);
    if (*out == NULL) {
        return no_memory(err);
    }
    if (filter->kind == IM_FILTER_TEST) {
        return compile_test(options, filter, *out, err);
    }
    im_code rc = IM_OK;
    for (size_t i = 0; rc == IM_OK && i < filter->n_children; i++) {
        rc = compile_tree(options, filter->children[i], level + 1, &(*out)->children[i], err);
    }
    return rc;
}

static bool asks_for_missing(const im_filter *filter, unsigned level)
{
    if (filter == NULL || level > MOST_LEVELS) {
        return false;
    }
    if (filter->kind == IM_FILTER_TEST) {
        return im_ascii_same_word(filter->field, "is") &&
               im_ascii_same_word(filter->value, "missing");
    }
    bool asks = false;
    for (size_t i = 0; !asks && i < filter->n_children; i++) {
        asks = asks_for_missing(filter->children[i], level + 1);
    }
    return asks;
}

/* A condition that is false for items whose every file is missing. */
static im_condition *not_missing(void)
{
    im_condition *not_it = new_condition(IM_CONDITION_NOT, 1);
    if (not_it == NULL) {
        return NULL;
    }
    not_it->children[0] = new_condition(IM_CONDITION_INTEGERS, 0);
    if (not_it->children[0] == NULL || is_one(not_it->children[0], "missing", 1, NULL) != IM_OK) {
        im_condition_free(not_it);
        return NULL;
    }
    return not_it;
}

/* Both must hold; the first is taken, and is NULL when there is no filter. */
static im_condition *leave_out_missing(im_condition *filter)
{
    im_condition *present = not_missing();
    im_condition *both = filter != NULL ? new_condition(IM_CONDITION_AND, 2) : NULL;
    if (present == NULL || (filter != NULL && both == NULL)) {
        im_condition_free(filter);
        im_condition_free(present);
        im_condition_free(both);
        return NULL;
    }
    if (filter == NULL) {
        return present;
    }
    both->children[0] = filter;
    both->children[1] = present;
    return both;
}

im_code im_filter_compile(const im_filter *filter, const im_filter_options *options,
                          im_condition **out_condition, im_error *err)
{
    im_condition *made = NULL;
    im_code rc = IM_OK;
    if (filter != NULL) {
        rc = compile_tree(options, filter, 0, &made, err);
    }
    if (rc != IM_OK) {
        im_condition_free(made);
        return rc;
    }
    if (!options->keep_missing && !asks_for_missing(filter, 0)) {
        made = leave_out_missing(made);
        if (made == NULL) {
            return no_memory(err);
        }
    }
    *out_condition = made;
    return IM_OK;
}
