/* tests/index/test_columns_damage.c — covers index/columns_format.c, columns.c, columns_build.c:
 * column files that are not as they were written (T53), lies with right checksums, files cut while
 * they are mapped, each call failing once. Never a wrong answer. */
#include "base/fault.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"
#include "help_columns.h"
#include "tests/help_bus.h"
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

enum { N = 20000, N_CONDITIONS = 5, SEQ = 7 };

/* A sound file, conditions that touch every column, and their true answers. */
typedef struct test_scene {
    test_table table;
    im_condition conditions[N_CONDITIONS];
    uint64_t counts[N_CONDITIONS];
    uint8_t *bytes; /* of the file */
    size_t size;
} test_scene;

static char taken[] = "taken", width[] = "width", camera[] = "camera", price[] = "field.price",
            category[] = "field.Category", missing[] = "missing", part[] = "an";

static void put_bytes(const test_scene *scene, const uint8_t *bytes, size_t size)
{
    char path[160];
    table_path(&scene->table, path);
    write_file(path, bytes, size);
}

static void scene_make(test_scene *scene, uint64_t seed, size_t n)
{
    char path[160];
    struct stat info;
    table_make(&scene->table, seed, n);
    for (size_t i = 0; i < n; i++) {
        scene->table.rows[i].item = i + 1;
    }
    table_build(&scene->table, SEQ);
    const im_condition conditions[N_CONDITIONS] = {
        {.kind = IM_CONDITION_INTEGERS, .column = taken, .min_i = 0, .max_i = 1000000000},
        {.kind = IM_CONDITION_TEXT_PART, .column = camera, .text = part},
        {.kind = IM_CONDITION_TEXT_EQUAL, .column = category, .text = part},
        {.kind = IM_CONDITION_NUMBERS, .column = price, .min = -1, .max = 2},
        {.kind = IM_CONDITION_BOX, .place = {-45, -90, 45, 90}}};
    memcpy(scene->conditions, conditions, sizeof(conditions));
    for (size_t i = 0; i < N_CONDITIONS; i++) {
        scene->counts[i] = 0;
        for (size_t slot = 0; slot < n; slot++) {
            scene->counts[i] += slow_passes(&scene->table, &scene->conditions[i], slot);
        }
    }
    table_path(&scene->table, path);
    assert_int_equal(stat(path, &info), 0);
    scene->size = (size_t)info.st_size;
    scene->bytes = malloc(scene->size);
    assert_non_null(scene->bytes);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fread(scene->bytes, 1, scene->size, file), scene->size);
    fclose(file);
}

static void scene_free(test_scene *scene)
{
    table_free(&scene->table);
    free(scene->bytes);
}

/* Filters by all conditions and sorts; each answer that comes must be the true one. */
static im_code ask(test_scene *scene, im_columns *columns, im_error *err)
{
    uint64_t *bits = malloc(N / 8 + 64);
    im_columns_hit hits[3];
    im_code rc = IM_OK;
    for (size_t i = 0; rc == IM_OK && i < N_CONDITIONS; i++) {
        uint64_t count = 0;
        rc = im_columns_filter(columns, &scene->conditions[i], NULL, bits, &count, err);
        if (rc == IM_OK) {
            assert_int_equal(count, scene->counts[i]);
        }
    }
    char *const names[] = {width, missing, category};
    for (size_t i = 0; rc == IM_OK && i < 3; i++) {
        size_t got = 0;
        rc = im_columns_sort(columns, names[i], true, NULL, NULL, 3, hits, &got, NULL, err);
        if (rc == IM_OK) {
            assert_true(slow_order(&scene->table,
                                   i == 0   ? WIDTH
                                   : i == 1 ? MISSING
                                            : CATEGORY,
                                   true, (size_t)hits[0].slot, (size_t)hits[1].slot) < 0);
        }
    }
    free(bits);
    return rc;
}

