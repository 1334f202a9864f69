/* tests/index/test_search.c — covers index/scan.c, index/search.c and index/top.c: every answer is
 * held against a plain search that scores each row alone and sorts. */
#include "help.h"
#include "index/top_internal.h"
#include <math.h>

static const size_t sizes[] = {0, 1, 2, 63, 64, 65, 1000, 5000};
static const size_t dims[] = {1, 3, 16, 48, 256, 512};
static const size_t ks[] = {1, 2, 7, 64, 999, 5001};
static const unsigned densities[] = {0, 1, 10, 500, 990, 1000}; /* per mille */

/* One search of `index` against the plain one. */
static void check_search(im_index *index, const test_library *library, const uint64_t *alive,
                         const im_index_query *query)
{
    im_hit *expected = malloc((library->n + 1) * sizeof(im_hit));
    im_hit *hits = malloc(query->k * sizeof(im_hit));
    im_index_answer answer;
    assert_non_null(expected);
    assert_non_null(hits);
    size_t n = slow_search(index, library, alive, query, expected);
    uint64_t filtered = 0;
    for (size_t slot = 0; slot < library->n; slot++) {
        filtered += bit_of(alive, slot) && bit_of(query->bitmap, slot);
    }
    assert_ok(im_index_search(index, query, hits, &answer, err));
    assert_hits(hits, &answer, query->k, expected, n);
    assert_true(answer.filtered == filtered);
    assert_true(answer.scanned == filtered);
    assert_true(answer.exact);
    assert_string_equal(answer.engine, "scan");
    if (query->has_floor) {
        assert_ok(im_index_range(index, query, hits, &answer, err));
        assert_hits(hits, &answer, query->k, expected, n);
    }
    free(expected);
    free(hits);
}

static void answers_equal_the_plain_search(void **state)
{
    test_world *world = *state;
    random_state random = {21};
    for (size_t s = 0; s < 8; s++) {
        for (size_t d = 0; d < 6; d++) {
            test_library library;
            library_make(&library, &random, sizes[s], dims[d], 10);
            for (size_t round = 0; round < 12; round++) {
                uint64_t *alive = random_bits(&random, library.n, densities[5 - round % 2]);
                uint64_t *bitmap = random_bits(&random, library.n, densities[round / 2]);
                test_query query;
                query_make(&query, &random, &library, 1 + round % 4, (im_combine)(round % 3),
                           round < 3);
                query.query.k = ks[(round + s) % 6];
                query_vary(&query.query, &random, &library, round + s, 3);
                query.query.bitmap = round == 11 ? NULL : bitmap;
                im_index *index = library_open(&library, round == 10 ? NULL : alive, IM_ENGINE_SCAN,
                                               world->pools[round % 3]);
                check_search(index, &library, round == 10 ? NULL : alive, &query.query);
                im_index_close(index);
                query_free(&query);
                free(alive);
                free(bitmap);
            }
            library_free(&library);
        }
    }
}

static void scores_follow_the_formula(void **state)
{
    (void)state;
    random_state random = {22};
    for (size_t d = 0; d < 6; d++) {
        test_library library;
        library_make(&library, &random, 200, dims[d], 0);
        im_index *index = library_open(&library, NULL, IM_ENGINE_AUTO, NULL);
        for (size_t round = 0; round < 12; round++) {
            test_query query;
            query_make(&query, &random, &library, 1 + round % 5, (im_combine)(round % 3),
                       round < 3);
            for (size_t slot = 0; slot < library.n; slot++) {
                float score = 0;
                float cosines[64];
                double folded = 0;
                assert_ok(im_index_score(index, &query.query, slot, &score, cosines, err));
                double truth = true_score(&library, &query.query, slot);
                assert_true(fabs((double)score - truth) <= 1e-5 * (1 + fabs(truth) * 5 + 20));
                for (size_t p = 0; p < query.query.n_parts; p++) {
                    folded += (double)query.parts[p].scale * (double)cosines[p] -
                              (double)query.parts[p].shift;
                }
                if (query.query.combine == IM_COMBINE_SUM) { /* contributions add up */
                    assert_true(fabs(folded - truth) <= 1e-4 * (1 + fabs(truth)));
                }
            }
            query_free(&query);
        }
        im_index_close(index);
        library_free(&library);
    }
}

