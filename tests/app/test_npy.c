/* tests/app/test_npy.c — covers app/npy.c, import_row.c and import_source.c: what is written
 * is read back, each byte of a header changed and each cut is survived, and lines of items.jsonl
 * give what they say or an error that names the key. */
#include "app/exchange_internal.h"
#include "base/fault.h"
#include "base/file.h"
#include "tests/app/help.h"

#include <float.h>
#include <math.h>
#include <sys/stat.h>

/* ---- headers ---- */

/* A header of version 1.0 around `dict`, padded as NumPy does; returns its length. */
static size_t make_head(const char *dict, uint8_t out[512])
{
    size_t n = strlen(dict);
    size_t size = (10 + n + 1 + 63) / 64 * 64;
    memset(out, ' ', size);
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    out[8] = (uint8_t)(size - 10);
    out[9] = (uint8_t)((size - 10) >> 8);
    memcpy(out + 10, dict, n);
    out[size - 1] = '\n';
    return size;
}

static im_code read_dict(const char *dict, uint64_t data_bytes, npy_head *out, im_error *err)
{
    uint8_t head[512];
    size_t size = make_head(dict, head);
    size_t found = 0;
    help_ok(npy_head_size(head, size, "v.npy", &found, err), err);
    assert_int_equal(found, size);
    return npy_read_head(head, size, size + data_bytes, "v.npy", out, err);
}

static void a_written_header_is_read_back(void **state)
{
    (void)state;
    static const uint64_t rows[] = {0, 1, 9, 1000000, UINT64_C(99999999999)};
    static const size_t dims[] = {1, 24, 512, 16384};
    for (size_t i = 0; i < IM_COUNT(rows); i++) {
        for (size_t j = 0; j < IM_COUNT(dims); j++) {
            uint8_t head[NPY_HEAD_BYTES];
            npy_head out = {.rows = 7};
            im_error err = IM_ERROR_INIT;
            size_t size = 0;
            npy_write_head(rows[i], dims[j], head);
            help_ok(npy_head_size(head, NPY_PREFIX_BYTES, "v", &size, &err), &err);
            assert_int_equal(size, NPY_HEAD_BYTES);
            assert_int_equal(size % 64, 0);
            assert_int_equal(head[size - 1], '\n');
            help_ok(npy_read_head(head, size, size + rows[i] * dims[j] * 4, "v", &out, &err), &err);
            assert_int_equal(out.rows, rows[i]);
            assert_int_equal(out.dim, dims[j]);
            assert_int_equal(out.row_bytes, 4 * dims[j]);
            assert_int_equal(out.data_at, size);
            assert_int_equal(out.type, NPY_F4);
        }
    }
    uint8_t head[NPY_HEAD_BYTES]; /* the longest numbers fit */
    npy_write_head(UINT64_MAX, SIZE_MAX, head);
    assert_int_equal(head[NPY_HEAD_BYTES - 1], '\n');
}

static void spellings_that_numpy_reads_are_read(void **state)
{
    (void)state;
    static const char *const good[] = {
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }",
        "{\"shape\":(3,4),\"fortran_order\":False,\"descr\":\"<f4\"}",
        "{ 'fortran_order' : False , 'descr' : '<f4' , 'shape' : ( 3 , 4 , ) }",
    };
    for (size_t i = 0; i < IM_COUNT(good); i++) {
        npy_head out;
        im_error err = IM_ERROR_INIT;
        help_ok(read_dict(good[i], 48, &out, &err), &err);
        assert_int_equal(out.rows, 3);
        assert_int_equal(out.dim, 4);
    }
}

typedef struct bad_head {
    const char *dict;
    im_code code;
    const char *names;
} bad_head;

