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
    if (!json_is_array(shape)) {
        return wrong_tensor(err, file, t->name, "has no shape");
    }
    if (json_array_size(shape) > IM_COUNT(t->shape)) {
        return im_fail_as(err, IM_REASON_MODEL_WEIGHTS,
                          "weights '%s': tensor '%.120s' has %zu dimensions, expected at most %zu",
                          file, t->name, json_array_size(shape), IM_COUNT(t->shape));
    }
    t->n_dims = json_array_size(shape);
    for (size_t i = 0; i < t->n_dims; i++) {
        const json_t *side = json_array_get(shape, i);
        if (!json_is_integer(side) || json_integer_value(side) < 0) {
            return wrong_tensor(err, file, t->name, "has a side that is no whole number from 0");
        }
        t->shape[i] = (uint64_t)json_integer_value(side);
        if (!im_u64_mul(t->n_values, t->shape[i], &t->n_values)) {
            return wrong_tensor(err, file, t->name, "has a shape whose product overflows 64 bits");
        }
    }
    return IM_OK;
}

static im_code read_offsets(tensor *t, const json_t *offsets, uint64_t data_bytes, const char *file,
                            im_error *err)
{
    const json_t *from = json_array_get(offsets, 0);
    const json_t *to = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(from) || !json_is_integer(to)) {
        return wrong_tensor(err, file, t->name, "has no data_offsets of two whole numbers");
    }
    if (json_integer_value(from) < 0 || json_integer_value(to) < json_integer_value(from) ||
        (uint64_t)json_integer_value(to) > data_bytes) {
        return im_fail_as(err, IM_REASON_MODEL_WEIGHTS,
                          "weights '%s': tensor '%.120s' has data_offsets [%lld, %lld], expected a "
                          "rising pair within the file's %llu bytes of data",
                          file, t->name, (long long)json_integer_value(from),
                          (long long)json_integer_value(to), (unsigned long long)data_bytes);
    }
    t->from = (uint64_t)json_integer_value(from);
    t->to = (uint64_t)json_integer_value(to);
    return IM_OK;
}

