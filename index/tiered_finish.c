/* index/tiered_finish.c — the rows decide: what a pass over the codes left is read and scored as
 * the scan would, best bound first, until no bound can be a hit any more. */
#include "base/base.h"
#include "base/file.h"
#include "index/tiered_internal.h"

#define SCORE_ROWS 16u
/* More hits of a range than a sixteenth of the rows: scanning all takes no longer than reading
 * these one by one (100,000 rows of 512: as long at a twentieth, five times as long at all). */
#define RANGE_PART 16u

/* What all threads found and the threshold leaves, best bound first. false when memory is out. */
static bool collect(tiered_search *search, size_t n_workers)
{
    index_top *all = &search->lanes[0].found;
    float threshold = atomic_load(&search->threshold);
    tiered_thin_out(all, threshold);
    for (size_t t = 1; t < n_workers; t++) {
        index_top *other = &search->lanes[t].found;
        for (size_t i = 0; i < other->n; i++) {
            if (other->entries[i].score >= threshold && !index_top_push(all, &other->entries[i])) {
                return false;
            }
        }
        other->n = 0;
    }
    index_top_sort(all);
    return true;
}

/* Reads a row into `room`: a page that is mapped brings fifteen neighbours into the process with
 * it, and after some thousand searches the whole file. The mapping where it cannot be read: it
 * knows what to say of a file that was cut. */
static const uint8_t *read_row(const im_index *index, uint64_t slot, uint8_t *room)
{
    uint64_t offset = HEADER_BYTES + slot * index->layout.pitch;
    im_code rc = im_file_pread(index->fd, room, index->layout.pitch, offset, index->path, NULL);
    return rc == IM_OK ? room : index_row_at(index, slot);
}

/* Scores n found rows. A row above its bound: its codes are not of this row.
 * @param room [n, pitch] */
static void score_found(tiered_job *job, tiered_search *search, const im_hit *found, size_t n,
                        uint8_t *room)
{
    const im_index *index = job->index;
    uint64_t slots[SCORE_ROWS] = {0};
    const uint8_t *bytes[SCORE_ROWS] = {NULL};
    const float *rows[SCORE_ROWS];
    float scores[SCORE_ROWS];
    for (size_t i = 0; i < n; i++) {
        slots[i] = found[i].slot;
        bytes[i] = read_row(index, slots[i], room + i * index->layout.pitch);
        rows[i] = (const float *)(const void *)bytes[i];
    }
    uint64_t sound = format_rows_sound(&index->layout, slots, bytes, n);
    index_scoring_rows(search->request->scoring, rows, n, scores);
    for (size_t i = 0; i < n; i++) {
        if (((sound >> i) & 1) == 0) {
            tiered_fail(job, TIERED_ROW, slots[i]);
            return;
        }
        if (scores[i] > found[i].score && !search->codes.unbounded) {
            tiered_fail(job, TIERED_CODES, slots[i]);
            return;
        }
        if (!index_push(index, search->request->query, slots[i], bytes[i], scores[i],
                        &search->top)) {
            tiered_fail(job, TIERED_NOMEM, 0);
            return;
        }
    }
}

static void forget_found(tiered_search *search, size_t n_workers)
{
    for (size_t t = 0; t < n_workers; t++) {
        search->lanes[t].found.n = 0;
        search->lanes[t].least.n = 0;
    }
}

/* Scores what was found, best bound first, until no bound can be a hit. */
static void score_all(tiered_job *job, tiered_search *search)
{
    const index_top *all = &search->lanes[0].found;
    uint8_t *room = im_alloc_aligned(SCORE_ROWS, job->index->layout.pitch);
    if (room == NULL) {
        tiered_fail(job, TIERED_NOMEM, 0);
        return;
    }
    for (size_t at = 0; at < all->n && !tiered_failed(job); at += SCORE_ROWS) {
        if (index_top_refuses(&search->top, all->entries[at].score)) {
            break; /* the bounds only get lower */
        }
        size_t n = IM_MIN((size_t)SCORE_ROWS, all->n - at);
        score_found(job, search, all->entries + at, n, room);
    }
    im_free(room);
}

/* Whether so many rows reach the floor that they are better scanned. */
static bool is_wide(const tiered_search *search, size_t n_workers)
{
    const im_index_query *query = search->request->query;
    uint64_t n_found = 0;
    for (size_t t = 0; t < n_workers; t++) {
        n_found += search->lanes[t].found.n;
    }
    return query->has_floor &&
           IM_MIN(n_found, (uint64_t)query->k) > search->request->filtered / RANGE_PART;
}

bool tiered_finish(tiered_job *job, tiered_search *search)
{
    const index_top *top = &search->top;
    if (is_wide(search, job->n_workers)) {
        forget_found(search, job->n_workers);
        return false;
    }
    if (!collect(search, job->n_workers)) {
        tiered_fail(job, TIERED_NOMEM, 0);
        return false;
    }
    score_all(job, search);
    forget_found(search, job->n_workers);
    /* rows were let go only below the threshold: proved when the last hit reaches it */
    float threshold = atomic_load(&search->threshold);
    return search->codes.unbounded || threshold <= search->base ||
           (top->n == top->limit && top->entries[0].score >= threshold);
}
