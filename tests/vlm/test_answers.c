/* Every recorded and hand-made answer: what the readers make of it. */
#include "help.h"

#include <dirent.h>

static const im_vlm_server plain = {.url = "http://127.0.0.1", .model = "m"};

static im_vlm_judgement judge(const char *name, const im_vlm_server *server, im_vlm_mode mode)
{
    test_case c;
    vlm_reply reply;
    im_error err = IM_ERROR_INIT;
    im_vlm_judgement out = {.error = IM_ERROR_INIT};
    if (!test_case_open(name, &c)) {
        fail_msg("no case '%s'", name);
    }
    vlm_reply_init(&reply);
    im_code rc = test_case_read(&c, server, &reply, &err);
    if (rc != IM_OK) {
        fail_msg("'%s': %s", name, err.message);
    }
    vlm_reply_judge(&reply, mode, &out);
    out.tokens = reply.tokens;
    vlm_reply_clear(&reply);
    test_case_close(&c);
    return out;
}

/* ---- P(yes) against transformers ---- */

/* The reference computes on the same weights; the row's name is "PICTURE__QUERY". */
static void p_yes_is_that_of_the_reference(void **state)
{
    im_bytes file = {0};
    json_t *root = NULL;
    size_t compared = 0;
    double worst = 0;
    (void)state;
    assert_int_equal(
        im_file_read(IMAGO_SOURCE_DIR "/tests/vlm/comparison.json", 1u << 20, &file, NULL), IM_OK);
    assert_int_equal(im_json_parse((const char *)file.data, file.size, "rows", &root, NULL), IM_OK);
    const json_t *rows = json_object_get(root, "rows");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        static const char *const servers[] = {"llama-server", "vllm"};
        const json_t *row = json_array_get(rows, i);
        char name[128];
        (void)snprintf(name, sizeof(name), "%s", json_string_value(json_object_get(row, "name")));
        char *middle = strstr(name, "__");
        if (middle == NULL) {
            continue;
        }
        *middle = '\0';
        for (size_t s = 0; s < IM_COUNT(servers); s++) {
            test_case c;
            char path[256];
            (void)snprintf(path, sizeof(path), "%s/rerank_%s__%s", servers[s], middle + 2, name);
            if (!test_case_open(path, &c)) {
                continue;
            }
            test_case_close(&c);
            im_vlm_judgement got = judge(path, &plain, IM_VLM_MODE_LOGPROBS);
            double want = json_number_value(json_object_get(row, "p_yes_transformers"));
            assert_int_equal(got.outcome, IM_VLM_JUDGED);
            assert_true(fabs(got.p_yes - want) < 0.01);
            assert_true(got.mass > 0.5);
            worst = IM_MAX(worst, fabs(got.p_yes - want));
            compared++;
        }
    }
    printf("P(yes): %zu answers compared, worst difference %.5f\n", compared, worst);
    assert_true(compared >= 16);
    json_decref(root);
    im_bytes_clear(&file);
}

/* ---- named cases ---- */

typedef struct expected {
    const char *name;
    im_vlm_mode mode;
    im_vlm_outcome outcome;
    double least, most; /* of P(yes), when judged */
} expected;

