/* tests/app/test_faults.c — each use case while the nth allocation, open, read, write, sync,
 * rename, mapping or thread fails, n = 0, 1, 2 … until it passes: the caller sees a sensible code,
 * nothing leaks (memory, descriptors), the library is sound, all that was acknowledged before is
 * there, and the same call without a fault succeeds. SQLite's own calls are hooked too, so that
 * some calls have thousands of places: the first 6 (300 with IMAGO_TEST_LONG=1) are all walked,
 * then n grows by an eighth (by one in 64), from a start that the seed shifts. */
#include "app/npy_internal.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "tests/app/help.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#define N_OLD 4 /* pictures of the library that an operation starts with */

typedef struct fault_case {
    im_fault_kind kind;
    int errnum;
    unsigned codes; /* bit per im_code that a caller may see */
    const char *name;
} fault_case;

#define CODE(name) (1u << IM_##name)

/* PARTIAL everywhere: a fault that strikes while one picture is decoded is that picture's. */
static const fault_case cases[] = {
    {IM_FAULT_ALLOC, 0, CODE(ERR_NOMEM) | CODE(ERR_PARTIAL), "alloc"},
    {IM_FAULT_OPEN, EIO, CODE(ERR_IO) | CODE(ERR_PARTIAL), "open"},
    {IM_FAULT_OPEN, EMFILE, CODE(ERR_NOMEM) | CODE(ERR_IO) | CODE(ERR_PARTIAL), "open (too many)"},
    {IM_FAULT_READ, 0, CODE(ERR_IO) | CODE(ERR_PARTIAL), "read"},
    {IM_FAULT_WRITE, 0, CODE(ERR_IO), "write"},
    {IM_FAULT_WRITE, ENOSPC, CODE(ERR_FULL), "write (full)"},
    {IM_FAULT_SYNC, 0, CODE(ERR_IO), "sync"},
    {IM_FAULT_RENAME, 0, CODE(ERR_IO), "rename"},
    {IM_FAULT_MAP, 0, CODE(ERR_NOMEM) | CODE(ERR_IO), "map"},
    {IM_FAULT_THREAD, 0, CODE(ERR_NOMEM), "thread"},
};

/* ---- the world: libraries to start with, made once ---- */

static help_home home;
static float old_vectors[N_OLD][HELP_DIM];
static uint64_t old_c; /* whose only file is c.png */
static uint64_t seed;
static char place[96]; /* where the loop is: told when a test ends */

static const char *start_folder(const char *name)
{
    return help_path(home.base, name);
}

/* The picture that c.png holds. */
static uint64_t item_of_c(im_library *library)
{
    im_error err = IM_ERROR_INIT;
    im_file_row row = {0};
    help_ok(im_store_find_file(im_library_store(library), 1, im_view_from("c.png"), &row, &err),
            &err);
    assert_int_not_equal(row.id, 0);
    return row.item;
}

static void remember_vectors(im_library *library)
{
    im_error err = IM_ERROR_INIT;
    im_model_row model = {0};
    help_ok(im_store_active_model(im_library_store(library), &model, &err), &err);
    assert_int_equal(model.dim, HELP_DIM);
    for (uint64_t id = 1; id <= N_OLD; id++) {
        help_ok(im_store_get_embedding(im_library_store(library), id, model.id, old_vectors[id - 1],
                                       HELP_DIM, NULL, &err),
                &err);
    }
    old_c = item_of_c(library);
    im_model_row_clear(&model);
}

/* "gap": as "filled", but one item has lost its vector. */
static void make_gap(void)
{
    im_error err = IM_ERROR_INIT;
    im_model_row model = {0};
    im_library *library = help_open(&home, true);
    help_ok(im_store_active_model(im_library_store(library), &model, &err), &err);
    help_ok(im_store_drop_embedding(im_library_store(library), 1, model.id, &err), &err);
    im_model_row_clear(&model);
    im_library_close(library);
}

