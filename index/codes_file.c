/* index/codes_file.c — header, blocks and opening of a codes file. Only this file knows where a
 * field of its own lies. Nothing here is an error of a search: the caller scans the rows instead.
 */
#include "base/base.h"
#include "base/hash.h"
#include "index/codes_internal.h"
#include "index/codes_kernels_internal.h"
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>
#if defined(__x86_64__)
#include "base/pool.h"
#include <nmmintrin.h>
#endif

#define PAGE_BYTES 4096u
#define QUARTER ((size_t)(CODES_BLOCK_BYTES - CODES_TRAILER_BYTES) / 4)
#define WORD_BITS 64u
#define FEWER_LANES 16u

_Static_assert(QUARTER % 4 == 0, "a quarter is read in words");

/* Places in the header page. */
enum {
    AT_DIM = HEADER_AT_OWN,
    AT_GENERATION = AT_DIM + 8,
    AT_KIND = AT_GENERATION + 8,
    AT_ROTATION = AT_KIND + 4,
    AT_N_ROWS = AT_ROTATION + 4,
    AT_BLOCK_BYTES = AT_N_ROWS + 8,
    AT_BLOCK_ROWS = AT_BLOCK_BYTES + 8,
    AT_ANCHOR_SLOTS = AT_BLOCK_ROWS + 8,
    AT_ANCHOR_CRCS = AT_ANCHOR_SLOTS + 8 * CODES_ANCHORS,
    AT_MEAN_CRC = AT_ANCHOR_CRCS + 4 * CODES_ANCHORS,
    AT_END = AT_MEAN_CRC + 4
};

static const header_form form = {
    .magic = {'i', 'm', 'a', 'g', 'o', 'c', 'o', 'd'},
    .what = "codes file",
    .hint = "searches read the vectors instead; 'imago rebuild' makes it again",
    .version = CODES_VERSION,
    .end = AT_END};