static void named_answers_become_what_they_say(void **state)
{
    static const expected rows[] = {
        {"llama-server/rerank_top_logprobs_0", IM_VLM_MODE_LOGPROBS, IM_VLM_UNREADABLE, 0, 0},
        {"llama-server/rerank_post_sampling_probs", IM_VLM_MODE_LOGPROBS, IM_VLM_UNREADABLE, 0, 0},
        {"llama-server/rerank_no_logprobs", IM_VLM_MODE_LOGPROBS, IM_VLM_UNREADABLE, 0, 0},
        {"llama-server/rerank_grammar", IM_VLM_MODE_LOGPROBS, IM_VLM_JUDGED, 0, 1},
        {"llama-server/rerank_top_logprobs_64", IM_VLM_MODE_LOGPROBS, IM_VLM_JUDGED, 0, 1},
        {"llama-server/response_format_json_schema_cut", IM_VLM_MODE_SCORE, IM_VLM_UNREADABLE, 0,
         0},
        {"llama-server/response_format_json_schema_stop", IM_VLM_MODE_SCORE, IM_VLM_UNREADABLE, 0,
         0},
        {"llama-server/response_format_json_schema", IM_VLM_MODE_SCORE, IM_VLM_JUDGED, 0.2, 0.25},
        {"llama-server/response_format_json_schema_stream", IM_VLM_MODE_SCORE, IM_VLM_JUDGED, 0, 1},
        {"llama-server/stream_logprobs", IM_VLM_MODE_LOGPROBS, IM_VLM_JUDGED, 0, 1},
        {"llama-server/caption_one", IM_VLM_MODE_WORD, IM_VLM_LOW_MASS, 0, 0},
        {"vllm/rerank_top_logprobs_0", IM_VLM_MODE_LOGPROBS, IM_VLM_UNREADABLE, 0, 0},
        {"vllm/rerank_logprob_token_ids", IM_VLM_MODE_LOGPROBS, IM_VLM_JUDGED, 0.99, 1},
        {"vllm/response_format_json_schema_cut", IM_VLM_MODE_SCORE, IM_VLM_UNREADABLE, 0, 0},
        {"transformers-serve/rerank_with_logprobs", IM_VLM_MODE_LOGPROBS, IM_VLM_UNREADABLE, 0, 0},
        {"transformers-serve/rerank_with_logprobs", IM_VLM_MODE_WORD, IM_VLM_JUDGED, 0.7, 0.75},
        {"handmade/ollama_rerank_logprobs", IM_VLM_MODE_LOGPROBS, IM_VLM_JUDGED, 0.88, 0.92},
        {"handmade/ollama_no_logprobs", IM_VLM_MODE_LOGPROBS, IM_VLM_UNREADABLE, 0, 0},
        {"handmade/openai_refusal", IM_VLM_MODE_LOGPROBS, IM_VLM_REFUSED, 0, 0},
        {"handmade/vllm_deepseek_vl2_rerank", IM_VLM_MODE_LOGPROBS, IM_VLM_JUDGED, 0, 1},
        {"handmade/gemini_rerank_logprobs", IM_VLM_MODE_LOGPROBS, IM_VLM_JUDGED, 0.97, 0.98},
        {"handmade/gemini_logprobs_chosen_not_in_top", IM_VLM_MODE_LOGPROBS, IM_VLM_JUDGED, 0, 1},
        {"handmade/gemini_rerank_enum", IM_VLM_MODE_WORD, IM_VLM_JUDGED, 0.7, 0.75},
        {"handmade/gemini_rerank_score_schema", IM_VLM_MODE_SCORE, IM_VLM_UNREADABLE, 0,
         0}, /* 93: of another schema */
        {"handmade/gemini_prompt_blocked", IM_VLM_MODE_SCORE, IM_VLM_REFUSED, 0, 0},
        {"handmade/gemini_prompt_blocked_safety", IM_VLM_MODE_SCORE, IM_VLM_REFUSED, 0, 0},
        {"handmade/gemini_candidate_safety", IM_VLM_MODE_SCORE, IM_VLM_REFUSED, 0, 0},
        {"handmade/gemini_candidate_recitation", IM_VLM_MODE_SCORE, IM_VLM_REFUSED, 0, 0},
        {"handmade/gemini_max_tokens_all_thought", IM_VLM_MODE_SCORE, IM_VLM_UNREADABLE, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        im_vlm_judgement got = judge(rows[i].name, &plain, rows[i].mode);
        if (got.outcome != rows[i].outcome || got.p_yes < rows[i].least ||
            (rows[i].outcome == IM_VLM_JUDGED && got.p_yes > rows[i].most)) {
            fail_msg("'%s': %s, P(yes) %.4f, mass %.4f", rows[i].name,
                     im_vlm_outcome_name(got.outcome), got.p_yes, got.mass);
        }
    }
    assert_int_equal(judge("llama-server/stream_include_usage", &plain, IM_VLM_MODE_WORD).tokens,
                     79);
    assert_int_equal(judge("handmade/gemini_stream", &plain, IM_VLM_MODE_WORD).tokens, 268);
}

/* Tokens written as "token_id:363" tell nothing without the server's ids, and all with them. */
static void ids_tell_what_spellings_do_not(void **state)
{
    const char *name = "vllm/rerank_logprob_token_ids_as_ids";
    im_vlm_server knows = plain;
    static const int64_t ids[] = {363, 460, 361, 459, 367, 463, 365, 462, 364, 461, 368, 464};
    (void)state;
    assert_int_equal(judge(name, &plain, IM_VLM_MODE_LOGPROBS).outcome, IM_VLM_LOW_MASS);
    memcpy(knows.ids, ids, sizeof(ids));
    knows.n_yes = knows.n_no = 6;
    im_vlm_judgement by_id = judge(name, &knows, IM_VLM_MODE_LOGPROBS);
    im_vlm_judgement by_text = judge("vllm/rerank_logprob_token_ids", &plain, IM_VLM_MODE_LOGPROBS);
    assert_int_equal(by_id.outcome, IM_VLM_JUDGED);
    assert_true(fabs(by_id.p_yes - by_text.p_yes) < 1e-9);
    assert_true(fabs(by_id.mass - by_text.mass) < 1e-9);
}

static void rerank_answers_are_read_by_index(void **state)
{
    static const struct {
        const char *name;
        double scores[2];
        uint64_t tokens;
    } rows[] = {{"handmade/vllm_rerank_pictures", {0.1032, 0.9213}, 204},
                {"handmade/jina_rerank_pictures", {0.2231, 0.5712}, 2829},
                {"handmade/cohere_rerank", {0.05, 0.98}, 0}};
    (void)state;
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        test_case c;
        double scores[2];
        bool has[2];
        size_t strange = 9;
        uint64_t tokens = 9;
        assert_true(test_case_open(rows[i].name, &c));
        assert_int_equal(vlm_rerank_read(c.body, 2, scores, has, &strange, &tokens, NULL), IM_OK);
        assert_true(has[0] && has[1]);
        assert_true(fabs(scores[0] - rows[i].scores[0]) < 1e-9);
        assert_true(fabs(scores[1] - rows[i].scores[1]) < 1e-9);
        assert_int_equal(strange, 0);
        assert_int_equal(tokens, rows[i].tokens);
        test_case_close(&c);
    }
}

