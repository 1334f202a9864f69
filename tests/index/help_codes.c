/* tests/index/help_codes.c — see help_codes.h. */
#include "help_codes.h"
#include "help_vectors.h"
#include <inttypes.h>
#include <math.h>

enum { GROUPS = 12 };

void pictures_make(random_state *random, float *out, size_t n, size_t dim)
{
    float *parts = malloc((GROUPS + 2) * dim * sizeof(float));
    assert_non_null(parts);
    float *common = parts + GROUPS * dim;
    float *own = common + dim;
    for (size_t g = 0; g <= GROUPS; g++) {
        random_unit(random, parts + g * dim, dim);
    }
    if (dim > 2) {
        common[dim / 3] += 0.7F; /* encoders put much into a single dimension */
    }
    for (size_t r = 0; r < n; r++) {
        const float *group = parts + random_below(random, GROUPS) * dim;
        random_unit(random, own, dim);
        for (size_t i = 0; i < dim; i++) {
            out[r * dim + i] = 0.6F * common[i] + 0.4F * group[i] + 0.7F * own[i];
        }
        vector_make_unit(out + r * dim, dim);
    }
    free(parts);
}

/* A random vector, less its share of the rows' mean but for what gives a mean cosine of 0.03. */
void text_make(random_state *random, const float *rows, size_t n, size_t dim, float *out)
{
    double *mean = calloc(dim, sizeof(*mean));
    assert_non_null(mean);
    double squares = 1e-12;
    double dot = 0;
    random_unit(random, out, dim);
    for (size_t r = 0; r < n; r++) {
        for (size_t i = 0; i < dim; i++) {
            mean[i] += (double)rows[r * dim + i] / (double)n;
        }
    }
    for (size_t i = 0; i < dim; i++) {
        squares += mean[i] * mean[i];
        dot += mean[i] * (double)out[i];
    }
    for (size_t i = 0; i < dim && dim > 1; i++) {
        out[i] += (float)((0.03 - dot) / squares * mean[i]);
    }
    vector_make_unit(out, dim);
    free(mean);
}

void rows_plant(random_state *random, float *rows, size_t n, size_t dim, const float *vector,
                double score, size_t planted)
{
    float *other = malloc(dim * sizeof(float));
    assert_non_null(other);
    for (size_t p = 0; p < planted && dim > 1; p++) {
        float *row = rows + random_below(random, n) * dim;
        double wanted = score + (p % 2 == 0 ? 1e-4 : -1e-4) * (double)(p / 2);
        double dot = 0;
        random_unit(random, other, dim);
        for (size_t i = 0; i < dim; i++) {
            dot += (double)other[i] * (double)vector[i];
        }
        for (size_t i = 0; i < dim; i++) {
            other[i] -= (float)dot * vector[i];
        }
        vector_make_unit(other, dim);
        double rest = wanted * wanted < 1 ? sqrt(1 - wanted * wanted) : 0;
        for (size_t i = 0; i < dim; i++) {
            row[i] = (float)(wanted * (double)vector[i] + rest * (double)other[i]);
        }
        vector_make_unit(row, dim);
    }
    free(other);
}

void library_of_rows(test_library *library, random_state *random, const float *rows, size_t n,
                     size_t dim)
{
    uint64_t *items = malloc((n + 1) * sizeof(uint64_t));
    assert_non_null(items);
    for (size_t i = 0; i < n; i++) {
        size_t j = (size_t)random_below(random, i + 1);
        items[i] = items[j];
        items[j] = 5 * i + 2;
    }
    library_write(library, n, dim, rows, items);
    free(items);
    codes_update(library);
}

void codes_update(const test_library *library)
{
    assert_ok(im_index_codes_update(library->folder, &library->state, NULL, err));
}

im_index *tiered_open(const test_library *library, const uint64_t *alive, im_pool *pool)
{
    im_index_stats stats;
    im_index *index = library_open(library, alive, IM_ENGINE_TIERED, pool);
    im_index_describe(index, &stats);
    assert_string_equal(stats.codes_problem, "");
    assert_int_equal(stats.codes, library->n > 0 ? IM_CODES_SOUND : IM_CODES_ABSENT);
    return index;
}

