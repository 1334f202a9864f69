/* tests/index/help.c — see help.h. */
#include "help.h"
#include "base/file.h"
#include "base/pool.h"
#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

uint64_t random_next(random_state *random)
{
    uint64_t z = (random->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t random_below(random_state *random, uint64_t limit)
{
    return random_next(random) % limit;
}

float random_float(random_state *random)
{
    return (float)(random_next(random) >> 40) / 8388608.0F - 1.0F;
}

void random_unit(random_state *random, float *out, size_t dim)
{
    double sum = 0;
    while (sum < 1e-3) {
        sum = 0;
        for (size_t i = 0; i < dim; i++) {
            out[i] = random_float(random);
            sum += (double)out[i] * (double)out[i];
        }
    }
    for (size_t i = 0; i < dim; i++) {
        out[i] = (float)((double)out[i] / sqrt(sum));
    }
}

char *temporary_folder(char out[HELP_FOLDER_BYTES])
{
    assert_non_null(help_temporary(out));
    return out;
}

void remove_folder(const char *folder)
{
    (void)help_remove_folder(folder);
}

void write_file(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

size_t files_in(const char *folder)
{
    size_t n = 0;
    DIR *listing = opendir(folder);
    assert_non_null(listing);
    while (readdir(listing) != NULL) {
        n++;
    }
    closedir(listing);
    return n;
}

static void write_rows(test_library *library)
{
    im_index_writer *writer = NULL;
    uint64_t first = 99;
    library->state = (im_index_state){.dim = library->dim, .generation = 1};
    memset(library->state.library_id, 7, sizeof(library->state.library_id));
    memset(library->state.model_digest, 'a', 64);
    assert_ok(im_index_create(library->folder, &library->state, err));
    assert_ok(im_index_writer_open(library->folder, &library->state, &writer, err));
    assert_ok(
        im_index_writer_append(writer, library->items, library->vectors, library->n, &first, err));
    assert_int_equal(first, 0);
    assert_ok(im_index_writer_sync(writer, err));
    im_index_writer_close(writer);
    library->state.n_rows = library->n;
}

void library_write(test_library *library, size_t n, size_t dim, const float *vectors,
                   const uint64_t *items)
{
    temporary_folder(library->folder);
    library->n = n;
    library->dim = dim;
    library->vectors = malloc((n * dim + 1) * sizeof(float));
    library->items = malloc((n + 1) * sizeof(uint64_t));
    assert_non_null(library->vectors);
    assert_non_null(library->items);
    memcpy(library->vectors, vectors, n * dim * sizeof(float));
    memcpy(library->items, items, n * sizeof(uint64_t));
    write_rows(library);
}

void library_make(test_library *library, random_state *random, size_t n, size_t dim,
                  unsigned copies)
{
    float *vectors = malloc((n * dim + 1) * sizeof(float));
    uint64_t *items = malloc((n + 1) * sizeof(uint64_t));
    assert_non_null(vectors);
    assert_non_null(items);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && random_below(random, 100) < copies) {
            memcpy(vectors + i * dim, vectors + random_below(random, i) * dim, dim * sizeof(float));
        } else {
            random_unit(random, vectors + i * dim, dim);
        }
        items[i] = 3 * i + 1;
    }
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)random_below(random, i);
        uint64_t item = items[j];
        items[j] = items[i - 1];
        items[i - 1] = item;
    }
    library_write(library, n, dim, vectors, items);
    free(vectors);
    free(items);
}

void library_free(test_library *library)
{
    remove_folder(library->folder);
    free(library->vectors);
    free(library->items);
}

void library_path(const test_library *library, char out[160])
{
    snprintf(out, 160, "%.95s/vectors.%" PRIu64 ".f32", library->folder, library->state.generation);
}

im_index *library_open(const test_library *library, const uint64_t *alive, im_engine engine,
                       im_pool *pool)
{
    im_index *index = NULL;
    im_index_options options = {.engine = engine, .pool = pool};
    assert_ok(im_index_open(library->folder, &library->state, alive, &options, &index, err));
    return index;
}

uint64_t *random_bits(random_state *random, size_t n, unsigned per_mille)
{
    uint64_t *bits = calloc(n / 64 + 1, sizeof(uint64_t));
    assert_non_null(bits);
    for (size_t i = 0; i < n; i++) {
        if (random_below(random, 1000) < per_mille) {
            bits[i / 64] |= UINT64_C(1) << (i % 64);
        }
    }
    /* what lies behind the last row must not matter */
    if (n % 64 != 0) {
        bits[n / 64] |= UINT64_MAX << (n % 64);
    }
    return bits;
}

bool bit_of(const uint64_t *bits, size_t i)
{
    return bits == NULL || ((bits[i / 64] >> (i % 64)) & 1) != 0;
}

void query_make(test_query *query, random_state *random, const test_library *library, size_t m,
                im_combine combine, bool plain)
{
    memset(query, 0, sizeof(*query));
    query->vectors = malloc(m * library->dim * sizeof(float));
    assert_non_null(query->vectors);
    for (size_t p = 0; p < m; p++) {
        float *vector = query->vectors + p * library->dim;
        random_unit(random, vector, library->dim);
        if (library->n > 0 && random_below(random, 3) == 0) { /* a row itself: score near 1 */
            memcpy(vector, library->vectors + random_below(random, library->n) * library->dim,
                   library->dim * sizeof(float));
        }
        query->parts[p].vector = vector;
        query->parts[p].scale = plain ? 1.0F : 20.0F * random_float(random);
        query->parts[p].shift = plain ? 0.0F : 3.0F * random_float(random);
    }
    query->query = (im_index_query){
        .parts = query->parts, .n_parts = m, .combine = combine, .k = 10, .leave_out = IM_NO_ITEM};
}

