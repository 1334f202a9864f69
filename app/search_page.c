/* app/search_page.c — pages of hits: by score alone, or sorted and grouped by a field.
 *
 * By score the index gives the page. An order by a field needs to know first which rows are meant:
 * with parts these are all whose score is at least the lowest one (asked for, or two standard
 * deviations above unrelated pictures), without parts all rows of the filter. Groups keep the first
 * n of each value of whichever order there is; the rows kept of a longer list begin with those of a
 * shorter, so that a ranking is asked for more until the page is full. */
#include "app/search_internal.h"
#include "base/clock.h"
#include "base/hash.h"

#define RELEVANT_DEVIATIONS 2.0 /* of unrelated pictures: one of 40 lies above */
#define CURSOR_TEXT_BYTES 2048u /* longer values are no cursor */

bool search_is_ranked(const search_job *job)
{
    return job->answer->n_parts > 0 && job->asked->sort_column == NULL &&
           job->asked->group_column == NULL && !job->asked->has_min_score;
}

/* In what order the hits come, and from where. */
typedef struct hit_order {
    const char *column; /* NULL: by score */
    bool descending;
    uint32_t digest; /* of both; 0 by score */
    bool has_floor;
    float floor;
    bool has_cursor;
    im_cursor cursor;
} hit_order;

/* ---- cursors ---- */

static bool fits(im_cursor_kind cursor, im_column_kind column)
{
    static const im_cursor_kind kinds[] = {[IM_COLUMN_NUMBER] = IM_CURSOR_NUMBER,
                                           [IM_COLUMN_INTEGER] = IM_CURSOR_INTEGER,
                                           [IM_COLUMN_TEXT] = IM_CURSOR_TEXT};
    return cursor == IM_CURSOR_NONE || cursor == kinds[column];
}

/* A cursor is only taken back by the order that gave it. */
static im_code read_cursor(im_library *library, search_job *job, hit_order *order)
{
    im_column_kind kind = IM_COLUMN_TEXT;
    if (job->asked->cursor == NULL) {
        return IM_OK;
    }
    im_code rc = im_cursor_read(job->asked->cursor, &order->cursor, &job->error);
    if (rc != IM_OK) {
        return rc;
    }
    bool good = order->cursor.order == order->digest;
    if (order->column == NULL) {
        good = good && order->cursor.kind == IM_CURSOR_SCORE;
    } else {
        good = good && im_columns_kind(library->columns, order->column, &kind) &&
               fits(order->cursor.kind, kind);
    }
    if (!good) {
        rc = im_fail(&job->error, IM_ERR_INVALID, "the cursor is of an answer in another order");
        im_hint(&job->error, "ask the same query as the answer it came with");
        im_cursor_clear(&order->cursor);
        return rc;
    }
    order->has_cursor = true;
    return IM_OK;
}

static im_code put_cursor(im_library *library, search_job *job, const hit_order *order,
                          const im_hit *last, im_error *err)
{
    im_column_kind kind = IM_COLUMN_TEXT;
    im_column_value value = {0};
    bool has = false;
    char *text = NULL;
    im_str out;
    im_cursor cursor = {.score = last->score,
                        .item = last->item,
                        .change_seq = library->index_seq,
                        .order = order->digest};
    if (order->column != NULL) {
        im_code rc =
            im_columns_value(library->columns, order->column, last->slot, &value, &has, err);
        if (rc != IM_OK) {
            return rc;
        }
        cursor.kind = IM_CURSOR_NONE;
        (void)im_columns_kind(library->columns, order->column, &kind);
    }
    if (has && kind == IM_COLUMN_NUMBER) {
        cursor.kind = IM_CURSOR_NUMBER;
        cursor.number = value.number;
    } else if (has && kind == IM_COLUMN_INTEGER) {
        cursor.kind = IM_CURSOR_INTEGER;
        cursor.integer = value.integer;
    } else if (has) {
        if (value.text.size > CURSOR_TEXT_BYTES) {
            search_warn(job->answer,
                        "no cursor: the last value is too long; page on with an offset");
            return IM_OK;
        }
        text = im_alloc_zero(value.text.size + 1, 1);
        if (text != NULL && value.text.size > 0) {
            memcpy(text, value.text.data, value.text.size);
        }
        cursor.kind = IM_CURSOR_TEXT;
        cursor.text = text;
    }
    im_str_init(&out, 3 * CURSOR_TEXT_BYTES);
    if (cursor.kind != IM_CURSOR_TEXT || text != NULL) {
        im_cursor_write(&cursor, &out);
        job->answer->cursor = out.failed ? NULL : im_strdup(im_str_text(&out));
    }
    im_str_clear(&out);
    im_free(text);
    return job->answer->cursor != NULL ? IM_OK
                                       : im_fail(err, IM_ERR_NOMEM, "no memory for a cursor");
}