static void a_row_finds_itself_with_a_cosine_of_one(void **state)
{
    (void)state;
    random_state random = {23};
    test_library library;
    library_make(&library, &random, 500, 512, 0);
    im_index *index = library_open(&library, NULL, IM_ENGINE_AUTO, NULL);
    for (size_t i = 0; i < library.n; i += 17) {
        im_index_part part = {library.vectors + i * 512, 1, 0};
        im_index_query query = {.parts = &part, .n_parts = 1, .k = 1, .leave_out = IM_NO_ITEM};
        im_hit hit;
        im_index_answer answer;
        assert_ok(im_index_search(index, &query, &hit, &answer, err));
        assert_int_equal(hit.slot, i);
        assert_true(fabsf(hit.score - 1.0F) < 1e-6F);
        query.leave_out = hit.item; /* similar id:N */
        assert_ok(im_index_search(index, &query, &hit, &answer, err));
        assert_int_not_equal(hit.slot, i);
        assert_int_equal(answer.filtered, 500);
    }
    im_index_close(index);
    library_free(&library);
}

static void kernels_and_threads_give_the_same_bits(void **state)
{
    test_world *world = *state;
    const char *kernels[] = {"portable", "avx2", "avx512"};
    random_state random = {24};
    for (size_t d = 0; d < 6; d++) {
        test_library library;
        library_make(&library, &random, 3000, dims[d], 5);
        for (size_t round = 0; round < 6; round++) {
            test_query query;
            im_hit *first = malloc(500 * sizeof(im_hit));
            im_hit *hits = malloc(500 * sizeof(im_hit));
            assert_non_null(first);
            assert_non_null(hits);
            query_make(&query, &random, &library, 1 + round, (im_combine)(round % 3), false);
            query.query.k = 500;
            for (size_t variant = 0; variant < 9; variant++) {
                im_index_answer answer;
                setenv("IMAGO_KERNEL", kernels[variant / 3], 1);
                im_index *index =
                    library_open(&library, NULL, IM_ENGINE_SCAN, world->pools[variant % 3]);
                assert_ok(im_index_search(index, &query.query, variant == 0 ? first : hits, &answer,
                                          err));
                if (variant > 0) {
                    assert_hits(hits, &answer, 500, first, 500);
                }
                im_index_close(index);
            }
            unsetenv("IMAGO_KERNEL");
            query_free(&query);
            free(first);
            free(hits);
        }
        library_free(&library);
    }
}

/* Pages of `page` hits through the whole answer, each strictly behind the last hit of the one
 * before; together they must be the answer of one search. */
static void check_pages(im_index *index, const test_library *library, test_query *query,
                        size_t page)
{
    im_hit *all = malloc((library->n + 1) * sizeof(im_hit));
    im_hit hits[64];
    im_index_answer answer;
    size_t n_all = 0;
    size_t n_seen = 0;
    assert_non_null(all);
    query->query.has_after = false;
    query->query.k = library->n + 1;
    assert_ok(im_index_search(index, &query->query, all, &answer, err));
    n_all = answer.n_hits;
    query->query.k = page;
    do {
        assert_ok(im_index_search(index, &query->query, hits, &answer, err));
        size_t left = n_all - n_seen;
        assert_hits(hits, &answer, page, all + n_seen, left);
        n_seen += answer.n_hits;
        if (answer.n_hits > 0) {
            query->query.has_after = true;
            query->query.after_score = hits[answer.n_hits - 1].score;
            query->query.after_item = hits[answer.n_hits - 1].item;
        }
    } while (answer.n_hits == page);
    assert_int_equal(n_seen, n_all);
    free(all);
}

