/* tests/index/test_tiered.c — covers index/tiered.c, index/tiered_pass.c and index/tiered_fast.c:
 * a proved answer is that of the plain scan, to the last bit, whatever the library, the query and
 * the filter; an answer by bits misses next to nothing. */
#include "help_codes.h"
#include <math.h>
#include <unistd.h>

enum { LIBRARIES = 500, QUERIES = 20 };

/* One query by both engines. Returns whether they agree. */
static bool agree(im_index *scan, im_index *tiered, const im_index_query *query, bool *out_tiered)
{
    im_hit *hits[2] = {malloc(query->k * sizeof(im_hit)), malloc(query->k * sizeof(im_hit))};
    im_index_answer answers[2];
    assert_ok(im_index_search(scan, query, hits[0], &answers[0], err));
    assert_ok(im_index_search(tiered, query, hits[1], &answers[1], err));
    assert_int_equal(answers[1].codes, IM_CODES_SOUND);
    assert_true(answers[1].exact);
    *out_tiered = strcmp(answers[1].engine, "tiered") == 0;
    bool same = same_hits(hits[0], &answers[0], hits[1], &answers[1], query->k);
    free(hits[0]);
    free(hits[1]);
    return same;
}

static void proved_answers_equal_the_scan(void **state)
{
    test_world *world = *state;
    random_state random = {401};
    size_t n_tiered = 0;
    for (size_t l = 0; l < LIBRARIES; l++) {
        test_case test;
        size_t n = 1 + (size_t)random_below(&random, l % 10 == 0 ? 6000 : 1200);
        case_make(&test, &random, n, codes_dims[random_below(&random, CODES_DIMS)]);
        uint64_t *alive = random_bits(&random, n, l % 2 == 0 ? 1000 : 900);
        im_index *scan = library_open(&test.library, alive, IM_ENGINE_SCAN, NULL);
        im_index *tiered = tiered_open(&test.library, alive, world->pools[l % 3]);
        for (size_t q = 0; q < QUERIES; q++) {
            im_index_part parts[4];
            im_index_query query;
            bool by_codes = false;
            uint64_t *bitmap =
                random_bits(&random, n, codes_densities[random_below(&random, CODES_DENSITIES)]);
            case_query(&test, &random, q, parts, &query);
            query.bitmap = q % 2 == 0 ? NULL : bitmap;
            if (!agree(scan, tiered, &query, &by_codes)) {
                fail_msg("library %zu (n %zu, dim %zu), query %zu: another answer than the scan's",
                         l, n, test.dim, q);
            }
            n_tiered += by_codes;
            free(bitmap);
        }
        im_index_close(scan);
        im_index_close(tiered);
        free(alive);
        case_free(&test);
    }
    assert_true(n_tiered > LIBRARIES * QUERIES / 4); /* the codes did answer */
}

/* The same comparison finds it when the bound is left out: the bound is what makes it right. */
static void without_the_bound_answers_are_wrong(void **state)
{
    (void)state;
    random_state random = {402};
    size_t n_wrong = 0;
    for (size_t l = 0; l < 10; l++) {
        test_case test;
        case_make(&test, &random, 1500, 256);
        im_index *scan = library_open(&test.library, NULL, IM_ENGINE_SCAN, NULL);
        im_index *tiered = tiered_open(&test.library, NULL, NULL);
        im_index_part part = {test.vectors, 1, 0};
        im_index_query query = {.parts = &part, .n_parts = 1, .k = 10, .leave_out = IM_NO_ITEM};
        bool by_codes = false;
        assert_true(agree(scan, tiered, &query, &by_codes));
        assert_true(by_codes);
        engine_of(tiered)->unbounded = true;
        n_wrong += !agree(scan, tiered, &query, &by_codes);
        im_index_close(scan);
        im_index_close(tiered);
        case_free(&test);
    }
    assert_true(n_wrong >= 5);
}