static im_code open_and_ask(test_scene *scene, im_error *err)
{
    im_columns *columns = NULL;
    im_code rc = im_columns_open(scene->table.folder, &scene->table.state, SEQ, table_specs,
                                 N_COLUMNS, &columns, err);
    if (rc == IM_OK) {
        rc = ask(scene, columns, err);
    }
    im_columns_close(columns);
    return rc;
}

/* true when it was damaged, and said so. */
static bool damaged_or_right(test_scene *scene)
{
    im_error error = IM_ERROR_INIT;
    im_code rc = open_and_ask(scene, &error);
    if (rc != IM_OK) {
        assert_int_equal(rc, IM_ERR_FORMAT);
        assert_string_equal(error.reason, "index_damaged");
        assert_non_null(strstr(error.message, "columns.3"));
        assert_true(error.hint[0] != '\0');
    }
    return rc != IM_OK;
}

/* A byte of each 8 KiB and of the header, each in its turn: found, but for the few bytes between
 * sections. */
static void a_byte_changed_in_any_block_is_found(void **state)
{
    (void)state;
    test_scene scene;
    scene_make(&scene, 71, N);
    random_state random = {72};
    size_t n_harmless = 0, n_rounds = 0;
    for (size_t base = 0; base < scene.size; base += 8192, n_rounds++) {
        size_t span = scene.size - base < 8192 ? scene.size - base : 8192;
        size_t at = base + (size_t)random_below(&random, span);
        uint8_t flip = (uint8_t)(1 + random_below(&random, 255));
        scene.bytes[at] ^= flip;
        put_bytes(&scene, scene.bytes, scene.size);
        n_harmless += !damaged_or_right(&scene);
        scene.bytes[at] ^= flip;
    }
    for (size_t at = 0; at < 4096; at += at < 200 ? 1 : 131) { /* the header */
        scene.bytes[at] ^= 0x40;
        put_bytes(&scene, scene.bytes, scene.size);
        assert_true(damaged_or_right(&scene));
        scene.bytes[at] ^= 0x40;
    }
    assert_true(n_rounds > 100 && n_harmless < 3);
    put_bytes(&scene, scene.bytes, scene.size);
    assert_false(damaged_or_right(&scene));
    scene_free(&scene);
}

static void a_file_of_any_other_length_is_damaged(void **state)
{
    (void)state;
    test_scene scene;
    char path[160];
    scene_make(&scene, 73, 1000);
    table_path(&scene.table, path);
    for (size_t size = 0; size < scene.size; size += size < 5000 ? 97 : 1009) {
        put_bytes(&scene, scene.bytes, size);
        assert_true(damaged_or_right(&scene));
    }
    scene.bytes = realloc(scene.bytes, scene.size + 1);
    scene.bytes[scene.size] = 0;
    put_bytes(&scene, scene.bytes, scene.size - 1);
    assert_true(damaged_or_right(&scene));
    put_bytes(&scene, scene.bytes, scene.size + 1);
    assert_true(damaged_or_right(&scene));
    assert_int_equal(unlink(path), 0);
    assert_true(damaged_or_right(&scene));
    assert_int_equal(mkfifo(path, 0600), 0); /* never waited for */
    assert_true(damaged_or_right(&scene));
    scene_free(&scene);
}

static void a_file_of_another_snapshot_is_damaged(void **state)
{
    (void)state;
    test_scene scene;
    scene_make(&scene, 74, 500);
    const im_index_state right = scene.table.state;
    for (int field = 0; field < 3; field++) {
        scene.table.state = right;
        scene.table.state.library_id[3] ^= field == 0;
        scene.table.state.model_digest[5] = field == 1 ? 'z' : 'b';
        scene.table.state.n_rows -= field == 2; /* more rows than the database has */
        assert_true(damaged_or_right(&scene));
    }
    scene.table.state = right;
    im_columns *columns = NULL;
    /* of a later change than the database: it was restored */
    assert_refused(
        im_columns_open(scene.table.folder, &right, SEQ - 1, table_specs, N_COLUMNS, &columns, err),
        "index_damaged");
    scene.table.state.generation = 4; /* another name */
    im_error error = IM_ERROR_INIT;
    assert_int_equal(open_and_ask(&scene, &error), IM_ERR_FORMAT);
    assert_non_null(strstr(error.message, "columns.4"));
    scene.table.state = right;
    assert_false(damaged_or_right(&scene));
    scene_free(&scene);
}

