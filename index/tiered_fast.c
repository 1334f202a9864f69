/* index/tiered_fast.c — where bits choose which rows the int8 codes are asked about.
 *
 * By its bits each row has a guess at its score and a standard error. First the rows with the best
 * guesses, five hundred or more, are searched as in a proved search; the k-th score among them is a
 * bound on the true one. Then all rows whose guess may reach it within a few standard errors. What
 * is missed is improbable, not impossible: the answer does not call itself exact. Both choices
 * follow from the guesses alone, so that the answer does not depend on threads or batch. */
#include "base/base.h"
#include "index/tiered_internal.h"
#include <float.h>
#include <math.h>
#include <string.h>

#define TASK_BLOCKS 2u
#define FIRST_ROWS 512u  /* wanted in the first choice */
#define FIRST_PER_HIT 8u /* times k, when that is more */
#define SAMPLE 1024u     /* guesses that say where the first choice ends */
#define SAMPLE_LEAST 8u  /* of them in the first choice */

/* ---- guesses ---- */

static void guess_block(tiered_job *job, tiered_search *search, uint64_t number)
{
    uint16_t at[CODES_RUN];
    float some[CODES_RUN];
    codes_file *file = &job->engine->b1;
    uint64_t slot = number * file->layout.rows;
    size_t n_rows = (size_t)IM_MIN((uint64_t)file->layout.rows, job->index->n_coded - slot);
    const uint8_t *bytes = codes_file_block(file, number);
    if (bytes == NULL) {
        atomic_store(&job->engine->b1_damaged, true);
        return; /* all searches of the job are proved ones then */
    }
    codes_block block = codes_block_at(&file->layout, bytes);
    for (size_t row = 0; row < n_rows; row += CODES_RUN) {
        size_t n = IM_MIN((size_t)CODES_RUN, n_rows - row);
        float *out = search->guesses + slot + row;
        size_t count = tiered_select(job->index, search->request->bitmap, slot + row, n, row, at);
        codes_run run = {.first = row, .at = count == n ? NULL : at, .n = count};
        if (count == n) {
            codes_guesses(&search->codes, &file->layout, &block, &run, out);
            continue;
        }
        for (size_t i = 0; i < n; i++) {
            out[i] = -INFINITY;
        }
        if (count > 0) {
            codes_guesses(&search->codes, &file->layout, &block, &run, some);
        }
        for (size_t i = 0; i < count; i++) {
            out[at[i] - row] = some[i];
        }
    }
}

static void guess_task(void *context, size_t task, size_t worker)
{
    tiered_job *job = context;
    uint64_t first = (uint64_t)task * TASK_BLOCKS;
    uint64_t end = codes_blocks_of(&job->engine->b1.layout, job->index->n_coded);
    end = IM_MIN(end, first + TASK_BLOCKS);
    (void)worker;
    for (uint64_t at = first; at < end; at++) {
        for (size_t i = 0; i < job->n; i++) {
            if (job->searches[i].fast) {
                guess_block(job, &job->searches[i], at);
            }
        }
    }
}

/* Guesses of all coded rows; what fills the last word is out of the question. */
static bool make_room(const tiered_job *job, tiered_search *search)
{
    size_t n = (size_t)job->index->n_coded;
    size_t room = (n + WORD_BITS - 1) / WORD_BITS * WORD_BITS;
    search->guesses = im_alloc_aligned(room, sizeof(float));
    for (size_t i = n; search->guesses != NULL && i < room; i++) {
        search->guesses[i] = -INFINITY;
    }
    return search->guesses != NULL;
}

/* ---- choices ---- */

/* The value of that rank, 0 being the largest; the order of values changes (Hoare's selection). */
static float select_rank(float *values, size_t n, size_t rank)
{
    size_t from = 0;
    size_t to = n; /* the rank is in [from, to) */
    while (to - from > 1) {
        float pivot = values[from + (to - from) / 2];
        size_t low = from;
        size_t high = to - 1;
        for (;;) {
            while (values[low] > pivot) {
                low++;
            }
            while (values[high] < pivot) {
                high--;
            }
            if (low >= high) {
                break;
            }
            float moved = values[low];
            values[low++] = values[high];
            values[high--] = moved;
        }
        size_t middle = high + 1; /* all before it are >= pivot, all from it on <= pivot */
        if (middle == to) {
            middle = to - 1; /* the pivot alone, at the end */
        }
        if (rank < middle) {
            to = middle;
        } else {
            from = middle;
        }
    }
    return values[from];
}