/* Fills a tensor from its entry; no address is computed before all numbers agree. */
static im_code read_tensor(tensor *t, const json_t *entry, const char *file, const uint8_t *data,
                           uint64_t data_bytes, im_error *err)
{
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    uint64_t each = 0;
    uint64_t bytes = 0;
    if (dtype == NULL || !known_type(dtype, &t->type, &each)) {
        return im_fail_as(err, IM_REASON_MODEL_TENSOR,
                          "weights '%s': tensor '%.120s' has dtype '%.20s', expected F32, F16 or "
                          "BF16",
                          file, t->name, dtype != NULL ? dtype : "none");
    }
    im_code rc = read_shape(t, json_object_get(entry, "shape"), file, err);
    if (rc == IM_OK) {
        rc = read_offsets(t, json_object_get(entry, "data_offsets"), data_bytes, file, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    if (!im_u64_mul(t->n_values, each, &bytes)) {
        return wrong_tensor(err, file, t->name, "has a shape whose bytes overflow 64 bits");
    }
    if (bytes != t->to - t->from) {
        return im_fail_as(err, IM_REASON_MODEL_WEIGHTS,
                          "weights '%s': tensor '%.120s' spans %llu bytes, its shape and dtype %s "
                          "need %llu",
                          file, t->name, (unsigned long long)(t->to - t->from), dtype,
                          (unsigned long long)bytes);
    }
    t->data = data + t->from;
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

/* The spans of one file's tensors must cover its data exactly: the reference reader refuses
 * anything else too. */
static im_code check_spans(const tensor *tensors, size_t n, uint64_t data_bytes, const char *file,
                           im_error *err)
{
    uint64_t at = 0;
    im_code rc = IM_OK;
    span_row *spans = im_alloc(IM_MAX(n, (size_t)1), sizeof(*spans));
    if (spans == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a list of tensors");
    }
    for (size_t i = 0; i < n; i++) {
        spans[i] = (span_row){tensors[i].from, tensors[i].to, tensors[i].name};
    }
    if (n > 1) {
        qsort(spans, n, sizeof(*spans), compare_spans);
    }
    for (size_t i = 0; i < n && rc == IM_OK; i++) {
        if (spans[i].from != at) {
            rc = im_fail_as(err, IM_REASON_MODEL_WEIGHTS,
                            "weights '%s': tensor '%.120s' begins at byte %llu of the data, "
                            "expected %llu: %s",
                            file, spans[i].name, (unsigned long long)spans[i].from,
                            (unsigned long long)at,
                            spans[i].from < at ? "it overlaps another one" : "there is a gap");
        }
        at = spans[i].to;
    }
    if (rc == IM_OK && at != data_bytes) {
        rc = im_fail_as(err, IM_REASON_MODEL_WEIGHTS,
                        "weights '%s': %llu bytes behind the last tensor '%.120s'", file,
                        (unsigned long long)(data_bytes - at), n > 0 ? spans[n - 1].name : "");
    }
    im_free(spans);
    return rc;
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

static im_code check_metadata(const json_t *value, const char *file, im_error *err)
{
    const char *key = NULL;
    json_t *text = NULL;
    bool sound = json_is_object(value);
    /* the macro wants it without const; nothing is changed */
    json_object_foreach((json_t *)(uintptr_t)value, key, text)
    {
        sound = sound && json_is_string(text);
    }
    return sound ? IM_OK : wrong_file(err, file, "__metadata__ is no object of texts");
}

static im_code read_member(weights *w, const char *name, const json_t *value, const char *file,
                           const uint8_t *data, uint64_t data_bytes, im_error *err)
{
    tensor *t = NULL;
    if (strcmp(name, "__metadata__") == 0) {
        return check_metadata(value, file, err);
    }
    if (w->n_tensors == IM_LIMIT_MODEL_TENSORS) {
        return im_fail_as(err, IM_REASON_MODEL_WEIGHTS,
                          "weights '%s': more than %u tensors, which is the limit", file,
                          IM_LIMIT_MODEL_TENSORS);
    }
    im_code rc = add_tensor(w, name, &t, err);
    if (rc != IM_OK) {
        return rc;
    }
    t->file = file;
    return read_tensor(t, value, file, data, data_bytes, err);
}

static im_code read_header(weights *w, header_reader *r, const uint8_t *data, uint64_t data_bytes,
                           im_error *err)
{
    size_t first = w->n_tensors;
    im_code rc = IM_OK;
    for (bool more = true; more && rc == IM_OK;) {
        json_t *name = NULL;
        json_t *value = NULL;
        rc = header_next(r, &name, &value, err);
        more = name != NULL;
        if (rc == IM_OK && more) {
            rc = read_member(w, json_string_value(name), value, r->file, data, data_bytes, err);
        }
        json_decref(name);
        json_decref(value);
    }
    size_t n = w->n_tensors - first;
    const tensor *tensors = n > 0 ? w->tensors + first : NULL;
    return rc == IM_OK ? check_spans(tensors, n, data_bytes, r->file, err) : rc;
}

/* Maps a file and keeps it with its name. */
static im_code map_file(weights *w, const char *path, im_error *err)
{
    im_map *map = NULL;
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
    return IM_OK;
}

static im_code open_file(weights *w, const char *path, im_error *err)
{
    uint64_t length = 0;
    im_code rc = map_file(w, path, err);
    if (rc != IM_OK) {
        return rc;
    }
    const char *name = w->files[w->n_maps - 1];
    const im_map *map = w->maps[w->n_maps - 1];
    const uint8_t *data = im_map_data(map);
    size_t size = im_map_size(map);
    if (size < LENGTH_BYTES) {
        rc = im_fail_as(err, IM_REASON_MODEL_WEIGHTS,
                        "weights '%s': file of %zu bytes, expected at least %u", name, size,
                        LENGTH_BYTES);
        return rc;
    }
    for (size_t i = 0; i < LENGTH_BYTES; i++) {
        length |= (uint64_t)data[i] << (8 * i);
    }
    if (length < 2 || length > IM_LIMIT_MODEL_HEADER_BYTES || length > size - LENGTH_BYTES) {
        return im_fail_as(
            err, IM_REASON_MODEL_WEIGHTS,
            "weights '%s': header of %llu bytes in a file of %zu, expected 2 to %llu", name,
            (unsigned long long)length, size,
            IM_MIN((unsigned long long)(size - LENGTH_BYTES), IM_LIMIT_MODEL_HEADER_BYTES));
    }
    header_reader reader = {
        .text = (const char *)data + LENGTH_BYTES, .size = (size_t)length, .file = name};
    rc = read_header(w, &reader, data + LENGTH_BYTES + length, size - LENGTH_BYTES - length, err);
    if (rc != IM_OK && im_map_lost(map)) {
        rc = im_fail_as(err, IM_REASON_MODEL_LOST, "weights '%s' were cut while they were read",
                        name);
    }
    return rc;
}

static int compare_tensors(const void *a, const void *b)
{
    return strcmp(((const tensor *)a)->name, ((const tensor *)b)->name);
}

#define MAX_SHARDS 512u

/* Opens the shard of one tensor unless it is open. Shard names come from a file: only names that
 * the digest covers are opened, and none with a folder in it. */
static im_code open_shard(weights *w, const char *folder, const char *index, const char *shard,
                          const char *name, im_error *err)
{
    char *path = NULL;
    bool there = false;
    if (shard == NULL || !model_weights_name(shard)) {
        return im_fail_as(err, IM_REASON_MODEL_WEIGHTS,
                          "weights '%s': shard '%.100s' of tensor '%.100s', expected a name like "
                          "model-00001-of-00002.safetensors",
                          index, shard != NULL ? shard : "", name);
    }
    im_code rc = model_path(folder, shard, &path, &there, err);
    if (rc == IM_OK && !there) {
        rc =
            im_fail_as(err, IM_REASON_MODEL_FILE_MISSING,
                       "model '%s': shard '%s' of tensor '%.100s' is missing", folder, shard, name);
    }
    bool opened = false;
    for (size_t i = w->n_maps; i > 0 && !opened && rc == IM_OK; i--) { /* mostly the last one */
        opened = strcmp(w->files[i - 1], path) == 0;
    }
    if (rc == IM_OK && !opened && w->n_maps == MAX_SHARDS) {
        rc = im_fail_as(err, IM_REASON_MODEL_WEIGHTS,
                        "weights '%s': more than %u shards, which is the limit", index, MAX_SHARDS);
    }
    if (rc == IM_OK && !opened) {
        rc = open_file(w, path, err);
    }
    im_free(path);
    return rc;
}

static im_code open_shards(weights *w, const char *folder, const json_t *root, const char *index,
                           im_error *err)
{
    const char *name = NULL;
    json_t *value = NULL;
    const char *last = NULL;
    im_code rc = IM_OK;
    json_t *map = json_object_get(root, "weight_map");
    if (!json_is_object(map) || json_object_size(map) == 0) {
        return wrong_file(err, index, "has no weight_map");
    }
    if (json_object_size(map) > IM_LIMIT_MODEL_TENSORS) {
        return im_fail_as(err, IM_REASON_MODEL_WEIGHTS,
                          "weights '%s': %zu tensors, the limit is %u", index,
                          json_object_size(map), IM_LIMIT_MODEL_TENSORS);
    }
    json_object_foreach(map, name, value)
    {
        const char *shard = json_string_value(value);
        if (rc != IM_OK) {
            break;
        }
        if (shard == NULL || last == NULL || strcmp(shard, last) != 0) {
            rc = open_shard(w, folder, index, shard, name, err);
            last = shard;
        }
    }
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

static im_code open_single_or_shards(weights *w, const char *folder, im_error *err)
{
    char *path = NULL;
    json_t *index = NULL;
    bool there = false;
    im_code rc = model_path(folder, "model.safetensors", &path, &there, err);
    if (rc == IM_OK && there) {
        rc = open_file(w, path, err);
    } else if (rc == IM_OK) {
        im_free(path);
        rc = model_json(folder, "model.safetensors.index.json", IM_LIMIT_MODEL_JSON_BYTES,
                        IM_REASON_MODEL_WEIGHTS, &index, &path, err);
        if (rc == IM_OK && index != NULL) {
            rc = open_shards(w, folder, index, path, err);
        } else if (rc == IM_OK) {
            rc = im_fail_as(err, IM_REASON_MODEL_FILE_MISSING,
                            "model '%s': no model.safetensors and no model.safetensors.index.json",
                            folder);
            im_hint(err, "pickled weights are never read: take a model with safetensors files");
        }
    }
    json_decref(index);
    im_free(path);
    return rc;
}

im_code weights_open(const char *folder, weights **out_weights, im_error *err)
{
    weights *w = im_alloc_zero(1, sizeof(*w));
    im_code rc = w != NULL ? open_single_or_shards(w, folder, err)
                           : im_fail(err, IM_ERR_NOMEM, "no memory for weights");
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
