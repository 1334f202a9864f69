/* index/tiered_pass.c — one pass over the int8 codes for several queries: the rows that may be
 * hits.
 *
 * Each row has a bound from both sides on its score, and a wider one from above by the upper halves
 * of its codes, which is asked first. The k-th best lower bound seen so far is a bound on the k-th
 * score: a row whose upper bound is below it can be no hit. What is left at the end, 17 to 44 of
 * 100,000 rows, goes to tiered_finish.c. */
#include "base/base.h"
#include "index/tiered_internal.h"
#include <math.h>
#include <string.h>

#define TASK_BLOCKS 16u /* a megabyte of codes */
#define TAIL_WORDS 16u  /* rows without codes: 1,024 at once */
#define FETCH_PART 4u   /* fewer than a fourth of the rows: sparse */
#define FETCH_AHEAD 16u /* blocks */
#define WHOLE_PART 16u  /* fewer than a sixteenth: whole codes at once */

/* ---- searches ---- */

void tiered_fail(tiered_job *job, tiered_failure failure, uint64_t slot)
{
    atomic_store(&job->slot, slot);
    atomic_store(&job->failure, (int)failure);
}

bool tiered_failed(const tiered_job *job)
{
    return atomic_load_explicit(&job->failure, memory_order_relaxed) != TIERED_OK;
}

bool tiered_search_init(tiered_search *search, const tiered_job *job, const index_request *request)
{
    const im_index_query *query = request->query;
    uint64_t k = IM_MIN((uint64_t)query->k, request->filtered);
    memset(search, 0, sizeof(*search));
    search->request = request;
    search->bitmap = request->bitmap;
    search->base = query->has_floor ? query->floor : -INFINITY;
    atomic_init(&search->threshold, search->base);
    /* the item that is left out may be among the best */
    search->limit = (size_t)k + (query->leave_out != IM_NO_ITEM);
    search->codes.unbounded = job->engine->unbounded;
    index_top_init(&search->top, (size_t)k);
    search->lanes = im_alloc_zero(job->n_workers, sizeof(*search->lanes));
    if (search->lanes == NULL ||
        !codes_query_init(&search->codes, &job->engine->space, request->scoring)) {
        return false;
    }
    for (size_t t = 0; t < job->n_workers; t++) {
        index_top_init(&search->lanes[t].least, search->limit);
        index_top_init(&search->lanes[t].found, SIZE_MAX);
    }
    return true;
}

void tiered_search_clear(tiered_search *search, size_t n_workers)
{
    for (size_t t = 0; search->lanes != NULL && t < n_workers; t++) {
        index_top_clear(&search->lanes[t].least);
        index_top_clear(&search->lanes[t].found);
    }
    im_free(search->lanes);
    im_free(search->guesses);
    index_top_clear(&search->top);
    codes_query_clear(&search->codes);
}

/* ---- what one thread keeps ---- */

