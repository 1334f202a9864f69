/* tests/index/test_damage.c — covers index/open.c: files that are not what the database says (T53),
 * files cut while they are mapped, and each call of a reader failing once. Never a wrong answer. */
#include "base/fault.h"
#include "base/pool.h"
#include "help.h"
#include "index/format_internal.h"
#include "tests/help_bus.h"
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

enum { N = 400, D = 64 };

/* A sound library, a query and its true answer. */
typedef struct test_scene {
    test_library library;
    test_query query;
    im_hit truth[N];
    size_t n_truth;
    uint8_t *bytes; /* of the file */
    size_t size;
} test_scene;

static void scene_make(test_scene *scene, uint64_t seed)
{
    random_state random = {seed};
    char path[160];
    library_make(&scene->library, &random, N, D, 5);
    query_make(&scene->query, &random, &scene->library, 2, IM_COMBINE_SUM, false);
    scene->query.query.k = N;
    im_index *index = library_open(&scene->library, NULL, IM_ENGINE_AUTO, NULL);
    scene->n_truth = slow_search(index, &scene->library, NULL, &scene->query.query, scene->truth);
    im_index_close(index);
    library_path(&scene->library, path);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    scene->size = 4096 + N * format_layout_of(D).pitch;
    scene->bytes = malloc(scene->size);
    assert_non_null(scene->bytes);
    assert_int_equal(fread(scene->bytes, 1, scene->size, file), scene->size);
    fclose(file);
}

static void scene_free(test_scene *scene)
{
    query_free(&scene->query);
    library_free(&scene->library);
    free(scene->bytes);
}

static void put_bytes(const test_scene *scene, const uint8_t *bytes, size_t size)
{
    char path[160];
    library_path(&scene->library, path);
    write_file(path, bytes, size);
}

/* Opens and searches: index_damaged, or the right answer. true when it was damaged. */
static bool damaged_or_right(test_scene *scene, im_engine engine)
{
    im_index *index = NULL;
    im_error error = IM_ERROR_INIT;
    im_index_options options = {.engine = engine};
    im_hit hits[N];
    im_index_answer answer;
    im_code rc =
        im_index_open(scene->library.folder, &scene->library.state, NULL, &options, &index, &error);
    if (rc == IM_OK) {
        rc = im_index_search(index, &scene->query.query, hits, &answer, &error);
    }
    if (rc == IM_OK) {
        assert_hits(hits, &answer, N, scene->truth, scene->n_truth);
    } else {
        assert_int_equal(rc, IM_ERR_FORMAT);
        assert_string_equal(error.reason, "index_damaged");
        assert_non_null(strstr(error.message, "vectors.1.f32"));
        assert_true(error.hint[0] != '\0');
    }
    im_index_close(index);
    return rc != IM_OK;
}

/* T53: one byte changed at 1,000 places, in header, vectors, items, checksums, padding. */
static void a_byte_changed_anywhere_is_found_or_harmless(void **state)
{
    (void)state;
    test_scene scene;
    scene_make(&scene, 41);
    random_state random = {42};
    size_t pitch = format_layout_of(D).pitch;
    size_t n_harmless = 0;
    char path[160];
    library_path(&scene.library, path);
    for (size_t round = 0; round < 1000; round++) {
        size_t at = (size_t)random_below(&random, round % 4 == 0 ? 4096 : scene.size);
        uint8_t flip = (uint8_t)(1 + random_below(&random, 255));
        scene.bytes[at] ^= flip;
        put_bytes(&scene, scene.bytes, scene.size);
        bool padding = at >= 4096 && (at - 4096) % pitch >= 4 * D + FORMAT_TRAILER_BYTES;
        assert_int_equal(damaged_or_right(&scene, IM_ENGINE_SCAN), !padding);
        n_harmless += padding;
        uint64_t bad = 0;
        im_error error = IM_ERROR_INIT;
        im_code rc =
            im_index_check(scene.library.folder, &scene.library.state, NULL, NULL, &bad, &error);
        assert_int_equal(rc, at < 4096 ? IM_ERR_FORMAT : IM_OK);
        assert_int_equal(bad, at >= 4096 && !padding);
        scene.bytes[at] ^= flip;
    }
    assert_true(n_harmless < 400);
    put_bytes(&scene, scene.bytes, scene.size);
    assert_false(damaged_or_right(&scene, IM_ENGINE_SCAN));
    scene_free(&scene);
}

