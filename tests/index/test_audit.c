/* tests/index/test_audit.c — covers index/audit.c: the interval holds the recall that many more
 * queries show, the proposal reaches what is wanted, an exact engine has recall 1. */
#include "help_faiss.h"

enum { ROWS = 4000, DIM = 24, K = 10, MANY = 3000, FEW = 60, AUDITS = 60 };

static int set_up(void **state)
{
    open_clusters(121, 80, DIM, ROWS);
    return use_the_built_module(state);
}

static float *make_queries(random_state *random, bool texts, size_t n)
{
    float *vectors = malloc((n + 1) * DIM * sizeof(float));
    assert_non_null(vectors);
    for (size_t i = 0; i < n; i++) {
        if (texts) {
            clusters_text(&groups, random, vectors + i * DIM);
        } else {
            clusters_picture(&groups, random, vectors + i * DIM);
        }
    }
    return vectors;
}

/* Straight from the definition: the scan's k best against the index's, by item. */
static double recall_by_hand(im_index *index, im_index *scan, const float *vectors, size_t n)
{
    size_t found = 0;
    for (size_t q = 0; q < n; q++) {
        im_index_part part;
        im_hit truth[K], hits[K];
        im_index_answer answer;
        im_index_query query = query_of(&part, vectors + q * DIM, K);
        assert_ok(im_index_search(scan, &query, truth, &answer, err));
        assert_ok(im_index_search(index, &query, hits, &answer, err));
        for (size_t i = 0; i < K; i++) {
            for (size_t j = 0; j < K; j++) {
                found += truth[i].item == hits[j].item;
            }
        }
    }
    return (double)found / (double)(n * K);
}

/* An IVF that looks into one list of 80 misses much, an HNSW of four links too. Of many audits with
 * few queries each, nearly all intervals must hold the recall of many queries, and they must not be
 * so wide as to say nothing. */
static void check_coverage(const im_faiss_build *build, im_faiss_effort effort)
{
    random_state random = {122};
    im_faiss_record record;
    assert_ok(im_index_faiss_build(library.folder, &library.state, NULL, build, &record, err));
    im_index *index = open_file(&library, NULL, build->engine, &record, effort);
    im_index *scan = library_open(&library, NULL, IM_ENGINE_SCAN, NULL);
    double truth[2];
    size_t held[2] = {0};
    for (size_t kind = 0; kind < 2; kind++) {
        float *vectors = make_queries(&random, kind == 0, MANY);
        truth[kind] = recall_by_hand(index, scan, vectors, MANY);
        free(vectors);
    }
    for (size_t i = 0; i < AUDITS; i++) {
        im_audit audit;
        float *texts = make_queries(&random, true, FEW);
        float *pictures = make_queries(&random, false, FEW);
        im_audit_queries queries = {
            .texts = texts, .n_texts = FEW, .pictures = pictures, .n_pictures = FEW, .k = K};
        assert_ok(im_index_audit(index, &queries, &audit, err));
        const im_audit_recall *recalls[2] = {&audit.texts, &audit.pictures};
        for (size_t kind = 0; kind < 2; kind++) {
            const im_audit_recall *recall = recalls[kind];
            assert_int_equal(recall->n_queries, FEW);
            assert_int_equal(recall->n_wanted, FEW * K);
            assert_true(recall->low <= recall->recall && recall->recall <= recall->high);
            assert_true(recall->high - recall->low < 0.35);
            held[kind] += recall->low <= truth[kind] && truth[kind] <= recall->high;
        }
        if (i == 0) {
            assert_true(audit.texts.recall ==
                        (double)audit.texts.n_found / (double)audit.texts.n_wanted);
            assert_true(recall_by_hand(index, scan, texts, FEW) == audit.texts.recall);
            assert_true(recall_by_hand(index, scan, pictures, FEW) == audit.pictures.recall);
        }
        free(texts);
        free(pictures);
    }
    print_message(
        "recall of %d queries: texts %.4f, pictures %.4f; intervals that hold it: %zu and "
        "%zu of %d\n",
        MANY, truth[0], truth[1], held[0], held[1], AUDITS);
    assert_true(truth[0] < 0.95); /* it is bad, as meant */
    assert_in_range(held[0], AUDITS * 88 / 100, AUDITS);
    assert_in_range(held[1], AUDITS * 88 / 100, AUDITS);
    im_index_close(scan);
    im_index_close(index);
}

