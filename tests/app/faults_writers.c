/* tests/app/faults_writers.c — the use cases that write a library; see faults.h. */
#include "tests/app/faults.h"

static bool say_yes(void *context, const char *question)
{
    (void)context;
    (void)question;
    return true;
}

im_code do_init(im_error *err)
{
    return im_app_init(&world.home.places, err);
}

im_code do_add(im_error *err)
{
    im_library *library = NULL;
    im_add_report report;
    const char *path = world.home.pictures;
    im_add_request request = {.paths = &path, .n_paths = 1, .decoders = 2};
    im_events events = {.confirm = say_yes};
    im_code rc = open_it(true, &library, err);
    if (rc == IM_OK) {
        rc = im_app_add(library, &request, &events, &report, err);
    }
    im_library_close(library);
    return rc;
}

/* Two batches would take long to walk: one line of each kind, all in one. */
im_code do_meta(im_error *err)
{
    im_library *library = NULL;
    im_add_report report;
    im_add_request request = {.meta = help_path(world.home.base, "meta.jsonl")};
    im_code rc = open_it(true, &library, err);
    if (rc == IM_OK) {
        rc = im_app_add(library, &request, NULL, &report, err);
    }
    im_library_close(library);
    return rc;
}

im_code do_tag(im_error *err)
{
    im_library *library = NULL;
    im_tag_report report;
    im_json_writer w;
    const uint64_t id = 2;
    const char *path = help_path(world.home.pictures, "a.png");
    const char *const add = "beach";
    const char *const remove = "none";
    im_tag_request request = {.items = &id,
                              .n_items = 1,
                              .paths = &path,
                              .n_paths = 1,
                              .add = &add,
                              .n_add = 1,
                              .remove = &remove,
                              .n_remove = 1};
    im_code rc = open_it(true, &library, err);
    im_json_init(&w, 1u << 20);
    if (rc == IM_OK) {
        rc = im_app_tag(library, &request, NULL, &report, err);
    }
    if (rc == IM_OK) {
        rc = im_app_tags_json(library, &request, NULL, &w, err);
    }
    if (rc == IM_OK && !im_json_ok(&w)) {
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for the answer");
    }
    im_json_clear(&w);
    im_library_close(library);
    return rc;
}

im_code do_remove(im_error *err)
{
    im_library *library = NULL;
    uint64_t removed = 0;
    const uint64_t id = 2;
    const char *path = help_path(world.home.pictures, "a.png");
    im_remove_request request = {.items = &id, .n_items = 1, .paths = &path, .n_paths = 1};
    im_events events = {.confirm = say_yes};
    im_code rc = open_it(true, &library, err);
    if (rc == IM_OK) {
        rc = im_app_remove(library, &request, &events, &removed, err);
    }
    if (rc == IM_OK) {
        assert_int_equal(removed, 2);
    }
    im_library_close(library);
    return rc;
}

/* Not by im_file_read: it would be a place of the walk. */
static im_view bytes_of(const char *name, char *out, size_t most)
{
    FILE *file = fopen(help_path(world.home.base, name), "rb");
    assert_non_null(file);
    im_view bytes = im_view_of(out, fread(out, 1, most, file));
    (void)fclose(file);
    assert_in_range(bytes.size, 1, most - 1);
    return bytes;
}

im_code do_upload(im_error *err)
{
    static char bytes[2][32 << 10];
    const im_upload uploads[2] = {
        {.bytes = bytes_of("changed/e.png", bytes[0], sizeof(bytes[0])), .name = "e"},
        {.bytes = bytes_of("changed/f.png", bytes[1], sizeof(bytes[1])), .name = "f"}};
    static const char said[] = "{\"tags\":[\"sent\"]}";
    const im_item_change change = {.json = im_view_of(said, sizeof(said) - 1), .name = "meta"};
    const im_upload_request request = {.uploads = uploads, .n = 2, .change = &change};
    im_upload_result results[2];
    im_library *library = NULL;
    im_code rc = open_it(true, &library, err);
    if (rc == IM_OK) {
        rc = im_app_upload(library, &request, results, err);
        for (size_t i = 0; rc == IM_OK && i < 2; i++) {
            rc = results[i].error.code;
            *err = results[i].error;
        }
    }
    im_library_close(library);
    return rc;
}

im_code do_rebuild(im_error *err)
{
    im_library *library = NULL;
    im_rebuild_report report;
    im_code rc = open_it(true, &library, err);
    if (rc == IM_OK) {
        rc = im_app_rebuild(library, NULL, NULL, &report, err);
    }
    im_library_close(library);
    return rc;
}

im_code do_engine(im_error *err)
{
    im_library *library = NULL;
    im_rebuild_report report;
    const im_rebuild_request request = {.has_engine = true, .engine = IM_ENGINE_IVF};
    im_code rc = open_it(true, &library, err);
    if (rc == IM_OK) {
        rc = im_app_rebuild(library, &request, NULL, &report, err);
    }
    im_library_close(library);
    return rc;
}

im_code do_drop_engine(im_error *err)
{
    im_library *library = NULL;
    im_rebuild_report report;
    const im_rebuild_request request = {.has_engine = true, .engine = IM_ENGINE_AUTO};
    im_code rc = open_it(true, &library, err);
    if (rc == IM_OK) {
        rc = im_app_rebuild(library, &request, NULL, &report, err);
    }
    im_library_close(library);
    return rc;
}

/* With the FAISS file and a proposal that becomes the library's. */
im_code do_audit(im_error *err)
{
    im_library *library = NULL;
    im_audit_report report;
    const im_audit_request request = {.n_queries = 3, .k = 2, .want = 0.9, .apply = true};
    im_library_options options = {.places = &world.home.places,
                                  .writable = true,
                                  .engine = IM_ENGINE_IVF,
                                  .index_params = "nprobe=2",
                                  .threads = 2};
    im_code rc = im_library_open(&options, &library, err);
    if (rc == IM_OK) {
        rc = im_app_audit(library, &request, NULL, &report, err);
    }
    im_library_close(library);
    return rc;
}

im_code do_compact(im_error *err)
{
    im_library *library = NULL;
    im_compact_report report;
    im_code rc = open_it(true, &library, err);
    if (rc == IM_OK) {
        rc = im_app_compact(library, NULL, &report, err);
    }
    im_library_close(library);
    return rc;
}

im_code do_model_use(im_error *err)
{
    im_library *library = NULL;
    im_code rc = open_it(true, &library, err);
    if (rc == IM_OK) {
        rc = im_app_model_use(library, HELP_OTHER_MODEL, NULL, err);
    }
    im_library_close(library);
    return rc;
}

im_code do_import(im_error *err)
{
    im_library *library = NULL;
    im_import_report report;
    char in[160];
    (void)snprintf(in, sizeof(in), "%s/in", world.home.base);
    im_import_request request = {.folder = in, .trust_model = true};
    im_code rc = open_it(true, &library, err);
    if (rc == IM_OK) {
        rc = im_app_import(library, &request, NULL, &report, err);
    }
    im_library_close(library);
    return rc;
}
