/* tests/index/test_faiss_search.c — covers index/faiss_search.c and the module's side: searches
 * hold what every engine promises (min(k, matches) rows, the one score, filters, removals,
 * cursors), and find what the scan finds where they look everywhere. */
#include "help_faiss.h"
#include <unistd.h>

enum { ROWS = 4000, DIM = 32, CLUSTERS = 60 };

static int set_up(void **state)
{
    open_clusters(81, CLUSTERS, DIM, ROWS);
    return use_the_built_module(state);
}

/* What holds for every answer: hits are allowed rows, once each, scored as im_index_score scores
 * them, in order, and min(k, matches) of them unless there is a floor.
 * @param matches from slow_search @return hits that are among the true first ones */
static size_t check_answer(im_index *index, const im_index_query *query, const uint64_t *alive,
                           bool *out_exact)
{
    im_hit *hits = malloc(query->k * sizeof(im_hit));
    im_hit *truth = malloc(library.n * sizeof(im_hit));
    im_index_answer answer;
    size_t found = 0;
    assert_non_null(hits);
    assert_non_null(truth);
    size_t n_truth = slow_search(index, &library, alive, query, truth);
    size_t wanted = n_truth < query->k ? n_truth : query->k;
    assert_ok(im_index_search(index, query, hits, &answer, err));
    assert_true(answer.n_hits <= wanted);
    if (!query->has_floor) {
        assert_int_equal(answer.n_hits, wanted);
    }
    for (size_t i = 0; i < answer.n_hits; i++) {
        size_t at = 0;
        while (at < n_truth && truth[at].slot != hits[i].slot) {
            at++;
        }
        assert_true(at < n_truth); /* allowed, and not seen before */
        assert_memory_equal(&truth[at], &hits[i], sizeof(uint64_t) * 2 + sizeof(float));
        assert_true(i == 0 || hits[i - 1].score > hits[i].score ||
                    (hits[i - 1].score == hits[i].score && hits[i - 1].item < hits[i].item));
        found += hits[i].score >= truth[wanted - 1].score;
    }
    for (size_t i = answer.n_hits; i < query->k; i++) {
        assert_true(hits[i].item == IM_NO_ITEM);
    }
    if (answer.exact) {
        assert_int_equal(found, wanted);
    }
    *out_exact = answer.exact;
    free(hits);
    free(truth);
    return found;
}

/* One of many queries: parts, combination, filter, floor, cursor, item left out. */
static void vary(im_index_query *query, random_state *random, size_t round, const uint64_t *bitmap)
{
    static const size_t ks[] = {1, 10, 50, 200};
    size_t slot = (size_t)random_below(random, library.n);
    query->k = ks[round % 4];
    query->bitmap = round % 3 == 0 ? NULL : bitmap;
    query->leave_out = round % 2 == 0 ? library.items[slot] : IM_NO_ITEM;
    query->has_floor = round % 5 == 1;
    query->floor = (float)true_score(&library, query, slot);
    query->has_after = round % 7 == 2;
    query->after_score = (float)true_score(&library, query, slot);
    query->after_item = library.items[slot];
}

static void answers_keep_what_every_engine_promises(void **state)
{
    (void)state;
    random_state random = {82};
    static const unsigned densities[] = {1000, 700, 300, 50, 3};
    for (size_t e = 0; e < 2; e++) {
        uint64_t *alive = random_bits(&random, library.n, 900);
        im_faiss_record record = build_file(&library, alive, both_engines[e], 0);
        im_index *index = open_file(&library, alive, both_engines[e], &record, as_default);
        size_t n_exact = 0;
        for (size_t round = 0; round < 120; round++) {
            test_query query;
            bool exact = false;
            uint64_t *bitmap = random_bits(&random, library.n, densities[round % 5]);
            query_make(&query, &random, &library, 1 + round % 4, (im_combine)(round % 3),
                       round % 2 == 0);
            vary(&query.query, &random, round, bitmap);
            (void)check_answer(index, &query.query, alive, &exact);
            n_exact += exact;
            query_free(&query);
            free(bitmap);
        }
        assert_in_range(n_exact, 10, 110); /* both ways were taken */
        im_index_close(index);
        free(alive);
    }
}