static void a_file_of_every_shorter_length_is_damaged(void **state)
{
    (void)state;
    test_scene scene;
    scene_make(&scene, 43);
    const size_t lengths[] = {0, 1, 4095, 4096, 4097, 10000, scene.size / 2, scene.size - 1};
    for (size_t i = 0; i < 8; i++) {
        put_bytes(&scene, scene.bytes, lengths[i]);
        assert_true(damaged_or_right(&scene, IM_ENGINE_SCAN));
    }
    /* zeros in place of the rows: a file that was never written out */
    memset(scene.bytes + 4096, 0, scene.size - 4096);
    put_bytes(&scene, scene.bytes, scene.size);
    assert_true(damaged_or_right(&scene, IM_ENGINE_SCAN));
    scene_free(&scene);
}

static void a_file_that_is_gone_or_is_no_file_is_damaged(void **state)
{
    (void)state;
    test_scene scene;
    char path[160];
    scene_make(&scene, 44);
    library_path(&scene.library, path);
    assert_int_equal(unlink(path), 0);
    assert_true(damaged_or_right(&scene, IM_ENGINE_SCAN));
    assert_int_equal(mkfifo(path, 0600), 0); /* never waited for */
    assert_true(damaged_or_right(&scene, IM_ENGINE_SCAN));
    scene_free(&scene);
}

/* Of another library, model, dimension, generation; older than the database; absurd claims. */
static void a_file_of_another_index_is_damaged(void **state)
{
    (void)state;
    test_scene scene;
    scene_make(&scene, 45);
    const im_index_state right = scene.library.state;
    for (int field = 0; field < 6; field++) {
        im_index_state *wrong = &scene.library.state;
        *wrong = right;
        wrong->library_id[0] ^= field == 0;
        wrong->model_digest[5] = field == 1 ? 'z' : 'a';
        wrong->dim += field == 2;
        wrong->n_rows += field == 3;
        wrong->n_rows = field == 4 ? UINT64_C(1) << 40 : wrong->n_rows;
        wrong->n_rows = field == 5 ? UINT64_MAX : wrong->n_rows;
        assert_true(damaged_or_right(&scene, IM_ENGINE_SCAN));
        im_index_writer *writer = NULL;
        uint64_t bad = 0;
        assert_refused(im_index_writer_open(scene.library.folder, wrong, &writer, err),
                       "index_damaged");
        assert_refused(im_index_check(scene.library.folder, wrong, NULL, NULL, &bad, err),
                       "index_damaged");
    }
    scene.library.state = right;
    assert_false(damaged_or_right(&scene, IM_ENGINE_SCAN));
    scene_free(&scene);
}

/* Two rows exchanged: each is whole, neither is where it belongs. */
static void rows_that_changed_places_are_damaged(void **state)
{
    (void)state;
    test_scene scene;
    uint8_t row[1024];
    size_t pitch = format_layout_of(D).pitch;
    scene_make(&scene, 46);
    uint8_t *a = scene.bytes + 4096 + 5 * pitch;
    uint8_t *b = scene.bytes + 4096 + 300 * pitch;
    memcpy(row, a, pitch);
    memcpy(a, b, pitch);
    memcpy(b, row, pitch);
    put_bytes(&scene, scene.bytes, scene.size);
    assert_true(damaged_or_right(&scene, IM_ENGINE_SCAN));
    scene_free(&scene);
}

/* Damage in rows that the query may not touch does not matter. */
static void damage_in_removed_rows_is_not_looked_at(void **state)
{
    (void)state;
    test_scene scene;
    size_t pitch = format_layout_of(D).pitch;
    scene_make(&scene, 47);
    uint64_t alive[N / 64 + 1];
    memset(alive, 0xff, sizeof(alive));
    alive[100 / 64] &= ~(UINT64_C(1) << (100 % 64));
    scene.bytes[4096 + 100 * pitch + 3] ^= 1;
    put_bytes(&scene, scene.bytes, scene.size);
    im_index *index = library_open(&scene.library, alive, IM_ENGINE_SCAN, NULL);
    im_hit hits[N];
    im_index_answer answer;
    assert_ok(im_index_search(index, &scene.query.query, hits, &answer, err));
    assert_int_equal(answer.n_hits, N - 1);
    const float *row = NULL;
    float score = 0;
    assert_refused(im_index_row(index, 100, &row, NULL, err), "index_damaged");
    assert_refused(im_index_score(index, &scene.query.query, 100, &score, NULL, err),
                   "index_damaged");
    im_index_close(index);
    scene_free(&scene);
}

