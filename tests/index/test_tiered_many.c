/* tests/index/test_tiered_many.c — covers index/tiered_tile.c and im_index_search_many: several
 * queries at once get the answers that each of them gets alone, to the last bit. */
#include "base/base.h"
#include "help_codes.h"
#include <unistd.h>

enum { MANY = 200 };

typedef struct test_many {
    im_index_part parts[MANY][4];
    im_index_query queries[MANY];
    im_index_answer answers[MANY];
    im_hit *hits[MANY];
    uint64_t *bitmaps[MANY];
} test_many;

static void many_make(test_many *many, const test_case *test, random_state *random)
{
    for (size_t q = 0; q < MANY; q++) {
        case_query(test, random, q, many->parts[q], &many->queries[q]);
        many->queries[q].mode = (im_search_mode)(q % 3);
        many->bitmaps[q] = random_bits(random, test->n, codes_densities[q % CODES_DENSITIES]);
        many->queries[q].bitmap = q % 3 == 0 ? NULL : many->bitmaps[q];
        many->hits[q] = malloc(many->queries[q].k * sizeof(im_hit));
    }
}

static void many_free(test_many *many)
{
    for (size_t q = 0; q < MANY; q++) {
        free(many->hits[q]);
        free(many->bitmaps[q]);
    }
}

/* The answer of query q is that of asking alone, to the last bit; one that is not exact alone may
 * be exact in company, and then is the scan's. Returns whether it is another. */
static bool many_agree(const test_many *many, size_t q, im_index *index, im_index *scan)
{
    const im_index_query *query = &many->queries[q];
    im_hit *alone = malloc(query->k * sizeof(im_hit));
    im_index_answer answer;
    assert_ok(im_index_search(index, query, alone, &answer, err));
    if (index != scan) {
        assert_int_equal(answer.codes, many->answers[q].codes);
    }
    if (index != scan) {
        assert_string_equal(answer.engine, many->answers[q].engine);
    }
    if (many->answers[q].exact && !answer.exact) {
        assert_int_not_equal(query->mode, IM_MODE_EXACT);
        assert_ok(im_index_search(scan, query, alone, &answer, err));
    }
    assert_int_equal(answer.exact, many->answers[q].exact);
    bool same = same_hits(alone, &answer, many->hits[q], &many->answers[q], query->k);
    free(alone);
    return same;
}

/* Groups of every size, with parts, filters, cursors, floors and negative weights; dims whose tiles
 * are a few rows or more than a block has; removed rows; one thread and more. */
static void many_at_once_answer_as_one_by_one(void **state)
{
    test_world *world = *state;
    static const size_t sizes[] = {1, 2, 3, 5, 8, 31, 64, 65, 200};
    static test_many many;
    random_state random = {406};
    for (size_t round = 0; round < 18; round++) {
        test_case test;
        size_t size = sizes[round % 9];
        case_make(&test, &random, 1000 + 700 * (round % 4), codes_dims[round % CODES_DIMS]);
        uint64_t *alive = random_bits(&random, test.n, round % 2 == 0 ? 1000 : 900);
        im_index *scan = library_open(&test.library, alive, IM_ENGINE_SCAN, NULL);
        im_index *index =
            library_open(&test.library, alive, round == 5 ? IM_ENGINE_SCAN : IM_ENGINE_AUTO,
                         world->pools[round % 3]);
        if (round != 5) {
            engine_of(index)->fast_rows = 100; /* some of them by bits */
        }
        many_make(&many, &test, &random);
        for (size_t q = 0; q < MANY; q += size) {
            assert_ok(im_index_search_many(index, many.queries + q, IM_MIN(size, MANY - q),
                                           many.hits + q, many.answers + q, err));
        }
        for (size_t q = 0; q < MANY; q++) {
            if (!many_agree(&many, q, index, scan)) {
                fail_msg("round %zu, query %zu of %zu at once: another answer", round, q, size);
            }
        }
        assert_ok(im_index_search_many(index, many.queries, 0, many.hits, many.answers, err));
        many.queries[MANY - 1].k = 0;
        assert_refused(
            im_index_search_many(index, many.queries, MANY, many.hits, many.answers, err),
            "invalid");
        many_free(&many);
        im_index_close(scan);
        im_index_close(index);
        free(alive);
        case_free(&test);
    }
}

/* Each row is looked for by its own vector: a tile that left one out anywhere, at the end of a
 * word, of a block or of all rows, would find another. */
