/* tests/index/test_threads.c — many threads on one opened index, its rows not yet checked, while a
 * writer appends behind them: the same answers, and no race (this program is for tsan as well). */
#include "base/pool.h"
#include "help.h"
#include <pthread.h>
#include <stdatomic.h>

enum { N = 3000, D = 32, SEARCHERS = 6, K = 20 };

typedef struct test_scene {
    test_library library;
    test_query queries[SEARCHERS];
    im_hit expected[SEARCHERS][K];
    im_index *index;
    atomic_bool stop;
    atomic_size_t n_wrong;
} test_scene;

typedef struct test_searcher {
    test_scene *scene;
    size_t number;
} test_searcher;

/* No cmocka here: its failure jumps belong to the main thread. */
static void *search_often(void *context)
{
    test_searcher *searcher = context;
    test_scene *scene = searcher->scene;
    for (size_t i = 0; i < 15; i++) {
        im_hit hits[K];
        im_index_answer answer;
        float score = 0;
        const im_index_query *query = &scene->queries[searcher->number].query;
        const im_hit *expected = scene->expected[searcher->number];
        bool right = im_index_search(scene->index, query, hits, &answer, NULL) == IM_OK &&
                     answer.n_hits == K &&
                     im_index_score(scene->index, query, hits[0].slot, &score, NULL, NULL) == IM_OK;
        for (size_t j = 0; right && j < K; j++) {
            right = hits[j].item == expected[j].item && hits[j].score == expected[j].score;
        }
        if (!right || score != hits[0].score) {
            atomic_fetch_add(&scene->n_wrong, 1);
        }
    }
    return NULL;
}

static void *append_often(void *context)
{
    test_scene *scene = context;
    im_index_writer *writer = NULL;
    if (im_index_writer_open(scene->library.folder, &scene->library.state, &writer, NULL) !=
        IM_OK) {
        atomic_fetch_add(&scene->n_wrong, 1);
        return NULL;
    }
    for (uint64_t item = 100000; !atomic_load(&scene->stop); item++) {
        uint64_t slot = 0;
        if (im_index_writer_append(writer, &item, scene->library.vectors, 1, &slot, NULL) !=
            IM_OK) {
            atomic_fetch_add(&scene->n_wrong, 1);
            break;
        }
    }
    im_index_writer_close(writer);
    return NULL;
}

static void make_scene(test_scene *scene)
{
    random_state random = {81};
    memset(scene, 0, sizeof(*scene));
    library_make(&scene->library, &random, N, D, 10);
    im_index *index = library_open(&scene->library, NULL, IM_ENGINE_SCAN, NULL);
    im_hit *all = malloc(N * sizeof(im_hit));
    assert_non_null(all);
    for (size_t q = 0; q < SEARCHERS; q++) {
        query_make(&scene->queries[q], &random, &scene->library, 1 + q % 3, (im_combine)(q % 3),
                   false);
        scene->queries[q].query.k = K;
        slow_search(index, &scene->library, NULL, &scene->queries[q].query, all);
        memcpy(scene->expected[q], all, sizeof(scene->expected[q]));
    }
    free(all);
    im_index_close(index);
}

static void threads_search_one_index_while_a_writer_appends(void **state)
{
    (void)state;
    static test_scene scene;
    make_scene(&scene);
    assert_ok(im_index_codes_update(scene.library.folder, &scene.library.state, NULL, err));
    for (size_t round = 0; round < 8; round++) {
        pthread_t threads[SEARCHERS];
        pthread_t writer;
        test_searcher searchers[SEARCHERS];
        im_pool *pool = NULL;
        if (round % 2 == 0) {
            assert_ok(im_pool_open(3, &pool, err));
        }
        /* by the scan, and by codes whose blocks are not yet checked */
        scene.index =
            library_open(&scene.library, NULL, round < 4 ? IM_ENGINE_SCAN : IM_ENGINE_TIERED, pool);
        atomic_store(&scene.stop, false);
        assert_int_equal(pthread_create(&writer, NULL, append_often, &scene), 0);
        for (size_t t = 0; t < SEARCHERS; t++) {
            searchers[t] = (test_searcher){&scene, t};
            assert_int_equal(pthread_create(&threads[t], NULL, search_often, &searchers[t]), 0);
        }
        for (size_t t = 0; t < SEARCHERS; t++) {
            pthread_join(threads[t], NULL);
        }
        atomic_store(&scene.stop, true);
        pthread_join(writer, NULL);
        im_index_close(scene.index);
        im_pool_close(pool);
    }
    assert_int_equal(atomic_load(&scene.n_wrong), 0);
    for (size_t q = 0; q < SEARCHERS; q++) {
        query_free(&scene.queries[q]);
    }
    library_free(&scene.library);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_search_one_index_while_a_writer_appends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
