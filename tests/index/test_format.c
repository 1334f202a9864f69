/* tests/index/test_format.c — covers index/format.c: header page, rows, names. */
#include "base/hash.h"
#include "base/pool.h"
#include "help.h"
#include "index/format_internal.h"

static im_index_state example_state(void)
{
    im_index_state state = {.dim = 512, .generation = 3, .n_rows = 10};
    memset(state.library_id, 0x5a, sizeof(state.library_id));
    memset(state.model_digest, 'c', 64);
    return state;
}

static void a_header_reads_back(void **state)
{
    (void)state;
    uint8_t page[HEADER_BYTES];
    im_index_state example = example_state();
    format_write_header(&example, page);
    assert_ok(format_check_header(page, &example, "x", err));
    example.n_rows = 77; /* the header knows nothing of the number of rows */
    assert_ok(format_check_header(page, &example, "x", err));
}

static void a_header_with_any_bit_flipped_is_refused(void **state)
{
    (void)state;
    uint8_t page[HEADER_BYTES];
    im_index_state example = example_state();
    format_write_header(&example, page);
    for (size_t bit = 0; bit < 8 * sizeof(page); bit++) {
        page[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_refused(format_check_header(page, &example, "x", err), "index_damaged");
        page[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
}

/* Sound headers of other files: each field is compared, not only the checksum. */
static void a_sound_header_of_another_index_is_refused(void **state)
{
    (void)state;
    uint8_t page[HEADER_BYTES];
    const im_index_state example = example_state();
    for (int field = 0; field < 4; field++) {
        im_index_state other = example;
        other.library_id[15] ^= field == 0;
        other.model_digest[63] = field == 1 ? 'd' : 'c';
        other.dim -= field == 2;
        other.generation += field == 3;
        format_write_header(&other, page);
        assert_refused(format_check_header(page, &example, "x", err), "index_damaged");
    }
    format_write_header(&example, page);
    page[8] = 2; /* a later version, with a right checksum */
    uint32_t crc = im_crc32c(0, page, sizeof(page) - 4);
    memcpy(page + sizeof(page) - 4, &crc, 4);
    assert_refused(format_check_header(page, &example, "x", err), "index_damaged");
}

static void pitches_leave_room_and_miss_pages(void **state)
{
    (void)state;
    for (size_t dim = 1; dim <= 16384; dim++) {
        format_layout layout = format_layout_of(dim);
        assert_true(layout.pitch >= 4 * dim + FORMAT_TRAILER_BYTES);
        assert_true(layout.pitch < 4 * dim + FORMAT_TRAILER_BYTES + 128);
        assert_int_equal(layout.pitch % 64, 0);
        assert_int_not_equal(layout.pitch % 4096, 0);
    }
}

static void check_row(size_t dim, random_state *random)
{
    format_layout layout = format_layout_of(dim);
    uint8_t *row = malloc(layout.pitch);
    float *vector = malloc(dim * sizeof(float));
    size_t covered = 4 * dim + FORMAT_TRAILER_BYTES;
    assert_non_null(row);
    assert_non_null(vector);
    random_unit(random, vector, dim);
    format_write_row(&layout, 41, 12345678901234u, vector, row);
    assert_memory_equal(row, vector, dim * sizeof(float));
    assert_true(format_row_item(&layout, row) == 12345678901234u);
    assert_true(format_row_sound(&layout, 41, row));
    assert_false(format_row_sound(&layout, 40, row)); /* a row in another one's place */
    for (size_t at = 0; at < covered; at++) {
        row[at] ^= (uint8_t)(1u << (at % 8));
        assert_false(format_row_sound(&layout, 41, row));
        row[at] ^= (uint8_t)(1u << (at % 8));
    }
    memset(row, 0, layout.pitch); /* what a lost page or a hole in the file reads as */
    assert_false(format_row_sound(&layout, 0, row));
    free(row);
    free(vector);
}

static void a_row_with_any_byte_changed_is_unsound(void **state)
{
    (void)state;
    random_state random = {3};
    const size_t dims[] = {1, 2, 3, 5, 16, 17, 48, 255, 256, 512, 1020};
    for (size_t i = 0; i < sizeof(dims) / sizeof(dims[0]); i++) {
        check_row(dims[i], &random);
    }
}

/* Rows checked side by side give the same verdicts as one by one, wherever a bad one stands. */
static void groups_of_rows_are_judged_like_single_ones(void **state)
{
    (void)state;
    random_state random = {4};
    const size_t dims[] = {1, 2, 7, 48, 512};
    for (size_t round = 0; round < 2000; round++) {
        format_layout layout = format_layout_of(dims[round % 5]);
        size_t n = (size_t)random_below(&random, 65);
        uint8_t *rows = calloc(n + 1, layout.pitch);
        float vector[512];
        uint64_t slots[64];
        const uint8_t *pointers[64];
        uint64_t expected = 0;
        assert_non_null(rows);
        for (size_t i = 0; i < n; i++) {
            uint8_t *row = rows + i * layout.pitch;
            slots[i] = random_below(&random, 1000);
            pointers[i] = row;
            random_unit(&random, vector, layout.dim);
            format_write_row(&layout, slots[i], random_next(&random), vector, row);
            if (random_below(&random, 4) == 0) {
                row[random_below(&random, 4 * layout.dim + FORMAT_TRAILER_BYTES)] ^= 0x10;
            } else {
                expected |= UINT64_C(1) << i;
            }
        }
        assert_true(format_rows_sound(&layout, slots, pointers, n) == expected);
        free(rows);
    }
}

static void only_our_own_names_are_parsed(void **state)
{
    (void)state;
    uint64_t generation = 0;
    assert_true(format_parse_name("vectors.1.f32", &generation));
    assert_int_equal(generation, 1);
    assert_true(format_parse_name("vectors.18446744073709551615.f32", &generation));
    assert_true(generation == UINT64_MAX);
    const char *others[] = {"vectors..f32",
                            "vectors.0.f32",
                            "vectors.01.f32",
                            "vectors.1.f32.x",
                            "vectors.-1.f32",
                            "vectors.1.f64",
                            "xvectors.1.f32",
                            "vectors.1",
                            "",
                            "vectors.1e3.f32",
                            "vectors.f32",
                            ".f32",
                            "vectors.18446744073709551616.f32",
                            "vectors.111111111111111111111111.f32"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_false(format_parse_name(others[i], &generation));
    }
}

static void impossible_states_are_refused(void **state)
{
    (void)state;
    const im_index_state example = example_state();
    uint64_t bytes = 0;
    for (int field = 0; field < 6; field++) {
        im_index_state bad = example;
        switch (field) {
        case 0:
            bad.dim = 0;
            break;
        case 1:
            bad.dim = 1u << 20;
            break;
        case 2:
            bad.dim = SIZE_MAX;
            break;
        case 3:
            bad.generation = 0;
            break;
        case 4:
            bad.model_digest[0] = '\0';
            break;
        default:
            memset(bad.model_digest, 'a', sizeof(bad.model_digest)); /* no end */
            break;
        }
        assert_refused(format_check_state(&bad, err), field < 3 ? "vector_invalid" : "invalid");
    }
    im_index_state huge = example;
    huge.n_rows = UINT64_MAX;
    assert_false(format_committed_bytes(&huge, &bytes));
    huge.n_rows = UINT64_C(1) << 52;
    assert_false(format_committed_bytes(&huge, &bytes));
    huge.n_rows = UINT64_C(1) << 40;
    assert_true(format_committed_bytes(&huge, &bytes));
    assert_true(bytes == 4096 + (UINT64_C(1) << 40) * 2112);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_reads_back),
        cmocka_unit_test(a_header_with_any_bit_flipped_is_refused),
        cmocka_unit_test(a_sound_header_of_another_index_is_refused),
        cmocka_unit_test(pitches_leave_room_and_miss_pages),
        cmocka_unit_test(a_row_with_any_byte_changed_is_unsound),
        cmocka_unit_test(groups_of_rows_are_judged_like_single_ones),
        cmocka_unit_test(only_our_own_names_are_parsed),
        cmocka_unit_test(impossible_states_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
