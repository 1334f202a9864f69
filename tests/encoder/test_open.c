/* tests/encoder/test_open.c — covers encoder/open.c and files.c: config against tensors (T32), the
 * budget, options, files and digest, and use from many threads. */
#include "base/fault.h"
#include "help.h"

#include <pthread.h>
#include <stdlib.h>

/* ---- memory ---- */

static void a_model_beyond_its_memory_is_refused_before_it_is_packed(void **state)
{
    (void)state;
    im_error err = IM_ERROR_INIT;
    char folder[512];
    golden_path(folder, sizeof(folder), F32_MODEL, "");
    im_encoder_options options = {.memory_bytes = 1000, .batch = 2};
    size_t before = im_live_allocations();
    assert_int_equal(try_open(folder, &options, &err), IM_ERR_NOMEM);
    assert_string_equal(err.reason, "memory_budget");
    assert_non_null(strstr(err.message, "1.0 kB may be used"));
    assert_int_equal(im_live_allocations(), before);
    options.memory_bytes = (uint64_t)16 << 20;
    assert_int_equal(try_open(folder, &options, &err), IM_OK);
    /* what counts is what is asked for: a larger batch, both towers */
    options = (im_encoder_options){.memory_bytes = 300000, .towers = IM_TOWERS_IMAGE, .batch = 1};
    assert_int_equal(try_open(folder, &options, &err), IM_OK);
    options.batch = 64;
    assert_int_equal(try_open(folder, &options, &err), IM_ERR_NOMEM);
    options = (im_encoder_options){.memory_bytes = 300000, .batch = 1};
    assert_int_equal(try_open(folder, &options, &err), IM_ERR_NOMEM);
}

/* ---- T32: config against tensors ---- */

