/* index/index_internal.h — the opened index, the row of an engine, and what engines share. */
#ifndef IM_INDEX_INDEX_INTERNAL_H
#define IM_INDEX_INDEX_INTERNAL_H

#include "base/file.h"
#include "index/format_internal.h"
#include "index/index.h"
#include "index/scoring_internal.h"
#include <stdatomic.h>

#define WORD_BITS 64u

struct index_top;

/** A query after its checks, as an engine sees it. */
typedef struct index_request {
    const im_index_query *query; /* k, cursor, floor, leave_out */
    const index_scoring *scoring;
    const uint64_t *bitmap;        /* which slots may be hits, NULL = all alive */
    uint64_t filtered;             /* alive slots that pass it, >= 1 */
    const im_faiss_effort *effort; /* in place of the index's own; NULL: that */
} index_request;

/** One engine: a row of the table in search.c. Each finds the same hits. */
typedef struct index_engine {
    const char *name;
    /** Builds what the engine keeps beside the mapped rows; NULL: nothing. */
    im_code (*open)(im_index *index, im_error *err);
    void (*close)(im_index *index);
    /** The best hits [k] (only those found are written) and n_hits, scanned, exact, engine. */
    im_code (*search)(im_index *index, const index_request *request, im_hit *hits,
                      im_index_answer *answer, im_error *err);
    /** The same for a query that has a floor. */
    im_code (*range)(im_index *index, const index_request *request, im_hit *hits,
                     im_index_answer *answer, im_error *err);
    uint64_t (*private_bytes)(const im_index *index);
} index_engine;

struct im_index {
    format_layout layout;
    uint64_t n_rows;
    uint64_t n_alive;
    const uint64_t *alive; /* borrowed; NULL = all */
    im_map *map;           /* header and committed rows */
    const uint8_t *rows;   /* in map */
    int fd;                /* of the same file */
    uint64_t committed_bytes, file_bytes;
    char *path;
    im_pool *pool; /* borrowed */
    const index_kernels *kernels;
    const index_engine *engine;
    void *engine_data;
    /* while it is opened, for the engines with a file of their own; then NULL */
    const im_faiss_record *faiss;
    const im_index_state *state;
    const char *folder;
    im_index *from;
    im_faiss_effort effort;
    /* bit per slot: its checksum was right. Set without order: two threads that check one row come
     * to the same answer. */
    _Atomic uint64_t *checked; /* [words] */
    /* of the tiered engine */
    atomic_int codes; /* im_codes; a damaged block is found by any search */
    uint64_t n_coded;
    char codes_problem[384]; /* written while opening */
};

extern const index_engine index_engine_scan;
extern const index_engine index_engine_flat;
extern const index_engine index_engine_tiered;
extern const index_engine index_engine_ivf;
extern const index_engine index_engine_hnsw;

static inline size_t index_words(const im_index *index)
{
    return (size_t)((index->n_rows + WORD_BITS - 1) / WORD_BITS);
}

static inline const uint8_t *index_row_at(const im_index *index, uint64_t slot)
{
    return index->rows + slot * index->layout.pitch;
}

/** Lists of an IVF's file, 0 of an HNSW's; for these two engines. */
size_t index_faiss_lists(const im_index *index);
/** im_index_search with another engine than the index's, which holds nothing of its own (the scan),
 * or another effort (NULL: the index's). */
IM_NODISCARD im_code index_search_with(im_index *index, const index_engine *engine,
                                       const im_index_query *query, const im_faiss_effort *effort,
                                       im_hit *hits, im_index_answer *out_answer, im_error *err);
/** Slots of word `at` that are alive, pass bitmap (NULL = all) and exist. */
static inline uint64_t index_selected(const im_index *index, const uint64_t *bitmap, size_t at)
{
    uint64_t bits = index->alive != NULL ? index->alive[at] : UINT64_MAX;
    uint64_t rest = index->n_rows - (uint64_t)at * WORD_BITS;
    if (bitmap != NULL) {
        bits &= bitmap[at];
    }
    return rest < WORD_BITS ? bits & ((UINT64_C(1) << rest) - 1) : bits;
}

uint64_t index_count_selected(const im_index *index, const uint64_t *bitmap);
/** Checks the rows of word `at` whose bits are in `wanted` and were not checked before; returns
 * those that are damaged. Thread-safe. */
uint64_t index_unsound(im_index *index, size_t at, uint64_t wanted);
/** Pushes a row [pitch] of this score when the query lets it through (floor, cursor, leave_out).
 * false when memory is out. */
bool index_push(const im_index *index, const im_index_query *query, uint64_t slot,
                const uint8_t *row, float score, struct index_top *top);
/** The error of a damaged row, map_lost when the file was cut meanwhile. */
IM_NODISCARD im_code index_damaged_row(const im_index *index, uint64_t slot, im_error *err);
/** map_lost when the file was cut since it was opened: nothing read from it counts. */
IM_NODISCARD im_code index_check_map(const im_index *index, im_error *err);

#endif
