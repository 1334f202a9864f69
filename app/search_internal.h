/* app/search_internal.h — what the files of a search share: its jobs go parts → vectors → rows →
 * page, all at one moment of the library. */
#ifndef IM_APP_SEARCH_INTERNAL_H
#define IM_APP_SEARCH_INTERNAL_H

#include "app/app_internal.h"

/** One query on its way. What `attempt` starts anew (another generation of the index) is marked. */
typedef struct search_job {
    const im_query_request *asked; /* borrowed */
    const im_search_how *how;      /* borrowed */
    im_answer *answer;             /* the caller's */
    im_code rc;                    /* this query's own failure … */
    im_error error;                /* … which stops no other */

    float *vectors; /* [n_parts, dim] */
    im_plan plan;   /* n_parts 0: a listing */

    uint64_t *rows;     /* attempt: bit per slot that passes; NULL: all that are alive */
    uint64_t *own_rows; /* attempt: owned memory of rows, or NULL */
    uint64_t n_rows;    /* attempt: bits set, leave_out counted */
    bool left_out;      /* attempt: how->leave_out is one of them */
} search_job;

/* ---- search.c ---- */
void search_warn(im_answer *answer, const char *sentence);
/** True when a failure is that of what one query asks: it is then the job's own, and stops no
 * other. */
bool search_own_fault(search_job *job, im_code rc, const im_error *cause);
/** Warnings of lower rooms land in an answer. */
im_events search_events(im_answer *answer);

/* ---- search_vectors.c ---- */
/** Turns the parts of all jobs into vectors (texts of all in one pass) and plans them. A job's own
 * failure goes into job->rc; returned is what stops all. */
IM_NODISCARD im_code search_vectors(im_library *library, search_job *jobs, size_t n, im_error *err);

/* ---- search_rows.c ---- */
/** Which rows may be hits: the filter, texts that must be found, files that are there.
 * IM_ERR_FORMAT when the index's files are to be made anew. */
IM_NODISCARD im_code search_rows(im_library *library, search_job *job, im_error *err);

/* ---- search_order.c ---- */
/** In what order the hits come, and from where. */
typedef struct hit_order {
    const char *column; /* NULL: by score */
    bool descending;
    uint32_t digest; /* of both; 0 by score */
    bool has_floor;
    float floor;
    bool has_cursor;
    im_cursor cursor;
} hit_order;

/** The order that a job asks for; columns are open. By default sorted hits score so many standard
 * deviations above unrelated pictures. */
IM_NODISCARD im_code search_set_order(im_library *library, search_job *job, hit_order *order,
                                      im_error *err);
/** The job's cursor, which only the order that gave it takes back: else the job's own failure, into
 * job->error. @param order im_cursor_clear */
IM_NODISCARD im_code search_read_cursor(im_library *library, search_job *job, hit_order *order);
/** Gives the answer the cursor behind a hit. */
IM_NODISCARD im_code search_put_cursor(im_library *library, search_job *job, const hit_order *order,
                                       const im_hit *last, im_error *err);

/* ---- search_ranked.c ---- */
/** True when search_ranked answers the job; else search_ordered does. */
bool search_is_ranked(const search_job *job);
/** A page of hits, of the jobs that are ranked by score alone: one pass over the codes. */
IM_NODISCARD im_code search_ranked(im_library *library, search_job *const *jobs, size_t n,
                                   im_error *err);
/** What a job asks of the index, for the hits of its page and one more, which tells whether there
 * is a next page. */
im_index_query search_index_query(const search_job *job);
/** What the index says of its answer, for the caller's. */
void search_set_facts(search_job *job, const im_index_answer *facts);

/* ---- search_page.c ---- */
/** A page of hits sorted or grouped by a field, above a lowest score, or of a listing. */
IM_NODISCARD im_code search_ordered(im_library *library, search_job *job, im_error *err);

/* ---- search_hits.c ---- */
/** Makes the hits of a page: scores by part, facts and paths of these rows only.
 * @param found [n], the first of them of rank `rank` */
IM_NODISCARD im_code search_fill(im_library *library, search_job *job, const im_hit *found,
                                 size_t n, uint64_t rank, im_error *err);
void search_clear_hits(im_answer *answer);

#endif
