/* tests/fuzz/fuzz_codes.c — a codes file with foreign bytes in it, beside a sound vector file:
 * opened, searched in every mode, mended. Nothing may crash; hits are rows that are there with
 * their own scores; and where a checksum gives the bytes away, they are the scan's.
 *
 * IMAGO_FUZZ_ROOMS: base index
 *
 * The first byte says what is mended, so that wild numbers get past the checksums: bit 0 not the
 * header's, bit 1 not the blocks'; bit 2 which of the two files. Three bytes are the place, the
 * rest is put there. */
#include "base/file.h"
#include "base/hash.h"
#include "index/tiered_internal.h"
#include "tests/help_folder.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N = 400, D = 8, K = 5, HEADER = 4 };

static char folder[HELP_FOLDER_BYTES];
static char paths[3][HELP_FOLDER_BYTES + 32]; /* vectors, int8, bits */
static im_bytes sound[3];
static im_index_state state = {.dim = D, .generation = 1, .model_digest = "fuzz"};
static im_hit truth[K];
static const float question[D] = {0.6F, 0, 0.8F};

static void must(im_code rc)
{
    if (rc != IM_OK) {
        abort();
    }
}

static void remove_files(void)
{
    for (size_t i = 0; i < 3; i++) {
        im_bytes_clear(&sound[i]);
    }
    (void)help_remove_folder(folder);
}

static void put_file(const char *path, const uint8_t *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes, 1, size, file) != size) {
        abort();
    }
    fclose(file);
}

static void search(im_index *index, im_search_mode mode, im_hit *hits, im_index_answer *answer)
{
    im_index_part part = {question, 1, 0};
    im_index_query query = {
        .parts = &part, .n_parts = 1, .k = K, .leave_out = IM_NO_ITEM, .mode = mode};
    must(im_index_search(index, &query, hits, answer, NULL));
    for (size_t i = 0; i < answer->n_hits; i++) {
        float score = 0;
        must(im_index_score(index, &query, hits[i].slot, &score, NULL, NULL));
        if (score != hits[i].score) {
            abort();
        }
    }
}

static im_index *open_index(im_engine engine)
{
    im_index *index = NULL;
    im_index_options options = {.engine = engine};
    must(im_index_open(folder, &state, NULL, &options, &index, NULL));
    return index;
}

static void write_rows(void)
{
    im_index_writer *writer = NULL;
    uint64_t slot = 0;
    uint32_t seed = 1;
    must(im_index_create(folder, &state, NULL));
    must(im_index_writer_open(folder, &state, &writer, NULL));
    for (uint64_t item = 1; item <= N; item++) {
        float row[D] = {0};
        seed = seed * 1664525u + 1013904223u;
        size_t at = (seed >> 8) % (D - 1); /* one of some Pythagorean rows */
        row[at] = (seed >> 20) % 2 != 0 ? 0.6F : 0.28F;
        row[at + 1] = row[at] > 0.5F ? 0.8F : 0.96F;
        must(im_index_writer_append(writer, &item, row, 1, &slot, NULL));
    }
    must(im_index_writer_sync(writer, NULL));
    im_index_writer_close(writer);
    state.n_rows = N;
}

static void make_library(void)
{
    static const char *const names[] = {"vectors.1.f32", "codes.1.i8", "codes.1.b1"};
    im_index_answer answer;
    if (help_temporary_in_memory(folder) == NULL) {
        abort();
    }
    atexit(remove_files);
    write_rows();
    must(im_index_codes_update(folder, &state, NULL, NULL));
    for (size_t i = 0; i < 3; i++) {
        snprintf(paths[i], sizeof(paths[i]), "%s/%s", folder, names[i]);
        must(im_file_read(paths[i], 1u << 24, &sound[i], NULL));
    }
    im_index *index = open_index(IM_ENGINE_SCAN);
    search(index, IM_MODE_AUTO, truth, &answer);
    im_index_close(index);
}

static void mend(unsigned mode, uint8_t *bytes, codes_kind kind)
{
    codes_layout layout = codes_layout_of(kind, D);
    if ((mode & 1) == 0) {
        uint32_t crc = im_crc32c(0, bytes, HEADER_BYTES - 4);
        memcpy(bytes + HEADER_BYTES - 4, &crc, sizeof(crc));
    }
    for (uint64_t b = 0; (mode & 2) == 0 && b < codes_blocks_of(&layout, N); b++) {
        codes_seal_block(bytes + layout.head_bytes + b * CODES_BLOCK_BYTES, b);
    }
}

static bool is_truth(const im_hit *hits)
{
    for (size_t i = 0; i < K; i++) {
        if (hits[i].item != truth[i].item || hits[i].score != truth[i].score) {
            return false;
        }
    }
    return true;
}

static void search_all(bool is_mended)
{
    im_hit hits[K];
    im_index_answer answer;
    im_index *index = open_index(IM_ENGINE_TIERED);
    ((tiered_engine *)index->engine_data)->fast_rows = 1;
    for (int mode = IM_MODE_AUTO; mode <= IM_MODE_FAST; mode++) {
        search(index, (im_search_mode)mode, hits, &answer);
        if (answer.n_hits != K || (!is_mended && answer.exact && !is_truth(hits))) {
            abort();
        }
    }
    im_index_close(index);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEADER) {
        return 0;
    }
    if (folder[0] == '\0') {
        make_library();
    }
    codes_kind kind = (data[0] & 4) != 0 ? CODES_B1 : CODES_I8;
    const im_bytes *old = &sound[kind];
    size_t place = ((size_t)data[1] | (size_t)data[2] << 8 | (size_t)data[3] << 16) % old->size;
    size_t n = size - HEADER < old->size - place ? size - HEADER : old->size - place;
    uint8_t *bytes = malloc(old->size);
    if (bytes == NULL) {
        return 0;
    }
    memcpy(bytes, old->data, old->size);
    memcpy(bytes + place, data + HEADER, n);
    mend(data[0], bytes, kind);
    put_file(paths[kind], bytes, old->size);
    search_all((data[0] & 3) != 3);
    must(im_index_codes_update(folder, &state, NULL, NULL)); /* whatever it finds */
    put_file(paths[CODES_I8], sound[CODES_I8].data, sound[CODES_I8].size);
    put_file(paths[CODES_B1], sound[CODES_B1].data, sound[CODES_B1].size);
    free(bytes);
    return 0;
}
