/* IMAGO_FUZZ_ROOMS: base
 * tests/fuzz/fuzz_json.c — the strict reader: whatever it accepts can be written and read again. */
#include "base/base.h"
#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *root = NULL;
    json_t *again = NULL;
    if (im_json_parse((const char *)data, size, "fuzz", &root, NULL) != IM_OK) {
        return 0;
    }
    char *text = json_dumps(root, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(17));
    if (text == NULL || im_json_parse(text, strlen(text), "again", &again, NULL) != IM_OK) {
        abort();
    }
    im_free(text);
    json_decref(root);
    json_decref(again);
    return 0;
}