static void put_u64(uint8_t *at, uint64_t value)
{
    memcpy(at, &value, sizeof(value));
}

static uint64_t get_u64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

/* Makes the checksums of table and header right again. */
static void sign(uint8_t *bytes)
{
    uint32_t crc = im_crc32c(0, bytes + get_u64(bytes + 128), get_u64(bytes + 136));
    memcpy(bytes + 152, &crc, 4);
    crc = im_crc32c(0, bytes, 4092);
    memcpy(bytes + 4092, &crc, 4);
}

/* Whoever wrote it meant harm: every field of header and table, with right checksums. */
static void lies_with_right_checksums_are_refused(void **state)
{
    (void)state;
    test_scene scene;
    scene_make(&scene, 75, 300);
    uint8_t *copy = malloc(scene.size);
    const uint64_t lies[] = {0,
                             1,
                             299,
                             301,
                             UINT64_C(1) << 20,
                             UINT64_C(1) << 40,
                             UINT64_C(1) << 61,
                             INT64_MAX,
                             UINT64_MAX,
                             UINT64_MAX - 63};
    size_t table_at = (size_t)get_u64(scene.bytes + 128);
    size_t places[60] = {104, 120, 128, 136, 144};
    size_t n_places = 5;
    for (size_t i = 0, at = table_at; i < N_COLUMNS; i++) {
        uint32_t length = 0;
        memcpy(&length, scene.bytes + at + 4, 4);
        for (size_t j = 0; j < 4; j++) {
            places[n_places++] = at + 8 * j;
        }
        at += 32 + (length + 7) / 8 * 8;
    }
    for (size_t i = 0; i < n_places; i++) {
        for (size_t j = 0; j < 10; j++) {
            if (get_u64(scene.bytes + places[i]) == lies[j]) {
                continue;
            }
            memcpy(copy, scene.bytes, scene.size);
            put_u64(copy + places[i], lies[j]);
            if (get_u64(copy + 128) == table_at && get_u64(copy + 136) == scene.size - table_at) {
                sign(copy);
            } else { /* only the header can be signed */
                uint32_t crc = im_crc32c(0, copy, 4092);
                memcpy(copy + 4092, &crc, 4);
            }
            put_bytes(&scene, copy, scene.size);
            assert_true(damaged_or_right(&scene));
        }
    }
    free(copy);
    scene_free(&scene);
}