/* "engined": as "filled", with a FAISS file; and texts to audit it with. */
static void make_engined(void)
{
    static const char texts[] = "a red car\n\na dog in the snow\nthe sea";
    im_error err = IM_ERROR_INIT;
    im_rebuild_report report;
    const im_rebuild_request request = {.has_engine = true, .engine = IM_ENGINE_IVF};
    const char *path = help_path(home.places.share, "calibration/texts.txt");
    help_ok(im_file_write_atomic(path, texts, sizeof(texts) - 1, &err), &err);
    assert_int_equal(setenv("IMAGO_MODULES", IMAGO_BINARY_DIR "/index", 1), 0);
    help_copy(start_folder("filled"), home.library);
    im_library *library = help_open(&home, true);
    help_ok(im_app_rebuild(library, &request, NULL, &report, &err), &err);
    assert_int_equal(report.file.n_rows, N_OLD);
    im_library_close(library);
    help_copy(home.library, start_folder("engined"));
    help_remove(home.library);
}

static void link_changed(const char *from, const char *to)
{
    char target[256];
    (void)snprintf(target, sizeof(target), "%s/changed/%s", home.base, to);
    assert_int_equal(link(help_path(home.pictures, from), target), 0);
}

/* The pictures as an `add` finds them later: one moved, one has new content, one is gone, two are
 * new. Hard links keep the stamps of what stayed. */
static void make_changed(void)
{
    assert_int_equal(mkdir(help_path(home.base, "changed"), 0755), 0);
    link_changed("a.png", "a.png");
    link_changed("b.png", "b2.png");
    help_png(help_path(home.base, "changed/c.png"), 77);
    help_png(help_path(home.base, "changed/e.png"), 78);
    help_png_sized(help_path(home.base, "changed/f.png"), 79, 60, 50);
}

/* Puts the folder "pictures" or "changed" where the library knows its pictures. */
static void show_pictures(bool changed)
{
    static bool are_changed;
    if (changed != are_changed) {
        const char *aside = help_path(home.base, "aside");
        const char *other = help_path(home.base, "changed");
        assert_int_equal(rename(home.pictures, aside), 0);
        assert_int_equal(rename(other, home.pictures), 0);
        assert_int_equal(rename(aside, other), 0);
        are_changed = changed;
    }
}

static void write_lines(void)
{
    FILE *file = fopen(help_path(home.base, "meta.jsonl"), "wb");
    assert_non_null(file);
    assert_true(fputs("{\"path\":\"pictures/a.png\",\"key\":\"one\",\"n\":1,\"tags\":[\"x\"],"
                      "\"caption\":\"c\"}\n"
                      "{\"key\":\"one\",\"d\":{\"date\":\"2024\"}}\n"
                      "{\"id\":2,\"n\":2,\"gone\":null,\"tags\":null}\n",
                      file) >= 0);
    assert_int_equal(fclose(file), 0);
}

#define N_IMPORTED 3

/* Vectors of unit length with all that a line can say, but for a digest. */
static void make_import(void)
{
    im_error err = IM_ERROR_INIT;
    im_str text;
    uint8_t head[NPY_HEAD_BYTES];
    char in[160];
    (void)snprintf(in, sizeof(in), "%s/in", home.base);
    assert_int_equal(mkdir(in, 0755), 0);
    im_str_init(&text, 1u << 16);
    npy_write_head(N_IMPORTED, HELP_DIM, head);
    im_str_add(&text, (const char *)head, sizeof(head));
    for (size_t i = 0; i < N_IMPORTED; i++) {
        float row[HELP_DIM] = {0};
        row[i] = 1;
        im_str_add(&text, (const char *)row, sizeof(row));
    }
    help_ok(im_file_write_atomic(help_path(in, "vectors.npy"), text.data, text.size, &err), &err);
    im_str_reset(&text);
    for (size_t i = 0; i < N_IMPORTED; i++) {
        im_str_addf(&text,
                    "{\"key\":\"k%zu\",\"tags\":[\"t\"],\"captions\":[\"c\"],\"fields\":"
                    "{\"price\":%zu}}\n",
                    i, i);
    }
    help_ok(im_file_write_atomic(help_path(in, "items.jsonl"), text.data, text.size, &err), &err);
    im_str_clear(&text);
}

