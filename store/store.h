/* store/store.h — the library on disk: library.db, its lock, reserve and folders; the door of
 * store/ and the only room with SQL. library.db is, with originals/, the only truth.
 *
 * An im_store may be used by one thread at a time. Several processes may hold one library open:
 * readers never wait for the writer, writers take turns (flock on `lock`, held per batch).
 * Every im_store_* that writes and is not inside im_store_begin/commit is a transaction of its own.
 */
#ifndef IM_STORE_STORE_H
#define IM_STORE_STORE_H

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IM_STORE_SCHEMA 3                  /* user_version */
#define IM_STORE_APPLICATION_ID 0x494d4147 /* "IMAG" */

typedef struct im_store im_store;

typedef enum im_store_mode { IM_STORE_READ, IM_STORE_WRITE } im_store_mode;

/* ---- opening ---- */

/** Makes the folder (parents too), library.db (page_size 16384, WAL), reserve, originals/, index/,
 * thumbs/, lock; all of it is durable on return. library_exists when there is one; UNSUPPORTED on a
 * network file system. A creation that was killed is finished by calling it again. */
IM_NODISCARD im_code im_store_create(const char *folder, im_error *err);
/** Opens a library. library_not_found, library_foreign (5), library_newer (7), damaged (15),
 * denied (11). IM_STORE_READ also works on a read-only mount or folder. An older schema is migrated
 * when opened for writing (by a reader too, when the folder can be written), a copy of the old kept
 * until that has succeeded. A folder or database without any w in its mode is read-only for root
 * too. On a disk without a byte of room a writer gives the reserve back by itself. */
IM_NODISCARD im_code im_store_open(const char *folder, im_store_mode mode, im_store **out_store,
                                   im_error *err);
void im_store_close(im_store *store);

const char *im_store_folder(const im_store *store);
void im_store_id(const im_store *store, uint8_t out_id[16]); /* made at creation, random */

/* ---- lock and transactions ---- */

/** Takes the writer's lock, waiting up to wait_ms (library_busy names the holder's pid; interrupted
 * when im_stop_asked meanwhile). Nests: as many unlocks as locks. */
IM_NODISCARD im_code im_store_lock(im_store *store, uint32_t wait_ms, im_error *err);
void im_store_unlock(im_store *store);

/** One transaction over several calls; takes the lock itself (60 s) when it is not held. commit is
 * durable on return (synchronous=FULL). A commit that fails rolls back. A call that fails without
 * having changed anything (conflict, not found) leaves the rest to be committed; after one that
 * failed half way commit returns that failure. After a failed sync (IM_ERR_IO) the store writes
 * nothing more until it is opened again. Disk full is IM_ERR_FULL; `reserve` is given back by
 * im_store_release_reserve so that removals still work. */
IM_NODISCARD im_code im_store_begin(im_store *store, im_error *err);
IM_NODISCARD im_code im_store_commit(im_store *store, im_error *err);
void im_store_rollback(im_store *store);
/** Read snapshot: between begin_read and end_read all reads see one moment. Not to be held while
 * waiting for a person or a socket: it keeps the WAL from being written back. One that is older
 * than 30 s while the WAL is above 256 MiB is given up: its next read is library_busy. */
IM_NODISCARD im_code im_store_begin_read(im_store *store, im_error *err);
void im_store_end_read(im_store *store);
/** Deletes / makes again the 4 MiB reserve file. */
void im_store_release_reserve(im_store *store);
void im_store_refill_reserve(im_store *store);

/* ---- settings ---- */
/** *out_value is a new string (im_free), NULL when unset. */
IM_NODISCARD im_code im_store_get_setting(im_store *store, const char *name, char **out_value,
                                          im_error *err);
/** value NULL unsets. */
IM_NODISCARD im_code im_store_set_setting(im_store *store, const char *name, const char *value,
                                          im_error *err);

/* ---- API keys ---- */

/** What the bearer of a key may do; each scope holds those before it. */
typedef enum im_key_scope { IM_KEY_NONE, IM_KEY_READ, IM_KEY_WRITE, IM_KEY_ADMIN } im_key_scope;
const char *im_key_scope_name(im_key_scope scope); /* "none", "read", "write", "admin" */
/** False when `name` is none of the last three. */
bool im_key_scope_of(im_view name, im_key_scope *out);

typedef struct im_key {
    uint64_t id;
    im_view name;
    const uint8_t *hash; /* [32]: SHA-256 of the key, which is not kept itself */
    im_key_scope scope;
    int64_t made_ns;
    int64_t revoked_ns; /* 0: it is valid */
} im_key;

/** @param name "" or a line of at most IM_LIMIT_KEY_NAME_BYTES
 * @return IM_ERR_INVALID for another name; IM_ERR_LIMIT when there are IM_LIMIT_KEYS;
 * IM_ERR_CONFLICT for a hash that is there */
