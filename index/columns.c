/* index/columns.c — opens a column file, checks its blocks at first touch, hands out values.
 * Values of slots that changed since lie over it in memory (columns_patch.c). */
#include "base/base.h"
#include "base/hash.h"
#include "index/columns_internal.h"
#include "index/format_internal.h"
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* ---- checks ---- */

im_code columns_check_map(const im_columns *columns, im_error *err)
{
    if (!im_map_lost(columns->map)) {
        return IM_OK;
    }
    im_code rc =
        im_fail_as(err, IM_REASON_MAP_LOST, "column file '%s' was cut while in use", columns->path);
    im_hint(err, "open the library again; 'imago rebuild' makes the file again");
    return rc;
}

static im_code damaged_block(const im_columns *columns, uint64_t block, im_error *err)
{
    im_code rc = columns_check_map(columns, err);
    if (rc == IM_OK) {
        char what[80];
        snprintf(what, sizeof(what), "block %" PRIu64 " fails its checksum", block);
        rc = columns_damaged(columns->path, what, err);
    }
    return rc;
}

im_code columns_touch(im_columns *columns, const columns_section *section, uint64_t first,
                      uint64_t bytes, im_error *err)
{
    if (bytes == 0) {
        return IM_OK;
    }
    uint64_t last = (first + bytes - 1) / COLUMNS_BLOCK_BYTES;
    for (uint64_t at = first / COLUMNS_BLOCK_BYTES; at <= last; at++) {
        uint64_t block = section->first_block + at;
        uint64_t bit = UINT64_C(1) << (block % 64);
        _Atomic uint64_t *word = &columns->checked[block / 64];
        if (atomic_load_explicit(word, memory_order_relaxed) & bit) {
            continue;
        }
        uint64_t from = at * COLUMNS_BLOCK_BYTES;
        uint64_t size = IM_MIN(section->bytes - from, (uint64_t)COLUMNS_BLOCK_BYTES);
        uint32_t crc;
        memcpy(&crc, columns->crcs + 4 * block, sizeof(crc));
        if (im_crc32c(0, section->data + from, (size_t)size) != crc) {
            return damaged_block(columns, block, err);
        }
        atomic_fetch_or_explicit(word, bit, memory_order_relaxed);
    }
    return IM_OK;
}

/* Ends that do not ascend, or leave the texts, can be read by nobody. */
static bool ends_sound(const columns_entry *entry)
{
    const columns_end *ends = (const columns_end *)(const void *)entry->ends.data;
    columns_end last = {0};
    for (uint64_t i = 0; i < entry->n_words; i++) {
        if (ends[i].original < last.original || ends[i].folded <= last.folded) {
            return false;
        }
        last = ends[i];
    }
    return last.original == entry->originals.bytes && last.folded == entry->folded.bytes;
}

im_code columns_touch_words(im_columns *columns, columns_column *column, im_error *err)
{
    const columns_entry *entry = column->entry;
    if (entry == NULL || atomic_load_explicit(&column->words_sound, memory_order_acquire)) {
        return IM_OK;
    }
    const columns_section *sections[] = {&entry->ends, &entry->originals, &entry->folded};
    for (size_t i = 0; i < IM_COUNT(sections); i++) {
        im_code rc = columns_touch(columns, sections[i], 0, sections[i]->bytes, err);
        if (rc != IM_OK) {
            return rc;
        }
    }
    if (!ends_sound(entry)) {
        im_code rc = columns_check_map(columns, err);
        return rc == IM_OK ? columns_damaged(columns->path, "the texts of a column overlap", err)
                           : rc;
    }
    atomic_store_explicit(&column->words_sound, true, memory_order_release);
    return IM_OK;
}

/* ---- open and close ---- */

static const columns_entry *entry_of(const columns_layout *layout, const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < layout->n_entries; i++) {
        const columns_entry *entry = &layout->entries[i];
        if (entry->name_bytes == length && memcmp(entry->name, name, length) == 0) {
            return entry;
        }
    }
    return NULL;
}

