/* app/exchange_internal.h — what `export` writes and `import` reads: a folder of vectors.npy,
 * items.jsonl and model.json (docs/formats/exchange.md). */
#ifndef IM_APP_EXCHANGE_INTERNAL_H
#define IM_APP_EXCHANGE_INTERNAL_H

#include "app/app_internal.h"
#include "app/npy_internal.h"

#define EXCHANGE_VECTORS "vectors.npy"
#define EXCHANGE_ITEMS "items.jsonl"
#define EXCHANGE_MODEL "model.json"

/* ---- export_row.c ---- */

/** One line of items.jsonl, with its end, appended to w->out. The caller's snapshot holds. */
IM_NODISCARD im_code export_row(im_store *store, const root_list *roots, const im_item *item,
                                const char *model, im_json_writer *w, im_error *err);

/* ---- import_row.c ---- */

typedef struct import_tag {
    const char *name;
    im_text_source source;
} import_tag;

typedef struct import_field {
    const char *name;
    im_value value;
} import_field;

/** One line of items.jsonl as it was read; texts are borrowed from `json`. */
typedef struct import_row {
    json_t *json; /* owned; NULL: there is no items.jsonl */
    im_item item; /* sha256 only when has_sha256 */
    bool has_sha256;
    const char *key;      /* NULL: none */
    const char *identity; /* tells pictures of one vector apart when there is no sha256; NULL */
    im_str name;          /* what an item without a file goes by */
    import_tag *tags;     /* owned, like the next two */
    size_t n_tags;
    im_caption *captions;
    size_t n_captions;
    import_field *fields;
    size_t n_fields;
} import_row;

/** Reads one line; size 0: what a row without one is. Sentences name the key, not the row. To be
 * cleared also after a failure. */
IM_NODISCARD im_code import_row_read(const char *line, size_t size, uint64_t row, import_row *out,
                                     im_error *err);
void import_row_clear(import_row *row);

/* ---- import_source.c ---- */

/** The opened folder of an import, read from front to back as often as wanted. */
typedef struct import_source {
    char *npy_name;   /* path, for sentences; owned, like the next two */
    char *items_name; /* NULL: there is no items.jsonl */
    char *model_name;
    int npy, items; /* descriptors, -1: not open */
    npy_head head;
    uint64_t next_row; /* of import_source_read */
    uint64_t items_at, items_bytes;
    uint64_t n_lines; /* read so far */
    im_str line;      /* bytes of items.jsonl read, not yet used */
    size_t line_used;
    uint8_t *raw; /* [IMPORT_ROWS, row_bytes] */
    bool normalise;
    uint64_t n_normalised;
} import_source;

#define IMPORT_ROWS 1024u /* rows read, written and committed together */

/** Opens the folder's files and reads the header. To be closed also after a failure. */
IM_NODISCARD im_code import_source_open(const char *folder, bool normalise, import_source *out,
                                        im_error *err);
/** Back to row 0. */
void import_source_rewind(import_source *source);
/** Reads the next rows, at most IMPORT_ROWS, each checked: vectors finite, of unit length (made so
 * with `normalise`), lines as import_row_read wants them. Sentences name file and row.
 * @param rows [IMPORT_ROWS], vectors [IMPORT_ROWS, dim]: the first *out_n are filled, rows to be
 * cleared also after a failure; 0 behind the last row, which also holds the counts of the files
 * against each other */
IM_NODISCARD im_code import_source_read(import_source *source, import_row *rows, float *vectors,
                                        size_t *out_n, im_error *err);
void import_source_close(import_source *source);
/** Adds file and row to the sentence of an error: "'FILE', row 3: …". */
void import_at_row(const char *file, uint64_t row, im_error *error);

/* ---- import_model.c ---- */

typedef struct import_model {
    char name[128];
    char digest[65]; /* of its files */
    size_t dim;
    bool int8;   /* the class of its vectors */
    bool is_new; /* the library has none yet */
} import_model;

/** Finds the library's model, or the one that `add` would give it, and holds model.json and the
 * dimension of vectors.npy against it; model_mismatch, vector_invalid. Nothing is written.
 * @param trust  model.json may be missing */
IM_NODISCARD im_code import_model_check(im_library *library, const import_source *source,
                                        bool trust, import_model *out, im_error *err);

#endif
