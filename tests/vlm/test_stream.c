/* tests/vlm/test_stream.c — answers that come in pieces: wherever they are cut, the reply is that
 * of the whole; what breaks off, fails or has no end is no answer. */
#include "help.h"

static const im_vlm_server chat = {.profile = IM_VLM_LLAMA_SERVER};
static const im_vlm_server gemini = {.profile = IM_VLM_GEMINI};

/* What was told of a reply while it came. */
typedef struct told {
    im_str text;
    size_t calls;
    bool grows; /* each text begins with the one before */
} told;

static im_code take(void *context, im_view text, im_error *err)
{
    told *t = context;
    (void)err;
    t->grows = t->grows && text.size > t->text.size &&
               memcmp(text.data, im_str_text(&t->text), t->text.size) == 0;
    im_str_reset(&t->text);
    im_str_add(&t->text, text.data, text.size);
    t->calls++;
    return IM_OK;
}

/* Reads a stream in pieces: of `step` bytes, behind a first one of `first`. */
static im_code read_pieces(const im_vlm_server *server, im_view body, size_t first, size_t step,
                           vlm_reply *reply, told *t, im_error *err)
{
    vlm_stream stream;
    im_code rc = IM_OK;
    im_str_init(&t->text, 1u << 22);
    t->calls = 0;
    t->grows = true;
    vlm_reply_init(reply);
    vlm_stream_init(&stream, server, reply, take, t);
    for (size_t at = 0; rc == IM_OK && at < body.size;) {
        size_t n = IM_MIN(at == 0 && first > 0 ? first : step, body.size - at);
        rc = vlm_stream_add(&stream, im_view_of(body.data + at, n), err);
        at += n;
    }
    if (rc == IM_OK) {
        rc = vlm_stream_end(&stream, err);
    }
    vlm_stream_clear(&stream);
    return rc;
}

static void check_equal(const char *name, const im_vlm_server *server, im_view body, size_t first,
                        size_t step, const vlm_reply *whole)
{
    vlm_reply reply;
    told t;
    im_error err = IM_ERROR_INIT;
    if (read_pieces(server, body, first, step, &reply, &t, &err) != IM_OK) {
        fail_msg("%s cut at %zu, %zu: %s", name, first, step, err.message);
    }
    if (strcmp(im_str_text(&reply.text), im_str_text(&whole->text)) != 0 ||
        reply.tokens != whole->tokens || reply.cut != whole->cut ||
        reply.labels.n != whole->labels.n || !t.grows ||
        strcmp(im_str_text(&t.text), im_str_text(&whole->text)) != 0) {
        fail_msg("%s cut at %zu, %zu: '%s', %llu tokens", name, first, step,
                 im_str_text(&reply.text), (unsigned long long)reply.tokens);
    }
    vlm_reply_clear(&reply);
    im_str_clear(&t.text);
}

static void recorded_streams_are_the_same_wherever_they_are_cut(void **state)
{
    static const char *const names[] = {
        "llama-server/stream",
        "llama-server/stream_include_usage",
        "llama-server/stream_logprobs",
        "llama-server/stream_two_pictures",
        "llama-server/utf8_split_stream",
        "llama-server/response_format_json_schema_stream",
        "vllm/stream",
        "vllm/stream_include_usage",
        "vllm/stream_logprobs",
        "transformers-serve/stream",
        "transformers-serve/stream_include_usage",
        "handmade/gemini_stream",
    };
    (void)state;
    for (size_t i = 0; i < IM_COUNT(names); i++) {
        test_case c;
        vlm_reply whole;
        assert_true(test_case_open(names[i], &c));
        const im_vlm_server *server = test_is_gemini(&c) ? &gemini : &chat;
        vlm_reply_init(&whole);
        assert_int_equal(test_case_read(&c, server, &whole, NULL), IM_OK);
        assert_true(whole.text.size > 0 && whole.ended);
        assert_true(c.body.size > 100);
        check_equal(names[i], server, c.body, 0, 1, &whole);
        check_equal(names[i], server, c.body, 0, 7, &whole);
        for (size_t cut = 1; cut < c.body.size; cut++) { /* two pieces, cut anywhere */
            check_equal(names[i], server, c.body, cut, c.body.size, &whole);
        }
        vlm_reply_clear(&whole);
        test_case_close(&c);
    }
}

