/* tests/encoder/test_less.c — what is left out does not count: each way to do less gives, bit for
 * bit, what the whole computation gives. */
#include "tests/encoder/help.h"

static const char *const models[] = {"f32-quick-gelu", "f16-gelu-eos", "bf16-sharded"};
static const im_precision precisions[] = {IM_PRECISION_FP32, IM_PRECISION_BF16, IM_PRECISION_INT8};
static const char *const texts[] = {"a photo of a red car", "x", "",
                                    "two dogs on the grass, in rain"};

static im_encoder *open_golden(const char *model, im_precision precision)
{
    char folder[1024];
    im_encoder *encoder = NULL;
    im_error err = IM_ERROR_INIT;
    im_encoder_options options = {.precision = precision};
    golden_path(folder, sizeof(folder), model, "");
    folder[strlen(folder) - 1] = '\0';
    if (im_encoder_open(folder, &options, &encoder, &err) != IM_OK) {
        fail_msg("%s: %s", model, err.message);
    }
    return encoder;
}

/* Each model in each precision. */
static void in_all(void (*check)(im_encoder *encoder))
{
    for (size_t m = 0; m < IM_COUNT(models); m++) {
        for (size_t p = 0; p < IM_COUNT(precisions); p++) {
            im_encoder *encoder = open_golden(models[m], precisions[p]);
            check(encoder);
            im_encoder_close(encoder);
        }
    }
}

/* Ids of a text into place, and where the reference pools. */
static size_t put_text(im_encoder *encoder, const char *text, uint32_t *ids)
{
    size_t n = 0;
    assert_int_equal(im_encoder_tokenize(encoder, im_view_from(text), ids, &n, NULL, NULL), IM_OK);
    return n - 1; /* the end token is the highest id, and the only one of its kind */
}

/* 1. The whole context, padded as the reference pads, or up to the end token. */
static void cut_text(im_encoder *encoder)
{
    float cut[64];
    float whole[64];
    size_t context = encoder->config.context;
    size_t size = encoder->config.dim * sizeof(float);
    for (size_t t = 0; t < IM_COUNT(texts); t++) {
        uint32_t *ids = encoder->text.ids;
        size_t end = put_text(encoder, texts[t], ids);
        for (size_t i = end + 1; i < context; i++) {
            ids[i] = t % 2 == 0 ? ids[end] : 1;
        }
        sequence s = {0, context, end};
        text_tower_run(encoder, &s, 1, whole, true);
        s.length = end + 1;
        text_tower_run(encoder, &s, 1, cut, true);
        assert_memory_equal(cut, whole, size);
    }
}

static void cut_texts(const char *kernel_name)
{
    (void)kernel_name;
    in_all(cut_text);
}

static void a_text_ends_at_its_end_token(void **state)
{
    (void)state;
    in_every_kernel(cut_texts);
}

/* 2. The last block for all rows, or for the pooled one of each sequence. */
static void prune(im_encoder *encoder)
{
    float less[8 * 64];
    float whole[8 * 64];
    size_t side = encoder->config.image_size;
    size_t size = encoder->config.dim * sizeof(float);
    uint8_t *rgb = im_alloc(8, side * side * 3);
    sequence s[IM_COUNT(texts)];
    size_t at = 0;
    assert_non_null(rgb);
    for (size_t i = 0; i < 8 * side * side * 3; i++) {
        rgb[i] = (uint8_t)random();
    }
    image_tower_run(encoder, rgb, NULL, 8, less, false);
    image_tower_run(encoder, rgb, NULL, 8, whole, true);
    assert_memory_equal(less, whole, 8 * size);
    for (size_t t = 0; t < IM_COUNT(texts); t++) {
        size_t end = put_text(encoder, texts[t], encoder->text.ids + at);
        s[t] = (sequence){at, end + 1, end};
        at += end + 1;
    }
    text_tower_run(encoder, s, IM_COUNT(texts), less, false);
    text_tower_run(encoder, s, IM_COUNT(texts), whole, true);
    assert_memory_equal(less, whole, IM_COUNT(texts) * size);
    im_free(rgb);
}

static void prune_all(const char *kernel_name)
{
    (void)kernel_name;
    in_all(prune);
}

static void the_last_block_runs_for_the_pooled_row_alone(void **state)
{
    (void)state;
    srandom(11);
    in_every_kernel(prune_all);
}

/* 3. Texts of a batch one behind the other, or each alone: no padding, nothing seen of another. */
static void join_texts(im_encoder *encoder)
{
    float together[IM_COUNT(texts) * 64];
    float alone[64];
    im_view views[IM_COUNT(texts)];
    size_t dim = encoder->config.dim;
    for (size_t t = 0; t < IM_COUNT(texts); t++) {
        views[t] = im_view_from(texts[t]);
    }
    assert_int_equal(im_encoder_texts(encoder, views, IM_COUNT(texts), together, NULL, NULL),
                     IM_OK);
    for (size_t t = 0; t < IM_COUNT(texts); t++) {
        assert_int_equal(im_encoder_texts(encoder, &views[t], 1, alone, NULL, NULL), IM_OK);
        assert_memory_equal(alone, together + t * dim, dim * sizeof(float));
    }
}

static void join_all(const char *kernel_name)
{
    (void)kernel_name;
    in_all(join_texts);
}

static void texts_of_a_batch_lie_one_behind_the_other(void **state)
{
    (void)state;
    in_every_kernel(join_all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_ends_at_its_end_token),
        cmocka_unit_test(the_last_block_runs_for_the_pooled_row_alone),
        cmocka_unit_test(texts_of_a_batch_lie_one_behind_the_other),
    };
    return cmocka_run_group_tests_name("encoder does less", tests, NULL, NULL);
}
