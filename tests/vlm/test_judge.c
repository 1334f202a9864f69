/* Judging against a small server of its own: all pictures are judged, a dead server is left alone,
 * and each failed allocation is told. */
#include "help.h"

#include "fake_server.h"

#define PICTURES 9

static const char yes[] = "{\"data\":[{\"id\":\"tiny\",\"owned_by\":\"llamacpp\"}],\"choices\":[{"
                          "\"message\":{\"content\":"
                          "\"{\\\"score\\\":7}\"},\"logprobs\":{\"content\":[{\"token\":\"yes\","
                          "\"top_logprobs\":[{\"token\":"
                          "\"yes\",\"logprob\":-0.25},{\"token\":\"no\",\"logprob\":-1.6}]}]}}],"
                          "\"usage\":{\"total_tokens\":"
                          "93}}";

static fake_answer says(int status, const char *body)
{
    return (fake_answer){.status = status, .header = "Retry-After: 0", .body = im_view_from(body)};
}

static im_code judge_as(const fake_server *s, im_vlm_profile profile, const im_vlm_options *options,
                        im_vlm_judgement *out, im_error *err)
{
    static uint8_t bytes[3000];
    im_bytes pictures[PICTURES];
    im_vlm_server server;
    for (size_t i = 0; i < PICTURES; i++) {
        pictures[i] = (im_bytes){bytes, sizeof(bytes)};
    }
    im_code rc = im_vlm_server_of(s->url, "m", profile, &server, err);
    return rc == IM_OK
               ? im_vlm_judge(&server, options, im_view_from("red"), pictures, PICTURES, out, err)
               : rc;
}

static im_code judge(const fake_server *s, const im_vlm_options *options, im_vlm_judgement *out,
                     im_error *err)
{
    return judge_as(s, IM_VLM_LLAMA_SERVER, options, out, err);
}

static void all_pictures_are_judged_by_any_number_of_threads(void **state)
{
    (void)state;
    for (size_t parallel = 1; parallel <= 16; parallel *= 4) {
        fake_server server;
        im_vlm_judgement out[PICTURES];
        const im_vlm_options options = {.parallel = parallel};
        fake_start(&server, says(200, yes));
        assert_int_equal(judge(&server, &options, out, NULL), IM_OK);
        for (size_t i = 0; i < PICTURES; i++) {
            assert_int_equal(out[i].outcome, IM_VLM_JUDGED);
            assert_true(fabs(out[i].s - 1.35) < 1e-9);
            assert_int_equal(out[i].tokens, 93);
            assert_int_equal(out[i].tries, 1);
            assert_true(out[i].bytes_sent > 4000);
        }
        fake_stop(&server);
        assert_int_equal(server.requests, PICTURES);
    }
    assert_int_equal(im_live_allocations(), 0);
}

static void a_dead_server_is_left_alone(void **state)
{
    fake_server server;
    im_vlm_judgement out[PICTURES];
    const im_vlm_options options = {.parallel = 1};
    size_t failed = 0;
    (void)state;
    fake_start(&server, says(500, "oops"));
    assert_int_equal(judge(&server, &options, out, NULL), IM_OK);
    for (size_t i = 0; i < PICTURES; i++) {
        failed += out[i].outcome == IM_VLM_FAILED;
        assert_true(out[i].outcome == IM_VLM_FAILED || out[i].outcome == IM_VLM_NOT_ASKED);
    }
    fake_stop(&server);
    assert_int_equal(failed, 3);
    assert_int_equal(server.requests, 3);
}

static const char scores[] = "{\"results\":[{\"index\":0,\"relevance_score\":0.5},{\"index\":8,"
                             "\"relevance_score\":1}],\"usage\":{\"total_tokens\":93}}";

typedef struct busy_first_of {
    int busy; /* so many requests are answered 429 first */
    const char *body;
} busy_first_of;

static fake_answer busy_first(void *context, const char *route, int before)
{
    const busy_first_of *how = context;
    (void)route;
    return before < how->busy ? says(429, "{\"error\":\"slow down\"}") : says(200, how->body);
}

/* One picture a request, and all in one: both wait for a server that is busy, three times at most.
 */
static void a_busy_server_is_asked_again(void **state)
{
    const im_vlm_options options = {.parallel = 1};
    (void)state;
    for (int busy = 2; busy <= 3; busy++) {
        for (int together = 0; together < 2; together++) {
            fake_server server;
            im_vlm_judgement out[PICTURES];
            fake_start(&server, says(200, together ? scores : yes));
            server.route = busy_first;
            server.context = &(busy_first_of){busy, together ? scores : yes};
            assert_int_equal(judge_as(&server, together ? IM_VLM_RERANK : IM_VLM_LLAMA_SERVER,
                                      &options, out, NULL),
                             IM_OK);
            fake_stop(&server);
            assert_int_equal(out[0].tries, 3);
            assert_int_equal(out[0].outcome, busy == 2 ? IM_VLM_JUDGED : IM_VLM_FAILED);
            assert_int_equal(out[0].error.code, busy == 2 ? IM_OK : IM_ERR_BUSY);
            if (together) {
                assert_int_equal(server.requests, 3);
                assert_int_equal(out[1].outcome, busy == 2 ? IM_VLM_UNREADABLE : IM_VLM_FAILED);
                for (size_t i = 0; i < PICTURES; i++) { /* 93 tokens, in shares */
                    assert_int_equal(out[i].tokens, busy == 3 ? 0 : i < 3 ? 11 : 10);
                    assert_true(out[i].bytes_sent > 3 * 4000);
                    assert_int_equal(out[i].tries, 3); /* as many sends as pictures */
                }
                assert_true(busy == 3 || (out[0].s == 0 && out[8].s == 20));
            }
        }
    }
}