codes_layout codes_layout_of(codes_kind kind, size_t dim)
{
    codes_layout layout = {.kind = kind, .dim = dim, .padded = index_rotated_dim(dim)};
    layout.row_bytes = kind == CODES_I8 ? layout.padded / 2 : layout.padded / 8;
    size_t whole = kind == CODES_I8 ? 2 * layout.row_bytes + sizeof(codes_numbers)
                                    : layout.row_bytes + 2 * sizeof(float);
    layout.rows = (CODES_BLOCK_BYTES - CODES_TRAILER_BYTES) / whole;
    if (kind == CODES_B1) { /* beyond 8,064 dimensions 64 rows are more than a block */
        layout.lanes = layout.rows >= CODES_LANES ? CODES_LANES : FEWER_LANES;
        layout.rows = layout.rows / layout.lanes * layout.lanes;
        layout.group_bytes = layout.lanes * whole;
    }
    layout.head_bytes =
        HEADER_BYTES + (dim * sizeof(float) + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    return layout;
}

uint64_t codes_blocks_of(const codes_layout *layout, uint64_t n_rows)
{
    return n_rows / layout->rows + (n_rows % layout->rows != 0);
}

/* ---- names ---- */

static const char *const tails[] = {[CODES_I8] = ".i8", [CODES_B1] = ".b1"};

char *codes_path(const char *folder, codes_kind kind, uint64_t generation)
{
    char name[48];
    snprintf(name, sizeof(name), "codes.%" PRIu64 "%s", generation, tails[kind]);
    return im_path_join(folder, name);
}

bool codes_parse_name(const char *name, uint64_t *out_generation)
{
    return header_parse_name(name, "codes.", tails[CODES_I8], out_generation) ||
           header_parse_name(name, "codes.", tails[CODES_B1], out_generation);
}

/* ---- header ---- */

uint64_t codes_anchor(uint64_t n_rows, size_t i)
{
    uint64_t last = n_rows - 1;
    uint64_t parts = CODES_ANCHORS - 1;
    return last / parts * i + last % parts * i / parts;
}

void codes_write_header(const codes_layout *layout, const im_index_state *state,
                        const codes_header *header, uint8_t page[HEADER_BYTES])
{
    header_begin(&form, state, page);
    header_put_u64(page + AT_DIM, state->dim);
    header_put_u64(page + AT_GENERATION, state->generation);
    header_put_u32(page + AT_KIND, (uint32_t)layout->kind);
    header_put_u32(page + AT_ROTATION, ROTATION_VERSION);
    header_put_u64(page + AT_N_ROWS, header->n_rows);
    header_put_u64(page + AT_BLOCK_BYTES, CODES_BLOCK_BYTES);
    header_put_u64(page + AT_BLOCK_ROWS, layout->rows);
    for (size_t i = 0; i < CODES_ANCHORS; i++) {
        header_put_u64(page + AT_ANCHOR_SLOTS + 8 * i, header->anchor_slots[i]);
        header_put_u32(page + AT_ANCHOR_CRCS + 4 * i, header->anchor_crcs[i]);
    }
    header_put_u32(page + AT_MEAN_CRC, header->mean_crc);
    header_seal(page);
}

static im_code check_header(const uint8_t *page, const codes_layout *layout,
                            const im_index_state *state, const char *path, im_error *err)
{
    const header_field fields[] = {
        {"dimension", header_u64(page + AT_DIM), state->dim},
        {"generation", header_u64(page + AT_GENERATION), state->generation},
        {"kind", header_u32(page + AT_KIND), (uint64_t)layout->kind},
        {"rotation", header_u32(page + AT_ROTATION), ROTATION_VERSION},
        {"block length", header_u64(page + AT_BLOCK_BYTES), CODES_BLOCK_BYTES},
        {"rows of a block", header_u64(page + AT_BLOCK_ROWS), layout->rows},
    };
    im_code rc = header_check(&form, page, state, path, err);
    return rc == IM_OK ? header_check_fields(&form, path, fields, IM_COUNT(fields), err) : rc;
}

static void read_header(const uint8_t *page, codes_header *out)
{
    out->n_rows = header_u64(page + AT_N_ROWS);
    out->mean_crc = header_u32(page + AT_MEAN_CRC);
    for (size_t i = 0; i < CODES_ANCHORS; i++) {
        out->anchor_slots[i] = header_u64(page + AT_ANCHOR_SLOTS + 8 * i);
        out->anchor_crcs[i] = header_u32(page + AT_ANCHOR_CRCS + 4 * i);
    }
}

/* ---- opening ---- */

static im_code length_damaged(const char *path, uint64_t size, uint64_t expected, im_error *err)
{
    const header_field length = {"length", size, expected};
    return header_check_fields(&form, path, &length, 1, err);
}

/* The length says how many blocks there are; n_rows, foreign, must fit it exactly. */
static im_code check_length(codes_file *file, uint64_t size, im_error *err)
{
    const codes_layout *layout = &file->layout;
    uint64_t blocks = codes_blocks_of(layout, file->header.n_rows);
    uint64_t expected = 0;
    if (file->header.n_rows < 1) {
        return header_damaged(&form, file->path, "it holds no rows", err);
    }
    if (!im_u64_mul(blocks, CODES_BLOCK_BYTES, &expected) ||
        !im_u64_add(expected, layout->head_bytes, &expected) || expected != size) {
        return length_damaged(file->path, size, expected, err);
    }
    file->n_blocks = blocks;
    return IM_OK;
}

static im_code open_checked(codes_file *file, const im_index_state *state, int fd, im_error *err)
{
    uint8_t page[HEADER_BYTES];
    uint64_t size = 0;
    im_code rc = header_stat(&form, fd, file->path, &size, err);
    if (rc == IM_OK && (size < HEADER_BYTES || size > SIZE_MAX)) {
        rc = length_damaged(file->path, size, HEADER_BYTES, err);
    }
    if (rc == IM_OK) {
        rc = im_file_pread(fd, page, sizeof(page), 0, file->path, err);
    }
    if (rc == IM_OK) {
        rc = check_header(page, &file->layout, state, file->path, err);
    }
    if (rc == IM_OK) {
        read_header(page, &file->header);
        rc = check_length(file, size, err);
    }
    if (rc == IM_OK) {
        rc = im_map_fd(fd, (size_t)size, file->path, &file->map, err);
    }
    if (rc == IM_OK && im_crc32c(0, codes_file_mean(file), file->layout.dim * sizeof(float)) !=
                           file->header.mean_crc) {
        rc = header_damaged(&form, file->path, "its mean fails its checksum", err);
    }
    return rc;
}

im_code codes_file_open(const char *folder, codes_kind kind, const im_index_state *state,
                        codes_file *out, im_error *err)
{
    int fd = -1;
    codes_file file = {.layout = codes_layout_of(kind, state->dim)};
    im_code rc = IM_OK;
    file.path = codes_path(folder, kind, state->generation);
    if (file.path == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for a path");
        goto out;
    }
    /* non-blocking: a pipe in the file's place is never waited for */
    rc = im_file_open(file.path, O_RDONLY | O_NONBLOCK, 0, &fd, err);
    if (rc != IM_OK) {
        goto out;
    }
    rc = open_checked(&file, state, fd, err);
    if (rc != IM_OK) {
        goto out;
    }
    file.checked =
        im_alloc_zero((size_t)((file.n_blocks + WORD_BITS - 1) / WORD_BITS), sizeof(uint64_t));
    if (file.checked == NULL) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for the blocks of '%s'", file.path);
        goto out;
    }
    *out = file;
    memset(&file, 0, sizeof(file));
out:
    if (fd >= 0) {
        close(fd); /* the mapping keeps its own */
    }
    codes_file_close(&file);
    return rc;
}

