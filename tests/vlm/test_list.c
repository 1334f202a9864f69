/* Orders of a whole list: two whole permutations count, by the mean of both places; nothing else
 * does (T108). */
#include "help.h"

#include "fake_server.h"

#define PICTURES 4

typedef struct two_answers {
    const char *texts[2]; /* of the model, to the list as it is and backwards */
    char bodies[2][512];
} two_answers;

static fake_answer answer_in_turn(void *context, const char *route, int before)
{
    two_answers *how = context;
    int turn = before % 2;
    assert_string_equal(route, "POST /v1/chat/completions");
    char *body = how->bodies[turn];
    (void)snprintf(body, sizeof(how->bodies[0]),
                   "{\"choices\":[{\"message\":{\"content\":\"%s\"}}],\"usage\":{\"prompt_tokens\":"
                   "1000,\"completion_tokens\":20,\"total_tokens\":1020}}",
                   how->texts[turn]);
    return (fake_answer){.body = im_view_from(body)};
}

static im_code list_pictures(two_answers *how, double *s, im_vlm_judgement *cost, im_error *err)
{
    static uint8_t bytes[PICTURES][300];
    im_bytes pictures[PICTURES];
    const im_vlm_options options = {.deadline_ms = 5000};
    im_vlm_server server;
    fake_server fake;
    for (size_t i = 0; i < PICTURES; i++) {
        memset(bytes[i], (int)i + 1, sizeof(bytes[i]));
        pictures[i] = (im_bytes){bytes[i], sizeof(bytes[i])};
    }
    fake_start(&fake, (fake_answer){0});
    fake.route = answer_in_turn;
    fake.context = how;
    assert_int_equal(im_vlm_server_of(fake.url, "m", IM_VLM_LLAMA_SERVER, &server, NULL), IM_OK);
    im_code rc =
        im_vlm_list(&server, &options, im_view_from("red"), pictures, PICTURES, s, cost, err);
    assert_int_equal(fake.requests, cost->tries);
    fake_stop(&fake);
    return rc;
}

#define ORDER(numbers) "{\\\"order\\\": [" numbers "]}"

static void two_whole_permutations_count(void **state)
{
    static const struct {
        const char *first, *second;
        double places[PICTURES]; /* mean of both, from 1 */
    } rows[] = {
        /* the same order both ways: 4 in the list turned about is 1 */
        {ORDER("1,2,3,4"), ORDER("4,3,2,1"), {1, 2, 3, 4}},
        {ORDER("3,1,4,2"), ORDER("2,4,1,3"), {2, 4, 1, 3}},
        /* a model that always says the same: it knows nothing, and nothing comes of it */
        {ORDER("1,2,3,4"), ORDER("1,2,3,4"), {2.5, 2.5, 2.5, 2.5}},
        {ORDER("1,2,3,4"), ORDER("4,3,1,2"), {1, 2, 3.5, 3.5}},
        {"```json\\n" ORDER("1,2,3,4") "\\n```", ORDER("4,3,2,1"), {1, 2, 3, 4}},
    };
    (void)state;
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        two_answers how = {.texts = {rows[i].first, rows[i].second}};
        double s[PICTURES];
        im_vlm_judgement cost;
        im_error err = IM_ERROR_INIT;
        if (list_pictures(&how, s, &cost, &err) != IM_OK) {
            fail_msg("row %zu: %s", i, err.message);
        }
        assert_int_equal(cost.outcome, IM_VLM_JUDGED);
        assert_int_equal(cost.tries, 2);
        assert_int_equal(cost.tokens, 2040);
        assert_int_equal(cost.tokens_out, 40);
        for (size_t j = 0; j < PICTURES; j++) {
            double want = IM_VLM_CLIP * (PICTURES + 1 - 2 * rows[i].places[j]) / PICTURES;
            assert_true(fabs(s[j] - want) < 1e-12 && fabs(s[j]) < IM_VLM_CLIP);
        }
    }
}

