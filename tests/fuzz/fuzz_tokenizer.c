/* IMAGO_FUZZ_ROOMS: base image encoder
 * tests/fuzz/fuzz_tokenizer.c — vocab.json, merges.txt and a text, one behind the other with NUL
 * between; no id reaches beyond the table, no text more tokens than the context. */
#include "encoder/encoder_internal.h"
#include "tests/fuzz/files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ROWS 600u
#define CONTEXT 24u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *part[3] = {data, data, data};
    size_t length[3] = {size, 0, 0};
    tokenizer *t = NULL;
    uint32_t ids[CONTEXT];
    size_t n = 0;
    for (size_t i = 0; i < 2; i++) {
        const uint8_t *nul = length[i] > 0 ? memchr(part[i], 0, length[i]) : NULL;
        if (nul != NULL) {
            part[i + 1] = nul + 1;
            length[i + 1] = length[i] - (size_t)(nul + 1 - part[i]);
            length[i] = (size_t)(nul - part[i]);
        }
    }
    fuzz_file("vocab.json", part[0], length[0]);
    fuzz_file("merges.txt", part[1], length[1]);
    if (tokenizer_open(fuzz_folder(), ROWS, &t, NULL) != IM_OK) {
        return 0;
    }
    im_view text =
        im_view_of((const char *)part[2], IM_MIN(length[2], (size_t)IM_LIMIT_QUERY_BYTES));
    if (im_utf8_valid(text.data, text.size, NULL) &&
        tokenizer_encode(t, text, CONTEXT, ids, &n, NULL, NULL) == IM_OK) {
        if (n < 2 || n > CONTEXT) {
            abort();
        }
        for (size_t i = 0; i < n; i++) {
            if (ids[i] >= ROWS) {
                abort();
            }
        }
    }
    tokenizer_close(t);
    return 0;
}
