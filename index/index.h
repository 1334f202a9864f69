/* index/index.h — nearest-neighbour search over the unit vectors of one model; the door of index/.
 *
 * The folder of an index holds rebuildable caches of what SQLite knows: a file of rows (row =
 * slot), each a float32 vector, its item id and a CRC-32C over both, so that row and item can never
 * disagree. This room knows nothing of SQL: the caller says what must be true (im_index_state and
 * the bitmap of slots alive, from one database snapshot) and gets IM_ERR_FORMAT (index_damaged)
 * when the files do not agree; it then rebuilds with im_index_create and append.
 *
 * Readers: an opened im_index is immutable; any number of threads may search it. Writers: one at a
 * time (the library's lock). Letters: n rows (slots), d dim, m parts of a query. */
#ifndef IM_INDEX_INDEX_H
#define IM_INDEX_INDEX_H

#include "base/error.h"
#include "base/pool.h"
#include "base/text.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IM_NO_ITEM UINT64_MAX
/** The tiered engine proves its answer while at most so many rows pass, when the query leaves it
 * open. */
#define IM_INDEX_PROVED_ROWS 300000u

typedef struct im_index im_index;
typedef struct im_index_writer im_index_writer;

/** What the database records of an index (design section 2): the truth the files are held against.
 */
typedef struct im_index_state {
    uint8_t library_id[16];
    char model_digest[65];
    size_t dim;
    uint64_t generation; /* >= 1 */
    uint64_t n_rows;     /* committed rows; the file may be longer, the tail is ignored */
} im_index_state;

/* ---- writing ---- */

/** Creates the vector file of state->generation (n_rows must be 0) in `folder` (made when absent),
 * synced with its header. Replaces a leftover of the same generation. */
IM_NODISCARD im_code im_index_create(const char *folder, const im_index_state *state,
                                     im_error *err);
/** Opens the vector file for appending behind state->n_rows: a tail beyond is overwritten, never
 * truncated. index_damaged when header or length disagree with state. */
IM_NODISCARD im_code im_index_writer_open(const char *folder, const im_index_state *state,
                                          im_index_writer **out_writer, im_error *err);
/** Appends n rows, each finite and of unit length within 1e-3 (else vector_invalid, naming the row;
 * nothing is written). Not durable before im_index_writer_sync.
 * @param items [n] item ids, @param rows [n, dim]
 * @param out_first_slot slot of the first one; the others follow */
IM_NODISCARD im_code im_index_writer_append(im_index_writer *writer, const uint64_t *items,
                                            const float *rows, size_t n, uint64_t *out_first_slot,
                                            im_error *err);
/** Makes the appended rows durable. Only then may the caller commit the raised count. */
IM_NODISCARD im_code im_index_writer_sync(im_index_writer *writer, im_error *err);
void im_index_writer_close(im_index_writer *writer);

/** Makes the codes of IM_ENGINE_TIERED for the committed rows, or extends those that are there
 * (whole blocks are copied, damaged ones made again; nothing is written when all is well): two
 * files codes.<generation>.i8 and .b1, each a temporary, synced and renamed. For the writer alone;
 * readers that have old files open keep them. Without rows nothing is made.
 * @param pool may be NULL
 * @return IM_OK; index_damaged when the vector file or one of its rows is; IM_ERR_NOMEM, IM_ERR_IO,
 * IM_ERR_FULL: the old files are then as they were, or one of them is new already */
IM_NODISCARD im_code im_index_codes_update(const char *folder, const im_index_state *state,
                                           im_pool *pool, im_error *err);
/** Bytes on disk of the vector file and the codes of n rows of `dim` values: what a new generation
 * takes while the old one is still there. UINT64_MAX when no file can be that long. */
uint64_t im_index_bytes(size_t dim, uint64_t n_rows);
/** Whether im_index_codes_update is worth its while: more than 4,096 rows and more than a twentieth
 * of all have no codes (im_index_stats says how many have). Rows without are scanned in f32. */
bool im_index_codes_due(uint64_t n_rows, uint64_t n_coded);

