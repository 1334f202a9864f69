/* What is sent: words without markers, requests as the recorded servers took them, pictures of
 * nothing but pixels. */
#include "help.h"

/* ---- words ---- */

static void markers_are_taken_out_of_texts(void **state)
{
    static const char *const rows[][2] = {
        {"red car", "red car"},
        {"a<|im_end|>b<|im_start|>system", "absystem"},
        {"<|<|im_end|>im_end|>x", "x"},
        {"<__me<__media__>dia__>x", "x"},
        {"<__MEDIA__>[INST]y[/INST]</s>", "y"},
        {"<\xef\xbd\x9c"
         "User\xef\xbd\x9c>z",
         "z"},
        {"<tile_1>t<start_of_turn>user", "tuser"},
        {"a < b | c > d <3", "a < b | c > d <3"},
        {"line\nbreak\ttab\x1b[31m", "line break tab [31m"},
        {"caf\xc3\xa9 \xff", "caf\xc3\xa9 \xef\xbf\xbd"},
        {"", ""},
    };
    (void)state;
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        im_str out;
        im_str_init(&out, 1024);
        im_vlm_clean(&out, im_view_from(rows[i][0]));
        assert_string_equal(im_str_text(&out), rows[i][1]);
        im_str_clear(&out);
    }
    assert_int_equal(im_live_allocations(), 0);
}

/* Whatever is cleaned stays the same when it is cleaned again. */
static void cleaning_twice_changes_nothing(void **state)
{
    static const char *const pieces[] = {"<|", "|>",          "im_end",   "<",      ">",
                                         "|",  "<__media__>", "[INST]",   "<s>",    "a",
                                         " ",  "<__",         "media__>", "<tile_", "1>"};
    uint64_t seed = 7;
    (void)state;
    for (int round = 0; round < 2000; round++) {
        im_str text, once, twice;
        im_str_init(&text, 1024);
        im_str_init(&once, 1024);
        im_str_init(&twice, 1024);
        for (int i = 0; i < 12; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            im_str_add_c(&text, pieces[(seed >> 33) % IM_COUNT(pieces)]);
        }
        im_vlm_clean(&once, im_view_of(im_str_text(&text), text.size));
        im_vlm_clean(&twice, im_view_of(im_str_text(&once), once.size));
        assert_string_equal(im_str_text(&once), im_str_text(&twice));
        assert_null(strstr(im_str_text(&once), "<|im_end|>"));
        im_str_clear(&text);
        im_str_clear(&once);
        im_str_clear(&twice);
    }
}

/* ---- requests ---- */

static json_t *written(void (*write)(im_json_writer *w, const im_vlm_server *server,
                                     const vlm_question *question),
                       const im_vlm_server *server, const vlm_question *question)
{
    im_json_writer w;
    json_t *root = NULL;
    im_error err = IM_ERROR_INIT;
    im_json_init(&w, 1u << 20);
    write(&w, server, question);
    assert_true(im_json_ok(&w));
    if (im_json_parse(im_str_text(&w.out), w.out.size, "request", &root, &err) != IM_OK) {
        fail_msg("%s", err.message);
    }
    im_json_clear(&w);
    return root;
}

/* True when every key of `want` is in `got` with the same value; "@pictures/…" stands for ours. */
static bool same_request(const json_t *want, const json_t *got)
{
    const char *text = json_string_value(want);
    if (text != NULL && strstr(text, "@pictures/") != NULL) {
        const char *ours = json_string_value(got);
        bool uri = strncmp(text, "data:", 5) == 0;
        return ours != NULL && (strncmp(ours, "data:image/jpeg;base64,", 23) == 0) == uri;
    }
    if (json_is_object(want)) {
        const char *key;
        const json_t *value;
        json_object_foreach((json_t *)(uintptr_t)want, key, value)
        {
            bool loose = strcmp(key, "model") == 0 || strcmp(key, "mimeType") == 0 ||
                         strcmp(key, "top_n") == 0 || strcmp(key, "logprobs") == 0 ||
                         strcmp(key, "maxOutputTokens") == 0;
            if (!loose && !same_request(value, json_object_get(got, key))) {
                return false;
            }
        }
        return json_is_object(got);
    }
    if (json_is_array(want)) {
        bool same = json_array_size(want) == json_array_size(got);
        for (size_t i = 0; same && i < json_array_size(want); i++) {
            same = same_request(json_array_get(want, i), json_array_get(got, i));
        }
        return same;
    }
    return json_equal(want, got);
}

