/* Judging and probing over sockets: every recorded and hand-made answer as its server sends it, and
 * servers that misbehave in each way we know (T106, T107, T111): what becomes of a judgement, by
 * which code and which words. */
#include "help.h"

#include "base/clock.h"
#include "fake_server.h"

#include <dirent.h>
#include <unistd.h>

#define GOOD                                                                                  \
    "{\"choices\":[{\"message\":{\"content\":\"yes\"},\"logprobs\":{\"content\":[{\"token\":" \
    "\"yes\",\"top_logprobs\":[{\"token\":\"yes\",\"logprob\":-0.25},{\"token\":\"no\","      \
    "\"logprob\":-1.6}]}]}}],\"usage\":{\"prompt_tokens\":92,\"completion_tokens\":1}}"
#define LISTED(entries)                                                                       \
    "{\"choices\":[{\"message\":{\"content\":\"yes\"},\"logprobs\":{\"content\":[{\"token\":" \
    "\"yes\",\"top_logprobs\":[" entries "]}]}}]}"
#define T(token, logprob) "{\"token\":\"" token "\",\"logprob\":" logprob "}"

static uint8_t pixels[3000];

/* One picture, judged by a server of a profile. */
static im_vlm_judgement ask(const fake_server *s, im_vlm_profile profile, im_vlm_mode mode,
                            const im_vlm_options *options)
{
    const im_bytes picture = {pixels, sizeof(pixels)};
    im_vlm_judgement out;
    im_vlm_server server;
    im_error err = IM_ERROR_INIT;
    assert_int_equal(im_vlm_server_of(s->url, "tiny", profile, &server, &err), IM_OK);
    server.mode = mode != IM_VLM_MODE_NONE ? mode : server.mode;
    if (im_vlm_judge(&server, options, im_view_from("red"), &picture, 1, &out, &err) != IM_OK) {
        fail_msg("%s", err.message);
    }
    return out;
}

/* ---- ways to misbehave ---- */

typedef struct row {
    const char *what;
    const char *recorded; /* a case of answers/, or NULL: */
    fake_answer answer;
    im_vlm_profile profile; /* AUTO: llama-server */
    im_vlm_mode mode;       /* NONE: as the profile does */
    im_vlm_outcome outcome;
    im_code code;     /* when failed */
    const char *word; /* of its sentence */
    unsigned tries;   /* 0: 1 */
} row;

#define SAYS(status_, text) .answer = {.status = status_, .body = {text, sizeof(text) - 1}}
#define ACTS(act_) .answer = {.act = act_, .body = {GOOD, sizeof(GOOD) - 1}}
#define FAILS(code_, word_) .outcome = IM_VLM_FAILED, .code = code_, .word = word_

