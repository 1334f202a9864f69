/* tests/index/test_codes_damage.c — covers index/codes_file.c and index/codes_build.c: codes files
 * that are flipped, cut, foreign, stale or gone (T53), and each call of a writer and of a searcher
 * failing once. Whatever is wrong with codes, answers are right, and it is said. */
#include "base/fault.h"
#include "base/file.h"
#include "base/hash.h"
#include "help_codes.h"
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

enum { N = 1300, D = 100, K = 10 };

/* A library with codes, a query, its true answer, and the bytes of both files. */
typedef struct test_scene {
    test_library library;
    float vector[D];
    im_index_part part;
    im_index_query query;
    im_hit truth[K];
    im_index_answer answer;
    char path[3][160];
    uint8_t *bytes[3];
    size_t size[3];
} test_scene;

static void read_file(const char *path, uint8_t **out, size_t *out_size)
{
    im_bytes bytes = {0};
    assert_ok(im_file_read(path, 1u << 30, &bytes, err));
    *out = malloc(bytes.size);
    assert_non_null(*out);
    memcpy(*out, bytes.data, bytes.size);
    *out_size = bytes.size;
    im_bytes_clear(&bytes);
}

static void scene_make(test_scene *scene, uint64_t seed)
{
    random_state random = {seed};
    float *rows = malloc(N * D * sizeof(float));
    memset(scene, 0, sizeof(*scene));
    pictures_make(&random, rows, N, D);
    text_make(&random, rows, N, D, scene->vector);
    library_of_rows(&scene->library, &random, rows, N, D);
    free(rows);
    scene->part = (im_index_part){scene->vector, 1, 0};
    scene->query =
        (im_index_query){.parts = &scene->part, .n_parts = 1, .k = K, .leave_out = IM_NO_ITEM};
    im_index *index = library_open(&scene->library, NULL, IM_ENGINE_SCAN, NULL);
    assert_ok(im_index_search(index, &scene->query, scene->truth, &scene->answer, err));
    im_index_close(index);
    for (codes_kind kind = CODES_I8; kind <= CODES_B1; kind++) {
        library_codes_path(&scene->library, kind, scene->path[kind]);
        read_file(scene->path[kind], &scene->bytes[kind], &scene->size[kind]);
    }
}

static void scene_free(test_scene *scene)
{
    library_free(&scene->library);
    free(scene->bytes[CODES_I8]);
    free(scene->bytes[CODES_B1]);
}

static void put_back(const test_scene *scene)
{
    for (codes_kind kind = CODES_I8; kind <= CODES_B1; kind++) {
        write_file(scene->path[kind], scene->bytes[kind], scene->size[kind]);
    }
}

static im_index *open_lowered(const test_scene *scene)
{
    im_index *index = library_open(&scene->library, NULL, IM_ENGINE_TIERED, NULL);
    engine_of(index)->fast_rows = 1;
    return index;
}

/* Both ways of searching give the truth; returns how the codes are said to be after it. */
static im_codes search_both(const test_scene *scene, im_index *index)
{
    im_hit hits[K];
    im_index_answer answer;
    im_index_query query = scene->query;
    query.mode = IM_MODE_FAST;
    assert_ok(im_index_search(index, &query, hits, &answer, err));
    assert_int_equal(answer.n_hits, K);
    assert_same(hits, &answer, scene->truth, &scene->answer, K); /* seeds are such that it is all */
    query.mode = IM_MODE_EXACT;
    assert_ok(im_index_search(index, &query, hits, &answer, err));
    assert_true(answer.exact);
    assert_same(hits, &answer, scene->truth, &scene->answer, K);
    return answer.codes;
}

static void count_finding(void *context, uint64_t slot, const char *what)
{
    size_t *findings = context;
    assert_true(slot < N && what[0] != '\0');
    (*findings)++;
}

/* A check that reads all comes to the same end. */
static void assert_checked(const test_scene *scene, im_codes expected)
{
    size_t findings = 0;
    uint64_t bad = 0;
    assert_ok(im_index_codes_check(scene->library.folder, &scene->library.state, count_finding,
                                   &findings, &bad, err));
    assert_int_equal(findings, bad);
    assert_int_equal(bad > 0, expected == IM_CODES_DAMAGED);
}

