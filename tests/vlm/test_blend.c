/* Do no harm: whatever a judge says, hits move within the bound, and calibration gives a useless or
 * hostile judge no weight. */
#include "help.h"

#define QUERIES 60
#define HITS 20

typedef struct judged_set {
    double z[QUERIES][HITS], s[QUERIES][HITS], gain[QUERIES][HITS];
    bool has[QUERIES][HITS];
    im_vlm_judged rows[QUERIES];
} judged_set;

static uint64_t seed;

static double uniform(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return ((double)(seed >> 11) + 0.5) / 9007199254740992.0;
}

static double normal(void)
{
    return sqrt(-2 * log(uniform())) * cos(6.283185307179586 * uniform());
}

/* Hits of which a fifth is relevant; the first stage has AUC 0.75, the judge as told: its answers
 * for relevant hits lie `distance` deviations higher. logits: scale and offset of a real one. */
static void make_set(judged_set *set, double distance)
{
    for (size_t q = 0; q < QUERIES; q++) {
        for (size_t i = 0; i < HITS; i++) {
            double gain = uniform() < 0.2 ? 1 : 0;
            double z = 2 + 0.8 * (normal() + 0.95 * gain);
            double s = 3 * (normal() + distance * gain) - 1;
            size_t place = i;
            while (place > 0 && set->z[q][place - 1] < z) { /* first-stage order */
                set->z[q][place] = set->z[q][place - 1];
                set->s[q][place] = set->s[q][place - 1];
                set->gain[q][place] = set->gain[q][place - 1];
                place--;
            }
            set->z[q][place] = z;
            set->s[q][place] = s;
            set->gain[q][place] = gain;
            set->has[q][i] = true;
        }
        set->rows[q] = (im_vlm_judged){HITS, set->z[q], set->s[q], set->has[q], set->gain[q]};
    }
}

static void calibration_gives_each_judge_its_due(void **state)
{
    /* distance d between two normal distributions: AUC = Phi(d / sqrt 2) */
    static const struct {
        const char *name;
        double distance;
        bool zero, counts;
    } judges[] = {{"AUC 0.5", 0, true, false},
                  {"AUC 0.7", 0.7416, false, false},
                  {"AUC 0.9", 1.8124, false, true},
                  {"inverted 0.9", -1.8124, true, false}};
    judged_set *set = malloc(sizeof(*set));
    (void)state;
    for (size_t j = 0; j < IM_COUNT(judges); j++) {
        size_t given = 0;
        for (uint64_t round = 1; round <= 20; round++) {
            im_vlm_fit fit;
            seed = round * 977 + j;
            make_set(set, judges[j].distance);
            assert_int_equal(im_vlm_calibrate(set->rows, QUERIES, &fit, NULL), IM_OK);
            given += fit.weights.weight > 0;
            assert_true(fit.weights.calibrated && fit.weights.weight <= 1);
            assert_true(fit.weights.weight <= 0 || fit.ndcg_blended > fit.ndcg_first);
            if (round == 1) {
                printf("%-13s w %.2f scale %.3f offset %6.2f  nDCG@10 %.4f -> %.4f, gain %+.4f "
                       "+- %.4f\n",
                       judges[j].name, fit.weights.weight, fit.weights.scale, fit.weights.offset,
                       fit.ndcg_first, fit.ndcg_blended, fit.gain, fit.gain_error);
            }
        }
        printf("%-13s weight given in %zu of 20 sets\n", judges[j].name, given);
        assert_true(!judges[j].zero || given <= 1);
        assert_true(!judges[j].counts || given == 20);
    }
    free(set);
}

static void numbers_that_are_none_weigh_nothing(void **state)
{
    static const double none[] = {(double)INFINITY, -(double)INFINITY, (double)NAN};
    (void)state;
    for (size_t i = 0; i < IM_COUNT(none); i++) {
        im_vlm_weights weights[3] = {{.scale = 1, .weight = 0.5, .calibrated = true},
                                     {.scale = 1, .weight = 0.5, .calibrated = true},
                                     {.scale = 1, .weight = 0.5, .calibrated = true}};
        weights[0].offset = weights[1].scale = weights[2].weight = none[i];
        for (size_t j = 0; j < IM_COUNT(weights); j++) {
            im_vlm_weights bound = im_vlm_weights_bound(weights[j]);
            assert_true(bound.weight == 0 && bound.offset == 0 && bound.scale == 1);
        }
    }
}

