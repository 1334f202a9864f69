/* app/app_internal.h — what the files of app/ share. */
#ifndef IM_APP_APP_INTERNAL_H
#define IM_APP_APP_INTERNAL_H

#include "app/app.h"
#include "base/base.h"
#include "base/pool.h"

#include <errno.h>
#include <limits.h>
#include <math.h>

#define APP_DEFAULT_MODEL "imago-small-1"
#define APP_DEFAULT_BATCH 8u /* pictures of a forward pass */

/** The users' own fields, as the library registers them. */
typedef struct own_fields {
    im_own_field *fields; /* [n], owned with their names */
    size_t n, capacity;
    bool failed; /* memory was out while they were read */
} own_fields;

/** A bitmap of slots that the database gave, for those who ask the same again. */
typedef struct slot_bitmap {
    char *question; /* owned; NULL: free */
    uint64_t *bits; /* owned */
    uint64_t seq, generation, n_rows;
    uint64_t used; /* when, by count */
} slot_bitmap;

#define APP_SLOT_BITMAPS 16u

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
    size_t batch;     /* most pictures of its forward pass */

    im_index *index;
    uint64_t *alive;   /* bit per slot; borrowed by index */
    uint64_t *present; /* those of which a file is there, or that never had one; NULL: all alive */
    im_index_record index_record;
    uint64_t index_seq; /* change counter the index was opened at */

    own_fields fields;   /* as of the current snapshot (library_fields) */
    im_columns *columns; /* NULL: not open */
    uint64_t columns_generation;
    size_t n_columns;
    slot_bitmap bitmaps[APP_SLOT_BITMAPS];
    uint64_t n_asked; /* bitmaps so far */
};

/* ---- library.c ---- */
IM_NODISCARD im_code library_pool(im_library *library, im_pool **out_pool, im_error *err);
/** Loads the active model's row; library_empty when there is none; model_mismatch when --model
 * names another. */
/* ---- precision.c ---- */

#define PRECISION_LEAST_COSINE 0.9995 /* of bf16 to fp32; below it auto stays with fp32 */

typedef struct precision_choice {
    im_precision precision;
    double cosine;   /* least cosine of bf16 to fp32, below 0 when it was not measured */
    const char *why; /* static */
} precision_choice;

/** The least cosine of bf16 to fp32 over a sample of the calibration pictures and texts. */
IM_NODISCARD im_code precision_measure(const im_places *places, const char *model_folder,
                                       im_pool *pool, double *out_cosine, im_error *err);
/** What auto means. @param fast  bf16 is faster than fp32 on this processor */
im_precision precision_choose(double cosine, bool fast, const char **out_why);
/** Keeps a measured cosine; the caller holds the store's lock. */
IM_NODISCARD im_code precision_keep(im_store *store, const char *digest, double cosine,
                                    im_error *err);
/** What a model of the library computes with. */
IM_NODISCARD im_code precision_of(im_store *store, const char *digest, im_precision wanted,
                                  precision_choice *out, im_error *err);
/** "precision", "precision_why" and "bf16_cosine" of an object. */
void precision_put(im_json_writer *w, const precision_choice *choice);

IM_NODISCARD im_code library_model(im_library *library, im_error *err);
/** Where the files of the loaded model lie: the folder recorded, or one of the same name in today's
 * places when that is gone. A new string. */
IM_NODISCARD im_code library_model_folder(im_library *library, char **out_folder, im_error *err);
/** Opens the encoder of the library's model with at least these towers. */
IM_NODISCARD im_code library_encoder(im_library *library, im_towers towers, im_error *err);
/** Most pictures of a forward pass, from now on. */
void library_set_batch(im_library *library, size_t batch);
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

/* ---- columns.c ---- */
/** Reads the users' own fields; what was there before is freed. */
IM_NODISCARD im_code own_fields_load(im_store *store, own_fields *out, im_error *err);
void own_fields_clear(own_fields *fields);
/** Opens library->columns as of the snapshot that the index was opened at, with the columns of
 * library->fields; makes the file when it is missing, damaged or far behind. */
