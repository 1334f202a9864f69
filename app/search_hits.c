/* app/search_hits.c — what is told of a hit: its score by part, and the facts of these rows only.
 */
#include "app/search_internal.h"
#include "base/clock.h"

static im_code score_hit(im_library *library, const search_job *job, const im_hit *found,
                         im_search_hit *hit, im_error *err)
{
    const im_plan *plan = &job->plan;
    const im_index_query query = {
        .parts = plan->parts, .n_parts = plan->n_parts, .combine = job->answer->combine, .k = 1};
    hit->cosines = im_alloc(plan->n_parts, sizeof(float));
    hit->contributions = im_alloc(plan->n_parts, sizeof(float));
    if (hit->cosines == NULL || hit->contributions == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a hit");
    }
    im_code rc =
        im_index_score(library->index, &query, found->slot, &hit->score, hit->cosines, err);
    for (size_t i = 0; rc == IM_OK && i < plan->n_parts; i++) {
        hit->contributions[i] = im_plan_contribution(plan, i, hit->cosines[i]);
    }
    return rc;
}

im_code search_fill(im_library *library, search_job *job, const im_hit *found, size_t n,
                    uint64_t rank, im_error *err)
{
    im_answer *answer = job->answer;
    im_code rc = IM_OK;
    uint64_t start = im_clock_ns();
    answer->hits = im_alloc_zero(n, sizeof(*answer->hits));
    if (answer->hits == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for %zu hits", n);
    }
    for (size_t i = 0; rc == IM_OK && i < n; i++) {
        im_search_hit *hit = &answer->hits[answer->n_hits++];
        hit->rank = rank + i;
        if (answer->n_parts > 0) {
            rc = score_hit(library, job, &found[i], hit, err);
        }
        if (rc == IM_OK) {
            rc = im_store_get_item(library->store, found[i].item, &hit->item, err);
        }
        if (rc == IM_OK) {
            rc = im_store_item_path(library->store, found[i].item, &hit->path, &hit->online, err);
        }
        if (rc == IM_OK && hit->path == NULL) {
            rc = im_store_item_name(library->store, found[i].item, &hit->name, err);
        }
    }
    answer->fetch_ms += im_clock_ms_since(start);
    return rc;
}

void search_clear_hits(im_answer *answer)
{
    for (size_t i = 0; i < answer->n_hits; i++) {
        im_free(answer->hits[i].path);
        im_free(answer->hits[i].name);
        im_free(answer->hits[i].cosines);
        im_free(answer->hits[i].contributions);
    }
    im_free(answer->hits);
    answer->hits = NULL;
    answer->n_hits = 0;
}