/* Opens, searches; the damage is found, the answer right. */
static void assert_found(const test_scene *scene, im_codes expected)
{
    assert_checked(scene, expected);
    im_index_stats stats;
    im_index *index = open_lowered(scene);
    assert_int_equal(search_both(scene, index), expected);
    im_index_describe(index, &stats);
    assert_int_equal(stats.codes, expected);
    assert_int_equal(stats.codes_problem[0] != '\0', expected == IM_CODES_DAMAGED);
    assert_int_equal(search_both(scene, index), expected); /* and stays so */
    im_index_close(index);
}

/* An update makes the very same files again. */
static void assert_mended(const test_scene *scene)
{
    codes_update(&scene->library);
    for (codes_kind kind = CODES_I8; kind <= CODES_B1; kind++) {
        uint8_t *bytes = NULL;
        size_t size = 0;
        read_file(scene->path[kind], &bytes, &size);
        assert_int_equal(size, scene->size[kind]);
        assert_memory_equal(bytes, scene->bytes[kind], size);
        free(bytes);
    }
    assert_found(scene, IM_CODES_SOUND);
}

static void every_block_and_page_flipped_is_found(void **state)
{
    (void)state;
    test_scene scene;
    random_state random = {501};
    scene_make(&scene, 501);
    for (codes_kind kind = CODES_I8; kind <= CODES_B1; kind++) {
        /* 97 bytes of the header page, a byte of the mean, then two of every block */
        size_t mean = 4096 + random_below(&random, D * 4);
        for (size_t at = 0; at < scene.size[kind]; at += at < 4096 ? 43 : 32768) {
            size_t place = at < 4096 ? at : at < 8192 ? mean : at + random_below(&random, 32768);
            if (place >= scene.size[kind]) {
                break;
            }
            scene.bytes[kind][place] ^= (uint8_t)(1u << random_below(&random, 8));
            uint8_t *kept = scene.bytes[kind];
            write_file(scene.path[kind], kept, scene.size[kind]);
            assert_found(&scene, IM_CODES_DAMAGED);
            codes_update(&scene.library);
            assert_found(&scene, IM_CODES_SOUND);
            read_file(scene.path[kind], &scene.bytes[kind], &scene.size[kind]);
            free(kept);
        }
    }
    scene_free(&scene);
}

static void a_file_of_another_length_is_found(void **state)
{
    (void)state;
    test_scene scene;
    scene_make(&scene, 502);
    for (codes_kind kind = CODES_I8; kind <= CODES_B1; kind++) {
        const size_t sizes[] = {0, 1, 4095, 4096, 8192, 70000, scene.size[kind] - 1};
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            write_file(scene.path[kind], scene.bytes[kind], sizes[i]);
            assert_found(&scene, IM_CODES_DAMAGED);
        }
        uint8_t *longer = calloc(scene.size[kind] + 65536, 1);
        memcpy(longer, scene.bytes[kind], scene.size[kind]);
        write_file(scene.path[kind], longer, scene.size[kind] + 65536);
        assert_found(&scene, IM_CODES_DAMAGED);
        assert_mended(&scene);
        free(longer);
    }
    scene_free(&scene);
}

static void a_missing_file_is_said(void **state)
{
    (void)state;
    test_scene scene;
    scene_make(&scene, 503);
    for (codes_kind kind = CODES_I8; kind <= CODES_B1; kind++) {
        assert_int_equal(unlink(scene.path[kind]), 0);
        assert_found(&scene, IM_CODES_DAMAGED);
        assert_mended(&scene);
    }
    assert_int_equal(unlink(scene.path[CODES_I8]), 0);
    assert_int_equal(unlink(scene.path[CODES_B1]), 0);
    assert_found(&scene, IM_CODES_ABSENT);
    im_index *index = library_open(&scene.library, NULL, IM_ENGINE_AUTO, NULL);
    im_index_stats stats;
    im_index_describe(index, &stats);
    assert_string_equal(stats.engine, "scan");
    assert_int_equal(stats.n_coded, 0);
    im_index_close(index);
    assert_mended(&scene);
    assert_int_equal(unlink(scene.path[CODES_I8]), 0);
    assert_int_equal(mkdir(scene.path[CODES_I8], 0700), 0); /* not even a file */
    assert_found(&scene, IM_CODES_DAMAGED);
    assert_int_equal(rmdir(scene.path[CODES_I8]), 0);
    assert_int_equal(mkfifo(scene.path[CODES_I8], 0600), 0); /* never waited for */
    assert_found(&scene, IM_CODES_DAMAGED);
    assert_mended(&scene);
    scene_free(&scene);
}