static const row rows[] = {
    {.what = "a good answer", SAYS(200, GOOD), .outcome = IM_VLM_JUDGED},
    /* statuses */
    {.what = "500 of a parser",
     .recorded = "handmade/llama_server_peg_native_500",
     FAILS(IM_ERR_UPSTREAM, "500: ")},
    {.what = "500 of an older parser",
     .recorded = "handmade/llama_server_peg_native_500_older",
     FAILS(IM_ERR_UPSTREAM, "500: ")},
    {.what = "500 in plain text",
     .recorded = "transformers-serve/picture_garbage",
     FAILS(IM_ERR_UPSTREAM, "500")},
    {.what = "500 with HTML", SAYS(500, "<html>oops</html>"), FAILS(IM_ERR_UPSTREAM, "500")},
    {.what = "422 for a field",
     .recorded = "transformers-serve/unknown_field",
     FAILS(IM_ERR_UPSTREAM, "422")},
    {.what = "400 with a list", .recorded = "vllm/wrong_type_field", FAILS(IM_ERR_UPSTREAM, "400")},
    {.what = "a retired model",
     .recorded = "handmade/gemini_retired_model",
     .profile = IM_VLM_GEMINI,
     FAILS(IM_ERR_NOT_FOUND, "404")},
    {.what = "a model that is not there",
     .recorded = "handmade/ollama_model_not_found",
     FAILS(IM_ERR_NOT_FOUND, "404")},
    {.what = "a wrong key", .recorded = "vllm/key_wrong", FAILS(IM_ERR_DENIED, "401")},
    {.what = "403",
     SAYS(403, "{\"error\":{\"message\":\"no right\"}}"),
     FAILS(IM_ERR_DENIED, "no right")},
    {.what = "504", SAYS(504, "gateway"), FAILS(IM_ERR_TIMEOUT, "504")},
    {.what = "a redirect",
     .answer = {.status = 307, .header = "Location: http://127.0.0.1:1/"},
     FAILS(IM_ERR_UPSTREAM, "307")},
    {.what = "429, three times",
     .answer = {.status = 429, .header = "Retry-After: 0", .body = {"slow down", 9}},
     FAILS(IM_ERR_BUSY, "slow down"),
     .tries = 3},
    {.what = "429 until tomorrow",
     .answer = {.status = 429, .header = "Retry-After: 86400", .body = {"tomorrow", 8}},
     FAILS(IM_ERR_BUSY, "tomorrow"),
     .tries = 1},
    {.what = "429 with a delay inside",
     .recorded = "handmade/gemini_429",
     .profile = IM_VLM_GEMINI,
     FAILS(IM_ERR_BUSY, "429"),
     .tries = 1}, /* longer than we have */
    {.what = "503 while it loads",
     .recorded = "llama-server/health_loading",
     FAILS(IM_ERR_BUSY, "503"),
     .tries = 3},
    /* no answers */
    {.what = "nothing", SAYS(200, ""), FAILS(IM_ERR_UPSTREAM, "")},
    {.what = "HTML", SAYS(200, "<html>login</html>"), FAILS(IM_ERR_UPSTREAM, "line 1")},
    {.what = "cut JSON", SAYS(200, "{\"choices\":[{\"mess"), FAILS(IM_ERR_UPSTREAM, "line 1")},
    {.what = "an empty object", SAYS(200, "{}"), FAILS(IM_ERR_UPSTREAM, "no 'choices'")},
    {.what = "an array", SAYS(200, "[1]"), FAILS(IM_ERR_UPSTREAM, "no object")},
    {.what = "NaN", SAYS(200, "{\"choices\":[{\"a\":NaN}]}"), FAILS(IM_ERR_UPSTREAM, "line 1")},
    {.what = "bad UTF-8", SAYS(200, "{\"choices\":\"\xff\"}"), FAILS(IM_ERR_UPSTREAM, "")},
    {.what = "200 with an error",
     SAYS(200, "{\"error\":{\"message\":\"no slot\"}}"),
     FAILS(IM_ERR_UPSTREAM, "no slot")},
    {.what = "half of an answer", ACTS(FAKE_CUT), FAILS(IM_ERR_UPSTREAM, "")},
    {.what = "a reset", ACTS(FAKE_RESET), FAILS(IM_ERR_UPSTREAM, "")},
    {.what = "100 MB", ACTS(FAKE_HUGE), FAILS(IM_ERR_UPSTREAM, "")},
    {.what = "silence", ACTS(FAKE_SILENT), FAILS(IM_ERR_TIMEOUT, "")},
    {.what = "a head, then silence", ACTS(FAKE_HEAD), FAILS(IM_ERR_TIMEOUT, "")},
    {.what = "slow drip", ACTS(FAKE_DRIP), FAILS(IM_ERR_TIMEOUT, "")},
    {.what = "an endless stream", ACTS(FAKE_ENDLESS), FAILS(IM_ERR_TIMEOUT, "")},
    {.what = "an error inside a stream",
     SAYS(200, "data: {\"choices\":[{\"delta\":{\"content\":\"y\"}}]}\n\n"
               "data: {\"error\":{\"message\":\"died\"}}\n\n"),
     FAILS(IM_ERR_UPSTREAM, "died")},
    {.what = "a stream that is only [DONE]",
     SAYS(200, "data: [DONE]\n\n"),
     FAILS(IM_ERR_UPSTREAM, "no 'choices'")},
    {.what = "no candidates and no reason",
     SAYS(200, "{\"usageMetadata\":{}}"),
     .profile = IM_VLM_GEMINI,
     FAILS(IM_ERR_UPSTREAM, "no 'candidates'")},
    {.what = "no probability",
     SAYS(200, "{\"answers\":{\"match\":{\"noul\":2}}}"),
     .profile = IM_VLM_TRANSFORMERS,
     FAILS(IM_ERR_UPSTREAM, "no probability")},
    {.what = "no results",
     SAYS(200, "{\"data\":[]}"),
     .profile = IM_VLM_RERANK,
     FAILS(IM_ERR_UPSTREAM, "no 'results'")},
    /* answers without a judgement */
    {.what = "no log-probabilities",
     .recorded = "llama-server/rerank_no_logprobs",
     .outcome = IM_VLM_UNREADABLE},
    {.what = "an empty list",
     .recorded = "vllm/rerank_top_logprobs_0",
     .outcome = IM_VLM_UNREADABLE},
    {.what = "minus infinity alone",
     SAYS(200, LISTED(T("yes", "-9999.0") "," T("no", "-9999.0"))),
     .outcome = IM_VLM_UNREADABLE},
    {.what = "minus infinity for one side",
     SAYS(200, LISTED(T("yes", "-0.01") "," T("no", "-9999.0"))),
     .outcome = IM_VLM_JUDGED},
    {.what = "empty tokens",
     SAYS(200, LISTED(T("", "-0.1") "," T("", "-3"))),
     .outcome = IM_VLM_LOW_MASS},
    {.what = "a label twice",
     SAYS(200, LISTED(T("yes", "-0.9") "," T("yes", "-0.9") "," T("no", "-0.9"))),
     .outcome = IM_VLM_JUDGED},
    {.what = "more than certain",
     SAYS(200, LISTED(T("yes", "0.0") "," T("no", "0.0") "," T("No", "-0.1"))),
     .outcome = IM_VLM_UNREADABLE},
    {.what = "another word",
     SAYS(200, LISTED(T("The", "-0.01") "," T("yes", "-9"))),
     .outcome = IM_VLM_LOW_MASS},
    {.what = "a refusal", .recorded = "handmade/openai_refusal", .outcome = IM_VLM_REFUSED},
    {.what = "promptFeedback without candidates",
     .recorded = "handmade/gemini_prompt_blocked",
     .profile = IM_VLM_GEMINI,
     .outcome = IM_VLM_REFUSED},
    {.what = "all tokens thought",
     .recorded = "handmade/gemini_max_tokens_all_thought",
     .profile = IM_VLM_GEMINI,
     .outcome = IM_VLM_UNREADABLE},
    {.what = "half of a schema's object",
     .recorded = "llama-server/response_format_json_schema_cut",
     .mode = IM_VLM_MODE_SCORE,
     .outcome = IM_VLM_UNREADABLE},
    /* odd, but answers */
    {.what = "a stream whose last event is usage alone",
     .recorded = "llama-server/stream_include_usage",
     .mode = IM_VLM_MODE_WORD,
     .outcome = IM_VLM_LOW_MASS}, /* it is a caption */
    {.what = "a fence around the object",
     .mode = IM_VLM_MODE_SCORE,
     SAYS(200,
          "{\"choices\":[{\"message\":{\"content\":\"```json\\n{\\\"score\\\": 7}\\n```\"}}]}"),
     .outcome = IM_VLM_JUDGED},
};

