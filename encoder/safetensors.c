/* encoder/safetensors.c — weights in mapped safetensors files, single or sharded. Every number of a
 * header is checked against the file before an address is computed from it: length word, header,
 * each tensor's dtype, shape and span, no overlap, no gap, nothing behind. */
#include "encoder/encoder_internal.h"

#include <limits.h>

struct weights {
    im_map **maps; /* owned, one per file */
    char **files;  /* owned names */
    size_t n_maps;
    tensor *tensors; /* owned, sorted by name */
    size_t n_tensors, capacity;
    bool f32, f16, bf16;
};

#define LENGTH_BYTES 8u

static im_code wrong_file(im_error *err, const char *file, const char *what)
{
    im_code rc = im_fail_as(err, IM_REASON_MODEL_WEIGHTS, "weights '%s': %s", file, what);
    im_hint(err, "the copy may be cut short: compare its checksum with the publisher's");
    return rc;
}

static im_code wrong_tensor(im_error *err, const char *file, const char *name, const char *what)
{
    return im_fail_as(err, IM_REASON_MODEL_WEIGHTS, "weights '%s': tensor '%.120s' %s", file, name,
                      what);
}

static bool known_type(const char *dtype, tensor_type *out, uint64_t *out_bytes)
{
    static const struct {
        const char *name;
        tensor_type type;
        uint64_t bytes;
    } types[] = {{"F32", TENSOR_F32, 4},   {"F16", TENSOR_F16, 2},   {"BF16", TENSOR_BF16, 2},
                 {"F64", TENSOR_OTHER, 8}, {"I64", TENSOR_OTHER, 8}, {"I32", TENSOR_OTHER, 4},
                 {"I16", TENSOR_OTHER, 2}, {"I8", TENSOR_OTHER, 1},  {"U8", TENSOR_OTHER, 1},
                 {"U16", TENSOR_OTHER, 2}, {"U32", TENSOR_OTHER, 4}, {"U64", TENSOR_OTHER, 8},
                 {"BOOL", TENSOR_OTHER, 1}};
    for (size_t i = 0; i < IM_COUNT(types); i++) {
        if (strcmp(dtype, types[i].name) == 0) {
            *out = types[i].type;
            *out_bytes = types[i].bytes;
            return true;
        }
    }
    return false;
}

static im_code read_shape(tensor *t, const json_t *shape, const char *file, im_error *err)
{
    t->n_values = 1;
    if (!json_is_array(shape) || json_array_size(shape) > IM_COUNT(t->shape)) {
        return wrong_tensor(err, file, t->name, "has no shape of at most 8 dimensions");
    }
    t->n_dims = json_array_size(shape);
    for (size_t i = 0; i < t->n_dims; i++) {
        const json_t *side = json_array_get(shape, i);
        if (!json_is_integer(side) || json_integer_value(side) < 0) {
            return wrong_tensor(err, file, t->name, "has a side that is no whole number");
        }
        t->shape[i] = (uint64_t)json_integer_value(side);
        if (!im_u64_mul(t->n_values, t->shape[i], &t->n_values)) {
            return wrong_tensor(err, file, t->name, "has a shape whose product overflows");
        }
    }
    return IM_OK;
}

static im_code read_tensor(tensor *t, const json_t *entry, const char *file, const uint8_t *data,
                           uint64_t data_bytes, uint64_t span[2], im_error *err)
{
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    const json_t *offsets = json_object_get(entry, "data_offsets");
    uint64_t each = 0;
    uint64_t bytes = 0;
    if (dtype == NULL || !known_type(dtype, &t->type, &each)) {
        return im_fail_as(err, IM_REASON_MODEL_TENSOR,
                          "weights '%s': tensor '%.120s' has dtype '%.20s', expected F32, F16 or "
                          "BF16",
                          file, t->name, dtype != NULL ? dtype : "none");
    }
    im_code rc = read_shape(t, json_object_get(entry, "shape"), file, err);
    if (rc != IM_OK) {
        return rc;
    }
    if (!json_is_array(offsets) || json_array_size(offsets) != 2) {
        return wrong_tensor(err, file, t->name, "has no two data_offsets");
    }
    for (size_t i = 0; i < 2; i++) {
        const json_t *offset = json_array_get(offsets, i);
        if (!json_is_integer(offset) || json_integer_value(offset) < 0) {
            return wrong_tensor(err, file, t->name, "has an offset that is no whole number");
        }
        span[i] = (uint64_t)json_integer_value(offset);
    }
    if (span[0] > span[1] || span[1] > data_bytes) {
        return wrong_tensor(err, file, t->name, "has offsets outside the file");
    }
    if (!im_u64_mul(t->n_values, each, &bytes) || bytes != span[1] - span[0]) {
        return wrong_tensor(err, file, t->name, "has a span that does not fit its shape and dtype");
    }
    t->data = data + span[0];
    return IM_OK;
}