IM_NODISCARD im_code im_store_add_key(im_store *store, im_view name, const uint8_t hash[32],
                                      im_key_scope scope, uint64_t *out_id, im_error *err);
/** All that were ever made, by id. A row whose scope is not known here is told as revoked. */
typedef bool (*im_store_key_fn)(void *context, const im_key *key);
IM_NODISCARD im_code im_store_each_key(im_store *store, im_store_key_fn fn, void *context,
                                       im_error *err);
/** The row stays; revoking twice changes nothing. key_not_found. */
IM_NODISCARD im_code im_store_revoke_key(im_store *store, uint64_t id, im_error *err);
/** A number that is another one after a commit of any other store of this library. A look into
 * shared memory, not at the file. */
IM_NODISCARD im_code im_store_version(im_store *store, uint64_t *out_version, im_error *err);

/* ---- roots ---- */
typedef struct im_root {
    uint64_t id;
    char *path; /* owned by whoever holds the struct; absolute, raw bytes */
    bool recursive;
    bool online; /* as last seen */
    bool watch;  /* a daemon follows its changes */
} im_root;

void im_root_clear(im_root *root);
/** Finds or adds a root by its absolute path. */
IM_NODISCARD im_code im_store_put_root(im_store *store, const char *path, bool recursive,
                                       uint64_t *out_root, im_error *err);
IM_NODISCARD im_code im_store_set_root_online(im_store *store, uint64_t root, bool online,
                                              im_error *err);
IM_NODISCARD im_code im_store_set_root_watch(im_store *store, uint64_t root, bool watch,
                                             im_error *err);
/** Forgets a root without files (conflict: it has some), with its failures. */
IM_NODISCARD im_code im_store_drop_root(im_store *store, uint64_t root, im_error *err);
typedef struct im_root_counts {
    uint64_t files, missing_files, items, failures;
} im_root_counts;
IM_NODISCARD im_code im_store_count_root(im_store *store, uint64_t root, im_root_counts *out,
                                         im_error *err);
/* Callbacks of every im_store_each_…: false stops; what they are given is borrowed for the call.
 * They may call this store, also to write, but not end its transaction or snapshot. */
typedef bool (*im_store_root_fn)(void *context, const im_root *root);
IM_NODISCARD im_code im_store_each_root(im_store *store, im_store_root_fn fn, void *context,
                                        im_error *err);
IM_NODISCARD im_code im_store_move_root(im_store *store, uint64_t root, const char *new_path,
                                        im_error *err);

/* ---- items and files ---- */

/** One picture by content. */
typedef struct im_item {
    uint64_t id;
    uint8_t sha256[32];
    uint64_t bytes;
    char format[12];
    uint32_t width, height;
    uint64_t phash;
    bool partial;
    bool has_taken;
    int64_t taken_s; /* local clock of the camera, as in im_image_info */
    bool has_taken_offset;
    int16_t taken_offset_min;
    bool has_gps;
    double latitude, longitude;
    char camera[96];
    char lens[96];
    int64_t added_ns;
    char source[8]; /* how it came: "file" (also when empty), "upload", "import" */
} im_item;

/** One path. */
typedef struct im_file_row {
    uint64_t id;
    uint64_t root;
    im_view
        path; /* relative to the root, raw bytes; borrowed for the callback, else owned by caller */
    im_file_stamp stamp;
    int64_t hashed_ns; /* wall time of the last hashing: racy stamps are hashed again */
    uint64_t edges;    /* hash of the first and last 64 KiB (0 = not known): tells a move cheaply */
    uint64_t item;
    bool missing;
    int64_t missing_since_ns;
} im_file_row;

/** The file row of a path, out->id 0 when there is none. out->path is `path`. */
IM_NODISCARD im_code im_store_find_file(im_store *store, uint64_t root, im_view path,
                                        im_file_row *out, im_error *err);
/** Present file rows elsewhere with this stamp (device, inode, size, mtime_ns): candidates of a
 * move.*/
typedef bool (*im_store_file_fn)(void *context, const im_file_row *file);
IM_NODISCARD im_code im_store_each_file_of_stamp(im_store *store, const im_file_stamp *stamp,
                                                 im_store_file_fn fn, void *context, im_error *err);
IM_NODISCARD im_code im_store_each_file_of_item(im_store *store, uint64_t item, im_store_file_fn fn,
                                                void *context, im_error *err);
/** Rows below a folder of a root ("" = all; the folder's own name is not below it), in byte order
 * of their paths. */
IM_NODISCARD im_code im_store_each_file_of_root(im_store *store, uint64_t root, im_view below,
                                                im_store_file_fn fn, void *context, im_error *err);
/** Adds or updates the row of (root, path); clears missing (whatever file->missing says) and the
 * path's failure. out_id may be NULL. conflict when root or item are not there. What changes here
 * and below about the files of an item is told as `meta` to `change`, and its full text follows. */
IM_NODISCARD im_code im_store_put_file(im_store *store, const im_file_row *file, uint64_t *out_id,
                                       im_error *err);