static void headers_that_hold_no_vectors_are_named(void **state)
{
    (void)state;
#define DICT(descr, order, shape) \
    "{'descr': " descr ", 'fortran_order': " order ", 'shape': " shape ", }"
    static const bad_head cases[] = {
        {DICT("'>f4'", "False", "(3, 4)"), IM_ERR_UNSUPPORTED, ">f4"},
        {DICT("'<i8'", "False", "(3, 4)"), IM_ERR_UNSUPPORTED, "<i8"},
        {DICT("''", "False", "(3, 4)"), IM_ERR_UNSUPPORTED, "''"},
        {DICT("[('a', '<f4')]", "False", "(3, 4)"), IM_ERR_UNSUPPORTED, "structured"},
        {DICT("'<f4'", "True", "(3, 4)"), IM_ERR_UNSUPPORTED, "Fortran"},
        {DICT("'<f4'", "false", "(3, 4)"), IM_ERR_FORMAT, "header"},
        {DICT("'<f4'", "False", "()"), IM_ERR_INVALID, "0 dimensions"},
        {DICT("'<f4'", "False", "(12,)"), IM_ERR_INVALID, "1 dimensions"},
        {DICT("'<f4'", "False", "(12)"), IM_ERR_FORMAT, "header"},
        {DICT("'<f4'", "False", "(3, 2, 2)"), IM_ERR_INVALID, "3 dimensions"},
        {DICT("'<f4'", "False", "(3, 0)"), IM_ERR_INVALID, "0 numbers"},
        {DICT("'<f4'", "False", "(3, 1048576)"), IM_ERR_INVALID, "1048576"},
        {DICT("'<f4'", "False", "(-3, 4)"), IM_ERR_FORMAT, "header"},
        {DICT("'<f4'", "False", "(3.0, 4)"), IM_ERR_FORMAT, "header"},
        {DICT("'<f4'", "False", "(4, 4)"), IM_ERR_FORMAT, "192"},
        {DICT("'<f4'", "False", "(2, 4)"), IM_ERR_FORMAT, "(2, 4)"},
        {DICT("'<f8'", "False", "(3, 4)"), IM_ERR_FORMAT, "(3, 4)"},
        {DICT("'<f4'", "False", "(9223372036854775808, 4)"), IM_ERR_FORMAT, "9223372036854775808"},
        {DICT("'<f4'", "False", "(4611686018427387904, 4)"), IM_ERR_FORMAT, "any file"}, /* 2^64 */
        {DICT("'<f4'", "False", "(18446744073709551615, 4)"), IM_ERR_FORMAT, "any file"},
        {DICT("'<f4'", "False", "(18446744073709551616, 4)"), IM_ERR_FORMAT, "header"},
        {"{'descr': '<f4', 'fortran_order': False, }", IM_ERR_FORMAT, "header"},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }",
         IM_ERR_FORMAT, "header"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), 'x': 1}", IM_ERR_FORMAT,
         "header"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } + x", IM_ERR_FORMAT,
         "header"},
        {"", IM_ERR_FORMAT, "header"},
        {"{'descr': '<f4", IM_ERR_FORMAT, "header"},
    };
#undef DICT
    for (size_t i = 0; i < IM_COUNT(cases); i++) {
        npy_head out;
        im_error err = IM_ERROR_INIT;
        im_code rc = read_dict(cases[i].dict, 48, &out, &err);
        if (rc != cases[i].code || strstr(err.message, cases[i].names) == NULL ||
            strstr(err.message, "v.npy") == NULL) {
            fail_msg("%s: %s: %s", cases[i].dict, im_code_name(rc), err.message);
        }
    }
}

/* Each byte changed to each other value: an error with a sentence, or a header that fits the file.
 */
static void each_damaged_byte_is_survived(void **state)
{
    (void)state;
    uint8_t good[NPY_HEAD_BYTES];
    npy_write_head(3, 4, good);
    size_t n_read = 0;
    for (size_t at = 0; at < sizeof(good); at++) {
        for (unsigned value = 0; value < 256; value++) {
            uint8_t *head = im_alloc(NPY_HEAD_BYTES, 1); /* its own block: sanitizers see its end */
            npy_head out = {.dim = 0};
            im_error err = IM_ERROR_INIT;
            size_t size = 0;
            assert_non_null(head);
            memcpy(head, good, sizeof(good));
            head[at] = (uint8_t)value;
            im_code rc = npy_head_size(head, NPY_PREFIX_BYTES, "v", &size, &err);
            if (rc == IM_OK && size > NPY_HEAD_BYTES) {
                rc = im_fail(&err, IM_ERR_FORMAT, "cut");
            }
            if (rc == IM_OK) {
                rc = npy_read_head(head, size, NPY_HEAD_BYTES + 48, "v", &out, &err);
            }
            if (rc == IM_OK) {
                assert_int_equal(out.data_at + out.rows * out.row_bytes, NPY_HEAD_BYTES + 48);
                n_read++;
            } else {
                assert_true(err.message[0] != '\0');
            }
            im_free(head);
        }
    }
    assert_true(n_read >= NPY_HEAD_BYTES); /* each byte as it was, at least */
}

static void each_cut_is_survived(void **state)
{
    (void)state;
    uint8_t good[NPY_HEAD_BYTES];
    npy_write_head(3, 4, good);
    for (size_t n = 0; n < sizeof(good); n++) {
        uint8_t *head = im_alloc(n, 1);
        size_t size = 0;
        im_error err = IM_ERROR_INIT;
        assert_non_null(head);
        memcpy(head, good, n);
        im_code rc = npy_head_size(head, IM_MIN(n, (size_t)NPY_PREFIX_BYTES), "v", &size, &err);
        assert_int_equal(rc, n < NPY_PREFIX_BYTES ? IM_ERR_FORMAT : IM_OK);
        im_free(head);
    }
}

