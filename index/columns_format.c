/* index/columns_format.c — the column file's header, table and places. Only this file knows where a
 * field of its own lies. Sizes alone are stored: where a section begins follows from those before
 * it, so that no file can claim sections that overlap. */
#include "base/base.h"
#include "base/hash.h"
#include "index/columns_internal.h"
#include <inttypes.h>
#include <string.h>

#define VERSION 1u
#define ENTRY_BYTES 32u
#define MOST_BYTES (UINT64_C(1) << 60)
#define MOST_ROWS (UINT64_C(1) << 48)

/* Places in the header page. */
enum {
    AT_GENERATION = HEADER_AT_OWN,
    AT_ROWS = AT_GENERATION + 8,
    AT_SEQ = AT_ROWS + 8,
    AT_COLUMNS = AT_SEQ + 8,
    AT_TABLE = AT_COLUMNS + 8,
    AT_TABLE_BYTES = AT_TABLE + 8,
    AT_FILE_BYTES = AT_TABLE_BYTES + 8,
    AT_TABLE_CRC = AT_FILE_BYTES + 8,
    AT_END = AT_TABLE_CRC + 4
};

static const header_form form = {.magic = {'i', 'm', 'a', 'g', 'o', 'c', 'o', 'l'},
                                 .what = "column file",
                                 .hint = "'imago rebuild' makes it again from the library",
                                 .version = VERSION,
                                 .end = AT_END};

im_code columns_damaged(const char *path, const char *what, im_error *err)
{
    return header_damaged(&form, path, what, err);
}

/* ---- names ---- */

char *columns_path(const char *folder, uint64_t generation)
{
    char name[48];
    snprintf(name, sizeof(name), "columns.%" PRIu64, generation);
    return im_path_join(folder, name);
}

bool columns_parse_name(const char *name, uint64_t *out_generation)
{
    return header_parse_name(name, "columns.", "", out_generation);
}

/* ---- places ---- */

static bool place(columns_section *section, uint64_t count, uint64_t size, uint64_t *at,
                  uint64_t *block)
{
    uint64_t bytes = 0;
    if (!im_u64_mul(count, size, &bytes) || bytes > MOST_BYTES || *at > MOST_BYTES) {
        return false;
    }
    section->at = *at;
    section->bytes = bytes;
    section->first_block = *block;
    *at = (*at + bytes + 63) / 64 * 64;
    *block += columns_blocks_of(bytes);
    return true;
}

static uint64_t padded(uint64_t bytes)
{
    return (bytes + 7) / 8 * 8;
}

bool columns_place(columns_layout *layout)
{
    uint64_t at = HEADER_BYTES;
    uint64_t block = 0;
    uint64_t table = 0;
    bool fits = layout->n_rows <= MOST_ROWS &&
                place(&layout->items, layout->n_rows, sizeof(uint64_t), &at, &block);
    for (size_t i = 0; fits && i < layout->n_entries; i++) {
        columns_entry *entry = &layout->entries[i];
        fits = place(&entry->values, layout->n_rows, columns_value_bytes(entry->kind), &at, &block);
        table += ENTRY_BYTES + padded(entry->name_bytes);
    }
    for (size_t i = 0; fits && i < layout->n_entries; i++) {
        columns_entry *entry = &layout->entries[i];
        fits = place(&entry->ends, entry->n_words, sizeof(columns_end), &at, &block) &&
               place(&entry->originals, entry->originals.bytes, 1, &at, &block) &&
               place(&entry->folded, entry->folded.bytes, 1, &at, &block);
    }
    layout->n_blocks = block;
    layout->table_at = at;
    layout->table_bytes = table + 4 * block;
    layout->file_bytes = at + layout->table_bytes;
    return fits && layout->file_bytes <= MOST_BYTES;
}

/* ---- writing ---- */

