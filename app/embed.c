/* app/embed.c — vectors of texts and pictures, without a library or with one that is open. */
#include "app/app_internal.h"
#include "base/file.h"

static im_code open_model(const im_places *places, const im_embed_request *request, im_pool *pool,
                          im_encoder **out_encoder, im_error *err)
{
    char *folder = NULL;
    bool text = false;
    bool picture = false;
    for (size_t i = 0; i < request->n_inputs; i++) {
        text = text || request->inputs[i].is_text;
        picture = picture || !request->inputs[i].is_text;
    }
    im_encoder_options options = {.precision = request->precision,
                                  .towers = text && picture ? IM_TOWERS_BOTH
                                            : text          ? IM_TOWERS_TEXT
                                                            : IM_TOWERS_IMAGE,
                                  .pool = pool,
                                  .batch = request->batch};
    im_code rc = im_app_model_folder(places, request->model, &folder, err);
    if (rc == IM_OK) {
        rc = im_encoder_open(folder, &options, out_encoder, err);
    }
    im_free(folder);
    return rc;
}

static im_code embed_picture(im_encoder *encoder, const im_embed_request *request, const char *path,
                             uint8_t *pixels, float *vector, im_error *err)
{
    im_bytes bytes = {0};
    im_image_options options = {.limits = request->limits, .exact_decode = request->exact_decode};
    im_code rc = picture_read(path, &request->limits, &bytes, err);
    if (rc == IM_OK) {
        rc = picture_pixels(encoder, im_view_of((const char *)bytes.data, bytes.size), path,
                            &options, NULL, pixels, err);
    }
    if (rc == IM_OK) {
        rc = im_encoder_pictures(encoder, pixels, 1, vector, NULL, err);
    }
    im_bytes_clear(&bytes);
    return rc;
}

static im_code embed_all(im_encoder *encoder, const im_embed_request *request,
                         im_embed_result *result, im_error *err)
{
    uint8_t *pixels = im_alloc(1, picture_pixels_bytes(encoder));
    size_t n_failed = 0;
    size_t first = 0;
    if (pixels == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a picture");
    }
    for (size_t i = 0; i < request->n_inputs; i++) {
        const im_embed_input *input = &request->inputs[i];
        float *vector = result->vectors + i * result->dim;
        im_error error = IM_ERROR_INIT;
        im_view text = im_view_from(input->value);
        im_code rc = input->is_text
                         ? im_encoder_texts(encoder, &text, 1, vector, &result->cut[i], &error)
                         : embed_picture(encoder, request, input->value, pixels, vector, &error);
        if (rc != IM_OK) {
            memset(vector, 0, result->dim * sizeof(float));
            result->errors[i] = error;
            first = n_failed == 0 ? i : first;
            n_failed++;
        }
    }
    im_free(pixels);
    if (n_failed == 0) {
        return IM_OK;
    }
    if (n_failed == request->n_inputs) {
        if (err != NULL) {
            *err = result->errors[first];
        }
        return result->errors[first].code;
    }
    return im_fail_as(err, IM_REASON_PARTIAL, "%zu of %zu inputs could not be embedded", n_failed,
                      request->n_inputs);
}

im_code im_app_embed(const im_places *places, const im_embed_request *request,
                     im_embed_result *out_result, im_error *err)
{
    im_pool *pool = NULL;
    im_encoder *encoder = NULL;
    im_embed_result result = {.n = request->n_inputs};
    memset(out_result, 0, sizeof(*out_result));
    if (request->n_inputs == 0) {
        return im_fail(err, IM_ERR_INVALID,
                       "nothing to embed: name a picture, or a text with "
                       "--text");
    }
    im_code rc = im_pool_open(request->threads, &pool, err);
    if (rc == IM_OK) {
        rc = open_model(places, request, pool, &encoder, err);
    }
    if (rc == IM_OK) {
        const im_encoder_info *info = im_encoder_describe(encoder);
        result.dim = info->dim;
        (void)snprintf(result.model, sizeof(result.model), "%s", info->name);
        result.vectors = im_alloc_zero(result.n, result.dim * sizeof(float));
        result.errors = im_alloc_zero(result.n, sizeof(*result.errors));
        result.cut = im_alloc_zero(result.n, sizeof(bool));
        if (result.vectors == NULL || result.errors == NULL || result.cut == NULL) {
            rc = im_fail(err, IM_ERR_NOMEM, "no memory for %zu vectors", result.n);
        }
    }
    if (rc == IM_OK) {
        rc = embed_all(encoder, request, &result, err);
        *out_result = result;
    } else {
        im_embed_result_clear(&result);
    }
    im_encoder_close(encoder);
    im_pool_close(pool);
    return rc;
}

