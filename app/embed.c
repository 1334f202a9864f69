/* app/embed.c — vectors of texts and pictures, without a library. */
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