/* A recorded stream without its end is told as far as it came, and is no answer. */
static void a_stream_that_breaks_off_is_no_answer(void **state)
{
    static const char *const names[] = {"llama-server/stream", "vllm/stream",
                                        "transformers-serve/stream", "handmade/gemini_stream"};
    (void)state;
    for (size_t i = 0; i < IM_COUNT(names); i++) {
        test_case c;
        assert_true(test_case_open(names[i], &c));
        const im_vlm_server *server = test_is_gemini(&c) ? &gemini : &chat;
        size_t end = c.body.size; /* before the event that says why it ends */
        const char *word = test_is_gemini(&c) ? "\"finishReason\"" : "\"finish_reason\":\"";
        for (size_t at = 0; at + strlen(word) < c.body.size; at++) {
            if (memcmp(c.body.data + at, word, strlen(word)) == 0) {
                end = at;
            }
        }
        assert_true(end < c.body.size);
        size_t n_told = 0;
        for (size_t cut = 0; cut <= end; cut++) {
            vlm_reply reply;
            told t;
            im_error err = IM_ERROR_INIT;
            im_code rc = read_pieces(server, im_view_of(c.body.data, cut), 0, 50, &reply, &t, &err);
            assert_int_equal(rc, IM_ERR_UPSTREAM);
            assert_true(err.message[0] != '\0');
            n_told = IM_MAX(n_told, t.text.size);
            vlm_reply_clear(&reply);
            im_str_clear(&t.text);
        }
        assert_true(n_told > 0);
        test_case_close(&c);
    }
}

typedef struct stream_row {
    const char *body;
    bool gemini;
    im_code code;
    const char *text; /* of the reply, also after a failure */
    const char *says; /* part of the sentence of a failure */
    uint64_t tokens;
} stream_row;

#define DELTA(text) "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text "\"}}]}"
#define STOP "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}"
#define USAGE "data: {\"choices\":[],\"usage\":{\"total_tokens\":79}}"
#define PART(text) "data: {\"candidates\":[{\"content\":{\"parts\":[" text "]}"

static const stream_row rows[] = {
    {DELTA("a") "\n\n" DELTA("b") "\n\n" STOP "\n\n" USAGE "\n\ndata: [DONE]\n\n", false, IM_OK,
     "ab", NULL, 79},
    /* line ends of all kinds, comments, other fields, no blank behind the colon, no last line end
     */
    {": hello\r\n\r\nevent: message\r\nid: 3\r\n" DELTA("a") "\r\n\r\nretry: 10\r\n\r\n" STOP
                                                             "\r\n\r\ndata:[DONE]",
     false, IM_OK, "a", NULL, 0},
    {DELTA("a") "\r\r" STOP "\r\r" USAGE "\r\r", false, IM_OK, "a", NULL, 79},
    {"data: {\"choices\":[{\"index\":0,\ndata: \"delta\":{\"content\":\"a\"}}]}\n\n" STOP, false,
     IM_OK, "a", NULL, 0},
    {"data: {\"choices\":[{\"index\":0,\r\ndata: \"delta\":{\"content\":\"a\"}}]}\r\n\r\n" STOP,
     false, IM_OK, "a", NULL, 0},
    /* "[DONE]" alone ends an answer, and nothing behind it counts */
    {DELTA("a") "\n\ndata: [DONE]\n\n" DELTA("b") "\n\ndata: {rubbish\n\n", false, IM_OK, "a", NULL,
     0},
    {DELTA("a") "\n\n" DELTA("b") "\n\n", false, IM_ERR_UPSTREAM, "ab", "broke off", 0},
    {DELTA("a") "\n\ndata: {\"error\":{\"code\":500,\"message\":\"out of memory\"}}\n\n", false,
     IM_ERR_UPSTREAM, "a", "out of memory", 0},
    {DELTA("a") "\n\nerror: {\"error\":{\"message\":\"older form\"}}\n\n", false, IM_ERR_UPSTREAM,
     "a", "older form", 0},
    {DELTA("a") "\n\ndata: {\"error\":\"plain\"}\n\n", false, IM_ERR_UPSTREAM, "a", "plain", 0},
    {DELTA("a") "\n\ndata: {\"choices\":[{\"ind", false, IM_ERR_UPSTREAM, "a", NULL, 0},
    {DELTA("a") "\n\ndata: nonsense\n\n" STOP, false, IM_ERR_UPSTREAM, "a", NULL, 0},
    {DELTA("a\xff") "\n\n" STOP, false, IM_ERR_UPSTREAM, "", NULL, 0},
    {"data: [1,2]\n\n", false, IM_ERR_UPSTREAM, "", "no object", 0},
    {"data: [DONE]\n\n", false, IM_ERR_UPSTREAM, "", "empty", 0},
    {"", false, IM_ERR_UPSTREAM, "", NULL, 0},
    {"da", false, IM_ERR_UPSTREAM, "", NULL, 0},
    {"<html>busy</html>", false, IM_ERR_UPSTREAM, "", NULL, 0},
    /* a server that does not stream answers at once */
    {"{\"choices\":[{\"message\":{\"content\":\"whole\"},\"finish_reason\":\"stop\"}],"
     "\"usage\":{\"total_tokens\":5}}",
     false, IM_OK, "whole", NULL, 5},
    {PART("{\"text\":\"thinking\",\"thought\":true},{\"text\":\"a\"}") "}]}\n\n" PART(
         "{\"text\":\"b\"}") ",\"finishReason\":\"STOP\"}],\"usageMetadata\":"
                             "{\"totalTokenCount\":9}}\n\n",
     true, IM_OK, "ab", NULL, 9},
    {PART("{\"text\":\"a\"}") "}]}\n\n", true, IM_ERR_UPSTREAM, "a", "broke off", 0},
    {PART("{\"text\":\"a\"}") "}]}\n\ndata: {\"error\":{\"code\":503,\"message\":\"overloaded\"}}"
                              "\n\n",
     true, IM_ERR_UPSTREAM, "a", "overloaded", 0},
    {"data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\n\n", true, IM_OK, "", NULL, 0},
};

