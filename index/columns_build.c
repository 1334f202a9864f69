/* index/columns_build.c — writes a column file from rows that come one by one. A column holds one
 * block of its values at a time; numbers of words are first those of the order in which the texts
 * came, and are written again when all are known and sorted. */
#include "base/base.h"
#include "base/fault.h"
#include "base/hash.h"
#include "index/columns_internal.h"
#include "index/format_internal.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

typedef struct build_column {
    uint8_t *block; /* [COLUMNS_BLOCK_BYTES] */
    columns_words words;
} build_column;

typedef struct build_run {
    const im_column_spec *specs;
    columns_layout layout;
    build_column *columns; /* [n_entries] */
    uint64_t *items;       /* [COLUMNS_CHUNK] */
    uint32_t *crcs;        /* [n_blocks], those of the words behind */
    uint64_t next;         /* slot */
    char *path;            /* of the temporary */
    int fd;
} build_run;

static atomic_uint temporary_count; /* makes names of one process differ */

/* ---- blocks ---- */

static im_code write_block(build_run *builder, const columns_section *section, uint64_t block,
                           const void *data, im_error *err)
{
    uint64_t from = block * COLUMNS_BLOCK_BYTES;
    size_t bytes = (size_t)IM_MIN(section->bytes - from, (uint64_t)COLUMNS_BLOCK_BYTES);
    builder->crcs[section->first_block + block] = im_crc32c(0, data, bytes);
    return im_file_pwrite(builder->fd, data, bytes, section->at + from, builder->path, err);
}

/* Writes the values of a column and the items once the row before `next` was the last of their
 * block, or of all. */
static im_code write_full(build_run *builder, im_error *err)
{
    uint64_t next = builder->next;
    bool last = next == builder->layout.n_rows;
    im_code rc = IM_OK;
    if (next % COLUMNS_CHUNK == 0 || last) {
        rc = write_block(builder, &builder->layout.items, (next - 1) / COLUMNS_CHUNK,
                         builder->items, err);
    }
    for (size_t i = 0; rc == IM_OK && i < builder->layout.n_entries; i++) {
        const columns_entry *entry = &builder->layout.entries[i];
        uint64_t in_block = COLUMNS_BLOCK_BYTES / columns_value_bytes(entry->kind);
        if (next % in_block == 0 || last) {
            rc = write_block(builder, &entry->values, (next - 1) / in_block,
                             builder->columns[i].block, err);
        }
    }
    return rc;
}

static im_code put_value(build_run *builder, size_t i, const im_column_value *value, im_error *err)
{
    build_column *column = &builder->columns[i];
    im_column_kind kind = builder->specs[i].kind;
    size_t size = columns_value_bytes(kind);
    uint8_t *place = column->block + builder->next % (COLUMNS_BLOCK_BYTES / size) * size;
    uint32_t word = COLUMNS_NO_WORD;
    if (kind == IM_COLUMN_TEXT) {
        im_code rc = words_intern(&column->words, value->text, &word, err);
        memcpy(place, &word, size);
        return rc;
    }
    memcpy(place, value, size);
    return IM_OK;
}

/* A row of no values where the source left slots out. */
static im_code put_row(build_run *builder, uint64_t item, const im_column_value *values,
                       im_error *err)
{
    im_code rc = IM_OK;
    builder->items[builder->next % COLUMNS_CHUNK] = item;
    for (size_t i = 0; rc == IM_OK && i < builder->layout.n_entries; i++) {
        im_column_value none = {.text = {NULL, 0}};
        if (builder->specs[i].kind == IM_COLUMN_NUMBER) {
            none.number = (double)__builtin_nanf("");
        } else if (builder->specs[i].kind == IM_COLUMN_INTEGER) {
            none.integer = IM_COLUMN_NO_INTEGER;
        }
        rc = put_value(builder, i, values != NULL ? &values[i] : &none, err);
    }
    builder->next++;
    return rc == IM_OK ? write_full(builder, err) : rc;
}

static im_code fill_to(build_run *builder, uint64_t slot, im_error *err)
{
    im_code rc = IM_OK;
    while (rc == IM_OK && builder->next < slot) {
        rc = put_row(builder, IM_NO_ITEM, NULL, err);
    }
    return rc;
}

static im_code take_row(void *sink, const im_columns_row *row, im_error *err)
{
    build_run *builder = sink;
    if (row->slot < builder->next || row->slot >= builder->layout.n_rows) {
        return im_fail(err, IM_ERR_INVALID,
                       "row of slot %" PRIu64 " of the columns, expected one from %" PRIu64
                       " below %" PRIu64,
                       row->slot, builder->next, builder->layout.n_rows);
    }
    im_code rc = fill_to(builder, row->slot, err);
    return rc == IM_OK ? put_row(builder, row->item, row->values, err) : rc;
}

/* ---- words ---- */