/* An IVF that looks into each list finds all; an HNSW with a queue as long as the library misses
 * the few rows that no link leads to. */
static void an_exhaustive_search_finds_what_the_scan_finds(void **state)
{
    (void)state;
    random_state random = {83};
    im_hit by_scan[100], by_faiss[100];
    size_t n_found = 0, n_wanted = 0;
    im_index *scan = library_open(&library, NULL, IM_ENGINE_SCAN, NULL);
    for (size_t e = 0; e < 2; e++) {
        im_faiss_record record = build_file(&library, NULL, both_engines[e], 50);
        n_found = 0;
        n_wanted = 0;
        im_index *index = open_file(&library, NULL, both_engines[e], &record, all_of_it);
        for (size_t round = 0; round < 60; round++) {
            test_query query;
            im_index_answer expected, answer;
            query_make(&query, &random, &library, 1 + round % 3, (im_combine)(round % 2), false);
            query.query.k = 1 + (size_t)random_below(&random, 100);
            assert_ok(im_index_search(scan, &query.query, by_scan, &expected, err));
            assert_ok(im_index_search(index, &query.query, by_faiss, &answer, err));
            assert_string_equal(answer.engine, engine_names[e]);
            assert_false(answer.exact);
            if (e == 0) {
                assert_hits(by_faiss, &answer, query.query.k, by_scan, expected.n_hits);
            }
            float level = by_scan[query.query.k - 1].score;
            for (size_t i = 0; i < query.query.k; i++) {
                n_found += by_faiss[i].score >= level;
            }
            n_wanted += query.query.k;
            query_free(&query);
        }
        assert_true((double)n_found >= 0.99 * (double)n_wanted);
        im_index_close(index);
    }
    im_index_close(scan);
}

static double recall_of(im_engine engine, bool small, const uint64_t *bitmap, bool texts)
{
    random_state random = {84};
    float vector[DIM];
    im_index_part part;
    im_faiss_record record;
    im_faiss_build build = {
        .engine = engine, .small = small, .n_threads = 2, .ef_construction = 60};
    size_t found = 0;
    assert_ok(im_index_faiss_build(library.folder, &library.state, NULL, &build, &record, err));
    im_index *index = open_file(&library, NULL, engine, &record, as_default);
    for (size_t i = 0; i < 80; i++) {
        bool exact = false;
        if (texts) {
            clusters_text(&groups, &random, vector);
        } else {
            clusters_picture(&groups, &random, vector);
        }
        im_index_query query = query_of(&part, vector, 10);
        query.bitmap = bitmap;
        found += check_answer(index, &query, NULL, &exact);
    }
    im_index_close(index);
    return (double)found / 800;
}

static void the_defaults_find_nearly_all_neighbours(void **state)
{
    (void)state;
    random_state random = {85};
    uint64_t *bitmap = random_bits(&random, library.n, 600);
    for (size_t e = 0; e < 2; e++) {
        for (int round = 0; round < 8; round++) {
            double recall = recall_of(both_engines[e], round % 2 == 1, round < 4 ? NULL : bitmap,
                                      round % 4 > 1);
            print_message("%s%s %s%s: recall@10 %.4f\n", engine_names[e],
                          round % 2 == 1 ? " small" : "", round % 4 > 1 ? "texts" : "pictures",
                          round < 4 ? "" : ", filtered", recall);
            assert_true(recall > 0.9);
        }
    }
    free(bitmap);
}

/* ---- what changes after the file was built ---- */

static void rows_added_later_are_found_without_a_new_file(void **state)
{
    (void)state;
    random_state random = {86};
    float vector[DIM];
    im_index_part part;
    for (size_t e = 0; e < 2; e++) {
        test_library part_library = library;
        part_library.state.n_rows = ROWS - 517;
        im_faiss_record record = build_file(&part_library, NULL, both_engines[e], 0);
        assert_int_equal(record.n_rows, ROWS - 517);
        im_index *index = open_file(&library, NULL, both_engines[e], &record, as_default);
        for (size_t slot = ROWS - 520; slot < ROWS; slot++) {
            im_hit hit;
            im_index_answer answer;
            memcpy(vector, library.vectors + slot * DIM, sizeof(vector));
            im_index_query query = query_of(&part, vector, 1);
            assert_ok(im_index_search(index, &query, &hit, &answer, err));
            assert_int_equal(hit.slot, slot);
            assert_string_equal(answer.engine, engine_names[e]);
        }
        for (size_t round = 0; round < 20; round++) {
            bool exact = false;
            clusters_text(&groups, &random, vector);
            im_index_query query = query_of(&part, vector, 30);
            (void)check_answer(index, &query, NULL, &exact);
        }
        im_index_close(index);
    }
}