/** Removes the vector, codes, column and FAISS files in `folder` of every generation but
 * `keep_generation`, and temporaries: leftovers of a crash or of a compaction. For the writer alone
 * (the library's lock held): it would take a generation that another writer is about to commit.
 * Files it cannot remove stay. */
void im_index_sweep(const char *folder, uint64_t keep_generation);

/* ---- searching ---- */

typedef enum im_engine {
    IM_ENGINE_AUTO,   /* tiered where there are codes, otherwise the scan */
    IM_ENGINE_SCAN,   /* our own exact scan over the mapped rows */
    IM_ENGINE_FLAT,   /* FAISS IndexFlat through its C API */
    IM_ENGINE_TIERED, /* codes first, rows decide; the scan where codes are missing or damaged */
    IM_ENGINE_IVF,    /* FAISS inverted lists from a file that im_index_faiss_build made */
    IM_ENGINE_HNSW    /* FAISS graph from such a file */
} im_engine;

/** How the tiered engine looks (the others do not look at it). auto: proved while at most 300,000
 * rows pass the filter, fast beyond. */
typedef enum im_search_mode {
    IM_MODE_AUTO,
    IM_MODE_EXACT, /* the answer is that of the scan, proved by a bound for each row */
    IM_MODE_FAST /* 1-bit codes choose the rows that are looked at: recall at least 0.999 by audit,
                  * `exact` is false. A small number of rows, many of them asked for, a cursor, or
                  * eight such queries at once: proved all the same */
} im_search_mode;

/* ---- FAISS files ----
 * An approximate index over the rows of the vector file, for libraries that outgrow the scan. It
 * proposes candidates; the vector file's rows decide, by the same score as every engine's. */

#define IM_FAISS_NAME_BYTES 40u

/** What the database records of a FAISS file: the truth the file is held against. */
typedef struct im_faiss_record {
    char
        name[IM_FAISS_NAME_BYTES]; /* in the index's folder: "ivf.<generation>.faiss" or "hnsw.…" */
    uint64_t generation;           /* of the vector file it was built from */
    uint64_t n_rows;               /* slots it covers, from 0; later ones are scanned */
    uint64_t bytes;
    char digest[65]; /* SHA-256 of the whole file, in hex */
} im_faiss_record;

/** How hard a search tries; zeros are the defaults (recall@10 of about 0.95 and more, see
 * im_index_audit_propose). Larger than the index has is as large as it has. */
typedef struct im_faiss_effort {
    size_t n_probe;    /* IVF: lists that are looked into; 0: the square root of their number */
    size_t ef_search;  /* HNSW: length of the queue; 0: 128 */
    size_t candidates; /* rows that are scored again, for each hit asked for; 0: 4 */
} im_faiss_effort;

/** How a FAISS file is built; zeros are the defaults. */
typedef struct im_faiss_build {
    im_engine engine;       /* IM_ENGINE_IVF or IM_ENGINE_HNSW */
    bool small;             /* rows in FAISS as bytes: a quarter of the size, slower */
    size_t n_lists;         /* IVF; 0: 4 √n; at most a list for 39 rows */
    size_t n_links;         /* HNSW, of each row, 4 to 64; 0: 32 */
    size_t ef_construction; /* HNSW: length of the queue that finds a row's links, at most 4096;
                             * 0: 200. Too short a one leaves rows that no search reaches */
    size_t sample;          /* IVF: rows to train on; 0: 64 for each list */
    size_t n_threads;       /* FAISS's own, while it builds; 0: 1 */
    uint64_t seed;          /* of the sample */
    /** Called now and then; false stops the build (interrupted). May be NULL. */
    bool (*progress)(void *context, uint64_t n_done, uint64_t n_rows);
    void *progress_context;
} im_faiss_build;

/** Builds a FAISS file from the rows of `state` that are alive: trained on a sample, written beside
 * its place, synced, renamed. The caller then commits out_record; until it does, the old record
 * names a file that is gone when the name is the same. Rows added later need no new file.
 * @param alive as in im_index_open, borrowed for the call
 * @return IM_OK; IM_ERR_INVALID (another engine, no row alive); IM_ERR_UNSUPPORTED without the
 * FAISS module; index_damaged, map_lost (of the vector file); interrupted; IM_ERR_NOMEM,
 * IM_ERR_IO, IM_ERR_FULL */