typedef void (*writer_fn)(im_json_writer *w, const im_vlm_server *server,
                          const vlm_question *question);

static void requests_are_those_the_servers_took(void **state)
{
    static const struct {
        const char *name;
        im_vlm_profile profile;
        im_vlm_mode mode;
        writer_fn write;
        size_t n_pictures;
        bool ids, jina;
    } rows[] = {
        {"llama-server/rerank_red__red_224x168", IM_VLM_LLAMA_SERVER, IM_VLM_MODE_LOGPROBS,
         vlm_chat_write, 1, false, false},
        {"vllm/rerank_red__red_224x168", IM_VLM_VLLM, IM_VLM_MODE_LOGPROBS, vlm_chat_write, 1,
         false, false},
        {"vllm/rerank_logprob_token_ids", IM_VLM_VLLM, IM_VLM_MODE_LOGPROBS, vlm_chat_write, 1,
         true, false},
        {"handmade/ollama_rerank_logprobs", IM_VLM_OLLAMA, IM_VLM_MODE_LOGPROBS, vlm_chat_write, 1,
         false, false},
        {"handmade/gemini_rerank_logprobs", IM_VLM_GEMINI, IM_VLM_MODE_LOGPROBS, vlm_gemini_write,
         1, false, false},
        {"handmade/vllm_rerank_pictures", IM_VLM_RERANK, IM_VLM_MODE_RERANK, vlm_rerank_write, 2,
         false, false},
        {"handmade/jina_rerank_pictures", IM_VLM_RERANK, IM_VLM_MODE_RERANK, vlm_rerank_write, 2,
         false, true},
        {"transformers-serve/systemone_yesno_red", IM_VLM_TRANSFORMERS, IM_VLM_MODE_SYSTEMONE,
         vlm_systemone_write, 1, false, false},
    };
    static const int64_t ids[] = {363, 460, 361, 459, 367, 463, 365, 462, 364, 461, 368, 464};
    uint8_t bytes[] = {1, 2, 3};
    const im_bytes pictures[2] = {{bytes, 3}, {bytes, 3}};
    (void)state;
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        test_case c;
        im_str prompt;
        im_vlm_server server = {.profile = rows[i].profile, .mode = rows[i].mode, .schema = true};
        assert_true(test_case_open(rows[i].name, &c));
        im_str_init(&prompt, 1024);
        vlm_prompt(&prompt, rows[i].mode, im_view_from("red"));
        memcpy(server.ids, ids, sizeof(ids));
        server.n_yes = server.n_no = rows[i].ids ? 6 : 0;
        server.jina = rows[i].jina;
        vlm_question question = {.mode = rows[i].mode,
                                 .text = im_view_of(im_str_text(&prompt), prompt.size),
                                 .pictures = pictures,
                                 .n_pictures = rows[i].n_pictures,
                                 .max_tokens = 1};
        json_t *got = written(rows[i].write, &server, &question);
        if (!same_request(c.sent, got)) {
            char *text = json_dumps(got, 0);
            fail_msg("'%s': %s", rows[i].name, text);
        }
        json_decref(got);
        im_str_clear(&prompt);
        test_case_close(&c);
    }
    assert_int_equal(im_live_allocations(), 0);
}

