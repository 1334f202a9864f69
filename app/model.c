/* app/model.c — models by name or folder, and preparing one for a library (digest, background). */
#include "app/app_internal.h"
#include "base/clock.h"
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

static bool is_picture(const char *folder, const char *name)
{
    (void)folder;
    return im_image_name_is_picture(name);
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

/* ---- preparing ---- */

im_code model_files_json(const char *folder, im_str *out, im_error *err)
{
    im_model_file *files = NULL;
    size_t n = 0;
    im_json_writer w;
    im_code rc = im_encoder_files(folder, &files, &n, err);
    if (rc != IM_OK) {
        return rc;
    }
    im_json_init(&w, IM_LIMIT_MODEL_JSON_BYTES);
    im_json_begin_array(&w);
    for (size_t i = 0; i < n; i++) {
        im_json_begin_object(&w);
        im_json_put_string(&w, "name", files[i].name);
        im_json_put_uint(&w, "size", files[i].stamp.size);
        im_json_put_int(&w, "mtime_ns", files[i].stamp.mtime_ns);
        im_json_put_uint(&w, "inode", files[i].stamp.inode);
        im_json_end_object(&w);
    }
    im_json_end_array(&w);
    im_str_add(out, im_str_text(&w.out), w.out.size);
    if (!im_json_ok(&w) || out->failed) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for the list of a model's files");
    }
    im_json_clear(&w);
    im_free(files);
    return rc;
}

static im_code background_picture(const im_encoder *encoder, const char *folder, const char *name,
                                  uint8_t *pixels, im_error *err)
{
    im_bytes bytes = {0};
    im_image_options options = {.exact_decode = true};
    char *path = im_path_join(folder, name);
    im_code rc = path != NULL ? IM_OK : im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    if (rc == IM_OK) {
        rc = picture_read(path, NULL, &bytes, err);
    }
    if (rc == IM_OK) {
        rc = picture_pixels(encoder, im_view_of((const char *)bytes.data, bytes.size), path,
                            &options, NULL, pixels, err);
    }
    im_bytes_clear(&bytes);
    im_free(path);
    return rc;
}

#define BACKGROUND_BATCH 16u

/* Encodes the calibration pictures: the background by which every score is standardised. */
static im_code make_background(const im_places *places, im_encoder *encoder,
                               const im_events *events, float **out_vectors, size_t *out_n,
                               im_error *err)
{
    const im_encoder_info *info = im_encoder_describe(encoder);
    char *folder = im_path_join(places->share, "calibration");
    name_list names = {0};
    float *vectors = NULL;
    uint8_t *pixels = NULL;
    progress_meter meter;
    im_code rc = folder != NULL ? names_in_folder(folder, is_picture, &names, err)
                                : im_fail(err, IM_ERR_NOMEM, "no memory for a path");
    size_t n = names.n;
    if (rc != IM_OK || n == 0) {
        goto out;
    }
    size_t one = picture_pixels_bytes(encoder);
    vectors = im_alloc(n, info->dim * sizeof(float));
    pixels = im_alloc(BACKGROUND_BATCH, one);
    if (vectors == NULL || pixels == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for %zu background vectors", n);
        goto out;
    }
    meter_start(&meter, "preparing model", n);
    for (size_t i = 0; i < n && rc == IM_OK; i += BACKGROUND_BATCH) {
        size_t batch = IM_MIN(n - i, BACKGROUND_BATCH);
        for (size_t b = 0; b < batch && rc == IM_OK; b++) {
            rc = background_picture(encoder, folder, names.names[i + b], pixels + b * one, err);
        }
        if (rc == IM_OK && im_stop_asked()) {
            rc = im_fail_as(err, IM_REASON_INTERRUPTED, "stopped while preparing the model");
        }
        if (rc == IM_OK) {
            rc = im_encoder_pictures(encoder, pixels, batch, vectors + i * info->dim, NULL, err);
        }
        meter_tick(&meter, i + batch, 0, events);
    }
    meter_end(&meter, events);
out:
    if (rc == IM_OK) {
        *out_vectors = vectors;
        *out_n = names.n;
        vectors = NULL;
    }
    im_free(vectors);
    im_free(pixels);
    name_list_clear(&names);
    im_free(folder);
    return rc;
}

