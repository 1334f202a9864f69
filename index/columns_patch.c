/* index/columns_patch.c — values of slots that changed since the file was written, over it in
 * memory: a slightly stale file is caught up and not written again. The new patch is made beside
 * the old one and takes its place whole. */
#include "base/base.h"
#include "index/columns_internal.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A patch as it grows: rows as they come. */
typedef struct patch_run {
    im_columns *columns;
    columns_patch rows;   /* in the order of arrival */
    size_t capacity;      /* rows */
    columns_words *words; /* [n_columns] */
} patch_run;

static bool grow_rows(patch_run *patcher)
{
    columns_patch *rows = &patcher->rows;
    if (rows->n < patcher->capacity) {
        return true;
    }
    size_t capacity = IM_MAX(patcher->capacity * 2, (size_t)64);
    size_t width = 0;
    uint64_t *slots = im_realloc(rows->slots, capacity, sizeof(uint64_t));
    rows->slots = slots != NULL ? slots : rows->slots;
    uint64_t *items = im_realloc(rows->items, capacity, sizeof(uint64_t));
    rows->items = items != NULL ? items : rows->items;
    uint64_t *values = NULL;
    if (im_size_mul(patcher->columns->n_columns, sizeof(uint64_t), &width)) {
        values = im_realloc(rows->values, capacity, width);
        rows->values = values != NULL ? values : rows->values;
    }
    if (slots == NULL || items == NULL || values == NULL) {
        return false;
    }
    patcher->capacity = capacity;
    return true;
}

static im_code take_value(patch_run *patcher, size_t i, const im_column_value *value, uint64_t *out,
                          im_error *err)
{
    if (patcher->columns->columns[i].kind != IM_COLUMN_TEXT) {
        memcpy(out, value, sizeof(*out));
        return IM_OK;
    }
    uint32_t word = COLUMNS_NO_WORD;
    im_code rc = words_intern(&patcher->words[i], value->text, &word, err);
    uint32_t n_file = columns_file_words(&patcher->columns->columns[i]);
    *out = word != COLUMNS_NO_WORD ? n_file + word : COLUMNS_NO_WORD;
    return rc;
}

static im_code take_row(void *sink, const im_columns_row *row, im_error *err)
{
    patch_run *patcher = sink;
    columns_patch *rows = &patcher->rows;
    size_t n_columns = patcher->columns->n_columns;
    if (row->slot >= patcher->columns->n_rows) {
        return im_fail(err, IM_ERR_INVALID,
                       "changed slot %" PRIu64 " of columns of %" PRIu64 " rows", row->slot,
                       patcher->columns->n_rows);
    }
    if (!grow_rows(patcher)) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for %zu changed rows", rows->n + 1);
    }
    rows->slots[rows->n] = row->slot;
    rows->items[rows->n] = row->item;
    for (size_t i = 0; i < n_columns; i++) {
        im_code rc =
            take_value(patcher, i, &row->values[i], &rows->values[rows->n * n_columns + i], err);
        if (rc != IM_OK) {
            return rc;
        }
    }
    rows->n++;
    return IM_OK;
}

/* The rows of the patch that is there come first, so that the new ones win. */
static im_code take_old(patch_run *patcher, im_error *err)
{
    const im_columns *columns = patcher->columns;
    im_column_value *values = im_alloc(columns->n_columns, sizeof(*values));
    im_code rc = values != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a row");
    for (size_t row = 0; rc == IM_OK && row < columns->patch.n; row++) {
        for (size_t i = 0; i < columns->n_columns; i++) {
            const columns_column *column = &columns->columns[i];
            uint64_t bits = columns->patch.values[row * columns->n_columns + i];
            memset(&values[i], 0, sizeof(values[i]));
            if (column->kind != IM_COLUMN_TEXT) {
                memcpy(&values[i], &bits, sizeof(bits));
            } else if (bits != COLUMNS_NO_WORD) {
                values[i].text = columns_word(column, (uint32_t)bits, false);
            }
        }
        im_columns_row taken = {columns->patch.slots[row], columns->patch.items[row], values};
        rc = take_row(patcher, &taken, err);
    }
    im_free(values);
    return rc;
}

/* ---- order ---- */

typedef struct arrival {
    uint64_t slot;
    size_t row;
} arrival;

static int by_slot(const void *a, const void *b)
{
    const arrival *x = a;
    const arrival *y = b;
    return x->slot != y->slot ? (x->slot > y->slot) - (x->slot < y->slot)
                              : (x->row > y->row) - (x->row < y->row);
}