typedef struct span_row {
    uint64_t from, to;
    const char *name;
} span_row;

static int compare_spans(const void *a, const void *b)
{
    const span_row *x = a;
    const span_row *y = b;
    if (x->from != y->from) {
        return x->from < y->from ? -1 : 1;
    }
    return (x->to > y->to) - (x->to < y->to);
}

/* The spans must cover the data exactly: the reference reader refuses anything else too. */
static im_code check_spans(span_row *spans, size_t n, uint64_t data_bytes, const char *file,
                           im_error *err)
{
    uint64_t at = 0;
    if (n > 1) {
        qsort(spans, n, sizeof(*spans), compare_spans);
    }
    for (size_t i = 0; i < n; i++) {
        if (spans[i].from != at) {
            return wrong_tensor(err, file, spans[i].name,
                                spans[i].from < at ? "overlaps another one"
                                                   : "leaves a gap before it");
        }
        at = spans[i].to;
    }
    return at == data_bytes ? IM_OK : wrong_file(err, file, "bytes behind the last tensor");
}

static im_code add_tensor(weights *w, const char *name, tensor **out, im_error *err)
{
    if (w->n_tensors == w->capacity) {
        size_t wanted = w->capacity == 0 ? 256 : w->capacity * 2;
        tensor *grown = im_realloc(w->tensors, wanted, sizeof(*grown));
        if (grown == NULL) {
            return im_fail(err, IM_ERR_NOMEM, "no memory for a list of tensors");
        }
        w->tensors = grown;
        w->capacity = wanted;
    }
    tensor *t = &w->tensors[w->n_tensors];
    memset(t, 0, sizeof(*t));
    t->name = im_strdup(name);
    if (t->name == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a list of tensors");
    }
    w->n_tensors++;
    *out = t;
    return IM_OK;
}

static im_code read_entries(weights *w, json_t *header, const char *file, const uint8_t *data,
                            uint64_t data_bytes, im_error *err)
{
    size_t n = json_object_size(header);
    const char *name = NULL;
    json_t *entry = NULL;
    im_code rc = IM_OK;
    size_t n_spans = 0;
    if (n > IM_LIMIT_MODEL_TENSORS) {
        return im_fail_as(err, IM_REASON_MODEL_WEIGHTS,
                          "weights '%s': %zu tensors, the limit is %u", file, n,
                          IM_LIMIT_MODEL_TENSORS);
    }
    span_row *spans = im_alloc(IM_MAX(n, (size_t)1), sizeof(*spans));
    if (spans == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a list of tensors");
    }
    json_object_foreach(header, name, entry)
    {
        uint64_t span[2];
        tensor *t = NULL;
        if (strcmp(name, "__metadata__") == 0) {
            continue;
        }
        rc = add_tensor(w, name, &t, err);
        if (rc == IM_OK) {
            t->file = file;
            rc = read_tensor(t, entry, file, data, data_bytes, span, err);
        }
        if (rc != IM_OK) {
            break;
        }
        spans[n_spans++] = (span_row){span[0], span[1], t->name};
    }
    if (rc == IM_OK) {
        rc = check_spans(spans, n_spans, data_bytes, file, err);
    }
    im_free(spans);
    return rc;
}

static im_code open_file(weights *w, const char *path, im_error *err)
{
    im_map *map = NULL;
    json_t *header = NULL;
    uint64_t length = 0;
    im_code rc = im_map_open(path, &map, err);
    if (rc != IM_OK) {
        return rc;
    }
    im_map **maps = im_realloc(w->maps, w->n_maps + 1, sizeof(im_map *));
    w->maps = maps != NULL ? maps : w->maps;
    char **files = im_realloc(w->files, w->n_maps + 1, sizeof(char *));
    w->files = files != NULL ? files : w->files;
    char *name = im_strdup(path);
    if (maps == NULL || files == NULL || name == NULL) {
        im_map_close(map);
        im_free(name);
        return im_fail(err, IM_ERR_NOMEM, "no memory for weights");
    }
    w->maps[w->n_maps] = map;
    w->files[w->n_maps++] = name;
    const uint8_t *data = im_map_data(map);
    size_t size = im_map_size(map);
    if (size < LENGTH_BYTES) {
        return im_fail_as(err, IM_REASON_MODEL_WEIGHTS,
                          "weights '%s': %zu bytes, expected at least %u", name, size,
                          LENGTH_BYTES);
    }
    for (size_t i = 0; i < LENGTH_BYTES; i++) {
        length |= (uint64_t)data[i] << (8 * i);
    }
    if (length == 0 || length > IM_LIMIT_MODEL_HEADER_BYTES || length > size - LENGTH_BYTES) {
        return im_fail_as(err, IM_REASON_MODEL_WEIGHTS,
                          "weights '%s': header of %llu bytes in a file of %zu", name,
                          (unsigned long long)length, size);
    }
    rc = im_json_parse((const char *)data + LENGTH_BYTES, (size_t)length, name, &header, err);
    if (rc == IM_OK && !json_is_object(header)) {
        rc = wrong_file(err, name, "header is no JSON object");
    }
    if (rc == IM_OK) {
        rc = read_entries(w, header, name, data + LENGTH_BYTES + length,
                          size - LENGTH_BYTES - length, err);
    }
    json_decref(header);
    return rc;
}