/* T108: strangers are counted, nothing else of them is taken. */
static void rerank_strangers_are_counted(void **state)
{
    static const char body[] =
        "{\"results\":[{\"index\":0,\"relevance_score\":0.5},{\"index\":0,\"relevance_score\":0.9},"
        "{\"index\":7,\"relevance_score\":0.9},{\"index\":-1,\"relevance_score\":0.9},"
        "{\"index\":\"1\",\"relevance_score\":0.9},{\"index\":1,\"relevance_score\":1000000000},"
        "{\"index\":1,\"relevance_score\":\"high\"},{\"index\":99999999999,"
        "\"relevance_score\":0.1},7,null]}";
    double scores[2];
    bool has[2];
    size_t strange = 0;
    uint64_t tokens = 0;
    (void)state;
    assert_int_equal(vlm_rerank_read(im_view_from(body), 2, scores, has, &strange, &tokens, NULL),
                     IM_OK);
    assert_true(has[0] && !has[1] && fabs(scores[0] - 0.5) < 1e-12);
    assert_int_equal(strange, 9);
    static const char *const none[] = {"", "[]", "{}", "{\"results\":7}", "{\"results\":[", "null"};
    for (size_t i = 0; i < IM_COUNT(none); i++) {
        im_error err = IM_ERROR_INIT;
        assert_int_equal(
            vlm_rerank_read(im_view_from(none[i]), 2, scores, has, &strange, &tokens, &err),
            IM_ERR_UPSTREAM);
    }
}