static void each_way_to_misbehave_has_its_end(void **state)
{
    const im_vlm_options options = {.deadline_ms = 2000, .item_ms = 1500};
    (void)state;
    memset(pixels, 7, sizeof(pixels));
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        const row *r = &rows[i];
        fake_answer answer = r->answer;
        test_case recorded = {0};
        fake_server server;
        if (r->recorded != NULL) {
            if (!test_case_open(r->recorded, &recorded)) {
                fail_msg("no case '%s'", r->recorded);
            }
            answer = (fake_answer){.status = recorded.status, .body = recorded.body};
        }
        fake_start(&server, answer);
        im_vlm_judgement got =
            ask(&server, r->profile != IM_VLM_AUTO ? r->profile : IM_VLM_LLAMA_SERVER, r->mode,
                &options);
        if (got.outcome != r->outcome || got.error.code != r->code ||
            (r->word != NULL && strstr(got.error.message, r->word) == NULL) ||
            got.tries != (r->tries > 0 ? r->tries : 1) || got.ms > 6000 ||
            server.bytes_out > (16u << 20)) { /* what sockets hold; we read 1 MiB */
            fail_msg("%s: %s, code %d, '%s', %u tries, %.0f ms, %lu bytes", r->what,
                     im_vlm_outcome_name(got.outcome), (int)got.error.code, got.error.message,
                     got.tries, got.ms, (unsigned long)server.bytes_out);
        }
        if (got.outcome == IM_VLM_FAILED || got.outcome == IM_VLM_UNREADABLE) {
            assert_true(got.s == 0 && got.p_yes == 0);
        }
        fake_stop(&server);
        test_case_close(&recorded);
    }
    assert_int_equal(im_live_allocations(), 0);
}