IM_NODISCARD im_code im_index_faiss_build(const char *folder, const im_index_state *state,
                                          const uint64_t *alive, const im_faiss_build *build,
                                          im_faiss_record *out_record, im_error *err);

/** The name of an engine's file: "ivf.<generation>.faiss" or "hnsw.<generation>.faiss". */
void im_index_faiss_name(im_engine engine, uint64_t generation, char out[IM_FAISS_NAME_BYTES]);

/** Reads a FAISS file whole and holds length and SHA-256 against its record, without FAISS: IM_OK,
 * or index_damaged saying what differs. */
IM_NODISCARD im_code im_index_faiss_check(const char *folder, const im_faiss_record *record,
                                          im_error *err);

/** Recall of an index among queries of one kind, and its interval: with 95 % confidence the recall
 * over all queries of that kind lies in [low, high] (Wilson's interval, the number of neighbours
 * corrected for those of one query going together). */
typedef struct im_audit_recall {
    size_t n_queries;
    uint64_t n_wanted, n_found; /* neighbours of the exact scan; those the index found */
    double recall, low, high;   /* 0, 0, 1 without a query */
} im_audit_recall;

/** Queries of the two kinds that lie differently in the space, each [n, dim] of unit vectors. */
typedef struct im_audit_queries {
    const float *texts;
    size_t n_texts;
    const float *pictures;
    size_t n_pictures;
    size_t k;               /* of recall@k */
    const uint64_t *bitmap; /* as in im_index_query, NULL = all */
    const uint64_t *items;  /* [n_pictures] that a picture's own answer leaves out; NULL: none */
    im_search_mode mode;    /* of the index; the exact answer does not look at it */
    struct im_audit_times *times; /* [2] texts, pictures, filled too; may be NULL */
} im_audit_queries;

/** Median time of a query, the exact way and the index's. 0 without a query. */
typedef struct im_audit_times {
    double exact_ms, index_ms;
} im_audit_times;

typedef struct im_audit {
    im_audit_recall texts, pictures;
} im_audit;

/** Compares the opened index, whatever its engine, with the exact scan. A hit counts as found when
 * its score reaches that of the scan's last: ties are no misses. Errors as im_index_search's. */
IM_NODISCARD im_code im_index_audit(im_index *index, const im_audit_queries *queries,
                                    im_audit *out_audit, im_error *err);

typedef struct im_audit_proposal {
    bool reached;           /* the wanted recall, by both kinds; else effort is the hardest tried */
    im_faiss_effort effort; /* for im_index_options.effort */
    im_audit audit;         /* with that effort */
} im_audit_proposal;

/** Tries a ladder of efforts, cheapest first, until the recall of each kind that has queries is at
 * least `wanted` (in (0, 1]). IM_ERR_UNSUPPORTED for an engine that has nothing to tune. */
IM_NODISCARD im_code im_index_audit_propose(im_index *index, const im_audit_queries *queries,
                                            double wanted, im_audit_proposal *out_proposal,
                                            im_error *err);

/* ---- opening ---- */

typedef struct im_index_options {
    im_engine engine;
    im_pool *pool;                /* borrowed until close; may be NULL */
    const im_faiss_record *faiss; /* of the file of IM_ENGINE_IVF, IM_ENGINE_HNSW; borrowed for the
                                   * call */
    im_faiss_effort effort;       /* the same engines' */
    im_index *from; /* NULL, or an index opened before: when it holds the FAISS index of the same
                     * record, that is taken from it in place of reading the file again (rows were
                     * added or removed since); `from` may then only be closed. Untouched when
                     * opening fails */
} im_index_options;

/** Opens the rows for reading: header and length are checked against `state`; each row's CRC-32C
 * is checked at its first touch.
 * A file that is missing, short or of another index is index_damaged, a FAISS file too whose length
 * or SHA-256 is not its record's (FAISS sees no byte of it); FAISS's engines without its module are
 * IM_ERR_UNSUPPORTED.
 * @param alive  [ceil(n_rows / 64)] bit per slot, borrowed until close; NULL = all
 * @param options may be NULL: automatic engine, no pool */
