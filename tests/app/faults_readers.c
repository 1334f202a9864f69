/* tests/app/faults_readers.c — the use cases that only read a library; see faults.h. */
#include "base/file.h"
#include "tests/app/faults.h"

#include <dirent.h>
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int drop_if_columns(const char *path, const struct stat *facts, int kind, struct FTW *at)
{
    (void)facts;
    if (kind == FTW_F && strncmp(path + at->base, "columns.", 8) == 0) {
        assert_int_equal(unlink(path), 0);
    }
    return 0;
}

static void drop_columns(void)
{
    assert_int_equal(nftw(world.home.library, drop_if_columns, 8, FTW_PHYS), 0);
}

im_code do_search(im_error *err)
{
    im_library *library = NULL;
    im_answer answer = {0};
    const im_query_part parts[] = {
        {.kind = IM_PART_TEXT, .text = im_view_from("a red car"), .weight = 1},
        {.kind = IM_PART_PICTURE, .path = help_path(world.home.pictures, "a.png"), .weight = 0.5},
        {.kind = IM_PART_PICTURE, .item = 2, .weight = -0.5}};
    im_search_request request = {.text = "q", .parts = parts, .n_parts = 3, .k = 3};
    im_code rc = open_it(false, &library, err);
    if (rc == IM_OK) {
        rc = im_app_search(library, &request, &answer, err);
    }
    if (rc == IM_OK) {
        assert_int_equal(answer.n_hits, 3);
        assert_int_equal(answer.filtered, N_OLD);
    }
    im_answer_clear(&answer);
    im_library_close(library);
    return rc;
}

/* Filter, order and groups; the columns are made on the way. */
im_code do_filter(im_error *err)
{
    im_library *library = NULL;
    im_answer answer = {0};
    const im_search_request request = {.text = "red ^2 -@#2 +\"a png\" (type:png or tag:x)",
                                       .filter = "path:* -is:partial",
                                       .sort = "bytes",
                                       .group = "type:9",
                                       .has_min_score = true,
                                       .min_score = -1000,
                                       .k = 3};
    drop_columns();
    im_code rc = open_it(false, &library, err);
    if (rc == IM_OK) {
        rc = im_app_search(library, &request, &answer, err);
    }
    if (rc == IM_OK) {
        assert_int_equal(answer.n_hits, 1);
        assert_true(answer.has_total && answer.total == 1 && answer.filtered == 1);
    }
    im_answer_clear(&answer);
    im_library_close(library);
    return rc;
}

static im_code embed_pieces_of(im_library *library, im_error *err)
{
    im_embed_result result = {0};
    im_bytes file = {0};
    size_t tokens[2] = {0};
    const im_image_limits limits = {0};
    im_code rc = im_file_read(help_path(world.home.pictures, "a.png"), 1u << 20, &file, err);
    const im_embed_piece pieces[2] = {{.text = im_view_from("a red car")},
                                      {.picture = im_view_of((const char *)file.data, file.size)}};
    if (rc == IM_OK) {
        rc = im_app_embed_many(library, pieces, 2, &limits, &result, tokens, err);
    }
    for (size_t i = 0; rc == IM_OK && i < 2; i++) {
        rc = result.errors[i].code;
        *err = result.errors[i];
    }
    if (rc == IM_OK) {
        assert_int_equal(result.dim, HELP_DIM);
        assert_true(tokens[0] > 2 && tokens[1] == 0);
    }
    im_embed_result_clear(&result);
    im_bytes_clear(&file);
    return rc;
}

static im_code rerank_texts(im_library *library, im_error *err)
{
    im_rerank_result result = {0};
    const im_image_limits limits = {0};
    const im_embed_piece pieces[3] = {{.text = im_view_from("a red car")},
                                      {.text = im_view_from("the sea")},
                                      {.text = im_view_from("a red car")}};
    im_code rc = im_app_rerank(library, pieces, 2, &limits, &result, err);
    for (size_t i = 0; rc == IM_OK && i < 3; i++) {
        rc = result.errors[i].code;
        *err = result.errors[i];
    }
    if (rc == IM_OK) {
        assert_true(result.order[0] == 1 && result.order[1] == 0);
        assert_true(im_rerank_relevance(result.scores[1]) > im_rerank_relevance(result.scores[0]));
    }
    im_rerank_result_clear(&result);
    return rc;
}

/* The library's model, once more beside it. */
static im_code embed_beside(im_library *library, im_error *err)
{
    im_embedder *embedder = NULL;
    im_embed_result result = {0};
    size_t tokens = 0;
    bool is_active = false;
    im_library_facts facts;
    const im_image_limits limits = {0};
    const im_library_options options = {.places = &world.home.places, .threads = 1};
    const im_embed_piece piece = {.text = im_view_from("a red car")};
    im_code rc = im_embedder_open(&options, HELP_MODEL, &embedder, err);
    if (rc == IM_OK) {
        rc = im_embedder_run(embedder, &piece, 1, &limits, &result, &tokens, err);
    }
    if (rc == IM_OK) {
        rc = result.errors[0].code;
        *err = result.errors[0];
    }
    if (rc == IM_OK) {
        rc = im_app_model_is_active(library, HELP_MODEL, &is_active, err);
        assert_true(rc != IM_OK || is_active);
    }
    if (rc == IM_OK) {
        rc = im_app_facts(library, &facts, err);
        assert_true(rc != IM_OK || (facts.items == N_OLD && facts.vectors == N_OLD));
    }
    im_embed_result_clear(&result);
    im_embedder_close(embedder);
    return rc;
}