tiered_engine *engine_of(im_index *index)
{
    return index->engine_data;
}

void library_codes_path(const test_library *library, codes_kind kind, char out[160])
{
    snprintf(out, 160, "%.95s/codes.%" PRIu64 ".%s", library->folder, library->state.generation,
             kind == CODES_I8 ? "i8" : "b1");
}

bool same_hits(const im_hit *a, const im_index_answer *answer_a, const im_hit *b,
               const im_index_answer *answer_b, size_t k)
{
    if (answer_a->n_hits != answer_b->n_hits || answer_a->filtered != answer_b->filtered) {
        return false;
    }
    for (size_t i = 0; i < k; i++) {
        if (a[i].item != b[i].item || a[i].slot != b[i].slot ||
            memcmp(&a[i].score, &b[i].score, sizeof(float)) != 0) {
            return false;
        }
    }
    return true;
}

void assert_same(const im_hit *a, const im_index_answer *answer_a, const im_hit *b,
                 const im_index_answer *answer_b, size_t k)
{
    assert_int_equal(answer_a->n_hits, answer_b->n_hits);
    assert_true(same_hits(a, answer_a, b, answer_b, k));
}

static const size_t ks[] = {1, 2, 5, 10, 10, 33, 100, 400};
const size_t codes_dims[CODES_DIMS] = {1, 3, 16, 64, 65, 100, 128, 192, 256, 384, 512, 512};
const unsigned codes_densities[CODES_DENSITIES] = {0, 1, 10, 100, 500, 990, 1000};

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a;
    float y = *(const float *)b;
    return (x < y) - (x > y);
}

void case_make(test_case *test, random_state *random, size_t n, size_t dim)
{
    *test = (test_case){.n = n, .dim = dim};
    test->rows = malloc(n * dim * sizeof(float));
    test->vectors = malloc(4 * dim * sizeof(float));
    float *scores = malloc(n * sizeof(float));
    assert_non_null(test->rows);
    assert_non_null(test->vectors);
    assert_non_null(scores);
    pictures_make(random, test->rows, n, dim);
    text_make(random, test->rows, n, dim, test->vectors);
    for (size_t r = 0; r < n; r++) {
        scores[r] = 0;
        for (size_t i = 0; i < dim; i++) {
            scores[r] += test->rows[r * dim + i] * test->vectors[i];
        }
    }
    qsort(scores, n, sizeof(*scores), by_size);
    rows_plant(random, test->rows, n, dim, test->vectors, (double)scores[n > 10 ? 9 : n - 1],
               n > 200 ? 40 : n / 5);
    random_unit(random, test->vectors + dim, dim);
    memcpy(test->vectors + 2 * dim, test->rows + random_below(random, n) * dim,
           dim * sizeof(float)); /* a picture of the library */
    text_make(random, test->rows, n, dim, test->vectors + 3 * dim);
    library_of_rows(&test->library, random, test->rows, n, dim);
    free(scores);
}

void case_free(test_case *test)
{
    library_free(&test->library);
    free(test->rows);
    free(test->vectors);
}

void case_query(const test_case *test, random_state *random, size_t round, im_index_part *parts,
                im_index_query *query)
{
    bool plain = round % 3 != 2;
    size_t m = round % 2 == 0 ? 1 : 1 + (size_t)random_below(random, 4);
    for (size_t p = 0; p < m; p++) {
        size_t which = p == 0 && round % 4 < 2 ? 0 : (size_t)random_below(random, 4);
        parts[p] = (im_index_part){test->vectors + which * test->dim,
                                   plain ? 1.0F : 20.0F * random_float(random),
                                   plain ? 0.0F : 3.0F * random_float(random)};
    }
    *query = (im_index_query){.parts = parts,
                              .n_parts = m,
                              .combine = (im_combine)(round % 3),
                              .k = ks[random_below(random, 8)],
                              .leave_out = IM_NO_ITEM,
                              .mode = (im_search_mode)(random_below(random, 2))};
    query_vary(query, random, &test->library, round, 5);
}