/* Fills a row with the facts of an opened model and its background. */
static im_code describe_model(im_library *library, const char *folder, im_encoder *encoder,
                              const im_events *events, im_model_row *row, im_error *err)
{
    const im_encoder_info *info = im_encoder_describe(encoder);
    im_str files;
    im_str_init(&files, IM_LIMIT_MODEL_JSON_BYTES);
    row->name = im_strdup(info->name);
    row->folder = im_strdup(folder);
    row->dim = info->dim;
    row->state = IM_MODEL_BUILDING;
    (void)snprintf(row->family, sizeof(row->family), "%s", info->family);
    (void)snprintf(row->precision, sizeof(row->precision), "%s", info->precision);
    im_code rc = model_files_json(folder, &files, err);
    if (rc == IM_OK) {
        row->files = im_strdup(im_str_text(&files));
        if (row->name == NULL || row->folder == NULL || row->files == NULL) {
            rc = im_fail(err, IM_ERR_NOMEM, "no memory for a model's record");
        }
    }
    if (rc == IM_OK) {
        rc = make_background(&library->places, encoder, events, &row->background,
                             &row->n_background, err);
    }
    if (rc == IM_OK && row->n_background == 0) {
        event_warning(events, "no calibration pictures found: scores are plain cosines "
                              "(set IMAGO_DATA to the shipped data)");
    }
    im_str_clear(&files);
    return rc;
}

/* Under the lock: another process may have recorded the same model while we prepared it. */
static im_code put_model_once(im_store *store, im_model_row *row, im_error *err)
{
    im_model_row there = {0};
    im_code rc = im_store_model_of_digest(store, row->digest, &there, err);
    if (rc == IM_OK && there.id == 0) {
        return im_store_put_model(store, row, &row->id, err);
    }
    if (rc == IM_OK) {
        im_model_row_clear(row);
        *row = there;
    }
    return rc;
}

/* The digest and the stamps that are recorded must be those of the files that were opened: `before`
 * is what model_files_json gave before that. */
static im_code check_unchanged(const char *folder, const im_str *before, im_error *err)
{
    im_str after;
    im_str_init(&after, IM_LIMIT_MODEL_JSON_BYTES);
    im_code rc = model_files_json(folder, &after, err);
    if (rc == IM_OK && strcmp(im_str_text(before), im_str_text(&after)) != 0) {
        rc = im_fail_as(err, IM_REASON_MODEL_WEIGHTS,
                        "model folder '%s' was changed while it was opened", folder);
        im_hint(err, "try again when nobody writes to it");
    }
    im_str_clear(&after);
    return rc;
}

/* Opens a model and makes sure that the library has a row for it. */
static im_code open_and_record(im_library *library, const char *folder, const im_events *events,
                               im_encoder **out_encoder, im_model_row *out_row, im_error *err)
{
    im_pool *pool = NULL;
    im_encoder *encoder = NULL;
    char digest[65];
    im_str files;
    im_model_row row = {0};
    precision_choice choice = {0};
    packing_telling telling;
    precision_measured measured = {.cosine = -1, .speed = -1};
    im_str_init(&files, IM_LIMIT_MODEL_JSON_BYTES);
    im_code rc = library_pool(library, &pool, err);
    im_encoder_options options = {.precision = library->precision,
                                  .towers = IM_TOWERS_BOTH,
                                  .pool = pool,
                                  .batch = library->batch,
                                  .memory_bytes = library_encoder_memory(library)};
    if (rc == IM_OK) {
        rc = model_files_json(folder, &files, err);
    }
    if (rc == IM_OK) {
        rc = im_encoder_open(folder, &options, &encoder, err);
        if (rc != IM_OK) {
            library_tell_budget(library, err);
        }
    }
    if (rc == IM_OK) {
        rc = im_encoder_digest(folder, digest, err);
    }
    if (rc == IM_OK) {
        rc = im_store_model_of_digest(library->store, digest, &row, err);
    }
    if (rc == IM_OK && row.id != 0) {
        rc = check_unchanged(folder, &files, err);
    }
    if (rc == IM_OK && row.id == 0) {
        memcpy(row.digest, digest, sizeof(row.digest));
        rc = describe_model(library, folder, encoder, events, &row, err);
        if (rc == IM_OK && row.n_background > 0) { /* with this one closed: a budget is for one */
            im_encoder_close(encoder);
            encoder = NULL;
            rc = precision_measure(&library->places, folder, &options, &measured, err);
        }
        if (rc == IM_OK) {
            rc = check_unchanged(folder, &files, err);
        }
        if (rc == IM_OK) {
            rc = im_store_lock(library->store, IM_LIMIT_LOCK_WAIT_MS, err);
        }
        if (rc == IM_OK) {
            rc = put_model_once(library->store, &row, err);
            if (rc == IM_OK && measured.cosine >= 0) {
                rc = precision_keep(library->store, row.digest, &measured, err);
            }
            im_store_unlock(library->store);
        }
    }
    im_str_clear(&files);
    if (rc == IM_OK) { /* the background is made in fp32 unless told; the work may be in bf16 */
        rc = precision_of(library->store, row.digest, library->precision, &choice, err);
    }
    if (rc == IM_OK) { /* from packed weights this time, now that the digest is known */
        im_encoder_close(encoder);
        encoder = NULL;
        options.precision = choice.precision;
        options.packing = packing_start(&telling, &library->places, row.digest, true, events);
        rc = im_encoder_open(folder, &options, &encoder, err);
    }
    if (rc == IM_OK) {
        packing_tell(encoder, events);
    }
    if (rc == IM_OK) {
        *out_encoder = encoder;
        *out_row = row;
        return IM_OK;
    }
    im_encoder_close(encoder);
    im_model_row_clear(&row);
    return rc;
}