static void every_row_is_found_in_company(void **state)
{
    (void)state;
    static const size_t dims[] = {64, 512, 640, 1152};
    random_state random = {412};
    for (size_t d = 0; d < IM_COUNT(dims); d++) {
        enum { ROWS = 2011, TOGETHER = 64 };
        test_library library;
        im_index_part parts[TOGETHER];
        im_index_query queries[TOGETHER];
        im_index_answer answers[TOGETHER];
        im_hit found[TOGETHER];
        im_hit *hits[TOGETHER];
        float *rows = malloc(ROWS * dims[d] * sizeof(float));
        for (size_t r = 0; r < ROWS; r++) {
            random_unit(&random, rows + r * dims[d], dims[d]);
        }
        library_of_rows(&library, &random, rows, ROWS, dims[d]);
        im_index *index = tiered_open(&library, NULL, NULL);
        for (size_t first = 0; first < ROWS; first += TOGETHER) {
            size_t n = IM_MIN((size_t)TOGETHER, ROWS - first);
            for (size_t q = 0; q < n; q++) {
                parts[q] = (im_index_part){rows + (first + q) * dims[d], 1, 0};
                queries[q] = (im_index_query){
                    .parts = &parts[q], .n_parts = 1, .k = 1, .leave_out = IM_NO_ITEM};
                hits[q] = &found[q];
            }
            assert_ok(im_index_search_many(index, queries, n, hits, answers, err));
            for (size_t q = 0; q < n; q++) {
                assert_string_equal(answers[q].engine, "tiered");
                assert_int_equal(found[q].slot, first + q);
            }
        }
        im_index_close(index);
        library_free(&library);
        free(rows);
    }
}

/* Eight fast ones are proved in one pass, seven or among too many rows they are not. */
static void some_fast_ones_are_proved_together(void **state)
{
    (void)state;
    enum { ROWS = 3200, TOGETHER = 8, K = 5 };
    random_state random = {413};
    test_case test;
    im_index_query queries[TOGETHER];
    im_index_part parts[TOGETHER];
    im_index_answer answers[TOGETHER];
    im_hit found[TOGETHER][K];
    im_hit *hits[TOGETHER];
    case_make(&test, &random, ROWS, 256);
    im_index *index = tiered_open(&test.library, NULL, NULL);
    engine_of(index)->fast_rows = 100;
    for (size_t q = 0; q < TOGETHER; q++) {
        parts[q] = (im_index_part){test.vectors, 1.0F + (float)q, 0};
        queries[q] =
            (im_index_query){.parts = &parts[q], .n_parts = 1, .k = K, .leave_out = IM_NO_ITEM};
        hits[q] = found[q];
    }
    const struct {
        uint64_t proved_rows;
        size_t n;
        im_search_mode mode;
        bool exact;
    } cases[] = {{ROWS, 8, IM_MODE_AUTO, true},      {ROWS, 7, IM_MODE_FAST, false},
                 {ROWS / 8, 8, IM_MODE_AUTO, true},  {ROWS / 8, 8, IM_MODE_FAST, true},
                 {ROWS / 8, 7, IM_MODE_AUTO, false}, {ROWS / 8 - 1, 8, IM_MODE_AUTO, false}};
    for (size_t c = 0; c < IM_COUNT(cases); c++) {
        engine_of(index)->proved_rows = cases[c].proved_rows;
        for (size_t q = 0; q < TOGETHER; q++) {
            queries[q].mode = cases[c].mode;
        }
        assert_ok(im_index_search_many(index, queries, cases[c].n, hits, answers, err));
        for (size_t q = 0; q < cases[c].n; q++) {
            assert_int_equal(answers[q].exact, cases[c].exact);
            assert_int_equal(answers[q].n_hits, K);
        }
    }
    im_index_close(index);
    case_free(&test);
}

/* As for one query: the comparison finds it when the bounds are left out. */
static void many_without_the_bound_are_wrong(void **state)
{
    (void)state;
    static test_many many;
    random_state random = {411};
    test_case test;
    size_t n_wrong = 0;
    case_make(&test, &random, 3000, 256);
    im_index *scan = library_open(&test.library, NULL, IM_ENGINE_SCAN, NULL);
    im_index *index = tiered_open(&test.library, NULL, NULL);
    for (size_t q = 0; q < MANY; q++) {
        many.parts[q][0] = (im_index_part){test.vectors, 1.0F + (float)q / MANY, 0};
        many.queries[q] = (im_index_query){
            .parts = many.parts[q], .n_parts = 1, .k = 10, .leave_out = IM_NO_ITEM};
        many.hits[q] = malloc(10 * sizeof(im_hit));
        many.bitmaps[q] = NULL;
    }
    for (int unbounded = 0; unbounded < 2; unbounded++) {
        engine_of(index)->unbounded = unbounded == 1;
        assert_ok(im_index_search_many(index, many.queries, MANY, many.hits, many.answers, err));
        n_wrong = 0;
        for (size_t q = 0; q < MANY; q++) {
            n_wrong += !many_agree(&many, q, scan, scan);
        }
        assert_true(unbounded == 1 || n_wrong == 0);
    }
    assert_true(n_wrong > MANY / 2);
    many_free(&many);
    im_index_close(scan);
    im_index_close(index);
    case_free(&test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_at_once_answer_as_one_by_one),
        cmocka_unit_test(every_row_is_found_in_company),
        cmocka_unit_test(some_fast_ones_are_proved_together),
        cmocka_unit_test(many_without_the_bound_are_wrong),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