static void intervals_hold_the_recall_of_a_bad_index(void **state)
{
    (void)state;
    im_faiss_build ivf = {.engine = IM_ENGINE_IVF, .n_lists = 80};
    im_faiss_build hnsw = {.engine = IM_ENGINE_HNSW, .n_links = 4, .ef_construction = 40};
    check_coverage(&ivf, (im_faiss_effort){.n_probe = 1});
    check_coverage(&hnsw, (im_faiss_effort){.ef_search = 1, .candidates = 1});
}

static void proposals_reach_what_is_wanted_and_no_more(void **state)
{
    (void)state;
    random_state random = {123};
    static const double wanted[] = {0.5, 0.9, 0.99};
    float *texts = make_queries(&random, true, 150);
    float *pictures = make_queries(&random, false, 150);
    im_audit_queries queries = {
        .texts = texts, .n_texts = 150, .pictures = pictures, .n_pictures = 150, .k = K};
    for (size_t e = 0; e < 2; e++) {
        im_faiss_record record = build_file(&library, NULL, both_engines[e], 80);
        im_index *index = open_file(&library, NULL, both_engines[e], &record, as_default);
        size_t last = 0;
        for (size_t i = 0; i < 3; i++) {
            im_audit_proposal proposal;
            im_audit audit;
            assert_ok(im_index_audit_propose(index, &queries, wanted[i], &proposal, err));
            assert_true(proposal.reached);
            assert_true(proposal.audit.texts.recall >= wanted[i]);
            assert_true(proposal.audit.pictures.recall >= wanted[i]);
            size_t tries = e == 0 ? proposal.effort.n_probe : proposal.effort.ef_search;
            print_message("%s: recall %.2f with %zu, texts %.4f pictures %.4f\n",
                          e == 0 ? "nprobe" : "efSearch", wanted[i], tries,
                          proposal.audit.texts.recall, proposal.audit.pictures.recall);
            assert_true(tries >= last);
            last = tries;
            /* an index that is opened with it does as well */
            im_index *again = open_file(&library, NULL, both_engines[e], &record, proposal.effort);
            assert_ok(im_index_audit(again, &queries, &audit, err));
            assert_memory_equal(&audit, &proposal.audit, sizeof(audit));
            im_index_close(again);
        }
        im_index_close(index);
    }
    free(texts);
    free(pictures);
}

/* FAISS 1.7.3 ignores efSearch as a parameter of a search: the queue must get longer all the same.
 */
static void a_longer_queue_of_an_hnsw_finds_more(void **state)
{
    (void)state;
    random_state random = {126};
    static const size_t lengths[] = {1, 2000};
    double recalls[2];
    im_faiss_record record;
    im_faiss_build build = {.engine = IM_ENGINE_HNSW, .n_links = 4, .ef_construction = 40};
    float *texts = make_queries(&random, true, 300);
    im_audit_queries queries = {.texts = texts, .n_texts = 300, .k = K};
    assert_ok(im_index_faiss_build(library.folder, &library.state, NULL, &build, &record, err));
    for (size_t i = 0; i < 2; i++) {
        im_audit audit;
        im_faiss_effort effort = {.ef_search = lengths[i], .candidates = 1};
        im_index *index = open_file(&library, NULL, IM_ENGINE_HNSW, &record, effort);
        assert_ok(im_index_audit(index, &queries, &audit, err));
        recalls[i] = audit.texts.recall;
        im_index_close(index);
    }
    print_message("recall %.4f with the shortest queue, %.4f with 2000\n", recalls[0], recalls[1]);
    assert_true(recalls[1] > recalls[0] + 0.02);
    free(texts);
}

static void exact_engines_have_recall_one_and_nothing_to_tune(void **state)
{
    (void)state;
    random_state random = {124};
    float *texts = make_queries(&random, true, 40);
    im_audit audit;
    im_audit_proposal proposal;
    im_audit_queries queries = {.texts = texts, .n_texts = 40, .k = K};
    im_index *index = library_open(&library, NULL, IM_ENGINE_FLAT, NULL);
    assert_ok(im_index_audit(index, &queries, &audit, err));
    assert_true(audit.texts.recall == 1);
    assert_true(audit.texts.high == 1);
    assert_true(audit.texts.low > 0.9 && audit.texts.low < 0.93); /* 40 of 40: Wilson's 0.912 */
    assert_int_equal(audit.pictures.n_queries, 0);
    assert_true(audit.pictures.low == 0 && audit.pictures.high == 1);
    for (queries.n_texts = 1; queries.n_texts < 40; queries.n_texts++) { /* whatever is rounded */
        assert_ok(im_index_audit(index, &queries, &audit, err));
        assert_true(audit.texts.recall == 1 && audit.texts.high == 1);
    }
    assert_refused(im_index_audit_propose(index, &queries, 0.9, &proposal, err), "unsupported");
    im_index_close(index);
    free(texts);
}