/* ---- numbers ---- */

/* All 65,536 halves against the definition. */
static void halves_and_doubles_become_floats(void **state)
{
    (void)state;
    npy_head half = {.type = NPY_F2, .dim = 1};
    for (unsigned bits = 0; bits < 65536; bits++) {
        const uint8_t bytes[2] = {(uint8_t)bits, (uint8_t)(bits >> 8)};
        float found = 0;
        unsigned exponent = bits >> 10 & 31;
        double fraction = bits & 1023;
        double wanted = exponent == 0 ? fraction / 16777216.0
                                      : (1 + fraction / 1024.0) * pow(2, (double)exponent - 15);
        npy_to_f32(&half, bytes, 1, &found);
        if (exponent == 31) {
            assert_true(!isfinite(found));
            assert_true((fraction != 0) == (isnan(found) != 0));
        } else {
            assert_true((double)found == (bits >> 15 != 0 ? -wanted : wanted));
        }
    }
    npy_head wide = {.type = NPY_F8, .dim = 5};
    const double doubles[5] = {0.1, -1e300, (double)FLT_MAX, (double)NAN, 1e-300};
    float floats[5];
    uint8_t bytes[sizeof(doubles) + 1];
    memcpy(bytes + 1, doubles, sizeof(doubles)); /* not aligned */
    npy_to_f32(&wide, bytes + 1, 1, floats);
    assert_true(floats[0] == 0.1F && isinf(floats[1]) && floats[1] < 0 && floats[2] == FLT_MAX);
    assert_true(isnan(floats[3]) && floats[4] == 0);
}

/* ---- lines ---- */

static im_code read_line(const char *line, import_row *out, im_error *err)
{
    return import_row_read(line, strlen(line), 7, out, err);
}

static void a_line_gives_what_it_says(void **state)
{
    (void)state;
    import_row row;
    im_error err = IM_ERROR_INIT;
    help_ok(read_line("{\"path\":\"/a\\nb.jpg\",\"key\":\"k\",\"format\":\"jpeg\",\"width\":3,"
                      "\"height\":4,\"bytes\":5,\"taken\":\"2020-01-02T03:04:05-01:30\","
                      "\"gps\":{\"latitude\":1.5,\"longitude\":-2},\"phash\":\"0123456789abcdef\","
                      "\"partial\":true,\"unknown\":[1],\"camera\":null,"
                      "\"tags\":[\"a\",{\"tag\":\"b\",\"source\":\"vlm\"}],\"captions\":[\"c\"],"
                      "\"fields\":{\"n\":1,\"t\":\"x\",\"b\":true,\"gone\":null,"
                      "\"d\":{\"date\":\"1970-01-02\"}}}",
                      &row, &err),
            &err);
    assert_string_equal(im_str_text(&row.name), "/a\\nb.jpg"); /* no control bytes in names */
    assert_string_equal(row.identity, "/a\nb.jpg");
    assert_string_equal(row.key, "k");
    assert_int_equal(row.item.taken_offset_min, -90);
    assert_true(row.item.has_taken && row.item.has_taken_offset && row.item.has_gps);
    assert_true(row.item.phash == UINT64_C(0x0123456789abcdef) && row.item.partial);
    assert_false(row.has_sha256);
    assert_int_equal(row.n_tags, 2);
    assert_int_equal(row.tags[1].source, IM_SOURCE_VLM);
    assert_int_equal(row.n_captions, 1);
    assert_int_equal(row.n_fields, 4);
    assert_int_equal(row.fields[3].value.type, IM_VALUE_DATE);
    assert_int_equal(row.fields[3].value.date_s, 86400);
    import_row_clear(&row);
    help_ok(import_row_read(NULL, 0, 7, &row, &err), &err);
    assert_string_equal(im_str_text(&row.name), "row 7");
    import_row_clear(&row);
}

static void a_very_long_path_keeps_its_end(void **state)
{
    (void)state;
    import_row row;
    im_error err = IM_ERROR_INIT;
    im_str line;
    im_str_init(&line, 1u << 20);
    im_str_add_c(&line, "{\"path\":\"/");
    for (size_t i = 0; i < 6000; i++) {
        im_str_add_c(&line, "ü"); /* two bytes each */
    }
    im_str_add_c(&line, "x.jpg\"}");
    help_ok(read_line(im_str_text(&line), &row, &err), &err);
    assert_true(row.name.size <= IM_LIMIT_NAME_BYTES && row.name.size > IM_LIMIT_NAME_BYTES - 4);
    assert_true(im_utf8_valid(row.name.data, row.name.size, NULL));
    assert_string_equal(row.name.data + row.name.size - 5, "x.jpg");
    import_row_clear(&row);
    im_str_clear(&line);
}

