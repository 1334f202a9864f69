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
#define FIRST_ROWS 512u         /* wanted in the first choice */
#define FIRST_PER_HIT 8u        /* times k, when that is more */
#define FIRST_LEAST 0.06        /* times the words of rows, likewise */
#define GUESS_BYTES (64u << 20) /* memory for guesses of several searches */
#define SAMPLE 1024u            /* words that say where the first choice ends */

/* ---- guesses ---- */

static size_t coded_words(const tiered_job *job)
{
    return (size_t)((job->index->n_coded + WORD_BITS - 1) / WORD_BITS);
}

static void guess_block(tiered_job *job, tiered_search *search, uint64_t number)
{
    codes_file *file = &job->engine->b1;
    const codes_layout *layout = &file->layout;
    const index_bits_kernels *kernels = search->codes.kernels->bits;
    uint64_t slot = number * layout->rows;
    uint64_t end = IM_MIN(slot + layout->rows, job->index->n_coded);
    const uint8_t *group = codes_file_block(file, number);
    if (group == NULL) {
        atomic_store(&job->engine->b1_damaged, true);
        return; /* all searches of the job are proved ones then */
    }
    for (; slot < end; slot += CODES_LANES, group += layout->group_bytes) {
        size_t word = (size_t)(slot / WORD_BITS);
        uint64_t bits = index_selected(job->index, search->request->bitmap, word);
        if (end - slot < CODES_LANES) {
            bits &= ~(UINT64_MAX << (end - slot));
        }
        if (bits != 0) { /* else nobody looks at these */
            codes_guesses(&search->codes, group, search->guesses + slot);
            search->best[word] = kernels->keep(search->guesses + slot, bits);
        } else {
            search->best[word] = -INFINITY;
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
            if (job->searches[i].guesses != NULL) {
                guess_block(job, &job->searches[i], at);
            }
        }
    }
}

/* Guesses of all coded rows, and the best of each word of them. */
static bool make_room(const tiered_job *job, tiered_search *search)
{
    size_t n_words = coded_words(job);
    search->guesses = im_alloc_aligned(n_words * (WORD_BITS + 1), sizeof(float));
    search->best = search->guesses + n_words * WORD_BITS;
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

/* A guess that about as many rows reach as the first choice should have: of n words a share of
 * 1 - exp(-rows / n) has one or more of them. */
static float first_choice(const tiered_job *job, const tiered_search *search)
{
    float sample[SAMPLE];
    size_t n = coded_words(job);
    double wanted = (double)IM_MAX((size_t)FIRST_ROWS, FIRST_PER_HIT * search->limit);
    wanted = fmax(wanted / (double)n, FIRST_LEAST);
    size_t step = (n + SAMPLE - 1) / SAMPLE;
    size_t taken = 0;
    for (size_t i = 0; i < n; i += step) {
        sample[taken++] = search->best[i];
    }
    size_t rank = (size_t)(-expm1(-wanted) * (double)taken);
    return fmaxf(select_rank(sample, taken, IM_MIN(rank, taken - 1)), -FLT_MAX);
}

/* Bits of the guesses >= least, less those of `but` (may be NULL). */
static void choose(const tiered_job *job, const tiered_search *search, float least,
                   const uint64_t *but, uint64_t *out)
{
    size_t n_words = coded_words(job);
    const index_bits_kernels *kernels = search->codes.kernels->bits;
    for (size_t w = 0; w < n_words; w++) {
        if (search->best[w] >= least) {
            uint64_t bits = kernels->not_below(search->guesses + w * WORD_BITS, least);
            out[w] = but != NULL ? bits & ~but[w] : bits;
        }
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

/* Those of [first, end) that are fast: all guesses in one pass over the bits.
 * @param memory two bitmaps */
static void search_some(tiered_job *job, size_t first, size_t end, uint64_t *memory)
{
    uint64_t blocks = codes_blocks_of(&job->engine->b1.layout, job->index->n_coded);
    im_pool_run(job->index->pool, (size_t)((blocks + TASK_BLOCKS - 1) / TASK_BLOCKS), guess_task,
                job);
    bool damaged = atomic_load(&job->engine->b1_damaged) || im_map_lost(job->engine->b1.map);
    for (size_t i = first; i < end; i++) {
        tiered_search *search = &job->searches[i];
        uint64_t *chosen[2] = {memory, memory + index_words(job->index)};
        if (search->fast && !tiered_failed(job) && (damaged || !search_fast(job, search, chosen))) {
            make_proved(search);
        }
        im_free(search->guesses);
        search->guesses = NULL;
    }
}

/* So many at once that their guesses stay within GUESS_BYTES. */
void tiered_fast(tiered_job *job)
{
    size_t room = GUESS_BYTES / sizeof(float) / (coded_words(job) * (WORD_BITS + 1));
    uint64_t *memory = NULL;
    for (size_t first = 0; first < job->n && !tiered_failed(job);) {
        size_t end = first;
        size_t taken = 0;
        for (; end < job->n && (taken == 0 || taken < room); end++) {
            if (job->searches[end].fast) {
                taken++;
                memory = memory != NULL ? memory
                                        : im_alloc(index_words(job->index), 2 * sizeof(uint64_t));
                if (memory == NULL || !make_room(job, &job->searches[end])) {
                    tiered_fail(job, TIERED_NOMEM, 0);
                }
            }
        }
        if (taken > 0 && !tiered_failed(job)) {
            search_some(job, first, end, memory);
        }
        first = end;
    }
    im_free(memory);
}