void codes_file_close(codes_file *file)
{
    im_map_close(file->map);
    im_free((void *)file->checked);
    im_free(file->path);
    memset(file, 0, sizeof(*file));
}

const float *codes_file_mean(const codes_file *file)
{
    return (const float *)(const void *)(im_map_data(file->map) + HEADER_BYTES);
}

/* ---- blocks ---- */

codes_block codes_block_at(const codes_layout *layout, const uint8_t *block)
{
    size_t half = layout->rows * layout->row_bytes;
    return (codes_block){block, block + half,
                         (const codes_numbers *)(const void *)(block + 2 * half)};
}

codes_bits_place codes_bits_at(const codes_layout *layout, size_t at)
{
    size_t lane = at % layout->lanes;
    size_t group = at / layout->lanes * layout->group_bytes;
    size_t numbers = group + layout->lanes * layout->row_bytes;
    return (codes_bits_place){group + lane, numbers + lane * sizeof(float),
                              numbers + (layout->lanes + lane) * sizeof(float)};
}

#if defined(__x86_64__)
/* Four sums side by side, as in format.c: 28 GB/s in place of 10. */
__attribute__((target("sse4.2"))) static void quarters_sse42(const uint8_t *block, uint64_t number,
                                                             uint32_t out[4])
{
    uint64_t a = UINT32_MAX, b = UINT32_MAX, c = UINT32_MAX, d = UINT32_MAX;
    size_t i = 0;
    for (; i + 8 <= QUARTER; i += 8) {
        a = _mm_crc32_u64(a, header_u64(block + i));
        b = _mm_crc32_u64(b, header_u64(block + QUARTER + i));
        c = _mm_crc32_u64(c, header_u64(block + 2 * QUARTER + i));
        d = _mm_crc32_u64(d, header_u64(block + 3 * QUARTER + i));
    }
    uint64_t sums[4] = {a, b, c, d};
    for (size_t j = 0; j < 4; j++) {
        if (i < QUARTER) {
            sums[j] = _mm_crc32_u32((uint32_t)sums[j], header_u32(block + j * QUARTER + i));
        }
        out[j] = ~(uint32_t)_mm_crc32_u64(sums[j], number);
    }
}
#endif

/* The block's number is summed with it: a block in another's place is as wrong as a flipped bit. */
static void quarters(const uint8_t *block, uint64_t number, uint32_t out[4])
{
#if defined(__x86_64__)
    if (im_cpu_features().sse42) {
        quarters_sse42(block, number, out);
        return;
    }
#endif
    for (size_t j = 0; j < 4; j++) {
        uint32_t crc = im_crc32c(0, block + j * QUARTER, QUARTER);
        out[j] = im_crc32c(crc, &number, sizeof(number));
    }
}

void codes_seal_block(uint8_t *block, uint64_t number)
{
    uint32_t sums[4];
    quarters(block, number, sums);
    memcpy(block + CODES_BLOCK_BYTES - CODES_TRAILER_BYTES, sums, sizeof(sums));
}

bool codes_block_sound(const uint8_t *block, uint64_t number)
{
    uint32_t sums[4];
    quarters(block, number, sums);
    return memcmp(block + CODES_BLOCK_BYTES - CODES_TRAILER_BYTES, sums, sizeof(sums)) == 0;
}

const uint8_t *codes_file_block(codes_file *file, uint64_t number)
{
    const uint8_t *block =
        im_map_data(file->map) + file->layout.head_bytes + number * CODES_BLOCK_BYTES;
    _Atomic uint64_t *word = &file->checked[number / WORD_BITS];
    uint64_t bit = UINT64_C(1) << (number % WORD_BITS);
    if ((atomic_load_explicit(word, memory_order_relaxed) & bit) == 0) {
        if (!codes_block_sound(block, number)) {
            return NULL;
        }
        atomic_fetch_or_explicit(word, bit, memory_order_relaxed);
    }
    return block;
}
