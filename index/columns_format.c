/* index/columns_format.c — the column file's header, table and places. Only this file knows where a
 * field lies. Sizes alone are stored: where a section begins follows from those before it, so that
 * no file can claim sections that overlap. Numbers are little-endian, as in format.c. */
#include "base/base.h"
#include "base/hash.h"
#include "index/columns_internal.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#define VERSION 1u
#define ORDER_MARK 0x01020304u
#define DIGEST_BYTES 64u
#define ENTRY_BYTES 32u
#define MOST_BYTES (UINT64_C(1) << 60)
#define MOST_ROWS (UINT64_C(1) << 48)

static const char magic[8] = {'i', 'm', 'a', 'g', 'o', 'c', 'o', 'l'};

/* Places in the header page. */
enum {
    AT_MAGIC = 0,
    AT_VERSION = 8,
    AT_ORDER = 12,
    AT_LIBRARY = 16,
    AT_DIGEST = 32,
    AT_GENERATION = 96,
    AT_ROWS = 104,
    AT_SEQ = 112,
    AT_COLUMNS = 120,
    AT_TABLE = 128,
    AT_TABLE_BYTES = 136,
    AT_FILE_BYTES = 144,
    AT_TABLE_CRC = 152,
    AT_END = 156, /* zeros from here to the checksum */
    AT_CRC = COLUMNS_HEADER_BYTES - 4
};

static uint32_t get_u32(const uint8_t *p)
{
    uint32_t value;
    memcpy(&value, p, sizeof(value));
    return value;
}

static uint64_t get_u64(const uint8_t *p)
{
    uint64_t value;
    memcpy(&value, p, sizeof(value));
    return value;
}

static void put_u32(uint8_t *p, uint32_t value)
{
    memcpy(p, &value, sizeof(value));
}

static void put_u64(uint8_t *p, uint64_t value)
{
    memcpy(p, &value, sizeof(value));
}

im_code columns_damaged(const char *path, const char *what, im_error *err)
{
    im_code rc = im_fail_as(err, IM_REASON_INDEX_DAMAGED, "column file '%s': %s", path, what);
    im_hint(err, "'imago rebuild' makes it again from the library");
    return rc;
}

static im_code damaged_field(const char *path, const char *field, uint64_t found, uint64_t expected,
                             im_error *err)
{
    char what[120];
    snprintf(what, sizeof(what), "%s is %" PRIu64 ", expected %" PRIu64, field, found, expected);
    return columns_damaged(path, what, err);
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
    static const char head[] = "columns.";
    size_t length = strlen(head);
    return strncmp(name, head, length) == 0 && name[length] != '0' &&
           im_parse_u64(name + length, 1, UINT64_MAX, out_generation);
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
    uint64_t at = COLUMNS_HEADER_BYTES;
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
        put_u32(out, (uint32_t)entry->kind);
        put_u32(out + 4, (uint32_t)entry->name_bytes);
        put_u64(out + 8, entry->n_words);
        put_u64(out + 16, entry->originals.bytes);
        put_u64(out + 24, entry->folded.bytes);
        memcpy(out + ENTRY_BYTES, entry->name, entry->name_bytes);
        out += ENTRY_BYTES + padded(entry->name_bytes);
    }
    memcpy(out, crcs, (size_t)layout->n_blocks * sizeof(*crcs));
}

void columns_write_header(const im_index_state *state, const columns_layout *layout,
                          uint32_t table_crc, uint8_t page[COLUMNS_HEADER_BYTES])
{
    memset(page, 0, COLUMNS_HEADER_BYTES);
    memcpy(page + AT_MAGIC, magic, sizeof(magic));
    put_u32(page + AT_VERSION, VERSION);
    put_u32(page + AT_ORDER, ORDER_MARK);
    memcpy(page + AT_LIBRARY, state->library_id, sizeof(state->library_id));
    memcpy(page + AT_DIGEST, state->model_digest,
           strnlen(state->model_digest, sizeof(state->model_digest)));
    put_u64(page + AT_GENERATION, state->generation);
    put_u64(page + AT_ROWS, layout->n_rows);
    put_u64(page + AT_SEQ, layout->change_seq);
    put_u64(page + AT_COLUMNS, layout->n_entries);
    put_u64(page + AT_TABLE, layout->table_at);
    put_u64(page + AT_TABLE_BYTES, layout->table_bytes);
    put_u64(page + AT_FILE_BYTES, layout->file_bytes);
    put_u32(page + AT_TABLE_CRC, table_crc);
    put_u32(page + AT_CRC, im_crc32c(0, page, AT_CRC));
}

/* ---- reading ---- */

