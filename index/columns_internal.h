/* index/columns_internal.h — the column file's bytes, the opened columns, and what their parts
 * share. docs/formats/index.md draws the file. Letters: n rows (slots). */
#ifndef IM_INDEX_COLUMNS_INTERNAL_H
#define IM_INDEX_COLUMNS_INTERNAL_H

#include "base/file.h"
#include "index/header_internal.h"
#include "index/index.h"
#include <stdatomic.h>

#define COLUMNS_BLOCK_BYTES 65536u
#define COLUMNS_CHUNK 8192u /* slots looked at together: a block of eight-byte values */
#define COLUMNS_CHUNK_WORDS (COLUMNS_CHUNK / 64)
#define COLUMNS_NO_WORD UINT32_MAX
#define COLUMNS_MOST 65536u /* columns of a file */
#define COLUMNS_DEPTH 256u  /* of a condition */

static inline size_t columns_words_of(uint64_t n_slots)
{
    return (size_t)((n_slots + 63) / 64);
}

static inline uint64_t columns_blocks_of(uint64_t bytes)
{
    return (bytes + COLUMNS_BLOCK_BYTES - 1) / COLUMNS_BLOCK_BYTES;
}

/* ---- texts that differ (columns_words.c) ---- */

/** Where the bytes of a text and of its folded form end. In the file as it is here. */
typedef struct columns_end {
    uint64_t original, folded;
} columns_end;

/** A growing set of texts, numbered from 0 as they came. Zero is empty. */
typedef struct columns_words {
    columns_end *ends;        /* [n] */
    char *originals, *folded; /* a NUL follows each folded text */
    uint32_t *table;          /* [n_table] number + 1 of a text, 0 free */
    size_t n, n_table, ends_capacity, originals_capacity, folded_capacity;
} columns_words;

/** Number of a text, which is added when it is new; COLUMNS_NO_WORD for the empty one. */
IM_NODISCARD im_code words_intern(columns_words *words, im_view text, uint32_t *out, im_error *err);
/** Numbers in the order of (folded, original). @param out_order [words->n] */
void words_sort(const columns_words *words, uint32_t *out_order);
void words_clear(columns_words *words);

/** Texts to read, of a set or of a file. */
typedef struct columns_texts {
    size_t n;
    const columns_end *ends;
    const char *originals, *folded;
    uint64_t original_bytes, folded_bytes;
} columns_texts;

columns_texts words_texts(const columns_words *words);
im_view words_original(const columns_texts *texts, uint32_t word);
im_view words_folded(const columns_texts *texts, uint32_t word);
/** By bytes; a shorter text before those that it begins. */
int words_compare(im_view a, im_view b);

/* ---- the file (columns_format.c) ---- */

/** A run of bytes of the file with checksums of its own. */
typedef struct columns_section {
    const uint8_t *data;
    uint64_t at, bytes;
    uint64_t first_block; /* number of its first block in the file */
} columns_section;

/** A column as the file has it. Sections but `values` are for texts alone. */
typedef struct columns_entry {
    const char *name; /* borrowed from the specs, or from the file's table, not terminated */
    size_t name_bytes;
    im_column_kind kind;
    uint64_t n_words;
    columns_section values; /* [n] i64, f64 or u32 number of a word */
    columns_section ends;   /* [n_words] columns_end */
    columns_section originals, folded;
} columns_entry;

/** Everything but the bytes. */
typedef struct columns_layout {
    uint64_t n_rows, change_seq;
    columns_section items;  /* [n] u64 */
    columns_entry *entries; /* [n_entries], owned */
    size_t n_entries;
    uint64_t n_blocks, table_at, table_bytes, file_bytes;
} columns_layout;

static inline size_t columns_value_bytes(im_column_kind kind)
{
    return kind == IM_COLUMN_TEXT ? sizeof(uint32_t) : sizeof(uint64_t);
}

/** Works out where each section lies, from n_rows and the entries' kinds and section bytes. The
 * layout follows from the sizes alone: there is nothing in the file that could overlap. false when
 * the sum passes what a file can hold. */
bool columns_place(columns_layout *layout);
/** "folder/columns.<generation>" in a new string, NULL when memory is out. */
char *columns_path(const char *folder, uint64_t generation);
/** The generation in a file name "columns.<generation>"; false for any other name. */
bool columns_parse_name(const char *name, uint64_t *out_generation);
/** The table [layout->table_bytes]: entries, then the checksums of the blocks. */
void columns_write_table(const columns_layout *layout, const uint32_t *crcs, uint8_t *out);
void columns_write_header(const im_index_state *state, const columns_layout *layout,
                          uint32_t table_crc, uint8_t page[HEADER_BYTES]);
