/* index/tiered_internal.h — the tiered engine: codes say which rows may be hits, rows decide. */
#ifndef IM_INDEX_TIERED_INTERNAL_H
#define IM_INDEX_TIERED_INTERNAL_H

#include "index/codes_query_internal.h"
#include "index/index_internal.h"
#include "index/top_internal.h"

typedef struct tiered_engine {
    codes_file i8;
    codes_file b1; /* map NULL: not usable */
    index_rotation rotation;
    codes_space space;
    _Atomic bool b1_damaged, i8_damaged;
    bool unbounded;                  /* tests only */
    uint64_t proved_rows, fast_rows; /* the policy; tests lower them */
} tiered_engine;

/** What one thread found for one query in one pass. */
typedef struct tiered_lane {
    index_top least; /* the best lower bounds: the worst of `limit` is one of the k-th score */
    index_top found; /* rows whose upper bound passed; score is that bound, item the slot */
} tiered_lane;

/** One query on its way. */
typedef struct tiered_search {
    const index_request *request;
    codes_query codes;
    size_t limit;            /* rows that must be known to be better before one is let go */
    _Atomic float threshold; /* rows that stay below are no hits; only grows */
    float base;              /* threshold at first: floor, or -INFINITY */
    const uint64_t *bitmap;  /* of this pass */
    tiered_lane *lanes;      /* [n_workers], owned */
    index_top top;           /* the hits */
    float *guesses;          /* [n_coded rounded up to 64], owned: upper guesses by the bits */
    float *best;             /* [words of them], behind these: the largest of each word */
    bool fast;
    bool done;  /* has its whole answer: not part of this pass */
    bool tiled; /* goes through this pass with others (tiered_tile.c) */
} tiered_search;

typedef enum tiered_failure {
    TIERED_OK,
    TIERED_NOMEM,
    TIERED_ROW,   /* a row is damaged: slot */
    TIERED_CODES, /* codes are: the scan answers */
} tiered_failure;

#define TIERED_GROUP CODES_TILE_QUERIES /* queries that go through the codes together, at most */
/** Several queries through one pass. */
typedef struct tiered_job {
    im_index *index;
    tiered_engine *engine;
    const index_request *const *requests; /* [n], n <= TIERED_GROUP */
    tiered_search *searches;              /* [n] */
    size_t n, n_workers;
    size_t n_code_tasks;
    _Atomic int failure; /* tiered_failure; any of several */
    _Atomic uint64_t slot;
} tiered_job;

/** Asks for memory that will be read soon. */
static inline void index_fetch(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i += 64) {
        __builtin_prefetch(bytes + i);
    }
}

bool tiered_search_init(tiered_search *search, const tiered_job *job, const index_request *request);
void tiered_search_clear(tiered_search *search, size_t n_workers);
void tiered_fail(tiered_job *job, tiered_failure failure, uint64_t slot);
bool tiered_failed(const tiered_job *job);

/** Rows of [first, first + n) that are alive and pass: their count; at[] (from `origin` on) is
 * written only when they are not all. */
size_t tiered_select(const im_index *index, const uint64_t *bitmap, uint64_t first, size_t n,
                     size_t origin, uint16_t *at);
/** A block of int8 codes; false when it is damaged, which the job then knows. */
bool tiered_block(tiered_job *job, uint64_t number, codes_block *out);
/** Keeps the rows of a run whose upper bound passes. */
void tiered_keep_run(tiered_job *job, tiered_search *search, size_t worker, uint64_t block_slot,
                     const codes_run *run, const float *upper, const float *lower);
/** Says which searches go through the next pass together. */
void tiered_tile_choose(tiered_job *job);
/** One block for all of these. */
void tiered_tile_block(tiered_job *job, size_t worker, uint64_t number, size_t n_rows);
/** Looks at all rows of the searches' bitmaps by their int8 codes, and those without codes. */
void tiered_pass(tiered_job *job);
/** Lets go of rows whose bound is below the threshold. */
void tiered_thin_out(index_top *found, float threshold);
/** Scores what a pass found and keeps the hits. True when no other row of the bitmap can be one;
 * false too when a range is so wide that the scan is as quick. */
bool tiered_finish(tiered_job *job, tiered_search *search);
/** Answers the searches that are `fast`, several at once; those it cannot are made proved ones. */
void tiered_fast(tiered_job *job);

/** Opens what there is of codes for an index whose rows are open: index->codes says how they are.
 * Only IM_ERR_NOMEM is an error. */
IM_NODISCARD im_code index_tiered_open(im_index *index, const char *folder,
                                       const im_index_state *state, im_error *err);
/** im_index_search for n requests. @param hits [n] pointers @param answers [n] */
IM_NODISCARD im_code index_tiered_many(im_index *index, const index_request *requests, size_t n,
                                       im_hit *const *hits, im_index_answer *answers,
                                       im_error *err);

#endif
