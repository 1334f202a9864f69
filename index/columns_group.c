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

/* ---- hits ---- */

typedef struct group {
    uint64_t key;
    size_t count; /* 0: free */
} group;

static group *group_of(group *groups, size_t n_groups, uint64_t key)
{
    size_t at = (size_t)((key * 0x9e3779b97f4a7c15u) >> 32) & (n_groups - 1);
    while (groups[at].count > 0 && groups[at].key != key) {
        at = (at + 1) & (n_groups - 1);
    }
    groups[at].key = key;
    return &groups[at];
}

im_code im_columns_group(im_columns *columns, const char *column, size_t n_per, im_hit *hits,
                         size_t *n_hits, im_error *err)
{
    size_t n_groups = 16;
    size_t n_kept = 0;
    while (n_groups / 2 < *n_hits) {
        n_groups *= 2;
    }
    im_code rc = IM_OK;
    uint64_t *keys = im_alloc(*n_hits, sizeof(*keys));
    group *groups = im_alloc_zero(n_groups, sizeof(*groups));
    if (keys == NULL || groups == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory to group %zu hits", *n_hits);
        goto out;
    }
    for (size_t i = 0; rc == IM_OK && i < *n_hits; i++) {
        rc = im_columns_group_key(columns, column, hits[i].slot, &keys[i], err);
    }
    if (rc != IM_OK) {
        goto out; /* no hit has moved */
    }
    for (size_t i = 0; i < *n_hits; i++) {
        group *group_at = group_of(groups, n_groups, keys[i]);
        if (group_at->count < n_per) {
            group_at->count++;
            hits[n_kept++] = hits[i];
        }
    }
    *n_hits = n_kept;
out:
    im_free(keys);
    im_free(groups);
    return rc;
}
