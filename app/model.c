/* app/model.c — models by name or folder: finding one, and what is told of it. */
#include "app/app_internal.h"
#include "base/file.h"

#include <limits.h>

/* ---- finding ---- */

/* IM_OK, IM_ERR_NOT_FOUND (nothing told) or IM_ERR_NOMEM. */
static im_code look_for_model(const char *folder, im_error *err)
{
    char *config = im_path_join(folder, "config.json");
    if (config == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    bool is = im_file_exists(config);
    im_free(config);
    return is ? IM_OK : IM_ERR_NOT_FOUND;
}

/* The same of a name in a folder. */
static im_code look_for_name(const char *folder, const char *name, char **out, im_error *err)
{
    *out = im_path_join(folder, name);
    if (*out == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    im_code rc = look_for_model(*out, err);
    if (rc != IM_OK) {
        im_free(*out);
        *out = NULL;
    }
    return rc;
}

static bool is_model(const char *folder, const char *name)
{
    char *path = NULL;
    bool is = look_for_name(folder, name, &path, NULL) == IM_OK;
    im_free(path);
    return is;
}

static char *shared_models(const im_places *places)
{
    return im_path_join(places->share, "models");
}

static im_code absolute(const char *folder, char **out_folder, im_error *err)
{
    char path[PATH_MAX];
    *out_folder = im_strdup(realpath(folder, path) != NULL ? path : folder);
    return *out_folder != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a path");
}

static im_code not_found(const im_places *places, const char *model, im_error *err)
{
    im_str known;
    char *shared = shared_models(places);
    const char *folders[] = {places->models, shared};
    im_str_init(&known, 100);
    for (size_t f = 0; f < 2; f++) {
        name_list names = {0};
        if (folders[f] == NULL || names_in_folder(folders[f], is_model, &names, NULL) != IM_OK) {
            continue;
        }
        for (size_t i = 0; i < names.n; i++) {
            im_str_addf(&known, "%s%s", known.size > 0 ? ", " : "", names.names[i]);
        }
        name_list_clear(&names);
    }
    im_code rc = im_fail_as(err, IM_REASON_MODEL_NOT_FOUND,
                            "model '%s': no such name, and no folder with a config.json", model);
    if (known.size > 0) {
        im_hint(err, "there is: %s", im_str_text(&known));
    } else {
        im_hint(err, "name a model folder, or set IMAGO_DATA to the shipped data");
    }
    im_str_clear(&known);
    im_free(shared);
    return rc;
}

/* A name: the user's own models come first. */
static im_code find_named(const im_places *places, const char *model, char **out, im_error *err)
{
    char *shared = shared_models(places);
    if (shared == NULL) {
        return im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    }
    im_code rc =
        places->models != NULL ? look_for_name(places->models, model, out, err) : IM_ERR_NOT_FOUND;
    if (rc == IM_ERR_NOT_FOUND) {
        rc = look_for_name(shared, model, out, err);
    }
    im_free(shared);
    return rc;
}

im_code im_app_model_folder(const im_places *places, const char *model, char **out_folder,
                            im_error *err)
{
    char *named = NULL;
    if (model == NULL) {
        model = APP_DEFAULT_MODEL;
    }
    im_code rc =
        strchr(model, '/') == NULL ? find_named(places, model, &named, err) : IM_ERR_NOT_FOUND;
    if (rc == IM_ERR_NOT_FOUND && model[0] != '\0') {
        rc = look_for_model(model, err);
    }
    if (rc == IM_OK) {
        rc = absolute(named != NULL ? named : model, out_folder, err);
    } else if (rc == IM_ERR_NOT_FOUND) {
        rc = not_found(places, model, err);
    }
    im_free(named);
    return rc;
}

im_code model_folder_of(const im_places *places, im_library *library_or_null, const char *model,
                        char **out_folder, im_error *err)
{
    im_error ignored = IM_ERROR_INIT;
    if (model != NULL || library_or_null == NULL ||
        library_model(library_or_null, &ignored) != IM_OK) {
        return im_app_model_folder(places, model, out_folder, err);
    }
    return library_model_folder(library_or_null, out_folder, err);
}

/* ---- telling ---- */

static void list_folder(im_json_writer *w, const char *folder, const char *source,
                        const char *active_folder)
{
    name_list names = {0};
    if (folder == NULL || names_in_folder(folder, is_model, &names, NULL) != IM_OK) {
        return;
    }
    for (size_t i = 0; i < names.n; i++) {
        char *path = im_path_join(folder, names.names[i]);
        char real[PATH_MAX];
        const char *shown = path != NULL && realpath(path, real) != NULL ? real : path;
        im_json_begin_object(w);
        im_json_put_string(w, "name", names.names[i]);
        im_json_put_string(w, "folder", shown);
        im_json_put_string(w, "source", source);
        im_json_put_bool(w, "active",
                         active_folder != NULL && shown != NULL &&
                             strcmp(shown, active_folder) == 0);
        im_json_end_object(w);
        im_free(path);
    }
    name_list_clear(&names);
}

typedef struct list_context {
    im_json_writer *w;
    const im_places *places;
    const char *shared;
} list_context;

static bool starts_with(const char *text, const char *start)
{
    return start != NULL && strncmp(text, start, strlen(start)) == 0;
}

/* A model of the library whose folder is in none of the two places. */
static bool list_library_model(void *context, const im_model_row *model)
{
    list_context *c = context;
    char real[PATH_MAX];
    const char *shared = c->shared != NULL && realpath(c->shared, real) != NULL ? real : c->shared;
    if (!starts_with(model->folder, c->places->models) && !starts_with(model->folder, shared)) {
        im_json_begin_object(c->w);
        im_json_put_string(c->w, "name", model->name);
        im_json_put_string(c->w, "folder", model->folder);
        im_json_put_string(c->w, "source", "library");
        im_json_put_bool(c->w, "active", model->state == IM_MODEL_ACTIVE);
        im_json_end_object(c->w);
    }
    return true;
}

im_code im_app_model_list_json(const im_places *places, im_library *library_or_null,
                               im_json_writer *w, im_error *err)
{
    im_model_row active = {0};
    im_code rc = IM_OK;
    char *shared = shared_models(places);
    if (library_or_null != NULL) {
        rc = im_store_active_model(library_or_null->store, &active, err);
    }
    if (rc == IM_OK) {
        list_context context = {w, places, shared};
        im_json_begin_object(w);
        im_json_key(w, "models");
        im_json_begin_array(w);
        list_folder(w, places->models, "user", active.folder);
        list_folder(w, shared, "bundled", active.folder);
        if (library_or_null != NULL) {
            rc = im_store_each_model(library_or_null->store, list_library_model, &context, err);
        }
        im_json_end_array(w);
        im_json_end_object(w);
    }
    im_model_row_clear(&active);
    im_free(shared);
    return rc;
}

static void put_size(im_json_writer *w, const char *key, size_t value)
{
    im_json_put_uint(w, key, (uint64_t)value);
}

static void put_info(im_json_writer *w, const im_encoder_info *info, const char *digest,
                     const precision_choice *choice)
{
    im_json_begin_object(w);
    im_json_put_string(w, "name", info->name);
    im_json_put_string(w, "folder", info->folder);
    im_json_put_string(w, "family", info->family);
    im_json_put_string(w, "digest", digest);
    put_size(w, "dimensions", info->dim);
    put_size(w, "image_size", info->preprocess.crop_w);
    put_size(w, "patch_size", info->patch_px);
    put_size(w, "image_layers", info->image_layers);
    put_size(w, "image_width", info->image_width);
    put_size(w, "text_layers", info->text_layers);
    put_size(w, "text_width", info->text_width);
    put_size(w, "context", info->context);
    put_size(w, "vocabulary", info->vocabulary);
    im_json_put_uint(w, "parameters", info->n_parameters);
    im_json_put_uint(w, "weights_bytes", info->weights_bytes);
    im_json_put_string(w, "weights_dtype", info->weights_dtype);
    im_json_put_string(w, "activation", info->activation);
    im_json_put_string(w, "pooling", info->pooling);
    precision_put(w, choice);
    im_json_put_string(w, "kernel", info->kernel);
    if (info->packed != NULL) {
        im_json_put_string(w, "packed_weights", info->packed);
    } else {
        im_json_put_null(w, "packed_weights");
    }
    im_json_put_string(w, "packed_why",
                       info->packed != NULL       ? ""
                       : info->packed_why[0] != 0 ? info->packed_why
                                                  : "no such file yet: imago model warm");
    im_json_end_object(w);
}

im_code im_app_model_info_json(const im_places *places, im_library *library_or_null,
                               const char *model, im_json_writer *w, im_error *err)
{
    char *folder = NULL;
    im_encoder *encoder = NULL;
    char digest[65];
    packing_telling telling;
    im_encoder_options options = {.towers = IM_TOWERS_BOTH, .batch = 1};
    precision_choice choice = precision_unmeasured(IM_PRECISION_AUTO);
    im_error cause = IM_ERROR_INIT;
    im_code digested = IM_OK;
    im_code rc = model_folder_of(places, library_or_null, model, &folder, err);
    if (rc == IM_OK) { /* what is wrong with the folder is told better when it is opened */
        digested = im_encoder_digest(folder, digest, &cause);
    }
    if (rc == IM_OK && digested == IM_OK && library_or_null != NULL) {
        rc = precision_of_files(library_or_null, digest, library_or_null->precision, &choice, err);
    }
    if (rc == IM_OK) {
        options.precision = choice.precision;
        options.packing =
            digested == IM_OK ? packing_start(&telling, places, digest, false, NULL) : NULL;
        rc = im_encoder_open(folder, &options, &encoder, err);
    }
    if (rc == IM_OK && digested != IM_OK) {
        rc = digested;
        if (err != NULL) {
            *err = cause;
        }
    }
    if (rc == IM_OK) {
        put_info(w, im_encoder_describe(encoder), digest, &choice);
    }
    im_encoder_close(encoder);
    im_free(folder);
    return rc;
}

im_code im_app_model_is_active(im_library *library, const char *model, bool *out, im_error *err)
{
    char *wanted = NULL;
    char *active = NULL;
    *out = false;
    im_code rc = library_model(library, err);
    if (rc == IM_OK) {
        rc = library_model_folder(library, &active, err);
    }
    if (rc == IM_OK) {
        rc = im_app_model_folder(&library->places, model, &wanted, err);
        *out = rc == IM_OK && strcmp(wanted, active) == 0;
        rc = rc == IM_ERR_NOT_FOUND ? IM_OK : rc;
    }
    im_free(wanted);
    im_free(active);
    return rc;
}

im_code im_app_embed_model(im_library *library, char **out_folder, im_precision *out_precision,
                           im_error *err)
{
    precision_choice choice = {0};
    im_code rc = library_model(library, err);
    if (rc == IM_OK) {
        rc = precision_of_row(library->store, &library->model, library->precision, &choice, err);
    }
    if (rc == IM_OK) {
        rc = library_model_folder(library, out_folder, err);
    }
    if (rc == IM_OK) {
        *out_precision = choice.precision;
    }
    return rc;
}
