/* app/model_prepare.c — preparing a model for a library: digest, background, what bf16 gains, and
 * its row in the database. */
#include "app/app_internal.h"
#include "base/clock.h"

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

/* ---- the background ---- */

static bool is_picture(const char *folder, const char *name)
{
    (void)folder;
    return im_image_name_is_picture(name);
}

im_code calibration_names(const char *folder, name_list *out, im_error *err)
{
    return names_in_folder(folder, is_picture, out, err);
}

im_code calibration_picture(const im_encoder *encoder, const char *folder, const char *name,
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
    im_code rc = folder != NULL ? calibration_names(folder, &names, err)
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
            rc = calibration_picture(encoder, folder, names.names[i + b], pixels + b * one, err);
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

/* ---- opening and recording ---- */

/* A model on its way into a library. */
typedef struct preparation {
    im_library *library;
    const char *folder;
    const im_events *events;
    im_encoder_options options;
    im_str files; /* model_files_json before anything was opened */
    bool int8;    /* the class its vectors will be of */
    im_encoder *encoder;
    im_model_row row; /* id 0 until the library has one */
} preparation;

/* A library keeps its precision class when its model changes, unless another was asked for. */
static im_code choose_class(preparation *p, im_error *err)
{
    im_model_row active = {0};
    im_precision asked = p->library->precision;
    if (asked != IM_PRECISION_AUTO) {
        p->int8 = asked == IM_PRECISION_INT8;
        return IM_OK;
    }
    im_code rc = im_store_active_model(p->library->store, &active, err);
    p->int8 = rc == IM_OK && active.id != 0 && precision_is_int8(active.precision);
    im_model_row_clear(&active);
    return rc;
}

/* In the precision of that class: its digest, and what the library knows of it. */
static im_code open_and_look_up(preparation *p, im_error *err)
{
    char digest[65];
    char space[65];
    im_library *library = p->library;
    im_code rc = choose_class(p, err);
    if (rc == IM_OK) {
        rc = library_encoder_options(library, IM_TOWERS_BOTH, &p->options, err);
    }
    if (rc == IM_OK) {
        rc = model_files_json(p->folder, &p->files, err);
    }
    if (rc == IM_OK) {
        p->options.precision = p->int8 ? IM_PRECISION_INT8 : library->precision;
        rc = im_encoder_open(p->folder, &p->options, &p->encoder, err);
        if (rc != IM_OK) {
            library_tell_budget(library, err);
        }
    }
    if (rc == IM_OK) {
        rc = im_encoder_digest(p->folder, digest, err);
    }
    if (rc == IM_OK) {
        space_of(digest, p->int8, space);
        rc = im_store_model_of_digest(library->store, space, &p->row, err);
    }
    if (rc == IM_OK && p->row.id == 0) {
        memcpy(p->row.digest, space, sizeof(p->row.digest));
    }
    return rc;
}

static void close_encoder(preparation *p)
{
    im_encoder_close(p->encoder);
    p->encoder = NULL;
}

/* Background and what bf16 gains; then the row, under the lock. */
static im_code record(preparation *p, im_error *err)
{
    im_store *store = p->library->store;
    precision_measured measured = precision_nothing();
    char digest[65];
    im_code rc = describe_model(p->library, p->folder, p->encoder, p->events, &p->row, err);
    if (rc == IM_OK && p->row.n_background > 0) {
        close_encoder(p); /* a budget is for one */
        rc =
            precision_measure(&p->library->places, p->folder, &p->options, p->int8, &measured, err);
    }
    if (rc == IM_OK && p->int8) {
        rc = precision_check_int8(p->row.name, &measured, err);
    }
    if (rc == IM_OK) {
        rc = check_unchanged(p->folder, &p->files, err);
    }
    if (rc == IM_OK) {
        rc = im_store_lock(store, IM_LIMIT_LOCK_WAIT_MS, err);
    }
    if (rc != IM_OK) {
        return rc;
    }
    rc = put_model_once(store, &p->row, err);
    if (rc == IM_OK) {
        model_files_digest(&p->row, digest);
        rc = precision_keep(store, digest, &measured, err);
    }
    im_store_unlock(store);
    return rc;
}

/* Opens a model and makes sure that the library has a row for it. What is handed out is opened
 * anew: from packed weights, now that the digest is known, and in the precision to work in (the
 * background is made in fp32 unless told). */
static im_code open_and_record(im_library *library, const char *folder, const im_events *events,
                               im_encoder **out_encoder, im_model_row *out_row, im_error *err)
{
    preparation p = {.library = library, .folder = folder, .events = events};
    im_str_init(&p.files, IM_LIMIT_MODEL_JSON_BYTES);
    im_code rc = open_and_look_up(&p, err);
    if (rc == IM_OK && p.row.id == 0) {
        rc = record(&p, err);
    }
    close_encoder(&p);
    if (rc == IM_OK) {
        rc = library_open_encoder(library, folder, &p.row, IM_TOWERS_BOTH, events, &p.encoder, err);
    }
    if (rc == IM_OK) { /* the digest must be that of what is open now */
        rc = check_unchanged(folder, &p.files, err);
    }
    im_str_clear(&p.files);
    if (rc == IM_OK) {
        *out_encoder = p.encoder;
        *out_row = p.row;
        return IM_OK;
    }
    close_encoder(&p);
    im_model_row_clear(&p.row);
    return rc;
}

/* ---- for a library ---- */

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

/* Not one item has a vector of the new model: their folders are hardly there, and a library that
 * changed over would find nothing. */
static im_code refuse_empty(im_library *library, const im_model_row *row, uint64_t failed,
                            im_code rc, im_error *err)
{
    im_index_record record = {0};
    im_error none = IM_ERROR_INIT;
    im_code got = im_store_get_index(library->store, row->id, &record, &none);
    if (got != IM_OK || record.n_rows > 0) {
        return rc;
    }
    rc = im_fail(err, IM_ERR_NOT_FOUND,
                 "not one of %llu items could be embedded with model '%s': the library stays as "
                 "it is",
                 (unsigned long long)failed, row->name);
    im_hint(err, "are the folders of its pictures there? imago status lists them");
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
    for (embedded = 1; rc == IM_OK && embedded > 0;) { /* again: others may have added some */
        rc = rebuild_missing(library, &row, encoder, events, &embedded, &failed, err);
    }
    if (rc == IM_ERR_PARTIAL && !im_stop_asked()) {
        rc = refuse_empty(library, &row, failed, rc, err);
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