static void a_wrong_value_names_its_key(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{\"path\":1}", "path"},
        {"{\"key\":[]}", "key"},
        {"{\"width\":1.5}", "width"},
        {"{\"width\":4294967296}", "width"},
        {"{\"bytes\":-1}", "bytes"},
        {"{\"format\":\"123456789012\"}", "format"},
        {"{\"sha256\":\"zz\"}", "sha256"},
        {"{\"phash\":\"0123456789abcdeg\"}", "phash"},
        {"{\"partial\":\"yes\"}", "partial"},
        {"{\"gps\":[1,2]}", "gps"},
        {"{\"gps\":{\"latitude\":1}}", "longitude"},
        {"{\"taken\":20200101}", "taken"},
        {"{\"tags\":{}}", "tags"},
        {"{\"tags\":[1]}", "tags"},
        {"{\"tags\":[{\"tag\":\"a\",\"source\":\"me\"}]}", "source"},
        {"{\"captions\":[{\"kind\":\"x\",\"text\":\"a\"}]}", "captions"},
        {"{\"captions\":[{}]}", "captions"},
        {"{\"fields\":[]}", "fields"},
        {"{\"fields\":{\"price\":{}}}", "price"},
        {"{\"fields\":{\"price\":{\"date\":\"soon\"}}}", "price"},
        {"[]", "object"},
        {"{\"a\":1,\"a\":2}", "line"},
        {"{", "line"},
    };
    for (size_t i = 0; i < IM_COUNT(cases); i++) {
        import_row row;
        im_error err = IM_ERROR_INIT;
        im_code rc = read_line(cases[i][0], &row, &err);
        if ((rc != IM_ERR_FORMAT && rc != IM_ERR_INVALID) ||
            strstr(err.message, cases[i][1]) == NULL) {
            fail_msg("%s: %s: %s", cases[i][0], im_code_name(rc), err.message);
        }
        import_row_clear(&row);
    }
}

static void a_line_survives_each_failed_allocation(void **state)
{
    (void)state;
    static const char line[] = "{\"path\":\"/a\",\"tags\":[\"a\"],\"captions\":[\"c\"],"
                               "\"fields\":{\"n\":1}}";
    im_code rc = IM_ERR_NOMEM;
    size_t nth = 0;
    for (; rc != IM_OK; nth++) {
        import_row row;
        im_error err = IM_ERROR_INIT;
        size_t blocks = im_live_allocations();
        im_fault_set(IM_FAULT_ALLOC, nth, 0);
        rc = read_line(line, &row, &err);
        assert_int_equal(rc, im_fault_fired(IM_FAULT_ALLOC) ? IM_ERR_NOMEM : IM_OK);
        im_fault_clear();
        import_row_clear(&row);
        assert_int_equal(im_live_allocations(), blocks);
    }
    assert_true(nth > 4);
}

/* ---- folders ---- */

static help_home home;

static void write_file(const char *name, const void *data, size_t size)
{
    im_error err = IM_ERROR_INIT;
    help_ok(im_file_write_atomic(help_path(home.pictures, name), data, size, &err), &err);
}

/* n rows (0, …, 1, …) of four numbers, and as many lines of which every third is blank. */
static void make_folder(size_t n, size_t n_lines)
{
    im_str text;
    im_str_init(&text, 1u << 24);
    uint8_t head[NPY_HEAD_BYTES];
    npy_write_head(n, 4, head);
    im_str_add(&text, (const char *)head, sizeof(head));
    for (size_t i = 0; i < n; i++) {
        float row[4] = {0};
        row[i % 4] = 1;
        im_str_add(&text, (const char *)row, sizeof(row));
    }
    write_file(EXCHANGE_VECTORS, text.data, text.size);
    im_str_reset(&text);
    for (size_t i = 0; i < n_lines; i++) {
        im_str_addf(&text, "{\"name\":\"%zu\"}%s", i, i % 3 == 0 ? "\r\n \n" : "\n");
    }
    text.size -= text.size > 0; /* the last line end may be missing */
    write_file(EXCHANGE_ITEMS, text.size > 0 ? text.data : "", text.size);
    im_str_clear(&text);
}

