/* IMAGO_FUZZ_ROOMS: base image encoder
 * tests/fuzz/fuzz_safetensors.c — the header and spans of a weights file; every tensor that is
 * accepted is read to its last value. */
#include "encoder/encoder_internal.h"
#include "tests/fuzz/files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    weights *w = NULL;
    const tensor *t = NULL;
    static const uint64_t shapes[][2] = {{2, 3}, {4, 1}, {0, 0}, {48, 48}};
    fuzz_file("model.safetensors", data, size);
    if (weights_open(fuzz_folder(), &w, NULL) != IM_OK) {
        return 0;
    }
    for (size_t i = 0; i < IM_COUNT(shapes); i++) {
        float last = 0;
        if (weights_find(w, "a", 2, shapes[i], &t, NULL) == IM_OK && t->n_values > 0) {
            tensor_read(t, t->n_values - 1, 1, &last);
            tensor_read(t, 0, 1, &last);
        }
    }
    weights_close(w);
    return 0;
}
