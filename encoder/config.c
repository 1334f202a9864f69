/* encoder/config.c — config.json and preprocessor_config.json. Absent keys take the values that
 * transformers gives them (CLIPConfig, CLIPImageProcessor); nothing is sized from a number here
 * before the tensors agree with it. */
#include "encoder/encoder_internal.h"

#include <math.h>

#define MAX_CONFIG_BYTES (1u << 20)
#define MAX_PATCHES 65536u /* of a picture: 256 x 256; attention costs their square */

typedef struct reader {
    const char *file;
    im_error *err;
    im_code rc; /* the first failure; later reads do nothing */
} reader;

/* A value as it stands in the file, for sentences. */
static const char *show(const json_t *value, char out[64])
{
    if (json_is_integer(value)) {
        (void)snprintf(out, 64, "%lld", (long long)json_integer_value(value));
    } else if (json_is_real(value)) {
        (void)snprintf(out, 64, "%g", json_real_value(value));
    } else if (json_is_string(value)) {
        (void)snprintf(out, 64, "\"%.40s\"", json_string_value(value));
    } else if (json_is_object(value) || json_is_array(value)) {
        return json_is_object(value) ? "an object" : "a list";
    } else {
        return json_is_true(value) ? "true" : json_is_false(value) ? "false" : "null";
    }
    return out;
}

static uint64_t read_size(reader *r, const json_t *object, const char *key, uint64_t absent,
                          uint64_t least, uint64_t most)
{
    const json_t *value = json_object_get(object, key);
    if (r->rc != IM_OK || value == NULL || json_is_null(value)) {
        return absent;
    }
    if (!json_is_integer(value) || json_integer_value(value) < (json_int_t)least ||
        json_integer_value(value) > (json_int_t)most) {
        char text[64];
        r->rc =
            im_fail_as(r->err, IM_REASON_MODEL_CONFIG,
                       "config '%s': %s is %s, expected a whole number from %llu to %llu", r->file,
                       key, show(value, text), (unsigned long long)least, (unsigned long long)most);
        return absent;
    }
    return (uint64_t)json_integer_value(value);
}

static float read_float(reader *r, const json_t *object, const char *key, double absent)
{
    const json_t *value = json_object_get(object, key);
    if (r->rc != IM_OK || value == NULL || json_is_null(value)) {
        return (float)absent;
    }
    double number = json_number_value(value);
    if (!json_is_number(value) || !isfinite(number) || number <= 0 || number > 1e6) {
        char text[64];
        r->rc = im_fail_as(r->err, IM_REASON_MODEL_CONFIG,
                           "config '%s': %s is %s, expected a number above 0", r->file, key,
                           show(value, text));
    }
    return (float)number;
}

static kernel_activation read_activation(reader *r, const json_t *object)
{
    static const struct {
        const char *name;
        kernel_activation activation;
    } known[] = {{"quick_gelu", ACTIVATION_QUICK_GELU},
                 {"gelu", ACTIVATION_GELU},
                 {"gelu_new", ACTIVATION_GELU_TANH},
                 {"gelu_pytorch_tanh", ACTIVATION_GELU_TANH}};
    const json_t *value = json_object_get(object, "hidden_act");
    const char *name = json_string_value(value);
    if (value == NULL) {
        return ACTIVATION_QUICK_GELU;
    }
    for (size_t i = 0; name != NULL && i < IM_COUNT(known); i++) {
        if (strcmp(name, known[i].name) == 0) {
            return known[i].activation;
        }
    }
    if (r->rc == IM_OK) {
        r->rc = im_fail_as(r->err, IM_REASON_MODEL_CONFIG,
                           "config '%s': hidden_act is '%.40s', expected quick_gelu, gelu, "
                           "gelu_new or gelu_pytorch_tanh",
                           r->file, name != NULL ? name : "no text");
    }
    return ACTIVATION_NONE;
}