IM_NODISCARD im_code im_index_open(const char *folder, const im_index_state *state,
                                   const uint64_t *alive, const im_index_options *options,
                                   im_index **out_index, im_error *err);
void im_index_close(im_index *index);

/** One part of a query: its contribution to a row's score is scale * dot(vector, row) - shift, up
 * to rounding: what is multiplied with the row is the folded vector (im_combine). */
typedef struct im_index_part {
    const float *vector; /* [d], unit length within 1e-3 */
    float scale;         /* w / deviation for standardised scores; 1 for plain cosines; |scale| and
                          * |shift| at most 1e30, so that every score is finite */
    float shift;         /* w * mean / deviation; 0 for plain cosines */
} im_index_part;

/** How the parts make one score. sum: the parts are folded into one vector, Σ scale·vector in
 * double and rounded once to float, so that one dot product scores a row however many parts there
 * are; the shifts likewise. any, all: the largest, the smallest of the parts' scores, each part
 * folded alone. One part scores the same under all three. */
typedef enum im_combine { IM_COMBINE_SUM, IM_COMBINE_ANY, IM_COMBINE_ALL } im_combine;

typedef struct im_hit {
    uint64_t item; /* item id; IM_NO_ITEM pads a short row */
    uint64_t slot;
    float score; /* higher is better; ties by ascending item id */
} im_hit;

typedef struct im_index_query {
    const im_index_part *parts; /* [m], m >= 1 */
    size_t n_parts;
    im_combine combine;
    size_t k;       /* 1 … IM_LIMIT_OFFSET_PLUS_K */
    bool has_after; /* only hits strictly behind (after_score, after_item) */
    float after_score;
    uint64_t after_item;
    bool has_floor; /* only hits with score >= floor */
    float floor;
    const uint64_t *bitmap; /* bit per slot: which may be hits; NULL = all alive */
    uint64_t leave_out;     /* an item that is no hit (similar id:N); IM_NO_ITEM for none */
    im_search_mode mode;
} im_index_query;

/** How the codes files are. All but IM_CODES_SOUND and IM_CODES_UNUSED: answers are as right as
 * ever but slower; im_index_codes_update makes the files again. */
typedef enum im_codes {
    IM_CODES_UNUSED, /* the engine asked for has none */
    IM_CODES_SOUND,
    IM_CODES_ABSENT,
    IM_CODES_DAMAGED /* one of them is damaged, of another library, or not there */
} im_codes;

typedef struct im_index_answer {
    size_t n_hits;
    uint64_t filtered; /* alive rows that pass bitmap (leave_out not counted out) */
    uint64_t scanned;  /* rows whose score was worked out */
    bool exact;        /* false: an approximate way, which may have missed a row */
    const char
        *engine;    /* whoever answered: "scan", "flat", "tiered", "ivf", "hnsw"; "scan" too when
                     * a FAISS engine failed, or few rows pass and the scan is the faster way */
    im_codes codes; /* as known after this search */
} im_index_answer;

/** Finds the k best rows. Always min(k, matches) hits; hits behind them are {IM_NO_ITEM, …, 0}.
 * Final scores come from one function with one summation order (im_index_score), whatever engine,
 * batch or thread found the row.
 * @param hits [k], caller owns; best first; unspecified after a failure
 * @return IM_OK; IM_ERR_INVALID (k or the number of parts out of range, a cursor or floor that is
 * NaN; vector_invalid for a part that is not finite or not of unit length); IM_ERR_NOMEM;
 * IM_ERR_FORMAT (index_damaged: a row failed its CRC; rebuild); IM_ERR_IO (map_lost) */
IM_NODISCARD im_code im_index_search(im_index *index, const im_index_query *query, im_hit *hits,
                                     im_index_answer *out_answer, im_error *err);

/** im_index_search for n queries: the same answers, but the codes are read once for 64 of them.
 * Only one that would not be exact alone may be exact here: among at most 2,400,000 rows eight
 * such and more are proved together, which is quicker there. Fails as a whole.
 * @param hits [n] pointers, hits[i] to [queries[i].k] @param answers [n] */
