/* tests/encoder/test_faults.c — the nth allocation, look-up, read and map fails over opening a
 * model and encoding with it (T90 as far as encoder/ goes): the right verdict, and every block
 * given back.
 */
#include "base/fault.h"
#include "help.h"

typedef struct fault_case {
    im_fault_kind kind;
    im_code code;       /* the verdict when it strikes */
    size_t least_calls; /* proves that the hook is reached */
} fault_case;

static const fault_case cases[] = {{IM_FAULT_ALLOC, IM_ERR_NOMEM, 100},
                                   {IM_FAULT_OPEN, IM_ERR_IO, 5},
                                   {IM_FAULT_READ, IM_ERR_IO, 4},
                                   {IM_FAULT_MAP, IM_ERR_NOMEM, 1}};

/* Everything that the door offers, once. */
static im_code use_model(const char *folder, im_error *err)
{
    im_encoder *encoder = NULL;
    im_encoder_options options = {.batch = 2,
                                  .precision = IM_PRECISION_BF16}; /* allocates the most */
    im_view texts[2] = {im_view_from("the red <|endoftext|> flower"), im_view_from("e\xcc\x81")};
    float out[2 * 64];
    uint32_t ids[64];
    uint8_t *rgb = NULL;
    bool cut[2];
    size_t n = 0;
    im_code rc = im_encoder_open(folder, &options, &encoder, err);
    if (rc == IM_OK) {
        size_t side = im_encoder_describe(encoder)->preprocess.crop_w;
        rgb = calloc(2 * side * side, 3);
        assert_non_null(rgb);
        rgb[5] = 200;
        rc = im_encoder_texts(encoder, texts, 2, out, cut, err);
    }
    if (rc == IM_OK) {
        rc = im_encoder_pictures(encoder, rgb, 2, out, NULL, err);
    }
    if (rc == IM_OK) {
        rc = im_encoder_tokenize(encoder, texts[0], ids, &n, NULL, err);
    }
    im_encoder_close(encoder);
    free(rgb);
    return rc;
}

static im_code use_files(const char *folder, im_error *err)
{
    char digest[65];
    return im_encoder_digest(folder, digest, err);
}

/* Fails call 0, 1, 2 … until all passes; `step` skips some of the many allocations. */
static size_t walk(im_code (*use)(const char *, im_error *), const char *folder,
                   const fault_case *c, size_t step)
{
    size_t n = 0;
    for (bool fired = true; fired; n++) {
        im_error err = IM_ERROR_INIT;
        size_t before = im_live_allocations();
        im_fault_set(c->kind, n * step, 0);
        im_code rc = use(folder, &err);
        fired = im_fault_fired(c->kind);
        im_fault_clear();
        if (rc != (fired ? c->code : IM_OK)) {
            fail_msg("kind %d, call %zu: %s '%s'", (int)c->kind, n * step, im_code_name(rc),
                     err.message);
        }
        assert_true(!fired || err.message[0] != '\0');
        assert_int_equal(im_live_allocations(), before);
        im_fault_set(c->kind, n * step, 0); /* without an error to fill */
        assert_int_equal(use(folder, NULL), rc);
        im_fault_clear();
        assert_int_equal(im_live_allocations(), before);
    }
    return n;
}

static void each_failed_call_of_a_model_is_an_error_and_nothing_leaks(void **state)
{
    static const char *const models[] = {F32_MODEL, "bf16-sharded"};
    (void)state;
    for (size_t m = 0; m < IM_COUNT(models); m++) {
        char folder[1024];
        golden_path(folder, sizeof(folder), models[m], "");
        assert_int_equal(use_model(folder, NULL), IM_OK); /* what is made once stays */
        for (size_t i = 0; i < IM_COUNT(cases); i++) {
            /* most allocations are the entries of vocab.json, one like the other */
            size_t step = cases[i].kind == IM_FAULT_ALLOC ? (TEST_SANITIZED ? 13 : 3) : 1;
            size_t n = walk(use_model, folder, &cases[i], step);
            assert_true(n >= cases[i].least_calls);
            print_message("%s: kind %d, %zu calls failed in turn\n", models[m], (int)cases[i].kind,
                          n - 1);
        }
    }
}

static void each_failed_call_of_the_digest_is_an_error_and_nothing_leaks(void **state)
{
    char folder[1024];
    (void)state;
    golden_path(folder, sizeof(folder), "bf16-sharded", "");
    assert_int_equal(use_files(folder, NULL), IM_OK);
    for (size_t i = 0; i < IM_COUNT(cases); i++) {
        size_t n = walk(use_files, folder, &cases[i], 1);
        assert_true(n > 6 || cases[i].kind == IM_FAULT_READ);
    }
}

/* Each allocation of tokenizing fails, over stretches of all kinds. */
static void each_failed_allocation_of_a_text_is_an_error(void **state)
{
    char folder[1024];
    im_encoder *encoder = NULL;
    im_encoder_options options = {.towers = IM_TOWERS_TEXT};
    im_view text = im_view_from("a\xcc\xa7\xcc\x81 <|startoftext|> red<|endoftext|> flower");
    size_t n = 0;
    (void)state;
    golden_path(folder, sizeof(folder), F32_MODEL, "");
    assert_int_equal(im_encoder_open(folder, &options, &encoder, NULL), IM_OK);
    for (bool fired = true; fired; n++) {
        float out[DIM];
        im_error err = IM_ERROR_INIT;
        size_t before = im_live_allocations();
        im_fault_set(IM_FAULT_ALLOC, n, 0);
        im_code rc = im_encoder_texts(encoder, &text, 1, out, NULL, &err);
        fired = im_fault_fired(IM_FAULT_ALLOC);
        im_fault_clear();
        assert_int_equal(rc, fired ? IM_ERR_NOMEM : IM_OK);
        assert_int_equal(im_live_allocations(), before);
    }
    assert_true(n > 10);
    im_encoder_close(encoder);
}

/* A forward pass allocates nothing: only texts do, for their ids. */
static void pictures_allocate_nothing(void **state)
{
    char folder[1024];
    im_encoder *encoder = NULL;
    im_encoder_options options = {.towers = IM_TOWERS_IMAGE, .precision = IM_PRECISION_BF16};
    uint8_t rgb[3 * 28 * 28 * 3] = {0};
    float out[3 * DIM];
    (void)state;
    golden_path(folder, sizeof(folder), F32_MODEL, "");
    assert_int_equal(im_encoder_open(folder, &options, &encoder, NULL), IM_OK);
    im_fault_set(IM_FAULT_ALLOC, 0, 0);
    assert_int_equal(im_encoder_pictures(encoder, rgb, 3, out, NULL, NULL), IM_OK);
    assert_int_equal(im_fault_calls(IM_FAULT_ALLOC), 0);
    im_fault_clear();
    im_encoder_close(encoder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_failed_call_of_a_model_is_an_error_and_nothing_leaks),
        cmocka_unit_test(each_failed_call_of_the_digest_is_an_error_and_nothing_leaks),
        cmocka_unit_test(each_failed_allocation_of_a_text_is_an_error),
        cmocka_unit_test(pictures_allocate_nothing),
    };
    return cmocka_run_group_tests_name("encoder faults", tests, NULL, NULL);
}