static void read_tower(reader *r, const json_t *object, tower_config *t, uint64_t width,
                       uint64_t mlp, uint64_t heads)
{
    t->width = read_size(r, object, "hidden_size", width, 1, IM_LIMIT_MODEL_WIDTH);
    t->mlp = read_size(r, object, "intermediate_size", mlp, 1, 8 * IM_LIMIT_MODEL_WIDTH);
    t->layers = read_size(r, object, "num_hidden_layers", 12, 1, IM_LIMIT_MODEL_LAYERS);
    t->heads = read_size(r, object, "num_attention_heads", heads, 1, IM_LIMIT_MODEL_WIDTH);
    t->eps = read_float(r, object, "layer_norm_eps", 1e-5);
    t->activation = read_activation(r, object);
    if (r->rc == IM_OK && t->width % t->heads != 0) {
        r->rc = im_fail_as(r->err, IM_REASON_MODEL_CONFIG,
                           "config '%s': hidden_size %zu is no multiple of num_attention_heads %zu",
                           r->file, t->width, t->heads);
    }
}

/* A sub-config may be absent, then all of it is default; anything but an object is wrong. */
static const json_t *read_part(reader *r, const json_t *root, const char *key)
{
    const json_t *part = json_object_get(root, key);
    if (part != NULL && !json_is_null(part) && !json_is_object(part) && r->rc == IM_OK) {
        r->rc = im_fail_as(r->err, IM_REASON_MODEL_CONFIG, "config '%s': %s is no object", r->file,
                           key);
    }
    return json_is_object(part) ? part : NULL;
}

static void read_family(reader *r, const json_t *root)
{
    const char *type = json_string_value(json_object_get(root, "model_type"));
    if (!json_is_object(root)) {
        r->rc = im_fail_as(r->err, IM_REASON_MODEL_CONFIG, "config '%s': no JSON object", r->file);
    } else if (type == NULL) {
        r->rc = im_fail_as(r->err, IM_REASON_MODEL_CONFIG,
                           "config '%s': model_type is missing, expected \"clip\"", r->file);
    } else if (strcmp(type, "clip") != 0) {
        r->rc = im_fail_as(r->err, IM_REASON_MODEL_FAMILY,
                           "config '%s': model_type '%.60s' is not handled; handled are: clip",
                           r->file, type);
    }
}

static void read_model(reader *r, const json_t *root, model_config *out)
{
    read_family(r, root);
    const json_t *text = read_part(r, root, "text_config");
    const json_t *image = read_part(r, root, "vision_config");
    out->dim = read_size(r, root, "projection_dim", 512, 1, IM_LIMIT_MODEL_WIDTH);
    read_tower(r, text, &out->text, 512, 2048, 8);
    read_tower(r, image, &out->image, 768, 3072, 12);
    out->vocabulary = read_size(r, text, "vocab_size", 49408, 4, 10000000);
    out->context = read_size(r, text, "max_position_embeddings", 77, 3, 16384);
    out->eos = (uint32_t)read_size(r, text, "eos_token_id", 49407, 0, UINT32_MAX);
    out->pool_highest = out->eos == 2;
    out->image_size = read_size(r, image, "image_size", 224, 1, 8192);
    out->patch = read_size(r, image, "patch_size", 32, 1, 8192);
    uint64_t channels = read_size(r, image, "num_channels", 3, 1, 64);
    if (r->rc == IM_OK && channels != 3) {
        r->rc = im_fail_as(r->err, IM_REASON_MODEL_CONFIG,
                           "config '%s': num_channels is %llu, expected 3", r->file,
                           (unsigned long long)channels);
    }
    if (r->rc == IM_OK && out->patch > out->image_size) {
        r->rc = im_fail_as(r->err, IM_REASON_MODEL_CONFIG,
                           "config '%s': patch_size %zu is larger than image_size %zu", r->file,
                           out->patch, out->image_size);
    }
    size_t side = out->image_size / out->patch;
    if (r->rc == IM_OK && side * side > MAX_PATCHES) {
        r->rc = im_fail_as(r->err, IM_REASON_MODEL_CONFIG,
                           "config '%s': image_size %zu and patch_size %zu make %zu patches, "
                           "expected at most %u",
                           r->file, out->image_size, out->patch, side * side, MAX_PATCHES);
    }
}

