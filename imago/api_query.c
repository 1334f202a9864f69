/* imago/api_query.c — the public C API over app/: queries and their answers. */
#include "imago/api_internal.h"

_Static_assert((int)IMAGO_COMBINE_SUM == (int)IM_COMBINE_SUM &&
                   (int)IMAGO_COMBINE_ANY == (int)IM_COMBINE_ANY &&
                   (int)IMAGO_COMBINE_ALL == (int)IM_COMBINE_ALL,
               "ways of combining are the same");

struct imago_query {
    im_query_part parts[IM_LIMIT_QUERY_PARTS];
    char *owned[IM_LIMIT_QUERY_PARTS]; /* what the parts point to */
    size_t n_parts;
    im_combine combine;
    size_t k;
    uint64_t offset;
    char *words, *filter, *sort, *group, *cursor; /* owned, or NULL */
    im_order order;
};

struct imago_answer {
    im_answer answer;
    im_json_writer json;
    imago_hit *hits; /* [answer.n_hits] */
};

/* ---- queries ---- */

imago_code imago_query_new(imago_query **out_query, imago_error *error)
{
    im_error err = IM_ERROR_INIT;
    if (out_query == NULL) {
        return api_refuse(error, "out_query is needed");
    }
    imago_query *query = im_alloc_zero(1, sizeof(*query));
    if (query == NULL) {
        im_code rc = im_fail(&err, IM_ERR_NOMEM, "no memory for a query");
        return api_hand_over(rc, &err, error);
    }
    query->k = 20;
    *out_query = query;
    return IMAGO_OK;
}

void imago_query_free(imago_query *query)
{
    for (size_t i = 0; query != NULL && i < query->n_parts; i++) {
        im_free(query->owned[i]);
    }
    if (query != NULL) {
        im_free(query->words);
        im_free(query->filter);
        im_free(query->sort);
        im_free(query->group);
        im_free(query->cursor);
    }
    im_free(query);
}

/* Appends `part`, whose text, path or bytes are copied from data [size]. */
static im_code add_part(imago_query *query, im_query_part part, const void *data, size_t size,
                        im_error *err)
{
    if (query->n_parts == IM_LIMIT_QUERY_PARTS) {
        return im_fail(err, IM_ERR_LIMIT, "a query has at most %u parts", IM_LIMIT_QUERY_PARTS);
    }
    double magnitude = part.weight < 0 ? -part.weight : part.weight;
    if (!(magnitude > 0) || magnitude > IM_WEIGHT_MAX) {
        return im_fail(err, IM_ERR_INVALID, "weight %g: expected 0 < |weight| <= %g", part.weight,
                       IM_WEIGHT_MAX);
    }
    char *copy = im_alloc(size + 1, 1);
    if (copy == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a query");
    }
    if (size > 0) {
        memcpy(copy, data, size);
    }
    copy[size] = '\0';
    if (part.kind == IM_PART_TEXT) {
        part.text = im_view_of(copy, size);
    } else if (part.path != NULL) {
        part.path = copy;
    } else if (part.item == 0) {
        part.bytes = im_view_of(copy, size);
    }
    query->owned[query->n_parts] = copy;
    query->parts[query->n_parts++] = part;
    return IM_OK;
}

imago_code imago_query_add_text(imago_query *query, const char *text, size_t size, double weight,
                                imago_error *error)
{
    im_error err = IM_ERROR_INIT;
    im_query_part part = {.kind = IM_PART_TEXT, .weight = weight};
    if (query == NULL || text == NULL) {
        return api_refuse(error, "a query and a text are needed");
    }
    size = size == IMAGO_WHOLE ? strlen(text) : size;
    im_code rc = IM_OK;
    if (size > IM_LIMIT_QUERY_BYTES) { /* before it is copied */
        rc = im_fail_as(&err, IM_REASON_QUERY_TOO_LONG, "text of %zu bytes, the limit is %u", size,
                        IM_LIMIT_QUERY_BYTES);
    } else {
        rc = add_part(query, part, text, size, &err);
    }
    return api_hand_over(rc, &err, error);
}