/* T62: equal rows all have the same bound; none may be let go. Pages of seven through them. */
static void pages_through_equal_rows_neither_repeat_nor_miss(void **state)
{
    (void)state;
    enum { N = 2000, D = 64 };
    random_state random = {403};
    test_library library;
    im_hit hits[7];
    im_index_answer answer;
    float *rows = malloc(N * D * sizeof(float));
    char *seen = calloc(5 * N + 8, 1);
    random_unit(&random, rows, D);
    for (size_t r = 1; r < N; r++) {
        memcpy(rows + r * D, rows, D * sizeof(float));
    }
    library_of_rows(&library, &random, rows, N, D);
    im_index *index = tiered_open(&library, NULL, NULL);
    im_index_part part = {rows, 1, 0};
    im_index_query query = {.parts = &part, .n_parts = 1, .k = 7, .leave_out = IM_NO_ITEM};
    size_t n = 0;
    do {
        assert_ok(im_index_search(index, &query, hits, &answer, err));
        for (size_t i = 0; i < answer.n_hits; i++, n++) {
            assert_true(n == 0 || i > 0 || hits[i].item > query.after_item);
            assert_int_equal(seen[hits[i].item]++, 0);
        }
        query.has_after = true;
        query.after_score = hits[6].score;
        query.after_item = hits[6].item;
    } while (answer.n_hits == 7);
    assert_int_equal(n, N);
    im_index_close(index);
    library_free(&library);
    free(rows);
    free(seen);
}

/* T64, T60: nothing alive, one alive, a filter that lets nothing pass. */
static void removed_rows_are_no_hits(void **state)
{
    (void)state;
    random_state random = {404};
    test_case test;
    im_hit hits[10];
    im_index_answer answer;
    uint64_t alive[8] = {0};
    case_make(&test, &random, 500, 64);
    im_index *index = tiered_open(&test.library, alive, NULL);
    im_index_part part = {test.vectors, 1, 0};
    im_index_query query = {.parts = &part, .n_parts = 1, .k = 10, .leave_out = IM_NO_ITEM};
    assert_ok(im_index_search(index, &query, hits, &answer, err));
    assert_int_equal(answer.n_hits, 0);
    assert_true(hits[0].item == IM_NO_ITEM);
    alive[3] = 1u << 5;
    assert_ok(im_index_search(index, &query, hits, &answer, err));
    assert_int_equal(answer.n_hits, 1);
    assert_int_equal(hits[0].slot, 3 * 64 + 5);
    for (size_t w = 0; w < 8; w++) {
        alive[w] = UINT64_MAX;
    }
    im_hit all[10];
    assert_ok(im_index_search(index, &query, all, &answer, err));
    assert_string_equal(answer.engine, "tiered");
    alive[all[0].slot / 64] &= ~(UINT64_C(1) << (all[0].slot % 64)); /* the best one goes */
    assert_ok(im_index_search(index, &query, hits, &answer, err));
    for (size_t i = 0; i < 9; i++) {
        assert_int_equal(hits[i].item, all[i + 1].item);
    }
    im_index_close(index);
    case_free(&test);
}

static void append(test_library *library, const float *rows, size_t n, uint64_t first_item)
{
    im_index_writer *writer = NULL;
    uint64_t slot = 0;
    uint64_t items[64];
    for (size_t i = 0; i < n; i++) {
        items[i] = first_item + i;
    }
    assert_ok(im_index_writer_open(library->folder, &library->state, &writer, err));
    assert_ok(im_index_writer_append(writer, items, rows, n, &slot, err));
    assert_ok(im_index_writer_sync(writer, err));
    im_index_writer_close(writer);
    library->state.n_rows += n;
}

static void assert_agree(const test_case *test, im_pool *pool, uint64_t n_coded)
{
    im_index_stats stats;
    im_index *scan = library_open(&test->library, NULL, IM_ENGINE_SCAN, NULL);
    im_index *tiered = library_open(&test->library, NULL, IM_ENGINE_AUTO, pool);
    im_index_part part = {test->vectors, 1, 0};
    im_index_query query = {.parts = &part, .n_parts = 1, .k = 15, .leave_out = IM_NO_ITEM};
    bool by_codes = false;
    im_index_describe(tiered, &stats);
    assert_int_equal(stats.codes, IM_CODES_SOUND);
    assert_int_equal(stats.n_coded, n_coded);
    assert_true(agree(scan, tiered, &query, &by_codes));
    assert_true(by_codes);
    im_index_close(scan);
    im_index_close(tiered);
}

/* Rows that were added after the codes are found; an update takes them in; a reader whose snapshot
 * is older than the codes sees its own rows only. */