static int make_world(void **state)
{
    (void)state;
    im_error err = IM_ERROR_INIT;
    const char *text = getenv("IMAGO_TEST_SEED");
    seed = text != NULL ? strtoull(text, NULL, 10) : 1;
    print_message("seed %llu\n", (unsigned long long)seed);
    help_home_make(&home);
    assert_int_equal(mkdir(help_path(home.places.share, "calibration"), 0755), 0);
    for (uint32_t i = 0; i < 3; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "share/calibration/%u.png", i);
        help_png(help_path(home.base, name), 500 + i);
    }
    help_ok(im_app_init(&home.places, &err), &err);
    help_copy(home.library, start_folder("empty"));
    for (uint32_t i = 0; i < N_OLD; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "%c.png", (char)('a' + i));
        help_png(help_path(home.pictures, name), i);
    }
    im_library *library = help_open(&home, true);
    assert_int_equal(help_add(library, home.pictures).added, N_OLD);
    remember_vectors(library);
    im_library_close(library);
    help_copy(home.library, start_folder("filled"));
    make_gap();
    help_copy(home.library, start_folder("gap"));
    help_remove(home.library);
    make_engined();
    make_changed();
    write_lines();
    make_import();
    return 0;
}

static int end_world(void **state)
{
    (void)state;
    help_home_remove(&home);
    return 0;
}

/* ---- the operations: each opens, acts and closes ---- */

static bool say_yes(void *context, const char *question)
{
    (void)context;
    (void)question;
    return true;
}

static im_code open_it(bool writable, im_library **out, im_error *err)
{
    im_library_options options = {
        .places = &home.places, .writable = writable, .model = home.model, .threads = 2};
    return im_library_open(&options, out, err);
}

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
    assert_int_equal(nftw(home.library, drop_if_columns, 8, FTW_PHYS), 0);
}

static im_code do_init(im_error *err)
{
    return im_app_init(&home.places, err);
}