/* Numbers of words and ends of texts that point anywhere, all signed: no wrong read. */
static void foreign_words_and_ends_are_not_followed(void **state)
{
    (void)state;
    test_scene scene;
    random_state random = {76};
    scene_make(&scene, 77, 300);
    uint8_t *copy = malloc(scene.size);
    size_t table_at = (size_t)get_u64(scene.bytes + 128);
    for (size_t round = 0; round < 300; round++) {
        memcpy(copy, scene.bytes, scene.size);
        for (size_t i = 0; i < 40; i++) {
            size_t at = 4096 + (size_t)random_below(&random, table_at - 4096 - 8);
            put_u64(copy + at, random_next(&random) >> random_below(&random, 60));
        }
        /* 300 rows: each section is one block, and blocks lie as sections do */
        size_t sizes[40], n = 0, at = 4096, entry = table_at;
        uint32_t kind = 0, length = 0;
        sizes[n++] = 2400;
        for (size_t i = 0; i < N_COLUMNS; i++) {
            memcpy(&kind, copy + entry, 4);
            memcpy(&length, copy + entry + 4, 4);
            sizes[n++] = kind == IM_COLUMN_TEXT ? 1200 : 2400;
            entry += 32 + (length + 7) / 8 * 8;
        }
        size_t crcs = entry;
        entry = table_at;
        for (size_t i = 0; i < N_COLUMNS; i++) {
            memcpy(&kind, copy + entry, 4);
            memcpy(&length, copy + entry + 4, 4);
            if (kind == IM_COLUMN_TEXT) {
                sizes[n++] = 16 * (size_t)get_u64(copy + entry + 8);
                sizes[n++] = (size_t)get_u64(copy + entry + 16);
                sizes[n++] = (size_t)get_u64(copy + entry + 24);
            }
            entry += 32 + (length + 7) / 8 * 8;
        }
        for (size_t i = 0; i < n; i++) {
            uint32_t crc = im_crc32c(0, copy + at, sizes[i]);
            memcpy(copy + crcs + 4 * i, &crc, 4);
            at = (at + sizes[i] + 63) / 64 * 64;
        }
        sign(copy);
        put_bytes(&scene, copy, scene.size);
        im_columns *columns = table_open(&scene.table, SEQ);
        for (size_t i = 0; i < N_CONDITIONS; i++) { /* no answer is right here: no fault is */
            uint64_t bits[8], count = 0;
            im_code rc = im_columns_filter(columns, &scene.conditions[i], NULL, bits, &count, NULL);
            assert_true(rc == IM_OK || rc == IM_ERR_FORMAT);
        }
        for (uint64_t slot = 0; slot < 300; slot++) {
            im_column_value value;
            bool has = false;
            uint64_t key = 0;
            im_code rc = im_columns_value(columns, camera, slot, &value, &has, NULL);
            assert_true(rc == IM_OK || rc == IM_ERR_FORMAT);
            rc = im_columns_group_key(columns, camera, slot, &key, NULL);
            assert_true(rc == IM_OK || rc == IM_ERR_FORMAT);
        }
        im_columns_close(columns);
    }
    free(copy);
    scene_free(&scene);
}

/* ---- cut while mapped ---- */

static void a_file_cut_while_mapped_is_an_error_and_no_death(void **state)
{
    (void)state;
    test_scene scene;
    char path[160];
    scene_make(&scene, 78, N);
    table_path(&scene.table, path);
    use_bus_handler();
    const off_t lengths[] = {0, 4096, 300000, (off_t)scene.size - 40, (off_t)scene.size - 5000};
    for (size_t round = 0; round < 10; round++) {
        im_column_value value;
        im_columns_hit hits[2];
        uint64_t *bits = malloc(N / 8 + 64), count = 0, key = 0;
        size_t got = 0;
        bool has = false;
        put_bytes(&scene, scene.bytes, scene.size);
        im_columns *columns = table_open(&scene.table, SEQ);
        if (round % 2 == 1) { /* after all was checked */
            assert_ok(ask(&scene, columns, err));
        }
        assert_int_equal(truncate(path, lengths[round / 2]), 0);
        for (size_t i = 0; i < N_CONDITIONS; i++) {
            assert_refused(
                im_columns_filter(columns, &scene.conditions[i], NULL, bits, &count, err),
                "map_lost");
        }
        assert_refused(
            im_columns_sort(columns, camera, false, NULL, NULL, 2, hits, &got, NULL, err),
            "map_lost");
        assert_refused(im_columns_value(columns, camera, N - 1, &value, &has, err), "map_lost");
        assert_refused(im_columns_group_key(columns, camera, N - 1, &key, err), "map_lost");
        assert_refused(im_columns_patch(columns, SEQ, table_source, &scene.table, err), "map_lost");
        im_columns_close(columns);
        free(bits);
    }
    scene_free(&scene);
}

/* ---- each call failing once ---- */

