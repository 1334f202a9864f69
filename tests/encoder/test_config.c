/* tests/encoder/test_config.c — covers encoder/config.c and model_json: T32, what config.json and
 * preprocessor_config.json may say, and what absent keys mean. */
#include "help.h"

#include <math.h>
#include <unistd.h>

static const char base[] =
    "{\"model_type\": \"clip\", \"projection_dim\": 24,\n"
    " \"text_config\": {\"hidden_size\": 32, \"intermediate_size\": 64, \"num_hidden_layers\": 2,"
    " \"num_attention_heads\": 4, \"vocab_size\": 538, \"max_position_embeddings\": 20,"
    " \"eos_token_id\": 537, \"hidden_act\": \"gelu\", \"layer_norm_eps\": 1e-6},\n"
    " \"vision_config\": {\"hidden_size\": 48, \"intermediate_size\": 96, \"num_hidden_layers\": 3,"
    " \"num_attention_heads\": 6, \"image_size\": 28, \"patch_size\": 7, \"num_channels\": 3}}";

typedef struct config_case {
    const char *from, *to;
    im_code code;
    const char *reason;
    const char *named[3]; /* key, found, expected */
} config_case;

#define CONFIG IM_ERR_FORMAT, "model_config"

static const config_case cases[] = {
    /* hidden size */
    {"\"hidden_size\": 32", "\"hidden_size\": 0", CONFIG, {"hidden_size is 0", "from 1"}},
    {"\"hidden_size\": 32", "\"hidden_size\": -1", CONFIG, {"hidden_size is -1", "from 1"}},
    {"\"hidden_size\": 32",
     "\"hidden_size\": 2147483648",
     CONFIG,
     {"hidden_size is 2147483648", "to 16384"}},
    {"\"hidden_size\": 32", "\"hidden_size\": 9223372036854775807", CONFIG, {"hidden_size is 92"}},
    {"\"hidden_size\": 32",
     "\"hidden_size\": 99999999999999999999",
     CONFIG,
     {"config.json", "too big"}},
    {"\"hidden_size\": 32", "\"hidden_size\": \"768\"", CONFIG, {"hidden_size is \"768\""}},
    {"\"hidden_size\": 32", "\"hidden_size\": 32.0", CONFIG, {"hidden_size is 32"}},
    {"\"hidden_size\": 32", "\"hidden_size\": true", CONFIG, {"hidden_size is true"}},
    {"\"hidden_size\": 32", "\"hidden_size\": [32]", CONFIG, {"hidden_size is a list"}},
    {"\"hidden_size\": 32", "\"hidden_size\": {}", CONFIG, {"hidden_size is an object"}},
    {"\"hidden_size\": 48", "\"hidden_size\": 0", CONFIG, {"hidden_size is 0", "from 1"}},
    /* other sizes */
    {"\"num_attention_heads\": 4",
     "\"num_attention_heads\": 5",
     CONFIG,
     {"hidden_size 32", "num_attention_heads 5"}},
    {"\"num_attention_heads\": 4",
     "\"num_attention_heads\": 0",
     CONFIG,
     {"num_attention_heads is 0"}},
    {"\"num_attention_heads\": 4",
     "\"num_attention_heads\": 64",
     CONFIG,
     {"hidden_size 32", "num_attention_heads 64"}},
    {"\"num_hidden_layers\": 2",
     "\"num_hidden_layers\": 1000000",
     CONFIG,
     {"num_hidden_layers is 1000000", "to 256"}},
    {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 0", CONFIG, {"num_hidden_layers is 0"}},
    {"\"intermediate_size\": 64", "\"intermediate_size\": 0", CONFIG, {"intermediate_size is 0"}},
    {"\"projection_dim\": 24", "\"projection_dim\": 0", CONFIG, {"projection_dim is 0"}},
    {"\"projection_dim\": 24", "\"projection_dim\": 20000", CONFIG, {"projection_dim is 20000"}},
    {"\"vocab_size\": 538", "\"vocab_size\": 3", CONFIG, {"vocab_size is 3"}},
    {"\"vocab_size\": 538", "\"vocab_size\": 4294967296", CONFIG, {"vocab_size is 4294967296"}},
    {"\"max_position_embeddings\": 20",
     "\"max_position_embeddings\": 2",
     CONFIG,
     {"max_position_embeddings is 2", "from 3"}},
    {"\"eos_token_id\": 537", "\"eos_token_id\": -1", CONFIG, {"eos_token_id is -1"}},
    {"\"patch_size\": 7", "\"patch_size\": 0", CONFIG, {"patch_size is 0"}},
    {"\"patch_size\": 7", "\"patch_size\": 29", CONFIG, {"patch_size 29", "image_size 28"}},
    {"\"image_size\": 28", "\"image_size\": 0", CONFIG, {"image_size is 0"}},
    {"\"image_size\": 28", "\"image_size\": 8193", CONFIG, {"image_size is 8193", "to 8192"}},
    {"\"image_size\": 28",
     "\"image_size\": 8192",
     CONFIG,
     {"image_size 8192", "1368900 patches", "65536"}},
    {"\"num_channels\": 3", "\"num_channels\": 4", CONFIG, {"num_channels is 4", "expected 3"}},
    /* numbers and names */
    {"1e-6", "NaN", CONFIG, {"config.json", "line 2", "NaN"}},
    {"1e-6", "0", CONFIG, {"layer_norm_eps is 0"}},
    {"1e-6", "-1e-6", CONFIG, {"layer_norm_eps is -1e-06"}},
    {"1e-6", "\"1e-6\"", CONFIG, {"layer_norm_eps is \"1e-6\""}},
    {"1e-6", "1e999", CONFIG, {"config.json"}},
    {"\"gelu\"", "\"relu\"", CONFIG, {"hidden_act is 'relu'", "quick_gelu"}},
    {"\"gelu\"", "7", CONFIG, {"hidden_act", "quick_gelu"}},
    /* the whole */
    {"\"clip\"",
     "\"siglip2_vision\"",
     IM_ERR_UNSUPPORTED,
     "model_family",
     {"siglip2_vision", "handled are: clip"}},
    {"\"clip\"", "\"CLIP\"", IM_ERR_UNSUPPORTED, "model_family", {"'CLIP'", "handled are: clip"}},
    {"\"model_type\": \"clip\", ", "", CONFIG, {"model_type is missing"}},
    {"\"clip\"", "7", CONFIG, {"model_type"}},
    {"\"text_config\": {", "\"text_config\": [], \"x\": {", CONFIG, {"text_config is no object"}},
    {"\"vision_config\": {",
     "\"vision_config\": 1, \"x\": {",
     CONFIG,
     {"vision_config is no object"}},
    {"\"projection_dim\": 24",
     "\"projection_dim\": 24, \"projection_dim\": 32",
     CONFIG,
     {"duplicate", "projection_dim"}},
    {base, "{}", CONFIG, {"model_type is missing"}},
    {base, "[]", CONFIG, {"no JSON object"}},
    {base, "null", CONFIG, {"no JSON object"}},
    {base, "", CONFIG, {"config.json", "empty"}},
    {base, "{\"model_type\": \"clip\"", CONFIG, {"line 1"}},
    {base, "\xef\xbb\xbf{\"model_type\": \"clip\"}", CONFIG, {"line 1"}},
};

/* Puts one edit of the base into the folder. */
static void write_config(const char *folder, const char *from, const char *to)
{
    write_text(folder, "config.json", base);
    edit_text(folder, "config.json", from, to);
}

static void each_config_gets_its_verdict_and_a_sentence_that_names_the_key(void **state)
{
    char folder[HELP_FOLDER_BYTES];
    (void)state;
    temporary_folder(folder);
    for (size_t i = 0; i < IM_COUNT(cases); i++) {
        const config_case *c = &cases[i];
        im_error err = IM_ERROR_INIT;
        model_config config;
        memset(&config, 0x5a, sizeof(config));
        model_config untouched = config;
        write_config(folder, c->from, c->to);
        uint64_t start = im_clock_ns();
        im_code rc = config_load(folder, &config, &err);
        check_time(c->to, start, 50);
        assert_refused(rc, &err, c->code, c->reason, "config.json", c->named[0], c->named[1],
                       c->named[2], NULL);
        assert_memory_equal(&config, &untouched, sizeof(config));
        assert_int_equal(config_load(folder, &config, NULL), rc);
    }
    remove_folder(folder);
}

static void a_sound_config_is_read_as_it_stands(void **state)
{
    char folder[HELP_FOLDER_BYTES];
    model_config c;
    (void)state;
    temporary_folder(folder);
    write_text(folder, "config.json", base);
    assert_int_equal(config_load(folder, &c, NULL), IM_OK);
    assert_int_equal(c.dim, 24);
    assert_int_equal(c.text.width, 32);
    assert_int_equal(c.text.mlp, 64);
    assert_int_equal(c.text.layers, 2);
    assert_int_equal(c.text.heads, 4);
    assert_true(c.text.eps == 1e-6f);
    assert_int_equal(c.text.activation, ACTIVATION_GELU);
    assert_int_equal(c.vocabulary, 538);
    assert_int_equal(c.context, 20);
    assert_int_equal(c.eos, 537);
    assert_false(c.pool_highest);
    assert_int_equal(c.image.width, 48);
    assert_int_equal(c.image.heads, 6);
    assert_true(c.image.eps == 1e-5f);
    assert_int_equal(c.image.activation, ACTIVATION_QUICK_GELU);
    assert_int_equal(c.image_size, 28);
    assert_int_equal(c.patch, 7);
    assert_int_equal(c.preprocess.crop_w, 28);
    assert_int_equal(c.preprocess.resize_shortest, 28);
    remove_folder(folder);
}

/* CLIPTextConfig(), CLIPVisionConfig() and CLIPImageProcessor() without arguments. */
static void absent_keys_mean_what_the_reference_means(void **state)
{
    char folder[HELP_FOLDER_BYTES];
    model_config c;
    (void)state;
    temporary_folder(folder);
    write_text(folder, "config.json",
               "{\"model_type\":\"clip\",\"text_config\":null,"
               "\"vision_config\":{\"hidden_size\":null}}");
    assert_int_equal(config_load(folder, &c, NULL), IM_OK);
    assert_int_equal(c.dim, 512);
    assert_int_equal(c.text.width, 512);
    assert_int_equal(c.text.mlp, 2048);
    assert_int_equal(c.text.heads, 8);
    assert_int_equal(c.text.layers, 12);
    assert_int_equal(c.vocabulary, 49408);
    assert_int_equal(c.context, 77);
    assert_int_equal(c.eos, 49407);
    assert_int_equal(c.image.width, 768);
    assert_int_equal(c.image.mlp, 3072);
    assert_int_equal(c.image.heads, 12);
    assert_int_equal(c.image_size, 224);
    assert_int_equal(c.patch, 32);
    assert_int_equal(c.preprocess.resample, IM_RESAMPLE_BICUBIC);
    assert_true(fabsf(c.mean[0] - 0.48145466f) < 1e-7f);
    assert_true(fabsf(c.std[2] - 0.27577711f) < 1e-7f);
    remove_folder(folder);
}

/* Code that auto_map names is never looked at, let alone run. */
static void auto_map_changes_nothing(void **state)
{
    char folder[HELP_FOLDER_BYTES];
    model_config plain;
    model_config mapped;
    (void)state;
    temporary_folder(folder);
    memset(&plain, 0, sizeof(plain));
    memset(&mapped, 0, sizeof(mapped));
    write_text(folder, "config.json", base);
    assert_int_equal(config_load(folder, &plain, NULL), IM_OK);
    write_config(folder, "\"projection_dim\"",
                 "\"auto_map\": {\"AutoModel\": \"../evil.py--Evil\"}, \"projection_dim\"");
    write_text(folder, "evil.py", "raise SystemExit(1)");
    assert_int_equal(config_load(folder, &mapped, NULL), IM_OK);
    assert_memory_equal(&plain, &mapped, sizeof(plain));
    remove_folder(folder);
}

static void a_missing_config_or_folder_is_named(void **state)
{
    char folder[HELP_FOLDER_BYTES];
    model_config config;
    im_encoder *encoder = NULL;
    im_error err = IM_ERROR_INIT;
    (void)state;
    temporary_folder(folder);
    im_code rc = config_load(folder, &config, &err);
    assert_refused(rc, &err, IM_ERR_NOT_FOUND, "model_file_missing", folder, "config.json", NULL);
    remove_folder(folder);
    rc = im_encoder_open(folder, NULL, &encoder, &err);
    assert_refused(rc, &err, IM_ERR_NOT_FOUND, "model_not_found", folder, NULL);
    rc = im_encoder_open("/etc/passwd", NULL, &encoder, &err);
    assert_refused(rc, &err, IM_ERR_NOT_FOUND, "model_not_found", "/etc/passwd", "folder", NULL);
    rc = im_encoder_open("", NULL, &encoder, &err);
    assert_int_equal(rc, IM_ERR_NOT_FOUND);
}

typedef struct preprocess_case {
    const char *text;
    const char *named[2]; /* NULL: accepted */
    uint32_t shortest;
} preprocess_case;

static const preprocess_case preprocess[] = {
    {"{}", {NULL}, 28},
    {"{\"size\": 28, \"crop_size\": 28}", {NULL}, 28},
    {"{\"size\": {\"shortest_edge\": 32}, \"crop_size\": {\"height\": 28, \"width\": 28}}",
     {NULL},
     32},
    {"{\"size\": {\"height\": 28, \"width\": 28}, \"do_center_crop\": false}", {NULL}, 0},
    {"{\"resample\": 2, \"do_resize\": true, \"rescale_factor\": 0.00392156862745098}", {NULL}, 28},
    {"{\"crop_size\": 27}", {"27 x 27", "image_size 28"}, 0},
    {"{\"crop_size\": {\"height\": 28, \"width\": 56}}", {"56 x 28", "28"}, 0},
    {"{\"crop_size\": 0}", {"crop_size is 0"}, 0},
    {"{\"size\": -1}", {"size is -1"}, 0},
    {"{\"size\": {\"shortest_edge\": 9999999999}}", {"shortest_edge is 9999999999"}, 0},
    {"{\"size\": \"28\"}", {"size is \"28\""}, 0},
    {"{\"size\": {\"height\": 56, \"width\": 56}}", {"size is neither"}, 0},
    {"{\"resample\": 0}", {"resample is 0", "bicubic"}, 0},
    {"{\"resample\": \"bicubic\"}", {"resample is \"bicubic\""}, 0},
    {"{\"do_resize\": false}", {"do_resize"}, 0},
    {"{\"do_rescale\": 0}", {"do_rescale"}, 0},
    {"{\"do_normalize\": false}", {"do_normalize"}, 0},
    {"{\"rescale_factor\": 1}", {"rescale_factor is 1", "1/255"}, 0},
    {"{\"image_mean\": [0.5, 0.5]}", {"image_mean"}, 0},
    {"{\"image_mean\": 0.5}", {"image_mean"}, 0},
    {"{\"image_mean\": [0.5, 0.5, 1e9]}", {"image_mean"}, 0},
    {"{\"image_mean\": [0.5, 0.5, \"a\"]}", {"image_mean"}, 0},
    {"{\"image_std\": [0.5, 0, 0.5]}", {"image_std", "above 0"}, 0},
    {"{\"image_std\": [0.5, 1e-300, 0.5]}", {"image_std", "above 0"}, 0},
    {"{\"image_std\": [0.5, -1, 0.5]}", {"image_std", "above 0"}, 0},
    {"[]", {"no JSON object"}, 0},
    {"null", {"no JSON object"}, 0},
    {"{", {"line 1"}, 0},
};

static void each_preprocessor_config_gets_its_verdict(void **state)
{
    char folder[HELP_FOLDER_BYTES];
    (void)state;
    temporary_folder(folder);
    write_text(folder, "config.json", base);
    for (size_t i = 0; i < IM_COUNT(preprocess); i++) {
        const preprocess_case *c = &preprocess[i];
        im_error err = IM_ERROR_INIT;
        model_config config;
        write_text(folder, "preprocessor_config.json", c->text);
        im_code rc = config_load(folder, &config, &err);
        if (c->named[0] == NULL) {
            if (rc != IM_OK) {
                fail_msg("%s: %s", c->text, err.message);
            }
            assert_int_equal(config.preprocess.resize_shortest, c->shortest);
            assert_int_equal(config.preprocess.crop_w, 28);
        } else {
            assert_refused(rc, &err, CONFIG, "preprocessor_config.json", c->named[0], c->named[1],
                           NULL);
        }
    }
    remove_folder(folder);
}

/* Values of its own instead of those of a file that is there but cannot be read would give wrong
 * vectors without a word. */
static void a_preprocessor_config_that_cannot_be_read_does_not_count_as_absent(void **state)
{
    char folder[HELP_FOLDER_BYTES];
    model_config config;
    im_error err = IM_ERROR_INIT;
    (void)state;
    temporary_folder(folder);
    write_text(folder, "config.json", base);
    link_to("../blobs/gone", folder, "preprocessor_config.json");
    im_code rc = config_load(folder, &config, &err);
    assert_refused(rc, &err, IM_ERR_NOT_FOUND, "model_file_missing", "preprocessor_config.json",
                   NULL);
    remove_file(folder, "preprocessor_config.json");
    assert_int_equal(config_load(folder, &config, NULL), IM_OK);
    remove_folder(folder);
}

static void check_fill(const char *folder, const char *each, size_t n, im_code code,
                       const char *reason)
{
    im_str text;
    model_config config;
    im_error err = IM_ERROR_INIT;
    im_str_init(&text, 80u << 20);
    for (size_t i = 0; i < n; i++) {
        im_str_add_c(&text, each);
    }
    assert_false(text.failed);
    write_file(folder, "config.json", text.data, text.size);
    im_str_clear(&text);
    memory_start();
    uint64_t start = im_clock_ns();
    im_code rc = config_load(folder, &config, &err);
    check_time(each, start, 1000);
    assert_true(TEST_SANITIZED || memory_peak() < 256u << 20);
    assert_refused(rc, &err, code, reason, "config.json", NULL);
}

static void large_configs_cost_neither_time_nor_memory(void **state)
{
    char folder[HELP_FOLDER_BYTES];
    (void)state;
    temporary_folder(folder);
    check_fill(folder, "[", 100000, CONFIG);
    check_fill(folder, "[],", 340000, CONFIG);
    check_fill(folder, "[[],", 1u << 18, CONFIG);
    check_fill(folder, " ", 1u << 20, CONFIG);
    check_fill(folder, " ", (1u << 20) + 1, IM_ERR_LIMIT, "file_too_large");
    check_fill(folder, "{}", 30u << 20, IM_ERR_LIMIT, "file_too_large");
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_config_gets_its_verdict_and_a_sentence_that_names_the_key),
        cmocka_unit_test(a_sound_config_is_read_as_it_stands),
        cmocka_unit_test(absent_keys_mean_what_the_reference_means),
        cmocka_unit_test(auto_map_changes_nothing),
        cmocka_unit_test(a_missing_config_or_folder_is_named),
        cmocka_unit_test(each_preprocessor_config_gets_its_verdict),
        cmocka_unit_test(a_preprocessor_config_that_cannot_be_read_does_not_count_as_absent),
        cmocka_unit_test(large_configs_cost_neither_time_nor_memory),
    };
    return cmocka_run_group_tests_name("encoder config", tests, NULL, NULL);
}