/* ---- all that is recorded ---- */

static im_vlm_profile profile_of(const char *folder, const char *name)
{
    static const struct {
        const char *start;
        im_vlm_profile profile;
    } known[] = {{"gemini", IM_VLM_GEMINI},      {"ollama", IM_VLM_OLLAMA},
                 {"openai", IM_VLM_OPENAI},      {"vllm", IM_VLM_VLLM},
                 {"llama", IM_VLM_LLAMA_SERVER}, {"transformers", IM_VLM_TRANSFORMERS},
                 {"jina", IM_VLM_RERANK},        {"cohere", IM_VLM_RERANK}};
    const char *of = strcmp(folder, "handmade") == 0 ? name : folder;
    for (size_t i = 0; i < IM_COUNT(known); i++) {
        if (strncmp(of, known[i].start, strlen(known[i].start)) == 0) {
            return known[i].profile;
        }
    }
    fail_msg("whose answer is '%s/%s'?", folder, name);
    return IM_VLM_AUTO;
}

/* What the codec makes of the bytes is what comes out at the other end of a connection, in each
 * mode that the profile's route may be asked in. */
static void check_recorded(const char *folder, const char *name, im_vlm_mode mode)
{
    char path[300];
    test_case c;
    fake_server fake;
    vlm_reply reply;
    im_vlm_server server;
    im_vlm_judgement want = {.error = IM_ERROR_INIT};
    const im_vlm_options options = {.deadline_ms = 3000};
    im_vlm_profile profile = profile_of(folder, name);
    const vlm_question question = {.mode = mode};
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    if (!test_case_open(path, &c)) {
        fail_msg("no case '%s'", path);
    }
    if (c.status == 0) { /* a server that did not come up: nobody answers */
        test_case_close(&c);
        return;
    }
    fake_start(&fake, (fake_answer){.status = c.status, .body = c.body});
    im_vlm_judgement got = ask(&fake, profile, mode, &options);
    fake_stop(&fake);
    vlm_reply_init(&reply);
    assert_int_equal(im_vlm_server_of(fake.url, "tiny", profile, &server, NULL), IM_OK);
    if (c.status >= 300 || vlm_read_body(&server, &question, c.body, &reply, NULL) != IM_OK) {
        want.outcome = IM_VLM_FAILED;
    } else if (mode == IM_VLM_MODE_RERANK) {
        want = got; /* read by index: in test_answers.c */
    } else {
        vlm_reply_judge(&reply, mode, &want);
    }
    if (got.outcome != want.outcome || fabs(got.s - want.s) > 1e-12 ||
        (got.outcome == IM_VLM_FAILED) != (got.error.code != IM_OK) || fabs(got.s) > 20) {
        fail_msg("'%s' in mode %s: %s, s %g, '%s'; its bytes say %s, s %g", path,
                 im_vlm_mode_name(mode), im_vlm_outcome_name(got.outcome), got.s, got.error.message,
                 im_vlm_outcome_name(want.outcome), want.s);
    }
    vlm_reply_clear(&reply);
    test_case_close(&c);
}