/* ---- by score ---- */

static void set_facts(search_job *job, const im_index_answer *facts)
{
    im_answer *answer = job->answer;
    answer->scanned = facts->scanned;
    answer->exact = facts->exact;
    answer->engine = facts->engine;
    if (facts->codes == IM_CODES_DAMAGED) {
        search_warn(answer, "the codes of the index are damaged: slower, and as right as ever "
                            "(imago rebuild makes them anew)");
    }
}

static im_index_query index_query(const search_job *job)
{
    return (im_index_query){.parts = job->plan.parts,
                            .n_parts = job->plan.n_parts,
                            .combine = job->answer->combine,
                            .k = (size_t)(job->asked->k + job->asked->offset),
                            .bitmap = job->rows,
                            .leave_out =
                                job->how->leave_out != 0 ? job->how->leave_out : IM_NO_ITEM,
                            .mode = job->asked->exact  ? IM_MODE_EXACT
                                    : job->asked->fast ? IM_MODE_FAST
                                                       : IM_MODE_AUTO};
}

static im_code finish_ranked(im_library *library, search_job *job, const im_index_query *query,
                             const im_hit *found, const im_index_answer *facts, im_error *err)
{
    static const hit_order by_score = {0};
    size_t skip = IM_MIN((size_t)job->asked->offset, facts->n_hits);
    set_facts(job, facts);
    job->answer->has_total = true;
    job->answer->total = job->n_rows - job->left_out;
    im_code rc =
        search_fill(library, job, found + skip, facts->n_hits - skip, job->asked->offset + 1, err);
    if (rc == IM_OK && facts->n_hits == query->k && facts->n_hits > skip) {
        rc = put_cursor(library, job, &by_score, &found[facts->n_hits - 1], err);
    }
    return rc;
}

/* Queries of one index, answered together. */
typedef struct ranked_batch {
    search_job **jobs;       /* [n] */
    im_index_query *queries; /* [n] */
    im_index_answer *facts;  /* [n] */
    im_hit **hits;           /* [n] pointers, each to [query.k] */
    size_t n;
} ranked_batch;

static void clear_batch(ranked_batch *batch)
{
    for (size_t i = 0; batch->hits != NULL && i < batch->n; i++) {
        im_free(batch->hits[i]);
    }
    im_free(batch->jobs);
    im_free(batch->queries);
    im_free(batch->facts);
    im_free(batch->hits);
}

static im_code open_batch(ranked_batch *batch, size_t n, im_error *err)
{
    *batch = (ranked_batch){.jobs = im_alloc_zero(n, sizeof(search_job *)),
                            .queries = im_alloc_zero(n, sizeof(im_index_query)),
                            .facts = im_alloc_zero(n, sizeof(im_index_answer)),
                            .hits = im_alloc_zero(n, sizeof(im_hit *))};
    return batch->jobs != NULL && batch->queries != NULL && batch->facts != NULL &&
                   batch->hits != NULL
               ? IM_OK
               : im_fail(err, IM_ERR_NOMEM, "no memory for %zu queries", n);
}

/* Adds a job whose query that index answers; a cursor that is none is the job's own failure. */
static im_code batch_job(im_library *library, ranked_batch *batch, search_job *job,
                         im_search_mode mode, im_error *err)
{
    hit_order order = {0};
    job->rc = read_cursor(library, job, &order);
    if (job->rc != IM_OK) {
        return IM_OK;
    }
    im_index_query *query = &batch->queries[batch->n];
    *query = index_query(job);
    query->mode = mode;
    query->has_after = order.has_cursor;
    query->after_score = order.cursor.score;
    query->after_item = order.cursor.item;
    batch->jobs[batch->n] = job;
    batch->hits[batch->n] = im_alloc(query->k, sizeof(im_hit));
    return batch->hits[batch->n++] != NULL
               ? IM_OK
               : im_fail(err, IM_ERR_NOMEM, "no memory for %zu hits", query->k);
}

static im_code run_batch(im_library *library, im_index *index, ranked_batch *batch, im_error *err)
{
    if (batch->n == 0) {
        return IM_OK;
    }
    uint64_t start = im_clock_ns();
    im_code rc =
        im_index_search_many(index, batch->queries, batch->n, batch->hits, batch->facts, err);
    double search_ms = im_clock_ms_since(start) / (double)batch->n;
    for (size_t i = 0; rc == IM_OK && i < batch->n; i++) {
        batch->jobs[i]->answer->search_ms += search_ms;
        rc = finish_ranked(library, batch->jobs[i], &batch->queries[i], batch->hits[i],
                           &batch->facts[i], err);
    }
    return rc;
}

