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
    bool packs;         /* makes files of packed weights */
    char *model_wanted; /* --model; NULL: the active one */
    im_precision precision;
    im_engine engine;
    char *index_params; /* --index-params; NULL: none */
    size_t threads;
    im_pool *pool; /* opened when first needed */

    im_model_row model; /* id 0: not loaded */
    im_encoder *encoder;
    im_towers towers;      /* what encoder was opened with */
    size_t batch;          /* most pictures of its forward pass */
    uint64_t memory_bytes; /* budget of private memory; 0: none */
    bool memory_of_cgroup; /* nobody asked for it */
    uint64_t memory_aside; /* no part of what the encoder may take: `add` decodes too */

    float *text_background; /* [n_text_background, dim] of model text_background_model; or NULL */
    size_t n_text_background;
    uint64_t text_background_model; /* 0: not made yet */

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
    /* engine.c: the FAISS file's index, opened when a search first wants it */
    im_index *ann;
    bool ann_current; /* of the rows of `index`; else only what it read of the file is of use */
    im_engine ann_engine;
    im_faiss_effort ann_effort;
    char ann_digest[65];     /* of its file */
    char ann_bad_digest[65]; /* of a file that was found damaged, as ann_error says */
    im_error ann_error;
};

/* ---- library.c ---- */
IM_NODISCARD im_code library_pool(im_library *library, im_pool **out_pool, im_error *err);
/** Loads the active model's row; library_empty when there is none; model_mismatch when --model
 * names another. */
IM_NODISCARD im_code library_model(im_library *library, im_error *err);
/** Where the files of the loaded model lie: the folder recorded, or one of the same name in today's
 * places when that is gone. A new string. */
IM_NODISCARD im_code library_model_folder(im_library *library, char **out_folder, im_error *err);
/** How the library opens models: threads, batch, what is left of its memory; no packing. */
IM_NODISCARD im_code library_encoder_options(im_library *library, im_towers towers,
                                             im_encoder_options *out, im_error *err);
/** Opens the model of this row in `folder` in the precision that the library works in, from a file
 * of packed weights where it can; events are told when it cannot. */
IM_NODISCARD im_code library_open_encoder(im_library *library, const char *folder,
                                          const im_model_row *row, im_towers towers,
                                          const im_events *events, im_encoder **out, im_error *err);
/** Opens the encoder of the library's model with at least these towers. */
IM_NODISCARD im_code library_encoder(im_library *library, im_towers towers, const im_events *events,
                                     im_error *err);
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

/* ---- precision.c ---- */

#define PRECISION_LEAST_COSINE 0.9995 /* of bf16 to fp32; below it auto stays with fp32 */
#define PRECISION_LEAST_SPEED 1.05    /* of bf16 beside fp32; as above */
#define PRECISION_LEAST_INT8 0.99     /* of int8 to fp32; below it a library refuses it */

/** What a precision gains over fp32. */
typedef struct precision_gain {
    double cosine; /* least one to fp32; below 0: not measured */
    double speed;  /* pictures for each of fp32 in the same time; below 0: not measured on a
                      processor like this one */
} precision_gain;

typedef struct precision_measured {
    precision_gain bf16, int8;
} precision_measured;

typedef struct precision_choice {
    im_precision precision;
    precision_measured measured;
    const char *why; /* static */
} precision_choice;

precision_measured precision_nothing(void);
/** Compares bf16, and int8 when it is wanted, with fp32 over a sample of the calibration pictures
 * and texts; one model is open at a time, as options say (precision and towers are not looked at).
 */
IM_NODISCARD im_code precision_measure(const im_places *places, const char *model_folder,
                                       const im_encoder_options *options, bool int8,
                                       precision_measured *out, im_error *err);
/** What auto means. @param expected_fast  for a processor on which it was not measured */
im_precision precision_choose(const precision_gain *bf16, bool expected_fast, const char **out_why);
/** What a model computes with where no library says more. */
precision_choice precision_unmeasured(im_precision wanted);
/** Keeps what was measured; the caller holds the store's lock. @param digest  of the files */
IM_NODISCARD im_code precision_keep(im_store *store, const char *digest,
                                    const precision_measured *measured, im_error *err);