static void streams_become_what_they_say_or_a_sentence(void **state)
{
    (void)state;
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        for (size_t step = 1; step < 400; step += step < 20 ? 1 : 379) {
            vlm_reply reply;
            told t;
            im_error err = IM_ERROR_INIT;
            im_code rc = read_pieces(rows[i].gemini ? &gemini : &chat, im_view_from(rows[i].body),
                                     0, step, &reply, &t, &err);
            if (rc != rows[i].code || strcmp(im_str_text(&reply.text), rows[i].text) != 0 ||
                reply.tokens != rows[i].tokens || !t.grows ||
                strcmp(im_str_text(&t.text), rows[i].text) != 0 ||
                (rows[i].says != NULL && strstr(err.message, rows[i].says) == NULL)) {
                fail_msg("row %zu in steps of %zu: %s, '%s', %s", i, step, im_code_name(rc),
                         im_str_text(&reply.text), err.message);
            }
            vlm_reply_clear(&reply);
            im_str_clear(&t.text);
        }
    }
}

/* A line without end, and events without end, stop at the limit. */
static void a_stream_has_an_end(void **state)
{
    static const char *const pieces[] = {"data: {\"choices\":[\"", "x", DELTA("0123456789") "\n\n"};
    (void)state;
    for (size_t kind = 0; kind < 2; kind++) {
        vlm_stream stream;
        vlm_reply reply;
        im_code rc = IM_OK;
        size_t fed = 0;
        vlm_reply_init(&reply);
        vlm_stream_init(&stream, &chat, &reply, NULL, NULL);
        for (size_t n = 0; rc == IM_OK && fed < (200u << 20); n++) {
            im_view piece = im_view_from(pieces[kind == 1 ? 2 : n == 0 ? 0 : 1]);
            rc = vlm_stream_add(&stream, piece, NULL);
            fed += piece.size;
        }
        assert_int_equal(rc, kind == 0 ? IM_ERR_UPSTREAM : IM_ERR_NOMEM);
        assert_true(stream.events.line.size <= VLM_ANSWER_BYTES);
        assert_true(reply.text.size <= VLM_ANSWER_BYTES);
        vlm_stream_clear(&stream);
        vlm_reply_clear(&reply);
    }
}

static void each_failed_allocation_of_a_stream_is_told(void **state)
{
    static const char body[] = DELTA("a") "\n\n" DELTA("b") "\n\n" STOP "\n\n";
    im_code rc = IM_ERR_NOMEM;
    size_t n = 0;
    (void)state;
    for (bool fired = true; fired; n++) {
        vlm_stream stream;
        vlm_reply reply;
        im_error err = IM_ERROR_INIT;
        im_fault_set(IM_FAULT_ALLOC, n, 0);
        vlm_reply_init(&reply);
        vlm_stream_init(&stream, &chat, &reply, NULL, NULL);
        rc = vlm_stream_add(&stream, im_view_from(body), &err);
        if (rc == IM_OK) {
            rc = vlm_stream_end(&stream, &err);
        }
        fired = im_fault_fired(IM_FAULT_ALLOC);
        im_fault_clear();
        if (rc != IM_OK && (!fired || rc != IM_ERR_NOMEM)) {
            fail_msg("allocation %zu: code %d: %s", n, rc, err.message);
        }
        vlm_stream_clear(&stream);
        vlm_reply_clear(&reply);
        assert_int_equal(im_live_allocations(), 0);
    }
    assert_true(n > 20);
    assert_int_equal(rc, IM_OK);
}

