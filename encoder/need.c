/* encoder/need.c — the private memory that a model takes once it is open: packed weights, scratch
 * of a forward pass, the tokenizer. Worked out from config.json before anything is packed, so that
 * a budget too small is refused rather than found out; within a few per cent of what is taken. */
#include "encoder/encoder_internal.h"

#define TOKENIZER_BYTES_PER_WORD 400u /* words, merges, tables, and the JSON while it is read */
#define PACKED_TOKENIZER_BYTES_PER_WORD 16u

static uint64_t floats_of_blocks(const tower_config *c)
{
    uint64_t w = c->width;
    return c->layers * (4 * w * w + 2 * w * c->mlp + 13 * w + c->mlp);
}

static uint64_t floats_of_scratch(const tower_config *c, uint64_t rows)
{
    return rows * (6 * (uint64_t)c->width + c->mlp + 80);
}

/* Rows laid out for a product, as in tower_plan. */
static uint64_t floats_of_laid(const tower_config *c, uint64_t rows, weights_kind kind)
{
    return rows * ((kind.precision == IM_PRECISION_INT8 ? IM_MAX(c->width, c->mlp) : c->width) + 1);
}

static uint64_t value_bytes(im_precision precision)
{
    return precision == IM_PRECISION_INT8   ? sizeof(int8_t)
           : precision == IM_PRECISION_BF16 ? sizeof(uint16_t)
                                            : sizeof(float);
}

/* Blocks are of the precision, the rest is float32. */
static uint64_t bytes_of_weights(uint64_t block_floats, uint64_t other_floats, weights_kind kind)
{
    return kind.mapped ? 0
                       : block_floats * value_bytes(kind.precision) + other_floats * sizeof(float);
}

uint64_t encoder_image_bytes(const model_config *c, size_t batch, weights_kind kind)
{
    uint64_t side = c->image_size / c->patch;
    uint64_t patch = 3 * (uint64_t)c->patch * c->patch;
    uint64_t w = c->image.width;
    uint64_t rows = batch * (side * side + 1);
    uint64_t floats = floats_of_scratch(&c->image, rows) + floats_of_laid(&c->image, rows, kind) +
                      batch * side * side * (patch + 31) + side * side * (patch + 3);
    return floats * sizeof(float) +
           bytes_of_weights(floats_of_blocks(&c->image), w * (patch + side * side + c->dim), kind);
}

uint64_t encoder_text_bytes(const model_config *c, weights_kind kind)
{
    uint64_t w = c->text.width;
    uint64_t rows = 4 * (uint64_t)c->context;
    uint64_t floats = floats_of_scratch(&c->text, rows) + floats_of_laid(&c->text, rows, kind);
    return floats * sizeof(float) +
           bytes_of_weights(floats_of_blocks(&c->text), w * (c->context + c->dim), kind) +
           (uint64_t)c->vocabulary *
               (kind.mapped ? PACKED_TOKENIZER_BYTES_PER_WORD : TOKENIZER_BYTES_PER_WORD);
}

im_code encoder_check_need(const im_encoder *e, const im_encoder_options *options, bool mapped,
                           im_error *err)
{
    char need[16];
    char have[16];
    size_t batch = options->batch != 0 ? options->batch : 8;
    uint64_t bytes = 0;
    weights_kind kind = {e->precision, mapped};
    bytes += options->towers != IM_TOWERS_TEXT ? encoder_image_bytes(&e->config, batch, kind) : 0;
    bytes += options->towers != IM_TOWERS_IMAGE ? encoder_text_bytes(&e->config, kind) : 0;
    if (options->memory_bytes == 0 || bytes <= options->memory_bytes) {
        return IM_OK;
    }
    im_code rc =
        im_fail_as(err, IM_REASON_MEMORY_BUDGET,
                   "model '%s' takes %s of memory with batches of %zu, %s may be used", e->folder,
                   im_text_bytes(bytes, need), batch,
                   im_text_bytes(options->memory_bytes > 1 ? options->memory_bytes : 0, have));
    im_hint(err, "allow more with --memory, or take a smaller model");
    return rc;
}
