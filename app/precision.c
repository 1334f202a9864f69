/* app/precision.c — which numbers a model computes with when --precision is auto: the cosine of
 * bf16 to fp32 is measured once, on the calibration pictures and texts, and kept in the library's
 * settings beside the model. */
#include "app/app_internal.h"
#include "base/clock.h"
#include "base/file.h"

#define PRECISION_SAMPLE 64u /* pictures, and texts, spread over all there are */

static bool is_picture(const char *folder, const char *name)
{
    (void)folder;
    return im_image_name_is_picture(name);
}

static void compare(const float *a, const float *b, size_t dim, double *least)
{
    double dot = 0;
    for (size_t i = 0; i < dim; i++) {
        dot += (double)a[i] * (double)b[i];
    }
    *least = dot < *least ? dot : *least;
}

static im_code compare_picture(im_encoder *fp32, im_encoder *bf16, const char *path,
                               uint8_t *pixels, float *vectors, double *least, im_error *err)
{
    size_t dim = im_encoder_describe(fp32)->dim;
    im_bytes bytes = {0};
    im_image_options options = {.exact_decode = true};
    im_code rc = picture_read(path, NULL, &bytes, err);
    if (rc == IM_OK) {
        rc = picture_pixels(fp32, im_view_of((const char *)bytes.data, bytes.size), path, &options,
                            NULL, pixels, err);
    }
    if (rc == IM_OK) {
        rc = im_encoder_pictures(fp32, pixels, 1, vectors, NULL, err);
    }
    if (rc == IM_OK) {
        rc = im_encoder_pictures(bf16, pixels, 1, vectors + dim, NULL, err);
    }
    if (rc == IM_OK) {
        compare(vectors, vectors + dim, dim, least);
    }
    im_bytes_clear(&bytes);
    return rc;
}

static im_code compare_pictures(im_encoder *fp32, im_encoder *bf16, const char *folder,
                                float *vectors, double *least, im_error *err)
{
    name_list names = {0};
    uint8_t *pixels = im_alloc(1, picture_pixels_bytes(fp32));
    im_code rc = pixels != NULL ? names_in_folder(folder, is_picture, &names, err)
                                : im_fail(err, IM_ERR_NOMEM, "no memory for a picture");
    size_t step = names.n / PRECISION_SAMPLE + 1;
    for (size_t i = 0; i < names.n && rc == IM_OK; i += step) {
        char *path = im_path_join(folder, names.names[i]);
        rc = path != NULL ? compare_picture(fp32, bf16, path, pixels, vectors, least, err)
                          : im_fail(err, IM_ERR_NOMEM, "no memory for a path");
        if (rc == IM_OK && im_stop_asked()) {
            rc = im_fail_as(err, IM_REASON_INTERRUPTED, "stopped while preparing the model");
        }
        im_free(path);
    }
    name_list_clear(&names);
    im_free(pixels);
    return rc;
}

static im_code compare_texts(im_encoder *fp32, im_encoder *bf16, const char *folder, float *vectors,
                             double *least, im_error *err)
{
    size_t dim = im_encoder_describe(fp32)->dim;
    im_bytes bytes = {0};
    char *path = im_path_join(folder, "texts.txt");
    im_code rc = path != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    if (rc == IM_OK && im_file_exists(path)) {
        rc = im_file_read(path, 1u << 20, &bytes, err);
    }
    const char *at = (const char *)bytes.data;
    const char *end = at != NULL ? at + bytes.size : NULL;
    for (size_t n = 0; rc == IM_OK && n < PRECISION_SAMPLE && at != end; n++) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        line_end = line_end != NULL ? line_end : end;
        im_view text = im_view_of(at, (size_t)(line_end - at));
        rc = im_encoder_texts(fp32, &text, 1, vectors, NULL, err);
        if (rc == IM_OK) {
            rc = im_encoder_texts(bf16, &text, 1, vectors + dim, NULL, err);
        }
        if (rc == IM_OK) {
            compare(vectors, vectors + dim, dim, least);
        }
        at = line_end != end ? line_end + 1 : end;
    }
    im_bytes_clear(&bytes);
    im_free(path);
    return rc;
}