static float raise_threshold(tiered_search *search, float to)
{
    float now = atomic_load_explicit(&search->threshold, memory_order_relaxed);
    while (now < to &&
           !atomic_compare_exchange_weak_explicit(&search->threshold, &now, to,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
    return IM_MAX(now, to);
}

/* Before memory grows. */
void tiered_thin_out(index_top *found, float threshold)
{
    size_t n = 0;
    for (size_t i = 0; i < found->n; i++) {
        if (found->entries[i].score >= threshold) {
            found->entries[n++] = found->entries[i];
        }
    }
    found->n = n;
}

/* Keeps a row whose upper bound passes. false when memory is out. */
static bool keep_row(tiered_search *search, tiered_lane *lane, uint64_t slot, float upper,
                     float lower, float *threshold)
{
    const im_index_query *query = search->request->query;
    if (query->has_after && lower > query->after_score) {
        return true; /* before the cursor for certain */
    }
    if (lane->found.n > 0 && lane->found.n == lane->found.capacity) {
        tiered_thin_out(&lane->found, *threshold);
    }
    im_hit row = {slot, slot, upper};
    if (!index_top_push(&lane->found, &row)) {
        return false;
    }
    if (query->has_after && !(upper < query->after_score)) {
        return true; /* perhaps before the cursor: proves nothing */
    }
    row.score = lower;
    if (index_top_refuses(&lane->least, lower)) {
        return true;
    }
    if (!index_top_push(&lane->least, &row)) {
        return false;
    }
    if (lane->least.n == lane->least.limit && lane->least.entries[0].score > *threshold) {
        *threshold = raise_threshold(search, lane->least.entries[0].score);
    }
    return true;
}

/* ---- rows with codes ---- */

size_t tiered_select(const im_index *index, const uint64_t *bitmap, uint64_t first, size_t n,
                     size_t origin, uint16_t *at)
{
    uint64_t words[CODES_RUN / WORD_BITS + 2];
    size_t from = (size_t)(first / WORD_BITS);
    size_t to = (size_t)((first + n - 1) / WORD_BITS);
    uint64_t missing = 0;
    for (size_t w = from; w <= to; w++) {
        uint64_t bits = index_selected(index, bitmap, w);
        uint64_t wanted = UINT64_MAX;
        if (w == from) {
            wanted &= UINT64_MAX << (first % WORD_BITS);
        }
        if (w == to) {
            wanted &= UINT64_MAX >> (WORD_BITS - 1 - (first + n - 1) % WORD_BITS);
        }
        words[w - from] = bits & wanted;
        missing |= ~bits & wanted;
    }
    if (missing == 0) {
        return n;
    }
    size_t count = 0;
    for (size_t w = from; w <= to; w++) {
        for (uint64_t bits = words[w - from]; bits != 0; bits &= bits - 1) {
            uint64_t slot = (uint64_t)w * WORD_BITS + (uint64_t)__builtin_ctzll(bits);
            at[count++] = (uint16_t)(origin + (size_t)(slot - first));
        }
    }
    return count;
}

void tiered_keep_run(tiered_job *job, tiered_search *search, size_t worker, uint64_t block_slot,
                     const codes_run *run, const float *upper, const float *lower)
{
    tiered_lane *lane = &search->lanes[worker];
    float threshold = atomic_load_explicit(&search->threshold, memory_order_relaxed);
    for (size_t i = 0; i < run->n; i++) {
        if (upper[i] < threshold) {
            continue;
        }
        uint64_t slot = block_slot + (run->at != NULL ? (size_t)run->at[i] : run->first + i);
        if (!(lower[i] <= upper[i])) { /* no numbers, or a bound below zero: nobody wrote these */
            tiered_fail(job, TIERED_CODES, slot);
            return;
        }
        if (!keep_row(search, lane, slot, upper[i], lower[i], &threshold)) {
            tiered_fail(job, TIERED_NOMEM, 0);
            return;
        }
    }
}

/* The rows of a run that their upper halves do not rule out: their count, their numbers, and what
 * the halves say. */
static size_t sift_run(tiered_search *search, const codes_layout *layout, const codes_block *block,
                       const codes_run *run, uint16_t *out_at, float *out_upper)
{
    float upper[CODES_RUN];
    size_t n = 0;
    float threshold = atomic_load_explicit(&search->threshold, memory_order_relaxed);
    codes_uppers(&search->codes, layout, block, run, upper);
    for (size_t i = 0; i < run->n; i++) {
        out_at[n] = (uint16_t)(run->at != NULL ? (size_t)run->at[i] : run->first + i);
        out_upper[n] = upper[i];
        n += !(upper[i] < threshold); /* what is no number stays, to be found */
    }
    for (size_t i = 0; i < n; i++) {
        index_fetch(block->lower + out_at[i] * layout->row_bytes, layout->row_bytes);
    }
    return n;
}

/* A guess that is too low rules a row out when the threshold happens to be above it already. So
 * that the answer does not depend on that, such a row is none whenever it is seen. */
static size_t drop_unsaid(uint16_t *at, size_t n, const float *guess, float *upper, float *lower)
{
    size_t left = 0;
    for (size_t i = 0; i < n; i++) {
        if (!(guess[i] < upper[i])) {
            at[left] = at[i];
            upper[left] = upper[i];
            lower[left++] = lower[i];
        }
    }
    return left;
}

/* Where the codes of these rows lie in the next block: read next when all rows are. */
static const uint8_t *next_codes(const tiered_job *job, const codes_block *block, uint64_t number,
                                 size_t row)
{
    const codes_layout *layout = &job->engine->i8.layout;
    if (number + 1 >= job->engine->i8.n_blocks) {
        return NULL;
    }
    return block->codes + CODES_BLOCK_BYTES + row * layout->row_bytes;
}

/* Few rows of a proved search: their threshold comes late, the upper halves rule little out. */
static bool is_sparse(const tiered_search *search, size_t count, size_t n)
{
    return search->codes.part >= 1 && count <= n / WHOLE_PART;
}

/* Bounds of the rows that matter, and what comes of them. */
static void pass_run(tiered_job *job, tiered_search *search, size_t worker, uint64_t number,
                     const codes_block *block, const codes_run *run)
{
    uint16_t left[CODES_RUN];
    float guess[CODES_RUN];
    float upper[CODES_RUN];
    float lower[CODES_RUN];
    const codes_layout *layout = &job->engine->i8.layout;
    codes_run rest = *run;
    bool sift = !(run->at != NULL && is_sparse(search, run->n, layout->rows));
    if (sift) {
        rest = (codes_run){.at = left, .n = sift_run(search, layout, block, run, left, guess)};
    }
    codes_bounds(&search->codes, layout, block, &rest, upper, lower);
    if (sift && search->codes.part < 1) {
        rest.n = drop_unsaid(left, rest.n, guess, upper, lower);
    }
    tiered_keep_run(job, search, worker, number * layout->rows, &rest, upper, lower);
}

bool tiered_block(tiered_job *job, uint64_t number, codes_block *out)
{
    codes_file *file = &job->engine->i8;
    const uint8_t *bytes = codes_file_block(file, number);
    if (bytes == NULL) {
        tiered_fail(job, TIERED_CODES, 0);
        return false;
    }
    *out = codes_block_at(&file->layout, bytes);
    return true;
}

/* Rows [row, row + n) of one block, n <= CODES_RUN. */
static void pass_rows(tiered_job *job, tiered_search *search, size_t worker, uint64_t number,
                      size_t row, size_t n)
{
    uint16_t at[CODES_RUN];
    codes_block block;
    uint64_t slot = number * job->engine->i8.layout.rows;
    size_t count = tiered_select(job->index, search->bitmap, slot + row, n, row, at);
    if (count == 0 || !tiered_block(job, number, &block)) {
        return;
    }
    codes_run run = {row, count == n ? NULL : at, count, NULL};
    if (count == n && job->n == 1) {
        run.fetch = next_codes(job, &block, number, row);
    }
    pass_run(job, search, worker, number, &block, &run);
}

/* One block, all searches: it stays in a near cache until the last one has seen it. */
static void pass_block(tiered_job *job, size_t worker, uint64_t number)
{
    const codes_layout *layout = &job->engine->i8.layout;
    size_t n_rows =
        (size_t)IM_MIN((uint64_t)layout->rows, job->index->n_coded - number * layout->rows);
    for (size_t i = 0; i < job->n; i++) {
        tiered_search *search = &job->searches[i];
        for (size_t row = 0; row < n_rows && !search->done && !search->tiled; row += CODES_RUN) {
            pass_rows(job, search, worker, number, row, IM_MIN((size_t)CODES_RUN, n_rows - row));
        }
    }
    tiered_tile_block(job, worker, number, n_rows);
}

/* Where few rows of many blocks pass, the processor cannot know which memory comes next: asks for
 * it. 1,000 rows of 100,000 take 0.08 ms in place of 0.25. */
static void fetch_block(const tiered_job *job, const tiered_search *search, uint64_t number)
{
    uint16_t at[CODES_RUN];
    const codes_file *file = &job->engine->i8;
    const codes_layout *layout = &file->layout;
    uint64_t slot = number * layout->rows;
    size_t n_rows = (size_t)IM_MIN((uint64_t)layout->rows, job->index->n_coded - slot);
    size_t n = IM_MIN((size_t)CODES_RUN, n_rows);
    size_t count = tiered_select(job->index, search->bitmap, slot, n, 0, at);
    if (count > n / FETCH_PART) {
        return; /* dense: the processor reads ahead by itself */
    }
    codes_block block = codes_block_at(layout, im_map_data(file->map) + layout->head_bytes +
                                                   number * CODES_BLOCK_BYTES);
    bool whole = is_sparse(search, count, n);
    for (size_t i = 0; i < count; i++) {
        index_fetch(block.codes + at[i] * layout->row_bytes, layout->row_bytes);
        __builtin_prefetch(block.numbers + at[i]);
        if (whole) {
            index_fetch(block.lower + at[i] * layout->row_bytes, layout->row_bytes);
        }
    }
}

static void fetch_blocks(const tiered_job *job, uint64_t first, uint64_t end)
{
    for (size_t i = 0; i < job->n; i++) {
        const tiered_search *search = &job->searches[i];
        for (uint64_t at = first; at < end && !search->done && !search->tiled; at++) {
            fetch_block(job, search, at);
        }
    }
}

/* ---- rows behind the codes ---- */

static void pass_word(tiered_job *job, tiered_search *search, size_t worker, size_t word)
{
    const float *rows[WORD_BITS];
    float scores[WORD_BITS];
    uint16_t at[WORD_BITS];
    codes_run run = {.at = at};
    im_index *index = job->index;
    uint64_t first = (uint64_t)word * WORD_BITS;
    uint64_t bits = index_selected(index, search->bitmap, word);
    if (first < index->n_coded) {
        bits &= UINT64_MAX << (index->n_coded - first);
    }
    for (uint64_t rest = bits; rest != 0; rest &= rest - 1) {
        at[run.n] = (uint16_t)__builtin_ctzll(rest);
        rows[run.n] = (const float *)(const void *)index_row_at(index, first + at[run.n]);
        run.n++;
    }
    if (run.n == 0) {
        return;
    }
    index_scoring_rows(search->request->scoring, rows, run.n, scores);
    uint64_t unsound = index_unsound(index, word, bits);
    if (unsound != 0) {
        tiered_fail(job, TIERED_ROW, first + (uint64_t)__builtin_ctzll(unsound));
        return;
    }
    tiered_keep_run(job, search, worker, first, &run, scores, scores);
}

/* ---- the pass ---- */

static void pass_blocks(tiered_job *job, size_t worker, uint64_t first, uint64_t end)
{
    /* one thread goes on with the next task, of which others would know nothing */
    uint64_t known =
        job->n_workers > 1 ? end : codes_blocks_of(&job->engine->i8.layout, job->index->n_coded);
    if (job->n_workers > 1 || first == 0) {
        fetch_blocks(job, first, IM_MIN(first + FETCH_AHEAD, known));
    }
    for (uint64_t at = first; at < end && !tiered_failed(job); at++) {
        fetch_blocks(job, IM_MIN(at + FETCH_AHEAD, known), IM_MIN(at + FETCH_AHEAD + 1, known));
        pass_block(job, worker, at);
    }
}

static void pass_task(void *context, size_t task, size_t worker)
{
    tiered_job *job = context;
    bool coded = task < job->n_code_tasks;
    uint64_t step = coded ? TASK_BLOCKS : TAIL_WORDS;
    uint64_t first =
        coded ? task * step : job->index->n_coded / WORD_BITS + (task - job->n_code_tasks) * step;
    uint64_t end = coded ? codes_blocks_of(&job->engine->i8.layout, job->index->n_coded)
                         : index_words(job->index);
    end = IM_MIN(end, first + step);
    if (coded) {
        pass_blocks(job, worker, first, end);
        return;
    }
    for (uint64_t at = first; at < end && !tiered_failed(job); at++) {
        for (size_t i = 0; i < job->n; i++) {
            if (!job->searches[i].done) {
                pass_word(job, &job->searches[i], worker, (size_t)at);
            }
        }
    }
}

void tiered_pass(tiered_job *job)
{
    im_index *index = job->index;
    uint64_t blocks = codes_blocks_of(&job->engine->i8.layout, index->n_coded);
    size_t tail = 0;
    job->n_code_tasks = (size_t)((blocks + TASK_BLOCKS - 1) / TASK_BLOCKS);
    if (index->n_coded < index->n_rows) {
        size_t words = index_words(index) - (size_t)(index->n_coded / WORD_BITS);
        tail = (words + TAIL_WORDS - 1) / TAIL_WORDS;
    }
    tiered_tile_choose(job);
    im_pool_run(index->pool, job->n_code_tasks + tail, pass_task, job);
}