/* A guess that about as many rows reach as the first choice should have. */
static float first_choice(const tiered_job *job, const tiered_search *search)
{
    float sample[SAMPLE];
    size_t n = (size_t)job->index->n_coded;
    size_t wanted = IM_MAX((size_t)FIRST_ROWS, FIRST_PER_HIT * search->limit);
    size_t step = IM_MAX(n / SAMPLE, (size_t)1);
    size_t taken = IM_MIN(n / step, (size_t)SAMPLE);
    for (size_t i = 0; i < taken; i++) {
        sample[i] = search->guesses[i * step];
    }
    size_t rank = IM_MAX(wanted * taken / n, (size_t)SAMPLE_LEAST);
    return fmaxf(select_rank(sample, taken, IM_MIN(rank, taken - 1)), -FLT_MAX);
}

/* Bits of the guesses >= least, less those of `but` (may be NULL). */
static void choose(const tiered_job *job, const tiered_search *search, float least,
                   const uint64_t *but, uint64_t *out)
{
    size_t n_words = (size_t)((job->index->n_coded + WORD_BITS - 1) / WORD_BITS);
    for (size_t w = 0; w < n_words; w++) {
        uint64_t bits = search->codes.kernels->at_least(search->guesses + w * WORD_BITS, least);
        out[w] = but != NULL ? bits & ~but[w] : bits;
    }
}

/* The rows behind the codes are all looked at, with the first choice. */
static void add_tail(const im_index *index, const uint64_t *bitmap, uint64_t *out)
{
    for (size_t w = (size_t)(index->n_coded / WORD_BITS); w < index_words(index); w++) {
        uint64_t bits = index_selected(index, bitmap, w);
        uint64_t first = (uint64_t)w * WORD_BITS;
        if (first < index->n_coded) {
            bits &= UINT64_MAX << (index->n_coded - first);
        }
        out[w] |= bits;
    }
}

/* One pass of one search over `bitmap`, from a threshold on. */
static bool search_chosen(tiered_job *job, tiered_search *search, const uint64_t *bitmap,
                          float base)
{
    tiered_job own = *job;
    own.searches = search;
    own.n = 1;
    search->bitmap = bitmap;
    search->base = base;
    atomic_store(&search->threshold, base);
    tiered_pass(&own);
    bool proved = !tiered_failed(&own) && tiered_finish(&own, search);
    if (tiered_failed(&own)) {
        tiered_fail(job, (tiered_failure)atomic_load(&own.failure), atomic_load(&own.slot));
    }
    return proved;
}

/* True when the search is done: k hits. */
static bool search_fast(tiered_job *job, tiered_search *search, uint64_t *chosen[2])
{
    size_t n_bytes = index_words(job->index) * sizeof(uint64_t);
    float base = search->base;
    memset(chosen[0], 0, n_bytes);
    memset(chosen[1], 0, n_bytes);
    choose(job, search, first_choice(job, search), NULL, chosen[0]);
    add_tail(job->index, search->request->bitmap, chosen[0]);
    codes_query_prove(&search->codes, false);
    if (!search_chosen(job, search, chosen[0], base) || search->top.n < search->top.limit) {
        return false;
    }
    float least = IM_MAX(base, search->top.entries[0].score);
    choose(job, search, least, chosen[0], chosen[1]);
    return search_chosen(job, search, chosen[1], least);
}

static void make_proved(tiered_search *search)
{
    const im_index_query *query = search->request->query;
    search->fast = false;
    codes_query_prove(&search->codes, true);
    search->bitmap = search->request->bitmap;
    search->base = query->has_floor ? query->floor : -INFINITY;
    atomic_store(&search->threshold, search->base);
    search->top.n = 0;
}

void tiered_fast(tiered_job *job)
{
    size_t n_words = index_words(job->index);
    uint64_t *memory = im_alloc(n_words, 2 * sizeof(uint64_t));
    uint64_t blocks = codes_blocks_of(&job->engine->b1.layout, job->index->n_coded);
    bool ready = memory != NULL;
    for (size_t i = 0; i < job->n && ready; i++) {
        ready = !job->searches[i].fast || make_room(job, &job->searches[i]);
    }
    if (!ready) {
        im_free(memory);
        tiered_fail(job, TIERED_NOMEM, 0);
        return;
    }
    im_pool_run(job->index->pool, (size_t)((blocks + TASK_BLOCKS - 1) / TASK_BLOCKS), guess_task,
                job);
    bool damaged = atomic_load(&job->engine->b1_damaged) || im_map_lost(job->engine->b1.map);
    for (size_t i = 0; i < job->n && !tiered_failed(job); i++) {
        tiered_search *search = &job->searches[i];
        uint64_t *chosen[2] = {memory, memory + n_words};
        if (search->fast && (damaged || !search_fast(job, search, chosen))) {
            make_proved(search);
        }
        im_free(search->guesses);
        search->guesses = NULL;
    }
    im_free(memory);
}