static void pages_together_are_the_whole_answer(void **state)
{
    test_world *world = *state;
    random_state random = {25};
    for (size_t d = 0; d < 4; d++) {
        test_library library;
        library_make(&library, &random, 1000, dims[d], 30);
        im_index *index = library_open(&library, NULL, IM_ENGINE_AUTO, world->pools[d % 3]);
        for (size_t round = 0; round < 6; round++) {
            test_query query;
            query_make(&query, &random, &library, 1 + round % 3, (im_combine)(round % 3),
                       round == 0);
            if (round == 4) {
                query.query.has_floor = true;
                query.query.floor = 0;
            }
            check_pages(index, &library, &query, 1 + round * 9);
            query_free(&query);
        }
        im_index_close(index);
        library_free(&library);
    }
}

/* T62 */
static void equal_vectors_are_paged_by_item_without_gap_or_repeat(void **state)
{
    (void)state;
    enum { N = 10000, D = 16 };
    random_state random = {26};
    float *vectors = malloc(N * D * sizeof(float));
    uint64_t *items = malloc(N * sizeof(uint64_t));
    assert_non_null(vectors);
    assert_non_null(items);
    random_unit(&random, vectors, D);
    for (size_t i = 0; i < N; i++) {
        memcpy(vectors + i * D, vectors, D * sizeof(float));
        items[i] = 1 + (i * 7919) % N; /* a permutation: 7919 is prime to 10,000 */
    }
    test_library library;
    library_write(&library, N, D, vectors, items);
    im_index *index = library_open(&library, NULL, IM_ENGINE_AUTO, NULL);
    test_query query;
    query_make(&query, &random, &library, 1, IM_COMBINE_SUM, true);
    query.query.k = 7;
    im_hit hits[7];
    im_index_answer answer;
    uint64_t next = 1;
    do {
        assert_ok(im_index_search(index, &query.query, hits, &answer, err));
        for (size_t i = 0; i < answer.n_hits; i++) {
            assert_true(hits[i].item == next++);
        }
        query.query.has_after = true;
        query.query.after_score = hits[0].score;
        query.query.after_item = next - 1;
    } while (answer.n_hits == 7);
    assert_int_equal(next, N + 1);
    query_free(&query);
    im_index_close(index);
    library_free(&library);
    free(vectors);
    free(items);
}

/* T59: numbers of hits at and beyond both ends. */
static void k_beyond_its_limits_is_refused(void **state)
{
    (void)state;
    random_state random = {27};
    test_library library;
    library_make(&library, &random, 10, 3, 0);
    im_index *index = library_open(&library, NULL, IM_ENGINE_AUTO, NULL);
    test_query query;
    im_hit hits[20];
    im_index_answer answer;
    query_make(&query, &random, &library, 1, IM_COMBINE_SUM, true);
    const size_t bad[] = {0, 1000001, (size_t)1 << 31, (size_t)1 << 63, SIZE_MAX};
    for (size_t i = 0; i < 5; i++) {
        query.query.k = bad[i];
        assert_refused(im_index_search(index, &query.query, hits, &answer, err), "invalid");
    }
    const size_t good[] = {1, 9, 10, 11, 20};
    for (size_t i = 0; i < 5; i++) {
        query.query.k = good[i];
        check_search(index, &library, NULL, &query.query);
    }
    query.query.k = 1000000;
    check_search(index, &library, NULL, &query.query);
    query_free(&query);
    im_index_close(index);
    library_free(&library);
}