IM_NODISCARD im_code im_index_search_many(im_index *index, const im_index_query *queries, size_t n,
                                          im_hit *const *hits, im_index_answer *answers,
                                          im_error *err);

/** Score of one row for a query (its parts and combine; the rest is not looked at), and
 * (out_cosines, may be NULL, [m]) each part's plain cosine. index_damaged when the row fails its
 * CRC. */
IM_NODISCARD im_code im_index_score(im_index *index, const im_index_query *query, uint64_t slot,
                                    float *out_score, float *out_cosines, im_error *err);

/** All rows with score >= query->floor, best first, at most query->k. As im_index_search with
 * has_floor; here because engines have a path of their own for it. IM_ERR_INVALID without a floor.
 */
IM_NODISCARD im_code im_index_range(im_index *index, const im_index_query *query, im_hit *hits,
                                    im_index_answer *out_answer, im_error *err);

/** Borrowed view of the row of a slot [d] and (may be NULL) its item, after its CRC check. */
IM_NODISCARD im_code im_index_row(im_index *index, uint64_t slot, const float **out_row,
                                  uint64_t *out_item, im_error *err);

typedef struct im_index_stats {
    uint64_t n_rows, n_alive;
    uint64_t file_bytes;    /* at open; a tail that does not count included */
    uint64_t mapped_bytes;  /* header and committed rows */
    uint64_t private_bytes; /* heap of the index and its engine */
    const char *engine;
    im_codes codes;
    uint64_t n_coded;          /* rows that have codes in use */
    const char *codes_problem; /* a sentence when codes are IM_CODES_DAMAGED, else ""; lives as long
                                * as the index */
} im_index_stats;
void im_index_describe(const im_index *index, im_index_stats *out);

/** Reads every committed row and its CRC. `report` is called for each bad slot; returns IM_OK when
 * the file could be read, *out_bad says how many. */
typedef void (*im_index_report)(void *context, uint64_t slot, const char *what);
IM_NODISCARD im_code im_index_check(const char *folder, const im_index_state *state,
                                    im_index_report report, void *context, uint64_t *out_bad,
                                    im_error *err);
/** Reads every block of the codes that there are, and what ties them to the vector file. `report`
 * is called for each finding, with the first slot that it touches. No codes are no finding, one
 * file without the other is. */
IM_NODISCARD im_code im_index_codes_check(const char *folder, const im_index_state *state,
                                          im_index_report report, void *context, uint64_t *out_bad,
                                          im_error *err);

/* ---- columns: facts of the rows, for filters, sorting and groups ----
 *
 * columns.<generation> holds one column a field in slot order: a cache as the vector file is,
 * written whole. The caller streams the rows. Texts compare case folded (im_text_fold). */

typedef enum im_column_kind {
    IM_COLUMN_NUMBER,  /* double; NaN = no value */
    IM_COLUMN_INTEGER, /* int64; IM_COLUMN_NO_INTEGER = no value */
    IM_COLUMN_TEXT     /* UTF-8; empty = no value */
} im_column_kind;

#define IM_COLUMN_NO_INTEGER INT64_MIN
/** A column of this prefix may be absent from a file that is older than the field. */
#define IM_COLUMN_OWN "field."

typedef struct im_column_spec {
    const char *name; /* 1 to 255 bytes */
    im_column_kind kind;
} im_column_spec;

/** The columns that every library has; each of the users' own fields follows as "field.NAME":
 * text TEXT, number NUMBER, date INTEGER (seconds of the wall clock as written), bool INTEGER. */