/* Ascending slots, the last row of each. */
static im_code order_rows(patch_run *patcher, columns_patch *out, im_error *err)
{
    const columns_patch *rows = &patcher->rows;
    size_t n_columns = patcher->columns->n_columns;
    columns_patch sorted = {0};
    arrival *arrivals = im_alloc(rows->n, sizeof(*arrivals));
    sorted.slots = im_alloc(rows->n, sizeof(uint64_t));
    sorted.items = im_alloc(rows->n, sizeof(uint64_t));
    sorted.values = im_alloc(rows->n, n_columns * sizeof(uint64_t));
    if (arrivals == NULL || sorted.slots == NULL || sorted.items == NULL || sorted.values == NULL) {
        im_free(arrivals);
        im_free(sorted.slots);
        im_free(sorted.items);
        im_free(sorted.values);
        return im_fail(err, IM_ERR_NOMEM, "no memory for %zu changed rows", rows->n);
    }
    for (size_t i = 0; i < rows->n; i++) {
        arrivals[i] = (arrival){rows->slots[i], i};
    }
    if (rows->n > 1) {
        qsort(arrivals, rows->n, sizeof(*arrivals), by_slot);
    }
    for (size_t i = 0; i < rows->n; i++) {
        if (i + 1 < rows->n && arrivals[i + 1].slot == arrivals[i].slot) {
            continue;
        }
        sorted.slots[sorted.n] = arrivals[i].slot;
        sorted.items[sorted.n] = rows->items[arrivals[i].row];
        memcpy(sorted.values + sorted.n * n_columns, rows->values + arrivals[i].row * n_columns,
               n_columns * sizeof(uint64_t));
        sorted.n++;
    }
    im_free(arrivals);
    *out = sorted;
    return IM_OK;
}

/* Their places in the order of the file's words; `made` has what columns_order_patched fills. */
static im_code order_words(patch_run *patcher, columns_column *made, im_error *err)
{
    im_columns *columns = patcher->columns;
    im_code rc = IM_OK;
    for (size_t i = 0; rc == IM_OK && i < columns->n_columns; i++) {
        made[i].entry = columns->columns[i].entry;
        made[i].patched = patcher->words[i]; /* lent */
        if (made[i].patched.n > 0) {
            rc = columns_touch_words(columns, &columns->columns[i], err);
            rc = rc == IM_OK ? columns_order_patched(&made[i], err) : rc;
        }
    }
    return rc == IM_OK ? columns_check_map(columns, err) : rc;
}

/* Puts the words in place of the old ones, with their order; on failure all is as before. */
static im_code take_words(patch_run *patcher, im_error *err)
{
    im_columns *columns = patcher->columns;
    columns_column *made = im_alloc_zero(columns->n_columns, sizeof(*made));
    if (made == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for %zu columns", columns->n_columns);
    }
    im_code rc = order_words(patcher, made, err);
    for (size_t i = 0; i < columns->n_columns; i++) {
        columns_column *column = &columns->columns[i];
        if (rc != IM_OK) {
            im_free(made[i].patched_order);
            im_free(made[i].patched_keys);
            continue;
        }
        words_clear(&column->patched);
        im_free(column->patched_order);
        im_free(column->patched_keys);
        column->patched = patcher->words[i];
        column->patched_order = made[i].patched_order;
        column->patched_keys = made[i].patched_keys;
        patcher->words[i] = (columns_words){0};
    }
    im_free(made);
    return rc;
}

static void clear_rows(columns_patch *rows)
{
    im_free(rows->slots);
    im_free(rows->items);
    im_free(rows->values);
    *rows = (columns_patch){0};
}

im_code im_columns_patch(im_columns *columns, uint64_t change_seq, im_columns_source source,
                         void *context, im_error *err)
{
    patch_run patcher = {.columns = columns};
    columns_patch sorted = {0};
    patcher.words = im_alloc_zero(columns->n_columns, sizeof(*patcher.words));
    if (patcher.words == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for %zu columns", columns->n_columns);
    }
    im_code rc = take_old(&patcher, err);
    if (rc == IM_OK) {
        rc = source(context, take_row, &patcher, err);
    }
    if (rc == IM_OK) {
        rc = order_rows(&patcher, &sorted, err);
    }
    if (rc == IM_OK) {
        rc = take_words(&patcher, err);
    }
    if (rc == IM_OK) {
        clear_rows(&columns->patch);
        columns->patch = sorted;
        columns->seq = change_seq;
        sorted = (columns_patch){0};
    }
    clear_rows(&sorted);
    clear_rows(&patcher.rows);
    for (size_t i = 0; i < columns->n_columns; i++) {
        words_clear(&patcher.words[i]);
    }
    im_free(patcher.words);
    return rc;
}