static im_code read_folder(size_t *out_rows, im_error *err)
{
    static import_row rows[IMPORT_ROWS];
    static float vectors[IMPORT_ROWS * 4];
    import_source source;
    size_t n = 0;
    *out_rows = 0;
    im_code rc = import_source_open(home.pictures, false, &source, err);
    for (int pass = 0; pass < 2 && rc == IM_OK; pass++) {
        import_source_rewind(&source);
        *out_rows = 0;
        do {
            rc = import_source_read(&source, rows, vectors, &n, err);
            for (size_t i = 0; i < n; i++) {
                char name[24];
                (void)snprintf(name, sizeof(name), "%zu", *out_rows + i);
                if (rc == IM_OK) {
                    assert_string_equal(im_str_text(&rows[i].name), name);
                    assert_true(vectors[4 * i + (*out_rows + i) % 4] == 1);
                }
                import_row_clear(&rows[i]);
            }
            *out_rows += n;
        } while (rc == IM_OK && n > 0);
    }
    import_source_close(&source);
    return rc;
}

static void rows_and_lines_meet(void **state)
{
    (void)state;
    static const size_t counts[] = {0, 1, 1023, 1024, 1025, 30000};
    for (size_t i = 0; i < IM_COUNT(counts); i++) {
        size_t rows = 0;
        im_error err = IM_ERROR_INIT;
        make_folder(counts[i], counts[i]);
        help_ok(read_folder(&rows, &err), &err);
        assert_int_equal(rows, counts[i]);
        make_folder(counts[i], counts[i] + 5);
        assert_int_equal(read_folder(&rows, &err), IM_ERR_INVALID);
        make_folder(counts[i] + 5, counts[i]);
        assert_int_equal(read_folder(&rows, &err), IM_ERR_INVALID);
        char lines[64];
        (void)snprintf(lines, sizeof(lines), "has %zu lines", counts[i]);
        assert_non_null(strstr(err.message, lines));
    }
}

static void a_line_above_its_limit_is_refused(void **state)
{
    (void)state;
    im_error err = IM_ERROR_INIT;
    size_t rows = 0;
    size_t size = IM_LIMIT_IMPORT_LINE_BYTES + 100u;
    char *line = im_alloc(size, 1);
    assert_non_null(line);
    make_folder(1, 1);
    memset(line, ' ', size);
    write_file(EXCHANGE_ITEMS, line, size);
    assert_int_equal(read_folder(&rows, &err), IM_ERR_LIMIT);
    assert_non_null(strstr(err.message, "row 0"));
    im_free(line);
}

static void a_folder_survives_each_fault(void **state)
{
    (void)state;
    static const im_fault_kind kinds[] = {IM_FAULT_ALLOC, IM_FAULT_OPEN, IM_FAULT_READ};
    make_folder(3, 3);
    for (size_t i = 0; i < IM_COUNT(kinds); i++) {
        im_code rc = IM_ERR_IO;
        for (size_t nth = 0; rc != IM_OK; nth++) {
            size_t rows = 0;
            im_error err = IM_ERROR_INIT;
            size_t blocks = im_live_allocations();
            im_fault_set(kinds[i], nth, 0);
            rc = read_folder(&rows, &err);
            bool fired = im_fault_fired(kinds[i]);
            im_fault_clear();
            assert_int_equal(rc, !fired                       ? IM_OK
                                 : kinds[i] == IM_FAULT_ALLOC ? IM_ERR_NOMEM
                                                              : IM_ERR_IO);
            assert_int_equal(im_live_allocations(), blocks);
        }
    }
}

static int make_home(void **state)
{
    (void)state;
    help_home_make(&home);
    return 0;
}

static int end_home(void **state)
{
    (void)state;
    help_home_remove(&home);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_written_header_is_read_back),
        cmocka_unit_test(spellings_that_numpy_reads_are_read),
        cmocka_unit_test(headers_that_hold_no_vectors_are_named),
        cmocka_unit_test(each_damaged_byte_is_survived),
        cmocka_unit_test(each_cut_is_survived),
        cmocka_unit_test(halves_and_doubles_become_floats),
        cmocka_unit_test(a_line_gives_what_it_says),
        cmocka_unit_test(a_very_long_path_keeps_its_end),
        cmocka_unit_test(a_wrong_value_names_its_key),
        cmocka_unit_test(a_line_survives_each_failed_allocation),
        cmocka_unit_test(rows_and_lines_meet),
        cmocka_unit_test(a_line_above_its_limit_is_refused),
        cmocka_unit_test(a_folder_survives_each_fault),
    };
    return cmocka_run_group_tests(tests, make_home, end_home);
}
