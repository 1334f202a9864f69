/* query/filter_names.c — the names of fields: which word names one, and which name a wrong word is
 * nearest to. */
#include "base/base.h"
#include "query/filter_internal.h"
#include <string.h>

#define MOST_NAMES 64u /* that are looked through for the nearest */

static const struct {
    const char *name;
    bool is_field;
} words[] = {
#define X(word, is_field) {#word, is_field},
#include "base/query_words.def"
#undef X
};

const im_own_field *filter_own_field(const im_own_field *own, size_t n_own, const char *name)
{
    for (size_t i = 0; i < n_own; i++) {
        if (im_ascii_same_word(own[i].name, name)) {
            return &own[i];
        }
    }
    return NULL;
}

im_code filter_own_column(const im_own_field *field, char **out, im_error *err)
{
    size_t n = strlen(IM_COLUMN_OWN);
    size_t size = strlen(field->name) + 1;
    char *column = im_alloc(n + size, 1);
    if (column == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the name of a column");
    }
    memcpy(column, IM_COLUMN_OWN, n);
    memcpy(column + n, field->name, size);
    *out = column;
    return IM_OK;
}

const char *filter_field_name(const im_own_field *own, size_t n_own, im_view name)
{
    char word[IM_LIMIT_FIELD_NAME_BYTES + 1] = {0};
    if (name.size == 0 || name.size >= sizeof(word)) {
        return NULL;
    }
    memcpy(word, name.data, name.size);
    for (size_t i = 0; i < IM_COUNT(words); i++) {
        if (words[i].is_field && im_ascii_same_word(words[i].name, word)) {
            return words[i].name;
        }
    }
    const im_own_field *field = filter_own_field(own, n_own, word);
    return field != NULL ? field->name : NULL;
}

static size_t all_names(const im_own_field *own, size_t n_own, const char **out)
{
    size_t n = 0;
    for (size_t i = 0; i < IM_COUNT(words); i++) {
        if (words[i].is_field) {
            out[n++] = words[i].name;
        }
    }
    for (size_t i = 0; i < n_own && n < MOST_NAMES; i++) {
        out[n++] = own[i].name;
    }
    return n;
}
_Static_assert(IM_COUNT(words) < MOST_NAMES, "every field is looked through");

static void list_names(const char *const *names, size_t n, char *out, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < n && used + 1 < size; i++) {
        int length = snprintf(out + used, size - used, "%s%s", i == 0 ? "" : ", ", names[i]);
        used += length > 0 ? (size_t)length : 0;
    }
}

im_code filter_unknown_field(const im_own_field *own, size_t n_own, im_view name, size_t column,
                             im_error *err)
{
    const char *names[MOST_NAMES];
    char word[IM_LIMIT_FIELD_NAME_BYTES + 2] = {0}; /* longer ones are near to nothing */
    char list[256] = {0};
    size_t n = all_names(own, n_own, names);
    memcpy(word, name.data, IM_MIN(name.size, sizeof(word) - 1));
    const char *nearest = filter_nearest(word, names, n);
    if (nearest == NULL) {
        list_names(names, n, list, sizeof(list));
    }
    im_code rc =
        im_fail_as(err, IM_REASON_QUERY_FIELD, "unknown field \"%s\" at column %zu: %s%s%s", word,
                   column, nearest != NULL ? "the nearest is \"" : "the fields are ",
                   nearest != NULL ? nearest : list, nearest != NULL ? "\"" : "");
    im_hint(err, "quote it to search for the words");
    return rc;
}
