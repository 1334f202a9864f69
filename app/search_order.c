/* app/search_order.c — in what order the hits of a query come: the field and direction, the lowest
 * score that is let through, and the cursor that says where a page begins. */
#include "app/search_internal.h"
#include "base/hash.h"

#define RELEVANT_DEVIATIONS 2.0 /* of unrelated pictures: one of 40 lies above */
#define CURSOR_TEXT_BYTES 2048u /* longer values are no cursor */

/* ---- which order ---- */

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

im_code search_set_order(im_library *library, search_job *job, hit_order *order, im_error *err)
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

/* ---- cursors ---- */

static bool fits(im_cursor_kind cursor, im_column_kind column)
{
    static const im_cursor_kind kinds[] = {[IM_COLUMN_NUMBER] = IM_CURSOR_NUMBER,
                                           [IM_COLUMN_INTEGER] = IM_CURSOR_INTEGER,
                                           [IM_COLUMN_TEXT] = IM_CURSOR_TEXT};
    return cursor == IM_CURSOR_NONE || cursor == kinds[column];
}

im_code search_read_cursor(im_library *library, search_job *job, hit_order *order)
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

im_code search_put_cursor(im_library *library, search_job *job, const hit_order *order,
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
