/* index/columns_group.c — at most so many hits of each value of a column. */
#include "base/base.h"
#include "index/columns_internal.h"
#include <string.h>

/* The part of im_columns_group_key behind its checks. */
static uint64_t group_key(const im_columns *columns, const columns_column *column, uint64_t slot)
{
    uint64_t key = columns_bits(columns, column, slot, columns_patched_row(columns, slot));
    if (!columns_has_value(column->kind, key)) {
        return column->kind == IM_COLUMN_NUMBER ? UINT64_MAX : key; /* one of the many NaNs */
    }
    if (column->kind == IM_COLUMN_NUMBER) {
        double number;
        memcpy(&number, &key, sizeof(number));
        number += 0.0; /* -0 is 0 */
        memcpy(&key, &number, sizeof(key));
    } else if (column->kind == IM_COLUMN_TEXT) {
        key = columns_fold_key(column, columns_word(column, (uint32_t)key, true));
    }
    return key;
}

im_code im_columns_group_key(im_columns *columns, const char *column, uint64_t slot,
                             uint64_t *out_key, im_error *err)
{
    columns_column *found = NULL;
    im_code rc = columns_find_row(columns, column, slot, &found, err);
    if (rc != IM_OK) {
        return rc;
    }
    uint64_t key = group_key(columns, found, slot);
    rc = columns_check_map(columns, err);
    if (rc == IM_OK) {
        *out_key = key;
    }
    return rc;
}

/* ---- counting by value ---- */

typedef struct group {
    uint64_t key;
    uint64_t count; /* 0: free */
} group;

/* An open table of counts; never more than half full. */
typedef struct group_table {
    group *groups; /* [room], owned */
    size_t room, n;
} group_table;

static group *group_of(const group_table *table, uint64_t key)
{
    size_t at = (size_t)((key * 0x9e3779b97f4a7c15u) >> 32) & (table->room - 1);
    while (table->groups[at].count > 0 && table->groups[at].key != key) {
        at = (at + 1) & (table->room - 1);
    }
    table->groups[at].key = key;
    return &table->groups[at];
}

static bool grow_table(group_table *table)
{
    group_table larger = {.room = table->room > 0 ? 4 * table->room : 64, .n = table->n};
    larger.groups = im_alloc_zero(larger.room, sizeof(group));
    for (size_t i = 0; larger.groups != NULL && i < table->room; i++) {
        if (table->groups[i].count > 0) {
            group_of(&larger, table->groups[i].key)->count = table->groups[i].count;
        }
    }
    if (larger.groups != NULL) {
        im_free(table->groups);
        *table = larger;
    }
    return larger.groups != NULL;
}

/* The count of a key so far, to be raised; NULL when memory is out. */
static group *group_for(group_table *table, uint64_t key)
{
    if (2 * table->n >= table->room && !grow_table(table)) {
        return NULL;
    }
    group *found = group_of(table, key);
    table->n += found->count == 0;
    return found;
}

static im_code no_memory(im_error *err)
{
    return im_fail(err, IM_ERR_NOMEM, "no memory for the values of a column");
}

/* Rows of each value; texts by the number of their word, which is folded once a word, not once a
 * row. */
static im_code count_bits(im_columns *columns, columns_column *column, const uint64_t *bitmap,
                          group_table *table, im_error *err)
{
    uint64_t n_words = columns_words_of(columns->n_rows);
    for (uint64_t word = 0; word < n_words; word++) {
        uint64_t rest = columns->n_rows - word * 64;
        uint64_t bits = bitmap != NULL ? bitmap[word] : UINT64_MAX;
        bits = rest < 64 ? bits & ((UINT64_C(1) << rest) - 1) : bits;
        for (; bits != 0; bits &= bits - 1) {
            uint64_t slot = word * 64 + (uint64_t)__builtin_ctzll(bits);
            im_code rc = columns_touch_row(columns, column, slot, err);
            if (rc != IM_OK) {
                return rc;
            }
            uint64_t key =
                column->kind == IM_COLUMN_TEXT
                    ? columns_bits(columns, column, slot, columns_patched_row(columns, slot))
                    : group_key(columns, column, slot);
            group *found = group_for(table, key);
            if (found == NULL) {
                return no_memory(err);
            }
            found->count++;
        }
    }
    return IM_OK;
}

/* Words that are folded alike are one value. */
static im_code fold_groups(const columns_column *column, group_table *table, im_error *err)
{
    group_table folded = {0};
    for (size_t i = 0; i < table->room; i++) {
        const group *from = &table->groups[i];
        if (from->count == 0) {
            continue;
        }
        uint64_t key = from->key;
        if (columns_has_value(column->kind, key)) {
            key = columns_fold_key(column, columns_word(column, (uint32_t)key, true));
        }
        group *to = group_for(&folded, key);
        if (to == NULL) {
            im_free(folded.groups);
            return no_memory(err);
        }
        to->count += from->count;
    }
    im_free(table->groups);
    *table = folded;
    return IM_OK;
}

im_code im_columns_count_groups(im_columns *columns, const char *column, size_t n_per,
                                const uint64_t *bitmap, uint64_t *out_kept, im_error *err)
{
    columns_column *found = NULL;
    group_table table = {0};
    uint64_t kept = 0;
    im_code rc = columns_find(columns, column, &found, err);
    if (rc == IM_OK) {
        rc = count_bits(columns, found, bitmap, &table, err);
    }
    if (rc == IM_OK && found->kind == IM_COLUMN_TEXT) {
        rc = fold_groups(found, &table, err);
    }
    if (rc == IM_OK) {
        rc = columns_check_map(columns, err);
    }
    for (size_t i = 0; rc == IM_OK && i < table.room; i++) {
        kept += IM_MIN(table.groups[i].count, (uint64_t)n_per);
    }
    im_free(table.groups);
    if (rc == IM_OK) {
        *out_kept = kept;
    }
    return rc;
}

/* ---- hits ---- */

im_code im_columns_group(im_columns *columns, const char *column, size_t n_per, im_hit *hits,
                         size_t *n_hits, im_error *err)
{
    columns_column *found = NULL;
    group_table table = {0};
    size_t n_kept = 0;
    uint64_t *keys = im_alloc(*n_hits, sizeof(*keys));
    im_code rc = keys != NULL ? columns_find(columns, column, &found, err) : no_memory(err);
    for (size_t i = 0; rc == IM_OK && i < *n_hits; i++) {
        rc = columns_touch_row(columns, found, hits[i].slot, err);
        keys[i] = rc == IM_OK ? group_key(columns, found, hits[i].slot) : 0;
    }
    if (rc == IM_OK) {
        rc = columns_check_map(columns, err);
    }
    for (size_t i = 0; rc == IM_OK && i < *n_hits; i++) { /* room for all: hits move once */
        rc = group_for(&table, keys[i]) != NULL ? IM_OK : no_memory(err);
        if (rc == IM_OK) {
            group_of(&table, keys[i])->count = 1;
        }
    }
    for (size_t i = 0; rc == IM_OK && i < *n_hits; i++) {
        group *group_at = group_of(&table, keys[i]);
        if (group_at->count <= n_per) { /* one more than were kept */
            group_at->count++;
            hits[n_kept++] = hits[i];
        }
    }
    if (rc == IM_OK) {
        *n_hits = n_kept;
    }
    im_free(table.groups);
    im_free(keys);
    return rc;
}