static int compare_tensors(const void *a, const void *b)
{
    return strcmp(((const tensor *)a)->name, ((const tensor *)b)->name);
}

/* Shard names come from a file: only plain names inside the folder are opened. */
static bool plain_name(const char *name)
{
    return name != NULL && name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL &&
           strlen(name) < 200;
}

static im_code open_shards(weights *w, const char *folder, const char *index, im_error *err)
{
    im_bytes bytes = {0};
    json_t *root = NULL;
    const char *name = NULL;
    json_t *value = NULL;
    im_code rc = im_file_read(index, IM_LIMIT_MODEL_JSON_BYTES, &bytes, err);
    if (rc == IM_OK) {
        rc = im_json_parse((const char *)bytes.data, bytes.size, index, &root, err);
    }
    json_t *map = json_object_get(root, "weight_map");
    if (rc == IM_OK && !json_is_object(map)) {
        rc = wrong_file(err, index, "has no weight_map");
    }
    json_object_foreach(map, name, value)
    {
        const char *shard = json_string_value(value);
        bool opened = false;
        if (rc != IM_OK) {
            break;
        }
        if (!plain_name(shard)) {
            rc = im_fail_as(err, IM_REASON_MODEL_WEIGHTS,
                            "weights '%s': shard '%.100s' of tensor '%.100s' is no plain file name",
                            index, shard != NULL ? shard : "", name);
            break;
        }
        char *path = im_path_join(folder, shard);
        if (path == NULL) {
            rc = im_fail(err, IM_ERR_NOMEM, "no memory for a path");
            break;
        }
        for (size_t i = 0; i < w->n_maps; i++) {
            opened = opened || strcmp(w->files[i], path) == 0;
        }
        if (!opened) {
            rc = open_file(w, path, err);
            if (rc == IM_ERR_NOT_FOUND) {
                rc = im_fail_as(err, IM_REASON_MODEL_FILE_MISSING,
                                "model '%s': shard '%s' is missing", folder, shard);
            }
        }
        im_free(path);
    }
    json_decref(root);
    im_bytes_clear(&bytes);
    return rc;
}

/* A name in two shards would make it chance which one is read. */
static im_code sort_tensors(weights *w, im_error *err)
{
    if (w->n_tensors > 1) {
        qsort(w->tensors, w->n_tensors, sizeof(*w->tensors), compare_tensors);
    }
    for (size_t i = 0; i < w->n_tensors; i++) {
        w->f32 = w->f32 || w->tensors[i].type == TENSOR_F32;
        w->f16 = w->f16 || w->tensors[i].type == TENSOR_F16;
        w->bf16 = w->bf16 || w->tensors[i].type == TENSOR_BF16;
        if (i > 0 && strcmp(w->tensors[i].name, w->tensors[i - 1].name) == 0) {
            return wrong_tensor(err, w->tensors[i].file, w->tensors[i].name, "is there twice");
        }
    }
    return IM_OK;
}