/* {"shortest_edge": n}, {"height": h, "width": w} or n. */
static void read_side(reader *r, const json_t *root, const char *key, uint32_t *out_w,
                      uint32_t *out_h, bool *out_shortest)
{
    const json_t *value = json_object_get(root, key);
    *out_shortest = true;
    if (json_is_object(value)) {
        uint64_t edge = read_size(r, value, "shortest_edge", 0, 1, 8192);
        uint64_t w = read_size(r, value, "width", edge, 1, 8192);
        uint64_t h = read_size(r, value, "height", edge, 1, 8192);
        *out_shortest = edge != 0;
        *out_w = (uint32_t)(w != 0 ? w : *out_w);
        *out_h = (uint32_t)(h != 0 ? h : *out_h);
    } else if (value != NULL) {
        uint64_t side = read_size(r, root, key, *out_w, 1, 8192);
        *out_w = *out_h = (uint32_t)side;
    }
}

static void read_triple(reader *r, const json_t *root, const char *key, float out[3])
{
    const json_t *value = json_object_get(root, key);
    if (value == NULL || r->rc != IM_OK) {
        return;
    }
    for (size_t i = 0; i < 3; i++) {
        const json_t *number = json_array_get(value, i);
        double v = json_number_value(number);
        if (!json_is_number(number) || !(v > -1e3 && v < 1e3)) {
            r->rc = im_fail_as(r->err, IM_REASON_MODEL_CONFIG,
                               "config '%s': %s is no list of three numbers", r->file, key);
            return;
        }
        out[i] = (float)v;
    }
}

/* Steps that change the values must be those of the forward pass; another recipe is refused, not
 * ignored: its vectors would be wrong without a word. */
static void check_steps(reader *r, const json_t *root, size_t image_size)
{
    static const char *const needed[] = {"do_resize", "do_rescale", "do_normalize"};
    const json_t *factor = json_object_get(root, "rescale_factor");
    const json_t *size = json_object_get(root, "size");
    for (size_t i = 0; i < IM_COUNT(needed) && r->rc == IM_OK; i++) {
        const json_t *step = json_object_get(root, needed[i]);
        if (step != NULL && !json_is_null(step) && !json_is_true(step)) {
            r->rc = im_fail_as(r->err, IM_REASON_MODEL_CONFIG,
                               "config '%s': %s is not true, which this version cannot follow",
                               r->file, needed[i]);
        }
    }
    if (r->rc == IM_OK && factor != NULL && !json_is_null(factor) &&
        fabs(json_number_value(factor) * 255.0 - 1.0) > 1e-6) {
        r->rc = im_fail_as(r->err, IM_REASON_MODEL_CONFIG,
                           "config '%s': rescale_factor is %g, expected 1/255", r->file,
                           json_number_value(factor));
    }
    /* stretched to both sides: only to the crop's own, else a crop of the stretched picture */
    if (r->rc == IM_OK && json_object_get(size, "shortest_edge") == NULL && json_is_object(size) &&
        (json_integer_value(json_object_get(size, "width")) != (json_int_t)image_size ||
         json_integer_value(json_object_get(size, "height")) != (json_int_t)image_size)) {
        r->rc = im_fail_as(r->err, IM_REASON_MODEL_CONFIG,
                           "config '%s': size is neither a shortest_edge nor the crop's %zu x %zu",
                           r->file, image_size, image_size);
    }
    if (r->rc == IM_OK && json_is_false(json_object_get(root, "do_center_crop")) &&
        json_object_get(size, "shortest_edge") != NULL) {
        r->rc =
            im_fail_as(r->err, IM_REASON_MODEL_CONFIG,
                       "config '%s': do_center_crop is false, so pictures would keep their shape "
                       "and not fit the model",
                       r->file);
    }
}