static im_code take_specs(im_columns *columns, const im_column_spec *specs, size_t n_specs,
                          im_error *err)
{
    columns->columns = im_alloc_zero(n_specs, sizeof(*columns->columns));
    if (columns->columns == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for %zu columns", n_specs);
    }
    columns->n_columns = n_specs;
    for (size_t i = 0; i < n_specs; i++) {
        columns_column *column = &columns->columns[i];
        column->kind = specs[i].kind;
        column->name = im_strdup(specs[i].name);
        if (column->name == NULL) {
            return im_fail(err, IM_ERR_NOMEM, "no memory for the name of a column");
        }
        column->entry = entry_of(&columns->layout, specs[i].name);
        bool own = strncmp(column->name, IM_COLUMN_OWN, strlen(IM_COLUMN_OWN)) == 0;
        if (column->entry != NULL ? column->entry->kind != column->kind : !own) {
            char what[320];
            snprintf(what, sizeof(what), "column '%s' %s", column->name,
                     column->entry != NULL ? "is of another kind" : "is not there");
            return columns_damaged(columns->path, what, err);
        }
    }
    return IM_OK;
}

static im_code map_file(im_columns *columns, const im_index_state *state, uint64_t change_seq,
                        im_error *err)
{
    int fd = -1;
    /* non-blocking: a pipe in the file's place is never waited for */
    im_code rc = im_file_open(columns->path, O_RDONLY | O_NONBLOCK, 0, &fd, err);
    if (rc == IM_ERR_NOT_FOUND) {
        return columns_damaged(columns->path, "it is gone", err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    rc = columns_read(fd, columns->path, state, change_seq, &columns->layout, &columns->crcs,
                      &columns->map, err);
    close(fd); /* the mapping keeps its own */
    return rc;
}

im_code im_columns_open(const char *folder, const im_index_state *state, uint64_t change_seq,
                        const im_column_spec *specs, size_t n_specs, im_columns **out_columns,
                        im_error *err)
{
    im_columns *columns = NULL;
    im_code rc = format_check_state(state, err);
    if (rc != IM_OK) {
        return rc;
    }
    columns = im_alloc_zero(1, sizeof(*columns));
    if (columns == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for columns");
    }
    columns->path = columns_path(folder, state->generation);
    if (columns->path == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a path");
        goto out;
    }
    rc = map_file(columns, state, change_seq, err);
    if (rc != IM_OK) {
        goto out;
    }
    columns->n_rows = state->n_rows;
    columns->seq = columns->layout.change_seq;
    columns->checked = im_alloc_zero(columns_words_of(columns->layout.n_blocks), sizeof(uint64_t));
    if (columns->checked == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for columns");
        goto out;
    }
    rc = take_specs(columns, specs, n_specs, err);
    if (rc == IM_OK) {
        rc = columns_check_map(columns, err);
    }
    if (rc != IM_OK) {
        goto out;
    }
    *out_columns = columns;
    columns = NULL;
out:
    im_columns_close(columns);
    return rc;
}

void im_columns_close(im_columns *columns)
{
    if (columns == NULL) {
        return;
    }
    for (size_t i = 0; i < columns->n_columns; i++) {
        columns_column *column = &columns->columns[i];
        words_clear(&column->patched);
        im_free(column->patched_order);
        im_free(column->patched_keys);
        im_free(column->name);
    }
    im_map_close(columns->map);
    im_free(columns->columns);
    im_free(columns->layout.entries);
    im_free((void *)columns->checked);
    im_free(columns->patch.slots);
    im_free(columns->patch.items);
    im_free(columns->patch.values);
    im_free(columns->path);
    im_free(columns);
}

uint64_t im_columns_seq(const im_columns *columns)
{
    return columns->seq;
}

uint64_t im_columns_n_rows(const im_columns *columns)
{
    return columns->n_rows;
}

/* ---- values ---- */

static columns_column *column_of(const im_columns *columns, const char *name)
{
    for (size_t i = 0; name != NULL && i < columns->n_columns; i++) {
        if (strcmp(columns->columns[i].name, name) == 0) {
            return &columns->columns[i];
        }
    }
    return NULL;
}

im_code columns_find(im_columns *columns, const char *name, columns_column **out, im_error *err)
{
    *out = column_of(columns, name);
    return *out != NULL
               ? IM_OK
               : im_fail(err, IM_ERR_INVALID, "there is no column '%s'", name != NULL ? name : "");
}

bool im_columns_kind(const im_columns *columns, const char *column, im_column_kind *out)
{
    const columns_column *found = column_of(columns, column);
    if (found != NULL) {
        *out = found->kind;
    }
    return found != NULL;
}

size_t columns_patch_from(const im_columns *columns, uint64_t slot)
{
    size_t low = 0;
    size_t high = columns->patch.n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (columns->patch.slots[middle] < slot) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

size_t columns_patched_row(const im_columns *columns, uint64_t slot)
{
    size_t at = columns_patch_from(columns, slot);
    return at < columns->patch.n && columns->patch.slots[at] == slot ? at : SIZE_MAX;
}

uint64_t columns_bits(const im_columns *columns, const columns_column *column, uint64_t slot,
                      size_t patched_row)
{
    uint64_t bits = 0;
    if (patched_row != SIZE_MAX) {
        return columns->patch
            .values[patched_row * columns->n_columns + (size_t)(column - columns->columns)];
    }
    if (column->entry == NULL || slot >= columns->layout.n_rows) {
        const double none = (double)__builtin_nanf("");
        memcpy(&bits, &none, sizeof(bits));
        return column->kind == IM_COLUMN_NUMBER    ? bits
               : column->kind == IM_COLUMN_INTEGER ? (uint64_t)IM_COLUMN_NO_INTEGER
                                                   : COLUMNS_NO_WORD;
    }
    const uint8_t *values = column->entry->values.data;
    if (column->kind == IM_COLUMN_TEXT) {
        uint32_t word;
        memcpy(&word, values + 4 * slot, sizeof(word));
        return word < column->entry->n_words ? word : COLUMNS_NO_WORD;
    }
    memcpy(&bits, values + 8 * slot, sizeof(bits));
    return bits;
}

uint64_t columns_item(const im_columns *columns, uint64_t slot, size_t patched_row)
{
    uint64_t item = IM_NO_ITEM;
    if (patched_row != SIZE_MAX) {
        item = columns->patch.items[patched_row];
    } else if (slot < columns->layout.n_rows) {
        memcpy(&item, columns->layout.items.data + 8 * slot, sizeof(item));
    }
    return item;
}

columns_texts columns_texts_of(const columns_column *column)
{
    columns_texts texts = {0};
    if (column->entry != NULL) {
        texts.n = (size_t)column->entry->n_words;
        texts.ends = (const columns_end *)(const void *)column->entry->ends.data;
        texts.originals = (const char *)column->entry->originals.data;
        texts.folded = (const char *)column->entry->folded.data;
        texts.original_bytes = column->entry->originals.bytes;
        texts.folded_bytes = column->entry->folded.bytes;
    }
    return texts;
}

im_view columns_word(const columns_column *column, uint32_t word, bool folded)
{
    uint32_t n_file = columns_file_words(column);
    columns_texts texts = word < n_file ? columns_texts_of(column) : words_texts(&column->patched);
    word -= word < n_file ? 0 : n_file;
    return folded ? words_folded(&texts, word) : words_original(&texts, word);
}

im_code columns_touch_row(im_columns *columns, columns_column *column, uint64_t slot, im_error *err)
{
    if (slot >= columns->n_rows) {
        return im_fail(err, IM_ERR_INVALID, "slot %" PRIu64 " of columns of %" PRIu64 " rows", slot,
                       columns->n_rows);
    }
    size_t size = columns_value_bytes(column->kind);
    im_code rc = IM_OK;
    if (column->entry != NULL && slot < columns->layout.n_rows) {
        rc = columns_touch(columns, &column->entry->values, slot * size, size, err);
    }
    if (rc == IM_OK && column->kind == IM_COLUMN_TEXT) {
        rc = columns_touch_words(columns, column, err);
    }
    return rc;
}

im_code columns_find_row(im_columns *columns, const char *name, uint64_t slot, columns_column **out,
                         im_error *err)
{
    im_code rc = columns_find(columns, name, out, err);
    return rc == IM_OK ? columns_touch_row(columns, *out, slot, err) : rc;
}

im_code im_columns_value(im_columns *columns, const char *column, uint64_t slot,
                         im_column_value *out, bool *out_has, im_error *err)
{
    columns_column *found = NULL;
    im_code rc = columns_find_row(columns, column, slot, &found, err);
    if (rc != IM_OK) {
        return rc;
    }
    im_column_value value = {.text = {NULL, 0}};
    uint64_t bits = columns_bits(columns, found, slot, columns_patched_row(columns, slot));
    bool has = columns_has_value(found->kind, bits);
    if (found->kind != IM_COLUMN_TEXT) {
        memcpy(&value, &bits, sizeof(bits));
    } else if (has) {
        value.text = columns_word(found, (uint32_t)bits, false);
    }
    rc = columns_check_map(columns, err);
    if (rc == IM_OK) {
        *out = value;
        *out_has = has;
    }
    return rc;
}
