/* tests/app/faults_sights.c — what must hold behind an operation, failed or done; see faults.h. */
#include "tests/app/faults.h"
#include <unistd.h>

void sees_old_items(im_library *library)
{
    im_error err = IM_ERROR_INIT;
    im_model_row model = {0};
    char digest[65];
    help_ok(im_encoder_digest(HELP_MODEL, digest, &err), &err);
    help_ok(im_store_model_of_digest(im_library_store(library), digest, &model, &err), &err);
    for (uint64_t id = 1; id <= N_OLD; id++) {
        float vector[HELP_DIM];
        im_item item;
        im_code rc = im_store_get_item(im_library_store(library), id, &item, &err);
        if (rc == IM_ERR_NOT_FOUND && id == world.old_c &&
            world_item_of_c(library) != world.old_c) {
            continue; /* its only file has other content now */
        }
        help_ok(rc, &err);
        rc = im_store_get_embedding(im_library_store(library), id, model.id, vector, HELP_DIM, NULL,
                                    &err);
        if (rc != IM_ERR_NOT_FOUND || id != 1) { /* 1 has none in "gap" */
            help_ok(rc, &err);
            assert_memory_equal(vector, world.old_vectors[id - 1], sizeof(vector));
        }
    }
    im_model_row_clear(&model);
}

void sees_nothing(im_library *library)
{
    (void)library;
}

void sees_all_or_none_removed(im_library *library)
{
    uint64_t items = help_counts(library).items;
    assert_true(items == N_OLD || items == N_OLD - 2);
}

void sees_added(im_library *library)
{
    im_store_counts counts = help_counts(library);
    assert_int_equal(counts.items, N_OLD + 2); /* the old content of c.png is no picture any more */
    assert_int_equal(counts.embeddings, N_OLD + 2);
    assert_int_equal(counts.files, 6);
    assert_int_equal(counts.missing_files, 1);
    assert_int_equal(counts.failures, 0);
}

void sees_added_first(im_library *library)
{
    im_store_counts counts = help_counts(library);
    assert_int_equal(counts.items, 5);
    assert_int_equal(counts.embeddings, 5);
    assert_int_equal(counts.failures, 0);
}

void sees_imported_first(im_library *library)
{
    im_store_counts counts = help_counts(library);
    assert_int_equal(counts.items, N_IMPORTED);
    assert_int_equal(counts.embeddings, N_IMPORTED);
    assert_int_equal(counts.files, 0);
}

void sees_imported(im_library *library)
{
    im_store_counts counts = help_counts(library);
    assert_int_equal(counts.items, N_OLD + N_IMPORTED);
    assert_int_equal(counts.embeddings, N_OLD + N_IMPORTED);
    sees_old_items(library);
}

void sees_embedded(im_library *library)
{
    assert_int_equal(help_counts(library).embeddings, N_OLD);
}

void sees_compacted(im_library *library)
{
    im_error err = IM_ERROR_INIT;
    im_index_record record;
    help_ok(library_model(library, &err), &err);
    help_ok(im_store_get_index(library->store, library->model.id, &record, &err), &err);
    assert_int_equal(record.n_rows, N_OLD - 1);
    sees_old_items(library);
}

void sees_removed(im_library *library)
{
    assert_int_equal(help_counts(library).items, N_OLD - 2);
}

/* What a line gives is there whole, or not at all. */
static uint64_t items_of_key(im_library *library, const char *key)
{
    im_error err = IM_ERROR_INIT;
    uint64_t item = 0;
    help_ok(im_store_item_of_key(im_library_store(library), key, &item, &err), &err);
    return item;
}

static bool count_field(void *context, const char *name, const im_value *value)
{
    (void)name;
    (void)value;
    *(size_t *)context += 1;
    return true;
}

static size_t fields_of(im_library *library, uint64_t item)
{
    im_error err = IM_ERROR_INIT;
    size_t n = 0;
    help_ok(im_store_each_field_of_item(im_library_store(library), item, count_field, &n, &err),
            &err);
    return n;
}

void sees_lines(im_library *library)
{
    assert_int_equal(items_of_key(library, "one"), 1);
    assert_int_equal(fields_of(library, 1), 2);
    assert_int_equal(fields_of(library, 2), 1);
}

void sees_all_or_no_lines(im_library *library)
{
    sees_old_items(library);
    if (items_of_key(library, "one") != 0) {
        sees_lines(library);
    } else {
        assert_int_equal(fields_of(library, 1) + fields_of(library, 2), 0);
    }
}

/* A picture that is an item has its file, whatever failed behind. */
void sees_uploads_with_files(im_library *library)
{
    im_error err = IM_ERROR_INIT;
    uint64_t items = help_counts(library).items;
    sees_old_items(library);
    for (uint64_t id = N_OLD + 1; id <= items; id++) {
        im_original original;
        help_ok(im_app_open_original(library, id, &original, &err), &err);
        (void)close(original.fd);
    }
}

void sees_uploaded(im_library *library)
{
    assert_int_equal(help_counts(library).items, N_OLD + 2);
    sees_uploads_with_files(library);
}
