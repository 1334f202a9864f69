/* tests/fuzz/fuzz_index.c — a vector file of foreign bytes: opened, searched, read row by row,
 * checked whole and appended to. Nothing may crash, and a search that passes may only name rows
 * that are there.
 *
 * IMAGO_FUZZ_ROOMS: base index
 *
 * The first byte says what of the file is foreign: bit 0 the header (else a sound one is put before
 * the bytes), bit 1 the checksums of the rows (else they are mended, so that wild numbers get past
 * them); bit 4 whether the database claims a row more than is there, bits 5–7 the
 * dimension. */
#include "base/file.h"
#include "index/format_internal.h"
#include "index/index.h"
#include "tests/help_folder.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { K = 16, MOST_BYTES = 1 << 16 };

static char folder[HELP_FOLDER_BYTES];
static char path[HELP_FOLDER_BYTES + 32];

static void remove_files(void)
{
    (void)help_remove_folder(folder);
}

static void make_folder(void)
{
    if (folder[0] != '\0') {
        return;
    }
    if (help_temporary_in_memory(folder) == NULL) {
        abort();
    }
    snprintf(path, sizeof(path), "%s/vectors.1.f32", folder);
    atexit(remove_files);
}

static void put_file(const uint8_t *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes, 1, size, file) != size) {
        abort();
    }
    fclose(file);
}

/* Gives every row the checksum that fits its bytes. */
static void mend_rows(const format_layout *layout, uint8_t *rows, size_t n)
{
    float vector[64];
    for (size_t i = 0; i < n; i++) {
        uint8_t *row = rows + i * layout->pitch;
        uint64_t item = format_row_item(layout, row);
        memcpy(vector, row, layout->dim * sizeof(float));
        format_write_row(layout, i, item, vector, row);
    }
}

static void search(im_index *index, const im_index_state *state, im_combine combine)
{
    float vector[64] = {0};
    im_hit hits[K];
    im_index_answer answer;
    im_index_part parts[2] = {{vector, 2, 1}, {vector, -1, 0}};
    im_index_query query = {
        .parts = parts, .n_parts = 2, .combine = combine, .k = K, .leave_out = 7};
    vector[state->dim - 1] = 1;
    if (im_index_search(index, &query, hits, &answer, NULL) != IM_OK) {
        return;
    }
    for (size_t i = 0; i < answer.n_hits; i++) {
        float score = 0;
        if (hits[i].slot >= state->n_rows ||
            im_index_score(index, &query, hits[i].slot, &score, NULL, NULL) != IM_OK ||
            memcmp(&score, &hits[i].score, sizeof(score)) != 0) {
            abort();
        }
    }
}

static void read_all(const im_index_state *state)
{
    im_index *index = NULL;
    uint64_t bad = 0;
    im_code checked = im_index_check(folder, state, NULL, NULL, &bad, NULL);
    if (im_index_open(folder, state, NULL, NULL, &index, NULL) != IM_OK) {
        return;
    }
    if (checked != IM_OK) {
        abort(); /* one and the same verdict on header and length */
    }
    uint64_t unsound = 0;
    for (uint64_t slot = 0; slot < state->n_rows; slot++) {
        const float *row = NULL;
        uint64_t item = 0;
        unsound += im_index_row(index, slot, &row, &item, NULL) != IM_OK;
    }
    if (unsound != bad) {
        abort();
    }
    for (int combine = IM_COMBINE_SUM; combine <= IM_COMBINE_ALL; combine++) {
        search(index, state, (im_combine)combine);
    }
    im_index_close(index);
}

static void append(const im_index_state *state)
{
    im_index_writer *writer = NULL;
    float vector[64] = {1};
    uint64_t item = 5;
    uint64_t slot = 0;
    if (im_index_writer_open(folder, state, &writer, NULL) != IM_OK) {
        return;
    }
    if (im_index_writer_append(writer, &item, vector, 1, &slot, NULL) != IM_OK ||
        slot != state->n_rows) {
        abort();
    }
    im_index_writer_close(writer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t bytes[HEADER_BYTES + MOST_BYTES];
    if (size < 1 || size > MOST_BYTES) {
        return 0;
    }
    unsigned mode = data[0];
    im_index_state state = {.dim = 1 + (mode >> 5) * 9, .generation = 1, .model_digest = "fuzz"};
    format_layout layout = format_layout_of(state.dim);
    size_t used = size - 1;
    memset(bytes, 0, sizeof(bytes));
    if (mode & 1) {
        memcpy(bytes, data + 1, used);
    } else {
        format_write_header(&state, bytes);
        memcpy(bytes + HEADER_BYTES, data + 1, used);
        used += HEADER_BYTES;
    }
    size_t n = used > HEADER_BYTES ? (used - HEADER_BYTES) / layout.pitch : 0;
    if ((mode & 2) == 0) {
        mend_rows(&layout, bytes + HEADER_BYTES, n);
    }
    state.n_rows = n + ((mode >> 4) & 1);
    make_folder();
    put_file(bytes, used);
    read_all(&state);
    append(&state);
    return 0;
}