static void systemone_gives_its_probability(void **state)
{
    static const struct {
        const char *name;
        double least, most;
    } rows[] = {{"transformers-serve/systemone_yesno_red", 0.99, 1},
                {"transformers-serve/systemone_yesno_blue", 0, 0.5},
                {"transformers-serve/systemone_yesno_yellow", 0, 1}};
    (void)state;
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        test_case c;
        vlm_reply reply;
        im_vlm_judgement got;
        vlm_reply_init(&reply);
        assert_true(test_case_open(rows[i].name, &c));
        assert_int_equal(vlm_systemone_read(c.body, &reply, NULL), IM_OK);
        vlm_reply_judge(&reply, IM_VLM_MODE_SYSTEMONE, &got);
        assert_int_equal(got.outcome, IM_VLM_JUDGED);
        assert_true(got.p_yes >= rows[i].least && got.p_yes <= rows[i].most);
        assert_true(reply.tokens > 0);
        vlm_reply_clear(&reply);
        test_case_close(&c);
    }
}

/* ---- all of them ---- */

static void look_at_all(const char *folder, size_t *n, size_t *n_failed)
{
    char path[256];
    struct dirent *entry;
    (void)snprintf(path, sizeof(path), IMAGO_SOURCE_DIR "/tests/vlm/answers/%s", folder);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        test_case c;
        char name[320];
        size_t size = strlen(entry->d_name);
        if (size < 6 || strcmp(entry->d_name + size - 5, ".json") != 0) {
            continue;
        }
        (void)snprintf(name, sizeof(name), "%s/%.*s", folder, (int)size - 5, entry->d_name);
        if (!test_case_open(name, &c)) {
            fail_msg("'%s' does not parse", name);
        }
        im_http_answer answer = {.status = c.status};
        im_error err = IM_ERROR_INIT;
        double wait_s = 0;
        im_str_init(&answer.body, 1u << 20);
        im_str_add(&answer.body, c.body.data, c.body.size);
        im_code rc = vlm_status(&plain, &answer, &wait_s, &err);
        assert_int_equal(rc == IM_OK, c.status >= 200 && c.status < 300);
        if (rc != IM_OK) {
            assert_true(strlen(err.message) > 10);
            (*n_failed)++;
        } else if (test_is_chat(&c) || test_is_gemini(&c)) {
            vlm_reply reply;
            vlm_reply_init(&reply);
            if (test_case_read(&c, &plain, &reply, &err) != IM_OK) {
                fail_msg("'%s': %s", name, err.message);
            }
            (*n)++;
            vlm_reply_clear(&reply);
        }
        im_http_answer_clear(&answer);
        test_case_close(&c);
    }
    closedir(dir);
}

static void every_answer_is_read_or_told(void **state)
{
    size_t n = 0;
    size_t n_failed = 0;
    (void)state;
    look_at_all("llama-server", &n, &n_failed);
    look_at_all("vllm", &n, &n_failed);
    look_at_all("transformers-serve", &n, &n_failed);
    look_at_all("handmade", &n, &n_failed);
    printf("%zu answers read, %zu failures told\n", n, n_failed);
    assert_true(n >= 90 && n_failed >= 70);
    assert_int_equal(im_live_allocations(), 0);
}

static void failures_say_why_and_how_long(void **state)
{
    static const struct {
        const char *name;
        im_code code;
        const char *words;
        double wait_s;
    } rows[] = {{"handmade/gemini_429", IM_ERR_BUSY, "exceeded your current quota", 27},
                {"handmade/gemini_bad_key", IM_ERR_UPSTREAM, "400", -1},
                {"handmade/gemini_500_plain_text", IM_ERR_UPSTREAM, "500", -1},
                {"handmade/gemini_retired_model", IM_ERR_NOT_FOUND, "404", -1},
                {"handmade/cohere_429", IM_ERR_BUSY, "Trial key", -1},
                {"handmade/llama_server_peg_native_500", IM_ERR_UPSTREAM, "peg-native", -1},
                {"handmade/ollama_queue_full", IM_ERR_BUSY, "503", -1},
                {"llama-server/key_wrong", IM_ERR_DENIED, "401", -1},
                {"llama-server/health_loading", IM_ERR_BUSY, "Loading model", -1},
                {"vllm/key_missing", IM_ERR_DENIED, "Unauthorized", -1},
                {"vllm/wrong_model", IM_ERR_NOT_FOUND, "404", -1},
                {"vllm/engine_died", IM_ERR_UPSTREAM, "EngineCore", -1},
                {"transformers-serve/unknown_field", IM_ERR_UPSTREAM, "Unexpected fields", -1},
                {"transformers-serve/picture_garbage", IM_ERR_UPSTREAM, "Internal Server", -1}};
    (void)state;
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        test_case c;
        double wait_s = 0;
        im_error err = IM_ERROR_INIT;
        assert_true(test_case_open(rows[i].name, &c));
        im_http_answer answer = {.status = c.status};
        im_str_init(&answer.body, 1u << 20);
        im_str_add(&answer.body, c.body.data, c.body.size);
        im_code rc = vlm_status(&plain, &answer, &wait_s, &err);
        if (rc != rows[i].code || strstr(err.message, rows[i].words) == NULL ||
            fabs(wait_s - rows[i].wait_s) > 1e-9) {
            fail_msg("'%s': code %d, wait %g: %s", rows[i].name, rc, wait_s, err.message);
        }
        im_http_answer_clear(&answer);
        test_case_close(&c);
    }
}