static im_code all_of_a_reader(test_scene *scene, im_error *err)
{
    im_columns *columns = NULL;
    im_hit hits[4] = {{1, 0, 0}, {2, 1, 0}, {3, 2, 0}, {4, 3, 0}};
    im_columns_hit sorted[2];
    const im_columns_after after = {true, {.text = {"caf\xc3\xa9", 5}}, 3};
    size_t n = 4, got = 0;
    uint64_t bits[8];
    im_code rc = im_columns_open(scene->table.folder, &scene->table.state, SEQ, table_specs,
                                 N_COLUMNS, &columns, err);
    if (rc == IM_OK) {
        rc = im_columns_patch(columns, SEQ, table_source, &scene->table, err);
    }
    if (rc == IM_OK) {
        rc = im_columns_filter(columns, &scene->conditions[1], NULL, bits, NULL, err);
    }
    if (rc == IM_OK) {
        rc = im_columns_sort(columns, camera, true, NULL, &after, 2, sorted, &got, NULL, err);
    }
    if (rc == IM_OK) {
        rc = im_columns_group(columns, camera, 1, hits, &n, err);
    }
    im_columns_close(columns);
    return rc;
}

static im_code a_writer(test_scene *scene, im_error *err)
{
    return im_columns_build(scene->table.folder, &scene->table.state, table_specs, N_COLUMNS, SEQ,
                            table_source, &scene->table, err);
}

/* After each failure nothing leaks, and the file that is there answers as before. */
static void walk(test_scene *scene, im_code (*call)(test_scene *scene, im_error *err),
                 im_fault_kind kind)
{
    bool fired = true;
    size_t n_failures = 0;
    for (size_t nth = 0; fired; nth++) {
        im_error error = IM_ERROR_INIT;
        size_t live = im_live_allocations();
        im_fault_set(kind, nth, 0);
        im_code rc = call(scene, &error);
        fired = im_fault_fired(kind);
        im_fault_clear();
        assert_int_equal(im_live_allocations(), live);
        assert_int_equal(rc != IM_OK, fired);
        assert_true(rc == IM_OK || rc == IM_ERR_NOMEM || rc == IM_ERR_IO);
        assert_true(rc == IM_OK || error.message[0] != '\0');
        n_failures += rc != IM_OK;
        assert_false(damaged_or_right(scene));
    }
    assert_true(n_failures > 0);
}

static void each_failed_call_is_an_error_and_leaves_the_old_file(void **state)
{
    (void)state;
    static const im_fault_kind reading[] = {IM_FAULT_ALLOC, IM_FAULT_OPEN, IM_FAULT_READ,
                                            IM_FAULT_MAP};
    static const im_fault_kind writing[] = {IM_FAULT_ALLOC, IM_FAULT_OPEN, IM_FAULT_READ,
                                            IM_FAULT_WRITE, IM_FAULT_SYNC, IM_FAULT_RENAME};
    test_scene scene;
    scene_make(&scene, 79, 120);
    for (size_t i = 0; i < 4; i++) {
        walk(&scene, all_of_a_reader, reading[i]);
    }
    for (size_t i = 0; i < 6; i++) {
        walk(&scene, a_writer, writing[i]);
    }
    im_index_sweep(scene.table.folder, 9); /* the file goes, and nothing else was left */
    assert_int_equal(rmdir(scene.table.folder), 0);
    scene_free(&scene);
}

static void leftovers_are_swept(void **state)
{
    (void)state;
    test_scene scene;
    char path[160];
    scene_make(&scene, 80, 10);
    im_index_sweep(scene.table.folder, 3);
    assert_false(damaged_or_right(&scene));
    im_index_sweep(scene.table.folder, 4);
    table_path(&scene.table, path);
    assert_false(im_file_exists(path));
    scene_free(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_byte_changed_in_any_block_is_found),
        cmocka_unit_test(a_file_of_any_other_length_is_damaged),
        cmocka_unit_test(a_file_of_another_snapshot_is_damaged),
        cmocka_unit_test(lies_with_right_checksums_are_refused),
        cmocka_unit_test(foreign_words_and_ends_are_not_followed),
        cmocka_unit_test(a_file_cut_while_mapped_is_an_error_and_no_death),
        cmocka_unit_test(each_failed_call_is_an_error_and_leaves_the_old_file),
        cmocka_unit_test(leftovers_are_swept),
    };
    learn_bus_handler();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