static void a_config_that_does_not_fit_the_tensors_is_refused_with_both_named(void **state)
{
    static const struct {
        const char *from, *to;
        const char *named[3];
    } cases[] = {
        {"\"projection_dim\": 24",
         "\"projection_dim\": 25",
         {"projection.weight", "[24, ", "expected [25, "}},
        {"\"hidden_size\": 32", "\"hidden_size\": 64", {"text_model", "32]", "64]"}},
        {"\"hidden_size\": 48", "\"hidden_size\": 96", {"vision_model", "[48", "expected [96"}},
        {"\"hidden_size\": 48", "\"hidden_size\": 16383", {"vision_model", "[48", "16383"}},
        {"\"intermediate_size\": 64",
         "\"intermediate_size\": 65",
         {"fc1.weight", "[64, 32]", "expected [65, 32]"}},
        {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", {"layers.2", "missing"}},
        {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 256", {"layers.2", "missing"}},
        {"\"vocab_size\": 538",
         "\"vocab_size\": 10000000",
         {"token_embedding", "[538, 32]", "expected [10000000, 32]"}},
        {"\"vocab_size\": 538", "\"vocab_size\": 537", {"token_embedding", "[538", "[537"}},
        {"\"max_position_embeddings\": 24",
         "\"max_position_embeddings\": 77",
         {"position_embedding", "[24, 32]", "expected [77, 32]"}},
        {"\"patch_size\": 7",
         "\"patch_size\": 14",
         {"patch_embedding", "[48, 3, 7, 7]", "expected [48, 3, 14, 14]"}},
        {"\"image_size\": 28",
         "\"image_size\": 1792",
         {"position_embedding", "[17, 48]", "expected [65537, 48]"}},
    };
    char folder[HELP_FOLDER_BYTES];
    (void)state;
    temporary_folder(folder);
    copy_model(folder, F32_MODEL);
    remove_file(folder, "preprocessor_config.json");
    im_bytes config = read_file(folder, "config.json");
    for (size_t i = 0; i < IM_COUNT(cases); i++) {
        im_error err = IM_ERROR_INIT;
        write_file(folder, "config.json", config.data, config.size);
        edit_text(folder, "config.json", cases[i].from, cases[i].to);
        memory_start();
        uint64_t start = im_clock_ns();
        im_code rc = try_open(folder, NULL, &err);
        check_time(cases[i].to, start, 500);
        assert_true(TEST_SANITIZED || memory_peak() < 64u << 20);
        if (rc == IM_ERR_FORMAT && strcmp(err.reason, "model_tokenizer") == 0) {
            continue; /* a smaller vocabulary: the tokenizer is looked at first */
        }
        assert_refused(rc, &err, IM_ERR_FORMAT, "model_tensor", "model.safetensors",
                       cases[i].named[0], cases[i].named[1], cases[i].named[2], NULL);
    }
    im_bytes_clear(&config);
    remove_folder(folder);
}

/* ---- options ---- */

static void options_that_this_version_lacks_are_refused(void **state)
{
    char folder[1024];
    im_error err = IM_ERROR_INIT;
    (void)state;
    golden_path(folder, sizeof(folder), F32_MODEL, "");
    im_code rc = try_open(folder, &(im_encoder_options){.batch = 65}, &err);
    assert_refused(rc, &err, IM_ERR_INVALID, "invalid", "65", "64", NULL);
    rc = try_open(folder, &(im_encoder_options){.batch = SIZE_MAX}, &err);
    assert_refused(rc, &err, IM_ERR_INVALID, "invalid", "64", NULL);
    err = (im_error)IM_ERROR_INIT;
    assert_int_equal(try_open(folder, &(im_encoder_options){.batch = 64}, &err), IM_OK);
    assert_int_equal(try_open(folder, &(im_encoder_options){.precision = IM_PRECISION_FP32}, &err),
                     IM_OK);
    assert_int_equal(try_open(folder, &(im_encoder_options){.precision = IM_PRECISION_BF16}, &err),
                     IM_OK);
    assert_int_equal(try_open(folder, &(im_encoder_options){.precision = IM_PRECISION_INT8}, &err),
                     IM_OK);
}

static void a_kernel_of_no_name_or_of_another_processor_is_refused(void **state)
{
    static const char *const names[] = {"plain", "AVX2", "avx2 ", "sse"};
    char folder[1024];
    im_error err = IM_ERROR_INIT;
    (void)state;
    golden_path(folder, sizeof(folder), F32_MODEL, "");
    for (size_t i = 0; i < IM_COUNT(names); i++) {
        setenv("IMAGO_KERNEL", names[i], 1);
        im_code rc = try_open(folder, NULL, &err);
        assert_refused(rc, &err, IM_ERR_INVALID, "invalid", "IMAGO_KERNEL", names[i],
                       "avx512, avx2 or portable", NULL);
        assert_true(err.hint[0] != '\0');
    }
    setenv("IMAGO_KERNEL", "avx512", 1);
    im_code rc = try_open(folder, NULL, &err);
    if (!im_cpu_features().avx512) {
        assert_refused(rc, &err, IM_ERR_UNSUPPORTED, "unsupported", "avx512", NULL);
    } else {
        assert_int_equal(rc, IM_OK);
    }
    setenv("IMAGO_KERNEL", "", 1); /* as if it were not set */
    assert_int_equal(try_open(folder, NULL, NULL), IM_OK);
    unsetenv("IMAGO_KERNEL");
}

static void a_tower_that_was_not_asked_for_is_neither_loaded_nor_checked(void **state)
{
    char folder[HELP_FOLDER_BYTES];
    im_encoder *encoder = NULL;
    float out[DIM];
    uint8_t rgb[SIDE * SIDE * 3] = {0};
    uint32_t ids[24];
    size_t n = 0;
    im_error err = IM_ERROR_INIT;
    im_view text = im_view_from("a");
    im_encoder_options only_text = {.towers = IM_TOWERS_TEXT};
    im_encoder_options only_image = {.towers = IM_TOWERS_IMAGE};
    (void)state;
    temporary_folder(folder);
    copy_model(folder, F32_MODEL);
    assert_int_equal(im_encoder_open(folder, &only_text, &encoder, NULL), IM_OK);
    assert_int_equal(im_encoder_texts(encoder, &text, 1, out, NULL, NULL), IM_OK);
    im_code rc = im_encoder_pictures(encoder, rgb, 1, out, NULL, &err);
    assert_refused(rc, &err, IM_ERR_INTERNAL, "internal", "image tower", NULL);
    im_encoder_close(encoder);
    remove_file(folder, "vocab.json");
    assert_int_equal(im_encoder_open(folder, &only_image, &encoder, NULL), IM_OK);
    assert_int_equal(im_encoder_pictures(encoder, rgb, 1, out, NULL, NULL), IM_OK);
    rc = im_encoder_texts(encoder, &text, 1, out, NULL, &err);
    assert_refused(rc, &err, IM_ERR_INTERNAL, "internal", "text tower", NULL);
    rc = im_encoder_tokenize(encoder, text, ids, &n, NULL, &err);
    assert_refused(rc, &err, IM_ERR_INTERNAL, "internal", "text tower", NULL);
    im_encoder_close(encoder);
    rc = try_open(folder, NULL, &err);
    assert_refused(rc, &err, IM_ERR_NOT_FOUND, "model_file_missing", folder, "vocab.json", NULL);
    remove_folder(folder);
}

static void nothing_to_encode_is_no_error(void **state)
{
    char folder[1024];
    float out[1] = {7};
    (void)state;
    golden_path(folder, sizeof(folder), F32_MODEL, "");
    im_encoder *encoder = open_sound(folder);
    assert_int_equal(im_encoder_texts(encoder, NULL, 0, out, NULL, NULL), IM_OK);
    assert_int_equal(im_encoder_pictures(encoder, NULL, 0, out, NULL, NULL), IM_OK);
    assert_true(out[0] == 7);
    im_encoder_close(encoder);
    im_encoder_close(NULL);
}

static void the_name_of_a_model_is_the_last_part_of_its_folder(void **state)
{
    char folder[1024];
    (void)state;
    for (size_t slashes = 0; slashes < 3; slashes++) {
        golden_path(folder, sizeof(folder), F32_MODEL, &"//"[2 - slashes]);
        if (slashes == 0) {
            folder[strlen(folder) - 1] = '\0';
        }
        im_encoder *encoder = open_sound(folder);
        assert_string_equal(im_encoder_describe(encoder)->name, F32_MODEL);
        im_encoder_close(encoder);
    }
}

/* ---- files and digest ---- */

static void the_digest_changes_with_each_file_and_with_nothing_else(void **state)
{
    char folder[HELP_FOLDER_BYTES];
    char first[65];
    char digest[65];
    im_model_file *files = NULL;
    size_t n = 0;
    (void)state;
    temporary_folder(folder);
    copy_model(folder, "bf16-sharded");
    assert_int_equal(im_encoder_digest(folder, first, NULL), IM_OK);
    assert_int_equal(strspn(first, "0123456789abcdef"), 64);
    assert_int_equal(im_encoder_files(folder, &files, &n, NULL), IM_OK);
    assert_int_equal(n, 7);
    for (size_t i = 0; i < n; i++) {
        assert_true(i == 0 || strcmp(files[i - 1].name, files[i].name) < 0);
        im_bytes bytes = read_file(folder, files[i].name);
        assert_int_equal(bytes.size, files[i].stamp.size);
        bytes.data[bytes.size / 2] ^= 1;
        write_file(folder, files[i].name, bytes.data, bytes.size);
        assert_int_equal(im_encoder_digest(folder, digest, NULL), IM_OK);
        assert_string_not_equal(first, digest);
        bytes.data[bytes.size / 2] ^= 1;
        write_file(folder, files[i].name, bytes.data, bytes.size - 1);
        assert_int_equal(im_encoder_digest(folder, digest, NULL), IM_OK);
        assert_string_not_equal(first, digest);
        write_file(folder, files[i].name, bytes.data, bytes.size);
        im_bytes_clear(&bytes);
    }
    write_text(folder, "README.md", "not of the model");
    write_text(folder, "pytorch_model.bin", "not of the model");
    assert_int_equal(im_encoder_digest(folder, digest, NULL), IM_OK);
    assert_string_equal(first, digest);
    im_free(files);
    remove_folder(folder);
    im_error err = IM_ERROR_INIT;
    im_code rc = im_encoder_digest(folder, digest, &err);
    assert_refused(rc, &err, IM_ERR_NOT_FOUND, "model_not_found", folder, NULL);
}

/* ---- threads ---- */

enum { THREADS = 4, ROUNDS = 40 };

typedef struct caller {
    im_encoder *encoder;
    const float *texts, *pictures; /* what one thread alone made of them */
    bool equal;
} caller;

static const char *const words[] = {"a red car", "the flower", "and 12 phototaking", ""};

static void encode_all(im_encoder *encoder, float *texts, float *pictures)
{
    static uint8_t rgb[3 * SIDE * SIDE * 3];
    im_view views[IM_COUNT(words)];
    for (size_t i = 0; i < IM_COUNT(words); i++) {
        views[i] = im_view_from(words[i]);
    }
    assert_int_equal(im_encoder_texts(encoder, views, IM_COUNT(words), texts, NULL, NULL), IM_OK);
    assert_int_equal(im_encoder_pictures(encoder, rgb, 3, pictures, NULL, NULL), IM_OK);
}

static void *call(void *context)
{
    caller *c = context;
    c->equal = true;
    for (size_t i = 0; i < ROUNDS; i++) {
        float texts[IM_COUNT(words) * DIM];
        float pictures[3 * DIM];
        encode_all(c->encoder, texts, pictures);
        c->equal = c->equal && memcmp(texts, c->texts, sizeof(texts)) == 0 &&
                   memcmp(pictures, c->pictures, sizeof(pictures)) == 0;
    }
    return NULL;
}

static void many_threads_get_what_one_gets(void **state)
{
    char folder[1024];
    float texts[IM_COUNT(words) * DIM];
    float pictures[3 * DIM];
    pthread_t threads[THREADS];
    caller callers[THREADS];
    im_pool *pool = NULL;
    im_encoder *encoder = NULL;
    (void)state;
    golden_path(folder, sizeof(folder), F32_MODEL, "");
    assert_int_equal(im_pool_open(2, &pool, NULL), IM_OK);
    im_encoder_options options = {.pool = pool};
    assert_int_equal(im_encoder_open(folder, &options, &encoder, NULL), IM_OK);
    encode_all(encoder, texts, pictures);
    for (size_t i = 0; i < THREADS; i++) {
        callers[i] = (caller){encoder, texts, pictures, false};
        assert_int_equal(pthread_create(&threads[i], NULL, call, &callers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_true(callers[i].equal);
    }
    im_encoder_close(encoder);
    im_pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_beyond_its_memory_is_refused_before_it_is_packed),
        cmocka_unit_test(a_config_that_does_not_fit_the_tensors_is_refused_with_both_named),
        cmocka_unit_test(options_that_this_version_lacks_are_refused),
        cmocka_unit_test(a_kernel_of_no_name_or_of_another_processor_is_refused),
        cmocka_unit_test(a_tower_that_was_not_asked_for_is_neither_loaded_nor_checked),
        cmocka_unit_test(nothing_to_encode_is_no_error),
        cmocka_unit_test(the_name_of_a_model_is_the_last_part_of_its_folder),
        cmocka_unit_test(the_digest_changes_with_each_file_and_with_nothing_else),
        cmocka_unit_test(many_threads_get_what_one_gets),
    };
    return cmocka_run_group_tests_name("encoder open", tests, NULL, NULL);
}