static void every_recorded_answer_is_read_over_a_socket(void **state)
{
    static const char *const folders[] = {"llama-server", "vllm", "transformers-serve", "handmade"};
    size_t n = 0;
    (void)state;
    for (size_t f = 0; f < IM_COUNT(folders); f++) {
        char path[300];
        (void)snprintf(path, sizeof(path), IMAGO_SOURCE_DIR "/tests/vlm/answers/%s", folders[f]);
        DIR *dir = opendir(path);
        assert_non_null(dir);
        for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
            char name[300];
            (void)snprintf(name, sizeof(name), "%s", entry->d_name);
            char *end = strstr(name, ".json");
            if (end == NULL) {
                continue;
            }
            *end = '\0';
            im_vlm_profile profile = profile_of(folders[f], name);
            if (profile == IM_VLM_RERANK) {
                check_recorded(folders[f], name, IM_VLM_MODE_RERANK);
            } else {
                check_recorded(folders[f], name, IM_VLM_MODE_LOGPROBS);
                check_recorded(folders[f], name, IM_VLM_MODE_SCORE);
            }
            n++;
        }
        (void)closedir(dir);
    }
    printf("%zu recorded answers\n", n);
    assert_true(n > 200);
    assert_int_equal(im_live_allocations(), 0);
}

/* ---- limits ---- */

#define PICTURES 12

static void judge_all(const fake_server *s, const im_vlm_options *options, im_vlm_judgement *out)
{
    im_bytes pictures[PICTURES];
    im_vlm_server server;
    for (size_t i = 0; i < PICTURES; i++) {
        pictures[i] = (im_bytes){pixels, sizeof(pixels)};
    }
    assert_int_equal(im_vlm_server_of(s->url, "m", IM_VLM_LLAMA_SERVER, &server, NULL), IM_OK);
    assert_int_equal(
        im_vlm_judge(&server, options, im_view_from("red"), pictures, PICTURES, out, NULL), IM_OK);
}

static fake_answer good_answer(unsigned delay_ms)
{
    return (fake_answer){.body = {GOOD, sizeof(GOOD) - 1}, .delay_ms = delay_ms};
}

static void no_more_are_asked_at_once_than_allowed(void **state)
{
    (void)state;
    for (size_t parallel = 1; parallel <= 3; parallel++) {
        fake_server server;
        im_vlm_judgement out[PICTURES];
        const im_vlm_options options = {.parallel = parallel};
        fake_start(&server, good_answer(80));
        judge_all(&server, &options, out);
        fake_stop(&server);
        assert_int_equal(server.requests, PICTURES);
        assert_int_equal(server.most_at_once, parallel);
    }
}

static fake_answer third_is_slow(void *context, const char *route, int before)
{
    (void)context;
    (void)route;
    return good_answer(before == 2 ? 8000 : 0);
}

/* One slow answer costs its own time and no more: it is given up, the others are judged. */
static void one_picture_has_its_own_time(void **state)
{
    fake_server server;
    im_vlm_judgement out[PICTURES];
    const im_vlm_options options = {.parallel = 1, .item_ms = 1000, .deadline_ms = 30000};
    (void)state;
    fake_start(&server, good_answer(0));
    server.route = third_is_slow;
    judge_all(&server, &options, out);
    fake_stop(&server);
    for (size_t i = 0; i < PICTURES; i++) {
        assert_int_equal(out[i].outcome, i == 2 ? IM_VLM_FAILED : IM_VLM_JUDGED);
    }
    assert_int_equal(out[2].error.code, IM_ERR_TIMEOUT);
    assert_true(out[2].ms >= 900 && out[2].ms < 7000);
}

/* The time was up between the look at the clock and the request: that is no time, not all of it. */
static void no_time_left_is_not_time_without_end(void **state)
{
    fake_server server;
    im_vlm_server named;
    im_http_client *client = NULL;
    vlm_reply reply;
    double wait_s = 0;
    im_vlm_judgement cost = {.error = IM_ERROR_INIT};
    const im_vlm_options options = {.parallel = 1};
    const vlm_question question = {.text = im_view_from("x"), .max_tokens = 1};
    (void)state;
    fake_start(&server, (fake_answer){.act = FAKE_SILENT});
    vlm_reply_init(&reply);
    assert_int_equal(im_vlm_server_of(server.url, "m", IM_VLM_LLAMA_SERVER, &named, NULL), IM_OK);
    assert_int_equal(im_http_open(&client, NULL), IM_OK);
    (void)alarm(30);
    assert_int_equal(vlm_ask(client, &named, &options, &question, 0, &reply, &cost, &wait_s, NULL),
                     IM_ERR_TIMEOUT);
    (void)alarm(0);
    assert_true(cost.ms < 10000);
    im_http_close(client);
    vlm_reply_clear(&reply);
    fake_stop(&server);
}