static void schemas_stand_where_each_server_wants_them(void **state)
{
    uint8_t bytes[] = {1};
    const im_bytes picture = {bytes, 1};
    im_vlm_server server = {.profile = IM_VLM_LLAMA_SERVER, .schema = true};
    const vlm_question question = {.mode = IM_VLM_MODE_SCORE,
                                   .text = im_view_from("x\"y\\z"),
                                   .pictures = &picture,
                                   .n_pictures = 1,
                                   .schema = vlm_score_schema,
                                   .max_tokens = 32};
    (void)state;
    json_t *chat = written(vlm_chat_write, &server, &question);
    json_t *format = json_object_get(json_object_get(chat, "response_format"), "json_schema");
    assert_non_null(json_object_get(format, "name"));
    assert_true(json_is_object(json_object_get(format, "schema")));
    json_decref(chat);
    server.schema = false; /* transformers serve takes none */
    chat = written(vlm_chat_write, &server, &question);
    assert_null(json_object_get(chat, "response_format"));
    json_decref(chat);
    server.profile = IM_VLM_OPENAI;
    chat = written(vlm_chat_write, &server, &question);
    assert_non_null(json_object_get(chat, "max_completion_tokens"));
    json_decref(chat);
    json_t *gemini = written(vlm_gemini_write, &server, &question);
    json_t *config = json_object_get(gemini, "generationConfig");
    assert_true(json_is_object(json_object_get(config, "responseJsonSchema")));
    json_decref(gemini);
}

/* ---- servers ---- */

static void urls_lead_to_routes(void **state)
{
    static const struct {
        const char *url, *model;
        im_vlm_profile profile;
        im_vlm_mode mode;
        const char *want;
    } rows[] = {
        {"http://127.0.0.1:8080", "", IM_VLM_AUTO, IM_VLM_MODE_LOGPROBS,
         "http://127.0.0.1:8080/v1/chat/completions"},
        {"http://127.0.0.1:8080/v1/", "", IM_VLM_VLLM, IM_VLM_MODE_SCORE,
         "http://127.0.0.1:8080/v1/chat/completions"},
        {"http://127.0.0.1/v1/chat/completions", "", IM_VLM_VLLM, IM_VLM_MODE_SCORE,
         "http://127.0.0.1/v1/chat/completions"},
        {"http://localhost:1/x/v1", "", IM_VLM_RERANK, IM_VLM_MODE_RERANK,
         "http://localhost:1/x/v1/rerank"},
        {"http://localhost:1", "", IM_VLM_TRANSFORMERS, IM_VLM_MODE_SYSTEMONE,
         "http://localhost:1/v1/systemone"},
        {"https://g.example/v1beta", "models/gemini-3.5-flash", IM_VLM_GEMINI, IM_VLM_MODE_SCORE,
         "https://g.example/v1beta/models/gemini-3.5-flash:generateContent"},
        {"https://g.example", "a b?c#d", IM_VLM_GEMINI, IM_VLM_MODE_SCORE,
         "https://g.example/v1beta/models/a%20b%3Fc%23d:generateContent"},
    };
    (void)state;
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        im_vlm_server server;
        im_str url;
        im_str_init(&url, 2048);
        assert_int_equal(
            im_vlm_server_of(rows[i].url, rows[i].model, rows[i].profile, &server, NULL), IM_OK);
        assert_int_equal(vlm_url(&server, rows[i].mode, false, &url, NULL), IM_OK);
        assert_string_equal(im_str_text(&url), rows[i].want);
        im_str_reset(&url);
        assert_int_equal(vlm_url(&server, rows[i].mode, true, &url, NULL), IM_OK);
        if (rows[i].profile ==
            IM_VLM_GEMINI) { /* the only one whose streams have their own route */
            const char *end = strstr(im_str_text(&url), ":streamGenerateContent?alt=sse");
            assert_non_null(end);
            assert_int_equal(end - im_str_text(&url), strstr(rows[i].want, ":gen") - rows[i].want);
        } else {
            assert_string_equal(im_str_text(&url), rows[i].want);
        }
        im_str_clear(&url);
    }
    im_vlm_server server;
    assert_int_equal(im_vlm_server_of("http://a/?x=1", "", IM_VLM_AUTO, &server, NULL),
                     IM_ERR_INVALID);
    assert_int_equal(im_vlm_server_of("file:///x", "", IM_VLM_AUTO, &server, NULL), IM_ERR_DENIED);
}