/* What a server does: words and a picture by path as requests, then vectors. */
im_code do_serve(im_error *err)
{
    im_library *library = NULL;
    im_query_request asked[2] = {0};
    im_answer answers[2] = {0};
    im_error errors[2] = {IM_ERROR_INIT, IM_ERROR_INIT};
    uint64_t items = 0;
    uint64_t vectors = 0;
    const im_search_how how = {.inside_roots = true};
    const im_query_part part = {
        .kind = IM_PART_PICTURE, .path = help_path(world.home.pictures, "a.png"), .weight = 1};
    const im_search_request requests[2] = {{.text = "red type:png", .k = 3},
                                           {.parts = &part, .n_parts = 1, .k = 1}};
    im_code rc = open_it(false, &library, err);
    for (size_t i = 0; rc == IM_OK && i < 2; i++) {
        rc = im_app_read_search(library, &requests[i], &asked[i], err);
    }
    if (rc == IM_OK) {
        rc = im_app_search_many(library, &how, asked, 2, answers, errors, err);
    }
    for (size_t i = 0; rc == IM_OK && i < 2; i++) {
        rc = errors[i].code;
        *err = errors[i];
    }
    if (rc == IM_OK) {
        assert_true(answers[0].n_hits == 3 && answers[1].n_hits == 1);
        rc = embed_pieces_of(library, err);
    }
    if (rc == IM_OK) {
        rc = rerank_texts(library, err);
    }
    if (rc == IM_OK) {
        rc = embed_beside(library, err);
    }
    if (rc == IM_OK) {
        rc = im_app_count(library, &items, &vectors, err);
        assert_true(rc != IM_OK || (items == N_OLD && vectors == N_OLD));
    }
    for (size_t i = 0; i < 2; i++) {
        im_answer_clear(&answers[i]);
        im_query_request_clear(&asked[i]);
    }
    im_library_close(library);
    return rc;
}

im_code do_check(im_error *err)
{
    im_library *library = NULL;
    im_check_report report;
    im_check_request request = {.full = true};
    im_code rc = open_it(false, &library, err);
    if (rc == IM_OK) {
        rc = im_app_check(library, &request, NULL, &report, err);
    }
    im_library_close(library);
    return rc;
}

/* The rest that only reads: status, show, models, vectors without a library. */
im_code do_tell(im_error *err)
{
    im_library *library = NULL;
    im_json_writer w;
    im_embed_result result = {0};
    const im_embed_input inputs[] = {{true, "a red car"},
                                     {false, help_path(world.home.pictures, "a.png")}};
    im_embed_request embed = {.model = HELP_MODEL, .inputs = inputs, .n_inputs = 2, .threads = 2};
    im_code rc = open_it(false, &library, err);
    im_json_init(&w, 1u << 20);
    im_json_begin_array(&w);
    if (rc == IM_OK) {
        rc = im_app_status_json(library, &w, err);
    }
    if (rc == IM_OK) {
        rc = im_app_show_json(library, 1, &w, err);
    }
    if (rc == IM_OK) {
        rc = im_app_model_list_json(&world.home.places, library, &w, err);
    }
    if (rc == IM_OK) {
        rc = im_app_model_info_json(&world.home.places, NULL, HELP_MODEL, &w, err);
    }
    if (rc == IM_OK) {
        rc = im_app_embed(&world.home.places, &embed, &result, err);
    }
    im_json_end_array(&w);
    if (rc == IM_OK && !im_json_ok(&w)) { /* the writer's own failure is seen by who prints it */
        rc = im_fail(err, IM_ERR_NOMEM, "no memory for the answer");
    }
    im_json_clear(&w);
    im_embed_result_clear(&result);
    im_library_close(library);
    return rc;
}

im_code do_export(im_error *err)
{
    static const char *const names[] = {"vectors.npy", "items.jsonl", "model.json"};
    im_library *library = NULL;
    im_export_report report = {0};
    char out[160];
    (void)snprintf(out, sizeof(out), "%s/out", world.home.base);
    (void)help_remove_folder(out);
    im_code rc = open_it(false, &library, err);
    if (rc == IM_OK) {
        rc = im_app_export(library, out, NULL, &report, err);
    }
    im_library_close(library);
    if (access(out, F_OK) == 0) { /* whole, or not there at all */
        for (size_t i = 0; i < IM_COUNT(names); i++) {
            assert_int_equal(access(help_path(out, names[i]), F_OK), 0);
        }
        assert_int_equal(report.rows, N_OLD);
    } else {
        assert_int_not_equal(rc, IM_OK);
    }
    DIR *dir = opendir(world.home.base);
    assert_non_null(dir);
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        assert_null(strstr(entry->d_name, ".export-"));
    }
    (void)closedir(dir);
    return rc;
}
