/* app/import_model.c — the model of an import: that of the library, or the one that it would get,
 * and what the folder's model.json says against it. */
#include "app/exchange_internal.h"
#include "base/file.h"

#define MODEL_JSON_BYTES (1u << 20)

/* The model that the library would get by `add`: nothing is written yet. */
static im_code find_new_model(im_library *library, import_model *out, im_error *err)
{
    char *folder = NULL;
    im_pool *pool = NULL;
    im_encoder *encoder = NULL;
    im_code rc = im_app_model_folder(&library->places, library->model_wanted, &folder, err);
    if (rc == IM_OK) {
        rc = library_pool(library, &pool, err);
    }
    if (rc == IM_OK) {
        im_encoder_options options = {
            .precision = library->precision, .towers = IM_TOWERS_TEXT, .pool = pool};
        rc = im_encoder_open(folder, &options, &encoder, err);
    }
    if (rc == IM_OK) {
        rc = im_encoder_digest(folder, out->digest, err);
    }
    if (rc == IM_OK) {
        const im_encoder_info *info = im_encoder_describe(encoder);
        (void)snprintf(out->name, sizeof(out->name), "%s", info->name);
        out->dim = info->dim;
        out->int8 = library->precision == IM_PRECISION_INT8;
        out->is_new = true;
    }
    im_encoder_close(encoder);
    im_free(folder);
    return rc;
}

static im_code find_model(im_library *library, import_model *out, im_error *err)
{
    im_error none = IM_ERROR_INIT;
    im_code rc = library_model(library, &none);
    if (rc == IM_OK) {
        (void)snprintf(out->name, sizeof(out->name), "%s", library->model.name);
        model_files_digest(&library->model, out->digest);
        out->int8 = precision_is_int8(library->model.precision);
        out->dim = library->model.dim;
    } else if (strcmp(none.reason, im_reason_name(IM_REASON_LIBRARY_EMPTY)) == 0) {
        rc = find_new_model(library, out, err);
    } else if (err != NULL) {
        *err = none;
    }
    return rc;
}

static im_code check_number(const json_t *facts, const char *key, uint64_t found, const char *file,
                            im_error *err)
{
    const json_t *value = json_object_get(facts, key);
    if (value == NULL || (json_is_integer(value) && json_integer_value(value) >= 0 &&
                          (uint64_t)json_integer_value(value) == found)) {
        return IM_OK;
    }
    char *text = json_dumps(value, JSON_ENCODE_ANY);
    im_code rc = im_fail(err, IM_ERR_INVALID, "'%s': '%s' is %.40s, but %s has %llu", file, key,
                         text != NULL ? text : "?", EXCHANGE_VECTORS, (unsigned long long)found);
    free(text); /* NOLINT: jansson's own */
    return rc;
}

/* What model.json says of the vectors against the model of the library. */
static im_code compare_model(const import_source *source, const json_t *facts,
                             const import_model *model, im_error *err)
{
    const char *name = json_string_value(json_object_get(facts, "name"));
    const char *digest = json_string_value(json_object_get(facts, "digest"));
    im_code rc = IM_OK;
    if (name == NULL && digest == NULL) {
        return im_fail(err, IM_ERR_FORMAT,
                       "'%s' has neither a 'digest' nor a 'name' that is a text",
                       source->model_name);
    }
    if (digest != NULL ? strcmp(digest, model->digest) != 0 : strcmp(name, model->name) != 0) {
        rc = im_fail_as(err, IM_REASON_MODEL_MISMATCH,
                        "'%s': the vectors were made with model '%.100s' (%.12s), the library's is "
                        "'%.100s' (%.12s)",
                        source->model_name, name != NULL ? name : "?",
                        digest != NULL ? digest : "no digest", model->name, model->digest);
        im_hint(err, "import into a new library: --library DIR --model NAME");
        return rc;
    }
    const char *precision = json_string_value(json_object_get(facts, "precision"));
    if (precision != NULL && precision_is_int8(precision) != model->int8) {
        rc = im_fail_as(err, IM_REASON_MODEL_MISMATCH,
                        "'%s': the vectors are %.20s, the library's are %s and do not compare with "
                        "them",
                        source->model_name, precision, model->int8 ? "int8" : "fp32 or bf16");
        im_hint(err, "import into a new library: --library DIR --precision %s",
                model->int8 ? "fp32" : "int8");
        return rc;
    }
    rc = check_number(facts, "dimension", source->head.dim, source->model_name, err);
    return rc == IM_OK ? check_number(facts, "n", source->head.rows, source->model_name, err) : rc;
}

static im_code check_model_json(const import_source *source, bool trust, const import_model *model,
                                im_error *err)
{
    im_bytes bytes = {0};
    json_t *facts = NULL;
    if (!im_file_exists(source->model_name)) {
        if (trust) {
            return IM_OK;
        }
        im_code rc = im_fail_as(err, IM_REASON_MODEL_MISMATCH,
                                "there is no '%s' that says which model made the vectors; the "
                                "library's is '%.100s'",
                                source->model_name, model->name);
        im_hint(err, "if you know that it was this one: --trust-model");
        return rc;
    }
    im_code rc = im_file_read(source->model_name, MODEL_JSON_BYTES, &bytes, err);
    if (rc == IM_OK) {
        rc = im_json_parse((const char *)bytes.data, bytes.size, source->model_name, &facts, err);
    }
    if (rc == IM_OK) {
        rc = compare_model(source, facts, model, err);
    }
    json_decref(facts);
    im_bytes_clear(&bytes);
    return rc;
}

im_code import_model_check(im_library *library, const import_source *source, bool trust,
                           import_model *out, im_error *err)
{
    im_code rc = find_model(library, out, err);
    if (rc == IM_OK) {
        rc = check_model_json(source, trust, out, err);
    }
    if (rc == IM_OK && source->head.dim != out->dim) {
        rc = im_fail_as(err, IM_REASON_VECTOR_INVALID,
                        "'%s' has vectors of %zu numbers, model '%.100s' makes %zu",
                        source->npy_name, source->head.dim, out->name, out->dim);
        im_hint(err, "vectors of another model need a library of their own");
    }
    return rc;
}