im_code search_ranked(im_library *library, search_job *const *jobs, size_t n, im_error *err)
{
    ranked_batch own = {0}; /* imago's own scans answer … */
    ranked_batch ann = {0}; /* … or the FAISS file that the library was told to use */
    im_index *other = NULL;
    im_code rc = open_batch(&own, n, err);
    if (rc == IM_OK) {
        rc = open_batch(&ann, n, err);
    }
    for (size_t i = 0; rc == IM_OK && i < n; i++) {
        const im_events events = search_events(jobs[i]->answer);
        im_search_mode mode = index_query(jobs[i]).mode;
        im_index *index = NULL;
        rc = engine_index(library, jobs[i]->rows, &events, &mode, &index, err);
        other = index != library->index ? index : other;
        if (rc == IM_OK) {
            rc = batch_job(library, index == library->index ? &own : &ann, jobs[i], mode, err);
        }
    }
    if (rc == IM_OK) {
        rc = run_batch(library, library->index, &own, err);
    }
    if (rc == IM_OK) {
        rc = run_batch(library, other, &ann, err);
    }
    clear_batch(&own);
    clear_batch(&ann);
    return rc;
}

/* ---- lists in an order ---- */

/* The first hits of an order. */
typedef struct hit_list {
    im_hit *hits; /* [n], owned */
    size_t n;
    bool whole; /* there are no more */
} hit_list;

static im_code room_for(hit_list *list, size_t n, im_error *err)
{
    im_free(list->hits);
    *list = (hit_list){.hits = im_alloc(n, sizeof(im_hit))};
    return list->hits != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for %zu hits", n);
}

/* The best `want` rows, all of them at least the floor. */
static im_code list_by_score(im_library *library, search_job *job, const hit_order *order,
                             size_t want, hit_list *list, im_error *err)
{
    im_index_answer facts;
    im_index_query query = index_query(job);
    query.k = want;
    query.has_floor = order->has_floor;
    query.floor = order->floor;
    im_code rc = room_for(list, want, err);
    if (rc != IM_OK) {
        return rc;
    }
    const im_events events = search_events(job->answer);
    rc = order->has_floor ? im_index_range(library->index, &query, list->hits, &facts, err)
                          : engine_search(library, &query, &events, list->hits, &facts, err);
    if (rc == IM_OK) {
        list->n = facts.n_hits;
        list->whole = facts.n_hits < want || want >= job->n_rows - job->left_out;
        set_facts(job, &facts);
    }
    return rc;
}

/* The first `want` rows of the bitmap by the order's field, behind `after`. */
static im_code list_by_field(im_library *library, const hit_order *order, const uint64_t *bits,
                             const im_columns_after *after, size_t want, hit_list *list,
                             im_error *err)
{
    size_t n = 0;
    im_columns_hit *found = im_alloc(want, sizeof(*found));
    im_code rc = room_for(list, want, err);
    if (rc == IM_OK && found == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for %zu hits", want);
    }
    if (rc == IM_OK) {
        rc = im_columns_sort(library->columns, order->column, order->descending, bits, after, want,
                             found, &n, NULL, err);
    }
    for (size_t i = 0; rc == IM_OK && i < n; i++) {
        list->hits[i] = (im_hit){.item = found[i].item, .slot = found[i].slot};
    }
    list->n = rc == IM_OK ? n : 0;
    list->whole = n < want;
    im_free(found);
    return rc;
}

static im_columns_after after_of(const hit_order *order)
{
    const im_cursor *cursor = &order->cursor;
    im_columns_after after = {.has_value = cursor->kind != IM_CURSOR_NONE, .item = cursor->item};
    if (cursor->kind == IM_CURSOR_NUMBER) {
        after.value.number = cursor->number;
    } else if (cursor->kind == IM_CURSOR_INTEGER) {
        after.value.integer = cursor->integer;
    } else if (cursor->kind == IM_CURSOR_TEXT) {
        after.value.text = im_view_from(cursor->text);
    }
    return after;
}

/* Where in a list by score the cursor's page begins. */
static size_t behind_score(const hit_list *list, const hit_order *order)
{
    size_t i = 0;
    while (
        order->has_cursor && i < list->n &&
        (list->hits[i].score > order->cursor.score || (list->hits[i].score == order->cursor.score &&
                                                       list->hits[i].item <= order->cursor.item))) {
        i++;
    }
    return i;
}