#define IM_COLUMNS_BUILT_IN(X)                                                  \
    X("taken", IM_COLUMN_INTEGER) /* s since 1970 on the camera's wall clock */ \
    X("added", IM_COLUMN_INTEGER) /* s since 1970, UTC */                       \
    X("camera", IM_COLUMN_TEXT)                                                 \
    X("lens", IM_COLUMN_TEXT)                                                   \
    X("lat", IM_COLUMN_NUMBER) /* degrees */                                    \
    X("lon", IM_COLUMN_NUMBER)                                                  \
    X("type", IM_COLUMN_TEXT) /* jpeg, png */                                   \
    X("source", IM_COLUMN_TEXT)                                                 \
    X("width", IM_COLUMN_INTEGER)                                               \
    X("height", IM_COLUMN_INTEGER)                                              \
    X("bytes", IM_COLUMN_INTEGER)                                               \
    X("partial", IM_COLUMN_INTEGER) /* 0 or 1, as all below */                  \
    X("missing", IM_COLUMN_INTEGER)                                             \
    X("tagged", IM_COLUMN_INTEGER)                                              \
    X("captioned", IM_COLUMN_INTEGER)

/** A value; the column's kind says which member counts. */
typedef union im_column_value {
    double number;
    int64_t integer;
    im_view text;
} im_column_value;

typedef struct im_columns_row {
    uint64_t slot, item;
    const im_column_value *values; /* one a spec, in their order; borrowed for the call */
} im_columns_row;

typedef struct im_columns im_columns;

/** Takes one row; a failure must be passed up by the source. */
typedef im_code (*im_columns_sink)(void *sink, const im_columns_row *row, im_error *err);
/** Streams rows: calls take(sink, row, err) for each one and stops at its first failure. */
typedef im_code (*im_columns_source)(void *context, im_columns_sink take, void *sink,
                                     im_error *err);

/** Writes columns.<generation> for state->n_rows slots: temporary, sync, rename. Memory: 64 KiB a
 * column and each text that differs once.
 * @param source gives rows in ascending order of slots below n_rows (else IM_ERR_INVALID); a slot
 *        that it leaves out has no values and IM_NO_ITEM
 * @param change_seq the database's change counter that the rows are of */
IM_NODISCARD im_code im_columns_build(const char *folder, const im_index_state *state,
                                      const im_column_spec *specs, size_t n_specs,
                                      uint64_t change_seq, im_columns_source source, void *context,
                                      im_error *err);
/** Opens the file for the snapshot (state, change_seq). Rows of state->n_rows that the file does
 * not have, and "field." columns that it does not know, have no values until patched. index_damaged
 * when the file is missing, not as it was written, of another library, model or generation, has
 * more rows or a later change_seq than the snapshot (a restored database), lacks another column
 * or has one of another kind: rebuild it. 64-KiB blocks are checked at first touch. */
IM_NODISCARD im_code im_columns_open(const char *folder, const im_index_state *state,
                                     uint64_t change_seq, const im_column_spec *specs,
                                     size_t n_specs, im_columns **out_columns, im_error *err);
void im_columns_close(im_columns *columns);
/** The change counter that the values are of: the file's, or the last patch's. */
uint64_t im_columns_seq(const im_columns *columns);
uint64_t im_columns_n_rows(const im_columns *columns); /* state->n_rows */

/** Puts the rows of slots that changed (in any order; of one slot the last counts; values in the
 * order of im_columns_open's specs) over those of the file, in memory. Not while another thread
 * uses `columns`. After a failure they are as before. */
IM_NODISCARD im_code im_columns_patch(im_columns *columns, uint64_t change_seq,
                                      im_columns_source source, void *context, im_error *err);

typedef enum im_condition_kind {
    IM_CONDITION_AND, /* of no children: true */
    IM_CONDITION_OR,  /* of no children: false */
    IM_CONDITION_NOT,
    IM_CONDITION_PRESENT,    /* the row has a value in `column` */
    IM_CONDITION_INTEGERS,   /* min_i <= value <= max_i */
    IM_CONDITION_NUMBERS,    /* min <= value <= max; open_min, open_max exclude the end */
    IM_CONDITION_TEXT_PART,  /* the value holds `text` */
    IM_CONDITION_TEXT_EQUAL, /* the value is `text` */
    IM_CONDITION_TEXT_GLOB,  /* as equal; '*' in `text` stands for any run of characters */
    IM_CONDITION_NEAR,       /* place: latitude, longitude in degrees, metres (great circle) */
    IM_CONDITION_BOX,        /* place: south, west, north, east; west > east crosses 180 degrees */
    IM_CONDITION_SLOTS       /* the caller's bitmap */
} im_condition_kind;

