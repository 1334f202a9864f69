/* app/rerank.c — documents ordered by how near they are to a query, texts and pictures in one list.
 *
 * To a dual encoder all texts are alike and so are all pictures: a text's cosine is about 0.7 with
 * other texts and 0.2 with pictures. So each cosine is measured by where those of unrelated things
 * of the document's own kind lie (query/plan.c does the same for parts of a search). */
#include "app/app_internal.h"

static double dot(const float *a, const float *b, size_t dim)
{
    double sum = 0;
    for (size_t i = 0; i < dim; i++) {
        sum += (double)a[i] * (double)b[i];
    }
    return sum;
}

/* Where the cosines of the query lie: [0] with unrelated pictures, [1] with unrelated texts. */
static im_code find_backgrounds(im_library *library, const im_embed_piece *pieces, size_t n,
                                const float *query, im_background out[2], im_error *err)
{
    const im_model_row *model = &library->model;
    const float *texts = NULL;
    size_t n_texts = 0;
    bool has_text = false;
    for (size_t i = 1; i <= n; i++) {
        has_text = has_text || pieces[i].text.data != NULL;
    }
    im_code rc = has_text ? library_text_background(library, &texts, &n_texts, err) : IM_OK;
    if (rc == IM_OK) {
        out[0] = im_query_background(model->background, model->n_background, model->dim, query);
        out[1] = im_query_background(texts, n_texts, model->dim, query);
    }
    return rc;
}

typedef struct ranked {
    double score;
    size_t index;
} ranked;

static int compare(const void *a, const void *b)
{
    const ranked *x = a;
    const ranked *y = b;
    if (x->score != y->score) {
        return x->score > y->score ? -1 : 1;
    }
    return (x->index > y->index) - (x->index < y->index);
}

static im_code sort_documents(im_rerank_result *result, im_error *err)
{
    ranked *list = im_alloc(result->n, sizeof(*list));
    if (list == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for %zu documents", result->n);
    }
    for (size_t i = 0; i < result->n; i++) {
        list[i] = (ranked){result->scores[i], i};
    }
    qsort(list, result->n, sizeof(*list), compare);
    for (size_t i = 0; i < result->n; i++) {
        result->order[i] = list[i].index;
    }
    im_free(list);
    return IM_OK;
}

static im_code score_documents(im_library *library, const im_embed_piece *pieces,
                               const im_embed_result *embedded, im_rerank_result *result,
                               im_error *err)
{
    im_background backgrounds[2] = {{0}};
    size_t dim = embedded->dim;
    const float *query = embedded->vectors;
    im_code rc = find_backgrounds(library, pieces, result->n, query, backgrounds, err);
    if (rc != IM_OK) {
        return rc;
    }
    for (size_t i = 0; i < result->n; i++) {
        const im_background *among = &backgrounds[pieces[i + 1].text.data != NULL];
        result->scores[i] =
            (dot(query, embedded->vectors + (i + 1) * dim, dim) - (double)among->mean) /
            (double)among->deviation;
    }
    return sort_documents(result, err);
}

static im_code rerank(im_library *library, const im_embed_piece *pieces, im_embed_result *embedded,
                      const size_t *tokens, im_rerank_result *result, im_error *err)
{
    (void)snprintf(result->model, sizeof(result->model), "%s", embedded->model);
    result->errors = embedded->errors;
    embedded->errors = NULL;
    for (size_t i = 0; i <= result->n; i++) {
        result->n_failed += result->errors[i].code != IM_OK;
        result->tokens += tokens[i];
    }
    return result->n_failed == 0 ? score_documents(library, pieces, embedded, result, err) : IM_OK;
}

im_code im_app_rerank(im_library *library, const im_embed_piece *pieces, size_t n,
                      const im_image_limits *limits, im_rerank_result *out_result, im_error *err)
{
    im_rerank_result result = {.n = n};
    im_embed_result embedded = {0};
    size_t *tokens = im_alloc_zero(n + 1, sizeof(*tokens));
    memset(out_result, 0, sizeof(*out_result));
    result.scores = im_alloc_zero(n, sizeof(*result.scores));
    result.order = im_alloc_zero(n, sizeof(*result.order));
    im_code rc = tokens != NULL && result.scores != NULL && result.order != NULL
                     ? im_app_embed_many(library, pieces, n + 1, limits, &embedded, tokens, err)
                     : im_fail(err, IM_ERR_NOMEM, "no memory for %zu documents", n);
    if (rc == IM_OK) {
        rc = rerank(library, pieces, &embedded, tokens, &result, err);
    }
    if (rc == IM_OK) {
        *out_result = result;
    } else {
        im_rerank_result_clear(&result);
    }
    im_embed_result_clear(&embedded);
    im_free(tokens);
    return rc;
}

double im_rerank_relevance(double score)
{
    return 0.5 * erfc(-score * sqrt(0.5));
}

void im_rerank_result_clear(im_rerank_result *result)
{
    im_free(result->scores);
    im_free(result->order);
    im_free(result->errors);
    memset(result, 0, sizeof(*result));
}