IM_NODISCARD im_code im_store_set_file_missing(im_store *store, uint64_t file, bool missing,
                                               im_error *err);
IM_NODISCARD im_code im_store_drop_file(im_store *store, uint64_t file, im_error *err);

/** Item of that content; *out_item 0 when there is none. */
IM_NODISCARD im_code im_store_find_item(im_store *store, const uint8_t sha256[32],
                                        uint64_t *out_item, im_error *err);
/** Adds an item (item->id ignored); ids are never used again. */
IM_NODISCARD im_code im_store_put_item(im_store *store, const im_item *item, uint64_t *out_item,
                                       im_error *err);
/** item_not_found when there is none. */
IM_NODISCARD im_code im_store_get_item(im_store *store, uint64_t id, im_item *out, im_error *err);
/** A path to show of an item: root and relative path of the first present file by root order and
 * bytes, else of the first missing one. *out_path is new (im_free), NULL when it has no file.
 * *out_online: its root is online and the file not missing. */
IM_NODISCARD im_code im_store_item_path(im_store *store, uint64_t item, char **out_path,
                                        bool *out_online, im_error *err);
/** The name an item without a file goes by ("" at first): what an import recorded. UTF-8 without
 * control characters, at most IM_LIMIT_NAME_BYTES. item_not_found. */
IM_NODISCARD im_code im_store_set_item_name(im_store *store, uint64_t item, const char *name,
                                            im_error *err);
/** *out_name is new (im_free), "" when there is none. item_not_found. */
IM_NODISCARD im_code im_store_item_name(im_store *store, uint64_t item, char **out_name,
                                        im_error *err);
/** Removes an item with its files, embeddings, captions; remembers its SHA-256 in `removed`; frees
 * its slots through `change`. item_not_found. */
IM_NODISCARD im_code im_store_remove_item(im_store *store, uint64_t id, im_error *err);
IM_NODISCARD im_code im_store_was_removed(im_store *store, const uint8_t sha256[32],
                                          bool *out_removed, im_error *err);
IM_NODISCARD im_code im_store_forget_removed(im_store *store, const uint8_t sha256[32],
                                             im_error *err);
typedef bool (*im_store_item_fn)(void *context, const im_item *item);
/** All items in id order, ids > after. */
IM_NODISCARD im_code im_store_each_item(im_store *store, uint64_t after, im_store_item_fn fn,
                                        void *context, im_error *err);

/* ---- the users' own fields, and keys ---- */

typedef enum im_value_type {
    IM_VALUE_TEXT,
    IM_VALUE_NUMBER,
    IM_VALUE_DATE,
    IM_VALUE_BOOL
} im_value_type;
const char *im_value_type_name(im_value_type type); /* "text", "number", "date", "bool" */
/** False when `name` is none of these. */
bool im_value_type_of(im_view name, im_value_type *out);

typedef struct im_value {
    im_value_type type;
    im_view text;   /* IM_VALUE_TEXT: UTF-8, no NUL; borrowed */
    double number;  /* IM_VALUE_NUMBER: finite */
    int64_t date_s; /* IM_VALUE_DATE: seconds since 1970 of a wall clock, as im_item.taken_s */
    bool truth;     /* IM_VALUE_BOOL */
} im_value;

/** Reads a value as people write it: any text; a finite number; YYYY, YYYY-MM, YYYY-MM-DD with or
 * without [T| ]HH:MM[:SS] (the first second of a period) and an ignored Z or offset; true|false,
 * yes|no, 1|0. out->text is borrowed from `text`. field_value, naming `field`. */
IM_NODISCARD im_code im_value_parse(const char *field, im_value_type type, im_view text,
                                    im_value *out, im_error *err);
/** Appends a value so that im_value_parse reads it back. */
void im_value_print(im_str *out, const im_value *value);

/** Sets a field of an item. The first value of a name registers the name with its type; later ones
 * must be of that type (field_type names both). A name is a letter, then letters, digits or '_', at
 * most 64, in any case the same field, and none of the query language's own fields or words
 * (field_name). field_value when the value cannot be kept; item_not_found. A value equal to the one
 * that is there changes nothing. */
IM_NODISCARD im_code im_store_put_field(im_store *store, uint64_t item, const char *name,
                                        const im_value *value, im_error *err);
/** not_found when the item has no such field. The name stays registered. */
IM_NODISCARD im_code im_store_drop_field(im_store *store, uint64_t item, const char *name,
                                         im_error *err);
/* name as registered */
typedef bool (*im_store_field_fn)(void *context, const char *name, const im_value *value);
/** The fields of an item, in byte order of their names; its key is not among them. */
IM_NODISCARD im_code im_store_each_field_of_item(im_store *store, uint64_t item,
                                                 im_store_field_fn fn, void *context,
                                                 im_error *err);