static im_code activate(im_library *library, uint64_t model, im_error *err)
{
    im_code rc = im_store_lock(library->store, IM_LIMIT_LOCK_WAIT_MS, err);
    if (rc == IM_OK) {
        rc = im_store_activate_model(library->store, model, err);
        im_store_unlock(library->store);
    }
    return rc;
}

static void forget_model(im_library *library)
{
    library_close_index(library);
    im_encoder_close(library->encoder);
    library->encoder = NULL;
    im_model_row_clear(&library->model);
}

im_code model_prepare(im_library *library, const im_events *events, im_error *err)
{
    char *folder = NULL;
    im_model_row active = {0};
    im_code rc = im_store_active_model(library->store, &active, err);
    if (rc != IM_OK) {
        return rc;
    }
    uint64_t id = active.id;
    im_model_row_clear(&active);
    if (id != library->model.id) { /* another process changed over since it was loaded */
        forget_model(library);
    }
    if (id != 0) {
        rc = library_model(library, err);
        return rc == IM_OK ? library_encoder(library, IM_TOWERS_BOTH, events, err) : rc;
    }
    rc = im_app_model_folder(&library->places, library->model_wanted, &folder, err);
    if (rc == IM_OK) {
        rc = open_and_record(library, folder, events, &library->encoder, &library->model, err);
    }
    if (rc == IM_OK) {
        library->towers = IM_TOWERS_BOTH;
        rc = activate(library, library->model.id, err);
    }
    im_free(folder);
    return rc;
}

im_code im_app_model_use(im_library *library, const char *model, const im_events *events,
                         im_error *err)
{
    char *folder = NULL;
    im_encoder *encoder = NULL;
    im_model_row row = {0};
    uint64_t embedded = 0;
    uint64_t failed = 0;
    im_code rc = im_app_model_folder(&library->places, model, &folder, err);
    if (rc == IM_OK) {
        rc = open_and_record(library, folder, events, &encoder, &row, err);
    }
    if (rc == IM_OK) {
        rc = rebuild_missing(library, &row, encoder, events, &embedded, &failed, err);
    }
    if (rc == IM_OK || (rc == IM_ERR_PARTIAL && !im_stop_asked())) {
        im_code activated = activate(library, row.id, err);
        rc = activated != IM_OK ? activated : rc;
        forget_model(library);
        char *index = activated == IM_OK ? library_index_folder(library, row.digest) : NULL;
        if (index != NULL) {
            engine_rebuild(library->store, index, &row, library->threads, events);
        }
        im_free(index);
    }
    im_encoder_close(encoder);
    im_model_row_clear(&row);
    im_free(folder);
    return rc;
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
    precision_choice choice = {.measured = {.cosine = -1, .speed = -1}};
    choice.precision = precision_choose(&choice.measured, false, &choice.why);
    im_error cause = IM_ERROR_INIT;
    im_code digested = IM_OK;
    im_code rc = model_folder_of(places, library_or_null, model, &folder, err);
    if (rc == IM_OK) { /* what is wrong with the folder is told better when it is opened */
        digested = im_encoder_digest(folder, digest, &cause);
    }
    if (rc == IM_OK && digested == IM_OK && library_or_null != NULL) {
        rc = precision_of(library_or_null->store, digest, library_or_null->precision, &choice, err);
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