static void at_the_deadline_nothing_new_is_begun(void **state)
{
    fake_server server;
    im_vlm_judgement out[PICTURES];
    const im_vlm_options options = {.parallel = 1, .deadline_ms = 2000};
    size_t counts[IM_VLM_OUTCOME_COUNT] = {0};
    (void)state;
    fake_start(&server, good_answer(450));
    judge_all(&server, &options, out);
    fake_stop(&server);
    for (size_t i = 0; i < PICTURES; i++) {
        counts[out[i].outcome]++;
    }
    assert_true(counts[IM_VLM_JUDGED] >= 1 && counts[IM_VLM_JUDGED] <= 4);
    assert_true(counts[IM_VLM_NOT_ASKED] >= PICTURES - 5);
    assert_true(counts[IM_VLM_FAILED] <= 1); /* the one under way */
}

static fake_answer fails_unless_fourth(void *context, const char *route, int before)
{
    (void)context;
    (void)route;
    return before % 3 == 2 ? good_answer(0) : (fake_answer){.status = 500, .body = {"oops", 4}};
}

/* Three failures in a row and nobody is asked any more; two, then an answer, and all are. */
static void the_breaker_counts_failures_in_a_row(void **state)
{
    fake_server server;
    im_vlm_judgement out[PICTURES];
    const im_vlm_options options = {.parallel = 1};
    (void)state;
    fake_start(&server, good_answer(0));
    server.route = fails_unless_fourth;
    judge_all(&server, &options, out);
    fake_stop(&server);
    assert_int_equal(server.requests, PICTURES);
    fake_start(&server, (fake_answer){.status = 500, .body = {"oops", 4}});
    judge_all(&server, &options, out);
    fake_stop(&server);
    assert_int_equal(server.requests, 3);
    assert_int_equal(out[3].outcome, IM_VLM_NOT_ASKED);
}

static fake_answer busy_at_first(void *context, const char *route, int before)
{
    (void)context;
    (void)route;
    return before == 0 ? (fake_answer){.status = 429, .header = "Retry-After: 1"} : good_answer(0);
}

static void a_server_is_left_alone_as_long_as_it_wants(void **state)
{
    fake_server server;
    const im_vlm_options options = {.deadline_ms = 5000};
    (void)state;
    fake_start(&server, good_answer(0));
    server.route = busy_at_first;
    uint64_t start = im_clock_ns();
    im_vlm_judgement got = ask(&server, IM_VLM_LLAMA_SERVER, IM_VLM_MODE_NONE, &options);
    assert_true(im_clock_ms_since(start) >= 1000);
    fake_stop(&server);
    assert_int_equal(got.outcome, IM_VLM_JUDGED);
    assert_int_equal(got.tries, 2);
    assert_int_equal(got.tokens, 93);
    assert_int_equal(got.tokens_out, 1);
}

/* ---- probing ---- */

static fake_answer models_then(void *context, const char *route, int before)
{
    const fake_answer *then = context;
    (void)before;
    return strcmp(route, "GET /v1/models") == 0
               ? (fake_answer){.body = im_view_from("{\"data\":[{\"id\":\"tiny\",\"owned_by\":"
                                                    "\"llamacpp\"}]}")}
               : *then;
}

