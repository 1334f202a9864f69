/* IMAGO_FUZZ_ROOMS: base image encoder store index query vlm app
 * tests/fuzz/fuzz_meta.c — files of `add --meta` as CSV and as JSON lines: whatever a row holds has
 * been checked, and every file comes to its end. */
#include "app/meta_internal.h"
#include "tests/fuzz/files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at(const meta_row *row)
{
    size_t names = (size_t)(row->path != NULL) + (row->id != 0);
    if (row->error.code != IM_OK) {
        return;
    }
    if (names > 1 || (names == 0 && row->key == NULL) ||
        (row->key != NULL && im_key_check(row->key, NULL) != IM_OK)) {
        abort();
    }
    for (size_t i = 0; i < row->n_tags; i++) {
        if (im_tag_check(row->tags[i], NULL) != IM_OK) {
            abort();
        }
    }
    for (size_t i = 0; i < row->n_pairs; i++) {
        const meta_pair *pair = &row->pairs[i];
        if (im_field_name_check(pair->name, NULL) != IM_OK ||
            (pair->kind != META_DROP && im_value_check(pair->name, &pair->value, NULL) != IM_OK)) {
            abort();
        }
    }
}

static void read_file(const char *name)
{
    char path[128];
    meta_reader *reader = NULL;
    bool more = true;
    uint64_t line = 0;
    (void)snprintf(path, sizeof(path), "%s/%s", fuzz_folder(), name);
    im_code rc = meta_reader_open(path, &reader, NULL);
    while (rc == IM_OK && more) {
        meta_row row;
        rc = meta_reader_next(reader, &row, &more, NULL);
        if (rc == IM_OK && more) {
            if (row.line <= line) {
                abort(); /* lines go forward */
            }
            line = row.line;
            look_at(&row);
        }
        meta_row_clear(&row);
    }
    meta_reader_close(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_file("f.csv", data, size);
    fuzz_file("f.jsonl", data, size);
    read_file("f.csv");
    read_file("f.jsonl");
    return 0;
}
