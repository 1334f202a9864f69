/* app/meta_internal.h — `add --meta`: files of lines that give items fields, keys, tags and
 * captions. meta_source.c hands out pieces of the file, meta_json.c and meta_csv.c make rows of
 * them behind the one reader of meta_read.c, meta_apply.c writes a batch of rows, meta.c is the use
 * case. A row holds what its line says and nothing of the library. */
#ifndef IM_APP_META_INTERNAL_H
#define IM_APP_META_INTERNAL_H

#include "app/app_internal.h"

/* ---- rows ---- */

typedef enum meta_kind {
    META_VALUE, /* has the type it has */
    META_TEXT,  /* a text of JSON: a date where the field is one */
    META_CELL,  /* a cell without a type: read as the field is registered, else text */
    META_DROP   /* null: the field is taken away */
} meta_kind;

typedef struct meta_pair {
    const char *name; /* of the row, or of the reader's header */
    meta_kind kind;
    im_value value; /* META_TEXT, META_CELL: value.text; borrowed from the row */
} meta_pair;

/** One line. Texts belong to the row's own memory and live until meta_row_clear. */
typedef struct meta_row {
    uint64_t line;  /* where it begins, from 1 */
    im_error error; /* code IM_OK, else why the line cannot be used: nothing below is to be read */
    const char *path; /* NULL: none; as written */
    uint64_t id;      /* 0: none */
    const char *key;  /* NULL: none. Without path and id it names the item, else it is set */
    bool drops_key;
    const char **tags; /* [n_tags], owned array */
    size_t n_tags;
    bool drops_tags;
    const char **removes; /* [n_removes] tags to take away, owned array */
    size_t n_removes;
    im_view caption; /* data NULL: none */
    bool drops_caption;
    meta_pair *pairs; /* [n_pairs], owned */
    size_t n_pairs;
    json_t *json; /* owned: of a line of JSON */
    char *text;   /* owned: of a line of cells */
    size_t bytes; /* of the line, for the size of a batch */
} meta_row;

void meta_row_clear(meta_row *row);
/** What both readers refuse of a row that is filled: no or several names of an item, names given
 * twice, and what the library would refuse for its own sake. Fills row->error. */
void meta_row_check(meta_row *row);
/** The part of meta_row_check that does not ask which item is meant. */
IM_NODISCARD im_code meta_row_check_values(const meta_row *row, im_error *err);
/** Reads the text of an id; false when it is none. */
bool meta_row_id(meta_row *row, const char *text);

/** Reads a cell as a type: as im_value_parse, but blanks around do not count (of a text they do),
 * and TRUE is true, as spreadsheets write it. */
IM_NODISCARD im_code meta_cell_value(const char *field, im_value_type type, im_view cell,
                                     im_value *out, im_error *err);
im_view meta_trim(im_view text);
/** Puts "FILE:LINE: " before the sentence of an error. */
void meta_error_place(im_error *error, const char *file, uint64_t line);

/** Words that mean something other than a field, in any case. */
typedef enum meta_word {
    META_WORD_FIELD,
    META_WORD_PATH,
    META_WORD_ID,
    META_WORD_KEY,
    META_WORD_TAGS,
    META_WORD_CAPTION
} meta_word;
meta_word meta_word_of(const char *name);

/* ---- meta_source.c ---- */

/** A file read forward once, in pieces. */
typedef struct meta_source meta_source;

/** Opens a regular file, skips the mark of UTF-8; IM_ERR_FORMAT for UTF-16. */
IM_NODISCARD im_code meta_source_open(const char *path, meta_source **out, im_error *err);
void meta_source_close(meta_source *source);
/** The next piece: up to and with the next '\n' or '\r', or less when that is far. Borrowed until
 * the next call; size 0 at the end. */
IM_NODISCARD im_code meta_source_next(meta_source *source, im_view *out, im_error *err);
/** Line of the byte behind the last piece, from 1 ("\r\n" is one line end). */
uint64_t meta_source_line(const meta_source *source);
const char *meta_source_name(const meta_source *source);

/* ---- meta_json.c, meta_csv.c ---- */

/** Reads the next line with something on it into a zeroed row; *out_more false at the end. A line
 * that is wrong is told in row->error; what is returned ends the reading. */