/* Headers that are whole but lie: their checksum is right. */
static void a_header_that_lies_is_found(void **state)
{
    (void)state;
    test_scene scene;
    scene_make(&scene, 504);
    static const struct {
        size_t at;
        uint64_t value;
    } lies[] = {
        {120, UINT64_C(1) << 40},
        {120, UINT64_MAX},
        {120, 0},
        {120, N - 400},
        {120, N + 1},
        {8, 1},
        {8, 2},
        {8, 4},
        {12, 0x04030201},
        {96, D + 1},
        {104, 2},
        {112, 3},
        {16, 99},
        {32, 98},
        {128, 4096},
        {136, 1},
        {144, 5},
        {208, 77},
        {240, 1},
        {3000, 1},
    };
    for (codes_kind kind = CODES_I8; kind <= CODES_B1; kind++) {
        for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
            uint8_t *bytes = malloc(scene.size[kind]);
            memcpy(bytes, scene.bytes[kind], scene.size[kind]);
            memcpy(bytes + lies[i].at, &lies[i].value, lies[i].at == 8 || lies[i].at == 12 ? 4 : 8);
            uint32_t crc = im_crc32c(0, bytes, 4092);
            memcpy(bytes + 4092, &crc, 4);
            write_file(scene.path[kind], bytes, scene.size[kind]);
            assert_found(&scene, IM_CODES_DAMAGED);
            free(bytes);
        }
        assert_mended(&scene);
    }
    scene_free(&scene);
}

/* Whole files in the wrong place: of another library, of the other kind, of other vectors. */
static void a_file_of_another_making_is_found(void **state)
{
    (void)state;
    test_scene scene;
    test_scene other;
    scene_make(&scene, 505);
    scene_make(&other, 506); /* the same library id, model and generation: other vectors */
    write_file(scene.path[CODES_I8], other.bytes[CODES_I8], other.size[CODES_I8]);
    assert_found(&scene, IM_CODES_DAMAGED);
    write_file(scene.path[CODES_B1], other.bytes[CODES_B1], other.size[CODES_B1]);
    assert_found(&scene, IM_CODES_DAMAGED);
    assert_mended(&scene);
    write_file(scene.path[CODES_I8], scene.bytes[CODES_B1], scene.size[CODES_B1]);
    assert_found(&scene, IM_CODES_DAMAGED);
    write_file(scene.path[CODES_B1], other.bytes[CODES_B1], other.size[CODES_B1]);
    assert_found(&scene, IM_CODES_DAMAGED);
    assert_mended(&scene);
    scene_free(&scene);
    scene_free(&other);
}

/* Two blocks changed places: each is whole. */
static void blocks_that_changed_places_are_found(void **state)
{
    (void)state;
    test_scene scene;
    scene_make(&scene, 507);
    uint8_t *bytes = malloc(scene.size[CODES_I8]);
    memcpy(bytes, scene.bytes[CODES_I8], scene.size[CODES_I8]);
    assert_true(scene.size[CODES_I8] >= 8192 + 2 * 65536);
    memcpy(bytes + 8192, scene.bytes[CODES_I8] + 8192 + 65536, 65536);
    memcpy(bytes + 8192 + 65536, scene.bytes[CODES_I8] + 8192, 65536);
    write_file(scene.path[CODES_I8], bytes, scene.size[CODES_I8]);
    assert_found(&scene, IM_CODES_DAMAGED);
    free(bytes);
    assert_mended(&scene);
    scene_free(&scene);
}

/* Cut while it is mapped, before the first touch and after it. */
static void a_file_cut_while_open_is_found(void **state)
{
    (void)state;
    test_scene scene;
    scene_make(&scene, 508);
    for (size_t round = 0; round < 8; round++) {
        codes_kind kind = round % 2 == 0 ? CODES_I8 : CODES_B1;
        im_index *index = open_lowered(&scene);
        if (round % 4 >= 2) {
            assert_int_equal(search_both(&scene, index), IM_CODES_SOUND);
        }
        assert_int_equal(truncate(scene.path[kind], round < 4 ? 8192 : (off_t)scene.size[kind] - 7),
                         0);
        assert_int_equal(search_both(&scene, index), IM_CODES_DAMAGED);
        assert_int_equal(search_both(&scene, index), IM_CODES_DAMAGED);
        im_index_close(index);
        put_back(&scene);
    }
    scene_free(&scene);
}