/* An index that is opened again after a change takes what was read of the file from the old one:
 * even when the file is gone. Another file, or another engine, takes nothing. */
static void an_index_opened_again_reads_no_file(void **state)
{
    (void)state;
    random_state random = {88};
    float vector[DIM];
    char path[160];
    for (size_t e = 0; e < 2; e++) {
        im_index *again = NULL;
        im_index *none = NULL;
        test_library part_library = library;
        part_library.state.n_rows = ROWS - 100;
        im_faiss_record record = build_file(&part_library, NULL, both_engines[e], 0);
        im_faiss_record other = record;
        uint64_t *alive = random_bits(&random, library.n, 700);
        im_index *old = open_file(&part_library, NULL, both_engines[e], &record, as_default);
        im_index_options options = {.engine = both_engines[e], .faiss = &other, .from = old};
        faiss_path(&library, &record, path);
        assert_int_equal(unlink(path), 0);
        other.digest[0] = other.digest[0] == '0' ? '1' : '0';
        assert_refused(im_index_open(library.folder, &library.state, alive, &options, &none, err),
                       "index_damaged");
        options.faiss = &record;
        options.engine = both_engines[1 - e];
        assert_refused(im_index_open(library.folder, &library.state, alive, &options, &none, err),
                       "index_damaged");
        options.engine = both_engines[e];
        assert_ok(im_index_open(library.folder, &library.state, alive, &options, &again, err));
        im_index_close(old);
        for (size_t round = 0; round < 20; round++) {
            bool exact = false;
            im_index_part part;
            clusters_text(&groups, &random, vector);
            im_index_query query = query_of(&part, vector, 30);
            (void)check_answer(again, &query, alive, &exact);
        }
        im_index_close(again);
        free(alive);
    }
}

static void rows_removed_later_are_never_hits(void **state)
{
    (void)state;
    random_state random = {87};
    float vector[DIM];
    im_index_part part;
    for (size_t e = 0; e < 2; e++) {
        im_faiss_record record = build_file(&library, NULL, both_engines[e], 0);
        uint64_t *alive = random_bits(&random, library.n, 600);
        im_index *index = open_file(&library, alive, both_engines[e], &record, as_default);
        for (size_t round = 0; round < 60; round++) {
            bool exact = false;
            clusters_picture(&groups, &random, vector);
            im_index_query query = query_of(&part, vector, 20);
            (void)check_answer(index, &query, alive, &exact);
        }
        im_index_close(index);
        free(alive);
    }
}

static void pages_neither_repeat_nor_end_early(void **state)
{
    (void)state;
    random_state random = {89};
    float vector[DIM];
    im_index_part part;
    for (size_t e = 0; e < 2; e++) {
        im_faiss_record record = build_file(&library, NULL, both_engines[e], 0);
        im_index *index = open_file(&library, NULL, both_engines[e], &record, as_default);
        uint64_t *seen = calloc(ROWS / 64 + 1, sizeof(uint64_t));
        im_hit hits[37];
        im_index_answer answer = {.n_hits = 37};
        assert_non_null(seen);
        clusters_text(&groups, &random, vector);
        im_index_query query = query_of(&part, vector, 37);
        size_t n = 0;
        while (answer.n_hits == 37) {
            assert_ok(im_index_search(index, &query, hits, &answer, err));
            for (size_t i = 0; i < answer.n_hits; i++) {
                assert_false(bit_of(seen, (size_t)hits[i].slot));
                seen[hits[i].slot / 64] |= UINT64_C(1) << (hits[i].slot % 64);
            }
            n += answer.n_hits;
            query.has_after = true;
            query.after_score = hits[answer.n_hits > 0 ? answer.n_hits - 1 : 0].score;
            query.after_item = hits[answer.n_hits > 0 ? answer.n_hits - 1 : 0].item;
        }
        assert_in_range(n, ROWS * 98 / 100, ROWS); /* a missed row stays missed */
        free(seen);
        im_index_close(index);
    }
}