/* Numbers of words by first sight become those of the sorted words. */
static im_code renumber(build_run *builder, size_t i, const uint32_t *rank, im_error *err)
{
    size_t n_words = builder->columns[i].words.n;
    const columns_section *section = &builder->layout.entries[i].values;
    uint8_t *block = builder->columns[i].block;
    im_code rc = IM_OK;
    for (uint64_t at = 0; rc == IM_OK && at < columns_blocks_of(section->bytes); at++) {
        uint64_t from = at * COLUMNS_BLOCK_BYTES;
        size_t bytes = (size_t)IM_MIN(section->bytes - from, (uint64_t)COLUMNS_BLOCK_BYTES);
        rc = im_file_pread(builder->fd, block, bytes, section->at + from, builder->path, err);
        for (size_t j = 0; rc == IM_OK && j < bytes; j += sizeof(uint32_t)) {
            uint32_t word;
            memcpy(&word, block + j, sizeof(word));
            word = word < n_words ? rank[word] : COLUMNS_NO_WORD;
            memcpy(block + j, &word, sizeof(word));
        }
        if (rc == IM_OK) {
            rc = write_block(builder, section, at, block, err);
        }
    }
    return rc;
}

static im_code write_section(build_run *builder, const columns_section *section, const void *data,
                             im_error *err)
{
    im_code rc = IM_OK;
    for (uint64_t at = 0; rc == IM_OK && at < columns_blocks_of(section->bytes); at++) {
        rc = write_block(builder, section, at, (const uint8_t *)data + at * COLUMNS_BLOCK_BYTES,
                         err);
    }
    return rc;
}

/* The words of a column in their order: a copy, and where each went. */
static im_code sort_words(build_column *column, im_error *err, uint32_t **out_rank)
{
    columns_words *words = &column->words;
    columns_texts texts = words_texts(words);
    columns_words sorted = {0};
    im_code rc = IM_OK;
    uint32_t *order = im_alloc(words->n, sizeof(*order));
    uint32_t *rank = im_alloc(words->n, sizeof(*rank));
    if (order == NULL || rank == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory to sort %zu texts", words->n);
        goto out;
    }
    words_sort(words, order);
    for (uint32_t i = 0; rc == IM_OK && i < words->n; i++) {
        rc = words_intern(&sorted, words_original(&texts, order[i]), &rank[order[i]], err);
    }
    if (rc != IM_OK) {
        goto out;
    }
    words_clear(words);
    *words = sorted;
    sorted = (columns_words){0};
    *out_rank = rank;
    rank = NULL;
out:
    words_clear(&sorted);
    im_free(order);
    im_free(rank);
    return rc;
}

/* Sorts the words of all columns, renumbers their values, and takes in what is now known of the
 * layout. */
static im_code finish_words(build_run *builder, im_error *err)
{
    im_code rc = IM_OK;
    columns_layout *layout = &builder->layout;
    for (size_t i = 0; rc == IM_OK && i < layout->n_entries; i++) {
        columns_words *words = &builder->columns[i].words;
        columns_entry *entry = &layout->entries[i];
        uint32_t *rank = NULL;
        if (words->n == 0) {
            continue;
        }
        rc = sort_words(&builder->columns[i], err, &rank);
        if (rc == IM_OK) {
            rc = renumber(builder, i, rank, err);
        }
        im_free(rank);
        if (rc == IM_OK) {
            entry->n_words = words->n;
            entry->originals.bytes = words->ends[words->n - 1].original;
            entry->folded.bytes = words->ends[words->n - 1].folded;
        }
    }
    return rc;
}

static im_code write_words(build_run *builder, im_error *err)
{
    im_code rc = IM_OK;
    columns_layout *layout = &builder->layout;
    if (!columns_place(layout)) { /* the values stay where they are */
        return im_fail(err, IM_ERR_LIMIT, "the texts of the columns do not fit into a file");
    }
    uint32_t *crcs = im_realloc(builder->crcs, (size_t)layout->n_blocks + 1, sizeof(*crcs));
    if (crcs == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the checksums of the columns");
    }
    builder->crcs = crcs;
    for (size_t i = 0; rc == IM_OK && i < layout->n_entries; i++) {
        const columns_entry *entry = &layout->entries[i];
        const columns_words *words = &builder->columns[i].words;
        rc = write_section(builder, &entry->ends, words->ends, err);
        if (rc == IM_OK) {
            rc = write_section(builder, &entry->originals, words->originals, err);
        }
        if (rc == IM_OK) {
            rc = write_section(builder, &entry->folded, words->folded, err);
        }
    }
    return rc;
}

static im_code write_ends(build_run *builder, const im_index_state *state, im_error *err)
{
    const columns_layout *layout = &builder->layout;
    uint8_t page[HEADER_BYTES];
    uint8_t *table = im_alloc((size_t)layout->table_bytes, 1);
    if (table == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the table of the columns");
    }
    columns_write_table(layout, builder->crcs, table);
    columns_write_header(state, layout, im_crc32c(0, table, (size_t)layout->table_bytes), page);
    im_code rc = im_file_pwrite(builder->fd, table, (size_t)layout->table_bytes, layout->table_at,
                                builder->path, err);
    if (rc == IM_OK) {
        rc = im_file_pwrite(builder->fd, page, sizeof(page), 0, builder->path, err);
    }
    im_free(table);
    return rc;
}