/** What a model of the library computes with: int8 when its vectors are, else one of fp32 and bf16.
 * @param digest  of the files */
IM_NODISCARD im_code precision_of(im_store *store, const char *digest, bool int8,
                                  im_precision wanted, precision_choice *out, im_error *err);
/** The same of the files of a model, which may be the library's own (packing.c). */
IM_NODISCARD im_code precision_of_files(im_library *library, const char *digest,
                                        im_precision wanted, precision_choice *out, im_error *err);
/** The same of a row. */
IM_NODISCARD im_code precision_of_row(im_store *store, const im_model_row *row, im_precision wanted,
                                      precision_choice *out, im_error *err);
/** unsupported when int8 was measured to lose too much. */
IM_NODISCARD im_code precision_check_int8(const char *model, const precision_measured *measured,
                                          im_error *err);
/** "precision", "precision_why", and cosine and speed of bf16 and int8 of an object. */
void precision_put(im_json_writer *w, const precision_choice *choice);

/* ---- space.c ---- */
bool precision_is_int8(const char *name);
/** What stands for the vectors of a model in one precision class: model rows and indexes have it as
 * their digest. */
void space_of(const char *files_digest, bool int8, char out[65]);
void model_files_digest(const im_model_row *row, char out[65]);
/** True when vectors of that precision do not go with those of the row. */
bool space_differs(const im_model_row *row, im_precision wanted);
/** model_mismatch when --precision is of another class than the library's loaded model. */
IM_NODISCARD im_code space_check(const im_library *library, im_error *err);

/* ---- memory.c ---- */
/** Sets the budget: `asked`, or (0) three fifths of the cgroup's limit when there is one. */
void library_set_memory(im_library *library, uint64_t asked);
/** What may still be taken, beside what SQLite's n_stores connections will; UINT64_MAX without a
 * budget. */
uint64_t library_memory_left(const im_library *library, size_t n_stores);
/** For im_encoder_options.memory_bytes. */
uint64_t library_encoder_memory(const im_library *library);
/** The hint of an encoder that was refused for its memory; others are left alone. */
void library_tell_budget(const im_library *library, im_error *err);
/** memory_budget, naming what is needed and may be used, unless `bytes` more may be taken. */
IM_NODISCARD im_code library_need_memory(const im_library *library, const char *what,
                                         uint64_t bytes, size_t n_stores, im_error *err);
/** Limits of one picture that may take `bytes` with all that is made of it (UINT64_MAX: as asked).
 * asked may be NULL. */
im_image_limits memory_limits(const im_image_limits *asked, uint64_t bytes);

/* ---- own_fields.c ---- */
/** Reads the users' own fields; what was there before is freed. */
IM_NODISCARD im_code own_fields_load(im_store *store, own_fields *out, im_error *err);
/** False when memory is out. */
bool own_fields_add(own_fields *fields, const char *name, im_value_type type);
/** NULL when there is none of that name, in any case. */
const im_own_field *own_fields_find(const own_fields *fields, const char *name);
void own_fields_clear(own_fields *fields);
/** How the store calls the type of a field. */
static inline im_value_type own_value_type(const im_own_field *field)
{
    return (im_value_type)field->type;
}

/* ---- columns.c ---- */
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

/** Codes and columns follow the rows and what was told of them: codes_update, columns_update. */
void library_update_caches(im_library *library, const im_events *events);

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
/** The warning that there are none. */
void codes_tell_none(const im_error *cause, const im_events *events);

/* ---- engine.c, engine_params.c, engine_build.c ---- */
#define ENGINE_SETTING "engine"
#define ENGINE_PARAMS_SETTING "engine_params"

/** Numbers of a FAISS engine; 0: its default. */
typedef struct im_engine_params {
    size_t n_lists, sample, n_links, ef_construction, small; /* how its file is built */
    im_faiss_effort effort;                                  /* how hard it searches */
} im_engine_params;