im_code weights_open(const char *folder, weights **out_weights, im_error *err)
{
    weights *w = im_alloc_zero(1, sizeof(*w));
    char *single = im_path_join(folder, "model.safetensors");
    char *index = im_path_join(folder, "model.safetensors.index.json");
    im_code rc = w != NULL && single != NULL && index != NULL
                     ? IM_OK
                     : im_fail(err, IM_ERR_NOMEM, "no memory for weights");
    if (rc == IM_OK && im_file_exists(single)) {
        rc = open_file(w, single, err);
    } else if (rc == IM_OK && im_file_exists(index)) {
        rc = open_shards(w, folder, index, err);
    } else if (rc == IM_OK) {
        rc = im_fail_as(err, IM_REASON_MODEL_FILE_MISSING,
                        "model '%s': no model.safetensors and no model.safetensors.index.json",
                        folder);
        im_hint(err, "pickled weights are never read: take a model with safetensors files");
    }
    if (rc == IM_OK) {
        rc = sort_tensors(w, err);
    }
    if (rc == IM_ERR_FORMAT && err != NULL &&
        strcmp(err->reason, im_reason_name(IM_REASON_FORMAT)) == 0) {
        err->reason = im_reason_name(IM_REASON_MODEL_WEIGHTS); /* broken JSON of a header */
    }
    if (rc == IM_OK) {
        *out_weights = w;
        w = NULL;
    }
    weights_close(w);
    im_free(single);
    im_free(index);
    return rc;
}

void weights_close(weights *w)
{
    if (w == NULL) {
        return;
    }
    for (size_t i = 0; i < w->n_maps; i++) {
        im_map_close(w->maps[i]);
        im_free(w->files[i]);
    }
    for (size_t i = 0; i < w->n_tensors; i++) {
        im_free(w->tensors[i].name);
    }
    im_free(w->maps);
    im_free(w->files);
    im_free(w->tensors);
    im_free(w);
}

bool weights_lost(const weights *w)
{
    for (size_t i = 0; i < w->n_maps; i++) {
        if (im_map_lost(w->maps[i])) {
            return true;
        }
    }
    return false;
}

uint64_t weights_bytes(const weights *w)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < w->n_maps; i++) {
        bytes += im_map_size(w->maps[i]);
    }
    return bytes;
}

const char *weights_dtype(const weights *w)
{
    if (w->f32 + w->f16 + w->bf16 != 1) {
        return "mixed";
    }
    return w->f32 ? "F32" : w->f16 ? "F16" : "BF16";
}

static void write_shape(const uint64_t *shape, size_t n, char *out, size_t size)
{
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < n && at + 24 < size; i++) {
        at += (size_t)snprintf(out + at, size - at, "%s%llu", i > 0 ? ", " : "",
                               (unsigned long long)shape[i]);
    }
}

im_code weights_find(const weights *w, const char *name, size_t n_dims, const uint64_t *shape,
                     const tensor **out, im_error *err)
{
    char found[128];
    char expected[128];
    tensor key = {.name = (char *)(uintptr_t)name};
    const tensor *t = w->n_tensors > 0 ? bsearch(&key, w->tensors, w->n_tensors,
                                                 sizeof(*w->tensors), compare_tensors)
                                       : NULL;
    if (t == NULL) {
        return im_fail_as(err, IM_REASON_MODEL_TENSOR, "weights '%s': tensor '%s' is missing",
                          w->n_maps > 0 ? w->files[0] : "", name);
    }
    if (t->type == TENSOR_OTHER) {
        return im_fail_as(err, IM_REASON_MODEL_TENSOR,
                          "weights '%s': tensor '%s' is neither F32 nor F16 nor BF16", t->file,
                          name);
    }
    if (t->n_dims != n_dims || memcmp(t->shape, shape, n_dims * sizeof(*shape)) != 0) {
        write_shape(t->shape, t->n_dims, found, sizeof(found));
        write_shape(shape, n_dims, expected, sizeof(expected));
        return im_fail_as(err, IM_REASON_MODEL_TENSOR,
                          "weights '%s': tensor '%s' has shape [%s], expected [%s]", t->file, name,
                          found, expected);
    }
    *out = t;
    return IM_OK;
}

/* IEEE 754 half to single; subnormals by their value. */
static float from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exponent = (h >> 10) & 31u;
    uint32_t mantissa = h & 1023u;
    uint32_t bits = 0;
    float value = 0;
    if (exponent == 0) {
        value = (float)mantissa * 5.9604644775390625e-8f; /* 2^-24 */
        return sign != 0 ? -value : value;
    }
    exponent = exponent == 31 ? 255 : exponent + 112;
    bits = sign | exponent << 23 | mantissa << 13;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

void tensor_read(const tensor *t, uint64_t first, size_t n, float *out)
{
    if (t->type == TENSOR_F32) {
        memcpy(out, t->data + first * 4, n * sizeof(float));
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint16_t half = 0;
        memcpy(&half, t->data + (first + i) * 2, sizeof(half));
        if (t->type == TENSOR_F16) {
            out[i] = from_f16(half);
        } else {
            uint32_t bits = (uint32_t)half << 16;
            memcpy(&out[i], &bits, sizeof(bits));
        }
    }
}
