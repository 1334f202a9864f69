/* tests/index/help_clusters.c — see help_clusters.h. */
#include "help_clusters.h"
#include "help_vectors.h"

static void add_noise(const clusters *set, random_state *random, float scale, float *out)
{
    float *noise = malloc(set->dim * sizeof(float));
    assert_non_null(noise);
    random_unit(random, noise, set->dim);
    vector_add(out, noise, scale, set->dim);
    free(noise);
}

void clusters_make(clusters *out, random_state *random, size_t n, size_t dim)
{
    *out = (clusters){.n = n, .dim = dim};
    out->centres = malloc(n * dim * sizeof(float));
    out->gap = malloc(dim * sizeof(float));
    assert_non_null(out->centres);
    assert_non_null(out->gap);
    for (size_t i = 0; i < n; i++) {
        random_unit(random, out->centres + i * dim, dim);
    }
    random_unit(random, out->gap, dim);
}

void clusters_free(clusters *set)
{
    free(set->centres);
    free(set->gap);
}

static void begin(const clusters *set, random_state *random, float *out)
{
    size_t at = (size_t)random_below(random, set->n);
    memcpy(out, set->centres + at * set->dim, set->dim * sizeof(float));
}

void clusters_row(const clusters *set, random_state *random, float *out)
{
    begin(set, random, out);
    add_noise(set, random, 0.7F, out);
    vector_make_unit(out, set->dim);
}

void clusters_picture(const clusters *set, random_state *random, float *out)
{
    clusters_row(set, random, out);
}

void clusters_text(const clusters *set, random_state *random, float *out)
{
    begin(set, random, out);
    vector_add(out, set->gap, -1.5F, set->dim);
    add_noise(set, random, 0.9F, out);
    vector_make_unit(out, set->dim);
}

void clusters_library(test_library *library, const clusters *set, random_state *random, size_t n)
{
    float *rows = malloc(n * set->dim * sizeof(float));
    uint64_t *items = malloc(n * sizeof(uint64_t));
    assert_non_null(rows);
    assert_non_null(items);
    for (size_t i = 0; i < n; i++) {
        clusters_row(set, random, rows + i * set->dim);
        items[i] = 7 * ((i * 7919) % n) + 3;
    }
    library_write(library, n, set->dim, rows, items);
    free(rows);
    free(items);
}

im_index_query query_of(im_index_part *part, const float *vector, size_t k)
{
    *part = (im_index_part){vector, 1, 0};
    return (im_index_query){.parts = part, .n_parts = 1, .k = k, .leave_out = IM_NO_ITEM};
}