bool engine_is_faiss(im_engine engine);
/** The library's setting; auto when there is none. */
IM_NODISCARD im_code engine_setting(im_store *store, im_engine *out_engine,
                                    im_engine_params *out_params, im_error *err);
IM_NODISCARD im_code engine_put_setting(im_store *store, im_engine engine,
                                        const im_engine_params *params, im_error *err);
/** "name=number,…" over what is in *out, which is left alone after a failure.
 * @param only_search parameters of building are refused */
IM_NODISCARD im_code engine_params_read(im_engine engine, const char *text, bool only_search,
                                        im_engine_params *out, im_error *err);
void engine_params_write(const im_engine_params *params, im_engine engine, im_str *out);
/** The record of an engine's file; generation 0 when there is none. */
IM_NODISCARD im_code engine_record(im_store *store, uint64_t model, im_engine engine,
                                   im_faiss_record *out, im_error *err);
/** The index that answers a query of this mode and bitmap: library->index (opened by
 * library_index), or that of a FAISS file. When such a file cannot be used `events` is told, and
 * *mode becomes exact. */
IM_NODISCARD im_code engine_index(im_library *library, const uint64_t *bitmap,
                                  const im_events *events, im_search_mode *mode,
                                  im_index **out_index, im_error *err);
/** im_index_search with the index that answers. */
IM_NODISCARD im_code engine_search(im_library *library, const im_index_query *query,
                                   const im_events *events, im_hit *hits,
                                   im_index_answer *out_answer, im_error *err);
void engine_close(im_library *library);
/** "engine", "chosen_engine" and "engine_file" of `status`. */
IM_NODISCARD im_code engine_put_status(im_library *library, const im_model_row *model,
                                       const im_index_record *index, uint64_t n_alive,
                                       const char *own_engine, im_json_writer *w, im_error *err);
/** Builds an engine's file and makes both the library's: record, setting, the other kind's file
 * dropped. Takes the lock, at the end only. */
IM_NODISCARD im_code engine_build(im_store *store, const char *folder, const im_model_row *model,
                                  im_engine engine, const im_engine_params *params,
                                  size_t n_threads, const im_events *events,
                                  im_faiss_record *out_record, im_error *err);
/** Makes the file of the library's own setting anew, if that has one. Never fails: what goes wrong
 * is told as a warning. */
void engine_rebuild(im_store *store, const char *folder, const im_model_row *model,
                    size_t n_threads, const im_events *events);
/** Back to imago's own scans (auto or tiered): files and records go. Takes the lock. */
IM_NODISCARD im_code engine_drop(im_store *store, const char *folder, const im_model_row *model,
                                 im_engine engine, im_error *err);

/* ---- calibration.c ---- */
/** At most `wanted` of the texts that are shipped, evenly spread, through the library's text tower
 * (library_model is the caller's). *out_n 0: there are none. @param out_vectors [n, dim], caller
 * owns */
IM_NODISCARD im_code calibration_texts(im_library *library, size_t wanted, float **out_vectors,
                                       size_t *out_n, im_error *err);
/** What unrelated texts look like to the model; made when first asked for, the library's. n 0: no
 * texts are installed. */
IM_NODISCARD im_code library_text_background(im_library *library, const float **out_vectors,
                                             size_t *out_n, im_error *err);

/* ---- audit_record.c ---- */
/** Keeps the recall. Takes the lock. Never fails: what goes wrong is told as a warning. */
void audit_record_put(im_library *library, const im_audit_report *report, const im_events *events);
/** Fills what is about the audit. */
IM_NODISCARD im_code audit_record_get(im_store *store, im_library_facts *out, im_error *err);

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

/* ---- jobs.c ---- */
typedef struct job_paths {
    char **paths; /* [n], owned with the texts */
    size_t n;
} job_paths;

/** "paths" (UTF-8) and "paths_b64" (what is none) of a job's arguments. */
void job_put_paths(im_json_writer *w, const char *const *paths, size_t n);
/** Cleared by the caller in each case. */
IM_NODISCARD im_code job_read_paths(const json_t *arguments, job_paths *out, im_error *err);
void job_paths_clear(job_paths *paths);

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
 * as any new picture would. One that was imported stays: its vector came without a file. Inside a
 * transaction. */
