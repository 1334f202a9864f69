/* index/tiered_tile.c — the pass over the int8 codes for several queries at once.
 *
 * A single query waits for memory, so it reads upper halves first. Several that look at the same
 * rows wait for arithmetic: whole codes of a tile of rows are put together once, stay in the
 * nearest caches, and every query takes one product of its high plane with each row. Rows whose
 * bound that leaves above the threshold get the bounds of a lone query's second look. Already for
 * two that is quicker than two passes (1.8 ms each in place of 2.5 for 100,000 rows); upper halves
 * first were tried here, and are slower from two queries on. */
#include "base/base.h"
#include "index/tiered_internal.h"

#define TILE_PART 8u /* fewer than an eighth of the rows pass: looked at one by one */

static bool may_tile(const tiered_job *job, const tiered_search *search)
{
    return !search->done && search->request->scoring->n == 1 && search->codes.part >= 1 &&
           search->request->filtered >= job->index->n_rows / TILE_PART;
}

void tiered_tile_choose(tiered_job *job)
{
    size_t n = 0;
    for (size_t i = 0; i < job->n; i++) {
        n += may_tile(job, &job->searches[i]);
    }
    for (size_t i = 0; i < job->n; i++) {
        job->searches[i].tiled = n > 1 && may_tile(job, &job->searches[i]);
    }
}

/* Slots [first, first + n) that are alive and pass, n <= 64: bit i is slot first + i. */
static uint64_t selected_from(const im_index *index, const uint64_t *bitmap, uint64_t first,
                              size_t n)
{
    size_t word = (size_t)(first / WORD_BITS);
    unsigned shift = (unsigned)(first % WORD_BITS);
    uint64_t bits = index_selected(index, bitmap, word) >> shift;
    if (shift > 0 && shift + n > WORD_BITS) {
        bits |= index_selected(index, bitmap, word + 1) << (WORD_BITS - shift);
    }
    return n < WORD_BITS ? bits & ~(UINT64_MAX << n) : bits;
}

/* What is left of one query's rows. @param wanted bit per row of the tile */
static void keep_tile(tiered_job *job, tiered_search *search, size_t worker, uint64_t number,
                      size_t row, const codes_block *block, uint64_t wanted, const float *uppers)
{
    uint16_t at[CODES_LANES];
    float upper[CODES_LANES];
    float lower[CODES_LANES];
    const codes_layout *layout = &job->engine->i8.layout;
    float threshold = atomic_load_explicit(&search->threshold, memory_order_relaxed);
    codes_run run = {.at = at};
    wanted &= search->codes.kernels->bits->not_below(uppers, threshold);
    for (; wanted != 0; wanted &= wanted - 1) {
        at[run.n++] = (uint16_t)(row + (size_t)__builtin_ctzll(wanted));
    }
    if (run.n > 0) {
        codes_bounds(&search->codes, layout, block, &run, upper, lower);
        tiered_keep_run(job, search, worker, number * layout->rows, &run, upper, lower);
    }
}

/* Where the codes of the next tile lie: in this block, or first in the next one. */
static void say_next(const codes_file *file, const codes_block *block, uint64_t number, size_t row,
                     codes_tile *tile)
{
    const codes_layout *layout = &file->layout;
    size_t next = row * layout->row_bytes;
    if (row >= layout->rows) {
        if (number + 1 >= file->n_blocks) {
            return;
        }
        next = CODES_BLOCK_BYTES;
    }
    tile->fetch[0] = block->codes + next;
    tile->fetch[1] = block->lower + next;
}

/* Rows [row, row + n) of one block. */
static void pass_tile(tiered_job *job, size_t worker, uint64_t number, size_t row, size_t n,
                      codes_tile *tile)
{
    const codes_file *file = &job->engine->i8;
    codes_block block;
    tiered_search *searches[CODES_TILE_QUERIES];
    const codes_query *queries[CODES_TILE_QUERIES];
    uint64_t wanted[CODES_TILE_QUERIES];
    float uppers[CODES_TILE_QUERIES][CODES_LANES];
    size_t n_queries = 0;
    for (size_t i = 0; i < job->n; i++) {
        tiered_search *search = &job->searches[i];
        uint64_t bits = search->tiled ? selected_from(job->index, search->bitmap,
                                                      number * file->layout.rows + row, n)
                                      : 0;
        if (bits != 0) {
            searches[n_queries] = search;
            queries[n_queries] = &search->codes;
            wanted[n_queries++] = bits;
        }
    }
    if (n_queries == 0 || !tiered_block(job, number, &block)) {
        return;
    }
    codes_tile_fill(tile, job->engine->space.kernels, &file->layout, &block, row, n);
    say_next(file, &block, number, row + n, tile);
    codes_tile_uppers(tile, queries, n_queries, uppers);
    for (size_t i = 0; i < n_queries && !tiered_failed(job); i++) {
        keep_tile(job, searches[i], worker, number, row, &block, wanted[i], uppers[i]);
    }
}

void tiered_tile_block(tiered_job *job, size_t worker, uint64_t number, size_t n_rows)
{
    codes_tile tile;
    size_t step = codes_tile_rows(&job->engine->i8.layout);
    for (size_t row = 0; row < n_rows && !tiered_failed(job); row += step) {
        pass_tile(job, worker, number, row, IM_MIN(step, n_rows - row), &tile);
    }
}
