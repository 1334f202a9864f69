/* app/describe_select.c — the items that a query means: all that pass its filters, or, when it has
 * words or pictures, its best hits. */
#include "app/describe_internal.h"

#include "base/clock.h"

/* A page's items; *cursor (owned) is that of the next page, NULL at the end. */
static im_code add_page(im_library *library, const im_search_request *page, id_list *out,
                        char **cursor, bool *out_ranked, im_error *err)
{
    im_answer answer = {0};
    im_code rc = im_app_search(library, page, &answer, err);
    *cursor = NULL;
    if (rc != IM_OK) {
        return rc;
    }
    for (size_t i = 0; rc == IM_OK && i < answer.n_hits; i++) {
        rc = id_list_add(out, answer.hits[i].item.id)
                 ? IM_OK
                 : im_fail(err, IM_ERR_NOMEM, "no memory for a list of items");
    }
    *out_ranked = answer.n_parts > 0;
    if (rc == IM_OK && !*out_ranked && answer.cursor != NULL) {
        *cursor = im_strdup(answer.cursor);
        rc = *cursor != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a cursor");
    }
    im_answer_clear(&answer);
    return rc;
}

/* How many hits a query has is known from its text: a listing goes on, a ranking ends at k. */
static im_code is_ranked(im_library *library, const im_search_request *search, bool *out,
                         im_error *err)
{
    im_query_request asked = {0};
    im_code rc = im_app_read_search(library, search, &asked, err);
    if (rc == IM_OK) {
        *out = asked.query.n_parts > 0;
    }
    im_query_request_clear(&asked);
    return rc;
}

im_code describe_select(im_library *library, const im_search_request *search, id_list *out,
                        im_error *err)
{
    im_search_request page = *search;
    char *cursor = NULL;
    bool ranked = false;
    im_code rc = is_ranked(library, &page, &ranked, err);
    page.k = ranked ? page.k : IM_LIMIT_K;
    for (bool more = rc == IM_OK; more;) {
        char *next = NULL;
        page.cursor = cursor;
        rc = add_page(library, &page, out, &next, &ranked, err);
        im_free(cursor);
        cursor = next;
        more = rc == IM_OK && cursor != NULL && !im_stop_asked();
    }
    im_free(cursor);
    return rc;
}