/** Registers a name without a value; field_type when it has another type. */
IM_NODISCARD im_code im_store_put_own_field(im_store *store, const char *name, im_value_type type,
                                            im_error *err);
/** Takes the name out with all its values. not_found. */
IM_NODISCARD im_code im_store_drop_own_field(im_store *store, const char *name, im_error *err);
typedef bool (*im_store_own_field_fn)(void *context, const char *name, im_value_type type);
/** The registered names, in their order. */
IM_NODISCARD im_code im_store_each_own_field(im_store *store, im_store_own_field_fn fn,
                                             void *context, im_error *err);

/** Gives an item its key (NULL: takes it away): 1 to IM_LIMIT_KEY_BYTES bytes of UTF-8 without
 * control characters, unique in the library. When another item has it, the key moves to this one
 * and the other is removed, in one transaction; *out_replaced (may be NULL) is its id, else 0. Its
 * content is remembered as removed only when a file of it is still there, which the next scan would
 * otherwise add again. item_not_found; field_value. */
IM_NODISCARD im_code im_store_put_key(im_store *store, uint64_t item, const char *key,
                                      uint64_t *out_replaced, im_error *err);
/** *out_key is new (im_free), NULL when the item has none. */
IM_NODISCARD im_code im_store_key_of_item(im_store *store, uint64_t item, char **out_key,
                                          im_error *err);
/** *out_item 0 when none has that key. */
IM_NODISCARD im_code im_store_item_of_key(im_store *store, const char *key, uint64_t *out_item,
                                          im_error *err);

/* ---- tags and captions ---- */

typedef enum im_text_source { IM_SOURCE_USER, IM_SOURCE_FILE, IM_SOURCE_VLM } im_text_source;

/** Tags an item: 1 to IM_LIMIT_TAG_BYTES bytes of UTF-8 without control characters, no blank at the
 * ends (tag_invalid). ASCII letters are the same in any case; the first spelling is kept. A tag the
 * user gave stays the user's. item_not_found. */
IM_NODISCARD im_code im_store_put_tag(im_store *store, uint64_t item, const char *name,
                                      im_text_source source, im_error *err);
/** not_found when the item has no such tag. A tag that no item has any more is forgotten. */
IM_NODISCARD im_code im_store_drop_tag(im_store *store, uint64_t item, const char *name,
                                       im_error *err);
typedef bool (*im_store_tag_of_item_fn)(void *context, const char *name, im_text_source source);
/** Tags of an item by name. */
IM_NODISCARD im_code im_store_each_tag_of_item(im_store *store, uint64_t item,
                                               im_store_tag_of_item_fn fn, void *context,
                                               im_error *err);
typedef bool (*im_store_tag_fn)(void *context, const char *name, uint64_t n_items);
/** All tags that an item has, by name. */
IM_NODISCARD im_code im_store_each_tag(im_store *store, im_store_tag_fn fn, void *context,
                                       im_error *err);

typedef enum im_caption_kind { IM_CAPTION, IM_VISIBLE_TEXT } im_caption_kind;

typedef struct im_caption {
    im_caption_kind kind;
    im_text_source source;
    const char *vlm_model;      /* with IM_SOURCE_VLM, else NULL */
    const char *prompt_version; /* likewise */
    im_view text;               /* UTF-8, no NUL, at most IM_LIMIT_CAPTION_BYTES */
    int64_t made_ns;
} im_caption;

/** Sets the text of (item, kind, source, vlm_model); made_ns 0 is now. item_not_found. */
IM_NODISCARD im_code im_store_put_caption(im_store *store, uint64_t item, const im_caption *caption,
                                          im_error *err);
/** Drops all texts of (item, kind, source); not_found when there is none. */
IM_NODISCARD im_code im_store_drop_caption(im_store *store, uint64_t item, im_caption_kind kind,
                                           im_text_source source, im_error *err);
/** Drops the text of (item, kind, vlm, vlm_model); IM_OK when there is none. */
IM_NODISCARD im_code im_store_drop_vlm_text(im_store *store, uint64_t item, im_caption_kind kind,
                                            const char *vlm_model, im_error *err);
typedef bool (*im_store_caption_fn)(void *context, const im_caption *caption);
/** Captions and visible texts of an item: the user's first, then the newest first. */
IM_NODISCARD im_code im_store_each_caption_of_item(im_store *store, uint64_t item,
                                                   im_store_caption_fn fn, void *context,
                                                   im_error *err);

/* ---- asked before anything is written ---- */

/** What im_store_put_field, _put_key, _put_tag and _put_caption refuse for its own sake, without a
 * library: field_name; field_value (naming `field`); field_value; tag_invalid; field_value. */
IM_NODISCARD im_code im_field_name_check(const char *name, im_error *err);
IM_NODISCARD im_code im_value_check(const char *field, const im_value *value, im_error *err);
IM_NODISCARD im_code im_key_check(const char *key, im_error *err);
IM_NODISCARD im_code im_tag_check(const char *name, im_error *err);
IM_NODISCARD im_code im_caption_check(im_view text, im_error *err);

