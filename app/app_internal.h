/* app/app_internal.h — what the files of app/ share. */
#ifndef IM_APP_APP_INTERNAL_H
#define IM_APP_APP_INTERNAL_H

#include "app/app.h"
#include "base/base.h"
#include "base/pool.h"

#define APP_DEFAULT_MODEL "imago-small-1"

struct im_library {
    im_store *store;
    char *folder;
    im_places places; /* own copy */
    bool writable;
    char *model_wanted; /* --model; NULL: the active one */
    im_precision precision;
    im_engine engine;
    size_t threads;
    im_pool *pool; /* opened when first needed */

    im_model_row model; /* id 0: not loaded */
    im_encoder *encoder;
    im_towers towers; /* what encoder was opened with */

    im_index *index;
    uint64_t *alive; /* bit per slot; borrowed by index */
    uint64_t n_alive;
    im_index_record index_record;
    uint64_t index_seq; /* change counter the index was opened at */
};

/* ---- library.c ---- */
IM_NODISCARD im_code library_pool(im_library *library, im_pool **out_pool, im_error *err);
/** Loads the active model's row; library_empty when there is none; model_mismatch when --model
 * names another. */
IM_NODISCARD im_code library_model(im_library *library, im_error *err);
/** Where the files of the loaded model lie: the folder recorded, or one of the same name in today's
 * places when that is gone. A new string. */
IM_NODISCARD im_code library_model_folder(im_library *library, char **out_folder, im_error *err);
/** Opens the encoder of the library's model with at least these towers. */
IM_NODISCARD im_code library_encoder(im_library *library, im_towers towers, im_error *err);
/** Opens the index as of the current read snapshot (im_store_begin_read is the caller's), again
 * when the library has changed since. Damaged files are rebuilt and `events` is told. */
IM_NODISCARD im_code library_index(im_library *library, const im_events *events, im_error *err);
/** Damage that showed at first touch: makes the files anew and opens them, inside the caller's
 * snapshot (which is left and taken again). */
IM_NODISCARD im_code library_mend_index(im_library *library, const im_error *cause,
                                        const im_events *events, im_error *err);
void library_close_index(im_library *library);
/** "FOLDER/index/<digest>", a new string. */
char *library_index_folder(const im_library *library, const char *digest);
void library_index_state(const im_library *library, const im_model_row *model,
                         const im_index_record *record, im_index_state *out);

/* ---- model.c ---- */
/** Makes sure that the library has an active model: the wanted one or the bundled one, with digest
 * and background. Opens the encoder with both towers. */
IM_NODISCARD im_code model_prepare(im_library *library, const im_events *events, im_error *err);
/** The model's files as JSON text with their stamps: a digest is redone only when this differs. */
IM_NODISCARD im_code model_files_json(const char *folder, im_str *out, im_error *err);

/* ---- pictures.c ---- */
/** Reads, decodes and prepares a picture for the encoder.
 * @param out_pixels [S, S, 3], caller owns */
IM_NODISCARD im_code picture_pixels(const im_encoder *encoder, im_view bytes, const char *name,
                                    const im_image_options *options, const im_box *box,
                                    uint8_t *out_pixels, im_error *err);
size_t picture_pixels_bytes(const im_encoder *encoder);
IM_NODISCARD im_code picture_read(const char *path, const im_image_limits *limits, im_bytes *out,
                                  im_error *err);

/* ---- answer.c ---- */
/** "path" (and "path_b64" when it is not UTF-8); null for NULL. */
void answer_put_path(im_json_writer *w, const char *path);
/** "width", "height", "taken". */
void answer_put_item(im_json_writer *w, const im_item *item);

/* ---- rebuild.c ---- */
/** Writes generation + 1 of the model's vector file from the database and makes it the current one.
 * Takes the lock. */
IM_NODISCARD im_code rebuild_index(im_store *store, const char *index_folder,
                                   const im_model_row *model, const im_events *events,
                                   uint64_t *out_rows, im_error *err);
/** Embeds every item of the library that lacks a vector of `model`, from its files. */
IM_NODISCARD im_code rebuild_missing(im_library *library, const im_model_row *model,
                                     im_encoder *encoder, const im_events *events,
                                     uint64_t *out_embedded, uint64_t *out_failed, im_error *err);

/* ---- events ---- */
static inline void event_warning(const im_events *events, const char *sentence)
{
    if (events != NULL && events->warning != NULL) {
        events->warning(events->context, sentence);
    }
}

static inline void event_failed(const im_events *events, const char *path, const im_error *error)
{
    if (events != NULL && events->failed != NULL) {
        events->failed(events->context, path, error);
    }
}

static inline void event_progress(const im_events *events, const im_progress *progress)
{
    if (events != NULL && events->progress != NULL) {
        events->progress(events->context, progress);
    }
}

static inline bool event_confirm(const im_events *events, const char *question)
{
    return events != NULL && events->confirm != NULL && events->confirm(events->context, question);
}

/** Progress of a counted loop, reported at most five times a second. */
typedef struct progress_meter {
    im_progress state;
    uint64_t start_ns;
    uint64_t last_ns;
    uint64_t window_ns; /* start of the window over which the rate is taken */
    uint64_t window_done;
} progress_meter;

void meter_start(progress_meter *meter, const char *stage, uint64_t total);
void meter_tick(progress_meter *meter, uint64_t done, uint64_t failed, const im_events *events);
void meter_end(progress_meter *meter, const im_events *events);

#endif