imago_code imago_query_add_picture_file(imago_query *query, const char *path, double weight,
                                        imago_error *error)
{
    im_error err = IM_ERROR_INIT;
    im_query_part part = {.kind = IM_PART_PICTURE, .path = path, .weight = weight};
    if (query == NULL || path == NULL) {
        return api_refuse(error, "a query and a path are needed");
    }
    im_code rc = add_part(query, part, path, strlen(path), &err);
    return api_hand_over(rc, &err, error);
}

imago_code imago_query_add_picture_bytes(imago_query *query, const void *bytes, size_t size,
                                         double weight, imago_error *error)
{
    im_error err = IM_ERROR_INIT;
    im_query_part part = {.kind = IM_PART_PICTURE, .weight = weight};
    im_code rc = IM_OK;
    if (query == NULL || (bytes == NULL && size > 0)) {
        return api_refuse(error, "a query and bytes are needed");
    }
    if (size == 0) {
        rc = im_fail_as(&err, IM_REASON_PICTURE_EMPTY, "picture of 0 bytes");
    } else if (size > IM_LIMIT_PICTURE_BYTES) {
        rc = im_fail_as(&err, IM_REASON_FILE_TOO_LARGE, "picture of %zu bytes, the limit is %llu",
                        size, IM_LIMIT_PICTURE_BYTES);
    } else {
        rc = add_part(query, part, bytes, size, &err);
    }
    return api_hand_over(rc, &err, error);
}

imago_code imago_query_add_item(imago_query *query, uint64_t item, double weight,
                                imago_error *error)
{
    im_error err = IM_ERROR_INIT;
    im_query_part part = {.kind = IM_PART_PICTURE, .item = item, .weight = weight};
    if (query == NULL || item == 0) {
        return api_refuse(error, "a query and an item's id, which is above 0, are needed");
    }
    im_code rc = add_part(query, part, NULL, 0, &err);
    return api_hand_over(rc, &err, error);
}

imago_code imago_query_set_page(imago_query *query, size_t k, uint64_t offset, imago_error *error)
{
    if (query == NULL || k < 1 || k > IM_LIMIT_K || offset > IM_LIMIT_OFFSET_PLUS_K - k) {
        return api_refuse(error, "k is 1 to 10000, and k with offset at most 1000000");
    }
    query->k = k;
    query->offset = offset;
    return IMAGO_OK;
}

imago_code imago_query_set_combine(imago_query *query, imago_combine combine, imago_error *error)
{
    if (query == NULL || (unsigned)combine > (unsigned)IMAGO_COMBINE_ALL) {
        return api_refuse(error, "combine is IMAGO_COMBINE_SUM, _ANY or _ALL");
    }
    query->combine = (im_combine)combine;
    return IMAGO_OK;
}

/* Replaces a text of the query by a copy; NULL takes it away. */
static imago_code set_text(imago_query *query, char **field, const char *text, imago_error *error)
{
    im_error err = IM_ERROR_INIT;
    char *copy = NULL;
    if (query == NULL) {
        return api_refuse(error, "a query is needed");
    }
    if (text != NULL && strlen(text) > IM_LIMIT_QUERY_LANGUAGE_BYTES) {
        im_code rc =
            im_fail_as(&err, IM_REASON_QUERY_TOO_LONG, "text of %zu bytes, the limit is %u",
                       strlen(text), IM_LIMIT_QUERY_LANGUAGE_BYTES);
        return api_hand_over(rc, &err, error);
    }
    if (text != NULL && (copy = im_strdup(text)) == NULL) {
        im_code rc = im_fail(&err, IM_ERR_NOMEM, "no memory for a query");
        return api_hand_over(rc, &err, error);
    }
    im_free(*field);
    *field = copy;
    return IMAGO_OK;
}

imago_code imago_query_set_words(imago_query *query, const char *words, imago_error *error)
{
    return set_text(query, query != NULL ? &query->words : NULL, words, error);
}

imago_code imago_query_set_filter(imago_query *query, const char *filter, imago_error *error)
{
    return set_text(query, query != NULL ? &query->filter : NULL, filter, error);
}

