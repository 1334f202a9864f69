/* app/search_page.c — pages of hits that are sorted or grouped by a field, above a lowest score, or
 * a listing.
 *
 * An order by a field needs to know first which rows are meant: with parts these are all whose
 * score is at least the lowest one (search_order.c), without parts all rows of the filter. Groups
 * keep the first n of each value of whichever order there is; the rows kept of a longer list begin
 * with those of a shorter, so that a ranking is asked for more until the page is full. */
#include "app/search_internal.h"
#include "base/clock.h"

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
    im_index_query query = search_index_query(job);
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
        search_set_facts(job, &facts);
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
        rc = search_put_cursor(library, job, order, &list->hits[from + n - 1], err);
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

static im_code one_try(im_library *library, search_job *job, im_error *err)
{
    hit_order order = {0};
    im_code rc = search_set_order(library, job, &order, err);
    if (rc == IM_OK) {
        job->rc = search_read_cursor(library, job, &order);
    }
    if (rc == IM_OK && job->rc == IM_OK) {
        rc = page_in_order(library, job, &order, err);
    }
    im_cursor_clear(&order.cursor);
    return rc;
}

im_code search_ordered(im_library *library, search_job *job, im_error *err)
{
    im_error cause = IM_ERROR_INIT;
    uint64_t start = im_clock_ns();
    double fetch_ms = job->answer->fetch_ms;
    im_code rc = library_columns(library, err);
    if (rc != IM_OK) {
        return rc;
    }
    rc = one_try(library, job, &cause);
    if (search_own_fault(job, rc, &cause)) {
        rc = IM_OK;
    } else if (rc == IM_ERR_FORMAT) {
        /* a block failed its checksum: the columns' first, as they are made sooner than rows; what
         * is wrong with rows fails again */
        search_clear_hits(job->answer);
        rc = library_columns_anew(library, err);
        rc = rc == IM_OK ? one_try(library, job, err) : rc;
    } else if (rc != IM_OK && err != NULL) {
        *err = cause;
    }
    fetch_ms = job->answer->fetch_ms - fetch_ms;
    job->answer->search_ms += im_clock_ms_since(start) - fetch_ms;
    return rc;
}
