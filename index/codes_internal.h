/* index/codes_internal.h — the files of codes, codes.<generation>.i8 and codes.<generation>.b1:
 * header, mean, blocks; docs/formats/index.md draws them. Both hold the rows less the mean of the
 * library, rotated (rotation_internal.h): one number a byte, or one a bit.
 *
 * A codes file is a cache of a cache: whatever is wrong with it, answers come from the rows. */
#ifndef IM_INDEX_CODES_INTERNAL_H
#define IM_INDEX_CODES_INTERNAL_H

#include "base/file.h"
#include "index/format_internal.h"
#include "index/index.h"
#include "index/rotation_internal.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define CODES_VERSION 3u
#define CODES_BLOCK_BYTES 65536u
#define CODES_TRAILER_BYTES 16u /* a CRC-32C of each quarter of what comes before */
#define CODES_ANCHORS 8u        /* rows whose checksums tie a codes file to its vector file */

typedef enum codes_kind { CODES_I8 = 1, CODES_B1 = 2 } codes_kind;

typedef struct codes_layout {
    codes_kind kind;
    size_t dim, padded;  /* d, D */
    size_t row_bytes;    /* D / 2 or D / 8 */
    size_t rows;         /* of one block */
    size_t lanes;        /* bits: rows of one group */
    size_t group_bytes;  /* likewise */
    uint64_t head_bytes; /* header page and mean, whole pages */
} codes_layout;

/** The numbers of one row beside its int8 codes, as they are stored: scale, a bound on |row - what
 * the upper halves say|, the length of what they say, and a bound on |row - what its code says|. */
typedef struct codes_numbers {
    float scale, upper_bound, size, bound;
} codes_numbers;

/** One block of int8 codes: the upper halves of all, the lower halves, then the numbers. Most rows
 * are let go by their upper halves alone. */
typedef struct codes_block {
    const uint8_t *codes;         /* upper halves [rows, row_bytes] */
    const uint8_t *lower;         /* [rows, row_bytes] */
    const codes_numbers *numbers; /* [rows] */
} codes_block;

/** What the header says beside the identity. */
typedef struct codes_header {
    uint64_t n_rows; /* slots 0 … n_rows - 1 have codes */
    uint32_t mean_crc;
    uint64_t anchor_slots[CODES_ANCHORS];
    uint32_t anchor_crcs[CODES_ANCHORS]; /* of the rows of these slots, as in the vector file */
} codes_header;

/** An opened file. Blocks are checked at first touch, the rest when it is opened. */
typedef struct codes_file {
    codes_layout layout;
    codes_header header;
    im_map *map; /* NULL: not open */
    uint64_t n_blocks;
    _Atomic uint64_t *checked; /* bit per block, as im_index.checked */
    char *path;
} codes_file;

codes_layout codes_layout_of(codes_kind kind, size_t dim);
uint64_t codes_blocks_of(const codes_layout *layout, uint64_t n_rows);
/** "folder/codes.<generation>.i8" (or .b1) in a new string, NULL when memory is out. */
char *codes_path(const char *folder, codes_kind kind, uint64_t generation);
/** The generation in such a name; false for any other name. */
bool codes_parse_name(const char *name, uint64_t *out_generation);

/** Slots of the anchors of n >= 1 rows: evenly spread, the last one included. */
uint64_t codes_anchor(uint64_t n_rows, size_t i);
void codes_write_header(const codes_layout *layout, const im_index_state *state,
                        const codes_header *header, uint8_t page[HEADER_BYTES]);
/** Opens the file of `state`'s generation and checks header, length and mean. IM_ERR_NOT_FOUND
 * when there is none; index_damaged, naming what is wrong. */
IM_NODISCARD im_code codes_file_open(const char *folder, codes_kind kind,
                                     const im_index_state *state, codes_file *out, im_error *err);
void codes_file_close(codes_file *file);
/** The mean [d], as the file holds it. */
const float *codes_file_mean(const codes_file *file);

codes_block codes_block_at(const codes_layout *layout, const uint8_t *block);
/** Where the bits and numbers of row `at` of a block of bits lie, from the start of the block: byte
 * i of its code is `lanes` · i further on. */
typedef struct codes_bits_place {
    size_t codes, factor, error;
} codes_bits_place;
codes_bits_place codes_bits_at(const codes_layout *layout, size_t at);
/** Fills in the trailer of a block. */
void codes_seal_block(uint8_t *block, uint64_t number);
bool codes_block_sound(const uint8_t *block, uint64_t number);
/** The block's bytes, checked at first touch; NULL when it is damaged. Thread-safe. */
const uint8_t *codes_file_block(codes_file *file, uint64_t number);

/** Codes of one row, less the mean and rotated, [padded].
 * @param slack how far the rotated row may be from the true one */
void codes_encode_i8(const float *rotated, size_t padded, double slack, uint8_t *codes,
                     codes_numbers *out);
/** Halves of codes, two a byte: byte j of 32 holds the number j (bits 0 to 3) and j + 32 of the 64
 * that it belongs to. @param upper, lower [padded / 2] */
void codes_split(const uint8_t *codes, size_t padded, uint8_t *upper, uint8_t *lower);
void codes_encode_b1(const float *rotated, size_t padded, uint8_t *codes, float *out_factor,
                     float *out_error);

#endif