static im_code do_add(im_error *err)
{
    im_library *library = NULL;
    im_add_report report;
    const char *path = home.pictures;
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
static im_code do_meta(im_error *err)
{
    im_library *library = NULL;
    im_add_report report;
    im_add_request request = {.meta = help_path(home.base, "meta.jsonl")};
    im_code rc = open_it(true, &library, err);
    if (rc == IM_OK) {
        rc = im_app_add(library, &request, NULL, &report, err);
    }
    im_library_close(library);
    return rc;
}

static im_code do_tag(im_error *err)
{
    im_library *library = NULL;
    im_tag_report report;
    im_json_writer w;
    const uint64_t id = 2;
    const char *path = help_path(home.pictures, "a.png");
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

static im_code do_search(im_error *err)
{
    im_library *library = NULL;
    im_answer answer = {0};
    const im_query_part parts[] = {
        {.kind = IM_PART_TEXT, .text = im_view_from("a red car"), .weight = 1},
        {.kind = IM_PART_PICTURE, .path = help_path(home.pictures, "a.png"), .weight = 0.5},
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
static im_code do_filter(im_error *err)
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
    im_code rc = im_file_read(help_path(home.pictures, "a.png"), 1u << 20, &file, err);
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
    const im_library_options options = {.places = &home.places, .threads = 1};
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
static im_code do_serve(im_error *err)
{
    im_library *library = NULL;
    im_query_request asked[2] = {0};
    im_answer answers[2] = {0};
    im_error errors[2] = {IM_ERROR_INIT, IM_ERROR_INIT};
    uint64_t items = 0;
    uint64_t vectors = 0;
    const im_search_how how = {.inside_roots = true};
    const im_query_part part = {
        .kind = IM_PART_PICTURE, .path = help_path(home.pictures, "a.png"), .weight = 1};
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

static im_code do_remove(im_error *err)
{
    im_library *library = NULL;
    uint64_t removed = 0;
    const uint64_t id = 2;
    const char *path = help_path(home.pictures, "a.png");
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
    FILE *file = fopen(help_path(home.base, name), "rb");
    assert_non_null(file);
    im_view bytes = im_view_of(out, fread(out, 1, most, file));
    (void)fclose(file);
    assert_in_range(bytes.size, 1, most - 1);
    return bytes;
}

static im_code do_upload(im_error *err)
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

static im_code do_rebuild(im_error *err)
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

static im_code do_engine(im_error *err)
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

static im_code do_drop_engine(im_error *err)
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
static im_code do_audit(im_error *err)
{
    im_library *library = NULL;
    im_audit_report report;
    const im_audit_request request = {.n_queries = 3, .k = 2, .want = 0.9, .apply = true};
    im_library_options options = {.places = &home.places,
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

static im_code do_compact(im_error *err)
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

static im_code do_check(im_error *err)
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

static im_code do_model_use(im_error *err)
{
    im_library *library = NULL;
    im_code rc = open_it(true, &library, err);
    if (rc == IM_OK) {
        rc = im_app_model_use(library, HELP_OTHER_MODEL, NULL, err);
    }
    im_library_close(library);
    return rc;
}

/* The rest that only reads: status, show, models, vectors without a library. */
static im_code do_tell(im_error *err)
{
    im_library *library = NULL;
    im_json_writer w;
    im_embed_result result = {0};
    const im_embed_input inputs[] = {{true, "a red car"},
                                     {false, help_path(home.pictures, "a.png")}};
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
        rc = im_app_model_list_json(&home.places, library, &w, err);
    }
    if (rc == IM_OK) {
        rc = im_app_model_info_json(&home.places, NULL, HELP_MODEL, &w, err);
    }
    if (rc == IM_OK) {
        rc = im_app_embed(&home.places, &embed, &result, err);
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

static im_code do_export(im_error *err)
{
    static const char *const names[] = {"vectors.npy", "items.jsonl", "model.json"};
    im_library *library = NULL;
    im_export_report report = {0};
    char out[160];
    (void)snprintf(out, sizeof(out), "%s/out", home.base);
    help_remove(out);
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
    DIR *dir = opendir(home.base);
    assert_non_null(dir);
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        assert_null(strstr(entry->d_name, ".export-"));
    }
    (void)closedir(dir);
    return rc;
}

static im_code do_import(im_error *err)
{
    im_library *library = NULL;
    im_import_report report;
    char in[160];
    (void)snprintf(in, sizeof(in), "%s/in", home.base);
    im_import_request request = {.folder = in, .trust_model = true};
    im_code rc = open_it(true, &library, err);
    if (rc == IM_OK) {
        rc = im_app_import(library, &request, NULL, &report, err);
    }
    im_library_close(library);
    return rc;
}

/* ---- what must hold behind each ---- */

static void sees_old_items(im_library *library)
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
        if (rc == IM_ERR_NOT_FOUND && id == old_c && item_of_c(library) != old_c) {
            continue; /* its only file has other content now */
        }
        help_ok(rc, &err);
        rc = im_store_get_embedding(im_library_store(library), id, model.id, vector, HELP_DIM, NULL,
                                    &err);
        if (rc != IM_ERR_NOT_FOUND || id != 1) { /* 1 has none in "gap" */
            help_ok(rc, &err);
            assert_memory_equal(vector, old_vectors[id - 1], sizeof(vector));
        }
    }
    im_model_row_clear(&model);
}

static void sees_nothing(im_library *library)
{
    (void)library;
}

static void sees_all_or_none_removed(im_library *library)
{
    uint64_t items = help_counts(library).items;
    assert_true(items == N_OLD || items == N_OLD - 2);
}

static void added(im_library *library)
{
    im_store_counts counts = help_counts(library);
    assert_int_equal(counts.items, N_OLD + 2); /* the old content of c.png is no picture any more */
    assert_int_equal(counts.embeddings, N_OLD + 2);
    assert_int_equal(counts.files, 6);
    assert_int_equal(counts.missing_files, 1);
    assert_int_equal(counts.failures, 0);
}

static void added_first(im_library *library)
{
    im_store_counts counts = help_counts(library);
    assert_int_equal(counts.items, 5);
    assert_int_equal(counts.embeddings, 5);
    assert_int_equal(counts.failures, 0);
}

static void imported_first(im_library *library)
{
    im_store_counts counts = help_counts(library);
    assert_int_equal(counts.items, N_IMPORTED);
    assert_int_equal(counts.embeddings, N_IMPORTED);
    assert_int_equal(counts.files, 0);
}

static void imported(im_library *library)
{
    im_store_counts counts = help_counts(library);
    assert_int_equal(counts.items, N_OLD + N_IMPORTED);
    assert_int_equal(counts.embeddings, N_OLD + N_IMPORTED);
    sees_old_items(library);
}

static void embedded(im_library *library)
{
    assert_int_equal(help_counts(library).embeddings, N_OLD);
}

static void compacted(im_library *library)
{
    im_error err = IM_ERROR_INIT;
    im_index_record record;
    help_ok(library_model(library, &err), &err);
    help_ok(im_store_get_index(library->store, library->model.id, &record, &err), &err);
    assert_int_equal(record.n_rows, N_OLD - 1);
    sees_old_items(library);
}

static void removed(im_library *library)
{
    assert_int_equal(help_counts(library).items, N_OLD - 2);
}

/* A picture that is an item has its file, whatever failed behind. */
static void uploads_have_files(im_library *library)
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

static void uploaded(im_library *library)
{
    assert_int_equal(help_counts(library).items, N_OLD + 2);
    uploads_have_files(library);
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

static void lines_set(im_library *library)
{
    assert_int_equal(items_of_key(library, "one"), 1);
    assert_int_equal(fields_of(library, 1), 2);
    assert_int_equal(fields_of(library, 2), 1);
}

static void all_or_no_lines_set(im_library *library)
{
    sees_old_items(library);
    if (items_of_key(library, "one") != 0) {
        lines_set(library);
    } else {
        assert_int_equal(fields_of(library, 1) + fields_of(library, 2), 0);
    }
}

/* alloc, open, read, write, sync, rename, map, thread: as im_fault_kind counts them */
static const char letters[] = "aorwsnmt";

typedef struct operation {
    const char *name;
    const char *start; /* library to start with; NULL: none */
    im_code (*run)(im_error *err);
    void (*between)(im_library *library); /* holds after a failure */
    void (*after)(im_library *library);   /* holds when it was done */
    const char *reached; /* hooks that must have been asked, by letter as in `letters` */
    im_code also;        /* what the call may say when the failed one had got through after all */
    unsigned codes;      /* more that a caller may see */
    bool changed;        /* the pictures are not what they were */
} operation;

static const operation operations[] = {
    {.name = "init",
     .run = do_init,
     .between = sees_nothing,
     .after = sees_nothing,
     .reached = "aowsn",
     .also = IM_ERR_CONFLICT},
    {.name = "add (first)",
     .start = "empty",
     .changed = true,
     .run = do_add,
     .between = sees_nothing,
     .after = added_first,
     .reached = "aorwsmt"},
    {.name = "add",
     .start = "filled",
     .changed = true,
     .run = do_add,
     .between = sees_old_items,
     .after = added,
     .reached = "aorwsmt"},
    {.name = "add --meta",
     .start = "filled",
     .run = do_meta,
     .between = all_or_no_lines_set,
     .after = lines_set,
     .reached = "aorws"},
    {.name = "tag",
     .start = "filled",
     .run = do_tag,
     .between = sees_old_items,
     .after = sees_old_items,
     .reached = "aorws"},
    {.name = "search",
     .start = "filled",
     .run = do_search,
     .between = sees_old_items,
     .after = sees_old_items,
     .reached = "aormt"},
    {.name = "filter",
     .start = "filled",
     .run = do_filter,
     .between = sees_old_items,
     .after = sees_old_items,
     .reached = "aowsnmt"},
    {.name = "serve",
     .start = "filled",
     .run = do_serve,
     .between = sees_old_items,
     .after = sees_old_items,
     .reached = "aormt"},
    {.name = "remove",
     .start = "filled",
     .run = do_remove,
     .between = sees_all_or_none_removed,
     .after = removed,
     .reached = "aorws",
     .also = IM_ERR_NOT_FOUND},
    {.name = "upload",
     .start = "filled",
     .run = do_upload,
     .between = uploads_have_files,
     .after = uploaded,
     .reached = "aorwsnmt"},
    {.name = "rebuild",
     .start = "gap",
     .run = do_rebuild,
     .between = sees_old_items,
     .after = embedded,
     .reached = "aorwsmt"},
    {.name = "compact",
     .start = "gap",
     .run = do_compact,
     .between = sees_old_items,
     .after = compacted,
     .reached = "aorwsnmt"},
    {.name = "engine",
     .start = "filled",
     .run = do_engine,
     .between = sees_old_items,
     .after = sees_old_items,
     .reached = "aorwsnm"},
    {.name = "engine (none)",
     .start = "engined",
     .run = do_drop_engine,
     .between = sees_old_items,
     .after = sees_old_items,
     .reached = "aorws"},
    {.name = "audit",
     .start = "engined",
     .run = do_audit,
     .between = sees_old_items,
     .after = sees_old_items,
     .reached = "aorwsmt"},
    {.name = "check",
     .start = "filled",
     .run = do_check,
     .between = sees_old_items,
     .after = sees_old_items,
     .reached = "aorm",
     .codes = CODE(ERR_DAMAGED)}, /* a table that cannot be read to its end is a finding */
    {.name = "model use",
     .start = "filled",
     .run = do_model_use,
     .between = sees_old_items,
     .after = sees_old_items,
     .reached = "aorwsmt"},
    {.name = "export",
     .start = "filled",
     .run = do_export,
     .between = sees_old_items,
     .after = sees_old_items,
     .reached = "aowsn"},
    {.name = "import (first)",
     .start = "empty",
     .run = do_import,
     .between = sees_nothing,
     .after = imported_first,
     .reached = "aorwsmt"},
    {.name = "import",
     .start = "filled",
     .run = do_import,
     .between = sees_old_items,
     .after = imported,
     .reached = "aorws"},
    {.name = "tell",
     .start = "filled",
     .run = do_tell,
     .between = sees_old_items,
     .after = sees_old_items,
     .reached = "aormt"},
};

static size_t open_descriptors(void)
{
    size_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        n++;
    }
    (void)closedir(dir);
    return n;
}

static void start_with(const operation *op)
{
    help_remove(home.library);
    show_pictures(op->changed);
    home.model = op->start != NULL && strcmp(op->start, "empty") == 0 ? HELP_MODEL : NULL;
    if (op->start != NULL) {
        help_copy(start_folder(op->start), home.library);
    }
}

/* Opens what the failed call left, looks at it, and does it again without a fault. */
static void look_and_repeat(const operation *op, bool failed)
{
    im_error err = IM_ERROR_INIT;
    if (op->start != NULL) {
        im_library *library = help_open(&home, false);
        help_check(library);
        if (failed) {
            op->between(library);
        }
        im_library_close(library);
    }
    im_code rc = op->run(&err);
    if (rc != op->also) {
        help_ok(rc, &err);
    }
    im_library *library = help_open(&home, false);
    help_check(library);
    op->after(library);
    im_library_close(library);
}

static bool strike(const operation *op, const fault_case *c, size_t nth)
{
    im_error err = IM_ERROR_INIT;
    (void)snprintf(place, sizeof(place), "%s, %s %zu", op->name, c->name, nth);
    start_with(op);
    size_t blocks = im_live_allocations();
    size_t descriptors = open_descriptors();
    im_fault_set(c->kind, nth, c->errnum);
    im_code rc = op->run(&err);
    bool fired = im_fault_fired(c->kind);
    im_fault_clear();
    if (im_live_allocations() != blocks || open_descriptors() != descriptors ||
        (rc != IM_OK && (!fired || ((c->codes | op->codes) & 1u << rc) == 0))) {
        fail_msg("%s (%s): %s; %zd blocks, %zd descriptors left", im_code_name(rc), err.reason,
                 err.message, (ssize_t)(im_live_allocations() - blocks),
                 (ssize_t)(open_descriptors() - descriptors));
    }
    if (rc != IM_OK && err.message[0] == '\0') {
        fail_msg("%s without a sentence", im_code_name(rc));
    }
    look_and_repeat(op, rc != IM_OK);
    return fired;
}

static size_t next_place(size_t nth, size_t n_all, size_t part)
{
    return nth < n_all ? nth + 1 : nth + 1 + nth / part;
}

static void walk(const operation *op)
{
    size_t n_all = help_long() ? 300 : 6;
    size_t part = help_long() ? 64 : 8;
    start_with(op);
    im_error err = IM_ERROR_INIT;
    help_ok(op->run(&err), &err); /* what libraries keep for themselves is kept now */
    for (size_t i = 0; i < IM_COUNT(cases); i++) {
        const fault_case *c = &cases[i];
        size_t reached = 0;
        uint64_t start = im_clock_ns();
        size_t nth = 0;
        while (strike(op, c, nth)) {
            reached++;
            nth = next_place(nth, n_all, part);
            nth += nth == n_all + 1 ? (size_t)(seed % part) : 0;
        }
        print_message("%-12s %-16s %4zu of up to %zu places, %.1f s\n", op->name, c->name, reached,
                      nth, im_clock_ms_since(start) / 1e3);
        assert_true(reached > 0 || strchr(op->reached, letters[c->kind]) == NULL);
    }
}

static int tell_place(void **state)
{
    (void)state;
    print_message("last place: %s\n", place);
    return 0;
}

static void each_use_case_survives_each_failure(void **state)
{
    (void)state;
    for (size_t i = 0; i < IM_COUNT(operations); i++) {
        walk(&operations[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(each_use_case_survives_each_failure, tell_place),
    };
    return cmocka_run_group_tests(tests, make_world, end_world);
}