static void rows_behind_the_codes_are_found(void **state)
{
    test_world *world = *state;
    random_state random = {405};
    test_case test;
    case_make(&test, &random, 1001, 100);
    for (size_t round = 0; round < 8; round++) {
        float rows[20 * 100];
        uint64_t before = test.library.state.n_rows;
        pictures_make(&random, rows, 20, 100);
        memcpy(rows, test.vectors, 100 * sizeof(float)); /* a best hit among the new ones */
        append(&test.library, rows, 1 + round * 2, 100000 + 100 * round);
        assert_agree(&test, world->pools[round % 3], before);
        codes_update(&test.library);
        assert_agree(&test, world->pools[round % 3], test.library.state.n_rows);
        uint64_t now = test.library.state.n_rows;
        test.library.state.n_rows = before;
        assert_agree(&test, NULL, before);
        test.library.state.n_rows = now;
    }
    case_free(&test);
}

static void codes_are_due_when_the_tail_grows(void **state)
{
    (void)state;
    assert_false(im_index_codes_due(0, 0));
    assert_false(im_index_codes_due(4096, 0));
    assert_true(im_index_codes_due(4097, 0));
    assert_false(im_index_codes_due(1000000, 950000));
    assert_true(im_index_codes_due(1000000, 949999));
    assert_false(im_index_codes_due(10, 1000));
}

/* ---- by bits ---- */

/* Recall over many queries; hits are true rows with their true scores; always k of them. */
static void by_bits_next_to_nothing_is_missed(void **state)
{
    test_world *world = *state;
    enum { N = 20000, D = 256, M = 200, K = 10 };
    random_state random = {407};
    test_library library;
    size_t n_found = 0;
    float *rows = malloc((size_t)N * D * sizeof(float));
    float vector[D];
    pictures_make(&random, rows, N, D);
    library_of_rows(&library, &random, rows, N, D);
    im_index *scan = library_open(&library, NULL, IM_ENGINE_SCAN, NULL);
    im_index *tiered = tiered_open(&library, NULL, world->pools[2]);
    im_index *alone = tiered_open(&library, NULL, NULL);
    for (size_t q = 0; q < M; q++) {
        im_hit hits[3][K];
        im_index_answer answers[3];
        im_index_part part = {vector, 1, 0};
        im_index_query query = {
            .parts = &part, .n_parts = 1, .k = K, .leave_out = IM_NO_ITEM, .mode = IM_MODE_FAST};
        text_make(&random, rows, 500, D, vector);
        if (q % 4 == 0) {
            memcpy(vector, rows + random_below(&random, N) * D, sizeof(vector));
        }
        assert_ok(im_index_search(scan, &query, hits[0], &answers[0], err));
        assert_ok(im_index_search(tiered, &query, hits[1], &answers[1], err));
        assert_ok(im_index_search(alone, &query, hits[2], &answers[2], err));
        assert_false(answers[1].exact);
        assert_string_equal(answers[1].engine, "tiered");
        assert_int_equal(answers[1].n_hits, K);
        assert_same(hits[1], &answers[1], hits[2], &answers[2], K); /* whatever the threads */
        for (size_t i = 0; i < K; i++) {
            for (size_t j = 0; j < K; j++) {
                n_found += hits[0][i].item == hits[1][j].item;
            }
        }
    }
    print_message("recall at %d by bits: %.4f\n", K, (double)n_found / (M * K));
    assert_true(n_found >= M * K - 2);
    im_index_close(scan);
    im_index_close(tiered);
    im_index_close(alone);
    library_free(&library);
    free(rows);
}