imago_code imago_query_set_sort(imago_query *query, const char *field, imago_order order,
                                imago_error *error)
{
    if ((unsigned)order > (unsigned)IMAGO_ORDER_DESCENDING) {
        return api_refuse(error, "order is IMAGO_ORDER_DEFAULT, _ASCENDING or _DESCENDING");
    }
    imago_code code = set_text(query, query != NULL ? &query->sort : NULL, field, error);
    if (code == IMAGO_OK) {
        query->order = (im_order)order;
    }
    return code;
}

imago_code imago_query_set_group(imago_query *query, const char *group, imago_error *error)
{
    return set_text(query, query != NULL ? &query->group : NULL, group, error);
}

imago_code imago_query_set_cursor(imago_query *query, const char *cursor, imago_error *error)
{
    return set_text(query, query != NULL ? &query->cursor : NULL, cursor, error);
}

/* ---- searching ---- */

static imago_hit hit_of(const im_answer *answer, const im_search_hit *hit)
{
    bool one = answer->n_parts == 1 && hit->cosines != NULL;
    imago_hit out = {
        .rank = hit->rank,
        .item = hit->item.id,
        .path = hit->path,
        .online = hit->online ? 1 : 0,
        .score = (double)hit->score,
        .cosine = one ? (double)hit->cosines[0] : 0,
        .has_cosine = one ? 1 : 0,
        .width = hit->item.width,
        .height = hit->item.height,
    };
    return out;
}

/* What callers see of an answer: hits as structs, and all as JSON. */
static im_code finish_answer(imago_answer *answer, im_error *err)
{
    const im_answer *inside = &answer->answer;
    im_answer_json(&answer->json, inside);
    answer->hits = im_alloc(inside->n_hits, sizeof(*answer->hits));
    if (answer->hits == NULL || !im_json_ok(&answer->json)) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for the answer");
    }
    for (size_t i = 0; i < inside->n_hits; i++) {
        answer->hits[i] = hit_of(inside, &inside->hits[i]);
    }
    return IM_OK;
}

imago_code imago_search(imago_library *library, const imago_query *query, imago_answer **out_answer,
                        imago_error *error)
{
    im_error err = IM_ERROR_INIT;
    im_code rc = IM_OK;
    if (library == NULL || query == NULL || out_answer == NULL) {
        return api_refuse(error, "a library, a query and out_answer are needed");
    }
    imago_answer *answer = im_alloc_zero(1, sizeof(*answer));
    if (answer == NULL) {
        rc = im_fail(&err, IM_ERR_NOMEM, "no memory for an answer");
        return api_hand_over(rc, &err, error);
    }
    im_json_init(&answer->json, SIZE_MAX / 2);
    im_search_request request = {
        .text = query->words,
        .filter = query->filter,
        .sort = query->sort,
        .order = query->order,
        .group = query->group,
        .cursor = query->cursor,
        .parts = query->parts,
        .n_parts = query->n_parts,
        .combine = query->combine,
        .k = query->k,
        .offset = query->offset,
    };
    (void)pthread_mutex_lock(&library->lock);
    rc = im_app_search(library->library, &request, &answer->answer, &err);
    (void)pthread_mutex_unlock(&library->lock);
    if (rc == IM_OK) {
        rc = finish_answer(answer, &err);
    }
    if (rc != IM_OK) {
        imago_answer_free(answer);
        return api_hand_over(rc, &err, error);
    }
    *out_answer = answer;
    return IMAGO_OK;
}

void imago_answer_free(imago_answer *answer)
{
    if (answer == NULL) {
        return;
    }
    im_answer_clear(&answer->answer);
    im_json_clear(&answer->json);
    im_free(answer->hits);
    im_free(answer);
}

size_t imago_answer_n_hits(const imago_answer *answer)
{
    return answer != NULL ? answer->answer.n_hits : 0;
}

const imago_hit *imago_answer_hit(const imago_answer *answer, size_t i)
{
    return answer != NULL && i < answer->answer.n_hits ? &answer->hits[i] : NULL;
}

const char *imago_answer_cursor(const imago_answer *answer)
{
    return answer != NULL ? answer->answer.cursor : NULL;
}

const char *imago_answer_json(const imago_answer *answer)
{
    return answer != NULL ? im_str_text(&answer->json.out) : "null";
}