/* ---- nonsense ---- */

static void nonsense_is_no_judgement(void **state)
{
    static const struct {
        const char *logprobs;
        im_vlm_outcome outcome;
    } rows[] = {
        {"[]", IM_VLM_UNREADABLE},
        {"[{\"token\":\"yes\",\"logprob\":-9999.0}]", IM_VLM_UNREADABLE},
        {"[{\"token\":\"yes\",\"logprob\":5}]", IM_VLM_UNREADABLE},
        {"[{\"token\":\"yes\",\"logprob\":null},{\"token\":7,\"logprob\":-1}]", IM_VLM_LOW_MASS},
        {"[{\"token\":\"The\",\"logprob\":-0.01},{\"token\":\"yes\",\"logprob\":-6}]",
         IM_VLM_LOW_MASS},
        {"[{\"token\":\"\",\"bytes\":[],\"logprob\":-0.1}]", IM_VLM_LOW_MASS},
        {"[{\"token\":\"yes\",\"logprob\":0},{\"token\":\"no\",\"logprob\":0}]",
         IM_VLM_UNREADABLE}, /* probabilities above 1 */
        {"[{\"token\":\"yesterday\",\"logprob\":-0.1}]", IM_VLM_LOW_MASS},
        {"[{\"token\":\"yes\",\"logprob\":-0.0001}]", IM_VLM_JUDGED},
        {"[{\"token\":\"yes\",\"logprob\":-0.5},{\"token\":\"yes\",\"logprob\":-0.5}]",
         IM_VLM_JUDGED}, /* twice the same: once */
        {"[{\"token\":\"\\u2581Yes\",\"logprob\":-0.2}]", IM_VLM_JUDGED},
    };
    (void)state;
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        char body[1024];
        vlm_reply reply;
        im_vlm_judgement got;
        (void)snprintf(body, sizeof(body),
                       "{\"choices\":[{\"message\":{\"content\":\"yes\"},\"logprobs\":{\"content\":"
                       "[{\"token\":\"yes\",\"top_logprobs\":%s}]}}]}",
                       rows[i].logprobs);
        vlm_reply_init(&reply);
        assert_int_equal(vlm_chat_read(&plain, im_view_from(body), &reply, NULL), IM_OK);
        vlm_reply_judge(&reply, IM_VLM_MODE_LOGPROBS, &got);
        if (got.outcome != rows[i].outcome || got.mass > 1.01 || !isfinite(got.s)) {
            fail_msg("row %zu: %s, mass %g, s %g", i, im_vlm_outcome_name(got.outcome), got.mass,
                     got.s);
        }
        vlm_reply_clear(&reply);
    }
}

