/* encoder/packed_internal.h — packed weights in a file, so that they are made once and mapped by
 * every process afterwards. docs/formats/packed.md describes the file. A piece is one block of
 * values as a tower uses it (panels of a matrix, a bias, a norm), found by its name. */
#ifndef IM_ENCODER_PACKED_INTERNAL_H
#define IM_ENCODER_PACKED_INTERNAL_H

#include "base/error.h"
#include "base/file.h"
#include "base/pool.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACKED_VERSION 1u
#define PACKED_NAME 104u
#define PACKED_ALIGN 64u
#define PACKED_FIRST 4096u /* where the first piece lies */

/** What a file is made for; all of it stands in its head. */
typedef struct packed_key {
    char digest[65];    /* of the model */
    const char *kernel; /* static */
    const char *precision;
} packed_key;

typedef struct packed_entry {
    char name[PACKED_NAME]; /* NUL-terminated */
    uint64_t offset, bytes;
    uint32_t crc; /* CRC-32C of the piece */
    uint32_t zero;
} packed_entry;

typedef struct packed_head {
    char magic[8]; /* "IMPACKED" */
    uint32_t version;
    uint32_t panel; /* columns of a panel */
    char digest[64], kernel[24], precision[8];
    uint64_t file_bytes, entries_offset;
    uint32_t n_entries, entries_crc;
    uint32_t zero, crc; /* crc: of all before it */
} packed_head;

/* ---- packed.c ---- */

typedef struct packed_file packed_file;

/** "FOLDER/<digest>-<kernel>-<precision>", a new string. */
char *packed_path(const char *folder, const packed_key *key);
/** Maps a file and checks head and list of pieces, not the pieces.
 * @return IM_ERR_NOT_FOUND; IM_ERR_FORMAT when it is damaged, or of another version or model */
IM_NODISCARD im_code packed_open(const char *path, const packed_key *key, packed_file **out,
                                 im_error *err);
void packed_close(packed_file *f);
/** The piece of that name, in the mapping, 64-byte aligned; IM_ERR_FORMAT unless it has `bytes`. */
IM_NODISCARD im_code packed_take(packed_file *f, const char *name, size_t bytes, const void **out,
                                 im_error *err);
/** Bytes of a piece, 0 when there is none of that name. */
size_t packed_size(const packed_file *f, const char *name);
/** Checks what was taken since the last call, pieces split over the pool. */
IM_NODISCARD im_code packed_verify(packed_file *f, im_pool *pool, im_error *err);
/** True when the file was cut while in use. */
bool packed_lost(const packed_file *f);
uint64_t packed_bytes(const packed_file *f);

/* ---- packed_write.c ---- */

/** Pieces as they are made, in memory; the values are borrowed. */
typedef struct packed_piece {
    char name[PACKED_NAME];
    const void *data;
    size_t bytes;
} packed_piece;

typedef struct packed_pieces {
    packed_piece *pieces; /* owned */
    size_t n, capacity;
} packed_pieces;

IM_NODISCARD im_code packed_add(packed_pieces *p, const char *name, const void *data, size_t bytes,
                                im_error *err);
void packed_pieces_clear(packed_pieces *p);

/** A file being written under a temporary name. */
typedef struct packed_writer {
    char *path, *temporary; /* owned */
    int fd;                 /* -1: none */
    uint64_t at;
    packed_entry *entries; /* owned */
    size_t n, capacity;
} packed_writer;

/** The caller holds the folder's lock, so that the temporary's name is nobody else's. */
IM_NODISCARD im_code packed_begin(packed_writer *w, const char *path, im_error *err);
IM_NODISCARD im_code packed_put(packed_writer *w, const packed_pieces *p, im_error *err);
/** List and head, sync, rename. */
IM_NODISCARD im_code packed_end(packed_writer *w, const packed_key *key, im_error *err);
/** Frees; an unfinished temporary goes. */
void packed_writer_clear(packed_writer *w);
/** Waits for the folder's lock; *out_fd is to be closed. */
IM_NODISCARD im_code packed_lock(const char *folder, int *out_fd, im_error *err);
/** Removes what nobody used for PACKED_KEEP_DAYS, temporaries that stayed, and the longest unused
 * beyond PACKED_MOST_BYTES; `keep` stays. The caller holds the lock. */
void packed_clean(const char *folder, const char *keep);

#define PACKED_KEEP_DAYS 60
#define PACKED_MOST_BYTES (8ull << 30)
#define PACKED_LOCK_WAIT_MS 60000u

#endif