/** A condition on a row. A comparison with a missing value is false, and its NOT true. */
typedef struct im_condition {
    im_condition_kind kind;
    struct im_condition **children; /* [n_children], owned */
    size_t n_children;
    char *column; /* owned */
    int64_t min_i, max_i;
    double min, max;
    bool open_min, open_max;
    char *text; /* owned, UTF-8 as written: folded when it is used */
    double place[4];
    uint64_t *slots;  /* [ceil(n_slots / 64)], owned */
    uint64_t n_slots; /* slots behind them are not in the bitmap */
} im_condition;

void im_condition_free(im_condition *condition); /* with its children; NULL is fine */

/** Which rows meet a condition.
 * @param condition NULL: all
 * @param alive [ceil(n_rows / 64)], NULL = all
 * @param out_bits [ceil(n_rows / 64)], bits behind the last row are 0; unspecified after a failure
 * @param out_count bits set; may be NULL
 * @return IM_OK; IM_ERR_INVALID (a column that was not opened or is of another kind; a tree deeper
 * than 256); IM_ERR_FORMAT (index_damaged: rebuild); IM_ERR_IO (map_lost); IM_ERR_NOMEM */
IM_NODISCARD im_code im_columns_filter(im_columns *columns, const im_condition *condition,
                                       const uint64_t *alive, uint64_t *out_bits,
                                       uint64_t *out_count, im_error *err);

/** The value of one row, and whether it has one (*out_has false: *out is the "no value" of its
 * kind). Text is borrowed until close or patch. */
IM_NODISCARD im_code im_columns_value(im_columns *columns, const char *column, uint64_t slot,
                                      im_column_value *out, bool *out_has, im_error *err);
/** The kind of a column that was opened; false when there is none of that name. */
bool im_columns_kind(const im_columns *columns, const char *column, im_column_kind *out);

/** Where a sorted page ended. */
typedef struct im_columns_after {
    bool has_value; /* false: among the rows without one, which come last */
    im_column_value value;
    uint64_t item;
} im_columns_after;

typedef struct im_columns_hit {
    uint64_t item, slot;
} im_columns_hit;

/** The first k rows by a column: numbers by size, texts by folded code points, then as written;
 * rows without a value last in either direction; ties by ascending item.
 * @param bitmap which rows (as im_columns_filter gives it); NULL = all
 * @param after NULL, or only rows strictly behind it, which need not be there any more
 * @param hits [k], caller owns @param out_n how many were written
 * @param out_total rows in the bitmap, whatever `after` and k; may be NULL */
IM_NODISCARD im_code im_columns_sort(im_columns *columns, const char *column, bool descending,
                                     const uint64_t *bitmap, const im_columns_after *after,
                                     size_t k, im_columns_hit *hits, size_t *out_n,
                                     uint64_t *out_total, im_error *err);

/** A number that two rows share exactly when their values are equal (texts: folded; rows without a
 * value are equal to each other). Good until close or patch. */
IM_NODISCARD im_code im_columns_group_key(im_columns *columns, const char *column, uint64_t slot,
                                          uint64_t *out_key, im_error *err);
/** How many rows of a bitmap (NULL: all) stay when each value keeps n_per of them; rows without a
 * value count as one value. */
IM_NODISCARD im_code im_columns_count_groups(im_columns *columns, const char *column, size_t n_per,
                                             const uint64_t *bitmap, uint64_t *out_kept,
                                             im_error *err);
/** Keeps, in their order, the first n_per hits of each value of a column; those without a value
 * count as one value. To give k such hits of a ranking, ask for more (2k, 4k, … of one search)
 * until *n_hits >= k or the ranking ends: the hits kept from a longer list begin with those of a
 * shorter.
 * @param n_hits in: how many; out: how many were kept, moved to the front */
IM_NODISCARD im_code im_columns_group(im_columns *columns, const char *column, size_t n_per,
                                      im_hit *hits, size_t *n_hits, im_error *err);

#endif