/* Whatever it asks for, min(k, matches) hits come back, best first, of rows that may be hits. */
static void by_bits_all_wanted_hits_come(void **state)
{
    test_world *world = *state;
    random_state random = {408};
    for (size_t l = 0; l < 40; l++) {
        test_case test;
        size_t n = 400 + (size_t)random_below(&random, 3000);
        case_make(&test, &random, n, codes_dims[random_below(&random, CODES_DIMS)]);
        uint64_t *alive = random_bits(&random, n, 950);
        im_index *scan = library_open(&test.library, alive, IM_ENGINE_SCAN, NULL);
        im_index *tiered = tiered_open(&test.library, alive, world->pools[l % 3]);
        engine_of(tiered)->fast_rows = 1;
        engine_of(tiered)->proved_rows = 100;
        for (size_t q = 0; q < 20; q++) {
            im_index_part parts[4];
            im_index_query query;
            im_index_answer answers[2];
            im_hit hits[2][400];
            uint64_t *bitmap =
                random_bits(&random, n, codes_densities[random_below(&random, CODES_DENSITIES)]);
            case_query(&test, &random, q, parts, &query);
            query.mode = q % 2 == 0 ? IM_MODE_FAST : IM_MODE_AUTO;
            query.bitmap = q % 3 == 0 ? NULL : bitmap;
            assert_ok(im_index_search(scan, &query, hits[0], &answers[0], err));
            assert_ok(im_index_search(tiered, &query, hits[1], &answers[1], err));
            assert_int_equal(answers[0].n_hits, answers[1].n_hits);
            for (size_t i = 0; i < answers[1].n_hits; i++) {
                float score = 0;
                assert_ok(im_index_score(scan, &query, hits[1][i].slot, &score, NULL, err));
                assert_true(score == hits[1][i].score);
                assert_true(i == 0 || hits[1][i].score <= hits[1][i - 1].score);
                assert_true(hits[1][i].score <= hits[0][i].score);
                assert_true(bit_of(alive, hits[1][i].slot) &&
                            bit_of(query.bitmap, hits[1][i].slot));
                assert_true(hits[1][i].item != query.leave_out);
            }
            free(bitmap);
        }
        im_index_close(scan);
        im_index_close(tiered);
        free(alive);
        case_free(&test);
    }
}

/* Sizes that overflow the arithmetic of bounds: the scan answers. */
static void extreme_weights_answer_as_the_scan(void **state)
{
    (void)state;
    random_state random = {409};
    test_case test;
    case_make(&test, &random, 600, 64);
    im_index *scan = library_open(&test.library, NULL, IM_ENGINE_SCAN, NULL);
    im_index *tiered = tiered_open(&test.library, NULL, NULL);
    const float scales[] = {0, 1e-45F, 1e-38F, 1e-30F, 1e-20F, -1, 1e10F, 1e30F, -1e30F};
    const float shifts[] = {0, 1, -1e30F, 1e30F, 1e-40F};
    for (size_t i = 0; i < 9 * 5; i++) {
        im_index_part parts[2] = {{test.vectors, scales[i % 9], shifts[i / 9]},
                                  {test.vectors + 64, scales[(i + 3) % 9], shifts[(i + 1) % 5]}};
        for (int combine = 0; combine < 3; combine++) {
            im_index_query query = {.parts = parts,
                                    .n_parts = 1 + i % 2,
                                    .k = 10,
                                    .combine = (im_combine)combine,
                                    .leave_out = IM_NO_ITEM};
            bool by_codes = false;
            assert_true(agree(scan, tiered, &query, &by_codes));
        }
    }
    im_index_close(scan);
    im_index_close(tiered);
    case_free(&test);
}

static void an_unknown_mode_is_refused(void **state)
{
    (void)state;
    random_state random = {410};
    test_case test;
    im_hit hits[1];
    im_index_answer answer;
    case_make(&test, &random, 100, 64);
    im_index *index = tiered_open(&test.library, NULL, NULL);
    im_index_part part = {test.vectors, 1, 0};
    im_index_query query = {.parts = &part, .n_parts = 1, .k = 1, .mode = (im_search_mode)3};
    assert_refused(im_index_search(index, &query, hits, &answer, err), "invalid");
    im_index_close(index);
    case_free(&test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proved_answers_equal_the_scan),
        cmocka_unit_test(without_the_bound_answers_are_wrong),
        cmocka_unit_test(pages_through_equal_rows_neither_repeat_nor_miss),
        cmocka_unit_test(removed_rows_are_no_hits),
        cmocka_unit_test(rows_behind_the_codes_are_found),
        cmocka_unit_test(codes_are_due_when_the_tail_grows),
        cmocka_unit_test(by_bits_next_to_nothing_is_missed),
        cmocka_unit_test(by_bits_all_wanted_hits_come),
        cmocka_unit_test(extreme_weights_answer_as_the_scan),
        cmocka_unit_test(an_unknown_mode_is_refused),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