/* T54, T59: no number is too large. */
static void any_effort_and_any_k_are_answered(void **state)
{
    (void)state;
    random_state random = {94};
    static const size_t numbers[] = {1, 2, 1 << 20, (size_t)1 << 30, SIZE_MAX / 2, SIZE_MAX};
    float vector[DIM];
    im_index_part part;
    for (size_t e = 0; e < 2; e++) {
        im_faiss_record record = build_file(&library, NULL, both_engines[e], 0);
        for (size_t i = 0; i < 18; i++) {
            im_faiss_effort effort = {.n_probe = i / 6 == 0 ? numbers[i % 6] : 0,
                                      .ef_search = i / 6 == 1 ? numbers[i % 6] : 0,
                                      .candidates = i / 6 == 2 ? numbers[i % 6] : 0};
            im_index *index = open_file(&library, NULL, both_engines[e], &record, effort);
            bool exact = false;
            clusters_text(&groups, &random, vector);
            im_index_query query = query_of(&part, vector, 7);
            (void)check_answer(index, &query, NULL, &exact);
            query.k = i % 2 == 0 ? ROWS : ROWS + 1;
            (void)check_answer(index, &query, NULL, &exact);
            assert_true(exact);
            query.k = 0;
            assert_refused(im_index_search(index, &query, NULL, NULL, err), "invalid");
            im_index_close(index);
        }
    }
}

/* Weights at the ends of what is allowed: FAISS sees unit vectors, or nothing. */
static void weights_of_any_size_are_answered(void **state)
{
    (void)state;
    random_state random = {95};
    static const float scales[] = {1e30F, -1e30F, 1e-30F, 0, -0.5F, 1e-45F};
    float vectors[2 * DIM];
    for (size_t e = 0; e < 2; e++) {
        im_faiss_record record = build_file(&library, NULL, both_engines[e], 0);
        im_index *index = open_file(&library, NULL, both_engines[e], &record, as_default);
        for (size_t i = 0; i < 18; i++) {
            bool exact = false;
            clusters_picture(&groups, &random, vectors);
            clusters_text(&groups, &random, vectors + DIM);
            im_index_part parts[2] = {{vectors, scales[i / 3], 1},
                                      {vectors + DIM, scales[(i / 3 + i) % 6], -1e30F}};
            im_index_query query = {.parts = parts,
                                    .n_parts = 2,
                                    .combine = (im_combine)(i % 3),
                                    .k = 10,
                                    .leave_out = IM_NO_ITEM};
            (void)check_answer(index, &query, NULL, &exact);
        }
        im_index_close(index);
    }
}

/* ---- threads ---- */

static void threads_share_one_index(void **state)
{
    (void)state;
    random_state random = {93};
    float vector[DIM];
    im_index_part part;
    for (size_t e = 0; e < 2; e++) {
        im_faiss_record record = build_file(&library, NULL, both_engines[e], 0);
        im_index *index = open_file(&library, NULL, both_engines[e], &record, as_default);
        clusters_text(&groups, &random, vector);
        im_index_query query = query_of(&part, vector, 10);
        search_from_threads(index, &query, 30);
        im_index_close(index);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_keep_what_every_engine_promises),
        cmocka_unit_test(an_exhaustive_search_finds_what_the_scan_finds),
        cmocka_unit_test(the_defaults_find_nearly_all_neighbours),
        cmocka_unit_test(rows_added_later_are_found_without_a_new_file),
        cmocka_unit_test(an_index_opened_again_reads_no_file),
        cmocka_unit_test(rows_removed_later_are_never_hits),
        cmocka_unit_test(pages_neither_repeat_nor_end_early),
        cmocka_unit_test(any_effort_and_any_k_are_answered),
        cmocka_unit_test(weights_of_any_size_are_answered),
        cmocka_unit_test(threads_share_one_index),
    };
    return cmocka_run_group_tests(tests, set_up, close_clusters);
}