IM_NODISCARD im_code library_columns(im_library *library, im_error *err);
/** The same, but made from the database whatever is there: a block failed its checksum. */
IM_NODISCARD im_code library_columns_anew(im_library *library, im_error *err);
void library_close_columns(im_library *library);
/** Writes the columns of a model's index when they are missing or far behind. Takes the lock. Never
 * fails: what goes wrong is told as a warning. */
void columns_update(im_store *store, const char *folder, const im_model_row *model,
                    const im_events *events);

/* ---- slot_bitmaps.c ---- */
typedef im_code (*library_slots_fn)(im_store *store, uint64_t model, im_view value, uint64_t n_rows,
                                    uint64_t *bits, im_error *err);
/** Bits of the slots that a question of the store (im_store_slots_of_…) is met by, kept for the
 * next who asks. @param name tells questions apart @param out_bits of all rows, zero at the call */
IM_NODISCARD im_code library_slots(im_library *library, library_slots_fn find, const char *name,
                                   im_view value, uint64_t *out_bits, im_error *err);
void library_forget_bitmaps(im_library *library);

/* ---- codes.c ---- */
/** Makes or extends the codes of a model's index when they are due. Takes the lock. Never fails:
 * what goes wrong is told as a warning. */
void codes_update(im_store *store, const char *folder, const im_model_row *model, im_pool *pool,
                  const im_events *events);

/* ---- lists.c ---- */
typedef struct id_list {
    uint64_t *ids; /* owned */
    size_t n, capacity;
} id_list;

/** False when memory is out. */
bool id_list_add(id_list *list, uint64_t id);
void id_list_sort(id_list *list);
bool id_list_has(const id_list *sorted, uint64_t id);
void id_list_clear(id_list *list);

typedef struct name_list {
    char **names; /* owned, as they are */
    size_t n, capacity;
} name_list;

/** False when memory is out. */
bool name_list_add(name_list *list, const char *name);
void name_list_sort(name_list *list); /* by bytes */
void name_list_clear(name_list *list);
/** The entries of a folder that `keep` wants, in byte order; none when the folder is not there. Dot
 * names are never asked for. */
IM_NODISCARD im_code names_in_folder(const char *folder,
                                     bool (*keep)(const char *folder, const char *name),
                                     name_list *out, im_error *err);

/* ---- roots.c ---- */
typedef struct root_list {
    im_root *roots; /* owned */
    size_t n, capacity;
} root_list;

IM_NODISCARD im_code roots_load(im_store *store, root_list *out, im_error *err);
/** Finds or adds a root, in the library and in the list. *out_root is good until the next put. */
IM_NODISCARD im_code roots_put(im_store *store, root_list *roots, const char *path, bool recursive,
                               const im_root **out_root, im_error *err);
void roots_clear(root_list *roots);
/** These three: NULL when there is none. Paths are absolute. */
const im_root *roots_by_id(const root_list *roots, uint64_t id);
const im_root *roots_of_folder(const root_list *roots, const char *folder);
const im_root *roots_of_file(const root_list *roots, const char *file);
/** Full path of a row, a new string; NULL when memory is out or its root is not in the list. */
char *roots_file_path(const root_list *roots, const im_file_row *file);
/** What of `path` lies below `folder` ("" when they are equal); NULL when it is not below. */
const char *path_below(const char *path, const char *folder);
/** The path as the library writes it, also when the file is gone. */
IM_NODISCARD im_code path_absolute(const char *path, char out[PATH_MAX], im_error *err);

/* ---- items.c ---- */
/** Drops an item that has no file left, so that it is no hit without a path; its content comes back
 * as any new picture would. Inside a transaction. */
IM_NODISCARD im_code item_drop_bare(im_store *store, uint64_t item, im_error *err);

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
/** Reads an item's bytes from whichever of its files still holds them: a file whose content has
 * changed since is another picture.
 * @param out_path where they came from, or for the sentence of a failure; new, may be NULL */
IM_NODISCARD im_code picture_read_item(im_store *store, uint64_t item,
                                       const im_image_limits *limits, im_bytes *out,
                                       char **out_path, im_error *err);

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
