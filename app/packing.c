/* app/packing.c — packed weights of models as files in the user's cache folder: who may make them,
 * what is said of them, and `imago model warm`. Commands that write the library make a file that is
 * missing, and so does a daemon before it is ready; the others map it when it is there, so that a
 * search never waits for one to be made. */
#include "app/app_internal.h"

static void show_packing(void *context, uint64_t done, uint64_t total)
{
    packing_telling *t = context;
    if (!t->started) {
        meter_start(&t->meter, "packing model", total);
        t->started = true;
    }
    if (done == total) {
        t->meter.state.done = done;
        meter_end(&t->meter, t->events);
    } else {
        meter_tick(&t->meter, done, 0, t->events);
    }
}

const im_packing *packing_start(packing_telling *t, const im_places *places, const char *digest,
                                bool make, const im_events *events)
{
    memset(t, 0, sizeof(*t));
    t->events = events;
    t->packing = (im_packing){.folder = places->packed,
                              .digest = digest,
                              .make = make,
                              .progress = show_packing,
                              .context = t};
    return places->packed != NULL ? &t->packing : NULL;
}

void packing_tell(const im_encoder *encoder, const im_events *events)
{
    const char *why = im_encoder_describe(encoder)->packed_why;
    im_str sentence;
    if (why[0] == '\0') {
        return;
    }
    im_str_init(&sentence, 1024);
    im_str_addf(&sentence, "%s: the weights were packed in memory", why);
    event_warning(events, im_str_text(&sentence));
    im_str_clear(&sentence);
}

static bool is_known(const precision_gain *gain)
{
    return gain->cosine >= 0 && gain->speed >= 0;
}

im_code precision_of_files(im_library *library, const char *digest, im_precision wanted,
                           precision_choice *out, im_error *err)
{
    im_model_row active = {0};
    char ours[65];
    im_code rc = im_store_active_model(library->store, &active, err);
    if (rc == IM_OK) {
        model_files_digest(&active, ours);
        rc = precision_of(library->store, digest,
                          active.id != 0 && precision_is_int8(active.precision) &&
                              strcmp(ours, digest) == 0,
                          wanted, out, err);
    }
    im_model_row_clear(&active);
    return rc;
}

/* A model of the library whose cosine is not known, or whose speed was measured on another
 * processor, is measured now. */
static im_code measure_what_lacks(im_library *library, const char *folder, const char *digest,
                                  bool int8, const im_encoder_options *options, im_error *err)
{
    im_model_row row = {0};
    char space[65];
    precision_choice known = {.measured = precision_nothing()};
    precision_measured measured = precision_nothing();
    space_of(digest, int8, space);
    im_code rc = im_store_model_of_digest(library->store, space, &row, err);
    bool ours = rc == IM_OK && row.id != 0 && row.n_background > 0 && library->writable;
    if (ours) {
        rc = precision_of_row(library->store, &row, IM_PRECISION_AUTO, &known, err);
    }
    im_model_row_clear(&row);
    if (rc != IM_OK || !ours ||
        (is_known(&known.measured.bf16) && (!int8 || is_known(&known.measured.int8)))) {
        return rc;
    }
    rc = precision_measure(&library->places, folder, options, int8, &measured, err);
    if (rc == IM_OK) {
        rc = im_store_lock(library->store, IM_LIMIT_LOCK_WAIT_MS, err);
        if (rc == IM_OK) {
            rc = precision_keep(library->store, digest, &measured, err);
            im_store_unlock(library->store);
        }
    }
    return rc;
}

static void put_warm(im_json_writer *w, const im_encoder_info *info, const precision_choice *choice)
{
    im_json_begin_object(w);
    im_json_put_string(w, "model", info->name);
    im_json_put_string(w, "file", info->packed);
    im_json_put_uint(w, "bytes", info->packed_bytes);
    im_json_put_bool(w, "made", info->packed_made);
    im_json_put_string(w, "kernel", info->kernel);
    precision_put(w, choice);
    im_json_end_object(w);
}

im_code im_app_model_warm(const im_places *places, im_library *library_or_null, const char *model,
                          im_precision wanted, const im_events *events, im_json_writer *w,
                          im_error *err)
{
    char *folder = NULL;
    im_encoder *encoder = NULL;
    char digest[65];
    packing_telling telling;
    im_encoder_options options = {.towers = IM_TOWERS_BOTH, .batch = 1};
    precision_choice choice = precision_unmeasured(wanted);
    if (places->packed == NULL) {
        im_code rc = im_fail(err, IM_ERR_INVALID, "there is no folder for packed weights");
        im_hint(err, "set XDG_CACHE_HOME or HOME");
        return rc;
    }
    im_code rc = model_folder_of(places, library_or_null, model, &folder, err);
    if (rc == IM_OK) {
        rc = im_encoder_digest(folder, digest, err);
    }
    if (rc == IM_OK && library_or_null != NULL) {
        rc = library_pool(library_or_null, &options.pool, err);
        options.memory_bytes = library_encoder_memory(library_or_null);
        if (rc == IM_OK) {
            rc = precision_of_files(library_or_null, digest, wanted, &choice, err);
        }
        if (rc == IM_OK) {
            rc = measure_what_lacks(library_or_null, folder, digest,
                                    choice.precision == IM_PRECISION_INT8, &options, err);
        }
        if (rc == IM_OK) {
            rc = precision_of_files(library_or_null, digest, wanted, &choice, err);
        }
    }
    if (rc == IM_OK) {
        options.precision = choice.precision;
        options.packing = packing_start(&telling, places, digest, true, events);
        rc = im_encoder_open(folder, &options, &encoder, err);
    }
    if (rc == IM_OK && im_encoder_describe(encoder)->packed == NULL) {
        rc = im_fail(err, IM_ERR_IO, "%s", im_encoder_describe(encoder)->packed_why);
        im_hint(err, "models work without: their weights are packed in memory each time");
    }
    if (rc == IM_OK) {
        put_warm(w, im_encoder_describe(encoder), &choice);
    }
    im_encoder_close(encoder);
    im_free(folder);
    return rc;
}
