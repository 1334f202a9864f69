/* tests/encoder/dump_ids.c — reads a JSON list of texts and prints the token ids of each as a line
 * of JSON: what tests/reference/check_parity.py holds against the reference tokenizer. */
#include "base/base.h"
#include "base/file.h"
#include "base/json.h"
#include "encoder/encoder.h"

int main(int argc, char **argv)
{
    im_encoder *encoder = NULL;
    im_bytes bytes = {0};
    json_t *texts = NULL;
    im_error err = IM_ERROR_INIT;
    im_encoder_options options = {.towers = IM_TOWERS_TEXT};
    if (argc != 3) {
        fprintf(stderr, "usage: dump_ids MODEL_FOLDER TEXTS.json\n");
        return 2;
    }
    im_code rc = im_encoder_open(argv[1], &options, &encoder, &err);
    if (rc == IM_OK) {
        rc = im_file_read(argv[2], 1u << 30, &bytes, &err);
    }
    if (rc == IM_OK) {
        rc = im_json_parse((const char *)bytes.data, bytes.size, argv[2], &texts, &err);
    }
    for (size_t i = 0; rc == IM_OK && i < json_array_size(texts); i++) {
        const json_t *text = json_array_get(texts, i);
        uint32_t ids[1024];
        size_t n = 0;
        rc = im_encoder_tokenize(encoder,
                                 im_view_of(json_string_value(text), json_string_length(text)), ids,
                                 &n, NULL, &err);
        for (size_t j = 0; rc == IM_OK && j < n; j++) {
            printf("%s%u%s", j == 0 ? "[" : ",", ids[j], j + 1 == n ? "]\n" : "");
        }
    }
    if (rc != IM_OK) {
        fprintf(stderr, "dump_ids: %s\n", err.message);
    }
    json_decref(texts);
    im_bytes_clear(&bytes);
    im_encoder_close(encoder);
    return im_code_exit(rc);
}