/* A restored library: the same generation goes on with other rows where codes already were. */
static void codes_of_rows_that_were_rolled_back_are_found(void **state)
{
    (void)state;
    test_scene scene;
    random_state random = {509};
    scene_make(&scene, 509);
    im_index_writer *writer = NULL;
    uint64_t slot = 0;
    float *rows = malloc(400 * D * sizeof(float));
    uint64_t items[400];
    pictures_make(&random, rows, 400, D);
    memcpy(rows, scene.vector, sizeof(scene.vector));
    for (size_t i = 0; i < 400; i++) {
        items[i] = 900000 + i;
    }
    scene.library.state.n_rows = N - 300;
    assert_ok(im_index_writer_open(scene.library.folder, &scene.library.state, &writer, err));
    assert_ok(im_index_writer_append(writer, items, rows, 400, &slot, err));
    assert_ok(im_index_writer_sync(writer, err));
    im_index_writer_close(writer);
    free(rows);
    scene.library.state.n_rows = N + 100;
    im_index *scan = library_open(&scene.library, NULL, IM_ENGINE_SCAN, NULL);
    assert_ok(im_index_search(scan, &scene.query, scene.truth, &scene.answer, err));
    assert_int_equal(scene.truth[0].item, 900000);
    im_index_close(scan);
    assert_found(&scene, IM_CODES_DAMAGED);
    codes_update(&scene.library);
    assert_found(&scene, IM_CODES_SOUND);
    scene_free(&scene);
}

static void a_damaged_row_that_may_be_a_hit_is_an_error(void **state)
{
    (void)state;
    test_scene scene;
    char path[160];
    im_hit hits[K];
    im_index_answer answer;
    uint8_t *bytes = NULL;
    size_t size = 0;
    scene_make(&scene, 510);
    library_path(&scene.library, path);
    read_file(path, &bytes, &size);
    bytes[4096 + scene.truth[0].slot * format_layout_of(D).pitch + 3] ^= 1;
    write_file(path, bytes, size);
    im_index *index = open_lowered(&scene);
    assert_refused(im_index_search(index, &scene.query, hits, &answer, err), "index_damaged");
    im_index_close(index);
    unlink(scene.path[CODES_I8]); /* nor are codes made of it */
    assert_refused(im_index_codes_update(scene.library.folder, &scene.library.state, NULL, err),
                   "index_damaged");
    free(bytes);
    scene_free(&scene);
}

/* ---- faults ---- */

/* Each call of a writer fails in turn: the old files or whole new ones, no leftover, no leak. */
static void an_update_survives_each_fault(void **state)
{
    (void)state;
    static const im_fault_kind kinds[] = {IM_FAULT_ALLOC, IM_FAULT_OPEN, IM_FAULT_READ,
                                          IM_FAULT_WRITE, IM_FAULT_SYNC, IM_FAULT_RENAME,
                                          IM_FAULT_MAP};
    test_scene scene;
    scene_make(&scene, 511);
    char temporary[160];
    snprintf(temporary, sizeof(temporary), "%.95s/.imago-codes.tmp", scene.library.folder);
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        for (size_t nth = 0;; nth++) {
            im_error error = IM_ERROR_INIT;
            unlink(scene.path[CODES_I8]);
            unlink(scene.path[CODES_B1]);
            size_t live = im_live_allocations();
            im_fault_set(kinds[k], nth, kinds[k] == IM_FAULT_WRITE ? ENOSPC : 0);
            im_code rc =
                im_index_codes_update(scene.library.folder, &scene.library.state, NULL, &error);
            bool fired = im_fault_fired(kinds[k]);
            im_fault_clear();
            assert_int_equal(im_live_allocations(), live);
            assert_int_not_equal(access(temporary, F_OK), 0);
            im_index *index = open_lowered(&scene);
            im_codes codes = search_both(&scene, index);
            im_index_close(index);
            assert_true(rc != IM_OK || codes == IM_CODES_SOUND);
            if (!fired) {
                assert_int_equal(rc, IM_OK);
                break;
            }
            assert_true(rc == IM_OK || error.message[0] != '\0');
        }
        assert_mended(&scene);
    }
    scene_free(&scene);
}