/* ---- failures ---- */
typedef struct im_failure {
    uint64_t root;
    im_view path;
    const char *reason;
    const char *message;
    im_file_stamp stamp; /* of the file that failed: unchanged files are not tried again */
    int64_t when_ns;
} im_failure;
IM_NODISCARD im_code im_store_put_failure(im_store *store, const im_failure *failure,
                                          im_error *err);
/** *out_known: a failure with the same stamp is recorded; its reason and message are copied when
 * the buffers are given. */
IM_NODISCARD im_code im_store_find_failure(im_store *store, uint64_t root, im_view path,
                                           const im_file_stamp *stamp, bool *out_known,
                                           im_error *out_failure, im_error *err);
typedef bool (*im_store_failure_fn)(void *context, const im_failure *failure);
IM_NODISCARD im_code im_store_each_failure(im_store *store, im_store_failure_fn fn, void *context,
                                           im_error *err);
IM_NODISCARD im_code im_store_clear_failure(im_store *store, uint64_t root, im_view path,
                                            im_error *err);

/* ---- models ---- */
typedef enum im_model_state { IM_MODEL_BUILDING, IM_MODEL_ACTIVE, IM_MODEL_RETIRED } im_model_state;

typedef struct im_model_row {
    uint64_t id;
    char *name;   /* owned */
    char *folder; /* owned; where it was loaded from */
    char digest[65];
    char *files; /* owned: JSON array of {name,size,mtime_ns,inode}: digest is redone when they
                    differ */
    char family[16];
    size_t dim;
    char precision[8];
    im_model_state state;
    float *background; /* owned: [n_background, dim] unit vectors of data/calibration pictures */
    size_t n_background;
} im_model_row;
void im_model_row_clear(im_model_row *model);
IM_NODISCARD im_code im_store_put_model(im_store *store, const im_model_row *model,
                                        uint64_t *out_model, im_error *err);
IM_NODISCARD im_code im_store_update_model(im_store *store, const im_model_row *model,
                                           im_error *err);
/** The active model; out->id 0 when there is none. */
IM_NODISCARD im_code im_store_active_model(im_store *store, im_model_row *out, im_error *err);
IM_NODISCARD im_code im_store_model_of_digest(im_store *store, const char *digest,
                                              im_model_row *out, im_error *err);
typedef bool (*im_store_model_fn)(void *context, const im_model_row *model); /* no background */
IM_NODISCARD im_code im_store_each_model(im_store *store, im_store_model_fn fn, void *context,
                                         im_error *err);
/** Makes `model` the active one, retires the other. */
IM_NODISCARD im_code im_store_activate_model(im_store *store, uint64_t model, im_error *err);

/* ---- embeddings and index files ---- */

/** Adds the embedding of (item, model) at `slot`: vector as f32 little-endian BLOB with its
 * CRC-32C. Writes a row of `change`. vector [dim] must be finite and as long as the model's
 * (vector_invalid). conflict when the item has one of that model, or the slot is in use or was used
 * since the last renumbering. */
IM_NODISCARD im_code im_store_put_embedding(im_store *store, uint64_t item, uint64_t model,
                                            uint64_t slot, const float *vector, size_t dim,
                                            im_error *err);
/** Takes one vector out, say because its CRC is wrong; the item stays and may be embedded again at
 * another slot. item_not_found when there is none. */
IM_NODISCARD im_code im_store_drop_embedding(im_store *store, uint64_t item, uint64_t model,
                                             im_error *err);
/** The vector of (item, model) [dim], CRC checked (damaged); item_not_found. */
IM_NODISCARD im_code im_store_get_embedding(im_store *store, uint64_t item, uint64_t model,
                                            float *out_vector, size_t dim, uint64_t *out_slot,
                                            im_error *err);
typedef bool (*im_store_embedding_fn)(void *context, uint64_t item, uint64_t slot,
                                      const float *vector, bool sound);
/** All embeddings of a model in slot order. vector is borrowed for the call. `sound` is false when
 * its CRC or length is wrong. */
IM_NODISCARD im_code im_store_each_embedding(im_store *store, uint64_t model, size_t dim,
                                             im_store_embedding_fn fn, void *context,
                                             im_error *err);
typedef bool (*im_store_slot_fn)(void *context, uint64_t item, uint64_t slot);
/** The slots in use of a model with their items, in slot order, without a look at the vectors. */
IM_NODISCARD im_code im_store_each_slot(im_store *store, uint64_t model, im_store_slot_fn fn,
                                        void *context, im_error *err);
/** How many embeddings a model has: the rest of an index's rows are held for nothing. */
IM_NODISCARD im_code im_store_count_slots(im_store *store, uint64_t model, uint64_t *out_n,
                                          im_error *err);