static void read_preprocess(reader *r, const json_t *root, model_config *out)
{
    if (root != NULL && !json_is_object(root)) {
        r->rc = im_fail_as(r->err, IM_REASON_MODEL_CONFIG, "config '%s': no JSON object", r->file);
        return;
    }
    check_steps(r, root, out->image_size);
    uint32_t w = (uint32_t)out->image_size;
    uint32_t h = w;
    uint32_t crop_w = w;
    uint32_t crop_h = w;
    bool shortest = true;
    bool ignored = false;
    read_side(r, root, "size", &w, &h, &shortest);
    read_side(r, root, "crop_size", &crop_w, &crop_h, &ignored);
    read_triple(r, root, "image_mean", out->mean);
    read_triple(r, root, "image_std", out->std);
    uint64_t resample = read_size(r, root, "resample", IM_RESAMPLE_BICUBIC, 0, 5);
    if (r->rc != IM_OK) {
        return;
    }
    if (crop_w != out->image_size || crop_h != out->image_size) {
        r->rc = im_fail_as(r->err, IM_REASON_MODEL_CONFIG,
                           "config '%s': crop_size %u x %u, expected the model's image_size %zu",
                           r->file, crop_w, crop_h, out->image_size);
        return;
    }
    if (resample != IM_RESAMPLE_BICUBIC && resample != IM_RESAMPLE_BILINEAR &&
        resample != IM_RESAMPLE_LANCZOS) {
        r->rc = im_fail_as(r->err, IM_REASON_MODEL_CONFIG,
                           "config '%s': resample is %llu, expected 1 (lanczos), 2 (bilinear) or 3 "
                           "(bicubic)",
                           r->file, (unsigned long long)resample);
        return;
    }
    for (size_t i = 0; i < 3; i++) {
        if (!(out->std[i] > 0)) {
            r->rc = im_fail_as(r->err, IM_REASON_MODEL_CONFIG,
                               "config '%s': image_std must be above 0", r->file);
        }
    }
    out->preprocess.resize_shortest = shortest ? w : 0;
    out->preprocess.crop_w = crop_w;
    out->preprocess.crop_h = crop_h;
    out->preprocess.resample = (im_resample)resample;
}

im_code config_load(const char *folder, model_config *out, im_error *err)
{
    /* CLIPImageProcessor's own values, for a folder without preprocessor_config.json */
    model_config config = {.mean = {0.48145466f, 0.4578275f, 0.40821073f},
                           .std = {0.26862954f, 0.26130258f, 0.27577711f}};
    json_t *root = NULL;
    char *path = NULL;
    reader r = {.err = err, .rc = IM_OK};
    im_code rc = model_json(folder, "config.json", MAX_CONFIG_BYTES, IM_REASON_MODEL_CONFIG, &root,
                            &path, err);
    if (rc == IM_OK && root == NULL) {
        rc = im_fail_as(err, IM_REASON_MODEL_FILE_MISSING, "model '%s': config.json is missing",
                        folder);
    }
    if (rc == IM_OK) {
        r.file = path;
        read_model(&r, root, &config);
        rc = r.rc;
    }
    json_decref(root);
    im_free(path);
    root = NULL;
    path = NULL;
    if (rc == IM_OK) {
        rc = model_json(folder, "preprocessor_config.json", MAX_CONFIG_BYTES,
                        IM_REASON_MODEL_CONFIG, &root, &path, err);
    }
    if (rc == IM_OK) {
        r.file = path;
        read_preprocess(&r, root, &config);
        rc = r.rc;
    }
    json_decref(root);
    im_free(path);
    if (rc == IM_OK) {
        *out = config;
    }
    return rc;
}