/* A judge that was good and turns bad later, or is mad from the start. */
static void no_judge_moves_a_hit_beyond_the_bound(void **state)
{
    static const double mad[] = {1e9, -1e9, (double)INFINITY, -(double)INFINITY, (double)NAN,
                                 20,  -20};
    judged_set *set = malloc(sizeof(*set));
    (void)state;
    seed = 5;
    make_set(set, 1.8124);
    for (int round = 0; round < 3; round++) {
        im_vlm_weights weights = im_vlm_weights_default();
        im_vlm_fit fit;
        if (round > 0) { /* calibrated on a good judge */
            assert_int_equal(im_vlm_calibrate(set->rows, QUERIES, &fit, NULL), IM_OK);
            weights = fit.weights;
        }
        if (round == 2) {
            weights.weight = 50; /* a setting gone wrong */
        }
        double most = IM_VLM_CLIP * im_vlm_weights_bound(weights).weight;
        assert_true(round > 0 || most <= 1.0);
        assert_true(most <= 2.0);
        for (size_t q = 0; q < QUERIES; q++) {
            double s[HITS];
            double final[HITS];
            size_t order[HITS];
            bool seen[HITS] = {false};
            for (size_t i = 0; i < HITS; i++) {
                s[i] = round == 1 && q % 2 == 0 ? -set->s[q][i] : mad[(q + i) % IM_COUNT(mad)];
            }
            im_vlm_blend(&weights, set->z[q], s, set->has[q], HITS, final, order);
            for (size_t i = 0; i < HITS; i++) {
                assert_true(fabs(final[i] - set->z[q][i]) <= most + 1e-12);
                assert_false(seen[order[i]]); /* a permutation */
                seen[order[i]] = true;
                assert_true(i == 0 || final[order[i - 1]] >= final[order[i]]);
            }
            for (size_t a = 0; a < HITS; a++) { /* far apart: never swapped */
                for (size_t b = a + 1; b < HITS; b++) {
                    assert_true(set->z[q][a] - set->z[q][b] <= 2 * most || final[a] >= final[b]);
                }
            }
        }
    }
    free(set);
}

static void hits_without_a_judgement_keep_their_score(void **state)
{
    static const double z[] = {3, 2, 1};
    static const double s[] = {-2, 5, 5};
    static const bool none[] = {false, false, false};
    static const bool last[] = {false, false, true};
    im_vlm_weights weights = im_vlm_weights_default();
    double final[3];
    size_t order[3];
    (void)state;
    im_vlm_blend(&weights, z, s, none, 3, final, order);
    assert_memory_equal(final, z, sizeof(z));
    assert_true(order[0] == 0 && order[1] == 1 && order[2] == 2);
    im_vlm_blend(&weights, z, s, last, 3, final, order);
    assert_true(fabs(final[2] - 2.0) < 1e-12 && order[1] == 1 && order[2] == 2); /* ties stay */
    weights.weight = -1;
    im_vlm_blend(&weights, z, s, last, 3, final, order);
    assert_memory_equal(final, z, sizeof(z));
}

static void too_little_is_no_calibration(void **state)
{
    judged_set *set = malloc(sizeof(*set));
    im_vlm_fit fit;
    (void)state;
    seed = 3;
    make_set(set, 1);
    assert_int_equal(im_vlm_calibrate(set->rows, 9, &fit, NULL), IM_ERR_INVALID);
    im_code rc = IM_ERR_NOMEM;
    for (size_t nth = 0; rc != IM_OK; nth++) {
        im_fault_set(IM_FAULT_ALLOC, nth, 0);
        rc = im_vlm_calibrate(set->rows, 10, &fit, NULL);
        assert_int_equal(rc, im_fault_fired(IM_FAULT_ALLOC) ? IM_ERR_NOMEM : IM_OK);
        im_fault_clear();
        assert_int_equal(im_live_allocations(), 0);
    }
    free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calibration_gives_each_judge_its_due),
        cmocka_unit_test(numbers_that_are_none_weigh_nothing),
        cmocka_unit_test(no_judge_moves_a_hit_beyond_the_bound),
        cmocka_unit_test(hits_without_a_judgement_keep_their_score),
        cmocka_unit_test(too_little_is_no_calibration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