static im_code refuse(void *context, im_view text, im_error *err)
{
    (void)text;
    (*(int *)context)++;
    return im_fail(err, IM_ERR_LIMIT, "that is enough");
}

static void who_is_told_may_end_it(void **state)
{
    vlm_stream stream;
    vlm_reply reply;
    im_error err = IM_ERROR_INIT;
    int calls = 0;
    (void)state;
    vlm_reply_init(&reply);
    vlm_stream_init(&stream, &chat, &reply, refuse, &calls);
    assert_int_equal(vlm_stream_add(&stream, im_view_from(DELTA("a") "\n"), &err), IM_OK);
    assert_int_equal(vlm_stream_add(&stream, im_view_from("\n"), &err), IM_ERR_LIMIT);
    assert_string_equal(err.message, "that is enough");
    assert_int_equal(calls, 1);
    vlm_stream_clear(&stream);
    vlm_reply_clear(&reply);
}

/* ---- the text of one key, while it is written ---- */

static void a_value_is_there_before_its_object_is(void **state)
{
    static const char *const cases[][2] = {
        {"", ""},
        {"{", ""},
        {"{\"answer\"", ""},
        {"{\"answer\": \"", ""},
        {"{\"answer\": \"The se", "The se"},
        {"{\"answer\":\"a \\\"b\\\" \\u00e9 \\ud83d\\ude00", "a \"b\" é 😀"},
        {"{\"answer\":\"a\\", "a"},
        {"{\"answer\":\"a\\u00", "a"},
        {"{\"answer\":\"a\\ud83d", "a"},
        {"{\"answer\":\"a\\ud83d\\u0041", "a"},
        {"{\"answer\":\"a\\u0000b", "a"},
        {"{\"answer\":\"done\",\"references\":[1]}", "done"},
        {"{\"references\":[\"answer\",{\"answer\":\"no\"}],\"answer\":\"yes", "yes"},
        {"{\"other\":\"answer\",\"answer\":\"x", "x"},
        {"{\"answer\":3,\"x\":\"answer\"}", ""},
        {"```json\n{\"answer\":\"fenced", "fenced"},
        {"no object at all", ""},
    };
    (void)state;
    for (size_t i = 0; i < IM_COUNT(cases); i++) {
        im_str out;
        im_str_init(&out, 1000);
        im_vlm_partial(im_view_from(cases[i][0]), "answer", &out);
        if (strcmp(im_str_text(&out), cases[i][1]) != 0) {
            fail_msg("'%s' gives '%s'", cases[i][0], im_str_text(&out));
        }
        im_str_clear(&out);
    }
}

static void keys_of_questions_tell_them_apart(void **state)
{
    uint8_t one[] = {1, 2};
    uint8_t two[] = {3};
    const im_bytes ab[] = {{one, 2}, {two, 1}};
    const im_bytes ba[] = {{two, 1}, {one, 2}};
    im_vlm_server other = chat;
    const im_vlm_question base = {.text = im_view_from("q"), .pictures = ab, .n_pictures = 2};
    im_vlm_question questions[] = {base, base, base, base};
    uint8_t keys[6][IM_SHA256_BYTES];
    (void)state;
    (void)snprintf(other.model, sizeof(other.model), "other");
    questions[1].text = im_view_from("p");
    questions[2].pictures = ba;
    questions[3].n_pictures = 1;
    for (size_t i = 0; i < 4; i++) {
        im_vlm_question_key(&chat, "ask-1", &questions[i], keys[i]);
    }
    im_vlm_question_key(&other, "ask-1", &base, keys[4]);
    im_vlm_question_key(&chat, "ask-2", &base, keys[5]);
    for (size_t i = 0; i < 6; i++) {
        for (size_t j = 0; j < i; j++) {
            assert_memory_not_equal(keys[i], keys[j], IM_SHA256_BYTES);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_streams_are_the_same_wherever_they_are_cut),
        cmocka_unit_test(a_stream_that_breaks_off_is_no_answer),
        cmocka_unit_test(streams_become_what_they_say_or_a_sentence),
        cmocka_unit_test(a_stream_has_an_end),
        cmocka_unit_test(each_failed_allocation_of_a_stream_is_told),
        cmocka_unit_test(who_is_told_may_end_it),
        cmocka_unit_test(a_value_is_there_before_its_object_is),
        cmocka_unit_test(keys_of_questions_tell_them_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