static void bad_audits_are_refused(void **state)
{
    (void)state;
    float none[DIM] = {0};
    im_audit audit;
    im_audit_proposal proposal;
    im_index *index = library_open(&library, NULL, IM_ENGINE_SCAN, NULL);
    im_audit_queries queries = {.texts = none, .n_texts = 1, .k = K};
    assert_refused(im_index_audit(index, &queries, &audit, err), "vector_invalid");
    queries.k = 0;
    assert_refused(im_index_audit(index, &queries, &audit, err), "invalid");
    queries.k = SIZE_MAX;
    assert_refused(im_index_audit(index, &queries, &audit, err), "invalid");
    queries.k = K;
    assert_refused(im_index_audit_propose(index, &queries, 0, &proposal, err), "invalid");
    assert_refused(im_index_audit_propose(index, &queries, 1.01, &proposal, err), "invalid");
    im_index_close(index);
}

/* Pictures of the library do not count as their own neighbours, and times are told. */
static void pictures_of_the_library_are_left_out_of_their_answers(void **state)
{
    (void)state;
    enum { ASKED = 30 };
    float pictures[ASKED * DIM];
    uint64_t items[ASKED];
    im_audit with, without;
    im_audit_times times[2] = {{-1, -1}, {-1, -1}};
    im_faiss_record record = build_file(&library, NULL, IM_ENGINE_IVF, 80);
    im_faiss_effort one = {.n_probe = 1};
    im_index *index = open_file(&library, NULL, IM_ENGINE_IVF, &record, one);
    for (size_t i = 0; i < ASKED; i++) {
        size_t slot = i * 131;
        memcpy(pictures + i * DIM, library.vectors + slot * DIM, DIM * sizeof(float));
        items[i] = library.items[slot];
    }
    im_audit_queries queries = {.pictures = pictures, .n_pictures = ASKED, .k = 1, .times = times};
    assert_ok(im_index_audit(index, &queries, &with, err));
    assert_true(with.pictures.recall == 1); /* each finds itself */
    assert_true(times[1].exact_ms > 0 && times[1].index_ms > 0);
    assert_true(times[0].exact_ms == 0 && times[0].index_ms == 0);
    queries.items = items;
    assert_ok(im_index_audit(index, &queries, &without, err));
    assert_int_equal(without.pictures.n_wanted, ASKED);
    assert_true(without.pictures.recall < 1);
    im_index_close(index);
}

/* A filter that few rows pass: fewer than k neighbours are wanted, and all of them found. */
static void audits_go_through_filters(void **state)
{
    (void)state;
    random_state random = {125};
    float *texts = make_queries(&random, true, 20);
    uint64_t *bitmap = calloc(ROWS / 64 + 1, sizeof(uint64_t));
    im_audit audit;
    assert_non_null(bitmap);
    bitmap[3] = 0x70;
    im_audit_queries queries = {.texts = texts, .n_texts = 20, .k = K, .bitmap = bitmap};
    im_faiss_record record = build_file(&library, NULL, IM_ENGINE_IVF, 80);
    im_index *index = open_file(&library, NULL, IM_ENGINE_IVF, &record, as_default);
    assert_ok(im_index_audit(index, &queries, &audit, err));
    assert_int_equal(audit.texts.n_wanted, 60);
    assert_int_equal(audit.texts.n_found, 60);
    bitmap[3] = 0;
    assert_ok(im_index_audit(index, &queries, &audit, err));
    assert_int_equal(audit.texts.n_wanted, 0);
    assert_true(audit.texts.low == 0 && audit.texts.high == 1);
    im_index_close(index);
    free(bitmap);
    free(texts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals_hold_the_recall_of_a_bad_index),
        cmocka_unit_test(proposals_reach_what_is_wanted_and_no_more),
        cmocka_unit_test(a_longer_queue_of_an_hnsw_finds_more),
        cmocka_unit_test(exact_engines_have_recall_one_and_nothing_to_tune),
        cmocka_unit_test(bad_audits_are_refused),
        cmocka_unit_test(pictures_of_the_library_are_left_out_of_their_answers),
        cmocka_unit_test(audits_go_through_filters),
    };
    return cmocka_run_group_tests(tests, set_up, close_clusters);
}