IM_NODISCARD im_code meta_json_next(meta_source *source, im_str *line, meta_row *row,
                                    bool *out_more, im_error *err);

/** A field's value as JSON writes it. */
IM_NODISCARD im_code meta_json_pair(const char *name, const json_t *value, meta_pair *pair,
                                    im_error *err);
/** row->tags (null: drops_tags) of an array of texts; fills row->error. */
IM_NODISCARD im_code meta_json_tags(meta_row *row, const json_t *value);
/** field_value: "'name': found a number, expected text". */
IM_NODISCARD im_code meta_json_wrong(im_error *err, const char *name, const char *expected,
                                     const json_t *found);

typedef struct meta_column {
    char *name; /* owned; as written, without its type */
    meta_word word;
    bool typed; /* type was written */
    im_value_type type;
} meta_column;

typedef struct meta_csv meta_csv;

/** Reads the header. What is wrong with it concerns every line: the file is refused, naming line
 * and column. */
IM_NODISCARD im_code meta_csv_open(meta_source *source, meta_csv **out, im_error *err);
void meta_csv_close(meta_csv *csv);
IM_NODISCARD im_code meta_csv_next(meta_csv *csv, meta_row *row, bool *out_more, im_error *err);
const meta_column *meta_csv_columns(const meta_csv *csv, size_t *out_n);

/* ---- meta_read.c ---- */

typedef struct meta_reader meta_reader;

/** Opens FILE.jsonl (.ndjson) or FILE.csv. */
IM_NODISCARD im_code meta_reader_open(const char *path, meta_reader **out, im_error *err);
void meta_reader_close(meta_reader *reader);
/** As meta_json_next; a row is to be cleared in each case. A failure of memory ends the reading. */
IM_NODISCARD im_code meta_reader_next(meta_reader *reader, meta_row *row, bool *out_more,
                                      im_error *err);
/** Columns of a CSV file, none of JSON lines. */
const meta_column *meta_reader_columns(const meta_reader *reader, size_t *out_n);

/* ---- meta_apply.c ---- */

#define META_BATCH_ROWS 512u
#define META_BATCH_BYTES (8u << 20)

typedef struct meta_batch {
    meta_row rows[META_BATCH_ROWS];
    size_t n, bytes;
} meta_batch;

/** Where relative paths of a file begin, and the last folder that was looked up: most lines name
 * files of the same one. */
typedef struct meta_places {
    char *folder; /* owned: of the file, absolute */
    char *asked;  /* owned: the folder looked up last … */
    char *real;   /* owned: … and what it really is, NULL when it is not there */
} meta_places;

void meta_places_clear(meta_places *places);
/** Finds the item of a path; *out_item 0 when the library has none. */
IM_NODISCARD im_code meta_find_path(im_store *store, meta_places *places, const root_list *roots,
                                    const char *path, uint64_t *out_item, im_error *err);

/** Asks what the library would refuse of a row, whose item row->id names (0: one that will be
 * made), and writes it unless only_check. A transaction of its own. key_taken when another item has
 * the key and may not lose it. */
IM_NODISCARD im_code meta_apply_one(im_store *store, meta_row *row, bool only_check,
                                    bool may_take_key, im_error *err);

typedef struct meta_counts {
    uint64_t set, failed, replaced;
} meta_counts;

/** Writes the rows of a batch: lock, one transaction, unlock. A row that cannot be applied has its
 * error filled and changes nothing. Adds to counts when all is committed. */
IM_NODISCARD im_code meta_apply_batch(im_library *library, meta_places *places, meta_batch *batch,
                                      meta_counts *counts, im_error *err);

/* ---- meta.c ---- */

typedef struct meta_run meta_run;

/** Opens the file and holds its header against the library: what is wrong with the file as a whole
 * is known before any work. */
IM_NODISCARD im_code meta_open(im_library *library, const char *path, meta_run **out,
                               im_error *err);
/** Applies all lines; those that cannot be are told. Ends early, with all before kept, when a stop
 * is asked for. Counts into the report also when it fails on the way; *first is the first line's
 * failure (code IM_OK: none). */
IM_NODISCARD im_code meta_apply(meta_run *run, const im_events *events, im_add_report *report,
                                im_error *first, im_error *err);
void meta_close(meta_run *run);

#endif
