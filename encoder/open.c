/* encoder/open.c — opening a model: weights from a file of packed ones or packed in memory, a
 * self-check, its facts. */
#include "encoder/encoder_internal.h"

#define MAX_BATCH 64u

static im_code check_options(const im_encoder_options *options, im_error *err)
{
    if (options->batch > MAX_BATCH) {
        return im_fail(err, IM_ERR_INVALID, "batch is %zu, expected at most %u", options->batch,
                       MAX_BATCH);
    }
    return IM_OK;
}

const char *im_precision_name(im_precision precision)
{
    static const char *const names[] = {[IM_PRECISION_AUTO] = "auto",
                                        [IM_PRECISION_FP32] = "fp32",
                                        [IM_PRECISION_BF16] = "bf16",
                                        [IM_PRECISION_INT8] = "int8"};
    return names[precision];
}

static const char *activation_name(kernel_activation activation)
{
    switch (activation) {
    case ACTIVATION_GELU:
        return "gelu";
    case ACTIVATION_QUICK_GELU:
        return "quick_gelu";
    case ACTIVATION_GELU_TANH:
        return "gelu_tanh";
    case ACTIVATION_NONE:
        break;
    }
    return "none";
}

/* Values of a tower by its config: exact, since every tensor's shape was checked against it. */
static uint64_t tower_parameters(const tower_config *c)
{
    uint64_t w = c->width;
    return c->layers * (4 * w * w + 4 * w + 2 * w * c->mlp + c->mlp + w + 4 * w);
}

static void fill_info(im_encoder *e, const im_encoder_options *options)
{
    const model_config *c = &e->config;
    im_encoder_info *info = &e->info;
    uint64_t patches = (uint64_t)(c->image_size / c->patch) * (c->image_size / c->patch);
    info->folder = e->folder;
    info->name = e->name;
    info->family = "clip";
    info->dim = c->dim;
    info->preprocess = c->preprocess;
    memcpy(info->mean, c->mean, sizeof(info->mean));
    memcpy(info->std, c->std, sizeof(info->std));
    info->context = c->context;
    info->vocabulary = c->vocabulary;
    info->n_parameters = tower_parameters(&c->image) + tower_parameters(&c->text) +
                         c->image.width * (3 * c->patch * c->patch + 1 + patches + 1 + 4 + c->dim) +
                         c->text.width * (c->vocabulary + c->context + 2 + c->dim) + 1;
    info->weights_bytes = weights_bytes(e->weights);
    info->weights_dtype = weights_dtype(e->weights);
    info->precision = im_precision_name(e->precision);
    info->precision_why = options->precision == IM_PRECISION_AUTO
                              ? "fp32 unless bf16 was measured for the model"
                              : "asked for";
    info->has_bf16 = kernel_has_bf16(e->kernel);
    info->kernel = e->kernel->name;
    if (c->pool_highest) {
        (void)snprintf(e->pooling, sizeof(e->pooling), "highest id");
    } else {
        (void)snprintf(e->pooling, sizeof(e->pooling), "eos_token_id %u", c->eos);
    }
    info->pooling = e->pooling;
    info->packed = e->packed != NULL ? e->packed_path : NULL;
    info->packed_why = e->packed_why;
    info->packed_made = e->packed_made;
    info->packed_bytes = e->packed != NULL ? packed_bytes(e->packed) : 0;
    info->activation = activation_name(c->image.activation);
    info->image_layers = c->image.layers;
    info->image_width = c->image.width;
    info->text_layers = c->text.layers;
    info->text_width = c->text.width;
    info->patch_px = c->patch;
}