/* Each call of a reader fails in turn: the right answer or an error, never another answer. */
static void a_search_survives_each_fault(void **state)
{
    (void)state;
    static const im_fault_kind kinds[] = {IM_FAULT_ALLOC, IM_FAULT_OPEN, IM_FAULT_READ,
                                          IM_FAULT_MAP};
    test_scene scene;
    scene_make(&scene, 512);
    im_index_query queries[3] = {scene.query, scene.query, scene.query};
    queries[1].mode = IM_MODE_FAST;
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        for (size_t nth = 0;; nth++) {
            im_hit hits[3][K];
            im_hit *rows[3] = {hits[0], hits[1], hits[2]};
            im_index_answer answers[3];
            im_index *index = NULL;
            im_index_options options = {.engine = IM_ENGINE_TIERED};
            size_t live = im_live_allocations();
            im_fault_set(kinds[k], nth, 0);
            im_code rc = im_index_open(scene.library.folder, &scene.library.state, NULL, &options,
                                       &index, NULL);
            if (rc == IM_OK) {
                engine_of(index)->fast_rows = 1;
                rc = im_index_search_many(index, queries, 3, rows, answers, NULL);
            }
            bool fired = im_fault_fired(kinds[k]);
            im_fault_clear();
            for (size_t q = 0; q < 3 && rc == IM_OK; q++) {
                assert_same(hits[q], &answers[q], scene.truth, &scene.answer, K);
            }
            assert_true(rc != IM_ERR_NOMEM || kinds[k] == IM_FAULT_ALLOC || fired);
            im_index_close(index);
            assert_int_equal(im_live_allocations(), live);
            if (!fired) {
                assert_int_equal(rc, IM_OK);
                break;
            }
        }
    }
    scene_free(&scene);
}

static void a_sweep_takes_codes_of_other_generations(void **state)
{
    (void)state;
    test_scene scene;
    char path[160];
    scene_make(&scene, 513);
    static const char *const names[] = {"codes.2.i8",  "codes.3.b1", ".imago-codes.tmp",
                                        "codes.02.i8", "codes.2.i9", "codes.x.b1"};
    for (size_t i = 0; i < 6; i++) {
        snprintf(path, sizeof(path), "%.95s/%s", scene.library.folder, names[i]);
        write_file(path, "x", 1);
    }
    im_index_sweep(scene.library.folder, 1);
    for (size_t i = 0; i < 6; i++) {
        snprintf(path, sizeof(path), "%.95s/%s", scene.library.folder, names[i]);
        assert_int_equal(access(path, F_OK) == 0, i >= 3); /* names that are not ours stay */
    }
    assert_found(&scene, IM_CODES_SOUND);
    scene_free(&scene);
}

static void a_library_without_rows_has_no_codes(void **state)
{
    (void)state;
    random_state random = {514};
    test_library library;
    im_hit hits[K];
    im_index_answer answer;
    float vector[8];
    library_make(&library, &random, 0, 8, 0);
    codes_update(&library);
    random_unit(&random, vector, 8);
    im_index_part part = {vector, 1, 0};
    im_index_query query = {.parts = &part, .n_parts = 1, .k = K, .leave_out = IM_NO_ITEM};
    im_index *index = tiered_open(&library, NULL, NULL);
    assert_ok(im_index_search(index, &query, hits, &answer, err));
    assert_int_equal(answer.n_hits, 0);
    im_index_close(index);
    library_free(&library);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_block_and_page_flipped_is_found),
        cmocka_unit_test(a_file_of_another_length_is_found),
        cmocka_unit_test(a_missing_file_is_said),
        cmocka_unit_test(a_header_that_lies_is_found),
        cmocka_unit_test(a_file_of_another_making_is_found),
        cmocka_unit_test(blocks_that_changed_places_are_found),
        cmocka_unit_test(a_file_cut_while_open_is_found),
        cmocka_unit_test(codes_of_rows_that_were_rolled_back_are_found),
        cmocka_unit_test(a_damaged_row_that_may_be_a_hit_is_an_error),
        cmocka_unit_test(an_update_survives_each_fault),
        cmocka_unit_test(a_search_survives_each_fault),
        cmocka_unit_test(a_sweep_takes_codes_of_other_generations),
        cmocka_unit_test(a_library_without_rows_has_no_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