im_code precision_measure(const im_places *places, const char *model_folder, im_pool *pool,
                          double *out_cosine, im_error *err)
{
    im_encoder *encoders[2] = {NULL, NULL};
    const im_precision precisions[2] = {IM_PRECISION_FP32, IM_PRECISION_BF16};
    double least = 1;
    float *vectors = NULL;
    char *folder = im_path_join(places->share, "calibration");
    im_code rc = folder != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    for (size_t i = 0; i < 2 && rc == IM_OK; i++) {
        im_encoder_options options = {.precision = precisions[i], .pool = pool, .batch = 1};
        rc = im_encoder_open(model_folder, &options, &encoders[i], err);
    }
    if (rc !=
        IM_OK) { /* values that are not finite in bf16 speak against it, they are no failure */
        bool overflow =
            encoders[0] != NULL && err != NULL && strcmp(err->reason, "model_bad_output") == 0;
        rc = overflow ? IM_OK : rc;
        least = 0;
        goto out;
    }
    vectors = im_alloc(2 * im_encoder_describe(encoders[0])->dim, sizeof(float));
    rc = vectors != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for vectors");
    if (rc == IM_OK) {
        rc = compare_pictures(encoders[0], encoders[1], folder, vectors, &least, err);
    }
    if (rc == IM_OK) {
        rc = compare_texts(encoders[0], encoders[1], folder, vectors, &least, err);
    }
out:
    if (rc == IM_OK) {
        *out_cosine = least;
    }
    im_free(vectors);
    im_encoder_close(encoders[0]);
    im_encoder_close(encoders[1]);
    im_free(folder);
    return rc;
}

im_precision precision_choose(double cosine, bool fast, const char **out_why)
{
    if (cosine < 0) {
        *out_why = "bf16 was not measured for this model";
        return IM_PRECISION_FP32;
    }
    if (!(cosine >= PRECISION_LEAST_COSINE)) {
        *out_why = "bf16 loses too much with this model";
        return IM_PRECISION_FP32;
    }
    *out_why = fast ? "bf16 was measured to be as good, and is faster here"
                    : "bf16 would be as good, but is not faster on this processor";
    return fast ? IM_PRECISION_BF16 : IM_PRECISION_FP32;
}

static void setting_name(const char *digest, char out[96])
{
    (void)snprintf(out, 96, "bf16_cosine %s", digest);
}

im_code precision_keep(im_store *store, const char *digest, double cosine, im_error *err)
{
    char name[96];
    char value[32];
    setting_name(digest, name);
    (void)snprintf(value, sizeof(value), "%.6f", cosine);
    return im_store_set_setting(store, name, value, err);
}

im_code precision_of(im_store *store, const char *digest, im_precision wanted,
                     precision_choice *out, im_error *err)
{
    char name[96];
    char *value = NULL;
    setting_name(digest, name);
    im_code rc = im_store_get_setting(store, name, &value, err);
    if (rc != IM_OK) {
        return rc;
    }
    out->cosine = value != NULL ? strtod(value, NULL) : -1;
    out->precision = precision_choose(out->cosine, im_encoder_bf16_pays(), &out->why);
    if (wanted != IM_PRECISION_AUTO) {
        out->precision = wanted;
        out->why = "asked for";
    }
    im_free(value);
    return IM_OK;
}

void precision_put(im_json_writer *w, const precision_choice *choice)
{
    im_json_put_string(w, "precision", choice->precision == IM_PRECISION_BF16 ? "bf16" : "fp32");
    im_json_put_string(w, "precision_why", choice->why);
    im_json_key(w, "bf16_cosine");
    if (choice->cosine >= 0) {
        im_json_double(w, choice->cosine);
    } else {
        im_json_null(w);
    }
}