static void anything_else_counts_for_nothing(void **state)
{
    static const char *const bad[] = {
        ORDER("1,2,3"),                  /* incomplete */
        ORDER("1,2,3,3"),                /* twice */
        ORDER("0,1,2,3"),                /* out of range */
        ORDER("1,2,3,5"),                /**/
        ORDER("1,2,3,-4"),               /**/
        ORDER("1,2,3,4,1"),              /* too many */
        ORDER("1,2,3,4.0"),              /* no number of a picture */
        ORDER("1,2,3,\\\"4\\\""),        /**/
        ORDER("1,2,3,9999999999"),       /**/
        "{\\\"order\\\": \\\"1234\\\"}", /* no list */
        "{\\\"ranking\\\": [1,2,3,4]}",
        "[1,2,3,4]",
        "1 > 2 > 3 > 4",
        "{\\\"order\\\": [1,2",
        "",
    };
    static const char good[] = ORDER("1,2,3,4");
    (void)state;
    for (size_t i = 0; i < IM_COUNT(bad); i++) {
        for (int turn = 0; turn < 2; turn++) { /* the first question, or the second */
            two_answers how = {.texts = {turn == 0 ? bad[i] : good, turn == 0 ? good : bad[i]}};
            double s[PICTURES] = {7, 7, 7, 7};
            im_vlm_judgement cost;
            im_error err = IM_ERROR_INIT;
            assert_int_equal(list_pictures(&how, s, &cost, &err), IM_ERR_UPSTREAM);
            assert_int_equal(cost.outcome, IM_VLM_UNREADABLE);
            assert_int_equal(cost.tries, turn + 1);
            for (size_t j = 0; j < PICTURES; j++) {
                assert_true(s[j] == 7); /* untouched */
            }
        }
    }
    assert_int_equal(im_live_allocations(), 0);
}

static void lists_have_their_limits(void **state)
{
    static uint8_t byte[1];
    im_bytes pictures[IM_VLM_MOST_LISTED + 1];
    double s[IM_VLM_MOST_LISTED + 1];
    const im_vlm_options options = {0};
    im_vlm_judgement cost;
    im_vlm_server server;
    (void)state;
    for (size_t i = 0; i <= IM_VLM_MOST_LISTED; i++) {
        pictures[i] = (im_bytes){byte, 1};
    }
    assert_int_equal(im_vlm_server_of("http://127.0.0.1:1", "m", IM_VLM_RERANK, &server, NULL),
                     IM_OK);
    assert_int_equal(im_vlm_list(&server, &options, im_view_from("x"), pictures, 2, s, &cost, NULL),
                     IM_ERR_UNSUPPORTED);
    server.profile = IM_VLM_VLLM;
    assert_int_equal(im_vlm_list(&server, &options, im_view_from("x"), pictures, 1, s, &cost, NULL),
                     IM_ERR_UNSUPPORTED);
    assert_int_equal(im_vlm_list(&server, &options, im_view_from("x"), pictures,
                                 IM_VLM_MOST_LISTED + 1, s, &cost, NULL),
                     IM_ERR_UNSUPPORTED);
    assert_int_equal(cost.tries, 0);
}

/* A calibration is of single judgements: it may forbid a list to count, not let it count more. */
static void a_list_weighs_no_more_than_an_uncalibrated_judge(void **state)
{
    im_vlm_weights weights = {.offset = 3, .scale = 9, .weight = 1, .calibrated = true};
    (void)state;
    im_vlm_weights list = im_vlm_weights_list(weights);
    assert_true(list.weight == IM_VLM_MOST_WEIGHT && list.offset == 0 && list.scale == 1);
    weights.weight = 0;
    assert_true(im_vlm_weights_list(weights).weight == 0);
    assert_true(im_vlm_weights_list(im_vlm_weights_default()).weight == IM_VLM_MOST_WEIGHT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_whole_permutations_count),
        cmocka_unit_test(anything_else_counts_for_nothing),
        cmocka_unit_test(lists_have_their_limits),
        cmocka_unit_test(a_list_weighs_no_more_than_an_uncalibrated_judge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