/* ---- the whole ---- */

static im_code check_specs(const im_column_spec *specs, size_t n_specs, im_error *err)
{
    if (n_specs > COLUMNS_MOST) {
        return im_fail(err, IM_ERR_LIMIT, "%zu columns, the limit is %u", n_specs, COLUMNS_MOST);
    }
    for (size_t i = 0; i < n_specs; i++) {
        size_t length = strlen(specs[i].name);
        if (length < 1 || length > 255 || (unsigned)specs[i].kind > IM_COLUMN_TEXT) {
            return im_fail(err, IM_ERR_INVALID, "column '%s' of kind %u is none that can be kept",
                           specs[i].name, (unsigned)specs[i].kind);
        }
    }
    return IM_OK;
}

static im_code builder_init(build_run *builder, const im_column_spec *specs, size_t n_specs,
                            const char *folder, im_error *err)
{
    columns_layout *layout = &builder->layout;
    layout->n_entries = n_specs;
    layout->entries = im_alloc_zero(n_specs, sizeof(*layout->entries));
    builder->columns = im_alloc_zero(n_specs, sizeof(*builder->columns));
    builder->items = im_alloc(COLUMNS_CHUNK, sizeof(uint64_t));
    bool fits = layout->entries != NULL && builder->columns != NULL && builder->items != NULL;
    for (size_t i = 0; fits && i < n_specs; i++) {
        layout->entries[i].name = specs[i].name;
        layout->entries[i].name_bytes = strlen(specs[i].name);
        layout->entries[i].kind = specs[i].kind;
        builder->columns[i].block = im_alloc(COLUMNS_BLOCK_BYTES, 1);
        fits = builder->columns[i].block != NULL;
    }
    if (fits && !columns_place(layout)) {
        return im_fail(err, IM_ERR_LIMIT, "columns of %" PRIu64 " rows do not fit into a file",
                       layout->n_rows);
    }
    if (fits) {
        char name[64];
        snprintf(name, sizeof(name), ".imago-columns-%ld-%u.tmp", (long)getpid(),
                 atomic_fetch_add(&temporary_count, 1));
        builder->path = im_path_join(folder, name);
        builder->crcs = im_alloc((size_t)layout->n_blocks + 1, sizeof(*builder->crcs));
        fits = builder->path != NULL && builder->crcs != NULL;
    }
    return fits ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for %zu columns", n_specs);
}

static void builder_clear(build_run *builder)
{
    for (size_t i = 0; builder->columns != NULL && i < builder->layout.n_entries; i++) {
        im_free(builder->columns[i].block);
        words_clear(&builder->columns[i].words);
    }
    if (builder->fd >= 0) {
        close(builder->fd);
    }
    im_free(builder->columns);
    im_free(builder->layout.entries);
    im_free(builder->items);
    im_free(builder->crcs);
    im_free(builder->path);
}

static im_code write_all(build_run *builder, const im_index_state *state, im_columns_source source,
                         void *context, im_error *err)
{
    im_code rc = source(context, take_row, builder, err);
    if (rc == IM_OK) {
        rc = fill_to(builder, builder->layout.n_rows, err);
    }
    if (rc == IM_OK) {
        rc = finish_words(builder, err);
    }
    if (rc == IM_OK) {
        rc = write_words(builder, err);
    }
    if (rc == IM_OK) {
        rc = write_ends(builder, state, err);
    }
    return rc == IM_OK ? im_file_sync(builder->fd, builder->path, err) : rc;
}

static im_code put_in_place(build_run *builder, const char *folder, uint64_t generation,
                            im_error *err)
{
    char *path = columns_path(folder, generation);
    if (path == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    im_code rc = im_file_rename(builder->path, path, err);
    im_free(path);
    return rc;
}

im_code im_columns_build(const char *folder, const im_index_state *state,
                         const im_column_spec *specs, size_t n_specs, uint64_t change_seq,
                         im_columns_source source, void *context, im_error *err)
{
    build_run builder = {.specs = specs, .fd = -1};
    builder.layout.n_rows = state->n_rows;
    builder.layout.change_seq = change_seq;
    im_code rc = format_check_state(state, err);
    if (rc == IM_OK) {
        rc = check_specs(specs, n_specs, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    rc = im_folder_make(folder, err);
    if (rc == IM_OK) {
        rc = builder_init(&builder, specs, n_specs, folder, err);
    }
    if (rc != IM_OK) {
        goto out;
    }
    rc = im_file_open(builder.path, O_RDWR | O_CREAT | O_TRUNC, 0666, &builder.fd, err);
    if (rc != IM_OK) {
        goto out;
    }
    rc = write_all(&builder, state, source, context, err);
    if (rc == IM_OK) {
        rc = put_in_place(&builder, folder, state->generation, err);
    }
    if (rc != IM_OK) {
        (void)unlink(builder.path);
        goto out;
    }
    rc = im_folder_sync(folder, err);
out:
    builder_clear(&builder);
    return rc;
}