/* The page that begins at `first` of a list in its final order. */
static im_code finish_list(im_library *library, search_job *job, const hit_order *order,
                           const hit_list *list, size_t first, im_error *err)
{
    size_t from = first + IM_MIN((size_t)job->asked->offset, list->n - first);
    size_t n = IM_MIN(job->asked->k, list->n - from);
    im_code rc = search_fill(library, job, list->hits + from, n, job->asked->offset + 1, err);
    if (rc == IM_OK && n > 0 && (from + n < list->n || !list->whole)) {
        rc = put_cursor(library, job, order, &list->hits[from + n - 1], err);
    }
    return rc;
}

/* ---- rows that are meant ---- */

/* Leaves in job->own_rows only what scores at least the floor; the list is by score. */
static im_code keep_relevant(im_library *library, search_job *job, const hit_order *order,
                             hit_list *list, im_error *err)
{
    size_t most = (size_t)IM_MIN(job->n_rows, (uint64_t)IM_LIMIT_OFFSET_PLUS_K);
    im_code rc = list_by_score(library, job, order, IM_MAX(most, (size_t)1), list, err);
    if (rc != IM_OK) {
        return rc;
    }
    if (!list->whole) {
        char sentence[128];
        (void)snprintf(sentence, sizeof(sentence),
                       "more than %u pictures score that high: only the best of them are looked at",
                       IM_LIMIT_OFFSET_PLUS_K);
        search_warn(job->answer, sentence);
    }
    size_t n_words = (size_t)((library->index_record.n_rows + 63) / 64);
    memset(job->own_rows, 0, n_words * sizeof(uint64_t));
    for (size_t i = 0; i < list->n; i++) {
        job->own_rows[list->hits[i].slot / 64] |= 1ull << (list->hits[i].slot % 64);
    }
    job->answer->has_total = list->whole;
    job->answer->total = list->n;
    return IM_OK;
}

static im_code page_by_field(im_library *library, search_job *job, const hit_order *order,
                             im_error *err)
{
    hit_list list = {0};
    const im_columns_after after = after_of(order);
    size_t want = (size_t)(job->asked->k + job->asked->offset);
    im_code rc = list_by_field(library, order, job->own_rows, order->has_cursor ? &after : NULL,
                               want + 1, &list, err);
    if (rc == IM_OK) {
        rc = finish_list(library, job, order, &list, 0, err);
    }
    im_free(list.hits);
    return rc;
}

/* ---- groups ---- */

/* Groups a whole or partial list; *out_first is where the cursor's page begins in what is kept. */
static im_code keep_groups(im_library *library, search_job *job, const hit_order *order,
                           hit_list *list, size_t *out_first, im_error *err)
{
    hit_list next = {0};
    const im_hit *begin = NULL; /* the first hit of the ungrouped list behind the cursor */
    im_code rc = IM_OK;
    size_t place = 0;
    size_t n_all = list->n;
    im_hit *all = im_alloc(list->n, sizeof(im_hit));
    if (all == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for groups");
    }
    memcpy(all, list->hits, list->n * sizeof(im_hit));
    if (order->has_cursor && order->column != NULL) {
        const im_columns_after after = after_of(order);
        rc = list_by_field(library, order, job->own_rows, &after, 1, &next, err);
        begin = next.n > 0 ? next.hits : NULL;
        place = n_all;
        for (size_t i = 0; begin != NULL && i < n_all; i++) {
            place = all[i].slot == begin->slot ? IM_MIN(place, i) : place;
        }
    } else {
        place = behind_score(list, order);
    }
    if (rc == IM_OK) {
        rc = im_columns_group(library->columns, job->asked->group_column, job->asked->group_n,
                              list->hits, &list->n, err);
    }
    *out_first = 0;
    for (size_t i = 0; rc == IM_OK && i < place && *out_first < list->n; i++) {
        *out_first += all[i].slot == list->hits[*out_first].slot;
    }
    im_free(all);
    im_free(next.hits);
    return rc;
}