static void a_deadline_that_has_passed_asks_nobody(void **state)
{
    fake_server server;
    im_vlm_judgement out[PICTURES];
    const im_vlm_options options = {.deadline_ms = 1};
    (void)state;
    fake_start(&server, says(200, yes));
    assert_int_equal(judge(&server, &options, out, NULL), IM_OK);
    for (size_t i = 0; i < PICTURES; i++) {
        assert_int_equal(out[i].outcome, IM_VLM_NOT_ASKED);
    }
    fake_stop(&server);
    assert_int_equal(server.requests, 0);
}

/* Who lets a slow model take its time lets each picture have its share of it. */
static void a_pictures_time_grows_with_the_deadline(void **state)
{
    (void)state;
    assert_int_equal(vlm_item_ms(&(im_vlm_options){0}), 10000);
    assert_int_equal(vlm_item_ms(&(im_vlm_options){.deadline_ms = 1000}), 10000);
    assert_int_equal(vlm_item_ms(&(im_vlm_options){.deadline_ms = 600000}), 300000);
    assert_int_equal(vlm_item_ms(&(im_vlm_options){.deadline_ms = 600000, .item_ms = 50}), 50);
}

static void a_host_that_is_not_meant_gets_no_packet(void **state)
{
    const fake_server nowhere = {.url = "http://example.com"};
    im_vlm_judgement out[PICTURES];
    const im_vlm_options options = {0};
    (void)state;
    assert_int_equal(judge(&nowhere, &options, out, NULL), IM_ERR_DENIED);
    assert_int_equal(out[0].outcome, IM_VLM_NOT_ASKED);
}

/* Judging, probing and asking: a failed allocation is one picture's failure, or the call's. */
static im_code do_all(const fake_server *s, im_error *err)
{
    static uint8_t bytes[100];
    const im_bytes picture = {bytes, sizeof(bytes)};
    const im_vlm_options options = {.parallel = 1};
    im_vlm_judgement out[PICTURES];
    im_vlm_judgement cost;
    im_vlm_server server;
    json_t *object = NULL;
    im_code rc = judge(s, &options, out, err);
    for (size_t i = 0; rc == IM_OK && i < PICTURES; i++) {
        rc = out[i].outcome == IM_VLM_JUDGED   ? IM_OK
             : out[i].outcome == IM_VLM_FAILED ? out[i].error.code
                                               : IM_ERR_NOMEM;
    }
    if (rc == IM_OK) {
        rc = im_vlm_server_of(s->url, NULL, IM_VLM_AUTO, &server, err);
    }
    if (rc == IM_OK) {
        rc = im_vlm_probe(&server, &options, err);
    }
    if (rc == IM_OK) {
        assert_int_equal(server.profile, IM_VLM_LLAMA_SERVER);
        assert_string_equal(server.model, "tiny");
        const im_vlm_question question = {.text = im_view_from("x"),
                                          .schema = vlm_score_schema,
                                          .pictures = &picture,
                                          .n_pictures = 1,
                                          .max_tokens = 8};
        rc = im_vlm_answer(&server, &options, &question, &object, NULL, &cost, err);
        json_decref(object);
    }
    return rc;
}

static void each_failed_allocation_is_told(void **state)
{
    fake_server server;
    im_code rc = IM_ERR_NOMEM;
    size_t n = 0;
    (void)state;
    fake_start(&server, says(200, yes));
    server.lax = true;
    for (bool fired = true; fired; n++) {
        im_error err = IM_ERROR_INIT;
        im_fault_set(IM_FAULT_ALLOC, n, 0);
        rc = do_all(&server, &err);
        fired = im_fault_fired(IM_FAULT_ALLOC);
        im_fault_clear();
        if (rc != IM_OK && (!fired || rc != IM_ERR_NOMEM)) {
            fail_msg("allocation %zu: code %d: %s", n, rc, err.message);
        }
        assert_int_equal(im_live_allocations(), 0);
    }
    fake_stop(&server);
    assert_true(n > 100);
    assert_int_equal(rc, IM_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_pictures_are_judged_by_any_number_of_threads),
        cmocka_unit_test(a_dead_server_is_left_alone),
        cmocka_unit_test(a_busy_server_is_asked_again),
        cmocka_unit_test(a_deadline_that_has_passed_asks_nobody),
        cmocka_unit_test(a_pictures_time_grows_with_the_deadline),
        cmocka_unit_test(a_host_that_is_not_meant_gets_no_packet),
        cmocka_unit_test(each_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