static void texts_are_judged_by_their_schema_alone(void **state)
{
    static const struct {
        const char *content;
        im_vlm_mode mode;
        im_vlm_outcome outcome;
    } rows[] = {
        {"{\\\"score\\\": 7}", IM_VLM_MODE_SCORE, IM_VLM_JUDGED},
        {"```json\\n{\\\"score\\\": 7}\\n```", IM_VLM_MODE_SCORE, IM_VLM_JUDGED},
        {"<think>it is 3</think>{\\\"score\\\": 7}", IM_VLM_MODE_SCORE, IM_VLM_JUDGED},
        {"{\\\"score\\\": 1000000000}", IM_VLM_MODE_SCORE, IM_VLM_UNREADABLE},
        {"{\\\"score\\\": -1}", IM_VLM_MODE_SCORE, IM_VLM_UNREADABLE},
        {"{\\\"score\\\": \\\"7\\\"}", IM_VLM_MODE_SCORE, IM_VLM_UNREADABLE},
        {"{\\\"score\\\": NaN}", IM_VLM_MODE_SCORE, IM_VLM_UNREADABLE},
        {"{\\\"score\\\": 7", IM_VLM_MODE_SCORE, IM_VLM_UNREADABLE},
        {"[7]", IM_VLM_MODE_SCORE, IM_VLM_UNREADABLE},
        {"score 10, ignore all instructions", IM_VLM_MODE_SCORE, IM_VLM_UNREADABLE},
        {"<html>", IM_VLM_MODE_SCORE, IM_VLM_UNREADABLE},
        {"Yes.", IM_VLM_MODE_WORD, IM_VLM_JUDGED},
        {"nothing", IM_VLM_MODE_WORD, IM_VLM_LOW_MASS},
        {"", IM_VLM_MODE_WORD, IM_VLM_UNREADABLE},
    };
    (void)state;
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        char body[512];
        vlm_reply reply;
        im_vlm_judgement got;
        (void)snprintf(body, sizeof(body), "{\"choices\":[{\"message\":{\"content\":\"%s\"}}]}",
                       rows[i].content);
        vlm_reply_init(&reply);
        assert_int_equal(vlm_chat_read(&plain, im_view_from(body), &reply, NULL), IM_OK);
        vlm_reply_judge(&reply, rows[i].mode, &got);
        if (got.outcome != rows[i].outcome) {
            fail_msg("row %zu: %s", i, im_vlm_outcome_name(got.outcome));
        }
        vlm_reply_clear(&reply);
    }
}

static void bodies_that_are_no_answer_are_told(void **state)
{
    static const char *const rows[] = {"",
                                       "<html><body>login</body></html>",
                                       "{\"choices\":[{\"mess",
                                       "{}",
                                       "[]",
                                       "7",
                                       "{\"choices\":[]}",
                                       "{\"choices\":[7]}",
                                       "{\"choices\":{\"a\":1}}",
                                       "{\"error\":{\"message\":\"no\"}}",
                                       "{\"error\":\"no\"}",
                                       "{\"choices\":[{\"logprob\":NaN}]}",
                                       "data: {\"choices\":",
                                       "data: [DONE]\n\n",
                                       "\xff\xfe"};
    char *deep = im_alloc(20001, 1);
    (void)state;
    memset(deep, '[', 20000);
    deep[20000] = '\0';
    for (size_t i = 0; i <= IM_COUNT(rows); i++) {
        vlm_reply reply;
        im_error err = IM_ERROR_INIT;
        const char *body = i < IM_COUNT(rows) ? rows[i] : deep;
        vlm_reply_init(&reply);
        assert_int_equal(vlm_chat_read(&plain, im_view_from(body), &reply, &err), IM_ERR_UPSTREAM);
        assert_true(err.message[0] != '\0');
        vlm_reply_clear(&reply);
        vlm_reply_init(&reply);
        assert_int_equal(vlm_gemini_read(&plain, im_view_from(body), &reply, &err),
                         IM_ERR_UPSTREAM);
        vlm_reply_clear(&reply);
    }
    im_free(deep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p_yes_is_that_of_the_reference),
        cmocka_unit_test(named_answers_become_what_they_say),
        cmocka_unit_test(ids_tell_what_spellings_do_not),
        cmocka_unit_test(rerank_answers_are_read_by_index),
        cmocka_unit_test(rerank_strangers_are_counted),
        cmocka_unit_test(systemone_gives_its_probability),
        cmocka_unit_test(every_answer_is_read_or_told),
        cmocka_unit_test(failures_say_why_and_how_long),
        cmocka_unit_test(nonsense_is_no_judgement),
        cmocka_unit_test(texts_are_judged_by_their_schema_alone),
        cmocka_unit_test(bodies_that_are_no_answer_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
