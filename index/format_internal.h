/* index/format_internal.h — the vector file's bytes: header page, rows, their checksums.
 * docs/formats/index.md draws them. Letters: n rows (slots), d dim. */
#ifndef IM_INDEX_FORMAT_INTERNAL_H
#define IM_INDEX_FORMAT_INTERNAL_H

#include "index/header_internal.h"
#include "index/index.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FORMAT_VERSION 1u
#define FORMAT_TRAILER_BYTES 16u /* u64 item, u32 CRC-32C, u32 zero */
#define FORMAT_GROUP 4u          /* rows whose checksums are worked out side by side */

/** Where the parts of a row lie. */
typedef struct format_layout {
    size_t dim;
    size_t pitch; /* bytes from row to row: a multiple of 64, never of 4096 */
} format_layout;

format_layout format_layout_of(size_t dim);
/** Checks what a caller claims: dim, generation, digest. IM_ERR_INVALID. */
IM_NODISCARD im_code format_check_state(const im_index_state *state, im_error *err);
/** Bytes of header and committed rows; false when they pass what a file can hold. */
bool format_committed_bytes(const im_index_state *state, uint64_t *out_bytes);

/** "folder/vectors.<generation>.f32" in a new string (im_free), NULL when memory is out. */
char *format_path(const char *folder, uint64_t generation);
/** The generation in a file name "vectors.<generation>.f32"; false for any other name. */
bool format_parse_name(const char *name, uint64_t *out_generation);

void format_write_header(const im_index_state *state, uint8_t page[HEADER_BYTES]);
/** index_damaged, naming the first field that is not what `state` says. */
IM_NODISCARD im_code format_check_header(const uint8_t page[HEADER_BYTES],
                                         const im_index_state *state, const char *path,
                                         im_error *err);
/** Opens the file of `state` and checks type, length and header. A missing file is index_damaged.
 * @param flags O_RDONLY or O_RDWR @param out_size the file's length, may be NULL */
IM_NODISCARD im_code format_open(const char *path, const im_index_state *state, int flags,
                                 int *out_fd, uint64_t *out_size, im_error *err);

/** Writes one row [pitch] with its trailer; what lies between is cleared. */
void format_write_row(const format_layout *layout, uint64_t slot, uint64_t item,
                      const float *vector, uint8_t *row);
uint64_t format_row_item(const format_layout *layout, const uint8_t *row);
/** The checksum that the row carries, not worked out again. */
uint32_t format_row_checksum(const format_layout *layout, const uint8_t *row);
/** True when the row is the one that was written for `slot`. */
bool format_row_sound(const format_layout *layout, uint64_t slot, const uint8_t *row);
/** As format_row_sound for n <= 64 rows, FORMAT_GROUP at a time; bit i of the result: row i. */
uint64_t format_rows_sound(const format_layout *layout, const uint64_t *slots,
                           const uint8_t *const *rows, size_t n);

#endif