im_code encoder_self_check(im_encoder *e, im_error *err)
{
    size_t n = (size_t)e->config.preprocess.crop_w * e->config.preprocess.crop_h * 3;
    float *out = im_alloc(e->config.dim, sizeof(float));
    uint8_t *grey = im_alloc(n, 1);
    im_view text = im_view_from("a photo");
    im_code rc = out != NULL && grey != NULL
                     ? IM_OK
                     : im_fail(err, IM_ERR_NOMEM, "no memory to check a model");
    if (rc == IM_OK && e->has_image) {
        memset(grey, 127, n);
        rc = im_encoder_pictures(e, grey, 1, out, NULL, err);
    }
    if (rc == IM_OK && e->has_text) {
        rc = im_encoder_texts(e, &text, 1, out, NULL, err);
    }
    im_free(grey);
    im_free(out);
    return rc;
}

/* ---- weights ---- */

static void unload_towers(im_encoder *e)
{
    image_tower_clear(&e->image);
    text_tower_clear(&e->text);
    tokenizer_close(e->tokenizer);
    e->tokenizer = NULL;
    packed_close(e->packed);
    e->packed = NULL;
}

static im_code load_towers(im_encoder *e, const im_encoder_options *options, im_error *err)
{
    weight_source source = {.kernel = e->kernel, .weights = e->weights, .packed = e->packed};
    im_code rc = encoder_check_need(e, options, e->packed != NULL, err);
    if (rc == IM_OK && options->towers != IM_TOWERS_IMAGE) {
        rc = e->packed != NULL
                 ? tokenizer_unpack(e->packed, e->config.vocabulary, &e->tokenizer, err)
                 : tokenizer_open(e->folder, e->config.vocabulary, &e->tokenizer, err);
    }
    if (rc == IM_OK && options->towers != IM_TOWERS_TEXT) {
        rc = image_tower_load(e, &source, options->batch != 0 ? options->batch : 8, err);
    }
    if (rc == IM_OK && options->towers != IM_TOWERS_IMAGE) {
        rc = text_tower_load(e, &source, err);
    }
    return rc;
}

static im_code load_mapped(im_encoder *e, const im_encoder_options *options, const char *path,
                           const packed_key *key, im_error *err)
{
    im_code rc = packed_open(path, key, &e->packed, err);
    if (rc == IM_OK) {
        rc = load_towers(e, options, err);
    }
    if (rc == IM_OK) {
        rc = packed_verify(e->packed, e->pool, err);
    }
    if (rc != IM_OK) {
        unload_towers(e);
    }
    return rc;
}

/* Packing in memory would end alike. */
static bool is_final(im_code rc, const im_error *cause)
{
    return rc == IM_OK || rc == IM_ERR_NOMEM || strcmp(cause->reason, "model_bad_output") == 0;
}

/* From the file of packed weights, made first when that is wanted; NULL: there is no such file, and
 * e->packed_why says why. */