/* Cut while mapped, at a page's edge and within a page, before and after the rows were checked. */
static void a_file_cut_while_mapped_is_an_error_and_no_death(void **state)
{
    (void)state;
    test_scene scene;
    char path[160];
    scene_make(&scene, 48);
    library_path(&scene.library, path);
    use_bus_handler();
    const off_t lengths[] = {0, 4096, 8192, (off_t)scene.size - 40, 5000};
    for (size_t round = 0; round < 10; round++) {
        im_hit hits[N];
        im_index_answer answer;
        const float *row = NULL;
        float score = 0;
        put_bytes(&scene, scene.bytes, scene.size);
        im_index *index = library_open(&scene.library, NULL, IM_ENGINE_SCAN, NULL);
        if (round % 2 == 1) {
            assert_ok(im_index_search(index, &scene.query.query, hits, &answer, err));
        }
        assert_int_equal(truncate(path, lengths[round / 2]), 0);
        assert_refused(im_index_search(index, &scene.query.query, hits, &answer, err), "map_lost");
        assert_refused(im_index_row(index, N - 1, &row, NULL, err), "map_lost");
        assert_refused(im_index_score(index, &scene.query.query, N - 1, &score, NULL, err),
                       "map_lost");
        im_index_close(index);
    }
    scene_free(&scene);
}

static im_code open_and_search(test_scene *scene, im_pool *pool, im_hit *hits,
                               im_index_answer *answer, im_error *err)
{
    im_index *index = NULL;
    float score = 0;
    float cosines[2];
    im_index_options options = {.engine = IM_ENGINE_SCAN,
                                .pool = pool}; /* codes: a test of theirs */
    im_code rc =
        im_index_open(scene->library.folder, &scene->library.state, NULL, &options, &index, err);
    if (rc == IM_OK) {
        rc = im_index_search(index, &scene->query.query, hits, answer, err);
    }
    if (rc == IM_OK) {
        rc = im_index_score(index, &scene->query.query, 3, &score, cosines, err);
    }
    im_index_close(index);
    return rc;
}

static void each_failed_call_of_a_reader_is_an_error(void **state)
{
    (void)state;
    test_scene scene;
    const im_fault_kind kinds[] = {IM_FAULT_ALLOC, IM_FAULT_OPEN, IM_FAULT_READ, IM_FAULT_MAP};
    im_pool *pool = NULL;
    scene_make(&scene, 49);
    assert_ok(im_pool_open(2, &pool, err));
    for (size_t k = 0; k < 4; k++) {
        size_t n_failures = 0;
        bool fired = true;
        for (size_t nth = 0; fired; nth++) {
            im_hit hits[N];
            im_index_answer answer;
            im_error error = IM_ERROR_INIT;
            size_t live = im_live_allocations();
            im_fault_set(kinds[k], nth, 0);
            im_code rc = open_and_search(&scene, pool, hits, &answer, &error);
            fired = im_fault_fired(kinds[k]);
            im_fault_clear();
            assert_int_equal(im_live_allocations(), live);
            if (rc == IM_OK) {
                assert_false(fired);
                assert_hits(hits, &answer, N, scene.truth, scene.n_truth);
            } else {
                assert_true(fired);
                assert_true(error.message[0] != '\0');
                assert_true(rc == IM_ERR_NOMEM || rc == IM_ERR_IO);
                n_failures++;
            }
        }
        assert_true(n_failures > 0);
    }
    im_pool_close(pool);
    scene_free(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_byte_changed_anywhere_is_found_or_harmless),
        cmocka_unit_test(a_file_of_every_shorter_length_is_damaged),
        cmocka_unit_test(a_file_that_is_gone_or_is_no_file_is_damaged),
        cmocka_unit_test(a_file_of_another_index_is_damaged),
        cmocka_unit_test(rows_that_changed_places_are_damaged),
        cmocka_unit_test(damage_in_removed_rows_is_not_looked_at),
        cmocka_unit_test(a_file_cut_while_mapped_is_an_error_and_no_death),
        cmocka_unit_test(each_failed_call_of_a_reader_is_an_error),
    };
    learn_bus_handler();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