static void a_probe_says_why_not(void **state)
{
    static const struct {
        const char *what;
        fake_answer answer;
        im_code code;
        const char *word;
    } probes[] = {
        {"a good one", {.body = {GOOD, sizeof(GOOD) - 1}}, IM_OK, ""},
        {"no right",
         {.status = 401, .body = {"{\"error\":\"Unauthorized\"}", 24}},
         IM_ERR_DENIED,
         "Unauthorized"},
        {"gone", {.status = 404, .body = {"gone", 4}}, IM_ERR_NOT_FOUND, "404"},
        {"busy", {.status = 429, .header = "Retry-After: 900"}, IM_ERR_BUSY, "429"},
        {"silent", {.act = FAKE_SILENT}, IM_ERR_TIMEOUT, ""},
        {"a reset", {.act = FAKE_RESET}, IM_ERR_UPSTREAM, ""},
        {"nonsense", {.body = {"<html>", 6}}, IM_ERR_UPSTREAM, "line 1"},
        {"no judge",
         {.body = {"{\"choices\":[{\"message\":{\"content\":\"A cat.\"}}]}", 46}},
         IM_ERR_UNSUPPORTED,
         "mode"},
    };
    const im_vlm_options options = {.deadline_ms = 2000, .item_ms = 2000};
    (void)state;
    for (size_t i = 0; i < IM_COUNT(probes); i++) {
        fake_server fake;
        im_vlm_server server;
        im_error err = IM_ERROR_INIT;
        fake_answer answer = probes[i].answer;
        fake_start(&fake, answer);
        fake.route = models_then;
        fake.context = &answer;
        assert_int_equal(im_vlm_server_of(fake.url, "", IM_VLM_AUTO, &server, NULL), IM_OK);
        im_code rc = im_vlm_probe(&server, &options, &err);
        fake_stop(&fake);
        if (rc != probes[i].code || strstr(err.message, probes[i].word) == NULL ||
            server.probed != (rc == IM_OK)) {
            fail_msg("%s: code %d, '%s'", probes[i].what, (int)rc, err.message);
        }
        assert_int_equal(server.profile, IM_VLM_LLAMA_SERVER);
        assert_string_equal(server.model, "tiny");
    }
    assert_int_equal(im_live_allocations(), 0);
}

static fake_answer serves_transformers(void *context, const char *route, int before)
{
    const test_case *models = context;
    (void)before;
    return strcmp(route, "GET /v1/models") == 0 ? (fake_answer){.body = models->body}
           : strcmp(route, "POST /v1/systemone") == 0
               ? (fake_answer){.body = im_view_from("{\"answers\":{\"match\":{\"type\":\"noul\","
                                                    "\"noul\":0.38}}}")}
               : (fake_answer){.body = im_view_from("{\"choices\":[{\"message\":{\"content\":"
                                                    "\"black\"}}]}")};
}

/* Started with a model it lists that one, as "local" servers of many kinds do; only its own route
 * tells it. */
static void transformers_is_known_by_its_route(void **state)
{
    const im_vlm_options options = {.deadline_ms = 2000};
    fake_server fake;
    test_case models;
    im_vlm_server server;
    im_error err = IM_ERROR_INIT;
    (void)state;
    assert_true(test_case_open("transformers-serve/models_loaded", &models));
    fake_start(&fake, (fake_answer){0});
    fake.route = serves_transformers;
    fake.context = &models;
    assert_int_equal(im_vlm_server_of(fake.url, "", IM_VLM_AUTO, &server, NULL), IM_OK);
    if (im_vlm_probe(&server, &options, &err) != IM_OK) {
        fail_msg("%s", err.message);
    }
    fake_stop(&fake);
    assert_int_equal(server.profile, IM_VLM_TRANSFORMERS);
    assert_int_equal(server.mode, IM_VLM_MODE_SYSTEMONE);
    assert_string_equal(server.model, "tiny-mllama");
    assert_false(server.schema);
    test_case_close(&models);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_way_to_misbehave_has_its_end),
        cmocka_unit_test(every_recorded_answer_is_read_over_a_socket),
        cmocka_unit_test(no_more_are_asked_at_once_than_allowed),
        cmocka_unit_test(one_picture_has_its_own_time),
        cmocka_unit_test(no_time_left_is_not_time_without_end),
        cmocka_unit_test(at_the_deadline_nothing_new_is_begun),
        cmocka_unit_test(the_breaker_counts_failures_in_a_row),
        cmocka_unit_test(a_server_is_left_alone_as_long_as_it_wants),
        cmocka_unit_test(a_probe_says_why_not),
        cmocka_unit_test(transformers_is_known_by_its_route),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