/** Bit per slot below n_rows: 1 = alive. One covering-index scan. bits is [ceil(n_rows/64)]. */
IM_NODISCARD im_code im_store_alive_slots(im_store *store, uint64_t model, uint64_t n_rows,
                                          uint64_t *bits, uint64_t *out_alive, im_error *err);
/** Items without an embedding of the model, in id order. */
typedef bool (*im_store_id_fn)(void *context, uint64_t id);
IM_NODISCARD im_code im_store_each_unembedded(im_store *store, uint64_t model, im_store_id_fn fn,
                                              void *context, im_error *err);
/** Gives the embeddings of a model the slots 0 … n-1 in slot order (a rebuild into a new
 * generation); *out_n is n. Inside a transaction. */
IM_NODISCARD im_code im_store_renumber_slots(im_store *store, uint64_t model, uint64_t *out_n,
                                             im_error *err);

/** Record of a file of an index that can be made again from the vector file. */
typedef struct im_index_file {
    char kind[16];       /* what it is: "ivf", "hnsw"; one of each for a model, never "vectors" */
    uint64_t generation; /* of the vector file; 0: there is no record */
    uint64_t n_rows;     /* slots it covers */
    uint64_t bytes;
    char digest[65]; /* SHA-256 of the whole file, in hex */
    uint64_t change_seq;
} im_index_file;
/** *out is zeros but for its kind when there is no record. */
IM_NODISCARD im_code im_store_get_index_file(im_store *store, uint64_t model, const char *kind,
                                             im_index_file *out, im_error *err);
/** Puts the record of a file that is in its place and synced, over that of the same kind.
 * IM_ERR_INVALID (kind, digest), model_not_found. */
IM_NODISCARD im_code im_store_put_index_file(im_store *store, uint64_t model,
                                             const im_index_file *file, im_error *err);
/** Forgets the record; IM_OK when there is none. */
IM_NODISCARD im_code im_store_drop_index_file(im_store *store, uint64_t model, const char *kind,
                                              im_error *err);

/** Record of the vector file of a model; generation 0 when there is none yet. */
typedef struct im_index_record {
    uint64_t generation;
    uint64_t n_rows;
} im_index_record;
IM_NODISCARD im_code im_store_get_index(im_store *store, uint64_t model, im_index_record *out,
                                        im_error *err);
IM_NODISCARD im_code im_store_set_index(im_store *store, uint64_t model,
                                        const im_index_record *record, im_error *err);
/** The change counter alone: costs nothing, unlike im_store_count. It rises with every embedding
 * put or removed, every renumbering, and whenever what columns or slot bitmaps are made of changes
 * for an item that has an embedding; a cache made at the same number is up to date. */
IM_NODISCARD im_code im_store_change_seq(im_store *store, uint64_t *out_seq, im_error *err);

/* ---- columns: the facts of a slot ---- */

typedef struct im_slot_field {
    const char *name; /* as registered */
    im_value value;
} im_slot_field;

/** What is told of the item in a slot; all borrowed for the callback. */
typedef struct im_column_row {
    uint64_t slot, item;
    bool sound; /* false: the item's row is damaged, the values below are not to be used */
    bool has_taken, has_taken_offset, has_gps;
    int16_t taken_offset_min;
    int64_t taken_s; /* the camera's wall clock */
    int64_t added_ns;
    double latitude, longitude;
    im_view camera, lens; /* "" when not known */
    im_view type;         /* im_item.format */
    im_view source;       /* im_item.source */
    uint32_t width, height;
    uint64_t bytes;
    bool partial;
    bool missing; /* it has files, and none of them is there */
    bool tagged, captioned;
    const im_slot_field *fields; /* [n_fields], in byte order of their names, without the key */
    size_t n_fields;
} im_column_row;
typedef bool (*im_store_column_row_fn)(void *context, const im_column_row *row);
/** The rows of a model's slots in slot order, slots >= from_slot. */
IM_NODISCARD im_code im_store_each_column_row(im_store *store, uint64_t model, uint64_t from_slot,
                                              im_store_column_row_fn fn, void *context,
                                              im_error *err);
/** The rows, as they are now, of the slots of a model that were put or told of since the change
 * number since_seq, each once, in slot order; slots that were given up are not among them.
 * *out_known is false, and fn is not called, when that is not known any more: a renumbering came
 * between, or the oldest of these changes is forgotten. Then all rows are to be read again. */
IM_NODISCARD im_code im_store_each_changed_slot(im_store *store, uint64_t model, uint64_t since_seq,
                                                im_store_column_row_fn fn, void *context,
                                                bool *out_known, im_error *err);

/* ---- slot bitmaps: what columns do not hold ---- */

/** All of these set the bits below n_rows of the slots of a model whose items match; bits is
 * [ceil(n_rows/64)] and is cleared first. What is asked for is data: no part of it is SQL or a
 * query of the full text, whatever it holds.
 *
 * Glob of a path below its root, of any file of the item, the whole path, byte for byte: `*` is any
 * run of characters, '/' too; `?` one character; `[a-z]`, `[!a-z]` (or ^) one of a set; a '[' that
 * is not closed is itself. */