/** Reads and checks header, length and table of an open file, and maps it. All that *out has
 * points into the mapping, or is owned by it. index_damaged. @param out_crcs [n_blocks] */
IM_NODISCARD im_code columns_read(int fd, const char *path, const im_index_state *state,
                                  uint64_t change_seq, columns_layout *out,
                                  const uint8_t **out_crcs, im_map **out_map, im_error *err);
IM_NODISCARD im_code columns_damaged(const char *path, const char *what, im_error *err);

/* ---- the opened columns (columns.c) ---- */

typedef struct columns_column {
    char *name; /* owned */
    im_column_kind kind;
    const columns_entry *entry; /* NULL: the file does not have it */
    _Atomic bool words_sound;   /* the ends of its words were checked */
    columns_words patched;      /* words of the patch; their numbers follow those of the file */
    uint32_t *patched_order;    /* [patched.n] sorted by (folded, original) */
    uint64_t *patched_keys;     /* [patched.n] see columns_sort.c */
} columns_column;

/** Values of slots that changed since the file was written. */
typedef struct columns_patch {
    size_t n;
    uint64_t *slots;  /* [n] ascending */
    uint64_t *items;  /* [n] */
    uint64_t *values; /* [n, n_columns] bits of the double or integer, or number of the word */
} columns_patch;

struct im_columns {
    char *path;
    im_map *map;
    columns_layout layout;
    const uint8_t *crcs;       /* [n_blocks] u32, in the map */
    _Atomic uint64_t *checked; /* bit per block: its checksum was right */
    columns_column *columns;   /* [n_columns] in the order of the specs */
    size_t n_columns;
    uint64_t n_rows; /* of the snapshot */
    uint64_t seq;    /* of the values */
    columns_patch patch;
};

/** Checks the blocks that hold these bytes, unless it was done. Thread-safe. */
IM_NODISCARD im_code columns_touch(im_columns *columns, const columns_section *section,
                                   uint64_t first, uint64_t bytes, im_error *err);
/** As columns_touch for all words of a text column, and their ends; needed before they are read. */
IM_NODISCARD im_code columns_touch_words(im_columns *columns, columns_column *column,
                                         im_error *err);
/** map_lost when the file was cut since it was opened: nothing read from it counts. */
IM_NODISCARD im_code columns_check_map(const im_columns *columns, im_error *err);
/** IM_ERR_INVALID when there is no such column. */
IM_NODISCARD im_code columns_find(im_columns *columns, const char *name, columns_column **out,
                                  im_error *err);
/** What the value of this row is made of has been checked. IM_ERR_INVALID for a slot that there is
 * not. */
IM_NODISCARD im_code columns_touch_row(im_columns *columns, columns_column *column, uint64_t slot,
                                       im_error *err);
/** As columns_find, and what the value of this row is made of has been touched. IM_ERR_INVALID for
 * a slot that there is not. */
IM_NODISCARD im_code columns_find_row(im_columns *columns, const char *name, uint64_t slot,
                                      columns_column **out, im_error *err);
/** Bits of the value of a row; for texts the number of its word, COLUMNS_NO_WORD for none. Its
 * block must have been touched. @param patched_row row of the patch, SIZE_MAX: none */
uint64_t columns_bits(const im_columns *columns, const columns_column *column, uint64_t slot,
                      size_t patched_row);
/** Item of a slot, IM_NO_ITEM when it has none. Its block must have been touched. */
uint64_t columns_item(const im_columns *columns, uint64_t slot, size_t patched_row);
/** First row of the patch at or behind a slot. */
size_t columns_patch_from(const im_columns *columns, uint64_t slot);
/** The row of the patch that stands for a slot, SIZE_MAX for none. */
size_t columns_patched_row(const im_columns *columns, uint64_t slot);

static inline uint32_t columns_file_words(const columns_column *column)
{
    return column->entry != NULL ? (uint32_t)column->entry->n_words : 0;
}
/** The texts of a column in its file. */
columns_texts columns_texts_of(const columns_column *column);
im_view columns_word(const columns_column *column, uint32_t word, bool folded);
/** Works out patched_order and patched_keys of new words. The words of the file must have been
 * touched. */
IM_NODISCARD im_code columns_order_patched(columns_column *column, im_error *err);
/** A number that all words share that are folded alike. */
uint64_t columns_fold_key(const columns_column *column, im_view folded);

static inline bool columns_has_value(im_column_kind kind, uint64_t bits)
{
    double number;
    __builtin_memcpy(&number, &bits, sizeof(number));
    return kind == IM_COLUMN_NUMBER    ? number == number
           : kind == IM_COLUMN_INTEGER ? bits != (uint64_t)IM_COLUMN_NO_INTEGER
                                       : bits != COLUMNS_NO_WORD;
}

#endif