IM_NODISCARD im_code item_drop_bare(im_store *store, uint64_t item, im_error *err);

/* ---- add_write.c ---- */
/** The vector file of a model ready to take rows behind the committed count, which *record tells;
 * made when there is none, made anew when it is damaged. The lock is held. */
IM_NODISCARD im_code index_writer_ready(im_library *library, const im_model_row *model,
                                        im_index_record *record, im_index_writer **out_writer,
                                        im_error *err);

/* ---- named.c ---- */
typedef struct named_items {
    id_list items; /* each once, ascending */
    uint64_t n_unknown;
    im_error first; /* of what names nothing */
} named_items;

/** Finds what is named; what names nothing is told to events and counted. `out` begins zeroed, with
 * IM_ERROR_INIT; its items are to be cleared in each case. */
IM_NODISCARD im_code items_named(im_library *library, const uint64_t *items, size_t n_items,
                                 const char *const *paths, size_t n_paths, const im_events *events,
                                 named_items *out, im_error *err);
/** IM_OK; IM_ERR_PARTIAL when something named nothing; its own failure when all did. */
IM_NODISCARD im_code items_named_verdict(const named_items *named, im_error *err);

/* ---- item_change.c ---- */
/** What im_app_change_item would refuse of an item that will be made. */
IM_NODISCARD im_code item_change_check(im_library *library, const im_item_change *change,
                                       bool *out_has_key, im_error *err);

/* ---- originals.c ---- */
/** The library's own folder of pictures, absolute. */
IM_NODISCARD im_code originals_folder(const im_library *library, char out[PATH_MAX], im_error *err);
/** The root that this folder is; 0: none yet. */
IM_NODISCARD im_code originals_root(im_library *library, uint64_t *out_root, im_error *err);
/** As originals_folder; it is a root of the library on return, when `make` or when it was one.
 * Takes the lock. */
IM_NODISCARD im_code originals_settle(im_library *library, bool make, char out_folder[PATH_MAX],
                                      im_error *err);
/** FOLDER/ab/ab12….jpg */
IM_NODISCARD im_code originals_path(const char *folder, const uint8_t sha256[32], im_format format,
                                    char out[PATH_MAX], im_error *err);
/** Writes a picture there, durable on return. */
IM_NODISCARD im_code originals_keep(const char *folder, const char *path, im_view bytes,
                                    im_error *err);

/* ---- own.c ---- */
/** "key", "fields", "tags", "captions" and "visible_text" of an item into an open object. */
IM_NODISCARD im_code own_put_json(im_store *store, uint64_t item, im_json_writer *w, im_error *err);
/** "fields": the registered names with their types. */
IM_NODISCARD im_code own_put_registry(im_store *store, im_json_writer *w, im_error *err);

/* ---- model_prepare.c ---- */
/** Makes sure that the library has an active model: the wanted one or the bundled one, with digest
 * and background. Opens the encoder with both towers. */
IM_NODISCARD im_code model_prepare(im_library *library, const im_events *events, im_error *err);
/** The model's files as JSON text with their stamps: a digest is redone only when this differs. */
IM_NODISCARD im_code model_files_json(const char *folder, im_str *out, im_error *err);
/** Names of the calibration pictures in their folder, sorted. */
IM_NODISCARD im_code calibration_names(const char *folder, name_list *out, im_error *err);
/** One of them in the model's frame. @param pixels  [picture_pixels_bytes] */
IM_NODISCARD im_code calibration_picture(const im_encoder *encoder, const char *folder,
                                         const char *name, uint8_t *pixels, im_error *err);
/** Folder of a model by name; NULL: that of the library, or the bundled one. A new string. */
IM_NODISCARD im_code model_folder_of(const im_places *places, im_library *library_or_null,
                                     const char *model, char **out_folder, im_error *err);

/* ---- pictures.c ---- */
/** Reads, decodes and prepares a picture for the encoder.
 * @param out_pixels [S, S, 3], caller owns */