void query_free(test_query *query)
{
    free(query->vectors);
}

void query_vary(im_index_query *query, random_state *random, const test_library *library,
                size_t round, size_t every)
{
    if (library->n == 0) {
        return;
    }
    if (round % every == 1) {
        query->leave_out = library->items[random_below(random, library->n)];
    }
    if (round % (every + 1) == 1) {
        query->has_floor = true;
        query->floor = (float)true_score(library, query, (size_t)random_below(random, library->n));
    }
    if (round % (every + 2) == 1) {
        query->has_after = true;
        query->after_score =
            (float)true_score(library, query, (size_t)random_below(random, library->n));
        query->after_item = library->items[random_below(random, library->n)];
    }
}

static int by_rank(const void *a, const void *b)
{
    const im_hit *x = a;
    const im_hit *y = b;
    if (x->score != y->score) {
        return x->score > y->score ? -1 : 1;
    }
    return x->item < y->item ? -1 : x->item > y->item;
}

size_t slow_search(im_index *index, const test_library *library, const uint64_t *alive,
                   const im_index_query *query, im_hit *out)
{
    size_t n = 0;
    for (size_t slot = 0; slot < library->n; slot++) {
        im_hit hit = {library->items[slot], slot, 0};
        if (!bit_of(alive, slot) || !bit_of(query->bitmap, slot) || hit.item == query->leave_out) {
            continue;
        }
        assert_ok(im_index_score(index, query, slot, &hit.score, NULL, err));
        bool behind = hit.score < query->after_score ||
                      (hit.score == query->after_score && hit.item > query->after_item);
        if ((query->has_floor && hit.score < query->floor) || (query->has_after && !behind)) {
            continue;
        }
        out[n++] = hit;
    }
    qsort(out, n, sizeof(*out), by_rank);
    return n;
}

double true_score(const test_library *library, const im_index_query *query, size_t slot)
{
    double sum = 0;
    double best = -(double)INFINITY;
    double worst = (double)INFINITY;
    for (size_t p = 0; p < query->n_parts; p++) {
        double dot = 0;
        for (size_t i = 0; i < library->dim; i++) {
            dot += (double)query->parts[p].vector[i] *
                   (double)library->vectors[slot * library->dim + i];
        }
        double score = (double)query->parts[p].scale * dot - (double)query->parts[p].shift;
        sum += score;
        best = fmax(best, score);
        worst = fmin(worst, score);
    }
    if (query->combine == IM_COMBINE_SUM) {
        return sum;
    }
    return query->combine == IM_COMBINE_ANY ? best : worst;
}

static bool same_hit(const im_hit *a, const im_hit *b)
{
    return a->item == b->item && a->slot == b->slot &&
           memcmp(&a->score, &b->score, sizeof(float)) == 0;
}

void assert_hits(const im_hit *hits, const im_index_answer *answer, size_t k,
                 const im_hit *expected, size_t n_expected)
{
    size_t n = n_expected < k ? n_expected : k;
    assert_int_equal(answer->n_hits, n);
    for (size_t i = 0; i < n; i++) {
        if (!same_hit(&hits[i], &expected[i])) {
            fail_msg("hit %zu of %zu is item %" PRIu64 " score %.9g, expected %" PRIu64 " %.9g", i,
                     n, hits[i].item, (double)hits[i].score, expected[i].item,
                     (double)expected[i].score);
        }
    }
    for (size_t i = n; i < k; i++) {
        assert_true(hits[i].item == IM_NO_ITEM);
    }
}

typedef struct test_searcher {
    im_index *index;
    const im_index_query *query;
    const im_hit *expected; /* [10] */
    size_t rounds;
    im_error error; /* cmocka's checks belong to the main thread: what went wrong is kept for it */
    bool differs;
} test_searcher;

static void *search_often(void *context)
{
    test_searcher *searcher = context;
    im_code rc = IM_OK;
    for (size_t i = 0; i < searcher->rounds && rc == IM_OK; i++) {
        im_hit hits[10];
        im_index_answer answer;
        rc = im_index_search(searcher->index, searcher->query, hits, &answer, &searcher->error);
        for (size_t h = 0; rc == IM_OK && h < 10; h++) {
            searcher->differs |= answer.n_hits != 10 || !same_hit(&hits[h], &searcher->expected[h]);
        }
    }
    return NULL;
}

void search_from_threads(im_index *index, const im_index_query *query, size_t rounds)
{
    pthread_t threads[4];
    test_searcher searchers[4];
    im_hit expected[10];
    im_index_answer answer;
    assert_ok(im_index_search(index, query, expected, &answer, err));
    for (size_t t = 0; t < 4; t++) {
        searchers[t] = (test_searcher){index, query, expected, rounds, IM_ERROR_INIT, false};
        assert_int_equal(pthread_create(&threads[t], NULL, search_often, &searchers[t]), 0);
    }
    for (size_t t = 0; t < 4; t++) {
        pthread_join(threads[t], NULL);
    }
    for (size_t t = 0; t < 4; t++) {
        assert_string_equal(searchers[t].error.message, "");
        assert_false(searchers[t].differs);
    }
}

int open_world(void **state)
{
    static test_world world;
    assert_ok(im_pool_open(1, &world.pools[1], err));
    assert_ok(im_pool_open(4, &world.pools[2], err));
    *state = &world;
    return 0;
}

int close_world(void **state)
{
    test_world *world = *state;
    im_pool_close(world->pools[1]);
    im_pool_close(world->pools[2]);
    return 0;
}

int use_the_built_module(void **state)
{
    (void)state;
    return setenv("IMAGO_MODULES", IMAGO_BINARY_DIR "/index", 1);
}