void columns_write_table(const columns_layout *layout, const uint32_t *crcs, uint8_t *out)
{
    memset(out, 0, (size_t)layout->table_bytes);
    for (size_t i = 0; i < layout->n_entries; i++) {
        const columns_entry *entry = &layout->entries[i];
        header_put_u32(out, (uint32_t)entry->kind);
        header_put_u32(out + 4, (uint32_t)entry->name_bytes);
        header_put_u64(out + 8, entry->n_words);
        header_put_u64(out + 16, entry->originals.bytes);
        header_put_u64(out + 24, entry->folded.bytes);
        memcpy(out + ENTRY_BYTES, entry->name, entry->name_bytes);
        out += ENTRY_BYTES + padded(entry->name_bytes);
    }
    memcpy(out, crcs, (size_t)layout->n_blocks * sizeof(*crcs));
}

void columns_write_header(const im_index_state *state, const columns_layout *layout,
                          uint32_t table_crc, uint8_t page[HEADER_BYTES])
{
    header_begin(&form, state, page);
    header_put_u64(page + AT_GENERATION, state->generation);
    header_put_u64(page + AT_ROWS, layout->n_rows);
    header_put_u64(page + AT_SEQ, layout->change_seq);
    header_put_u64(page + AT_COLUMNS, layout->n_entries);
    header_put_u64(page + AT_TABLE, layout->table_at);
    header_put_u64(page + AT_TABLE_BYTES, layout->table_bytes);
    header_put_u64(page + AT_FILE_BYTES, layout->file_bytes);
    header_put_u32(page + AT_TABLE_CRC, table_crc);
    header_seal(page);
}

/* ---- reading ---- */