static void a_server_is_kept_and_read_back(void **state)
{
    im_vlm_server server;
    im_vlm_server back;
    im_json_writer w;
    (void)state;
    assert_int_equal(
        im_vlm_server_of("http://127.0.0.1:8", "tiny \"x\"", IM_VLM_VLLM, &server, NULL), IM_OK);
    server.n_yes = 2;
    server.n_no = 1;
    server.ids[0] = 363;
    server.ids[1] = 460;
    server.ids[2] = 365;
    server.mode = IM_VLM_MODE_SCORE;
    server.probed = server.jina = true;
    im_json_init(&w, 4096);
    im_vlm_server_json(&w, &server);
    assert_int_equal(im_vlm_server_read(im_view_of(im_str_text(&w.out), w.out.size), &back, NULL),
                     IM_OK);
    assert_memory_equal(&back, &server, sizeof(server));
    im_json_clear(&w);
    static const char *const bad[] = {"", "{}", "[]", "{\"profile\":\"vllm\",\"url\":\"x y\"}",
                                      "{\"profile\":\"vllm\",\"url\":\"http://a\",\"mode\":\"z\"}"};
    for (size_t i = 0; i < IM_COUNT(bad); i++) {
        im_error err = IM_ERROR_INIT;
        assert_int_equal(im_vlm_server_read(im_view_from(bad[i]), &back, &err), IM_ERR_FORMAT);
    }
}

static void keys_become_one_header_line_or_are_refused(void **state)
{
    im_vlm_server server = {.profile = IM_VLM_GEMINI};
    im_str out;
    im_error err = IM_ERROR_INIT;
    (void)state;
    im_str_init(&out, 256);
    assert_int_equal(vlm_secret(&server, "k3y", &out, NULL), IM_OK);
    assert_string_equal(im_str_text(&out), "x-goog-api-key: k3y");
    im_str_reset(&out);
    assert_int_equal(vlm_secret(&server, "k3y\r\nX: 1", &out, &err), IM_ERR_INVALID);
    assert_null(strstr(err.message, "k3y"));
    im_str_clear(&out);
}

/* ---- pictures ---- */

static im_bytes jpeg_of(uint32_t width, uint32_t height)
{
    im_bytes out = {0};
    im_image image = {.width = width, .height = height};
    image.rgb = im_alloc((size_t)width * height, 3);
    for (size_t i = 0; i < (size_t)width * height * 3; i++) {
        image.rgb[i] = (uint8_t)(i * 7);
    }
    assert_int_equal(im_image_jpeg(&image, 90, NULL, &out, NULL), IM_OK);
    im_image_clear(&image);
    return out;
}

static void pictures_are_stretched_to_multiples_of_28(void **state)
{
    static const uint32_t sides[][2] = {{8000, 50}, {50, 8000}, {1, 1},      {20, 20}, {300, 200},
                                        {448, 448}, {449, 447}, {1600, 900}, {28, 28}, {112, 2000}};
    (void)state;
    for (size_t i = 0; i < IM_COUNT(sides); i++) {
        im_bytes source = jpeg_of(sides[i][0], sides[i][1]);
        im_bytes sent = {0};
        im_image_info info;
        uint32_t tokens = 0;
        assert_int_equal(
            im_vlm_picture(source.data, source.size, "p", NULL, 448, &sent, &tokens, NULL), IM_OK);
        assert_int_equal(im_image_probe(sent.data, sent.size, "p", NULL, &info, NULL), IM_OK);
        assert_true(info.width % 28 == 0 && info.height % 28 == 0);
        assert_true(info.width <= 448 && info.height <= 448);
        assert_true(info.width * info.height >= 6272); /* llama-server's floor */
        assert_int_equal(tokens, info.width * info.height / 784 + 2);
        im_bytes_clear(&sent);
        im_bytes_clear(&source);
    }
    im_bytes out = {0};
    assert_int_equal(im_vlm_picture((const uint8_t *)"x", 1, "p", NULL, 448, &out, NULL, NULL),
                     IM_ERR_FORMAT);
    assert_int_equal(im_live_allocations(), 0);
}