static im_code check_form(const uint8_t *page, const char *path, im_error *err)
{
    if (memcmp(page + AT_MAGIC, magic, sizeof(magic)) != 0) {
        return columns_damaged(path, "it does not begin like a column file", err);
    }
    if (get_u32(page + AT_ORDER) != ORDER_MARK) {
        return columns_damaged(path, "it was written by a machine of another byte order", err);
    }
    if (get_u32(page + AT_CRC) != im_crc32c(0, page, AT_CRC)) {
        return columns_damaged(path, "its header fails its checksum", err);
    }
    if (get_u32(page + AT_VERSION) != VERSION) {
        return damaged_field(path, "format version", get_u32(page + AT_VERSION), VERSION, err);
    }
    return IM_OK;
}

static im_code check_identity(const uint8_t *page, const im_index_state *state, uint64_t change_seq,
                              const char *path, im_error *err)
{
    char digest[DIGEST_BYTES + 1] = "";
    memcpy(digest, page + AT_DIGEST, DIGEST_BYTES);
    if (memcmp(page + AT_LIBRARY, state->library_id, sizeof(state->library_id)) != 0) {
        return columns_damaged(path, "it belongs to another library", err);
    }
    if (strncmp(digest, state->model_digest, sizeof(digest)) != 0) {
        return columns_damaged(path, "it belongs to another model", err);
    }
    if (get_u64(page + AT_GENERATION) != state->generation) {
        return damaged_field(path, "generation", get_u64(page + AT_GENERATION), state->generation,
                             err);
    }
    const struct {
        const char *name;
        uint64_t found, most;
    } fields[] = {
        {"number of rows", get_u64(page + AT_ROWS), state->n_rows},
        {"change number", get_u64(page + AT_SEQ), change_seq},
        {"number of columns", get_u64(page + AT_COLUMNS), COLUMNS_MOST},
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
    uint64_t table_at = get_u64(page + AT_TABLE);
    uint64_t table_bytes = get_u64(page + AT_TABLE_BYTES);
    if (size != get_u64(page + AT_FILE_BYTES)) {
        return damaged_field(path, "length", size, get_u64(page + AT_FILE_BYTES), err);
    }
    if (table_at < COLUMNS_HEADER_BYTES || table_at > size || table_bytes != size - table_at ||
        table_bytes / ENTRY_BYTES < get_u64(page + AT_COLUMNS)) {
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
    uint32_t kind = get_u32(p);
    uint64_t bytes = ENTRY_BYTES + padded(get_u32(p + 4));
    if (kind > IM_COLUMN_TEXT || bytes > left) {
        return 0;
    }
    out->kind = (im_column_kind)kind;
    out->name = (const char *)p + ENTRY_BYTES;
    out->name_bytes = get_u32(p + 4);
    out->n_words = get_u64(p + 8);
    out->originals.bytes = get_u64(p + 16);
    out->folded.bytes = get_u64(p + 24);
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
    uint64_t at = get_u64(page + AT_TABLE);
    uint64_t left = get_u64(page + AT_TABLE_BYTES);
    if (im_crc32c(0, data + at, (size_t)left) != get_u32(page + AT_TABLE_CRC)) {
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
    if (!columns_place(out) || out->table_at != get_u64(page + AT_TABLE) ||
        out->file_bytes != get_u64(page + AT_FILE_BYTES)) {
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
                           uint64_t change_seq, uint8_t page[COLUMNS_HEADER_BYTES], im_error *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0) {
        return im_fail_errno(err, errno, "could not ask for the length of '%s'", path);
    }
    if (!S_ISREG(info.st_mode)) {
        return columns_damaged(path, "it is not a regular file", err);
    }
    if (info.st_size < (off_t)COLUMNS_HEADER_BYTES) {
        return columns_damaged(path, "it is shorter than its header", err);
    }
    im_code rc = im_file_pread(fd, page, COLUMNS_HEADER_BYTES, 0, path, err);
    if (rc == IM_OK) {
        rc = check_form(page, path, err);
    }
    if (rc == IM_OK) {
        rc = check_identity(page, state, change_seq, path, err);
    }
    return rc == IM_OK ? check_length((uint64_t)info.st_size, page, path, err) : rc;
}

im_code columns_read(int fd, const char *path, const im_index_state *state, uint64_t change_seq,
                     columns_layout *out, const uint8_t **out_crcs, im_map **out_map, im_error *err)
{
    uint8_t page[COLUMNS_HEADER_BYTES];
    columns_layout layout = {0};
    im_map *map = NULL;
    im_code rc = read_header(fd, path, state, change_seq, page, err);
    if (rc != IM_OK) {
        return rc;
    }
    layout.n_rows = get_u64(page + AT_ROWS);
    layout.change_seq = get_u64(page + AT_SEQ);
    layout.n_entries = (size_t)get_u64(page + AT_COLUMNS);
    layout.entries = im_alloc_zero(layout.n_entries, sizeof(columns_entry));
    if (layout.entries == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for %zu columns", layout.n_entries);
        goto out;
    }
    rc = im_map_fd(fd, (size_t)get_u64(page + AT_FILE_BYTES), path, &map, err);
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