/* ---- with the model of a library ---- */

/* The texts of the pieces that can be embedded, in one pass. */
static im_code embed_texts(im_encoder *encoder, const im_embed_piece *pieces,
                           im_embed_result *result, size_t *tokens, im_error *err)
{
    size_t n = 0;
    size_t context = im_encoder_describe(encoder)->context;
    im_view *texts = im_alloc_zero(result->n, sizeof(*texts));
    size_t *places = im_alloc_zero(result->n, sizeof(*places));
    float *rows = im_alloc(result->n, result->dim * sizeof(float));
    bool *cut = im_alloc_zero(result->n, sizeof(*cut));
    uint32_t *ids = im_alloc(context, sizeof(*ids));
    bool ok = texts != NULL && places != NULL && rows != NULL && cut != NULL && ids != NULL;
    im_code rc = ok ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for %zu texts", result->n);
    for (size_t i = 0; rc == IM_OK && i < result->n; i++) {
        const im_query_part part = {
            .kind = IM_PART_TEXT, .text = pieces[i].text, .weight = IM_WEIGHT_POSITIVE};
        size_t n_ids = 0;
        if (pieces[i].text.data == NULL ||
            im_query_check(&part, 1, IM_COMBINE_SUM, &result->errors[i]) != IM_OK) {
            continue;
        }
        rc = im_encoder_tokenize(encoder, pieces[i].text, ids, &n_ids, &cut[n], err);
        tokens[i] = n_ids;
        texts[n] = pieces[i].text;
        places[n++] = i;
    }
    if (rc == IM_OK && n > 0) {
        rc = im_encoder_texts(encoder, texts, n, rows, cut, err);
    }
    for (size_t i = 0; rc == IM_OK && i < n; i++) {
        memcpy(result->vectors + places[i] * result->dim, rows + i * result->dim,
               result->dim * sizeof(float));
        result->cut[places[i]] = cut[i];
    }
    im_free(texts);
    im_free(places);
    im_free(rows);
    im_free(cut);
    im_free(ids);
    return rc;
}

static im_code embed_pictures(im_encoder *encoder, const im_embed_piece *pieces,
                              const im_image_limits *limits, im_embed_result *result, im_error *err)
{
    const im_image_options options = {.limits = *limits};
    uint8_t *pixels = im_alloc(1, picture_pixels_bytes(encoder));
    if (pixels == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a picture");
    }
    for (size_t i = 0; i < result->n; i++) {
        float *vector = result->vectors + i * result->dim;
        if (pieces[i].text.data != NULL) {
            continue;
        }
        im_code rc = picture_pixels(encoder, pieces[i].picture, "the picture sent", &options, NULL,
                                    pixels, &result->errors[i]);
        if (rc == IM_OK) {
            rc = im_encoder_pictures(encoder, pixels, 1, vector, NULL, &result->errors[i]);
        }
        if (rc != IM_OK) {
            memset(vector, 0, result->dim * sizeof(float));
        }
    }
    im_free(pixels);
    return IM_OK;
}

static im_towers towers_of(const im_embed_piece *pieces, size_t n)
{
    bool text = false;
    bool picture = false;
    for (size_t i = 0; i < n; i++) {
        text = text || pieces[i].text.data != NULL;
        picture = picture || pieces[i].text.data == NULL;
    }
    return text && picture ? IM_TOWERS_BOTH : text ? IM_TOWERS_TEXT : IM_TOWERS_IMAGE;
}

static im_code embed_pieces(im_encoder *encoder, const im_embed_piece *pieces,
                            const im_image_limits *limits, im_embed_result *result, size_t *tokens,
                            im_error *err)
{
    im_towers towers = towers_of(pieces, result->n);
    im_code rc = IM_OK;
    for (size_t i = 0; i < result->n; i++) {
        tokens[i] = 0;
        result->errors[i] = (im_error)IM_ERROR_INIT;
    }
    if (towers != IM_TOWERS_IMAGE) {
        rc = embed_texts(encoder, pieces, result, tokens, err);
    }
    if (rc == IM_OK && towers != IM_TOWERS_TEXT) {
        rc = embed_pictures(encoder, pieces, limits, result, err);
    }
    return rc;
}

/* Room for result->n vectors of result->dim. */
static im_code result_open(im_embed_result *result, im_error *err)
{
    result->vectors = im_alloc_zero(result->n, result->dim * sizeof(float));
    result->errors = im_alloc_zero(result->n, sizeof(*result->errors));
    result->cut = im_alloc_zero(result->n, sizeof(bool));
    return result->vectors != NULL && result->errors != NULL && result->cut != NULL
               ? IM_OK
               : im_fail(err, IM_ERR_NOMEM, "no memory for %zu vectors", result->n);
}