/* The page of an order in groups: of a list that grows until the page and one more are there. */
static im_code page_of_groups(im_library *library, search_job *job, const hit_order *order,
                              im_error *err)
{
    hit_list list = {0};
    size_t first = 0;
    size_t most = (size_t)IM_MAX(IM_MIN(job->n_rows, (uint64_t)IM_LIMIT_OFFSET_PLUS_K), 1u);
    size_t page = (size_t)(job->asked->k + job->asked->offset);
    size_t want = order->column != NULL || order->has_floor ? most : IM_MIN(4 * page, most);
    im_code rc =
        im_columns_count_groups(library->columns, job->asked->group_column, job->asked->group_n,
                                job->own_rows, &job->answer->total, err);
    while (rc == IM_OK) {
        rc = order->column != NULL
                 ? list_by_field(library, order, job->own_rows, NULL, want, &list, err)
                 : list_by_score(library, job, order, want, &list, err);
        list.whole = list.whole || want >= job->n_rows;
        if (rc == IM_OK) {
            rc = keep_groups(library, job, order, &list, &first, err);
        }
        if (rc != IM_OK || list.whole || want == most || list.n - first > page) {
            break;
        }
        want = IM_MIN(4 * want, most);
    }
    if (rc == IM_OK) {
        rc = finish_list(library, job, order, &list, first, err);
    }
    im_free(list.hits);
    return rc;
}

/* ---- any order ---- */

/* The lowest score of hits that are sorted by a field when none was asked for: so many standard
 * deviations of the score over unrelated pictures, parts taken as independent. */
static float relevant_score(const search_job *job)
{
    double squares = 0;
    double least = (double)INFINITY;
    for (size_t i = 0; i < job->answer->n_parts; i++) {
        double weight = job->answer->parts[i].weight;
        squares += weight * weight;
        least = IM_MIN(least, fabs(weight));
    }
    double deviation = job->answer->combine == IM_COMBINE_SUM ? sqrt(squares) : least;
    return (float)(RELEVANT_DEVIATIONS * deviation);
}

static im_code set_order(im_library *library, search_job *job, hit_order *order, im_error *err)
{
    const im_query_request *asked = job->asked;
    im_column_kind kind = IM_COLUMN_INTEGER;
    bool listing = job->answer->n_parts == 0;
    order->column = asked->sort_column != NULL ? asked->sort_column : listing ? "taken" : NULL;
    if (order->column != NULL && !im_columns_kind(library->columns, order->column, &kind)) {
        return im_fail(err, IM_ERR_INTERNAL, "no column '%s'", order->column);
    }
    order->descending = asked->order == IM_ORDER_DESCENDING ||
                        (asked->order == IM_ORDER_DEFAULT && kind != IM_COLUMN_TEXT);
    if (order->column != NULL) {
        order->digest = im_crc32c(order->descending, order->column, strlen(order->column));
        order->digest = IM_MAX(order->digest, 1u); /* 0 is the score's */
    }
    order->has_floor = asked->has_min_score;
    order->floor = asked->min_score;
    if (!order->has_floor && !listing && order->column != NULL && library->model.n_background > 0) {
        order->has_floor = true;
        order->floor = relevant_score(job);
    }
    job->answer->has_min_score = order->has_floor;
    job->answer->min_score = order->floor;
    return IM_OK;
}

static im_code page_in_order(im_library *library, search_job *job, const hit_order *order,
                             im_error *err)
{
    hit_list list = {0};
    im_code rc = IM_OK;
    job->answer->exact = true;
    job->answer->engine = "columns";
    job->answer->has_total = true;
    job->answer->total = job->n_rows - job->left_out;
    if (order->has_floor) {
        rc = keep_relevant(library, job, order, &list, err);
        job->n_rows = list.n;
        job->left_out = false;
    }
    if (rc != IM_OK || job->n_rows == 0) {
        im_free(list.hits);
        return rc;
    }
    if (job->asked->group_column != NULL) {
        rc = page_of_groups(library, job, order, err);
    } else if (order->column != NULL) {
        rc = page_by_field(library, job, order, err);
    } else {
        rc = finish_list(library, job, order, &list, behind_score(&list, order), err);
    }
    im_free(list.hits);
    return rc;
}

im_code search_ordered(im_library *library, search_job *job, im_error *err)
{
    hit_order order = {0};
    uint64_t start = im_clock_ns();
    double fetch_ms = job->answer->fetch_ms;
    im_code rc = library_columns(library, err);
    if (rc == IM_OK) {
        rc = set_order(library, job, &order, err);
    }
    if (rc == IM_OK) {
        job->rc = read_cursor(library, job, &order);
    }
    if (rc == IM_OK && job->rc == IM_OK) {
        rc = page_in_order(library, job, &order, err);
    }
    im_cursor_clear(&order.cursor);
    fetch_ms = job->answer->fetch_ms - fetch_ms;
    job->answer->search_ms += im_clock_ms_since(start) - fetch_ms;
    return rc;
}
