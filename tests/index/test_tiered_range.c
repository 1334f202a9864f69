/* tests/index/test_tiered_range.c — covers the ranges of index/tiered.c and index/tiered_finish.c:
 * all rows that reach a floor, whatever the floor and however many are asked for, to the last bit
 * as the plain scan finds them. */
#include "help_codes.h"
#include <math.h>

enum { LIBRARIES = 30, FLOORS = 9 };

typedef struct range_case {
    test_library library;
    im_index *scan, *tiered;
    float *rows, *text;
    uint64_t *alive, *bitmap;
    size_t n;
    float floors[FLOORS];
} range_case;

/* Floors from below all scores to above them; each that is a score is that of a row, to the bit. */
static void choose_floors(range_case *test)
{
    im_index_part part = {test->text, 1, 0};
    im_index_query query = {.parts = &part, .n_parts = 1, .k = test->n, .leave_out = IM_NO_ITEM};
    im_index_answer answer;
    im_hit *all = malloc(test->n * sizeof(*all));
    assert_non_null(all);
    assert_ok(im_index_search(test->scan, &query, all, &answer, err));
    assert_true(answer.n_hits > test->n / 2);
    size_t last = answer.n_hits - 1;
    const float floors[FLOORS] = {-INFINITY,
                                  all[last].score,
                                  all[last / 2].score,
                                  all[last / 8].score,
                                  all[last / 17].score,
                                  all[last / 100].score,
                                  all[0].score,
                                  nextafterf(all[0].score, INFINITY),
                                  INFINITY};
    memcpy(test->floors, floors, sizeof(floors));
    free(all);
}

static void case_open(range_case *test, random_state *random, size_t n, size_t dim, im_pool *pool)
{
    *test = (range_case){.n = n};
    test->rows = malloc(n * dim * sizeof(float));
    test->text = malloc(dim * sizeof(float));
    assert_non_null(test->rows);
    assert_non_null(test->text);
    pictures_make(random, test->rows, n, dim);
    text_make(random, test->rows, n, dim, test->text);
    library_of_rows(&test->library, random, test->rows, n, dim);
    test->alive = random_bits(random, n, 950);
    test->bitmap = random_bits(random, n, 400);
    test->scan = library_open(&test->library, test->alive, IM_ENGINE_SCAN, NULL);
    test->tiered = tiered_open(&test->library, test->alive, pool);
    choose_floors(test);
}

static void case_close(range_case *test)
{
    im_index_close(test->scan);
    im_index_close(test->tiered);
    library_free(&test->library);
    free(test->rows);
    free(test->text);
    free(test->alive);
    free(test->bitmap);
}

/* Both answers to one range. Returns whether they are the same; who answered is counted. */
static bool agree(const range_case *test, size_t f, size_t k, const uint64_t *bitmap,
                  size_t *n_tiered, size_t *n_scan)
{
    im_index_part part = {test->text, 1, 0};
    im_index_query query = {.parts = &part,
                            .n_parts = 1,
                            .k = k,
                            .bitmap = bitmap,
                            .has_floor = true,
                            .floor = test->floors[f],
                            .leave_out = f % 2 == 0 ? IM_NO_ITEM : test->library.items[f],
                            .mode = f % 3 == 0 ? IM_MODE_EXACT : IM_MODE_AUTO};
    im_index_answer answers[2];
    im_hit *hits[2] = {malloc(k * sizeof(im_hit)), malloc(k * sizeof(im_hit))};
    assert_non_null(hits[0]);
    assert_non_null(hits[1]);
    assert_ok(im_index_range(test->scan, &query, hits[0], &answers[0], err));
    assert_ok(im_index_range(test->tiered, &query, hits[1], &answers[1], err));
    assert_int_equal(answers[1].codes, IM_CODES_SOUND);
    assert_true(answers[1].exact);
    bool by_codes = strcmp(answers[1].engine, "tiered") == 0;
    *n_tiered += by_codes;
    *n_scan += !by_codes;
    if (f < 2 && bitmap == NULL && k >= test->n) {
        assert_false(by_codes); /* all rows, one by one: the scan is quicker */
        assert_true(answers[1].n_hits > test->n * 9 / 10);
    } else if (f >= FLOORS - 3) { /* one row or none */
        assert_true(by_codes);
        assert_true(answers[1].n_hits <= 1);
    }
    bool same = same_hits(hits[0], &answers[0], hits[1], &answers[1], k);
    free(hits[0]);
    free(hits[1]);
    return same;
}

static void every_floor_answers_as_the_scan(void **state)
{
    test_world *world = *state;
    static const size_t dims[] = {64, 100, 256, 512};
    random_state random = {421};
    size_t n_tiered = 0;
    size_t n_scan = 0;
    for (size_t l = 0; l < LIBRARIES; l++) {
        range_case test;
        size_t n = 600 + (size_t)random_below(&random, 2400);
        case_open(&test, &random, n, dims[l % 4], world->pools[l % 3]);
        const size_t ks[] = {1, 10, n / 20, n / 3, n, n + 5};
        for (size_t f = 0; f < FLOORS; f++) {
            for (size_t i = 0; i < 6; i++) {
                const uint64_t *bitmap = (l + f + i) % 3 == 0 ? test.bitmap : NULL;
                if (!agree(&test, f, ks[i], bitmap, &n_tiered, &n_scan)) {
                    fail_msg("library %zu (n %zu), floor %g, k %zu: not the scan's answer", l, n,
                             (double)test.floors[f], ks[i]);
                }
            }
        }
        case_close(&test);
    }
    assert_true(n_tiered > LIBRARIES * FLOORS * 6 / 4); /* both ways were gone */
    assert_true(n_scan > LIBRARIES * FLOORS * 6 / 20);
}

/* The bound is what makes it right: without it rows at the floor are missed. */
static void without_the_bound_rows_are_missed(void **state)
{
    (void)state;
    random_state random = {422};
    size_t n_wrong = 0;
    size_t ignored = 0;
    for (size_t l = 0; l < 10; l++) {
        range_case test;
        case_open(&test, &random, 2000, 256, NULL);
        assert_true(agree(&test, 5, 2000, NULL, &ignored, &ignored));
        engine_of(test.tiered)->unbounded = true;
        n_wrong += !agree(&test, 5, 2000, NULL, &ignored, &ignored);
        case_close(&test);
    }
    assert_true(n_wrong >= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_floor_answers_as_the_scan),
        cmocka_unit_test(without_the_bound_rows_are_missed),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