static im_code check_identity(const uint8_t *page, const im_index_state *state, uint64_t change_seq,
                              const char *path, im_error *err)
{
    const header_field generation = {"generation", header_u64(page + AT_GENERATION),
                                     state->generation};
    im_code rc = header_check(&form, page, state, path, err);
    if (rc == IM_OK) {
        rc = header_check_fields(&form, path, &generation, 1, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    const struct {
        const char *name;
        uint64_t found, most;
    } fields[] = {
        {"number of rows", header_u64(page + AT_ROWS), state->n_rows},
        {"change number", header_u64(page + AT_SEQ), change_seq},
        {"number of columns", header_u64(page + AT_COLUMNS), COLUMNS_MOST},
    };
    for (size_t i = 0; i < IM_COUNT(fields); i++) {
        if (fields[i].found > fields[i].most) {
            char what[120];
            snprintf(what, sizeof(what), "%s is %" PRIu64 ", expected at most %" PRIu64,
                     fields[i].name, fields[i].found, fields[i].most);
            return columns_damaged(path, what, err);
        }
    }
    return IM_OK;
}

static im_code check_length(uint64_t size, const uint8_t *page, const char *path, im_error *err)
{
    uint64_t table_at = header_u64(page + AT_TABLE);
    uint64_t table_bytes = header_u64(page + AT_TABLE_BYTES);
    const header_field length = {"length", size, header_u64(page + AT_FILE_BYTES)};
    im_code rc = header_check_fields(&form, path, &length, 1, err);
    if (rc != IM_OK) {
        return rc;
    }
    if (table_at < HEADER_BYTES || table_at > size || table_bytes != size - table_at ||
        table_bytes / ENTRY_BYTES < header_u64(page + AT_COLUMNS)) {
        return columns_damaged(path, "its table does not fit into it", err);
    }
    return IM_OK;
}

/* Reads one entry of the table; 0 when it does not fit in, else its length. */
static uint64_t read_entry(const uint8_t *p, uint64_t left, columns_entry *out)
{
    if (left < ENTRY_BYTES) {
        return 0;
    }
    uint32_t kind = header_u32(p);
    uint64_t bytes = ENTRY_BYTES + padded(header_u32(p + 4));
    if (kind > IM_COLUMN_TEXT || bytes > left) {
        return 0;
    }
    out->kind = (im_column_kind)kind;
    out->name = (const char *)p + ENTRY_BYTES;
    out->name_bytes = header_u32(p + 4);
    out->n_words = header_u64(p + 8);
    out->originals.bytes = header_u64(p + 16);
    out->folded.bytes = header_u64(p + 24);
    bool plain = out->n_words == 0 && out->originals.bytes == 0 && out->folded.bytes == 0;
    return plain || (kind == IM_COLUMN_TEXT && out->n_words < COLUMNS_NO_WORD / 2) ? bytes : 0;
}

static void point(columns_section *section, const uint8_t *data)
{
    section->data = data + section->at;
}

static im_code read_table(const uint8_t *data, const uint8_t *page, const char *path,
                          columns_layout *out, const uint8_t **out_crcs, im_error *err)
{
    const char *lies = "its table is not one that was written";
    uint64_t at = header_u64(page + AT_TABLE);
    uint64_t left = header_u64(page + AT_TABLE_BYTES);
    if (im_crc32c(0, data + at, (size_t)left) != header_u32(page + AT_TABLE_CRC)) {
        return columns_damaged(path, "its table fails its checksum", err);
    }
    for (size_t i = 0; i < out->n_entries; i++) {
        uint64_t bytes = read_entry(data + at, left, &out->entries[i]);
        if (bytes == 0) {
            return columns_damaged(path, lies, err);
        }
        at += bytes;
        left -= bytes;
    }
    if (!columns_place(out) || out->table_at != header_u64(page + AT_TABLE) ||
        out->file_bytes != header_u64(page + AT_FILE_BYTES)) {
        return columns_damaged(path, lies, err);
    }
    point(&out->items, data);
    for (size_t i = 0; i < out->n_entries; i++) {
        columns_entry *entry = &out->entries[i];
        point(&entry->values, data);
        point(&entry->ends, data);
        point(&entry->originals, data);
        point(&entry->folded, data);
    }
    *out_crcs = data + at;
    return IM_OK;
}

static im_code read_header(int fd, const char *path, const im_index_state *state,
                           uint64_t change_seq, uint8_t page[HEADER_BYTES], im_error *err)
{
    uint64_t size = 0;
    im_code rc = header_stat(&form, fd, path, &size, err);
    if (rc == IM_OK && size < HEADER_BYTES) {
        rc = columns_damaged(path, "it is shorter than its header", err);
    }
    if (rc == IM_OK) {
        rc = im_file_pread(fd, page, HEADER_BYTES, 0, path, err);
    }
    if (rc == IM_OK) {
        rc = check_identity(page, state, change_seq, path, err);
    }
    return rc == IM_OK ? check_length(size, page, path, err) : rc;
}

im_code columns_read(int fd, const char *path, const im_index_state *state, uint64_t change_seq,
                     columns_layout *out, const uint8_t **out_crcs, im_map **out_map, im_error *err)
{
    uint8_t page[HEADER_BYTES];
    columns_layout layout = {0};
    im_map *map = NULL;
    im_code rc = read_header(fd, path, state, change_seq, page, err);
    if (rc != IM_OK) {
        return rc;
    }
    layout.n_rows = header_u64(page + AT_ROWS);
    layout.change_seq = header_u64(page + AT_SEQ);
    layout.n_entries = (size_t)header_u64(page + AT_COLUMNS);
    layout.entries = im_alloc_zero(layout.n_entries, sizeof(columns_entry));
    if (layout.entries == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for %zu columns", layout.n_entries);
        goto out;
    }
    rc = im_map_fd(fd, (size_t)header_u64(page + AT_FILE_BYTES), path, &map, err);
    if (rc != IM_OK) {
        goto out;
    }
    rc = read_table(im_map_data(map), page, path, &layout, out_crcs, err);
    if (rc != IM_OK) {
        goto out;
    }
    *out = layout;
    *out_map = map;
    layout.entries = NULL;
    map = NULL;
out:
    im_free(layout.entries);
    im_map_close(map);
    return rc;
}