static void cursors_and_floors_that_are_no_numbers_are_refused(void **state)
{
    (void)state;
    random_state random = {28};
    test_library library;
    library_make(&library, &random, 10, 3, 0);
    im_index *index = library_open(&library, NULL, IM_ENGINE_AUTO, NULL);
    test_query query;
    im_hit hits[10];
    im_index_answer answer = {.n_hits = 77};
    query_make(&query, &random, &library, 1, IM_COMBINE_SUM, true);
    query.query.has_after = true;
    query.query.after_score = NAN;
    assert_refused(im_index_search(index, &query.query, hits, &answer, err), "invalid");
    query.query.after_score = INFINITY; /* before the first */
    check_search(index, &library, NULL, &query.query);
    query.query.after_score = -INFINITY; /* behind the last */
    check_search(index, &library, NULL, &query.query);
    query.query.has_after = false;
    assert_refused(im_index_range(index, &query.query, hits, &answer, err), "invalid");
    query.query.has_floor = true;
    query.query.floor = NAN;
    assert_refused(im_index_search(index, &query.query, hits, &answer, err), "invalid");
    query.query.combine = (im_combine)3;
    query.query.floor = 0;
    assert_refused(im_index_search(index, &query.query, hits, &answer, err), "invalid");
    assert_int_equal(answer.n_hits, 77); /* a refusal writes nothing */
    query_free(&query);
    im_index_close(index);
    library_free(&library);
}

/* T60, in small: 20,000 rows, filters that keep almost nothing to almost all. */
static void filters_of_every_width_are_exact(void **state)
{
    test_world *world = *state;
    random_state random = {29};
    test_library library;
    library_make(&library, &random, 20000, 32, 1);
    im_index *index = library_open(&library, NULL, IM_ENGINE_AUTO, world->pools[2]);
    for (size_t kept = 0; kept <= 5; kept++) {
        uint64_t *bitmap =
            kept == 5 ? random_bits(&random, library.n, 1000) : random_bits(&random, library.n, 0);
        const size_t counts[] = {0, 1, 2, 200, 10000};
        for (size_t i = 0; kept < 5 && i < counts[kept]; i++) {
            uint64_t slot = random_below(&random, library.n);
            bitmap[slot / 64] |= UINT64_C(1) << (slot % 64);
        }
        bitmap[7] &= ~UINT64_C(4);
        test_query query;
        query_make(&query, &random, &library, 2, IM_COMBINE_SUM, false);
        query.query.bitmap = bitmap;
        check_search(index, &library, NULL, &query.query);
        query_free(&query);
        free(bitmap);
    }
    im_index_close(index);
    library_free(&library);
}

/* The heap against sorting. */
static void the_heap_keeps_the_best_in_order(void **state)
{
    (void)state;
    random_state random = {30};
    for (size_t round = 0; round < 500; round++) {
        size_t n = (size_t)random_below(&random, 300);
        size_t limit = 1 + (size_t)random_below(&random, 200);
        im_hit pushed[300];
        index_top top;
        index_top_init(&top, limit);
        for (size_t i = 0; i < n; i++) {
            pushed[i] = (im_hit){i, i, (float)random_below(&random, 50)};
            assert_true(index_top_push(&top, &pushed[i]));
        }
        index_top_sort(&top);
        assert_int_equal(top.n, n < limit ? n : limit);
        for (size_t i = 0; i + 1 < top.n; i++) {
            assert_true(index_hit_better(&top.entries[i], &top.entries[i + 1]));
        }
        size_t better = 0; /* none that was left out beats the last */
        for (size_t i = 0; i < n && top.n > 0; i++) {
            better += index_hit_better(&pushed[i], &top.entries[top.n - 1]);
        }
        assert_int_equal(better, top.n > 0 ? top.n - 1 : 0);
        index_top_clear(&top);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_heap_keeps_the_best_in_order),
        cmocka_unit_test(answers_equal_the_plain_search),
        cmocka_unit_test(scores_follow_the_formula),
        cmocka_unit_test(a_row_finds_itself_with_a_cosine_of_one),
        cmocka_unit_test(kernels_and_threads_give_the_same_bits),
        cmocka_unit_test(pages_together_are_the_whole_answer),
        cmocka_unit_test(equal_vectors_are_paged_by_item_without_gap_or_repeat),
        cmocka_unit_test(k_beyond_its_limits_is_refused),
        cmocka_unit_test(cursors_and_floors_that_are_no_numbers_are_refused),
        cmocka_unit_test(filters_of_every_width_are_exact),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
