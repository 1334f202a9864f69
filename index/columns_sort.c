/* index/columns_sort.c — the order of a column's values: the first k rows of a bitmap by it, and
 * groups. Texts order by their words: word w of the file has the key (w + 1) · 2^32, a word of the
 * patch that would stand before it (w · 2^32) + 2 (i + 1), where i is its place among those of the
 * patch; odd keys are for a cursor's text that is no word any more. */
#include "base/base.h"
#include "index/columns_internal.h"
#include <string.h>

/* ---- words ---- */

static int compare_pair(im_view folded, im_view original, im_view other_folded,
                        im_view other_original)
{
    int order = words_compare(folded, other_folded);
    return order != 0 ? order : words_compare(original, other_original);
}

/* First of the words that is not before (folded, original); `order`: the words as they are sorted,
 * NULL when they stand so. */
static uint32_t lower(const columns_texts *texts, const uint32_t *order, im_view folded,
                      im_view original)
{
    uint32_t low = 0;
    uint32_t high = (uint32_t)texts->n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        uint32_t word = order != NULL ? order[middle] : middle;
        if (compare_pair(words_folded(texts, word), words_original(texts, word), folded, original) <
            0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The same among the words of the patch. */
static uint32_t lower_patched(const columns_column *column, im_view folded, im_view original)
{
    columns_texts texts = words_texts(&column->patched);
    return lower(&texts, column->patched_order, folded, original);
}

/* True when word `at` of the file is this very text. */
static bool is_word(const columns_texts *texts, uint32_t at, im_view original)
{
    return at < texts->n && im_view_equal(words_original(texts, at), original);
}

im_code columns_order_patched(columns_column *column, im_error *err)
{
    columns_texts in_file = columns_texts_of(column);
    columns_texts texts = words_texts(&column->patched);
    column->patched_order = im_alloc(texts.n, sizeof(uint32_t));
    column->patched_keys = im_alloc(texts.n, sizeof(uint64_t));
    if (column->patched_order == NULL || column->patched_keys == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for %zu texts", texts.n);
    }
    words_sort(&column->patched, column->patched_order);
    for (uint32_t i = 0; i < texts.n; i++) {
        uint32_t word = column->patched_order[i];
        im_view original = words_original(&texts, word);
        uint64_t at = lower(&in_file, NULL, words_folded(&texts, word), original);
        column->patched_keys[word] = is_word(&in_file, (uint32_t)at, original)
                                         ? (at + 1) << 32
                                         : (at << 32) + 2 * ((uint64_t)i + 1);
    }
    return IM_OK;
}

uint64_t columns_fold_key(const columns_column *column, im_view folded)
{
    columns_texts in_file = columns_texts_of(column);
    uint32_t at = lower(&in_file, NULL, folded, im_view_of("", 0));
    if (at < in_file.n && im_view_equal(words_folded(&in_file, at), folded)) {
        return at;
    }
    return in_file.n + lower_patched(column, folded, im_view_of("", 0));
}

/* Key of any text: of its word, or between those of its neighbours. */
static im_code key_of_text(const columns_column *column, im_view original, uint64_t *out,
                           im_error *err)
{
    columns_texts in_file = columns_texts_of(column);
    im_str text;
    im_str_init(&text, SIZE_MAX / 2);
    im_text_fold(&text, original.data, original.size);
    if (text.failed) {
        im_str_clear(&text);
        return im_fail(err, IM_ERR_NOMEM, "no memory for the text of a cursor");
    }
    im_view folded = im_view_of(im_str_text(&text), text.size);
    uint64_t at = lower(&in_file, NULL, folded, original);
    uint32_t patched = lower_patched(column, folded, original);
    columns_texts texts = words_texts(&column->patched);
    *out = (at << 32) + 2 * (uint64_t)patched + 1;
    if (is_word(&in_file, (uint32_t)at, original)) {
        *out = (at + 1) << 32;
    } else if (patched < texts.n) {
        uint32_t word = column->patched_order[patched];
        if (im_view_equal(words_original(&texts, word), original)) {
            *out = column->patched_keys[word];
        }
    }
    im_str_clear(&text);
    return IM_OK;
}

/* ---- keys ---- */

typedef struct sort_row {
    uint64_t key;
    uint64_t item, slot;
    bool missing; /* no value: behind all others */
} sort_row;

typedef struct sort_run {
    im_columns *columns;
    columns_column *column;
    bool descending;
    const uint64_t *bitmap;
    bool has_after;
    sort_row after;
    sort_row *heap; /* [k], the last one at the top */
    size_t n, k;
} sort_run;

static bool is_before(const sort_row *a, const sort_row *b)
{
    if (a->missing != b->missing) {
        return b->missing;
    }
    if (a->key != b->key) {
        return a->key < b->key;
    }
    return a->item != b->item ? a->item < b->item : a->slot < b->slot;
}

/* Numbers and integers as unsigned numbers of the same order. */
static uint64_t plain_key(im_column_kind kind, uint64_t bits)
{
    const uint64_t sign = UINT64_C(1) << 63;
    if (kind == IM_COLUMN_INTEGER) {
        return bits ^ sign;
    }
    double number;
    memcpy(&number, &bits, sizeof(number));
    number += 0.0; /* -0 is 0 */
    memcpy(&bits, &number, sizeof(bits));
    return (bits & sign) != 0 ? ~bits : bits | sign;
}

static void set_key(const sort_run *sorter, uint64_t bits, sort_row *row)
{
    const columns_column *column = sorter->column;
    row->missing = !columns_has_value(column->kind, bits);
    row->key = 0;
    if (row->missing) {
        return;
    }
    if (column->kind != IM_COLUMN_TEXT) {
        row->key = plain_key(column->kind, bits);
    } else {
        uint32_t n_file = columns_file_words(column);
        row->key = bits < n_file ? (bits + 1) << 32 : column->patched_keys[bits - n_file];
    }
    row->key = sorter->descending ? ~row->key : row->key;
}

static im_code set_after(sort_run *sorter, const im_columns_after *after, im_error *err)
{
    sort_row *row = &sorter->after;
    im_column_kind kind = sorter->column->kind;
    uint64_t bits = 0;
    im_code rc = IM_OK;
    if (after == NULL) {
        return IM_OK;
    }
    sorter->has_after = true;
    memcpy(&bits, &after->value, sizeof(bits));
    bool has_value = after->has_value && (kind == IM_COLUMN_TEXT || columns_has_value(kind, bits));
    if (!has_value) {
        row->missing = true;
    } else if (kind == IM_COLUMN_TEXT) {
        rc = key_of_text(sorter->column, after->value.text, &row->key, err);
        row->key = sorter->descending ? ~row->key : row->key;
    } else {
        set_key(sorter, bits, row);
    }
    row->item = after->item;
    row->slot = UINT64_MAX; /* behind every row of that item */
    return rc;
}

/* ---- the heap ---- */

static void sink(sort_row *heap, size_t n, size_t at)
{
    sort_row row = heap[at];
    for (size_t child = 2 * at + 1; child < n; child = 2 * at + 1) {
        child += child + 1 < n && is_before(&heap[child], &heap[child + 1]);
        if (!is_before(&row, &heap[child])) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = row;
}

static void offer(sort_run *sorter, const sort_row *row)
{
    if (sorter->n == sorter->k) {
        if (is_before(row, &sorter->heap[0])) {
            sorter->heap[0] = *row;
            sink(sorter->heap, sorter->n, 0);
        }
        return;
    }
    size_t at = sorter->n++;
    while (at > 0 && is_before(&sorter->heap[(at - 1) / 2], row)) {
        sorter->heap[at] = sorter->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    sorter->heap[at] = *row;
}

static void sort_heap(sort_run *sorter)
{
    for (size_t left = sorter->n; left > 1; left--) {
        sort_row last = sorter->heap[0];
        sorter->heap[0] = sorter->heap[left - 1];
        sorter->heap[left - 1] = last;
        sink(sorter->heap, left - 1, 0);
    }
}

/* ---- rows ---- */

static uint64_t bits_at(const sort_run *sorter, uint64_t word)
{
    uint64_t rest = sorter->columns->n_rows - word * 64;
    uint64_t bits = sorter->bitmap != NULL ? sorter->bitmap[word] : UINT64_MAX;
    return rest < 64 ? bits & ((UINT64_C(1) << rest) - 1) : bits;
}

static im_code touch_chunk(const sort_run *sorter, uint64_t first, im_error *err)
{
    im_columns *columns = sorter->columns;
    const columns_column *column = sorter->column;
    if (first >= columns->layout.n_rows) {
        return IM_OK;
    }
    uint64_t n = IM_MIN(columns->layout.n_rows - first, (uint64_t)COLUMNS_CHUNK);
    im_code rc = columns_touch(columns, &columns->layout.items, first * 8, n * 8, err);
    if (rc == IM_OK && column->entry != NULL) {
        size_t size = columns_value_bytes(column->kind);
        rc = columns_touch(columns, &column->entry->values, first * size, n * size, err);
    }
    return rc;
}

static void offer_slot(sort_run *sorter, uint64_t slot, size_t *patch_at)
{
    const im_columns *columns = sorter->columns;
    const columns_patch *patch = &columns->patch;
    sort_row row = {.slot = slot};
    while (*patch_at < patch->n && patch->slots[*patch_at] < slot) {
        ++*patch_at;
    }
    bool patched = *patch_at < patch->n && patch->slots[*patch_at] == slot;
    size_t patched_row = patched ? *patch_at : SIZE_MAX;
    set_key(sorter, columns_bits(columns, sorter->column, slot, patched_row), &row);
    row.item = columns_item(columns, slot, patched_row);
    if (!sorter->has_after || is_before(&sorter->after, &row)) {
        offer(sorter, &row);
    }
}

static im_code offer_all(sort_run *sorter, uint64_t *out_total, im_error *err)
{
    size_t patch_at = 0;
    uint64_t touched = UINT64_MAX; /* chunk */
    uint64_t total = 0;
    for (uint64_t word = 0; word < columns_words_of(sorter->columns->n_rows); word++) {
        uint64_t bits = bits_at(sorter, word);
        total += (uint64_t)__builtin_popcountll(bits);
        if (bits == 0 || sorter->k == 0) {
            continue;
        }
        if (word / COLUMNS_CHUNK_WORDS != touched) {
            touched = word / COLUMNS_CHUNK_WORDS;
            im_code rc = touch_chunk(sorter, touched * COLUMNS_CHUNK, err);
            if (rc != IM_OK) {
                return rc;
            }
        }
        for (; bits != 0; bits &= bits - 1) {
            offer_slot(sorter, word * 64 + (uint64_t)__builtin_ctzll(bits), &patch_at);
        }
    }
    *out_total = total;
    return IM_OK;
}

im_code im_columns_sort(im_columns *columns, const char *column, bool descending,
                        const uint64_t *bitmap, const im_columns_after *after, size_t k,
                        im_columns_hit *hits, size_t *out_n, uint64_t *out_total, im_error *err)
{
    sort_run sorter = {.columns = columns, .descending = descending, .bitmap = bitmap};
    uint64_t total = 0;
    im_code rc = columns_find(columns, column, &sorter.column, err);
    if (rc != IM_OK) {
        return rc;
    }
    sorter.k = (size_t)IM_MIN((uint64_t)k, columns->n_rows);
    sorter.heap = im_alloc(sorter.k, sizeof(sort_row));
    if (sorter.heap == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory to sort %zu rows", sorter.k);
    }
    if (sorter.column->kind == IM_COLUMN_TEXT) {
        rc = columns_touch_words(columns, sorter.column, err);
    }
    if (rc == IM_OK) {
        rc = set_after(&sorter, after, err);
    }
    if (rc == IM_OK) {
        rc = offer_all(&sorter, &total, err);
    }
    if (rc == IM_OK) {
        rc = columns_check_map(columns, err);
    }
    if (rc == IM_OK) {
        sort_heap(&sorter);
        for (size_t i = 0; i < sorter.n; i++) {
            hits[i] = (im_columns_hit){sorter.heap[i].item, sorter.heap[i].slot};
        }
        *out_n = sorter.n;
        if (out_total != NULL) {
            *out_total = total;
        }
    }
    im_free(sorter.heap);
    return rc;
}