/* T112: a comment, EXIF with a place, and trailing bytes do not get out. */
static void nothing_but_pixels_is_sent(void **state)
{
    static const char secret[] = "GPS 52.5200 13.4050 Ada Lovelace";
    im_bytes plain = jpeg_of(300, 200);
    im_bytes sent = {0};
    im_bytes with = {im_alloc(plain.size + 200, 1), 0};
    (void)state;
    memcpy(with.data, plain.data, 2);
    with.size = 2;
    const uint8_t markers[][4] = {{0xff, 0xfe, 0, sizeof(secret) + 2},
                                  {0xff, 0xe1, 0, sizeof(secret) + 2}};
    for (size_t i = 0; i < 2; i++) {
        memcpy(with.data + with.size, markers[i], 4);
        memcpy(with.data + with.size + 4, secret, sizeof(secret));
        with.size += 4 + sizeof(secret);
    }
    memcpy(with.data + with.size, plain.data + 2, plain.size - 2);
    with.size += plain.size - 2;
    memcpy(with.data + with.size, secret, sizeof(secret));
    with.size += sizeof(secret);
    assert_int_equal(
        im_vlm_picture(with.data, with.size, "/home/ada/p.jpg", NULL, 448, &sent, NULL, NULL),
        IM_OK);
    assert_null(memmem(sent.data, sent.size, "Ada", 3));
    assert_null(memmem(sent.data, sent.size, "GPS", 3));
    assert_null(memmem(sent.data, sent.size, "Exif", 4));
    im_bytes_clear(&sent);
    im_bytes_clear(&plain);
    im_bytes_clear(&with);
}

static void keys_of_the_cache_tell_all_apart(void **state)
{
    im_vlm_server server = {.url = "http://a", .model = "m", .mode = IM_VLM_MODE_LOGPROBS};
    uint8_t bytes[] = {1, 2};
    const im_bytes picture = {bytes, 2};
    const im_bytes shorter = {bytes, 1};
    uint8_t keys[6][IM_SHA256_BYTES];
    (void)state;
    im_vlm_key(&server, im_view_from("red"), &picture, keys[0]);
    im_vlm_key(&server, im_view_from("rad"), &picture, keys[1]);
    im_vlm_key(&server, im_view_from("red"), &shorter, keys[2]);
    server.mode = IM_VLM_MODE_SCORE;
    im_vlm_key(&server, im_view_from("red"), &picture, keys[3]);
    server.model[0] = 'n';
    im_vlm_key(&server, im_view_from("red"), &picture, keys[4]);
    server.url[7] = 'b';
    im_vlm_key(&server, im_view_from("red"), &picture, keys[5]);
    for (size_t i = 0; i < 6; i++) {
        for (size_t j = 0; j < i; j++) {
            assert_memory_not_equal(keys[i], keys[j], IM_SHA256_BYTES);
        }
    }
}

static void each_failed_allocation_of_a_picture_is_told(void **state)
{
    im_bytes source = jpeg_of(300, 200);
    size_t live = im_live_allocations();
    im_code rc = IM_ERR_NOMEM;
    (void)state;
    for (size_t nth = 0; rc != IM_OK; nth++) {
        im_bytes sent = {0};
        im_error err = IM_ERROR_INIT;
        im_fault_set(IM_FAULT_ALLOC, nth, 0);
        rc = im_vlm_picture(source.data, source.size, "p", NULL, 448, &sent, NULL, &err);
        assert_int_equal(rc, im_fault_fired(IM_FAULT_ALLOC) ? IM_ERR_NOMEM : IM_OK);
        im_fault_clear();
        im_bytes_clear(&sent);
        assert_int_equal(im_live_allocations(), live);
    }
    im_bytes_clear(&source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(markers_are_taken_out_of_texts),
        cmocka_unit_test(cleaning_twice_changes_nothing),
        cmocka_unit_test(requests_are_those_the_servers_took),
        cmocka_unit_test(schemas_stand_where_each_server_wants_them),
        cmocka_unit_test(urls_lead_to_routes),
        cmocka_unit_test(a_server_is_kept_and_read_back),
        cmocka_unit_test(keys_become_one_header_line_or_are_refused),
        cmocka_unit_test(pictures_are_stretched_to_multiples_of_28),
        cmocka_unit_test(nothing_but_pixels_is_sent),
        cmocka_unit_test(keys_of_the_cache_tell_all_apart),
        cmocka_unit_test(each_failed_allocation_of_a_picture_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