IM_NODISCARD im_code picture_pixels(const im_encoder *encoder, im_view bytes, const char *name,
                                    const im_image_options *options, const im_box *box,
                                    uint8_t *out_pixels, im_error *err);
size_t picture_pixels_bytes(const im_encoder *encoder);
IM_NODISCARD im_code picture_read(const char *path, const im_image_limits *limits, im_bytes *out,
                                  im_error *err);
/** As picture_read, of a file below a folder that was added, also behind links; else path_refused,
 * and nothing was opened. */
IM_NODISCARD im_code picture_read_inside(im_store *store, const char *path,
                                         const im_image_limits *limits, im_bytes *out,
                                         im_error *err);
/** Opens a file below a folder; the kernel itself keeps the look-up below it, whatever links lie or
 * are put there. path_refused. */
IM_NODISCARD im_code path_open_beneath(const char *folder, const char *below, int flags,
                                       int *out_fd, im_error *err);
/** Reads an item's bytes from whichever of its files still holds them: a file whose content has
 * changed since is another picture.
 * @param out_path where they came from, or for the sentence of a failure; new, may be NULL */
IM_NODISCARD im_code picture_read_item(im_store *store, uint64_t item,
                                       const im_image_limits *limits, im_bytes *out,
                                       char **out_path, im_error *err);

/* ---- answer.c ---- */
/** "path" (and "path_b64" when it is not UTF-8); null for NULL. */
void answer_put_path(im_json_writer *w, const char *path);
/** "2026-11-26T10:11:12Z"; null for 0. */
void answer_put_moment(im_json_writer *w, const char *key, int64_t wall_ns);
/** "width", "height", "taken". */
void answer_put_item(im_json_writer *w, const im_item *item);
/** "gps": where it was taken, or null. */
void answer_put_gps(im_json_writer *w, const im_item *item);

/* ---- generation.c ---- */
/** Writes generation + 1 of the model's vector file from the database and makes it the current one.
 * Takes the lock. Nothing is done when the current generation is not `only_generation` any more (0:
 * whichever it is): another process has made a new one meanwhile. interrupted when a stop is asked
 * for; the old files are then as good as they were, as after every failure. */
IM_NODISCARD im_code rebuild_index(im_store *store, const char *index_folder,
                                   const im_model_row *model, uint64_t only_generation,
                                   const im_events *events, uint64_t *out_rows, im_error *err);
/** Writes generation + 1 with the rows that are in use, from the old file (a damaged row: from the
 * database), with codes when they are worth their while, and makes it the current one. Takes the
 * lock. IM_ERR_FULL before anything is written when the disk has no room for it.
 * @param when_due only when a quarter of the rows and 1,000 are dead */
IM_NODISCARD im_code compact_index(im_store *store, const char *index_folder,
                                   const im_model_row *model, bool when_due, im_pool *pool,
                                   const im_events *events, im_compact_report *out, im_error *err);
/** compact_index of the library's model when it is due; never fails. Leftovers of a compaction that
 * was killed are swept in any case. */
void library_compact_when_due(im_library *library, const im_events *events);

/* ---- rebuild.c ---- */
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

/* What the long functions of lower rooms tell their progress to: pass meter_relay_on and &relay. */
typedef struct meter_relay {
    progress_meter meter;
    const im_events *events;
} meter_relay;

/** False when the work is to end (im_stop_asked). */
bool meter_relay_on(void *context, uint64_t done, uint64_t total);

/* ---- packing.c ---- */

/** Progress of a file of packed weights, while a model is opened. */
typedef struct packing_telling {
    im_packing packing;
    progress_meter meter;
    const im_events *events;
    bool started;
} packing_telling;

/** For im_encoder_options.packing; NULL when there is no folder. All is borrowed. */
const im_packing *packing_start(packing_telling *t, const im_places *places, const char *digest,
                                bool make, const im_events *events);
/** A warning when the file was wanted and could not be used. */
void packing_tell(const im_encoder *encoder, const im_events *events);

#endif