im_code im_app_embed_many(im_library *library, const im_embed_piece *pieces, size_t n,
                          const im_image_limits *limits, im_embed_result *out_result,
                          size_t *out_tokens, im_error *err)
{
    im_embed_result result = {.n = n};
    memset(out_result, 0, sizeof(*out_result));
    im_code rc = library_model(library, err);
    if (rc != IM_OK) {
        return rc;
    }
    result.dim = library->model.dim;
    (void)snprintf(result.model, sizeof(result.model), "%s", library->model.name);
    if (n > 0) {
        rc = result_open(&result, err);
    }
    if (rc == IM_OK && n > 0) {
        rc = library_encoder(library, towers_of(pieces, n), NULL, err);
    }
    if (rc == IM_OK && n > 0) {
        rc = embed_pieces(library->encoder, pieces, limits, &result, out_tokens, err);
    }
    if (rc != IM_OK) {
        im_embed_result_clear(&result);
        return rc;
    }
    *out_result = result;
    return IM_OK;
}

/* ---- with a model of its own ---- */

struct im_embedder {
    im_pool *pool;
    im_encoder *encoder;
};

im_code im_embedder_open(const im_library_options *options, const char *model,
                         im_embedder **out_embedder, im_error *err)
{
    char *folder = NULL;
    im_embedder *embedder = im_alloc_zero(1, sizeof(*embedder));
    im_encoder_options how = {.precision = options->precision, .towers = IM_TOWERS_BOTH};
    if (embedder == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a model");
    }
    im_code rc = im_app_model_folder(options->places, model, &folder, err);
    if (rc == IM_OK) {
        rc = im_pool_open(options->threads, &embedder->pool, err);
    }
    if (rc == IM_OK) {
        how.pool = embedder->pool;
        rc = im_encoder_open(folder, &how, &embedder->encoder, err);
    }
    im_free(folder);
    if (rc != IM_OK) {
        im_embedder_close(embedder);
        return rc;
    }
    *out_embedder = embedder;
    return IM_OK;
}

void im_embedder_close(im_embedder *embedder)
{
    if (embedder != NULL) {
        im_encoder_close(embedder->encoder);
        im_pool_close(embedder->pool);
        im_free(embedder);
    }
}

im_code im_embedder_run(im_embedder *embedder, const im_embed_piece *pieces, size_t n,
                        const im_image_limits *limits, im_embed_result *out_result,
                        size_t *out_tokens, im_error *err)
{
    const im_encoder_info *info = im_encoder_describe(embedder->encoder);
    im_embed_result result = {.n = n, .dim = info->dim};
    memset(out_result, 0, sizeof(*out_result));
    (void)snprintf(result.model, sizeof(result.model), "%s", info->name);
    im_code rc = result_open(&result, err);
    if (rc == IM_OK) {
        rc = embed_pieces(embedder->encoder, pieces, limits, &result, out_tokens, err);
    }
    if (rc != IM_OK) {
        im_embed_result_clear(&result);
        return rc;
    }
    *out_result = result;
    return IM_OK;
}

void im_embed_result_clear(im_embed_result *result)
{
    im_free(result->vectors);
    im_free(result->errors);
    im_free(result->cut);
    memset(result, 0, sizeof(*result));
}

void im_embed_json(im_json_writer *w, const im_embed_request *request,
                   const im_embed_result *result)
{
    im_json_begin_object(w);
    im_json_put_string(w, "model", result->model);
    im_json_put_uint(w, "dimensions", result->dim);
    im_json_key(w, "data");
    im_json_begin_array(w);
    for (size_t i = 0; i < result->n; i++) {
        const im_embed_input *input = &request->inputs[i];
        im_json_begin_object(w);
        im_json_put_uint(w, "index", i);
        im_json_put_string(w, "type", input->is_text ? "text" : "image");
        im_json_put_string(w, "input", input->value);
        if (result->errors[i].code != IM_OK) {
            im_json_key(w, "error");
            im_json_error(w, &result->errors[i], input->is_text ? NULL : input->value);
        } else {
            im_json_key(w, "embedding");
            im_json_begin_array(w);
            for (size_t d = 0; d < result->dim; d++) {
                im_json_float(w, result->vectors[i * result->dim + d]);
            }
            im_json_end_array(w);
            if (result->cut[i]) {
                im_json_put_bool(w, "cut", true);
            }
        }
        im_json_end_object(w);
    }
    im_json_end_array(w);
    im_json_end_object(w);
}