IM_NODISCARD im_code im_store_slots_of_path_glob(im_store *store, uint64_t model, im_view glob,
                                                 uint64_t n_rows, uint64_t *bits, im_error *err);
/** A tag's whole name. */
IM_NODISCARD im_code im_store_slots_of_tag(im_store *store, uint64_t model, im_view tag,
                                           uint64_t n_rows, uint64_t *bits, im_error *err);
/** Files of a place: an absolute path, of a root, of a folder in one, or of a folder that holds
 * roots; or the last parts of a root's path ("photos" for /home/a/photos). */
IM_NODISCARD im_code im_store_slots_in(im_store *store, uint64_t model, im_view place,
                                       uint64_t n_rows, uint64_t *bits, im_error *err);
/** The words of `phrase`, one behind the other, in a name, a tag, a caption or visible text; case
 * and accents do not count. A phrase without a word matches nothing. */
IM_NODISCARD im_code im_store_slots_of_text(im_store *store, uint64_t model, im_view phrase,
                                            uint64_t n_rows, uint64_t *bits, im_error *err);
IM_NODISCARD im_code im_store_slots_of_key(im_store *store, uint64_t model, im_view key,
                                           uint64_t n_rows, uint64_t *bits, im_error *err);
/** Items with any tag; with any text of that kind. */
/** Of items that have files, each of which is missing. */
IM_NODISCARD im_code im_store_slots_missing(im_store *store, uint64_t model, uint64_t n_rows,
                                            uint64_t *bits, im_error *err);
IM_NODISCARD im_code im_store_slots_tagged(im_store *store, uint64_t model, uint64_t n_rows,
                                           uint64_t *bits, im_error *err);
IM_NODISCARD im_code im_store_slots_captioned(im_store *store, uint64_t model, im_caption_kind kind,
                                              uint64_t n_rows, uint64_t *bits, im_error *err);

/* ---- jobs ---- */

typedef enum im_job_state {
    IM_JOB_WAITING,
    IM_JOB_RUNNING,
    IM_JOB_DONE, /* this and those behind it are ends */
    IM_JOB_FAILED,
    IM_JOB_STOPPED
} im_job_state;
const char *im_job_state_name(im_job_state state); /* "waiting" … */
bool im_job_has_ended(im_job_state state);

/** Two queues: what came about in followed folders does not wait behind long work. */
typedef enum im_job_lane {
    IM_JOB_LANE_WORK,
    IM_JOB_LANE_WATCH, /* jobs of kind IM_JOB_KIND_WATCH */
    IM_JOB_LANES
} im_job_lane;
#define IM_JOB_KIND_WATCH "watch"

typedef struct im_job {
    uint64_t id;
    char kind[16];
    im_job_state state;
    char *arguments;                       /* owned: JSON */
    char *progress;                        /* owned: JSON, or NULL */
    char *error;                           /* owned: JSON, or NULL: why it failed, or waits again */
    int64_t made_ns, started_ns, ended_ns; /* 0: not yet */
} im_job;

void im_job_clear(im_job *job);
/** Puts one that waits. The newest 1,000 of those that have ended are kept (of the watch lane:
 * 100).
 */
IM_NODISCARD im_code im_store_put_job(im_store *store, const char *kind, const char *arguments,
                                      uint64_t *out_id, im_error *err);
/** not_found. */
IM_NODISCARD im_code im_store_get_job(im_store *store, uint64_t id, im_job *out, im_error *err);
/** Makes the oldest that waits the caller's: it is running. out->id 0 when none waits. */
IM_NODISCARD im_code im_store_claim_job(im_store *store, im_job_lane lane, im_job *out,
                                        im_error *err);
/** Sets state, progress and error (JSON, or NULL) of one that has not ended; conflict when it has,
 * not_found. */
IM_NODISCARD im_code im_store_set_job(im_store *store, uint64_t id, im_job_state state,
                                      const char *progress, const char *error, im_error *err);
/** What ran when its process died waits again. For whoever is alone in running jobs of the lane. */
IM_NODISCARD im_code im_store_revive_jobs(im_store *store, im_job_lane lane, uint64_t *out_n,
                                          im_error *err);
typedef bool (*im_store_job_fn)(void *context, const im_job *job);
/** All, the newest first. */
IM_NODISCARD im_code im_store_each_job(im_store *store, im_store_job_fn fn, void *context,
                                       im_error *err);
IM_NODISCARD im_code im_store_count_jobs(im_store *store, uint64_t *out_waiting,
                                         uint64_t *out_running, im_error *err);

/* ---- facts ---- */
typedef struct im_store_counts {
    uint64_t items, files, missing_files, failures, roots, removed, embeddings, change_seq;
    uint64_t db_bytes, wal_bytes;
} im_store_counts;
/** model 0: embeddings of the active model. Counts rows: 8 ms at 100,000 items. */
IM_NODISCARD im_code im_store_count(im_store *store, uint64_t model, im_store_counts *out,
                                    im_error *err);

