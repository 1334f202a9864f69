/* tests/app/help_rows.c — see help_rows.h. */
#include "tests/app/help_rows.h"
#include "base/hash.h"

#include <dirent.h>
#include <math.h>

im_library *help_rows_library(const help_home *home)
{
    im_error err = IM_ERROR_INIT;
    help_ok(im_app_init(&home->places, &err), &err);
    im_library *library = help_open(home, true);
    help_ok(model_prepare(library, NULL, &err), &err);
    assert_int_equal(library->model.dim, HELP_DIM);
    return library;
}

void help_rows_vector(uint32_t name, uint32_t equal, float *out)
{
    uint64_t state = (equal != 0 ? name % equal : name) * UINT64_C(0x9e3779b97f4a7c15) + 1;
    double squares = 0;
    for (size_t i = 0; i < HELP_DIM; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        out[i] = (float)(int32_t)(state >> 32) / 2147483648.0f;
        squares += (double)out[i] * (double)out[i];
    }
    for (size_t i = 0; i < HELP_DIM; i++) {
        out[i] = (float)((double)out[i] / sqrt(squares));
    }
}

static im_code put_one(im_library *library, uint32_t name, const float *vector,
                       im_index_writer *writer, im_index_record *record, uint64_t *out_id,
                       im_error *err)
{
    uint64_t slot = 0;
    im_item item = {.bytes = 1, .format = "png", .width = 1, .height = 1, .added_ns = 1};
    memcpy(item.sha256, &name, sizeof(name));
    im_code rc = im_store_put_item(library->store, &item, out_id, err);
    if (rc == IM_OK) {
        rc = im_index_writer_append(writer, out_id, vector, 1, &slot, err);
    }
    if (rc == IM_OK) {
        rc = im_store_put_embedding(library->store, *out_id, library->model.id, slot, vector,
                                    HELP_DIM, err);
        record->n_rows = slot + 1;
    }
    return rc;
}

static im_code put_all(im_library *library, const char *folder, const uint32_t *names, size_t n,
                       uint32_t equal, uint64_t *out_ids, im_error *err)
{
    im_index_record record;
    im_index_state state;
    im_index_writer *writer = NULL;
    im_code rc = im_store_get_index(library->store, library->model.id, &record, err);
    if (rc == IM_OK && record.generation == 0) {
        record.generation = 1;
        library_index_state(library, &library->model, &record, &state);
        rc = im_index_create(folder, &state, err);
    }
    if (rc == IM_OK) {
        library_index_state(library, &library->model, &record, &state);
        rc = im_index_writer_open(folder, &state, &writer, err);
    }
    if (rc == IM_OK) {
        rc = im_store_begin(library->store, err);
    }
    for (size_t i = 0; i < n && rc == IM_OK; i++) {
        float vector[HELP_DIM];
        uint64_t id = 0;
        help_rows_vector(names[i], equal, vector);
        rc = put_one(library, names[i], vector, writer, &record, &id, err);
        if (out_ids != NULL) {
            out_ids[i] = id;
        }
    }
    if (rc == IM_OK) {
        rc = im_index_writer_sync(writer, err);
    }
    if (rc == IM_OK) {
        rc = im_store_set_index(library->store, library->model.id, &record, err);
    }
    if (rc == IM_OK) {
        rc = im_store_commit(library->store, err);
    } else {
        im_store_rollback(library->store);
    }
    im_index_writer_close(writer);
    return rc;
}

im_code help_rows_try_add(im_library *library, const uint32_t *names, size_t n, uint32_t equal,
                          uint64_t *out_ids, im_error *err)
{
    im_code rc = im_store_lock(library->store, IM_LIMIT_LOCK_WAIT_MS, err);
    if (rc == IM_OK) {
        char *folder = library_index_folder(library, library->model.digest);
        rc = put_all(library, folder, names, n, equal, out_ids, err);
        im_store_unlock(library->store);
        im_free(folder);
    }
    return rc;
}

void help_rows_add(im_library *library, const uint32_t *names, size_t n, uint32_t equal,
                   uint64_t *out_ids)
{
    im_error err = IM_ERROR_INIT;
    help_ok(help_rows_try_add(library, names, n, equal, out_ids, &err), &err);
}

uint32_t help_rows_name(const im_item *item)
{
    uint32_t name = 0;
    memcpy(&name, item->sha256, sizeof(name));
    return name;
}

im_index_record help_rows_record(im_library *library)
{
    im_index_record record;
    im_error err = IM_ERROR_INIT;
    help_ok(im_store_get_index(library->store, library->model.id, &record, &err), &err);
    return record;
}

im_answer help_rows_search(im_library *library, const char *text, size_t k, im_search_mode mode)
{
    im_answer answer;
    im_error err = IM_ERROR_INIT;
    const im_query_part part = {.kind = IM_PART_TEXT, .text = im_view_from(text), .weight = 1};
    im_search_request request = {.parts = &part, .n_parts = 1, .k = k, .mode = mode};
    help_ok(im_app_search(library, &request, &answer, &err), &err);
    return answer;
}

size_t help_rows_files(im_library *library)
{
    size_t n = 0;
    size_t n_columns = 0;
    char *folder = library_index_folder(library, library->model.digest);
    DIR *listing = opendir(folder);
    assert_non_null(listing);
    for (struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
        bool columns = strncmp(entry->d_name, "columns.", strlen("columns.")) == 0;
        n_columns += columns;
        n += !columns && strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    assert_true(n_columns <= 1);
    (void)closedir(listing);
    im_free(folder);
    return n;
}