static im_code load_packed(im_encoder *e, const im_encoder_options *options, im_error *err)
{
    const im_packing *packing = options->packing;
    packed_key key = {.kernel = e->kernel->name, .precision = im_precision_name(e->precision)};
    im_error cause = IM_ERROR_INIT;
    (void)snprintf(key.digest, sizeof(key.digest), "%s", packing->digest);
    e->packed_path = packed_path(packing->folder, &key);
    if (e->packed_path == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    im_code rc = load_mapped(e, options, e->packed_path, &key, &cause);
    if (!is_final(rc, &cause) && packing->make) {
        rc = packing_make(e, options, e->packed_path, &key, rc != IM_ERR_NOT_FOUND, &cause);
        if (rc == IM_OK) {
            e->packed_made = true;
            rc = load_mapped(e, options, e->packed_path, &key, &cause);
        }
    }
    if (is_final(rc, &cause)) {
        if (rc != IM_OK && err != NULL) {
            *err = cause;
        }
        return rc;
    }
    if (rc != IM_ERR_NOT_FOUND || packing->make) { /* not there is no trouble */
        (void)snprintf(e->packed_why, sizeof(e->packed_why), "%s", cause.message);
    }
    return IM_ERR_NOT_FOUND;
}

static im_code load_weights(im_encoder *e, const im_encoder_options *options, im_error *err)
{
    im_code rc = options->packing != NULL && options->packing->folder != NULL
                     ? load_packed(e, options, err)
                     : IM_ERR_NOT_FOUND;
    if (rc == IM_ERR_NOT_FOUND) {
        rc = load_towers(e, options, err);
    }
    return rc;
}

static im_code load_parts(im_encoder *e, const im_encoder_options *options, im_error *err)
{
    im_code rc = kernel_choose(&e->kernel, err);
    if (rc == IM_OK) {
        rc = model_folder_check(e->folder, err);
    }
    if (rc == IM_OK) {
        rc = config_load(e->folder, &e->config, err);
    }
    if (rc == IM_OK) {
        rc = weights_open(e->folder, &e->weights, err);
    }
    if (rc == IM_OK) {
        rc = load_weights(e, options, err);
    }
    e->has_image = options->towers != IM_TOWERS_TEXT;
    e->has_text = options->towers != IM_TOWERS_IMAGE;
    if (rc == IM_OK && weights_lost(e->weights)) {
        rc = im_fail_as(err, IM_REASON_MODEL_LOST, "model '%s': the weights were cut while read",
                        e->folder);
    }
    return rc;
}

/* ---- the door ---- */

/* "clip" of "models/clip/" (im_free), NULL when memory is out. */
static char *last_part(const char *folder)
{
    size_t end = strlen(folder);
    while (end > 1 && folder[end - 1] == '/') {
        end--;
    }
    size_t start = end;
    while (start > 0 && folder[start - 1] != '/') {
        start--;
    }
    char *name = im_strdup(folder + start);
    if (name != NULL) {
        name[end - start] = '\0';
    }
    return name;
}

im_code im_encoder_open(const char *folder, const im_encoder_options *options,
                        im_encoder **out_encoder, im_error *err)
{
    static const im_encoder_options defaults = {0};
    const im_encoder_options *o = options != NULL ? options : &defaults;
    im_code rc = check_options(o, err);
    if (rc != IM_OK) {
        return rc;
    }
    im_encoder *e = im_alloc_zero(1, sizeof(*e));
    if (e == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a model");
    }
    pthread_mutex_init(&e->lock, NULL);
    e->pool = o->pool;
    e->precision = o->precision == IM_PRECISION_AUTO ? IM_PRECISION_FP32 : o->precision;
    e->folder = im_strdup(folder);
    e->name = last_part(folder);
    if (e->folder == NULL || e->name == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a model");
    }
    if (rc == IM_OK) {
        rc = load_parts(e, o, err);
    }
    if (rc == IM_OK) {
        fill_info(e, o);
        /* a file of packed weights is made of those that passed */
        rc = e->packed == NULL ? encoder_self_check(e, err) : IM_OK;
    }
    if (rc != IM_OK) {
        im_encoder_close(e);
        return rc;
    }
    *out_encoder = e;
    return IM_OK;
}

/* Intel's processors run the instruction at half rate (83 GFLOP/s beside 136 in fp32, measured). */
bool im_encoder_bf16_pays(void)
{
    const kernel *k = NULL;
    im_error ignored = IM_ERROR_INIT;
    return kernel_choose(&k, &ignored) == IM_OK && kernel_has_bf16(k) && kernel_full_rate_bf16();
}

void im_encoder_machine(char out[IM_MACHINE_TEXT])
{
    const kernel *k = NULL;
    char cpu[IM_CPU_NAME];
    im_error ignored = IM_ERROR_INIT;
    im_cpu_name(cpu);
    (void)snprintf(out, IM_MACHINE_TEXT, "%s %s",
                   kernel_choose(&k, &ignored) == IM_OK ? k->name : "-", cpu);
}

void im_encoder_close(im_encoder *e)
{
    if (e == NULL) {
        return;
    }
    unload_towers(e);
    im_free(e->packed_path);
    weights_close(e->weights);
    pthread_mutex_destroy(&e->lock);
    im_free(e->folder);
    im_free(e->name);
    im_free(e);
}

const im_encoder_info *im_encoder_describe(const im_encoder *encoder)
{
    return &encoder->info;
}
