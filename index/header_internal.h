/* index/header_internal.h — the page that every file of ours in index/ begins with: what it is and
 * whose it is, the same in each; behind that come the file's own fields, zeros, a checksum. */
#ifndef IM_INDEX_HEADER_INTERNAL_H
#define IM_INDEX_HEADER_INTERNAL_H

#include "index/index.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEADER_BYTES 4096u
#define HEADER_DIGEST_BYTES 64u

/** Places that all files share. */
enum {
    HEADER_AT_MAGIC = 0,
    HEADER_AT_VERSION = 8,
    HEADER_AT_ORDER = 12,
    HEADER_AT_LIBRARY = 16,
    HEADER_AT_DIGEST = 32,
    HEADER_AT_OWN = 96, /* the file's own fields */
    HEADER_AT_CRC = HEADER_BYTES - 4
};

/** One kind of file. */
typedef struct header_form {
    char magic[8];
    const char *what; /* "vector file", in sentences */
    const char *hint; /* what to do about a damaged one */
    uint32_t version;
    size_t end; /* of the file's own fields: zeros from here to the checksum */
} header_form;

uint32_t header_u32(const uint8_t *p);
uint64_t header_u64(const uint8_t *p);
void header_put_u32(uint8_t *p, uint32_t value);
void header_put_u64(uint8_t *p, uint64_t value);

/** Clears the page and writes what all files share. */
void header_begin(const header_form *form, const im_index_state *state, uint8_t page[HEADER_BYTES]);
/** Writes the checksum, when all fields are there. */
void header_seal(uint8_t page[HEADER_BYTES]);

/** index_damaged: "WHAT 'path': sentence". */
IM_NODISCARD im_code header_damaged(const header_form *form, const char *path, const char *sentence,
                                    im_error *err);

typedef struct header_field {
    const char *name;
    uint64_t found, expected;
} header_field;

/** index_damaged for the first field that is not what it should be. */
IM_NODISCARD im_code header_check_fields(const header_form *form, const char *path,
                                         const header_field *fields, size_t n, im_error *err);
/** Type of an opened file and its length, before a byte is read. */
IM_NODISCARD im_code header_stat(const header_form *form, int fd, const char *path,
                                 uint64_t *out_size, im_error *err);
/** Checks what all files share, and that nothing is behind the file's own fields. */
IM_NODISCARD im_code header_check(const header_form *form, const uint8_t page[HEADER_BYTES],
                                  const im_index_state *state, const char *path, im_error *err);

/** The generation in a file name HEAD<generation>TAIL; false for any other name, such as one with
 * zeros in front, which is not one we write. */
bool header_parse_name(const char *name, const char *head, const char *tail,
                       uint64_t *out_generation);

#endif