/* ---- backup and restore (docs/formats/backup.md) ---- */

/** Bytes read or written so far, of `total` (which may grow); false stops: interrupted. */
typedef bool (*im_store_progress_fn)(void *context, uint64_t done, uint64_t total);

typedef struct im_backup_facts {
    uint64_t bytes;     /* of the file */
    uint64_t originals; /* files of originals/ */
    uint64_t items;
    uint64_t findings; /* of im_store_check over the copied library: 0 for a sound one */
} im_backup_facts;

/** Writes library.db, as of one moment, and originals/ into one file, with the SHA-256 of each.
 * Others may read and write the library meanwhile. The file is whole and durable, or as it was: an
 * older backup at `file` is replaced, anything else there is a conflict. Needs room for library.db
 * twice beside `file`. The store must be in no transaction or snapshot. out may be NULL. */
IM_NODISCARD im_code im_store_backup(im_store *store, const char *file,
                                     im_store_progress_fn progress, void *context,
                                     im_backup_facts *out, im_error *err);
/** Makes the library in `folder` that of a backup. Before anything of the old library is touched
 * all of the backup is written beside it and checked: digests, schema (an older one is brought up
 * to date), im_store_check; backup_damaged (with accept_findings, rows with wrong checksums are
 * let through, which a backup of such a library has). Then library.db is replaced in one step:
 * after a kill or failure at any moment the old or the new is there, whole. index/ and thumbs/ are
 * made anew. An old library is locked meanwhile; library_busy when another program reads it. A
 * folder that is not there or empty is made a library; one with other files in it is a conflict. */
IM_NODISCARD im_code im_store_restore(const char *file, const char *folder, bool accept_findings,
                                      im_store_progress_fn progress, void *context,
                                      im_backup_facts *out, im_error *err);

/** SQLite's own integrity check, foreign keys, and each embedding's CRC. `report` is called per
 * finding (may be NULL). *out_findings counts them; a table that cannot be read to its end is a
 * finding too, and the check goes on. */
typedef void (*im_store_report)(void *context, const char *table, uint64_t row, const char *what);
IM_NODISCARD im_code im_store_check(im_store *store, im_store_report report, void *context,
                                    uint64_t *out_findings, im_error *err);

/* ---- the vision-language model: answers kept, sends noted ---- */

/** The answer kept under a key (im_vlm_key); *out_json is new (im_free), NULL when there is none.
 */
IM_NODISCARD im_code im_store_get_vlm_answer(im_store *store, const uint8_t key[32],
                                             char **out_json, int64_t *out_made_ns, im_error *err);
/** Keeps an answer, in place of an older one. */
IM_NODISCARD im_code im_store_put_vlm_answer(im_store *store, const uint8_t key[32],
                                             const char *model, const char *prompt_version,
                                             const char *json, im_error *err);

/** One line of vlm_audit. */
typedef struct im_vlm_send {
    const char *host, *model;
    const char *purpose; /* "rerank", "explain", "probe" */
    const char *items;   /* JSON array of item ids */
    uint64_t bytes_sent;
    uint64_t tokens;    /* expected at first, then as the server counted */
    uint64_t cost_nano; /* likewise, in billionths of the unit that prices are in */
    uint64_t ms;
    const char *outcome; /* at the end; NULL: nothing was sent after all */
} im_vlm_send;
/** Notes what is about to be sent, with outcome "sending" and the SHA-256 of each item: that stays
 * when the process is killed, so that a day's tokens and cost are never counted too low. */
IM_NODISCARD im_code im_store_begin_vlm_send(im_store *store, const im_vlm_send *send,
                                             uint64_t *out_id, im_error *err);
/** Notes what became of it: bytes_sent, tokens and cost (tokens 0 with bytes that were sent: the
 * server told none, what was expected stays), ms, outcome. */
IM_NODISCARD im_code im_store_end_vlm_send(im_store *store, uint64_t id, const im_vlm_send *send,
                                           im_error *err);
/** What the lines since a moment (wall clock) come to. */
typedef struct im_vlm_spent {
    uint64_t sends, tokens, cost_nano;
} im_vlm_spent;
IM_NODISCARD im_code im_store_vlm_spent_since(im_store *store, int64_t since_ns, im_vlm_spent *out,
                                              im_error *err);
/** Whether an item's picture may be sent: no, when one of its files lies in a folder that said no.
 */
IM_NODISCARD im_code im_store_vlm_allowed(im_store *store, uint64_t item, bool *out_allowed,
                                          im_error *err);
/** IM_ERR_NOT_FOUND when there is no such root. */
IM_NODISCARD im_code im_store_set_root_vlm(im_store *store, uint64_t root, bool allowed,
                                           im_error *err);

#endif
